/*
 * tiling.c - see tiling.h; tests/support/array_cycles.h derives the clocks of a pass.
 *
 * Tests: tests/accel/test_tiling.c.
 */
#include "tiling.h"

static int64_t tiles(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static int64_t bytes_of(int64_t codes, int bits)
{
    return tiles(codes * bits, 8);
}

/* Bits of a code in SRAM: unsigned where none is negative. */
static int activation_bits(const dt_psum_shape *s)
{
    const int is_signed_byte = s->x_low < 0 && s->x_low >= INT8_MIN && s->x_high <= INT8_MAX;

    /* an affine quantizer's 256 codes are stored as bytes with a zero point */
    return is_signed_byte ? dt_psum_bits(s->x_low, s->x_high) : dt_psum_bits(0, s->x_high - s->x_low) - 1;
}

/* A bound of 128 is that of -128. */
static int weight_bits(const dt_psum_shape *s)
{
    return s->w_bound >= 128 ? 8 : dt_psum_bits(-s->w_bound, s->w_bound);
}

static void weight_stationary(const dt_array *a, const dt_psum_shape *s, dt_tiling *t)
{
    const int64_t outputs = (int64_t)s->out_height * s->out_width, tile_passes = (int64_t)t->in_tiles * t->taps;
    const int64_t line = bytes_of(a->rows, weight_bits(s)), word = bytes_of(a->cols, a->psum_bits);

    t->position_tiles = 1;
    t->positions = dt_conv_padded(&s->conv, 0, s->height) * dt_conv_padded(&s->conv, 1, s->width);
    t->passes = t->out_tiles * tile_passes;
    t->load = (int64_t)t->simd * a->cols;
    t->drain = a->rows + a->cols;
    t->weight_reads = t->passes * t->load * line;
    t->psum_writes = t->passes * outputs * word;
    t->psum_reads = t->out_tiles * (tile_passes - 1) * outputs * word;
}

static void output_stationary(const dt_array *a, const dt_psum_shape *s, dt_tiling *t)
{
    const int64_t outputs = (int64_t)s->out_height * s->out_width;

    t->position_tiles = (int)tiles(outputs, a->rows);
    t->positions = tiles(dt_psum_group_channels(s), t->simd) * t->taps;
    t->passes = (int64_t)t->out_tiles * t->position_tiles;
    t->load = 0;
    t->drain = 2 * a->rows + a->cols;
    t->weight_reads = t->passes * t->positions * bytes_of((int64_t)a->cols * t->simd, weight_bits(s));
    t->psum_writes = t->out_tiles * outputs * bytes_of(a->cols, a->psum_bits);
    t->psum_reads = 0;
}

int dt_tiling_groups(const dt_array *array, const dt_psum_shape *shape)
{
    const int rows = (int)tiles(dt_psum_group_channels(shape), dt_psum_simd(array, shape));
    const int down = array->rows / rows, across = array->cols / dt_psum_group_filters(shape);
    const int fit = down < across ? down : across;

    if (array->dataflow == DT_DATAFLOW_OS || fit == 0) return 1;
    return fit < shape->conv.groups ? fit : shape->conv.groups;
}

dt_tiling dt_tiling_of(const dt_array *array, const dt_psum_shape *shape)
{
    const int simd = dt_psum_simd(array, shape), channels = dt_psum_group_channels(shape);
    const int64_t outputs = (int64_t)shape->out_height * shape->out_width;
    dt_tiling t = { .simd = simd, .taps = shape->window_height * shape->window_width };

    t.tile_channels = array->dataflow == DT_DATAFLOW_WS ? array->rows * simd : channels;
    t.in_tiles = (int)tiles(channels, t.tile_channels);
    t.out_tiles = (int)(tiles(shape->conv.groups, dt_tiling_groups(array, shape)) *
                        tiles(dt_psum_group_filters(shape), array->cols));
    if (array->dataflow == DT_DATAFLOW_WS)
        weight_stationary(array, shape, &t);
    else
        output_stationary(array, shape, &t);
    t.execute = t.positions;
    t.accumulate = 2;
    t.cycles = t.passes * (t.load + t.execute + t.drain + t.accumulate);
    t.macs = outputs * t.taps * channels * shape->filters;
    t.utilisation = (double)t.macs / ((double)t.cycles * array->rows * array->cols * simd);
    t.activation_reads = t.passes * t.positions * bytes_of((int64_t)array->rows * simd, activation_bits(shape));
    return t;
}
