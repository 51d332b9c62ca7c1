/*
 * inference.c - the evaluation tape, compiled once and run over the images, a full batch at a time.
 *
 * The last batch is a full one too, so that nothing is compiled for its size. Behind its images it repeats the last of
 * them, and these repetitions do not count (dt_purpose.counted). They are images of the batch, so that a largest value
 * over the batch is what it would be without them. Where the backend can capture, the first batch and a smaller last
 * one are launched, and the others are replayed.
 */
#include "inference.h"

#include "../tape/fuse.h"
#include "dataset_view.h"
#include "device_graph.h"

#include <stdlib.h>
#include <string.h>

struct dt_inference {
    dt_model *model; /* held */
    dt_device_data data;
    dt_inference_options opt;
    dt_tape *tape;
    dt_tensor *scores;
    int warm;              /* 1: a batch has run without capture */
    dt_device_graph graph; /* of a batch all of whose images count */
};

/* Returns the number of images that run, with the repetitions. */
static int64_t padded_count(const dt_inference_options *opt)
{
    return (opt->count + opt->batch - 1) / opt->batch * opt->batch;
}

/* A network of classes takes one class an image; one of labels takes all labels, or with one score one of two classes.
 */
static dt_status check_labels(const dt_model_info *is, const dt_dataset_view *v)
{
    DT_CHECK(!v->multi_label || is->is_binary, DT_ERR_SHAPE,
             "an image of the dataset has several labels, and %s tells classes apart; a network of labels has the loss "
             "binary-cross-entropy in its file",
             is->name);
    DT_CHECK(
        !is->is_binary || (v->multi_label ? v->n_classes == is->n_classes : v->n_classes == 2 && is->n_classes == 1),
        DT_ERR_SHAPE,
        "%s has %d labels that are told apart from each other by binary cross-entropy, and the dataset %d %s; it needs "
        "as many labels, or with one score two classes",
        is->name, is->n_classes, v->n_classes, v->multi_label ? "labels" : "classes");
    DT_CHECK(is->is_binary || v->n_classes <= is->n_classes, DT_ERR_SHAPE, "the dataset has %d classes, the model %d",
             v->n_classes, is->n_classes);
    return DT_OK;
}

dt_status dt_model_check_data(const dt_model *m, const dt_dataset_view *v)
{
    dt_model_info is;

    dt_model_look(m, &is);
    DT_CHECK(v->height == is.height && v->width == is.width && v->channels == is.channels, DT_ERR_SHAPE,
             "images are %dx%dx%d, the model wants %dx%dx%d", v->height, v->width, v->channels, is.height, is.width,
             is.channels);
    DT_TRY(check_labels(&is, v));
    DT_CHECK(v->n > 0, DT_ERR_ARGUMENT, "the dataset is empty");
    return DT_OK;
}

dt_status dt_device_data_create(dt_context *ctx, const dt_dataset_view *v, int64_t n_order, dt_device_data *out)
{
    const void *images = v->reals ? (const void *)v->reals : v->images;

    *out =
        (dt_device_data){ .images = { .type = v->reals ? DT_F32 : DT_U8,
                                      .shape = { 4, { v->n, v->height, v->width, v->channels } },
                                      .name = "images" },
                          .labels = { .type = DT_I32,
                                      .shape = { v->multi_label ? 2 : 1, { v->n, v->multi_label ? v->n_classes : 0 } },
                                      .name = "labels" },
                          .order = { .type = DT_I32, .shape = { 1, { n_order } }, .name = "order" } };
    DT_TRY(dt_device_alloc(ctx, dt_tensor_bytes(&out->images), &out->images.data));
    DT_TRY(dt_device_alloc(ctx, dt_tensor_bytes(&out->labels), &out->labels.data));
    DT_TRY(dt_device_alloc(ctx, dt_tensor_bytes(&out->order), &out->order.data));
    DT_TRY(dt_device_write(ctx, out->images.data, images, dt_tensor_bytes(&out->images)));
    return dt_device_write(ctx, out->labels.data, v->labels, dt_tensor_bytes(&out->labels));
}

void dt_device_data_destroy(dt_context *ctx, dt_device_data *data)
{
    dt_device_free(ctx, data->order.data, dt_tensor_bytes(&data->order));
    dt_device_free(ctx, data->labels.data, dt_tensor_bytes(&data->labels));
    dt_device_free(ctx, data->images.data, dt_tensor_bytes(&data->images));
    memset(data, 0, sizeof *data);
}

static dt_status record_all(dt_inference *inf, const dt_record_spec *spec, dt_tensor **tensor)
{
    const dt_inference_options *opt = &inf->opt;
    dt_tensor *loss;

    DT_TRY(dt_model_tape(inf->model, spec, &inf->tape));
    DT_TRY(dt_model_record_into(inf->model, inf->tape, spec, tensor, &loss));
    inf->scores = tensor[inf->model->graph->scores];
    dt_tape_keep(inf->tape, inf->scores);
    if (opt->beside) DT_TRY(opt->beside(opt->user, inf->tape, spec, tensor));
    if (!opt->watched) DT_TRY(dt_tape_fuse(inf->tape, 0));
    return dt_tape_compile(inf->tape, NULL);
}

static dt_status inference_record(dt_inference *inf, const dt_dataset_view *v)
{
    dt_record_spec spec = { .images = &inf->data.images,
                            .labels = &inf->data.labels,
                            .order = &inf->data.order,
                            .batch = inf->opt.batch,
                            .label_smoothing = inf->opt.label_smoothing,
                            .rows = inf->opt.rows,
                            .start = inf->opt.start };
    dt_tensor **tensor;

    dt_model_normalise(inf->model, v, &spec);
    DT_TRY(dt_model_tensors(inf->model, &tensor));
    const dt_status status = record_all(inf, &spec, tensor);
    free(tensor);
    return status;
}

/* The images in [first, first + count) alone go to the device; the order is theirs as it stands, and behind it the last
 * one again. */
static dt_status inference_upload(dt_inference *inf, const dt_dataset_view *v)
{
    dt_dataset_view part = *v;
    const int64_t n = padded_count(&inf->opt), last = inf->opt.count - 1;
    int32_t *order = malloc((size_t)n * sizeof *order);

    DT_CHECK(order, DT_ERR_MEMORY, "no memory for the order of %lld images", (long long)inf->opt.count);
    dt_view_skip(&part, inf->opt.first);
    part.n = inf->opt.count;
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)(i < last ? i : last);
    dt_status status = dt_device_data_create(inf->model->ctx, &part, n, &inf->data);
    if (status == DT_OK) {
        status = dt_device_write(inf->model->ctx, inf->data.order.data, order, (size_t)n * sizeof *order);
    }
    free(order);
    return status;
}

/* The mean and deviation of pixels mean nothing for reals. */
static dt_status check_kind(const dt_model *m, const dt_dataset_view *v, const dt_inference_options *opt)
{
    const int is_real = v->reals != NULL;

    DT_CHECK(opt->rows || !m->origin.name[0] || m->origin.is_real == is_real, DT_ERR_ARGUMENT,
             "%s was trained on %s (%s), and the images of %s are %s", m->graph->name,
             m->origin.is_real ? "reals" : "pixels", m->origin.name, v->name, is_real ? "reals" : "pixels");
    return DT_OK;
}

dt_status dt_inference_create(dt_model *m, const dt_dataset_view *v, const dt_inference_options *opt,
                              dt_inference **out)
{
    DT_TRY(dt_model_check_data(m, v));
    DT_TRY(check_kind(m, v, opt));
    DT_CHECK(opt->batch >= 1, DT_ERR_ARGUMENT, "batch is %d, at least 1", opt->batch);
    DT_CHECK(opt->first >= 0 && opt->count >= 1 && opt->first <= v->n - opt->count, DT_ERR_RANGE,
             "images %lld to %lld of a dataset of %lld", (long long)opt->first, (long long)(opt->first + opt->count),
             (long long)v->n);
    dt_inference *inf = calloc(1, sizeof *inf);
    DT_CHECK(inf, DT_ERR_MEMORY, "no memory for an inference");
    dt_model_hold(m);
    inf->model = m;
    inf->opt = *opt;
    if (inf->opt.batch > opt->count) inf->opt.batch = (int)opt->count;
    dt_status status = inference_upload(inf, v);
    if (status == DT_OK) status = inference_record(inf, v);
    if (status != DT_OK) {
        dt_inference_destroy(inf);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = inf;
    return DT_OK;
}

void dt_inference_destroy(dt_inference *inf)
{
    if (!inf) return;
    dt_device_graph_free(inf->model->ctx, &inf->graph);
    dt_tape_destroy(inf->tape);
    dt_device_data_destroy(inf->model->ctx, &inf->data);
    dt_model_destroy(inf->model);
    free(inf);
}

const dt_tape *dt_inference_tape(const dt_inference *inf)
{
    return inf->tape;
}

/* What sees a run. */
typedef struct {
    dt_node_hook node;
    dt_status (*batch)(void *user, const dt_batch *b);
    void *user;
} run_hooks;

/* The pass of one batch. */
static dt_status launch_batch(void *user)
{
    const dt_inference *inf = user;

    return dt_tape_run(inf->tape, DT_PASS_FORWARD, NULL, NULL);
}

/* A full batch whose nodes nobody looks at is replayed where that can be. */
static dt_status run_full(dt_inference *inf, const run_hooks *hooks)
{
    dt_context *ctx = inf->model->ctx;

    if (hooks->node || !dt_can_capture(ctx)) return dt_tape_run(inf->tape, DT_PASS_FORWARD, hooks->node, hooks->user);
    if (!inf->warm) {
        inf->warm = 1;
        return launch_batch(inf);
    }
    if (dt_device_graph_is_old(ctx, &inf->graph)) DT_TRY(dt_device_graph_capture(ctx, &inf->graph, launch_batch, inf));
    return ctx->backend->replay(ctx->device, inf->graph.graph);
}

/* Shows the batch that has run, of which n images count. */
static dt_status show_batch(const dt_inference *inf, int64_t first, int n, const run_hooks *hooks)
{
    dt_tensor logits = *inf->scores;
    const dt_batch b = { &logits, inf->opt.first + first, n };

    logits.shape = dt_tape_counted_shape(inf->tape, inf->scores);
    return hooks->batch ? hooks->batch(hooks->user, &b) : DT_OK;
}

/* The batch that begins at image `first`, of which the first n count. */
static dt_status run_batch(dt_inference *inf, int64_t first, int n, const run_hooks *hooks)
{
    dt_status status;

    if (n == inf->opt.batch) {
        status = run_full(inf, hooks);
        return status == DT_OK ? show_batch(inf, first, n, hooks) : status;
    }
    dt_tape_count(inf->tape, n);
    status = dt_tape_run(inf->tape, DT_PASS_FORWARD, hooks->node, hooks->user);
    if (status == DT_OK) status = show_batch(inf, first, n, hooks);
    dt_tape_count(inf->tape, 0);
    return status;
}

/* All tapes of a context share the workspace, so each run finds the constants of the last one overwritten. */
static dt_status run_constants(dt_inference *inf, const run_hooks *hooks)
{
    dt_context *ctx = inf->model->ctx;
    const dt_step_in in = { .seed = ctx->opt.seed };

    DT_TRY(dt_device_write(ctx, &ctx->step->in, &in, sizeof in)); /* constants may draw by the seed */
    return dt_tape_run(inf->tape, DT_PASS_CONSTANT, hooks->node, hooks->user);
}

static dt_status run_all(dt_inference *inf, const run_hooks *hooks, dt_step_sum *sum)
{
    dt_context *ctx = inf->model->ctx;
    dt_step_in in = { .seed = ctx->opt.seed };

    DT_TRY(dt_device_zero(ctx, &ctx->step->sum, sizeof *sum));
    DT_TRY(run_constants(inf, hooks));
    for (; in.first < inf->opt.count; in.first += inf->opt.batch) {
        const int64_t left = inf->opt.count - in.first;
        DT_TRY(dt_device_write(ctx, &ctx->step->in, &in, sizeof in));
        DT_TRY(run_batch(inf, in.first, left < inf->opt.batch ? (int)left : inf->opt.batch, hooks));
    }
    return dt_device_read(ctx, sum, &ctx->step->sum, sizeof *sum);
}

dt_status dt_inference_run(dt_inference *inf, dt_node_hook node_hook, dt_status (*batch_hook)(void *, const dt_batch *),
                           void *user, dt_step_sum *sum)
{
    const run_hooks hooks = { node_hook, batch_hook, user };
    dt_context *ctx = inf->model->ctx;
    dt_step before;
    dt_step_sum total;

    DT_TRY(dt_device_read(ctx, &before, ctx->step, sizeof before));
    const dt_status status = run_all(inf, &hooks, &total);
    DT_TRY(dt_device_write(ctx, ctx->step, &before, sizeof before));
    if (status != DT_OK) return dt_forward(status, __FILE__, __LINE__);
    *sum = total;
    return DT_OK;
}
