/*
 * range_plan.c - see range_plan.h.
 *
 * Tests: tests/quant/test_insert_range.c.
 */
#include "range_plan.h"

#include "insert_parts.h"

#include <stdlib.h>

/* What may join a value: nothing; an activation; or a bias and a batch norm, too. */
typedef enum { JOINS_NOTHING, JOINS_ACTIVATION, JOINS_NORM } joining;

typedef struct {
    const dt_graph *g;
    dt_range_plan *plan;
    joining *open; /* [n_values] */
} planning;

static int is_whole_map(const dt_graph_node *n)
{
    return ((const dt_pool_params *)n->params)->window[0] == 0;
}

/* A ReLU with a limit leaves the grid. */
static dt_place place_of_relu(const planning *p, const dt_graph_node *n)
{
    if (p->open[n->in[0]] != JOINS_NOTHING) return DT_PLACE_JOIN;
    return ((const dt_relu_params *)n->params)->most > 0.0f ? DT_PLACE_OWN : DT_PLACE_SAME;
}

static dt_status find_place(const planning *p, const dt_graph_node *n, dt_place *out)
{
    const joining before = n->n_in > 0 ? p->open[n->in[0]] : JOINS_NOTHING;

    switch (n->kind) {
    case DT_OP_CONV2D:
    case DT_OP_LINEAR: *out = DT_PLACE_LAYER; return DT_OK;
    case DT_OP_BIAS:
    case DT_OP_BATCHNORM: *out = before == JOINS_NORM ? DT_PLACE_JOIN : DT_PLACE_OWN; return DT_OK;
    case DT_OP_RELU: *out = place_of_relu(p, n); return DT_OK;
    case DT_OP_CLIP: *out = before == JOINS_NOTHING ? DT_PLACE_OWN : DT_PLACE_JOIN; return DT_OK;
    case DT_OP_IDENTITY: *out = before == JOINS_NOTHING ? DT_PLACE_SAME : DT_PLACE_JOIN; return DT_OK;
    case DT_OP_ADD:
    case DT_OP_MUL: *out = DT_PLACE_OWN; return DT_OK;
    case DT_OP_AVGPOOL: *out = is_whole_map(n) ? DT_PLACE_OWN : DT_PLACE_BORROW; return DT_OK;
    case DT_OP_MAXPOOL:
    case DT_OP_FLATTEN:
    case DT_OP_TRANSPOSE: *out = DT_PLACE_SAME; return DT_OK;
    case DT_OP_CONCAT: *out = DT_PLACE_CONCAT; return DT_OK;
    case DT_OP_SOFTMAX:
    case DT_OP_SIGMOID: *out = DT_PLACE_REAL; return DT_OK;
    case DT_OP_CENTRE: *out = DT_PLACE_COPY; return DT_OK; /* it is the image, normalised */
    default: break;
    }
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "%s: %s is a %s, which has no place in a network with affine quantizers; take another --quant-rule",
                    p->g->name, dt_graph_name(p->g, n->out), dt_ops[n->kind]->name);
}

/* What may join the output of a node. */
static joining opens(const planning *p, const dt_graph_node *n)
{
    switch (n->kind) {
    case DT_OP_CONV2D:
    case DT_OP_LINEAR:
    case DT_OP_BIAS:
    case DT_OP_BATCHNORM: return JOINS_NORM;
    case DT_OP_ADD:
    case DT_OP_MUL: return JOINS_ACTIVATION;
    case DT_OP_IDENTITY: return p->open[n->in[0]];
    default: return JOINS_NOTHING;
    }
}

/* ---- ranges ---- */

static int root_of(const dt_range_plan *plan, int value)
{
    while (plan->group_of[value] != value) value = plan->group_of[value];
    return value;
}

/* A value with a range of its own. */
static void begin_group(const planning *p, int value, int is_fixed)
{
    p->plan->group_of[value] = value;
    p->plan->group[value] = (dt_range_group){
        .named = value, .is_positive = is_fixed || dt_is_positive(p->g, value), .is_fixed = is_fixed, .n_sources = 1
    };
}

/* The range of `value` becomes the range of a concat. */
static void join_group(dt_range_plan *plan, int value, int concat)
{
    const int from = root_of(plan, value), to = root_of(plan, concat);

    if (from == to) return;
    plan->group[to].is_positive &= plan->group[from].is_positive;
    plan->group[to].n_sources += plan->group[from].n_sources;
    plan->group_of[from] = to;
}

/* Probabilities keep their range; their codes are quantized once more. */
static void join_inputs(const planning *p, const dt_graph_node *n)
{
    dt_range_group *group = &p->plan->group[n->out];

    begin_group(p, n->out, 0);
    group->n_sources = 0;
    group->is_positive = 1;
    for (int k = 0; k < n->n_in; k++) {
        if (p->plan->group[root_of(p->plan, n->in[k])].is_fixed)
            group->n_sources++;
        else
            join_group(p->plan, n->in[k], n->out);
    }
}

static void find_group(const planning *p, const dt_graph_node *n)
{
    switch (p->plan->place[n->out]) {
    case DT_PLACE_SAME:
    case DT_PLACE_BORROW: p->plan->group_of[n->out] = n->in[0]; return;
    case DT_PLACE_CONCAT: join_inputs(p, n); return;
    case DT_PLACE_REAL: begin_group(p, n->out, 1); return;
    default: begin_group(p, n->out, 0);
    }
}

/* Values that no node makes are sources too: the image, and parameters that an add or a product reads. */
static dt_status make_plan(planning *p)
{
    const dt_graph *g = p->g;
    dt_range_plan *plan = p->plan;

    for (int i = 0; i < g->n_values; i++) begin_group(p, i, 0);
    if (g->unit_pixels) plan->group[g->image].is_positive = 1;
    plan->needed[g->scores] = 1;
    dt_graph_mark_needed(g, NULL, 1, plan->needed);
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (!plan->needed[n->out] || g->value[n->out]->facts.constant) continue;
        DT_TRY(find_place(p, n, &plan->place[n->out]));
        p->open[n->out] = opens(p, n);
        find_group(p, n);
    }
    return DT_OK;
}

dt_status dt_range_plan_make(const dt_graph *g, dt_range_plan *out)
{
    const size_t n = (size_t)g->n_values + 1;
    planning p = { g, out, calloc(n, sizeof *p.open) };

    *out = (dt_range_plan){ calloc(n, 1), calloc(n, sizeof *out->place), calloc(n, sizeof *out->group_of),
                            calloc(n, sizeof *out->group) };
    const int has_room = p.open && out->needed && out->place && out->group_of && out->group;
    const dt_status status = has_room ? make_plan(&p)
                                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                                 "no memory to plan the %d values of %s", g->n_values, g->name);
    free(p.open);
    return status;
}

void dt_range_plan_destroy(dt_range_plan *p)
{
    free(p->needed);
    free(p->place);
    free(p->group_of);
    free(p->group);
}

const dt_range_group *dt_range_of(const dt_range_plan *p, int value)
{
    return &p->group[root_of(p, value)];
}
