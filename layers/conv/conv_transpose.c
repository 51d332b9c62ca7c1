/*
 * conv_transpose.c - transposed 2-D convolution, by which a decoder enlarges a map.
 *
 *   y[n,h,v,c] = sum over k and every (p,r), (q,s) with p*stride + r - pad = h and q*stride + s - pad = v
 *                of x[n,p,q,k] * w[k,r,s,c]
 *   H = (P - 1) * stride - 2 pad + R + output_pad, and W likewise
 *
 * It is the transpose of the convolution with filters w that takes y's map to x's. So forward is what conv.c computes
 * as dx, and backward is that convolution:  dx = dy (*) w,  dw = the sum of dy (*) x over the batch. It works on real
 * values.
 *
 * An image is one product, columns [P Q][R S C] = x w, whose rows are then added to y at their places. Backward gathers
 * such columns from dy: dx += columns w^T, dw += x^T columns. Images are taken in groups that depend on the batch
 * alone. Each group has a dw of its own, so that the order of the sums does not depend on the number of threads.
 *
 * Shapes: x N,P,Q,K; w K,R,S,C (PyTorch's ConvTranspose2d: weight [K][C][R][S]); y N,H,W,C.
 * CUDA: cuda/cudnn/conv_transpose.c.  Tests: tests/layers/test_conv_transpose.c.
 */
#include "conv.h"
#include "../gemm/gemm.h"

#include <assert.h>
#include <string.h>

enum { X, W };
enum { MAX_GROUPS = 32 };

static dt_status conv_transpose_infer(dt_node *node)
{
    const dt_conv_transpose_params *p = node->params;
    const dt_tensor *x = node->in[X], *w = node->in[W];
    char text_x[64], text_w[64];
    assert(x->type == DT_F32 && w->type == DT_F32);

    DT_CHECK(x->shape.ndim == 4 && w->shape.ndim == 4 && x->shape.dim[3] == w->shape.dim[0], DT_ERR_SHAPE,
             "%s: conv_transpose: x is %s, w is %s; needed are N,P,Q,K and K,R,S,C", node->name,
             dt_shape_text(&x->shape, text_x, sizeof text_x), dt_shape_text(&w->shape, text_w, sizeof text_w));
    DT_CHECK(p->stride >= 1 && p->pad >= 0, DT_ERR_ARGUMENT, "%s: conv_transpose: stride %d (>= 1), pad %d (>= 0)",
             node->name, p->stride, p->pad);
    DT_CHECK(p->output_pad >= 0 && p->output_pad < p->stride, DT_ERR_ARGUMENT,
             "%s: conv_transpose: output_pad is %d, allowed are 0 to below the stride, %d", node->name, p->output_pad,
             p->stride);
    DT_CHECK(x->n_scale == 0 && w->n_scale == 0, DT_ERR_UNSUPPORTED,
             "%s: conv_transpose: %s is a grid tensor, and this layer takes real values; put a bias or a batch norm "
             "before it",
             node->name, x->n_scale ? "x" : "w");
    dt_shape y = { 4, { x->shape.dim[0], 0, 0, w->shape.dim[3] } };
    for (int i = 1; i <= 2; i++) {
        const int64_t full = (x->shape.dim[i] - 1) * p->stride + w->shape.dim[i] + p->output_pad;
        y.dim[i] = full - 2 * p->pad;
        DT_CHECK(y.dim[i] >= 1, DT_ERR_SHAPE, "%s: conv_transpose: pad %d cuts away all of %lld rows or columns",
                 node->name, p->pad, (long long)full);
    }
    node->out->shape = y;
    return DT_OK;
}

static const dt_field conv_transpose_fields[] = {
    { DT_MEMBER(dt_conv_transpose_params, stride), DT_INT(1, 4096) },
    { DT_MEMBER(dt_conv_transpose_params, pad), DT_INT(0, 4096) },
    { DT_MEMBER(dt_conv_transpose_params, output_pad), DT_INT(0, 4096) },
};

const dt_op dt_op_conv_transpose = {
    .name = "conv_transpose",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_conv_transpose_params, conv_transpose_fields),
    .backward_reads = DT_READS_IN(X) | DT_READS_IN(W),
    .infer = conv_transpose_infer,
};

/* Of the convolution that this is the transpose of: its x is our y. */
static dt_conv_shape transposed_shape(const dt_node *node)
{
    const dt_conv_transpose_params *p = node->params;
    const int64_t *x = node->in[X]->shape.dim, *w = node->in[W]->shape.dim, *y = node->out->shape.dim;
    const dt_conv_params conv = dt_conv_square(p->stride, p->pad);

    return dt_conv_shape_from(y, w, x, &conv);
}

/* The taps first..end-1 of one filter row lie inside the map, the first of them at `at`. */
typedef struct {
    int64_t first, end, at;
} tap_run;

/* Filter row r at position (p, q) of x. */
static tap_run taps_inside(const dt_conv_shape *s, int64_t p, int64_t q, int64_t r)
{
    const int64_t h = p * s->stride[0] + r - s->pad[0], v = q * s->stride[1] - s->pad[1];
    const int64_t first = v < 0 ? -v : 0, end = s->W - v < s->S ? s->W - v : s->S;

    if (h < 0 || h >= s->H || first >= end) return (tap_run){ 0, 0, 0 };
    return (tap_run){ first, end, (h * s->W + v + first) * s->C };
}

static void add_values(const float *restrict from, int64_t count, float *restrict to)
{
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* columns [P Q][R][S C] of one image are added to its y */
static void scatter_columns(const dt_conv_shape *s, const float *columns, float *y)
{
    for (int64_t i = 0; i < s->P * s->Q * s->R; i++) {
        const tap_run run = taps_inside(s, i / s->R / s->Q, i / s->R % s->Q, i % s->R);
        add_values(columns + (i * s->S + run.first) * s->C, (run.end - run.first) * s->C, y + run.at);
    }
}

/* columns [P Q][R][S C] from dy of one image; taps outside the map are 0 */
static void gather_columns(const dt_conv_shape *s, const float *dy, float *columns)
{
    memset(columns, 0, (size_t)(s->P * s->Q * s->terms) * sizeof *columns);
    for (int64_t i = 0; i < s->P * s->Q * s->R; i++) {
        const tap_run run = taps_inside(s, i / s->R / s->Q, i / s->R % s->Q, i % s->R);
        const size_t bytes = (size_t)((run.end - run.first) * s->C) * sizeof *dy;
        memcpy(columns + (i * s->S + run.first) * s->C, dy + run.at, bytes);
    }
}

static int64_t n_groups(const dt_conv_shape *s)
{
    return s->N < MAX_GROUPS ? s->N : MAX_GROUPS;
}

/* Floats of a group's part of the scratch: its dw, then the columns of one image. */
static int64_t group_room(const dt_conv_shape *s)
{
    return (s->K + s->P * s->Q) * s->terms;
}

static dt_status conv_transpose_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_conv_shape s = transposed_shape(node);
    (void)ex;
    *scratch_bytes = (size_t)(n_groups(&s) * group_room(&s)) * sizeof(float);
    return DT_OK;
}

typedef dt_status (*group_fn)(const dt_node *node, const dt_conv_shape *s, int64_t group, float *room);

static dt_status each_group(const dt_node *node, const dt_conv_shape *s, float *scratch, group_fn work)
{
    dt_status worst = DT_OK;

#pragma omp parallel for
    for (int64_t g = 0; g < n_groups(s); g++) {
        const dt_status status = work(node, s, g, scratch + g * group_room(s));
        if (status != DT_OK) {
#pragma omp atomic write
            worst = status;
        }
    }
    DT_CHECK(worst == DT_OK, worst, "%s: a matrix product failed", node->name);
    return DT_OK;
}

static int64_t first_image(const dt_conv_shape *s, int64_t group)
{
    return s->N * group / n_groups(s);
}

static dt_status forward_group(const dt_node *node, const dt_conv_shape *s, int64_t group, float *room)
{
    const int64_t positions = s->P * s->Q, y_count = s->H * s->W * s->C;
    const dt_matrix w = { node->in[W]->data, s->terms, 0 };
    float *columns = room + s->K * s->terms;

    for (int64_t n = first_image(s, group); n < first_image(s, group + 1); n++) {
        const dt_matrix x = { (const float *)node->in[X]->data + n * positions * s->K, s->K, 0 };
        float *y = (float *)node->out->data + n * y_count;
        DT_TRY(dt_gemm(positions, s->terms, s->K, 1.0f, x, w, 0.0f, columns, s->terms));
        memset(y, 0, (size_t)y_count * sizeof *y);
        scatter_columns(s, columns, y);
    }
    return DT_OK;
}

static dt_status conv_transpose_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = transposed_shape(node);

    return each_group(node, &s, ex->scratch, forward_group);
}

/* dx of the group's images; their dw, not yet added to w's */
static dt_status backward_group(const dt_node *node, const dt_conv_shape *s, int64_t group, float *room)
{
    const int64_t positions = s->P * s->Q, first = first_image(s, group);
    const dt_matrix w = { node->in[W]->data, s->terms, 1 }, columns = { room + s->K * s->terms, s->terms, 0 };
    const float kept = node->fresh & 1u << X ? 0.0f : 1.0f;
    float *dx = node->in[X]->grad, *dw = node->in[W]->grad ? room : NULL;

    for (int64_t n = first; n < first_image(s, group + 1); n++) {
        const int64_t at = n * positions * s->K;
        const dt_matrix x = { (const float *)node->in[X]->data + at, s->K, 1 };
        gather_columns(s, dt_grads(node->out) + n * s->H * s->W * s->C, room + s->K * s->terms);
        if (dx) DT_TRY(dt_gemm(positions, s->K, s->terms, 1.0f, columns, w, kept, dx + at, s->K));
        if (dw) DT_TRY(dt_gemm(s->K, s->terms, positions, 1.0f, x, columns, n > first ? 1.0f : 0.0f, dw, s->terms));
    }
    return DT_OK;
}

/* gives the sum of the groups' parts, in order, to dw */
static void add_groups(const dt_conv_shape *s, const float *scratch, int fresh, float *dw)
{
#pragma omp parallel for
    for (int64_t i = 0; i < s->K * s->terms; i++) {
        double sum = 0.0;
        for (int64_t g = 0; g < n_groups(s); g++) sum += (double)scratch[g * group_room(s) + i];
        dw[i] = (float)sum + (fresh ? 0.0f : dw[i]);
    }
}

static dt_status conv_transpose_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = transposed_shape(node);

    DT_TRY(each_group(node, &s, ex->scratch, backward_group));
    if (node->in[W]->grad) add_groups(&s, ex->scratch, (int)(node->fresh & 1u << W), node->in[W]->grad);
    return DT_OK;
}

const dt_kernel dt_cpu_conv_transpose = {
    .prepare = conv_transpose_prepare,
    .forward = conv_transpose_forward,
    .backward = conv_transpose_backward,
    .overwrites = 1u << X | 1u << W,
};
