/*
 * conv_onednn.c - convolution by oneDNN; the mathematics and the facts are in conv.c.
 *
 * Forward of grid tensors runs on u8 or s8 codes with 32-bit sums where the machine multiplies bytes without
 * saturating (VNNI); else in f32, which is exact below 2^24 and refused above. Backward is f32, or in mixed precision
 * bf16 operands with f32 sums; dw of the smallest maps is conv_small.c's.
 *
 * The batch is cut in groups of images, and each group is one thread's: it converts its operands and convolves them
 * while they are in its cache. oneDNN itself always runs on one thread. So results do not depend on the number of
 * threads, and no thread spins in oneDNN's barriers while another process has its core. Each group's dw is kept, and
 * they are summed in order.
 *
 * Filters are copied once a call to the layout oneDNN prefers; activations keep their N,H,W,C. Tests:
 * tests/test_conv.c.
 */
#include "conv.h"
#include "onednn.h"

#include "../quant/grid.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Enough positions a group that reading the filters does not dominate, few enough that its operands stay in cache. */
enum { GROUP_IMAGES = 16, GROUP_POSITIONS = 256 };

/* A convolution in one direction, of one group. md: layouts of operand a, operand b and the result. */
typedef struct {
    dt_dnnl_call call;
    dnnl_memory_desc_t md[3];
    size_t pad_bytes;
} direction;

/* One thread's primitives. A copy whose primitive is NULL is not needed: the operand is used where it lies. */
typedef struct {
    direction forward, backward_x, backward_w;
    dt_dnnl_call copy_codes;      /* x for forward */
    dt_dnnl_call copy_x, copy_dy; /* for backward */
} worker;

/* Scratch, shared: [filters in oneDNN's layout][real filters][dw of each group][dw]; then [room] of each worker. */
typedef struct {
    size_t filters, real, group_dw, dw, room;
} regions;

/* Within a worker's room: copy of x, copy of dy, dx before it is added, oneDNN's own scratch. */
typedef struct {
    size_t x, dy, dx, pad;
} rooms;

typedef struct {
    worker *worker;
    int n_workers;
    int64_t group, n_groups; /* images in a group; groups in the batch */
    int is_small;            /* dw is conv_small.c's */
    dt_dnnl_call copy_forward_w, copy_backward_w, copy_dw;
    regions forward_region, backward_region;
    rooms forward_room, backward_room;
} conv_plan;

typedef struct {
    dnnl_memory_desc_t x, w, y; /* f32, as detent keeps them; x and y of one group */
    dnnl_data_type_t x_type, w_type, backward_type;
    dnnl_dims_t stride, pad_front, pad_back;
} conv_layout;

static size_t padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t md_bytes(const dnnl_memory_desc_t *md)
{
    return padded(dnnl_memory_desc_get_size(md));
}

static dt_status retyped(const dnnl_memory_desc_t *as, dnnl_data_type_t type, dnnl_format_tag_t tag,
                         dnnl_memory_desc_t *out)
{
    DT_DNNL(dnnl_memory_desc_init_by_tag(out, as->ndims, as->dims, type, tag));
    return DT_OK;
}

static dt_status layout_of(const dt_conv_shape *s, int64_t group, conv_layout *out)
{
    const dnnl_dims_t x = { group, s->C, s->H, s->W }, w = { s->K, s->C, s->R, s->S }, y = { group, s->K, s->P, s->Q };

    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->x, 4, x, dnnl_f32, dnnl_nhwc));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->w, 4, w, dnnl_f32, dnnl_ohwi));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->y, 4, y, dnnl_f32, dnnl_nhwc));
    out->stride[0] = out->stride[1] = s->stride;
    out->pad_front[0] = out->pad_front[1] = s->pad;
    out->pad_back[0] = (s->P - 1) * s->stride + s->R - s->H - s->pad;
    out->pad_back[1] = (s->Q - 1) * s->stride + s->S - s->W - s->pad;
    return DT_OK;
}

/* The arguments of a direction: two operands and the result. */
typedef struct {
    int arg[3];
    dnnl_query_t query[3];
} direction_args;

static dt_status direction_create(const_dnnl_op_desc_t op, dnnl_primitive_desc_t hint, const direction_args *a,
                                  direction *out)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_desc_t pad;
    dnnl_status_t made;

    DT_DNNL(dnnl_primitive_attr_create(&attr));
    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    made = dnnl_primitive_desc_create(&desc, op, attr, dt_onednn_engine(), hint);
    dnnl_primitive_attr_destroy(attr);
    DT_DNNL(made);
    for (int i = 0; i < 3; i++) out->md[i] = *dnnl_primitive_desc_query_md(desc, a->query[i], 0);
    pad = *dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    made = dnnl_primitive_create(&out->call.primitive, desc);
    dnnl_primitive_desc_destroy(desc);
    DT_DNNL(made);
    for (int i = 0; i < 3; i++) DT_TRY(dt_dnnl_call_arg(&out->call, a->arg[i], &out->md[i]));
    out->pad_bytes = md_bytes(&pad);
    return dt_dnnl_call_arg(&out->call, DNNL_ARG_SCRATCHPAD, &pad);
}

static dt_status forward_create(const conv_layout *l, direction *out)
{
    static const direction_args args = { { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
                                         { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md } };
    dnnl_memory_desc_t x, w;
    dnnl_convolution_desc_t op;

    DT_TRY(retyped(&l->x, l->x_type, dnnl_nhwc, &x));
    DT_TRY(retyped(&l->w, l->w_type, dnnl_format_tag_any, &w));
    DT_DNNL(dnnl_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &x, &w, NULL, &l->y,
                                               l->stride, l->pad_front, l->pad_back));
    return direction_create(&op, NULL, &args, out);
}

/* Operands of backward. hint: oneDNN asks for the forward's choice before it makes a backward of the same types. */
typedef struct {
    dnnl_memory_desc_t x, w, dy, dw;
    dnnl_primitive_desc_t hint;
} backward_operands;

static dt_status backward_operands_create(const conv_layout *l, backward_operands *out)
{
    dnnl_convolution_desc_t op;

    DT_TRY(retyped(&l->x, l->backward_type, dnnl_nhwc, &out->x));
    DT_TRY(retyped(&l->w, l->backward_type, dnnl_format_tag_any, &out->w));
    DT_TRY(retyped(&l->y, l->backward_type, dnnl_nhwc, &out->dy));
    DT_TRY(retyped(&l->w, dnnl_f32, dnnl_format_tag_any, &out->dw));
    DT_DNNL(dnnl_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &out->x, &out->w,
                                               NULL, &out->dy, l->stride, l->pad_front, l->pad_back));
    DT_DNNL(dnnl_primitive_desc_create(&out->hint, &op, NULL, dt_onednn_engine(), NULL));
    return DT_OK;
}

static dt_status backward_x_create(const conv_layout *l, const backward_operands *o, direction *out)
{
    static const direction_args args = { { DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC },
                                         { dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md } };
    dnnl_convolution_desc_t op;

    DT_DNNL(dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &l->x, &o->w, &o->dy, l->stride,
                                                     l->pad_front, l->pad_back));
    return direction_create(&op, o->hint, &args, out);
}

static dt_status backward_w_create(const conv_layout *l, const backward_operands *o, direction *out)
{
    static const direction_args args = { { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS },
                                         { dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md } };
    dnnl_convolution_desc_t op;

    DT_DNNL(dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &o->x, &o->dw, NULL, &o->dy,
                                                        l->stride, l->pad_front, l->pad_back));
    return direction_create(&op, o->hint, &args, out);
}

/* Leaves the copy's primitive NULL where the two are one. */
static dt_status copy_create(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dt_dnnl_call *out)
{
    if (dnnl_memory_desc_equal(from, to)) return DT_OK;
    return dt_dnnl_reorder_create(from, to, out);
}

static dt_status worker_create(const dt_node *node, const conv_layout *l, const conv_plan *plan, int training,
                               worker *out)
{
    backward_operands o = { .hint = NULL };

    DT_TRY(forward_create(l, &out->forward));
    DT_TRY(copy_create(&l->x, &out->forward.md[0], &out->copy_codes));
    if (!training) return DT_OK;
    dt_status status = backward_operands_create(l, &o);
    if (status == DT_OK && node->in[0]->wants_grad) status = backward_x_create(l, &o, &out->backward_x);
    if (status == DT_OK && !plan->is_small) status = backward_w_create(l, &o, &out->backward_w);
    if (status == DT_OK) status = copy_create(&l->x, &o.x, &out->copy_x);
    if (status == DT_OK) status = copy_create(&l->y, &o.dy, &out->copy_dy);
    if (o.hint) dnnl_primitive_desc_destroy(o.hint);
    return status;
}

static void worker_destroy(worker *w)
{
    dt_dnnl_call_destroy(&w->forward.call);
    dt_dnnl_call_destroy(&w->backward_x.call);
    dt_dnnl_call_destroy(&w->backward_w.call);
    dt_dnnl_call_destroy(&w->copy_codes);
    dt_dnnl_call_destroy(&w->copy_x);
    dt_dnnl_call_destroy(&w->copy_dy);
}

static void conv_release(dt_node *node)
{
    conv_plan *plan = node->plan;
    if (!plan) return;
    for (int i = 0; i < plan->n_workers; i++) worker_destroy(&plan->worker[i]);
    dt_dnnl_call_destroy(&plan->copy_forward_w);
    dt_dnnl_call_destroy(&plan->copy_backward_w);
    dt_dnnl_call_destroy(&plan->copy_dw);
    free(plan->worker);
    free(plan);
    node->plan = NULL;
}

/* u8 or s8 where codes fit and bytes multiply exactly, else f32 */
static dt_status forward_types(const dt_node *node, conv_layout *l)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const int bytes_fit = x->qmin >= -128 && x->qmax <= (x->qmin < 0 ? 127 : 255) && w->qmin >= -128 && w->qmax <= 127;

    l->x_type = l->w_type = dnnl_f32;
    if (y->n_scale == 0) return DT_OK;
    if (bytes_fit && dt_onednn_has_int8()) {
        l->x_type = x->qmin < 0 ? dnnl_s8 : dnnl_u8;
        l->w_type = dnnl_s8;
        return DT_OK;
    }
    DT_CHECK(
        y->qmax < DT_F32_EXACT, DT_ERR_UNSUPPORTED,
        "%s: psums may reach %lld, at or above 2^24, which f32 sums do not hold exactly, and this CPU has no exact "
        "8-bit products (VNNI); use fewer bits, or configure with -DDETENT_ONEDNN=OFF",
        node->name, (long long)y->qmax);
    return DT_OK;
}

/* The largest divisor of the batch within the group's size. */
static int64_t group_of(const dt_conv_shape *s)
{
    const int64_t enough = GROUP_POSITIONS / (s->P * s->Q);
    int64_t group = enough > GROUP_IMAGES ? enough : GROUP_IMAGES;

    if (group > s->N) group = s->N;
    while (s->N % group != 0) group--;
    return group;
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t region_bytes(const regions *r, int n_workers)
{
    return r->filters + r->real + r->group_dw + r->dw + r->room * (size_t)n_workers;
}

static void plan_forward_scratch(conv_plan *plan)
{
    const direction *f = &plan->worker[0].forward;

    plan->forward_room.x = plan->worker[0].copy_codes.primitive ? md_bytes(&f->md[0]) : 0;
    plan->forward_room.pad = f->pad_bytes;
    plan->forward_region.filters = plan->copy_forward_w.primitive ? md_bytes(&f->md[1]) : 0;
    plan->forward_region.room = plan->forward_room.x + plan->forward_room.pad;
}

static void plan_backward_scratch(conv_plan *plan, const dt_node *node, const conv_layout *l)
{
    const worker *w = &plan->worker[0];
    const size_t x_elements = md_bytes(&l->x), y_elements = md_bytes(&l->y); /* f32 bytes: room for any type */
    rooms *room = &plan->backward_room;
    regions *region = &plan->backward_region;

    room->x = w->copy_x.primitive ? x_elements : 0;
    room->dy = w->copy_dy.primitive ? y_elements : 0;
    room->dx = w->backward_x.call.primitive ? x_elements : 0;
    room->pad = largest(w->backward_x.pad_bytes, w->backward_w.pad_bytes);
    region->real = node->in[1]->n_scale ? padded(dt_tensor_bytes(node->in[1])) : 0;
    region->filters = w->backward_x.call.primitive ? md_bytes(&w->backward_x.md[1]) : 0;
    if (w->backward_w.call.primitive) {
        region->group_dw = (size_t)plan->n_groups * md_bytes(&w->backward_w.md[2]);
        region->dw = padded(dt_tensor_bytes(node->in[1]));
    }
    region->room = room->x + room->dy + room->dx + room->pad;
}

/* A worker's primitives are made for one thread; the copies of filters run before and after, on all threads. */
static dt_status plan_primitives(const dt_node *node, const conv_layout *l, int training, conv_plan *plan)
{
    const worker *first = &plan->worker[0];
    dt_status status = DT_OK;

    omp_set_num_threads(1);
    for (int i = 0; status == DT_OK && i < plan->n_workers; i++) {
        status = worker_create(node, l, plan, training, &plan->worker[i]);
    }
    omp_set_num_threads(plan->n_workers);
    DT_TRY(status);
    DT_TRY(copy_create(&l->w, &first->forward.md[1], &plan->copy_forward_w));
    if (first->backward_x.call.primitive) {
        DT_TRY(copy_create(&l->w, &first->backward_x.md[1], &plan->copy_backward_w));
    }
    if (!first->backward_w.call.primitive) return DT_OK;
    return copy_create(&first->backward_w.md[2], &l->w, &plan->copy_dw);
}

static dt_status conv_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int threads = omp_get_max_threads();
    const int mixed = ex->precision == DT_PRECISION_MIXED && dt_onednn_has_bf16();
    conv_layout layout = { .backward_type = mixed ? dnnl_bf16 : dnnl_f32 };
    conv_plan *plan = calloc(1, sizeof *plan);

    DT_CHECK(plan, DT_ERR_MEMORY, "%s: no memory for a plan", node->name);
    node->plan = plan;
    plan->group = group_of(&s);
    plan->n_groups = s.N / plan->group;
    plan->is_small = dt_conv_is_small(&s);
    plan->worker = calloc((size_t)threads, sizeof *plan->worker);
    DT_CHECK(plan->worker, DT_ERR_MEMORY, "%s: no memory for a plan", node->name);
    plan->n_workers = threads;
    DT_TRY(layout_of(&s, plan->group, &layout));
    DT_TRY(forward_types(node, &layout));
    DT_TRY(plan_primitives(node, &layout, ex->training, plan));
    plan_forward_scratch(plan);
    if (ex->training) plan_backward_scratch(plan, node, &layout);
    *scratch_bytes = largest(region_bytes(&plan->forward_region, plan->n_workers),
                             region_bytes(&plan->backward_region, plan->n_workers));
    return DT_OK;
}

/* Runs the copy if there is one; returns where the operand then is. */
static dt_status copied(dt_dnnl_call *copy, void *from, void *room, void **out)
{
    *out = copy->primitive ? room : from;
    return copy->primitive ? dt_dnnl_call_run(copy, (void *[]){ from, room }) : DT_OK;
}

static dt_status forward_group(const dt_node *node, conv_plan *plan, worker *w, int64_t g, void *filters, char *room)
{
    const int64_t x_group = dt_count(&node->in[0]->shape) / plan->n_groups;
    const int64_t y_group = dt_count(&node->out->shape) / plan->n_groups;
    void *x;

    DT_TRY(copied(&w->copy_codes, (float *)node->in[0]->data + g * x_group, room, &x));
    return dt_dnnl_call_run(&w->forward.call, (void *[]){ x, filters, (float *)node->out->data + g * y_group,
                                                          room + plan->forward_room.x });
}

static dt_status conv_forward(const dt_node *node, const dt_exec *ex)
{
    conv_plan *plan = node->plan;
    char *rooms_at = (char *)ex->scratch + plan->forward_region.filters;
    void *filters;
    dt_status worst = DT_OK;

    DT_TRY(copied(&plan->copy_forward_w, node->in[1]->data, ex->scratch, &filters));
#pragma omp parallel for schedule(dynamic) num_threads(plan->n_workers)
    for (int64_t g = 0; g < plan->n_groups; g++) {
        const int me = omp_get_thread_num();
        char *room = rooms_at + (size_t)me * plan->forward_region.room;
        const dt_status status = forward_group(node, plan, &plan->worker[me], g, filters, room);
#pragma omp critical
        if (status != DT_OK) worst = status;
    }
    DT_CHECK(worst == DT_OK, worst, "%s: oneDNN failed to convolve", node->name);
    dt_conv_scale(node);
    return DT_OK;
}

/* real = scale[k] * code, [K][terms] */
static void real_filters(const dt_tensor *w, int64_t K, int64_t terms, float *real)
{
    const float *code = w->data;
#pragma omp parallel for
    for (int64_t k = 0; k < K; k++) {
        const float scale = w->scale[w->n_scale > 1 ? k : 0];
        for (int64_t i = 0; i < terms; i++) real[k * terms + i] = scale * code[k * terms + i];
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

static dt_status backward_group(const dt_node *node, conv_plan *plan, int me, int64_t g, const backward_shared *b)
{
    const int64_t x_group = dt_count(&node->in[0]->shape) / plan->n_groups;
    const int64_t y_group = dt_count(&node->out->shape) / plan->n_groups;
    const rooms *r = &plan->backward_room;
    worker *w = &plan->worker[me];
    char *room = b->rooms + (size_t)me * plan->backward_region.room, *pad = room + r->x + r->dy + r->dx;
    float *part = (float *)(room + r->x + r->dy), *dx = node->in[0]->grad;
    void *x, *dy;

    DT_TRY(copied(&w->copy_dy, dt_grads(node->out) + g * y_group, room + r->x, &dy));
    if (dx) {
        float *to = node->fresh & 1u ? dx + g * x_group : part;
        DT_TRY(dt_dnnl_call_run(&w->backward_x.call, (void *[]){ dy, b->filters, to, pad }));
        if (to == part) add_to(dx + g * x_group, part, x_group);
    }
    if (!w->backward_w.call.primitive) return DT_OK;
    DT_TRY(copied(&w->copy_x, (float *)node->in[0]->data + g * x_group, room, &x));
    char *dw = b->group_dw + (size_t)g * md_bytes(&w->backward_w.md[2]);
    return dt_dnnl_call_run(&w->backward_w.call, (void *[]){ x, dy, dw, pad });
}

/* Sums the groups' dw in order, in oneDNN's layout, into the first. */
static void sum_groups(const conv_plan *plan, float *group_dw)
{
    const int64_t n = (int64_t)(md_bytes(&plan->worker[0].backward_w.md[2]) / sizeof(float));

#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (n + 1023) / 1024; block++) {
        const int64_t first = block * 1024, count = n - first < 1024 ? n - first : 1024;
        for (int64_t g = 1; g < plan->n_groups; g++) add_to(group_dw + first, group_dw + g * n + first, count);
    }
}

static dt_status finish_dw(const dt_node *node, conv_plan *plan, float *group_dw, float *room)
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

static dt_status conv_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    conv_plan *plan = node->plan;
    const regions *r = &plan->backward_region;
    char *filters_at = ex->scratch, *real = filters_at + r->filters, *group_dw = real + r->real;
    float *dw = (float *)(group_dw + r->group_dw);
    backward_shared shared = { w->data, group_dw, (char *)dw + r->dw };
    dt_status worst = DT_OK;

    if (x->grad) {
        if (w->n_scale) real_filters(w, s.K, s.terms, (float *)real);
        DT_TRY(copied(&plan->copy_backward_w, w->n_scale ? real : w->data, filters_at, &shared.filters));
    }
#pragma omp parallel for schedule(dynamic) num_threads(plan->n_workers)
    for (int64_t g = 0; g < plan->n_groups; g++) {
        const dt_status status = backward_group(node, plan, omp_get_thread_num(), g, &shared);
#pragma omp critical
        if (status != DT_OK) worst = status;
    }
    DT_CHECK(worst == DT_OK, worst, "%s: oneDNN failed to convolve backward", node->name);
    if (!w->grad) return DT_OK;
    if (!plan->is_small) return finish_dw(node, plan, (float *)group_dw, dw);
    return dt_conv_small_dw(&s, x->data, node->out->grad, x->n_scale ? x->scale[0] : 1.0f, (node->fresh & 2u) != 0,
                            w->grad);
}

const dt_kernel dt_onednn_conv = { .prepare = conv_prepare,
                                   .forward = conv_forward,
                                   .backward = conv_backward,
                                   .release = conv_release,
                                   .overwrites = 3u };
