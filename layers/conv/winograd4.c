/*
 * winograd4.c - the two directions of winograd4.h as one kernel; on machines that they are not written for, a refusal
 * of everything.  Tests: tests/layers/test_conv_choice.c.
 */
#include "winograd4.h"

#include "conv_trio.h"
#include "winograd.h"
#include "../gemm/float_gemm.h"

#if !defined(__x86_64__)

DT_CONV_TRIO_NONE(dt_winograd4_backward_x)
DT_CONV_TRIO_NONE(dt_winograd4_backward_w)

#endif

/* Returns 1 if these passes are faster than oneDNN, as was measured: there are at most half the products of the
 * definition (not so for a map of 5x5, whose tiles are mostly padding), and enough of them to pay for the transforms.
 */
static int saves(const dt_conv_shape *s)
{
    const int64_t tiles = (s->H + 3) / 4 * ((s->W + 3) / 4);

    return 2 * DT_WINOGRAD4_POINTS * tiles <= 9 * s->H * s->W && s->C * s->K >= 512;
}

const char *dt_winograd4_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    if (ex->precision != DT_PRECISION_MIXED) return "backward is f32";
    if (dt_conv_has_bf16()) return "this CPU multiplies bf16";
    if (!dt_float_gemm_has_fma()) return "no AVX2 with FMA";
    if (dt_winograd_shape_refuses(&s)) return dt_winograd_shape_refuses(&s);
    return saves(&s) ? NULL : "the map is too small, or channels are too few, to gain";
}

static const char *forward_refuses(const dt_node *node, const dt_exec *ex)
{
    (void)node, (void)ex;
    return "backward alone";
}

static const dt_conv_trio trios[3] = {
    { forward_refuses, NULL, NULL },
    { dt_winograd4_backward_x_refuses, dt_winograd4_backward_x_scratch, dt_winograd4_backward_x },
    { dt_winograd4_backward_w_refuses, dt_winograd4_backward_w_scratch, dt_winograd4_backward_w },
};

static const char *winograd4_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    return dt_conv_trio_of(trios, direction)->refuses(node, ex);
}

static dt_status winograd4_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    dt_conv_trio_prepare(trios, node, ex, share);
    return DT_OK;
}

static dt_status winograd4_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    dt_conv_trio_run(trios, node, ex, share, directions);
    return DT_OK;
}

const dt_conv_kernel dt_conv_winograd4 = {
    .name = "winograd4",
    .refuses = winograd4_refuses,
    .prepare = winograd4_prepare,
    .run = winograd4_run,
};
