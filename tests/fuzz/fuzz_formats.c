/*
 * fuzz_formats.c - any bytes as the JSON of a quantized network's formats: refused, or written and read again with
 *                  equal text, and described.
 */
#include "fuzz_target.h"

#include <string.h>

#include "../../formats/fixed_json.h"

static char *text_of(dt_fixed_formats *f, int describe)
{
    cJSON *object = cJSON_CreateObject();

    FUZZ_REQUIRE(dt_fixed_to_json(f, describe, object) == DT_OK);
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    return text;
}

static int read_text(const char *text, dt_fixed_formats **out)
{
    cJSON *object = cJSON_Parse(text);
    dt_fixed_formats *f = calloc(1, sizeof *f);
    const int good = object && f && dt_fixed_from_json(object, "input", f) == DT_OK;

    cJSON_Delete(object);
    if (!good) dt_fixed_formats_destroy(f);
    if (good) *out = f;
    return good;
}

static void write_and_read(dt_fixed_formats *f)
{
    dt_fixed_formats *again = NULL;
    char *first = text_of(f, 0), *described = text_of(f, 1);

    FUZZ_REQUIRE(read_text(first, &again));
    char *second = text_of(again, 0);
    FUZZ_REQUIRE(strcmp(first, second) == 0);
    dt_fixed_formats_destroy(again);
    cJSON_free(first);
    cJSON_free(described);
    cJSON_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(size + 1, 1);
    dt_fixed_formats *f;

    if (text && size > 0) memcpy(text, data, size);
    if (text && read_text(text, &f)) {
        write_and_read(f);
        dt_fixed_formats_destroy(f);
    }
    free(text);
    return 0;
}
