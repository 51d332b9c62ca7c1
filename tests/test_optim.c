/*
 * test_optim.c - SGD and Adam against their formulas in double, over ranges that share no settings.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/context.h"

enum { N_RANGES = 4, STEPS = 6 };

static const char *const backends[] = { "cpu", "cuda" };

/* odd sizes: a few, a block of 16,384 and one, many blocks, one */
static const dt_update_range ranges[N_RANGES] = {
    { .first = 0, .count = 7, .lr_factor = 1.0f, .weight_decay = 0.01f, .floor = -INFINITY },
    { .first = 7, .count = 16385, .lr_factor = 0.1f, .weight_decay = 0.0f, .floor = 0.25f },
    { .first = 16392, .count = 33333, .lr_factor = 1.0f, .weight_decay = 1e-4f, .floor = -INFINITY },
    { .first = 49725, .count = 1, .lr_factor = 0.0f, .weight_decay = 0.5f, .floor = -INFINITY },
};
enum { COUNT = 49726 };

typedef struct {
    double w[COUNT], m1[COUNT], m2[COUNT];
} oracle_state;

static float first_weight(int i)
{
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

static void take_step(dt_context *ctx, const dt_update *u, int step)
{
    static float dw[COUNT];
    const double b1 = pow((double)u->beta1, step + 1), b2 = pow((double)u->beta2, step + 1);
    const dt_step_in in = { .lr = (float)lr_of(step),
                            .adam_correct1 = (float)(1.0 / (1.0 - b1)),
                            .adam_correct2 = (float)(1.0 / (1.0 - b2)) };
    const dt_exec ex = dt_context_exec(ctx);
    for (int i = 0; i < COUNT; i++) dw[i] = gradient(i, step);
    must(dt_device_write(ctx, (float *)u->dw, dw, sizeof dw));
    must(dt_device_write(ctx, &ctx->step->in, &in, sizeof in));
    must(ctx->backend->update(u, &ex));
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

static void run(const char *backend, dt_optim_kind kind)
{
    static oracle_state o;
    const size_t bytes = COUNT * sizeof(float);
    dt_options opt;
    dt_context *ctx;
    void *range_device;
    dt_options_default(&opt);
    opt.backend = backend;
    if (dt_context_create(&opt, &ctx) == DT_ERR_UNSUPPORTED) return;

    must(dt_device_alloc(ctx, sizeof ranges, &range_device));
    must(dt_device_write(ctx, range_device, ranges, sizeof ranges));
    const dt_update u = { .kind = kind,
                          .momentum = 0.9f,
                          .beta1 = 0.9f,
                          .beta2 = 0.999f,
                          .epsilon = 1e-8f,
                          .w = device_values(ctx, first_weight),
                          .dw = device_values(ctx, NULL),
                          .m1 = device_values(ctx, NULL),
                          .m2 = kind == DT_OPTIM_ADAM ? device_values(ctx, NULL) : NULL,
                          .range = ranges,
                          .range_device = range_device,
                          .n_ranges = N_RANGES,
                          .count = COUNT };
    memset(&o, 0, sizeof o);
    for (int i = 0; i < COUNT; i++) o.w[i] = (double)first_weight(i);
    for (int step = 0; step < STEPS; step++) {
        oracle_step(&o, &u, step);
        take_step(ctx, &u, step);
        compare(ctx, &u, &o, step);
    }
    dt_device_free(ctx, u.w, bytes);
    dt_device_free(ctx, (float *)u.dw, bytes);
    dt_device_free(ctx, u.m1, bytes);
    dt_device_free(ctx, u.m2, bytes);
    dt_device_free(ctx, range_device, sizeof ranges);
    dt_context_destroy(ctx);
}

Test(optim, sgd_follows_its_formula)
{
    for (int b = 0; b < 2; b++) run(backends[b], DT_OPTIM_SGD);
}

Test(optim, adam_follows_its_formula)
{
    for (int b = 0; b < 2; b++) run(backends[b], DT_OPTIM_ADAM);
}
