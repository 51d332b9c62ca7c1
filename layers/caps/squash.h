/*
 * squash.h - the arithmetic of capsules, one for CPU and CUDA. The mathematics is in squash.c.
 */
#ifndef DT_SQUASH_H
#define DT_SQUASH_H

#include <math.h>
#include <stdint.h>

#include "../../core/rng.h" /* DT_HD */

enum { DT_CAPS_LANES = 8 };

/* Sum over d of scale * a[d] * b[d], in the order of vectors: value d goes to lane d mod 8, then the lanes are halved.
 * scale: of a grid tensor's codes, else 1. */
static inline DT_HD float dt_caps_dot(const float *a, float scale, const float *b, int dim)
{
    float lane[DT_CAPS_LANES] = { 0 };

    for (int first = 0; first < dim; first += DT_CAPS_LANES) {
        for (int l = 0; l < DT_CAPS_LANES; l++) {
            if (first + l < dim) lane[l] += scale * a[first + l] * b[first + l];
        }
    }
    for (int half = DT_CAPS_LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    }
    return lane[0];
}

/* One capsule s, away from v: the compiler is told so, and makes vectors. */
static inline DT_HD void dt_squash(const float *s, int dim, float *__restrict__ v)
{
    const float square = dt_caps_dot(s, 1.0f, s, dim), factor = sqrtf(square) / (1.0f + square);
    for (int d = 0; d < dim; d++) v[d] = factor * s[d];
}

/* Gives the gradient of one capsule to ds: adds it, or writes it where ds is fresh. */
static inline DT_HD void dt_squash_backward(const float *s, const float *dv, int dim, int fresh, float *__restrict__ ds)
{
    const float square = dt_caps_dot(s, 1.0f, s, dim), along = dt_caps_dot(s, 1.0f, dv, dim);
    const float length = sqrtf(square), shrink = 1.0f / (1.0f + square), a = length * shrink;
    const float k = length > 0.0f ? along * (1.0f - square) * shrink * shrink / length : 0.0f;

    for (int d = 0; d < dim; d++) {
        const float slope = a * dv[d] + k * s[d];
        ds[d] = fresh ? slope : ds[d] + slope;
    }
}

/* The same of n capsules, one after another, on the CPU. */
void dt_squash_capsules(const float *s, int64_t n, int dim, float *v);
void dt_squash_capsules_backward(const float *s, const float *dv, int64_t n, int dim, int fresh, float *ds);

#endif /* DT_SQUASH_H */
