/*
 * qsoftmax.cu - CUDA kernel of softmax from codes to codes; see quant/qsoftmax.c.
 */
#include "kernel.h"

#include "../core/arith/qsoftmax.h"
#include "../quant/requantize.h"

/* one thread for each row; the first also writes the scale */
__global__ static void qsoftmax_kernel(const float *x, const float *scale_x, const float *scale_y, dt_qsoftmax_params p,
                                       float *code, float *scale, int64_t rows, int64_t channels)
{
    const int64_t r = dt_thread();

    if (r == 0) *scale = *scale_y;
    if (r < rows)
        dt_qsoftmax_row(p.profile, p.beta, *scale_x, *scale_y, x + r * channels, channels, code + r * channels);
}

static dt_status qsoftmax_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = dt_rows(&node->out->shape);

    DT_LAUNCH(qsoftmax_kernel, dt_blocks(rows, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[0]),
              dt_values(node->in[DT_QSOFTMAX_SCALE_X]), dt_values(node->in[DT_QSOFTMAX_SCALE_Y]),
              *(const dt_qsoftmax_params *)node->params, dt_values(node->out), node->out->scale, rows,
              dt_channels(&node->out->shape));
    return DT_OK;
}

const dt_kernel dt_cuda_qsoftmax = { NULL, qsoftmax_forward, NULL, NULL, 0 };
