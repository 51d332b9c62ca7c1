/*
 * comm.h - sums over ranks on GPUs: a second stream beside that of the kernels.
 *
 * A sum waits, by an event, for what was launched before it, and runs beside what is launched next; a join lets the
 * kernels' stream wait for all sums so far. Both are recorded by a capture as a fork and a join.
 */
#ifndef DT_CUDA_COMM_H
#define DT_CUDA_COMM_H

#include "../core/backend.h"

#include <cuda_runtime.h>

typedef struct dt_cuda_comm dt_cuda_comm;

/* The functions of dt_backend for several ranks. device is a dt_cuda_device. */
DT_MUST_CHECK dt_status dt_cuda_comm_open(void *device, dt_dist *dist, char *text, size_t text_bytes);
DT_MUST_CHECK dt_status dt_cuda_all_reduce(void *device, void *data, int64_t count, dt_sum_type type);
DT_MUST_CHECK dt_status dt_cuda_all_reduce_join(void *device);
/* Those with kernels, in comm_sums.cu. */
DT_MUST_CHECK dt_status dt_cuda_add_gradients(void *device, float *sum, const float *v, int64_t count);
DT_MUST_CHECK dt_status dt_cuda_follow(void *device, float *mean, const float *v, int64_t count, const dt_step *step);
DT_MUST_CHECK dt_status dt_cuda_pack_sums(void *device, const dt_step_sum *sum, const float *state, int64_t n,
                                          double *room);
DT_MUST_CHECK dt_status dt_cuda_unpack_sums(void *device, const double *room, int ranks, dt_step_sum *sum, float *state,
                                            int64_t n);

void dt_cuda_comm_close(dt_cuda_comm *comm);
/* Waits until `stream` has run what was launched on it. DT_ERR_COMM: the work of all ranks has been ended meanwhile. */
DT_MUST_CHECK dt_status dt_cuda_comm_wait(dt_cuda_comm *comm, cudaStream_t stream);

#endif /* DT_CUDA_COMM_H */
