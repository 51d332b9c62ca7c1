/*
 * array_layer.h - layers for tests of the array: a random one of every kind, the worked example, room for what comes
 * out.
 */
#ifndef ARRAY_LAYER_H
#define ARRAY_LAYER_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/rng.h"
#include "array_cycles.h"

/* One layer on one array, and all that comes out of it. */
typedef struct {
    dt_array array;
    dt_psum_shape shape;
    int64_t n_x, n_w, n_psums, n_tap_psums; /* n_tap_psums: 0 output stationary */
    float *x, *w;
    int32_t *psum, *relu, *tap;
    dt_psum_stats stats;
    int64_t busy; /* the oracle's */
} array_layer;

static inline int64_t array_layer_tiles(int64_t n, int64_t d)
{
    return (n + d - 1) / d;
}

static inline void *array_layer_room(int64_t n, size_t bytes)
{
    void *p = calloc((size_t)n + 1, bytes);
    cr_assert(p != NULL);
    return p;
}

static inline void array_layer_open(array_layer *run, const dt_array *array, const dt_psum_shape *shape)
{
    const dt_psum_shape *s = shape;
    const int64_t taps = (int64_t)s->window_height * s->window_width;

    *run = (array_layer){ .array = *array, .shape = *shape };
    run->n_x = (int64_t)s->height * s->width * s->channels;
    run->n_w = taps * s->filters * (s->channels / s->conv.groups);
    run->n_psums = (int64_t)s->out_height * s->out_width * s->filters;
    if (array->dataflow == DT_DATAFLOW_WS)
        run->n_tap_psums =
            array_layer_tiles(s->channels / s->conv.groups, array->rows * array->simd) * taps * run->n_psums;
    run->x = array_layer_room(run->n_x, sizeof *run->x);
    run->w = array_layer_room(run->n_w, sizeof *run->w);
    run->psum = array_layer_room(run->n_psums, sizeof *run->psum);
    run->relu = array_layer_room(run->n_psums, sizeof *run->relu);
    run->tap = array_layer_room(run->n_tap_psums, sizeof *run->tap);
    dt_psum_stats_clear(&run->stats);
}

static inline void array_layer_close(array_layer *run)
{
    free(run->x);
    free(run->w);
    free(run->psum);
    free(run->relu);
    free(run->tap);
}

/* The same codes, nothing computed. */
static inline void array_layer_copy(array_layer *run, const array_layer *from)
{
    array_layer_open(run, &from->array, &from->shape);
    memcpy(run->x, from->x, (size_t)from->n_x * sizeof *from->x);
    memcpy(run->w, from->w, (size_t)from->n_w * sizeof *from->w);
}

static inline void array_layer_run(array_layer *run, dt_array_count *count)
{
    const dt_array_results to = { run->psum, run->relu, run->tap, &run->stats, count };
    const dt_status status = dt_array_run(&run->array, &run->shape, run->x, run->w, &to);
    cr_assert(status == DT_OK, "%s: %s", dt_status_name(status), dt_last_error());
}

static inline void array_layer_describe(const array_layer *run, char *text, size_t bytes)
{
    const dt_psum_shape *s = &run->shape;
    const dt_array *a = &run->array;
    snprintf(text, bytes,
             "%dx%dx%d, %d filters of %dx%d, strides %d,%d, pads %d,%d,%d,%d, dilations %d,%d, groups %d, on %dx%d %s "
             "%d bits %s "
             "simd %d",
             s->height, s->width, s->channels, s->filters, s->window_height, s->window_width, s->conv.stride[0],
             s->conv.stride[1], s->conv.pad[0], s->conv.pad[1], s->conv.pad[2], s->conv.pad[3], s->conv.dilation[0],
             s->conv.dilation[1], s->conv.groups, a->rows, a->cols, a->dataflow == DT_DATAFLOW_WS ? "ws" : "os",
             a->psum_bits, a->overflow == DT_OVERFLOW_WRAP ? "wrap" : "saturate", a->simd);
}

/* Of a window of window[0] x window[1]; the range of codes is the caller's. */
static inline dt_psum_shape array_layer_shape(int height, int width, int channels, int filters, const int window[2],
                                              int stride, int pad)
{
    const int out_height = (height + 2 * pad - window[0]) / stride + 1;
    const int out_width = (width + 2 * pad - window[1]) / stride + 1;
    return (dt_psum_shape){ .height = height,
                            .width = width,
                            .channels = channels,
                            .filters = filters,
                            .window_height = window[0],
                            .window_width = window[1],
                            .conv = dt_conv_square(stride, pad),
                            .out_height = out_height,
                            .out_width = out_width,
                            .x_high = 15,
                            .w_bound = 7 };
}

static inline int array_layer_draw(uint32_t seed, uint32_t *index, int low, int high)
{
    return low + (int)dt_below(dt_random(seed, DT_STREAM_INIT, 0, (*index)++).v[0], (uint32_t)(high - low + 1));
}

/* A stride and a dilation of its own for each axis, a pad of its own for each side. */
static inline void array_layer_deform(uint32_t seed, uint32_t *index, dt_psum_shape *s)
{
    const int taps[2] = { s->window_height, s->window_width }, side[2] = { s->height, s->width };
    int *const out[2] = { &s->out_height, &s->out_width };

    for (int axis = 0; axis < 2; axis++) {
        const int most = taps[axis] > 1 ? (side[axis] - 1) / (taps[axis] - 1) : 3, dilation = most > 3 ? 3 : most;
        s->conv.stride[axis] = array_layer_draw(seed, index, 1, 3);
        s->conv.dilation[axis] = array_layer_draw(seed, index, 1, dilation);
        s->conv.pad[axis] = array_layer_draw(seed, index, 0, 2);
        s->conv.pad[axis + 2] = array_layer_draw(seed, index, 0, 2);
        const int room = side[axis] + s->conv.pad[axis] + s->conv.pad[axis + 2];
        *out[axis] = (room - s->conv.dilation[axis] * (taps[axis] - 1) - 1) / s->conv.stride[axis] + 1;
    }
}

enum { ARRAY_LAYER_KINDS = 256, ARRAY_LAYER_SEEDS = 4 };

/* The bits of `kind` choose dataflow, overflow, simd, window, stride, pad and psum bits; the seed the sizes. */
static inline void array_layer_random(uint32_t seed, int kind, array_layer *run)
{
    static const int psum_bits[] = { 8, 10, 16, 32 };
    uint32_t i = 0;
    const int rows = array_layer_draw(seed, &i, 1, 5), cols = array_layer_draw(seed, &i, 1, 5);
    const int height = array_layer_draw(seed, &i, 3, 6), width = array_layer_draw(seed, &i, 3, 6);
    const int channels = array_layer_draw(seed, &i, 1, 13), filters = array_layer_draw(seed, &i, 1, 11);
    const int window[2] = { kind & 8 ? 3 : 1, array_layer_draw(seed, &i, 0, 2) > 0 ? 3 : 1 };
    dt_psum_shape s = array_layer_shape(height, width, channels, filters, window, kind & 16 ? 2 : 1, kind & 32 ? 1 : 0);
    const dt_overflow overflow = kind & 1 ? DT_OVERFLOW_SATURATE : DT_OVERFLOW_WRAP;
    const dt_dataflow dataflow = kind & 2 ? DT_DATAFLOW_OS : DT_DATAFLOW_WS;
    const dt_array array = { rows, cols, psum_bits[kind >> 6 & 3], overflow, dataflow, kind & 4 ? 2 : 1 };

    if (array.simd == 2) s.x_high = 3;
    if (array_layer_draw(seed, &i, 0, 1)) array_layer_deform(seed, &i, &s);
    if (array_layer_draw(seed, &i, 0, 2) == 0) {
        s.conv.groups = array_layer_draw(seed, &i, 2, 9);
        s.channels = s.conv.groups * array_layer_draw(seed, &i, 1, 4);
        s.filters = s.conv.groups * array_layer_draw(seed, &i, 1, 4);
    }
    array_layer_open(run, &array, &s);
    for (int64_t k = 0; k < run->n_x; k++) run->x[k] = (float)array_layer_draw(seed, &i, 0, s.x_high);
    for (int64_t k = 0; k < run->n_w; k++) run->w[k] = (float)array_layer_draw(seed, &i, -7, 7);
}

/* x[c][h][w] = (c + dh h + w) mod levels, w[o][i][r][s] = ((3 o + 5 i + 2 r + s) mod 15) - 7: whoever writes RTL of
 * such an array can check these by hand. */
static inline void array_layer_example(array_layer *run, int channels, int levels, int dh, dt_dataflow dataflow)
{
    const dt_array array = { 8, 8, 16, DT_OVERFLOW_WRAP, dataflow, channels / 8 };
    dt_psum_shape s = array_layer_shape(4, 4, channels, channels, (int[2]){ 3, 3 }, 1, 1);

    s.x_high = levels - 1;
    array_layer_open(run, &array, &s);
    for (int64_t i = 0; i < run->n_x; i++) {
        run->x[i] = (float)((i % channels + i / channels / 4 * dh + i / channels % 4) % levels);
    }
    for (int64_t i = 0; i < run->n_w; i++) {
        const int64_t channel = i % channels, tap = i / channels % 9, filter = i / channels / 9;
        run->w[i] = (float)((3 * filter + 5 * channel + 2 * (tap / 3) + tap % 3) % 15 - 7);
    }
}

#endif /* ARRAY_LAYER_H */
