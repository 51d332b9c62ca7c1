/*
 * fuzz_capture.c - any bytes as a capture's file: refused, or a capture that is saved and loaded again.
 */
#include "fuzz_target.h"

#include "detent/detent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_capture *c = NULL;

    if (dt_capture_load(fuzz_path(data, size), &c) != DT_OK) return 0;
    char path[64];
    dt_capture *again = NULL;
    snprintf(path, sizeof path, "/tmp/fuzz-capture-%ld", (long)getpid());
    FUZZ_REQUIRE(dt_capture_save(c, c->layer, path) == DT_OK);
    FUZZ_REQUIRE(dt_capture_load(path, &again) == DT_OK);
    unlink(path);
    dt_capture_destroy(again);
    dt_capture_destroy(c);
    return 0;
}
