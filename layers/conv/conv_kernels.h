/*
 * conv_kernels.h - the kernels that can compute a convolution on the CPU.
 *
 * A node has up to three results (y, dx, dw), which are called directions here. For each of them conv_choice.c takes
 * the first kernel of a list that can compute it. So a faster kernel stands before one that can do more. The plain
 * loops can do everything, and stand last. oneDNN is the only kernel that a build may lack.
 */
#ifndef DT_CONV_KERNELS_H
#define DT_CONV_KERNELS_H

#include "conv.h"

enum { DT_CONV_Y = 1, DT_CONV_DX = 2, DT_CONV_DW = 4 }; /* directions, as bits of a set */

/* The directions of a node that one kernel computes, and what it needs for them. */
typedef struct {
    unsigned directions;  /* 0: none */
    int threads;          /* the most that it runs on */
    size_t scratch_bytes; /* for one call, which has the scratch for itself; the kernel's prepare sets it */
    void *state;          /* the kernel's own, from prepare to release */
} dt_conv_share;

typedef struct {
    const char *name;
    /* Returns NULL if it can compute a direction of a node on this machine, else why not, in few words. It reads
     * shapes, types and code ranges of the tensors, never their data. */
    const char *(*refuses)(const dt_node *node, const dt_exec *ex, unsigned direction);
    dt_status (*prepare)(const dt_node *node, const dt_exec *ex, dt_conv_share *share);
    /* Computes some of the share's directions. It overwrites y; the caller sets y's scale. It adds to dx and dw, or
     * overwrites them where they are fresh. A dx in BF16 is always fresh. */
    dt_status (*run)(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions);
    void (*release)(dt_conv_share *share); /* frees the state, even if prepare failed; NULL where there is none */
} dt_conv_kernel;

/* Returns the directions of a set that a kernel can compute. */
static inline unsigned dt_conv_can(const dt_conv_kernel *kernel, const dt_node *node, const dt_exec *ex,
                                   unsigned directions)
{
    unsigned can = 0;

    for (unsigned d = DT_CONV_Y; d <= DT_CONV_DW; d <<= 1) {
        if ((directions & d) && !kernel->refuses(node, ex, d)) can |= d;
    }
    return can;
}

extern const dt_conv_kernel dt_conv_amx;       /* one group, all directions, on a CPU with tiles */
extern const dt_conv_kernel dt_conv_winograd;  /* 3x3, all directions */
extern const dt_conv_kernel dt_conv_small;     /* backward of a map so small that most taps fall outside */
extern const dt_conv_kernel dt_conv_winograd4; /* backward of 3x3 in f32, by AVX2 */
extern const dt_conv_kernel dt_conv_pairs;     /* y of codes of few bits, by AVX2 */
extern const dt_conv_kernel dt_conv_onednn;    /* exists only in a build with oneDNN */
extern const dt_conv_kernel dt_conv_integers;  /* y of codes, in 32-bit integers */
extern const dt_conv_kernel dt_conv_depthwise; /* one channel in each group */
extern const dt_conv_kernel dt_conv_plain;     /* everything */

/* Is CONV2D's prepare: it chooses a kernel of conv_choice.c's list for each direction that the node wants, and prepares
 * it. node->state holds the choice, even if this fails. */
DT_MUST_CHECK dt_status dt_conv_choose(dt_node *node, const dt_exec *ex, size_t *scratch_bytes);
/* Does the same with another list of n kernels. It is for tests. */
DT_MUST_CHECK dt_status dt_conv_choose_from(dt_node *node, const dt_exec *ex, const dt_conv_kernel *const *kernel,
                                            int n, size_t *scratch_bytes);
/* Is CONV2D's forward: it runs the chosen kernel and sets y's scale. */
DT_MUST_CHECK dt_status dt_conv_forward(const dt_node *node, const dt_exec *ex);
/* Is CONV2D's backward: it runs the chosen kernels. */
DT_MUST_CHECK dt_status dt_conv_backward(const dt_node *node, const dt_exec *ex);
/* Is CONV2D's release: it frees the choice. */
void dt_conv_release(dt_node *node);

/* Returns the name of the kernel that computes a direction of a prepared node, or NULL if the node does not want that
 * direction. */
const char *dt_conv_chosen(const dt_node *node, unsigned direction);

/* Returns 1 if this CPU multiplies bytes into exact 32-bit sums, according to oneDNN, or to word_gemm.c in a build
 * without it. */
int dt_conv_has_int8(void);
/* Returns 1 if this CPU multiplies bf16 into f32 sums, according to the same. */
int dt_conv_has_bf16(void);

/* Returns 1 if the codes of x and w are multiplied as bytes: they fit bytes, and this CPU multiplies bytes; or, where
 * it adds pairs of products in 16 bits, the pairs fit. */
int dt_conv_has_bytes(const dt_node *node);

/* Returns 1 if the operands of backward are bf16. */
int dt_conv_is_mixed(const dt_exec *ex);

#endif /* DT_CONV_KERNELS_H */
