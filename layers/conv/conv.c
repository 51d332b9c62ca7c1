/*
 * conv.c - 2-D convolution (cross-correlation), the operator that detent exists for.
 *
 *   y[n,p,q,k] = sum over r,s,c of x[n, h, v, g*C/groups + c] * w[k,r,s,c]
 *   h = p*stride + r*dilation - pad, of rows; v = q*stride + s*dilation - pad, of columns; g = k / (K/groups)
 *
 * Of two grid tensors it sums the integer codes: y is the psum, a grid tensor with scale sx * sw[k]. Every psum is
 * exact: the codes are summed in an integer or in a float wide enough, and rounded to f32 once, which changes nothing
 * below 2^24.
 *
 * Backward, with dy the gradient of the real y:  dx += dy (*) real w,  dw += sx * (x codes (*) dy).
 *
 * Shapes: x N,H,W,C; w K,R,S,C/groups; y N,P,Q,K with P = (H + top + bottom - dilation (R - 1) - 1) / stride + 1.
 * Here: the facts, and plain loops that any CPU runs. conv_onednn.c overwrites the loops where oneDNN is built in.
 * CUDA: cuda/cudnn/conv.c.  Tests: tests/layers/test_conv.c.
 */
#include "conv.h"

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

/* One output position: acc[k] = sum over the taps inside the image. double holds any sum of codes exactly. */
static void conv_at(const dt_conv_shape *s, const float *x, const float *w, int64_t p, int64_t q, double *acc)
{
    const int64_t channels = dt_conv_group_channels(s);

    for (int64_t k = 0; k < s->K; k++) {
        const int64_t first = dt_conv_first_channel(s, k);
        double sum = 0.0;
        for (int64_t r = 0; r < s->R; r++) {
            const int64_t h = dt_conv_reach(s, 0, p, r);
            if (h < 0 || h >= s->H) continue;
            for (int64_t t = 0; t < s->S; t++) {
                const int64_t v = dt_conv_reach(s, 1, q, t);
                if (v < 0 || v >= s->W) continue;
                const float *xc = x + (h * s->W + v) * s->C + first, *wc = w + ((k * s->R + r) * s->S + t) * channels;
                for (int64_t c = 0; c < channels; c++) sum += (double)xc[c] * (double)wc[c];
            }
        }
        acc[k] = sum;
    }
}

/* Sums in double: of each row of outputs forward; of each row of inputs, then of each filter tap, backward. */
size_t dt_conv_plain_scratch(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int64_t sums[3] = { s.N * s.P * s.K, s.N * s.H * s.C, s.K * s.terms };
    int64_t most = 0;

    for (int i = 0; i < 3; i++) most = sums[i] > most ? sums[i] : most;
    return (size_t)most * sizeof(double);
}

static dt_status conv_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = dt_conv_plain_scratch(node);
    return DT_OK;
}

static dt_status conv_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const float *x = node->in[0]->data, *w = node->in[1]->data;
    float *y = node->out->data;

#pragma omp parallel for
    for (int64_t row = 0; row < s.N * s.P; row++) {
        const int64_t n = row / s.P, p = row % s.P;
        double *acc = (double *)ex->scratch + row * s.K;
        for (int64_t q = 0; q < s.Q; q++) {
            conv_at(&s, x + n * s.H * s.W * s.C, w, p, q, acc);
            for (int64_t k = 0; k < s.K; k++) y[(row * s.Q + q) * s.K + k] = (float)acc[k];
        }
    }
    dt_conv_scale(node);
    return DT_OK;
}

/* dx at one position (h, v) of one image: acc[c] = sum over the taps and filters that saw it. */
static void conv_backward_x_at(const dt_conv_shape *s, const float *dy, const dt_tensor *w, int64_t h, int64_t v,
                               double *acc)
{
    const int64_t channels = dt_conv_group_channels(s);

    for (int64_t c = 0; c < s->C; c++) acc[c] = 0.0;
    for (int64_t tap = 0; tap < s->R * s->S; tap++) {
        const int64_t up = h - dt_conv_reach(s, 0, 0, tap / s->S), left = v - dt_conv_reach(s, 1, 0, tap % s->S);
        const int64_t p = up / s->stride[0], q = left / s->stride[1];
        if (up < 0 || left < 0 || up % s->stride[0] || left % s->stride[1] || p >= s->P || q >= s->Q) continue;
        for (int64_t k = 0; k < s->K; k++) {
            const double scale = w->n_scale ? (double)w->scale[w->n_scale > 1 ? k : 0] : 1.0;
            const double g = scale * (double)dy[(p * s->Q + q) * s->K + k];
            const float *wc = (const float *)w->data + (k * s->R * s->S + tap) * channels;
            double *sum = acc + dt_conv_first_channel(s, k);
            for (int64_t c = 0; c < channels; c++) sum[c] += g * (double)wc[c];
        }
    }
}

static void conv_backward_x(const dt_conv_shape *s, const float *dy, const dt_tensor *w, double *scratch, float *dx)
{
#pragma omp parallel for
    for (int64_t row = 0; row < s->N * s->H; row++) {
        const int64_t n = row / s->H, h = row % s->H;
        double *acc = scratch + row * s->C;
        for (int64_t v = 0; v < s->W; v++) {
            float *out = dx + (row * s->W + v) * s->C;
            conv_backward_x_at(s, dy + n * s->P * s->Q * s->K, w, h, v, acc);
            for (int64_t c = 0; c < s->C; c++) out[c] += (float)acc[c];
        }
    }
}

/* dw of one tap (k, r, s): sum over the batch in double, in a fixed order. acc: [C / groups] */
static void conv_backward_w(const dt_conv_shape *s, const float *x, const float *dy, int64_t k, int64_t r, int64_t t,
                            double *acc)
{
    const int64_t channels = dt_conv_group_channels(s), first = dt_conv_first_channel(s, k);

    for (int64_t c = 0; c < channels; c++) acc[c] = 0.0;
    for (int64_t row = 0; row < s->N * s->P; row++) {
        const int64_t n = row / s->P, h = dt_conv_reach(s, 0, row % s->P, r);
        if (h < 0 || h >= s->H) continue;
        for (int64_t q = 0; q < s->Q; q++) {
            const int64_t v = dt_conv_reach(s, 1, q, t);
            if (v < 0 || v >= s->W) continue;
            const double g = (double)dy[(row * s->Q + q) * s->K + k];
            const float *xc = x + ((n * s->H + h) * s->W + v) * s->C + first;
            for (int64_t c = 0; c < channels; c++) acc[c] += g * (double)xc[c];
        }
    }
}

static dt_status conv_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    const float *dy = node->out->grad;

    if (x->grad) conv_backward_x(&s, dy, w, ex->scratch, x->grad);
    if (w->grad) {
        const int64_t channels = dt_conv_group_channels(&s);
        const double sx = x->n_scale ? (double)x->scale[0] : 1.0;
#pragma omp parallel for
        for (int64_t tap = 0; tap < s.K * s.R * s.S; tap++) {
            double *acc = (double *)ex->scratch + tap * channels;
            conv_backward_w(&s, x->data, dy, tap / (s.R * s.S), tap / s.S % s.R, tap % s.S, acc);
            for (int64_t c = 0; c < channels; c++) dt_grads(w)[tap * channels + c] += (float)(sx * acc[c]);
        }
    }
    return DT_OK;
}

const dt_kernel dt_cpu_conv = { .prepare = conv_prepare, .forward = conv_forward, .backward = conv_backward };
