/*
 * caps_hash.h - the parameters and images of caps_golden.txt, made anew in C; make_caps_golden.py has it in NumPy.
 *
 *   u(count, seed)[k - 1], k = 1..count:  h = (k * 2654435761 + seed * 40503) mod 2^32;  h ^= h >> 15;
 *       h = (h * 2246822519) mod 2^32;  h ^= h >> 13;  u = h / 2^32 - 1/2, rounded to f32
 */
#ifndef DT_CAPS_HASH_H
#define DT_CAPS_HASH_H

#include <stdint.h>

/* u(count, seed)[i] of any count > i; -1/2 to 1/2. */
static inline float caps_hash(int64_t i, int seed)
{
    uint32_t h = (uint32_t)(i + 1) * 2654435761u + (uint32_t)seed * 40503u;

    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return (float)(h / 4294967296.0 - 0.5);
}

/* values[i] = offset + scale * u(count, seed)[i], in f32: a `param` line of the file. Images: 0.5, 1, seed 9. */
static inline void caps_hash_fill(float *values, int64_t count, int seed, float offset, float scale)
{
    for (int64_t i = 0; i < count; i++) values[i] = offset + scale * caps_hash(i, seed);
}

#endif /* DT_CAPS_HASH_H */
