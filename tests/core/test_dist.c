/*
 * test_dist.c - operations on all ranks: 2 to 5 processes on 127.0.0.1, against sums that are written out here. It runs
 * once more by TCP alone (DETENT_LINKS), with equal bits.
 */
#include "../support/ranks_here.h"

#include <math.h>
#include <stdint.h>

#include "../../core/dist/link.h"

static const int64_t counts[] = { 0, 1, 2, 3, 7, 33, 1000, 70001 };
enum { N_COUNTS = sizeof counts / sizeof counts[0], MOST = 70001 };

/* ---- what is gathered ---- */

static int gathers(dt_dist *d, void *user)
{
    const int rank = dt_dist_rank(d), size = dt_dist_size(d);
    const int32_t mine[3] = { rank, 10 * rank, -rank };
    int32_t all[3 * RANKS_MOST] = { 0 };
    (void)user;

    RANK_MUST(dt_dist_gather(d, "gather", mine, sizeof mine, all));
    for (int r = 0; r < size; r++) {
        RANK_SAYS(all[3 * r] == r && all[3 * r + 1] == 10 * r && all[3 * r + 2] == -r, "place %d holds %d %d %d", r,
                  all[3 * r], all[3 * r + 1], all[3 * r + 2]);
    }
    for (int who = -1; who < size; who++) {
        int flag = rank == who ? 7 : 0;
        RANK_MUST(dt_dist_any(d, "any", &flag));
        RANK_SAYS(flag == (who >= 0), "rank %d is the one with the flag, and any says %d", who, flag);
    }
    RANK_MUST(dt_dist_barrier(d, "barrier"));
    RANK_SAYS(strcmp(dt_dist_links(d), ranks_by_tcp() ? "TCP" : "shared memory") == 0, "%s", dt_dist_links(d));
    return 0;
}

Test(dist, every_rank_gets_what_all_have, .timeout = 120)
{
    for (int n = 2; n <= 5; n++) ranks_must(n, gathers, NULL);
}

/* Doubles are summed in the order of ranks: 1e16 + 1 - 1e16 tells the orders apart. */
static int sums_in_order(dt_dist *d, void *user)
{
    static const double term[5] = { 1e16, 1.0, -1e16, 0.5, 3.0 };
    const int rank = dt_dist_rank(d);
    double v[2] = { term[rank], rank + 1.0 }, expected[2] = { term[0], 1.0 };
    (void)user;

    for (int r = 1; r < dt_dist_size(d); r++) {
        expected[0] += term[r];
        expected[1] += r + 1.0;
    }
    RANK_MUST(dt_dist_sum(d, "sum", v, 2));
    RANK_SAYS(v[0] == expected[0] && v[1] == expected[1], "%.17g %.17g, expected %.17g %.17g", v[0], v[1], expected[0],
              expected[1]);
    return 0;
}

Test(dist, doubles_are_summed_in_the_order_of_ranks, .timeout = 120)
{
    for (int n = 2; n <= 5; n++) ranks_must(n, sums_in_order, NULL);
}

static int broadcasts(dt_dist *d, void *user)
{
    static unsigned char data[MOST * 8];
    (void)user;

    for (int k = 0; k < N_COUNTS; k++) {
        const size_t bytes = (size_t)counts[k] * 8;
        for (size_t i = 0; i < bytes; i++) data[i] = dt_dist_rank(d) == 0 ? (unsigned char)(i * 7 + i / 256) : 0;
        RANK_MUST(dt_dist_broadcast(d, "broadcast", data, bytes));
        for (size_t i = 0; i < bytes; i++) {
            RANK_SAYS(data[i] == (unsigned char)(i * 7 + i / 256), "byte %zu of %zu is %d", i, bytes, data[i]);
        }
    }
    return 0;
}

Test(dist, rank_0_is_heard_by_all, .timeout = 120)
{
    for (int n = 2; n <= 5; n++) ranks_must(n, broadcasts, NULL);
}

/* ---- large sums ---- */

static float value_of(int rank, int64_t i)
{
    return sinf((float)(i * 13 + rank * 101)) * (1.0f + (float)(i % 11));
}

/* Piece c begins with rank c and adds c + 1, c + 2, ... */
static float sum_of(int size, int64_t n, int64_t i)
{
    int c = 0;

    while (i >= n * (c + 1) / size) c++;
    float sum = value_of(c, i);
    for (int k = 1; k < size; k++) sum = value_of((c + k) % size, i) + sum;
    return sum;
}

static int sums_floats(dt_dist *d, void *user)
{
    static float v[MOST];
    const int rank = dt_dist_rank(d), size = dt_dist_size(d);
    (void)user;

    for (int k = 0; k < N_COUNTS; k++) {
        const int64_t n = counts[k];
        for (int64_t i = 0; i < n; i++) v[i] = value_of(rank, i);
        RANK_MUST(dt_dist_sum_floats(d, "floats", v, n));
        for (int64_t i = 0; i < n; i++) {
            const float expected = sum_of(size, n, i);
            RANK_SAYS(v[i] == expected, "%d ranks: sum %lld of %lld is %.9g, expected %.9g", size, (long long)i,
                      (long long)n, (double)v[i], (double)expected);
        }
    }
    return 0;
}

/* With ==: the order of the sums is a function of the number of ranks and of values, on every rank and in every run. */
Test(dist, floats_are_summed_round_the_ring, .timeout = 120)
{
    for (int n = 2; n <= 5; n++) ranks_must(n, sums_floats, NULL);
}

/* A share begins where a unit does: of 1 value, which is where a piece begins, of a few, or of more than there are. */
static const int64_t units[] = { 1, 7, 4096, MOST };
enum { N_UNITS = sizeof units / sizeof units[0] };

static int sums_shares(dt_dist *d, void *user)
{
    enum { before = 5 }; /* values that are not concerned */
    static float v[MOST + before];
    const int rank = dt_dist_rank(d), size = dt_dist_size(d), share = dt_dist_share(d);
    int64_t at[RANKS_MOST + 1];
    (void)user;

    for (int k = 0; k < N_COUNTS * N_UNITS; k++) {
        const int64_t n = counts[k / N_UNITS], unit = units[k % N_UNITS];
        for (int c = 0; c < size; c++) at[c] = before + n * c / size / unit * unit;
        at[size] = before + n;
        for (int64_t i = 0; i < n; i++) v[before + i] = value_of(rank, i);
        RANK_MUST(dt_dist_sum_shares(d, "shares", v, at));
        for (int64_t i = before; i < before + n; i++) {
            if (i < at[share] || i >= at[share + 1]) v[i] = NAN;
        }
        RANK_MUST(dt_dist_spread_shares(d, "shares", v, at));
        for (int64_t i = 0; i < n; i++) {
            const float expected = sum_of(size, n, i);
            RANK_SAYS(v[before + i] == expected, "%d ranks, unit %lld: sum %lld of %lld is %.9g, expected %.9g", size,
                      (long long)unit, (long long)i, (long long)n, (double)v[before + i], (double)expected);
        }
    }
    at[1] = at[size];
    RANK_SAYS(dt_dist_sum_shares(d, "shares", v, at) == DT_ERR_ARGUMENT, "a share that begins too late");
    return 0;
}

/* The sums have the bits of a sum that all ranks have, wherever shares begin. */
Test(dist, floats_are_summed_in_shares, .timeout = 120)
{
    for (int n = 2; n <= 5; n++) ranks_must(n, sums_shares, NULL);
}

/* ---- agreement ---- */

static int disagrees(dt_dist *d, void *user)
{
    const char *mine = dt_dist_rank(d) == 1 ? "seed 7\nlr 0.1\nbatch 32\n" : "seed 7\nlr 0.01\nbatch 32\n";
    (void)user;

    RANK_MUST(dt_dist_agree(d, "options", "seed 7\nlr 0.01\n"));
    const dt_status status = dt_dist_agree(d, "options", mine);
    char text[512];
    snprintf(text, sizeof text, "%s", dt_last_error());
    if (dt_dist_rank(d) != 1) { /* its failure ends the others' wait */
        RANK_SAYS(status == DT_ERR_COMM && strstr(text, "rank 1 on ") && strstr(text, "'lr 0.1'"), "%s", text);
        return 0;
    }
    RANK_SAYS(status == DT_ERR_ARGUMENT, "%s", dt_status_name(status));
    RANK_SAYS(strstr(text, "rank 1 has 'lr 0.1', rank 0 on ") && strstr(text, "has 'lr 0.01'"), "%s", text);
    dt_dist_close(d, text);
    _exit(0);
}

Test(dist, a_difference_is_named_with_both_values, .timeout = 120)
{
    ranks_must(3, disagrees, NULL);
}

/* ---- alone ---- */

static void check_alone(dt_dist *d)
{
    int flag = 3;
    double v = 2.5;
    float f = 3.5f;
    char copy = 0;

    cr_assert(dt_dist_rank(d) == 0 && dt_dist_size(d) == 1 && dt_dist_ended_by_rank(d) == -1);
    cr_assert(dt_dist_barrier(d, "x") == DT_OK && dt_dist_any(d, "x", &flag) == DT_OK && flag == 1);
    cr_assert(dt_dist_sum(d, "x", &v, 1) == DT_OK && v == 2.5);
    cr_assert(dt_dist_sum_floats(d, "x", &f, 1) == DT_OK && f == 3.5f);
    cr_assert(dt_dist_sum_shares(d, "x", &f, (int64_t[]){ 0, 1 }) == DT_OK && f == 3.5f && dt_dist_share(d) == 0);
    cr_assert(dt_dist_spread_shares(d, "x", &f, (int64_t[]){ 0, 1 }) == DT_OK && f == 3.5f);
    cr_assert(dt_dist_gather(d, "x", "a", 1, &copy) == DT_OK && copy == 'a');
    cr_assert(dt_dist_broadcast(d, "x", &copy, 1) == DT_OK && dt_dist_agree(d, "x", "y") == DT_OK);
    dt_dist_wait_begin(d, "x");
    cr_assert(dt_dist_check(d) == DT_OK);
    dt_dist_wait_end(d);
    dt_dist_close(d, "nothing");
}

Test(dist, without_others_operations_do_nothing)
{
    const dt_dist_options one = { .rank = 0, .size = 1, .listener = -1, .timeout = 60.0 };
    dt_dist *d = NULL;

    check_alone(NULL);
    cr_assert(dt_dist_open(&one, &d) == DT_OK, "%s", dt_last_error());
    check_alone(d);
}

Test(dist, options_out_of_range_are_refused)
{
    const dt_dist_options good = {
        .rank = 1, .size = 2, .port = 1, .listener = -1, .secret = RANK_SECRET, .timeout = 1.0
    };
    dt_dist_options bad[5] = { good, good, good, good, good };
    dt_dist *d = NULL;

    bad[0].rank = 2;
    bad[1].size = 1;
    bad[2].port = 0;
    bad[3].timeout = 0.5;
    bad[4].secret = "too short";
    for (int i = 0; i < 5; i++) {
        cr_assert(dt_dist_open(&bad[i], &d) == DT_ERR_ARGUMENT, "%d: %s", i, dt_last_error());
    }
    cr_assert(d == NULL);
}
