/*
 * op_case.c - see op_case.h: the judgement.
 */
#include "op_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a case runs. */
typedef struct {
    const char *name, *backend;
    const dt_kernel *kernel; /* NULL: the backend's */
    int threads;             /* 0: as many as there are */
} op_place;

/* What one run leaves on the host. */
typedef struct {
    float *out;
    double *real;           /* out in real values */
    float *grad[DT_MAX_IN]; /* NULL: not differentiable */
    int64_t n_out;
} op_result;

/* A case and the first thing that is wrong with it; fault[0] is 0 while nothing is. */
typedef struct {
    const op_case *c;
    char *fault;
} op_judge;

static void blame(op_judge *j, const char *fmt, ...) DT_PRINTF(2, 3);

static void blame(op_judge *j, const char *fmt, ...)
{
    va_list ap;

    if (j->fault[0]) return;
    const int n = snprintf(j->fault, OP_FAULT_BYTES, "%.200s: ", j->c->why);
    va_start(ap, fmt);
    vsnprintf(j->fault + n, (size_t)(OP_FAULT_BYTES - n), fmt, ap);
    va_end(ap);
}

static double tolerance_of(const op_case *c)
{
    return c->tolerance > 0.0 ? c->tolerance : OP_TOLERANCE;
}

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
static double *read_real(op_judge *j, const op_rig *rig, const float *out)
{
    const int n = rig->out.n_scale;
    const int64_t count = dt_count(&rig->out.shape), in_filter = j->c->out_scale_first && n ? count / n : 1;
    float *scale = op_rig_read(rig, rig->out.scale, n);
    double *real = malloc((size_t)count * sizeof *real);

    for (int64_t i = 0; i < count; i++) {
        const double v = (double)out[i];
        if (n > 0 && !(v >= (double)rig->out.qmin && v <= (double)rig->out.qmax)) {
            blame(j, "code %g of [%lld] is outside %lld..%lld", v, (long long)i, (long long)rig->out.qmin,
                  (long long)rig->out.qmax);
        }
        real[i] = v * (n == 0 ? 1.0 : (double)scale[i / in_filter % n]);
    }
    free(scale);
    return real;
}

static void check_status(op_judge *j, const op_place *p, const char *pass, dt_status status)
{
    if (status != DT_OK) blame(j, "%s, %s: %s: %s", p->name, pass, dt_status_name(status), dt_last_error());
}

/* What a pass may not have touched. */
static void check_surroundings(op_judge *j, const op_place *p, const char *pass, op_rig *rig)
{
    const char *side, *what = op_rig_overrun(rig, &side);
    const int changed = op_rig_input_changed(rig, j->c);

    if (what) blame(j, "%s, %s: bytes %s %s were written", p->name, pass, side, what);
    if (op_rig_scratch_overrun(rig)) blame(j, "%s, %s: bytes behind scratch were written", p->name, pass);
    if (changed >= 0) blame(j, "%s, %s: input %d was written", p->name, pass, changed);
}

/* A kernel that writes fresh gradients instead of adding must find nothing in them, not even a NaN, and give what it
 * would have added to 0.5. */
static void check_fresh(op_judge *j, const op_place *p, op_rig *rig, const op_result *r, const float *dy)
{
    const op_case *c = j->c;

    rig->node.fresh = rig->kernel->overwrites;
    for (int k = 0; k < c->n_in; k++) {
        const int64_t n = op_input_count(c, k);
        if (!r->grad[k]) continue;
        float *start = malloc((size_t)n * sizeof *start);
        for (int64_t i = 0; i < n; i++) start[i] = rig->node.fresh & 1u << k ? NAN : 0.0f;
        op_rig_write(rig, rig->in[k].grad, start, (size_t)n * sizeof *start);
        free(start);
    }
    op_rig_clear_scratch(rig);
    check_status(j, p, "fresh backward", op_rig_try_backward(rig, dy));
    check_surroundings(j, p, "fresh backward", rig);
    for (int k = 0; k < c->n_in; k++) {
        double largest = 0.5;
        if (!r->grad[k]) continue;
        float *fresh = op_rig_read(rig, rig->in[k].grad, op_input_count(c, k));
        for (int64_t i = 0; i < op_input_count(c, k); i++) largest = fmax(largest, fabs((double)fresh[i]));
        for (int64_t i = 0; i < op_input_count(c, k); i++) {
            if (fabs((double)fresh[i] + 0.5 - (double)r->grad[k][i]) <= tolerance_of(c) * largest) continue;
            blame(j, "%s, fresh gradient of input %d [%lld] is %.9g, added to 0.5 it was %.9g", p->name, k,
                  (long long)i, (double)fresh[i], (double)r->grad[k][i]);
        }
        free(fresh);
    }
    rig->node.fresh = 0;
}

static void run_backward(op_judge *j, const op_place *p, op_rig *rig, op_result *r)
{
    float *dy = malloc((size_t)r->n_out * sizeof *dy);

    for (int64_t i = 0; i < r->n_out; i++) dy[i] = loss_weight(i);
    op_rig_clear_scratch(rig);
    check_status(j, p, "backward", op_rig_try_backward(rig, dy));
    check_surroundings(j, p, "backward", rig);
    for (int k = 0; k < j->c->n_in; k++) {
        if (op_is_differentiable(j->c, k)) r->grad[k] = op_rig_read(rig, rig->in[k].grad, op_input_count(j->c, k));
    }
    check_fresh(j, p, rig, r, dy);
    free(dy);
}

/* Runs forward and backward; 0 if the backend is not here. */
static int run_on(op_judge *j, const op_place *p, op_result *r)
{
    op_rig rig;

    if (!op_rig_open_with(&rig, p->backend, p->threads, j->c, p->kernel)) return 0;
    op_rig_clear_scratch(&rig);
    check_status(j, p, "forward", op_rig_try_forward(&rig));
    check_surroundings(j, p, "forward", &rig);
    *r = (op_result){ .n_out = dt_count(&rig.out.shape) };
    r->out = op_rig_read(&rig, rig.out.data, r->n_out);
    r->real = read_real(j, &rig, r->out);
    if (!dt_ops[j->c->op]->no_grad) run_backward(j, p, &rig, r);
    op_rig_free(&rig);
    return 1;
}

/* want and got: equal within the tolerance times the largest wanted magnitude */
static void compare(op_judge *j, const char *what, const double *want, const double *got, int64_t n)
{
    double largest = 0.0;

    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        if (fabs(want[i] - got[i]) <= tolerance_of(j->c) * fmax(largest, 1e-3)) continue;
        blame(j, "%s[%lld] is %.9g, expected %.9g", what, (long long)i, got[i], want[i]);
        return;
    }
}

static void compare_bits(op_judge *j, const char *what, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue;
        blame(j, "%s: [%lld] is %.9g and %.9g", what, (long long)i, (double)a[i], (double)b[i]);
        return;
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
static void check_slopes(op_judge *j, const op_place *p, double **in, const op_result *r)
{
    const op_case *c = j->c;
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
        snprintf(what, sizeof what, "%s, 0.5 + gradient of input %d ", p->name, k);
        compare(j, what, want, got, n);
        free(want);
        free(got);
    }
    free(out);
}

/* A scale may differ from the oracle's by a rounding, 1e-7; a code that is off by one differs by far more. */
static void check_integers(op_judge *j, const op_place *p, const double *want, const op_result *r)
{
    for (int64_t i = 0; i < r->n_out; i++) {
        const double code = (double)r->out[i];
        if (code == rint(code) && fabs(r->real[i] - want[i]) <= 2e-7 * fabs(want[i])) continue;
        blame(j, "%s[%lld] is %.9g, expected %.9g from integers", p->name, (long long)i, r->real[i], want[i]);
        return;
    }
}

static void check_values(op_judge *j, const op_place *p, double **in, const op_result *r)
{
    double *want = malloc((size_t)r->n_out * sizeof *want);
    char what[64];

    if (j->fault[0]) { /* out may be garbage */
        free(want);
        return;
    }
    j->c->oracle(j->c, (const double *const *)in, want);
    snprintf(what, sizeof what, "%s, out", p->name);
    compare(j, what, want, r->real, r->n_out);
    if (j->c->agree == AGREE_INTEGERS) check_integers(j, p, want, r);
    if (!j->c->no_slopes) check_slopes(j, p, in, r);
    free(want);
}

static void check_threads(op_judge *j, op_place p, const op_result *one)
{
    for (p.threads = 2; p.threads <= 3; p.threads++) {
        op_result more;
        run_on(j, &p, &more);
        compare_bits(j, "out with 1 thread and with more", one->out, more.out, one->n_out);
        for (int k = 0; k < j->c->n_in; k++) {
            if (one->grad[k]) {
                compare_bits(j, "gradient with 1 thread and with more", one->grad[k], more.grad[k],
                             op_input_count(j->c, k));
            }
        }
        result_free(&more);
    }
}

int op_case_holds(const op_case *c, const op_stand_ins *instead, char *fault)
{
    const op_place here = { "cpu", "cpu", instead ? instead->cpu : NULL, 1 };
    const op_place there = { "cuda", instead && instead->cuda ? "cpu" : "cuda", instead ? instead->cuda : NULL, 0 };
    op_judge j = { c, fault };
    double *in[DT_MAX_IN] = { NULL };
    op_result cpu, cuda;

    fault[0] = '\0';
    for (int k = 0; k < c->n_in; k++) {
        in[k] = malloc((size_t)op_input_count(c, k) * sizeof **in);
        for (int64_t i = 0; i < op_input_count(c, k); i++) in[k][i] = op_real_value(&c->in[k], k, i);
    }
    run_on(&j, &here, &cpu);
    check_values(&j, &here, in, &cpu);
    check_threads(&j, here, &cpu);
    if (run_on(&j, &there, &cuda)) {
        check_values(&j, &there, in, &cuda);
        if (c->agree != AGREE_CLOSELY) compare_bits(&j, "out on cpu and on cuda", cpu.out, cuda.out, cpu.n_out);
        result_free(&cuda);
    }
    result_free(&cpu);
    for (int k = 0; k < c->n_in; k++) free(in[k]);
    return !fault[0];
}

void op_case_run(const op_case *c)
{
    char fault[OP_FAULT_BYTES];

    cr_assert(op_case_holds(c, NULL, fault), "%s", fault);
}

void op_cases_run(const op_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) op_case_run(&c[i]);
}

void op_case_refused(const op_case *c, dt_status status, const char *text)
{
    dt_tensor in[DT_MAX_IN], out = { 0 };
    dt_node node = { .kind = c->op, .name = "layer", .params = c->params, .n_in = c->n_in, .out = &out };

    node.purpose = c->purpose;
    for (int k = 0; k < c->n_in; k++) {
        in[k] = op_describe(&c->in[k], k);
        node.in[k] = &in[k];
    }
    const dt_status got = dt_ops[c->op]->infer(&node);
    cr_assert(got == status, "%s: infer gave %s, expected %s", c->why, dt_status_name(got), dt_status_name(status));
    cr_assert(strstr(dt_last_error(), text) != NULL, "%s: the message is '%s', expected '%s' in it", c->why,
              dt_last_error(), text);
}

static void passes_gradients(const op_case *c, const char *backend)
{
    op_rig rig;

    if (!op_rig_open(&rig, backend, 0, c)) return;
    const int64_t n = dt_count(&rig.out.shape);
    float *dy = malloc((size_t)n * sizeof *dy);
    for (int64_t k = 0; k < n; k++) dy[k] = (float)(k % 13) - 6.0f; /* exact, added to 0.5 */
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    float *dx = op_rig_read(&rig, rig.in[0].grad, n);
    for (int64_t k = 0; k < n; k++) {
        cr_assert(dx[k] == dy[k] + 0.5f, "%s: %s: 0.5 + the gradient at %lld is %g", c->why, backend, (long long)k,
                  (double)dx[k]);
    }
    free(dx);
    free(dy);
    op_rig_close(&rig);
}

void op_cases_pass_gradients(const op_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        passes_gradients(&c[i], "cpu");
        passes_gradients(&c[i], "cuda");
    }
}
