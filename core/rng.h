/*
 * rng.h - Philox4x32-10 random numbers: a pure function of seed, stream and counter, so that there is no state to save.
 *
 * C, CUDA and the SIMT shim compile the same header. So CPU and GPU draw the same augmentations, and a run that was
 * stopped draws after resume what it would have drawn.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
 * Tests: tests/core/test_rng.c (the known-answer vectors published with the paper's Random123 library).
 */
#ifndef DT_RNG_H
#define DT_RNG_H

#include <stdint.h>

#ifdef __CUDACC__
#define DT_HD __host__ __device__
#else
#define DT_HD
#endif

/* What a number is for. No two purposes share a stream, so a new draw for one does not change the numbers of another.
 */
typedef enum {
    DT_STREAM_INIT = 1,
    DT_STREAM_SHUFFLE,
    DT_STREAM_AUGMENT,
    DT_STREAM_SYNTHETIC,
    DT_STREAM_ROUND,
    DT_STREAM_AFFINE,
    DT_STREAM_COLOUR,
    DT_STREAM_SEARCH
} dt_stream;

typedef struct {
    uint32_t v[4];
} dt_random4;

/* Returns four 32-bit numbers for a 64-bit key and a 128-bit counter. */
static inline DT_HD dt_random4 dt_philox(uint32_t key0, uint32_t key1, uint32_t c0, uint32_t c1, uint32_t c2,
                                         uint32_t c3)
{
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ key0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ key1;
        c3 = (uint32_t)p0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    const dt_random4 r = { { c0, c1, c2, c3 } };
    return r;
}

/* Returns four 32-bit numbers for an epoch and an index in one stream of a seed. */
static inline DT_HD dt_random4 dt_random(uint64_t seed, dt_stream stream, uint32_t epoch, uint64_t index)
{
    return dt_philox((uint32_t)seed, (uint32_t)(seed >> 32), (uint32_t)index, (uint32_t)(index >> 32), epoch,
                     (uint32_t)stream);
}

/* Returns a number that is uniform in [0, 1). It is made of the top 24 bits, so that each value is exact in f32. */
static inline DT_HD float dt_uniform(uint32_t bits)
{
    return (float)(bits >> 8) * (1.0f / 16777216.0f);
}

/* Returns an integer that is uniform in [0, n), n >= 1, with a bias below n / 2^32. */
static inline DT_HD uint32_t dt_below(uint32_t bits, uint32_t n)
{
    return (uint32_t)(((uint64_t)bits * n) >> 32);
}

#endif /* DT_RNG_H */
