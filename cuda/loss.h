/*
 * loss.h - the last step of a loss's forward: the sums over its images.
 */
#ifndef DT_CUDA_LOSS_H
#define DT_CUDA_LOSS_H

#include "kernel.h"

#include "../layers/loss.h"

/* Writes what the images, [batch], give to the mean loss of a step of so many, to *mean, and adds them to the step's
 * sums. */
DT_MUST_CHECK dt_status dt_cuda_xent_sum(const dt_xent_image *image, int64_t batch, int64_t step_batch, float *mean,
                                         const dt_exec *ex);

#endif /* DT_CUDA_LOSS_H */
