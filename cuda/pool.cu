/*
 * pool.cu - CUDA kernels of max and average pooling; see layers/pool.c.
 *
 * In backward a thread owns a cell of dx and visits the windows that contain it, in the order of layers/pool.c. So
 * windows may overlap, and no two threads add to the same place.
 */
#include "kernel.h"

#include "../core/grid_facts.h"
#include "../layers/pool.h"

/* where a thread's element i of an N,height,width,C tensor lies */
typedef struct {
    int64_t n, row, column, c;
} pool_place;

__device__ static pool_place pool_place_of(int64_t i, int64_t height, int64_t width, int64_t channels)
{
    pool_place at;

    at.c = i % channels;
    at.column = i / channels % width;
    at.row = i / channels / width % height;
    at.n = i / channels / width / height;
    return at;
}

/* one thread for each element of y */
__global__ static void maxpool_forward_kernel(const float *x, float *y, dt_pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.out_height * v.out_width * v.channels) return;
    const pool_place at = pool_place_of(i, v.out_height, v.out_width, v.channels);
    const dt_pool_cells cells = dt_pool_window(&v, at.row, at.column);

    float top = x[dt_pool_cell(&v, &cells, at.n, 0) + at.c];
    for (int k = 1; k < cells.rows * cells.columns; k++) {
        const float here = x[dt_pool_cell(&v, &cells, at.n, k) + at.c];
        top = here > top ? here : top;
    }
    y[i] = top;
}

/* the window's sum, row by row, of the channel that x begins with */
__device__ static float pool_sum(const float *x, const dt_pool_view *v, const dt_pool_cells *cells, int64_t n)
{
    const int n_cells = cells->rows * cells->columns;

    if (n_cells > DT_POOL_F32_CELLS) {
        double sum = 0.0;
        for (int k = 0; k < n_cells; k++) sum += (double)x[dt_pool_cell(v, cells, n, k)];
        return (float)sum;
    }
    float sum = x[dt_pool_cell(v, cells, n, 0)];
    for (int k = 1; k < n_cells; k++) sum += x[dt_pool_cell(v, cells, n, k)];
    return sum;
}

/* one thread for each element of y, which leaves the grid or is real */
__global__ static void avgpool_forward_kernel(const float *x, const float *scale, int n_scale, float *y, dt_pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.out_height * v.out_width * v.channels) return;
    const pool_place at = pool_place_of(i, v.out_height, v.out_width, v.channels);
    const dt_pool_cells cells = dt_pool_window(&v, at.row, at.column);

    y[i] = pool_sum(x + at.c, &v, &cells, at.n) / dt_pool_divisor(&v, &cells) * dt_scale_at(scale, n_scale, at.c);
}

/* one thread for each element of y, which is on the grid; the first make its scales */
__global__ static void sumpool_forward_kernel(const float *x, const float *scale, int n_scale, float *y,
                                              float *scale_of_y, dt_pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.out_height * v.out_width * v.channels) return;
    const pool_place at = pool_place_of(i, v.out_height, v.out_width, v.channels);
    const dt_pool_cells cells = dt_pool_window(&v, at.row, at.column);

    y[i] = pool_sum(x + at.c, &v, &cells, at.n);
    if (i < n_scale) scale_of_y[i] = dt_pool_scale(&v, scale[i]);
}

/* Along axis 0 (rows) or 1 (columns): the windows that hold cell `at` are [first, end). */
__device__ static void pool_windows(const dt_pool_view *v, int axis, int64_t at, int64_t *first, int64_t *end)
{
    const int64_t padded = at + v->before[axis], n_windows = axis ? v->out_width : v->out_height;
    const int window = v->window[axis], stride = v->stride[axis];

    *first = padded < window ? 0 : (padded - window) / stride + 1;
    *end = padded / stride + 1 < n_windows ? padded / stride + 1 : n_windows;
}

/* 1 if `at` is the first cell of the window that holds its maximum, top */
__device__ static int is_first_maximum(const float *x, const dt_pool_view *v, const dt_pool_cells *cells,
                                       const pool_place *at, float top)
{
    const int own = (int)(at->row - cells->top) * cells->columns + (int)(at->column - cells->left);

    if (x[dt_pool_cell(v, cells, at->n, own) + at->c] != top) return 0;
    for (int k = 0; k < own; k++) {
        if (x[dt_pool_cell(v, cells, at->n, k) + at->c] == top) return 0;
    }
    return 1;
}

/* offset of channel c of output (p, q) of image n */
__device__ static int64_t pool_out(const dt_pool_view *v, int64_t n, int64_t p, int64_t q, int64_t c)
{
    return ((n * v->out_height + p) * v->out_width + q) * v->channels + c;
}

/* One thread for each element of x; gives to dx: dy of each window whose maximum it is, or its share of each. */
template <bool average>
__global__ static void pool_backward_kernel(const float *x, const float *y, const float *dy, float *dx, int fresh,
                                            dt_pool_view v)
{
    const int64_t i = dt_thread();
    if (i >= v.batch * v.height * v.width * v.channels) return;
    const pool_place at = pool_place_of(i, v.height, v.width, v.channels);
    int64_t p, p_end, q_first, q_end;

    pool_windows(&v, 0, at.row, &p, &p_end);
    pool_windows(&v, 1, at.column, &q_first, &q_end);
    float sum = fresh ? 0.0f : dx[i];
    for (; p < p_end; p++) {
        for (int64_t q = q_first; q < q_end; q++) {
            const int64_t out = pool_out(&v, at.n, p, q, at.c);
            const dt_pool_cells cells = dt_pool_window(&v, p, q);
            if (average)
                sum += dy[out] / dt_pool_divisor(&v, &cells);
            else if (is_first_maximum(x, &v, &cells, &at, y[out]))
                sum += dy[out];
        }
    }
    dx[i] = sum;
}

static dt_status maxpool_forward(const dt_node *node, const dt_exec *ex)
{
    DT_LAUNCH(maxpool_forward_kernel, dt_blocks(dt_count(&node->out->shape), DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              dt_values(node->in[0]), dt_values(node->out), dt_pool_look(node));
    return DT_OK;
}

static dt_status avgpool_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0], *y = node->out;
    const int64_t blocks = dt_blocks(dt_count(&y->shape), DT_BLOCK);

    if (y->n_scale > 0)
        DT_LAUNCH(sumpool_forward_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale, x->n_scale,
                  dt_values(y), y->scale, dt_pool_look(node));
    else
        DT_LAUNCH(avgpool_forward_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), x->scale, x->n_scale,
                  dt_values(y), dt_pool_look(node));
    return DT_OK;
}

static dt_status pool_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0], *y = node->out;
    const unsigned blocks = dt_blocks(dt_count(&x->shape), DT_BLOCK);
    const int fresh = (int)(node->fresh & 1u);

    if (!dt_grads(x)) return DT_OK;
    if (node->kind == DT_OP_AVGPOOL)
        DT_LAUNCH(pool_backward_kernel<true>, blocks, DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), dt_values(y),
                  dt_grads(y), dt_grads(x), fresh, dt_pool_look(node));
    else
        DT_LAUNCH(pool_backward_kernel<false>, blocks, DT_BLOCK, 0, dt_stream_of(ex), dt_values(x), dt_values(y),
                  dt_grads(y), dt_grads(x), fresh, dt_pool_look(node));
    return DT_OK;
}

const dt_kernel dt_cuda_maxpool = { NULL, maxpool_forward, pool_backward, NULL, 1u };
const dt_kernel dt_cuda_avgpool = { NULL, avgpool_forward, pool_backward, NULL, 1u };
