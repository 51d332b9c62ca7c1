/*
 * dataset.c - opens a dataset by name: reads it, chooses a subset, pads it to the asked shape.
 *
 * Subset of `limit` images. Class c of the K classes gets (limit + K - 1 - c) / K of them, rounded down, so the first
 * limit % K classes have one more. The images are visited in the order of a Fisher-Yates shuffle that runs from the
 * last index down to 0: step i swaps index i with dt_below(r, i + 1), r = word 0 of dt_random(seed,
 * DT_STREAM_SHUFFLE, SUBSET_EPOCH, i), and visits what is then at i. A visited image is kept if its class still lacks
 * some. Those kept stay in file order. So a smaller limit's images are among a larger one's of the same seed.
 *
 * Padding. Zeros (black, before normalisation) evenly around the image; of an odd difference the larger half is below
 * and to the right. A grey channel is repeated, and its mean and std with it; they are not adjusted to the padding.
 *
 * Readers and table: dataset.h.  Tests: tests/test_dataset.c.
 */
#include "dataset.h"
#include "../core/rng.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBSET_EPOCH 0xFFFFFFFFu /* no epoch of training: the trainer's shuffles count from 0 */

dt_status dt_dataset_reserve(const dt_dataset_source *source, int64_t n, dt_dataset *d)
{
    const int64_t image_bytes = (int64_t)source->height * source->width * source->channels;

    assert(d->images == NULL && d->labels == NULL);
    DT_CHECK(n > 0 && n <= INT32_MAX, DT_ERR_FORMAT, "%s: %lld images, expected 1 to %d", source->info->name,
             (long long)n, INT32_MAX);
    d->images = malloc((size_t)(n * image_bytes));
    d->labels = malloc((size_t)n * sizeof *d->labels);
    DT_CHECK(d->images != NULL && d->labels != NULL, DT_ERR_MEMORY, "%s: no memory for %lld images of %lld bytes",
             source->info->name, (long long)n, (long long)image_bytes);
    d->n = n;
    d->height = source->height;
    d->width = source->width;
    d->channels = source->channels;
    d->n_classes = source->n_classes;
    memcpy(d->mean, source->mean, sizeof d->mean);
    memcpy(d->std, source->std, sizeof d->std);
    return DT_OK;
}

/* left[c]: how many images of class c the subset takes. */
static dt_status divide_limit(const dt_dataset *d, const dt_dataset_options *opt, int64_t *left)
{
    int64_t have[DT_DATASET_MAX_CLASSES] = { 0 };
    int scarce = 0; /* the class with the fewest images */

    DT_CHECK(opt->limit <= d->n, DT_ERR_ARGUMENT, "%s: limit %lld, but the split has %lld images; 0 takes all",
             opt->name, (long long)opt->limit, (long long)d->n);
    for (int64_t i = 0; i < d->n; i++) have[d->labels[i]]++;
    for (int c = 1; c < d->n_classes; c++) {
        if (have[c] < have[scarce]) scarce = c;
    }
    for (int c = 0; c < d->n_classes; c++) {
        left[c] = (opt->limit + d->n_classes - 1 - c) / d->n_classes;
        DT_CHECK(left[c] <= have[c], DT_ERR_ARGUMENT,
                 "%s: limit %lld takes %lld images of class %d, but the split has %lld; "
                 "a limit of %lld or less can be balanced, 0 takes all",
                 opt->name, (long long)opt->limit, (long long)left[c], c, (long long)have[c],
                 (long long)(have[scarce] * d->n_classes));
    }
    return DT_OK;
}

/* Sets keep[i] = 1 for the images of the subset; order is room for d->n indices. */
static void draw_subset(const dt_dataset *d, const dt_dataset_options *opt, int64_t *left, int32_t *order,
                        uint8_t *keep)
{
    int64_t n_kept = 0;

    for (int64_t i = 0; i < d->n; i++) order[i] = (int32_t)i;
    for (int64_t i = d->n - 1; n_kept < opt->limit; i--) {
        const dt_random4 r = dt_random(opt->seed, DT_STREAM_SHUFFLE, SUBSET_EPOCH, (uint64_t)i);
        const uint32_t j = dt_below(r.v[0], (uint32_t)i + 1);
        const int32_t visited = order[j];

        order[j] = order[i];
        order[i] = visited;
        if (left[d->labels[visited]] == 0) continue;
        left[d->labels[visited]]--;
        keep[visited] = 1;
        n_kept++;
    }
}

/* Moves the kept images to the front, in file order, and gives the rest of the memory back. */
static void drop_others(dt_dataset *d, const uint8_t *keep)
{
    const size_t image_bytes = (size_t)d->height * (size_t)d->width * (size_t)d->channels;
    int64_t n = 0;

    for (int64_t i = 0; i < d->n; i++) {
        if (!keep[i]) continue;
        memmove(d->images + (size_t)n * image_bytes, d->images + (size_t)i * image_bytes, image_bytes);
        d->labels[n++] = d->labels[i];
    }
    uint8_t *images = realloc(d->images, (size_t)n * image_bytes);
    if (images != NULL) d->images = images;
    d->n = n;
}

static dt_status take_subset(dt_dataset *d, const dt_dataset_options *opt)
{
    int64_t left[DT_DATASET_MAX_CLASSES];

    if (opt->limit == 0) return DT_OK;
    DT_TRY(divide_limit(d, opt, left));
    int32_t *order = malloc((size_t)d->n * sizeof *order);
    uint8_t *keep = calloc((size_t)d->n, 1);
    const int ok = order != NULL && keep != NULL;
    if (ok) {
        draw_subset(d, opt, left, order, keep);
        drop_others(d, keep);
    }
    free(order);
    free(keep);
    DT_CHECK(ok, DT_ERR_MEMORY, "%s: no memory to choose among %lld images", opt->name, (long long)d->n);
    return DT_OK;
}

static int asked_or(int asked, int own)
{
    return asked != 0 ? asked : own;
}

static dt_status check_options(const dt_dataset_source *source, const dt_dataset_options *opt)
{
    const int height = asked_or(opt->height, source->height);
    const int width = asked_or(opt->width, source->width);
    const int channels = asked_or(opt->channels, source->channels);

    DT_CHECK(opt->split == DT_SPLIT_TRAIN || opt->split == DT_SPLIT_TEST, DT_ERR_ARGUMENT,
             "%s: split %d, expected DT_SPLIT_TRAIN or DT_SPLIT_TEST", opt->name, (int)opt->split);
    DT_CHECK(opt->limit >= 0, DT_ERR_ARGUMENT, "%s: limit %lld, expected 0 (all) or more", opt->name,
             (long long)opt->limit);
    DT_CHECK(height >= source->height && height <= DT_DATASET_MAX_SIDE && width >= source->width &&
                 width <= DT_DATASET_MAX_SIDE,
             DT_ERR_ARGUMENT, "%s: asked for %dx%d, its images are %dx%d and can be padded up to %dx%d", opt->name,
             height, width, source->height, source->width, DT_DATASET_MAX_SIDE, DT_DATASET_MAX_SIDE);
    DT_CHECK(channels == source->channels || (source->channels == 1 && channels == 3), DT_ERR_ARGUMENT,
             "%s: asked for %d channels, its images have %d; only 1 can become 3", opt->name, channels,
             source->channels);
    return DT_OK;
}

/* Copies d's images into the middle of larger ones, which are zero, channel by channel. */
static void copy_padded(const dt_dataset *d, int height, int width, int channels, uint8_t *out)
{
    const int top = (height - d->height) / 2;
    const int left = (width - d->width) / 2;
    const uint8_t *in = d->images;

    for (int64_t n = 0; n < d->n; n++) {
        for (int64_t h = 0; h < d->height; h++) {
            uint8_t *row = out + ((n * height + top + h) * width + left) * channels;

            for (int w = 0; w < d->width; w++, in += d->channels) {
                for (int c = 0; c < channels; c++) *row++ = in[d->channels == 1 ? 0 : c];
            }
        }
    }
}

static dt_status pad(dt_dataset *d, const dt_dataset_options *opt)
{
    const int height = asked_or(opt->height, d->height);
    const int width = asked_or(opt->width, d->width);
    const int channels = asked_or(opt->channels, d->channels);
    const size_t image_bytes = (size_t)height * (size_t)width * (size_t)channels;

    if (height == d->height && width == d->width && channels == d->channels) return DT_OK;
    uint8_t *images = calloc((size_t)d->n, image_bytes);
    DT_CHECK(images != NULL, DT_ERR_MEMORY, "%s: no memory for %lld images of %zu bytes", opt->name, (long long)d->n,
             image_bytes);
    copy_padded(d, height, width, channels, images);
    free(d->images);
    d->images = images;
    for (int c = d->channels; c < channels; c++) {
        d->mean[c] = d->mean[0];
        d->std[c] = d->std[0];
    }
    d->height = height;
    d->width = width;
    d->channels = channels;
    return DT_OK;
}

static dt_status fill(dt_dataset *d, const dt_dataset_options *opt)
{
    char folder[DT_DATASET_PATH_BYTES];
    const dt_dataset_source *source;

    DT_TRY(dt_dataset_source_of(opt->name, &source));
    DT_TRY(check_options(source, opt));
    DT_TRY(dt_dataset_folder(source, opt->dir, opt->split, folder));
    const dt_dataset_request r = { .source = source, .folder = folder, .split = opt->split, .seed = opt->seed };
    DT_TRY(source->read(&r, d));
    DT_TRY(take_subset(d, opt));
    DT_TRY(pad(d, opt));
    return DT_OK;
}

dt_status dt_dataset_open(const dt_dataset_options *opt, dt_dataset **out)
{
    dt_dataset *d = calloc(1, sizeof *d);

    DT_CHECK(d != NULL, DT_ERR_MEMORY, "%s: no memory for a dataset", opt->name);
    const dt_status s = fill(d, opt);
    if (s != DT_OK) {
        dt_dataset_close(d);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = d;
    return DT_OK;
}

dt_status dt_dataset_find(const char *name, const char *dir, dt_split split, char *found, size_t bytes)
{
    char folder[DT_DATASET_PATH_BYTES];
    const dt_dataset_source *source;

    DT_TRY(dt_dataset_source_of(name, &source));
    DT_TRY(check_options(source, &(dt_dataset_options){ .name = name, .split = split }));
    DT_TRY(dt_dataset_folder(source, dir, split, folder));
    DT_CHECK(strlen(folder) < bytes, DT_ERR_ARGUMENT, "%s: its folder's name has %zu bytes, room for %zu", name,
             strlen(folder) + 1, bytes);
    memcpy(found, folder, strlen(folder) + 1);
    return DT_OK;
}

void dt_dataset_look(const dt_dataset *d, dt_dataset_view *out)
{
    *out = (dt_dataset_view){
        .images = d->images,
        .labels = d->labels,
        .n = d->n,
        .height = d->height,
        .width = d->width,
        .channels = d->channels,
        .n_classes = d->n_classes,
    };
    memcpy(out->mean, d->mean, sizeof out->mean);
    memcpy(out->std, d->std, sizeof out->std);
}

void dt_dataset_close(dt_dataset *d)
{
    if (d == NULL) return;
    free(d->images);
    free(d->labels);
    free(d);
}
