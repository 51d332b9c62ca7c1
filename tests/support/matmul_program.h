/*
 * matmul_program.h - a small program of matrices under a profile, for tests: products of codes by codes and by matrices
 *                    of the network's, on either side, with and without a zero point, and transposes.
 *
 *   image 2x3x4 reals -> quantize: 2 matrices 3x4 -> right: by 2 constants 4x5 -> turned: 3 matrices 2x5 -> left: the
 *   transpose of a constant 2x3 by each -> self: 3x5 by its own transpose -> seen as one matrix 3x9 -> last: by the
 *   transpose of a constant 4x9 -> dequantize -> flatten
 */
#ifndef MATMUL_PROGRAM_H
#define MATMUL_PROGRAM_H

#include "engine_program.h"

enum { MATMUL_IMAGE = 2 * 3 * 4, MATMUL_CLASSES = 3 * 4 };

/* A constant matrix: its codes, 0 among them, of low..low + 255; *scale is the parameter of their scale. */
static inline int matmul_constant(engine_maker *m, const char *name, const dt_shape *shape, int low, int *scale)
{
    const int64_t n = dt_count(shape);
    const dt_codes_params range = { low, low + 255, 0 };
    int16_t *code = malloc((size_t)n * sizeof *code);
    char text[64];

    for (int64_t i = 0; i < n; i++) code[i] = (int16_t)(low + engine_draw(m->drawn++, 256));
    snprintf(text, sizeof text, "%s.weight", name);
    const int weight = engine_param(m, text, shape, DT_I16, code);
    snprintf(text, sizeof text, "%s.weight_scale", name);
    *scale = engine_scale(m, text, 0.011f);
    const int in[] = { weight, *scale };
    snprintf(text, sizeof text, "%s.codes", name);
    return engine_node(m, DT_OP_CODES, text, &range, in, 2);
}

/* What a product reads: operands and their scales. */
typedef struct {
    int a, b, scale_a, scale_b;
} matmul_operands;

/* Codes low..low + 255 of a product. */
static inline int matmul_product(engine_maker *m, const char *name, matmul_operands of, dt_qmatmul_params p,
                                 float scale, int *y_scale)
{
    char text[64];

    snprintf(text, sizeof text, "%s.act_scale", name);
    *y_scale = engine_scale(m, text, scale);
    const int in[] = { of.a, of.b, of.scale_a, of.scale_b, *y_scale };
    p.profile = m->profile;
    p.high = p.low + 255;
    p.zero = -128 - p.low;
    return engine_node(m, DT_OP_QMATMUL, name, &p, in, 5);
}

/* Makes the program; dt_program_destroy frees it. */
static inline dt_program *matmul_program(dt_profile profile)
{
    static const dt_shape image = { 4, { 1, 2, 3, 4 } }, right = { 4, { 1, 2, 4, 5 } }, left = { 4, { 1, 1, 2, 3 } },
                          last = { 4, { 1, 1, 4, 9 } };
    const dt_quantize_params quantize = { profile, -101, 154, -27, DT_CAST_ROUND };
    const dt_transpose_params turn = { 2, 3, 4, { 0, 3, 2, 5 } }, seen = { 1, 1, 4, { 0, 1, 3, 9 } };
    dt_program *p = calloc(1, sizeof *p);
    engine_maker m = { .profile = profile, .drawn = 1 };
    int w, s, x_scale, y_scale;

    engine_must(dt_graph_create("matmul", &m.g));
    p->graph = m.g;
    engine_must(dt_graph_give(m.g, "image", DT_F32, &image, &m.g->image));
    const int in[] = { m.g->image, x_scale = engine_scale(&m, "image.scale", 0.02f) };
    int x = engine_node(&m, DT_OP_QUANTIZE, "image.codes", &quantize, in, 2);
    w = matmul_constant(&m, "right", &right, -128, &s);
    x = matmul_product(&m, "right", (matmul_operands){ x, w, x_scale, s }, (dt_qmatmul_params){ .low = -90 }, 0.03f,
                       &y_scale);
    x = engine_node(&m, DT_OP_TRANSPOSE, "turned", &turn, &x, 1);
    w = matmul_constant(&m, "left", &left, 0, &s);
    x = matmul_product(&m, "left", (matmul_operands){ w, x, s, y_scale },
                       (dt_qmatmul_params){ .low = -128, .shifted = 1, .transpose_a = 1 }, 0.04f, &x_scale);
    x = matmul_product(&m, "self", (matmul_operands){ x, x, x_scale, x_scale },
                       (dt_qmatmul_params){ .low = -128, .transpose_b = 1 }, 0.5f, &y_scale);
    x = engine_node(&m, DT_OP_TRANSPOSE, "seen", &seen, &x, 1);
    w = matmul_constant(&m, "last", &last, -200, &s);
    x = matmul_product(&m, "last", (matmul_operands){ x, w, y_scale, s },
                       (dt_qmatmul_params){ .low = -128, .shifted = 1, .transpose_b = 1 }, 2.0f, &x_scale);
    x = engine_node(&m, DT_OP_DEQUANTIZE, "scores.reals", NULL, &x, 1);
    m.g->scores = engine_node(&m, DT_OP_FLATTEN, "scores", NULL, &x, 1);
    return p;
}

/* Reals of n images, some beyond the range of the image's codes; the caller frees them. */
static inline float *matmul_images(int n)
{
    float *image = malloc((size_t)(n * MATMUL_IMAGE) * sizeof *image);

    for (int i = 0; i < n * MATMUL_IMAGE; i++)
        image[i] = 0.004f * (float)(engine_draw((uint32_t)i + 70000u, 2000) - 1000);
    return image;
}

#endif /* MATMUL_PROGRAM_H */
