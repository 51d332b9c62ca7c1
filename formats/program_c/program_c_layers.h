/*
 * program_c_layers.h - the layers of a program as C, the buffers that hold their outputs, and the sizes of everything.
 *
 * A layer that makes psums, a convolution or a sum of codes, does not run on its own. The layer that reads the psums
 * asks for those of one position at a time, so that RAM holds the psums of one position and not of a layer. A layer of
 * psums with two readers (before a skip block) therefore runs twice. The output of every other layer gets the first
 * buffer of its type whose content is no longer needed.
 *
 * Used by: program_c.c.  Tests: tests/formats/test_program_c.c.
 */
#ifndef DT_PROGRAM_C_LAYERS_H
#define DT_PROGRAM_C_LAYERS_H

#include "../../quant/program/program.h"

enum { DT_C_NO_BUFFER = -1, DT_C_IMAGE = -1 };

/* A node of the program that becomes a function call in C, or that makes psums. */
typedef struct {
    const dt_graph_node *n;
    const char *kind;        /* such as "conv", "quantize" */
    int in[DT_MAX_IN], n_in; /* indices of earlier layers, or DT_C_IMAGE */
    dt_value x, y;           /* the value that in[0] makes, and that of the layer */
    int buffer;              /* index among those of its type; psums and scores (the caller's): DT_C_NO_BUFFER */
    int last_reader;         /* index of the last layer that reads it; -1: none */
} dt_c_layer;

typedef struct {
    const dt_program *p;
    dt_c_layer *image; /* layer[-1]: the codes of the image */
    dt_c_layer *layer; /* [n_layers], in the program's order */
    int n_layers;
    int64_t *code_room, *real_room; /* elements of each buffer */
    int n_code_buffers, n_real_buffers;
    int psums;             /* channels of the widest layer of psums: the room for one position */
    const char *code_type; /* the narrowest of uint8_t, int8_t, int16_t, int32_t that holds every code */
    int code_bytes;
    int64_t weights, constant_bytes, ram_bytes;
    int64_t macs; /* for one image; those of a convolution count once for each reader */
} dt_c_program;

/* Makes the layers of a program that has passed dt_program_check. p must stay as long as *out is used.
 * DT_ERR_UNSUPPORTED: an array is too large for an index of type int. */
DT_MUST_CHECK dt_status dt_c_program_make(const dt_program *p, dt_c_program *out);
void dt_c_program_release(dt_c_program *c);

/* Returns 1 if the layer makes psums. */
int dt_c_makes_psums(const dt_c_layer *l);
/* Returns 1 if layer i makes psums, and a layer asks for those of a position. Only REQUANTIZE reads sums of an AVGPOOL
 * under a profile: it sums the cells itself. */
int dt_c_is_asked(const dt_c_program *c, int i);
/* Returns the k-th layer whose buffer layer i reads. If it reads psums, these are the layers of whose codes the psums
 * are made. */
int dt_c_program_source(const dt_c_program *c, int i, int k);

/* A layer that makes psums, as a convolution. A sum of codes is one with a group for each channel and weights of 1. */
typedef struct {
    dt_conv_params conv;
    int window[2];
    int channels;         /* channels of a group */
    const int8_t *weight; /* [filters][window[0]][window[1]][channels]; NULL: all 1 */
} dt_c_conv;

/* Returns layer i, which makes psums, as a convolution. */
dt_c_conv dt_c_program_conv(const dt_c_program *c, int i);
/* Returns the multiply-accumulates of layer i for one image. */
int64_t dt_c_program_macs(const dt_c_program *c, int i);

/* Returns 1 if the program's image is reals. */
int dt_c_reads_reals(const dt_c_program *c);
/* Returns 1 if a table gives the codes of the image's pixels: the program's TABLE, or what its QUANTIZE makes of
 * pixels.
 */
int dt_c_has_table(const dt_c_program *c);
/* Returns 1 if layer i is a THRESHOLD that has the multiplier form. */
int dt_c_is_multiplied(const dt_c_program *c, int i);
/* Returns 1 if every layer of psums is a convolution of one group, without dilation, and with the same stride and pad
 * on all sides. A shorter text then serves for all of them. */
int dt_c_all_plain(const dt_c_program *c);

enum { DT_C_NAME_BYTES = DT_NAME_MAX + 1, DT_C_BUFFER_BYTES = 32 };

/* Copies a name to text, which it returns. Characters that could end a comment become '_'. */
const char *dt_c_safe(const char *name, char text[DT_C_NAME_BYTES]);
/* Writes the name of the buffer that holds what layer i gives, such as "codes_3", and returns it. */
const char *dt_c_buffer_name(const dt_c_program *c, int i, char text[DT_C_BUFFER_BYTES]);
/* Copies the name of layer i in the same way as dt_c_safe. */
const char *dt_c_layer_name(const dt_c_program *c, int i, char text[DT_C_NAME_BYTES]);

#endif /* DT_PROGRAM_C_LAYERS_H */
