/*
 * test_capsules.c - the integer arithmetic of capsules against whole numbers and double, and against recorded values of
 *                   an implementation in Python, where DETENT_CAPS_ORACLE names their folder.
 */
#include "../../core/arith/capsules.h"
#include "../../core/rng.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* floor of the square root, bit by bit */
static uint64_t whole_root(uint64_t n)
{
    uint64_t root = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const uint64_t more = root | (uint64_t)1 << bit;
        if (more * more <= n) root = more;
    }
    return root;
}

/* 2^17 sqrt(n / d) / (1 + n / d) = sqrt(2^34 n d) / (n + d), rounded down, halved up */
Test(capsules, table_of_squash_is_that_of_whole_numbers)
{
    for (int i = 0; i < DT_SQUASH_ENTRIES; i++) {
        const int e = (i >> 3) - 6;
        const uint64_t n = (uint64_t)(8 + (i & 7)) << (e > 0 ? e : 0), d = (uint64_t)8 << (e < 0 ? -e : 0);
        const uint64_t twice = whole_root(((uint64_t)1 << 34) * n * d / ((n + d) * (n + d)));
        cr_assert(dt_caps_table.squash[i] == (int)((twice + 1) / 2), "entry %d is %d, expected %d", i,
                  dt_caps_table.squash[i], (int)((twice + 1) / 2));
    }
}

Test(capsules, table_of_powers)
{
    for (int i = 0; i < DT_EXP_ENTRIES; i++) {
        const double exact = 32768.0 * exp2(-i / 32.0);
        cr_assert(fabs(exact - floor(exact) - 0.5) > 1e-6 && dt_caps_table.exp[i] == (int)floor(exact + 0.5),
                  "entry %d is %d, expected %.9g", i, dt_caps_table.exp[i], exact);
    }
}

Test(capsules, shift_rounds_halves_up)
{
    static const int64_t rows[][3] = { { 5, 1, 3 },   { -5, 1, -2 }, { 7, 2, 2 },    { -6, 2, -1 },
                                       { -7, 2, -2 }, { 9, 0, 9 },   { -1, 1, 0 },   { 1, 1, 1 },
                                       { 127, 8, 0 }, { 128, 8, 1 }, { -128, 8, 0 }, { -129, 8, -1 } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int64_t y = dt_shift_half_up(rows[i][0], (int)rows[i][1]);
        cr_assert(y == rows[i][2], "%d >> %d is %d, expected %d", (int)rows[i][0], (int)rows[i][1], (int)y,
                  (int)rows[i][2]);
    }
    for (int n = 0; n < 64; n++) {
        cr_assert(dt_log2_floor((uint64_t)1 << n) == n && dt_log2_floor(((uint64_t)2 << n) - 1) == n, "bit %d", n);
    }
}

/* A number below n, of test and draw. */
static uint32_t below(uint32_t test, uint64_t draw, uint32_t n)
{
    return dt_below(dt_random(7, (dt_stream)0, test, draw).v[0], n);
}

/* 0.5 + 0.0018 * 2^v_frac steps of v: the table's error and the last rounding */
Test(capsules, squash_is_near_the_real_one)
{
    static const int formats[][3] = { { 6, 8, 7 }, { 8, 8, 8 }, { 10, 10, 9 }, { 12, 16, 15 }, { 4, 4, 3 } };
    enum { DIM = 8 };

    for (int k = 0; k < 20000; k++) {
        const int *f = formats[k % 5];
        const dt_squash_format format = { f[0], f[1], f[2], { 1, 0 }, { 1, 0 } };
        const int bits = 2 + (int)below(1, (uint64_t)k * 16, 14);
        int s[DIM];
        uint64_t q = 0;
        for (int d = 0; d < DIM; d++) {
            s[d] = (int)below(1, (uint64_t)k * 16 + 1 + (uint64_t)d, 1u << bits) - (1 << (bits - 1));
            q += (uint64_t)(s[d] * s[d]);
        }
        const dt_squash_gain g = dt_squash_gain_of(dt_caps_table.squash, q, f[0]);
        for (int d = 0; d < DIM; d++) {
            const double Q = (double)q / exp2(2 * f[0]), real = s[d] / exp2(f[0]) * sqrt(Q) / (1.0 + Q);
            const double most = exp2(f[1] - 1), want = fmin(fmax(real * exp2(f[2]), -most), most - 1.0);
            const double got = dt_squash_code(&format, g, s[d]);
            cr_assert(fabs(got - want) <= 0.5 + 0.0018 * exp2(f[2]), "capsule %d: %g, expected %g", k, got, want);
        }
    }
}

/* The couplings of a row add up to 2^c_frac, within half a step each. */
Test(capsules, softmax_is_near_the_real_one)
{
    enum { MOST = 512 };
    static const int rows[] = { 1, 2, 10, 33, 512 };

    for (int k = 0; k < 400; k++) {
        const int n = rows[k % 5], b_frac = k % 7 - 1, c_frac = 12;
        int b[MOST], top = INT32_MIN;
        uint32_t sum = 0, e[MOST];
        double real_sum = 0.0;
        int64_t total = 0;
        for (int i = 0; i < n; i++) b[i] = (int)below(2, (uint64_t)k * MOST + (uint64_t)i, 256) - 128;
        for (int i = 0; i < n; i++) top = b[i] > top ? b[i] : top;
        for (int i = 0; i < n; i++) {
            e[i] = dt_exp_code(dt_caps_table.exp, top - b[i], dt_exp_ratio(b_frac));
            sum += e[i];
            real_sum += exp2(b[i] / exp2(b_frac));
        }
        const dt_softmax_divisor d = dt_softmax_divisor_of(sum, (uint32_t)1 << 31);
        for (int i = 0; i < n; i++) {
            const int c = dt_coupling_code(d, e[i], 13, c_frac);
            const double want = exp2(b[i] / exp2(b_frac)) / real_sum * exp2(c_frac);
            total += c;
            cr_assert(fabs(c - want) <= 0.7, "row %d, coupling %d: %d, expected %g", k, i, c, want);
        }
        cr_assert(fabs((double)total - exp2(c_frac)) <= n / 2.0 + 2.0, "row %d adds up to %d", k, (int)total);
    }
}

Test(capsules, ratio_is_near_the_scale)
{
    for (int k = 0; k < 2000; k++) {
        const float scale = ldexpf(1.0f + (float)below(3, (uint64_t)k, 1 << 23) / 8388608.0f, k % 20 - 15);
        const int up = k % 9;
        const dt_ratio r = dt_ratio_of(scale, up);
        const double want = ldexp((double)scale, up), got = ldexp(r.mul, -r.shift);
        if (want >= 16384.0) continue;
        cr_assert(r.mul >= 1 << 14 && r.mul < 1 << 15 && fabs(got - want) <= want / 32768.0, "%g: %g", want, got);
    }
    const dt_ratio one = dt_ratio_of(1.0f, 0), carried = dt_ratio_of(1.99999988f, 0), tiny = dt_ratio_of(1e-30f, 0);
    cr_assert(one.mul == 1 << 14 && one.shift == 14);
    cr_assert(carried.mul == 1 << 14 && carried.shift == 13);
    cr_assert(tiny.mul == 0 && tiny.shift == DT_CAPS_SHIFT_MAX);
}

/* Of fewer bits where the shift is the largest: rounded twice, and never to 0. */
Test(capsules, small_ratio_is_near_the_scale)
{
    for (int k = 0; k < 2000; k++) {
        const float scale = ldexpf(1.0f + (float)below(4, (uint64_t)k, 1 << 23) / 8388608.0f, -36 + k % 16);
        const dt_ratio r = dt_ratio_of(scale, 0);
        const double got = ldexp(r.mul, -r.shift), error = fabs(got - (double)scale);
        cr_assert(r.mul > 0 && error <= 0x1p-37 + (double)scale / 32768.0, "%g: %g", (double)scale, got);
    }
}

Test(capsules, bias_that_fits)
{
    cr_assert(dt_caps_bias_fits(512.0f, 8) && dt_caps_bias_fits(-512.0f, 8));
    cr_assert(!dt_caps_bias_fits(512.1f, 8) && !dt_caps_bias_fits(-512.1f, 8) && !dt_caps_bias_fits(NAN, 8));
    cr_assert(dt_caps_offset(512.0f, 8, DT_CAPS_SHIFT_MAX) == ((int64_t)1 << 53) + ((int64_t)1 << 35));
}

Test(capsules, offset_has_the_half)
{
    cr_assert(dt_caps_offset(0.0f, 8, 0) == 0);
    cr_assert(dt_caps_offset(0.0f, 8, 10) == 512);
    cr_assert(dt_caps_offset(-0.25f, 8, 10) == -65536 + 512);
    cr_assert(dt_caps_offset(1e9f, 8, 10) == (131072LL << 10) + 512); /* beyond every code of s */
}

Test(capsules, length_is_rounded_down)
{
    cr_assert(dt_caps_length_code(0, 5, 16) == 0);
    cr_assert(dt_caps_length_code(2500, 5, 16) == 2500u * 65536u / (2500u + 1024u));
    cr_assert(dt_caps_length_code((uint64_t)1 << 35, 15, 24) ==
              ((uint64_t)1 << 59) / (((uint64_t)1 << 35) + (1u << 30)));
}

/* ---- recorded values ---- */

static const char *what; /* of the case at hand */

static cJSON *read_oracle(void)
{
    const char *folder = getenv("DETENT_CAPS_ORACLE");
    char path[4096];

    if (!folder) return NULL;
    snprintf(path, sizeof path, "%s/integer_capsules_vectors.json", folder);
    FILE *f = fopen(path, "rb");
    cr_assert(f, "%s cannot be opened", path);
    char *text = calloc(1, 1 << 20);
    cr_assert(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    cJSON *all = cJSON_Parse(text);
    free(text);
    cr_assert(all, "%s is no JSON", path);
    return all;
}

static const cJSON *get(const cJSON *o, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    cr_assert(v, "%s: no %s", what, name);
    return v;
}

static int64_t number(const cJSON *o, const char *name)
{
    return (int64_t)get(o, name)->valuedouble; /* all are below 2^53 */
}

static dt_ratio ratio_in(const cJSON *o, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    if (!v) return (dt_ratio){ 1, 0 };
    return (dt_ratio){ cJSON_GetArrayItem(v, 0)->valueint, cJSON_GetArrayItem(v, 1)->valueint };
}

/* Writes the numbers of nested lists one after the other; returns how many there are. */
static int flat(const cJSON *v, int64_t *to, int n)
{
    const cJSON *item;
    if (!cJSON_IsArray(v)) {
        to[n] = (int64_t)v->valuedouble;
        return n + 1;
    }
    cJSON_ArrayForEach(item, v) n = flat(item, to, n);
    return n;
}

static void same(const cJSON *of, const char *name, const int64_t *got, int n)
{
    int64_t want[4096];
    cr_assert(flat(get(of, name), want, 0) == n, "%s: %s has other sizes", what, name);
    for (int i = 0; i < n; i++)
        cr_assert(got[i] == want[i], "%s: %s[%d] is %lld, expected %lld", what, name, i, (long long)got[i],
                  (long long)want[i]);
}

static void squash_capsule(const dt_squash_format *f, const int64_t *s, int dim, int64_t *v)
{
    uint64_t q = 0;
    for (int d = 0; d < dim; d++) q += (uint64_t)(s[d] * s[d]);
    const dt_squash_gain g = dt_squash_gain_of(dt_caps_table.squash, dt_caps_square_by_step(q, f->square), f->s_frac);
    for (int d = 0; d < dim; d++) v[d] = dt_squash_code(f, g, (int)s[d]);
}

static dt_squash_format squash_format(const cJSON *o)
{
    return (dt_squash_format){ (int)number(o, "s_frac"), (int)number(o, "v_bits"), (int)number(o, "v_frac"),
                               ratio_in(o, "square"), ratio_in(o, "out") };
}

static void check_squash(const cJSON *o)
{
    const dt_squash_format f = squash_format(o);
    int64_t s[64], v[64], gain[2];
    const int dim = flat(get(o, "s"), s, 0);
    uint64_t q = 0;

    for (int d = 0; d < dim; d++) q += (uint64_t)(s[d] * s[d]);
    const dt_squash_gain g = dt_squash_gain_of(dt_caps_table.squash, dt_caps_square_by_step(q, f.square), f.s_frac);
    gain[0] = g.gain;
    gain[1] = g.shift;
    same(o, "gain", gain, 1);
    same(o, "gain_shift", gain + 1, 1);
    squash_capsule(&f, s, dim, v);
    same(o, "v", v, dim);
}

typedef struct {
    dt_ratio exp;
    int c_bits, c_frac;
    uint32_t numerator;
} softmax_format;

static void softmax_row(const softmax_format *f, const int64_t *b, int n, int64_t *c)
{
    uint32_t e[512], sum = 0;
    int64_t top = b[0];

    for (int i = 1; i < n; i++) top = b[i] > top ? b[i] : top;
    for (int i = 0; i < n; i++) sum += e[i] = dt_exp_code(dt_caps_table.exp, top - b[i], f->exp);
    const dt_softmax_divisor d = dt_softmax_divisor_of(sum, f->numerator);
    for (int i = 0; i < n; i++) c[i] = dt_coupling_code(d, e[i], f->c_bits, f->c_frac);
}

static softmax_format softmax_format_of(const cJSON *o)
{
    const cJSON *numerator = cJSON_GetObjectItemCaseSensitive(o, "numerator");
    return (softmax_format){ { (int)number(o, "exp_mul"), (int)number(o, "exp_shift") },
                             (int)number(o, "c_bits"),
                             (int)number(o, "c_frac"),
                             numerator ? (uint32_t)numerator->valuedouble : (uint32_t)1 << 31 };
}

static void check_softmax(const cJSON *o)
{
    const softmax_format f = softmax_format_of(o);
    int64_t b[512], c[512];
    const int n = flat(get(o, "b"), b, 0);

    softmax_row(&f, b, n, c);
    same(o, "c", c, n);
}

static void check_scores(const cJSON *o)
{
    int64_t s[64], q[16], length[16], best = 0;
    const int n = cJSON_GetArraySize(get(o, "s")), dim = flat(get(o, "s"), s, 0) / n;

    for (int j = 0; j < n; j++) {
        q[j] = 0;
        for (int d = 0; d < dim; d++) q[j] += s[j * dim + d] * s[j * dim + d];
        length[j] = dt_caps_length_code((uint64_t)q[j], (int)number(o, "s_frac"), 16);
        if (q[j] > q[best]) best = j;
    }
    same(o, "q", q, n);
    same(o, "length", length, n);
    same(o, "class", &best, 1);
}

/* Everything of one iteration: acc, s, v and, if there is a next one, a, b, c. */
static void check_iteration(const cJSON *o, const cJSON *p, const cJSON *trace, const int64_t *u, int inputs, int caps,
                            int dim, int span, int64_t *b, int64_t *c)
{
    const dt_ratio acc_ratio = { (int)number(p, "acc_mul"), (int)number(p, "acc_shift") };
    const dt_squash_format f = squash_format(p);
    int64_t acc[64] = { 0 }, s[64], v[64], a[256], offset[64];
    const int width = caps * dim, n_offset = flat(get(p, "acc_offset"), offset, 0);

    for (int k = 0; k < inputs * width; k++) acc[k % width] += (c ? c[k / dim] : 1) * u[k];
    for (int k = 0; k < width; k++)
        s[k] = dt_caps_sum_code(acc[k], acc_ratio, offset[k % n_offset], (int)number(p, "s_bits"));
    for (int m = 0; m < caps; m++) squash_capsule(&f, s + m * dim, dim, v + m * dim);
    same(trace, "acc", acc, width);
    same(trace, "s", s, width);
    same(trace, "v", v, width);
    if (!cJSON_GetObjectItemCaseSensitive(p, "agree_mul")) return;
    const dt_ratio agree = { (int)number(p, "agree_mul"), (int)number(p, "agree_shift") };
    const softmax_format softmax = softmax_format_of(p);
    for (int k = 0; k < inputs * caps; k++) {
        a[k] = 0;
        for (int d = 0; d < dim; d++) a[k] += u[k * dim + d] * v[k % caps * dim + d];
        b[k] = dt_caps_logit_code(b[k], number(p, "keep_mul"), a[k], agree, (int)number(p, "b_bits"));
    }
    int64_t next[256];
    for (int k = 0; k < inputs * caps; k += span) softmax_row(&softmax, b + k, span, next + k);
    same(trace, "a", a, inputs * caps);
    same(trace, "b", b, inputs * caps);
    same(trace, "c", next, inputs * caps);
    (void)o;
}

static void check_route(const cJSON *o)
{
    const cJSON *its = get(o, "iterations"), *trace = get(o, "trace"), *votes = get(o, "u");
    const int joint = (int)number(o, "joint"), inputs = cJSON_GetArraySize(votes);
    int64_t u[1024], b[256] = { 0 }, c[256];
    const int width = flat(votes, u, 0) / inputs;
    int dim = 0, types = 0;
    for (const cJSON *v = cJSON_GetArrayItem(votes, 0); cJSON_IsArray(v); v = cJSON_GetArrayItem(v, 0)) {
        types = dim;
        dim = cJSON_GetArraySize(v);
    }

    for (int r = 0; r < cJSON_GetArraySize(its); r++) {
        const cJSON *before = r > 0 ? cJSON_GetArrayItem(trace, r - 1) : NULL;
        if (before) flat(get(before, "c"), c, 0);
        check_iteration(o, cJSON_GetArrayItem(its, r), cJSON_GetArrayItem(trace, r), u, inputs, width / dim, dim,
                        joint ? width / dim : types, b, before ? c : NULL);
    }
}

Test(capsules, recorded_values)
{
    static const struct {
        const char *op;
        void (*check)(const cJSON *o);
    } checks[] = {
        { "squash", check_squash }, { "softmax", check_softmax }, { "scores", check_scores }, { "route", check_route }
    };
    cJSON *all = read_oracle();
    const cJSON *one;
    int64_t tables[DT_SQUASH_ENTRIES];
    int n = 0;

    if (!all) cr_skip("DETENT_CAPS_ORACLE names no folder of recorded values");
    what = "the tables";
    for (int i = 0; i < DT_SQUASH_ENTRIES; i++) tables[i] = dt_caps_table.squash[i];
    same(get(all, "tables"), "squash", tables, DT_SQUASH_ENTRIES);
    for (int i = 0; i < DT_EXP_ENTRIES; i++) tables[i] = dt_caps_table.exp[i];
    same(get(all, "tables"), "exp2", tables, DT_EXP_ENTRIES);
    cJSON_ArrayForEach(one, get(all, "cases"))
    {
        what = get(one, "name")->valuestring;
        for (size_t k = 0; k < sizeof checks / sizeof checks[0]; k++) {
            if (strcmp(get(one, "op")->valuestring, checks[k].op) != 0) continue;
            checks[k].check(one);
            n++;
        }
    }
    cr_assert(n == 20 && n == cJSON_GetArraySize(get(all, "cases")), "%d cases were checked, expected 20", n);
    cJSON_Delete(all);
}
