/*
 * measure.c - mean and deviation of a data set's channels, and whether its reals are numbers.
 *
 * Interface: dataset.h.  Tests: tests/cli/test_predict.c, tests/datasets/test_reals.c.
 */
#include "dataset.h"

#include <math.h>

/* Of pixels in 0..1: summed as integers, so in no order. */
static void measure_pixels(dt_dataset *d, int channel)
{
    const int64_t pixels = d->n * d->height * d->width;
    uint64_t sum = 0, squares = 0;

    for (int64_t i = 0; i < pixels; i++) {
        const uint64_t v = d->images[i * d->channels + channel];
        sum += v;
        squares += v * v;
    }
    const double mean = (double)sum / (double)pixels, variance = (double)squares / (double)pixels - mean * mean;
    d->mean[channel] = (float)(mean / 255.0);
    d->std[channel] = variance > 0.0 ? (float)(sqrt(variance) / 255.0) : 1.0f;
}

/* The squares are of the distance from the mean, so that nothing cancels. */
static void measure_reals(dt_dataset *d, int channel)
{
    const int64_t count = d->n * d->height * d->width;
    double sum = 0.0, squares = 0.0;

    for (int64_t i = 0; i < count; i++) sum += (double)d->reals[i * d->channels + channel];
    const double mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++) {
        const double away = (double)d->reals[i * d->channels + channel] - mean;
        squares += away * away;
    }
    const float std = (float)sqrt(squares / (double)count);
    d->mean[channel] = (float)mean;
    d->std[channel] = std > 0.0f && isfinite(std) ? std : 1.0f;
}

void dt_dataset_measure(dt_dataset *d, int channel)
{
    if (d->reals)
        measure_reals(d, channel);
    else
        measure_pixels(d, channel);
}

dt_status dt_dataset_check_reals(const dt_dataset *d, const char *what)
{
    const int64_t each = (int64_t)d->height * d->width * d->channels;

    for (int64_t i = 0; d->reals && i < d->n * each; i++) {
        DT_CHECK(isfinite(d->reals[i]), DT_ERR_FORMAT, "%s: value %lld of sample %lld is %g, expected a finite number",
                 what, (long long)(i % each), (long long)(i / each), (double)d->reals[i]);
    }
    return DT_OK;
}
