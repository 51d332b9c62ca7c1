/*
 * conv_integers.c - y of a convolution of codes, summed as 32-bit integers: what f32 does not hold, on a CPU that does
 *                   not multiply bytes.
 *
 * Codes are kept in 16 bits. The products of two neighbouring codes are one addition for the CPU (pmaddwd), which any
 * x86-64 has; with AVX2 it takes 16 codes at once. Both are made of the same C, which other machines compile too. A
 * psum is exact, and is rounded to f32 once, so y has the bits of the plain loops.
 *
 * A worker takes rows of y. It gathers the codes that POSITIONS windows see, and multiplies each filter by all of them
 * while the filter is in the cache.
 *
 * The mathematics is in conv.c.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c,
 * tests/layers/test_conv_choice.c.
 */
#include "conv_kernels.h"

#include "../../core/cpu_level.h"
#include "../../core/threads.h"

#include <math.h>
#include <string.h>

enum { POSITIONS = 4, FILTERS = 2, LANES = 16 };

/* A code's largest magnitude. */
static double most(const dt_tensor *t)
{
    return fmax(fabs((double)t->qmin), fabs((double)t->qmax));
}

static const char *integers_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    (void)ex;

    if (direction != DT_CONV_Y) return "y alone";
    if (x->n_scale == 0 || w->n_scale == 0) return "no codes";
    if (dt_conv_group_channels(&s) == 1 && s.groups > 1) return "one channel a group";
    if (most(x) > INT16_MAX || most(w) > INT16_MAX) return "codes past 16 bits";
    return NULL; /* conv.c has refused psums past 32 bits */
}

/* Codes of a window, with zeros behind them. */
static int64_t padded_terms(const dt_conv_shape *s)
{
    return (s->terms + LANES - 1) / LANES * LANES;
}

/* [filters][workers' windows] */
static dt_status integers_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    (void)ex;

    share->scratch_bytes = (size_t)((s.K + FILTERS + POSITIONS * share->threads) * padded_terms(&s)) * sizeof(int16_t);
    return DT_OK;
}

/* n values of a tensor, from value `first` on. */
static void to_words(const dt_tensor *t, int64_t first, int64_t n, int16_t *to)
{
    const float *f = (const float *)t->data + first;
    const uint8_t *u = (const uint8_t *)t->data + first;
    const int8_t *i = (const int8_t *)t->data + first;

    switch (t->type) {
    case DT_U8:
        for (int64_t k = 0; k < n; k++) to[k] = u[k];
        break;
    case DT_I8:
        for (int64_t k = 0; k < n; k++) to[k] = i[k];
        break;
    default:
        for (int64_t k = 0; k < n; k++) to[k] = (int16_t)f[k];
    }
}

/* The sums of FILTERS filters with POSITIONS windows. It is inlined into a function for each level of CPU. gcc makes
 * pmaddwd of these sums of products; it does not where a pragma asks for the reduction. */
static inline __attribute__((always_inline)) void multiply(const int16_t *w, const int16_t *x, int64_t terms,
                                                           int32_t sum[FILTERS][POSITIONS])
{
    const int16_t *w0 = w, *w1 = w + terms, *x0 = x, *x1 = x + terms, *x2 = x + 2 * terms, *x3 = x + 3 * terms;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;

    for (int64_t i = 0; i < terms; i++) {
        a0 += w0[i] * x0[i];
        a1 += w0[i] * x1[i];
        a2 += w0[i] * x2[i];
        a3 += w0[i] * x3[i];
        b0 += w1[i] * x0[i];
        b1 += w1[i] * x1[i];
        b2 += w1[i] * x2[i];
        b3 += w1[i] * x3[i];
    }
    const int32_t sums[FILTERS][POSITIONS] = { { a0, a1, a2, a3 }, { b0, b1, b2, b3 } };
    memcpy(sum, sums, sizeof sums);
}

typedef void multiply_by(const int16_t *w, const int16_t *x, int64_t terms, int32_t sum[FILTERS][POSITIONS]);

static void multiply_plain(const int16_t *w, const int16_t *x, int64_t terms, int32_t sum[FILTERS][POSITIONS])
{
    multiply(w, x, terms, sum);
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) static void multiply_avx2(const int16_t *w, const int16_t *x, int64_t terms,
                                                          int32_t sum[FILTERS][POSITIONS])
{
    multiply(w, x, terms, sum);
}

static multiply_by *multiply_now(void)
{
    return dt_cpu_level_now() >= DT_CPU_AVX2 ? multiply_avx2 : multiply_plain;
}

#else

static multiply_by *multiply_now(void)
{
    return multiply_plain;
}

#endif

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    multiply_by *multiply;
    int64_t terms;    /* padded */
    const int16_t *w; /* [K, and FILTERS - 1 more][terms] */
    int16_t *x;       /* [POSITIONS][terms] the worker's */
} integers;

/* The codes that group g sees in the window of output (p, q) of image n; zeros outside of the map. */
static void gather(const integers *c, int64_t n, int64_t p, int64_t q, int64_t g, int16_t *to)
{
    const dt_conv_shape *s = &c->s;
    const int64_t channels = dt_conv_group_channels(s);

    for (int64_t tap = 0; tap < s->R * s->S; tap++, to += channels) {
        const int64_t h = dt_conv_reach(s, 0, p, tap / s->S), v = dt_conv_reach(s, 1, q, tap % s->S);
        if (h < 0 || h >= s->H || v < 0 || v >= s->W)
            memset(to, 0, (size_t)channels * sizeof *to);
        else
            to_words(c->node->in[0], ((n * s->H + h) * s->W + v) * s->C + g * channels, channels, to);
    }
}

/* Outputs q .. q + POSITIONS - 1 of a row, of one group. Windows behind the row's end are those of others before. */
static void group_at(const integers *c, int64_t row, int64_t q, int64_t g)
{
    const dt_conv_shape *s = &c->s;
    const int64_t filters = s->K / s->groups, n = s->Q - q < POSITIONS ? s->Q - q : POSITIONS;
    float *y = (float *)c->node->out->data + (row * s->Q + q) * s->K;
    int32_t sum[FILTERS][POSITIONS];

    for (int64_t i = 0; i < n; i++) gather(c, row / s->P, row % s->P, q + i, g, c->x + i * c->terms);
    for (int64_t k = g * filters; k < (g + 1) * filters; k += FILTERS) {
        const int64_t most_filters = (g + 1) * filters - k < FILTERS ? (g + 1) * filters - k : FILTERS;
        c->multiply(c->w + k * c->terms, c->x, c->terms, sum);
        for (int64_t f = 0; f < most_filters; f++) {
            for (int64_t i = 0; i < n; i++) y[i * s->K + k + f] = (float)sum[f][i];
        }
    }
}

static dt_status integers_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int64_t terms = padded_terms(&s);
    int16_t *const w = ex->scratch, *const windows = w + (s.K + FILTERS) * terms;
    (void)share, (void)directions;

    memset(w, 0, (size_t)((s.K + FILTERS + POSITIONS * share->threads) * terms) * sizeof *w);
    for (int64_t k = 0; k < s.K; k++) to_words(node->in[1], k * s.terms, s.terms, w + k * terms);
#pragma omp parallel for
    for (int64_t row = 0; row < s.N * s.P; row++) {
        const integers c = { node, s, multiply_now(), terms, w, windows + dt_thread_number() * POSITIONS * terms };
        for (int64_t q = 0; q < s.Q; q += POSITIONS) {
            for (int64_t g = 0; g < s.groups; g++) group_at(&c, row, q, g);
        }
    }
    return DT_OK;
}

const dt_conv_kernel dt_conv_integers = {
    .name = "integers",
    .refuses = integers_refuses,
    .prepare = integers_prepare,
    .run = integers_run,
};
