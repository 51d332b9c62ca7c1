/*
 * amx_conv.c - the three directions of amx_conv.h as one kernel, where the CPU's level has tiles; on machines that they
 *              are not written for, directions that nothing fits.  Tests: tests/layers/test_conv_choice.c.
 */
#include "amx_conv.h"

#include "../../core/cpu_level.h"
#include "conv_kernels.h"

#if !defined(__x86_64__)

/* amx_refuses refuses everything, so none of these is called. */
#define NONE(direction)                                                              \
    const char *dt_amx_##direction##_refuses(const dt_node *node, const dt_exec *ex) \
    {                                                                                \
        (void)node, (void)ex;                                                        \
        return "not written for this CPU";                                           \
    }                                                                                \
    size_t dt_amx_##direction##_scratch(const dt_node *node, int threads)            \
    {                                                                                \
        (void)node, (void)threads;                                                   \
        return 0;                                                                    \
    }                                                                                \
    void dt_amx_##direction(const dt_node *node, void *scratch, int threads)         \
    {                                                                                \
        (void)node, (void)scratch, (void)threads;                                    \
    }

NONE(forward)
NONE(backward_x)
NONE(backward_w)

#endif

static const char *amx_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    if (dt_cpu_level_now() < DT_CPU_AMX)
        return dt_cpu_level_best() < DT_CPU_AMX ? "no tiles" : "DETENT_CPU names a lower level";
    switch (direction) {
    case DT_CONV_Y: return dt_amx_forward_refuses(node, ex);
    case DT_CONV_DX: return dt_amx_backward_x_refuses(node, ex);
    default: return dt_amx_backward_w_refuses(node, ex);
    }
}

static dt_status amx_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const size_t bytes[3] = {
        share->directions & DT_CONV_Y ? dt_amx_forward_scratch(node, share->threads) : 0,
        share->directions & DT_CONV_DX ? dt_amx_backward_x_scratch(node, share->threads) : 0,
        share->directions & DT_CONV_DW ? dt_amx_backward_w_scratch(node, share->threads) : 0,
    };
    (void)ex;

    for (int i = 0; i < 3; i++)
        share->scratch_bytes = bytes[i] > share->scratch_bytes ? bytes[i] : share->scratch_bytes;
    return DT_OK;
}

static dt_status amx_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    if (directions & DT_CONV_Y) dt_amx_forward(node, ex->scratch, share->threads);
    if (directions & DT_CONV_DX) dt_amx_backward_x(node, ex->scratch, share->threads);
    if (directions & DT_CONV_DW) dt_amx_backward_w(node, ex->scratch, share->threads);
    return DT_OK;
}

const dt_conv_kernel dt_conv_amx = {
    .name = "amx",
    .refuses = amx_refuses,
    .prepare = amx_prepare,
    .run = amx_run,
};
