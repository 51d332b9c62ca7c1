/*
 * featuremap_quant.c - rounds each image to an affine grid of its own, as the QKeras-Mod notebook does while it trains.
 *
 * The formulas and their source are in core/arith/qkeras.h (in training, quantized_bits_featuremap). They are computed
 * in double. The step is that of a symmetric range, so that behind a ReLU one half of the codes is not used; it is not
 * the grid that is exported. What comes out is real, because a grid tensor has one scale, and here each image has one.
 * An image with a value that is no number becomes NaN in whole. Gradients pass everywhere: dx += dy.
 *
 * Shapes: x N,..; each index of the first axis has a grid; y as x.
 * CUDA: cuda/featuremap_quant.cu.  Tests: tests/quant/test_featuremap_quant.c.
 */
#include "../core/arith/qkeras.h"
#include "../core/op.h"
#include "../layers/pass.h"

#include <assert.h>

static dt_status featuremap_quant_infer(dt_node *node)
{
    const dt_featuremap_quant_params *p = node->params;
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(p->bits >= 2 && p->bits <= 16, DT_ERR_ARGUMENT,
             "%s: featuremap_quant: activations of %d bits, allowed are 2..16", node->name, p->bits);
    DT_CHECK(x->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: featuremap_quant: x has codes already, and this takes real values; leave it out", node->name);
    node->out->shape = x->shape;
    return DT_OK;
}

static const dt_field featuremap_quant_fields[] = { { DT_MEMBER(dt_featuremap_quant_params, bits), DT_INT(2, 16) } };

static const dt_featuremap_quant_params featuremap_quant_defaults = { .bits = 8 };

const dt_op dt_op_featuremap_quant = {
    .name = "featuremap_quant",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_featuremap_quant_params, featuremap_quant_fields),
    .defaults = &featuremap_quant_defaults,
    .infer = featuremap_quant_infer,
};

/* One image of n values. */
static void round_image(const float *x, int64_t n, int bits, float *y)
{
    double low = dt_qkeras_flush((double)x[0]), high = low;

    for (int64_t i = 1; i < n; i++) {
        low = dt_qkeras_least(low, dt_qkeras_flush((double)x[i]));
        high = dt_qkeras_most(high, dt_qkeras_flush((double)x[i]));
    }
    const dt_qkeras_grid grid = dt_qkeras_training_grid(low, high, bits);
    for (int64_t i = 0; i < n; i++) y[i] = dt_qkeras_training_value((double)x[i], &grid, bits);
}

static dt_status featuremap_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const int bits = ((const dt_featuremap_quant_params *)node->params)->bits;
    const int64_t images = node->out->shape.dim[0], n = dt_count(&node->out->shape) / images;
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < images; i++) round_image(x + i * n, n, bits, y + i * n);
    return DT_OK;
}

const dt_kernel dt_cpu_featuremap_quant = { .forward = featuremap_quant_forward,
                                            .backward = dt_pass_backward,
                                            .overwrites = 1u };
