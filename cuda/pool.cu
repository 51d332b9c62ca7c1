/*
 * pool.cu - CUDA kernels of max and average pooling; see layers/pool.c.
 *
 * Backward gathers: a thread owns a cell of dx and visits the windows that hold it, in the order of layers/pool.c, so
 * windows may overlap and nothing is added to one place by two threads.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

typedef struct {
    int64_t batch, height, width, channels, out_height, out_width;
    int window[2], stride[2]; /* rows, columns */
} pool_view;

static pool_view pool_look(const dt_node *node)
{
    const dt_pool_params *p = (const dt_pool_params *)node->params;
    const int64_t *x = node->in[0]->shape.dim, *y = node->out->shape.dim;
    const pool_view v = {
        x[0], x[1], x[2], x[3], y[1], y[2], { p->window[0], p->window[1] }, { p->stride[0], p->stride[1] }
    };
    return v;
}

/* offset of (n, row, column, c) in a tensor of that height and width */
__device__ static int64_t pool_at(const pool_view *v, int64_t height, int64_t width, int64_t n, int64_t row,
                                  int64_t column, int64_t c)
{
    return ((n * height + row) * width + column) * v->channels + c;
}

/* one thread for each element of y */
__global__ static void maxpool_forward_kernel(const float *x, float *y, pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.out_height * v.out_width * v.channels) return;
    const int64_t c = i % v.channels, q = i / v.channels % v.out_width;
    const int64_t p = i / v.channels / v.out_width % v.out_height, n = i / v.channels / v.out_width / v.out_height;

    float top = x[pool_at(&v, v.height, v.width, n, p * v.stride[0], q * v.stride[1], c)];
    for (int k = 1; k < v.window[0] * v.window[1]; k++) {
        const int64_t row = p * v.stride[0] + k / v.window[1], column = q * v.stride[1] + k % v.window[1];
        const float here = x[pool_at(&v, v.height, v.width, n, row, column, c)];
        top = here > top ? here : top;
    }
    y[i] = top;
}

/* one thread for each element of y; the window is summed row by row */
__global__ static void avgpool_forward_kernel(const float *x, const float *scale, int n_scale, float *y, pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.out_height * v.out_width * v.channels) return;
    const int64_t c = i % v.channels, q = i / v.channels % v.out_width;
    const int64_t p = i / v.channels / v.out_width % v.out_height, n = i / v.channels / v.out_width / v.out_height;

    float sum = x[pool_at(&v, v.height, v.width, n, p * v.stride[0], q * v.stride[1], c)];
    for (int k = 1; k < v.window[0] * v.window[1]; k++) {
        const int64_t row = p * v.stride[0] + k / v.window[1], column = q * v.stride[1] + k % v.window[1];
        sum += x[pool_at(&v, v.height, v.width, n, row, column, c)];
    }
    y[i] = sum / (float)(v.window[0] * v.window[1]) * dt_scale_at(scale, n_scale, c);
}

/* Along one axis: the windows that hold cell `at` are [first, end). */
__device__ static void pool_windows(int window, int stride, int64_t at, int64_t n_windows, int64_t *first, int64_t *end)
{
    *first = at < window ? 0 : (at - window) / stride + 1;
    *end = at / stride + 1 < n_windows ? at / stride + 1 : n_windows;
}

/* 1 if (row, column) is the first cell of window (n, p, q) that holds its maximum, top */
__device__ static int is_first_maximum(const float *x, const pool_view *v, int64_t n, int64_t p, int64_t q, int64_t c,
                                       int64_t row, int64_t column, float top)
{
    const int64_t own = (row - p * v->stride[0]) * v->window[1] + column - q * v->stride[1];

    if (x[pool_at(v, v->height, v->width, n, row, column, c)] != top) return 0;
    for (int64_t k = 0; k < own; k++) {
        const int64_t r = p * v->stride[0] + k / v->window[1], s = q * v->stride[1] + k % v->window[1];
        if (x[pool_at(v, v->height, v->width, n, r, s, c)] == top) return 0;
    }
    return 1;
}

/* one thread for each element of x; gives to dx */
__global__ static void maxpool_backward_kernel(const float *x, const float *y, const float *dy, float *dx, int fresh,
                                               pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.height * v.width * v.channels) return;
    const int64_t c = i % v.channels, column = i / v.channels % v.width;
    const int64_t row = i / v.channels / v.width % v.height, n = i / v.channels / v.width / v.height;
    int64_t p, p_end, q_first, q_end;

    pool_windows(v.window[0], v.stride[0], row, v.out_height, &p, &p_end);
    pool_windows(v.window[1], v.stride[1], column, v.out_width, &q_first, &q_end);
    float sum = fresh ? 0.0f : dx[i];
    for (; p < p_end; p++) {
        for (int64_t q = q_first; q < q_end; q++) {
            const int64_t out = pool_at(&v, v.out_height, v.out_width, n, p, q, c);
            if (is_first_maximum(x, &v, n, p, q, c, row, column, y[out])) sum += dy[out];
        }
    }
    dx[i] = sum;
}

/* one thread for each element of x; gives to dx */
__global__ static void avgpool_backward_kernel(const float *dy, float *dx, int fresh, pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.height * v.width * v.channels) return;
    const int64_t c = i % v.channels, column = i / v.channels % v.width;
    const int64_t row = i / v.channels / v.width % v.height, n = i / v.channels / v.width / v.height;
    const float area = (float)(v.window[0] * v.window[1]);
    int64_t p, p_end, q_first, q_end;

    pool_windows(v.window[0], v.stride[0], row, v.out_height, &p, &p_end);
    pool_windows(v.window[1], v.stride[1], column, v.out_width, &q_first, &q_end);
    float sum = fresh ? 0.0f : dx[i];
    for (; p < p_end; p++) {
        for (int64_t q = q_first; q < q_end; q++) {
            sum += dy[pool_at(&v, v.out_height, v.out_width, n, p, q, c)] / area;
        }
    }
    dx[i] = sum;
}

static dt_status maxpool_forward(const dt_node *node, const dt_exec *ex)
{
    DT_LAUNCH(maxpool_forward_kernel, dt_blocks(dt_count(&node->out->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), dt_values(node->out), pool_look(node));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status maxpool_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0], *y = node->out;

    if (!dt_grads(x)) return DT_OK;
    DT_LAUNCH(maxpool_backward_kernel, dt_blocks(dt_count(&x->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(x), dt_values(y), dt_grads(y), dt_grads(x), (int)(node->fresh & 1u), pool_look(node));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status avgpool_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0];

    DT_LAUNCH(avgpool_forward_kernel, dt_blocks(dt_count(&node->out->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(x), x->scale, x->n_scale, dt_values(node->out), pool_look(node));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status avgpool_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0];

    if (!dt_grads(x)) return DT_OK;
    DT_LAUNCH(avgpool_backward_kernel, dt_blocks(dt_count(&x->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_grads(node->out), dt_grads(x), (int)(node->fresh & 1u), pool_look(node));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_maxpool, dt_cuda_avgpool;
const dt_kernel dt_cuda_maxpool = { NULL, maxpool_forward, maxpool_backward, NULL, 1u };
const dt_kernel dt_cuda_avgpool = { NULL, avgpool_forward, avgpool_backward, NULL, 1u };
