/*
 * tape.h - a recorded list of operators: recorded once, compiled once, run many times.
 *
 *   RECORDING: dt_tape_apply checks shapes and appends a node.
 *   COMPILED:  dt_tape_compile places tensors by liveness and lets every kernel prepare; running allocates nothing.
 */
#ifndef DT_TAPE_H
#define DT_TAPE_H

#include "../context.h"

typedef struct dt_tape dt_tape;

/* CONSTANT: nodes that depend on parameters alone; FORWARD: the others, in an inference tape (a training tape has
 * no constant nodes); BACKWARD: in reverse, from d loss / d loss = 1. */
typedef enum { DT_PASS_CONSTANT, DT_PASS_FORWARD, DT_PASS_BACKWARD } dt_pass;

/* Called after a node has run, while its tensors are alive. */
typedef dt_status (*dt_node_hook)(void *user, const dt_node *node);

/* purpose, which every node gets: NULL stands for all zeros. */
DT_MUST_CHECK dt_status dt_tape_create(dt_context *ctx, const dt_purpose *purpose, dt_tape **out);
void dt_tape_destroy(dt_tape *tape);

/* params is copied, NULL stands for all zeros; name may be NULL. in: outputs of earlier nodes, or tensors whose owner
 * sets data (parameters, datasets). The result belongs to the tape. */
DT_MUST_CHECK dt_status dt_tape_apply(dt_tape *tape, dt_op_kind op, const char *name, const void *params,
                                      dt_tensor *const *in, int n_in, dt_tensor **out);

/* Its data stays valid until the run ends; before compile. */
void dt_tape_keep(dt_tape *tape, const dt_tensor *t);

/* The index of the node that makes t; -1: t is from outside. Of the only node that reads t, and reads it once; -1:
 * there is no such node, or t is kept. */
int dt_tape_maker(const dt_tape *tape, const dt_tensor *t);
int dt_tape_reader(const dt_tape *tape, const dt_tensor *t);

/* Of core/tape/fuse.c, before compile. Nodes at[0] < .. < at[n-1] become one, which makes what the last of them made;
 * nobody else reads what the others made. */
DT_MUST_CHECK dt_status dt_tape_merge(dt_tape *tape, const int *at, int n, dt_op_kind kind, const void *params,
                                      dt_tensor *const *in, int n_in);
/* Node i becomes node front <= i; it reads nothing that is made in between. */
void dt_tape_to_front(dt_tape *tape, int i, int front);

/* Before compile: the backward of nodes of that kind, where their inputs are from outside and nobody else reads them,
 * is left to the caller, who finds them by dt_tape_deferred: out has room for n_nodes, and the count is returned. The
 * gradient of what they make takes the place of the first input's; their aux stays valid until the next run. */
void dt_tape_defer(dt_tape *tape, dt_op_kind kind);
int dt_tape_deferred(const dt_tape *tape, const dt_node **out);

/* loss: one element, to be differentiated; NULL makes an inference tape. */
DT_MUST_CHECK dt_status dt_tape_compile(dt_tape *tape, dt_tensor *loss);

/* hook may be NULL. */
DT_MUST_CHECK dt_status dt_tape_run(dt_tape *tape, dt_pass pass, dt_node_hook hook, void *user);

dt_context *dt_tape_context(const dt_tape *tape);
int dt_tape_n_nodes(const dt_tape *tape);
const dt_node *dt_tape_node(const dt_tape *tape, int i);
size_t dt_tape_workspace_bytes(const dt_tape *tape);

#endif /* DT_TAPE_H */
