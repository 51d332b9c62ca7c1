/*
 * engine_program.h - a small program that computes under a profile, for tests: every operator of codes once.
 *
 *   image 6x5x3 reals -> quantize -> conv 3x3, 5 filters -> requantize -> maxpool 2x2 -> conv 1x1, 5 filters,
 *   requantize; that + the max-pool (qadd), times the max-pool (qmul) -> qavgpool 2x2 -> table (a sigmoid) -> codes of
 *   another scale (requantize) -> mean -> conv of the whole map, 4 filters (linear) -> softmax -> dequantize -> flatten
 */
#ifndef ENGINE_PROGRAM_H
#define ENGINE_PROGRAM_H

#include "../../core/conv_params.h"
#include "../../quant/program/program_build.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENGINE_HEIGHT = 6, ENGINE_WIDTH = 5, ENGINE_CHANNELS = 3, ENGINE_CLASSES = 4 };

static inline void engine_must(dt_status status)
{
    cr_assert_eq(status, DT_OK, "%s", dt_last_error());
}

/* A number in 0..most-1 that depends on i alone. */
static inline int engine_draw(uint32_t i, int most)
{
    i = (i ^ 61u ^ (i >> 16)) * 2654435761u;
    i = (i ^ (i >> 15)) * 2246822519u;
    return (int)((i ^ (i >> 13)) % (uint32_t)most);
}

typedef struct {
    dt_graph *g;
    dt_profile profile;
    uint32_t drawn; /* so that no two arrays are equal */
} engine_maker;

static inline int engine_param(engine_maker *m, const char *name, const dt_shape *shape, dt_dtype type, void *data)
{
    dt_param_spec spec = dt_program_spec(shape);
    int value;

    if (type == DT_I32) spec.type = DT_I32;
    engine_must(dt_graph_param(m->g, name, &spec, &value));
    dt_graph_set_data(m->g, value, type, data);
    return value;
}

static inline int engine_scale(engine_maker *m, const char *name, float scale)
{
    const dt_shape one = dt_vector(1);
    return engine_param(m, name, &one, DT_F32, dt_program_one(scale));
}

static inline int engine_node(engine_maker *m, dt_op_kind kind, const char *name, const void *params, const int *in,
                              int n_in)
{
    int y;
    engine_must(dt_graph_add(m->g, kind, name, params, in, n_in, &y));
    return y;
}

/* Weights of a convolution, K,R,S,C, with a scale for each filter; w[0] the codes, w[1] the scales. */
static inline void engine_weights(engine_maker *m, const char *name, const dt_shape *shape, int w[2])
{
    const int64_t n = dt_count(shape), filters = shape->dim[0];
    const dt_shape scales = dt_vector(filters);
    int8_t *code = malloc((size_t)n);
    float *scale = malloc((size_t)filters * sizeof *scale);
    char text[64];
    int in[2];

    for (int64_t i = 0; i < n; i++) code[i] = (int8_t)(engine_draw(m->drawn++, 255) - 127);
    const dt_codes_params range = { -127, 127, dt_program_sum_most(code, shape) };
    for (int64_t i = 0; i < filters; i++) scale[i] = 0.004f + 0.0007f * (float)i;
    snprintf(text, sizeof text, "%s.weight", name);
    in[0] = engine_param(m, text, shape, DT_I8, code);
    snprintf(text, sizeof text, "%s.weight_scale", name);
    in[1] = w[1] = engine_param(m, text, &scales, DT_F32, scale);
    snprintf(text, sizeof text, "%s.codes", name);
    w[0] = engine_node(m, DT_OP_CODES, text, &range, in, 2);
}

/* A layer: its convolution, and codes low..low + 255 of scale *y_scale. x_scale is the parameter of x's. */
static inline int engine_layer(engine_maker *m, const char *name, const dt_shape *shape, int pad, int x, int x_scale,
                               int low, float scale, int *y_scale)
{
    const dt_conv_params conv = dt_conv_square(1, pad);
    const int is_linear = strcmp(name, "classifier") == 0;
    const dt_requantize_params p = { m->profile, is_linear ? DT_REQUANT_LINEAR : DT_REQUANT_CONV, low, low + 255, 1,
                                     -128 - low };
    const dt_shape channels = dt_vector(shape->dim[0]);
    int32_t *bias = malloc((size_t)shape->dim[0] * sizeof *bias);
    int w[2], operands[2] = { x }, in[5];
    char text[64];

    for (int64_t i = 0; i < shape->dim[0]; i++) bias[i] = engine_draw(m->drawn++, 4000) - 2000;
    engine_weights(m, name, shape, w);
    operands[1] = w[0];
    in[0] = engine_node(m, DT_OP_CONV2D, name, &conv, operands, 2);
    in[1] = x_scale;
    snprintf(text, sizeof text, "%s.act_scale", name);
    in[2] = *y_scale = engine_scale(m, text, scale);
    in[3] = w[1];
    snprintf(text, sizeof text, "%s.bias", name);
    in[4] = engine_param(m, text, &channels, DT_I32, bias);
    snprintf(text, sizeof text, "%s.act_quant", name);
    return engine_node(m, DT_OP_REQUANTIZE, text, &p, in, 5);
}

static inline int engine_table(engine_maker *m, int x, float scale_x, int low, int scale_y)
{
    const dt_table_params p = { .low = 0, .high = 255, .first = low };
    const dt_shape rows = { 2, { 256, 1 } };
    int16_t *table = malloc(256 * sizeof *table);

    for (int i = 0; i < 256; i++) {
        const double share = 256.0 / (1.0 + exp(-(double)scale_x * (low + i)));
        table[i] = (int16_t)fmin(rint(share), 255.0);
    }
    const int in[] = { x, engine_param(m, "sigmoid.table", &rows, DT_I16, table), scale_y };
    return engine_node(m, DT_OP_TABLE, "sigmoid", &p, in, 3);
}

/* The middle, from the max-pool's codes with the parameter of their scale to codes of the mean. */
static inline int engine_middle(engine_maker *m, int pool, int pool_scale, int *y_scale)
{
    const dt_qbinary_params binary = { m->profile, -100, 155, 0, -28 };
    const dt_qavgpool_params average = { { { 2, 2 }, { 1, 1 }, { 0 }, 0 }, m->profile, -100, 155, -28 };
    const dt_pool_params whole = { { 2, 1 }, { 1, 1 }, { 0 }, 0 };
    const dt_requantize_params other = { m->profile, DT_REQUANT_CODES, 0, 255, 1, -128 };
    dt_requantize_params mean = { m->profile, DT_REQUANT_MEAN, 0, 255, 2, -128 };
    const dt_shape one = { 4, { 5, 1, 1, 5 } };
    int scale, sum_scale = engine_scale(m, "sum.act_scale", 0.05f), product_scale, sigmoid_scale;

    const int branch = engine_layer(m, "branch", &one, 0, pool, pool_scale, -128, 0.07f, &scale);
    const int add[] = { branch, pool, scale, pool_scale, sum_scale };
    const int sum = engine_node(m, DT_OP_QADD, "sum", &binary, add, 5);
    product_scale = engine_scale(m, "product.act_scale", 0.06f);
    const int mul[] = { sum, pool, sum_scale, pool_scale, product_scale };
    const int product = engine_node(m, DT_OP_QMUL, "product", &binary, mul, 5);
    const int averaged = engine_node(m, DT_OP_QAVGPOOL, "average", &average, &product, 1);
    sigmoid_scale = engine_scale(m, "sigmoid.act_scale", 1.0f / 256.0f);
    const int shares = engine_table(m, averaged, 0.06f, -100, sigmoid_scale);
    const int rescaled_scale = engine_scale(m, "rescaled.act_scale", 0.0043f);
    const int rescale[] = { shares, sigmoid_scale, rescaled_scale };
    const int rescaled = engine_node(m, DT_OP_REQUANTIZE, "rescaled.act_quant", &other, rescale, 3);
    *y_scale = engine_scale(m, "mean.act_scale", 0.0037f);
    const int in[] = { engine_node(m, DT_OP_AVGPOOL, "mean", &whole, &rescaled, 1), rescaled_scale, *y_scale };
    return engine_node(m, DT_OP_REQUANTIZE, "mean.act_quant", &mean, in, 3);
}

/* Makes the program; dt_program_destroy frees it. */
static inline dt_program *engine_program(dt_profile profile)
{
    dt_program *p = calloc(1, sizeof *p);
    engine_maker m = { .profile = profile, .drawn = 1 };
    const dt_shape image = { 4, { 1, ENGINE_HEIGHT, ENGINE_WIDTH, ENGINE_CHANNELS } };
    const dt_shape first = { 4, { 5, 3, 3, ENGINE_CHANNELS } }, last = { 4, { ENGINE_CLASSES, 1, 1, 5 } };
    const dt_quantize_params quantize = { profile, -128, 127, 0, DT_CAST_ROUND };
    const dt_pool_params pool = dt_pool_square(2);
    const dt_qsoftmax_params softmax = { profile, 1.0f };
    int x_scale, y_scale;

    engine_must(dt_graph_create("engine", &m.g));
    p->graph = m.g;
    engine_must(dt_graph_give(m.g, "image", DT_F32, &image, &m.g->image));
    const int in[] = { m.g->image, x_scale = engine_scale(&m, "image.scale", 0.02f) };
    int x = engine_node(&m, DT_OP_QUANTIZE, "image.codes", &quantize, in, 2);
    x = engine_layer(&m, "first", &first, 1, x, x_scale, -40, 0.11f, &y_scale);
    x = engine_node(&m, DT_OP_MAXPOOL, "pool", &pool, &x, 1);
    x = engine_middle(&m, x, y_scale, &x_scale);
    x = engine_layer(&m, "classifier", &last, 0, x, x_scale, -128, 0.015f, &y_scale);
    const int shares[] = { x, y_scale, engine_scale(&m, "softmax.act_scale", 1.0f / 256.0f) };
    x = engine_node(&m, DT_OP_QSOFTMAX, "softmax", &softmax, shares, 3);
    x = engine_node(&m, DT_OP_DEQUANTIZE, "scores.reals", NULL, &x, 1);
    m.g->scores = engine_node(&m, DT_OP_FLATTEN, "scores", NULL, &x, 1);
    return p;
}

/* Reals of n images, some beyond the range of the image's codes; the caller frees them. */
static inline float *engine_images(int n)
{
    const int count = n * ENGINE_HEIGHT * ENGINE_WIDTH * ENGINE_CHANNELS;
    float *image = malloc((size_t)count * sizeof *image);

    for (int i = 0; i < count; i++) image[i] = 0.003f * (float)(engine_draw((uint32_t)i + 90000u, 2000) - 1000);
    return image;
}

#endif /* ENGINE_PROGRAM_H */
