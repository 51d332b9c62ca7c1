/*
 * test_pool.c - pooling against windows in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* Rows (axis 0) or columns (1) of the output. */
static int64_t outputs(const dt_pool_params *p, const int64_t *x, int axis)
{
    if (p->window[axis] == 0) return 1;
    return (x[1 + axis] + p->pad[axis] + p->pad[axis + 2] - p->window[axis]) / p->stride[axis] + 1;
}

/* Walks the windows the other way round than the kernels: output cells inside, cells of the window outside. Cells that
 * are not in the map are passed over. */
static void pool_oracle(const op_case *c, const double *const *in, double *out, int average)
{
    const dt_pool_params *p = c->params;
    const int64_t *d = c->in[0].shape.dim, rows = outputs(p, d, 0), columns = outputs(p, d, 1);
    const int64_t R = p->window[0] ? p->window[0] : d[1], S = p->window[1] ? p->window[1] : d[2];
    const int64_t count = d[0] * rows * columns * d[3];
    double *cells = calloc((size_t)count, sizeof *cells);

    for (int64_t i = 0; i < count; i++) out[i] = average ? 0.0 : -INFINITY;
    for (int64_t k = 0; k < R * S; k++) {
        for (int64_t i = 0; i < count; i++) {
            const int64_t channel = i % d[3], q = i / d[3] % columns, r = i / d[3] / columns % rows;
            const int64_t h = r * p->stride[0] - p->pad[0] + k / S, w = q * p->stride[1] - p->pad[1] + k % S;
            if (h < 0 || h >= d[1] || w < 0 || w >= d[2]) continue;
            const double x = in[0][((i / d[3] / columns / rows * d[1] + h) * d[2] + w) * d[3] + channel];
            cells[i] += 1.0;
            out[i] = average ? out[i] + x : fmax(out[i], x);
        }
    }
    for (int64_t i = 0; average && i < count; i++) out[i] /= p->count_include_pad ? (double)(R * S) : cells[i];
    free(cells);
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
static const dt_pool_params flat = { .window = { 1, 3 }, .stride = { 2, 1 } },
                            steep = { .window = { 3, 2 }, .stride = { 1, 3 } };
static const dt_pool_params
    same = { .window = { 3, 3 }, .stride = { 2, 2 }, .pad = { 1, 1, 1, 1 } },
    same_counted = { .window = { 3, 3 }, .stride = { 2, 2 }, .pad = { 1, 1, 1, 1 }, .count_include_pad = 1 },
    uneven = { .window = { 3, 4 }, .stride = { 1, 2 }, .pad = { 0, 3, 2, 1 } },
    uneven_counted = { .window = { 3, 4 }, .stride = { 1, 2 }, .pad = { 0, 3, 2, 1 }, .count_include_pad = 1 },
    tiles = { .window = { 2, 3 }, .stride = { 2, 3 }, .pad = { 1, 2, 0, 0 } };
static const dt_pool_params whole = { .window = { 0, 0 } };

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
    { MAXPOOL, .why = "max: a row's part", .params = &flat, .in = { { OP_SHAPE(2, 5, 7, 3) } }, .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: taller than wide", .params = &steep, .in = { { OP_SHAPE(2, 5, 9, 3) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: padded on all sides", .params = &same, .in = { { OP_SHAPE(2, 7, 5, 3) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: padded unevenly", .params = &uneven, .in = { { OP_SHAPE(2, 5, 7, 3) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: padded windows that tile", .params = &tiles, .in = { { OP_SHAPE(2, 5, 7, 3) } },
      .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: padding below negative codes", .params = &same, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(3, 5, 7, 3), .fill = FILL_DISTINCT, .scale = 0.1f } } },
    { MAXPOOL, .why = "max: the whole map", .params = &whole, .in = { { OP_SHAPE(2, 5, 7, 9) } }, .agree = AGREE_BITS },
    { MAXPOOL, .why = "max: a map of one cell, padded", .params = &same, .in = { { OP_SHAPE(3, 1, 1, 7) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average 1x1 is a copy", .params = &one, .in = { { OP_SHAPE(7, 1, 1, 33) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average 2x2", .params = &two, .in = { { OP_SHAPE(2, 5, 4, 3) } }, .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: windows overlap", .params = &overlapping, .in = { { OP_SHAPE(2, 5, 7, 2) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average of codes", .params = &two, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 4, 4, 3), .fill = FILL_COUNT, .scale = 0.1f, .n_scale = 3 } } },
    { AVGPOOL, .why = "average: taller than wide", .params = &steep, .in = { { OP_SHAPE(2, 5, 9, 3) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: padded", .params = &same, .in = { { OP_SHAPE(2, 7, 5, 3) } }, .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: padded cells count", .params = &same_counted, .in = { { OP_SHAPE(2, 7, 5, 3) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: padded unevenly", .params = &uneven, .in = { { OP_SHAPE(2, 5, 7, 3) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: padded unevenly, and counted", .params = &uneven_counted,
      .in = { { OP_SHAPE(2, 5, 7, 3) } }, .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: padded windows that tile", .params = &tiles, .in = { { OP_SHAPE(2, 5, 7, 3) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average: the whole map", .params = &whole, .in = { { OP_SHAPE(2, 5, 7, 9) } },
      .agree = AGREE_BITS },
    { AVGPOOL, .why = "average of codes: windows overlap, padded cells count", .params = &same_counted,
      .agree = AGREE_INTEGERS, .in = { { OP_SHAPE(2, 7, 5, 3), .fill = FILL_INTEGER, .scale = 0.1f } } },
    { AVGPOOL, .why = "average of codes: by the cells in the map, off the grid", .params = &same, .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 7, 5, 3), .fill = FILL_INTEGER, .scale = 0.1f } } },
    { AVGPOOL, .why = "average: codes of the whole map", .params = &whole, .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(3, 7, 5, 3), .fill = FILL_COUNT, .scale = 0.1f, .n_scale = 3 } } },
    /* three roundings, of the sum, the quotient and the map; a sum in f32 errs by more than 5e-7 */
    { AVGPOOL, .why = "average: more than 1,024 cells, past the lanes", .params = &whole, .agree = AGREE_BITS,
      .tolerance = 2e-7, .no_slopes = "many", .in = { { OP_SHAPE(2, 41, 37, 67), .fill = FILL_POSITIVE } } },
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
    const dt_pool_params none = POOL(2, 2, 0), half = { .window = { 0, 2 }, .stride = { 1, 1 } };
    const dt_pool_params blind = { .window = { 3, 2 }, .stride = { 1, 1 }, .pad = { 2, 1, 2, 2 } };
    const dt_pool_params negative = { .window = { 3, 2 }, .stride = { 1, 1 }, .pad = { 0, -1, 0, 0 } };
    const dt_pool_params around = { .pad = { 0, 0, 1, 0 } };
    const struct {
        op_case c;
        dt_status status;
        const char *text;
    } misfits[] = {
        { { MAXPOOL, .why = "window", .params = &overlapping, .in = { { OP_SHAPE(1, 2, 9, 1) } } },
          DT_ERR_SHAPE,
          "layer: pool: a window of 3x3 does not fit into x, which is 1x2x9x1 and 2x9 with its padding" },
        { { AVGPOOL, .why = "stride", .params = &none, .in = { { OP_SHAPE(1, 2, 9, 1) } } },
          DT_ERR_ARGUMENT,
          "a window of 2x2 and strides of 0x0 must be 1 or more" },
        { { AVGPOOL, .why = "half a map", .params = &half, .in = { { OP_SHAPE(1, 2, 9, 1) } } },
          DT_ERR_ARGUMENT,
          "a window of 0x2 and strides of 1x1 must be 1 or more, or the window 0x0, the whole map" },
        { { AVGPOOL, .why = "axes", .params = &two, .in = { { OP_SHAPE(2, 9) } } },
          DT_ERR_SHAPE,
          "x is 2x9, needs the axes N,H,W,C" },
        { { MAXPOOL, .why = "an output sees padding alone", .params = &blind, .in = { { OP_SHAPE(1, 5, 5, 1) } } },
          DT_ERR_ARGUMENT,
          "a padding of 2 at the right of a window of 3x2; it must be 0 or more and less than 2" },
        { { MAXPOOL, .why = "negative padding", .params = &negative, .in = { { OP_SHAPE(1, 5, 5, 1) } } },
          DT_ERR_ARGUMENT,
          "a padding of -1 at the left of a window of 3x2; it must be 0 or more and less than 2" },
        { { MAXPOOL, .why = "padding of the whole map", .params = &around, .in = { { OP_SHAPE(1, 5, 5, 1) } } },
          DT_ERR_ARGUMENT,
          "a padding of 1 at the bottom of a window that is the whole map; it must be 0" },
    };
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        op_case_refused(&misfits[i].c, misfits[i].status, misfits[i].text);
    }
}
