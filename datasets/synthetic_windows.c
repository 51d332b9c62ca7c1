/*
 * synthetic_windows.c - windows of six made-up activities, 100 values of six sensors (5 s at 20 Hz), from the seed.
 *
 *   x[t][a] = offset[c][a] + shift + gain * height[c][a] * (wave(f t + phase[c][a] + p) + 0.3 wave(2 f t + p)) + noise
 *
 * Activity c has a frequency, and for each sensor an offset, a height and a phase, which no seed changes. A window has
 * its own frequency, gain, shift of each sensor and phase; one of seven windows has a spike. Shifts are wide and
 * frequencies overlap, so that no small network tells all windows apart. Window i is of activity i % 6.
 * Tests: tests/datasets/test_synthetic_signals.c.
 */
#include "dataset.h"
#include "synthetic_draws.h"

enum { N_TRAIN = 6000, N_TEST = 2000, N_CLASSES = 6, TIMES = 100, SENSORS = 6, CLASS_EPOCH = 0, FIRST_EPOCH = 1 };

#define CLASS_SEED 12345
#define RATE       20.0 /* values a second */
#define JITTER     0.3
#define SHIFT      2.2
#define NOISE      1.2

typedef struct {
    double frequency;
    double offset[SENSORS], height[SENSORS], phase[SENSORS];
} activity;

static void make_activities(activity *all)
{
    static const double frequency[N_CLASSES] = { 0.4, 1.0, 1.8, 2.6, 0.0, 3.4 };

    for (int c = 0; c < N_CLASSES; c++) {
        dt_draws d = dt_draws_of(CLASS_SEED, CLASS_EPOCH, c);
        all[c].frequency = frequency[c];
        for (int a = 0; a < SENSORS; a++) {
            all[c].offset[a] = dt_draw(&d, -2.0, 2.0);
            all[c].height[a] = dt_draw(&d, 0.3, 2.0) * (frequency[c] > 0.0 ? 1.0 : 0.05);
            all[c].phase[a] = dt_draw(&d, 0.0, 1.0);
        }
    }
}

/* x: [TIMES][SENSORS] */
static void make_window(const activity *of, dt_draws *d, float *x)
{
    const double f = of->frequency * dt_draw(d, 1.0 - JITTER, 1.0 + JITTER) / RATE, p = dt_draw(d, 0.0, 1.0);

    for (int a = 0; a < SENSORS; a++) {
        const double offset = of->offset[a] + SHIFT * dt_draw_noise(d);
        const double height = of->height[a] * dt_draw(d, 0.4, 1.6);
        for (int t = 0; t < TIMES; t++) {
            const double wave = dt_wave(f * t + of->phase[a] + p) + 0.3 * dt_wave(2.0 * f * t + p);
            x[t * SENSORS + a] = (float)(offset + height * wave + NOISE * dt_draw_noise(d));
        }
    }
    if (dt_draw(d, 0.0, 7.0) >= 1.0) return;
    const int at = (int)dt_draw(d, 0.0, TIMES * SENSORS);
    const double spike = dt_draw(d, 8.0, 25.0);
    x[at] += (float)(dt_draw(d, 0.0, 1.0) < 0.5 ? -spike : spike);
}

dt_status dt_synthetic_windows_read(const dt_dataset_request *r, dt_dataset *d)
{
    const uint32_t epoch = FIRST_EPOCH + (uint32_t)r->split;
    activity all[N_CLASSES];

    DT_TRY(dt_dataset_reserve(r->source, r->split == DT_SPLIT_TRAIN ? N_TRAIN : N_TEST, d));
    make_activities(all);
    for (int64_t i = 0; i < d->n; i++) {
        dt_draws draws = dt_draws_of(r->seed, epoch, i);
        d->labels[i] = (int32_t)(i % N_CLASSES);
        make_window(&all[d->labels[i]], &draws, d->reals + i * TIMES * SENSORS);
    }
    return DT_OK;
}
