/*
 * shape.c - operators that move or join values: flatten, identity, add.
 *
 *   flatten:   y = x with every axis but the first joined; feature (h W + w) C + c is x[n,h,w,c]
 *   identity:  y = x, a layer that keeps its place and its name where another was taken out
 *   add:       y = a + b of real values; for grid tensors y = s_a a + s_b b
 *   gradients: dx += dy;  da += dy, db += dy
 *
 * flatten and identity stay on the grid, add leaves it.
 * Shapes: flatten N,... -> N,I; the others keep theirs.  CUDA: cuda/shape.cu.  Tests: tests/test_shape.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"

#include <assert.h>

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

static dt_status add_infer(dt_node *node)
{
    const dt_shape *a = &node->in[0]->shape, *b = &node->in[1]->shape;
    char text_a[64], text_b[64];
    assert(node->in[0]->type == DT_F32 && node->in[1]->type == DT_F32);

    DT_CHECK(dt_same_shape(a, b), DT_ERR_SHAPE, "%s: add: a is %s, b is %s", node->name,
             dt_shape_text(a, text_a, sizeof text_a), dt_shape_text(b, text_b, sizeof text_b));
    node->out->shape = *a;
    return DT_OK;
}

const dt_op dt_op_flatten = { .name = "flatten", .min_in = 1, .max_in = 1, .infer = flatten_infer };
const dt_op dt_op_identity = { .name = "identity", .min_in = 1, .max_in = 1, .infer = identity_infer };
const dt_op dt_op_add = { .name = "add", .min_in = 2, .max_in = 2, .infer = add_infer };

static dt_status copy_forward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) y[i] = x[i];
    return DT_OK;
}

static dt_status add_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *ta = node->in[0], *tb = node->in[1];
    const int64_t channels = dt_channels(&ta->shape), rows = dt_rows(&ta->shape);
    const float *a = ta->data, *b = tb->data;
    float *y = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < channels; c++) {
            const int64_t i = r * channels + c;
            y[i] = dt_scale_at(ta->scale, ta->n_scale, c) * a[i] + dt_scale_at(tb->scale, tb->n_scale, c) * b[i];
        }
    }
    return DT_OK;
}

/* Every input has dy as its gradient; a tensor added to itself gets it twice. */
static dt_status pass_backward(const dt_node *node, const dt_exec *ex)
{
    const int64_t count = dt_count(&node->out->shape);
    const float *dy = node->out->grad;
    (void)ex;

    for (int k = 0; k < node->n_in; k++) {
        float *dx = node->in[k]->grad;
        if (!dx) continue;
#pragma omp parallel for simd
        for (int64_t i = 0; i < count; i++) dx[i] += dy[i];
    }
    return DT_OK;
}

const dt_kernel dt_cpu_flatten = { .forward = copy_forward, .backward = pass_backward };
const dt_kernel dt_cpu_identity = { .forward = copy_forward, .backward = pass_backward };
const dt_kernel dt_cpu_add = { .forward = add_forward, .backward = pass_backward };
