/*
 * test_graph.c - graphs are built and refused, copied whole, given quantizers, and recorded as far as is wanted.
 */
#include "../support/built_graph.h"

#include "../../core/conv_params.h"
#include "../../core/graph/rewrite.h"
#include "../../models/networks.h"
#include "../../quant/insert.h"

#include <stdio.h>

static dt_graph *quantized(const char *name, dt_quant_rule rule, int per_channel)
{
    const dt_quant_choice choice = {
        .wbits = 4, .abits = 2, .input_bits = 8, .rule = rule, .per_channel = per_channel
    };
    dt_graph *g = built(name), *out;

    MUST(dt_quant_insert(g, &choice, &out));
    dt_graph_destroy(g);
    return out;
}

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static const char *const networks[] = { "vgg16", "tiny", "shallowcaps", "deepcaps" };
enum { N_NETWORKS = sizeof networks / sizeof networks[0] };

Test(graph, every_value_has_its_own_name_and_every_node_reads_earlier_ones)
{
    for (int k = 0; k < N_NETWORKS; k++) {
        dt_graph *g = built(networks[k]);
        cr_assert(g->n_nodes > 5 && g->scores >= 0 && g->image == 0, "%s", networks[k]);
        for (int i = 0; i < g->n_values; i++) {
            cr_assert(dt_graph_find(g, dt_graph_name(g, i)) == i, "%s", dt_graph_name(g, i));
        }
        for (int i = 0; i < g->n_nodes; i++) {
            for (int j = 0; j < g->node[i].n_in; j++) cr_assert(g->node[i].in[j] < g->node[i].out);
        }
        dt_graph_destroy(g);
    }
}

Test(graph, a_copy_is_equal)
{
    for (int k = 0; k < 2 * N_NETWORKS; k++) {
        dt_graph *g = k < N_NETWORKS ? built(networks[k]) : quantized(networks[k - N_NETWORKS], DT_RULE_LSQ, 0), *copy;
        MUST(dt_graph_rewrite(g, NULL, NULL, &copy));
        cr_assert(copy->n_values == g->n_values && copy->n_nodes == g->n_nodes && copy->scores == g->scores &&
                  copy->capsules == g->capsules && copy->masked == g->masked &&
                  copy->reconstruction == g->reconstruction && copy->loss == g->loss);
        for (int i = 0; i < g->n_values; i++) {
            cr_assert(strcmp(dt_graph_name(g, i), dt_graph_name(copy, i)) == 0);
            cr_assert(dt_same_shape(dt_graph_shape(g, i), dt_graph_shape(copy, i)));
        }
        for (int i = 0; i < g->n_nodes; i++) {
            const size_t bytes = dt_ops[g->node[i].kind]->params_bytes;
            cr_assert(g->node[i].kind == copy->node[i].kind);
            cr_assert(bytes == 0 || memcmp(g->node[i].params, copy->node[i].params, bytes) == 0);
        }
        dt_graph_destroy(copy);
        dt_graph_destroy(g);
    }
}

Test(graph, every_convolution_and_vote_gets_two_quantizers)
{
    for (int k = 0; k < N_NETWORKS; k++) {
        dt_graph *g = built(networks[k]);
        const int layers = count_of(g, DT_OP_CONV2D) + count_of(g, DT_OP_CAPS_VOTES);
        const dt_quant_choice choice = { .wbits = 4, .abits = 4, .input_bits = 8, .rule = DT_RULE_LSQ };
        dt_graph *q;
        MUST(dt_quant_insert(g, &choice, &q));
        cr_assert(count_of(g, DT_OP_ACT_QUANT) == 0 && count_of(q, DT_OP_ACT_QUANT) == layers &&
                  count_of(q, DT_OP_WEIGHT_QUANT) == layers && q->n_nodes == g->n_nodes + 2 * layers);
        dt_graph_destroy(q);
        dt_graph_destroy(g);
    }
}

/* What may be negative is quantized with a sign: batch norm's, squash's, but no ReLU's, nor pixels of 0..1. */
Test(graph, quantizers_have_a_sign_where_values_have_one)
{
    dt_graph *deep = quantized("deepcaps", DT_RULE_LSQ, 0), *vgg = quantized("vgg16", DT_RULE_ECE284, 0);
    dt_graph *shallow = quantized("shallowcaps", DT_RULE_LSQ, 0);

    cr_assert(quantizer_of(deep, "block1.l1.conv")->is_signed && quantizer_of(deep, "block2.l2.conv")->is_signed);
    cr_assert(!quantizer_of(deep, "conv1.conv")->is_signed && quantizer_of(deep, "capsLayer")->is_signed);
    cr_assert(!quantizer_of(shallow, "primary.conv3d")->is_signed && quantizer_of(shallow, "digit")->is_signed);
    cr_assert(quantizer_of(vgg, "features.0")->is_signed && quantizer_of(vgg, "features.0")->bits == 8);
    cr_assert(!quantizer_of(vgg, "features.7")->is_signed && quantizer_of(vgg, "features.7")->bits == 2);
    dt_graph_destroy(shallow);
    dt_graph_destroy(vgg);
    dt_graph_destroy(deep);
}

Test(graph, clips_are_one_a_layer_or_one_a_filter)
{
    dt_graph *layer = quantized("tiny", DT_RULE_ECE284, 0), *filter = quantized("tiny", DT_RULE_ECE284, 1);
    const char *clip = "features.8.weight_quant.wgt_alpha";

    cr_assert(dt_count(dt_graph_shape(layer, dt_graph_find(layer, clip))) == 1);
    cr_assert(dt_count(dt_graph_shape(filter, dt_graph_find(filter, clip))) == 16);
    dt_graph_destroy(filter);
    dt_graph_destroy(layer);
}

/* Rows an image: the skip of DeepCaps' last block convolves the 32 types of capsules as so many maps. */
Test(graph, facts_are_those_of_one_image)
{
    dt_graph *g = built("deepcaps");
    const int conv = dt_graph_find(g, "block4.l_skip.conv"), first = dt_graph_find(g, "conv1.conv");

    cr_assert(dt_graph_rows(g, conv) == 32 && dt_graph_rows(g, first) == 1);
    cr_assert(dt_graph_count(g, first) == 28 * 28 * 128);
    cr_assert(dt_graph_n_readers(g, dt_graph_find(g, "block1.l1.squash")) == 2);
    dt_graph_destroy(g);
}

/* The decoder is recorded where it is wanted, and nothing else from the capsules on. */
Test(graph, only_what_is_wanted_is_recorded)
{
    const dt_model_config c = config_of("shallowcaps");
    dt_options opt;
    dt_context *ctx;
    dt_model *m;
    dt_tensor **tensor;
    dt_tape *tape;

    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &ctx));
    MUST(dt_model_create(ctx, &c, &m));
    MUST(dt_model_tensors(m, &tensor));
    MUST(dt_tape_create(ctx, NULL, &tape));
    const dt_graph *g = m->graph;
    dt_tensor v = { .type = DT_F32, .shape = { 2, { 3, 16 } }, .name = "capsules" };
    tensor[g->masked] = &v;
    MUST(dt_graph_record(g, tape, &g->reconstruction, 1, tensor));
    cr_assert(dt_tape_n_nodes(tape) == 6, "%d nodes", dt_tape_n_nodes(tape)); /* fc relu fc relu fc sigmoid */
    cr_assert(tensor[g->reconstruction] && !tensor[g->scores]);
    cr_assert(dt_graph_record(g, tape, &g->scores, 1, tensor) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "conv.conv reads image, which nobody has given"), "%s", dt_last_error());
    dt_tape_destroy(tape);
    free(tensor);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* Params are constants of the network: a tape's purpose stands beside them. */
static void check_params(const char *name, int training)
{
    const dt_model_config c = config_of(name);
    dt_tensor images = { .type = DT_U8, .shape = { 4, { 9, c.height, c.width, c.channels } } };
    dt_tensor labels = { .type = DT_I32, .shape = { 1, { 9 } } }, order = labels;
    const dt_record_spec spec = {
        .images = &images, .labels = &labels, .order = &order, .batch = 3, .training = training, .std = { 1, 1, 1, 1 }
    };
    dt_options opt;
    dt_context *ctx;
    dt_model *m;
    dt_tape *tape;
    dt_tensor *scores, *loss;
    int n_same = 0;

    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &ctx));
    MUST(dt_model_create(ctx, &c, &m));
    MUST(dt_model_tape(m, &spec, &tape));
    MUST(dt_model_record(m, tape, &spec, &scores, &loss));
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        const dt_node *n = dt_tape_node(tape, i);
        const int value = dt_graph_find(m->graph, n->name);
        const dt_graph_node *of_graph = value < 0 ? NULL : dt_graph_maker(m->graph, value);
        const size_t bytes = dt_ops[n->kind]->params_bytes;
        cr_assert(n->purpose.training == training && n->purpose.images == (n->out->constant ? 0 : 3), "%s", n->name);
        if (!of_graph || bytes == 0) continue;
        cr_assert(of_graph->kind == n->kind && memcmp(of_graph->params, n->params, bytes) == 0, "%s", n->name);
        n_same++;
    }
    cr_assert(n_same > 10, "%d nodes of %s were compared", n_same, name);
    dt_tape_destroy(tape);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(graph, params_on_a_tape_are_those_of_the_graph)
{
    check_params("tiny", 1);
    check_params("tiny", 0);
    check_params("deepcaps", 1);
}

Test(graph, misfits_are_refused_where_they_are_made)
{
    const dt_shape image = { 4, { 1, 8, 8, 3 } }, small = { 4, { 4, 3, 3, 2 } };
    const dt_param_spec filters = { .shape = small };
    const dt_conv_params conv = dt_conv_square(1, 1);
    char name[DT_NAME_MAX + 2];
    dt_graph *g;
    int in[2], out = -1;

    MUST(dt_graph_create("odd", &g));
    MUST(dt_graph_give(g, "image", DT_F32, &image, &in[0]));
    MUST(dt_graph_param(g, "w", &filters, &in[1]));
    cr_assert(dt_graph_add(g, DT_OP_CONV2D, "stem", &conv, in, 2, &out) == DT_ERR_SHAPE && out == -1);
    cr_assert(strstr(dt_last_error(), "stem"), "%s", dt_last_error());
    cr_assert(dt_graph_add(g, DT_OP_RELU, "w", NULL, in, 1, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "two values are called 'w'"), "%s", dt_last_error());
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_assert(dt_graph_add(g, DT_OP_RELU, name, NULL, in, 1, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "has 256 bytes"), "%s", dt_last_error());
    name[DT_NAME_MAX] = '\0';
    MUST(dt_graph_add(g, DT_OP_RELU, name, NULL, in, 1, &out));
    cr_assert(g->n_nodes == 1 && strcmp(dt_graph_name(g, out), name) == 0);
    const dt_param_spec other = { .shape = image };
    cr_assert(dt_graph_param(g, "w", &other, &out) == DT_ERR_SHAPE);
    dt_graph_destroy(g);
    name[DT_NAME_MAX] = 'x';
    cr_assert(dt_graph_create(name, &g) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "the network's name 'xxx") && strstr(dt_last_error(), "has 256 bytes"), "%s",
              dt_last_error());
}

/* ---- data and constants ---- */

static int8_t *bytes_of(int n)
{
    int8_t *b = malloc((size_t)n);

    for (int i = 0; i < n; i++) b[i] = (int8_t)(i * 7 - 20);
    return b;
}

/* A parameter with data, a constant with data and one without. */
static dt_graph *with_data(int *param, int *constant)
{
    const dt_shape image = { 4, { 1, 3, 3, 2 } }, three = { 1, { 3 } }, weight = { 4, { 5, 1, 1, 2 } };
    const dt_param_spec spec = { .shape = weight, .group = DT_GROUP_STATE, .values = DT_VALUES_ANY };
    const dt_conv_params conv = dt_conv_square(1, 0);
    dt_graph *g;
    int in[2], y, bare;

    MUST(dt_graph_create("with data", &g));
    MUST(dt_graph_give(g, "image", DT_F32, &image, &in[0]));
    MUST(dt_graph_constant(g, "beside", &three, constant));
    MUST(dt_graph_param(g, "w", &spec, &in[1]));
    MUST(dt_graph_constant(g, "bare", &three, &bare));
    MUST(dt_graph_add(g, DT_OP_CONV2D, "conv", &conv, in, 2, &y));
    dt_graph_set_data(g, in[1], DT_I8, bytes_of(10));
    dt_graph_set_data(g, *constant, DT_I8, bytes_of(3));
    g->image = in[0];
    g->scores = y;
    *param = in[1];
    return g;
}

Test(graph, data_and_constants_belong_to_a_copy_too)
{
    int param, constant;
    dt_graph *g = with_data(&param, &constant), *copy;

    cr_assert(dt_graph_data_bytes(g, param) == 10 && dt_graph_data_bytes(g, constant) == 3);
    MUST(dt_graph_rewrite(g, NULL, NULL, &copy));
    const dt_graph_value *w = copy->value[dt_graph_find(copy, "w")], *c = copy->value[dt_graph_find(copy, "beside")];
    const dt_graph_value *bare = copy->value[dt_graph_find(copy, "bare")];
    cr_assert(c->source == DT_SOURCE_CONSTANT && bare->source == DT_SOURCE_CONSTANT && !bare->data);
    cr_assert(w->data != g->value[param]->data && w->data_type == DT_I8 &&
              memcmp(w->data, g->value[param]->data, 10) == 0);
    cr_assert(c->data_type == DT_I8 && memcmp(c->data, g->value[constant]->data, 3) == 0);
    dt_graph_set_data(g, param, DT_F32, calloc(10, sizeof(float))); /* frees what was there */
    cr_assert(dt_graph_data_bytes(g, param) == 40);
    dt_graph_destroy(g);
    cr_assert(((const int8_t *)w->data)[9] == 43);
    dt_graph_destroy(copy);
}

Test(graph, constants_are_no_parameters_of_a_model)
{
    int param, constant;
    dt_graph *g = with_data(&param, &constant);
    dt_options opt;
    dt_context *ctx;
    dt_model *m;
    float value[10];

    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &ctx));
    MUST(dt_model_open(ctx, g, &m));
    cr_assert(m->n_params == 1 && m->n_state == 10);
    MUST(dt_model_read(m, 0, value));
    for (int i = 0; i < 10; i++) cr_assert(value[i] == (float)(i * 7 - 20));
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(graph, inputs_of_another_kind_are_refused)
{
    const dt_shape pixels = { 4, { 1, 4, 4, 2 } };
    int param, constant, out = -1, image;
    dt_graph *g = with_data(&param, &constant);

    cr_assert(dt_graph_add(g, DT_OP_RELU, "relu", NULL, &constant, 1, &out) == DT_ERR_ARGUMENT && out == -1);
    cr_assert(strstr(dt_last_error(), "relu: relu reads beside, which stands beside the network"), "%s",
              dt_last_error());
    MUST(dt_graph_give(g, "pixels", DT_U8, &pixels, &image));
    cr_assert(dt_graph_add(g, DT_OP_RELU, "relu", NULL, &image, 1, &out) == DT_ERR_ARGUMENT && out == -1);
    cr_assert(strstr(dt_last_error(), "relu: relu reads pixels, which is of the type u8, expected f32"), "%s",
              dt_last_error());
    cr_assert(dt_graph_constant(g, "w", &pixels, &out) == DT_ERR_ARGUMENT);
    dt_graph_destroy(g);
}

Test(graph, values_without_end_are_refused)
{
    static const dt_shape shapes[] = { { 2, { 0, 5 } },
                                       { 1, { -1 } },
                                       { 4, { 1 << 30, 1 << 30, 1 << 30, 1 << 30 } },
                                       { 2, { 65536, 32768 } },
                                       { 1, { (int64_t)1 << 62 } } };
    const dt_shape image = { 4, { 1, 1 << 15, 1 << 10, 1 } }, most = { 1, { DT_VALUE_MOST } };
    const dt_param_spec filters = { .shape = { 4, { 1 << 10, 1, 1, 1 } } };
    const dt_conv_params conv = dt_conv_square(1, 0);
    dt_graph *g;
    int in[2], out = -1;

    MUST(dt_graph_create("large", &g));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const dt_param_spec spec = { .shape = shapes[i] };
        cr_assert(dt_graph_param(g, "w", &spec, &out) == DT_ERR_SHAPE && out == -1, "shape %zu", i);
        cr_assert(dt_graph_constant(g, "c", &shapes[i], &out) == DT_ERR_SHAPE && out == -1, "shape %zu", i);
    }
    cr_assert(strstr(dt_last_error(), "or more than 2147483647 values"), "%s", dt_last_error());
    MUST(dt_graph_constant(g, "most", &most, &out));
    MUST(dt_graph_give(g, "image", DT_F32, &image, &in[0]));
    MUST(dt_graph_param(g, "filters", &filters, &in[1]));
    cr_assert(dt_graph_add(g, DT_OP_CONV2D, "conv", &conv, in, 2, &out) == DT_ERR_SHAPE);
    cr_assert(strstr(dt_last_error(), "conv: 2x32768x1024x1024 has an axis of 0, or more"), "%s", dt_last_error());
    dt_graph_destroy(g);
}
