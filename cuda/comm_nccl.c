/*
 * comm_nccl.c - sums over ranks by NCCL: the only file that calls it.
 *
 * NCCL's order of summing depends on the algorithm that it takes. Rings have a fixed order for a set of GPUs, so that a
 * run repeats its bits; a switch that sums (NVLS) need not. So rings are asked for, unless NCCL_ALGO or
 * NCCL_NVLS_ENABLE say something else. Calls do not block: a rank that never comes is told by the ranks' own watchers,
 * not by a call that hangs.
 *
 * Source: NVIDIA, "NCCL documentation", sections on communicators that do not block and on fault tolerance.
 */
#include "comm_nccl.h"

#include "cuda_check.h"

#ifdef DETENT_HAVE_NCCL

#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUS_BYTES = 32, PLACE_BYTES = 128 };

struct dt_nccl {
    ncclComm_t comm;
    cudaStream_t stream;
    dt_dist *dist;
    int is_aborted;
};

static dt_status refuse(const dt_nccl *n, const char *call, ncclResult_t result)
{
    return dt_raise(DT_ERR_COMM, __FILE__, __LINE__, "%s: %s: %s", call, ncclGetErrorString(result),
                    ncclGetLastError(n->comm));
}

/* Waits until NCCL has done what `call` began. */
static dt_status settle(const dt_nccl *n, const char *call, ncclResult_t result)
{
    const struct timespec turn = { 0, 50000 };

    while (result == ncclInProgress) {
        DT_TRY(dt_dist_check(n->dist));
        nanosleep(&turn, NULL);
        const ncclResult_t asked = ncclCommGetAsyncError(n->comm, &result);
        if (asked != ncclSuccess) return refuse(n, call, asked);
    }
    return result == ncclSuccess ? DT_OK : refuse(n, call, result);
}

/* NCCL would say so too, but not which ranks. */
static dt_status check_gpus(dt_dist *dist)
{
    const int ranks = dt_dist_size(dist);
    char bus[BUS_BYTES], mine[PLACE_BYTES] = "";
    int device;

    DT_CUDA(cudaGetDevice(&device));
    DT_CUDA(cudaDeviceGetPCIBusId(bus, sizeof bus, device));
    snprintf(mine, sizeof mine, "%s on %s", bus, dt_dist_host(dist));
    char(*all)[PLACE_BYTES] = calloc((size_t)ranks, sizeof *all);
    DT_CHECK(all, DT_ERR_MEMORY, "no memory for the places of %d GPUs", ranks);
    dt_status status = dt_dist_gather(dist, "GPUs", mine, sizeof mine, all);
    for (int i = 0; status == DT_OK && i < ranks; i++) {
        for (int k = 0; k < i && status == DT_OK; k++) {
            if (strcmp(all[i], all[k]) != 0) continue;
            status = dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                              "ranks %d and %d have the same GPU, %s; each rank needs one of its own: start fewer "
                              "ranks on this host, or use --device cpu",
                              k, i, all[i]);
        }
    }
    free(all);
    return status;
}

/* " NCCL_ALGO=Ring NCCL_NVLS_ENABLE=0" */
static void describe(char *text, size_t bytes)
{
    int version = 0;
    size_t n;

    (void)ncclGetVersion(&version);
    n = (size_t)snprintf(text, bytes, "NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    for (char **v = environ; *v && n < bytes; v++) {
        if (strncmp(*v, "NCCL_", 5) == 0) n += (size_t)snprintf(text + n, bytes - n, " %s", *v);
    }
}

static dt_status meet(dt_nccl *n)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    ncclResult_t made = ncclSuccess;

    if (dt_dist_rank(n->dist) == 0) made = ncclGetUniqueId(&id);
    if (made != ncclSuccess) return refuse(n, "ncclGetUniqueId", made);
    DT_TRY(dt_dist_broadcast(n->dist, "NCCL's id", &id, sizeof id));
    config.blocking = 0;
    made = ncclCommInitRankConfig(&n->comm, dt_dist_size(n->dist), id, dt_dist_rank(n->dist), &config);
    dt_dist_wait_begin(n->dist, "meeting by NCCL");
    const dt_status status = settle(n, "ncclCommInitRankConfig", made);
    dt_dist_wait_end(n->dist);
    return status;
}

dt_status dt_nccl_open(dt_dist *dist, cudaStream_t stream, dt_nccl **out, char *text, size_t text_bytes)
{
    DT_TRY(check_gpus(dist));
    dt_nccl *n = calloc(1, sizeof *n);
    DT_CHECK(n, DT_ERR_MEMORY, "no memory for NCCL");
    n->stream = stream;
    n->dist = dist;
    setenv("NCCL_ALGO", "Ring", 0);
    setenv("NCCL_NVLS_ENABLE", "0", 0);
    const dt_status met = meet(n);
    if (met != DT_OK) {
        dt_nccl_abort(n);
        free(n);
        return met;
    }
    describe(text, text_bytes);
    *out = n;
    return DT_OK;
}

void dt_nccl_abort(dt_nccl *n)
{
    if (n->comm && !n->is_aborted) (void)ncclCommAbort(n->comm);
    n->is_aborted = 1;
}

void dt_nccl_close(dt_nccl *n)
{
    if (!n) return;
    const int is_whole = !n->is_aborted && dt_nccl_check(n) == DT_OK;
    if (is_whole && settle(n, "ncclCommFinalize", ncclCommFinalize(n->comm)) == DT_OK) {
        (void)ncclCommDestroy(n->comm);
    } else {
        dt_nccl_abort(n);
    }
    free(n);
}

dt_status dt_nccl_sum(dt_nccl *n, void *data, int64_t count, dt_sum_type type)
{
    const ncclDataType_t of = type == DT_SUM_F64 ? ncclFloat64 : ncclFloat32;

    DT_CHECK(!n->is_aborted, DT_ERR_COMM, "the sums over ranks were ended");
    return settle(n, "ncclAllReduce", ncclAllReduce(data, data, (size_t)count, of, ncclSum, n->comm, n->stream));
}

dt_status dt_nccl_check(dt_nccl *n)
{
    ncclResult_t result = ncclSuccess;

    DT_CHECK(!n->is_aborted, DT_ERR_COMM, "the sums over ranks were ended");
    const ncclResult_t asked = ncclCommGetAsyncError(n->comm, &result);
    if (asked != ncclSuccess) return refuse(n, "ncclCommGetAsyncError", asked);
    return result == ncclSuccess || result == ncclInProgress ? DT_OK : refuse(n, "a sum over ranks", result);
}

#else

dt_status dt_nccl_open(dt_dist *dist, cudaStream_t stream, dt_nccl **out, char *text, size_t text_bytes)
{
    (void)dist, (void)stream, (void)out, (void)text, (void)text_bytes;
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "this build has no NCCL, by which GPUs sum over ranks: install it (libnccl-dev, or Python's "
                    "nvidia-nccl) and build again, or use --device cpu");
}

void dt_nccl_close(dt_nccl *n)
{
    (void)n;
}

dt_status dt_nccl_sum(dt_nccl *n, void *data, int64_t count, dt_sum_type type)
{
    (void)n, (void)data, (void)count, (void)type;
    return DT_ERR_UNSUPPORTED;
}

dt_status dt_nccl_check(dt_nccl *n)
{
    (void)n;
    return DT_OK;
}

void dt_nccl_abort(dt_nccl *n)
{
    (void)n;
}

#endif
