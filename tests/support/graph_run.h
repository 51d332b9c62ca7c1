/*
 * graph_run.h - runs a graph whose image is f32, on the CPU, on images in memory.
 */
#ifndef GRAPH_RUN_H
#define GRAPH_RUN_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/train/model.h"

#define GRAPH_RUN_MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* Writes to out[n][of one image] the values of `wanted` for n images. The graph is taken over. */
static inline void graph_run(dt_graph *graph, const char *wanted, const float *images, int n, float *out)
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
    dt_tensor image = { .type = DT_F32, .shape = *dt_graph_shape(m->graph, m->graph->image), .name = "image" };
    image.shape.dim[0] = n;
    const size_t bytes = (size_t)dt_count(&image.shape) * sizeof *images;
    image.data = malloc(bytes);
    memcpy(image.data, images, bytes);
    tensor[m->graph->image] = &image;
    const int value = dt_graph_find(m->graph, wanted);
    cr_assert(value >= 0, "the graph has no %s", wanted);
    GRAPH_RUN_MUST(dt_graph_record(m->graph, tape, &value, 1, tensor));
    dt_tape_keep(tape, tensor[value]);
    GRAPH_RUN_MUST(dt_tape_compile(tape, NULL));
    GRAPH_RUN_MUST(dt_tape_run(tape, DT_PASS_CONSTANT, NULL, NULL));
    GRAPH_RUN_MUST(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));
    memcpy(out, tensor[value]->data, (size_t)dt_count(&tensor[value]->shape) * sizeof *out);
    free(image.data);
    free(tensor);
    dt_tape_destroy(tape);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

#endif /* GRAPH_RUN_H */
