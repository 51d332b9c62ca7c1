/*
 * gemm.h - the CPU's matrix product. It runs on the calling thread alone, so that its bits do not depend on the number
 *          of threads. A kernel with much work runs several products side by side.
 */
#ifndef DT_GEMM_H
#define DT_GEMM_H

#include <stdint.h>

#include "detent/status.h"

/* A row-major matrix. If transposed is 1, element (i, j) is at [j][i]. */
typedef struct {
    const float *at;
    int64_t stride; /* elements from a row of memory to the next */
    int transposed;
} dt_matrix;

/* Computes c = beta * c + alpha * a b, where a is m x k, b is k x n and c is m x n. Rows of c are c_stride elements
 * apart. If beta is 0, c is not read. */
DT_MUST_CHECK dt_status dt_gemm(int64_t m, int64_t n, int64_t k, float alpha, dt_matrix a, dt_matrix b, float beta,
                                float *c, int64_t c_stride);

#endif /* DT_GEMM_H */
