/*
 * test_amx_products.c - products of words by tiles (AMX): the kernels' own source on a model of the tile instructions
 * (support/amx_model.h) and on the CPU's tiles gives equal bits.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../support/amx_model.h"
#include "../support/draws.h"

#include "../../core/cpu_level.h"
#include "../../layers/gemm/word_gemm_amx.h"

static int has_tiles(void)
{
    return dt_cpu_level_now() == DT_CPU_AMX;
}

/* ---- products of words ---- */

typedef struct {
    int m, n, k, is_transposed, gap, add;
} gemm_case;

/* An operand of `words`, all bits of which may be set: NaNs and denormals too, unless they are bytes. */
static uint32_t *words_of(draws *d, size_t words)
{
    uint32_t *at = malloc(words * sizeof *at);
    for (size_t i = 0; i < words; i++) at[i] = draw_bits(d);
    return at;
}

static int is_nan_bits(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

static void check_gemm(const gemm_case *p, int is_int8)
{
    draws d = { .seed = (uint64_t)(p->m * 7 + p->n * 3 + p->k) };
    const size_t c_words = (size_t)(p->m * (p->n + p->gap));
    uint32_t *a = words_of(&d, (size_t)((p->m + p->gap) * (p->k + p->gap))),
             *b = words_of(&d, (size_t)(p->k * (p->n + p->gap))), *c = words_of(&d, c_words),
             *other = malloc(c_words * sizeof *other);
    dt_word_gemm g = { .m = p->m,
                       .n = p->n,
                       .k = p->k,
                       .a = a,
                       .b = b,
                       .b_row = p->n + p->gap,
                       .c = c,
                       .c_row = p->n + p->gap,
                       .add = p->add };

    g.a_row = p->is_transposed ? 1 : p->k + p->gap;
    g.a_step = p->is_transposed ? p->m + p->gap : 1;
    memcpy(other, c, c_words * sizeof *other);
    (is_int8 ? model_word_gemm_u8s8 : model_word_gemm_bf16)(&g);
    g.c = other;
    (is_int8 ? dt_word_gemm_amx_u8s8 : dt_word_gemm_amx_bf16)(&g);
    for (size_t i = 0; i < c_words; i++) {
        const int both_nan = !is_int8 && is_nan_bits(c[i]) && is_nan_bits(other[i]);
        cr_assert(c[i] == other[i] || both_nan, "%dx%dx%d: word %zu is %08x by the CPU, %08x by the model", p->m, p->n,
                  p->k, i, other[i], c[i]);
    }
    free(a);
    free(b);
    free(c);
    free(other);
}

/* Every bit pattern may occur: denormals, infinities, sums that wrap. */
Test(amx_products, model_of_products_is_the_cpu)
{
    static const int sizes[] = { 1, 15, 16, 17, 33 };
    int turn = 0;

    if (!has_tiles()) cr_skip_test("the CPU's level has no tiles");
    for (int m = 0; m < 5; m++) {
        for (int n = 16; n <= 64; n += 16) {
            for (int k = 0; k < 5; k++, turn++) {
                const gemm_case p = { sizes[m], n, sizes[k], turn % 2, turn % 3 * 2, turn % 4 == 1 };
                check_gemm(&p, 1);
                check_gemm(&p, 0);
            }
        }
    }
}
