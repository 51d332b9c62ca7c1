/*
 * linear.c - the fully connected layer.
 *
 *   y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = column sums of dy
 *
 * It works on real values; a grid tensor must pass an operator that leaves the grid first.
 * With DETENT_HAVE_CBLAS the products are OpenBLAS's, else plain loops that sum in double. OpenBLAS gets one thread:
 * with two it splits the sums elsewhere and gives other bits, and a classifier's products are too small to need them.
 *
 * Shapes: x N,I; w O,I; b O or absent; y N,O.  CUDA: cuda/linear.cu.  Tests: tests/test_linear.c.
 */
#include "../core/op.h"

#include <assert.h>
#include <string.h>

#ifdef DETENT_HAVE_CBLAS
#include <cblas.h>
#endif

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
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(W),
    .infer = linear_infer,
};

static dt_status linear_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)node;
    (void)ex;
#ifdef DETENT_HAVE_CBLAS
    openblas_set_num_threads(1);
#endif
    *scratch_bytes = 0;
    return DT_OK;
}

/* A row-major matrix; transposed: element (i, j) is at [j][i]. */
typedef struct {
    const float *at;
    int64_t stride; /* elements from a row of memory to the next */
    int transposed;
} matrix;

/* c += a b, where c is m x n, and k terms make a sum */
static void add_product(int64_t m, int64_t n, int64_t k, matrix a, matrix b, float *c)
{
#ifdef DETENT_HAVE_CBLAS
    cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
                (int)m, (int)n, (int)k, 1.0f, a.at, (int)a.stride, b.at, (int)b.stride, 1.0f, c, (int)n);
#else
    const int64_t a_row = a.transposed ? 1 : a.stride, a_column = a.transposed ? a.stride : 1;
    const int64_t b_row = b.transposed ? 1 : b.stride, b_column = b.transposed ? b.stride : 1;

#pragma omp parallel for
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (int64_t l = 0; l < k; l++) {
                sum += (double)a.at[i * a_row + l * a_column] * (double)b.at[l * b_row + j * b_column];
            }
            c[i * n + j] += (float)sum;
        }
    }
#endif
}

static dt_status linear_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t batch = node->out->shape.dim[0], features = node->out->shape.dim[1];
    const int64_t inputs = node->in[X]->shape.dim[1];
    const float *bias = node->n_in > B ? node->in[B]->data : NULL;
    float *y = node->out->data;
    (void)ex;

    if (!bias) memset(y, 0, dt_tensor_bytes(node->out));
    for (int64_t n = 0; bias && n < batch; n++) memcpy(y + n * features, bias, (size_t)features * sizeof *y);
    add_product(batch, features, inputs, (matrix){ node->in[X]->data, inputs, 0 },
                (matrix){ node->in[W]->data, inputs, 1 }, y);
    return DT_OK;
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
    const matrix x = { node->in[X]->data, inputs, 0 }, w = { node->in[W]->data, inputs, 0 };
    float *dx = node->in[X]->grad, *dw = node->in[W]->grad, *db = node->n_in > B ? node->in[B]->grad : NULL;
    (void)ex;

    if (dx) add_product(batch, inputs, features, (matrix){ dy, features, 0 }, w, dx);
    if (dw) add_product(features, inputs, batch, (matrix){ dy, features, 1 }, x, dw);
    if (db) add_column_sums(dy, batch, features, db);
    return DT_OK;
}

const dt_kernel dt_cpu_linear = { .prepare = linear_prepare, .forward = linear_forward, .backward = linear_backward };
