/*
 * program_c_codes.h - the layers of a program that compute under a profile, as C: their functions, constants and calls.
 *
 * The arithmetic is that of core/arith/requantize.h and core/arith/qsoftmax.h. What follows from scales is computed
 * here, by the same functions, and written as constants: multipliers and shifts, factors, tables of e^x. The C
 * therefore calls no function of <math.h>.
 *
 * Used by: program_c.c, program_c_layers.c, program_c_constants.c.  Tests: tests/formats/test_program_c_codes.c.
 */
#ifndef DT_PROGRAM_C_CODES_H
#define DT_PROGRAM_C_CODES_H

#include "../../core/arith/requantize.h"
#include "program_c_layers.h"

#include <stdio.h>

/* Returns 1 if the layer makes codes or reals of codes as an engine does: its functions are here. */
int dt_c_is_of_engine(const dt_c_layer *l);
/* Returns how a REQUANTIZE, QADD, QMUL, QMATMUL or QSOFTMAX rounds. */
dt_product dt_c_product(const dt_c_layer *l);
/* Returns the name of the function of a REQUANTIZE ("requantize", "mean" or "rescale") or of another such layer. */
const char *dt_c_function(const dt_c_program *c, const dt_c_layer *l);
/* Returns "away" or "even": how ties of a QAVGPOOL's averages, or of a QUANTIZE's codes, are rounded. */
const char *dt_c_half(const dt_graph_node *n);

enum { DT_C_PRODUCTS = DT_ROUND_EVALUATED + 1 };
extern const char *const dt_c_product_names[DT_C_PRODUCTS]; /* in the C's names */

/* Returns the profile's name of such a layer; "" for TABLE and DEQUANTIZE, which have none. */
const char *dt_c_profile_name(const dt_c_layer *l);
/* Returns 1 if the functions call round_half_even. */
int dt_c_rounds_even(const dt_c_program *c);
/* Returns 1 if the functions call cells_of, of pool_layer. */
int dt_c_pools_codes(const dt_c_program *c);
/* Returns the bytes of the layer's constants; 0 for other layers. */
int64_t dt_c_engine_bytes(const dt_c_program *c, int i);

/* Writes the functions that the program needs; the caller has written those of convolutions and pools. */
void dt_c_put_engine_functions(FILE *file, const dt_c_program *c);
/* Writes the constants and the descriptor of layer i. */
void dt_c_put_engine_constants(FILE *file, const dt_c_program *c, int i);
/* Writes the call of layer i, without the end of the line. */
void dt_c_put_engine_call(FILE *file, const dt_c_program *c, int i);

/* Returns 1 if stored integers of 8 bits may go in and come out: the scores are dequantized codes. */
int dt_c_has_stored(const dt_c_program *c);
/* Returns the stored integer that code 0 of such a value stands for. */
int dt_c_zero(const dt_c_program *c, int value);
/* Returns element i of the table of pixels, [256][channels]: a code. */
int dt_c_pixel_code(const dt_c_program *c, int64_t i);

#endif /* DT_PROGRAM_C_CODES_H */
