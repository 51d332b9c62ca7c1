/*
 * fuzz_manifest.c - any bytes as a manifest.json: refused, or written again it is taken again.
 */
#include "fuzz_target.h"

#include <string.h>

#include "../../formats/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1), *again = NULL; /* no byte more: reading past the end is found */
    dt_vectors *v = NULL, *w = NULL;

    if (!text) return 0;
    if (size > 0) memcpy(text, data, size);
    if (dt_manifest_parse(text, size, "manifest.json", &v) == DT_OK) {
        FUZZ_REQUIRE(dt_manifest_write(v, &again) == DT_OK);
        FUZZ_REQUIRE(dt_manifest_parse(again, strlen(again), "manifest.json", &w) == DT_OK);
    }
    dt_vectors_destroy(v);
    dt_vectors_destroy(w);
    free(again);
    free(text);
    return 0;
}
