/*
 * reconstruct.c - the class capsules of images, and the images that a decoder makes of capsules.
 *
 * Tests: tests/cli/test_reconstruct.c.
 */
#include "inference.h"

#include <stdlib.h>

typedef struct {
    dt_context *ctx;
    float *to; /* host; moves on with every batch */
} collector;

static dt_status collect(void *user, const dt_node *node)
{
    collector *c = user;
    if (node->kind != DT_OP_CAPS_LENGTH) return DT_OK;
    const dt_tensor *v = node->in[0];
    DT_TRY(dt_device_read(c->ctx, c->to, v->data, dt_tensor_bytes(v)));
    c->to += dt_count(&v->shape);
    return DT_OK;
}

static dt_status need_capsules(const dt_model *m)
{
    DT_CHECK(m->graph->capsules >= 0, DT_ERR_UNSUPPORTED, "%s has no capsules", m->graph->name);
    return dt_model_check_values(m, NULL);
}

dt_status dt_capsules(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, float *capsules)
{
    enum { BATCH = 100 };
    const dt_inference_options opt = { .first = first, .count = count, .batch = BATCH, .watched = 1 };
    collector c = { m->ctx, capsules };
    dt_dataset_view v;
    dt_inference *inf;
    dt_step_sum sum;

    DT_TRY(need_capsules(m));
    dt_dataset_look(d, &v);
    DT_TRY(dt_inference_create(m, &v, &opt, &inf));
    const dt_status status = dt_inference_run(inf, collect, NULL, &c, &sum);
    dt_inference_destroy(inf);
    return status;
}

/* The decoder alone, of the n capsules in v. */
static dt_status decoder_record(dt_model *m, dt_tape *tape, dt_tensor *v, dt_tensor **image)
{
    const dt_graph *g = m->graph;
    dt_tensor **tensor;

    DT_TRY(dt_model_tensors(m, &tensor));
    tensor[g->masked] = v;
    const dt_status status = dt_graph_record(g, tape, &g->reconstruction, 1, tensor);
    *image = tensor[g->reconstruction];
    free(tensor);
    return status;
}

static dt_status decode(dt_model *m, dt_tape *tape, dt_tensor *v, const float *capsules, float *images)
{
    dt_tensor *image = NULL;

    DT_TRY(decoder_record(m, tape, v, &image));
    dt_tape_keep(tape, image);
    DT_TRY(dt_tape_compile(tape, NULL));
    DT_TRY(dt_device_write(m->ctx, v->data, capsules, dt_tensor_bytes(v)));
    DT_TRY(dt_tape_run(tape, DT_PASS_CONSTANT, NULL, NULL));
    DT_TRY(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));
    return dt_device_read(m->ctx, images, image->data, dt_tensor_bytes(image));
}

dt_status dt_decode(dt_model *m, const float *capsules, int64_t n, float *images)
{
    const dt_graph *g = m->graph;
    dt_tape *tape;

    DT_TRY(need_capsules(m));
    DT_CHECK(g->masked >= 0, DT_ERR_UNSUPPORTED,
             "the network was trained without a decoder; train it with --decoder %s", dt_decoder_names[DT_DECODER_FC]);
    DT_CHECK(n >= 1, DT_ERR_ARGUMENT, "%lld capsules, at least 1", (long long)n);
    dt_tensor v = { .type = DT_F32, .shape = *dt_graph_shape(g, g->masked), .name = "capsules" };
    v.shape.dim[0] = n;
    DT_TRY(dt_device_alloc(m->ctx, dt_tensor_bytes(&v), &v.data));
    dt_status status = dt_tape_create(m->ctx, &(dt_purpose){ .images = (int)n }, &tape);
    if (status == DT_OK) {
        status = decode(m, tape, &v, capsules, images);
        dt_tape_destroy(tape);
    }
    dt_device_free(m->ctx, v.data, dt_tensor_bytes(&v));
    return status;
}
