/*
 * pool.c - max and average pooling over windows without padding; rows and columns that fill no window are
 *          dropped, as in PyTorch.
 *
 *   maxpool: y = max x over the window;  the whole of dy goes to the window's first maximum, row by row
 *   avgpool: y = (sum of x over the window, row by row) / cells of the window;  every cell gets dy / cells
 *
 * The maximum of codes is a code, so maxpool stays on the grid; avgpool leaves it (y = sum of codes / area * s).
 * Which cell was the maximum is found again in backward, from x and y: that is cheaper than an index map.
 *
 * Shapes: N,H,W,C -> N,P,Q,C with P = (H - window) / stride + 1.  CUDA: cuda/pool.cu.  Tests: tests/test_pool.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>
#include <string.h>

enum { LANES = 64 }; /* channels whose gradient waits at a time for its maximum */

static dt_status pool_infer(dt_node *node)
{
    const dt_pool_params *p = node->params;
    const dt_shape *x = &node->in[0]->shape;
    char text[64];
    assert(node->in[0]->type == DT_F32);

    DT_CHECK(x->ndim == 4, DT_ERR_SHAPE, "%s: pool: x is %s, needs the axes N,H,W,C", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_CHECK(p->window[0] >= 1 && p->window[1] >= 1 && p->stride[0] >= 1 && p->stride[1] >= 1, DT_ERR_ARGUMENT,
             "%s: pool: a window of %dx%d and strides of %dx%d must be 1 or more", node->name, p->window[0],
             p->window[1], p->stride[0], p->stride[1]);
    DT_CHECK(!p->pad[0] && !p->pad[1] && !p->pad[2] && !p->pad[3], DT_ERR_UNSUPPORTED,
             "%s: pool: a padding of %d, %d, %d, %d is not supported; it must be 0", node->name, p->pad[0], p->pad[1],
             p->pad[2], p->pad[3]);
    DT_CHECK(p->window[0] <= x->dim[1] && p->window[1] <= x->dim[2], DT_ERR_SHAPE,
             "%s: pool: a window of %dx%d does not fit into x, which is %s", node->name, p->window[0], p->window[1],
             dt_shape_text(x, text, sizeof text));
    node->out->shape = *x;
    node->out->shape.dim[1] = (x->dim[1] - p->window[0]) / p->stride[0] + 1;
    node->out->shape.dim[2] = (x->dim[2] - p->window[1]) / p->stride[1] + 1;
    return DT_OK;
}

static dt_status maxpool_infer(dt_node *node)
{
    DT_TRY(pool_infer(node));
    dt_stay_on_grid(node->out, node->in[0]);
    return DT_OK;
}

static dt_status avgpool_infer(dt_node *node)
{
    DT_TRY(pool_infer(node));
    return DT_OK;
}

static const dt_field pool_fields[] = {
    { DT_MEMBER(dt_pool_params, window), DT_INTS(2, 0, 4096) },
    { DT_MEMBER(dt_pool_params, stride), DT_INTS(2, 1, 4096) },
};

const dt_op dt_op_maxpool = {
    .name = "maxpool",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_pool_params, pool_fields),
    .backward_reads = DT_READS_IN(0) | DT_READS_OUT,
    .infer = maxpool_infer,
};

const dt_op dt_op_avgpool = {
    .name = "avgpool",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_pool_params, pool_fields),
    .infer = avgpool_infer,
};

/* One node's sizes. */
typedef struct {
    int64_t n, height, width, channels, out_height, out_width;
    int window[2], stride[2]; /* rows, columns */
} pool_view;

static pool_view pool_look(const dt_node *node)
{
    const dt_pool_params *p = node->params;
    const int64_t *x = node->in[0]->shape.dim, *y = node->out->shape.dim;
    return (pool_view){
        x[0], x[1], x[2], x[3], y[1], y[2], { p->window[0], p->window[1] }, { p->stride[0], p->stride[1] }
    };
}

/* Offset into x of cell (i, j) of the window of output (n, p, q). */
static inline int64_t cell(const pool_view *v, int64_t n, int64_t p, int64_t q, int i, int j)
{
    return ((n * v->height + p * v->stride[0] + i) * v->width + q * v->stride[1] + j) * v->channels;
}

static void max_row(const float *restrict x, int64_t channels, float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) y[c] = x[c] > y[c] ? x[c] : y[c];
}

static void add_row(const float *restrict x, int64_t channels, float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) y[c] += x[c];
}

/* y[c] = the window's maximum or, if average is set, its sum */
static void pool_window(const pool_view *v, const float *x, int64_t n, int64_t p, int64_t q, int average, float *y)
{
    memcpy(y, x + cell(v, n, p, q, 0, 0), (size_t)v->channels * sizeof *y);
    for (int k = 1; k < v->window[0] * v->window[1]; k++) {
        const float *row = x + cell(v, n, p, q, k / v->window[1], k % v->window[1]);
        if (average)
            add_row(row, v->channels, y);
        else
            max_row(row, v->channels, y);
    }
}

static dt_status maxpool_forward(const dt_node *node, const dt_exec *ex)
{
    const pool_view v = pool_look(node);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t row = 0; row < v.n * v.out_height; row++) {
        for (int64_t q = 0; q < v.out_width; q++) {
            pool_window(&v, x, row / v.out_height, row % v.out_height, q, 0, y + (row * v.out_width + q) * v.channels);
        }
    }
    return DT_OK;
}

static dt_status avgpool_forward(const dt_node *node, const dt_exec *ex)
{
    const pool_view v = pool_look(node);
    const dt_tensor *x = node->in[0];
    const float area = (float)(v.window[0] * v.window[1]);
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t row = 0; row < v.n * v.out_height; row++) {
        for (int64_t q = 0; q < v.out_width; q++) {
            float *out = y + (row * v.out_width + q) * v.channels;
            pool_window(&v, x->data, row / v.out_height, row % v.out_height, q, 1, out);
            for (int64_t c = 0; c < v.channels; c++) out[c] = out[c] / area * dt_scale_at(x->scale, x->n_scale, c);
        }
    }
    return DT_OK;
}

/* Where x is the maximum, dx takes what is left of dy, and leaves nothing for later cells. */
static inline void claim_row(const float *restrict x, const float *restrict y, int64_t channels, int fresh,
                             float *restrict left, float *restrict dx)
{
    for (int64_t c = 0; c < channels; c++) {
        const float taken = x[c] == y[c] ? left[c] : 0.0f;
        dx[c] = fresh ? taken : dx[c] + taken;
        left[c] -= taken;
    }
}

/* y and dy are of one output cell. */
static void unpool_window(const pool_view *v, const float *x, const int64_t at[3], const float *y, const float *dy,
                          int fresh, float *dx)
{
    for (int64_t first = 0; first < v->channels; first += LANES) {
        const int64_t lanes = v->channels - first < LANES ? v->channels - first : LANES;
        float left[LANES];
        memcpy(left, dy + first, (size_t)lanes * sizeof *left);
        for (int k = 0; k < v->window[0] * v->window[1]; k++) {
            const int64_t i = cell(v, at[0], at[1], at[2], k / v->window[1], k % v->window[1]) + first;
            claim_row(x + i, y + first, lanes, fresh, left, dx + i);
        }
    }
}

/* Every cell of x lies in exactly one window. */
static int tiles(const pool_view *v)
{
    return v->window[0] == v->stride[0] && v->window[1] == v->stride[1] && v->height % v->stride[0] == 0 &&
           v->width % v->stride[1] == 0;
}

/* Threads take whole images: windows of one image overlap where the stride is below the kernel. */
static dt_status maxpool_backward(const dt_node *node, const dt_exec *ex)
{
    const pool_view v = pool_look(node);
    const float *x = node->in[0]->data, *y = node->out->data, *dy = node->out->grad;
    float *dx = node->in[0]->grad;
    (void)ex;
    if (!dx) return DT_OK;

    const int fresh = node->fresh & 1u, whole = fresh && tiles(&v);
    const int64_t image = v.height * v.width * v.channels;
#pragma omp parallel for
    for (int64_t n = 0; n < v.n; n++) {
        if (fresh && !whole) memset(dx + n * image, 0, (size_t)image * sizeof *dx);
        for (int64_t i = 0; i < v.out_height * v.out_width; i++) {
            const int64_t out = (n * v.out_height * v.out_width + i) * v.channels;
            unpool_window(&v, x, (int64_t[3]){ n, i / v.out_width, i % v.out_width }, y + out, dy + out, whole, dx);
        }
    }
    return DT_OK;
}

static void give_share(const float *restrict dy, int64_t channels, float area, int fresh, float *restrict dx)
{
    for (int64_t c = 0; c < channels; c++) dx[c] = fresh ? dy[c] / area : dx[c] + dy[c] / area;
}

static dt_status avgpool_backward(const dt_node *node, const dt_exec *ex)
{
    const pool_view v = pool_look(node);
    const float area = (float)(v.window[0] * v.window[1]);
    const float *dy = node->out->grad;
    float *dx = node->in[0]->grad;
    (void)ex;
    if (!dx) return DT_OK;

    const int fresh = node->fresh & 1u, whole = fresh && tiles(&v);
    const int64_t image = v.height * v.width * v.channels;
#pragma omp parallel for
    for (int64_t n = 0; n < v.n; n++) {
        if (fresh && !whole) memset(dx + n * image, 0, (size_t)image * sizeof *dx);
        for (int64_t i = 0; i < v.out_height * v.out_width; i++) {
            const float *share = dy + (n * v.out_height * v.out_width + i) * v.channels;
            for (int k = 0; k < v.window[0] * v.window[1]; k++) {
                const int64_t to = cell(&v, n, i / v.out_width, i % v.out_width, k / v.window[1], k % v.window[1]);
                give_share(share, v.channels, area, whole, dx + to);
            }
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_maxpool = { .forward = maxpool_forward, .backward = maxpool_backward, .overwrites = 1u };
const dt_kernel dt_cpu_avgpool = { .forward = avgpool_forward, .backward = avgpool_backward, .overwrites = 1u };
