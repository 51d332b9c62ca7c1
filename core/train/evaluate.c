/*
 * evaluate.c - loss, accuracy, predictions and scores over a dataset.
 */
#include "inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    dt_model *model;
    const dt_progress *progress;
    int64_t first, total, n_batches; /* of the images that run here */
    int is_shared;                   /* 1: other ranks run the others */
    dt_outputs outputs;
    float *scores; /* host, one batch; NULL: no output is asked for */
    dt_node_hook node_hook;
    void *user;
} evaluation;

/* The first of the largest. */
static int32_t argmax(const float *v, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) {
        if (v[i] > v[best]) best = i;
    }
    return best;
}

dt_metrics dt_metrics_of(const dt_step_sum *sum)
{
    const double n = sum->n_images > 0 ? (double)sum->n_images : 1.0;
    const int has_labels = sum->n_labels > 0;

    return (dt_metrics){ .loss = sum->loss / n,
                         .reconstruction = sum->reconstruction / n,
                         .accuracy = (double)sum->n_correct / (has_labels ? (double)sum->n_labels : n),
                         .exact = (double)(has_labels ? sum->n_exact : sum->n_correct) / n,
                         .images = sum->n_images };
}

static dt_status evaluation_node(void *user, const dt_node *node)
{
    const evaluation *e = user;
    return e->node_hook(e->user, node);
}

static dt_status keep_outputs(const evaluation *e, const dt_batch *b)
{
    const int64_t classes = dt_graph_count(e->model->graph, e->model->graph->scores);
    const size_t bytes = (size_t)(b->n * classes) * sizeof(float);
    int32_t *predictions = e->outputs.predictions;

    DT_TRY(dt_device_read(e->model->ctx, e->scores, b->logits->data, bytes));
    for (int64_t i = 0; predictions && i < b->n; i++) {
        predictions[b->first + i] = argmax(e->scores + i * classes, (int)classes);
    }
    if (e->outputs.scores) memcpy(e->outputs.scores + b->first * classes, e->scores, bytes);
    return DT_OK;
}

static dt_status watch(evaluation *e)
{
    const dt_progress *p = e->progress;
    dt_step_sum sum;

    if (!p || !p->watch || e->is_shared || p->watch_every < 1 || ++e->n_batches % p->watch_every != 0) return DT_OK;
    DT_TRY(dt_device_read(e->model->ctx, &sum, &e->model->ctx->step->sum, sizeof sum));
    const dt_metrics so_far = dt_metrics_of(&sum);
    return p->watch(p->user, &so_far);
}

/* Ranks stop together, so not here. */
static int is_stopped(const evaluation *e, const dt_batch *b)
{
    const dt_progress *p = e->progress;
    const int asked = p && p->tick && p->tick(p->user, b->first + b->n - e->first, e->total);

    return asked && !e->is_shared;
}

static dt_status evaluation_batch(void *user, const dt_batch *b)
{
    evaluation *e = user;

    if (e->scores) DT_TRY(keep_outputs(e, b));
    DT_TRY(watch(e));
    if (is_stopped(e, b)) {
        return dt_raise(DT_ERR_INTERRUPTED, __FILE__, __LINE__, "evaluation stopped after %lld of %lld images",
                        (long long)(b->first + b->n), (long long)e->total);
    }
    return DT_OK;
}

/* The images of `range` alone. */
static dt_status run_range(dt_model *m, const dt_dataset_view *v, const dt_evaluation *how, evaluation *e,
                           dt_step_sum *sum)
{
    dt_inference *inf;
    const int keeps = e->outputs.predictions || e->outputs.scores;
    const dt_inference_options opt = { .first = e->first,
                                       .count = e->total,
                                       .batch = how->batch,
                                       .label_smoothing = how->label_smoothing,
                                       .watched = how->hook != NULL,
                                       .rows = how->rows,
                                       .start = how->start };
    DT_TRY(dt_inference_create(m, v, &opt, &inf));
    if (keeps)
        e->scores = malloc((size_t)how->batch * (size_t)dt_graph_count(m->graph, m->graph->scores) * sizeof(float));
    dt_status status = e->scores || !keeps
                           ? dt_inference_run(inf, how->hook ? evaluation_node : NULL, evaluation_batch, e, sum)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a batch of scores");
    free(e->scores);
    dt_inference_destroy(inf);
    return status;
}

static dt_status sum_over_ranks(dt_dist *dist, dt_step_sum *sum)
{
    double v[DT_STEP_SUMS];

    dt_step_sum_pack(sum, v);
    DT_TRY(dt_dist_sum(dist, "evaluation", v, DT_STEP_SUMS));
    dt_step_sum_unpack(v, sum);
    return DT_OK;
}

/* Each rank takes its share of the images, but where outputs are asked for, which no rank has of the others. */
dt_status dt_evaluate_by(dt_model *m, const dt_dataset *d, const dt_evaluation *how, dt_metrics *out)
{
    dt_dist *dist = how->outputs ? NULL : m->ctx->dist;
    const int64_t rank = dt_dist_rank(dist), ranks = dt_dist_size(dist);
    dt_dataset_view v;
    dt_step_sum sum = { 0 };

    dt_dataset_look(d, &v);
    evaluation e = { .model = m,
                     .progress = how->progress,
                     .first = v.n * rank / ranks,
                     .total = v.n * (rank + 1) / ranks - v.n * rank / ranks,
                     .is_shared = dist != NULL,
                     .node_hook = how->hook,
                     .user = how->user };
    if (how->outputs) e.outputs = *how->outputs;
    if (e.total > 0 || !dist) DT_TRY(run_range(m, &v, how, &e, &sum));
    if (dist) DT_TRY(sum_over_ranks(dist, &sum));
    DT_CHECK(isfinite(sum.loss), DT_ERR_NUMERIC,
             "the loss of %lld images is %g: values of %s are beyond f32; the model has diverged", (long long)v.n,
             sum.loss, m->graph->name);
    *out = dt_metrics_of(&sum);
    return DT_OK;
}

dt_status dt_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing, const dt_progress *progress,
                      const dt_outputs *outputs, dt_metrics *out)
{
    const dt_evaluation how = { batch, label_smoothing, progress, outputs, NULL, NULL, NULL, 0 };

    DT_TRY(dt_model_check_values(m, NULL));
    return dt_evaluate_by(m, d, &how, out);
}
