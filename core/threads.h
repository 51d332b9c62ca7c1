/*
 * threads.h - how many threads OpenMP is asked for, for as long as a piece of work takes; one where there is no OpenMP.
 *
 *   const int before = dt_threads_use(n);
 *   ... parallel regions of this thread ask for n ...
 *   dt_threads_use(before);
 *
 * Only the calling thread's setting changes. A region may get fewer threads than it asks for (OMP_THREAD_LIMIT,
 * OMP_DYNAMIC, a caller that is in a parallel region itself). So what is prepared for n workers must be right for any
 * team of 1 to n: a worker's number says which room it may use, never which share of the work is its own.
 */
#ifndef DT_THREADS_H
#define DT_THREADS_H

#ifdef _OPENMP
#include <omp.h>

static inline int dt_threads_now(void)
{
    return omp_get_max_threads();
}

/* n >= 1; returns what it was */
static inline int dt_threads_use(int n)
{
    const int before = omp_get_max_threads();
    if (n != before) omp_set_num_threads(n);
    return before;
}

/* The calling worker's number in its team, from 0. */
static inline int dt_thread_number(void)
{
    return omp_get_thread_num();
}

#else

static inline int dt_threads_now(void)
{
    return 1;
}

static inline int dt_threads_use(int n)
{
    (void)n;
    return 1;
}

static inline int dt_thread_number(void)
{
    return 0;
}

#endif

#endif /* DT_THREADS_H */
