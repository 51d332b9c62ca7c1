/*
 * column_sums.c - see column_sums.h. Blocks of rows are summed side by side, and their sums in order.
 *
 * Tests: tests/layers/test_batchnorm.c.
 */
#include "column_sums.h"

#include <string.h>

enum {
    BLOCK_ROWS = 32, /* a block of fewer rows costs more to fold than to sum */
    MAX_BLOCKS = 64
};

static int64_t n_blocks(int64_t rows)
{
    const int64_t n = rows / BLOCK_ROWS;
    return n < 1 ? 1 : n > MAX_BLOCKS ? MAX_BLOCKS : n;
}

size_t dt_column_sums_room(int64_t rows, int64_t channels)
{
    return (size_t)(2 * n_blocks(rows) * channels);
}

static void add_row(const float *restrict u, const float *restrict v, int64_t channels, double *restrict sum,
                    double *restrict product)
{
    for (int64_t c = 0; c < channels; c++) {
        sum[c] += (double)u[c];
        product[c] += (double)u[c] * (double)v[c];
    }
}

void dt_column_sums(const float *u, const float *v, int64_t rows, int64_t channels, double *sums)
{
    const int64_t blocks = n_blocks(rows);

#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        double *sum = sums + b * 2 * channels;
        memset(sum, 0, (size_t)(2 * channels) * sizeof *sum);
        for (int64_t r = rows * b / blocks; r < rows * (b + 1) / blocks; r++) {
            add_row(u + r * channels, v + r * channels, channels, sum, sum + channels);
        }
    }
    for (int64_t b = 1; b < blocks; b++) {
        for (int64_t c = 0; c < 2 * channels; c++) sums[c] += sums[b * 2 * channels + c];
    }
}
