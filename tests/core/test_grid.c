/*
 * test_grid.c - the arithmetic of the integer grid against PyTorch, bit for bit, and its symmetries.
 */
#include "../support/golden.h"

#include <math.h>

#include "../../core/arith/grid.h"

static const dt_quant_rule clip_rules[] = { DT_RULE_ECE284, DT_RULE_APOT, DT_RULE_SCREAM, DT_RULE_PACT };
enum { N_CLIP_RULES = 4 };

/* The notebook multiplies by alpha last, the library rounds alpha / n first: one unit in the last place apart. */
static void check_real(const golden_input *in, const golden_case *c, int i, float code)
{
    const float real = code * c->scale;
    const int near = real == c->real[i] || nextafterf(real, c->real[i]) == c->real[i];
    cr_assert(near, "%s[%d], %d bits: real is %.9g, golden %.9g", in->name, i, c->bits, (double)real,
              (double)c->real[i]);
}

static void check_value(const golden_input *in, const golden_case *c, int i, float code, float d_value)
{
    cr_assert(code == (float)c->code[i], "%s[%d], %d bits, rule %d, alpha %g: code is %g, golden %d", in->name, i,
              c->bits, (int)c->rule, (double)c->alpha, (double)code, c->code[i]);
    cr_assert(d_value == c->d_value[i], "%s[%d], %d bits, rule %d, alpha %g: d_value is %.9g, golden %.9g", in->name, i,
              c->bits, (int)c->rule, (double)c->alpha, (double)d_value, (double)c->d_value[i]);
    check_real(in, c, i, code);
}

static void visit_weight(const golden_input *in, const golden_case *c)
{
    const dt_grid grid = { dt_weight_low(c->bits, c->rule), dt_weight_high(c->bits), c->factor };
    double d_alpha = 0.0;
    for (int i = 0; i < in->n; i++) {
        const float x = dt_weight_unit(in->value[i], in->mean, in->std, c->alpha, c->rule);
        const dt_grid_slope slope = dt_weight_slope(x, &grid, c->rule);
        check_value(in, c, i, dt_weight_code(x, &grid, c->rule), slope.value * in->g[i] / in->std);
        d_alpha += (double)(slope.alpha * in->g[i]);
    }
    golden_check_d_alpha(in, c, d_alpha);
    cr_assert(dt_grid_scale(c->alpha, grid.high, c->rule) == c->scale, "%s, %d bits: scale", in->name, c->bits);
}

static void visit_act(const golden_input *in, const golden_case *c)
{
    const dt_grid grid = { 0, dt_act_high(c->bits, 0), c->factor };
    const int unclamped = c->rule != DT_RULE_PACT && c->rule != DT_RULE_LSQ;
    double d_alpha = 0.0;
    for (int i = 0; i < in->n; i++) {
        const dt_grid_slope slope = dt_act_slope(in->value[i], c->alpha, &grid, unclamped, c->rule);
        const float code = dt_act_code(in->value[i], c->alpha, &grid, unclamped, c->rule);
        check_value(in, c, i, code, slope.value * in->g[i]);
        d_alpha += (double)(slope.alpha * in->g[i]);
    }
    golden_check_d_alpha(in, c, d_alpha);
    cr_assert(dt_grid_scale(c->alpha, grid.high, c->rule) == c->scale, "%s, %d bits: scale", in->name, c->bits);
}

Test(grid, weights_are_pytorchs_bit_for_bit)
{
    const int n = golden_each("quant_weight.txt", visit_weight);
    cr_assert(n == 46, "%d cases; the file has 3 rules x 4 widths x 3 clips, 2 and 8", n);
}

Test(grid, activations_are_pytorchs_bit_for_bit)
{
    const int n = golden_each("quant_act.txt", visit_act);
    cr_assert(n == 42, "%d cases; the file has 3 clips x 4 rules x 3 widths, and 6", n);
}

static dt_grid weight_grid(int bits, dt_quant_rule rule)
{
    return (dt_grid){ dt_weight_low(bits, rule), dt_weight_high(bits), 1.0f };
}

static dt_grid act_grid(int bits, int is_signed)
{
    const int high = dt_act_high(bits, is_signed);
    return (dt_grid){ is_signed ? -high : 0, high, 1.0f };
}

Test(grid, ranges_of_2_to_8_bits)
{
    static const int symmetric[] = { 1, 3, 7, 15, 31, 63, 127 }, unsigned_high[] = { 3, 7, 15, 31, 63, 127, 255 };
    for (int bits = 2; bits <= 8; bits++) {
        const int high = symmetric[bits - 2];
        cr_assert(dt_weight_high(bits) == high && dt_weight_low(bits, DT_RULE_ECE284) == -high, "%d bits", bits);
        cr_assert(dt_weight_low(bits, DT_RULE_LSQ) == -high - 1, "%d bits: LSQ uses the lowest code too", bits);
        cr_assert(dt_act_high(bits, 0) == unsigned_high[bits - 2] && dt_act_high(bits, 1) == high, "%d bits", bits);
    }
}

/* Codes never leave the range, reach both of its ends, and never fall as the value rises. */
static void sweep(float (*code_of)(float x, int bits, dt_quant_rule rule), int low, int high, int bits,
                  dt_quant_rule rule)
{
    float before = -INFINITY, least = INFINITY, most = -INFINITY;
    for (int i = -4000; i <= 4000; i++) {
        const float code = code_of((float)i / 10.0f, bits, rule);
        cr_assert(code == rintf(code) && code >= before, "%d bits, rule %d: code %g after %g", bits, (int)rule,
                  (double)code, (double)before);
        before = code;
        least = fminf(least, code);
        most = fmaxf(most, code);
    }
    cr_assert(least == (float)low && most == (float)high, "%d bits, rule %d: codes %g..%g, expected %d..%d", bits,
              (int)rule, (double)least, (double)most, low, high);
}

static float weight_code(float x, int bits, dt_quant_rule rule)
{
    const dt_grid grid = weight_grid(bits, rule);
    return dt_weight_code(x, &grid, rule);
}

static float act_code(float x, int bits, dt_quant_rule rule)
{
    const dt_grid grid = act_grid(bits, 0);
    return dt_act_code(x, rule == DT_RULE_LSQ ? 1.0f : 100.0f, &grid, 0, rule);
}

static float signed_act_code(float x, int bits, dt_quant_rule rule)
{
    const dt_grid grid = act_grid(bits, 1);
    return dt_act_code(x, rule == DT_RULE_LSQ ? 1.0f : 100.0f, &grid, 0, rule);
}

Test(grid, codes_fill_their_range)
{
    for (int bits = 2; bits <= 8; bits++) {
        for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
            const int n = dt_weight_high(bits);
            sweep(weight_code, dt_weight_low(bits, (dt_quant_rule)rule), n, bits, (dt_quant_rule)rule);
            sweep(act_code, 0, dt_act_high(bits, 0), bits, (dt_quant_rule)rule);
            sweep(signed_act_code, -n, n, bits, (dt_quant_rule)rule);
        }
    }
}

Test(grid, weights_and_signed_activations_are_odd)
{
    for (int bits = 2; bits <= 8; bits++) {
        for (int r = 0; r < N_CLIP_RULES; r++) {
            const dt_grid w = weight_grid(bits, clip_rules[r]), a = act_grid(bits, 1);
            for (int i = 0; i <= 3000; i++) {
                const float x = (float)i / 1024.0f;
                cr_assert(dt_weight_code(-x, &w, clip_rules[r]) == -dt_weight_code(x, &w, clip_rules[r]), "x %g",
                          (double)x);
                cr_assert(dt_act_code(-x, 1.5f, &a, 0, clip_rules[r]) == -dt_act_code(x, 1.5f, &a, 0, clip_rules[r]),
                          "v %g", (double)x);
            }
        }
    }
}

/* step 1, and a clip that makes the step 1: halves are exact */
Test(grid, ties_go_to_even)
{
    static const float value[] = { 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f }, want[] = { 0, 2, 2, 4, 4, 6, 6 };
    const dt_grid w = weight_grid(4, DT_RULE_LSQ), a = act_grid(4, 0), s = act_grid(5, 1);
    for (int i = 0; i < 7; i++) {
        cr_assert(dt_weight_code(value[i], &w, DT_RULE_LSQ) == want[i], "weight %g", (double)value[i]);
        cr_assert(dt_weight_code(-value[i], &w, DT_RULE_LSQ) == -want[i], "weight -%g", (double)value[i]);
        cr_assert(dt_act_code(value[i], 1.0f, &a, 0, DT_RULE_LSQ) == want[i], "activation %g", (double)value[i]);
    }
    /* 0.5 of 15 levels is 7.5: with a clip of 1 the one tie that f32 holds exactly */
    cr_assert(dt_act_code(0.5f, 1.0f, &a, 0, DT_RULE_ECE284) == 8.0f);
    cr_assert(dt_act_code(-0.5f, 1.0f, &a, 1, DT_RULE_ECE284) == -8.0f);
    cr_assert(dt_act_code(-0.5f, 1.0f, &s, 0, DT_RULE_ECE284) == -8.0f);
}

Test(grid, unclamped_values_keep_their_sign_and_size)
{
    const dt_grid grid = act_grid(4, 0);
    for (int r = 0; r < N_CLIP_RULES; r++) {
        cr_assert(dt_act_code(-2.0f, 0.5f, &grid, 1, clip_rules[r]) == -60.0f);
        cr_assert(dt_act_code(-2.0f, 0.5f, &grid, 0, clip_rules[r]) == 0.0f);
        cr_assert(dt_act_code(2.0f, 0.5f, &grid, 1, clip_rules[r]) == 15.0f);
        cr_assert(dt_act_slope(-2.0f, 0.5f, &grid, 1, clip_rules[r]).value == 1.0f);
        cr_assert(dt_act_slope(-2.0f, 0.5f, &grid, 0, clip_rules[r]).value == 0.0f);
    }
}

/* below -alpha a signed clip moves the other way: d real / d alpha is -1 there */
Test(grid, signed_activations_learn_from_both_ends)
{
    const dt_grid grid = act_grid(8, 1);
    for (int r = 0; r < 3; r++) {
        const dt_grid_slope above = dt_act_slope(3.0f, 2.0f, &grid, 0, clip_rules[r]);
        const dt_grid_slope below = dt_act_slope(-3.0f, 2.0f, &grid, 0, clip_rules[r]);
        const dt_grid_slope edge = dt_act_slope(-2.0f, 2.0f, &grid, 0, clip_rules[r]);
        cr_assert(above.alpha == 1.0f && above.value == 0.0f, "rule %d", (int)clip_rules[r]);
        cr_assert(below.alpha == -1.0f && below.value == 0.0f, "rule %d", (int)clip_rules[r]);
        cr_assert(edge.alpha == 0.0f && edge.value == 1.0f, "rule %d: the edge is inside", (int)clip_rules[r]);
    }
}

Test(grid, pact_treats_weights_as_ece284_does)
{
    const dt_grid grid = weight_grid(4, DT_RULE_PACT);
    for (int i = -30; i <= 30; i++) {
        const float x = (float)i / 10.0f;
        const dt_grid_slope pact = dt_weight_slope(x, &grid, DT_RULE_PACT);
        const dt_grid_slope ece284 = dt_weight_slope(x, &grid, DT_RULE_ECE284);
        cr_assert(pact.value == ece284.value && pact.alpha == ece284.alpha, "x %g", (double)x);
        cr_assert(dt_weight_code(x, &grid, DT_RULE_PACT) == dt_weight_code(x, &grid, DT_RULE_ECE284), "x %g",
                  (double)x);
    }
}

/* A NaN that became a code would hide that training has failed. */
Test(grid, nan_stays_nan)
{
    const dt_grid w = weight_grid(4, DT_RULE_ECE284), a = act_grid(4, 0);
    cr_assert(isnan(dt_clamp(NAN, -1.0f, 1.0f)));
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        cr_assert(isnan(dt_weight_code(NAN, &w, (dt_quant_rule)rule)), "weights, rule %d", rule);
        for (int unclamped = 0; unclamped <= 1; unclamped++) {
            cr_assert(isnan(dt_act_code(NAN, 1.0f, &a, unclamped, (dt_quant_rule)rule)), "activations, rule %d", rule);
        }
    }
}
