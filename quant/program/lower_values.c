/*
 * lower_values.c - what a value holds becomes nodes, as whoever reads it wants: reals, or codes.
 *
 * A quantizer melts a line and its ReLU into thresholds, and the max-pools follow on codes. That is the same, because
 * neither ReLU nor quantizer ever falls as its input grows: the largest code is the code of the largest value. Others
 * (add, average pool, classifier) want reals: AFFINE, RELU, MAXPOOL, one for one.
 *
 * Thresholds are bisected (steps.c) from the f32 arithmetic of evaluation, operation by operation: batchnorm.c's line,
 * activation.c's ReLU, grid.h's code.  Tests: tests/quant/test_lower.c, tests/quant/test_steps.c.
 */
#include "lowering.h"
#include "steps.h"

#include <math.h>
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

static dt_status add_affine(dt_lowering *w, const dt_held *h, int *y)
{
    const int n = channels_of(w, h->value);
    const dt_program_reals line = { dt_held_name(w, h), n, copy_floats(h->slope, n), copy_floats(h->offset, n) };

    return dt_program_add_affine(w->program->graph, &line, h->value, y);
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
    const char *name = dt_graph_name(w->from, n->out);

    DT_CHECK(p.window[0] == p.window[1] && p.stride[0] == p.stride[1], DT_ERR_UNSUPPORTED,
             "%s: a pool of %dx%d windows at strides of %dx%d; a program's have one side and one stride", name,
             p.window[0], p.window[1], p.stride[0], p.stride[1]);
    DT_CHECK(!p.pad[0] && !p.pad[1] && !p.pad[2] && !p.pad[3], DT_ERR_UNSUPPORTED,
             "%s: a pool with pads of %d, %d, %d, %d; a program's have none", name, p.pad[0], p.pad[1], p.pad[2],
             p.pad[3]);
    return dt_program_add_plain(w->program->graph, n->kind, name, &p, &x, y);
}

static dt_status add_reals(dt_lowering *w, const dt_held *h, int from, int *y)
{
    switch (h->holds) {
    case DT_HOLDS_LINE: return add_affine(w, h, y);
    case DT_HOLDS_RELU:
        return dt_program_add_plain(w->program->graph, DT_OP_RELU, dt_held_name(w, h), h->node->params, &from, y);
    case DT_HOLDS_MAXPOOL: return dt_lowering_add_pool(w, h->node, from, y);
    case DT_HOLDS_SAME: *y = from; return DT_OK;
    default: break;
    }
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "%s: only what a convolution gave can be read as reals; quantize it for a convolution instead",
                    dt_held_name(w, h));
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

/* Between which values the ReLUs on the way leave a line. */
typedef struct {
    float low, high;
} limits;

static const limits no_limits = { -INFINITY, INFINITY };

/* One channel between its psum and its code. */
typedef struct {
    float slope, offset;
    limits relu;
    const dt_quantizer *q;
} step;

static int step_code(const void *user, int64_t psum)
{
    const step *s = user;
    const float y = s->slope * (float)psum + s->offset;
    const float v = y < s->relu.low ? s->relu.low : y > s->relu.high ? s->relu.high : y;
    return (int)dt_act_code(v, s->q->alpha, &s->q->grid, 0, s->q->params.rule);
}

static void find_steps(const dt_held *h, const dt_quantizer *q, limits relu, const dt_value *psum,
                       const dt_program_steps *s)
{
    for (int c = 0; c < psum->channels; c++) {
        const step channel = { h->slope[c], h->offset[c], relu, q };
        s->sign[c] = h->slope[c] < 0.0f ? -1 : 1;
        const dt_steps steps = { step_code, &channel, s->sign[c], psum->high, s->low, s->low + s->levels };
        dt_steps_find(&steps, s->step + c, psum->channels);
    }
}

static dt_status add_thresholds(dt_lowering *w, const dt_held *h, const dt_quantizer *q, limits relu, int *y)
{
    const dt_value psum = dt_program_value(w->program, h->value);
    const int low = relu.low == 0.0f ? 0 : q->grid.low; /* ReLU leaves no signed quantizer anything below 0 */
    const size_t channels = (size_t)psum.channels, levels = (size_t)(q->grid.high - low);
    const dt_program_steps s = { .name = q->name,
                                 .low = low,
                                 .levels = (int)levels,
                                 .step = malloc(levels * channels * sizeof *s.step),
                                 .sign = malloc(channels),
                                 .scale = dt_program_one(q->scale),
                                 .slope = copy_floats(h->slope, psum.channels),
                                 .offset = copy_floats(h->offset, psum.channels) };

    if (s.step && s.sign) find_steps(h, q, relu, &psum, &s);
    return dt_program_add_threshold(w->program->graph, &s, h->value, y);
}

static limits with_relu(limits l, const dt_relu_params *p)
{
    l.low = 0.0f;
    if (p->most > 0.0f && p->most < l.high) l.high = p->most;
    return l;
}

static dt_status codes_of(dt_lowering *w, const dt_held *h, const dt_quantizer *q, limits relu, int *y)
{
    int codes;

    switch (h->holds) {
    case DT_HOLDS_SAME: return codes_of(w, h->from, q, relu, y);
    case DT_HOLDS_RELU: return codes_of(w, h->from, q, with_relu(relu, h->node->params), y);
    case DT_HOLDS_MAXPOOL:
        DT_TRY(codes_of(w, h->from, q, relu, &codes));
        return dt_lowering_add_pool(w, h->node, codes, y);
    default: return add_thresholds(w, h, q, relu, y);
    }
}

dt_status dt_held_codes(dt_lowering *w, dt_held *h, const dt_quantizer *q, int *value)
{
    int reals;

    if (dt_held_base(h)->holds == DT_HOLDS_LINE) return codes_of(w, h, q, no_limits, value);
    DT_TRY(dt_held_reals(w, h, &reals));
    return dt_program_add_quantize(w->program->graph, q->name, &q->params, dt_program_one(q->alpha), reals, value);
}
