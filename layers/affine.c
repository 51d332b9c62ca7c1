/*
 * affine.c - a line for each channel, which stands for batch norm in a program that leaves the grid.
 *
 *   y = a[c] * x + b[c]    in f32, the product rounded before the sum, as in batchnorm.c in evaluation
 *
 * If x is a grid tensor, its codes are taken and not its real values, because a has the scale in it.
 *
 * Shapes: x and y .., C; a and b C.  CUDA: cuda/affine.cu.  Tests: tests/layers/test_affine.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>

enum { X, A, B };

static dt_status affine_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X];
    const int64_t n_a = dt_count(&node->in[A]->shape), n_b = dt_count(&node->in[B]->shape);
    assert(x->type == DT_F32 && node->in[A]->type == DT_F32 && node->in[B]->type == DT_F32);

    DT_CHECK(n_a == dt_channels(&x->shape) && n_b == n_a, DT_ERR_SHAPE,
             "%s: affine: x has %lld channels, a has %lld values, b %lld", node->name,
             (long long)dt_channels(&x->shape), (long long)n_a, (long long)n_b);
    node->out->shape = x->shape;
    return DT_OK;
}

const dt_op dt_op_affine = {
    .name = "affine",
    .min_in = 3,
    .max_in = 3,
    .no_grad = 1,
    .infer = affine_infer,
};

static void map_row(const float *restrict x, const float *restrict a, const float *restrict b, int64_t channels,
                    float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) y[c] = a[c] * x[c] + b[c];
}

static dt_status affine_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->out->shape;
    const int64_t rows = dt_rows(shape), channels = dt_channels(shape);
    const float *x = node->in[X]->data, *a = node->in[A]->data, *b = node->in[B]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) map_row(x + r * channels, a, b, channels, y + r * channels);
    return DT_OK;
}

const dt_kernel dt_cpu_affine = { .forward = affine_forward };
