/*
 * svd.h - the singular value decomposition of a matrix, in double.
 */
#ifndef DT_SVD_H
#define DT_SVD_H

#include "detent/status.h"

/* a = u diag(s) vt, with k = min(rows, columns) singular values, the largest first. Columns of u and rows of vt are
 * orthonormal; those of a singular value of 0 are 0. */
typedef struct {
    int rows, columns, k;
    double *u;  /* [rows][k] */
    double *s;  /* [k] */
    double *vt; /* [k][columns] */
} dt_svd;

/* Decomposes a, [rows][columns]. dt_svd_free releases *out. DT_ERR_NUMERIC: a value is no number. */
DT_MUST_CHECK dt_status dt_svd_make(const double *a, int rows, int columns, dt_svd *out);
void dt_svd_free(dt_svd *svd);

#endif /* DT_SVD_H */
