/*
 * contexts_at_once.c - threads that work at the same time, each with a context of its own. The program returns 1 if
 * they do not all get the same results. helgrind.sh looks for races.
 *
 * First the threads only open a context each. Later they train, while a thread of each writes a copy of its run,
 * evaluate, lower and run a program, and fail on purpose. Between the two, the main thread does all of that once,
 * alone. So the machine code that oneDNN writes is there before the threads need it; helgrind would take it for shared
 * data, and no suppression can name it. Each context has one thread, because libgomp then starts none. Helgrind does
 * not understand libgomp's barriers.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "detent/detent.h"

enum { N_THREADS = 3, IMAGES = 8 };

typedef struct {
    dt_status status;
    char text[256]; /* of the first failure */
    double trained, tested;
    float scores[10];
} outcome;

typedef struct {
    dt_context *ctx;
    dt_dataset *train, *test;
    dt_model *model;
    dt_trainer *trainer;
    dt_program *program;
} session;

static void session_close(session *s)
{
    dt_program_destroy(s->program);
    dt_trainer_destroy(s->trainer);
    dt_model_destroy(s->model);
    dt_dataset_close(s->test);
    dt_dataset_close(s->train);
    dt_context_destroy(s->ctx);
}

static dt_status session_open(session *s)
{
    dt_dataset_options data = { .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = IMAGES, .seed = 1 };
    dt_options options;
    dt_model_config model;
    dt_train_config train;

    dt_options_default(&options);
    options.backend = "cpu";
    options.threads = 1;
    DT_TRY(dt_context_create(&options, &s->ctx));
    DT_TRY(dt_dataset_open(&data, &s->train));
    data.split = DT_SPLIT_TEST;
    DT_TRY(dt_dataset_open(&data, &s->test));
    DT_TRY(dt_model_config_default("tiny", &model));
    DT_TRY(dt_model_create(s->ctx, &model, &s->model));
    dt_train_config_default("tiny", &train);
    train.batch = IMAGES / 2;
    return dt_trainer_create(s->model, s->train, &train, &s->trainer);
}

static dt_status fail_on_purpose(void)
{
    const dt_dataset_options data = { .name = "no such set" };
    dt_dataset *none;

    DT_CHECK(dt_dataset_open(&data, &none) != DT_OK && strstr(dt_last_error(), "no such set"), DT_ERR_ARGUMENT,
             "an unknown dataset was opened");
    return DT_OK;
}

typedef struct {
    dt_run_copy *copy;
    dt_status status;
} writing;

static void *write_copy(void *user)
{
    writing *w = user;

    w->status = dt_run_copy_write(w->copy, "/dev/null");
    return NULL;
}

/* A step, while another thread writes what the run was before it. */
static dt_status step_beside(dt_trainer *t)
{
    pthread_t thread;
    writing w;

    DT_TRY(dt_run_copy_create(t, NULL, &w.copy));
    const int failed = pthread_create(&thread, NULL, write_copy, &w) != 0;
    const dt_status status = dt_trainer_run(t, 1);
    if (!failed) pthread_join(thread, NULL);
    dt_run_copy_destroy(w.copy);
    DT_CHECK(!failed && w.status == DT_OK, DT_ERR_IO, "a copy of the run was not written");
    return status;
}

static dt_status work(session *s, outcome *out)
{
    dt_metrics m;
    dt_dataset_view view;

    DT_TRY(session_open(s));
    DT_TRY(fail_on_purpose());
    DT_TRY(dt_trainer_run(s->trainer, 1));
    DT_TRY(step_beside(s->trainer));
    DT_TRY(dt_trainer_metrics(s->trainer, &m));
    out->trained = m.loss;
    DT_TRY(dt_evaluate(s->model, s->test, IMAGES, 0.0f, NULL, NULL, &m));
    out->tested = m.loss;
    DT_TRY(dt_program_lower(s->model, s->test, &s->program));
    dt_dataset_look(s->test, &view);
    return dt_program_run(s->program, view.images, out->scores);
}

static void *run(void *user)
{
    outcome *out = user;
    session s = { NULL };

    out->status = work(&s, out);
    if (out->status != DT_OK) snprintf(out->text, sizeof out->text, "%s", dt_last_error());
    session_close(&s);
    return NULL;
}

static void *only_open(void *user)
{
    outcome *out = user;
    dt_context *ctx = NULL;
    dt_options options;

    dt_options_default(&options);
    options.backend = "cpu";
    options.threads = 1;
    out->status = dt_context_create(&options, &ctx);
    dt_context_destroy(ctx);
    return NULL;
}

/* 0, or 1 if a thread cannot be had */
static int at_once(void *(*work_of)(void *), outcome *out)
{
    pthread_t thread[N_THREADS];
    int n = 0;

    while (n < N_THREADS && pthread_create(&thread[n], NULL, work_of, &out[n]) == 0) n++;
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
    return n < N_THREADS;
}

int main(void)
{
    static outcome opened[N_THREADS], out[N_THREADS], alone;
    int wrong = at_once(only_open, opened);

    run(&alone);
    wrong += at_once(run, out);
    for (int i = 0; i < N_THREADS; i++) wrong += opened[i].status != DT_OK;
    for (int i = 0; i < N_THREADS; i++) {
        const int same = out[i].trained == alone.trained && out[i].tested == alone.tested &&
                         memcmp(out[i].scores, alone.scores, sizeof alone.scores) == 0;
        wrong += out[i].status != DT_OK || !same;
        printf("thread %d: training loss %.17g, test loss %.17g %s\n", i, out[i].trained, out[i].tested, out[i].text);
    }
    return wrong > 0;
}
