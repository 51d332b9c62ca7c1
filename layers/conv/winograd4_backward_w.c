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

#include <string.h>

/* The sums of a block take 600 KB of cache, its chunk of tiles 450. */
enum { BLOCK_K = 64, BLOCK_C = 64, CHUNK = 24 };

/* Items to share among threads; a part of the tiles is worth at least so many. */
enum { ITEMS = 16, PART_TILES = 256 };

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    dt_tile_map map;
    dt_dw_blocks blocks;
    int64_t x_floats, dy_floats, sums_floats; /* of one point */
    size_t zeros_bytes, room_bytes;           /* a thread's scratch */
} backward_w;

/* One thread's. x: [36][CHUNK][channels], dy: [36][CHUNK][filters], sums: [36][filters][channels] */
typedef struct {
    char *zeros;
    float *x, *dy, *sums;
} rooms;

static backward_w sizes_of(const dt_node *node)
{
    backward_w b = { .node = node, .s = dt_conv_shape_of(node) };

    b.map = dt_tile_map_of(&b.s, DT_WINOGRAD4_SIDE);
    b.blocks = dt_dw_blocks_of(&b.s, b.map.count, BLOCK_K, BLOCK_C, PART_TILES, 1, ITEMS);
    /* a cache line apart from a multiple of 4,096 bytes, so that the 36 points do not fall into the same cache set */
    b.x_floats = CHUNK * b.blocks.channels + DT_FLOAT_COLUMNS;
    b.dy_floats = CHUNK * b.blocks.filters + DT_FLOAT_COLUMNS;
    b.sums_floats = b.blocks.filters * b.blocks.channels + DT_FLOAT_COLUMNS;
    b.zeros_bytes = (size_t)(BLOCK_K > BLOCK_C ? BLOCK_K : BLOCK_C) * sizeof(float);
    b.room_bytes =
        b.zeros_bytes + (size_t)(b.x_floats + b.dy_floats + b.sums_floats) * DT_WINOGRAD4_POINTS * sizeof(float);
    return b;
}

const char *dt_winograd4_backward_w_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_dtype type = node->in[0]->type;
    const char *why = dt_winograd4_refuses(node, ex);

    if (why) return why;
    return type == DT_F32 || type == DT_U8 || type == DT_I8 ? NULL : "the type of x";
}

size_t dt_winograd4_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    const backward_w b = sizes_of(node);
    (void)ex;

    return dt_dw_scratch(&b.blocks, b.room_bytes, threads);
}

static rooms rooms_of(const backward_w *b, char *scratch)
{
    rooms r = { .zeros = scratch };

    r.x = (float *)(void *)(scratch + b->zeros_bytes);
    r.dy = r.x + DT_WINOGRAD4_POINTS * b->x_floats;
    r.sums = r.dy + DT_WINOGRAD4_POINTS * b->dy_floats;
    return r;
}

/* B^T x B of an item's channels, tiles tile .. end - 1 */
DT_TILES4_INLINE void x_typed(const backward_w *b, const dt_dw_span *a, int64_t tile, int64_t end, const rooms *r,
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
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(to + p * b->x_floats + c, y[p]);
        }
    }
}

static DT_TILES4 void transform_x(const backward_w *b, const dt_dw_span *a, int64_t tile, int64_t end, const rooms *r)
{
    switch (b->node->in[0]->type) {
    case DT_U8: x_typed(b, a, tile, end, r, DT_U8); break;
    case DT_I8: x_typed(b, a, tile, end, r, DT_I8); break;
    default: x_typed(b, a, tile, end, r, DT_F32); break;
    }
}

/* A dy A^T of an item's filters, tiles tile .. end - 1 */
static DT_TILES4 void transform_dy(const backward_w *b, const dt_dw_span *a, int64_t tile, int64_t end, const rooms *r)
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
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(to + p * b->dy_floats + k, y[p]);
        }
    }
}

static void multiply(const backward_w *b, const dt_dw_span *a, int64_t tile, int64_t end, const rooms *r)
{
    for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) {
        const dt_float_gemm g = { .m = a->filters,
                                  .n = a->channels,
                                  .k = end - tile,
                                  .a = r->dy + p * b->dy_floats,
                                  .a_row = 1,
                                  .a_step = a->filters,
                                  .b = r->x + p * b->x_floats,
                                  .b_row = a->channels,
                                  .c = r->sums + p * b->sums_floats,
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
static DT_TILES4 void transform_sums(const backward_w *b, const dt_dw_span *a, const float *sums,
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
            for (int r = 0; r < 6; r++) m[r] = _mm256_loadu_ps(sums + (6 * r + t) * b->sums_floats + at);
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

static void run_item(const void *user, const dt_dw_span *a, const dt_dw_target *to, char *room)
{
    const backward_w *b = user;
    const rooms r = rooms_of(b, room);

    memset(r.zeros, 0, b->zeros_bytes);
    for (int64_t tile = a->tile; tile < a->end; tile += CHUNK) {
        const int64_t end = dt_tile_least(tile + CHUNK, a->end);
        transform_x(b, a, tile, end, &r);
        transform_dy(b, a, tile, end, &r);
        multiply(b, a, tile, end, &r);
    }
    transform_sums(b, a, r.sums, to);
}

void dt_winograd4_backward_w(const dt_node *node, const dt_exec *ex, int threads)
{
    const backward_w b = sizes_of(node);

    dt_dw_run(&b.blocks, node, run_item, &b, b.room_bytes, ex->scratch, threads);
}

#endif /* else winograd4.c */
