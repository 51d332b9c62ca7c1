/*
 * threads.h - the number of threads that OpenMP is asked for during a piece of work. Without OpenMP there is one
 *             thread.
 *
 *   const int before = dt_threads_use(n);
 *   ... parallel regions of this thread ask for n ...
 *   dt_threads_use(before);
 *
 * The calling thread's setting alone changes. A region may get fewer threads than it asks for (OMP_THREAD_LIMIT,
 * OMP_DYNAMIC, a caller that is in a parallel region itself). So what is prepared for n workers must be right for any
 * team of 1 to n: a worker's number may choose the memory it works in, but never its share of the work.
 */
#ifndef DT_THREADS_H
#define DT_THREADS_H

#ifdef _OPENMP
#include <omp.h>

/* Returns the number of threads that a parallel region of this thread asks for. */
static inline int dt_threads_now(void)
{
    return omp_get_max_threads();
}

/* Sets the number of threads, n >= 1, and returns what it was. */
static inline int dt_threads_use(int n)
{
    const int before = omp_get_max_threads();
    if (n != before) omp_set_num_threads(n);
    return before;
}

/* Returns the calling worker's number in its team, from 0. */
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
