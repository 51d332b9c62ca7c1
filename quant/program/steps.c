/*
 * steps.c - finds thresholds by bisection. Each takes about as many evaluations as a psum has bits.
 *
 * Tests: tests/quant/test_steps.c, tests/quant/test_requant.c.
 */
#include "steps.h"

static int is_above(const dt_steps *s, int64_t signed_psum, int code)
{
    return s->code(s->user, s->sign * signed_psum) > code;
}

static int32_t step_find(const dt_steps *s, int code)
{
    int64_t below = s->sign > 0 ? s->psum_low : -s->psum_high, above = s->sign > 0 ? s->psum_high : -s->psum_low;

    if (is_above(s, below, code)) return INT32_MIN;
    if (!is_above(s, above, code)) return INT32_MAX;
    while (above - below > 1) {
        const int64_t middle = (below + above) / 2;
        if (is_above(s, middle, code))
            above = middle;
        else
            below = middle;
    }
    return (int32_t)above;
}

void dt_steps_find(const dt_steps *s, int32_t *threshold, int64_t stride)
{
    for (int k = 0; k < s->high - s->low; k++) threshold[k * stride] = step_find(s, s->low + k);
}
