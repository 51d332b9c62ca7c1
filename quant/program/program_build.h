/*
 * program_build.h - adds the nodes of a program to its graph, each with its parameters, their names and their data.
 *
 * Arrays come from malloc, and each function takes over those that it gets, also when it fails; NULL stands for memory
 * that was not there. name: of the layer, as in the model that was lowered, "features.27".
 */
#ifndef DT_PROGRAM_BUILD_H
#define DT_PROGRAM_BUILD_H

#include "program.h"

/* A parameter of a layer, or a constant of a THRESHOLD. */
typedef struct {
    const char *name, *part; /* "features.27", ".weight" */
    dt_dtype type;
    dt_shape shape;
    void *data;
} dt_program_array;

DT_MUST_CHECK dt_status dt_program_param(dt_graph *g, const dt_program_array *a, int *out);
DT_MUST_CHECK dt_status dt_program_add_constant(dt_graph *g, const dt_program_array *a);
/* What dt_program_param says of a parameter of that shape: it is not trained. */
dt_param_spec dt_program_spec(const dt_shape *shape);

static inline dt_shape dt_vector(int64_t n)
{
    const dt_shape s = { 1, { n } };
    return s;
}

/* An array of one number; NULL without memory. */
float *dt_program_one(float v);

/* The pixels, u8 1,H,W,C, and their codes. */
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

DT_MUST_CHECK dt_status dt_program_add_conv(dt_graph *g, const dt_program_conv *c, int x, int *y);

typedef struct {
    const char *name; /* of the layer that reads the codes */
    int low, levels;
    int32_t *step;         /* [levels][C] */
    int8_t *sign;          /* [C] */
    float *scale;          /* [1]; NULL where the codes share the scale of others: */
    int shared;            /* the value of the program that holds it; 0, which is the image: none does */
    float *slope, *offset; /* [C] */
} dt_program_steps;

DT_MUST_CHECK dt_status dt_program_add_threshold(dt_graph *g, const dt_program_steps *s, int x, int *y);

typedef struct {
    int32_t *bits;       /* [1] */
    int32_t *multiplier; /* [C] */
    int64_t *offset;     /* [C] */
    int32_t *shift;      /* [C] */
} dt_program_multipliers;

DT_MUST_CHECK dt_status dt_program_add_multipliers(dt_graph *g, int threshold, const dt_program_multipliers *m);

/* factor: a slope a channel, or LINEAR's matrix; offset: one a channel. */
typedef struct {
    const char *name;
    int n; /* what it gives: channels */
    float *factor, *offset;
} dt_program_reals;

DT_MUST_CHECK dt_status dt_program_add_affine(dt_graph *g, const dt_program_reals *r, int x, int *y);
/* Quantizes reals. */
typedef struct {
    const char *name; /* of the layer that reads the codes */
    dt_act_quant_params params;
    float *alpha; /* [1]; NULL where the clip is that of others: */
    int shared;   /* as of a THRESHOLD's scale */
} dt_program_quantizer;

DT_MUST_CHECK dt_status dt_program_add_quantize(dt_graph *g, const dt_program_quantizer *q, int x, int *y);
/* Codes of one scale, n of them; named as RELU below. */
DT_MUST_CHECK dt_status dt_program_add_concat(dt_graph *g, const char *name, const dt_concat_params *params,
                                              const int *in, int n, int *y);
/* Reals as the scores. */
DT_MUST_CHECK dt_status dt_program_add_scores(dt_graph *g, int x);
/* With its FLATTEN. */
DT_MUST_CHECK dt_status dt_program_add_linear(dt_graph *g, const dt_program_reals *r, int x, int *y);

/* RELU, CLIP, MAXPOOL, AVGPOOL, ADD: of the layer's name if that is free, else of that and more, because one max-pool
 * may stand in several places. */
DT_MUST_CHECK dt_status dt_program_add_plain(dt_graph *g, dt_op_kind kind, const char *name, const void *params,
                                             const int *in, int *y);

/* The name of what a node computes in the model: that of a THRESHOLD is its convolution's, "features.30"; it lasts
 * until the next call of a thread. */
const char *dt_program_layer_name(const dt_program *p, const dt_graph_node *n);

#endif /* DT_PROGRAM_BUILD_H */
