/*
 * psum.h - the psums of one convolution as the array adds them, fast enough for whole networks and test sets.
 *
 * They differ from a plain convolution's only by the order of the additions and the width of the sums:
 *   weight stationary   for each output (p, q, k), with acc the psum memory's word:
 *     for each input tile, for each tap (r, s) row by row:
 *       psum = 0;  for each row of the tile: psum = fit(psum + PE(row));       a "tap psum"
 *       acc = fit(acc + psum)                                                  a "running psum"; the first overwrites
 *   output stationary   acc = 0;  for each input channel (pair), for each tap: acc = fit(acc + PE)
 * PE(row) = x * w, or with simd 2 the sum of two products of neighbouring channels, 2 row and 2 row + 1 of the tile.
 * fit wraps to psum_bits in two's complement, or clips to them (saturate). An input tile has rows * simd channels; the
 * last may have fewer. Padded cells are code 0.
 *
 * In a layer of several groups, a filter's input channels are those of its group, and tiles are cut from them. A weight
 * stationary array takes as many whole groups at once as fit, each in rows and columns of its own; in a depthwise layer
 * each channel has a row and a column. The other places hold no weight and add nothing, so that sums are those of one
 * group alone.
 *
 * Wrapping is exact mod 2^bits in any order. So weight stationary sums that wrap are taken in 32 bits, in the order
 * that is fastest, and wrapped once. All others are taken one addition after another, in the order above.
 *
 * tests/support/array_cycles.c computes the same a clock cycle at a time; it is the oracle of this file.
 * CUDA: cuda/psum.cu.  Tests: tests/accel/test_psum.c, tests/accel/test_psum_engine.c, tests/accel/test_array.c.
 */
#ifndef DT_PSUM_H
#define DT_PSUM_H

#include "../../core/conv_params.h"
#include "../../core/op.h"

/* One convolution of one image, and the range of its codes. */
typedef struct {
    int height, width, channels; /* of x */
    int filters, window_height, window_width;
    dt_conv_params conv;
    int out_height, out_width;
    int x_low, x_high; /* range of activation codes: at most 256, with 0 among them */
    int w_bound;       /* largest |weight code|, at most 128 */
} dt_psum_shape;

/* Returns the number of channels of a group. */
static inline int dt_psum_group_channels(const dt_psum_shape *s)
{
    return s->channels / s->conv.groups;
}

/* Returns the number of filters of a group. */
static inline int dt_psum_group_filters(const dt_psum_shape *s)
{
    return s->filters / s->conv.groups;
}

/* Returns the shape of a CONV2D, PSUM or CAPS_VOTES node on the grid; of one map. */
dt_psum_shape dt_psum_shape_of(const dt_node *node);
/* Returns the shape of a captured layer. */
dt_psum_shape dt_psum_shape_of_capture(const dt_capture *c);

/* Statistics over images. min, max and n_overflows are those of the following sums, before fit:
 *   wrap, weight stationary   every tap psum and every running psum, as the exact sums that a wider array would hold.
 *                             An output's first running psum is its first tap psum, and counts as both
 *   wrap, output stationary   every running psum, after every addition, as exact sums
 *   saturate                  the result of every addition before it is clipped: in a PE, and (weight stationary) to a
 *                             running psum. The first running psum is a copy and does not count
 * Rows of the array beyond the filter's channels add nothing and do not count. Taps in the padding count, with 0. */
typedef struct {
    int64_t n_psums;               /* outputs: P * Q * K */
    int64_t n_tap_psums;           /* weight stationary: in_tiles * taps * P * Q * K; else 0 */
    int64_t n_overflows;           /* sums that psum_bits could not hold */
    int64_t n_codes, n_zero_codes; /* codes of x, without the padding */
    int32_t min, max;              /* INT32_MAX and INT32_MIN as long as nothing was counted */
} dt_psum_stats;

/* Sets the statistics of no image. */
void dt_psum_stats_clear(dt_psum_stats *s);
/* Adds the statistics of further images to `to`. */
void dt_psum_stats_add(dt_psum_stats *to, const dt_psum_stats *from);

/* Returns the fewest bits of two's complement that hold both. */
int dt_psum_bits(int64_t min, int64_t max);

/* Returns the channels that a row of the array takes: array->simd; if that is 0, 2 where codes are 0..3, else 1. */
int dt_psum_simd(const dt_array *array, const dt_psum_shape *shape);

/* A layer on an array. It owns nothing; the buffers are the caller's. */
typedef struct {
    dt_array array; /* simd is 1 or 2 */
    dt_psum_shape shape;
    int tile_channels, in_tiles; /* channels of a tile; tiles of a group. Output stationary: a group is one tile */
    int taps;
    int ordered;         /* 1: additions are made one by one, in the order above */
    int vnni;            /* 1: this machine multiplies bytes into 32-bit sums; 0: slower, with the same result */
    size_t packed_bytes; /* of the packed weights */
    size_t room_bytes;   /* that one thread needs for one image */
} dt_psum_layer;

/* Prepares a layer for an array. DT_ERR_ARGUMENT or DT_ERR_NUMERIC: the array cannot run it, because codes are beyond 8
 * bits, or beyond 0..3 with simd 2, or sums are beyond 32 bits. Messages begin with `name`. */
DT_MUST_CHECK dt_status dt_psum_layer_init(dt_psum_layer *layer, const char *name, const dt_array *array,
                                           const dt_psum_shape *shape);

/* Packs the weights w, [filters][window height][window width][a group's channels], which are codes held in floats.
 * packed has packed_bytes and is aligned to 64 bytes. */
void dt_psum_pack(const dt_psum_layer *layer, const float *w, void *packed);

/* The largest block of outputs that are summed together. */
enum { DT_PSUM_LANES = 16, DT_PSUM_POSITIONS = 8 };

/* A block of outputs whose psums are complete: neighbouring positions p * Q + q of filters of one group. Blocks of a
 * group begin DT_PSUM_LANES filters apart. */
typedef struct {
    int first_filter, n_filters, first_position, n_positions;
    /* Tap psums of a weight stationary array after fit, [in_tiles][taps][n_positions][DT_PSUM_LANES]; what lies behind
     * n_filters is nobody's. Output stationary: NULL */
    const int32_t *tap;
} dt_psum_taps;

/* Takes the tap psums of each block as soon as they are there; they are gone when it returns. */
typedef struct {
    void (*take)(void *user, const dt_psum_taps *block);
    void *user;
    int32_t *room; /* dt_psum_taps_bytes, aligned to 64 bytes */
} dt_psum_taker;

/* Returns the bytes of a block's tap psums. */
size_t dt_psum_taps_bytes(const dt_psum_layer *layer);

/* Computes the psums of one image: psum, [out height][out width][filters], from the codes x, [height][width][channels].
 * taker is NULL, or gets every output once, in blocks, with psum filled in where the block lies. room has room_bytes,
 * is aligned to 64 bytes, and is overwritten. It adds to stats. */
void dt_psum_image(const dt_psum_layer *layer, const void *packed, const float *x, void *room, int32_t *psum,
                   const dt_psum_taker *taker, dt_psum_stats *stats);

/* The tap psums of an image as a whole, [in_tiles][taps][out height][out width][filters]. */
typedef struct {
    const dt_psum_layer *layer;
    int32_t *tap;
} dt_psum_stored;

/* Is a taker's take that stores each block of a weight stationary array; user is a dt_psum_stored. */
void dt_psum_store(void *user, const dt_psum_taps *block);

/* The aux of a PSUM node, in device memory: the statistics of its last forward, over the
 * images of the batch that count. */
typedef struct {
    dt_psum_stats stats;
} dt_psum_aux;

#endif /* DT_PSUM_H */
