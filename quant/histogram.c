/*
 * histogram.c - see histogram.h.
 *
 * Threads count in tables of their own. Sums of counts are exact, so the number of threads changes nothing.
 * Tests: tests/quant/test_calibrate.c, tests/quant/test_observe.c.
 */
#include "histogram.h"

#include "../core/threads.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HALF = DT_HISTOGRAM_HALF,
    HALF_LOG = 14,
    NARROWEST = -126, /* exponent at which 1 / width is still a float */
    BLOCK = 16384,    /* values of a thread's turn */
    AT_ONCE = 256
};
_Static_assert(HALF == 1 << HALF_LOG, "bins double");

dt_histogram *dt_histogram_create(void)
{
    dt_histogram *h = calloc(1, sizeof *h);

    if (h) h->exponent = NARROWEST;
    return h;
}

double dt_histogram_width(const dt_histogram *h)
{
    return ldexp(1.0, h->exponent);
}

dt_span dt_span_of(const float *x, int64_t n)
{
    float least = x[0], most = x[0];
    int32_t n_zero = 0, n_bad = 0; /* n is an image's, below 2^31 */
    assert(n >= 1 && n <= INT32_MAX);

#pragma omp simd reduction(min : least) reduction(max : most) reduction(+ : n_zero, n_bad)
    for (int64_t i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
        n_zero += x[i] == 0.0f;
        n_bad += !(fabsf(x[i]) <= FLT_MAX);
    }
    return (dt_span){ .least = least + 0.0f, .most = most + 0.0f, .n_zero = n_zero, .all_finite = n_bad == 0 };
}

/* The least exponent whose bins hold the magnitude. */
static int exponent_for(float magnitude)
{
    int e;

    frexpf(magnitude, &e); /* magnitude < 2^e = HALF 2^(e - HALF_LOG) */
    return magnitude > 0.0f && e - HALF_LOG > NARROWEST ? e - HALF_LOG : NARROWEST;
}

/* floor(i / 2^shift) */
static int shifted(int i, int shift)
{
    return i >= 0 ? i >> shift : ~(~i >> shift);
}

/* Bins move towards 0, nearest first, so that none is counted twice. */
static void grow(dt_histogram *h, int exponent)
{
    const int wider = exponent - h->exponent, shift = wider > HALF_LOG ? HALF_LOG : wider;
    int64_t *bin = h->count + HALF;

    if (wider <= 0) return;
    for (int i = 1; i < HALF; i++) {
        const int64_t above = bin[i], below = bin[~i];
        bin[i] = bin[~i] = 0;
        bin[shifted(i, shift)] += above;
        bin[shifted(~i, shift)] += below;
    }
    h->exponent = exponent;
}

/* x * per_bin is exact, or so small that its bin is 0 or -1 either way. */
static int bin_of(float x, float per_bin)
{
    const float t = x * per_bin;
    const int whole = (int)t;

    return whole - ((t < (float)whole) | ((t == 0.0f) & (x < 0.0f))); /* no branch on x, whose sign nobody can guess */
}

/* The bins of a few values at once, which the compiler computes in vectors, then their counts. */
static void count_block(const float *x, int64_t n, float per_bin, uint32_t *count)
{
    int32_t bin[AT_ONCE];

    for (; n > 0; x += AT_ONCE, n -= AT_ONCE) {
        const int some = n < AT_ONCE ? (int)n : AT_ONCE;
        for (int i = 0; i < some; i++) bin[i] = HALF + bin_of(x[i], per_bin);
        for (int i = 0; i < some; i++) count[bin[i]]++;
    }
}

void dt_histogram_add(dt_histogram *h, const float *x, int64_t n, const dt_span *span, uint32_t *room)
{
    const float magnitude = fmaxf(fabsf(span->least), fabsf(span->most));
    const int64_t n_blocks = (n + BLOCK - 1) / BLOCK;
    const int n_workers = dt_threads_now();
    assert(span->all_finite && n <= INT32_MAX);

    grow(h, exponent_for(magnitude));
    const float per_bin = ldexpf(1.0f, -h->exponent);
    const int first = HALF + bin_of(span->least, per_bin), last = HALF + bin_of(span->most, per_bin);
    const size_t bytes = (size_t)(last - first + 1) * sizeof *room;
    for (int w = 0; w < n_workers; w++) memset(room + (size_t)w * DT_HISTOGRAM_BINS + first, 0, bytes);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < n_blocks; b++) {
        const int64_t at = b * BLOCK;
        count_block(x + at, n - at < BLOCK ? n - at : BLOCK, per_bin,
                    room + (size_t)dt_thread_number() * DT_HISTOGRAM_BINS);
    }
    for (int w = 0; w < n_workers; w++) {
        for (int i = first; i <= last; i++) h->count[i] += room[(size_t)w * DT_HISTOGRAM_BINS + (size_t)i];
    }
    h->least = h->n == 0 || span->least < h->least ? span->least : h->least;
    h->most = h->n == 0 || span->most > h->most ? span->most : h->most;
    h->n += n;
    h->n_zero += span->n_zero;
}
