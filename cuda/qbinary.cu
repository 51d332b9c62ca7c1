/*
 * qbinary.cu - CUDA kernels of sums and products of codes; see quant/qbinary.c.
 */
#include "kernel.h"

#include "../quant/qbinary.h"

/* one thread for each element; the first also writes the scale */
__global__ static void qadd_kernel(dt_qbinary_view v, float *scale, int64_t count)
{
    const int64_t i = dt_thread();

    if (i == 0) *scale = *v.scale_y;
    if (i >= count) return;
    const dt_adder adder = dt_qadd_adder(&v);
    v.code[i] = dt_qadd_value(&v, &adder, i);
}

__global__ static void qmul_kernel(dt_qbinary_view v, float *scale, int64_t count)
{
    const int64_t i = dt_thread();

    if (i == 0) *scale = *v.scale_y;
    if (i >= count) return;
    const dt_requantizer r = dt_qmul_requantizer(&v);
    v.code[i] = dt_qmul_value(&v, &r, i);
}

static dt_status qadd_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(qadd_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_qbinary_look(node),
              node->out->scale, count);
    return DT_OK;
}

static dt_status qmul_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(qmul_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_qbinary_look(node),
              node->out->scale, count);
    return DT_OK;
}

const dt_kernel dt_cuda_qadd = { NULL, qadd_forward, NULL, NULL, 0 };
const dt_kernel dt_cuda_qmul = { NULL, qmul_forward, NULL, NULL, 0 };
