/*
 * array_machine.h - the registers of the array, and what one clock does to them. array_cycles.c decides what enters the
 *                   array,
 *                   and what becomes of the psums that leave it.
 *
 *                           weights, output stationary
 *                                |      |      |
 *                              north FIFOs: column c is delayed c clocks
 *                                v      v      v
 *        activations,  | west -> PE --> PE --> PE    an instruction and its operand travel east,
 *        weights       | FIFOs   v      v      v     psums (and weights from the north) south;
 *                      |      -> PE --> PE --> PE    every hop is a register
 *            row r is delayed    v      v      v
 *            r clocks           column FIFOs: hold early psums until the last column's psum arrives
 *                                v      v      v
 *                               one psum of each column
 *
 * What a PE does with an instruction (the codes of simd lanes multiply as x[0] * w[0] + x[1] * w[1]):
 *   LOAD      weight stationary: it takes the code as its weight, the last lane's first. If all its lanes are full, it
 *             passes the code on
 *   MULTIPLY  weight stationary: psum to the south = fit(psum from the north + x * weight)
 *   ADD       output stationary: own psum = fit(own psum + x * weight from the north)
 *   FLUSH     output stationary: it sends its psum south, and takes the one from the north. `rows` FLUSHes in a row
 *             empty a column, lowest row first, and leave zeros
 *
 * Source of rows, columns and travelling weights: the ECE284 course's array. Here the instruction travels with its
 * operand through the FIFOs too, so that activations may follow weights without a gap.
 */
#ifndef ARRAY_MACHINE_H
#define ARRAY_MACHINE_H

#include "../../accel/psum/psum.h"

typedef enum { DT_PE_IDLE, DT_PE_LOAD, DT_PE_MULTIPLY, DT_PE_ADD, DT_PE_FLUSH } dt_pe_instruction;

enum { DT_PE_LANES = 2 };

/* What a wire carries. With simd 1, lane 1 is 0 and not real. */
typedef struct {
    dt_pe_instruction instruction;
    int code[DT_PE_LANES];
    unsigned real; /* bit l: code[l] is the layer's, not padding; for `busy` alone; hardware does not have it */
} dt_operand;

/* A register of psum_bits. Members from `before` on are statistics, which hardware does not have. */
typedef struct {
    int valid;
    int32_t held;
    int64_t before;      /* the sum before fit: saturate: the last one; wrap: that of a wider register */
    int64_t n_overflows; /* of the sums before fit that led to this value and that psum.h counts */
    int32_t min, max;    /* of the same sums */
} dt_partial;

typedef struct dt_machine dt_machine;

/* Makes an array with empty registers. array->simd is 1 or 2. */
DT_MUST_CHECK dt_status dt_machine_create(const dt_array *array, dt_machine **out);
void dt_machine_destroy(dt_machine *m);

/* Returns the sum of both, fitted to psum_bits, with the statistics of both. The new sum is not counted in them yet. */
dt_partial dt_partial_add(const dt_array *array, dt_partial to, dt_partial what);

/* Counts p->before in the statistics of p. */
void dt_partial_look(const dt_array *array, dt_partial *p);

/* Lets every PE take new weights from the LOADs that follow. It takes no clock, because a wire leads to all PEs. */
void dt_machine_release_weights(dt_machine *m);

/* Takes a psum from each column FIFO, [cols], and returns 1; if a FIFO is empty it returns 0. Call it before the clock
 * in which that happens. */
int dt_machine_pop(dt_machine *m, dt_partial *psum);

/* Runs one clock: west, [rows], and north, [cols], enter the FIFOs, and everything moves one register on. It returns
 * the number of products of real codes. */
int64_t dt_machine_clock(dt_machine *m, const dt_operand *west, const dt_operand *north);

#endif /* ARRAY_MACHINE_H */
