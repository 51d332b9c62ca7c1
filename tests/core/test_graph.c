/*
 * test_graph.c - graphs are built and refused, copied whole, given quantizers, and recorded as far as is wanted.
 */
#include "../support/tiny_run.h"

#include "../../core/conv_params.h"
#include "../../core/graph/rewrite.h"
#include "../../models/networks.h"
#include "../../quant/insert.h"

#include <stdio.h>

static dt_model_config config_of(const char *name)
{
    dt_model_config c;

    MUST(dt_model_config_default(name, &c));
    return c;
}

static dt_graph *built(const char *name)
{
    const dt_model_config c = config_of(name);
    dt_graph *g;

    MUST(dt_network_build(&c, &g));
    return g;
}

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

static const dt_act_quant_params *quantizer_of(const dt_graph *g, const char *layer)
{
    char name[64];

    snprintf(name, sizeof name, "%s.act_quant", layer);
    const int value = dt_graph_find(g, name);
    cr_assert(value >= 0, "%s", name);
    return dt_graph_maker(g, value)->params;
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

/* ---- bits of single layers ---- */

/* Bits of a layer's quantizers in q, as 10 * weights + activations; 0: it has none. */
static int bits_of(const dt_graph *q, const char *layer)
{
    char name[96];

    snprintf(name, sizeof name, "%s.weight_quant", layer);
    const int w = dt_graph_find(q, name);
    if (w < 0) return 0;
    const dt_weight_quant_params *p = dt_graph_maker(q, w)->params;
    return 10 * p->bits + quantizer_of(q, layer)->bits;
}

typedef struct {
    const char *why;
    int wbits, abits, input_bits, first_last;
    dt_layer_bits layer[3];
    int n;
    int expected[3]; /* of tiny's features.0, features.4, features.8 */
} bits_case;

static const bits_case bits_cases[] = {
    { "alike", 4, 4, 8, 0, { { 0 } }, 0, { 48, 44, 44 } },
    { "one by its name", 4, 4, 8, 0, { { "features.4", 2, 3, 0 } }, 1, { 48, 23, 44 } },
    { "all by a pattern; the image keeps its own", 4, 4, 8, 0, { { "*", 3, 2, 0 } }, 1, { 38, 32, 32 } },
    { "the image as any activation", 4, 4, 0, 0, { { "features.0", 8, 5, 0 } }, 1, { 85, 44, 44 } },
    { "the last that fits",
      4,
      4,
      8,
      0,
      { { "*", 3, 2, 0 }, { "features.?", 6, 6, 0 }, { "features.8", 8, 8, 0 } },
      3,
      { 68, 66, 88 } },
    { "first and last", 4, 2, 8, 8, { { 0 } }, 0, { 88, 42, 88 } },
    { "... but for one that has bits of its own", 4, 2, 8, 8, { { "features.8", 5, 5, 0 } }, 1, { 88, 42, 55 } },
    { "one stays real", 4, 4, 8, 0, { { "features.0", 32, 32, 0 } }, 1, { 0, 44, 44 } },
    { "two alone are quantized", 32, 32, 8, 0, { { "features.[48]", 4, 4, 0 } }, 1, { 0, 44, 44 } },
};

Test(graph, layers_have_bits_of_their_own)
{
    static const char *const layers[] = { "features.0", "features.4", "features.8" };
    dt_graph *g = built("tiny"), *q;

    for (size_t i = 0; i < sizeof bits_cases / sizeof bits_cases[0]; i++) {
        const bits_case *c = &bits_cases[i];
        const dt_quant_choice choice = { .wbits = c->wbits,
                                         .abits = c->abits,
                                         .input_bits = c->input_bits,
                                         .first_last_bits = c->first_last,
                                         .layer_bits = c->layer,
                                         .n_layer_bits = c->n };
        MUST(dt_quant_insert(g, &choice, &q));
        for (int k = 0; k < 3; k++) {
            cr_assert(bits_of(q, layers[k]) == c->expected[k], "%s: %s has %d, expected %d", c->why, layers[k],
                      bits_of(q, layers[k]), c->expected[k]);
        }
        dt_graph_destroy(q);
    }
    dt_graph_destroy(g);
}

static void check_bits_refused(const dt_layer_bits *layer, int first_last, const char *why)
{
    const dt_quant_choice choice = {
        .wbits = 4, .abits = 4, .first_last_bits = first_last, .layer_bits = layer, .n_layer_bits = layer ? 1 : 0
    };
    dt_graph *g = built("tiny"), *q;

    cr_assert(dt_quant_insert(g, &choice, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), why) != NULL, "%s", dt_last_error());
    dt_graph_destroy(g);
}

Test(graph, bits_that_fit_no_layer_are_refused)
{
    check_bits_refused(&(dt_layer_bits){ "features.1", 4, 4, 0 }, 0,
                       "tiny has no layer 'features.1' that could be quantized; there are features.0, features.4, "
                       "features.8, classifier");
    check_bits_refused(&(dt_layer_bits){ "features.*", 1, 4, 0 }, 0, "bits w1a4 of 'features.*', allowed are 2..8");
    check_bits_refused(&(dt_layer_bits){ "features.*", 4, 9, 0 }, 0, "bits w4a9 of");
    check_bits_refused(&(dt_layer_bits){ "features.*", 4, 32, 0 }, 0, "float for both");
    check_bits_refused(NULL, 9, "9 bits of the first and last layer");
}

/* features.4 has no batch norm: what features.8 would read of it are integers. */
Test(graph, a_real_layer_reads_no_integers)
{
    const dt_layer_bits layer = { "features.8", DT_BITS_FLOAT, DT_BITS_FLOAT, 0 };
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .layer_bits = &layer, .n_layer_bits = 1 };
    dt_graph *g = built("tiny"), *q;

    MUST(dt_quant_insert(g, &choice, &q));
    const dt_graph_node *layer_node = dt_graph_maker(q, dt_graph_find(q, "features.8"));
    const dt_graph_node *between = dt_graph_maker(q, layer_node->in[0]);
    cr_assert(between->kind == DT_OP_DEQUANTIZE);
    cr_assert(strcmp(dt_graph_name(q, between->out), "features.8.dequantize") == 0);
    cr_assert(q->value[between->in[0]]->facts.n_scale == 1 && q->value[between->out]->facts.n_scale == 0);
    dt_graph_destroy(q);
    dt_graph_destroy(g);
}

/* ---- linear layers and sums ---- */

static dt_op_kind kind_of(const dt_graph *g, const char *name)
{
    const int value = dt_graph_find(g, name);

    cr_assert(value >= 0 && dt_graph_maker(g, value), "there is no node %s", name);
    return dt_graph_maker(g, value)->kind;
}

/* The classifier is real unless it is asked for, by a word or by its name; its bias then stands behind it. */
Test(graph, a_classifier_has_bits_where_it_is_asked_for)
{
    const dt_layer_bits own = { "classifier", 6, 5, 0 };
    const dt_quant_choice real = { .wbits = 4, .abits = 3 },
                          asked = { .wbits = 4, .abits = 3, .quantize_classifier = 1 },
                          ends = { .wbits = 4, .abits = 3, .quantize_classifier = 1, .first_last_bits = 8 },
                          named = { .wbits = 4, .abits = 3, .layer_bits = &own, .n_layer_bits = 1 },
                          none = { .wbits = 32, .abits = 32, .quantize_classifier = 1 };
    const dt_quant_choice *const choices[] = { &real, &asked, &ends, &named };
    static const int classifier[] = { 0, 43, 88, 65 }, last_conv[] = { 43, 43, 43, 43 };
    dt_graph *g = built("tiny"), *q;

    for (int i = 0; i < 4; i++) {
        MUST(dt_quant_insert(g, choices[i], &q));
        cr_assert(bits_of(q, "classifier") == classifier[i], "%d: %d", i, bits_of(q, "classifier"));
        cr_assert(bits_of(q, "features.8") == last_conv[i], "%d: %d", i, bits_of(q, "features.8"));
        cr_assert(kind_of(q, dt_graph_name(q, q->scores)) == (i == 0 ? DT_OP_LINEAR : DT_OP_BIAS));
        dt_graph_destroy(q);
    }
    cr_assert(dt_quant_insert(g, &none, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "nothing says to how many bits; give 'classifier' some"), "%s", dt_last_error());
    dt_graph_destroy(g);
}

/* A join of a signed and an unsigned branch, a pool of cells and one of a single cell, and a linear layer inside. */
static dt_graph *joined(void)
{
    const dt_shape image = { 4, { 1, 4, 4, 3 } };
    const dt_pool_params two = dt_pool_square(2), one = dt_pool_square(1);
    dt_model_config config = { .n_classes = 5 };
    dt_builder b = { .config = &config };
    int x;

    MUST(dt_graph_create("joined", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    x = dt_build_conv(&b, "a", b.graph->image, &(dt_conv_spec){ .filters = 4, .kernel = 3, .stride = 1, .pad = 1 });
    x = dt_build_batchnorm(&b, "a.bn", x, NULL);
    x = dt_build_node(&b, DT_OP_ADD, "join", NULL, (int[]){ x, dt_build_apply(&b, DT_OP_RELU, "a.relu", x) }, 2);
    x = dt_build_node(&b, DT_OP_AVGPOOL, "pool", &two, &x, 1);
    x = dt_build_node(&b, DT_OP_AVGPOOL, "cells", &one, &x, 1);
    x = dt_build_linear(&b, "inside", dt_build_apply(&b, DT_OP_FLATTEN, "flatten", x), 7);
    b.graph->scores = dt_build_classifier(&b, "classifier", x, 5);
    MUST(b.status);
    return b.graph;
}

Test(graph, the_rule_affine_is_another_passes)
{
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .rule = DT_RULE_AFFINE };
    dt_graph *g = built("tiny"), *q;

    cr_assert(dt_quant_insert(g, &choice, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "tiny: the rule affine") != NULL, "%s", dt_last_error());
    dt_graph_destroy(g);
}

Test(graph, sums_have_bits_and_share_a_clip)
{
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .sum_bits = 6 },
                          wrong = { .wbits = 4, .abits = 4, .sum_bits = 9 };
    dt_graph *g = joined(), *q;

    MUST(dt_quant_insert(g, &choice, &q));
    const dt_graph_node *join = dt_graph_maker(q, dt_graph_find(q, "join"));
    const dt_graph_node *first = dt_graph_maker(q, join->in[0]), *second = dt_graph_maker(q, join->in[1]);
    cr_assert(strcmp(dt_graph_name(q, first->out), "join.0.act_quant") == 0);
    cr_assert(first->kind == DT_OP_ACT_QUANT && second->kind == DT_OP_ACT_QUANT && first->in[1] == second->in[1]);
    const dt_act_quant_params *params = second->params; /* of what cannot be below 0, and yet signed as the other is */
    cr_assert(params->bits == 6 && params->is_signed);
    const dt_tensor *sum = &q->value[join->out]->facts;
    cr_assert(sum->n_scale == 1 && sum->qmin == -62 && sum->qmax == 62);
    cr_assert(kind_of(q, "pool.act_quant") == DT_OP_ACT_QUANT && dt_graph_find(q, "cells.act_quant") < 0);
    cr_assert(q->value[dt_graph_find(q, "pool")]->facts.qmax == 4 * 31);
    cr_assert(bits_of(q, "inside") == 44 && bits_of(q, "classifier") == 0);
    dt_graph_destroy(q);
    cr_assert(dt_quant_insert(g, &wrong, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "9 bits of sums, allowed are 2..8 and 0 (real)"), "%s", dt_last_error());
    dt_graph_destroy(g);
}

/* Mixed bits train, are saved, and say so. */
Test(graph, a_model_of_mixed_bits_is_trained)
{
    const dt_layer_bits layers[] = { { "features.0", 32, 32, 0 }, { "features.8", 8, 2, 0 } };
    tiny_options o = tiny_defaults();
    dt_model_info is;
    tiny_run r;

    o.model.layer_bits = layers;
    o.model.n_layer_bits = 2;
    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 3);
    MUST(dt_trainer_check_values(r.trainer));
    dt_model_look(r.model, &is);
    cr_assert(is.wbits_least == 4 && is.wbits_most == 8 && is.abits_least == 2 && is.abits_most == 4 &&
              is.n_float == 1);
    tiny_close(&r);
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
