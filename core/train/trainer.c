/*
 * trainer.c - a training run: tapes, optimiser state and settings; the whole position is `step`.
 *
 * Steps are run in trainer_step.c.  Tests: tests/core/test_trainer.c.
 */
#include "trainer.h"

#include "../tape/fuse.h"
#include "optim.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dt_status dt_trainer_record(dt_trainer *t, const dt_part *part, dt_lesson *lesson, dt_tape **tape, dt_tensor **loss)
{
    dt_tensor *logits;

    dt_trainer_lesson_open(t, part, lesson);
    t->spec.teacher = lesson->said.data ? &lesson->said : NULL;
    t->spec.batch = part->images;
    t->spec.step_images = part->step_images;
    t->spec.norm_images = part->norm_images;
    DT_TRY(dt_model_tape(t->model, &t->spec, tape));
    return dt_model_record(t->model, *tape, &t->spec, &logits, loss);
}

static int has_narrow_gradients(const dt_tape *tape)
{
    for (int i = 0; i < dt_tape_n_nodes(tape); i++) {
        if (dt_tape_node(tape, i)->out->grad_type == DT_F16) return 1;
    }
    return 0;
}

/* The update leaves what the next step standardises weights by; both tapes share it. */
static dt_status keep_sums(dt_context *ctx, const dt_step_tape *s)
{
    for (int i = 0; i < s->update.n_quantizers; i++) {
        const dt_node *q = s->quantizer[i];
        if (!q->in[0]->sums) DT_TRY(dt_device_alloc(ctx, dt_weight_sums_bytes(q), (void **)&q->in[0]->sums));
    }
    return DT_OK;
}

static void free_sums(dt_context *ctx, const dt_step_tape *s)
{
    for (int i = 0; i < s->update.n_quantizers; i++) {
        const dt_node *q = s->quantizer[i];
        dt_device_free(ctx, q->in[0]->sums, dt_weight_sums_bytes(q));
        q->in[0]->sums = NULL;
        q->in[0]->has_sums = 0;
    }
}

static dt_status step_tape_record(dt_trainer *t, const dt_part *part, dt_step_tape *out)
{
    out->part = *part;
    DT_TRY(dt_trainer_record(t, part, &out->lesson, &out->tape, &out->loss));
    DT_TRY(dt_tape_fuse(out->tape, 1));
    if (t->config.optim == DT_OPTIM_SGD) dt_tape_defer(out->tape, DT_OP_WEIGHT_QUANT);
    DT_TRY(dt_tape_compile(out->tape, out->loss));
    out->quantizer = malloc((size_t)dt_tape_n_nodes(out->tape) * sizeof *out->quantizer);
    DT_CHECK(out->quantizer, DT_ERR_MEMORY, "no memory for the weights' quantizers");
    out->update = t->update;
    out->update.n_quantizers = dt_tape_deferred(out->tape, out->quantizer);
    out->update.quantizer = out->quantizer;
    out->update.scaled = has_narrow_gradients(out->tape);
    if (t->model->ctx->dist) out->n_buckets = dt_buckets_of(out->tape, t->model, out->bucket, DT_BUCKETS);
    DT_TRY(dt_trainer_share(t, out));
    DT_TRY(dt_trainer_freeze_tape(t, out));
    return keep_sums(t->model->ctx, out);
}

/* The tapes of all parts of a step of so many images; equal parts share one. */
static dt_status record_parts(dt_trainer *t, int step_images)
{
    for (int i = 0; step_images > 0 && i < t->accumulate; i++) {
        const dt_part part = dt_trainer_part(t, step_images, i);
        if (dt_trainer_tape(t, &part)) continue;
        assert(t->n_tapes < DT_STEP_TAPES);
        DT_TRY(step_tape_record(t, &part, &t->tape[t->n_tapes++]));
    }
    return DT_OK;
}

static int same_settings(const dt_update_range *a, const dt_update_range *b)
{
    return a->lr_factor == b->lr_factor && a->weight_decay == b->weight_decay && a->floor == b->floor &&
           a->sparse == b->sparse;
}

/* One range for each run of parameters of one group, floor and sparsity. */
static dt_status trainer_ranges(dt_trainer *t)
{
    const dt_model *m = t->model;
    int n = 0;

    t->range = calloc((size_t)m->n_params, sizeof *t->range);
    DT_CHECK(t->range, DT_ERR_MEMORY, "no memory for %d parameter ranges", m->n_params);
    for (int i = 0; i < m->n_params; i++) {
        const dt_param *p = m->param[i];
        if (p->group == DT_GROUP_STATE) continue;
        const int is_alpha = p->group == DT_GROUP_ALPHA;
        const dt_update_range r = { .first = p->first,
                                    .count = dt_count(&p->tensor.shape),
                                    .lr_factor = is_alpha ? t->config.alpha_lr : 1.0f,
                                    .weight_decay = is_alpha ? t->config.alpha_decay : t->config.weight_decay,
                                    .floor = p->floor,
                                    .sparse = m->graph->value[p->value]->param.sparse };
        dt_update_range *last = n > 0 ? &t->range[n - 1] : NULL;
        if (last && same_settings(last, &r)) {
            last->count += r.count;
        } else {
            t->range[n++] = r;
        }
    }
    t->update.n_ranges = n;
    return DT_OK;
}

static size_t queue_bytes(const dt_trainer *t)
{
    return (size_t)DT_STEPS_TOGETHER * (size_t)t->accumulate * sizeof *t->queue;
}

static size_t shared_bytes(const dt_trainer *t)
{
    return (size_t)(DT_STEP_SUMS + t->model->n_state) * sizeof *t->shared;
}

static dt_status trainer_optimiser(dt_trainer *t)
{
    dt_model *m = t->model;
    dt_context *ctx = m->ctx;
    const size_t bytes = (size_t)m->n_trained * sizeof(float);
    const dt_train_config *c = &t->config;

    DT_TRY(trainer_ranges(t));
    DT_TRY(dt_device_zero(ctx, m->dw, bytes)); /* what no step reaches stays 0 */
    DT_TRY(dt_device_alloc(ctx, queue_bytes(t), (void **)&t->queue));
    t->to_queue = malloc(queue_bytes(t));
    DT_CHECK(t->to_queue, DT_ERR_MEMORY, "no memory for what %d parts of %d steps read", t->accumulate,
             DT_STEPS_TOGETHER);
    if (ctx->dist) DT_TRY(dt_device_alloc(ctx, shared_bytes(t), (void **)&t->shared));
    DT_TRY(dt_device_alloc(ctx, bytes, (void **)&t->m1));
    DT_TRY(dt_device_zero(ctx, t->m1, bytes));
    if (t->accumulate > 1) DT_TRY(dt_device_alloc(ctx, bytes, (void **)&t->part_sum));
    if (c->optim == DT_OPTIM_ADAM) {
        DT_TRY(dt_device_alloc(ctx, bytes, (void **)&t->m2));
        DT_TRY(dt_device_zero(ctx, t->m2, bytes));
    }
    t->update = (dt_update){ .kind = c->optim,
                             .momentum = c->momentum,
                             .beta1 = c->beta1,
                             .beta2 = c->beta2,
                             .epsilon = c->epsilon,
                             .w = m->w,
                             .dw = m->dw,
                             .m1 = t->m1,
                             .m2 = t->m2,
                             .range = t->range,
                             .n_ranges = t->update.n_ranges,
                             .count = m->n_trained };
    return DT_OK;
}

static int has_scaled_gradients(const dt_trainer *t)
{
    for (int i = 0; i < t->n_tapes; i++) {
        if (t->tape[i].update.scaled) return 1;
    }
    return 0;
}

/* Gradients begin well above fp16's subnormals; a first overflow or two find the largest scale that fits. */
static dt_status trainer_scale(dt_trainer *t)
{
    dt_context *ctx = t->model->ctx;
    const dt_loss_scale first = { .value = has_scaled_gradients(t) ? 65536.0f : 1.0f };

    return dt_device_write(ctx, &ctx->step->scale, &first, sizeof first);
}

static dt_status trainer_build(dt_trainer *t, const dt_dataset_view *v)
{
    const int rest = (int)(v->n % t->config.batch);

    DT_TRY(dt_device_data_create(t->model->ctx, v, v->n, &t->data));
    t->spec = (dt_record_spec){ .images = &t->data.images,
                                .labels = &t->data.labels,
                                .order = &t->data.order,
                                .training = 1,
                                .crop_pad = t->config.crop_pad,
                                .shift = t->config.shift,
                                .rotation = t->config.rotation,
                                .flip_share = t->config.flip_share,
                                .flip_kind = t->config.flip_kind,
                                .cutout = t->config.cutout,
                                .brightness = t->config.brightness,
                                .contrast = t->config.contrast,
                                .regularization_scale = t->config.regularization_scale,
                                .label_smoothing = t->config.label_smoothing,
                                .ewgs = t->config.ewgs_activations };
    memcpy(t->spec.mean, t->origin.mean, sizeof t->spec.mean);
    memcpy(t->spec.std, t->origin.std, sizeof t->spec.std);
    DT_TRY(dt_trainer_teacher_open(t));
    DT_TRY(trainer_optimiser(t));
    DT_TRY(dt_trainer_mean_open(t));
    DT_TRY(dt_trainer_freeze_open(t));
    DT_TRY(record_parts(t, v->n >= t->config.batch ? t->config.batch : 0));
    DT_TRY(record_parts(t, rest));
    return trainer_scale(t);
}

/* Scaled gradients of activations are for the quantizers that have a clip or a step. */
static dt_status check_ewgs(const dt_model *m, const dt_train_config *cfg)
{
    int n = 0;

    for (int i = 0; i < m->graph->n_nodes; i++) n += m->graph->node[i].kind == DT_OP_ACT_QUANT;
    DT_CHECK(cfg->ewgs_activations == 0.0f || n > 0, DT_ERR_UNSUPPORTED,
             "ewgs_activations is %g, and no activation of %s has a quantizer with a clip; train with bits for "
             "activations, and another rule than affine or qkeras",
             (double)cfg->ewgs_activations, m->graph->name);
    return DT_OK;
}

dt_status dt_trainer_create(dt_model *m, const dt_dataset *d, const dt_train_config *cfg, dt_trainer **out)
{
    dt_dataset_view v;

    dt_dataset_look(d, &v);
    DT_TRY(dt_train_config_check(cfg));
    DT_CHECK(m->n_trained > 0, DT_ERR_UNSUPPORTED,
             "%s is a program, whose integers cannot be trained; train the model that it was lowered from",
             m->graph->name);
    DT_TRY(check_ewgs(m, cfg));
    DT_TRY(dt_model_check_data(m, &v));
    DT_TRY(dt_parts_check(m->ctx, cfg, v.n));
    dt_trainer *t = calloc(1, sizeof *t);
    DT_CHECK(t, DT_ERR_MEMORY, "no memory for a trainer");
    dt_model_hold(m);
    t->model = m;
    t->config = *cfg;
    t->n_images = v.n;
    t->accumulate = cfg->accumulate > 1 ? cfg->accumulate : 1;
    t->origin = dt_model_origin_of(m, &v);
    t->order_epoch = -1;
    const dt_status status = trainer_build(t, &v);
    if (status != DT_OK) {
        dt_trainer_destroy(t);
        return dt_forward(status, __FILE__, __LINE__);
    }
    m->origin = t->origin;
    *out = t;
    return DT_OK;
}

static void step_tape_destroy(dt_context *ctx, dt_step_tape *s)
{
    free_sums(ctx, s);
    dt_device_graph_free(ctx, &s->once);
    dt_device_graph_free(ctx, &s->unrolled);
    dt_tape_destroy(s->tape);
    dt_trainer_lesson_close(&s->lesson);
    free((void *)s->quantizer);
    free((void *)s->freezing);
}

void dt_trainer_destroy(dt_trainer *t)
{
    if (!t) return;
    dt_context *ctx = t->model->ctx;
    const size_t bytes = (size_t)t->model->n_trained * sizeof(float);
    while (t->n_tapes > 0) step_tape_destroy(ctx, &t->tape[--t->n_tapes]);
    dt_trainer_mean_close(t);
    dt_trainer_freeze_close(t);
    dt_trainer_teacher_close(t);
    dt_trainer_unshare(t);
    dt_device_free(ctx, t->part_sum, bytes);
    dt_device_free(ctx, t->m2, bytes);
    dt_device_free(ctx, t->m1, bytes);
    dt_device_free(ctx, t->queue, queue_bytes(t));
    dt_device_free(ctx, t->shared, shared_bytes(t));
    free(t->to_queue);
    dt_device_data_destroy(ctx, &t->data);
    dt_model_destroy(t->model);
    free(t->range);
    free(t);
}

dt_status dt_trainer_state(const dt_trainer *t, dt_step *out)
{
    return dt_device_read(t->model->ctx, out, t->model->ctx->step, sizeof *out);
}

dt_status dt_trainer_check_values(const dt_trainer *t)
{
    char before[64];
    const dt_values_words words = { before, "; training has diverged, a lower lr may help, or wider clips" };

    snprintf(before, sizeof before, "after step %lld ", (long long)t->step);
    return dt_model_check_values(t->model, &words);
}

static dt_status metrics_of(const dt_trainer *t, const dt_step_sum *sum, dt_metrics *out)
{
    if (!isfinite(sum->loss)) DT_TRY(dt_trainer_check_values(t));
    DT_CHECK(isfinite(sum->loss), DT_ERR_NUMERIC,
             "the loss is no longer a number after step %lld; a lower lr may help, or wider clips", (long long)t->step);
    *out = dt_metrics_of(sum);
    return DT_OK;
}

dt_status dt_trainer_metrics(dt_trainer *t, dt_metrics *out)
{
    dt_step state;

    DT_TRY(dt_trainer_state(t, &state));
    return metrics_of(t, &state.sum, out);
}

dt_status dt_trainer_recent(dt_trainer *t, dt_metrics *out)
{
    dt_context *ctx = t->model->ctx;
    dt_step_sum sum;
    int ready = 0;

    if (!ctx->backend->peek_begin) return dt_trainer_metrics(t, out);
    if (!t->is_peeking) DT_TRY(ctx->backend->peek_begin(ctx->device, &ctx->step->sum, sizeof sum));
    t->is_peeking = 1;
    DT_TRY(ctx->backend->peek_end(ctx->device, &sum, sizeof sum, &ready));
    if (ready) DT_TRY(metrics_of(t, &sum, &t->recent));
    t->is_peeking = !ready;
    *out = t->recent;
    return DT_OK;
}

dt_status dt_trainer_seek(dt_trainer *t, int64_t step, const dt_step *state)
{
    dt_context *ctx = t->model->ctx;

    DT_CHECK(step >= 0, DT_ERR_RANGE, "step %lld", (long long)step);
    DT_TRY(dt_device_write(ctx, &ctx->step->sum, &state->sum, sizeof state->sum));
    if (has_scaled_gradients(t) && state->scale.value >= 1.0f) {
        DT_TRY(dt_device_write(ctx, &ctx->step->scale, &state->scale, sizeof state->scale));
    }
    for (int i = 0; i < t->model->n_params; i++) t->model->param[i]->tensor.has_sums = 0;
    t->step = step;
    t->is_apart = 0; /* whoever sets the position has set the moments too */
    return DT_OK;
}

const dt_train_config *dt_trainer_get_config(const dt_trainer *t)
{
    return &t->config;
}

dt_model *dt_trainer_model(const dt_trainer *t)
{
    return t->model;
}

int64_t dt_trainer_steps_done(const dt_trainer *t)
{
    return t->step;
}

int64_t dt_trainer_steps_per_epoch(const dt_trainer *t)
{
    return (t->n_images + t->config.batch - 1) / t->config.batch;
}

int dt_trainer_step_images(const dt_trainer *t, int64_t step)
{
    const int64_t in_epoch = step % dt_trainer_steps_per_epoch(t), whole = t->n_images / t->config.batch;

    return in_epoch < whole ? t->config.batch : (int)(t->n_images % t->config.batch);
}

int dt_trainer_epoch(const dt_trainer *t)
{
    return (int)(t->step / dt_trainer_steps_per_epoch(t));
}

float dt_trainer_lr(const dt_trainer *t)
{
    return dt_schedule_lr(&t->config, t->step, dt_trainer_steps_per_epoch(t));
}

double dt_trainer_data_seconds(const dt_trainer *t)
{
    return t->data_seconds;
}

float dt_trainer_last_lr(const dt_trainer *t)
{
    return dt_schedule_lr(&t->config, t->step > 0 ? t->step - 1 : 0, dt_trainer_steps_per_epoch(t));
}

size_t dt_trainer_bytes(const dt_trainer *t)
{
    return t->model->ctx->bytes;
}
