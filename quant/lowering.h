/*
 * lowering.h - the state of a lowering: what each tensor of the tape holds, and the program that grows from it.
 *
 * What a tensor holds is known by where it comes from, its source: the image, a layer of the program, or something
 * that is no layer yet: a convolution's psums on a line (slope * psum + offset), or the ReLU or max-pool of another
 * source. Who reads it decides what becomes of those; lower_values.c does that for lower.c, which walks the tape.
 */
#ifndef DT_LOWERING_H
#define DT_LOWERING_H

#include "grid.h"
#include "program.h"

#include "../core/tape.h"

typedef enum {
    DT_SOURCE_IMAGE,  /* normalised pixels */
    DT_SOURCE_CODES,  /* of `layer` */
    DT_SOURCE_REALS,  /* of `layer` */
    DT_SOURCE_SCORES, /* of `layer`, the last */
    DT_SOURCE_LINE,   /* slope[c] * (psum of `layer`) + offset[c] */
    DT_SOURCE_SAME,   /* what `from` is, under another name */
    DT_SOURCE_RELU,   /* of `from` */
    DT_SOURCE_MAXPOOL /* of `from` */
} dt_source_kind;

typedef struct dt_source dt_source;
struct dt_source {
    dt_source *next;
    const dt_tensor *tensor;
    const dt_node *node; /* the tape's: lives as long as the lowering */
    dt_source_kind kind;
    dt_source *from;
    int layer;
    int reals;             /* layer that gives its values as reals, -1: none yet */
    int is_psum;           /* LINE: no batch norm yet, so that one may follow */
    float *slope, *offset; /* LINE: [C], owned */
};

typedef struct {
    dt_context *ctx;
    dt_program *program;
    dt_source *sources;
} dt_lowering;

/* An activation quantizer, in host memory. */
typedef struct {
    char name[64];
    dt_act_quant_params params;
    dt_grid grid;
    float alpha, scale;
} dt_quantizer;

/* n floats of device memory; the caller frees them. */
DT_MUST_CHECK dt_status dt_lowering_read(const dt_lowering *w, const void *device, int64_t n, float **out);

/* A layer that reads layer `from` and, until its caller says more, gives the like of what it reads. *out is valid until
 * the next is added. */
DT_MUST_CHECK dt_status dt_lowering_add(dt_lowering *w, dt_layer_kind kind, const char *name, int from, dt_layer **out);
/* MAXPOOL or AVGPOOL, as the node says. */
DT_MUST_CHECK dt_status dt_lowering_add_pool(dt_lowering *w, const dt_node *node, dt_layer_kind kind, int from);
int dt_lowering_last(const dt_lowering *w); /* the layer added last */

/* The layer that gives s as reals, added at the first call. */
DT_MUST_CHECK dt_status dt_source_reals(dt_lowering *w, dt_source *s, int *layer);
/* s through a quantizer: the last layer gives its codes. */
DT_MUST_CHECK dt_status dt_source_codes(dt_lowering *w, dt_source *s, const dt_quantizer *q);
/* What is under its ReLUs, max-pools and other names. */
const dt_source *dt_source_base(const dt_source *s);

#endif /* DT_LOWERING_H */
