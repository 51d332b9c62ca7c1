/*
 * graph_json.c - reads a network's file: see graph_json.h. graph_write.c writes it.
 *
 * Tests: tests/formats/test_network_file.c.
 */
#include "graph_json.h"

#include "../models/imply.h"
#include "graph_words.h"
#include "exchange.h"
#include "json_fields.h"
#include "json_file.h"
#include "metadata.h"
#include "stored_graph.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *file;
    dt_graph *graph;
} reader;

static int word_index(const char *const *words, const char *text)
{
    for (int i = 0; words[i]; i++) {
        if (text && strcmp(words[i], text) == 0) return i;
    }
    return -1;
}

/* The index of object's word `field`; `fallback` if there is none. */
static dt_status read_word(const reader *r, const cJSON *object, const char *field, const char *const *words,
                           int fallback, int *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    char text[64];

    *out = item ? word_index(words, cJSON_GetStringValue(item)) : fallback;
    DT_CHECK(*out >= 0, DT_ERR_FORMAT, "%s: %s is %s, expected one of %s, %s%s%s", r->file, field,
             dt_json_text(item, text, sizeof text), words[0], words[1], words[2] ? ", " : "", words[2] ? words[2] : "");
    return DT_OK;
}

/* A list of `least` to `most` whole numbers from 1 on. */
static dt_status read_shape(const reader *r, const cJSON *list, const char *what, int least, int most, dt_shape *out)
{
    const int n = cJSON_GetArraySize(list);
    const cJSON *item;
    char text[64];
    int at = 0;

    DT_CHECK(cJSON_IsArray(list) && n >= least && n <= most, DT_ERR_FORMAT,
             "%s: %s is %s, expected a list of %d to %d whole numbers", r->file, what,
             dt_json_text(list, text, sizeof text), least, most);
    out->ndim = n;
    cJSON_ArrayForEach(item, list)
    {
        const double v = cJSON_IsNumber(item) ? item->valuedouble : 0.0;
        DT_CHECK(v >= 1.0 && v <= (double)(1 << 30) && v == floor(v), DT_ERR_FORMAT,
                 "%s: %s is %s, expected whole numbers from 1 on", r->file, what,
                 dt_json_text(list, text, sizeof text));
        out->dim[at++] = (int64_t)v;
    }
    return DT_OK;
}

static dt_status read_number(const reader *r, const cJSON *object, const char *field, float fallback, float *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    char text[64];

    const int is_float = cJSON_IsNumber(item) && fabs(item->valuedouble) <= FLT_MAX;
    DT_CHECK(!item || cJSON_IsNull(item) || is_float, DT_ERR_FORMAT, "%s: %s is %s, expected a number that f32 holds",
             r->file, field, dt_json_text(item, text, sizeof text));
    *out = cJSON_IsNumber(item) ? (float)item->valuedouble : fallback;
    return DT_OK;
}

static dt_status read_param(reader *r, const cJSON *object)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "name"));
    dt_param_spec spec;
    int group, values, init, type, value;
    char text[64];

    DT_CHECK(name, DT_ERR_FORMAT, "%s: a parameter without a name: %s", r->file,
             dt_json_text(object, text, sizeof text));
    DT_TRY(read_shape(r, cJSON_GetObjectItemCaseSensitive(object, "shape"), name, 1, 4, &spec.shape));
    DT_TRY(read_word(r, object, "group", group_words, DT_GROUP_WEIGHT, &group));
    DT_TRY(read_word(r, object, "values", values_words, DT_VALUES_FINITE, &values));
    DT_TRY(read_word(r, object, "init", init_words, DT_INIT_CONSTANT, &init));
    DT_TRY(read_word(r, object, "type", type_words, 0, &type));
    DT_TRY(read_number(r, object, "value", 0.0f, &spec.init_value));
    DT_TRY(read_number(r, object, "floor", -INFINITY, &spec.floor));
    spec.group = (dt_param_group)group;
    spec.values = (dt_param_values)values;
    spec.init = (dt_init)init;
    spec.type = type ? DT_I32 : DT_F32;
    spec.sparse = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "sparse"));
    DT_CHECK(dt_graph_find(r->graph, name) < 0, DT_ERR_FORMAT, "%s: there are two parameters called %s", r->file, name);
    return dt_graph_param(r->graph, name, &spec, &value);
}

/* What only a tape has: it begins and ends a network there, or merges its nodes, or needs params that files lack. */
static int is_of_tapes(dt_op_kind kind)
{
    switch (kind) {
    case DT_OP_AUGMENT:
    case DT_OP_GATHER:
    case DT_OP_ROWS:
    case DT_OP_SOFTMAX_XENT:
    case DT_OP_SIGMOID_XENT:
    case DT_OP_LINEAR_XENT:
    case DT_OP_MARGIN_LOSS:
    case DT_OP_RECONSTRUCTION_LOSS:
    case DT_OP_NORM_QUANT:
    case DT_OP_BIAS_RELU:
    case DT_OP_BIAS_SQUASH:
    case DT_OP_PSUM:
    case DT_OP_FIXED_POINT: return 1;
    default: return 0;
    }
}

static dt_status read_constant(reader *r, const cJSON *object)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "name"));
    dt_shape shape;
    int value;
    char text[64];

    DT_CHECK(name, DT_ERR_FORMAT, "%s: a constant without a name: %s", r->file,
             dt_json_text(object, text, sizeof text));
    DT_TRY(read_shape(r, cJSON_GetObjectItemCaseSensitive(object, "shape"), name, 1, 4, &shape));
    DT_CHECK(dt_graph_find(r->graph, name) < 0, DT_ERR_FORMAT, "%s: there are two values called %s", r->file, name);
    return dt_graph_constant(r->graph, name, &shape, &value);
}

static dt_status find_op(const reader *r, const char *node, const char *name, dt_op_kind *out)
{
    for (int k = 0; k < DT_OP_COUNT; k++) {
        if (!name || strcmp(dt_ops[k]->name, name) != 0 || is_of_tapes((dt_op_kind)k)) continue;
        *out = (dt_op_kind)k;
        return DT_OK;
    }
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__,
                    "%s: %s: there is no operator '%s'; docs/NETWORK_FORMAT.md lists them", r->file, node,
                    name ? name : "");
}

static dt_status read_input(const reader *r, const char *node, const cJSON *item, int *in, int *n_in)
{
    const char *name = cJSON_GetStringValue(item);
    char text[64];

    DT_CHECK(name && *n_in < DT_MAX_IN, DT_ERR_FORMAT, "%s: %s: an input is %s, expected up to %d names of values",
             r->file, node, dt_json_text(item, text, sizeof text), DT_MAX_IN);
    in[*n_in] = dt_graph_find(r->graph, name);
    DT_CHECK(in[*n_in] >= 0, DT_ERR_FORMAT, "%s: %s reads '%s', which no node before it makes", r->file, node, name);
    (*n_in)++;
    return DT_OK;
}

static dt_status read_inputs(const reader *r, const char *node, const cJSON *list, int *in, int *n_in)
{
    const cJSON *item;

    *n_in = 0;
    if (!cJSON_IsArray(list)) return read_input(r, node, list, in, n_in);
    cJSON_ArrayForEach(item, list) DT_TRY(read_input(r, node, item, in, n_in));
    return DT_OK;
}

/* One number for a list of f->count. */
static dt_status read_repeated(const dt_field *f, const dt_field_place *at, const cJSON *item, void *params)
{
    cJSON *list = cJSON_CreateArray();
    int n = 0;

    for (; n < f->count; n++) {
        cJSON *one = cJSON_Duplicate(item, 0);
        if (cJSON_AddItemToArray(list, one)) continue;
        cJSON_Delete(one);
        break;
    }
    const dt_status status =
        n == f->count ? dt_field_read(f, at, list, (char *)params + f->offset)
                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for %s", at->file, f->name);
    cJSON_Delete(list);
    return status;
}

dt_status dt_graph_read_attribute(const dt_field *f, const dt_field_place *at, const cJSON *item, void *params)
{
    if (f->count > 0 && !cJSON_IsArray(item)) return read_repeated(f, at, item, params);
    return dt_field_read(f, at, item, (char *)params + f->offset);
}

static const dt_field size_fields[] = { { DT_MEMBER(dt_implied_sizes, filters), DT_INT(1, 1 << 20) },
                                        { DT_MEMBER(dt_implied_sizes, window), DT_INTS(2, 1, 4096) },
                                        { DT_MEMBER(dt_implied_sizes, features), DT_INT(1, 1 << 24) } };

static const dt_field *find_field(const dt_field *f, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(f[i].name, name) == 0) return &f[i];
    }
    return NULL;
}

/* What the file says for parameters that it leaves out; behind the operator's own attributes in a list. */
static const char *size_names(const dt_op *op)
{
    return strcmp(op->name, "conv") == 0 ? ", filters, window" : strcmp(op->name, "linear") == 0 ? ", features" : "";
}

static dt_status unknown_attribute(const dt_field_place *at, const dt_op *op, const char *name)
{
    char known[256] = "none";
    size_t used = 0;

    for (int i = 0; i < op->n_fields && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", op->fields[i].name);
    }
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: %s has no attribute '%.40s' of %s; there are: %s%s",
                    at->file, at->where, name, op->name, known, size_names(op));
}

/* params begin as the operator's defaults. */
static dt_status read_attributes(const dt_field_place *at, const dt_op *op, const cJSON *object, void *params,
                                 dt_implied_sizes *sizes)
{
    const cJSON *item;
    char text[64];

    DT_CHECK(!object || cJSON_IsObject(object), DT_ERR_FORMAT, "%s: %s: attributes are %s, expected an object",
             at->file, at->where, dt_json_text(object, text, sizeof text));
    cJSON_ArrayForEach(item, object)
    {
        const dt_field *f = find_field(op->fields, op->n_fields, item->string);
        const dt_field *size = f ? NULL : find_field(size_fields, DT_LENGTH(size_fields), item->string);
        void *to = f ? params : (void *)sizes;
        if (!f && !size) return unknown_attribute(at, op, item->string);
        if (!f) f = size;
        DT_TRY(dt_graph_read_attribute(f, at, item, to));
    }
    return DT_OK;
}

/* What the file leaves out has a default, or is needed. */
static dt_status check_needed(const dt_field_place *at, const dt_op *op, const void *params)
{
    for (int i = 0; i < op->n_fields; i++) {
        const dt_field *f = &op->fields[i];
        int64_t room[DT_FIELD_MOST]; /* or ints, or floats */
        cJSON *item = dt_field_make(f, (const char *)params + f->offset);
        const dt_status status = dt_field_read(f, at, item, room);
        cJSON_Delete(item);
        DT_CHECK(status == DT_OK, DT_ERR_FORMAT, "%s: %s: %s needs the attribute \"%s\"", at->file, at->where, op->name,
                 f->name);
    }
    return DT_OK;
}

/* A pool whose file names no stride moves by its window. */
static void default_stride(const cJSON *attributes, dt_op_kind kind, void *params)
{
    dt_pool_params *p = params;

    if (kind != DT_OP_MAXPOOL && kind != DT_OP_AVGPOOL) return;
    if (cJSON_GetObjectItemCaseSensitive(attributes, "stride")) return;
    for (int i = 0; i < 2; i++) p->stride[i] = p->window[i] > 0 ? p->window[i] : 1;
}

static dt_status read_node(reader *r, const cJSON *node, int number)
{
    const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(node, 0));
    const cJSON *attributes = cJSON_GetArrayItem(node, 3);
    const dt_field_place at = { r->file, name, ": " };
    dt_implied_sizes sizes = { 0 };
    int in[DT_MAX_IN], n_in, out;
    dt_op_kind kind = DT_OP_IDENTITY;
    char text[64];

    DT_CHECK(cJSON_IsArray(node) && name && cJSON_GetArraySize(node) >= 3, DT_ERR_FORMAT,
             "%s: node %d is %s, expected [name, operator, inputs, attributes]", r->file, number,
             dt_json_text(node, text, sizeof text));
    DT_TRY(find_op(r, name, cJSON_GetStringValue(cJSON_GetArrayItem(node, 1)), &kind));
    DT_TRY(read_inputs(r, name, cJSON_GetArrayItem(node, 2), in, &n_in));
    const dt_op *op = dt_ops[kind];
    void *params = calloc(1, op->params_bytes + 1);
    DT_CHECK(params, DT_ERR_MEMORY, "no memory for the parameters of %s", name);
    if (op->defaults) memcpy(params, op->defaults, op->params_bytes);
    dt_status status = read_attributes(&at, op, attributes, params, &sizes);
    default_stride(attributes, kind, params);
    if (status == DT_OK) status = check_needed(&at, op, params);
    const dt_status added =
        status == DT_OK ? dt_graph_add_implied(r->graph, kind, name, params, in, n_in, &sizes, &out) : DT_OK;
    free(params);
    DT_TRY(status);
    return added == DT_OK ? DT_OK : dt_metadata_blame(added, r->file);
}

static dt_status read_image(reader *r, const cJSON *object)
{
    dt_graph *g = r->graph;
    dt_shape side, one = { 4, { 1 } };
    int pixels, loss;

    DT_TRY(read_shape(r, cJSON_GetObjectItemCaseSensitive(object, "image"), "image", 3, 3, &side));
    DT_TRY(read_word(r, object, "pixels", pixels_words, NORMALISED, &pixels));
    DT_TRY(read_word(r, object, "loss", loss_words, DT_LOSS_CROSS_ENTROPY, &loss));
    memcpy(one.dim + 1, side.dim, 3 * sizeof *one.dim);
    g->unit_pixels = pixels == UNIT;
    g->loss = (dt_loss)loss;
    DT_TRY(dt_graph_give(g, "image", pixels == BYTES ? DT_U8 : DT_F32, &one, &g->image));
    if (!cJSON_GetObjectItemCaseSensitive(object, "masked")) return DT_OK;
    return dt_graph_give(g, "labels", DT_I32, &(dt_shape){ 1, { 1 } }, &g->labels);
}

static dt_status read_marks(reader *r, const cJSON *object)
{
    dt_graph *g = r->graph;

    g->scores = g->node[g->n_nodes - 1].out;
    for (int i = 0; i < N_MARKS; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, marks[i].name);
        const char *name = cJSON_GetStringValue(item);
        if (!item) continue;
        *mark_at(g, i) = name ? dt_graph_find(g, name) : -1;
        DT_CHECK(*mark_at(g, i) >= 0, DT_ERR_FORMAT, "%s: %s is '%s', which is no value of the network", r->file,
                 marks[i].name, name ? name : "");
    }
    DT_CHECK(dt_graph_shape(g, g->scores)->ndim == 2, DT_ERR_FORMAT,
             "%s: the scores, %s, have %d axes, expected N,classes; end the network with a linear layer", r->file,
             dt_graph_name(g, g->scores), dt_graph_shape(g, g->scores)->ndim);
    return DT_OK;
}

static dt_status read_all(reader *r, const cJSON *object)
{
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(object, "params"), *item;
    const cJSON *nodes = cJSON_GetObjectItemCaseSensitive(object, "nodes");
    const cJSON *constants = cJSON_GetObjectItemCaseSensitive(object, "constants");
    int number = 0;

    DT_TRY(read_image(r, object));
    cJSON_ArrayForEach(item, params) DT_TRY(read_param(r, item));
    DT_CHECK(cJSON_IsArray(nodes) && cJSON_GetArraySize(nodes) > 0, DT_ERR_FORMAT, "%s: there are no nodes", r->file);
    cJSON_ArrayForEach(item, nodes) DT_TRY(read_node(r, item, number++));
    cJSON_ArrayForEach(item, constants) DT_TRY(read_constant(r, item));
    return read_marks(r, object);
}

static dt_status check_head(const cJSON *object, const char *file)
{
    static const char *const known[] = { "format",   "version", "name",           "image",     "classes",
                                         "pixels",   "loss",    "params",         "nodes",     "scores",
                                         "capsules", "masked",  "reconstruction", "constants", "comment" };
    const char *format = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "format"));
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(object, "version"), *item;

    DT_CHECK(format && strcmp(format, "detent-network") == 0, DT_ERR_FORMAT,
             "%s: format is '%s', expected 'detent-network'", file, format ? format : "");
    DT_CHECK(!version ||
                 (cJSON_IsNumber(version) && version->valuedouble >= 1.0 && version->valuedouble <= DT_NETWORK_VERSION),
             DT_ERR_FORMAT,
             "%s: a network of version %g, and this detent reads versions up to %d; a newer one reads it", file,
             cJSON_IsNumber(version) ? version->valuedouble : 0.0, DT_NETWORK_VERSION);
    cJSON_ArrayForEach(item, object)
    {
        int is_known = 0;
        for (int i = 0; i < DT_LENGTH(known); i++) is_known |= strcmp(known[i], item->string) == 0;
        DT_CHECK(is_known, DT_ERR_FORMAT, "%s: '%.40s' is not a field of a network", file, item->string);
    }
    return DT_OK;
}

static dt_status check_classes(const dt_graph *g, const cJSON *object, const char *file)
{
    const cJSON *classes = cJSON_GetObjectItemCaseSensitive(object, "classes");
    const int64_t found = dt_graph_shape(g, g->scores)->dim[1];

    DT_CHECK(!classes || (cJSON_IsNumber(classes) && classes->valuedouble == (double)found), DT_ERR_FORMAT,
             "%s: classes is %g, and %s gives %lld scores", file, cJSON_IsNumber(classes) ? classes->valuedouble : 0.0,
             dt_graph_name(g, g->scores), (long long)found);
    return DT_OK;
}

/* "small" of a file "networks/small.json", where that does not say its network's name. */
static const char *name_of(const cJSON *object, const char *file, char room[DT_NAME_MAX + 1])
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "name"));
    const char *slash = strrchr(file, '/');

    if (name && name[0]) return name;
    snprintf(room, DT_NAME_MAX + 1, "%.*s", DT_NAME_MAX, slash ? slash + 1 : file);
    char *end = strrchr(room, '.');
    if (end && end > room) *end = '\0';
    return room;
}

dt_status dt_graph_from_json(const cJSON *object, const char *file, dt_graph **out)
{
    char room[DT_NAME_MAX + 1];
    reader r = { .file = file };

    DT_TRY(check_head(object, file));
    DT_TRY(dt_graph_create(name_of(object, file, room), &r.graph));
    dt_json_begin();
    dt_status status = read_all(&r, object);
    if (status == DT_OK) status = check_classes(r.graph, object, file);
    if (dt_json_lost()) status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for its network", file);
    if (status != DT_OK) {
        dt_graph_destroy(r.graph);
        const int is_named = strncmp(dt_last_error(), file, strlen(file)) == 0; /* the graph's checks know no file */
        return is_named ? dt_forward(status, __FILE__, __LINE__) : dt_metadata_blame(status, file);
    }
    *out = r.graph;
    return DT_OK;
}

dt_status dt_graph_load(const char *path, dt_graph **out)
{
    cJSON *object;

    if (dt_network_is_checkpoint(path)) return dt_checkpoint_graph(path, out);
    if (dt_exchange_is_file(path)) return dt_exchange_graph(path, out);
    DT_TRY(dt_json_file_read(path, &object));
    const dt_status status = dt_graph_from_json(object, path, out);
    cJSON_Delete(object);
    return status;
}
