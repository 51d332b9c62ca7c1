/*
 * conv.c - 2-D convolution (cross-correlation), the operator that detent exists for.
 *
 *   y[n,p,q,k] = sum over r,s,c of x[n, h, v, g*C/groups + c] * w[k,r,s,c]
 *   h = p*stride + r*dilation - pad, of rows; v = q*stride + s*dilation - pad, of columns; g = k / (K/groups)
 *
 * If x and w are grid tensors, it sums their codes. y is then the psum, a grid tensor with scale sx * sw[k]. Every psum
 * is exact: the products are summed in an integer or in a float that is wide enough, and rounded to f32 once, which
 * changes nothing below 2^24.
 *
 * Backward, with dy the gradient of the real y:  dx += dy (*) real w,  dw += sx * (x codes (*) dy).
 *
 * Shapes: x N,H,W,C; w K,R,S,C/groups; y N,P,Q,K with P = (H + top + bottom - dilation (R - 1) - 1) / stride + 1.
 * This file has the facts. conv_choice.c chooses the kernel, and any CPU can run conv_plain.c.
 * CUDA: cuda/cudnn/conv.c.  Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c.
 */
#include "conv_kernels.h"

/* Every field on its own. */
static dt_status params_check(const dt_node *node)
{
    const dt_conv_params *p = node->params;

    DT_CHECK(p->stride[0] >= 1 && p->stride[1] >= 1, DT_ERR_ARGUMENT,
             "%s: conv: stride is %d,%d; both must be 1 or more", node->name, p->stride[0], p->stride[1]);
    DT_CHECK(p->dilation[0] >= 1 && p->dilation[1] >= 1, DT_ERR_ARGUMENT,
             "%s: conv: dilation is %d,%d; both must be 1 or more", node->name, p->dilation[0], p->dilation[1]);
    DT_CHECK(p->pad[0] >= 0 && p->pad[1] >= 0 && p->pad[2] >= 0 && p->pad[3] >= 0, DT_ERR_ARGUMENT,
             "%s: conv: pad is %d,%d,%d,%d; none may be below 0", node->name, p->pad[0], p->pad[1], p->pad[2],
             p->pad[3]);
    DT_CHECK(p->groups >= 1, DT_ERR_ARGUMENT, "%s: conv: groups is %d, must be 1 or more", node->name, p->groups);
    return DT_OK;
}

static dt_status channels_check(const dt_node *node)
{
    const int groups = ((const dt_conv_params *)node->params)->groups;
    const int64_t C = node->in[0]->shape.dim[3], K = node->in[1]->shape.dim[0], each = node->in[1]->shape.dim[3];

    DT_CHECK(C % groups == 0, DT_ERR_SHAPE, "%s: conv: x has %lld channels, which %d groups do not divide", node->name,
             (long long)C, groups);
    DT_CHECK(K % groups == 0, DT_ERR_SHAPE, "%s: conv: w has %lld filters, which %d groups do not divide", node->name,
             (long long)K, groups);
    DT_CHECK(each == C / groups, DT_ERR_SHAPE,
             "%s: conv: x has %lld channels, w expects %lld: %lld in each of %d groups", node->name, (long long)C,
             (long long)each * groups, (long long)each, groups);
    return DT_OK;
}

static dt_status conv_check(const dt_node *node)
{
    const dt_conv_params *p = node->params;
    const dt_tensor *x = node->in[0], *w = node->in[1];

    DT_CHECK(x->shape.ndim == 4 && w->shape.ndim == 4, DT_ERR_SHAPE,
             "%s: conv wants x N,H,W,C and w K,R,S,C, got %d and %d dimensions", node->name, x->shape.ndim,
             w->shape.ndim);
    DT_TRY(params_check(node));
    DT_TRY(channels_check(node));
    const int64_t *side = x->shape.dim + 1, *taps = w->shape.dim + 1;
    const int64_t span[2] = { dt_conv_span(p, 0, taps[0]), dt_conv_span(p, 1, taps[1]) };
    const int64_t room[2] = { dt_conv_padded(p, 0, side[0]), dt_conv_padded(p, 1, side[1]) };
    DT_CHECK(span[0] <= room[0] && span[1] <= room[1], DT_ERR_SHAPE,
             "%s: conv: kernel %lldx%lld, with dilation %d,%d, is larger than the padded input %lldx%lld", node->name,
             (long long)span[0], (long long)span[1], p->dilation[0], p->dilation[1], (long long)room[0],
             (long long)room[1]);
    DT_CHECK((x->n_scale > 0) == (w->n_scale > 0) && x->n_scale <= 1, DT_ERR_ARGUMENT,
             "%s: conv: both x (one scale) and w are on the grid, or neither", node->name);
    return DT_OK;
}

dt_status dt_conv_infer(dt_node *node)
{
    DT_TRY(conv_check(node));
    const dt_conv_params *p = node->params;
    const dt_tensor *x = node->in[0], *w = node->in[1];
    dt_tensor *y = node->out;

    y->type = DT_F32;
    y->shape = (dt_shape){ 4,
                           { x->shape.dim[0], dt_conv_out_size(p, 0, x->shape.dim[1], w->shape.dim[1]),
                             dt_conv_out_size(p, 1, x->shape.dim[2], w->shape.dim[2]), w->shape.dim[0] } };
    if (x->n_scale == 0) return DT_OK;
    const dt_conv_shape s = dt_conv_shape_of(node);
    y->n_scale = w->n_scale;
    y->qmax = s.terms * dt_code_bound(x) * dt_code_bound(w);
    if (w->sum_most > 0 && w->sum_most * dt_code_bound(x) < y->qmax) y->qmax = w->sum_most * dt_code_bound(x);
    y->qmin = -y->qmax;
    DT_CHECK(y->qmax <= INT32_MAX, DT_ERR_NUMERIC,
             "%s: conv: psums may reach %lld, beyond 32 bits; use fewer bits or fewer channels", node->name,
             (long long)y->qmax);
    return DT_OK;
}

static const dt_field conv_fields[] = {
    { DT_MEMBER(dt_conv_params, stride), DT_INTS(2, 1, 4096) },
    { DT_MEMBER(dt_conv_params, pad), DT_INTS(4, 0, 4096) },
    { DT_MEMBER(dt_conv_params, dilation), DT_INTS(2, 1, 4096) },
    { DT_MEMBER(dt_conv_params, groups), DT_INT(1, 1 << 20) },
};

static const dt_conv_params conv_defaults = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };

const dt_op dt_op_conv = {
    .name = "conv",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_conv_params, conv_fields),
    .defaults = &conv_defaults,
    .backward_reads = DT_READS_IN(0) | DT_READS_IN(1),
    .infer = dt_conv_infer,
};

const dt_kernel dt_cpu_conv = {
    .prepare = dt_conv_choose,
    .forward = dt_conv_forward,
    .backward = dt_conv_backward,
    .release = dt_conv_release,
    .overwrites = 3u,
    .narrow = DT_READS_IN(0),
};
