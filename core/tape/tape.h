/*
 * tape.h - a recorded list of operators: recorded once, compiled once, run many times.
 *
 *   RECORDING: dt_tape_apply checks shapes and appends a node.
 *   COMPILED:  dt_tape_compile has given each tensor its place in memory and let each kernel prepare. Running
 *              allocates nothing.
 */
#ifndef DT_TAPE_H
#define DT_TAPE_H

#include "../context.h"

typedef struct dt_tape dt_tape;

/* What dt_tape_run runs. CONSTANT runs the nodes of an inference tape that depend on parameters alone; a training tape
 * has none. FORWARD runs all other nodes. BACKWARD runs a training tape's nodes in reverse; the gradient of the loss is
 * the loss scale (core/step.h), which is 1 where gradients are not scaled. */
typedef enum { DT_PASS_CONSTANT, DT_PASS_FORWARD, DT_PASS_BACKWARD } dt_pass;

/* A function that dt_tape_run calls after a node has run, while the node's tensors are alive. */
typedef dt_status (*dt_node_hook)(void *user, const dt_node *node);

/* Makes an empty tape. Every node of it gets this purpose; NULL stands for all zeros. */
DT_MUST_CHECK dt_status dt_tape_create(dt_context *ctx, const dt_purpose *purpose, dt_tape **out);
void dt_tape_destroy(dt_tape *tape);

/* Appends a node. in holds outputs of earlier nodes, or tensors whose owner sets their data (parameters, datasets).
 * params is copied; NULL stands for all zeros. Where name is NULL, the operator's name takes its place. The tape owns
 * *out. */
DT_MUST_CHECK dt_status dt_tape_apply(dt_tape *tape, dt_op_kind op, const char *name, const void *params,
                                      dt_tensor *const *in, int n_in, dt_tensor **out);

/* Keeps t, a node's output: its data stays valid until the run ends. Call it before compile. */
void dt_tape_keep(dt_tape *tape, const dt_tensor *t);

/* Index of the node that outputs t, or -1 if t is an input of the tape. */
int dt_tape_maker(const dt_tape *tape, const dt_tensor *t);

/* Index of t's only consumer, or -1 if it has none, several, or is kept. A node that reads t twice counts twice. */
int dt_tape_reader(const dt_tape *tape, const dt_tensor *t);

/* Returns 1 if t is kept. */
int dt_tape_keeps(const dt_tape *tape, const dt_tensor *t);

/* Replaces nodes at[0] < .. < at[n-1] by one node, which outputs the tensor that node at[n-1] did. No other node may
 * read the outputs of the rest. For core/tape/fuse.c; call it before compile. */
DT_MUST_CHECK dt_status dt_tape_merge(dt_tape *tape, const int *at, int n, dt_op_kind kind, const void *params,
                                      dt_tensor *const *in, int n_in);
/* Moves node i to index front <= i. It must not read the output of a node that it passes. Call it before compile. */
void dt_tape_to_front(dt_tape *tape, int i, int front);

/* Defers the backward of the nodes of one kind to the caller; dt_tape_deferred lists them. A node is deferred only if
 * its inputs are inputs of the tape that no other node reads. The gradient of its output, if it is F32, then lies in
 * the memory of its first input's gradient; else it stays valid until the next run, as its aux does. Call it before
 * compile. */
void dt_tape_defer(dt_tape *tape, dt_op_kind kind);
/* Writes to out the deferred nodes whose backward the loss needs, and returns their number, at most dt_tape_n_nodes. */
int dt_tape_deferred(const dt_tape *tape, const dt_node **out);

/* Index of the node whose backward is the last to add to the gradient of t, an input of a compiled training tape; -1 if
 * none does. What a deferred node leaves in that memory counts. */
int dt_tape_last_adder(const dt_tape *tape, const dt_tensor *t);

/* Places the tensors and prepares the kernels. loss is the tensor of one element that backward differentiates; NULL
 * makes an inference tape. DT_ERR_UNSUPPORTED: the device has no kernel for a node. */
DT_MUST_CHECK dt_status dt_tape_compile(dt_tape *tape, dt_tensor *loss);

/* Lets only the first n images of a batch count in the runs that follow (dt_purpose.counted); 0: all of them. While a
 * hook looks at a node, all tensors that nodes make of images have the shape that they would have in a batch of n. Call
 * it on an inference tape that is compiled; n is at most the images of its batch. */
void dt_tape_count(dt_tape *tape, int n);
/* Returns the shape that a tensor of the tape has while a hook looks. */
dt_shape dt_tape_counted_shape(const dt_tape *tape, const dt_tensor *t);

/* Runs one pass of a compiled tape, and calls hook, unless it is NULL, for each node. */
DT_MUST_CHECK dt_status dt_tape_run(dt_tape *tape, dt_pass pass, dt_node_hook hook, void *user);

dt_context *dt_tape_context(const dt_tape *tape);
/* Returns what the tape is for. */
const dt_purpose *dt_tape_purpose(const dt_tape *tape);
int dt_tape_n_nodes(const dt_tape *tape);
const dt_node *dt_tape_node(const dt_tape *tape, int i);
/* Bytes of workspace that the placed tensors need; 0 before compile. */
size_t dt_tape_workspace_bytes(const dt_tape *tape);

#endif /* DT_TAPE_H */
