/*
 * memory.c - a dataset of images and labels that the caller has in memory.
 *
 * Interface: dt_dataset_from_memory in include/detent/dataset.h.  Tests: tests/cli/test_predict.c.
 */
#include "dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dt_status check_sizes(const dt_images *i)
{
    DT_CHECK((!i->images) != (!i->reals), DT_ERR_ARGUMENT, "%s: images are pixels or reals, and got %s", i->name,
             i->images ? "both" : "neither");
    DT_CHECK(i->n >= 1 && i->n <= INT32_MAX, DT_ERR_ARGUMENT, "%s: %lld images, expected 1 to %d", i->name,
             (long long)i->n, INT32_MAX);
    const int most_channels = i->reals ? DT_MOST_CHANNELS : DT_MOST_PIXEL_CHANNELS;
    DT_CHECK(i->height >= 1 && i->height <= DT_DATASET_MAX_SIDE && i->width >= 1 && i->width <= DT_DATASET_MAX_SIDE &&
                 i->channels >= 1 && i->channels <= most_channels,
             DT_ERR_ARGUMENT, "%s: images of %dx%dx%d, expected up to %dx%dx%d", i->name, i->height, i->width,
             i->channels, DT_DATASET_MAX_SIDE, DT_DATASET_MAX_SIDE, most_channels);
    DT_CHECK(i->n_classes >= 1, DT_ERR_ARGUMENT, "%s: %d classes, expected 1 or more", i->name, i->n_classes);
    const int64_t n_labels = i->n * (i->multi_label ? i->n_classes : 1);
    const int most = i->multi_label ? 1 : i->n_classes - 1;
    for (int64_t k = 0; i->labels && k < n_labels; k++) {
        DT_CHECK(i->labels[k] >= 0 && i->labels[k] <= most, DT_ERR_ARGUMENT, "%s: label %lld is %d, expected 0..%d",
                 i->name, (long long)k, i->labels[k], most);
    }
    return DT_OK;
}

static dt_status check(const dt_images *i)
{
    const size_t length = i->name ? strlen(i->name) : 0;

    DT_CHECK(length >= 1 && length < DT_DATASET_NAME_BYTES, DT_ERR_ARGUMENT,
             "images need a name of 1 to %d characters, which says in checkpoints what a network was trained on",
             DT_DATASET_NAME_BYTES - 1);
    DT_TRY(check_sizes(i));
    for (int c = 0; c < i->channels; c++) {
        DT_CHECK(isfinite(i->mean[c]) && isfinite(i->std[c]) && i->std[c] >= 0.0f, DT_ERR_ARGUMENT,
                 "%s: mean[%d] is %g and std[%d] is %g, expected numbers, and 0 or more", i->name, c,
                 (double)i->mean[c], c, (double)i->std[c]);
    }
    return DT_OK;
}

static dt_status fill(const dt_images *i, dt_dataset *d)
{
    const size_t count = (size_t)i->n * (size_t)i->height * (size_t)i->width * (size_t)i->channels;
    const size_t n_labels = (size_t)i->n * (size_t)(i->multi_label ? i->n_classes : 1);
    const dt_dataset_shape shape = { i->name,     i->n,         i->height,        i->width,
                                     i->channels, i->n_classes, i->reals != NULL, i->multi_label };

    DT_TRY(dt_dataset_allocate(&shape, d));
    if (i->images) memcpy(d->images, i->images, count);
    if (i->reals) memcpy(d->reals, i->reals, count * sizeof *d->reals);
    if (i->labels) memcpy(d->labels, i->labels, n_labels * sizeof *d->labels);
    DT_TRY(dt_dataset_check_reals(d, i->name));
    snprintf(d->own_name, sizeof d->own_name, "%s", i->name);
    d->name = d->own_name;
    for (int c = 0; c < i->channels; c++) {
        d->mean[c] = i->mean[c];
        d->std[c] = i->std[c];
        if (i->std[c] == 0.0f) dt_dataset_measure(d, c);
    }
    dt_dataset_take_fingerprint(d);
    return DT_OK;
}

dt_status dt_dataset_from_memory(const dt_images *images, dt_dataset **out)
{
    DT_TRY(check(images));
    dt_dataset *d = calloc(1, sizeof *d);
    DT_CHECK(d, DT_ERR_MEMORY, "%s: no memory for a dataset", images->name);
    const dt_status status = fill(images, d);
    if (status != DT_OK) {
        dt_dataset_close(d);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = d;
    return DT_OK;
}
