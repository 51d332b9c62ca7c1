/*
 * op_case.c - see op_case.h.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one run leaves on the host. */
typedef struct {
    float *out;
    double *real;           /* out in real values */
    float *grad[DT_MAX_IN]; /* NULL: not differentiable */
    int64_t n_out;
} op_result;

static void must(dt_status status, const char *why, const char *doing)
{
    cr_assert(status == DT_OK, "%s: %s: %s: %s", why, doing, dt_status_name(status), dt_last_error());
}

static int64_t input_count(const op_case *c, int k)
{
    return dt_count(&c->in[k].shape);
}

static int is_differentiable(const op_case *c, int k)
{
    return !dt_ops[c->op]->no_grad && c->in[k].type == DT_F32 && !c->in[k].state;
}

/* Evenly spread in [0, 1): the fractional parts of multiples of the golden ratio, in another order for each input. */
static double spread(int k, int64_t i)
{
    const double x = 0.618033988749895 * (double)(i + 1) + 0.37 * (double)(k + 1);
    return x - floor(x);
}

/* Element i of [levels][columns] that ascend by about 2 size / levels. */
static double ascending_value(const op_input *in, int k, int64_t i, double size)
{
    const int64_t levels = in->shape.dim[0], columns = in->shape.dim[1], level = i / columns, column = i % columns;

    if (column % 5 == 1 && level == 0) return -INFINITY;
    if (column % 5 == 2 && level == levels - 1) return INFINITY;
    if (column % 5 == 3) return column % 2 ? INFINITY : -INFINITY;
    return floor(size * (2.0 * ((double)level + spread(k, column)) / (double)levels - 1.0));
}

/* A value as the tensor holds it: a code if it is on the grid. */
static double fill_value(const op_input *in, int k, int64_t i)
{
    static const double usual[] = {
        [FILL_REAL] = 1.0,     [FILL_POSITIVE] = 1.0, [FILL_INTEGER] = 7.0,  [FILL_COUNT] = 15.0,
        [FILL_DISTINCT] = 0.0, [FILL_SIGN] = 1.0,     [FILL_ASCENDING] = 7.0
    };
    const double size = in->size > 0.0f ? (double)in->size : usual[in->fill];
    const int64_t n = dt_count(&in->shape);

    switch (in->fill) {
    case FILL_ZERO: return 0.0;
    case FILL_REAL: return (2.0 * spread(k, i) - 1.0) * size;
    case FILL_POSITIVE: return (0.5 + spread(k, i)) * size;
    case FILL_INTEGER: return floor(spread(k, i) * (2.0 * size + 1.0)) - size;
    case FILL_COUNT: return floor(spread(k, i) * (size + 1.0));
    /* the odd numbers around 0; 7919 is prime, so 7919 i mod n takes every value once (n is never a multiple of it) */
    case FILL_DISTINCT: return 2.0 * (double)(i * 7919 % n - n / 2) + 1.0;
    case FILL_SIGN: return spread(k, i) < 0.5 ? -1.0 : 1.0;
    case FILL_ASCENDING: return ascending_value(in, k, i, size);
    }
    return NAN;
}

static float scale_of(const op_input *in, int64_t channel)
{
    return in->n_scale <= 1 ? in->scale : in->scale * (1.0f + (float)channel / 8.0f);
}

static int64_t channel_of(const op_input *in, int64_t i)
{
    if (in->n_scale <= 1) return 0;
    return in->scale_first ? i / (dt_count(&in->shape) / in->n_scale) : i % in->n_scale;
}

static double real_value(const op_input *in, int k, int64_t i)
{
    const double value = (double)(float)fill_value(in, k, i);
    if (in->scale <= 0.0f) return value;
    return value * (double)scale_of(in, channel_of(in, i));
}

/* Tensor facts, without memory. */
static dt_tensor describe(const op_input *in, int k)
{
    dt_tensor t = { .type = in->type, .shape = in->shape, .name = "input" };
    if (in->scale <= 0.0f) return t;
    t.n_scale = in->n_scale > 1 ? in->n_scale : 1;
    for (int64_t i = 0; i < dt_count(&in->shape); i++) {
        const int64_t code = (int64_t)fill_value(in, k, i);
        if (code < t.qmin) t.qmin = code;
        if (code > t.qmax) t.qmax = code;
    }
    return t;
}

static void *device_copy(dt_context *ctx, const void *host, size_t bytes)
{
    void *p = NULL;
    must(dt_device_alloc(ctx, bytes, &p), "op_case", "alloc");
    must(dt_device_write(ctx, p, host, bytes), "op_case", "write");
    return p;
}

static void *device_constant(dt_context *ctx, float value, int64_t count)
{
    float *host = malloc((size_t)count * sizeof *host);
    for (int64_t i = 0; i < count; i++) host[i] = value;
    void *p = device_copy(ctx, host, (size_t)count * sizeof *host);
    free(host);
    return p;
}

static void *device_fill(dt_context *ctx, const op_input *in, int k)
{
    const int64_t n = dt_count(&in->shape);
    const size_t bytes = (size_t)n * dt_type_bytes(in->type);
    void *host = malloc(bytes);
    for (int64_t i = 0; i < n; i++) {
        const double v = fill_value(in, k, i);
        if (in->type == DT_F32)
            ((float *)host)[i] = (float)v;
        else if (in->type == DT_I32)
            ((int32_t *)host)[i] = (int32_t)v;
        else
            ((uint8_t *)host)[i] = (uint8_t)v;
    }
    void *p = device_copy(ctx, host, bytes);
    free(host);
    return p;
}

static float *device_scales(dt_context *ctx, const op_input *in, int n)
{
    float *host = malloc((size_t)n * sizeof *host);
    for (int i = 0; i < n; i++) host[i] = scale_of(in, i);
    float *p = device_copy(ctx, host, (size_t)n * sizeof *host);
    free(host);
    return p;
}

static void rig_inputs(op_rig *rig, const op_case *c)
{
    for (int k = 0; k < c->n_in; k++) {
        const op_input *in = &c->in[k];
        dt_tensor *t = &rig->in[k];
        *t = describe(in, k);
        t->data = device_fill(rig->ctx, in, k);
        t->wants_grad = is_differentiable(c, k);
        if (t->wants_grad) t->grad = device_constant(rig->ctx, 0.5f, input_count(c, k));
        if (t->n_scale > 0) t->scale = device_scales(rig->ctx, in, t->n_scale);
        rig->node.in[k] = t;
    }
}

static int shares_scale(const op_rig *rig)
{
    for (int k = 0; k < rig->node.n_in; k++) {
        if (rig->out.scale == rig->in[k].scale) return 1;
    }
    return 0;
}

/* What a tape would do between infer and the first run. */
static void rig_output(op_rig *rig, const op_case *c)
{
    dt_tensor *out = &rig->out;
    const int64_t count = dt_count(&out->shape);
    size_t scratch_bytes = 0;

    out->data = device_constant(rig->ctx, NAN, count);
    for (int k = 0; k < c->n_in; k++) out->wants_grad |= rig->in[k].wants_grad;
    if (!dt_ops[c->op]->no_grad) out->grad = device_constant(rig->ctx, 0.0f, count);
    if (out->n_scale > 0 && !out->scale) out->scale = device_constant(rig->ctx, NAN, out->n_scale);
    if (rig->node.aux_bytes) must(dt_device_alloc(rig->ctx, rig->node.aux_bytes, &rig->node.aux), c->why, "aux");
    rig->ex = dt_context_exec(rig->ctx);
    rig->ex.training = 1;
    const int before = dt_context_enter(rig->ctx);
    if (rig->kernel->prepare) must(rig->kernel->prepare(&rig->node, &rig->ex, &scratch_bytes), c->why, "prepare");
    dt_context_leave(before);
    must(dt_context_reserve(rig->ctx, 0, scratch_bytes), c->why, "scratch");
    rig->ex = dt_context_exec(rig->ctx);
}

int op_rig_open(op_rig *rig, const char *backend, int threads, const op_case *c)
{
    dt_options opt;
    dt_options_default(&opt);
    opt.backend = backend;
    opt.threads = threads;
    opt.precision = c->precision;
    *rig = (op_rig){ 0 };

    const dt_status opened = dt_context_create(&opt, &rig->ctx);
    if (opened == DT_ERR_UNSUPPORTED && strcmp(backend, "cpu") != 0) return 0;
    must(opened, c->why, backend);
    rig->kernel = rig->ctx->backend->kernels()[c->op];
    cr_assert(rig->kernel && rig->kernel->forward, "%s: %s has no kernel for %s", c->why, backend, dt_ops[c->op]->name);
    rig->node = (dt_node){ .kind = c->op, .name = "layer", .params = c->params, .n_in = c->n_in, .out = &rig->out };
    rig_inputs(rig, c);
    must(dt_ops[c->op]->infer(&rig->node), c->why, "infer");
    rig_output(rig, c);
    return 1;
}

void op_rig_forward(op_rig *rig)
{
    const int before = dt_context_enter(rig->ctx);
    must(rig->kernel->forward(&rig->node, &rig->ex), rig->node.name, "forward");
    dt_context_leave(before);
}

void op_rig_backward(op_rig *rig, const float *dy)
{
    op_rig_write(rig, rig->out.grad, dy, (size_t)dt_count(&rig->out.shape) * sizeof *dy);
    const int before = dt_context_enter(rig->ctx);
    must(rig->kernel->backward(&rig->node, &rig->ex), rig->node.name, "backward");
    dt_context_leave(before);
}

void op_rig_close(op_rig *rig)
{
    dt_context *ctx = rig->ctx;
    const size_t out_bytes = (size_t)dt_count(&rig->out.shape) * sizeof(float);

    if (rig->kernel->release) rig->kernel->release(&rig->node);
    for (int k = 0; k < rig->node.n_in; k++) {
        dt_tensor *t = &rig->in[k];
        dt_device_free(ctx, t->data, dt_tensor_bytes(t));
        dt_device_free(ctx, t->grad, (size_t)dt_count(&t->shape) * sizeof(float));
    }
    if (!shares_scale(rig)) dt_device_free(ctx, rig->out.scale, (size_t)rig->out.n_scale * sizeof(float));
    for (int k = 0; k < rig->node.n_in; k++) {
        dt_device_free(ctx, rig->in[k].scale, (size_t)rig->in[k].n_scale * sizeof(float));
    }
    dt_device_free(ctx, rig->out.data, out_bytes);
    dt_device_free(ctx, rig->out.grad, out_bytes);
    dt_device_free(ctx, rig->node.aux, rig->node.aux_bytes);
    dt_context_destroy(ctx);
}

float *op_rig_read(const op_rig *rig, const void *src, int64_t count)
{
    float *host = malloc((size_t)count * sizeof *host);
    must(dt_device_read(rig->ctx, host, src, (size_t)count * sizeof *host), rig->node.name, "read");
    return host;
}

void op_rig_write(const op_rig *rig, void *dst, const void *src, size_t bytes)
{
    must(dt_device_write(rig->ctx, dst, src, bytes), rig->node.name, "write");
}

/* The weights of the loss that is differentiated: sum of weight * out. */
static float loss_weight(int64_t i)
{
    return (float)(2.0 * spread(DT_MAX_IN, i) - 1.0);
}

static void result_free(op_result *r)
{
    free(r->out);
    free(r->real);
    for (int k = 0; k < DT_MAX_IN; k++) free(r->grad[k]);
}

/* out in real values; its codes must lie where infer said */
static double *read_real(const op_case *c, const op_rig *rig, const float *out)
{
    const int n = rig->out.n_scale;
    const int64_t count = dt_count(&rig->out.shape), in_filter = c->out_scale_first && n ? count / n : 1;
    float *scale = op_rig_read(rig, rig->out.scale, n);
    double *real = malloc((size_t)count * sizeof *real);

    for (int64_t i = 0; i < count; i++) {
        const double v = (double)out[i];
        cr_assert(n == 0 || (v >= (double)rig->out.qmin && v <= (double)rig->out.qmax),
                  "%s: code %g of [%lld] is outside %lld..%lld", c->why, v, (long long)i, (long long)rig->out.qmin,
                  (long long)rig->out.qmax);
        real[i] = v * (n == 0 ? 1.0 : (double)scale[i / in_filter % n]);
    }
    free(scale);
    return real;
}

/* A kernel that writes fresh gradients instead of adding must find nothing in them, not even a NaN, and give what it
 * would have added to 0.5. */
static void check_fresh(const op_case *c, op_rig *rig, const op_result *r, const float *dy)
{
    const double tolerance = c->tolerance > 0.0 ? c->tolerance : OP_TOLERANCE;

    rig->node.fresh = rig->kernel->overwrites;
    for (int k = 0; k < c->n_in; k++) {
        const int64_t n = input_count(c, k);
        if (!r->grad[k]) continue;
        dt_device_free(rig->ctx, rig->in[k].grad, (size_t)n * sizeof(float));
        rig->in[k].grad = device_constant(rig->ctx, rig->node.fresh & 1u << k ? NAN : 0.0f, n);
    }
    op_rig_backward(rig, dy);
    for (int k = 0; k < c->n_in; k++) {
        double largest = 0.5;
        if (!r->grad[k]) continue;
        float *fresh = op_rig_read(rig, rig->in[k].grad, input_count(c, k));
        for (int64_t i = 0; i < input_count(c, k); i++) largest = fmax(largest, fabs((double)fresh[i]));
        for (int64_t i = 0; i < input_count(c, k); i++) {
            cr_assert(fabs((double)fresh[i] + 0.5 - (double)r->grad[k][i]) <= tolerance * largest,
                      "%s: fresh gradient of input %d [%lld] is %.9g, added to 0.5 it was %.9g", c->why, k,
                      (long long)i, (double)fresh[i], (double)r->grad[k][i]);
        }
        free(fresh);
    }
    rig->node.fresh = 0;
}

/* Runs forward and backward; 0 if the backend is not here. */
static int run_on(const op_case *c, const char *backend, int threads, op_result *r)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, threads, c)) return 0;
    op_rig_forward(&rig);

    *r = (op_result){ .n_out = dt_count(&rig.out.shape) };
    r->out = op_rig_read(&rig, rig.out.data, r->n_out);
    r->real = read_real(c, &rig, r->out);
    if (!dt_ops[c->op]->no_grad) {
        float *dy = malloc((size_t)r->n_out * sizeof *dy);
        for (int64_t i = 0; i < r->n_out; i++) dy[i] = loss_weight(i);
        op_rig_backward(&rig, dy);
        for (int k = 0; k < c->n_in; k++) {
            if (is_differentiable(c, k)) r->grad[k] = op_rig_read(&rig, rig.in[k].grad, input_count(c, k));
        }
        check_fresh(c, &rig, r, dy);
        free(dy);
    }
    op_rig_close(&rig);
    return 1;
}

/* want and got: equal within the tolerance times the largest wanted magnitude */
static void compare(const op_case *c, const char *what, const double *want, const double *got, int64_t n)
{
    const double tolerance = c->tolerance > 0.0 ? c->tolerance : OP_TOLERANCE;
    double largest = 0.0;

    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs(want[i] - got[i]) <= tolerance * fmax(largest, 1e-3), "%s: %s[%lld] is %.9g, expected %.9g",
                  c->why, what, (long long)i, got[i], want[i]);
    }
}

static void compare_bits(const op_case *c, const char *what, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(a[i] == b[i], "%s: %s: [%lld] is %.9g and %.9g", c->why, what, (long long)i, (double)a[i],
                  (double)b[i]);
    }
}

/* The loss as a function of input k's element i alone. */
static double loss_at(const op_case *c, double **in, int k, int64_t i, double value, double *out, int64_t n_out)
{
    const double keep = in[k][i];
    double loss = 0.0;

    in[k][i] = value;
    c->oracle(c, (const double *const *)in, out);
    in[k][i] = keep;
    for (int64_t j = 0; j < n_out; j++) loss += (double)loss_weight(j) * out[j];
    return loss;
}

/* Step 1e-6: in double the difference errs by about 1e-10 of the loss, far below f32's rounding. */
static void check_slopes(const op_case *c, const char *backend, double **in, const op_result *r)
{
    double *out = malloc((size_t)r->n_out * sizeof *out);

    for (int k = 0; k < c->n_in; k++) {
        if (!r->grad[k]) continue;
        const int64_t n = input_count(c, k);
        double *want = malloc((size_t)n * sizeof *want), *got = malloc((size_t)n * sizeof *got);
        char what[64];
        for (int64_t i = 0; i < n; i++) {
            const double h = 1e-6 * fmax(1.0, fabs(in[k][i]));
            const double up = loss_at(c, in, k, i, in[k][i] + h, out, r->n_out);
            const double down = loss_at(c, in, k, i, in[k][i] - h, out, r->n_out);
            want[i] = 0.5 + (up - down) / (2.0 * h);
            got[i] = (double)r->grad[k][i];
        }
        snprintf(what, sizeof what, "%s, 0.5 + gradient of input %d ", backend, k);
        compare(c, what, want, got, n);
        free(want);
        free(got);
    }
    free(out);
}

static void check_backend(const op_case *c, const char *backend, double **in, const op_result *r)
{
    double *want = malloc((size_t)r->n_out * sizeof *want);
    char what[64];

    c->oracle(c, (const double *const *)in, want);
    snprintf(what, sizeof what, "%s, out", backend);
    compare(c, what, want, r->real, r->n_out);
    for (int64_t i = 0; c->agree == AGREE_INTEGERS && i < r->n_out; i++) {
        /* a scale may differ from the oracle's by a rounding, 1e-7; a code that is off by one, by far more */
        cr_assert((double)r->out[i] == rint((double)r->out[i]) && fabs(r->real[i] - want[i]) <= 2e-7 * fabs(want[i]),
                  "%s: %s[%lld] is %.9g, expected %.9g from integers", c->why, what, (long long)i, r->real[i], want[i]);
    }
    if (!c->no_slopes) check_slopes(c, backend, in, r);
    free(want);
}

static void check_threads(const op_case *c, const op_result *one)
{
    for (int threads = 2; threads <= 3; threads++) {
        op_result more;
        run_on(c, "cpu", threads, &more);
        compare_bits(c, "out with 1 thread and with more", one->out, more.out, one->n_out);
        for (int k = 0; k < c->n_in; k++) {
            if (one->grad[k]) {
                compare_bits(c, "gradient with 1 thread and with more", one->grad[k], more.grad[k], input_count(c, k));
            }
        }
        result_free(&more);
    }
}

void op_case_run(const op_case *c)
{
    double *in[DT_MAX_IN] = { NULL };
    op_result cpu, cuda;

    for (int k = 0; k < c->n_in; k++) {
        in[k] = malloc((size_t)input_count(c, k) * sizeof **in);
        for (int64_t i = 0; i < input_count(c, k); i++) in[k][i] = real_value(&c->in[k], k, i);
    }
    run_on(c, "cpu", 1, &cpu);
    check_backend(c, "cpu", in, &cpu);
    check_threads(c, &cpu);
    if (run_on(c, "cuda", 0, &cuda)) {
        check_backend(c, "cuda", in, &cuda);
        if (c->agree != AGREE_CLOSELY) compare_bits(c, "out on cpu and on cuda", cpu.out, cuda.out, cpu.n_out);
        result_free(&cuda);
    }
    result_free(&cpu);
    for (int k = 0; k < c->n_in; k++) free(in[k]);
}

void op_cases_run(const op_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) op_case_run(&c[i]);
}

void op_case_refused(const op_case *c, dt_status status, const char *text)
{
    dt_tensor in[DT_MAX_IN], out = { 0 };
    dt_node node = { .kind = c->op, .name = "layer", .params = c->params, .n_in = c->n_in, .out = &out };

    for (int k = 0; k < c->n_in; k++) {
        in[k] = describe(&c->in[k], k);
        node.in[k] = &in[k];
    }
    const dt_status got = dt_ops[c->op]->infer(&node);
    cr_assert(got == status, "%s: infer gave %s, expected %s", c->why, dt_status_name(got), dt_status_name(status));
    cr_assert(strstr(dt_last_error(), text) != NULL, "%s: the message is '%s', expected '%s' in it", c->why,
              dt_last_error(), text);
}
