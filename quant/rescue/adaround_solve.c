/*
 * adaround_solve.c - whether each weight of one filter is rounded up or down. See rescue.h for E.
 *
 * The choice is relaxed: code = floor(ratio) + h with h = limit((zeta - gamma) sigmoid(v) + gamma) to 0..1. Adam makes
 *
 *   E(code) / E(nearest) + lambda / n sum of 1 - |2h - 1|^beta
 *
 * small over v, from h = ratio - floor(ratio) on; the second term, which wants h to be 0 or 1, counts after a fifth of
 * the steps, with beta falling from 20 to 2. Then h is rounded. After that, and also from rounding to nearest, single
 * codes change as long as E falls, the best first; the better of both ends is taken.
 *
 * The gradient of E is taken from G, which has seen all positions, so no step draws samples and equal input gives equal
 * codes.
 *
 * Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020, eq. 21 to 24. There the
 * gradient is that of mini-batches.  Tests: tests/quant/test_rescue_rounding.c.
 */
#include "rescue.h"

#include <math.h>
#include <string.h>

static const double zeta = 1.1, gamma_low = -0.1; /* of the stretched sigmoid */
static const double lambda = 0.1, beta_first = 20.0, beta_last = 2.0, warm_up = 0.2;
static const double rate = 0.05, moment1 = 0.9, moment2 = 0.999, epsilon = 1e-8; /* Adam's */

static int nearest(const dt_filter_rounding *r, int64_t i)
{
    const int code = (int)(r->ratio[i] >= 0.0 ? floor(r->ratio[i] + 0.5) : ceil(r->ratio[i] - 0.5));

    return code > r->high ? r->high : code < -r->high ? -r->high : code;
}

/* 1 if the weight has no choice: the filter's scale is made of it, or its ratio is an integer. */
static int is_pinned(const dt_filter_rounding *r, int64_t i)
{
    return fabs(r->ratio[i]) > (double)r->high - 1e-6 || floor(r->ratio[i]) == r->ratio[i];
}

/* out = G code */
static void multiply(const dt_filter_rounding *r, const double *code, double *out)
{
    for (int64_t i = 0; i < r->n; i++) {
        const double *row = r->gram + i * r->n;
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < r->n; k++) sum += row[k] * code[k];
        out[i] = sum;
    }
}

static double error_from(const dt_filter_rounding *r, const double *code, const double *product)
{
    double square = 0.0, line = 0.0;

    for (int64_t i = 0; i < r->n; i++) {
        square += code[i] * product[i];
        line += code[i] * r->h[i];
    }
    return r->S * r->S * square - 2.0 * r->S * line + r->T;
}

double dt_rounding_error_of(const dt_filter_rounding *r, const int *code)
{
    double square = 0.0, line = 0.0;

    for (int64_t i = 0; i < r->n; i++) {
        double sum = 0.0;
        for (int64_t k = 0; k < r->n; k++) sum += r->gram[i * r->n + k] * (double)code[k];
        square += (double)code[i] * sum;
        line += (double)code[i] * r->h[i];
    }
    return r->S * r->S * square - 2.0 * r->S * line + r->T;
}

/* ---- the relaxation ---- */

/* Of one filter; all arrays are [n], in the caller's room. */
typedef struct {
    double *v, *m1, *m2; /* of Adam */
    double *code, *product;
} relaxed;

static double sigmoid_of(double v)
{
    return 1.0 / (1.0 + exp(-v));
}

static double h_of(double v)
{
    const double h = (zeta - gamma_low) * sigmoid_of(v) + gamma_low;

    return h < 0.0 ? 0.0 : h > 1.0 ? 1.0 : h;
}

/* Where h(v) is the part of the ratio behind its floor, which is inside of 0..1. */
static double v_of(double part)
{
    const double p = (part - gamma_low) / (zeta - gamma_low);

    return log(p / (1.0 - p));
}

/* The slope of the second term by h, without its factor; 0 while it does not count. */
static double pull_of(double h, double progress)
{
    const double after = (progress - warm_up) / (1.0 - warm_up);
    const double beta = beta_last + (beta_first - beta_last) * 0.5 * (1.0 + cos(after * 3.14159265358979));
    const double away = 2.0 * h - 1.0;

    if (progress < warm_up || away == 0.0) return 0.0;
    return -2.0 * beta * pow(fabs(away), beta - 1.0) * (away > 0.0 ? 1.0 : -1.0);
}

static void adam(const relaxed *x, int64_t i, double g, int step)
{
    x->m1[i] = moment1 * x->m1[i] + (1.0 - moment1) * g;
    x->m2[i] = moment2 * x->m2[i] + (1.0 - moment2) * g * g;
    const double m1 = x->m1[i] / (1.0 - pow(moment1, step)), m2 = x->m2[i] / (1.0 - pow(moment2, step));
    x->v[i] -= rate * m1 / (sqrt(m2) + epsilon);
}

static void relax(const dt_filter_rounding *r, double unit, int steps, const relaxed *x)
{
    for (int64_t i = 0; i < r->n; i++) {
        x->v[i] = is_pinned(r, i) ? 0.0 : v_of(r->ratio[i] - floor(r->ratio[i]));
        x->m1[i] = x->m2[i] = 0.0;
    }
    for (int step = 1; step <= steps; step++) {
        for (int64_t i = 0; i < r->n; i++) {
            x->code[i] = is_pinned(r, i) ? (double)nearest(r, i) : floor(r->ratio[i]) + h_of(x->v[i]);
        }
        multiply(r, x->code, x->product);
        for (int64_t i = 0; i < r->n; i++) {
            if (is_pinned(r, i)) continue;
            const double s = sigmoid_of(x->v[i]), h = h_of(x->v[i]);
            const double slope = h > 0.0 && h < 1.0 ? (zeta - gamma_low) * s * (1.0 - s) : 0.0;
            const double de = 2.0 * r->S * (r->S * x->product[i] - r->h[i]) / unit;
            adam(x, i, slope * (de + lambda / (double)r->n * pull_of(h, (double)step / (double)steps)), step);
        }
    }
    for (int64_t i = 0; i < r->n; i++) {
        x->code[i] = is_pinned(r, i) ? (double)nearest(r, i) : floor(r->ratio[i]) + (h_of(x->v[i]) >= 0.5 ? 1.0 : 0.0);
    }
}

/* ---- single codes ---- */

/* What E gains if weight i takes its other code; *by is the difference of codes. */
static double change_of(const dt_filter_rounding *r, const relaxed *x, int64_t i, double *by)
{
    const double low = floor(r->ratio[i]);

    *by = x->code[i] > low ? -1.0 : 1.0;
    return *by * 2.0 * r->S * (r->S * x->product[i] - r->h[i]) + r->S * r->S * r->gram[i * r->n + i];
}

/* Changes codes until no single change helps. Returns E. */
static double descend(const dt_filter_rounding *r, const relaxed *x)
{
    multiply(r, x->code, x->product);
    for (int64_t turn = 0; turn < 8 * r->n; turn++) {
        double best = -1e-12 * r->T, by = 0.0;
        int64_t at = -1;
        for (int64_t i = 0; i < r->n; i++) {
            double step = 0.0;
            const double change = is_pinned(r, i) ? 0.0 : change_of(r, x, i, &step);
            if (change >= best) continue;
            best = change;
            by = step;
            at = i;
        }
        if (at < 0) break;
        x->code[at] += by;
        for (int64_t k = 0; k < r->n; k++) x->product[k] += by * r->gram[at * r->n + k];
    }
    multiply(r, x->code, x->product);
    return error_from(r, x->code, x->product);
}

void dt_rounding_solve(const dt_filter_rounding *r, int steps, double *room, int *code)
{
    const relaxed x = { room, room + r->n, room + 2 * r->n, room + 3 * r->n, room + 4 * r->n };
    double *const first = room + 5 * r->n;

    for (int64_t i = 0; i < r->n; i++) x.code[i] = (double)nearest(r, i);
    multiply(r, x.code, x.product);
    const double unit = error_from(r, x.code, x.product);
    const double descended = descend(r, &x);
    memcpy(first, x.code, (size_t)r->n * sizeof *first);
    double relaxed_to = INFINITY;
    if (steps > 0 && unit > 0.0) {
        relax(r, unit, steps, &x);
        relaxed_to = descend(r, &x);
    }
    const double *best = relaxed_to < descended ? x.code : first;
    for (int64_t i = 0; i < r->n; i++) code[i] = (int)best[i];
}
