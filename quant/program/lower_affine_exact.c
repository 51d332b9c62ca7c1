/*
 * lower_affine_exact.c - adds the node of a program that makes codes of what a value holds, under the profile exact:
 *                        its codes are those of the model's own evaluation, each of them. See lower_affine.c.
 *
 * Evaluation sums codes exactly, or rounds the exact sum to f32 once, so that what a RANGE_QUANT makes of a sum is a
 * function of the sum, v = limit(slope * psum + offset) and rint(v / scale) of range.h, and never falls as the psum
 * grows, or, behind a batch norm of a negative gamma, never rises. The slope is the sum's scale and the offset the real
 * bias, or both are the batch norm's line.
 *
 *   sums of a layer              THRESHOLD, bisected (steps.c) from that f32 arithmetic, operation by operation
 *   averages; sums of codes      AVGPOOL or ADD, and a THRESHOLD of their integers
 *   that share a scale
 *   sums of others, products     QADD, QMUL: the same f32 operations
 *   codes of another range,      TABLE: the code of each code
 *   sigmoid
 *   softmax                      QSOFTMAX
 *
 * Thresholds and tables have all codes of a range, whatever ReLUs and clips leave, so that the zero point follows from
 * the range.  Tests: tests/quant/test_lower_exact.c.
 */
#include "lower_affine.h"

#include "../../layers/activation.h"
#include "norm_line.h"
#include "steps.h"

#include <stdlib.h>

enum { MOST_BITS = 8 }; /* a channel of 16 bits would have 65,535 thresholds */

/* Between which real values ReLUs and clips leave what the quantizer reads. */
static dt_limits limits_of(const dt_affine_quantizer *q)
{
    const dt_limits none = { -INFINITY, INFINITY }, limits = { q->x->low, q->x->high };

    return q->x->is_limited ? limits : none;
}

/* The code of a real value that is limited first. */
static int limited_code(const dt_affine_quantizer *q, float v)
{
    return (int)dt_range_code(dt_limited(v, limits_of(q)), &q->grid);
}

/* ---- thresholds ---- */

/* One channel between its psum and its code. */
typedef struct {
    float slope, offset;
    const dt_affine_quantizer *q;
} step;

/* Evaluation has a psum of 2^24 or more rounded to f32, too. */
static int step_code(const void *user, int64_t psum)
{
    const step *s = user;

    return limited_code(s->q, s->slope * (float)psum + s->offset);
}

static void find_steps(const dt_affine_quantizer *q, const dt_value *psum, const dt_program_steps *s)
{
    for (int c = 0; c < psum->channels; c++) {
        const step channel = { s->slope[c], s->offset[c], q };
        s->sign[c] = s->slope[c] < 0.0f ? -1 : 1;
        const dt_steps steps = { step_code, &channel, s->sign[c], psum->low, psum->high, q->grid.low, q->grid.high };
        dt_steps_find(&steps, s->step + c, psum->channels);
    }
}

/* The line's arrays are taken over. */
static dt_status add_thresholds(dt_affine_quantizer *q, int psum, float *slope, float *offset, int *y)
{
    const dt_value v = dt_program_value(q->w->program, psum);
    const int levels = q->grid.high - q->grid.low;
    const dt_program_steps s = { .name = q->name,
                                 .low = q->grid.low,
                                 .levels = levels,
                                 .step = malloc((size_t)levels * (size_t)v.channels * sizeof *s.step),
                                 .sign = malloc((size_t)v.channels),
                                 .shared = q->scale,
                                 .slope = slope,
                                 .offset = offset };

    if (s.step && s.sign && slope && offset) find_steps(q, &v, &s);
    return dt_program_add_threshold(q->w->program->graph, &s, psum, y);
}

/* Of sums that have one scale and no bias. */
static dt_status add_sum_thresholds(dt_affine_quantizer *q, int psum, int *y)
{
    const int channels = dt_program_value(q->w->program, psum).channels;
    float *slope = malloc((size_t)channels * sizeof *slope);

    for (int c = 0; slope && c < channels; c++) slope[c] = dt_program_scale(q->w->program, psum);
    return add_thresholds(q, psum, slope, calloc((size_t)channels, sizeof *slope), y);
}

/* The scales of a layer's psums, as its kernel multiplies them. NULL without memory. */
static float *psum_scales(const dt_program *p, const dt_graph_node *conv, int channels)
{
    const dt_graph_node *weights = dt_program_weights(p, conv);
    const float scale_x = dt_program_scale(p, conv->in[0]), *scale_w = dt_program_data(p, weights, DT_CODES_SCALE);
    const int one = dt_count(dt_graph_shape(p->graph, weights->in[DT_CODES_SCALE])) == 1;
    float *slope = malloc((size_t)channels * sizeof *slope);

    for (int c = 0; slope && c < channels; c++) slope[c] = scale_x * scale_w[one ? 0 : c];
    return slope;
}

/* Makes the line of a batch norm of the line of psums. */
static dt_status take_norm(const dt_affine_quantizer *q, int channels, float *slope, float *offset)
{
    const dt_graph_node *n = q->x->norm;
    dt_norm_line norm = { dt_graph_name(q->w->from, n->out), n->params, { NULL }, channels };
    dt_status status = DT_OK;

    for (int k = 0; k < DT_NORM_PARTS && status == DT_OK; k++) {
        status = dt_affine_floats(q->w, n->in[k + 1], &norm.part[k]);
    }
    if (status == DT_OK) status = dt_norm_line_of(&norm, slope, offset);
    for (int k = 0; k < DT_NORM_PARTS; k++) free(norm.part[k]);
    return status;
}

static dt_status add_layer_thresholds(dt_affine_quantizer *q, int *y)
{
    const dt_program *p = q->w->program;
    const int channels = dt_program_value(p, q->x->value).channels;
    float *slope, *offset = NULL;
    dt_status status = DT_OK;

    if (q->x->bias >= 0)
        DT_TRY(dt_affine_floats(q->w, q->x->bias, &offset));
    else
        offset = calloc((size_t)channels, sizeof *offset);
    slope = psum_scales(p, dt_graph_maker(p->graph, q->x->value), channels);
    if (q->x->norm && slope && offset) status = take_norm(q, channels, slope, offset);
    if (status == DT_OK) return add_thresholds(q, q->x->value, slope, offset, y);
    free(slope);
    free(offset);
    return dt_forward(status, __FILE__, __LINE__);
}

/* ---- sums of codes ---- */

static const char *name_of(const dt_affine_quantizer *q)
{
    return dt_graph_name(q->w->from, q->x->node->out);
}

/* 1 if evaluation sums integers in what the quantizer reads, and no reals. */
static int sums_integers(const dt_affine_quantizer *q)
{
    return q->w->from->value[q->x->node->out]->facts.n_scale > 0;
}

static dt_status add_sum(dt_affine_quantizer *q, int *y)
{
    const int codes[] = { q->x->value, q->x->other };
    int sum;

    if (!sums_integers(q)) return dt_affine_add_binary(q, y);
    DT_TRY(dt_program_add_plain(q->w->program->graph, DT_OP_ADD, name_of(q), NULL, codes, &sum));
    return add_sum_thresholds(q, sum, y);
}

static dt_status add_average(dt_affine_quantizer *q, int *y)
{
    const dt_pool_params pool = dt_affine_pool(q);
    int sum;

    DT_CHECK(
        sums_integers(q), DT_ERR_UNSUPPORTED,
        "%s: an average whose windows have several divisors, or sums that f32 does not hold, which evaluation takes "
        "of reals; let padded cells count, or take the profile of an engine",
        name_of(q));
    DT_TRY(dt_program_add_plain(q->w->program->graph, DT_OP_AVGPOOL, name_of(q), &pool, &q->x->value, &sum));
    return add_sum_thresholds(q, sum, y);
}

/* ---- functions of codes ---- */

static float itself(float v)
{
    return v;
}

/* The code of a function of each code's real value. */
static dt_status add_table(dt_affine_quantizer *q, float (*function)(float v), int *y)
{
    const dt_value x = dt_program_value(q->w->program, q->x->value);
    const float scale = dt_program_scale(q->w->program, q->x->value);
    const dt_shape rows = { 2, { (int64_t)x.high - x.low + 1, 1 } };
    const dt_table_params params = { .low = q->grid.low, .high = q->grid.high, .first = x.low };
    int16_t *table = malloc((size_t)rows.dim[0] * sizeof *table);
    int in[3] = { q->x->value, -1, q->scale };

    for (int i = 0; table && i < rows.dim[0]; i++) {
        table[i] = (int16_t)limited_code(q, function(scale * (float)(x.low + i)));
    }
    DT_TRY(dt_affine_add_param(q->w->program->graph, q->name, ".table", &rows, DT_I16, table, &in[1]));
    return dt_affine_add_node(q, DT_OP_TABLE, &params, in, 3, y);
}

static dt_status add_softmax(dt_affine_quantizer *q, int *y)
{
    DT_CHECK(q->grid.low == 0 && q->grid.high == UINT8_MAX && !q->x->is_limited, DT_ERR_UNSUPPORTED,
             "%s: a softmax whose codes are %d..%d%s; a program has those of 0..255, not limited", name_of(q),
             q->grid.low, q->grid.high, q->x->is_limited ? ", limited" : "");
    return dt_affine_add_softmax(q, y);
}

dt_status dt_lower_exact_codes(dt_affine_quantizer *q, int *y)
{
    DT_CHECK(q->bits <= MOST_BITS, DT_ERR_UNSUPPORTED,
             "%s: codes of %d bits; the profile exact has a threshold between each two codes, of at most %d bits; take "
             "the profile of an engine",
             q->name, q->bits, MOST_BITS);
    switch (q->x->holds) {
    case DT_AFFINE_SUM: return add_layer_thresholds(q, y);
    case DT_AFFINE_CODES: return add_table(q, itself, y);
    case DT_AFFINE_ADD: return add_sum(q, y);
    case DT_AFFINE_MUL: return dt_affine_add_binary(q, y);
    case DT_AFFINE_AVERAGE: return add_average(q, y);
    case DT_AFFINE_SOFTMAX: return add_softmax(q, y);
    default: return add_table(q, dt_sigmoid, y);
    }
}
