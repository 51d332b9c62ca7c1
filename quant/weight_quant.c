/*
 * weight_quant.c - filters to integer codes: standardise, clip at alpha, round half to even.
 *
 * The formulas, the gradient rules and their sources are in grid.h. Mean and deviation are those of the whole filter
 * set, or of each filter when alpha has one value a filter; they are summed in double, in a fixed order, and rounded to
 * f32 once. Everything after that is the notebook's f32 arithmetic, bit for bit.
 *
 * Shapes: w K,.. ; alpha 1 or K, > 0; codes as w, scale as alpha.
 * CUDA: cuda/weight_quant.cu.  Tests: tests/test_weight_quant.c.
 */
#include "../core/op.h"
#include "grid.h"

/* aux: of the whole set, or of each filter */
typedef struct {
    float mean, deviation;
} filter_stats;

/* Elements one thread sums at a time; sums of such pieces are added in order, whatever the number of threads. */
enum { PIECE = 4096, LANES = 256 };

static int is_standardised(dt_quant_rule rule)
{
    return rule != DT_RULE_LSQ;
}

static dt_status weight_quant_infer(dt_node *node)
{
    const dt_weight_quant_params *p = node->params;
    const dt_tensor *w = node->in[0], *alpha = node->in[1];
    const int64_t n_alpha = dt_count(&alpha->shape), K = w->shape.dim[0];

    DT_CHECK(p->bits >= 2 && p->bits <= 8, DT_ERR_ARGUMENT, "%s: weights of %d bits, allowed are 2..8", node->name,
             p->bits);
    DT_CHECK(w->shape.ndim >= 2 && w->n_scale == 0, DT_ERR_SHAPE, "%s: weight_quant wants real filters K,..",
             node->name);
    DT_CHECK(n_alpha == 1 || n_alpha == K, DT_ERR_SHAPE, "%s: %lld clip alphas for %lld filters; 1 or one a filter",
             node->name, (long long)n_alpha, (long long)K);
    DT_CHECK(dt_count(&w->shape) / n_alpha >= 2 || !is_standardised(p->rule), DT_ERR_SHAPE,
             "%s: a deviation needs at least 2 weights", node->name);
    node->out->type = DT_F32;
    node->out->shape = w->shape;
    node->out->n_scale = (int)n_alpha;
    node->out->qmin = dt_weight_low(p->bits, p->rule);
    node->out->qmax = dt_weight_high(p->bits);
    node->aux_bytes = (size_t)n_alpha * sizeof(filter_stats);
    return DT_OK;
}

const dt_op dt_op_weight_quant = {
    .name = "weight_quant",
    .min_in = 2,
    .max_in = 2,
    .params_bytes = sizeof(dt_weight_quant_params),
    .backward_reads = DT_READS_IN(0) | DT_READS_AUX,
    .infer = weight_quant_infer,
};

/* w seen as n_sets sets of `count` values, each with its own alpha, and each set as pieces */
typedef struct {
    int64_t n_sets, count, pieces;
    dt_grid grid;
} set_shape;

static set_shape sets_of(const dt_node *node)
{
    set_shape s = { .n_sets = node->out->n_scale };
    s.count = dt_count(&node->out->shape) / s.n_sets;
    s.pieces = (s.count + PIECE - 1) / PIECE;
    s.grid =
        (dt_grid){ (int)node->out->qmin, (int)node->out->qmax, 1.0f / sqrtf((float)s.count * (float)node->out->qmax) };
    return s;
}

static dt_status weight_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    const set_shape s = sets_of(node);
    (void)ex;
    *scratch_bytes = (size_t)(s.n_sets * s.pieces) * sizeof(double);
    return DT_OK;
}

/* Sum over a piece of (w - shift)^power, power 1 or 2, on LANES accumulators that are then folded by halves: the order
 * of the GPU's blocks (cuda/reduce.h), so that both find the same bits. */
static double piece_sum(const float *w, int64_t n, double shift, int power)
{
    double lane[LANES] = { 0.0 };

    for (int64_t first = 0; first < n; first += LANES) {
        const int64_t count = n - first < LANES ? n - first : LANES;
        for (int64_t i = 0; i < count; i++) {
            const double d = (double)w[first + i] - shift;
            lane[i] += power == 1 ? d : d * d;
        }
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    }
    return lane[0];
}

static double set_sum(const float *w, const set_shape *s, double shift, int power, double *part)
{
    double sum = 0.0;
#pragma omp parallel for if (s->pieces > 1)
    for (int64_t i = 0; i < s->pieces; i++) {
        const int64_t left = s->count - i * PIECE;
        part[i] = piece_sum(w + i * PIECE, left < PIECE ? left : PIECE, shift, power);
    }
    for (int64_t i = 0; i < s->pieces; i++) sum += part[i];
    return sum;
}

static filter_stats stats_of(const float *w, const set_shape *s, double *part)
{
    const double mean = set_sum(w, s, 0.0, 1, part) / (double)s->count;
    const double variance = set_sum(w, s, mean, 2, part) / (double)(s->count - 1);
    return (filter_stats){ (float)mean, (float)sqrt(variance) };
}

static dt_status weight_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_weight_quant_params *p = node->params;
    const set_shape s = sets_of(node);
    const float *w = node->in[0]->data, *alpha = node->in[1]->data;
    float *code = node->out->data;
    filter_stats *stats = node->aux;

    for (int64_t k = 0; k < s.n_sets; k++) {
        const float *from = w + k * s.count;
        float *to = code + k * s.count;
        const float a = alpha[k];
        const filter_stats st =
            is_standardised(p->rule) ? stats_of(from, &s, ex->scratch) : (filter_stats){ 0.0f, 1.0f };
        const dt_quant_rule rule = p->rule;
        const dt_grid grid = s.grid;

#pragma omp parallel for if (s.pieces > 1)
        for (int64_t i = 0; i < s.count; i++) {
            to[i] = dt_weight_code(dt_weight_unit(from[i], st.mean, st.deviation, a, rule), &grid, rule);
        }
        stats[k] = st;
        node->out->scale[k] = dt_grid_scale(a, grid.high, rule);
    }
    return DT_OK;
}

/* dw of one piece; returns its share of dalpha. The rule is a constant wherever this is inlined, and the sum has LANES
 * accumulators: so the loop has no branch and vectorises. */
static inline double piece_backward(const float *w, const float *g, int64_t n, const filter_stats *st, float alpha,
                                    const dt_grid *grid, dt_quant_rule rule, float *dw)
{
    double lane[LANES] = { 0.0 }, dalpha = 0.0;

    for (int64_t first = 0; first < n; first += LANES) {
        const int64_t count = n - first < LANES ? n - first : LANES;
        for (int64_t i = 0; i < count; i++) {
            const float gi = g[first + i];
            const float x = dt_weight_unit(w[first + i], st->mean, st->deviation, alpha, rule);
            const dt_grid_slope slope = dt_weight_slope(x, grid, rule);
            dw[first + i] += slope.value * gi / st->deviation;
            lane[i] += (double)(slope.alpha * gi);
        }
    }
    for (int i = 0; i < LANES; i++) dalpha += lane[i];
    return dalpha;
}

static double piece_by_rule(const float *w, const float *g, int64_t n, const filter_stats *st, float alpha,
                            const dt_grid *grid, dt_quant_rule rule, float *dw)
{
    switch (rule) {
    case DT_RULE_APOT: return piece_backward(w, g, n, st, alpha, grid, DT_RULE_APOT, dw);
    case DT_RULE_SCREAM: return piece_backward(w, g, n, st, alpha, grid, DT_RULE_SCREAM, dw);
    case DT_RULE_LSQ: return piece_backward(w, g, n, st, alpha, grid, DT_RULE_LSQ, dw);
    case DT_RULE_ECE284:
    case DT_RULE_PACT: break; /* PACT's weights are ECE284's */
    }
    return piece_backward(w, g, n, st, alpha, grid, DT_RULE_ECE284, dw);
}

static dt_status weight_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_weight_quant_params *p = node->params;
    const set_shape s = sets_of(node);
    const float *w = node->in[0]->data, *alpha = node->in[1]->data, *g = node->out->grad;
    float *dw = node->in[0]->grad, *dalpha = node->in[1]->grad;
    const filter_stats *stats = node->aux;
    double *part = ex->scratch;

#pragma omp parallel for
    for (int64_t j = 0; j < s.n_sets * s.pieces; j++) {
        const int64_t k = j / s.pieces, in_set = j % s.pieces * PIECE, at = k * s.count + in_set;
        const int64_t left = s.count - in_set;
        part[j] =
            piece_by_rule(w + at, g + at, left < PIECE ? left : PIECE, &stats[k], alpha[k], &s.grid, p->rule, dw + at);
    }
    for (int64_t j = 0; dalpha && j < s.n_sets; j++) {
        double sum = 0.0;
        for (int64_t i = 0; i < s.pieces; i++) sum += part[j * s.pieces + i];
        dalpha[j] += (float)sum;
    }
    return DT_OK;
}

const dt_kernel dt_cpu_weight_quant = { .prepare = weight_quant_prepare,
                                        .forward = weight_quant_forward,
                                        .backward = weight_quant_backward };
