/*
 * observe.h - the range that an observer takes from a histogram. calibrate.h says what the observers are.
 */
#ifndef DT_OBSERVE_H
#define DT_OBSERVE_H

#include "calibrate.h"
#include "histogram.h"

enum {
    DT_ENTROPY_BINS = 2048, /* most bins of magnitudes that ENTROPY looks at */
    DT_MSE_STEPS = 100      /* MSE tries each end at 1/100, 2/100, .. of the extreme */
};

/* Percentile of the values of h, n > 0. With k = ceil(n percent / 100), max is the upper end of the bin of the k-th
 * smallest value, and min the lower end of that of the k-th largest. Both are cut to the extremes, and are 0 where that
 * value is 0. */
dt_range dt_observe_percentile(const dt_histogram *h, double percent);

/* Tries ranges lo..hi, where lo is a hundredth, two, .. of the least value (or 0, if that is above 0), and hi likewise.
 * The range of the least sum of squared errors is taken, the widest among equals. Errors are those of codes q = 0 ..
 * 2^bits - 1 with scale s = (hi - lo) / (2^bits - 1) and zero point z = -lo / s rounded half away from 0: a value x
 * becomes the nearest s (q - z), and that of the bin's middle stands for x. DT_ERR_MEMORY alone. */
DT_MUST_CHECK dt_status dt_observe_mse(const dt_histogram *h, int bits, dt_range *out);

/* Makes at most DT_ENTROPY_BINS bins of the magnitudes, at least 1,639, which are multiples of h's; takes t as the end
 * of the bins that dt_entropy_keep keeps at 2^(bits - 1) levels. */
dt_range dt_observe_entropy(const dt_histogram *h, int bits);

/* Returns how many of count[0..n-1] to keep, `levels` to n; n if there are not more than levels, or no count above bin
 * 0. P is the kept counts, with all further ones in the last. Q is the kept counts without these, spread evenly over
 * the bins of a level that have a count; bin b of i is of level floor(b levels / i). Of the numbers of bins with the
 * least sum of P log(P / Q), both divided by their sums, the largest is taken. Q is 0 where P is not if a last bin has
 * further counts alone; such a number of bins is not taken.
 *
 * Bin 0 counts as many as bin 1: zeros, of which a ReLU makes many, have a code of their own in any range.
 * Source: Migacz, "8-bit inference with TensorRT", GTC 2017; bin 0 is so in NVIDIA's pytorch-quantization. */
int dt_entropy_keep(const int64_t *count, int n, int levels);

#endif /* DT_OBSERVE_H */
