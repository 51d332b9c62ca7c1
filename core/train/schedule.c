/*
 * schedule.c - the learning rate of each step, and the order of an epoch's images.
 *
 *   constant     lr
 *   cosine       lr * (1 + cos(pi * steps done / steps of the run)) / 2
 *   step         lr * gamma^(number of step_epochs reached)
 *   exponential  lr * gamma^epoch
 *   decay        lr * decay_rate^(steps done / decay_steps), a real exponent: it falls a little with every step
 *
 * Source of the cosine: Loshchilov, Hutter, "SGDR", ICLR 2017, eq. 5, one period, with the fractions of an epoch that
 * it asks for. The notebook steps once an epoch: over 150 epochs the two differ by less than 1.1 % of lr, and a run of
 * a few epochs still ends near 0.  Tests: tests/core/test_schedule.c.
 */
#include "../rng.h"
#include "trainer.h"

#include <math.h>

float dt_schedule_lr(const dt_train_config *cfg, int64_t step, int64_t steps_per_epoch)
{
    const double pi = 3.14159265358979323846;
    const double lr = (double)cfg->lr;
    const int64_t epoch = step / steps_per_epoch;
    const double progress = (double)step / ((double)steps_per_epoch * cfg->epochs);
    int reached = 0;

    switch (cfg->schedule) {
    case DT_SCHEDULE_CONSTANT: return cfg->lr;
    case DT_SCHEDULE_COSINE: return (float)(lr * (1.0 + cos(pi * progress)) / 2.0);
    case DT_SCHEDULE_EXPONENTIAL: return (float)(lr * pow((double)cfg->gamma, (double)epoch));
    case DT_SCHEDULE_DECAY: return (float)(lr * pow((double)cfg->decay_rate, (double)step / (double)cfg->decay_steps));
    case DT_SCHEDULE_STEP:
        for (int i = 0; i < 2; i++) reached += epoch >= cfg->step_epochs[i];
        return (float)(lr * pow((double)cfg->gamma, reached));
    }
    return cfg->lr;
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
