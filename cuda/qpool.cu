/*
 * qpool.cu - CUDA kernel of average pooling from codes to codes; see quant/qpool.c.
 */
#include "kernel.h"

#include "../quant/qpool.h"

/* one thread for each element of the output */
__global__ static void qavgpool_kernel(dt_pool_view v, dt_qavgpool_params p, const float *x, float *code, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) code[i] = dt_qavgpool_value(&v, &p, x, i / v.channels, i % v.channels);
}

static dt_status qavgpool_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(qavgpool_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_pool_look(node),
              *(const dt_qavgpool_params *)node->params, dt_values(node->in[0]), dt_values(node->out), count);
    return DT_OK;
}

const dt_kernel dt_cuda_qavgpool = { NULL, qavgpool_forward, NULL, NULL, 0 };
