/*
 * mul.cu - CUDA kernels of the product of two tensors; see layers/mul.c.
 */
#include "kernel.h"

#include "../layers/mul.h"

enum { A = DT_MUL_A, B = DT_MUL_B };

/* a grid tensor's codes with their scales, or real values */
typedef struct {
    const float *data, *scale;
    int n_scale;
} operand;

static operand operand_of(const dt_tensor *t)
{
    const operand o = { dt_values(t), t->scale, t->n_scale };
    return o;
}

/* element i of t, which is of channel c */
__device__ static float real_at(operand t, int64_t i, int64_t c)
{
    return dt_scale_at(t.scale, t.n_scale, c) * t.data[i];
}

/* one thread for each element of y */
__global__ static void mul_forward_kernel(operand a, operand b, dt_mul_view v, float *y)
{
    const int64_t i = dt_thread();
    if (i >= v.images * v.cells * v.channels) return;
    const int64_t c = i % v.channels;

    y[i] = real_at(a, i, c) * real_at(b, dt_mul_b(&v, i / v.channels) + c, c);
}

/* One thread for each element of y; gives dy times the other input to dx. */
__global__ static void mul_products_kernel(const float *dy, operand other, int is_b, dt_mul_view v, float *dx,
                                           int fresh)
{
    const int64_t i = dt_thread();
    if (i >= v.images * v.cells * v.channels) return;
    const int64_t c = i % v.channels, at = is_b ? dt_mul_b(&v, i / v.channels) + c : i;

    dt_give(&dx[i], dy[i] * real_at(other, at, c), fresh);
}

/* One thread for each image and channel; gives the sum of dy a over the map to db. */
__global__ static void mul_sums_kernel(const float *dy, operand a, dt_mul_view v, float *db, int fresh)
{
    const int64_t i = dt_thread();
    if (i >= v.images * v.channels) return;
    const int64_t c = i % v.channels, n = i / v.channels;
    double sum = 0.0;

    for (int64_t cell = n * v.cells; cell < (n + 1) * v.cells; cell++) {
        sum += (double)(dy[cell * v.channels + c] * real_at(a, cell * v.channels + c, c));
    }
    dt_give(&db[i], (float)sum, fresh);
}

static dt_status mul_forward(const dt_node *node, const dt_exec *ex)
{
    DT_LAUNCH(mul_forward_kernel, dt_blocks(dt_count(&node->out->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              operand_of(node->in[A]), operand_of(node->in[B]), dt_mul_look(node), dt_values(node->out));
    return DT_OK;
}

/* The gradient of input k, which has a's shape. */
static dt_status give_products(const dt_node *node, int k, const dt_exec *ex)
{
    const int other = k == A ? B : A;

    DT_LAUNCH(mul_products_kernel, dt_blocks(dt_count(&node->out->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_grads(node->out), operand_of(node->in[other]), other == B, dt_mul_look(node), dt_grads(node->in[k]),
              (int)(node->fresh & 1u << k));
    return DT_OK;
}

static dt_status mul_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_mul_view v = dt_mul_look(node);

    if (dt_grads(node->in[A])) DT_TRY(give_products(node, A, ex));
    if (!dt_grads(node->in[B])) return DT_OK;
    if (!v.per_image) return give_products(node, B, ex);
    DT_LAUNCH(mul_sums_kernel, dt_blocks(v.images * v.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_grads(node->out), operand_of(node->in[A]), v, dt_grads(node->in[B]), (int)(node->fresh & 1u << B));
    return DT_OK;
}

const dt_kernel dt_cuda_mul = { NULL, mul_forward, mul_backward, NULL, 1u << A | 1u << B };
