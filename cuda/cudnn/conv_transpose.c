/*
 * conv_transpose.c - the transposed convolution on CUDA: cuDNN's three passes of the convolution that it is the
 *                    transpose of, whose x is our y.
 *
 *   y  = that convolution's gradient of x, where the gradient of its y is our x
 *   dx = its y, where its x is our dy
 *   dw = its gradient of the filter, of both
 *
 * All are f32: without TF32, but for training in mixed precision, where TF32's 10 bits do. Filters are parameters,
 * which may lie at any address, so that cuDNN reads a copy. The scratch of a pass is [filters][result][cuDNN's
 * workspace]; a result that cuDNN can write in place takes no room.
 *
 * The mathematics is in layers/conv/conv_transpose.c.  Tests: tests/layers/test_conv_transpose.c,
 * tests/cuda/test_cudnn_plans.c.
 */
#include "conv_problem.h"

#include "../convert.h"
#include "../cuda_device.h"

#include <stdlib.h>

enum { X, W };

/* Passes of the convolution, by what they give here. */
enum { GIVES_Y = DT_CONV_BACKWARD_DATA, GIVES_DX = DT_CONV_FORWARD, GIVES_DW = DT_CONV_BACKWARD_FILTER };

typedef struct {
    const dt_conv_plan *plan[DT_CONV_PASSES]; /* NULL: nobody wants its result */
    size_t filter_bytes, result_bytes;        /* of scratch; the larger gradient's */
} transpose_state;

static void conv_transpose_release(dt_node *node)
{
    free(node->state); /* cuDNN's plans belong to the device */
    node->state = NULL;
}

static size_t room_of(const dt_tensor *t)
{
    return dt_round_up((size_t)dt_count(&t->shape) * sizeof(float), DT_ALIGN);
}

static dt_status conv_transpose_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_cuda_device *device = ex->device;
    const int wanted[DT_CONV_PASSES] = { [GIVES_Y] = 1,
                                         [GIVES_DX] = ex->training && node->in[X]->wants_grad,
                                         [GIVES_DW] = ex->training && node->in[W]->wants_grad };
    transpose_state *state = calloc(1, sizeof *state);
    size_t workspace = 0;

    DT_CHECK(state, DT_ERR_MEMORY, "%s: no memory for the kernel's state", node->name);
    node->state = state;
    for (int i = 0; i < DT_CONV_PASSES; i++) {
        dt_conv_problem problem;
        if (!wanted[i]) continue;
        DT_TRY(dt_conv_transpose_problem_of(node, (dt_conv_pass)i, ex, &problem));
        DT_TRY(dt_conv_plan_get(device->cudnn, &problem, &state->plan[i]));
        if (dt_conv_plan_workspace(state->plan[i]) > workspace) workspace = dt_conv_plan_workspace(state->plan[i]);
    }
    state->filter_bytes = room_of(node->in[W]);
    for (int k = X; k <= W && ex->training; k++) {
        if (room_of(node->in[k]) > state->result_bytes) state->result_bytes = room_of(node->in[k]);
    }
    *scratch_bytes = state->filter_bytes + state->result_bytes + workspace;
    return DT_OK;
}

static dt_status copy_filters(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *w = node->in[W];
    const int64_t channels = w->shape.dim[3];
    const dt_convert c = { .from = w->data,
                           .to = ex->scratch,
                           .from_type = DT_F32,
                           .to_type = DT_F32,
                           .rows = dt_count(&w->shape) / channels,
                           .channels = channels,
                           .padded = channels };
    return dt_cuda_convert(&c, ex->stream);
}

static char *result_at(const dt_node *node, const dt_exec *ex)
{
    return (char *)ex->scratch + ((const transpose_state *)node->state)->filter_bytes;
}

static dt_status run_pass(const dt_node *node, const dt_exec *ex, int pass, const void *a, const void *b, void *result)
{
    const transpose_state *state = node->state;

    return dt_conv_plan_run(state->plan[pass], a, b, result, result_at(node, ex) + state->result_bytes);
}

static dt_status conv_transpose_forward(const dt_node *node, const dt_exec *ex)
{
    DT_TRY(copy_filters(node, ex));
    return run_pass(node, ex, GIVES_Y, node->in[X]->data, ex->scratch, node->out->data);
}

/* Gives the result in scratch to the gradient of in[k]. */
static dt_status give_result(const dt_node *node, const dt_exec *ex, int k)
{
    const int64_t channels = node->in[k]->shape.dim[3];
    const dt_accumulate a = { .from = result_at(node, ex),
                              .to = node->in[k]->grad,
                              .from_type = DT_F32,
                              .to_type = DT_F32,
                              .rows = dt_count(&node->in[k]->shape) / channels,
                              .channels = channels,
                              .padded = channels,
                              .unit = 1.0f,
                              .fresh = (int)(node->fresh & 1u << k) };
    return dt_cuda_accumulate(&a, ex->stream);
}

static dt_status conv_transpose_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *x = node->in[X];
    const int in_place = (node->fresh & 1u << X) != 0;

    if (x->grad) {
        DT_TRY(copy_filters(node, ex));
        DT_TRY(run_pass(node, ex, GIVES_DX, node->out->grad, ex->scratch, in_place ? x->grad : result_at(node, ex)));
        if (!in_place) DT_TRY(give_result(node, ex, X));
    }
    if (!node->in[W]->grad) return DT_OK;
    DT_TRY(run_pass(node, ex, GIVES_DW, x->data, node->out->grad, result_at(node, ex)));
    return give_result(node, ex, W);
}

const dt_kernel dt_cuda_conv_transpose = { .prepare = conv_transpose_prepare,
                                           .forward = conv_transpose_forward,
                                           .backward = conv_transpose_backward,
                                           .release = conv_transpose_release,
                                           .overwrites = 3u };
