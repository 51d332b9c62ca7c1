/*
 * stopwatch.h - which of several ways to do the same work on a stream is the fastest.
 *
 * A way is captured into a graph several times over, as a training step will run it: work of a few microseconds would
 * otherwise be measured as the host's time to launch it.  Tests: tests/cuda/test_stopwatch.c.
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

/* *fastest is -1 if none can be run and captured; a way that cannot loses. Waits for the stream. */
DT_MUST_CHECK dt_status dt_contest_run(const dt_contest *c, int *fastest);

#endif /* DT_STOPWATCH_H */
