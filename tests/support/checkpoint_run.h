/*
 * checkpoint_run.h - small training runs for the tests of checkpoints: set up, train, save, compare every bit.
 */
#ifndef CHECKPOINT_RUN_H
#define CHECKPOINT_RUN_H

#include "temp_files.h"

#include "../../core/train/trainer.h"

/* 100 images in batches of 33: three whole ones and one of a single image. */
enum { N_IMAGES = 100, BATCH = 33 };

typedef struct {
    uint64_t seed;
    int64_t n_images;
    dt_model_config model;
    dt_train_config train;
} setup;

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    dt_trainer *trainer;
} run;

static inline setup default_setup(void)
{
    setup s = { .seed = 7, .n_images = N_IMAGES };

    cr_assert(eq(int, dt_model_config_default("tiny", &s.model), DT_OK));
    dt_train_config_default(NULL, &s.train);
    s.train.batch = BATCH;
    s.train.epochs = 3;
    return s;
}

static inline run open_run(const setup *s)
{
    const dt_dataset_options data = { .name = "synthetic", .limit = s->n_images, .seed = 1 };
    dt_options opt;
    run r;

    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.threads = 2;
    opt.seed = s->seed;
    cr_assert(eq(int, dt_context_create(&opt, &r.ctx), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_dataset_open(&data, &r.data), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_model_create(r.ctx, &s->model, &r.model), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_trainer_create(r.model, r.data, &s->train, &r.trainer), DT_OK), "%s", dt_last_error());
    return r;
}

static inline void close_run(run *r)
{
    dt_trainer_destroy(r->trainer);
    dt_model_destroy(r->model);
    dt_dataset_close(r->data);
    dt_context_destroy(r->ctx);
}

static inline void train_steps(run *r, int n)
{
    for (int i = 0; i < n; i++) cr_assert(eq(int, dt_trainer_step(r->trainer), DT_OK), "%s", dt_last_error());
}

static inline void save(const run *r, const char *name)
{
    cr_assert(eq(int, dt_checkpoint_save(r->trainer, temp_path(name), "{\"a\": 1}"), DT_OK), "%s", dt_last_error());
}

/* Every bit that the rest of a run depends on; the caller frees it. */
typedef struct {
    int64_t step;
    dt_step_sum sum;
    size_t bytes;
    uint8_t *values;
} state;

static inline state state_of(const run *r)
{
    const dt_model *m = r->model;
    const size_t trained = (size_t)m->n_trained * sizeof(float), other = (size_t)m->n_state * sizeof(float);
    state s = { .step = dt_trainer_steps_done(r->trainer), .values = malloc(7 * trained + other) };
    uint8_t *at = s.values;
    dt_step now;

    cr_assert(eq(int, dt_trainer_state(r->trainer, &now), DT_OK));
    s.sum = now.sum;
    cr_assert(eq(int, dt_device_read(r->ctx, at, m->w, trained), DT_OK));
    at += trained;
    cr_assert(eq(int, dt_device_read(r->ctx, at, m->state, other), DT_OK));
    at += other;
    cr_assert(eq(int, dt_device_read(r->ctx, at, r->trainer->m1, trained), DT_OK));
    at += trained;
    if (r->trainer->m2) {
        cr_assert(eq(int, dt_device_read(r->ctx, at, r->trainer->m2, trained), DT_OK));
        at += trained;
    }
    if (r->trainer->mean) {
        cr_assert(eq(int, dt_device_read(r->ctx, at, r->trainer->mean, trained), DT_OK));
        at += trained;
    }
    if (r->trainer->freeze) {
        cr_assert(eq(int, dt_device_read(r->ctx, at, r->trainer->freeze, DT_FREEZE_STATES * trained), DT_OK));
        at += DT_FREEZE_STATES * trained;
    }
    s.bytes = (size_t)(at - s.values);
    return s;
}

static inline void expect_state(const char *why, const run *r, const state *expected)
{
    state s = state_of(r);

    cr_assert(eq(i64, s.step, expected->step), "%s", why);
    cr_assert(eq(dbl, s.sum.loss, expected->sum.loss), "%s", why);
    cr_assert(eq(dbl, s.sum.reconstruction, expected->sum.reconstruction), "%s", why);
    cr_assert(eq(i64, s.sum.n_correct, expected->sum.n_correct), "%s", why);
    cr_assert(eq(i64, s.sum.n_images, expected->sum.n_images), "%s", why);
    cr_assert(eq(sz, s.bytes, expected->bytes), "%s", why);
    cr_assert(eq(int, memcmp(s.values, expected->values, s.bytes), 0), "%s", why);
    free(s.values);
}

static inline uint8_t *read_file(const char *name, size_t *bytes)
{
    FILE *file = fopen(temp_path(name), "rb");
    uint8_t *all;

    cr_assert(ne(ptr, file, NULL), "%s", name);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    all = malloc(*bytes);
    cr_assert(eq(sz, fread(all, 1, *bytes, file), *bytes));
    fclose(file);
    return all;
}

static inline void expect_message(const char *why, const char *part)
{
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), part), NULL), "%s: no '%s' in '%s'", why, part, dt_last_error());
}

/* The first `from` in the file becomes `to`, of the same length. */
typedef struct {
    const char *why, *from, *to;
    dt_status status;
    const char *part;
} edit;

static inline void write_edited(const char *from, const char *to, const edit *e)
{
    size_t bytes;
    uint8_t *file = read_file(from, &bytes);
    uint8_t *at = memmem(file, bytes, e->from, strlen(e->from));

    cr_assert(eq(sz, strlen(e->from), strlen(e->to)), "%s", e->why);
    cr_assert(ne(ptr, at, NULL), "%s: no %s in the file", e->why, e->from);
    memcpy(at, e->to, strlen(e->to));
    temp_write(to, file, bytes);
    free(file);
}

#endif /* CHECKPOINT_RUN_H */
