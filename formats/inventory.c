/*
 * inventory.c - every tensor of a file. Interface: include/detent/inventory.h.
 *
 * A .tflite lists its own tensors. Of a safetensors file, the tensors of its header are constants; the values of its
 * graph, where it has one, are what is computed.
 *
 * Tests: tests/formats/test_inventory.c.
 */
#include "../core/graph/graph.h"
#include "../quant/program/program.h"
#include "program_file.h"
#include "stored_graph.h"
#include "tflite/tflite.h"
#include "tflite/tflite_model.h"

#include "detent/detent.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)DT_TENSOR_DIMS >= (int)DT_SAFETENSORS_MAX_DIMS && (int)DT_TENSOR_DIMS >= DT_MAX_DIMS &&
                   (int)DT_TENSOR_DIMS >= (int)DT_TFLITE_MAX_DIMS,
               "every file's dimensions fit");

static dt_status add(dt_inventory *v, const char *name, const dt_tensor_info *is)
{
    dt_tensor_info *bigger = realloc(v->tensor, (size_t)(v->n + 1) * sizeof *bigger);

    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for a list of %d tensors", v->n + 1);
    v->tensor = bigger;
    v->tensor[v->n] = *is;
    v->tensor[v->n].name = strdup(name);
    DT_CHECK(v->tensor[v->n++].name, DT_ERR_MEMORY, "no memory for the name of %s", name);
    return DT_OK;
}

/* ---- TensorFlow Lite ---- */

static dt_status list_tflite(const char *path, dt_inventory *out)
{
    dt_tflite *m;
    dt_status status = DT_OK;

    DT_TRY(dt_tflite_read(path, &m));
    for (int i = 0; status == DT_OK && i < m->n_tensors; i++) {
        const dt_tflite_tensor *t = &m->tensor[i];
        dt_tensor_info is = { .type = dt_tflite_type_name((int)t->type),
                              .ndim = t->n_dims,
                              .bytes = dt_tflite_count(t) * (int64_t)dt_tflite_type_bytes(t->type),
                              .is_constant = t->data != NULL };
        for (int d = 0; d < t->n_dims; d++) is.dim[d] = t->dim[d];
        status = add(out, t->name, &is);
    }
    dt_tflite_destroy(m);
    return status;
}

/* ---- safetensors ---- */

static const char *type_of(dt_safetensors_type type)
{
    switch (type) {
    case DT_SAFETENSORS_F32: return dt_tflite_type_name(DT_TFLITE_FLOAT32);
    case DT_SAFETENSORS_I64: return dt_tflite_type_name(DT_TFLITE_INT64);
    case DT_SAFETENSORS_I32: return dt_tflite_type_name(DT_TFLITE_INT32);
    case DT_SAFETENSORS_I16: return dt_tflite_type_name(DT_TFLITE_INT16);
    case DT_SAFETENSORS_I8: return dt_tflite_type_name(DT_TFLITE_INT8);
    case DT_SAFETENSORS_U8: return dt_tflite_type_name(DT_TFLITE_UINT8);
    default: return dt_safetensors_type_name(type);
    }
}

static dt_status list_stored(const char *path, dt_inventory *out)
{
    dt_safetensors *f;
    dt_status status = DT_OK;

    DT_TRY(dt_safetensors_open(path, &f));
    for (int i = 0; status == DT_OK && i < dt_safetensors_count(f); i++) {
        const dt_safetensors_tensor *t = dt_safetensors_at(f, i);
        dt_tensor_info is = { .type = type_of(t->type), .ndim = t->ndim, .bytes = t->end - t->begin, .is_constant = 1 };
        for (int d = 0; d < t->ndim; d++) is.dim[d] = t->dim[d];
        status = add(out, t->name, &is);
    }
    dt_safetensors_close(f);
    return status;
}

/* ---- what a graph computes ---- */

static int is_same_codes(dt_op_kind kind)
{
    return kind == DT_OP_MAXPOOL || kind == DT_OP_FLATTEN || kind == DT_OP_TRANSPOSE || kind == DT_OP_IDENTITY ||
           kind == DT_OP_CONCAT || kind == DT_OP_RELU;
}

/* Bits of a grid value: those of its quantizer where that has them, else as many as its range needs. */
static int bits_of(const dt_graph *g, int value)
{
    const dt_tensor *t = &g->value[value]->facts;
    const dt_graph_node *n = dt_graph_maker(g, value);
    int bits = 1;

    while (n && is_same_codes(n->kind)) n = dt_graph_maker(g, n->in[0]);
    if (n && n->kind == DT_OP_RANGE_QUANT) return ((const dt_range_quant_params *)n->params)->bits;
    while (bits < 32 && (int64_t)1 << bits <= t->qmax - t->qmin) bits++;
    return bits;
}

/* The type that an engine stores it in. */
static dt_tflite_type type_of_value(const dt_graph *g, int value)
{
    const dt_tensor *t = &g->value[value]->facts;

    if (t->type == DT_U8) return DT_TFLITE_UINT8;
    if (t->n_scale == 0) return DT_TFLITE_FLOAT32;
    const int bits = bits_of(g, value);
    return bits <= 8 ? DT_TFLITE_INT8 : bits <= 16 ? DT_TFLITE_INT16 : DT_TFLITE_INT32;
}

/* The image, and what nodes make of it. */
static dt_status list_computed(const dt_graph *g, dt_inventory *out)
{
    for (int i = 0; i < g->n_values; i++) {
        const dt_graph_value *v = g->value[i];
        const int is_node = v->source == DT_SOURCE_NODE && !v->facts.constant;
        if (!is_node && i != g->image) continue;
        const dt_tflite_type type = type_of_value(g, i);
        dt_tensor_info is = { .type = dt_tflite_type_name((int)type),
                              .ndim = v->facts.shape.ndim,
                              .bytes = dt_graph_count(g, i) * (int64_t)dt_tflite_type_bytes(type) };
        for (int d = 0; d < is.ndim; d++) is.dim[d] = v->facts.shape.dim[d];
        is.dim[0] = dt_graph_rows(g, i);
        DT_TRY(add(out, v->name, &is));
    }
    return DT_OK;
}

static dt_status list_network(const char *path, const char *format, dt_inventory *out)
{
    dt_program *program;
    dt_graph *graph;
    dt_status status = DT_OK;

    if (strcmp(format, DT_PROGRAM_FORMAT) == 0) {
        DT_TRY(dt_program_load(path, &program));
        status = list_computed(program->graph, out);
        dt_program_destroy(program);
    } else if (strcmp(format, "detent-checkpoint") == 0) {
        DT_TRY(dt_checkpoint_graph(path, &graph));
        status = list_computed(graph, out);
        dt_graph_destroy(graph);
    }
    return status;
}

static dt_status list(const char *path, dt_inventory *out)
{
    char format[64];

    if (dt_tflite_is_file(path)) return list_tflite(path, out);
    DT_TRY(list_stored(path, out));
    DT_TRY(dt_file_format(path, format, sizeof format));
    return list_network(path, format, out);
}

dt_status dt_inventory_read(const char *path, dt_inventory **out)
{
    dt_inventory *v = calloc(1, sizeof *v);

    DT_CHECK(v, DT_ERR_MEMORY, "no memory for the tensors of %s", path);
    const dt_status status = list(path, v);
    if (status != DT_OK) {
        dt_inventory_destroy(v);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = v;
    return DT_OK;
}

void dt_inventory_destroy(dt_inventory *v)
{
    if (!v) return;
    for (int i = 0; i < v->n; i++) free(v->tensor[i].name);
    free(v->tensor);
    free(v);
}

const dt_tensor_info *dt_inventory_find(const dt_inventory *v, const char *name)
{
    for (int i = 0; i < v->n; i++) {
        if (strcmp(v->tensor[i].name, name) == 0) return &v->tensor[i];
    }
    return NULL;
}
