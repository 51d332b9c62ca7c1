/*
 * convert.cu - the kernels around a convolution of cuDNN, which convert its operands and its gradients; see convert.h.
 *
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_half.c.
 */
#include "convert.h"
#include "kernel.h"

#include "../core/half.h"

__device__ static float load(const void *from, dt_dtype type, int64_t i)
{
    switch (type) {
    case DT_BF16: return dt_from_bf16(((const uint16_t *)from)[i]);
    case DT_F16: return dt_from_fp16(((const uint16_t *)from)[i]);
    default: return ((const float *)from)[i];
    }
}

__device__ static void store(void *to, dt_dtype type, int64_t i, float value)
{
    switch (type) {
    case DT_BF16: ((uint16_t *)to)[i] = dt_to_bf16(value); break;
    case DT_F16: ((uint16_t *)to)[i] = dt_to_fp16(value); break;
    case DT_I8: ((int8_t *)to)[i] = (int8_t)value; break;
    default: ((float *)to)[i] = value; break;
    }
}

/* One thread for each element of `to`. Where no channels are added and one scale is all, places need no division. */
__global__ static void convert_kernel(dt_convert p)
{
    const int64_t i = dt_thread();
    if (i >= p.rows * p.padded) return;
    int64_t at = i;
    float value = 0.0f;

    if (p.padded != p.channels) at = i % p.padded < p.channels ? i / p.padded * p.channels + i % p.padded : -1;
    if (at >= 0) value = load(p.from, p.from_type, at);
    if (p.scale) value *= p.scale[p.rows_per_scale < p.rows ? i / (p.padded * p.rows_per_scale) : 0];
    store(p.to, p.to_type, i, value);
}

/* one thread for each element of `to`, to which it gives */
__global__ static void accumulate_kernel(dt_accumulate p)
{
    const int64_t i = dt_thread();
    if (i >= p.rows * p.channels) return;
    const int64_t at = p.padded != p.channels ? i / p.channels * p.padded + i % p.channels : i;
    float value = load(p.from, p.from_type, at) * p.unit;

    if (p.scale) value *= p.scale[0];
    if (!p.fresh) value += load(p.to, p.to_type, i);
    store(p.to, p.to_type, i, value);
}

/* one thread for each scale */
__global__ static void psum_scale_kernel(const float *sx, const float *sw, int unit, int n, float *scale)
{
    const int64_t i = dt_thread();

    if (i < n) scale[i] = (float)unit * (sx[0] * sw[i]);
}

dt_status dt_cuda_convert(const dt_convert *c, void *stream)
{
    DT_LAUNCH(convert_kernel, dt_blocks(c->rows * c->padded, DT_BLOCK), DT_BLOCK, 0, (cudaStream_t)stream, *c);
    return DT_OK;
}

dt_status dt_cuda_accumulate(const dt_accumulate *a, void *stream)
{
    DT_LAUNCH(accumulate_kernel, dt_blocks(a->rows * a->channels, DT_BLOCK), DT_BLOCK, 0, (cudaStream_t)stream, *a);
    return DT_OK;
}

dt_status dt_cuda_psum_scale(const float *sx, const float *sw, int unit, int n, float *scale, void *stream)
{
    DT_LAUNCH(psum_scale_kernel, dt_blocks(n, DT_BLOCK), DT_BLOCK, 0, (cudaStream_t)stream, sx, sw, unit, n, scale);
    return DT_OK;
}
