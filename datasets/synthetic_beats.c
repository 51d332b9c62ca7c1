/*
 * synthetic_beats.c - made-up ECGs of 12 leads, 10 s at 100 Hz, with five labels that are independent of each other,
 * from the seed.
 *
 *   fast     the heart beats faster          wide   the main wave of a beat is wider
 *   raised   what follows it does not fall to the base line     turned   the last wave points the other way
 *   large    all waves are larger
 *
 * A label is there with probability 0.35. Rates, widths and heights of records with and without a label overlap, and
 * noise and a drifting base line hide the small waves, so that no network tells all labels. How strong a lead shows
 * each wave is the same for all seeds. Tests: tests/datasets/test_synthetic_signals.c.
 */
#include "dataset.h"
#include "synthetic_draws.h"

enum { N_TRAIN = 2000, N_TEST = 500, N_LABELS = 5, TIMES = 1000, LEADS = 12, LEAD_EPOCH = 0, FIRST_EPOCH = 1 };
enum { FAST, WIDE, RAISED, TURNED, LARGE };

#define LEAD_SEED 54321
#define RATE      100.0 /* values a second */
#define SHARE     0.35
#define NOISE     0.25
#define DRIFT     0.3

/* Of one record. */
typedef struct {
    double period, width, gain, after, last; /* seconds; heights */
} beat;

static beat draw_beat(dt_draws *d, const int32_t *label)
{
    beat b;

    b.period = 1.0 / (dt_draw(d, 0.8, 1.5) * (label[FAST] ? 1.45 : 1.0));
    b.width = dt_draw(d, 0.03, 0.06) * (label[WIDE] ? 1.7 : 1.0);
    b.after = (label[RAISED] ? 0.25 : 0.0) + dt_draw(d, -0.12, 0.12);
    b.last = (label[TURNED] ? -1.0 : 1.0) * dt_draw(d, 0.1, 1.3);
    b.gain = dt_draw(d, 0.7, 1.3) * (label[LARGE] ? 1.5 : 1.0);
    return b;
}

/* Adds a beat whose main wave is at second `at`; x: [TIMES][LEADS]. */
static void add_beat(const beat *b, double at, const double *lead, const double *lead_last, float *x)
{
    const int from = (int)((at - 0.2) * RATE), to = (int)((at + 0.5) * RATE);

    for (int t = from < 0 ? 0 : from; t < to && t < TIMES; t++) {
        const double s = t / RATE;
        const double main = dt_bump(s, at, 2.0 * b->width) - 0.25 * dt_bump(s, at + 2.0 * b->width, 2.0 * b->width);
        const double after = dt_bump(s, at + 0.14, 0.1), last = dt_bump(s, at + 0.28, 0.12);
        for (int a = 0; a < LEADS; a++) {
            const double side = lead[a] < 0.0 ? -1.0 : 1.0;
            x[t * LEADS + a] +=
                (float)(b->gain * (lead[a] * main + side * b->after * after + lead_last[a] * b->last * last));
        }
    }
}

static void make_record(dt_draws *d, const int32_t *label, const double *lead, const double *lead_last, float *x)
{
    const beat b = draw_beat(d, label);

    for (int i = 0; i < TIMES * LEADS; i++) x[i] = 0.0f;
    for (double at = dt_draw(d, 0.0, b.period); at < TIMES / RATE; at += b.period * dt_draw(d, 0.94, 1.06)) {
        add_beat(&b, at, lead, lead_last, x);
    }
    for (int a = 0; a < LEADS; a++) {
        const double p = dt_draw(d, 0.0, 1.0), f = dt_draw(d, 0.15, 0.4) / RATE;
        for (int t = 0; t < TIMES; t++)
            x[t * LEADS + a] += (float)(DRIFT * dt_wave(f * t + p) + NOISE * dt_draw_noise(d));
    }
}

dt_status dt_synthetic_beats_read(const dt_dataset_request *r, dt_dataset *d)
{
    const uint32_t epoch = FIRST_EPOCH + (uint32_t)r->split;
    dt_draws leads = dt_draws_of(LEAD_SEED, LEAD_EPOCH, 0);
    double lead[LEADS], lead_last[LEADS];

    DT_TRY(dt_dataset_reserve(r->source, r->split == DT_SPLIT_TRAIN ? N_TRAIN : N_TEST, d));
    for (int a = 0; a < LEADS; a++) {
        lead[a] = dt_draw(&leads, -1.0, 1.4);
        lead_last[a] = dt_draw(&leads, 0.1, 0.5);
    }
    for (int64_t i = 0; i < d->n; i++) {
        dt_draws draws = dt_draws_of(r->seed, epoch, i);
        int32_t *label = d->labels + i * N_LABELS;
        for (int l = 0; l < N_LABELS; l++) label[l] = dt_draw(&draws, 0.0, 1.0) < SHARE;
        make_record(&draws, label, lead, lead_last, d->reals + i * TIMES * LEADS);
    }
    return DT_OK;
}
