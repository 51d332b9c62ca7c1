/*
 * test_stopwatch.c - the fastest of several ways wins, whatever their order; who cannot run, or cannot be captured,
 * loses.
 */
#include <criterion/criterion.h>

#ifdef DETENT_HAVE_CUDA

#include "../../cuda/stopwatch.h"

#include "../../cuda/cuda_check.h"

#include <time.h>

enum { MOST_WAYS = 4 };

/* A way sleeps so long on the stream; 0: fails; below 0: waits for the stream, which a capture does not allow. */
typedef struct {
    cudaStream_t stream;
    int microseconds[MOST_WAYS];
    int n_runs[MOST_WAYS];
    int n_slow; /* so many runs of all ways together take 4 times as long, as on a clock that rises */
} race;

/* One way, for the host's function that stands for its work. */
typedef struct {
    race *race;
    int way;
} lane;

static lane lanes[MOST_WAYS];

static void work(void *argument)
{
    const lane *l = argument;
    const long slower = l->race->n_slow > 0 ? 4 : 1;
    const struct timespec t = { .tv_nsec = 1000L * slower * l->race->microseconds[l->way] };

    l->race->n_slow--;
    nanosleep(&t, NULL);
}

static dt_status run_way(void *user, int way)
{
    race *r = user;

    r->n_runs[way]++;
    DT_CHECK(r->microseconds[way] != 0, DT_ERR_UNSUPPORTED, "way %d cannot run", way);
    if (r->microseconds[way] < 0) DT_CUDA(cudaStreamSynchronize(r->stream));
    lanes[way] = (lane){ r, way };
    DT_CUDA(cudaLaunchHostFunc(r->stream, work, &lanes[way]));
    return DT_OK;
}

static void run_race(race *r, int n_ways, int want)
{
    const dt_contest c = { .run = run_way, .user = r, .n_ways = n_ways };
    dt_contest on_stream = c;
    int fastest = -2;

    cr_assert(cudaStreamCreateWithFlags(&r->stream, cudaStreamNonBlocking) == cudaSuccess);
    on_stream.stream = r->stream;
    cr_assert(dt_contest_run(&on_stream, &fastest) == DT_OK, "%s", dt_last_error());
    cr_assert_eq(fastest, want, "way %d was the fastest, expected %d", fastest, want);
    cr_assert(cudaGetLastError() == cudaSuccess, "an error is left behind");
    cr_assert(cudaStreamDestroy(r->stream) == cudaSuccess);
}

static int has_device(void)
{
    int n = 0;

    if (cudaGetDeviceCount(&n) == cudaSuccess && n > 0) return 1;
    (void)cudaGetLastError();
    return 0;
}

Test(stopwatch, the_fastest_wins)
{
    if (!has_device()) cr_skip_test("there is no GPU; test_stopwatch_simt runs on the CPU");
    run_race(&(race){ .microseconds = { 3000, 200, 1000 } }, 3, 1);
    run_race(&(race){ .microseconds = { 200, 3000 } }, 2, 0);
    run_race(&(race){ .microseconds = { 3000, 1000, 200 } }, 3, 2);
    run_race(&(race){ .microseconds = { 500 } }, 1, 0);
}

Test(stopwatch, who_cannot_run_loses)
{
    if (!has_device()) cr_skip_test("there is no GPU; test_stopwatch_simt runs on the CPU");
    run_race(&(race){ .microseconds = { 0, -10, 2000, 500 } }, 4, 3);
    run_race(&(race){ .microseconds = { -10, 0 } }, 2, -1);
    run_race(&(race){ .microseconds = { 0 } }, 0, -1);
}

Test(stopwatch, the_hopeless_are_run_but_twice)
{
    race r = { .microseconds = { 100, 20000 } };

    if (!has_device()) cr_skip_test("there is no GPU; test_stopwatch_simt runs on the CPU");
    run_race(&r, 2, 0);
    cr_expect(r.n_runs[0] > 2 && r.n_runs[1] == 2, "%d and %d runs", r.n_runs[0], r.n_runs[1]);
}

/* The first way is the fastest, and all of its first 42 runs fall on the slow clock. */
Test(stopwatch, a_rising_clock_favours_nobody)
{
    if (!has_device()) cr_skip_test("there is no GPU; test_stopwatch_simt runs on the CPU");
    run_race(&(race){ .microseconds = { 500, 800 }, .n_slow = 45 }, 2, 0);
}

#else

Test(stopwatch, all)
{
    cr_skip_test("built without CUDA; test_stopwatch_simt has it");
}

#endif
