/*
 * conv_onednn.c - convolution by oneDNN; the mathematics and the facts are in conv.c.
 *
 * Forward of grid tensors runs on u8 or s8 codes with 32-bit sums where the machine multiplies bytes without
 * saturating (VNNI); else in f32, which is exact below 2^24 and refused above. Backward is f32, or in mixed precision
 * bf16 operands with f32 sums. Activations keep their N,H,W,C layout; filters are copied to the layout oneDNN prefers.
 *
 * Scratch: [real w][gradient before it is added][dy in backward's type][copies of operands][result][oneDNN's own].
 * Tests: tests/test_conv.c.
 */
#include "conv.h"
#include "onednn.h"

#include "../quant/grid.h"

#include <stdlib.h>
#include <string.h>

/* A convolution in one direction: two operands copied to the type and layout it wants, and its result. */
typedef struct {
    dt_dnnl_call copy[2];  /* primitive NULL: the operand is used where it lies */
    dt_dnnl_call conv;     /* arguments: operand 0, operand 1, result, scratchpad */
    dt_dnnl_call copy_out; /* primitive NULL: the result has our layout already */
    size_t bytes[4];       /* scratch: operand copies, result, scratchpad */
} direction;

typedef struct {
    direction forward, backward_x, backward_w;
    dt_dnnl_call copy_dy;  /* once for both backward directions; primitive NULL: dy is read where it lies */
    size_t front_bytes[3]; /* scratch of backward: real w, gradient before it is added, dy */
} conv_plan;

typedef struct {
    dnnl_memory_desc_t x, w, y; /* f32, as detent keeps them */
    dnnl_memory_desc_t dy;      /* as y, in backward's type */
    dnnl_dims_t stride, pad_front, pad_back;
} conv_layout;

static dt_status layout_of(const dt_conv_shape *s, dnnl_data_type_t backward_type, conv_layout *out)
{
    const dnnl_dims_t x = { s->N, s->C, s->H, s->W }, w = { s->K, s->C, s->R, s->S }, y = { s->N, s->K, s->P, s->Q };

    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->x, 4, x, dnnl_f32, dnnl_nhwc));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->w, 4, w, dnnl_f32, dnnl_ohwi));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->y, 4, y, dnnl_f32, dnnl_nhwc));
    DT_DNNL(dnnl_memory_desc_init_by_tag(&out->dy, 4, y, backward_type, dnnl_nhwc));
    out->stride[0] = out->stride[1] = s->stride;
    out->pad_front[0] = out->pad_front[1] = s->pad;
    out->pad_back[0] = (s->P - 1) * s->stride + s->R - s->H - s->pad;
    out->pad_back[1] = (s->Q - 1) * s->stride + s->S - s->W - s->pad;
    return DT_OK;
}

/* as, but with another element type and, for filters, the layout left to oneDNN */
static dt_status retyped(const dnnl_memory_desc_t *as, dnnl_data_type_t type, dnnl_format_tag_t tag,
                         dnnl_memory_desc_t *out)
{
    DT_DNNL(dnnl_memory_desc_init_by_tag(out, as->ndims, as->dims, type, tag));
    return DT_OK;
}

static size_t padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static dt_status direction_copy(direction *d, int i, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to)
{
    if (dnnl_memory_desc_equal(from, to)) return DT_OK;
    d->bytes[i] = padded(dnnl_memory_desc_get_size(to));
    return dt_dnnl_reorder_create(from, to, &d->copy[i]);
}

/* The operands and the result of a convolution, as oneDNN names them and as it chose to lay them out. */
typedef struct {
    int arg[3];
    dnnl_query_t query[3];
    dnnl_memory_desc_t ours[3];
} direction_args;

/* Finishes a direction from its operation descriptor. */
static dt_status direction_create(direction *d, const_dnnl_op_desc_t op, dnnl_primitive_desc_t hint,
                                  const direction_args *a)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_desc_t chosen[3], pad;
    dnnl_status_t made;

    DT_DNNL(dnnl_primitive_attr_create(&attr));
    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    made = dnnl_primitive_desc_create(&desc, op, attr, dt_onednn_engine(), hint);
    dnnl_primitive_attr_destroy(attr);
    DT_DNNL(made);
    for (int i = 0; i < 3; i++) chosen[i] = *dnnl_primitive_desc_query_md(desc, a->query[i], 0);
    pad = *dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    made = dnnl_primitive_create(&d->conv.primitive, desc);
    dnnl_primitive_desc_destroy(desc);
    DT_DNNL(made);

    for (int i = 0; i < 3; i++) DT_TRY(dt_dnnl_call_arg(&d->conv, a->arg[i], &chosen[i]));
    DT_TRY(dt_dnnl_call_arg(&d->conv, DNNL_ARG_SCRATCHPAD, &pad));
    d->bytes[3] = padded(dnnl_memory_desc_get_size(&pad));
    for (int i = 0; i < 2; i++) DT_TRY(direction_copy(d, i, &a->ours[i], &chosen[i]));
    if (dnnl_memory_desc_equal(&chosen[2], &a->ours[2])) return DT_OK;
    d->bytes[2] = padded(dnnl_memory_desc_get_size(&chosen[2]));
    return dt_dnnl_reorder_create(&chosen[2], &a->ours[2], &d->copy_out);
}

static void direction_destroy(direction *d)
{
    dt_dnnl_call_destroy(&d->copy[0]);
    dt_dnnl_call_destroy(&d->copy[1]);
    dt_dnnl_call_destroy(&d->copy_out);
    dt_dnnl_call_destroy(&d->conv);
}

static size_t direction_bytes(const direction *d)
{
    return d->bytes[0] + d->bytes[1] + d->bytes[2] + d->bytes[3];
}

/* a, b: operands in our f32 layouts; result: f32 in ours. */
static dt_status direction_run(direction *d, void *a, void *b, char *scratch, float *result)
{
    char *at[4] = { scratch, scratch + d->bytes[0], scratch + d->bytes[0] + d->bytes[1],
                    scratch + d->bytes[0] + d->bytes[1] + d->bytes[2] };
    void *operand[2] = { a, b };

    for (int i = 0; i < 2; i++) {
        if (!d->copy[i].primitive) continue;
        DT_TRY(dt_dnnl_call_run(&d->copy[i], (void *[]){ operand[i], at[i] }));
        operand[i] = at[i];
    }
    void *made = d->copy_out.primitive ? (void *)at[2] : (void *)result;
    DT_TRY(dt_dnnl_call_run(&d->conv, (void *[]){ operand[0], operand[1], made, at[3] }));
    if (d->copy_out.primitive) DT_TRY(dt_dnnl_call_run(&d->copy_out, (void *[]){ made, result }));
    return DT_OK;
}

static dt_status forward_create(const conv_layout *l, dnnl_data_type_t x_type, dnnl_data_type_t w_type, direction *out)
{
    dnnl_memory_desc_t x, w;
    dnnl_convolution_desc_t op;

    DT_TRY(retyped(&l->x, x_type, dnnl_nhwc, &x));
    DT_TRY(retyped(&l->w, w_type, dnnl_format_tag_any, &w));
    DT_DNNL(dnnl_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &x, &w, NULL, &l->y,
                                               l->stride, l->pad_front, l->pad_back));
    const direction_args args = { { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
                                  { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md },
                                  { l->x, l->w, l->y } };
    return direction_create(out, &op, NULL, &args);
}

/* oneDNN asks for the forward's choice before it makes a backward of the same types. */
static dt_status hint_create(const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *w, const dnnl_memory_desc_t *y,
                             const conv_layout *l, dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t op;
    DT_DNNL(dnnl_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, x, w, NULL, y,
                                               l->stride, l->pad_front, l->pad_back));
    DT_DNNL(dnnl_primitive_desc_create(out, &op, NULL, dt_onednn_engine(), NULL));
    return DT_OK;
}

static dt_status backward_x_create(const conv_layout *l, direction *out)
{
    const dnnl_data_type_t type = l->dy.data_type;
    dnnl_memory_desc_t x, w;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t hint = NULL;

    DT_TRY(retyped(&l->x, type, dnnl_nhwc, &x));
    DT_TRY(retyped(&l->w, type, dnnl_format_tag_any, &w));
    DT_TRY(hint_create(&x, &w, &l->dy, l, &hint));
    const direction_args args = { { DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC },
                                  { dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md },
                                  { l->dy, l->w, l->x } };
    dt_status status = DT_OK;
    if (dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &l->x, &w, &l->dy, l->stride,
                                                 l->pad_front, l->pad_back) != dnnl_success) {
        status = dt_raise(DT_ERR_DEVICE, __FILE__, __LINE__, "oneDNN refuses a backward-data convolution");
    }
    if (status == DT_OK) status = direction_create(out, &op, hint, &args);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

static dt_status backward_w_create(const conv_layout *l, direction *out)
{
    const dnnl_data_type_t type = l->dy.data_type;
    dnnl_memory_desc_t x, dw, w;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t hint = NULL;

    DT_TRY(retyped(&l->x, type, dnnl_nhwc, &x));
    DT_TRY(retyped(&l->w, dnnl_f32, dnnl_format_tag_any, &dw));
    DT_TRY(retyped(&l->w, type, dnnl_format_tag_any, &w));
    DT_TRY(hint_create(&x, &w, &l->dy, l, &hint));
    const direction_args args = { { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS },
                                  { dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md },
                                  { l->x, l->dy, l->w } };
    dt_status status = DT_OK;
    if (dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &x, &dw, NULL, &l->dy, l->stride,
                                                    l->pad_front, l->pad_back) != dnnl_success) {
        status = dt_raise(DT_ERR_DEVICE, __FILE__, __LINE__, "oneDNN refuses a backward-weights convolution");
    }
    if (status == DT_OK) status = direction_create(out, &op, hint, &args);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

/* u8 or s8 where codes fit and bytes multiply exactly, else f32 */
static dt_status forward_types(const dt_node *node, dnnl_data_type_t *x_type, dnnl_data_type_t *w_type)
{
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const int bytes_fit = x->qmin >= -128 && x->qmax <= (x->qmin < 0 ? 127 : 255) && w->qmin >= -128 && w->qmax <= 127;

    *x_type = *w_type = dnnl_f32;
    if (y->n_scale == 0) return DT_OK;
    if (bytes_fit && dt_onednn_has_int8()) {
        *x_type = x->qmin < 0 ? dnnl_s8 : dnnl_u8;
        *w_type = dnnl_s8;
        return DT_OK;
    }
    DT_CHECK(
        y->qmax < DT_F32_EXACT, DT_ERR_UNSUPPORTED,
        "%s: psums may reach %lld, at or above 2^24, which f32 sums do not hold exactly, and this CPU has no exact "
        "8-bit products (VNNI); use fewer bits, or configure with -DDETENT_ONEDNN=OFF",
        node->name, (long long)y->qmax);
    return DT_OK;
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void conv_release(dt_node *node)
{
    conv_plan *plan = node->plan;
    if (!plan) return;
    direction_destroy(&plan->forward);
    direction_destroy(&plan->backward_x);
    direction_destroy(&plan->backward_w);
    dt_dnnl_call_destroy(&plan->copy_dy);
    free(plan);
    node->plan = NULL;
}

static size_t front_bytes(const conv_plan *plan)
{
    return plan->front_bytes[0] + plan->front_bytes[1] + plan->front_bytes[2];
}

static dt_status backward_prepare(const dt_node *node, const conv_layout *l, conv_plan *plan)
{
    const size_t x_bytes = dt_tensor_bytes(node->in[0]), w_bytes = dt_tensor_bytes(node->in[1]);

    if (node->in[0]->wants_grad) DT_TRY(backward_x_create(l, &plan->backward_x));
    if (node->in[1]->wants_grad) DT_TRY(backward_w_create(l, &plan->backward_w));
    plan->front_bytes[0] = padded(w_bytes);
    plan->front_bytes[1] = padded(largest(x_bytes, w_bytes));
    if (dnnl_memory_desc_equal(&l->y, &l->dy)) return DT_OK;
    plan->front_bytes[2] = padded(dnnl_memory_desc_get_size(&l->dy));
    return dt_dnnl_reorder_create(&l->y, &l->dy, &plan->copy_dy);
}

static dt_status conv_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const int mixed = ex->precision == DT_PRECISION_MIXED && dt_onednn_has_bf16();
    conv_layout layout;
    dnnl_data_type_t x_type, w_type;
    conv_plan *plan = calloc(1, sizeof *plan);

    DT_CHECK(plan, DT_ERR_MEMORY, "no memory for a plan");
    node->plan = plan;
    DT_TRY(layout_of(&s, mixed ? dnnl_bf16 : dnnl_f32, &layout));
    DT_TRY(forward_types(node, &x_type, &w_type));
    DT_TRY(forward_create(&layout, x_type, w_type, &plan->forward));
    if (ex->training) DT_TRY(backward_prepare(node, &layout, plan));
    const size_t backward = largest(direction_bytes(&plan->backward_x), direction_bytes(&plan->backward_w));
    *scratch_bytes = largest(direction_bytes(&plan->forward), front_bytes(plan) + backward);
    return DT_OK;
}

static dt_status conv_forward(const dt_node *node, const dt_exec *ex)
{
    conv_plan *plan = node->plan;
    DT_TRY(direction_run(&plan->forward, node->in[0]->data, node->in[1]->data, ex->scratch, node->out->data));
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

static void add_scaled(float *sum, int fresh, const float *part, float scale, int64_t n)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) sum[i] = fresh ? scale * part[i] : sum[i] + scale * part[i];
}

static dt_status conv_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    const int x_fresh = node->fresh & 1u, w_fresh = (node->fresh & 2u) != 0;
    conv_plan *plan = node->plan;
    float *real_w = ex->scratch, *part = (float *)((char *)ex->scratch + plan->front_bytes[0]);
    char *scratch = (char *)ex->scratch + front_bytes(plan);
    void *dy = node->out->grad;

    if (plan->copy_dy.primitive) {
        dy = (char *)part + plan->front_bytes[1];
        DT_TRY(dt_dnnl_call_run(&plan->copy_dy, (void *[]){ node->out->grad, dy }));
    }
    if (x->grad) {
        float *dx = x_fresh ? x->grad : part;
        if (w->n_scale) real_filters(w, s.K, s.terms, real_w);
        DT_TRY(direction_run(&plan->backward_x, dy, w->n_scale ? real_w : w->data, scratch, dx));
        if (!x_fresh) add_scaled(x->grad, 0, part, 1.0f, dt_count(&x->shape));
    }
    if (w->grad) {
        DT_TRY(direction_run(&plan->backward_w, x->data, dy, scratch, part));
        add_scaled(w->grad, w_fresh, part, x->n_scale ? x->scale[0] : 1.0f, dt_count(&w->shape));
    }
    return DT_OK;
}

const dt_kernel dt_onednn_conv = { .prepare = conv_prepare,
                                   .forward = conv_forward,
                                   .backward = conv_backward,
                                   .release = conv_release,
                                   .overwrites = 3u };
