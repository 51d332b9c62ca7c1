/*
 * word_gemm_amx.c - see word_gemm_amx.h.
 *
 * Four tiles of sums, 32 rows of c by 32 columns, stay in tiles 0 to 3 while k runs. Tiles 4 and 5 hold 32 rows of a,
 * and 6 and 7 as many columns of b. What is no whole tile of an operand is copied to one whose rest is 0.
 *
 * Tests: tests/layers/test_word_gemm.c, tests/layers/test_amx_products.c.
 */
#include "word_gemm_amx.h"

#include "amx.h"

#if defined(__x86_64__)

#include <string.h>

enum { ROWS = DT_AMX_ROWS, WORDS = DT_AMX_ROWS /* of a row */ };

typedef struct {
    uint32_t word[DT_AMX_WORDS];
} __attribute__((aligned(64))) tile;

/* Where a tile of an operand lies, and the bytes from row to row. */
typedef struct {
    const void *at;
    int64_t bytes;
} place;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Words k .. k + 15 of rows i .. i + 15 of a: where they lie, or copied to `copy`. */
static inline place rows_of(const dt_word_gemm *g, int64_t i, int64_t k, tile *copy)
{
    const uint32_t *from = g->a + i * g->a_row + k * g->a_step;
    const int64_t rows = least(ROWS, g->m - i), words = least(WORDS, g->k - k);

    if (g->a_step == 1 && rows == ROWS && words == WORDS) return (place){ from, 4 * g->a_row };
    if (rows < ROWS || words < WORDS) memset(copy, 0, sizeof *copy);
    for (int64_t w = 0; w < words; w++) {
        for (int64_t r = 0; r < rows; r++) copy->word[r * WORDS + w] = from[r * g->a_row + w * g->a_step];
    }
    return (place){ copy, DT_AMX_ROW_BYTES };
}

/* Words k .. k + 15 of columns j .. j + 15 of b. */
static inline place columns_of(const dt_word_gemm *g, int64_t j, int64_t k, tile *copy)
{
    const uint32_t *from = g->b + k * g->b_row + j;
    const int64_t words = least(WORDS, g->k - k);

    if (words == WORDS) return (place){ from, 4 * g->b_row };
    memset(copy, 0, sizeof *copy);
    for (int64_t w = 0; w < words; w++)
        memcpy(copy->word + w * DT_WORD_COLUMNS, from + w * g->b_row, sizeof *from * 16);
    return (place){ copy, DT_AMX_ROW_BYTES };
}

/* What 16 rows of c from (i, j) on begin with. */
static inline place start_of(const dt_word_gemm *g, int64_t i, int64_t j, tile *copy)
{
    const uint32_t *c = (const uint32_t *)g->c + i * g->c_row + j;
    const int64_t rows = least(ROWS, g->m - i);

    if (!g->add) return (place){ g->start ? (const uint32_t *)g->start + j : NULL, 0 };
    if (rows == ROWS) return (place){ c, 4 * g->c_row };
    memset(copy, 0, sizeof *copy);
    for (int64_t r = 0; r < rows; r++) memcpy(copy->word + r * 16, c + r * g->c_row, sizeof *c * 16);
    return (place){ copy, DT_AMX_ROW_BYTES };
}

#define START(t, i, j)                                \
    do {                                              \
        const place p_ = start_of(g, i, j, &copy[0]); \
        if (p_.at)                                    \
            DT_AMX_LOAD(t, p_.at, p_.bytes);          \
        else                                          \
            DT_AMX_ZERO(t);                           \
    } while (0)

#define FINISH(t, i, j)                                                                    \
    do {                                                                                   \
        uint32_t *c_ = (uint32_t *)g->c + (i)*g->c_row + (j);                              \
        const int64_t rows_ = least(ROWS, g->m - (i));                                     \
        if (rows_ == ROWS) {                                                               \
            DT_AMX_STORE(t, c_, 4 * g->c_row);                                             \
        } else {                                                                           \
            DT_AMX_STORE(t, &copy[0], DT_AMX_ROW_BYTES);                                   \
            for (int64_t r_ = 0; r_ < rows_; r_++)                                         \
                memcpy(c_ + r_ * g->c_row, copy[0].word + r_ * 16, sizeof(uint32_t) * 16); \
        }                                                                                  \
    } while (0)

#define DOT(c, a, b)              \
    do {                          \
        if (is_int8)              \
            DT_AMX_U8S8(c, a, b); \
        else                      \
            DT_AMX_BF16(c, a, b); \
    } while (0)

#define LOAD(t, place_)                  \
    do {                                 \
        const place p_ = place_;         \
        DT_AMX_LOAD(t, p_.at, p_.bytes); \
    } while (0)

/* c[i .. i + 16 down)[j .. j + 16 across); all but g, i and j are constants where this is inlined */
static inline __attribute__((always_inline)) DT_AMX_CODE void block(const dt_word_gemm *g, int64_t i, int64_t j,
                                                                    int down, int across, int is_int8)
{
    tile copy[4];

    START(0, i, j);
    if (across > 1) START(1, i, j + 16);
    if (down > 1) START(2, i + ROWS, j);
    if (down > 1 && across > 1) START(3, i + ROWS, j + 16);
    for (int64_t k = 0; k < g->k; k += WORDS) {
        LOAD(4, rows_of(g, i, k, &copy[0]));
        LOAD(6, columns_of(g, j, k, &copy[2]));
        DOT(0, 4, 6);
        if (across > 1) {
            LOAD(7, columns_of(g, j + 16, k, &copy[3]));
            DOT(1, 4, 7);
        }
        if (down > 1) {
            LOAD(5, rows_of(g, i + ROWS, k, &copy[1]));
            DOT(2, 5, 6);
            if (across > 1) DOT(3, 5, 7);
        }
    }
    FINISH(0, i, j);
    if (across > 1) FINISH(1, i, j + 16);
    if (down > 1) FINISH(2, i + ROWS, j);
    if (down > 1 && across > 1) FINISH(3, i + ROWS, j + 16);
}

static inline __attribute__((always_inline)) DT_AMX_CODE void product(const dt_word_gemm *g, int is_int8)
{
    dt_amx_take();
    for (int64_t j = 0; j < g->n; j += 32) {
        for (int64_t i = 0; i < g->m; i += 2 * ROWS) {
            const int down = g->m - i > ROWS, across = g->n - j > 16;
            if (down && across)
                block(g, i, j, 2, 2, is_int8);
            else if (down)
                block(g, i, j, 2, 1, is_int8);
            else if (across)
                block(g, i, j, 1, 2, is_int8);
            else
                block(g, i, j, 1, 1, is_int8);
        }
    }
    dt_amx_release();
}

DT_AMX_CODE void dt_word_gemm_amx_bf16(const dt_word_gemm *g)
{
    product(g, 0);
}

DT_AMX_CODE void dt_word_gemm_amx_u8s8(const dt_word_gemm *g)
{
    product(g, 1);
}

#else

void dt_word_gemm_amx_bf16(const dt_word_gemm *g)
{
    (void)g; /* never called: the level of such a CPU is scalar */
}

void dt_word_gemm_amx_u8s8(const dt_word_gemm *g)
{
    (void)g;
}

#endif
