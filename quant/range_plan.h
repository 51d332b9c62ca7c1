/*
 * range_plan.h - what insert_range.c must know of a network before it walks it: what each node reads, and which values
 *                have one range.
 */
#ifndef DT_RANGE_PLAN_H
#define DT_RANGE_PLAN_H

#include "../core/graph/graph.h"

/* What a node reads, and what its output is. */
typedef enum {
    DT_PLACE_COPY,   /* parameters alone; it is copied */
    DT_PLACE_LAYER,  /* codes of x and of weights; gives sums */
    DT_PLACE_JOIN,   /* what the node before it computed; TensorFlow Lite makes one operator of both */
    DT_PLACE_OWN,    /* codes; gives values with a range of their own */
    DT_PLACE_SAME,   /* codes; gives codes of the same range */
    DT_PLACE_CONCAT, /* codes of one range; gives codes of that range */
    DT_PLACE_BORROW, /* codes; gives values that get the range of what it reads */
    DT_PLACE_REAL    /* reals; gives values with a fixed range */
} dt_place;

/* A range of values. */
typedef struct {
    int named;       /* the value of the graph whose name and whose known range it has */
    int is_positive; /* 1: none of its values is below 0 */
    int is_fixed;    /* 1: the range is that of probabilities */
    int n_sources;   /* values that are quantized to it and are not made of its codes */
} dt_range_group;

/* Of a graph with n values; all arrays are [n]. */
typedef struct {
    char *needed;          /* by the scores */
    dt_place *place;       /* of the node that makes the value */
    int *group_of;         /* index in group, of a value that may have codes */
    dt_range_group *group; /* some are not used */
} dt_range_plan;

/* Makes the plan of g. DT_ERR_UNSUPPORTED names a node that has no place. The caller destroys *out, also a failed one.
 */
DT_MUST_CHECK dt_status dt_range_plan_make(const dt_graph *g, dt_range_plan *out);
void dt_range_plan_destroy(dt_range_plan *p);

/* Returns the range of a value that may have codes. */
const dt_range_group *dt_range_of(const dt_range_plan *p, int value);

#endif /* DT_RANGE_PLAN_H */
