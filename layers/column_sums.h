/*
 * column_sums.h - sums over all rows of a map, in double, on the CPU: what batch norm and its folded form need of each
 *                 channel. CUDA: cuda/column_sums.h.
 */
#ifndef DT_COLUMN_SUMS_H
#define DT_COLUMN_SUMS_H

#include <stddef.h>
#include <stdint.h>

/* Returns the number of doubles that dt_column_sums needs for rows x channels. */
size_t dt_column_sums_room(int64_t rows, int64_t channels);

/* Sets sums[c] to the sum of u[r][c] over the rows r, and sums[channels + c] to that of u[r][c] * v[r][c]. sums has
 * dt_column_sums_room doubles. The order of the sums depends on rows and channels alone. */
void dt_column_sums(const float *u, const float *v, int64_t rows, int64_t channels, double *sums);

#endif /* DT_COLUMN_SUMS_H */
