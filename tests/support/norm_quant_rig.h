/*
 * norm_quant_rig.h - runs NORM_QUANT, or the operators that it stands for one after another, on deterministic inputs,
 *                    for test_norm_quant.c.
 *
 * x is a psum of small integers, so that pooling windows are full of ties. All memory is the backend's.
 */
#ifndef NORM_QUANT_RIG_H
#define NORM_QUANT_RIG_H

#include "op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_INPUTS = 6, MAX_NODES = 4, ALPHA = 5 }; /* x, gamma, beta, mean, var, alpha: their numbers here */

typedef struct {
    dt_norm_quant_params p;
    int training; /* 1: the norm takes the batch's statistics */
    int64_t shape[4];
    int n_scale; /* of x: 0, 1 or C */
    int x_size;  /* integers in -x_size..x_size */
    float ewgs;
} norm_quant_case;

/* Types of the fused node's tensors, and whether dx is written or added to. */
typedef struct {
    dt_dtype y, dy, dx;
    int added;
} storage;

static const storage plain = { DT_F32, DT_F32, DT_F32, 0 };

/* What a run leaves, as floats. */
typedef struct {
    int64_t n_x, n_y, channels;
    float *y, *dx, *dgamma, *dbeta, *mean, *var;
    float dalpha, scale;
    int n_scale;
    int64_t qmin, qmax;
} result;

static void must(dt_status status, const char *doing)
{
    cr_assert(status == DT_OK, "%s: %s: %s", doing, dt_status_name(status), dt_last_error());
}

/* In [0, 1), a function of two numbers. */
static double spread(int k, int64_t i)
{
    const double x = 0.618033988749895 * (double)(i + 1) + 0.37 * (double)(k + 1);
    return x - floor(x);
}

/* Element i of input k. */
static float input_value(const norm_quant_case *c, int k, int64_t i)
{
    const double s = spread(k, i);

    switch (k) {
    case 0: return (float)(floor(spread(0, i * 31 + i / 7) * (2 * c->x_size + 1)) - c->x_size);
    case 1: return i % 5 == 2 ? 0.0f : (float)(2.0 * s - 1.0); /* gamma, of both signs; 0: ties of unequal q */
    case 2: return (float)(s - 0.3);
    case 3: return (float)(s - 0.5);
    case 4: return (float)(0.5 + s);
    default: return c->p.quant.rule == DT_RULE_LSQ ? 0.1137f : 0.8371f;
    }
}

/* dy: exact in bf16, as a bf16 gradient is */
static float dy_value(int64_t i)
{
    return (float)((floor(spread(7, i) * 255.0) - 127.0) / 256.0);
}

/* The gradient g of a value of t clips (or steps), scaled element by element: by the definition. */
static double scaled_dy(const norm_quant_case *c, double t, double high, double g)
{
    const double steps = c->p.quant.rule == DT_RULE_LSQ ? t : t * high;
    return g + fabs(g) * (double)c->ewgs * (steps - nearbyint(steps));
}

static float scale_value(const norm_quant_case *c, int64_t channel)
{
    return c->n_scale <= 1 ? 0.09f : 0.05f * (1.0f + (float)(channel % 9) / 8.0f);
}

/* Half to even, by way of double: no code of half.h. Normal numbers. */
static float rounded_to_bf16(float x)
{
    int exponent;
    const double mantissa = frexp((double)x, &exponent);
    return (float)ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

static uint16_t bf16_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static float bf16_value(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

typedef struct {
    dt_context *ctx;
    dt_tensor in[N_INPUTS];
    dt_node node[MAX_NODES];
    int training; /* these two are the case's */
    float ewgs;
    dt_tensor out[MAX_NODES];
    size_t n_nodes;
} rig;

static void *device_copy(dt_context *ctx, const void *host, size_t bytes)
{
    void *p = NULL;
    must(dt_device_alloc(ctx, bytes, &p), "alloc");
    must(dt_device_write(ctx, p, host, bytes), "write");
    return p;
}

/* bytes of 0xff are NaN in every float type: what is not written shows */
static void *device_nan(dt_context *ctx, size_t bytes)
{
    void *host = malloc(bytes);
    memset(host, 0xff, bytes);
    void *p = device_copy(ctx, host, bytes);
    free(host);
    return p;
}

static void *device_floats(dt_context *ctx, float value, int64_t n)
{
    float *host = malloc((size_t)n * sizeof *host);
    for (int64_t i = 0; i < n; i++) host[i] = value;
    void *p = device_copy(ctx, host, (size_t)n * sizeof *host);
    free(host);
    return p;
}

static void rig_inputs(rig *r, const norm_quant_case *c)
{
    const int64_t channels = c->shape[3];

    for (int k = 0; k < N_INPUTS; k++) {
        dt_tensor *t = &r->in[k];
        *t = (dt_tensor){ .name = "input", .shape = { 1, { k == ALPHA ? 1 : channels } } };
        if (k == 0) t->shape = (dt_shape){ 4, { c->shape[0], c->shape[1], c->shape[2], channels } };
        const int64_t n = dt_count(&t->shape);
        float *host = malloc((size_t)n * sizeof *host);
        for (int64_t i = 0; i < n; i++) host[i] = input_value(c, k, i);
        if (k == 0 && c->n_scale == 0) {
            for (int64_t i = 0; i < n; i++) host[i] *= 0.09f; /* real values, and still ties */
        }
        t->data = device_copy(r->ctx, host, (size_t)n * sizeof *host);
        t->grad = device_floats(r->ctx, 0.0f, n);
        t->wants_grad = 1;
        free(host);
    }
    dt_tensor *x = &r->in[0];
    x->n_scale = c->n_scale;
    if (c->n_scale > 0) x->qmin = -c->x_size;
    if (c->n_scale > 0) x->qmax = c->x_size;
    float *scale = malloc((size_t)channels * sizeof *scale);
    for (int64_t i = 0; i < channels; i++) scale[i] = scale_value(c, i);
    if (c->n_scale > 0) x->scale = device_copy(r->ctx, scale, (size_t)c->n_scale * sizeof *scale);
    free(scale);
}

/* A node behind the last one, or behind x; `rest`: its other inputs, which are n_rest from `rest` on. */
static void rig_add(rig *r, dt_op_kind kind, const void *params, const int *rest, int n_rest, dt_dtype y_type)
{
    dt_tensor *x = r->n_nodes ? &r->out[r->n_nodes - 1] : &r->in[0];
    dt_tensor *out = &r->out[r->n_nodes];
    dt_node *node = &r->node[r->n_nodes++];

    *out = (dt_tensor){ .wants_grad = 1 };
    *node = (dt_node){ .kind = kind, .name = "layer", .params = params, .out = out, .n_in = 1 + n_rest, .fresh = 1 };
    node->purpose.training = r->training;
    node->purpose.ewgs = r->ewgs;
    node->in[0] = x;
    for (int k = 0; k < n_rest; k++) node->in[1 + k] = &r->in[rest[k]];
    must(dt_ops[kind]->infer(node), "infer");
    out->type = y_type;
    out->data = device_nan(r->ctx, dt_tensor_bytes(out));
    out->grad = device_nan(r->ctx, dt_grad_bytes(out));
    if (out->n_scale && !out->scale) out->scale = device_nan(r->ctx, (size_t)out->n_scale * sizeof(float));
    if (node->aux_bytes) node->aux = device_nan(r->ctx, node->aux_bytes);
}

static const int norm_inputs[] = { 1, 2, 3, 4 }, alpha_input[] = { ALPHA }, all_inputs[] = { 1, 2, 3, 4, ALPHA };

/* What the nodes of the chain point to. */
typedef struct {
    dt_pool_params pool;
    dt_relu_params relu;
} chain_params;

static void rig_chain(rig *r, const norm_quant_case *c, chain_params *params)
{
    const dt_norm_quant_params *p = &c->p;

    *params = (chain_params){ dt_pool_square(p->pool), { p->relu_most } };
    if (p->has_norm) rig_add(r, DT_OP_BATCHNORM, &p->norm, norm_inputs, 4, DT_F32);
    if (p->has_relu) rig_add(r, DT_OP_RELU, &params->relu, NULL, 0, DT_F32);
    if (p->pool) rig_add(r, DT_OP_MAXPOOL, &params->pool, NULL, 0, DT_F32);
    if (p->has_quant) rig_add(r, DT_OP_ACT_QUANT, &p->quant, alpha_input, 1, DT_F32);
}

static void rig_fused(rig *r, const norm_quant_case *c, storage s)
{
    const int *rest = c->p.has_norm ? all_inputs : alpha_input;
    const int n_rest = (c->p.has_norm ? 4 : 0) + (c->p.has_quant ? 1 : 0);

    r->in[0].grad_type = s.dx;
    rig_add(r, DT_OP_NORM_QUANT, &c->p, rest, n_rest, s.y);
    r->out[0].grad_type = s.dy;
    if (s.added) r->node[0].fresh = 0;
}

static void write_dy(rig *r)
{
    dt_tensor *y = &r->out[r->n_nodes - 1];
    const int64_t n = dt_count(&y->shape);
    float *wide = malloc((size_t)n * sizeof *wide);
    uint16_t *half = malloc((size_t)n * sizeof *half);

    for (int64_t i = 0; i < n; i++) {
        wide[i] = dy_value(i);
        half[i] = bf16_bits(wide[i]);
    }
    must(dt_device_write(r->ctx, y->grad, y->grad_type == DT_BF16 ? (void *)half : wide, dt_grad_bytes(y)), "dy");
    free(wide);
    free(half);
}

/* dx starts as NaN where it is written, as 0.5 (in either type) where it is added to. */
static void write_dx(rig *r, int added)
{
    dt_tensor *x = &r->in[0];
    const int64_t n = dt_count(&x->shape);
    uint16_t *half = malloc((size_t)n * sizeof *half);

    dt_device_free(r->ctx, x->grad, (size_t)n * sizeof(float));
    x->grad = added ? device_floats(r->ctx, 0.5f, n) : device_nan(r->ctx, (size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++) half[i] = bf16_bits(0.5f);
    if (added && x->grad_type == DT_BF16) must(dt_device_write(r->ctx, x->grad, half, dt_grad_bytes(x)), "dx");
    free(half);
}

static void rig_run(rig *r, int added)
{
    const int before = dt_context_enter(r->ctx);
    size_t most = 0;

    for (size_t i = 0; i < r->n_nodes; i++) {
        const dt_kernel *kernel = r->ctx->backend->kernels()[r->node[i].kind];
        dt_exec ex = dt_context_exec(r->ctx);
        size_t bytes = 0;
        ex.training = 1;
        if (kernel->prepare) must(kernel->prepare(&r->node[i], &ex, &bytes), "prepare");
        most = bytes > most ? bytes : most;
    }
    must(dt_context_reserve(r->ctx, 0, most), "reserve");
    const dt_exec ex = dt_context_exec(r->ctx);
    for (size_t i = 0; i < r->n_nodes; i++) {
        must(r->ctx->backend->kernels()[r->node[i].kind]->forward(&r->node[i], &ex), "forward");
    }
    write_dy(r);
    write_dx(r, added);
    for (size_t i = r->n_nodes; i-- > 0;) {
        must(r->ctx->backend->kernels()[r->node[i].kind]->backward(&r->node[i], &ex), "backward");
    }
    dt_context_leave(before);
}

/* n values of `type` as floats; the caller frees them */
static float *read_values(const rig *r, const void *src, dt_dtype type, int64_t n)
{
    const size_t bytes = (size_t)n * dt_type_bytes(type);
    void *raw = malloc(bytes);
    float *values = malloc((size_t)n * sizeof *values);

    must(dt_device_read(r->ctx, raw, src, bytes), "read");
    for (int64_t i = 0; i < n; i++) {
        switch (type) {
        case DT_U8: values[i] = (float)((uint8_t *)raw)[i]; break;
        case DT_I8: values[i] = (float)((int8_t *)raw)[i]; break;
        case DT_BF16: values[i] = bf16_value(((uint16_t *)raw)[i]); break;
        default: values[i] = ((float *)raw)[i];
        }
    }
    free(raw);
    return values;
}

static result rig_read(const rig *r)
{
    const dt_tensor *x = &r->in[0], *y = &r->out[r->n_nodes - 1];
    result got = { .n_x = dt_count(&x->shape),
                   .n_y = dt_count(&y->shape),
                   .channels = x->shape.dim[3],
                   .n_scale = y->n_scale,
                   .qmin = y->qmin,
                   .qmax = y->qmax };

    got.y = read_values(r, y->data, y->type, got.n_y);
    got.dx = read_values(r, x->grad, x->grad_type, got.n_x);
    got.dgamma = read_values(r, r->in[1].grad, DT_F32, got.channels);
    got.dbeta = read_values(r, r->in[2].grad, DT_F32, got.channels);
    got.mean = read_values(r, r->in[3].data, DT_F32, got.channels);
    got.var = read_values(r, r->in[4].data, DT_F32, got.channels);
    must(dt_device_read(r->ctx, &got.dalpha, r->in[ALPHA].grad, sizeof got.dalpha), "dalpha");
    if (y->n_scale) must(dt_device_read(r->ctx, &got.scale, y->scale, sizeof got.scale), "scale");
    return got;
}

static void result_free(result *r)
{
    free(r->y);
    free(r->dx);
    free(r->dgamma);
    free(r->dbeta);
    free(r->mean);
    free(r->var);
}

static void rig_close(rig *r)
{
    const dt_tensor *x = &r->in[0];

    for (size_t i = 0; i < r->n_nodes; i++) {
        const dt_tensor *y = &r->out[i];
        const dt_tensor *before = r->node[i].in[0];
        if (y->scale != before->scale) dt_device_free(r->ctx, y->scale, (size_t)y->n_scale * sizeof(float));
        dt_device_free(r->ctx, y->data, dt_tensor_bytes(y));
        dt_device_free(r->ctx, y->grad, dt_grad_bytes(y));
        dt_device_free(r->ctx, r->node[i].aux, r->node[i].aux_bytes);
    }
    dt_device_free(r->ctx, x->scale, (size_t)x->n_scale * sizeof(float));
    for (int k = 0; k < N_INPUTS; k++) {
        dt_device_free(r->ctx, r->in[k].data, dt_tensor_bytes(&r->in[k]));
        dt_device_free(r->ctx, r->in[k].grad, (size_t)dt_count(&r->in[k].shape) * sizeof(float));
    }
    dt_context_destroy(r->ctx);
}

static void rig_open(rig *r, const norm_quant_case *c, int threads)
{
    dt_options opt;

    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.threads = threads;
    opt.precision = DT_PRECISION_F32;
    *r = (rig){ .training = c->training, .ewgs = c->ewgs };
    must(dt_context_create(&opt, &r->ctx), "cpu");
    rig_inputs(r, c);
}

static result run_chain(const norm_quant_case *c)
{
    chain_params params;
    rig r;

    rig_open(&r, c, 1);
    rig_chain(&r, c, &params);
    rig_run(&r, 0);
    const result got = rig_read(&r);
    rig_close(&r);
    return got;
}

static result run_fused(const norm_quant_case *c, storage s, int threads)
{
    rig r;

    rig_open(&r, c, threads);
    rig_fused(&r, c, s);
    rig_run(&r, s.added);
    const result got = rig_read(&r);
    rig_close(&r);
    return got;
}

#endif /* NORM_QUANT_RIG_H */
