/*
 * norm_quant_lines.h - the passes of NORM_QUANT over memory on the CPU, window by window, for norm_quant.c.
 *
 * Windows have the numbers of the pixels of y. A pass takes whole rows of them. Without a pool each pixel of x is a
 * window. Windows are independent, but the terms of sums are added in their order.
 *
 * Norm and ReLU may be missing. Then their constants are neutral, so that the loops have no branches: without a norm
 * a = 1, b = -0, dx_a = 1 and the other slopes are 0 (the sign of a zero gradient alone may differ); without a ReLU
 * there is no limit.
 */
#ifndef DT_NORM_QUANT_LINES_H
#define DT_NORM_QUANT_LINES_H

#include "norm_quant.h"

enum { DT_NQ_LANES = 64 }; /* channels taken at a time */

/* One node. Arrays over channels are [C]. */
typedef struct {
    const float *x;                                         /* [images][height][width][C] */
    int64_t channels, height, width, out_height, out_width; /* all but channels are used if pool is above 1 */
    int pool;                                               /* side of the windows; 1: there is no pool */
    const float *a, *b;                                     /* z = a q + b */
    const float *scale;                                     /* of what the quantizer reads; 1 where that is real */
    dt_limits limits;                                       /* of z */
    int has_quant;
    dt_act_quant_params quant;
    dt_grid grid;
    float alpha;
    float ewgs;                                   /* of backward: dt_purpose.ewgs */
    const float *dx_a, *mean_dy, *centre, *slope; /* the fields of dt_batchnorm_slope */
    void *y, *dx;
    const void *dy;
    dt_dtype y_type, dy_type, dx_type; /* y: F32, U8 or I8; gradients: F32 or BF16 */
    int fresh;                         /* 1: dx is overwritten; 0: it is added to */
} dt_nq_view;

/* The sums of backward: dz [C] of dz, dzq [C] of dz * q, dalpha [DT_NQ_LANES] of the terms of alpha's gradient. */
typedef struct {
    double *dz, *dzq, *dalpha;
} dt_nq_sums;

/* Writes y of windows first .. last - 1. */
void dt_nq_map(const dt_nq_view *v, int64_t first, int64_t last);
/* Adds the terms of windows first .. last - 1 to the sums. */
void dt_nq_add_sums(const dt_nq_view *v, int64_t first, int64_t last, dt_nq_sums to);
/* Overwrites dx of windows first .. last - 1, or adds to it. */
void dt_nq_slope(const dt_nq_view *v, int64_t first, int64_t last);

/* Adds rows first .. last - 1 of x, [rows][C], to sum[C], and their squares to square[C]. */
void dt_nq_add_moments(const float *x, int64_t channels, int64_t first, int64_t last, double *sum, double *square);

#endif /* DT_NORM_QUANT_LINES_H */
