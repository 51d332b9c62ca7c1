/*
 * drawn_model.h - networks of reals with drawn parameters, quantized after training on drawn images.
 *
 * Used by: tests/quant/test_lower_exact.c, tests/formats/test_program_c_exact.c.
 */
#ifndef DRAWN_MODEL_H
#define DRAWN_MODEL_H

#include "range_networks.h"

#include <math.h>

enum { DRAWN_CALIBRATED = 16 }; /* images on which a network is quantized */

/* A number in -1..1 that depends on i alone. */
static inline float drawn_number(uint32_t i)
{
    i = (i ^ 61u ^ (i >> 16)) * 2654435761u;
    i = (i ^ (i >> 15)) * 2246822519u;
    return (float)((i ^ (i >> 13)) % 20001u) / 10000.0f - 1.0f;
}

/* n images of `size` numbers. */
static inline float *drawn_images(int n, int size)
{
    float *v = malloc((size_t)n * (size_t)size * sizeof *v);

    for (int i = 0; i < n * size; i++) v[i] = 1.5f * drawn_number((uint32_t)i + 700000u) + 0.2f;
    return v;
}

/* Variances above 0, weights of the size that their number asks for, the rest near 0. */
static inline void draw_parameters(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const dt_shape *shape = &m->param[i]->tensor.shape;
        const int64_t n = dt_count(shape);
        const int is_variance = strstr(m->param[i]->name, "running_var") != NULL;
        const float size = shape->ndim > 1 ? 2.0f / sqrtf((float)(n / shape->dim[0])) : 0.8f;
        float *v = malloc((size_t)n * sizeof *v);
        for (int64_t k = 0; k < n; k++)
            v[k] = drawn_number((uint32_t)(1000 * i + k)) * size + (is_variance ? 1.0f : 0.0f);
        MUST(dt_model_write(m, i, v));
        free(v);
    }
}

/* The network with drawn parameters, quantized on drawn images of `size` numbers. The graph is taken over. */
static inline dt_model *drawn_model(dt_context *ctx, dt_graph *g, const dt_quantization *how, int size)
{
    float *images = drawn_images(DRAWN_CALIBRATED, size);
    dt_quantization what = *how;
    dt_model *m, *q;

    MUST(dt_model_open(ctx, g, &m));
    draw_parameters(m);
    what.normalised = images;
    what.n = DRAWN_CALIBRATED;
    MUST(dt_quantize(m, &what, &q));
    dt_model_destroy(m);
    free(images);
    return q;
}

#endif /* DRAWN_MODEL_H */
