/*
 * lowering.h - the state of a lowering: what each value of the model's graph holds, and the program's graph, which
 *              grows.
 *
 * A value of the model holds the image, or a value of the program, or something for which the program has no node yet:
 * a line of psums (slope * psum + offset), or the ReLU, clip, max-pool or concatenation of other values. What becomes
 * of these depends on the nodes that read them. lower.c walks the model's graph, lower_sums.c
 * lowers what adds, and lower_values.c makes the nodes that were waited for.
 */
#ifndef DT_LOWERING_H
#define DT_LOWERING_H

#include "../../core/arith/grid.h"
#include "program_build.h"

typedef enum {
    DT_HOLDS_NOTHING,   /* it has not been reached yet, or a program has no place for it */
    DT_HOLDS_IMAGE,     /* normalised pixels */
    DT_HOLDS_CODES,     /* the codes of `value` */
    DT_HOLDS_REALS,     /* the reals of `reals` */
    DT_HOLDS_SCORES,    /* the scores */
    DT_HOLDS_LINE,      /* slope[c] * psum + offset[c] */
    DT_HOLDS_SAME,      /* what `from` holds, under another name */
    DT_HOLDS_RELU,      /* the ReLU of `from` */
    DT_HOLDS_CLIP,      /* the clip of `from` */
    DT_HOLDS_AFFINE,    /* slope[c] * x + offset[c] of the image's values `from`, c the image's channel */
    DT_HOLDS_MAXPOOL,   /* the max-pool of `from` */
    DT_HOLDS_TRANSPOSE, /* the transpose of `from` */
    DT_HOLDS_NORM,  /* slope[c] * from + offset[c], where `from` is no line of psums alone: it has a bias, or a ReLU */
    DT_HOLDS_CONCAT /* the concatenation of the node's inputs */
} dt_holds;

/* What one value of the model's graph holds. value, psum and reals are indices of the program's values. */
typedef struct dt_held dt_held;
struct dt_held {
    dt_holds holds;
    const dt_graph_node *node; /* the model's node that makes the value; NULL: it is the image */
    dt_held *from;
    int value;             /* CODES: the codes */
    int psum;              /* LINE: the psums; CODES: the same integers as psums, -1: not made yet */
    int reals;             /* the value as reals; -1: not made yet */
    int is_psum;           /* LINE: 1: no batch norm or bias is in the line yet, so that one may follow */
    float *slope, *offset; /* LINE, NORM, AFFINE: [C], owned */
};

typedef struct {
    dt_context *ctx;
    const dt_graph *from;     /* the model's */
    dt_tensor *const *tensor; /* for each value of the model: set for parameters and for the codes of weights */
    dt_held *held;            /* for each value of the model */
    dt_program *program;
    float mean[DT_MOST_CHANNELS], std[DT_MOST_CHANNELS]; /* by which the image is normalised */
} dt_lowering;

/* A quantizer of activations, an ACT_QUANT or a SCALE_QUANT, in host memory. */
typedef struct {
    char name[DT_NAME_MAX + 1]; /* of the layer that reads its codes */
    const dt_graph_node *node;  /* the model's */
    dt_grid grid;               /* low and high of the codes */
    float alpha, scale;         /* alpha: its parameter, ACT_QUANT's clip or SCALE_QUANT's scale */
    int shared; /* the program's value that holds the scale (where reals are quantized, the clip) of earlier codes with
                   the same scale; 0: there are none yet, and the first codes that are made set it */
} dt_quantizer;

/* Returns the code of a value, as the quantizer's kernel computes it. It is an integer, or NaN, and may have any size
 * where an ACT_QUANT is unclamped. */
float dt_quantizer_code(const dt_quantizer *q, float v);
/* Returns 1 if the codes have no lower limit. */
int dt_quantizer_is_unclamped(const dt_quantizer *q);

/* Returns the name of a value of the model. */
const char *dt_held_name(const dt_lowering *w, const dt_held *h);

/* Returns the name of a node of the model. */
static inline const char *dt_lowering_name(const dt_lowering *w, const dt_graph_node *n)
{
    return dt_graph_name(w->from, n->out);
}

/* Returns the facts of a value of the model. */
static inline const dt_tensor *dt_lowering_facts(const dt_lowering *w, int value)
{
    return &w->from->value[value]->facts;
}

/* Says what node n makes, and returns it. Its indices are -1 until the caller sets them. */
dt_held *dt_lowering_hold(const dt_lowering *w, const dt_graph_node *n, dt_holds holds, dt_held *from);
/* Says that node n makes a line of the program's psums. The caller fills slope and offset of *out. */
DT_MUST_CHECK dt_status dt_lowering_line(dt_lowering *w, const dt_graph_node *n, int psum, dt_held **out);
/* Sets *out to what input k of node n holds. DT_ERR_UNSUPPORTED: it has no place in a program. */
DT_MUST_CHECK dt_status dt_lowering_input(const dt_lowering *w, const dt_graph_node *n, int k, dt_held **out);

/* Sets *out to what input 0 of node n holds, which must be codes; n must be on the grid. */
DT_MUST_CHECK dt_status dt_lowering_codes(const dt_lowering *w, const dt_graph_node *n, dt_held **out);
/* Fills in the weights of a layer and their scales, which the caller or the program takes over. */
DT_MUST_CHECK dt_status dt_lowering_weights(const dt_lowering *w, const dt_graph_node *n, dt_program_conv *c);
/* Says that node n makes psums of the codes x: their scale, and nothing added. */
DT_MUST_CHECK dt_status dt_lowering_psums(dt_lowering *w, const dt_graph_node *n, int x, int psum);
/* Copies input k of node n, a parameter, to *out, which the caller frees. */
DT_MUST_CHECK dt_status dt_lowering_param(const dt_lowering *w, const dt_graph_node *n, int k, float **out);

/* Lowers one node of the model, whose inputs have been lowered. In lower.c. */
DT_MUST_CHECK dt_status dt_lower_node(dt_lowering *w, const dt_graph_node *n);
/* Returns 1 for the image, and for what functions of single numbers make of it. In lower_image.c. */
int dt_held_is_of_image(const dt_held *x);
/* Adds the image and its table: the codes that q makes of h. In lower_image.c. */
DT_MUST_CHECK dt_status dt_lower_image(dt_lowering *w, const dt_held *h, const dt_quantizer *q, int *codes);
/* Lowers an AFFINE of the image's values: a line for each channel, or the same one for all numbers. In lower_image.c.
 */
DT_MUST_CHECK dt_status dt_lower_image_line(dt_lowering *w, const dt_graph_node *n, dt_held *x);
/* Lowers an AVGPOOL. In lower_sums.c. */
DT_MUST_CHECK dt_status dt_lower_avgpool(dt_lowering *w, const dt_graph_node *n);
/* Lowers an ADD. In lower_sums.c. */
DT_MUST_CHECK dt_status dt_lower_add(dt_lowering *w, const dt_graph_node *n);

/* Each lowers a node of the kind of its name. In lower_caps.c. */
DT_MUST_CHECK dt_status dt_lower_votes(dt_lowering *w, const dt_graph_node *n);
DT_MUST_CHECK dt_status dt_lower_route(dt_lowering *w, const dt_graph_node *n);
DT_MUST_CHECK dt_status dt_lower_class(dt_lowering *w, const dt_graph_node *n);

/* Returns the pool of node n. A window of the whole map has the map's size in it. */
dt_pool_params dt_lowering_pool(const dt_lowering *w, const dt_graph_node *n);
/* Adds the MAXPOOL or AVGPOOL n of the model to the program, with the input x. */
DT_MUST_CHECK dt_status dt_lowering_add_pool(dt_lowering *w, const dt_graph_node *n, int x, int *y);

/* Sets *value to the value of the program that gives h as reals. It is made at the first call. */
DT_MUST_CHECK dt_status dt_held_reals(dt_lowering *w, dt_held *h, int *value);
/* Sets *psum to the program's psums of h, codes or a line: codes become sums of single cells. */
DT_MUST_CHECK dt_status dt_held_psum(dt_lowering *w, dt_held *h, int *psum);
/* Sets *value to the codes that the quantizer q makes of h. */
DT_MUST_CHECK dt_status dt_held_codes(dt_lowering *w, dt_held *h, dt_quantizer *q, int *value);
/* Returns what remains of h without its ReLUs, clips, max-pools and other names. */
const dt_held *dt_held_base(const dt_held *h);

#endif /* DT_LOWERING_H */
