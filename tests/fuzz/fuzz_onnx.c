/*
 * fuzz_onnx.c - any bytes as an ONNX file: refused, or a network; if that is a program, one that may run. The path has
 *               no folder, so that no data outside are found.
 */
#include "fuzz_target.h"

#include "../../formats/onnx/onnx_import.h"
#include "../../quant/program/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_program p = { .graph = NULL };
    dt_onnx *m = NULL;
    int is_integer = 0;

    if (dt_onnx_read_bytes("/dev/null/input", data, size, &m) != DT_OK) return 0;
    FUZZ_REQUIRE(dt_onnx_check(m) == DT_OK);
    const int expected = dt_onnx_is_integer(m);
    if (dt_onnx_graph(m, &p.graph, &is_integer) == DT_OK) {
        FUZZ_REQUIRE(is_integer == expected && p.graph->scores >= 0 && p.graph->image >= 0);
        if (is_integer && dt_program_check(&p) != DT_OK) FUZZ_REQUIRE(dt_last_error()[0] != '\0');
        dt_graph_destroy(p.graph);
    }
    dt_onnx_destroy(m);
    return 0;
}
