/*
 * squash.h - the arithmetic of capsules, which CPU and CUDA share. squash.c has the mathematics.
 */
#ifndef DT_SQUASH_H
#define DT_SQUASH_H

#include <math.h>
#include <stdint.h>

#include "../../core/rng.h" /* DT_HD */

enum { DT_CAPS_LANES = 8 };

/* Returns the sum over d of scale * a[d] * b[d]. scale is that of a grid tensor a, else 1. The order of the sum is that
 * of vectors: value d goes to lane d mod 8, and then one half of the lanes is added to the other until one is left. */
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

/* Returns the factor that squashes a capsule. */
static inline DT_HD float dt_squash_factor(const float *s, int dim)
{
    const float square = dt_caps_dot(s, 1.0f, s, dim);
    return sqrtf(square) / (1.0f + square);
}

/* Squashes one capsule s to v. They must not overlap, so that the compiler can use vectors. */
static inline DT_HD void dt_squash(const float *s, int dim, float *__restrict__ v)
{
    const float factor = dt_squash_factor(s, dim);
    for (int d = 0; d < dim; d++) v[d] = factor * s[d];
}

/* Adds the gradient of one capsule to ds, or overwrites ds where it is fresh. ds may be dv. */
static inline DT_HD void dt_squash_backward(const float *s, const float *dv, int dim, int fresh, float *ds)
{
    const float square = dt_caps_dot(s, 1.0f, s, dim), along = dt_caps_dot(s, 1.0f, dv, dim);
    const float length = sqrtf(square), shrink = 1.0f / (1.0f + square), a = length * shrink;
    const float k = length > 0.0f ? along * (1.0f - square) * shrink * shrink / length : 0.0f;

    for (int d = 0; d < dim; d++) {
        const float slope = a * dv[d] + k * s[d];
        ds[d] = fresh ? slope : ds[d] + slope;
    }
}

#endif /* DT_SQUASH_H */
