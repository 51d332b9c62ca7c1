/*
 * program_case.h - a small random program that is valid and has a layer of every kind, odd sizes, an addition, signed
 *                  codes, channels whose code falls, and steps that no psum or every psum passes.
 *
 * Used by: the tests of everything that reads programs, and fuzz/make_corpus.c.
 */
#ifndef PROGRAM_CASE_H
#define PROGRAM_CASE_H

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../quant/program.h"

enum { PROGRAM_CASE_HEIGHT = 9, PROGRAM_CASE_WIDTH = 7, PROGRAM_CASE_CLASSES = 5 };

typedef struct {
    uint64_t seed;
    int multipliers;    /* 1: thresholds have the multiplier form, too */
    int image_low;      /* of the image's codes */
    dt_quant_rule rule; /* of QUANTIZE */
} program_case;

/* A number of low..high from a counter that goes on. */
static inline int64_t program_case_random(uint64_t *state, int64_t low, int64_t high)
{
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return low + (int64_t)((z ^ z >> 31) % (uint64_t)(high - low + 1));
}

static inline float *program_case_reals(uint64_t *state, int64_t n, float scale)
{
    float *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = (float)program_case_random(state, -1000003, 1000003) * 1e-6f * scale;
    return v;
}

/* Appends l, with the shape and range that follow from what it reads; returns its index. */
static inline int program_case_add(dt_program *p, dt_layer l)
{
    const int i = p->n_layers++;
    dt_layer *to = &p->layer[i];

    *to = l;
    const dt_value x = dt_layer_input(p, i, 0);
    const int bound = x.high > -x.low ? x.high : -x.low;
    to->height = l.stride ? (x.height + 2 * l.pad - l.window_height) / l.stride + 1 : x.height;
    to->width = l.stride ? (x.width + 2 * l.pad - l.window_width) / l.stride + 1 : x.width;
    if (l.channels == 0) to->channels = x.channels;
    to->value = l.kind == DT_LAYER_CONV                                       ? DT_VALUE_PSUM
                : l.kind == DT_LAYER_THRESHOLD || l.kind == DT_LAYER_QUANTIZE ? DT_VALUE_CODE
                : l.kind == DT_LAYER_MAXPOOL                                  ? x.kind
                                                                              : DT_VALUE_REAL;
    if (l.kind == DT_LAYER_CONV) to->high = l.window_height * l.window_width * x.channels * bound * l.weight_bound;
    if (l.kind == DT_LAYER_CONV) to->low = -to->high;
    if (l.kind == DT_LAYER_MAXPOOL && x.kind == DT_VALUE_CODE) to->low = x.low, to->high = x.high, to->scale = x.scale;
    if (l.kind == DT_LAYER_LINEAR) to->height = to->width = 1;
    return i;
}

static inline void program_case_weights(dt_program *p, int i, uint64_t *state)
{
    dt_layer *l = &p->layer[i];
    const int64_t n = (int64_t)l->channels * l->window_height * l->window_width * dt_layer_input(p, i, 0).channels;

    l->n_weight_scale = i % 2 ? l->channels : 1;
    l->weight = malloc((size_t)n);
    l->weight_scale = malloc((size_t)l->n_weight_scale * sizeof *l->weight_scale);
    for (int64_t k = 0; k < n; k++) {
        l->weight[k] = (int8_t)program_case_random(state, -l->weight_bound, dt_layer_weight_high(l));
    }
    for (int k = 0; k < l->n_weight_scale; k++) l->weight_scale[k] = 0.01f * (float)(k + 1);
}

static inline int program_case_ascending(const void *a, const void *b)
{
    const int32_t s = *(const int32_t *)a, t = *(const int32_t *)b;
    return (s > t) - (s < t);
}

/* Steps where psums are likely, the first or last of some channels where none is. */
static inline void program_case_steps(dt_program *p, int i, uint64_t *state)
{
    dt_layer *l = &p->layer[i];
    const int n = l->high - l->low, likely = p->layer[l->in[0]].high / 8 + 1;
    int32_t steps[16];

    assert(n <= 16);
    for (int c = 0; c < l->channels; c++) {
        l->sign[c] = program_case_random(state, 0, 3) ? 1 : -1;
        for (int t = 0; t < n; t++) steps[t] = (int32_t)program_case_random(state, -likely, likely);
        if (c % 4 == 1) steps[0] = INT32_MIN;
        if (c % 4 == 2) steps[0] = INT32_MAX;
        qsort(steps, (size_t)n, sizeof *steps, program_case_ascending);
        for (int t = 0; t < n; t++) l->threshold[t * l->channels + c] = steps[t];
    }
}

/* Random multipliers, and the thresholds where they step: found by trying every psum. */
static inline void program_case_multipliers(dt_program *p, int i, uint64_t *state)
{
    dt_layer *l = &p->layer[i];
    const int low = p->layer[l->in[0]].low, high = p->layer[l->in[0]].high;
    const size_t channels = (size_t)l->channels;

    l->requant.bits = 12;
    l->requant.multiplier = malloc(channels * sizeof *l->requant.multiplier);
    l->requant.offset = malloc(channels * sizeof *l->requant.offset);
    l->requant.shift = malloc(channels * sizeof *l->requant.shift);
    for (int c = 0; c < l->channels; c++) {
        l->sign[c] = c % 3 == 2 ? -1 : 1;
        l->requant.shift[c] = (int32_t)program_case_random(state, 10, 14);
        l->requant.multiplier[c] = l->sign[c] * (int32_t)program_case_random(state, 100, 2047);
        l->requant.offset[c] = program_case_random(state, -3, 3) * ((int64_t)1 << (l->requant.shift[c] - 1));
        for (int t = 0; t < l->high - l->low; t++) {
            int64_t psum = low;
            while (psum <= high && dt_requant_code(l, c, l->sign[c] * psum) <= l->low + t) psum++;
            l->threshold[t * l->channels + c] = psum == low ? INT32_MIN : psum > high ? INT32_MAX : (int32_t)psum;
        }
    }
}

static inline void program_case_fill(dt_program *p, int i, const program_case *spec, uint64_t *state)
{
    dt_layer *l = &p->layer[i];
    const dt_value x = dt_layer_input(p, i, 0);
    const int64_t inputs = (int64_t)x.height * x.width * x.channels;

    if (l->kind == DT_LAYER_CONV) program_case_weights(p, i, state);
    if (l->kind == DT_LAYER_THRESHOLD) {
        l->sign = malloc((size_t)l->channels);
        l->threshold = malloc((size_t)((l->high - l->low) * l->channels) * sizeof *l->threshold);
        if (spec->multipliers)
            program_case_multipliers(p, i, state);
        else
            program_case_steps(p, i, state);
    }
    if (l->kind == DT_LAYER_THRESHOLD || l->kind == DT_LAYER_AFFINE) {
        l->slope = program_case_reals(state, l->channels, 16.0f / (float)x.high);
        l->offset = program_case_reals(state, l->channels, 1.0f);
    }
    if (l->kind == DT_LAYER_QUANTIZE) {
        l->rule = spec->rule;
        l->scale = l->rule == DT_RULE_LSQ ? l->alpha : l->alpha / (float)l->high;
    }
    if (l->kind == DT_LAYER_LINEAR) {
        l->matrix = program_case_reals(state, l->channels * inputs, 1.0f);
        l->bias = program_case_reals(state, l->channels, 1.0f);
    }
}

/* For dt_program_destroy. Memory is not checked: this is for tests. */
static inline dt_program *program_case_make(const program_case *spec)
{
    uint64_t state = spec->seed;
    dt_program *p = calloc(1, sizeof *p);
    enum { MOST = 20 };

    *p = (dt_program){ .model = "case",
                       .height = PROGRAM_CASE_HEIGHT,
                       .width = PROGRAM_CASE_WIDTH,
                       .channels = 3,
                       .low = spec->image_low,
                       .high = 4,
                       .scale = 0.517f };
    p->layer = calloc(MOST, sizeof *p->layer);
    p->table = malloc(256 * 3 * sizeof *p->table);
    for (int i = 0; i < 256 * 3; i++) p->table[i] = (int16_t)program_case_random(&state, p->low, p->high);

#define ADD(kind_, name_, in_, ...) \
    program_case_add(p, (dt_layer){ .kind = DT_LAYER_##kind_, .name = name_, .in = { in_, 0 }, __VA_ARGS__ })
#define WINDOW(h, w, stride_, pad_) .window_height = h, .window_width = w, .stride = stride_, .pad = pad_
    int i = ADD(CONV, "features.0", DT_FROM_IMAGE, .channels = 5, .weight_bound = 7, WINDOW(3, 3, 1, 1));
    i = ADD(THRESHOLD, "features.3", i, .high = 3, .scale = 0.37f);
    i = ADD(MAXPOOL, "features.2", i, WINDOW(2, 2, 2, 0));
    i = ADD(CONV, "features.3", i, .channels = 9, .weight_bound = 8, WINDOW(3, 3, 1, 1));
    i = ADD(AFFINE, "features.4", i, 0);
    const int skip = ADD(RELU, "features.5", i, 0);
    i = ADD(QUANTIZE, "features.6", skip, .high = 15, .bits = 4, .alpha = 2.3f);
    i = ADD(CONV, "features.6", i, .channels = 9, .weight_bound = 1, WINDOW(1, 1, 1, 0));
    i = ADD(AFFINE, "features.7", i, 0);
    i = ADD(ADD, "features.8", skip, 0);
    p->layer[i].in[1] = i - 1;
    i = ADD(MAXPOOL, "features.9", i, WINDOW(2, 2, 1, 0));
    i = ADD(QUANTIZE, "features.10", i, .low = -3, .high = 3, .bits = 3, .alpha = 0.71f);
    i = ADD(CONV, "features.10", i, .channels = 6, .weight_bound = 127, WINDOW(3, 2, 2, 1));
    i = ADD(THRESHOLD, "features.12", i, .low = -2, .high = 3, .scale = 0.81f);
    i = ADD(CONV, "features.12", i, .channels = 4, .weight_bound = 7, WINDOW(1, 1, 1, 1));
    i = ADD(AFFINE, "features.13", i, 0);
    i = ADD(AVGPOOL, "features.14", i, WINDOW(2, 2, 2, 0));
    ADD(LINEAR, "classifier", i, .channels = PROGRAM_CASE_CLASSES);
#undef WINDOW
#undef ADD
    assert(p->n_layers <= MOST);
    for (int k = 0; k < p->n_layers; k++) program_case_fill(p, k, spec, &state);
    return p;
}

#endif /* PROGRAM_CASE_H */
