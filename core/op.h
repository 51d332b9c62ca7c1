/*
 * op.h - what an operator is on every backend (its shapes, what its backward reads), and what a backend must supply
 *        for it: a kernel with forward, backward and the size of its scratch.
 */
#ifndef DT_OP_H
#define DT_OP_H

#include "align.h"
#include "fields.h"
#include "op_list.h"
#include "op_params.h"
#include "step.h"
#include "tensor.h"

#define DT_MAX_IN 6 /* inputs of a node */

/* Bits of dt_op.backward_reads: which of forward's tensors backward reads. The tape gives the memory of the others to
 * other tensors as soon as forward no longer reads them. Scales keep their memory. */
#define DT_READS_IN(i) (1u << (i))
#define DT_READS_OUT   (1u << 16)
#define DT_READS_AUX   (1u << 17)

/* What a tape is for. */
typedef struct {
    int images;   /* images of a batch; 0 in a node that depends on parameters alone */
    int training; /* 1: batch norm normalises by the batch's statistics and moves the running ones; 0: it normalises by
                     the running ones */
    /* Where a tape computes a part of a step, on one of several ranks or of an accumulation: the images of the whole
     * step, by which means and scales of gradients count; and the images over which batch statistics are taken, on
     * this rank and on the others. 0: the tape's own images. */
    int step_images, norm_images;
    /* Of an evaluation's last batch: the first images of the batch, which count; the others repeat one of them. Forward
     * computes all of them, but adds these alone to sums and statistics. 0: all of them count. */
    int counted;
    float ewgs; /* dt_train_config.ewgs_activations, for the backward of activations' quantizers */
} dt_purpose;

/* An operator on a tape, with its inputs, its output and its memory. */
typedef struct dt_node {
    dt_op_kind kind;
    const char *name;   /* the layer's, such as "features.27"; for messages, capture and reports */
    const void *params; /* the operator's struct of op_params.h; a copy that the tape owns */
    dt_tensor *in[DT_MAX_IN];
    int n_in;
    dt_tensor *out;
    dt_purpose purpose; /* the tape's, but images is 0 in a node that depends on parameters alone */
    void *aux;          /* [aux_bytes] what forward leaves for backward (batch statistics, probabilities) */
    size_t aux_bytes;
    unsigned fresh; /* bit k: in[k]->grad is fresh when this node's backward runs, which is the first to add to it */
    void *state;    /* the kernel's own, from prepare to release (oneDNN primitives, chosen cuDNN plans) */
} dt_node;

/* Returns how many values there are in the whole step if this node, whose tape has a part of it, has `count`. */
static inline int64_t dt_step_count(const dt_node *node, int64_t count)
{
    const dt_purpose *p = &node->purpose;
    return p->images > 0 && p->step_images > 0 ? count / p->images * p->step_images : count;
}

/* Returns how many of `count` values, which are those of a whole batch, belong to images that count. */
static inline int64_t dt_counted(const dt_node *node, int64_t count)
{
    const dt_purpose *p = &node->purpose;
    return p->images > 0 && p->counted > 0 ? count / p->images * p->counted : count;
}

/* Returns over how many rows batch statistics are taken if this node has `rows`. */
static inline int64_t dt_norm_rows(const dt_node *node, int64_t rows)
{
    const dt_purpose *p = &node->purpose;
    return p->images > 0 && p->norm_images > 0 ? rows / p->images * p->norm_images : rows;
}

/* Initialises the members of a dt_op that describe its params: their struct's size and its table of fields. */
#define DT_OP_PARAMS(type, table) .params_bytes = sizeof(type), .fields = (table), .n_fields = DT_LENGTH(table)

/* The facts of an operator, which are the same on every backend. The C file of the operator's stem defines them. */
typedef struct {
    const char *name;
    int min_in, max_in; /* range of n_in */
    int n_in_eval; /* inputs that evaluation reads, the first ones; a graph records no others then. 0: all of them */
    size_t params_bytes;
    const dt_field *fields; /* [n_fields] members of params, for files and messages */
    int n_fields;
    const void *defaults;    /* params that a node has before a network's file sets any; NULL: all 0 */
    unsigned backward_reads; /* DT_READS_ bits */
    int no_grad;             /* 1: no gradient flows back through it (labels, images) */
    /* Checks the inputs and sets aux_bytes and out's type, shape and grid facts (n_scale, qmin, qmax). It sets
     * out->scale only where that is an input's scale; else the tape supplies the memory. */
    dt_status (*infer)(dt_node *node);
} dt_op;

/* Where a kernel runs and with what. stream is NULL on the CPU. */
typedef struct {
    void *stream;
    void *device;  /* the backend's own state, such as library handles */
    void *scratch; /* [scratch_bytes], at least what prepare asked for; the next kernel overwrites it */
    size_t scratch_bytes;
    dt_step *step; /* in device memory */
    dt_precision precision;
    int training; /* set in prepare alone: 1 if backward will run */
} dt_exec;

/* A backend's implementation of one operator. Tensors have type and grad_type F32, but for datasets (U8, I32) and for
 * those to which core/tape/types.c gives other types. */
typedef struct {
    /* Runs when the tape is compiled. It may set node->state and raise *scratch_bytes, which is 0. May be NULL. */
    dt_status (*prepare)(dt_node *node, const dt_exec *ex, size_t *scratch_bytes);
    /* OVERWRITES out, and out->scale if out is a grid tensor that has a scale of its own. */
    dt_status (*forward)(const dt_node *node, const dt_exec *ex);
    /* ADDS to in[k]->grad wherever that is not NULL. The tape clears a fresh gradient first, unless bit k of overwrites
     * is set. NULL where op.no_grad is 1. */
    dt_status (*backward)(const dt_node *node, const dt_exec *ex);
    void (*release)(dt_node *node); /* frees node->state; may be NULL where prepare sets none */
    unsigned overwrites;            /* bit k: where in[k]->grad is fresh, backward overwrites it */
    /* DT_READS_ bits of the inputs, and of the output, whose real values may be BF16 in training; and of the inputs
     * whose gradient backward may give as BF16, and of the output if it may read that so. Of a CONV2D
     * dt_backend.storage decides, too. */
    unsigned half_values, half_grads;
    /* Runs the forward of node[0] .. node[n-1], the nodes of one turn, in one call. ex->scratch holds what each node's
     * prepare asked for, one node after another, each rounded up to DT_ALIGN. NULL, as backward_all is, where the
     * kernel takes one node at a time. */
    dt_status (*forward_all)(const dt_node *const *node, int n, const dt_exec *ex);
    /* Runs the backward of the nodes of one turn in one call, with the same scratch. */
    dt_status (*backward_all)(const dt_node *const *node, int n, const dt_exec *ex);
    /* 1: out may lie where in[0] does, if nobody reads in[0] later; and in[0]->grad, if it is fresh, where out->grad
     * does. No value is read any more once one that lies there has been written. */
    int in_place;
    /* DT_READS_ bits of the inputs, and of the output, whose codes may be U8, I8 or I16 in evaluation. A CONV2D's input
     * may only have the type that dt_backend.storage names. */
    unsigned narrow;
} dt_kernel;

/* The facts of all operators, by dt_op_kind. layers/cpu_backend.c fills this table. */
extern const dt_op *const dt_ops[DT_OP_COUNT];

#endif /* DT_OP_H */
