/*
 * run_position.c - see run_position.h.
 *
 * Tests: tests/formats/test_checkpoint_resume.c.
 */
#include "run_position.h"

#include "../core/grid_facts.h"

#include "config_json.h"
#include "metadata.h"
#include "origin_json.h"
#include "stored_graph.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static dt_status add_train(dt_safetensors_writer *w, const dt_train_config *c)
{
    cJSON *train = cJSON_CreateObject();
    dt_status s = dt_train_config_write(c, train);

    if (s == DT_OK) s = dt_metadata_add(w, "train", train);
    cJSON_Delete(train);
    DT_TRY(s);
    return DT_OK;
}

static dt_status add_whole(dt_safetensors_writer *w, const char *key, int64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64, value);
    DT_TRY(dt_safetensors_writer_metadata(w, key, text));
    return DT_OK;
}

static dt_status add_real(dt_safetensors_writer *w, const char *key, double value)
{
    char text[32];

    snprintf(text, sizeof text, "%a", value);
    DT_TRY(dt_safetensors_writer_metadata(w, key, text));
    return DT_OK;
}

dt_status dt_run_position_add(dt_safetensors_writer *w, const dt_trainer *t)
{
    char seed[32];
    dt_step state;

    DT_TRY(dt_trainer_state(t, &state));
    const dt_step_sum sum = state.sum;
    snprintf(seed, sizeof seed, "%" PRIu64, t->model->ctx->opt.seed);
    DT_TRY(add_train(w, &t->config));
    DT_TRY(dt_origin_add(w, &t->origin));
    DT_TRY(add_whole(w, "step", t->step));
    DT_TRY(add_real(w, "loss_sum", sum.loss));
    if (sum.reconstruction != 0.0) DT_TRY(add_real(w, "reconstruction_sum", sum.reconstruction));
    DT_TRY(add_whole(w, "n_correct", sum.n_correct));
    DT_TRY(add_whole(w, "n_images", sum.n_images));
    if (sum.n_labels > 0) DT_TRY(add_whole(w, "n_labels", sum.n_labels));
    if (sum.n_labels > 0) DT_TRY(add_whole(w, "n_exact", sum.n_exact));
    if (state.scale.value != 1.0f) {
        DT_TRY(add_real(w, "loss_scale", (double)state.scale.value));
        DT_TRY(add_whole(w, "loss_scale_clean", state.scale.clean));
        DT_TRY(add_whole(w, "loss_scale_skipped", state.scale.skipped));
    }
    DT_TRY(dt_safetensors_writer_metadata(w, "seed", seed));
    DT_TRY(add_whole(w, "train_images", t->n_images));
    return DT_OK;
}

dt_status dt_checkpoint_read_graph(const dt_safetensors *f, const char *path, dt_graph **out)
{
    int version;

    DT_TRY(dt_metadata_version(f, path, DT_CHECKPOINT_FORMAT, DT_CHECKPOINT_OLDEST, DT_CHECKPOINT_NEWEST, &version));
    return version == 2 ? dt_graph_of_stored_config(f, path, 1, out) : dt_graph_stored(f, path, out);
}

dt_status dt_checkpoint_read_train(const dt_safetensors *f, const char *path, dt_train_config *out)
{
    cJSON *json;
    int version;

    DT_TRY(dt_metadata_version(f, path, DT_CHECKPOINT_FORMAT, DT_CHECKPOINT_OLDEST, DT_CHECKPOINT_NEWEST, &version));
    DT_CHECK(dt_safetensors_metadata(f, "train"), DT_ERR_UNSUPPORTED,
             "%s: holds a network without a run; it does not say how it was trained", path);
    DT_TRY(dt_metadata_json(f, path, "train", &json));
    const dt_status s = dt_train_config_read(json, path, out);
    cJSON_Delete(json);
    DT_TRY(s);
    return DT_OK;
}

/* A decimal number of 0..max. */
static dt_status read_whole(const dt_safetensors *f, const char *path, const char *key, uint64_t max, uint64_t *out)
{
    const char *text = NULL;
    char *end;

    DT_TRY(dt_metadata_text(f, path, key, &text));
    errno = 0;
    const uint64_t value = strtoull(text, &end, 10);
    DT_CHECK(text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && value <= max, DT_ERR_FORMAT,
             "%s: metadata '%s' is '%.40s', expected a whole number of 0..%" PRIu64, path, key, text, max);
    *out = value;
    return DT_OK;
}

static dt_status read_real(const dt_safetensors *f, const char *path, const char *key, double *out)
{
    const char *text = NULL;
    char *end;

    DT_TRY(dt_metadata_text(f, path, key, &text));
    const double value = strtod(text, &end);
    DT_CHECK(end > text && *end == '\0', DT_ERR_FORMAT, "%s: metadata '%s' is '%.40s', expected a number", path, key,
             text);
    *out = value;
    return DT_OK;
}

/* A run whose gradients are wide has none. */
static dt_status read_loss_scale(const dt_safetensors *f, const char *path, dt_loss_scale *out)
{
    uint64_t clean, skipped;
    double value;

    *out = (dt_loss_scale){ .value = 1.0f };
    if (!dt_safetensors_metadata(f, "loss_scale")) return DT_OK;
    DT_TRY(read_real(f, path, "loss_scale", &value));
    DT_TRY(read_whole(f, path, "loss_scale_clean", INT32_MAX, &clean));
    DT_TRY(read_whole(f, path, "loss_scale_skipped", INT64_MAX, &skipped));
    *out = (dt_loss_scale){ .value = (float)value, .clean = (int32_t)clean, .skipped = (int64_t)skipped };
    return DT_OK;
}

static dt_status read_counts(const dt_safetensors *f, const char *path, dt_step_sum *out)
{
    uint64_t n_images, n_correct, n_labels = 0, n_exact = 0;

    DT_TRY(read_whole(f, path, "n_images", INT64_MAX, &n_images));
    if (dt_safetensors_metadata(f, "n_labels")) {
        DT_TRY(read_whole(f, path, "n_labels", INT64_MAX, &n_labels));
        DT_TRY(read_whole(f, path, "n_exact", n_images, &n_exact));
    }
    DT_TRY(read_whole(f, path, "n_correct", n_labels > 0 ? n_labels : n_images, &n_correct));
    out->n_images = (int64_t)n_images;
    out->n_correct = (int64_t)n_correct;
    out->n_labels = (int64_t)n_labels;
    out->n_exact = (int64_t)n_exact;
    return DT_OK;
}

dt_status dt_run_position_read(const dt_safetensors *f, const char *path, dt_run_position *out)
{
    uint64_t train_images, step;

    DT_TRY(dt_checkpoint_read_graph(f, path, &out->graph));
    const int channels = (int)dt_channels(dt_graph_shape(out->graph, out->graph->image));
    DT_TRY(dt_checkpoint_read_train(f, path, &out->train));
    DT_TRY(dt_origin_read(f, path, channels, &out->origin));
    DT_TRY(read_whole(f, path, "seed", UINT64_MAX, &out->seed));
    DT_TRY(read_whole(f, path, "train_images", INT64_MAX, &train_images));
    DT_TRY(read_whole(f, path, "step", INT64_MAX, &step));
    DT_TRY(read_counts(f, path, &out->state.sum));
    DT_TRY(read_real(f, path, "loss_sum", &out->state.sum.loss));
    out->state.sum.reconstruction = 0.0;
    if (dt_safetensors_metadata(f, "reconstruction_sum")) {
        DT_TRY(read_real(f, path, "reconstruction_sum", &out->state.sum.reconstruction));
    }
    DT_TRY(read_loss_scale(f, path, &out->state.scale));
    out->train_images = (int64_t)train_images;
    out->step = (int64_t)step;
    return DT_OK;
}

dt_status dt_run_position_match(const dt_run_position *p, const dt_trainer *t, const char *path)
{
    const uint64_t seed = t->model->ctx->opt.seed;
    const int64_t planned = t->config.epochs * dt_trainer_steps_per_epoch(t);
    const int64_t last = dt_train_epochs(&t->config) * dt_trainer_steps_per_epoch(t);
    const int same_end = p->train.extend == t->config.extend && p->train.extend_lr == t->config.extend_lr;

    DT_TRY(dt_graph_match(p->graph, t->model->graph, path));
    DT_TRY(dt_train_config_match(&p->train, &t->config, path));
    DT_CHECK(p->seed == seed, DT_ERR_ARGUMENT,
             "%s: the run was started with seed = %" PRIu64 ", here it is %" PRIu64
             "; resume with the value it started with",
             path, p->seed, seed);
    DT_TRY(dt_origin_match(&p->origin, &t->origin, path));
    DT_CHECK(p->train_images == t->n_images, DT_ERR_ARGUMENT,
             "%s: the run was started with %" PRId64 " training images, here there are %" PRId64
             "; resume with the dataset it started with",
             path, p->train_images, t->n_images);
    DT_CHECK(same_end || p->step <= planned, DT_ERR_ARGUMENT,
             "%s: the run is in its extension of %d epochs from step %" PRId64
             " on, whose rates would change; extend it by %d again, or start another run from its network",
             path, p->train.extend, planned, p->train.extend);
    DT_CHECK(p->step <= last, DT_ERR_FORMAT, "%s: step is %" PRId64 ", but the run ends at step %" PRId64, path,
             p->step, last);
    return DT_OK;
}
