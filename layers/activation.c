/*
 * activation.c - ReLU.
 *
 *   y = x < 0 ? 0 : x,  dx = y > 0 ? dy : 0
 *
 * Written so that a NaN is passed on: a training that has diverged must show in its loss. Scales are positive, so the
 * ReLU of a grid tensor is the ReLU of its codes, with the same scale.
 *
 * Shapes: any.  CUDA: cuda/activation.cu.  Tests: tests/test_activation.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>

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
