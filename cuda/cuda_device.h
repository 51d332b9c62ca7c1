/*
 * cuda_device.h - what dt_exec.device points to on CUDA, and the part of dt_backend_cuda that is a kernel.
 */
#ifndef DT_CUDA_DEVICE_H
#define DT_CUDA_DEVICE_H

#include <cuda_runtime.h>

#include "../core/backend.h"
#include "cublas_gemm.h"
#include "cudnn/cudnn_graph.h"

/* One stream carries everything, so whatever is launched runs in that order. */
typedef struct {
    int ordinal;
    cudaStream_t stream;
    void *peeked; /* pinned; peek_done: the copy into it is complete */
    cudaEvent_t peek_done;
    dt_cudnn *cudnn;
    dt_cublas *cublas;
} dt_cuda_device;

DT_MUST_CHECK dt_status dt_cuda_update(const dt_update *u, const dt_exec *ex); /* optim.cu */

#endif /* DT_CUDA_DEVICE_H */
