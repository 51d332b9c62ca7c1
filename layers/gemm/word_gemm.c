/*
 * word_gemm.c - see word_gemm.h.
 *
 * By vectors, a block of c, ROWS rows of up to VECTORS vectors, stays in registers while k runs. Each word of a is
 * broadcast once, and each vector of b is read once for ROWS products.
 *
 * Tests: tests/layers/test_word_gemm.c.
 */
#include "word_gemm_amx.h"

#include "../../core/cpu_level.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define WORDS __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")))

enum { ROWS = 6, VECTORS = 4 };

int dt_word_gemm_has_bf16(void)
{
    return dt_cpu_has_bf16();
}

int dt_word_gemm_has_int8(void)
{
    return dt_cpu_has_vnni();
}

/* gcc 12 copies the accumulator around the intrinsics of these two instructions, which halves the speed */
static inline WORDS __m512i dot_bf16(__m512i sum, __m512i a, __m512i b)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

static inline WORDS __m512i dot_u8s8(__m512i sum, __m512i a, __m512i b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

/* What a tile of c starts from. */
static inline WORDS __m512i start_of(const dt_word_gemm *g, const uint32_t *c, int64_t j)
{
    if (g->add) return _mm512_loadu_si512(c);
    if (g->start) return _mm512_loadu_si512((const uint32_t *)g->start + j);
    return _mm512_setzero_si512();
}

/* c[i .. i + rows)[j .. j + 16 vectors); all but g are constants wherever this is inlined */
static inline __attribute__((always_inline)) WORDS void tile(const dt_word_gemm *g, int64_t i, int64_t j, int rows,
                                                             int vectors, int is_int8)
{
    const uint32_t *a = g->a + i * g->a_row, *b = g->b + j;
    uint32_t *c = (uint32_t *)g->c + i * g->c_row + j;
    __m512i sum[ROWS][VECTORS];

#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[r][v] = start_of(g, c + r * g->c_row + 16 * v, j + 16 * v);
    }
    for (int64_t k = 0; k < g->k; k++, a += g->a_step, b += g->b_row) {
        __m512i right[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) right[v] = _mm512_loadu_si512(b + 16 * v);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m512i left = _mm512_set1_epi32((int)a[r * g->a_row]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = is_int8 ? dot_u8s8(sum[r][v], left, right[v]) : dot_bf16(sum[r][v], left, right[v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) _mm512_storeu_si512(c + r * g->c_row + 16 * v, sum[r][v]);
    }
}

/* All rows of the columns from j on; vectors is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) WORDS void columns(const dt_word_gemm *g, int64_t j, int vectors,
                                                                int is_int8)
{
    int64_t i = 0;

    for (; i + ROWS <= g->m; i += ROWS) tile(g, i, j, ROWS, vectors, is_int8);
    switch (g->m - i) {
    case 5: tile(g, i, j, 5, vectors, is_int8); break;
    case 4: tile(g, i, j, 4, vectors, is_int8); break;
    case 3: tile(g, i, j, 3, vectors, is_int8); break;
    case 2: tile(g, i, j, 2, vectors, is_int8); break;
    case 1: tile(g, i, j, 1, vectors, is_int8); break;
    default: break;
    }
}

static inline __attribute__((always_inline)) WORDS void product(const dt_word_gemm *g, int is_int8)
{
    int64_t j = 0;

    for (; j + 16 * VECTORS <= g->n; j += 16 * VECTORS) columns(g, j, VECTORS, is_int8);
    switch ((g->n - j) / 16) {
    case 3: columns(g, j, 3, is_int8); break;
    case 2: columns(g, j, 2, is_int8); break;
    case 1: columns(g, j, 1, is_int8); break;
    default: break;
    }
}

static WORDS void vectors_bf16(const dt_word_gemm *g)
{
    product(g, 0);
}

static WORDS void vectors_u8s8(const dt_word_gemm *g)
{
    product(g, 1);
}

void dt_word_gemm_bf16(const dt_word_gemm *g)
{
    if (dt_cpu_level_now() == DT_CPU_AMX)
        dt_word_gemm_amx_bf16(g);
    else
        vectors_bf16(g);
}

void dt_word_gemm_u8s8(const dt_word_gemm *g)
{
    if (dt_cpu_level_now() == DT_CPU_AMX)
        dt_word_gemm_amx_u8s8(g);
    else
        vectors_u8s8(g);
}

#else

int dt_word_gemm_has_bf16(void)
{
    return 0;
}

int dt_word_gemm_has_int8(void)
{
    return 0;
}

void dt_word_gemm_bf16(const dt_word_gemm *g)
{
    (void)g; /* never called: see dt_word_gemm_has_bf16 */
}

void dt_word_gemm_u8s8(const dt_word_gemm *g)
{
    (void)g;
}

#endif
