/*
 * psum_kernels.c - sums of one block of outputs; see psum_kernels.h. A lane is a filter; a pass is one tap of one tile.
 *
 * AVX-512 VNNI multiplies the words of w as they are. The plain loops take them apart with shifts, which vectorises on
 * any machine.  Tests: tests/accel/test_psum.c, tests/accel/test_psum_engine.c.
 */
#include "psum_kernels.h"

#include "../../core/cpu_level.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = DT_PSUM_LANES };

static inline int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* What the additions of a block look at and keep. */
typedef struct {
    dt_psum_limits held; /* by psum_bits: what is beyond overflows */
    dt_psum_limits clip; /* no limits where sums wrap: they stay exact until the end */
    dt_psum_seen seen;
} additions;

static additions additions_of(const dt_array *array, const dt_psum_seen *seen)
{
    const dt_psum_limits held = dt_psum_limits_of(array), none = { INT32_MIN, INT32_MAX };
    return (additions){ .held = held, .clip = array->overflow == DT_OVERFLOW_SATURATE ? held : none, .seen = *seen };
}

/* The value of lane k before fit; returns it after. */
static inline int32_t look(additions *a, int k, int32_t value)
{
    a->seen.low[k] = smaller(a->seen.low[k], value);
    a->seen.high[k] = larger(a->seen.high[k], value);
    a->seen.n_overflows[k] += (value < a->held.low) | (value > a->held.high); /* || would not vectorise */
    return larger(a->clip.low, smaller(a->clip.high, value));
}

/* Of one tap of one tile: its starts and its weights. */
static inline int64_t tap_words(const dt_psum_block *b)
{
    return (1 + b->layout.step / 4) * LANES;
}

/* Where a tile's tap begins in the packed x, from where the window begins. */
static inline int64_t tap_at(const dt_psum_block *b, int tile, int tap)
{
    const int across = b->layer->shape.window_width;
    return tap / across * b->layout.down + tap % across * b->layout.right + tile * b->layout.step;
}

/* Weights of channel c of a tile. w: of the tap, without its starts. */
static inline void weights_of(const int32_t *restrict w, int64_t c, int32_t *restrict weight)
{
    w += c / 4 * LANES;
#pragma omp simd
    for (int k = 0; k < LANES; k++) weight[k] = (int32_t)((uint32_t)w[k] << (24 - 8 * (c % 4))) >> 24;
}

static void store_taps(const dt_psum_block *b, int pass, int32_t (*psum)[LANES])
{
    const int bits = b->layer->array.psum_bits;

    for (int i = 0; i < b->n; i++) {
        int32_t *restrict to = b->taps + ((int64_t)pass * b->n + i) * LANES;
        for (int k = 0; k < LANES; k++) to[k] = dt_psum_wrap(psum[i][k], bits);
    }
}

/* The tap psums of all positions. at: of the tap in x; w: of the tap. */
static void tap_sums(const dt_psum_block *b, const int32_t *w, int64_t at, int32_t (*restrict psum)[LANES])
{
    int32_t weight[LANES];
    for (int i = 0; i < b->n; i++) memcpy(psum[i], w, sizeof psum[i]);
    for (int64_t c = 0; c < b->layout.step; c++) {
        weights_of(w + LANES, c, weight);
        for (int i = 0; i < b->n; i++) {
            const int32_t x = b->x[i][at + c];
#pragma omp simd
            for (int k = 0; k < LANES; k++) psum[i][k] += x * weight[k];
        }
    }
}

void dt_psum_block_plain(dt_psum_block *b, dt_psum_seen *seen)
{
    const dt_psum_layer *layer = b->layer;
    additions a = additions_of(&layer->array, seen);
    int32_t psum[DT_PSUM_POSITIONS][LANES];

    memset(b->sum, 0, sizeof b->sum);
    for (int pass = 0; pass < layer->in_tiles * layer->taps; pass++) {
        tap_sums(b, b->w + pass * tap_words(b), tap_at(b, pass / layer->taps, pass % layer->taps), psum);
        for (int i = 0; i < b->n; i++) {
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                look(&a, k, psum[i][k]);
                b->sum[i][k] = look(&a, k, b->sum[i][k] + psum[i][k]);
            }
        }
        if (b->taps) store_taps(b, pass, psum);
    }
    *seen = a.seen;
}

/* ---- one addition after another ---- */

/* What the PEs of channel c of a tile, or of c and c + 1, add to the sums of all positions. */
static void add_row(const dt_psum_block *b, const int32_t *w, int64_t at, int c, additions *restrict a,
                    int32_t (*restrict sum)[LANES])
{
    const int pairs = b->layer->array.simd > 1;
    int32_t first[LANES], second[LANES] = { 0 }, product[LANES];

    weights_of(w + LANES, c, first);
    if (pairs) weights_of(w + LANES, c + 1, second);
    for (int i = 0; i < b->n; i++) {
        const int32_t x0 = b->x[i][at + c] - b->offset, x1 = pairs ? b->x[i][at + c + 1] : 0;
#pragma omp simd
        for (int k = 0; k < LANES; k++) product[k] = x0 * first[k] + x1 * second[k];
#pragma omp simd
        for (int k = 0; k < LANES; k++) sum[i][k] = look(a, k, sum[i][k] + product[k]);
    }
}

static void weight_stationary(dt_psum_block *b, additions *a)
{
    const dt_psum_layer *layer = b->layer;
    const int channels = dt_psum_group_channels(&layer->shape);
    int32_t psum[DT_PSUM_POSITIONS][LANES];

    for (int pass = 0; pass < layer->in_tiles * layer->taps; pass++) {
        const int tile = pass / layer->taps, left = channels - tile * layer->tile_channels;
        const int64_t at = tap_at(b, tile, pass % layer->taps);
        memset(psum, 0, sizeof psum);
        for (int c = 0; c < layer->tile_channels && c < left; c += layer->array.simd) {
            add_row(b, b->w + pass * tap_words(b), at, c, a, psum);
        }
        if (b->taps) store_taps(b, pass, psum);
        if (pass == 0) memcpy(b->sum, psum, sizeof psum);
        for (int i = 0; pass > 0 && i < b->n; i++) {
#pragma omp simd
            for (int k = 0; k < LANES; k++) b->sum[i][k] = look(a, k, b->sum[i][k] + psum[i][k]);
        }
    }
}

static void output_stationary(dt_psum_block *b, additions *a)
{
    const dt_psum_layer *layer = b->layer;

    memset(b->sum, 0, sizeof b->sum);
    for (int c = 0; c < dt_psum_group_channels(&layer->shape); c += layer->array.simd) {
        for (int tap = 0; tap < layer->taps; tap++) {
            add_row(b, b->w + tap * tap_words(b), tap_at(b, 0, tap), c, a, b->sum);
        }
    }
}

void dt_psum_block_ordered(dt_psum_block *b, dt_psum_seen *seen)
{
    additions a = additions_of(&b->layer->array, seen);
    if (b->layer->array.dataflow == DT_DATAFLOW_WS)
        weight_stationary(b, &a);
    else
        output_stationary(b, &a);
    *seen = a.seen;
}

/* ---- AVX-512 VNNI: 16 filters times 4 channels an instruction ---- */

#if defined(__x86_64__)

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

int dt_psum_has_vnni(void)
{
    return dt_cpu_has_vnni();
}

/* dt_psum_seen in registers. */
typedef struct {
    __m512i low, high, n_overflows;
    __m512i lowest, highest; /* that psum_bits hold */
} vnni_seen;

static inline VNNI vnni_seen vnni_seen_nothing(dt_psum_limits limits)
{
    return (vnni_seen){ _mm512_set1_epi32(INT32_MAX), _mm512_set1_epi32(INT32_MIN), _mm512_setzero_si512(),
                        _mm512_set1_epi32(limits.low), _mm512_set1_epi32(limits.high) };
}

static inline VNNI void vnni_look(vnni_seen *seen, __m512i value)
{
    seen->low = _mm512_min_epi32(seen->low, value);
    seen->high = _mm512_max_epi32(seen->high, value);
}

static inline VNNI void vnni_count(vnni_seen *seen, __m512i value)
{
    const __mmask16 outside =
        _mm512_cmplt_epi32_mask(value, seen->lowest) | _mm512_cmpgt_epi32_mask(value, seen->highest);
    seen->n_overflows = _mm512_mask_add_epi32(seen->n_overflows, outside, seen->n_overflows, _mm512_set1_epi32(1));
}

/* n sums of one tap of one tile, n a constant where this is inlined. at: of the tap's first codes. Returns where the
 * next tap's weights are. */
static inline __attribute__((always_inline)) VNNI const int32_t *vnni_tap(const int32_t *w, const uint8_t *const *x,
                                                                          int64_t at, int64_t end, int n, __m512i *psum)
{
    const __m512i start = _mm512_load_si512(w);
    for (int i = 0; i < n; i++) psum[i] = start;
    do {
        w += LANES;
        const __m512i codes = _mm512_load_si512(w);
        for (int i = 0; i < n; i++) {
            int32_t four;
            memcpy(&four, x[i] + at, sizeof four);
            psum[i] = _mm512_dpbusd_epi32(psum[i], _mm512_set1_epi32(four), codes);
        }
        at += 4;
    } while (at < end);
    return w + LANES;
}

/* What is done of a block beside its sums. The two do not go together, so that each has registers enough. */
typedef enum { VNNI_NOTHING, VNNI_STORE_TAPS, VNNI_COUNT_OVERFLOWS } vnni_beside;

/* Stores a tap psum after fit; unused: bits of the word that a psum does not have. */
static inline VNNI void vnni_store(__m512i psum, __m128i unused, int32_t *to)
{
    _mm512_store_si512(to, _mm512_sra_epi32(_mm512_sll_epi32(psum, unused), unused));
}

/* Positions first .. first + n - 1 of the block; their sums stay in registers. Tap psums and running psums are looked
 * at apart, or each minimum would wait for the last. */
static inline __attribute__((always_inline)) VNNI void vnni_sums(dt_psum_block *b, int first, int n, vnni_beside beside,
                                                                 vnni_seen *taps, vnni_seen *running)
{
    const __m128i unused = _mm_cvtsi32_si128(32 - b->layer->array.psum_bits);
    int32_t *to = b->taps ? b->taps + first * LANES : NULL;
    const dt_psum_layout l = b->layout;
    const int n_taps = b->layer->taps, across = b->layer->shape.window_width;
    const uint8_t *const *x = b->x + first;
    const int32_t *w = b->w;
    __m512i sum[DT_PSUM_POSITIONS], psum[DT_PSUM_POSITIONS];

    for (int i = 0; i < n; i++) sum[i] = _mm512_setzero_si512();
    for (int64_t tile = 0; tile < l.group; tile += l.step) {
        for (int tap = 0; tap < n_taps; tap++) {
            const int64_t at = tile + tap / across * l.down + tap % across * l.right;
            w = vnni_tap(w, x, at, at + l.step, n, psum);
            for (int i = 0; i < n; i++) {
                sum[i] = _mm512_add_epi32(sum[i], psum[i]);
                vnni_look(taps, psum[i]);
                vnni_look(running, sum[i]);
                if (beside == VNNI_STORE_TAPS) vnni_store(psum[i], unused, to + i * LANES);
                if (beside == VNNI_COUNT_OVERFLOWS) vnni_count(taps, psum[i]);
                if (beside == VNNI_COUNT_OVERFLOWS) vnni_count(running, sum[i]);
            }
            if (beside == VNNI_STORE_TAPS) to += b->n * LANES;
        }
    }
    for (int i = 0; i < n; i++) _mm512_store_si512(b->sum[first + i], sum[i]);
}

static inline __attribute__((always_inline)) VNNI vnni_seen vnni_block(dt_psum_block *b, vnni_beside beside)
{
    const dt_psum_limits limits = dt_psum_limits_of(&b->layer->array);
    vnni_seen taps = vnni_seen_nothing(limits), running = taps;
    int first = 0;

    for (; b->n - first >= 8; first += 8) vnni_sums(b, first, 8, beside, &taps, &running);
    for (; b->n - first >= 4; first += 4) vnni_sums(b, first, 4, beside, &taps, &running);
    for (; first < b->n; first++) vnni_sums(b, first, 1, beside, &taps, &running);
    running.low = _mm512_min_epi32(taps.low, running.low);
    running.high = _mm512_max_epi32(taps.high, running.high);
    running.n_overflows = _mm512_add_epi32(taps.n_overflows, running.n_overflows);
    return running;
}

/* Overflows are rare and counting them takes as long as summing: a block that has any is summed again. */
VNNI void dt_psum_block_vnni(dt_psum_block *b, dt_psum_seen *seen)
{
    vnni_seen s = b->taps ? vnni_block(b, VNNI_STORE_TAPS) : vnni_block(b, VNNI_NOTHING);

    if (_mm512_cmplt_epi32_mask(s.low, s.lowest) | _mm512_cmpgt_epi32_mask(s.high, s.highest))
        s = vnni_block(b, VNNI_COUNT_OVERFLOWS);
    _mm512_storeu_si512(seen->low, _mm512_min_epi32(_mm512_loadu_si512(seen->low), s.low));
    _mm512_storeu_si512(seen->high, _mm512_max_epi32(_mm512_loadu_si512(seen->high), s.high));
    _mm512_storeu_si512(seen->n_overflows, _mm512_add_epi32(_mm512_loadu_si512(seen->n_overflows), s.n_overflows));
}

#else

int dt_psum_has_vnni(void)
{
    return 0;
}

void dt_psum_block_vnni(dt_psum_block *b, dt_psum_seen *seen)
{
    dt_psum_block_plain(b, seen);
}

#endif
