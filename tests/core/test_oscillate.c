/*
 * test_oscillate.c - the count of weights that go back and forth: none where nothing moves, some where steps are large,
 * and the run stays as it was.
 */
#include "../support/tiny_run.h"

enum { LAYERS = 3, STEPS = 6 };

static int64_t oscillating(tiny_run *r, int64_t *n_weights)
{
    dt_oscillation_report all[LAYERS];
    int64_t n = 0;

    cr_assert(dt_trainer_n_weight_quantizers(r->trainer) <= LAYERS && dt_trainer_n_weight_quantizers(r->trainer) > 0);
    MUST(dt_trainer_oscillations(r->trainer, STEPS, all));
    *n_weights = 0;
    for (int i = 0; i < dt_trainer_n_weight_quantizers(r->trainer); i++) {
        cr_assert(strncmp(all[i].name, "features.", 9) == 0, "%s", all[i].name);
        cr_assert(all[i].n_oscillating >= 0 && all[i].n_oscillating <= all[i].n_weights);
        *n_weights += all[i].n_weights;
        n += all[i].n_oscillating;
    }
    return n;
}

/* What the count must be, step by step: by the codes that inspection of a twin run finds. */
Test(oscillate, depends_on_how_far_weights_move)
{
    tiny_options still = tiny_defaults(), wild = tiny_defaults();
    tiny_run a, b;
    int64_t n;

    still.train.lr = 1e-20f;
    wild.train.lr = 0.5f;
    wild.train.momentum = 0.0f;
    cr_assert(tiny_open(&a, &still) && tiny_open(&b, &wild));
    cr_assert(oscillating(&a, &n) == 0, "weights that stay");
    cr_assert(oscillating(&b, &n) > n / 100, "of %lld weights that jump", (long long)n);
    tiny_close(&a);
    tiny_close(&b);
}

/* Standardised weights of a uniform draw reach 1.73. */
Test(oscillate, counts_the_codes_that_occur)
{
    const tiny_options o = tiny_defaults();
    const float near = 1.0f, far = 1e6f;
    dt_oscillation_report all[LAYERS];
    tiny_run r;

    cr_assert(tiny_open(&r, &o));
    MUST(dt_model_write(r.model, tiny_index(&r, "features.0.weight_quant.wgt_alpha"), &near));
    MUST(dt_model_write(r.model, tiny_index(&r, "features.4.weight_quant.wgt_alpha"), &far));
    MUST(dt_trainer_oscillations(r.trainer, 1, all));
    cr_assert(all[0].n_codes == 15 && all[0].n_codes_used == 15, "%d of %d", all[0].n_codes_used, all[0].n_codes);
    cr_assert(all[1].n_codes == 15 && all[1].n_codes_used == 1, "%d of %d", all[1].n_codes_used, all[1].n_codes);
    tiny_close(&r);
}

static void leaves_the_run(const char *backend)
{
    tiny_options o = tiny_defaults();
    tiny_run quiet, watched;
    int64_t n;

    o.context.backend = backend;
    o.train.ema = 0.9f;
    if (!tiny_open(&quiet, &o)) return;
    cr_assert(tiny_open(&watched, &o));
    for (int i = 0; i < 8; i++) {
        oscillating(&watched, &n);
        tiny_steps(&quiet, 1);
        tiny_steps(&watched, 1);
    }
    tiny_same_params(&quiet, &watched, backend);
    float *x = host_floats(quiet.ctx, quiet.trainer->mean, quiet.model->n_trained);
    float *y = host_floats(watched.ctx, watched.trainer->mean, quiet.model->n_trained);
    cr_assert(memcmp(x, y, (size_t)quiet.model->n_trained * sizeof *x) == 0, "%s: the mean differs", backend);
    free(x);
    free(y);
    tiny_close(&quiet);
    tiny_close(&watched);
}

Test(oscillate, counting_leaves_the_run_as_it_was)
{
    leaves_the_run("cpu");
    leaves_the_run("cuda");
}
