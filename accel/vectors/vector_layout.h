/*
 * vector_layout.h - where each lane of each vector file lies in the layer; what vectors.c writes by and
 *                   vectors_compare.c reads by.
 */
#ifndef DT_VECTOR_LAYOUT_H
#define DT_VECTOR_LAYOUT_H

#include "vectors.h"

/* Of these a role uses: ACTIVATION row, col, channel; WEIGHT filter, tap, channel; TAP_PSUM row, col, tap, filter;
 * OUTPUT row, col (of the output), filter; ADDRESS row, col (of the output), tap. */
typedef struct {
    int row, col; /* of the input: below 0 or past its end in the padding */
    int channel, filter, tap;
} dt_vector_place;

dt_vector_place dt_vector_place_of(const dt_vectors *v, const dt_vector_file *f, int line, int lane);

/* Codes of one image and one layer. */
typedef struct {
    int32_t *x; /* [height][width][channels] */
    int32_t *w; /* [filters][window height][window width][a group's channels] */
} dt_vector_codes;

/* Index in codes.x or codes.w of an activation's or a weight's place, -1 where it is padding, or between two groups:
 * that is 0. */
int64_t dt_vector_code_index(const dt_vectors *v, const dt_vector_file *f, dt_vector_place at);

/* What a lane holds: exact, before psum_bits are kept (but ReLU is of the kept bits, as the array takes it). */
int64_t dt_vector_value(const dt_vectors *v, const dt_vector_codes *codes, const dt_vector_file *f, int line, int lane);

/* The low `bits` bits of value in two's complement. */
int64_t dt_vector_wrap(int64_t value, int bits);

#endif /* DT_VECTOR_LAYOUT_H */
