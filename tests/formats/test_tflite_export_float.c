/*
 * test_tflite_export_float.c - networks of reals, and with dynamic ranges, as TensorFlow Lite files: the files compute,
 * by plain loops in their own layout, what the files compute that the networks came from; read again they give equal
 * bits; batch norms are folded, or become a product and a sum; what has no form in a file is named. With
 * DETENT_PTQ_ORACLE, a folder of converted networks, those are read, written, and read again.
 */
#include "../support/temp_files.h"

#include "../support/graph_run.h"
#include "../support/same_graphs.h"
#include "../support/tflite_converted.h"
#include "../support/tflite_nets.h"
#include "../support/tflite_oracle.h"

#include "../../core/conv_params.h"
#include "../../formats/tflite/tflite_export.h"
#include "../../formats/exchange.h"
#include "../../models/build.h"
#include "../../quant/insert_dynamic.h"
#include "detent/predict.h"
#include "detent/quantize.h"

#include <math.h>

TestSuite(tflite_export_float, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

enum { N = 9 };

static dt_graph *imported(const dt_tflite *m)
{
    dt_graph *g = NULL;
    int is_integer = -1;

    MUST(dt_tflite_graph(m, "net.tflite", &g, &is_integer));
    cr_assert(eq(int, is_integer, 0));
    return g;
}

static dt_tflite *exported(const dt_graph *g)
{
    dt_tflite *m = NULL;

    MUST(dt_tflite_of_graph(g, &m));
    return m;
}

/* ---- files that become files ---- */

static dt_tflite *(*const nets[])(void) = { tflite_nets_float, tflite_nets_dynamic };

/* Sums are in double and in one order, so that equal files give equal numbers. */
Test(tflite_export_float, a_file_computes_what_the_one_it_came_from_does)
{
    float image[TFLITE_NETS_IMAGE];
    double expected[TFLITE_NETS_CLASSES], scores[TFLITE_NETS_CLASSES];

    for (int net = 0; net < 2; net++) {
        dt_tflite *from = nets[net]();
        dt_graph *g = imported(from);
        dt_tflite *m = exported(g);
        cr_assert(m->tensor[m->in[0]].type == DT_TFLITE_FLOAT32 && m->tensor[m->out[0]].type == DT_TFLITE_FLOAT32);
        for (int i = 0; i < N; i++) {
            for (int k = 0; k < TFLITE_NETS_IMAGE; k++) image[k] = 2.3f * tflite_nets_real(i, k);
            tflite_oracle_run(from, image, expected);
            tflite_oracle_run(m, image, scores);
            for (int k = 0; k < TFLITE_NETS_CLASSES; k++)
                cr_assert(scores[k] == expected[k], "net %d, image %d: %g, expected %g", net, i, scores[k],
                          expected[k]);
        }
        dt_tflite_destroy(m);
        dt_graph_destroy(g);
        dt_tflite_destroy(from);
    }
}

/* The graphs differ by biases of zeros the first time, and then no more. */
Test(tflite_export_float, a_file_that_is_read_again_gives_equal_bits)
{
    float image[N * TFLITE_NETS_IMAGE], scores[2][N * TFLITE_NETS_CLASSES];

    for (int i = 0; i < N * TFLITE_NETS_IMAGE; i++) image[i] = 2.0f * tflite_nets_real(i / TFLITE_NETS_IMAGE, i);
    for (int net = 0; net < 2; net++) {
        dt_tflite *m[3] = { nets[net](), NULL, NULL };
        dt_graph *g[3] = { imported(m[0]), NULL, NULL };
        char name[2][DT_NAME_MAX + 1];
        m[1] = exported(g[0]);
        MUST(dt_tflite_write(m[1], temp_path("net.tflite")));
        MUST(dt_tflite_read(temp_path("net.tflite"), &m[2]));
        g[1] = imported(m[2]);
        dt_tflite *again = exported(g[1]);
        g[2] = imported(again);
        expect_equal_graphs(g[1], g[2]);
        cr_assert(dt_graph_find(g[1], "conv0.relu") >= 0 && dt_graph_find(g[1], "fc1.weight") >= 0);
        for (int k = 0; k < 2; k++) {
            snprintf(name[k], sizeof name[k], "%s", dt_graph_name(g[k], g[k]->scores));
            graph_run(g[k], name[k], image, N, scores[k]);
        }
        cr_assert(memcmp(scores[0], scores[1], sizeof scores[0]) == 0, "net %d", net);
        dt_graph_destroy(g[2]);
        dt_tflite_destroy(again);
        for (int k = 0; k < 3; k++) dt_tflite_destroy(m[k]);
    }
}

/* A MUL and a SUB of constants became one convolution. Activations are parts of operators, weights of layers int8, and
 * versions those that hybrid kernels have. */
Test(tflite_export_float, operators_and_versions)
{
    static const struct {
        dt_tflite_code code;
        int fused, version[2];
    } wanted[] = {
        { DT_TFLITE_DEPTHWISE_CONV_2D, 0, { 1, 1 } },

        { DT_TFLITE_CONV_2D, 3, { 1, 5 } },
        { DT_TFLITE_DEPTHWISE_CONV_2D, 0, { 2, 6 } },
        { DT_TFLITE_PAD, 0, { 1, 1 } },
        { DT_TFLITE_CONV_2D, 0, { 1, 5 } },
        { DT_TFLITE_ADD, 1, { 1, 1 } },
        { DT_TFLITE_MAX_POOL_2D, 3, { 1, 1 } },
        { DT_TFLITE_AVERAGE_POOL_2D, 0, { 1, 1 } },
        { DT_TFLITE_CONCATENATION, 0, { 1, 1 } },
        { DT_TFLITE_ADD, 0, { 1, 1 } },
        { DT_TFLITE_MEAN, 0, { 1, 1 } },
        { DT_TFLITE_LOGISTIC, 0, { 1, 1 } },
        { DT_TFLITE_MUL, 0, { 1, 1 } },
        { DT_TFLITE_RESHAPE, 0, { 1, 1 } },
        { DT_TFLITE_FULLY_CONNECTED, 1, { 1, 12 } },
        { DT_TFLITE_FULLY_CONNECTED, 0, { 6, 12 } },
        { DT_TFLITE_SOFTMAX, 0, { 1, 1 } },
    };

    for (int net = 0; net < 2; net++) {
        dt_tflite *from = nets[net]();
        dt_graph *g = imported(from);
        dt_tflite *m = exported(g);
        cr_assert(eq(int, m->n_ops, (int)(sizeof wanted / sizeof wanted[0])));
        for (int i = 0; i < m->n_ops; i++) {
            const dt_tflite_operator *o = &m->op[i];
            cr_assert(o->code == wanted[i].code && o->options.fused == wanted[i].fused &&
                          o->version == wanted[i].version[net],
                      "net %d, operator %d: %s of version %d, fused %d", net, i, dt_tflite_op_name((int)o->code),
                      o->version, o->options.fused);
            if (o->code == DT_TFLITE_FULLY_CONNECTED) cr_assert(eq(int, o->options.per_row, net));
        }
        dt_tflite_destroy(m);
        dt_graph_destroy(g);
        dt_tflite_destroy(from);
    }
}

/* ---- batch norms, pads and groups of a network of detent's own ---- */

enum { HEIGHT = 9, WIDTH = 7, CHANNELS = 4, CLASSES = 5, IMAGE = HEIGHT * WIDTH * CHANNELS };

static int grouped(dt_builder *b, const char *name, int x, int filters, int groups, int pad)
{
    const dt_shape shape = { 4, { filters, 3, 3, dt_build_shape(b, x).dim[3] / groups } };
    dt_conv_params params = dt_conv_square(2, pad);
    char weight[64];

    params.groups = groups;
    snprintf(weight, sizeof weight, "%s.weight", name);
    const int in[] = { x, dt_build_param(b, weight, &shape, (dt_start){ .bound = 0.5f }) };
    return dt_build_node(b, DT_OP_CONV2D, name, &params, in, 2);
}

/* A convolution of 1,248 weights with a batch norm, one of two groups whose pads are not those of SAME, a depthwise
 * one, a batch norm behind a ReLU, and linear layers of 1,024 weights and more. */
static dt_graph *own_network(void)
{
    static const dt_shape image = { 4, { 1, HEIGHT, WIDTH, CHANNELS } };
    const dt_conv_spec first = { .filters = 36, .kernel = 3, .stride = 1, .pad = 1 };
    dt_builder b = { .status = DT_OK };

    MUST(dt_graph_create("own", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    int x = dt_build_conv(&b, "first", b.graph->image, &first);
    x = dt_build_apply(&b, DT_OP_RELU, "first.relu", dt_build_batchnorm(&b, "first.bn", x, NULL));
    x = dt_build_batchnorm(&b, "stays", x, NULL);
    x = grouped(&b, "pair", x, 18, 2, 2);
    x = dt_build_apply(&b, DT_OP_SIGMOID, "pair.sigmoid", x);
    x = dt_build_bias(&b, "each", grouped(&b, "each", x, 36, 18, 1), (dt_start){ .bound = 1.0f });
    x = dt_build_apply(&b, DT_OP_FLATTEN, "flat", dt_build_apply(&b, DT_OP_RELU, "each.relu", x));
    x = dt_build_apply(&b, DT_OP_RELU, "hidden.relu", dt_build_linear(&b, "hidden", x, 13));
    x = dt_build_apply(&b, DT_OP_IDENTITY, "same", x);
    b.graph->scores = dt_build_classifier(&b, "scores", x, CLASSES);
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    return b.graph;
}

/* Every parameter another number; variances above 0. */
static void set_params(dt_model *m)
{
    for (int p = 0; p < m->n_params; p++) {
        const int is_var = strstr(m->param[p]->name, "running_var") != NULL;
        const int64_t n = dt_count(&m->param[p]->tensor.shape);
        float *v = malloc((size_t)n * sizeof *v);
        for (int64_t i = 0; i < n; i++)
            v[i] = is_var ? 1.3f + tflite_nets_real(p, (int)i) : 0.4f * tflite_nets_real(p + 1, (int)i);
        MUST(dt_model_write(m, p, v));
        free(v);
    }
}

static dt_model *open_own(dt_context **ctx)
{
    dt_options o;
    dt_model *m;

    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, ctx));
    MUST(dt_model_open(*ctx, own_network(), &m));
    set_params(m);
    return m;
}

static void own_scores(dt_model *m, float *scores)
{
    static float image[N * IMAGE];

    for (int i = 0; i < N * IMAGE; i++) image[i] = 1.5f * tflite_nets_real(i / IMAGE, i);
    MUST(dt_predict(m, &(dt_prediction){ .normalised = image, .n = N }, scores));
}

/* The file's plain loops on the same images. */
static void loop_scores(double *scores)
{
    float image[IMAGE];
    dt_tflite *m = NULL;

    MUST(dt_tflite_read(temp_path("net.tflite"), &m));
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < IMAGE; k++) image[k] = 1.5f * tflite_nets_real(i, i * IMAGE + k);
        tflite_oracle_run(m, image, scores + i * CLASSES);
    }
    dt_tflite_destroy(m);
}

/* Writes a model, and compares it with the file: by plain loops, and read again. Two f32 sums in other orders are 1e-5
 * apart at most; of codes, see test_tflite_dynamic.c. */
static void check_model(const char *why, dt_model *m, double most)
{
    float scores[N * CLASSES], again[N * CLASSES];
    double loops[N * CLASSES];
    dt_model *back = NULL;

    own_scores(m, scores);
    MUST(dt_model_write_tflite(m, temp_path("net.tflite")));
    MUST(dt_exchange_model(m->ctx, temp_path("net.tflite"), &back));
    own_scores(back, again);
    loop_scores(loops);
    for (int i = 0; i < N * CLASSES; i++) {
        cr_assert(fabs((double)scores[i] - loops[i]) <= most, "%s: score %d is %g, and by plain loops %g", why, i,
                  (double)scores[i], loops[i]);
        cr_assert(fabs((double)scores[i] - (double)again[i]) <= most, "%s: score %d is %g, and read again %g", why, i,
                  (double)scores[i], (double)again[i]);
    }
    dt_model_destroy(back);
}

Test(tflite_export_float, a_network_with_batch_norms_groups_and_pads)
{
    dt_context *ctx;
    dt_model *m = open_own(&ctx), *quantized;

    cr_assert(dt_model_is_real(m));
    check_model("reals", m, 1e-5);
    for (int per_layer = 0; per_layer < 2; per_layer++) {
        const dt_quantization what = { .scheme = DT_SCHEME_DRQ, .per_layer = per_layer };
        MUST(dt_quantize(m, &what, &quantized));
        cr_assert(dt_model_is_real(quantized));
        check_model(per_layer ? "one scale a layer" : "dynamic ranges", quantized, 5e-3);
        dt_model_destroy(quantized);
    }
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* Where engines scale each filter, one scale of a layer is written as often; a FULLY_CONNECTED has one. */
Test(tflite_export_float, one_scale_a_layer)
{
    const dt_quantization what = { .scheme = DT_SCHEME_DRQ, .per_layer = 1 };
    dt_tflite *file = NULL;
    dt_context *ctx;
    dt_model *m = open_own(&ctx), *quantized;
    int n_codes = 0;

    MUST(dt_quantize(m, &what, &quantized));
    MUST(dt_model_write_tflite(quantized, temp_path("net.tflite")));
    MUST(dt_tflite_read(temp_path("net.tflite"), &file));
    for (int i = 0; i < file->n_ops; i++) {
        const dt_tflite_operator *o = &file->op[i];
        const int is_conv = o->code == DT_TFLITE_CONV_2D;
        if (!is_conv && o->code != DT_TFLITE_FULLY_CONNECTED) continue;
        const dt_tflite_tensor *w = &file->tensor[o->in[1]];
        if (w->type != DT_TFLITE_INT8) continue;
        n_codes++;
        cr_assert(eq(int, w->n_scales, is_conv ? w->dim[0] : 1));
        cr_assert(eq(int, o->version, is_conv ? 5 : 9));
        for (int k = 1; k < w->n_scales; k++) cr_assert(w->scale[k] == w->scale[0]);
    }
    cr_assert(eq(int, n_codes, 3), "first, pair and hidden");
    dt_tflite_destroy(file);
    dt_model_destroy(quantized);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- what is refused ---- */

static void *params_of(dt_graph *g, const char *name)
{
    return dt_graph_maker(g, dt_graph_find(g, name))->params;
}

static void other_limit(dt_graph *g)
{
    ((dt_relu_params *)params_of(g, "conv0.relu"))->most = 4.0f;
}
static dt_graph_node *node_of(dt_graph *g, dt_op_kind kind)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == kind) return &g->node[i];
    }
    return NULL;
}
static void other_pads(dt_graph *g)
{
    ((dt_pool_params *)node_of(g, DT_OP_MAXPOOL)->params)->pad[0] += 1;
}
static void counts_pads(dt_graph *g)
{
    ((dt_pool_params *)node_of(g, DT_OP_AVGPOOL)->params)->count_include_pad = 1;
}
static void squashes(dt_graph *g)
{
    node_of(g, DT_OP_SIGMOID)->kind = DT_OP_SQUASH;
}
static void no_data(dt_graph *g)
{
    dt_graph_value *w = g->value[dt_graph_find(g, "conv0.bias")];
    free(w->data);
    w->data = NULL;
}
static void half_rounded(dt_graph *g)
{
    dt_graph_node *n = node_of(g, DT_OP_LINEAR);
    n->in[0] = dt_graph_maker(g, n->in[0])->in[0];
}

Test(tflite_export_float, what_has_no_form_in_a_file_is_named)
{
    static const struct {
        int net;
        void (*damage)(dt_graph *g);
        const char *words;
    } cases[] = {
        { 0, other_limit, "conv0.relu (relu): its limit is 4; a file has RELU, without one, and RELU6" },
        { 0, other_pads, " (maxpool): pads of 1,0,1,1; a file has none, or those of SAME" },
        { 0, counts_pads, " (avgpool): its divisor counts padded cells" },
        { 0, squashes, "gate (squash): a TensorFlow Lite file has no such operator of reals; 'detent export --to" },
        { 0, no_data, "conv0 (conv): reads conv0.bias, which has no f32 data; take a snapshot" },
        { 1, half_rounded, "fc0 (linear): its weights are codes and its input is not; in a file both are rounded" },
    };
    dt_tflite *const untouched = (dt_tflite *)temp_folder;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_tflite *from = nets[cases[i].net](), *m = untouched;
        dt_graph *g = imported(from);
        cases[i].damage(g);
        const dt_status s = dt_tflite_of_graph(g, &m);
        cr_assert(eq(int, (int)s, (int)DT_ERR_UNSUPPORTED), "%s: %s", cases[i].words, s ? dt_last_error() : "exported");
        cr_assert(strstr(dt_last_error(), cases[i].words) != NULL, "no '%s' in '%s'", cases[i].words, dt_last_error());
        cr_assert(m == untouched, "%s: out was written", cases[i].words);
        dt_graph_destroy(g);
        dt_tflite_destroy(from);
    }
}

Test(tflite_export_float, a_network_of_integers_is_refused)
{
    float image[2 * IMAGE];
    const dt_quantization what = { .normalised = image, .n = 2 };
    const char *path = temp_path("none.tflite");
    dt_context *ctx;
    dt_model *m = open_own(&ctx), *quantized;

    for (int i = 0; i < 2 * IMAGE; i++) image[i] = tflite_nets_real(1, i);
    MUST(dt_quantize(m, &what, &quantized));
    cr_assert(dt_model_is_real(quantized) == 0);
    cr_assert(eq(int, (int)dt_model_write_tflite(quantized, path), (int)DT_ERR_UNSUPPORTED));
    cr_assert(strstr(dt_last_error(), "own has quantizers, and a file of reals has none; make a program") != NULL, "%s",
              dt_last_error());
    cr_assert(access(path, F_OK) != 0, "%s was made", path);
    dt_model_destroy(quantized);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- converted networks ---- */

TestSuite(tflite_export_float_oracle);

/* Every operator of the converter's file is in ours, in its order and with its numbers. */
static void expect_equal_files(const char *name, const dt_tflite *a, const dt_tflite *b)
{
    cr_assert(eq(int, a->n_ops, b->n_ops), "%s", name);
    for (int i = 0; i < a->n_ops; i++) {
        const dt_tflite_operator *o = &a->op[i], *p = &b->op[i];
        cr_assert(o->code == p->code && memcmp(o->options.stride, p->options.stride, sizeof o->options.stride) == 0 &&
                      o->options.fused == p->options.fused && o->options.per_row == p->options.per_row,
                  "%s: operator %d, %s", name, i, dt_tflite_op_name((int)o->code));
        if (o->n_in < 3) continue;
        for (int k = 1; k < 3; k++) {
            const dt_tflite_tensor *v = &a->tensor[o->in[k]], *w = &b->tensor[p->in[k]];
            cr_assert(v->type == w->type && v->bytes == w->bytes && memcmp(v->data, w->data, v->bytes) == 0,
                      "%s: operator %d, input %d", name, i, k);
            if (v->type == DT_TFLITE_INT8)
                cr_assert(memcmp(v->scale, w->scale, (size_t)v->n_scales * sizeof *v->scale) == 0, "%s", name);
        }
    }
}

Test(tflite_export_float_oracle, converted_networks_stay_the_same)
{
    static const char *const scheme[] = { "float", "drq" };

    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int net = 0; net < CONVERTED_NETS; net++) {
        for (int k = 0; k < 2; k++) {
            char path[CONVERTED_PATH_BYTES];
            int is_integer;
            dt_tflite *from = NULL;
            snprintf(path, sizeof path, "%s/tflite/%s.%s.tflite", getenv("DETENT_PTQ_ORACLE"),
                     converted_nets[net].model, scheme[k]);
            MUST(dt_tflite_read(path, &from));
            dt_graph *g = converted_graph(net, scheme[k], &is_integer);
            dt_tflite *m = exported(g);
            expect_equal_files(path, from, m);
            dt_tflite_destroy(m);
            dt_graph_destroy(g);
            dt_tflite_destroy(from);
        }
    }
}
