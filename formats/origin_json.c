/*
 * origin_json.c - a table of an origin's fields, which json_fields.c walks. Interface: origin_json.h.
 */
#include "origin_json.h"
#include "json_fields.h"

#include <limits.h>
#include <string.h>

static const dt_field fields[] = {
    { DT_MEMBER(dt_data_origin, name), DT_TEXT(dt_data_origin, name) },
    { "images", offsetof(dt_data_origin, n_images), 0, DT_INT(0, INT_MAX) },
    { DT_MEMBER(dt_data_origin, fingerprint), DT_TEXT(dt_data_origin, fingerprint) },
    { DT_MEMBER(dt_data_origin, mean), DT_FLOATS(4, -1e30, 1e30) },
    { DT_MEMBER(dt_data_origin, std), DT_FLOATS(4, 0, 1e30) },
    { DT_MEMBER(dt_data_origin, is_real), DT_INT(1, 1) }, /* of images of reals alone, so that older files stay */
};

static const dt_fields of_pixels = { .field = fields, .n_fields = DT_LENGTH(fields) - 1 };
static const dt_fields of_reals = { .field = fields, .n_fields = DT_LENGTH(fields) };

dt_status dt_origin_to_json(const dt_data_origin *o, cJSON *object)
{
    const dt_field_place at = { "origin", "data", "." };

    DT_TRY(dt_fields_write(o->is_real ? &of_reals : &of_pixels, &at, o, object));
    return DT_OK;
}

dt_status dt_origin_from_json(const cJSON *object, const char *file, dt_data_origin *out)
{
    const dt_field_place at = { file, "data", "." };
    const int is_real = cJSON_HasObjectItem(object, "is_real");
    dt_data_origin o = { .name = "" };

    DT_TRY(dt_fields_read(is_real ? &of_reals : &of_pixels, &at, object, &o));
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
    for (int c = 0; c < 4; c++) {
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
