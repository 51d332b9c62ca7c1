/*
 * test_weight_quant.c - the weight quantizer as an operator: codes, statistics and gradients against double, and
 * against PyTorch bit for bit.
 *
 * Rounding has no useful slope, so gradients are compared with each rule's formula, not with differences.
 */
#include "../../core/half.h"
#include "../../core/train/optim.h"
#include "../support/golden.h"
#include "../support/op_case.h"

#include <math.h>
#include <stdlib.h>

static const char *const backends[] = { "cpu", "cuda" };

/* One set of weights that share an alpha. */
typedef struct {
    double mean, deviation;
} double_stats;

static double_stats stats_of(const double *w, int64_t n, dt_quant_rule rule)
{
    double_stats s = { 0.0, 0.0 };
    if (rule == DT_RULE_LSQ) return (double_stats){ 0.0, 1.0 };
    for (int64_t i = 0; i < n; i++) s.mean += w[i] / (double)n;
    for (int64_t i = 0; i < n; i++) s.deviation += (w[i] - s.mean) * (w[i] - s.mean) / (double)(n - 1);
    s.deviation = sqrt(s.deviation);
    return s;
}

static int high_of(const dt_weight_quant_params *p)
{
    return (1 << (p->bits - 1)) - 1;
}

/* magnitude first, sign last, as the notebook has it; LSQ has one more code below */
static double code_of(const dt_weight_quant_params *p, double x)
{
    const double n = high_of(p);
    if (p->rule == DT_RULE_LSQ) return nearbyint(fmin(fmax(x, -n - 1.0), n));
    return copysign(nearbyint(fmin(fabs(x), 1.0) * n), x);
}

static void weight_quant_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_weight_quant_params *p = c->params;
    const int64_t sets = dt_count(&c->in[1].shape), n = dt_count(&c->in[0].shape) / sets;

    for (int64_t k = 0; k < sets; k++) {
        const double_stats s = stats_of(in[0] + k * n, n, p->rule);
        const double alpha = in[1][k], step = p->rule == DT_RULE_LSQ ? alpha : alpha / high_of(p);
        for (int64_t i = k * n; i < (k + 1) * n; i++) {
            out[i] = step * code_of(p, (in[0][i] - s.mean) / s.deviation / alpha);
        }
    }
}

/* d real / d w times the deviation, and d real / d alpha */
typedef struct {
    double value, alpha;
} double_slope;

static double_slope slope_of(const dt_weight_quant_params *p, double x, int64_t n)
{
    const double high = high_of(p), sign = x > 0.0 ? 1.0 : -1.0;
    const double error = code_of(p, x) / (p->rule == DT_RULE_LSQ ? 1.0 : high) - x;
    const int outside = fabs(x) > 1.0;

    switch (p->rule) {
    case DT_RULE_ECE284:
    case DT_RULE_PACT: return outside ? (double_slope){ 0.0, sign } : (double_slope){ 1.0, 0.0 };
    case DT_RULE_APOT: return outside ? (double_slope){ 1.0, sign } : (double_slope){ 1.0, error };
    case DT_RULE_SCREAM: return outside ? (double_slope){ 0.0, sign } : (double_slope){ 1.0, error };
    case DT_RULE_LSQ:
    case DT_RULE_AFFINE:
    case DT_RULE_QKERAS: break; /* of no single quantizer */
    }
    const double factor = 1.0 / sqrt((double)n * high);
    if (x >= high) return (double_slope){ 0.0, high * factor };
    if (x <= -high - 1.0) return (double_slope){ 0.0, (-high - 1.0) * factor };
    return (double_slope){ 1.0, error * factor };
}

/* bits, rule */
static const dt_weight_quant_params w2 = { 2, DT_RULE_ECE284 }, w3 = { 3, DT_RULE_ECE284 }, w4 = { 4, DT_RULE_ECE284 },
                                    w8 = { 8, DT_RULE_ECE284 }, apot = { 4, DT_RULE_APOT },
                                    scream = { 3, DT_RULE_SCREAM }, pact = { 2, DT_RULE_PACT },
                                    lsq2 = { 2, DT_RULE_LSQ }, lsq4 = { 4, DT_RULE_LSQ }, lsq8 = { 8, DT_RULE_LSQ };

#define QUANT                                                                                                          \
    .op = DT_OP_WEIGHT_QUANT, .n_in = 2, .oracle = weight_quant_oracle, .agree = AGREE_INTEGERS, .out_scale_first = 1, \
    .no_slopes = "rounding"
/* One alpha, or one a filter, of about `clip`; weights of about +-0.1. A filter's clip of 1 to 3 deviations leaves
 * some weights outside: uniform values reach 1.7 deviations. */
#define CLIP(n, clip)                                    \
    {                                                    \
        OP_SHAPE(n), .fill = FILL_POSITIVE, .size = clip \
    }
#define FILTERS(...)                        \
    {                                       \
        OP_SHAPE(__VA_ARGS__), .size = 0.1f \
    }

/* 4096 weights make a piece: 33x3x3x33 is 2.4 of them, 3x5x5x333 2.03 a filter */
static const op_case cases[] = {
    { QUANT, .why = "two weights are the fewest", .params = &w4, .in = { FILTERS(1, 2), CLIP(1, 1.0f) } },
    { QUANT, .why = "2 bits: -1, 0, 1", .params = &w2, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1.0f) } },
    { QUANT, .why = "3 bits", .params = &w3, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1.0f) } },
    { QUANT, .why = "4 bits, a clip that nothing reaches", .params = &w4,
      .in = { FILTERS(7, 1, 1, 33), CLIP(1, 3.0f) } },
    { QUANT, .why = "8 bits", .params = &w8, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1.0f) } },
    { QUANT, .why = "a clip for each filter", .params = &w4, .in = { FILTERS(33, 3, 3, 1), CLIP(33, 1.0f) } },
    { QUANT, .why = "one filter, its own clip", .params = &w3, .in = { FILTERS(1, 3, 3, 7), CLIP(1, 1.0f) } },
    { QUANT, .why = "many pieces", .params = &w4, .in = { FILTERS(33, 3, 3, 33), CLIP(1, 1.0f) } },
    { QUANT, .why = "many pieces in each filter", .params = &w2, .in = { FILTERS(3, 5, 5, 333), CLIP(3, 1.0f) } },
    { QUANT, .why = "a piece and one weight", .params = &w4, .in = { FILTERS(1, 4097), CLIP(1, 1.0f) } },
    { QUANT, .why = "a piece exactly", .params = &w4, .in = { FILTERS(2, 2048), CLIP(1, 1.0f) } },
    { QUANT, .why = "apot", .params = &apot, .in = { FILTERS(7, 3, 3, 3), CLIP(7, 1.0f) } },
    { QUANT, .why = "scream", .params = &scream, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1.0f) } },
    { QUANT, .why = "scream, many pieces", .params = &scream, .in = { FILTERS(3, 5, 5, 333), CLIP(3, 1.0f) } },
    { QUANT, .why = "pact", .params = &pact, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1.0f) } },
    { QUANT, .why = "lsq, 2 bits", .params = &lsq2, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 0.05f) } },
    { QUANT, .why = "lsq, a step for each filter", .params = &lsq4, .in = { FILTERS(7, 3, 3, 3), CLIP(7, 0.02f) } },
    { QUANT, .why = "lsq, many pieces", .params = &lsq4, .in = { FILTERS(33, 3, 3, 33), CLIP(1, 0.02f) } },
    { QUANT, .why = "lsq, 8 bits", .params = &lsq8, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 0.001f) } },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(weight_quant, codes_match_the_oracle)
{
    op_cases_run(cases, N_CASES);
}

/* Gradients start at 0.5. A factor and a division in f32 err by 2^-23 of the result, 0.5 + it rounds once more; the sum
 * for alpha is of f32 products. */
static void check_set(const op_case *c, const char *backend, const op_rig *rig, const float *dy, int64_t k)
{
    const dt_weight_quant_params *p = c->params;
    const int64_t n = dt_count(&c->in[0].shape) / dt_count(&c->in[1].shape);
    double *w = op_rig_read_double(rig, (const float *)rig->in[0].data + k * n, n);
    double *dw = op_rig_read_double(rig, dt_grads(&rig->in[0]) + k * n, n),
           *dalpha = op_rig_read_double(rig, dt_grads(&rig->in[1]) + k, 1);
    double *alpha = op_rig_read_double(rig, (const float *)rig->in[1].data + k, 1);
    const double_stats s = stats_of(w, n, p->rule);
    double want_alpha = 0.5, size = 0.5;

    for (int64_t i = 0; i < n; i++) {
        const double g = (double)dy[k * n + i];
        const double_slope slope = slope_of(p, (w[i] - s.mean) / s.deviation / alpha[0], n);
        const double want = 0.5 + slope.value * g / s.deviation;
        cr_assert(fabs(dw[i] - want) <= 4e-7 * fmax(0.5, fabs(want)), "%s: %s: 0.5 + dw[%lld] is %.9g, expected %.9g",
                  c->why, backend, (long long)(k * n + i), dw[i], want);
        want_alpha += slope.alpha * g;
        size += fabs(g);
    }
    cr_assert(fabs(dalpha[0] - want_alpha) <= 4e-7 * size, "%s: %s: 0.5 + dalpha[%lld] is %.9g, expected %.9g", c->why,
              backend, (long long)k, dalpha[0], want_alpha);
    free(w);
    free(dw);
    free(dalpha);
    free(alpha);
}

Test(weight_quant, gradients_follow_each_rule_and_add)
{
    for (int i = 0; i < N_CASES; i++) {
        for (int b = 0; b < 2; b++) {
            op_rig rig;
            if (!op_rig_open(&rig, backends[b], 0, &cases[i])) continue;
            float *dy = op_test_dy(dt_count(&rig.out.shape));
            op_rig_forward(&rig);
            op_rig_backward(&rig, dy);
            for (int64_t k = 0; k < dt_count(&rig.in[1].shape); k++) check_set(&cases[i], backends[b], &rig, dy, k);
            free(dy);
            op_rig_close(&rig);
        }
    }
}

/* What one backend makes of a case, gradients from 0.5. */
static float *dw_of(const op_case *c, const char *backend)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 0, c)) return NULL;
    float *dy = op_test_dy(dt_count(&rig.out.shape));
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    float *dw = op_rig_read(&rig, rig.in[0].grad, dt_count(&rig.in[0].shape));
    free(dy);
    op_rig_close(&rig);
    return dw;
}

Test(weight_quant, cpu_and_cuda_give_weights_equal_gradients)
{
    for (int i = 0; i < N_CASES; i++) {
        float *cpu = dw_of(&cases[i], "cpu"), *cuda = dw_of(&cases[i], "cuda");
        if (!cuda) {
            free(cpu);
            cr_skip("no CUDA here: %s", dt_last_error());
        }
        for (int64_t j = 0; j < dt_count(&cases[i].in[0].shape); j++) {
            cr_assert(cpu[j] == cuda[j], "%s: dw[%lld] is %.9g on cpu, %.9g on cuda", cases[i].why, (long long)j,
                      (double)cpu[j], (double)cuda[j]);
        }
        free(cpu);
        free(cuda);
    }
}

/* aux is a mean and an unbiased deviation, rounded once; the offset is far larger than the spread. */
Test(weight_quant, statistics_are_taken_in_double)
{
    enum { N = 9801 };
    static float w[N];
    static double exact[N];
    const op_case c = { QUANT, .why = "offset", .params = &w4, .in = { FILTERS(33, 3, 3, 33), CLIP(1, 1.0f) } };
    for (int i = 0; i < N; i++) {
        w[i] = 1000.0f + 0.01f * (float)(i * 37 % 101);
        exact[i] = (double)w[i];
    }
    const double_stats want = stats_of(exact, N, DT_RULE_ECE284);
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 0, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, w, sizeof w);
        op_rig_forward(&rig);
        float *stats = op_rig_read(&rig, rig.node.aux, 2);
        /* half a unit in the last place */
        cr_assert(fabs((double)stats[0] - want.mean) <= 6e-8 * want.mean, "%s: mean %.9g, expected %.9g", backends[b],
                  (double)stats[0], want.mean);
        cr_assert(fabs((double)stats[1] - want.deviation) <= 6e-8 * want.deviation, "%s: deviation %.9g, expected %.9g",
                  backends[b], (double)stats[1], want.deviation);
        free(stats);
        op_rig_close(&rig);
    }
}

/* ---- many layers in one call ---- */

enum { GROUP = 40, PARTS = 4 }; /* layers: more than one launch takes */

/* What a layer leaves: codes, scales, dw and dalpha, all f32. */
typedef struct {
    float *part[PARTS];
    int64_t n[PARTS];
} layer_result;

static layer_result layer_read(const op_rig *rig, const op_rig *reader)
{
    const void *const at[PARTS] = { rig->out.data, rig->out.scale, rig->in[0].grad, rig->in[1].grad };
    const int64_t weights = dt_count(&rig->out.shape), alphas = rig->out.n_scale;
    layer_result r = { .n = { weights, alphas, weights, alphas } };

    for (int k = 0; k < PARTS; k++) r.part[k] = op_rig_read(reader, at[k], r.n[k]);
    return r;
}

static void layer_compare(layer_result *one, layer_result *all, const char *why, const char *backend)
{
    static const char *const name[PARTS] = { "code", "scale", "dw", "dalpha" };

    for (int k = 0; k < PARTS; k++) {
        for (int64_t i = 0; i < one->n[k]; i++) {
            cr_assert(one->part[k][i] == all->part[k][i], "%s: %s: %s[%lld] is %.9g alone, %.9g among others", why,
                      backend, name[k], (long long)i, (double)one->part[k][i], (double)all->part[k][i]);
        }
        free(one->part[k]);
        free(all->part[k]);
    }
}

/* Gradients to add to, or, where they are fresh, ones that must be overwritten. Waits: another stream may be next. */
static void layer_start(op_rig *rig, unsigned fresh)
{
    rig->node.fresh = fresh;
    for (int k = 0; k < 2; k++) {
        const int64_t n = dt_count(&rig->in[k].shape);
        float *start = malloc((size_t)n * sizeof *start);
        for (int64_t j = 0; j < n; j++) start[j] = fresh & 1u << k ? NAN : 0.5f;
        op_rig_write(rig, rig->in[k].grad, start, (size_t)n * sizeof *start);
        free(start);
        free(op_rig_read(rig, rig->in[k].grad, n));
    }
}

/* All in one call, in the first one's context, whose scratch grows to what they want together. */
static void group_run(op_rig *rig)
{
    const dt_node *node[GROUP];
    size_t scratch_bytes = 0;

    for (int i = 0; i < GROUP; i++) {
        node[i] = &rig[i].node;
        scratch_bytes += dt_round_up(rig[i].ctx->scratch_bytes, DT_ALIGN);
    }
    cr_assert(dt_context_reserve(rig[0].ctx, 0, scratch_bytes) == DT_OK);
    rig[0].ex = dt_context_exec(rig[0].ctx);
    cr_assert(rig[0].kernel->forward_all(node, GROUP, &rig[0].ex) == DT_OK);
    cr_assert(rig[0].kernel->backward_all(node, GROUP, &rig[0].ex) == DT_OK);
}

static void group_check(const char *backend)
{
    static op_rig rig[GROUP];
    layer_result one[GROUP];

    for (int i = 0; i < GROUP; i++) {
        if (!op_rig_open(&rig[i], backend, 2, &cases[i % N_CASES])) return;
        float *dy = op_test_dy(dt_count(&rig[i].out.shape));
        layer_start(&rig[i], (unsigned)i % 4);
        op_rig_forward(&rig[i]);
        op_rig_backward(&rig[i], dy);
        one[i] = layer_read(&rig[i], &rig[i]);
        layer_start(&rig[i], (unsigned)i % 4);
        free(dy);
    }
    group_run(rig);
    for (int i = 0; i < GROUP; i++) {
        layer_result all = layer_read(&rig[i], &rig[0]);
        layer_compare(&one[i], &all, cases[i % N_CASES].why, backend);
    }
    for (int i = 0; i < GROUP; i++) op_rig_close(&rig[i]);
}

Test(weight_quant, many_layers_are_as_one_at_a_time)
{
    for (int b = 0; b < 2; b++) group_check(backends[b]);
}

/* ---- how codes are stored ---- */

static float narrow_code(dt_dtype type, const void *code, int64_t i)
{
    return type == DT_I8 ? (float)((const int8_t *)code)[i] : dt_from_fp16(((const uint16_t *)code)[i]);
}

/* Weights whose 24 bits are all in use: other fills have few values, which keep away from borders. */
static void fill_finely(const op_rig *rig, int64_t n)
{
    float *w = malloc((size_t)n * sizeof *w);
    uint32_t state = 7;

    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        w[i] = ((float)(state >> 8) - 0x1p23f) * 0x1p-26f;
    }
    op_rig_write(rig, rig->in[0].data, w, (size_t)n * sizeof *w);
    free(w);
}

static void check_narrow(const op_case *c, const char *backend, dt_dtype type, int finely)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 1, c)) return;
    const int64_t n = dt_count(&rig.out.shape);
    if (finely) fill_finely(&rig, n);
    op_rig_forward(&rig);
    float *wide = op_rig_read(&rig, rig.out.data, n);
    rig.out.type = type;
    op_rig_forward(&rig);
    float *narrow = op_rig_read(&rig, rig.out.data, n);
    for (int64_t i = 0; i < n; i++) {
        cr_assert(narrow_code(type, narrow, i) == wide[i], "%s: %s: code [%lld] is %g in few bits, %g in f32", c->why,
                  backend, (long long)i, (double)narrow_code(type, narrow, i), (double)wide[i]);
    }
    free(wide);
    free(narrow);
    op_rig_close(&rig);
}

/* Bytes are found by one product, f32 codes by two divisions. Of five million weights of 8 bits some 20 fall where
 * the two differ. */
static const op_case borders[] = {
    { QUANT, .why = "8 bits, borders", .params = &w8, .in = { FILTERS(512, 3, 3, 1024), CLIP(1, 1.0f) } },
    { QUANT, .why = "4 bits, borders", .params = &w4, .in = { FILTERS(128, 3, 3, 512), CLIP(128, 1.0f) } },
    { QUANT, .why = "a clip beyond the product", .params = &w4, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1e-30f) } },
    { QUANT, .why = "a clip that makes all codes 0", .params = &w4, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1e30f) } },
};

Test(weight_quant, narrow_codes_are_the_same)
{
    for (int i = 0; i < (int)(sizeof borders / sizeof borders[0]); i++) check_narrow(&borders[i], "cpu", DT_I8, 1);
    for (int i = 0; i < N_CASES; i++) {
        check_narrow(&cases[i], "cpu", DT_I8, 0);
        check_narrow(&cases[i], "cuda", DT_F16, 0);
    }
}

Test(weight_quant, other_types_of_codes_are_refused)
{
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &cases[0])) continue;
        rig.out.type = DT_BF16;
        cr_assert(rig.kernel->forward(&rig.node, &rig.ex) == DT_ERR_UNSUPPORTED &&
                  strstr(dt_last_error(), "layer: codes of type"));
        op_rig_close(&rig);
    }
}

/* ---- sums that another left ---- */

/* Sums that are there are taken as they are: doubled weights go unnoticed; and taken anew where they are not. */
Test(weight_quant, sums_of_the_optimiser_are_used)
{
    const op_case c = { QUANT, .why = "sums", .params = &w4, .in = { FILTERS(3, 5, 5, 333), CLIP(3, 1.0f) } };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        void *sums;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        const int64_t n = dt_count(&rig.in[0].shape);
        const size_t bytes = dt_weight_sums_bytes(&rig.node);
        op_rig_forward(&rig);
        float *stats = op_rig_read(&rig, rig.node.aux, 6), *w = op_rig_read(&rig, rig.in[0].data, n);
        cr_assert(dt_device_alloc(rig.ctx, bytes, &sums) == DT_OK);
        rig.in[0].sums = sums;
        for (int has = 0; has < 2; has++) {
            rig.in[0].has_sums = has;
            op_rig_forward(&rig);
            float *again = op_rig_read(&rig, rig.node.aux, 6);
            for (int i = 0; i < 6; i++) cr_assert(again[i] == stats[i], "%s: stats[%d]", backends[b], i);
            free(again);
            for (int64_t i = 0; i < n; i++) w[i] *= 2.0f;
            op_rig_write(&rig, rig.in[0].data, w, (size_t)n * sizeof *w);
        }
        rig.in[0].has_sums = 0;
        op_rig_forward(&rig);
        float *fourfold = op_rig_read(&rig, rig.node.aux, 6);
        for (int i = 0; i < 6; i++) cr_assert(fourfold[i] == 4.0f * stats[i], "%s: stats[%d] anew", backends[b], i);
        dt_device_free(rig.ctx, sums, bytes);
        free(fourfold);
        free(stats);
        free(w);
        op_rig_close(&rig);
    }
}

/* ---- PyTorch ---- */

static void golden_on(const char *backend, const golden_input *in, const golden_case *g)
{
    const dt_weight_quant_params p = { g->bits, g->rule };
    const op_case c = { QUANT, .why = in->name, .params = &p, .in = { FILTERS(1, in->n), CLIP(1, 1.0f) } };
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
    float *dw = op_rig_read(&rig, rig.in[0].grad, in->n), *dalpha = op_rig_read(&rig, rig.in[1].grad, 1);
    for (int i = 0; i < in->n; i++) {
        cr_assert(code[i] == (float)g->code[i] && dw[i] == g->d_value[i],
                  "%s: %s[%d], %d bits, rule %d: code %g, dw %.9g; golden %d, %.9g", backend, in->name, i, g->bits,
                  (int)g->rule, (double)code[i], (double)dw[i], g->code[i], (double)g->d_value[i]);
    }
    cr_assert(scale[0] == g->scale, "%s: %s: scale is %.9g", backend, in->name, (double)scale[0]);
    golden_check_d_alpha(in, g, (double)dalpha[0]);
    free(code);
    free(scale);
    free(dw);
    free(dalpha);
    op_rig_close(&rig);
}

static void visit(const golden_input *in, const golden_case *g)
{
    if (strcmp(in->name, "rounded") == 0) return; /* its mean is torch's f32 sum, ours is exact: test_grid.c has it */
    golden_on("cpu", in, g);
    golden_on("cuda", in, g);
}

Test(weight_quant, is_pytorchs_bit_for_bit)
{
    golden_each("quant_weight.txt", visit);
}

Test(weight_quant, misuse_is_refused)
{
    const dt_weight_quant_params w1 = { 1, DT_RULE_ECE284 }, w9 = { 9, DT_RULE_LSQ };
    op_case c = { QUANT, .why = "1 bit", .params = &w1, .in = { FILTERS(7, 3, 3, 3), CLIP(1, 1.0f) } };
    op_case_refused(&c, DT_ERR_ARGUMENT, "weights of 1 bits, allowed are 2..8");
    c.params = &w9;
    op_case_refused(&c, DT_ERR_ARGUMENT, "weights of 9 bits, allowed are 2..8");
    const op_case alphas = { QUANT, .why = "alphas", .params = &w4, .in = { FILTERS(7, 3, 3, 3), CLIP(3, 1.0f) } };
    op_case_refused(&alphas, DT_ERR_SHAPE, "3 clip alphas for 7 filters");
    const op_case single = { QUANT, .why = "no spread", .params = &w4, .in = { FILTERS(7, 1), CLIP(7, 1.0f) } };
    op_case_refused(&single, DT_ERR_SHAPE, "a deviation needs at least 2 weights");
    const op_case codes = { QUANT, .why = "codes", .params = &w4,
                            .in = { { OP_SHAPE(7, 3), .fill = FILL_INTEGER, .scale = 0.1f }, CLIP(1, 1.0f) } };
    op_case_refused(&codes, DT_ERR_SHAPE, "wants real filters K,..");
}
