/*
 * oracle.c - see oracle.h. The loops are plain; filters are innermost, so that compilers turn them into vectors.
 *
 * Sums that wrap are taken mod 2^32 and wrapped to psum_bits when they are judged, which gives the same in any order. A
 * layer's exact psums are below 2^31 (dt_psum_layer_init), so that sums mod 2^32 are the exact ones too. Sums that are
 * clipped are clipped after each addition.
 *
 * Tests: tests/accel/test_verify.c.
 */
#include "oracle.h"

#include <string.h>

/* One output position: its sums over all filters. */
typedef struct {
    int row, col;
    int32_t *sum, *tap; /* [filters] */
    int64_t *exact;     /* [filters] */
} position;

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
        if (c->array->overflow == DT_OVERFLOW_SATURATE) {
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

/* Of all filters of a pass: the tap psums as the array has them, and the array's sum with them. */
static void judge_taps(const dt_oracle_case *c, const position *at, int tile, int tap, dt_oracle_result *r)
{
    const dt_psum_shape *s = c->shape;
    const int64_t pass = (int64_t)tile * s->window_height * s->window_width + tap;
    const int32_t *found = c->taps + ((pass * s->out_height + at->row) * s->out_width + at->col) * s->filters;
    const dt_array a = *c->array;
    int n_wrong = 0;

    for (int k = 0; k < s->filters; k++) {
        at->tap[k] = fit(at->tap[k], &a);
        at->sum[k] = fit((int64_t)at->sum[k] + at->tap[k], &a);
        n_wrong += at->tap[k] != found[k];
    }
    for (int k = 0; k < s->filters && n_wrong > 0; k++) {
        const dt_mismatch place = { .row = at->row, .col = at->col, .channel = k, .tile = tile, .tap = tap };
        judge(r, &place, "array tap", at->tap[k], found[k]);
    }
    r->n_checked += s->filters;
}

/* What wraps is exact before it is fitted. */
static void add_exact(const dt_oracle_case *c, const int32_t *sum, int64_t *exact)
{
    if (c->array->overflow == DT_OVERFLOW_SATURATE) return; /* it has been added */
    for (int k = 0; k < c->shape->filters; k++) exact[k] += sum[k];
}

static void weight_stationary(const dt_oracle_case *c, position *at, dt_oracle_result *r)
{
    const dt_psum_shape *s = c->shape;
    const int simd = c->array->simd, tile_channels = c->array->rows * simd, taps = s->window_height * s->window_width;
    const int channels = s->channels / s->conv.groups;

    for (int first = 0; first < channels; first += tile_channels) {
        const int end = first + tile_channels < channels ? first + tile_channels : channels;
        for (int tap = 0; tap < taps; tap++) {
            const float *x = seen(c, at, tap);
            for (int k = 0; k < s->filters; k++) at->tap[k] = 0;
            for (int i = first; x && i < end; i += simd) {
                add_products(c, x, tap, i, end - i < simd ? end - i : simd, at->tap, at->exact);
            }
            add_exact(c, at->tap, at->exact);
            judge_taps(c, at, first / tile_channels, tap, r);
        }
    }
}

static void output_stationary(const dt_oracle_case *c, position *at)
{
    const dt_psum_shape *s = c->shape;
    const int simd = c->array->simd, taps = s->window_height * s->window_width, channels = s->channels / s->conv.groups;

    for (int i = 0; i < channels; i += simd) {
        for (int tap = 0; tap < taps; tap++) {
            const float *x = seen(c, at, tap);
            if (x) add_products(c, x, tap, i, channels - i < simd ? channels - i : simd, at->sum, at->exact);
        }
    }
    add_exact(c, at->sum, at->exact);
    for (int k = 0; k < s->filters; k++) at->sum[k] = fit(at->sum[k], c->array);
}

static void check_position(const dt_oracle_case *c, position *at, dt_oracle_result *r)
{
    const dt_psum_shape *s = c->shape;
    const int64_t first = ((int64_t)at->row * s->out_width + at->col) * s->filters;

    memset(at->sum, 0, (size_t)s->filters * sizeof *at->sum);
    memset(at->exact, 0, (size_t)s->filters * sizeof *at->exact);
    if (c->array->dataflow == DT_DATAFLOW_WS)
        weight_stationary(c, at, r);
    else
        output_stationary(c, at);
    for (int k = 0; k < s->filters; k++) {
        const dt_mismatch place = { .row = at->row, .col = at->col, .channel = k, .tile = -1, .tap = -1 };
        const float exact = (float)at->exact[k]; /* the grid rounds once, beyond 2^24 */
        judge(r, &place, "grid psum", (int64_t)exact, (int64_t)c->grid[first + k]);
        judge(r, &place, "array psum", at->sum[k], c->psum[first + k]);
        c->expected[first + k] = at->sum[k];
        c->exact[first + k] = at->exact[k];
    }
    r->n_checked += 2 * (int64_t)s->filters;
}

void dt_oracle_check(const dt_oracle_case *c, dt_oracle_result *out)
{
    const dt_psum_shape *s = c->shape;
    position at = { .sum = (int32_t *)c->work,
                    .tap = (int32_t *)(c->work + s->filters),
                    .exact = c->work + 2 * (int64_t)s->filters };

    *out = (dt_oracle_result){ 0 };
    for (at.row = 0; at.row < s->out_height; at.row++) {
        for (at.col = 0; at.col < s->out_width; at.col++) check_position(c, &at, out);
    }
}
