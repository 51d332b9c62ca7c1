/*
 * bench.h - what the benchmark programs share: arguments, a clock, the summary of rounds.
 *
 * A benchmark first verifies results, then warms up, and then times each of several rounds. The minimum shows what the
 * machine can do, and the median what it did.
 */
#ifndef DT_BENCH_H
#define DT_BENCH_H

#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "detent/detent.h"

/* Parses a whole number of 0..1,000,000. It ends the program with a message if arg is none. */
static inline int bench_number(const char *arg, struct argp_state *state)
{
    char *end;
    const long value = strtol(arg, &end, 10);
    if (end == arg || *end || value < 0 || value > 1000000) argp_error(state, "'%s' is not a number in range", arg);
    return (int)value;
}

/* Returns the index of arg in words, which end with NULL. It ends the program with a message if arg is none of them. */
static inline int bench_word(const char *arg, const char *const *words, struct argp_state *state)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(arg, words[i]) == 0) return i;
    }
    argp_error(state, "'%s' is not known here; see --help", arg);
    return 0;
}

static inline void bench_option(dt_model_config *c, const char *name, int value, struct argp_state *state)
{
    if (dt_model_option(c, name, value) != DT_OK) argp_error(state, "%s", dt_last_error());
}

static inline double bench_now(void) /* seconds */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int bench_by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Minimum and median of rounds, in their unit. */
typedef struct {
    double least, median;
} bench_summary;

/* Returns the summary of n rounds. It sorts them. */
static inline bench_summary bench_summarise(double *round, int n)
{
    qsort(round, (size_t)n, sizeof *round, bench_by_value);
    return (bench_summary){ round[0], round[n / 2] };
}

#endif /* DT_BENCH_H */
