/*
 * qmatmul.h - what the kernels of QMATMUL share, for CPU and CUDA. qmatmul.c has the mathematics.
 */
#ifndef DT_QMATMUL_H
#define DT_QMATMUL_H

#include "requantize.h"

/* Sizes of a product, and how far apart the elements of its operands lie. An operand of one image or one matrix is the
 * same for all: its distance is 0. */
typedef struct {
    int64_t images, matrices, rows, terms, columns;
    int64_t a_image, a_matrix, a_row, a_term;
    int64_t b_image, b_matrix, b_term, b_column;
} dt_matmul_sizes;

/* Returns the sizes of the product of a and b, both of four axes. They may not fit; qmatmul_infer compares them. */
static inline dt_matmul_sizes dt_matmul_sizes_of(const dt_shape *a, const dt_shape *b, const dt_qmatmul_params *p)
{
    const int64_t each_a = a->dim[2] * a->dim[3], each_b = b->dim[2] * b->dim[3];
    dt_matmul_sizes s;

    s.images = a->dim[0] > b->dim[0] ? a->dim[0] : b->dim[0];
    s.matrices = a->dim[1] > b->dim[1] ? a->dim[1] : b->dim[1];
    s.rows = a->dim[p->transpose_a ? 3 : 2];
    s.terms = a->dim[p->transpose_a ? 2 : 3];
    s.columns = b->dim[p->transpose_b ? 2 : 3];
    s.a_image = a->dim[0] > 1 ? a->dim[1] * each_a : 0;
    s.a_matrix = a->dim[1] > 1 ? each_a : 0;
    s.a_row = p->transpose_a ? 1 : a->dim[3];
    s.a_term = p->transpose_a ? a->dim[3] : 1;
    s.b_image = b->dim[0] > 1 ? b->dim[1] * each_b : 0;
    s.b_matrix = b->dim[1] > 1 ? each_b : 0;
    s.b_term = p->transpose_b ? 1 : b->dim[3];
    s.b_column = p->transpose_b ? b->dim[3] : 1;
    return s;
}

/* One QMATMUL. */
typedef struct {
    dt_qmatmul_params params;
    dt_matmul_sizes size;
    const float *a, *b, *scale_a, *scale_b, *scale_y;
    float *code;
} dt_qmatmul_view;

/* Returns the view of a node. */
static inline dt_qmatmul_view dt_qmatmul_look(const dt_node *node)
{
    const dt_qmatmul_params *p = (const dt_qmatmul_params *)node->params;
    const dt_qmatmul_view v = { *p,
                                dt_matmul_sizes_of(&node->in[DT_QBINARY_A]->shape, &node->in[DT_QBINARY_B]->shape, p),
                                (const float *)node->in[DT_QBINARY_A]->data,
                                (const float *)node->in[DT_QBINARY_B]->data,
                                (const float *)node->in[DT_QBINARY_SCALE_A]->data,
                                (const float *)node->in[DT_QBINARY_SCALE_B]->data,
                                (const float *)node->in[DT_QBINARY_SCALE_Y]->data,
                                (float *)node->out->data };
    return v;
}

/* Returns the kind of sum, by which profiles differ. */
static inline DT_HD dt_requant_of dt_qmatmul_kind(const dt_qmatmul_params *p)
{
    return p->shifted ? DT_REQUANT_MATMUL_SHIFTED : DT_REQUANT_MATMUL;
}

static inline DT_HD dt_requantizer dt_qmatmul_requantizer(const dt_qmatmul_view *v)
{
    const dt_requant_case of = { v->params.profile, dt_qmatmul_kind(&v->params), 1, *v->scale_a, *v->scale_b,
                                 *v->scale_y };
    return dt_requantizer_of(&of);
}

/* Returns the code of element i; a NaN among its terms stays one. */
static inline DT_HD float dt_qmatmul_value(const dt_qmatmul_view *v, const dt_requantizer *r, int64_t i)
{
    const dt_matmul_sizes *s = &v->size;
    const int64_t column = i % s->columns, row = i / s->columns % s->rows;
    const int64_t matrix = i / s->columns / s->rows % s->matrices, image = i / s->columns / s->rows / s->matrices;
    const float *a = v->a + image * s->a_image + matrix * s->a_matrix + row * s->a_row;
    const float *b = v->b + image * s->b_image + matrix * s->b_matrix + column * s->b_column;
    int64_t sum = 0;

    for (int64_t t = 0; t < s->terms; t++) {
        const float x = a[t * s->a_term], w = b[t * s->b_term];
        if (isnan(x + w)) return NAN;
        sum += (int64_t)x * (int64_t)w;
    }
    return (float)dt_within(dt_requantized(r, sum), v->params.low, v->params.high);
}

#endif /* DT_QMATMUL_H */
