/*
 * oracle.c - see oracle.h. The loops are plain; filters are innermost, so that compilers turn them into vectors. One of
 * them, the sum of products, is written for AVX2 and for AVX-512 with VNNI too, with the same products in the same
 * order.
 *
 * Sums that wrap are taken mod 2^32 and wrapped to psum_bits when they are judged, which gives the same in any order. A
 * layer's exact psums are below 2^31 (dt_psum_layer_init), so that sums mod 2^32 are the exact ones too. Sums that are
 * clipped are clipped after each addition, in the order of psum.h.
 *
 * Codes and weights are 16-bit words, which hold 256 codes with 0 among them, and are multiplied in pairs: of two
 * neighbouring channels of a tile. Where a tile's number of channels is odd, the last pair has the weight 0.
 *   x  [height][width][channels], then as many zeros as a cell of the padding has, and one more for the last pair
 *   w  [groups][blocks of LANES filters][in tiles][taps][pairs of channels of a tile][LANES][2]; 0 behind the filters
 * Output stationary, all channels of a group are one tile.
 *
 * Tests: tests/accel/test_verify.c, tests/accel/test_psum_engine.c.
 */
#include "oracle.h"

#include "../../core/cpu_level.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = DT_PSUM_LANES, POSITIONS = DT_PSUM_POSITIONS, PAIR = 2 * LANES };

/* How the weights lie, and how many passes the array makes. */
typedef struct {
    int channels, filters, taps; /* of a group */
    int tile, tiles, pairs;      /* channels of a tile, at most; tiles of a group; pairs of a tile */
    int blocks;                  /* of a group */
} sizes;

static sizes sizes_of(const dt_array *array, const dt_psum_shape *s)
{
    sizes z = { .channels = s->channels / s->conv.groups,
                .filters = s->filters / s->conv.groups,
                .taps = s->window_height * s->window_width };
    const int rows = array->rows * array->simd;

    z.tile = array->dataflow == DT_DATAFLOW_WS && rows < z.channels ? rows : z.channels;
    z.tiles = (z.channels + z.tile - 1) / z.tile;
    z.pairs = (z.tile + 1) / 2;
    z.blocks = (z.filters + LANES - 1) / LANES;
    return z;
}

/* Where the weights of a tap of a tile begin; block: of all groups. */
static int64_t pass_at(const sizes *z, int64_t block, int tile, int tap)
{
    return ((block * z->tiles + tile) * z->taps + tap) * z->pairs * PAIR;
}

int64_t dt_oracle_n_codes(const dt_psum_shape *s)
{
    return (int64_t)s->height * s->width * s->channels + s->channels + 1;
}

void dt_oracle_read_codes(const dt_psum_shape *s, const float *x, int16_t *to)
{
    const int64_t n = (int64_t)s->height * s->width * s->channels;

    for (int64_t i = 0; i < n; i++) to[i] = (int16_t)x[i];
    memset(to + n, 0, (size_t)(s->channels + 1) * sizeof *to);
}

int64_t dt_oracle_n_values(const dt_oracle *o)
{
    const sizes z = sizes_of(&o->array, &o->shape);
    const int64_t outputs = (int64_t)o->shape.out_height * o->shape.out_width * o->shape.filters;
    const int passes = o->array.dataflow == DT_DATAFLOW_WS ? z.tiles * z.taps : 0;

    return outputs * (passes + 2);
}

/* Those in the padding, and those behind the last position, begin at the zeros. */
static void find_cells(const dt_psum_shape *s, int64_t cells, int32_t *cell)
{
    const int positions = s->out_height * s->out_width;

    for (int64_t i = 0; i < s->window_height * s->window_width * cells; i++) {
        const int tap = (int)(i / cells), at = (int)(i % cells);
        const int row = at / s->out_width * s->conv.stride[0] + tap / s->window_width * s->conv.dilation[0];
        const int col = at % s->out_width * s->conv.stride[1] + tap % s->window_width * s->conv.dilation[1];
        const int h = row - s->conv.pad[0], w = col - s->conv.pad[1];
        const int sees = at < positions && h >= 0 && h < s->height && w >= 0 && w < s->width;
        cell[i] = (sees ? h * s->width + w : s->height * s->width) * s->channels;
    }
}

static void read_weights(const sizes *z, const dt_psum_shape *s, const float *w, int16_t *to)
{
    for (int64_t k = 0; k < s->filters; k++) {
        const int64_t of_group = k % z->filters, block = k / z->filters * z->blocks + of_group / LANES;
        for (int i = 0; i < z->taps * z->channels; i++) {
            const int tap = i / z->channels, c = i % z->channels, in_tile = c % z->tile;
            int16_t *pair = to + pass_at(z, block, c / z->tile, tap) + in_tile / 2 * PAIR;
            pair[of_group % LANES * 2 + in_tile % 2] = (int16_t)w[k * z->taps * z->channels + i];
        }
    }
}

dt_status dt_oracle_open(dt_oracle *o, const dt_array *array, const dt_psum_shape *s, const float *w)
{
    const sizes z = sizes_of(array, s);
    const int64_t n_w = pass_at(&z, (int64_t)s->conv.groups * z.blocks, 0, 0);

    *o = (dt_oracle){ .array = *array, .shape = *s };
    o->cells = (int64_t)s->out_height * s->out_width + POSITIONS;
    o->w = calloc((size_t)n_w, sizeof *o->w);
    o->cell = malloc((size_t)(z.taps * o->cells) * sizeof *o->cell);
    DT_CHECK(o->w && o->cell, DT_ERR_MEMORY, "no memory for %lld weights that others are judged by", (long long)n_w);
    read_weights(&z, s, w, o->w);
    find_cells(s, o->cells, o->cell);
    return DT_OK;
}

void dt_oracle_close(dt_oracle *o)
{
    free(o->w);
    free(o->cell);
}

/* A word of each filter of a block, and the same mod 2^32. */
typedef int32_t words __attribute__((vector_size(4 * DT_PSUM_LANES)));
typedef uint32_t unsigned_words __attribute__((vector_size(4 * DT_PSUM_LANES)));

/* A block under judgement. */
typedef struct {
    const dt_oracle_case *c;
    const dt_array *array;
    const dt_psum_taps *block;
    dt_oracle_result *r;
    sizes z;
    int64_t number;              /* of the block of filters, in all groups */
    int group;                   /* its first channel */
    const int16_t *x[POSITIONS]; /* what the tap at hand sees: all channels of the group */
    words tap[POSITIONS], sum[POSITIONS];
    words differ;                    /* bits of tap psums that are not as found */
    int locates;                     /* 1: tap psums are judged one by one; 0: differ tells whether that is needed */
    int64_t exact[POSITIONS][LANES]; /* of what is clipped; else it is sum before that is fitted */
} judgement;

static int is_clipped(const judgement *j)
{
    return j->array->overflow == DT_OVERFLOW_SATURATE;
}

static int32_t fit(int64_t value, const dt_array *a)
{
    const int64_t high = ((int64_t)1 << (a->psum_bits - 1)) - 1, low = -high - 1;

    if (a->overflow == DT_OVERFLOW_SATURATE) return (int32_t)(value < low ? low : value > high ? high : value);
    return (int32_t)((uint32_t)value << (32 - a->psum_bits)) >> (32 - a->psum_bits);
}

/* Points j->x at what a tap sees, of the block's group. */
static void look_at_cells(judgement *j, int tap)
{
    const dt_oracle *o = j->c->o;
    const int32_t *cell = o->cell + tap * o->cells + j->block->first_position;

    for (int i = 0; i < POSITIONS; i++) j->x[i] = j->c->x + cell[i] + j->group;
}

/* sum[i][k] of POSITIONS x LANES = sum over pairs p of x[i][2p] * w[p][k][0] + x[i][2p+1] * w[p][k][1] */
typedef void sum_pairs_by(const int16_t *const *x, int64_t first, const int16_t *w, int pairs, words *sum);

static void sum_pairs(const int16_t *const *x, int64_t first, const int16_t *w, int pairs, words *sum)
{
    memset(sum, 0, POSITIONS * sizeof *sum);
    for (int p = 0; p < pairs; p++, w += PAIR) {
        for (int i = 0; i < POSITIONS; i++) {
            const int32_t x0 = x[i][first + 2 * p], x1 = x[i][first + 2 * p + 1];
            for (int k = 0; k < LANES; k++) sum[i][k] += x0 * w[2 * k] + x1 * w[2 * k + 1];
        }
    }
}

#if defined(__x86_64__)

enum { AT_ONCE = 4, HALVES = 2 }; /* positions whose sums have registers; registers of LANES words */

__attribute__((target("avx2"))) static void sum_pairs_avx2(const int16_t *const *x, int64_t first, const int16_t *w,
                                                           int pairs, words *sum)
{
    for (int i = 0; i < POSITIONS; i += AT_ONCE) {
        __m256i s[AT_ONCE][HALVES];
        const int16_t *pair = w;
        for (int n = 0; n < AT_ONCE; n++) s[n][0] = s[n][1] = _mm256_setzero_si256();
        for (int p = 0; p < pairs; p++, pair += PAIR) {
            const __m256i w0 = _mm256_loadu_si256((const __m256i *)(const void *)pair);
            const __m256i w1 = _mm256_loadu_si256((const __m256i *)(const void *)(pair + LANES));
            for (int n = 0; n < AT_ONCE; n++) {
                int32_t two;
                memcpy(&two, x[i + n] + first + 2 * p, sizeof two);
                s[n][0] = _mm256_add_epi32(s[n][0], _mm256_madd_epi16(_mm256_set1_epi32(two), w0));
                s[n][1] = _mm256_add_epi32(s[n][1], _mm256_madd_epi16(_mm256_set1_epi32(two), w1));
            }
        }
        for (int n = 0; n < AT_ONCE * HALVES; n++)
            _mm256_storeu_si256((__m256i *)(void *)&sum[i + n / HALVES] + n % HALVES, s[n / HALVES][n % HALVES]);
    }
}

__attribute__((target("avx512f,avx512vnni"))) static void sum_pairs_vnni(const int16_t *const *x, int64_t first,
                                                                         const int16_t *w, int pairs, words *sum)
{
    __m512i s[POSITIONS];

    for (int i = 0; i < POSITIONS; i++) s[i] = _mm512_setzero_si512();
    for (int p = 0; p < pairs; p++, w += PAIR) {
        const __m512i pair = _mm512_loadu_si512(w);
        for (int i = 0; i < POSITIONS; i++) {
            int32_t two;
            memcpy(&two, x[i] + first + 2 * p, sizeof two);
            s[i] = _mm512_dpwssd_epi32(s[i], _mm512_set1_epi32(two), pair);
        }
    }
    for (int i = 0; i < POSITIONS; i++) _mm512_storeu_si512(&sum[i], s[i]);
}

static sum_pairs_by *sum_pairs_now(void)
{
    if (dt_cpu_has_vnni()) return sum_pairs_vnni;
    return dt_cpu_level_now() >= DT_CPU_AVX2 ? sum_pairs_avx2 : sum_pairs;
}

#else

static sum_pairs_by *sum_pairs_now(void)
{
    return sum_pairs;
}

#endif

/* to = fit(to + sum of x * w of channels c .. c + simd - 1 of a tile, which begins at `first`, `left` of which are
 * there): what one processing element adds. */
static void clip_row(judgement *j, const int16_t *w, int first, int c, int left, words *to)
{
    const dt_array a = *j->array;

    for (int i = 0; i < POSITIONS; i++) {
        for (int k = 0; k < LANES; k++) {
            int64_t product = 0;
            for (int l = c; l < c + a.simd && l < left; l++)
                product += j->x[i][first + l] * w[l / 2 * PAIR + 2 * k + l % 2];
            to[i][k] = fit(to[i][k] + product, &a);
            j->exact[i][k] += product;
        }
    }
}

static void found_wrong(dt_oracle_result *r, const dt_mismatch *place, const char *what, int64_t expected,
                        int64_t found)
{
    if (r->n_wrong++ > 0) return;
    r->first = *place;
    r->first.what = what;
    r->first.expected = expected;
    r->first.found = found;
}

/* A position of the block, and a filter of it. */
static dt_mismatch place_of(const judgement *j, int i, int k)
{
    const int at = j->block->first_position + i, width = j->c->o->shape.out_width;

    return (dt_mismatch){
        .row = at / width, .col = at % width, .channel = j->block->first_filter + k, .tile = -1, .tap = -1
    };
}

/* Fits the tap psums, which are complete, and adds them to the sums. */
static void take_taps(judgement *j)
{
    const dt_array a = *j->array;
    const int unused = 32 - a.psum_bits;

    for (int i = 0; i < j->block->n_positions; i++) {
        if (is_clipped(j)) {
            for (int k = 0; k < LANES; k++) j->sum[i][k] = fit((int64_t)j->sum[i][k] + j->tap[i][k], &a);
        } else {
            j->sum[i] = (words)((unsigned_words)j->sum[i] + (unsigned_words)j->tap[i]);
            j->tap[i] = (words)((unsigned_words)j->tap[i] << (uint32_t)unused) >> unused;
        }
    }
}

static void judge_taps(judgement *j, int tile, int tap)
{
    const int n = j->block->n_positions;
    const int32_t *at = j->block->tap + ((int64_t)tile * j->z.taps + tap) * n * LANES;

    for (int i = 0; i < n; i++, at += LANES) {
        words found;
        memcpy(&found, at, sizeof found);
        j->differ |= j->tap[i] ^ found;
        for (int k = 0; j->locates && k < j->block->n_filters; k++) {
            dt_mismatch place = place_of(j, i, k);
            place.tile = tile;
            place.tap = tap;
            if (j->tap[i][k] != found[k]) found_wrong(j->r, &place, "array tap", j->tap[i][k], found[k]);
        }
    }
}

/* Sums the tap psums of a tile, whose weights are w. */
static void sum_pass(judgement *j, sum_pairs_by *by, int tile, const int16_t *w)
{
    const int first = tile * j->z.tile, left = j->z.channels - first < j->z.tile ? j->z.channels - first : j->z.tile;

    if (!is_clipped(j)) {
        by(j->x, first, w, (left + 1) / 2, j->tap);
        return;
    }
    memset(j->tap, 0, sizeof j->tap);
    for (int c = 0; c < left; c += j->array->simd) clip_row(j, w, first, c, left, j->tap);
}

static void sum_passes(judgement *j)
{
    sum_pairs_by *by = sum_pairs_now();

    memset(j->sum, 0, sizeof j->sum);
    memset(j->exact, 0, sizeof j->exact);
    for (int tile = 0; tile < j->z.tiles; tile++) {
        for (int tap = 0; tap < j->z.taps; tap++) {
            look_at_cells(j, tap);
            sum_pass(j, by, tile, j->c->o->w + pass_at(&j->z, j->number, tile, tap));
            take_taps(j);
            judge_taps(j, tile, tap);
        }
    }
}

/* Where all tap psums are as found, which is seen fast, none is looked at alone. */
static void weight_stationary(judgement *j)
{
    int32_t any = 0;

    sum_passes(j);
    for (int k = 0; k < j->block->n_filters; k++) any |= j->differ[k];
    j->locates = any != 0;
    if (j->locates) sum_passes(j);
    j->r->n_checked += (int64_t)j->z.tiles * j->z.taps * j->block->n_positions * j->block->n_filters;
}

/* Each channel's, or pair's, taps follow each other. */
static void output_stationary(judgement *j)
{
    for (int c = 0; c < j->z.channels; c += j->array->simd) {
        for (int tap = 0; tap < j->z.taps; tap++) {
            look_at_cells(j, tap);
            clip_row(j, j->c->o->w + pass_at(&j->z, j->number, 0, tap), 0, c, j->z.channels, j->sum);
        }
    }
}

/* A filter's sums at a position are complete; at: in arrays of the image. */
static void judge_sum(judgement *j, int i, int k, int64_t at)
{
    const dt_oracle_case *c = j->c;
    const float grid = (float)c->exact[at]; /* the grid rounds once, beyond 2^24 */

    if (c->grid[at] == grid && c->psum[at] == c->expected[at]) return;
    const dt_mismatch place = place_of(j, i, k);
    if (c->grid[at] != grid) found_wrong(j->r, &place, "grid psum", (int64_t)grid, (int64_t)c->grid[at]);
    if (c->psum[at] != c->expected[at]) found_wrong(j->r, &place, "array psum", c->expected[at], c->psum[at]);
}

static void judge_sums(judgement *j)
{
    const dt_oracle_case *c = j->c;
    const int is_exact = is_clipped(j) || j->array->dataflow == DT_DATAFLOW_OS;

    for (int i = 0; i < j->block->n_positions; i++) {
        const int64_t first = (int64_t)(j->block->first_position + i) * c->o->shape.filters + j->block->first_filter;
        for (int k = 0; k < j->block->n_filters; k++) {
            c->exact[first + k] = is_exact ? j->exact[i][k] : j->sum[i][k];
            c->expected[first + k] = fit(j->sum[i][k], j->array);
        }
        for (int k = 0; k < j->block->n_filters; k++) judge_sum(j, i, k, first + k);
    }
    j->r->n_checked += 2 * (int64_t)j->block->n_positions * j->block->n_filters;
}

void dt_oracle_judge(const dt_oracle_case *c, const dt_psum_taps *block, dt_oracle_result *r)
{
    judgement j = { .c = c, .array = &c->o->array, .block = block, .r = r, .z = sizes_of(&c->o->array, &c->o->shape) };
    const int group = block->first_filter / j.z.filters, of_group = block->first_filter % j.z.filters;

    assert(of_group % LANES == 0 && of_group + block->n_filters <= j.z.filters);
    j.number = (int64_t)group * j.z.blocks + of_group / LANES;
    j.group = group * j.z.channels;
    if (j.array->dataflow == DT_DATAFLOW_WS)
        weight_stationary(&j);
    else
        output_stationary(&j);
    judge_sums(&j);
}
