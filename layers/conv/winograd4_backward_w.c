/*
 * winograd4_backward_w.c - dw of a 3x3 convolution from transformed tiles of 4x4, f32.
 *
 *   dw = G^T [ sum over the tiles of (A dy A^T) . (B^T x B) ] G
 *
 * These are 36 products of [K x tiles] and [tiles x C]. B^T x B of codes is an integer, at most 100 times the largest
 * code, and exact. The result is multiplied by x's scale.
 *
 * An item (winograd_dw.h) keeps its 36 sums in the cache while its tiles pass in chunks, which are transformed just
 * before. x and dy are transformed again for each block.
 *
 * Transforms: winograd4_tiles.h.  Mathematics of dw: conv.c.  Tests: tests/layers/test_winograd4.c.
 */
#include "winograd4.h"

#include "../gemm/float_gemm.h"

#if defined(__x86_64__)

#include "winograd4_tiles.h"
#include "winograd_dw.h"

const char *dt_winograd4_backward_w_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_dtype type = node->in[0]->type;
    const char *why = dt_winograd4_refuses(node, ex);

    if (why) return why;
    return type == DT_F32 || type == DT_U8 || type == DT_I8 ? NULL : "the type of x";
}

/* B^T x B of an item's channels, tiles tile .. end - 1 */
DT_TILES4_INLINE void x_typed(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end, const dt_dw_room *r,
                              dt_dtype type)
{
    const int64_t value = (int64_t)dt_type_bytes(type);
    const dt_tile_source x = { (const char *)b->node->in[0]->data + a->c * value, b->s.C * value, r->zeros };
    float *to = r->x;

    for (int64_t t = tile; t < end; t++, to += a->channels) {
        const char *pixel[DT_WINOGRAD4_POINTS];
        dt_tile_pixels(&b->map, &x, t, -1, 6, pixel);
        for (int64_t c = 0; c < a->channels; c += DT_TILES4_LANES) {
            __m256 y[DT_WINOGRAD4_POINTS];
            dt_tile4_inputs(pixel, c, type, y);
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(to + p * b->x_words + c, y[p]);
        }
    }
}

static DT_TILES4 void transform_x(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end,
                                  const dt_dw_room *r)
{
    switch (b->node->in[0]->type) {
    case DT_U8: x_typed(b, a, tile, end, r, DT_U8); break;
    case DT_I8: x_typed(b, a, tile, end, r, DT_I8); break;
    default: x_typed(b, a, tile, end, r, DT_F32); break;
    }
}

/* A dy A^T of an item's filters, tiles tile .. end - 1 */
static DT_TILES4 void transform_dy(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end,
                                   const dt_dw_room *r)
{
    const int64_t value = (int64_t)sizeof(float);
    const dt_tile_source dy = { (const char *)b->node->out->grad + a->k * value, b->s.K * value, r->zeros };
    float *to = r->dy;

    for (int64_t t = tile; t < end; t++, to += a->filters) {
        const char *pixel[DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE];
        dt_tile_pixels(&b->map, &dy, t, 0, DT_WINOGRAD4_SIDE, pixel);
        for (int64_t k = 0; k < a->filters; k += DT_TILES4_LANES) {
            __m256 y[DT_WINOGRAD4_POINTS];
            dt_tile4_outputs(pixel, k, y);
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(to + p * b->dy_words + k, y[p]);
        }
    }
}

static void multiply(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end, const dt_dw_room *r)
{
    const float *x = r->x, *dy = r->dy;

    for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) {
        const dt_float_gemm g = { .m = a->filters,
                                  .n = a->channels,
                                  .k = end - tile,
                                  .a = dy + p * b->dy_words,
                                  .a_row = 1,
                                  .a_step = a->filters,
                                  .b = x + p * b->x_words,
                                  .b_row = a->channels,
                                  .c = r->sums + p * b->sums_words,
                                  .c_row = a->channels,
                                  .add = tile > a->tile };
        dt_float_gemm_run(&g);
    }
}

/* G^T m of six values, into three */
DT_TILES4_INLINE void taps_line(const __m256 *m, __m256 *g)
{
    const __m256 sixth = _mm256_set1_ps(1.0f / 6.0f), twelfth = _mm256_set1_ps(1.0f / 12.0f);
    const __m256 near = _mm256_add_ps(m[1], m[2]), near_odd = _mm256_sub_ps(m[2], m[1]);
    const __m256 far = _mm256_add_ps(m[3], m[4]), far_odd = _mm256_sub_ps(m[3], m[4]);

    g[0] = _mm256_fmadd_ps(_mm256_set1_ps(0.25f), m[0],
                           _mm256_fmsub_ps(_mm256_set1_ps(1.0f / 24.0f), far, _mm256_mul_ps(sixth, near)));
    g[1] = _mm256_fmadd_ps(sixth, near_odd, _mm256_mul_ps(twelfth, far_odd));
    g[2] = _mm256_fmadd_ps(sixth, _mm256_sub_ps(far, near), m[5]);
}

/* scale G^T M G to [filters][9][channels] of dw, whose rows are C long */
static DT_TILES4 void transform_sums(const dt_dw_plan *b, const dt_dw_span *a, const float *sums,
                                     const dt_dw_target *target)
{
    const __m256 scales = _mm256_set1_ps(target->scale);

    for (int64_t at = 0; at < a->filters * a->channels; at += DT_TILES4_LANES) {
        const int64_t k = at / a->channels, c = at - k * a->channels;
        float *to = target->dw + (a->k + k) * 9 * b->s.C + a->c + c;
        __m256 half[3][6], g[9];
        for (int t = 0; t < 6; t++) {
            __m256 m[6], column[3];
#pragma GCC unroll 6
            for (int r = 0; r < 6; r++) m[r] = _mm256_loadu_ps(sums + (6 * r + t) * b->sums_words + at);
            taps_line(m, column);
#pragma GCC unroll 3
            for (int r = 0; r < 3; r++) half[r][t] = column[r];
        }
        for (int r = 0; r < 3; r++) taps_line(half[r], g + 3 * r);
        for (int tap = 0; tap < 9; tap++, to += b->s.C) {
            const __m256 value = _mm256_mul_ps(scales, g[tap]);
            _mm256_storeu_ps(to, target->add ? _mm256_add_ps(_mm256_loadu_ps(to), value) : value);
        }
    }
}

/* The sums of a block take 600 KB of cache, its chunk of tiles 450. */
static const dt_dw_kernel kernel = {
    .side = DT_WINOGRAD4_SIDE,
    .points = DT_WINOGRAD4_POINTS,
    .filters = 64,
    .channels = 64,
    .chunk = 24,
    .step = 1,
    .part = 256,
    .x = transform_x,
    .dy = transform_dy,
    .multiply = multiply,
    .give = transform_sums,
};

size_t dt_winograd4_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    (void)ex;
    return dt_dw_scratch(&kernel, node, threads);
}

void dt_winograd4_backward_w(const dt_node *node, const dt_exec *ex, int threads)
{
    dt_dw_run(&kernel, node, ex->scratch, threads);
}

#endif /* else winograd4.c */
