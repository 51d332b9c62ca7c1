/*
 * prune_filters.c - removes the filters with the least L1 norm, and the channels of what reads them.
 *
 * Layers that share a channel, because their results are added, are one layer here: a block. A channel's norm is the
 * sum of those of its filters, each divided by its number of weights.
 *
 * Source: Li et al., "Pruning Filters for Efficient ConvNets", 2017.  Tests: tests/compress/test_prune.c.
 */
#include "prune.h"

#include "../core/grid_facts.h"
#include "shrink.h"

#include <math.h>
#include <stdlib.h>

enum { W = 1, HALVINGS = 40 };

typedef struct {
    int channel; /* the one that stands for those that are joined */
    int block;
    double norm;
} candidate;

typedef struct {
    const dt_graph *g;
    const dt_pruning *how;
    dt_channel_map channels;
    int *block;           /* [n channels] of channels that filters make: index of a node of the block; -1 */
    candidate *candidate; /* [n] channels that may be removed, those that are removed first in front */
    int n;
    char *removed; /* [n channels] */
} choice;

/* ---- blocks ---- */

static int block_of(const int *joined, int node)
{
    while (joined[node] != node) node = joined[node];
    return node;
}

/* A layer that makes a channel of another layer joins its block. joined: [n_nodes]. */
static void join_blocks(choice *c, int *joined)
{
    for (int i = 0; i < c->g->n_nodes; i++) joined[i] = i;
    for (int i = 0; i < c->channels.n; i++) c->block[i] = -1;
    for (int i = 0; i < c->g->n_nodes; i++) {
        const dt_graph_node *n = &c->g->node[i];
        const int count = (int)dt_channels(dt_graph_shape(c->g, n->out));
        if (!dt_makes_channels(c->g, n)) continue;
        for (int k = 0; k < count; k++) {
            int *block = &c->block[dt_channel_of(&c->channels, c->channels.of[n->out][k])];
            if (*block < 0) *block = i;
            joined[block_of(joined, i)] = block_of(joined, *block);
        }
    }
    for (int i = 0; i < c->channels.n; i++) {
        if (c->block[i] >= 0) c->block[i] = block_of(joined, c->block[i]);
    }
}

/* ---- norms ---- */

static double row_norm(const float *w, int64_t n)
{
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += fabs((double)w[i]);
    return sum / (double)n;
}

static dt_status add_norms(const choice *c, const dt_graph_node *n, double *norm)
{
    const dt_graph_value *w = c->g->value[n->in[W]];
    const int64_t filters = w->facts.shape.dim[0], row = dt_count(&w->facts.shape) / filters;
    const int is_whole = dt_prune_leaves_whole(c->g, n, c->how);

    DT_CHECK(w->data && w->data_type == DT_F32, DT_ERR_ARGUMENT, "%s has no f32 values, and pruning needs them",
             w->name);
    for (int64_t k = 0; k < filters; k++) {
        const int channel = dt_channel_of(&c->channels, c->channels.of[n->out][k]);
        norm[channel] += row_norm((const float *)w->data + k * row, row);
        if (is_whole) c->channels.fixed[channel] = 1;
    }
    return DT_OK;
}

/* Norms of a block, divided by their mean, so that blocks can be compared. */
static void divide_by_mean(choice *c, int block)
{
    double sum = 0.0;
    int n = 0;

    for (int i = 0; i < c->n; i++) {
        if (c->candidate[i].block != block) continue;
        sum += c->candidate[i].norm;
        n++;
    }
    for (int i = 0; i < c->n && sum > 0.0; i++) {
        if (c->candidate[i].block == block) c->candidate[i].norm *= (double)n / sum;
    }
}

static int by_norm(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->norm != y->norm) return x->norm < y->norm ? -1 : 1;
    return x->channel - y->channel;
}

static dt_status list_candidates(choice *c, double *norm)
{
    for (int i = 0; i < c->g->n_nodes; i++) {
        if (dt_makes_channels(c->g, &c->g->node[i])) DT_TRY(add_norms(c, &c->g->node[i], norm));
    }
    for (int i = 0; i < c->channels.n; i++) {
        if (dt_channel_of(&c->channels, i) != i || c->channels.fixed[i] || c->block[i] < 0) continue;
        c->candidate[c->n++] = (candidate){ i, c->block[i], norm[i] };
    }
    for (int i = 0; i < c->g->n_nodes && c->how->scope == DT_PRUNE_GLOBAL; i++) divide_by_mean(c, i);
    qsort(c->candidate, (size_t)c->n, sizeof *c->candidate, by_norm);
    return DT_OK;
}

/* ---- the choice ---- */

static int size_of_block(const choice *c, int block)
{
    int n = 0;

    for (int i = 0; i < c->n; i++) n += c->candidate[i].block == block;
    return n;
}

/* Removes the first of the candidates of a block, or of all blocks if block is -1, up to `most`. One channel of each
 * block stays. */
static int remove_first(choice *c, int block, int most)
{
    int n = 0;

    for (int i = 0; i < c->n && n < most; i++) {
        const candidate *one = &c->candidate[i];
        int left = 0;
        if (block >= 0 && one->block != block) continue;
        for (int k = 0; k < c->n; k++) {
            left += c->candidate[k].block == one->block && !c->removed[c->candidate[k].channel];
        }
        if (left < 2) continue;
        c->removed[one->channel] = 1;
        n++;
    }
    return n;
}

/* Removes a share of the filters, and returns how many. */
static int remove_share(choice *c, double share)
{
    int n = 0;

    for (int i = 0; i < c->channels.n; i++) c->removed[i] = 0;
    if (c->how->scope == DT_PRUNE_GLOBAL) return remove_first(c, -1, (int)(share * c->n + 1e-6));
    for (int b = 0; b < c->g->n_nodes; b++) n += remove_first(c, b, (int)(share * size_of_block(c, b) + 1e-6));
    return n;
}

/* The least share of filters that removes the share of parameters; all that can go, if that is not enough. */
static int remove_parameters(choice *c)
{
    const int64_t before = dt_shrunk_count(c->g, &c->channels, c->removed);
    const double most = (1.0 - (double)c->how->share) * (double)before;
    double low = 0.0, high = 1.0;

    for (int i = 0; i < HALVINGS; i++) {
        const double middle = 0.5 * (low + high);
        remove_share(c, middle);
        if ((double)dt_shrunk_count(c->g, &c->channels, c->removed) <= most)
            high = middle;
        else
            low = middle;
    }
    return remove_share(c, high);
}

static dt_status choose(choice *c)
{
    DT_TRY(dt_channel_map_make(c->g, &c->channels));
    const size_t n = (size_t)c->channels.n;
    double *norm = calloc(n, sizeof *norm);
    int *joined = malloc((size_t)c->g->n_nodes * sizeof *joined);

    c->block = malloc(n * sizeof *c->block);
    c->candidate = malloc(n * sizeof *c->candidate);
    c->removed = calloc(n, 1);
    dt_status status = DT_OK;
    if (!norm || !joined || !c->block || !c->candidate || !c->removed) {
        status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to choose among %zu channels", n);
    } else {
        join_blocks(c, joined);
        status = list_candidates(c, norm);
    }
    free(norm);
    free(joined);
    return status;
}

static dt_status prune(choice *c, dt_graph **out)
{
    DT_TRY(choose(c));
    const int n = c->how->of_parameters ? remove_parameters(c) : remove_share(c, (double)c->how->share);
    DT_CHECK(
        n > 0, DT_ERR_ARGUMENT,
        "a share of %g removes none of the %d filters of %s that may go, because each layer keeps one; take a larger "
        "share, or compare the filters of all layers",
        (double)c->how->share, c->n, c->g->name);
    return dt_graph_shrink(c->g, &c->channels, c->removed, out);
}

dt_status dt_prune_filters(const dt_graph *g, const dt_pruning *how, dt_graph **out)
{
    choice c = { .g = g, .how = how };
    const dt_status status = prune(&c, out);

    dt_channel_map_free(&c.channels);
    free(c.block);
    free(c.candidate);
    free(c.removed);
    return status;
}
