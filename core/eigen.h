/*
 * eigen.h - eigenvalues and eigenvectors of a symmetric matrix.
 */
#ifndef DT_EIGEN_H
#define DT_EIGEN_H

/* Decomposes a symmetric matrix a of n rows: a = v^T diag(value) v, where row k of v, of n rows, is the eigenvector of
 * value[k], of length 1. The largest value comes first; the largest component of each vector is positive. It overwrites
 * a. The same matrix has the same bits. */
void dt_eigen_symmetric(int n, double *a, double *value, double *v);

#endif /* DT_EIGEN_H */
