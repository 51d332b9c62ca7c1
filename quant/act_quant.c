/*
 * act_quant.c - activations to integer codes: clip at alpha, round half to even.
 *
 * The formulas, the gradient rules and their sources are in grid.h. x may itself be a grid tensor, a psum that no batch
 * norm took off the grid (features.27 of the chokepoint): then v = scale * x, of the channel.
 *
 * Shapes: x any, channels last; alpha 1, > 0; codes as x, scale 1.
 * CUDA: cuda/act_quant.cu.  Tests: tests/quant/test_act_quant.c.
 */
#include "../core/op.h"
#include "../core/grid_facts.h"
#include "../core/arith/grid.h"

/* Elements one thread takes at a time: alpha's gradient is summed piece by piece, in order. */
enum { PIECE = 4096, LANES = 64 };

static dt_status act_quant_infer(dt_node *node)
{
    const dt_act_quant_params *p = node->params;
    const dt_tensor *x = node->in[0];

    DT_CHECK(p->bits >= 2 && p->bits <= 8, DT_ERR_ARGUMENT, "%s: activations of %d bits, allowed are 2..8", node->name,
             p->bits);
    DT_CHECK(dt_count(&node->in[1]->shape) == 1, DT_ERR_SHAPE, "%s: act_quant takes one alpha, got %lld", node->name,
             (long long)dt_count(&node->in[1]->shape));
    node->out->type = DT_F32;
    node->out->shape = x->shape;
    node->out->qmax = dt_act_high(p->bits, p->is_signed);
    node->out->qmin = dt_act_low(p->bits, p->is_signed, p->unclamped);
    dt_scale_follows(node->out, node->in[1], dt_clip_form((int)node->out->qmax, p->rule));
    return DT_OK;
}

static const dt_field act_quant_fields[] = {
    { DT_MEMBER(dt_act_quant_params, bits), DT_INT(2, 8) },
    { DT_MEMBER(dt_act_quant_params, is_signed), DT_INT(0, 1) },
    { DT_MEMBER(dt_act_quant_params, unclamped), DT_INT(0, 1) },
    { DT_MEMBER(dt_act_quant_params, rule), DT_FIELD_WORD, 0, DT_RULE_LSQ, dt_quant_rule_names, 0 },
};

const dt_op dt_op_act_quant = {
    .name = "act_quant",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_act_quant_params, act_quant_fields),
    .backward_reads = DT_READS_IN(0),
    .infer = act_quant_infer,
};

static dt_grid act_grid(const dt_node *node)
{
    const dt_act_quant_params *p = node->params;
    const int high = dt_act_high(p->bits, p->is_signed);
    const float count = (float)dt_step_count(node, dt_count(&node->out->shape));
    return (dt_grid){ p->is_signed ? -high : 0, high, 1.0f / sqrtf(count * (float)high) };
}

static int64_t n_pieces(const dt_node *node)
{
    return (dt_count(&node->out->shape) + PIECE - 1) / PIECE;
}

static dt_status act_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = (size_t)n_pieces(node) * sizeof(double);
    return DT_OK;
}

static dt_status act_quant_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_act_quant_params p = *(const dt_act_quant_params *)node->params;
    const dt_grid grid = act_grid(node);
    const int64_t n = dt_count(&node->out->shape), pieces = n_pieces(node);
    const float alpha = *(const float *)node->in[1]->data;
    float *code = node->out->data;
    (void)ex;

#pragma omp parallel for
    for (int64_t j = 0; j < pieces; j++) {
        const int64_t at = j * PIECE, count = n - at < PIECE ? n - at : PIECE;
        float v[PIECE];
        dt_real_values(node->in[0], at, count, v);
        for (int64_t i = 0; i < count; i++) code[at + i] = dt_act_code(v[i], alpha, &grid, p.unclamped, p.rule);
    }
    node->out->scale[0] = dt_grid_scale(alpha, grid.high, p.rule);
    return DT_OK;
}

/* n elements: their real values, the gradients of their codes, and where their own go. */
typedef struct {
    const float *v, *g;
    float *dx;
    int64_t n;
    int fresh; /* 1: dx is overwritten */
    float ewgs;
} piece;

/* dx of one piece; returns its share of dalpha. The rule and is_scaled, which is 1 where ewgs is above 0, are constants
 * wherever this is inlined, and the sum has LANES accumulators: so the loop has no branch and vectorises. */
static inline double piece_scaled(const piece *p, float alpha, const dt_grid *grid, int unclamped, dt_quant_rule rule,
                                  int is_scaled)
{
    const float *v = p->v, *g = p->g;
    float *dx = p->dx;
    const int64_t n = p->n;
    const int fresh = p->fresh;
    const float ewgs = p->ewgs;
    double lane[LANES] = { 0.0 }, dalpha = 0.0;

    for (int64_t first = 0; first < n; first += LANES) {
        const int64_t count = n - first < LANES ? n - first : LANES;
        for (int64_t i = 0; i < count; i++) {
            const float gi = g[first + i];
            const float x = v[first + i] / alpha;
            const dt_grid_slope slope = dt_act_unit_slope(x, grid, unclamped, rule);
            const float scaled = is_scaled ? gi * dt_act_ewgs_factor(x, gi, grid, rule, ewgs) : gi;
            dx[first + i] = fresh ? slope.value * scaled : dx[first + i] + slope.value * scaled;
            lane[i] += (double)(slope.alpha * gi);
        }
    }
    for (int i = 0; i < LANES; i++) dalpha += lane[i];
    return dalpha;
}

/* By the loop that scales gradients or by the one that does not. */
static inline double piece_backward(const piece *p, float alpha, const dt_grid *grid, int unclamped, dt_quant_rule rule)
{
    return p->ewgs > 0.0f ? piece_scaled(p, alpha, grid, unclamped, rule, 1)
                          : piece_scaled(p, alpha, grid, unclamped, rule, 0);
}

static double piece_by_rule(const piece *p, float alpha, const dt_grid *grid, const dt_act_quant_params *params)
{
    const int unclamped = params->unclamped;

    switch (params->rule) {
    case DT_RULE_ECE284: return piece_backward(p, alpha, grid, unclamped, DT_RULE_ECE284);
    case DT_RULE_APOT: /* of activations, as SCREAM */
    case DT_RULE_SCREAM: return piece_backward(p, alpha, grid, unclamped, DT_RULE_SCREAM);
    case DT_RULE_PACT: return piece_backward(p, alpha, grid, unclamped, DT_RULE_PACT);
    case DT_RULE_LSQ:
    case DT_RULE_AFFINE:
    case DT_RULE_QKERAS: break; /* of no single quantizer */
    }
    return piece_backward(p, alpha, grid, unclamped, DT_RULE_LSQ);
}

static dt_status act_quant_backward(const dt_node *node, const dt_exec *ex)
{
    const dt_act_quant_params *p = node->params;
    const dt_grid grid = act_grid(node);
    const int64_t n = dt_count(&node->out->shape), pieces = n_pieces(node);
    const float *g = node->out->grad;
    const float alpha = *(const float *)node->in[1]->data;
    float *dx = node->in[0]->grad, *dalpha = node->in[1]->grad;
    const int fresh = node->fresh & 1u;
    double *part = ex->scratch, sum = 0.0;

#pragma omp parallel for
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t at = i * PIECE, count = n - at < PIECE ? n - at : PIECE;
        float v[PIECE], unwanted[PIECE];
        dt_real_values(node->in[0], at, count, v);
        const piece one = { v, g + at, dx ? dx + at : unwanted, count, dx ? fresh : 1, node->purpose.ewgs };
        part[i] = piece_by_rule(&one, alpha, &grid, p);
    }
    for (int64_t i = 0; i < pieces; i++) sum += part[i];
    if (dalpha) dalpha[0] = (float)sum + (node->fresh & 2u ? 0.0f : dalpha[0]);
    return DT_OK;
}

const dt_kernel dt_cpu_act_quant = {
    .prepare = act_quant_prepare, .forward = act_quant_forward, .backward = act_quant_backward, .overwrites = 3u
};
