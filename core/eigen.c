/*
 * eigen.c - see eigen.h: cyclic Jacobi rotations.
 *
 * A rotation of rows and columns p and q makes a[p][q] zero:
 *   theta = (a[q][q] - a[p][p]) / (2 a[p][q]),  t = sign(theta) / (|theta| + sqrt(theta^2 + 1)),  c = 1 / sqrt(t^2 + 1)
 * Sweeps over all pairs end when no rotation changes the diagonal any more, which takes six to ten.
 *
 * Source: Golub, Van Loan, "Matrix computations", 4th edition, 8.5.  Tests: tests/core/test_eigen.c.
 */
#include "eigen.h"

#include <math.h>
#include <string.h>

enum { SWEEPS = 60 };

/* x, y = c x - s y, s x + c y, of n values that are `stride` apart */
static void turn(double *x, double *y, int n, int stride, double c, double s)
{
    for (int i = 0; i < n; i++) {
        const double was = x[i * stride];
        x[i * stride] = c * was - s * y[i * stride];
        y[i * stride] = s * was + c * y[i * stride];
    }
}

/* Returns 0 if a[p][q] is nothing beside the diagonal. */
static int rotate(int n, double *a, double *v, int p, int q)
{
    const double at = a[p * n + q];

    if (fabs(at) <= 1e-18 * (fabs(a[p * n + p]) + fabs(a[q * n + q]))) return 0;
    const double theta = (a[q * n + q] - a[p * n + p]) / (2.0 * at);
    const double t = (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
    const double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
    turn(a + p, a + q, n, n, c, s);
    turn(a + p * n, a + q * n, n, 1, c, s);
    a[p * n + q] = a[q * n + p] = 0.0;
    turn(v + p * n, v + q * n, n, 1, c, s);
    return 1;
}

static void swap(double *x, double *y, int n)
{
    for (int i = 0; i < n; i++) {
        const double was = x[i];
        x[i] = y[i];
        y[i] = was;
    }
}

/* Largest first, and of each vector the first component with the largest magnitude positive. */
static void put_in_order(int n, double *value, double *v)
{
    for (int k = 0; k < n; k++) {
        double *row = v + k * n;
        int most = k, at = 0;
        for (int i = k + 1; i < n; i++) most = value[i] > value[most] ? i : most;
        swap(&value[k], &value[most], 1);
        if (most != k) swap(row, v + most * n, n);
        for (int i = 1; i < n; i++) at = fabs(row[i]) > fabs(row[at]) ? i : at;
        for (int i = 0, is_negative = row[at] < 0.0; i < n; i++) row[i] = is_negative ? -row[i] : row[i];
    }
}

void dt_eigen_symmetric(int n, double *a, double *value, double *v)
{
    int moved = 1;

    memset(v, 0, (size_t)n * (size_t)n * sizeof *v);
    for (int i = 0; i < n; i++) v[i * n + i] = 1.0;
    for (int sweep = 0; moved && sweep < SWEEPS; sweep++) {
        moved = 0;
        for (int p = 0; p < n; p++) {
            for (int q = p + 1; q < n; q++) moved |= rotate(n, a, v, p, q);
        }
    }
    for (int i = 0; i < n; i++) value[i] = a[i * n + i];
    put_in_order(n, value, v);
}
