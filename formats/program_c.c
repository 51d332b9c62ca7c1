/*
 * program_c.c - a program as C99: NAME.h with two functions, NAME.c with the layers and constants that they need.
 *
 * NAME.c has, in order: a comment with the layers and sizes; the functions of the kinds that occur (program_c_text.h);
 * each layer's constants and descriptor; the buffers (program_c_plan.h); NAME_run, one call a layer.
 * Scores have the bits of dt_program_run, whatever a compiler fuses: see affine and linear in program_c_text.h. Equal
 * programs give equal text.
 *
 * Interface: dt_program_write_c in include/detent/array.h.  Tests: tests/test_program_c.c.
 */
#include "program_c_plan.h"
#include "program_c_text.h"
#include "whole_file.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 116, MOST_NAME = 48, MOST_ELEMENT = 40, PIXEL_VALUES = 256 };

typedef struct {
    dt_c_plan plan;
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

static void put_array(FILE *file, const char *type, const char *name, const void *array, int64_t n, element_text text)
{
    char line[MOST_COLUMNS + MOST_ELEMENT];
    int used = 0;

    fprintf(file, "static const %s %s[%" PRId64 "] = {", type, name, n);
    for (int64_t i = 0; i < n; i++) {
        char element[MOST_ELEMENT];
        const int length = text(element, array, i);
        if (i == 0 || used + length + 2 > MOST_COLUMNS) {
            fprintf(file, "%.*s\n   ", used, line);
            used = 0;
        }
        line[used++] = ' ';
        memcpy(line + used, element, (size_t)length);
        used += length;
        line[used++] = ',';
    }
    fprintf(file, "%.*s\n};\n", used, line);
}

static void put_member(FILE *file, int i, const char *type, const char *member, const void *array, int64_t n,
                       element_text text)
{
    char name[64];

    snprintf(name, sizeof name, "layer_%d_%s", i, member);
    put_array(file, type, name, array, n, text);
}

/* A name that cannot end a comment. */
static const char *safe(const char *name, char text[64])
{
    size_t i = 0;

    for (; name[i]; i++) text[i] = isalnum((unsigned char)name[i]) || strchr(" ._-+", name[i]) ? name[i] : '_';
    text[i] = '\0';
    return text;
}

/* ---- one layer ---- */

static int is_read(const dt_c_plan *c, int i)
{
    return c->value[i + 1].last_reader >= 0;
}

static int is_multiplied(const dt_layer *l)
{
    return l->requant.multiplier != NULL;
}

static void put_conv(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const dt_value x = dt_layer_input(p, i, 0);
    const int64_t n = (int64_t)l->channels * l->window_height * l->window_width * x.channels;

    put_member(file, i, "int8_t", "weight", l->weight, n, int8_text);
    fprintf(file, "static const conv_layer layer_%d = { %d, %d, %d, %d, %d, %d, %d, %d, layer_%d_weight };\n", i,
            x.height, x.width, x.channels, l->channels, l->window_height, l->window_width, l->stride, l->pad, i);
}

static void put_threshold(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const int n_steps = l->high - l->low;

    put_member(file, i, "int8_t", "sign", l->sign, l->channels, int8_text);
    put_member(file, i, "int32_t", "threshold", l->threshold, (int64_t)n_steps * l->channels, int32_text);
    fprintf(file,
            "static const threshold_layer layer_%d = { &layer_%d, %d, %d, %d, %d, layer_%d_sign, "
            "layer_%d_threshold };\n",
            i, l->in[0], l->height, l->width, l->low, n_steps, i, i);
}

static void put_multiplier(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];

    put_member(file, i, "int32_t", "multiplier", l->requant.multiplier, l->channels, int32_text);
    put_member(file, i, "int64_t", "offset", l->requant.offset, l->channels, int64_text);
    put_member(file, i, "int32_t", "shift", l->requant.shift, l->channels, int32_text);
    fprintf(file,
            "static const multiplier_layer layer_%d = { &layer_%d, %d, %d, %d, %d,\n    layer_%d_multiplier, "
            "layer_%d_offset, layer_%d_shift };\n",
            i, l->in[0], l->height, l->width, l->low, l->high, i, i, i);
}

static void put_affine(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];

    put_member(file, i, "float", "slope", l->slope, l->channels, float_text);
    put_member(file, i, "float", "offset", l->offset, l->channels, float_text);
    fprintf(file, "static const affine_layer layer_%d = { &layer_%d, %d, %d, layer_%d_slope, layer_%d_offset };\n", i,
            l->in[0], l->height, l->width, i, i);
}

static void put_pool(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const dt_value x = dt_layer_input(p, i, 0);

    fprintf(file, "static const pool_layer layer_%d = { %d, %d, %d, %d, %d, %d };\n", i, x.width, x.channels, l->height,
            l->width, l->window_width, l->stride);
}

/* LSQ clamps steps, the other rules units of the clip: grid.h. */
static void put_quantize(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const int lsq = l->rule == DT_RULE_LSQ;
    char alpha[MOST_ELEMENT];

    float_text(alpha, &l->alpha, 0);
    fprintf(file, "static const quantize_layer layer_%d = { %" PRId64 ", %s, %d.0f, %d.0f, %d.0f };\n", i,
            dt_layer_count(l), alpha,
            lsq          ? l->low
            : l->low < 0 ? -1
                         : 0,
            lsq ? l->high : 1, lsq ? 1 : l->high);
}

static void put_linear(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const dt_value x = dt_layer_input(p, i, 0);
    const int64_t inputs = (int64_t)x.height * x.width * x.channels;

    put_member(file, i, "float", "matrix", l->matrix, inputs * l->channels, float_text);
    put_member(file, i, "float", "bias", l->bias, l->channels, float_text);
    fprintf(file, "static const linear_layer layer_%d = { %" PRId64 ", %d, layer_%d_matrix, layer_%d_bias };\n", i,
            inputs, l->channels, i, i);
}

/* RELU and ADD have nothing but their count. */
static void (*const put_constants[DT_LAYER_COUNT])(FILE *file, const dt_program *p, int i) = {
    [DT_LAYER_CONV] = put_conv,     [DT_LAYER_THRESHOLD] = put_threshold, [DT_LAYER_AFFINE] = put_affine,
    [DT_LAYER_MAXPOOL] = put_pool,  [DT_LAYER_AVGPOOL] = put_pool,        [DT_LAYER_QUANTIZE] = put_quantize,
    [DT_LAYER_LINEAR] = put_linear,
};

static void put_layer(FILE *file, const dt_c_plan *c, int i)
{
    const dt_layer *l = &c->p->layer[i];
    char name[64];

    if (!put_constants[l->kind] || (l->kind == DT_LAYER_CONV && !is_read(c, i))) return;
    fprintf(file, "/* %s: %s */\n", dt_layer_kind_name(l->kind), safe(l->name, name));
    if (l->kind == DT_LAYER_THRESHOLD && is_multiplied(l))
        put_multiplier(file, c->p, i);
    else
        put_constants[l->kind](file, c->p, i);
    fputc('\n', file);
}

/* ---- functions ---- */

static void put_functions(FILE *file, const source *s)
{
    const dt_program *p = s->plan.p;
    int has[DT_LAYER_COUNT] = { 0 }, steps = 0, multiplies = 0, pools[DT_VALUE_REAL + 1] = { 0 };

    for (int i = 0; i < p->n_layers; i++) {
        const dt_layer *l = &p->layer[i];
        has[l->kind] = 1;
        if (l->kind == DT_LAYER_THRESHOLD) *(is_multiplied(l) ? &multiplies : &steps) = 1;
        if (l->kind == DT_LAYER_MAXPOOL) pools[l->value] = 1;
    }
    fputs(conv_text, file);
    if (steps) fputs(threshold_text, file);
    if (multiplies) fputs(multiplier_text, file);
    if (has[DT_LAYER_AFFINE]) fputs(affine_text, file);
    if (has[DT_LAYER_RELU]) fputs(relu_text, file);
    if (has[DT_LAYER_ADD]) fputs(add_text, file);
    if (has[DT_LAYER_MAXPOOL] || has[DT_LAYER_AVGPOOL]) fputs(pool_text, file);
    if (pools[DT_VALUE_CODE]) fprintf(file, maxpool_text, "codes", "code");
    if (pools[DT_VALUE_REAL]) fprintf(file, maxpool_text, "reals", "float");
    if (has[DT_LAYER_AVGPOOL]) fputs(avgpool_text, file);
    if (has[DT_LAYER_QUANTIZE]) fputs(quantize_text, file);
    if (has[DT_LAYER_LINEAR]) fputs(linear_text, file);
    fprintf(file, pixels_text, s->capitals);
}

/* The buffer of a value: 0 the image's codes, i + 1 those of layer i. */
static const char *buffer_name(const dt_c_plan *c, int value, char text[32])
{
    const dt_program *p = c->p;
    const int is_code = value == 0 || p->layer[value - 1].value == DT_VALUE_CODE;

    if (value == p->n_layers) return "scores";
    snprintf(text, 32, "%s_%d", is_code ? "codes" : "reals", c->value[value].buffer);
    return text;
}

static void put_call(FILE *file, const dt_c_plan *c, int i)
{
    const dt_layer *l = &c->p->layer[i];
    char a_text[32], b_text[32], y_text[32], name[64];
    const char *a = buffer_name(c, dt_c_plan_source(c->p, i, 0), a_text);
    const char *b = l->kind == DT_LAYER_ADD ? buffer_name(c, dt_c_plan_source(c->p, i, 1), b_text) : NULL;
    const char *y = buffer_name(c, i + 1, y_text), *kind = dt_layer_kind_name(l->kind);

    if (l->kind == DT_LAYER_CONV) return;
    if (l->kind == DT_LAYER_ADD)
        fprintf(file, "    add(%" PRId64 ", %s, %s, %s);", dt_layer_count(l), a, b, y);
    else if (l->kind == DT_LAYER_RELU)
        fprintf(file, "    relu(%" PRId64 ", %s, %s);", dt_layer_count(l), a, y);
    else if (l->kind == DT_LAYER_MAXPOOL)
        fprintf(file, "    maxpool_%s(&layer_%d, %s, %s);", l->value == DT_VALUE_CODE ? "codes" : "reals", i, a, y);
    else
        fprintf(file, "    %s(&layer_%d, %s, %s);", is_multiplied(l) ? "multiply" : kind, i, a, y);
    fputs(" /* ", file);
    if (dt_layer_input(c->p, i, 0).kind == DT_VALUE_PSUM) /* the convolution runs in it */
        fprintf(file, "conv %s, ", safe(c->p->layer[l->in[0]].name, name));
    fprintf(file, "%s %s */\n", kind, safe(l->name, name));
}

/* ---- the two files ---- */

/* What a layer does, behind its shape. */
static void put_work(FILE *file, const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];

    switch (l->kind) {
    case DT_LAYER_CONV:
        fprintf(file, "; %d x %d, stride %d, pad %d, %" PRId64 " MACs", l->window_height, l->window_width, l->stride,
                l->pad, dt_c_plan_macs(p, i));
        break;
    case DT_LAYER_MAXPOOL:
    case DT_LAYER_AVGPOOL: fprintf(file, "; %d x %d, stride %d", l->window_height, l->window_width, l->stride); break;
    case DT_LAYER_THRESHOLD:
    case DT_LAYER_QUANTIZE: fprintf(file, "; codes %d..%d", l->low, l->high); break;
    case DT_LAYER_LINEAR: fprintf(file, "; %" PRId64 " MACs", dt_c_plan_macs(p, i)); break;
    default: break;
    }
}

/* What the image's table has built in. */
static void put_origin(FILE *file, const dt_data_origin *o, int channels)
{
    char name[64];

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
    const dt_program *p = s->plan.p;
    char name[64];

    fprintf(file, "/*\n * %s.%s - %s as C99: class scores of one image. Written by detent.\n *\n", s->name, suffix,
            safe(p->model, name));
    put_origin(file, &p->origin, p->channels);
    fprintf(file, " *   image      %-22s %4d x %-4d x %d; codes %d..%d\n", "", p->height, p->width, p->channels, p->low,
            p->high);
    for (int i = 0; i < p->n_layers; i++) {
        const dt_layer *l = &p->layer[i];
        fprintf(file, " *   %-10s %-22s %4d x %-4d x %d", dt_layer_kind_name(l->kind), safe(l->name, name), l->height,
                l->width, l->channels);
        put_work(file, p, i);
        fputc('\n', file);
    }
    fprintf(file,
            " *\n * Constants: %" PRId64 " bytes, of which %" PRId64 " are weights. RAM: %" PRId64
            " bytes, static: one call at a time.\n * %" PRId64
            " multiply-accumulates an image; a convolution is run for each layer that reads it.\n",
            s->plan.constant_bytes, s->plan.weights, s->plan.ram_bytes, s->plan.macs);
}

static void put_buffers(FILE *file, const dt_c_plan *c)
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
    const dt_c_plan *c = &s->plan;

    put_about(file, s, "c");
    fprintf(
        file,
        " * Integers up to affine, then floats whose bits no compiler option changes but -ffast-math and the like.\n");
    fprintf(file, " * For speed: -O3 and the machine's own instructions (-march=native).\n */\n");
    fprintf(file, "#include \"%s.h\"\n\n#include <string.h>\n\ntypedef %s code;\n\n", s->name, c->code_type);
    fprintf(file, "static int32_t psums[%d]; /* of one position */\n\n", c->psums);
    put_array(file, "code", "image_table", c->p->table, (int64_t)PIXEL_VALUES * c->p->channels, int16_text);
    fputc('\n', file);
    put_functions(file, s);
    for (int i = 0; i < c->p->n_layers; i++) put_layer(file, c, i);
    put_buffers(file, c);
    fprintf(file, "void %s_run(const uint8_t image[%s_HEIGHT * %s_WIDTH * %s_CHANNELS], float scores[%s_CLASSES])\n{\n",
            s->name, s->capitals, s->capitals, s->capitals, s->capitals);
    fprintf(file, "    pixels(image, codes_%d);\n", c->value[0].buffer);
    for (int i = 0; i < c->p->n_layers; i++) put_call(file, c, i);
    fprintf(file, "}\n\n");
    fprintf(file, classify_text, s->name, s->capitals);
    return !ferror(file);
}

static int put_header_file(const void *user, FILE *file)
{
    const source *s = user;
    const dt_program *p = s->plan.p;

    put_about(file, s, "h");
    fprintf(file, " */\n#ifndef %s_H\n#define %s_H\n\n#include <stdint.h>\n\n", s->capitals, s->capitals);
    fprintf(file, "enum { %s_HEIGHT = %d, %s_WIDTH = %d, %s_CHANNELS = %d, %s_CLASSES = %d };\n\n", s->capitals,
            p->height, s->capitals, p->width, s->capitals, p->channels, s->capitals,
            p->layer[p->n_layers - 1].channels);
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
    DT_TRY(dt_c_plan_make(p, &s.plan));
    dt_status status = dt_folder_make(dir);
    if (status == DT_OK) status = write_both(&s, dir);
    dt_c_plan_release(&s.plan);
    DT_TRY(status);
    return DT_OK;
}
