/*
 * affine.c - a line for each channel: constants that a network's file multiplies by and adds, and what stands for batch
 *            norm in a program that leaves the grid.
 *
 *   y = a[c] * x + b[c]    in f32, the product rounded before the sum, as in batchnorm.c in evaluation
 *   dx += a[c] * dy,  da[c] += sum of dy * x,  db[c] += sum of dy
 *
 * If x is a grid tensor, its codes are taken and not its real values, because a has the scale in it. A gradient is with
 * respect to the real value, so that dx = a[c] / scale * dy then. Sums are in double, in an order that depends on the
 * shape alone.
 *
 * Shapes: x and y .., C; a and b C.  CUDA: cuda/affine.cu.  Tests: tests/layers/test_affine.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>
#include <string.h>

enum { X, A, B };

enum {
    BLOCK_ROWS = 32, /* a block of fewer rows costs more to fold than to sum */
    MAX_BLOCKS = 64
};

static dt_status affine_infer(dt_node *node)
{
    const dt_tensor *x = node->in[X];
    const int64_t n_a = dt_count(&node->in[A]->shape), n_b = dt_count(&node->in[B]->shape);
    assert(x->type == DT_F32 && node->in[A]->type == DT_F32 && node->in[B]->type == DT_F32);

    DT_CHECK(n_a == dt_channels(&x->shape) && n_b == n_a, DT_ERR_SHAPE,
             "%s: affine: x has %lld channels, a has %lld values, b %lld", node->name,
             (long long)dt_channels(&x->shape), (long long)n_a, (long long)n_b);
    node->out->shape = x->shape;
    return DT_OK;
}

const dt_op dt_op_affine = {
    .name = "affine",
    .min_in = 3,
    .max_in = 3,
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(A),
    .infer = affine_infer,
};

static int64_t n_blocks(int64_t rows)
{
    const int64_t n = rows / BLOCK_ROWS;
    return n < 1 ? 1 : n > MAX_BLOCKS ? MAX_BLOCKS : n;
}

/* Scratch: the sums of da and of db for each channel of each block. */
static dt_status affine_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[X]->shape;
    (void)ex;
    *scratch_bytes = (size_t)(n_blocks(dt_rows(x)) * dt_channels(x)) * 2 * sizeof(double);
    return DT_OK;
}

static void map_row(const float *restrict x, const float *restrict a, const float *restrict b, int64_t channels,
                    float *restrict y)
{
    for (int64_t c = 0; c < channels; c++) y[c] = a[c] * x[c] + b[c];
}

static dt_status affine_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->out->shape;
    const int64_t rows = dt_rows(shape), channels = dt_channels(shape);
    const float *x = node->in[X]->data, *a = node->in[A]->data, *b = node->in[B]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) map_row(x + r * channels, a, b, channels, y + r * channels);
    return DT_OK;
}

/* One row of dx. */
static void pass_row(const dt_node *node, int64_t r)
{
    const dt_tensor *x = node->in[X];
    const int64_t channels = dt_channels(&x->shape);
    const int fresh = (int)(node->fresh & 1u << X);
    const float *a = node->in[A]->data, *dy = dt_grads(node->out) + r * channels;
    float *dx = dt_grads(x) + r * channels;

    for (int64_t c = 0; c < channels; c++) {
        const float d = a[c] / dt_scale_at(x->scale, x->n_scale, c) * dy[c];
        dx[c] = fresh ? d : dx[c] + d;
    }
}

static void add_row(const float *restrict x, const float *restrict dy, int64_t channels, double *restrict da,
                    double *restrict db)
{
    for (int64_t c = 0; c < channels; c++) {
        da[c] += (double)dy[c] * (double)x[c];
        db[c] += (double)dy[c];
    }
}

static void give_sums(const double *sum, int64_t channels, int fresh, float *d)
{
    for (int64_t c = 0; c < channels; c++) d[c] = fresh ? (float)sum[c] : d[c] + (float)sum[c];
}

/* One pass over dy and x; sums has room for every block's, and block 0's are da and db in the end. */
static dt_status affine_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_shape *shape = &node->in[X]->shape;
    const int64_t channels = dt_channels(shape), rows = dt_rows(shape), blocks = n_blocks(rows);
    const float *x = node->in[X]->data, *dy = node->out->grad;
    float *da = node->in[A]->grad, *db = node->in[B]->grad;
    double *sums = ex->scratch;

#pragma omp parallel for
    for (int64_t block = 0; block < blocks; block++) {
        double *sum = sums + block * 2 * channels;
        memset(sum, 0, (size_t)channels * 2 * sizeof *sum);
        for (int64_t r = rows * block / blocks; r < rows * (block + 1) / blocks; r++) {
            if (node->in[X]->grad) pass_row(node, r);
            add_row(x + r * channels, dy + r * channels, channels, sum, sum + channels);
        }
    }
    for (int64_t block = 1; block < blocks; block++) {
        for (int64_t c = 0; c < 2 * channels; c++) sums[c] += sums[block * 2 * channels + c];
    }
    if (da) give_sums(sums, channels, (int)(node->fresh & 1u << A), da);
    if (db) give_sums(sums + channels, channels, (int)(node->fresh & 1u << B), db);
    return DT_OK;
}

const dt_kernel dt_cpu_affine = {
    .prepare = affine_prepare,
    .forward = affine_forward,
    .backward = affine_backward,
    .overwrites = 1u << X | 1u << A | 1u << B,
};
