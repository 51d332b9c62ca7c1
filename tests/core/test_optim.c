/*
 * test_optim.c - SGD and Adam against their formulas in double, over ranges that share no settings; the loss scale.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/context.h"
#include "../../core/train/optim.h"

enum { N_RANGES = 4, STEPS = 6 };

static const char *const backends[] = { "cpu", "cuda" };

/* odd sizes: a few, a block of 16,384 and one, many blocks, one; the third is sparse */
static const dt_update_range ranges[N_RANGES] = {
    { .first = 0, .count = 7, .lr_factor = 1.0f, .weight_decay = 0.01f, .floor = -INFINITY },
    { .first = 7, .count = 16385, .lr_factor = 0.1f, .weight_decay = 0.0f, .floor = 0.25f },
    { .first = 16392, .count = 33333, .lr_factor = 1.0f, .weight_decay = 1e-4f, .floor = -INFINITY, .sparse = 1 },
    { .first = 49725, .count = 1, .lr_factor = 0.0f, .weight_decay = 0.5f, .floor = -INFINITY },
};
enum { COUNT = 49726 };

typedef struct {
    double w[COUNT], m1[COUNT], m2[COUNT];
} oracle_state;

/* a 0 in the first range, which moves, and every fifth of the sparse one, which stay */
static float first_weight(int i)
{
    if (i == 3 || (i >= 16392 && i % 5 == 0)) return 0.0f;
    return cosf(0.37f * (float)i);
}

static float gradient(int i, int step)
{
    return sinf((float)(i % 977) + 2.0f * (float)step);
}

static double lr_of(int step)
{
    return 0.05 / (double)(step + 1);
}

static void oracle_step(oracle_state *o, const dt_update *u, int step)
{
    for (int k = 0; k < N_RANGES; k++) {
        const dt_update_range *r = &ranges[k];
        const double lr = lr_of(step) * (double)r->lr_factor;
        for (int64_t i = r->first; i < r->first + r->count; i++) {
            const double g = (double)gradient((int)i, step) + (double)r->weight_decay * o->w[i];
            double move;
            if (r->sparse && o->w[i] == 0.0) continue;
            if (u->kind == DT_OPTIM_SGD) {
                move = o->m1[i] = (double)u->momentum * o->m1[i] + g;
            } else {
                const double b1 = (double)u->beta1, b2 = (double)u->beta2;
                o->m1[i] = b1 * o->m1[i] + (1.0 - b1) * g;
                o->m2[i] = b2 * o->m2[i] + (1.0 - b2) * g * g;
                const double mean = o->m1[i] / (1.0 - pow(b1, step + 1)), square = o->m2[i] / (1.0 - pow(b2, step + 1));
                move = mean / (sqrt(square) + (double)u->epsilon);
            }
            o->w[i] = fmax(o->w[i] - lr * move, (double)r->floor);
        }
    }
}

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s", dt_last_error());
}

static float *device_values(dt_context *ctx, float (*value)(int i))
{
    static float host[COUNT];
    void *p;
    for (int i = 0; i < COUNT; i++) host[i] = value ? value(i) : 0.0f;
    must(dt_device_alloc(ctx, sizeof host, &p));
    must(dt_device_write(ctx, p, host, sizeof host));
    return p;
}

/* Gradients are `scale` times too large. */
static void take_step(dt_context *ctx, const dt_update *u, int step, float scale)
{
    static float dw[COUNT];
    const double b1 = pow((double)u->beta1, step + 1), b2 = pow((double)u->beta2, step + 1);
    const dt_step_in in = { .lr = (float)lr_of(step),
                            .adam_correct1 = (float)(1.0 / (1.0 - b1)),
                            .adam_correct2 = (float)(1.0 / (1.0 - b2)) };
    for (int i = 0; i < COUNT; i++) dw[i] = scale * gradient(i, step);
    must(dt_device_write(ctx, (float *)u->dw, dw, sizeof dw));
    must(dt_device_write(ctx, &ctx->step->in, &in, sizeof in));
    must(dt_context_update(ctx, u));
}

/* Values are about 1 and take STEPS steps of a few roundings, 2^-24 each. */
static void compare(dt_context *ctx, const dt_update *u, const oracle_state *o, int step)
{
    static float w[COUNT];
    must(dt_device_read(ctx, w, u->w, sizeof w));
    for (int i = 0; i < COUNT; i++) {
        cr_assert(fabs((double)w[i] - o->w[i]) <= 1e-6, "%s, step %d: w[%d] is %.9g, expected %.9g", ctx->backend->name,
                  step, i, (double)w[i], o->w[i]);
    }
    cr_assert(w[COUNT - 1] == first_weight(COUNT - 1), "a factor of 0 leaves the value alone");
    for (int i = 7; i < 16392; i++) cr_assert(w[i] >= 0.25f, "w[%d] is %g, below its floor", i, (double)w[i]);
}

/* 0: no such backend here */
static int update_open(const char *backend, dt_optim_kind kind, dt_context **ctx, dt_update *u)
{
    dt_options opt;

    dt_options_default(&opt);
    opt.backend = backend;
    if (dt_context_create(&opt, ctx) == DT_ERR_UNSUPPORTED) return 0;
    *u = (dt_update){ .kind = kind,
                      .momentum = 0.9f,
                      .beta1 = 0.9f,
                      .beta2 = 0.999f,
                      .epsilon = 1e-8f,
                      .w = device_values(*ctx, first_weight),
                      .dw = device_values(*ctx, NULL),
                      .m1 = device_values(*ctx, NULL),
                      .m2 = kind == DT_OPTIM_ADAM ? device_values(*ctx, NULL) : NULL,
                      .range = ranges,
                      .n_ranges = N_RANGES,
                      .count = COUNT };
    return 1;
}

static void update_close(dt_context *ctx, const dt_update *u)
{
    const size_t bytes = COUNT * sizeof(float);

    dt_device_free(ctx, u->w, bytes);
    dt_device_free(ctx, (float *)u->dw, bytes);
    dt_device_free(ctx, u->m1, bytes);
    dt_device_free(ctx, u->m2, bytes);
    dt_context_destroy(ctx);
}

static void run(const char *backend, dt_optim_kind kind)
{
    static oracle_state o;
    dt_context *ctx;
    dt_update u;

    if (!update_open(backend, kind, &ctx, &u)) return;
    memset(&o, 0, sizeof o);
    for (int i = 0; i < COUNT; i++) o.w[i] = (double)first_weight(i);
    for (int step = 0; step < STEPS; step++) {
        oracle_step(&o, &u, step);
        take_step(ctx, &u, step, 1.0f);
        compare(ctx, &u, &o, step);
    }
    update_close(ctx, &u);
}

Test(optim, sgd_follows_its_formula)
{
    for (int b = 0; b < 2; b++) run(backends[b], DT_OPTIM_SGD);
}

Test(optim, adam_follows_its_formula)
{
    for (int b = 0; b < 2; b++) run(backends[b], DT_OPTIM_ADAM);
}

/* ---- the loss scale ---- */

static void set_scale(dt_context *ctx, float value, int clean)
{
    const dt_loss_scale scale = { .value = value, .clean = clean, .skipped = 5 };
    must(dt_device_write(ctx, &ctx->step->scale, &scale, sizeof scale));
}

static void check_scale(dt_context *ctx, float value, int clean, int skipped)
{
    dt_loss_scale s;
    must(dt_device_read(ctx, &s, &ctx->step->scale, sizeof s));
    cr_assert(s.value == value && s.clean == clean && s.skipped == skipped && s.overflow == 0,
              "%s: scale %g, clean %d, skipped %lld, overflow %d; expected %g, %d, %d, 0", ctx->backend->name,
              (double)s.value, s.clean, (long long)s.skipped, s.overflow, (double)value, clean, skipped);
}

/* A good step with this scale, then one whose gradient `at` is `bad`, which must leave parameters and moments alone;
 * then, with the smaller scale, a good one. */
static void overflow(const char *backend, dt_optim_kind kind, int at, float bad)
{
    static oracle_state o;
    static float before[3][COUNT], after[3][COUNT];
    dt_context *ctx;
    dt_update u;

    if (!update_open(backend, kind, &ctx, &u)) return;
    float *const state[3] = { u.w, u.m1, u.m2 ? u.m2 : u.m1 };
    u.scaled = 1;
    memset(&o, 0, sizeof o);
    for (int i = 0; i < COUNT; i++) o.w[i] = (double)first_weight(i);
    set_scale(ctx, 256.0f, 10);
    take_step(ctx, &u, 0, 256.0f);
    check_scale(ctx, 256.0f, 11, 5);
    for (int k = 0; k < 3; k++) must(dt_device_read(ctx, before[k], state[k], sizeof before[k]));
    must(dt_device_write(ctx, (float *)u.dw + at, &bad, sizeof bad));
    must(dt_context_update(ctx, &u));
    check_scale(ctx, 128.0f, 0, 6);
    for (int k = 0; k < 3; k++) must(dt_device_read(ctx, after[k], state[k], sizeof after[k]));
    cr_assert(memcmp(before, after, sizeof before) == 0, "%s: a step with %g at %d changed something", backend,
              (double)bad, at);
    take_step(ctx, &u, 1, 128.0f);
    for (int step = 0; step < 2; step++) oracle_step(&o, &u, step);
    compare(ctx, &u, &o, 1);
    update_close(ctx, &u);
}

Test(optim, a_step_that_overflows_is_skipped)
{
    static const int at[] = { 0, 16391, COUNT - 1 };
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int b = 0; b < 2; b++) {
        for (int k = 0; k < 3; k++) {
            overflow(backends[b], DT_OPTIM_SGD, at[k], bad[k]);
            overflow(backends[b], DT_OPTIM_ADAM, at[k], bad[k]);
        }
    }
}

/* value and clean before, whether the step overflows, and both after */
static const struct {
    float value;
    int clean, overflows;
    float next;
    int next_clean;
} scales[] = {
    { 4.0f, DT_SCALE_INTERVAL - 1, 0, 8.0f, 0 },
    { 4.0f, DT_SCALE_INTERVAL - 2, 0, 4.0f, DT_SCALE_INTERVAL - 1 },
    { 0x1p23f, DT_SCALE_INTERVAL - 1, 0, 0x1p24f, 0 },
    { 0x1p24f, DT_SCALE_INTERVAL - 1, 0, 0x1p24f, 0 },
    { 2.0f, 1999, 1, 1.0f, 0 },
    { 1.0f, 3, 1, 1.0f, 0 },
    { 1.0f, 1999, 0, 2.0f, 0 },
};

Test(optim, the_scale_grows_and_shrinks_within_limits)
{
    cr_assert(DT_SCALE_INTERVAL == 2000);
    for (int b = 0; b < 2; b++) {
        dt_context *ctx;
        dt_update u;
        if (!update_open(backends[b], DT_OPTIM_SGD, &ctx, &u)) continue;
        u.scaled = 1;
        for (size_t k = 0; k < sizeof scales / sizeof scales[0]; k++) {
            set_scale(ctx, scales[k].value, scales[k].clean);
            take_step(ctx, &u, (int)k, scales[k].overflows ? INFINITY : scales[k].value);
            check_scale(ctx, scales[k].next, scales[k].next_clean, 5 + scales[k].overflows);
        }
        update_close(ctx, &u);
    }
}
