/*
 * program_build.h - adds the nodes of a program to its graph, each with its parameters, their names and their data.
 *
 * Arrays come from malloc. Each function takes over those that it gets, even if it fails. An array that is NULL stands
 * for a malloc that failed, and gives DT_ERR_MEMORY. A name is that of the layer in the model that was lowered, such as
 * "features.27". *y is the value that the node makes.
 */
#ifndef DT_PROGRAM_BUILD_H
#define DT_PROGRAM_BUILD_H

#include "program.h"

/* Returns what a program declares of a parameter of that shape: it is not trained. */
dt_param_spec dt_program_spec(const dt_shape *shape);

/* Returns the shape of n values in a row. */
static inline dt_shape dt_vector(int64_t n)
{
    const dt_shape s = { 1, { n } };
    return s;
}

/* Returns an array of one number, or NULL if there is no memory. */
float *dt_program_one(float v);

/* Adds the image, u8 pixels of the shape 1,H,W,C, and the TABLE that makes its codes. */
DT_MUST_CHECK dt_status dt_program_add_table(dt_graph *g, const dt_shape *pixels, const dt_table_params *range,
                                             int16_t *table, float *scale, int *codes);

typedef struct {
    const char *name;
    dt_conv_params conv;
    dt_codes_params range;
    dt_shape shape; /* K,R,S,C */
    int n_scale;    /* 1 or K */
    int8_t *weight; /* K,R,S,C */
    float *scale;   /* [n_scale] */
} dt_program_conv;

/* Returns the largest sum of |code| over a filter of weights K,.. */
int dt_program_sum_most(const int8_t *weight, const dt_shape *shape);
/* Adds a CONV2D with its CODES. */
DT_MUST_CHECK dt_status dt_program_add_conv(dt_graph *g, const dt_program_conv *c, int x, int *y);

/* Adds a CAPS_VOTES with its CODES; shape is I,A,C, and conv is not read. */
DT_MUST_CHECK dt_status dt_program_add_votes(dt_graph *g, const dt_program_conv *c, int x, int *y);

/* Adds a ROUTE_INT with its bias, [C], and its offsets. params has its ratios. */
DT_MUST_CHECK dt_status dt_program_add_route(dt_graph *g, const char *name, const dt_route_int_params *params,
                                             float *bias, int x, int *y);

typedef struct {
    const char *name; /* of the layer that reads the codes */
    int low, levels;
    int32_t *step;         /* [levels][C] */
    int8_t *sign;          /* [C] */
    float *scale;          /* [1]; NULL where the codes share the scale of other codes */
    int shared;            /* the value that holds that scale; 0: none does (value 0 is the image) */
    float *slope, *offset; /* [C] the line that the quantizer steps along */
} dt_program_steps;

/* Adds a THRESHOLD with its constants. */
DT_MUST_CHECK dt_status dt_program_add_threshold(dt_graph *g, const dt_program_steps *s, int x, int *y);

typedef struct {
    int32_t *bits;       /* [1] */
    int32_t *multiplier; /* [C] */
    int64_t *offset;     /* [C] */
    int32_t *shift;      /* [C] */
} dt_program_multipliers;

/* Adds the multiplier form of the THRESHOLD that makes the value `threshold`. */
DT_MUST_CHECK dt_status dt_program_add_multipliers(dt_graph *g, int threshold, const dt_program_multipliers *m);

/* AFFINE or LINEAR. */
typedef struct {
    const char *name;
    int n;                  /* channels of the output */
    float *factor, *offset; /* AFFINE: slopes [n]; LINEAR: the matrix [n][inputs]; offset is [n] for both */
} dt_program_reals;

/* Adds an AFFINE. */
DT_MUST_CHECK dt_status dt_program_add_affine(dt_graph *g, const dt_program_reals *r, int x, int *y);
/* ACT_QUANT. */
typedef struct {
    const char *name; /* of the layer that reads the codes */
    dt_act_quant_params params;
    float *alpha; /* [1]; NULL where the codes share the clip of other codes */
    int shared;   /* the value that holds that clip; 0: none does */
} dt_program_quantizer;

/* Adds an ACT_QUANT. */
DT_MUST_CHECK dt_status dt_program_add_quantize(dt_graph *g, const dt_program_quantizer *q, int x, int *y);
/* Adds a CONCAT of n values, which are codes of one scale. axis: 1..3 of N,H,W,C; 0: they are flat in the model, and
 * maps of several cells are seen as one cell first. Its name is chosen as in dt_program_add_plain. */
DT_MUST_CHECK dt_status dt_program_add_concat(dt_graph *g, const char *name, int axis, const int *in, int n, int *y);
/* Returns the axis of a model's CONCAT, as above. */
int dt_program_concat_axis(const dt_graph *from, const dt_graph_node *concat);
/* Makes the reals x the scores, by a FLATTEN. */
DT_MUST_CHECK dt_status dt_program_add_scores(dt_graph *g, int x);
/* Adds a LINEAR, and a FLATTEN before it. */
DT_MUST_CHECK dt_status dt_program_add_linear(dt_graph *g, const dt_program_reals *r, int x, int *y);

/* Adds a node that has no parameters (RELU, CLIP, MAXPOOL, AVGPOOL, ADD, TRANSPOSE), or whose parameters are among `in`
 * already. It gets the layer's name if that is free; else that name with an addition, because one max-pool may become
 * several.
 */
DT_MUST_CHECK dt_status dt_program_add_plain(dt_graph *g, dt_op_kind kind, const char *name, const void *params,
                                             const int *in, int *y);

/* Returns the name of the model's layer that a node computes; for a THRESHOLD that is the name of its convolution, such
 * as "features.30". It is valid until the thread's next call. */
const char *dt_program_layer_name(const dt_program *p, const dt_graph_node *n);

#endif /* DT_PROGRAM_BUILD_H */
