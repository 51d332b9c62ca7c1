/*
 * conv_pairs.c - y of a convolution of codes of few bits, on a CPU with AVX2 and no VNNI.
 *
 * AVX2 multiplies 32 bytes, of x without a sign and of w with one, and adds neighbouring products in 16 bits. Of codes
 * of few bits many such pairs fit 16 bits together: 156 of 4-bit codes and weights. So a pair costs two instructions,
 * and the sums go to 32 bits once in a while. oneDNN widens each pair, which is three, and f32 has a fourth of the
 * products in an instruction. A psum is exact, and is rounded to f32 once.
 *
 * Codes with a sign get an offset, which makes them unsigned, and each filter begins at -offset * (sum of its weights).
 *
 *   x  [top + H + bottom][left + W + right][C] bytes, code + offset; those of the padding have code 0
 *   w  [blocks of LANES filters][runs][steps][LANES][4]; 0 behind the filters and behind a run
 * A run is what lies together in x: a row of the window, or one tap of it where there is dilation. A step is 4 bytes.
 *
 * A worker takes an image. It sums LANES filters at POSITIONS outputs at a time, in registers.
 *
 * The mathematics is in conv.c.
 * Tests: tests/layers/test_conv.c, tests/layers/test_conv_extremes.c, tests/layers/test_conv_types.c,
 * tests/layers/test_conv_pairs.c.
 */
#include "conv_kernels.h"

#include "../../core/align.h"
#include "../../core/cpu_level.h"
#include "../../core/threads.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

enum { LANES = 16, HALVES = 2, POSITIONS = 6, STEP = 4, FEWEST_STEPS = 8 };

#define AVX2        __attribute__((target("avx2")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2")))

/* Bytes, but for counts. */
typedef struct {
    dt_conv_shape s;
    int64_t runs, run, steps; /* of a window; bytes of one, and steps of it */
    int64_t down, right;      /* in x, from a run to the next: the next row's first, and the next in a row */
    int64_t row, image;       /* of x with its padding */
    int64_t blocks, filters;  /* of LANES filters; all their weights */
    int64_t most_steps;       /* whose sums fit 16 bits */
    int offset;
} sizes;

static int64_t most_weight(const dt_tensor *w)
{
    return w->qmax > -w->qmin ? w->qmax : -w->qmin;
}

/* Two products of 4 in a step share 16 bits. */
static int64_t steps_in_16_bits(const dt_tensor *x, const dt_tensor *w)
{
    const int64_t low = x->qmin < 0 ? x->qmin : 0, most = 2 * (x->qmax - low) * most_weight(w);

    return most > 0 ? INT16_MAX / most : INT16_MAX;
}

static sizes sizes_of(const dt_node *node)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    const int is_whole_row = s.dilation[1] == 1;
    sizes z = { .s = s, .runs = is_whole_row ? s.R : s.R * s.S, .run = is_whole_row ? s.S * s.C : s.C };

    z.steps = (z.run + STEP - 1) / STEP;
    z.row = (s.W + s.pad[1] + s.pad[3]) * s.C;
    z.image = (s.H + s.pad[0] + s.pad[2]) * z.row;
    z.down = s.dilation[0] * z.row;
    z.right = is_whole_row ? 0 : s.dilation[1] * s.C;
    z.blocks = (s.K + LANES - 1) / LANES;
    z.filters = z.blocks * z.runs * z.steps * LANES * STEP;
    z.most_steps = steps_in_16_bits(x, w);
    z.offset = x->qmin < 0 ? (int)-x->qmin : 0;
    return z;
}

static const char *pairs_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    const dt_conv_shape s = dt_conv_shape_of(node);
    const dt_tensor *x = node->in[0], *w = node->in[1];
    (void)ex;

    if (direction != DT_CONV_Y) return "y alone";
    if (x->n_scale == 0 || w->n_scale == 0) return "no codes";
    if (dt_conv_has_int8()) return "VNNI is faster";
    if (dt_cpu_level_now() < DT_CPU_AVX2) return "no AVX2";
    if (s.groups > 1) return "groups";
    if (x->qmin < INT8_MIN || x->qmax > UINT8_MAX || most_weight(w) > INT8_MAX) return "codes fit no byte";
    return steps_in_16_bits(x, w) < FEWEST_STEPS ? "few products fit 16 bits" : NULL;
}

/* Scratch: [weights][starts][workers' images]. */
typedef struct {
    size_t starts, rooms, room;
} places;

static places places_of(const sizes *z)
{
    const size_t weights = dt_round_up((size_t)z->filters, DT_CACHE_LINE);
    const size_t starts = dt_round_up((size_t)(z->blocks * LANES) * sizeof(int32_t), DT_CACHE_LINE);

    return (places){ weights, weights + starts, dt_round_up((size_t)(z->image + STEP), DT_CACHE_LINE) };
}

static dt_status pairs_prepare(const dt_node *node, const dt_exec *ex, dt_conv_share *share)
{
    const sizes z = sizes_of(node);
    const places at = places_of(&z);
    (void)ex;

    share->scratch_bytes = at.rooms + (size_t)share->threads * at.room;
    return DT_OK;
}

/* n values of a tensor, from value `first` on, with `offset`, as bytes. */
static void to_bytes(const dt_tensor *t, int64_t first, int64_t n, int offset, uint8_t *to)
{
    const float *f = (const float *)t->data + first;
    const uint8_t *u = (const uint8_t *)t->data + first;

    if (t->type == DT_F32) {
        for (int64_t k = 0; k < n; k++) to[k] = (uint8_t)((int32_t)f[k] + offset);
    } else {
        for (int64_t k = 0; k < n; k++) to[k] = (uint8_t)(u[k] + offset); /* of I8 too, mod 256 */
    }
}

/* Filters block * LANES .. of w, and where their sums begin. */
static void pack_block(const sizes *z, const dt_tensor *w, int64_t block, uint8_t *to, int32_t *start)
{
    const int64_t terms = z->s.terms, step_bytes = LANES * STEP;

    memset(to, 0, (size_t)(z->runs * z->steps * step_bytes));
    memset(start, 0, LANES * sizeof *start);
    for (int64_t f = 0; f < LANES && block * LANES + f < z->s.K; f++) {
        const int64_t filter = (block * LANES + f) * terms;
        for (int64_t run = 0; run < z->runs; run++) {
            uint8_t *at = to + run * z->steps * step_bytes + f * STEP;
            for (int64_t i = 0; i < z->run; i += STEP, at += step_bytes) {
                const int64_t n = z->run - i < STEP ? z->run - i : STEP;
                to_bytes(w, filter + run * z->run + i, n, 0, at);
                for (int64_t k = 0; k < n; k++) start[f] -= z->offset * (int8_t)at[k];
            }
        }
    }
}

/* An image, with its padding. */
static void pack_image(const sizes *z, const dt_tensor *x, int64_t n, uint8_t *to)
{
    const dt_conv_shape *s = &z->s;

    memset(to, z->offset, (size_t)(z->image + STEP));
    for (int64_t h = 0; h < s->H; h++) {
        uint8_t *row = to + (h + s->pad[0]) * z->row + s->pad[1] * s->C;
        to_bytes(x, (n * s->H + h) * s->W * s->C, s->W * s->C, z->offset, row);
    }
}

/* Adds the sums of 16 bits to those of 32, and clears them. */
AVX2_INLINE void widen(int n, __m256i (*narrow)[HALVES], __m256i (*wide)[HALVES])
{
    const __m256i ones = _mm256_set1_epi16(1);

    for (int i = 0; i < n; i++) {
        for (int half = 0; half < HALVES; half++) {
            wide[i][half] = _mm256_add_epi32(wide[i][half], _mm256_madd_epi16(narrow[i][half], ones));
            narrow[i][half] = _mm256_setzero_si256();
        }
    }
}

/* Adds `count` steps of x + at, for n outputs. */
AVX2_INLINE void add_steps(int n, const uint8_t *const *x, int64_t at, int64_t count, const uint8_t *w,
                           __m256i (*narrow)[HALVES])
{
    for (int64_t k = 0; k < count; k++, at += STEP, w += LANES * STEP) {
        const __m256i w0 = _mm256_load_si256((const __m256i *)(const void *)w);
        const __m256i w1 = _mm256_load_si256((const __m256i *)(const void *)(w + LANES * STEP / HALVES));
        for (int i = 0; i < n; i++) {
            int32_t four;
            memcpy(&four, x[i] + at, sizeof four);
            const __m256i codes = _mm256_set1_epi32(four);
            narrow[i][0] = _mm256_add_epi16(narrow[i][0], _mm256_maddubs_epi16(codes, w0));
            narrow[i][1] = _mm256_add_epi16(narrow[i][1], _mm256_maddubs_epi16(codes, w1));
        }
    }
}

/* sum[i] of n outputs, whose windows begin at x[i], n a constant where this is inlined. w: of the block */
AVX2_INLINE void sum_outputs(const sizes *z, int n, const uint8_t *const *x, const uint8_t *w, const int32_t *start,
                             int32_t (*sum)[LANES])
{
    __m256i narrow[POSITIONS][HALVES], wide[POSITIONS][HALVES];
    const int64_t in_row = z->s.R == z->runs ? 1 : z->s.S;
    int64_t left = z->most_steps;

    for (int i = 0; i < n; i++) {
        for (int half = 0; half < HALVES; half++) {
            narrow[i][half] = _mm256_setzero_si256();
            wide[i][half] = _mm256_loadu_si256((const __m256i *)(const void *)start + half);
        }
    }
    for (int64_t run = 0; run < z->runs; run++) {
        const int64_t at = run / in_row * z->down + run % in_row * z->right;
        for (int64_t step = 0; step < z->steps;) {
            const int64_t count = z->steps - step < left ? z->steps - step : left;
            add_steps(n, x, at + step * STEP, count, w, narrow);
            w += count * LANES * STEP;
            step += count;
            left -= count;
            if (left > 0) continue;
            widen(n, narrow, wide);
            left = z->most_steps;
        }
    }
    widen(n, narrow, wide);
    for (int i = 0; i < n * HALVES; i++)
        _mm256_storeu_si256((__m256i *)(void *)sum[i / HALVES] + i % HALVES, wide[i / HALVES][i % HALVES]);
}

/* Outputs of an image, from number `first` on, and the filters of a block. */
typedef struct {
    const sizes *z;
    const uint8_t *image, *w;
    const int32_t *start;
    float *y; /* [outputs][K] from the block's first filter on */
    int64_t n_filters;
} block_work;

/* n outputs. */
AVX2_INLINE void give_outputs(const block_work *b, int n, int64_t first)
{
    const dt_conv_shape *s = &b->z->s;
    const uint8_t *x[POSITIONS];
    int32_t sum[POSITIONS][LANES];

    for (int i = 0; i < n; i++) {
        const int64_t p = (first + i) / s->Q, q = (first + i) % s->Q;
        x[i] = b->image + p * s->stride[0] * b->z->row + q * s->stride[1] * s->C;
    }
    sum_outputs(b->z, n, x, b->w, b->start, sum);
    for (int i = 0; i < n; i++) {
        float *to = b->y + (first + i) * s->K;
        for (int64_t k = 0; k < b->n_filters; k++) to[k] = (float)sum[i][k];
    }
}

static AVX2 void give_block(const block_work *b)
{
    const int64_t n = b->z->s.P * b->z->s.Q;
    int64_t at = 0;

    for (; n - at >= POSITIONS; at += POSITIONS) give_outputs(b, POSITIONS, at);
    for (; n - at >= 3; at += 3) give_outputs(b, 3, at);
    for (; at < n; at++) give_outputs(b, 1, at);
}

static void give_image(const sizes *z, const uint8_t *image, const char *scratch, float *y)
{
    const places at = places_of(z);

    for (int64_t block = 0; block < z->blocks; block++) {
        const int64_t left = z->s.K - block * LANES;
        const block_work b = { .z = z,
                               .image = image,
                               .w = (const uint8_t *)scratch + block * (z->filters / z->blocks),
                               .start = (const int32_t *)(const void *)(scratch + at.starts) + block * LANES,
                               .y = y + block * LANES,
                               .n_filters = left < LANES ? left : LANES };
        give_block(&b);
    }
}

static dt_status pairs_run(const dt_node *node, const dt_exec *ex, const dt_conv_share *share, unsigned directions)
{
    const sizes z = sizes_of(node);
    const places at = places_of(&z);
    char *scratch = ex->scratch;
    float *y = node->out->data;
    (void)directions;

#pragma omp parallel num_threads(share->threads)
    {
        uint8_t *image = (uint8_t *)scratch + at.rooms + (size_t)dt_thread_number() * at.room;
#pragma omp for schedule(static)
        for (int64_t block = 0; block < z.blocks; block++) {
            uint8_t *w = (uint8_t *)scratch + block * (z.filters / z.blocks);
            pack_block(&z, node->in[1], block, w, (int32_t *)(void *)(scratch + at.starts) + block * LANES);
        }
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < z.s.N; n++) {
            pack_image(&z, node->in[0], n, image);
            give_image(&z, image, scratch, y + n * z.s.P * z.s.Q * z.s.K);
        }
    }
    return DT_OK;
}

#else

static const char *pairs_refuses(const dt_node *node, const dt_exec *ex, unsigned direction)
{
    (void)node, (void)ex, (void)direction;
    return "not written for this machine";
}

#endif

const dt_conv_kernel dt_conv_pairs = {
    .name = "pairs",
    .refuses = pairs_refuses,
#if defined(__x86_64__)
    .prepare = pairs_prepare,
    .run = pairs_run,
#endif
};
