/*
 * conv_sums.h - psums of a convolution of codes by one kernel, each against its sum in 64 bits.
 */
#ifndef CONV_SUMS_H
#define CONV_SUMS_H

#include "../../layers/conv/conv_kernels.h"
#include "op_case.h"
#include "op_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *why;
    const dt_conv_params *params;
    int64_t x[4], w[4]; /* N,H,W,C; K,R,S,C of a group */
    float x_size, w_size;
    dt_dtype type; /* of x; w is I8 where it is narrow */
} conv_sums_case;

static inline op_case conv_sums_op(const conv_sums_case *row)
{
    op_case c = { .why = row->why, .op = DT_OP_CONV2D, .params = row->params, .n_in = 2 };

    for (int k = 0; k < 2; k++) {
        const int64_t *dim = k == 0 ? row->x : row->w;
        c.in[k] = (op_input){ .shape = { 4, { dim[0], dim[1], dim[2], dim[3] } },
                              .fill = k == 0 && row->type == DT_U8 ? FILL_COUNT : FILL_INTEGER,
                              .size = k == 0 ? row->x_size : row->w_size,
                              .scale = 0.5f };
    }
    return c;
}

/* The definition. */
static inline int64_t conv_sums_at(const conv_sums_case *row, const float *x, const float *w, const int64_t *y,
                                   int64_t i)
{
    const dt_conv_params *p = row->params;
    const int64_t K = row->w[0], k = i % K, q = i / K % y[2], o = i / K / y[2] % y[1], n = i / K / y[2] / y[1];
    const int64_t each = row->w[3], first = k / (K / p->groups) * each;
    int64_t sum = 0;

    for (int64_t r = 0; r < row->w[1]; r++) {
        for (int64_t s = 0; s < row->w[2]; s++) {
            const int64_t h = o * p->stride[0] + r * p->dilation[0] - p->pad[0];
            const int64_t v = q * p->stride[1] + s * p->dilation[1] - p->pad[1];
            if (h < 0 || h >= row->x[1] || v < 0 || v >= row->x[2]) continue;
            for (int64_t c = 0; c < each; c++) {
                sum += (int64_t)x[((n * row->x[1] + h) * row->x[2] + v) * row->x[3] + first + c] *
                       (int64_t)w[((k * row->w[1] + r) * row->w[2] + s) * each + c];
            }
        }
    }
    return sum;
}

/* Stores values of a tensor as bytes where its type is narrow. */
static inline void conv_sums_narrow(op_rig *rig, int k, dt_dtype type, const float *values)
{
    const int64_t n = dt_count(&rig->in[k].shape);
    uint8_t *bytes = malloc((size_t)n);

    cr_assert_not_null(bytes);
    rig->in[k].type = type;
    for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)(int)values[i];
    op_rig_write(rig, rig->in[k].data, bytes, (size_t)n);
    free(bytes);
}

/* y is computed by the kernel of a name, out of a list. */
static inline void conv_sums_check(const conv_sums_case *row, const dt_kernel *list, const char *name, int threads)
{
    const op_case c = conv_sums_op(row);
    op_rig rig;

    cr_assert(op_rig_open_with(&rig, "cpu", threads, &c, list));
    cr_assert(strcmp(dt_conv_chosen(&rig.node, DT_CONV_Y), name) == 0, "%s: y by %s", row->why,
              dt_conv_chosen(&rig.node, DT_CONV_Y));
    float *x = op_rig_read(&rig, rig.in[0].data, dt_count(&rig.in[0].shape));
    float *w = op_rig_read(&rig, rig.in[1].data, dt_count(&rig.in[1].shape));
    if (row->type != DT_F32) conv_sums_narrow(&rig, 0, row->type, x);
    if (row->type != DT_F32) conv_sums_narrow(&rig, 1, DT_I8, w);
    op_rig_forward(&rig);
    float *y = op_rig_read(&rig, rig.out.data, dt_count(&rig.out.shape));
    for (int64_t i = 0; i < dt_count(&rig.out.shape); i++) {
        const int64_t want = conv_sums_at(row, x, w, rig.out.shape.dim, i);
        cr_assert(y[i] == (float)want, "%s, %d threads: psum %lld is %.9g, expected %lld", row->why, threads,
                  (long long)i, (double)y[i], (long long)want);
    }
    op_rig_close(&rig);
    free(x);
    free(w);
    free(y);
}

#endif /* CONV_SUMS_H */
