/*
 * op_case.c - see op_case.h.
 */
#include "op_rig.h"

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

/* The weights of the loss that is differentiated: sum of weight * out. */
static float loss_weight(int64_t i)
{
    return (float)(2.0 * op_spread(DT_MAX_IN, i) - 1.0);
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
        const int64_t n = op_input_count(c, k);
        if (!r->grad[k]) continue;
        dt_device_free(rig->ctx, rig->in[k].grad, (size_t)n * sizeof(float));
        rig->in[k].grad = op_device_constant(rig->ctx, rig->node.fresh & 1u << k ? NAN : 0.0f, n);
    }
    op_rig_backward(rig, dy);
    for (int k = 0; k < c->n_in; k++) {
        double largest = 0.5;
        if (!r->grad[k]) continue;
        float *fresh = op_rig_read(rig, rig->in[k].grad, op_input_count(c, k));
        for (int64_t i = 0; i < op_input_count(c, k); i++) largest = fmax(largest, fabs((double)fresh[i]));
        for (int64_t i = 0; i < op_input_count(c, k); i++) {
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
            if (op_is_differentiable(c, k)) r->grad[k] = op_rig_read(&rig, rig.in[k].grad, op_input_count(c, k));
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
        const int64_t n = op_input_count(c, k);
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
                compare_bits(c, "gradient with 1 thread and with more", one->grad[k], more.grad[k],
                             op_input_count(c, k));
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
        in[k] = malloc((size_t)op_input_count(c, k) * sizeof **in);
        for (int64_t i = 0; i < op_input_count(c, k); i++) in[k][i] = op_real_value(&c->in[k], k, i);
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
        in[k] = op_describe(&c->in[k], k);
        node.in[k] = &in[k];
    }
    const dt_status got = dt_ops[c->op]->infer(&node);
    cr_assert(got == status, "%s: infer gave %s, expected %s", c->why, dt_status_name(got), dt_status_name(status));
    cr_assert(strstr(dt_last_error(), text) != NULL, "%s: the message is '%s', expected '%s' in it", c->why,
              dt_last_error(), text);
}
