/*
 * dataset.c - opens a data set by name: reads it, chooses a subset (subset.c), and makes images of the wanted shape.
 *
 * Images are resized (resize.c) or padded. Padding puts zeros, black before normalisation, evenly around the image; if
 * the difference is odd, the larger half is below and to the right. A grey channel is repeated with its mean and std;
 * these are not adapted to padding or size. The fingerprint is that of the images before all this.
 *
 * dataset.h has the readers and the table.  Tests: tests/datasets/test_dataset.c.
 */
#include "dataset.h"
#include "kinds.h"
#include "resize.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

dt_status dt_dataset_allocate(const dt_dataset_shape *s, dt_dataset *d)
{
    const int64_t count = (int64_t)s->height * s->width * s->channels;
    const int64_t image_bytes = count * (s->is_real ? (int64_t)sizeof(float) : 1);
    const int64_t n_labels = s->n * (s->multi_label ? s->n_classes : 1);

    assert(!d->images && !d->reals && !d->labels);
    DT_CHECK(s->n > 0 && s->n <= INT32_MAX, DT_ERR_FORMAT, "%s: %lld images, expected 1 to %d", s->name,
             (long long)s->n, INT32_MAX);
    void *images = malloc((size_t)(s->n * image_bytes));
    if (s->is_real)
        d->reals = images;
    else
        d->images = images;
    d->labels = calloc((size_t)n_labels, sizeof *d->labels);
    DT_CHECK(images && d->labels, DT_ERR_MEMORY, "%s: no memory for %lld images of %lld bytes", s->name,
             (long long)s->n, (long long)image_bytes);
    d->multi_label = s->multi_label;
    d->n = s->n;
    d->height = s->height;
    d->width = s->width;
    d->channels = s->channels;
    d->n_classes = s->n_classes;
    return DT_OK;
}

dt_status dt_dataset_name_classes(dt_dataset *d, const char *const *names)
{
    d->class_names = calloc((size_t)d->n_classes, sizeof *d->class_names);
    DT_CHECK(d->class_names, DT_ERR_MEMORY, "no memory for the names of %d classes", d->n_classes);
    for (int c = 0; c < d->n_classes; c++) {
        d->class_names[c] = strdup(names[c]);
        DT_CHECK(d->class_names[c], DT_ERR_MEMORY, "no memory for the name of a class");
    }
    return DT_OK;
}

dt_status dt_dataset_reserve(const dt_dataset_source *source, int64_t n, dt_dataset *d)
{
    const dt_dataset_shape shape = { source->info->name, n,
                                     source->height,     source->width,
                                     source->channels,   source->n_classes,
                                     source->is_real,    source->multi_label };

    DT_TRY(dt_dataset_allocate(&shape, d));
    d->name = source->info->name;
    memcpy(d->mean, source->mean, sizeof d->mean);
    memcpy(d->std, source->std, sizeof d->std);
    return source->class_names ? dt_dataset_name_classes(d, source->class_names) : DT_OK;
}

/* Of what a reader gave, all of it. CRC-32 and not SHA-256: CIFAR-10's training images take 0.1 s, not 1. */
void dt_dataset_take_fingerprint(dt_dataset *d)
{
    const size_t count = (size_t)d->n * (size_t)d->height * (size_t)d->width * (size_t)d->channels;
    const int64_t n_labels = d->n * (d->multi_label ? d->n_classes : 1);
    const uLong pixels =
        d->reals ? crc32_z(0, (const Bytef *)d->reals, count * sizeof *d->reals) : crc32_z(0, d->images, count);
    uLong labels = 0;

    for (int64_t i = 0; i < n_labels; i++) {
        const uint8_t label = (uint8_t)d->labels[i];
        labels = crc32_z(labels, &label, 1);
    }
    snprintf(d->fingerprint, sizeof d->fingerprint, "%08lx%08lx", pixels, labels);
}

static int asked_or(int asked, int own)
{
    return asked != 0 ? asked : own;
}

static dt_status check_split(const char *name, dt_split split)
{
    DT_CHECK(split == DT_SPLIT_TRAIN || split == DT_SPLIT_TEST || split == DT_SPLIT_VALIDATION, DT_ERR_ARGUMENT,
             "%s: split %d, expected DT_SPLIT_TRAIN, DT_SPLIT_TEST or DT_SPLIT_VALIDATION", name, (int)split);
    return DT_OK;
}

static dt_status check_counts(const dt_dataset_options *opt)
{
    DT_CHECK(opt->limit >= 0, DT_ERR_ARGUMENT, "%s: a subset of %lld images, expected 0 (all) or more", opt->name,
             (long long)opt->limit);
    DT_CHECK(opt->held_out >= 0, DT_ERR_ARGUMENT, "%s: holding out %lld images, expected 0 (none) or more", opt->name,
             (long long)opt->held_out);
    DT_CHECK(opt->split != DT_SPLIT_VALIDATION || opt->held_out > 0, DT_ERR_ARGUMENT,
             "%s: holding out 0 images leaves none to validate on; give the number that training holds out", opt->name);
    return DT_OK;
}

/* Whether the images become as large as they are asked for. */
static dt_status check_shape(const dt_dataset_shape *own, const dt_dataset_options *opt)
{
    const int height = asked_or(opt->height, own->height), width = asked_or(opt->width, own->width);
    const int channels = asked_or(opt->channels, own->channels);
    const int min_height = opt->resize ? 1 : own->height, min_width = opt->resize ? 1 : own->width;

    DT_CHECK(
        !own->is_real || (height == own->height && width == own->width && channels == own->channels), DT_ERR_ARGUMENT,
        "%s: asked for %dx%dx%d, and its samples are %dx%dx%d; reals are neither padded nor resized, so take a network "
        "of their size",
        opt->name, height, width, channels, own->height, own->width, own->channels);
    DT_CHECK(height >= min_height && height <= DT_DATASET_MAX_SIDE && width >= min_width &&
                 width <= DT_DATASET_MAX_SIDE,
             DT_ERR_ARGUMENT, "%s: asked for %dx%d, its images are %dx%d and can be %s %dx%d", opt->name, height, width,
             own->height, own->width, opt->resize ? "resized to 1x1 up to" : "padded up to", DT_DATASET_MAX_SIDE,
             DT_DATASET_MAX_SIDE);
    DT_CHECK(channels == own->channels || (own->channels == 1 && channels == 3), DT_ERR_ARGUMENT,
             "%s: asked for %d channels, its images have %d; only 1 can become 3", opt->name, channels, own->channels);
    return DT_OK;
}

/* d's images become images of that shape, which d then owns. */
static void replace_images(dt_dataset *d, uint8_t *images, int height, int width, int channels)
{
    free(d->images);
    d->images = images;
    d->height = height;
    d->width = width;
    d->channels = channels;
}

static dt_status resize(dt_dataset *d, const dt_dataset_options *opt)
{
    const dt_resize r = { .n = d->n,
                          .height = d->height,
                          .width = d->width,
                          .channels = d->channels,
                          .new_height = asked_or(opt->height, d->height),
                          .new_width = asked_or(opt->width, d->width) };
    const size_t image_bytes = (size_t)r.new_height * (size_t)r.new_width * (size_t)r.channels;

    if (!opt->resize || (r.new_height == r.height && r.new_width == r.width)) return DT_OK;
    uint8_t *images = calloc((size_t)d->n, image_bytes);
    DT_CHECK(images != NULL, DT_ERR_MEMORY, "%s: no memory for %lld images of %zu bytes", opt->name, (long long)d->n,
             image_bytes);
    const dt_status s = dt_resize_images(&r, d->images, images);
    if (s != DT_OK) {
        free(images);
        return dt_forward(s, __FILE__, __LINE__);
    }
    replace_images(d, images, r.new_height, r.new_width, r.channels);
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
    for (int c = d->channels; c < channels; c++) {
        d->mean[c] = d->mean[0];
        d->std[c] = d->std[0];
    }
    replace_images(d, images, height, width, channels);
    return DT_OK;
}

/* The files of a split: folders and readers know TRAIN and TEST alone. */
static dt_split files_of(dt_split split)
{
    return split == DT_SPLIT_VALIDATION ? DT_SPLIT_TRAIN : split;
}

/* Of the table: its images' size is known before a file is read. */
static dt_status read_known(dt_dataset *d, const dt_dataset_options *opt)
{
    const dt_split split = files_of(opt->split);
    char folder[DT_DATASET_PATH_BYTES];
    const dt_dataset_source *source;

    DT_TRY(dt_dataset_source_of(opt->name, &source));
    DT_TRY(check_split(opt->name, opt->split));
    DT_TRY(check_counts(opt));
    const dt_dataset_shape own = {
        .height = source->height, .width = source->width, .channels = source->channels, .is_real = source->is_real
    };
    DT_TRY(check_shape(&own, opt));
    DT_TRY(dt_dataset_folder(source, opt->dir, split, folder));
    const dt_dataset_request r = { .source = source, .folder = folder, .split = split, .seed = opt->seed };
    DT_TRY(source->read(&r, d));
    for (int c = 0; source->is_real && c < d->channels; c++) dt_dataset_measure(d, c);
    return DT_OK;
}

static dt_status read_kind(dt_dataset *d, const dt_dataset_options *opt)
{
    DT_TRY(check_split(opt->name, opt->split));
    DT_TRY(check_counts(opt));
    DT_TRY(dt_kind_read(opt->name, opt->dir, files_of(opt->split), d));
    const dt_dataset_shape own = {
        .height = d->height, .width = d->width, .channels = d->channels, .is_real = d->reals != NULL
    };
    return check_shape(&own, opt);
}

static dt_status fill(dt_dataset *d, const dt_dataset_options *opt)
{
    DT_TRY(dt_kind_of(opt->name) ? read_kind(d, opt) : read_known(d, opt));
    dt_dataset_take_fingerprint(d);
    DT_TRY(dt_dataset_hold_out(d, opt));
    DT_TRY(dt_dataset_take_subset(d, opt));
    DT_TRY(resize(d, opt));
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

    DT_TRY(check_split(name ? name : "", split));
    if (dt_kind_of(name)) {
        DT_TRY(dt_kind_path(name, dir, folder));
    } else {
        DT_TRY(dt_dataset_source_of(name, &source));
        DT_TRY(dt_dataset_folder(source, dir, files_of(split), folder));
    }
    DT_CHECK(strlen(folder) < bytes, DT_ERR_ARGUMENT, "%s: its folder's name has %zu bytes, room for %zu", name,
             strlen(folder) + 1, bytes);
    memcpy(found, folder, strlen(folder) + 1);
    return DT_OK;
}

void dt_dataset_close(dt_dataset *d)
{
    if (d == NULL) return;
    for (int c = 0; d->class_names && c < d->n_classes; c++) free(d->class_names[c]);
    free(d->class_names);
    free(d->images);
    free(d->reals);
    free(d->labels);
    free(d);
}
