/*
 * centre.c - scales an image and takes the mean image away.
 *
 *   y[n,..] = x[n,..] * factor / divisor - mean[..],  in f32, from left to right
 *
 * With factor 255 and divisor 256 an image of pixels in 0..1 becomes pixel / 256 - mean: x * 255 is the pixel itself to
 * the bit, for each of the 256 pixels. No gradient flows back, because images are not trained.
 *
 * Source: the QKeras-Mod notebook, chapter 0.
 * Shapes: x and y N,..; mean any with as many values as one image.  CUDA: cuda/centre.cu.
 * Tests: tests/layers/test_centre.c.
 */
#include "../core/op.h"

#include <assert.h>

enum { X, MEAN, N_IN };

static dt_status centre_infer(dt_node *node)
{
    const dt_centre_params *p = node->params;
    const dt_tensor *x = node->in[X];
    const int64_t n = dt_count(&x->shape), each = dt_count(&node->in[MEAN]->shape);
    assert(x->type == DT_F32 && node->in[MEAN]->type == DT_F32);

    DT_CHECK(x->n_scale == 0, DT_ERR_UNSUPPORTED, "%s: centre: x is on the grid, and this takes real values",
             node->name);
    DT_CHECK(n % each == 0 && x->shape.dim[0] % (n / each) == 0, DT_ERR_SHAPE,
             "%s: centre: the mean has %lld values, and x %lld for %lld images", node->name, (long long)each,
             (long long)n, (long long)x->shape.dim[0]);
    DT_CHECK(p->factor > 0.0f && p->divisor > 0.0f, DT_ERR_ARGUMENT,
             "%s: centre: factor is %g and divisor %g, both must be above 0", node->name, (double)p->factor,
             (double)p->divisor);
    node->out->shape = x->shape;
    return DT_OK;
}

static const dt_field centre_fields[] = {
    { DT_MEMBER(dt_centre_params, factor), DT_FLOAT(0, 65536) },
    { DT_MEMBER(dt_centre_params, divisor), DT_FLOAT(0, 65536) },
};

static const dt_centre_params centre_defaults = { 1.0f, 1.0f };

const dt_op dt_op_centre = {
    .name = "centre",
    .min_in = N_IN,
    .max_in = N_IN,
    DT_OP_PARAMS(dt_centre_params, centre_fields),
    .defaults = &centre_defaults,
    .no_grad = 1,
    .infer = centre_infer,
};

static dt_status centre_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_centre_params *p = node->params;
    const int64_t each = dt_count(&node->in[MEAN]->shape), images = dt_count(&node->out->shape) / each;
    const float *x = node->in[X]->data, *mean = node->in[MEAN]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t n = 0; n < images; n++) {
        for (int64_t i = 0; i < each; i++) y[n * each + i] = x[n * each + i] * p->factor / p->divisor - mean[i];
    }
    return DT_OK;
}

const dt_kernel dt_cpu_centre = { .forward = centre_forward };
