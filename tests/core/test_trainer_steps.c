/*
 * test_trainer_steps.c - steps in one call, captured or not: the same bits, no allocation, metrics without waiting.
 *
 * On CUDA under the shim DT_UNROLL steps are captured into one graph; an epoch of 9 full batches and a smaller one
 * makes the three kinds of steps alternate.
 */
#include "../support/tiny_run.h"

#include <math.h>

static tiny_options nine_batches(const char *backend, dt_precision precision, int no_graph)
{
    tiny_options o = tiny_defaults();
    o.context.backend = backend;
    o.context.precision = precision;
    o.context.no_graph = no_graph;
    o.train.batch = 8;
    o.images = 9 * 8 + 3;
    o.side = 16;
    o.model.height = o.model.width = 16;
    return o;
}

static dt_metrics metrics_of(const tiny_run *r)
{
    dt_metrics m;
    MUST(dt_trainer_metrics(r->trainer, &m));
    return m;
}

static void same_run(const tiny_options *a, const tiny_options *b, int64_t steps, const char *why)
{
    tiny_run x, y;

    if (!tiny_open(&x, a)) cr_skip("no %s here: %s", a->context.backend, dt_last_error());
    cr_assert(tiny_open(&y, b));
    MUST(dt_trainer_run(x.trainer, steps));
    tiny_steps(&y, (int)steps);
    cr_assert(dt_trainer_steps_done(x.trainer) == steps);
    tiny_same_params(&x, &y, why);
    cr_assert(metrics_of(&x).loss == metrics_of(&y).loss, "%s", why);
    tiny_close(&x);
    tiny_close(&y);
}

Test(trainer_steps, many_in_one_call_are_the_same_steps)
{
    const tiny_options cpu = nine_batches("cpu", DT_PRECISION_F32, 0);
    same_run(&cpu, &cpu, 23, "cpu");
}

Test(trainer_steps, unrolled_captured_and_eager_give_equal_bits)
{
    for (int p = DT_PRECISION_F32; p <= DT_PRECISION_MIXED; p++) {
        const tiny_options graph = nine_batches("cuda", (dt_precision)p, 0);
        const tiny_options eager = nine_batches("cuda", (dt_precision)p, 1);
        same_run(&graph, &eager, 23, dt_precision_names[p]);
        same_run(&graph, &graph, 23, dt_precision_names[p]);
    }
}

static void allocates_nothing(const tiny_options *o)
{
    tiny_run r;

    if (!tiny_open(&r, o)) cr_skip("no %s here: %s", o->context.backend, dt_last_error());
    MUST(dt_trainer_run(r.trainer, 10));
    const int64_t before = r.ctx->n_allocations;
    MUST(dt_trainer_run(r.trainer, 30));
    cr_assert(r.ctx->n_allocations == before, "%s: %lld allocations in 30 steps", o->context.backend,
              (long long)(r.ctx->n_allocations - before));
    tiny_close(&r);
}

Test(trainer_steps, allocate_nothing_on_the_cpu)
{
    const tiny_options o = nine_batches("cpu", DT_PRECISION_MIXED, 0);
    allocates_nothing(&o);
}

Test(trainer_steps, allocate_nothing_on_cuda)
{
    const tiny_options o = nine_batches("cuda", DT_PRECISION_MIXED, 0);
    allocates_nothing(&o);
}

/* The first look may come before the copy has arrived; one after the device was waited for may not. */
static void sees_the_metrics(const tiny_options *o)
{
    dt_metrics seen;
    tiny_run r;

    if (!tiny_open(&r, o)) cr_skip("no %s here: %s", o->context.backend, dt_last_error());
    MUST(dt_trainer_run(r.trainer, 3));
    MUST(dt_trainer_recent(r.trainer, &seen));
    const dt_metrics all = metrics_of(&r);
    MUST(dt_trainer_recent(r.trainer, &seen));
    cr_assert(seen.images == all.images && seen.loss == all.loss, "%lld of %lld images", (long long)seen.images,
              (long long)all.images);
    tiny_close(&r);
}

Test(trainer_steps, recent_metrics_are_those_of_steps_done)
{
    const tiny_options cpu = nine_batches("cpu", DT_PRECISION_F32, 0);
    sees_the_metrics(&cpu);
}

Test(trainer_steps, recent_metrics_on_cuda)
{
    const tiny_options cuda = nine_batches("cuda", DT_PRECISION_F32, 0);
    sees_the_metrics(&cuda);
}

/* ---- what an evaluation tells on its way ---- */

enum { WATCH_EVERY = 4, MOST_SEEN = 8 };

typedef struct {
    dt_metrics seen[MOST_SEEN];
    int n, stop_at;
} watcher;

static int tick(void *user, int64_t done, int64_t total)
{
    (void)user;
    return done > total; /* never */
}

static dt_status note(void *user, const dt_metrics *so_far)
{
    watcher *w = user;
    cr_assert(w->n < MOST_SEEN);
    w->seen[w->n++] = *so_far;
    return w->n == w->stop_at ? DT_ERR_IO : DT_OK;
}

static void watches_an_evaluation(const tiny_options *o)
{
    watcher w = { .n = 0 };
    const dt_progress watched = { .tick = tick, .watch = note, .watch_every = WATCH_EVERY, .user = &w };
    int32_t predictions[9 * 8 + 3];
    dt_dataset_view v;
    dt_metrics m;
    tiny_run r;

    if (!tiny_open(&r, o)) cr_skip("no %s here: %s", o->context.backend, dt_last_error());
    MUST(dt_evaluate(r.model, r.data, 7, 0.0f, &watched, NULL, &m)); /* 75 images: ten batches, and one of 5 */
    cr_assert(w.n == 2 && w.seen[0].images == 28 && w.seen[1].images == 56, "%d", w.n);
    MUST(dt_evaluate(r.model, r.data, 7, 0.0f, NULL, &(dt_outputs){ .predictions = predictions }, &m));
    dt_dataset_look(r.data, &v);
    for (int i = 0; i < 2; i++) {
        int64_t right = 0;
        for (int k = 0; k < w.seen[i].images; k++) right += predictions[k] == v.labels[k];
        cr_assert(w.seen[i].accuracy == (double)right / (double)w.seen[i].images, "%g", w.seen[i].accuracy);
        cr_assert(isfinite(w.seen[i].loss) && w.seen[i].loss != m.loss);
    }
    w = (watcher){ .stop_at = 2 };
    cr_assert(dt_evaluate(r.model, r.data, 7, 0.0f, &watched, NULL, &m) == DT_ERR_IO && w.n == 2);
    tiny_close(&r);
}

Test(trainer_steps, an_evaluation_is_watched)
{
    const tiny_options cpu = nine_batches("cpu", DT_PRECISION_F32, 0);
    watches_an_evaluation(&cpu);
}

/* Scores and metrics of 75 images in batches of 7: one launched, nine captured and replayed, and a batch of 5. */
Test(trainer_steps, a_replayed_evaluation_has_the_bits_of_a_launched_one)
{
    enum { N_IMAGES = 9 * 8 + 3, N_SCORES = 10 * N_IMAGES };
    static float scores[2][N_SCORES];
    dt_metrics found[2];

    for (int no_graph = 0; no_graph < 2; no_graph++) {
        const tiny_options o = nine_batches("cuda", DT_PRECISION_MIXED, no_graph);
        tiny_run r;
        if (!tiny_open(&r, &o)) cr_skip("no cuda here: %s", dt_last_error());
        tiny_steps(&r, 3);
        MUST(
            dt_evaluate(r.model, r.data, 7, 0.0f, NULL, &(dt_outputs){ .scores = scores[no_graph] }, &found[no_graph]));
        tiny_close(&r);
    }
    cr_assert(memcmp(scores[0], scores[1], sizeof scores[0]) == 0);
    cr_assert(found[0].loss == found[1].loss && found[0].accuracy == found[1].accuracy);
    cr_assert(found[0].images == N_IMAGES);
    cr_assert(memcmp(scores[0], scores[0] + 70, 70 * sizeof(float)) != 0, "two batches have the same scores");
}

Test(trainer_steps, an_evaluation_is_watched_on_cuda)
{
    const tiny_options cuda = nine_batches("cuda", DT_PRECISION_F32, 0);
    watches_an_evaluation(&cuda);
}

Test(trainer_steps, preparing_steps_takes_some_time)
{
    const tiny_options cpu = nine_batches("cpu", DT_PRECISION_F32, 0);
    tiny_run r;

    cr_assert(tiny_open(&r, &cpu));
    cr_assert(dt_trainer_data_seconds(r.trainer) == 0.0);
    tiny_steps(&r, 1);
    const double one = dt_trainer_data_seconds(r.trainer);
    tiny_steps(&r, 1);
    const double two = dt_trainer_data_seconds(r.trainer);
    cr_assert(one > 0.0 && two > one && two < 1.0, "%g, %g s", one, two); /* 75 indices and a few numbers */
    tiny_close(&r);
}

/* The rate of the last step is the same however many steps went together. */
Test(trainer_steps, the_last_rate_is_the_last_steps)
{
    const tiny_options cpu = nine_batches("cpu", DT_PRECISION_F32, 0);
    tiny_run r;

    cr_assert(tiny_open(&r, &cpu));
    cr_assert(dt_trainer_last_lr(r.trainer) == dt_trainer_lr(r.trainer));
    tiny_steps(&r, 6);
    const float seventh = dt_trainer_lr(r.trainer);
    tiny_steps(&r, 1);
    cr_assert(dt_trainer_last_lr(r.trainer) == seventh && dt_trainer_lr(r.trainer) != seventh, "%g", (double)seventh);
    tiny_close(&r);
}

/* Psums without a norm go through a quantizer of their own, those behind a norm through NORM_QUANT: both scale. */
Test(trainer_steps, scaled_gradients_of_activations_change_the_layers_below)
{
    static const char *const below[] = { "features.4.weight", "features.0.weight" };
    static const char *const backends[] = { "cpu", "cuda" };

    for (int b = 0; b < 2; b++) {
        for (int p = DT_PRECISION_F32; p <= DT_PRECISION_MIXED; p++) {
            tiny_options o = nine_batches(backends[b], (dt_precision)p, 0), scaled = o;
            tiny_run x, y;
            scaled.train.ewgs_activations = 0.5f;
            if (!tiny_open(&x, &o)) continue;
            cr_assert(tiny_open(&y, &scaled));
            tiny_steps(&x, 1);
            tiny_steps(&y, 1);
            for (int k = 0; k < 2; k++) {
                int64_t n;
                float *usual = tiny_param(&x, tiny_index(&x, below[k]), &n);
                float *other = tiny_param(&y, tiny_index(&y, below[k]), NULL);
                cr_assert(memcmp(usual, other, (size_t)n * sizeof *usual) != 0, "%s: %s is the same", backends[b],
                          below[k]);
                free(usual);
                free(other);
            }
            tiny_close(&x);
            tiny_close(&y);
        }
    }
}
