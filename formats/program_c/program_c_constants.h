/*
 * program_c_constants.h - the constants of a program in C: the image's table, and the arrays and the descriptor of each
 *                         layer.
 *
 * Used by: program_c.c.
 */
#ifndef DT_PROGRAM_C_CONSTANTS_H
#define DT_PROGRAM_C_CONSTANTS_H

#include "program_c_layers.h"

#include <stdio.h>

enum { DT_C_ELEMENT_BYTES = 40 }; /* the longest element of an array, as text */

/* A type of C, and the function that writes element i of an array as a literal to text and returns its characters. */
typedef struct {
    const char *type;
    int (*text)(char *text, const void *array, int64_t i);
} dt_c_element;

extern const dt_c_element dt_c_int8, dt_c_int32, dt_c_int64, dt_c_codes; /* the last of arrays of int16_t */

/* Writes the array of n elements that is called layer_i_member. */
void dt_c_put_member(FILE *file, int i, const dt_c_element *e, const char *member, const void *array, int64_t n);
/* Writes the initialiser of the pool_layer of a pool. */
void dt_c_put_pool(FILE *file, const dt_c_layer *l);

/* Writes the codes of pixels; the program has such a table. */
void dt_c_put_image_table(FILE *file, const dt_c_program *c);
/* Writes the arrays and the descriptor of layer i, if it has any. */
void dt_c_put_constants(FILE *file, const dt_c_program *c, int i);
/* Writes the value to text as a literal that gives the same float everywhere, and returns text. */
const char *dt_c_float_text(float value, char text[DT_C_ELEMENT_BYTES]);

#endif /* DT_PROGRAM_C_CONSTANTS_H */
