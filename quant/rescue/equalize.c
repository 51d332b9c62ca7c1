/*
 * equalize.c - cross-layer equalization: the channels between two layers are scaled so that both have weights of equal
 *              range there, and no channel loses its small weights beside another's large ones.
 *
 * Between a layer with weights w1, bias b1 and the one layer that reads it, through RELU, MAXPOOL, AVGPOOL, FLATTEN and
 * IDENTITY, a channel c may be divided by any s > 0 and multiplied again:
 *
 *   r1 = max |w1[c,..]|,  r2 = max |w2[..,c]|,  s = sqrt(r1 / r2):  w1[c,..] /= s, b1[c] /= s, w2[..,c] *= s
 *
 * so that both have the range sqrt(r1 r2). All pairs are visited in turn until no s is far from 1. The network computes
 * what it did, but for rounding. That is so for RELU alone: where one has an upper limit, it loses it, as in the
 * source, and outputs that were cut off there are not any more. s is limited to 1/16 .. 16 a pair and turn, so that a
 * channel without weights does not get a huge bias.
 *
 * Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, section 4.1.
 * Tests: tests/quant/test_rescue.c.
 */
#include "rescue.h"

#include "../../core/graph/rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 50 };

static const double far_from_1 = 1e-3, most_factor = 16.0;

/* The weights of a layer in double. */
typedef struct {
    double *weight, *bias; /* [filters][row], [filters] or NULL */
    double *divided;       /* [filters] by what each filter has been divided */
} weights;

typedef struct {
    int first, second; /* layers */
} layer_pair;

typedef struct {
    const dt_graph *g;
    const dt_rescue_layers *layers;
    weights *w;       /* [n layers] */
    layer_pair *pair; /* [n_pairs], at most one a layer */
    int n_pairs;
    char *unlimited; /* [n_values] 1: a RELU that loses its limit makes the value */
} equalization;

/* ---- pairs ---- */

static const dt_graph_node *only_reader(const dt_graph *g, int value)
{
    if (dt_graph_n_readers(g, value) != 1 || value == g->scores) return NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->node[i].n_in; k++) {
            if (g->node[i].in[k] == value) return k == 0 ? &g->node[i] : NULL;
        }
    }
    return NULL;
}

static int keeps_channels(const dt_graph_node *n)
{
    return n->kind == DT_OP_RELU || n->kind == DT_OP_MAXPOOL || n->kind == DT_OP_AVGPOOL || n->kind == DT_OP_FLATTEN ||
           n->kind == DT_OP_IDENTITY;
}

static int layer_of(const dt_rescue_layers *l, const dt_graph_node *n)
{
    for (int i = 0; i < l->n; i++) {
        if (l->layer[i].node->out == n->out) return i; /* the nodes may be those of another copy of the graph */
    }
    return -1;
}

static int is_own(const dt_graph *g, const dt_rescue_layer *l)
{
    return dt_graph_n_readers(g, l->weight) == 1 && (l->bias < 0 || dt_graph_n_readers(g, l->bias) == 1);
}

/* The layer that alone reads what layer i gives; -1: there is none. */
static int layer_behind(const equalization *e, int i)
{
    const dt_rescue_layer *l = &e->layers->layer[i];
    const dt_graph_node *n = only_reader(e->g, l->out);

    while (n && keeps_channels(n)) n = only_reader(e->g, n->out);
    const int next = n ? layer_of(e->layers, n) : -1;
    if (next < 0 || !is_own(e->g, l) || !is_own(e->g, &e->layers->layer[next])) return -1;
    return next;
}

/* Between the two, limits are taken away. */
static void take_limits(const equalization *e, int i)
{
    const dt_graph_node *n = only_reader(e->g, e->layers->layer[i].out);

    for (; n && keeps_channels(n); n = only_reader(e->g, n->out)) {
        if (n->kind == DT_OP_RELU && ((const dt_relu_params *)n->params)->most > 0.0f) e->unlimited[n->out] = 1;
    }
}

static void find_pairs(equalization *e)
{
    for (int i = 0; i < e->layers->n; i++) {
        const int next = layer_behind(e, i);
        if (next < 0) continue;
        e->pair[e->n_pairs++] = (layer_pair){ i, next };
        take_limits(e, i);
    }
}

/* ---- scaling ---- */

/* The channel, of n, that weight i of the second layer's filter k reads. */
static int64_t channel_of(const dt_rescue_layer *l, int64_t k, int64_t i, int64_t n)
{
    if (l->node->kind == DT_OP_LINEAR) return i % n;
    const int64_t groups = ((const dt_conv_params *)l->node->params)->groups, each = n / groups;

    return k / (l->filters / groups) * each + i % each;
}

/* room: [2 filters of the first layer]. Returns the largest |log s|. */
static double equalize_pair(const equalization *e, const layer_pair *p, double *room)
{
    const dt_rescue_layer *first = &e->layers->layer[p->first], *second = &e->layers->layer[p->second];
    const weights *w1 = &e->w[p->first], *w2 = &e->w[p->second];
    const int64_t n = first->filters;
    double *range = room, *s = room + n, most = 0.0;

    memset(range, 0, (size_t)n * sizeof *range);
    for (int64_t k = 0; k < second->filters; k++) {
        for (int64_t i = 0; i < second->row; i++) {
            const int64_t c = channel_of(second, k, i, n);
            range[c] = fmax(range[c], fabs(w2->weight[k * second->row + i]));
        }
    }
    for (int64_t c = 0; c < n; c++) {
        double r1 = 0.0;
        for (int64_t i = 0; i < first->row; i++) r1 = fmax(r1, fabs(w1->weight[c * first->row + i]));
        s[c] = r1 > 0.0 && range[c] > 0.0 ? fmin(fmax(sqrt(r1 / range[c]), 1.0 / most_factor), most_factor) : 1.0;
        most = fmax(most, fabs(log(s[c])));
        for (int64_t i = 0; i < first->row; i++) w1->weight[c * first->row + i] /= s[c];
        if (w1->bias) w1->bias[c] /= s[c];
        w1->divided[c] *= s[c];
    }
    for (int64_t k = 0; k < second->filters; k++) {
        for (int64_t i = 0; i < second->row; i++) w2->weight[k * second->row + i] *= s[channel_of(second, k, i, n)];
    }
    return most;
}

static dt_status equalize_all(const equalization *e)
{
    int64_t filters = 1;
    double most = INFINITY;

    for (int i = 0; i < e->layers->n; i++) {
        if (e->layers->layer[i].filters > filters) filters = e->layers->layer[i].filters;
    }
    double *room = malloc(2 * (size_t)filters * sizeof *room);
    DT_CHECK(room, DT_ERR_MEMORY, "no memory to equalize %lld channels", (long long)filters);
    for (int turn = 0; turn < MOST_TURNS && most > far_from_1; turn++) {
        most = 0.0;
        for (int i = 0; i < e->n_pairs; i++) most = fmax(most, equalize_pair(e, &e->pair[i], room));
    }
    free(room);
    return DT_OK;
}

/* ---- the graph ---- */

static double *doubles_of(const float *from, int64_t n)
{
    double *to = malloc((size_t)n * sizeof *to);

    for (int64_t i = 0; to && i < n; i++) to[i] = (double)from[i];
    return to;
}

static dt_status read_weights(equalization *e)
{
    for (int i = 0; i < e->layers->n; i++) {
        const dt_rescue_layer *l = &e->layers->layer[i];
        const float *weight = e->g->value[l->weight]->data, *bias = l->bias < 0 ? NULL : e->g->value[l->bias]->data;
        weights *w = &e->w[i];
        w->weight = doubles_of(weight, l->filters * l->row);
        w->bias = bias ? doubles_of(bias, l->filters) : NULL;
        w->divided = malloc((size_t)l->filters * sizeof *w->divided);
        DT_CHECK(w->weight && (!bias || w->bias) && w->divided, DT_ERR_MEMORY, "no memory for the weights of %s",
                 dt_graph_name(e->g, l->node->out));
        for (int64_t k = 0; k < l->filters; k++) w->divided[k] = 1.0;
    }
    return DT_OK;
}

/* A copy of the graph with the same values at the same indices. Its ReLUs read reals, so a limit that goes changes
 * nothing else of them. */
static dt_status copy_graph(const equalization *e, dt_graph **out)
{
    dt_graph *copy;

    DT_TRY(dt_graph_rewrite(e->g, NULL, NULL, &copy));
    for (int i = 0; i < copy->n_nodes; i++) {
        if (e->unlimited[copy->node[i].out]) ((dt_relu_params *)copy->node[i].params)->most = 0.0f;
    }
    *out = copy;
    return DT_OK;
}

static void put(dt_graph *to, int value, const double *from, int64_t n)
{
    float *data = to->value[value]->data;

    for (int64_t i = 0; i < n; i++) data[i] = (float)from[i];
}

static void write_weights(const equalization *e, dt_graph *to)
{
    for (int i = 0; i < e->layers->n; i++) {
        const dt_rescue_layer *l = &e->layers->layer[i];
        const dt_rescue_norm *n = &l->norm;
        put(to, l->weight, e->w[i].weight, l->filters * l->row);
        if (l->bias >= 0) put(to, l->bias, e->w[i].bias, l->filters);
        for (int64_t k = 0; n->gamma && k < l->filters; k++) {
            n->gamma[k] /= e->w[i].divided[k];
            n->beta[k] /= e->w[i].divided[k];
            n->inv[k] /= e->w[i].divided[k];
        }
    }
}

static dt_status equalize(equalization *e, dt_graph **out)
{
    DT_CHECK(e->w && e->pair && e->unlimited, DT_ERR_MEMORY, "no memory to equalize %s", e->g->name);
    find_pairs(e);
    DT_TRY(read_weights(e));
    DT_TRY(equalize_all(e));
    DT_TRY(copy_graph(e, out));
    write_weights(e, *out);
    return DT_OK;
}

static void release(const equalization *e)
{
    for (int i = 0; e->w && i < e->layers->n; i++) {
        free(e->w[i].weight);
        free(e->w[i].bias);
        free(e->w[i].divided);
    }
    free(e->w);
    free(e->pair);
    free(e->unlimited);
}

dt_status dt_rescue_equalize(const dt_graph *g, dt_rescue_layers *layers, int *n_pairs, int *n_clips, dt_graph **out)
{
    const size_t n = (size_t)layers->n + 1;
    equalization e = { .g = g,
                       .layers = layers,
                       .w = calloc(n, sizeof(weights)),
                       .pair = calloc(n, sizeof(layer_pair)),
                       .unlimited = calloc((size_t)g->n_values, 1) };

    const dt_status status = equalize(&e, out);
    *n_pairs = e.n_pairs;
    *n_clips = 0;
    for (int i = 0; e.unlimited && i < g->n_values; i++) *n_clips += e.unlimited[i];
    release(&e);
    DT_TRY(status);
    return DT_OK;
}
