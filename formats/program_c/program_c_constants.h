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

void dt_c_put_image_table(FILE *file, const dt_c_program *c);
/* Writes the arrays and the descriptor of layer i, if it has any. */
void dt_c_put_constants(FILE *file, const dt_c_program *c, int i);
/* Writes the value to text as a literal that gives the same float everywhere, and returns text. */
const char *dt_c_float_text(float value, char text[DT_C_ELEMENT_BYTES]);

#endif /* DT_PROGRAM_C_CONSTANTS_H */
