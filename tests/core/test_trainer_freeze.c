/*
 * test_trainer_freeze.c - runs whose weights freeze: frozen codes stay to the end while the steps move, a captured step
 * has the bits of an eager one, the report counts them, and what has no codes of its own is refused.
 */
#include "../support/tiny_run.h"

#include <math.h>

static const char *const backends[] = { "cpu", "cuda" };

/* So fast that codes go back and forth. */
static tiny_options freezing(const char *backend)
{
    tiny_options o = tiny_defaults();

    o.context.backend = backend;
    o.model.rule = DT_RULE_LSQ;
    o.model.wbits = 3;
    o.train.lr = 0.2f;
    o.train.freeze = 0.08f;
    o.train.freeze_momentum = 0.1f;
    return o;
}

/* What the weights of one layer are on the host. */
typedef struct {
    float *w, *step, *turns;
    int64_t n, n_steps;
} layer;

static layer look(const tiny_run *r, const char *name, const char *step_name)
{
    layer l = { 0 };
    const dt_param *p = r->model->param[tiny_index(r, name)];

    l.w = tiny_param(r, tiny_index(r, name), &l.n);
    l.step = tiny_param(r, tiny_index(r, step_name), &l.n_steps);
    l.turns = host_floats(r->ctx, r->trainer->freeze + p->first, l.n);
    return l;
}

static void forget(layer *l)
{
    free(l->w);
    free(l->step);
    free(l->turns);
}

/* Returns how many are frozen; those of `before` have the codes that they had. */
static int64_t check_codes(const layer *before, const layer *now, const char *backend)
{
    int64_t n = 0;

    for (int64_t i = 0; i < now->n; i++) {
        const float x = now->w[i] / now->step[i / (now->n / now->n_steps)];
        const float was = before->w[i] / before->step[i / (now->n / now->n_steps)];
        n += now->turns[i] == DT_FROZEN;
        if (before->turns[i] != DT_FROZEN) continue;
        cr_assert(now->turns[i] == DT_FROZEN, "%s: weight %lld has thawed", backend, (long long)i);
        cr_assert(fabsf(x - rintf(x)) < 1e-5f && rintf(x) == rintf(was), "%s: weight %lld is frozen at %g, was at %g",
                  backend, (long long)i, (double)x, (double)was);
    }
    return n;
}

static int64_t reported(const tiny_run *r, const char *name)
{
    dt_oscillation_report all[8];
    const int n = dt_trainer_n_weight_quantizers(r->trainer);

    cr_assert(n > 0 && n <= 8);
    MUST(dt_trainer_oscillations(r->trainer, 2, all));
    int i = 0;
    while (i < n - 1 && strcmp(all[i].name, name) != 0) i++;
    cr_assert(strcmp(all[i].name, name) == 0, "no layer %s", name);
    return all[i].n_frozen;
}

Test(trainer_freeze, frozen_codes_stay_while_the_step_moves)
{
    for (int b = 0; b < 2; b++) {
        const tiny_options o = freezing(backends[b]);
        tiny_run r;
        if (!tiny_open(&r, &o)) continue;
        MUST(dt_trainer_calibrate(r.trainer));
        tiny_steps(&r, 8);
        layer before = look(&r, "features.4.weight", "features.4.weight_quant.wgt_alpha");
        int64_t n = 0;
        for (int t = 0; t < 12; t++) {
            tiny_steps(&r, 1);
            layer now = look(&r, "features.4.weight", "features.4.weight_quant.wgt_alpha");
            n = check_codes(&before, &now, backends[b]);
            if (t == 11) cr_assert(now.step[0] != before.step[0], "%s: the step stays", backends[b]);
            forget(&before);
            before = now;
        }
        cr_assert(n > before.n / 20 && n < before.n, "%s: %lld of %lld weights are frozen", backends[b], (long long)n,
                  (long long)before.n);
        const int64_t n_states = DT_FREEZE_STATES * r.model->n_trained;
        float *state = host_floats(r.ctx, r.trainer->freeze, n_states);
        const int64_t found = reported(&r, "features.4");
        float *again = host_floats(r.ctx, r.trainer->freeze, n_states);
        cr_assert(found == n, "%s: reported are %lld, not %lld", backends[b], (long long)found, (long long)n);
        cr_assert(memcmp(again, state, (size_t)n_states * sizeof *state) == 0, "%s: the report left a trace",
                  backends[b]);
        free(again);
        free(state);
        forget(&before);
        tiny_close(&r);
    }
}

/* Eight steps in one graph, and a last batch that is smaller and has a tape of its own. */
Test(trainer_freeze, captured_steps_freeze_too)
{
    tiny_options graph = freezing("cuda"), eager = graph;
    tiny_run x, y;

    eager.context.no_graph = 1;
    graph.images = eager.images = 32 * 10 + 16;
    if (!tiny_open(&x, &graph)) cr_skip("no CUDA here: %s", dt_last_error());
    cr_assert(tiny_open(&y, &eager));
    MUST(dt_trainer_run(x.trainer, 24));
    MUST(dt_trainer_run(y.trainer, 24));
    tiny_same_params(&x, &y, "captured and eager");
    const int64_t n = DT_FREEZE_STATES * x.model->n_trained;
    float *a = host_floats(x.ctx, x.trainer->freeze, n), *b = host_floats(y.ctx, y.trainer->freeze, n);
    int64_t n_frozen = 0;
    for (int64_t i = 0; i < x.model->n_trained; i++) n_frozen += a[i] == DT_FROZEN;
    cr_assert(memcmp(a, b, (size_t)n * sizeof *a) == 0, "captured and eager: the state differs");
    cr_assert(n_frozen > 0, "nothing is frozen");
    free(a);
    free(b);
    tiny_close(&x);
    tiny_close(&y);
}

/* Adam leaves no backward to the update. */
Test(trainer_freeze, is_for_every_optimiser)
{
    for (int b = 0; b < 2; b++) {
        tiny_options o = freezing(backends[b]);
        tiny_run r;
        o.train.optim = DT_OPTIM_ADAM;
        o.train.lr = 0.02f;
        if (!tiny_open(&r, &o)) continue;
        MUST(dt_trainer_calibrate(r.trainer));
        tiny_steps(&r, 20);
        layer l = look(&r, "features.4.weight", "features.4.weight_quant.wgt_alpha");
        cr_assert(check_codes(&l, &l, backends[b]) > 0, "%s: nothing is frozen", backends[b]);
        forget(&l);
        tiny_close(&r);
    }
}

Test(trainer_freeze, what_has_no_codes_of_its_own_is_refused)
{
    tiny_options o = freezing("cpu");

    o.model.wbits = o.model.abits = DT_BITS_FLOAT;
    tiny_refused(&o, DT_ERR_UNSUPPORTED, "freeze: the weights of tiny are real and have no codes to keep");
    o = freezing("cpu");
    o.model.rule = DT_RULE_SCREAM;
    tiny_refused(&o, DT_ERR_UNSUPPORTED, "freeze: by the rule scream a code depends on all weights of its layer");
    o = freezing("cpu");
    o.model.fold_bn = DT_FOLD_EMA;
    tiny_refused(&o, DT_ERR_UNSUPPORTED, "freeze: tiny has folded batch norms");
    o = freezing("cpu");
    o.train.freeze = 1.0f;
    tiny_refused(&o, DT_ERR_ARGUMENT, "freeze is 1 and freeze_momentum 0.1, allowed are");
}
