/*
 * squash.h - the arithmetic of capsules, which CPU and CUDA share. squash.c has the mathematics.
 */
#ifndef DT_SQUASH_H
#define DT_SQUASH_H

#include <math.h>
#include <stdint.h>

#include "../../core/rng.h" /* DT_HD */

enum { DT_CAPS_LANES = 8 };

/* Adds scale * a[l] * b[l] to lane[l], for the first n values, of at most DT_CAPS_LANES. */
static inline DT_HD void dt_caps_add(float *lane, const float *a, float scale, const float *b, int n)
{
    for (int l = 0; l < DT_CAPS_LANES; l++) {
        if (l < n) lane[l] += scale * a[l] * b[l];
    }
}

/* Returns the sum of the lanes, one half of which is added to the other until one is left. */
static inline DT_HD float dt_caps_sum(float *lane)
{
    for (int half = DT_CAPS_LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    }
    return lane[0];
}

/* Returns the sum over d of scale * a[d] * b[d]. scale is that of a grid tensor a, else 1. The order of the sum is that
 * of vectors: value d goes to lane d mod 8. */
static inline DT_HD float dt_caps_dot(const float *a, float scale, const float *b, int dim)
{
    float lane[DT_CAPS_LANES] = { 0 };

    for (int d = 0; d < dim; d += DT_CAPS_LANES) dt_caps_add(lane, a + d, scale, b + d, dim - d);
    return dt_caps_sum(lane);
}

/* Returns the factor that squashes a capsule of this squared length. */
static inline DT_HD float dt_squash_factor(float square)
{
    return sqrtf(square) / (1.0f + square);
}

/* Squashes one capsule s to v. They must not overlap, so that the compiler can use vectors. */
static inline DT_HD void dt_squash(const float *s, int dim, float *__restrict__ v)
{
    const float factor = dt_squash_factor(dt_caps_dot(s, 1.0f, s, dim));
    for (int d = 0; d < dim; d++) v[d] = factor * s[d];
}

/* The gradient of one capsule: ds = of_dv * dv + of_s * s. */
typedef struct {
    float of_dv, of_s;
} dt_squash_slope;

/* Returns the gradient of a capsule of this squared length, of which <s, dv> is `along`. */
static inline DT_HD dt_squash_slope dt_squash_slope_of(float square, float along)
{
    const float length = sqrtf(square), shrink = 1.0f / (1.0f + square);
    dt_squash_slope k = { length * shrink, 0.0f };

    if (length > 0.0f) k.of_s = along * (1.0f - square) * shrink * shrink / length;
    return k;
}

/* Adds the gradient of one capsule to ds, or overwrites ds where it is fresh. ds may be dv. */
static inline DT_HD void dt_squash_backward(const float *s, const float *dv, int dim, int fresh, float *ds)
{
    const dt_squash_slope k = dt_squash_slope_of(dt_caps_dot(s, 1.0f, s, dim), dt_caps_dot(s, 1.0f, dv, dim));

    for (int d = 0; d < dim; d++) {
        const float slope = k.of_dv * dv[d] + k.of_s * s[d];
        ds[d] = fresh ? slope : ds[d] + slope;
    }
}

#endif /* DT_SQUASH_H */
