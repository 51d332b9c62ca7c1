/*
 * onnx_export_lines.c - finds a line in f32 that makes the codes of thresholds. See onnx_export.h.
 *
 * A step to the code L asks that the line reaches L - 1/2 at one point, and is below it at the point before. For a
 * factor these are bounds on the sum, max(L - 1/2 - factor at) and min(L - 1/2 - factor before), whose distance is
 * concave in the factor. The line that evaluation has lies within but for roundings. Where it does not, the factor is
 * taken for which the bounds are farthest apart, and the sum in their middle. What is found is checked in f32, with the
 * operations of the file, at each step; a line never falls, so that nothing else needs to be looked at.
 */
#include "onnx_export.h"

#include <math.h>

enum { TURNS = 200 };

/* Step i of a line of a factor above 0: from the code code - 1 before `before` to `code` at `at`. Infinite: the points
 * that count have not that end. */
typedef struct {
    double at, before;
    int code;
} step;

/* All steps, of thresholds or of values. */
typedef struct {
    const void *of;
    step (*step)(const void *of, int i);
    int n;
} steps;

/* The distance of the bounds on the sum, and their middle. */
static double distance(const steps *s, double factor, double *middle)
{
    double low = -INFINITY, high = INFINITY;

    for (int i = 0; i < s->n; i++) {
        const step one = s->step(s->of, i);
        low = fmax(low, one.code - 0.5 - factor * one.at);
        high = fmin(high, one.code - 0.5 - factor * one.before);
    }
    *middle = isinf(low) ? high - 0.5 : isinf(high) ? low + 0.5 : (low + high) / 2.0;
    return high - low;
}

/* The factor, within a thousand times a given one, for which the bounds are farthest apart. */
static double best_factor(const steps *s, double given)
{
    double low = given / 1000.0, high = given * 1000.0, middle;

    for (int i = 0; i < TURNS; i++) {
        const double a = low + (high - low) / 3.0, b = high - (high - low) / 3.0;
        if (distance(s, a, &middle) < distance(s, b, &middle))
            low = a;
        else
            high = b;
    }
    return (low + high) / 2.0;
}

/* ---- thresholds ---- */

/* The first and the last of sign * psum. */
static int64_t first_of(const dt_onnx_steps *s)
{
    return s->sign > 0 ? s->psum_low : -s->psum_high;
}

static int64_t last_of(const dt_onnx_steps *s)
{
    return s->sign > 0 ? s->psum_high : -s->psum_low;
}

static step threshold_step(const void *of, int i)
{
    const dt_onnx_steps *s = of;
    const int64_t at = s->step[i * s->stride], first = first_of(s), last = last_of(s);

    return (step){ .at = at > last ? INFINITY : (double)(at > first ? at : first) / s->cells,
                   .before = at <= first ? -INFINITY : (double)(at <= last ? at - 1 : last) / s->cells,
                   .code = s->low + i + 1 };
}

/* The code of the line at a psum, by the operations of the file. An engine may multiply by 1 / cells instead of
 * dividing. */
static float code_at(const dt_onnx_steps *s, float factor, float sum, int64_t u, int by_reciprocal)
{
    const float psum = (float)(s->sign * u), cells = (float)s->cells;
    const float x = by_reciprocal ? psum * (1.0f / cells) : psum / cells, product = factor * x;

    return rintf(product + sum);
}

static int holds(const dt_onnx_steps *s, float factor, float sum)
{
    const int64_t first = first_of(s), last = last_of(s);

    for (int i = 0; i < 2 * s->levels; i++) {
        const int64_t at = s->step[i / 2 * s->stride];
        const float code = (float)(s->low + i / 2 + 1);
        if (at <= last && code_at(s, factor, sum, at > first ? at : first, i % 2) < code) return 0;
        if (at > first && code_at(s, factor, sum, at <= last ? at - 1 : last, i % 2) >= code) return 0;
    }
    return isfinite(factor) && isfinite(sum);
}

int dt_onnx_find_line(const dt_onnx_steps *s, float *factor, float *sum)
{
    const steps all = { s, threshold_step, s->levels };
    const double given = fmax(fabs((double)*factor), 1e-30);
    double middle;

    if (holds(s, *factor, *sum)) return 1;
    const double best[] = { given, best_factor(&all, given) };
    for (int i = 0; i < 2; i++) {
        const float tried = (float)(s->sign * best[i]);
        distance(&all, best[i], &middle);
        if (!holds(s, tried, (float)middle)) continue;
        *factor = tried;
        *sum = (float)middle;
        return 1;
    }
    return 0;
}

/* ---- values ---- */

static step value_step(const void *of, int i)
{
    const dt_onnx_values *v = of;
    const int code = v->code[i + 1], rises = code > v->code[i];

    return (step){ .at = rises ? (double)v->value[i + 1] : INFINITY,
                   .before = rises ? (double)v->value[i] : -INFINITY,
                   .code = code };
}

static int gives_codes(const dt_onnx_values *v, float factor, float sum)
{
    for (int i = 0; i < v->n; i++) {
        const float product = factor * v->value[i], line = rintf(product + sum);
        if (fminf(fmaxf(line, (float)v->low), (float)v->high) != (float)v->code[i]) return 0;
    }
    return 1;
}

int dt_onnx_find_line_of_values(const dt_onnx_values *v, float *factor, float *sum)
{
    const steps all = { v, value_step, v->n - 1 };
    double middle;

    if (gives_codes(v, *factor, *sum)) return 1;
    const double best = best_factor(&all, fmax((double)*factor, 1e-30));
    distance(&all, best, &middle);
    *factor = (float)best;
    *sum = (float)middle;
    return gives_codes(v, *factor, *sum);
}
