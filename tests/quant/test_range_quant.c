/*
 * test_range_quant.c - the affine quantizer of activations: its arithmetic against cases with known results and against
 *                      TensorFlow Lite's own, and the operator against double.
 *
 * Rounding has no useful slope, so gradients are compared with their formula, not with differences. The comparison with
 * TensorFlow Lite needs the folder of its results, DETENT_PTQ_ORACLE.
 */
#include "../../core/arith/range.h"
#include "../support/affine_oracle.h"
#include "../support/golden_json.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const char *const backends[] = { "cpu", "cuda" };

/* ---- the arithmetic ---- */

/* Ranges with what TensorFlow 2.21's converter makes of them, 8 bits. */
static const struct {
    const char *why;
    float min, max;
    double scale; /* correctly rounded to f32 */
    int zero;
} known[] = {
    { "symmetric: half a code lies on either side, and -0.5 rounds away from 0", -1.0f, 1.0f, 2.0 / 255.0, -1 },
    { "a tie the other way", -0.5f, 254.5f, 1.0, -128 },
    { "one-sided above: widened to hold 0", 2.0f, 9.0f, 9.0 / 255.0, -128 },
    { "one-sided below", -9.0f, -2.0f, 9.0 / 255.0, 127 },
    { "a dead ReLU", 0.0f, 0.0f, 2e-6 / 255.0, 0 },
    { "pixels", 0.0f, 1.0f, 1.0 / 255.0, -128 },
    { "a softmax", 0.0f, 255.0f / 256.0f, 1.0 / 256.0, -128 },
    { "ends that have crossed hold 0 alone", 1.0f, -1.0f, 2e-6 / 255.0, 0 },
};

Test(range, known_ranges_have_their_scale_and_zero_point)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const dt_range_grid g = dt_range_grid_of(known[i].min, known[i].max, 8, 0);
        cr_assert(fabs((double)g.scale - known[i].scale) <= 6e-8 * known[i].scale && g.zero == known[i].zero,
                  "%s: %.9g, zero %d; expected %.9g, %d", known[i].why, (double)g.scale, g.zero, known[i].scale,
                  known[i].zero);
        cr_assert(g.low == -128 - g.zero && g.high == 127 - g.zero, "%s: codes %d..%d", known[i].why, g.low, g.high);
    }
}

Test(range, any_range_is_the_oracles)
{
    for (int bits = 2; bits <= 16; bits++) {
        for (int i = 0; i < 2000; i++) {
            const float min = -3.0f * sinf((float)i) - 1.0f, max = 7.0f * sinf((float)(i * i % 1009)) + 2.0f;
            const int is_positive = i % 5 == 0;
            const dt_range_grid g = dt_range_grid_of(min, max, bits, is_positive);
            const affine_truth t = affine_of((double)min, (double)max, bits, is_positive);
            cr_assert((double)g.scale == t.scale && (double)g.zero == t.zero && (double)g.low == t.low &&
                          (double)g.high == t.high,
                      "%d bits, %g..%g: %.9g zero %d codes %d..%d; expected %.9g, %g, %g..%g", bits, (double)min,
                      (double)max, (double)g.scale, g.zero, g.low, g.high, t.scale, t.zero, t.low, t.high);
        }
    }
}

Test(range, what_is_no_number_stays_none)
{
    const float bad[] = { NAN, INFINITY, -INFINITY };

    for (int i = 0; i < 3; i++) {
        const dt_range_grid low = dt_range_grid_of(bad[i], 1.0f, 8, 0), high = dt_range_grid_of(0.0f, bad[i], 8, 1);
        cr_assert(isnan(low.scale) && isnan(high.scale) && isnan(dt_range_code(1.0f, &low)));
        cr_assert(low.low == -128 && low.high == 127, "codes %d..%d", low.low, low.high);
    }
    const dt_range_grid good = dt_range_grid_of(-1.0f, 1.0f, 8, 0);
    cr_assert(isnan(dt_range_code(NAN, &good)));
    cr_assert(dt_range_code(INFINITY, &good) == 128.0f && dt_range_code(-INFINITY, &good) == -127.0f);
}

/* ---- TensorFlow Lite ---- */

static int n_compared;

static void check_golden(const char *where, const cJSON *min, const cJSON *max, const cJSON *tensor)
{
    const cJSON *scale = cJSON_GetObjectItem(tensor, "scale"), *zero = cJSON_GetObjectItem(tensor, "zero_point");

    if (!min || !max || cJSON_GetArraySize(scale) != 1) return;
    const dt_range_grid g = dt_range_grid_of((float)min->valuedouble, (float)max->valuedouble, 8, 0);
    const float want = (float)scale->child->valuedouble;
    cr_assert(g.scale == want && g.zero == zero->child->valueint,
              "%s: %.9g..%.9g: scale %.9g, zero %d; TensorFlow Lite has %.9g, %d", where, min->valuedouble,
              max->valuedouble, (double)g.scale, g.zero, (double)want, zero->child->valueint);
    n_compared++;
}

/* Operators whose output takes the input's scale, or has a fixed one. */
static int has_own_range(const char *op)
{
    static const char *const others[] = { "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE", "TRANSPOSE",    "PAD",
                                          "SOFTMAX",     "LOGISTIC",        "TANH",    "CONCATENATION" };

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(op, others[i]) == 0) return 0;
    }
    return 1;
}

static const char *op_of(const cJSON *op)
{
    return cJSON_GetStringValue(cJSON_GetObjectItem(op, "op"));
}

/* The conversions of one or two operators; both graphs of a case have their operators side by side. */
static void check_micro(const cJSON *one)
{
    const cJSON *f = cJSON_GetObjectItem(one, "float")->child, *q = cJSON_GetObjectItem(one, "int8")->child;

    for (; f && q && strcmp(op_of(f), op_of(q)) == 0; f = f->next, q = q->next) {
        const cJSON *x = cJSON_GetObjectItem(f, "inputs")->child, *qx = cJSON_GetObjectItem(q, "inputs")->child;
        for (; x && qx; x = x->next, qx = qx->next) {
            check_golden(one->string, cJSON_GetObjectItem(x, "min"), cJSON_GetObjectItem(x, "max"), qx);
        }
        const cJSON *y = cJSON_GetObjectItem(f, "output");
        if (!has_own_range(op_of(f))) continue;
        check_golden(one->string, cJSON_GetObjectItem(y, "min"), cJSON_GetObjectItem(y, "max"),
                     cJSON_GetObjectItem(q, "output"));
    }
}

static void check_model(const char *name, const cJSON *model)
{
    const cJSON *tensors = cJSON_GetObjectItem(model, "tensors"), *op;
    char key[16];

    cJSON_ArrayForEach(op, cJSON_GetObjectItem(model, "ops"))
    {
        if (!has_own_range(op_of(op))) continue;
        snprintf(key, sizeof key, "%d", cJSON_GetObjectItem(op, "output")->valueint);
        check_golden(name, cJSON_GetObjectItem(op, "calibrated_min"), cJSON_GetObjectItem(op, "calibrated_max"),
                     cJSON_GetObjectItem(tensors, key));
    }
    snprintf(key, sizeof key, "%d", cJSON_GetObjectItem(model, "input")->valueint);
    check_golden(name, cJSON_GetObjectItem(model, "input_calibrated_min"),
                 cJSON_GetObjectItem(model, "input_calibrated_max"), cJSON_GetObjectItem(tensors, key));
}

Test(range, scales_and_zero_points_are_tensorflow_lites)
{
    static const char *const models[] = { "smartwatch", "bspc", "fmnist_dw" };
    cJSON *micro = golden_json("micro");
    const cJSON *one;

    if (!micro) cr_skip("DETENT_PTQ_ORACLE names no folder with TensorFlow Lite's results");
    n_compared = 0;
    cJSON_ArrayForEach(one, micro) check_micro(one);
    cJSON_Delete(micro);
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        cJSON *model = golden_json(models[i]);
        if (model) check_model(models[i], model);
        cJSON_Delete(model);
    }
    cr_assert(n_compared > 60, "only %d ranges were compared", n_compared);
}

/* ---- the operator ---- */

static const dt_range_quant_params q8 = { 8, 0, DT_RANGE_FIXED, 0.999f }, q8_positive = { 8, 1, DT_RANGE_FIXED, 0.9f },
                                   q2 = { 2, 0, DT_RANGE_FIXED, 0.9f }, q16 = { 16, 0, DT_RANGE_FIXED, 0.9f },
                                   learned = { 8, 0, DT_RANGE_LEARNED, 0.9f },
                                   learned_positive = { 4, 1, DT_RANGE_LEARNED, 0.9f },
                                   average = { 8, 0, DT_RANGE_AVERAGE, 0.75f },
                                   average_positive = { 8, 1, DT_RANGE_AVERAGE, 0.75f };

/* The range after forward: it moves in training. */
static void range_after(const op_case *c, const double *const *in, double range[2])
{
    const dt_range_quant_params *p = c->params;
    double batch[2] = { 0.0, 0.0 };

    range[0] = in[1][0];
    range[1] = in[1][1];
    if (p->update != DT_RANGE_AVERAGE || !c->purpose.training) return;
    for (int t = 0; t < c->n_in; t++) {
        for (int64_t i = 0; t != 1 && i < dt_count(&c->in[t].shape); i++) {
            batch[0] = fmin(batch[0], in[t][i]);
            batch[1] = fmax(batch[1], in[t][i]);
        }
    }
    for (int k = 0; k < 2; k++) range[k] = (double)p->decay * range[k] + (1.0 - (double)p->decay) * batch[k];
}

static affine_truth truth_of(const op_case *c, const double *const *in)
{
    const dt_range_quant_params *p = c->params;
    double range[2];

    range_after(c, in, range);
    return affine_of(range[0], range[1], p->bits, p->is_positive);
}

static void range_quant_oracle(const op_case *c, const double *const *in, double *out)
{
    const affine_truth t = truth_of(c, in);
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = t.scale * affine_code(&t, in[0][i]);
}

#define QUANT OF_INPUTS(2)
#define OF_INPUTS(n) \
    .op = DT_OP_RANGE_QUANT, .n_in = n, .oracle = range_quant_oracle, .agree = AGREE_INTEGERS, .no_slopes = "rounding"
#define REAL(...)                           \
    {                                       \
        OP_SHAPE(__VA_ARGS__), .size = 4.0f \
    }
#define POSITIVE(...)                                              \
    {                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_POSITIVE, .size = 4.0f \
    }
#define PSUM(...)                                                                   \
    {                                                                               \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 150.0f, .scale = 0.03f \
    }
#define SCALED_PSUM(C, ...)                                                                          \
    {                                                                                                \
        OP_SHAPE(__VA_ARGS__, C), .fill = FILL_INTEGER, .size = 150.0f, .scale = 0.03f, .n_scale = C \
    }
/* -0.28 and 0.95 of the size; POSITIVE_RANGE: 0.86 and 1.48 of it */
#define RANGE(most)                      \
    {                                    \
        OP_SHAPE(2), .size = (float)most \
    }
#define POSITIVE_RANGE(most)                                      \
    {                                                             \
        OP_SHAPE(2), .fill = FILL_POSITIVE, .size = (float)(most) \
    }
#define STATE_RANGE(most)                            \
    {                                                \
        OP_SHAPE(2), .size = (float)most, .state = 1 \
    }

/* 4096 values make a piece; 3x33x31x7 is 5.2 of them */
static const op_case cases[] = {
    { QUANT, .why = "one value", .params = &q8, .in = { REAL(1), RANGE(3) } },
    { QUANT, .why = "8 bits, values outside on both sides", .params = &q8, .in = { REAL(2, 3, 5, 7), RANGE(3) } },
    { QUANT, .why = "a range that nothing reaches", .params = &q8, .in = { REAL(2, 3, 5, 7), RANGE(33) } },
    { QUANT, .why = "2 bits", .params = &q2, .in = { REAL(2, 3, 5, 7), RANGE(3) } },
    { QUANT, .why = "16 bits", .params = &q16, .in = { REAL(2, 3, 5, 33), RANGE(3) } },
    { QUANT, .why = "a range above 0 is widened", .params = &q8, .in = { REAL(2, 7, 5, 3), POSITIVE_RANGE(2) } },
    { QUANT, .why = "values that are not below 0", .params = &q8_positive, .in = { POSITIVE(2, 7, 5, 3), RANGE(3) } },
    { QUANT, .why = "a dead range", .params = &q8, .in = { REAL(2, 3, 5, 7), { OP_SHAPE(2), .fill = FILL_ZERO } } },
    { QUANT, .why = "a dead range, positive", .params = &q8_positive,
      .in = { POSITIVE(1, 33), { OP_SHAPE(2), .fill = FILL_ZERO } } },
    { QUANT, .why = "zeros", .params = &q8, .in = { { OP_SHAPE(7, 33), .fill = FILL_ZERO }, RANGE(3) } },
    { QUANT, .why = "a piece and one value", .params = &q8, .in = { REAL(1, 4097), RANGE(3) } },
    { QUANT, .why = "many pieces", .params = &q8, .in = { REAL(3, 33, 31, 7), RANGE(3) } },
    { QUANT, .why = "learned", .params = &learned, .in = { REAL(3, 33, 31, 7), RANGE(3) } },
    { QUANT, .why = "learned, positive", .params = &learned_positive, .in = { POSITIVE(3, 33, 31, 7), RANGE(4) } },
    { QUANT, .why = "psums, one scale", .params = &learned, .in = { PSUM(2, 4, 4, 8), RANGE(3) } },
    { QUANT, .why = "psums, a scale a channel", .params = &learned, .in = { SCALED_PSUM(7, 2, 5, 4), RANGE(3) } },
    { QUANT, .why = "an average in training", .params = &average, .in = { REAL(3, 33, 31, 7), STATE_RANGE(3) },
      .purpose = { 3, 1 } },
    { QUANT, .why = "an average of positive values", .params = &average_positive,
      .in = { POSITIVE(3, 33, 7), STATE_RANGE(9) }, .purpose = { 3, 1 } },
    { QUANT, .why = "an average of psums", .params = &average, .in = { SCALED_PSUM(7, 33, 5, 4), STATE_RANGE(3) },
      .purpose = { 3, 1 } },
    { OF_INPUTS(4), .why = "an average of several values", .params = &average,
      .in = { REAL(3, 7), STATE_RANGE(3), SCALED_PSUM(7, 33, 31, 5), { OP_SHAPE(5), .size = 33.0f } },
      .purpose = { 3, 1 } },
    { QUANT, .why = "an average in evaluation", .params = &average, .in = { REAL(3, 33, 31, 7), STATE_RANGE(3) },
      .purpose = { 3, 0 } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(range_quant, codes_match_the_oracle)
{
    op_cases_run(cases, N_CASES);
}

static double *real_x(const op_rig *rig)
{
    const dt_tensor *x = &rig->in[0];
    const int64_t n = dt_count(&x->shape);
    double *v = op_rig_read_double(rig, x->data, n), *scale = op_rig_read_double(rig, x->scale, x->n_scale);

    for (int64_t i = 0; x->n_scale > 0 && i < n; i++) v[i] = v[i] * scale[i % x->n_scale];
    free(scale);
    return v;
}

/* Gradients started at 0.5. A value at the very end of the range may round to either side of it in f32. */
static void check_gradients(const op_case *c, const char *backend, const op_rig *rig, const float *dy)
{
    const dt_range_quant_params *p = c->params;
    const int64_t n = dt_count(&rig->in[0].shape);
    double *v = real_x(rig), *dx = op_rig_read_double(rig, rig->in[0].grad, n),
           *range = op_rig_read_double(rig, rig->in[1].data, 2);
    double want[2] = { 0.5, 0.5 }, size = 0.5;
    const affine_truth t = affine_of(range[0], range[1], p->bits, p->is_positive);

    for (int64_t i = 0; i < n; i++) {
        const int below = v[i]<t.low * t.scale, above = v[i]> t.high * t.scale;
        const double d = 0.5 + (below || above ? 0.0 : (double)dy[i]);
        cr_assert(fabs(dx[i] - d) <= 2e-7, "%s: %s: 0.5 + dx[%lld] is %.9g, expected %.9g", c->why, backend,
                  (long long)i, dx[i], d);
        if (below || above) want[above] += (double)dy[i];
        size += fabs((double)dy[i]);
    }
    if (p->is_positive) want[0] = 0.5;
    if (p->update != DT_RANGE_LEARNED) want[0] = want[1] = 0.5;
    double *got = c->in[1].state ? NULL : op_rig_read_double(rig, rig->in[1].grad, 2);
    for (int k = 0; got && k < 2; k++) {
        cr_assert(fabs(got[k] - want[k]) <= 4e-7 * size, "%s: %s: 0.5 + drange[%d] is %.9g, expected %.9g", c->why,
                  backend, k, got[k], want[k]);
    }
    free(v);
    free(dx);
    free(range);
    free(got);
}

Test(range_quant, gradients_are_those_of_fake_quant)
{
    for (int i = 0; i < N_CASES; i++) {
        for (int b = 0; b < 2; b++) {
            op_rig rig;
            if (!op_rig_open(&rig, backends[b], 0, &cases[i])) continue;
            float *dy = op_test_dy(dt_count(&rig.out.shape));
            op_rig_forward(&rig);
            op_rig_backward(&rig, dy);
            check_gradients(&cases[i], backends[b], &rig, dy);
            free(dy);
            op_rig_close(&rig);
        }
    }
}

/* Forward on these values and this range, four values and two. */
static void run_forward(op_rig *rig, const float x[4], const float range[2])
{
    op_rig_write(rig, rig->in[0].data, x, 4 * sizeof *x);
    op_rig_write(rig, rig->in[1].data, range, 2 * sizeof *range);
    op_rig_forward(rig);
}

/* Ends and values are halves, so that every number is exact. */
Test(range_quant, an_average_moves_in_training_alone)
{
    static const float x[4] = { -2.0f, 6.0f, 0.5f, 1.0f }, one_sided[4] = { 2.0f, 6.0f, 3.0f, 2.5f };
    static const float first[2] = { -6.0f, 2.0f };

    for (int b = 0; b < 2; b++) {
        for (int training = 0; training < 2; training++) {
            op_case c = { QUANT, .why = "moves", .params = &average, .in = { REAL(4), STATE_RANGE(3) },
                          .purpose = { 4, training } };
            op_rig rig;
            if (!op_rig_open(&rig, backends[b], 0, &c)) continue;
            run_forward(&rig, x, first);
            float *range = op_rig_read(&rig, rig.in[1].data, 2);
            cr_assert(range[0] == (training ? -5.0f : -6.0f) && range[1] == (training ? 3.0f : 2.0f),
                      "%s, training %d: the range is %g..%g", backends[b], training, (double)range[0],
                      (double)range[1]);
            free(range);
            run_forward(&rig, one_sided, first); /* a batch's range holds 0 */
            range = op_rig_read(&rig, rig.in[1].data, 2);
            cr_assert(range[0] == (training ? -4.5f : -6.0f), "%s: the least end is %g", backends[b], (double)range[0]);
            free(range);
            op_rig_close(&rig);
        }
    }
}

Test(range_quant, a_nan_becomes_no_code)
{
    static const float good[4] = { -2.0f, 6.0f, 0.5f, 1.0f }, bad[4] = { -2.0f, NAN, 0.5f, 1.0f };
    static const float first[2] = { -6.0f, 2.0f }, broken[2] = { NAN, 2.0f };

    for (int b = 0; b < 2; b++) {
        for (int training = 0; training < 2; training++) {
            op_case c = { QUANT, .why = "NaN", .params = &average, .in = { REAL(4), STATE_RANGE(3) },
                          .purpose = { 4, training } };
            op_rig rig;
            if (!op_rig_open(&rig, backends[b], 0, &c)) continue;
            run_forward(&rig, bad, first);
            float *code = op_rig_read(&rig, rig.out.data, 4), *scale = op_rig_read(&rig, rig.out.scale, 1);
            cr_assert(isnan(code[1]) && isnan(scale[0]) == training, "%s: code %g, scale %g", backends[b],
                      (double)code[1], (double)scale[0]);
            free(code);
            free(scale);
            run_forward(&rig, good, broken);
            code = op_rig_read(&rig, rig.out.data, 4);
            for (int i = 0; i < 4; i++) cr_assert(isnan(code[i]), "%s: code %g", backends[b], (double)code[i]);
            free(code);
            op_rig_close(&rig);
        }
    }
}

Test(range_quant, runs_backward_without_gradients_to_give)
{
    op_case c = cases[1];
    c.in[0].state = c.in[1].state = 1;
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 0, &c)) continue;
        float *dy = op_test_dy(dt_count(&rig.out.shape));
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        free(dy);
        op_rig_close(&rig);
    }
}

Test(range_quant, misuse_is_refused)
{
    const dt_range_quant_params q1 = { .bits = 1 }, q17 = { .bits = 17 }, wild = { .bits = 8, .decay = 1.5f };
    op_case c = { QUANT, .why = "1 bit", .params = &q1, .in = { REAL(2, 7), RANGE(3) } };
    op_case_refused(&c, DT_ERR_ARGUMENT, "codes of 1 bits, allowed are 2..16");
    c.params = &q17;
    op_case_refused(&c, DT_ERR_ARGUMENT, "codes of 17 bits, allowed are 2..16");
    c.params = &wild;
    op_case_refused(&c, DT_ERR_ARGUMENT, "decay is 1.5, allowed are 0..1");
    const op_case ends = { QUANT, .why = "ends", .params = &q8, .in = { REAL(2, 7), { OP_SHAPE(3) } } };
    op_case_refused(&ends, DT_ERR_SHAPE, "takes a range of 2 numbers, got 3");
    const op_case others = { OF_INPUTS(3), .why = "others", .params = &q8, .in = { REAL(2, 7), RANGE(3), REAL(2) } };
    op_case_refused(&others, DT_ERR_ARGUMENT, "1 other values are to count, which only an average takes");
    const op_case grid = { QUANT, .why = "grid", .params = &q8, .in = { REAL(2, 7), PSUM(2) } };
    op_case_refused(&grid, DT_ERR_UNSUPPORTED, "the range is a grid tensor");
}
