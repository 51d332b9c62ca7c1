/*
 * test_scale_quant.c - the quantizer whose scale is given: its rounding modes against numbers worked out by hand, and
 *                      the operator against double.
 *
 * Rounding has no useful slope, so gradients are compared with their formula, not with differences.
 */
#include "../../core/arith/scale_grid.h"
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const char *const backends[] = { "cpu", "cuda" };

enum { N_MODES = DT_TO_SIGN };

/* numpy's results of the functions that QONNX names */
static const struct {
    float v, to[N_MODES]; /* half-even, half-up, half-down, ceil, floor, up, down */
} known[] = {
    { 0.0f, { 0, 0, 0, 0, 0, 0, 0 } },          { 0.5f, { 0, 1, 0, 1, 0, 1, 0 } },
    { -0.5f, { 0, -1, 0, 0, -1, -1, 0 } },      { 1.5f, { 2, 2, 1, 2, 1, 2, 1 } },
    { -1.5f, { -2, -2, -1, -1, -2, -2, -1 } },  { 2.5f, { 2, 3, 2, 3, 2, 3, 2 } },
    { -2.5f, { -2, -3, -2, -2, -3, -3, -2 } },  { 2.75f, { 3, 3, 3, 3, 2, 3, 2 } },
    { -2.25f, { -2, -2, -2, -2, -3, -3, -2 } }, { 3.0f, { 3, 3, 3, 3, 3, 3, 3 } },
};

Test(scale_grid, each_mode_rounds_as_it_is_defined)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        for (int mode = 0; mode < N_MODES; mode++) {
            const float got = dt_integer_of(known[i].v, (dt_code_rounding)mode);
            cr_assert(got == known[i].to[mode], "mode %d of %g: %g, expected %g", mode, (double)known[i].v, (double)got,
                      (double)known[i].to[mode]);
        }
    }
    cr_assert(dt_integer_of(0.0f, DT_TO_SIGN) == 1.0f && dt_integer_of(-0.0f, DT_TO_SIGN) == 1.0f);
    cr_assert(dt_integer_of(-1e-30f, DT_TO_SIGN) == -1.0f && isnan(dt_integer_of(NAN, DT_TO_SIGN)));
}

Test(scale_grid, a_tie_is_to_even_as_the_file_counts)
{
    const dt_scale_quant_params odd = { -128 - 3, 127 - 3, 3, DT_TO_HALF_EVEN, 0 };

    cr_assert(dt_scale_code(0.5f, 1.0f, &odd) == 1.0f, "3.5 becomes 4, which is 1 above the zero point");
    cr_assert(dt_scale_code(1.5f, 1.0f, &odd) == 1.0f, "4.5 becomes 4");
    cr_assert(dt_scale_code(1e9f, 1.0f, &odd) == 124.0f && dt_scale_code(-1e9f, 1.0f, &odd) == -131.0f);
    cr_assert(isnan(dt_scale_code(NAN, 1.0f, &odd)) && !signbit(dt_scale_code(-0.1f, 1.0f, &odd)));
}

/* ---- the operator ---- */

static const dt_scale_quant_params s8 = { -127, 127, 0, DT_TO_HALF_EVEN, 0 }, u4 = { 0, 15, 0, DT_TO_HALF_EVEN, 0 },
                                   ternary = { -1, 1, 0, DT_TO_HALF_EVEN, 1 }, s16 = { -32768, 32767, 0, 0, 0 },
                                   shifted = { -131, 124, 3, DT_TO_HALF_EVEN, 0 }, down = { -7, 7, 0, DT_TO_DOWN, 0 },
                                   ceiling = { -7, 7, 0, DT_TO_CEIL, 0 }, filters = { -7, 7, 0, DT_TO_HALF_UP, 1 },
                                   sign = { -1, 1, 0, DT_TO_SIGN, 0 }, sign_filters = { -1, 1, 0, DT_TO_SIGN, 1 };

static double integer_in_double(double v, dt_code_rounding rounding)
{
    switch (rounding) {
    case DT_TO_HALF_EVEN: return nearbyint(v);
    case DT_TO_HALF_UP: return round(v);
    case DT_TO_DOWN: return v < 0.0 ? ceil(v) : floor(v);
    case DT_TO_CEIL: return ceil(v);
    default: cr_assert_fail("no case has the mode %d", (int)rounding);
    }
    return 0.0;
}

/* Where in its grid the value of element i lies, as the file counts: divided as f32 is, for ties are exact. */
static double position_of(const op_case *c, const double *const *in, int64_t i, double *scale)
{
    const dt_scale_quant_params *p = c->params;
    const int64_t n = dt_count(&c->in[1].shape), count = dt_count(&c->in[0].shape);

    *scale = in[1][p->filters ? i / (count / c->in[0].shape.dim[0]) % n : i % n];
    return (double)((float)in[0][i] / (float)*scale) + p->zero;
}

static void scale_quant_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_scale_quant_params *p = c->params;

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        double scale, q = position_of(c, in, i, &scale);
        if (p->rounding == DT_TO_SIGN)
            out[i] = in[0][i] >= 0.0 ? scale : -scale;
        else
            out[i] = scale * (fmax(p->low, fmin(p->high, integer_in_double(q, p->rounding) - p->zero)));
    }
}

#define QUANT \
    .op = DT_OP_SCALE_QUANT, .n_in = 2, .oracle = scale_quant_oracle, .agree = AGREE_INTEGERS, .no_slopes = "rounding"
#define REAL(...)                           \
    {                                       \
        OP_SHAPE(__VA_ARGS__), .size = 4.0f \
    }
#define SCALES(n, most)                                                       \
    {                                                                         \
        OP_SHAPE(n), .fill = FILL_POSITIVE, .size = (float)(most), .state = 1 \
    }
#define PSUM(C, ...)                                                                                    \
    {                                                                                                   \
        OP_SHAPE(__VA_ARGS__, C), .fill = FILL_INTEGER, .size = 150.0f, .scale = 0.03125f, .n_scale = C \
    }

/* 4096 values make a piece; 3x33x31x7 is 5.2 of them */
static const op_case cases[] = {
    { QUANT, .why = "one value", .params = &s8, .in = { REAL(1, 1), SCALES(1, 0.02) } },
    { QUANT, .why = "8 bits", .params = &s8, .in = { REAL(2, 3, 5, 7), SCALES(1, 0.02) } },
    { QUANT, .why = "values outside on both sides, many pieces", .params = &u4,
      .in = { REAL(3, 33, 31, 7), SCALES(1, 0.1) } },
    { QUANT, .why = "ties", .params = &down,
      .in = { { OP_SHAPE(3, 33), .fill = FILL_INTEGER, .size = 20.0f },
              { OP_SHAPE(1), .fill = FILL_POSITIVE, .size = 2.0f, .state = 1 } } },
    { QUANT, .why = "16 bits", .params = &s16, .in = { REAL(2, 3, 5, 33), SCALES(1, 1e-4) } },
    { QUANT, .why = "a zero point", .params = &shifted, .in = { REAL(2, 3, 5, 33), SCALES(1, 0.02) } },
    { QUANT, .why = "a scale a channel", .params = &ceiling, .in = { REAL(2, 3, 5, 33), SCALES(33, 0.4) } },
    { QUANT, .why = "ternary filters", .params = &ternary, .out_scale_first = 1,
      .in = { REAL(7, 3, 3, 5), SCALES(1, 2.0) } },
    { QUANT, .why = "a scale a filter", .params = &filters, .out_scale_first = 1,
      .in = { REAL(33, 3, 3, 33), SCALES(33, 0.4) } },
    { QUANT, .why = "bipolar", .params = &sign, .in = { REAL(3, 33, 7), SCALES(1, 2.0) } },
    { QUANT, .why = "bipolar filters", .params = &sign_filters, .out_scale_first = 1,
      .in = { REAL(7, 33), SCALES(7, 2.0) } },
    { QUANT, .why = "zeros", .params = &sign, .in = { { OP_SHAPE(7, 33), .fill = FILL_ZERO }, SCALES(1, 1.0) } },
    { QUANT, .why = "psums, a scale a channel", .params = &u4, .in = { PSUM(7, 2, 5, 4), SCALES(1, 0.25) } },
    { QUANT, .why = "large", .params = &s8, .in = { { OP_SHAPE(7, 33), .size = 1e30f }, SCALES(1, 1.0) } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(scale_quant, codes_match_the_oracle)
{
    op_cases_run(cases, N_CASES);
}

static double *real_values(const op_rig *rig)
{
    const dt_tensor *x = &rig->in[0];
    const int64_t n = dt_count(&x->shape);
    double *v = op_rig_read_double(rig, x->data, n), *scale = op_rig_read_double(rig, x->scale, x->n_scale);

    for (int64_t i = 0; x->n_scale > 0 && i < n; i++) v[i] = v[i] * scale[i % x->n_scale];
    free(scale);
    return v;
}

/* Gradients started at 0.5. */
static void check_gradients(const op_case *c, const char *backend, const op_rig *rig, const float *dy)
{
    const dt_scale_quant_params *p = c->params;
    const int64_t n = dt_count(&rig->in[0].shape);
    double *v = real_values(rig), *dx = op_rig_read_double(rig, rig->in[0].grad, n),
           *scales = op_rig_read_double(rig, rig->in[1].data, dt_count(&rig->in[1].shape));
    const double *const in[2] = { v, scales };

    for (int64_t i = 0; i < n; i++) {
        double scale, q = position_of(c, in, i, &scale) - p->zero;
        const int passes = p->rounding == DT_TO_SIGN ? fabs(v[i]) <= scale : q >= p->low && q <= p->high;
        const double d = 0.5 + (passes ? (double)dy[i] : 0.0);
        cr_assert(fabs(dx[i] - d) <= 2e-7, "%s: %s: 0.5 + dx[%lld] is %.9g, expected %.9g", c->why, backend,
                  (long long)i, dx[i], d);
    }
    free(v);
    free(dx);
    free(scales);
}

Test(scale_quant, gradients_go_straight_through_within_the_limits)
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

Test(scale_quant, misfits_are_refused)
{
    const dt_scale_quant_params no_zero = { 1, 7, 0, DT_TO_HALF_EVEN, 0 };
    op_case c = cases[1];

    c.in[1] = (op_input){ OP_SHAPE(3), .fill = FILL_POSITIVE };
    op_case_refused(&c, DT_ERR_SHAPE, "3 scales for 7 channels");
    c = cases[1];
    c.params = &no_zero;
    op_case_refused(&c, DT_ERR_ARGUMENT, "codes of 1..7");
    c = cases[7];
    c.in[0].scale = 0.5f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "x is a grid tensor");
}
