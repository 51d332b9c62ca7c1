/*
 * golden_json.h - JSON files of the folder that DETENT_PTQ_ORACLE names, which has what TensorFlow Lite makes of
 *                 networks. Without that folder, tests that want it are skipped.
 */
#ifndef GOLDEN_JSON_H
#define GOLDEN_JSON_H

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Writes the path of a file there to text, and returns 1; 0 if there is no such folder. */
static inline int golden_path(const char *file, char *text, size_t bytes)
{
    const char *folder = getenv("DETENT_PTQ_ORACLE");

    if (!folder || !*folder) return 0;
    snprintf(text, bytes, "%s/%s", folder, file);
    return 1;
}

/* The content of NAME.json; NULL if there is none. The caller deletes it. */
static inline cJSON *golden_json(const char *name)
{
    char file[128], path[4096];

    snprintf(file, sizeof file, "%s.json", name);
    FILE *f = golden_path(file, path, sizeof path) ? fopen(path, "rb") : NULL;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(bytes + 1);
    cr_assert(text && fread(text, 1, bytes, f) == bytes, "%s", path);
    text[bytes] = '\0';
    fclose(f);
    cJSON *json = cJSON_Parse(text);
    cr_assert(json, "%s is no JSON", path);
    free(text);
    return json;
}

#endif /* GOLDEN_JSON_H */
