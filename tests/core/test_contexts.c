/*
 * test_contexts.c - the library among a program's other threads: contexts at the same time, OpenMP's settings, regions
 *                   and locks of the caller. contexts_at_once.c is for helgrind.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../core/threads.h"
#include "../support/tiny_run.h"

enum { N_THREADS = 8, TEST_IMAGES = 40 };

#ifdef DETENT_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>

/* In place of oneDNN's own, and slow, so that others arrive meanwhile if nobody keeps them waiting. */
dnnl_status_t dnnl_engine_create(dnnl_engine_t *engine, dnnl_engine_kind_t kind, size_t index)
{
    dnnl_status_t (*real)(dnnl_engine_t *, dnnl_engine_kind_t, size_t);
    *(void **)&real = dlsym(RTLD_NEXT, "dnnl_engine_create");
    usleep(20000);
    return real(engine, kind, index);
}

/* Who comes first leaves last. */
dnnl_status_t dnnl_stream_create(dnnl_stream_t *stream, dnnl_engine_t engine, unsigned flags)
{
    static int n_streams;
    dnnl_status_t (*real)(dnnl_stream_t *, dnnl_engine_t, unsigned);
    *(void **)&real = dlsym(RTLD_NEXT, "dnnl_stream_create");
    const int n = __atomic_fetch_add(&n_streams, 1, __ATOMIC_SEQ_CST);
    if (n < N_THREADS) usleep(200000u >> n);
    return real(stream, engine, flags);
}
#endif

/* What an evaluation of "tiny" with its first parameters gives. */
typedef struct {
    dt_status status;
    char text[200]; /* of a failure */
    dt_metrics metrics;
    int32_t prediction[TEST_IMAGES];
} outcome;

static dt_status evaluate(dt_context *ctx, outcome *out)
{
    const dt_dataset_options options = { .name = "synthetic", .split = DT_SPLIT_TEST, .limit = TEST_IMAGES, .seed = 1 };
    dt_model_config config;
    dt_dataset *data = NULL;
    dt_model *model = NULL;

    DT_TRY(dt_dataset_open(&options, &data));
    dt_status status = dt_model_config_default("tiny", &config);
    if (status == DT_OK) status = dt_model_create(ctx, &config, &model);
    if (status == DT_OK)
        status =
            dt_evaluate(model, data, 16, 0.0f, NULL, &(dt_outputs){ .predictions = out->prediction }, &out->metrics);
    dt_model_destroy(model);
    dt_dataset_close(data);
    return status;
}

static dt_status on_cpu(int threads, dt_context **out)
{
    dt_options options;
    dt_options_default(&options);
    options.backend = "cpu";
    options.threads = threads;
    return dt_context_create(&options, out);
}

/* In a context of its own. */
static outcome evaluated(int threads)
{
    outcome out = { .status = DT_OK };
    dt_context *ctx = NULL;

    out.status = on_cpu(threads, &ctx);
    if (out.status == DT_OK) out.status = evaluate(ctx, &out);
    if (out.status != DT_OK) snprintf(out.text, sizeof out.text, "%s", dt_last_error());
    dt_context_destroy(ctx);
    return out;
}

static void must_equal(const outcome *a, const outcome *b, const char *why)
{
    cr_assert(a->status == DT_OK && b->status == DT_OK, "%s: %s%s", why, a->text, b->text);
    cr_assert(memcmp(&a->metrics.loss, &b->metrics.loss, sizeof a->metrics.loss) == 0, "%s: loss %.17g and %.17g", why,
              a->metrics.loss, b->metrics.loss);
    cr_assert(memcmp(a->prediction, b->prediction, sizeof a->prediction) == 0, "%s: predictions differ", why);
}

typedef struct {
    pthread_barrier_t *gate;
    outcome out;
} contestant;

static void *compete(void *user)
{
    contestant *c = user;
    pthread_barrier_wait(c->gate);
    c->out = evaluated(1);
    return NULL;
}

Test(contexts, eight_may_be_made_at_once, .timeout = 60)
{
    pthread_barrier_t gate;
    pthread_t thread[N_THREADS];
    static contestant c[N_THREADS];

    pthread_barrier_init(&gate, NULL, N_THREADS);
    for (int i = 0; i < N_THREADS; i++) {
        c[i].gate = &gate;
        cr_assert(pthread_create(&thread[i], NULL, compete, &c[i]) == 0);
    }
    for (int i = 0; i < N_THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < N_THREADS; i++) must_equal(&c[0].out, &c[i].out, "made at once");
    pthread_barrier_destroy(&gate);
}

/* A critical section without a name is one lock for the whole process. */
Test(contexts, work_inside_a_callers_critical_section_returns, .timeout = 60)
{
    const outcome alone = evaluated(2);
    outcome inside;
#pragma omp critical
    inside = evaluated(2);
    must_equal(&alone, &inside, "in a critical section");
}

/* OpenMP gives nested regions one thread each, whatever they ask for. */
Test(contexts, work_inside_a_callers_parallel_region_gives_the_same_numbers, .timeout = 60)
{
    const outcome alone = evaluated(8);
    static outcome inside[3];
    dt_context *ctx;
    outcome shared = { .status = DT_OK };

#pragma omp parallel for num_threads(3) schedule(static, 1)
    for (int i = 0; i < 3; i++) inside[i] = evaluated(8);
    for (int i = 0; i < 3; i++) must_equal(&alone, &inside[i], "in a parallel region");

    MUST(on_cpu(8, &ctx));
#pragma omp parallel num_threads(2)
    {
#pragma omp master
        shared.status = evaluate(ctx, &shared);
    }
    must_equal(&alone, &shared, "in a parallel region, of a context made outside");
    dt_context_destroy(ctx);
}

Test(contexts, the_callers_number_of_threads_is_left_alone)
{
    const int usual = dt_threads_use(4);
    if (dt_threads_now() != 4) cr_skip("this build has no OpenMP");
    for (int threads = 0; threads <= 3; threads++) {
        dt_context *ctx;
        outcome out = { .status = DT_OK };
        char want[20];
        snprintf(want, sizeof want, "%d thread", threads ? threads : 4);
        MUST(on_cpu(threads, &ctx));
        cr_assert(strstr(dt_context_device(ctx), want) == dt_context_device(ctx), "threads %d: %s", threads,
                  dt_context_device(ctx));
        cr_assert(dt_threads_now() == 4, "threads %d, created: %d", threads, dt_threads_now());
        MUST(evaluate(ctx, &out));
        cr_assert(dt_threads_now() == 4, "threads %d, evaluated: %d", threads, dt_threads_now());
        dt_context_destroy(ctx);
        cr_assert(dt_threads_now() == 4, "threads %d, destroyed: %d", threads, dt_threads_now());
    }
    dt_threads_use(usual);
}

/* A hook of the compiled tape sees what kernels see. */
static dt_status note_threads(void *user, const dt_node *node)
{
    (void)node;
    *(int *)user = dt_threads_now();
    return DT_OK;
}

Test(contexts, two_contexts_keep_their_own_numbers)
{
    const int numbers[] = { 3, 1, 2 };
    tiny_run run[3];

    for (int i = 0; i < 3; i++) {
        tiny_options o = tiny_defaults();
        o.context.threads = numbers[i];
        cr_assert(tiny_open(&run[i], &o));
    }
    if (dt_threads_use(4) == 1 && dt_threads_now() == 1) cr_skip("this build has no OpenMP");
    for (int i = 0; i < 3; i++) {
        int seen = 0;
        MUST(dt_trainer_step(run[i].trainer));
        MUST(dt_tape_run(run[i].trainer->tape[0].tape, DT_PASS_FORWARD, note_threads, &seen));
        cr_assert(seen == numbers[i], "context %d has %d threads, its kernels %d", i, numbers[i], seen);
    }
    for (int i = 0; i < 3; i++) tiny_close(&run[i]);
}

/* Context, model and trainer in each order, with work in between by what is left; sanitizers see what is freed when. */
Test(contexts, may_be_destroyed_in_any_order)
{
    const int orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    for (int i = 0; i < 6; i++) {
        tiny_options o = tiny_defaults();
        tiny_run run;
        int has_trainer = 1;
        cr_assert(tiny_open(&run, &o));
        for (int k = 0; k < 3; k++) {
            switch (orders[i][k]) {
            case 0: dt_context_destroy(run.ctx); break;
            case 1: dt_model_destroy(run.model); break;
            default: dt_trainer_destroy(run.trainer); has_trainer = 0;
            }
            if (has_trainer) MUST(dt_trainer_step(run.trainer));
        }
        dt_dataset_close(run.data);
    }
}
