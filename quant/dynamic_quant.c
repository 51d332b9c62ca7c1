/*
 * dynamic_quant.c - rounds each image to an 8-bit grid of its own, whose range is found while the network runs: what
 *                   TensorFlow Lite's hybrid kernels do with the input of a layer of int8 weights.
 *
 * The range is that of the image's values and 0. The formulas and their source are in core/arith/range.h. What comes
 * out is real, because a grid tensor has one scale, and here each image has one. An image of zeros stays zeros. One
 * with a value that is no number, or infinite, becomes NaN in whole. Gradients pass, since no value is clipped: dx +=
 * dy.
 *
 * Shapes: x N,..; each index of the first axis has a grid; y as x.
 * CUDA: cuda/dynamic_quant.cu.  Tests: tests/quant/test_dynamic_quant.c.
 */
#include "../core/op.h"
#include "../core/arith/range.h"
#include "../layers/pass.h"

#include <assert.h>

static dt_status dynamic_quant_infer(dt_node *node)
{
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: dynamic_quant: x has codes already, and this takes real values; leave it out", node->name);
    node->out->shape = x->shape;
    return DT_OK;
}

const dt_op dt_op_dynamic_quant = { .name = "dynamic_quant", .min_in = 1, .max_in = 1, .infer = dynamic_quant_infer };

/* One image of n values. */
static void round_image(const float *x, int64_t n, float *y)
{
    float low = 0.0f, high = 0.0f;

    for (int64_t i = 0; i < n; i++) {
        low = dt_dynamic_low(low, x[i]);
        high = dt_dynamic_high(high, x[i]);
    }
    const dt_dynamic_grid grid = dt_dynamic_grid_of(low, high);
    for (int64_t i = 0; i < n; i++) y[i] = dt_dynamic_value(x[i], &grid);
}

static dt_status dynamic_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t images = node->out->shape.dim[0], n = dt_count(&node->out->shape) / images;
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < images; i++) round_image(x + i * n, n, y + i * n);
    return DT_OK;
}

const dt_kernel dt_cpu_dynamic_quant = { .forward = dynamic_quant_forward,
                                         .backward = dt_pass_backward,
                                         .overwrites = 1u };
