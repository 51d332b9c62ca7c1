/*
 * test_word_gemm.c - products of bytes against sums in int64_t, products of bf16 against sums in double.
 *
 * Every product is placed in buffers with room between the rows, and what lies there must survive.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../support/amx_model.h"
#include "../support/draws.h"

#include "../../core/half.h"
#include "../../layers/gemm/word_gemm.h"

typedef struct {
    int m, n, k;       /* k in words */
    int is_transposed; /* a word's column lies together */
    int a_gap, b_gap, c_gap;
    int has_start, add;
} product_case;

/* Of one case. c and want include the gaps. */
typedef struct {
    dt_word_gemm g;
    uint32_t *a, *b, *c, *before, *start;
    size_t c_words;
} product_rig;

/* bf16 integers of magnitude 127 at most, of which every sum here is exact in f32 */
static uint32_t random_pair(draws *d, int is_real)
{
    uint32_t word = 0;
    for (int i = 0; i < 2; i++) {
        const float integer = (float)(draw(d, 255) - 127);
        word = word << 16 | dt_to_bf16(is_real ? integer * 0.37f + 0.011f : integer);
    }
    return word;
}

static product_rig rig_open(const product_case *p, int is_int8, int is_real)
{
    const size_t a_words = (size_t)((p->m + p->a_gap) * (p->k + p->a_gap)),
                 b_words = (size_t)(p->k * (p->n + p->b_gap));
    product_rig r = { .c_words = (size_t)(p->m * (p->n + p->c_gap)) };
    draws d = { .seed = (uint64_t)(p->m * 10007 + p->n * 101 + p->k) };

    r.a = malloc(a_words * 4);
    r.b = malloc(b_words * 4);
    r.c = malloc(r.c_words * 4);
    r.before = malloc(r.c_words * 4);
    r.start = malloc((size_t)p->n * 4);
    for (size_t i = 0; i < a_words; i++) r.a[i] = is_int8 ? draw_bits(&d) : random_pair(&d, is_real);
    for (size_t i = 0; i < b_words; i++) r.b[i] = is_int8 ? draw_bits(&d) : random_pair(&d, is_real);
    for (size_t i = 0; i < r.c_words; i++) r.c[i] = is_int8 ? draw_bits(&d) >> 8 : dt_float_bits((float)(i % 911));
    for (int i = 0; i < p->n; i++) r.start[i] = is_int8 ? draw_bits(&d) >> 8 : dt_float_bits((float)(i % 53) - 20.0f);
    memcpy(r.before, r.c, r.c_words * 4);
    r.g = (dt_word_gemm){ .m = p->m,
                          .n = p->n,
                          .k = p->k,
                          .a = r.a,
                          .b = r.b,
                          .b_row = p->n + p->b_gap,
                          .c = r.c,
                          .c_row = p->n + p->c_gap,
                          .start = p->has_start ? r.start : NULL,
                          .add = p->add };
    r.g.a_row = p->is_transposed ? 1 : p->k + p->a_gap;
    r.g.a_step = p->is_transposed ? p->m + p->a_gap : 1;
    return r;
}

static void rig_close(product_rig *r)
{
    free(r->a);
    free(r->b);
    free(r->c);
    free(r->before);
    free(r->start);
}

static uint32_t word_a(const product_rig *r, int64_t i, int64_t k)
{
    return r->a[i * r->g.a_row + k * r->g.a_step];
}

static int64_t int8_sum(const product_rig *r, int64_t i, int64_t j)
{
    int64_t sum = r->g.add ? (int32_t)r->before[i * r->g.c_row + j] : r->g.start ? (int32_t)r->start[j] : 0;
    for (int64_t k = 0; k < r->g.k; k++) {
        for (int byte = 0; byte < 4; byte++) {
            const uint32_t left = word_a(r, i, k) >> 8 * byte & 0xff,
                           right = r->b[k * r->g.b_row + j] >> 8 * byte & 0xff;
            sum += (int64_t)left * ((int64_t)right - (right > 127 ? 256 : 0));
        }
    }
    return sum;
}

/* magnitude: of the terms, which bounds what f32 rounds */
static double bf16_sum(const product_rig *r, int64_t i, int64_t j, double *magnitude)
{
    const uint32_t *from = r->g.add ? r->before + i * r->g.c_row + j : r->g.start ? r->start + j : NULL;
    double sum = from ? (double)dt_float_of_bits(*from) : 0.0;
    *magnitude = fabs(sum);
    for (int64_t k = 0; k < r->g.k; k++) {
        for (int half = 0; half < 2; half++) {
            const double left = (double)dt_from_bf16((uint16_t)(word_a(r, i, k) >> 16 * half));
            const double right = (double)dt_from_bf16((uint16_t)(r->b[k * r->g.b_row + j] >> 16 * half));
            sum += left * right;
            *magnitude += fabs(left * right);
        }
    }
    return sum;
}

typedef void product(const dt_word_gemm *g);

static void check(const product_case *p, product *multiply, int is_int8, int is_real)
{
    product_rig r = rig_open(p, is_int8, is_real);
    multiply(&r.g);
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < r.g.c_row; j++) {
            const uint32_t got = r.c[i * r.g.c_row + j], before = r.before[i * r.g.c_row + j];
            double magnitude = 0.0;
            if (j >= p->n) {
                cr_assert(got == before, "%dx%dx%d: wrote behind row %d", p->m, p->n, p->k, (int)i);
            } else if (is_int8) {
                const int64_t want = int8_sum(&r, i, j);
                cr_assert((int32_t)got == want, "%dx%dx%d: [%d][%d] is %d, expected %lld", p->m, p->n, p->k, (int)i,
                          (int)j, (int32_t)got, (long long)want);
            } else {
                const double want = bf16_sum(&r, i, j, &magnitude), value = (double)dt_float_of_bits(got);
                /* 2 k roundings of 2^-24 of a partial sum each */
                const double error = is_real ? magnitude * (double)p->k * 0x1p-23 : 0.0;
                cr_assert(fabs(value - want) <= error, "%dx%dx%d: [%d][%d] is %.9g, expected %.9g", p->m, p->n, p->k,
                          (int)i, (int)j, value, want);
            }
        }
    }
    rig_close(&r);
}

/* Every remainder of the tile's 6 rows and 4 vectors, with and without gaps, a's two directions, what c starts from. */
static void check_all(product *multiply, int is_int8, int is_real)
{
    static const int rows[] = { 1, 2, 3, 4, 5, 6, 7, 11, 12, 33 }, words[] = { 1, 2, 7, 33 };
    int turn = 0;

    for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
        for (int n = DT_WORD_COLUMNS; n <= 80; n += DT_WORD_COLUMNS) {
            for (size_t k = 0; k < sizeof words / sizeof words[0]; k++, turn++) {
                const product_case p = { .m = rows[m],
                                         .n = n,
                                         .k = words[k],
                                         .is_transposed = turn % 2,
                                         .a_gap = turn % 3 * 2,
                                         .b_gap = turn % 5 * 3,
                                         .c_gap = turn % 4 * 5,
                                         .has_start = turn % 7 < 3,
                                         .add = turn % 7 > 4 };
                check(&p, multiply, is_int8, is_real);
            }
        }
    }
}

Test(word_gemm, bytes_give_the_integers)
{
    if (!dt_word_gemm_has_int8()) cr_skip("this CPU has no AVX512-VNNI");
    check_all(dt_word_gemm_u8s8, 1, 0);
}

Test(word_gemm, bf16_integers_are_exact)
{
    if (!dt_word_gemm_has_bf16()) cr_skip("this CPU has no AVX512-BF16");
    check_all(dt_word_gemm_bf16, 0, 0);
}

Test(word_gemm, bf16_is_summed_in_f32)
{
    if (!dt_word_gemm_has_bf16()) cr_skip("this CPU has no AVX512-BF16");
    check_all(dt_word_gemm_bf16, 0, 1);
}

/* The kernel for tiles, wherever the model of their instructions runs. */
Test(word_gemm, tiles_give_the_same_by_a_model)
{
    if (!amx_model_runs()) cr_skip("this CPU has no AVX512-BF16");
    check_all(model_word_gemm_u8s8, 1, 0);
    check_all(model_word_gemm_bf16, 0, 0);
    check_all(model_word_gemm_bf16, 0, 1);
}

/* 255 * 127 * 4 a word: a 16-bit intermediate would saturate */
Test(word_gemm, the_largest_bytes_do_not_saturate)
{
    enum { WORDS = 300 };
    static uint32_t a[WORDS], b[WORDS * DT_WORD_COLUMNS];
    int32_t c[DT_WORD_COLUMNS];

    if (!dt_word_gemm_has_int8()) cr_skip("this CPU has no AVX512-VNNI");
    for (int sign = 0; sign < 2; sign++) {
        memset(a, 0xff, sizeof a);
        memset(b, sign ? 0x80 : 0x7f, sizeof b);
        dt_word_gemm_u8s8(&(dt_word_gemm){ .m = 1,
                                           .n = DT_WORD_COLUMNS,
                                           .k = WORDS,
                                           .a = a,
                                           .a_row = WORDS,
                                           .a_step = 1,
                                           .b = b,
                                           .b_row = DT_WORD_COLUMNS,
                                           .c = c,
                                           .c_row = DT_WORD_COLUMNS });
        for (int j = 0; j < DT_WORD_COLUMNS; j++) {
            cr_assert(c[j] == WORDS * 4 * 255 * (sign ? -128 : 127), "[%d] is %d", j, c[j]);
        }
    }
}
