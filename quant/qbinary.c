/*
 * qbinary.c - sums, differences and products of codes of two scales, as codes of a third.
 *
 *   qadd:  code = limit(round((scale_a a +- scale_b b) / scale_y))
 *   qmul:  code = limit(round(scale_a scale_b a b / scale_y))
 *
 * The profile's arithmetic is in core/arith/requantize.h: engines add with integers of 20 bits of fraction.
 *
 * On the CPU QADD computes by vectors (requantize_lines.h), and by the definition where those do not fit.
 *
 * Shapes: a, b and code of one shape; scales 1.
 * CUDA: cuda/qbinary.cu.  Tests: tests/quant/test_qbinary.c.
 */
#include "requantize_lines.h"

#include "code_types.h"

#include <assert.h>

enum { BLOCK = 1024 }; /* codes of three tensors, in the first cache */

static dt_status qbinary_infer(dt_node *node)
{
    const dt_qbinary_params *p = node->params;
    const dt_tensor *a = node->in[DT_QBINARY_A], *b = node->in[DT_QBINARY_B];
    const char *op = dt_ops[node->kind]->name;
    char text_a[64], text_b[64];
    assert(a->type == DT_F32 && b->type == DT_F32);

    DT_CHECK(dt_same_shape(&a->shape, &b->shape), DT_ERR_SHAPE, "%s: %s: a is %s, b is %s; they must have one shape",
             node->name, op, dt_shape_text(&a->shape, text_a, sizeof text_a),
             dt_shape_text(&b->shape, text_b, sizeof text_b));
    DT_CHECK(a->n_scale == 1 && b->n_scale == 1, DT_ERR_UNSUPPORTED,
             "%s: %s: takes codes of one scale each, and a has %d scales, b %d", node->name, op, a->n_scale,
             b->n_scale);
    DT_CHECK(dt_count(&node->in[DT_QBINARY_SCALE_A]->shape) == 1 && dt_count(&node->in[DT_QBINARY_SCALE_B]->shape) == 1,
             DT_ERR_SHAPE, "%s: %s: takes one scale for each of a and b", node->name, op);
    node->out->shape = a->shape;
    return dt_requant_out(node, p->low, p->high, DT_QBINARY_SCALE_Y);
}

static const dt_field qbinary_fields[] = {
    { DT_MEMBER(dt_qbinary_params, profile), DT_FIELD_WORD, 0, DT_PROFILE_EXACT, dt_profile_names, 0 },
    { DT_MEMBER(dt_qbinary_params, low), DT_INT(-65535, 0) },
    { DT_MEMBER(dt_qbinary_params, high), DT_INT(0, 65535) },
    { DT_MEMBER(dt_qbinary_params, subtract), DT_INT(0, 1) },
    { DT_MEMBER(dt_qbinary_params, zero), DT_INT(-32768, 32767) },
};

const dt_op dt_op_qadd = {
    .name = "qadd",
    .min_in = 5,
    .max_in = 5,
    DT_OP_PARAMS(dt_qbinary_params, qbinary_fields),
    .no_grad = 1,
    .infer = qbinary_infer,
};

const dt_op dt_op_qmul = {
    .name = "qmul",
    .min_in = 5,
    .max_in = 5,
    DT_OP_PARAMS(dt_qbinary_params, qbinary_fields),
    .no_grad = 1,
    .infer = qbinary_infer,
};

/* Returns the largest magnitude of the codes. */
static int64_t most_of(const dt_tensor *a, const dt_tensor *b)
{
    const int64_t least = a->qmin < b->qmin ? a->qmin : b->qmin, most = a->qmax > b->qmax ? a->qmax : b->qmax;

    return -least > most ? -least : most;
}

/* Codes first .. first + n - 1; fits: by vectors */
static void qadd_block(const dt_node *node, const dt_adder *adder, int fits, int64_t first, int64_t n)
{
    float a[BLOCK], b[BLOCK], code[BLOCK];
    dt_qbinary_view v = dt_qbinary_look(node);

    v.a = dt_codes_widened(node->in[DT_QBINARY_A], first, n, a);
    v.b = dt_codes_widened(node->in[DT_QBINARY_B], first, n, b);
    v.code = dt_codes_room(node->out, first, code);
    if (fits) dt_qadd_line(&v, adder, 0, n);
    for (int64_t i = 0; !fits && i < n; i++) v.code[i] = dt_qadd_value(&v, adder, i);
    dt_codes_narrow(node->out, first, n, v.code);
}

static dt_status qadd_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_qbinary_view v = dt_qbinary_look(node);
    const dt_adder adder = dt_qadd_adder(&v);
    const int64_t n = dt_count(&node->out->shape);
    const int fits = dt_qadd_line_fits(&adder, most_of(node->in[DT_QBINARY_A], node->in[DT_QBINARY_B]));
    (void)ex;

#pragma omp parallel for
    for (int64_t at = 0; at < n; at += BLOCK) qadd_block(node, &adder, fits, at, n - at < BLOCK ? n - at : BLOCK);
    node->out->scale[0] = *v.scale_y;
    return DT_OK;
}

static dt_status qmul_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_qbinary_view v = dt_qbinary_look(node);
    const dt_requantizer r = dt_qmul_requantizer(&v);
    const int64_t n = dt_count(&node->out->shape);
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) v.code[i] = dt_qmul_value(&v, &r, i);
    node->out->scale[0] = *v.scale_y;
    return DT_OK;
}

const dt_kernel dt_cpu_qadd = {
    .forward = qadd_forward,
    .narrow = DT_READS_IN(DT_QBINARY_A) | DT_READS_IN(DT_QBINARY_B) | DT_READS_OUT,
};
const dt_kernel dt_cpu_qmul = { .forward = qmul_forward };
