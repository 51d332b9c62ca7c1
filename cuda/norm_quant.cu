/*
 * norm_quant.cu - CUDA kernels of batch norm, ReLU, max-pool and activation quantizer in one; see quant/norm_quant.c,
 *                 quant/norm_quant.h for the arithmetic, norm_quant.h for how blocks and sums are laid out, and
 *                 norm_quant_chain.h for what a kernel gets.
 *
 * A training step launches four kernels for a node, of few rows three, and an evaluation one (forward). The table has
 * the bytes for each element of x and of y with everything in F16, and the time of the 13 nodes of VGG16 choke 16 with
 * batches of 512. An image has 260,608 elements of x and 166,912 of y. The rate is 2.64 TB/s (0.88 of what an H100
 * copies), with nothing found in the L2 cache:
 *
 *   kernel          x    y    MB     all      first node (64 channels of 32x32)   second (pooled)
 *   sums            2         267    101 us   25 us                               25 us
 *   forward         2    2    438    166 us   51 us                               32 us
 *   gradient_sums   2    2    438    166 us   51 us                               32 us
 *   backward        4    2    705    267 us   76 us                               57 us
 *
 * The kernels that sum walk from the end of memory to its beginning, and the kernels behind them from the beginning to
 * the end. So each finds in the cache what the kernel before it touched last.
 *
 * Instructions cost nearly as much as bytes. In the machine code for sm_90, without a pool, an element of x takes about
 * 6 for sums, 25 for forward, 30 for gradient_sums and 34 for backward. If every cycle issued one, that would be 7, 29,
 * 35 and 40 us for the first node. Therefore nothing is divided by alpha, and there is one branch on a type for each
 * load and not for each value.
 *
 * Scratch is [slices][2][C] partial sums, and in backward [tiles][slices] parts of dalpha behind them, all in double;
 * at its end [2][C] sums, where ranks share the statistics.
 */
#include "norm_quant_chain.h"

extern "C" {
#include "cuda_device.h"
}

enum {
    FORWARD_BLOCK = 1024,
    BACKWARD_BLOCK = 512,
    SUM_BLOCKS = 132,   /* of a launch that sums: of any GPU, as the order of sums is part of the result */
    MAX_RUN = 256,      /* windows whose gradients a thread adds in f32 */
    ROWS_AT_ONCE = 4,   /* that a thread loads before it works on the first */
    WINDOWS_AT_ONCE = 2 /* of one cell */
};

/* Leaves the block's row of part: part[slice][0][c] = sum of x over the slice, part[slice][1][c] = sum of x * x: exact
 * while x are codes and the sum is below 2^53 units. Every thread must call it. */
template <dt_dtype TYPE, int VEC> __device__ static void sum_rows(const dt_nq_chain &s, double *part)
{
    const dt_nq_place at = dt_nq_place_of<VEC>(s);
    double sum[VEC], squares[VEC];

    DT_UNROLL
    for (int j = 0; j < VEC; j++) sum[j] = squares[j] = 0.0;
    for (int r = s.rows - 1 - at.first; r >= 0 && at.channel < s.channels; r -= ROWS_AT_ONCE * at.step) {
        dt_pack<VEC> x[ROWS_AT_ONCE];
        DT_UNROLL
        for (int u = 0; u < ROWS_AT_ONCE; u++) {
            const int row = r - u * at.step;
            x[u] = dt_pack_zero<VEC>();
            if (row >= 0) x[u] = dt_pack_load<VEC>(s.x, TYPE, (int64_t)row * s.channels + at.channel);
        }
        DT_UNROLL
        for (int u = 0; u < ROWS_AT_ONCE; u++) {
            DT_UNROLL
            for (int j = 0; j < VEC; j++) {
                const double q = (double)dt_pack_value(x[u], TYPE, j);
                sum[j] += q;
                squares[j] = fma(q, q, squares[j]); /* q * q is exact */
            }
        }
    }
    dt_nq_add_columns<VEC>(s, sum, squares, part);
}

/* Grid: x slices, y tiles. */
template <dt_dtype TYPE, int VEC>
__global__ static void __launch_bounds__(FORWARD_BLOCK, 1) sums_kernel(dt_nq_chain s, double *part)
{
    sum_rows<TYPE, VEC>(s, part);
}

/* Grid: x blocks that walk over the windows of y, y tiles. A thread owns VEC channels of its windows. The block first
 * works out the statistics of its tile; the first block writes the scale. If is_alone is 1, a tile has one block, which
 * also makes the sums. */
template <dt_dtype TYPE, int VEC, int POOL>
__global__ static void __launch_bounds__(FORWARD_BLOCK, 1)
    forward_kernel(dt_nq_chain s, double *part, int slices, int is_alone, void *y, dt_dtype y_type, float *y_scale)
{
    constexpr int AT_ONCE = POOL == 1 ? (int)WINDOWS_AT_ONCE : 1;
    __shared__ double total[2][DT_NQ_TILE];
    __shared__ dt_nq_lines line;
    const dt_nq_place at = dt_nq_place_of<VEC>(s);
    const dt_nq_divisor d = dt_nq_take_alpha(s);
    float a[VEC], b[VEC];

    if (is_alone) sum_rows<TYPE, VEC>(s, part);
    if (is_alone) __syncthreads();
    if (s.has_norm && s.training) dt_nq_add_slices(s, s.lanes * VEC, part, slices, total);
    dt_nq_take_lines(s, s.lanes * VEC, total, &line);
    if (dt_thread() == 0 && blockIdx.y == 0 && s.alpha) *y_scale = dt_grid_scale(d.alpha, s.grid.high, s.rule);
    if (at.channel >= s.channels) return;
    DT_UNROLL
    for (int j = 0; j < VEC; j++) {
        a[j] = line.a[at.place + j];
        b[j] = line.b[at.place + j];
    }
    for (int first = at.first; first < s.windows; first += AT_ONCE * at.step) {
        dt_nq_window<TYPE, VEC, POOL> w[AT_ONCE];
        DT_UNROLL
        for (int u = 0; u < AT_ONCE; u++) {
            w[u] = dt_nq_open<TYPE, VEC, POOL>(s, min(first + u * at.step, s.windows - 1), at.channel, 0);
        }
        DT_UNROLL
        for (int u = 0; u < AT_ONCE; u++) {
            float code[VEC];
            DT_UNROLL
            for (int j = 0; j < VEC; j++) code[j] = dt_nq_find_peak(s, w[u], j, at.channel, a[j], b[j]).value;
            if (s.alpha) {
                dt_nq_make_real<VEC>(s, at.channel, code);
                if (s.rule == DT_RULE_LSQ)
                    dt_nq_make_codes<VEC>(s, d, DT_RULE_LSQ, code);
                else
                    dt_nq_make_codes<VEC>(s, d, DT_RULE_ECE284, code); /* the clip rules round alike */
            }
            if (first + u * at.step >= s.windows) continue;
            const int64_t to = (int64_t)w[u].out * s.channels + at.channel;
            dt_pack_store(y, y_type, to, dt_pack_of_codes<VEC>(code, y_type));
        }
    }
}

/* Grid: x slices, y tiles. part[slice][0][c] = sum of dz over the slice, part[slice][1][c] = sum of dz * x, where dz is
 * the gradient of batch norm's output; alpha_part[tile][slice] = the block's share of dalpha. */
template <dt_dtype TYPE, int VEC, int POOL, int RULE>
__global__ static void __launch_bounds__(BACKWARD_BLOCK, 1)
    gradient_sums_kernel(dt_nq_chain s, const void *dy, dt_dtype dy_type, double *part, double *alpha_part)
{
    constexpr int AT_ONCE = POOL == 1 ? (int)WINDOWS_AT_ONCE : 1;
    __shared__ dt_nq_lines line;
    const dt_nq_place at = dt_nq_place_of<VEC>(s);
    const dt_nq_divisor d = dt_nq_take_alpha(s);
    float a[VEC], b[VEC], sum[VEC], product[VEC];
    double dalpha = 0.0;

    dt_nq_take_lines(s, s.lanes * VEC, NULL, &line);
    DT_UNROLL
    for (int j = 0; j < VEC; j++) {
        a[j] = line.a[at.place + j];
        b[j] = line.b[at.place + j];
        sum[j] = product[j] = 0.0f;
    }
    for (int last = s.windows - 1 - at.first; last >= 0 && at.channel < s.channels; last -= AT_ONCE * at.step) {
        dt_nq_window<TYPE, VEC, POOL> w[AT_ONCE];
        dt_pack<VEC> packed[AT_ONCE];
        DT_UNROLL
        for (int u = 0; u < AT_ONCE; u++) {
            const int i = last - u * at.step;
            w[u] = dt_nq_open<TYPE, VEC, POOL>(s, max(i, 0), at.channel, 0);
            packed[u] = dt_pack_zero<VEC>();
            if (i >= 0) packed[u] = dt_pack_load<VEC>(dy, dy_type, (int64_t)w[u].out * s.channels + at.channel);
        }
        DT_UNROLL
        for (int u = 0; u < AT_ONCE; u++) {
            float g[VEC], v[VEC], data[VEC], of_alpha = 0.0f;
            dt_pack_values(packed[u], dy_type, g);
            DT_UNROLL
            for (int j = 0; j < VEC; j++) {
                const dt_nq_peak top = dt_nq_find_peak(s, w[u], j, at.channel, a[j], b[j]);
                v[j] = top.value;
                data[j] = top.data;
            }
            dt_nq_make_real<VEC>(s, at.channel, v);
            DT_UNROLL
            for (int j = 0; j < VEC; j++) {
                const dt_grid_slope slope = dt_nq_slope_at<RULE>(s, v[j], g[j], d);
                const float dz = dt_nq_is_limited(s, v[j]) ? 0.0f : slope.value * g[j];
                of_alpha += slope.alpha * g[j];
                sum[j] += dz;
                product[j] = fmaf(dz, data[j], product[j]);
            }
            dalpha += (double)of_alpha;
        }
    }
    dt_nq_add_columns<VEC>(s, sum, product, part);
    dalpha = dt_nq_block_sum(dalpha);
    if (threadIdx.x == 0) alpha_part[blockIdx.y * gridDim.x + blockIdx.x] = dalpha;
}

/* Grid: x blocks that walk over the windows and those that the border cuts off, y tiles. A thread owns VEC channels of
 * its windows and gives to their dx. The block first works out the slopes of its tile; the first block gives dalpha.
 */
template <dt_dtype TYPE, int VEC, int POOL, int RULE>
__global__ static void __launch_bounds__(BACKWARD_BLOCK, 1)
    backward_kernel(dt_nq_chain s, const void *dy, dt_dtype dy_type, void *dx, dt_dtype dx_type, int fresh,
                    const double *part, int slices, const double *alpha_part, dt_nq_gradients to)
{
    constexpr int AT_ONCE = POOL == 1 ? (int)WINDOWS_AT_ONCE : 1;
    __shared__ double total[2][DT_NQ_TILE];
    __shared__ dt_nq_lines line;
    __shared__ dt_batchnorm_slope slope[DT_NQ_TILE];
    const dt_nq_place at = dt_nq_place_of<VEC>(s);
    const dt_nq_divisor d = dt_nq_take_alpha(s);
    const int lane = at.place / VEC;
    float a[VEC], b[VEC];

    if (s.has_norm) dt_nq_add_slices(s, s.lanes * VEC, part, slices, total);
    if (s.has_norm) dt_nq_take_slopes<VEC>(s, total, slope, to);
    dt_nq_take_lines(s, s.lanes * VEC, NULL, &line);
    if (to.dalpha && blockIdx.x == 0 && blockIdx.y == 0)
        dt_nq_give_dalpha(alpha_part, to.alpha_parts, to.dalpha, to.alpha_fresh);
    if (!dx || at.channel >= s.channels) return;
    DT_UNROLL
    for (int j = 0; j < VEC; j++) {
        a[j] = line.a[at.place + j];
        b[j] = line.b[at.place + j];
    }
    for (int first = at.first; first < s.corners; first += AT_ONCE * at.step) {
        dt_nq_window<TYPE, VEC, POOL> w[AT_ONCE];
        dt_pack<VEC> packed[AT_ONCE];
        DT_UNROLL
        for (int u = 0; u < AT_ONCE; u++) {
            w[u] = dt_nq_open<TYPE, VEC, POOL>(s, min(first + u * at.step, s.corners - 1), at.channel, 1);
            packed[u] = dt_pack_zero<VEC>();
            if (w[u].out < 0) continue;
            packed[u] = dt_pack_load<VEC>(dy, dy_type, (int64_t)w[u].out * s.channels + at.channel);
        }
        DT_UNROLL
        for (int u = 0; u < AT_ONCE; u++) {
            float dv[VEC], v[VEC];
            unsigned cells = 0; /* of the peaks, 32 / VEC bits each */
            dt_pack_values(packed[u], dy_type, dv);
            DT_UNROLL
            for (int j = 0; j < VEC; j++) {
                const dt_nq_peak top = dt_nq_find_peak(s, w[u], j, at.channel, a[j], b[j]);
                v[j] = top.value;
                cells |= (unsigned)top.cell << 32 / VEC * j;
            }
            dt_nq_make_real<VEC>(s, at.channel, v);
            DT_UNROLL
            for (int j = 0; j < VEC; j++) {
                dv[j] *= dt_nq_slope_at<RULE>(s, v[j], dv[j], d).value;
                if (dt_nq_is_limited(s, v[j])) dv[j] = 0.0f;
            }
            if (first + u * at.step >= s.corners) continue;
            asm volatile("" ::: "memory"); /* slopes are read here, not before the loop: registers are short */
            DT_UNROLL
            for (int k = 0; k < dt_nq_cells<POOL>(s); k++) {
                const int64_t cell = dt_nq_cell_at<POOL>(s, w[u].first, k, at.channel);
                float result[VEC];
                if (!dt_nq_has_cell(s, w[u], k)) continue;
                DT_UNROLL
                for (int j = 0; j < VEC; j++) {
                    const unsigned peak = cells >> 32 / VEC * j & ~0u >> (32 - 32 / VEC);
                    result[j] = dt_norm_quant_dx(dt_nq_data(s, w[u], k, j, at.channel), 1.0f,
                                                 peak == (unsigned)k ? dv[j] : 0.0f, slope[j * s.lanes + lane],
                                                 VEC > 1 || s.has_norm, 0);
                }
                if (!fresh) {
                    float before[VEC];
                    dt_pack_values(dt_pack_load<VEC>(dx, dx_type, cell), dx_type, before);
                    DT_UNROLL
                    for (int j = 0; j < VEC; j++) result[j] = before[j] + result[j];
                }
                dt_pack_store(dx, dx_type, cell, dt_pack_of<VEC>(result, dx_type));
            }
        }
    }
}

/* How a node is run. */
typedef struct {
    dt_nq_chain s;
    const dt_node *node;
    cudaStream_t stream;
    int vec, tiles;
    int slices, gradient_slices; /* of the two kernels that sum */
    const dt_exec *ex;
    double *part;
    double *total; /* [2][C] sums of all ranks; NULL: statistics are of this rank alone */
} chain_run;

/* Blocks, `most` of all tiles together, that share n rows or windows, of which a block has `threads` at once and a
 * thread `each`. */
static int share(int n, int threads, int each, int most, int tiles)
{
    const int wanted = (int)dt_blocks(n, threads * each), of_tile = most / tiles < 1 ? 1 : most / tiles;
    return wanted < of_tile ? wanted : of_tile;
}

/* A block fills a multiprocessor, so that a launch that does not sum has one for each. */
static int blocks_at_once(const chain_run &r)
{
    return ((const dt_cuda_device *)r.ex->device)->multiprocessors;
}

/* Doubles of the partial sums, in forward and in backward. */
static int64_t own_room(const chain_run &r)
{
    const int64_t forward = (int64_t)2 * r.slices * r.s.channels;
    const int64_t backward = (int64_t)r.gradient_slices * (2 * r.s.channels + r.tiles);
    return forward > backward ? forward : backward;
}

/* 16 bytes of x at a time behind a norm, if the channels allow, by windows of 1 and of 2 x 2; everything else a channel
 * at a time, by any window. */
static chain_run look(const dt_node *node, const dt_exec *ex)
{
    chain_run r = {};
    r.s = look_at_chain(node);
    const int wide = r.s.type == DT_F16 ? 8 : 4;

    r.vec = r.s.has_norm && r.s.pool <= 2 && r.s.channels % wide == 0 ? wide : 1;
    r.s.lanes = 1;
    while (r.s.lanes * r.vec < r.s.channels && r.s.lanes * r.vec < DT_NQ_TILE) r.s.lanes *= 2;
    r.tiles = (int)dt_blocks(r.s.channels, r.s.lanes * r.vec);
    r.slices = share(r.s.rows, FORWARD_BLOCK / r.s.lanes, ROWS_AT_ONCE, SUM_BLOCKS, r.tiles);
    r.gradient_slices = share(r.s.windows, BACKWARD_BLOCK / r.s.lanes, ROWS_AT_ONCE, SUM_BLOCKS, r.tiles);
    const int least = (int)dt_blocks(r.s.windows, BACKWARD_BLOCK / r.s.lanes * MAX_RUN);
    if (r.gradient_slices < least) r.gradient_slices = least;
    r.node = node;
    r.stream = dt_stream_of(ex);
    r.ex = ex;
    r.part = (double *)ex->scratch;
    if (r.part && dt_norm_is_shared(node)) r.total = r.part + own_room(r); /* in prepare there is no scratch yet */
    return r;
}

static dim3 grid_of(const chain_run &r, int blocks)
{
    return dim3((unsigned)blocks, (unsigned)r.tiles);
}

/* PASS::run<type, vec, pool>(r), as the node needs it. */
template <class PASS> static dt_status by_kind(const chain_run &r)
{
    const int half = r.s.type == DT_F16;

    if (r.vec == 1) return half ? PASS::template run<DT_F16, 1, 0>(r) : PASS::template run<DT_F32, 1, 0>(r);
    if (r.s.pool == 1) return half ? PASS::template run<DT_F16, 8, 1>(r) : PASS::template run<DT_F32, 4, 1>(r);
    return half ? PASS::template run<DT_F16, 8, 2>(r) : PASS::template run<DT_F32, 4, 2>(r);
}

struct forward_pass {
    template <dt_dtype TYPE, int VEC, int POOL> static dt_status run(const chain_run &r)
    {
        const dt_tensor *y = r.node->out;
        const int sums = r.s.has_norm && r.s.training, shares = sums && r.total;
        const int is_alone = sums && !shares && r.slices == 1; /* few rows: a launch would cost more than it does */
        const int blocks = share(r.s.windows, FORWARD_BLOCK / r.s.lanes, WINDOWS_AT_ONCE, blocks_at_once(r), r.tiles);

        if (sums && !is_alone) {
            DT_LAUNCH((sums_kernel<TYPE, VEC>), grid_of(r, r.slices), FORWARD_BLOCK, 0, r.stream, r.s, r.part);
        }
        if (shares) DT_TRY(dt_nq_share(r.s, r.ex, r.part, r.slices, r.total, NULL));
        DT_LAUNCH((forward_kernel<TYPE, VEC, POOL>), grid_of(r, is_alone ? 1 : blocks), FORWARD_BLOCK, 0, r.stream, r.s,
                  shares ? r.total : r.part, shares ? 1 : r.slices, is_alone, y->data, y->type, y->scale);
        if (dt_type_bytes(y->type) == 1) {
            DT_LAUNCH(dt_nq_mark_diverged_kernel, 1, DT_BLOCK, 0, r.stream, r.s, y->scale);
        }
        return DT_OK;
    }
};

template <dt_dtype TYPE, int VEC, int POOL, int RULE> static dt_status backward_by_rule(const chain_run &r)
{
    const dt_norm_quant_params *p = (const dt_norm_quant_params *)r.node->params;
    const dt_tensor *x = r.node->in[DT_NQ_X], *y = r.node->out;
    const int blocks =
        x->grad ? share(r.s.corners, BACKWARD_BLOCK / r.s.lanes, WINDOWS_AT_ONCE, blocks_at_once(r), r.tiles) : 1;
    double *alpha_part = r.part + (int64_t)2 * r.gradient_slices * r.s.channels;
    dt_nq_gradients to = {};

    if (p->has_norm) to.dgamma = dt_grads(r.node->in[DT_NQ_GAMMA]);
    if (p->has_norm) to.dbeta = dt_grads(r.node->in[DT_NQ_BETA]);
    if (p->has_quant) to.dalpha = dt_grads(r.node->in[dt_norm_quant_alpha(p)]);
    to.gamma_fresh = (int)(r.node->fresh & 1u << DT_NQ_GAMMA);
    to.beta_fresh = (int)(r.node->fresh & 1u << DT_NQ_BETA);
    to.alpha_fresh = (int)(r.node->fresh & 1u << dt_norm_quant_alpha(p));
    to.alpha_parts = r.gradient_slices * r.tiles;
    if (p->has_norm || to.dalpha) {
        DT_LAUNCH((gradient_sums_kernel<TYPE, VEC, POOL, RULE>), grid_of(r, r.gradient_slices), BACKWARD_BLOCK, 0,
                  r.stream, r.s, y->grad, y->grad_type, r.part, alpha_part);
    }
    const int shares = p->has_norm && r.s.training && r.total;
    if (shares) DT_TRY(dt_nq_share(r.s, r.ex, r.part, r.gradient_slices, r.total, &to));
    DT_LAUNCH((backward_kernel<TYPE, VEC, POOL, RULE>), grid_of(r, blocks), BACKWARD_BLOCK, 0, r.stream, r.s, y->grad,
              y->grad_type, x->grad, x->grad_type, (int)(r.node->fresh & 1u), shares ? r.total : r.part,
              shares ? 1 : r.gradient_slices, alpha_part, to);
    return DT_OK;
}

/* The kernels that a fast training runs are compiled for each rule, the others for all of them; so are those that scale
 * gradients element by element, so that nobody else pays for it. */
struct backward_pass {
    template <dt_dtype TYPE, int VEC, int POOL> static dt_status run(const chain_run &r)
    {
        if constexpr (VEC < 8) {
            return backward_by_rule<TYPE, VEC, POOL, DT_NQ_ANY_RULE>(r);
        } else {
            if (!r.s.alpha) return backward_by_rule<TYPE, VEC, POOL, DT_NQ_NO_QUANT>(r);
            if (r.s.ewgs > 0.0f) return backward_by_rule<TYPE, VEC, POOL, DT_NQ_ANY_RULE>(r);
            switch (r.s.rule) {
            case DT_RULE_ECE284: return backward_by_rule<TYPE, VEC, POOL, DT_RULE_ECE284>(r);
            case DT_RULE_APOT: /* of activations, as SCREAM */
            case DT_RULE_SCREAM: return backward_by_rule<TYPE, VEC, POOL, DT_RULE_SCREAM>(r);
            case DT_RULE_PACT: return backward_by_rule<TYPE, VEC, POOL, DT_RULE_PACT>(r);
            case DT_RULE_LSQ:
            case DT_RULE_AFFINE:
            case DT_RULE_QKERAS: break; /* of no single quantizer */
            }
            return backward_by_rule<TYPE, VEC, POOL, DT_RULE_LSQ>(r);
        }
    }
};

static int is_gradient_type(dt_dtype type)
{
    return type == DT_F32 || type == DT_BF16 || type == DT_F16;
}

static dt_status check_types(const dt_node *node)
{
    const dt_tensor *x = node->in[DT_NQ_X], *y = node->out;
    const int64_t low = y->type == DT_I8 ? -128 : 0, high = y->type == DT_I8 ? 127 : 255;
    const int is_byte = y->type == DT_U8 || y->type == DT_I8, is_half = y->type == DT_F16 || y->type == DT_BF16;

    DT_CHECK((x->type == DT_F32 || x->type == DT_F16) && (y->type == DT_F32 || is_half || is_byte), DT_ERR_UNSUPPORTED,
             "%s: norm_quant from type %d to type %d; CUDA takes f32 and f16, and gives bf16 and bytes too", node->name,
             (int)x->type, (int)y->type);
    DT_CHECK(!is_byte || (y->n_scale > 0 && y->qmin >= low && y->qmax <= high), DT_ERR_UNSUPPORTED,
             "%s: norm_quant: y is stored in bytes of %lld..%lld, its codes are %lld..%lld", node->name, (long long)low,
             (long long)high, (long long)y->qmin, (long long)y->qmax);
    DT_CHECK(is_gradient_type(x->grad_type) && is_gradient_type(y->grad_type), DT_ERR_UNSUPPORTED,
             "%s: norm_quant: gradients of types %d and %d; CUDA has f32, bf16 and f16", node->name, (int)x->grad_type,
             (int)y->grad_type);
    return DT_OK;
}

static dt_status norm_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const dt_shape *x = &node->in[DT_NQ_X]->shape;
    char text[64];

    DT_TRY(check_types(node));
    DT_CHECK(dt_rows(x) < 1 << 30, DT_ERR_UNSUPPORTED,
             "%s: norm_quant: x is %s, and CUDA takes less than 2^30 rows; use a smaller batch", node->name,
             dt_shape_text(x, text, sizeof text));
    const chain_run r = look(node, ex);
    *scratch_bytes = (size_t)(own_room(r) + dt_norm_room(node, r.s.channels)) * sizeof(double);
    return DT_OK;
}

static dt_status norm_quant_forward(const dt_node *node, const dt_exec *ex)
{
    return by_kind<forward_pass>(look(node, ex));
}

static dt_status norm_quant_backward(const dt_node *node, const dt_exec *ex)
{
    return by_kind<backward_pass>(look(node, ex));
}

const dt_kernel dt_cuda_norm_quant = { norm_quant_prepare, norm_quant_forward, norm_quant_backward, NULL,
                                       DT_NQ_OVERWRITES,   DT_READS_OUT,       DT_READS_IN(DT_NQ_X) };
