/*
 * psum_oracle.h - psums, tap psums and statistics of a layer by literal loops in 64-bit integers, fitted after each
 * addition in the order of accel/psum/psum.h.
 */
#ifndef PSUM_ORACLE_H
#define PSUM_ORACLE_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../accel/psum/psum.h"

/* One layer on one image, and what must come of it. */
typedef struct {
    dt_array array; /* simd is 1 or 2 */
    dt_psum_shape shape;
    const float *x, *w;
    int32_t *psum, *taps; /* taps: of the weight stationary array */
    float *exact;         /* psums of a plain convolution; NULL: not wanted */
    dt_psum_stats stats;
} layer;

/* ---- the oracle ---- */

/* A register, and beside it the sum that an unlimited one would hold. */
typedef struct {
    int64_t held, exact;
} partial;

static inline int64_t fit(const dt_array *a, int64_t value)
{
    const int64_t size = (int64_t)1 << a->psum_bits;
    if (a->overflow == DT_OVERFLOW_SATURATE) {
        return value < -size / 2 ? -size / 2 : value > size / 2 - 1 ? size / 2 - 1 : value;
    }
    while (value < -size / 2) value += size;
    while (value > size / 2 - 1) value -= size;
    return value;
}

static inline void look(layer *l, int64_t value)
{
    if (value < l->stats.min) l->stats.min = (int32_t)value;
    if (value > l->stats.max) l->stats.max = (int32_t)value;
    l->stats.n_overflows += value < -((int64_t)1 << (l->array.psum_bits - 1));
    l->stats.n_overflows += value >= (int64_t)1 << (l->array.psum_bits - 1);
}

static inline int saturates(const layer *l)
{
    return l->array.overflow == DT_OVERFLOW_SATURATE;
}

static inline partial add(layer *l, partial to, partial what)
{
    if (saturates(l)) look(l, to.held + what.held);
    return (partial){ fit(&l->array, to.held + what.held), to.exact + what.exact };
}

/* What the PE of channel c of k's group (and its neighbour) gives for output (p, q, k) and tap (r, t). */
static inline partial pe(const layer *l, int p, int q, int k, int tap, int c)
{
    const dt_psum_shape *s = &l->shape;
    const int h = p * s->conv.stride[0] + tap / s->window_width * s->conv.dilation[0] - s->conv.pad[0];
    const int v = q * s->conv.stride[1] + tap % s->window_width * s->conv.dilation[1] - s->conv.pad[1];
    const int each = s->channels / s->conv.groups, first = k / (s->filters / s->conv.groups) * each;
    int64_t sum = 0;
    for (int lane = c; lane < c + l->array.simd && lane < each; lane++) {
        if (h < 0 || h >= s->height || v < 0 || v >= s->width) continue;
        sum += (int64_t)l->x[(h * s->width + v) * s->channels + first + lane] *
               (int64_t)l->w[(k * s->window_height * s->window_width + tap) * each + lane];
    }
    return (partial){ sum, sum };
}

static inline partial weight_stationary(layer *l, int p, int q, int k)
{
    const dt_psum_shape *s = &l->shape;
    const int tile_channels = l->array.rows * l->array.simd, channels = s->channels / s->conv.groups;
    partial sum = { 0, 0 };
    int pass = 0;
    for (int first = 0; first < channels; first += tile_channels) {
        for (int tap = 0; tap < s->window_height * s->window_width; tap++, pass++) {
            partial psum = { 0, 0 };
            for (int c = first; c < first + tile_channels && c < channels; c += l->array.simd) {
                psum = add(l, psum, pe(l, p, q, k, tap, c));
            }
            sum = pass == 0 ? psum : add(l, sum, psum);
            if (!saturates(l)) {
                look(l, psum.exact);
                look(l, sum.exact);
            }
            l->taps[((pass * s->out_height + p) * s->out_width + q) * s->filters + k] = (int32_t)psum.held;
            l->stats.n_tap_psums++;
        }
    }
    return sum;
}

static inline partial output_stationary(layer *l, int p, int q, int k)
{
    const dt_psum_shape *s = &l->shape;
    partial sum = { 0, 0 };
    for (int c = 0; c < s->channels / s->conv.groups; c += l->array.simd) {
        for (int tap = 0; tap < s->window_height * s->window_width; tap++) {
            sum = add(l, sum, pe(l, p, q, k, tap, c));
            if (!saturates(l)) look(l, sum.exact);
        }
    }
    return sum;
}

/* Adds to l->stats; fills psum and, weight stationary, taps. */
static inline void oracle(layer *l)
{
    const dt_psum_shape *s = &l->shape;
    for (int i = 0; i < s->height * s->width * s->channels; i++) l->stats.n_zero_codes += l->x[i] == 0.0f;
    l->stats.n_codes += s->height * s->width * s->channels;
    for (int i = 0; i < s->out_height * s->out_width * s->filters; i++) {
        const int k = i % s->filters, q = i / s->filters % s->out_width, p = i / s->filters / s->out_width;
        const partial sum =
            l->array.dataflow == DT_DATAFLOW_WS ? weight_stationary(l, p, q, k) : output_stationary(l, p, q, k);
        l->psum[i] = (int32_t)sum.held;
        if (l->exact) l->exact[i] = (float)sum.exact;
        l->stats.n_psums++;
    }
}

static inline const char *text_of(const layer *l)
{
    static char text[256];
    const dt_psum_shape *s = &l->shape;
    snprintf(text, sizeof text,
             "%s, %s, %d rows, simd %d, %d bits; x %dx%dx%d of %d..%d, w %dx%dx%d, strides %d,%d, pads %d,%d,%d,%d, "
             "dilations %d,%d, groups %d",
             dt_dataflow_names[l->array.dataflow], dt_overflow_names[l->array.overflow], l->array.rows, l->array.simd,
             l->array.psum_bits, s->height, s->width, s->channels, s->x_low, s->x_high, s->filters, s->window_height,
             s->window_width, s->conv.stride[0], s->conv.stride[1], s->conv.pad[0], s->conv.pad[1], s->conv.pad[2],
             s->conv.pad[3], s->conv.dilation[0], s->conv.dilation[1], s->conv.groups);
    return text;
}

static inline int n_outputs(const layer *l)
{
    return l->shape.out_height * l->shape.out_width * l->shape.filters;
}

static inline int n_taps(const layer *l)
{
    const int tile_channels = l->array.rows * l->array.simd, window = l->shape.window_height * l->shape.window_width;
    return (l->shape.channels / l->shape.conv.groups + tile_channels - 1) / tile_channels * window;
}

static inline void same_stats(const layer *l, const char *who, const dt_psum_stats *got)
{
    const dt_psum_stats *want = &l->stats;
    const struct {
        const char *name;
        int64_t want, got;
    } fields[] = {
        { "n_psums", want->n_psums, got->n_psums },
        { "n_tap_psums", want->n_tap_psums, got->n_tap_psums },
        { "n_overflows", want->n_overflows, got->n_overflows },
        { "n_codes", want->n_codes, got->n_codes },
        { "n_zero_codes", want->n_zero_codes, got->n_zero_codes },
        { "min", want->min, got->min },
        { "max", want->max, got->max },
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        cr_assert(fields[i].got == fields[i].want, "%s: %s: %s is %lld, expected %lld", text_of(l), who, fields[i].name,
                  (long long)fields[i].got, (long long)fields[i].want);
    }
}

#endif /* PSUM_ORACLE_H */
