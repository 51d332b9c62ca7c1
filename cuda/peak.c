/*
 * peak.c - how many operations a second this GPU does at most in products of matrices, measured.
 *
 * The product is as large as a GPU needs to show its peak: sizes double until one takes a millisecond. In f32 it is
 * cuBLASLt's; in mixed precision cuDNN's 1x1 convolution of fp16, which is the same product. Operands are random, as
 * zeros would take less power.  Tests: tests/cuda/test_peak.c.
 */
#include "cuda_device.h"

#include "../core/half.h"
#include "../core/rng.h"
#include "cuda_check.h"

#include <stdlib.h>

enum { FIRST_SIZE = 256, MOST_SIZE = 8192, RUNS = 20, ROUNDS = 3 };

static const float long_enough_ms = 1.0f; /* larger products would be no faster */

/* A product c = a b of size x size matrices. */
typedef struct {
    const dt_cuda_device *device;
    int size, is_half;
    dt_gemm_plan *gemm;       /* of f32; owned */
    const dt_conv_plan *conv; /* of fp16; cuDNN's state owns it */
    void *a, *b, *c, *workspace;
    cudaEvent_t start, stop;
} product;

static dt_status plan(product *p, size_t *workspace_bytes)
{
    const dt_gemm_problem gemm = { .m = p->size, .n = p->size, .k = p->size };
    const dt_conv_problem conv = { .pass = DT_CONV_FORWARD,
                                   .operand = DT_F16,
                                   .result = DT_F16,
                                   .n = p->size / 64,
                                   .h = 8,
                                   .w = 8,
                                   .c = p->size,
                                   .k = p->size,
                                   .r = 1,
                                   .s = 1,
                                   .form = dt_conv_square(1, 0) };

    *workspace_bytes = 0;
    if (!p->is_half) return dt_gemm_plan_create(p->device->cublas, &gemm, &p->gemm);
    DT_TRY(dt_conv_plan_get(p->device->cudnn, &conv, &p->conv));
    *workspace_bytes = dt_conv_plan_workspace(p->conv);
    return DT_OK;
}

/* Random f32 in +-1, or as many bytes of fp16. */
static dt_status fill(const product *p, void *to, size_t bytes)
{
    uint16_t *half = malloc(bytes);

    DT_CHECK(half, DT_ERR_MEMORY, "no memory for %zu bytes of random numbers", bytes);
    for (size_t i = 0; i < bytes / 2; i++) {
        const float x = 2.0f * dt_uniform(dt_random(7, DT_STREAM_SYNTHETIC, 0, i).v[0]) - 1.0f;
        half[i] = p->is_half ? dt_to_fp16(x) : i % 2 ? dt_to_bf16(x) : 0; /* an f32's upper half is a bf16 */
    }
    const cudaError_t copied = cudaMemcpy(to, half, bytes, cudaMemcpyHostToDevice);
    free(half);
    DT_CUDA(copied);
    return DT_OK;
}

static dt_status make(product *p)
{
    const size_t bytes = (size_t)p->size * (size_t)p->size * (p->is_half ? 2 : 4);
    size_t workspace_bytes;

    DT_TRY(plan(p, &workspace_bytes));
    DT_CUDA(cudaMalloc(&p->a, bytes));
    DT_CUDA(cudaMalloc(&p->b, bytes));
    DT_CUDA(cudaMalloc(&p->c, bytes));
    DT_CUDA(cudaMalloc(&p->workspace, workspace_bytes > 0 ? workspace_bytes : 1));
    DT_CUDA(cudaEventCreate(&p->start));
    DT_CUDA(cudaEventCreate(&p->stop));
    DT_TRY(fill(p, p->a, bytes));
    return fill(p, p->b, bytes);
}

static void unmake(product *p)
{
    if (p->stop) (void)cudaEventDestroy(p->stop);
    if (p->start) (void)cudaEventDestroy(p->start);
    (void)cudaFree(p->workspace);
    (void)cudaFree(p->c);
    (void)cudaFree(p->b);
    (void)cudaFree(p->a);
    dt_gemm_plan_destroy(p->gemm);
}

/* Runs it n times and waits. *ms: of one. */
static dt_status run(const product *p, int n, float *ms)
{
    DT_CUDA(cudaEventRecord(p->start, p->device->stream));
    for (int i = 0; i < n; i++) {
        DT_TRY(p->is_half ? dt_conv_plan_run(p->conv, p->a, p->b, p->c, p->workspace)
                          : dt_gemm_run(p->gemm, p->a, p->b, p->c, 0));
    }
    DT_CUDA(cudaEventRecord(p->stop, p->device->stream));
    DT_CUDA(cudaEventSynchronize(p->stop));
    DT_CUDA(cudaEventElapsedTime(ms, p->start, p->stop));
    *ms /= (float)n;
    return DT_OK;
}

/* Returns the least time of a product. The first run loads kernels and does not count. Rounds follow only where the
 * product is large enough. */
static dt_status time_product(product *p, float *least)
{
    float ms;

    DT_TRY(make(p));
    DT_TRY(run(p, 1, &ms));
    DT_TRY(run(p, 1, least));
    for (int i = 0; i < ROUNDS && *least >= long_enough_ms; i++) {
        DT_TRY(run(p, RUNS, &ms));
        if (ms < *least) *least = ms;
    }
    return DT_OK;
}

dt_status dt_cuda_peak(void *device, dt_precision precision, double *out)
{
    float ms = 0.0f;

    for (int size = FIRST_SIZE; size <= MOST_SIZE && ms < long_enough_ms; size *= 2) {
        product p = { .device = device, .size = size, .is_half = precision == DT_PRECISION_MIXED };
        const dt_status timed = time_product(&p, &ms);
        unmake(&p);
        DT_TRY(timed);
        *out = ms > 0.0f ? 2e3 * size * size * size / (double)ms : 0.0;
    }
    return DT_OK;
}
