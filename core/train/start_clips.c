/*
 * start_clips.c - where clips, learned steps and ranges begin: from the weights, and from what a first batch brings.
 *
 *   own         LSQ: step = 2 mean|x| / sqrt(Qp). Ranges: the least and the largest value. Other rules: nothing
 *   fixed       nothing: the values of the network, or of the file that --init names
 *   mse         the clip whose codes have the least squared error
 *   percentile  the clip that clip_percent of the magnitudes do not exceed
 *
 * A layer's quantizer is set when the batch arrives there, and runs again, so that later layers see its codes. Weights
 * that a rule standardises are looked at standardised. Of many values a part is looked at, the same in every run.
 *
 * Source of LSQ's own: Esser et al., "Learned step size quantization", ICLR 2020, section 2.1; of mse: Bhalgat et al.,
 * "LSQ+", 2020, section 3.3.  Tests: tests/core/test_start_clips.c.
 */
#include "../arith/range.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOKED_AT = 1 << 16, /* values of a quantizer, at most */
    COARSE = 64,         /* clips that are tried, from 1/64 of the largest magnitude to all of it */
    FINE = 16            /* and between the neighbours of the best of them */
};

/* The parts of a quantizer that say which codes a clip gives. */
typedef struct {
    dt_quant_rule rule;
    int is_weight, unclamped;
    dt_grid grid;
} code_rule;

typedef struct {
    float *v; /* [n] a part of the values */
    int64_t n;
} sample;

/* Walks over n values by a stride that is prime to almost every n, so that each channel comes up. */
static dt_status sample_of(const float *x, int64_t n, sample *out)
{
    const int64_t stride = 1000003;

    out->n = n < LOOKED_AT ? n : (int64_t)LOOKED_AT;
    out->v = malloc((size_t)(out->n + 1) * sizeof *out->v);
    DT_CHECK(out->v, DT_ERR_MEMORY, "no memory to look at %lld values", (long long)out->n);
    for (int64_t i = 0; i < out->n; i++) out->v[i] = x[n == out->n ? i : i * stride % n];
    return DT_OK;
}

static float alpha_of_clip(const code_rule *q, float clip)
{
    return q->rule == DT_RULE_LSQ ? clip / (float)q->grid.high : clip;
}

static double squared_error(const code_rule *q, const sample *s, float clip)
{
    const float alpha = alpha_of_clip(q, clip);
    const double scale = (double)dt_grid_scale(alpha, q->grid.high, q->rule);
    double sum = 0.0;

    for (int64_t i = 0; i < s->n; i++) {
        const float v = s->v[i];
        const float code = q->is_weight
                               ? dt_weight_code(dt_weight_unit(v, 0.0f, 1.0f, alpha, q->rule), &q->grid, q->rule)
                               : dt_act_code(v, alpha, &q->grid, q->unclamped, q->rule);
        const double off = (double)v - (double)code * scale;
        sum += off * off;
    }
    return sum;
}

/* Tries the clips from + i (to - from) / n for i = 1..n; of equal errors the first. */
static float best_clip(const code_rule *q, const sample *s, float from, float to, int n)
{
    double least = INFINITY;
    float best = to;

    for (int i = 1; i <= n; i++) {
        const float clip = from + (to - from) * (float)i / (float)n;
        const double error = squared_error(q, s, clip);
        if (!(error < least)) continue;
        least = error;
        best = clip;
    }
    return best;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The value that `percent` of all values do not exceed; sorts them. */
static float percentile(sample *s, double percent)
{
    qsort(s->v, (size_t)s->n, sizeof *s->v, by_size);
    const int64_t rank = (int64_t)ceil(percent / 100.0 * (double)s->n);

    return s->v[rank > 0 ? rank - 1 : 0];
}

/* Magnitudes that the quantizer can clip: behind a ReLU those of positive values. */
static float clip_magnitude(const code_rule *q, float v)
{
    const int both = q->is_weight || (q->grid.low < 0 && !q->unclamped);

    return both ? fabsf(v) : v > 0.0f ? v : 0.0f;
}

/* 0: there is nothing but zeros, and the clip stays. */
static float clip_of(const dt_train_config *c, const code_rule *q, sample *s)
{
    float largest = 0.0f;

    for (int64_t i = 0; i < s->n; i++) largest = fmaxf(largest, clip_magnitude(q, s->v[i]));
    if (!(largest > 0.0f)) return 0.0f;
    if (c->start_clips == DT_START_CLIPS_PERCENTILE) {
        for (int64_t i = 0; i < s->n; i++) s->v[i] = clip_magnitude(q, s->v[i]);
        return percentile(s, (double)c->clip_percent);
    }
    const float coarse = best_clip(q, s, 0.0f, largest, COARSE), step = largest / (float)COARSE;
    return best_clip(q, s, coarse - step, fminf(coarse + step, largest), FINE);
}

/* s = 2 mean|x| / sqrt(Qp). */
static float lsq_step(const code_rule *q, const float *x, int64_t n)
{
    const double high = (double)q->grid.high;
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++) sum += fabs((double)x[i]);
    return (float)(2.0 * sum / (double)n / sqrt(high));
}

/* 0: the alpha stays. x may be changed. */
static dt_status first_alpha(const dt_train_config *c, const code_rule *q, float *x, int64_t n, float *out)
{
    sample s;

    *out = 0.0f;
    if (c->start_clips == DT_START_CLIPS_FIXED) return DT_OK;
    if (c->start_clips == DT_START_CLIPS_OWN) {
        if (q->rule == DT_RULE_LSQ) *out = lsq_step(q, x, n);
        return DT_OK;
    }
    DT_TRY(sample_of(x, n, &s));
    *out = alpha_of_clip(q, clip_of(c, q, &s));
    free(s.v);
    return DT_OK;
}

/* As the quantizer standardises a set of weights; those without spread have codes of 0, and become 0 here. */
static void standardise(float *w, int64_t n)
{
    double sum = 0.0, square = 0.0;

    for (int64_t i = 0; i < n; i++) {
        sum += (double)w[i];
        square += (double)w[i] * (double)w[i];
    }
    const double mean = sum / (double)n, deviation = sqrt((square - sum * mean) / (double)(n - 1));
    for (int64_t i = 0; i < n; i++) w[i] = deviation > 0.0 ? (float)(((double)w[i] - mean) / deviation) : 0.0f;
}

/* 0: it is no quantizer with an alpha. */
static int rule_of(const dt_node *node, code_rule *out)
{
    *out = (code_rule){ .grid = { (int)node->out->qmin, (int)node->out->qmax, 0.0f } };
    if (node->kind == DT_OP_ACT_QUANT) {
        const dt_act_quant_params *p = node->params;
        out->rule = p->rule;
        out->unclamped = p->unclamped;
        return 1;
    }
    if (node->kind != DT_OP_WEIGHT_QUANT) return 0;
    out->rule = ((const dt_weight_quant_params *)node->params)->rule;
    out->is_weight = 1;
    return 1;
}

/* Each alpha from its set of weights, or all values of an activation. */
static dt_status write_alphas(dt_context *ctx, const dt_train_config *c, const code_rule *q, const dt_node *node,
                              float *x)
{
    const int64_t n_alphas = dt_count(&node->in[1]->shape), n = dt_count(&node->in[0]->shape) / n_alphas;
    float *const alphas = node->in[1]->data;

    for (int64_t k = 0; k < n_alphas; k++) {
        float alpha = 0.0f;
        if (q->is_weight && q->rule != DT_RULE_LSQ) standardise(x + k * n, n);
        DT_TRY(first_alpha(c, q, x + k * n, n, &alpha));
        if (alpha > 0.0f) DT_TRY(dt_device_write(ctx, alphas + k, &alpha, sizeof alpha));
    }
    return DT_OK;
}

/* A range, and what values of the first batch are quantized to it. */
typedef struct {
    dt_tensor *range;
    float ends[2]; /* the first is at most 0, and the second at least 0 */
} first_range;

typedef struct {
    dt_trainer *trainer;
    const dt_tensor *last; /* step: quantizers that share one follow each other, and the first decides */
    first_range *range;    /* [n_ranges] those that still have their first values */
    int n_ranges;
} calibration;

/* The place of a node's range in the list; NULL: it has none, or it is not for calibration to set. */
static first_range *range_of(const calibration *c, const dt_node *node)
{
    if (node->kind != DT_OP_RANGE_QUANT) return NULL;
    if (((const dt_range_quant_params *)node->params)->update == DT_RANGE_FIXED) return NULL;
    for (int i = 0; i < c->n_ranges; i++) {
        if (c->range[i].range == node->in[1]) return &c->range[i];
    }
    return NULL;
}

static double range_error(const dt_range_quant_params *p, const sample *s, const float ends[2])
{
    const dt_range_grid g = dt_range_grid_of(ends[0], ends[1], p->bits, p->is_positive);
    double sum = 0.0;

    for (int64_t i = 0; i < s->n; i++) {
        const float code = rintf(dt_clamp(s->v[i] / g.scale, (float)g.low, (float)g.high));
        const double off = (double)s->v[i] - (double)code * (double)g.scale;
        sum += off * off;
    }
    return sum;
}

/* Both ends times one factor, which is 1 at first. */
static void best_range(const dt_range_quant_params *p, const sample *s, float ends[2])
{
    const float all[2] = { ends[0], ends[1] };
    double least = INFINITY;

    for (int i = COARSE; i >= 1; i--) {
        const float part = (float)i / (float)COARSE, tried[2] = { all[0] * part, all[1] * part };
        const double error = range_error(p, s, tried);
        if (!(error < least)) continue;
        least = error;
        memcpy(ends, tried, sizeof tried);
    }
}

/* The range of one input's values, narrowed as the configuration says. */
static dt_status first_ends(const dt_train_config *c, const dt_node *node, const float *x, int64_t n, float ends[2])
{
    const double outside = (100.0 - (double)c->clip_percent) / 2.0;
    sample s;

    ends[0] = ends[1] = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        ends[0] = fminf(ends[0], x[i]);
        ends[1] = fmaxf(ends[1], x[i]);
    }
    if (c->start_clips == DT_START_CLIPS_OWN) return DT_OK;
    DT_TRY(sample_of(x, n, &s));
    if (c->start_clips == DT_START_CLIPS_MSE) {
        best_range(node->params, &s, ends);
    } else {
        ends[0] = fminf(percentile(&s, outside), 0.0f);
        ends[1] = fmaxf(percentile(&s, 100.0 - outside), 0.0f);
    }
    free(s.v);
    return DT_OK;
}

/* Of a range that several quantizers share, the values of all count. */
static dt_status write_range(const dt_trainer *t, first_range *f, const dt_node *node)
{
    dt_context *ctx = t->model->ctx;

    for (int k = 0; k < node->n_in; k++) {
        float *x, ends[2];
        if (k == 1) continue; /* the range */
        DT_TRY(dt_trainer_input(ctx, node, k, &x));
        const dt_status status = first_ends(&t->config, node, x, dt_count(&node->in[k]->shape), ends);
        free(x);
        DT_TRY(status);
        f->ends[0] = fminf(f->ends[0], ends[0]);
        f->ends[1] = fmaxf(f->ends[1], ends[1]);
    }
    return dt_device_write(ctx, f->range->data, f->ends, sizeof f->ends);
}

static dt_status calibrate_alpha(const dt_trainer *t, const code_rule *q, const dt_node *node)
{
    float *x;

    DT_TRY(dt_trainer_input(t->model->ctx, node, 0, &x));
    const dt_status status = write_alphas(t->model->ctx, &t->config, q, node, x);
    free(x);
    return status;
}

/* A quantizer whose alpha is trained; one of an image may have a fixed clip. */
static int takes_alpha(const calibration *c, const dt_node *node, code_rule *q)
{
    const int own = c->trainer->config.start_clips == DT_START_CLIPS_OWN;

    if (!rule_of(node, q) || node->in[1]->grad == NULL || node->in[1] == c->last) return 0;
    return q->rule == DT_RULE_LSQ || !own;
}

/* Then the node runs again, so that later layers see its codes. */
static dt_status calibrate_node(void *user, const dt_node *node)
{
    calibration *c = user;
    dt_context *ctx = c->trainer->model->ctx;
    first_range *range = range_of(c, node);
    code_rule q;

    if (!range && !takes_alpha(c, node, &q)) return DT_OK;
    if (!range) c->last = node->in[1];
    DT_TRY(range ? write_range(c->trainer, range, node) : calibrate_alpha(c->trainer, &q, node));
    const dt_exec ex = dt_context_exec(ctx);
    return ctx->backend->kernels()[node->kind]->forward(node, &ex);
}

/* The parameter that has the range of the scores; -1: they have none. */
static int range_of_scores(const dt_graph *g)
{
    const dt_graph_node *real = dt_graph_maker(g, g->scores);
    const dt_graph_node *quant = real && real->kind == DT_OP_DEQUANTIZE ? dt_graph_maker(g, real->in[0]) : NULL;

    return quant && quant->kind == DT_OP_RANGE_QUANT ? quant->in[1] : -1;
}

/* What was loaded, or given to the network, stays. The scores of an untrained network are small, and a range of them
 * alone would clip those of a trained one: a score that is clipped has no gradient, and two that are clipped are equal.
 * So their range becomes no narrower than its first values. */
static dt_status list_ranges(calibration *c, const dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const int value = m->param[i]->value;
        const dt_param_spec *spec = &m->graph->value[value]->param;
        float ends[2];
        if (spec->init != DT_INIT_ENDS || dt_count(&spec->shape) != 2) continue;
        DT_TRY(dt_model_read(m, i, ends));
        if (ends[0] != -spec->init_value || ends[1] != spec->init_value) continue;
        first_range *f = &c->range[c->n_ranges++];
        *f = (first_range){ .range = &m->param[i]->tensor };
        if (value == range_of_scores(m->graph)) memcpy(f->ends, ends, sizeof ends);
    }
    return DT_OK;
}

/* Once more, because the observation has put back what is not trained. */
static dt_status keep_ranges(const calibration *c)
{
    dt_context *ctx = c->trainer->model->ctx;

    for (int i = 0; i < c->n_ranges; i++) {
        const first_range *f = &c->range[i];
        const int is_seen = f->ends[0] < 0.0f || f->ends[1] > 0.0f; /* zeros, or nobody's: it stays */
        if (is_seen) DT_TRY(dt_device_write(ctx, f->range->data, f->ends, sizeof f->ends));
    }
    return DT_OK;
}

static dt_status calibrate(calibration *c)
{
    dt_model_info is;

    dt_model_look(c->trainer->model, &is);
    DT_TRY(list_ranges(c, c->trainer->model));
    if (c->trainer->config.start_clips == DT_START_CLIPS_FIXED) return DT_OK;
    if (c->trainer->config.start_clips == DT_START_CLIPS_OWN && is.rule != DT_RULE_LSQ && c->n_ranges == 0)
        return DT_OK;
    const dt_part part = dt_trainer_whole(c->trainer); /* so that all numbers of ranks begin alike */
    DT_TRY(dt_trainer_observe(c->trainer, &part, calibrate_node, c));
    return keep_ranges(c);
}

dt_status dt_trainer_calibrate(dt_trainer *t)
{
    calibration c = { .trainer = t };

    DT_CHECK(t->step == 0, DT_ERR_ARGUMENT, "calibration comes before the first step, %lld are done",
             (long long)t->step);
    c.range = calloc((size_t)t->model->n_params + 1, sizeof *c.range);
    DT_CHECK(c.range, DT_ERR_MEMORY, "no memory to calibrate %d parameters", t->model->n_params);
    const dt_status status = calibrate(&c);
    free(c.range);
    DT_TRY(status);
    return DT_OK;
}
