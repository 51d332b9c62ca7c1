/*
 * svd.c - see svd.h: QR by Householder's reflections, then one-sided Jacobi of R.
 *
 * Of a matrix with rows >= columns, a = q r, and Jacobi's rotations make the columns of r orthogonal: r v = w. Then
 * s[k] is the length of w's column k, and u = q w / s. A matrix of fewer rows is decomposed transposed. Rotations stop
 * when the columns are orthogonal to the last digits.
 *
 * Source: Golub, Van Loan, "Matrix Computations", 4th edition, 5.2.2 and 8.6.3.  Tests: tests/compress/test_svd.c.
 */
#include "svd.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEPS = 60 };

/* Columns lie side by side in memory: column j of a matrix of m rows begins at j * m. */
typedef struct {
    int m, n;
    double *column;
} by_columns;

/* The place of a value in rows of n. */
static size_t at(int row, int n, int column)
{
    return (size_t)row * (size_t)n + (size_t)column;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0.0;

    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* to -= 2 (v . to) v */
static void reflect(const double *v, double *to, int n)
{
    const double by = 2.0 * dot(v, to, n);

    for (int i = 0; i < n; i++) to[i] -= by * v[i];
}

/* Makes of a its R, in the upper triangle; v receives the reflections: column k of it is that of step k, of length 1
 * and 0 above row k. */
static void householder(by_columns a, double *v)
{
    for (int k = 0; k < a.n; k++) {
        double *x = a.column + at(k, a.m, k), *to = v + at(k, a.m, k);
        const int n = a.m - k;
        const double length = sqrt(dot(x, x, n));
        memcpy(to, x, (size_t)n * sizeof *to);
        to[0] += x[0] < 0.0 ? -length : length;
        const double norm = sqrt(dot(to, to, n));
        for (int i = 0; i < n; i++) to[i] = norm > 0.0 ? to[i] / norm : 0.0;
        for (int j = k; j < a.n; j++) reflect(to, a.column + at(j, a.m, k), n);
    }
}

/* Rotates columns p and q until they are orthogonal; returns 1 if they were not. The same is done to v. */
static int rotate(by_columns w, double *v, int p, int q)
{
    double *x = w.column + at(p, w.m, 0), *y = w.column + at(q, w.m, 0);
    double *vx = v + at(p, w.n, 0), *vy = v + at(q, w.n, 0);
    const double xx = dot(x, x, w.m), yy = dot(y, y, w.m), xy = dot(x, y, w.m);

    if (fabs(xy) <= DBL_EPSILON * sqrt(xx * yy)) return 0;
    const double zeta = (yy - xx) / (2.0 * xy);
    const double t = copysign(1.0, zeta) / (fabs(zeta) + sqrt(1.0 + zeta * zeta));
    const double c = 1.0 / sqrt(1.0 + t * t), s = c * t;
    for (int i = 0; i < w.m; i++) {
        const double a = x[i], b = y[i];
        x[i] = c * a - s * b;
        y[i] = s * a + c * b;
    }
    for (int i = 0; i < w.n; i++) {
        const double a = vx[i], b = vy[i];
        vx[i] = c * a - s * b;
        vy[i] = s * a + c * b;
    }
    return 1;
}

static void jacobi(by_columns w, double *v)
{
    int moves = 1;

    for (int i = 0; i < w.n; i++) v[at(i, w.n, i)] = 1.0;
    for (int sweep = 0; sweep < SWEEPS && moves > 0; sweep++) {
        moves = 0;
        for (int p = 0; p < w.n; p++) {
            for (int q = p + 1; q < w.n; q++) moves += rotate(w, v, p, q);
        }
    }
}

/* The order in which singular values fall. */
static void sort_down(const double *s, int n, int *order)
{
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && s[order[at - 1]] < s[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

typedef struct {
    double *a;      /* [n][m] the matrix, by columns; then R */
    double *v;      /* [n][m] reflections */
    double *w;      /* [n][n] R, by columns; then orthogonal */
    double *right;  /* [n][n] v of r v = w, by columns */
    double *length; /* [n] */
    int *order;     /* [n] */
} room;

static void room_free(room *r)
{
    free(r->a);
    free(r->v);
    free(r->w);
    free(r->right);
    free(r->length);
    free(r->order);
}

static int room_make(room *r, int m, int n)
{
    const size_t all = (size_t)m * (size_t)n, square = (size_t)n * (size_t)n;

    *r = (room){ calloc(all, sizeof(double)),    calloc(all, sizeof(double)),       calloc(square, sizeof(double)),
                 calloc(square, sizeof(double)), calloc((size_t)n, sizeof(double)), calloc((size_t)n, sizeof(int)) };
    return r->a && r->v && r->w && r->right && r->length && r->order;
}

/* Writes column k of the decomposition: left, [m], is q w / s, and right, [n]. */
static void write_column(const room *r, int m, int n, int from, double *left, double *right)
{
    const double s = r->length[from];

    memset(left, 0, (size_t)m * sizeof *left);
    memset(right, 0, (size_t)n * sizeof *right);
    if (s == 0.0) return;
    for (int i = 0; i < n; i++) left[i] = r->w[at(from, n, i)] / s;
    for (int k = n - 1; k >= 0; k--) reflect(r->v + at(k, m, k), left + k, m - k);
    memcpy(right, r->right + at(from, n, 0), (size_t)n * sizeof *right);
}

/* left: [n][m], right: [n][n], of r->a with m >= n. */
static void decompose(room *r, int m, int n, double *s, double *left, double *right)
{
    householder((by_columns){ m, n, r->a }, r->v);
    for (int j = 0; j < n; j++) {
        for (int i = 0; i <= j; i++) r->w[at(j, n, i)] = r->a[at(j, m, i)];
    }
    jacobi((by_columns){ n, n, r->w }, r->right);
    for (int j = 0; j < n; j++) {
        const double *w = r->w + at(j, n, 0);
        r->length[j] = sqrt(dot(w, w, n));
    }
    sort_down(r->length, n, r->order);
    for (int k = 0; k < n; k++) {
        s[k] = r->length[r->order[k]];
        write_column(r, m, n, r->order[k], left + at(k, m, 0), right + at(k, n, 0));
    }
}

/* from [rows][columns], to [columns][rows] */
static void transpose(const double *from, int n_rows, int n_columns, double *to)
{
    for (int i = 0; i < n_rows; i++) {
        for (int j = 0; j < n_columns; j++) to[at(j, n_rows, i)] = from[at(i, n_columns, j)];
    }
}

void dt_svd_free(dt_svd *svd)
{
    free(svd->u);
    free(svd->s);
    free(svd->vt);
    *svd = (dt_svd){ 0 };
}

/* Of a wide matrix the transpose is decomposed: its columns are the matrix's rows, and left is right. */
static dt_status make(const double *a, room *r, dt_svd *out)
{
    const int is_tall = out->rows >= out->columns, m = is_tall ? out->rows : out->columns, n = out->k;
    double *turned = calloc((size_t)(is_tall ? m : n) * (size_t)n, sizeof *turned);

    DT_CHECK(turned, DT_ERR_MEMORY, "no memory to decompose a matrix of %dx%d", out->rows, out->columns);
    if (is_tall) {
        transpose(a, m, n, r->a);
        decompose(r, m, n, out->s, turned, out->vt);
        transpose(turned, n, m, out->u);
    } else {
        memcpy(r->a, a, (size_t)m * (size_t)n * sizeof *a);
        decompose(r, m, n, out->s, out->vt, turned);
        transpose(turned, n, n, out->u);
    }
    free(turned);
    return DT_OK;
}

dt_status dt_svd_make(const double *a, int rows, int columns, dt_svd *out)
{
    const int k = rows < columns ? rows : columns;
    dt_svd made = { rows,
                    columns,
                    k,
                    calloc((size_t)rows * (size_t)k, sizeof(double)),
                    calloc((size_t)k, sizeof(double)),
                    calloc((size_t)k * (size_t)columns, sizeof(double)) };
    dt_status status = DT_OK;
    room r = { 0 };

    for (int64_t i = 0; i < (int64_t)rows * columns && status == DT_OK; i++) {
        if (!isfinite(a[i]))
            status = dt_raise(DT_ERR_NUMERIC, __FILE__, __LINE__, "value %lld of a matrix of %dx%d is %g", (long long)i,
                              rows, columns, a[i]);
    }
    if (status == DT_OK && (!made.u || !made.s || !made.vt || !room_make(&r, rows < columns ? columns : rows, k)))
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to decompose a matrix of %dx%d", rows, columns);
    if (status == DT_OK) status = make(a, &r, &made);
    room_free(&r);
    if (status != DT_OK) {
        dt_svd_free(&made);
        return status;
    }
    *out = made;
    return DT_OK;
}
