/*
 * graph.c - graphs as objects: values and nodes are added, looked up and freed.
 *
 * Tests: tests/core/test_graph.c.
 */
#include "graph.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

dt_status dt_graph_create(const char *name, dt_graph **out)
{
    const size_t bytes = strlen(name);

    DT_CHECK(bytes <= DT_NAME_MAX, DT_ERR_ARGUMENT,
             "the network's name '%.40s...' has %zu bytes, allowed are up to %d; give it a shorter one", name, bytes,
             DT_NAME_MAX);
    dt_graph *g = calloc(1, sizeof *g);
    char *copy = strdup(name);
    if (!g || !copy) {
        free(g);
        free(copy);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the graph of %s", name);
    }
    g->name = copy;
    g->image = g->labels = g->scores = g->capsules = g->masked = g->reconstruction = -1;
    *out = g;
    return DT_OK;
}

static void value_destroy(dt_graph_value *v)
{
    free(v->name);
    free(v->data);
    free(v);
}

void dt_graph_destroy(dt_graph *g)
{
    if (!g) return;
    for (int i = 0; i < g->n_nodes; i++) free(g->node[i].params);
    for (int i = 0; i < g->n_values; i++) value_destroy(g->value[i]);
    free(g->node);
    free(g->value);
    free(g->name);
    free(g);
}

int dt_graph_find(const dt_graph *g, const char *name)
{
    for (int i = 0; i < g->n_values; i++) {
        if (strcmp(g->value[i]->name, name) == 0) return i;
    }
    return -1;
}

const char *dt_graph_name(const dt_graph *g, int value)
{
    return g->value[value]->name;
}

const dt_shape *dt_graph_shape(const dt_graph *g, int value)
{
    return &g->value[value]->facts.shape;
}

const dt_graph_node *dt_graph_maker(const dt_graph *g, int value)
{
    const int node = g->value[value]->node;

    return node < 0 ? NULL : &g->node[node];
}

int dt_graph_has(const dt_graph *g, dt_op_kind kind)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == kind) return 1;
    }
    return 0;
}

int dt_graph_n_readers(const dt_graph *g, int value)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) n += g->node[i].in[k] == value;
    }
    return n;
}

int dt_graph_n_read(const dt_graph_node *n, int training)
{
    const int in_eval = dt_ops[n->kind]->n_in_eval;

    return training || in_eval == 0 || n->n_in < in_eval ? n->n_in : in_eval;
}

/* Nodes read earlier values only. */
void dt_graph_mark_needed(const dt_graph *g, dt_tensor *const *known, int training, char *needed)
{
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const dt_graph_node *n = &g->node[i];
        if (!needed[n->out] || (known && known[n->out])) continue;
        for (int k = 0; k < dt_graph_n_read(n, training); k++) needed[n->in[k]] = 1;
    }
}

int64_t dt_graph_count(const dt_graph *g, int value)
{
    return dt_count(dt_graph_shape(g, value)) / DT_FACTS_BATCH;
}

int dt_graph_rows(const dt_graph *g, int value)
{
    return (int)(dt_graph_shape(g, value)->dim[0] / DT_FACTS_BATCH);
}

/* Room for one more element of `size` bytes behind n; doubles when it is used up. */
static dt_status grow(void **array, int n, int *room, size_t size)
{
    if (n < *room) return DT_OK;
    const int wanted = *room ? 2 * *room : 64;
    void *bigger = realloc(*array, (size_t)wanted * size);
    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for a graph of %d values or nodes", wanted);
    *array = bigger;
    *room = wanted;
    return DT_OK;
}

static dt_status name_check(const dt_graph *g, const char *name)
{
    const size_t bytes = strlen(name);

    DT_CHECK(bytes > 0 && bytes <= DT_NAME_MAX, DT_ERR_ARGUMENT,
             "%s: the name '%.40s%s' has %zu bytes, allowed are 1..%d", g->name, name, bytes > 40 ? "..." : "", bytes,
             DT_NAME_MAX);
    DT_CHECK(dt_graph_find(g, name) < 0, DT_ERR_ARGUMENT, "%s: two values are called '%s'; give one another name",
             g->name, name);
    return DT_OK;
}

/* Of that many values, and no axis of none. */
static dt_status size_check(const char *name, const dt_shape *shape)
{
    int64_t n = 1;
    char text[96];

    for (int i = 0; i < shape->ndim; i++) {
        const int64_t side = shape->dim[i];
        DT_CHECK(side >= 1 && side <= DT_VALUE_MOST / n, DT_ERR_SHAPE,
                 "%s: %s has an axis of 0, or more than %d values", name, dt_shape_text(shape, text, sizeof text),
                 DT_VALUE_MOST);
        n *= side;
    }
    return DT_OK;
}

/* Appends a value without facts. */
static dt_status value_add(dt_graph *g, const char *name, dt_value_source source, dt_graph_value **out)
{
    DT_TRY(name_check(g, name));
    DT_TRY(grow((void **)&g->value, g->n_values, &g->values_room, sizeof *g->value));
    dt_graph_value *v = calloc(1, sizeof *v);
    char *copy = strdup(name);
    if (!v || !copy) {
        free(v);
        free(copy);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s", name);
    }
    v->name = copy;
    v->source = source;
    v->node = -1;
    v->facts.name = copy;
    g->value[g->n_values++] = v;
    *out = v;
    return DT_OK;
}

dt_status dt_graph_give(dt_graph *g, const char *name, dt_dtype type, const dt_shape *shape, int *out)
{
    dt_shape batch = *shape;
    dt_graph_value *v = NULL;

    batch.dim[0] *= DT_FACTS_BATCH;
    DT_TRY(size_check(name, &batch));
    DT_TRY(value_add(g, name, DT_SOURCE_GIVEN, &v));
    v->facts.type = type;
    v->facts.shape = batch;
    *out = g->n_values - 1;
    return DT_OK;
}

dt_status dt_graph_param(dt_graph *g, const char *name, const dt_param_spec *spec, int *out)
{
    const int known = dt_graph_find(g, name);
    char is[64], wanted[64];
    dt_graph_value *v = NULL;

    if (known >= 0) {
        const dt_graph_value *k = g->value[known];
        DT_CHECK(k->source == DT_SOURCE_PARAM && dt_same_shape(&k->facts.shape, &spec->shape), DT_ERR_SHAPE,
                 "%s is %s, the network wants %s", name, dt_shape_text(&k->facts.shape, is, sizeof is),
                 dt_shape_text(&spec->shape, wanted, sizeof wanted));
        *out = known;
        return DT_OK;
    }
    DT_TRY(size_check(name, &spec->shape));
    DT_TRY(value_add(g, name, DT_SOURCE_PARAM, &v));
    v->param = *spec;
    v->facts.type = spec->type;
    v->facts.shape = spec->shape;
    v->facts.constant = 1;
    v->facts.wants_grad = spec->group != DT_GROUP_STATE;
    *out = g->n_values - 1;
    return DT_OK;
}

dt_status dt_graph_constant(dt_graph *g, const char *name, const dt_shape *shape, int *out)
{
    dt_graph_value *v = NULL;

    DT_TRY(size_check(name, shape));
    DT_TRY(value_add(g, name, DT_SOURCE_CONSTANT, &v));
    v->facts.shape = *shape;
    *out = g->n_values - 1;
    return DT_OK;
}

void dt_graph_set_data(dt_graph *g, int value, dt_dtype type, void *data)
{
    dt_graph_value *v = g->value[value];

    assert(v->source == DT_SOURCE_PARAM || v->source == DT_SOURCE_CONSTANT);
    free(v->data);
    v->data = data;
    v->data_type = type;
}

dt_status dt_graph_param_with(dt_graph *g, const char *name, const dt_param_spec *spec, dt_dtype type, void *data,
                              int *out)
{
    const dt_status status = data ? dt_graph_param(g, name, spec, out)
                                  : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for %s", g->name, name);
    if (status != DT_OK) {
        free(data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    dt_graph_set_data(g, *out, type, data);
    return DT_OK;
}

size_t dt_graph_data_bytes(const dt_graph *g, int value)
{
    const dt_graph_value *v = g->value[value];

    return v->data ? (size_t)dt_count(&v->facts.shape) * dt_type_bytes(v->data_type) : 0;
}

/* Pixels as bytes, and labels and biases as integers are for a few operators; the others take f32, constants nobody. */
static dt_status input_check(const dt_graph *g, const char *name, const dt_graph_node *n, int k)
{
    static const char *const types[] = { "f32", "i32", "u8", "i8", "bf16", "f16", "i16", "i64" };
    const dt_graph_value *v = g->value[n->in[k]];
    const int takes_bytes = n->kind == DT_OP_TABLE && k == 0 && v->source == DT_SOURCE_GIVEN;
    const int takes_integers = (n->kind == DT_OP_CAPS_MASK && k == 1) || (n->kind == DT_OP_REQUANTIZE && k == 4);
    const dt_dtype wanted = takes_bytes ? DT_U8 : takes_integers ? DT_I32 : DT_F32;

    DT_CHECK(v->source != DT_SOURCE_CONSTANT, DT_ERR_ARGUMENT,
             "%s: %s reads %s, which stands beside the network; make it a parameter", name, dt_ops[n->kind]->name,
             v->name);
    DT_CHECK(v->facts.type == wanted, DT_ERR_ARGUMENT, "%s: %s reads %s, which is of the type %s, expected %s", name,
             dt_ops[n->kind]->name, v->name, types[v->facts.type], types[wanted]);
    return DT_OK;
}

/* The operator's facts for these inputs: what the tape will find again, but for a batch of DT_FACTS_BATCH. */
static dt_status facts_infer(const dt_graph *g, const char *name, const dt_graph_node *n, dt_tensor *facts)
{
    const dt_op *op = dt_ops[n->kind];
    dt_node node = { .kind = n->kind, .name = name, .params = n->params, .n_in = n->n_in, .out = facts };
    int constant = 1, wants_grad = 0;

    DT_CHECK(n->n_in >= op->min_in && n->n_in <= op->max_in, DT_ERR_ARGUMENT, "%s: %s takes %d to %d inputs, got %d",
             name, op->name, op->min_in, op->max_in, n->n_in);
    for (int k = 0; k < n->n_in; k++) {
        assert(n->in[k] >= 0 && n->in[k] < g->n_values);
        DT_TRY(input_check(g, name, n, k));
        node.in[k] = &g->value[n->in[k]]->facts;
        constant &= node.in[k]->constant;
        wants_grad |= node.in[k]->wants_grad;
    }
    DT_TRY(op->infer(&node));
    DT_TRY(size_check(name, &facts->shape));
    facts->constant = constant;
    facts->wants_grad = wants_grad && !op->no_grad;
    return DT_OK;
}

dt_status dt_graph_add(dt_graph *g, dt_op_kind kind, const char *name, const void *params, const int *in, int n_in,
                       int *out)
{
    const size_t params_bytes = dt_ops[kind]->params_bytes;
    dt_graph_node n = { .kind = kind, .n_in = n_in, .out = g->n_values };
    dt_tensor facts = { .name = name };
    dt_graph_value *v = NULL;

    DT_CHECK(n_in <= DT_MAX_IN, DT_ERR_ARGUMENT, "%s: %s: %d inputs, at most %d", name, dt_ops[kind]->name, n_in,
             DT_MAX_IN);
    memcpy(n.in, in, (size_t)n_in * sizeof *in);
    DT_TRY(grow((void **)&g->node, g->n_nodes, &g->nodes_room, sizeof *g->node));
    if (params_bytes) {
        n.params = calloc(1, params_bytes);
        DT_CHECK(n.params, DT_ERR_MEMORY, "no memory for the parameters of %s", name);
        if (params) memcpy(n.params, params, params_bytes);
    }
    dt_status status = facts_infer(g, name, &n, &facts);
    if (status == DT_OK) status = value_add(g, name, DT_SOURCE_NODE, &v);
    if (status != DT_OK) {
        free(n.params);
        return dt_forward(status, __FILE__, __LINE__);
    }
    facts.name = v->name;
    v->facts = facts;
    if (facts.n_scale > 0 && !facts.scale) v->facts.scale = &v->own_scale;
    v->node = g->n_nodes;
    g->node[g->n_nodes++] = n;
    *out = n.out;
    return DT_OK;
}
