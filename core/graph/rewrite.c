/*
 * rewrite.c - see rewrite.h.
 *
 * Tests: tests/core/test_graph.c.
 */
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

static dt_status given_copy(dt_rewrite *r, const dt_graph_value *v, int *out)
{
    dt_shape one = v->facts.shape;

    one.dim[0] /= DT_FACTS_BATCH;
    return dt_graph_give(r->to, v->name, v->facts.type, &one, out);
}

static dt_status data_copy(dt_rewrite *r, int from, int to)
{
    const size_t bytes = dt_graph_data_bytes(r->from, from);

    if (bytes == 0) return DT_OK;
    void *data = malloc(bytes);
    DT_CHECK(data, DT_ERR_MEMORY, "no memory for the data of %s", dt_graph_name(r->from, from));
    memcpy(data, r->from->value[from]->data, bytes);
    dt_graph_set_data(r->to, to, r->from->value[from]->data_type, data);
    return DT_OK;
}

static dt_status value_copy(dt_rewrite *r, const dt_graph_value *v, int *out)
{
    switch (v->source) {
    case DT_SOURCE_GIVEN: return given_copy(r, v, out);
    case DT_SOURCE_PARAM: return dt_graph_param(r->to, v->name, &v->param, out);
    case DT_SOURCE_CONSTANT: return dt_graph_constant(r->to, v->name, &v->facts.shape, out);
    case DT_SOURCE_NODE: break;
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "%s is read before it is made", v->name);
}

dt_status dt_rewrite_value(dt_rewrite *r, int value, int *out)
{
    const dt_graph_value *v = r->from->value[value];
    int *of = &r->of[value];

    if (*of < 0) {
        DT_TRY(value_copy(r, v, of));
        DT_TRY(data_copy(r, value, *of));
    }
    *out = *of;
    return DT_OK;
}

dt_status dt_rewrite_with(dt_rewrite *r, const dt_graph_node *n, const void *params, const int *in)
{
    return dt_graph_add(r->to, n->kind, dt_graph_name(r->from, n->out), params ? params : n->params, in, n->n_in,
                        &r->of[n->out]);
}

dt_status dt_rewrite_copy(dt_rewrite *r, const dt_graph_node *n)
{
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    return dt_rewrite_with(r, n, NULL, in);
}

static int mark_of(const dt_rewrite *r, int value)
{
    return value < 0 ? -1 : r->of[value];
}

/* Value by value, so that parameters stand where they stood. */
static dt_status copy_all(dt_rewrite *r)
{
    for (int i = 0; i < r->from->n_values; i++) {
        const dt_graph_node *n = dt_graph_maker(r->from, i);
        int value;
        DT_TRY(n ? dt_rewrite_copy(r, n) : dt_rewrite_value(r, i, &value));
    }
    return DT_OK;
}

static dt_status rewrite_nodes(dt_rewrite *r, dt_rewrite_node each, void *user)
{
    for (int i = 0; i < r->from->n_nodes; i++) DT_TRY(each(r, &r->from->node[i], user));
    return DT_OK;
}

static dt_status rewrite_all(dt_rewrite *r, dt_rewrite_node each, void *user)
{
    const dt_graph *from = r->from;
    dt_graph *to = r->to;
    int image, constant;

    DT_TRY(dt_rewrite_value(r, from->image, &image));
    DT_TRY(each ? rewrite_nodes(r, each, user) : copy_all(r));
    for (int i = 0; i < from->n_values; i++) {
        if (from->value[i]->source == DT_SOURCE_CONSTANT) DT_TRY(dt_rewrite_value(r, i, &constant));
    }
    to->image = image;
    to->labels = mark_of(r, from->labels);
    to->scores = mark_of(r, from->scores);
    to->capsules = mark_of(r, from->capsules);
    to->masked = mark_of(r, from->masked);
    to->reconstruction = mark_of(r, from->reconstruction);
    to->loss = from->loss;
    to->unit_pixels = from->unit_pixels;
    return DT_OK;
}

dt_status dt_graph_rewrite(const dt_graph *from, dt_rewrite_node each, void *user, dt_graph **out)
{
    dt_rewrite r = { .from = from, .of = malloc((size_t)(from->n_values + 1) * sizeof *r.of) };

    DT_CHECK(r.of, DT_ERR_MEMORY, "no memory to rewrite the %d values of %s", from->n_values, from->name);
    for (int i = 0; i < from->n_values; i++) r.of[i] = -1;
    dt_status status = dt_graph_create(from->name, &r.to);
    if (status == DT_OK) status = rewrite_all(&r, each, user);
    free(r.of);
    if (status != DT_OK) {
        dt_graph_destroy(r.to);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = r.to;
    return DT_OK;
}
