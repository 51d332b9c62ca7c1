/*
 * exchange.c - the list of formats of other frameworks. Interface: exchange.h.
 */
#include "exchange.h"

#include "../core/train/model.h"
#include "metadata.h"
#include "onnx/onnx_model.h"
#include "tflite/tflite_model.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    int (*is_file)(const char *path);
    dt_status (*kind)(const char *path, int *is_integer);
    dt_status (*graph)(const char *path, dt_graph **out, int *is_integer);
} formats[] = {
    { "tflite", dt_tflite_is_file, dt_tflite_kind, dt_tflite_file_graph },
    { "onnx", dt_onnx_is_file, dt_onnx_kind, dt_onnx_file_graph },
};

enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* Returns the format's index, or -1. */
static int find(const char *path)
{
    for (int i = 0; i < N_FORMATS; i++) {
        if (formats[i].is_file(path)) return i;
    }
    return -1;
}

int dt_exchange_is_file(const char *path)
{
    return find(path) >= 0;
}

static dt_status find_format(const char *path, int *format)
{
    *format = find(path);
    DT_CHECK(*format >= 0, DT_ERR_FORMAT, "%s: is no file of the %d other frameworks that are understood", path,
             N_FORMATS);
    return DT_OK;
}

dt_status dt_exchange_format(const char *path, char *text, size_t bytes)
{
    int format, is_integer;

    DT_TRY(find_format(path, &format));
    DT_TRY(formats[format].kind(path, &is_integer));
    snprintf(text, bytes, "%s%s", formats[format].name, is_integer ? "-integer" : "");
    return DT_OK;
}

static dt_status read_graph(const char *path, int wants_integers, dt_graph **out)
{
    int format, is_integer;

    DT_TRY(find_format(path, &format));
    DT_TRY(formats[format].graph(path, out, &is_integer));
    if (is_integer == wants_integers) return DT_OK;
    dt_graph_destroy(*out);
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: computes on %s, and wanted is a network of %s", path,
                    is_integer ? "integers" : "reals",
                    wants_integers ? "integers; 'detent quantize' makes one"
                                   : "reals; take the file that it was made of");
}

dt_status dt_exchange_model(dt_context *ctx, const char *path, dt_model **out)
{
    dt_graph *graph;

    DT_TRY(read_graph(path, 0, &graph));
    DT_TRY(dt_model_open(ctx, graph, out));
    return DT_OK;
}

dt_status dt_exchange_program(const char *path, dt_program **out)
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
        return dt_metadata_blame(status, path);
    }
    *out = p;
    return DT_OK;
}
