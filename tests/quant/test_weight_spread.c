/*
 * test_weight_spread.c - the weight quantizer on filters whose weights are all alike, such as pruned ones, and on
 * weights that are no numbers.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "../support/op_case.h"

static const char *const backends[] = { "cpu", "cuda" };

static const dt_weight_quant_params ece284 = { 4, DT_RULE_ECE284 }, apot = { 4, DT_RULE_APOT },
                                    scream = { 3, DT_RULE_SCREAM }, pact = { 2, DT_RULE_PACT };

/* Weights of about +-0.1, and a clip for each filter or one for the layer. */
#define CASE(about, rule, clips, ...)                                                                                \
    {                                                                                                                \
        .why = about, .op = DT_OP_WEIGHT_QUANT, .n_in = 2, .params = &rule, .out_scale_first = 1,                    \
        .in = { { OP_SHAPE(__VA_ARGS__), .size = 0.1f }, { OP_SHAPE(clips), .fill = FILL_POSITIVE, .size = 1.0f } }, \
        .no_slopes = "rounding"                                                                                      \
    }

/* All weights of a set alike, but for one that lies `odd` away. */
typedef struct {
    float value, odd;
    const char *why;
} flat_set;

static const flat_set flat_sets[] = {
    { 0.0f, 0.0f, "zeros" },
    { -0.1f, 0.0f, "one constant, whose squares round in double" },
    { 1e-30f, 0.0f, "one small constant" },
    { 1e-44f, 0.0f, "one subnormal constant" },
    { 1e30f, 0.0f, "one large constant" },
    { 1.0f, 0x1p-23f, "a unit in the last place apart" },
    { 0.0f, 1e-44f, "a subnormal number apart" },
};

/* 4096 weights make a piece */
static const op_case flat_cases[] = {
    CASE("ece284, of 4 filters", ece284, 4, 4, 3, 3, 3),
    CASE("apot, of 4 filters", apot, 4, 4, 3, 3, 3),
    CASE("scream, many pieces", scream, 3, 3, 5, 5, 333),
    CASE("pact, of 4 filters", pact, 4, 4, 3, 3, 3),
    CASE("apot, the layer", apot, 1, 4, 3, 3, 3),
    CASE("ece284, the layer, many pieces", ece284, 1, 3, 5, 5, 333),
};

/* The last of the case's sets becomes flat. */
static void flat_run(op_rig *rig, const flat_set *flat, float **code, float **dw, float **dalpha)
{
    const int64_t n = dt_count(&rig->in[0].shape), sets = dt_count(&rig->in[1].shape), count = n / sets;
    float *w = op_rig_read(rig, rig->in[0].data, n), *dy = op_test_dy(n);

    for (int64_t i = n - count; flat && i < n; i++) w[i] = flat->value + (i == n - 1 ? flat->odd : 0.0f);
    op_rig_write(rig, rig->in[0].data, w, (size_t)n * sizeof *w);
    op_rig_forward(rig);
    op_rig_backward(rig, dy); /* gradients start at 0.5 */
    *code = op_rig_read(rig, rig->out.data, n);
    *dw = op_rig_read(rig, rig->in[0].grad, n);
    *dalpha = op_rig_read(rig, rig->in[1].grad, sets);
    free(w);
    free(dy);
}

static void flat_check(const op_case *c, const flat_set *flat, const char *backend)
{
    op_rig rig;
    float *code[2], *dw[2], *dalpha[2]; /* without and with the flat set */

    for (int k = 0; k < 2; k++) {
        if (!op_rig_open(&rig, backend, 0, c)) return;
        flat_run(&rig, k ? flat : NULL, &code[k], &dw[k], &dalpha[k]);
        if (k == 0) op_rig_close(&rig);
    }
    const int64_t n = dt_count(&rig.in[0].shape), sets = dt_count(&rig.in[1].shape), first = n - n / sets;
    for (int64_t i = 0; i < n; i++) {
        const float want_code = i < first ? code[0][i] : 0.0f, want_dw = i < first ? dw[0][i] : 0.5f;
        cr_assert(code[1][i] == want_code && dw[1][i] == want_dw, "%s: %s: %s: [%lld]: code %g, dw 0.5 + %g", c->why,
                  flat->why, backend, (long long)i, (double)code[1][i], (double)dw[1][i] - 0.5);
    }
    for (int64_t k = 0; k < sets; k++) {
        const float want = k < sets - 1 ? dalpha[0][k] : 0.5f;
        cr_assert(dalpha[1][k] == want, "%s: %s: %s: dalpha[%lld] is %g", c->why, flat->why, backend, (long long)k,
                  (double)dalpha[1][k]);
    }
    for (int k = 0; k < 2; k++) {
        free(code[k]);
        free(dw[k]);
        free(dalpha[k]);
    }
    op_rig_close(&rig);
}

Test(weight_spread, a_filter_without_spread_has_codes_and_gradients_of_0)
{
    for (size_t i = 0; i < sizeof flat_cases / sizeof flat_cases[0]; i++) {
        for (size_t k = 0; k < sizeof flat_sets / sizeof flat_sets[0]; k++) {
            for (int b = 0; b < 2; b++) flat_check(&flat_cases[i], &flat_sets[k], backends[b]);
        }
    }
}

/* What is not a number must not become a code. */
Test(weight_spread, a_weight_that_is_no_number_stays_so)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 6; i++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[i % 2], 1, &flat_cases[0])) continue;
        op_rig_write(&rig, rig.in[0].data, &bad[i / 2], sizeof bad[0]);
        op_rig_forward(&rig);
        float *code = op_rig_read(&rig, rig.out.data, 27), *scale = op_rig_read(&rig, rig.out.scale, 1);
        for (int j = 0; j < 27; j++) {
            cr_assert(isnan(code[j] * scale[0]), "%s: code[%d] is %g", backends[i % 2], j, (double)code[j]);
        }
        cr_assert(i % 2 || isnan(scale[0]), "a byte would hide it");
        free(scale);
        free(code);
        op_rig_close(&rig);
    }
}
