/*
 * requantize.cu - CUDA kernels of codes of reals and of sums of codes; see quant/requantize.c.
 */
#include "kernel.h"

#include "../quant/requantize.h"

/* one thread for each element; the first also writes the scale */
__global__ static void quantize_kernel(const float *x, const float *given_scale, dt_quantize_params p, float *code,
                                       float *scale, int64_t count)
{
    const int64_t i = dt_thread();

    if (i == 0) *scale = *given_scale;
    if (i < count) code[i] = dt_image_code(x[i], *given_scale, &p);
}

static dt_status quantize_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(quantize_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->in[DT_QUANTIZE_SCALE]), *(const dt_quantize_params *)node->params, dt_values(node->out),
              node->out->scale, count);
    return DT_OK;
}

const dt_kernel dt_cuda_quantize = { NULL, quantize_forward, NULL, NULL, 0 };

static dt_status requantize_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = dt_requant_scratch(node);
    return DT_OK;
}

/* one thread for each channel; the first also writes the scale */
__global__ static void requantizers_kernel(dt_requant_view v, float *scale)
{
    const int64_t c = dt_thread();

    if (c == 0) *scale = *v.scale_y;
    if (c < v.channels) dt_requant_channel(&v, c);
}

/* one thread for each sum */
__global__ static void requantize_kernel(dt_requant_view v, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) v.code[i] = dt_requant_value(&v, v.product, i % v.channels, v.x[i]);
}

static dt_status requantize_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_requant_view v = dt_requant_look(node, ex->scratch);
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(requantizers_kernel, dt_blocks(v.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v, node->out->scale);
    DT_LAUNCH(requantize_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v, count);
    return DT_OK;
}

const dt_kernel dt_cuda_requantize = { requantize_prepare, requantize_forward, NULL, NULL, 0 };
