/*
 * test_tflite_import.c - networks of TensorFlow Lite files: a float one and an int8 one against plain loops in the
 * file's own layout; their nodes, names and ranges; what is refused, and by which words. With DETENT_PTQ_ORACLE, a
 * folder of converted networks, those give the outputs that were recorded of LiteRT's reference kernels.
 */
#include "../support/temp_files.h"

#include "../support/graph_run.h"
#include "../support/tflite_converted.h"
#include "../support/tflite_nets.h"
#include "../support/tflite_oracle.h"

#include "../../formats/tflite/tflite_import.h"
#include "../../quant/program/program.h"

#include <math.h>

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* ---- helpers ---- */

static dt_graph *imported(const dt_tflite *m, int expected_integer)
{
    dt_graph *g = NULL;
    int is_integer = -1;

    MUST(dt_tflite_graph(m, "nets/net.tflite", &g, &is_integer));
    cr_assert(eq(int, is_integer, expected_integer), "%s", m->description);
    if (is_integer) MUST(dt_program_check(&(dt_program){ .graph = g }));
    cr_assert(eq(str, g->name, (char *)"net"));
    return g;
}

/* The scores of n images; the graph is taken over. */
static void run_scores(dt_graph *g, const float *images, int n, float *scores)
{
    char name[DT_NAME_MAX + 1];

    snprintf(name, sizeof name, "%s", dt_graph_name(g, g->scores));
    graph_run(g, name, images, n, scores);
}

static void fill_images(float *image, int n, float size)
{
    for (int i = 0; i < n * TFLITE_NETS_IMAGE; i++) image[i] = size * tflite_nets_real(i / TFLITE_NETS_IMAGE, i);
}

static void expect_nodes(const dt_graph *g, const char *expected)
{
    char text[4096] = "";

    for (int i = 0; i < g->n_nodes; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s %s", i ? ", " : "", dt_ops[g->node[i].kind]->name,
                 g->value[g->node[i].out]->name);
    }
    cr_assert(eq(str, text, (char *)expected));
}

/* ---- values ---- */

enum { N_IMAGES = 5 };

Test(tflite_import, a_float_network_computes_what_plain_loops_do)
{
    static float image[N_IMAGES * TFLITE_NETS_IMAGE], scores[N_IMAGES * TFLITE_NETS_CLASSES];
    dt_tflite *m = tflite_nets_float();
    double expected[TFLITE_NETS_CLASSES];

    fill_images(image, N_IMAGES, 2.0f);
    run_scores(imported(m, 0), image, N_IMAGES, scores);
    for (int i = 0; i < N_IMAGES; i++) {
        tflite_oracle_run(m, image + i * TFLITE_NETS_IMAGE, expected);
        for (int k = 0; k < TFLITE_NETS_CLASSES; k++) { /* f32 against double, over some 500 products */
            cr_assert(fabs((double)scores[i * TFLITE_NETS_CLASSES + k] - expected[k]) < 1e-5, "image %d: %g, %g", i,
                      (double)scores[i * TFLITE_NETS_CLASSES + k], expected[k]);
        }
    }
    dt_tflite_destroy(m);
}

/* The file's integers for an image: those that its input takes. */
static void store_image(const dt_tflite *m, const float *image, float *stored)
{
    const dt_tflite_tensor *t = &m->tensor[m->in[0]];

    for (int i = 0; i < TFLITE_NETS_IMAGE; i++) {
        const double low = t->type == DT_TFLITE_UINT8 ? 0 : -128;
        stored[i] = image[i];
        if (t->type == DT_TFLITE_FLOAT32) continue;
        stored[i] = (float)fmin(fmax(round((double)(image[i] / t->scale[0])) + t->zero[0], low), low + 255);
    }
}

static void check_int8(dt_tflite_type io)
{
    static float image[N_IMAGES * TFLITE_NETS_IMAGE], scores[N_IMAGES * TFLITE_NETS_CLASSES];
    float stored[TFLITE_NETS_IMAGE];
    double expected[TFLITE_NETS_CLASSES];
    dt_tflite *m = tflite_nets_int8(io);
    const dt_tflite_tensor *t = &m->tensor[m->out[0]];

    fill_images(image, N_IMAGES, 2.3f); /* some are beyond the codes' range, which is about 1.9 */
    run_scores(imported(m, 1), image, N_IMAGES, scores);
    int n_different = 0;
    for (int i = 0; i < N_IMAGES; i++) {
        store_image(m, image + i * TFLITE_NETS_IMAGE, stored);
        tflite_oracle_run(m, stored, expected);
        for (int k = 0; k < TFLITE_NETS_CLASSES; k++) {
            const double real = t->type == DT_TFLITE_FLOAT32 ? expected[k] : (expected[k] - t->zero[0]) / 256;
            const float got = scores[i * TFLITE_NETS_CLASSES + k];
            cr_assert(real == (double)got, "type %d, image %d: %g, expected %g", (int)io, i, (double)got, real);
            n_different += got != scores[0];
        }
    }
    cr_assert(gt(int, n_different, N_IMAGES), "the scores are almost all equal, so that the test shows nothing");
    dt_tflite_destroy(m);
}

Test(tflite_import, an_int8_network_gives_the_codes_of_plain_loops)
{
    check_int8(DT_TFLITE_FLOAT32);
    check_int8(DT_TFLITE_INT8);
    check_int8(DT_TFLITE_UINT8);
}

/* TANH, SUB, RELU6 and SQUEEZE of codes, which the networks do not have. */
Test(tflite_import, operators_on_codes_that_are_not_in_the_networks)
{
    enum { N = 4, N_STEPS = 256 / N };
    const int map[] = { TFLITE_CASE_FREE, 1, 1, N, 0 };
    const float fine = 1.0f / 32, step = 1.0f / 128, sum_scale = 0.03f, six_scale = 0.025f;
    dt_tflite *m = tflite_case_begin("functions");
    const int in = tflite_case_tensor(m, "in", DT_TFLITE_INT8, map);
    const int tanh_of = tflite_case_tensor(m, "net/tanh/Tanh", DT_TFLITE_INT8, map);
    const int difference = tflite_case_tensor(m, "net/sub/sub", DT_TFLITE_INT8, map);
    const int limited = tflite_case_tensor(m, "net/relu/Relu6", DT_TFLITE_INT8, map);
    const int out = tflite_case_tensor(m, "out", DT_TFLITE_INT8, (int[]){ TFLITE_CASE_FREE, N, 0 });

    tflite_case_scale(m, in, 1, 0, &fine, (int32_t[]){ 3 });
    tflite_case_scale(m, tanh_of, 1, 0, &step, (int32_t[]){ 0 });
    tflite_case_scale(m, difference, 1, 0, &sum_scale, (int32_t[]){ 5 });
    tflite_case_scale(m, limited, 1, 0, &six_scale, (int32_t[]){ -128 });
    tflite_case_scale(m, out, 1, 0, &six_scale, (int32_t[]){ -128 });
    tflite_case_op(m, DT_TFLITE_TANH, 2, &in, 1, tanh_of);
    tflite_case_op(m, DT_TFLITE_SUB, 2, (int[]){ tanh_of, in }, 2, difference);
    tflite_case_op(m, DT_TFLITE_RELU6, 2, &difference, 1, limited);
    dt_tflite_options *squeeze = &tflite_case_op(m, DT_TFLITE_SQUEEZE, 1, &limited, 1, out)->options;
    squeeze->n_shape = 2;
    squeeze->shape[0] = 1;
    squeeze->shape[1] = 2;
    m->in[m->n_in++] = in;
    m->out[m->n_out++] = out;

    dt_graph *g = imported(m, 1);
    expect_nodes(g, "quantize image.codes, table tanh, qadd sub, requantize relu.act_quant, dequantize "
                    "relu.act_quant.real, flatten relu.act_quant.real.flatten");
    static float image[256], scores[256], stored[256];
    double expected[N];
    for (int i = 0; i < 256; i++) { /* all codes */
        stored[i] = (float)(i - 128);
        image[i] = fine * (stored[i] - 3.0f);
    }
    run_scores(g, image, N_STEPS, scores);
    for (int i = 0; i < 256; i++) {
        if (i % N == 0) tflite_oracle_run(m, stored + i, expected);
        const double real = (double)(six_scale * (float)(expected[i % N] + 128));
        cr_assert(real == (double)scores[i], "code %d: %g, expected %g", i - 128, (double)scores[i], real);
    }
    dt_tflite_destroy(m);
}

/* ---- structure ---- */

Test(tflite_import, names_and_nodes_of_a_float_network)
{
    dt_tflite *m = tflite_nets_float();
    dt_graph *g = imported(m, 0);

    expect_nodes(g, "conv rescale, bias center, conv conv0, bias conv0.biased, relu conv0.relu, conv dw0, bias "
                    "dw0.biased, conv conv1, bias "
                    "conv1.biased, add add0, "
                    "relu add0.relu, maxpool pool, relu pool.relu, avgpool pool_2, concat both, bias add1, avgpool "
                    "mean, sigmoid gate, "
                    "mul mul, flatten mul.flatten, linear fc0, relu fc0.relu, linear fc1, softmax softmax");
    const dt_graph_value *w = g->value[dt_graph_find(g, "dw0.weight")];
    cr_assert(w->param.group == DT_GROUP_WEIGHT && w->data_type == DT_F32 && w->facts.shape.dim[0] == 8 &&
              w->facts.shape.dim[1] == 3 && w->facts.shape.dim[3] == 1);
    const dt_conv_params *c = dt_graph_maker(g, dt_graph_find(g, "conv0"))->params;
    cr_assert(c->stride[0] == 2 && c->pad[0] == 1 && c->pad[2] == 1 && c->pad[1] == 0 && c->pad[3] == 1);
    c = dt_graph_maker(g, dt_graph_find(g, "dw0"))->params;
    cr_assert(c->groups == 4 && c->dilation[0] == 2 && c->dilation[1] == 1 && c->pad[0] == 2 && c->pad[2] == 2);
    c = dt_graph_maker(g, dt_graph_find(g, "conv1"))->params;
    cr_assert(c->pad[0] == 1 && c->pad[1] == 0 && c->pad[2] == 0 && c->pad[3] == 1);
    const dt_linear_params *l = dt_graph_maker(g, dt_graph_find(g, "fc1"))->params;
    cr_assert(eq(int, l->in_order, 1));
    cr_assert(g->image == dt_graph_find(g, "image") && dt_graph_shape(g, g->image)->dim[3] == 2);
    dt_graph_destroy(g);
    dt_tflite_destroy(m);
}

Test(tflite_import, names_nodes_and_ranges_of_an_int8_network)
{
    dt_tflite *m = tflite_nets_int8(DT_TFLITE_UINT8);
    dt_graph *g = imported(m, 1);

    expect_nodes(
        g,
        "quantize image.codes, codes conv0.codes, conv conv0, requantize conv0.act_quant, codes dw0.codes, "
        "conv dw0, requantize dw0.act_quant, codes conv1.codes, conv conv1, requantize conv1.act_quant, "
        "qadd add0, maxpool pool, requantize pool.act_quant, qavgpool pool_2, concat both, codes fc0.codes, conv fc0, "
        "requantize fc0.act_quant, codes fc1.codes, conv fc1, requantize fc1.act_quant, table sigmoid, "
        "dequantize sigmoid.real, flatten sigmoid.real.flatten");
    const dt_quantize_params *q = dt_graph_maker(g, dt_graph_find(g, "image.codes"))->params;
    cr_assert(q->low == -137 && q->high == 118 && q->profile == DT_PROFILE_LITERT_REF);
    const dt_requantize_params *r = dt_graph_maker(g, dt_graph_find(g, "conv0.act_quant"))->params;
    cr_assert(r->of == DT_REQUANT_CONV && r->low == 0 && r->high == 255 && r->count == 1); /* 6 / 0.023 is above 255 */
    r = dt_graph_maker(g, dt_graph_find(g, "fc0.act_quant"))->params;
    cr_assert(r->of == DT_REQUANT_LINEAR && r->low == 0 && r->high == 255);
    const dt_qavgpool_params *p = dt_graph_maker(g, dt_graph_find(g, "pool_2"))->params;
    cr_assert(p->zero == -20 && p->low == -108 && p->high == 147 && p->pool.pad[2] == 1 && p->pool.pad[0] == 0);
    const dt_table_params *t = dt_graph_maker(g, dt_graph_find(g, "sigmoid"))->params;
    cr_assert(t->first == -131 && t->low == 0 && t->high == 255);
    const dt_graph_value *w = g->value[dt_graph_find(g, "fc0.weight")];
    cr_assert(w->data_type == DT_I8 && w->facts.shape.dim[1] == 2 && w->facts.shape.dim[2] == 3 &&
              w->facts.shape.dim[3] == 16);
    const dt_graph_value *b = g->value[dt_graph_find(g, "conv0.bias")];
    cr_assert(b->data_type == DT_I32 && b->param.group == DT_GROUP_STATE);
    cr_assert(dt_graph_find(g, "fc1.bias") < 0 && dt_graph_find(g, "pool.act_scale") < 0);
    dt_graph_destroy(g);
    dt_tflite_destroy(m);
}

/* The highest code under a fused ReLU6 is 6 / scale in f32, rounded half away from zero. */
Test(tflite_import, relu6_lowers_the_highest_code)
{
    dt_tflite *m = tflite_nets_int8(DT_TFLITE_INT8);
    dt_graph *g;
    int is_integer;

    for (int i = 0; i < m->n_ops; i++) {
        if (m->op[i].code == DT_TFLITE_CONV_2D && m->op[i].options.fused)
            m->tensor[m->op[i].out].scale[0] = 6.0f / 100.5f;
    }
    MUST(dt_tflite_graph(m, "net", &g, &is_integer));
    const dt_requantize_params *r = dt_graph_maker(g, dt_graph_find(g, "conv0.act_quant"))->params;
    cr_assert(eq(int, r->high, (int)roundf(6.0f / (6.0f / 100.5f))));
    cr_assert(eq(int, r->high, 101));
    dt_graph_destroy(g);
    dt_tflite_destroy(m);
}

/* ---- what is refused ---- */

static dt_tflite_operator *find_op(dt_tflite *m, dt_tflite_code code)
{
    for (int i = 0; i < m->n_ops; i++) {
        if (m->op[i].code == code) return &m->op[i];
    }
    cr_fatal("no such operator");
    return NULL;
}

static void no_sub(dt_tflite *m)
{
    find_op(m, DT_TFLITE_ADD)->code = DT_TFLITE_SUB;
}
static void no_tanh(dt_tflite *m)
{
    find_op(m, DT_TFLITE_LOGISTIC)->code = DT_TFLITE_TANH;
}
static void beta(dt_tflite *m)
{
    find_op(m, DT_TFLITE_SOFTMAX)->options.beta = 0.5f;
}
static void batch(dt_tflite *m)
{
    m->tensor[m->in[0]].dim[0] = 2;
}
static void other_shape(dt_tflite *m)
{
    m->tensor[find_op(m, DT_TFLITE_MAX_POOL_2D)->out].dim[1] = 3;
}
static void mean_axis(dt_tflite *m)
{
    ((int32_t *)m->tensor[find_op(m, DT_TFLITE_MEAN)->in[1]].data)[0] = 3;
}
static void pad_channels(dt_tflite *m)
{
    ((int32_t *)m->tensor[find_op(m, DT_TFLITE_PAD)->in[1]].data)[7] = 1;
}
static void pad_and_same(dt_tflite *m)
{
    m->op[5].options.padding = DT_TFLITE_SAME;
}
static void pad_elsewhere(dt_tflite *m)
{
    find_op(m, DT_TFLITE_MAX_POOL_2D)->in[0] = find_op(m, DT_TFLITE_PAD)->out;
}
static void two_outputs(dt_tflite *m)
{
    m->out[m->n_out++] = m->out[0];
}
static void mixed(dt_tflite *m)
{
    m->tensor[find_op(m, DT_TFLITE_LOGISTIC)->out].type = DT_TFLITE_INT8;
}
static void hybrid(dt_tflite *m)
{
    dt_tflite_tensor *w = &m->tensor[find_op(m, DT_TFLITE_FULLY_CONNECTED)->in[1]];
    w->type = DT_TFLITE_INT8;
    w->bytes /= 4;
    find_op(m, DT_TFLITE_FULLY_CONNECTED)->options.per_row = 1;
}

static void bytes_inside(dt_tflite *m)
{
    m->tensor[find_op(m, DT_TFLITE_MAX_POOL_2D)->out].type = DT_TFLITE_INT16;
}
static void weight_zero(dt_tflite *m)
{
    m->tensor[m->op[0].in[1]].zero[1] = 1;
}
static void weight_axis(dt_tflite *m)
{
    dt_tflite_tensor *w = &m->tensor[find_op(m, DT_TFLITE_FULLY_CONNECTED)->in[1]];
    w->dim[1] = 5;
    w->dim[0] = 96;
    w->axis = 1;
}
static void bias_type(dt_tflite *m)
{
    m->tensor[m->op[0].in[2]].type = DT_TFLITE_FLOAT32;
}
static void pool_scale(dt_tflite *m)
{
    m->tensor[find_op(m, DT_TFLITE_AVERAGE_POOL_2D)->out].scale[0] = 0.5f;
}
static void sigmoid_scale(dt_tflite *m)
{
    m->tensor[find_op(m, DT_TFLITE_LOGISTIC)->out].zero[0] = -127;
}
static void no_scale(dt_tflite *m)
{
    m->tensor[m->in[0]].n_scales = 0;
}
static void flat_softmax(dt_tflite *m)
{
    dt_tflite_operator *o = find_op(m, DT_TFLITE_RESHAPE);
    m->op[(o - m->op) + 1].code = DT_TFLITE_SOFTMAX; /* of 96 numbers, which are a map */
    m->op[(o - m->op) + 1].n_in = 1;
}

Test(tflite_import, what_a_graph_cannot_compute_is_named)
{
    static const struct {
        const char *why;
        int is_int8;
        void (*damage)(dt_tflite *m);
        dt_status status;
        const char *words;
    } cases[] = {
        { "SUB of reals", 0, no_sub, DT_ERR_UNSUPPORTED,
          "SUB 'net/add0/add': the second of its 2 operands is no constant" },
        { "TANH of reals", 0, no_tanh, DT_ERR_UNSUPPORTED, "TANH 'net/gate/Sigmoid'" },
        { "a factor in SOFTMAX", 0, beta, DT_ERR_UNSUPPORTED, "beta is 0.5, understood is 1" },
        { "a batch of 2", 0, batch, DT_ERR_UNSUPPORTED, "4 dimensions, the first 2" },
        { "another shape", 0, other_shape, DT_ERR_FORMAT, "the output is 1x2x3x8, which the file has as 1x3x3x8" },
        { "a mean over channels", 0, mean_axis, DT_ERR_UNSUPPORTED, "bits 0xc; understood are 1 and 2" },
        { "a PAD of channels", 0, pad_channels, DT_ERR_UNSUPPORTED, "1 cells beside axis 3" },
        { "a PAD and SAME", 0, pad_and_same, DT_ERR_UNSUPPORTED, "SAME, and operator 4 before it is a PAD" },
        { "a PAD before a pool", 0, pad_elsewhere, DT_ERR_UNSUPPORTED, "input 0 comes from a PAD" },
        { "two outputs", 0, two_outputs, DT_ERR_UNSUPPORTED, "1 inputs and 2 outputs" },
        { "codes among reals", 0, mixed, DT_ERR_UNSUPPORTED,
          "LOGISTIC 'net/gate/Sigmoid': it makes INT8, and operators before" },
        { "weights of int8 without scales", 0, hybrid, DT_ERR_UNSUPPORTED, "weights have 0 scales along axis 0" },
        { "16 bits", 1, bytes_inside, DT_ERR_UNSUPPORTED, "it makes INT16; understood are FLOAT32 and INT8" },
        { "weights around 1", 1, weight_zero, DT_ERR_UNSUPPORTED, "weights of filter 1 have the zero point 1" },
        { "weights in another order", 1, weight_axis, DT_ERR_FORMAT, "the last 5, do not fit 96 inputs" },
        { "a real bias", 1, bias_type, DT_ERR_UNSUPPORTED, "4 numbers of FLOAT32; needed are 4 constant INT32" },
        { "a pool of two scales", 1, pool_scale, DT_ERR_FORMAT, "the output 0.5 and -20; they must be equal" },
        { "LOGISTIC's zero point", 1, sigmoid_scale, DT_ERR_FORMAT, "zero point -127; it must have 1/256 and -128" },
        { "an input without scale", 1, no_scale, DT_ERR_UNSUPPORTED, "is INT8 with 0 scales" },
        { "SOFTMAX of a flat map", 1, flat_softmax, DT_ERR_UNSUPPORTED, "96 numbers of a map of 16 channels" },
    };
    dt_graph *const untouched = (dt_graph *)temp_folder;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_tflite *m = cases[i].is_int8 ? tflite_nets_int8(DT_TFLITE_INT8) : tflite_nets_float();
        dt_graph *g = untouched;
        int is_integer = 7;
        cases[i].damage(m);
        const dt_status s = dt_tflite_graph(m, "net", &g, &is_integer);
        cr_assert(eq(int, (int)s, (int)cases[i].status), "%s: %s", cases[i].why, s ? dt_last_error() : "accepted");
        cr_assert(strstr(dt_last_error(), cases[i].words) != NULL, "%s: no '%s' in '%s'", cases[i].why, cases[i].words,
                  dt_last_error());
        cr_assert(g == untouched && is_integer == 7, "%s: out was written", cases[i].why);
        dt_tflite_destroy(m);
    }
}

/* ---- converted networks ---- */

/* The scores of the test images, by the file of a scheme. Profile and cast are for an integer file. */
static float *converted_scores(int net, const char *scheme, dt_profile profile, dt_image_cast cast)
{
    float *x = converted_recorded(converted_nets[net].data, "test"),
          *scores = malloc(sizeof *scores * CONVERTED_TEST * (size_t)converted_nets[net].n_classes);
    int is_integer;
    dt_graph *g = converted_graph(net, scheme, &is_integer);

    if (is_integer) {
        dt_program p = { .graph = g };
        MUST(dt_program_use_profile(&p, profile));
        MUST(dt_program_use_cast(&p, cast));
        MUST(dt_program_check(&p));
    }
    run_scores(g, x, CONVERTED_TEST, scores);
    free(x);
    return scores;
}

Test(tflite_import, converted_float_networks_give_the_recorded_outputs)
{
    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int i = 0; i < CONVERTED_NETS; i++) {
        float *got = converted_scores(i, "float", DT_PROFILE_LITERT_REF, DT_CAST_ROUND),
              *expected = converted_expects(i, "float.litert_ref");
        for (int k = 0; k < CONVERTED_TEST * converted_nets[i].n_classes; k++) { /* sums of f32 in another order */
            cr_assert(fabsf(got[k] - expected[k]) <= 1e-5f, "%s: %d: %g and %g", converted_nets[i].model, k,
                      (double)got[k], (double)expected[k]);
        }
        free(got);
        free(expected);
    }
}

/* Whatever input and output are, the core is the same: the scores are (code + 128) / 256. */
Test(tflite_import, converted_int8_networks_give_the_recorded_codes)
{
    static const char *const schemes[] = { "fiq_f32", "fiq_i8", "fiq_u8" };

    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int i = 0; i < CONVERTED_NETS * 3; i++) {
        const int net = i / 3;
        float *got = converted_scores(net, schemes[i % 3], DT_PROFILE_LITERT_REF, DT_CAST_ROUND),
              *expected = converted_expects(net, "i8.litert_ref");
        for (int k = 0; k < CONVERTED_TEST * converted_nets[net].n_classes; k++) {
            cr_assert(got[k] == (expected[k] + 128.0f) / 256.0f, "%s.%s: %d: %g and code %g", converted_nets[net].model,
                      schemes[i % 3], k, (double)got[k], (double)expected[k]);
        }
        free(got);
        free(expected);
    }
}

/* Inputs that a host casts as the study did. The recorded codes are those of the profile ref-double. Those of uint8
 * were made with (x / s + zero of int8) + 128, in f32. That differs from a host's x / s + zero where the zero point of
 * uint8 is 0, as fmnist_dw's: 7.0f / 255.0f / s is just below 7. */
Test(tflite_import, truncating_casts_give_the_recorded_codes)
{
    static const struct {
        const char *scheme, *name;
        dt_image_cast cast;
        float size, up; /* a code of the file is size * what is recorded, and stored up above 0 */
    } rows[] = { { "fiq_i8", "i8.trunc_wrap.ref_double", DT_CAST_TRUNCATE_I8, 1.0f, 128.0f },
                 { "fiq_u8", "u8.trunc_wrap.ref_double", DT_CAST_TRUNCATE_U8, 255.0f, 0.0f } };

    if (!converted_is_there()) cr_skip("DETENT_PTQ_ORACLE names no folder of converted networks");
    for (int i = 0; i < CONVERTED_NETS * 2; i++) {
        const int net = i / 2, row = i % 2;
        if (row == 1 && strcmp(converted_nets[net].model, "fmnist_dw") == 0) continue;
        float *got = converted_scores(net, rows[row].scheme, DT_PROFILE_REF_DOUBLE, rows[row].cast);
        float *expected = converted_expects(net, rows[row].name);
        for (int k = 0; k < CONVERTED_TEST * converted_nets[net].n_classes; k++) {
            const float code = rintf(rows[row].size * expected[k]);
            cr_assert(got[k] == (code + rows[row].up) / 256.0f, "%s.%s: %d: %g and code %g", converted_nets[net].model,
                      rows[row].scheme, k, (double)got[k], (double)code);
        }
        free(got);
        free(expected);
    }
}
