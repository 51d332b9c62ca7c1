/*
 * winograd.c - the three directions of winograd.h as one kernel; on machines that they are not written for, directions
 *              that nothing fits.  Tests: tests/layers/test_conv_choice.c.
 */
#include "conv_kernels.h"
#include "winograd.h"

#if !defined(__x86_64__)

/* Everything is refused, so the rest of a trio is never called. */
#define NONE(direction)                                                                   \
    const char *dt_winograd_##direction##_refuses(const dt_node *node, const dt_exec *ex) \
    {                                                                                     \
        (void)node, (void)ex;                                                             \
        return "not written for this CPU";                                                \
    }                                                                                     \
    size_t dt_winograd_##direction##_scratch(const dt_node *node, int threads)            \
    {                                                                                     \
        (void)node, (void)threads;                                                        \
        return 0;                                                                         \
    }                                                                                     \
    void dt_winograd_##direction(const dt_node *node, void *scratch, int threads)         \
    {                                                                                     \
        (void)node, (void)scratch, (void)threads;                                         \
    }

NONE(forward)
NONE(backward_x)
NONE(backward_w)

#endif

static const char *winograd_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    switch (direction) {
    case DT_CONV_Y: return dt_winograd_forward_refuses(node, ex);
    case DT_CONV_DX: return dt_winograd_backward_x_refuses(node, ex);
    default: return dt_winograd_backward_w_refuses(node, ex);
    }
}

static dt_status winograd_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const size_t bytes[3] = {
        share->directions & DT_CONV_Y ? dt_winograd_forward_scratch(node, share->threads) : 0,
        share->directions & DT_CONV_DX ? dt_winograd_backward_x_scratch(node, share->threads) : 0,
        share->directions & DT_CONV_DW ? dt_winograd_backward_w_scratch(node, share->threads) : 0,
    };
    (void)ex;

    for (int i = 0; i < 3; i++)
        share->scratch_bytes = bytes[i] > share->scratch_bytes ? bytes[i] : share->scratch_bytes;
    return DT_OK;
}

static dt_status winograd_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    if (directions & DT_CONV_Y) dt_winograd_forward(node, ex->scratch, share->threads);
    if (directions & DT_CONV_DX) dt_winograd_backward_x(node, ex->scratch, share->threads);
    if (directions & DT_CONV_DW) dt_winograd_backward_w(node, ex->scratch, share->threads);
    return DT_OK;
}

const dt_conv_kernel dt_conv_winograd = {
    .name = "winograd",
    .refuses = winograd_refuses,
    .prepare = winograd_prepare,
    .run = winograd_run,
};
