/*
 * synthetic_draws.h - what the generators of signals share: draws, and shapes made of sums and products alone, so that
 *                     every machine gives the same bits.
 */
#ifndef DT_SYNTHETIC_DRAWS_H
#define DT_SYNTHETIC_DRAWS_H

#include "../core/rng.h"

/* Draws of one sample, one after the other. */
typedef struct {
    uint64_t seed, index; /* of the next four numbers */
    uint32_t epoch;
    dt_random4 four;
    int n_left;
} dt_draws;

enum { DT_DRAWS_OF_SAMPLE = 1 << 16 };

/* Begins the draws of a sample, of which there are DT_DRAWS_OF_SAMPLE times four. */
static inline dt_draws dt_draws_of(uint64_t seed, uint32_t epoch, int64_t sample)
{
    const dt_draws d = { .seed = seed, .epoch = epoch, .index = (uint64_t)sample * DT_DRAWS_OF_SAMPLE };
    return d;
}

static inline uint32_t dt_draw_word(dt_draws *d)
{
    if (d->n_left == 0) {
        d->four = dt_random(d->seed, DT_STREAM_SYNTHETIC, d->epoch, d->index++);
        d->n_left = 4;
    }
    return d->four.v[--d->n_left];
}

/* Returns a number from low to below high. */
static inline double dt_draw(dt_draws *d, double low, double high)
{
    return low + (high - low) * ((double)dt_draw_word(d) / 4294967296.0);
}

/* Returns noise of mean 0 and deviation 1: the sum of four bytes, which is close to a normal number. */
static inline double dt_draw_noise(dt_draws *d)
{
    const uint32_t w = dt_draw_word(d);
    const int sum = (int)(w & 255u) + (int)(w >> 8 & 255u) + (int)(w >> 16 & 255u) + (int)(w >> 24);
    return ((double)sum - 510.0) / 147.8; /* sqrt(4 (256^2 - 1) / 12) */
}

/* Returns a wave of period 1 and height 1 that is made of parabolas and looks like a sine. */
static inline double dt_wave(double phase)
{
    const double p = phase - (double)(int64_t)phase, u = 2.0 * (p < 0.0 ? p + 1.0 : p) - 1.0;
    return -4.0 * u * (1.0 - (u < 0.0 ? -u : u));
}

/* Returns a smooth bump of height 1 about `middle`, which is 0 from `width` on. */
static inline double dt_bump(double t, double middle, double width)
{
    const double u = (t - middle) / width, rest = 1.0 - u * u;
    return rest > 0.0 ? rest * rest : 0.0;
}

#endif /* DT_SYNTHETIC_DRAWS_H */
