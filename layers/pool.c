/*
 * pool.c - max and average pooling; rows and columns that fill no window are dropped, as in PyTorch.
 *
 *   maxpool: y = max x over the window;  the whole of dy goes to the window's first maximum, row by row
 *   avgpool: y = (sum of x over the window, row by row) / divisor;  every cell gets dy / divisor
 *
 * Padded cells never are the maximum, and add nothing to a sum. The divisor is the number of the window's cells in the
 * map; with count_include_pad it is the number of all its cells. A sum of at most DT_POOL_F32_CELLS cells is taken in
 * f32. A longer one is taken in double and rounded to f32 before it is divided.
 *
 * The maximum of codes is a code, so maxpool stays on the grid. avgpool stays on it too if all windows have the same
 * divisor: y is the sum of the integers, and its scale is theirs divided by the divisor. Else, and if f32 does not hold
 * the sums, it leaves the grid: y = sum of codes / divisor * s. Backward finds the cell of the maximum again from x and
 * y, which is cheaper than to store its index.
 *
 * Shapes: N,H,W,C -> N,P,Q,C with P = (H + pads - window) / stride + 1; P = Q = 1 where the window is the whole map.
 * CUDA: cuda/pool.cu.  Tests: tests/layers/test_pool.c.
 */
#include "pool.h"

#include "../core/arith/grid.h"
#include "../core/grid_facts.h"

#include <assert.h>
#include <string.h>

enum { LANES = 64 }; /* channels whose gradient waits at a time for its maximum, and whose sums are in double */

/* Each output must see a cell of the map. */
static dt_status padding_check(const dt_node *node)
{
    static const char *const side[] = { "top", "left", "bottom", "right" };
    const dt_pool_params *p = node->params;

    for (int i = 0; i < 4; i++) {
        const int window = p->window[i % 2];
        DT_CHECK(p->pad[i] == 0 || window > 0, DT_ERR_ARGUMENT,
                 "%s: pool: a padding of %d at the %s of a window that is the whole map; it must be 0", node->name,
                 p->pad[i], side[i]);
        DT_CHECK(p->pad[i] == 0 || (p->pad[i] > 0 && p->pad[i] < window), DT_ERR_ARGUMENT,
                 "%s: pool: a padding of %d at the %s of a window of %dx%d; it must be 0 or more and less than %d",
                 node->name, p->pad[i], side[i], p->window[0], p->window[1], window);
    }
    return DT_OK;
}

static dt_status windows_check(const dt_node *node)
{
    const dt_pool_params *p = node->params;
    const dt_shape *x = &node->in[0]->shape;
    const int64_t height = x->dim[1] + p->pad[0] + p->pad[2], width = x->dim[2] + p->pad[1] + p->pad[3];
    char text[64];

    if (p->window[0] == 0 && p->window[1] == 0) return DT_OK;
    DT_CHECK(p->window[0] >= 1 && p->window[1] >= 1 && p->stride[0] >= 1 && p->stride[1] >= 1, DT_ERR_ARGUMENT,
             "%s: pool: a window of %dx%d and strides of %dx%d must be 1 or more, or the window 0x0, the whole map",
             node->name, p->window[0], p->window[1], p->stride[0], p->stride[1]);
    DT_CHECK(p->window[0] <= height && p->window[1] <= width, DT_ERR_SHAPE,
             "%s: pool: a window of %dx%d does not fit into x, which is %s and %lldx%lld with its padding", node->name,
             p->window[0], p->window[1], dt_shape_text(x, text, sizeof text), (long long)height, (long long)width);
    return DT_OK;
}

dt_status dt_pool_infer(dt_node *node)
{
    const dt_shape *x = &node->in[0]->shape;
    char text[64];
    assert(node->in[0]->type == DT_F32);

    DT_CHECK(x->ndim == 4, DT_ERR_SHAPE, "%s: pool: x is %s, needs the axes N,H,W,C", node->name,
             dt_shape_text(x, text, sizeof text));
    DT_TRY(padding_check(node));
    DT_TRY(windows_check(node));
    const dt_pool_view v = dt_pool_look(node);
    node->out->shape = (dt_shape){ .ndim = 4, .dim = { v.batch, v.out_height, v.out_width, v.channels } };
    return DT_OK;
}

static dt_status maxpool_infer(dt_node *node)
{
    DT_TRY(dt_pool_infer(node));
    dt_stay_on_grid(node->out, node->in[0]);
    return DT_OK;
}

static dt_status avgpool_infer(dt_node *node)
{
    const dt_tensor *x = node->in[0];
    dt_tensor *y = node->out;

    DT_TRY(dt_pool_infer(node));
    const dt_pool_view v = dt_pool_look(node);
    const int64_t cells = (int64_t)v.window[0] * v.window[1];
    if (!dt_pool_has_one_divisor(node) || cells * dt_code_bound(x) >= DT_F32_EXACT) return DT_OK;
    y->n_scale = x->n_scale;
    y->qmin = cells * x->qmin;
    y->qmax = cells * x->qmax;
    return DT_OK;
}

static const dt_field pool_fields[] = {
    { DT_MEMBER(dt_pool_params, window), DT_INTS(2, 0, 4096) },
    { DT_MEMBER(dt_pool_params, stride), DT_INTS(2, 1, 4096) },
    { DT_MEMBER(dt_pool_params, pad), DT_INTS(4, 0, 4096) },
    { DT_MEMBER(dt_pool_params, count_include_pad), DT_INT(0, 1) },
};

/* The whole map. */
static const dt_pool_params pool_defaults = { .stride = { 1, 1 } };

const dt_op dt_op_maxpool = {
    .name = "maxpool",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_pool_params, pool_fields),
    .defaults = &pool_defaults,
    .backward_reads = DT_READS_IN(0) | DT_READS_OUT,
    .infer = maxpool_infer,
};

const dt_op dt_op_avgpool = {
    .name = "avgpool",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_pool_params, pool_fields),
    .defaults = &pool_defaults,
    .infer = avgpool_infer,
};

static void max_row(const float *restrict x, int64_t channels, float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) y[c] = x[c] > y[c] ? x[c] : y[c];
}

static void add_row(const float *restrict x, int64_t channels, float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) y[c] += x[c];
}

/* y[c] = the window's maximum */
static void max_window(const dt_pool_view *v, const float *x, int64_t n, const dt_pool_cells *cells, float *y)
{
    const float *row = x + dt_pool_cell(v, cells, n, 0);

    memcpy(y, row, (size_t)v->channels * sizeof *y);
    for (int i = 0; i < cells->rows; i++, row += v->width * v->channels) {
        for (int j = i == 0; j < cells->columns; j++) max_row(row + j * v->channels, v->channels, y);
    }
}

/* y[c] = the window's sum, in double */
static void sum_large_window(const dt_pool_view *v, const float *x, int64_t n, const dt_pool_cells *cells, float *y)
{
    for (int64_t first = 0; first < v->channels; first += LANES) {
        const int64_t lanes = v->channels - first < LANES ? v->channels - first : LANES;
        double sum[LANES] = { 0.0 };
        for (int k = 0; k < cells->rows * cells->columns; k++) {
            const float *from = x + dt_pool_cell(v, cells, n, k) + first;
            for (int64_t c = 0; c < lanes; c++) sum[c] += (double)from[c];
        }
        for (int64_t c = 0; c < lanes; c++) y[first + c] = (float)sum[c];
    }
}

/* y[c] = the window's sum */
static void sum_window(const dt_pool_view *v, const float *x, int64_t n, const dt_pool_cells *cells, float *y)
{
    if (cells->rows * cells->columns > DT_POOL_F32_CELLS) {
        sum_large_window(v, x, n, cells, y);
        return;
    }
    const float *row = x + dt_pool_cell(v, cells, n, 0);
    memcpy(y, row, (size_t)v->channels * sizeof *y);
    for (int i = 0; i < cells->rows; i++, row += v->width * v->channels) {
        for (int j = i == 0; j < cells->columns; j++) add_row(row + j * v->channels, v->channels, y);
    }
}

static dt_status maxpool_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_pool_view v = dt_pool_look(node);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t row = 0; row < v.batch * v.out_height; row++) {
        for (int64_t q = 0; q < v.out_width; q++) {
            const dt_pool_cells cells = dt_pool_window(&v, row % v.out_height, q);
            max_window(&v, x, row / v.out_height, &cells, y + (row * v.out_width + q) * v.channels);
        }
    }
    return DT_OK;
}

static dt_status avgpool_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_pool_view v = dt_pool_look(node);
    const dt_tensor *x = node->in[0];
    const int n_scale = node->out->n_scale;
    float *y = node->out->data;
    (void)ex;

    for (int c = 0; c < n_scale; c++) node->out->scale[c] = dt_pool_scale(&v, x->scale[c]);
#pragma omp parallel for
    for (int64_t row = 0; row < v.batch * v.out_height; row++) {
        for (int64_t q = 0; q < v.out_width; q++) {
            const dt_pool_cells cells = dt_pool_window(&v, row % v.out_height, q);
            const float divisor = dt_pool_divisor(&v, &cells);
            float *out = y + (row * v.out_width + q) * v.channels;
            sum_window(&v, x->data, row / v.out_height, &cells, out);
            if (n_scale > 0) continue;
            for (int64_t c = 0; c < v.channels; c++) out[c] = out[c] / divisor * dt_scale_at(x->scale, x->n_scale, c);
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

/* What backward reads, and where it gives to. */
typedef struct {
    const float *x, *y, *dy;
    float *dx;
    int overwrites; /* 1: every cell of dx gets its value from one window, and held nothing */
} unpooling;

/* Gives dy, at the output whose channels begin at `out`, to the window's maxima. */
static inline void max_unpool(const dt_pool_view *v, unpooling u, int64_t n, const dt_pool_cells *cells, int64_t out)
{
    const int64_t first_cell = dt_pool_cell(v, cells, n, 0);

    for (int64_t first = 0; first < v->channels; first += LANES) {
        const int64_t lanes = v->channels - first < LANES ? v->channels - first : LANES;
        int64_t row = first_cell + first;
        float left[LANES];
        memcpy(left, u.dy + out + first, (size_t)lanes * sizeof *left);
        for (int i = 0; i < cells->rows; i++, row += v->width * v->channels) {
            for (int j = 0; j < cells->columns; j++) {
                const int64_t at = row + j * v->channels;
                claim_row(u.x + at, u.y + out + first, lanes, u.overwrites, left, u.dx + at);
            }
        }
    }
}

static inline void give_share(const float *restrict dy, int64_t channels, float divisor, int fresh, float *restrict dx)
{
    for (int64_t c = 0; c < channels; c++) dx[c] = fresh ? dy[c] / divisor : dx[c] + dy[c] / divisor;
}

/* Gives dy, at the output whose channels begin at `out`, to all cells of the window alike. */
static inline void average_unpool(const dt_pool_view *v, unpooling u, int64_t n, const dt_pool_cells *cells,
                                  int64_t out)
{
    const float divisor = dt_pool_divisor(v, cells);
    float *row = u.dx + dt_pool_cell(v, cells, n, 0);

    for (int i = 0; i < cells->rows; i++, row += v->width * v->channels) {
        for (int j = 0; j < cells->columns; j++) {
            give_share(u.dy + out, v->channels, divisor, u.overwrites, row + j * v->channels);
        }
    }
}

/* Every cell of x lies in exactly one window. */
static int tiles(const dt_pool_view *v)
{
    return v->window[0] == v->stride[0] && v->window[1] == v->stride[1] &&
           v->out_height * v->stride[0] >= v->height + v->before[0] &&
           v->out_width * v->stride[1] >= v->width + v->before[1];
}

/* Threads take whole images: windows of one image overlap where the stride is below the window. */
static dt_status pool_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_pool_view v = dt_pool_look(node);
    const int fresh = node->fresh & 1u, average = node->kind == DT_OP_AVGPOOL;
    const int64_t image = v.height * v.width * v.channels;
    const unpooling u = { node->in[0]->data, node->out->data, node->out->grad, node->in[0]->grad, fresh && tiles(&v) };
    (void)ex;
    if (!u.dx) return DT_OK;

#pragma omp parallel for
    for (int64_t n = 0; n < v.batch; n++) {
        if (fresh && !u.overwrites) memset(u.dx + n * image, 0, (size_t)image * sizeof *u.dx);
        for (int64_t i = 0; i < v.out_height * v.out_width; i++) {
            const dt_pool_cells cells = dt_pool_window(&v, i / v.out_width, i % v.out_width);
            const int64_t out = (n * v.out_height * v.out_width + i) * v.channels;
            if (average)
                average_unpool(&v, u, n, &cells, out);
            else
                max_unpool(&v, u, n, &cells, out);
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_maxpool = { .forward = maxpool_forward, .backward = pool_backward, .overwrites = 1u };
const dt_kernel dt_cpu_avgpool = { .forward = avgpool_forward, .backward = pool_backward, .overwrites = 1u };
