/*
 * fuzz_safetensors.c - any bytes as a safetensors file: refused, or every tensor can be read.
 */
#include "fuzz_target.h"

#include "../../formats/safetensors.h"

static void read_all(const dt_safetensors *f, size_t size)
{
    for (int i = 0; i < dt_safetensors_count(f); i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        FUZZ_REQUIRE(t->begin >= 0 && t->begin <= t->end && (size_t)t->end <= size);
        FUZZ_REQUIRE(dt_safetensors_find(f, t->name) == t);
        void *data = malloc((size_t)(t->end - t->begin) + 1);
        if (data) FUZZ_REQUIRE(dt_safetensors_read(f, t, data) == DT_OK);
        free(data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_safetensors *f = NULL;

    if (dt_safetensors_open(fuzz_path(data, size), &f) != DT_OK) return 0;
    read_all(f, size);
    (void)dt_safetensors_metadata(f, "format");
    dt_safetensors_close(f);
    return 0;
}
