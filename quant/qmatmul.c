/*
 * qmatmul.c - products of matrices of codes, as codes of a third scale: TensorFlow Lite's BATCH_MATMUL.
 *
 *   code[r,c] = limit(round(scale_a scale_b (sum over t of a[r,t] b[t,c]) / scale_y))
 *
 * The profile's arithmetic is in core/arith/requantize.h. Sums are taken in 64 bits, and have to fit 32, as those of
 * engines do. Either operand may be a constant of the network, codes that CODES gives; it has one image, which stands
 * for all. So may one matrix stand for all of an image.
 *
 * Shapes: a N,B,R,T, or N,B,T,R if transpose_a; b N,B,T,C, or N,B,C,T if transpose_b; code N,B,R,C; scales 1.
 * CUDA: cuda/qmatmul.cu.  Tests: tests/quant/test_qmatmul.c.
 */
#include "qmatmul.h"

#include <assert.h>

/* 1 if sizes of the two operands are equal, or that of one of them is 1. */
static int agree(int64_t a, int64_t b)
{
    return a == b || a == 1 || b == 1;
}

static dt_status check_shapes(const dt_node *node, const dt_matmul_sizes *s)
{
    const dt_qmatmul_params *p = node->params;
    const dt_shape *a = &node->in[DT_QBINARY_A]->shape, *b = &node->in[DT_QBINARY_B]->shape;
    char text_a[64], text_b[64];

    DT_CHECK(agree(a->dim[0], b->dim[0]) && agree(a->dim[1], b->dim[1]) && b->dim[p->transpose_b ? 3 : 2] == s->terms,
             DT_ERR_SHAPE, "%s: qmatmul: a is %s%s and b %s%s; needed are N,B,R,T and N,B,T,C, where N and B may be 1",
             node->name, dt_shape_text(a, text_a, sizeof text_a), p->transpose_a ? ", transposed," : "",
             dt_shape_text(b, text_b, sizeof text_b), p->transpose_b ? ", transposed" : "");
    return DT_OK;
}

static dt_status qmatmul_infer(dt_node *node)
{
    const dt_qmatmul_params *p = node->params;
    const dt_tensor *a = node->in[DT_QBINARY_A], *b = node->in[DT_QBINARY_B];
    assert(a->type == DT_F32 && b->type == DT_F32);

    DT_CHECK(a->shape.ndim == 4 && b->shape.ndim == 4, DT_ERR_SHAPE,
             "%s: qmatmul: a has %d axes and b %d; needed are 4 each", node->name, a->shape.ndim, b->shape.ndim);
    const dt_matmul_sizes s = dt_matmul_sizes_of(&a->shape, &b->shape, p);
    DT_TRY(check_shapes(node, &s));
    DT_CHECK(a->n_scale == 1 && b->n_scale == 1, DT_ERR_UNSUPPORTED,
             "%s: qmatmul: takes codes of one scale each, and a has %d scales, b %d", node->name, a->n_scale,
             b->n_scale);
    DT_CHECK(dt_count(&node->in[DT_QBINARY_SCALE_A]->shape) == 1 && dt_count(&node->in[DT_QBINARY_SCALE_B]->shape) == 1,
             DT_ERR_SHAPE, "%s: qmatmul: takes one scale for each of a and b", node->name);
    const double most = (double)s.terms * (double)dt_code_bound(a) * (double)dt_code_bound(b);
    DT_CHECK(most < 2147483648.0, DT_ERR_UNSUPPORTED,
             "%s: qmatmul: sums of %lld terms may be %g, and engines have 32 bits, below 2^31; quantize to fewer bits",
             node->name, (long long)s.terms, most);
    node->out->shape = (dt_shape){ 4, { s.images, s.matrices, s.rows, s.columns } };
    return dt_requant_out(node, p->low, p->high, DT_QBINARY_SCALE_Y);
}

static const dt_field qmatmul_fields[] = {
    { DT_MEMBER(dt_qmatmul_params, profile), DT_FIELD_WORD, 0, DT_PROFILE_ONNX, dt_profile_names, 0 },
    { DT_MEMBER(dt_qmatmul_params, low), DT_INT(-65535, 0) },
    { DT_MEMBER(dt_qmatmul_params, high), DT_INT(0, 65535) },
    { DT_MEMBER(dt_qmatmul_params, zero), DT_INT(-32768, 32767) },
    { DT_MEMBER(dt_qmatmul_params, shifted), DT_INT(0, 1) },
    { DT_MEMBER(dt_qmatmul_params, transpose_a), DT_INT(0, 1) },
    { DT_MEMBER(dt_qmatmul_params, transpose_b), DT_INT(0, 1) },
};

const dt_op dt_op_qmatmul = {
    .name = "qmatmul",
    .min_in = 5,
    .max_in = 5,
    DT_OP_PARAMS(dt_qmatmul_params, qmatmul_fields),
    .no_grad = 1,
    .infer = qmatmul_infer,
};

static dt_status qmatmul_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_qmatmul_view v = dt_qmatmul_look(node);
    const dt_requantizer r = dt_qmatmul_requantizer(&v);
    const int64_t n = dt_count(&node->out->shape);
    (void)ex;

#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) v.code[i] = dt_qmatmul_value(&v, &r, i);
    node->out->scale[0] = *v.scale_y;
    return DT_OK;
}

const dt_kernel dt_cpu_qmatmul = { .forward = qmatmul_forward };
