/*
 * test_pool.c - pooling against windows in double.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* Walks the windows the other way round than the kernels: output cells inside, cells of the window outside. */
static void pool_oracle(const op_case *c, const double *const *in, double *out, int average)
{
    const dt_pool_params *p = c->params;
    const int64_t *d = c->in[0].shape.dim;
    const int64_t area = p->window[0] * p->window[1];
    const int64_t rows = (d[1] - p->window[0]) / p->stride[0] + 1, columns = (d[2] - p->window[1]) / p->stride[1] + 1;

    for (int64_t i = 0; i < d[0] * rows * columns * d[3]; i++) out[i] = average ? 0.0 : -INFINITY;
    for (int64_t k = 0; k < area; k++) {
        for (int64_t i = 0; i < d[0] * rows * columns * d[3]; i++) {
            const int64_t channel = i % d[3], q = i / d[3] % columns, r = i / d[3] / columns % rows;
            const int64_t h = r * p->stride[0] + k / p->window[1], w = q * p->stride[1] + k % p->window[1];
            const double x = in[0][((i / d[3] / columns / rows * d[1] + h) * d[2] + w) * d[3] + channel];
            if (average)
                out[i] += x / (double)area;
            else
                out[i] = fmax(out[i], x);
        }
    }
}

static void max_oracle(const op_case *c, const double *const *in, double *out)
{
    pool_oracle(c, in, out, 0);
}

static void average_oracle(const op_case *c, const double *const *in, double *out)
{
    pool_oracle(c, in, out, 1);
}

/* rows and columns of a window, and both strides */
#define POOL(R, S, STRIDE)                               \
    {                                                    \
        .window = { R, S }, .stride = { STRIDE, STRIDE } \
    }

static const dt_pool_params two = POOL(2, 2, 2), overlapping = POOL(3, 3, 2), dense = POOL(2, 2, 1),
                            one = POOL(1, 1, 1), apart = POOL(2, 2, 3);

#define MAXPOOL .op = DT_OP_MAXPOOL, .n_in = 1, .oracle = max_oracle
#define AVGPOOL .op = DT_OP_AVGPOOL, .n_in = 1, .oracle = average_oracle

static const op_case cases[] = {
    { MAXPOOL, .why = "max 2x2", .params = &two, .in = { { OP_SHAPE(2, 4, 6, 3) } }, .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: the odd row and column are dropped", .params = &two, .in = { { OP_SHAPE(1, 7, 5, 1) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: windows overlap", .params = &overlapping, .in = { { OP_SHAPE(3, 7, 7, 2) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: stride 1", .params = &dense, .in = { { OP_SHAPE(1, 4, 4, 3) } }, .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: stride above the kernel", .params = &apart, .in = { { OP_SHAPE(2, 7, 7, 1) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: channels past the lanes of backward", .params = &two, .in = { { OP_SHAPE(1, 2, 2, 133) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max of codes", .params = &two, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 4, 4, 3), .fill = FILL_DISTINCT, .scale = 0.1f, .n_scale = 3 } } },
    { MAXPOOL, .why = "max of equal codes", .params = &two, .no_slopes = "ties", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(5, 8, 8, 7), .fill = FILL_COUNT, .size = 3.0f, .scale = 0.1f } } },
    { AVGPOOL, .why = "average 1x1 is a copy", .params = &one, .in = { { OP_SHAPE(7, 1, 1, 33) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average 2x2", .params = &two, .in = { { OP_SHAPE(2, 5, 4, 3) } }, .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: windows overlap", .params = &overlapping, .in = { { OP_SHAPE(2, 5, 7, 2) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average of codes", .params = &two, .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 4, 4, 3), .fill = FILL_COUNT, .scale = 0.1f, .n_scale = 3 } } },
};

Test(pool, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* PyTorch's max_pool2d: of equal maxima the first in the window, row by row, gets the whole gradient. */
Test(pool, the_first_of_equal_maxima_gets_the_gradient)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { MAXPOOL, .why = "ties", .params = &two, .in = { { OP_SHAPE(1, 2, 4, 1), .fill = FILL_ZERO } } };
    const float x[8] = { 1, 3, 2, 2, 3, 3, 2, 2 }, dy[2] = { 4, 8 };
    const float want[8] = { 0.5f, 4.5f, 8.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        float *dx = op_rig_read(&rig, rig.in[0].grad, 8);
        for (int i = 0; i < 8; i++) {
            cr_assert(dx[i] == want[i], "%s: dx[%d] is %g, expected %g", backends[b], i, (double)dx[i],
                      (double)want[i]);
        }
        free(dx);
        op_rig_close(&rig);
    }
}

Test(pool, misfits_are_refused)
{
    const dt_pool_params none = POOL(2, 2, 0);
    const op_case large = { MAXPOOL, .why = "window", .params = &overlapping, .in = { { OP_SHAPE(1, 2, 9, 1) } } };
    op_case_refused(&large, DT_ERR_SHAPE, "a window of 3x3 does not fit into x, which is 1x2x9x1");
    const op_case still = { AVGPOOL, .why = "stride", .params = &none, .in = { { OP_SHAPE(1, 2, 9, 1) } } };
    op_case_refused(&still, DT_ERR_ARGUMENT, "a window of 2x2 and strides of 0x0 must be 1 or more");
    const op_case flat = { AVGPOOL, .why = "axes", .params = &two, .in = { { OP_SHAPE(2, 9) } } };
    op_case_refused(&flat, DT_ERR_SHAPE, "x is 2x9, needs the axes N,H,W,C");
}
