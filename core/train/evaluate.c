/*
 * evaluate.c - loss, accuracy, predictions and scores over a dataset.
 */
#include "inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dt_evaluator {
    dt_model *model;         /* held */
    dt_dist *dist;           /* the ranks that share the images; NULL: all of them run here */
    dt_inference *inference; /* of the images that run here; NULL: there are none */
    int64_t first, count;    /* those images */
    int64_t n_images;        /* of the dataset */
    int batch;
};

/* One run of it. */
typedef struct {
    const dt_evaluator *of;
    const dt_evaluation *how;
    int64_t n_batches;
    float *scores; /* host, one batch; NULL: no output is asked for */
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
    return e->how->hook(e->how->user, node);
}

static dt_status keep_outputs(const evaluation *e, const dt_batch *b)
{
    const dt_graph *g = e->of->model->graph;
    const int64_t classes = dt_graph_count(g, g->scores);
    const size_t bytes = (size_t)(b->n * classes) * sizeof(float);
    int32_t *predictions = e->how->outputs->predictions;

    DT_TRY(dt_device_read(e->of->model->ctx, e->scores, b->logits->data, bytes));
    for (int64_t i = 0; predictions && i < b->n; i++) {
        predictions[b->first + i] = argmax(e->scores + i * classes, (int)classes);
    }
    if (e->how->outputs->scores) memcpy(e->how->outputs->scores + b->first * classes, e->scores, bytes);
    return DT_OK;
}

static dt_status watch(evaluation *e)
{
    const dt_progress *p = e->how->progress;
    dt_context *ctx = e->of->model->ctx;
    dt_step_sum sum;

    if (!p || !p->watch || e->of->dist || p->watch_every < 1 || ++e->n_batches % p->watch_every != 0) return DT_OK;
    DT_TRY(dt_device_read(ctx, &sum, &ctx->step->sum, sizeof sum));
    const dt_metrics so_far = dt_metrics_of(&sum);
    return p->watch(p->user, &so_far);
}

/* Ranks stop together, so not here. */
static int is_stopped(const evaluation *e, const dt_batch *b)
{
    const dt_progress *p = e->how->progress;
    const int asked = p && p->tick && p->tick(p->user, b->first + b->n - e->of->first, e->of->count);

    return asked && !e->of->dist;
}

static dt_status evaluation_batch(void *user, const dt_batch *b)
{
    evaluation *e = user;

    if (e->scores) DT_TRY(keep_outputs(e, b));
    DT_TRY(watch(e));
    if (is_stopped(e, b)) {
        return dt_raise(DT_ERR_INTERRUPTED, __FILE__, __LINE__, "evaluation stopped after %lld of %lld images",
                        (long long)(b->first + b->n), (long long)e->of->count);
    }
    return DT_OK;
}

/* The images that run here. */
static dt_status run_here(const dt_evaluator *of, const dt_evaluation *how, dt_step_sum *sum)
{
    const dt_graph *g = of->model->graph;
    const int keeps = how->outputs && (how->outputs->predictions || how->outputs->scores);
    evaluation e = { .of = of, .how = how };

    if (keeps) {
        e.scores = malloc((size_t)of->batch * (size_t)dt_graph_count(g, g->scores) * sizeof(float));
        DT_CHECK(e.scores, DT_ERR_MEMORY, "no memory for a batch of scores");
    }
    const dt_status status =
        dt_inference_run(of->inference, how->hook ? evaluation_node : NULL, evaluation_batch, &e, sum);
    free(e.scores);
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

static dt_status run(const dt_evaluator *e, const dt_evaluation *how, dt_metrics *out)
{
    dt_step_sum sum = { 0 };

    if (e->inference) DT_TRY(run_here(e, how, &sum));
    if (e->dist) DT_TRY(sum_over_ranks(e->dist, &sum));
    DT_CHECK(isfinite(sum.loss), DT_ERR_NUMERIC,
             "the loss of %lld images is %g: values of %s are beyond f32; the model has diverged",
             (long long)e->n_images, sum.loss, e->model->graph->name);
    *out = dt_metrics_of(&sum);
    return DT_OK;
}

/* Each rank takes its share of the images, but where outputs are asked for, which no rank has of the others. */
static dt_status open(dt_model *m, const dt_dataset *d, const dt_evaluation *how, dt_evaluator **out)
{
    dt_dist *dist = how->outputs ? NULL : m->ctx->dist;
    const int64_t rank = dt_dist_rank(dist), ranks = dt_dist_size(dist);
    dt_dataset_view v;
    dt_status status = DT_OK;

    dt_dataset_look(d, &v);
    const int64_t first = v.n * rank / ranks, count = v.n * (rank + 1) / ranks - first;
    const dt_inference_options opt = { .first = first,
                                       .count = count,
                                       .batch = how->batch,
                                       .label_smoothing = how->label_smoothing,
                                       .watched = how->hook != NULL,
                                       .rows = how->rows,
                                       .start = how->start };
    dt_evaluator *e = calloc(1, sizeof *e);
    DT_CHECK(e, DT_ERR_MEMORY, "no memory for an evaluation");
    dt_model_hold(m);
    *e = (dt_evaluator){
        .model = m, .dist = dist, .first = first, .count = count, .n_images = v.n, .batch = how->batch
    };
    if (count > 0 || !dist) status = dt_inference_create(m, &v, &opt, &e->inference);
    if (status != DT_OK) {
        dt_evaluator_destroy(e);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = e;
    return DT_OK;
}

dt_status dt_evaluate_by(dt_model *m, const dt_dataset *d, const dt_evaluation *how, dt_metrics *out)
{
    dt_evaluator *e;

    DT_TRY(open(m, d, how, &e));
    const dt_status status = run(e, how, out);
    dt_evaluator_destroy(e);
    return status;
}

dt_status dt_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing, const dt_progress *progress,
                      const dt_outputs *outputs, dt_metrics *out)
{
    const dt_evaluation how = { batch, label_smoothing, progress, outputs, NULL, NULL, NULL, 0 };

    DT_TRY(dt_model_check_values(m, NULL));
    return dt_evaluate_by(m, d, &how, out);
}

dt_status dt_evaluator_create(dt_model *m, const dt_dataset *d, int batch, float label_smoothing, dt_evaluator **out)
{
    const dt_evaluation how = { .batch = batch, .label_smoothing = label_smoothing };

    return open(m, d, &how, out);
}

dt_status dt_evaluator_run(dt_evaluator *e, const dt_progress *progress, dt_metrics *out)
{
    const dt_evaluation how = { .progress = progress };

    DT_TRY(dt_model_check_values(e->model, NULL));
    return run(e, &how, out);
}

void dt_evaluator_destroy(dt_evaluator *e)
{
    if (!e) return;
    dt_inference_destroy(e->inference);
    dt_model_destroy(e->model);
    free(e);
}
