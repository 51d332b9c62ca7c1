/*
 * program_model.c - makes a model of a program's graph, with parameters that are not trained.
 *
 * So a program runs on any device, in dt_evaluate and dt_capture_layer, as other models do. If an array computes the
 * sums, PSUM takes the place of CONV2D and of CAPS_VOTES. Nodes have the names that they have in the model that was
 * lowered.  Tests: tests/quant/test_program_model.c.
 */
#include "program.h"

#include "../../core/graph/rewrite.h"
#include "../../core/train/model.h"
#include "../../core/votes_params.h"

#include <stdio.h>

/* A transpose of a value of `to`, called NAME.part. */
static dt_status turn(dt_rewrite *r, const char *name, const char *part, const dt_transpose_params *p, int *value)
{
    char whole[DT_NAME_MAX + 32];

    snprintf(whole, sizeof whole, "%.*s.%s", DT_NAME_MAX, name, part);
    return dt_graph_add(r->to, DT_OP_TRANSPOSE, whole, p, value, 1, value);
}

/* Votes on the array: a convolution of one cell with a group an input capsule. */
static dt_status take_votes(dt_rewrite *r, const dt_graph_node *n, const dt_array *array)
{
    const dt_votes_conv v = dt_votes_conv_of(dt_graph_shape(r->from, n->in[1]));
    const dt_psum_params psum = { v.conv, *array };
    const char *name = dt_graph_name(r->from, n->out);
    int in[2];

    for (int k = 0; k < 2; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    DT_TRY(turn(r, name, "cell", &v.x, &in[0]));
    DT_TRY(turn(r, name, "filters", &v.w, &in[1]));
    DT_TRY(dt_graph_add(r->to, DT_OP_PSUM, name, &psum, in, 2, &r->of[n->out]));
    return turn(r, name, "list", &v.votes, &r->of[n->out]);
}

static dt_status take_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const dt_array *array = user;
    int in[2];

    if (array && n->kind == DT_OP_CAPS_VOTES) return take_votes(r, n, array);
    if (!array || n->kind != DT_OP_CONV2D) return dt_rewrite_copy(r, n);
    const dt_psum_params psum = { *(const dt_conv_params *)n->params, *array };
    for (int k = 0; k < 2; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    return dt_graph_add(r->to, DT_OP_PSUM, dt_graph_name(r->from, n->out), &psum, in, 2, &r->of[n->out]);
}

/* Psums above 2^24 are rounded to f32 on a tape. Thresholds bisected from f32 arithmetic stand where that changes
 * nothing; a multiplier's may not. */
static dt_status check_thresholds(const dt_program *p, const dt_graph_node *n)
{
    const dt_value y = dt_program_value(p, n->out);
    const int32_t *step = dt_program_data(p, n, DT_THRESHOLD_STEPS);

    for (int64_t i = 0; i < (int64_t)(y.high - y.low) * y.channels; i++) {
        if (step[i] == INT32_MIN || step[i] == INT32_MAX) continue;
        DT_CHECK((float)(step[i] - 1) < (float)step[i], DT_ERR_NUMERIC,
                 "%s: threshold %d of channel %lld parts two psums that f32 holds as one; run the program without "
                 "multipliers",
                 dt_graph_name(p->graph, n->out), step[i], (long long)(i % y.channels));
    }
    return DT_OK;
}

dt_status dt_program_model(dt_context *ctx, const dt_program *p, const dt_array *array, dt_model **out)
{
    const dt_graph *g = p->graph;
    dt_array copy;
    dt_graph *graph = NULL;

    DT_TRY(dt_program_check(p));
    if (array) DT_TRY(dt_array_check(array));
    if (array) copy = *array;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].kind == DT_OP_THRESHOLD) DT_TRY(check_thresholds(p, &g->node[i]));
    }
    DT_TRY(dt_graph_rewrite(g, take_node, array ? &copy : NULL, &graph));
    DT_TRY(dt_model_open(ctx, graph, out));
    (*out)->origin = p->origin;
    return DT_OK;
}
