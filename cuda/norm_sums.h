/*
 * norm_sums.h - the sums of a batch norm's statistics over the images of all ranks, where a node's purpose says so.
 *
 * A summing kernel leaves [slices][2][C] partial sums in double. They are added to [2][C], which the ranks sum, and the
 * kernel behind reads these as one slice. Sums of psums are exact, so that the statistics have the bits of one rank's.
 */
#ifndef DT_CUDA_NORM_SUMS_H
#define DT_CUDA_NORM_SUMS_H

#include "kernel.h"

extern "C" {
#include "comm.h"
}

/* Returns 1 if the statistics of a node are over the images of several ranks. */
static inline int dt_norm_is_shared(const dt_node *node)
{
    return node->purpose.norm_images != 0 && node->purpose.norm_images != node->purpose.images;
}

/* Returns the number of doubles that a node needs for shared sums beside its own scratch. */
static inline int64_t dt_norm_room(const dt_node *node, int64_t channels)
{
    return dt_norm_is_shared(node) ? 2 * channels : 0;
}

/* One thread for each of the sums, [2][channels]: adds them over the slices, in order. */
__global__ static void dt_fold_slices_kernel(const double *part, int64_t slices, int64_t n_sums, double *total)
{
    const int64_t i = dt_thread();
    if (i >= n_sums) return;
    double sum = 0.0;

    for (int64_t s = 0; s < slices; s++) sum += part[s * n_sums + i];
    total[i] = sum;
}

/* Sets total, [2][channels], to the sums over the slices of this rank. */
static inline dt_status dt_fold_slices(const double *part, int64_t slices, int64_t channels, double *total,
                                       cudaStream_t stream)
{
    DT_LAUNCH(dt_fold_slices_kernel, dt_blocks(2 * channels, DT_BLOCK), DT_BLOCK, 0, stream, part, slices, 2 * channels,
              total);
    return DT_OK;
}

/* Sums n doubles over the ranks; what is launched next sees the sums. */
static inline dt_status dt_norm_reduce(const dt_exec *ex, double *total, int64_t n)
{
    DT_TRY(dt_cuda_all_reduce(ex->device, total, n, DT_SUM_F64));
    return dt_cuda_all_reduce_join(ex->device);
}

#endif /* DT_CUDA_NORM_SUMS_H */
