/*
 * lower_values.c - makes nodes of what a value holds, either for reals or for codes, as its reader needs.
 *
 * For a quantizer, a line and its ReLU become thresholds, and the max-pools follow on the codes. That gives the same
 * codes, because neither ReLU nor quantizer falls as its input grows, so that the largest code is the code of the
 * largest value. Other readers (add, average pool, classifier) need reals, and each part becomes a node of its own:
 * AFFINE, RELU, MAXPOOL.
 *
 * Thresholds are bisected (steps.c) from the f32 arithmetic of evaluation, operation by operation: batchnorm.c's line,
 * activation.c's ReLU, grid.h's code.
 * Tests: tests/quant/test_lower.c, tests/quant/test_lower_refused.c, tests/quant/test_steps.c.
 */
#include "lowering.h"
#include "steps.h"

#include "../../layers/activation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dt_held_name(const dt_lowering *w, const dt_held *h)
{
    return dt_graph_name(w->from, h->node ? h->node->out : w->from->image);
}

const dt_held *dt_held_base(const dt_held *h)
{
    while (h->from) h = h->from;
    return h;
}

static int channels_of(const dt_lowering *w, int value)
{
    return dt_program_value(w->program, value).channels;
}

/* NULL without memory. */
static float *copy_floats(const float *from, int n)
{
    float *to = malloc((size_t)n * sizeof *to);

    if (to) memcpy(to, from, (size_t)n * sizeof *to);
    return to;
}

/* Codes have a name, and so have the same integers as psums. */
typedef struct {
    char s[DT_NAME_MAX + 32];
} line_name;

static line_name name_of_line(const dt_lowering *w, const dt_held *h)
{
    line_name name;

    snprintf(name.s, sizeof name.s, "%s%s", dt_held_name(w, h), h->holds == DT_HOLDS_CODES ? ".cells" : "");
    return name;
}

/* Codes become psums on a line, too: sums of single cells. Called when somebody quantizes them again, or wants them as
 * reals. */
static dt_status give_line(dt_lowering *w, dt_held *h)
{
    const dt_pool_params cell = dt_pool_square(1);
    const line_name name = name_of_line(w, h);
    dt_graph *g = w->program->graph;

    if (h->psum >= 0) return DT_OK;
    const int n = channels_of(w, h->value);
    h->slope = malloc((size_t)n * sizeof *h->slope);
    h->offset = calloc((size_t)n, sizeof *h->offset);
    DT_CHECK(h->slope && h->offset, DT_ERR_MEMORY, "no memory for the line of %s", dt_held_name(w, h));
    DT_TRY(dt_program_add_plain(g, DT_OP_AVGPOOL, name.s, &cell, &h->value, &h->psum));
    for (int c = 0; c < n; c++) h->slope[c] = dt_program_scale(w->program, h->psum);
    return DT_OK;
}

dt_status dt_held_psum(dt_lowering *w, dt_held *h, int *psum)
{
    DT_TRY(give_line(w, h));
    *psum = h->psum;
    return DT_OK;
}

static dt_status add_affine(dt_lowering *w, dt_held *h, int *y)
{
    DT_TRY(give_line(w, h));
    const int n = channels_of(w, h->psum);
    const line_name name = name_of_line(w, h);
    const dt_program_reals line = { name.s, n, copy_floats(h->slope, n), copy_floats(h->offset, n) };

    return dt_program_add_affine(w->program->graph, &line, h->psum, y);
}

dt_pool_params dt_lowering_pool(const dt_lowering *w, const dt_graph_node *n)
{
    const int64_t *x = dt_graph_shape(w->from, n->in[0])->dim;
    dt_pool_params p = *(const dt_pool_params *)n->params;

    for (int axis = 0; axis < 2; axis++) {
        if (p.window[axis] == 0) p.window[axis] = (int)x[1 + axis];
    }
    return p;
}

dt_status dt_lowering_add_pool(dt_lowering *w, const dt_graph_node *n, int x, int *y)
{
    const dt_pool_params p = dt_lowering_pool(w, n);

    return dt_program_add_plain(w->program->graph, n->kind, dt_graph_name(w->from, n->out), &p, &x, y);
}

static dt_status add_reals(dt_lowering *w, dt_held *h, int from, int *y)
{
    const dt_graph *g = w->program->graph;
    const int is_length = h->holds == DT_HOLDS_CODES && dt_graph_maker(g, h->value)->kind == DT_OP_CLASS_INT;

    if (is_length)
        return dt_program_add_plain(w->program->graph, DT_OP_DEQUANTIZE, dt_held_name(w, h), NULL, &h->value, y);
    switch (h->holds) {
    case DT_HOLDS_CODES:
    case DT_HOLDS_LINE: return add_affine(w, h, y);
    case DT_HOLDS_RELU:
        return dt_program_add_plain(w->program->graph, DT_OP_RELU, dt_held_name(w, h), h->node->params, &from, y);
    case DT_HOLDS_CLIP:
        return dt_program_add_plain(w->program->graph, DT_OP_CLIP, dt_held_name(w, h), h->node->params, &from, y);
    case DT_HOLDS_MAXPOOL: return dt_lowering_add_pool(w, h->node, from, y);
    case DT_HOLDS_SAME: *y = from; return DT_OK;
    default: break;
    }
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "%s: is wanted as reals, and a program has %s for a quantizer alone; quantize what it gives",
                    dt_held_name(w, h), h->node ? dt_ops[h->node->kind]->name : "an image");
}

dt_status dt_held_reals(dt_lowering *w, dt_held *h, int *value)
{
    int from = -1;

    if (h->reals < 0) {
        if (h->from) DT_TRY(dt_held_reals(w, h->from, &from));
        DT_TRY(add_reals(w, h, from, &h->reals));
    }
    *value = h->reals;
    return DT_OK;
}

/* Between which values the ReLUs and clips on the way leave a line. */
typedef dt_limits limits;

static const limits no_limits = { -INFINITY, INFINITY };

/* What follows a line. */
typedef struct {
    limits before;       /* the norm, if there is one */
    const dt_held *norm; /* NULL: none */
    limits between;      /* the norm, or else the line, and the quantizer */
} way;

/* One channel between its psum and its code. */
typedef struct {
    float slope, offset, norm_slope, norm_offset;
    const way *to;
    const dt_quantizer *q;
} step;

static int step_code(const void *user, int64_t psum)
{
    const step *s = user;
    float y = s->slope * (float)psum + s->offset;
    if (s->to->norm) {
        const float product = s->norm_slope * dt_limited(y, s->to->before);
        y = product + s->norm_offset;
    }
    return (int)dt_quantizer_code(s->q, dt_limited(y, s->to->between));
}

static void find_steps(const dt_held *h, const dt_quantizer *q, const way *to, const dt_value *psum,
                       const dt_program_steps *s)
{
    for (int c = 0; c < psum->channels; c++) {
        const float norm_slope = to->norm ? to->norm->slope[c] : 1.0f,
                    norm_offset = to->norm ? to->norm->offset[c] : 0.0f;
        const step channel = { h->slope[c], h->offset[c], norm_slope, norm_offset, to, q };
        s->sign[c] = (h->slope[c] < 0.0f) != (norm_slope < 0.0f) ? -1 : 1;
        const dt_steps steps = { step_code, &channel, s->sign[c], psum->low, psum->high, s->low, s->low + s->levels };
        dt_steps_find(&steps, s->step + c, psum->channels);
    }
}

/* The line that quantizers step along: above a ReLU before a norm, that of both. NULL without memory. */
static float *whole_slope(const dt_held *h, const way *to, int n)
{
    float *slope = copy_floats(h->slope, n);

    for (int c = 0; slope && to->norm && c < n; c++) slope[c] *= to->norm->slope[c];
    return slope;
}

static float *whole_offset(const dt_held *h, const way *to, int n)
{
    float *offset = copy_floats(h->offset, n);

    for (int c = 0; offset && to->norm && c < n; c++) offset[c] = to->norm->slope[c] * offset[c] + to->norm->offset[c];
    return offset;
}

static dt_status add_thresholds(dt_lowering *w, dt_held *h, dt_quantizer *q, const way *to, int *y)
{
    DT_TRY(give_line(w, h));
    const dt_value psum = dt_program_value(w->program, h->psum);
    const int low = to->between.low >= 0.0f ? 0 : q->grid.low; /* nothing below 0 is left, whatever its sign may be */
    const size_t channels = (size_t)psum.channels, levels = (size_t)(q->grid.high - low);
    const dt_program_steps s = { .name = q->name,
                                 .low = low,
                                 .levels = (int)levels,
                                 .step = malloc(levels * channels * sizeof *s.step),
                                 .sign = malloc(channels),
                                 .scale = q->shared > 0 ? NULL : dt_program_one(q->scale),
                                 .shared = q->shared,
                                 .slope = whole_slope(h, to, psum.channels),
                                 .offset = whole_offset(h, to, psum.channels) };

    if (s.step && s.sign) find_steps(h, q, to, &psum, &s);
    DT_TRY(dt_program_add_threshold(w->program->graph, &s, h->psum, y));
    q->shared = dt_graph_maker(w->program->graph, *y)->in[DT_THRESHOLD_SCALE];
    return DT_OK;
}

/* Sets *p to the ACT_QUANT that makes the same codes of reals. A SCALE_QUANT is one of LSQ's rule, whose step is the
 * scale, if its range is that of some number of bits. */
static dt_status act_quant_of(const dt_quantizer *q, dt_act_quant_params *p)
{
    const dt_scale_quant_params *of = q->node->params;

    if (q->node->kind == DT_OP_ACT_QUANT) {
        *p = *(const dt_act_quant_params *)q->node->params;
        return DT_OK;
    }
    *p = (dt_act_quant_params){ .bits = 2, .is_signed = of->low < 0, .rule = DT_RULE_LSQ };
    while (p->bits < 8 && dt_act_high(p->bits, p->is_signed) < of->high) p->bits++;
    const int high = dt_act_high(p->bits, p->is_signed), low = dt_act_low(p->bits, p->is_signed, 0);
    DT_CHECK(of->low == low && of->high == high && of->zero == 0 && of->rounding == DT_TO_HALF_EVEN, DT_ERR_UNSUPPORTED,
             "%s: codes of %d..%d with the zero point %d, made of reals; a program makes those of 0..2^b-1 or of "
             "+-(2^(b-1)-1), b 2 to 8, rounded half to even",
             q->name, of->low, of->high, of->zero);
    return DT_OK;
}

static dt_status add_quantize(dt_lowering *w, int reals, dt_quantizer *q, int *y)
{
    dt_act_quant_params params;

    DT_TRY(act_quant_of(q, &params));
    const dt_program_quantizer of = {
        .name = q->name, .params = params, .alpha = q->shared > 0 ? NULL : dt_program_one(q->alpha), .shared = q->shared
    };

    DT_TRY(dt_program_add_quantize(w->program->graph, &of, reals, y));
    q->shared = dt_graph_maker(w->program->graph, *y)->in[DT_QUANT_ALPHA];
    return DT_OK;
}

/* What is limited to `first`, and then to l. A high of NaN is no limit. */
static limits within(limits l, limits first)
{
    return (limits){ dt_limited(first.low, l), isnan(first.high) ? l.high : dt_limited(first.high, l) };
}

static dt_status codes_of(dt_lowering *w, dt_held *h, dt_quantizer *q, limits between, int *y);

/* A part of a concatenation, where one of them has reals already: then all are quantized from reals, by one clip. */
static dt_status codes_of_reals(dt_lowering *w, dt_held *h, dt_quantizer *q, limits between, int *y)
{
    const int is_limited = between.low != -INFINITY || between.high < INFINITY;
    int reals;

    DT_CHECK(!is_limited, DT_ERR_UNSUPPORTED,
             "%s: reals that are concatenated with others, and limited then; limit them before", dt_held_name(w, h));
    DT_TRY(dt_held_reals(w, h, &reals));
    return add_quantize(w, reals, q, y);
}

/* The parts' codes, one after the other: quantizing knows no neighbours. */
static dt_status codes_of_parts(dt_lowering *w, const dt_graph_node *n, dt_quantizer *q, limits between, int *y)
{
    int codes[DT_MAX_IN], has_reals = 0;
    dt_quantizer part = *q;

    for (int k = 0; k < n->n_in; k++) has_reals |= dt_held_base(&w->held[n->in[k]])->holds == DT_HOLDS_REALS;
    for (int k = 0; k < n->n_in; k++) {
        snprintf(part.name, sizeof part.name, "%.*s.%c", DT_NAME_MAX - 2, q->name, (char)('0' + k));
        DT_TRY((has_reals ? codes_of_reals : codes_of)(w, &w->held[n->in[k]], &part, between, &codes[k]));
    }
    q->shared = part.shared;
    return dt_program_add_concat(w->program->graph, dt_graph_name(w->from, n->out), dt_program_concat_axis(w->from, n),
                                 codes, n->n_in, y);
}

/* Of a second line, behind the first or its ReLUs: lower.c knows no other. */
static dt_status codes_of_norm(dt_lowering *w, dt_held *h, dt_quantizer *q, limits between, int *y)
{
    way to = { no_limits, h, between };
    dt_held *x = h->from;

    for (; x->from; x = x->from) {
        if (x->holds == DT_HOLDS_RELU) to.before = within(to.before, dt_relu_limits(x->node->params));
    }
    return add_thresholds(w, x, q, &to, y);
}

/* One step for all values, so that they may be transposed before or after. */
static dt_status codes_of_transpose(dt_lowering *w, dt_held *h, dt_quantizer *q, limits between, int *y)
{
    int codes;

    DT_TRY(codes_of(w, h->from, q, between, &codes));
    return dt_program_add_plain(w->program->graph, DT_OP_TRANSPOSE, dt_held_name(w, h), h->node->params, &codes, y);
}

static dt_status codes_of(dt_lowering *w, dt_held *h, dt_quantizer *q, limits between, int *y)
{
    const way line = { no_limits, NULL, between };
    int codes;

    switch (h->holds) {
    case DT_HOLDS_SAME: return codes_of(w, h->from, q, between, y);
    case DT_HOLDS_RELU: return codes_of(w, h->from, q, within(between, dt_relu_limits(h->node->params)), y);
    case DT_HOLDS_CLIP: return codes_of(w, h->from, q, within(between, dt_clip_limits(h->node->params)), y);
    case DT_HOLDS_MAXPOOL:
        DT_TRY(codes_of(w, h->from, q, between, &codes));
        return dt_lowering_add_pool(w, h->node, codes, y);
    case DT_HOLDS_CONCAT: return codes_of_parts(w, h->node, q, between, y);
    case DT_HOLDS_TRANSPOSE: return codes_of_transpose(w, h, q, between, y);
    case DT_HOLDS_NORM: return codes_of_norm(w, h, q, between, y);
    default: return add_thresholds(w, h, q, &line, y);
    }
}

dt_status dt_held_codes(dt_lowering *w, dt_held *h, dt_quantizer *q, int *value)
{
    int reals;

    if (dt_held_base(h)->holds != DT_HOLDS_REALS) return codes_of(w, h, q, no_limits, value);
    DT_TRY(dt_held_reals(w, h, &reals));
    return add_quantize(w, reals, q, value);
}
