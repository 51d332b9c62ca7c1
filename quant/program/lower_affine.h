/*
 * lower_affine.h - the state of a lowering of affine quantizers: what each value of the model's graph holds.
 *
 * lower_affine.c walks the model's graph. lower_affine_codes.c adds the nodes that make codes under an engine's
 * profile, and lower_affine_exact.c those of the profile exact.
 */
#ifndef DT_LOWER_AFFINE_H
#define DT_LOWER_AFFINE_H

#include "../../core/arith/range.h"
#include "program_build.h"

typedef enum {
    DT_AFFINE_NOTHING, /* it has not been reached yet, or a program has no place for it */
    DT_AFFINE_IMAGE,   /* normalised pixels */
    DT_AFFINE_CODES,   /* the codes `value`, of `range` */
    DT_AFFINE_REALS,   /* values that an engine of integers does not have */
    /* what a RANGE_QUANT will make codes of */
    DT_AFFINE_SUM,     /* the psums `value` of the layer `node` */
    DT_AFFINE_ADD,     /* value + other, codes */
    DT_AFFINE_MUL,     /* value * other, codes */
    DT_AFFINE_AVERAGE, /* the AVGPOOL `node` of the codes `value`, of `range` */
    DT_AFFINE_SOFTMAX, /* of the codes `value` */
    DT_AFFINE_SIGMOID
} dt_affine_holds;

/* What a value of the model's graph holds. value and other are indices of the program's values. */
typedef struct {
    dt_affine_holds holds;
    const dt_graph_node *node;
    int value, other;
    int range;                 /* of codes: the model's parameter that is their range */
    int bias;                  /* SUM: the model's parameter that is added; -1: none */
    const dt_graph_node *norm; /* SUM: the model's batch norm of it, under the profile exact; NULL: none */
    int is_limited;            /* 1: a ReLU or clip has limited it to low..high since; 0: low and high are not read */
    float low, high;           /* real values */
} dt_affine_held;

typedef struct {
    dt_context *ctx;
    const dt_graph *from;     /* the model's */
    dt_tensor *const *tensor; /* for each value of the model: set for parameters and for the codes of weights */
    dt_affine_held *held;     /* for each value of the model */
    int *scale_of; /* for each value of the model, a range: the program's parameter with its scale; -1: none */
    dt_program *program;
    dt_profile profile;
} dt_affine_lowering;

/* A RANGE_QUANT at work. */
typedef struct {
    dt_affine_lowering *w;
    const dt_graph_node *node;
    const dt_affine_held *x; /* what it reads */
    dt_range_grid grid;
    int bits;
    int scale;                  /* the program's parameter that holds the scale */
    int low, high;              /* range of the codes, within what ReLUs and clips leave */
    char name[DT_NAME_MAX + 1]; /* of the layer or value that is quantized */
} dt_affine_quantizer;

/* Lowers one node of the model, whose inputs have been lowered. In lower_affine.c. */
DT_MUST_CHECK dt_status dt_lower_affine_node(dt_affine_lowering *w, const dt_graph_node *n);
/* Makes the scores of what the walk has left. In lower_affine.c. */
DT_MUST_CHECK dt_status dt_lower_affine_end(dt_affine_lowering *w);
/* Lowers a RANGE_QUANT. In lower_affine_codes.c. */
DT_MUST_CHECK dt_status dt_lower_range_quant(dt_affine_lowering *w, const dt_graph_node *n);

/* Adds the node of the profile exact that makes the codes *y of what the quantizer reads, but of an image. In
 * lower_affine_exact.c. */
DT_MUST_CHECK dt_status dt_lower_exact_codes(dt_affine_quantizer *q, int *y);

/* Adds the node that q's codes come from; its name is that of q and a suffix. In lower_affine_codes.c. */
DT_MUST_CHECK dt_status dt_affine_add_node(const dt_affine_quantizer *q, dt_op_kind kind, const void *params,
                                           const int *in, int n_in, int *y);
/* Adds a parameter NAME.part to a program, and takes over data. In lower_affine_codes.c. */
DT_MUST_CHECK dt_status dt_affine_add_param(dt_graph *g, const char *name, const char *part, const dt_shape *shape,
                                            dt_dtype type, void *data, int *out);
/* Adds the QADD or the QMUL of what q reads. In lower_affine_codes.c. */
DT_MUST_CHECK dt_status dt_affine_add_binary(dt_affine_quantizer *q, int *y);
/* Adds the QSOFTMAX of what q reads. In lower_affine_codes.c. */
DT_MUST_CHECK dt_status dt_affine_add_softmax(dt_affine_quantizer *q, int *y);
/* Returns the pool that q reads; a window that is the whole map has the map's size. In lower_affine_codes.c. */
dt_pool_params dt_affine_pool(const dt_affine_quantizer *q);

/* Copies the values of a parameter of the model to *out, which the caller frees. In lower_affine.c. */
DT_MUST_CHECK dt_status dt_affine_floats(const dt_affine_lowering *w, int value, float **out);

#endif /* DT_LOWER_AFFINE_H */
