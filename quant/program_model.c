/*
 * program_model.c - a program on a tape: its layers recorded as operators, its arrays as parameters that are not
 * trained. So it runs on any device, under dt_evaluate and dt_capture_layer, as any model does.
 *
 *   image      TABLE of image.table, image.scale
 *   CONV       CODES of name.weight, name.weight_scale; then CONV2D, or PSUM where an array makes the sums
 *   THRESHOLD  THRESHOLD of name.threshold, name.sign, name.act_scale
 *   AFFINE     AFFINE of name.slope, name.offset
 *   QUANTIZE   ACT_QUANT of name.act_alpha
 *   LINEAR     FLATTEN; LINEAR of name.weight, name.bias
 *   the rest by their own names
 *
 * Nodes are called as in the model that was lowered.  Tests: tests/test_program_model.c.
 */
#include "program.h"

#include "../core/conv_params.h"
#include "../core/model.h"
#include "../core/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A program whose graph is being built. */
typedef struct {
    const dt_program *program;
    const dt_array *array; /* NULL: psums of the grid */
    dt_graph *graph;
    int *value; /* [n_layers] of the graph: what each layer gives */
} builder;

static dt_status declare(const builder *b, const char *layer, const char *part, dt_shape shape, int *out)
{
    const dt_param_spec spec = { .shape = shape, .group = DT_GROUP_STATE, .values = DT_VALUES_ANY, .floor = -INFINITY };
    char name[DT_NAME_MAX];

    snprintf(name, sizeof name, "%s.%s", layer, part);
    return dt_graph_param(b->graph, name, &spec, out);
}

static dt_shape vector(int64_t n)
{
    return (dt_shape){ 1, { n } };
}

static dt_shape matrix(int64_t rows, int64_t columns)
{
    return (dt_shape){ 2, { rows, columns } };
}

/* A node for layer l, whose name no other value has: layers of several kinds have their convolution's. */
static dt_status add(const builder *b, dt_op_kind op, const dt_layer *l, const char *suffix, const void *params,
                     const int *in, int n_in, int *out)
{
    char name[DT_NAME_MAX];

    snprintf(name, sizeof name, "%s%s", l->name, suffix);
    return dt_graph_add(b->graph, op, name, params, in, n_in, out);
}

/* A layer whose name is free, or whose like of codes or reals has it: a max-pool may stand in both. */
static dt_status build_one(const builder *b, const dt_layer *l, dt_op_kind op, const void *params, const int *in,
                           int n_in, int *y)
{
    const char *suffix = dt_graph_find(b->graph, l->name) < 0 ? ""
                         : l->value == DT_VALUE_CODE          ? ".of_codes"
                                                              : ".of_reals";

    return add(b, op, l, suffix, params, in, n_in, y);
}

static dt_status build_conv(const builder *b, const dt_layer *l, int x, int *y)
{
    const dt_codes_params codes = { -l->weight_bound, dt_layer_weight_high(l) };
    const dt_conv_params conv = dt_conv_square(l->stride, l->pad);
    const int64_t channels = dt_graph_shape(b->graph, x)->dim[3];
    const dt_shape shape = { 4, { l->channels, l->window_height, l->window_width, channels } };
    int in[2], operands[2] = { x };

    DT_TRY(declare(b, l->name, "weight", shape, &in[0]));
    DT_TRY(declare(b, l->name, "weight_scale", vector(l->n_weight_scale), &in[1]));
    DT_TRY(add(b, DT_OP_CODES, l, ".codes", &codes, in, 2, &operands[1]));
    if (!b->array) return add(b, DT_OP_CONV2D, l, "", &conv, operands, 2, y);
    const dt_psum_params psum = { conv, *b->array };
    return add(b, DT_OP_PSUM, l, "", &psum, operands, 2, y);
}

static dt_status build_threshold(const builder *b, const dt_layer *l, int x, int *y)
{
    const dt_threshold_params params = { l->low };
    int in[4] = { x };

    DT_TRY(declare(b, l->name, "threshold", matrix(l->high - l->low, l->channels), &in[1]));
    DT_TRY(declare(b, l->name, "sign", vector(l->channels), &in[2]));
    DT_TRY(declare(b, l->name, "act_scale", vector(1), &in[3]));
    return add(b, DT_OP_THRESHOLD, l, DT_ACT_QUANT_SUFFIX, &params, in, 4, y);
}

static dt_status build_affine(const builder *b, const dt_layer *l, int x, int *y)
{
    int in[3] = { x };

    DT_TRY(declare(b, l->name, "slope", vector(l->channels), &in[1]));
    DT_TRY(declare(b, l->name, "offset", vector(l->channels), &in[2]));
    return build_one(b, l, DT_OP_AFFINE, NULL, in, 3, y);
}

static dt_status build_quantize(const builder *b, const dt_layer *l, int x, int *y)
{
    const dt_act_quant_params params = { .bits = l->bits, .is_signed = l->low < 0, .rule = l->rule };
    int in[2] = { x };

    DT_TRY(declare(b, l->name, "act_alpha", vector(1), &in[1]));
    return add(b, DT_OP_ACT_QUANT, l, DT_ACT_QUANT_SUFFIX, &params, in, 2, y);
}

static dt_status build_linear(const builder *b, const dt_layer *l, int x, int *y)
{
    const dt_linear_params params = { .in_order = 1 };
    int in[3];

    DT_TRY(add(b, DT_OP_FLATTEN, l, ".flatten", NULL, &x, 1, &in[0]));
    DT_TRY(declare(b, l->name, "weight", matrix(l->channels, dt_graph_shape(b->graph, in[0])->dim[1]), &in[1]));
    DT_TRY(declare(b, l->name, "bias", vector(l->channels), &in[2]));
    return add(b, DT_OP_LINEAR, l, "", &params, in, 3, y);
}

static dt_status build_layer(const builder *b, const dt_layer *l, const int in[2], int *y)
{
    const dt_pool_params pool = { .window = { l->window_height, l->window_height },
                                  .stride = { l->stride, l->stride } };

    switch (l->kind) {
    case DT_LAYER_CONV: return build_conv(b, l, in[0], y);
    case DT_LAYER_THRESHOLD: return build_threshold(b, l, in[0], y);
    case DT_LAYER_AFFINE: return build_affine(b, l, in[0], y);
    case DT_LAYER_RELU: return build_one(b, l, DT_OP_RELU, NULL, in, 1, y);
    case DT_LAYER_MAXPOOL: return build_one(b, l, DT_OP_MAXPOOL, &pool, in, 1, y);
    case DT_LAYER_AVGPOOL: return build_one(b, l, DT_OP_AVGPOOL, &pool, in, 1, y);
    case DT_LAYER_ADD: return build_one(b, l, DT_OP_ADD, NULL, in, 2, y);
    case DT_LAYER_QUANTIZE: return build_quantize(b, l, in[0], y);
    case DT_LAYER_LINEAR: return build_linear(b, l, in[0], y);
    case DT_LAYER_COUNT: break;
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "%s is of no known kind", l->name);
}

/* From u8 pixels to the codes of the first convolution. */
static dt_status build_image(const builder *b, int *x)
{
    const dt_program *p = b->program;
    const dt_shape pixels = { 4, { 1, p->height, p->width, p->channels } };
    const dt_table_params params = { p->low, p->high };
    int in[3];

    DT_TRY(dt_graph_give(b->graph, "image", DT_U8, &pixels, &b->graph->image));
    in[0] = b->graph->image;
    DT_TRY(declare(b, "image", "table", matrix(256, p->channels), &in[1]));
    DT_TRY(declare(b, "image", "scale", vector(1), &in[2]));
    return dt_graph_add(b->graph, DT_OP_TABLE, "image.codes", &params, in, 3, x);
}

static dt_status build_all(const builder *b)
{
    const int n = b->program->n_layers;
    int x;

    DT_TRY(build_image(b, &x));
    for (int i = 0; i < n; i++) {
        const dt_layer *l = &b->program->layer[i];
        int in[2];
        for (int k = 0; k < 2; k++) in[k] = l->in[k] == DT_FROM_IMAGE ? x : b->value[l->in[k]];
        DT_TRY(build_layer(b, l, in, &b->value[i]));
    }
    b->graph->scores = b->value[n - 1];
    return DT_OK;
}

static dt_status program_graph(const dt_program *p, const dt_array *array, dt_graph **out)
{
    builder b = { .program = p, .array = array, .value = calloc((size_t)p->n_layers, sizeof *b.value) };

    DT_CHECK(b.value, DT_ERR_MEMORY, "no memory for the %d layers of a program", p->n_layers);
    dt_status status = dt_graph_create(p->model, &b.graph);
    if (status == DT_OK) status = build_all(&b);
    free(b.value);
    if (status != DT_OK) {
        dt_graph_destroy(b.graph);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = b.graph;
    return DT_OK;
}

/* ---- parameters ---- */

typedef enum { FROM_F32, FROM_I8, FROM_I16, FROM_THRESHOLD } array_type;

static float value_at(const void *array, array_type type, int64_t i)
{
    switch (type) {
    case FROM_F32: break;
    case FROM_I8: return (float)((const int8_t *)array)[i];
    case FROM_I16: return (float)((const int16_t *)array)[i];
    case FROM_THRESHOLD: {
        const int32_t t = ((const int32_t *)array)[i];
        return t == INT32_MIN ? -INFINITY : t == INT32_MAX ? INFINITY : (float)t;
    }
    }
    return ((const float *)array)[i];
}

static dt_status fill(dt_model *m, const char *layer, const char *part, const void *array, array_type type)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    const int i = dt_model_find(m, name); /* record_layer declared it */
    const int64_t n = dt_count(&m->param[i]->tensor.shape);
    float *value = malloc((size_t)n * sizeof *value);

    DT_CHECK(value, DT_ERR_MEMORY, "no memory for %s", name);
    for (int64_t k = 0; k < n; k++) value[k] = value_at(array, type, k);
    const dt_status status = dt_model_write(m, i, value);
    free(value);
    return status;
}

/* Psums above 2^24 are rounded to f32 on a tape. Thresholds bisected from f32 arithmetic stand where that changes
 * nothing; a multiplier's may not. */
static dt_status check_thresholds(const dt_layer *l)
{
    for (int64_t i = 0; i < (int64_t)(l->high - l->low) * l->channels; i++) {
        const int32_t t = l->threshold[i];
        if (t == INT32_MIN || t == INT32_MAX) continue;
        DT_CHECK((float)(t - 1) < (float)t, DT_ERR_NUMERIC,
                 "%s: threshold %d of channel %lld parts two psums that f32 holds as one; run the program without "
                 "multipliers",
                 l->name, t, (long long)(i % l->channels));
    }
    return DT_OK;
}

static dt_status fill_layer(dt_model *m, const dt_layer *l)
{
    switch (l->kind) {
    case DT_LAYER_CONV:
        DT_TRY(fill(m, l->name, "weight", l->weight, FROM_I8));
        return fill(m, l->name, "weight_scale", l->weight_scale, FROM_F32);
    case DT_LAYER_THRESHOLD:
        DT_TRY(check_thresholds(l));
        DT_TRY(fill(m, l->name, "threshold", l->threshold, FROM_THRESHOLD));
        DT_TRY(fill(m, l->name, "sign", l->sign, FROM_I8));
        return fill(m, l->name, "act_scale", &l->scale, FROM_F32);
    case DT_LAYER_AFFINE:
        DT_TRY(fill(m, l->name, "slope", l->slope, FROM_F32));
        return fill(m, l->name, "offset", l->offset, FROM_F32);
    case DT_LAYER_QUANTIZE: return fill(m, l->name, "act_alpha", &l->alpha, FROM_F32);
    case DT_LAYER_LINEAR:
        DT_TRY(fill(m, l->name, "weight", l->matrix, FROM_F32));
        return fill(m, l->name, "bias", l->bias, FROM_F32);
    default: return DT_OK;
    }
}

static dt_status fill_all(dt_model *m, const dt_program *p)
{
    DT_TRY(fill(m, "image", "table", p->table, FROM_I16));
    DT_TRY(fill(m, "image", "scale", &p->scale, FROM_F32));
    for (int i = 0; i < p->n_layers; i++) DT_TRY(fill_layer(m, &p->layer[i]));
    return DT_OK;
}

dt_status dt_program_model(dt_context *ctx, const dt_program *p, const dt_array *array, dt_model **out)
{
    dt_graph *graph = NULL;
    dt_model *m;

    DT_TRY(dt_program_check(p));
    if (array) DT_TRY(dt_array_check(array));
    DT_TRY(program_graph(p, array, &graph));
    dt_model_config config = {
        .height = p->height, .width = p->width, .channels = p->channels, .n_classes = p->layer[p->n_layers - 1].channels
    };
    config.name = graph->name; /* which lives as long as the model */
    DT_TRY(dt_model_open(ctx, graph, &config, &m));
    m->origin = p->origin;
    const dt_status status = fill_all(m, p);
    if (status != DT_OK) {
        dt_model_destroy(m);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = m;
    return DT_OK;
}
