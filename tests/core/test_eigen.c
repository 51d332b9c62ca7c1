/*
 * test_eigen.c - eigenvalues and eigenvectors of symmetric matrices: of known ones, and by what they have to satisfy.
 */
#include "../../core/eigen.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int n;
    double *a, *value, *v; /* a: before it is decomposed */
} decomposed;

static decomposed decompose(int n, double (*of)(int i, int j))
{
    const size_t cells = (size_t)n * (size_t)n;
    decomposed d = { n, malloc(cells * sizeof(double)), malloc((size_t)n * sizeof(double)),
                     malloc(cells * sizeof(double)) };
    double *a = malloc(cells * sizeof *a);

    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) a[i * n + j] = d.a[i * n + j] = of(i, j);
    }
    dt_eigen_symmetric(n, a, d.value, d.v);
    free(a);
    return d;
}

static void release(decomposed *d)
{
    free(d->a);
    free(d->value);
    free(d->v);
}

/* a v = value v, v v^T = 1, in order, with the sign that is promised. */
static void check(const decomposed *d, double size, const char *why)
{
    const int n = d->n;

    for (int k = 0; k < n; k++) {
        const double *v = d->v + k * n;
        double most = 0.0;
        cr_assert(k == 0 || d->value[k] <= d->value[k - 1], "%s: value %d is out of order", why, k);
        for (int i = 0; i < n; i++) {
            double sum = 0.0;
            for (int j = 0; j < n; j++) sum += d->a[i * n + j] * v[j];
            cr_assert(fabs(sum - d->value[k] * v[i]) <= 1e-13 * n * size, "%s: vector %d misses by %g", why, k,
                      sum - d->value[k] * v[i]);
            if (fabs(v[i]) > fabs(most)) most = v[i];
        }
        cr_assert(most > 0.0, "%s: vector %d points back", why, k);
        for (int m = 0; m <= k; m++) {
            double dot = 0.0;
            for (int i = 0; i < n; i++) dot += v[i] * d->v[m * n + i];
            cr_assert(fabs(dot - (m == k ? 1.0 : 0.0)) <= 1e-13 * n, "%s: vectors %d and %d give %g", why, k, m, dot);
        }
    }
}

/* 2 on the diagonal and -1 beside it: values 2 - 2 cos(k pi / (n + 1)). */
static double chain(int i, int j)
{
    return i == j ? 2.0 : abs(i - j) == 1 ? -1.0 : 0.0;
}

static double covariance(int i, int j) /* of pixels whose correlation falls with their distance */
{
    return 3.0 * exp(-0.3 * abs(i - j)) + (i == j ? 0.01 * i : 0.0);
}

static double diagonal(int i, int j)
{
    return i == j ? (double)((i * 7) % 5) - 2.0 : 0.0;
}

static double ones(int i, int j)
{
    return 1.0 + 0.0 * (i + j);
}

static double wide(int i, int j) /* values from 1e12 to 1e-12 */
{
    return i == j ? pow(10.0, 12 - 4 * i) : 0.1 * pow(10.0, 12 - 2 * (i + j));
}

static double nothing(int i, int j)
{
    return 0.0 * (i + j);
}

Test(eigen, of_a_chain_is_known)
{
    static const int sizes[] = { 1, 2, 3, 27, 75, 147 };
    for (int s = 0; s < 6; s++) {
        const int n = sizes[s];
        decomposed d = decompose(n, chain);
        check(&d, 4.0, "chain");
        for (int k = 0; k < n; k++) {
            const double want = 2.0 - 2.0 * cos((n - k) * acos(-1.0) / (n + 1));
            cr_assert(fabs(d.value[k] - want) <= 1e-13 * n, "value %d of %d is %.17g, not %.17g", k, n, d.value[k],
                      want);
        }
        release(&d);
    }
}

Test(eigen, satisfies_what_defines_it)
{
    static const struct {
        const char *why;
        int n;
        double (*of)(int i, int j);
        double size;
    } rows[] = { { "pixels of a window", 27, covariance, 60.0 },
                 { "equal values", 23, diagonal, 2.0 },
                 { "rank 1", 27, ones, 27.0 },
                 { "values of many sizes", 7, wide, 1e12 },
                 { "zeros", 5, nothing, 1.0 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        decomposed d = decompose(rows[i].n, rows[i].of), again = decompose(rows[i].n, rows[i].of);
        check(&d, rows[i].size, rows[i].why);
        cr_assert(memcmp(d.v, again.v, (size_t)(d.n * d.n) * sizeof *d.v) == 0, "%s: other bits", rows[i].why);
        release(&d);
        release(&again);
    }
}
