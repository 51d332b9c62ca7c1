/*
 * onnx_export_lines.c - finds a line in f32 that makes the codes of thresholds. See onnx_export.h.
 *
 * A threshold T of the code L asks that the line is not below L - 1/2 at T, and is below it at T - 1. For a given
 * factor these are bounds on the sum: the line that evaluation has fulfils them but for roundings, and the middle
 * between the bounds, where it does not. What is found is checked in f32, with the operations of the file, at each
 * threshold; a line never falls, so that nothing else needs to be looked at.
 */
#include "onnx_export.h"

#include <math.h>

enum { FACTORS = 9 /* neighbours of a factor that are tried, itself included */ };

/* The line at a psum, by the operations of the file. An engine may multiply by 1 / cells instead of dividing. */
static float line_at(const dt_onnx_steps *s, float factor, float sum, int64_t u, int by_reciprocal)
{
    const float psum = (float)(s->sign * u), cells = (float)s->cells;
    const float x = by_reciprocal ? psum * (1.0f / cells) : psum / cells, product = factor * x;

    return product + sum;
}

/* 1 if the nearest integer reaches L at u, by either way to divide, or by none. */
static int reaches(const dt_onnx_steps *s, float factor, float sum, int64_t u, int code)
{
    return rintf(line_at(s, factor, sum, u, 0)) >= (float)code && rintf(line_at(s, factor, sum, u, 1)) >= (float)code;
}

static int stays_below(const dt_onnx_steps *s, float factor, float sum, int64_t u, int code)
{
    return rintf(line_at(s, factor, sum, u, 0)) < (float)code && rintf(line_at(s, factor, sum, u, 1)) < (float)code;
}

/* The first and the last of sign * psum. */
static int64_t first_of(const dt_onnx_steps *s)
{
    return s->sign > 0 ? s->psum_low : -s->psum_high;
}

static int64_t last_of(const dt_onnx_steps *s)
{
    return s->sign > 0 ? s->psum_high : -s->psum_low;
}

static int holds(const dt_onnx_steps *s, float factor, float sum)
{
    const int64_t first = first_of(s), last = last_of(s);

    for (int l = 0; l < s->levels; l++) {
        const int64_t at = s->step[l * s->stride];
        const int code = s->low + l + 1;
        if (at <= last && !reaches(s, factor, sum, at > first ? at : first, code)) return 0;
        if (at > first && !stays_below(s, factor, sum, at <= last ? at - 1 : last, code)) return 0;
    }
    return isfinite(factor) && isfinite(sum);
}

/* The middle of what the thresholds allow the sum to be. */
static float middle_sum(const dt_onnx_steps *s, float factor)
{
    const int64_t first = first_of(s), last = last_of(s);
    double low = -INFINITY, high = INFINITY;

    for (int l = 0; l < s->levels; l++) {
        const int64_t at = s->step[l * s->stride];
        const double half = s->low + l + 0.5, per = (double)factor / s->cells * s->sign;
        if (at <= last) low = fmax(low, half - per * (double)(at > first ? at : first));
        if (at > first) high = fmin(high, half - per * (double)(at <= last ? at - 1 : last));
    }
    if (isinf(low)) return (float)(high - 0.5); /* no threshold is reached */
    return (float)(isinf(high) ? low + 0.5 : (low + high) / 2.0);
}

int dt_onnx_find_line(const dt_onnx_steps *s, float *factor, float *sum)
{
    float up = *factor, down = *factor;

    if (holds(s, *factor, *sum)) return 1;
    for (int i = 0; i < FACTORS; i++) {
        const float tried = i % 2 ? (up = nextafterf(up, INFINITY))
                            : i   ? (down = nextafterf(down, -INFINITY))
                                  : *factor;
        const float middle = middle_sum(s, tried);
        if (!holds(s, tried, middle)) continue;
        *factor = tried;
        *sum = middle;
        return 1;
    }
    return 0;
}

static int gives_codes(const float *value, const int *code, int n, float factor, float sum)
{
    for (int i = 0; i < n; i++) {
        const float product = factor * value[i];
        if (rintf(product + sum) != (float)code[i]) return 0;
    }
    return 1;
}

int dt_onnx_find_line_of_values(const float *value, const int *code, int n, float *factor, float *sum)
{
    int first = 1, last = n - 1;

    if (gives_codes(value, code, n, *factor, *sum)) return 1;
    while (first < n && code[first] == code[first - 1]) first++;
    while (last > 0 && code[last] == code[last - 1]) last--;
    if (first >= n || first == last) return 0;
    const double from = ((double)value[first] + (double)value[first - 1]) / 2.0,
                 to = ((double)value[last] + (double)value[last - 1]) / 2.0;
    *factor = (float)((code[last] + code[last - 1] - code[first] - code[first - 1]) / 2.0 / (to - from));
    *sum = (float)((code[first] + code[first - 1]) / 2.0 - (double)*factor * from);
    return gives_codes(value, code, n, *factor, *sum);
}
