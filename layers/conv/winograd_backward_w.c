/*
 * winograd_backward_w.c - dw of a 3x3 convolution from transformed tiles, bf16 with f32 sums.
 *
 *   dw = G^T [ sum over the tiles of (A dy A^T) . (B^T x B) ] G
 *
 * These are 16 products of [K x tiles] and [tiles x C]. Two tiles make a word. B^T x B of codes is an integer, at most
 * 4 times the largest code, and exact in bf16 up to 256. The result is multiplied by x's scale.
 *
 * A dy A^T is rounded to bf16 once, by at most 2^-8 of itself. So is B^T x B unless it is a small integer. All else is
 * f32. With T = |G^T| [|A| . |B^T|], entries of which are at most 2 along an axis, dw errs by at most 2^-8 (2^-7 with
 * x) times 4 sum over tiles of (sum |dy| of the tile) (sum |x| of its 4x4 inputs). Where magnitudes are alike, that is
 * 9 times the sum of |dy| |x| that dw itself is made of, 25 times on a map of one tile. Errors are independent from
 * tile to tile: as a norm they are near 5/3 of what rounding both operands of a direct convolution gives.
 *
 * The work is cut into items, each a block of filters and channels for a part of the tiles. The 16 sums of an item stay
 * in the cache while its tiles pass in chunks, which are transformed just before. x and dy are transformed again for
 * each block, which costs less than to store the transformed tiles. Parts depend on the shape alone and are summed in
 * order, so that results do not depend on the number of threads.
 *
 * Transforms: winograd_tiles.h.  Mathematics of dw: conv.c.  Tests: tests/layers/test_winograd_backward.c.
 */
#include "winograd.h"

#include "../gemm/word_gemm.h"

#if defined(__x86_64__)

#include "winograd_dw.h"
#include "winograd_tiles.h"

enum { CHUNK = 64 }; /* tiles */

enum { STEP = 24 }; /* filters multiplied at a time */

const char *dt_winograd_backward_w_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_dtype type = node->in[0]->type;

    if (ex->precision != DT_PRECISION_MIXED) return "backward is f32";
    if (!dt_word_gemm_has_bf16()) return "no AVX512-BF16";
    if (dt_winograd_shape_refuses(&s)) return dt_winograd_shape_refuses(&s);
    if (!dt_tile_saves(&s)) return "the map is too small, or channels are too few, to gain";
    return type == DT_F32 || type == DT_U8 || type == DT_I8 ? NULL : "the type of x";
}

/* Transforms tiles tile .. end, in pairs, into words [16][pairs][n]; of x, or of dy. */
typedef struct {
    dt_tile_source from;
    int64_t tile, end, n, step; /* step: words of a point */
    uint32_t *to;
} transform;

DT_TILES_INLINE void transform_typed(const dt_tile_map *map, const transform *t, dt_dtype type, int is_x)
{
    for (int64_t tile = t->tile; tile < t->end; tile += 2) {
        const char *low_at[16], *high_at[16];
        const int first = is_x ? -1 : 0, size = is_x ? 4 : 2;
        uint32_t *to = t->to + (tile - t->tile) / 2 * t->n;
        dt_tile_pixels(map, &t->from, tile, first, size, low_at);
        dt_tile_pixels(map, &t->from, tile + 1, first, size, high_at);
        for (int64_t i = 0; i < t->n; i += DT_LANES) {
            __m512 low[DT_WINOGRAD_POINTS], high[DT_WINOGRAD_POINTS];
            if (is_x) {
                dt_tile_inputs(low_at, i, type, low);
                dt_tile_inputs(high_at, i, type, high);
            } else {
                dt_tile_outputs(low_at, i, type, low);
                dt_tile_outputs(high_at, i, type, high);
            }
#pragma GCC unroll 16
            for (int p = 0; p < DT_WINOGRAD_POINTS; p++) {
                _mm512_storeu_si512(to + p * t->step + i, dt_words_of_pairs(low[p], high[p]));
            }
        }
    }
}

/* The channels of x, or the filters of dy, of a block. */
static dt_tile_source x_of(const dt_dw_plan *b, const dt_dw_span *a, const dt_dw_room *r)
{
    const dt_tensor *x = b->node->in[0];
    const int64_t value = (int64_t)dt_type_bytes(x->type);
    const dt_tile_source from = { (const char *)x->data + a->c * value, b->s.C * value, r->zeros };
    return from;
}

static dt_tile_source dy_of(const dt_dw_plan *b, const dt_dw_span *a, const dt_dw_room *r)
{
    const dt_tensor *y = b->node->out;
    const int64_t value = (int64_t)dt_type_bytes(y->grad_type);
    const dt_tile_source from = { (const char *)y->grad + a->k * value, b->s.K * value, r->zeros };
    return from;
}

static DT_TILES void transform_x(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end,
                                 const dt_dw_room *r)
{
    const transform t = {
        .from = x_of(b, a, r), .tile = tile, .end = end, .n = a->channels, .step = b->x_words, .to = r->x
    };

    switch (b->node->in[0]->type) {
    case DT_U8: transform_typed(&b->map, &t, DT_U8, 1); break;
    case DT_I8: transform_typed(&b->map, &t, DT_I8, 1); break;
    default: transform_typed(&b->map, &t, DT_F32, 1); break;
    }
}

static DT_TILES void transform_dy(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end,
                                  const dt_dw_room *r)
{
    const transform t = {
        .from = dy_of(b, a, r), .tile = tile, .end = end, .n = a->filters, .step = b->dy_words, .to = r->dy
    };

    if (b->node->out->grad_type == DT_BF16) {
        transform_typed(&b->map, &t, DT_BF16, 0);
    } else {
        transform_typed(&b->map, &t, DT_F32, 0);
    }
}

/* Fetches what the next chunk reads while it multiplies: a few lines at a time, or the CPU drops the requests. */
static void multiply(const dt_dw_plan *b, const dt_dw_span *a, int64_t tile, int64_t end, const dt_dw_room *r)
{
    const uint32_t *x_words = r->x, *dy_words = r->dy;
    const dt_tile_source x = x_of(b, a, r), dy = dy_of(b, a, r);
    const int64_t next = dt_tile_least(end + CHUNK, a->end);
    const int64_t share = dt_tile_ceiling(4 * (next - end), DT_WINOGRAD_POINTS * dt_tile_ceiling(a->filters, STEP));
    dt_tile_ahead x_ahead = dt_tile_ahead_of(&b->map, &x, a->channels * x.pixel_bytes / b->s.C, end, next);
    dt_tile_ahead dy_ahead = dt_tile_ahead_of(&b->map, &dy, a->filters * dy.pixel_bytes / b->s.K, end, next);

    for (int p = 0; p < DT_WINOGRAD_POINTS; p++) {
        for (int64_t k = 0; k < a->filters; k += STEP) {
            const dt_word_gemm g = { .m = dt_tile_least(STEP, a->filters - k),
                                     .n = a->channels,
                                     .k = (end - tile + 1) / 2,
                                     .a = dy_words + p * b->dy_words + k,
                                     .a_row = 1,
                                     .a_step = a->filters,
                                     .b = x_words + p * b->x_words,
                                     .b_row = a->channels,
                                     .c = r->sums + p * b->sums_words + k * a->channels,
                                     .c_row = a->channels,
                                     .add = tile > a->tile };
            dt_tile_fetch(&x_ahead, share);
            dt_tile_fetch(&dy_ahead, share);
            dt_word_gemm_bf16(&g);
        }
    }
}

/* G^T m of four values `step` apart, into three */
DT_TILES_INLINE void taps_line(const __m512 *m, int step, __m512 *g, int g_step)
{
    const __m512 half = _mm512_set1_ps(0.5f);
    const __m512 both = _mm512_mul_ps(half, _mm512_add_ps(m[step], m[2 * step]));

    g[0] = _mm512_add_ps(m[0], both);
    g[g_step] = _mm512_mul_ps(half, _mm512_sub_ps(m[step], m[2 * step]));
    g[2 * g_step] = _mm512_add_ps(both, m[3 * step]);
}

/* scale G^T M G to [filters][9][channels] of dw, whose rows are C long */
static DT_TILES void transform_sums(const dt_dw_plan *b, const dt_dw_span *a, const float *sums,
                                    const dt_dw_target *target)
{
    const __m512 scales = _mm512_set1_ps(target->scale);

    for (int64_t at = 0; at < a->filters * a->channels; at += DT_LANES) {
        const int64_t k = at / a->channels, c = at - k * a->channels;
        float *to = target->dw + (a->k + k) * 9 * b->s.C + a->c + c;
        __m512 m[DT_WINOGRAD_POINTS], half[12], g[9];
#pragma GCC unroll 16
        for (int p = 0; p < DT_WINOGRAD_POINTS; p++) m[p] = _mm512_loadu_ps(sums + p * b->sums_words + at);
#pragma GCC unroll 4
        for (int t = 0; t < 4; t++) taps_line(m + t, 4, half + t, 4);
#pragma GCC unroll 3
        for (int t = 0; t < 3; t++) taps_line(half + 4 * t, 1, g + 3 * t, 1);
#pragma GCC unroll 9
        for (int tap = 0; tap < 9; tap++, to += b->s.C) {
            const __m512 value = _mm512_mul_ps(scales, g[tap]);
            _mm512_storeu_ps(to, target->add ? _mm512_add_ps(_mm512_loadu_ps(to), value) : value);
        }
    }
}

/* Of one megabyte of second-level cache a core, the sums of a block take half and its chunk of tiles 3/8. */
static const dt_dw_kernel kernel = {
    .side = DT_TILE_SIDE,
    .points = DT_WINOGRAD_POINTS,
    .filters = 128,
    .channels = 64,
    .chunk = CHUNK,
    .step = 2,
    .part = 512,
    .x = transform_x,
    .dy = transform_dy,
    .multiply = multiply,
    .give = transform_sums,
};

size_t dt_winograd_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    (void)ex;
    return dt_dw_scratch(&kernel, node, threads);
}

void dt_winograd_backward_w(const dt_node *node, const dt_exec *ex, int threads)
{
    dt_dw_run(&kernel, node, ex->scratch, threads);
}

#endif /* else winograd.c */
