/*
 * conv_problem.c - see conv_problem.h.
 */
#include "conv_problem.h"

#include "../../core/align.h"
#include "../../layers/conv/conv.h"
#include "../../core/arith/grid.h"

#include <assert.h>
#include <limits.h>
#include <math.h>

/* The largest code of activations of 4 bits. */
enum { NARROW_CODES = 15 };

/* fp16 and TF32: the largest code that the type holds together with all smaller ones */
enum { EXACT_CODES = 2048 };

/* Psums are stored in fp16 as 2^-PSUM_SHIFT of themselves; 65,504 is the largest number of fp16. */
enum { PSUM_SHIFT = 3, LARGEST_PSUM = DT_PSUM_F16_UNIT * 65504 };
static_assert(DT_PSUM_F16_UNIT == 1 << PSUM_SHIFT, "the unit of psums in fp16");

/* cuDNN's 16-bit and 8-bit engines read 16 bytes at a time: channels come in multiples of these. */
enum { CHANNELS_16_BITS = 8, CHANNELS_8_BITS = 16 };

static int fits_i8(const dt_tensor *t)
{
    return t->qmin >= INT8_MIN && t->qmax <= INT8_MAX;
}

static int64_t largest_code(const dt_node *node)
{
    const int64_t x = dt_code_bound(node->in[0]), w = dt_code_bound(node->in[1]);
    return x > w ? x : w;
}

/* Whether 16-bit engines can read the tensors. A single group's channels can be padded, those of several cannot. */
static int has_16_bit_channels(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    return s.K % CHANNELS_16_BITS == 0 && (s.groups == 1 || s.C % CHANNELS_16_BITS == 0);
}

/* Whether cuDNN has a deterministic engine for both passes of backward from bf16 to f32: see test_cudnn_plans.c. */
static int has_bf16_backward(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int is_dilated = s.dilation[0] > 1 || s.dilation[1] > 1, is_strided = s.stride[0] > 1 || s.stride[1] > 1;

    return s.groups == 1 && !(is_dilated && is_strided);
}

/* Whether the psums of codes in fp16 are exact, and cuDNN has an engine. */
static int takes_f16_codes(const dt_node *node)
{
    const dt_tensor *y = node->out;

    return y->n_scale > 0 && y->qmax < DT_F32_EXACT && largest_code(node) <= EXACT_CODES && has_16_bit_channels(node);
}

/* Whether real values are multiplied as bf16 forward, as they are backward. */
static int takes_bf16_reals(const dt_node *node, const dt_exec *ex)
{
    if (node->in[0]->n_scale > 0 || node->in[1]->n_scale > 0) return 0;
    return ex->precision == DT_PRECISION_MIXED && ex->training && has_16_bit_channels(node) && has_bf16_backward(node);
}

/* Refuses psums that neither sums of f32 nor products of 8 bits hold exactly. */
static dt_status choose_forward(const dt_node *node, const dt_exec *ex, dt_conv_problem *p)
{
    const dt_tensor *y = node->out;
    const int mixed = ex->precision == DT_PRECISION_MIXED;

    p->keep_f32 = !(mixed && ex->training);
    if (takes_bf16_reals(node, ex)) p->operand = DT_BF16;
    if (y->n_scale == 0) return DT_OK;
    DT_CHECK(y->qmax < DT_F32_EXACT || (fits_i8(node->in[0]) && fits_i8(node->in[1])), DT_ERR_UNSUPPORTED,
             "%s: psums may reach %lld, at or above 2^24, which f32 sums do not hold exactly, and codes up to %lld do "
             "not fit the 8-bit products that are summed in int32; use fewer bits",
             node->name, (long long)y->qmax, (long long)largest_code(node));
    if (y->qmax >= DT_F32_EXACT)
        p->operand = DT_I8;
    else if (mixed && takes_f16_codes(node))
        p->operand = DT_F16;
    p->keep_f32 = largest_code(node) > EXACT_CODES;
    p->result = y->type;
    p->shift = y->type == DT_F16 ? PSUM_SHIFT : 0;
    assert(p->result == DT_F32 || p->operand == DT_F16); /* by dt_conv_storage */
    return DT_OK;
}

/* Filters' gradients are summed in units of x's codes. Those of wide codes, an image's, are many times the real
 * gradient, and would reach the end of fp16 before any other layer's: the loss scale is one for all. */
static int gradient_shift(const dt_tensor *x)
{
    int shift = 0;

    if (x->n_scale == 0 || dt_code_bound(x) <= NARROW_CODES) return 0;
    while (dt_code_bound(x) >> shift > NARROW_CODES / 4) shift++;
    return shift;
}

static void choose_backward(const dt_node *node, int mixed, dt_conv_problem *p)
{
    p->keep_f32 = 1;
    if (!mixed || !has_16_bit_channels(node)) return;
    if (node->out->grad_type == DT_F16) {
        p->operand = p->result = DT_F16;
        if (p->pass == DT_CONV_BACKWARD_FILTER) p->shift = gradient_shift(node->in[0]);
    } else if (has_bf16_backward(node))
        p->operand = DT_BF16;
}

static int padded_channels(int channels, int groups, dt_dtype operand)
{
    if (groups > 1) return channels; /* each group would need its own */
    const int unit = operand == DT_F32 ? 1 : operand == DT_I8 ? CHANNELS_8_BITS : CHANNELS_16_BITS;
    return (int)dt_round_up((size_t)channels, (size_t)unit);
}

/* cuDNN counts the elements of x and of y in 32 bits; ours have fewer than 2^62, as they lie in memory. */
static dt_status check_count(const dt_node *node, const char *op, const dt_shape *x, int64_t count)
{
    DT_CHECK(count <= INT_MAX, DT_ERR_SHAPE,
             "%s: %s: %lld images of %lldx%lldx%lld have %lld values, and cuDNN counts to 2147483647; use a smaller "
             "batch",
             node->name, op, (long long)x->dim[0], (long long)x->dim[1], (long long)x->dim[2], (long long)x->dim[3],
             (long long)count);
    return DT_OK;
}

dt_status dt_conv_problem_of(const dt_node *node, dt_conv_pass pass, const dt_exec *ex, dt_conv_problem *out)
{
    const dt_conv_shape s = dt_conv_shape_of(node);

    DT_CHECK(s.N * s.H * s.W <= INT_MAX && s.C <= INT_MAX / CHANNELS_8_BITS && s.K <= INT_MAX, DT_ERR_SHAPE,
             "%s: conv: %lld images of %lldx%lldx%lld are more than cuDNN takes at once; use a smaller batch",
             node->name, (long long)s.N, (long long)s.H, (long long)s.W, (long long)s.C);
    dt_conv_problem p = { .pass = pass,
                          .operand = DT_F32,
                          .result = DT_F32,
                          .n = (int)s.N,
                          .h = (int)s.H,
                          .w = (int)s.W,
                          .k = (int)s.K,
                          .r = (int)s.R,
                          .s = (int)s.S,
                          .form = *(const dt_conv_params *)node->params };
    if (pass == DT_CONV_FORWARD)
        DT_TRY(choose_forward(node, ex, &p));
    else
        choose_backward(node, ex->precision == DT_PRECISION_MIXED, &p);
    p.c = padded_channels((int)s.C, p.form.groups, p.operand);
    DT_TRY(check_count(node, "conv", &node->in[0]->shape, (int64_t)p.n * p.h * p.w * p.c));
    DT_TRY(check_count(node, "conv", &node->out->shape, dt_count(&node->out->shape)));
    *out = p;
    return DT_OK;
}

dt_status dt_conv_transpose_problem_of(const dt_node *node, dt_conv_pass pass, const dt_exec *ex, dt_conv_problem *out)
{
    const dt_conv_transpose_params *params = node->params;
    const dt_shape *x = &node->in[0]->shape, *y = &node->out->shape;
    const dt_conv_params form = dt_conv_square(params->stride, params->pad);
    const dt_conv_shape s = dt_conv_shape_from(y->dim, node->in[1]->shape.dim, x->dim, &form);

    DT_TRY(check_count(node, "conv_transpose", x, dt_count(x)));
    DT_TRY(check_count(node, "conv_transpose", y, dt_count(y)));
    *out = (dt_conv_problem){ .pass = pass,
                              .operand = DT_F32,
                              .result = DT_F32,
                              .keep_f32 = !(ex->precision == DT_PRECISION_MIXED && ex->training),
                              .n = (int)s.N,
                              .h = (int)s.H,
                              .w = (int)s.W,
                              .c = (int)s.C,
                              .k = (int)s.K,
                              .r = (int)s.R,
                              .s = (int)s.S,
                              .form = form };
    return DT_OK;
}

/* 1: gradients of others are added to those of this tape, which is done in f32 */
static int is_part(const dt_node *conv)
{
    return conv->purpose.images < conv->purpose.step_images;
}

dt_storage dt_conv_storage(const dt_node *conv, const dt_exec *ex)
{
    const int whole = conv->in[0]->shape.dim[3] % CHANNELS_16_BITS == 0; /* no channels are added to x */
    dt_storage s = { .x = DT_F32, .w_grad = DT_F32 };

    if (takes_bf16_reals(conv, ex)) {
        if (whole) s.x = DT_BF16;
        s.y_grad = DT_BF16;
    }
    if (ex->precision != DT_PRECISION_MIXED || !takes_f16_codes(conv)) return s;
    s.w = DT_F16;
    if (whole) s.x = DT_F16;
    if (!ex->training) return s;
    s.y_grad = DT_F16;
    if (whole) s.x_grad = DT_F16;
    if (!whole) s.padded = padded_channels((int)conv->in[0]->shape.dim[3], 1, DT_F16);
    if (!is_part(conv)) s.w_grad = DT_F16;
    s.w_real = whole;
    s.w_unit = ldexpf(1.0f, gradient_shift(conv->in[0]));
    if (conv->out->qmax <= LARGEST_PSUM) s.y = DT_F16;
    return s;
}
