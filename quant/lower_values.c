/*
 * lower_values.c - sources become layers, as whoever reads them wants: reals, or codes.
 *
 * A quantizer melts a line and its ReLU into thresholds, and the max-pools follow on codes. That is the same, because
 * neither ReLU nor quantizer ever falls as its input grows: the largest code is the code of the largest value. Others
 * (add, average pool, classifier) want reals: AFFINE, RELU, MAXPOOL, one for one.
 *
 * Thresholds are bisected (steps.c) from the f32 arithmetic of evaluation, operation by operation: batchnorm.c's line,
 * activation.c's ReLU, grid.h's code.  Tests: tests/test_lower.c, tests/test_steps.c.
 */
#include "lowering.h"
#include "steps.h"

#include "../layers/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dt_status dt_lowering_read(const dt_lowering *w, const void *device, int64_t n, float **out)
{
    return dt_device_floats(w->ctx, device, n, out);
}

dt_status dt_lowering_add(dt_lowering *w, dt_layer_kind kind, const char *name, int from, dt_layer **out)
{
    dt_program *p = w->program;
    dt_layer *bigger = realloc(p->layer, ((size_t)p->n_layers + 1) * sizeof *bigger);

    DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for layer %d", p->n_layers);
    p->layer = bigger;
    dt_layer *l = &p->layer[p->n_layers++];
    *l = (dt_layer){ .kind = kind, .in = { from, from } };
    snprintf(l->name, sizeof l->name, "%s", name);
    const dt_value x = dt_layer_input(p, p->n_layers - 1, 0);
    l->value = x.kind;
    l->height = x.height;
    l->width = x.width;
    l->channels = x.channels;
    l->low = x.low;
    l->high = x.high;
    l->scale = x.scale;
    *out = l;
    return DT_OK;
}

int dt_lowering_last(const dt_lowering *w)
{
    return w->program->n_layers - 1;
}

/* its values are reals, which have no range and no scale */
static void gives_reals(dt_layer *l)
{
    l->value = DT_VALUE_REAL;
    l->low = l->high = 0;
    l->scale = 0.0f;
}

const dt_source *dt_source_base(const dt_source *s)
{
    while (s->from) s = s->from;
    return s;
}

static dt_status copy_line(const dt_source *s, int channels, dt_layer *l)
{
    const size_t bytes = (size_t)channels * sizeof(float);
    l->slope = malloc(bytes);
    l->offset = malloc(bytes);
    DT_CHECK(l->slope && l->offset, DT_ERR_MEMORY, "no memory for the line of %s", l->name);
    memcpy(l->slope, s->slope, bytes);
    memcpy(l->offset, s->offset, bytes);
    return DT_OK;
}

static dt_status add_affine(dt_lowering *w, const dt_source *s)
{
    dt_layer *l;
    DT_TRY(dt_lowering_add(w, DT_LAYER_AFFINE, s->node->name, s->layer, &l));
    gives_reals(l);
    return copy_line(s, l->channels, l);
}

dt_status dt_lowering_add_pool(dt_lowering *w, const dt_node *node, dt_layer_kind kind, int from)
{
    const dt_pool_params *p = node->params;
    const dt_pool_view v = dt_pool_look(node);
    dt_layer *l;

    DT_CHECK(v.window[0] == v.window[1] && v.stride[0] == v.stride[1], DT_ERR_UNSUPPORTED,
             "%s: a pool of %dx%d windows at strides of %dx%d; a program's have one side and one stride", node->name,
             v.window[0], v.window[1], v.stride[0], v.stride[1]);
    DT_CHECK(!p->pad[0] && !p->pad[1] && !p->pad[2] && !p->pad[3], DT_ERR_UNSUPPORTED,
             "%s: a pool with a padding of %d, %d, %d, %d; a program's have none", node->name, p->pad[0], p->pad[1],
             p->pad[2], p->pad[3]);
    DT_CHECK(kind != DT_LAYER_AVGPOOL || v.window[0] * v.window[1] <= DT_POOL_F32_CELLS, DT_ERR_UNSUPPORTED,
             "%s: an average of %dx%d cells, summed in double; a program's sums are f32, of at most %d cells",
             node->name, v.window[0], v.window[1], DT_POOL_F32_CELLS);
    DT_TRY(dt_lowering_add(w, kind, node->name, from, &l));
    l->window_height = v.window[0];
    l->window_width = v.window[1];
    l->stride = v.stride[0];
    l->height = (int)v.out_height;
    l->width = (int)v.out_width;
    return DT_OK;
}

dt_status dt_source_reals(dt_lowering *w, dt_source *s, int *layer)
{
    dt_layer *l;
    int from = -1;

    if (s->reals >= 0) {
        *layer = s->reals;
        return DT_OK;
    }
    if (s->from) DT_TRY(dt_source_reals(w, s->from, &from));
    switch (s->kind) {
    case DT_SOURCE_LINE: DT_TRY(add_affine(w, s)); break;
    case DT_SOURCE_RELU: DT_TRY(dt_lowering_add(w, DT_LAYER_RELU, s->node->name, from, &l)); break;
    case DT_SOURCE_MAXPOOL: DT_TRY(dt_lowering_add_pool(w, s->node, DT_LAYER_MAXPOOL, from)); break;
    case DT_SOURCE_SAME: break;
    default:
        return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "%s: only what a convolution gave can be read as reals; quantize it for a convolution instead",
                        s->node->name);
    }
    *layer = s->reals = s->kind == DT_SOURCE_SAME ? from : dt_lowering_last(w);
    return DT_OK;
}

/* One channel between its psum and its code. */
typedef struct {
    float slope, offset;
    int relu;
    const dt_quantizer *q;
} step;

static int step_code(const void *user, int64_t psum)
{
    const step *s = user;
    const float y = s->slope * (float)psum + s->offset;
    const float v = s->relu && y < 0.0f ? 0.0f : y;
    return (int)dt_act_code(v, s->q->alpha, &s->q->grid, 0, s->q->params.rule);
}

static dt_status add_thresholds(dt_lowering *w, const dt_source *s, const dt_quantizer *q, int relu)
{
    dt_layer *l;

    DT_TRY(dt_lowering_add(w, DT_LAYER_THRESHOLD, q->name, s->layer, &l));
    const int64_t channels = l->channels, bound = l->high;
    l->value = DT_VALUE_CODE;
    l->low = relu ? 0 : q->grid.low; /* ReLU leaves no signed quantizer anything below 0 */
    l->high = q->grid.high;
    l->scale = q->scale;
    DT_TRY(copy_line(s, l->channels, l));
    l->sign = malloc((size_t)channels);
    l->threshold = malloc((size_t)(l->high - l->low) * (size_t)channels * sizeof *l->threshold);
    DT_CHECK(l->sign && l->threshold, DT_ERR_MEMORY, "no memory for the thresholds of %s", q->name);
    for (int64_t c = 0; c < channels; c++) {
        const step channel = { s->slope[c], s->offset[c], relu, q };
        l->sign[c] = s->slope[c] < 0.0f ? -1 : 1;
        const dt_steps steps = { step_code, &channel, l->sign[c], bound, l->low, l->high };
        dt_steps_find(&steps, l->threshold + c, channels);
    }
    return DT_OK;
}

static dt_status codes_of(dt_lowering *w, const dt_source *s, const dt_quantizer *q, int relu)
{
    switch (s->kind) {
    case DT_SOURCE_SAME: return codes_of(w, s->from, q, relu);
    case DT_SOURCE_RELU: return codes_of(w, s->from, q, 1);
    case DT_SOURCE_MAXPOOL:
        DT_TRY(codes_of(w, s->from, q, relu));
        return dt_lowering_add_pool(w, s->node, DT_LAYER_MAXPOOL, dt_lowering_last(w));
    default: return add_thresholds(w, s, q, relu);
    }
}

static dt_status add_quantize(dt_lowering *w, dt_source *s, const dt_quantizer *q)
{
    dt_layer *l;
    int from = -1;

    DT_TRY(dt_source_reals(w, s, &from));
    DT_TRY(dt_lowering_add(w, DT_LAYER_QUANTIZE, q->name, from, &l));
    l->value = DT_VALUE_CODE;
    l->low = q->grid.low;
    l->high = q->grid.high;
    l->scale = q->scale;
    l->alpha = q->alpha;
    l->bits = q->params.bits;
    l->rule = q->params.rule;
    return DT_OK;
}

dt_status dt_source_codes(dt_lowering *w, dt_source *s, const dt_quantizer *q)
{
    if (dt_source_base(s)->kind == DT_SOURCE_LINE) return codes_of(w, s, q, 0);
    return add_quantize(w, s, q);
}
