/*
 * test_winograd.c - psums by Winograd's transform against the definition in 64-bit integers, with ==.
 *
 * Scratch is of the size that was asked for and full of garbage, psums start as NaN, and the bytes behind both must
 * survive.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../layers/conv/winograd.h"
#include "../../layers/gemm/word_gemm.h"

enum { GUARD = 256 }; /* bytes */

/* How codes are spread over their range. */
typedef enum { SPREAD, ALL_HIGH, ALL_LOW, TURNS /* high and low by turns */ } code_pattern;

typedef struct {
    const char *why;
    int N, H, W, C, K;
    int x_low, x_high, w_high; /* w in +-w_high */
    code_pattern x, w;
} winograd_case;

static const winograd_case cases[] = {
    { "one pixel", 7, 1, 1, 16, 16, 0, 15, 7, SPREAD, SPREAD },
    { "2x2, wide", 5, 2, 2, 80, 144, 0, 15, 7, SPREAD, SPREAD },
    { "odd sides", 3, 3, 5, 48, 32, 0, 15, 7, SPREAD, SPREAD },
    { "odd sides, more channels than a vector", 2, 7, 7, 112, 80, 0, 15, 7, SPREAD, SPREAD },
    { "8x8, whole vectors", 3, 8, 8, 64, 64, 0, 15, 7, SPREAD, SPREAD },
    { "one row", 2, 1, 9, 32, 16, 0, 15, 7, SPREAD, SPREAD },
    { "one column", 2, 9, 1, 32, 16, 0, 15, 7, SPREAD, SPREAD },
    { "a row of patches larger than a block", 1, 3, 260, 16, 16, 0, 15, 7, SPREAD, SPREAD },
    { "many blocks", 33, 6, 5, 16, 48, 0, 3, 7, SPREAD, SPREAD },
    { "all maximal", 1, 5, 6, 512, 16, 0, 15, 7, ALL_HIGH, ALL_HIGH },
    { "all maximal, filters negative", 1, 5, 6, 512, 16, 0, 15, 7, ALL_HIGH, ALL_LOW },
    { "signs by turns", 2, 5, 6, 64, 32, 0, 15, 7, TURNS, TURNS },
    { "the largest codes that fit", 2, 5, 5, 64, 32, 0, 63, 14, ALL_HIGH, TURNS },
    { "the largest codes that fit, by turns", 2, 5, 5, 64, 32, 0, 63, 14, TURNS, ALL_HIGH },
    { "signed codes", 2, 5, 4, 48, 16, -31, 31, 14, SPREAD, SPREAD },
    { "signed codes, all negative", 2, 5, 4, 48, 16, -31, 31, 14, ALL_LOW, ALL_LOW },
    { "signed codes by turns", 2, 5, 4, 48, 16, -31, 31, 14, TURNS, TURNS },
    { "codes below zero, all of them", 2, 4, 4, 16, 16, -40, -9, 7, SPREAD, SPREAD },
    { "codes above zero, all of them: padding is below", 2, 4, 4, 16, 16, 9, 40, 7, SPREAD, SPREAD },
    { "psums past 2^24 are rounded once", 1, 3, 3, 2160, 16, 0, 63, 14, ALL_HIGH, ALL_HIGH },
};

static int code_at(code_pattern pattern, int low, int high, int64_t i)
{
    switch (pattern) {
    case ALL_HIGH: return high;
    case ALL_LOW: return low;
    case TURNS: return i % 3 == 1 || i % 7 == 2 ? low : high;
    default: return low + (int)((uint64_t)(i + 5) * 2654435761u % 4294967291u % (uint64_t)(high - low + 1));
    }
}

/* n codes, as `type` */
static void *codes(dt_dtype type, code_pattern pattern, int low, int high, int64_t n)
{
    char *data = malloc((size_t)n * dt_type_bytes(type));
    for (int64_t i = 0; i < n; i++) {
        const int code = code_at(pattern, low, high, i);
        if (type == DT_F32)
            ((float *)(void *)data)[i] = (float)code;
        else
            data[i] = (char)code; /* U8 and I8 alike modulo 256 */
    }
    return data;
}

/* A node as a tape would hold it; the scales are not read. */
typedef struct {
    dt_conv_params params;
    dt_tensor x, w, y;
    float scale;
    dt_node node;
} winograd_node;

static void node_make(winograd_node *t, const winograd_case *c, dt_dtype x_type, dt_dtype w_type)
{
    *t = (winograd_node){ .params = dt_conv_square(1, 1), .scale = 1.0f };
    t->x = (dt_tensor){ .type = x_type,
                        .shape = { 4, { c->N, c->H, c->W, c->C } },
                        .n_scale = 1,
                        .scale = &t->scale,
                        .qmin = c->x_low,
                        .qmax = c->x_high };
    t->w = (dt_tensor){ .type = w_type,
                        .shape = { 4, { c->K, 3, 3, c->C } },
                        .n_scale = 1,
                        .scale = &t->scale,
                        .qmin = -c->w_high,
                        .qmax = c->w_high };
    t->node = (dt_node){ .kind = DT_OP_CONV2D, .name = "layer", .params = &t->params, .n_in = 2, .out = &t->y };
    t->node.in[0] = &t->x;
    t->node.in[1] = &t->w;
    cr_assert(dt_conv_infer(&t->node) == DT_OK, "%s: %s", c->why, dt_last_error());
}

static int fits(const winograd_node *t)
{
    const dt_exec ex = { .precision = DT_PRECISION_F32 };
    return dt_winograd_forward_refuses(&t->node, &ex) == NULL;
}

static int64_t psum(const winograd_case *c, int n, int p, int q, int k)
{
    int64_t sum = 0;
    for (int tap = 0; tap < 9; tap++) {
        const int h = p + tap / 3 - 1, v = q + tap % 3 - 1;
        if (h < 0 || h >= c->H || v < 0 || v >= c->W) continue;
        for (int i = 0; i < c->C; i++) {
            const int64_t at_x = (((int64_t)n * c->H + h) * c->W + v) * c->C + i,
                          at_w = ((int64_t)k * 9 + tap) * c->C + i;
            sum += (int64_t)code_at(c->x, c->x_low, c->x_high, at_x) * code_at(c->w, -c->w_high, c->w_high, at_w);
        }
    }
    return sum;
}

static float *psums(const winograd_case *c)
{
    const int64_t n = (int64_t)c->N * c->H * c->W * c->K;
    float *want = malloc((size_t)n * sizeof *want);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i / c->K;
        want[i] = (float)psum(c, (int)(at / c->W / c->H), (int)(at / c->W % c->H), (int)(at % c->W), (int)(i % c->K));
    }
    return want;
}

static char *guarded(size_t bytes, int fill)
{
    char *at = aligned_alloc(64, dt_round_up(bytes + GUARD, 64));
    memset(at, fill, bytes);
    memset(at + bytes, 0x5a, GUARD);
    return at;
}

static void check_guard(const winograd_case *c, const char *at, size_t bytes, const char *what)
{
    for (int i = 0; i < GUARD; i++) cr_assert(at[bytes + (size_t)i] == 0x5a, "%s: wrote behind the %s", c->why, what);
}

static void check(const winograd_case *c, const float *want, dt_dtype x_type, dt_dtype w_type, int threads)
{
    winograd_node t;
    node_make(&t, c, x_type, w_type);
    const int64_t n = dt_count(&t.y.shape);
    const size_t y_bytes = (size_t)n * sizeof(float),
                 scratch_bytes = dt_winograd_forward_scratch(&t.node, NULL, threads);
    char *y = guarded(y_bytes, 0xff), *scratch = guarded(scratch_bytes, 0xa5); /* 0xffffffff is a NaN */
    const dt_exec ex = { .scratch = scratch };

    cr_assert(fits(&t), "%s", c->why);
    t.x.data = codes(x_type, c->x, c->x_low, c->x_high, dt_count(&t.x.shape));
    t.w.data = codes(w_type, c->w, -c->w_high, c->w_high, dt_count(&t.w.shape));
    t.y.data = y;
    dt_winograd_forward(&t.node, &ex, threads);
    for (int64_t i = 0; i < n; i++) {
        cr_assert(((const float *)t.y.data)[i] == want[i],
                  "%s: x %d, w %d, %d threads: psum [%lld] is %.0f, expected %.0f", c->why, (int)x_type, (int)w_type,
                  threads, (long long)i, (double)((const float *)t.y.data)[i], (double)want[i]);
    }
    check_guard(c, y, y_bytes, "psums");
    check_guard(c, scratch, scratch_bytes, "scratch");
    free(y);
    free(scratch);
    free(t.x.data);
    free(t.w.data);
}

Test(winograd, psums_are_the_integers)
{
    if (!dt_word_gemm_has_int8()) cr_skip("this CPU has no AVX512-VNNI");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const winograd_case *c = &cases[i];
        const dt_dtype bytes = c->x_low < 0 ? DT_I8 : DT_U8;
        float *want = psums(c);
        for (int threads = 1; threads <= 3; threads++) {
            check(c, want, bytes, DT_I8, threads);
            check(c, want, DT_F32, DT_F32, threads);
        }
        check(c, want, bytes, DT_F32, 2);
        check(c, want, DT_F32, DT_I8, 2);
        free(want);
    }
}

Test(winograd, fits_only_where_every_byte_holds_its_point)
{
    static const struct {
        const char *why;
        int C, K, stride, x_low, x_high, w_high, fits;
    } rows[] = {
        { "w4a4", 16, 16, 1, 0, 15, 7, 1 },
        { "4 * 63 = 252", 16, 16, 1, 0, 63, 7, 1 },
        { "4 * 64 = 256", 16, 16, 1, 0, 64, 7, 0 },
        { "4 * (31 + 32) = 252", 16, 16, 1, -32, 31, 7, 1 },
        { "4 * (32 + 32) = 256", 16, 16, 1, -32, 32, 7, 0 },
        { "9 * 14 = 126", 16, 16, 1, 0, 15, 14, 1 },
        { "9 * 15 = 135", 16, 16, 1, 0, 15, 15, 0 },
        { "8 channels", 8, 16, 1, 0, 15, 7, 0 },
        { "24 filters", 16, 24, 1, 0, 15, 7, 0 },
        { "stride 2", 16, 16, 2, 0, 15, 7, 0 },
        /* 9 * 80,000 * 63 * 14 = 635,040,000, four times which no int32_t holds */
        { "32 bits", 80000, 16, 1, 0, 63, 14, 0 },
    };
    if (!dt_word_gemm_has_int8()) cr_skip("this CPU has no AVX512-VNNI");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        winograd_case c = { rows[i].why,    1,      4,     4, rows[i].C, rows[i].K, rows[i].x_low, rows[i].x_high,
                            rows[i].w_high, SPREAD, SPREAD };
        winograd_node t;
        node_make(&t, &c, DT_F32, DT_F32);
        t.params = dt_conv_square(rows[i].stride, 1);
        cr_assert(dt_conv_infer(&t.node) == DT_OK);
        cr_assert(fits(&t) == rows[i].fits, "%s: fits is %d", rows[i].why, fits(&t));
    }
    winograd_case real = { "real values", 1, 4, 4, 16, 16, 0, 0, 0, SPREAD, SPREAD };
    winograd_node t;
    node_make(&t, &real, DT_F32, DT_F32);
    t.x.n_scale = t.w.n_scale = t.y.n_scale = 0;
    cr_assert(!fits(&t), "real values have no codes");
}
