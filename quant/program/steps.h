/*
 * steps.h - finds the thresholds of a step function of psums.
 */
#ifndef DT_STEPS_H
#define DT_STEPS_H

#include <stdint.h>

/* A function from psums in [psum_low, psum_high] to codes in [low, high], which never falls as sign * psum grows. */
typedef struct {
    int (*code)(const void *user, int64_t psum);
    const void *user;
    int sign; /* 1 or -1 */
    int64_t psum_low, psum_high;
    int low, high;
} dt_steps;

/* Sets threshold[k * stride], for 0 <= k < high - low, to the least sign * psum whose code is above low + k. It is
 * INT32_MIN if the code of every psum is, and INT32_MAX if that of none is. Thresholds ascend with k. */
void dt_steps_find(const dt_steps *s, int32_t *threshold, int64_t stride);

#endif /* DT_STEPS_H */
