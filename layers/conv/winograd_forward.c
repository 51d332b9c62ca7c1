/*
 * winograd_forward.c - psums of a 3x3 convolution by Winograd's F(2x2,3x3), in integers, and so exact.
 *
 *   Y = A^T [sum over channels of (2G) g (2G)^T . B^T d B] A / 4
 *
 * d is a 4x4 patch of codes, each patch 2 apart from the next, g a 3x3 filter, Y 2x2 psums, "." the product point by
 * point of the 4x4 matrices, and
 *
 *   B^T = | 1  0 -1  0 |    2G = | 2  0  0 |    A^T = | 1  1  1  0 |
 *         | 0  1  1  0 |         | 1  1  1 |          | 0  1 -1 -1 |
 *         | 0 -1  1  0 |         | 1 -1  1 |
 *         | 0  1  0 -1 |         | 0  0  2 |
 *
 * Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, eq. 11; 2G instead of G makes
 * every number an integer and the sum 4 times the psum, which a shift takes back without a remainder.
 *
 * Ranges, where padding counts as code 0, low = min(qmin, 0) and high = max(qmax, 0):
 *   B^T d B: row 1 of B^T adds two codes, and the others subtract one from another. So the point (1,1) is a sum of four
 *     codes, in 4 low .. 4 high. At all other points two are added and two subtracted: +-2 (high - low). Either way the
 *     range is 4 (high - low) wide. With an offset that makes its lower end 0, a point fits a u8 if that is at most
 *     255. The product's start takes the offset back: -offset * (sum over channels of the filter's point).
 *   (2G) g (2G)^T: a row of 2G has magnitudes of sum 3 at most, so +-9 max|w|, which must fit an s8: w4, not w5.
 *   The sums are taken in 32 bits modulo 2^32 (vpdpbusd does not saturate), so only the result, 4 times the psum, has
 *     to fit.
 *
 * A call transforms the filters to 16 matrices C x K. Then each thread takes blocks of rows of patches. It computes V,
 * u8 [16][patches][C]; for up to 64 filters at a time the 16 products M, int32 [16][patches][64]; and from these the
 * psums. V and M stay in its cache.  Tests: tests/layers/test_winograd.c.
 */
#include "winograd.h"

#include "../../core/threads.h"
#include "../gemm/word_gemm.h"

#if defined(__x86_64__)

#include "words512.h"

#include <string.h>

#define BYTES512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

enum {
    POINTS = DT_WINOGRAD_POINTS,
    SUM_POINT = 5, /* (1,1), where four codes are added */
    VECTOR = 16,   /* words */
    CHUNK = 64,    /* channels in a vector of bytes */
    PANEL = 64,    /* filters of one product */
    MOST_PATCHES = 96,
    CACHE_BYTES = 640 << 10 /* for V and M, of a core's 1 MB */
};

typedef struct {
    dt_conv_shape s;
    int64_t down, across;     /* patches of an image */
    int64_t block, n_blocks;  /* rows of patches, of all images one after another; blocks of them */
    int64_t v_point, m_point; /* bytes from point to point; a line more than it takes, so that points lie in different
                               * sets of the cache */
    int64_t line;             /* bytes of a row of codes with its frame */
    int offset, offset_sum;   /* added to the points of V, and to SUM_POINT */
    size_t filters_bytes, start_bytes, room_bytes;
    int8_t *filters; /* [panel][16][C / 4][filter of the panel][4] */
    int32_t *start;  /* [16][K] */
} winograd;

/* A thread's. */
typedef struct {
    uint8_t *zeros;   /* a row outside of the map */
    uint8_t *codes;   /* [4] rows made of f32 */
    uint8_t *line[4]; /* B^T d, with a column of zeros before and one or two behind */
    uint8_t *v;
    int32_t *m;
} room;

static int64_t padded(int64_t bytes)
{
    return (int64_t)dt_round_up((size_t)bytes, DT_CACHE_LINE);
}

static winograd sizes_of(const dt_node *node, int threads)
{
    const dt_tensor *x = node->in[0];
    const int low = x->qmin < 0 ? (int)x->qmin : 0, high = x->qmax > 0 ? (int)x->qmax : 0;
    winograd g = { .s = dt_conv_shape_of(node), .offset = 2 * (high - low), .offset_sum = -4 * low };
    const dt_conv_shape *s = &g.s;

    g.down = (s->H + 1) / 2;
    g.across = (s->W + 1) / 2;
    int64_t patches = CACHE_BYTES / (POINTS * (s->C + 4 * PANEL));
    if (patches > MOST_PATCHES) patches = MOST_PATCHES;
    g.block = patches > g.across ? patches / g.across : 1;
    const int64_t rows = s->N * g.down, rounds = (rows + g.block * threads - 1) / (g.block * threads);
    g.block = (rows + rounds * threads - 1) / (rounds * threads);
    g.n_blocks = (rows + g.block - 1) / g.block;
    g.v_point = padded(g.block * g.across * s->C) + 64;
    g.m_point = g.block * g.across * PANEL * 4 + 64;
    g.line = padded((2 * g.across + 2) * s->C);
    g.filters_bytes = (size_t)padded(POINTS * s->C * s->K);
    g.start_bytes = (size_t)(POINTS * s->K) * sizeof(int32_t);
    g.room_bytes = (size_t)(5 * padded(s->W * s->C) + 4 * g.line + POINTS * (g.v_point + g.m_point));
    return g;
}

const char *dt_winograd_forward_refuses(const dt_node *node, const dt_exec *ex)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1], *y = node->out;
    const int64_t low = x->qmin < 0 ? x->qmin : 0, high = x->qmax > 0 ? x->qmax : 0;
    (void)ex;

    if (!dt_word_gemm_has_int8()) return "no VNNI";
    if (dt_winograd_shape_refuses(&s)) return dt_winograd_shape_refuses(&s);
    if (y->n_scale == 0) return "real values";
    if (y->type != DT_F32) return "psums are not f32";
    if (4 * (high - low) > UINT8_MAX || 9 * dt_code_bound(w) > INT8_MAX) return "transformed codes fit no byte";
    return 4 * y->qmax <= INT32_MAX ? NULL : "psums past 2^29";
}

size_t dt_winograd_forward_scratch(const dt_node *node, const dt_exec *ex, int threads)
{
    const winograd g = sizes_of(node, threads);
    (void)ex;

    return g.filters_bytes + g.start_bytes + (size_t)threads * g.room_bytes;
}

/* Up to 64 bytes; a whole vector without a mask, which makes stores slow. */
static inline BYTES512 __m512i load_bytes(const uint8_t *from, int64_t n)
{
    return n < CHUNK ? _mm512_maskz_loadu_epi8(((__mmask64)1 << n) - 1, from) : _mm512_loadu_si512(from);
}

static inline BYTES512 void store_bytes(uint8_t *to, int64_t n, __m512i bytes)
{
    if (n < CHUNK)
        _mm512_mask_storeu_epi8(to, ((__mmask64)1 << n) - 1, bytes);
    else
        _mm512_storeu_si512(to, bytes);
}

/* n <= 64 codes as bytes, 0 behind them; those below 0 modulo 256 */
static inline BYTES512 __m512i codes_of(const dt_tensor *t, int64_t at, int64_t n)
{
    uint8_t bytes[CHUNK];

    if (t->type != DT_F32) return load_bytes((const uint8_t *)t->data + at, n);
    for (int64_t i = 0; i < CHUNK; i += VECTOR) {
        const float *f = (const float *)t->data + at + i;
        const __m512i word = i < n ? _mm512_cvtps_epi32(_mm512_loadu_ps(f)) : _mm512_setzero_si512();
        _mm_storeu_si128((__m128i *)(void *)(bytes + i), _mm512_cvtepi32_epi8(word));
    }
    return _mm512_loadu_si512(bytes);
}

/* 2G times three values */
static inline BYTES512 void filter_line(__m512i a, __m512i b, __m512i c, __m512i out[4])
{
    const __m512i ends = _mm512_add_epi8(a, c);

    out[0] = _mm512_add_epi8(a, a);
    out[1] = _mm512_add_epi8(ends, b);
    out[2] = _mm512_sub_epi8(ends, b);
    out[3] = _mm512_add_epi8(c, c);
}

/* The points of n <= 64 channels of one filter, whose first code is at `at`, to out[point][f]. */
static BYTES512 void transform_filter(const dt_tensor *w, int64_t at, int64_t C, int64_t n,
                                      uint8_t (*out)[VECTOR][CHUNK], int f)
{
    __m512i column[3][4], row[4];

    for (int t = 0; t < 3; t++) {
        filter_line(codes_of(w, at + t * C, n), codes_of(w, at + (t + 3) * C, n), codes_of(w, at + (t + 6) * C, n),
                    column[t]);
    }
    for (int i = 0; i < 4; i++) {
        filter_line(column[0][i], column[1][i], column[2][i], row);
        for (int j = 0; j < 4; j++) _mm512_storeu_si512(out[4 * i + j][f], row[j]);
    }
}

static int64_t panel_width(const winograd *g, int64_t k)
{
    const int64_t left = g->s.K - k / PANEL * PANEL;
    return left < PANEL ? left : PANEL;
}

/* Filters k .. k + 15, all their channels. */
static BYTES512 void transform_filters(const winograd *g, const dt_tensor *w, int64_t k)
{
    const int64_t C = g->s.C, width = panel_width(g, k);
    const __m512i ones = _mm512_set1_epi8(1);
    int8_t *panel = g->filters + k / PANEL * PANEL * POINTS * C + k % PANEL * 4;
    uint8_t points[POINTS][VECTOR][CHUNK];
    __m512i sum[POINTS], word[VECTOR];

    for (int p = 0; p < POINTS; p++) sum[p] = _mm512_setzero_si512();
    for (int64_t c = 0; c < C; c += CHUNK) {
        const int64_t n = C - c < CHUNK ? C - c : CHUNK;
        for (int f = 0; f < VECTOR; f++) transform_filter(w, (k + f) * 9 * C + c, C, n, points, f);
        for (int p = 0; p < POINTS; p++) {
            for (int f = 0; f < VECTOR; f++) word[f] = _mm512_loadu_si512(points[p][f]);
            dt_words_transpose(word);
            for (int64_t i = 0; i < n / 4; i++) {
                _mm512_storeu_si512(panel + ((p * C + c) / 4 + i) * width * 4, word[i]);
                sum[p] = _mm512_dpbusd_epi32(sum[p], ones, word[i]);
            }
        }
    }
    for (int p = 0; p < POINTS; p++) {
        const __m512i offset = _mm512_set1_epi32(p == SUM_POINT ? -g->offset_sum : -g->offset);
        _mm512_storeu_si512(g->start + p * g->s.K + k, _mm512_mullo_epi32(sum[p], offset));
    }
}

/* Row h of an image as bytes: where it lies, or made in `made`. */
static BYTES512 const uint8_t *code_row(const winograd *g, const dt_tensor *x, int64_t n, int64_t h, const room *r,
                                        uint8_t *made)
{
    const int64_t count = g->s.W * g->s.C, at = (n * g->s.H + h) * count;

    if (h < 0 || h >= g->s.H) return r->zeros;
    if (x->type != DT_F32) return (const uint8_t *)x->data + at;
    for (int64_t i = 0; i < count; i += VECTOR) {
        const __m512 f = _mm512_loadu_ps((const float *)x->data + at + i);
        _mm_storeu_si128((__m128i *)(void *)(made + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(f)));
    }
    return made;
}

/* B^T times four values, modulo 256 */
static inline BYTES512 void code_line(__m512i a, __m512i b, __m512i c, __m512i d, __m512i out[4])
{
    out[0] = _mm512_sub_epi8(a, c);
    out[1] = _mm512_add_epi8(b, c);
    out[2] = _mm512_sub_epi8(c, b);
    out[3] = _mm512_sub_epi8(b, d);
}

/* B^T d of n <= 64 bytes from i on, of one row of patches. */
static inline __attribute__((always_inline)) BYTES512 void down_chunk(const uint8_t *const d[4], int64_t i, int64_t n,
                                                                      const room *r, int64_t frame)
{
    __m512i line[4];

    code_line(load_bytes(d[0] + i, n), load_bytes(d[1] + i, n), load_bytes(d[2] + i, n), load_bytes(d[3] + i, n), line);
    for (int j = 0; j < 4; j++) store_bytes(r->line[j] + frame + i, n, line[j]);
}

static BYTES512 void transform_down(const winograd *g, const uint8_t *const d[4], const room *r)
{
    const int64_t count = g->s.W * g->s.C;
    int64_t i = 0;

    for (; i + CHUNK <= count; i += CHUNK) down_chunk(d, i, CHUNK, r, g->s.C);
    if (i < count) down_chunk(d, i, count - i, r, g->s.C);
}

/* (B^T d) B + offset of n <= 64 channels of one patch: four points from one line. */
static inline __attribute__((always_inline)) BYTES512 void
across_chunk(const uint8_t *line, int64_t C, int64_t n, const __m512i offset[4], uint8_t *v, int64_t v_point)
{
    __m512i point[4];

    code_line(load_bytes(line, n), load_bytes(line + C, n), load_bytes(line + 2 * C, n), load_bytes(line + 3 * C, n),
              point);
    for (int j = 0; j < 4; j++) store_bytes(v + j * v_point, n, _mm512_add_epi8(point[j], offset[j]));
}

/* Four points of a row of patches. v: the first's first patch */
static BYTES512 void transform_across(const winograd *g, const uint8_t *line, int offset, int offset_sum, uint8_t *v)
{
    const int64_t C = g->s.C;
    const __m512i usual = _mm512_set1_epi8((char)offset), sum = _mm512_set1_epi8((char)offset_sum);
    const __m512i offsets[4] = { usual, sum, usual, usual };

    for (int64_t t = 0; t < g->across; t++, line += 2 * C, v += C) {
        int64_t c = 0;
        for (; c + CHUNK <= C; c += CHUNK) across_chunk(line + c, C, CHUNK, offsets, v + c, g->v_point);
        if (c < C) across_chunk(line + c, C, C - c, offsets, v + c, g->v_point);
    }
}

/* V of one row of patches. */
static void transform_row(const winograd *g, const dt_tensor *x, int64_t row, const room *r, uint8_t *v)
{
    const int64_t n = row / g->down, h = row % g->down * 2 - 1;
    const uint8_t *d[4];

    for (int i = 0; i < 4; i++) d[i] = code_row(g, x, n, h + i, r, r->codes + i * g->s.W * g->s.C);
    transform_down(g, d, r);
    for (int i = 0; i < 4; i++) {
        transform_across(g, r->line[i], g->offset, i == SUM_POINT / 4 ? g->offset_sum : g->offset,
                         v + 4 * i * g->v_point);
    }
}

/* A^T times four values */
static inline BYTES512 void result_line(__m512i a, __m512i b, __m512i c, __m512i d, __m512i out[2])
{
    out[0] = _mm512_add_epi32(_mm512_add_epi32(a, b), c);
    out[1] = _mm512_sub_epi32(_mm512_sub_epi32(b, c), d);
}

/* Past the caches, which the psums of a layer would only sweep: measured a tenth faster, the pass that reads them
 * included. A vector is a whole cache line. */
static inline BYTES512 void store_psums(float *y, __m512i four_times)
{
    _mm512_stream_ps(y, _mm512_cvtepi32_ps(_mm512_srai_epi32(four_times, 2)));
}

/* The psums of 16 filters of one patch. y: its first position; right, below: whether there are more. */
static inline BYTES512 void result_patch(const winograd *g, const int32_t *m, float *y, int right, int below)
{
    __m512i column[4][2], row[2];

#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const char *at = (const char *)m + j * g->m_point;
        result_line(_mm512_loadu_si512(at), _mm512_loadu_si512(at + 4 * g->m_point),
                    _mm512_loadu_si512(at + 8 * g->m_point), _mm512_loadu_si512(at + 12 * g->m_point), column[j]);
    }
    for (int i = 0; i <= below; i++, y += g->s.Q * g->s.K) {
        result_line(column[0][i], column[1][i], column[2][i], column[3][i], row);
        store_psums(y, row[0]);
        if (right) store_psums(y + g->s.K, row[1]);
    }
}

/* The psums of one row of patches and a panel of filters. */
static BYTES512 void result_row(const winograd *g, const int32_t *m, int64_t width, int64_t row, float *y)
{
    const dt_conv_shape *s = &g->s;
    const int64_t p = row % g->down * 2;
    float *at = y + (row / g->down * s->P + p) * s->Q * s->K;

    for (int64_t t = 0; t < g->across; t++, m += width, at += 2 * s->K) {
        for (int64_t k = 0; k < width; k += VECTOR) {
            result_patch(g, m + k, at + k, 2 * t + 1 < s->Q, p + 1 < s->P);
        }
    }
}

static void products(const winograd *g, int64_t k, int64_t patches, const room *r)
{
    const int64_t C = g->s.C, width = panel_width(g, k);

    for (int64_t p = 0; p < POINTS; p++) {
        dt_word_gemm_u8s8(
            &(dt_word_gemm){ .m = patches,
                             .n = width,
                             .k = C / 4,
                             .a = (const uint32_t *)(const void *)(r->v + p * g->v_point),
                             .a_row = C / 4,
                             .a_step = 1,
                             .b = (const uint32_t *)(const void *)(g->filters + k * POINTS * C + p * C * width),
                             .b_row = width,
                             .c = (char *)r->m + p * g->m_point,
                             .c_row = width,
                             .start = g->start + p * g->s.K + k });
    }
}

static void run_block(const winograd *g, const dt_node *node, int64_t block, const room *r)
{
    const int64_t first = block * g->block, all = g->s.N * g->down;
    const int64_t rows = all - first < g->block ? all - first : g->block;

    for (int64_t i = 0; i < rows; i++) {
        transform_row(g, node->in[0], first + i, r, r->v + i * g->across * g->s.C);
    }
    for (int64_t k = 0; k < g->s.K; k += PANEL) {
        const int64_t width = panel_width(g, k);
        products(g, k, rows * g->across, r);
        for (int64_t i = 0; i < rows; i++) {
            result_row(g, r->m + i * g->across * width, width, first + i, (float *)node->out->data + k);
        }
    }
    _mm_sfence(); /* the stores past the caches are ordered by nothing else */
}

/* Parts of a thread's room; what is outside of the map is zero from here on. */
static room room_of(const winograd *g, char *at)
{
    const int64_t row = padded(g->s.W * g->s.C);
    room r = { .zeros = (uint8_t *)at, .codes = (uint8_t *)at + row };

    for (int i = 0; i < 4; i++) r.line[i] = r.codes + 4 * row + i * g->line;
    r.v = r.line[3] + g->line;
    r.m = (int32_t *)(void *)(r.v + POINTS * g->v_point);
    memset(r.zeros, 0, (size_t)row);
    memset(r.line[0], 0, (size_t)(4 * g->line));
    return r;
}

void dt_winograd_forward(const dt_node *node, const dt_exec *ex, int threads)
{
    winograd g = sizes_of(node, threads);

    g.filters = ex->scratch;
    g.start = (int32_t *)(void *)(g.filters + g.filters_bytes);
    char *rooms = (char *)g.start + g.start_bytes;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < g.s.K; k += VECTOR) transform_filters(&g, node->in[1], k);
#pragma omp parallel num_threads(threads)
    {
        const room mine = room_of(&g, rooms + (size_t)dt_thread_number() * g.room_bytes);
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < g.n_blocks; b++) run_block(&g, node, b, &mine);
    }
}

#endif /* else winograd.c */
