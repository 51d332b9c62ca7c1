/*
 * fuzz_onnx.c - any bytes as an ONNX file: refused, or a network; if that is a program, one that may run. The file's
 *               folder is one of its own, with data outside: "w", 256 bytes.
 */
#include "fuzz_target.h"

#include "../../formats/onnx/onnx_import.h"
#include "../../quant/program/program.h"

#include <fcntl.h>
#include <unistd.h>

static char folder[] = "/tmp/fuzz_onnx.XXXXXX", path[64];

static void remove_folder(void)
{
    snprintf(path, sizeof path, "%s/w", folder);
    unlink(path);
    rmdir(folder);
}

/* Makes the folder once. */
static void make_folder(void)
{
    unsigned char bytes[256];

    for (int i = 0; i < 256; i++) bytes[i] = (unsigned char)(i * 37 % 64);
    FUZZ_REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/w", folder);
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    FUZZ_REQUIRE(fd >= 0 && write(fd, bytes, sizeof bytes) == sizeof bytes && close(fd) == 0);
    snprintf(path, sizeof path, "%s/input", folder);
    atexit(remove_folder);
}

/* as_network: a network of codes becomes one of reals with quantizers. */
static void read_one(const uint8_t *data, size_t size, int as_network)
{
    dt_program p = { .graph = NULL };
    dt_onnx *m = NULL;
    int is_integer = 0;

    if (dt_onnx_read_bytes(path, data, size, &m) != DT_OK) return;
    FUZZ_REQUIRE(dt_onnx_check(m) == DT_OK);
    const int expected = !as_network && dt_onnx_is_integer(m);
    m->as_network = as_network;
    if (dt_onnx_graph(m, &p.graph, &is_integer) == DT_OK) {
        FUZZ_REQUIRE(is_integer == expected && p.graph->scores >= 0 && p.graph->image >= 0);
        if (is_integer && dt_program_check(&p) != DT_OK) FUZZ_REQUIRE(dt_last_error()[0] != '\0');
        dt_graph_destroy(p.graph);
    }
    dt_onnx_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!path[0]) make_folder();
    read_one(data, size, 0);
    read_one(data, size, 1);
    return 0;
}
