/*
 * program_case.h - a small random program that is valid and has a node of every kind, odd sizes, an addition, signed
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

#include "../../core/conv_params.h"
#include "../../quant/program/program_build.h"
#include "draws.h"

enum { PROGRAM_CASE_HEIGHT = 9, PROGRAM_CASE_WIDTH = 7, PROGRAM_CASE_CLASSES = 5 };

typedef struct {
    uint64_t seed;
    int multipliers;    /* 1: thresholds have the multiplier form, too */
    int image_low;      /* of the image's codes */
    dt_quant_rule rule; /* of ACT_QUANT */
    int sums;           /* 1: with sums and rows of codes, and a clip */
} program_case;

/* A number of low..high. */
static inline int program_case_random(draws *d, int low, int high)
{
    return low + draw(d, high - low + 1);
}

static inline void program_case_must(dt_status status)
{
    if (status == DT_OK) return;
    fprintf(stderr, "program_case.h: %s\n", dt_last_error());
    abort();
}

static inline float *program_case_reals(draws *d, int64_t n, float scale)
{
    float *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = (float)program_case_random(d, -1000003, 1000003) * 1e-6f * scale;
    return v;
}

/* A program being made; the functions that add to it return the value that they make. */
typedef struct {
    dt_program *p;
    const program_case *spec;
    draws d;
    int shared; /* of the thresholds that come next: dt_program_steps.shared */
} program_maker;

static inline program_maker program_case_begin(const program_case *spec, const char *model)
{
    program_maker m = { calloc(1, sizeof(dt_program)), spec, { .seed = spec->seed }, 0 };

    program_case_must(dt_graph_create(model, &m.p->graph));
    return m;
}

static inline int program_case_table(program_maker *m, int height, int width, int channels, int high)
{
    const dt_shape pixels = { 4, { 1, height, width, channels } };
    const dt_table_params range = { m->spec->image_low, high, 0 };
    int16_t *table = malloc(256 * (size_t)channels * sizeof *table);
    int codes;

    for (int i = 0; i < 256 * channels; i++) table[i] = (int16_t)program_case_random(&m->d, range.low, range.high);
    program_case_must(dt_program_add_table(m->p->graph, &pixels, &range, table, dt_program_one(0.517f), &codes));
    return codes;
}

/* Of window rows x columns; one scale, or one a filter. */
typedef struct {
    int filters, rows, columns, stride, pad, bound, scales;
} program_window;

static inline int program_case_conv(program_maker *m, const char *name, int x, const program_window *w)
{
    const int channels = dt_program_value(m->p, x).channels, high = w->bound % 2 ? w->bound : w->bound - 1;
    const int64_t n = (int64_t)w->filters * w->rows * w->columns * channels;
    const dt_program_conv c = { .name = name,
                                .conv = dt_conv_square(w->stride, w->pad),
                                .range = { -w->bound, high },
                                .shape = { 4, { w->filters, w->rows, w->columns, channels } },
                                .n_scale = w->scales,
                                .weight = malloc((size_t)n),
                                .scale = malloc((size_t)w->scales * sizeof *c.scale) };
    int y;

    for (int64_t k = 0; k < n; k++) c.weight[k] = (int8_t)program_case_random(&m->d, -w->bound, high);
    for (int k = 0; k < w->scales; k++) c.scale[k] = 0.01f * (float)(k + 1);
    program_case_must(dt_program_add_conv(m->p->graph, &c, x, &y));
    return y;
}

static inline int program_case_ascending(const void *a, const void *b)
{
    const int32_t s = *(const int32_t *)a, t = *(const int32_t *)b;
    return (s > t) - (s < t);
}

/* Steps where psums are likely, the first or last of some channels where none is. */
static inline void program_case_steps(program_maker *m, const dt_program_steps *s, const dt_value *psum)
{
    const int likely = psum->high / 8 + 1;
    int32_t steps[16];

    assert(s->levels <= 16);
    for (int c = 0; c < psum->channels; c++) {
        s->sign[c] = program_case_random(&m->d, 0, 3) ? 1 : -1;
        const int low = s->sign[c] > 0 ? psum->low : -psum->high, high = s->sign[c] > 0 ? psum->high : -psum->low;
        for (int t = 0; t < s->levels; t++) {
            const int step = (int)program_case_random(&m->d, -likely, likely);
            steps[t] = step <= low ? low + 1 : step > high ? high : step;
        }
        if (c % 4 == 1) steps[0] = INT32_MIN;
        if (c % 4 == 2) steps[0] = INT32_MAX;
        qsort(steps, (size_t)s->levels, sizeof *steps, program_case_ascending);
        for (int t = 0; t < s->levels; t++) s->step[t * psum->channels + c] = steps[t];
    }
}

/* Random multipliers, and the thresholds where they step: found by trying every psum. */
static inline dt_program_multipliers program_case_multipliers(program_maker *m, const dt_program_steps *s,
                                                              const dt_value *psum)
{
    const size_t channels = (size_t)psum->channels;
    const dt_program_multipliers made = { .bits = malloc(sizeof *made.bits),
                                          .multiplier = malloc(channels * sizeof *made.multiplier),
                                          .offset = malloc(channels * sizeof *made.offset),
                                          .shift = malloc(channels * sizeof *made.shift) };
    const dt_requant form = { 12, s->low, s->low + s->levels, made.multiplier, made.offset, made.shift };

    *made.bits = form.bits;
    for (int c = 0; c < psum->channels; c++) {
        s->sign[c] = c % 3 == 2 ? -1 : 1;
        made.shift[c] = (int32_t)program_case_random(&m->d, 10, 14);
        made.multiplier[c] = s->sign[c] * (int32_t)program_case_random(&m->d, 100, 2047);
        made.offset[c] = program_case_random(&m->d, -3, 3) * ((int64_t)1 << (made.shift[c] - 1));
        for (int t = 0; t < s->levels; t++) {
            const int64_t first = s->sign[c] > 0 ? psum->low : -psum->high;
            const int64_t last = s->sign[c] > 0 ? psum->high : -psum->low;
            int64_t at = first;
            while (at <= last && dt_requant_code(&form, c, s->sign[c] * at) <= s->low + t) at++;
            s->step[t * psum->channels + c] = at == first ? INT32_MIN : at > last ? INT32_MAX : (int32_t)at;
        }
    }
    return made;
}

static inline int program_case_threshold(program_maker *m, const char *name, int x, int low, int high, float scale)
{
    const dt_value psum = dt_program_value(m->p, x);
    const size_t channels = (size_t)psum.channels, levels = (size_t)(high - low);
    const dt_program_steps s = { .name = name,
                                 .low = low,
                                 .levels = high - low,
                                 .step = malloc(levels * channels * sizeof *s.step),
                                 .sign = malloc(channels),
                                 .scale = m->shared ? NULL : dt_program_one(scale),
                                 .shared = m->shared,
                                 .slope = program_case_reals(&m->d, psum.channels, 16.0f / (float)psum.high),
                                 .offset = program_case_reals(&m->d, psum.channels, 1.0f) };
    dt_program_multipliers made = { 0 };
    int y;

    if (m->spec->multipliers)
        made = program_case_multipliers(m, &s, &psum);
    else
        program_case_steps(m, &s, &psum);
    program_case_must(dt_program_add_threshold(m->p->graph, &s, x, &y));
    if (m->spec->multipliers) program_case_must(dt_program_add_multipliers(m->p->graph, y, &made));
    return y;
}

static inline int program_case_affine(program_maker *m, const char *name, int x)
{
    const dt_value psum = dt_program_value(m->p, x);
    const dt_program_reals line = { name, psum.channels,
                                    program_case_reals(&m->d, psum.channels, 16.0f / (float)psum.high),
                                    program_case_reals(&m->d, psum.channels, 1.0f) };
    int y;

    program_case_must(dt_program_add_affine(m->p->graph, &line, x, &y));
    return y;
}

static inline int program_case_quantize(program_maker *m, const char *name, int x, int bits, int is_signed, float alpha)
{
    const dt_act_quant_params params = { .bits = bits, .is_signed = is_signed, .rule = m->spec->rule };
    int y;

    const dt_program_quantizer q = { .name = name, .params = params, .alpha = dt_program_one(alpha) };
    program_case_must(dt_program_add_quantize(m->p->graph, &q, x, &y));
    return y;
}

static inline int program_case_pool(program_maker *m, dt_op_kind kind, const char *name, int x,
                                    const dt_pool_params *pool)
{
    int y;

    program_case_must(dt_program_add_plain(m->p->graph, kind, name, pool, &x, &y));
    return y;
}

/* RELU of x, or ADD of x and b. */
static inline int program_case_plain(program_maker *m, dt_op_kind kind, const char *name, int x, int b)
{
    const int in[2] = { x, b };
    int y;

    program_case_must(dt_program_add_plain(m->p->graph, kind, name, NULL, in, &y));
    return y;
}

/* The end: the program, for dt_program_destroy. */
static inline dt_program *program_case_linear(program_maker *m, const char *name, int x, int n)
{
    const int64_t inputs = dt_graph_count(m->p->graph, x);
    const dt_program_reals linear = { name, n, program_case_reals(&m->d, n * inputs, 1.0f),
                                      program_case_reals(&m->d, n, 1.0f) };

    program_case_must(dt_program_add_linear(m->p->graph, &linear, x, &m->p->graph->scores));
    return m->p;
}

/* Of codes that a THRESHOLD makes: a sum of two and its codes, both of them side by side, and pools of those. */
static inline int program_case_sums(program_maker *m, int x)
{
    enum { CHANNELS = 3 };
    static const dt_pool_params most = { .window = { 2, 3 }, .stride = { 1, 2 }, .pad = { 1, 1, 0, 2 } };
    static const dt_pool_params sums = {
        .window = { 3, 2 }, .stride = { 2, 1 }, .pad = { 1, 0, 2, 1 }, .count_include_pad = 1
    };
    int parts[2] = { x };

    m->shared = dt_graph_maker(m->p->graph, x)->in[DT_THRESHOLD_SCALE];
    parts[1] = program_case_conv(m, "sums.0", x, &(program_window){ 6, 1, 1, .stride = 1, .bound = 7, .scales = 1 });
    parts[1] = program_case_threshold(m, "sums.1", parts[1], 0, 4, 0.0f);
    const int sum = program_case_plain(m, DT_OP_ADD, "sums.2", x, parts[1]);
    parts[0] = program_case_threshold(m, "sums.3", sum, -2, 2, 0.0f);
    m->shared = 0;
    program_case_must(dt_program_add_concat(m->p->graph, "sums.4", CHANNELS, parts, 2, &x));
    x = program_case_pool(m, DT_OP_MAXPOOL, "sums.5.most", x, &most);
    const int pool = program_case_pool(m, DT_OP_AVGPOOL, "sums.5", x, &sums);
    x = program_case_threshold(m, "sums.6", pool, 0, 5, 0.43f);
    x = program_case_conv(m, "sums.7", x, &(program_window){ 6, 1, 1, .stride = 1, .pad = 1, .bound = 3, .scales = 6 });
    return program_case_threshold(m, "sums.8", x, -3, 3, 0.29f);
}

/* For dt_program_destroy. Memory is not checked: this is for tests. */
static inline dt_program *program_case_make(const program_case *spec)
{
    static const dt_pool_params odd = { .window = { 3, 2 }, .stride = { 2, 3 }, .pad = { 1, 1, 1, 0 } };
    const dt_pool_params halves = dt_pool_square(2), dense = { .window = { 2, 2 }, .stride = { 1, 1 } };
    program_maker m = program_case_begin(spec, "case");

#define CONV(name, x, ...) program_case_conv(&m, name, x, &(program_window){ __VA_ARGS__ })
    int x = program_case_table(&m, PROGRAM_CASE_HEIGHT, PROGRAM_CASE_WIDTH, 3, 4);
    x = CONV("features.0", x, 5, 3, 3, .stride = 1, .pad = 1, .bound = 7, .scales = 1);
    x = program_case_threshold(&m, "features.3", x, 0, 3, 0.37f);
    x = program_case_pool(&m, DT_OP_MAXPOOL, "features.2", x, &halves);
    x = CONV("features.3", x, 9, 3, 3, .stride = 1, .pad = 1, .bound = 8, .scales = 9);
    x = program_case_affine(&m, "features.4", x);
    const int skip = program_case_plain(&m, DT_OP_RELU, "features.5", x, x);
    x = program_case_quantize(&m, "features.6", skip, 4, 0, 2.3f);
    x = CONV("features.6", x, 9, 1, 1, .stride = 1, .bound = 1, .scales = 9);
    x = program_case_affine(&m, "features.7", x);
    x = program_case_plain(&m, DT_OP_ADD, "features.8", skip, x);
    x = program_case_pool(&m, DT_OP_MAXPOOL, "features.9", x, &dense);
    x = program_case_quantize(&m, "features.10", x, 3, 1, 0.71f);
    x = CONV("features.10", x, 6, 3, 2, .stride = 2, .pad = 1, .bound = 127, .scales = 1);
    x = program_case_threshold(&m, "features.12", x, -2, 3, 0.81f);
    if (spec->sums) x = program_case_sums(&m, x);
    x = CONV("features.12", x, 4, 1, 1, .stride = 1, .pad = 1, .bound = 7, .scales = 1);
    x = program_case_affine(&m, "features.13", x);
    if (spec->sums) {
        const dt_clip_params clip = { -1.25f, 2.0f };
        program_case_must(dt_program_add_plain(m.p->graph, DT_OP_CLIP, "sums.9", &clip, &x, &x));
    }
    x = program_case_pool(&m, DT_OP_AVGPOOL, "features.14", x, spec->sums ? &odd : &halves);
#undef CONV
    return program_case_linear(&m, "classifier", x, PROGRAM_CASE_CLASSES);
}

#endif /* PROGRAM_CASE_H */
