/*
 * activation.c - ReLU, with an upper limit if wanted (ReLU6), clipping, and sigmoid.
 *
 *   relu:    y = min(max(x, 0), most),  dx = dy where 0 < y < most, else 0
 *   clip:    y = min(max(x, low), high),  dx = dy where low < y < high, else 0
 *   sigmoid: y = 1 / (1 + e^-x),  dx = dy y (1 - y)
 *
 * A NaN stays a NaN, because a training that has diverged must show in its loss. Scales are positive, so the ReLU of a
 * grid tensor is the ReLU of its codes, with the same scale. A limit is a real value and not a code, so a ReLU that has
 * one, and clip, leave the grid (they limit scale * code). The sigmoid works on real values.
 *
 * Shapes: any.  CUDA: cuda/activation.cu.  Tests: tests/layers/test_activation.c.
 */
#include "activation.h"

#include "../core/grid_facts.h"

#include <assert.h>

static dt_status relu_infer(dt_node *node)
{
    const dt_relu_params *p = node->params;
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(p->most >= 0.0f && isfinite(p->most), DT_ERR_ARGUMENT,
             "%s: relu: most is %g, must be above 0, or 0 for no upper limit", node->name, (double)p->most);
    node->out->shape = x->shape;
    if (p->most > 0.0f) return DT_OK;
    dt_stay_on_grid(node->out, x);
    if (x->qmin < 0) node->out->qmin = 0;
    if (x->qmax < 0) node->out->qmax = 0;
    return DT_OK;
}

static dt_status clip_infer(dt_node *node)
{
    const dt_clip_params *p = node->params;
    assert(node->in[0]->type == DT_F32);

    DT_CHECK(p->low < p->high, DT_ERR_ARGUMENT, "%s: clip: low is %g, which must be less than high, %g", node->name,
             (double)p->low, (double)p->high);
    node->out->shape = node->in[0]->shape;
    return DT_OK;
}

static const dt_field relu_fields[] = { { DT_MEMBER(dt_relu_params, most), DT_FLOAT(0, 1e30) } };

const dt_op dt_op_relu = {
    .name = "relu",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_relu_params, relu_fields),
    .backward_reads = DT_READS_OUT,
    .infer = relu_infer,
};

static const dt_field clip_fields[] = {
    { DT_MEMBER(dt_clip_params, low), DT_FLOAT(-1e30, 1e30) },
    { DT_MEMBER(dt_clip_params, high), DT_FLOAT(-1e30, 1e30) },
};

const dt_op dt_op_clip = {
    .name = "clip",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_clip_params, clip_fields),
    .backward_reads = DT_READS_OUT,
    .infer = clip_infer,
};

/* Of a grid tensor whose output is real. */
static void limit_codes(const dt_tensor *x, dt_limits limits, float *y)
{
    const int64_t channels = dt_channels(&x->shape), rows = dt_rows(&x->shape);
    const float *q = x->data;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            const int64_t i = r * channels + c;
            y[i] = dt_limited(dt_scale_at(x->scale, x->n_scale, c) * q[i], limits);
        }
    }
}

static dt_status limit_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_limits limits = dt_limits_of(node);
    const int64_t count = dt_count(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

    if (node->in[0]->n_scale > 0 && node->out->n_scale == 0) {
        limit_codes(node->in[0], limits, y);
        return DT_OK;
    }
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) y[i] = dt_limited(x[i], limits);
    return DT_OK;
}

static dt_status limit_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_limits limits = dt_limits_of(node);
    const int64_t count = dt_count(&node->out->shape);
    const float *y = node->out->data, *dy = node->out->grad;
    float *dx = node->in[0]->grad;
    (void)ex;
    if (!dx) return DT_OK;

    const int fresh = node->fresh & 1u;
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) {
        const float passed = dt_limit_passes(y[i], limits) ? dy[i] : 0.0f;
        dx[i] = fresh ? passed : dx[i] + passed;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_relu = { .forward = limit_forward, .backward = limit_backward, .overwrites = 1u, .in_place = 1 };
const dt_kernel dt_cpu_clip = { .forward = limit_forward, .backward = limit_backward, .overwrites = 1u, .in_place = 1 };

static dt_status sigmoid_infer(dt_node *node)
{
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: sigmoid: x is a grid tensor, and this layer takes real values; put a bias or a batch norm before it",
             node->name);
    node->out->shape = x->shape;
    return DT_OK;
}

const dt_op dt_op_sigmoid = {
    .name = "sigmoid",
    .min_in = 1,
    .max_in = 1,
    .backward_reads = DT_READS_OUT,
    .infer = sigmoid_infer,
};

static dt_status sigmoid_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) y[i] = dt_sigmoid(x[i]);
    return DT_OK;
}

static dt_status sigmoid_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *y = node->out->data, *dy = node->out->grad;
    float *dx = node->in[0]->grad;
    (void)ex;
    if (!dx) return DT_OK;

    const int fresh = node->fresh & 1u;
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) {
        const float passed = dy[i] * (y[i] * (1.0f - y[i]));
        dx[i] = fresh ? passed : dx[i] + passed;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_sigmoid = {
    .forward = sigmoid_forward, .backward = sigmoid_backward, .overwrites = 1u, .in_place = 1
};
