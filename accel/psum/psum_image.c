/*
 * psum_image.c - the engine: statistics, the tiles of a layer on an array, and the psums of one image, whose codes are
 *                packed as bytes and whose outputs are summed a block at a time.
 *
 * psum.h defines what is computed, psum_layout.h the layout of packed codes, and psum_kernels.h a block.
 * Tests: tests/accel/test_psum.c, tests/accel/test_psum_engine.c.
 */
#include "psum_kernels.h"

#include "../../core/declared.h"

#include <assert.h>
#include <string.h>

enum { LANES = DT_PSUM_LANES };

void dt_psum_stats_clear(dt_psum_stats *s)
{
    *s = (dt_psum_stats){ .min = INT32_MAX, .max = INT32_MIN };
}

void dt_psum_stats_add(dt_psum_stats *to, const dt_psum_stats *from)
{
    to->n_psums += from->n_psums;
    to->n_tap_psums += from->n_tap_psums;
    to->n_overflows += from->n_overflows;
    to->n_codes += from->n_codes;
    to->n_zero_codes += from->n_zero_codes;
    if (from->min < to->min) to->min = from->min;
    if (from->max > to->max) to->max = from->max;
}

int dt_psum_bits(int64_t min, int64_t max)
{
    int bits = 1;
    while (bits < 64 && (min < -((int64_t)1 << (bits - 1)) || max >= (int64_t)1 << (bits - 1))) bits++;
    return bits;
}

int dt_psum_simd(const dt_array *array, const dt_psum_shape *shape)
{
    if (array->simd > 0) return array->simd;
    return shape->x_low >= 0 && shape->x_high <= 3 ? 2 : 1;
}

dt_psum_layout dt_psum_layout_of(const dt_psum_layer *layer)
{
    const dt_psum_shape *s = &layer->shape;
    const int each = dt_psum_group_channels(s), channels = layer->tile_channels < each ? layer->tile_channels : each;
    dt_psum_layout l = { .step = (channels + 3) / 4 * 4 };
    l.group = layer->in_tiles * l.step;
    l.pixel = s->conv.groups * l.group;
    l.row = dt_conv_padded(&s->conv, 1, s->width) * l.pixel;
    l.image = dt_conv_padded(&s->conv, 0, s->height) * l.row;
    l.down = s->conv.dilation[0] * l.row;
    l.right = s->conv.dilation[1] * l.pixel;
    return l;
}

/* Words of the packed w: of one tap of one tile, of one block of filters. */
static int64_t tap_words(const dt_psum_layer *layer)
{
    return (1 + dt_psum_layout_of(layer).step / 4) * LANES;
}

static int64_t block_words(const dt_psum_layer *layer)
{
    return layer->in_tiles * layer->taps * tap_words(layer);
}

/* A block's filters are of one group. */
static int group_blocks(const dt_psum_layer *layer)
{
    return (dt_psum_group_filters(&layer->shape) + LANES - 1) / LANES;
}

/* Added to activation codes, to make them unsigned bytes: 128, or for the 256 codes of an affine quantizer, which may
 * lie beyond -128..127, the least code's magnitude. */
static int offset_of(const dt_psum_layer *layer)
{
    const dt_psum_shape *s = &layer->shape;
    const int is_signed_byte = s->x_low >= INT8_MIN && s->x_high <= INT8_MAX;

    return s->x_low >= 0 ? 0 : is_signed_byte ? DT_PSUM_OFFSET : -s->x_low;
}

static dt_status check_layer(const char *name, const dt_array *array, const dt_psum_shape *s)
{
    const int64_t terms = (int64_t)dt_psum_group_channels(s) * s->window_height * s->window_width;
    const int64_t most = terms * (s->x_high > -s->x_low ? s->x_high : -s->x_low) * s->w_bound;

    DT_CHECK(
        s->x_high <= UINT8_MAX && s->x_low >= -UINT8_MAX && s->x_high - s->x_low <= UINT8_MAX, DT_ERR_ARGUMENT,
        "%s: array: activation codes are %d..%d, it takes 256 codes with 0 among them; quantize to 8 bits or fewer",
        name, s->x_low, s->x_high);
    DT_CHECK(s->w_bound <= 128, DT_ERR_ARGUMENT,
             "%s: array: weight codes reach %d, it takes 8 bits; quantize to 8 bits or fewer", name, s->w_bound);
    DT_CHECK(array->simd < 2 || (s->x_low >= 0 && s->x_high <= 3), DT_ERR_ARGUMENT,
             "%s: array: simd 2 takes activation codes 0..3, these are %d..%d; use simd 0 or 1", name, s->x_low,
             s->x_high);
    DT_CHECK(most <= INT32_MAX, DT_ERR_NUMERIC,
             "%s: array: psums may reach %lld, beyond 32 bits; use fewer bits or fewer channels", name,
             (long long)most);
    return DT_OK;
}

dt_status dt_psum_layer_init(dt_psum_layer *layer, const char *name, const dt_array *array, const dt_psum_shape *shape)
{
    const dt_psum_shape *s = shape;
    DT_TRY(dt_array_check(array));
    DT_TRY(check_layer(name, array, shape));
    assert(s->out_height == dt_conv_out_size(&s->conv, 0, s->height, s->window_height));
    assert(s->out_width == dt_conv_out_size(&s->conv, 1, s->width, s->window_width));

    dt_psum_layer p = { .array = *array, .shape = *shape, .taps = s->window_height * s->window_width };
    const int is_stationary = array->dataflow == DT_DATAFLOW_WS, channels = dt_psum_group_channels(s);
    p.array.simd = dt_psum_simd(array, shape);
    p.tile_channels = is_stationary ? array->rows * p.array.simd : channels;
    p.in_tiles = (channels + p.tile_channels - 1) / p.tile_channels;
    p.ordered = !is_stationary || array->overflow == DT_OVERFLOW_SATURATE;
    p.vnni = dt_psum_has_vnni();
    p.packed_bytes = (size_t)(s->conv.groups * group_blocks(&p) * block_words(&p)) * sizeof(int32_t);
    p.room_bytes = dt_round_up((size_t)dt_psum_layout_of(&p).image, DT_CACHE_LINE);
    *layer = p;
    return DT_OK;
}

/* Filter k's weights of one tile and tap into lane k % LANES. w: [channels], those of the tile. */
static void pack_tap(const float *w, int64_t channels, int offset, int32_t *to)
{
    int32_t sum = 0;
    for (int64_t c = 0; c < channels; c++) {
        const int32_t code = (int32_t)w[c];
        to[(1 + c / 4) * LANES] |= (int32_t)((uint32_t)(uint8_t)code << 8 * (c % 4));
        sum += code;
    }
    to[0] = -offset * sum;
}

void dt_psum_pack(const dt_psum_layer *layer, const float *w, void *packed)
{
    const int64_t of_block = block_words(layer), of_tap = tap_words(layer);
    const int channels = dt_psum_group_channels(&layer->shape), filters = dt_psum_group_filters(&layer->shape);

    memset(packed, 0, layer->packed_bytes);
#pragma omp parallel for
    for (int k = 0; k < layer->shape.filters; k++) {
        const int block = k / filters * group_blocks(layer) + k % filters / LANES;
        int32_t *to = (int32_t *)packed + block * of_block + k % filters % LANES;
        for (int pass = 0; pass < layer->in_tiles * layer->taps; pass++, to += of_tap) {
            const int first = pass / layer->taps * layer->tile_channels, left = channels - first;
            const float *from = w + ((int64_t)k * layer->taps + pass % layer->taps) * channels + first;
            pack_tap(from, left < layer->tile_channels ? left : layer->tile_channels, offset_of(layer), to);
        }
    }
}

/* One position's codes; returns how many are 0. */
static int64_t pack_pixel(const dt_psum_layer *layer, const dt_psum_layout *l, const float *x, uint8_t *to)
{
    const int offset = offset_of(layer), channels = dt_psum_group_channels(&layer->shape);
    int64_t n_zeros = 0;
    for (int i = 0; i < layer->shape.conv.groups * layer->in_tiles; i++, to += l->step) {
        const int first = i % layer->in_tiles * layer->tile_channels, left = channels - first;
        const float *from = x + i / layer->in_tiles * channels + first;
        for (int c = 0; c < left && c < layer->tile_channels; c++) {
            dt_declared((int32_t)from[c] + offset, 0, UINT8_MAX, "array", "activation code");
            to[c] = (uint8_t)((int32_t)from[c] + offset);
            n_zeros += from[c] == 0.0f;
        }
    }
    return n_zeros;
}

static int64_t pack_image(const dt_psum_layer *layer, const dt_psum_layout *l, const float *x, uint8_t *to)
{
    const dt_psum_shape *s = &layer->shape;
    int64_t n_zeros = 0;

    memset(to, offset_of(layer), (size_t)l->image);
    for (int h = 0; h < s->height; h++) {
        uint8_t *row = to + (h + s->conv.pad[0]) * l->row + s->conv.pad[1] * l->pixel;
        for (int v = 0; v < s->width; v++) {
            n_zeros += pack_pixel(layer, l, x + ((int64_t)h * s->width + v) * s->channels, row + v * l->pixel);
        }
    }
    return n_zeros;
}

/* Points the block at outputs first .. first + n - 1 of the image. */
static void block_place(dt_psum_block *b, const uint8_t *x, int first, int n)
{
    const dt_psum_shape *s = &b->layer->shape;
    const int64_t down = s->conv.stride[0] * b->layout.row, right = s->conv.stride[1] * b->layout.pixel;
    b->n = n;
    for (int i = 0; i < n; i++) {
        const int p = (first + i) / s->out_width, q = (first + i) % s->out_width;
        b->x[i] = x + p * down + q * right;
    }
}

static void block_sum(dt_psum_block *b, dt_psum_seen *seen)
{
    if (b->layer->ordered)
        dt_psum_block_ordered(b, seen);
    else if (b->layer->vnni)
        dt_psum_block_vnni(b, seen);
    else
        dt_psum_block_plain(b, seen);
}

static void block_store(const dt_psum_block *b, int32_t *psum)
{
    for (int i = 0; i < b->n; i++) {
        int32_t *to = psum + (int64_t)i * b->layer->shape.filters;
        for (int k = 0; k < b->n_filters; k++) to[k] = dt_psum_wrap(b->sum[i][k], b->layer->array.psum_bits);
    }
}

/* Counts of one block fit in 32 bits, those of an image may not. */
static void take_overflows(dt_psum_seen *seen, dt_psum_stats *stats)
{
    for (int k = 0; k < LANES; k++) {
        stats->n_overflows += seen->n_overflows[k]; /* 0 in lanes beyond the layer's filters */
        seen->n_overflows[k] = 0;
    }
}

/* One image at work: its codes are packed in x. */
typedef struct {
    const uint8_t *x;
    int32_t *psum;
    const dt_psum_taker *taker;
    dt_psum_stats *stats;
} image_run;

static dt_psum_seen nothing_seen(void)
{
    dt_psum_seen seen;

    for (int k = 0; k < LANES; k++) {
        seen.low[k] = INT32_MAX;
        seen.high[k] = INT32_MIN;
        seen.n_overflows[k] = 0;
    }
    return seen;
}

/* All outputs of one block of filters, `first_filter` of the layer and those behind. x: of their group. */
static void sum_filters(dt_psum_block *b, const image_run *run, const uint8_t *x, int first_filter)
{
    const dt_psum_shape *s = &b->layer->shape;
    const int outputs = s->out_height * s->out_width;
    dt_psum_seen seen = nothing_seen();

    for (int first = 0; first < outputs; first += DT_PSUM_POSITIONS) {
        const int left = outputs - first, n = left < DT_PSUM_POSITIONS ? left : DT_PSUM_POSITIONS;
        const dt_psum_taps done = { first_filter, b->n_filters, first, n, b->taps };
        block_place(b, x, first, n);
        block_sum(b, &seen);
        take_overflows(&seen, run->stats);
        block_store(b, run->psum + (int64_t)first * s->filters + first_filter);
        if (run->taker) run->taker->take(run->taker->user, &done);
    }
    for (int k = 0; k < b->n_filters; k++) {
        if (seen.low[k] < run->stats->min) run->stats->min = seen.low[k];
        if (seen.high[k] > run->stats->max) run->stats->max = seen.high[k];
    }
}

void dt_psum_image(const dt_psum_layer *layer, const void *packed, const float *x, void *room, int32_t *psum,
                   const dt_psum_taker *taker, dt_psum_stats *stats)
{
    const dt_psum_shape *s = &layer->shape;
    const int is_stationary = layer->array.dataflow == DT_DATAFLOW_WS;
    const int blocks = group_blocks(layer), filters = dt_psum_group_filters(s);
    const image_run run = { room, psum, taker, stats };
    dt_psum_block b = { .layer = layer, .layout = dt_psum_layout_of(layer), .offset = offset_of(layer) };

    stats->n_zero_codes += pack_image(layer, &b.layout, x, room);
    stats->n_codes += (int64_t)s->height * s->width * s->channels;
    b.w = packed;
    b.taps = is_stationary && taker ? taker->room : NULL;
    for (int i = 0; i < s->conv.groups * blocks; i++, b.w += block_words(layer)) {
        const int group = i / blocks, of_group = i % blocks * LANES;
        b.n_filters = filters - of_group < LANES ? filters - of_group : LANES;
        sum_filters(&b, &run, run.x + group * b.layout.group, group * filters + of_group);
    }
    const int64_t n_psums = (int64_t)s->out_height * s->out_width * s->filters;
    stats->n_psums += n_psums;
    stats->n_tap_psums += is_stationary ? (int64_t)layer->in_tiles * layer->taps * n_psums : 0;
}

size_t dt_psum_taps_bytes(const dt_psum_layer *layer)
{
    const size_t passes = (size_t)layer->in_tiles * (size_t)layer->taps;

    return passes * DT_PSUM_POSITIONS * LANES * sizeof(int32_t);
}

void dt_psum_store(void *user, const dt_psum_taps *block)
{
    const dt_psum_stored *to = user;
    const dt_psum_shape *s = &to->layer->shape;
    const int64_t outputs = (int64_t)s->out_height * s->out_width;
    const int32_t *from = block->tap;

    for (int pass = 0; from && pass < to->layer->in_tiles * to->layer->taps; pass++) {
        for (int i = 0; i < block->n_positions; i++, from += LANES) {
            int32_t *tap = to->tap + (pass * outputs + block->first_position + i) * s->filters + block->first_filter;
            memcpy(tap, from, (size_t)block->n_filters * sizeof *tap);
        }
    }
}
