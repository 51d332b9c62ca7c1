/*
 * schedule.c - the learning rate of each step, and the order of an epoch's images.
 *
 *   constant     lr
 *   cosine       lr * (1 + cos(pi * steps done / steps of the run)) / 2
 *   step         lr * gamma^(number of step_epochs reached)
 *   exponential  lr * gamma^epoch
 *   decay        lr * decay_rate^(steps done / decay_steps), a real exponent: it falls a little with every step
 *   triangular   a straight line from lr * lr_begin to lr, which it reaches at the share `peak` of the run, and another
 *                one to lr * lr_end at the run's end
 *   one-cycle    half a cosine in place of each line
 *
 * Warm-up: all of it times (steps done + 1) / (warmup * steps of an epoch), as long as that is below 1.
 * Extension: behind the planned epochs cosine, triangular and one-cycle, which have an end, become a cosine over the
 * epochs of the extension, from lr * extend_lr to 0. The others go on as they were.
 *
 * Sources: cosine: Loshchilov, Hutter, "SGDR", ICLR 2017, eq. 5, one period, with the fractions of an epoch that it
 * asks for. The notebook steps once an epoch: over 150 epochs the two differ by less than 1.1 % of lr, and a run of a
 * few epochs still ends near 0. Warm-up: Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.2. One-cycle:
 * Smith, Topin, "Super-convergence", 2018; the momentum stays as it is.  Tests: tests/core/test_schedule.c.
 */
#include "../rng.h"
#include "trainer.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* From 1 at 0 to 0 at 1. */
static double half_cosine(double progress)
{
    return (1.0 + cos(pi * progress)) / 2.0;
}

/* The factor on lr of a schedule that rises to 1 and falls again. */
static double cycle(const dt_train_config *cfg, double progress)
{
    const double peak = (double)cfg->peak;
    const int rises = progress < peak || peak == 1.0;
    const double foot = (double)(rises ? cfg->lr_begin : cfg->lr_end);
    const double below = rises ? (peak - progress) / peak : (progress - peak) / (1.0 - peak);
    const double height = cfg->schedule == DT_SCHEDULE_ONE_CYCLE ? half_cosine(below) : 1.0 - below;

    return foot + (1.0 - foot) * height;
}

static double warmup_factor(const dt_train_config *cfg, int64_t step, int64_t steps_per_epoch)
{
    const double share = (double)(step + 1) / ((double)cfg->warmup * (double)steps_per_epoch);

    return cfg->warmup > 0.0f && share < 1.0 ? share : 1.0;
}

static int has_end(dt_schedule_kind kind)
{
    return kind == DT_SCHEDULE_COSINE || kind == DT_SCHEDULE_TRIANGULAR || kind == DT_SCHEDULE_ONE_CYCLE;
}

/* The factor on lr, without warm-up. */
static double schedule_factor(const dt_train_config *cfg, int64_t step, int64_t steps_per_epoch)
{
    const int64_t epoch = step / steps_per_epoch, planned = steps_per_epoch * cfg->epochs;
    const double progress = (double)step / (double)planned;
    int reached = 0;

    if (step >= planned && cfg->extend > 0 && has_end(cfg->schedule)) {
        return (double)cfg->extend_lr * half_cosine((double)(step - planned) / (double)(steps_per_epoch * cfg->extend));
    }
    switch (cfg->schedule) {
    case DT_SCHEDULE_CONSTANT: return 1.0;
    case DT_SCHEDULE_COSINE: return half_cosine(progress);
    case DT_SCHEDULE_EXPONENTIAL: return pow((double)cfg->gamma, (double)epoch);
    case DT_SCHEDULE_DECAY: return pow((double)cfg->decay_rate, (double)step / (double)cfg->decay_steps);
    case DT_SCHEDULE_TRIANGULAR:
    case DT_SCHEDULE_ONE_CYCLE: return cycle(cfg, progress < 1.0 ? progress : 1.0);
    case DT_SCHEDULE_STEP:
        for (int i = 0; i < 2; i++) reached += epoch >= cfg->step_epochs[i];
        return pow((double)cfg->gamma, reached);
    }
    return 1.0;
}

float dt_schedule_lr(const dt_train_config *cfg, int64_t step, int64_t steps_per_epoch)
{
    const double factor = schedule_factor(cfg, step, steps_per_epoch);

    return (float)((double)cfg->lr * factor * warmup_factor(cfg, step, steps_per_epoch));
}

/* Fisher and Yates, from the end; one Philox draw an image. */
void dt_shuffle(uint64_t seed, uint32_t epoch, int64_t n, int32_t *order)
{
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        const dt_random4 r = dt_random(seed, DT_STREAM_SHUFFLE, epoch, (uint64_t)i);
        const int64_t j = dt_below(r.v[0], (uint32_t)(i + 1));
        const int32_t keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
}
