/*
 * gemm.c - computes the product by oneDNN in a build with it (DETENT_HAVE_ONEDNN), else by plain loops that sum in
 *          double.
 *
 * Tests: tests/layers/test_linear.c, tests/layers/test_conv.c.
 */
#include "gemm.h"

#ifdef DETENT_HAVE_ONEDNN
#include "../conv/onednn.h"

dt_status dt_gemm(int64_t m, int64_t n, int64_t k, float alpha, dt_matrix a, dt_matrix b, float beta, float *c,
                  int64_t c_stride)
{
    const int before = dt_onednn_enter();
    const dnnl_status_t done = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, alpha, a.at,
                                          a.stride, b.at, b.stride, beta, c, c_stride);
    dt_onednn_leave(before);
    DT_DNNL(done);
    return DT_OK;
}

#else

dt_status dt_gemm(int64_t m, int64_t n, int64_t k, float alpha, dt_matrix a, dt_matrix b, float beta, float *c,
                  int64_t c_stride)
{
    const int64_t a_row = a.transposed ? 1 : a.stride, a_column = a.transposed ? a.stride : 1;
    const int64_t b_row = b.transposed ? 1 : b.stride, b_column = b.transposed ? b.stride : 1;

    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            float *to = c + i * c_stride + j;
            double sum = 0.0;
            for (int64_t l = 0; l < k; l++) {
                sum += (double)a.at[i * a_row + l * a_column] * (double)b.at[l * b_row + j * b_column];
            }
            *to = (beta == 0.0f ? 0.0f : beta * *to) + alpha * (float)sum;
        }
    }
    return DT_OK;
}

#endif
