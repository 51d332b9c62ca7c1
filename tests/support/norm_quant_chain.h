/*
 * norm_quant_chain.h - for test_norm_quant_types.c: runs NORM_QUANT in any types on CUDA, and the operators that it
 * stands for one after another in f32 on any backend.
 *
 * Inputs are deterministic and such that sums of x are exact; all memory is the backend's.
 */
#ifndef NORM_QUANT_CHAIN_H
#define NORM_QUANT_CHAIN_H

#include "../../core/context.h"
#include "../../core/half.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MEMORY = 64, MAX_PARTS = 4, N_PARAMETERS = 5 };

/* Device memory of one run. */
typedef struct {
    dt_context *ctx;
    void *block[MAX_MEMORY];
    size_t bytes[MAX_MEMORY];
    int n;
} device_memory;

/* x is psums (integers; in F16 divided by DT_PSUM_F16_UNIT) where n_scale > 0, else real. */
typedef struct {
    dt_shape x;
    dt_norm_quant_params p;
    int evaluates; /* the norm takes the running statistics */
    dt_dtype x_type, out_type, dy_type, dx_type;
    int n_scale;
    int size; /* psums are -size..size */
    float alpha;
    int no_dx;     /* x is not trained */
    int not_fresh; /* dx is added to */
    float ewgs;
} type_case;

/* All in f32; the caller frees them. */
typedef struct {
    float *out, *scale, *dx, *dparameter[N_PARAMETERS], *mean, *var;
    int64_t n_out;
} chain_result;

static void must(dt_status status, const char *doing)
{
    cr_assert(status == DT_OK, "%s: %s: %s", doing, dt_status_name(status), dt_last_error());
}

static void *take(device_memory *m, const void *host, size_t bytes)
{
    cr_assert(m->n < MAX_MEMORY);
    void **at = &m->block[m->n];
    must(dt_device_alloc(m->ctx, bytes, at), "alloc");
    if (host) must(dt_device_write(m->ctx, *at, host, bytes), "write");
    m->bytes[m->n++] = bytes;
    return *at;
}

static float from_bits(const void *data, dt_dtype type, int64_t i)
{
    switch (type) {
    case DT_F16: return dt_from_fp16(((const uint16_t *)data)[i]);
    case DT_BF16: return dt_from_bf16(((const uint16_t *)data)[i]);
    case DT_U8: return (float)((const uint8_t *)data)[i];
    case DT_I8: return (float)((const int8_t *)data)[i];
    default: return ((const float *)data)[i];
    }
}

static void to_bits(void *data, dt_dtype type, int64_t i, float value)
{
    switch (type) {
    case DT_F16: ((uint16_t *)data)[i] = dt_to_fp16(value); break;
    case DT_BF16: ((uint16_t *)data)[i] = dt_to_bf16(value); break;
    default: ((float *)data)[i] = value;
    }
}

/* n values in a type, in device memory */
static void *take_values(device_memory *m, dt_dtype type, const float *value, int64_t n)
{
    const size_t bytes = (size_t)n * dt_type_bytes(type);
    void *host = malloc(bytes);
    for (int64_t i = 0; i < n; i++) to_bits(host, type, i, value[i]);
    void *device = take(m, host, bytes);
    free(host);
    return device;
}

static void *take_constant(device_memory *m, dt_dtype type, float value, int64_t n)
{
    float *values = malloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = value;
    void *device = take_values(m, type, values, n);
    free(values);
    return device;
}

static float *read_values(device_memory *m, const void *device, dt_dtype type, int64_t n)
{
    float *value = malloc((size_t)(n ? n : 1) * sizeof *value);
    void *host = malloc((size_t)(n ? n : 1) * dt_type_bytes(type));
    if (n) must(dt_device_read(m->ctx, host, device, (size_t)n * dt_type_bytes(type)), "read");
    for (int64_t i = 0; i < n; i++) value[i] = from_bits(host, type, i);
    free(host);
    return value;
}

/* Evenly spread integers in -size..size. */
static int spread(int64_t i, int stream, int size)
{
    const double x = 0.618033988749895 * (double)(i + 1) + 0.37 * stream;
    return (int)floor((x - floor(x)) * (2 * size + 1)) - size;
}

/* x as the tensor holds it, in this type */
static float x_value(const type_case *c, dt_dtype type, int64_t i)
{
    const float psum = (float)spread(i * 7 % 100003, 1, c->size);
    if (c->n_scale == 0) return psum / 64.0f;
    return type == DT_F16 ? psum / DT_PSUM_F16_UNIT : psum;
}

static dt_tensor make_x(device_memory *m, const type_case *c, dt_dtype type, dt_dtype grad_type)
{
    const int64_t n = dt_count(&c->x);
    dt_tensor x = { .type = type, .shape = c->x, .grad_type = grad_type, .n_scale = c->n_scale, .name = "x" };
    float *value = calloc((size_t)n, sizeof *value), scale[256];

    for (int64_t i = 0; i < n; i++) value[i] = x_value(c, type, i);
    x.data = take_values(m, type, value, n);
    free(value);
    const float unit = (type == DT_F16 ? DT_PSUM_F16_UNIT : 1.0f) / (float)c->size;
    for (int k = 0; k < c->n_scale; k++) scale[k] = unit * 1.7f * (1.0f + (float)k / 8.0f);
    if (c->n_scale) x.scale = take(m, scale, (size_t)c->n_scale * sizeof *scale);
    if (c->n_scale) x.qmin = -c->size;
    if (c->n_scale) x.qmax = c->size;
    if (!c->no_dx) x.grad = take_constant(m, grad_type, c->not_fresh ? 0.25f : NAN, n);
    x.wants_grad = !c->no_dx;
    return x;
}

/* gamma, beta, running mean, running variance, alpha; gradients start at 0.5 */
static void make_parameters(device_memory *m, const type_case *c, dt_tensor *t)
{
    const int64_t channels = c->x.dim[c->x.ndim - 1];
    float *value = malloc((size_t)channels * sizeof *value);

    for (int k = 0; k < N_PARAMETERS; k++) {
        const int64_t n = k < 4 ? channels : 1;
        t[k] = (dt_tensor){ .shape = { .ndim = 1, .dim = { n } }, .name = "parameter" };
        for (int64_t i = 0; i < n; i++) value[i] = 1.0f + (float)spread(i, k + 3, 30) / 64.0f;
        for (int64_t i = 0; k == 0 && i < n; i += 5) value[i] = -value[i]; /* gamma may be negative */
        for (int64_t i = 0; k == 1 && i < n; i++) value[i] -= 0.8f;
        if (k == 4) value[0] = c->alpha;
        t[k].data = take_values(m, DT_F32, value, n);
        if (k != 2 && k != 3) t[k].grad = take_constant(m, DT_F32, 0.5f, n);
    }
    free(value);
}

static int node_alpha(const dt_norm_quant_params *p)
{
    return p->has_norm ? 5 : 1;
}

/* What a tape does before the first run. */
static const dt_kernel *make_ready(device_memory *m, dt_node *node, dt_dtype out_type, dt_dtype grad_type)
{
    const dt_kernel *kernel = m->ctx->backend->kernels()[node->kind];
    dt_exec ex = dt_context_exec(m->ctx);
    size_t scratch_bytes = 0;

    must(dt_ops[node->kind]->infer(node), "infer");
    dt_tensor *out = node->out;
    const int64_t n = dt_count(&out->shape);
    if (out_type != DT_F32) out->type = out_type;
    out->grad_type = grad_type;
    out->data = take(m, NULL, (size_t)n * dt_type_bytes(out->type));
    out->grad = take(m, NULL, (size_t)n * dt_type_bytes(grad_type));
    if (out->n_scale && !out->scale) out->scale = take_constant(m, DT_F32, NAN, out->n_scale);
    if (node->aux_bytes) node->aux = take(m, NULL, node->aux_bytes);
    ex.training = 1;
    if (kernel->prepare) must(kernel->prepare(node, &ex, &scratch_bytes), "prepare");
    must(dt_context_reserve(m->ctx, 0, scratch_bytes), "scratch");
    return kernel;
}

static void set_dy(device_memory *m, dt_tensor *out)
{
    const int64_t n = dt_count(&out->shape);
    float *dy = malloc((size_t)n * sizeof *dy);
    for (int64_t i = 0; i < n; i++) dy[i] = (float)spread(i, 2, 64) / 64.0f;
    out->grad = take_values(m, out->grad_type, dy, n);
    free(dy);
}

static chain_result collect(device_memory *m, const dt_tensor *x, const dt_tensor *parameter, const dt_tensor *out)
{
    chain_result r = { .n_out = dt_count(&out->shape) };
    const int64_t channels = x->shape.dim[x->shape.ndim - 1];

    r.out = read_values(m, out->data, out->type, r.n_out);
    r.scale = read_values(m, out->scale, DT_F32, out->n_scale);
    if (x->grad) r.dx = read_values(m, x->grad, x->grad_type, dt_count(&x->shape));
    for (int k = 0; k < N_PARAMETERS; k++) {
        if (parameter[k].grad) r.dparameter[k] = read_values(m, parameter[k].grad, DT_F32, k < 4 ? channels : 1);
    }
    r.mean = read_values(m, parameter[2].data, DT_F32, channels);
    r.var = read_values(m, parameter[3].data, DT_F32, channels);
    return r;
}

static void result_free(chain_result *r)
{
    free(r->out);
    free(r->scale);
    free(r->dx);
    for (int k = 0; k < N_PARAMETERS; k++) free(r->dparameter[k]);
    free(r->mean);
    free(r->var);
}

/* 0 if the backend cannot be opened here */
static int open_memory(device_memory *m, const char *backend)
{
    dt_options opt;
    dt_options_default(&opt);
    opt.backend = backend;
    opt.threads = 1;
    *m = (device_memory){ 0 };
    const dt_status opened = dt_context_create(&opt, &m->ctx);
    if (opened == DT_ERR_UNSUPPORTED) return 0;
    must(opened, backend);
    return 1;
}

static void close_memory(device_memory *m)
{
    for (int i = 0; i < m->n; i++) dt_device_free(m->ctx, m->block[i], m->bytes[i]);
    dt_context_destroy(m->ctx);
}

/* What the nodes of the chain point to. */
typedef struct {
    dt_pool_params pool;
    dt_relu_params relu;
} part_params;

/* The nodes of the chain, one after another, all in f32. */
static int record_parts(const type_case *c, dt_tensor *x, dt_tensor *parameter, dt_tensor *out, dt_node *node,
                        part_params *params)
{
    const dt_norm_quant_params *p = &c->p;
    int n = 0;

    *params = (part_params){ dt_pool_square(p->pool), { p->relu_most } };
    if (p->has_norm) node[n++] = (dt_node){ .kind = DT_OP_BATCHNORM, .params = &p->norm, .n_in = 5 };
    if (p->has_relu) node[n++] = (dt_node){ .kind = DT_OP_RELU, .params = &params->relu, .n_in = 1 };
    if (p->pool) node[n++] = (dt_node){ .kind = DT_OP_MAXPOOL, .params = &params->pool, .n_in = 1 };
    if (p->has_quant) node[n++] = (dt_node){ .kind = DT_OP_ACT_QUANT, .params = &p->quant, .n_in = 2 };
    for (int i = 0; i < n; i++) {
        out[i] = (dt_tensor){ .name = "part" };
        node[i].name = "part";
        node[i].out = &out[i];
        node[i].purpose = (dt_purpose){ .training = !c->evaluates, .ewgs = c->ewgs };
        node[i].in[0] = i ? &out[i - 1] : x;
        for (int k = 1; k < 5; k++) node[i].in[k] = &parameter[node[i].kind == DT_OP_ACT_QUANT ? 4 : k - 1];
    }
    return n;
}

static chain_result run_parts(device_memory *m, const type_case *c)
{
    dt_tensor x = make_x(m, c, DT_F32, DT_F32), parameter[N_PARAMETERS], out[MAX_PARTS];
    dt_node node[MAX_PARTS];
    part_params params;
    const dt_kernel *kernel[MAX_PARTS];
    make_parameters(m, c, parameter);
    const int n = record_parts(c, &x, parameter, out, node, &params);

    for (int i = 0; i < n; i++) {
        kernel[i] = make_ready(m, &node[i], DT_F32, DT_F32);
        const dt_exec ex = dt_context_exec(m->ctx);
        must(kernel[i]->forward(&node[i], &ex), "forward");
    }
    set_dy(m, &out[n - 1]);
    for (int i = n - 1; i >= 0; i--) {
        const dt_exec ex = dt_context_exec(m->ctx);
        node[i].fresh = !c->not_fresh ? ~0u : i > 0; /* all gradients, parameters' too; or those in between */
        cr_assert(kernel[i]->overwrites & 1u);
        must(kernel[i]->backward(&node[i], &ex), "backward");
    }
    return collect(m, &x, parameter, &out[n - 1]);
}

static chain_result run_fused(device_memory *m, const type_case *c, dt_dtype dx_type)
{
    const dt_norm_quant_params *p = &c->p;
    dt_tensor x = make_x(m, c, c->x_type, dx_type), parameter[N_PARAMETERS], out = { .name = "fused" };
    dt_node node = { .kind = DT_OP_NORM_QUANT, .name = "fused", .params = p, .in = { &x }, .n_in = 1, .out = &out };

    node.purpose = (dt_purpose){ .training = !c->evaluates, .ewgs = c->ewgs };
    make_parameters(m, c, parameter);
    for (int k = 0; p->has_norm && k < 4; k++) node.in[node.n_in++] = &parameter[k];
    if (p->has_quant) node.in[node.n_in++] = &parameter[4];
    cr_assert(!p->has_quant || node.in[node_alpha(p)] == &parameter[4]);
    const dt_kernel *kernel = make_ready(m, &node, c->out_type, c->dy_type);
    const dt_exec ex = dt_context_exec(m->ctx);
    must(kernel->forward(&node, &ex), "forward");
    set_dy(m, &out);
    node.fresh = !c->not_fresh ? ~0u : 0u;
    must(kernel->backward(&node, &ex), "backward");
    chain_result r = collect(m, &x, parameter, &out);
    const int is_psum = !p->has_norm && !p->has_quant && c->x_type == DT_F16;
    for (int64_t i = 0; is_psum && i < r.n_out; i++) r.out[i] *= DT_PSUM_F16_UNIT;
    return r;
}

#endif /* NORM_QUANT_CHAIN_H */
