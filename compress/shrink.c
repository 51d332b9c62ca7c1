/*
 * shrink.c - see shrink.h. A parameter is seen as first x middle x last: K, R S, C of filters, O, 1, I of a linear
 *            layer; of a vector the last two are 1.
 *
 * Tests: tests/compress/test_prune.c.
 */
#include "shrink.h"

#include "../core/grid_facts.h"
#include "../core/graph/rewrite.h"

#include <stdlib.h>

typedef struct {
    const dt_channel_map *channels;
    const char *removed;
} shrink;

/* The values of an axis that stay. */
typedef struct {
    int *at; /* [n] their indices; owned */
    int n;
} kept;

static int stays(const shrink *s, const int *of, int64_t i)
{
    return !of || !s->removed[dt_channel_of(s->channels, of[i])];
}

static int64_t count_kept(const shrink *s, const int *of, int n_of, int64_t n)
{
    int64_t stay = 0;

    for (int64_t i = 0; i < n; i++) stay += stays(s, of, n_of > 0 ? i % n_of : i);
    return stay;
}

static dt_status find_kept(const shrink *s, const int *of, int n_of, int64_t n, kept *out)
{
    *out = (kept){ .at = malloc((size_t)n * sizeof *out->at) };
    DT_CHECK(out->at, DT_ERR_MEMORY, "no memory for an axis of %lld channels", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        if (stays(s, of, n_of > 0 ? i % n_of : i)) out->at[out->n++] = (int)i;
    }
    return DT_OK;
}

typedef struct {
    int64_t first, middle, last;
} block;

static block block_of(const dt_shape *s)
{
    const int64_t first = s->dim[0], last = s->ndim > 1 ? s->dim[s->ndim - 1] : 1;

    return (block){ first, dt_count(s) / (first * last), last };
}

static void copy_kept(const float *from, block b, const kept *first, const kept *last, float *to)
{
    for (int k = 0; k < first->n; k++) {
        for (int64_t m = 0; m < b.middle; m++) {
            const float *row = from + (first->at[k] * b.middle + m) * b.last;
            for (int i = 0; i < last->n; i++) *to++ = row[last->at[i]];
        }
    }
}

static dt_status copy_data(dt_rewrite *r, int value, int to, const kept *first, const kept *last)
{
    const dt_graph_value *v = r->from->value[value];
    const block b = block_of(&v->facts.shape);

    if (!v->data) return DT_OK;
    DT_CHECK(v->data_type == DT_F32, DT_ERR_UNSUPPORTED, "%s has integers, and only reals can be pruned", v->name);
    float *data = malloc((size_t)(first->n * b.middle * last->n) * sizeof *data);
    DT_CHECK(data, DT_ERR_MEMORY, "no memory for the values of %s", v->name);
    copy_kept(v->data, b, first, last, data);
    dt_graph_set_data(r->to, to, DT_F32, data);
    return DT_OK;
}

static dt_status cut_param(dt_rewrite *r, const shrink *s, int value, const dt_channel_axes *axes)
{
    const dt_graph_value *v = r->from->value[value];
    const block b = block_of(&v->facts.shape);
    kept first = { 0 }, last = { 0 };
    dt_param_spec spec = v->param;

    dt_status status = find_kept(s, axes->first, 0, b.first, &first);
    if (status == DT_OK) status = find_kept(s, axes->last, axes->n_last, b.last, &last);
    spec.shape.dim[0] = first.n;
    if (spec.shape.ndim > 1) spec.shape.dim[spec.shape.ndim - 1] = last.n;
    if (status == DT_OK) status = dt_graph_param(r->to, v->name, &spec, &r->of[value]);
    if (status == DT_OK) status = copy_data(r, value, r->of[value], &first, &last);
    free(first.at);
    free(last.at);
    return status;
}

static dt_status shrink_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const shrink *s = user;
    dt_conv_params conv;
    int in[DT_MAX_IN];

    for (int k = 0; k < n->n_in; k++) {
        const dt_channel_axes axes = dt_channel_axes_of(r->from, s->channels, n, k);
        if ((axes.first || axes.last) && r->of[n->in[k]] < 0) DT_TRY(cut_param(r, s, n->in[k], &axes));
        DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    }
    if (!dt_is_depthwise(r->from, n)) return dt_rewrite_with(r, n, NULL, in);
    conv = *(const dt_conv_params *)n->params;
    conv.groups = (int)dt_channels(dt_graph_shape(r->to, in[0]));
    return dt_rewrite_with(r, n, &conv, in);
}

dt_status dt_graph_shrink(const dt_graph *g, const dt_channel_map *c, const char *removed, dt_graph **out)
{
    shrink s = { c, removed };

    DT_TRY(dt_graph_rewrite(g, shrink_node, &s, out));
    return DT_OK;
}

int64_t dt_shrunk_count(const dt_graph *g, const dt_channel_map *c, const char *removed)
{
    const shrink s = { c, removed };
    int64_t n = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) {
            const dt_graph_value *v = g->value[g->node[i].in[k]];
            if (v->source != DT_SOURCE_PARAM || v->param.group != DT_GROUP_WEIGHT) continue;
            const dt_channel_axes axes = dt_channel_axes_of(g, c, &g->node[i], k);
            const block b = block_of(&v->facts.shape);
            n += count_kept(&s, axes.first, 0, b.first) * b.middle * count_kept(&s, axes.last, axes.n_last, b.last);
        }
    }
    return n;
}
