/*
 * cuda_device.h - the struct to which dt_exec.device points on CUDA, and the part of dt_backend_cuda that has kernels.
 */
#ifndef DT_CUDA_DEVICE_H
#define DT_CUDA_DEVICE_H

#include <cuda_runtime.h>

#include "../core/backend.h"
#include "comm.h"
#include "cublas_gemm.h"
#include "cudnn/cudnn_graph.h"

/* The state of a device. Kernels are launched on one stream, and so run in the order of the launches; sums over ranks
 * have another (comm.h). */
typedef struct {
    int ordinal;
    int multiprocessors;
    cudaStream_t stream;
    void *peeked; /* DT_PEEK_BYTES of pinned host memory; peek_done tells when the copy to it is complete */
    cudaEvent_t peek_done;
    dt_cudnn *cudnn;
    dt_cublas *cublas;
    dt_cuda_comm *comm; /* NULL: this rank is alone */
} dt_cuda_device;

/* Does one optimiser update. In optim.cu. */
DT_MUST_CHECK dt_status dt_cuda_update(const dt_update *u, const dt_exec *ex);

/* Measures a GPU's peak; see dt_backend. In peak.c. */
DT_MUST_CHECK dt_status dt_cuda_peak(void *device, dt_precision precision, double *out);

#endif /* DT_CUDA_DEVICE_H */
