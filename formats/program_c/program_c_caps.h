/*
 * program_c_caps.h - capsules in the C of a program: their functions, constants, calls and sizes.
 *
 * A routing reads the psums of a convolution (one vote: layer `capsules`), those of a matrix for each input capsule, or
 * codes (layer `route`). The last layer of such a program is the lengths; its scores are integers, and no float occurs.
 * Used by: program_c.c.  Tests: tests/formats/test_program_c_caps.c.
 */
#ifndef DT_PROGRAM_C_CAPS_H
#define DT_PROGRAM_C_CAPS_H

#include "program_c_layers.h"

#include <stdio.h>

/* Returns 1 if the scores are lengths of capsules: integers. */
int dt_c_gives_lengths(const dt_c_program *c);
/* Returns 1 if the node makes nothing in C: the reals of lengths. */
int dt_c_is_real_length(const dt_graph *g, const dt_graph_node *n);

/* DT_ERR_UNSUPPORTED: a routing of several votes reads psums of a convolution. */
DT_MUST_CHECK dt_status dt_c_check_capsules(const dt_c_program *c);
/* Returns the bytes of the constants of layer i, votes or a routing. */
int64_t dt_c_capsule_bytes(const dt_c_program *c, int i);
/* Returns the bytes of the static room of all routings. */
int64_t dt_c_capsule_ram(const dt_c_program *c);
/* Returns how many psums the routings need at once. */
int dt_c_capsule_psums(const dt_c_program *c);

/* Writes the functions that the program needs, if any; the caller has written those of convolutions. */
void dt_c_put_capsule_functions(FILE *file, const dt_c_program *c);
/* Writes the constants and the descriptor of layer i, votes or a routing. */
void dt_c_put_votes(FILE *file, const dt_c_program *c, int i);
void dt_c_put_routing(FILE *file, const dt_c_program *c, int i);
/* Writes the call of layer i, a routing or lengths, of x and y, without the end of the line. */
void dt_c_put_capsule_call(FILE *file, const dt_c_program *c, int i, const char *x, const char *y);

#endif /* DT_PROGRAM_C_CAPS_H */
