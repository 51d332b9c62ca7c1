/*
 * reconstruct.c - the class capsules of images, and the images that a decoder makes of capsules.
 *
 * Tests: tests/test_reconstruct.c.
 */
#include "inference.h"

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
    DT_CHECK(m->config.caps_dim > 0, DT_ERR_UNSUPPORTED, "%s has no capsules", m->config.name);
    return dt_model_check_values(m, NULL);
}

dt_status dt_capsules(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, float *capsules)
{
    enum { BATCH = 100 };
    collector c = { m->ctx, capsules };
    dt_inference *inf;
    dt_step_sum sum;

    DT_TRY(need_capsules(m));
    DT_TRY(dt_inference_create(m, d, first, count, BATCH, 0.0f, 1, &inf));
    const dt_status status = dt_inference_run(inf, collect, NULL, &c, &sum);
    dt_inference_destroy(inf);
    return status;
}

static dt_status decode(dt_model *m, dt_tape *tape, dt_tensor *v, const float *capsules, float *images)
{
    const dt_network *network = dt_network_find(m->config.name);
    dt_tensor *image;

    DT_TRY(network->record_decoder(m, tape, v, &image));
    dt_tape_keep(tape, image);
    DT_TRY(dt_tape_compile(tape, NULL));
    DT_TRY(dt_device_write(m->ctx, v->data, capsules, dt_tensor_bytes(v)));
    DT_TRY(dt_tape_run(tape, DT_PASS_CONSTANT, NULL, NULL));
    DT_TRY(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));
    return dt_device_read(m->ctx, images, image->data, dt_tensor_bytes(image));
}

dt_status dt_decode(dt_model *m, const float *capsules, int64_t n, float *images)
{
    dt_tensor v = { .type = DT_F32, .shape = { 2, { n, m->config.caps_dim } }, .name = "capsules" };
    dt_tape *tape;

    DT_TRY(need_capsules(m));
    DT_CHECK(m->config.decoder != DT_DECODER_NONE, DT_ERR_UNSUPPORTED,
             "the network was trained without a decoder; train it with --decoder %s", dt_decoder_names[DT_DECODER_FC]);
    DT_CHECK(n >= 1, DT_ERR_ARGUMENT, "%lld capsules, at least 1", (long long)n);
    DT_TRY(dt_device_alloc(m->ctx, dt_tensor_bytes(&v), &v.data));
    dt_status status = dt_tape_create(m->ctx, &tape);
    if (status == DT_OK) {
        status = decode(m, tape, &v, capsules, images);
        dt_tape_destroy(tape);
    }
    dt_device_free(m->ctx, v.data, dt_tensor_bytes(&v));
    return status;
}
