/*
 * program_c.c - a program as C99: NAME.h with a few functions, NAME.c with the layers and constants that they need.
 *
 * NAME.c has, in order: a comment with the layers and sizes; the functions of the kinds that occur (program_c_text.h,
 * program_c_codes_text.h); the buffers (program_c_layers.h); each layer's constants and descriptor; NAME_run, with one
 * call for each layer. A program of reals has the calls in a function that its entries share: of reals, of pixels, of
 * stored integers. Scores have the bits of dt_program_run, whatever a compiler fuses (see affine and linear in
 * program_c_text.h). Equal programs give equal text.
 *
 * Interface: dt_program_write_c in include/detent/array.h.
 * Tests: tests/formats/test_program_c.c, tests/formats/test_program_c_codes.c.
 */
#include "../../core/conv_params.h"
#include "../../quant/program/program_build.h"
#include "program_c_caps.h"
#include "program_c_codes.h"
#include "program_c_constants.h"
#include "program_c_text.h"
#include "../whole_file.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAME = 48 };

typedef struct {
    dt_c_program of;
    const char *name;
    char capitals[MOST_NAME + 1];
} source;

/* ---- functions ---- */

/* The upper limit of a ReLU; 0: none. */
static float relu_limit(const dt_c_program *c, int i)
{
    return ((const dt_relu_params *)c->layer[i].n->params)->most;
}

static void put_functions(FILE *file, const source *s)
{
    const dt_c_program *c = &s->of;
    int has[DT_OP_COUNT] = { 0 }, steps = 0, multiplies = 0, limits = 0, relus[DT_VALUE_REAL + 1] = { 0 },
        pools[DT_VALUE_REAL + 1] = { 0 };

    for (int i = 0; i < c->n_layers; i++) {
        const dt_op_kind kind = c->layer[i].n->kind;
        if (dt_c_makes_psums(&c->layer[i])) continue;
        has[kind] = 1;
        if (kind == DT_OP_THRESHOLD) *(dt_c_is_multiplied(c, i) ? &multiplies : &steps) = 1;
        if (kind == DT_OP_MAXPOOL) pools[c->layer[i].y.kind] = 1;
        if (kind == DT_OP_RELU) *(relu_limit(c, i) > 0.0f ? &limits : &relus[c->layer[i].y.kind]) = 1;
    }
    if (c->psums > 0) fputs(dt_c_all_plain(c) ? conv_text : general_conv_text, file);
    if (steps) fputs(threshold_text, file);
    if (multiplies) fputs(multiplier_text, file);
    if (has[DT_OP_AFFINE]) fputs(affine_text, file);
    if (relus[DT_VALUE_CODE]) fprintf(file, relu_text, "codes", "code");
    if (relus[DT_VALUE_REAL]) fprintf(file, relu_text, "reals", "float");
    if (limits) fputs(limit_text, file);
    if (has[DT_OP_CLIP]) fputs(clip_text, file);
    if (has[DT_OP_ADD]) fputs(add_text, file);
    if (has[DT_OP_CONCAT]) fputs(concat_text, file);
    if (has[DT_OP_TRANSPOSE]) fputs(transpose_text, file);
    if (has[DT_OP_MAXPOOL] || has[DT_OP_AVGPOOL] || dt_c_pools_codes(c)) fputs(pool_text, file);
    if (pools[DT_VALUE_CODE]) fprintf(file, maxpool_text, "codes", "code");
    if (pools[DT_VALUE_REAL]) fprintf(file, maxpool_text, "reals", "float");
    if (has[DT_OP_AVGPOOL]) fputs(avgpool_text, file);
    if (has[DT_OP_ACT_QUANT] || dt_c_rounds_even(c)) fputs(round_text, file);
    if (has[DT_OP_ACT_QUANT]) fputs(quantize_text, file);
    if (has[DT_OP_LINEAR]) fputs(linear_text, file);
    dt_c_put_capsule_functions(file, c);
    dt_c_put_engine_functions(file, c);
    if (dt_c_has_table(c)) fprintf(file, pixels_text, s->capitals);
}

/* Returns which of its two forms a function has. */
static const char *form_of(const dt_c_layer *l)
{
    return l->y.kind == DT_VALUE_CODE ? "codes" : "reals";
}

static void put_relu(FILE *file, const dt_c_program *c, int i, const char *a, const char *y)
{
    const int64_t count = dt_value_count(&c->layer[i].y);
    char most[DT_C_ELEMENT_BYTES];

    dt_c_float_text(relu_limit(c, i), most);
    if (relu_limit(c, i) > 0.0f)
        fprintf(file, "    limit(%" PRId64 ", %s, %s, %s);", count, most, a, y);
    else
        fprintf(file, "    relu_%s(%" PRId64 ", %s, %s);", form_of(&c->layer[i]), count, a, y);
}

static void put_clip(FILE *file, const dt_clip_params *p, int64_t count, const char *a, const char *y)
{
    char low[DT_C_ELEMENT_BYTES], high[DT_C_ELEMENT_BYTES];

    dt_c_float_text(p->low, low);
    dt_c_float_text(p->high, high);
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
        char x[DT_C_BUFFER_BYTES];
        fprintf(file, "%s    part(%s, %" PRId64 ", %" PRId64 ", %s + %" PRId64 ", %" PRId64 ");", k ? "\n" : "",
                dt_c_buffer_name(c, l->in[k], x), rows, length, y, at, count / rows);
        at += length;
    }
}

static void put_transpose(FILE *file, const dt_c_layer *l, const char *x, const char *y)
{
    const dt_transpose_params *p = l->n->params;

    fprintf(file, "    transpose(%" PRId64 ", %" PRId64 ", %" PRId64 ", %s, %s);", p->rows, p->columns,
            dt_value_count(&l->y) / p->rows / p->columns, x, y);
}

/* A THRESHOLD, an AFFINE and others that have a descriptor; once for each map of an image. */
static void put_described(FILE *file, const dt_c_program *c, int i, const char *a, const char *y)
{
    const dt_c_layer *l = &c->layer[i];
    const char *name = dt_c_is_multiplied(c, i) ? "multiply" : l->kind;

    if (l->y.maps == 1) {
        fprintf(file, "    %s(&layer_%d, %s, %s);", name, i, a, y);
        return;
    }
    const int from = dt_c_program_source(c, i, 0);
    fprintf(file, "    for (int m = 0; m < %d; m++) %s(&layer_%d, %s + m * %" PRId64 ", %s + m * %" PRId64 ");",
            l->y.maps, name, i, a, dt_value_count(&c->layer[from].y) / l->y.maps, y, dt_value_count(&l->y) / l->y.maps);
}

static void put_call(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_op_kind kind = l->n->kind;
    const int64_t count = dt_value_count(&l->y);
    char a_text[DT_C_BUFFER_BYTES], b_text[DT_C_BUFFER_BYTES], y_text[DT_C_BUFFER_BYTES], name[DT_C_NAME_BYTES];

    if (dt_c_makes_psums(l)) return;
    const char *a = dt_c_buffer_name(c, dt_c_program_source(c, i, 0), a_text), *y = dt_c_buffer_name(c, i, y_text);
    if (dt_c_is_of_engine(l))
        dt_c_put_engine_call(file, c, i);
    else if (kind == DT_OP_ADD)
        fprintf(file, "    add(%" PRId64 ", %s, %s, %s);", count, a, dt_c_buffer_name(c, l->in[1], b_text), y);
    else if (kind == DT_OP_CONCAT)
        put_concat(file, c, i, y);
    else if (kind == DT_OP_TRANSPOSE)
        put_transpose(file, l, a, y);
    else if (kind == DT_OP_RELU)
        put_relu(file, c, i, a, y);
    else if (kind == DT_OP_CLIP)
        put_clip(file, l->n->params, count, a, y);
    else if (kind == DT_OP_MAXPOOL)
        fprintf(file, "    maxpool_%s(&layer_%d, %s, %s);", form_of(l), i, a, y);
    else if (kind == DT_OP_ROUTE_INT || kind == DT_OP_CLASS_INT)
        dt_c_put_capsule_call(file, c, i, a, y);
    else
        put_described(file, c, i, a, y);
    fputs(" /* ", file);
    if (l->x.kind == DT_VALUE_PSUM) /* what makes the psums runs in it */
        fprintf(file, "%s %s, ", c->layer[l->in[0]].kind, dt_c_layer_name(c, l->in[0], name));
    fprintf(file, "%s %s */\n", l->kind, dt_c_layer_name(c, i, name));
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
    if (dt_c_is_of_engine(l) && l->y.kind == DT_VALUE_CODE)
        fprintf(file, "; codes %d..%d%s%s", l->y.low, l->y.high, *dt_c_profile_name(l) ? ", " : "",
                dt_c_profile_name(l));
    if (l->n->kind == DT_OP_LINEAR || l->n->kind == DT_OP_QMATMUL || l->n->kind == DT_OP_CAPS_VOTES)
        fprintf(file, "; %" PRId64 " MACs", dt_c_program_macs(c, i));
}

/* What the image's table has built in. */
static void put_origin(FILE *file, const dt_data_origin *o, int channels)
{
    char name[DT_C_NAME_BYTES];

    if (!o->name[0]) return;
    fprintf(file, " * Pixels are 0..255. image_table normalises them as those of %s", dt_c_safe(o->name, name));
    if (o->fingerprint[0]) fprintf(file, ", files %s", dt_c_safe(o->fingerprint, name));
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
    char name[DT_C_NAME_BYTES];

    fprintf(file, "/*\n * %s.%s - %s as C99: class scores of one image. Written by detent.\n *\n", s->name, suffix,
            dt_c_safe(p->graph->name, name));
    if (dt_c_has_table(c)) put_origin(file, &p->origin, image->channels);
    fprintf(file, " *   image      %-22s %4d x %-4d x %d; codes %d..%d\n", "", image->height, image->width,
            image->channels, image->low, image->high);
    for (int i = 0; i < c->n_layers; i++) {
        const dt_value *y = &c->layer[i].y;
        fprintf(file, " *   %-10s %-22s %4d x %-4d x %d", c->layer[i].kind, dt_c_layer_name(c, i, name), y->height,
                y->width, y->channels);
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

/* ---- what a caller calls ---- */

static const char *score_type(const dt_c_program *c)
{
    return dt_c_gives_lengths(c) ? "int32_t" : "float";
}

/* A function that takes an image and gives scores: "_reals" of float, say. The caller writes its body. */
static void put_entry(FILE *file, const source *s, const char *ending, const char *image, const char *scores)
{
    fprintf(file, "void %s_run%s(const %s image[%s_HEIGHT * %s_WIDTH * %s_CHANNELS], %s scores[%s_CLASSES])\n{\n",
            s->name, ending, image, s->capitals, s->capitals, s->capitals, scores, s->capitals);
}

static void put_pixels_entry(FILE *file, const source *s)
{
    const dt_c_program *c = &s->of;

    put_entry(file, s, "", "uint8_t", score_type(c));
    fprintf(file, "    pixels(image, codes_%d);\n", c->image->buffer);
    for (int i = 0; i < c->n_layers; i++) put_call(file, c, i);
    fprintf(file, "}\n\n");
    fprintf(file, classify_text, s->name, s->capitals, "", "uint8_t", score_type(c));
}

/* The entries share what lies between the image's codes and the last layer. */
static void put_real_entries(FILE *file, const source *s)
{
    const dt_c_program *c = &s->of;
    const int last = c->n_layers - 1;

    fprintf(file, "static void compute(void)\n{\n");
    for (int i = 0; i < last; i++) put_call(file, c, i);
    fprintf(file, "}\n\n");
    if (dt_c_has_table(c)) {
        put_entry(file, s, "", "uint8_t", "float");
        fprintf(file, "    pixels(image, codes_%d);\n    compute();\n", c->image->buffer);
        put_call(file, c, last);
        fprintf(file, "}\n\n");
        fprintf(file, classify_text, s->name, s->capitals, "", "uint8_t", "float");
        fputc('\n', file);
    }
    put_entry(file, s, "_reals", "float", "float");
    fprintf(file, "    quantize_image(%" PRId64 ", image, codes_%d);\n    compute();\n", dt_value_count(&c->image->y),
            c->image->buffer);
    put_call(file, c, last);
    fprintf(file, "}\n\n");
    fprintf(file, classify_text, s->name, s->capitals, "_reals", "float", "float");
}

static void put_stored_entry(FILE *file, const source *s)
{
    const dt_c_program *c = &s->of;
    const dt_value *image = &c->image->y;
    const dt_c_layer *last = &c->layer[c->n_layers - 1];
    char codes[DT_C_BUFFER_BYTES];

    fputc('\n', file);
    put_entry(file, s, "_codes", "int8_t", "int8_t");
    fprintf(file, "    for (int i = 0; i < %" PRId64 "; i++) codes_%d[i] = within(image[i] - (%d), %d, %d);\n",
            dt_value_count(image), c->image->buffer, dt_c_zero(c, c->image->n->out), image->low, image->high);
    fprintf(file, "    compute();\n    for (int i = 0; i < %s_CLASSES; i++) scores[i] = (int8_t)(%s[i] + (%d));\n}\n",
            s->capitals, dt_c_buffer_name(c, last->in[0], codes), dt_c_zero(c, last->n->in[0]));
}

static int put_code_file(const void *user, FILE *file)
{
    const source *s = user;
    const dt_c_program *c = &s->of;

    put_about(file, s, "c");
    fprintf(file, dt_c_gives_lengths(c) ? " * Integers alone: no floats, no memory but the RAM above.\n"
                  : dt_c_reads_reals(c)
                      ? " * Floats have the same bits whatever options a compiler has, but -ffast-math "
                        "and the like.\n"
                      : " * Integers up to affine, then floats whose bits no compiler option changes "
                        "but -ffast-math and the like.\n");
    fprintf(file, " * For speed: -O3 and the machine's own instructions (-march=native).\n */\n");
    fprintf(file, "#include \"%s.h\"\n\n#include <string.h>\n\ntypedef %s code;\n\n", s->name, c->code_type);
    if (c->psums > 0) fprintf(file, "static int32_t psums[%d]; /* of one position */\n\n", c->psums);
    if (dt_c_has_table(c)) dt_c_put_image_table(file, c);
    put_functions(file, s);
    put_buffers(file, c);
    for (int i = 0; i < c->n_layers; i++) dt_c_put_constants(file, c, i);
    if (dt_c_reads_reals(c))
        put_real_entries(file, s);
    else
        put_pixels_entry(file, s);
    if (dt_c_has_stored(c)) put_stored_entry(file, s);
    return !ferror(file);
}

static void put_stored_header(FILE *file, const source *s)
{
    const dt_c_program *c = &s->of;
    const dt_value *image = &c->image->y;
    const dt_c_layer *last = &c->layer[c->n_layers - 1];
    const int zero = dt_c_zero(c, c->image->n->out);
    char image_scale[DT_C_ELEMENT_BYTES], score_scale[DT_C_ELEMENT_BYTES];

    snprintf(image_scale, sizeof image_scale, "%.9g", (double)dt_program_scale(c->p, c->image->n->out));
    snprintf(score_scale, sizeof score_scale, "%.9g", (double)dt_program_scale(c->p, last->n->in[0]));
    fprintf(file, header_stored_text, s->name, s->capitals, image_scale, zero, image->low + zero, image->high + zero,
            score_scale, dt_c_zero(c, last->n->in[0]));
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
    fputs(header_begin_text, file);
    if (dt_c_has_table(&s->of)) {
        if (dt_c_gives_lengths(&s->of)) fputs(header_lengths_text, file);
        fprintf(file, header_pixels_text, s->name, s->capitals, score_type(&s->of));
        fprintf(file, header_classify_text, s->name, "", "uint8_t");
    }
    if (dt_c_reads_reals(&s->of)) {
        fprintf(file, header_reals_text, s->name, s->capitals);
        fprintf(file, header_classify_text, s->name, "_reals", "float");
    }
    if (dt_c_has_stored(&s->of)) put_stored_header(file, s);
    fprintf(file, header_end_text, s->capitals);
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
    DT_CHECK(dt_program_cast(p) == DT_CAST_ROUND, DT_ERR_UNSUPPORTED,
             "%s: its image has the cast %s, which C does not; the program's file keeps it", p->graph->name,
             dt_image_cast_names[dt_program_cast(p)]);
    capitalise(name, s.capitals);
    DT_TRY(dt_c_program_make(p, &s.of));
    dt_status status = dt_folder_make(dir);
    if (status == DT_OK) status = write_both(&s, dir);
    dt_c_program_release(&s.of);
    DT_TRY(status);
    return DT_OK;
}
