/*
 * cuda_backend.c - NVIDIA GPUs as a dt_backend: memory and capture on one stream, and the table of kernels.
 *
 * CUDA's current device belongs to the thread. So a thread works on one GPU, that of the context which it opened last.
 *
 * Kernels: the .cu files of this folder.  Libraries: cudnn_graph.c, cublas_gemm.c, comm_nccl.c.
 */
#include "cuda_device.h"

#include "cudnn/conv_problem.h"
#include "cuda_check.h"
#include "pci_bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_MAJOR = 8 }; /* compute capability; kernels are built from sm_80 on */

static dt_status cuda_find(int ordinal, struct cudaDeviceProp *properties)
{
    int n_devices = 0;
    const cudaError_t found = cudaGetDeviceCount(&n_devices);

    if (found != cudaSuccess) {
        (void)cudaGetLastError(); /* else the next launch would report it again */
        return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "no usable NVIDIA GPU or driver: %s; choose the device cpu, or look at nvidia-smi",
                        cudaGetErrorString(found));
    }
    DT_CHECK(n_devices > 0, DT_ERR_UNSUPPORTED, "this machine has no NVIDIA GPU; choose the device cpu");
    DT_CHECK(ordinal >= 0 && ordinal < n_devices, DT_ERR_UNSUPPORTED, "GPU %d was asked for, this machine has 0..%d",
             ordinal, n_devices - 1);
    DT_CUDA(cudaGetDeviceProperties(properties, ordinal));
    DT_CHECK(properties->major >= OLDEST_MAJOR, DT_ERR_UNSUPPORTED, "%s has compute capability %d.%d, %d.0 is needed",
             properties->name, properties->major, properties->minor, OLDEST_MAJOR);
    return DT_OK;
}

static int cuda_present(void)
{
    int n_devices = 0;
    const cudaError_t found = cudaGetDeviceCount(&n_devices);

    if (found != cudaSuccess) (void)cudaGetLastError();
    if (found == cudaErrorNoDevice) return 0;
    if (found == cudaErrorInsufficientDriver) return dt_nvidia_on_bus("/sys/bus/pci/devices"); /* also: no driver */
    return found != cudaSuccess || n_devices > 0;
}

static int cuda_count(void)
{
    int n_devices = 0;
    const cudaError_t found = cudaGetDeviceCount(&n_devices);

    if (found != cudaSuccess) (void)cudaGetLastError();
    return found == cudaSuccess ? n_devices : 0;
}

static void cuda_close(void *state)
{
    dt_cuda_device *d = state;

    if (!d) return;
    dt_cuda_comm_close(d->comm);
    dt_cublas_close(d->cublas);
    dt_cudnn_close(d->cudnn);
    if (d->peek_done) (void)cudaEventDestroy(d->peek_done);
    if (d->peeked) (void)cudaFreeHost(d->peeked);
    if (d->stream) (void)cudaStreamDestroy(d->stream);
    free(d);
}

static dt_status cuda_start(dt_cuda_device *d)
{
    DT_CUDA(cudaSetDevice(d->ordinal));
    DT_CUDA(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
    DT_CUDA(cudaMallocHost(&d->peeked, DT_PEEK_BYTES));
    DT_CUDA(cudaEventCreateWithFlags(&d->peek_done, cudaEventDisableTiming));
    DT_TRY(dt_cudnn_open(d->stream, &d->cudnn));
    DT_TRY(dt_cublas_open(d->stream, &d->cublas));
    return DT_OK;
}

static dt_status cuda_open(const dt_options *opt, void **device, char *text, size_t text_bytes)
{
    struct cudaDeviceProp properties;
    DT_TRY(cuda_find(opt->device, &properties));

    dt_cuda_device *d = calloc(1, sizeof *d);
    DT_CHECK(d, DT_ERR_MEMORY, "cuda: no memory for the device's state");
    d->ordinal = opt->device;
    d->multiprocessors = properties.multiProcessorCount;
    const dt_status started = cuda_start(d);
    if (started != DT_OK) {
        cuda_close(d);
        return started;
    }
    snprintf(text, text_bytes, "%s, sm_%d%d, %s", properties.name, properties.major, properties.minor,
             dt_cudnn_name().text);
    *device = d;
    return DT_OK;
}

static dt_status cuda_alloc(void *device, size_t bytes, void **out)
{
    const cudaError_t got = cudaMalloc(out, bytes > 0 ? bytes : 1);
    (void)device;

    if (got == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, all_bytes = 0;
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&free_bytes, &all_bytes);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                        "%.1f MiB asked for, %.1f of the GPU's %.1f MiB are free; a smaller batch needs less",
                        (double)bytes / 0x1p20, (double)free_bytes / 0x1p20, (double)all_bytes / 0x1p20);
    }
    DT_CUDA(got);
    return DT_OK;
}

static void cuda_free(void *device, void *p)
{
    (void)device;
    (void)cudaFree(p);
}

/* host is pageable, so the copy has left it when the call returns */
static dt_status cuda_write(void *device, void *dst, const void *host, size_t bytes)
{
    const dt_cuda_device *d = device;

    DT_CUDA(cudaMemcpyAsync(dst, host, bytes, cudaMemcpyHostToDevice, d->stream));
    return DT_OK;
}

/* With other ranks the wait comes first: a copy to pageable memory would wait by itself, whatever becomes of them. */
static dt_status cuda_read(void *device, void *host, const void *src, size_t bytes)
{
    const dt_cuda_device *d = device;

    if (d->comm) DT_TRY(dt_cuda_comm_wait(d->comm, d->stream));
    DT_CUDA(cudaMemcpyAsync(host, src, bytes, cudaMemcpyDeviceToHost, d->stream));
    DT_CUDA(cudaStreamSynchronize(d->stream));
    return DT_OK;
}

static dt_status cuda_zero(void *device, void *dst, size_t bytes)
{
    const dt_cuda_device *d = device;

    DT_CUDA(cudaMemsetAsync(dst, 0, bytes, d->stream));
    return DT_OK;
}

static dt_status cuda_peek_begin(void *device, const void *src, size_t bytes)
{
    const dt_cuda_device *d = device;

    DT_CUDA(cudaMemcpyAsync(d->peeked, src, bytes, cudaMemcpyDeviceToHost, d->stream));
    DT_CUDA(cudaEventRecord(d->peek_done, d->stream));
    return DT_OK;
}

static dt_status cuda_peek_end(void *device, void *host, size_t bytes, int *ready)
{
    const dt_cuda_device *d = device;
    const cudaError_t done = cudaEventQuery(d->peek_done);

    *ready = done == cudaSuccess;
    if (done == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* else the next launch would report it */
        return DT_OK;
    }
    DT_CUDA(done);
    memcpy(host, d->peeked, bytes);
    return DT_OK;
}

static dt_status cuda_copy(void *device, void *dst, const void *src, size_t bytes)
{
    const dt_cuda_device *d = device;

    DT_CUDA(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, d->stream));
    return DT_OK;
}

static void *cuda_stream(void *device)
{
    const dt_cuda_device *d = device;

    return d->stream;
}

static dt_status cuda_capture_begin(void *device)
{
    const dt_cuda_device *d = device;

    DT_CUDA(cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal));
    return DT_OK;
}

static dt_status cuda_capture_end(void *device, void **graph)
{
    const dt_cuda_device *d = device;
    cudaGraph_t recorded = NULL;
    cudaGraphExec_t ready = NULL;

    DT_CUDA(cudaStreamEndCapture(d->stream, &recorded));
    const cudaError_t made = cudaGraphInstantiate(&ready, recorded, 0);
    (void)cudaGraphDestroy(recorded);
    DT_CUDA(made);
    *graph = ready;
    return DT_OK;
}

static dt_status cuda_replay(void *device, void *graph)
{
    const dt_cuda_device *d = device;

    DT_CUDA(cudaGraphLaunch((cudaGraphExec_t)graph, d->stream));
    return DT_OK;
}

static void cuda_graph_free(void *device, void *graph)
{
    (void)device;
    if (graph) (void)cudaGraphExecDestroy((cudaGraphExec_t)graph);
}

#define XX(upper, lower, stem) extern const dt_kernel dt_cuda_##lower;
DT_OP_MAP(XX)
#undef XX

static const dt_kernel *const *cuda_kernels(void)
{
    static const dt_kernel *const table[DT_OP_COUNT] = {
#define XX(upper, lower, stem) [DT_OP_##upper] = &dt_cuda_##lower,
        DT_OP_MAP(XX)
#undef XX
    };
    return table;
}

const dt_backend dt_backend_cuda = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .present = cuda_present,
    .count = cuda_count,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .write = cuda_write,
    .read = cuda_read,
    .zero = cuda_zero,
    .peek_begin = cuda_peek_begin,
    .peek_end = cuda_peek_end,
    .copy = cuda_copy,
    .add = dt_cuda_add_gradients,
    .follow = dt_cuda_follow,
    .update = dt_cuda_update,
    .stream = cuda_stream,
    .storage = dt_conv_storage,
    .capture_begin = cuda_capture_begin,
    .capture_end = cuda_capture_end,
    .replay = cuda_replay,
    .graph_free = cuda_graph_free,
    .comm_open = dt_cuda_comm_open,
    .all_reduce = dt_cuda_all_reduce,
    .all_reduce_join = dt_cuda_all_reduce_join,
    .pack_sums = dt_cuda_pack_sums,
    .unpack_sums = dt_cuda_unpack_sums,
    .peak = dt_cuda_peak,
    .kernels = cuda_kernels,
};
