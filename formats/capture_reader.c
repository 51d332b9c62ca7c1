/*
 * capture_reader.c - reads a capture's file, and trusts nothing in it: shapes must fit each other, codes must fit their
 *                    bits, and every number must be one that dt_capture_save can write.
 *
 * Files of version 1 do not name dilation and groups, which are 1. The oldest do not name ranges and maps either: the
 * range is then that of their codes, and an image has one map. Whether the psums are the sums of the codes is not
 * checked; `detent verify` computes them anew. Interface: dt_capture_load in include/detent/capture.h. The format is in
 * capture_file.c.
 * Tests: tests/formats/test_capture_file.c.
 */
#include "../core/conv_params.h"
#include "graph_json.h"
#include "metadata.h"
#include "origin_json.h"
#include "utf8.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEWEST = 2 /* version */, SIDE_MOST = 1 << 20, KEPT_MOST = 1 << 24 /* a float holds every integer up to it */ };

typedef struct {
    const dt_safetensors *file;
    const char *path; /* for messages */
    dt_capture *c;
} reader;

/* The text under key as a whole number of low..high. */
static dt_status read_number(const reader *r, const char *key, int low, int high, int *out)
{
    const char *text = NULL;
    char *end = NULL;

    DT_TRY(dt_metadata_text(r->file, r->path, key, &text));
    const long value = strtol(text, &end, 10);
    DT_CHECK(end != text && *end == '\0' && value >= low && value <= high, DT_ERR_FORMAT,
             "%s: metadata '%s' is '%.40s', expected a whole number of %d..%d", r->path, key, text, low, high);
    *out = (int)value;
    return DT_OK;
}

static dt_status read_name(const reader *r, const char *key, char name[DT_NAME_MAX + 1])
{
    const char *text = NULL;

    DT_TRY(dt_metadata_text(r->file, r->path, key, &text));
    DT_CHECK(strlen(text) <= DT_NAME_MAX, DT_ERR_FORMAT, "%s: metadata '%s' is '%.80s', expected at most %d bytes",
             r->path, key, text, DT_NAME_MAX);
    DT_CHECK(dt_utf8_find_bad(text, (int64_t)strlen(text)) < 0, DT_ERR_FORMAT,
             "%s: metadata '%s' has a control character, which no layer's name has", r->path, key);
    strcpy(name, text);
    return DT_OK;
}

static dt_status find(const reader *r, const char *name, dt_safetensors_type type, int ndim,
                      const dt_safetensors_tensor **out)
{
    const dt_safetensors_tensor *t = dt_safetensors_find(r->file, name);

    DT_CHECK(t, DT_ERR_FORMAT, "%s: has no tensor '%s'", r->path, name);
    DT_CHECK(t->type == type && t->ndim == ndim, DT_ERR_FORMAT, "%s: %s is %s of %d dimensions, expected %s of %d",
             r->path, name, dt_safetensors_type_name(t->type), t->ndim, dt_safetensors_type_name(type), ndim);
    for (int i = 0; i < ndim; i++) {
        DT_CHECK(t->dim[i] > 0 && t->dim[i] <= SIDE_MOST, DT_ERR_FORMAT,
                 "%s: dimension %d of %s is %" PRId64 ", expected 1..%d", r->path, i, name, t->dim[i], SIDE_MOST);
    }
    *out = t;
    return DT_OK;
}

static dt_status read_tensor(const reader *r, const dt_safetensors_tensor *t, float **out)
{
    float *to = malloc((size_t)(t->end - t->begin));

    DT_CHECK(to, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " values of %s", r->path, t->count, t->name);
    *out = to; /* the capture's, also after a failure */
    return dt_safetensors_read(r->file, t, to);
}

static dt_status read_floats(const reader *r, const dt_safetensors_tensor *t, float **out)
{
    DT_TRY(read_tensor(r, t, out));
    for (int64_t i = 0; i < t->count; i++) {
        DT_CHECK(isfinite((*out)[i]), DT_ERR_FORMAT, "%s: %s[%" PRId64 "] is %g, expected a number", r->path, t->name,
                 i, (double)(*out)[i]);
    }
    return DT_OK;
}

/* Integers of low..high, which become floats in place. */
static dt_status read_integers(const reader *r, const dt_safetensors_tensor *t, int low, int high, float **out)
{
    DT_TRY(read_tensor(r, t, out));
    for (int64_t i = 0; i < t->count; i++) {
        int32_t value;
        memcpy(&value, &(*out)[i], sizeof value);
        const float kept = (float)value;
        DT_CHECK(value >= low && value <= high, DT_ERR_FORMAT, "%s: %s[%" PRId64 "] is %" PRId32 ", expected %d..%d",
                 r->path, t->name, i, value, low, high);
        DT_CHECK((int64_t)kept == value, DT_ERR_FORMAT, "%s: %s[%" PRId64 "] is %" PRId32 ", which no float holds",
                 r->path, t->name, i, value);
        (*out)[i] = kept;
    }
    return DT_OK;
}

/* What the bits allow; of files that do not say, what is there. */
static dt_status read_codes(const reader *r, const dt_safetensors_tensor *t, int *low, int *high, float **out)
{
    char low_key[32], high_key[32];

    snprintf(low_key, sizeof low_key, "%.16s_low", t->name);
    snprintf(high_key, sizeof high_key, "%.16s_high", t->name);
    *low = -KEPT_MOST;
    *high = KEPT_MOST;
    const int told = dt_safetensors_metadata(r->file, low_key) != NULL;
    if (told) DT_TRY(read_number(r, low_key, -KEPT_MOST, 0, low));
    if (told) DT_TRY(read_number(r, high_key, 0, KEPT_MOST, high));
    DT_TRY(read_integers(r, t, *low, *high, out));
    if (told) return DT_OK;
    *low = *high = 0;
    for (int64_t i = 0; i < t->count; i++) {
        const int code = (int)(*out)[i];
        if (code < *low) *low = code;
        if (code > *high) *high = code;
    }
    return DT_OK;
}

/* Of version 1 stride and pad alone. */
static dt_status read_form(const reader *r, int version)
{
    const dt_op *op = dt_ops[DT_OP_CONV2D];
    const dt_field_place at = { r->path, "metadata", " " };

    r->c->conv = dt_conv_square(1, 0);
    for (int i = 0; i < op->n_fields; i++) {
        const dt_field *f = &op->fields[i];
        cJSON *item = NULL;
        if (version == 1 && !dt_safetensors_metadata(r->file, f->name)) continue;
        DT_TRY(dt_metadata_json(r->file, r->path, f->name, &item));
        const dt_status status = dt_graph_read_attribute(f, &at, item, &r->c->conv);
        cJSON_Delete(item);
        DT_TRY(status);
    }
    return DT_OK;
}

static dt_status check_groups(const reader *r, int64_t channels, int64_t filters, int64_t of_filter)
{
    const int groups = r->c->conv.groups;

    DT_CHECK(channels % groups == 0 && filters % groups == 0, DT_ERR_FORMAT,
             "%s: %d groups of %" PRId64 " channels and %" PRId64 " filters; they must divide both", r->path, groups,
             channels, filters);
    DT_CHECK(of_filter == channels / groups, DT_ERR_FORMAT,
             "%s: weight has %" PRId64 " channels, input %" PRId64 " in %d groups", r->path, of_filter, channels,
             groups);
    return DT_OK;
}

static dt_status read_shapes(const reader *r, const dt_safetensors_tensor *x, const dt_safetensors_tensor *w,
                             const dt_safetensors_tensor *y)
{
    dt_capture *c = r->c;
    const dt_conv_params *conv = &c->conv;
    const int64_t padded[2] = { dt_conv_padded(conv, 0, x->dim[1]), dt_conv_padded(conv, 1, x->dim[2]) };
    const int64_t span[2] = { dt_conv_span(conv, 0, w->dim[1]), dt_conv_span(conv, 1, w->dim[2]) };
    const int64_t height = dt_conv_out_size(conv, 0, x->dim[1], w->dim[1]);
    const int64_t width = dt_conv_out_size(conv, 1, x->dim[2], w->dim[2]);

    DT_CHECK(x->dim[0] % c->maps == 0, DT_ERR_FORMAT, "%s: input has %" PRId64 " maps, expected %d for each image",
             r->path, x->dim[0], c->maps);
    DT_TRY(check_groups(r, x->dim[3], w->dim[0], w->dim[3]));
    DT_CHECK(span[0] <= padded[0] && span[1] <= padded[1], DT_ERR_FORMAT,
             "%s: a window that spans %" PRId64 "x%" PRId64 " does not fit a padded input of %" PRId64 "x%" PRId64,
             r->path, span[0], span[1], padded[0], padded[1]);
    DT_CHECK(y->dim[0] == x->dim[0] && y->dim[1] == height && y->dim[2] == width && y->dim[3] == w->dim[0],
             DT_ERR_FORMAT,
             "%s: psum is %" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64 ", input and weight give %" PRId64 "x%" PRId64
             "x%" PRId64 "x%" PRId64,
             r->path, y->dim[0], y->dim[1], y->dim[2], y->dim[3], x->dim[0], height, width, w->dim[0]);
    c->n = x->dim[0] / c->maps;
    c->height = (int)x->dim[1];
    c->width = (int)x->dim[2];
    c->channels = (int)x->dim[3];
    c->filters = (int)w->dim[0];
    c->kernel_height = (int)w->dim[1];
    c->kernel_width = (int)w->dim[2];
    c->out_height = (int)height;
    c->out_width = (int)width;
    return DT_OK;
}

static dt_status read_scales(const reader *r)
{
    const dt_safetensors_tensor *sx = NULL, *sw = NULL;
    dt_capture *c = r->c;

    DT_TRY(find(r, "input_scale", DT_SAFETENSORS_F32, 1, &sx));
    DT_TRY(find(r, "weight_scale", DT_SAFETENSORS_F32, 1, &sw));
    DT_CHECK(sx->count == 1, DT_ERR_FORMAT, "%s: input_scale has %" PRId64 " values, expected 1", r->path, sx->count);
    DT_CHECK(sw->count == 1 || sw->count == c->filters, DT_ERR_FORMAT,
             "%s: weight_scale has %" PRId64 " values, expected 1 or one for each of %d filters", r->path, sw->count,
             c->filters);
    DT_TRY(dt_safetensors_read(r->file, sx, &c->sx));
    DT_CHECK(isfinite(c->sx), DT_ERR_FORMAT, "%s: input_scale is %g, expected a number", r->path, (double)c->sx);
    c->n_sw = (int)sw->count;
    return read_floats(r, sw, &c->sw);
}

/* Both are optional. */
static dt_status read_neighbours(const reader *r, const dt_safetensors_tensor *x)
{
    const dt_safetensors_tensor *from = NULL, *next = NULL;
    dt_capture *c = r->c;

    if (dt_safetensors_find(r->file, "input_float")) {
        DT_TRY(find(r, "input_float", DT_SAFETENSORS_F32, 4, &from));
        DT_CHECK(memcmp(from->dim, x->dim, 4 * sizeof x->dim[0]) == 0, DT_ERR_FORMAT,
                 "%s: input_float is %" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64 ", input is %" PRId64 "x%" PRId64
                 "x%" PRId64 "x%" PRId64,
                 r->path, from->dim[0], from->dim[1], from->dim[2], from->dim[3], x->dim[0], x->dim[1], x->dim[2],
                 x->dim[3]);
        DT_TRY(read_floats(r, from, &c->input_float));
    }
    if (!dt_safetensors_find(r->file, "next_input")) return DT_OK;
    DT_TRY(find(r, "next_input", DT_SAFETENSORS_F32, 4, &next));
    DT_TRY(read_name(r, "next_layer", c->next_layer));
    DT_TRY(read_number(r, "next_maps", 1, SIDE_MOST, &c->next_maps));
    DT_CHECK(next->dim[0] == c->n * c->next_maps, DT_ERR_FORMAT,
             "%s: next_input has %" PRId64 " maps, expected %d for each of %" PRId64 " images", r->path, next->dim[0],
             c->next_maps, c->n);
    c->next_height = (int)next->dim[1];
    c->next_width = (int)next->dim[2];
    c->next_channels = (int)next->dim[3];
    return read_floats(r, next, &c->next_input);
}

static dt_status read_capture(const reader *r)
{
    const dt_safetensors_tensor *x = NULL, *w = NULL, *y = NULL;
    dt_capture *c = r->c;
    int version = 0;

    DT_TRY(dt_metadata_version(r->file, r->path, "detent-capture", 1, NEWEST, &version));
    DT_TRY(read_name(r, "layer", c->layer));
    c->maps = 1;
    if (dt_safetensors_metadata(r->file, "maps")) DT_TRY(read_number(r, "maps", 1, SIDE_MOST, &c->maps));
    DT_TRY(read_form(r, version));
    DT_TRY(find(r, "input", DT_SAFETENSORS_I32, 4, &x));
    DT_TRY(find(r, "weight", DT_SAFETENSORS_I32, 4, &w));
    DT_TRY(find(r, "psum", DT_SAFETENSORS_I32, 4, &y));
    DT_TRY(read_shapes(r, x, w, y));
    DT_TRY(read_codes(r, x, &c->x_low, &c->x_high, &c->qx));
    DT_TRY(read_codes(r, w, &c->w_low, &c->w_high, &c->qw));
    DT_TRY(read_integers(r, y, INT_MIN + 1, INT_MAX, &c->psum));
    DT_TRY(read_scales(r));
    DT_TRY(dt_origin_read(r->file, r->path, 0, &c->origin)); /* how many channels the image had is not told */
    return read_neighbours(r, x);
}

dt_status dt_capture_load(const char *path, dt_capture **out)
{
    dt_safetensors *file;
    dt_capture *c = calloc(1, sizeof *c);

    DT_CHECK(c, DT_ERR_MEMORY, "%s: no memory for a capture", path);
    dt_status s = dt_safetensors_open(path, &file);
    if (s == DT_OK) {
        const reader r = { file, path, c };
        s = read_capture(&r);
        dt_safetensors_close(file);
    }
    if (s != DT_OK) {
        dt_capture_destroy(c);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = c;
    return DT_OK;
}
