/*
 * test_float_gemm.c - products of f32 matrices against 64-bit integers, with ==.
 */
#include "../support/draws.h"

#include "../../layers/gemm/float_gemm.h"

#include <criterion/criterion.h>

enum { MOST_ROWS = 13, MOST_COLUMNS = 48, MOST_STEPS = 9, GAP = 3, BEFORE = 1000 };

static float a[MOST_ROWS * (MOST_STEPS + GAP)], b[MOST_STEPS * (MOST_COLUMNS + GAP)];
static float c[(MOST_ROWS + 1) * (MOST_COLUMNS + GAP)];

static void fill(float *values, size_t n, uint64_t seed)
{
    draws d = { .seed = seed };

    for (size_t i = 0; i < n; i++) values[i] = (float)(draw(&d, 19) - 9);
}

/* c starts as BEFORE everywhere; what lies outside of the product keeps it. */
static void check(int64_t m, int64_t n, int64_t k, int is_turned, int add)
{
    const dt_float_gemm g = { .m = m,
                              .n = n,
                              .k = k,
                              .a = a,
                              .a_row = is_turned ? 1 : k + GAP,
                              .a_step = is_turned ? m : 1,
                              .b = b,
                              .b_row = n + GAP,
                              .c = c,
                              .c_row = n + GAP,
                              .add = add };

    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) c[i] = BEFORE;
    dt_float_gemm_run(&g);
    for (int64_t i = 0; i <= m; i++) {
        for (int64_t j = 0; j < n + GAP; j++) {
            const int inside = i < m && j < n;
            int64_t want = !inside || add ? BEFORE : 0;
            for (int64_t l = 0; l < k && inside; l++) {
                want += (int64_t)a[i * g.a_row + l * g.a_step] * (int64_t)b[l * g.b_row + j];
            }
            cr_assert(c[i * g.c_row + j] == (float)want, "%lld x %lld of %lld%s%s: [%lld][%lld] is %g, expected %lld",
                      (long long)m, (long long)n, (long long)k, is_turned ? ", turned" : "", add ? ", added" : "",
                      (long long)i, (long long)j, (double)c[i * g.c_row + j], (long long)want);
        }
    }
}

Test(float_gemm, products_are_the_integers)
{
    if (!dt_float_gemm_has_fma()) cr_skip_test("this CPU, its level, or this build lacks AVX2 with FMA");
    fill(a, sizeof a / sizeof a[0], 1);
    fill(b, sizeof b / sizeof b[0], 2);
    for (int64_t m = 0; m <= MOST_ROWS; m++) {
        for (int64_t n = DT_FLOAT_COLUMNS; n <= MOST_COLUMNS; n += DT_FLOAT_COLUMNS) {
            for (int64_t k = 0; k <= MOST_STEPS; k += 3) {
                for (int way = 0; way < 4; way++) check(m, n, k, way & 1, way >> 1);
            }
        }
    }
}
