/*
 * softmax.cu - CUDA kernels of softmax over the last axis; see layers/softmax.c.
 */
#include "kernel.h"

#include "../core/grid_facts.h"
#include "../layers/softmax.h"

/* one thread for each row: a row is a few classes, or the rows are many */
__global__ static void softmax_forward_kernel(const float *x, float *y, int64_t rows, int64_t channels)
{
    const int64_t r = dt_thread();

    if (r < rows) dt_softmax_row(x + r * channels, channels, y + r * channels);
}

/* one thread for each row; gives to dx */
__global__ static void softmax_backward_kernel(const float *y, const float *dy, float *dx, int fresh, int64_t rows,
                                               int64_t channels)
{
    const int64_t r = dt_thread();
    if (r >= rows) return;
    const double mean = dt_softmax_mean(y + r * channels, dy + r * channels, channels);

    for (int64_t i = r * channels; i < (r + 1) * channels; i++) {
        dt_give(&dx[i], dt_softmax_slope(y[i], dy[i], mean), fresh);
    }
}

static dt_status softmax_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = dt_rows(&node->out->shape);

    DT_LAUNCH(softmax_forward_kernel, dt_blocks(rows, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->out), rows, dt_channels(&node->out->shape));
    return DT_OK;
}

static dt_status softmax_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = dt_rows(&node->out->shape);

    if (!dt_grads(node->in[0])) return DT_OK;
    DT_LAUNCH(softmax_backward_kernel, dt_blocks(rows, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->out),
              dt_grads(node->out), dt_grads(node->in[0]), (int)(node->fresh & 1u), rows,
              dt_channels(&node->out->shape));
    return DT_OK;
}

const dt_kernel dt_cuda_softmax = { NULL, softmax_forward, softmax_backward, NULL, 1u };
