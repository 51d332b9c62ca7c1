/*
 * device_graph.c - see device_graph.h. Tests: tests/core/test_trainer.c, tests/core/test_trainer_steps.c.
 */
#include "device_graph.h"

int dt_can_capture(const dt_context *ctx)
{
    return ctx->backend->capture_begin && !ctx->opt.no_graph;
}

int dt_device_graph_is_old(const dt_context *ctx, const dt_device_graph *g)
{
    return !g->graph || g->generation != ctx->generation;
}

void dt_device_graph_free(const dt_context *ctx, dt_device_graph *g)
{
    if (g->graph) ctx->backend->graph_free(ctx->device, g->graph);
    g->graph = NULL;
}

dt_status dt_device_graph_capture(dt_context *ctx, dt_device_graph *g, dt_status (*launch)(void *user), void *user)
{
    void *graph = NULL;

    dt_device_graph_free(ctx, g);
    DT_TRY(ctx->backend->capture_begin(ctx->device));
    const dt_status launched = launch(user);
    const dt_status ended = ctx->backend->capture_end(ctx->device, &graph);
    if (launched != DT_OK && ended == DT_OK) ctx->backend->graph_free(ctx->device, graph);
    DT_TRY(launched);
    DT_TRY(ended);
    g->graph = graph;
    g->generation = ctx->generation;
    return DT_OK;
}
