/*
 * dynamic_quant.cu - CUDA kernels that round each image to a grid of its own; see quant/dynamic_quant.c, and
 *                    core/arith/range.h for the arithmetic.
 */
#include "pass.h"
#include "reduce.h"

#include "../core/arith/range.h"

/* A block for each image, of n values. The least and the largest value are the same in any order. */
__global__ static void dynamic_quant_forward_kernel(const float *x, int64_t n, float *y)
{
    const int64_t first = (int64_t)blockIdx.x * n;
    const unsigned t = threadIdx.x;
    float least = 0.0f, most = 0.0f;

    for (int64_t i = t; i < n; i += DT_BLOCK) {
        least = dt_dynamic_low(least, x[first + i]);
        most = dt_dynamic_high(most, x[first + i]);
    }
    least = dt_block_join<float, dt_dynamic_low>(least);
    most = dt_block_join<float, dt_dynamic_high>(most);
    const dt_dynamic_grid grid = dt_dynamic_grid_of(least, most);
    for (int64_t i = t; i < n; i += DT_BLOCK) y[first + i] = dt_dynamic_value(x[first + i], &grid);
}

static dt_status dynamic_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t images = node->out->shape.dim[0];

    DT_LAUNCH(dynamic_quant_forward_kernel, (unsigned)images, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_count(&node->out->shape) / images, dt_values(node->out));
    return DT_OK;
}

const dt_kernel dt_cuda_dynamic_quant = { NULL, dynamic_quant_forward, dt_pass_backward, NULL, 1u };
