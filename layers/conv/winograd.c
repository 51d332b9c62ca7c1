/*
 * winograd.c - the three directions of winograd.h as one kernel; on machines that they are not written for, a refusal
 * of everything.  Tests: tests/layers/test_conv_choice.c.
 */
#include "winograd.h"

#include "conv_trio.h"

#if !defined(__x86_64__)

DT_CONV_TRIO_NONE(dt_winograd_forward)
DT_CONV_TRIO_NONE(dt_winograd_backward_x)
DT_CONV_TRIO_NONE(dt_winograd_backward_w)

#endif

static const dt_conv_trio trios[3] = DT_CONV_TRIOS(dt_winograd);

static const char *winograd_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    return dt_conv_trio_of(trios, direction)->refuses(node, ex);
}

static dt_status winograd_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    (void)ex;
    dt_conv_trio_prepare(trios, node, ex, share);
    return DT_OK;
}

static dt_status winograd_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    dt_conv_trio_run(trios, node, ex, share, directions);
    return DT_OK;
}

const dt_conv_kernel dt_conv_winograd = {
    .name = "winograd",
    .refuses = winograd_refuses,
    .prepare = winograd_prepare,
    .run = winograd_run,
};
