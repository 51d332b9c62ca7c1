/*
 * conv_lists.h - CONV2D on the CPU with other lists of kernels than conv_choice.c's own.
 */
#ifndef CONV_LISTS_H
#define CONV_LISTS_H

#include "../../layers/conv/conv_kernels.h"
#include "op_rig.h"

#include <criterion/criterion.h>

/* conv_choice.c's list in a build without oneDNN */
static inline dt_status prepare_own(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    static const dt_conv_kernel *const own[] = { &dt_conv_amx,      &dt_conv_winograd,  &dt_conv_small, &dt_conv_pairs,
                                                 &dt_conv_integers, &dt_conv_depthwise, &dt_conv_plain };
    return dt_conv_choose_from(node, ex, own, 7, scratch_bytes);
}

/* y in integers wherever they hold it */
static inline dt_status prepare_integers(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    static const dt_conv_kernel *const two[] = { &dt_conv_integers, &dt_conv_plain };
    return dt_conv_choose_from(node, ex, two, 2, scratch_bytes);
}

/* y by pairs of bytes wherever they fit */
static inline dt_status prepare_pairs(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    static const dt_conv_kernel *const two[] = { &dt_conv_pairs, &dt_conv_plain };
    return dt_conv_choose_from(node, ex, two, 2, scratch_bytes);
}

static inline dt_status prepare_plain(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    static const dt_conv_kernel *const plain[] = { &dt_conv_plain };
    return dt_conv_choose_from(node, ex, plain, 1, scratch_bytes);
}

#define CONV_LIST(list)                                                                                          \
    {                                                                                                            \
        .prepare = (list), .forward = dt_conv_forward, .backward = dt_conv_backward, .release = dt_conv_release, \
        .overwrites = 3u                                                                                         \
    }
static const dt_kernel conv_by_own = CONV_LIST(prepare_own);
static const dt_kernel conv_by_integers = CONV_LIST(prepare_integers);
static const dt_kernel conv_by_pairs = CONV_LIST(prepare_pairs);
static const dt_kernel conv_by_plain = CONV_LIST(prepare_plain);

/* Runs the plain loops in place of the table's kernel. */
static inline void forward_plain(op_rig *rig)
{
    dt_node node = rig->node;
    size_t bytes = 0;
    node.state = NULL;
    cr_assert(conv_by_plain.prepare(&node, &rig->ex, &bytes) == DT_OK);
    cr_assert(dt_context_reserve(rig->ctx, 0, bytes) == DT_OK);
    const dt_exec ex = dt_context_exec(rig->ctx);
    cr_assert(conv_by_plain.forward(&node, &ex) == DT_OK);
    conv_by_plain.release(&node);
}

#endif /* CONV_LISTS_H */
