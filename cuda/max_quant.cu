/*
 * max_quant.cu - CUDA kernels of the weight quantizer by the largest magnitude; see quant/max_quant.c, and
 *                core/arith/range.h for the arithmetic.
 */
#include "pass.h"

#include "../core/arith/range.h"

/* A block for each filter, or one for all of them; n weights have one scale. */
__global__ static void max_quant_forward_kernel(const float *w, const float *least, int high, int64_t n, float *code,
                                                float *scale)
{
    __shared__ float part[DT_BLOCK];
    const int64_t first = (int64_t)blockIdx.x * n;
    float magnitude = 0.0f;

    for (int64_t i = threadIdx.x; i < n; i += DT_BLOCK) magnitude = dt_max_magnitude(magnitude, w[first + i]);
    part[threadIdx.x] = magnitude;
    __syncthreads();
    for (unsigned half = DT_BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] = dt_max_magnitude(part[threadIdx.x], part[threadIdx.x + half]);
        __syncthreads();
    }
    const double step = dt_max_step(part[0], high, least[blockIdx.x]);
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
