/*
 * predict.c - scores of images, and the values of the network that lead to them.
 *
 * Pixels that are in no dataset are normalised by the network's origin. Images that are normalised already take the
 * place of the graph's image.
 *
 * Interface: dt_predict in include/detent/predict.h, dt_predict_view in inference.h.  Tests: tests/cli/test_predict.c.
 */
#include "../grid_facts.h"
#include "dataset_view.h"
#include "inference.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    dt_model *model;
    const dt_prediction *what;
    float *scores, *room; /* room: of the largest value of a batch, where somebody looks */
    int64_t room_count;
    int64_t first, n; /* the batch at hand */
    int64_t done;
} prediction;

static int is_wanted(const prediction *p, const dt_node *node)
{
    const dt_prediction *what = p->what;
    const dt_tensor *t = node->out;

    if (t->constant || t->type != DT_F32 || dt_graph_find(p->model->graph, node->name) < 0) return 0;
    return !what->wants || what->wants(what->user, node->name);
}

static dt_status room_for(prediction *p, int64_t count)
{
    if (count <= p->room_count) return DT_OK;
    float *bigger = realloc(p->room, (size_t)count * sizeof *bigger);
    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory to look at %lld values", (long long)count);
    p->room = bigger;
    p->room_count = count;
    return DT_OK;
}

/* What a node has made, on the host. */
static dt_status show_node(void *user, const dt_node *node)
{
    prediction *p = user;
    const dt_tensor *t = node->out;
    dt_context *ctx = p->model->ctx;

    if (!is_wanted(p, node)) return DT_OK;
    DT_TRY(room_for(p, dt_count(&t->shape) + t->n_scale));
    float *scale = p->room + dt_count(&t->shape);
    DT_TRY(dt_device_read(ctx, p->room, t->data, dt_tensor_bytes(t)));
    if (t->n_scale > 0) DT_TRY(dt_device_read(ctx, scale, t->scale, (size_t)t->n_scale * sizeof *scale));
    dt_value_batch v = { .name = node->name,
                         .first = p->done,
                         .ndim = t->shape.ndim,
                         .values = p->room,
                         .n_scale = t->n_scale,
                         .scale = t->n_scale > 0 ? scale : NULL };
    for (int i = 0; i < v.ndim; i++) v.dim[i] = t->shape.dim[i];
    return p->what->look(p->what->user, &v);
}

/* Scores on the grid are made real here. */
static dt_status keep_scores(void *user, const dt_batch *b)
{
    prediction *p = user;
    const dt_tensor *t = b->logits;
    const int64_t classes = dt_channels(&t->shape);
    const dt_progress *progress = p->what->progress;

    if (p->scores) DT_TRY(dt_device_real(p->model->ctx, t, p->scores + b->first * classes));
    p->done = b->first + b->n;
    DT_CHECK(!progress || !progress->tick || !progress->tick(progress->user, p->done, p->what->n), DT_ERR_INTERRUPTED,
             "prediction stopped after %lld of %lld images", (long long)p->done, (long long)p->what->n);
    return DT_OK;
}

static dt_status find_beside(const prediction *p, int *value)
{
    const dt_graph *g = p->model->graph;

    for (int i = 0; i < p->what->n_beside; i++) {
        value[i] = dt_graph_find(g, p->what->beside[i]);
        DT_CHECK(value[i] >= 0, DT_ERR_ARGUMENT, "%s has no value %s", g->name, p->what->beside[i]);
    }
    return DT_OK;
}

/* What the scores do not need. */
static dt_status record_beside(void *user, dt_tape *tape, const dt_record_spec *spec, dt_tensor *const *tensor)
{
    const prediction *p = user;
    const dt_graph *g = p->model->graph;
    const size_t n = (size_t)p->what->n_beside, n_values = (size_t)g->n_values;
    dt_tensor **known = malloc(n_values * sizeof *known);
    int *value = malloc(n * sizeof *value);
    (void)spec;

    dt_status status = known && value ? find_beside(p, value)
                                      : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                                 "no memory to record %zu values of %s", n, g->name);
    if (status == DT_OK) {
        memcpy(known, tensor, n_values * sizeof *known);
        status = dt_graph_record(g, tape, value, p->what->n_beside, known);
    }
    free(value);
    free(known);
    return status;
}

static dt_status run(prediction *p, const dt_dataset_view *v, dt_tensor *rows)
{
    const dt_prediction *what = p->what;
    const dt_inference_options opt = { .count = what->n,
                                       .batch = what->batch > 0 ? what->batch : DT_PREDICT_BATCH,
                                       .watched = what->look != NULL,
                                       .rows = rows,
                                       .start = p->model->graph->image,
                                       .beside = what->n_beside > 0 ? record_beside : NULL,
                                       .user = p };
    dt_inference *inf;
    dt_step_sum sum;

    DT_TRY(dt_inference_create(p->model, v, &opt, &inf));
    const dt_status status = dt_inference_run(inf, what->look ? show_node : NULL, keep_scores, p, &sum);
    dt_inference_destroy(inf);
    return status;
}

static dt_status check(const dt_model *m, const dt_prediction *what)
{
    const dt_graph *g = m->graph;
    const int known = m->origin.name[0] || g->unit_pixels || g->value[g->image]->facts.type == DT_U8;
    const int n_given = !!what->dataset + !!what->pixels + !!what->normalised;

    DT_CHECK(what->n >= 1 && n_given == 1, DT_ERR_ARGUMENT,
             "a prediction takes 1 image or more, of a dataset, as pixels or normalised; got %lld, and %d of the three",
             (long long)what->n, n_given);
    DT_CHECK(what->pixels == NULL || known, DT_ERR_ARGUMENT,
             "nothing says what %s was trained on, and so how to normalise its pixels; give it normalised images",
             g->name);
    DT_CHECK(what->pixels == NULL || !m->origin.is_real, DT_ERR_ARGUMENT,
             "%s was trained on reals (%s), and got pixels; give it reals, normalised", g->name, m->origin.name);
    DT_CHECK(what->normalised == NULL || g->value[g->image]->facts.type == DT_F32, DT_ERR_UNSUPPORTED,
             "%s is an integer program, which reads pixels by a table; give it bytes, not normalised images", g->name);
    return DT_OK;
}

/* Normalised images on the device, as rows of the value that the network calls its image. */
static dt_status upload_rows(dt_model *m, const dt_prediction *what, dt_tensor *rows)
{
    *rows = (dt_tensor){ .type = DT_F32, .shape = *dt_graph_shape(m->graph, m->graph->image), .name = "images" };
    rows->shape.dim[0] = what->n;
    DT_TRY(dt_device_alloc(m->ctx, dt_tensor_bytes(rows), &rows->data));
    return dt_device_write(m->ctx, rows->data, what->normalised, dt_tensor_bytes(rows));
}

dt_status dt_predict_view(dt_model *m, const dt_dataset_view *v, const dt_prediction *what, float *scores)
{
    prediction p = { .model = m, .what = what, .scores = scores };
    dt_tensor rows = { 0 };

    DT_TRY(dt_model_check_values(m, NULL));
    dt_status status = what->normalised ? upload_rows(m, what, &rows) : DT_OK;
    if (status == DT_OK) status = run(&p, v, what->normalised ? &rows : NULL);
    if (rows.data) dt_device_free(m->ctx, rows.data, dt_tensor_bytes(&rows));
    free(p.room);
    DT_TRY(status);
    return DT_OK;
}

static dt_status predict_dataset(dt_model *m, const dt_prediction *what, float *scores)
{
    dt_dataset_view v;

    dt_dataset_look(what->dataset, &v);
    DT_CHECK(what->first >= 0 && what->first <= v.n - what->n, DT_ERR_RANGE, "images %lld to %lld of a dataset of %lld",
             (long long)what->first, (long long)(what->first + what->n), (long long)v.n);
    dt_view_skip(&v, what->first);
    v.n = what->n;
    DT_TRY(dt_predict_view(m, &v, what, scores));
    return DT_OK;
}

dt_status dt_predict(dt_model *m, const dt_prediction *what, float *scores)
{
    const int64_t *image = dt_graph_shape(m->graph, m->graph->image)->dim;
    const int64_t classes = dt_graph_shape(m->graph, m->graph->scores)->dim[1];

    DT_TRY(check(m, what));
    if (what->dataset) return predict_dataset(m, what, scores);
    const size_t bytes = (size_t)(what->n * image[1] * image[2] * image[3]);
    const int multi_label = m->graph->loss == DT_LOSS_BINARY;
    const size_t n_labels = (size_t)what->n * (size_t)(multi_label ? classes : 1);
    int32_t *labels = calloc(n_labels, sizeof *labels); /* nobody's: the loss is not looked at */
    uint8_t *blank = what->pixels ? NULL : calloc(bytes, 1);
    dt_status status = labels && (blank || what->pixels) ? DT_OK
                                                         : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__,
                                                                    "no memory for %lld images", (long long)what->n);
    const dt_dataset_view v = { .name = "",
                                .images = what->pixels ? what->pixels : blank,
                                .labels = labels,
                                .multi_label = multi_label,
                                .n = what->n,
                                .height = (int)image[1],
                                .width = (int)image[2],
                                .channels = (int)image[3],
                                .n_classes = (int)classes,
                                .std = { 1.0f, 1.0f, 1.0f, 1.0f } };
    if (status == DT_OK) status = dt_predict_view(m, &v, what, scores);
    free(blank);
    free(labels);
    DT_TRY(status);
    return DT_OK;
}
