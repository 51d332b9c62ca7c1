/*
 * bias.h - rows of a bias for each channel, and its backward, which BIAS, BIAS_RELU and BIAS_SQUASH share on the CPU.
 */
#ifndef DT_BIAS_H
#define DT_BIAS_H

#include "../core/grid_facts.h"
#include "../core/op.h"

#include <string.h>

enum {
    DT_BIAS_BLOCK_ROWS = 32, /* a block of fewer rows costs more to fold than to sum */
    DT_BIAS_MOST_BLOCKS = 64
};

/* Returns the number of blocks in which the rows of dy are summed, each by one thread. Block i has rows
 * rows * i / blocks to rows * (i + 1) / blocks - 1. */
static inline int64_t dt_bias_blocks(int64_t rows)
{
    const int64_t n = rows / DT_BIAS_BLOCK_ROWS;
    return n < 1 ? 1 : n > DT_BIAS_MOST_BLOCKS ? DT_BIAS_MOST_BLOCKS : n;
}

/* Computes a row y = scale * q + b of x. y may be q. */
static inline void dt_bias_row(const dt_tensor *x, const float *q, const float *restrict b, int64_t channels, float *y)
{
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) y[c] = dt_scale_at(x->scale, x->n_scale, c) * q[c] + b[c];
}

/* Adds a row of dy to the sums of its block. */
static inline void dt_bias_sum_row(const float *restrict dy, int64_t channels, double *restrict sum)
{
    for (int64_t c = 0; c < channels; c++) sum[c] += (double)dy[c];
}

/* Gives the sums of all blocks, in order, to db; sums is [blocks][channels], and changes. */
static inline void dt_bias_give(double *sums, int64_t blocks, int64_t channels, int fresh, float *db)
{
    for (int64_t block = 1; block < blocks; block++) {
        for (int64_t c = 0; c < channels; c++) sums[c] += sums[block * channels + c];
    }
    for (int64_t c = 0; c < channels; c++) db[c] = fresh ? (float)sums[c] : db[c] + (float)sums[c];
}

/* Gives row r of dx, if x has a gradient, and returns the row of which db has the sum. */
typedef const float *dt_bias_give_row(const dt_node *node, const dt_exec *ex, int64_t r);

/* Is backward of a node whose second input is a bias: gives dx row by row, and db. The scratch begins with a sum for
 * each channel of each block. */
static inline dt_status dt_bias_backward(const dt_node *node, const dt_exec *ex, dt_bias_give_row *give_row)
{
    const dt_shape *shape = &node->in[0]->shape;
    const int64_t channels = dt_channels(shape), rows = dt_rows(shape), blocks = dt_bias_blocks(rows);
    float *db = node->in[1]->grad;
    double *sums = ex->scratch;

#pragma omp parallel for
    for (int64_t block = 0; block < blocks; block++) {
        double *sum = sums + block * channels;
        memset(sum, 0, (size_t)channels * sizeof *sum);
        for (int64_t r = rows * block / blocks; r < rows * (block + 1) / blocks; r++) {
            dt_bias_sum_row(give_row(node, ex, r), channels, sum);
        }
    }
    if (db) dt_bias_give(sums, blocks, channels, (int)(node->fresh & 1u << 1), db);
    return DT_OK;
}

#endif /* DT_BIAS_H */
