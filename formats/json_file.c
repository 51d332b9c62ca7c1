/*
 * json_file.c - see json_file.h.
 *
 * Tests: tests/formats/test_network_file.c, tests/formats/test_vector_folder.c.
 */
#include "json_file.h"

#include "json_value.h"
#include "utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 64 << 20 };

dt_status dt_json_parse(const char *text, size_t bytes, const char *file, cJSON **out)
{
    static const char nul[] = "\\u0000"; /* cJSON would let it end a string early */
    const int64_t bad = dt_utf8_find_bad(text, (int64_t)bytes);
    const char *end = NULL;

    DT_CHECK(bad < 0, DT_ERR_FORMAT, "%s: byte %" PRId64 " (0x%02x) is not UTF-8 text", file, bad,
             (unsigned char)text[bad]);
    DT_CHECK(!memmem(text, bytes, nul, sizeof nul - 1), DT_ERR_FORMAT, "%s: a string holds a NUL", file);
    dt_json_begin();
    cJSON *root = cJSON_ParseWithLengthOpts(text, bytes, &end, 0);
    DT_CHECK(root || !dt_json_lost(), DT_ERR_MEMORY, "%s: no memory for its JSON", file);
    const size_t used = end ? (size_t)(end - text) : 0;
    size_t at = used;
    while (at < bytes && strchr(" \t\r\n", text[at])) at++;
    if (!root || at < bytes) {
        cJSON_Delete(root);
        return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: is not JSON from byte %zu on", file, used);
    }
    *out = root;
    return DT_OK;
}

static dt_status read_all(FILE *file, const char *path, char *text, size_t *bytes)
{
    *bytes = fread(text, 1, MOST_BYTES + 1, file);
    DT_CHECK(!ferror(file), DT_ERR_IO, "%s: %s", path, strerror(errno));
    DT_CHECK(*bytes <= MOST_BYTES, DT_ERR_FORMAT, "%s: more than %d MiB, which no network's description has", path,
             MOST_BYTES >> 20);
    return DT_OK;
}

dt_status dt_json_file_read(const char *path, cJSON **out)
{
    FILE *file = fopen(path, "rb");
    size_t bytes = 0;

    DT_CHECK(file, DT_ERR_IO, "%s: %s", path, strerror(errno));
    char *text = malloc(MOST_BYTES + 1);
    dt_status status = text ? read_all(file, path, text, &bytes)
                            : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to read %s", path);
    fclose(file);
    if (status == DT_OK) status = dt_json_parse(text, bytes, path, out);
    free(text);
    return status;
}
