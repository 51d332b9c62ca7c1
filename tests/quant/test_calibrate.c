/*
 * test_calibrate.c - ranges of values on known images: each observer's answer is found by this file in another way, by
 * sorting, by trying, or from the definition. What images, batches, threads and order do and do not change.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "../support/draws.h"
#include "../support/tiny_run.h"
#include "../../models/build.h"
#include "../../quant/calibrate.h"
#include "../../quant/observe.h"

enum { HEIGHT = 5, WIDTH = 7, CHANNELS = 3, IMAGE = HEIGHT * WIDTH * CHANNELS, IMAGES = 37, N = IMAGES * IMAGE };
enum { N_OBSERVERS = 5 };

/* A bin of a histogram is at most this share of the largest magnitude. */
static const double bin_share = 1.0 / 8192;

static dt_context *open_context(int threads)
{
    dt_options o;
    dt_context *ctx;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    o.threads = threads;
    MUST(dt_context_create(&o, &ctx));
    return ctx;
}

/* image, relu, conv, flat, scores */
static dt_graph *network(void)
{
    static const dt_shape image = { 4, { 1, HEIGHT, WIDTH, CHANNELS } };
    const dt_conv_spec conv = { .filters = 5, .kernel = 3, .stride = 1, .pad = 1 };
    dt_builder b = { .status = DT_OK };
    MUST(dt_graph_create("observed", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    int x = dt_build_apply(&b, DT_OP_RELU, "relu", b.graph->image);
    x = dt_build_conv(&b, "conv", x, &conv);
    x = dt_build_apply(&b, DT_OP_FLATTEN, "flat", x);
    b.graph->scores = dt_build_classifier(&b, "scores", x, 4);
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    return b.graph;
}

typedef struct {
    dt_context *ctx;
    dt_model *model;
    int n;              /* values */
    dt_range range[32]; /* what was calibrated last */
    dt_observed seen[32];
} rig;

static rig rig_open(int threads)
{
    rig r = { .ctx = open_context(threads) };
    MUST(dt_model_open(r.ctx, network(), &r.model));
    r.n = r.model->graph->n_values;
    cr_assert(r.n <= 32);
    return r;
}

static void rig_close(rig *r)
{
    dt_model_destroy(r->model);
    dt_context_destroy(r->ctx);
}

static int value_of(const rig *r, const char *name)
{
    const int i = dt_graph_find(r->model->graph, name);
    cr_assert(i >= 0, "no %s", name);
    return i;
}

static void calibrate(rig *r, const float *images, dt_calibration what)
{
    what.normalised = images;
    what.observed = r->seen;
    if (what.n == 0) what.n = IMAGES;
    MUST(dt_calibrate(r->model, &what, r->range));
}

static dt_range range_of(const rig *r, const char *name)
{
    return r->range[value_of(r, name)];
}

/* Heavy tails: most are small, a few far out, and more so above 0. Image 3 is positive throughout. */
static const float *heavy_images(void)
{
    static float x[N];
    draws d = { .seed = 11 };
    for (int i = 0; i < N; i++) {
        const double u = 2.0 * draw_real(&d) - 1.0, tail = u * u * u * u * u;
        x[i] = (float)(0.3 * u + (u > 0 ? 9.0 : 4.0) * tail * fabs(tail));
        if (i / IMAGE == 3) x[i] = 0.5f + fabsf(x[i]);
    }
    return x;
}

static const float *relu_of(const float *x)
{
    static float y[N];
    for (int i = 0; i < N; i++) y[i] = x[i] > 0.0f ? x[i] : 0.0f;
    return y;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static const float *sorted(const float *x)
{
    static float y[N];
    memcpy(y, x, sizeof y);
    qsort(y, N, sizeof *y, by_size);
    return y;
}

/* ---- each observer ---- */

Test(calibrate, minmax_is_the_least_and_the_largest_of_all_images)
{
    rig r = rig_open(1);
    const float *x = sorted(heavy_images());
    calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_MINMAX });
    const dt_range image = range_of(&r, "image"), relu = range_of(&r, "relu");
    cr_assert(image.min == x[0] && image.max == x[N - 1], "%g..%g", (double)image.min, (double)image.max);
    cr_assert(relu.min == 0.0f && relu.max == x[N - 1], "%g..%g", (double)relu.min, (double)relu.max);
    const dt_observed *seen = &r.seen[value_of(&r, "image")];
    cr_assert(seen->n == N && seen->seen.min == x[0] && seen->seen.max == x[N - 1] && seen->outside == 0.0);
    const dt_range conv = range_of(&r, "conv"), flat = range_of(&r, "flat");
    cr_assert(conv.min == flat.min && conv.max == flat.max && conv.min < conv.max);
    rig_close(&r);
}

/* The second answer: an image at a time, by the definition. */
Test(calibrate, max_abs_is_the_notebooks_error)
{
    rig r = rig_open(1);
    const float *x = heavy_images();
    float low = 0.0f, high = 0.0f;
    for (int i = 0; i < IMAGES; i++) {
        float one[IMAGE];
        memcpy(one, x + i * IMAGE, sizeof one);
        qsort(one, IMAGE, sizeof *one, by_size);
        low = fmaxf(low, fabsf(one[0]));
        high = fmaxf(high, fabsf(one[IMAGE - 1]));
    }
    calibrate(&r, x, (dt_calibration){ .observer = DT_OBSERVE_MAX_ABS, .batch = 5 });
    const dt_range image = range_of(&r, "image"), relu = range_of(&r, "relu");
    cr_assert(image.min == low && image.max == high && low > 0.0f, "%g..%g", (double)image.min, (double)image.max);
    /* image 3 is positive: after the relu, its least value is no zero */
    float least = x[3 * IMAGE];
    for (int i = 1; i < IMAGE; i++) least = fminf(least, x[3 * IMAGE + i]);
    cr_assert(relu.min == least && relu.max == high, "%g..%g", (double)relu.min, (double)relu.max);
    rig_close(&r);
}

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

Test(calibrate, percentile_is_that_of_the_sorted_values)
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

Test(calibrate, all_percent_are_the_extremes_and_99_99_is_the_default)
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

Test(calibrate, mse_is_the_least_error_of_all_candidates)
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

Test(calibrate, entropy_keeps_the_bins_of_the_least_divergence)
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

Test(calibrate, entropy_is_that_of_the_magnitudes)
{
    rig r = rig_open(1);
    for (int bits = 6; bits <= 8; bits += 2) {
        calibrate(&r, heavy_images(), (dt_calibration){ .observer = DT_OBSERVE_ENTROPY, .bits = bits });
        expect_entropy("image", range_of(&r, "image"), heavy_images(), bits);
        expect_entropy("relu", range_of(&r, "relu"), relu_of(heavy_images()), bits);
    }
    rig_close(&r);
}

/* ---- what changes nothing ---- */

static void expect_equal(const char *why, const rig *a, const rig *b)
{
    for (int i = 0; i < a->n; i++) {
        cr_assert(a->range[i].min == b->range[i].min && a->range[i].max == b->range[i].max,
                  "%s: %s is %.9g..%.9g and %.9g..%.9g", why, dt_graph_name(a->model->graph, i),
                  (double)a->range[i].min, (double)a->range[i].max, (double)b->range[i].min, (double)b->range[i].max);
    }
}

/* 37 images are no multiple of 8, 16 or 36. */
Test(calibrate, batches_and_threads_change_nothing)
{
    static const int batch[] = { 1, 8, 36, 37, 100 };
    rig one = rig_open(1), two = rig_open(2);
    for (int o = 0; o < N_OBSERVERS; o++) {
        calibrate(&one, heavy_images(), (dt_calibration){ .observer = (dt_observer)o });
        for (size_t k = 0; k < sizeof batch / sizeof batch[0]; k++) {
            calibrate(&two, heavy_images(), (dt_calibration){ .observer = (dt_observer)o, .batch = batch[k] });
            expect_equal(dt_observer_names[o], &one, &two);
        }
    }
    rig_close(&two);
    rig_close(&one);
}

/* Magnitudes grow from image to image, or shrink, over most of what a float holds, so that bins have to be joined. */
Test(calibrate, the_order_of_images_changes_nothing)
{
    static float up[N], down[N];
    rig a = rig_open(2), b = rig_open(2);
    for (int i = 0; i < IMAGES; i++) {
        for (int j = 0; j < IMAGE; j++) {
            up[i * IMAGE + j] = ldexpf(heavy_images()[i * IMAGE + j], 3 * i - 110);
            down[(IMAGES - 1 - i) * IMAGE + j] = up[i * IMAGE + j];
        }
    }
    for (int o = 0; o < N_OBSERVERS; o++) {
        const dt_calibration what = { .observer = (dt_observer)o, .batch = 2, .percent = 90.0 };
        calibrate(&a, up, what);
        calibrate(&b, down, what);
        expect_equal(dt_observer_names[o], &a, &b);
    }
    rig_close(&b);
    rig_close(&a);
}

/* ---- few values, equal values ---- */

Test(calibrate, one_image_works)
{
    rig r = rig_open(2);
    const float *x = heavy_images();
    float one[IMAGE];
    memcpy(one, x, sizeof one);
    qsort(one, IMAGE, sizeof *one, by_size);
    for (int o = 0; o < N_OBSERVERS; o++) {
        calibrate(&r, x, (dt_calibration){ .observer = (dt_observer)o, .n = 1, .percent = 100.0 });
        const dt_range got = range_of(&r, "image");
        const float min = o == DT_OBSERVE_MAX_ABS ? fabsf(one[0]) : one[0];
        if (o != DT_OBSERVE_MSE && o != DT_OBSERVE_ENTROPY) {
            cr_assert(got.min == min && got.max == one[IMAGE - 1], "%s", dt_observer_names[o]);
        }
        cr_assert(o == DT_OBSERVE_MAX_ABS || (got.min >= one[0] && got.max <= one[IMAGE - 1] && got.min < got.max),
                  "%s: %g..%g", dt_observer_names[o], (double)got.min, (double)got.max);
    }
    rig_close(&r);
}

Test(calibrate, constant_values_give_what_they_are)
{
    static const float constants[] = { 0.0f, 0.25f, -3.0f, FLT_MIN, 1e30f };
    static float x[N];
    rig r = rig_open(2);
    for (size_t k = 0; k < sizeof constants / sizeof constants[0]; k++) {
        for (int i = 0; i < N; i++) x[i] = constants[k];
        for (int o = 0; o < N_OBSERVERS; o++) {
            calibrate(&r, x, (dt_calibration){ .observer = (dt_observer)o });
            const dt_range got = range_of(&r, "image");
            float min = constants[k], max = constants[k];
            if (o == DT_OBSERVE_MAX_ABS) min = max = fabsf(min);
            if (o == DT_OBSERVE_MSE) min = fminf(min, 0.0f), max = fmaxf(max, 0.0f);
            cr_assert(o == DT_OBSERVE_MSE || (got.min == min && got.max == max), "%s of %g: %g..%g",
                      dt_observer_names[o], (double)constants[k], (double)got.min, (double)got.max);
            /* a smaller range may represent the bin's middle better than the value, by half a bin */
            cr_assert(fabsf(got.min - min) <= 0.011f * fabsf(min) && fabsf(got.max - max) <= 0.011f * fabsf(max),
                      "%s of %g: %g..%g", dt_observer_names[o], (double)constants[k], (double)got.min, (double)got.max);
        }
    }
    rig_close(&r);
}

/* ---- where images come from, and which values are looked at ---- */

Test(calibrate, images_of_a_dataset_are_those_pixels)
{
    tiny_options o = tiny_defaults();
    tiny_run t;
    dt_dataset_view v;
    cr_assert(tiny_open(&t, &o));
    tiny_steps(&t, 1);
    dt_dataset_look(t.data, &v);
    const int n = t.model->graph->n_values;
    dt_range *a = calloc((size_t)n, sizeof *a), *b = calloc((size_t)n, sizeof *b);
    const int first = 13, count = 45;
    char *wanted = calloc((size_t)n, 1);
    wanted[t.model->graph->image] = wanted[dt_graph_find(t.model->graph, "features.2")] = 1;
    const dt_calibration of_data = { .dataset = t.data, .first = first, .n = count, .wanted = wanted };
    const dt_calibration of_pixels = { .pixels = v.images + first * v.height * v.width * v.channels,
                                       .n = count,
                                       .wanted = wanted };
    MUST(dt_calibrate(t.model, &of_data, a));
    /* known to the model only after training; unknown, a dataset has its own */
    t.model->origin = dt_model_origin_of(t.model, &v);
    MUST(dt_calibrate(t.model, &of_pixels, b));
    float low = FLT_MAX, high = -FLT_MAX;
    for (int64_t i = 0; i < (int64_t)count * v.height * v.width * v.channels; i++) {
        const int c = (int)(i % v.channels);
        const float x = ((float)of_pixels.pixels[i] / 255.0f - v.mean[c]) / v.std[c];
        low = fminf(low, x);
        high = fmaxf(high, x);
    }
    const dt_range image = a[t.model->graph->image];
    cr_assert(fabsf(image.min - low) < 1e-5f && fabsf(image.max - high) < 1e-5f, "%g..%g, expected %g..%g",
              (double)image.min, (double)image.max, (double)low, (double)high);
    for (int i = 0; i < n; i++) {
        cr_assert(a[i].min == b[i].min && a[i].max == b[i].max, "%s", dt_graph_name(t.model->graph, i));
        cr_assert(wanted[i] ? a[i].max > a[i].min : a[i].min == 0.0f && a[i].max == 0.0f);
    }
    free(a);
    free(b);
    free(wanted);
    tiny_close(&t);
}

/* ---- what is refused ---- */

static void expect_refused(rig *r, const dt_calibration *what, dt_status status, const char *part, const char *other)
{
    r->range[0] = (dt_range){ 7.0f, 9.0f };
    const dt_status got = dt_calibrate(r->model, what, r->range);
    cr_assert(got == status, "%s: %s", dt_status_name(got), got == DT_OK ? part : dt_last_error());
    cr_assert(strstr(dt_last_error(), part) && strstr(dt_last_error(), other), "%s", dt_last_error());
    cr_assert(r->range[0].min == 7.0f && r->range[0].max == 9.0f, "the ranges were written");
}

Test(calibrate, no_number_is_refused_by_value_and_image)
{
    static float x[N];
    static const float wrong[] = { NAN, INFINITY, -INFINITY };
    rig r = rig_open(2);
    for (int k = 0; k < 3; k++) {
        memcpy(x, heavy_images(), sizeof x);
        x[19 * IMAGE + 4] = wrong[k];
        for (int o = 0; o < N_OBSERVERS; o++) {
            const dt_calibration what = { .normalised = x, .n = IMAGES, .observer = (dt_observer)o };
            expect_refused(&r, &what, DT_ERR_NUMERIC, "image is", "image 19 (value 4 of 105)");
        }
    }
    memcpy(x, heavy_images(), sizeof x);
    x[23 * IMAGE] = FLT_MAX; /* a number, but the layers make too much of it */
    x[23 * IMAGE + 1] = FLT_MAX;
    float *w = calloc(5 * 27, sizeof *w);
    for (int i = 0; i < 5 * 27; i++) w[i] = 3.0f;
    MUST(dt_model_write(r.model, dt_model_find(r.model, "conv.weight"), w));
    free(w);
    expect_refused(&r, &(dt_calibration){ .normalised = x, .n = IMAGES }, DT_ERR_NUMERIC, "conv is inf", "image 23 ");
    rig_close(&r);
}

Test(calibrate, wrong_choices_are_refused)
{
    rig r = rig_open(1);
    const float *x = heavy_images();
    const uint8_t pixel = 0;
    char wanted[32] = { 0 };
    wanted[value_of(&r, "conv.weight")] = 1;
    expect_refused(&r, &(dt_calibration){ .n = 1 }, DT_ERR_ARGUMENT, "one source", "1 of 0");
    expect_refused(&r, &(dt_calibration){ .n = 1, .normalised = x, .pixels = &pixel }, DT_ERR_ARGUMENT, "one source",
                   "2");
    expect_refused(&r, &(dt_calibration){ .normalised = x }, DT_ERR_ARGUMENT, "1 image or more", "0");
    expect_refused(&r, &(dt_calibration){ .normalised = x, .n = 1, .first = 2 }, DT_ERR_ARGUMENT, "first is 2",
                   "dataset");
    expect_refused(&r, &(dt_calibration){ .normalised = x, .n = 1, .percent = 50.0 }, DT_ERR_RANGE, "percent is 50",
                   "100");
    expect_refused(&r, &(dt_calibration){ .normalised = x, .n = 1, .bits = 9 }, DT_ERR_RANGE, "bits is 9", "2 to 8");
    expect_refused(&r, &(dt_calibration){ .normalised = x, .n = 1, .observer = (dt_observer)9 }, DT_ERR_ARGUMENT,
                   "observer is 9", "max-abs");
    expect_refused(&r, &(dt_calibration){ .normalised = x, .n = 1, .wanted = wanted }, DT_ERR_ARGUMENT, "conv.weight",
                   "does not make");
    rig_close(&r);
}

Test(calibrate, a_quantized_network_is_refused)
{
    tiny_options o = tiny_defaults();
    tiny_run t;
    o.model.wbits = o.model.abits = 4;
    cr_assert(tiny_open(&t, &o));
    dt_range *range = calloc((size_t)t.model->graph->n_values, sizeof *range);
    const dt_calibration what = { .dataset = t.data, .n = 2 };
    cr_assert(dt_calibrate(t.model, &what, range) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "on the grid"), "%s", dt_last_error());
    free(range);
    tiny_close(&t);
}
