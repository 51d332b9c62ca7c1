/*
 * conv_trio.h - a kernel of conv_kernels.h that is made of a trio of functions for each direction: y, dx, dw.
 */
#ifndef DT_CONV_TRIO_H
#define DT_CONV_TRIO_H

#include "conv_kernels.h"

/* One direction: why a node does not qualify, or NULL; bytes of scratch for a number of threads; and the computation,
 * in ex->scratch, on at most that many threads. */
typedef struct {
    const char *(*refuses)(const dt_node *node, const dt_exec *ex);
    size_t (*scratch)(const dt_node *node, const dt_exec *ex, int threads);
    void (*run)(const dt_node *node, const dt_exec *ex, int threads);
} dt_conv_trio;

/* Initialises the three of a family of functions: prefix_forward and so on. */
#define DT_CONV_TRIOS(prefix)                                                                  \
    {                                                                                          \
        { prefix##_forward_refuses, prefix##_forward_scratch, prefix##_forward },              \
            { prefix##_backward_x_refuses, prefix##_backward_x_scratch, prefix##_backward_x }, \
            { prefix##_backward_w_refuses, prefix##_backward_w_scratch, prefix##_backward_w }, \
    }

/* Defines a family for a machine that it is not written for: everything is refused, and the rest is never called. */
#define DT_CONV_TRIO_NONE(name)                                                \
    const char *name##_refuses(const dt_node *node, const dt_exec *ex)         \
    {                                                                          \
        (void)node, (void)ex;                                                  \
        return "not written for this CPU";                                     \
    }                                                                          \
    size_t name##_scratch(const dt_node *node, const dt_exec *ex, int threads) \
    {                                                                          \
        (void)node, (void)ex, (void)threads;                                   \
        return 0;                                                              \
    }                                                                          \
    void name(const dt_node *node, const dt_exec *ex, int threads)             \
    {                                                                          \
        (void)node, (void)ex, (void)threads;                                   \
    }

/* Returns the trio of a direction. */
static inline const dt_conv_trio *dt_conv_trio_of(const dt_conv_trio trio[3], unsigned direction)
{
    return &trio[direction == DT_CONV_Y ? 0 : direction == DT_CONV_DX ? 1 : 2];
}

/* Is the kernel's prepare: the most scratch of any of the share's directions. */
static inline void dt_conv_trio_prepare(const dt_conv_trio trio[3], const dt_node *node, const dt_exec *ex,
                                        dt_conv_share *share)
{
    for (unsigned d = DT_CONV_Y; d <= DT_CONV_DW; d <<= 1) {
        const size_t bytes = share->directions & d ? dt_conv_trio_of(trio, d)->scratch(node, ex, share->threads) : 0;
        if (bytes > share->scratch_bytes) share->scratch_bytes = bytes;
    }
}

/* Is the kernel's run. */
static inline void dt_conv_trio_run(const dt_conv_trio trio[3], const dt_node *node, const dt_exec *ex,
                                    const dt_conv_share *share, unsigned directions)
{
    for (unsigned d = DT_CONV_Y; d <= DT_CONV_DW; d <<= 1) {
        if (directions & d) dt_conv_trio_of(trio, d)->run(node, ex, share->threads);
    }
}

#endif /* DT_CONV_TRIO_H */
