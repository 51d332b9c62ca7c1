/*
 * test_ranks_shares.c - an update that ranks share has the bits of one that each rank makes as a whole, for parameters
 * and moments, wherever the shares are cut; and a run whose moments lie apart is not saved.
 */
#include "../support/ranks_run.h"
#include "../support/temp_files.h"

#include "detent/checkpoint.h"

static outcome shared, whole;

typedef struct {
    const char *reason;
    dt_optim_kind optim;
    dt_quant_rule rule;
    int per_channel, accumulate;
    float ewgs, dampen, freeze;
} row;

static const row rows[] = {
    { "clips of layers, whose sets have several pieces", DT_OPTIM_SGD, DT_RULE_ECE284, 0, 1, 0.0f, 0.0f, 0.0f },
    { "clips of filters, whose sets are shorter than a piece", DT_OPTIM_SGD, DT_RULE_ECE284, 1, 1, 0.0f, 0.0f, 0.0f },
    { "clips that learn from inside", DT_OPTIM_SGD, DT_RULE_SCREAM, 0, 1, 0.0f, 0.0f, 0.0f },
    { "steps, whose weights keep no sums", DT_OPTIM_SGD, DT_RULE_LSQ, 1, 1, 0.0f, 0.0f, 0.0f },
    { "gradients that are pulled", DT_OPTIM_SGD, DT_RULE_ECE284, 0, 1, 0.1f, 0.01f, 0.0f },
    { "weights that freeze, on all ranks", DT_OPTIM_SGD, DT_RULE_LSQ, 0, 1, 0.0f, 0.0f, 0.05f },
    { "parts, which are summed when all are added", DT_OPTIM_SGD, DT_RULE_ECE284, 0, 2, 0.0f, 0.0f, 0.0f },
    { "two moments, and no pieces", DT_OPTIM_ADAM, DT_RULE_ECE284, 0, 1, 0.0f, 0.0f, 0.0f },
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static tiny_options of_row(const row *r, int ranks)
{
    tiny_options o = tiny_defaults();

    o.model.rule = r->rule;
    o.model.per_channel = r->per_channel;
    o.train.optim = r->optim;
    o.train.accumulate = r->accumulate;
    o.train.ewgs = r->ewgs;
    o.train.dampen = r->dampen;
    o.train.freeze = r->freeze;
    o.train.freeze_momentum = 0.1f;
    if (r->freeze > 0.0f) o.train.lr = 0.5f; /* codes turn within few steps */
    o.train.batch = 12 * ranks;
    return o;
}

static void same(const char *what, const float *a, const float *b, const char *reason, int ranks)
{
    for (int i = 0; i < whole.n_trained; i++) {
        cr_assert(memcmp(&a[i], &b[i], sizeof a[i]) == 0, "%d ranks, %s: %s %d is %.9g, as a whole %.9g", ranks, reason,
                  what, i, (double)a[i], (double)b[i]);
    }
}

Test(ranks_shares, have_the_bits_of_a_whole_update, .timeout = 300)
{
    for (int k = 0; k < N_ROWS; k++) {
        for (int n = 2; n <= 5; n += n == 3 ? 2 : 1) {
            rank_job j = { .o = of_row(&rows[k], n), .steps = 4 };
            j.o.context.threads = 1;
            run_job(n, &j, &shared);
            j.whole = 1;
            run_job(n, &j, &whole);
            same("parameter", shared.w, whole.w, rows[k].reason, n);
            same("moment", shared.m1, whole.m1, rows[k].reason, n);
            same("second moment", shared.m2, whole.m2, rows[k].reason, n);
        }
    }
}

/* ---- what lies apart ---- */

static int is_saved(dt_dist *d, void *user)
{
    const rank_job *j = user;
    const char *path = temp_path("apart.safetensors");
    tiny_run r = { 0 };

    if (rank_open(j, d, &r) != 0) return 1;
    if (dt_dist_rank(d) == 0) RANK_MUST(dt_checkpoint_save(r.trainer, path, NULL));
    RANK_MUST(dt_trainer_step(r.trainer));
    RANK_SAYS(dt_checkpoint_save(r.trainer, path, NULL) == DT_ERR_ARGUMENT, "half of the moments were saved");
    RANK_SAYS(strstr(dt_last_error(), "apart on 2 ranks after step 1"), "%s", dt_last_error());
    RANK_MUST(dt_trainer_gather(r.trainer));
    if (dt_dist_rank(d) == 0) RANK_MUST(dt_checkpoint_save(r.trainer, path, NULL));
    RANK_MUST(dt_trainer_step(r.trainer));
    RANK_MUST(dt_trainer_broadcast(r.trainer));
    if (dt_dist_rank(d) == 0) RANK_MUST(dt_checkpoint_save(r.trainer, path, NULL));
    unlink(path);
    return 0;
}

Test(ranks_shares, moments_that_lie_apart_are_not_saved)
{
    rank_job j = { .o = tiny_defaults() };

    ranks_must(2, is_saved, &j);
}
