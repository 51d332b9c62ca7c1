/*
 * program_file.c - a program in one safetensors file: its graph as JSON, the data of its values as tensors.
 *
 *   metadata  format = "detent-program", version = "2", model = text, graph = JSON (graph_json.h), data = JSON
 *             (origin_json.h)
 *   tensors   of every parameter and constant of the graph, by its name
 *
 * Files of version 1 are read by program_v1.c. Memory is allocated only for what the file holds. A program that is
 * loaded and saved gives equal bytes. docs/PROGRAM_FORMAT.md describes the format. Interface: dt_program_save,
 * dt_program_load in include/detent/array.h.  Tests: tests/formats/test_program_file.c.
 */
#include "program_file.h"

#include "exchange.h"
#include "graph_json.h"
#include "json_same.h"
#include "json_value.h"
#include "metadata.h"
#include "origin_json.h"
#include "utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 2 };

/* Types of data, and what they are in a file. */
static const struct {
    dt_dtype type;
    dt_safetensors_type in_file;
} types[] = { { DT_I8, DT_SAFETENSORS_I8 },
              { DT_I16, DT_SAFETENSORS_I16 },
              { DT_I32, DT_SAFETENSORS_I32 },
              { DT_I64, DT_SAFETENSORS_I64 },
              { DT_F32, DT_SAFETENSORS_F32 } };

enum { N_TYPES = DT_LENGTH(types) };

/* The program's name: UTF-8 on one line. */
static dt_status check_name(const char *name)
{
    const size_t bytes = strlen(name);
    const int is_text = dt_utf8_find_bad(name, (int64_t)bytes) < 0 && !name[strcspn(name, "\t\r\n\x7f")];

    DT_CHECK(bytes > 0 && bytes <= DT_NAME_MAX && is_text, DT_ERR_ARGUMENT,
             "program: its name is '%.80s', expected 1 to %d bytes of UTF-8 without control characters; name the "
             "network otherwise",
             name, DT_NAME_MAX);
    return DT_OK;
}

/* ---- saving ---- */

static dt_status add_graph(dt_safetensors_writer *w, const dt_graph *g)
{
    cJSON *object = cJSON_CreateObject();

    DT_CHECK(object, DT_ERR_MEMORY, "no memory for a program's JSON");
    dt_status s = dt_graph_to_json(g, object);
    if (s == DT_OK) s = dt_metadata_add(w, "graph", object);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

static dt_status add_tensor(dt_safetensors_writer *w, const dt_graph_value *v)
{
    const dt_shape *shape = &v->facts.shape;
    int k = 0;

    while (types[k].type != v->data_type) k++; /* dt_program_check knows no others */
    return dt_safetensors_writer_add(w, v->name, types[k].in_file, shape->ndim, shape->dim, v->data);
}

/* Parameters, then constants, as the JSON lists them; wide elements first, so that all are aligned. */
static dt_status add_tensors(dt_safetensors_writer *w, const dt_graph *g)
{
    static const dt_value_source sources[] = { DT_SOURCE_PARAM, DT_SOURCE_CONSTANT };

    for (size_t bytes = 8; bytes > 0; bytes /= 2) {
        for (int i = 0; i < 2 * g->n_values; i++) {
            const dt_graph_value *v = g->value[i % g->n_values];
            const int is_next = v->source == sources[i / g->n_values] && dt_type_bytes(v->data_type) == bytes;
            if (is_next) DT_TRY(add_tensor(w, v));
        }
    }
    return DT_OK;
}

static dt_status save(const dt_program *p, const char *path, dt_safetensors_writer *w)
{
    char version[8];

    snprintf(version, sizeof version, "%d", VERSION);
    DT_TRY(dt_metadata_begin(w, DT_PROGRAM_FORMAT, version));
    DT_TRY(dt_safetensors_writer_metadata(w, "model", p->graph->name));
    DT_TRY(add_graph(w, p->graph));
    DT_TRY(dt_origin_add(w, &p->origin));
    DT_TRY(add_tensors(w, p->graph));
    DT_TRY(dt_safetensors_writer_write(w, path));
    return DT_OK;
}

dt_status dt_program_save(const dt_program *p, const char *path)
{
    dt_safetensors_writer *w = NULL;

    DT_TRY(dt_program_check(p));
    DT_TRY(check_name(p->graph->name));
    dt_status s = dt_safetensors_writer_create(&w);
    if (s == DT_OK) s = save(p, path, w);
    dt_safetensors_writer_destroy(w);
    DT_TRY(s);
    return DT_OK;
}

/* ---- loading ---- */

/* The name stands in the graph too, where programs find it. */
static dt_status read_model(const dt_safetensors *file, const char *path, const dt_graph *g)
{
    const char *text = NULL;

    DT_TRY(dt_metadata_text(file, path, "model", &text));
    if (check_name(text) != DT_OK) return dt_file_blame(DT_ERR_FORMAT, path);
    DT_CHECK(strcmp(text, g->name) == 0, DT_ERR_FORMAT, "%s: model is '%.80s', and the graph's name '%.80s'", path,
             text, g->name);
    return DT_OK;
}

/* No operator that programs have none of is even looked at. */
static dt_status check_operators(const cJSON *object, const char *path)
{
    const cJSON *node;

    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(object, "nodes"))
    {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(node, 0));
        const cJSON *op = cJSON_GetArrayItem(node, 1);
        int is_known = 0;
        char text[64];
        for (int k = 0; k < DT_OP_COUNT; k++) {
            const char *known = dt_program_has_kind((dt_op_kind)k) ? dt_ops[k]->name : NULL;
            is_known |= known && cJSON_IsString(op) && strcmp(known, op->valuestring) == 0;
        }
        DT_CHECK(is_known, DT_ERR_FORMAT, "%s: %s: the operator is %s, which programs do not have", path,
                 name ? name : "a node without a name", dt_json_text(op, text, sizeof text));
    }
    return DT_OK;
}

/* The graph, if the JSON is what this version writes of it. */
static dt_status read_same(const cJSON *object, const char *path, dt_program *p)
{
    cJSON *again = cJSON_CreateObject();

    DT_CHECK(again, DT_ERR_MEMORY, "%s: no memory for a program's JSON", path);
    dt_status s = dt_graph_to_json(p->graph, again);
    if (s == DT_OK) s = dt_json_same(path, "graph", object, again);
    cJSON_Delete(again);
    return s;
}

static dt_status read_graph(const dt_safetensors *file, const char *path, dt_program *p)
{
    cJSON *object;

    DT_TRY(dt_metadata_json(file, path, "graph", &object));
    dt_status s = cJSON_IsObject(object)
                      ? check_operators(object, path)
                      : dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: graph is not a JSON object", path);
    if (s == DT_OK) s = dt_file_blame(dt_graph_from_json(object, path, &p->graph), path);
    if (s == DT_OK) s = read_same(object, path, p);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

/* "64x3x3x3" */
static const char *tensor_text(const dt_safetensors_tensor *t, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "%s ", dt_safetensors_type_name(t->type));

    for (int i = 0; i < t->ndim && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "%s%" PRId64, i ? "x" : "", t->dim[i]);
    }
    return text;
}

static dt_status read_tensor(const dt_safetensors *file, const char *path, dt_graph *g, int value)
{
    const dt_shape *shape = dt_graph_shape(g, value);
    const char *name = dt_graph_name(g, value);
    const dt_safetensors_tensor *t = dt_safetensors_find(file, name);
    char got[192], expected[96];
    int k = 0;

    DT_CHECK(t, DT_ERR_FORMAT, "%s: tensor '%s' is missing", path, name);
    while (k < N_TYPES && types[k].in_file != t->type) k++;
    DT_CHECK(k < N_TYPES && t->ndim == shape->ndim && dt_safetensors_has_shape(t, shape->ndim, shape->dim),
             DT_ERR_FORMAT, "%s: tensor '%s' is %s, expected %s, integers or F32", path, name,
             tensor_text(t, got, sizeof got), dt_shape_text(shape, expected, sizeof expected));
    void *data = malloc((size_t)(t->end - t->begin) + 1);
    DT_CHECK(data, DT_ERR_MEMORY, "%s: no memory for tensor '%s' of %" PRId64 " bytes", path, name, t->end - t->begin);
    const dt_status s = dt_safetensors_read(file, t, data);
    if (s != DT_OK) {
        free(data);
        return dt_forward(s, __FILE__, __LINE__);
    }
    dt_graph_set_data(g, value, types[k].type, data);
    return DT_OK;
}

static dt_status read_tensors(const dt_safetensors *file, const char *path, dt_graph *g)
{
    for (int i = 0; i < g->n_values; i++) {
        const dt_value_source source = g->value[i]->source;
        if (source == DT_SOURCE_PARAM || source == DT_SOURCE_CONSTANT) DT_TRY(read_tensor(file, path, g, i));
    }
    for (int i = 0; i < dt_safetensors_count(file); i++) {
        const char *name = dt_safetensors_at(file, i)->name;
        const int value = dt_graph_find(g, name);
        DT_CHECK(value >= 0 && g->value[value]->data, DT_ERR_FORMAT, "%s: tensor '%.80s' belongs to no node", path,
                 name);
    }
    return DT_OK;
}

static dt_status load(const dt_safetensors *file, const char *path, dt_program *p)
{
    DT_TRY(read_graph(file, path, p));
    DT_TRY(read_model(file, path, p->graph));
    DT_TRY(read_tensors(file, path, p->graph));
    return DT_OK;
}

static dt_status load_any(const dt_safetensors *file, const char *path, dt_program *p)
{
    int version = 0;

    DT_TRY(dt_metadata_version(file, path, DT_PROGRAM_FORMAT, 1, VERSION, &version));
    DT_TRY(version == 1 ? dt_program_load_v1(file, path, p) : load(file, path, p));
    const dt_status s = dt_program_check(p);
    if (s != DT_OK) return dt_metadata_blame(s, path);
    return dt_origin_read(file, path, dt_program_image(p).channels, &p->origin);
}

static dt_status load_open(const char *path, const dt_safetensors *file, dt_program **out)
{
    dt_program *p = calloc(1, sizeof *p);

    DT_CHECK(p, DT_ERR_MEMORY, "%s: no memory for a program", path);
    const dt_status s = load_any(file, path, p);
    if (s != DT_OK) {
        dt_program_destroy(p);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = p;
    return DT_OK;
}

dt_status dt_program_load(const char *path, dt_program **out)
{
    dt_safetensors *file;

    if (dt_exchange_is_file(path)) return dt_exchange_program(path, out);
    DT_TRY(dt_safetensors_open(path, &file));
    const dt_status s = load_open(path, file, out);
    dt_safetensors_close(file);
    DT_TRY(s);
    return DT_OK;
}
