/*
 * histogram.h - counts of values in bins that grow with the values, so that one pass over the data suffices.
 *
 * Bins begin at 0 and are 2^exponent wide; bin i counts i w <= x < (i + 1) w, for i = -HALF .. HALF - 1. If a value
 * does not fit, the exponent grows, and 2^k bins become one. No count is split, so the counts depend on the values
 * alone, not on their order, nor on how they were cut into batches. The larger half of the bins of one sign is in use:
 * a bin is 1/16,384 to 1/8,192 of the largest magnitude.
 *
 * Two passes would place the bins by the extremes, but they take the network's time twice.
 */
#ifndef DT_HISTOGRAM_H
#define DT_HISTOGRAM_H

#include <stdint.h>

#include "detent/status.h"

enum { DT_HISTOGRAM_HALF = 16384, DT_HISTOGRAM_BINS = 2 * DT_HISTOGRAM_HALF };

/* What a run of values gives at a glance. */
typedef struct {
    float least, most; /* if all are finite */
    int64_t n_zero;
    int all_finite;
} dt_span;

typedef struct {
    float least, most; /* of all values; 0 while n is 0 */
    int64_t n, n_zero; /* values; those that are 0, which bin 0 counts too */
    int exponent;
    int64_t count[DT_HISTOGRAM_BINS]; /* bin i at count[HALF + i] */
} dt_histogram;

/* Returns an empty histogram, or NULL if there is no memory. free frees it. */
dt_histogram *dt_histogram_create(void);

/* Looks at x[0..n-1], n >= 1. */
dt_span dt_span_of(const float *x, int64_t n);

/* Adds x[0..n-1], whose span this is; it is finite, and n is below 2^31. room has DT_HISTOGRAM_BINS counts for each
 * thread that a parallel region may get; its contents do not matter. */
void dt_histogram_add(dt_histogram *h, const float *x, int64_t n, const dt_span *span, uint32_t *room);

/* Returns the width of a bin. */
double dt_histogram_width(const dt_histogram *h);

#endif /* DT_HISTOGRAM_H */
