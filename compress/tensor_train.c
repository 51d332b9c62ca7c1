/*
 * tensor_train.c - see tensor_train.h.
 *
 * The matrix is seen as a tensor with an axis (in[k], out[k]) for each core. From left to right, what is left is cut
 * into rows (rank[k-1], in[k], out[k]) and columns of all other axes, and decomposed: u is the core, and diag(s) vt is
 * what is left for the cores behind. The square roots of singular values go to both sides, so that cores are of one
 * size, which fine-tuning likes.
 *
 * Sources: Oseledets, "Tensor-Train Decomposition", 2011, algorithm 1; Novikov et al., "Tensorizing Neural Networks",
 * 2015.  Tests: tests/compress/test_factorize.c.
 */
#include "tensor_train.h"

#include "svd.h"

#include <math.h>
#include <stdlib.h>

/* The primes that n is made of, the least first; returns how many. */
static int primes_of(int n, int *prime)
{
    int count = 0;

    for (int p = 2; p * p <= n; p++) {
        for (; n % p == 0; n /= p) prime[count++] = p;
    }
    if (n > 1) prime[count++] = n;
    return count;
}

static int by_size(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

void dt_equal_factors(int n, int d, int *factor)
{
    int prime[32];

    for (int k = 0; k < d; k++) factor[k] = 1;
    for (int i = primes_of(n, prime) - 1; i >= 0; i--) { /* the largest first, each to the least product */
        int least = 0;
        for (int k = 1; k < d; k++) least = factor[k] < factor[least] ? k : least;
        factor[least] *= prime[i];
    }
    qsort(factor, (size_t)d, sizeof *factor, by_size);
}

void dt_tensor_train_free(dt_tensor_train *t)
{
    for (int k = 0; k < t->d; k++) free(t->core[k]);
    *t = (dt_tensor_train){ 0 };
}

int64_t dt_factors_product(const int *factor, int n)
{
    int64_t all = 1;

    for (int k = 0; k < n; k++) all *= factor[k];
    return all;
}

/* w[o][i] to [(i_0, o_0)] .. [(i_d-1, o_d-1)], the last axis fastest. */
static void interleave(const float *w, const dt_tensor_train *t, double *to)
{
    const int64_t inputs = dt_factors_product(t->in, t->d), features = dt_factors_product(t->out, t->d);

    for (int64_t o = 0; o < features; o++) {
        for (int64_t i = 0; i < inputs; i++) {
            int64_t at = 0, step = 1, rest_i = i, rest_o = o;
            for (int k = t->d - 1; k >= 0; k--) {
                at += (rest_i % t->in[k] * t->out[k] + rest_o % t->out[k]) * step;
                step *= (int64_t)t->in[k] * t->out[k];
                rest_i /= t->in[k];
                rest_o /= t->out[k];
            }
            to[at] = (double)w[o * inputs + i];
        }
    }
}

/* A core of u, rows (before, in, out), columns (rank), or of what is left for the last. */
static dt_status write_core(dt_tensor_train *t, int k, int before, const double *u, int row, const double *scale)
{
    const int in = t->in[k], out = t->out[k], rank = t->rank[k];
    float *core = malloc((size_t)before * (size_t)in * (size_t)out * (size_t)rank * sizeof *core);

    DT_CHECK(core, DT_ERR_MEMORY, "no memory for core %d of %dx%dx%dx%d", k + 1, before, in, out, rank);
    for (int b = 0; b < before; b++) {
        for (int i = 0; i < in; i++) {
            for (int o = 0; o < out; o++) {
                for (int r = 0; r < rank; r++) {
                    const double value = u[((b * in + i) * out + o) * row + r] * (scale ? sqrt(scale[r]) : 1.0);
                    core[((o * rank + r) * in + i) * before + b] = (float)value;
                }
            }
        }
    }
    t->core[k] = core;
    return DT_OK;
}

/* Cuts core k off *left, [rows][columns]. */
static dt_status cut(dt_tensor_train *t, int k, int before, double *left, int64_t columns)
{
    const int rows = before * t->in[k] * t->out[k];
    dt_svd svd;

    DT_TRY(dt_svd_make(left, rows, (int)columns, &svd));
    if (t->rank[k] > svd.k) t->rank[k] = svd.k;
    const dt_status status = write_core(t, k, before, svd.u, svd.k, svd.s);
    for (int r = 0; r < t->rank[k]; r++) {
        for (int64_t j = 0; j < columns; j++) left[r * columns + j] = sqrt(svd.s[r]) * svd.vt[r * columns + j];
    }
    dt_svd_free(&svd);
    return status;
}

dt_status dt_tensor_train_make(const float *w, dt_tensor_train *t)
{
    int64_t columns = dt_factors_product(t->in, t->d) * dt_factors_product(t->out, t->d);
    double *left = malloc((size_t)columns * sizeof *left);
    dt_status status = DT_OK;
    int before = 1;

    DT_CHECK(left, DT_ERR_MEMORY, "no memory to factorise %lld weights", (long long)columns);
    for (int k = 0; k < t->d; k++) t->core[k] = NULL;
    interleave(w, t, left);
    for (int k = 0; k < t->d - 1 && status == DT_OK; k++) {
        columns /= (int64_t)t->in[k] * t->out[k];
        status = cut(t, k, before, left, columns);
        before = t->rank[k];
    }
    t->rank[t->d - 1] = 1;
    if (status == DT_OK) status = write_core(t, t->d - 1, before, left, 1, NULL);
    free(left);
    if (status != DT_OK) dt_tensor_train_free(t);
    return status;
}
