/*
 * shape.cu - CUDA kernels of flatten, identity, add, transpose and concat; see layers/shape.c.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

/* a grid tensor's codes with their scales, or real values */
typedef struct {
    const float *data, *scale;
    int n_scale;
} operand;

/* one thread for each element */
__global__ static void add_kernel(operand a, operand b, float *y, int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    y[i] = dt_scale_at(a.scale, a.n_scale, c) * a.data[i] + dt_scale_at(b.scale, b.n_scale, c) * b.data[i];
}

/* one thread for each element; gives to dx */
__global__ static void pass_backward_kernel(const float *dy, float *dx, int fresh, int64_t count)
{
    const int64_t i = dt_thread();

    if (i < count) dt_give(&dx[i], dy[i], fresh);
}

/* What is exchanged: [batch][rows][columns][inner] becomes [batch][columns][rows][inner]. */
typedef struct {
    int64_t batch, rows, columns, inner;
} transpose_view;

/* one thread for each element of `to`; gives to it */
__global__ static void exchange_kernel(transpose_view v, const float *from, float *to, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.rows * v.columns * v.inner) return;
    const int64_t at = i % v.inner, row = i / v.inner % v.rows;
    const int64_t column = i / v.inner / v.rows % v.columns, n = i / v.inner / v.rows / v.columns;

    dt_give(&to[i], from[((n * v.rows + row) * v.columns + column) * v.inner + at], fresh);
}

/* One thread for each of batch x part elements; gives to `to`. Rows of `from` and `to` are so many elements apart. */
__global__ static void part_kernel(const float *from, int64_t from_row, float *to, int64_t to_row, int64_t batch,
                                   int64_t part, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= batch * part) return;
    const int64_t n = i / part, at = i % part;

    dt_give(&to[n * to_row + at], from[n * from_row + at], fresh);
}

static dt_status copy_forward(const dt_node *node, const dt_exec *ex)
{
    DT_CUDA(cudaMemcpyAsync(node->out->data, node->in[0]->data, dt_tensor_bytes(node->out), cudaMemcpyDeviceToDevice,
                            dt_stream_of(ex)));
    return DT_OK;
}

static operand operand_of(const dt_tensor *t)
{
    const operand o = { dt_values(t), t->scale, t->n_scale };
    return o;
}

static dt_status add_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(add_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), operand_of(node->in[0]),
              operand_of(node->in[1]), dt_values(node->out), count, dt_channels(&node->out->shape));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

/* Every input has dy as its gradient; a tensor added to itself gets it twice. */
static dt_status pass_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    for (int k = 0; k < node->n_in; k++) {
        if (!dt_grads(node->in[k])) continue;
        DT_LAUNCH(pass_backward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_grads(node->out),
                  dt_grads(node->in[k]), (int)(node->fresh & 1u << k), count);
        DT_CUDA_LAUNCHED();
    }
    return DT_OK;
}

static transpose_view transpose_look(const dt_node *node)
{
    const dt_transpose_params *p = (const dt_transpose_params *)node->params;
    const dt_shape *x = &node->in[0]->shape;
    const transpose_view v = { x->dim[0], p->rows, p->columns, dt_count(x) / x->dim[0] / p->rows / p->columns };
    return v;
}

static dt_status exchange(transpose_view v, const float *from, float *to, int fresh, cudaStream_t stream)
{
    DT_LAUNCH(exchange_kernel, dt_blocks(v.batch * v.rows * v.columns * v.inner, DT_BLOCK), DT_BLOCK, 0, stream, v,
              from, to, fresh);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status transpose_forward(const dt_node *node, const dt_exec *ex)
{
    return exchange(transpose_look(node), dt_values(node->in[0]), dt_values(node->out), 1, dt_stream_of(ex));
}

static dt_status transpose_backward(const dt_node *node, const dt_exec *ex)
{
    const transpose_view v = transpose_look(node), back = { v.batch, v.columns, v.rows, v.inner };

    if (!dt_grads(node->in[0])) return DT_OK;
    return exchange(back, dt_grads(node->out), dt_grads(node->in[0]), (int)(node->fresh & 1u), dt_stream_of(ex));
}

static dt_status concat_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->out->shape.dim[0], width = dt_count(&node->out->shape) / batch;
    float *y = dt_values(node->out);

    for (int k = 0; k < node->n_in; k++) {
        const int64_t part = dt_count(&node->in[k]->shape) / batch;
        DT_LAUNCH(part_kernel, dt_blocks(batch * part, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_values(node->in[k]),
                  part, y, width, batch, part, 1);
        DT_CUDA_LAUNCHED();
        y += part;
    }
    return DT_OK;
}

static dt_status concat_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->out->shape.dim[0], width = dt_count(&node->out->shape) / batch;
    const float *dy = dt_grads(node->out);

    for (int k = 0; k < node->n_in; k++) {
        const int64_t part = dt_count(&node->in[k]->shape) / batch;
        if (dt_grads(node->in[k])) {
            DT_LAUNCH(part_kernel, dt_blocks(batch * part, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dy, width,
                      dt_grads(node->in[k]), part, batch, part, (int)(node->fresh & 1u << k));
            DT_CUDA_LAUNCHED();
        }
        dy += part;
    }
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_flatten, dt_cuda_identity, dt_cuda_add, dt_cuda_transpose, dt_cuda_concat;
const dt_kernel dt_cuda_flatten = { NULL, copy_forward, pass_backward, NULL, 1u };
const dt_kernel dt_cuda_identity = { NULL, copy_forward, pass_backward, NULL, 1u };
const dt_kernel dt_cuda_add = { NULL, add_forward, pass_backward, NULL, 3u };
const dt_kernel dt_cuda_transpose = { NULL, transpose_forward, transpose_backward, NULL, 1u };
const dt_kernel dt_cuda_concat = { NULL, concat_forward, concat_backward, NULL, 3u };
