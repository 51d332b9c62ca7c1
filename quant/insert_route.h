/*
 * insert_route.h - routing on the grid as a pass: it makes of a capsule network with quantized convolutions and votes
 * one that computes on integers from the image to the lengths of its class capsules.
 */
#ifndef DT_INSERT_ROUTE_H
#define DT_INSERT_ROUTE_H

#include "../core/graph/graph.h"

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

#endif /* DT_INSERT_ROUTE_H */
