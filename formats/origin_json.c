/*
 * origin_json.c - a table of an origin's fields, which json_fields.c walks. Interface: origin_json.h.
 *
 * Tests: tests/formats/test_origin.c.
 */
#include "origin_json.h"
#include "json_fields.h"

#include <limits.h>
#include <string.h>

/* A file has a number for each channel, and never fewer than these. */
enum { LEAST_NUMBERS = 4 };

enum { MEAN = 3, STD }; /* rows of the table */

static const dt_field fields[] = {
    { DT_MEMBER(dt_data_origin, name), DT_TEXT(dt_data_origin, name) },
    { "images", offsetof(dt_data_origin, n_images), 0, DT_INT(0, INT_MAX) },
    { DT_MEMBER(dt_data_origin, fingerprint), DT_TEXT(dt_data_origin, fingerprint) },
    { DT_MEMBER(dt_data_origin, mean), DT_FLOATS(LEAST_NUMBERS, -1e30, 1e30) },
    { DT_MEMBER(dt_data_origin, std), DT_FLOATS(LEAST_NUMBERS, 0, 1e30) },
    { DT_MEMBER(dt_data_origin, is_real), DT_INT(1, 1) }, /* of images of reals alone, so that older files stay */
};

/* The table of an origin whose mean and deviation have n numbers each. */
typedef struct {
    dt_field field[DT_LENGTH(fields)];
    dt_fields of;
} origin_fields;

static void fields_of(int n, int is_real, origin_fields *out)
{
    memcpy(out->field, fields, sizeof fields);
    out->field[MEAN].count = out->field[STD].count = n;
    out->of = (dt_fields){ .field = out->field, .n_fields = DT_LENGTH(fields) - !is_real };
}

/* Deviations are above 0, up to the last channel. */
static int numbers_of(const dt_data_origin *o)
{
    int n = DT_MOST_CHANNELS;

    while (n > LEAST_NUMBERS && o->std[n - 1] == 0.0f) n--;
    return n;
}

dt_status dt_origin_to_json(const dt_data_origin *o, cJSON *object)
{
    const dt_field_place at = { "origin", "data", "." };
    origin_fields f;

    fields_of(numbers_of(o), o->is_real, &f);
    DT_TRY(dt_fields_write(&f.of, &at, o, object));
    return DT_OK;
}

dt_status dt_origin_from_json(const cJSON *object, const char *file, dt_data_origin *out)
{
    const dt_field_place at = { file, "data", "." };
    const int is_real = cJSON_HasObjectItem(object, "is_real");
    const int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(object, "std"));
    const int is_wide = is_real && n > LEAST_NUMBERS && n <= DT_MOST_CHANNELS;
    dt_data_origin o = { .name = "" };
    origin_fields f;

    fields_of(is_wide ? n : LEAST_NUMBERS, is_real, &f);
    DT_TRY(dt_fields_read(&f.of, &at, object, &o));
    DT_CHECK(o.name[0], DT_ERR_FORMAT, "%s: data.name is empty, expected the name of a dataset", file);
    *out = o;
    return DT_OK;
}

dt_status dt_origin_add(dt_safetensors_writer *w, const dt_data_origin *o)
{
    if (!o->name[0]) return DT_OK;
    cJSON *object = cJSON_CreateObject();
    dt_status s = dt_origin_to_json(o, object);
    if (s == DT_OK) s = dt_metadata_add(w, "data", object);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_origin_read(const dt_safetensors *f, const char *path, int channels, dt_data_origin *out)
{
    dt_data_origin o = { .name = "" };
    cJSON *object;

    if (dt_safetensors_metadata(f, "data")) {
        DT_TRY(dt_metadata_json(f, path, "data", &object));
        const dt_status s = dt_origin_from_json(object, path, &o);
        cJSON_Delete(object);
        DT_TRY(s);
        for (int c = 0; c < channels; c++) {
            DT_CHECK(o.std[c] > 0.0f, DT_ERR_FORMAT, "%s: data.std[%d] is %g, expected more than 0", path, c,
                     (double)o.std[c]);
        }
    }
    *out = o;
    return DT_OK;
}

static dt_status match_numbers(const char *what, const float *saved, const float *here, const char *path)
{
    for (int c = 0; c < DT_MOST_CHANNELS; c++) {
        DT_CHECK(saved[c] == here[c], DT_ERR_ARGUMENT,
                 "%s: the run was started with data.%s[%d] = %.9g, here it is %.9g; resume with the detent that it "
                 "was started with",
                 path, what, c, (double)saved[c], (double)here[c]);
    }
    return DT_OK;
}

dt_status dt_origin_match(const dt_data_origin *saved, const dt_data_origin *here, const char *path)
{
    if (!saved->name[0] || !here->name[0]) return DT_OK;
    DT_CHECK(strcmp(saved->name, here->name) == 0, DT_ERR_ARGUMENT,
             "%s: the run was started on the dataset %s, here it is %s; resume with the dataset it started with", path,
             saved->name, here->name);
    DT_CHECK(
        strcmp(saved->fingerprint, here->fingerprint) == 0, DT_ERR_ARGUMENT,
        "%s: the run was started with files of %s whose images and labels have the checksums %s, here they are %s; "
        "resume with the files it started with, which --data names",
        path, saved->name, saved->fingerprint, here->fingerprint);
    DT_TRY(match_numbers("mean", saved->mean, here->mean, path));
    DT_TRY(match_numbers("std", saved->std, here->std, path));
    return DT_OK;
}
