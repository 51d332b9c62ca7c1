/*
 * act_quant.cu - CUDA kernels of the activation quantizer; see quant/act_quant.c, and core/arith/grid.h for the
 * arithmetic.
 *
 * Scratch: DT_REDUCE_BLOCKS partial sums of dalpha, in double.
 */
#include "reduce.h"

#include "../core/grid_facts.h"
#include "../core/arith/grid.h"

/* What is quantized: real values, or codes with a scale, or with one a channel. */
typedef struct {
    const float *x, *scale;
    int n_scale;
} act_view;

static act_view act_look(const dt_tensor *t)
{
    const act_view v = { dt_values(t), t->scale, t->n_scale };
    return v;
}

__device__ static float real_value(act_view v, int64_t i)
{
    return dt_scale_at(v.scale, v.n_scale, v.n_scale > 1 ? i % v.n_scale : 0) * v.x[i];
}

static dt_grid act_grid(const dt_node *node)
{
    const dt_act_quant_params *p = (const dt_act_quant_params *)node->params;
    const int high = dt_act_high(p->bits, p->is_signed);
    const float count = (float)dt_step_count(node, dt_count(&node->out->shape));
    const dt_grid grid = { p->is_signed ? -high : 0, high, 1.0f / sqrtf(count * (float)high) };
    return grid;
}

/* One thread for each element; the first also writes the scale. */
__global__ static void act_quant_forward_kernel(act_view v, const float *alpha, dt_grid grid, dt_act_quant_params p,
                                                float *code, float *scale, int64_t count)
{
    const int64_t i = dt_thread();

    if (i == 0) *scale = dt_grid_scale(*alpha, grid.high, p.rule);
    if (i < count) code[i] = dt_act_code(real_value(v, i), *alpha, &grid, p.unclamped, p.rule);
}

/* Grid of DT_REDUCE_BLOCKS blocks that walk over the tensor. Gives to dx where it is not NULL; part[block] is the
 * block's share of dalpha. */
__global__ static void act_quant_backward_kernel(act_view v, const float *alpha, dt_grid grid, dt_act_quant_params p,
                                                 float ewgs, const float *g, float *dx, int fresh, double *part,
                                                 int64_t count)
{
    const float a = *alpha;
    double dalpha = 0.0;

    for (int64_t i = dt_thread(); i < count; i += dt_threads()) {
        const float x = real_value(v, i) / a;
        const dt_grid_slope slope = dt_act_unit_slope(x, &grid, p.unclamped, p.rule);
        const float scaled = ewgs > 0.0f ? g[i] * dt_act_ewgs_factor(x, g[i], &grid, p.rule, ewgs) : g[i];
        if (dx) dt_give(&dx[i], slope.value * scaled, fresh);
        dalpha += (double)(slope.alpha * g[i]);
    }
    dalpha = dt_block_sum(dalpha);
    if (threadIdx.x == 0) part[blockIdx.x] = dalpha;
}

/* One block, whose thread t has part[t]. */
__global__ static void give_dalpha_kernel(const double *part, float *dalpha, int fresh)
{
    static_assert((int)DT_REDUCE_BLOCKS == (int)DT_BLOCK, "one thread for each partial sum");
    const double sum = dt_block_sum(part[threadIdx.x]);

    if (threadIdx.x == 0) dt_give(dalpha, (float)sum, fresh);
}

static dt_status act_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)node;
    (void)ex;
    *scratch_bytes = DT_REDUCE_BLOCKS * sizeof(double);
    return DT_OK;
}

static dt_status act_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_act_quant_params *p = (const dt_act_quant_params *)node->params;
    const int64_t count = dt_count(&node->out->shape);

    DT_LAUNCH(act_quant_forward_kernel, dt_blocks(count, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex),
              act_look(node->in[0]), dt_values(node->in[1]), act_grid(node), *p, dt_values(node->out), node->out->scale,
              count);
    return DT_OK;
}

static dt_status act_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_act_quant_params *p = (const dt_act_quant_params *)node->params;
    const dt_tensor *x = node->in[0], *alpha = node->in[1];
    double *part = (double *)ex->scratch;

    DT_LAUNCH(act_quant_backward_kernel, DT_REDUCE_BLOCKS, DT_BLOCK, 0, dt_stream_of(ex), act_look(x), dt_values(alpha),
              act_grid(node), *p, node->purpose.ewgs, dt_grads(node->out), dt_grads(x), (int)(node->fresh & 1u), part,
              dt_count(&x->shape));
    if (!dt_grads(alpha)) return DT_OK;
    DT_LAUNCH(give_dalpha_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), part, dt_grads(alpha), (int)(node->fresh & 2u));
    return DT_OK;
}

const dt_kernel dt_cuda_act_quant = { act_quant_prepare, act_quant_forward, act_quant_backward, NULL, 3u };
