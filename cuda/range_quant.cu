/*
 * range_quant.cu - CUDA kernels of the affine activation quantizer; see quant/range_quant.c, and core/arith/range.h for
 *                  the arithmetic.
 *
 * Scratch: DT_REDUCE_BLOCKS pairs of doubles for each input that counts: the ends of what each block saw; or its shares
 * of dmin and dmax.
 */
#include "reduce.h"

#include "../core/grid_facts.h"
#include "../core/arith/range.h"

enum { X, RANGE, OTHERS };

static_assert((int)DT_REDUCE_BLOCKS == (int)DT_BLOCK, "one thread for each pair of the scratch");

/* What is quantized: real values, or codes with a scale, or with one a channel. */
typedef struct {
    const float *x, *scale;
    int n_scale;
    int64_t count;
} range_view;

static range_view range_look(const dt_tensor *t)
{
    const range_view v = { dt_values(t), t->scale, t->n_scale, dt_count(&t->shape) };
    return v;
}

__device__ static float real_value(range_view v, int64_t i)
{
    return dt_scale_at(v.scale, v.n_scale, v.n_scale > 1 ? i % v.n_scale : 0) * v.x[i];
}

/* The smaller number, or NaN if one is NaN. */
__device__ static double least_of(double a, double b)
{
    return b < a || b != b ? b : a;
}

/* Grid of DT_REDUCE_BLOCKS blocks that walk over x. end[2 block] is the least of its values and 0, and
 * end[2 block + 1] the largest, negated. */
__global__ static void range_ends_kernel(range_view v, double *end)
{
    double min = 0.0, max = 0.0;

    for (int64_t i = dt_thread(); i < v.count; i += dt_threads()) {
        const double value = (double)real_value(v, i);
        min = least_of(min, value);
        max = least_of(max, -value);
    }
    min = dt_block_join<double, least_of>(min);
    max = dt_block_join<double, least_of>(max);
    if (threadIdx.x > 0) return;
    end[2 * blockIdx.x] = min;
    end[2 * blockIdx.x + 1] = max;
}

/* One block, whose thread t has pair t of each of n lists of ends: the range moves. */
__global__ static void range_move_kernel(const double *end, int n, float decay, float *range)
{
    double min = 0.0, max = 0.0;

    for (int k = 0; k < n; k++) {
        min = least_of(min, end[2 * (k * DT_REDUCE_BLOCKS + threadIdx.x)]);
        max = least_of(max, end[2 * (k * DT_REDUCE_BLOCKS + threadIdx.x) + 1]);
    }
    min = dt_block_join<double, least_of>(min);
    max = -dt_block_join<double, least_of>(max);
    if (threadIdx.x > 0) return;
    range[0] = dt_range_move(range[0], (float)min, decay);
    range[1] = dt_range_move(range[1], (float)max, decay);
}

/* One thread for each element; the first also leaves the scale and the grid. */
__global__ static void range_quant_forward_kernel(range_view v, const float *range, int bits, int is_positive,
                                                  float *code, float *scale, dt_range_grid *kept)
{
    const int64_t i = dt_thread();
    const dt_range_grid grid = dt_range_grid_of(range[0], range[1], bits, is_positive);

    if (i == 0) {
        *scale = grid.scale;
        *kept = grid;
    }
    if (i < v.count) code[i] = dt_range_code(real_value(v, i), &grid);
}

/* Grid of DT_REDUCE_BLOCKS blocks that walk over x. Gives to dx where it is not NULL; share has each block's part of
 * dmin and of dmax. */
__global__ static void range_quant_backward_kernel(range_view v, const dt_range_grid *kept, const float *g, float *dx,
                                                   int fresh, double *share)
{
    const dt_range_grid grid = *kept;
    double below = 0.0, above = 0.0;

    for (int64_t i = dt_thread(); i < v.count; i += dt_threads()) {
        const int side = dt_range_side(real_value(v, i), &grid);
        if (dx) dt_give(&dx[i], side == 0 ? g[i] : 0.0f, fresh);
        if (side < 0) below += (double)g[i];
        if (side > 0) above += (double)g[i];
    }
    below = dt_block_sum(below);
    above = dt_block_sum(above);
    if (threadIdx.x > 0) return;
    share[2 * blockIdx.x] = below;
    share[2 * blockIdx.x + 1] = above;
}

/* One block, whose thread t has pair t of share. has_min, has_max: 1: that end has a gradient; 0: it is 0. */
__global__ static void give_range_kernel(const double *share, int has_min, int has_max, float *drange, int fresh)
{
    const double below = dt_block_sum(share[2 * threadIdx.x]), above = dt_block_sum(share[2 * threadIdx.x + 1]);

    if (threadIdx.x > 0) return;
    dt_give(&drange[0], has_min ? (float)below : 0.0f, fresh);
    dt_give(&drange[1], has_max ? (float)above : 0.0f, fresh);
}

static dt_status range_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)(node->n_in - 1) * 2 * DT_REDUCE_BLOCKS * sizeof(double);
    return DT_OK;
}

static dt_status move_range(const dt_node *node, double *end, cudaStream_t stream)
{
    const dt_range_quant_params *p = (const dt_range_quant_params *)node->params;
    int n = 0;

    for (int k = 0; k < node->n_in; k++) {
        if (k == RANGE) continue;
        DT_LAUNCH(range_ends_kernel, DT_REDUCE_BLOCKS, DT_BLOCK, 0, stream, range_look(node->in[k]),
                  end + 2 * DT_REDUCE_BLOCKS * n++);
    }
    DT_LAUNCH(range_move_kernel, 1, DT_BLOCK, 0, stream, end, n, p->decay, dt_values(node->in[RANGE]));
    return DT_OK;
}

static dt_status range_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_range_quant_params *p = (const dt_range_quant_params *)node->params;
    const range_view v = range_look(node->in[X]);
    const cudaStream_t stream = dt_stream_of(ex);
    float *range = dt_values(node->in[RANGE]);

    if (p->update == DT_RANGE_AVERAGE && node->purpose.training)
        DT_TRY(move_range(node, (double *)ex->scratch, stream));
    DT_LAUNCH(range_quant_forward_kernel, dt_blocks(v.count, DT_BLOCK), DT_BLOCK, 0, stream, v, range, p->bits,
              p->is_positive, dt_values(node->out), node->out->scale, (dt_range_grid *)node->aux);
    return DT_OK;
}

static dt_status range_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_range_quant_params *p = (const dt_range_quant_params *)node->params;
    const int learns = p->update == DT_RANGE_LEARNED;
    float *drange = dt_grads(node->in[RANGE]);
    double *share = (double *)ex->scratch;

    DT_LAUNCH(range_quant_backward_kernel, DT_REDUCE_BLOCKS, DT_BLOCK, 0, dt_stream_of(ex), range_look(node->in[X]),
              (const dt_range_grid *)node->aux, dt_grads(node->out), dt_grads(node->in[X]),
              (int)(node->fresh & 1u << X), share);
    if (!drange) return DT_OK;
    DT_LAUNCH(give_range_kernel, 1, DT_BLOCK, 0, dt_stream_of(ex), share, learns && !p->is_positive, learns, drange,
              (int)(node->fresh & 1u << RANGE));
    return DT_OK;
}

const dt_kernel dt_cuda_range_quant = { range_quant_prepare, range_quant_forward, range_quant_backward, NULL,
                                        1u << X | 1u << RANGE };
