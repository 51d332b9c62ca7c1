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

dt_status dt_tflite_file_graph(const char *path, int as_network, dt_exchange_network *out)
{
    dt_exchange_network network = { .graph = NULL };
    dt_tflite *file = NULL;
    (void)as_network;

    DT_TRY(dt_tflite_read(path, &file));
    const dt_status status = dt_tflite_graph(file, path, &network.graph, &network.is_integer);
    dt_tflite_destroy(file);
    DT_TRY(status);
    *out = network;
    return DT_OK;
}

dt_status dt_tflite_kind(const char *path, int *is_integer)
{
    dt_exchange_network network = { .graph = NULL };

    DT_TRY(dt_tflite_file_graph(path, 0, &network));
    dt_graph_destroy(network.graph);
    *is_integer = network.is_integer;
    return DT_OK;
}
