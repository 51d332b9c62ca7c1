/*
 * ops_check.c - is what a node has just computed right? At random positions, by plain loops that share no code with
 *               the kernels; see ops.h.
 *
 *   "int64"    convolution of codes: equal to the sum in 64-bit integers (in fp16: to that sum, rounded)
 *   "double"   convolution of reals, and its gradients: near to the sums in double by the length of their difference,
 *              since a transform (Winograd's) spreads each rounding over its whole tile; measured by the sums' own
 *              length, or by that of their products, which is larger where these cancel
 *   "nearest"  quantizers of activations, batch norm with what follows it: no code is nearer to the value in double,
 *              but for 0.001 of a code
 *   "range"    weight codes: integers in their range, all of them
 *   "finite"   anything else, losses among them
 */
#include "../core/half.h"
#include "../core/rng.h"
#include "../layers/conv/conv.h"
#include "ops.h"

enum { POSITIONS = 48, SUMS = 12, CHANNELS = 4 };

static const double code_slack = 1e-3;    /* f32 arithmetic on values of a few codes */
static const double f32_error = 1e-4;     /* of sums of up to 10^6 f32 products; 1e-6 and less is usual */
static const double half_error = 0.03;    /* of bf16 operands, each off by 2^-9, some of them after a transform */
static const double least_length = 1e-36; /* below it f32 has no whole digits, and a kernel may take 0 */

/* ---- tensors on the host ---- */

typedef struct {
    dt_dtype type;
    int64_t n;
    void *data;
    float *scale; /* NULL: 1 */
    int n_scale;
    int64_t channels, stored; /* `channels` values have the room of `stored` */
    double unit;              /* multiplies each value */
} values;

static double raw_at(const values *v, int64_t i)
{
    switch (v->type) {
    case DT_F32: return (double)((const float *)v->data)[i];
    case DT_I32: return (double)((const int32_t *)v->data)[i];
    case DT_U8: return (double)((const uint8_t *)v->data)[i];
    case DT_I8: return (double)((const int8_t *)v->data)[i];
    case DT_BF16: return (double)dt_from_bf16(((const uint16_t *)v->data)[i]);
    case DT_F16: return (double)dt_from_fp16(((const uint16_t *)v->data)[i]);
    default: break; /* of programs' data, which no kernel reads */
    }
    return 0.0;
}

static double value_at(const values *v, int64_t i)
{
    const int64_t at = v->stored == v->channels ? i : i / v->channels * v->stored + i % v->channels;

    return v->unit * raw_at(v, at);
}

/* of channel c */
static double scale_at(const values *v, int64_t c)
{
    return v->n_scale == 0 ? 1.0 : (double)v->scale[v->n_scale == 1 ? 0 : c];
}

static void values_free(values *v)
{
    free(v->scale);
    free(v->data);
}

/* Of t, whose data or gradient has so many bytes. Also on failure, *out is to be freed. */
static dt_status values_read(dt_context *ctx, const dt_tensor *t, const void *data, dt_dtype type, size_t bytes,
                             values *out)
{
    const int64_t channels = t->shape.dim[t->shape.ndim - 1];

    *out = (values){ .type = type, .n = dt_count(&t->shape), .data = malloc(bytes), .channels = channels, .unit = 1.0 };
    out->stored = bytes == (size_t)out->n * dt_type_bytes(type) ? channels : t->padded;
    DT_CHECK(out->data, DT_ERR_MEMORY, "no memory for %zu bytes", bytes);
    return dt_device_read(ctx, out->data, data, bytes);
}

static dt_status tensor_read(dt_context *ctx, const dt_tensor *t, values *out)
{
    DT_TRY(values_read(ctx, t, t->data, t->type, dt_tensor_bytes(t), out));
    if (t->n_scale == 0) return DT_OK;
    out->scale = malloc((size_t)t->n_scale * sizeof *out->scale);
    DT_CHECK(out->scale, DT_ERR_MEMORY, "no memory for %d scales", t->n_scale);
    out->n_scale = t->n_scale;
    return dt_device_read(ctx, out->scale, t->scale, (size_t)t->n_scale * sizeof *out->scale);
}

static dt_status grad_read(dt_context *ctx, const dt_tensor *t, values *out)
{
    float scale;

    DT_TRY(values_read(ctx, t, t->grad, t->grad_type, dt_grad_bytes(t), out));
    if (!t->grad_scale || t->grad_type != DT_F16) return DT_OK;
    DT_TRY(dt_device_read(ctx, &scale, t->grad_scale, sizeof scale));
    out->unit = (double)t->grad_unit * (double)scale;
    return DT_OK;
}

/* 0 .. n - 1; *draw counts what was drawn */
static int64_t drawn(uint64_t *draw, int64_t n)
{
    return dt_below(dt_random(0, DT_STREAM_SYNTHETIC, 0, (*draw)++).v[0], (uint32_t)n);
}

/* ---- convolution ---- */

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    values x, w, y, dx, dw, dy;
    int mixed;
    double error; /* the largest of its tensors so far */
} conv_check;

typedef struct {
    double sum, squares; /* of the products, and of their squares */
    int64_t integer;     /* of codes */
} products;

static void add_product(products *t, double product)
{
    t->sum += product;
    t->squares += product * product;
}

static int64_t x_index(const dt_conv_shape *s, int64_t n, int64_t h, int64_t w, int64_t c)
{
    return ((n * s->H + h) * s->W + w) * s->C + c;
}

/* y[n,p,q,k], of codes where there are codes */
static products y_products(const conv_check *v, int64_t n, int64_t p, int64_t q, int64_t k)
{
    const dt_conv_shape *s = &v->s;
    const int64_t each = s->C / s->groups; /* channels that a filter reads */
    products t = { 0 };

    for (int64_t i = 0; i < s->terms; i++) {
        const int64_t c = k * s->groups / s->K * each + i % each, column = i / each % s->S, row = i / each / s->S;
        const int64_t h = p * s->stride[0] + row * s->dilation[0] - s->pad[0];
        const int64_t w = q * s->stride[1] + column * s->dilation[1] - s->pad[1];
        if (h < 0 || h >= s->H || w < 0 || w >= s->W) continue;
        const double a = value_at(&v->x, x_index(s, n, h, w, c)), b = value_at(&v->w, k * s->terms + i);
        t.integer += (int64_t)a * (int64_t)b;
        add_product(&t, a * b);
    }
    return t;
}

/* dx[n,h,w,c]: over the filters and the positions that read it */
static products dx_products(const conv_check *v, int64_t n, int64_t h, int64_t w, int64_t c)
{
    const dt_conv_shape *s = &v->s;
    const int64_t each = s->C / s->groups;
    products t = { 0 };

    for (int64_t i = 0; i < s->R * s->S * s->K; i++) {
        const int64_t k = i % s->K, column = i / s->K % s->S, row = i / s->K / s->S;
        const int64_t up = h + s->pad[0] - row * s->dilation[0], left = w + s->pad[1] - column * s->dilation[1];
        const int64_t p = up / s->stride[0], q = left / s->stride[1];
        if (k * s->groups / s->K != c / each) continue;
        if (up < 0 || left < 0 || up % s->stride[0] || left % s->stride[1] || p >= s->P || q >= s->Q) continue;
        const double dy = value_at(&v->dy, ((n * s->P + p) * s->Q + q) * s->K + k);
        add_product(&t,
                    dy * scale_at(&v->w, k) * value_at(&v->w, ((k * s->R + row) * s->S + column) * each + c % each));
    }
    return t;
}

/* dw[k,row,column,..] of x's channel c: over images and positions */
static products dw_products(const conv_check *v, int64_t k, int64_t row, int64_t column, int64_t c)
{
    const dt_conv_shape *s = &v->s;
    products t = { 0 };

    for (int64_t i = 0; i < s->N * s->P * s->Q; i++) {
        const int64_t q = i % s->Q, p = i / s->Q % s->P, n = i / s->Q / s->P;
        const int64_t h = p * s->stride[0] + row * s->dilation[0] - s->pad[0];
        const int64_t w = q * s->stride[1] + column * s->dilation[1] - s->pad[1];
        if (h < 0 || h >= s->H || w < 0 || w >= s->W) continue;
        add_product(&t, value_at(&v->dy, i * s->K + k) * scale_at(&v->x, 0) * value_at(&v->x, x_index(s, n, h, w, c)));
    }
    return t;
}

/* Sums of squares over the values looked at. */
typedef struct {
    double off, wanted, products;
} lengths;

static void compare(lengths *l, double found, products wanted)
{
    l->off += (found - wanted.sum) * (found - wanted.sum);
    l->wanted += wanted.sum * wanted.sum;
    l->products += wanted.squares;
}

static dt_status near_enough(conv_check *v, const char *what, const lengths *l)
{
    const double size = l->wanted > l->products ? l->wanted : l->products;
    const double error = size > least_length * least_length ? sqrt(l->off / size) : 0.0;

    DT_CHECK(error <= (v->mixed ? half_error : f32_error), DT_ERR_NUMERIC, "%s: %s is off by %.3g of its length, %.3g",
             v->node->name, what, error, sqrt(size));
    if (error > v->error) v->error = error;
    return DT_OK;
}

static dt_status check_psum(const conv_check *v, int64_t at, products t)
{
    const float sum = (float)t.integer, unit = (float)DT_PSUM_F16_UNIT;
    const double expected = (double)(v->y.type == DT_F16 ? dt_from_fp16(dt_to_fp16(sum / unit)) : sum);

    DT_CHECK(value_at(&v->y, at) == expected, DT_ERR_NUMERIC, "%s: psum [%lld] is %.9g, in 64-bit integers %.9g",
             v->node->name, (long long)at, value_at(&v->y, at), expected);
    return DT_OK;
}

static dt_status check_conv_forward(dt_context *ctx, conv_check *v, uint64_t *draw)
{
    const int on_grid = v->x.n_scale > 0 && v->w.n_scale > 0;
    lengths l = { 0 };

    DT_TRY(tensor_read(ctx, v->node->out, &v->y));
    for (int i = 0; i < POSITIONS; i++) {
        const int64_t at = drawn(draw, v->y.n), k = at % v->s.K, q = at / v->s.K % v->s.Q;
        const int64_t p = at / v->s.K / v->s.Q % v->s.P, n = at / v->s.K / v->s.Q / v->s.P;
        const products t = y_products(v, n, p, q, k);
        if (on_grid) DT_TRY(check_psum(v, at, t));
        compare(&l, value_at(&v->y, at), t);
    }
    return on_grid ? DT_OK : near_enough(v, "y", &l);
}

static dt_status check_dx(dt_context *ctx, conv_check *v, uint64_t *draw)
{
    const dt_conv_shape *s = &v->s;
    lengths l = { 0 };

    DT_TRY(grad_read(ctx, v->node->in[0], &v->dx));
    for (int i = 0; i < POSITIONS; i++) {
        const int64_t at = drawn(draw, v->dx.n), c = at % s->C, column = at / s->C % s->W;
        const int64_t row = at / s->C / s->W % s->H, n = at / s->C / s->W / s->H;
        compare(&l, value_at(&v->dx, at), dx_products(v, n, row, column, c));
    }
    return near_enough(v, "dx", &l);
}

static dt_status check_dw(dt_context *ctx, conv_check *v, uint64_t *draw)
{
    const dt_conv_shape *s = &v->s;
    const int64_t each = s->C / s->groups;
    lengths l = { 0 };

    DT_TRY(grad_read(ctx, v->node->in[1], &v->dw));
    for (int i = 0; i < SUMS; i++) {
        const int64_t at = drawn(draw, v->dw.n), column = at / each % s->S;
        const int64_t row = at / each / s->S % s->R, k = at / s->terms, c = k * s->groups / s->K * each + at % each;
        compare(&l, value_at(&v->dw, at), dw_products(v, k, row, column, c));
    }
    return near_enough(v, "dw", &l);
}

/* Gradients that others add to as well are left alone. */
static dt_status check_conv_backward(dt_context *ctx, conv_check *v, uint64_t *draw)
{
    const dt_node *node = v->node;

    DT_TRY(grad_read(ctx, node->out, &v->dy));
    if (node->in[0]->grad && node->fresh & 1u) DT_TRY(check_dx(ctx, v, draw));
    if (node->in[1]->grad && node->fresh & 2u) DT_TRY(check_dw(ctx, v, draw));
    return DT_OK;
}

static dt_status check_conv(dt_context *ctx, const dt_node *node, ops_pass pass, uint64_t *draw, double *error)
{
    conv_check v = { .node = node, .s = dt_conv_shape_of(node), .mixed = ctx->opt.precision == DT_PRECISION_MIXED };
    dt_status status = tensor_read(ctx, node->in[0], &v.x);

    if (status == DT_OK) status = tensor_read(ctx, node->in[1], &v.w);
    if (status == DT_OK && pass == OPS_FORWARD) status = check_conv_forward(ctx, &v, draw);
    if (status == DT_OK && pass == OPS_BACKWARD) status = check_conv_backward(ctx, &v, draw);
    *error = v.error;
    values_free(&v.dy);
    values_free(&v.dw);
    values_free(&v.dx);
    values_free(&v.y);
    values_free(&v.w);
    values_free(&v.x);
    return status;
}

/* ---- quantizers ---- */

/* y[at] is what `value` rounds to, or, where y is real, that value. */
static dt_status check_code(const dt_node *node, const values *y, int64_t at, double value)
{
    const dt_tensor *out = node->out;
    const double found = value_at(y, at);
    double wanted = value, slack = code_slack * (1.0 + fabs(value));

    if (out->n_scale > 0) {
        wanted = value / scale_at(y, 0);
        wanted = wanted < (double)out->qmin ? (double)out->qmin : wanted;
        wanted = wanted > (double)out->qmax ? (double)out->qmax : wanted;
        slack = 0.5 + code_slack;
        DT_CHECK(found == rint(found), DT_ERR_NUMERIC, "%s: code [%lld] is %g", node->name, (long long)at, found);
    }
    DT_CHECK(fabs(found - wanted) <= slack, DT_ERR_NUMERIC, "%s: [%lld] is %g, in double %g", node->name, (long long)at,
             found, wanted);
    return DT_OK;
}

static dt_status check_act_quant(const dt_node *node, const values *x, const values *y, uint64_t *draw)
{
    const int64_t channels = node->out->shape.dim[node->out->shape.ndim - 1];

    for (int i = 0; i < POSITIONS; i++) {
        const int64_t at = drawn(draw, y->n);
        DT_TRY(check_code(node, y, at, scale_at(x, at % channels) * value_at(x, at)));
    }
    return DT_OK;
}

/* z = factor * v + shift is what batch norm makes of channel c; 1 and 0 without one. */
typedef struct {
    double factor, shift;
} affine;

static dt_status norm_of_channel(dt_context *ctx, const dt_node *node, const values *x, int64_t c, affine *out)
{
    const dt_norm_quant_params *p = node->params;
    const int64_t channels = node->in[0]->shape.dim[node->in[0]->shape.ndim - 1];
    double sum = 0.0, squares = 0.0;
    float part[4]; /* gamma, beta, running mean, running variance */

    *out = (affine){ 1.0, 0.0 };
    if (!p->has_norm) return DT_OK;
    for (int k = 0; k < 4; k++) {
        DT_TRY(dt_device_read(ctx, &part[k], (const float *)node->in[1 + k]->data + c, sizeof part[k]));
    }
    double mean = (double)part[2], variance = (double)part[3];
    if (node->purpose.training) {
        const double n = (double)(x->n / channels);
        for (int64_t i = c; i < x->n; i += channels) sum += scale_at(x, c) * value_at(x, i);
        mean = sum / n;
        for (int64_t i = c; i < x->n; i += channels) {
            const double off = scale_at(x, c) * value_at(x, i) - mean;
            squares += off * off;
        }
        variance = squares / n;
    }
    out->factor = (double)part[0] / sqrt(variance + (double)p->norm.epsilon);
    out->shift = (double)part[1] - out->factor * mean;
    return DT_OK;
}

/* The value that is quantized at [n,p,q,c]. */
static double norm_value(const dt_node *node, const values *x, const int64_t at[4], affine a)
{
    const dt_norm_quant_params *p = node->params;
    const int64_t *dim = node->in[0]->shape.dim, window = p->pool ? p->pool : 1;
    double most = -INFINITY;

    for (int64_t i = 0; i < window * window; i++) {
        const int64_t h = at[1] * window + i / window, w = at[2] * window + i % window;
        const double v = scale_at(x, at[3]) * value_at(x, ((at[0] * dim[1] + h) * dim[2] + w) * dim[3] + at[3]);
        const double z = a.factor * v + a.shift;
        most = fmax(most, p->has_relu && z < 0.0 ? 0.0 : z);
    }
    if (p->has_relu && p->relu_most > 0.0f) most = fmin(most, (double)p->relu_most);
    return most;
}

static dt_status check_norm_quant(dt_context *ctx, const dt_node *node, const values *x, const values *y,
                                  uint64_t *draw)
{
    const int64_t *dim = node->out->shape.dim;

    if (node->out->shape.ndim != 4) return DT_OK;
    for (int i = 0; i < CHANNELS; i++) {
        const int64_t c = drawn(draw, dim[3]);
        affine a;
        DT_TRY(norm_of_channel(ctx, node, x, c, &a));
        for (int k = 0; k < POSITIONS; k++) {
            const int64_t at[4] = { drawn(draw, dim[0]), drawn(draw, dim[1]), drawn(draw, dim[2]), c };
            const int64_t place = ((at[0] * dim[1] + at[1]) * dim[2] + at[2]) * dim[3] + c;
            DT_TRY(check_code(node, y, place, norm_value(node, x, at, a)));
        }
    }
    return DT_OK;
}

static dt_status check_range(const dt_node *node, const values *y)
{
    for (int64_t i = 0; i < y->n; i++) {
        const double code = value_at(y, i);
        DT_CHECK(code == rint(code) && code >= (double)node->out->qmin && code <= (double)node->out->qmax,
                 DT_ERR_NUMERIC, "%s: code [%lld] is %g, allowed are %lld..%lld", node->name, (long long)i, code,
                 (long long)node->out->qmin, (long long)node->out->qmax);
    }
    return DT_OK;
}

static dt_status check_finite(const dt_node *node, const values *y, uint64_t *draw)
{
    for (int i = 0; i < POSITIONS; i++) {
        const int64_t at = drawn(draw, y->n);
        DT_CHECK(isfinite(value_at(y, at)), DT_ERR_NUMERIC, "%s: [%lld] is %g", node->name, (long long)at,
                 value_at(y, at));
    }
    return DT_OK;
}

static dt_status check_output(dt_context *ctx, const dt_node *node, uint64_t *draw, const char **how)
{
    values x = { 0 }, y = { 0 };
    dt_status status = tensor_read(ctx, node->out, &y);
    const int reads_x = node->kind == DT_OP_ACT_QUANT || node->kind == DT_OP_NORM_QUANT;

    *how = reads_x ? "nearest" : node->kind == DT_OP_WEIGHT_QUANT ? "range" : "finite";
    if (status == DT_OK && reads_x) status = tensor_read(ctx, node->in[0], &x);
    if (status == DT_OK) {
        switch (node->kind) {
        case DT_OP_ACT_QUANT: status = check_act_quant(node, &x, &y, draw); break;
        case DT_OP_NORM_QUANT: status = check_norm_quant(ctx, node, &x, &y, draw); break;
        case DT_OP_WEIGHT_QUANT: status = check_range(node, &y); break;
        default: status = check_finite(node, &y, draw); break;
        }
    }
    values_free(&x);
    values_free(&y);
    return status;
}

dt_status ops_check(dt_context *ctx, const dt_node *node, ops_pass pass, uint64_t *draw, ops_checked *out)
{
    const int on_grid = node->n_in > 1 && node->in[0]->n_scale > 0 && node->in[1]->n_scale > 0;

    *out = (ops_checked){ .how = "" };
    if (node->kind == DT_OP_CONV2D) {
        out->how = pass == OPS_FORWARD && on_grid ? "int64" : "double";
        return check_conv(ctx, node, pass, draw, &out->error);
    }
    return pass == OPS_FORWARD ? check_output(ctx, node, draw, &out->how) : DT_OK;
}
