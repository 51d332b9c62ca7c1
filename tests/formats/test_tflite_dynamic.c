/*
 * test_tflite_dynamic.c - files with dynamic ranges, whose weights are int8 beside reals: their nodes, their codes, and
 * their outputs against plain loops; what is refused. With DETENT_PTQ_ORACLE, a folder of converted networks, those
 * with dynamic ranges are read, and those of reals are quantized here: which weights are codes, their codes, and
 * outputs.
 */
#include "../support/graph_run.h"
#include "../support/tflite_converted.h"
#include "../support/tflite_nets.h"
#include "../support/tflite_oracle.h"

#include "../../quant/insert_dynamic.h"
#include "detent/quantize.h"

#include <math.h>

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

static dt_graph *imported(const dt_tflite *m)
{
    dt_graph *g = NULL;
    int is_integer = -1;

    MUST(dt_tflite_graph(m, "net.tflite", &g, &is_integer));
    cr_assert(eq(int, is_integer, 0));
    return g;
}

/* 90 % of the scores are within 1e-5, and all within 5e-3: an f32 sum that differs in its last digit may give the next
 * layer another code, which is one step of 255 there. */
static void expect_close(const char *why, const float *got, const double *expected, int n)
{
    int n_close = 0;

    for (int i = 0; i < n; i++) {
        const double error = fabs((double)got[i] - expected[i]);
        n_close += error <= 1e-5;
        cr_assert(error <= 5e-3, "%s: score %d is %g, expected %g", why, i, (double)got[i], expected[i]);
    }
    cr_assert(10 * n_close >= 9 * n, "%s: %d of %d scores are within 1e-5", why, n_close, n);
}

Test(tflite_dynamic, a_network_computes_what_plain_loops_do)
{
    enum { N = 40 };
    static float image[N * TFLITE_NETS_IMAGE], scores[N * TFLITE_NETS_CLASSES];
    static double expected[N * TFLITE_NETS_CLASSES];
    dt_tflite *m = tflite_nets_dynamic();
    dt_graph *g = imported(m);
    char name[DT_NAME_MAX + 1];

    for (int i = 0; i < N * TFLITE_NETS_IMAGE; i++) image[i] = 2.0f * tflite_nets_real(i / TFLITE_NETS_IMAGE, i);
    snprintf(name, sizeof name, "%s", dt_graph_name(g, g->scores));
    graph_run(g, name, image, N, scores);
    for (int i = 0; i < N; i++) tflite_oracle_run(m, image + i * TFLITE_NETS_IMAGE, expected + i * TFLITE_NETS_CLASSES);
    expect_close("plain loops", scores, expected, N * TFLITE_NETS_CLASSES);
    dt_tflite_destroy(m);
}

Test(tflite_dynamic, nodes_and_codes)
{
    dt_tflite *m = tflite_nets_dynamic();
    dt_graph *g = imported(m);
    int n_dynamic = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        n_dynamic += n->kind == DT_OP_DYNAMIC_QUANT;
        if (n->kind != DT_OP_LINEAR) continue;
        const dt_graph_node *codes = dt_dynamic_codes_of(g, n), *x = dt_graph_maker(g, n->in[0]);
        cr_assert(codes != NULL && x->kind == DT_OP_DYNAMIC_QUANT, "%s", dt_graph_name(g, n->out));
    }
    cr_assert(eq(int, n_dynamic, 5), "of the input of each of 5 layers");
    const dt_graph_value *w = g->value[dt_graph_find(g, "dw0.weight")];
    const dt_tflite_tensor *from = NULL;
    for (int i = 0; i < m->n_ops; i++) {
        if (m->op[i].code == DT_TFLITE_DEPTHWISE_CONV_2D) from = &m->tensor[m->op[i].in[1]];
    }
    const int filters = from->dim[3], taps = from->dim[1] * from->dim[2];
    cr_assert(w->data_type == DT_I8 && w->param.group == DT_GROUP_STATE && w->facts.shape.dim[0] == filters);
    for (int i = 0; i < filters * taps; i++) {
        cr_assert(eq(int, ((int8_t *)w->data)[i], ((int8_t *)from->data)[i % taps * filters + i / taps]), "[%d]", i);
    }
    const dt_codes_params *range = dt_graph_maker(g, dt_graph_find(g, "dw0.codes"))->params;
    cr_assert(range->low == -128 && range->high == 127);
    cr_assert(memcmp(g->value[dt_graph_find(g, "dw0.weight_scale")]->data, from->scale,
                     (size_t)filters * sizeof(float)) == 0);
    dt_graph_destroy(g);
    dt_tflite_destroy(m);
}

/* ---- what is refused ---- */

static dt_tflite_operator *linear_of(dt_tflite *m)
{
    for (int i = 0; i < m->n_ops; i++) {
        if (m->op[i].code == DT_TFLITE_FULLY_CONNECTED) return &m->op[i];
    }
    return NULL;
}

static void around_zero(dt_tflite *m)
{
    linear_of(m)->options.per_row = 0;
}
static void weight_zero(dt_tflite *m)
{
    m->tensor[linear_of(m)->in[1]].zero[2] = 3;
}
static void other_axis(dt_tflite *m)
{
    dt_tflite_tensor *w = &m->tensor[linear_of(m)->in[1]];
    w->n_scales = w->dim[1];
    w->axis = 1;
    w->scale = realloc(w->scale, (size_t)w->dim[1] * sizeof *w->scale);
    w->zero = realloc(w->zero, (size_t)w->dim[1] * sizeof *w->zero);
    for (int i = 0; i < w->dim[1]; i++) w->scale[i] = 1.0f, w->zero[i] = 0;
}
static void int8_bias(dt_tflite *m)
{
    dt_tflite_tensor *b = &m->tensor[linear_of(m)->in[2]];
    b->type = DT_TFLITE_INT8;
    b->bytes /= 4;
}

Test(tflite_dynamic, what_is_not_understood_is_named)
{
    static const struct {
        void (*damage)(dt_tflite *m);
        const char *words;
    } cases[] = {
        { around_zero, "asymmetric_quantize_inputs is 0" },
        { weight_zero, "weights of filter 2 have the zero point 3" },
        { other_axis, "weights have 96 scales along axis 1; needed are 1, or 5 along axis 0" },
        { int8_bias, "input 2 is INT8 and the output FLOAT32" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_tflite *m = tflite_nets_dynamic();
        dt_graph *g = NULL;
        int is_integer;
        cases[i].damage(m);
        const dt_status s = dt_tflite_graph(m, "net", &g, &is_integer);
        cr_assert(eq(int, (int)s, DT_ERR_UNSUPPORTED), "%s: %s", cases[i].words, s ? dt_last_error() : "accepted");
        cr_assert(strstr(dt_last_error(), cases[i].words) != NULL, "no '%s' in '%s'", cases[i].words, dt_last_error());
        dt_tflite_destroy(m);
    }
}

/* ---- converted networks ---- */

/* Opens a model of a graph, which is taken over. */
static dt_model *open_model(dt_context **ctx, dt_graph *g)
{
    dt_options o;
    dt_model *m;

    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, ctx));
    MUST(dt_model_open(*ctx, g, &m));
    return m;
}

/* The codes of the layer that is operator k of the file are the converter's, or it has none as there. */
static void check_layer(int net, const dt_graph *g, const dt_graph_node *n, int k, float is_int8)
{
    const dt_graph_node *codes = dt_dynamic_codes_of(g, n);
    char file[64], name[64];
    int64_t count = 0, n_scales = 0;

    cr_assert(is_int8 == (codes ? 1.0f : 0.0f), "%s: operator %d", converted_nets[net].model, k);
    if (!codes) return;
    const dt_graph_value *w = g->value[codes->in[0]], *scale = g->value[codes->in[1]];
    snprintf(file, sizeof file, "%s.quant", converted_nets[net].model);
    snprintf(name, sizeof name, "drq.op%d.weight", k);
    float *expected = converted_tensor(file, name, &count);
    snprintf(name, sizeof name, "drq.op%d.weight_scale", k);
    float *scales = converted_tensor(file, name, &n_scales);
    cr_assert(expected && scales && count == dt_count(&w->facts.shape) && n_scales == dt_count(&scale->facts.shape));
    for (int64_t i = 0; i < count; i++) {
        cr_assert(expected[i] == ((const float *)w->data)[i], "%s: operator %d: code %lld", converted_nets[net].model,
                  k, (long long)i);
    }
    for (int64_t i = 0; i < n_scales; i++) {
        cr_assert(scales[i] == ((const float *)scale->data)[i], "%s: operator %d: scale %lld",
                  converted_nets[net].model, k, (long long)i);
    }
    free(scales);
    free(expected);
}

/* Layers are in one order in the file and in the graph. Depthwise filters, which lie otherwise in the file, have fewer
 * than 1,024 weights in these networks. */
static int check_weights(int net, dt_model *m)
{
    enum { MOST_OPS = 64 };
    dt_graph *g;
    char file[64], name[64];
    int at = 0, n_codes = 0;

    MUST(dt_model_snapshot(m, &g));
    snprintf(file, sizeof file, "%s.quant", converted_nets[net].model);
    for (int k = 0; k < MOST_OPS; k++) {
        int64_t count;
        snprintf(name, sizeof name, "drq.op%d.is_int8", k);
        float *is_int8 = converted_tensor(file, name, &count);
        if (!is_int8) continue;
        while (at < g->n_nodes && g->node[at].kind != DT_OP_CONV2D && g->node[at].kind != DT_OP_LINEAR) at++;
        cr_assert(at < g->n_nodes, "%s: operator %d", converted_nets[net].model, k);
        check_layer(net, g, &g->node[at++], k, is_int8[0]);
        n_codes += is_int8[0] == 1.0f;
        free(is_int8);
    }
    dt_graph_destroy(g);
    return n_codes;
}

static void check_scores(int net, dt_model *m, const char *recorded)
{
    const int n = CONVERTED_TEST * converted_nets[net].n_classes;
    float *x = converted_recorded(converted_nets[net].data, "test"), *expected = converted_expects(net, recorded);
    float *scores = malloc((size_t)n * sizeof *scores);
    double *wanted = malloc((size_t)n * sizeof *wanted);

    MUST(dt_predict(m, &(dt_prediction){ .normalised = x, .n = CONVERTED_TEST }, scores));
    for (int i = 0; i < n; i++) wanted[i] = (double)expected[i];
    expect_close(converted_nets[net].model, scores, wanted, n);
    free(wanted);
    free(scores);
    free(expected);
    free(x);
}

static void check_model(int net, dt_model *m)
{
    static const int n_codes[] = { 1, 5, 0 };

    cr_assert(eq(int, check_weights(net, m), n_codes[net]), "%s", converted_nets[net].model);
    check_scores(net, m, "drq.litert_ref");
    check_scores(net, m, "drq.numpy_hybrid");
}

Test(tflite_dynamic, converted_networks_give_the_recorded_outputs)
{
    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int net = 0; net < CONVERTED_NETS; net++) {
        dt_context *ctx;
        int is_integer;
        dt_model *m = open_model(&ctx, converted_graph(net, "drq", &is_integer));
        check_model(net, m);
        dt_model_destroy(m);
        dt_context_destroy(ctx);
    }
}

Test(tflite_dynamic, networks_that_are_quantized_here_have_the_converters_codes_and_outputs)
{
    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int net = 0; net < CONVERTED_NETS; net++) {
        const dt_quantization what = { .scheme = DT_SCHEME_DRQ };
        dt_context *ctx;
        dt_model *quantized;
        int is_integer;
        dt_model *m = open_model(&ctx, converted_graph(net, "float", &is_integer));
        MUST(dt_quantize(m, &what, &quantized));
        check_model(net, quantized);
        dt_model_destroy(quantized);
        dt_model_destroy(m);
        dt_context_destroy(ctx);
    }
}
