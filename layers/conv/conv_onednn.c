/*
 * conv_onednn.c - convolution by oneDNN; the mathematics and the facts are in conv.c.
 *
 * Forward of grid tensors runs on u8 or s8 codes with 32-bit sums if the machine multiplies bytes without saturating
 * (VNNI), and on u8 codes if two products fit 16 bits, in which AVX2 adds them. Else it runs in f32, which is exact
 * below 2^24; nodes with larger psums are left to other kernels. Backward
 * is f32; in mixed precision it has bf16 operands and f32 sums.
 *
 * The batch is cut into groups of images. One thread takes a group: it converts the operands and convolves them while
 * they are in its cache. oneDNN itself always runs on one thread. So results do not depend on the number of threads,
 * and no thread spins in oneDNN's barriers while another process has its core. The dw of each group is kept, and they
 * are summed in order.
 *
 * Filters are copied once a call to the layout that oneDNN prefers; activations keep their N,H,W,C. core/tape/types.c
 * may give x the types U8 and I8, w the type I8, and in mixed precision the gradients of x and y the type BF16. A
 * gradient in BF16 is overwritten, never added to.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c.
 */
#include "conv_onednn.h"

#include "conv_lines.h"

#include "../../core/arith/grid.h"
#include "../../core/threads.h"

#include <assert.h>

enum { ALL = DT_CONV_Y | DT_CONV_DX | DT_CONV_DW };

/* 1: no sum of oneDNN's holds the psums. */
static int is_beyond_f32(const dt_node *node)
{
    return node->out->n_scale > 0 && !dt_conv_has_bytes(node) && node->out->qmax >= DT_F32_EXACT;
}

/* Directions of a depthwise convolution that conv_depthwise.c is faster at, as measured beside oneDNN 2.6. It has a
 * kernel for them where each channel has one filter: forward that is the faster one, and backward in f32 with windows
 * up to 3x3. Backward from bf16 ours takes 0.4 to 0.9 of its time, dw of 5x5 windows 0.2, and of several filters a
 * channel a tenth to a half. */
static unsigned better_depthwise(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int is_small = s.R <= 3 && s.S <= 3 && s.dilation[0] == 1 && s.dilation[1] == 1;
    const unsigned better = s.K > s.C ? ALL : !is_small || dt_conv_is_mixed(ex) ? DT_CONV_DX | DT_CONV_DW : 0u;

    return dt_conv_can(&dt_conv_depthwise, node, ex, better);
}

static const char *onednn_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    if (better_depthwise(node, ex) & direction) return "depthwise is faster";
    return direction == DT_CONV_Y && is_beyond_f32(node) ? "psums past 2^24" : NULL;
}

/* Runs the copy if there is one; returns where the operand then is. */
static dt_status copied(dt_dnnl_call *copy, void *from, void *room, void **out)
{
    *out = copy->primitive ? room : from;
    return copy->primitive ? dt_dnnl_call_run(copy, (void *[]){ from, room }) : DT_OK;
}

/* A group of images in the hands of a worker. */
typedef struct {
    const dt_node *node;
    dt_onednn_conv *conv;
    dt_conv_worker *worker;
    int64_t number;
    char *room; /* the worker's */
} image_group;

/* Where the group of a tensor's data or gradient begins. */
static void *group_at(const image_group *g, const dt_tensor *t, void *all, dt_dtype type)
{
    return (char *)all + (size_t)(g->number * (dt_count(&t->shape) / g->conv->n_groups)) * dt_type_bytes(type);
}

static dt_status forward_group(const image_group *g, void *filters)
{
    const dt_tensor *in = g->node->in[0], *y = g->node->out;
    void *x;

    DT_TRY(copied(&g->worker->copy_codes, group_at(g, in, in->data, in->type), g->room, &x));
    return dt_dnnl_call_run(&g->worker->forward.call, (void *[]){ x, filters, group_at(g, y, y->data, y->type),
                                                                  g->room + g->conv->forward_room.x });
}

static dt_status forward_groups(const dt_node *node, const dt_exec *ex, dt_onednn_conv *conv)
{
    char *rooms_at = (char *)ex->scratch + conv->forward_region.filters;
    void *filters;
    dt_status worst = DT_OK;

    DT_TRY(copied(&conv->copy_forward_w, node->in[1]->data, ex->scratch, &filters));
#pragma omp parallel for schedule(dynamic) num_threads(conv->n_workers)
    for (int64_t g = 0; g < conv->n_groups; g++) {
        const int me = dt_thread_number();
        const image_group group = { node, conv, &conv->worker[me], g,
                                    rooms_at + (size_t)me * conv->forward_region.room };
        const dt_status status = forward_group(&group, filters);
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    DT_CHECK(worst == DT_OK, worst, "%s: oneDNN failed to convolve", node->name);
    return DT_OK;
}

static void add_to(float *sum, const float *part, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += part[i];
}

/* What backward of one group needs beside its own images. */
typedef struct {
    unsigned directions;
    void *filters;  /* real, in oneDNN's layout */
    char *group_dw; /* room for dw of every group */
    char *rooms;    /* of every worker */
} backward_shared;

static dt_status backward_x_group(const image_group *g, void *filters, void *dy, char *room)
{
    const dt_tensor *x = g->node->in[0];
    void *dx = group_at(g, x, x->grad, x->grad_type), *pad = room + g->conv->backward_room.dx;
    const int is_written = (g->node->fresh & 1u) != 0;

    assert(is_written || x->grad_type == DT_F32);
    DT_TRY(dt_dnnl_call_run(&g->worker->backward_x.call, (void *[]){ dy, filters, is_written ? dx : room, pad }));
    if (!is_written) add_to(dx, (const float *)(const void *)room, dt_count(&x->shape) / g->conv->n_groups);
    return DT_OK;
}

static dt_status backward_group(const image_group *g, const backward_shared *b)
{
    const dt_tensor *in = g->node->in[0], *out = g->node->out;
    const dt_conv_rooms *r = &g->conv->backward_room;
    dt_conv_worker *w = g->worker;
    char *at_dx = g->room + r->x + r->dy;
    void *x, *dy;

    DT_TRY(copied(&w->copy_dy, group_at(g, out, out->grad, out->grad_type), g->room + r->x, &dy));
    if (b->directions & DT_CONV_DX) DT_TRY(backward_x_group(g, b->filters, dy, at_dx));
    if (!(b->directions & DT_CONV_DW)) return DT_OK;
    DT_TRY(copied(&w->copy_x, group_at(g, in, in->data, in->type), g->room, &x));
    char *dw = b->group_dw + (size_t)g->number * dt_conv_bytes(&w->backward_w.md[2]);
    return dt_dnnl_call_run(&w->backward_w.call, (void *[]){ x, dy, dw, at_dx + r->dx });
}

/* Sums the groups' dw in order, in oneDNN's layout, into the first. */
static void sum_groups(const dt_onednn_conv *conv, float *group_dw)
{
    const int64_t n = (int64_t)(dt_conv_bytes(&conv->worker[0].backward_w.md[2]) / sizeof(float));

#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (n + 1023) / 1024; block++) {
        const int64_t first = block * 1024, count = n - first < 1024 ? n - first : 1024;
        for (int64_t g = 1; g < conv->n_groups; g++) add_to(group_dw + first, group_dw + g * n + first, count);
    }
}

static dt_status finish_dw(const dt_node *node, dt_onednn_conv *conv, float *group_dw, float *room)
{
    const dt_tensor *x = node->in[0], *w = node->in[1];
    const float scale = x->n_scale ? x->scale[0] : 1.0f;
    const int64_t n = dt_count(&w->shape);
    const int fresh = (node->fresh & 2u) != 0;
    void *dw;

    sum_groups(conv, group_dw);
    DT_TRY(copied(&conv->copy_dw, group_dw, room, &dw));
    const float *sum = dw;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) dt_grads(w)[i] = fresh ? scale * sum[i] : dt_grads(w)[i] + scale * sum[i];
    return DT_OK;
}

static dt_status run_groups(const dt_node *node, dt_onednn_conv *conv, const backward_shared *shared)
{
    dt_status worst = DT_OK;

#pragma omp parallel for schedule(dynamic) num_threads(conv->n_workers)
    for (int64_t g = 0; g < conv->n_groups; g++) {
        const int me = dt_thread_number();
        const image_group group = { node, conv, &conv->worker[me], g,
                                    shared->rooms + (size_t)me * conv->backward_region.room };
        const dt_status status = backward_group(&group, shared);
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    DT_CHECK(worst == DT_OK, worst, "%s: oneDNN failed to convolve backward", node->name);
    return DT_OK;
}

static dt_status backward_groups(const dt_node *node, const dt_exec *ex, dt_onednn_conv *conv, unsigned directions)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *w = node->in[1];
    const dt_conv_regions *r = &conv->backward_region;
    char *filters_at = ex->scratch, *real = filters_at + r->filters, *group_dw = real + r->real;
    char *dw = group_dw + r->group_dw;
    backward_shared shared = { directions, w->data, group_dw, dw + r->dw };

    if (directions & DT_CONV_DX) {
        if (w->n_scale) dt_real_filters(w, s.K, s.terms, (float *)(void *)real);
        DT_TRY(copied(&conv->copy_backward_w, w->n_scale ? real : w->data, filters_at, &shared.filters));
    }
    DT_TRY(run_groups(node, conv, &shared));
    if (!(directions & DT_CONV_DW)) return DT_OK;
    return finish_dw(node, conv, (float *)(void *)group_dw, (float *)(void *)dw);
}

static dt_status onednn_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    if (directions & DT_CONV_Y) DT_TRY(forward_groups(node, ex, share->state));
    directions &= DT_CONV_DX | DT_CONV_DW;
    return directions ? backward_groups(node, ex, share->state, directions) : DT_OK;
}

const dt_conv_kernel dt_conv_onednn = {
    .name = "onednn",
    .refuses = onednn_refuses,
    .prepare = dt_onednn_conv_create,
    .run = onednn_run,
    .release = dt_onednn_conv_destroy,
};
