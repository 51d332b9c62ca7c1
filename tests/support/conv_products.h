/*
 * conv_products.h - the definition of a convolution as the list of its products, for the tests of convolutions.
 */
#ifndef CONV_PRODUCTS_H
#define CONV_PRODUCTS_H

#include "op_case.h"

#include <stdint.h>
#include <string.h>

/* One product of the sum: which x, which w and which y it joins. */
typedef struct {
    int64_t x, w, y;
} conv_product;

typedef void (*product_fn)(void *user, const conv_product *at);

/* Positions of y along an axis, 0 for rows, 1 for columns. */
static inline int64_t out_size(const op_case *c, int axis)
{
    const dt_conv_params *p = c->params;
    const int64_t size = c->in[0].shape.dim[axis + 1], taps = c->in[1].shape.dim[axis + 1];
    int64_t n = 0;

    for (int64_t first = -p->pad[axis]; first + (taps - 1) * p->dilation[axis] < size + p->pad[axis + 2];
         first += p->stride[axis]) {
        n++;
    }
    return n;
}

/* The products of one pixel with one tap of every filter: where is the pixel, the tap and the position of y. */
static inline void each_filter(const op_case *c, const int64_t where[3], product_fn visit, void *user)
{
    const int groups = ((const dt_conv_params *)c->params)->groups;
    const int64_t *x = c->in[0].shape.dim, *w = c->in[1].shape.dim;

    for (int64_t k = 0; k < w[0]; k++) {
        const int64_t first = k * groups / w[0] * w[3]; /* channel of the filter's group */
        for (int64_t j = 0; j < w[3]; j++) {
            visit(user, &(conv_product){ where[0] * x[3] + first + j, (k * w[1] * w[2] + where[1]) * w[3] + j,
                                         where[2] * w[0] + k });
        }
    }
}

/* Every product of the definition, in the order of the input's pixels. */
static inline void each_product(const op_case *c, product_fn visit, void *user)
{
    const dt_conv_params *p = c->params;
    const int64_t *x = c->in[0].shape.dim, *w = c->in[1].shape.dim;
    const int64_t rows = out_size(c, 0), columns = out_size(c, 1);

    for (int64_t i = 0; i < x[0] * x[1] * x[2]; i++) {
        const int64_t n = i / (x[1] * x[2]), h = i / x[2] % x[1] + p->pad[0], v = i % x[2] + p->pad[1];
        for (int64_t tap = 0; tap < w[1] * w[2]; tap++) {
            const int64_t down = h - tap / w[2] * p->dilation[0], right = v - tap % w[2] * p->dilation[1];
            if (down < 0 || right < 0 || down % p->stride[0] != 0 || right % p->stride[1] != 0) continue;
            const int64_t row = down / p->stride[0], column = right / p->stride[1];
            if (row >= rows || column >= columns) continue;
            each_filter(c, (int64_t[]){ i, tap, (n * rows + row) * columns + column }, visit, user);
        }
    }
}

static inline int64_t out_count(const op_case *c)
{
    return c->in[0].shape.dim[0] * out_size(c, 0) * out_size(c, 1) * c->in[1].shape.dim[0];
}

typedef struct {
    const double *const *in;
    double *out;
} oracle_run;

static inline void oracle_product(void *user, const conv_product *at)
{
    const oracle_run *run = user;
    run->out[at->y] += run->in[0][at->x] * run->in[1][at->w];
}

static inline void conv_oracle(const op_case *c, const double *const *in, double *out)
{
    oracle_run run = { in, out };
    memset(out, 0, (size_t)out_count(c) * sizeof *out);
    each_product(c, oracle_product, &run);
}

#define CONV .op = DT_OP_CONV2D, .n_in = 2, .oracle = conv_oracle

#endif /* CONV_PRODUCTS_H */
