/*
 * array_cycles.h - the array, a clock cycle at a time: registers of processing elements (PEs), FIFOs that skew and
 * realign, psum memory, special function unit. It is slow and literal, and the oracle of psum.c and of tiling.h.
 *
 * dt_array_run takes one image through one layer. It gives the psums that the psum memory holds at the end, and the
 * number of cycles. Tap psums are what the column FIFOs delivered.
 *
 * The clock in which each stage of the pipeline works on what was fetched in clock t:
 *   t                       fetch: SRAM -> first register of the west (and north) FIFOs
 *   t + 1 + r + c           the PE of row r, column c
 *   t + 1 + rows + c        the psum leaves the last row and enters the FIFO of column c
 *   t + 1 + rows + cols     read: a psum leaves every column FIFO; its word is read from the psum memory
 *   t + 2 + rows + cols     write: word = fit(word + psum), or the psum in an output's first pass; in its last pass the
 *                           special function unit puts max(word, 0) out
 *
 * A pass takes, in cycles:
 *   weight stationary: for each output tile (of a group, or of the groups that the array takes at once), for each input
 *   tile, for each tap
 *     load        simd * cols                  a line of weights for each column and lane, which travels east to it
 *     execute     padded H * padded W          every cell of the padded image, behind the weights without a gap
 *     drain       rows + cols                  the last cell crosses the array, its psum enters the last column's FIFO
 *     accumulate  2                            read and write of the last psum; all others are hidden behind the above
 *   output stationary: for each group, for each output tile, for each tile of `rows` positions
 *     load        0
 *     execute     ceil(C / simd) * taps        a channel (pair) of the group and a tap; the taps of a channel follow
 *                                              each other
 *     drain       rows + rows + cols           a FLUSH for each row, then the last of them crosses the array
 *     accumulate  2                            as above
 * Passes do not overlap: the next weights wait until the last psum is written.
 */
#ifndef ARRAY_CYCLES_H
#define ARRAY_CYCLES_H

#include "../../accel/psum/psum.h"

typedef struct {
    int64_t cycles;
    int64_t busy; /* products of operands that are both the layer's, not padding, over all PEs, cycles and lanes */
    int64_t activation_lines, weight_lines; /* lines fetched, each for all rows or for all columns */
    int64_t psum_reads, psum_writes;        /* words of cols psums */
} dt_array_count;

/* Where a run's results go. */
typedef struct {
    int32_t *psum;        /* [P][Q][K] */
    int32_t *relu;        /* [P][Q][K], what the special function unit puts out: psum clipped at 0; or NULL */
    int32_t *taps;        /* as in dt_psum_stored; or NULL */
    dt_psum_stats *stats; /* is added to */
    dt_array_count *count;
} dt_array_results;

/* Runs one image through one layer. x [H][W][C] and w [K][R][S][C / groups] are codes held in floats. DT_ERR_NUMERIC
 * names the first code that is out of its range; the results are then as they were. */
DT_MUST_CHECK dt_status dt_array_run(const dt_array *array, const dt_psum_shape *shape, const float *x, const float *w,
                                     const dt_array_results *to);

#endif /* ARRAY_CYCLES_H */
