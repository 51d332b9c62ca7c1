/*
 * gemm.h - the CPU's matrix product, on one thread: the same bits whatever the number of threads around it. A kernel
 *          that has much to do runs several products side by side.
 */
#ifndef DT_GEMM_H
#define DT_GEMM_H

#include <stdint.h>

#include "detent/status.h"

/* A row-major matrix; transposed: element (i, j) is at [j][i]. */
typedef struct {
    const float *at;
    int64_t stride; /* elements from a row of memory to the next */
    int transposed;
} dt_matrix;

/* c = beta c + alpha a b, where c is m x n with rows c_stride apart, and k terms make a sum. beta 0: c is not read. */
DT_MUST_CHECK dt_status dt_gemm(int64_t m, int64_t n, int64_t k, float alpha, dt_matrix a, dt_matrix b, float beta,
                                float *c, int64_t c_stride);

#endif /* DT_GEMM_H */
