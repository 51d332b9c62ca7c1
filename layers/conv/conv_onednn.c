/*
 * conv_onednn.c - convolution by oneDNN, or by what is faster than it; the mathematics and the facts are in conv.c.
 *
 * Forward of grid tensors runs on u8 or s8 codes with 32-bit sums where the machine multiplies bytes without
 * saturating (VNNI); else in f32, which is exact below 2^24, and above by the plain loops of conv.c, in double.
 * Backward is f32, or in mixed precision bf16 operands with f32 sums. What winograd_*.c and conv_depthwise.c say to fit
 * is theirs, dw of other smallest maps conv_small.c's.
 *
 * The batch is cut in groups of images, and each group is one thread's: it converts its operands and convolves them
 * while they are in its cache. oneDNN itself always runs on one thread. So results do not depend on the number of
 * threads, and no thread spins in oneDNN's barriers while another process has its core. Each group's dw is kept, and
 * they are summed in order.
 *
 * Filters are copied once a call to the layout oneDNN prefers; activations keep their N,H,W,C. What core/tape/fuse.c
 * narrows: x in U8 or I8, w in I8, and in mixed precision the gradients of x and y in BF16, which are then written,
 * never added to. Tests: tests/layers/test_conv.c.
 */
#include "conv_onednn.h"

#include "../../core/half.h"
#include "../../core/threads.h"
#include "../cpu_backend.h"
#include "conv_depthwise.h"
#include "winograd.h"

#include <assert.h>

dt_storage dt_onednn_conv_storage(const dt_node *node, const dt_exec *ex)
{
    const int bytes = dt_conv_has_bytes(node);
    const int halves = ex->training && ex->precision == DT_PRECISION_MIXED && dt_onednn_has_bf16();
    const dt_dtype grad = halves ? DT_BF16 : DT_F32;

    return (dt_storage){ .x = !bytes                  ? DT_F32
                              : node->in[0]->qmin < 0 ? DT_I8
                                                      : DT_U8,
                         .y = DT_F32,
                         .w = bytes ? DT_I8 : DT_F32,
                         .x_grad = grad,
                         .y_grad = grad };
}

static dt_status conv_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    DT_TRY(dt_conv_plan_create(node, ex));
    *scratch_bytes = ((const dt_conv_plan *)node->plan)->scratch_bytes;
    return DT_OK;
}

/* Runs the copy if there is one; returns where the operand then is. */
static dt_status copied(dt_dnnl_call *copy, void *from, void *room, void **out)
{
    *out = copy->primitive ? room : from;
    return copy->primitive ? dt_dnnl_call_run(copy, (void *[]){ from, room }) : DT_OK;
}

/* Where group g of a tensor's data or gradient begins. */
static void *group_at(const dt_conv_plan *plan, const dt_tensor *t, void *all, dt_dtype type, int64_t g)
{
    return (char *)all + (size_t)(g * (dt_count(&t->shape) / plan->n_groups)) * dt_type_bytes(type);
}

static dt_status forward_group(const dt_node *node, dt_conv_plan *plan, dt_conv_worker *w, int64_t g, void *filters,
                               char *room)
{
    const dt_tensor *in = node->in[0], *y = node->out;
    void *x;

    DT_TRY(copied(&w->copy_codes, group_at(plan, in, in->data, in->type, g), room, &x));
    return dt_dnnl_call_run(&w->forward.call, (void *[]){ x, filters, group_at(plan, y, y->data, y->type, g),
                                                          room + plan->forward_room.x });
}

static dt_status forward_groups(const dt_node *node, const dt_exec *ex)
{
    dt_conv_plan *plan = node->plan;
    char *rooms_at = (char *)ex->scratch + plan->forward_region.filters;
    void *filters;
    dt_status worst = DT_OK;

    DT_TRY(copied(&plan->copy_forward_w, node->in[1]->data, ex->scratch, &filters));
#pragma omp parallel for schedule(dynamic) num_threads(plan->n_workers)
    for (int64_t g = 0; g < plan->n_groups; g++) {
        const int me = dt_thread_number();
        char *room = rooms_at + (size_t)me * plan->forward_region.room;
        const dt_status status = forward_group(node, plan, &plan->worker[me], g, filters, room);
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    DT_CHECK(worst == DT_OK, worst, "%s: oneDNN failed to convolve", node->name);
    return DT_OK;
}

static dt_status conv_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_plan *plan = node->plan;

    if (plan->forward_plain) return dt_cpu_conv.forward(node, ex);
    if (plan->forward_winograd)
        dt_winograd_forward(node, ex->scratch, plan->n_workers);
    else if (plan->forward_depthwise)
        dt_depthwise_forward(node, ex->scratch, plan->n_workers);
    else
        DT_TRY(forward_groups(node, ex));
    dt_conv_scale(node);
    return DT_OK;
}

/* real = scale[k] * code, [K][terms] */
static void real_filters(const dt_tensor *w, int64_t K, int64_t terms, float *real)
{
    const float *wide = w->data;
    const int8_t *narrow = w->data;
#pragma omp parallel for
    for (int64_t k = 0; k < K; k++) {
        const float scale = w->scale[w->n_scale > 1 ? k : 0];
        const int64_t end = (k + 1) * terms;
        if (w->type == DT_I8) {
            for (int64_t i = k * terms; i < end; i++) real[i] = scale * (float)narrow[i];
        } else {
            for (int64_t i = k * terms; i < end; i++) real[i] = scale * wide[i];
        }
    }
}

static void add_to(float *sum, const float *part, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += part[i];
}

/* What backward of one group needs beside its own images. */
typedef struct {
    void *filters;  /* real, in oneDNN's layout */
    char *group_dw; /* room for dw of every group */
    char *rooms;    /* of every worker */
} backward_shared;

static dt_status backward_x_group(const dt_node *node, dt_conv_plan *plan, dt_conv_worker *w, int64_t g, void *filters,
                                  void *dy, char *room)
{
    const dt_tensor *x = node->in[0];
    void *dx = group_at(plan, x, x->grad, x->grad_type, g), *pad = room + plan->backward_room.dx;
    const int is_written = (node->fresh & 1u) != 0;

    assert(is_written || x->grad_type == DT_F32);
    DT_TRY(dt_dnnl_call_run(&w->backward_x.call, (void *[]){ dy, filters, is_written ? dx : room, pad }));
    if (!is_written) add_to(dx, (const float *)(const void *)room, dt_count(&x->shape) / plan->n_groups);
    return DT_OK;
}

static dt_status backward_group(const dt_node *node, dt_conv_plan *plan, int me, int64_t g, const backward_shared *b)
{
    const dt_tensor *in = node->in[0], *out = node->out;
    const dt_conv_rooms *r = &plan->backward_room;
    dt_conv_worker *w = &plan->worker[me];
    char *room = b->rooms + (size_t)me * plan->backward_region.room;
    void *x, *dy;

    DT_TRY(copied(&w->copy_dy, group_at(plan, out, out->grad, out->grad_type, g), room + r->x, &dy));
    if (w->backward_x.call.primitive && in->grad) {
        DT_TRY(backward_x_group(node, plan, w, g, b->filters, dy, room + r->x + r->dy));
    }
    if (!w->backward_w.call.primitive) return DT_OK;
    DT_TRY(copied(&w->copy_x, group_at(plan, in, in->data, in->type, g), room, &x));
    char *dw = b->group_dw + (size_t)g * dt_conv_bytes(&w->backward_w.md[2]);
    return dt_dnnl_call_run(&w->backward_w.call, (void *[]){ x, dy, dw, room + r->x + r->dy + r->dx });
}

/* Sums the groups' dw in order, in oneDNN's layout, into the first. */
static void sum_groups(const dt_conv_plan *plan, float *group_dw)
{
    const int64_t n = (int64_t)(dt_conv_bytes(&plan->worker[0].backward_w.md[2]) / sizeof(float));

#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (n + 1023) / 1024; block++) {
        const int64_t first = block * 1024, count = n - first < 1024 ? n - first : 1024;
        for (int64_t g = 1; g < plan->n_groups; g++) add_to(group_dw + first, group_dw + g * n + first, count);
    }
}

static dt_status finish_dw(const dt_node *node, dt_conv_plan *plan, float *group_dw, float *room)
{
    const dt_tensor *x = node->in[0], *w = node->in[1];
    const float scale = x->n_scale ? x->scale[0] : 1.0f;
    const int64_t n = dt_count(&w->shape);
    const int fresh = (node->fresh & 2u) != 0;
    void *dw;

    sum_groups(plan, group_dw);
    DT_TRY(copied(&plan->copy_dw, group_dw, room, &dw));
    const float *sum = dw;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) dt_grads(w)[i] = fresh ? scale * sum[i] : dt_grads(w)[i] + scale * sum[i];
    return DT_OK;
}

/* dx and dw, as far as they are oneDNN's. */
static dt_status backward_groups(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    dt_conv_plan *plan = node->plan;
    const dt_conv_worker *first = &plan->worker[0];
    const dt_conv_regions *r = &plan->backward_region;
    char *filters_at = ex->scratch, *real = filters_at + r->filters, *group_dw = real + r->real;
    char *dw = group_dw + r->group_dw;
    backward_shared shared = { w->data, group_dw, dw + r->dw };
    dt_status worst = DT_OK;

    if (!first->backward_x.call.primitive && !first->backward_w.call.primitive) return DT_OK;
    if (first->backward_x.call.primitive && x->grad) {
        if (w->n_scale) real_filters(w, s.K, s.terms, (float *)(void *)real);
        DT_TRY(copied(&plan->copy_backward_w, w->n_scale ? real : w->data, filters_at, &shared.filters));
    }
#pragma omp parallel for schedule(dynamic) num_threads(plan->n_workers)
    for (int64_t g = 0; g < plan->n_groups; g++) {
        const dt_status status = backward_group(node, plan, dt_thread_number(), g, &shared);
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    DT_CHECK(worst == DT_OK, worst, "%s: oneDNN failed to convolve backward", node->name);
    if (!w->grad || !first->backward_w.call.primitive) return DT_OK;
    return finish_dw(node, plan, (float *)(void *)group_dw, (float *)(void *)dw);
}

/* from where it lies if it is f32, else its copy in room */
static const float *widened(const void *from, dt_dtype type, int64_t n, float *room)
{
    if (type == DT_F32) return from;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (n + 4095) / 4096; block++) {
        const int64_t end = n - block * 4096 < 4096 ? n : (block + 1) * 4096;
        for (int64_t i = block * 4096; i < end; i++) {
            room[i] = type == DT_U8   ? (float)((const uint8_t *)from)[i]
                      : type == DT_I8 ? (float)((const int8_t *)from)[i]
                                      : dt_from_bf16(((const uint16_t *)from)[i]);
        }
    }
    return room;
}

static dt_status backward_w_small(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *y = node->out;
    float *wide_x = ex->scratch, *wide_dy = wide_x + ((const dt_conv_plan *)node->plan)->wide_x / sizeof(float);
    const float *codes = widened(x->data, x->type, dt_count(&x->shape), wide_x);
    const float *dy = widened(y->grad, y->grad_type, dt_count(&y->shape), wide_dy);

    return dt_conv_small_dw(&s, codes, dy, x->n_scale ? x->scale[0] : 1.0f, (node->fresh & 2u) != 0, node->in[1]->grad);
}

static dt_status conv_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_plan *plan = node->plan;
    const int has_dw = node->in[1]->grad != NULL;

    if (plan->backward_depthwise) {
        dt_depthwise_backward(node, ex->scratch, plan->n_workers);
        return DT_OK;
    }
    if (plan->x_winograd && node->in[0]->grad) dt_winograd_backward_x(node, ex->scratch, plan->n_workers);
    if (plan->w_winograd && has_dw) dt_winograd_backward_w(node, ex->scratch, plan->n_workers);
    DT_TRY(backward_groups(node, ex));
    return plan->w_small && has_dw ? backward_w_small(node, ex) : DT_OK;
}

const dt_kernel dt_onednn_conv = { .prepare = conv_prepare,
                                   .forward = conv_forward,
                                   .backward = conv_backward,
                                   .release = dt_conv_plan_destroy,
                                   .overwrites = 3u };
