/*
 * debug_graph.h - a program and a network of reals in one graph, so that one tape computes both, and each layer of
 * reals can read the codes of the program.
 */
#ifndef DT_DEBUG_GRAPH_H
#define DT_DEBUG_GRAPH_H

#include "../program/program.h"

/* One layer in both. */
typedef struct {
    const char *op;
    char *name; /* of the value of the network of reals; owned */
    int codes;  /* value of the graph, and of the program's */
    int real;   /* value of the graph; -1: the real values of the codes themselves */
    int zero_point;
    int levels; /* steps between the lowest and the highest code that the bits have */
} dt_debug_pair;

typedef struct {
    dt_graph *graph;     /* owned, until a model takes it over; then NULL. Its scores are the program's */
    dt_debug_pair *pair; /* [n], owned, in the order of the network of reals */
    int n;
} dt_debug_graph;

/* Makes the graph. real's parameters have f32 data; it must have no quantizers. Values of `real` are called
 * float.NAME. DT_ERR_ARGUMENT: codes of the program are of no value of `real`. *out is to be destroyed in any case. */
DT_MUST_CHECK dt_status dt_debug_graph_make(const dt_program *p, const dt_graph *real, dt_debug_mode mode,
                                            dt_debug_graph *out);
void dt_debug_graph_destroy(dt_debug_graph *d);

#endif /* DT_DEBUG_GRAPH_H */
