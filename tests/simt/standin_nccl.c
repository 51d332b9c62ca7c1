/*
 * standin_nccl.c - cuda/comm_nccl.h for the SIMT shim: ranks are processes, which sum by their own links.
 *
 * A sum is work on the stream, so that a captured step replays it; its arguments belong to the dt_nccl. What fails is
 * told by the next check, as NCCL does.
 */
#include "../../cuda/comm_nccl.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../cuda/cuda_check.h"

typedef struct sum_run {
    dt_nccl *nccl;
    void *data;
    int64_t count;
    dt_sum_type type;
    struct sum_run *next;
} sum_run;

struct dt_nccl {
    dt_dist *dist;
    cudaStream_t stream;
    sum_run *runs;
    dt_status failed; /* of the first sum that failed */
    char why[512];
};

dt_status dt_nccl_open(dt_dist *dist, cudaStream_t stream, dt_nccl **out, char *text, size_t text_bytes)
{
    dt_nccl *n = calloc(1, sizeof *n);
    DT_CHECK(n, DT_ERR_MEMORY, "no memory for the stand-in");
    n->dist = dist;
    n->stream = stream;
    snprintf(text, text_bytes, "the ranks' own links, in place of NCCL");
    *out = n;
    return DT_OK;
}

void dt_nccl_close(dt_nccl *n)
{
    if (!n) return;
    while (n->runs) {
        sum_run *run = n->runs;
        n->runs = run->next;
        free(run);
    }
    free(n);
}

static void run_now(void *argument)
{
    const sum_run *run = argument;
    dt_nccl *n = run->nccl;

    if (n->failed != DT_OK) return;
    n->failed = run->type == DT_SUM_F64 ? dt_dist_sum(n->dist, "a sum in double", run->data, run->count)
                                        : dt_dist_sum_floats(n->dist, "a sum", run->data, run->count);
    if (n->failed != DT_OK) snprintf(n->why, sizeof n->why, "%s", dt_last_error());
}

dt_status dt_nccl_sum(dt_nccl *n, void *data, int64_t count, dt_sum_type type)
{
    sum_run *run = calloc(1, sizeof *run);
    DT_CHECK(run, DT_ERR_MEMORY, "no memory for a sum");
    *run = (sum_run){ .nccl = n, .data = data, .count = count, .type = type, .next = n->runs };
    n->runs = run;
    DT_CUDA(cudaLaunchHostFunc(n->stream, run_now, run));
    return DT_OK;
}

dt_status dt_nccl_check(dt_nccl *n)
{
    DT_CHECK(n->failed == DT_OK, n->failed, "%s", n->why);
    return DT_OK;
}

void dt_nccl_abort(dt_nccl *n)
{
    (void)n; /* nothing runs by itself */
}
