/*
 * oracle.c - see oracle.h. The loops are plain; filters are innermost, so that compilers turn them into vectors.
 *
 * Sums that wrap are taken mod 2^32 and wrapped to psum_bits when they are judged, which gives the same in any order. A
 * layer's exact psums are below 2^31 (dt_psum_layer_init), so that sums mod 2^32 are the exact ones too. Sums that are
 * clipped are clipped after each addition. All positions are summed for a tap of a tile before the next one, so that
 * its weights stay in a core's cache; a position's own order is that of psum.h.
 *
 * Tests: tests/accel/test_verify.c.
 */
#include "oracle.h"

#include <string.h>

/* One output position: its sums over all filters, where the case wants them. */
typedef struct {
    int row, col;
    int32_t *sum, *tap; /* [filters]; what wraps is fitted at the end */
    int64_t *exact;     /* [filters]; of what is clipped; else it is sum before that is fitted */
} position;

static position position_at(const dt_oracle_case *c, int row, int col)
{
    const int64_t first = ((int64_t)row * c->shape->out_width + col) * c->shape->filters;

    return (position){ row, col, c->expected + first, (int32_t *)c->work, c->exact + first };
}

static int is_clipped(const dt_oracle_case *c)
{
    return c->array->overflow == DT_OVERFLOW_SATURATE;
}

static int32_t fit(int64_t value, const dt_array *a)
{
    const int64_t high = ((int64_t)1 << (a->psum_bits - 1)) - 1, low = -high - 1;

    if (a->overflow == DT_OVERFLOW_SATURATE) return (int32_t)(value < low ? low : value > high ? high : value);
    return (int32_t)((uint32_t)value << (32 - a->psum_bits)) >> (32 - a->psum_bits);
}

/* to[k] += x * w[k], mod 2^32 */
static void add_wrapping(int32_t x, const int32_t *w, int n, int32_t *to)
{
    for (int k = 0; k < n; k++) to[k] = (int32_t)((uint32_t)to[k] + (uint32_t)x * (uint32_t)w[k]);
}

/* to[k] = fit(to[k] + sum of x[lane] * w[lane][k]): what one processing element adds, in a row of them, of a group. */
static void add_clipping(const dt_oracle_case *c, const float *x, const int32_t *w, int lanes, int32_t *to,
                         int64_t *exact)
{
    const dt_array a = *c->array;
    const int filters = c->shape->filters / c->shape->conv.groups;
    const int32_t x0 = (int32_t)x[0], x1 = lanes > 1 ? (int32_t)x[1] : 0;
    const int32_t *w1 = lanes > 1 ? w + c->shape->filters : w;

    for (int k = 0; k < filters; k++) {
        const int64_t product = (int64_t)(x0 * w[k]) + (int64_t)(x1 * w1[k]);
        to[k] = fit(to[k] + product, &a);
        exact[k] += product;
    }
}

/* Channels i .. i + lanes - 1 of every group, with a tap's weights of them. x: all channels that the tap sees. What is
 * clipped is added to exact too. */
static void add_products(const dt_oracle_case *c, const float *x, int tap, int i, int lanes, int32_t *to,
                         int64_t *exact)
{
    const int groups = c->shape->conv.groups, each = c->shape->channels / groups, filters = c->shape->filters / groups;
    const int32_t *w = c->w + ((int64_t)tap * each + i) * c->shape->filters;

    for (int g = 0; g < groups; g++, x += each, w += filters, to += filters, exact += filters) {
        if (is_clipped(c)) {
            add_clipping(c, x + i, w, lanes, to, exact);
            continue;
        }
        for (int l = 0; l < lanes; l++) {
            const int32_t code = (int32_t)x[i + l];
            if (code != 0) add_wrapping(code, w + l * (int64_t)c->shape->filters, filters, to);
        }
    }
}

/* The codes that a tap sees at a position; NULL in the padding. */
static const float *seen(const dt_oracle_case *c, const position *at, int tap)
{
    const dt_psum_shape *s = c->shape;
    const int h = at->row * s->conv.stride[0] + tap / s->window_width * s->conv.dilation[0] - s->conv.pad[0];
    const int w = at->col * s->conv.stride[1] + tap % s->window_width * s->conv.dilation[1] - s->conv.pad[1];

    if (h < 0 || h >= s->height || w < 0 || w >= s->width) return NULL;
    return c->x + ((int64_t)h * s->width + w) * s->channels;
}

static void judge(dt_oracle_result *r, const dt_mismatch *place, const char *what, int64_t expected, int64_t found)
{
    if (expected == found || r->n_wrong++ > 0) return;
    r->first = *place;
    r->first.what = what;
    r->first.expected = expected;
    r->first.found = found;
}

/* found: of the pass */
static int64_t take_wrapped(const dt_oracle_case *c, const position *at, const int32_t *found)
{
    const dt_array a = *c->array;
    int n_wrong = 0;

    for (int k = 0; k < c->shape->filters; k++) {
        at->sum[k] = (int32_t)((uint32_t)at->sum[k] + (uint32_t)at->tap[k]);
        at->tap[k] = (int32_t)((uint32_t)at->tap[k] << (32 - a.psum_bits)) >> (32 - a.psum_bits);
        n_wrong += at->tap[k] != found[k];
    }
    return n_wrong;
}

static int64_t take_clipped(const dt_oracle_case *c, const position *at, const int32_t *found)
{
    const dt_array a = *c->array;
    int n_wrong = 0;

    for (int k = 0; k < c->shape->filters; k++) {
        at->sum[k] = fit((int64_t)at->sum[k] + at->tap[k], &a);
        n_wrong += at->tap[k] != found[k];
    }
    return n_wrong;
}

/* Adds the tap psums of all filters to the sums, and compares them with the array's. */
static void judge_taps(const dt_oracle_case *c, const position *at, int tile, int tap, dt_oracle_result *r)
{
    const dt_psum_shape *s = c->shape;
    const int64_t pass = (int64_t)tile * s->window_height * s->window_width + tap;
    const int32_t *found = c->taps + ((pass * s->out_height + at->row) * s->out_width + at->col) * s->filters;
    const int64_t n_wrong = is_clipped(c) ? take_clipped(c, at, found) : take_wrapped(c, at, found);

    for (int k = 0; k < s->filters && n_wrong > 0; k++) {
        const dt_mismatch place = { .row = at->row, .col = at->col, .channel = k, .tile = tile, .tap = tap };
        judge(r, &place, "array tap", at->tap[k], found[k]);
    }
    r->n_checked += s->filters;
}

/* A tile's channels first .. end - 1, of one tap, at one position. */
static void add_pass(const dt_oracle_case *c, const position *at, int tap, int first, int end)
{
    const float *x = seen(c, at, tap);
    const int simd = c->array->simd;

    memset(at->tap, 0, (size_t)c->shape->filters * sizeof *at->tap);
    for (int i = first; x && i < end; i += simd)
        add_products(c, x, tap, i, end - i < simd ? end - i : simd, at->tap, at->exact);
}

static void weight_stationary(const dt_oracle_case *c, dt_oracle_result *r)
{
    const dt_psum_shape *s = c->shape;
    const int tile_channels = c->array->rows * c->array->simd, taps = s->window_height * s->window_width;
    const int channels = s->channels / s->conv.groups, tiles = (channels + tile_channels - 1) / tile_channels;

    for (int pass = 0; pass < tiles * taps; pass++) {
        const int first = pass / taps * tile_channels;
        const int end = first + tile_channels < channels ? first + tile_channels : channels;
        for (int i = 0; i < s->out_height * s->out_width; i++) {
            const position at = position_at(c, i / s->out_width, i % s->out_width);
            add_pass(c, &at, pass % taps, first, end);
            judge_taps(c, &at, pass / taps, pass % taps, r);
        }
    }
}

static void output_stationary(const dt_oracle_case *c, const position *at)
{
    const dt_psum_shape *s = c->shape;
    const int simd = c->array->simd, taps = s->window_height * s->window_width, channels = s->channels / s->conv.groups;

    for (int i = 0; i < channels; i += simd) {
        for (int tap = 0; tap < taps; tap++) {
            const float *x = seen(c, at, tap);
            if (x) add_products(c, x, tap, i, channels - i < simd ? channels - i : simd, at->sum, at->exact);
        }
    }
}

/* The sums are complete. */
static void judge_position(const dt_oracle_case *c, const position *at, dt_oracle_result *r)
{
    const int64_t first = at->sum - c->expected;

    for (int k = 0; k < c->shape->filters; k++) {
        const dt_mismatch place = { .row = at->row, .col = at->col, .channel = k, .tile = -1, .tap = -1 };
        if (!is_clipped(c)) at->exact[k] = at->sum[k];
        at->sum[k] = fit(at->sum[k], c->array);
        const float exact = (float)at->exact[k]; /* the grid rounds once, beyond 2^24 */
        judge(r, &place, "grid psum", (int64_t)exact, (int64_t)c->grid[first + k]);
        judge(r, &place, "array psum", at->sum[k], c->psum[first + k]);
    }
    r->n_checked += 2 * (int64_t)c->shape->filters;
}

void dt_oracle_check(const dt_oracle_case *c, dt_oracle_result *out)
{
    const dt_psum_shape *s = c->shape;
    const int positions = s->out_height * s->out_width, is_ws = c->array->dataflow == DT_DATAFLOW_WS;
    const size_t n = (size_t)positions * (size_t)s->filters;

    *out = (dt_oracle_result){ 0 };
    memset(c->expected, 0, n * sizeof *c->expected);
    memset(c->exact, 0, n * sizeof *c->exact);
    if (is_ws) weight_stationary(c, out);
    for (int i = 0; i < positions; i++) {
        const position at = position_at(c, i / s->out_width, i % s->out_width);
        if (!is_ws) output_stationary(c, &at);
        judge_position(c, &at, out);
    }
}
