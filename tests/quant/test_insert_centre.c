/*
 * test_insert_centre.c - the mean image as a part of the network: its values, what reads it, and that checkpoints keep
 * it, so that nothing else is needed to evaluate.
 */
#include <stdio.h>
#include <unistd.h>

#include "../support/range_networks.h"
#include "../../quant/insert_centre.h"
#include "detent/predict.h"

enum { SIDE = 16, CHANNELS = 3, EACH = SIDE * SIDE * CHANNELS, N = 80, IMAGES = 9, CLASSES = 10 };

static const dt_dataset_options data_options = {
    .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = N, .seed = 1, .height = SIDE, .width = SIDE, .resize = 1
};

/* The residual network on synthetic images, centred, trained a few steps. */
static void open_run(tiny_run *r, int bits, dt_quant_rule rule)
{
    const dt_model_config config = {
        .wbits = bits, .abits = bits, .input_bits = 8, .per_channel = 1, .rule = rule, .centre_image = 1
    };
    tiny_options o = tiny_defaults();
    dt_graph *g = graph_of(residual);

    *r = (tiny_run){ 0 };
    o.train.crop_pad = 0;
    o.train.flip_share = 0.0f;
    MUST(dt_context_create(&o.context, &r->ctx));
    MUST(dt_dataset_open(&data_options, &r->data));
    MUST(dt_model_create_of(r->ctx, g, &config, &r->model));
    MUST(dt_model_centre(r->model, r->data));
    MUST(dt_trainer_create(r->model, r->data, &o.train, &r->trainer));
    MUST(dt_trainer_calibrate(r->trainer));
    dt_graph_destroy(g);
}

Test(insert_centre, the_mean_is_that_of_the_images)
{
    dt_dataset_view v;
    tiny_run r;
    int64_t n;

    open_run(&r, DT_BITS_FLOAT, DT_RULE_LSQ);
    tiny_steps(&r, 2); /* they do not move it */
    dt_dataset_look(r.data, &v);
    float *mean = tiny_param(&r, tiny_index(&r, "image.mean"), &n);
    cr_assert(n == EACH && v.n == N);
    for (int i = 0; i < EACH; i++) {
        double sum = 0.0;
        for (int k = 0; k < N; k++) sum += (double)v.images[k * EACH + i];
        cr_assert(mean[i] == (float)(sum / 256.0 / N), "%d: %.9g", i, (double)mean[i]);
    }
    free(mean);
    tiny_close(&r);
}

typedef struct {
    const dt_dataset_view *v;
    const float *mean;
    int n_seen;
} looking;

static dt_status look_at_image(void *user, const dt_value_batch *value)
{
    looking *l = user;

    if (strcmp(value->name, "image.centred") != 0) return DT_OK;
    for (int64_t i = 0; i < value->dim[0] * EACH; i++) {
        const float pixel = (float)l->v->images[value->first * EACH + i] / 256.0f;
        cr_assert(value->values[i] == pixel - l->mean[i % EACH], "value %lld is %.9g", (long long)i,
                  (double)value->values[i]);
    }
    l->n_seen += (int)value->dim[0];
    return DT_OK;
}

Test(insert_centre, the_network_reads_pixels_less_the_mean)
{
    dt_dataset_view v;
    tiny_run r;
    int64_t n;

    open_run(&r, DT_BITS_FLOAT, DT_RULE_LSQ);
    dt_dataset_look(r.data, &v);
    float *mean = tiny_param(&r, tiny_index(&r, "image.mean"), &n);
    looking l = { &v, mean, 0 };
    MUST(dt_predict(r.model, &(dt_prediction){ .dataset = r.data, .n = IMAGES, .look = look_at_image, .user = &l },
                    NULL));
    cr_assert(l.n_seen == IMAGES);
    free(mean);
    tiny_close(&r);
}

/* Pixels alone, and the checkpoint: the same scores, from a context that has seen no data set. */
Test(insert_centre, checkpoints_need_no_data_set)
{
    static const dt_quant_rule rules[] = { DT_RULE_LSQ, DT_RULE_AFFINE, DT_RULE_QKERAS, DT_RULE_ECE284 };

    for (int i = 0; i < 4; i++) {
        char path[] = "/tmp/detent_centre_XXXXXX";
        float was[IMAGES * CLASSES], is[IMAGES * CLASSES];
        dt_dataset_view v;
        dt_model *back;
        dt_program *p;
        tiny_run r;
        close(mkstemp(path));
        open_run(&r, 8, rules[i]);
        tiny_steps(&r, 2);
        dt_dataset_look(r.data, &v);
        MUST(dt_predict(r.model, &(dt_prediction){ .dataset = r.data, .n = IMAGES }, was));
        MUST(dt_checkpoint_save(r.trainer, path, NULL));
        MUST(dt_checkpoint_open(r.ctx, path, &back));
        MUST(dt_predict(back, &(dt_prediction){ .pixels = v.images, .n = IMAGES }, is));
        for (int k = 0; k < IMAGES * CLASSES; k++) cr_assert(was[k] == is[k], "score %d", k);
        cr_assert(dt_program_lower(back, NULL, &p) == DT_ERR_UNSUPPORTED);
        cr_assert(strstr(dt_last_error(), "image.centred takes the mean image away") != NULL, "%s", dt_last_error());
        dt_model_destroy(back);
        tiny_close(&r);
        unlink(path);
    }
}

Test(insert_centre, other_networks_stay_as_they_are)
{
    tiny_options o = tiny_defaults();
    tiny_run r;
    dt_graph *g = graph_of(residual), *out;

    cr_assert(tiny_open(&r, &o));
    MUST(dt_model_centre(r.model, r.data));
    cr_assert(dt_centre_of(r.model->graph) == NULL && dt_model_find(r.model, "image.mean") < 0);
    MUST(dt_insert_centre(g, &out));
    cr_assert(out->unit_pixels && dt_centre_of(out) && out->n_nodes == g->n_nodes + 1);
    for (int i = 0; i < out->n_nodes; i++) {
        const dt_graph_node *n = &out->node[i];
        for (int k = 0; k < n->n_in; k++) cr_assert(n->in[k] != out->image || n->kind == DT_OP_CENTRE);
    }
    dt_graph_destroy(out);
    dt_graph_destroy(g);
    tiny_close(&r);
}
