/*
 * observe.c - see observe.h.
 *
 * Both searches use sums over the first bins, so that a candidate costs as many steps as it has levels, not bins.
 * Tests: tests/quant/test_observe.c.
 */
#include "observe.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { HALF = DT_HISTOGRAM_HALF, BINS = DT_HISTOGRAM_BINS };

static dt_range range_of(const dt_histogram *h, double min, double max)
{
    return (dt_range){ .min = (float)fmax(min, (double)h->least), .max = (float)fmin(max, (double)h->most) };
}

/* ---- percentile ---- */

/* Counts without zeros. */
static int64_t nonzero(const dt_histogram *h, int bin)
{
    return h->count[HALF + bin] - (bin == 0 ? h->n_zero : 0);
}

/* Upper end of the bin of the k-th smallest value. */
static double end_of_smallest(const dt_histogram *h, int64_t k)
{
    int64_t n = 0;

    for (int i = -HALF; i < HALF; i++) {
        if (i == 0 && (n += h->n_zero) >= k) return 0.0;
        if ((n += nonzero(h, i)) >= k) return (i + 1) * dt_histogram_width(h);
    }
    return (double)h->most;
}

/* Lower end of the bin of the k-th largest value. */
static double end_of_largest(const dt_histogram *h, int64_t k)
{
    int64_t n = 0;

    for (int i = HALF - 1; i >= -HALF; i--) {
        if ((n += nonzero(h, i)) >= k) return i * dt_histogram_width(h);
        if (i == 0 && (n += h->n_zero) >= k) return 0.0;
    }
    return (double)h->least;
}

dt_range dt_observe_percentile(const dt_histogram *h, double percent)
{
    /* 99.99 of 10,000 values are 9,999, whatever the quotient's last digit */
    const int64_t k = (int64_t)ceil((double)h->n * percent / 100.0 - 1e-6);
    assert(h->n > 0 && percent > 50.0 && percent <= 100.0);

    return range_of(h, end_of_largest(h, k), end_of_smallest(h, k));
}

/* ---- squared error ---- */

/* Sums over the bins before index i: of 1, x and x^2, where x is the middle of a bin. Zeros are left out, because they
 * have no error. */
typedef struct {
    double n, x, xx;
} moments;

static void moments_of(const dt_histogram *h, moments *sum)
{
    const double width = dt_histogram_width(h);

    sum[0] = (moments){ 0 };
    for (int i = 0; i < BINS; i++) {
        const double n = (double)nonzero(h, i - HALF), x = (i - HALF + 0.5) * width;
        sum[i + 1] = (moments){ sum[i].n + n, sum[i].x + n * x, sum[i].xx + n * x * x };
    }
}

/* Index of the first bin whose middle is at or above x. */
static int bin_at(double x, double width)
{
    const double i = ceil(x / width - 0.5) + HALF;

    return i <= 0.0 ? 0 : i >= BINS ? BINS : (int)i;
}

/* Sum of the squared errors of codes 0 .. last over lo..hi. */
static double error_of(const moments *sum, double width, double lo, double hi, int last)
{
    const double s = (hi - lo) / last, z = round(-lo / s);
    double error = 0.0;
    int from = 0;

    for (int q = 0; q <= last; q++) {
        const double r = s * (q - z);
        const int to = q == last ? BINS : bin_at(r + 0.5 * s, width);
        const moments *a = &sum[from], *b = &sum[to];
        if (to > from) error += (b->xx - a->xx) - 2.0 * r * (b->x - a->x) + r * r * (b->n - a->n);
        from = to;
    }
    return error;
}

/* The steps of an end that is 0 are all the same. */
static int first_step(double end)
{
    return end == 0.0 ? DT_MSE_STEPS : 1;
}

dt_status dt_observe_mse(const dt_histogram *h, int bits, dt_range *out)
{
    const double lo = fmin((double)h->least, 0.0), hi = fmax((double)h->most, 0.0), width = dt_histogram_width(h);
    dt_range best = { (float)lo, (float)hi };
    double least = INFINITY;

    if (lo < hi) {
        moments *sum = malloc((BINS + 1) * sizeof *sum);
        DT_CHECK(sum, DT_ERR_MEMORY, "no memory to search a range");
        moments_of(h, sum);
        for (int a = DT_MSE_STEPS; a >= first_step(lo); a--) {
            for (int b = DT_MSE_STEPS; b >= first_step(hi); b--) {
                const double from = lo * a / DT_MSE_STEPS, to = hi * b / DT_MSE_STEPS;
                const double error = error_of(sum, width, from, to, (1 << bits) - 1);
                if (error >= least) continue;
                least = error;
                best = (dt_range){ (float)from, (float)to };
            }
        }
        free(sum);
    }
    *out = best;
    return DT_OK;
}

/* ---- entropy ---- */

/* Sums over the first i bins, of counts and of bins that have one. */
typedef struct {
    double count, in_use, log; /* log: of count * log(count) */
} levels_sum;

static double n_log_n(double n)
{
    return n > 0.0 ? n * log(n) : 0.0;
}

/* First bin of level l, of i bins in all. */
static int level_begin(int l, int i, int levels)
{
    return (int)(((int64_t)l * i + levels - 1) / levels);
}

/* The divergence where i bins are kept; infinite if Q is 0 where P is not. With p and q not divided by their sums T
 * and K, it is (sum p log p - sum p log q) / T - log(T / K). */
static double divergence(const levels_sum *sum, int n, int i, int levels)
{
    const double total = sum[n].count, kept = sum[i].count, further = total - kept;
    const double last = kept - sum[i - 1].count;
    double p_log_q = 0.0;

    if (kept == 0.0 || (last == 0.0 && further > 0.0)) return INFINITY;
    for (int l = 0; l < levels; l++) {
        const levels_sum *a = &sum[level_begin(l, i, levels)], *b = &sum[level_begin(l + 1, i, levels)];
        const double in_level = b->count - a->count;
        if (in_level == 0.0) continue;
        p_log_q += (in_level + (l == levels - 1 ? further : 0.0)) * log(in_level / (b->in_use - a->in_use));
    }
    const double p_log_p = sum[i - 1].log + n_log_n(last + further);
    return (p_log_p - p_log_q) / total - log(total / kept);
}

int dt_entropy_keep(const int64_t *count, int n, int levels)
{
    levels_sum sum[DT_ENTROPY_BINS + 1] = { { 0 } };
    double least = INFINITY;
    int keep = n;
    assert(n <= DT_ENTROPY_BINS);

    for (int i = 0; i < n; i++) {
        const double c = (double)count[i == 0 && n > 1 ? 1 : i];
        sum[i + 1] = (levels_sum){ sum[i].count + c, sum[i].in_use + (c > 0.0), sum[i].log + n_log_n(c) };
    }
    for (int i = levels; i <= n && sum[n].count > 0.0; i++) {
        const double d = divergence(sum, n, i, levels);
        if (d > least || d == INFINITY) continue;
        least = d;
        keep = i;
    }
    return keep;
}

dt_range dt_observe_entropy(const dt_histogram *h, int bits)
{
    const double magnitude = fmax(fabs((double)h->least), fabs((double)h->most));
    const int used = (int)(magnitude / dt_histogram_width(h)) + 1;
    const int group = (used + DT_ENTROPY_BINS - 1) / DT_ENTROPY_BINS, n = (used + group - 1) / group;
    int64_t count[DT_ENTROPY_BINS] = { 0 };

    for (int i = 0; i < used && i < HALF; i++) count[i / group] += h->count[HALF + i] + h->count[HALF + ~i];
    const double t = dt_entropy_keep(count, n, 1 << (bits - 1)) * (double)group * dt_histogram_width(h);
    return range_of(h, -t, t);
}
