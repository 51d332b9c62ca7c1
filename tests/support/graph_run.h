/*
 * graph_run.h - runs a graph whose image is f32, or a part of one, on the CPU, on values in memory.
 */
#ifndef GRAPH_RUN_H
#define GRAPH_RUN_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/train/model.h"

#define GRAPH_RUN_MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* Writes to out[n][of one image] the values of `wanted` for n images, computed from those of `given`, which are real or
 * codes, and the parameters. The graph is taken over. */
static inline void graph_run_from(dt_graph *graph, const char *given, const float *values, const char *wanted, int n,
                                  float *out)
{
    const dt_purpose purpose = { .images = n };
    dt_options opt;
    dt_context *ctx;
    dt_model *m;
    dt_tensor **tensor;
    dt_tape *tape;

    dt_options_default(&opt);
    opt.backend = "cpu";
    GRAPH_RUN_MUST(dt_context_create(&opt, &ctx));
    GRAPH_RUN_MUST(dt_model_open(ctx, graph, &m));
    GRAPH_RUN_MUST(dt_model_tensors(m, &tensor));
    GRAPH_RUN_MUST(dt_tape_create(ctx, &purpose, &tape));
    const int from = dt_graph_find(m->graph, given);
    cr_assert(from >= 0, "the graph has no %s", given);
    dt_tensor start = m->graph->value[from]->facts; /* codes keep their range */
    float no_scale = 1.0f;                          /* no node that makes codes reads it */
    if (start.n_scale) start.scale = &no_scale;
    start.shape.dim[0] = n;
    const size_t bytes = (size_t)dt_count(&start.shape) * sizeof *values;
    start.data = malloc(bytes);
    memcpy(start.data, values, bytes);
    tensor[from] = &start;
    const int value = dt_graph_find(m->graph, wanted);
    cr_assert(value >= 0, "the graph has no %s", wanted);
    GRAPH_RUN_MUST(dt_graph_record(m->graph, tape, &value, 1, tensor));
    dt_tape_keep(tape, tensor[value]);
    GRAPH_RUN_MUST(dt_tape_compile(tape, NULL));
    GRAPH_RUN_MUST(dt_tape_run(tape, DT_PASS_CONSTANT, NULL, NULL));
    GRAPH_RUN_MUST(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));
    memcpy(out, tensor[value]->data, (size_t)dt_count(&tensor[value]->shape) * sizeof *out);
    free(start.data);
    free(tensor);
    dt_tape_destroy(tape);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* The same, from images on. */
static inline void graph_run(dt_graph *graph, const char *wanted, const float *images, int n, float *out)
{
    graph_run_from(graph, dt_graph_name(graph, graph->image), images, wanted, n, out);
}

#endif /* GRAPH_RUN_H */
