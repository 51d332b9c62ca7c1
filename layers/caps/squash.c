/*
 * squash.c - the non-linearity of capsules, which keeps a vector's direction and maps its length to 0..1.
 *
 *   v = s |s| / (1 + |s|^2)
 *   ds = a dv + k (s . dv) s,  a = |s| / (1 + |s|^2),  k = (1 - |s|^2) / (|s| (1 + |s|^2)^2)
 *
 * There is no epsilon: where s is 0, v is 0 and so is ds.
 *
 * Source: Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", NIPS 2017, eq. 1.
 * Shapes: s and v ..,C, where C is capsules of `dim` values each.
 * One capsule: squash.h.  CUDA: cuda/squash.cu.  Tests: tests/layers/test_squash.c.
 */
#include "squash.h"

#include "../../core/op.h"
#include "../../core/grid_facts.h"
#include "caps_lanes.h"

#include <assert.h>

static dt_status squash_infer(dt_node *node)
{
    const dt_caps_params *p = node->params;
    const dt_tensor *s = node->in[0];
    assert(s->type == DT_F32);

    DT_CHECK(p->dim >= 1 && dt_channels(&s->shape) % p->dim == 0, DT_ERR_SHAPE,
             "%s: squash: x has %lld channels, which are no capsules of %d values", node->name,
             (long long)dt_channels(&s->shape), p->dim);
    DT_CHECK(s->n_scale == 0, DT_ERR_ARGUMENT,
             "%s: squash: x holds codes of a grid, needed are real values; put a BIAS before", node->name);
    node->out->shape = s->shape;
    return DT_OK;
}

static const dt_field squash_fields[] = {
    { DT_MEMBER(dt_caps_params, dim), DT_INT(1, 1 << 20) },
};

const dt_op dt_op_squash = {
    .name = "squash",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_caps_params, squash_fields),
    .backward_reads = DT_READS_IN(0),
    .infer = squash_infer,
};

static dt_status squash_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_caps_params *p = node->params;
    const int64_t rows = dt_rows(&node->out->shape), channels = dt_channels(&node->out->shape);
    const float *s = node->in[0]->data;
    const dt_caps_lanes *lanes = dt_caps_lanes_now();
    float *v = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        lanes->squash(s + r * channels, channels / p->dim, p->dim, v + r * channels);
    }
    return DT_OK;
}

static dt_status squash_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_caps_params *p = node->params;
    const int64_t rows = dt_rows(&node->out->shape), channels = dt_channels(&node->out->shape);
    const dt_caps_lanes *lanes = dt_caps_lanes_now();
    const float *s = node->in[0]->data, *dv = node->out->grad;
    float *ds = node->in[0]->grad;
    (void)ex;
    if (!ds) return DT_OK;

    const int fresh = node->fresh & 1u;
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = r * channels;
        lanes->squash_backward(s + at, dv + at, channels / p->dim, p->dim, fresh, ds + at);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_squash = {
    .forward = squash_forward, .backward = squash_backward, .overwrites = 1u, .in_place = 1
};
