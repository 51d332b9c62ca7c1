/*
 * cublas_gemm.h - f32 matrix products by cuBLASLt, without TF32 and without split sums, so that two runs give the same
 *                 bits.
 *
 * This header has no type of cuBLAS, so that tests/simt/standin_cublas.c can take the place of cublas_gemm.c.
 */
#ifndef DT_CUBLAS_GEMM_H
#define DT_CUBLAS_GEMM_H

#include "detent/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dt_cublas dt_cublas;
typedef struct dt_gemm_plan dt_gemm_plan;

/* The product c = op(a) op(b) of row-major matrices, where c is m x n, op(a) is m x k and op(b) is k x n. A matrix that
 * is transposed is stored the other way round, as k x m or n x k. */
typedef struct {
    int m, n, k;
    int transpose_a, transpose_b;
} dt_gemm_problem;

/* Opens cuBLASLt. stream is the cudaStream_t on which products run. */
DT_MUST_CHECK dt_status dt_cublas_open(void *stream, dt_cublas **out);
void dt_cublas_close(dt_cublas *cublas);

/* Chooses how a product is computed. */
DT_MUST_CHECK dt_status dt_gemm_plan_create(dt_cublas *cublas, const dt_gemm_problem *problem, dt_gemm_plan **out);
void dt_gemm_plan_destroy(dt_gemm_plan *plan);
/* Launches a product. If add is 1, it is added to c; else c is overwritten, and not read. a, b and c are device memory,
 * aligned to 4 bytes. */
DT_MUST_CHECK dt_status dt_gemm_run(const dt_gemm_plan *plan, const float *a, const float *b, float *c, int add);

#ifdef __cplusplus
}
#endif

#endif /* DT_CUBLAS_GEMM_H */
