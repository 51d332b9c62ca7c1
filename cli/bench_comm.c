/*
 * bench_comm.c - `detent bench-comm`: what the links between ranks give.
 *
 *   latency    seconds of a barrier: size - 1 turns of the ring
 *   sum        seconds of a sum of n floats over all ranks, in place
 *   bandwidth  2 (size - 1) / size * bytes / seconds: what each link carries in each direction. Source: nccl-tests,
 *              doc/PERFORMANCE.md, whose "bus bandwidth" it is
 *
 * The first sum is of small integers and is compared with ==, before anything is timed.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_RUNS = 20, MOST_FLOATS = 1 << 24, LEAST_FLOATS = 1 << 8 };

typedef struct {
    double least, median;
} timing;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static timing timing_of(double seconds[N_RUNS])
{
    qsort(seconds, N_RUNS, sizeof *seconds, by_size);
    return (timing){ seconds[0], (seconds[N_RUNS / 2 - 1] + seconds[N_RUNS / 2]) / 2.0 };
}

/* Value i of rank r is i % 1000 + r: the sums are below 2^24, exact in any order. */
static dt_status check_sums(dt_dist *d, float *v, int64_t n)
{
    const int ranks = dt_dist_size(d);

    for (int64_t i = 0; i < n; i++) v[i] = (float)(i % 1000 + dt_dist_rank(d));
    DT_TRY(dt_dist_sum_floats(d, "checking sums", v, n));
    for (int64_t i = 0; i < n; i++) {
        const float expected = (float)(ranks * (i % 1000) + ranks * (ranks - 1) / 2);
        DT_CHECK(v[i] == expected, DT_ERR_NUMERIC, "value %lld of %lld sums over %d ranks is %g, expected %g",
                 (long long)i, (long long)n, ranks, (double)v[i], (double)expected);
    }
    return DT_OK;
}

/* n is 0 for a barrier. */
static dt_status time_one(dt_dist *d, float *v, int64_t n, timing *out)
{
    double seconds[N_RUNS];

    for (int i = -2; i < N_RUNS; i++) { /* two to warm up */
        DT_TRY(dt_dist_barrier(d, "timing"));
        const double begin = clock_seconds();
        DT_TRY(n > 0 ? dt_dist_sum_floats(d, "timing", v, n) : dt_dist_barrier(d, "timing"));
        if (i >= 0) seconds[i] = clock_seconds() - begin;
    }
    *out = timing_of(seconds);
    return DT_OK;
}

static void report_sum(const settings *s, int ranks, int64_t n, const timing *t, cJSON *list)
{
    const double bytes = (double)n * sizeof(float), bus = 2.0 * (ranks - 1) / ranks * bytes;

    if (!s->json) {
        printf("%12s bytes %12.1f us %12.1f us %9.2f GB/s\n", text_count((int64_t)bytes).s, 1e6 * t->least,
               1e6 * t->median, 1e-9 * bus / t->median);
        return;
    }
    cJSON *item = cJSON_CreateObject();
    cJSON_AddNumberToObject(item, "bytes", bytes);
    cJSON_AddNumberToObject(item, "least_s", t->least);
    cJSON_AddNumberToObject(item, "median_s", t->median);
    cJSON_AddNumberToObject(item, "bandwidth", bus / t->median);
    cJSON_AddItemToArray(list, item);
}

static dt_status run_sizes(const settings *s, dt_dist *d, float *v, cJSON *report)
{
    const int speaks = dt_dist_rank(d) == 0, ranks = dt_dist_size(d);
    cJSON *list = report ? cJSON_AddArrayToObject(report, "sums") : NULL;
    timing t;

    DT_TRY(check_sums(d, v, MOST_FLOATS / 16));
    memset(v, 0, MOST_FLOATS * sizeof *v);
    DT_TRY(time_one(d, v, 0, &t));
    if (speaks && !s->json) {
        printf("%d ranks, rank 0 on %s; least and median of %d\n", ranks, dt_dist_host(d), N_RUNS);
        printf("%18s %12.1f us %12.1f us\n", "barrier", 1e6 * t.least, 1e6 * t.median);
    }
    if (report) cJSON_AddNumberToObject(report, "ranks", ranks);
    if (report) cJSON_AddNumberToObject(report, "barrier_s", t.median);
    for (int64_t n = LEAST_FLOATS; n <= MOST_FLOATS; n *= 4) {
        DT_TRY(time_one(d, v, n, &t));
        if (speaks) report_sum(s, ranks, n, &t, list);
    }
    return DT_OK;
}

static dt_status bench(const settings *s, const rank_place *place, int *exit_code)
{
    dt_dist *d = NULL;
    cJSON *report = NULL;
    float *v = malloc(MOST_FLOATS * sizeof *v);

    DT_CHECK(v, DT_ERR_MEMORY, "no memory for %d floats", MOST_FLOATS);
    dt_status status = meet_ranks(s, place, NULL, &d);
    if (status == DT_OK) report = s->json && place->rank == 0 ? cJSON_CreateObject() : NULL;
    if (status == DT_OK) status = run_sizes(s, d, v, report);
    free(v);
    status = leave_ranks(d, status, exit_code);
    if (status == DT_OK && *exit_code == EXIT_GOOD && report) return print_json(report);
    cJSON_Delete(report);
    return status;
}

dt_status bench_comm_run(const settings *s, int *exit_code)
{
    rank_place place;
    int is_parent = 0;

    *exit_code = EXIT_GOOD;
    DT_TRY(find_rank(s, &place));
    if (s->ranks > 1) DT_TRY(launch_ranks(s, &place, &is_parent, exit_code));
    if (is_parent) return DT_OK;
    DT_CHECK(place.size > 1, DT_ERR_ARGUMENT,
             "one rank has no links: give --ranks N, or start it by torchrun, srun or mpirun");
    interrupt_install();
    return bench(s, &place, exit_code);
}
