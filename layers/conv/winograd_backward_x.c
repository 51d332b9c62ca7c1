/*
 * winograd_backward_x.c - dx of a 3x3 convolution from transformed tiles, bf16 with f32 sums.
 *
 *   dx = A^T [ U . (B^T dy B) ] A summed over the filters, U = G g G^T, g the filter turned by 180 degrees
 *
 * U' = (2G) g (2G)^T of codes is an integer, |U'| <= 9 qmax, and exact in bf16 up to 256. The result is multiplied by
 * 1/4 and the scale. If each filter has a scale of its own, U' is multiplied by it, and then rounded.
 *
 * B^T dy B is rounded to bf16 once, by at most 2^-8 of itself. So is U' unless it is a small integer. All else is f32.
 * With T = |A^T| [|G| . |B^T|], entries of which are at most 2 along an axis, dx errs by at most 2^-8 (2^-7 with U')
 * times 4 sum over filters of (sum |dy| of the 4x4 tile) (sum |w| of the filter). Where magnitudes are alike, that is
 * 64/9 of the sum of |dy| |w| that dx itself is made of, 49/4 in a corner of the map. Errors are independent from
 * product to product: as a norm they are near 5/3 of what rounding the same operands of a direct convolution gives.
 *
 * winograd_dx.h says how the work is cut. U' of a block stays in the cache beside a chunk of tiles and its products. dy
 * is transformed again for each block, which costs less than to fetch the transformed tiles from memory.
 *
 * Transforms: winograd_tiles.h.  Mathematics of dx: conv.c.  Tests: tests/layers/test_winograd_backward.c.
 */
#include "winograd.h"

#include "../gemm/word_gemm.h"

#if defined(__x86_64__)

#include "winograd_dx.h"
#include "winograd_tiles.h"

#include <assert.h>

enum { STEP = 12 }; /* tiles multiplied at a time */

const char *dt_winograd_backward_x_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_dtype type = node->in[1]->type;

    if (ex->precision != DT_PRECISION_MIXED) return "backward is f32";
    if (!dt_word_gemm_has_bf16()) return "no AVX512-BF16";
    if (dt_winograd_shape_refuses(&s)) return dt_winograd_shape_refuses(&s);
    if (!dt_tile_saves(&s)) return "the map is too small, or channels are too few, to gain";
    return type == DT_F32 || type == DT_I8 ? NULL : "the type of w";
}

/* y = 2G g of three values */
DT_TILES_INLINE void filter_line(__m512 g0, __m512 g1, __m512 g2, __m512 *y, int step)
{
    const __m512 ends = _mm512_add_ps(g0, g2);

    y[0] = _mm512_add_ps(g0, g0);
    y[step] = _mm512_add_ps(ends, g1);
    y[2 * step] = _mm512_sub_ps(ends, g1);
    y[3 * step] = _mm512_add_ps(g2, g2);
}

/* U' of one filter turned by 180 degrees, 16 channels; taps lie C values apart. */
DT_TILES_INLINE void filter_points(const char *w, int64_t C, dt_dtype type, float scale, __m512 *y)
{
    __m512 g[9], half[12];

#pragma GCC unroll 9
    for (int tap = 0; tap < 9; tap++) {
        g[tap] = _mm512_mul_ps(_mm512_set1_ps(scale), dt_tile_load(w, (8 - tap) * C, type));
    }
#pragma GCC unroll 3
    for (int t = 0; t < 3; t++) filter_line(g[t], g[3 + t], g[6 + t], half + t, 3);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) filter_line(half[3 * r], half[3 * r + 1], half[3 * r + 2], y + 4 * r, 1);
}

DT_TILES_INLINE void filters_typed(const dt_dx_plan *b, int64_t first, int64_t columns, uint32_t *U, dt_dtype type)
{
    const dt_tensor *w = b->node->in[1];
    const int64_t C = b->s.C, value = (int64_t)dt_type_bytes(type);

    for (int64_t k = 0; k < b->s.K; k += 2) {
        const char *low_at = (const char *)w->data + (k * 9 * C + first) * value, *high_at = low_at + 9 * C * value;
        const float low_scale = w->n_scale > 1 ? w->scale[k] : 1.0f,
                    high_scale = w->n_scale > 1 ? w->scale[k + 1] : 1.0f;
        for (int64_t c = 0; c < columns; c += DT_LANES) {
            __m512 low[DT_WINOGRAD_POINTS], high[DT_WINOGRAD_POINTS];
            filter_points(low_at + c * value, C, type, low_scale, low);
            filter_points(high_at + c * value, C, type, high_scale, high);
#pragma GCC unroll 16
            for (int p = 0; p < DT_WINOGRAD_POINTS; p++) {
                _mm512_storeu_si512(U + p * b->u_words + k / 2 * columns + c, dt_words_of_pairs(low[p], high[p]));
            }
        }
    }
}

static DT_TILES void transform_filters(const dt_dx_plan *b, int64_t first, int64_t columns, void *U)
{
    if (b->node->in[1]->type == DT_I8) {
        filters_typed(b, first, columns, U, DT_I8);
    } else {
        filters_typed(b, first, columns, U, DT_F32);
    }
}

static dt_tile_source dy_of(const dt_dx_plan *b, const dt_dx_room *r)
{
    const dt_tensor *y = b->node->out;
    const dt_tile_source from = { y->grad, b->s.K * (int64_t)dt_type_bytes(y->grad_type), r->zeros };
    return from;
}

DT_TILES_INLINE void dy_typed(const dt_dx_plan *b, int64_t first, int64_t n, const dt_dx_room *r, dt_dtype type)
{
    const int64_t K = b->s.K;
    const dt_tile_source dy = dy_of(b, r);
    uint32_t *V = r->V;

    for (int64_t t = 0; t < n; t++) {
        const char *pixel[16];
        dt_tile_pixels(&b->map, &dy, first + t, -1, 4, pixel);
        for (int64_t k = 0; k < K; k += DT_LANES) {
            __m512 v[DT_WINOGRAD_POINTS];
            dt_tile_inputs(pixel, k, type, v);
#pragma GCC unroll 16
            for (int p = 0; p < DT_WINOGRAD_POINTS; p++) {
                uint32_t *to = V + p * b->v_words + (t * K + k) / 2;
                _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(v[p]));
            }
        }
    }
}

static DT_TILES void transform_dy(const dt_dx_plan *b, int64_t first, int64_t n, const dt_dx_room *r)
{
    if (b->node->out->grad_type == DT_BF16) {
        dy_typed(b, first, n, r, DT_BF16);
    } else {
        dy_typed(b, first, n, r, DT_F32);
    }
}

/* Of n tiles before tile `next`; those from there to `end` follow, and what they read is fetched meanwhile: a few lines
 * at a time, or the CPU drops the requests. */
static void multiply(const dt_dx_plan *b, int64_t n, int64_t columns, int64_t next, int64_t end, const dt_dx_room *r)
{
    const dt_tile_source dy = dy_of(b, r);
    const uint32_t *V = r->V, *U = r->U;
    const int64_t share = dt_tile_ceiling(4 * (end - next), DT_WINOGRAD_POINTS * dt_tile_ceiling(n, STEP));
    dt_tile_ahead ahead = dt_tile_ahead_of(&b->map, &dy, dy.pixel_bytes, next, end);

    for (int p = 0; p < DT_WINOGRAD_POINTS; p++) {
        for (int64_t t = 0; t < n; t += STEP) {
            const dt_word_gemm g = { .m = dt_tile_least(STEP, n - t),
                                     .n = columns,
                                     .k = b->s.K / 2,
                                     .a = V + p * b->v_words + t * b->s.K / 2,
                                     .a_row = b->s.K / 2,
                                     .a_step = 1,
                                     .b = U + p * b->u_words,
                                     .b_row = columns,
                                     .c = r->M + p * b->m_words + t * columns,
                                     .c_row = columns };
            dt_tile_fetch(&ahead, share);
            dt_word_gemm_bf16(&g);
        }
    }
}

/* A^T m of four values `step` apart */
DT_TILES_INLINE void output_line(const __m512 *m, int step, __m512 *y0, __m512 *y1)
{
    *y0 = _mm512_add_ps(_mm512_add_ps(m[0], m[step]), m[2 * step]);
    *y1 = _mm512_add_ps(_mm512_sub_ps(m[step], m[2 * step]), m[3 * step]);
}

/* scale A^T M A, 16 channels: the 2x2 pixels of a tile */
DT_TILES_INLINE void output_pixels(const float *M, int64_t step, __m512 scale, __m512 *y)
{
    __m512 m[DT_WINOGRAD_POINTS], half[8];

#pragma GCC unroll 16
    for (int p = 0; p < DT_WINOGRAD_POINTS; p++) m[p] = _mm512_loadu_ps(M + p * step);
#pragma GCC unroll 4
    for (int t = 0; t < 4; t++) output_line(m + t, 4, &half[t], &half[4 + t]);
    output_line(half, 1, &y[0], &y[1]);
    output_line(half + 4, 1, &y[2], &y[3]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) y[i] = _mm512_mul_ps(scale, y[i]);
}

DT_TILES_INLINE void put(char *place, int64_t c, __m512 y, dt_dtype type, int add)
{
    if (type == DT_BF16) {
        _mm256_storeu_si256((__m256i *)(place + 2 * c), (__m256i)_mm512_cvtneps_pbh(y));
    } else {
        float *to = (float *)place + c;
        _mm512_storeu_ps(to, add ? _mm512_add_ps(_mm512_loadu_ps(to), y) : y);
    }
}

static DT_TILES void transform_products(const dt_dx_plan *b, int64_t first, int64_t n, int64_t from, int64_t columns,
                                        const float *M)
{
    const dt_tensor *w = b->node->in[1];
    const dt_dtype type = b->node->in[0]->grad_type;
    const int add = !(b->node->fresh & 1u);
    const __m512 scale = _mm512_set1_ps(w->n_scale == 1 ? 0.25f * w->scale[0] : 0.25f);

    for (int64_t t = 0; t < n; t++) {
        char *place[4];
        dt_dx_places(b, first + t, from, place);
        for (int64_t c = 0; c < columns; c += DT_LANES) {
            __m512 y[4];
            output_pixels(M + t * columns + c, b->m_words, scale, y);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                if (place[i]) put(place[i], c, y[i], type, add);
            }
        }
    }
}

/* Of one megabyte of second-level cache a core, U' takes up to half, a chunk of tiles and its products a third.
 * Transforming the filters costs what 16 tiles' products do. */
static const dt_dx_kernel kernel = {
    .side = DT_TILE_SIDE,
    .points = DT_WINOGRAD_POINTS,
    .value_bytes = 2,
    .filter_bytes = (512 << 10) / DT_WINOGRAD_POINTS,
    .chunk_bytes = 320 << 10,
    .item_tiles = 512,
    .filters = transform_filters,
    .tiles = transform_dy,
    .multiply = multiply,
    .give = transform_products,
};

size_t dt_winograd_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    (void)ex;
    return dt_dx_scratch(&kernel, node, threads);
}

void dt_winograd_backward_x(const dt_node *node, const dt_exec *ex, int threads)
{
    assert(node->in[0]->grad_type == DT_F32 || (node->in[0]->grad_type == DT_BF16 && (node->fresh & 1u)));
    dt_dx_run(&kernel, node, ex->scratch, threads);
}

#endif /* else winograd.c */
