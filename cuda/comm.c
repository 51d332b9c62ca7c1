/*
 * comm.c - see comm.h. The sums themselves are NCCL's (comm_nccl.c).
 *
 * A rank that ends or hangs leaves the others' kernels waiting for ever. So a host that waits for its GPU looks whether
 * the work of all has been ended, which the ranks' watchers tell (core/dist/watch.c), and then aborts.
 * Tests: tests/core/test_ranks_cuda.c.
 */
#include "comm.h"

#include "comm_nccl.h"
#include "cuda_check.h"
#include "cuda_device.h"

#include <stdlib.h>
#include <time.h>

struct dt_cuda_comm {
    cudaStream_t stream;     /* of the sums */
    cudaEvent_t ready, done; /* the kernels' stream is so far; the sums are */
    dt_dist *dist;
    dt_nccl *nccl;
};

void dt_cuda_comm_close(dt_cuda_comm *comm)
{
    if (!comm) return;
    dt_nccl_close(comm->nccl);
    if (comm->done) (void)cudaEventDestroy(comm->done);
    if (comm->ready) (void)cudaEventDestroy(comm->ready);
    if (comm->stream) (void)cudaStreamDestroy(comm->stream);
    free(comm);
}

static dt_status comm_start(dt_cuda_comm *comm, char *text, size_t text_bytes)
{
    DT_CUDA(cudaStreamCreateWithFlags(&comm->stream, cudaStreamNonBlocking));
    DT_CUDA(cudaEventCreateWithFlags(&comm->ready, cudaEventDisableTiming));
    DT_CUDA(cudaEventCreateWithFlags(&comm->done, cudaEventDisableTiming));
    return dt_nccl_open(comm->dist, comm->stream, &comm->nccl, text, text_bytes);
}

dt_status dt_cuda_comm_open(void *device, dt_dist *dist, char *text, size_t text_bytes)
{
    dt_cuda_device *d = device;
    dt_cuda_comm *comm = calloc(1, sizeof *comm);

    DT_CHECK(comm, DT_ERR_MEMORY, "cuda: no memory for the links to other ranks");
    comm->dist = dist;
    const dt_status started = comm_start(comm, text, text_bytes);
    if (started != DT_OK) {
        dt_cuda_comm_close(comm);
        return dt_forward(started, __FILE__, __LINE__);
    }
    d->comm = comm;
    return DT_OK;
}

dt_status dt_cuda_all_reduce(void *device, void *data, int64_t count, dt_sum_type type)
{
    const dt_cuda_device *d = device;
    dt_cuda_comm *comm = d->comm;

    if (!comm) return DT_OK; /* one rank has the sums of all */
    DT_CUDA(cudaEventRecord(comm->ready, d->stream));
    DT_CUDA(cudaStreamWaitEvent(comm->stream, comm->ready, 0));
    return dt_nccl_sum(comm->nccl, data, count, type);
}

dt_status dt_cuda_all_reduce_join(void *device)
{
    const dt_cuda_device *d = device;

    if (!d->comm) return DT_OK;
    DT_CUDA(cudaEventRecord(d->comm->done, d->comm->stream));
    DT_CUDA(cudaStreamWaitEvent(d->stream, d->comm->done, 0));
    return DT_OK;
}

static dt_status look_after(const dt_cuda_comm *comm)
{
    const dt_status over = dt_dist_check(comm->dist);

    return over == DT_OK ? dt_nccl_check(comm->nccl) : over;
}

/* The first looks follow each other at once, because most waits are short. */
static dt_status wait_watched(const dt_cuda_comm *comm, cudaStream_t stream)
{
    const struct timespec turn = { 0, 100000 };
    cudaError_t state;

    for (int looks = 0; (state = cudaStreamQuery(stream)) == cudaErrorNotReady; looks++) {
        (void)cudaGetLastError();
        DT_TRY(look_after(comm));
        if (looks > 1000) nanosleep(&turn, NULL);
    }
    DT_CUDA(state);
    return look_after(comm);
}

dt_status dt_cuda_comm_wait(dt_cuda_comm *comm, cudaStream_t stream)
{
    dt_dist_wait_begin(comm->dist, "sums on the GPU");
    const dt_status status = wait_watched(comm, stream);
    dt_dist_wait_end(comm->dist);
    if (status != DT_OK) dt_nccl_abort(comm->nccl);
    return status;
}
