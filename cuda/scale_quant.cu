/*
 * scale_quant.cu - CUDA kernels of the quantizer whose scale is given; see quant/scale_quant.c, and
 *                  core/arith/scale_grid.h for the arithmetic.
 */
#include "kernel.h"

#include "../core/arith/scale_grid.h"
#include "../core/grid_facts.h"

enum { X, SCALE };

/* x: real values, or codes with a scale, or with one for each of n_x channels. Element i is quantized with
 * scale[i / each % n]. */
typedef struct {
    const float *x, *scale_x;
    int n_x;
    const float *scale;
    int64_t n, each, count;
} scale_view;

static scale_view scale_look(const dt_node *node)
{
    const dt_scale_quant_params *p = (const dt_scale_quant_params *)node->params;
    const dt_tensor *x = node->in[X], *scale = node->in[SCALE];
    const int64_t count = dt_count(&x->shape), each = p->filters ? count / x->shape.dim[0] : 1;
    const scale_view v = { dt_values(x), x->scale, x->n_scale, dt_values(scale), dt_count(&scale->shape), each, count };

    return v;
}

__device__ static float value_at(const scale_view *v, int64_t i)
{
    return dt_scale_at(v->scale_x, v->n_x, v->n_x > 1 ? i % v->n_x : 0) * v->x[i];
}

/* One thread for each element; the first n also copy the scales. */
__global__ static void scale_quant_forward_kernel(scale_view v, dt_scale_quant_params p, float *code, float *scale)
{
    const int64_t i = dt_thread();

    if (i < v.n) scale[i] = v.scale[i];
    if (i < v.count) code[i] = dt_scale_code(value_at(&v, i), v.scale[i / v.each % v.n], &p);
}

/* one thread for each element; gives to dx */
__global__ static void scale_quant_backward_kernel(scale_view v, dt_scale_quant_params p, const float *g, float *dx,
                                                   int fresh)
{
    const int64_t i = dt_thread();

    if (i < v.count) dt_give(&dx[i], dt_scale_slope(value_at(&v, i), v.scale[i / v.each % v.n], &p) * g[i], fresh);
}

static dt_status scale_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const scale_view v = scale_look(node);

    DT_LAUNCH(scale_quant_forward_kernel, dt_blocks(v.count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v,
              *(const dt_scale_quant_params *)node->params, dt_values(node->out), node->out->scale);
    return DT_OK;
}

static dt_status scale_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const scale_view v = scale_look(node);
    float *dx = dt_grads(node->in[X]);

    if (!dx) return DT_OK;
    DT_LAUNCH(scale_quant_backward_kernel, dt_blocks(v.count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), v,
              *(const dt_scale_quant_params *)node->params, dt_grads(node->out), dx, (int)(node->fresh & 1u << X));
    return DT_OK;
}

const dt_kernel dt_cuda_scale_quant = { NULL, scale_quant_forward, scale_quant_backward, NULL, 1u << X };
