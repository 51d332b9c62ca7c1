/*
 * tiling.h - how a layer is cut into passes over the array, and what that costs: closed forms of what array.c counts
 *            a clock cycle at a time (tests/accel/test_tiling.c compares them with ==).
 *
 * A pass holds one tile of weights (weight stationary: an input tile, an output tile, one tap) or of outputs (output
 * stationary: rows positions, cols filters), and runs through load, execute, drain and accumulation, whose cycles
 * array.h derives from the pipeline.
 *
 * SRAM is read and written in whole lines, each rounded up to bytes; places beyond the layer's channels and filters
 * are in them too:
 *   activations   rows * simd codes, of as few bits as hold x_low..x_high
 *   weights       weight stationary: a column's, rows codes (one lane); output stationary: cols * simd codes; of as few
 *                 bits as hold -w_bound..w_bound, at most 8
 *   psums         cols of psum_bits; weight stationary they are read and written again in each pass after the first
 */
#ifndef DT_TILING_H
#define DT_TILING_H

#include "../psum/psum.h"

typedef struct {
    int simd, tile_channels; /* channels of an input tile: rows * simd; all of a group's output stationary */
    int in_tiles, out_tiles; /* of a group's channels; of all filters, where groups that go at once are one */
    int position_tiles;      /* output stationary: of output positions; else 1 */
    int taps;                /* window height * window width */
    int64_t positions;       /* input vectors streamed in one pass (weight stationary), steps (output stationary) */
    int64_t passes;
    int64_t load, execute, drain, accumulate; /* cycles of one pass */
    int64_t cycles;                           /* of all passes */
    int64_t macs;                             /* products that the layer needs, none for padded channels */
    double utilisation;                       /* macs / (cycles * rows * cols * simd) */
    int64_t activation_reads, weight_reads, psum_reads, psum_writes; /* bytes of SRAM traffic */
} dt_tiling;

/* Whole groups that the array takes at once: weight stationary, as many as have room, each in rows and columns of its
 * own; else 1. */
int dt_tiling_groups(const dt_array *array, const dt_psum_shape *shape);

/* array and shape are such that dt_psum_layer_init takes them. */
dt_tiling dt_tiling_of(const dt_array *array, const dt_psum_shape *shape);

#endif /* DT_TILING_H */
