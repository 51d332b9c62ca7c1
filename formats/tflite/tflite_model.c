/*
 * tflite_model.c - see tflite_model.h.
 *
 * Tests: tests/formats/test_tflite_program.c.
 */
#include "tflite_model.h"

#include "../../core/train/model.h"
#include "tflite_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDENTIFIER_AT = 4, HEAD_BYTES = 8 };

int dt_tflite_is_file(const char *path)
{
    char head[HEAD_BYTES] = "";
    FILE *file = fopen(path, "rb");

    if (!file) return 0;
    const size_t bytes = fread(head, 1, sizeof head, file);
    fclose(file);
    return bytes == HEAD_BYTES && memcmp(head + IDENTIFIER_AT, "TFL3", HEAD_BYTES - IDENTIFIER_AT) == 0;
}

static dt_status read_any(const char *path, dt_graph **out, int *is_integer)
{
    dt_tflite *file = NULL;

    DT_TRY(dt_tflite_read(path, &file));
    const dt_status status = dt_tflite_graph(file, path, out, is_integer);
    dt_tflite_destroy(file);
    return status;
}

dt_status dt_tflite_kind(const char *path, int *is_integer)
{
    dt_graph *graph;

    DT_TRY(read_any(path, &graph, is_integer));
    dt_graph_destroy(graph);
    return DT_OK;
}

static dt_status read_graph(const char *path, int wants_integers, dt_graph **out)
{
    int is_integer;

    DT_TRY(read_any(path, out, &is_integer));
    if (is_integer == wants_integers) return DT_OK;
    dt_graph_destroy(*out);
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: computes on %s, and wanted is a network of %s", path,
                    is_integer ? "integers" : "reals",
                    wants_integers ? "integers; 'detent quantize' makes one"
                                   : "reals; take the file that it was made of");
}

dt_status dt_tflite_model(dt_context *ctx, const char *path, dt_model **out)
{
    dt_graph *graph;

    DT_TRY(read_graph(path, 0, &graph));
    DT_TRY(dt_model_open(ctx, graph, out));
    return DT_OK;
}

dt_status dt_tflite_program(const char *path, dt_program **out)
{
    dt_program *p = calloc(1, sizeof *p);

    DT_CHECK(p, DT_ERR_MEMORY, "no memory for the program of %s", path);
    dt_status status = read_graph(path, 1, &p->graph);
    if (status != DT_OK) {
        free(p);
        return dt_forward(status, __FILE__, __LINE__);
    }
    status = dt_program_check(p);
    if (status != DT_OK) {
        dt_program_destroy(p);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = p;
    return DT_OK;
}
