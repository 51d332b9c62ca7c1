/*
 * vector_layout.c - which activation, weight or psum of the layer a lane of a vector file is, and its value.
 *
 *   position   nij = row * padded W + col of the padded input; o_nij = p * Q + q of the output
 *   tap        kij = r * S + s; output (p, q) reads position (p stride + r dilation, q stride + s dilation)
 *   tap psum   sum over the channels of one input tile of x[position] * w[filter][tap]
 *   output     sum over input tiles and taps of the tap psums that the output reads
 * A sum's channels are those of the filter's group.
 *
 * Interface: vector_layout.h; the layouts are described in vectors.h.
 * Tests: tests/accel/test_vectors.c, tests/accel/test_vectors_layouts.c, test_vectors_groups.c.
 */
#include "vector_layout.h"

/* Index of a lane in its tile: most layouts write the highest channel, filter or position leftmost. */
static int lane_index(const dt_vectors *v, const dt_vector_file *f, int lane)
{
    const int ascending =
        v->layout == DT_LAYOUT_PACK_C || (v->layout == DT_LAYOUT_NOTEBOOK && f->role == DT_VECTOR_WEIGHT);
    return ascending ? lane : f->lanes - 1 - lane;
}

/* The channel of a lane of a PE row, or what lies past the last: of one group its number, of several `channels`. */
static int channel_of(const dt_vectors *v, int in_tile, int row, int lane)
{
    const dt_psum_shape *s = &v->shape;
    const int channels = dt_psum_group_channels(s), groups = s->conv.groups;
    const int group_rows = v->groups_at_once > 1 ? (channels + v->simd - 1) / v->simd : v->rows;
    const int above = row / group_rows, group = in_tile / v->in_tiles * v->groups_at_once + above;
    const int first = in_tile % v->in_tiles * v->rows * v->simd, r = row % group_rows;
    const int channel = first + (v->layout == DT_LAYOUT_PACK_B ? lane * group_rows + r : r * v->simd + lane);

    if (groups == 1) return channel;
    return above < v->groups_at_once && group < groups && channel < channels ? group * channels + channel : s->channels;
}

/* The filter of a place of an output tile; past the last as channel_of. */
static int filter_of(const dt_vectors *v, int out_tile, int place)
{
    const dt_psum_shape *s = &v->shape;
    const int block_filters = v->groups_at_once * dt_psum_group_filters(s);
    const int in_block = out_tile % v->out_tiles * v->tile_filters + place;
    const int filter = out_tile / v->out_tiles * block_filters + in_block;

    if (s->conv.groups == 1) return filter;
    return in_block < block_filters && filter < s->filters ? filter : s->filters;
}

/* The channel of a lane of an activation or weight file, weight stationary. */
static int lane_channel(const dt_vectors *v, const dt_vector_file *f, int line, int lane)
{
    const int index = lane_index(v, f, lane), is_weight = f->role == DT_VECTOR_WEIGHT;

    switch (v->layout) {
    case DT_LAYOUT_PACK_A:
        if (is_weight) return channel_of(v, f->in_tile, index, line % 2 == 0); /* odd channels first */
        return channel_of(v, f->in_tile, index / 2, index % 2);
    case DT_LAYOUT_PACK_B: return channel_of(v, f->in_tile / 2, index, f->in_tile % 2);
    case DT_LAYOUT_PACK_C: return channel_of(v, f->in_tile, index / 2, index % 2);
    default: return channel_of(v, f->in_tile, index, 0);
    }
}

/* The input position that output o reads for a tap. */
static void place_tap(const dt_vectors *v, int o, int tap, dt_vector_place *at)
{
    const dt_psum_shape *s = &v->shape;
    const dt_conv_params *c = &s->conv;

    at->tap = tap;
    at->row = o / s->out_width * c->stride[0] + tap / s->window_width * c->dilation[0] - c->pad[0];
    at->col = o % s->out_width * c->stride[1] + tap % s->window_width * c->dilation[1] - c->pad[1];
}

static void place_padded(const dt_vectors *v, int nij, dt_vector_place *at)
{
    const int width = (int)dt_conv_padded(&v->shape.conv, 1, v->shape.width);

    at->row = nij / width - v->shape.conv.pad[0];
    at->col = nij % width - v->shape.conv.pad[1];
}

static void place_activation(const dt_vectors *v, const dt_vector_file *f, int line, int lane, dt_vector_place *at)
{
    const int taps = v->shape.window_height * v->shape.window_width;

    if (v->layout == DT_LAYOUT_OUTPUT_STATIONARY) {
        const int position = f->in_tile * f->lanes + lane_index(v, f, lane);
        const int past_last = position >= v->shape.out_height * v->shape.out_width;
        at->channel = past_last ? v->shape.channels : line / taps;
        place_tap(v, position, line % taps, at);
        return;
    }
    at->channel = lane_channel(v, f, line, lane);
    if (v->layout == DT_LAYOUT_NOTEBOOK || v->layout == DT_LAYOUT_PACK_C) {
        at->row = line / v->shape.width;
        at->col = line % v->shape.width;
    } else {
        place_padded(v, line, at);
    }
}

static void place_weight(const dt_vectors *v, const dt_vector_file *f, int line, int lane, dt_vector_place *at)
{
    const int taps = v->shape.window_height * v->shape.window_width;

    if (v->layout == DT_LAYOUT_OUTPUT_STATIONARY) {
        const int first = f->out_tile / v->out_tiles * dt_psum_group_channels(&v->shape); /* a block is a group */
        at->filter = filter_of(v, f->out_tile, lane_index(v, f, lane));
        at->channel = first + line / taps;
        at->tap = line % taps;
        return;
    }
    at->tap = f->tap;
    at->channel = lane_channel(v, f, line, lane);
    switch (v->layout) {
    case DT_LAYOUT_NOTEBOOK: at->filter = filter_of(v, f->out_tile, f->lines - 1 - line); break;
    case DT_LAYOUT_PACK_A: at->filter = filter_of(v, f->out_tile, line / 2); break;
    default: at->filter = filter_of(v, f->out_tile, line); break;
    }
}

static void place_tap_psum(const dt_vectors *v, const dt_vector_file *f, int line, int lane, dt_vector_place *at)
{
    const dt_psum_shape *s = &v->shape;

    at->filter = filter_of(v, f->out_tile, lane_index(v, f, lane));
    if (f->tap >= 0) {
        place_tap(v, line, f->tap, at);
    } else {
        const int positions = (int)(dt_conv_padded(&s->conv, 0, s->height) * dt_conv_padded(&s->conv, 1, s->width));
        at->tap = line / positions;
        place_padded(v, line % positions, at);
    }
}

dt_vector_place dt_vector_place_of(const dt_vectors *v, const dt_vector_file *f, int line, int lane)
{
    const int taps = v->shape.window_height * v->shape.window_width;
    dt_vector_place at = { 0 };

    switch (f->role) {
    case DT_VECTOR_ACTIVATION: place_activation(v, f, line, lane, &at); break;
    case DT_VECTOR_WEIGHT: place_weight(v, f, line, lane, &at); break;
    case DT_VECTOR_TAP_PSUM: place_tap_psum(v, f, line, lane, &at); break;
    case DT_VECTOR_OUTPUT:
    case DT_VECTOR_OUTPUT_RELU:
        at.filter = filter_of(v, f->out_tile, lane_index(v, f, lane));
        at.row = line / v->shape.out_width;
        at.col = line % v->shape.out_width;
        break;
    case DT_VECTOR_ADDRESS:
        at.tap = line % taps;
        at.row = line / taps / v->shape.out_width;
        at.col = line / taps % v->shape.out_width;
        break;
    case DT_VECTOR_TWIN: break;
    }
    return at;
}

static int64_t x_index(const dt_psum_shape *s, int row, int col)
{
    if (row < 0 || row >= s->height || col < 0 || col >= s->width) return -1;
    return ((int64_t)row * s->width + col) * s->channels;
}

static int64_t w_index(const dt_psum_shape *s, int filter, int tap)
{
    return ((int64_t)filter * s->window_height * s->window_width + tap) * dt_psum_group_channels(s);
}

/* The first channel that a filter reads. */
static int first_channel(const dt_psum_shape *s, int filter)
{
    return filter / dt_psum_group_filters(s) * dt_psum_group_channels(s);
}

int64_t dt_vector_code_index(const dt_vectors *v, const dt_vector_file *f, dt_vector_place at)
{
    const dt_psum_shape *s = &v->shape;

    if (at.channel >= s->channels || at.filter >= s->filters) return -1;
    if (f->role == DT_VECTOR_WEIGHT) {
        const int channel = at.channel - first_channel(s, at.filter);
        return channel < 0 || channel >= dt_psum_group_channels(s) ? -1 : w_index(s, at.filter, at.tap) + channel;
    }
    const int64_t pixel = x_index(s, at.row, at.col);
    return pixel < 0 ? -1 : pixel + at.channel;
}

/* Sum over channels first .. end - 1 of the filter's group at one position of the input. */
static int64_t tap_sum(const dt_psum_shape *s, const dt_vector_codes *codes, dt_vector_place at, int first, int end)
{
    const int64_t pixel = x_index(s, at.row, at.col);
    int64_t sum = 0;

    if (pixel < 0) return 0;
    const int32_t *x = codes->x + pixel + first_channel(s, at.filter), *w = codes->w + w_index(s, at.filter, at.tap);
    for (int c = first; c < end; c++) sum += (int64_t)x[c] * w[c];
    return sum;
}

static int64_t tile_sum(const dt_vectors *v, const dt_vector_codes *codes, dt_vector_place at, int in_tile)
{
    const int tile = v->rows * v->simd, channels = dt_psum_group_channels(&v->shape);
    const int first = in_tile % v->in_tiles * tile, end = first + tile < channels ? first + tile : channels;

    return at.filter >= v->shape.filters ? 0 : tap_sum(&v->shape, codes, at, first, end);
}

static int64_t output_sum(const dt_vectors *v, const dt_vector_codes *codes, dt_vector_place at)
{
    const dt_psum_shape *s = &v->shape;
    const int o = at.row * s->out_width + at.col;
    int64_t sum = 0;

    if (at.filter >= s->filters) return 0;
    for (int tap = 0; tap < s->window_height * s->window_width; tap++) {
        place_tap(v, o, tap, &at);
        sum += tap_sum(s, codes, at, 0, dt_psum_group_channels(s));
    }
    return sum;
}

/* The line of the tap psum file, its header not counted, that holds what output (p, q) adds for a tap. */
static int64_t address(const dt_psum_shape *s, dt_vector_place at)
{
    const dt_conv_params *c = &s->conv;
    const int64_t width = dt_conv_padded(c, 1, s->width), height = dt_conv_padded(c, 0, s->height);
    const int64_t row = (int64_t)at.row * c->stride[0] + (int64_t)(at.tap / s->window_width) * c->dilation[0];
    const int64_t col = (int64_t)at.col * c->stride[1] + (int64_t)(at.tap % s->window_width) * c->dilation[1];

    return at.tap * height * width + row * width + col;
}

int64_t dt_vector_wrap(int64_t value, int bits)
{
    const int64_t half = (int64_t)1 << (bits - 1), mask = 2 * half - 1;

    return ((value & mask) ^ half) - half;
}

int64_t dt_vector_value(const dt_vectors *v, const dt_vector_codes *codes, const dt_vector_file *f, int line, int lane)
{
    const dt_vector_place at = dt_vector_place_of(v, f, line, lane);

    switch (f->role) {
    case DT_VECTOR_ACTIVATION:
    case DT_VECTOR_WEIGHT: {
        const int64_t index = dt_vector_code_index(v, f, at);
        return index < 0 ? 0 : (f->role == DT_VECTOR_WEIGHT ? codes->w : codes->x)[index];
    }
    case DT_VECTOR_TAP_PSUM: return tile_sum(v, codes, at, f->in_tile);
    case DT_VECTOR_OUTPUT: return output_sum(v, codes, at);
    case DT_VECTOR_OUTPUT_RELU: {
        const int64_t kept = dt_vector_wrap(output_sum(v, codes, at), f->bits);
        return kept < 0 ? 0 : kept;
    }
    case DT_VECTOR_ADDRESS: return address(&v->shape, at);
    case DT_VECTOR_TWIN: break;
    }
    return 0;
}
