/*
 * linear.c - the fully connected layer.
 *
 *   y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = column sums of dy
 *
 * If x and w are grid tensors, it sums their codes. y is then the psum, a grid tensor with scale sx * sw[o], and every
 * psum is exact, rounded to f32 once. It has no bias, which is real; a BIAS behind it adds one. Gradients are with
 * respect to the real values: dx = (dy sw) w codes, dw = sx dy^T x codes.
 *
 * gemm.c computes the products. With params.in_order it does not compute y: then y = (float)(b + x[0] w[0] + x[1] w[1]
 * +
 * ...), feature by feature in double. A product of two floats is exact in double, so y has the same bits wherever it is
 * summed, whether or not the products are fused with the sum. Psums of 2^24 and more, which f32 does not hold, are
 * summed so too.
 *
 * Shapes: x N,I, or N,.. of I values each; w O,I; b O or absent; y N,O.
 * CUDA: cuda/linear.cu.  Tests: tests/layers/test_linear.c.
 */
#include "linear.h"

#include "../core/grid_facts.h"
#include "../core/arith/grid.h"
#include "gemm/gemm.h"

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
    return DT_OK;
}

static dt_status psums_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X], *w = node->in[W];
    const int64_t terms = w->shape.dim[1];
    const double most = (double)terms * (double)dt_code_bound(x) * (double)dt_code_bound(w);
    dt_tensor *y = node->out;

    DT_CHECK(x->n_scale == 1 && w->n_scale > 0, DT_ERR_UNSUPPORTED,
             "%s: linear: x has %d scales, w has %d; needed is one of x and one or %lld of w, or real values of both, "
             "which a batch norm, a bias or a dequantize before it gives",
             node->name, x->n_scale, w->n_scale, (long long)w->shape.dim[0]);
    DT_CHECK(!bias_of(node), DT_ERR_UNSUPPORTED,
             "%s: linear: b is real, and x and w are grid tensors, whose sums are integers; put a bias behind it",
             node->name);
    DT_CHECK(most <= (double)INT32_MAX, DT_ERR_NUMERIC,
             "%s: linear: %lld products may sum to %.0f, beyond 32 bits; use fewer bits or fewer inputs", node->name,
             (long long)terms, most);
    y->n_scale = w->n_scale;
    y->qmax = (int64_t)most;
    y->qmin = -y->qmax;
    return DT_OK;
}

static dt_status linear_infer(dt_node *node)
{
    DT_TRY(dt_linear_check(node));
    const dt_linear_size size = dt_linear_size_of(node);
    node->out->shape = (dt_shape){ .ndim = 2, .dim = { size.batch, size.features } };
    if (node->in[X]->n_scale > 0 || node->in[W]->n_scale > 0) DT_TRY(psums_infer(node));
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

int dt_linear_sums_in_order(const dt_node *node)
{
    const dt_linear_params *p = node->params;
    return p->in_order || (node->out->n_scale > 0 && node->out->qmax >= DT_F32_EXACT);
}

/* Scratch: of codes, dy times the scales of w. */
static dt_status linear_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = node->out->n_scale > 0 ? dt_tensor_bytes(node->out) : 0;
    return DT_OK;
}

static dt_status linear_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_linear_size size = dt_linear_size_of(node);
    const float *bias = bias_of(node) ? bias_of(node)->data : NULL;
    float *y = node->out->data;
    (void)ex;

    for (int k = 0; k < node->out->n_scale; k++) node->out->scale[k] = node->in[X]->scale[0] * node->in[W]->scale[k];
    if (dt_linear_sums_in_order(node)) {
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

dt_status dt_linear_gradients(const dt_node *node, const float *dy, const float *for_x)
{
    const dt_linear_size size = dt_linear_size_of(node);
    const int64_t batch = size.batch, inputs = size.inputs, features = size.features;
    const dt_matrix x = { node->in[X]->data, inputs, 0 }, w = { node->in[W]->data, inputs, 0 };
    const dt_matrix rows = { for_x, features, 0 }, columns = { dy, features, 1 };
    const float sx = dt_scale_at(node->in[X]->scale, node->in[X]->n_scale, 0);
    float *dx = node->in[X]->grad, *dw = node->in[W]->grad, *db = bias_of(node) ? bias_of(node)->grad : NULL;

    if (dx) DT_TRY(dt_gemm(batch, inputs, features, 1.0f, rows, w, kept(node, X), dx, inputs));
    if (dw) DT_TRY(dt_gemm(features, inputs, batch, sx, columns, x, kept(node, W), dw, inputs));
    if (db) give_column_sums(dy, batch, features, (int)(node->fresh & 1u << B), db);
    return DT_OK;
}

static dt_status linear_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *w = node->in[W];
    const dt_linear_size size = dt_linear_size_of(node);
    const float *dy = node->out->grad;
    float *scaled = ex->scratch;

    if (w->n_scale == 0 || !node->in[X]->grad) return dt_linear_gradients(node, dy, dy);
    for (int64_t n = 0; n < size.batch; n++) {
        for (int64_t o = 0; o < size.features; o++) {
            scaled[n * size.features + o] = dt_scale_at(w->scale, w->n_scale, o) * dy[n * size.features + o];
        }
    }
    return dt_linear_gradients(node, dy, scaled);
}

const dt_kernel dt_cpu_linear = {
    .prepare = linear_prepare,
    .forward = linear_forward,
    .backward = linear_backward,
    .overwrites = 1u << X | 1u << W | 1u << B,
};
