/*
 * cublas_gemm.h - f32 matrix products by cuBLASLt, without TF32 and without split sums: two runs give the same bits.
 *
 * No type of cuBLAS shows here, so that tests/simt/standin_cublas.c can take the place of cublas_gemm.c.
 */
#ifndef DT_CUBLAS_GEMM_H
#define DT_CUBLAS_GEMM_H

#include "detent/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dt_cublas dt_cublas;
typedef struct dt_gemm_plan dt_gemm_plan;

/* Row-major c [m][n] = op(a) op(b); op(a) is m x k, stored k x m where transposed; op(b) is k x n. */
typedef struct {
    int m, n, k;
    int transpose_a, transpose_b;
} dt_gemm_problem;

/* stream: the cudaStream_t that products run on. */
DT_MUST_CHECK dt_status dt_cublas_open(void *stream, dt_cublas **out);
void dt_cublas_close(dt_cublas *cublas);

DT_MUST_CHECK dt_status dt_gemm_plan_create(dt_cublas *cublas, const dt_gemm_problem *problem, dt_gemm_plan **out);
void dt_gemm_plan_destroy(dt_gemm_plan *plan);
/* add: to what c holds, which is not read otherwise. Device memory, aligned to 4 bytes. */
DT_MUST_CHECK dt_status dt_gemm_run(const dt_gemm_plan *plan, const float *a, const float *b, float *c, int add);

#ifdef __cplusplus
}
#endif

#endif /* DT_CUBLAS_GEMM_H */
