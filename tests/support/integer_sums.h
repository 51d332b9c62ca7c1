/*
 * integer_sums.h - sums of products of integers that are wider than detent's own, made of detent's: a convolution runs
 * on the tape once for each pair of bytes, where every sum is exact, and the bytes' sums are added in 64 bits.
 *
 *   x = 256 xh + xl, w = 256 wh + wl:  sum x w = 65536 sum xh wh + 256 (sum xh wl + sum xl wh) + sum xl wl
 */
#ifndef INTEGER_SUMS_H
#define INTEGER_SUMS_H

#include "../../core/conv_params.h"
#include "../../models/build.h"
#include "detent/predict.h"
#include "tiny_run.h"

enum { SUM_BYTE = 256, SUM_PLANES = 2 };

/* A convolution of n maps. A linear layer is one whose window is the map. */
typedef struct {
    int64_t n, height, width; /* of x, [n][height][width][shape.dim[3]] */
    dt_shape shape;           /* of w: K,R,S,C */
    dt_conv_params conv;
} sum_layer;

/* The byte of plane 0 or 1: in -128 .. 127, and what is left in units of 256. */
static inline float sum_byte(int32_t v, int plane)
{
    const int32_t low = (v + 128 + (1 << 20)) % SUM_BYTE - 128; /* 2^20 is a multiple of 256 above any |v| */
    return (float)(plane == 0 ? low : (v - low) / SUM_BYTE);
}

static inline float *sum_bytes(const int32_t *v, int64_t n, int plane)
{
    float *to = malloc((size_t)n * sizeof *to);
    for (int64_t i = 0; i < n; i++) to[i] = sum_byte(v[i], plane);
    return to;
}

static inline float *sum_one(void)
{
    float *one = malloc(sizeof *one);
    *one = 1.0f;
    return one;
}

/* image -> codes -> sums, which are the scores. It takes over w. */
static inline dt_graph *sum_network(const sum_layer *l, float *w)
{
    static const dt_codes_params bytes = { -SUM_BYTE, SUM_BYTE, 0 };
    const dt_quantize_params quantize = { .profile = DT_PROFILE_ONNX, .low = -SUM_BYTE, .high = SUM_BYTE };
    const dt_shape image = { 4, { 1, l->height, l->width, l->shape.dim[3] } }, scale = { 1, { 1 } };
    dt_builder b = { .status = DT_OK };
    MUST(dt_graph_create("sums", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    int one = dt_build_param(&b, "one", &scale, (dt_start){ .value = 1.0f });
    int codes[2] = { dt_build_param(&b, "weight", &l->shape, (dt_start){ 0 }), one };
    dt_graph_set_data(b.graph, codes[0], DT_F32, w);
    dt_graph_set_data(b.graph, one, DT_F32, sum_one());
    const int x[2] = { b.graph->image, one };
    const int in[2] = { dt_build_node(&b, DT_OP_QUANTIZE, "x", &quantize, x, 2),
                        dt_build_node(&b, DT_OP_CODES, "w", &bytes, codes, 2) };
    const int sums = dt_build_node(&b, DT_OP_CONV2D, "conv", &l->conv, in, 2);
    const int real = dt_build_apply(&b, DT_OP_DEQUANTIZE, "real", sums);
    b.graph->scores = dt_build_apply(&b, DT_OP_FLATTEN, "flat", real);
    cr_assert(b.status == DT_OK, "%s", dt_last_error());
    return b.graph;
}

/* Adds unit times the sums of one plane of x and one of w. */
static inline void sum_add_planes(dt_context *ctx, const sum_layer *l, const int32_t *x, const int32_t *w, int plane_x,
                                  int plane_w, int64_t n_out, int64_t *sum)
{
    const int64_t n_x = l->n * l->height * l->width * l->shape.dim[3];
    const int64_t unit = (int64_t)1 << (8 * (plane_x + plane_w));
    float *images = sum_bytes(x, n_x, plane_x), *out = malloc((size_t)n_out * sizeof *out);
    dt_model *m;
    MUST(dt_model_open(ctx, sum_network(l, sum_bytes(w, dt_count(&l->shape), plane_w)), &m));
    cr_assert(dt_graph_count(m->graph, m->graph->scores) * l->n == n_out);
    MUST(dt_predict(m, &(dt_prediction){ .normalised = images, .n = l->n }, out));
    for (int64_t i = 0; i < n_out; i++) sum[i] += unit * (int64_t)out[i];
    dt_model_destroy(m);
    free(out);
    free(images);
}

/* Writes the sums, [n][P][Q][K], n_out numbers. Integers are at most 2^16 in magnitude; fewer than 256 products make a
 * sum, so that a sum of bytes is below 2^24. */
static inline void integer_sums(dt_context *ctx, const sum_layer *l, const int32_t *x, const int32_t *w, int64_t n_out,
                                int64_t *sum)
{
    cr_assert(dt_count(&l->shape) / l->shape.dim[0] < 256);
    memset(sum, 0, (size_t)n_out * sizeof *sum);
    for (int i = 0; i < SUM_PLANES * SUM_PLANES; i++)
        sum_add_planes(ctx, l, x, w, i / SUM_PLANES, i % SUM_PLANES, n_out, sum);
}

#endif /* INTEGER_SUMS_H */
