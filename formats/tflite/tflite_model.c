/*
 * tflite_model.c - see tflite_model.h.
 *
 * Tests: tests/formats/test_tflite_program.c.
 */
#include "tflite_model.h"

#include "tflite_import.h"

#include <stdio.h>
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

dt_status dt_tflite_file_graph(const char *path, dt_graph **out, int *is_integer)
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

    DT_TRY(dt_tflite_file_graph(path, &graph, is_integer));
    dt_graph_destroy(graph);
    return DT_OK;
}
