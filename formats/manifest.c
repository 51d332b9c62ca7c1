/*
 * manifest.c - manifest.json written, and read by writing it again: the numbers that the rest follows from are taken
 *              out, a manifest is made of them, and every field is compared with it. So one rule book serves both.
 *
 * Interface and format: manifest.h.  Tests: tests/formats/test_vector_folder.c.
 */
#include "manifest.h"
#include "graph_json.h"
#include "json_file.h"
#include "json_value.h"
#include "origin_json.h"
#include "utf8.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN = 1, NEWEST = 2 /* versions */, PATH_ROOM = 96, VALUE_ROOM = 96 };

#define WHOLE_MAX 9007199254740991.0 /* 2^53 - 1: integers up to here survive JSON's doubles */

/* Version 1 has these alone; all other attributes of its convolutions are 1. */
static int is_in_plain(const dt_field *f)
{
    return strcmp(f->name, "stride") == 0 || strcmp(f->name, "pad") == 0;
}

typedef struct {
    const char *key;
    double value;
} pair;

static int add_numbers(cJSON *object, const pair *pairs, int n)
{
    int ok = object != NULL;

    for (int i = 0; i < n; i++) ok = ok && cJSON_AddNumberToObject(object, pairs[i].key, pairs[i].value);
    return ok;
}

/* As the attributes of a CONV2D. */
static int add_form(const dt_conv_params *conv, cJSON *geometry)
{
    const dt_op *op = dt_ops[DT_OP_CONV2D];
    int ok = 1;

    for (int i = 0; i < op->n_fields; i++) {
        if (dt_conv_is_square(conv) && !is_in_plain(&op->fields[i])) continue;
        ok = ok && cJSON_AddItemToObject(geometry, op->fields[i].name, dt_graph_attribute(&op->fields[i], conv));
    }
    return ok;
}

static int add_array_and_geometry(const dt_vectors *v, cJSON *root)
{
    const dt_psum_shape *s = &v->shape;
    const pair array[] = {
        { "rows", v->rows }, { "cols", v->cols }, { "psum_bits", v->psum_bits }, { "simd", v->simd }
    };
    const pair sizes[] = { { "H", s->height },  { "W", s->width },         { "C", s->channels },
                           { "K", s->filters }, { "R", s->window_height }, { "S", s->window_width } };
    const pair outputs[] = { { "P", s->out_height }, { "Q", s->out_width } };

    if (!add_numbers(cJSON_AddObjectToObject(root, "array"), array, 4)) return 0;
    cJSON *geometry = cJSON_AddObjectToObject(root, "geometry");
    return add_numbers(geometry, sizes, 6) && add_form(&s->conv, geometry) && add_numbers(geometry, outputs, 2);
}

static int add_codes(const dt_vectors *v, cJSON *root)
{
    cJSON *activation = cJSON_AddObjectToObject(root, "activation"), *weight = cJSON_AddObjectToObject(root, "weight");
    cJSON *psum = cJSON_AddObjectToObject(root, "psum");
    int ok = cJSON_AddNumberToObject(activation, "bits", v->activation_bits) &&
             cJSON_AddBoolToObject(activation, "signed", v->activation_signed) &&
             cJSON_AddNumberToObject(activation, "scale", dt_json_shortest(v->sx)) &&
             cJSON_AddNumberToObject(weight, "bits", v->weight_bits) && cJSON_AddTrueToObject(weight, "signed") &&
             cJSON_AddNumberToObject(psum, "bits", v->psum_bits) &&
             cJSON_AddNumberToObject(psum, "overflows", (double)v->n_overflows);
    cJSON *scale = cJSON_AddArrayToObject(weight, "scale");

    for (int i = 0; i < v->n_sw; i++)
        ok = ok && cJSON_AddItemToArray(scale, cJSON_CreateNumber(dt_json_shortest(v->sw[i])));
    return ok && scale;
}

static int add_file(const dt_vector_file *f, cJSON *files)
{
    const pair counts[] = {
        { "header_lines", f->header_lines }, { "lines", f->lines }, { "lanes", f->lanes }, { "bits", f->bits }
    };
    const pair places[] = {
        { "in_tile", f->in_tile }, { "out_tile", f->out_tile }, { "tap", f->tap }, { "bytes", (double)f->bytes }
    };
    cJSON *item = cJSON_CreateObject();

    if (!item || !cJSON_AddItemToArray(files, item)) {
        cJSON_Delete(item);
        return 0;
    }
    return cJSON_AddStringToObject(item, "name", f->name) &&
           cJSON_AddStringToObject(item, "role", dt_vector_role_names[f->role]) &&
           cJSON_AddStringToObject(item, "about", f->about) && add_numbers(item, counts, 4) &&
           cJSON_AddBoolToObject(item, "signed", f->is_signed) && cJSON_AddStringToObject(item, "order", f->order) &&
           add_numbers(item, places, 4) && cJSON_AddStringToObject(item, "sha256", f->sha256);
}

static int add_origin(const dt_data_origin *o, cJSON *root)
{
    return !o->name[0] || dt_origin_to_json(o, cJSON_AddObjectToObject(root, "data")) == DT_OK;
}

/* Of the compact text of all other fields: layer and scales follow from nothing else. */
static int add_sha256(cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root), sha256[65];

    if (!text) return 0;
    SHA256Data((const uint8_t *)text, strlen(text), sha256);
    cJSON_free(text);
    return cJSON_AddStringToObject(root, "sha256", sha256) != NULL;
}

/* NULL if memory is short. */
static cJSON *make_json(const dt_vectors *v)
{
    cJSON *root = cJSON_CreateObject();
    int ok = cJSON_AddStringToObject(root, "format", "detent-vectors") &&
             cJSON_AddNumberToObject(root, "version", dt_conv_is_square(&v->shape.conv) ? PLAIN : NEWEST) &&
             cJSON_AddStringToObject(root, "layer", v->layer) &&
             cJSON_AddStringToObject(root, "layout", dt_layout_names[v->layout]) && add_origin(&v->origin, root) &&
             add_array_and_geometry(v, root) && add_codes(v, root);
    cJSON *files = cJSON_AddArrayToObject(root, "files");

    for (int i = 0; i < v->n_files; i++) ok = ok && add_file(&v->file[i], files);
    if (ok && files && add_sha256(root)) return root;
    cJSON_Delete(root);
    return NULL;
}

dt_status dt_manifest_write(const dt_vectors *v, char **text)
{
    DT_CHECK(dt_utf8_find_bad(v->layer, (int64_t)strlen(v->layer)) < 0, DT_ERR_ARGUMENT,
             "vectors: the layer's name '%s' is not UTF-8 text", v->layer);
    cJSON *root = make_json(v);
    char *made = root ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    DT_CHECK(made, DT_ERR_MEMORY, "vectors: no memory for a manifest of %d files", v->n_files);
    *text = made;
    return DT_OK;
}

/* ---- reading: the numbers that the rest follows from ---- */

static dt_status read_whole(const cJSON *root, const char *group, const char *key, const char *file, double most,
                            int64_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, group), key);
    const double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
    char got[VALUE_ROOM];

    DT_CHECK(value >= 0.0 && value <= most && value == floor(value), DT_ERR_FORMAT,
             "%s: %s.%s is %s, expected a whole number of 0..%.0f", file, group, key,
             dt_json_text(item, got, sizeof got), most);
    *out = (int64_t)value;
    return DT_OK;
}

static dt_status read_int(const cJSON *root, const char *group, const char *key, const char *file, int *out)
{
    int64_t value;

    DT_TRY(read_whole(root, group, key, file, INT_MAX, &value));
    *out = (int)value;
    return DT_OK;
}

static dt_status read_scale(const cJSON *item, const char *what, const char *file, float *out)
{
    char got[VALUE_ROOM];

    DT_CHECK(cJSON_IsNumber(item) && isfinite((float)item->valuedouble), DT_ERR_FORMAT,
             "%s: %s.scale is %s, expected a number that a float holds", file, what,
             dt_json_text(item, got, sizeof got));
    *out = (float)item->valuedouble;
    return DT_OK;
}

static dt_status read_scales(const cJSON *root, const char *file, dt_vectors *v)
{
    const cJSON *activation = cJSON_GetObjectItemCaseSensitive(root, "activation");
    const cJSON *weight = cJSON_GetObjectItemCaseSensitive(root, "weight"), *item;
    const cJSON *scales = cJSON_GetObjectItemCaseSensitive(weight, "scale");
    const int n = cJSON_IsArray(scales) ? cJSON_GetArraySize(scales) : 0;

    DT_TRY(read_scale(cJSON_GetObjectItemCaseSensitive(activation, "scale"), "activation", file, &v->sx));
    DT_CHECK(n == 1 || (n > 1 && n == v->shape.filters), DT_ERR_FORMAT,
             "%s: weight.scale has %d values, expected 1, or one for each of %d filters", file, n, v->shape.filters);
    v->sw = malloc((size_t)n * sizeof *v->sw);
    DT_CHECK(v->sw, DT_ERR_MEMORY, "%s: no memory for %d scales", file, n);
    cJSON_ArrayForEach(item, scales)
    {
        DT_TRY(read_scale(item, "weight", file, &v->sw[v->n_sw]));
        v->n_sw++;
    }
    return DT_OK;
}

static dt_status read_words(const cJSON *root, const char *file, dt_vectors *v)
{
    const cJSON *layer = cJSON_GetObjectItemCaseSensitive(root, "layer");
    const cJSON *layout = cJSON_GetObjectItemCaseSensitive(root, "layout");
    char got[VALUE_ROOM];
    int found = 0;

    DT_CHECK(cJSON_IsString(layer) && strlen(layer->valuestring) < sizeof v->layer, DT_ERR_FORMAT,
             "%s: layer is %s, expected a name of at most %zu characters", file, dt_json_text(layer, got, sizeof got),
             sizeof v->layer - 1);
    strcpy(v->layer, layer->valuestring);
    for (int i = 0; cJSON_IsString(layout) && dt_layout_names[i]; i++) {
        if (strcmp(layout->valuestring, dt_layout_names[i]) != 0) continue;
        v->layout = (dt_layout)i;
        found = 1;
    }
    DT_CHECK(found, DT_ERR_FORMAT, "%s: layout is %s, expected course or another that detent writes", file,
             dt_json_text(layout, got, sizeof got));
    return DT_OK;
}

/* What version 1 leaves out is 1. What version 2 lacks is found when all is compared. */
static dt_status read_form(const cJSON *root, const char *file, dt_conv_params *conv)
{
    const cJSON *geometry = cJSON_GetObjectItemCaseSensitive(root, "geometry");
    const dt_op *op = dt_ops[DT_OP_CONV2D];
    const dt_field_place at = { file, "geometry", "." };

    *conv = dt_conv_square(1, 0);
    for (int i = 0; i < op->n_fields; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(geometry, op->fields[i].name);
        if (item) DT_TRY(dt_graph_read_attribute(&op->fields[i], &at, item, conv));
    }
    return DT_OK;
}

static dt_status read_numbers(const cJSON *root, const char *file, dt_vectors *v)
{
    dt_psum_shape *s = &v->shape;
    const struct {
        const char *group, *key;
        int *to;
    } fields[] = {
        { "array", "rows", &v->rows },           { "array", "cols", &v->cols },
        { "array", "psum_bits", &v->psum_bits }, { "geometry", "H", &s->height },
        { "geometry", "W", &s->width },          { "geometry", "C", &s->channels },
        { "geometry", "K", &s->filters },        { "geometry", "R", &s->window_height },
        { "geometry", "S", &s->window_width },   { "activation", "bits", &v->activation_bits },
        { "weight", "bits", &v->weight_bits },
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        DT_TRY(read_int(root, fields[i].group, fields[i].key, file, fields[i].to));
    }
    const cJSON *activation = cJSON_GetObjectItemCaseSensitive(root, "activation");
    v->activation_signed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(activation, "signed"));
    DT_TRY(read_form(root, file, &s->conv));
    DT_TRY(read_whole(root, "psum", "overflows", file, WHOLE_MAX, &v->n_overflows));
    return DT_OK;
}

static int is_sha256(const cJSON *item)
{
    return cJSON_IsString(item) && strlen(item->valuestring) == 64 &&
           strspn(item->valuestring, "0123456789abcdef") == 64;
}

static dt_status read_header_lines(const cJSON *item, int i, const char *file, int *out)
{
    const cJSON *lines = cJSON_GetObjectItemCaseSensitive(item, "header_lines");
    const double value = cJSON_IsNumber(lines) ? lines->valuedouble : -1.0;
    char got[VALUE_ROOM];

    DT_CHECK(value >= 0.0 && value <= DT_HEADER_LINES_MOST && value == floor(value), DT_ERR_FORMAT,
             "%s: files[%d].header_lines is %s, expected a whole number of 0..%d", file, i,
             dt_json_text(lines, got, sizeof got), DT_HEADER_LINES_MOST);
    *out = (int)value;
    return DT_OK;
}

/* What does not follow from the layer. A file that is missing or too many is found when all is compared. */
static dt_status read_files(const cJSON *files, const char *file, dt_vectors *v)
{
    const cJSON *item;
    char got[VALUE_ROOM];
    int i = 0;

    cJSON_ArrayForEach(item, files)
    {
        const cJSON *sha256 = cJSON_GetObjectItemCaseSensitive(item, "sha256");
        const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(item, "bytes");
        if (i == v->n_files) break;
        DT_CHECK(is_sha256(sha256), DT_ERR_FORMAT, "%s: files[%d].sha256 is %s, expected 64 of 0-9 and a-f", file, i,
                 dt_json_text(sha256, got, sizeof got));
        DT_CHECK(cJSON_IsNumber(bytes) && bytes->valuedouble >= 0.0 && bytes->valuedouble <= WHOLE_MAX &&
                     bytes->valuedouble == floor(bytes->valuedouble),
                 DT_ERR_FORMAT, "%s: files[%d].bytes is %s, expected a whole number", file, i,
                 dt_json_text(bytes, got, sizeof got));
        DT_TRY(read_header_lines(item, i, file, &v->file[i].header_lines));
        strcpy(v->file[i].sha256, sha256->valuestring);
        v->file[i].bytes = (size_t)bytes->valuedouble;
        i++;
    }
    return DT_OK;
}

/* ---- reading: every field against a manifest made of those numbers ---- */

static dt_status compare_items(const cJSON *found, const cJSON *expected, const char *path, const char *file);

static int same_value(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b)) return a->valuedouble == b->valuedouble;
    if (cJSON_IsString(a) && cJSON_IsString(b)) return strcmp(a->valuestring, b->valuestring) == 0;
    return (cJSON_IsTrue(a) && cJSON_IsTrue(b)) || (cJSON_IsFalse(a) && cJSON_IsFalse(b));
}

static dt_status compare_objects(const cJSON *found, const cJSON *expected, const char *path, const char *file)
{
    const char *dot = *path ? "." : "";
    char name[PATH_ROOM];
    const cJSON *item;

    cJSON_ArrayForEach(item, found)
    {
        DT_CHECK(cJSON_GetObjectItemCaseSensitive(expected, item->string), DT_ERR_FORMAT,
                 "%s: %s%s%.40s is not a field of this version", file, path, dot, item->string);
        DT_CHECK(cJSON_GetObjectItemCaseSensitive(found, item->string) == item, DT_ERR_FORMAT,
                 "%s: %s%s%.40s stands there twice", file, path, dot, item->string);
    }
    cJSON_ArrayForEach(item, expected)
    {
        snprintf(name, sizeof name, "%s%s%.40s", path, dot, item->string);
        DT_TRY(compare_items(cJSON_GetObjectItemCaseSensitive(found, item->string), item, name, file));
    }
    return DT_OK;
}

static dt_status compare_arrays(const cJSON *found, const cJSON *expected, const char *path, const char *file)
{
    const cJSON *a = found->child, *b = expected->child;
    char name[PATH_ROOM];

    DT_CHECK(cJSON_GetArraySize(found) == cJSON_GetArraySize(expected), DT_ERR_FORMAT,
             "%s: %s has %d entries, expected %d", file, path, cJSON_GetArraySize(found), cJSON_GetArraySize(expected));
    for (int i = 0; b; i++, a = a->next, b = b->next) {
        snprintf(name, sizeof name, "%s[%d]", path, i);
        DT_TRY(compare_items(a, b, name, file));
    }
    return DT_OK;
}

/* found may be NULL. Depth is that of `expected`: 3. */
static dt_status compare_items(const cJSON *found, const cJSON *expected, const char *path, const char *file)
{
    char got[VALUE_ROOM], wanted[VALUE_ROOM];

    if (cJSON_IsObject(found) && cJSON_IsObject(expected)) return compare_objects(found, expected, path, file);
    if (cJSON_IsArray(found) && cJSON_IsArray(expected)) return compare_arrays(found, expected, path, file);
    DT_CHECK(same_value(found, expected), DT_ERR_FORMAT, "%s: %s is %s, expected %s", file, path,
             dt_json_text(found, got, sizeof got), dt_json_text(expected, wanted, sizeof wanted));
    return DT_OK;
}

static dt_status compare_all(const cJSON *root, const char *file, const dt_vectors *v)
{
    cJSON *expected = make_json(v);

    DT_CHECK(expected, DT_ERR_MEMORY, "%s: no memory to compare %d files", file, v->n_files);
    const dt_status s = compare_items(root, expected, "", file);
    cJSON_Delete(expected);
    return s;
}

static dt_status read_vectors(const cJSON *root, const char *file, dt_vectors *v)
{
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(root, "files");
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(root, "data");
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "version");
    char got[VALUE_ROOM];

    DT_CHECK(cJSON_IsString(format) && strcmp(format->valuestring, "detent-vectors") == 0, DT_ERR_FORMAT,
             "%s: format is %s, expected \"detent-vectors\"", file, dt_json_text(format, got, sizeof got));
    DT_CHECK(cJSON_IsNumber(version) && (version->valuedouble == PLAIN || version->valuedouble == NEWEST),
             DT_ERR_FORMAT, "%s: version is %s, expected %d or %d; this detent reads no other", file,
             dt_json_text(version, got, sizeof got), PLAIN, NEWEST);
    v->header_lines = DT_HEADER_OF_LAYOUT;
    DT_TRY(read_words(root, file, v));
    if (data) DT_TRY(dt_origin_from_json(data, file, &v->origin));
    DT_TRY(read_numbers(root, file, v));
    DT_TRY(read_scales(root, file, v));
    DT_CHECK(cJSON_IsArray(files), DT_ERR_FORMAT, "%s: files is %s, expected a list", file,
             dt_json_text(files, got, sizeof got));
    DT_TRY(dt_vectors_list(v, cJSON_GetArraySize(files), file, DT_ERR_FORMAT));
    DT_TRY(read_files(files, file, v));
    DT_TRY(compare_all(root, file, v));
    return DT_OK;
}

dt_status dt_manifest_parse(const char *text, size_t bytes, const char *file, dt_vectors **out)
{
    dt_vectors *v = calloc(1, sizeof *v);
    cJSON *root = NULL;

    DT_CHECK(v, DT_ERR_MEMORY, "%s: no memory", file);
    dt_status s = dt_json_parse(text, bytes, file, &root);
    if (s == DT_OK) s = read_vectors(root, file, v);
    cJSON_Delete(root);
    if (s != DT_OK) {
        dt_vectors_destroy(v);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = v;
    return DT_OK;
}
