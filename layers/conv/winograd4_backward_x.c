/*
 * winograd4_backward_x.c - dx of a 3x3 convolution from transformed tiles of 4x4, f32.
 *
 *   dx = A^T [ U . (B^T dy B) ] A summed over the filters, U = G g G^T, g the filter turned by 180 degrees
 *
 * U' = (24 G) g (24 G)^T of codes is an integer below 2^24, and exact. The result is multiplied by 1/576 and the scale.
 * If each filter has a scale of its own, U' is multiplied by it.
 *
 * winograd_dx.h says how the work is cut. One point's share of U', and of a chunk of tiles, fits a second-level cache;
 * all points' share of both a third-level one.
 *
 * Transforms: winograd4_tiles.h.  Mathematics of dx: conv.c.  Tests: tests/layers/test_winograd4.c.
 */
#include "winograd4.h"

#include "../gemm/float_gemm.h"

#if defined(__x86_64__)

#include "winograd4_tiles.h"
#include "winograd_dx.h"

#include <assert.h>

const char *dt_winograd4_backward_x_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_dtype type = node->in[1]->type;
    const char *why = dt_winograd4_refuses(node, ex);

    if (why) return why;
    return type == DT_F32 || type == DT_I8 ? NULL : "the type of w";
}

/* y = 24 G g of three values */
DT_TILES4_INLINE void filter_line(__m256 g0, __m256 g1, __m256 g2, __m256 *y, int step)
{
    const __m256 two = _mm256_set1_ps(2.0f), four = _mm256_set1_ps(4.0f);
    const __m256 ends = _mm256_mul_ps(_mm256_set1_ps(-4.0f), _mm256_add_ps(g0, g2)),
                 far = _mm256_fmadd_ps(four, g2, g0);

    y[0] = _mm256_mul_ps(_mm256_set1_ps(6.0f), g0);
    y[step] = _mm256_fnmadd_ps(four, g1, ends);
    y[2 * step] = _mm256_fmadd_ps(four, g1, ends);
    y[3 * step] = _mm256_fmadd_ps(two, g1, far);
    y[4 * step] = _mm256_fnmadd_ps(two, g1, far);
    y[5 * step] = _mm256_mul_ps(_mm256_set1_ps(24.0f), g2);
}

/* U' of one filter turned by 180 degrees, 8 channels; taps lie C values apart. */
DT_TILES4_INLINE void filter_points(const char *w, int64_t C, dt_dtype type, float scale, __m256 *y)
{
    __m256 g[9], half[18];

#pragma GCC unroll 9
    for (int tap = 0; tap < 9; tap++) {
        g[tap] = _mm256_mul_ps(_mm256_set1_ps(scale), dt_tile4_load(w, (8 - tap) * C, type));
    }
#pragma GCC unroll 3
    for (int t = 0; t < 3; t++) filter_line(g[t], g[3 + t], g[6 + t], half + t, 3);
    for (int r = 0; r < 6; r++) filter_line(half[3 * r], half[3 * r + 1], half[3 * r + 2], y + 6 * r, 1);
}

DT_TILES4_INLINE void filters_typed(const dt_dx_plan *b, int64_t first, int64_t columns, float *U, dt_dtype type)
{
    const dt_tensor *w = b->node->in[1];
    const int64_t C = b->s.C, value = (int64_t)dt_type_bytes(type);

    for (int64_t k = 0; k < b->s.K; k++) {
        const char *at = (const char *)w->data + (k * 9 * C + first) * value;
        const float scale = w->n_scale > 1 ? w->scale[k] : 1.0f;
        for (int64_t c = 0; c < columns; c += DT_TILES4_LANES) {
            __m256 y[DT_WINOGRAD4_POINTS];
            filter_points(at + c * value, C, type, scale, y);
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(U + p * b->u_words + k * columns + c, y[p]);
        }
    }
}

static DT_TILES4 void transform_filters(const dt_dx_plan *b, int64_t first, int64_t columns, void *U)
{
    if (b->node->in[1]->type == DT_I8) {
        filters_typed(b, first, columns, U, DT_I8);
    } else {
        filters_typed(b, first, columns, U, DT_F32);
    }
}

static DT_TILES4 void transform_dy(const dt_dx_plan *b, int64_t first, int64_t n, const dt_dx_room *r)
{
    const int64_t K = b->s.K;
    const dt_tile_source dy = { b->node->out->grad, K * (int64_t)sizeof(float), r->zeros };
    float *V = r->V;

    for (int64_t t = 0; t < n; t++) {
        const char *pixel[DT_WINOGRAD4_POINTS];
        dt_tile_pixels(&b->map, &dy, first + t, -1, 6, pixel);
        for (int64_t k = 0; k < K; k += DT_TILES4_LANES) {
            __m256 v[DT_WINOGRAD4_POINTS];
            dt_tile4_inputs(pixel, k, DT_F32, v);
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(V + p * b->v_words + t * K + k, v[p]);
        }
    }
}

static void multiply(const dt_dx_plan *b, int64_t n, int64_t columns, int64_t next, int64_t end, const dt_dx_room *r)
{
    const float *V = r->V, *U = r->U;
    (void)next, (void)end;

    for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) {
        const dt_float_gemm g = { .m = n,
                                  .n = columns,
                                  .k = b->s.K,
                                  .a = V + p * b->v_words,
                                  .a_row = b->s.K,
                                  .a_step = 1,
                                  .b = U + p * b->u_words,
                                  .b_row = columns,
                                  .c = r->M + p * b->m_words,
                                  .c_row = columns };
        dt_float_gemm_run(&g);
    }
}

/* A^T m of six values */
DT_TILES4_INLINE void output_line(const __m256 *m, __m256 *y)
{
    const __m256 two = _mm256_set1_ps(2.0f), four = _mm256_set1_ps(4.0f), eight = _mm256_set1_ps(8.0f);
    const __m256 near = _mm256_add_ps(m[1], m[2]), near_odd = _mm256_sub_ps(m[1], m[2]);
    const __m256 far = _mm256_add_ps(m[3], m[4]), far_odd = _mm256_sub_ps(m[3], m[4]);

    y[0] = _mm256_add_ps(m[0], _mm256_add_ps(near, far));
    y[1] = _mm256_fmadd_ps(two, far_odd, near_odd);
    y[2] = _mm256_fmadd_ps(four, far, near);
    y[3] = _mm256_add_ps(m[5], _mm256_fmadd_ps(eight, far_odd, near_odd));
}

/* scale A^T M A, 8 channels: the 4x4 pixels of a tile */
DT_TILES4_INLINE void output_pixels(const float *M, int64_t step, __m256 scale, __m256 *y)
{
    __m256 half[4][6];

    for (int t = 0; t < 6; t++) {
        __m256 m[6], column[4];
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) m[r] = _mm256_loadu_ps(M + (6 * r + t) * step);
        output_line(m, column);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) half[r][t] = _mm256_mul_ps(scale, column[r]);
    }
    for (int r = 0; r < 4; r++) output_line(half[r], y + 4 * r);
}

static DT_TILES4 void transform_products(const dt_dx_plan *b, int64_t first, int64_t n, int64_t from, int64_t columns,
                                         const float *M)
{
    const dt_tensor *w = b->node->in[1];
    const int add = !(b->node->fresh & 1u);
    const __m256 scale = _mm256_set1_ps((w->n_scale == 1 ? w->scale[0] : 1.0f) / 576.0f);

    for (int64_t t = 0; t < n; t++) {
        char *place[DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE];
        dt_dx_places(b, first + t, from, place);
        for (int64_t c = 0; c < columns; c += DT_TILES4_LANES) {
            __m256 y[DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE];
            output_pixels(M + t * columns + c, b->m_words, scale, y);
            for (int i = 0; i < DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE; i++) {
                if (!place[i]) continue;
                float *to = (float *)(void *)place[i] + c;
                _mm256_storeu_ps(to, add ? _mm256_add_ps(_mm256_loadu_ps(to), y[i]) : y[i]);
            }
        }
    }
}

/* Transforming the filters costs what 5 tiles' products do. */
static const dt_dx_kernel kernel = {
    .side = DT_WINOGRAD4_SIDE,
    .points = DT_WINOGRAD4_POINTS,
    .value_bytes = sizeof(float),
    .filter_bytes = 64 << 10,
    .chunk_bytes = 1 << 20,
    .item_tiles = 128,
    .filters = transform_filters,
    .tiles = transform_dy,
    .multiply = multiply,
    .give = transform_products,
};

size_t dt_winograd4_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    (void)ex;
    return dt_dx_scratch(&kernel, node, threads);
}

void dt_winograd4_backward_x(const dt_node *node, const dt_exec *ex, int threads)
{
    assert(node->in[0]->grad_type == DT_F32 && node->out->grad_type == DT_F32);
    dt_dx_run(&kernel, node, ex->scratch, threads);
}

#endif /* else winograd4.c */
