/*
 * conv.c - convolution on CUDA: what surrounds cuDNN's three convolutions. conv_problem.c chooses their operands.
 *
 * Forward reads codes and gives psums, or real values of real values. Backward reads codes of x, real filters and dy;
 * its results are scaled and added to the gradients.
 *
 * Scratch of a pass: [first operand][second operand][result][cuDNN's workspace]; an operand that cuDNN can read where
 * it lies, and a result that it can write in place, take no room.
 *
 * The mathematics is in layers/conv.c.  Kernels: convert.cu.  Tests: tests/test_conv.c.
 */
#include "conv_problem.h"

#include "../layers/conv.h"
#include "convert.h"
#include "cuda_device.h"

#include <assert.h>
#include <stdlib.h>

enum { ALIGNMENT = 256 };

typedef enum { X, W, Y, N_TENSORS } conv_tensor;
typedef enum { FIRST, SECOND, RESULT, WORKSPACE, N_REGIONS } conv_region;

/* What a pass reads and gives: dt_conv_plan_run's order. */
static const conv_tensor pass_tensors[DT_CONV_PASSES][3] = {
    [DT_CONV_FORWARD] = { X, W, Y },
    [DT_CONV_BACKWARD_DATA] = { Y, W, X },
    [DT_CONV_BACKWARD_FILTER] = { Y, X, W },
};

typedef struct {
    dt_conv_problem problem;  /* c counts the added channels */
    const dt_conv_plan *plan; /* NULL: nobody wants its result */
    size_t bytes[N_REGIONS];
} conv_pass;

typedef struct {
    conv_pass pass[DT_CONV_PASSES];
} conv_plan;

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void lay_out(const dt_conv_shape *s, conv_pass *pass)
{
    const dt_conv_problem *p = &pass->problem;
    const size_t elements[N_TENSORS] = { (size_t)(s->N * s->H * s->W * p->c), (size_t)(s->K * s->R * s->S * p->c),
                                         (size_t)(s->N * s->P * s->Q * s->K) };

    for (int i = FIRST; i <= SECOND; i++) {
        const conv_tensor t = pass_tensors[p->pass][i];
        /* filters are parameters, which may lie at any address: they are always copied */
        const int copied = t == W || p->operand != DT_OPERAND_F32;
        pass->bytes[i] = copied ? aligned(elements[t] * dt_operand_bytes(p->operand)) : 0;
    }
    const int in_place = p->pass == DT_CONV_FORWARD; /* backward adds to what is there */
    pass->bytes[RESULT] = in_place ? 0 : aligned(elements[pass_tensors[p->pass][2]] * sizeof(float));
    pass->bytes[WORKSPACE] = aligned(dt_conv_plan_workspace(pass->plan));
}

static dt_status pass_prepare(const dt_node *node, const dt_exec *ex, dt_conv_pass which, conv_pass *pass,
                              size_t *scratch_bytes)
{
    const dt_cuda_device *device = ex->device;
    const dt_conv_shape s = dt_conv_shape_of(node);
    size_t bytes = 0;

    DT_TRY(dt_conv_problem_of(node, which, ex->precision, &pass->problem));
    DT_TRY(dt_conv_plan_get(device->cudnn, &pass->problem, &pass->plan));
    lay_out(&s, pass);
    for (int i = 0; i < N_REGIONS; i++) bytes += pass->bytes[i];
    if (bytes > *scratch_bytes) *scratch_bytes = bytes;
    return DT_OK;
}

static void conv_release(dt_node *node)
{
    free(node->plan); /* cuDNN's plans belong to the device */
    node->plan = NULL;
}

static dt_status conv_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const int wanted[DT_CONV_PASSES] = { 1, ex->training && node->in[0]->wants_grad,
                                         ex->training && node->in[1]->wants_grad };
    conv_plan *plan = calloc(1, sizeof *plan);

    DT_CHECK(plan, DT_ERR_MEMORY, "%s: no memory for a plan", node->name);
    node->plan = plan;
    *scratch_bytes = 0;
    for (int i = 0; i < DT_CONV_PASSES; i++) {
        if (wanted[i]) DT_TRY(pass_prepare(node, ex, (dt_conv_pass)i, &plan->pass[i], scratch_bytes));
    }
    return DT_OK;
}

static char *region_at(const conv_pass *pass, const dt_exec *ex, conv_region region)
{
    char *at = ex->scratch;

    for (int i = 0; i < (int)region; i++) at += pass->bytes[i];
    return at;
}

/* How a tensor of the node becomes an operand. Backward to x reads real filters, the other passes read codes. */
static dt_convert operand_of(const dt_node *node, const dt_conv_problem *p, conv_tensor t)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *w = node->in[1];
    dt_convert c = { .operand = p->operand, .channels = s.C, .padded = p->c };

    switch (t) {
    case X:
        c.from = node->in[0]->data;
        c.rows = s.N * s.H * s.W;
        break;
    case W:
        c.from = w->data;
        c.rows = s.K * s.R * s.S;
        c.scale = p->pass == DT_CONV_BACKWARD_DATA && w->n_scale > 0 ? w->scale : NULL;
        c.rows_per_scale = w->n_scale > 1 ? s.R * s.S : c.rows;
        break;
    default:
        c.from = node->out->grad;
        c.rows = s.N * s.P * s.Q;
        c.channels = c.padded = s.K;
        break;
    }
    return c;
}

/* has_first: the first operand is in scratch already */
static dt_status run_pass(const dt_node *node, const dt_exec *ex, dt_conv_pass which, int has_first)
{
    const conv_pass *pass = &((const conv_plan *)node->plan)->pass[which];
    const void *operand[2];
    float *result = node->out->data;
    assert(pass->plan); /* prepare makes one wherever a gradient is wanted */

    for (int i = FIRST; i <= SECOND; i++) {
        dt_convert c = operand_of(node, &pass->problem, pass_tensors[which][i]);
        operand[i] = c.from;
        if (pass->bytes[i] == 0) continue;
        operand[i] = c.to = region_at(pass, ex, (conv_region)i);
        if (i == SECOND || !has_first) DT_TRY(dt_cuda_convert(&c, ex->stream));
    }
    if (pass->bytes[RESULT] > 0) result = (float *)(void *)region_at(pass, ex, RESULT);
    return dt_conv_plan_run(pass->plan, operand[FIRST], operand[SECOND], result, region_at(pass, ex, WORKSPACE));
}

static dt_status conv_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;

    DT_TRY(run_pass(node, ex, DT_CONV_FORWARD, 0));
    if (y->n_scale == 0) return DT_OK;
    return dt_cuda_psum_scale(x->scale, w->scale, y->n_scale, y->scale, ex->stream);
}

/* Gives a pass's result, times scale where it is not NULL, to the gradient of in[k], of rows x C values. */
static dt_status give_result(const dt_node *node, const dt_exec *ex, dt_conv_pass which, int k, int64_t rows,
                             const float *scale)
{
    const conv_pass *pass = &((const conv_plan *)node->plan)->pass[which];
    const dt_accumulate a = { .from = (const float *)(const void *)region_at(pass, ex, RESULT),
                              .to = node->in[k]->grad,
                              .rows = rows,
                              .channels = node->in[0]->shape.dim[3],
                              .padded = pass->problem.c,
                              .scale = scale,
                              .fresh = (int)(node->fresh & 1u << k) };

    return dt_cuda_accumulate(&a, ex->stream);
}

static dt_status conv_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];

    if (x->grad) {
        DT_TRY(run_pass(node, ex, DT_CONV_BACKWARD_DATA, 0));
        DT_TRY(give_result(node, ex, DT_CONV_BACKWARD_DATA, 0, s.N * s.H * s.W, NULL));
    }
    if (w->grad) {
        /* both passes keep the same copy of dy at the front of scratch */
        DT_TRY(run_pass(node, ex, DT_CONV_BACKWARD_FILTER, x->grad != NULL));
        const float *scale = x->n_scale > 0 ? x->scale : NULL;
        DT_TRY(give_result(node, ex, DT_CONV_BACKWARD_FILTER, 1, s.K * s.R * s.S, scale));
    }
    return DT_OK;
}

const dt_kernel dt_cuda_conv = { .prepare = conv_prepare,
                                 .forward = conv_forward,
                                 .backward = conv_backward,
                                 .release = conv_release,
                                 .overwrites = 3u };
