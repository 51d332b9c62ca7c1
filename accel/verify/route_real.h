/*
 * route_real.h - how far routing by integers is from routing of the same votes by real numbers.
 */
#ifndef DT_ROUTE_REAL_H
#define DT_ROUTE_REAL_H

#include "../../quant/program/program.h"

/* Sums over images. */
typedef struct {
    int64_t images, n_values; /* n_values: of capsules */
    double sum;               /* of |v - real v| */
    double largest, largest_coupling;
    int64_t n_classes_differ; /* images of which another capsule is the longest; of the class capsules alone */
} dt_route_error;

/* One image of a ROUTE_INT. */
typedef struct {
    const dt_route_int_params *params;
    dt_route_int_sizes size;
    float scale;                     /* of the votes */
    const float *bias;               /* [types][dim] */
    const int32_t *votes;            /* codes [inputs][capsules][dim] */
    const dt_route_int_trace *codes; /* what integers have made of them */
} dt_route_pair;

/* Returns the doubles of room that dt_route_error_add needs. */
int64_t dt_route_error_room(const dt_route_int_sizes *z);

/* Routes the votes by real numbers in double, with the exact bias, exponential, root and quotient, and adds the
 * differences: of the capsules of the last iteration, which are the squash of s where the node gives s; and of the
 * couplings of all iterations. */
void dt_route_error_add(const dt_route_pair *pair, double *room, dt_route_error *to);

/* Adds the differences of further images. */
void dt_route_error_join(dt_route_error *to, const dt_route_error *from);

#endif /* DT_ROUTE_REAL_H */
