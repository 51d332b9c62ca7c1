/*
 * onnx_layers.c - values, their layouts, and parameters, for both kinds of graph. Interface: onnx_layers.h.
 */
#include "onnx_layers.h"

#include "../layer_name.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parameters ---- */

dt_param_spec dt_onnx_trained(const dt_shape *shape)
{
    return (dt_param_spec){ .shape = *shape, .group = DT_GROUP_WEIGHT, .values = DT_VALUES_FINITE, .floor = -INFINITY };
}

dt_param_spec dt_onnx_state(const dt_shape *shape)
{
    return (dt_param_spec){ .shape = *shape, .group = DT_GROUP_STATE, .values = DT_VALUES_FINITE, .floor = -INFINITY };
}

/* 1 if a name says something: it is no number, and none that PyTorch's exporter made of one. */
static int says_something(const char *name)
{
    return strncmp(name, "onnx::", 6) != 0 && name[strspn(name, "0123456789")] != '\0';
}

dt_status dt_onnx_add_param(dt_onnx_import *imp, const dt_onnx_param *p, int *out)
{
    char made[DT_ONNX_NAME + 32];
    const char *name = p->own;

    snprintf(made, sizeof made, "%s%s", p->name, p->part);
    if (!name || !says_something(name) || strlen(name) > DT_NAME_MAX || strcmp(name, p->name) == 0 ||
        dt_graph_find(imp->graph, name) >= 0)
        name = made;
    if (dt_graph_find(imp->graph, name) >= 0) {
        free(p->data);
        return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: two parameters would be called '%s'", imp->m->path,
                        name);
    }
    return dt_graph_param_with(imp->graph, name, &p->spec, p->type, p->data, out);
}

dt_status dt_onnx_node_add(dt_onnx_import *imp, dt_op_kind kind, const char *name, const char *part, const void *params,
                           const int *in, int n, int *out)
{
    char whole[DT_ONNX_NAME + 32];

    snprintf(whole, sizeof whole, "%s%s", name, part);
    DT_TRY(dt_graph_add(imp->graph, kind, whole, params, in, n, out));
    return DT_OK;
}

/* ---- layouts ---- */

static int same_transpose(const dt_transpose_params *a, const dt_transpose_params *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->ndim == b->ndim &&
           memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

/* Adds a FLATTEN or TRANSPOSE beside a value, "VALUE.part", or finds the one that is there. */
static dt_status add_beside(dt_onnx_import *imp, const dt_transpose_params *params, const char *part, int *value)
{
    const dt_op_kind kind = params ? DT_OP_TRANSPOSE : DT_OP_FLATTEN;
    const dt_graph *g = imp->graph;
    char base[DT_NAME_MAX - 16], name[DT_NAME_MAX + 1];

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind != kind || n->in[0] != *value) continue;
        if (params && !same_transpose(n->params, params)) continue;
        *value = n->out;
        return DT_OK;
    }
    snprintf(base, sizeof base, "%.*s%s", DT_NAME_MAX - 64, dt_graph_name(g, *value), part);
    dt_layer_name(g, base, name, sizeof name);
    DT_TRY(dt_graph_add(imp->graph, kind, name, params, value, 1, value));
    return DT_OK;
}

/* Returns an exchange of rows and columns, seen as a map of those sides. */
static dt_transpose_params exchange(int64_t rows, int64_t columns, const int64_t side[3])
{
    return (dt_transpose_params){ rows, columns, 4, { 0, side[0], side[1], side[2] } };
}

dt_status dt_onnx_flatten(dt_onnx_import *imp, int value, int *flat)
{
    *flat = value;
    if (dt_graph_shape(imp->graph, value)->ndim == 2) return DT_OK;
    return add_beside(imp, NULL, ".flatten", flat);
}

dt_status dt_onnx_as_shape(dt_onnx_import *imp, int64_t h, int64_t w, int64_t c, int *value)
{
    const dt_shape *s = dt_graph_shape(imp->graph, *value);
    char part[48];

    if (s->ndim == 4 && s->dim[1] == h && s->dim[2] == w && s->dim[3] == c) return DT_OK;
    const dt_transpose_params same = exchange(1, 1, (const int64_t[3]){ h, w, c });
    snprintf(part, sizeof part, ".as_%" PRId64 "x%" PRId64 "x%" PRId64, h, w, c);
    return add_beside(imp, &same, part, value);
}

/* 1 if a map lies as the file has it too: it has one channel, or one cell. */
static int is_both(const dt_shape *map)
{
    return map->dim[3] == 1 || map->dim[1] * map->dim[2] == 1;
}

/* Turns H,W,C into C,H,W. */
static dt_status turn_to_row(dt_onnx_import *imp, int *value)
{
    const dt_shape *s = dt_graph_shape(imp->graph, *value);
    const dt_transpose_params p =
        exchange(s->dim[1] * s->dim[2], s->dim[3], (const int64_t[3]){ s->dim[3], s->dim[1], s->dim[2] });

    return is_both(s) ? DT_OK : add_beside(imp, &p, ".channels_first", value);
}

/* Turns C,H,W into H,W,C. */
static dt_status turn_to_map(dt_onnx_import *imp, const int64_t chw[3], int *value)
{
    const dt_transpose_params p = exchange(chw[0], chw[1] * chw[2], (const int64_t[3]){ chw[1], chw[2], chw[0] });

    if (chw[0] == 1 || chw[1] * chw[2] == 1) return dt_onnx_as_shape(imp, chw[1], chw[2], chw[0], value);
    return add_beside(imp, &p, ".channels_last", value);
}

/* ---- inputs ---- */

/* Sets *value to the place's value, after its view. */
static dt_status whole_of(dt_onnx_import *imp, const dt_onnx_place *p, int *value)
{
    *value = p->value;
    return p->view < 0 ? DT_OK : dt_onnx_make_view(imp, p, value);
}

dt_status dt_onnx_whole(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value)
{
    const dt_onnx_place *p;

    DT_TRY(dt_onnx_computed(imp, n, k, &p));
    return whole_of(imp, p, value);
}

/* 1 if a map of the graph has so many channels: of other rows and columns it has the same cells in the same order. */
static int has_channels(const dt_graph *g, int value, int64_t channels)
{
    const dt_shape *s = dt_graph_shape(g, value);

    return s->ndim == 4 && s->dim[3] == channels;
}

dt_status dt_onnx_map(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value)
{
    const dt_onnx_place *p;

    DT_TRY(dt_onnx_computed(imp, n, k, &p));
    DT_ONNX_CHECK(dt_onnx_is_map(p->n_dims) || p->n_dims == 2, DT_ERR_UNSUPPORTED, imp, n,
                  "input %d has %d dimensions; understood are n,c,h,w and n,c,w", k, p->n_dims);
    const int64_t chw[3] = { p->dim[1], p->n_dims == 4 ? p->dim[2] : 1, p->n_dims >= 3 ? p->dim[p->n_dims - 1] : 1 };
    DT_TRY(whole_of(imp, p, value));
    if (p->layout == DT_ONNX_MAP && has_channels(imp->graph, *value, chw[0]))
        return dt_onnx_as_shape(imp, chw[1], chw[2], chw[0], value);
    if (p->layout == DT_ONNX_MAP) DT_TRY(turn_to_row(imp, value));
    return turn_to_map(imp, chw, value);
}

dt_status dt_onnx_padded_map(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value, int pad[4])
{
    const dt_onnx_place *p;

    memset(pad, 0, 4 * sizeof *pad);
    DT_TRY(dt_onnx_computed(imp, n, k, &p));
    if (p->view < 0) return dt_onnx_map(imp, n, k, value);
    const dt_onnx_view *v = &imp->view[p->view];
    const dt_shape *s = dt_graph_shape(imp->graph, p->value);
    const int64_t size[3] = { s->dim[3], s->dim[1], s->dim[2] };
    for (int axis = 0; axis < 3; axis++) {
        if (v->start[axis] != 0 || v->step[axis] != 1 || v->count[axis] != size[axis])
            return dt_onnx_map(imp, n, k, value);
    }
    if (v->before[0] != 0 || v->after[0] != 0) return dt_onnx_map(imp, n, k, value);
    for (int axis = 0; axis < 2; axis++) {
        pad[axis] = (int)v->before[axis + 1];
        pad[axis + 2] = (int)v->after[axis + 1];
    }
    *value = p->value;
    return DT_OK;
}

dt_status dt_onnx_rows_of(dt_onnx_import *imp, const dt_onnx_place *p, int *value)
{
    DT_TRY(whole_of(imp, p, value));
    if (p->layout == DT_ONNX_MAP) DT_TRY(turn_to_row(imp, value));
    if (!imp->is_integer) return dt_onnx_flatten(imp, *value, value);
    return dt_onnx_as_shape(imp, 1, 1, dt_graph_count(imp->graph, *value), value);
}

dt_status dt_onnx_rows(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value)
{
    const dt_onnx_place *p;

    DT_TRY(dt_onnx_computed(imp, n, k, &p));
    DT_ONNX_CHECK(p->n_dims == 2, DT_ERR_UNSUPPORTED, imp, n, "input %d has %d dimensions; understood are n,i", k,
                  p->n_dims);
    return dt_onnx_rows_of(imp, p, value);
}

dt_status dt_onnx_map_or_rows(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *value)
{
    const dt_onnx_place *p;

    DT_TRY(dt_onnx_computed(imp, n, k, &p));
    return dt_onnx_is_map(p->n_dims) ? dt_onnx_map(imp, n, k, value) : dt_onnx_rows(imp, n, k, value);
}

/* ---- outputs ---- */

dt_status dt_onnx_set(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_place *p)
{
    const int64_t count = dt_count_of(p->dim + 1, p->n_dims - 1);

    DT_ONNX_CHECK(p->n_dims >= 1 && p->dim[0] == imp->batch, DT_ERR_UNSUPPORTED, imp, n,
                  "the first dimension of what it makes is %" PRId64 ", and the batch is %" PRId64
                  ", which must stay there",
                  p->n_dims >= 1 ? p->dim[0] : 0, imp->batch);
    DT_ONNX_CHECK(p->view >= 0 || count == dt_graph_count(imp->graph, p->value), DT_ERR_FORMAT, imp, n,
                  "it makes %" PRId64 " numbers of an image, and its dimensions are those of %" PRId64,
                  dt_graph_count(imp->graph, p->value), count);
    imp->place[n->out[0]] = *p;
    return DT_OK;
}

/* A place of a computed value, without limits. The grid of a place that has one is the caller's to give. */
static dt_onnx_place computed(int value)
{
    return (dt_onnx_place){ .kind = DT_ONNX_COMPUTED,
                            .tensor = -1,
                            .value = value,
                            .view = -1,
                            .scale = -1,
                            .quant = -1,
                            .low = -INFINITY,
                            .high = INFINITY };
}

/* 1 if the first input of a node that is computed is a map of one row, n,c,w. */
static int reads_row(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    int k = 0;

    while (k < n->n_in && (n->in[k] < 0 || imp->place[n->in[k]].kind == DT_ONNX_CONSTANT)) k++;
    return k < n->n_in && imp->place[n->in[k]].n_dims == 3;
}

dt_status dt_onnx_set_map(dt_onnx_import *imp, const dt_onnx_node *n, int value)
{
    const dt_shape *s = dt_graph_shape(imp->graph, value);
    dt_onnx_place p = computed(value);

    p.layout = DT_ONNX_MAP;
    p.n_dims = reads_row(imp, n) && s->dim[1] == 1 ? 3 : 4;
    p.dim[0] = imp->batch;
    p.dim[1] = s->dim[3];
    p.dim[2] = s->dim[1];
    p.dim[p.n_dims - 1] = s->dim[2];
    return dt_onnx_set(imp, n, &p);
}

dt_status dt_onnx_set_rows(dt_onnx_import *imp, const dt_onnx_node *n, int value, int64_t features)
{
    dt_onnx_place p = computed(value);

    p.layout = DT_ONNX_ROW;
    p.n_dims = 2;
    p.dim[0] = imp->batch;
    p.dim[1] = features;
    return dt_onnx_set(imp, n, &p);
}

dt_status dt_onnx_set_like(dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, int value)
{
    const dt_shape *s = dt_graph_shape(imp->graph, value);

    return dt_onnx_is_map(n_dims) ? dt_onnx_set_map(imp, n, value)
                                  : dt_onnx_set_rows(imp, n, value, s->dim[s->ndim - 1]);
}

dt_status dt_onnx_set_value(dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_place p, int value)
{
    p.value = value;
    p.view = -1;
    return dt_onnx_set(imp, n, &p);
}

dt_status dt_onnx_rename(dt_onnx_import *imp, const dt_onnx_node *n, int n_dims, const int64_t *dim)
{
    dt_onnx_place p = *dt_onnx_in(imp, n, 0);

    p.n_dims = n_dims;
    memset(p.dim, 0, sizeof p.dim);
    memcpy(p.dim, dim, (size_t)n_dims * sizeof *dim);
    return dt_onnx_set(imp, n, &p);
}
