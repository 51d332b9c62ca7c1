/*
 * test_schedule.c - learning rates of each epoch, and the order of its images.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/train/trainer.h"

static dt_train_config config(dt_schedule_kind kind)
{
    dt_train_config c;
    dt_train_config_default(NULL, &c);
    c.schedule = kind;
    c.lr = 0.1f;
    c.epochs = 10;
    c.gamma = 0.5f;
    c.step_epochs[0] = 3;
    c.step_epochs[1] = 7;
    return c;
}

enum { STEPS_PER_EPOCH = 7 };

/* at the begin of an epoch */
static float lr_of(const dt_train_config *c, int epoch)
{
    return dt_schedule_lr(c, (int64_t)epoch * STEPS_PER_EPOCH, STEPS_PER_EPOCH);
}

static void near(const dt_train_config *c, int epoch, double want)
{
    const double got = (double)lr_of(c, epoch);
    cr_assert(fabs(got - want) <= 1e-7 * 0.1, "epoch %d: lr is %.9g, expected %.9g", epoch, got, want);
}

Test(schedule, constant)
{
    const dt_train_config c = config(DT_SCHEDULE_CONSTANT);
    for (int e = 0; e < 12; e++) cr_assert(lr_of(&c, e) == 0.1f);
}

Test(schedule, cosine)
{
    const dt_train_config c = config(DT_SCHEDULE_COSINE);
    cr_assert(lr_of(&c, 0) == 0.1f);
    near(&c, 5, 0.05);
    near(&c, 10, 0.0);
    near(&c, 1, 0.0975528258147577); /* 0.1 (1 + cos 18 degrees) / 2 */
    for (int e = 1; e <= 10; e++) cr_assert(lr_of(&c, e) < lr_of(&c, e - 1), "epoch %d", e);
}

Test(schedule, only_some_fall_within_an_epoch)
{
    for (int kind = DT_SCHEDULE_CONSTANT; kind <= DT_SCHEDULE_ONE_CYCLE; kind++) {
        dt_train_config c = config((dt_schedule_kind)kind);
        c.peak = 0.1f; /* before these steps */
        const int falls = kind != DT_SCHEDULE_CONSTANT && kind != DT_SCHEDULE_STEP && kind != DT_SCHEDULE_EXPONENTIAL;
        const float begin = dt_schedule_lr(&c, 14, STEPS_PER_EPOCH), end = dt_schedule_lr(&c, 20, STEPS_PER_EPOCH);
        cr_assert(falls ? end < begin : end == begin, "schedule %d: %g, then %g", kind, (double)begin, (double)end);
    }
    const dt_train_config c = config(DT_SCHEDULE_COSINE);
    const double want = 0.1 * (1.0 + cos(3.14159265358979323846 * 17.0 / 70.0)) / 2.0;
    cr_assert(fabs((double)dt_schedule_lr(&c, 17, STEPS_PER_EPOCH) - want) <= 1e-8);
}

Test(schedule, step)
{
    const dt_train_config c = config(DT_SCHEDULE_STEP);
    static const double want[] = { 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025 };
    for (int e = 0; e < 10; e++) near(&c, e, want[e]);
}

Test(schedule, exponential)
{
    const dt_train_config c = config(DT_SCHEDULE_EXPONENTIAL);
    for (int e = 0; e < 10; e++) near(&c, e, 0.1 / (double)(1 << e));
}

/* lr is a float near 0.1: half a unit in its last place is 3.7e-9. */
static void near_at(const dt_train_config *c, int64_t step, double want)
{
    static const int64_t steps_per_epoch[] = { 1, 7, 1000000 }; /* epochs change nothing */
    for (int i = 0; i < 3; i++) {
        const double got = (double)dt_schedule_lr(c, step, steps_per_epoch[i]);
        cr_assert(fabs(got - want) <= 5e-9, "step %lld: lr is %.9g, expected %.9g", (long long)step, got, want);
    }
}

Test(schedule, decay)
{
    dt_train_config c = config(DT_SCHEDULE_DECAY);
    c.decay_steps = 2000;
    c.decay_rate = 0.5f;
    near_at(&c, 0, 0.1);
    near_at(&c, 1, 0.0999653486459409);    /* 0.1 / the 2000th root of 2 */
    near_at(&c, 500, 0.0840896415253715);  /* 0.1 / the fourth root of 2 */
    near_at(&c, 1000, 0.0707106781186548); /* 0.1 / the root of 2: a staircase would still be at 0.1 */
    near_at(&c, 2000, 0.05);
    near_at(&c, 20000, 0.1 / 1024.0);
    c.decay_rate = 0.96f;
    near_at(&c, 1000, 0.0979795897113271); /* 0.1 times the root of 0.96 */
    c.decay_rate = 1.0f;
    near_at(&c, 12345, 0.1);
}

/* ---- rates that rise: want is worked out by hand for a run of 70 steps ---- */

typedef struct {
    const char *why;
    int64_t step;
    double want;
} rate;

static void rates(const dt_train_config *c, const rate *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double got = (double)dt_schedule_lr(c, r[i].step, STEPS_PER_EPOCH);
        /* half a unit in the last place of a float below 0.1, and peak, which is a float too */
        cr_assert(fabs(got - r[i].want) <= 1e-8, "%s: lr of step %lld is %.9g, expected %.9g", r[i].why,
                  (long long)r[i].step, got, r[i].want);
    }
}

Test(schedule, triangular)
{
    static const rate want[] = {
        { "begins at a fifth", 0, 0.02 },
        { "half way up", 7, 0.06 },
        { "the peak, after a fifth", 14, 0.1 },
        { "half way down", 42, 0.055 },
        { "a step before the end", 69, 0.01 + 0.09 / 56.0 },
        { "the end, and beyond", 70, 0.01 },
        { "beyond", 84, 0.01 },
    };
    dt_train_config c = config(DT_SCHEDULE_TRIANGULAR);
    c.peak = 0.2f;
    c.lr_begin = 0.2f;
    c.lr_end = 0.1f;
    rates(&c, want, sizeof want / sizeof want[0]);
    c.peak = 0.0f;
    cr_assert(dt_schedule_lr(&c, 0, STEPS_PER_EPOCH) == 0.1f, "a peak at the begin");
    c.peak = 1.0f;
    cr_assert(dt_schedule_lr(&c, 70, STEPS_PER_EPOCH) == 0.1f, "a peak at the end");
}

Test(schedule, one_cycle)
{
    static const rate want[] = {
        { "begins at a fifth", 0, 0.02 },
        { "half way up", 7, 0.06 },
        { "a quarter of the way down: 0.01 + 0.09 (1 + cos 45 degrees) / 2", 28, 0.0868198051533946 },
        { "the peak", 14, 0.1 },
        { "half way down", 42, 0.055 },
        { "the end", 70, 0.01 },
    };
    dt_train_config c = config(DT_SCHEDULE_ONE_CYCLE);
    c.peak = 0.2f;
    c.lr_begin = 0.2f;
    c.lr_end = 0.1f;
    rates(&c, want, sizeof want / sizeof want[0]);
}

Test(schedule, warmup_rises_to_the_schedule)
{
    static const rate want[] = {
        { "the first step is not 0", 0, 0.01 }, { "a line", 4, 0.05 },
        { "the last step of it", 9, 0.1 },      { "the schedule's own, an epoch before its step", 13, 0.1 },
        { "the schedule's own", 21, 0.05 },
    };
    dt_train_config c = config(DT_SCHEDULE_STEP);
    c.warmup = 10.0f / 7.0f; /* ten steps */
    rates(&c, want, sizeof want / sizeof want[0]);
    c.schedule = DT_SCHEDULE_COSINE;
    const double factor = (double)dt_schedule_lr(&c, 4, STEPS_PER_EPOCH);
    c.warmup = 0.0f;
    cr_assert(fabs(factor - 0.5 * (double)dt_schedule_lr(&c, 4, STEPS_PER_EPOCH)) <= 1e-8, "of a cosine");
}

Test(schedule, an_extension_is_a_cosine_of_its_own)
{
    static const rate want[] = {
        { "before it nothing changes", 35, 0.05 },
        { "its begin", 70, 0.02 },
        { "its middle", 77, 0.01 },
        { "its end", 84, 0.0 },
    };
    dt_train_config c = config(DT_SCHEDULE_COSINE);
    c.extend = 2;
    c.extend_lr = 0.2f;
    rates(&c, want, sizeof want / sizeof want[0]);
    c.schedule = DT_SCHEDULE_EXPONENTIAL;
    near(&c, 10, 0.1 / 1024.0);
    near(&c, 11, 0.1 / 2048.0);
}

static int32_t *shuffled(uint64_t seed, uint32_t epoch, int64_t n)
{
    int32_t *order = malloc((size_t)n * sizeof *order);
    dt_shuffle(seed, epoch, n, order);
    return order;
}

Test(schedule, an_order_is_a_permutation)
{
    static const int64_t sizes[] = { 1, 2, 7, 1000 };
    for (int k = 0; k < 4; k++) {
        const int64_t n = sizes[k];
        char *seen = calloc((size_t)n, 1);
        int32_t *order = shuffled(1, 0, n);
        for (int64_t i = 0; i < n; i++) {
            cr_assert(order[i] >= 0 && order[i] < n && !seen[order[i]], "n %lld: %d at %lld", (long long)n, order[i],
                      (long long)i);
            seen[order[i]] = 1;
        }
        free(seen);
        free(order);
    }
}

Test(schedule, an_order_depends_on_seed_and_epoch_alone)
{
    enum { N = 1000 };
    int32_t *a = shuffled(1, 3, N), *again = shuffled(1, 3, N), *epoch = shuffled(1, 4, N), *seed = shuffled(2, 3, N);
    cr_assert(memcmp(a, again, N * sizeof *a) == 0);
    cr_assert(memcmp(a, epoch, N * sizeof *a) != 0 && memcmp(a, seed, N * sizeof *a) != 0);
    free(a);
    free(again);
    free(epoch);
    free(seed);
}

/* Each image comes to each of three thirds about equally often: 1000 epochs, 333 each, deviation 15. */
Test(schedule, an_order_has_no_favourites)
{
    int thirds[9][3] = { { 0 } };
    for (uint32_t epoch = 0; epoch < 1000; epoch++) {
        int32_t order[9];
        dt_shuffle(5, epoch, 9, order);
        for (int i = 0; i < 9; i++) thirds[order[i]][i / 3]++;
    }
    for (int i = 0; i < 9; i++) {
        for (int t = 0; t < 3; t++) cr_assert(abs(thirds[i][t] - 333) < 75, "image %d: %d", i, thirds[i][t]);
    }
}
