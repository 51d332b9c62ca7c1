/*
 * test_qkeras.c - QKeras-Mod's quantizers: against fractions of integers, which round without error, against cases that
 * are worked out by hand, and against what QKeras-Mod itself gave.
 */
#include <math.h>

#include "../support/draws.h"
#include "../support/golden_qkeras.h"
#include "../../core/arith/qkeras.h"

/* n / d rounded, d > 0: half away from 0, or half to even. */
static int64_t divided(int64_t n, int64_t d, int to_even)
{
    const int64_t size = n < 0 ? -n : n, whole = size / d, twice = 2 * (size % d);
    const int up = twice > d || (twice == d && (!to_even || whole % 2 == 1));
    return n < 0 ? -(whole + up) : whole + up;
}

static int64_t limited(int64_t v, int64_t high)
{
    return v < -high ? -high : v > high ? high : v;
}

Test(qkeras, codes_of_weights_are_those_of_fractions)
{
    draws d = { .seed = 1 };
    for (int i = 0; i < 20000; i++) {
        const int bits = 2 + draw(&d, 31), most = 1 + draw(&d, 1 << 20);
        const int w = draw(&d, 2 * most + 1) - most;
        const int64_t high = ((int64_t)1 << (bits - 1)) - 1;
        if (2 * (w < 0 ? -w : w) * high % (2 * (int64_t)most) == most && high % most != 0) continue; /* a rounded tie */
        const int64_t want = divided(w * high, most, 0);
        const double scale = dt_qkeras_scale(ldexp((double)most, -20), bits);
        const int32_t code = dt_qkeras_code(ldexp((double)w, -20), scale, bits);
        /* w high / most is rounded twice, which may be a unit of the 53rd bit away: less than a half up to here */
        cr_assert(code == want, "%d bits, %d of %d: code is %d, expected %lld", bits, w, most, code, (long long)want);
    }
}

typedef struct {
    const char *why;
    int bits;
    double most, w;
    int32_t code;
} weight_row;

static const weight_row weights[] = {
    { "a tie goes away from 0", 8, 127.0, 2.5, 3 },
    { "... below 0 too", 8, 127.0, -2.5, -3 },
    { "below a tie", 8, 127.0, 2.4999999, 2 },
    { "the largest of 2 bits", 2, 0.3, -0.3, -1 },
    { "the largest of 31 bits keeps its sign", 31, 0.3, 0.3, 1073741823 },
    { "the largest of 32 bits is a number", 32, 0.3, -0.3, -2147483647 },
    { "a channel of zeros", 8, 0.0, 0.0, 0 },
};

Test(qkeras, codes_of_weights)
{
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        const weight_row *r = &weights[i];
        const int32_t code = dt_qkeras_code(r->w, dt_qkeras_scale(r->most, r->bits), r->bits);
        cr_assert(code == r->code, "%s: code is %d, expected %d", r->why, code, r->code);
    }
}

typedef struct {
    const char *why;
    int bits;
    double alpha, beta;
    double scale, zero; /* in training */
    double export_scale, export_zero;
} range_row;

static const range_row ranges[] = {
    { "behind a ReLU training uses half of the codes", 8, 0.0, 6.35, 0.05, -127, 0.025, -127 },
    { "-63.5 is -64 either way", 8, -1.0, 3.0, 6.0 / 254.0, -64, 4.0 / 254.0, -64 },
    { "-62.5 tells half away from half to even", 8, -32.25, 94.75, 189.5 / 254.0, -63, 0.5, -62 },
    { "negative alone", 8, -3.0, 0.0, 6.0 / 254.0, 127, 3.0 / 254.0, 127 },
    { "a range without 0 has a zero point that is no code", 8, 0.5, 3.0, 6.0 / 254.0, -178, 2.5 / 254.0, -178 },
    { "magnitudes of which alpha's is larger", 4, 12.0, 4.0, 24.0 / 14.0, 14, -8.0 / 14.0, 14 },
    { "no width", 8, 0.0, 0.0, 0.0, 0, 0.0, 0 },
    { "no width beside 0", 8, 2.0, 2.0, 4.0 / 254.0, 0, 0.0, 0 },
    { "two bits", 2, -1.0, 1.0, 1.0, 0, 1.0, 0 },
    { "16 bits", 16, -1.0, 1.0, 1.0 / 32767.0, 0, 1.0 / 32767.0, 0 },
};

Test(qkeras, grids_of_ranges)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const range_row *r = &ranges[i];
        const dt_qkeras_grid train = dt_qkeras_training_grid(r->alpha, r->beta, r->bits);
        const dt_qkeras_grid export = dt_qkeras_export_grid(r->alpha, r->beta, r->bits);
        /* quotients of decimal numbers: a rounding or two */
        cr_assert(fabs(train.scale - r->scale) <= 4e-16 * fabs(r->scale) && train.zero == r->zero,
                  "%s: training has scale %.17g and zero point %g, expected %.17g and %g", r->why, train.scale,
                  train.zero, r->scale, r->zero);
        cr_assert(fabs(export.scale - r->export_scale) <= 4e-16 * fabs(r->export_scale) &&
                      export.zero == r->export_zero,
                  "%s: exported are scale %.17g and zero point %g, expected %.17g and %g", r->why, export.scale,
                  export.zero, r->export_scale, r->export_zero);
    }
}

Test(qkeras, zero_points_are_those_of_fractions)
{
    draws d = { .seed = 2 };
    for (int i = 0; i < 20000; i++) {
        const int bits = 2 + draw(&d, 15), low = draw(&d, 2001) - 1000, high = low + 1 + draw(&d, 1000);
        const int64_t most = ((int64_t)1 << (bits - 1)) - 1;
        const double alpha = ldexp((double)low, -5), beta = ldexp((double)high, -5);
        const double away = dt_qkeras_training_grid(alpha, beta, bits).zero;
        const double even = dt_qkeras_export_grid(alpha, beta, bits).zero;
        cr_assert(away == (double)divided(-most * (low + high), high - low, 0), "%d bits, %d..%d: zero point %g", bits,
                  low, high, away);
        cr_assert(even == (double)divided(-most * (low + high), high - low, 1), "%d bits, %d..%d: exported %g", bits,
                  low, high, even);
    }
}

typedef struct {
    const char *why;
    int bits;
    double alpha, beta, x;
    double code, export_code;
} code_row;

static const code_row codes[] = {
    { "the least value behind a ReLU", 8, 0.0, 6.35, 0.0, -127, -127 },
    { "the largest", 8, 0.0, 6.35, 6.35, 0, 127 },
    { "the least of both signs", 8, -1.0, 3.0, -1.0, -106, -127 }, /* -42.33, -63.5 and the zero point -64 */
    { "the largest of both signs", 8, -1.0, 3.0, 3.0, 63, 127 },
    { "a tie goes down in training, by the bias", 8, -127.0, 127.0, 2.5, 2, 3 },
    { "... and away below 0", 8, -127.0, 127.0, -2.5, -3, -3 },
    { "a value behind the bias is not a tie", 8, -127.0, 127.0, 2.50002, 3, 3 },
    { "what is too small is 0 in training", 8, 0.0, 1.27e-5, 9e-8, -127, -125 },
    { "a range without 0 is cut", 8, 0.5, 3.0, 0.5, -127, -127 },
    { "no range", 8, 0.0, 0.0, 0.0, 0, 0 },
};

Test(qkeras, codes_of_activations)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const code_row *r = &codes[i];
        const dt_qkeras_grid train = dt_qkeras_training_grid(r->alpha, r->beta, r->bits);
        const dt_qkeras_grid export = dt_qkeras_export_grid(r->alpha, r->beta, r->bits);
        const double code = dt_qkeras_training_code(r->x, &train, r->bits);
        const double exported = dt_qkeras_export_code(r->x, &export, r->bits);
        cr_assert(code == r->code && exported == r->export_code, "%s: codes are %g and %g, expected %g and %g", r->why,
                  code, exported, r->code, r->export_code);
    }
}

/* Scales are powers of two, so that the sum of real products, in integers of 2^-12, is exact. */
Test(qkeras, the_integer_product_is_that_of_the_real_values)
{
    draws d = { .seed = 3 };
    for (int i = 0; i < 2000; i++) {
        const int p = 1 + draw(&d, 40), high = 127;
        const int x_zero = draw(&d, 301) - 150, w_zero = draw(&d, 21) - 10, b_zero = draw(&d, 5) - 2;
        const int b = draw(&d, 20001) - 10000, y_zero = draw(&d, 255) - high;
        dt_qkeras_product in = { .p = p,
                                 .b = b,
                                 .x_zero = x_zero,
                                 .w_zero = w_zero,
                                 .b_zero = b_zero,
                                 .x_scale = 0x1p-5,
                                 .w_scale = 0x1p-7,
                                 .b_scale = 0x1p-10,
                                 .y = { 0x1p-2, y_zero } };
        int64_t real = 4 * (b - b_zero); /* in 2^-12 */
        for (int k = 0; k < p; k++) {
            const int x = draw(&d, 255) - high, w = draw(&d, 255) - high;
            in.sum_xw += x * w;
            in.sum_x += x;
            in.sum_w += w;
            real += (x - x_zero) * (w - w_zero);
        }
        const int64_t want = limited(divided(real + (int64_t)y_zero * 1024, 1 << 10, 0), high);
        cr_assert(dt_qkeras_output(&in, 8) == (double)want, "%d products: code is %g, expected %lld", p,
                  dt_qkeras_output(&in, 8), (long long)want);
    }
}

/* ---- what QKeras-Mod gave ---- */

static double number(const cJSON *from, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, name);
    cr_assert(cJSON_IsNumber(item), "%s is no number", name);
    return item->valuedouble;
}

/* The largest magnitude of each of n_scale sets of columns. */
static void check_weights(const golden_qkeras *g, const char *tensor, int bits, int axis)
{
    char key[128], name[160];
    int64_t n, n_scale;
    double *w = golden_qkeras_read(g, tensor, DT_SAFETENSORS_F64, &n);
    snprintf(key, sizeof key, axis < 0 ? "%s/%d/none" : "%s/%d/%d", tensor + 2, bits, axis);
    snprintf(name, sizeof name, "w_scale/%s", key);
    double *scale = golden_qkeras_read(g, name, DT_SAFETENSORS_F64, &n_scale);
    snprintf(name, sizeof name, "w_codes/%s", key);
    int32_t *code = golden_qkeras_read(g, name, DT_SAFETENSORS_I32, NULL);
    const int sign = bits == 31 ? -1 : 1; /* there 2^31 wraps */
    for (int64_t k = 0; k < n_scale; k++) {
        double most = 0.0;
        for (int64_t i = k; i < n; i += n_scale) most = fmax(most, fabs(w[i]));
        const double got = dt_qkeras_scale(most, bits);
        cr_assert(fabs(sign * got - scale[k]) <= 1e-14 * got, "%s[%lld]: scale is %.17g, golden %.17g", name,
                  (long long)k, got, scale[k]);
        for (int64_t i = k; i < n; i += n_scale) {
            const int32_t c = dt_qkeras_code(w[i], got, bits);
            cr_assert(sign * c == code[i], "%s[%lld]: code is %d, golden %d", name, (long long)i, c, code[i]);
        }
    }
    free(code);
    free(scale);
    free(w);
}

static void check_acts(const golden_qkeras *g, const cJSON *one, const char *tensor, int bits)
{
    char name[160];
    int64_t n;
    double *x = golden_qkeras_read(g, tensor, DT_SAFETENSORS_F64, &n), alpha = INFINITY, beta = -INFINITY;
    snprintf(name, sizeof name, "a_codes/%s/%d", tensor + 2, bits);
    int32_t *code = golden_qkeras_read(g, name, DT_SAFETENSORS_I32, NULL);
    snprintf(name, sizeof name, "a_deq/%s/%d", tensor + 2, bits);
    double *real = golden_qkeras_read(g, name, DT_SAFETENSORS_F64, NULL);
    for (int64_t i = 0; i < n; i++) {
        alpha = fmin(alpha, dt_qkeras_flush(x[i]));
        beta = fmax(beta, dt_qkeras_flush(x[i]));
    }
    const dt_qkeras_grid grid = dt_qkeras_training_grid(alpha, beta, bits);
    cr_assert(alpha == number(one, "alpha_f") && beta == number(one, "beta_f") && grid.zero == number(one, "zeropoint"),
              "%s: %g..%g, zero point %g", name, alpha, beta, grid.zero);
    cr_assert(fabs(grid.scale - number(one, "scale1")) <= 1e-14 * grid.scale, "%s: scale %.17g", name, grid.scale);
    for (int64_t i = 0; i < n; i++) {
        const double c = dt_qkeras_training_code(x[i], &grid, bits), v = grid.scale * (c - grid.zero);
        cr_assert(c == code[i], "%s[%lld]: code is %g, golden %d", name, (long long)i, c, code[i]);
        cr_assert(fabs(v - real[i]) <= 1e-14 * fabs(v), "%s[%lld] is %.17g, golden %.17g", name, (long long)i, v,
                  real[i]);
    }
    free(real);
    free(code);
    free(x);
}

Test(qkeras, quantizers_are_those_of_qkeras_mod)
{
    golden_qkeras g = golden_qkeras_open();
    const cJSON *one;
    int n = 0;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(g.json, "cases"))
    {
        const char *tensor = cJSON_GetObjectItemCaseSensitive(one, "tensor")->valuestring;
        const cJSON *axis = cJSON_GetObjectItemCaseSensitive(one, "scale_axis");
        const int bits = (int)number(one, "bits");
        if (tensor[0] == 'w')
            check_weights(&g, tensor, bits, cJSON_IsNumber(axis) ? axis->valueint : -1);
        else
            check_acts(&g, one, tensor, bits);
        n++;
    }
    cr_assert(n == 146, "%d cases", n);
    golden_qkeras_close(&g);
}

/* Calibrated ranges of the notebook's network, by both of its rules. */
Test(qkeras, exported_grids_are_those_of_qkeras_mod)
{
    static const int widths[] = { 4, 8, 16 };
    static const char *const rules[] = { "minmax", "maxabs" };
    golden_qkeras g = golden_qkeras_open();
    for (int i = 0; i < 3; i++) {
        char name[32];
        const cJSON *act;
        snprintf(name, sizeof name, "demo%d", widths[i]);
        const cJSON *demo = cJSON_GetObjectItemCaseSensitive(g.json, name);
        cJSON_ArrayForEach(act, cJSON_GetObjectItemCaseSensitive(demo, "activations"))
        {
            for (int k = 0; k < 2; k++) {
                const cJSON *want = cJSON_GetObjectItemCaseSensitive(act, rules[k]);
                const dt_qkeras_grid got =
                    dt_qkeras_export_grid(number(want, "alpha"), number(want, "beta"), widths[i]);
                const double scale = number(want, "in_scale");
                cr_assert(fabs(got.scale - scale) <= 1e-14 * fabs(scale) && got.zero == number(want, "in_zeropoint"),
                          "%s, %s, %s: %.17g and %g, golden %.17g", name, act->string, rules[k], got.scale, got.zero,
                          scale);
            }
        }
    }
    golden_qkeras_close(&g);
}
