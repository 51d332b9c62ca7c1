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
 * Shapes: x N,I, or N,.. of I values each; w O,I; b O or absent; y N,O.
 * CUDA: cuda/linear.cu.  Tests: tests/test_linear.c.
 */
#include "linear.h"

#include "gemm.h"

#include <assert.h>
#include <string.h>

enum { X = DT_LINEAR_X, W = DT_LINEAR_W, B = DT_LINEAR_B };

/* b, or NULL where there is none */
static const dt_tensor *bias_of(const dt_node *node)
{
    return node->n_in > B ? node->in[B] : NULL;
}

dt_status dt_linear_check(const dt_node *node)
{
    const dt_tensor *x = node->in[X], *w = node->in[W], *bias = bias_of(node);
    const char *op = dt_ops[node->kind]->name;
    char text_x[64], text_w[64];
    assert(x->type == DT_F32 && w->type == DT_F32);

    DT_CHECK(x->shape.ndim >= 2 && w->shape.ndim == 2 && dt_count(&x->shape) == x->shape.dim[0] * w->shape.dim[1],
             DT_ERR_SHAPE, "%s: %s: x is %s, w is %s; needed are N,I and O,I", node->name, op,
             dt_shape_text(&x->shape, text_x, sizeof text_x), dt_shape_text(&w->shape, text_w, sizeof text_w));
    DT_CHECK(!bias || dt_count(&bias->shape) == w->shape.dim[0], DT_ERR_SHAPE,
             "%s: %s: b has %lld values, w gives %lld features", node->name, op,
             (long long)(bias ? dt_count(&bias->shape) : 0), (long long)w->shape.dim[0]);
    DT_CHECK(x->n_scale == 0 && w->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: %s: %s is a grid tensor, and this layer takes real values; put a batch norm or an average pool "
             "before it",
             node->name, op, x->n_scale ? "x" : "w");
    return DT_OK;
}

static dt_status linear_infer(dt_node *node)
{
    DT_TRY(dt_linear_check(node));
    const dt_linear_size size = dt_linear_size_of(node);
    node->out->shape = (dt_shape){ .ndim = 2, .dim = { size.batch, size.features } };
    return DT_OK;
}

static const dt_field linear_fields[] = {
    { DT_MEMBER(dt_linear_params, in_order), DT_INT(0, 1) },
};

static const dt_linear_params linear_defaults = { .in_order = 1 };

const dt_op dt_op_linear = {
    .name = "linear",
    .min_in = 2,
    .max_in = 3,
    DT_OP_PARAMS(dt_linear_params, linear_fields),
    .defaults = &linear_defaults,
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(W),
    .infer = linear_infer,
};

static double sum_in_order(double start, const float *x, const float *w, int64_t inputs)
{
    double sum = start;

    for (int64_t i = 0; i < inputs; i++) sum += (double)x[i] * (double)w[i];
    return sum;
}

void dt_linear_in_order(const dt_node *node, float *y)
{
    const dt_linear_size size = dt_linear_size_of(node);
    const float *x = node->in[X]->data, *w = node->in[W]->data, *bias = bias_of(node) ? bias_of(node)->data : NULL;

#pragma omp parallel for
    for (int64_t i = 0; i < size.batch * size.features; i++) {
        const int64_t n = i / size.features, o = i % size.features;
        const double start = bias ? (double)bias[o] : 0.0;
        y[i] = (float)sum_in_order(start, x + n * size.inputs, w + o * size.inputs, size.inputs);
    }
}

static dt_status linear_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_linear_params *p = node->params;
    const dt_linear_size size = dt_linear_size_of(node);
    const float *bias = bias_of(node) ? bias_of(node)->data : NULL;
    float *y = node->out->data;
    (void)ex;

    if (p->in_order) {
        dt_linear_in_order(node, y);
        return DT_OK;
    }
    for (int64_t n = 0; bias && n < size.batch; n++) {
        memcpy(y + n * size.features, bias, (size_t)size.features * sizeof *y);
    }
    return dt_gemm(size.batch, size.features, size.inputs, 1.0f, (dt_matrix){ node->in[X]->data, size.inputs, 0 },
                   (dt_matrix){ node->in[W]->data, size.inputs, 1 }, bias ? 1.0f : 0.0f, y, size.features);
}

/* 0 where the gradient of input k is fresh, and its product is to be written: what a product multiplies it with. */
static float kept(const dt_node *node, int k)
{
    return node->fresh & 1u << k ? 0.0f : 1.0f;
}

static void give_column_sums(const float *dy, int64_t rows, int64_t columns, int fresh, float *sum)
{
    for (int64_t j = 0; j < columns; j++) {
        double s = 0.0;
        for (int64_t i = 0; i < rows; i++) s += (double)dy[i * columns + j];
        sum[j] = fresh ? (float)s : sum[j] + (float)s;
    }
}

dt_status dt_linear_gradients(const dt_node *node, const float *dy)
{
    const dt_linear_size size = dt_linear_size_of(node);
    const int64_t batch = size.batch, inputs = size.inputs, features = size.features;
    const dt_matrix x = { node->in[X]->data, inputs, 0 }, w = { node->in[W]->data, inputs, 0 };
    const dt_matrix rows = { dy, features, 0 }, columns = { dy, features, 1 };
    float *dx = node->in[X]->grad, *dw = node->in[W]->grad, *db = bias_of(node) ? bias_of(node)->grad : NULL;

    if (dx) DT_TRY(dt_gemm(batch, inputs, features, 1.0f, rows, w, kept(node, X), dx, inputs));
    if (dw) DT_TRY(dt_gemm(features, inputs, batch, 1.0f, columns, x, kept(node, W), dw, inputs));
    if (db) give_column_sums(dy, batch, features, (int)(node->fresh & 1u << B), db);
    return DT_OK;
}

static dt_status linear_backward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;
    return dt_linear_gradients(node, node->out->grad);
}

const dt_kernel dt_cpu_linear = {
    .forward = linear_forward,
    .backward = linear_backward,
    .overwrites = 1u << X | 1u << W | 1u << B,
};
