/*
 * psum.h - the psums of one convolution as the array adds them: fast, for whole networks and test sets.
 *
 * Only the order of the additions and the width of the sums make them differ from a plain convolution:
 *   weight stationary   for each output (p, q, k), with acc the psum memory's word:
 *     for each input tile, for each tap (r, s) row by row:
 *       psum = 0;  for each row of the tile: psum = fit(psum + PE(row));       a "tap psum"
 *       acc = fit(acc + psum)                                                  a "running psum"; the first overwrites
 *   output stationary   acc = 0;  for each input channel (pair), for each tap: acc = fit(acc + PE)
 * PE(row) = x * w, or with simd 2 the sum of two products of neighbouring channels, 2 row and 2 row + 1 of the tile.
 * fit wraps to psum_bits in two's complement, or clips to them (saturate). An input tile is rows * simd channels; the
 * last may have fewer. Padded cells are code 0.
 *
 * Of several groups, a filter's input channels are those of its group, and tiles are cut from them. A weight stationary
 * array takes as many whole groups at once as have room, each in rows and columns of its own: of a depthwise layer one
 * channel a row and a column. All other places hold no weight and add nothing, so sums are those of one group alone.
 *
 * Wrapping is exact mod 2^bits in any order: weight stationary sums that wrap are taken in 32 bits, as fast as the
 * machine can, and wrapped once. All others are taken one addition after another, in the order above.
 *
 * The cycle-level model in array.c computes the same, a clock cycle at a time; it is this file's oracle.
 * CUDA: cuda/psum.cu.  Tests: tests/accel/test_psum.c, tests/accel/test_array.c.
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
    int x_low, x_high; /* of activation codes; within -128..127 or 0..255 */
    int w_bound;       /* largest |weight code|, at most 128 */
} dt_psum_shape;

/* Channels that a filter reads, and filters that read them. */
static inline int dt_psum_group_channels(const dt_psum_shape *s)
{
    return s->channels / s->conv.groups;
}

static inline int dt_psum_group_filters(const dt_psum_shape *s)
{
    return s->filters / s->conv.groups;
}

/* Of a CONV2D or PSUM node on the grid; of a captured layer. */
dt_psum_shape dt_psum_shape_of(const dt_node *node);
dt_psum_shape dt_psum_shape_of_capture(const dt_capture *c);

/* What was seen, over images. min, max and n_overflows look at values before fit, the same ones for every layer:
 *   wrap, weight stationary   every tap psum and every running psum, as exact sums: what a wider array would hold.
 *                             An output's first running psum is its first tap psum; it counts as both
 *   wrap, output stationary   every running psum, that is after every addition, as exact sums
 *   saturate                  every addition, of a PE and (weight stationary) to a running psum: what came out before
 *                             it was clipped. The first running psum is a copy, not an addition
 * Rows of the array beyond the filter's channels add nothing and are not looked at; taps in the padding are, with 0. */
typedef struct {
    int64_t n_psums;               /* outputs: P * Q * K */
    int64_t n_tap_psums;           /* weight stationary: in_tiles * taps * P * Q * K; else 0 */
    int64_t n_overflows;           /* values that psum_bits did not hold */
    int64_t n_codes, n_zero_codes; /* of x, without the padding */
    int32_t min, max;              /* INT32_MAX, INT32_MIN of nothing */
} dt_psum_stats;

void dt_psum_stats_clear(dt_psum_stats *s); /* of nothing */
void dt_psum_stats_add(dt_psum_stats *to, const dt_psum_stats *from);

/* Bits of two's complement that hold both. */
int dt_psum_bits(int64_t min, int64_t max);

/* Channels of a row of the array: array.simd, or with 0: 2 where codes are 0..3, else 1. */
int dt_psum_simd(const dt_array *array, const dt_psum_shape *shape);

/* A layer on an array. Plain data; the buffers are the caller's. */
typedef struct {
    dt_array array; /* simd resolved */
    dt_psum_shape shape;
    int tile_channels, in_tiles; /* of a group; output stationary: all its channels are one tile */
    int taps;
    int ordered;         /* 1: additions are made one by one, in the order above */
    int vnni;            /* 1: this machine multiplies bytes into 32-bit sums; 0 gives the same, slower */
    size_t packed_bytes; /* of the weights, made once */
    size_t room_bytes;   /* of one thread's work on one image */
} dt_psum_layer;

/* DT_ERR_ARGUMENT or DT_ERR_NUMERIC, naming `name`, where this array cannot run the layer: codes beyond 8 bits, simd 2
 * of codes beyond 0..3, sums beyond 32 bits. */
DT_MUST_CHECK dt_status dt_psum_layer_init(dt_psum_layer *layer, const char *name, const dt_array *array,
                                           const dt_psum_shape *shape);

/* w [filters][window height][window width][a group's channels]: codes held in floats, as a tape has them. packed is
 * aligned to 64 bytes. */
void dt_psum_pack(const dt_psum_layer *layer, const float *w, void *packed);

/* x [height][width][channels] codes; psum [out height][out width][filters]; taps NULL, or the tap psums of the weight
 * stationary array, after fit: [in_tiles][taps][out height][out width][filters]. Adds to stats. room is aligned to 64
 * bytes, and lost. */
void dt_psum_image(const dt_psum_layer *layer, const void *packed, const float *x, void *room, int32_t *psum,
                   int32_t *taps, dt_psum_stats *stats);

/* The operator's aux: what its last forward saw, over the batch. In device memory. */
typedef struct {
    dt_psum_stats stats;
} dt_psum_aux;

#endif /* DT_PSUM_H */
