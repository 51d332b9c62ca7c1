/*
 * calibrate.h - the ranges of a network's values on real images: what quantization after training needs to choose
 *               scales.
 *
 * The network runs in evaluation, in real values, and each of its values is looked at batch by batch. No value is kept:
 * a value has its extremes and, where the observer needs it, one histogram of fixed size (histogram.h). One pass over
 * the images suffices, because the histogram's bins grow with the values.
 */
#ifndef DT_CALIBRATE_H
#define DT_CALIBRATE_H

#include "../core/arith/range.h"
#include "../core/train/model.h"
#include "detent/quantize.h"

/* Further facts of a value. */
typedef struct {
    dt_range seen;  /* the least and the largest value of all images */
    int64_t n;      /* values that were looked at; 0: the value was not */
    double outside; /* share of the values outside the range, 0..1, to a bin's precision; 0 of MINMAX and MAX_ABS */
} dt_observed;

/* Images of a batch, unless dt_calibration.batch says otherwise. */
enum { DT_CALIBRATE_BATCH = 16 };

/* The images, of which one of dataset, pixels and normalised is set, and how to observe. */
typedef struct {
    const dt_dataset *dataset; /* images first .. first + n - 1 of it, normalised as in evaluation */
    int64_t first;
    const uint8_t *pixels;   /* [n][H][W][C], normalised by the model's origin */
    const float *normalised; /* [n][H][W][C], normalised already */
    int64_t n;               /* >= 1 */
    int batch;               /* images of a batch; 0: DT_CALIBRATE_BATCH. It changes no range */
    dt_observer observer;
    double percent;              /* PERCENTILE: above 50, up to 100; 0: 99.99 */
    int bits;                    /* MSE, ENTROPY: 2..8; 0: 8 */
    const char *wanted;          /* [n_values] 1: the value is looked at; NULL: every value that evaluation makes is */
    dt_observed *observed;       /* [n_values] written as well; NULL: not asked for */
    const dt_progress *progress; /* NULL: none */
} dt_calibration;

/* Writes to range, [n_values of m's graph], the range of each value that is looked at, and {0, 0} for the others.
 * Ranges are what the values give: they need not hold 0, and those of a constant value are one point; the quantizer
 * widens them. MSE alone widens its range to hold 0, because its codes do. The number of threads and the batch change
 * no range.
 *
 * Peak memory is that of dt_predict with the same images and batch, plus 256 KiB a value for a histogram and 128 KiB a
 * thread. DT_ERR_NUMERIC: a value is NaN or infinite; the message names the value and the image. DT_ERR_UNSUPPORTED: a
 * value is on the grid, because m is quantized already. DT_ERR_ARGUMENT: evaluation does not make a wanted value. */
DT_MUST_CHECK dt_status dt_calibrate(dt_model *m, const dt_calibration *what, dt_range *range);

#endif /* DT_CALIBRATE_H */
