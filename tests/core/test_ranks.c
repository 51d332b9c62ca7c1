/*
 * test_ranks.c - a training step that ranks share is the step of one rank: with --sync-bn the first forward has its
 * bits, and the parameters after 20 steps are near; every rank has the same bits; runs repeat; parts of an accumulation
 * are as good as ranks; images that cannot be shared evenly are shared still.
 */
#include "../support/ranks_run.h"

static outcome a, b;

/* ---- runs repeat ---- */

Test(ranks, a_run_of_one_shape_repeats_bit_for_bit, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    for (int n = 2; n <= 4; n += 2) {
        for (int sync = 0; sync < 2; sync++) {
            o.train.sync_bn = sync;
            run_ranks(n, &o, 8, &a);
            run_ranks(n, &o, 8, &b);
            cr_assert(memcmp(&a, &b, sizeof a) == 0, "%d ranks, sync-bn %d", n, sync);
        }
    }
}

/* ---- the step of one rank ---- */

/* Every sum of psums is exact in double, so statistics, codes and losses of single images have the bits of one rank.
 * Only the loss's sum over images has another order. */
Test(ranks, with_synchronised_statistics_the_first_forward_has_the_bits_of_one_rank, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    o.train.sync_bn = 1;
    run_ranks(1, &o, 1, &a);
    for (int n = 2; n <= 4; n++) {
        if (o.train.batch % n != 0) o.train.batch = 33; /* three ranks of 11 */
        run_ranks(1, &o, 1, &a);
        run_ranks(n, &o, 1, &b);
        cr_assert(memcmp(a.state, b.state, sizeof a.state) == 0, "%d ranks: statistics differ by up to %g", n,
                  largest_difference(a.state, b.state, a.n_state));
        cr_assert(a.first.n_correct == b.first.n_correct && a.first.n_images == b.first.n_images);
        cr_assert(fabs(a.first.loss - b.first.loss) < 1e-12 * a.first.loss, "%.17g and %.17g", a.first.loss,
                  b.first.loss);
        o.train.batch = 32;
    }
}

/* Gradients are sums in another order, which moves a parameter by some 2^-24 of its change in each step (seen: 7e-8
 * after 20). A code that falls on the other side of a threshold would move some by more. */
Test(ranks, after_twenty_steps_they_are_near, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    o.train.sync_bn = 1;
    o.train.crop_pad = 0;
    run_ranks(1, &o, 20, &a);
    for (int n = 2; n <= 4; n += 2) {
        run_ranks(n, &o, 20, &b);
        const double far = largest_difference(a.w, b.w, a.n_trained);
        fprintf(stderr, "%d ranks, 20 steps: parameters differ by up to %.3g\n", n, far);
        cr_assert(far < 1e-4, "%d ranks: parameters differ by up to %g", n, far);
        cr_assert(fabs(a.eval.loss - b.eval.loss) < 1e-4, "%g and %g", a.eval.loss, b.eval.loss);
    }
}

/* A quantizer with a learned step scales its gradient by the number of values in the whole step. */
Test(ranks, learned_steps_count_the_values_of_all_ranks, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    o.model.rule = DT_RULE_LSQ;
    o.train.sync_bn = 1;
    run_ranks(1, &o, 1, &a);
    run_ranks(2, &o, 1, &b);
    cr_assert(largest_difference(a.w, b.w, a.n_trained) < 1e-6, "%g", largest_difference(a.w, b.w, a.n_trained));
}

/* ---- parts ---- */

/* Two parts of one rank have the images and the statistics of two ranks, and a sum of two has one order. */
Test(ranks, two_parts_are_as_good_as_two_ranks, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    run_ranks(2, &o, 3, &a);
    o.train.accumulate = 2;
    run_ranks(1, &o, 3, &b);
    cr_assert(memcmp(a.w, b.w, sizeof a.w) == 0, "parameters differ by up to %g",
              largest_difference(a.w, b.w, a.n_trained));
    cr_assert(a.last.n_correct == b.last.n_correct);
    run_ranks(2, &o, 3, &a); /* two ranks of two parts: those of four ranks, or of four parts */
    o.train.accumulate = 4;
    run_ranks(1, &o, 3, &b);
    cr_assert(largest_difference(a.w, b.w, a.n_trained) < 1e-6);
    cr_assert(a.last.n_correct == b.last.n_correct);
}

/* 77 images: batches of 32, 32 and 13. */
Test(ranks, an_odd_last_batch_is_shared, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    o.images = 77;
    o.train.sync_bn = 1;
    run_ranks(1, &o, 3, &a);
    for (int n = 2; n <= 4; n += 2) {
        run_ranks(n, &o, 3, &b);
        cr_assert(b.last.n_images == 77 && a.last.n_images == 77);
        cr_assert(largest_difference(a.w, b.w, a.n_trained) < 1e-5, "%d ranks: %g", n,
                  largest_difference(a.w, b.w, a.n_trained));
        o.train.accumulate = 2;
        run_ranks(n, &o, 3, &b);
        cr_assert(b.last.n_images == 77);
        o.train.accumulate = 1;
    }
}

static dt_status make_trainer(const tiny_options *o)
{
    tiny_run r = { 0 };
    const dt_dataset_options data = { .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = o->images, .seed = 1 };

    MUST(dt_context_create(&o->context, &r.ctx));
    MUST(dt_dataset_open(&data, &r.data));
    MUST(dt_model_create(r.ctx, &o->model, &r.model));
    const dt_status status = dt_trainer_create(r.model, r.data, &o->train, &r.trainer);
    tiny_close(&r);
    return status;
}

Test(ranks, what_cannot_be_shared_is_refused)
{
    tiny_options o = tiny_defaults();

    o.train.accumulate = 5;
    cr_assert(make_trainer(&o) == DT_ERR_ARGUMENT && strstr(dt_last_error(), "multiple of 5"), "%s", dt_last_error());
    o.train.accumulate = 8;
    o.images = 69; /* 32, 32, 5 */
    cr_assert(make_trainer(&o) == DT_ERR_ARGUMENT && strstr(dt_last_error(), "the last batch has 5"), "%s",
              dt_last_error());
    o.train.accumulate = 2000;
    cr_assert(make_trainer(&o) == DT_ERR_ARGUMENT && strstr(dt_last_error(), "1..1024"), "%s", dt_last_error());
}

/* ---- the report ---- */

enum { MOST_QUANTIZERS = 8 };

/* A clip that some values reach. */
static int narrow_clip(const tiny_run *r)
{
    const float small = 0.5f;

    for (int i = 0; i < r->model->n_params; i++) {
        if (strcmp(r->model->param[i]->name, "features.4.act_alpha") == 0)
            RANK_MUST(dt_model_write(r->model, i, &small));
    }
    return 0;
}

/* Of rank 0. */
static int reports(dt_dist *d, void *user)
{
    const rank_job *j = user;
    dt_quant_report q[MOST_QUANTIZERS];
    tiny_run r = { 0 };

    if (rank_open(j, d, &r) != 0 || narrow_clip(&r) != 0) return 1;
    RANK_SAYS(dt_trainer_n_quantizers(r.trainer) <= MOST_QUANTIZERS, "%d", dt_trainer_n_quantizers(r.trainer));
    RANK_MUST(dt_trainer_report(r.trainer, q));
    for (int i = 0; dt_dist_rank(d) == 0 && i < dt_trainer_n_quantizers(r.trainer); i++)
        j->of->w[i] = (float)q[i].clip_rate;
    return 0;
}

/* A rank looks at its own part: rank 0 of two, with a batch of 32, sees what a rank alone sees of 16. */
Test(ranks, a_rank_reports_of_its_part, .timeout = 120)
{
    rank_job j = { .o = tiny_defaults(), .of = ranks_shared(sizeof a) };
    float two[MOST_QUANTIZERS];

    ranks_must(2, reports, &j);
    memcpy(two, j.of->w, sizeof two);
    j.o.train.batch = 16;
    cr_assert(reports(NULL, &j) == 0);
    cr_assert(memcmp(two, j.of->w, sizeof two) == 0, "%g and %g", (double)two[1], (double)j.of->w[1]);
    cr_assert(two[1] > 0.0f && two[1] < 1.0f, "%g", (double)two[1]);
    j.o.train.batch = 32;
    cr_assert(reports(NULL, &j) == 0);
    cr_assert(memcmp(two, j.of->w, sizeof two) != 0, "16 images and 32 give one report");
    munmap(j.of, sizeof a);
}

/* The last of four has its part behind the others', and only two steps of images are there. */
Test(ranks, a_rank_begins_where_rank_0_does, .timeout = 120)
{
    tiny_options o = tiny_defaults();

    o.model.rule = DT_RULE_LSQ;
    o.train.batch = 48;
    run_ranks(4, &o, 1, &a);
}

/* ---- evaluation ---- */

/* Counts are exact; the loss is a sum in another order. 7 ranks of 77 images in batches of 16. */
Test(ranks, evaluation_is_shared, .timeout = 300)
{
    tiny_options o = tiny_defaults();

    o.images = 77;
    run_ranks(1, &o, 0, &a);
    for (int n = 2; n <= 7; n += 5) {
        o.train.batch = 14 * n;
        if (o.train.batch > o.images) o.train.batch = 77;
        run_ranks(n, &o, 0, &b);
        cr_assert(b.eval.images == 77 && b.eval.accuracy == a.eval.accuracy, "%d ranks: %g and %g", n, b.eval.accuracy,
                  a.eval.accuracy);
        cr_assert(fabs(b.eval.loss - a.eval.loss) < 1e-12 * a.eval.loss, "%.17g and %.17g", b.eval.loss, a.eval.loss);
    }
}

/* ---- agreement ---- */

static int strays(dt_dist *d, void *user)
{
    const rank_job *j = user;
    tiny_run r = { 0 };
    float one = 1.0f;

    if (rank_open(j, d, &r) != 0) return 1;
    RANK_MUST(dt_trainer_agree(r.trainer));
    if (dt_dist_rank(d) == 1) RANK_MUST(dt_device_write(r.ctx, r.model->w, &one, sizeof one));
    RANK_SAYS(dt_trainer_agree(r.trainer) == DT_ERR_COMM, "a rank strayed and nobody saw it");
    RANK_SAYS(strstr(dt_last_error(), "rank 1 has other parameters than rank 0"), "%s", dt_last_error());
    return 0;
}

Test(ranks, a_rank_that_strays_is_found, .timeout = 120)
{
    rank_job j = { .o = tiny_defaults() };

    ranks_must(2, strays, &j);
}
