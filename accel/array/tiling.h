/*
 * tiling.h - how a layer is cut into passes over the array, and what they cost, in closed form.
 *            tests/support/array_cycles.c counts the same a clock cycle at a time (tests/accel/test_tiling.c compares
 *            them with ==).
 *
 * A pass holds one tile of weights (weight stationary: an input tile, an output tile, one tap) or of outputs (output
 * stationary: rows positions, cols filters). It consists of load, execute, drain and accumulate; array_cycles.h derives
 * their cycles from the pipeline.
 *
 * SRAM is read and written in whole lines, each rounded up to bytes. Lines have places for all rows and columns, also
 * where the layer has no channel or filter:
 *   activations   rows * simd codes, of as few bits as hold x_low..x_high
 *   weights       weight stationary: rows codes, of one column and lane; output stationary: cols * simd codes; of as
 *                 few bits as hold -w_bound..w_bound, at most 8
 *   psums         cols psums of psum_bits; weight stationary: each pass after the first reads and writes them again
 */
#ifndef DT_TILING_H
#define DT_TILING_H

#include "../psum/psum.h"

typedef struct {
    int simd, tile_channels; /* tile_channels: channels of an input tile, rows * simd; output stationary: a group's */
    int in_tiles, out_tiles; /* tiles of a group's channels; tiles of all filters (groups taken at once share a tile) */
    int position_tiles;      /* output stationary: tiles of output positions; else 1 */
    int taps;                /* window height * window width */
    int64_t positions;       /* weight stationary: input vectors streamed in one pass; output stationary: its steps */
    int64_t passes;
    int64_t load, execute, drain, accumulate; /* cycles of one pass */
    int64_t cycles;                           /* of all passes */
    int64_t macs;                             /* products that the layer needs, without padded channels */
    double utilisation;                       /* macs / (cycles * rows * cols * simd) */
    int64_t activation_reads, weight_reads, psum_reads, psum_writes; /* bytes of SRAM traffic */
} dt_tiling;

/* Whole groups that the array takes at once: weight stationary, as many as have room, each in rows and columns of its
 * own; else 1. */
int dt_tiling_groups(const dt_array *array, const dt_psum_shape *shape);

/* Returns the tiling of a layer that dt_psum_layer_init accepts. */
dt_tiling dt_tiling_of(const dt_array *array, const dt_psum_shape *shape);

#endif /* DT_TILING_H */
