/*
 * device_graph.h - work that is launched once, captured and then replayed, where the backend can.
 */
#ifndef DT_DEVICE_GRAPH_H
#define DT_DEVICE_GRAPH_H

#include "../context.h"

typedef struct {
    void *graph;    /* NULL: not captured yet */
    int generation; /* the context's when the graph was captured; if it has changed, memory has moved */
} dt_device_graph;

/* Returns 1 if the context's backend can capture work, and the context's options let it. */
int dt_can_capture(const dt_context *ctx);
/* Returns 1 if there is no graph, or if the pointers in it have become old. */
int dt_device_graph_is_old(const dt_context *ctx, const dt_device_graph *g);
/* Captures what `launch` launches. That has run before without capture, so that libraries have loaded what they need.
 */
DT_MUST_CHECK dt_status dt_device_graph_capture(dt_context *ctx, dt_device_graph *g, dt_status (*launch)(void *user),
                                                void *user);
/* Frees the graph, if there is one. */
void dt_device_graph_free(const dt_context *ctx, dt_device_graph *g);

#endif /* DT_DEVICE_GRAPH_H */
