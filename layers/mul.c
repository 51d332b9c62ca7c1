/*
 * mul.c - the product of two tensors, or of a map with one factor for each image and channel (squeeze and excite).
 *
 *   y = a b,  da = dy b,  db = dy a, summed over the map where b has one value for all of it
 *
 * If a or b is a grid tensor, scale * code is multiplied, and y is real: a product of codes would have the product of
 * both ranges. Sums over the map are taken in double, cell by cell.
 *
 * Shapes: a N,..,C; b the same, or N,1,..,1,C; y as a.  CUDA: cuda/mul.cu.  Tests: tests/layers/test_mul.c.
 */
#include "mul.h"

#include <assert.h>

enum { A = DT_MUL_A, B = DT_MUL_B, LANES = 64 /* channels whose sums are taken at a time */ };

/* b is N,1,..,1,C of a's N and C. */
static int is_per_image(const dt_shape *a, const dt_shape *b)
{
    const int last = a->ndim - 1;

    if (a->ndim < 3 || b->ndim != a->ndim || b->dim[0] != a->dim[0] || b->dim[last] != a->dim[last]) return 0;
    return dt_count(b) == a->dim[0] * a->dim[last];
}

static dt_status mul_infer(dt_node *node)
{
    const dt_shape *a = &node->in[A]->shape, *b = &node->in[B]->shape;
    char text_a[64], text_b[64];
    assert(node->in[A]->type == DT_F32 && node->in[B]->type == DT_F32);

    DT_CHECK(dt_same_shape(a, b) || is_per_image(a, b), DT_ERR_SHAPE,
             "%s: mul: a is %s, b is %s; b must have a's shape, or 1 for each axis between the first and the last",
             node->name, dt_shape_text(a, text_a, sizeof text_a), dt_shape_text(b, text_b, sizeof text_b));
    node->out->shape = *a;
    return DT_OK;
}

const dt_op dt_op_mul = {
    .name = "mul",
    .min_in = 2,
    .max_in = 2,
    .backward_reads = DT_READS_IN(A) | DT_READS_IN(B),
    .infer = mul_infer,
};

/* element i of t, which is of channel c */
static inline float real_at(const dt_tensor *t, int64_t i, int64_t c)
{
    return dt_scale_at(t->scale, t->n_scale, c) * ((const float *)t->data)[i];
}

static dt_status mul_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *a = node->in[A], *b = node->in[B];
    const dt_mul_view v = dt_mul_look(node);
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t cell = 0; cell < v.images * v.cells; cell++) {
        const int64_t at = cell * v.channels, of_b = dt_mul_b(&v, cell);
        for (int64_t c = 0; c < v.channels; c++) y[at + c] = real_at(a, at + c, c) * real_at(b, of_b + c, c);
    }
    return DT_OK;
}

/* dx = dy times the other input, k, at every cell */
static void give_products(const dt_node *node, const dt_mul_view *v, int k, int fresh, float *dx)
{
    const float *dy = node->out->grad;

#pragma omp parallel for
    for (int64_t cell = 0; cell < v->images * v->cells; cell++) {
        const int64_t at = cell * v->channels, other = k == B ? dt_mul_b(v, cell) : at;
        for (int64_t c = 0; c < v->channels; c++) {
            const float product = dy[at + c] * real_at(node->in[k], other + c, c);
            dx[at + c] = fresh ? product : dx[at + c] + product;
        }
    }
}

/* db of image n, channels first .. first + lanes - 1 */
static void give_sums(const dt_node *node, const dt_mul_view *v, int64_t n, int64_t first, int64_t lanes, float *db)
{
    const float *dy = node->out->grad;
    double sum[LANES] = { 0.0 };

    for (int64_t cell = n * v->cells; cell < (n + 1) * v->cells; cell++) {
        const int64_t at = cell * v->channels + first;
        for (int64_t i = 0; i < lanes; i++) sum[i] += (double)(dy[at + i] * real_at(node->in[A], at + i, first + i));
    }
    for (int64_t i = 0; i < lanes; i++) {
        float *to = db + n * v->channels + first + i;
        *to = node->fresh & 1u << B ? (float)sum[i] : *to + (float)sum[i];
    }
}

static dt_status mul_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_mul_view v = dt_mul_look(node);
    const int64_t parts = (v.channels + LANES - 1) / LANES;
    float *da = node->in[A]->grad, *db = node->in[B]->grad;
    (void)ex;

    if (da) give_products(node, &v, B, (int)(node->fresh & 1u << A), da);
    if (db && !v.per_image) give_products(node, &v, A, (int)(node->fresh & 1u << B), db);
    if (!db || !v.per_image) return DT_OK;
#pragma omp parallel for
    for (int64_t i = 0; i < v.images * parts; i++) {
        const int64_t first = i % parts * LANES, lanes = v.channels - first < LANES ? v.channels - first : LANES;
        give_sums(node, &v, i / parts, first, lanes, db);
    }
    return DT_OK;
}

const dt_kernel dt_cpu_mul = { .forward = mul_forward, .backward = mul_backward, .overwrites = 1u << A | 1u << B };
