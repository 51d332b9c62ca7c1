/*
 * float_gemm.c - see float_gemm.h.
 *
 * Twelve vectors of 8 sums, 6 rows of 16 columns, stay in registers while k runs. Each step takes two vectors of b and
 * one value of each row of a, which leaves two registers: loads and multiply-adds are then as many as a CPU with two of
 * each unit can start.
 *
 * Tests: tests/layers/test_float_gemm.c.
 */
#include "float_gemm.h"

#include "../../core/cpu_level.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define FMA        __attribute__((target("avx2,fma")))
#define FMA_INLINE static inline __attribute__((always_inline, target("avx2,fma")))

int dt_float_gemm_has_fma(void)
{
    return dt_cpu_level_now() >= DT_CPU_AVX2 && __builtin_cpu_supports("fma");
}

/* Computes `rows` rows of 16 columns, from row i and column j on. */
FMA_INLINE void block(const dt_float_gemm *g, int64_t i, int64_t j, int rows)
{
    const float *a = g->a + i * g->a_row, *b = g->b + j;
    __m256 sum[DT_FLOAT_ROWS][2];

#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        const float *c = g->c + (i + r) * g->c_row + j;
        sum[r][0] = g->add ? _mm256_loadu_ps(c) : _mm256_setzero_ps();
        sum[r][1] = g->add ? _mm256_loadu_ps(c + 8) : _mm256_setzero_ps();
    }
    for (int64_t k = 0; k < g->k; k++, a += g->a_step, b += g->b_row) {
        const __m256 left = _mm256_loadu_ps(b), right = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256 value = _mm256_broadcast_ss(a + r * g->a_row);
            sum[r][0] = _mm256_fmadd_ps(value, left, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(value, right, sum[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *c = g->c + (i + r) * g->c_row + j;
        _mm256_storeu_ps(c, sum[r][0]);
        _mm256_storeu_ps(c + 8, sum[r][1]);
    }
}

FMA void dt_float_gemm_run(const dt_float_gemm *g)
{
    for (int64_t j = 0; j < g->n; j += DT_FLOAT_COLUMNS) {
        int64_t i = 0;
        for (; g->m - i >= DT_FLOAT_ROWS; i += DT_FLOAT_ROWS) block(g, i, j, DT_FLOAT_ROWS);
        for (; g->m - i >= 4; i += 4) block(g, i, j, 4);
        for (; i < g->m; i++) block(g, i, j, 1);
    }
}

#else

int dt_float_gemm_has_fma(void)
{
    return 0;
}

void dt_float_gemm_run(const dt_float_gemm *g)
{
    (void)g; /* never called: see dt_float_gemm_has_fma */
}

#endif
