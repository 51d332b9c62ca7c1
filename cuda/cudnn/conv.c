/*
 * conv.c - convolution on CUDA: the conversions around cuDNN's three convolutions. conv_problem.c chooses their
 *          operands.
 *
 * Forward makes psums of codes, or real values of real values. Backward reads codes of x, real filters and dy, and adds
 * its results to the gradients. Between fused nodes in mixed precision everything is fp16 and is used where it lies.
 * Where the filters' quantizer does not do it, backward to x turns their codes into real values; and where several
 * tapes' gradients are summed, that of the filters is scaled and widened.
 *
 * The scratch of a pass is [first operand][second operand][result][cuDNN's workspace]. An operand that cuDNN can read
 * where it lies, and a result that it can write in place, take no room.
 *
 * The mathematics is in layers/conv/conv.c.  Kernels: convert.cu.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c.
 */
#include "conv_problem.h"

#include "../../layers/conv/conv.h"
#include "../convert.h"
#include "../cuda_device.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

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
    size_t bytes[N_REGIONS];  /* 0: of a tensor that is read or written in place */
} conv_pass;

typedef struct {
    conv_pass pass[DT_CONV_PASSES];
} conv_state;

/* Whether the filters that a pass reads are real values, made of codes. */
static int makes_filters_real(const dt_node *node, dt_conv_pass pass)
{
    return pass == DT_CONV_BACKWARD_DATA && node->in[1]->n_scale > 0 && !node->in[1]->wants_real;
}

/* The type in which an operand lies there; y is one in backward only, and stands for dy. */
static dt_dtype stored_type(const dt_node *node, conv_tensor t)
{
    return t == Y ? node->out->grad_type : node->in[t]->type;
}

/* Whether x or w lies there with as many channels as cuDNN wants. */
static int has_all_channels(const dt_node *node, const dt_conv_problem *p, conv_tensor t)
{
    return dt_stored_channels(node->in[t]) * (t == W ? p->form.groups : 1) == p->c;
}

/* Whether cuDNN can read an operand where it lies. */
static int read_in_place(const dt_node *node, const dt_conv_problem *p, conv_tensor t)
{
    const dt_dtype type = stored_type(node, t);

    if (type != p->operand) return 0;
    if (t != Y && !has_all_channels(node, p, t)) return 0;
    /* f32 filters are parameters, which may lie at any address */
    return t != W || (type != DT_F32 && !makes_filters_real(node, p->pass));
}

/* Whether cuDNN can write its result where it belongs. Filters' gradients in f32 are scaled, and lie at any address. */
static int write_in_place(const dt_node *node, const dt_conv_problem *p)
{
    if (p->pass == DT_CONV_FORWARD) return 1;

    const conv_tensor t = pass_tensors[p->pass][RESULT];
    const dt_dtype type = node->in[t]->grad_type;
    return node->fresh & 1u << t && type == p->result && (t == X || type == DT_F16) && has_all_channels(node, p, t);
}

static void lay_out(const dt_node *node, conv_pass *pass)
{
    const dt_conv_problem *p = &pass->problem;
    int64_t count[3];

    dt_conv_counts(p, count);
    for (int i = FIRST; i <= RESULT; i++) {
        const int in_place = i == RESULT ? write_in_place(node, p) : read_in_place(node, p, pass_tensors[p->pass][i]);
        const dt_dtype type = i == RESULT ? p->result : p->operand;
        pass->bytes[i] = in_place ? 0 : dt_round_up((size_t)count[i] * dt_type_bytes(type), DT_ALIGN);
    }
    pass->bytes[WORKSPACE] = dt_round_up(dt_conv_plan_workspace(pass->plan), DT_ALIGN);
}

static dt_status pass_prepare(const dt_node *node, const dt_exec *ex, dt_conv_pass which, conv_pass *pass,
                              size_t *scratch_bytes)
{
    const dt_cuda_device *device = ex->device;
    size_t bytes = 0;

    DT_TRY(dt_conv_problem_of(node, which, ex, &pass->problem));
    DT_TRY(dt_conv_plan_get(device->cudnn, &pass->problem, &pass->plan));
    lay_out(node, pass);
    for (int i = 0; i < N_REGIONS; i++) bytes += pass->bytes[i];
    if (bytes > *scratch_bytes) *scratch_bytes = bytes;
    return DT_OK;
}

static void conv_release(dt_node *node)
{
    free(node->state); /* cuDNN's plans belong to the device */
    node->state = NULL;
}

static dt_status conv_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const int wanted[DT_CONV_PASSES] = { 1, ex->training && node->in[0]->wants_grad,
                                         ex->training && node->in[1]->wants_grad };
    conv_state *state = calloc(1, sizeof *state);

    DT_CHECK(state, DT_ERR_MEMORY, "%s: no memory for the kernel's state", node->name);
    node->state = state;
    *scratch_bytes = 0;
    for (int i = 0; i < DT_CONV_PASSES; i++) {
        if (wanted[i]) DT_TRY(pass_prepare(node, ex, (dt_conv_pass)i, &state->pass[i], scratch_bytes));
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
    dt_convert c = { .from_type = stored_type(node, t), .to_type = p->operand, .channels = s.C, .padded = p->c };

    switch (t) {
    case X:
        c.from = node->in[0]->data;
        c.rows = s.N * s.H * s.W;
        break;
    case W:
        c.from = p->pass == DT_CONV_BACKWARD_DATA && w->wants_real ? w->real : w->data;
        c.channels = s.C / s.groups;
        c.padded = p->c / s.groups;
        c.rows = s.K * s.R * s.S;
        c.scale = makes_filters_real(node, p->pass) ? w->scale : NULL;
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
    const conv_pass *pass = &((const conv_state *)node->state)->pass[which];
    const void *operand[2];
    void *const place[DT_CONV_PASSES] = { node->out->data, node->in[0]->grad, node->in[1]->grad };
    void *result = place[which];
    assert(pass->plan); /* prepare makes one wherever a gradient is wanted */

    for (int i = FIRST; i <= SECOND; i++) {
        dt_convert c = operand_of(node, &pass->problem, pass_tensors[which][i]);
        operand[i] = c.from;
        if (pass->bytes[i] == 0) continue;
        operand[i] = c.to = region_at(pass, ex, (conv_region)i);
        if (i == SECOND || !has_first) DT_TRY(dt_cuda_convert(&c, ex->stream));
    }
    if (pass->bytes[RESULT] > 0) result = region_at(pass, ex, RESULT);
    return dt_conv_plan_run(pass->plan, operand[FIRST], operand[SECOND], result, region_at(pass, ex, WORKSPACE));
}

static dt_status conv_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;

    DT_TRY(run_pass(node, ex, DT_CONV_FORWARD, 0));
    if (y->n_scale == 0 || w->layer == node) return DT_OK; /* or WEIGHT_QUANT has written it */
    const int unit = y->type == DT_F16 ? DT_PSUM_F16_UNIT : 1;
    return dt_cuda_psum_scale(x->scale, w->scale, unit, y->n_scale, y->scale, ex->stream);
}

/* Gives a pass's result, times scale where it is not NULL, to the gradient of in[k], of rows x C values. */
static dt_status give_result(const dt_node *node, const dt_exec *ex, dt_conv_pass which, int k, int64_t rows,
                             const float *scale)
{
    const conv_pass *pass = &((const conv_state *)node->state)->pass[which];
    const int groups = k == W ? pass->problem.form.groups : 1; /* a filter has one group's channels */
    const dt_accumulate a = { .from = region_at(pass, ex, RESULT),
                              .to = node->in[k]->grad,
                              .from_type = pass->problem.result,
                              .to_type = node->in[k]->grad_type,
                              .rows = rows,
                              .channels = node->in[k]->shape.dim[3],
                              .padded = pass->problem.c / groups,
                              .scale = scale,
                              .unit = ldexpf(1.0f, pass->problem.shift),
                              .fresh = (int)(node->fresh & 1u << k) };

    if (pass->bytes[RESULT] > 0) return dt_cuda_accumulate(&a, ex->stream);
    assert(a.fresh); /* else it would have been overwritten */
    return DT_OK;
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
                                 .overwrites = 3u,
                                 .half_values = DT_READS_IN(0),
                                 .half_grads = DT_READS_OUT };
