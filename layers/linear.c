/*
 * linear.c - the fully connected layer.
 *
 *   y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = column sums of dy
 *
 * It works on real values; a grid tensor must pass an operator that leaves the grid first.
 * The products are gemm.c's, but for y with params.in_order: then y = (float)(b + x[0] w[0] + x[1] w[1] + ...), feature
 * by feature in double. A product of two floats is exact there, so y has the same bits wherever it is summed, whether
 * or not the products are fused with the sum.
 *
 * Shapes: x N,I; w O,I; b O or absent; y N,O.  CUDA: cuda/linear.cu.  Tests: tests/test_linear.c.
 */
#include "../core/op.h"
#include "gemm.h"

#include <assert.h>
#include <string.h>

enum { X, W, B };

static dt_status linear_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X], *w = node->in[W], *b = node->n_in > B ? node->in[B] : NULL;
    char text_x[64], text_w[64];
    assert(x->type == DT_F32 && w->type == DT_F32);

    DT_CHECK(x->shape.ndim == 2 && w->shape.ndim == 2 && x->shape.dim[1] == w->shape.dim[1], DT_ERR_SHAPE,
             "%s: linear: x is %s, w is %s; needed are N,I and O,I", node->name,
             dt_shape_text(&x->shape, text_x, sizeof text_x), dt_shape_text(&w->shape, text_w, sizeof text_w));
    DT_CHECK(!b || dt_count(&b->shape) == w->shape.dim[0], DT_ERR_SHAPE,
             "%s: linear: b has %lld values, w gives %lld features", node->name,
             (long long)(b ? dt_count(&b->shape) : 0), (long long)w->shape.dim[0]);
    DT_CHECK(x->n_scale == 0 && w->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: linear: %s is a grid tensor, and this layer takes real values; put a batch norm or an average pool "
             "before it",
             node->name, x->n_scale ? "x" : "w");
    node->out->shape = (dt_shape){ .ndim = 2, .dim = { x->shape.dim[0], w->shape.dim[0] } };
    return DT_OK;
}

const dt_op dt_op_linear = {
    .name = "linear",
    .min_in = 2,
    .max_in = 3,
    .params_bytes = sizeof(dt_linear_params),
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(W),
    .infer = linear_infer,
};

/* c += a b, where c is m x n, and k terms make a sum */
static dt_status add_product(int64_t m, int64_t n, int64_t k, dt_matrix a, dt_matrix b, float *c)
{
    return dt_gemm(m, n, k, 1.0f, a, b, 1.0f, c, n);
}

static double sum_in_order(double start, const float *x, const float *w, int64_t inputs)
{
    double sum = start;

    for (int64_t i = 0; i < inputs; i++) sum += (double)x[i] * (double)w[i];
    return sum;
}

static void forward_in_order(const dt_node *node)
{
    const int64_t batch = node->out->shape.dim[0], features = node->out->shape.dim[1];
    const int64_t inputs = node->in[X]->shape.dim[1];
    const float *x = node->in[X]->data, *w = node->in[W]->data, *bias = node->n_in > B ? node->in[B]->data : NULL;
    float *y = node->out->data;

#pragma omp parallel for
    for (int64_t i = 0; i < batch * features; i++) {
        const int64_t n = i / features, o = i % features;
        const double start = bias ? (double)bias[o] : 0.0;
        y[i] = (float)sum_in_order(start, x + n * inputs, w + o * inputs, inputs);
    }
}

static dt_status linear_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_linear_params *p = node->params;
    const int64_t batch = node->out->shape.dim[0], features = node->out->shape.dim[1];
    const int64_t inputs = node->in[X]->shape.dim[1];
    const float *bias = node->n_in > B ? node->in[B]->data : NULL;
    float *y = node->out->data;
    (void)ex;

    if (p->in_order) {
        forward_in_order(node);
        return DT_OK;
    }
    if (!bias) memset(y, 0, dt_tensor_bytes(node->out));
    for (int64_t n = 0; bias && n < batch; n++) memcpy(y + n * features, bias, (size_t)features * sizeof *y);
    return add_product(batch, features, inputs, (dt_matrix){ node->in[X]->data, inputs, 0 },
                       (dt_matrix){ node->in[W]->data, inputs, 1 }, y);
}

static void add_column_sums(const float *dy, int64_t rows, int64_t columns, float *sum)
{
    for (int64_t j = 0; j < columns; j++) {
        double s = 0.0;
        for (int64_t i = 0; i < rows; i++) s += (double)dy[i * columns + j];
        sum[j] += (float)s;
    }
}

static dt_status linear_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->out->shape.dim[0], features = node->out->shape.dim[1];
    const int64_t inputs = node->in[X]->shape.dim[1];
    const float *dy = node->out->grad;
    const dt_matrix x = { node->in[X]->data, inputs, 0 }, w = { node->in[W]->data, inputs, 0 };
    float *dx = node->in[X]->grad, *dw = node->in[W]->grad, *db = node->n_in > B ? node->in[B]->grad : NULL;
    (void)ex;

    if (dx) DT_TRY(add_product(batch, inputs, features, (dt_matrix){ dy, features, 0 }, w, dx));
    if (dw) DT_TRY(add_product(features, inputs, batch, (dt_matrix){ dy, features, 1 }, x, dw));
    if (db) add_column_sums(dy, batch, features, db);
    return DT_OK;
}

const dt_kernel dt_cpu_linear = { .forward = linear_forward, .backward = linear_backward };
