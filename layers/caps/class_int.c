/*
 * class_int.c - the lengths of class capsules as integers, of which the class is the first largest.
 *
 *   q[n,j] = sum of the squares of the codes s[n,j,:];  y[n,j] = floor(2^24 q / (q + 4^s_frac))
 *   dv of the real s: ds += dy * 2 s / (1 + Q)^2, Q = q / 4^s_frac
 *
 * That is the length Q / (1 + Q) of the capsule that s is squashed to, and it grows with q. Two sums of squares may
 * have one length, and the class is decided by q: where the first class with the largest q shares its length with an
 * earlier class, it gets one step more. So the first largest y is the first largest q.
 *
 * Shapes: s N,C with C = J * D, codes with s_frac fraction bits; y N,J, codes of the scale 2^-24.
 * CUDA: cuda/class_int.cu.  Tests: tests/layers/test_class_int.c.
 */
#include "class_int.h"

#include "../../core/grid_facts.h"

#include <assert.h>

static dt_status class_int_infer(dt_node *node)
{
    const dt_class_int_params *p = node->params;
    const dt_tensor *s = node->in[0];
    dt_tensor *y = node->out;
    const int64_t bound = dt_code_bound(s);
    char text[64];
    assert(s->type == DT_F32);

    DT_CHECK(s->shape.ndim == 2 && p->dim >= 1 && s->shape.dim[1] % p->dim == 0, DT_ERR_SHAPE,
             "%s: class_int: s is %s; needed are N,C, with C a multiple of the capsules' dim, which is %d", node->name,
             dt_shape_text(&s->shape, text, sizeof text), p->dim);
    DT_CHECK(s->n_scale == 1 && s->scale_form == p->s_frac, DT_ERR_ARGUMENT,
             "%s: class_int: s has %d scales and %d fraction bits; needed are codes with %d", node->name, s->n_scale,
             s->scale_form, p->s_frac);
    DT_CHECK(bound <= 1 << 15 && bound * bound * p->dim < (int64_t)1 << 36, DT_ERR_UNSUPPORTED,
             "%s: class_int: %d squares of codes up to %lld; their sum must stay below 2^36", node->name, p->dim,
             (long long)bound);
    y->shape = (dt_shape){ .ndim = 2, .dim = { s->shape.dim[0], s->shape.dim[1] / p->dim } };
    y->n_scale = 1;
    y->qmin = 0;
    y->qmax = (int64_t)1 << DT_LENGTH_BITS;
    return DT_OK;
}

static const dt_field class_int_fields[] = {
    { DT_MEMBER(dt_class_int_params, dim), DT_INT(1, 1 << 20) },
    { DT_MEMBER(dt_class_int_params, s_frac), DT_INT(0, 18) },
};

const dt_op dt_op_class_int = {
    .name = "class_int",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_class_int_params, class_int_fields),
    .backward_reads = DT_READS_IN(0),
    .infer = class_int_infer,
};

static dt_status class_int_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_class_int_params *p = node->params;
    const int64_t classes = node->out->shape.dim[1];
    const float *s = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

    node->out->scale[0] = DT_LENGTH_STEP;
    for (int64_t n = 0; n < node->out->shape.dim[0]; n++)
        dt_class_lengths(s + n * classes * p->dim, classes, p, y + n * classes);
    return DT_OK;
}

static dt_status class_int_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_class_int_params *p = node->params;
    const float *s = node->in[0]->data, *dy = node->out->grad;
    const int fresh = node->fresh & 1u;
    float *ds = node->in[0]->grad;
    (void)ex;
    if (!ds) return DT_OK;

    for (int64_t i = 0; i < dt_count(&node->out->shape); i++)
        dt_class_length_backward(s + i * p->dim, dy[i], p, fresh, ds + i * p->dim);
    return DT_OK;
}

const dt_kernel dt_cpu_class_int = { .forward = class_int_forward, .backward = class_int_backward, .overwrites = 1u };
