/*
 * float_gemm.h - products of f32 matrices by a CPU's fused multiply-adds (AVX2 and FMA), whose operands lie in the
 * cache as they are: nothing is packed.
 *
 *   c[i][j] = sum over k of a[i][k] b[k][j], in the order of k; or c[i][j] + that
 *
 * A product runs on the calling thread alone. A kernel with much work runs several products side by side.
 */
#ifndef DT_FLOAT_GEMM_H
#define DT_FLOAT_GEMM_H

#include <stdint.h>

enum { DT_FLOAT_COLUMNS = 16, DT_FLOAT_ROWS = 6 }; /* n is a multiple of the first; m is best one of the second */

typedef struct {
    int64_t m, n, k;
    const float *a; /* value (i, k) is at a[i * a_row + k * a_step] */
    int64_t a_row, a_step;
    const float *b; /* value (k, j) is at b[k * b_row + j] */
    int64_t b_row;
    float *c; /* row i begins at c[i * c_row] */
    int64_t c_row;
    int add; /* 1: to what c holds */
} dt_float_gemm;

/* Returns 1 if the CPU's level has AVX2, the CPU FMA, and this build the code. */
int dt_float_gemm_has_fma(void);

/* Computes a product. */
void dt_float_gemm_run(const dt_float_gemm *g);

#endif /* DT_FLOAT_GEMM_H */
