/*
 * weight_quant.cu - CUDA kernels of the weight quantizer; see quant/weight_quant.c, and quant/grid.h for the
 * arithmetic.
 *
 * A set is what shares one alpha: all filters, or one. Sums over a set are taken piece by piece, a block a piece, then
 * by one thread a set, in order. Scratch: [sets][pieces] partial sums, then [sets] means, all in double.
 */
#include "reduce.h"

#include "../quant/grid.h"

enum { PIECE = 4096 }; /* weights that one block sums */

/* aux: of each set */
typedef struct {
    float mean, deviation;
} filter_stats;

/* w seen as n_sets sets of `count` weights, each set as pieces */
typedef struct {
    int64_t n_sets, count, pieces;
    dt_grid grid;
    dt_quant_rule rule;
} set_shape;

static set_shape sets_of(const dt_node *node)
{
    const dt_weight_quant_params *p = (const dt_weight_quant_params *)node->params;
    set_shape s;

    s.n_sets = node->out->n_scale;
    s.count = dt_count(&node->out->shape) / s.n_sets;
    s.pieces = (s.count + PIECE - 1) / PIECE;
    s.grid.low = (int)node->out->qmin;
    s.grid.high = (int)node->out->qmax;
    s.grid.step_factor = 1.0f / sqrtf((float)s.count * (float)s.grid.high);
    s.rule = p->rule;
    return s;
}

/* The weights of this block's piece: [first, end) of w. Blocks go through the pieces of a set, then the next set. */
__device__ static void piece_range(const set_shape *s, int64_t *first, int64_t *end)
{
    const int64_t set = blockIdx.x / s->pieces, at = blockIdx.x % s->pieces * PIECE;

    *first = set * s->count + at;
    *end = set * s->count + (at + PIECE < s->count ? at + PIECE : s->count);
}

/* A block for each piece: part[block] = sum of (w - mean)^power, power 1 or 2. mean: [sets], or NULL for 0. */
__global__ static void piece_sum_kernel(const float *w, set_shape s, const double *mean, int power, double *part)
{
    const double shift = mean ? mean[blockIdx.x / s.pieces] : 0.0;
    int64_t first, end;
    double sum = 0.0;

    piece_range(&s, &first, &end);
    for (int64_t i = first + threadIdx.x; i < end; i += DT_BLOCK) {
        const double d = (double)w[i] - shift;
        sum += power == 1 ? d : d * d;
    }
    sum = dt_block_sum(sum);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__device__ static double add_pieces(const double *part, int64_t set, int64_t pieces)
{
    double sum = 0.0;

    for (int64_t i = 0; i < pieces; i++) sum += part[set * pieces + i];
    return sum;
}

/* one thread for each set */
__global__ static void mean_kernel(const double *part, set_shape s, double *mean)
{
    const int64_t set = dt_thread();

    if (set < s.n_sets) mean[set] = add_pieces(part, set, s.pieces) / (double)s.count;
}

/* One thread for each set, whose sums of squares are in part. LSQ does not standardise, and has NULL there. */
__global__ static void stats_kernel(const double *part, const double *mean, set_shape s, const float *alpha,
                                    filter_stats *stats, float *scale)
{
    const int64_t set = dt_thread();
    if (set >= s.n_sets) return;
    filter_stats st = { 0.0f, 1.0f };

    if (part) {
        st.mean = (float)mean[set];
        st.deviation = (float)sqrt(add_pieces(part, set, s.pieces) / (double)(s.count - 1));
    }
    stats[set] = st;
    scale[set] = dt_grid_scale(alpha[set], s.grid.high, s.rule);
}

/* one thread for each weight */
__global__ static void code_kernel(const float *w, const float *alpha, const filter_stats *stats, set_shape s,
                                   float *code)
{
    const int64_t i = dt_thread();
    if (i >= s.n_sets * s.count) return;
    const int64_t set = i / s.count;

    const float x = dt_weight_unit(w[i], stats[set].mean, stats[set].deviation, alpha[set], s.rule);
    code[i] = dt_weight_code(x, &s.grid, s.rule);
}

/* A block for each piece. Adds into dw where it is not NULL; part[block] is the piece's share of dalpha. */
__global__ static void weight_backward_kernel(const float *w, const float *alpha, const filter_stats *stats,
                                              set_shape s, const float *g, float *dw, double *part)
{
    const int64_t set = blockIdx.x / s.pieces;
    const filter_stats st = stats[set];
    const float a = alpha[set];
    int64_t first, end;
    double dalpha = 0.0;

    piece_range(&s, &first, &end);
    for (int64_t i = first + threadIdx.x; i < end; i += DT_BLOCK) {
        const float x = dt_weight_unit(w[i], st.mean, st.deviation, a, s.rule);
        const dt_grid_slope slope = dt_weight_slope(x, &s.grid, s.rule);
        if (dw) dw[i] += slope.value * g[i] / st.deviation;
        dalpha += (double)(slope.alpha * g[i]);
    }
    dalpha = dt_block_sum(dalpha);
    if (threadIdx.x == 0) part[blockIdx.x] = dalpha;
}

/* one thread for each set; adds into dalpha */
__global__ static void add_dalpha_kernel(const double *part, set_shape s, float *dalpha)
{
    const int64_t set = dt_thread();

    if (set < s.n_sets) dalpha[set] += (float)add_pieces(part, set, s.pieces);
}

static dt_status weight_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const set_shape s = sets_of(node);
    (void)ex;

    *scratch_bytes = (size_t)(s.n_sets * (s.pieces + 1)) * sizeof(double);
    return DT_OK;
}

/* Leaves the sums of squares about the mean in part. */
static dt_status sum_sets(const float *w, const set_shape *s, double *part, double *mean, cudaStream_t stream)
{
    const unsigned pieces = (unsigned)(s->n_sets * s->pieces);

    DT_LAUNCH(piece_sum_kernel, pieces, DT_BLOCK, 0, stream, w, *s, (const double *)NULL, 1, part);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(mean_kernel, dt_blocks(s->n_sets, DT_BLOCK), DT_BLOCK, 0, stream, part, *s, mean);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(piece_sum_kernel, pieces, DT_BLOCK, 0, stream, w, *s, mean, 2, part);
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status weight_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const set_shape s = sets_of(node);
    const cudaStream_t stream = dt_stream_of(ex);
    const float *w = dt_values(node->in[0]), *alpha = dt_values(node->in[1]);
    filter_stats *stats = (filter_stats *)node->aux;
    double *part = (double *)ex->scratch, *mean = part + s.n_sets * s.pieces;

    if (s.rule == DT_RULE_LSQ)
        part = NULL;
    else
        DT_TRY(sum_sets(w, &s, part, mean, stream));
    DT_LAUNCH(stats_kernel, dt_blocks(s.n_sets, DT_BLOCK), DT_BLOCK, 0, stream, part, mean, s, alpha, stats,
              node->out->scale);
    DT_CUDA_LAUNCHED();
    DT_LAUNCH(code_kernel, dt_blocks(s.n_sets * s.count, DT_BLOCK), DT_BLOCK, 0, stream, w, alpha, stats, s,
              dt_values(node->out));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

static dt_status weight_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const set_shape s = sets_of(node);
    const dt_tensor *w = node->in[0], *alpha = node->in[1];
    double *part = (double *)ex->scratch;

    DT_LAUNCH(weight_backward_kernel, (unsigned)(s.n_sets * s.pieces), DT_BLOCK, 0, dt_stream_of(ex), dt_values(w),
              dt_values(alpha), (const filter_stats *)node->aux, s, dt_grads(node->out), dt_grads(w), part);
    DT_CUDA_LAUNCHED();
    if (!dt_grads(alpha)) return DT_OK;
    DT_LAUNCH(add_dalpha_kernel, dt_blocks(s.n_sets, DT_BLOCK), DT_BLOCK, 0, dt_stream_of(ex), part, s,
              dt_grads(alpha));
    DT_CUDA_LAUNCHED();
    return DT_OK;
}

extern "C" const dt_kernel dt_cuda_weight_quant;
const dt_kernel dt_cuda_weight_quant = { weight_quant_prepare, weight_quant_forward, weight_quant_backward, NULL, 0 };
