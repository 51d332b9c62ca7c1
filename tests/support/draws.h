/*
 * draws.h - a test's random numbers: the same on every machine and with every C library.
 */
#ifndef DRAWS_H
#define DRAWS_H

#include "../../core/rng.h"

/* A sequence of its own for each seed; n counts what was drawn. */
typedef struct {
    uint64_t seed, n;
} draws;

/* 32 random bits. */
static inline uint32_t draw_bits(draws *d)
{
    return dt_random(d->seed, DT_STREAM_SYNTHETIC, 0, d->n++).v[0];
}

/* One of 0..below - 1. */
static inline int draw(draws *d, int below)
{
    return (int)dt_below(draw_bits(d), (uint32_t)below);
}

/* In [0, 1). */
static inline double draw_real(draws *d)
{
    return (double)dt_uniform(draw_bits(d));
}

#endif /* DRAWS_H */
