/*
 * ranks_run.h - a run of the model "tiny" on several ranks, and what each rank has at its end, for tests that compare
 *               such runs.
 */
#ifndef RANKS_RUN_H
#define RANKS_RUN_H

#include "ranks_here.h"
#include "tiny_run.h"

#include <math.h>

enum { MOST_VALUES = 1 << 16 };

/* What a rank has at the end. */
typedef struct {
    int n_trained, n_state;
    float w[MOST_VALUES], state[MOST_VALUES];
    float m1[MOST_VALUES], m2[MOST_VALUES]; /* of all ranks, which dt_trainer_gather brings together */
    dt_step_sum first, last;                /* running sums after the first step, and at the end */
    dt_loss_scale scale;
    dt_metrics eval;
} outcome;

typedef struct {
    tiny_options o;
    int steps;
    int together; /* 1: all steps in one call; 0: one at a time */
    int joins;    /* 1: a single rank joins a group of one */
    int whole;    /* 1: each rank of a CPU makes the whole update */
    outcome *of;  /* [RANKS_MOST] */
} rank_job;

static inline int rank_finish(const tiny_run *r, outcome *out)
{
    const dt_model *m = r->model;
    dt_step now;

    RANK_SAYS(m->n_trained <= MOST_VALUES && m->n_state <= MOST_VALUES, "%lld values", (long long)m->n_trained);
    out->n_trained = (int)m->n_trained;
    out->n_state = (int)m->n_state;
    RANK_MUST(dt_trainer_gather(r->trainer));
    RANK_MUST(dt_device_read(r->ctx, out->m1, r->trainer->m1, (size_t)m->n_trained * sizeof(float)));
    if (r->trainer->m2)
        RANK_MUST(dt_device_read(r->ctx, out->m2, r->trainer->m2, (size_t)m->n_trained * sizeof(float)));
    RANK_MUST(dt_device_read(r->ctx, out->w, m->w, (size_t)m->n_trained * sizeof(float)));
    RANK_MUST(dt_device_read(r->ctx, out->state, m->state, (size_t)m->n_state * sizeof(float)));
    RANK_MUST(dt_trainer_state(r->trainer, &now));
    out->last = now.sum;
    out->scale = now.scale;
    return 0;
}

/* A backend that sums for all ranks and shares no update. */
static inline const dt_backend *without_shares(const dt_backend *b)
{
    static dt_backend whole;

    whole = *b;
    whole.sum_shares = NULL;
    return &whole;
}

static inline int rank_open(const rank_job *j, dt_dist *d, tiny_run *r)
{
    const tiny_options *o = &j->o;
    dt_options context = o->context;
    const dt_dataset_options data = { .name = "synthetic",
                                      .split = DT_SPLIT_TRAIN,
                                      .limit = o->images,
                                      .seed = 1,
                                      .height = o->side,
                                      .width = o->side,
                                      .resize = o->side > 0 };

#ifndef DETENT_ON_SHIM /* which has one GPU that all may take */
    context.device = dt_dist_rank(d);
#endif
    RANK_MUST(dt_context_create(&context, &r->ctx));
    if (d) RANK_MUST(dt_context_join(r->ctx, d));
    if (j->whole) r->ctx->backend = without_shares(r->ctx->backend);
    RANK_MUST(dt_dataset_open(&data, &r->data));
    RANK_MUST(dt_model_create(r->ctx, &o->model, &r->model));
    RANK_MUST(dt_trainer_create(r->model, r->data, &o->train, &r->trainer));
    RANK_MUST(dt_trainer_calibrate(r->trainer));
    RANK_MUST(dt_trainer_broadcast(r->trainer));
    return 0;
}

static inline int rank_steps(const rank_job *j, const tiny_run *r, outcome *out)
{
    dt_step now;

    if (j->together) RANK_MUST(dt_trainer_run(r->trainer, j->steps));
    for (int i = 0; i < j->steps && !j->together; i++) {
        RANK_MUST(dt_trainer_step(r->trainer));
        RANK_MUST(dt_trainer_state(r->trainer, &now));
        if (i == 0) out->first = now.sum;
    }
    return 0;
}

static inline int rank_train(dt_dist *d, void *user)
{
    const rank_job *j = user;
    outcome *out = &j->of[dt_dist_rank(d)];
    tiny_run r = { 0 };

    if (rank_open(j, d, &r) != 0 || rank_steps(j, &r, out) != 0) return 1;
    RANK_MUST(dt_trainer_agree(r.trainer));
    if (rank_finish(&r, out) != 0) return 1;
    RANK_MUST(dt_evaluate(r.model, r.data, 16, 0.1f, NULL, NULL, &out->eval));
    dt_trainer_destroy(r.trainer);
    dt_model_destroy(r.model);
    dt_dataset_close(r.data);
    dt_context_destroy(r.ctx);
    return 0;
}

/* Runs in a process of its own: one that has used a GPU cannot start ranks that do. Returns its exit code. */
static inline int in_a_child(int (*run)(void *user), void *user)
{
    int status = 0;
    const pid_t pid = fork();

    cr_assert(pid >= 0);
    if (pid == 0) _exit(run(user));
    cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "it was ended by a signal");
    return WEXITSTATUS(status);
}

/* A rank alone: without others, or in a group of its own. */
static inline int run_alone(void *user)
{
    const rank_job *j = user;
    const dt_dist_options one = { .rank = 0, .size = 1, .timeout = 60.0 };
    dt_dist *d = NULL;

    if (j->joins) RANK_MUST(dt_dist_open(&one, &d));
    const int code = rank_train(d, user);
    dt_dist_close(d, NULL);
    return code;
}

/* All ranks of a run end with equal bits; out is rank 0's. */
static inline void run_job(int n, const rank_job *job, outcome *out)
{
    rank_job j = *job;

    j.of = ranks_shared(RANKS_MOST * sizeof(outcome));
    if (n == 1)
        cr_assert(in_a_child(run_alone, &j) == 0);
    else
        ranks_must(n, rank_train, &j);
    for (int r = 1; r < n; r++) {
        cr_assert(memcmp(j.of[r].w, j.of[0].w, sizeof j.of[0].w) == 0, "parameters of rank %d of %d", r, n);
        cr_assert(memcmp(j.of[r].m1, j.of[0].m1, sizeof j.of[0].m1) == 0, "moments of rank %d of %d", r, n);
        cr_assert(memcmp(j.of[r].m2, j.of[0].m2, sizeof j.of[0].m2) == 0, "second moments of rank %d of %d", r, n);
        cr_assert(memcmp(j.of[r].state, j.of[0].state, sizeof j.of[0].state) == 0, "statistics of rank %d of %d", r, n);
        cr_assert(memcmp(&j.of[r].last, &j.of[0].last, sizeof(dt_step_sum)) == 0, "running sums of rank %d of %d", r,
                  n);
        cr_assert(memcmp(&j.of[r].scale, &j.of[0].scale, sizeof(dt_loss_scale)) == 0, "loss scale of rank %d of %d", r,
                  n);
        cr_assert(memcmp(&j.of[r].eval, &j.of[0].eval, sizeof(dt_metrics)) == 0, "evaluation of rank %d of %d", r, n);
    }
    *out = j.of[0];
    munmap(j.of, RANKS_MOST * sizeof(outcome));
}

/* Steps one at a time, on one thread. */
static inline void run_ranks(int n, const tiny_options *o, int steps, outcome *out)
{
    rank_job j = { .o = *o, .steps = steps };

    j.o.context.threads = 1;
    run_job(n, &j, out);
}

static inline double largest_difference(const float *a, const float *b, int n)
{
    double most = 0.0;

    for (int i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = d;
    }
    return most;
}

#endif /* RANKS_RUN_H */
