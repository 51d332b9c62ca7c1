/*
 * array_machine.h - the registers of the array, and what one clock does to them. array.c decides what enters, and what
 *                   becomes of the psums that leave.
 *
 *                           weights, output stationary
 *                                |      |      |
 *                              north FIFOs: column c is delayed c clocks
 *                                v      v      v
 *        activations,  | west -> PE --> PE --> PE    an instruction and its operand travel east,
 *        weights       | FIFOs   v      v      v     psums (and weights from the north) south;
 *                      |      -> PE --> PE --> PE    every hop is a register
 *            row r is delayed    v      v      v
 *            r clocks           column FIFOs: hold what is early until the last column's psum is there
 *                                v      v      v
 *                               one psum of each column
 *
 * What a PE does with an instruction (codes of simd lanes multiply as x[0] * w[0] + x[1] * w[1]):
 *   LOAD      weight stationary: takes the code as its weight, the last lane's first; with all lanes full, passes it on
 *   MULTIPLY  weight stationary: psum to the south = fit(psum from the north + x * weight)
 *   ADD       output stationary: own psum = fit(own psum + x * weight from the north)
 *   FLUSH     output stationary: own psum to the south; the one from the north becomes its own. `rows` of these in a
 *             row empty a column, lowest row first, and leave zeros
 *
 * Reference for rows, columns and the travelling weights: the ECE284 course's array. Here the instruction travels
 * with its operand through the FIFOs too, so that activations may follow weights without a gap.
 */
#ifndef DT_ARRAY_MACHINE_H
#define DT_ARRAY_MACHINE_H

#include "../psum/psum.h"

typedef enum { DT_PE_IDLE, DT_PE_LOAD, DT_PE_MULTIPLY, DT_PE_ADD, DT_PE_FLUSH } dt_pe_instruction;

enum { DT_PE_LANES = 2 };

/* What a wire carries. With simd 1 lane 1 is 0 and not real. */
typedef struct {
    dt_pe_instruction instruction;
    int code[DT_PE_LANES];
    unsigned real; /* bit l: code[l] is the layer's, not padding; for `busy` only, hardware has no such wire */
} dt_operand;

/* A register of psum_bits. The rest is for statistics; hardware has none of it. */
typedef struct {
    int valid;
    int32_t held;
    int64_t before;      /* fit: saturate: the last sum; wrap: what a wider register would hold */
    int64_t n_overflows; /* among the values before fit that psum.h looks at and that led to this one */
    int32_t min, max;    /* of them */
} dt_partial;

typedef struct dt_machine dt_machine;

/* array.simd is 1 or 2. */
DT_MUST_CHECK dt_status dt_machine_create(const dt_array *array, dt_machine **out);
void dt_machine_destroy(dt_machine *m);

/* The sum of both, fitted to psum_bits, and what was looked at in either; not yet the sum itself. */
dt_partial dt_partial_add(const dt_array *array, dt_partial to, dt_partial what);

/* Counts p->before among the values that were looked at. */
void dt_partial_look(const dt_array *array, dt_partial *p);

/* Every PE takes new weights from the LOADs that follow. Costs no clock: a wire to all PEs. */
void dt_machine_release_weights(dt_machine *m);

/* 1 and [cols] psums, if every column FIFO has one. Comes before the clock in which it happens. */
int dt_machine_pop(dt_machine *m, dt_partial *psum);

/* west [rows] and north [cols] enter the FIFOs; everything moves one register on. Returns products of real codes. */
int64_t dt_machine_clock(dt_machine *m, const dt_operand *west, const dt_operand *north);

#endif /* DT_ARRAY_MACHINE_H */
