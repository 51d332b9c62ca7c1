/*
 * program_c.c - a program as C99: NAME.h with two functions, NAME.c with the layers and constants that they need.
 *
 * NAME.c has, in order: a comment with the layers and sizes; the functions of the kinds that occur (program_c_text.h);
 * each layer's constants and descriptor; the buffers (program_c_layers.h); NAME_run, with one call for each layer.
 * Scores have the bits of dt_program_run, whatever a compiler fuses (see affine and linear in program_c_text.h). Equal
 * programs give equal text.
 *
 * Interface: dt_program_write_c in include/detent/array.h.  Tests: tests/formats/test_program_c.c.
 */
#include "../../core/conv_params.h"
#include "../../quant/program/program_build.h"
#include "program_c_layers.h"
#include "program_c_text.h"
#include "../whole_file.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 116, MOST_NAME = 48, MOST_ELEMENT = 40, PIXEL_VALUES = 256 };
enum { NAME_BYTES = DT_NAME_MAX + 1 };

typedef struct {
    dt_c_program of;
    const char *name;
    char capitals[MOST_NAME + 1];
} source;

/* ---- constants ---- */

/* Writes element i as C, and returns the characters. */
typedef int (*element_text)(char *text, const void *array, int64_t i);

static int int8_text(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%d", ((const int8_t *)array)[i]);
}

static int int16_text(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%d", ((const int16_t *)array)[i]);
}

/* INT32_MIN has no literal: -2147483648 is a minus before a number that is too large. */
static int int32_text(char *text, const void *array, int64_t i)
{
    const int32_t v = ((const int32_t *)array)[i];

    if (v == INT32_MIN || v == INT32_MAX) return sprintf(text, "%s", v < 0 ? "INT32_MIN" : "INT32_MAX");
    return sprintf(text, "%" PRId32, v);
}

static int int64_text(char *text, const void *array, int64_t i)
{
    return sprintf(text, "INT64_C(%" PRId64 ")", ((const int64_t *)array)[i]);
}

/* Nine digits give the same float everywhere; a literal needs a point or an exponent before its f. */
static int float_text(char *text, const void *array, int64_t i)
{
    const int n = sprintf(text, "%.9g", (double)((const float *)array)[i]);

    return n + sprintf(text + n, "%s", strpbrk(text, ".e") ? "f" : ".0f");
}

/* A type of C, and how its elements are written. */
typedef struct {
    const char *type;
    element_text text;
} element;

static const element of_int8 = { "int8_t", int8_text }, of_int32 = { "int32_t", int32_text },
                     of_int64 = { "int64_t", int64_text }, of_float = { "float", float_text },
                     of_codes = { "code", int16_text };

static void put_array(FILE *file, const element *e, const char *name, const void *array, int64_t n)
{
    char line[MOST_COLUMNS + MOST_ELEMENT];
    int used = 0;

    fprintf(file, "static const %s %s[%" PRId64 "] = {", e->type, name, n);
    for (int64_t i = 0; i < n; i++) {
        char text[MOST_ELEMENT];
        const int length = e->text(text, array, i);
        if (i == 0 || used + length + 2 > MOST_COLUMNS) {
            fprintf(file, "%.*s\n   ", used, line);
            used = 0;
        }
        line[used++] = ' ';
        memcpy(line + used, text, (size_t)length);
        used += length;
        line[used++] = ',';
    }
    fprintf(file, "%.*s\n};\n", used, line);
}

static void put_member(FILE *file, int i, const element *e, const char *member, const void *array, int64_t n)
{
    char name[64];

    snprintf(name, sizeof name, "layer_%d_%s", i, member);
    put_array(file, e, name, array, n);
}

/* A name that cannot end a comment. */
static const char *safe(const char *name, char text[NAME_BYTES])
{
    size_t i = 0;

    for (; name[i] && i < NAME_BYTES - 1; i++)
        text[i] = isalnum((unsigned char)name[i]) || strchr(" ._-+", name[i]) ? name[i] : '_';
    text[i] = '\0';
    return text;
}

/* ---- one layer ---- */

static const void *data_of(const dt_c_program *c, int i, int k)
{
    return dt_program_data(c->p, c->layer[i].n, k);
}

static int is_multiplied(const dt_c_program *c, int i)
{
    const dt_graph_node *n = c->layer[i].n;

    return n->kind == DT_OP_THRESHOLD && dt_program_requant(c->p, n).multiplier;
}

/* One group, no dilation, and the same stride and pad on all sides. */
static int is_plain(const dt_conv_params *p)
{
    const dt_conv_params plain = dt_conv_square(p->stride[0], p->pad[0]);

    return memcmp(p, &plain, sizeof plain) == 0;
}

/* Every layer of psums is a convolution, and plain: then the shorter text serves. */
static int all_plain(const dt_c_program *c)
{
    for (int i = 0; i < c->n_layers; i++) {
        const dt_graph_node *n = c->layer[i].n;
        if (dt_c_makes_psums(&c->layer[i]) && (n->kind != DT_OP_CONV2D || !is_plain(n->params))) return 0;
    }
    return 1;
}

static int one_text(char *text, const void *array, int64_t i)
{
    (void)array;
    (void)i;
    return sprintf(text, "1");
}

static const element of_ones = { "int8_t", one_text };

/* "codes_3": what layer i gives. */
static const char *buffer_name(const dt_c_program *c, int i, char text[32])
{
    if (i == c->n_layers - 1) return "scores";
    snprintf(text, 32, "%s_%d", c->layer[i].y.kind == DT_VALUE_CODE ? "codes" : "reals", c->layer[i].buffer);
    return text;
}

static void put_conv(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_c_conv v = dt_c_program_conv(c, i);
    const dt_conv_params *conv = &v.conv;
    const int R = v.window[0], S = v.window[1];
    const int64_t n = (int64_t)l->y.channels * R * S * v.channels;
    char other[32];

    put_member(file, i, v.weight ? &of_int8 : &of_ones, "weight", v.weight, n);
    if (all_plain(c)) {
        fprintf(file, "static const conv_layer layer_%d = { %d, %d, %d, %d, %d, %d, %d, %d, layer_%d_weight };\n", i,
                l->x.height, l->x.width, l->x.channels, l->y.channels, R, S, conv->stride[0], conv->pad[0], i);
        return;
    }
    fprintf(file,
            "static const conv_layer layer_%d = { %d, %d, %d, %d, %d, %d, %d, { %d, %d }, { %d, %d }, { %d, %d },\n"
            "    layer_%d_weight, %s };\n",
            i, l->x.height, l->x.width, l->x.channels, l->y.channels, conv->groups, R, S, conv->stride[0],
            conv->stride[1], conv->pad[0], conv->pad[1], conv->dilation[0], conv->dilation[1], i,
            l->n_in > 1 ? buffer_name(c, l->in[1], other) : "0");
}

static void put_threshold(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int n_steps = l->y.high - l->y.low;

    put_member(file, i, &of_int8, "sign", data_of(c, i, DT_THRESHOLD_SIGN), l->y.channels);
    put_member(file, i, &of_int32, "threshold", data_of(c, i, DT_THRESHOLD_STEPS), (int64_t)n_steps * l->y.channels);
    fprintf(file,
            "static const threshold_layer layer_%d = { &layer_%d, %d, %d, %d, %d, layer_%d_sign, "
            "layer_%d_threshold };\n",
            i, l->in[0], l->y.height, l->y.width, l->y.low, n_steps, i, i);
}

static void put_multiplier(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_requant r = dt_program_requant(c->p, l->n);

    put_member(file, i, &of_int32, "multiplier", r.multiplier, l->y.channels);
    put_member(file, i, &of_int64, "offset", r.offset, l->y.channels);
    put_member(file, i, &of_int32, "shift", r.shift, l->y.channels);
    fprintf(file,
            "static const multiplier_layer layer_%d = { &layer_%d, %d, %d, %d, %d,\n    layer_%d_multiplier, "
            "layer_%d_offset, layer_%d_shift };\n",
            i, l->in[0], l->y.height, l->y.width, l->y.low, l->y.high, i, i, i);
}

static void put_affine(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    put_member(file, i, &of_float, "slope", data_of(c, i, DT_AFFINE_SLOPE), l->y.channels);
    put_member(file, i, &of_float, "offset", data_of(c, i, DT_AFFINE_OFFSET), l->y.channels);
    fprintf(file, "static const affine_layer layer_%d = { &layer_%d, %d, %d, layer_%d_slope, layer_%d_offset };\n", i,
            l->in[0], l->y.height, l->y.width, i, i);
}

static void put_pool(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_pool_params *pool = l->n->params;

    fprintf(file,
            "static const pool_layer layer_%d = { %d, %d, %d, %d, %d, { %d, %d }, { %d, %d }, { %d, %d }, %d };\n", i,
            l->x.height, l->x.width, l->x.channels, l->y.height, l->y.width, pool->window[0], pool->window[1],
            pool->stride[0], pool->stride[1], pool->pad[0], pool->pad[1], pool->count_include_pad);
}

/* LSQ clamps steps, the other rules units of the clip: grid.h. */
static void put_quantize(FILE *file, const dt_c_program *c, int i)
{
    const dt_value *y = &c->layer[i].y;
    const int lsq = ((const dt_act_quant_params *)c->layer[i].n->params)->rule == DT_RULE_LSQ;
    const int floor = lsq ? y->low : y->low < 0 ? -1 : 0;
    char alpha[MOST_ELEMENT];

    float_text(alpha, data_of(c, i, DT_QUANT_ALPHA), 0);
    fprintf(file, "static const quantize_layer layer_%d = { %" PRId64 ", %s, %d.0f, %d.0f, %d.0f };\n", i,
            dt_value_count(y), alpha, floor, lsq ? y->high : 1, lsq ? 1 : y->high);
}

static void put_linear(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int64_t inputs = dt_value_count(&l->x);

    put_member(file, i, &of_float, "matrix", data_of(c, i, DT_LINEAR_MATRIX), inputs * l->y.channels);
    put_member(file, i, &of_float, "bias", data_of(c, i, DT_LINEAR_BIAS), l->y.channels);
    fprintf(file, "static const linear_layer layer_%d = { %" PRId64 ", %d, layer_%d_matrix, layer_%d_bias };\n", i,
            inputs, l->y.channels, i, i);
}

/* Others have nothing but their count. */
static void (*const put_constants[DT_OP_COUNT])(FILE *file, const dt_c_program *c, int i) = {
    [DT_OP_THRESHOLD] = put_threshold, [DT_OP_AFFINE] = put_affine,      [DT_OP_MAXPOOL] = put_pool,
    [DT_OP_AVGPOOL] = put_pool,        [DT_OP_ACT_QUANT] = put_quantize, [DT_OP_LINEAR] = put_linear,
};

static const char *layer_name(const dt_c_program *c, int i, char text[NAME_BYTES])
{
    return safe(dt_program_layer_name(c->p, c->layer[i].n), text);
}

static void put_layer(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    char name[NAME_BYTES];

    const int makes_psums = dt_c_makes_psums(l);

    if (makes_psums ? l->last_reader < 0 : !put_constants[l->n->kind]) return;
    fprintf(file, "/* %s: %s */\n", l->kind, layer_name(c, i, name));
    if (makes_psums)
        put_conv(file, c, i);
    else if (is_multiplied(c, i))
        put_multiplier(file, c, i);
    else
        put_constants[l->n->kind](file, c, i);
    fputc('\n', file);
}

/* ---- functions ---- */

/* The upper limit of a ReLU; 0: none. */
static float relu_limit(const dt_c_program *c, int i)
{
    return ((const dt_relu_params *)c->layer[i].n->params)->most;
}

static void put_functions(FILE *file, const source *s)
{
    const dt_c_program *c = &s->of;
    int has[DT_OP_COUNT] = { 0 }, steps = 0, multiplies = 0, relus[2] = { 0 }, pools[DT_VALUE_REAL + 1] = { 0 };

    for (int i = 0; i < c->n_layers; i++) {
        const dt_op_kind kind = c->layer[i].n->kind;
        if (dt_c_makes_psums(&c->layer[i])) continue;
        has[kind] = 1;
        if (kind == DT_OP_THRESHOLD) *(is_multiplied(c, i) ? &multiplies : &steps) = 1;
        if (kind == DT_OP_MAXPOOL) pools[c->layer[i].y.kind] = 1;
        if (kind == DT_OP_RELU) relus[relu_limit(c, i) > 0.0f] = 1;
    }
    fputs(all_plain(c) ? conv_text : general_conv_text, file);
    if (steps) fputs(threshold_text, file);
    if (multiplies) fputs(multiplier_text, file);
    if (has[DT_OP_AFFINE]) fputs(affine_text, file);
    if (relus[0]) fputs(relu_text, file);
    if (relus[1]) fputs(limit_text, file);
    if (has[DT_OP_CLIP]) fputs(clip_text, file);
    if (has[DT_OP_ADD]) fputs(add_text, file);
    if (has[DT_OP_CONCAT]) fputs(concat_text, file);
    if (has[DT_OP_MAXPOOL] || has[DT_OP_AVGPOOL]) fputs(pool_text, file);
    if (pools[DT_VALUE_CODE]) fprintf(file, maxpool_text, "codes", "code");
    if (pools[DT_VALUE_REAL]) fprintf(file, maxpool_text, "reals", "float");
    if (has[DT_OP_AVGPOOL]) fputs(avgpool_text, file);
    if (has[DT_OP_ACT_QUANT]) fputs(quantize_text, file);
    if (has[DT_OP_LINEAR]) fputs(linear_text, file);
    fprintf(file, pixels_text, s->capitals);
}

static void put_relu(FILE *file, float most, int64_t count, const char *a, const char *y)
{
    char text[MOST_ELEMENT];

    float_text(text, &most, 0);
    if (most > 0.0f)
        fprintf(file, "    limit(%" PRId64 ", %s, %s, %s);", count, text, a, y);
    else
        fprintf(file, "    relu(%" PRId64 ", %s, %s);", count, a, y);
}

static void put_clip(FILE *file, const dt_clip_params *p, int64_t count, const char *a, const char *y)
{
    char low[MOST_ELEMENT], high[MOST_ELEMENT];

    float_text(low, &p->low, 0);
    float_text(high, &p->high, 0);
    fprintf(file, "    clip(%" PRId64 ", %s, %s, %s, %s);", count, low, high, a, y);
}

/* A call a part. */
static void put_concat(FILE *file, const dt_c_program *c, int i, const char *y)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_graph *g = c->p->graph;
    const int axis = ((const dt_concat_params *)l->n->params)->axis;
    const int64_t count = dt_value_count(&l->y);
    int64_t rows = 1, at = 0;

    for (int a = 1; a < axis; a++) rows *= dt_graph_shape(g, l->n->out)->dim[a];
    for (int k = 0; k < l->n_in; k++) {
        const int64_t length = dt_graph_count(g, l->n->in[k]) / rows;
        char x[32];
        fprintf(file, "%s    part(%s, %" PRId64 ", %" PRId64 ", %s + %" PRId64 ", %" PRId64 ");", k ? "\n" : "",
                buffer_name(c, l->in[k], x), rows, length, y, at, count / rows);
        at += length;
    }
}

static void put_call(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_op_kind kind = l->n->kind;
    const int64_t count = dt_value_count(&l->y);
    char a_text[32], b_text[32], y_text[32], name[NAME_BYTES];

    if (dt_c_makes_psums(l)) return;
    const char *a = buffer_name(c, dt_c_program_source(c, i, 0), a_text), *y = buffer_name(c, i, y_text);
    if (kind == DT_OP_ADD)
        fprintf(file, "    add(%" PRId64 ", %s, %s, %s);", count, a, buffer_name(c, l->in[1], b_text), y);
    else if (kind == DT_OP_CONCAT)
        put_concat(file, c, i, y);
    else if (kind == DT_OP_RELU)
        put_relu(file, relu_limit(c, i), count, a, y);
    else if (kind == DT_OP_CLIP)
        put_clip(file, l->n->params, count, a, y);
    else if (kind == DT_OP_MAXPOOL)
        fprintf(file, "    maxpool_%s(&layer_%d, %s, %s);", l->y.kind == DT_VALUE_CODE ? "codes" : "reals", i, a, y);
    else
        fprintf(file, "    %s(&layer_%d, %s, %s);", is_multiplied(c, i) ? "multiply" : l->kind, i, a, y);
    fputs(" /* ", file);
    if (l->x.kind == DT_VALUE_PSUM) /* what makes the psums runs in it */
        fprintf(file, "%s %s, ", c->layer[l->in[0]].kind, layer_name(c, l->in[0], name));
    fprintf(file, "%s %s */\n", l->kind, layer_name(c, i, name));
}

/* ---- the two files ---- */

/* What a layer does, behind its shape. */
static void put_work(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    if (l->n->kind == DT_OP_CONV2D) {
        const dt_conv_params *conv = l->n->params;
        const dt_c_conv v = dt_c_program_conv(c, i);
        fprintf(file, "; %d x %d, stride %d x %d, pad %d %d, ", v.window[0], v.window[1], conv->stride[0],
                conv->stride[1], conv->pad[0], conv->pad[1]);
        if (conv->groups > 1) fprintf(file, "%d groups, ", conv->groups);
        fprintf(file, "%" PRId64 " MACs", dt_c_program_macs(c, i));
    }
    if (l->n->kind == DT_OP_MAXPOOL || l->n->kind == DT_OP_AVGPOOL) {
        const dt_pool_params *pool = l->n->params;
        fprintf(file, "; %d x %d, stride %d x %d", pool->window[0], pool->window[1], pool->stride[0], pool->stride[1]);
    }
    if (l->n->kind == DT_OP_THRESHOLD || l->n->kind == DT_OP_ACT_QUANT)
        fprintf(file, "; codes %d..%d", l->y.low, l->y.high);
    if (l->n->kind == DT_OP_LINEAR) fprintf(file, "; %" PRId64 " MACs", dt_c_program_macs(c, i));
}

/* What the image's table has built in. */
static void put_origin(FILE *file, const dt_data_origin *o, int channels)
{
    char name[NAME_BYTES];

    if (!o->name[0]) return;
    fprintf(file, " * Pixels are 0..255. image_table normalises them as those of %s", safe(o->name, name));
    if (o->fingerprint[0]) fprintf(file, ", files %s", safe(o->fingerprint, name));
    fprintf(file, ":\n * (pixel / 255 - mean) / std, mean");
    for (int c = 0; c < channels; c++) fprintf(file, " %.9g", (double)o->mean[c]);
    fprintf(file, ", std");
    for (int c = 0; c < channels; c++) fprintf(file, " %.9g", (double)o->std[c]);
    fprintf(file, ".\n *\n");
}

static void put_about(FILE *file, const source *s, const char *suffix)
{
    const dt_c_program *c = &s->of;
    const dt_program *p = c->p;
    const dt_value *image = &c->image->y;
    char name[NAME_BYTES];

    fprintf(file, "/*\n * %s.%s - %s as C99: class scores of one image. Written by detent.\n *\n", s->name, suffix,
            safe(p->graph->name, name));
    put_origin(file, &p->origin, image->channels);
    fprintf(file, " *   image      %-22s %4d x %-4d x %d; codes %d..%d\n", "", image->height, image->width,
            image->channels, image->low, image->high);
    for (int i = 0; i < c->n_layers; i++) {
        const dt_value *y = &c->layer[i].y;
        fprintf(file, " *   %-10s %-22s %4d x %-4d x %d", c->layer[i].kind, layer_name(c, i, name), y->height, y->width,
                y->channels);
        put_work(file, c, i);
        fputc('\n', file);
    }
    fprintf(file,
            " *\n * Constants: %" PRId64 " bytes, of which %" PRId64 " are weights. RAM: %" PRId64
            " bytes, static: one call at a time.\n * %" PRId64
            " multiply-accumulates an image; a convolution is run for each layer that reads it.\n",
            s->of.constant_bytes, s->of.weights, s->of.ram_bytes, s->of.macs);
}

static void put_buffers(FILE *file, const dt_c_program *c)
{
    for (int i = 0; i < c->n_code_buffers; i++) {
        fprintf(file, "static code codes_%d[%" PRId64 "];\n", i, c->code_room[i]);
    }
    for (int i = 0; i < c->n_real_buffers; i++) {
        fprintf(file, "static float reals_%d[%" PRId64 "];\n", i, c->real_room[i]);
    }
    fputc('\n', file);
}

static int put_code_file(const void *user, FILE *file)
{
    const source *s = user;
    const dt_c_program *c = &s->of;

    put_about(file, s, "c");
    fprintf(
        file,
        " * Integers up to affine, then floats whose bits no compiler option changes but -ffast-math and the like.\n");
    fprintf(file, " * For speed: -O3 and the machine's own instructions (-march=native).\n */\n");
    fprintf(file, "#include \"%s.h\"\n\n#include <string.h>\n\ntypedef %s code;\n\n", s->name, c->code_type);
    fprintf(file, "static int32_t psums[%d]; /* of one position */\n\n", c->psums);
    put_array(file, &of_codes, "image_table", dt_program_data(c->p, c->image->n, DT_TABLE_CODES),
              (int64_t)PIXEL_VALUES * c->image->y.channels);
    fputc('\n', file);
    put_functions(file, s);
    put_buffers(file, c);
    for (int i = 0; i < c->n_layers; i++) put_layer(file, c, i);
    fprintf(file, "void %s_run(const uint8_t image[%s_HEIGHT * %s_WIDTH * %s_CHANNELS], float scores[%s_CLASSES])\n{\n",
            s->name, s->capitals, s->capitals, s->capitals, s->capitals);
    fprintf(file, "    pixels(image, codes_%d);\n", c->image->buffer);
    for (int i = 0; i < c->n_layers; i++) put_call(file, c, i);
    fprintf(file, "}\n\n");
    fprintf(file, classify_text, s->name, s->capitals);
    return !ferror(file);
}

static int put_header_file(const void *user, FILE *file)
{
    const source *s = user;
    const dt_value *image = &s->of.image->y;

    put_about(file, s, "h");
    fprintf(file, " */\n#ifndef %s_H\n#define %s_H\n\n#include <stdint.h>\n\n", s->capitals, s->capitals);
    fprintf(file, "enum { %s_HEIGHT = %d, %s_WIDTH = %d, %s_CHANNELS = %d, %s_CLASSES = %d };\n\n", s->capitals,
            image->height, s->capitals, image->width, s->capitals, image->channels, s->capitals,
            dt_program_n_scores(s->of.p));
    fprintf(file, header_text, s->name, s->capitals);
    return !ferror(file);
}

/* Not isalpha: what that takes depends on the locale. */
static dt_status check_name(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const size_t n_letters = sizeof good - 1 - 11, length = strlen(name);

    DT_CHECK(length >= 1 && length <= MOST_NAME && strspn(name, good) == length && memchr(good, name[0], n_letters),
             DT_ERR_ARGUMENT,
             "name '%.80s': expected a C identifier of up to %d letters, digits and _ that starts with a letter", name,
             MOST_NAME);
    return DT_OK;
}

static void capitalise(const char *name, char *capitals)
{
    for (; *name; name++) *capitals++ = *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
    *capitals = '\0';
}

/* dir/name.suffix */
static dt_status write_one(const source *s, const char *dir, const char *suffix, dt_file_content content)
{
    const size_t bytes = strlen(dir) + strlen(s->name) + 8;
    char *path = malloc(bytes);
    DT_CHECK(path, DT_ERR_MEMORY, "%s: no memory for a path in it", dir);

    snprintf(path, bytes, "%s/%s.%s", dir, s->name, suffix);
    const dt_status status = dt_whole_file_write(path, content, s);
    free(path);
    DT_TRY(status);
    return DT_OK;
}

/* Where the decimal point is a comma, C would not compile: numbers are written in the "C" locale. */
static dt_status write_both(const source *s, const char *dir)
{
    const locale_t plain = newlocale(LC_ALL_MASK, "C", NULL);
    DT_CHECK(plain, DT_ERR_MEMORY, "no \"C\" locale: %s", strerror(errno));

    const locale_t before = uselocale(plain);
    dt_status status = write_one(s, dir, "h", put_header_file);
    if (status == DT_OK) status = write_one(s, dir, "c", put_code_file);
    uselocale(before);
    freelocale(plain);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_program_write_c(const dt_program *p, const char *dir, const char *name)
{
    source s = { .name = name };

    DT_TRY(check_name(name));
    DT_TRY(dt_program_check(p));
    capitalise(name, s.capitals);
    DT_TRY(dt_c_program_make(p, &s.of));
    dt_status status = dt_folder_make(dir);
    if (status == DT_OK) status = write_both(&s, dir);
    dt_c_program_release(&s.of);
    DT_TRY(status);
    return DT_OK;
}
