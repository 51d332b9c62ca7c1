/*
 * qmatmul.cu - CUDA kernel of products of matrices of codes; see quant/qmatmul.c.
 */
#include "kernel.h"

#include "../quant/qmatmul.h"

/* one thread for each element, which sums its terms; the first also writes the scale */
__global__ static void qmatmul_kernel(dt_qmatmul_view v, float *scale, int64_t count)
{
    const int64_t i = dt_thread();

    if (i == 0) *scale = *v.scale_y;
    if (i >= count) return;
    const dt_requantizer r = dt_qmatmul_requantizer(&v);
    v.code[i] = dt_qmatmul_value(&v, &r, i);
}

static dt_status qmatmul_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(qmatmul_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_qmatmul_look(node),
              node->out->scale, count);
    return DT_OK;
}

const dt_kernel dt_cuda_qmatmul = { NULL, qmatmul_forward, NULL, NULL, 0 };
