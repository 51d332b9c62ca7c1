/*
 * tensor_train.h - a matrix as a train of small tensors.
 */
#ifndef DT_TENSOR_TRAIN_H
#define DT_TENSOR_TRAIN_H

#include "detent/compress.h"

/* w[o][i] is about the sum over all ranks of core[0][..] core[1][..] ..; i = (i_0 .. i_d-1) by the factors `in`, the
 * first one slowest, and o likewise by `out`. Core k is [out[k]][rank[k]][in[k]][rank[k-1]], where the ranks before the
 * first core and behind the last are 1: as filters it makes out[k] rank[k] channels of in[k] rank[k-1]. */
typedef struct {
    int d;
    int in[DT_CORES_MOST], out[DT_CORES_MOST];
    int rank[DT_CORES_MOST];    /* behind each core; 1 behind the last */
    float *core[DT_CORES_MOST]; /* owned */
} dt_tensor_train;

/* Factorises w, [features][inputs], by TT-SVD. in, out and d of *t are set; rank[k] is the most that it may be, and
 * becomes what it is. dt_tensor_train_free releases the cores. */
DT_MUST_CHECK dt_status dt_tensor_train_make(const float *w, dt_tensor_train *t);
void dt_tensor_train_free(dt_tensor_train *t);

/* Returns the product of n factors. */
int64_t dt_factors_product(const int *factor, int n);
/* Writes d factors of n to factor, as equal as they can be, the largest first. */
void dt_equal_factors(int n, int d, int *factor);

#endif /* DT_TENSOR_TRAIN_H */
