/*
 * test_lower.c - programs against the models they come from: every code that a convolution reads, every psum and every
 * score has the model's bits. What cannot be lowered is in test_lower_refused.c.
 */
#include "../support/lowered.h"
#include "../../core/conv_params.h"
#include "../../models/build.h"
#include "../../quant/insert.h"

/* ---- the whole network ---- */

/* What the reference gave for one image, beside what was captured of all. */
typedef struct {
    const dt_program *p;
    dt_capture **capture; /* [n_values]; of convolutions */
    int64_t at;           /* of the image */
    int32_t **codes;      /* [n_values], of this image, owned */
    int64_t n_codes_seen; /* distinct enough to mean something: codes that are not 0 */
} comparison;

static void compare_conv(comparison *k, const dt_graph_node *n, const int32_t *psum)
{
    const char *name = dt_graph_name(k->p->graph, n->out);
    const dt_value y = dt_program_value(k->p, n->out);
    const dt_capture *c = k->capture[n->out];
    const int64_t n_x = (int64_t)c->height * c->width * c->channels, n_y = dt_value_count(&y);
    for (int64_t i = 0; i < n_x; i++) {
        const int32_t code = k->codes[n->in[0]][i];
        const float want = c->qx[k->at * n_x + i];
        cr_assert((float)code == want, "%s: image %lld, code %lld is %d, expected %g", name, (long long)k->at,
                  (long long)i, code, (double)want);
        k->n_codes_seen += code != 0;
    }
    for (int64_t i = 0; i < n_y; i++) {
        const float want = c->psum[k->at * n_y + i];
        cr_assert((float)psum[i] == want && psum[i] >= y.low && psum[i] <= y.high,
                  "%s: image %lld, psum %lld is %d, expected %g", name, (long long)k->at, (long long)i, psum[i],
                  (double)want);
    }
}

static void compare_node(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    comparison *k = user;
    const dt_value y = dt_program_value(p, n->out);
    const size_t bytes = (size_t)dt_value_count(&y) * sizeof(int32_t);
    int32_t **codes = &k->codes[n->out];
    if (n->kind == DT_OP_CONV2D) compare_conv(k, n, values);
    if (y.kind != DT_VALUE_CODE) return;
    *codes = realloc(*codes, bytes);
    memcpy(*codes, values, bytes);
    for (int64_t i = 0; i < dt_value_count(&y); i++) {
        cr_assert((*codes)[i] >= y.low && (*codes)[i] <= y.high, "%s", dt_graph_name(p->graph, n->out));
    }
}

static void compare_weights(const dt_program *p, const dt_graph_node *n, const dt_capture *c)
{
    const char *name = dt_graph_name(p->graph, n->out);
    const dt_conv_params *conv = n->params;
    const dt_graph_node *weights = dt_program_weights(p, n);
    const int8_t *weight = dt_program_data(p, weights, DT_CODES_WEIGHT);
    const float *scale = dt_program_data(p, weights, DT_CODES_SCALE);
    const int64_t count = (int64_t)c->filters * c->kernel_height * c->kernel_width * c->channels / c->conv.groups;
    cr_assert(p->graph->value[n->out]->facts.n_scale == c->n_sw && memcmp(conv, &c->conv, sizeof *conv) == 0);
    for (int64_t i = 0; i < count; i++) {
        cr_assert((float)weight[i] == c->qw[i], "%s: weight %lld", name, (long long)i);
    }
    for (int i = 0; i < c->n_sw; i++) cr_assert(scale[i] == c->sw[i], "%s: scale %d", name, i);
    cr_assert(dt_program_scale(p, n->in[0]) == c->sx, "%s: scale of the codes", name);
}

static comparison comparison_open(const lowered *r, int64_t images)
{
    const dt_graph *g = r->program->graph;
    comparison k = { .p = r->program };
    k.capture = calloc((size_t)g->n_values, sizeof(dt_capture *));
    k.codes = calloc((size_t)g->n_values, sizeof(int32_t *));
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind != DT_OP_CONV2D) continue;
        MUST(dt_capture_layer(r->model, r->data, 0, images, dt_graph_name(g, n->out), &k.capture[n->out]));
        compare_weights(r->program, n, k.capture[n->out]);
    }
    return k;
}

static void comparison_close(comparison *k)
{
    for (int i = 0; i < k->p->graph->n_values; i++) {
        dt_capture_destroy(k->capture[i]);
        free(k->codes[i]);
    }
    free(k->capture);
    free(k->codes);
}

/* The reference on every image, node by node, against the model. */
static void check_program(const lowered *r, int64_t images)
{
    dt_dataset_view v;
    const int classes = (int)dt_graph_count(r->model->graph, r->model->graph->scores);
    dt_dataset_look(r->data, &v);
    comparison k = comparison_open(r, images);
    float *want = lowered_logits(r->model, r->data, images), *scores = malloc((size_t)classes * sizeof *scores);
    for (; k.at < images; k.at++) {
        const uint8_t *image = v.images + k.at * v.height * v.width * v.channels;
        MUST(dt_program_trace(r->program, (dt_program_input){ .pixels = image }, compare_node, &k, scores));
        for (int o = 0; o < classes; o++) {
            cr_assert(scores[o] == want[k.at * classes + o], "%s: image %lld, score %d is %.9g, expected %.9g",
                      r->program->graph->name, (long long)k.at, o, (double)scores[o], (double)want[k.at * classes + o]);
        }
    }
    cr_assert(k.n_codes_seen > 0, "every code is 0");
    free(scores);
    free(want);
    comparison_close(&k);
}

static void check_model(const dt_model_config *c, int64_t images)
{
    lowered r = lowered_open(c, images);
    check_program(&r, images);
    lowered_close(&r);
}

Test(lower, tiny_with_every_rule)
{
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        for (int per_channel = 0; per_channel <= 1; per_channel++) {
            dt_model_config c = lowered_config("tiny", 4, 4);
            c.rule = (dt_quant_rule)rule;
            c.per_channel = per_channel;
            check_model(&c, 10);
        }
    }
}

Test(lower, tiny_with_other_bits)
{
    static const int bits[][3] = { { 4, 2, 8 }, { 8, 8, 8 }, { 2, 8, 2 }, { 8, 3, 5 }, { 4, 4, 0 }, { 4, 8, 0 } };
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule += DT_RULE_LSQ) {
            dt_model_config c = lowered_config("tiny", bits[i][0], bits[i][1]);
            c.input_bits = bits[i][2];
            c.rule = (dt_quant_rule)rule;
            check_model(&c, 4);
        }
    }
}

/* 33 leaves the pools a row and a column that fill no window */
Test(lower, images_of_odd_sides)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    c.height = c.width = 33;
    check_model(&c, 3);
}

/* Pixels of 0..1, which no data set's mean and deviation change. */
Test(lower, images_that_are_not_normalised)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_model(&c, 3);
    r.model->graph->unit_pixels = 1;
    MUST(dt_program_lower(r.model, r.data, &r.program));
    const int16_t *table = lowered_data(r.program, "image.table");
    const float alpha = *(float *)lowered_param(&r, "features.0", "act_alpha")->data;
    cr_assert(table[0] == 0 && table[255 * 3] == (int16_t)rintf(1.0f / alpha * 127.0f), "white is %d", table[255 * 3]);
    check_program(&r, 3);
    lowered_close(&r);
}

Test(lower, vgg16_with_a_chokepoint)
{
    dt_model_config c = lowered_config("vgg16", 4, 2);
    choose(&c, "choke", 16);
    check_model(&c, 2);
}

Test(lower, vgg16_with_a_skip_block)
{
    dt_model_config c = lowered_config("vgg16", 4, 4);
    choose(&c, "choke", 8);
    choose(&c, "skip-block", 1);
    c.per_channel = 1;
    check_model(&c, 1);
}

Test(lower, vgg16_plain_with_psums_above_24_bits)
{
    dt_model_config c = lowered_config("vgg16", 8, 8);
    check_model(&c, 1);
}

/* ---- a network of everything that the others have not ---- */

/* A convolution whose quantizer is signed, which only images have elsewhere. */
static int signed_conv(dt_builder *b, const char *name, int x, int kernel, int pad)
{
    const dt_conv_spec spec = { .filters = 7, .kernel = kernel, .stride = 1, .pad = pad };

    return quantized_conv(b, name, x, 0, &spec);
}

/* A stride, no padding and too much of it; pools that overlap, before and after ReLU; ReLU before a signed quantizer,
 * and none; a batch norm that is read by a quantizer and as reals; ReLU of bare psums as reals; averages by strides,
 * and of windows that the map cuts. */
static void build_odd(dt_builder *b)
{
    const dt_conv_spec first = { .filters = 5, .kernel = 3, .stride = 2, .pad = 0 };
    const dt_pool_params overlap = { .window = { 3, 3 }, .stride = { 2, 2 } };
    const dt_pool_params dense = { .window = { 2, 3 }, .stride = { 1, 1 }, .pad = { 0, 2, 1, 0 } };
    const dt_pool_params cut = { .window = { 2, 3 }, .stride = { 1, 2 }, .pad = { 1, 0, 0, 2 } };
    int x = b->graph->image;

    x = quantized_conv(b, "a", x, 1, &first);
    x = dt_build_batchnorm(b, "a.bn", x, NULL);
    x = dt_build_node(b, DT_OP_MAXPOOL, "a.pool", &overlap, &x, 1);
    x = dt_build_apply(b, DT_OP_RELU, "a.relu", x);
    x = signed_conv(b, "b", x, 3, 2);
    const int u = dt_build_batchnorm(b, "b.bn", x, NULL);
    int v = signed_conv(b, "c", u, 1, 0);
    v = dt_build_apply(b, DT_OP_IDENTITY, "c.same", v);
    v = dt_build_apply(b, DT_OP_RELU, "c.relu", v);
    x = dt_build_node(b, DT_OP_ADD, "sum", NULL, (int[]){ u, v }, 2);
    x = dt_build_node(b, DT_OP_MAXPOOL, "sum.pool", &dense, &x, 1);
    x = signed_conv(b, "d", x, 3, 1);
    x = dt_build_batchnorm(b, "d.bn", x, NULL);
    x = dt_build_node(b, DT_OP_AVGPOOL, "d.pool", &overlap, &x, 1);
    x = dt_build_node(b, DT_OP_AVGPOOL, "cut", &cut, &x, 1);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

Test(lower, a_network_of_odd_parts)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 4) };
    r.model = lowered_built(r.ctx, &c, build_odd);
    lowered_disturb(r.model, 78);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    const dt_value after_relu = lowered_threshold(r.program, "b").y, bare = lowered_threshold(r.program, "c").y;
    const dt_graph_node *reals = lowered_node(r.program, DT_OP_ACT_QUANT, "d.act_quant");
    cr_assert(after_relu.low == 0 && after_relu.high == 7 && bare.low == -7);
    cr_assert(dt_program_value(r.program, reals->out).low == -7);
    check_program(&r, 4);
    lowered_close(&r);
}

/* ---- the nodes, in order ---- */

typedef struct {
    dt_op_kind kind;
    const char *name;
    const char *in; /* what it reads first */
    int side, channels;
} wanted_node;

static void check_nodes(const dt_program *p, const wanted_node *want, int n)
{
    const dt_graph *g = p->graph;
    cr_assert(g->n_nodes == n, "%d nodes, expected %d", g->n_nodes, n);
    for (int i = 0; i < n; i++) {
        const dt_graph_node *is = &g->node[i];
        const dt_value y = dt_program_value(p, is->out);
        cr_assert(is->kind == want[i].kind && strcmp(dt_graph_name(g, is->out), want[i].name) == 0 &&
                      strcmp(dt_graph_name(g, is->in[0]), want[i].in) == 0,
                  "node %d is %s %s of %s", i, dt_ops[is->kind]->name, dt_graph_name(g, is->out),
                  dt_graph_name(g, is->in[0]));
        cr_assert(is->kind == DT_OP_CODES ||
                      (y.height == want[i].side && y.width == want[i].side && y.channels == want[i].channels),
                  "node %d is %dx%dx%d", i, y.height, y.width, y.channels);
    }
}

Test(lower, nodes_of_tiny)
{
    static const wanted_node want[] = {
        { DT_OP_TABLE, "image.codes", "image", 32, 3 },
        { DT_OP_CODES, "features.0.codes", "features.0.weight", 0, 0 },
        { DT_OP_CONV2D, "features.0", "image.codes", 32, 8 },
        { DT_OP_THRESHOLD, "features.4.act_quant", "features.0", 32, 8 },
        { DT_OP_MAXPOOL, "features.3", "features.4.act_quant", 16, 8 },
        { DT_OP_CODES, "features.4.codes", "features.4.weight", 0, 0 },
        { DT_OP_CONV2D, "features.4", "features.3", 16, 8 },
        { DT_OP_THRESHOLD, "features.8.act_quant", "features.4", 16, 8 },
        { DT_OP_MAXPOOL, "features.7", "features.8.act_quant", 8, 8 },
        { DT_OP_CODES, "features.8.codes", "features.8.weight", 0, 0 },
        { DT_OP_CONV2D, "features.8", "features.7", 8, 16 },
        { DT_OP_AFFINE, "features.9", "features.8", 8, 16 },
        { DT_OP_RELU, "features.10", "features.9", 8, 16 },
        { DT_OP_AVGPOOL, "features.11", "features.10", 4, 16 },
        { DT_OP_FLATTEN, "classifier.flatten", "features.11", 1, 256 },
        { DT_OP_LINEAR, "classifier", "classifier.flatten", 1, 10 },
    };
    dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    check_nodes(r.program, want, sizeof want / sizeof want[0]);
    cr_assert_str_eq(r.program->graph->name, "tiny w4a4");
    const dt_graph_node *conv = lowered_node(r.program, DT_OP_CONV2D, "features.4");
    const dt_value psum = dt_program_value(r.program, conv->out);
    const dt_codes_params *weights = dt_program_weights(r.program, conv)->params;
    cr_assert(psum.high == 72 * 15 * 7 && psum.low == -psum.high && weights->low == -7 && weights->high == 7);
    lowered_close(&r);
}

/* features.24, behind the block's pool, quantizes twice: for conv24 and for skip_conv; then come reals */
Test(lower, a_skip_block_ends_in_reals)
{
    dt_model_config c = lowered_config("vgg16", 4, 4);
    choose(&c, "choke", 8);
    choose(&c, "skip-block", 1);
    lowered r = lowered_open(&c, 1);
    const dt_graph *g = r.program->graph;
    const dt_graph_node *add = lowered_node(r.program, DT_OP_ADD, "features.20.add");
    const dt_graph_node *one = lowered_node(r.program, DT_OP_THRESHOLD, "features.20.conv24.act_quant");
    const dt_graph_node *two = lowered_node(r.program, DT_OP_THRESHOLD, "features.20.skip_conv.act_quant");
    cr_assert(one->in[0] == two->in[0]);
    cr_assert(dt_program_scale(r.program, one->out) != dt_program_scale(r.program, two->out));
    cr_assert_str_eq(dt_graph_name(g, add->in[0]), "features.20.bn31");
    cr_assert_str_eq(dt_graph_name(g, add->in[1]), "features.20.skip_bn");
    const dt_graph_node *quantize = lowered_node(r.program, DT_OP_ACT_QUANT, "features.34.act_quant");
    cr_assert_str_eq(dt_graph_name(g, quantize->in[0]), "features.33");
    cr_assert_str_eq(r.program->graph->name, "vgg16 choke 8 skip block w4a4");
    lowered_close(&r);
}

/* ---- convolutions that are not square, or have several groups ---- */

static dt_conv_params odd_form;

/* One such convolution of the image, 6 filters of 3x3, and a classifier. */
static void build_odd_form(dt_builder *b)
{
    const dt_shape filters = { 4, { 6, 3, 3, b->config->channels / odd_form.groups } };
    int in[] = { b->graph->image, dt_build_param(b, "a.weight", &filters, (dt_start){ .bound = 1.0f / 3.0f }) };
    int x = dt_build_node(b, DT_OP_CONV2D, "a", &odd_form, in, 2);

    x = dt_build_batchnorm(b, "bn", x, NULL);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

/* Codes and psums are those of captures, scores those of the model. */
Test(lower, convolutions_of_all_forms)
{
    static const dt_conv_params forms[] = { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 3 },
                                            { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 2 }, 1 },
                                            { { 2, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 },
                                            { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 1 },
                                            { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 1 }, 3 } };
    const dt_model_config c = lowered_config("tiny", 4, 4);

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 3) };
        odd_form = forms[i];
        r.model = lowered_quantized(r.ctx, &c, build_odd_form);
        lowered_disturb(r.model, 5);
        MUST(dt_program_lower(r.model, r.data, &r.program));
        lowered_check_scores(&r, 3);
        check_program(&r, 3);
        lowered_close(&r);
    }
}

/* A depthwise block between limited ReLUs, one of which is read as reals; a pool of the whole map. */
static void build_mobile(dt_builder *b)
{
    const dt_conv_spec stem = { .filters = 6, .kernel = 3, .stride = 2, .pad = 1 };
    const dt_conv_spec point = { .filters = 9, .kernel = 1, .stride = 1 };
    const dt_conv_params depthwise = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 6 };
    const dt_relu_params six = { .most = 1.5f }, two = { .most = 0.75f };
    const dt_pool_params whole = { .stride = { 1, 1 } };
    const dt_shape filters = { 4, { 6, 3, 3, 1 } };
    int x = dt_build_conv(b, "stem", b->graph->image, &stem);

    x = dt_build_batchnorm(b, "stem.bn", x, NULL);
    x = dt_build_node(b, DT_OP_RELU, "stem.relu", &six, &x, 1);
    const int in[] = { x, dt_build_param(b, "depth.weight", &filters, (dt_start){ .bound = 0.5f }) };
    x = dt_build_node(b, DT_OP_CONV2D, "depth", &depthwise, in, 2);
    x = dt_build_batchnorm(b, "depth.bn", x, NULL);
    x = dt_build_node(b, DT_OP_RELU, "depth.relu", &six, &x, 1);
    x = dt_build_pool(b, DT_OP_MAXPOOL, "depth.pool", x, 2);
    x = dt_build_node(b, DT_OP_RELU, "depth.relu2", &two, &x, 1);
    x = dt_build_conv(b, "point", x, &point);
    x = dt_build_batchnorm(b, "point.bn", x, NULL);
    x = dt_build_node(b, DT_OP_RELU, "point.relu", &two, &x, 1);
    x = dt_build_node(b, DT_OP_AVGPOOL, "pool", &whole, &x, 1);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

Test(lower, depthwise_and_limited_relus)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 5) };

    r.model = lowered_quantized(r.ctx, &c, build_mobile);
    lowered_disturb(r.model, 11);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    lowered_check_scores(&r, 5);
    lowered_close(&r);
}
