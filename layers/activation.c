/*
 * activation.c - ReLU and sigmoid.
 *
 *   relu:    y = x < 0 ? 0 : x,  dx = y > 0 ? dy : 0
 *   sigmoid: y = 1 / (1 + e^-x),  dx = dy y (1 - y)
 *
 * Written so that a NaN is passed on: a training that has diverged must show in its loss. Scales are positive, so the
 * ReLU of a grid tensor is the ReLU of its codes, with the same scale; the sigmoid works on real values.
 *
 * Shapes: any.  CUDA: cuda/activation.cu.  Tests: tests/test_activation.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>
#include <math.h>

static dt_status relu_infer(dt_node *node)
{
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    dt_stay_on_grid(node->out, x);
    node->out->shape = x->shape;
    if (x->qmin < 0) node->out->qmin = 0;
    if (x->qmax < 0) node->out->qmax = 0;
    return DT_OK;
}

const dt_op dt_op_relu = {
    .name = "relu",
    .min_in = 1,
    .max_in = 1,
    .backward_reads = DT_READS_OUT,
    .infer = relu_infer,
};

static dt_status relu_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
    return DT_OK;
}

static dt_status relu_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *y = node->out->data, *dy = node->out->grad;
    float *dx = node->in[0]->grad;
    (void)ex;
    if (!dx) return DT_OK;

    const int fresh = node->fresh & 1u;
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) {
        const float passed = y[i] > 0.0f ? dy[i] : 0.0f;
        dx[i] = fresh ? passed : dx[i] + passed;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_relu = { .forward = relu_forward, .backward = relu_backward, .overwrites = 1u };

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

/* e^-x overflows to infinity from x = -89 down, and y is then 0, as it should be. */
static dt_status sigmoid_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) y[i] = 1.0f / (1.0f + expf(-x[i]));
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

const dt_kernel dt_cpu_sigmoid = { .forward = sigmoid_forward, .backward = sigmoid_backward, .overwrites = 1u };
