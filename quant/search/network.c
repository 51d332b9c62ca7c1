/*
 * network.c - the network of a configuration whose layers have other numbers of filters.
 *
 * A layer of K filters gets max(1, round(K * per cent / 100)). What reads its channels follows: batch norms, biases and
 * the inputs of later layers have as many as there are. A convolution in as many groups as it has channels (depthwise)
 * stays one of as many groups.
 *
 * Tests: tests/quant/test_search_space.c.
 */
#include "../../core/grid_facts.h"
#include "../insert_parts.h"

#include "detent/search.h"

#include <string.h>

enum { X, W, BIAS };

typedef struct {
    const dt_search_space *s;
    const int *configuration;
} shaping;

static int per_cent_of(const shaping *z, const char *layer)
{
    for (int i = 0; i < z->s->n_rows; i++) {
        const dt_search_row *row = &z->s->row[i];
        if (row->filters < 0 || strcmp(row->name, layer) != 0) continue;
        const int index = z->configuration[row->filters];
        return index < 0 ? 100 : z->s->choice[row->filters].candidates.value[index];
    }
    return 100;
}

/* Adds the parameter that `from` has as value, with another shape. */
static dt_status reshape(dt_rewrite *r, int value, const dt_shape *shape, int *out)
{
    dt_param_spec spec = r->from->value[value]->param;

    DT_CHECK(r->from->value[value]->source == DT_SOURCE_PARAM, DT_ERR_UNSUPPORTED,
             "%s: the filters of a layer change, and this is no parameter", dt_graph_name(r->from, value));
    spec.shape = *shape;
    return dt_graph_param(r->to, dt_graph_name(r->from, value), &spec, out);
}

static int64_t scaled(int64_t filters, int per_cent)
{
    const int64_t n = (filters * per_cent + 50) / 100;

    return n > 1 ? n : 1;
}

static dt_status change_layer(dt_rewrite *r, const shaping *z, const dt_graph_node *n)
{
    dt_shape w = *dt_graph_shape(r->from, n->in[W]), b;
    dt_conv_params conv;
    const void *params = NULL;
    int in[DT_MAX_IN];

    DT_TRY(dt_rewrite_value(r, n->in[X], &in[X]));
    const int64_t channels = dt_channels(dt_graph_shape(r->to, in[X]));
    w.dim[0] = scaled(w.dim[0], per_cent_of(z, dt_layer_name_of(r->from, n).s));
    if (n->kind == DT_OP_CONV2D) {
        conv = *(const dt_conv_params *)n->params;
        const int is_depthwise = conv.groups > 1 && w.dim[3] == 1;
        if (is_depthwise) w.dim[0] = w.dim[0] / conv.groups * channels;
        if (is_depthwise) conv.groups = (int)channels;
        w.dim[3] = channels / conv.groups;
        params = &conv;
    } else {
        w.dim[1] = channels;
    }
    DT_TRY(reshape(r, n->in[W], &w, &in[W]));
    b = (dt_shape){ 1, { w.dim[0] } };
    if (n->n_in > BIAS) DT_TRY(reshape(r, n->in[BIAS], &b, &in[BIAS]));
    return dt_rewrite_with(r, n, params, in);
}

/* A batch norm or a bias: a number for each channel. */
static dt_status change_channels(dt_rewrite *r, const dt_graph_node *n)
{
    int in[DT_MAX_IN];

    DT_TRY(dt_rewrite_value(r, n->in[X], &in[X]));
    const dt_shape shape = { 1, { dt_channels(dt_graph_shape(r->to, in[X])) } };
    for (int k = 1; k < n->n_in; k++) DT_TRY(reshape(r, n->in[k], &shape, &in[k]));
    return dt_rewrite_with(r, n, NULL, in);
}

static dt_status change_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    if (n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR) return change_layer(r, user, n);
    if (n->kind == DT_OP_BATCHNORM || n->kind == DT_OP_BIAS) return change_channels(r, n);
    return dt_rewrite_copy(r, n);
}

static int changes(const shaping *z)
{
    for (int i = 0; i < z->s->n_rows; i++) {
        if (z->s->row[i].filters >= 0) return 1;
    }
    return 0;
}

dt_status dt_search_network(const dt_graph *network, const dt_search_space *s, const int *configuration, dt_graph **out)
{
    shaping z = { s, configuration };

    DT_TRY(dt_graph_rewrite(network, changes(&z) ? change_node : NULL, &z, out));
    return DT_OK;
}
