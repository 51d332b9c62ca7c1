/*
 * test_norm_quant_types.c - NORM_QUANT on CUDA, in all the types that core/fuse.c gives it, against the chain of
 *                           BATCHNORM, RELU, MAXPOOL and ACT_QUANT that it stands for, in f32, on the CPU and on CUDA.
 *
 * Inputs are such that sums of x are exact, so codes, scales and running statistics must be equal. Gradients of 16 bits
 * must be what the same kernels give in f32, rounded once.
 */
#include "../core/context.h"
#include "../core/half.h"

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
    dt_dtype x_type, out_type, dy_type, dx_type;
    int n_scale;
    int size; /* psums are -size..size */
    float alpha;
    int no_dx;     /* x is not trained */
    int not_fresh; /* dx is added to */
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
    float *value = malloc((size_t)n * sizeof *value), scale[256];

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

/* The nodes of the chain, one after another, all in f32. */
static int record_parts(const type_case *c, dt_tensor *x, dt_tensor *parameter, dt_tensor *out, dt_node *node,
                        dt_pool_params *pool)
{
    const dt_norm_quant_params *p = &c->p;
    int n = 0;

    *pool = (dt_pool_params){ p->pool, p->pool };
    if (p->has_norm) node[n++] = (dt_node){ .kind = DT_OP_BATCHNORM, .params = &p->norm, .n_in = 5 };
    if (p->has_relu) node[n++] = (dt_node){ .kind = DT_OP_RELU, .n_in = 1 };
    if (p->pool) node[n++] = (dt_node){ .kind = DT_OP_MAXPOOL, .params = pool, .n_in = 1 };
    if (p->has_quant) node[n++] = (dt_node){ .kind = DT_OP_ACT_QUANT, .params = &p->quant, .n_in = 2 };
    for (int i = 0; i < n; i++) {
        out[i] = (dt_tensor){ .name = "part" };
        node[i].name = "part";
        node[i].out = &out[i];
        node[i].in[0] = i ? &out[i - 1] : x;
        for (int k = 1; k < 5; k++) node[i].in[k] = &parameter[node[i].kind == DT_OP_ACT_QUANT ? 4 : k - 1];
    }
    return n;
}

static chain_result run_parts(device_memory *m, const type_case *c)
{
    dt_tensor x = make_x(m, c, DT_F32, DT_F32), parameter[N_PARAMETERS], out[MAX_PARTS];
    dt_node node[MAX_PARTS];
    dt_pool_params pool;
    const dt_kernel *kernel[MAX_PARTS];
    make_parameters(m, c, parameter);
    const int n = record_parts(c, &x, parameter, out, node, &pool);

    for (int i = 0; i < n; i++) {
        kernel[i] = make_ready(m, &node[i], DT_F32, DT_F32);
        const dt_exec ex = dt_context_exec(m->ctx);
        must(kernel[i]->forward(&node[i], &ex), "forward");
    }
    set_dy(m, &out[n - 1]);
    for (int i = n - 1; i >= 0; i--) {
        const dt_exec ex = dt_context_exec(m->ctx);
        node[i].fresh = i || !c->not_fresh;
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

    make_parameters(m, c, parameter);
    for (int k = 0; p->has_norm && k < 4; k++) node.in[node.n_in++] = &parameter[k];
    if (p->has_quant) node.in[node.n_in++] = &parameter[4];
    cr_assert(!p->has_quant || node.in[node_alpha(p)] == &parameter[4]);
    const dt_kernel *kernel = make_ready(m, &node, c->out_type, c->dy_type);
    const dt_exec ex = dt_context_exec(m->ctx);
    must(kernel->forward(&node, &ex), "forward");
    set_dy(m, &out);
    node.fresh = !c->not_fresh;
    must(kernel->backward(&node, &ex), "backward");
    chain_result r = collect(m, &x, parameter, &out);
    const int is_psum = !p->has_norm && !p->has_quant && c->x_type == DT_F16;
    for (int64_t i = 0; is_psum && i < r.n_out; i++) r.out[i] *= DT_PSUM_F16_UNIT;
    return r;
}

static const char *text_of(const type_case *c, const char *what)
{
    static char text[256];
    char shape[64];
    snprintf(
        text, sizeof text,
        "x %s, norm %d training %d relu %d pool %d quant %d rule %d signed %d unclamped %d, types x %d out %d dy %d "
        "dx %d: %s",
        dt_shape_text(&c->x, shape, sizeof shape), c->p.has_norm, c->p.norm.training, c->p.has_relu, c->p.pool,
        c->p.has_quant, (int)c->p.quant.rule, c->p.quant.is_signed, c->p.quant.unclamped, (int)c->x_type,
        (int)c->out_type, (int)c->dy_type, (int)c->dx_type, what);
    return text;
}

static void same(const type_case *c, const char *what, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(want[i] == got[i], "%s[%lld] is %.9g, expected %.9g", text_of(c, what), (long long)i, (double)got[i],
                  (double)want[i]);
    }
}

/* The fused kernels add up to 256 products in f32, the others in double: 256 * 2^-24 of the magnitudes at worst, of
 * which a random sign leaves a sixteenth. */
static void close_to(const type_case *c, const char *what, const float *want, const float *got, int64_t n)
{
    double largest = 1.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs((double)want[i] - (double)got[i]) <= 1e-5 * largest, "%s[%lld] is %.9g, expected %.9g",
                  text_of(c, what), (long long)i, (double)got[i], (double)want[i]);
    }
}

static void compare(const type_case *c, const chain_result *want, const chain_result *got)
{
    static const char *const names[N_PARAMETERS] = { "dgamma", "dbeta", "", "", "dalpha" };
    const int64_t channels = c->x.dim[c->x.ndim - 1], n = dt_count(&c->x);

    cr_assert(want->n_out == got->n_out);
    same(c, "out", want->out, got->out, want->n_out);
    if (c->p.has_quant) same(c, "scale", want->scale, got->scale, 1);
    same(c, "running mean", want->mean, got->mean, channels);
    same(c, "running variance", want->var, got->var, channels);
    if (want->dx) close_to(c, "dx", want->dx, got->dx, n);
    for (int k = 0; k < N_PARAMETERS; k++) {
        if (want->dparameter[k]) close_to(c, names[k], want->dparameter[k], got->dparameter[k], k < 4 ? channels : 1);
    }
}

/* dx of 16 bits is dx of the same kernels in f32, rounded */
static void check_rounding(const type_case *c, const chain_result *wide)
{
    device_memory m;
    cr_assert(open_memory(&m, "cuda"));
    chain_result narrow = run_fused(&m, c, c->dx_type);
    for (int64_t i = 0; i < dt_count(&c->x); i++) {
        float bits;
        to_bits(&bits, c->dx_type, 0, wide->dx[i]);
        const float want = from_bits(&bits, c->dx_type, 0);
        cr_assert(want == narrow.dx[i], "%s[%lld] is %.9g, expected %.9g", text_of(c, "rounded dx"), (long long)i,
                  (double)narrow.dx[i], (double)want);
    }
    result_free(&narrow);
    close_memory(&m);
}

static void check(const type_case *c)
{
    static const char *const backends[] = { "cpu", "cuda" };
    device_memory m;
    if (!open_memory(&m, "cuda")) cr_skip_test("there is no CUDA here; test_norm_quant_types_simt has the shim");
    chain_result got = run_fused(&m, c, DT_F32);

    for (int b = 0; b < 2; b++) {
        device_memory other;
        cr_assert(open_memory(&other, backends[b]));
        chain_result want = run_parts(&other, c);
        compare(c, &want, &got);
        result_free(&want);
        close_memory(&other);
    }
    if (c->dx_type != DT_F32 && got.dx) check_rounding(c, &got);
    result_free(&got);
    close_memory(&m);
}

static const dt_norm_quant_params whole = { 1, 1, 1, 2, { 1e-5f, 0.1f, 1 }, { .bits = 4, .rule = DT_RULE_ECE284 } };

static type_case usual(int channels, int pool)
{
    type_case c = { .x = { 4, { 3, 7, 5, channels } }, .p = whole, .n_scale = 1, .size = 300, .alpha = 1.3f };
    c.p.pool = pool;
    return c;
}

static void give_types(type_case *c, dt_dtype x, dt_dtype out, dt_dtype dy, dt_dtype dx)
{
    c->x_type = x;
    c->out_type = out;
    c->dy_type = dy;
    c->dx_type = dx;
}

static const int channels[] = { 1, 3, 8, 16, 33, 64, 72 };
enum { N_CHANNELS = sizeof channels / sizeof channels[0] };

/* all of F32, all of F16, and mixtures of what may stand before and behind */
static const dt_dtype types[][4] = {
    { DT_F32, DT_F32, DT_F32, DT_F32 },  { DT_F16, DT_F16, DT_F16, DT_F16 }, { DT_F16, DT_F32, DT_F32, DT_F16 },
    { DT_F32, DT_U8, DT_BF16, DT_BF16 }, { DT_F16, DT_U8, DT_BF16, DT_F32 },
};
enum { N_TYPES = sizeof types / sizeof types[0] };

Test(norm_quant_types, sizes_pools_and_types)
{
    for (int i = 0; i < N_CHANNELS; i++) {
        for (int pool = 0; pool <= 3; pool++) {
            for (int t = 0; t < N_TYPES; t++) {
                type_case c = usual(channels[i], pool);
                give_types(&c, types[t][0], types[t][1], types[t][2], types[t][3]);
                check(&c);
            }
        }
    }
}

Test(norm_quant_types, rules)
{
    static const dt_quant_rule rules[] = { DT_RULE_ECE284, DT_RULE_SCREAM, DT_RULE_APOT, DT_RULE_PACT, DT_RULE_LSQ };
    static const int n_channels[] = { 3, 16 };

    for (int r = 0; r < 5; r++) {
        for (int k = 0; k < 12; k++) { /* channels, pool, clips */
            type_case c = usual(n_channels[k % 2], k / 2 % 2 * 2);
            c.p.quant.rule = rules[r];
            if (rules[r] == DT_RULE_LSQ) c.alpha = 0.11f;
            c.p.quant.is_signed = k / 4 == 1;
            c.p.quant.unclamped = k / 4 == 2;
            c.p.has_relu = k / 4 == 0;
            give_types(&c, DT_F16, k / 4 == 1 ? DT_I8 : DT_F16, DT_F16, DT_F16);
            check(&c);
            give_types(&c, DT_F32, DT_F32, DT_F32, DT_F32);
            check(&c);
        }
    }
}

Test(norm_quant_types, each_part_if_it_is_there)
{
    for (int parts = 1; parts < 16; parts++) {
        for (int k = 0; k < 4; k++) {
            type_case c = usual(k % 2 ? 3 : 24, parts & 4 ? 2 : 0);
            c.p.has_norm = parts & 1;
            c.p.has_relu = parts >> 1 & 1;
            c.p.has_quant = parts >> 3 & 1;
            c.n_scale = k < 2 ? 1 : (int)c.x.dim[3];
            give_types(&c, k % 2 ? DT_F16 : DT_F32, DT_F32, DT_F16, DT_F16);
            if (!c.p.has_norm && !c.p.has_quant && c.x_type == DT_F16) c.out_type = DT_F16;
            check(&c);
        }
    }
}

Test(norm_quant_types, evaluation)
{
    for (int k = 0; k < 8; k++) {
        type_case c = usual(k % 2 ? 3 : 40, k / 2 % 2 * 2);
        c.p.norm.training = 0;
        give_types(&c, k / 4 ? DT_F16 : DT_F32, DT_F16, DT_F16, DT_F16);
        check(&c);
    }
}

Test(norm_quant_types, odds)
{
    type_case real = usual(20, 2), ties = usual(16, 3), added = usual(16, 2), constant = usual(24, 2),
              flat = usual(40, 0);
    real.n_scale = 0;
    check(&real);
    ties.size = 3;
    check(&ties);
    ties.p.pool = 2;
    give_types(&ties, DT_F16, DT_F16, DT_F16, DT_F16);
    check(&ties);
    added.not_fresh = 1;
    check(&added);
    added.x_type = DT_F16;
    check(&added);
    constant.no_dx = 1;
    check(&constant);
    flat.x = (dt_shape){ 2, { 33, 40 } };
    give_types(&flat, DT_F16, DT_F32, DT_F32, DT_F16);
    check(&flat);
}

/* rows and windows of many blocks, each of which takes several rounds */
Test(norm_quant_types, many_blocks)
{
    for (int pool = 0; pool <= 2; pool += 2) {
        type_case c = usual(8, pool);
        c.x = (dt_shape){ 4, { 5, 67, 65, 8 } };
        give_types(&c, DT_F16, DT_F16, DT_F16, DT_F16);
        check(&c);
        c.x = (dt_shape){ 4, { 3, 33, 31, 64 } };
        check(&c);
        c.x = (dt_shape){ 4, { 3, 33, 31, 3 } };
        check(&c);
    }
}
