/*
 * program_json.c - a table of a program's fields and one of a layer's, which json_fields.c walks.
 *
 *   {"model": "..", "height": 32, .., "layers": [{"kind": "conv", "value": "psum", "name": "features.0", "height": 32,
 *    .., "in": [-1]}, ..]}
 *
 * A layer has the fields that its kind and its values need and no others. Ranges here keep sizes sane and arithmetic
 * in range; whether layers fit each other is dt_program_check's.
 * Interface: program_json.h.  Format: docs/PROGRAM_FORMAT.md.  Tests: tests/test_program_file.c.
 */
#include "program_json.h"
#include "json_fields.h"

#include <limits.h>
#include <string.h>

enum { MOST_LAYERS = 4096, MOST_SIDE = 65536, WHERE_BYTES = 96 };

/* Scales and clips are far within these, and their products and quotients are finite. */
#define LEAST_SCALE 1e-30
#define MOST_SCALE  1e30

/* A word is read and written through an int. */
_Static_assert(sizeof(dt_layer_kind) == sizeof(int) && sizeof(dt_value_kind) == sizeof(int) &&
                   sizeof(dt_quant_rule) == sizeof(int),
               "enumerations have the size of int");

static const char *const kind_words[] = {
#define XX(upper, lower) #lower,
    DT_LAYER_MAP(XX)
#undef XX
        NULL
};
static const char *const value_words[] = { "code", "psum", "real", NULL };

/* dt_field.only: layers of one of these kinds, or whose values are of one of these kinds. */
#define KIND(kind)   (1u << DT_LAYER_##kind)
#define VALUE(value) (1u << (DT_LAYER_COUNT + DT_VALUE_##value))
#define WINDOWS      (KIND(CONV) | KIND(MAXPOOL) | KIND(AVGPOOL))

static const dt_field program_fields[] = {
    { DT_MEMBER(dt_program, model), DT_TEXT(dt_program, model) },
    { DT_MEMBER(dt_program, height), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(dt_program, width), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(dt_program, channels), DT_INT(1, 4) },
    { DT_MEMBER(dt_program, low), DT_INT(INT16_MIN, INT16_MAX) },
    { DT_MEMBER(dt_program, high), DT_INT(INT16_MIN, INT16_MAX) },
    { DT_MEMBER(dt_program, scale), DT_FLOAT(LEAST_SCALE, MOST_SCALE) },
};

/* kind and value come first: they say which of the others there are. */
static const dt_field layer_fields[] = {
    { DT_MEMBER(dt_layer, kind), DT_WORD(kind_words) },
    { DT_MEMBER(dt_layer, value), DT_WORD(value_words) },
    { DT_MEMBER(dt_layer, name), DT_TEXT(dt_layer, name) },
    { DT_MEMBER(dt_layer, height), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(dt_layer, width), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER(dt_layer, channels), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(VALUE(CODE) | VALUE(PSUM), dt_layer, low), DT_INT(-INT32_MAX, INT32_MAX) },
    { DT_MEMBER_IF(VALUE(CODE) | VALUE(PSUM), dt_layer, high), DT_INT(-INT32_MAX, INT32_MAX) },
    { DT_MEMBER_IF(VALUE(CODE), dt_layer, scale), DT_FLOAT(LEAST_SCALE, MOST_SCALE) },
    { DT_MEMBER_IF(WINDOWS, dt_layer, window_height), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(WINDOWS, dt_layer, window_width), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(WINDOWS, dt_layer, stride), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(KIND(CONV), dt_layer, pad), DT_INT(0, MOST_SIDE) },
    { DT_MEMBER_IF(KIND(CONV), dt_layer, n_weight_scale), DT_INT(1, MOST_SIDE) },
    { DT_MEMBER_IF(KIND(CONV), dt_layer, weight_bound), DT_INT(1, 128) },
    { "requant_bits", offsetof(dt_layer, requant.bits), KIND(THRESHOLD), DT_INT(0, 31) },
    { DT_MEMBER_IF(KIND(QUANTIZE), dt_layer, alpha), DT_FLOAT(LEAST_SCALE, MOST_SCALE) },
    { DT_MEMBER_IF(KIND(QUANTIZE), dt_layer, bits), DT_INT(1, 16) },
    { DT_MEMBER_IF(KIND(QUANTIZE), dt_layer, rule), DT_WORD(dt_quant_rule_names) },
};

static int layer_has(const dt_field *f, const void *object)
{
    const dt_layer *l = object;

    return (f->only >> l->kind & 1) || (f->only >> (DT_LAYER_COUNT + (int)l->value) & 1);
}

static const dt_fields program_table = { program_fields, DT_LENGTH(program_fields), "layers", NULL };
static const dt_fields layer_table = { layer_fields, DT_LENGTH(layer_fields), "in", layer_has };

static int n_inputs(const dt_layer *l)
{
    return l->kind == DT_LAYER_ADD ? 2 : 1;
}

static dt_status write_layer(const dt_program *p, int i, cJSON *layers)
{
    const dt_layer *l = &p->layer[i];
    cJSON *object = cJSON_CreateObject();
    char where[WHERE_BYTES];
    const dt_field_place at = { "program", where, ": " };

    DT_CHECK(object && cJSON_AddItemToArray(layers, object), DT_ERR_MEMORY, "no memory for layer %d", i);
    snprintf(where, sizeof where, "layer %d '%s'", i, l->name);
    DT_TRY(dt_fields_write(&layer_table, &at, l, object));
    cJSON *in = cJSON_AddArrayToObject(object, "in");
    for (int k = 0; k < n_inputs(l); k++) {
        DT_CHECK(cJSON_AddItemToArray(in, cJSON_CreateNumber(l->in[k])), DT_ERR_MEMORY, "no memory for layer %d", i);
    }
    return DT_OK;
}

dt_status dt_program_to_json(const dt_program *p, cJSON *object)
{
    const dt_field_place at = { "program", "image", ": " };

    DT_TRY(dt_fields_write(&program_table, &at, p, object));
    cJSON *layers = cJSON_AddArrayToObject(object, "layers");
    for (int i = 0; i < p->n_layers; i++) DT_TRY(write_layer(p, i, layers));
    return DT_OK;
}

static dt_status read_inputs(const dt_field_place *at, int i, const cJSON *in, dt_layer *l)
{
    const dt_field one = { .name = "in", .kind = DT_FIELD_INT, .min = DT_FROM_IMAGE, .max = i - 1 };
    const cJSON *item;
    int k = 0;

    DT_CHECK(cJSON_GetArraySize(in) == n_inputs(l), DT_ERR_FORMAT, "%s: %s: in has %d layers, expected %d", at->file,
             at->where, cJSON_GetArraySize(in), n_inputs(l));
    cJSON_ArrayForEach(item, in) DT_TRY(dt_field_read(&one, at, item, &l->in[k++]));
    return DT_OK;
}

static dt_status read_layer(const char *file, int i, const cJSON *object, dt_layer *l)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "name");
    char where[WHERE_BYTES];
    const dt_field_place at = { file, where, ": " };

    snprintf(where, sizeof where, "layer %d '%.63s'", i, cJSON_IsString(name) ? name->valuestring : "");
    DT_TRY(dt_fields_read(&layer_table, &at, object, l));
    DT_TRY(read_inputs(&at, i, cJSON_GetObjectItemCaseSensitive(object, "in"), l));
    return DT_OK;
}

dt_status dt_program_from_json(const cJSON *object, const char *file, dt_program *p)
{
    const dt_field_place at = { file, "program", ": " };
    const cJSON *item;

    DT_TRY(dt_fields_read(&program_table, &at, object, p));
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(object, "layers");
    const int n = cJSON_GetArraySize(layers);
    DT_CHECK(n >= 1 && n <= MOST_LAYERS, DT_ERR_FORMAT, "%s: %d layers, expected 1..%d", file, n, MOST_LAYERS);
    p->layer = calloc((size_t)n, sizeof *p->layer);
    DT_CHECK(p->layer, DT_ERR_MEMORY, "%s: no memory for %d layers", file, n);
    cJSON_ArrayForEach(item, layers)
    {
        DT_TRY(read_layer(file, p->n_layers, item, &p->layer[p->n_layers]));
        p->n_layers++;
    }
    return DT_OK;
}
