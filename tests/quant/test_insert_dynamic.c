/*
 * test_insert_dynamic.c - the pass for dynamic ranges: which layers it takes, their codes and scales against a
 * computation in double, their sums against products of integers, and what is refused.
 */
#include "../support/range_networks.h"

#include "../support/dynamic_oracle.h"
#include "../support/graph_run.h"

#include "../../quant/insert_dynamic.h"
#include "detent/array.h"

#include <math.h>

/* 288 weights; 1,152 twice of one input, once of each channel; 2,048; 1,024; 1,056; 1,023. */
static const char network[] =
    "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [6, 5, 4], \"classes\": 31, \"nodes\": ["
    "[\"first\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"first.bn\", \"bias\", \"first\"],"
    "[\"x\", \"relu\", \"first.bn\"],"
    "[\"a\", \"conv\", \"x\", { \"filters\": 16, \"window\": 3, \"pad\": 1 }],"
    "[\"dw\", \"conv\", \"x\", { \"filters\": 128, \"window\": 3, \"pad\": [0, 1, 2, 1], \"groups\": 8 }],"
    "[\"c\", \"conv\", \"dw\", { \"filters\": 16, \"window\": 1 }],"
    "[\"sum\", \"add\", [\"a\", \"c\"]],"
    "[\"pool\", \"maxpool\", \"sum\", { \"window\": 3, \"stride\": [3, 2] }],"
    "[\"mean\", \"avgpool\", \"pool\"],"
    "[\"flat\", \"flatten\", \"mean\"],"
    "[\"fc0\", \"linear\", \"flat\", { \"features\": 64 }],"
    "[\"fc1\", \"linear\", \"fc0\", { \"features\": 33 }],"
    "[\"fc2\", \"linear\", \"fc1\", { \"features\": 31 }] ] }";

enum { N_IMAGES = 3, IMAGE = 6 * 5 * 4 };

static const dt_dynamic_choice eight = { .wbits = 8, .per_channel = 1 };

static const struct {
    const char *layer, *x;
    int is_depthwise, is_linear, pad[2], filters, is_codes;
} layers[] = {
    { "first", "image", 0, 0, { 1, 1 }, 8, 0 }, { "a", "x", 0, 0, { 1, 1 }, 16, 1 },
    { "dw", "x", 1, 0, { 0, 1 }, 128, 1 },      { "c", "dw", 0, 0, { 0, 0 }, 16, 1 },
    { "fc0", "flat", 0, 1, { 0, 0 }, 64, 1 },   { "fc1", "fc0", 0, 1, { 0, 0 }, 33, 1 },
    { "fc2", "fc1", 0, 1, { 0, 0 }, 31, 0 },
};
enum { N_LAYERS = sizeof layers / sizeof layers[0] };

static int find(const dt_graph *g, const char *layer, const char *part)
{
    char name[64];

    snprintf(name, sizeof name, "%s%s", layer, part);
    return dt_graph_find(g, name);
}

/* Weights of both signs, of a size of its own for each filter; filter 3 of layer a is 0. */
static void fill(dt_graph *g)
{
    for (int v = 0; v < g->n_values; v++) {
        if (g->value[v]->source != DT_SOURCE_PARAM) continue;
        const dt_shape *s = dt_graph_shape(g, v);
        const int64_t n = dt_count(s), row = n / s->dim[0];
        float *w = malloc((size_t)n * sizeof *w);
        for (int64_t i = 0; i < n; i++) {
            const int64_t k = i / row;
            w[i] = 0.01f * (float)(k % 5 + 1) * sinf((float)(i * i % 1013) + 0.1f * (float)v);
            if (strcmp(g->value[v]->name, "a.weight") == 0 && k == 3) w[i] = 0.0f;
        }
        dt_graph_set_data(g, v, DT_F32, w);
    }
}

static dt_graph *filled(void)
{
    dt_graph *g = graph_of(network);

    fill(g);
    return g;
}

static dt_graph *dynamic(const dt_dynamic_choice *choice)
{
    dt_graph *g = filled(), *out;

    MUST(dt_quant_insert_dynamic(g, choice, &out));
    dt_graph_destroy(g);
    return out;
}

/* ---- structure ---- */

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static const dt_graph_node *maker_of(const dt_graph *g, const char *name)
{
    const dt_graph_node *n = dt_graph_maker(g, find(g, name, ""));
    cr_assert(n != NULL, "no node makes %s", name);
    return n;
}

Test(insert_dynamic, layers_of_1024_weights_or_more_read_codes)
{
    dt_graph *g = dynamic(&eight);

    cr_assert(count_of(g, DT_OP_CODES) == 5 && count_of(g, DT_OP_DEQUANTIZE) == 5);
    cr_assert(count_of(g, DT_OP_DYNAMIC_QUANT) == 4, "a and dw share theirs");
    for (int i = 0; i < N_LAYERS; i++) {
        const dt_graph_node *n = maker_of(g, layers[i].layer), *x = dt_graph_maker(g, n->in[0]);
        const int is_dynamic = x && x->kind == DT_OP_DYNAMIC_QUANT;
        const int has_codes = dt_dynamic_codes_of(g, n) != NULL;
        const int has_scales = find(g, layers[i].layer, ".weight_scale") >= 0;
        cr_assert(has_codes == layers[i].is_codes && has_scales == layers[i].is_codes, "%s", layers[i].layer);
        cr_assert(is_dynamic == layers[i].is_codes, "%s", layers[i].layer);
        const int source = is_dynamic ? x->in[0] : n->in[0];
        cr_assert(strcmp(dt_graph_name(g, source), layers[i].x) == 0, "%s reads %s", layers[i].layer,
                  dt_graph_name(g, source));
    }
    cr_assert(g->scores == find(g, "fc2", "") && g->image == find(g, "image", ""));
    dt_graph_destroy(g);
}

/* ---- codes ---- */

static void check_filter(const char *layer, const float *w, int64_t n, const int8_t *code, float scale)
{
    double most = 5e-7;

    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)w[i]));
    cr_assert(scale == (float)(most / 127.0), "%s: scale %.9g, expected %.9g", layer, (double)scale, most / 127.0);
    for (int64_t i = 0; i < n; i++) {
        const double expected = dynamic_oracle_away((double)w[i] / (most / 127.0));
        cr_assert(code[i] == (int)expected, "%s: code of %.9g is %d, expected %g", layer, (double)w[i], code[i],
                  expected);
    }
}

static void check_codes(const dt_dynamic_choice *choice)
{
    dt_graph *real = filled(), *g = dynamic(choice);

    for (int i = 0; i < N_LAYERS; i++) {
        const float *w = real->value[find(real, layers[i].layer, ".weight")]->data;
        const dt_graph_value *codes = g->value[find(g, layers[i].layer, ".weight")];
        const int64_t n = dt_count(&codes->facts.shape);
        if (!layers[i].is_codes) {
            cr_assert(codes->data_type == DT_F32 && memcmp(codes->data, w, (size_t)n * sizeof *w) == 0);
            continue;
        }
        const dt_graph_value *scale = g->value[find(g, layers[i].layer, ".weight_scale")];
        const int has_one = !choice->per_channel || (choice->fc_per_layer && layers[i].is_linear);
        const int64_t sets = dt_count(&scale->facts.shape);
        cr_assert(sets == (has_one ? 1 : layers[i].filters) && codes->data_type == DT_I8);
        cr_assert(codes->param.group == DT_GROUP_STATE && scale->param.group == DT_GROUP_STATE);
        for (int64_t k = 0; k < sets; k++) {
            const int64_t first = k * (n / sets);
            check_filter(layers[i].layer, w + first, n / sets, (const int8_t *)codes->data + first,
                         ((const float *)scale->data)[k]);
        }
    }
    dt_graph_destroy(g);
    dt_graph_destroy(real);
}

Test(insert_dynamic, codes_and_scales_are_the_filters)
{
    check_codes(&eight);
    check_codes(&(dt_dynamic_choice){ .wbits = 8, .per_channel = 1, .fc_per_layer = 1 });
    check_codes(&(dt_dynamic_choice){ .wbits = 8 });
}

/* ---- values ---- */

/* Of N_IMAGES images. The caller frees it. */
static float *run(const char *value)
{
    static float image[N_IMAGES * IMAGE];
    dt_graph *g = dynamic(&eight);
    const int v = find(g, value, "");
    const int64_t n = dt_graph_count(g, v) * N_IMAGES;
    float *out = malloc((size_t)n * sizeof *out);

    for (int i = 0; i < N_IMAGES * IMAGE; i++) image[i] = (float)(i / IMAGE + 1) * cosf((float)(i * i % 509));
    graph_run(g, value, image, N_IMAGES, out);
    return out;
}

/* A sum of products, and that of their magnitudes. */
typedef struct {
    double sum, most;
} sums;

static void add_product(sums *s, double a, double b)
{
    s->sum += a * b;
    s->most += fabs(a * b);
}

/* One output of a convolution of stride 1 of the integers of one image. */
static sums conv_sum(const dt_graph *g, int layer, const double *q, int64_t at)
{
    const dt_shape *x = dt_graph_shape(g, find(g, layers[layer].x, "")),
                   *y = dt_graph_shape(g, find(g, layers[layer].layer, ""));
    const dt_shape *w = dt_graph_shape(g, find(g, layers[layer].layer, ".weight"));
    const int8_t *code = g->value[find(g, layers[layer].layer, ".weight")]->data;
    const int64_t k = at % y->dim[3], column = at / y->dim[3] % y->dim[2], row = at / y->dim[3] / y->dim[2];
    const int64_t first = layers[layer].is_depthwise ? k / (y->dim[3] / x->dim[3]) : 0;
    sums s = { 0, 0 };

    for (int64_t i = 0; i < w->dim[1] * w->dim[2] * w->dim[3]; i++) {
        const int64_t c = i % w->dim[3] + first, column_of = i / w->dim[3] % w->dim[2], r = i / w->dim[3] / w->dim[2];
        const int64_t h = row + r - layers[layer].pad[0], v = column + column_of - layers[layer].pad[1];
        if (h < 0 || h >= x->dim[1] || v < 0 || v >= x->dim[2]) continue;
        add_product(&s, q[(h * x->dim[2] + v) * x->dim[3] + c], code[k * (w->dim[1] * w->dim[2] * w->dim[3]) + i]);
    }
    return s;
}

static sums linear_sum(const dt_graph *g, int layer, const double *q, int64_t k)
{
    const int64_t n = dt_graph_count(g, find(g, layers[layer].x, ""));
    const int8_t *code = g->value[find(g, layers[layer].layer, ".weight")]->data;
    sums s = { 0, 0 };

    for (int64_t i = 0; i < n; i++) add_product(&s, q[i], code[k * n + i]);
    return s;
}

/* One image: x are what the layer reads before it is rounded, y what it gives. */
static void check_image(const dt_graph *g, int layer, const float *x, const float *y)
{
    const int64_t n = dt_graph_count(g, find(g, layers[layer].x, ""));
    const int64_t n_out = dt_graph_count(g, find(g, layers[layer].layer, ""));
    const float *scale = g->value[find(g, layers[layer].layer, ".weight_scale")]->data;
    const int bias = find(g, layers[layer].layer, ".bias");
    double *real = malloc((size_t)n * sizeof *real), *q = malloc((size_t)n * sizeof *q);

    for (int64_t i = 0; i < n; i++) real[i] = (double)x[i];
    const double s = (double)dynamic_oracle_codes(real, n, q);
    for (int64_t i = 0; i < n_out; i++) {
        const int64_t k = i % layers[layer].filters;
        const sums of = layers[layer].is_linear ? linear_sum(g, layer, q, i) : conv_sum(g, layer, q, i);
        const double step = s * (double)scale[k];
        const double added = layers[layer].is_linear ? (double)((const float *)g->value[bias]->data)[k] : 0.0;
        /* up to 129 terms in f32, whose factors are rounded too: 132 * 2^-24; an x of another code is beyond that */
        cr_assert(fabs((double)y[i] - (step * of.sum + added)) <= 8e-6 * (step * of.most + fabs(added)),
                  "%s[%lld] is %.9g, expected %.9g", layers[layer].layer, (long long)i, (double)y[i],
                  step * of.sum + added);
    }
    free(q);
    free(real);
}

/* Each layer is judged on the values that it read, since an f32 that differs in its last digit may have another code.
 */
Test(insert_dynamic, sums_are_those_of_integers)
{
    dt_graph *g = dynamic(&eight);

    for (int i = 0; i < N_LAYERS; i++) {
        if (!layers[i].is_codes) continue;
        float *x = run(layers[i].x), *y = run(layers[i].layer);
        const int64_t n = dt_graph_count(g, find(g, layers[i].x, ""));
        const int64_t n_out = dt_graph_count(g, find(g, layers[i].layer, ""));
        for (int k = 0; k < N_IMAGES; k++) check_image(g, i, x + k * n, y + k * n_out);
        free(y);
        free(x);
    }
    dt_graph_destroy(g);
}

/* ---- weights that are shared, and what is refused ---- */

/* A weight that two layers read has one set of codes; one that something else reads too stays real. */
Test(insert_dynamic, shared_weights)
{
    static const char text[] =
        "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [2, 2, 32], \"classes\": 32, "
        "\"params\": [{ \"name\": \"w\", \"shape\": [32, 32] }, { \"name\": \"v\", \"shape\": [32, 32] }, "
        "{ \"name\": \"b\", \"shape\": [32] }], \"nodes\": ["
        "[\"mean\", \"avgpool\", \"image\"], [\"flat\", \"flatten\", \"mean\"],"
        "[\"one\", \"linear\", [\"flat\", \"w\", \"b\"]], [\"two\", \"linear\", [\"one\", \"w\", \"b\"]],"
        "[\"other\", \"relu\", \"v\"],"
        "[\"three\", \"linear\", [\"two\", \"v\", \"b\"]] ] }";
    dt_graph *g = graph_of(text), *out;

    fill(g);
    MUST(dt_quant_insert_dynamic(g, &eight, &out));
    cr_assert(count_of(out, DT_OP_CODES) == 1 && count_of(out, DT_OP_DYNAMIC_QUANT) == 2);
    cr_assert(maker_of(out, "one")->in[1] == maker_of(out, "two")->in[1]);
    cr_assert(maker_of(out, "three")->in[1] == find(out, "v", "") &&
              out->value[find(out, "v", "")]->data_type == DT_F32);
    dt_graph_destroy(out);
    dt_graph_destroy(g);
}

static void expect_refused(dt_graph *g, const dt_dynamic_choice *choice, dt_status status, const char *words)
{
    dt_graph *out = NULL;
    const dt_status got = dt_quant_insert_dynamic(g, choice, &out);

    cr_assert(got == status && strstr(dt_last_error(), words) && !out, "%s: %s, expected '%s'", dt_status_name(got),
              dt_last_error(), words);
    dt_graph_destroy(g);
}

Test(insert_dynamic, misfits_are_refused)
{
    dt_graph *g = filled();

    expect_refused(filled(), &(dt_dynamic_choice){ .wbits = 9 }, DT_ERR_ARGUMENT,
                   "weights of 9 bits, allowed are 2..8");
    expect_refused(graph_of(network), &eight, DT_ERR_ARGUMENT, "a.weight has no data");
    ((float *)g->value[find(g, "dw.weight", "")]->data)[700] = NAN;
    expect_refused(g, &eight, DT_ERR_NUMERIC, "dw.weight: a weight is nan");
}
