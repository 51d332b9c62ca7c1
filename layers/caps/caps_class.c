/*
 * caps_class.c - the length of each class capsule, and the capsule of the labelled class.
 *
 *   caps_length: y[n,j] = |v[n,j]|, the square root of v[0]^2 + v[1]^2 + ..., added in this order
 *                dv += dy * v / |v|, and nothing where |v| = 0
 *   caps_mask:   y[n] = v[n,labels[n]];  dv[n,labels[n]] += dy[n]
 *
 * Capsule j is channels j D to j D + D - 1. Both operators work on real values. Labels are not checked, because
 * datasets have checked their range. Every value has equal bits on the CPU and on CUDA.
 *
 * Source: Sabour, Frosst, Hinton, "Dynamic routing between capsules", NIPS 2017, sections 2 and 4.1; the mask keeps
 * one capsule instead of zeroing the others.
 * Shapes: v N,C with C = J * D; labels i32 N; y of caps_length N,J, of caps_mask N,D.
 * CUDA: cuda/caps_class.cu.  Tests: tests/layers/test_caps_class.c.
 */
#include "../../core/op.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static dt_status capsules_check(const dt_node *node, const char *op)
{
    const dt_caps_params *p = node->params;
    const dt_tensor *v = node->in[0];
    char text[64];
    assert(v->type == DT_F32);

    DT_CHECK(v->shape.ndim == 2 && p->dim >= 1 && v->shape.dim[1] % p->dim == 0, DT_ERR_SHAPE,
             "%s: %s: v is %s; needed are N,C, with C a multiple of the capsules' dim, which is %d", node->name, op,
             dt_shape_text(&v->shape, text, sizeof text), p->dim);
    DT_CHECK(v->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: %s: v is a grid tensor, and this layer takes real values; put a bias or a batch norm before it",
             node->name, op);
    return DT_OK;
}

static dt_status caps_length_infer(dt_node *node)
{
    const dt_caps_params *p = node->params;
    const int64_t *v = node->in[0]->shape.dim;

    DT_TRY(capsules_check(node, "caps_length"));
    node->out->shape = (dt_shape){ .ndim = 2, .dim = { v[0], v[1] / p->dim } };
    return DT_OK;
}

static dt_status caps_mask_infer(dt_node *node)
{
    const dt_caps_params *p = node->params;
    const dt_tensor *labels = node->in[1];
    const int64_t batch = node->in[0]->shape.dim[0];

    DT_TRY(capsules_check(node, "caps_mask"));
    DT_CHECK(labels->type == DT_I32 && dt_count(&labels->shape) == batch, DT_ERR_SHAPE,
             "%s: caps_mask: %lld labels for %lld images; needed is one i32 an image", node->name,
             (long long)dt_count(&labels->shape), (long long)batch);
    node->out->shape = (dt_shape){ .ndim = 2, .dim = { batch, p->dim } };
    return DT_OK;
}

static const dt_field caps_class_fields[] = {
    { DT_MEMBER(dt_caps_params, dim), DT_INT(1, 1 << 20) },
};

const dt_op dt_op_caps_length = {
    .name = "caps_length",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_caps_params, caps_class_fields),
    .backward_reads = DT_READS_IN(0) | DT_READS_OUT,
    .infer = caps_length_infer,
};

const dt_op dt_op_caps_mask = {
    .name = "caps_mask",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_caps_params, caps_class_fields),
    .backward_reads = DT_READS_IN(1),
    .infer = caps_mask_infer,
};

static dt_status caps_length_forward(const dt_node *node, const dt_exec *ex)
{
    const int dim = ((const dt_caps_params *)node->params)->dim;
    const float *v = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < dt_count(&node->out->shape); i++) {
        float squares = 0.0f;
        for (int d = 0; d < dim; d++) squares += v[i * dim + d] * v[i * dim + d];
        y[i] = sqrtf(squares);
    }
    return DT_OK;
}

static dt_status caps_length_backward(const dt_node *node, const dt_exec *ex)
{
    const int dim = ((const dt_caps_params *)node->params)->dim;
    const float *v = node->in[0]->data, *y = node->out->data, *dy = node->out->grad;
    float *dv = node->in[0]->grad;
    (void)ex;
    if (!dv) return DT_OK;

#pragma omp parallel for
    for (int64_t i = 0; i < dt_count(&node->out->shape); i++) {
        if (y[i] == 0.0f) continue;
        for (int d = 0; d < dim; d++) dv[i * dim + d] += dy[i] * (v[i * dim + d] / y[i]);
    }
    return DT_OK;
}

/* Offset into v of the capsule that image n is labelled with. */
static int64_t labelled(const dt_node *node, int64_t n)
{
    const int64_t dim = ((const dt_caps_params *)node->params)->dim, channels = node->in[0]->shape.dim[1];
    const int64_t label = ((const int32_t *)node->in[1]->data)[n];

    assert(label >= 0 && label < channels / dim);
    return n * channels + label * dim;
}

static dt_status caps_mask_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->out->shape.dim[0], dim = node->out->shape.dim[1];
    const float *v = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

    for (int64_t n = 0; n < batch; n++) memcpy(y + n * dim, v + labelled(node, n), (size_t)dim * sizeof *y);
    return DT_OK;
}

static dt_status caps_mask_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->out->shape.dim[0], dim = node->out->shape.dim[1];
    const float *dy = node->out->grad;
    (void)ex;
    if (!node->in[0]->grad) return DT_OK;

    if (node->fresh & 1u) memset(node->in[0]->grad, 0, dt_grad_bytes(node->in[0]));
    for (int64_t n = 0; n < batch; n++) {
        float *dv = dt_grads(node->in[0]) + labelled(node, n);
        for (int64_t d = 0; d < dim; d++) dv[d] += dy[n * dim + d];
    }
    return DT_OK;
}

const dt_kernel dt_cpu_caps_length = { .forward = caps_length_forward, .backward = caps_length_backward };
const dt_kernel dt_cpu_caps_mask = { .forward = caps_mask_forward, .backward = caps_mask_backward, .overwrites = 1u };
