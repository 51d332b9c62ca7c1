/*
 * test_max_quant.c - the weight quantizer by the largest magnitude: codes and scales against double and against
 *                    TensorFlow Lite's own; its gradient passes.
 *
 * The comparison with TensorFlow Lite needs the folder of its results, DETENT_PTQ_ORACLE.
 */
#include "../../core/arith/range.h"
#include "../../formats/safetensors.h"
#include "../support/golden_json.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const backends[] = { "cpu", "cuda" };

static const dt_max_quant_params w8 = { 8 }, w2 = { 2 }, w5 = { 5 }, w16 = { 16 };

/* step of n weights in double */
static double step_of(const double *w, int64_t n, int bits, double least)
{
    double most = 5e-7;

    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(w[i]));
    return fmax(most / (pow(2.0, bits - 1) - 1.0), least);
}

static void max_quant_oracle(const op_case *c, const double *const *in, double *out)
{
    const int bits = ((const dt_max_quant_params *)c->params)->bits;
    const int64_t sets = dt_count(&c->in[1].shape), n = dt_count(&c->in[0].shape) / sets;
    const double high = pow(2.0, bits - 1) - 1.0;

    for (int64_t k = 0; k < sets; k++) {
        const double step = step_of(in[0] + k * n, n, bits, in[1][k]);
        for (int64_t i = k * n; i < (k + 1) * n; i++) {
            out[i] = (double)(float)step * fmax(-high, fmin(high, round(in[0][i] / step)));
        }
    }
}

#define QUANT                                                                                                       \
    .op = DT_OP_MAX_QUANT, .n_in = 2, .oracle = max_quant_oracle, .agree = AGREE_INTEGERS, .no_slopes = "rounding", \
    .out_scale_first = 1
#define W(...)                              \
    {                                       \
        OP_SHAPE(__VA_ARGS__), .size = 0.5f \
    }
#define NO_LEAST(n)                                \
    {                                              \
        OP_SHAPE(n), .fill = FILL_ZERO, .state = 1 \
    }
#define LEAST(n, s)                                               \
    {                                                             \
        OP_SHAPE(n), .fill = FILL_POSITIVE, .size = s, .state = 1 \
    }

static const op_case cases[] = {
    { QUANT, .why = "16 bits", .params = &w16, .in = { W(5, 3, 3, 7), NO_LEAST(5) } },
    { QUANT, .why = "a scale a filter", .params = &w8, .in = { W(7, 3, 3, 5), NO_LEAST(7) } },
    { QUANT, .why = "a scale a layer", .params = &w8, .in = { W(7, 3, 3, 5), NO_LEAST(1) } },
    { QUANT, .why = "one filter of one weight", .params = &w8, .in = { W(1, 1), NO_LEAST(1) } },
    { QUANT, .why = "2 bits", .params = &w2, .in = { W(33, 7), NO_LEAST(33) } },
    { QUANT, .why = "5 bits, many weights", .params = &w5, .in = { W(33, 3, 3, 33), NO_LEAST(33) } },
    { QUANT, .why = "a bias", .params = &w5, .in = { W(33), NO_LEAST(1) } },
    { QUANT, .why = "zeros", .params = &w8, .in = { { OP_SHAPE(3, 33), .fill = FILL_ZERO }, NO_LEAST(3) } },
    { QUANT, .why = "below the narrowest range", .params = &w8,
      .in = { { OP_SHAPE(3, 33), .size = 3e-7f }, NO_LEAST(3) } },
    { QUANT, .why = "integers: ties go away from 0", .params = &w8,
      .in = { { OP_SHAPE(2, 33), .fill = FILL_INTEGER, .size = 254.0f }, NO_LEAST(1) } },
    { QUANT, .why = "large", .params = &w8, .in = { { OP_SHAPE(7, 33), .size = 1e30f }, NO_LEAST(7) } },
    { QUANT, .why = "a least scale above the weights' own", .params = &w8, .in = { W(7, 33), LEAST(7, 0.1f) } },
    { QUANT, .why = "a least scale that some filters reach", .params = &w8, .in = { W(33, 3), LEAST(33, 0.003f) } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(max_quant, codes_match_the_oracle)
{
    op_cases_run(cases, N_CASES);
}

Test(max_quant, gradients_pass_and_add)
{
    op_cases_pass_gradients(cases, N_CASES);
}

Test(max_quant, a_filter_with_a_nan_has_no_code)
{
    static const float w[2][3] = { { 1.0f, NAN, 2.0f }, { 1.0f, -4.0f, 2.0f } };
    const op_case c = { QUANT, .why = "NaN", .params = &w8, .in = { W(2, 3), NO_LEAST(2) } };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 0, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, w, sizeof w);
        op_rig_forward(&rig);
        float *code = op_rig_read(&rig, rig.out.data, 6), *scale = op_rig_read(&rig, rig.out.scale, 2);
        cr_assert(isnan(scale[0]) && isnan(code[0]) && isnan(code[1]) && isnan(code[2]));
        cr_assert(code[3] == 32.0f && code[4] == -127.0f && code[5] == 64.0f, "%g %g %g", (double)code[3],
                  (double)code[4], (double)code[5]);
        cr_assert(scale[1] == (float)(4.0 / 127.0));
        free(code);
        free(scale);
        op_rig_close(&rig);
    }
    cr_assert(isnan(dt_max_step(INFINITY, 127, 0.0f)) && isnan(dt_max_step(1.0f, 127, NAN)));
}

/* ---- TensorFlow Lite ---- */

typedef struct {
    dt_safetensors *params, *quant;
} golden_model;

static void *read_golden(const dt_safetensors *f, const char *name, size_t element, int64_t *count)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(f, name);

    if (!t) return NULL;
    void *data = malloc((size_t)t->count * element + 1);
    cr_assert(dt_safetensors_read(f, t, data) == DT_OK, "%s", dt_last_error());
    *count = t->count;
    return data;
}

/* Weights of a filter may lie apart: TensorFlow Lite's depthwise filters are the last axis. */
typedef struct {
    int64_t first, step, n;
} filter_view;

static filter_view view_of(int is_depthwise, int64_t k, int64_t filters, int64_t count)
{
    const int64_t n = count / filters;
    return is_depthwise ? (filter_view){ k, filters, n } : (filter_view){ k * n, 1, n };
}

/* Filters whose scale a bias made larger are left out: what they ask for is the caller's to say. */
static int check_filter(const char *name, filter_view v, const float *w, const int8_t *q, float scale)
{
    float magnitude = 0.0f;

    for (int64_t i = 0; i < v.n; i++) magnitude = dt_max_magnitude(magnitude, w[v.first + i * v.step]);
    const double step = dt_max_step(magnitude, 127, 0.0f);
    if (scale > 1.01f * (float)step) return 0;
    cr_assert((float)step == scale, "%s: scale %.9g, TensorFlow Lite has %.9g", name, step, (double)scale);
    for (int64_t i = 0; i < v.n; i++) {
        const int64_t at = v.first + i * v.step;
        cr_assert(dt_max_code(w[at], step, 127) == (float)q[at], "%s: code [%lld] of %.9g is %g, expected %d", name,
                  (long long)at, (double)w[at], (double)dt_max_code(w[at], step, 127), q[at]);
    }
    return 1;
}

static int check_weights(const golden_model *m, int op, int is_depthwise)
{
    char name[3][64];
    int64_t count = 0, filters = 0;
    int n = 0;

    snprintf(name[0], sizeof name[0], "folded.op%d.weight", op);
    snprintf(name[1], sizeof name[1], "op%d.weight", op);
    snprintf(name[2], sizeof name[2], "op%d.weight_scale", op);
    float *w = read_golden(m->params, name[0], sizeof *w, &count);
    int8_t *q = read_golden(m->quant, name[1], sizeof *q, &count);
    float *scale = read_golden(m->quant, name[2], sizeof *scale, &filters);
    for (int64_t k = 0; w && q && scale && k < filters; k++) {
        n += check_filter(name[1], view_of(is_depthwise, k, filters, count), w, q, scale[k]);
    }
    free(w);
    free(q);
    free(scale);
    return n;
}

static int check_model(const char *model)
{
    char file[64], path[4096];
    golden_model m = { NULL, NULL };
    cJSON *json = golden_json(model);
    const cJSON *op;
    int k = 0, n = 0;

    if (!json) return 0;
    snprintf(file, sizeof file, "%s.params.safetensors", model);
    cr_assert(golden_path(file, path, sizeof path) && dt_safetensors_open(path, &m.params) == DT_OK);
    snprintf(file, sizeof file, "%s.quant.safetensors", model);
    cr_assert(golden_path(file, path, sizeof path) && dt_safetensors_open(path, &m.quant) == DT_OK);
    cJSON_ArrayForEach(op, cJSON_GetObjectItem(json, "ops"))
    {
        const char *kind = cJSON_GetStringValue(cJSON_GetObjectItem(op, "op"));
        n += check_weights(&m, k++, strcmp(kind, "DEPTHWISE_CONV_2D") == 0);
    }
    dt_safetensors_close(m.params);
    dt_safetensors_close(m.quant);
    cJSON_Delete(json);
    return n;
}

Test(max_quant, codes_are_tensorflow_lites)
{
    const int n = check_model("smartwatch") + check_model("bspc") + check_model("fmnist_dw");

    if (n == 0) cr_skip("DETENT_PTQ_ORACLE names no folder with TensorFlow Lite's results");
    cr_assert(n > 100, "only %d filters were compared", n);
}

Test(max_quant, misuse_is_refused)
{
    const dt_max_quant_params w1 = { 1 }, w17 = { 17 };
    op_case c = { QUANT, .why = "1 bit", .params = &w1, .in = { W(2, 7), NO_LEAST(2) } };
    op_case_refused(&c, DT_ERR_ARGUMENT, "weights of 1 bits, allowed are 2..16");
    c.params = &w17;
    op_case_refused(&c, DT_ERR_ARGUMENT, "weights of 17 bits, allowed are 2..16");
    const op_case least = { QUANT, .why = "least", .params = &w8, .in = { W(7, 2), NO_LEAST(2) } };
    op_case_refused(&least, DT_ERR_SHAPE, "2 least scales for 7 filters");
}
