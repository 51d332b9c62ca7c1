/*
 * onnx_read.c - ModelProto, GraphProto, NodeProto, AttributeProto and ValueInfoProto as plain data.
 *
 * Messages are nested no deeper than these: graphs inside of attributes (If, Loop) are not entered, and refused by the
 * name of their operator when a network is made.
 */
#include "onnx_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTRIBUTES = 64, MAX_LINKS = 1024, MAX_INTS = 4096 };
enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_NOTE = 14, MODEL_FUNCTION = 25 };
enum { NOTE_KEY = 1, NOTE_TEXT = 2 };
enum { FUNCTION_DOMAIN = 10 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION = 2 };
enum { GRAPH_NODE = 1, GRAPH_CONSTANT = 5, GRAPH_IN = 11, GRAPH_OUT = 12, GRAPH_SPARSE = 15 };
enum { NODE_IN = 1, NODE_OUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7 };
enum {
    A_NAME = 1,
    A_FLOAT = 2,
    A_INT = 3,
    A_STRING = 4,
    A_TENSOR = 5,
    A_FLOATS = 7,
    A_INTS = 8,
    A_TYPE = 20,
    A_REF = 21
};
enum { END_NAME = 1, END_TYPE = 2, TYPE_TENSOR = 1, TENSOR_TYPE = 1, TENSOR_SHAPE = 2, SHAPE_DIM = 1, DIM_VALUE = 1 };

/* Calls `read` for each field of a message. */
static dt_status each_field(dt_onnx *file, dt_onnx_message *m, void *to,
                            dt_status (*read)(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to))
{
    dt_onnx_field f;
    int is_there;

    for (;;) {
        DT_TRY(dt_onnx_next(m, &f, &is_there));
        if (!is_there) return DT_OK;
        DT_TRY(read(file, m, &f, to));
    }
}

/* ---- nodes ---- */

static dt_status read_attribute_tensor(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, dt_onnx_attribute *a)
{
    dt_onnx_message child;
    char *name = NULL;

    DT_TRY(dt_onnx_child(m, f, "TensorProto", &child));
    DT_TRY(dt_onnx_add_tensor(file, &a->tensor));
    const dt_status status = dt_onnx_read_tensor(file, &child, &file->tensor[a->tensor], &name);
    free(name);
    return status;
}

static dt_status read_attribute(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    dt_onnx_attribute *a = to;
    dt_onnx_numbers ints = { a->ints, a->n_ints };
    int64_t type;

    switch (f->number) {
    case A_NAME: return dt_onnx_text(m, f, &a->name);
    case A_FLOAT: return dt_onnx_real(m, f, &a->real);
    case A_INT: return dt_onnx_integer(m, f, INT64_MIN, INT64_MAX, &a->integer);
    case A_STRING: return dt_onnx_text(m, f, &a->text);
    case A_TENSOR: return read_attribute_tensor(file, m, f, a);
    case A_TYPE:
        DT_TRY(dt_onnx_integer(m, f, 0, INT32_MAX, &type));
        a->type = (int)type;
        return DT_OK;
    case A_INTS: {
        const dt_status status = dt_onnx_append(m, f, &ints, MAX_INTS);
        a->ints = ints.number;
        a->n_ints = ints.n;
        return status;
    }
    case A_REF:
        DT_WIRE_CHECK(0, m, "an attribute that refers to a function's (field %d), which is not understood", A_REF);
    default: return DT_OK;
    }
}

/* Very old files have no type; then it follows from the one field that is there, a number or a list. */
static dt_status add_attribute(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, dt_onnx_node *n)
{
    dt_onnx_message child;

    DT_TRY(dt_onnx_child(m, f, "AttributeProto", &child));
    DT_TRY(dt_onnx_grow(file->path, (void **)&n->attribute, n->n_attributes, sizeof *n->attribute, MAX_ATTRIBUTES,
                        "attributes of a node"));
    dt_onnx_attribute *a = &n->attribute[n->n_attributes++];
    *a = (dt_onnx_attribute){ .tensor = -1 };
    DT_TRY(each_field(file, &child, a, read_attribute));
    DT_WIRE_CHECK(a->name, m, "attribute %d has no name", n->n_attributes - 1);
    DT_WIRE_CHECK(a->type != DT_ONNX_A_STRING || a->text, m, "attribute '%.80s' is a text (type %d) without one",
                  a->name, a->type);
    DT_WIRE_CHECK(a->type != DT_ONNX_A_TENSOR || a->tensor >= 0, m,
                  "attribute '%.80s' is a tensor (type %d) without one", a->name, a->type);
    return DT_OK;
}

/* Adds the value of a name to a list of values. "" stands for one that is not given. */
static dt_status add_link(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, int **list, int *n)
{
    char *name = NULL;
    int value = -1;

    DT_TRY(dt_onnx_grow(file->path, (void **)list, *n, sizeof **list, MAX_LINKS, "inputs or outputs of a node"));
    dt_status status = dt_onnx_text(m, f, &name);
    if (status == DT_OK && name[0]) status = dt_onnx_value_of(file, name, &value);
    free(name);
    DT_TRY(status);
    (*list)[(*n)++] = value;
    return DT_OK;
}

static dt_status read_node(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    dt_onnx_node *n = to;

    switch (f->number) {
    case NODE_IN: return add_link(file, m, f, &n->in, &n->n_in);
    case NODE_OUT: return add_link(file, m, f, &n->out, &n->n_out);
    case NODE_NAME: return dt_onnx_text(m, f, &n->name);
    case NODE_OP: return dt_onnx_text(m, f, &n->op);
    case NODE_DOMAIN: return dt_onnx_text(m, f, &n->domain);
    case NODE_ATTRIBUTE: return add_attribute(file, m, f, n);
    default: return DT_OK;
    }
}

/* Gives a text that the message did not have. */
static dt_status fill_text(const dt_onnx *file, char **text)
{
    if (!*text) *text = strdup("");
    DT_CHECK(*text, DT_ERR_MEMORY, "%s: no memory", file->path);
    return DT_OK;
}

static dt_status add_node(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f)
{
    dt_onnx_message child;

    DT_TRY(dt_onnx_child(m, f, "NodeProto", &child));
    DT_TRY(
        dt_onnx_grow(file->path, (void **)&file->node, file->n_nodes, sizeof *file->node, DT_ONNX_MAX_NODES, "nodes"));
    dt_onnx_node *n = &file->node[file->n_nodes++];
    *n = (dt_onnx_node){ .name = NULL };
    DT_TRY(each_field(file, &child, n, read_node));
    DT_TRY(fill_text(file, &n->name));
    DT_TRY(fill_text(file, &n->op));
    DT_TRY(fill_text(file, &n->domain));
    for (int k = 0; k < n->n_out; k++) {
        if (n->out[k] >= 0) file->value[n->out[k]].node = file->n_nodes - 1;
    }
    return DT_OK;
}

/* ---- constants ---- */

static dt_status add_constant(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f)
{
    dt_onnx_message child;
    char *name = NULL;
    int tensor, value = -1;

    DT_TRY(dt_onnx_child(m, f, "TensorProto", &child));
    DT_TRY(dt_onnx_add_tensor(file, &tensor));
    dt_status status = dt_onnx_read_tensor(file, &child, &file->tensor[tensor], &name);
    if (status == DT_OK && name && name[0]) status = dt_onnx_value_of(file, name, &value);
    free(name);
    DT_TRY(status);
    DT_WIRE_CHECK(value >= 0, m, "constant %d has no name", tensor);
    DT_WIRE_CHECK(file->value[value].tensor < 0, m, "two constants of the name '%.80s', the second is %d",
                  file->value[value].name, tensor);
    file->value[value].tensor = tensor;
    return DT_OK;
}

/* ---- the ends ---- */

static dt_status read_dim(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    int64_t *dim = to;

    (void)file;
    return f->number == DIM_VALUE ? dt_onnx_integer(m, f, INT64_MIN, INT64_MAX, dim) : DT_OK;
}

static dt_status read_shape(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    dt_onnx_end *end = to;
    dt_onnx_message child;
    int64_t dim = -1;

    if (f->number != SHAPE_DIM) return DT_OK;
    DT_TRY(dt_onnx_child(m, f, "Dimension", &child));
    DT_WIRE_CHECK(end->n_dims < DT_ONNX_MAX_DIMS, m, "more than %d dimensions", DT_ONNX_MAX_DIMS);
    DT_TRY(each_field(file, &child, &dim, read_dim));
    if (dim <= 0) end->is_free |= 1u << end->n_dims;
    end->dim[end->n_dims++] = dim <= 0 ? 1 : dim;
    return DT_OK;
}

static dt_status read_tensor_type(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    dt_onnx_end *end = to;
    dt_onnx_message child;
    int64_t type;

    if (f->number == TENSOR_SHAPE) {
        DT_TRY(dt_onnx_child(m, f, "TensorShapeProto", &child));
        end->n_dims = 0;
        return each_field(file, &child, end, read_shape);
    }
    if (f->number != TENSOR_TYPE) return DT_OK;
    DT_TRY(dt_onnx_integer(m, f, 0, INT32_MAX, &type));
    end->type = (int)type;
    return DT_OK;
}

static dt_status read_type(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    dt_onnx_message child;

    if (f->number != TYPE_TENSOR) return DT_OK;
    DT_TRY(dt_onnx_child(m, f, "TypeProto.Tensor", &child));
    return each_field(file, &child, to, read_tensor_type);
}

static dt_status read_end(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    dt_onnx_end *end = to;
    dt_onnx_message child;
    char *name = NULL;

    if (f->number == END_NAME) {
        dt_status status = dt_onnx_text(m, f, &name);
        if (status == DT_OK) status = dt_onnx_value_of(file, name, &end->value);
        free(name);
        return status;
    }
    if (f->number != END_TYPE) return DT_OK;
    DT_TRY(dt_onnx_child(m, f, "TypeProto", &child));
    return each_field(file, &child, end, read_type);
}

static dt_status add_end(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, dt_onnx_end **list, int *n)
{
    dt_onnx_message child;

    DT_TRY(dt_onnx_child(m, f, "ValueInfoProto", &child));
    DT_TRY(dt_onnx_grow(file->path, (void **)list, *n, sizeof **list, DT_ONNX_MAX_VALUES, "ends"));
    dt_onnx_end *end = &(*list)[*n];
    *end = (dt_onnx_end){ .value = -1, .n_dims = -1 };
    DT_TRY(each_field(file, &child, end, read_end));
    DT_WIRE_CHECK(end->value >= 0, m, "input or output %d has no name", *n);
    ++*n;
    return DT_OK;
}

/* ---- the whole ---- */

static dt_status read_graph(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    (void)to;
    switch (f->number) {
    case GRAPH_NODE: return add_node(file, m, f);
    case GRAPH_CONSTANT: return add_constant(file, m, f);
    case GRAPH_IN: return add_end(file, m, f, &file->in, &file->n_in);
    case GRAPH_OUT: return add_end(file, m, f, &file->out, &file->n_out);
    case GRAPH_SPARSE:
        return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: has sparse constants, which are not understood",
                        file->path);
    default: return DT_OK;
    }
}

typedef struct {
    char *domain;
    int64_t version;
} opset;

static dt_status read_opset(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    opset *o = to;

    (void)file;
    if (f->number == OPSET_DOMAIN) return dt_onnx_text(m, f, &o->domain);
    return f->number == OPSET_VERSION ? dt_onnx_integer(m, f, 0, INT32_MAX, &o->version) : DT_OK;
}

/* Keeps the version of ONNX's own operators; those of other domains are refused where they stand. */
static dt_status add_opset(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f)
{
    dt_onnx_message child;
    opset o = { NULL, 0 };

    DT_TRY(dt_onnx_child(m, f, "OperatorSetIdProto", &child));
    const dt_status status = each_field(file, &child, &o, read_opset);
    const int is_own = !o.domain || !o.domain[0] || strcmp(o.domain, "ai.onnx") == 0;
    free(o.domain);
    if (status == DT_OK && is_own) file->opset = (int)o.version;
    return status;
}

static dt_status read_function_field(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    (void)file;
    return f->number == FUNCTION_DOMAIN ? dt_onnx_text(m, f, to) : DT_OK;
}

/* A function says what an operator of another domain is. Those of QONNX are known, and others are refused. */
static dt_status read_function(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f)
{
    dt_onnx_message child;
    char *domain = NULL;

    DT_TRY(dt_onnx_child(m, f, "FunctionProto", &child));
    const dt_status status = each_field(file, &child, &domain, read_function_field);
    const int is_known = domain && dt_onnx_is_quant_domain(domain);
    free(domain);
    DT_TRY(status);
    DT_CHECK(is_known, DT_ERR_UNSUPPORTED,
             "%s: has functions of its own, which are not understood; write it without them", file->path);
    return DT_OK;
}

typedef struct {
    char *key, *text;
} note;

static dt_status read_note_field(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    note *n = to;
    (void)file;

    if (f->number == NOTE_KEY) return dt_onnx_text(m, f, &n->key);
    return f->number == NOTE_TEXT ? dt_onnx_text(m, f, &n->text) : DT_OK;
}

static dt_status read_note(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f)
{
    note n = { NULL, NULL };
    dt_onnx_message child;

    DT_TRY(dt_onnx_child(m, f, "StringStringEntryProto", &child));
    dt_status status = each_field(file, &child, &n, read_note_field);
    if (status == DT_OK && n.key && n.text) status = dt_onnx_take_note(file, n.key, n.text);
    free(n.key);
    free(n.text);
    DT_TRY(status);
    return DT_OK;
}

static dt_status read_model(dt_onnx *file, dt_onnx_message *m, const dt_onnx_field *f, void *to)
{
    int *n_graphs = to;
    dt_onnx_message child;
    int64_t version;

    switch (f->number) {
    case MODEL_IR:
        DT_TRY(dt_onnx_integer(m, f, 1, INT32_MAX, &version));
        file->ir_version = (int)version;
        return DT_OK;
    case MODEL_PRODUCER: return dt_onnx_text(m, f, &file->producer);
    case MODEL_OPSET: return add_opset(file, m, f);
    case MODEL_NOTE: return read_note(file, m, f);
    case MODEL_FUNCTION: return read_function(file, m, f);
    case MODEL_GRAPH:
        DT_WIRE_CHECK(++*n_graphs == 1, m, "%d graphs; understood is one", *n_graphs);
        DT_TRY(dt_onnx_child(m, f, "GraphProto", &child));
        return each_field(file, &child, NULL, read_graph);
    default: return DT_OK;
    }
}

/* Leaves out inputs that have a constant of their name, as files of IR version 3 list them. */
static void drop_constant_inputs(dt_onnx *file)
{
    int kept = 0;

    for (int i = 0; i < file->n_in; i++) {
        if (file->value[file->in[i].value].tensor < 0) file->in[kept++] = file->in[i];
    }
    file->n_in = kept;
}

static dt_status read_source(const char *path, dt_onnx_source *source, dt_onnx **out)
{
    dt_onnx *file = calloc(1, sizeof *file);
    int n_graphs = 0;

    if (file) file->path = strdup(path);
    if (!file || !file->path) {
        free(file);
        dt_onnx_source_close(source);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory", path);
    }
    file->file[file->n_files++] = source;
    dt_onnx_message whole = { source, "ModelProto", 0, source->bytes };
    dt_status status = each_field(file, &whole, &n_graphs, read_model);
    if (status == DT_OK && n_graphs == 0)
        status = dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: has no graph, so it is no ONNX model", path);
    if (status == DT_OK) drop_constant_inputs(file);
    if (status == DT_OK) status = dt_onnx_check(file);
    if (status == DT_OK) status = dt_onnx_expand(file);
    if (status != DT_OK) {
        dt_onnx_destroy(file);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = file;
    return DT_OK;
}

dt_status dt_onnx_read(const char *path, dt_onnx **out)
{
    dt_onnx_source *source;

    DT_TRY(dt_onnx_source_open(path, &source));
    return read_source(path, source, out);
}

dt_status dt_onnx_read_bytes(const char *path, const void *data, size_t bytes, dt_onnx **out)
{
    dt_onnx_source *source;

    DT_TRY(dt_onnx_source_of(path, data, bytes, &source));
    return read_source(path, source, out);
}
