/*
 * eval.c - `detent eval`: loss and accuracy of a checkpoint on a test set.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static dt_status check_engine(const char *name)
{
    DT_CHECK(strcmp(name, "grid") == 0, DT_ERR_ARGUMENT, "engine '%s' is not built yet; available: grid", name);
    return DT_OK;
}

static dt_status print_metrics(const settings *s, const session *o, const dt_metrics *m, double seconds)
{
    const double images_per_s = (double)m->images / seconds;

    if (s->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddStringToObject(out, "checkpoint", s->checkpoint);
        cJSON_AddStringToObject(out, "dataset", s->dataset);
        cJSON_AddStringToObject(out, "engine", s->engine);
        cJSON_AddStringToObject(out, "device", dt_context_backend(o->ctx));
        cJSON_AddNumberToObject(out, "images", (double)m->images);
        cJSON_AddNumberToObject(out, "accuracy", m->accuracy);
        cJSON_AddNumberToObject(out, "loss", m->loss);
        cJSON_AddNumberToObject(out, "images_per_s", images_per_s);
        cJSON_AddNumberToObject(out, "seconds", seconds);
        return print_json(out);
    }
    printf("model      %s\n", text_model(dt_model_get_config(o->model)).s);
    printf("data       %s: %s test images\n", s->dataset, text_count(m->images).s);
    printf("device     %s: %s, engine %s\n", dt_context_backend(o->ctx), dt_context_device(o->ctx), s->engine);
    printf("accuracy   %.2f %%\n", 100.0 * m->accuracy);
    printf("loss       %.4f\n", m->loss);
    printf("speed      %s images/s, %.2f s\n", text_count((int64_t)(images_per_s + 0.5)).s, seconds);
    return DT_OK;
}

static dt_status evaluate(const settings *s, session *o)
{
    dt_train_config trained; /* its label smoothing makes the loss the one of metrics.jsonl */
    dt_metrics m;
    progress bar;

    DT_TRY(session_open_checkpoint(s, o, &trained));
    DT_TRY(session_open_dataset(s, dt_model_get_config(o->model), DT_SPLIT_TEST, &o->test_set));
    interrupt_install();
    progress_begin(&bar, 0);

    progress_task task = { .bar = &bar, .what = "evaluating", .begin = clock_seconds() };
    const dt_progress tick = { progress_tick, &task };
    const dt_status status =
        dt_evaluate(o->model, o->test_set, s->train.batch, trained.label_smoothing, &tick, NULL, &m);
    const double seconds = clock_seconds() - task.begin;
    progress_wipe(&bar);
    DT_TRY(status);
    return print_metrics(s, o, &m, seconds);
}

dt_status eval_run(const settings *s, int *exit_code)
{
    session o = { 0 };

    DT_TRY(check_engine(s->engine));
    const dt_status status = evaluate(s, &o);
    session_close(&o);
    *exit_code = EXIT_GOOD;
    return status;
}
