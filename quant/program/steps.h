/*
 * steps.h - from a step function of psums to its thresholds.
 */
#ifndef DT_STEPS_H
#define DT_STEPS_H

#include <stdint.h>

/* A function of psums in [psum_low, psum_high] that never falls as sign * psum grows; its codes lie in [low, high]. */
typedef struct {
    int (*code)(const void *user, int64_t psum);
    const void *user;
    int sign; /* 1 or -1 */
    int64_t psum_low, psum_high;
    int low, high;
} dt_steps;

/* threshold[k * stride], k < high - low: the least sign * psum whose code is above low + k; INT32_MIN if every psum's
 * is, INT32_MAX if none's. Ascending in k. */
void dt_steps_find(const dt_steps *s, int32_t *threshold, int64_t stride);

#endif /* DT_STEPS_H */
