/*
 * max_quant.cu - CUDA kernels of the weight quantizer by the largest magnitude; see quant/max_quant.c, and
 *                core/arith/range.h for the arithmetic.
 */
#include "pass.h"
#include "reduce.h"

#include "../core/arith/range.h"

/* A block for each filter, or one for all of them; n weights have one scale. */
__global__ static void max_quant_forward_kernel(const float *w, const float *least, int high, int64_t n, float *code,
                                                float *scale)
{
    const int64_t first = (int64_t)blockIdx.x * n;
    float magnitude = 0.0f;

    for (int64_t i = threadIdx.x; i < n; i += DT_BLOCK) magnitude = dt_max_magnitude(magnitude, w[first + i]);
    magnitude = dt_block_join<float, dt_max_magnitude>(magnitude);
    const double step = dt_max_step(magnitude, high, least[blockIdx.x]);
    for (int64_t i = threadIdx.x; i < n; i += DT_BLOCK) code[first + i] = dt_max_code(w[first + i], step, high);
    if (threadIdx.x == 0) scale[blockIdx.x] = (float)step;
}

static dt_status max_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *out = node->out;

    DT_LAUNCH(max_quant_forward_kernel, (unsigned)out->n_scale, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->in[1]), (int)out->qmax, dt_count(&out->shape) / out->n_scale, dt_values(out), out->scale);
    return DT_OK;
}

const dt_kernel dt_cuda_max_quant = { NULL, max_quant_forward, dt_pass_backward, NULL, 1u };
