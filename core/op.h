/*
 * op.h - what an operator is (shapes, what its backward reads) and what a backend must supply for it
 *        (a kernel pair and its scratch size).
 */
#ifndef DT_OP_H
#define DT_OP_H

#include "align.h"
#include "fields.h"
#include "op_list.h"
#include "op_params.h"
#include "step.h"
#include "tensor.h"

#define DT_MAX_IN 6

/* What backward reads of forward's tensors; the tape frees everything else early. Scales are never freed. */
#define DT_READS_IN(i) (1u << (i))
#define DT_READS_OUT   (1u << 16)
#define DT_READS_AUX   (1u << 17)

/* What a tape is for. */
typedef struct {
    int images;   /* of a batch; in a node 0 if it depends on parameters alone */
    int training; /* 1: batch norm takes the batch's statistics, and the running ones move; 0: the running ones */
} dt_purpose;

typedef struct {
    dt_op_kind kind;
    const char *name;   /* the layer's: "features.27"; for messages, capture and reports */
    const void *params; /* the op's struct from op_params.h, a copy owned by the tape */
    dt_tensor *in[DT_MAX_IN];
    int n_in;
    dt_tensor *out;
    dt_purpose purpose; /* the tape's */
    void *aux;          /* op-owned bytes from forward to backward (batch statistics, probabilities) */
    size_t aux_bytes;
    unsigned fresh; /* bit k: in[k]->grad holds nothing yet when backward runs; this node is the first to add to it */
    void *state;    /* the kernel's own, from prepare to release: oneDNN primitives, which cuDNN plans */
} dt_node;

/* Members of a dt_op: its table of fields, and params_bytes of that type. */
#define DT_OP_PARAMS(type, table) .params_bytes = sizeof(type), .fields = (table), .n_fields = DT_LENGTH(table)

/* Declared by layers/<stem>.c or quant/<stem>.c: facts that no backend may disagree on. */
typedef struct {
    const char *name;
    int min_in, max_in;
    size_t params_bytes;
    const dt_field *fields; /* of params, for files and messages */
    int n_fields;
    const void *defaults; /* params of a node that a network's file says nothing more about; NULL: all 0 */
    unsigned backward_reads;
    int no_grad; /* 1: nothing flows back through it (labels, images) */
    /* Checks the inputs; sets out's type and shape, its grid facts (n_scale, qmin, qmax; scale when it is an
     * input's, else the tape supplies it) and aux_bytes. */
    dt_status (*infer)(dt_node *node);
} dt_op;

/* Where and on what a kernel runs. The CPU backend has stream and device NULL. */
typedef struct {
    void *stream;
    void *device;  /* the backend's own state: library handles */
    void *scratch; /* at least what prepare asked for; contents are lost between kernels */
    size_t scratch_bytes;
    dt_step *step; /* in device memory */
    dt_precision precision;
    int training; /* in prepare: 1 if backward will run */
} dt_exec;

/* Supplied by a backend. forward OVERWRITES out and, if it is a grid tensor that owns its scale, out->scale.
 * backward ADDS into in[k]->grad wherever that is not NULL; where that is fresh, the tape clears it before. A kernel
 * for which clearing and adding costs too much sets bit k of overwrites, and then writes a fresh in[k]->grad instead.
 * Kernels see tensors of type and grad_type F32; those that core/tape/fuse.c gives others are named there. */
typedef struct {
    dt_status (*prepare)(dt_node *node, const dt_exec *ex, size_t *scratch_bytes); /* may be NULL; at compile */
    dt_status (*forward)(const dt_node *node, const dt_exec *ex);
    dt_status (*backward)(const dt_node *node, const dt_exec *ex); /* NULL where op.no_grad */
    void (*release)(dt_node *node);                                /* may be NULL; frees node->state */
    unsigned overwrites;
    /* Both or neither: nodes of this kind that stand side by side on the tape, in one call. Their scratch is what their
     * prepares asked for, one after another, each rounded up to DT_ALIGN. */
    dt_status (*forward_all)(const dt_node *const *node, int n, const dt_exec *ex);
    dt_status (*backward_all)(const dt_node *const *node, int n, const dt_exec *ex);
} dt_kernel;

extern const dt_op *const dt_ops[DT_OP_COUNT];

#endif /* DT_OP_H */
