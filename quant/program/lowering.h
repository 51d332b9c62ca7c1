/*
 * lowering.h - the state of a lowering: what each value of the model's graph holds, and the program's graph that grows.
 *
 * A value holds the image, or what a node of the program gives, or something that is no node yet: psums on a line
 * (slope * psum + offset), or the ReLU, clip, max-pool or concatenation of other values. Who reads it decides what
 * becomes of those; lower_values.c does that for lower.c, which walks the model's graph.
 */
#ifndef DT_LOWERING_H
#define DT_LOWERING_H

#include "../../core/arith/grid.h"
#include "program_build.h"

typedef enum {
    DT_HOLDS_NOTHING, /* not reached yet, or of no use to a program */
    DT_HOLDS_IMAGE,   /* normalised pixels */
    DT_HOLDS_CODES,   /* those of `value` */
    DT_HOLDS_REALS,   /* those of `reals` */
    DT_HOLDS_SCORES,
    DT_HOLDS_LINE,    /* slope[c] * psum + offset[c] */
    DT_HOLDS_SAME,    /* what `from` holds, under another name */
    DT_HOLDS_RELU,    /* of `from` */
    DT_HOLDS_CLIP,    /* of `from` */
    DT_HOLDS_MAXPOOL, /* of `from` */
    DT_HOLDS_CONCAT   /* of what the node's inputs hold */
} dt_holds;

/* Of one value of the model's graph. */
typedef struct dt_held dt_held;
struct dt_held {
    dt_holds holds;
    const dt_graph_node *node; /* the model's that makes it; NULL: the image */
    dt_held *from;
    int value;             /* CODES: of the program */
    int psum;              /* LINE: of the program; CODES: the same integers as psums, -1: not made yet */
    int reals;             /* of the program: gives the values as reals, -1: none yet */
    int is_psum;           /* LINE: no batch norm or bias yet, so that one may follow */
    float *slope, *offset; /* of psum: [C], owned */
};

typedef struct {
    dt_context *ctx;
    const dt_graph *from;     /* the model's */
    dt_tensor *const *tensor; /* of each of its values: parameters, and the codes of weights */
    dt_held *held;            /* of each of its values */
    dt_program *program;
    float mean[4], std[4]; /* of the image */
} dt_lowering;

/* An activation quantizer, in host memory. */
typedef struct {
    char name[DT_NAME_MAX + 1]; /* of the layer that reads its codes */
    dt_act_quant_params params;
    dt_grid grid;
    float alpha, scale;
    int shared; /* the program's value that holds the scale, or where reals are quantized the clip, of codes with the
                   same scale, made before; 0: there are none. Of the first codes it becomes theirs. */
} dt_quantizer;

/* The name of a value of the model. */
const char *dt_held_name(const dt_lowering *w, const dt_held *h);

/* lower.c: n's inputs are lowered. */
DT_MUST_CHECK dt_status dt_lower_node(dt_lowering *w, const dt_graph_node *n);

/* The pool of node n, whose windows of the whole map have its size. */
dt_pool_params dt_lowering_pool(const dt_lowering *w, const dt_graph_node *n);
/* MAXPOOL or AVGPOOL, as the model's node says, of x. */
DT_MUST_CHECK dt_status dt_lowering_add_pool(dt_lowering *w, const dt_graph_node *n, int x, int *y);

/* The value of the program that gives h as reals, made at the first call. */
DT_MUST_CHECK dt_status dt_held_reals(dt_lowering *w, dt_held *h, int *value);
/* h through a quantizer: codes. */
DT_MUST_CHECK dt_status dt_held_codes(dt_lowering *w, dt_held *h, dt_quantizer *q, int *value);
/* What is under its ReLUs, clips, max-pools and other names. */
const dt_held *dt_held_base(const dt_held *h);

#endif /* DT_LOWERING_H */
