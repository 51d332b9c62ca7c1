/*
 * shape.cu - CUDA kernels of flatten, identity, add, transpose and concat; see layers/shape.c.
 */
#include "pack.h"
#include "pass.h"

#include "../core/grid_facts.h"

/* a grid tensor's codes with their scales, or real values, in training those of ADD also in BF16 */
typedef struct {
    const void *data;
    dt_dtype type;
    const float *scale;
    int n_scale;
} operand;

/* Element i, of channel c: its real value, or its code where n_scale is 0. */
__device__ static inline float value_of(const operand &x, int64_t i, int64_t c)
{
    return dt_scale_at(x.scale, x.n_scale, c) * dt_value_load(x.data, x.type, i);
}

/* one thread for each element */
__global__ static void add_kernel(operand a, operand b, void *y, dt_dtype type, int64_t count, int64_t channels)
{
    const int64_t i = dt_thread();
    if (i >= count) return;
    const int64_t c = i % channels;

    dt_value_store(y, type, i, value_of(a, i, c) + value_of(b, i, c));
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

/* One thread for each of rows x part elements: its real value, or its code where n_scale is 0. y begins with the part,
 * and its rows are `width` elements long. */
__global__ static void part_kernel(operand x, int64_t channels, float *y, int64_t width, int64_t rows, int64_t part)
{
    const int64_t i = dt_thread();
    if (i >= rows * part) return;

    y[i / part * width + i % part] = value_of(x, i, x.n_scale > 1 ? i % channels : 0);
}

/* One thread for each of rows x part elements; gives to dx. dy begins with the part. */
__global__ static void part_backward_kernel(const float *dy, int64_t width, float *dx, int64_t rows, int64_t part,
                                            int fresh)
{
    const int64_t i = dt_thread();

    if (i < rows * part) dt_give(&dx[i], dy[i / part * width + i % part], fresh);
}

static dt_status copy_forward(const dt_node *node, const dt_exec *ex)
{
    DT_CUDA(cudaMemcpyAsync(node->out->data, node->in[0]->data, dt_tensor_bytes(node->out), cudaMemcpyDeviceToDevice,
                            dt_stream_of(ex)));
    return DT_OK;
}

/* Its real values, or where out is on the grid the integers that it holds. */
static operand operand_of(const dt_tensor *t, const dt_tensor *out)
{
    const operand o = { t->data, t->type, t->scale, out->n_scale > 0 ? 0 : t->n_scale };
    return o;
}

static dt_status add_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(add_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), operand_of(node->in[0], node->out),
              operand_of(node->in[1], node->out), node->out->data, node->out->type, count,
              dt_channels(&node->out->shape));
    return DT_OK;
}

/* Both inputs have dy as their gradient; a tensor added to itself gets it twice. */
static dt_status add_backward(const dt_node *node, const dt_exec *ex)
{
    for (int k = 0; k < node->n_in; k++) {
        float *dx = dt_grads(node->in[k]);
        if (!dx) continue;
        DT_TRY(dt_pass_gradient(dt_grads(node->out), dx, (int)(node->fresh & 1u << k), dt_count(&node->out->shape),
                                dt_stream_of(ex)));
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

/* What comes before the axis: so many rows, in which the inputs' parts follow each other. */
static int64_t concat_rows(const dt_node *node)
{
    const dt_concat_params *p = (const dt_concat_params *)node->params;

    return dt_count_of(node->out->shape.dim, p->axis);
}

static dt_status concat_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = concat_rows(node), width = dt_count(&node->out->shape) / rows;
    float *y = dt_values(node->out);

    for (int k = 0; k < node->n_in; k++) {
        const dt_tensor *t = node->in[k];
        const int64_t part = dt_count(&t->shape) / rows;
        DT_LAUNCH(part_kernel, dt_blocks(rows * part, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
                  operand_of(t, node->out), dt_channels(&t->shape), y, width, rows, part);
        y += part;
    }
    return DT_OK;
}

static dt_status concat_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = concat_rows(node), width = dt_count(&node->out->shape) / rows;
    const float *dy = dt_grads(node->out);

    for (int k = 0; k < node->n_in; k++) {
        const int64_t part = dt_count(&node->in[k]->shape) / rows;
        if (dt_grads(node->in[k])) {
            DT_LAUNCH(part_backward_kernel, dt_blocks(rows * part, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dy, width,
                      dt_grads(node->in[k]), rows, part, (int)(node->fresh & 1u << k));
        }
        dy += part;
    }
    return DT_OK;
}

const dt_kernel dt_cuda_flatten = { NULL, copy_forward, dt_pass_backward, NULL, 1u };
const dt_kernel dt_cuda_identity = { NULL, copy_forward, dt_pass_backward, NULL, 1u };
const dt_kernel dt_cuda_add = { NULL, add_forward, add_backward,
                                NULL, 3u,          DT_READS_OUT | DT_READS_IN(0) | DT_READS_IN(1),
                                0 };
const dt_kernel dt_cuda_transpose = { NULL, transpose_forward, transpose_backward, NULL, 1u };
const dt_kernel dt_cuda_concat = { NULL, concat_forward, concat_backward, NULL, (1u << DT_MAX_IN) - 1 };
