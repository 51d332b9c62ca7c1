/*
 * standin_cublas.c - cuda/cublas_gemm.h in plain loops, for the SIMT shim; sums in double.
 *
 * A run is work on the stream, so that a captured step replays it; its arguments belong to the dt_cublas.
 */
#include "../../cuda/cublas_gemm.h"

#include <cuda_runtime.h>

#include <stdlib.h>

#include "../../cuda/cuda_check.h"

struct dt_gemm_plan {
    dt_gemm_problem problem;
    dt_cublas *cublas;
};

typedef struct gemm_run {
    dt_gemm_problem problem;
    const float *a, *b;
    float *c;
    int add;
    struct gemm_run *next;
} gemm_run;

struct dt_cublas {
    cudaStream_t stream;
    gemm_run *runs;
};

dt_status dt_cublas_open(void *stream, dt_cublas **out)
{
    dt_cublas *cublas = calloc(1, sizeof *cublas);
    DT_CHECK(cublas, DT_ERR_MEMORY, "no memory for the stand-in");
    cublas->stream = stream;
    *out = cublas;
    return DT_OK;
}

void dt_cublas_close(dt_cublas *cublas)
{
    if (!cublas) return;
    while (cublas->runs) {
        gemm_run *run = cublas->runs;
        cublas->runs = run->next;
        free(run);
    }
    free(cublas);
}

dt_status dt_gemm_plan_create(dt_cublas *cublas, const dt_gemm_problem *problem, dt_gemm_plan **out)
{
    dt_gemm_plan *plan = calloc(1, sizeof *plan);
    DT_CHECK(plan, DT_ERR_MEMORY, "no memory for a product's plan");
    plan->problem = *problem;
    plan->cublas = cublas;
    *out = plan;
    return DT_OK;
}

void dt_gemm_plan_destroy(dt_gemm_plan *plan)
{
    free(plan);
}

static void run_now(void *argument)
{
    const gemm_run *run = argument;
    const dt_gemm_problem *p = &run->problem;

    for (int i = 0; i < p->m; i++) {
        for (int j = 0; j < p->n; j++) {
            double sum = 0.0;
            for (int l = 0; l < p->k; l++) {
                const float a = p->transpose_a ? run->a[(int64_t)l * p->m + i] : run->a[(int64_t)i * p->k + l];
                const float b = p->transpose_b ? run->b[(int64_t)j * p->k + l] : run->b[(int64_t)l * p->n + j];
                sum += (double)a * (double)b;
            }
            float *c = &run->c[(int64_t)i * p->n + j];
            *c = (run->add ? *c : 0.0f) + (float)sum;
        }
    }
}

dt_status dt_gemm_run(const dt_gemm_plan *plan, const float *a, const float *b, float *c, int add)
{
    gemm_run *run = calloc(1, sizeof *run);
    DT_CHECK(run, DT_ERR_MEMORY, "no memory for a run");
    run->problem = plan->problem;
    run->a = a;
    run->b = b;
    run->c = c;
    run->add = add;
    run->next = plan->cublas->runs;
    plan->cublas->runs = run;
    DT_CUDA(cudaLaunchHostFunc(plan->cublas->stream, run_now, run));
    return DT_OK;
}
