/*
 * test_rng.c - Philox4x32-10 against the known answers that its authors publish with Random123, and what we draw from
 * it.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "../../core/rng.h"

typedef struct {
    const char *why;
    uint32_t counter[4], key[2], want[4];
} known_answer;

static const known_answer answers[] = {
    { "zeros", { 0 }, { 0 }, { 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u } },
    { "ones",
      { 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu },
      { 0xffffffffu, 0xffffffffu },
      { 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu } },
    { "digits of pi",
      { 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u },
      { 0xa4093822u, 0x299f31d0u },
      { 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u } },
};

Test(rng, philox_gives_the_known_answers)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const known_answer *a = &answers[i];
        const uint32_t *c = a->counter;
        const dt_random4 r = dt_philox(a->key[0], a->key[1], c[0], c[1], c[2], c[3]);
        for (int k = 0; k < 4; k++) {
            cr_assert(r.v[k] == a->want[k], "%s: word %d is %08x, expected %08x", a->why, k, r.v[k], a->want[k]);
        }
    }
}

/* seed: the key, low word first; index, epoch, stream: the counter */
Test(rng, a_draw_is_philox_of_seed_index_epoch_and_stream)
{
    const dt_random4 r = dt_random(0x299f31d0a4093822u, (dt_stream)0x03707344, 0x13198a2eu, 0x85a308d3243f6a88u);
    for (int k = 0; k < 4; k++) cr_assert(r.v[k] == answers[2].want[k], "word %d is %08x", k, r.v[k]);
}

static int equal(dt_random4 a, dt_random4 b)
{
    return a.v[0] == b.v[0] && a.v[1] == b.v[1] && a.v[2] == b.v[2] && a.v[3] == b.v[3];
}

Test(rng, every_argument_counts)
{
    const dt_random4 r = dt_random(1, DT_STREAM_INIT, 2, 3);
    cr_assert(equal(r, dt_random(1, DT_STREAM_INIT, 2, 3)));
    cr_assert(!equal(r, dt_random(1 + (1ull << 32), DT_STREAM_INIT, 2, 3)), "high half of the seed");
    cr_assert(!equal(r, dt_random(1, DT_STREAM_SHUFFLE, 2, 3)), "stream");
    cr_assert(!equal(r, dt_random(1, DT_STREAM_INIT, 3, 3)), "epoch");
    cr_assert(!equal(r, dt_random(1, DT_STREAM_INIT, 2, 3 + (1ull << 32))), "high half of the index");
}

Test(rng, uniform_lies_in_0_to_below_1)
{
    double sum = 0.0;
    cr_assert(dt_uniform(0) == 0.0f && dt_uniform(0xffu) == 0.0f);
    cr_assert(dt_uniform(0xffffffffu) == nextafterf(1.0f, 0.0f));
    cr_assert(dt_uniform(0x80000000u) == 0.5f);
    enum { N = 10000 };
    for (uint32_t i = 0; i < N; i++) sum += (double)dt_uniform(dt_random(1, DT_STREAM_INIT, 0, i).v[i % 4]);
    /* five deviations of the mean of N uniform numbers */
    cr_assert(fabs(sum / N - 0.5) < 5.0 / sqrt(12.0 * N), "mean %g", sum / N);
}

Test(rng, below_stays_below_and_reaches_every_number)
{
    static const uint32_t n[] = { 1, 2, 3, 7, 10, 50000, 0x80000001u, 0xffffffffu };
    for (size_t k = 0; k < sizeof n / sizeof n[0]; k++) {
        cr_assert(dt_below(0, n[k]) == 0 && dt_below(0xffffffffu, n[k]) == n[k] - 1, "n = %u", n[k]);
    }
    int seen[7] = { 0 };
    for (uint32_t i = 0; i < 700; i++) {
        const uint32_t v = dt_below(dt_random(1, DT_STREAM_SHUFFLE, 0, i).v[0], 7);
        cr_assert(v < 7, "%u", v);
        seen[v]++;
    }
    /* 100 each, deviation 9.3 */
    for (int v = 0; v < 7; v++) cr_assert(seen[v] > 50 && seen[v] < 150, "%d came %d times", v, seen[v]);
}
