/*
 * lower_affine_codes.c - adds the node of a program that makes codes of what a value holds: see lower_affine.c.
 *
 * Biases are integers of the psums' scale: bias = round(b / (s_x * s_w)), half away from zero, in double, where s_w is
 * the weights' scale before it was rounded to f32. A bias that needs more than 2^30 steps has made s_w larger, so that
 * it needs 2^30.
 */
#include "lower_affine.h"

#include "../../core/arith/requantize.h"
#include "../../core/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBABILITY_STEPS = 256 };

/* "features.0" of the quantizer "features.0.quant" */
static void name_layer(dt_affine_quantizer *q)
{
    static const char end[] = ".quant";
    const char *name = dt_graph_name(q->w->from, q->node->out);
    const size_t bytes = strlen(name), cut = sizeof end - 1;
    const int has_end = bytes > cut && strcmp(name + bytes - cut, end) == 0;

    snprintf(q->name, sizeof q->name, "%.*s", (int)(has_end ? bytes - cut : bytes), name);
}

dt_status dt_affine_add_param(dt_graph *g, const char *name, const char *part, const dt_shape *shape, dt_dtype type,
                              void *data, int *out)
{
    dt_param_spec spec = dt_program_spec(shape);
    char whole[DT_NAME_MAX + 32];

    snprintf(whole, sizeof whole, "%s%s", name, part);
    if (type == DT_I32) spec.type = DT_I32;
    return dt_graph_param_with(g, whole, &spec, type, data, out);
}

/* The scale of a range, which all codes of that range share. */
static dt_status find_scale(dt_affine_quantizer *q, int range)
{
    int *known = &q->w->scale_of[range];
    const dt_shape one = dt_vector(1);

    if (*known < 0) {
        DT_TRY(dt_affine_add_param(q->w->program->graph, q->name, ".act_scale", &one, DT_F32,
                                   dt_program_one(q->grid.scale), known));
    }
    q->scale = *known;
    return DT_OK;
}

/* A real limit as a code: in f32, rounded half away from zero, as TensorFlow Lite does it. Evaluation limits the value
 * and rounds half to even, which for a quantizer that never falls is the same as to limit the code. */
static int limit_code(float limit, const dt_range_grid *grid, dt_profile profile)
{
    if (profile == DT_PROFILE_EXACT) return (int)dt_range_code(limit, grid);
    const double code = dt_round_away((double)(limit / grid->scale));

    return (int)(code < grid->low ? grid->low : code > grid->high ? grid->high : code);
}

static dt_status quantizer_open(dt_affine_lowering *w, const dt_graph_node *n, dt_affine_quantizer *q)
{
    const dt_range_quant_params *p = n->params;
    float *range = NULL;

    *q = (dt_affine_quantizer){ .w = w, .node = n, .x = &w->held[n->in[0]], .bits = p->bits };
    name_layer(q);
    DT_TRY(dt_affine_floats(w, n->in[1], &range));
    q->grid = dt_range_grid_of(range[0], range[1], p->bits, p->is_positive);
    free(range);
    DT_CHECK(isfinite(q->grid.scale) && q->grid.scale > 0.0f, DT_ERR_NUMERIC, "%s: its range has the scale %g", q->name,
             (double)q->grid.scale);
    q->low = q->grid.low;
    q->high = q->grid.high;
    if (q->x->is_limited) {
        const int low = limit_code(q->x->low, &q->grid, w->profile),
                  high = limit_code(q->x->high, &q->grid, w->profile);
        q->low = low > q->low ? low : q->low;
        q->high = high < q->high ? high : q->high;
    }
    return find_scale(q, n->in[1]);
}

dt_status dt_affine_add_node(const dt_affine_quantizer *q, dt_op_kind kind, const void *params, const int *in, int n_in,
                             int *y)
{
    char name[DT_NAME_MAX + 32];

    snprintf(name, sizeof name, "%s" DT_ACT_QUANT_SUFFIX, q->name);
    return dt_graph_add(q->w->program->graph, kind, name, params, in, n_in, y);
}

/* ---- the image ---- */

/* The image comes before all other values of the program, so that value 0 is no scale. */
static dt_status give_image(const dt_affine_lowering *w, const dt_graph_node *n)
{
    dt_graph *g = w->program->graph;
    dt_shape image = *dt_graph_shape(w->from, w->from->image);

    if (w->held[n->in[0]].holds != DT_AFFINE_IMAGE) return DT_OK;
    DT_CHECK(g->image < 0, DT_ERR_UNSUPPORTED, "%s: a second quantizer reads the image",
             dt_graph_name(w->from, n->out));
    image.dim[0] = 1;
    DT_TRY(dt_graph_give(g, "image", DT_F32, &image, &g->image));
    g->unit_pixels = w->from->unit_pixels;
    return DT_OK;
}

static dt_status quantize_image(dt_affine_quantizer *q, int *y)
{
    const dt_quantize_params params = { q->w->profile, q->low, q->high, q->grid.zero, DT_CAST_ROUND };
    const int in[2] = { q->w->program->graph->image, q->scale };

    return dt_affine_add_node(q, DT_OP_QUANTIZE, &params, in, 2, y);
}

/* ---- sums of layers ---- */

/* The weights of a layer, and what their scales follow from. */
typedef struct {
    const float *weight, *bias; /* bias NULL: none */
    int64_t filters, count;     /* count: weights of a filter */
    int n_scale, high;
    float scale_x;
} layer_view;

/* The scale of filter k before it is rounded. */
static double weight_step(const layer_view *v, int64_t k)
{
    const int64_t first = v->n_scale == 1 ? 0 : k * v->count, n = v->n_scale == 1 ? v->filters * v->count : v->count;
    double need = 0.0;
    float magnitude = 0.0f;

    for (int64_t i = first; i < first + n; i++) magnitude = dt_max_magnitude(magnitude, v->weight[i]);
    for (int64_t c = v->n_scale == 1 ? 0 : k; c < (v->n_scale == 1 ? v->filters : k + 1); c++) {
        const double steps = fabs((double)v->bias[c]) / ((double)v->scale_x * 1073741824.0);
        need = steps > need ? steps : need;
    }
    const double step = dt_max_step(magnitude, v->high, 0.0f);
    return need > step ? need : step;
}

static int32_t *make_bias(const layer_view *v)
{
    int32_t *bias = malloc((size_t)v->filters * sizeof *bias);
    double step = 0.0;

    for (int64_t k = 0; bias && k < v->filters; k++) {
        if (k == 0 || v->n_scale > 1) step = weight_step(v, k);
        const double code = dt_round_away((double)v->bias[k] / ((double)v->scale_x * step));
        bias[k] = (int32_t)(code > 1073741824.0 ? 1073741824.0 : code < -1073741824.0 ? -1073741824.0 : code);
    }
    return bias;
}

/* Adds the bias of a layer to the inputs of its REQUANTIZE. A layer whose sums are quantized twice, with and without a
 * ReLU, has it for each. */
static dt_status add_bias(const dt_affine_quantizer *q, const dt_graph_node *conv, int *out)
{
    const dt_affine_lowering *w = q->w;
    const dt_program *p = w->program;
    const dt_graph_node *quant = dt_graph_maker(w->from, q->x->node->in[1]);
    const dt_shape *shape = dt_graph_shape(w->from, quant->in[0]);
    const dt_shape channels = dt_vector(shape->dim[0]);
    const dt_graph_node *codes = dt_program_weights(p, conv);
    const dt_codes_params *range = codes->params;
    float *weight = NULL, *bias = NULL;
    char layer[DT_NAME_MAX + 1], first[DT_NAME_MAX + 8];

    snprintf(layer, sizeof layer, "%.*s", DT_NAME_MAX, dt_graph_name(w->from, q->x->node->out));
    snprintf(first, sizeof first, "%s.bias", layer);
    if (dt_graph_find(p->graph, first) >= 0) memcpy(layer, q->name, sizeof layer);
    DT_TRY(dt_affine_floats(w, quant->in[0], &weight));
    dt_status status = dt_affine_floats(w, q->x->bias, &bias);
    if (status == DT_OK) {
        const layer_view v = { .weight = weight,
                               .bias = bias,
                               .filters = shape->dim[0],
                               .count = dt_count(shape) / shape->dim[0],
                               .n_scale = w->from->value[quant->out]->facts.n_scale,
                               .high = range->high,
                               .scale_x = dt_program_scale(p, conv->in[0]) };
        status = dt_affine_add_param(p->graph, layer, ".bias", &channels, DT_I32, make_bias(&v), out);
    }
    free(weight);
    free(bias);
    return status;
}

static dt_status requantize_sum(dt_affine_quantizer *q, int *y)
{
    const dt_program *p = q->w->program;
    const dt_graph_node *conv = dt_graph_maker(p->graph, q->x->value);
    const int is_linear = q->x->node->kind == DT_OP_LINEAR;
    const dt_requantize_params params = {
        q->w->profile, is_linear ? DT_REQUANT_LINEAR : DT_REQUANT_CONV, q->low, q->high, 1, q->grid.zero
    };
    int in[5] = { q->x->value, dt_program_scale_param(p, conv->in[0]), q->scale,
                  dt_program_weights(p, conv)->in[DT_CODES_SCALE] };
    int n = 4;

    if (q->x->bias >= 0) DT_TRY(add_bias(q, conv, &in[n++]));
    return dt_affine_add_node(q, DT_OP_REQUANTIZE, &params, in, n, y);
}

/* ---- codes of codes ---- */

static dt_status requantize_codes(dt_affine_quantizer *q, int *y)
{
    const dt_requantize_params params = { q->w->profile, DT_REQUANT_CODES, q->low, q->high, 1, q->grid.zero };
    const int in[] = { q->x->value, dt_program_scale_param(q->w->program, q->x->value), q->scale };

    return dt_affine_add_node(q, DT_OP_REQUANTIZE, &params, in, 3, y);
}

dt_status dt_affine_add_binary(dt_affine_quantizer *q, int *y)
{
    const dt_program *p = q->w->program;
    const dt_qbinary_params params = { q->w->profile, q->low, q->high, 0, q->grid.zero };
    const int in[] = { q->x->value, q->x->other, dt_program_scale_param(p, q->x->value),
                       dt_program_scale_param(p, q->x->other), q->scale };

    return dt_affine_add_node(q, q->x->holds == DT_AFFINE_ADD ? DT_OP_QADD : DT_OP_QMUL, &params, in, 5, y);
}

dt_pool_params dt_affine_pool(const dt_affine_quantizer *q)
{
    const dt_value x = dt_program_value(q->w->program, q->x->value);
    dt_pool_params p = *(const dt_pool_params *)q->x->node->params;

    if (p.window[0] > 0) return p;
    p.window[0] = x.height;
    p.window[1] = x.width;
    p.stride[0] = p.stride[1] = 1;
    return p;
}

/* Of a range of its own: MEAN. Else codes of the range that it reads. */
static dt_status add_average(dt_affine_quantizer *q, int *y)
{
    const dt_pool_params pool = dt_affine_pool(q);
    const char *name = dt_graph_name(q->w->from, q->x->node->out);
    const dt_qavgpool_params codes = { pool, q->w->profile, q->low, q->high, q->grid.zero };
    const dt_requantize_params mean = {
        q->w->profile, DT_REQUANT_MEAN, q->low, q->high, pool.window[0] * pool.window[1], q->grid.zero
    };
    int in[3] = { q->x->value, dt_program_scale_param(q->w->program, q->x->value), q->scale };

    if (q->x->range == q->node->in[1]) return dt_affine_add_node(q, DT_OP_QAVGPOOL, &codes, in, 1, y);
    DT_CHECK(!pool.pad[0] && !pool.pad[1] && !pool.pad[2] && !pool.pad[3], DT_ERR_UNSUPPORTED,
             "%s: a padded average with a range of its own, which engines have not", name);
    DT_TRY(dt_program_add_plain(q->w->program->graph, DT_OP_AVGPOOL, name, &pool, &q->x->value, &in[0]));
    return dt_affine_add_node(q, DT_OP_REQUANTIZE, &mean, in, 3, y);
}

/* ---- functions ---- */

dt_status dt_affine_add_softmax(dt_affine_quantizer *q, int *y)
{
    const dt_qsoftmax_params params = { q->w->profile, 1.0f };
    const int in[] = { q->x->value, dt_program_scale_param(q->w->program, q->x->value), q->scale };

    return dt_affine_add_node(q, DT_OP_QSOFTMAX, &params, in, 3, y);
}

/* The codes of probabilities, rounded half to even. */
static dt_status add_sigmoid(dt_affine_quantizer *q, int *y)
{
    const dt_value x = dt_program_value(q->w->program, q->x->value);
    const double scale = (double)dt_program_scale(q->w->program, q->x->value);
    const dt_shape rows = { 2, { x.high - x.low + 1, 1 } };
    const dt_table_params params = { .low = 0, .high = PROBABILITY_STEPS - 1, .first = x.low };
    int16_t *table = malloc((size_t)rows.dim[0] * sizeof *table);
    int in[3] = { q->x->value, -1, q->scale };

    for (int i = 0; table && i < rows.dim[0]; i++) {
        const double code = rint(PROBABILITY_STEPS / (1.0 + exp(-scale * (x.low + i))));
        table[i] = (int16_t)(code > params.high ? params.high : code);
    }
    DT_TRY(dt_affine_add_param(q->w->program->graph, q->name, ".table", &rows, DT_I16, table, &in[1]));
    return dt_affine_add_node(q, DT_OP_TABLE, &params, in, 3, y);
}

/* Adds the node of an engine's profile that makes the codes *y of what the quantizer reads, but of an image. */
static dt_status add_engine_codes(dt_affine_quantizer *q, int *y)
{
    switch (q->x->holds) {
    case DT_AFFINE_SUM: return requantize_sum(q, y);
    case DT_AFFINE_CODES: return requantize_codes(q, y);
    case DT_AFFINE_ADD:
    case DT_AFFINE_MUL: return dt_affine_add_binary(q, y);
    case DT_AFFINE_AVERAGE: return add_average(q, y);
    case DT_AFFINE_SOFTMAX: return dt_affine_add_softmax(q, y);
    default: return add_sigmoid(q, y);
    }
}

dt_status dt_lower_range_quant(dt_affine_lowering *w, const dt_graph_node *n)
{
    const dt_affine_holds holds = w->held[n->in[0]].holds;
    dt_affine_quantizer q;
    int y = -1;

    DT_CHECK(holds != DT_AFFINE_NOTHING && holds != DT_AFFINE_REALS, DT_ERR_UNSUPPORTED,
             "%s: quantizes %s, which an engine has not as integers", dt_graph_name(w->from, n->out),
             dt_graph_name(w->from, n->in[0]));
    DT_TRY(give_image(w, n));
    DT_TRY(quantizer_open(w, n, &q));
    if (holds == DT_AFFINE_IMAGE)
        DT_TRY(quantize_image(&q, &y));
    else
        DT_TRY((w->profile == DT_PROFILE_EXACT ? dt_lower_exact_codes : add_engine_codes)(&q, &y));
    w->held[n->out] =
        (dt_affine_held){ .holds = DT_AFFINE_CODES, .node = n, .value = y, .range = n->in[1], .bias = -1 };
    return DT_OK;
}
