/*
 * test_reals.c - data sets that are no pixels: reals in memory, several labels each; mean and deviation, subsets, and
 * what is refused.
 */
#include <math.h>

#include "../support/temp_files.h"

enum { N = 40, HEIGHT = 5, WIDTH = 3, CHANNELS = 2, EACH = HEIGHT * WIDTH * CHANNELS, LABELS = 4 };

/* Sample i begins with i, so that it can be found again. */
static float value(int64_t i)
{
    return i % EACH == 0 ? (float)(i / EACH) : (float)(i % 17) - 3.5f * (float)(i % CHANNELS);
}

static int32_t label(int64_t i)
{
    return (int32_t)((i * i + i / 3) % 2);
}

static dt_images reals(int multi_label)
{
    static float x[N * EACH];
    static int32_t y[N * LABELS];

    for (int64_t i = 0; i < N * EACH; i++) x[i] = value(i);
    for (int64_t i = 0; i < N * LABELS; i++) y[i] = multi_label ? label(i) : (int32_t)(i % LABELS);
    return (dt_images){ .name = "reals",
                        .reals = x,
                        .labels = y,
                        .multi_label = multi_label,
                        .n = N,
                        .height = HEIGHT,
                        .width = WIDTH,
                        .channels = CHANNELS,
                        .n_classes = LABELS };
}

static dt_dataset *open_or_fail(const dt_images *images, dt_dataset_view *v)
{
    dt_dataset *d = NULL;

    cr_assert(eq(int, (int)dt_dataset_from_memory(images, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, v);
    return d;
}

/* In long double, channel by channel. */
static void expect_measured(const dt_dataset_view *v)
{
    for (int c = 0; c < CHANNELS; c++) {
        long double sum = 0, squares = 0;
        for (int64_t i = c; i < N * EACH; i += CHANNELS) sum += (long double)value(i);
        const long double mean = sum / (N * EACH / CHANNELS);
        for (int64_t i = c; i < N * EACH; i += CHANNELS) {
            squares += ((long double)value(i) - mean) * ((long double)value(i) - mean);
        }
        const long double std = sqrtl(squares / (N * EACH / CHANNELS));
        cr_assert(fabsl((long double)v->mean[c] - mean) < 1e-6L && fabsl((long double)v->std[c] - std) < 1e-6L,
                  "channel %d: %g and %g, expected %Lg and %Lg", c, (double)v->mean[c], (double)v->std[c], mean, std);
    }
}

Test(reals, are_kept_and_measured)
{
    const dt_images images = reals(0);
    dt_dataset_view v;
    dt_dataset *d = open_or_fail(&images, &v);

    cr_assert(v.images == NULL && v.multi_label == 0 && v.class_names == NULL);
    cr_assert(eq(int, memcmp(v.reals, images.reals, sizeof(float) * N * EACH), 0));
    cr_assert(eq(int, memcmp(v.labels, images.labels, sizeof(int32_t) * N), 0));
    expect_measured(&v);
    dt_dataset_close(d);
}

Test(reals, may_stay_as_they_are)
{
    dt_images images = reals(1);
    dt_dataset_view v, other;
    images.std[0] = images.std[1] = 1.0f;
    dt_dataset *d = open_or_fail(&images, &v);
    cr_assert(v.mean[0] == 0.0f && v.mean[1] == 0.0f && v.std[0] == 1.0f && v.std[1] == 1.0f);
    cr_assert(v.multi_label == 1 && v.n_classes == LABELS);
    cr_assert(eq(int, memcmp(v.labels, images.labels, sizeof(int32_t) * N * LABELS), 0));

    ((int32_t *)(uintptr_t)images.labels)[N * LABELS - 1] ^= 1; /* the last label of the last sample counts */
    dt_dataset *e = open_or_fail(&images, &other);
    cr_assert(ne(str, v.fingerprint, other.fingerprint));
    cr_assert(strncmp(v.fingerprint, other.fingerprint, 8) == 0, "the samples are the same");
    dt_dataset_close(d);
    dt_dataset_close(e);
}

Test(reals, what_is_wrong_is_refused)
{
    static float nan_at_7[N * EACH];
    static const uint8_t pixels[N * EACH] = { 0 };
    dt_dataset *d = NULL;

    dt_images both = reals(0);
    both.images = pixels;
    cr_assert(eq(int, (int)dt_dataset_from_memory(&both, &d), DT_ERR_ARGUMENT));
    cr_assert(strstr(dt_last_error(), "images are pixels or reals, and got both") != NULL, "%s", dt_last_error());
    dt_images neither = reals(0);
    neither.reals = NULL;
    cr_assert(eq(int, (int)dt_dataset_from_memory(&neither, &d), DT_ERR_ARGUMENT));
    cr_assert(strstr(dt_last_error(), "got neither") != NULL, "%s", dt_last_error());
    dt_images labels = reals(0);
    labels.multi_label = 1; /* 0..3 are no labels */
    cr_assert(eq(int, (int)dt_dataset_from_memory(&labels, &d), DT_ERR_ARGUMENT));
    cr_assert(strstr(dt_last_error(), "label 2 is 2, expected 0..1") != NULL, "%s", dt_last_error());
    dt_images nan = reals(0);
    nan_at_7[7 * EACH + 3] = INFINITY;
    nan.reals = nan_at_7;
    cr_assert(eq(int, (int)dt_dataset_from_memory(&nan, &d), DT_ERR_FORMAT));
    cr_assert(strstr(dt_last_error(), "value 3 of sample 7 is inf") != NULL, "%s", dt_last_error());
}

/* The generated set stands for any. */
static dt_dataset *open_beats(dt_dataset_options opt, dt_dataset_view *v)
{
    dt_dataset *d = NULL;

    opt.name = "synthetic-beats";
    opt.seed = 3;
    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, v);
    return d;
}

static int64_t find(const dt_dataset_view *all, const dt_dataset_view *part, int64_t i)
{
    const size_t count = (size_t)all->height * (size_t)all->width * (size_t)all->channels;

    for (int64_t k = 0; k < all->n; k++) {
        if (memcmp(all->reals + (size_t)k * count, part->reals + (size_t)i * count, count * sizeof(float)) == 0)
            return k;
    }
    return -1;
}

Test(reals, subsets_take_samples_with_their_labels)
{
    dt_dataset_view all, part, held;
    dt_dataset *a = open_beats((dt_dataset_options){ .split = DT_SPLIT_TEST }, &all);
    dt_dataset *b = open_beats((dt_dataset_options){ .split = DT_SPLIT_TEST, .limit = 33 }, &part);
    dt_dataset *c = open_beats((dt_dataset_options){ .split = DT_SPLIT_VALIDATION, .held_out = 7 }, &held);
    int64_t before = -1;

    cr_assert(part.n == 33 && held.n == 7);
    for (int64_t i = 0; i < part.n; i++) {
        const int64_t at = find(&all, &part, i);
        cr_assert(at > before, "sample %lld is at %lld, after %lld", (long long)i, (long long)at, (long long)before);
        cr_assert(eq(int, memcmp(all.labels + at * 5, part.labels + i * 5, 5 * sizeof(int32_t)), 0));
        before = at;
    }
    dt_dataset_close(a);
    dt_dataset_close(b);
    dt_dataset_close(c);
}

Test(reals, are_neither_padded_nor_resized)
{
    const dt_dataset_options padded = { .name = "synthetic-windows", .height = 128 };
    const dt_dataset_options resized = { .name = "synthetic-windows", .height = 50, .resize = 1 };
    static const char *const parts[] = { "its samples are 100x6x1", "neither padded nor resized", NULL };

    expect_refused("padded", &padded, DT_ERR_ARGUMENT, parts);
    expect_refused("resized", &resized, DT_ERR_ARGUMENT, parts);
}

/* Channels up to the limit have numbers of their own; one more is refused, and of pixels a fifth. */
Test(reals, many_channels)
{
    enum { MANY = DT_MOST_CHANNELS, SAMPLES = 6 };
    static float x[SAMPLES * (MANY + 1)];
    static uint8_t pixels[SAMPLES * 5];
    dt_images images = {
        .name = "many", .reals = x, .n = SAMPLES, .height = 1, .width = 1, .channels = MANY, .n_classes = 2
    };
    dt_dataset_view v;
    dt_dataset *d;

    for (int i = 0; i < SAMPLES * MANY; i++) x[i] = (float)(i % MANY) + 0.25f * (float)(i / MANY);
    d = open_or_fail(&images, &v);
    for (int c = 0; c < MANY; c++) {
        cr_assert(fabsf(v.mean[c] - (float)c - 0.625f) < 1e-5f && fabsf(v.std[c] - 0.4269563f) < 1e-5f,
                  "channel %d: mean %g, deviation %g", c, (double)v.mean[c], (double)v.std[c]);
    }
    dt_dataset_close(d);
    images.channels = MANY + 1;
    cr_assert(eq(int, (int)dt_dataset_from_memory(&images, &d), DT_ERR_ARGUMENT));
    cr_assert(strstr(dt_last_error(), "images of 1x1x65, expected up to 4096x4096x64") != NULL, "%s", dt_last_error());
    images.reals = NULL;
    images.images = pixels;
    images.channels = 5;
    cr_assert(eq(int, (int)dt_dataset_from_memory(&images, &d), DT_ERR_ARGUMENT));
    cr_assert(strstr(dt_last_error(), "images of 1x1x5, expected up to 4096x4096x4") != NULL, "%s", dt_last_error());
}
