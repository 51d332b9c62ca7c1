/*
 * fuzz_tflite.c - any bytes as a TensorFlow Lite file: refused, or a description that is written and read again.
 */
#include "fuzz_target.h"

#include "../../formats/tflite/tflite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_tflite *m = NULL, *again = NULL;
    char path[64];

    if (dt_tflite_read_bytes("input", data, size, &m) != DT_OK) return 0;
    snprintf(path, sizeof path, "/tmp/fuzz-tflite-%ld", (long)getpid());
    FUZZ_REQUIRE(dt_tflite_write(m, path) == DT_OK);
    FUZZ_REQUIRE(dt_tflite_read(path, &again) == DT_OK);
    FUZZ_REQUIRE(m->n_tensors == again->n_tensors && m->n_ops == again->n_ops);
    unlink(path);
    dt_tflite_destroy(again);
    dt_tflite_destroy(m);
    return 0;
}
