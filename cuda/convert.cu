/*
 * convert.cu - the kernels around a convolution of cuDNN: operands in, gradients out; see convert.h.
 */
#include "convert.h"
#include "kernel.h"

__device__ static void store(void *to, dt_operand operand, int64_t i, float value)
{
    switch (operand) {
    case DT_OPERAND_F32: ((float *)to)[i] = value; break;
    case DT_OPERAND_BF16: ((uint16_t *)to)[i] = dt_to_bf16(value); break;
    case DT_OPERAND_I8: ((int8_t *)to)[i] = (int8_t)value; break;
    }
}

/* one thread for each element of `to` */
__global__ static void convert_kernel(dt_convert p)
{
    const int64_t i = dt_thread();
    if (i >= p.rows * p.padded) return;
    const int64_t row = i / p.padded, c = i % p.padded;

    float value = c < p.channels ? p.from[row * p.channels + c] : 0.0f;
    if (p.scale) value *= p.scale[row / p.rows_per_scale];
    store(p.to, p.operand, i, value);
}

/* one thread for each element of `to`, to which it gives */
__global__ static void accumulate_kernel(dt_accumulate p)
{
    const int64_t i = dt_thread();
    if (i >= p.rows * p.channels) return;
    const float value = p.from[i / p.channels * p.padded + i % p.channels];

    dt_give(&p.to[i], p.scale ? p.scale[0] * value : value, p.fresh);
}

/* one thread for each scale */
__global__ static void psum_scale_kernel(const float *sx, const float *sw, int n, float *scale)
{
    const int64_t i = dt_thread();

    if (i < n) scale[i] = sx[0] * sw[i];
}

dt_status dt_cuda_convert(const dt_convert *c, void *stream)
{
    DT_LAUNCH(convert_kernel, dt_blocks(c->rows * c->padded, DT_BLOCK), DT_BLOCK, 0, (cudaStream_t)stream, *c);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

dt_status dt_cuda_accumulate(const dt_accumulate *a, void *stream)
{
    DT_LAUNCH(accumulate_kernel, dt_blocks(a->rows * a->channels, DT_BLOCK), DT_BLOCK, 0, (cudaStream_t)stream, *a);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

dt_status dt_cuda_psum_scale(const float *sx, const float *sw, int n, float *scale, void *stream)
{
    DT_LAUNCH(psum_scale_kernel, dt_blocks(n, DT_BLOCK), DT_BLOCK, 0, (cudaStream_t)stream, sx, sw, n, scale);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}
