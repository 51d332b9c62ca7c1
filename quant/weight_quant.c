/*
 * weight_quant.c - filters to integer codes: standardise, clip at alpha, round half to even.
 *
 * The formulas, the gradient rules and their sources are in grid.h. Mean and deviation are those of the whole filter
 * set, or of each filter when alpha has one value a filter; they are summed in double, in a fixed order, and rounded to
 * f32 once. Everything after that is the notebook's f32 arithmetic, bit for bit.
 *
 * A set of weights without spread (a pruned filter; dt_weight_stats_of has the limit) cannot be standardised. Its codes
 * are 0, and so are the gradients of its weights and its share of alpha's. So a pruned filter stays pruned. LSQ does
 * not standardise, and there a filter of zeros has codes of 0 and learns.
 *
 * A call takes many layers, and threads go over the pieces of all of them. Weights whose sums the optimiser has left
 * (core/train/optim.h) are not read for their statistics. The sums, and so the codes, are the same either way.
 *
 * Shapes: w K,.. ; alpha 1 or K, > 0; codes as w, F32 or I8 (CUDA: F16), scale as alpha.
 * weight_update.c does backward as part of the update.  CUDA: cuda/weight_quant.cu.  Tests:
 * tests/quant/test_weight_quant.c, and tests/quant/test_weight_spread.c.
 */
#include "weight_quant.h"

#include "../core/grid_facts.h"

enum { LANES = DT_WEIGHT_LANES };

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
    node->aux_bytes = (size_t)n_alpha * sizeof(dt_weight_stats);
    return DT_OK;
}

static const dt_field weight_quant_fields[] = {
    { DT_MEMBER(dt_weight_quant_params, bits), DT_INT(2, 8) },
    { DT_MEMBER(dt_weight_quant_params, rule), DT_FIELD_WORD, 0, DT_RULE_LSQ, dt_quant_rule_names, 0 },
};

const dt_op dt_op_weight_quant = {
    .name = "weight_quant",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_weight_quant_params, weight_quant_fields),
    .backward_reads = DT_READS_IN(0) | DT_READS_AUX,
    .infer = weight_quant_infer,
};

/* ---- groups ---- */

/* What the maker of these codes writes for the layer that reads them; nothing if it need not. */
static dt_psum_scale psum_scale_of(const dt_tensor *codes)
{
    const dt_node *layer = codes->layer;

    if (!layer) return (dt_psum_scale){ .to = NULL };
    const dt_tensor *x = layer->in[0], *y = layer->out, *alpha = x->scale_of;
    return (dt_psum_scale){ .to = y->scale,
                            .alpha = alpha->data,
                            .high = (int)x->qmax,
                            .rule = dt_clip_rule(x->scale_form),
                            .unit = y->type == DT_F16 ? (float)DT_PSUM_F16_UNIT : 1.0f };
}

static dt_weight_layer layer_of(const dt_node *node, double *scratch)
{
    const dt_weight_quant_params *p = node->params;
    const dt_tensor *w = node->in[0], *alpha = node->in[1], *out = node->out;
    dt_weight_layer l = { .w = w->data,
                          .alpha = alpha->data,
                          .dw = dt_grads(w),
                          .dalpha = dt_grads(alpha),
                          .g = out->grad,
                          .code = out->data,
                          .real = out->real,
                          .scale = out->scale,
                          .stats = node->aux,
                          .sums = w->sums ? w->sums : scratch,
                          .dshare = scratch,
                          .turns = w->turns,
                          .channels = (int)out->shape.dim[out->shape.ndim - 1],
                          .stored = (int)dt_stored_channels(out),
                          .n_sets = out->n_scale,
                          .pieces = dt_weight_pieces(node),
                          .has_sums = (w->sums && w->has_sums) || !is_standardised(p->rule),
                          .fresh = node->fresh,
                          .type = out->type,
                          .rule = p->rule,
                          .psum = psum_scale_of(out),
                          .g_scale = out->grad_scale,
                          .g_unit = out->grad_unit,
                          .g_type = out->grad_type };

    l.count = dt_count(&out->shape) / l.n_sets;
    l.grid = (dt_grid){ (int)out->qmin, (int)out->qmax, 1.0f / sqrtf((float)l.count * (float)out->qmax) };
    return l;
}

int dt_weight_group_of(const dt_node *const *node, int n, char **scratch, dt_weight_group *out)
{
    out->n = n < DT_WEIGHT_LAYERS ? n : DT_WEIGHT_LAYERS;
    out->n_pieces = out->n_sets = 0;
    out->has_sums = 1;
    for (int i = 0; i < out->n; i++) {
        dt_weight_layer *l = &out->layer[i];
        *l = layer_of(node[i], scratch ? (double *)(void *)*scratch : NULL);
        l->first_piece = out->n_pieces;
        l->first_set = out->n_sets;
        out->n_pieces += l->n_sets * l->pieces;
        out->n_sets += l->n_sets;
        out->has_sums &= l->has_sums;
        if (scratch) *scratch += dt_round_up(dt_weight_sums_bytes(node[i]), DT_ALIGN);
    }
    return out->n;
}

static dt_status weight_quant_prepare(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)ex;
    *scratch_bytes = dt_weight_sums_bytes(node);
    return DT_OK;
}

/* ---- forward ---- */

double dt_weight_sum(const double *v, int n)
{
    double lane[LANES] = { 0.0 };

    if (n == 1) return v[0];
    for (int first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? n - first : LANES;
        for (int i = 0; i < count; i++) lane[i] += v[first + i];
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    }
    return lane[0];
}

static void sum_piece(const dt_weight_layer *l, const dt_weight_piece *p)
{
    const float *w = l->w + p->first;
    double sum[LANES] = { 0.0 }, square[LANES] = { 0.0 };

    for (int first = 0; first < p->n; first += LANES) {
        const int count = p->n - first < LANES ? p->n - first : LANES;
        for (int i = 0; i < count; i++) {
            const double v = (double)w[first + i];
            sum[i] += v;
            square[i] += v * v;
        }
    }
    l->sums[p->part] = dt_weight_sum(sum, LANES);
    l->sums[l->n_sets * l->pieces + p->part] = dt_weight_sum(square, LANES);
}

/* A byte cannot hold the NaN of a weight that is no number: the scale does. */
static void find_stats(const dt_weight_layer *l)
{
    const double *square = l->sums + l->n_sets * l->pieces;

    for (int k = 0; k < l->n_sets; k++) {
        l->stats[k] = is_standardised(l->rule)
                          ? dt_weight_stats_of(dt_weight_sum(l->sums + k * l->pieces, l->pieces),
                                               dt_weight_sum(square + k * l->pieces, l->pieces), l->count)
                          : (dt_weight_stats){ 0.0f, 1.0f };
        l->scale[k] = isnan(l->stats[k].deviation) ? NAN : dt_grid_scale(l->alpha[k], l->grid.high, l->rule);
    }
}

/* A code takes two divisions, and a product by the reciprocal of both is near enough for nearly all weights:
 *
 *   code = rint(z),  z = ((w - mean) / deviation / alpha) * high,  and  y = (w - mean) * (high / (deviation alpha))
 *
 * have three roundings each behind the same difference, so that |y - z| <= 6 * 2^-24 * high where neither is clamped.
 * Where y is nearer to its integer than 0.5 by more than that, z has the same one. */
enum { RUN = 256 }; /* weights of which one that is too near takes all to the divisions */

/* 0: the range of f32 is too small for that product, as for weights without spread. */
static int has_factor(const dt_weight_stats *st, float alpha, const dt_grid *grid, float *factor)
{
    *factor = (float)((double)grid->high / ((double)st->deviation * (double)alpha));
    return *factor > 0x1p-60f && *factor < 0x1p60f && alpha > 0x1p-60f && alpha < 0x1p60f;
}

/* Returns 1 if all codes are certain; then they are written. */
static int quick_codes(const float *restrict w, int n, float mean, float factor, const dt_grid *grid,
                       int8_t *restrict code)
{
    const float high = (float)grid->high, certain = 0.5f - 0x1p-20f * high;
    int doubts = 0;

    for (int i = 0; i < n; i++) {
        const float y = dt_clamp((w[i] + -mean) * factor, -high, high), near = rintf(y);
        doubts |= !(fabsf(y - near) <= certain); /* a NaN too */
        code[i] = (int8_t)near;
    }
    return !doubts;
}

/* The rule and the type are constants wherever this is inlined: so the loops have no branch and vectorise. */
static inline void codes_of(const dt_weight_layer *l, const dt_weight_piece *p, dt_quant_rule rule)
{
    const float *w = l->w + p->first, alpha = l->alpha[p->set];
    const dt_weight_stats st = l->stats[p->set];
    const dt_grid grid = l->grid;

    if (l->type == DT_I8) {
        int8_t *code = (int8_t *)l->code + p->first;
        for (int i = 0; i < p->n; i++) {
            code[i] = (int8_t)dt_weight_code(dt_weight_unit(w[i], st.mean, st.deviation, alpha, rule), &grid, rule);
        }
    } else {
        float *code = (float *)l->code + p->first;
        for (int i = 0; i < p->n; i++) {
            code[i] = dt_weight_code(dt_weight_unit(w[i], st.mean, st.deviation, alpha, rule), &grid, rule);
        }
    }
}

static void piece_codes(const dt_weight_layer *l, const dt_weight_piece *p)
{
    const dt_weight_stats *st = &l->stats[p->set];
    float factor;

    if (!is_standardised(l->rule)) {
        codes_of(l, p, DT_RULE_LSQ);
        return;
    }
    const int is_quick = l->type == DT_I8 && has_factor(st, l->alpha[p->set], &l->grid, &factor);
    for (int first = 0; first < p->n; first += RUN) {
        dt_weight_piece run = *p;
        run.first += first;
        run.n = p->n - first < RUN ? p->n - first : RUN;
        if (is_quick && quick_codes(l->w + run.first, run.n, st->mean, factor, &l->grid, (int8_t *)l->code + run.first))
            continue;
        codes_of(l, &run, DT_RULE_ECE284); /* the clip rules differ in their gradients alone */
    }
}

static void forward_group(const dt_weight_group *g)
{
#pragma omp parallel for if (!g->has_sums)
    for (int i = 0; i < g->n_pieces; i++) {
        const dt_weight_piece p = dt_weight_piece_at(g, i);
        if (!g->layer[p.layer].has_sums) sum_piece(&g->layer[p.layer], &p);
    }
    for (int i = 0; i < g->n; i++) find_stats(&g->layer[i]);
#pragma omp parallel for
    for (int i = 0; i < g->n_pieces; i++) {
        const dt_weight_piece p = dt_weight_piece_at(g, i);
        piece_codes(&g->layer[p.layer], &p);
    }
}

static dt_status weight_quant_forward_all(const dt_node *const *node, int n, const dt_exec *ex)
{
    char *scratch = ex->scratch;
    dt_weight_group group;

    for (int i = 0; i < n;) {
        const dt_dtype type = node[i]->out->type;
        DT_CHECK(type == DT_F32 || type == DT_I8, DT_ERR_UNSUPPORTED, "%s: codes of type %d; the CPU has F32 and I8",
                 node[i]->name, (int)type);
        i += dt_weight_group_of(node + i, n - i, &scratch, &group);
        forward_group(&group);
    }
    return DT_OK;
}

static dt_status weight_quant_forward(const dt_node *node, const dt_exec *ex)
{
    return weight_quant_forward_all(&node, 1, ex);
}

/* ---- backward ---- */

/* Of a rule and a pull that are constants wherever this is inlined, and of arrays that do not overlap: so that the loop
 * makes vectors. turns: those of the run's weights, or a NULL that is a constant too. */
static inline void gradient_by(const dt_weight_layer *l, const dt_weight_run *r, dt_quant_rule rule, int is_pulled,
                               const float *restrict turns, float *restrict d, double *restrict lane)
{
    const float *restrict w = r->w, *restrict g = r->g;
    const float unscale = r->unscale, alpha = l->alpha[r->set];
    const dt_weight_pull pull = r->pull;
    const int n = r->n;
    const dt_weight_stats st = l->stats[r->set];
    const dt_grid grid = l->grid;
    const float scale = dt_grid_scale(alpha, grid.high, rule);

    for (int i = 0; i < n; i++) {
        const float gi = g[i] * unscale;
        const float x = dt_weight_unit(w[i], st.mean, st.deviation, alpha, rule);
        const dt_grid_slope slope = dt_weight_slope_of(x, &grid, rule, turns && turns[i] > 1.0f);
        d[i] = is_pulled ? dt_weight_pulled(x, slope.value, gi, st.deviation, scale, &grid, rule, pull)
                         : slope.value * gi / st.deviation;
        lane[i] += (double)(slope.alpha * gi);
    }
}

static inline void gradient_of(const dt_weight_layer *l, const dt_weight_run *r, dt_quant_rule rule, float *d,
                               double *lane)
{
    if (rule == DT_RULE_LSQ && l->turns)
        gradient_by(l, r, rule, 1, l->turns + (r->w - l->w), d, lane);
    else if (r->pull.ewgs == 0.0f && r->pull.dampen == 0.0f)
        gradient_by(l, r, rule, 0, NULL, d, lane);
    else
        gradient_by(l, r, rule, 1, NULL, d, lane);
}

void dt_weight_gradient(const dt_weight_layer *l, const dt_weight_run *r, float *d, double *lane)
{
    switch (l->rule) {
    case DT_RULE_APOT: gradient_of(l, r, DT_RULE_APOT, d, lane); return;
    case DT_RULE_SCREAM: gradient_of(l, r, DT_RULE_SCREAM, d, lane); return;
    case DT_RULE_LSQ: gradient_of(l, r, DT_RULE_LSQ, d, lane); return;
    case DT_RULE_ECE284:
    case DT_RULE_PACT: /* whose weights are those of ECE284 */
    case DT_RULE_AFFINE:
    case DT_RULE_QKERAS: break; /* of no single quantizer */
    }
    gradient_of(l, r, DT_RULE_ECE284, d, lane);
}

float dt_weight_dalpha(const dt_weight_layer *l, int set)
{
    return (float)dt_weight_sum(l->dshare + set * l->pieces, l->pieces);
}

static void backward_piece(const dt_weight_layer *l, const dt_weight_piece *p, dt_weight_pull pull)
{
    const float *w = l->w + p->first, *g = (const float *)l->g + p->first;
    const int fresh = l->fresh & 1;
    float d[LANES];
    double share[LANES] = { 0.0 };

    for (int first = 0; first < p->n; first += LANES) {
        const int n = p->n - first < LANES ? p->n - first : LANES;
        const dt_weight_run run = { w + first, g + first, n, p->set, 1.0f, pull };
        dt_weight_gradient(l, &run, d, share);
        if (!l->dw) continue;
        float *dw = l->dw + p->first + first;
        for (int i = 0; i < n; i++) dw[i] = fresh ? d[i] : dw[i] + d[i];
    }
    l->dshare[p->part] = dt_weight_sum(share, LANES);
}

static void backward_group(const dt_weight_group *g, dt_weight_pull pull)
{
#pragma omp parallel for
    for (int i = 0; i < g->n_pieces; i++) {
        const dt_weight_piece p = dt_weight_piece_at(g, i);
        backward_piece(&g->layer[p.layer], &p, pull);
    }
    for (int i = 0; i < g->n; i++) {
        const dt_weight_layer *l = &g->layer[i];
        for (int k = 0; l->dalpha && k < l->n_sets; k++) {
            const float dalpha = dt_weight_dalpha(l, k);
            l->dalpha[k] = l->fresh & 2 ? dalpha : l->dalpha[k] + dalpha;
        }
    }
}

static dt_status weight_quant_backward_all(const dt_node *const *node, int n, const dt_exec *ex)
{
    const dt_weight_pull pull = { ex->step->in.ewgs, 0.0f };
    char *scratch = ex->scratch;
    dt_weight_group group;

    for (int i = 0; i < n;) {
        i += dt_weight_group_of(node + i, n - i, &scratch, &group);
        backward_group(&group, pull);
    }
    return DT_OK;
}

static dt_status weight_quant_backward(const dt_node *node, const dt_exec *ex)
{
    return weight_quant_backward_all(&node, 1, ex);
}

const dt_kernel dt_cpu_weight_quant = { .prepare = weight_quant_prepare,
                                        .forward = weight_quant_forward,
                                        .backward = weight_quant_backward,
                                        .overwrites = 3,
                                        .forward_all = weight_quant_forward_all,
                                        .backward_all = weight_quant_backward_all };
