/*
 * program_c_constants.c - see program_c_constants.h.
 *
 * Tests: tests/formats/test_program_c.c.
 */
#include "program_c_constants.h"

#include "../../quant/program/program_build.h"
#include "program_c_caps.h"
#include "program_c_codes.h"

#include <inttypes.h>
#include <string.h>

enum { MOST_COLUMNS = 116, PIXEL_VALUES = 256 };

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

const dt_c_element dt_c_int32 = { "int32_t", int32_text }, dt_c_codes = { "code", int16_text };
const dt_c_element dt_c_int8 = { "int8_t", int8_text }, dt_c_int64 = { "int64_t", int64_text };
static const dt_c_element of_float = { "float", float_text };

static void put_array(FILE *file, const dt_c_element *e, const char *name, const void *array, int64_t n)
{
    char line[MOST_COLUMNS + DT_C_ELEMENT_BYTES];
    int used = 0;

    fprintf(file, "static const %s %s[%" PRId64 "] = {", e->type, name, n);
    for (int64_t i = 0; i < n; i++) {
        char text[DT_C_ELEMENT_BYTES];
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

void dt_c_put_member(FILE *file, int i, const dt_c_element *e, const char *member, const void *array, int64_t n)
{
    char name[64];

    snprintf(name, sizeof name, "layer_%d_%s", i, member);
    put_array(file, e, name, array, n);
}

/* ---- layers ---- */

static const void *data_of(const dt_c_program *c, int i, int k)
{
    return dt_program_data(c->p, c->layer[i].n, k);
}

static int one_text(char *text, const void *array, int64_t i)
{
    (void)array;
    (void)i;
    return sprintf(text, "1");
}

static const dt_c_element of_ones = { "int8_t", one_text };

static void put_conv(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_c_conv v = dt_c_program_conv(c, i);
    const dt_conv_params *conv = &v.conv;
    const int R = v.window[0], S = v.window[1];
    const int64_t n = (int64_t)l->y.channels * R * S * v.channels;
    char other[DT_C_BUFFER_BYTES];

    dt_c_put_member(file, i, v.weight ? &dt_c_int8 : &of_ones, "weight", v.weight, n);
    if (dt_c_all_plain(c)) {
        fprintf(file, "static const conv_layer layer_%d = { %d, %d, %d, %d, %d, %d, %d, %d, layer_%d_weight };\n", i,
                l->x.height, l->x.width, l->x.channels, l->y.channels, R, S, conv->stride[0], conv->pad[0], i);
        return;
    }
    fprintf(file,
            "static const conv_layer layer_%d = { %d, %d, %d, %d, %d, %d, %d, { %d, %d }, { %d, %d }, { %d, %d },\n"
            "    layer_%d_weight, %s };\n",
            i, l->x.height, l->x.width, l->x.channels, l->y.channels, conv->groups, R, S, conv->stride[0],
            conv->stride[1], conv->pad[0], conv->pad[1], conv->dilation[0], conv->dilation[1], i,
            l->n_in > 1 ? dt_c_buffer_name(c, l->in[1], other) : "0");
}

static void put_threshold(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int n_steps = l->y.high - l->y.low;

    dt_c_put_member(file, i, &dt_c_int8, "sign", data_of(c, i, DT_THRESHOLD_SIGN), l->y.channels);
    dt_c_put_member(file, i, &dt_c_int32, "threshold", data_of(c, i, DT_THRESHOLD_STEPS),
                    (int64_t)n_steps * l->y.channels);
    fprintf(file,
            "static const threshold_layer layer_%d = { &layer_%d, %d, %d, %d, %d, layer_%d_sign, "
            "layer_%d_threshold };\n",
            i, l->in[0], l->y.height, l->y.width, l->y.low, n_steps, i, i);
}

static void put_multiplier(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_requant r = dt_program_requant(c->p, l->n);

    dt_c_put_member(file, i, &dt_c_int32, "multiplier", r.multiplier, l->y.channels);
    dt_c_put_member(file, i, &dt_c_int64, "offset", r.offset, l->y.channels);
    dt_c_put_member(file, i, &dt_c_int32, "shift", r.shift, l->y.channels);
    fprintf(file,
            "static const multiplier_layer layer_%d = { &layer_%d, %d, %d, %d, %d,\n    layer_%d_multiplier, "
            "layer_%d_offset, layer_%d_shift };\n",
            i, l->in[0], l->y.height, l->y.width, l->y.low, l->y.high, i, i, i);
}

static void put_affine(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];

    dt_c_put_member(file, i, &of_float, "slope", data_of(c, i, DT_AFFINE_SLOPE), l->y.channels);
    dt_c_put_member(file, i, &of_float, "offset", data_of(c, i, DT_AFFINE_OFFSET), l->y.channels);
    fprintf(file, "static const affine_layer layer_%d = { &layer_%d, %d, %d, layer_%d_slope, layer_%d_offset };\n", i,
            l->in[0], l->y.height, l->y.width, i, i);
}

void dt_c_put_pool(FILE *file, const dt_c_layer *l)
{
    const dt_pool_params *pool = l->n->params;

    fprintf(file, "{ %d, %d, %d, %d, %d, { %d, %d }, { %d, %d }, { %d, %d }, %d }", l->x.height, l->x.width,
            l->x.channels, l->y.height, l->y.width, pool->window[0], pool->window[1], pool->stride[0], pool->stride[1],
            pool->pad[0], pool->pad[1], pool->count_include_pad);
}

static void put_pool(FILE *file, const dt_c_program *c, int i)
{
    fprintf(file, "static const pool_layer layer_%d = ", i);
    dt_c_put_pool(file, &c->layer[i]);
    fputs(";\n", file);
}

/* LSQ clamps steps, the other rules units of the clip: grid.h. */
static void put_quantize(FILE *file, const dt_c_program *c, int i)
{
    const dt_value *y = &c->layer[i].y;
    const int lsq = ((const dt_act_quant_params *)c->layer[i].n->params)->rule == DT_RULE_LSQ;
    const int floor = lsq ? y->low : y->low < 0 ? -1 : 0;
    char alpha[DT_C_ELEMENT_BYTES];

    float_text(alpha, data_of(c, i, DT_QUANT_ALPHA), 0);
    fprintf(file, "static const quantize_layer layer_%d = { %" PRId64 ", %s, %d.0f, %d.0f, %d.0f };\n", i,
            dt_value_count(y), alpha, floor, lsq ? y->high : 1, lsq ? 1 : y->high);
}

static void put_linear(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int64_t inputs = dt_value_count(&l->x);

    dt_c_put_member(file, i, &of_float, "matrix", data_of(c, i, DT_LINEAR_MATRIX), inputs * l->y.channels);
    dt_c_put_member(file, i, &of_float, "bias", data_of(c, i, DT_LINEAR_BIAS), l->y.channels);
    fprintf(file, "static const linear_layer layer_%d = { %" PRId64 ", %d, layer_%d_matrix, layer_%d_bias };\n", i,
            inputs, l->y.channels, i, i);
}

/* Others have nothing but their count. */
static void (*const put_constants[DT_OP_COUNT])(FILE *file, const dt_c_program *c, int i) = {
    [DT_OP_THRESHOLD] = put_threshold,
    [DT_OP_AFFINE] = put_affine,
    [DT_OP_MAXPOOL] = put_pool,
    [DT_OP_AVGPOOL] = put_pool,
    [DT_OP_ACT_QUANT] = put_quantize,
    [DT_OP_LINEAR] = put_linear,
    [DT_OP_REQUANTIZE] = dt_c_put_engine_constants,
    [DT_OP_QADD] = dt_c_put_engine_constants,
    [DT_OP_QMUL] = dt_c_put_engine_constants,
    [DT_OP_QMATMUL] = dt_c_put_engine_constants,
    [DT_OP_QAVGPOOL] = dt_c_put_engine_constants,
    [DT_OP_QSOFTMAX] = dt_c_put_engine_constants,
    [DT_OP_TABLE] = dt_c_put_engine_constants,
    [DT_OP_ROUTE_INT] = dt_c_put_routing,
};

void dt_c_put_constants(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    char name[DT_C_NAME_BYTES];

    const int makes_psums = dt_c_makes_psums(l);

    if (makes_psums ? !dt_c_is_asked(c, i) : !put_constants[l->n->kind]) return;
    fprintf(file, "/* %s: %s */\n", l->kind, dt_c_layer_name(c, i, name));
    if (l->n->kind == DT_OP_CAPS_VOTES)
        dt_c_put_votes(file, c, i);
    else if (makes_psums)
        put_conv(file, c, i);
    else if (dt_c_is_multiplied(c, i))
        put_multiplier(file, c, i);
    else
        put_constants[l->n->kind](file, c, i);
    fputc('\n', file);
}

static int pixel_text(char *text, const void *array, int64_t i)
{
    return sprintf(text, "%d", dt_c_pixel_code(array, i));
}

void dt_c_put_image_table(FILE *file, const dt_c_program *c)
{
    static const dt_c_element of_pixels = { "code", pixel_text };

    put_array(file, &of_pixels, "image_table", c, (int64_t)PIXEL_VALUES * c->image->y.channels);
    fputc('\n', file);
}

const char *dt_c_float_text(float value, char text[DT_C_ELEMENT_BYTES])
{
    float_text(text, &value, 0);
    return text;
}
