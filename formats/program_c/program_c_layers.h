/*
 * program_c_layers.h - which buffer holds what while the C of a program runs, and how much of everything there is.
 *
 * What makes psums, a convolution or a sum of codes, is not run on its own: whoever reads the psums asks for those of
 * one position, so that RAM holds one position's psums and not a layer's. One with two readers (before a skip block)
 * therefore runs twice. Every other layer's output gets the first buffer of its type whose content is no longer needed.
 *
 * Used by: program_c.c.  Tests: tests/formats/test_program_c.c.
 */
#ifndef DT_PROGRAM_C_LAYERS_H
#define DT_PROGRAM_C_LAYERS_H

#include "../../quant/program/program.h"

enum { DT_C_NO_BUFFER = -1, DT_C_IMAGE = -1 };

/* A node of the program that is a function's call in C, or makes psums. */
typedef struct {
    const dt_graph_node *n;
    const char *kind;        /* "conv", "quantize" */
    int in[DT_MAX_IN], n_in; /* earlier layers, or DT_C_IMAGE */
    dt_value x, y;           /* what in[0] gives, and the layer */
    int buffer;              /* of its type; DT_C_NO_BUFFER: psums are not stored, scores are the caller's */
    int last_reader;         /* the last layer that reads it; -1: none */
} dt_c_layer;

typedef struct {
    const dt_program *p;
    dt_c_layer *image; /* layer[-1]: the codes of the image */
    dt_c_layer *layer; /* [n_layers], in the program's order */
    int n_layers;
    int64_t *code_room, *real_room; /* elements of each buffer */
    int n_code_buffers, n_real_buffers;
    int psums;             /* of one position: channels of the widest layer of psums */
    const char *code_type; /* the narrowest of uint8_t, int8_t, int16_t that holds every code */
    int code_bytes;
    int64_t weights, constant_bytes, ram_bytes;
    int64_t macs; /* of one image; a convolution's once a reader */
} dt_c_program;

/* p is borrowed and has passed dt_program_check. DT_ERR_UNSUPPORTED: an array is too large for an int as its index. */
DT_MUST_CHECK dt_status dt_c_program_make(const dt_program *p, dt_c_program *out);
void dt_c_program_release(dt_c_program *c);

/* 1 if the layer makes psums. */
int dt_c_makes_psums(const dt_c_layer *l);
/* The layers that layer i reads; behind psums, what those are made of. */
int dt_c_program_n_sources(const dt_c_program *c, int i);
int dt_c_program_source(const dt_c_program *c, int i, int k);

/* What makes psums, as a convolution: a sum of codes has a group for each channel, and weights of 1. */
typedef struct {
    dt_conv_params conv;
    int window[2];
    int channels;         /* of a group */
    const int8_t *weight; /* [filters][window[0]][window[1]][channels]; NULL: all 1 */
} dt_c_conv;

dt_c_conv dt_c_program_conv(const dt_c_program *c, int i);
/* Multiply-accumulates of layer i. */
int64_t dt_c_program_macs(const dt_c_program *c, int i);

#endif /* DT_PROGRAM_C_LAYERS_H */
