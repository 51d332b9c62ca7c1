/*
 * amx_conv.c - the three directions of amx_conv.h as one kernel, where the CPU's level has tiles; on machines that they
 *              are not written for, a refusal of everything.  Tests: tests/layers/test_conv_choice.c.
 */
#include "amx_conv.h"

#include "../../core/cpu_level.h"
#include "conv_trio.h"

#if !defined(__x86_64__)

DT_CONV_TRIO_NONE(dt_amx_forward)
DT_CONV_TRIO_NONE(dt_amx_backward_x)
DT_CONV_TRIO_NONE(dt_amx_backward_w)

#endif

static const dt_conv_trio trios[3] = DT_CONV_TRIOS(dt_amx);

static const char *amx_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    if (dt_cpu_level_now() < DT_CPU_AMX)
        return dt_cpu_level_best() < DT_CPU_AMX ? "no tiles" : "DETENT_CPU names a lower level";
    return dt_conv_trio_of(trios, direction)->refuses(node, ex);
}

static dt_status amx_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    dt_conv_trio_prepare(trios, node, ex, share);
    return DT_OK;
}

static dt_status amx_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    dt_conv_trio_run(trios, node, ex, share, directions);
    return DT_OK;
}

const dt_conv_kernel dt_conv_amx = {
    .name = "amx",
    .refuses = amx_refuses,
    .prepare = amx_prepare,
    .run = amx_run,
};
