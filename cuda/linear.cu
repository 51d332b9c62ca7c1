/*
 * linear.cu - the fully connected layer on CUDA; see layers/linear.c.
 *
 * cuBLASLt computes the products (cublas_gemm.h). The kernels here add the bias and sum its gradient, and sum y in
 * order if params.in_order asks for it. For codes, scratch holds dy times the scales of w, then dy times that of x.
 */
#include "kernel.h"

#include "../core/grid_facts.h"

extern "C" {
#include "../layers/linear.h"
#include "convert.h"
#include "cuda_device.h"
}

#include <stdlib.h>

enum { X = DT_LINEAR_X, W = DT_LINEAR_W, B = DT_LINEAR_B };

/* The three products of the layer; y is NULL where it is summed in order, those of backward where no gradient is
 * wanted. */
typedef struct {
    dt_gemm_plan *y, *dx, *dw;
} linear_state;

/* one thread for each element of y [batch][features] */
__global__ static void spread_bias_kernel(const float *bias, float *y, int64_t batch, int64_t features)
{
    const int64_t i = dt_thread();

    if (i < batch * features) y[i] = bias[i % features];
}

/* one thread for each element of y [batch][features]; bias may be NULL */
__global__ static void in_order_kernel(const float *x, const float *w, const float *bias, float *y, int64_t batch,
                                       int64_t features, int64_t inputs)
{
    const int64_t i = dt_thread();
    if (i >= batch * features) return;
    const int64_t n = i / features, o = i % features;
    double sum = bias ? (double)bias[o] : 0.0;

    for (int64_t k = 0; k < inputs; k++) sum += (double)x[n * inputs + k] * (double)w[o * inputs + k];
    y[i] = (float)sum;
}

/* One thread for each element of dy [batch][features], each of which has its own scale, or all have one. */
__global__ static void scale_kernel(const float *dy, const float *scale, int n_scale, float *to, int64_t count,
                                    int64_t features)
{
    const int64_t i = dt_thread();

    if (i < count) to[i] = dt_scale_at(scale, n_scale, i % features) * dy[i];
}

/* one thread for each feature; gives the column's sum to db */
__global__ static void bias_backward_kernel(const float *dy, float *db, int fresh, int64_t batch, int64_t features)
{
    const int64_t o = dt_thread();
    if (o >= features) return;
    double sum = 0.0;

    for (int64_t n = 0; n < batch; n++) sum += (double)dy[n * features + o];
    dt_give(&db[o], (float)sum, fresh);
}

static void linear_release(dt_node *node)
{
    linear_state *state = (linear_state *)node->state;

    if (!state) return;
    dt_gemm_plan_destroy(state->y);
    dt_gemm_plan_destroy(state->dx);
    dt_gemm_plan_destroy(state->dw);
    free(state);
    node->state = NULL;
}

static dt_status linear_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_cuda_device *device = (const dt_cuda_device *)ex->device;
    const dt_linear_size size = dt_linear_size_of(node);
    const int batch = (int)size.batch, features = (int)size.features, inputs = (int)size.inputs;
    const dt_gemm_problem y = { batch, features, inputs, 0, 1 }, dx = { batch, inputs, features, 0, 0 };
    const dt_gemm_problem dw = { features, inputs, batch, 1, 0 };

    linear_state *state = (linear_state *)calloc(1, sizeof *state);
    DT_CHECK(state, DT_ERR_MEMORY, "%s: no memory for the kernel's state", node->name);
    node->state = state;
    if (!dt_linear_sums_in_order(node)) DT_TRY(dt_gemm_plan_create(device->cublas, &y, &state->y));
    if (ex->training && node->in[X]->wants_grad) DT_TRY(dt_gemm_plan_create(device->cublas, &dx, &state->dx));
    if (ex->training && node->in[W]->wants_grad) DT_TRY(dt_gemm_plan_create(device->cublas, &dw, &state->dw));
    *scratch_bytes = node->out->n_scale > 0 ? dt_tensor_bytes(node->out) : 0;
    return DT_OK;
}

static dt_status linear_products(const dt_node *node, const dt_exec *ex)
{
    const linear_state *state = (const linear_state *)node->state;
    const dt_linear_size size = dt_linear_size_of(node);
    const unsigned blocks = dt_blocks(size.batch * size.features, DT_BLOCK);
    const float *x = dt_values(node->in[X]), *w = dt_values(node->in[W]);
    const float *bias = node->n_in > B ? dt_values(node->in[B]) : NULL;
    float *y = dt_values(node->out);

    if (!state->y) {
        DT_LAUNCH(in_order_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), x, w, bias, y, size.batch, size.features,
                  size.inputs);
        return DT_OK;
    }
    if (bias) DT_LAUNCH(spread_bias_kernel, blocks, DT_BLOCK, 0, dt_stream_of(ex), bias, y, size.batch, size.features);
    return dt_gemm_run(state->y, x, w, y, bias != NULL);
}

static dt_status linear_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_tensor *y = node->out;

    DT_TRY(linear_products(node, ex));
    if (y->n_scale == 0) return DT_OK;
    return dt_cuda_psum_scale(node->in[X]->scale, node->in[W]->scale, 1, y->n_scale, y->scale, ex->stream);
}

/* dy times the scales of input t, in scratch; dy where t is real. */
static dt_status scaled_dy(const dt_node *node, const dt_tensor *t, const dt_exec *ex, const float **out)
{
    const int64_t features = node->out->shape.dim[1], count = dt_count(&node->out->shape);
    float *to = (float *)ex->scratch;

    *out = dt_grads(node->out);
    if (t->n_scale == 0) return DT_OK;
    DT_LAUNCH(scale_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), *out, t->scale, t->n_scale, to,
              count, features);
    *out = to;
    return DT_OK;
}

static dt_status linear_backward(const dt_node *node, const dt_exec *ex)
{
    const linear_state *state = (const linear_state *)node->state;
    const dt_tensor *x = node->in[X], *w = node->in[W];
    const int64_t batch = node->out->shape.dim[0], features = node->out->shape.dim[1];
    const unsigned stale = ~node->fresh;
    const float *dy;

    if (dt_grads(x)) {
        DT_TRY(scaled_dy(node, w, ex, &dy));
        DT_TRY(dt_gemm_run(state->dx, dy, dt_values(w), dt_grads(x), (int)(stale & 1u << X)));
    }
    if (dt_grads(w)) {
        DT_TRY(scaled_dy(node, x, ex, &dy));
        DT_TRY(dt_gemm_run(state->dw, dy, dt_values(x), dt_grads(w), (int)(stale & 1u << W)));
    }
    if (node->n_in <= B || !dt_grads(node->in[B])) return DT_OK;
    DT_LAUNCH(bias_backward_kernel, dt_blocks(features, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), dt_grads(node->out),
              dt_grads(node->in[B]), (int)(node->fresh & 1u << B), batch, features);
    return DT_OK;
}

const dt_kernel dt_cuda_linear = { linear_prepare, linear_forward, linear_backward, linear_release,
                                   1u << X | 1u << W | 1u << B };
