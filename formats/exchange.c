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
    dt_status (*graph)(const char *path, int as_network, dt_exchange_network *out);
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

static dt_status read_network(const char *path, int wants_integers, int as_network, dt_exchange_network *out)
{
    int format;

    DT_TRY(find_format(path, &format));
    DT_TRY(formats[format].graph(path, as_network, out));
    if (out->is_integer == wants_integers) return DT_OK;
    dt_graph_destroy(out->graph);
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: computes on %s, and wanted is a network of %s", path,
                    out->is_integer ? "integers" : "reals",
                    wants_integers ? "integers; 'detent quantize' makes one"
                                   : "reals; take the file that it was made of");
}

dt_status dt_exchange_model(dt_context *ctx, const char *path, dt_model **out)
{
    dt_exchange_network network;

    DT_TRY(read_network(path, 0, 0, &network));
    DT_TRY(dt_model_open(ctx, network.graph, out));
    (*out)->origin = network.origin;
    return DT_OK;
}

/* The loss has the function that makes probabilities of scores. */
static void take_loss(dt_graph *g)
{
    const dt_graph_node *n = dt_graph_maker(g, g->scores);

    if (!n || (n->kind != DT_OP_SOFTMAX && n->kind != DT_OP_SIGMOID)) return;
    if (dt_graph_shape(g, n->in[0])->ndim != 2) return;
    if (n->kind == DT_OP_SIGMOID) g->loss = DT_LOSS_BINARY;
    g->scores = n->in[0];
}

dt_status dt_exchange_graph(const char *path, dt_graph **out)
{
    dt_exchange_network network;

    DT_TRY(read_network(path, 0, 1, &network));
    take_loss(network.graph);
    *out = network.graph;
    return DT_OK;
}

/* Writes why a parameter of the file does not fit the model's, or nothing if it does. */
static void compare_param(const dt_graph *g, int value, const dt_param_info *p, char why[64])
{
    const dt_graph_value *v = value < 0 ? NULL : g->value[value];

    why[0] = '\0';
    if (!v || v->source != DT_SOURCE_PARAM || !v->data || v->data_type != DT_F32)
        snprintf(why, 64, "not in the file");
    else if (dt_count(&v->facts.shape) != p->count)
        snprintf(why, 64, "%lld values in the file, %lld in the model", (long long)dt_count(&v->facts.shape),
                 (long long)p->count);
}

dt_status dt_exchange_load_partial(dt_model *m, const char *path,
                                   void (*skipped)(void *user, const char *name, const char *why), void *user,
                                   int *n_loaded)
{
    dt_status status = DT_OK;
    dt_param_info p;
    int n = 0;
    char why[64];
    dt_graph *g;

    DT_TRY(dt_exchange_graph(path, &g));
    for (int i = 0; status == DT_OK && i < dt_model_n_params(m); i++) {
        dt_model_param(m, i, &p);
        const int value = dt_graph_find(g, p.name);
        compare_param(g, value, &p, why);
        if (why[0]) {
            if (skipped) skipped(user, p.name, why);
            continue;
        }
        status = dt_model_write(m, i, g->value[value]->data);
        n++;
    }
    dt_graph_destroy(g);
    DT_TRY(status);
    *n_loaded = n;
    return DT_OK;
}

dt_status dt_exchange_program(const char *path, dt_program **out)
{
    dt_exchange_network network;
    dt_program *p = calloc(1, sizeof *p);

    DT_CHECK(p, DT_ERR_MEMORY, "no memory for the program of %s", path);
    dt_status status = read_network(path, 1, 0, &network);
    if (status != DT_OK) {
        free(p);
        return dt_forward(status, __FILE__, __LINE__);
    }
    p->graph = network.graph;
    p->origin = network.origin;
    status = dt_program_check(p);
    if (status != DT_OK) {
        dt_program_destroy(p);
        return dt_metadata_blame(status, path);
    }
    *out = p;
    return DT_OK;
}
