/*
 * vectors.c - makes the texts of one image of a captured layer.
 *
 * Interface: vectors.h; what a lane holds: vector_layout.c.
 * Tests: tests/accel/test_vectors.c, tests/accel/test_vectors_layouts.c.
 */
#include "vector_layout.h"

#include "../../core/names.h"
#include "vector_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MOST = 1 << 20 };

/* n integers of low..high, held in floats. */
typedef struct {
    const char *what;
    const float *code;
    int64_t n;
    int low, high;
} held_codes;

/* To a new array. */
static dt_status take_codes(const char *layer, const held_codes *c, int32_t **out)
{
    int32_t *to = malloc((size_t)c->n * sizeof *to);

    DT_CHECK(to, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " codes", layer, c->n);
    *out = to; /* the caller frees it, also after a failure */
    for (int64_t i = 0; i < c->n; i++) {
        const float code = c->code[i];
        DT_CHECK(code >= (float)c->low && code <= (float)c->high && code == rintf(code), DT_ERR_NUMERIC,
                 "%s: %s code %" PRId64 " is %.9g, expected an integer of %d..%d", layer, c->what, i, (double)code,
                 c->low, c->high);
        to[i] = (int32_t)code;
    }
    return DT_OK;
}

static dt_status check_call(const dt_capture *c, const char *layer, const dt_array *array, const dt_vector_style *style)
{
    const dt_layout layout = style->layout;
    const int needs_pairs = layout == DT_LAYOUT_PACK_A || layout == DT_LAYOUT_PACK_B || layout == DT_LAYOUT_PACK_C;

    DT_TRY(dt_array_check(array));
    DT_TRY(dt_check_word("layout", (int)layout, dt_layout_names));
    DT_CHECK(c->n > 0, DT_ERR_ARGUMENT, "%s: the capture holds no image", layer);
    DT_CHECK(array->overflow == DT_OVERFLOW_WRAP, DT_ERR_ARGUMENT,
             "%s: vectors hold psums that wrap; set the array's overflow to wrap (--overflow wrap)", layer);
    DT_CHECK(array->dataflow == DT_DATAFLOW_WS || layout == DT_LAYOUT_OUTPUT_STATIONARY, DT_ERR_ARGUMENT,
             "%s: layout %s is for a weight stationary array; choose --layout output-stationary, or --dataflow ws",
             layer, dt_layout_names[layout]);
    DT_CHECK(array->simd == 0 || (array->simd == 2) == needs_pairs, DT_ERR_ARGUMENT,
             "%s: layout %s needs simd %d, it is %d; choose --simd auto, which is what the layout needs", layer,
             dt_layout_names[layout], needs_pairs ? 2 : 1, array->simd);
    DT_CHECK(!needs_pairs || (c->x_low >= 0 && c->x_high <= 3), DT_ERR_ARGUMENT,
             "%s: activation codes of %d..%d do not fit layout %s, whose lanes have 2 bits and no sign; choose "
             "--layout course, or train with --abits 2",
             layer, c->x_low, c->x_high, dt_layout_names[layout]);
    DT_CHECK(style->header_lines >= DT_HEADER_OF_LAYOUT && style->header_lines <= DT_HEADER_LINES_MOST, DT_ERR_ARGUMENT,
             "%s: %d header lines, expected 0..%d, or %d for those of the layout", layer, style->header_lines,
             DT_HEADER_LINES_MOST, DT_HEADER_OF_LAYOUT);
    DT_CHECK(isfinite(c->sx) && c->n_sw > 0, DT_ERR_NUMERIC, "%s: the scale of its codes is %g", layer, (double)c->sx);
    for (int i = 0; i < c->n_sw; i++) {
        DT_CHECK(isfinite(c->sw[i]), DT_ERR_NUMERIC, "%s: weight scale %d is %g", layer, i, (double)c->sw[i]);
    }
    return DT_OK;
}

/* Everything that the list of files follows from. */
static dt_status describe(const dt_capture *c, const char *layer, const dt_array *array, const dt_vector_style *style,
                          dt_vectors *v)
{
    v->layout = style->layout;
    v->header_lines = style->header_lines;
    DT_CHECK((size_t)snprintf(v->layer, sizeof v->layer, "%s", layer) < sizeof v->layer, DT_ERR_ARGUMENT,
             "%.80s: a layer's name has at most %zu characters", layer, sizeof v->layer - 1);
    v->rows = array->rows;
    v->cols = array->cols;
    v->psum_bits = array->psum_bits;
    v->activation_signed = c->x_low < 0;
    v->activation_bits = dt_psum_bits(c->x_low, c->x_high) - !v->activation_signed; /* unsigned: no bit for a sign */
    v->weight_bits = dt_psum_bits(c->w_low, c->w_high);
    v->shape = dt_psum_shape_of_capture(c);
    v->origin = c->origin;
    v->sx = c->sx;
    v->n_sw = c->n_sw;
    v->sw = malloc((size_t)c->n_sw * sizeof *v->sw);
    DT_CHECK(v->sw, DT_ERR_MEMORY, "%s: no memory for %d scales", layer, c->n_sw);
    memcpy(v->sw, c->sw, (size_t)c->n_sw * sizeof *v->sw);
    return DT_OK;
}

static dt_status write_file(dt_vectors *v, const dt_vector_codes *codes, dt_vector_file *f)
{
    const int counted = f->role == DT_VECTOR_TAP_PSUM || f->role == DT_VECTOR_OUTPUT;

    DT_TRY(dt_vector_text_begin(v, f));
    char *data = dt_vector_text_data(f);
    for (int line = 0; line < f->lines; line++) {
        for (int lane = 0; lane < f->lanes; lane++) {
            const int64_t value = dt_vector_value(v, codes, f, line, lane);
            v->n_overflows += counted && value != dt_vector_wrap(value, f->bits);
            dt_vector_text_put(f, data, line, lane, value);
        }
    }
    DT_TRY(dt_vector_text_twin(f, f + v->n_files / 2));
    return DT_OK;
}

static dt_status make(const dt_capture *c, dt_vectors *v, dt_vector_codes *codes)
{
    const dt_psum_shape *s = &v->shape;
    const int64_t n_x = (int64_t)s->height * s->width * s->channels;
    const int64_t n_w = (int64_t)s->filters * s->window_height * s->window_width * dt_psum_group_channels(s);

    DT_TRY(dt_vectors_list(v, FILES_MOST, v->layer, DT_ERR_ARGUMENT));
    DT_CHECK(s->out_height == c->out_height && s->out_width == c->out_width, DT_ERR_SHAPE,
             "%s: its output is %dx%d, window, stride, pad and dilation give %dx%d", v->layer, c->out_height,
             c->out_width, s->out_height, s->out_width);
    const held_codes x = { "activation", c->qx, n_x, c->x_low, c->x_high };
    const held_codes w = { "weight", c->qw, n_w, c->w_low, c->w_high };
    DT_TRY(take_codes(v->layer, &x, &codes->x));
    DT_TRY(take_codes(v->layer, &w, &codes->w));
    for (int i = 0; i < v->n_files / 2; i++) DT_TRY(write_file(v, codes, &v->file[i]));
    return DT_OK;
}

dt_status dt_vectors_make(const dt_capture *c, const char *layer, const dt_array *array, const dt_vector_style *style,
                          dt_vectors **out)
{
    dt_vector_codes codes = { NULL, NULL };

    DT_TRY(check_call(c, layer, array, style));
    dt_vectors *v = calloc(1, sizeof *v);
    DT_CHECK(v, DT_ERR_MEMORY, "%s: no memory for vectors", layer);
    dt_status s = describe(c, layer, array, style, v);
    if (s == DT_OK) s = make(c, v, &codes);
    free(codes.x);
    free(codes.w);
    if (s != DT_OK) {
        dt_vectors_destroy(v);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = v;
    return DT_OK;
}

void dt_vectors_destroy(dt_vectors *v)
{
    if (!v) return;
    for (int i = 0; i < v->n_files; i++) free(v->file[i].text);
    free(v->file);
    free(v->sw);
    free(v);
}
