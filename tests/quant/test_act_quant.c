/*
 * test_act_quant.c - the activation quantizer as an operator: codes and gradients of real values and of psums against
 *                    double, and against PyTorch bit for bit.
 *
 * Rounding has no useful slope, so gradients are compared with each rule's formula, not with differences.
 */
#include "../support/golden.h"
#include "../support/op_case.h"

#include <math.h>
#include <stdlib.h>

static const char *const backends[] = { "cpu", "cuda" };

static int high_of(const dt_act_quant_params *p)
{
    return (1 << (p->bits - p->is_signed)) - 1;
}

/* in units of the step; LSQ's alpha is the step itself */
static double code_of(const dt_act_quant_params *p, double v, double alpha)
{
    const double high = high_of(p), low = p->is_signed ? -high : 0.0;
    if (p->rule == DT_RULE_LSQ) return nearbyint(fmax(fmin(v / alpha, high), low));
    if (p->unclamped) return nearbyint(fmin(v / alpha, 1.0) * high);
    return nearbyint(fmax(fmin(v / alpha * high, high), low));
}

static void act_quant_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_act_quant_params *p = c->params;
    const double step = p->rule == DT_RULE_LSQ ? in[1][0] : in[1][0] / high_of(p);
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = step * code_of(p, in[0][i], in[1][0]);
}

/* d real / d v, d real / d alpha */
typedef struct {
    double value, alpha;
} double_slope;

static double_slope slope_of(const dt_act_quant_params *p, double v, double alpha, int64_t n)
{
    const double high = high_of(p), low = p->is_signed ? -1.0 : 0.0, x = v / alpha;
    const int above = x > 1.0, below = !p->unclamped && x < low;
    const double error = code_of(p, v, alpha) / (p->rule == DT_RULE_LSQ ? 1.0 : high) - x;

    switch (p->rule) {
    case DT_RULE_PACT: return (double_slope){ x < 1.0 && !below, x >= 1.0 };
    case DT_RULE_ECE284: return (double_slope){ !above && !below, above ? 1.0 : below ? low : 0.0 };
    case DT_RULE_APOT:
    case DT_RULE_SCREAM: return (double_slope){ !above && !below, above ? 1.0 : below ? low : error };
    case DT_RULE_LSQ:
    case DT_RULE_AFFINE:
    case DT_RULE_QKERAS: break; /* of no single quantizer */
    }
    const double factor = 1.0 / sqrt((double)n * high);
    if (x >= high) return (double_slope){ 0.0, high * factor };
    if (x <= low * high) return (double_slope){ 0.0, low * high * factor };
    return (double_slope){ 1.0, error * factor };
}

/* bits, is_signed, unclamped, rule */
static const dt_act_quant_params a2 = { 2, 0, 0, DT_RULE_ECE284 }, a3 = { 3, 0, 0, DT_RULE_ECE284 },
                                 a4 = { 4, 0, 0, DT_RULE_ECE284 }, a8 = { 8, 0, 0, DT_RULE_ECE284 },
                                 image8 = { 8, 1, 0, DT_RULE_ECE284 }, image4 = { 4, 0, 1, DT_RULE_ECE284 },
                                 apot = { 4, 0, 0, DT_RULE_APOT }, apot_signed = { 4, 1, 0, DT_RULE_APOT },
                                 scream = { 3, 0, 0, DT_RULE_SCREAM }, scream_image = { 4, 0, 1, DT_RULE_SCREAM },
                                 pact = { 2, 0, 0, DT_RULE_PACT }, pact_signed = { 4, 1, 0, DT_RULE_PACT },
                                 lsq2 = { 2, 0, 0, DT_RULE_LSQ }, lsq4 = { 4, 1, 0, DT_RULE_LSQ },
                                 lsq8 = { 8, 0, 0, DT_RULE_LSQ };

#define QUANT \
    .op = DT_OP_ACT_QUANT, .n_in = 2, .oracle = act_quant_oracle, .agree = AGREE_INTEGERS, .no_slopes = "rounding"
#define REAL(...)                           \
    {                                       \
        OP_SHAPE(__VA_ARGS__), .size = 4.0f \
    }
/* real values within +-4.5: one scale; or a channel's, up to twice as large */
#define PSUM(...)                                                                   \
    {                                                                               \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 150.0f, .scale = 0.03f \
    }
#define SCALED_PSUM(C, ...)                                                                          \
    {                                                                                                \
        OP_SHAPE(__VA_ARGS__, C), .fill = FILL_INTEGER, .size = 150.0f, .scale = 0.03f, .n_scale = C \
    }
#define ALPHA(clip)                                      \
    {                                                    \
        OP_SHAPE(1), .fill = FILL_POSITIVE, .size = clip \
    }

/* 4096 values make a piece; 3x33x31x7 is 5.2 of them */
static const op_case cases[] = {
    { QUANT, .why = "one value", .params = &a4, .in = { REAL(1), ALPHA(2.0f) } },
    { QUANT, .why = "2 bits", .params = &a2, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) } },
    { QUANT, .why = "3 bits", .params = &a3, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) } },
    { QUANT, .why = "4 bits, a clip that nothing reaches", .params = &a4, .in = { REAL(2, 3, 5, 7), ALPHA(8.0f) } },
    { QUANT, .why = "8 bits", .params = &a8, .in = { REAL(2, 3, 5, 33), ALPHA(2.0f) } },
    { QUANT, .why = "signed image", .params = &image8, .in = { REAL(2, 7, 5, 3), ALPHA(2.0f) } },
    { QUANT, .why = "unclamped image", .params = &image4, .in = { REAL(2, 7, 5, 3), ALPHA(2.0f) } },
    { QUANT, .why = "a piece and one value", .params = &a4, .in = { REAL(1, 4097), ALPHA(2.0f) } },
    { QUANT, .why = "a piece exactly", .params = &a4, .in = { REAL(4, 1024), ALPHA(2.0f) } },
    { QUANT, .why = "many pieces", .params = &a4, .in = { REAL(3, 33, 31, 7), ALPHA(2.0f) } },
    { QUANT, .why = "apot", .params = &apot, .in = { REAL(3, 33, 31, 7), ALPHA(2.0f) } },
    { QUANT, .why = "apot, signed", .params = &apot_signed, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) } },
    { QUANT, .why = "scream", .params = &scream, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) } },
    { QUANT, .why = "scream, unclamped image", .params = &scream_image, .in = { REAL(2, 7, 5, 3), ALPHA(2.0f) } },
    { QUANT, .why = "pact", .params = &pact, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) } },
    { QUANT, .why = "pact, signed", .params = &pact_signed, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) } },
    { QUANT, .why = "lsq, 2 bits", .params = &lsq2, .in = { REAL(2, 3, 5, 7), ALPHA(0.7f) } },
    { QUANT, .why = "lsq, signed, many pieces", .params = &lsq4, .in = { REAL(3, 33, 31, 7), ALPHA(0.4f) } },
    { QUANT, .why = "lsq, 8 bits", .params = &lsq8, .in = { REAL(2, 3, 5, 7), ALPHA(0.01f) } },
    { QUANT, .why = "psums, one scale", .params = &a4, .in = { PSUM(2, 4, 4, 8), ALPHA(2.0f) } },
    { QUANT, .why = "psums, a scale for each channel", .params = &a2, .in = { SCALED_PSUM(7, 2, 5, 4), ALPHA(2.0f) } },
    { QUANT, .why = "psums, many pieces that split a row", .params = &a4,
      .in = { SCALED_PSUM(33, 3, 17, 7), ALPHA(2.0f) } },
    { QUANT, .why = "scaled gradients", .params = &a4, .in = { REAL(3, 33, 31, 7), ALPHA(2.0f) },
      .purpose = { .ewgs = 0.4f } },
    { QUANT, .why = "scaled gradients, apot, signed", .params = &apot_signed, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) },
      .purpose = { .ewgs = 1.0f } },
    { QUANT, .why = "scaled gradients, pact", .params = &pact, .in = { REAL(2, 3, 5, 7), ALPHA(2.0f) },
      .purpose = { .ewgs = 0.4f } },
    { QUANT, .why = "scaled gradients, psums, lsq", .params = &lsq4, .in = { SCALED_PSUM(7, 2, 5, 4), ALPHA(0.4f) },
      .purpose = { .ewgs = 0.4f } },
    { QUANT, .why = "psums, lsq", .params = &lsq4, .in = { SCALED_PSUM(7, 2, 5, 4), ALPHA(0.4f) } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(act_quant, codes_match_the_oracle)
{
    op_cases_run(cases, N_CASES);
}

/* dy of a value of t clips (or steps), scaled element by element: by the definition. */
static double scaled_dy(const op_case *c, double t, double dy)
{
    const dt_act_quant_params *p = c->params;
    const double steps = p->rule == DT_RULE_LSQ ? t : t * high_of(p);
    return dy + fabs(dy) * (double)c->purpose.ewgs * (steps - nearbyint(steps));
}

/* Gradients start at 0.5; a factor is 0 or 1, so only 0.5 + it rounds. Where gradients are scaled, so does the distance
 * in steps, of which there are up to `high`. */
static void check_gradients(const op_case *c, const char *backend, const op_rig *rig, const float *dy)
{
    const dt_act_quant_params *p = c->params;
    const dt_tensor *x = &rig->in[0];
    const int64_t n = dt_count(&x->shape);
    double *v = op_rig_read_double(rig, x->data, n), *scale = op_rig_read_double(rig, x->scale, x->n_scale);
    double *dx = op_rig_read_double(rig, x->grad, n), *alpha = op_rig_read_double(rig, rig->in[1].data, 1);
    double *dalpha = op_rig_read_double(rig, rig->in[1].grad, 1), want_alpha = 0.5, size = 0.5;

    for (int64_t i = 0; i < n; i++) {
        const double real = v[i] * (x->n_scale == 0 ? 1.0 : scale[i % x->n_scale]);
        const double_slope slope = slope_of(p, real, alpha[0], n);
        const double want = 0.5 + slope.value * scaled_dy(c, real / alpha[0], (double)dy[i]);
        const double rounding = 2e-7 + (double)c->purpose.ewgs * high_of(p) * ldexp(1.0, -23);
        cr_assert(fabs(dx[i] - want) <= rounding, "%s: %s: 0.5 + dx[%lld] is %.9g, expected %.9g", c->why, backend,
                  (long long)i, dx[i], want);
        want_alpha += slope.alpha * (double)dy[i];
        size += fabs((double)dy[i]);
    }
    cr_assert(fabs(dalpha[0] - want_alpha) <= 4e-7 * size, "%s: %s: 0.5 + dalpha is %.9g, expected %.9g", c->why,
              backend, dalpha[0], want_alpha);
    free(v);
    free(scale);
    free(dx);
    free(alpha);
    free(dalpha);
}

Test(act_quant, gradients_follow_each_rule_and_add)
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

static float *dx_of(const op_case *c, const char *backend)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 0, c)) return NULL;
    float *dy = op_test_dy(dt_count(&rig.out.shape));
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    float *dx = op_rig_read(&rig, rig.in[0].grad, dt_count(&rig.in[0].shape));
    free(dy);
    op_rig_close(&rig);
    return dx;
}

Test(act_quant, cpu_and_cuda_give_values_equal_gradients)
{
    for (int i = 0; i < N_CASES; i++) {
        float *cpu = dx_of(&cases[i], "cpu"), *cuda = dx_of(&cases[i], "cuda");
        if (!cuda) {
            free(cpu);
            cr_skip("no CUDA here: %s", dt_last_error());
        }
        for (int64_t j = 0; j < dt_count(&cases[i].in[0].shape); j++) {
            cr_assert(cpu[j] == cuda[j], "%s: dx[%lld] is %.9g on cpu, %.9g on cuda", cases[i].why, (long long)j,
                      (double)cpu[j], (double)cuda[j]);
        }
        free(cpu);
        free(cuda);
    }
}

/* A fixed clip (input_bits) has no gradient, and the image none either: backward has nothing to write. */
Test(act_quant, runs_backward_without_gradients_to_give)
{
    op_case c = cases[5];
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

/* ---- PyTorch ---- */

static void golden_on(const char *backend, const golden_input *in, const golden_case *g)
{
    const int unclamped = g->rule != DT_RULE_PACT && g->rule != DT_RULE_LSQ;
    const dt_act_quant_params p = { g->bits, 0, unclamped, g->rule };
    const op_case c = { QUANT, .why = in->name, .params = &p, .in = { REAL(in->n), ALPHA(1.0f) } };
    const float zero[GOLDEN_MAX] = { 0.0f };
    op_rig rig;
    if (!op_rig_open(&rig, backend, 1, &c)) return;

    op_rig_write(&rig, rig.in[0].data, in->value, (size_t)in->n * sizeof(float));
    op_rig_write(&rig, rig.in[1].data, &g->alpha, sizeof(float));
    op_rig_write(&rig, rig.in[0].grad, zero, (size_t)in->n * sizeof(float));
    op_rig_write(&rig, rig.in[1].grad, zero, sizeof(float));
    op_rig_forward(&rig);
    op_rig_backward(&rig, in->g);
    float *code = op_rig_read(&rig, rig.out.data, in->n), *scale = op_rig_read(&rig, rig.out.scale, 1);
    float *dx = op_rig_read(&rig, rig.in[0].grad, in->n), *dalpha = op_rig_read(&rig, rig.in[1].grad, 1);
    for (int i = 0; i < in->n; i++) {
        cr_assert(code[i] == (float)g->code[i] && dx[i] == g->d_value[i],
                  "%s: %s[%d], %d bits, rule %d: code %g, dx %.9g; golden %d, %.9g", backend, in->name, i, g->bits,
                  (int)g->rule, (double)code[i], (double)dx[i], g->code[i], (double)g->d_value[i]);
    }
    cr_assert(scale[0] == g->scale, "%s: %s: scale is %.9g", backend, in->name, (double)scale[0]);
    golden_check_d_alpha(in, g, (double)dalpha[0]);
    free(code);
    free(scale);
    free(dx);
    free(dalpha);
    op_rig_close(&rig);
}

static void visit(const golden_input *in, const golden_case *g)
{
    golden_on("cpu", in, g);
    golden_on("cuda", in, g);
}

Test(act_quant, is_pytorchs_bit_for_bit)
{
    golden_each("quant_act.txt", visit);
}

Test(act_quant, misuse_is_refused)
{
    const dt_act_quant_params a1 = { 1, 0, 0, DT_RULE_ECE284 }, a9 = { 9, 0, 0, DT_RULE_LSQ };
    op_case c = { QUANT, .why = "1 bit", .params = &a1, .in = { REAL(2, 7), ALPHA(2.0f) } };
    op_case_refused(&c, DT_ERR_ARGUMENT, "activations of 1 bits, allowed are 2..8");
    c.params = &a9;
    op_case_refused(&c, DT_ERR_ARGUMENT, "activations of 9 bits, allowed are 2..8");
    const op_case alphas = { QUANT, .why = "alphas", .params = &a4,
                             .in = { REAL(2, 7), { OP_SHAPE(7), .fill = FILL_POSITIVE } } };
    op_case_refused(&alphas, DT_ERR_SHAPE, "takes one alpha, got 7");
}
