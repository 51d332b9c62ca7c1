/*
 * norm_quant_lines.h - the passes of NORM_QUANT over memory on the CPU, window by window, for norm_quant.c.
 *
 * Windows are numbered as the pixels of y; a pass takes whole rows of them. Where nothing is pooled, each pixel is a
 * window. They are independent but for the sums, whose terms are added in the order of windows.
 *
 * Two parts that may be missing are made neutral, so that the loops need not ask: no norm is a = 1, b = -0, dx_a = 1
 * and the other slopes 0 (of the results, the sign of a zero gradient alone may differ); no ReLU is no limit.
 */
#ifndef DT_NORM_QUANT_LINES_H
#define DT_NORM_QUANT_LINES_H

#include "../core/op.h"
#include "norm_quant.h"

enum { DT_NQ_LANES = 64 }; /* channels taken at a time */

/* One node. The arrays by channel are [C]. */
typedef struct {
    const float *x;                                         /* images, height, width, C */
    int64_t channels, height, width, out_height, out_width; /* but for channels: read where pool is above 1 */
    int pool;                                               /* 1: none */
    const float *a, *b;                                     /* z = a q + b */
    const float *scale;                                     /* of what the quantizer reads, 1 if it is real */
    dt_limits limits;                                       /* of z */
    int has_quant;
    dt_act_quant_params quant;
    dt_grid grid;
    float alpha;
    const float *dx_a, *mean_dy, *centre, *slope; /* the fields of dt_batchnorm_slope */
    void *y, *dx;
    const void *dy;
    dt_dtype y_type, dy_type, dx_type; /* y: F32, U8 or I8; gradients: F32 or BF16 */
    int fresh;                         /* 1: dx is written, not added to */
} dt_nq_view;

/* [C] of dz, [C] of dz * q, [DT_NQ_LANES] of dalpha's shares */
typedef struct {
    double *dz, *dzq, *dalpha;
} dt_nq_sums;

/* Of windows first .. last - 1: writes y; adds to the sums; writes dx or adds to it. */
void dt_nq_map(const dt_nq_view *v, int64_t first, int64_t last);
void dt_nq_add_sums(const dt_nq_view *v, int64_t first, int64_t last, dt_nq_sums to);
void dt_nq_slope(const dt_nq_view *v, int64_t first, int64_t last);

/* Adds rows first .. last - 1 of x to sum[C], and their squares to square[C]. */
void dt_nq_add_moments(const float *x, int64_t channels, int64_t first, int64_t last, double *sum, double *square);

#endif /* DT_NORM_QUANT_LINES_H */
