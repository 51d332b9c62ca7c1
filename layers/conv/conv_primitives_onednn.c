/*
 * conv_primitives_onednn.c - makes a convolution's oneDNN primitives, and computes the scratch that they need; see
 *                            conv_onednn.h.
 *
 * Operands are used as they are stored: x in F32, U8 or I8, w in F32 or I8, gradients of x and y in F32 or, in mixed
 * precision, in BF16. An operand that oneDNN needs in another type or layout is copied first.
 */
#include "conv_onednn.h"

#include <stdlib.h>

/* Enough positions a group that reading the filters does not dominate, few enough that its operands stay in cache. */
enum { GROUP_IMAGES = 16, GROUP_POSITIONS = 256 };

typedef struct {
    dnnl_memory_desc_t x, w, y, dx, dy; /* as detent keeps them; all but w of one group */
    dnnl_memory_desc_t real_w;          /* f32 */
    dnnl_data_type_t x_type, w_type;    /* of forward's operands */
    dnnl_data_type_t backward_type;
    dnnl_dims_t stride, dilation, pad_front, pad_back; /* dilation as oneDNN counts: 0 is none */
} conv_layout;

static size_t padded(size_t bytes)
{
    return dt_round_up(bytes, DT_CACHE_LINE);
}

size_t dt_conv_bytes(const dnnl_memory_desc_t *md)
{
    return padded(dnnl_memory_desc_get_size(md));
}

static dnnl_data_type_t type_of(dt_dtype type)
{
    switch (type) {
    case DT_U8: return dnnl_u8;
    case DT_I8: return dnnl_s8;
    case DT_BF16: return dnnl_bf16;
    default: return dnnl_f32;
    }
}

static dt_status retyped(const dnnl_memory_desc_t *as, dnnl_data_type_t type, dnnl_format_tag_t tag,
                         dnnl_memory_desc_t *out)
{
    DT_DNNL(dnnl_memory_desc_init_by_tag(out, as->ndims, as->dims, type, tag));
    return DT_OK;
}

/* K,R,S,C/groups as it lies; with groups they are a dimension of their own, which is cut from K. */
static dt_status filters_layout(const dt_conv_shape *s, dnnl_data_type_t type, dnnl_memory_desc_t *out)
{
    const dnnl_dims_t whole = { s->K, s->C, s->R, s->S };
    const dnnl_dims_t cut = { s->groups, s->K / s->groups, dt_conv_group_channels(s), s->R, s->S };

    if (s->groups == 1)
        DT_DNNL(dnnl_memory_desc_init_by_tag(out, 4, whole, type, dnnl_ohwi));
    else
        DT_DNNL(dnnl_memory_desc_init_by_tag(out, 5, cut, type, dnnl_gohwi));
    return DT_OK;
}

/* The pad at the end that gives y its size; below 0 where the last rows or columns of x are not read. */
static int64_t pad_after(const dt_conv_shape *s, int axis)
{
    const int64_t in = axis == 0 ? s->H : s->W, out = axis == 0 ? s->P : s->Q, taps = axis == 0 ? s->R : s->S;

    return dt_conv_reach(s, axis, out - 1, taps - 1) + 1 - in;
}

static dt_status layout_of(const dt_node *node, int64_t group, conv_layout *out)
{
    const dt_conv_shape shape = dt_conv_shape_of(node), *s = &shape;
    const dt_tensor *x = node->in[0], *y = node->out;
    const dnnl_dims_t x_dims = { group, s->C, s->H, s->W }, y_dims = { group, s->K, s->P, s->Q };

    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->x, 4, x_dims, type_of(x->type), dnnl_nhwc));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->dx, 4, x_dims, type_of(x->grad_type), dnnl_nhwc));
    DT_TRY(filters_layout(s, type_of(node->in[1]->type), &out->w));
    DT_TRY(filters_layout(s, dnnl_f32, &out->real_w));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->y, 4, y_dims, dnnl_f32, dnnl_nhwc));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->dy, 4, y_dims, type_of(y->grad_type), dnnl_nhwc));
    for (int i = 0; i < 2; i++) {
        out->stride[i] = s->stride[i];
        out->dilation[i] = s->dilation[i] - 1;
        out->pad_front[i] = s->pad[i];
        out->pad_back[i] = pad_after(s, i);
    }
    return DT_OK;
}

/* The arguments of a direction: two operands and the result. */
typedef struct {
    int arg[3];
    dnnl_query_t query[3];
} direction_args;

static dt_status direction_create(const_dnnl_op_desc_t op, dnnl_primitive_desc_t hint, const direction_args *a,
                                  dt_conv_direction *out)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_desc_t pad;
    dnnl_status_t made;
    dt_status status;

    DT_DNNL(dnnl_primitive_attr_create(&attr));
    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    made = dnnl_primitive_desc_create(&desc, op, attr, dt_onednn_engine(), hint);
    dnnl_primitive_attr_destroy(attr);
    DT_DNNL(made);
    for (int i = 0; i < 3; i++) out->md[i] = *dnnl_primitive_desc_query_md(desc, a->query[i], 0);
    pad = *dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    status = dt_dnnl_call_create(desc, &out->call);
    dnnl_primitive_desc_destroy(desc);
    DT_TRY(status);
    for (int i = 0; i < 3; i++) DT_TRY(dt_dnnl_call_arg(&out->call, a->arg[i], &out->md[i]));
    out->pad_bytes = dt_conv_bytes(&pad);
    return dt_dnnl_call_arg(&out->call, DNNL_ARG_SCRATCHPAD, &pad);
}

static dt_status forward_create(const conv_layout *l, dt_conv_direction *out)
{
    static const direction_args args = { { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
                                         { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md } };
    dnnl_memory_desc_t x, w;
    dnnl_convolution_desc_t op;

    DT_TRY(retyped(&l->x, l->x_type, dnnl_nhwc, &x));
    DT_TRY(retyped(&l->w, l->w_type, dnnl_format_tag_any, &w));
    DT_DNNL(dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &x, &w,
                                                       NULL, &l->y, l->stride, l->dilation, l->pad_front, l->pad_back));
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
    DT_DNNL(dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &out->x,
                                                       &out->w, NULL, &out->dy, l->stride, l->dilation, l->pad_front,
                                                       l->pad_back));
    DT_DNNL(dnnl_primitive_desc_create(&out->hint, &op, NULL, dt_onednn_engine(), NULL));
    return DT_OK;
}

static dt_status backward_x_create(const conv_layout *l, const backward_operands *o, dt_conv_direction *out)
{
    static const direction_args args = { { DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC },
                                         { dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md } };
    dnnl_convolution_desc_t op;

    DT_DNNL(dnnl_dilated_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &l->dx, &o->w, &o->dy,
                                                             l->stride, l->dilation, l->pad_front, l->pad_back));
    return direction_create(&op, o->hint, &args, out);
}

static dt_status backward_w_create(const conv_layout *l, const backward_operands *o, dt_conv_direction *out)
{
    static const direction_args args = { { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS },
                                         { dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md } };
    dnnl_convolution_desc_t op;

    DT_DNNL(dnnl_dilated_convolution_backward_weights_desc_init(
        &op, dnnl_convolution_direct, &o->x, &o->dw, NULL, &o->dy, l->stride, l->dilation, l->pad_front, l->pad_back));
    return direction_create(&op, o->hint, &args, out);
}

/* Leaves the copy's primitive NULL where the two are one. */
static dt_status copy_create(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dt_dnnl_call *out)
{
    if (dnnl_memory_desc_equal(from, to)) return DT_OK;
    return dt_dnnl_reorder_create(from, to, out);
}

static dt_status worker_forward(const conv_layout *l, dt_conv_worker *out)
{
    DT_TRY(forward_create(l, &out->forward));
    return copy_create(&l->x, &out->forward.md[0], &out->copy_codes);
}

static dt_status worker_backward(const conv_layout *l, int wants_dx, int wants_dw, dt_conv_worker *out)
{
    backward_operands o = { .hint = NULL };

    dt_status status = backward_operands_create(l, &o);
    if (status == DT_OK && wants_dx) status = backward_x_create(l, &o, &out->backward_x);
    if (status == DT_OK && wants_dw) status = backward_w_create(l, &o, &out->backward_w);
    if (status == DT_OK && wants_dw) status = copy_create(&l->x, &o.x, &out->copy_x);
    if (status == DT_OK) status = copy_create(&l->dy, &o.dy, &out->copy_dy);
    if (o.hint) dnnl_primitive_desc_destroy(o.hint);
    return status;
}

static void worker_destroy(dt_conv_worker *w)
{
    dt_dnnl_call_destroy(&w->forward.call);
    dt_dnnl_call_destroy(&w->backward_x.call);
    dt_dnnl_call_destroy(&w->backward_w.call);
    dt_dnnl_call_destroy(&w->copy_codes);
    dt_dnnl_call_destroy(&w->copy_x);
    dt_dnnl_call_destroy(&w->copy_dy);
}

void dt_onednn_conv_destroy(dt_conv_share *share)
{
    dt_onednn_conv *conv = share->state;

    if (!conv) return;
    for (int i = 0; i < conv->n_workers; i++) worker_destroy(&conv->worker[i]);
    dt_dnnl_call_destroy(&conv->copy_forward_w);
    dt_dnnl_call_destroy(&conv->copy_backward_w);
    dt_dnnl_call_destroy(&conv->copy_dw);
    free(conv->worker);
    free(conv);
    share->state = NULL;
}

/* u8 or s8 where codes fit and bytes multiply exactly, else f32 */
static void forward_types(const dt_node *node, conv_layout *l)
{
    l->x_type = l->w_type = dnnl_f32;
    if (node->out->n_scale == 0 || !dt_conv_has_bytes(node)) return;
    l->x_type = node->in[0]->qmin < 0 ? dnnl_s8 : dnnl_u8;
    l->w_type = dnnl_s8;
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

static size_t region_bytes(const dt_conv_regions *r, int n_workers)
{
    return r->filters + r->real + r->group_dw + r->dw + r->room * (size_t)n_workers;
}

static void forward_scratch(dt_onednn_conv *conv)
{
    const dt_conv_direction *f = &conv->worker[0].forward;

    conv->forward_room.x = conv->worker[0].copy_codes.primitive ? dt_conv_bytes(&f->md[0]) : 0;
    conv->forward_room.pad = f->pad_bytes;
    conv->forward_region.filters = conv->copy_forward_w.primitive ? dt_conv_bytes(&f->md[1]) : 0;
    conv->forward_region.room = conv->forward_room.x + conv->forward_room.pad;
}

static void backward_scratch(dt_onednn_conv *conv, const dt_node *node)
{
    const dt_conv_worker *w = &conv->worker[0];
    const dt_tensor *filters = node->in[1];
    const int has_dx = w->backward_x.call.primitive != NULL, has_dw = w->backward_w.call.primitive != NULL;
    const size_t w_bytes = padded((size_t)dt_count(&filters->shape) * sizeof(float));
    dt_conv_rooms *room = &conv->backward_room;
    dt_conv_regions *region = &conv->backward_region;

    room->x = w->copy_x.primitive ? dt_conv_bytes(&w->backward_w.md[0]) : 0;
    room->dy = w->copy_dy.primitive ? dt_conv_bytes(has_dx ? &w->backward_x.md[0] : &w->backward_w.md[1]) : 0;
    room->dx = has_dx ? dt_conv_bytes(&w->backward_x.md[2]) : 0;
    room->pad = largest(w->backward_x.pad_bytes, w->backward_w.pad_bytes);
    region->real = has_dx && filters->n_scale ? w_bytes : 0;
    region->filters = has_dx ? dt_conv_bytes(&w->backward_x.md[1]) : 0;
    if (has_dw) {
        region->group_dw = (size_t)conv->n_groups * dt_conv_bytes(&w->backward_w.md[2]);
        region->dw = w_bytes;
    }
    region->room = room->x + room->dy + room->dx + room->pad;
}

static dt_status create_workers(const conv_layout *l, unsigned directions, dt_onednn_conv *conv)
{
    const int wants_dx = (directions & DT_CONV_DX) != 0, wants_dw = (directions & DT_CONV_DW) != 0;
    dt_status status = DT_OK;

    for (int i = 0; status == DT_OK && i < conv->n_workers; i++) {
        dt_conv_worker *w = &conv->worker[i];
        if (directions & DT_CONV_Y) status = worker_forward(l, w);
        if (status == DT_OK && (wants_dx || wants_dw)) status = worker_backward(l, wants_dx, wants_dw, w);
    }
    return status;
}

static dt_status create_filter_copies(const dt_node *node, const conv_layout *l, dt_onednn_conv *conv)
{
    const dt_conv_worker *first = &conv->worker[0];
    const dnnl_memory_desc_t *real = node->in[1]->n_scale ? &l->real_w : &l->w;

    if (first->forward.call.primitive) DT_TRY(copy_create(&l->w, &first->forward.md[1], &conv->copy_forward_w));
    if (first->backward_x.call.primitive) {
        DT_TRY(copy_create(real, &first->backward_x.md[1], &conv->copy_backward_w));
    }
    if (!first->backward_w.call.primitive) return DT_OK;
    return copy_create(&first->backward_w.md[2], &l->real_w, &conv->copy_dw);
}

static dt_status create_primitives(const dt_node *node, const dt_exec *ex, unsigned directions, dt_onednn_conv *conv)
{
    conv_layout layout = { .backward_type = dt_conv_is_mixed(ex) ? dnnl_bf16 : dnnl_f32 };
    const int before = dt_onednn_enter();

    dt_status status = layout_of(node, conv->group, &layout);
    forward_types(node, &layout);
    if (status == DT_OK) status = create_workers(&layout, directions, conv);
    if (status == DT_OK) status = create_filter_copies(node, &layout, conv);
    dt_onednn_leave(before);
    return status;
}

dt_status dt_onednn_conv_create(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    dt_onednn_conv *conv = share->state = calloc(1, sizeof *conv);

    DT_CHECK(conv, DT_ERR_MEMORY, "%s: conv: no memory for oneDNN's primitives", node->name);
    conv->group = group_of(&s);
    conv->n_groups = s.N / conv->group;
    conv->worker = calloc((size_t)share->threads, sizeof *conv->worker);
    DT_CHECK(conv->worker, DT_ERR_MEMORY, "%s: conv: no memory for oneDNN's primitives", node->name);
    conv->n_workers = share->threads;
    DT_TRY(create_primitives(node, ex, share->directions, conv));
    forward_scratch(conv);
    backward_scratch(conv, node);
    share->scratch_bytes = largest(region_bytes(&conv->forward_region, conv->n_workers),
                                   region_bytes(&conv->backward_region, conv->n_workers));
    return DT_OK;
}
