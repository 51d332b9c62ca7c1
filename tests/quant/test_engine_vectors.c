/*
 * test_engine_vectors.c - operators of codes against what inference engines computed: vectors of 15 kinds of TFLite
 *                         operators under four profiles, recorded from LiteRT and from a model of its arithmetic.
 *
 * The vectors are files of the folder that DETENT_PTQ_ORACLE names: ops.json and ops.safetensors. Sums of products are
 * taken here, in 64-bit integers; the operators make codes of them. Every code must be equal.
 */
#include "../support/engine_vector.h"
#include "../support/op_case.h"

#include "../../formats/safetensors.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the operator at work ---- */

/* An input of the operator. */
typedef struct {
    dt_shape shape;
    dt_dtype type;
    const void *data;
    float scale; /* > 0: codes of that scale */
} given;

static given of_floats(const float *data, int64_t n)
{
    return (given){ { 1, { n } }, DT_F32, data, 0.0f };
}

/* Runs an operator; the caller frees what it returns. NULL: the backend is not here. */
static float *run_op(const vector *v, dt_op_kind kind, const void *params, const given *in, int n_in, int64_t count)
{
    op_case c = { .why = v->key, .op = kind, .params = params, .n_in = n_in };
    op_rig *rig = malloc(sizeof *rig);

    for (int k = 0; k < n_in; k++) {
        c.in[k] = (op_input){ .shape = in[k].shape, .type = in[k].type, .fill = FILL_ZERO, .scale = in[k].scale };
    }
    if (!op_rig_open(rig, v->backend, 1, &c)) {
        free(rig);
        return NULL;
    }
    for (int k = 0; k < n_in; k++) {
        op_rig_write(rig, rig->in[k].data, in[k].data, (size_t)dt_count(&in[k].shape) * dt_type_bytes(in[k].type));
    }
    op_rig_forward(rig);
    float *out = op_rig_read(rig, rig->out.data, count);
    op_rig_close(rig);
    free(rig);
    return out;
}

static float *floats_of(const int64_t *value, int64_t n)
{
    float *f = malloc((size_t)n * sizeof *f);
    for (int64_t i = 0; i < n; i++) f[i] = (float)value[i];
    return f;
}

/* Compares codes with those recorded. The caller's own zero point is taken off those. */
static void compare(vector *v, const float *code, int64_t count)
{
    char part[32];
    operand wanted = { 0 };

    snprintf(part, sizeof part, "out_%s", profile_keys[v->profile]);
    const dt_safetensors_tensor *t = find(v, part);
    cr_assert(t && t->count == count, "%s: %s has %lld values, expected %lld", v->key, part,
              (long long)(t ? t->count : 0), (long long)count);
    read_integers(v, t, &wanted);
    for (int64_t i = 0; i < count; i++) {
        cr_assert(code[i] + (float)y_zero(v) == (float)wanted.value[i], "%s, %s, %s: value %lld is %g, recorded %lld",
                  v->key, profile_keys[v->profile], v->backend, (long long)i, (double)code[i] + y_zero(v),
                  (long long)wanted.value[i]);
    }
    v->n_codes += count;
    free(wanted.value);
}

/* ---- sums, here ---- */

static int64_t pad_before(int64_t size, int64_t window, int64_t stride, int64_t dilation, int is_same, int64_t *out)
{
    const int64_t span = (window - 1) * dilation + 1;
    *out = is_same ? (size + stride - 1) / stride : (size - span) / stride + 1;
    const int64_t pad = (*out - 1) * stride + span - size;
    return is_same && pad > 0 ? pad / 2 : 0;
}

/* The geometry of a convolution or pool: of each pair first rows, then columns. */
typedef struct {
    int64_t n, in[2], channels, window[2], stride[2], dilation[2], pad[2], out[2];
} geometry;

static geometry geometry_of(const vector *v, const operand *x, int64_t rows, int64_t columns)
{
    geometry g = { .n = x->dim[0], .in = { x->dim[1], x->dim[2] }, .channels = x->dim[3], .window = { rows, columns } };

    g.stride[0] = attribute(v, "strideH");
    g.stride[1] = attribute(v, "strideW");
    g.dilation[0] = attribute(v, "dilationHFactor") ? attribute(v, "dilationHFactor") : 1;
    g.dilation[1] = attribute(v, "dilationWFactor") ? attribute(v, "dilationWFactor") : 1;
    for (int a = 0; a < 2; a++) {
        g.pad[a] =
            pad_before(g.in[a], g.window[a], g.stride[a], g.dilation[a], attribute(v, "padding") == 0, &g.out[a]);
    }
    return g;
}

/* Index of the first channel of a tap, or -1 in the padding. */
static int64_t tap_at(const geometry *g, int64_t n, int64_t p, int64_t q, int64_t tap)
{
    const int64_t h = p * g->stride[0] + tap / g->window[1] * g->dilation[0] - g->pad[0];
    const int64_t w = q * g->stride[1] + tap % g->window[1] * g->dilation[1] - g->pad[1];
    const int is_inside = h >= 0 && h < g->in[0] && w >= 0 && w < g->in[1];

    return is_inside ? ((n * g->in[0] + h) * g->in[1] + w) * g->channels : -1;
}

/* Sums of a convolution (filters K,R,S,C) or a depthwise one (filters 1,R,S,K). */
static int64_t *conv_sums(const geometry *g, const operand *x, const operand *w, int depthwise, int64_t *count)
{
    const int64_t filters = depthwise ? w->dim[3] : w->dim[0], taps = g->window[0] * g->window[1];
    int64_t *sum;

    *count = g->n * g->out[0] * g->out[1] * filters;
    sum = calloc((size_t)*count, sizeof *sum);
    for (int64_t i = 0; i < *count; i++) {
        const int64_t k = i % filters, q = i / filters % g->out[1], p = i / filters / g->out[1] % g->out[0];
        const int64_t n = i / filters / g->out[1] / g->out[0];
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t at = tap_at(g, n, p, q, tap);
            if (at < 0) continue;
            if (depthwise) {
                sum[i] += x->value[at + k / (filters / g->channels)] * w->value[tap * filters + k];
                continue;
            }
            for (int64_t c = 0; c < g->channels; c++) {
                sum[i] += x->value[at + c] * w->value[(k * taps + tap) * g->channels + c];
            }
        }
    }
    return sum;
}

/* x [n][terms] times w [outputs][terms]. */
static int64_t *product_sums(const operand *x, const operand *w, int64_t terms, int64_t outputs)
{
    const int64_t n = x->count / terms;
    int64_t *sum = calloc((size_t)(n * outputs), sizeof *sum);

    for (int64_t i = 0; i < n * outputs; i++) {
        const int64_t r = i / outputs, o = i % outputs;
        for (int64_t t = 0; t < terms; t++) sum[i] += x->value[r * terms + t] * w->value[o * terms + t];
    }
    return sum;
}

/* ---- the kinds ---- */

/* Codes of sums. w and bias may be NULL. */
static void requantize(vector *v, dt_requant_of of, const int64_t *sum, int64_t count, int64_t channels,
                       const operand *x, const operand *w, const operand *bias, int cells)
{
    dt_requantize_params p = { .profile = v->profile, .of = of, .count = cells };
    const int64_t n_w = w && cJSON_GetArraySize(w->scales) > 1 ? cJSON_GetArraySize(w->scales) : 1;
    float *x_value = floats_of(sum, count), scale_x = (float)x->scale, scale_y = y_scale(v);
    float *scale_w = malloc((size_t)n_w * sizeof *scale_w);
    int32_t *b = calloc((size_t)channels, sizeof *b);

    y_range(v, &p.low, &p.high);
    for (int i = 0; i < n_w; i++) scale_w[i] = w ? (float)cJSON_GetArrayItem(w->scales, i)->valuedouble : 1.0f;
    for (int64_t i = 0; bias && i < channels; i++) b[i] = (int32_t)bias->value[i];
    const given in[] = { { { 2, { count / channels, channels } }, DT_F32, x_value, 0.5f },
                         of_floats(&scale_x, 1),
                         of_floats(&scale_y, 1),
                         of_floats(scale_w, n_w),
                         { { 1, { channels } }, DT_I32, b, 0.0f } };
    float *code = run_op(v, DT_OP_REQUANTIZE, &p, in, bias ? 5 : w ? 4 : 3, count);
    if (code) compare(v, code, count);
    free(code);
    free(b);
    free(scale_w);
    free(x_value);
}

static void test_conv(vector *v)
{
    const int depthwise = strcmp(v->op, "DEPTHWISE_CONV_2D") == 0;
    operand x = input(v, 0), w = input(v, 1), b = input(v, 2);
    const geometry g = geometry_of(v, &x, w.dim[1], w.dim[2]);
    int64_t count, *sum = conv_sums(&g, &x, &w, depthwise, &count);

    requantize(v, DT_REQUANT_CONV, sum, count, b.count, &x, &w, &b, 1);
    free(sum);
    free(x.value);
    free(w.value);
    free(b.value);
}

static void test_linear(vector *v)
{
    operand x = input(v, 0), w = input(v, 1), b = input(v, 2);
    int64_t *sum = product_sums(&x, &w, w.dim[1], w.dim[0]);

    requantize(v, DT_REQUANT_LINEAR, sum, x.count / w.dim[1] * w.dim[0], w.dim[0], &x, &w, &b, 1);
    free(sum);
    free(x.value);
    free(w.value);
    free(b.value);
}

/* The operator sums, too. Images are the first axis, and each has one matrix. */
static void test_matmul(vector *v)
{
    operand a = input(v, 0), b = input(v, 1);
    dt_qmatmul_params p = { .profile = v->profile, .shifted = b.zero != 0 };
    const int64_t count = a.dim[0] * a.dim[1] * b.dim[2];
    float *fa = floats_of(a.value, a.count), *fb = floats_of(b.value, b.count);
    const float scale[3] = { (float)a.scale, (float)b.scale, y_scale(v) };

    y_range(v, &p.low, &p.high);
    const given in[] = { { { 4, { a.dim[0], 1, a.dim[1], a.dim[2] } }, DT_F32, fa, scale[0] },
                         { { 4, { b.dim[0], 1, b.dim[1], b.dim[2] } }, DT_F32, fb, scale[1] },
                         of_floats(&scale[0], 1),
                         of_floats(&scale[1], 1),
                         of_floats(&scale[2], 1) };
    float *code = run_op(v, DT_OP_QMATMUL, &p, in, 5, count);
    if (code) compare(v, code, count);
    free(code);
    free(fa);
    free(fb);
    free(a.value);
    free(b.value);
}

static void test_mean(vector *v)
{
    operand x = input(v, 0);
    const int64_t cells = x.dim[1] * x.dim[2], channels = x.dim[3], count = x.dim[0] * channels;
    int64_t *sum = calloc((size_t)count, sizeof *sum);

    for (int64_t i = 0; i < x.count; i++) sum[i / (cells * channels) * channels + i % channels] += x.value[i];
    requantize(v, DT_REQUANT_MEAN, sum, count, channels, &x, NULL, NULL, (int)cells);
    free(sum);
    free(x.value);
}

static void test_rescale(vector *v)
{
    operand x = input(v, 0);

    requantize(v, DT_REQUANT_CODES, x.value, x.count, x.dim[x.ndim - 1], &x, NULL, NULL, 1);
    free(x.value);
}

static void test_binary(vector *v)
{
    const int multiply = strcmp(v->op, "MUL") == 0;
    operand a = input(v, 0), b = input(v, 1);
    dt_qbinary_params p = { .profile = v->profile, .subtract = strcmp(v->op, "SUB") == 0 };
    float *fa = floats_of(a.value, a.count), *fb = floats_of(b.value, b.count);
    const float scale[3] = { (float)a.scale, (float)b.scale, y_scale(v) };
    const dt_shape shape = { 1, { a.count } };

    y_range(v, &p.low, &p.high);
    const given in[] = { { shape, DT_F32, fa, scale[0] },
                         { shape, DT_F32, fb, scale[1] },
                         of_floats(&scale[0], 1),
                         of_floats(&scale[1], 1),
                         of_floats(&scale[2], 1) };
    float *code = run_op(v, multiply ? DT_OP_QMUL : DT_OP_QADD, &p, in, 5, a.count);
    if (code) compare(v, code, a.count);
    free(code);
    free(fa);
    free(fb);
    free(a.value);
    free(b.value);
}

static void test_pool(vector *v)
{
    const int average = strcmp(v->op, "AVERAGE_POOL_2D") == 0;
    operand x = input(v, 0);
    const geometry g = geometry_of(v, &x, attribute(v, "filterHeight"), attribute(v, "filterWidth"));
    const int64_t count = g.n * g.out[0] * g.out[1] * g.channels;
    dt_qavgpool_params p = { .profile = v->profile, .zero = x.zero };
    float *fx = floats_of(x.value, x.count);

    y_range(v, &p.low, &p.high);
    for (int a = 0; a < 2; a++) {
        const int64_t after = (g.out[a] - 1) * g.stride[a] + g.window[a] - g.in[a] - g.pad[a];
        p.pool.window[a] = (int)g.window[a];
        p.pool.stride[a] = (int)g.stride[a];
        p.pool.pad[a] = (int)g.pad[a];
        p.pool.pad[a + 2] = after > 0 ? (int)after : 0;
    }
    const given in[] = { { { 4, { x.dim[0], x.dim[1], x.dim[2], x.dim[3] } }, DT_F32, fx, (float)x.scale } };
    float *code =
        run_op(v, average ? DT_OP_QAVGPOOL : DT_OP_MAXPOOL, average ? (void *)&p : (void *)&p.pool, in, 1, count);
    if (code) compare(v, code, count);
    free(code);
    free(fx);
    free(x.value);
}

/* Its codes are 0..255, and the recorded ones have the zero point -128. */
static void test_softmax(vector *v)
{
    operand x = input(v, 0);
    const dt_qsoftmax_params p = { .profile = v->profile, .beta = 1.0f };
    float *fx = floats_of(x.value, x.count);
    const float scale_x = (float)x.scale, scale_y = y_scale(v);
    const given in[] = { { { 2, { x.dim[0], x.dim[1] } }, DT_F32, fx, scale_x },
                         of_floats(&scale_x, 1),
                         of_floats(&scale_y, 1) };
    float *code = run_op(v, DT_OP_QSOFTMAX, &p, in, 3, x.count);

    if (code) compare(v, code, x.count);
    free(code);
    free(fx);
    free(x.value);
}

/* A table, which a sigmoid of doubles makes here. */
static void test_logistic(vector *v)
{
    operand x = input(v, 0);
    const dt_table_params p = { .low = 0, .high = 255, .first = -128 - x.zero };
    float *fx = floats_of(x.value, x.count), table[256];
    const float scale_y = y_scale(v);

    for (int i = 0; i < 256; i++) {
        const double share = 1.0 / (1.0 + exp(-x.scale * (double)(i - 128 - x.zero)));
        table[i] = (float)fmin(rint(256.0 * share), 255.0);
    }
    const given in[] = { { { 2, { x.count, 1 } }, DT_F32, fx, (float)x.scale },
                         { { 2, { 256, 1 } }, DT_F32, table, 0.0f },
                         of_floats(&scale_y, 1) };
    float *code = run_op(v, DT_OP_TABLE, &p, in, 3, x.count);
    if (code) compare(v, code, x.count);
    free(code);
    free(fx);
    free(x.value);
}

static void test_quantize(vector *v)
{
    const dt_safetensors_tensor *t = find(v, "in0");
    const dt_quantize_params p = { v->profile, -128 - y_zero(v), 127 - y_zero(v), y_zero(v), DT_CAST_ROUND };
    const float scale_y = y_scale(v);
    float *x = bytes_of(v, t);
    const given in[] = { of_floats(x, t->count), of_floats(&scale_y, 1) };
    float *code = run_op(v, DT_OP_QUANTIZE, &p, in, 2, t->count);

    if (code) compare(v, code, t->count);
    free(code);
    free(x);
}

static void test_dequantize(vector *v)
{
    operand x = input(v, 0);
    const dt_safetensors_tensor *t = find(v, "out_litert_ref");
    float *wanted = bytes_of(v, t), *fx = floats_of(x.value, x.count);
    const given in[] = { { { 2, { x.count, 1 } }, DT_F32, fx, (float)x.scale } };
    float *real = run_op(v, DT_OP_DEQUANTIZE, &(dt_dequantize_params){ 0 }, in, 1, x.count);

    for (int64_t i = 0; real && i < x.count; i++) {
        cr_assert(real[i] == wanted[i], "%s: value %lld is %g, recorded %g", v->key, (long long)i, (double)real[i],
                  (double)wanted[i]);
    }
    if (real) v->n_codes += x.count;
    free(real);
    free(fx);
    free(wanted);
    free(x.value);
}

static const struct {
    const char *op;
    void (*test)(vector *v);
} kinds[] = {
    { "FULLY_CONNECTED", test_linear },
    { "CONV_2D", test_conv },
    { "DEPTHWISE_CONV_2D", test_conv },
    { "ADD", test_binary },
    { "SUB", test_binary },
    { "MUL", test_binary },
    { "BATCH_MATMUL", test_matmul },
    { "MEAN", test_mean },
    { "AVERAGE_POOL_2D", test_pool },
    { "MAX_POOL_2D", test_pool },
    { "SOFTMAX", test_softmax },
    { "LOGISTIC", test_logistic },
    { "QUANTIZE", test_quantize },
    { "REQUANTIZE", test_rescale },
    { "DEQUANTIZE", test_dequantize },
};

/* Finds the kind by the key, because QUANTIZE of codes is called REQUANTIZE there. */
static void run_case(vector *v)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const size_t bytes = strlen(kinds[i].op);
        if (strncmp(v->key, kinds[i].op, bytes) != 0 || v->key[bytes] != '.') continue;
        kinds[i].test(v);
        return;
    }
    cr_assert_fail("%s: no such kind", v->key);
}

static cJSON *read_json(const char *path)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    const long bytes = ftell(file);
    rewind(file);
    char *text = calloc((size_t)bytes + 1, 1);
    cr_assert_eq(fread(text, 1, (size_t)bytes, file), (size_t)bytes);
    fclose(file);
    cJSON *json = cJSON_Parse(text);
    free(text);
    return json;
}

Test(engine_vectors, codes_are_those_of_the_engines, .timeout = 120)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const char *folder = getenv("DETENT_PTQ_ORACLE");
    char path[512];
    dt_safetensors *file;
    int64_t n_codes = 0;
    int n_cases = 0;

    if (!folder || !folder[0]) cr_skip("DETENT_PTQ_ORACLE names no folder with recorded vectors");
    snprintf(path, sizeof path, "%s/ops.json", folder);
    cJSON *json = read_json(path);
    snprintf(path, sizeof path, "%s/ops.safetensors", folder);
    cr_assert_eq(dt_safetensors_open(path, &file), DT_OK, "%s", dt_last_error());
    const cJSON *one;
    cJSON_ArrayForEach(one, json)
    {
        for (int i = 0; i < 2 * N_PROFILES; i++) {
            vector v = { .file = file,
                         .json = one,
                         .key = cJSON_GetStringValue(cJSON_GetObjectItem(one, "key")),
                         .op = cJSON_GetStringValue(cJSON_GetObjectItem(one, "op")),
                         .profile = (dt_profile)(i % N_PROFILES),
                         .backend = backends[i / N_PROFILES] };
            run_case(&v);
            n_codes += v.n_codes;
        }
        n_cases++;
    }
    cr_assert_geq(n_cases, 60, "only %d cases", n_cases);
    cr_log_info("%d cases, %lld codes", n_cases, (long long)n_codes);
    dt_safetensors_close(file);
    cJSON_Delete(json);
}
