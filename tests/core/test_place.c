/*
 * test_place.c - placement of buffers in one block: what is alive together never overlaps, and what is not shares room.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "../../core/align.h"
#include "../../core/tape/place.h"
#include "../../core/rng.h"

static size_t place(dt_buffer *buffer, int n)
{
    size_t total = 0;
    cr_assert(dt_place_buffers(buffer, n, &total) == DT_OK);
    return total;
}

enum { ALIGN = 256, MOST = 80, TIMES = 60 };

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static int alive_together(const dt_buffer *a, const dt_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static void check_places(const dt_buffer *b, int n, size_t total)
{
    size_t end = 0;
    for (int i = 0; i < n; i++) {
        cr_assert(b[i].offset % ALIGN == 0, "buffer %d at %zu", i, b[i].offset);
        if (b[i].offset + rounded(b[i].bytes) > end) end = b[i].offset + rounded(b[i].bytes);
        for (int j = 0; j < i; j++) {
            const int apart = b[i].offset + b[i].bytes <= b[j].offset || b[j].offset + b[j].bytes <= b[i].offset;
            cr_assert(!alive_together(&b[i], &b[j]) || apart, "%d (%zu at %zu) and %d (%zu at %zu) overlap", i,
                      b[i].bytes, b[i].offset, j, b[j].bytes, b[j].offset);
        }
    }
    cr_assert(total == end, "the block has %zu bytes, its buffers end at %zu", total, end);
}

/* The most bytes that are alive at one time: no placement takes less. */
static size_t least(const dt_buffer *b, int n)
{
    size_t most = 0;
    for (int t = 0; t < TIMES; t++) {
        size_t alive = 0;
        for (int i = 0; i < n; i++) alive += b[i].first <= t && t <= b[i].last ? rounded(b[i].bytes) : 0;
        if (alive > most) most = alive;
    }
    return most;
}

/* sizes often equal and often not multiples of the alignment */
static int random_buffers(uint32_t seed, dt_buffer *b)
{
    const int n = 1 + (int)dt_below(dt_random(seed, DT_STREAM_INIT, 0, 0).v[0], MOST);
    for (int i = 0; i < n; i++) {
        const dt_random4 r = dt_random(seed, DT_STREAM_INIT, 1, (uint64_t)i);
        const int first = (int)dt_below(r.v[0], TIMES);
        const int length = (int)dt_below(r.v[1], r.v[3] % 4 ? 5 : TIMES);
        b[i] = (dt_buffer){ .bytes = 1 + dt_below(r.v[2], 5) * 700 + (r.v[3] >> 8) % 2 * 13,
                            .first = first,
                            .last = first + length < TIMES ? first + length : TIMES - 1 };
    }
    return n;
}

Test(place, random_lifetimes_never_overlap)
{
    size_t sum_total = 0, sum_least = 0;
    for (uint32_t seed = 0; seed < 200; seed++) {
        dt_buffer b[MOST], again[MOST];
        const int n = random_buffers(seed, b);
        memcpy(again, b, sizeof again);
        const size_t total = place(b, n);
        check_places(b, n, total);
        cr_assert(total >= least(b, n), "%zu bytes, %zu are alive together", total, least(b, n));
        cr_assert(place(again, n) == total && memcmp(b, again, (size_t)n * sizeof *b) == 0, "seed %u: two placements",
                  seed);
        sum_total += total;
        sum_least += least(b, n);
    }
    /* greedy by size comes close to the bound; placing in order of time would not */
    cr_assert(sum_total * 10 < sum_least * 11, "%zu bytes where %zu could do", sum_total, sum_least);
}

Test(place, a_chain_needs_two_buffers)
{
    dt_buffer b[20];
    for (int i = 0; i < 20; i++) b[i] = (dt_buffer){ .bytes = 1024, .first = i, .last = i + 1 };
    cr_assert(place(b, 20) == 2048);
}

/* the last time counts as alive: neighbours that touch at one time do not share */
Test(place, lifetimes_include_both_ends)
{
    dt_buffer touch[2] = { { .bytes = 256, .first = 0, .last = 3 }, { .bytes = 256, .first = 3, .last = 5 } };
    dt_buffer apart[2] = { { .bytes = 256, .first = 0, .last = 3 }, { .bytes = 256, .first = 4, .last = 5 } };
    cr_assert(place(touch, 2) == 512);
    cr_assert(place(apart, 2) == 256);
}

Test(place, small_buffers_fill_the_gaps_of_large_ones)
{
    /* the large one leaves; two that outlive it and a late one fit where it was */
    dt_buffer b[4] = { { .bytes = 4096, .first = 0, .last = 1 },
                       { .bytes = 256, .first = 1, .last = 4 },
                       { .bytes = 2048, .first = 2, .last = 3 },
                       { .bytes = 2000, .first = 3, .last = 4 } };
    cr_assert(place(b, 4) == 4096 + 256, "%zu", b[1].offset);
    check_places(b, 4, 4096 + 256);
}

Test(place, nothing_takes_no_room)
{
    cr_assert(place(NULL, 0) == 0);
}

Test(place, sizes_are_rounded_up)
{
    static const size_t rows[][3] = { { 0, 64, 0 },    { 1, 64, 64 },     { 63, 64, 64 }, { 64, 64, 64 },
                                      { 65, 64, 128 }, { 257, 256, 512 }, { 7, 1, 7 },    { 10, 3, 12 } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const size_t got = dt_round_up(rows[i][0], rows[i][1]);
        cr_assert(got == rows[i][2], "%zu to a multiple of %zu is %zu, not %zu", rows[i][0], rows[i][1], rows[i][2],
                  got);
    }
}
