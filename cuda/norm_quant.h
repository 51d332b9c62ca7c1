/*
 * norm_quant.h - the parts of the kernels of norm_quant.cu: the node as they see it, sums over channels in a fixed
 *                order, pooling windows, the quantizer's division.
 *
 * Blocks. The channels are cut into tiles of at most DT_NQ_TILE channels, one for each blockIdx.y. A window takes as
 * many neighbouring threads (lanes) as a tile needs, of which each owns VEC channels; the next lanes have the next
 * window. All blocks walk over the windows together, so that memory is swept from one end to the other.
 *
 * Sums. Each block of a summing kernel, called a slice, leaves one row of partial sums. Each block of the next kernel
 * adds the rows of its own tile, all in the same order. The number of slices depends on the shapes alone.
 */
#ifndef DT_CUDA_NORM_QUANT_H
#define DT_CUDA_NORM_QUANT_H

#include "norm_sums.h"
#include "pack.h"

#include "../quant/norm_quant.h"

enum { DT_NQ_TILE = 32, DT_NQ_MAX_BLOCK = 1024 };

/* Further values of a kernel's template parameter RULE, beside those of dt_quant_rule. */
enum { DT_NQ_NO_QUANT = -1, DT_NQ_ANY_RULE = -2 };

typedef struct {
    const void *x; /* [rows][channels], in `type` */
    const float *scale;
    int n_scale;
    dt_dtype type; /* F32 or F16 */
    int rows;
    int64_t norm_rows; /* over which the statistics are: rows of all ranks, where they share them */
    int windows;       /* windows that have an element of y; without a pool the rows of x */
    int corners;       /* all windows, also those that the border cuts, which have no element of y */
    int channels, height, width, out_height, out_width;
    int pool;  /* side of a window; 1: there is no pool */
    int lanes; /* threads of a window: a power of two, at most 32 */
    int has_norm, training, has_relu;
    float most; /* upper limit of the ReLU; NaN: none */
    float epsilon, momentum;
    const float *gamma, *beta;
    float *running_mean, *running_var, *mean, *inv;
    const float *alpha; /* NULL: no quantizer */
    dt_grid grid;
    int unclamped;
    dt_quant_rule rule;
    float ewgs; /* dt_purpose.ewgs; kernels of DT_NQ_ANY_RULE alone read it */
} dt_nq_chain;

/* ---- places ---- */

typedef struct {
    int channel;     /* the first of the thread's VEC channels */
    int place;       /* its place in the tile */
    int first, step; /* the thread's first window, and the step to its next */
} dt_nq_place;

/* Returns the place of the calling thread. */
template <int VEC> __device__ static dt_nq_place dt_nq_place_of(const dt_nq_chain &s)
{
    const int lane = (int)threadIdx.x % s.lanes, n = (int)blockDim.x / s.lanes;
    dt_nq_place at;

    at.place = lane * VEC;
    at.channel = (int)blockIdx.y * s.lanes * VEC + at.place;
    at.first = (int)blockIdx.x * n + (int)threadIdx.x / s.lanes;
    at.step = (int)gridDim.x * n;
    return at;
}

/* Returns the channel at place i of the block's tile, or -1 if there is none. width is the channels of a tile. */
__device__ static inline int dt_nq_channel(const dt_nq_chain &s, int width, int i)
{
    const int c = (int)blockIdx.y * width + i;
    return i < width && c < s.channels ? c : -1;
}

/* ---- sums ---- */

/* Adds up two numbers for each channel of the tile over the threads of the block, and writes the sums to the block's
 * row of part, [slices][2][C]. Every thread must call it, with 0 where it has no channel. */
template <int VEC, class NUMBER>
__device__ static void dt_nq_add_columns(const dt_nq_chain &s, NUMBER *first, NUMBER *second, double *part)
{
    __shared__ double of_warp[DT_NQ_MAX_BLOCK / 32][2][DT_NQ_TILE];
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;

    for (int distance = 16; distance >= s.lanes; distance /= 2) {
        DT_UNROLL
        for (int j = 0; j < VEC; j++) {
            first[j] += __shfl_xor_sync(0xffffffffu, first[j], distance);
            second[j] += __shfl_xor_sync(0xffffffffu, second[j], distance);
        }
    }
    DT_UNROLL
    for (int j = 0; j < VEC; j++) {
        if (lane >= s.lanes) break;
        of_warp[warp][0][lane * VEC + j] = (double)first[j];
        of_warp[warp][1][lane * VEC + j] = (double)second[j];
    }
    __syncthreads();
    const int k = (int)threadIdx.x / DT_NQ_TILE, i = (int)threadIdx.x % DT_NQ_TILE;
    const int c = dt_nq_channel(s, s.lanes * VEC, i);
    if (k >= 2 || c < 0) return;
    double sum = 0.0;
    for (int w = 0; w < (int)blockDim.x / 32; w++) sum += of_warp[w][k][i];
    part[(2 * (int64_t)blockIdx.x + k) * s.channels + c] = sum;
}

/* Sets total[k][i] to the sum over the slices of part[slice][k][channel i of the tile]. Every thread must call it. */
__device__ static void dt_nq_add_slices(const dt_nq_chain &s, int width, const double *part, int slices,
                                        double (*total)[DT_NQ_TILE])
{
    __shared__ double share[DT_NQ_MAX_BLOCK];
    const int i = (int)threadIdx.x % DT_NQ_TILE, k = (int)threadIdx.x / DT_NQ_TILE % 2;
    const int shares = (int)blockDim.x / (2 * DT_NQ_TILE), c = dt_nq_channel(s, width, i);
    double sum = 0.0;

    DT_UNROLL_LOADS
    for (int slice = (int)threadIdx.x / (2 * DT_NQ_TILE); c >= 0 && slice < slices; slice += shares) {
        sum += part[(2 * (int64_t)slice + k) * s.channels + c];
    }
    share[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x < 2 * DT_NQ_TILE) {
        for (int n = 1; n < shares; n++) sum += share[n * 2 * DT_NQ_TILE + (int)threadIdx.x];
        total[k][i] = sum;
    }
    __syncthreads();
}

/* Returns the sum over the threads of the block, which is valid in thread 0. Every thread must call it. */
__device__ static inline double dt_nq_block_sum(double value)
{
    __shared__ double of_warp[DT_NQ_MAX_BLOCK / 32];

    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    for (int w = 1; threadIdx.x == 0 && w < (int)blockDim.x / 32; w++) value += of_warp[w];
    return value;
}

/* ---- what a block first computes for its tile ---- */

/* The lines of the tile's channels: z = a * q + b. */
typedef struct {
    float a[DT_NQ_TILE], b[DT_NQ_TILE];
} dt_nq_lines;

/* Sets mean and inv of channel c. In training they are the batch's, computed from the sums of its data and of their
 * squares; else they are the running ones. One block of each tile also stores them and moves the running ones. */
__device__ static void dt_nq_take_statistics(const dt_nq_chain &s, int c, double sum, double squares, float *mean,
                                             float *inv)
{
    const int writes = blockIdx.x == 0;

    if (s.training) {
        const dt_batchnorm_moments m =
            dt_batchnorm_moments_of(sum, squares, s.norm_rows, dt_scale_at(s.scale, s.n_scale, c));
        *mean = m.mean;
        *inv = dt_batchnorm_inv(m.var, s.epsilon);
        if (writes) s.running_mean[c] = dt_batchnorm_move(s.running_mean[c], m.mean, s.momentum);
        if (writes) s.running_var[c] = dt_batchnorm_move(s.running_var[c], m.var_unbiased, s.momentum);
    } else {
        *mean = s.running_mean[c];
        *inv = dt_batchnorm_inv(s.running_var[c], s.epsilon);
    }
    if (writes) s.mean[c] = *mean;
    if (writes) s.inv[c] = *inv;
}

/* Sets the lines of the tile. total is NULL in backward, which reads what forward has stored. Every thread must call
 * it. */
__device__ static void dt_nq_take_lines(const dt_nq_chain &s, int width, double (*total)[DT_NQ_TILE], dt_nq_lines *line)
{
    const int i = (int)threadIdx.x, c = dt_nq_channel(s, width, i);

    if (c >= 0) {
        dt_batchnorm_line own = { 1.0f, -0.0f }; /* 1 * q + -0 is q, also for q = -0 */
        if (s.has_norm) {
            float mean = total ? 0.0f : s.mean[c], inv = total ? 0.0f : s.inv[c];
            if (total) dt_nq_take_statistics(s, c, total[0][i], total[1][i], &mean, &inv);
            own = dt_batchnorm_fold(s.gamma[c], s.beta[c], mean, inv, dt_scale_at(s.scale, s.n_scale, c));
        }
        line->a[i] = own.a;
        line->b[i] = own.b;
    }
    __syncthreads();
}

/* One block, behind forward. A byte holds no NaN: a norm that has diverged, or a scale of x that is none, must show in
 * the loss, by way of y's scale. */
__global__ static void dt_nq_mark_diverged_kernel(dt_nq_chain s, float *y_scale)
{
    for (int c = (int)threadIdx.x; c < s.channels; c += (int)blockDim.x) {
        const float scale = dt_scale_at(s.scale, s.n_scale, c);
        dt_batchnorm_line line = { scale, 0.0f };
        if (s.has_norm) line = dt_batchnorm_fold(s.gamma[c], s.beta[c], s.mean[c], s.inv[c], scale);
        if (line.a != line.a || line.b != line.b) *y_scale = NAN;
    }
}

/* Where the gradients of the parameters go. Each may be NULL. */
typedef struct {
    float *dgamma, *dbeta, *dalpha;
    int gamma_fresh, beta_fresh, alpha_fresh;
    int alpha_parts; /* of which dalpha is the sum */
} dt_nq_gradients;

/* Computes the slopes of the tile's channels from the sums. One block of each tile gives dgamma and dbeta. In slope,
 * channel 0 of every lane comes first, then channel 1 and so on, so that lanes read different banks. Every thread must
 * call it. */
template <int VEC>
__device__ static void dt_nq_take_slopes(const dt_nq_chain &s, double (*total)[DT_NQ_TILE], dt_batchnorm_slope *slope,
                                         dt_nq_gradients to)
{
    const int i = (int)threadIdx.x, c = dt_nq_channel(s, s.lanes * VEC, i);

    if (c >= 0) {
        const float scale = dt_scale_at(s.scale, s.n_scale, c), mean = s.mean[c], inv = s.inv[c];
        const double dgamma = dt_batchnorm_dgamma(total[0][i], total[1][i], mean, inv, scale);
        dt_batchnorm_slope k = dt_batchnorm_slope_of(total[0][i], dgamma, s.norm_rows, s.gamma[c], mean, inv, scale);
        if (!s.training) k.mean_dy = k.slope = 0.0f;
        slope[i % VEC * s.lanes + i / VEC] = k;
        if (blockIdx.x == 0 && to.dgamma) dt_give(&to.dgamma[c], (float)dgamma, to.gamma_fresh);
        if (blockIdx.x == 0 && to.dbeta) dt_give(&to.dbeta[c], (float)total[0][i], to.beta_fresh);
    }
    __syncthreads();
}

/* One thread for each channel: gives dgamma and dbeta from the sums of this rank, total[2][C]. */
__global__ static void dt_nq_give_norm_kernel(dt_nq_chain s, const double *total, dt_nq_gradients to)
{
    const int64_t c = dt_thread();
    if (c >= s.channels) return;
    const float scale = dt_scale_at(s.scale, s.n_scale, c);
    const double dgamma = dt_batchnorm_dgamma(total[c], total[s.channels + c], s.mean[c], s.inv[c], scale);

    if (to.dgamma) dt_give(&to.dgamma[c], (float)dgamma, to.gamma_fresh);
    if (to.dbeta) dt_give(&to.dbeta[c], (float)total[c], to.beta_fresh);
}

/* Sets total, [2][C], to the sums over the slices of all ranks. In backward it gives dgamma and dbeta of this rank's
 * sums, since all ranks' gradients are summed later; in forward `to` is NULL. */
static inline dt_status dt_nq_share(const dt_nq_chain &s, const dt_exec *ex, const double *part, int slices,
                                    double *total, dt_nq_gradients *to)
{
    DT_TRY(dt_fold_slices(part, slices, s.channels, total, dt_stream_of(ex)));
    if (to) {
        DT_LAUNCH(dt_nq_give_norm_kernel, dt_blocks(s.channels, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), s, total,
                  *to);
        to->dgamma = to->dbeta = NULL;
    }
    return dt_norm_reduce(ex, total, 2 * s.channels);
}

/* Adds the sum of part[0..n-1] to *dalpha, or overwrites it where it is fresh. Every thread must call it. */
__device__ static void dt_nq_give_dalpha(const double *part, int n, float *dalpha, int fresh)
{
    double sum = 0.0;

    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) sum += part[i];
    sum = dt_nq_block_sum(sum);
    if (threadIdx.x == 0) dt_give(dalpha, (float)sum, fresh);
}

/* ---- windows ---- */

/* VEC channels of one pooling window. POOL is its side: 1: there is no pool; 0: any side, and cells are loaded only
 * when they are asked for. */
template <dt_dtype TYPE, int VEC, int POOL> struct dt_nq_window {
    enum { HELD = POOL ? POOL * POOL : 1 };
    int first;         /* row of x that is the first cell */
    int out;           /* row of y; -1: the window has none */
    int rows, columns; /* cells of the window that lie in x */
    dt_pack<VEC> held[HELD];
};

/* Returns the number of cells of a window. */
template <int POOL> __device__ static inline int dt_nq_cells(const dt_nq_chain &s)
{
    return POOL ? POOL * POOL : s.pool * s.pool;
}

/* Returns the index in x of channel c of a window's cell k. */
template <int POOL> __device__ static inline int64_t dt_nq_cell_at(const dt_nq_chain &s, int first, int k, int c)
{
    const int pool = POOL ? POOL : s.pool;
    return (int64_t)(first + k / pool * s.width + k % pool) * s.channels + c;
}

/* Returns 1 if cell k of the window lies in x. */
template <dt_dtype TYPE, int VEC, int POOL>
__device__ static inline int dt_nq_has_cell(const dt_nq_chain &s, const dt_nq_window<TYPE, VEC, POOL> &w, int k)
{
    const int pool = POOL ? POOL : s.pool;
    return POOL == 1 || (k / pool < w.rows && k % pool < w.columns);
}

/* Returns window number `at`, counted among those that have an element of y, or among all if corners is 1. c is the
 * thread's first channel. */
template <dt_dtype TYPE, int VEC, int POOL>
__device__ static dt_nq_window<TYPE, VEC, POOL> dt_nq_open(const dt_nq_chain &s, int at, int c, int corners)
{
    const int pool = POOL ? POOL : s.pool;
    dt_nq_window<TYPE, VEC, POOL> w;

    w.first = w.out = at;
    w.rows = w.columns = pool;
    if (POOL != 1) {
        const unsigned height = (unsigned)(corners ? (s.height + pool - 1) / pool : s.out_height);
        const unsigned width = (unsigned)(corners ? (s.width + pool - 1) / pool : s.out_width);
        const unsigned line = (unsigned)at / width, image = line / height;
        const int n = (int)image, p = (int)(line % height), q = (int)((unsigned)at % width);
        w.first = (n * s.height + p * pool) * s.width + q * pool;
        w.rows = min(pool, s.height - p * pool);
        w.columns = min(pool, s.width - q * pool);
        const int whole = w.rows == pool && w.columns == pool;
        w.out = whole ? (n * s.out_height + p) * s.out_width + q : -1;
    }
    DT_UNROLL
    for (int k = 0; k < w.HELD; k++) {
        w.held[k] = dt_pack_zero<VEC>();
        if (!POOL || !dt_nq_has_cell(s, w, k)) continue;
        w.held[k] = dt_pack_load<VEC>(s.x, TYPE, dt_nq_cell_at<POOL>(s, w.first, k, c));
    }
    return w;
}

/* Returns x in cell k, channel c + j, or 0 if the window does not have that cell. */
template <dt_dtype TYPE, int VEC, int POOL>
__device__ static inline float dt_nq_data(const dt_nq_chain &s, const dt_nq_window<TYPE, VEC, POOL> &w, int k, int j,
                                          int c)
{
    if (POOL) return dt_pack_value(w.held[POOL ? k : 0], TYPE, j);
    if (!dt_nq_has_cell(s, w, k)) return 0.0f;
    return dt_pack_value(dt_pack_load<VEC>(s.x, TYPE, dt_nq_cell_at<POOL>(s, w.first, k, c)), TYPE, j);
}

/* The largest value of a channel in a window, limited by the ReLU, and the first cell that had it, with its data. */
typedef struct {
    float value, data;
    int cell;
} dt_nq_peak;

/* Returns the peak of channel c + j, whose line is a and b. */
template <dt_dtype TYPE, int VEC, int POOL>
__device__ static dt_nq_peak dt_nq_find_peak(const dt_nq_chain &s, const dt_nq_window<TYPE, VEC, POOL> &w, int j, int c,
                                             float a, float b)
{
    dt_nq_peak top;

    top.cell = 0;
    top.data = dt_nq_data(s, w, 0, j, c);
    top.value = dt_norm_quant_value(top.data, a, b, 1, s.has_relu);
    if constexpr (POOL != 1) {
        DT_UNROLL
        for (int k = 1; k < dt_nq_cells<POOL>(s); k++) {
            const float data = dt_nq_data(s, w, k, j, c), value = dt_norm_quant_value(data, a, b, 1, s.has_relu);
            const int above = value > top.value;
            top.value = above ? value : top.value;
            top.data = above ? data : top.data;
            top.cell = above ? k : top.cell;
        }
    }
    top.value = top.value > s.most ? s.most : top.value;
    return top;
}

/* Returns 1 if the ReLU lets no gradient through where its value is v. */
__device__ static inline int dt_nq_is_limited(const dt_nq_chain &s, float v)
{
    return s.has_relu && (!(v > 0.0f) || v >= s.most);
}

/* ---- the quantizer ---- */

typedef struct {
    float alpha, reciprocal;
} dt_nq_divisor;

/* Returns alpha and 1 / alpha, or 1 if there is no quantizer. */
__device__ static inline dt_nq_divisor dt_nq_take_alpha(const dt_nq_chain &s)
{
    dt_nq_divisor d;

    d.alpha = s.alpha ? *s.alpha : 1.0f;
    d.reciprocal = 1.0f / d.alpha;
    return d;
}

/* Returns v / alpha, correctly rounded for alpha in 2^-60..2^60, in 7 instructions instead of a dozen and a branch. It
 * is v * (1 / alpha) with two corrections; the second rounds correctly, because 1 / alpha is rounded to the nearest.
 * The last bit may differ where the quotient is above 2^100, whose code is clipped, or below 2^-100, whose code is 0.
 * Source: Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", IBM Journal of
 * Research and Development 34(1), 1990. */
__device__ static inline float dt_nq_quotient(float v, dt_nq_divisor d)
{
    const float guess = v * d.reciprocal;
    const float once = fmaf(fmaf(-d.alpha, guess, v), d.reciprocal, guess);
    const float twice = fmaf(fmaf(-d.alpha, once, v), d.reciprocal, once);

    return fabsf(guess) < 0x1p100f ? twice : guess; /* infinity and NaN stay */
}

/* Multiplies *value by the scale of channel c if there is no norm, because it is still an integer then. Kernels with
 * VEC > 1 are for nodes that have a norm. */
template <int VEC> __device__ static inline void dt_nq_make_real(const dt_nq_chain &s, int c, float *value)
{
    if (VEC > 1 || s.has_norm) return;
    value[0] = dt_scale_at(s.scale, s.n_scale, c) * value[0];
}

/* Replaces VEC values by their codes. */
template <int VEC>
__device__ static inline void dt_nq_make_codes(const dt_nq_chain &s, dt_nq_divisor d, dt_quant_rule rule, float *value)
{
    DT_UNROLL
    for (int j = 0; j < VEC; j++) {
        value[j] = dt_act_unit_code(dt_nq_quotient(value[j], d), &s.grid, s.unclamped, rule);
    }
}

/* Returns the quantizer's factors on the gradient g at the value v; without a quantizer 1 and 0. */
template <int RULE>
__device__ static dt_grid_slope dt_nq_slope_at(const dt_nq_chain &s, float v, float g, dt_nq_divisor d)
{
    if (RULE == DT_NQ_NO_QUANT || (RULE == DT_NQ_ANY_RULE && !s.alpha)) {
        const dt_grid_slope straight = { 1.0f, 0.0f };
        return straight;
    }
    const dt_quant_rule rule = RULE == DT_NQ_ANY_RULE ? s.rule : (dt_quant_rule)RULE;
    const float x = dt_nq_quotient(v, d);
    dt_grid_slope slope = dt_act_unit_slope(x, &s.grid, s.unclamped, rule);

    if (RULE == DT_NQ_ANY_RULE && s.ewgs > 0.0f) slope.value *= dt_act_ewgs_factor(x, g, &s.grid, rule, s.ewgs);
    return slope;
}

#endif /* DT_CUDA_NORM_QUANT_H */
