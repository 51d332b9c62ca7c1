/*
 * conv_problem.c - see conv_problem.h.
 */
#include "conv_problem.h"

#include "../layers/conv.h"
#include "../quant/grid.h"

#include <limits.h>

/* the largest code that a type holds together with all smaller ones */
enum { BF16_EXACT = 256, TF32_EXACT = 2048 };

/* cuDNN's 16-bit and 8-bit engines read 16 bytes at a time: channels come in multiples of these. */
enum { BF16_CHANNELS = 8, I8_CHANNELS = 16 };

static int fits_i8(const dt_tensor *t)
{
    return t->qmin >= INT8_MIN && t->qmax <= INT8_MAX;
}

static dt_status choose_forward(const dt_node *node, int mixed, dt_conv_problem *p)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;

    p->operand = DT_OPERAND_F32;
    p->keep_f32 = 1;
    if (y->n_scale == 0) return DT_OK;
    const int64_t bound = dt_code_bound(x) > dt_code_bound(w) ? dt_code_bound(x) : dt_code_bound(w);
    DT_CHECK(y->qmax < DT_F32_EXACT || (fits_i8(x) && fits_i8(w)), DT_ERR_UNSUPPORTED,
             "%s: psums may reach %lld, at or above 2^24, which f32 sums do not hold exactly, and codes up to %lld do "
             "not fit the 8-bit products that are summed in int32; use fewer bits",
             node->name, (long long)y->qmax, (long long)bound);
    if (y->qmax >= DT_F32_EXACT)
        p->operand = DT_OPERAND_I8;
    else if (mixed && bound <= BF16_EXACT && p->k % BF16_CHANNELS == 0)
        p->operand = DT_OPERAND_BF16;
    p->keep_f32 = bound > TF32_EXACT;
    return DT_OK;
}

static void choose_backward(int mixed, dt_conv_problem *p)
{
    p->operand = mixed && p->k % BF16_CHANNELS == 0 ? DT_OPERAND_BF16 : DT_OPERAND_F32;
    p->keep_f32 = 1;
}

static int padded_channels(int channels, dt_operand operand)
{
    const int unit = operand == DT_OPERAND_BF16 ? BF16_CHANNELS : operand == DT_OPERAND_I8 ? I8_CHANNELS : 1;
    return (channels + unit - 1) / unit * unit;
}

dt_status dt_conv_problem_of(const dt_node *node, dt_conv_pass pass, dt_precision precision, dt_conv_problem *out)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int mixed = precision == DT_PRECISION_MIXED;

    DT_CHECK(s.N * s.H * s.W <= INT_MAX && s.C <= INT_MAX / I8_CHANNELS && s.K <= INT_MAX, DT_ERR_SHAPE,
             "%s: conv: %lld images of %lldx%lldx%lld are more than cuDNN takes at once; use a smaller batch",
             node->name, (long long)s.N, (long long)s.H, (long long)s.W, (long long)s.C);
    dt_conv_problem p = { .pass = pass,
                          .n = (int)s.N,
                          .h = (int)s.H,
                          .w = (int)s.W,
                          .k = (int)s.K,
                          .r = (int)s.R,
                          .s = (int)s.S,
                          .stride = (int)s.stride,
                          .pad = (int)s.pad };
    if (pass == DT_CONV_FORWARD)
        DT_TRY(choose_forward(node, mixed, &p));
    else
        choose_backward(mixed, &p);
    p.c = padded_channels((int)s.C, p.operand);
    *out = p;
    return DT_OK;
}
