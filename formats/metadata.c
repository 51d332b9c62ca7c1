/*
 * metadata.c - reads and writes the strings that say what a file is. Interface: metadata.h.
 */
#include "metadata.h"

#include "exchange.h"
#include "json_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 1024 };

dt_status dt_metadata_begin(dt_safetensors_writer *w, const char *format, const char *version)
{
    DT_TRY(dt_safetensors_writer_metadata(w, "format", format));
    DT_TRY(dt_safetensors_writer_metadata(w, "version", version));
    return DT_OK;
}

dt_status dt_metadata_add(dt_safetensors_writer *w, const char *key, const cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    DT_CHECK(text, DT_ERR_MEMORY, "no memory for the metadata '%s'", key);

    const dt_status s = dt_safetensors_writer_metadata(w, key, text);
    cJSON_free(text);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_metadata_text(const dt_safetensors *f, const char *path, const char *key, const char **out)
{
    const char *text = dt_safetensors_metadata(f, key);

    DT_CHECK(text, DT_ERR_FORMAT, "%s: has no metadata '%s'; it is no file of detent's", path, key);
    *out = text;
    return DT_OK;
}

static dt_status check_format(const dt_safetensors *f, const char *path, const char *format)
{
    const char *its = NULL;

    DT_TRY(dt_metadata_text(f, path, "format", &its));
    DT_CHECK(strcmp(its, format) == 0, DT_ERR_FORMAT, "%s: format is '%.40s', expected '%s'", path, its, format);
    return DT_OK;
}

dt_status dt_metadata_version(const dt_safetensors *f, const char *path, const char *format, int oldest, int newest,
                              int *out)
{
    const char *text = NULL;
    char *end;

    DT_TRY(check_format(f, path, format));
    DT_TRY(dt_metadata_text(f, path, "version", &text));
    const long version = strtol(text, &end, 10);
    DT_CHECK(text[0] >= '1' && text[0] <= '9' && *end == '\0' && end - text < 6, DT_ERR_FORMAT,
             "%s: version is '%.40s', expected a whole number from 1 on", path, text);
    DT_CHECK(version <= newest, DT_ERR_FORMAT,
             "%s: version is %ld, and this detent reads versions up to %d; a newer detent reads it", path, version,
             newest);
    DT_CHECK(version >= oldest, DT_ERR_FORMAT, "%s: version is %ld, and this detent reads versions from %d on", path,
             version, oldest);
    *out = (int)version;
    return DT_OK;
}

dt_status dt_metadata_json(const dt_safetensors *f, const char *path, const char *key, cJSON **out)
{
    const char *text = NULL, *end = NULL;

    DT_TRY(dt_metadata_text(f, path, key, &text));
    dt_json_begin();
    cJSON *object = cJSON_ParseWithOpts(text, &end, 1);
    DT_CHECK(object || !dt_json_lost(), DT_ERR_MEMORY, "%s: no memory for the metadata '%s'", path, key);
    DT_CHECK(object, DT_ERR_FORMAT, "%s: metadata '%s' is not JSON from '%.20s' on", path, key, end ? end : text);
    *out = object;
    return DT_OK;
}

dt_status dt_metadata_blame(dt_status s, const char *path)
{
    char why[MESSAGE_BYTES];

    snprintf(why, sizeof why, "%s", dt_last_error());
    return dt_raise(s, __FILE__, __LINE__, "%s%s%s", path ? path : "", path ? ": " : "", why);
}

dt_status dt_file_format(const char *path, char *text, size_t bytes)
{
    dt_safetensors *f;

    if (dt_exchange_is_file(path)) return dt_exchange_format(path, text, bytes);
    DT_TRY(dt_safetensors_open(path, &f));
    const char *format = dt_safetensors_metadata(f, "format");
    snprintf(text, bytes, "%s", format ? format : "");
    dt_safetensors_close(f);
    return DT_OK;
}

int dt_checkpoint_has_run(const char *path)
{
    dt_safetensors *f;

    if (dt_exchange_is_file(path) || dt_safetensors_open(path, &f) != DT_OK) return 0;
    const int has_run = dt_safetensors_metadata(f, "train") != NULL;
    dt_safetensors_close(f);
    return has_run;
}

dt_status dt_checkpoint_extra(const char *path, char **out)
{
    dt_safetensors *f;
    char *copy = NULL;

    DT_TRY(dt_safetensors_open(path, &f));
    const char *extra = dt_safetensors_metadata(f, "extra");
    if (extra) copy = strdup(extra);
    const int lost = extra && !copy;
    dt_safetensors_close(f);
    DT_CHECK(!lost, DT_ERR_MEMORY, "%s: no memory for its metadata 'extra'", path);
    *out = copy;
    return DT_OK;
}

dt_status dt_file_blame(dt_status s, const char *path)
{
    if (s == DT_OK || s == DT_ERR_MEMORY || s == DT_ERR_IO) return s;
    const int is_named = strncmp(dt_last_error(), path, strlen(path)) == 0;
    return dt_metadata_blame(DT_ERR_FORMAT, is_named ? NULL : path);
}
