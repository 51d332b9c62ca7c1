/*
 * winograd4_backward_x.c - dx of a 3x3 convolution from transformed tiles of 4x4, f32.
 *
 *   dx = A^T [ U . (B^T dy B) ] A summed over the filters, U = G g G^T, g the filter turned by 180 degrees
 *
 * U' = (24 G) g (24 G)^T of codes is an integer below 2^24, and exact. The result is multiplied by 1/576 and the scale.
 * If each filter has a scale of its own, U' is multiplied by it.
 *
 * The work is cut into items, each a block of columns (channels of x) for a range of tiles. An item transforms its
 * filters once. One point's share of U', and of a chunk of tiles, fits a second-level cache; all points' share of both
 * a third-level one. dy is transformed again for each block. Nothing is summed across items.
 *
 * Transforms: winograd4_tiles.h.  Mathematics of dx: conv.c.  Tests: tests/layers/test_winograd4.c.
 */
#include "winograd4.h"

#include "../../core/threads.h"
#include "../gemm/float_gemm.h"

#if defined(__x86_64__)

#include "winograd4_tiles.h"

#include <assert.h>
#include <string.h>

/* One point's U' in bytes, its least number of columns, and the bytes of a chunk of tiles with its products. */
enum { U_BYTES = 64 << 10, LEAST_COLUMNS = 64, CHUNK_BYTES = 1 << 20, LEAST_CHUNK = 24 };

/* Tiles of an item at least: transforming the filters costs what 5 tiles' products do. */
enum { ITEM_TILES = 128, MOST_RANGES = 32 };

typedef struct {
    const dt_node *node;
    dt_conv_shape s;
    dt_tile_map map;
    int64_t columns, n_blocks;            /* channels of x in a block, the last may have fewer; blocks */
    int64_t chunk;                        /* tiles whose products are held at a time */
    int64_t range, n_ranges;              /* tiles of an item; items a block */
    int64_t v_floats, u_floats, m_floats; /* of one point */
    size_t zeros_bytes, room_bytes;       /* a thread's scratch */
} backward_x;

/* One thread's. V: [36][chunk][K], U: [36][K][columns], M: [36][chunk][columns] */
typedef struct {
    char *zeros;
    float *V, *U, *M;
} rooms;

static backward_x sizes_of(const dt_node *node)
{
    backward_x b = { .node = node, .s = dt_conv_shape_of(node) };
    const int64_t K = b.s.K, fitting = U_BYTES / (int64_t)sizeof(float) / K / LEAST_COLUMNS * LEAST_COLUMNS;

    b.map = dt_tile_map_of(&b.s, DT_WINOGRAD4_SIDE);
    b.columns = dt_tile_least(b.s.C, fitting > LEAST_COLUMNS ? fitting : LEAST_COLUMNS);
    b.n_blocks = dt_tile_ceiling(b.s.C, b.columns);
    b.chunk = CHUNK_BYTES / DT_WINOGRAD4_POINTS / (4 * (K + b.columns)) / DT_FLOAT_ROWS * DT_FLOAT_ROWS;
    if (b.chunk < LEAST_CHUNK) b.chunk = LEAST_CHUNK;
    b.n_ranges = dt_tile_least(dt_tile_ceiling(b.map.count, ITEM_TILES), MOST_RANGES);
    b.range = dt_tile_ceiling(b.map.count, b.n_ranges);
    /* a cache line apart from a multiple of 4,096 bytes, so that the 36 points do not fall into the same cache set */
    b.v_floats = b.chunk * K + DT_FLOAT_COLUMNS;
    b.u_floats = K * b.columns + DT_FLOAT_COLUMNS;
    b.m_floats = b.chunk * b.columns + DT_FLOAT_COLUMNS;
    b.zeros_bytes = (size_t)K * sizeof(float);
    b.room_bytes = b.zeros_bytes + (size_t)(b.v_floats + b.u_floats + b.m_floats) * DT_WINOGRAD4_POINTS * sizeof(float);
    return b;
}

const char *dt_winograd4_backward_x_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_dtype type = node->in[1]->type;
    const char *why = dt_winograd4_refuses(node, ex);

    if (why) return why;
    return type == DT_F32 || type == DT_I8 ? NULL : "the type of w";
}

size_t dt_winograd4_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    (void)ex;
    return sizes_of(node).room_bytes * (size_t)threads;
}

static rooms rooms_of(const backward_x *b, char *scratch)
{
    rooms r = { .zeros = scratch };

    r.V = (float *)(void *)(scratch + b->zeros_bytes);
    r.U = r.V + DT_WINOGRAD4_POINTS * b->v_floats;
    r.M = r.U + DT_WINOGRAD4_POINTS * b->u_floats;
    return r;
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

DT_TILES4_INLINE void filters_typed(const backward_x *b, int64_t first, int64_t columns, float *U, dt_dtype type)
{
    const dt_tensor *w = b->node->in[1];
    const int64_t C = b->s.C, value = (int64_t)dt_type_bytes(type);

    for (int64_t k = 0; k < b->s.K; k++) {
        const char *at = (const char *)w->data + (k * 9 * C + first) * value;
        const float scale = w->n_scale > 1 ? w->scale[k] : 1.0f;
        for (int64_t c = 0; c < columns; c += DT_TILES4_LANES) {
            __m256 y[DT_WINOGRAD4_POINTS];
            filter_points(at + c * value, C, type, scale, y);
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(U + p * b->u_floats + k * columns + c, y[p]);
        }
    }
}

static DT_TILES4 void transform_filters(const backward_x *b, int64_t first, int64_t columns, float *U)
{
    if (b->node->in[1]->type == DT_I8) {
        filters_typed(b, first, columns, U, DT_I8);
    } else {
        filters_typed(b, first, columns, U, DT_F32);
    }
}

static DT_TILES4 void transform_dy(const backward_x *b, int64_t first, int64_t n, const rooms *r)
{
    const int64_t K = b->s.K;
    const dt_tile_source dy = { b->node->out->grad, K * (int64_t)sizeof(float), r->zeros };

    for (int64_t t = 0; t < n; t++) {
        const char *pixel[DT_WINOGRAD4_POINTS];
        dt_tile_pixels(&b->map, &dy, first + t, -1, 6, pixel);
        for (int64_t k = 0; k < K; k += DT_TILES4_LANES) {
            __m256 v[DT_WINOGRAD4_POINTS];
            dt_tile4_inputs(pixel, k, DT_F32, v);
            for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) _mm256_storeu_ps(r->V + p * b->v_floats + t * K + k, v[p]);
        }
    }
}

static void multiply(const backward_x *b, int64_t n, int64_t columns, const rooms *r)
{
    for (int p = 0; p < DT_WINOGRAD4_POINTS; p++) {
        const dt_float_gemm g = { .m = n,
                                  .n = columns,
                                  .k = b->s.K,
                                  .a = r->V + p * b->v_floats,
                                  .a_row = b->s.K,
                                  .a_step = 1,
                                  .b = r->U + p * b->u_floats,
                                  .b_row = columns,
                                  .c = r->M + p * b->m_floats,
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

/* Where a tile's pixels lie in dx; one that lies outside is NULL. */
static void output_places(const backward_x *b, int64_t tile, int64_t first, float **place)
{
    const dt_tile_map *m = &b->map;
    const int64_t n = tile / (m->down * m->across), at = tile - n * m->down * m->across;
    const int64_t h = at / m->across * m->side, w = at % m->across * m->side;

    for (int i = 0; i < DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE; i++) {
        const int64_t hi = h + i / DT_WINOGRAD4_SIDE, wi = w + i % DT_WINOGRAD4_SIDE;
        const int inside = hi < m->H && wi < m->W;
        place[i] = inside ? (float *)b->node->in[0]->grad + ((n * m->H + hi) * m->W + wi) * b->s.C + first : NULL;
    }
}

static DT_TILES4 void transform_products(const backward_x *b, int64_t first, int64_t n, int64_t from, int64_t columns,
                                         const float *M)
{
    const dt_tensor *w = b->node->in[1];
    const int add = !(b->node->fresh & 1u);
    const __m256 scale = _mm256_set1_ps((w->n_scale == 1 ? w->scale[0] : 1.0f) / 576.0f);

    for (int64_t t = 0; t < n; t++) {
        float *place[DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE];
        output_places(b, first + t, from, place);
        for (int64_t c = 0; c < columns; c += DT_TILES4_LANES) {
            __m256 y[DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE];
            output_pixels(M + t * columns + c, b->m_floats, scale, y);
            for (int i = 0; i < DT_WINOGRAD4_SIDE * DT_WINOGRAD4_SIDE; i++) {
                if (!place[i]) continue;
                _mm256_storeu_ps(place[i] + c, add ? _mm256_add_ps(_mm256_loadu_ps(place[i] + c), y[i]) : y[i]);
            }
        }
    }
}

static void run_item(const backward_x *b, int64_t item, char *scratch)
{
    const rooms r = rooms_of(b, scratch);
    const int64_t from = item / b->n_ranges * b->columns, columns = dt_tile_least(b->columns, b->s.C - from);
    const int64_t first = item % b->n_ranges * b->range, end = dt_tile_least(first + b->range, b->map.count);

    memset(r.zeros, 0, b->zeros_bytes);
    transform_filters(b, from, columns, r.U);
    for (int64_t t = first; t < end; t += b->chunk) {
        const int64_t n = dt_tile_least(b->chunk, end - t);
        transform_dy(b, t, n, &r);
        multiply(b, n, columns, &r);
        transform_products(b, t, n, from, columns, r.M);
    }
}

void dt_winograd4_backward_x(const dt_node *node, const dt_exec *ex, int threads)
{
    const backward_x b = sizes_of(node);
    assert(node->in[0]->grad_type == DT_F32 && node->out->grad_type == DT_F32);
    (void)threads; /* of OpenMP, which may be missing */

#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t item = 0; item < b.n_blocks * b.n_ranges; item++) {
        run_item(&b, item, (char *)ex->scratch + (size_t)dt_thread_number() * b.room_bytes);
    }
}

#endif /* else winograd4.c */
