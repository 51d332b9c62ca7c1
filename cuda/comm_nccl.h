/*
 * comm_nccl.h - what comm.c asks of NCCL. comm_nccl.c is the only file that calls it; a build without NCCL refuses, and
 *               tests have a stand-in on the ranks' own links (tests/simt/standin_nccl.c).
 */
#ifndef DT_CUDA_COMM_NCCL_H
#define DT_CUDA_COMM_NCCL_H

#include "../core/backend.h"

#include <cuda_runtime.h>

typedef struct dt_nccl dt_nccl;

/* Meets the ranks of dist, each with the GPU that is current. Sums run on `stream`. text tells the version, and what of
 * NCCL's variables is set. */
DT_MUST_CHECK dt_status dt_nccl_open(dt_dist *dist, cudaStream_t stream, dt_nccl **out, char *text, size_t text_bytes);
void dt_nccl_close(dt_nccl *n);
/* Launches the sum of `count` values over all ranks, in place. All ranks get equal bits. */
DT_MUST_CHECK dt_status dt_nccl_sum(dt_nccl *n, void *data, int64_t count, dt_sum_type type);
/* DT_ERR_COMM if a sum that was launched has failed. */
DT_MUST_CHECK dt_status dt_nccl_check(dt_nccl *n);
/* Ends what still runs: nothing more can be summed. */
void dt_nccl_abort(dt_nccl *n);

#endif /* DT_CUDA_COMM_NCCL_H */
