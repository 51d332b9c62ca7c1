/*
 * vector_cases.h - captures for the tests of exported vectors: formulas and random codes, each in one struct that
 *                  needs no release.
 */
#ifndef VECTOR_CASES_H
#define VECTOR_CASES_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../accel/vectors/vectors.h"

enum { CASE_CODES = 1 << 16 };

typedef struct {
    dt_capture capture;
    float qx[CASE_CODES], qw[CASE_CODES], sw[1];
} vector_case;

typedef struct {
    int height, width, channels, filters, window[2];
    dt_conv_params conv;
} case_geometry;

/* Codes are 0 until they are filled; outputs follow from the rest. */
static inline void case_shape_of(vector_case *t, const case_geometry *g)
{
    memset(t, 0, sizeof *t);
    t->sw[0] = 0.125f;
    t->capture = (dt_capture){ .n = 1,
                               .maps = 1,
                               .height = g->height,
                               .width = g->width,
                               .channels = g->channels,
                               .out_height = (int)dt_conv_out_size(&g->conv, 0, g->height, g->window[0]),
                               .out_width = (int)dt_conv_out_size(&g->conv, 1, g->width, g->window[1]),
                               .filters = g->filters,
                               .kernel_height = g->window[0],
                               .kernel_width = g->window[1],
                               .conv = g->conv,
                               .x_high = 15,
                               .w_low = -7,
                               .w_high = 7,
                               .qx = t->qx,
                               .qw = t->qw,
                               .sx = 0.5f,
                               .sw = t->sw,
                               .n_sw = 1 };
    cr_assert(g->height * g->width * g->channels <= CASE_CODES &&
              g->filters * g->window[0] * g->window[1] * g->channels / g->conv.groups <= CASE_CODES);
}

static inline void case_shape(vector_case *t, int height, int width, int channels, int filters, int kernel, int stride,
                              int pad)
{
    case_shape_of(
        t, &(case_geometry){ height, width, channels, filters, { kernel, kernel }, DT_CONV_SQUARE(stride, pad) });
}

/* Not rng.h: the checksums of first_version in test_vector_folder.c are of files with these numbers. */
static inline uint32_t case_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Random codes of abits and wbits, narrow range (-7..7). */
static inline void case_fill_random(vector_case *t, int abits, int wbits, uint32_t seed)
{
    dt_capture *c = &t->capture;
    const int w_high = (1 << (wbits - 1)) - 1;

    c->x_high = (1 << abits) - 1;
    c->w_low = -w_high;
    c->w_high = w_high;
    for (int i = 0; i < c->height * c->width * c->channels; i++) {
        t->qx[i] = (float)(case_random(&seed) % (uint32_t)(c->x_high + 1));
    }
    for (int i = 0; i < c->filters * c->kernel_height * c->kernel_width * c->channels / c->conv.groups; i++) {
        t->qw[i] = (float)((int)(case_random(&seed) % (uint32_t)(2 * w_high + 1)) - w_high);
    }
}

/* Shapes that do and do not divide into tiles. */
typedef struct {
    const char *why;
    int height, width, channels, filters, kernel, stride, pad, abits, wbits;
} case_size;

static const case_size case_sizes[] = {
    { "one tile", 4, 4, 8, 8, 3, 1, 1, 2, 4 },
    { "ragged channels and filters, oblong", 3, 5, 11, 13, 3, 1, 1, 2, 4 },
    { "more than two tiles", 2, 3, 33, 17, 3, 1, 1, 2, 4 },
    { "one channel, one filter", 3, 3, 1, 1, 1, 1, 0, 2, 4 },
    { "stride 2", 7, 7, 9, 8, 3, 2, 1, 2, 3 },
    { "stride jumps over inputs", 5, 5, 8, 9, 1, 2, 0, 2, 4 },
    { "window as large as the input", 3, 3, 5, 7, 3, 1, 0, 2, 2 },
    { "wide pad", 2, 2, 3, 3, 3, 1, 2, 2, 4 },
    { "oblong, one tile", 3, 5, 8, 7, 3, 2, 1, 2, 4 },
    { "8-bit weights", 3, 3, 10, 3, 3, 1, 1, 2, 8 },
};
enum { N_CASE_SIZES = sizeof case_sizes / sizeof case_sizes[0] };

static inline void case_random_of(vector_case *t, const case_size *s, uint32_t seed)
{
    case_shape(t, s->height, s->width, s->channels, s->filters, s->kernel, s->stride, s->pad);
    case_fill_random(t, s->abits, s->wbits, seed);
}

/* Convolutions of all other forms. Groups: on 8 rows and 8 columns. */
typedef struct {
    const char *why;
    case_geometry geometry;
} case_form;

#define CASE_GROUPS(n)                                                                 \
    {                                                                                  \
        .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = (n), .pad = { 1, 1, 1, 1 } \
    }
static const case_form case_forms[] = {
    { "depthwise, two blocks", { 3, 5, 11, 11, { 3, 3 }, CASE_GROUPS(11) } },
    { "depthwise, one block", { 4, 3, 5, 5, { 3, 3 }, CASE_GROUPS(5) } },
    { "one channel, two filters", { 3, 3, 5, 10, { 3, 3 }, CASE_GROUPS(5) } },
    { "one channel, more filters than columns", { 3, 3, 2, 18, { 3, 3 }, CASE_GROUPS(2) } },
    { "three channels, two filters", { 3, 4, 15, 10, { 3, 3 }, CASE_GROUPS(5) } },
    { "five channels: one group at a time", { 3, 3, 15, 9, { 3, 3 }, CASE_GROUPS(3) } },
    { "more channels than rows, one filter", { 3, 3, 51, 3, { 3, 3 }, CASE_GROUPS(3) } },
    { "groups of several tiles both ways", { 3, 2, 38, 22, { 2, 2 }, CASE_GROUPS(2) } },
    { "strides", { 7, 5, 9, 3, { 3, 3 }, { { 3, 2 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 } } },
    { "strides that jump over inputs", { 5, 7, 3, 9, { 1, 1 }, { { 2, 3 }, { 0, 0, 0, 0 }, { 1, 1 }, 1 } } },
    { "pads", { 2, 3, 3, 2, { 3, 3 }, { { 1, 1 }, { 0, 1, 3, 2 }, { 1, 1 }, 1 } } },
    { "dilations", { 7, 5, 2, 3, { 3, 3 }, { { 1, 1 }, { 1, 1, 1, 1 }, { 3, 2 }, 1 } } },
    { "a row", { 1, 9, 3, 3, { 1, 3 }, { { 1, 2 }, { 0, 1, 0, 1 }, { 1, 1 }, 1 } } },
    { "a column", { 9, 2, 3, 3, { 3, 1 }, { { 2, 1 }, { 1, 0, 0, 0 }, { 2, 1 }, 1 } } },
    { "all at once", { 5, 7, 33, 22, { 2, 3 }, { { 2, 3 }, { 3, 0, 1, 2 }, { 2, 3 }, 11 } } },
    { "depthwise, all at once", { 5, 7, 9, 9, { 3, 2 }, { { 2, 1 }, { 0, 2, 1, 0 }, { 1, 2 }, 9 } } },
};
enum { N_CASE_FORMS = sizeof case_forms / sizeof case_forms[0] };

static inline void case_random_form(vector_case *t, const case_form *f, uint32_t seed)
{
    case_shape_of(t, &f->geometry);
    case_fill_random(t, 2, 4, seed);
}

/* The worked example: 4x4, 3x3 window, pad 1, x = (c + row_step h + w) mod (x_high + 1), w = ((3o + 5i + 2r + s) mod
 * 15) - 7. */
static inline void case_fill_example(vector_case *t, int channels, int row_step, int x_high)
{
    case_shape(t, 4, 4, channels, channels, 3, 1, 1);
    t->capture.x_high = x_high;
    for (int h = 0; h < 4; h++) {
        for (int w = 0; w < 4; w++) {
            for (int c = 0; c < channels; c++) {
                t->qx[(h * 4 + w) * channels + c] = (float)((c + row_step * h + w) % (x_high + 1));
            }
        }
    }
    for (int o = 0; o < channels; o++) {
        for (int rs = 0; rs < 9; rs++) {
            for (int i = 0; i < channels; i++) {
                t->qw[(o * 9 + rs) * channels + i] = (float)((3 * o + 5 * i + 2 * (rs / 3) + rs % 3) % 15 - 7);
            }
        }
    }
}

static inline dt_array case_array(void)
{
    dt_array array;

    dt_array_default(&array);
    return array;
}

static inline dt_vector_style case_style(dt_layout layout)
{
    return (dt_vector_style){ layout, DT_HEADER_OF_LAYOUT };
}

static inline dt_vectors *case_make_styled(const vector_case *t, dt_vector_style style)
{
    const dt_array array = case_array();
    dt_vectors *v = NULL;

    cr_assert(eq(int, (int)dt_vectors_make(&t->capture, "features.27", &array, &style, &v), DT_OK), "%s: %s",
              dt_layout_names[style.layout], dt_last_error());
    return v;
}

/* The vectors of an 8x8 array with 16 bits. */
static inline dt_vectors *case_make(const vector_case *t, dt_layout layout)
{
    return case_make_styled(t, case_style(layout));
}

/* Behind the header. */
static inline const char *case_data(const dt_vector_file *f)
{
    const char *at = f->text;

    for (int i = 0; i < f->header_lines; i++) at = strchr(at, '\n') + 1;
    return at;
}

static inline dt_vector_file *case_file(const dt_vectors *v, const char *name)
{
    dt_vector_file *found = NULL;

    for (int i = 0; i < v->n_files; i++) {
        if (strcmp(v->file[i].name, name) == 0) found = &v->file[i];
    }
    cr_assert(ne(ptr, found, NULL), "there is no file %s", name);
    return found;
}

/* Data line `line` of a file, without its newline. */
static inline const char *line_of(const dt_vectors *v, const char *name, int line)
{
    static char text[4096];
    const char *at = case_data(case_file(v, name));

    for (; line > 0; line--) at = strchr(at, '\n') + 1;
    snprintf(text, sizeof text, "%.*s", (int)strcspn(at, "\n"), at);
    return text;
}

/* A lane read with no help from the library. */
static inline long lane_of(const dt_vectors *v, const char *name, int line, int lane, int bits, int is_signed)
{
    char text[40] = "";

    memcpy(text, line_of(v, name, line) + lane * bits, (size_t)bits);
    const long value = strtol(text, NULL, 2);
    return is_signed && text[0] == '1' ? value - (1L << bits) : value;
}

/* A lane by counting characters. */
static inline long value_at(const dt_vector_file *f, int line, int lane)
{
    const char *at = case_data(f) + line * (f->lanes * f->bits + 1) + lane * f->bits;
    long value = f->is_signed && *at == '1' ? -1 : 0;

    for (int bit = 0; bit < f->bits; bit++) value = 2 * value + (at[bit] == '1');
    return value;
}

#endif /* VECTOR_CASES_H */
