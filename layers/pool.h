/*
 * pool.h - the sizes of a pool and the cells of its windows, for CPU and CUDA. pool.c has the mathematics.
 */
#ifndef DT_POOL_H
#define DT_POOL_H

#include "../core/op.h"
#include "../core/rng.h" /* DT_HD */

/* Sums over more cells than this are taken in double. */
enum { DT_POOL_F32_CELLS = 1024 };

/* The sizes of a pool. Of each pair the first is for rows and the second for columns. */
typedef struct {
    int64_t batch, height, width, channels, out_height, out_width;
    int window[2], stride[2];
    int before[2];         /* padded rows at the top, padded columns at the left */
    int count_include_pad; /* as in dt_pool_params */
} dt_pool_view;

/* Checks a pool's window, strides and padding against x, and sets the output's shape. In pool.c. */
DT_MUST_CHECK dt_status dt_pool_infer(dt_node *node);

/* Returns the sizes of a node that infer has accepted. */
static inline dt_pool_view dt_pool_look(const dt_node *node)
{
    const dt_pool_params *p = (const dt_pool_params *)node->params;
    const int64_t *x = node->in[0]->shape.dim;
    dt_pool_view v = { x[0], x[1], x[2], x[3], 1, 1, { (int)x[1], (int)x[2] }, { (int)x[1], (int)x[2] }, { 0, 0 }, 0 };

    if (p->window[0] == 0) return v;
    for (int i = 0; i < 2; i++) {
        v.window[i] = p->window[i];
        v.stride[i] = p->stride[i];
        v.before[i] = p->pad[i];
    }
    v.out_height = (x[1] + p->pad[0] + p->pad[2] - p->window[0]) / p->stride[0] + 1;
    v.out_width = (x[2] + p->pad[1] + p->pad[3] - p->window[1]) / p->stride[1] + 1;
    v.count_include_pad = p->count_include_pad;
    return v;
}

/* The part of a window that lies in the map: rows x columns cells, at least 1, from (top, left) on. */
typedef struct {
    int64_t top, left;
    int rows, columns;
} dt_pool_cells;

/* Returns the cells of the window of output (p, q). */
static inline DT_HD dt_pool_cells dt_pool_window(const dt_pool_view *v, int64_t p, int64_t q)
{
    const int64_t top = p * v->stride[0] - v->before[0], left = q * v->stride[1] - v->before[1];
    const int64_t bottom = top + v->window[0], right = left + v->window[1];
    dt_pool_cells cells;

    cells.top = top > 0 ? top : 0;
    cells.left = left > 0 ? left : 0;
    cells.rows = (int)((bottom < v->height ? bottom : v->height) - cells.top);
    cells.columns = (int)((right < v->width ? right : v->width) - cells.left);
    return cells;
}

/* Returns the offset in x of the first channel of a window's cell k in image n. Cells count row by row. */
static inline DT_HD int64_t dt_pool_cell(const dt_pool_view *v, const dt_pool_cells *cells, int64_t n, int k)
{
    const int64_t row = cells->top + k / cells->columns, column = cells->left + k % cells->columns;
    return ((n * v->height + row) * v->width + column) * v->channels;
}

/* Returns the number by which an average divides its sum. */
static inline DT_HD float dt_pool_divisor(const dt_pool_view *v, const dt_pool_cells *cells)
{
    return (float)(v->count_include_pad ? v->window[0] * v->window[1] : cells->rows * cells->columns);
}

/* Returns 1 if x is on the grid, and the averages of all windows divide by the same number. */
static inline int dt_pool_has_one_divisor(const dt_node *node)
{
    const dt_pool_params *p = (const dt_pool_params *)node->params;
    const int is_padded = p->pad[0] || p->pad[1] || p->pad[2] || p->pad[3];

    return node->in[0]->n_scale > 0 && (p->count_include_pad || !is_padded);
}

/* Returns the scale of such averages, which are stored as sums of integers with the scale `scale`. */
static inline DT_HD float dt_pool_scale(const dt_pool_view *v, float scale)
{
    return scale / (float)(v->window[0] * v->window[1]);
}

#endif /* DT_POOL_H */
