/*
 * channels.c - see channels.h.
 *
 * Tests: tests/compress/test_prune.c.
 */
#include "channels.h"

#include "../core/grid_facts.h"

#include <stdlib.h>

enum { X, W, LINEAR_BIAS };

void dt_channel_map_free(dt_channel_map *c)
{
    for (int i = 0; c->of && i < c->n_values; i++) free(c->of[i]);
    free(c->of);
    free(c->joined);
    free(c->fixed);
    *c = (dt_channel_map){ 0 };
}

int dt_channel_of(const dt_channel_map *c, int channel)
{
    while (c->joined[channel] != channel) channel = c->joined[channel];
    return channel;
}

static int last_axis(const dt_graph *g, int value)
{
    return (int)dt_channels(dt_graph_shape(g, value));
}

int dt_is_depthwise(const dt_graph *g, const dt_graph_node *n)
{
    if (n->kind != DT_OP_CONV2D) return 0;
    const int groups = ((const dt_conv_params *)n->params)->groups;
    return groups > 1 && groups == last_axis(g, n->in[X]);
}

/* A parameter that this node alone reads. */
static int is_own(const dt_graph *g, int value)
{
    return g->value[value]->source == DT_SOURCE_PARAM && dt_graph_n_readers(g, value) == 1;
}

int dt_makes_channels(const dt_graph *g, const dt_graph_node *n)
{
    if (n->kind != DT_OP_CONV2D && n->kind != DT_OP_LINEAR) return 0;
    if (n->kind == DT_OP_CONV2D && ((const dt_conv_params *)n->params)->groups != 1) return 0;
    return is_own(g, n->in[W]) && (n->n_in <= LINEAR_BIAS || is_own(g, n->in[LINEAR_BIAS]));
}

static void fix(dt_channel_map *c, const int *of, int n)
{
    for (int i = 0; of && i < n; i++) c->fixed[dt_channel_of(c, of[i])] = 1;
}

static void join(dt_channel_map *c, int a, int b)
{
    const int to = dt_channel_of(c, a), from = dt_channel_of(c, b);

    c->joined[from] = to;
    c->fixed[to] |= c->fixed[from];
}

static dt_status grow(dt_channel_map *c, int more)
{
    const int wanted = c->n + more;

    if (wanted <= c->room) return DT_OK;
    const int room = 2 * wanted;
    int *joined = realloc(c->joined, (size_t)room * sizeof *joined);
    if (joined) c->joined = joined;
    char *fixed = realloc(c->fixed, (size_t)room);
    if (fixed) c->fixed = fixed;
    DT_CHECK(joined && fixed, DT_ERR_MEMORY, "no memory for %d channels", wanted);
    c->room = room;
    return DT_OK;
}

/* Room for the channels of a value; *out is c->of[value]. */
static dt_status give_room(const dt_graph *g, dt_channel_map *c, int value, int **out)
{
    const int n = last_axis(g, value);

    *out = c->of[value] = malloc((size_t)n * sizeof **out);
    DT_CHECK(*out, DT_ERR_MEMORY, "no memory for the %d channels of %s", n, dt_graph_name(g, value));
    return DT_OK;
}

static dt_status make_new(const dt_graph *g, dt_channel_map *c, int value, int is_fixed)
{
    const int n = last_axis(g, value);
    int *of;

    DT_TRY(grow(c, n));
    DT_TRY(give_room(g, c, value, &of));
    for (int i = 0; i < n; i++) {
        of[i] = c->n;
        c->joined[c->n] = c->n;
        c->fixed[c->n++] = (char)is_fixed;
    }
    return DT_OK;
}

/* Channel i of the value is channel i / each of x, or i % (x's) where each is 0. */
static dt_status hand_on(const dt_graph *g, dt_channel_map *c, const dt_graph_node *n, int each)
{
    const int count = last_axis(g, n->out), n_x = last_axis(g, n->in[X]);
    int *of;

    DT_TRY(give_room(g, c, n->out, &of));
    for (int i = 0; i < count; i++) of[i] = c->of[n->in[X]][each ? i / each : i % n_x];
    return DT_OK;
}

/* What is added lies in one channel, position by position. */
static dt_status add(const dt_graph *g, dt_channel_map *c, const dt_graph_node *n)
{
    const int count = last_axis(g, n->out);

    for (int k = 1; k < n->n_in; k++) {
        for (int i = 0; i < count; i++) join(c, c->of[n->in[X]][i], c->of[n->in[k]][i]);
    }
    return hand_on(g, c, n, 1);
}

static dt_status concat(const dt_graph *g, dt_channel_map *c, const dt_graph_node *n)
{
    const int axis = ((const dt_concat_params *)n->params)->axis;
    int *of, at = 0;

    if (axis != dt_graph_shape(g, n->out)->ndim - 1) return add(g, c, n);
    DT_TRY(give_room(g, c, n->out, &of));
    for (int k = 0; k < n->n_in; k++) {
        const int count = last_axis(g, n->in[k]);
        for (int i = 0; i < count; i++) of[at++] = c->of[n->in[k]][i];
    }
    return DT_OK;
}

/* Nothing is known of what the node does to channels. */
static dt_status unknown(const dt_graph *g, dt_channel_map *c, const dt_graph_node *n)
{
    for (int k = 0; k < n->n_in; k++) fix(c, c->of[n->in[k]], last_axis(g, n->in[k]));
    return make_new(g, c, n->out, 1);
}

static int is_made(const dt_channel_map *c, const dt_graph_node *n)
{
    for (int k = 0; k < n->n_in; k++) {
        if (!c->of[n->in[k]]) return 0;
    }
    return 1;
}

static int has_own_parameters(const dt_graph *g, const dt_graph_node *n)
{
    for (int k = 1; k < n->n_in; k++) {
        if (!is_own(g, n->in[k])) return 0;
    }
    return 1;
}

static int last_axes_are_equal(const dt_graph *g, const dt_graph_node *n)
{
    return n->n_in == 2 && last_axis(g, n->in[0]) == last_axis(g, n->in[1]);
}

static dt_status follow(const dt_graph *g, dt_channel_map *c, const dt_graph_node *n)
{
    if (!c->of[n->in[X]]) return unknown(g, c, n);
    if (dt_makes_channels(g, n)) return make_new(g, c, n->out, 0);
    switch (n->kind) {
    case DT_OP_CONV2D:
        if (!dt_is_depthwise(g, n) || !has_own_parameters(g, n)) break;
        return hand_on(g, c, n, last_axis(g, n->out) / last_axis(g, n->in[X]));
    case DT_OP_BIAS:
    case DT_OP_BATCHNORM:
        if (!has_own_parameters(g, n)) break;
        return hand_on(g, c, n, 1);
    case DT_OP_RELU:
    case DT_OP_CLIP:
    case DT_OP_SIGMOID:
    case DT_OP_IDENTITY:
    case DT_OP_MAXPOOL:
    case DT_OP_AVGPOOL: return hand_on(g, c, n, 1);
    case DT_OP_FLATTEN: return hand_on(g, c, n, 0);
    case DT_OP_ADD: return is_made(c, n) ? add(g, c, n) : unknown(g, c, n);
    case DT_OP_MUL: return is_made(c, n) && last_axes_are_equal(g, n) ? add(g, c, n) : unknown(g, c, n);
    case DT_OP_CONCAT: return is_made(c, n) ? concat(g, c, n) : unknown(g, c, n);
    default: break;
    }
    return unknown(g, c, n);
}

static void fix_marks(const dt_graph *g, dt_channel_map *c)
{
    const int mark[] = { g->scores, g->capsules, g->masked, g->reconstruction };

    for (int i = 0; i < DT_LENGTH(mark); i++) {
        if (mark[i] >= 0) fix(c, c->of[mark[i]], last_axis(g, mark[i]));
    }
}

dt_status dt_channel_map_make(const dt_graph *g, dt_channel_map *out)
{
    *out = (dt_channel_map){ .n_values = g->n_values, .of = calloc((size_t)g->n_values, sizeof *out->of) };
    DT_CHECK(out->of, DT_ERR_MEMORY, "no memory for the channels of %s", g->name);
    for (int i = 0; i < g->n_values; i++) {
        if (g->value[i]->source == DT_SOURCE_GIVEN) DT_TRY(make_new(g, out, i, 1));
    }
    for (int i = 0; i < g->n_nodes; i++) DT_TRY(follow(g, out, &g->node[i]));
    fix_marks(g, out);
    return DT_OK;
}

dt_channel_axes dt_channel_axes_of(const dt_graph *g, const dt_channel_map *c, const dt_graph_node *n, int k)
{
    const dt_channel_axes none = { NULL, NULL, 0 };
    const int *x = c->of[n->in[X]];

    if (k == X || !x || g->value[n->in[k]]->source != DT_SOURCE_PARAM) return none;
    switch (n->kind) {
    case DT_OP_CONV2D:
    case DT_OP_LINEAR:
        if (!dt_makes_channels(g, n) && !dt_is_depthwise(g, n)) return none;
        if (k == LINEAR_BIAS || dt_is_depthwise(g, n)) return (dt_channel_axes){ c->of[n->out], NULL, 0 };
        return (dt_channel_axes){ c->of[n->out], x, last_axis(g, n->in[X]) };
    case DT_OP_BIAS:
    case DT_OP_BATCHNORM: return (dt_channel_axes){ x, NULL, 0 };
    default: return none;
    }
}
