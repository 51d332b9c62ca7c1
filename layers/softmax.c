/*
 * softmax.c - softmax over the last axis, for networks whose scores are probabilities. The loss (loss.c) reads logits.
 *
 *   y[i] = e^(x[i] - max x) / sum over j of e^(x[j] - max x),  dx[i] = y[i] (dy[i] - sum over j of dy[j] y[j])
 *
 * The largest term is e^0, so nothing overflows. Sums are in double, along the axis. A NaN makes its whole row NaN.
 * It works on real values.
 *
 * Shapes: ..,C; y as x.  CUDA: cuda/softmax.cu.  Tests: tests/layers/test_softmax.c.
 */
#include "softmax.h"

#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>

static dt_status softmax_infer(dt_node *node)
{
    const dt_tensor *x = node->in[0];
    assert(x->type == DT_F32);

    DT_CHECK(x->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: softmax: x is a grid tensor, and this layer takes real values; put a bias or a batch norm before it",
             node->name);
    node->out->shape = x->shape;
    return DT_OK;
}

const dt_op dt_op_softmax = {
    .name = "softmax",
    .min_in = 1,
    .max_in = 1,
    .backward_reads = DT_READS_OUT,
    .infer = softmax_infer,
};

static dt_status softmax_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t channels = dt_channels(&node->out->shape), rows = dt_rows(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) dt_softmax_row(x + r * channels, channels, y + r * channels);
    return DT_OK;
}

static dt_status softmax_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t channels = dt_channels(&node->out->shape), rows = dt_rows(&node->out->shape);
    const float *y = node->out->data, *dy = node->out->grad;
    const int fresh = node->fresh & 1u;
    float *dx = node->in[0]->grad;
    (void)ex;
    if (!dx) return DT_OK;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        const double mean = dt_softmax_mean(y + r * channels, dy + r * channels, channels);
        for (int64_t i = r * channels; i < (r + 1) * channels; i++) {
            const float slope = dt_softmax_slope(y[i], dy[i], mean);
            dx[i] = fresh ? slope : dx[i] + slope;
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_softmax = { .forward = softmax_forward, .backward = softmax_backward, .overwrites = 1u };
