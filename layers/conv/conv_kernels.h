/*
 * conv_kernels.h - the kernels that compute a convolution on the CPU, each a candidate for every node.
 *
 * A node has up to three results, here called directions. For each of them conv_choice.c takes the first kernel of a
 * list that can compute it. So whoever is faster stands before whoever can do more; the plain loops can do everything,
 * and stand last. oneDNN is one of the kernels, and the only one that a build may lack.
 */
#ifndef DT_CONV_KERNELS_H
#define DT_CONV_KERNELS_H

#include "conv.h"

enum { DT_CONV_Y = 1, DT_CONV_DX = 2, DT_CONV_DW = 4 }; /* directions, in sets */

/* One kernel's share of a node. */
typedef struct {
    unsigned directions;  /* that it computes; 0: none */
    int threads;          /* at most */
    size_t scratch_bytes; /* of one call, alone in the scratch; set by the kernel's prepare */
    void *state;          /* the kernel's own, from prepare to release */
} dt_conv_share;

typedef struct {
    const char *name;
    /* The directions that it computes of such a node on this machine. Shapes, types and code ranges of the tensors are
     * read, never their data. */
    unsigned (*can)(const dt_node *node, const dt_exec *ex);
    dt_status (*prepare)(const dt_node *node, const dt_exec *ex, dt_conv_share *share);
    /* Computes some of the share's directions. y is overwritten, and its scales are left to the caller. dx and dw are
     * written where they are fresh, else added to; dx in BF16 is always fresh. */
    dt_status (*run)(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions);
    void (*release)(dt_conv_share *share); /* also of a prepare that failed; NULL where there is no state */
} dt_conv_kernel;

extern const dt_conv_kernel dt_conv_winograd;  /* 3x3, all directions */
extern const dt_conv_kernel dt_conv_small;     /* dw of a map so small that most taps fall outside it */
extern const dt_conv_kernel dt_conv_onednn;    /* where oneDNN is built in */
extern const dt_conv_kernel dt_conv_depthwise; /* one channel a group */
extern const dt_conv_kernel dt_conv_plain;

/* Chooses for every direction that node wants, as conv_choice.c's own list says or, for tests, another of n kernels.
 * node->state then holds the choice, also after a failure. */
DT_MUST_CHECK dt_status dt_conv_choose(dt_node *node, const dt_exec *ex, size_t *scratch_bytes);
DT_MUST_CHECK dt_status dt_conv_choose_from(dt_node *node, const dt_exec *ex, const dt_conv_kernel *const *kernel,
                                            int n, size_t *scratch_bytes);
DT_MUST_CHECK dt_status dt_conv_forward(const dt_node *node, const dt_exec *ex);
DT_MUST_CHECK dt_status dt_conv_backward(const dt_node *node, const dt_exec *ex);
void dt_conv_release(dt_node *node);

/* The name of the kernel that computes a direction of a prepared node; NULL if nobody wants it. */
const char *dt_conv_chosen(const dt_node *node, unsigned direction);

/* What this CPU multiplies exactly, as oneDNN says or, in a build without it, as word_gemm.c does: bytes into 32-bit
 * sums; pairs of bf16 into f32 sums. */
int dt_conv_has_int8(void);
int dt_conv_has_bf16(void);

/* Codes of x and w are bytes: they fit, and this CPU multiplies bytes. */
int dt_conv_has_bytes(const dt_node *node);

/* 1: backward's operands are bf16. */
int dt_conv_is_mixed(const dt_exec *ex);

#endif /* DT_CONV_KERNELS_H */
