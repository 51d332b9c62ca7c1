/*
 * qpool.h - one average of codes, for CPU and CUDA. qpool.c has the mathematics.
 */
#ifndef DT_QPOOL_H
#define DT_QPOOL_H

#include "../layers/pool.h"
#include "requantize.h"

/* Returns the code of channel c at output cell i, which counts images, rows and columns. A NaN stays one. */
static inline DT_HD float dt_qavgpool_value(const dt_pool_view *v, const dt_qavgpool_params *p, const float *x,
                                            int64_t i, int64_t c)
{
    const dt_pool_cells cells = dt_pool_window(v, i / v->out_width % v->out_height, i % v->out_width);
    const int n = cells.rows * cells.columns;
    double sum = 0.0; /* exact: of integers */

    for (int k = 0; k < n; k++) sum += (double)x[dt_pool_cell(v, &cells, i / v->out_width / v->out_height, k) + c];
    if (isnan(sum)) return NAN;
    return (float)dt_within(dt_averaged((int64_t)sum, n, p->zero, p->profile), p->low, p->high);
}

#endif /* DT_QPOOL_H */
