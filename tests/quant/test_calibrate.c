/*
 * test_calibrate.c - ranges of values on real images: extremes, what batches, threads and order do not change, few and
 * equal values, where images come from, and what is refused. test_observe.c has the observers that need a histogram.
 */
#include <float.h>

#include "../support/calibration_rig.h"

enum { N_OBSERVERS = 5 };

/* ---- extremes ---- */

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
