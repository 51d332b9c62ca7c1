/*
 * test_observe.c - percentile, squared error and entropy: each range is found here in another way, by sorting, by
 * trying on the values themselves, or from the definition.
 */
#include "../support/calibration_rig.h"
#include "../../quant/observe.h"

/* A bin of a histogram is at most this share of the largest magnitude. */
static const double bin_share = 1.0 / 8192;

static void expect_percentile(const char *why, dt_range got, const float *x, double percent)
{
    const int k = (int)ceil(N * percent / 100.0 - 1e-6);
    const double most = fmax(fabs((double)x[0]), fabs((double)x[N - 1]));
    const double max = (double)x[k - 1], min = (double)x[N - k];
    cr_assert((double)got.max >= max && (double)got.max <= max + bin_share * most, "%s, %g %%: max is %g, expected %g",
              why, percent, (double)got.max, max);
    cr_assert((double)got.min <= min && (double)got.min >= min - bin_share * most, "%s, %g %%: min is %g, expected %g",
              why, percent, (double)got.min, min);
}

Test(observe, percentile_is_that_of_the_sorted_values)
{
    static const double percents[] = { 99.99, 99.9, 99.0, 90.0, 60.0, 50.5 };
    rig r = rig_open(1);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_PERCENTILE, .percent = percents[i] });
        expect_percentile("image", range_of(&r, "image"), sorted(heavy_images()), percents[i]);
        expect_percentile("relu", range_of(&r, "relu"), sorted(relu_of(heavy_images())), percents[i]);
    }
    const double outside = r.seen[value_of(&r, "image")].outside;
    cr_assert(outside > 0.97 && outside <= 1.0, "between the 49.5th and the 50.5th lies a hundredth, outside is %g",
              outside);
    rig_close(&r);
}

Test(observe, all_percent_are_the_extremes_and_99_99_is_the_default)
{
    rig r = rig_open(1);
    const float *x = sorted(heavy_images());
    calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_PERCENTILE, .percent = 100.0 });
    const dt_range image = range_of(&r, "image");
    cr_assert(image.min == x[0] && image.max == x[N - 1]);
    calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_PERCENTILE });
    expect_percentile("default", range_of(&r, "image"), x, 99.99);
    rig_close(&r);
}

/* Sum of squared errors of the values themselves, each rounded to its code. */
static double error_by_hand(const float *x, double lo, double hi, int bits)
{
    const double last = (1 << bits) - 1, s = (hi - lo) / last, z = round(-lo / s);
    double sum = 0.0;
    for (int i = 0; i < N; i++) {
        const double q = fmin(fmax(nearbyint((double)x[i] / s) + z, 0.0), last), e = (double)x[i] - s * (q - z);
        sum += e * e;
    }
    return sum;
}

static void expect_least_error(const char *why, dt_range got, const float *x, int bits, double gain)
{
    const float *order = sorted(x);
    const double lo = fmin((double)order[0], 0.0), hi = (double)order[N - 1];
    const double is = error_by_hand(x, (double)got.min, (double)got.max, bits);
    double least = INFINITY;
    for (int a = lo < 0.0 ? 1 : 100; a <= 100; a++) {
        for (int b = 1; b <= 100; b++) least = fmin(least, error_by_hand(x, lo * a / 100, hi * b / 100, bits));
    }
    /* a value is up to half a bin from the bin's middle, which is below 1/500 of a step of 4 bits */
    cr_assert(is <= 1.01 * least, "%s, %d bits: the error of %g..%g is %g, the least %g", why, bits, (double)got.min,
              (double)got.max, is, least);
    cr_assert(is < gain * error_by_hand(x, lo, hi, bits), "%s, %d bits: the search gains nothing", why, bits);
}

Test(observe, mse_is_the_least_error_of_all_candidates)
{
    rig r = rig_open(1);
    for (int bits = 2; bits <= 4; bits++) {
        calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_MSE, .bits = bits });
        expect_least_error("image", range_of(&r, "image"), heavy_images(), bits, 0.9);
        expect_least_error("relu", range_of(&r, "relu"), relu_of(heavy_images()), bits, bits < 4 ? 0.9 : 1.01);
    }
    rig_close(&r);
}

/* From the definition: P and Q are arrays, each divided by its sum. */
static double divergence_by_hand(const int64_t *count, int n, int keep, int levels)
{
    static double p[DT_ENTROPY_BINS], q[DT_ENTROPY_BINS], sum[256], in_use[256];
    double p_sum = 0.0, q_sum = 0.0, result = 0.0;
    for (int l = 0; l < levels; l++) sum[l] = in_use[l] = 0.0;
    for (int b = 0; b < n; b++) {
        const double c = (double)count[b == 0 ? 1 : b];
        if (b < keep) {
            p[b] = c;
            sum[(int64_t)b * levels / keep] += c;
            in_use[(int64_t)b * levels / keep] += c > 0.0;
        } else {
            p[keep - 1] += c;
        }
    }
    for (int b = 0; b < keep; b++) {
        const int l = (int)((int64_t)b * levels / keep);
        q[b] = count[b == 0 ? 1 : b] > 0 ? sum[l] / in_use[l] : 0.0;
        p_sum += p[b];
        q_sum += q[b];
    }
    for (int b = 0; b < keep; b++) {
        if (p[b] > 0.0) result += q[b] > 0.0 ? p[b] / p_sum * log(p[b] / p_sum / (q[b] / q_sum)) : INFINITY;
    }
    return result;
}

/* Of equal ones, but for rounding, any may be taken. */
static void expect_least_divergence(const char *why, const int64_t *count, int n, int levels, int got)
{
    double least = INFINITY;
    int at = n;
    for (int keep = levels; keep <= n; keep++) {
        const double d = divergence_by_hand(count, n, keep, levels);
        if (d <= least) at = keep;
        least = fmin(least, d);
    }
    cr_assert(got == at || divergence_by_hand(count, n, got, levels) <= least + 1e-12,
              "%s: %d of %d bins are kept, expected %d", why, got, n, at);
}

Test(observe, entropy_keeps_the_bins_of_the_least_divergence)
{
    static const struct {
        const char *why;
        int n, levels, rare; /* of `rare` bins one has a count; 1: all have */
        double slope;        /* of the counts' logarithm */
    } cases[] = {
        { "a long tail", 48, 4, 1, 0.3 },      { "a short tail", 48, 4, 1, 0.05 }, { "even", 40, 8, 1, 0.0 },
        { "with gaps", 64, 8, 3, 0.1 },        { "odd", 37, 5, 2, 0.2 },           { "2 levels", 33, 2, 1, 0.15 },
        { "as many as levels", 8, 8, 1, 0.1 },
    };
    int n_cut = 0;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            int64_t count[64];
            draws d = { .seed = seed };
            for (int b = 0; b < cases[k].n; b++) {
                count[b] = draw(&d, cases[k].rare) ? 0 : (int64_t)(1e4 * draw_real(&d) * exp(-cases[k].slope * b));
            }
            const int got = dt_entropy_keep(count, cases[k].n, cases[k].levels);
            expect_least_divergence(cases[k].why, count, cases[k].n, cases[k].levels, got);
            n_cut += got < cases[k].n;
        }
    }
    cr_assert(n_cut > 30, "only %d of the cases cut something off", n_cut);
    const int64_t one[] = { 7 }, none[] = { 5, 0, 0, 0 };
    cr_assert(dt_entropy_keep(one, 1, 128) == 1 && dt_entropy_keep(none, 4, 2) == 4);
}

/* The magnitudes are put into the bins that observe.h promises, from the values themselves. */
static void expect_entropy(const char *why, dt_range got, const float *x, int bits)
{
    static int64_t count[DT_ENTROPY_BINS];
    const float *order = sorted(x);
    const double most = fmax(fabs((double)order[0]), (double)order[N - 1]);
    double fine = 1.0;
    while (fine * 16384 > most) fine /= 2;
    while (fine * 16384 <= most) fine *= 2;
    const int group = (int)ceil((floor(most / fine) + 1) / 2048), n = (int)(most / (fine * group)) + 1;
    memset(count, 0, sizeof count);
    for (int i = 0; i < N; i++) count[(int)(fabs((double)x[i]) / (fine * group))]++;
    cr_assert(n > 1638 && n <= 2048, "%d bins", n);
    const double t = fmax(fabs((double)got.min), fabs((double)got.max));
    const int keep = t >= most ? n : (int)round(t / (fine * group));
    expect_least_divergence(why, count, n, 1 << (bits - 1), keep);
    cr_assert(t >= most || fabs(t - keep * fine * group) < 1e-6, "%s: %g is no bin's end", why, t);
    cr_assert((double)got.min == fmax(-t, (double)order[0]) && (double)got.max == fmin(t, (double)order[N - 1]),
              "%s: %g..%g", why, (double)got.min, (double)got.max);
}

Test(observe, entropy_is_that_of_the_magnitudes)
{
    rig r = rig_open(1);
    for (int bits = 6; bits <= 8; bits += 2) {
        calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_ENTROPY, .bits = bits });
        expect_entropy("image", range_of(&r, "image"), heavy_images(), bits);
        expect_entropy("relu", range_of(&r, "relu"), relu_of(heavy_images()), bits);
    }
    rig_close(&r);
}
