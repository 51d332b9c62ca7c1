/*
 * tiny_run.h - a whole run for tests: the model "tiny" on a few synthetic images, small enough to train in a second.
 */
#ifndef TINY_RUN_H
#define TINY_RUN_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/train/trainer.h"
#include "choose.h"
#include "host_copy.h"

typedef struct {
    dt_options context;
    int64_t images; /* of the training split */
    int side;       /* images are resized to this; 0: they are 32x32 */
    dt_model_config model;
    dt_train_config train;
} tiny_options;

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    dt_trainer *trainer;
} tiny_run;

#define MUST(call)                                                                              \
    do {                                                                                        \
        const dt_status must_ = (call);                                                         \
        cr_assert(must_ == DT_OK, "%s: %s: %s", #call, dt_status_name(must_), dt_last_error()); \
    } while (0)

/* On the CPU in f32: 80 images in batches of 32, so that an epoch is two of them and one of 16. */
static inline tiny_options tiny_defaults(void)
{
    tiny_options o = { .images = 80 };
    dt_options_default(&o.context);
    o.context.backend = "cpu";
    o.context.precision = DT_PRECISION_F32;
    MUST(dt_model_config_default("tiny", &o.model));
    dt_train_config_default(NULL, &o.train);
    o.train.batch = 32;
    return o;
}

/* 0 if there is no such device here; any other failure fails the test. */
static inline int tiny_open(tiny_run *r, const tiny_options *o)
{
    const dt_dataset_options data = { .name = "synthetic",
                                      .split = DT_SPLIT_TRAIN,
                                      .limit = o->images,
                                      .seed = 1,
                                      .height = o->side,
                                      .width = o->side,
                                      .resize = o->side > 0 };
    *r = (tiny_run){ 0 };
    const dt_status opened = dt_context_create(&o->context, &r->ctx);
    if (opened == DT_ERR_UNSUPPORTED && strcmp(o->context.backend, "cpu") != 0) return 0;
    cr_assert(opened == DT_OK, "%s", dt_last_error());
    MUST(dt_dataset_open(&data, &r->data));
    MUST(dt_model_create(r->ctx, &o->model, &r->model));
    MUST(dt_trainer_create(r->model, r->data, &o->train, &r->trainer));
    return 1;
}

static inline void tiny_close(tiny_run *r)
{
    dt_trainer_destroy(r->trainer);
    dt_model_destroy(r->model);
    dt_dataset_close(r->data);
    cr_assert(!r->ctx || r->ctx->bytes == r->ctx->workspace_bytes + r->ctx->scratch_bytes + sizeof(dt_step),
              "%zu bytes of device memory are still held", r->ctx->bytes);
    dt_context_destroy(r->ctx);
}

static inline void tiny_steps(tiny_run *r, int n)
{
    for (int i = 0; i < n; i++) MUST(dt_trainer_step(r->trainer));
}

static inline float *tiny_param(const tiny_run *r, int i, int64_t *count)
{
    return host_param(r->model, i, count);
}

static inline int tiny_index(const tiny_run *r, const char *name)
{
    const int i = dt_model_find(r->model, name);
    cr_assert(i >= 0, "no parameter %s", name);
    return i;
}

/* Every parameter, the running statistics among them, bit for bit. */
static inline void tiny_same_params(const tiny_run *a, const tiny_run *b, const char *why)
{
    cr_assert(dt_model_n_params(a->model) == dt_model_n_params(b->model), "%s", why);
    for (int i = 0; i < dt_model_n_params(a->model); i++) {
        int64_t n, n_b;
        float *x = tiny_param(a, i, &n), *y = tiny_param(b, i, &n_b);
        for (int64_t j = 0; j < n; j++) {
            cr_assert(x[j] == y[j], "%s: %s[%lld] is %.9g and %.9g", why, a->model->param[i]->name, (long long)j,
                      (double)x[j], (double)y[j]);
        }
        free(x);
        free(y);
    }
}

/* A trainer of these options is refused with that status, and a message that has the text. */
static inline void tiny_refused(const tiny_options *o, dt_status want, const char *text)
{
    const dt_dataset_options data = { .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = o->images, .seed = 1 };
    tiny_run r = { 0 };
    MUST(dt_context_create(&o->context, &r.ctx));
    MUST(dt_dataset_open(&data, &r.data));
    MUST(dt_model_create(r.ctx, &o->model, &r.model));
    const dt_status got = dt_trainer_create(r.model, r.data, &o->train, &r.trainer);
    cr_assert(got == want && strstr(dt_last_error(), text) != NULL, "expected '%s', got %s: %s", text,
              dt_status_name(got), dt_last_error());
    tiny_close(&r);
}

#endif /* TINY_RUN_H */
