/*
 * graph_nodes.h - what a captured graph is made of. CUDA's own functions tell no names of kernels, so the shim does.
 */
#ifndef SIMT_GRAPH_NODES_H
#define SIMT_GRAPH_NODES_H

#ifdef __cplusplus
extern "C" {
#endif

/* A kind of node: the launches of one kernel, copies, sets, or calls of a library's stand-in. */
typedef struct {
    const char *name;
    int count;
} simt_node_kind;

/* Writes the kinds of nodes of the graph that was captured last to kind, in the order of their first nodes. It returns
 * how many there are, of which it writes at most `room`. */
int simt_captured_nodes(simt_node_kind *kind, int room);

#ifdef __cplusplus
}
#endif

#endif /* SIMT_GRAPH_NODES_H */
