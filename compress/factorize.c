/*
 * factorize.c - layers of low rank, as a pass. Interface: dt_factorize in include/detent/compress.h.
 *
 * A linear layer of features o = (o_1 .. o_d) and inputs i = (i_1 .. i_d), the first slowest, is taken core by core.
 * What lies before core k is N, i_k, P, (o_k-1, r_k-1), where P are the positions (i_k+1 .. i_d, o_1 .. o_k-2) that the
 * core leaves alone; a transpose brings i_k behind them, to N, (P, o_k-1), 1, (i_k, r_k-1), of which the core, a
 * convolution of 1x1, makes (o_k, r_k). Behind the last core the features lie in their order.
 *
 * A convolution K,R,S,C is a matrix of K rows: its decomposition has `rank` filters of R,S,C, and K filters of these.
 *
 * Source: Novikov et al., "Tensorizing Neural Networks", 2015; Denton et al., "Exploiting Linear Structure Within
 * Convolutional Networks for Efficient Evaluation", 2014.  Tests: tests/compress/test_factorize.c.
 */
#include "../core/grid_facts.h"
#include "../core/graph/rewrite.h"
#include "../core/train/model.h"
#include "../quant/fold.h"
#include "../quant/insert_parts.h"
#include "svd.h"
#include "tensor_train.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { X, W, LINEAR_BIAS, NAME_ROOM = DT_NAME_MAX + 32 };

typedef struct {
    const dt_layer_ranks *layer; /* [n] */
    int n;
} wanted;

/* ---- parts of the new graph ---- */

typedef struct {
    dt_rewrite *r;
    const char *layer; /* the name that new ones begin with */
} maker;

static void part_name(const maker *m, const char *part, int number, char *name)
{
    snprintf(name, NAME_ROOM, number > 0 ? "%.*s.%s%d" : "%.*s.%s", DT_NAME_MAX, m->layer, part, number);
}

/* A parameter of the group WEIGHT, which takes over data. */
static dt_status add_param(const maker *m, const char *name, const dt_shape *shape, float *data, int *out)
{
    const dt_param_spec spec = { .shape = *shape, .group = DT_GROUP_WEIGHT, .floor = -INFINITY };

    if (dt_graph_find(m->r->to, name) >= 0 || dt_graph_find(m->r->from, name) >= 0) {
        free(data);
        return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                        "factorising %s needs the name %s, which another value has; rename that", m->layer, name);
    }
    return dt_graph_param_with(m->r->to, name, &spec, DT_F32, data, out);
}

/* A convolution called LAYER.part, and its filters, which it takes over. */
static dt_status add_conv(const maker *m, const char *name, const dt_conv_params *params, const dt_shape *shape,
                          float *filters, int *value)
{
    char weight[NAME_ROOM + 8];
    int in[2] = { *value };

    snprintf(weight, sizeof weight, "%s.weight", name);
    DT_TRY(add_param(m, weight, shape, filters, &in[W]));
    return dt_graph_add(m->r->to, DT_OP_CONV2D, name, params, in, 2, value);
}

static const dt_conv_params pointwise = { { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 }, 1 };

/* ---- linear layers ---- */

/* Brings the inputs of core k to the last axis: N, (P o_k-1), 1, (i_k r_k-1). */
static dt_status add_turn(const maker *m, const dt_tensor_train *t, int k, int *value)
{
    const int inner = k > 0 ? t->rank[k - 1] : 1;
    const int64_t columns = dt_factors_product(t->in + k + 1, t->d - k - 1) * dt_factors_product(t->out, k);
    const dt_transpose_params turn = {
        .rows = t->in[k], .columns = columns, .ndim = 4, .dim = { 0, columns, 1, (int64_t)t->in[k] * inner }
    };
    char name[NAME_ROOM];

    part_name(m, "turn", k + 1, name);
    return dt_graph_add(m->r->to, DT_OP_TRANSPOSE, name, &turn, value, 1, value);
}

static dt_status add_core(const maker *m, dt_tensor_train *t, int k, int *value)
{
    const int before = k > 0 ? t->rank[k - 1] : 1;
    const dt_shape shape = { 4, { (int64_t)t->out[k] * t->rank[k], 1, 1, (int64_t)t->in[k] * before } };
    float *const core = t->core[k];
    char name[NAME_ROOM];

    part_name(m, "core", k + 1, name);
    t->core[k] = NULL; /* the graph takes it over */
    return add_conv(m, name, &pointwise, &shape, core, value);
}

/* The features in one row, and a convolution of ones that has a channel for each, so that a bias can join it. */
static dt_status add_scale(const maker *m, int64_t features, int *value)
{
    const dt_transpose_params row = { .rows = 1, .columns = 1, .ndim = 4, .dim = { 0, 1, 1, features } };
    const dt_conv_params each = { { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 }, (int)features };
    const dt_shape shape = { 4, { features, 1, 1, 1 } };
    float *ones = malloc((size_t)features * sizeof *ones);
    char name[NAME_ROOM];

    DT_CHECK(ones, DT_ERR_MEMORY, "no memory for the scales of %s", m->layer);
    for (int64_t i = 0; i < features; i++) ones[i] = 1.0f;
    part_name(m, "row", 0, name);
    const dt_status status = dt_graph_add(m->r->to, DT_OP_TRANSPOSE, name, &row, value, 1, value);
    if (status != DT_OK) {
        free(ones);
        return status;
    }
    part_name(m, "scale", 0, name);
    return add_conv(m, name, &each, &shape, ones, value);
}

static dt_status add_bias(const maker *m, const dt_graph_node *n, int *value)
{
    char name[NAME_ROOM];
    int in[2] = { *value };

    if (n->n_in <= LINEAR_BIAS) return DT_OK;
    part_name(m, "biased", 0, name);
    DT_TRY(dt_rewrite_value(m->r, n->in[LINEAR_BIAS], &in[1]));
    return dt_graph_add(m->r->to, DT_OP_BIAS, name, NULL, in, 2, value);
}

/* The activation that alone reads the layer, so that it can join the bias; NULL: there is none. */
static const dt_graph_node *activation_of(const dt_graph *g, int value)
{
    if (dt_graph_n_readers(g, value) != 1 || value == g->scores || value == g->reconstruction) return NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->n_in == 1 && n->in[0] == value && (n->kind == DT_OP_RELU || n->kind == DT_OP_CLIP)) return n;
    }
    return NULL;
}

/* The activation, if there is one, and the flat features. */
static dt_status add_end(const maker *m, const dt_graph_node *n, int value)
{
    const dt_graph_node *activation = activation_of(m->r->from, n->out);
    int *of = m->r->of, flat;
    char name[NAME_ROOM];

    if (activation) {
        DT_TRY(dt_graph_add(m->r->to, activation->kind, dt_graph_name(m->r->from, activation->out), activation->params,
                            &value, 1, &value));
    }
    part_name(m, "flat", 0, name);
    DT_TRY(dt_graph_add(m->r->to, DT_OP_FLATTEN, name, NULL, &value, 1, &flat));
    of[n->out] = flat;
    if (activation) of[activation->out] = flat;
    return DT_OK;
}

/* The text of factors: "7x6x4". */
static const char *factors_text(const int *factor, int n, char *text, size_t bytes)
{
    size_t used = 0;

    text[0] = '\0';
    for (int k = 0; k < n && used < bytes; k++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%d", k ? "x" : "", factor[k]);
    return text;
}

static dt_status check_factors(const char *layer, const char *of, const int *factor, int n, int64_t size)
{
    char text[96];

    for (int k = 0; k < n; k++)
        DT_CHECK(factor[k] >= 1, DT_ERR_ARGUMENT, "%s: a factor of its %s is %d; it must be 1 or more", layer, of,
                 factor[k]);
    DT_CHECK(dt_factors_product(factor, n) == size, DT_ERR_ARGUMENT,
             "%s has %lld %s, and the factors %s multiply to %lld", layer, (long long)size, of,
             factors_text(factor, n, text, sizeof text), (long long)dt_factors_product(factor, n));
    return DT_OK;
}

static dt_status choose_factors(const char *layer, const dt_layer_ranks *how, const dt_shape *w, dt_tensor_train *t)
{
    t->d = how->n_ranks + 1;
    dt_equal_factors((int)w->dim[1], t->d, t->in);
    dt_equal_factors((int)w->dim[0], t->d, t->out);
    for (int k = 0; k < how->n_factors; k++) {
        t->in[k] = how->in[k];
        t->out[k] = how->out[k];
    }
    for (int k = 0; k < how->n_ranks; k++) t->rank[k] = how->rank[k];
    DT_TRY(check_factors(layer, "inputs", t->in, t->d, w->dim[1]));
    return check_factors(layer, "features", t->out, t->d, w->dim[0]);
}

static dt_status add_train(const maker *m, const dt_graph_node *n, dt_tensor_train *t)
{
    const int64_t positions = dt_factors_product(t->out, t->d - 1);
    int value;

    DT_TRY(dt_rewrite_value(m->r, n->in[X], &value));
    for (int k = 0; k < t->d; k++) {
        DT_TRY(add_turn(m, t, k, &value));
        DT_TRY(add_core(m, t, k, &value));
    }
    if (positions > 1 && n->n_in > LINEAR_BIAS) DT_TRY(add_scale(m, dt_factors_product(t->out, t->d), &value));
    DT_TRY(add_bias(m, n, &value));
    return add_end(m, n, value);
}

static dt_status factorize_linear(const maker *m, const dt_graph_node *n, const dt_layer_ranks *how)
{
    const dt_graph_value *w = m->r->from->value[n->in[W]];
    dt_tensor_train t = { 0 };

    DT_TRY(choose_factors(m->layer, how, &w->facts.shape, &t));
    DT_TRY(dt_tensor_train_make(w->data, &t));
    const dt_status status = add_train(m, n, &t);
    dt_tensor_train_free(&t);
    return status;
}

/* ---- convolutions ---- */

/* Filters of the two convolutions: `rank` rows of vt, and K rows of u, each with the square root of s. */
static dt_status split(const dt_svd *svd, int rank, float **inner, float **outer)
{
    *inner = malloc((size_t)rank * (size_t)svd->columns * sizeof **inner);
    *outer = malloc((size_t)rank * (size_t)svd->rows * sizeof **outer);
    if (!*inner || !*outer) {
        free(*inner);
        free(*outer);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %d filters", rank);
    }
    for (int r = 0; r < rank; r++) {
        const double scale = sqrt(svd->s[r]);
        const double *row = svd->vt + (size_t)r * (size_t)svd->columns, *column = svd->u + r;
        float *to = *inner + (size_t)r * (size_t)svd->columns;
        for (int j = 0; j < svd->columns; j++) to[j] = (float)(scale * row[j]);
        for (int k = 0; k < svd->rows; k++) (*outer)[k * rank + r] = (float)(scale * column[k * svd->k]);
    }
    return DT_OK;
}

static dt_status decompose_filters(const dt_graph_value *w, int *rank, float **inner, float **outer)
{
    const int64_t count = dt_count(&w->facts.shape), rows = w->facts.shape.dim[0];
    double *a = malloc((size_t)count * sizeof *a);
    dt_svd svd;

    DT_CHECK(a, DT_ERR_MEMORY, "no memory to decompose %s", w->name);
    for (int64_t i = 0; i < count; i++) a[i] = (double)((const float *)w->data)[i];
    dt_status status = dt_svd_make(a, (int)rows, (int)(count / rows), &svd);
    free(a);
    DT_TRY(status);
    if (*rank > svd.k) *rank = svd.k;
    status = split(&svd, *rank, inner, outer);
    dt_svd_free(&svd);
    return status;
}

static dt_status factorize_conv(const maker *m, const dt_graph_node *n, const dt_layer_ranks *how)
{
    const dt_graph_value *w = m->r->from->value[n->in[W]];
    const dt_conv_params *params = n->params;
    dt_shape shape = w->facts.shape;
    int rank = how->rank[0], value;
    float *inner = NULL, *outer = NULL;
    char name[NAME_ROOM];

    DT_CHECK(params->groups == 1, DT_ERR_UNSUPPORTED, "%s: a convolution of %d groups is not factorised; leave it out",
             m->layer, params->groups);
    DT_CHECK(how->n_ranks == 1 && how->n_factors == 0, DT_ERR_ARGUMENT,
             "%s is a convolution, which has one rank, and no factors; got %d ranks", m->layer, how->n_ranks);
    DT_TRY(dt_rewrite_value(m->r, n->in[X], &value));
    DT_TRY(decompose_filters(w, &rank, &inner, &outer));
    const dt_shape outer_shape = { 4, { shape.dim[0], 1, 1, rank } };
    shape.dim[0] = rank;
    part_name(m, "core", 1, name);
    const dt_status status = add_conv(m, name, params, &shape, inner, &value);
    if (status != DT_OK) {
        free(outer);
        return status;
    }
    part_name(m, "core", 2, name);
    DT_TRY(add_conv(m, name, &pointwise, &outer_shape, outer, &value));
    m->r->of[n->out] = value;
    return DT_OK;
}

/* ---- the pass ---- */

static int is_layer(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR;
}

/* How the layer is factorised, or NULL. */
static const dt_layer_ranks *ranks_of(const dt_graph *g, const dt_graph_node *n, const wanted *w)
{
    const dt_layer_ranks *found = NULL;

    if (!is_layer(n)) return NULL;
    const dt_layer_name name = dt_layer_name_of(g, n);
    for (int i = 0; i < w->n; i++) {
        if (fnmatch(w->layer[i].layer, name.s, 0) == 0) found = &w->layer[i];
    }
    return found;
}

static dt_status factorize_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const dt_layer_ranks *how = ranks_of(r->from, n, user);

    if (r->of[n->out] >= 0) return DT_OK; /* an activation that came with its layer */
    if (!how) return dt_rewrite_copy(r, n);
    const dt_layer_name name = dt_layer_name_of(r->from, n);
    const maker m = { r, name.s };
    const dt_graph_value *w = r->from->value[n->in[W]];
    DT_CHECK(w->data && w->data_type == DT_F32 && dt_graph_n_readers(r->from, n->in[W]) == 1, DT_ERR_UNSUPPORTED,
             "%s: its weights are shared, or have no values, and are not factorised", name.s);
    return n->kind == DT_OP_LINEAR ? factorize_linear(&m, n, how) : factorize_conv(&m, n, how);
}

static dt_status check_pattern(const dt_graph *g, const dt_layer_ranks *how)
{
    const wanted one = { how, 1 };

    DT_CHECK(how->n_ranks >= 1 && how->n_ranks < DT_CORES_MOST, DT_ERR_ARGUMENT,
             "%s: %d ranks are given; needed are 1 to %d", how->layer, how->n_ranks, DT_CORES_MOST - 1);
    DT_CHECK(how->n_factors == 0 || how->n_factors == how->n_ranks + 1, DT_ERR_ARGUMENT,
             "%s: %d factors, and %d ranks; needed is a rank between each two cores, of which each factor has one",
             how->layer, how->n_factors, how->n_ranks);
    for (int k = 0; k < how->n_ranks; k++)
        DT_CHECK(how->rank[k] >= 1, DT_ERR_ARGUMENT, "%s: a rank is %d; it must be 1 or more", how->layer,
                 how->rank[k]);
    for (int i = 0; i < g->n_nodes; i++) {
        if (ranks_of(g, &g->node[i], &one)) return DT_OK;
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                    "%s has no convolution or linear layer '%s'; 'detent inspect --graph' lists its layers", g->name,
                    how->layer);
}

static dt_status check(const dt_graph *g, const wanted *w)
{
    for (int i = 0; i < g->n_nodes; i++) {
        DT_CHECK(g->value[g->node[i].out]->facts.n_scale == 0, DT_ERR_UNSUPPORTED,
                 "%s computes on integers: %s is a %s; factorise the network of reals, and quantize that", g->name,
                 dt_graph_name(g, g->node[i].out), dt_ops[g->node[i].kind]->name);
    }
    for (int i = 0; i < w->n; i++) DT_TRY(check_pattern(g, &w->layer[i]));
    return DT_OK;
}

dt_status dt_factorize(dt_model *m, const dt_layer_ranks *layers, int n, dt_model **out)
{
    dt_graph *now = NULL, *folded = NULL, *made = NULL;
    wanted w = { layers, n };

    DT_CHECK(n > 0, DT_ERR_ARGUMENT, "no layer is to be factorised; name one and its rank");
    DT_TRY(dt_model_snapshot(m, &now));
    dt_status status = check(now, &w);
    if (status == DT_OK) status = dt_graph_fold(now, &folded);
    if (status == DT_OK) status = dt_graph_rewrite(folded, factorize_node, &w, &made);
    dt_graph_destroy(folded);
    dt_graph_destroy(now);
    DT_TRY(status);
    DT_TRY(dt_model_open(m->ctx, made, out));
    (*out)->origin = m->origin;
    return DT_OK;
}
