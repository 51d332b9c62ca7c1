/*
 * weight_quant.cu - CUDA kernels of the weight quantizer; see quant/weight_quant.c, and core/arith/grid.h for the
 *                   arithmetic.
 *
 * A launch takes the layers of a group (quant/weight_quant.h). Each block has a piece of some layer, so that small
 * layers need no launch of their own. The blocks that need the sum of a set's pieces compute it.
 */
#include "reduce.h"
#include "weight_gradient.h"

static_assert((int)DT_BLOCK == (int)DT_WEIGHT_LANES, "the CPU sums on as many accumulators as a block has threads");

/* Sum of n doubles, in all threads of the block; the order is dt_weight_sum's. */
__device__ static double block_total(const double *v, int n)
{
    __shared__ double total;
    double sum = 0.0;

    if (n == 1) return v[0];
    for (int i = threadIdx.x; i < n; i += DT_BLOCK) sum += v[i];
    sum = dt_block_sum(sum);
    if (threadIdx.x == 0) total = sum;
    __syncthreads();
    sum = total;
    __syncthreads(); /* total may be used again by the next call */
    return sum;
}

/* a block for each piece; leaves its sums of w and of w^2 */
__global__ static void weight_sum_kernel(const __grid_constant__ dt_weight_group g)
{
    const dt_weight_piece p = dt_weight_piece_at(&g, (int)blockIdx.x);
    const dt_weight_layer *l = &g.layer[p.layer];
    const float *w = l->w + p.first;
    double sum = 0.0, square = 0.0;

    if (l->has_sums) return;
    for (int i = threadIdx.x; i < p.n; i += DT_BLOCK) {
        const double v = (double)w[i];
        sum += v;
        square += v * v;
    }
    sum = dt_block_sum(sum);
    square = dt_block_sum(square);
    if (threadIdx.x > 0) return;
    l->sums[p.part] = sum;
    l->sums[l->n_sets * l->pieces + p.part] = square;
}

__device__ static dt_weight_stats set_stats(const dt_weight_layer *l, int set)
{
    const double *sum = l->sums + set * l->pieces, *square = sum + l->n_sets * l->pieces;
    const dt_weight_stats real = { 0.0f, 1.0f };

    if (l->rule == DT_RULE_LSQ) return real; /* does not standardise */
    const double total = block_total(sum, l->pieces);
    return dt_weight_stats_of(total, block_total(square, l->pieces), l->count);
}

__device__ static void store(void *to, dt_dtype type, int64_t i, float value)
{
    if (type == DT_F16)
        ((__half *)to)[i] = __float2half_rn(value);
    else
        ((float *)to)[i] = value;
}

/* Stores the value of code i. That of the last channel has those of 0 behind it. */
__device__ static void store_at(const dt_weight_layer *l, void *to, int64_t i, float value)
{
    const int64_t at = dt_weight_place(l, i);

    store(to, l->type, at, value);
    if (l->stored == l->channels || i % l->channels + 1 < l->channels) return;
    for (int k = 1; k <= l->stored - l->channels; k++) store(to, l->type, at + k, 0.0f);
}

/* A block for each piece: codes, and real values where they are wanted. The first piece of a set leaves its statistics
 * and scale, and the scale of the layer's psums. */
__global__ static void weight_code_kernel(const __grid_constant__ dt_weight_group g)
{
    const dt_weight_piece p = dt_weight_piece_at(&g, (int)blockIdx.x);
    const dt_weight_layer *l = &g.layer[p.layer];
    const dt_weight_stats st = set_stats(l, p.set);
    const float alpha = l->alpha[p.set], scale = dt_grid_scale(alpha, l->grid.high, l->rule);

    for (int first = threadIdx.x; first < p.n; first += DT_AT_ONCE * DT_BLOCK) {
        float w[DT_AT_ONCE];
        dt_load_some(w, l->w + p.first, first, p.n);
        for (int k = 0; k < DT_AT_ONCE; k++) {
            const int i = first + k * DT_BLOCK;
            const float x = dt_weight_unit(w[k], st.mean, st.deviation, alpha, l->rule);
            const float code = dt_weight_code(x, &l->grid, l->rule);
            if (i >= p.n) continue;
            store_at(l, l->code, p.first + i, code);
            if (l->real) store_at(l, l->real, p.first + i, code * scale);
        }
    }
    if (threadIdx.x > 0 || p.part % l->pieces > 0) return;
    const dt_psum_scale *psum = &l->psum;
    l->stats[p.set] = st;
    l->scale[p.set] = scale;
    if (psum->to) psum->to[p.set] = psum->unit * (dt_grid_scale(*psum->alpha, psum->high, psum->rule) * scale);
}

/* A block for each piece. Gives dw where it is not NULL, and leaves the piece's share of dalpha. */
__global__ static void weight_backward_kernel(const __grid_constant__ dt_weight_group g, const dt_step *step)
{
    const dt_weight_pull pull = { step->in.ewgs, 0.0f };
    const dt_weight_piece p = dt_weight_piece_at(&g, (int)blockIdx.x);
    const dt_weight_layer *l = &g.layer[p.layer];
    const dt_weight_stats st = l->stats[p.set];
    const float alpha = l->alpha[p.set];
    float *dw = l->dw ? l->dw + p.first : NULL;
    double share = 0.0;

    for (int first = threadIdx.x; first < p.n; first += DT_AT_ONCE * DT_BLOCK) {
        float w[DT_AT_ONCE], g_code[DT_AT_ONCE];
        dt_load_some(w, l->w + p.first, first, p.n);
        dt_load_gradients(g_code, l, &p, first);
        for (int k = 0; k < DT_AT_ONCE; k++) {
            const int i = first + k * DT_BLOCK;
            if (i >= p.n) continue;
            const float x = dt_weight_unit(w[k], st.mean, st.deviation, alpha, l->rule);
            const int is_frozen = dt_weight_is_frozen(l, p.first + i);
            const dt_grid_slope slope = dt_weight_slope_of(x, &l->grid, l->rule, is_frozen);
            if (dw) {
                const float scale = dt_grid_scale(alpha, l->grid.high, l->rule);
                const float d =
                    dt_weight_pulled(x, slope.value, g_code[k], st.deviation, scale, &l->grid, l->rule, pull);
                dt_give(&dw[i], d, l->fresh & 1);
            }
            share += (double)(slope.alpha * g_code[k]);
        }
    }
    share = dt_block_sum(share);
    if (threadIdx.x == 0) l->dshare[p.part] = share;
}

/* a block for each set */
__global__ static void weight_dalpha_kernel(const __grid_constant__ dt_weight_group g)
{
    const int layer = dt_weight_layer_of_set(&g, (int)blockIdx.x), set = (int)blockIdx.x - g.layer[layer].first_set;
    const dt_weight_layer *l = &g.layer[layer];

    if (!l->dalpha) return;
    const double dalpha = block_total(l->dshare + set * l->pieces, l->pieces);
    if (threadIdx.x == 0) dt_give(&l->dalpha[set], (float)dalpha, l->fresh & 2);
}

static dt_status weight_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = dt_weight_sums_bytes(node);
    return DT_OK;
}

static dt_status weight_quant_forward_all(const dt_node *const *node, int n, const dt_exec *ex)
{
    const cudaStream_t stream = dt_stream_of(ex);
    char *scratch = (char *)ex->scratch;
    dt_weight_group g;

    for (int i = 0; i < n; i++) {
        const dt_dtype type = node[i]->out->type;
        DT_CHECK(type == DT_F32 || type == DT_F16, DT_ERR_UNSUPPORTED, "%s: codes of type %d; CUDA has F32 and F16",
                 node[i]->name, (int)type);
    }
    for (int i = 0; i < n;) {
        i += dt_weight_group_of(node + i, n - i, &scratch, &g);
        if (!g.has_sums) DT_LAUNCH(weight_sum_kernel, (unsigned)g.n_pieces, DT_BLOCK, 0, stream, g);
        DT_LAUNCH(weight_code_kernel, (unsigned)g.n_pieces, DT_BLOCK, 0, stream, g);
    }
    return DT_OK;
}

static dt_status weight_quant_forward(const dt_node *node, const dt_exec *ex)
{
    return weight_quant_forward_all(&node, 1, ex);
}

static dt_status weight_quant_backward_all(const dt_node *const *node, int n, const dt_exec *ex)
{
    const cudaStream_t stream = dt_stream_of(ex);
    char *scratch = (char *)ex->scratch;
    dt_weight_group g;

    for (int i = 0; i < n;) {
        i += dt_weight_group_of(node + i, n - i, &scratch, &g);
        DT_LAUNCH(weight_backward_kernel, (unsigned)g.n_pieces, DT_BLOCK, 0, stream, g, ex->step);
        DT_LAUNCH(weight_dalpha_kernel, (unsigned)g.n_sets, DT_BLOCK, 0, stream, g);
    }
    return DT_OK;
}

static dt_status weight_quant_backward(const dt_node *node, const dt_exec *ex)
{
    return weight_quant_backward_all(&node, 1, ex);
}

const dt_kernel dt_cuda_weight_quant = {
    weight_quant_prepare,     weight_quant_forward,     weight_quant_backward, NULL, 3, 0, 0,
    weight_quant_forward_all, weight_quant_backward_all
};
