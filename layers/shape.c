/*
 * shape.c - operators that move or join values: flatten, identity, add, transpose, concat.
 *
 *   flatten:   y = x with every axis but the first joined; feature (h W + w) C + c is x[n,h,w,c]
 *   identity:  y = x; it stands where another operator was taken out, and keeps the place and the name of the layer
 *   add:       y = a + b of real values, or of integers that share one scale; else y = s_a a + s_b b
 *   transpose: y[n,column,row,:] = x[n,row,column,:], and y gets the shape asked for
 *   concat:    y[o] = in[0][o] followed by in[1][o] and so on, o being what comes before the axis
 *   gradients: values that moved move back;  da += dy, db += dy for add
 *
 * flatten, identity and transpose stay on the grid. add and concat stay on it if all their inputs share one scale (they
 * come from one quantizer, or from quantizers with one clip). Else they leave it, as do sums that f32 does not hold.
 *
 * Shapes: flatten N,... -> N,I. transpose N,rows,columns,inner -> N,columns,rows,inner, seen in the shape asked for,
 * whose first axis may be N*columns (capsule types that share a convolution). concat N,..A.. and N,..B.. -> N,..A+B...
 * The others keep their shape.  CUDA: cuda/shape.cu.  Tests: tests/layers/test_shape.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"
#include "../core/arith/grid.h"
#include "pass.h"

#include <assert.h>
#include <string.h>

static dt_status identity_infer(dt_node *node)
{
    assert(node->in[0]->type == DT_F32);
    dt_stay_on_grid(node->out, node->in[0]);
    node->out->shape = node->in[0]->shape;
    return DT_OK;
}

static dt_status flatten_infer(dt_node *node)
{
    const dt_tensor *x = node->in[0];
    const dt_shape *s = &x->shape;
    char text[64];

    DT_CHECK(s->ndim >= 2, DT_ERR_SHAPE, "%s: flatten: x is %s, needs two axes or more", node->name,
             dt_shape_text(s, text, sizeof text));
    const int64_t features = dt_count(s) / s->dim[0];
    DT_CHECK(
        x->n_scale <= 1 || features == x->n_scale, DT_ERR_UNSUPPORTED,
        "%s: flatten: x is %s with a scale for each channel, which %lld features cannot keep; pool to 1x1 before it, "
        "or quantize with one clip a layer",
        node->name, dt_shape_text(s, text, sizeof text), (long long)features);
    DT_TRY(identity_infer(node));
    node->out->shape = (dt_shape){ .ndim = 2, .dim = { s->dim[0], features } };
    return DT_OK;
}

static int shares_one_scale(const dt_node *node)
{
    for (int k = 1; k < node->n_in; k++) {
        if (!dt_share_scale(node->in[0], node->in[k])) return 0;
    }
    return 1;
}

static dt_status add_infer(dt_node *node)
{
    const dt_shape *a = &node->in[0]->shape, *b = &node->in[1]->shape;
    char text_a[64], text_b[64];
    assert(node->in[0]->type == DT_F32 && node->in[1]->type == DT_F32);

    DT_CHECK(dt_same_shape(a, b), DT_ERR_SHAPE, "%s: add: a is %s, b is %s", node->name,
             dt_shape_text(a, text_a, sizeof text_a), dt_shape_text(b, text_b, sizeof text_b));
    node->out->shape = *a;
    if (!shares_one_scale(node) || dt_code_bound(node->in[0]) + dt_code_bound(node->in[1]) >= DT_F32_EXACT)
        return DT_OK;
    dt_stay_on_grid(node->out, node->in[0]);
    node->out->qmin += node->in[1]->qmin;
    node->out->qmax += node->in[1]->qmax;
    return DT_OK;
}

/* Makes the first axis as long as `count` values need. */
static void fill_first_axis(dt_shape *s, int64_t count)
{
    s->dim[0] = 1;
    s->dim[0] = count / dt_count(s);
}

/* Every axis but the first has a length, and together they are no longer than count. */
static int axes_are_good(const dt_shape *s, int64_t count)
{
    int64_t left = count;

    for (int d = 1; d < s->ndim; d++) {
        if (s->dim[d] < 1 || s->dim[d] > left) return 0;
        left /= s->dim[d];
    }
    return s->dim[0] <= left;
}

static dt_status transpose_infer(dt_node *node)
{
    const dt_transpose_params *p = node->params;
    const dt_tensor *x = node->in[0];
    const int64_t count = dt_count(&x->shape);
    dt_shape asked = { .ndim = p->ndim };
    char text[64], asked_text[64];
    assert(p->ndim >= 1 && p->ndim <= DT_MAX_DIMS && p->rows >= 1 && p->columns >= 1);

    memcpy(asked.dim, p->dim, sizeof asked.dim);
    dt_shape_text(&x->shape, text, sizeof text);
    DT_CHECK(axes_are_good(&asked, count), DT_ERR_SHAPE, "%s: transpose: x is %s, y is to be %s, of another count",
             node->name, text, dt_shape_text(&asked, asked_text, sizeof asked_text));
    if (asked.dim[0] == 0) fill_first_axis(&asked, count);
    DT_CHECK(count / x->shape.dim[0] % (p->rows * p->columns) == 0, DT_ERR_SHAPE,
             "%s: transpose: x is %s, which is not %lld rows of %lld columns for each of the first axis", node->name,
             text, (long long)p->rows, (long long)p->columns);
    DT_CHECK(dt_count(&asked) == count, DT_ERR_SHAPE, "%s: transpose: x is %s, y is to be %s, of another count",
             node->name, text, dt_shape_text(&asked, asked_text, sizeof asked_text));
    DT_CHECK(
        x->n_scale <= 1, DT_ERR_UNSUPPORTED,
        "%s: transpose: x is %s with a scale for each channel, which y cannot keep; quantize with one clip a layer",
        node->name, text);
    DT_TRY(identity_infer(node));
    node->out->shape = asked;
    return DT_OK;
}

static dt_status concat_shape(dt_node *node)
{
    const dt_concat_params *p = node->params;
    const dt_shape *first = &node->in[0]->shape;
    char text[64], text_first[64];

    dt_shape_text(first, text_first, sizeof text_first);
    DT_CHECK(p->axis >= 1 && p->axis < first->ndim, DT_ERR_ARGUMENT, "%s: concat: axis %d of %s, allowed are 1 to %d",
             node->name, p->axis, text_first, first->ndim - 1);
    node->out->shape = *first;
    for (int k = 1; k < node->n_in; k++) {
        dt_shape rest = node->in[k]->shape;
        rest.dim[p->axis] = first->dim[p->axis];
        DT_CHECK(dt_same_shape(first, &rest), DT_ERR_SHAPE,
                 "%s: concat: input %d is %s, input 0 is %s; they may differ along axis %d only", node->name, k,
                 dt_shape_text(&node->in[k]->shape, text, sizeof text), text_first, p->axis);
        node->out->shape.dim[p->axis] += node->in[k]->shape.dim[p->axis];
    }
    return DT_OK;
}

static dt_status concat_infer(dt_node *node)
{
    dt_tensor *y = node->out;

    DT_TRY(concat_shape(node));
    for (int k = 0; k < node->n_in; k++) assert(node->in[k]->type == DT_F32);
    if (!shares_one_scale(node)) return DT_OK;
    dt_stay_on_grid(y, node->in[0]);
    for (int k = 1; k < node->n_in; k++) {
        if (node->in[k]->qmin < y->qmin) y->qmin = node->in[k]->qmin;
        if (node->in[k]->qmax > y->qmax) y->qmax = node->in[k]->qmax;
    }
    return DT_OK;
}

static const dt_field transpose_fields[] = {
    { DT_MEMBER(dt_transpose_params, rows), DT_LONG(1, 1 << 30) },
    { DT_MEMBER(dt_transpose_params, columns), DT_LONG(1, 1 << 30) },
    { DT_MEMBER(dt_transpose_params, ndim), DT_INT(1, DT_MAX_DIMS) },
    { DT_MEMBER(dt_transpose_params, dim), DT_LONGS(6, 0, 1 << 30) },
};

const dt_op dt_op_flatten = { .name = "flatten", .min_in = 1, .max_in = 1, .infer = flatten_infer };
const dt_op dt_op_identity = { .name = "identity", .min_in = 1, .max_in = 1, .infer = identity_infer };
const dt_op dt_op_add = { .name = "add", .min_in = 2, .max_in = 2, .infer = add_infer };
const dt_op dt_op_transpose = {
    .name = "transpose",
    .min_in = 1,
    .max_in = 1,
    DT_OP_PARAMS(dt_transpose_params, transpose_fields),
    .infer = transpose_infer,
};
static const dt_field concat_fields[] = { { DT_MEMBER(dt_concat_params, axis), DT_INT(1, DT_MAX_DIMS - 1) } };

static const dt_concat_params concat_defaults = { .axis = 3 }; /* channels of a map */

const dt_op dt_op_concat = {
    .name = "concat",
    .min_in = 2,
    .max_in = DT_MAX_IN,
    DT_OP_PARAMS(dt_concat_params, concat_fields),
    .defaults = &concat_defaults,
    .infer = concat_infer,
};

static dt_status copy_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;
    if (y == x) return DT_OK;

#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) y[i] = x[i];
    return DT_OK;
}

static dt_status add_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *ta = node->in[0], *tb = node->in[1];
    const int64_t channels = dt_channels(&ta->shape), rows = dt_rows(&ta->shape);
    const int a_scales = node->out->n_scale ? 0 : ta->n_scale, b_scales = node->out->n_scale ? 0 : tb->n_scale;
    const float *a = ta->data, *b = tb->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            const int64_t i = r * channels + c;
            y[i] = dt_scale_at(ta->scale, a_scales, c) * a[i] + dt_scale_at(tb->scale, b_scales, c) * b[i];
        }
    }
    return DT_OK;
}

/* Both inputs have dy as their gradient; a tensor added to itself gets it twice. */
static dt_status add_backward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;
    for (int k = 0; k < node->n_in; k++) dt_pass_gradient(node, k);
    return DT_OK;
}

/* to += from; to = from where it is fresh */
static void give_row(const float *restrict from, int64_t count, int fresh, float *restrict to)
{
    for (int64_t i = 0; i < count; i++) to[i] = fresh ? from[i] : to[i] + from[i];
}

/* What is exchanged: [batch][rows][columns][inner] becomes [batch][columns][rows][inner]. */
typedef struct {
    int64_t batch, rows, columns, inner;
} transpose_view;

static transpose_view transpose_look(const dt_node *node)
{
    const dt_transpose_params *p = node->params;
    const dt_shape *x = &node->in[0]->shape;
    return (transpose_view){ x->dim[0], p->rows, p->columns, dt_count(x) / x->dim[0] / p->rows / p->columns };
}

static void exchange(transpose_view v, const float *from, int fresh, float *to)
{
#pragma omp parallel for
    for (int64_t i = 0; i < v.batch * v.columns; i++) {
        const int64_t n = i / v.columns, column = i % v.columns;
        for (int64_t row = 0; row < v.rows; row++) {
            const float *source = from + ((n * v.rows + row) * v.columns + column) * v.inner;
            give_row(source, v.inner, fresh, to + (i * v.rows + row) * v.inner);
        }
    }
}

static dt_status transpose_forward(const dt_node *node, const dt_exec *ex)
{
    (void)ex;
    exchange(transpose_look(node), node->in[0]->data, 1, node->out->data);
    return DT_OK;
}

static dt_status transpose_backward(const dt_node *node, const dt_exec *ex)
{
    const transpose_view v = transpose_look(node), back = { v.batch, v.columns, v.rows, v.inner };
    (void)ex;

    if (node->in[0]->grad) exchange(back, node->out->grad, (int)(node->fresh & 1u), node->in[0]->grad);
    return DT_OK;
}

/* What comes before the axis: so many rows, in which the inputs' parts follow each other. */
static int64_t concat_rows(const dt_node *node)
{
    const dt_concat_params *p = node->params;

    return dt_count_of(node->out->shape.dim, p->axis);
}

/* to = scale * from; count is a multiple of the channels */
static void real_row(const dt_tensor *t, const float *from, int64_t count, float *to)
{
    const int64_t channels = dt_channels(&t->shape);

    for (int64_t first = 0; first < count; first += channels) {
        for (int64_t c = 0; c < channels; c++) {
            to[first + c] = dt_scale_at(t->scale, t->n_scale, c) * from[first + c];
        }
    }
}

static dt_status concat_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = concat_rows(node), width = dt_count(&node->out->shape) / rows;
    float *y = node->out->data;
    (void)ex;

    for (int k = 0; k < node->n_in; k++) {
        const dt_tensor *t = node->in[k];
        const int64_t part = dt_count(&t->shape) / rows;
        const int copies = t->n_scale == node->out->n_scale;
        const float *x = t->data;
#pragma omp parallel for
        for (int64_t r = 0; r < rows; r++) {
            if (copies)
                give_row(x + r * part, part, 1, y + r * width);
            else
                real_row(t, x + r * part, part, y + r * width);
        }
        y += part;
    }
    return DT_OK;
}

static dt_status concat_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t rows = concat_rows(node), width = dt_count(&node->out->shape) / rows;
    const float *dy = node->out->grad;
    (void)ex;

    for (int k = 0; k < node->n_in; k++) {
        const int64_t part = dt_count(&node->in[k]->shape) / rows;
        const int fresh = (int)(node->fresh & 1u << k);
        float *dx = node->in[k]->grad;
#pragma omp parallel for
        for (int64_t r = 0; r < (dx ? rows : 0); r++) give_row(dy + r * width, part, fresh, dx + r * part);
        dy += part;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_flatten = {
    .forward = copy_forward,
    .backward = dt_pass_backward,
    .overwrites = 1u,
    .in_place = 1,
};
const dt_kernel dt_cpu_identity = {
    .forward = copy_forward,
    .backward = dt_pass_backward,
    .overwrites = 1u,
    .in_place = 1,
};
const dt_kernel dt_cpu_add = { .forward = add_forward, .backward = add_backward, .overwrites = 3u, .in_place = 1 };
const dt_kernel dt_cpu_transpose = {
    .forward = transpose_forward,
    .backward = transpose_backward,
    .overwrites = 1u,
};
const dt_kernel dt_cpu_concat = { .forward = concat_forward,
                                  .backward = concat_backward,
                                  .overwrites = (1u << DT_MAX_IN) - 1 };
