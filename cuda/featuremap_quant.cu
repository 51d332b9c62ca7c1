/*
 * featuremap_quant.cu - CUDA kernels that round each image to an affine grid of its own; see quant/featuremap_quant.c,
 *                       and core/arith/qkeras.h for the arithmetic.
 */
#include "pass.h"
#include "reduce.h"

#include "../core/arith/qkeras.h"

/* A block for each image, of n values. The least and the largest value are the same in any order. */
__global__ static void featuremap_quant_kernel(const float *x, int64_t n, int bits, float *y)
{
    const int64_t first = (int64_t)blockIdx.x * n;
    const unsigned t = threadIdx.x;
    double least = dt_qkeras_flush((double)x[first]), most = least;

    for (int64_t i = t; i < n; i += DT_BLOCK) {
        least = dt_qkeras_least(least, dt_qkeras_flush((double)x[first + i]));
        most = dt_qkeras_most(most, dt_qkeras_flush((double)x[first + i]));
    }
    least = dt_block_join<double, dt_qkeras_least>(least);
    most = dt_block_join<double, dt_qkeras_most>(most);
    const dt_qkeras_grid grid = dt_qkeras_training_grid(least, most, bits);
    for (int64_t i = t; i < n; i += DT_BLOCK) {
        y[first + i] = dt_qkeras_training_value((double)x[first + i], &grid, bits);
    }
}

static dt_status featuremap_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t images = node->out->shape.dim[0];

    DT_LAUNCH(featuremap_quant_kernel, (unsigned)images, DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_count(&node->out->shape) / images, ((const dt_featuremap_quant_params *)node->params)->bits,
              dt_values(node->out));
    return DT_OK;
}

const dt_kernel dt_cuda_featuremap_quant = { NULL, featuremap_quant_forward, dt_pass_backward, NULL, 1u };
