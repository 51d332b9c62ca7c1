/*
 * insert_route.h - routing on the grid as a pass: it makes of a capsule network with quantized convolutions and votes
 * one that computes on integers from the image to the lengths of its class capsules.
 */
#ifndef DT_INSERT_ROUTE_H
#define DT_INSERT_ROUTE_H

#include "../core/graph/rewrite.h"

/* The networks' option that holds the bits; 0: there is no such pass. */
#define DT_ROUTING_BITS_OPTION "routing-bits"

enum { DT_ROUTING_BITS_MIN = 4, DT_ROUTING_BITS_MAX = 10 };

/* Makes a copy of g whose capsules are routed by integers of `bits` bits: SQUASH of a convolution with a BIAS, and
 * CAPS_ROUTE, become ROUTE_INT, and CAPS_LENGTH becomes CLASS_INT. The decoder reads the real squash of the class
 * capsules' sums. Votes that are real, or too wide for exact sums, get an ACT_QUANT of as many bits, at most 8.
 *
 * Fraction bits follow from `bits`, and are no parameters: sums have 16 bits, which leave room for every trained
 * network; insert_route.c has the table. DT_ERR_ARGUMENT: other bits, no capsules, or a layer without quantizers. */
DT_MUST_CHECK dt_status dt_route_insert(const dt_graph *g, int bits, dt_graph **out);

/* A ROUTE_INT that the pass puts in: the node of g that it stands for, and the capsules of its softmax. */
typedef struct {
    const dt_graph_node *node; /* SQUASH or CAPS_ROUTE */
    int64_t span;
} dt_route_place;

/* Who says the formats of routing, instead of a number of bits. */
typedef struct {
    /* Fills in the formats of p, whose other members are set; it may give the ratios too. */
    dt_status (*formats)(void *user, const dt_rewrite *r, const dt_route_place *at, dt_route_int_params *p);
    /* *votes, of r->to, become codes that the routing takes. */
    dt_status (*votes)(void *user, dt_rewrite *r, const dt_route_place *at, const dt_route_int_params *p, int *votes);
    void *user;
} dt_route_choice;

/* As dt_route_insert, with the formats that the choice gives. */
DT_MUST_CHECK dt_status dt_route_insert_by(const dt_graph *g, const dt_route_choice *choice, dt_graph **out);

#endif /* DT_INSERT_ROUTE_H */
