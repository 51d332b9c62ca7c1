/*
 * graph_write.c - a graph as the JSON of a network's file. Interface: graph_json.h.
 *
 * Tests: tests/formats/test_network_file.c.
 */
#include "graph_json.h"

#include "graph_words.h"
#include "json_fields.h"

#include <math.h>

static cJSON *numbers(const int64_t *value, int n)
{
    cJSON *array = cJSON_CreateArray();

    for (int i = 0; i < n; i++) cJSON_AddItemToArray(array, cJSON_CreateNumber((double)value[i]));
    return array;
}

static cJSON *param_json(const dt_graph_value *v)
{
    const dt_param_spec *p = &v->param;
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", v->name);
    cJSON_AddItemToObject(object, "shape", numbers(p->shape.dim, p->shape.ndim));
    cJSON_AddStringToObject(object, "group", group_words[p->group]);
    cJSON_AddStringToObject(object, "values", values_words[p->values]);
    cJSON_AddStringToObject(object, "init", init_words[p->init]);
    if (p->type == DT_I32) cJSON_AddStringToObject(object, "type", type_words[1]);
    cJSON_AddNumberToObject(object, "value", dt_json_shortest(p->init_value));
    if (p->sparse) cJSON_AddTrueToObject(object, "sparse");
    if (isfinite(p->floor)) cJSON_AddNumberToObject(object, "floor", dt_json_shortest(p->floor));
    return object;
}

cJSON *dt_graph_attribute(const dt_field *f, const void *params)
{
    cJSON *item = dt_field_make(f, (const char *)params + f->offset);
    const cJSON *element;

    if (!cJSON_IsArray(item) || !item->child) return item;
    const double first = item->child->valuedouble;
    cJSON_ArrayForEach(element, item)
    {
        if (element->valuedouble != first) return item;
    }
    cJSON_Delete(item);
    return cJSON_CreateNumber(first);
}

static cJSON *node_json(const dt_graph *g, const dt_graph_node *n)
{
    const dt_op *op = dt_ops[n->kind];
    cJSON *node = cJSON_CreateArray(), *inputs = cJSON_CreateArray(), *attributes = cJSON_CreateObject();

    for (int k = 0; k < n->n_in; k++) {
        cJSON_AddItemToArray(inputs, cJSON_CreateString(dt_graph_name(g, n->in[k])));
    }
    for (int i = 0; i < op->n_fields; i++) {
        cJSON_AddItemToObject(attributes, op->fields[i].name, dt_graph_attribute(&op->fields[i], n->params));
    }
    cJSON_AddItemToArray(node, cJSON_CreateString(dt_graph_name(g, n->out)));
    cJSON_AddItemToArray(node, cJSON_CreateString(op->name));
    cJSON_AddItemToArray(node, inputs);
    cJSON_AddItemToArray(node, attributes);
    return node;
}

static int pixels_of(const dt_graph *g)
{
    if (g->value[g->image]->facts.type == DT_U8) return BYTES;
    return g->unit_pixels ? UNIT : NORMALISED;
}

static cJSON *constant_json(const dt_graph_value *v)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", v->name);
    cJSON_AddItemToObject(object, "shape", numbers(v->facts.shape.dim, v->facts.shape.ndim));
    return object;
}

/* Only where there are some. */
static void add_constants(const dt_graph *g, cJSON *object)
{
    cJSON *list = NULL;

    for (int i = 0; i < g->n_values; i++) {
        if (g->value[i]->source != DT_SOURCE_CONSTANT) continue;
        if (!list) list = cJSON_AddArrayToObject(object, "constants");
        cJSON_AddItemToArray(list, constant_json(g->value[i]));
    }
}

dt_status dt_graph_to_json(const dt_graph *g, cJSON *object)
{
    const dt_shape *image = dt_graph_shape(g, g->image);
    dt_graph copy = *g; /* whose marks are read by offset */

    dt_json_begin();
    cJSON_AddStringToObject(object, "format", "detent-network");
    cJSON_AddNumberToObject(object, "version", DT_NETWORK_VERSION);
    cJSON_AddStringToObject(object, "name", g->name);
    cJSON_AddItemToObject(object, "image", numbers(image->dim + 1, image->ndim - 1));
    cJSON_AddStringToObject(object, "pixels", pixels_words[pixels_of(g)]);
    cJSON_AddStringToObject(object, "loss", loss_words[g->loss]);
    cJSON *params = cJSON_AddArrayToObject(object, "params"), *nodes = cJSON_AddArrayToObject(object, "nodes");
    for (int i = 0; i < g->n_values; i++) {
        if (g->value[i]->source == DT_SOURCE_PARAM) cJSON_AddItemToArray(params, param_json(g->value[i]));
    }
    for (int i = 0; i < g->n_nodes; i++) cJSON_AddItemToArray(nodes, node_json(g, &g->node[i]));
    for (int i = 0; i < N_MARKS; i++) {
        const int value = *mark_at(&copy, i);
        if (value >= 0) cJSON_AddStringToObject(object, marks[i].name, dt_graph_name(g, value));
    }
    add_constants(g, object);
    DT_CHECK(nodes && !dt_json_lost(), DT_ERR_MEMORY, "no memory for the JSON of %s", g->name);
    return DT_OK;
}
