/*
 * test_svd.c - the decomposition gives the matrix again, with orthonormal sides, whatever its form and rank; singular
 *              values are those of matrices that were made of them.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compress/svd.h"

static double drawn(unsigned i)
{
    i = (i ^ 61u ^ (i >> 16)) * 2654435761u;
    i ^= i >> 15;
    return (double)(i % 20011u) / 10005.5 - 1.0;
}

static double at(const dt_svd *d, int i, int j)
{
    double sum = 0.0;

    for (int k = 0; k < d->k; k++) sum += d->u[i * d->k + k] * d->s[k] * d->vt[k * d->columns + j];
    return sum;
}

/* Products of column a and b of u, or of rows of vt. */
static double u_product(const dt_svd *d, int a, int b)
{
    double sum = 0.0;

    for (int i = 0; i < d->rows; i++) sum += d->u[i * d->k + a] * d->u[i * d->k + b];
    return sum;
}

static double v_product(const dt_svd *d, int a, int b)
{
    double sum = 0.0;

    for (int j = 0; j < d->columns; j++) sum += d->vt[a * d->columns + j] * d->vt[b * d->columns + j];
    return sum;
}

/* 1e-12 of the largest value: the sums have up to 100 terms of double. */
static void check(const double *a, const dt_svd *d, int rank, const char *what)
{
    const double most = 1e-12 * (1.0 + d->s[0]);

    for (int i = 0; i < d->rows; i++) {
        for (int j = 0; j < d->columns; j++) {
            cr_assert(fabs(at(d, i, j) - a[i * d->columns + j]) <= most, "%s: value %d,%d is %.17g, expected %.17g",
                      what, i, j, at(d, i, j), a[i * d->columns + j]);
        }
    }
    for (int k = 0; k < rank; k++) {
        cr_assert(k == 0 || d->s[k] <= d->s[k - 1], "%s: singular value %d is larger than the one before", what, k);
        for (int l = 0; l < rank; l++) {
            cr_assert(fabs(u_product(d, k, l) - (k == l)) < 1e-9 && fabs(v_product(d, k, l) - (k == l)) < 1e-9,
                      "%s: vectors %d and %d are not orthonormal", what, k, l);
        }
    }
}

Test(svd, gives_the_matrix_again)
{
    static const int sides[][2] = { { 1, 1 }, { 1, 7 }, { 7, 1 }, { 7, 7 }, { 33, 7 }, { 7, 33 }, { 64, 100 } };

    for (size_t s = 0; s < sizeof sides / sizeof sides[0]; s++) {
        const int rows = sides[s][0], columns = sides[s][1], k = rows < columns ? rows : columns;
        double *a = malloc((size_t)(rows * columns) * sizeof *a);
        char what[32];
        dt_svd d;
        for (int i = 0; i < rows * columns; i++) a[i] = drawn((unsigned)i + 17u * (unsigned)s);
        snprintf(what, sizeof what, "%dx%d", rows, columns);
        cr_assert(dt_svd_make(a, rows, columns, &d) == DT_OK);
        cr_assert(d.k == k);
        check(a, &d, k, what);
        dt_svd_free(&d);
        free(a);
    }
}

/* Of rank 2: sums of products of two vectors; and of rank 0. */
Test(svd, of_matrices_of_low_rank)
{
    double a[9 * 5];
    dt_svd d;

    for (int i = 0; i < 9; i++) {
        for (int j = 0; j < 5; j++) a[i * 5 + j] = drawn(i) * drawn(90 + j) + drawn(40 + i) * drawn(70 + j);
    }
    cr_assert(dt_svd_make(a, 9, 5, &d) == DT_OK);
    check(a, &d, 2, "rank 2");
    for (int k = 2; k < 5; k++) cr_assert(d.s[k] <= 1e-14 * d.s[0], "singular value %d is %g", k, d.s[k]);
    dt_svd_free(&d);
    memset(a, 0, sizeof a);
    cr_assert(dt_svd_make(a, 9, 5, &d) == DT_OK);
    check(a, &d, 0, "rank 0");
    dt_svd_free(&d);
}

/* Plane rotations of a diagonal: its singular values are known. */
Test(svd, finds_the_values_that_were_put_in)
{
    static const double wanted[] = { 5.0, 3.0, 3.0, 1e-7 };
    double a[4 * 4] = { 0.0 };
    dt_svd d;

    for (int k = 0; k < 4; k++) a[k * 4 + (k + 1) % 4] = wanted[k];
    for (int k = 0; k < 3; k++) {
        const double c = cos(0.3 + k), s = sin(0.3 + k);
        for (int j = 0; j < 4; j++) {
            const double x = a[k * 4 + j], y = a[(k + 1) * 4 + j];
            a[k * 4 + j] = c * x - s * y;
            a[(k + 1) * 4 + j] = s * x + c * y;
        }
    }
    cr_assert(dt_svd_make(a, 4, 4, &d) == DT_OK);
    for (int k = 0; k < 4; k++) cr_assert(fabs(d.s[k] - wanted[k]) < 1e-14 * 5.0, "value %d is %.17g", k, d.s[k]);
    dt_svd_free(&d);
}

Test(svd, refuses_what_is_no_number)
{
    const double a[] = { 1.0, NAN };
    dt_svd d;

    cr_assert(dt_svd_make(a, 1, 2, &d) == DT_ERR_NUMERIC);
}
