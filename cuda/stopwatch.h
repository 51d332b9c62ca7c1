/*
 * stopwatch.h - finds the fastest of several ways to do the same work on a stream.
 *
 * The work is captured into a graph, several times in a row, because a training step will run it from a graph too. If
 * it were launched, the host's time to launch it would be measured where the work takes only some microseconds. A GPU
 * that was idle raises its clock in the first milliseconds of work: it is kept busy for that long before, and the ways
 * are timed in turns. Tests: tests/cuda/test_stopwatch.c.
 */
#ifndef DT_STOPWATCH_H
#define DT_STOPWATCH_H

#include <cuda_runtime.h>

#include "detent/status.h"

typedef struct {
    cudaStream_t stream;
    dt_status (*run)(void *user, int way); /* launches way 0..n_ways-1 on the stream */
    void *user;
    int n_ways;
} dt_contest;

/* Times all ways and sets *fastest to the fastest of those that can be run and captured, or to -1 if none can. It waits
 * for the stream. */
DT_MUST_CHECK dt_status dt_contest_run(const dt_contest *c, int *fastest);

#endif /* DT_STOPWATCH_H */
