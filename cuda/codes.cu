/*
 * codes.cu - CUDA kernels of stored codes, of the image's codes by a table, and of integers that leave the grid; see
 *            layers/codes.c.
 */
#include "pass.h"

#include "../layers/codes.h"

#include "../core/grid_facts.h"

enum { X, SCALE = 2 };

static dt_status copy_values(void *to, const dt_tensor *from, const dt_exec *ex)
{
    DT_CUDA(cudaMemcpyAsync(to, from->data, dt_tensor_bytes(from), cudaMemcpyDeviceToDevice, dt_stream_of(ex)));
    return DT_OK;
}

static dt_status codes_forward(const dt_node *node, const dt_exec *ex)
{
    DT_TRY(copy_values(node->out->data, node->in[0], ex));
    return copy_values(node->out->scale, node->in[1], ex);
}

const dt_kernel dt_cuda_codes = { NULL, codes_forward, NULL, NULL, 0 };

/* One thread for each element of x; the first also writes the scale. */
__global__ static void table_kernel(dt_table_view v, const float *given_scale, float *y, float *scale, int64_t count)
{
    const int64_t i = dt_thread();
    if (i == 0) *scale = *given_scale;
    if (i < count) y[i] = dt_table_value(&v, i);
}

static dt_status table_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(table_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_table_look(node),
              dt_values(node->in[SCALE]), dt_values(node->out), node->out->scale, count);
    return DT_OK;
}

const dt_kernel dt_cuda_table = { NULL, table_forward, NULL, NULL, 0 };

/* One thread for each element. `inner` elements side by side have one scale: 1 of channels, or those of a filter. */
__global__ static void dequantize_kernel(const float *x, const float *scale, int n_scale, float *y, int64_t inner,
                                         int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) y[i] = dt_scale_at(scale, n_scale, i / inner % n_scale) * x[i];
}

static dt_status dequantize_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int64_t count = dt_count(&x->shape);
    const int filters = ((const dt_dequantize_params *)node->params)->filters;

    DT_LAUNCH(dequantize_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale,
              x->n_scale, dt_values(node->out), filters ? count / x->shape.dim[0] : 1, count);
    return DT_OK;
}

const dt_kernel dt_cuda_dequantize = { NULL, dequantize_forward, dt_pass_backward, NULL, 1u };
