/*
 * test_ranks_cuda.c - ranks that train on GPUs: steps that are launched, captured and unrolled have equal bits; with
 * synchronised statistics the first forward has the bits of one rank; parts of an accumulation are as good as ranks; a
 * rank that is in a group of one trains as one that is alone; an overflow on one rank skips the step on all.
 *
 * On the SIMT shim up to four ranks share the one device, also with streams that run as early and as late as their
 * waits let them (SIMT_STREAMS); a machine with GPUs runs as many ranks as it has.
 */
#include "../support/ranks_run.h"

static outcome a, b;

static int count_gpus(void *user)
{
    (void)user;
    return dt_gpu_count();
}

/* Skips the test where there is no GPU. */
static int most_ranks(void)
{
    const int gpus = in_a_child(count_gpus, NULL);

    if (gpus == 0) cr_skip("no GPU here, or a build without CUDA");
#ifdef DETENT_ON_SHIM
    return 4;
#else
    return gpus;
#endif
}

/* 76 images in nine batches of 8 and one of 4, so that steps go one at a time, eight at once and as a smaller one. */
static tiny_options on_cuda(dt_precision precision)
{
    tiny_options o = tiny_defaults();

    o.context.backend = "cuda";
    o.context.precision = precision;
    o.context.threads = 1;
    o.train.batch = 8;
    o.images = 9 * 8 + 4;
    o.side = 16;
    o.model.height = o.model.width = 16;
    return o;
}

static void same_outcome(const outcome *x, const outcome *y, const char *what)
{
    cr_assert(memcmp(x->w, y->w, sizeof x->w) == 0, "%s: parameters differ by up to %g", what,
              largest_difference(x->w, y->w, x->n_trained));
    cr_assert(memcmp(x->state, y->state, sizeof x->state) == 0, "%s: statistics differ by up to %g", what,
              largest_difference(x->state, y->state, x->n_state));
    cr_assert(memcmp(&x->last, &y->last, sizeof x->last) == 0, "%s: losses of %.17g and %.17g", what, x->last.loss,
              y->last.loss);
    cr_assert(memcmp(&x->scale, &y->scale, sizeof x->scale) == 0, "%s: loss scales of %g and %g", what,
              (double)x->scale.value, (double)y->scale.value);
    cr_assert(memcmp(&x->eval, &y->eval, sizeof x->eval) == 0, "%s: evaluations of %.17g and %.17g", what, x->eval.loss,
              y->eval.loss);
}

/* 19 steps: the first of them launched, eight and seven and a smaller one, and an epoch's eight and one. */
static void check_kinds_of_steps(int n, const tiny_options *o, const char *what)
{
    rank_job graph = { .o = *o, .steps = 19, .together = 1, .joins = 1 }, eager = graph, single = graph;
    char text[96];

    eager.o.context.no_graph = 1;
    single.together = 0; /* captured, but never eight at once */
    run_job(n, &graph, &a);
    run_job(n, &eager, &b);
    snprintf(text, sizeof text, "%d ranks, %s: unrolled and launched", n, what);
    same_outcome(&a, &b, text);
    run_job(n, &single, &b);
    snprintf(text, sizeof text, "%d ranks, %s: unrolled and captured", n, what);
    same_outcome(&a, &b, text);
}

Test(ranks_cuda, launched_captured_and_unrolled_steps_have_equal_bits, .timeout = 600)
{
    const int most = most_ranks();

    for (int n = 2; n <= most && n <= 4; n *= 2) {
        for (int sync = 0; sync < 2; sync++) {
            tiny_options o = on_cuda(n == 2 && sync ? DT_PRECISION_F32 : DT_PRECISION_MIXED);
            o.train.sync_bn = sync;
            check_kinds_of_steps(n, &o, sync ? "sync-bn" : "own statistics");
        }
    }
}

Test(ranks_cuda, parts_are_captured_too, .timeout = 600)
{
    const int most = most_ranks();
    tiny_options o = on_cuda(DT_PRECISION_MIXED);

    o.train.accumulate = 2;
    check_kinds_of_steps(most < 2 ? 1 : 2, &o, "two parts");
}

/* On a GPU this is NCCL with one rank. */
Test(ranks_cuda, a_group_of_one_trains_as_one_alone, .timeout = 300)
{
    for (int p = DT_PRECISION_F32; p <= DT_PRECISION_MIXED; p++) {
        rank_job alone = { .o = on_cuda((dt_precision)p), .steps = 19, .together = 1 }, joined = alone;

        (void)most_ranks();
        joined.joins = 1;
        run_job(1, &alone, &a);
        run_job(1, &joined, &b);
        same_outcome(&a, &b, dt_precision_names[p]);
    }
}

/* ---- the step of one rank ---- */

/* As in test_ranks.c: sums of psums are exact in double. */
Test(ranks_cuda, with_synchronised_statistics_the_first_forward_has_the_bits_of_one_rank, .timeout = 300)
{
    const int most = most_ranks();

    for (int p = DT_PRECISION_F32; p <= DT_PRECISION_MIXED; p++) {
        tiny_options o = on_cuda((dt_precision)p);
        o.train.sync_bn = 1;
        run_ranks(1, &o, 1, &a);
        for (int n = 2; n <= most && n <= 4; n *= 2) {
            run_ranks(n, &o, 1, &b);
            cr_assert(memcmp(a.state, b.state, sizeof a.state) == 0, "%d ranks: statistics differ by up to %g", n,
                      largest_difference(a.state, b.state, a.n_state));
            cr_assert(a.first.n_correct == b.first.n_correct && b.first.n_images == 8);
            cr_assert(fabs(a.first.loss - b.first.loss) < 1e-12 * a.first.loss, "%.17g and %.17g", a.first.loss,
                      b.first.loss);
        }
    }
}

/* Gradients are sums in another order; see test_ranks.c for the size of what that does. */
Test(ranks_cuda, after_twenty_steps_they_are_near, .timeout = 300)
{
    const int most = most_ranks();
    tiny_options o = on_cuda(DT_PRECISION_F32);

    o.train.sync_bn = 1;
    o.train.crop_pad = 0;
    run_ranks(1, &o, 20, &a);
    for (int n = 2; n <= most && n <= 4; n *= 2) {
        run_ranks(n, &o, 20, &b);
        const double far = largest_difference(a.w, b.w, a.n_trained);
        fprintf(stderr, "%d ranks, 20 steps: parameters differ by up to %.3g\n", n, far);
        cr_assert(far < 1e-4, "%d ranks: parameters differ by up to %g", n, far);
    }
}

static void check_near(const tiny_options *o)
{
    run_ranks(1, o, 2, &a);
    run_ranks(2, o, 2, &b);
    const double far = largest_difference(a.w, b.w, a.n_trained);
    cr_assert(far < 1e-5, "rule %s, fold %s: parameters differ by up to %g", dt_quant_rule_names[o->model.rule],
              dt_fold_mode_names[o->model.fold_bn], far);
}

/* Each rule of one clip for a layer, and folded batch norms, whose statistics are another operator. */
Test(ranks_cuda, every_rule_counts_the_values_of_all_ranks, .timeout = 600)
{
    tiny_options o = on_cuda(DT_PRECISION_F32);

    if (most_ranks() < 2) cr_skip("one GPU here, two are needed");
    o.train.sync_bn = 1;
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        o.model.rule = (dt_quant_rule)rule;
        check_near(&o);
    }
    o.model.fold_bn = DT_FOLD_BATCH;
    check_near(&o);
}

/* Two parts of one rank have the images and the statistics of two ranks, and a sum of two has one order. */
Test(ranks_cuda, two_parts_are_as_good_as_two_ranks, .timeout = 300)
{
    tiny_options o = on_cuda(DT_PRECISION_F32);

    if (most_ranks() < 2) cr_skip("one GPU here, two are needed");
    run_ranks(2, &o, 3, &a);
    o.train.accumulate = 2;
    run_ranks(1, &o, 3, &b);
    cr_assert(memcmp(a.w, b.w, sizeof a.w) == 0, "parameters differ by up to %g",
              largest_difference(a.w, b.w, a.n_trained));
    cr_assert(a.last.n_correct == b.last.n_correct);
}

/* The CPU's ranks are judged in test_ranks.c. */
Test(ranks_cuda, they_take_the_steps_of_the_cpu, .timeout = 300)
{
    tiny_options o = on_cuda(DT_PRECISION_F32);

    if (most_ranks() < 2) cr_skip("one GPU here, two are needed");
    run_ranks(2, &o, 3, &a);
    o.context.backend = "cpu";
    run_ranks(2, &o, 3, &b);
    cr_assert(largest_difference(a.w, b.w, a.n_trained) < 1e-4, "%g", largest_difference(a.w, b.w, a.n_trained));
    cr_assert(largest_difference(a.state, b.state, a.n_state) < 1e-3, "%g",
              largest_difference(a.state, b.state, a.n_state));
    cr_assert(a.last.n_correct == b.last.n_correct && a.last.n_images == b.last.n_images);
}

/* ---- overflow, and the end of a rank ---- */

static int overflows(dt_dist *d, void *user)
{
    const rank_job *j = user;
    const float inf = INFINITY;
    tiny_run r = { 0 };
    dt_step before, after;
    float *w, *still;

    if (rank_open(j, d, &r) != 0) return 1;
    RANK_MUST(dt_trainer_run(r.trainer, 8)); /* finds a scale that fits */
    RANK_MUST(dt_trainer_state(r.trainer, &before));
    RANK_MUST(dt_device_floats(r.ctx, r.model->w, r.model->n_trained, &w));
    RANK_SAYS(r.trainer->tape[0].update.scaled, "gradients are not scaled");
    if (dt_dist_rank(d) == 1) RANK_MUST(dt_device_write(r.ctx, r.model->dw + 7, &inf, sizeof inf));
    RANK_MUST(r.ctx->backend->all_reduce(r.ctx->device, r.model->dw, r.model->n_trained, DT_SUM_F32));
    RANK_MUST(r.ctx->backend->all_reduce_join(r.ctx->device));
    RANK_MUST(dt_context_update(r.ctx, &r.trainer->tape[0].update));
    RANK_MUST(dt_trainer_state(r.trainer, &after));
    RANK_MUST(dt_device_floats(r.ctx, r.model->w, r.model->n_trained, &still));
    RANK_SAYS(after.scale.skipped == before.scale.skipped + 1, "%lld steps skipped", (long long)after.scale.skipped);
    RANK_SAYS(after.scale.value == before.scale.value / 2.0f, "a scale of %g after one of %g",
              (double)after.scale.value, (double)before.scale.value);
    RANK_SAYS(memcmp(w, still, (size_t)r.model->n_trained * sizeof *w) == 0, "parameters have changed");
    free(w);
    free(still);
    RANK_MUST(dt_trainer_agree(r.trainer));
    return 0;
}

Test(ranks_cuda, an_overflow_on_one_rank_skips_the_step_on_all, .timeout = 120)
{
    rank_job j = { .o = on_cuda(DT_PRECISION_MIXED) };

    if (most_ranks() < 2) cr_skip("one GPU here, two are needed");
    ranks_must(2, overflows, &j);
}

/* Rank 1 ends in the middle. Rank 0 hears of it by its links and says so, whatever its GPU waits for. */
static int loses_the_other(dt_dist *d, void *user)
{
    const rank_job *j = user;
    tiny_run r = { 0 };
    dt_status status = DT_OK;
    dt_step state;

    if (rank_open(j, d, &r) != 0) return 1;
    RANK_MUST(dt_trainer_run(r.trainer, 12));
    if (dt_dist_rank(d) == 1) _exit(0);
    while (status == DT_OK) {
        status = dt_trainer_run(r.trainer, 8);
        if (status == DT_OK) status = dt_trainer_state(r.trainer, &state);
    }
    RANK_SAYS(status == DT_ERR_COMM && strstr(dt_last_error(), "rank 1"), "%s", dt_last_error());
    return 0;
}

Test(ranks_cuda, a_rank_that_ends_is_named, .timeout = 120)
{
    rank_job j = { .o = on_cuda(DT_PRECISION_MIXED) };

    if (most_ranks() < 2) cr_skip("one GPU here, two are needed");
    ranks_must(2, loses_the_other, &j);
}
