/*
 * fuzz_tflite.c - any bytes as a TensorFlow Lite file: refused, or a description that is written and read again. That
 *                 becomes a network, or is refused; and if it is a program, a file again.
 */
#include "fuzz_target.h"

#include "../../formats/tflite/tflite_export.h"
#include "../../formats/tflite/tflite_import.h"

/* What was read can be exported, unless a zero point, a bias or pads have no form in a file. */
static void make_network(const dt_tflite *m)
{
    dt_program p = { .graph = NULL };
    dt_tflite *again = NULL;
    int is_integer = 0;

    if (dt_tflite_graph(m, "input", &p.graph, &is_integer) != DT_OK) return;
    if (is_integer && dt_program_check(&p) == DT_OK && dt_tflite_of_program(&p, DT_TFLITE_IO_U8, &again) == DT_OK)
        dt_tflite_destroy(again);
    if (!is_integer && dt_tflite_of_graph(p.graph, &again) == DT_OK) dt_tflite_destroy(again);
    dt_graph_destroy(p.graph);
}

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
    make_network(again);
    dt_tflite_destroy(again);
    dt_tflite_destroy(m);
    return 0;
}
