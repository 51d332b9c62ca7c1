/*
 * fixed_formats.h - which tensors of a capsule network Q-CapsNets rounds, and how: read by the pass that puts
 * FIXED_POINT nodes into its graph, filled by calibration (qcaps.c), stored in checkpoints.
 *
 * A layer (a child of the network) has word lengths for its weights, its activations and its routing; each of its
 * tensors has a scale of its own, the largest magnitude seen in calibration.
 */
#ifndef DT_FIXED_FORMATS_H
#define DT_FIXED_FORMATS_H

#include "../../core/train/model.h"

/* Calibration takes what is below for 0: from here on, the steps of 32 bits are no subnormal numbers. */
#define DT_FIXED_LEAST_SCALE 0x1p-95f

/* Which of its layer's word lengths a tensor has. OUTPUT and INNER have that of activations; a layer's outputs are what
 * its activations are counted by. */
typedef enum { DT_FIXED_WEIGHT, DT_FIXED_OUTPUT, DT_FIXED_INNER, DT_FIXED_ROUTING } dt_fixed_kind;

typedef struct {
    /* A parameter's, "block1.l1.conv.weight", or "digit.votes", "digit.s2": of the second iteration. */
    char name[DT_NAME_MAX + 8];
    int layer;
    dt_fixed_kind kind;
    float scale; /* >= DT_FIXED_LEAST_SCALE */
} dt_fixed_tensor;

typedef struct {
    int observe; /* 1: calibration: FIXED_POINT nodes look, and round nothing */
    dt_rounding rounding;
    int published;
    dt_qcaps_bits bits;
    dt_fixed_tensor *tensor;
    int n, room;
    /* Of each layer but the last: the value of the model's graph that is all that later layers read. */
    int end[DT_QCAPS_LAYERS];
    int n_layers;
    dt_graph *plain; /* the network of real values, of which every choice of bits is made; owned */
} dt_fixed_formats;

void dt_fixed_formats_destroy(void *formats);

/* Those of m, or NULL. */
dt_fixed_formats *dt_fixed_formats_of(const dt_model *m);

/* A model of the network g of real values, with formats. It takes over both, whatever happens. */
DT_MUST_CHECK dt_status dt_fixed_model_open(dt_context *ctx, dt_graph *g, dt_fixed_formats *formats, dt_model **out);

/* After a change of m's formats: its graph is made anew. */
DT_MUST_CHECK dt_status dt_fixed_model_update(dt_model *m);

/* The network f->plain with a FIXED_POINT node behind each tensor that is rounded, and the formats of what CAPS_ROUTE
 * rounds inside; tensors of an observer enter f. Sets f's layers and their ends. insert_fixed.c says which tensors. */
DT_MUST_CHECK dt_status dt_fixed_insert(dt_fixed_formats *f, dt_graph **out);

/* Index of the tensor, or -1. */
int dt_fixed_find(const dt_fixed_formats *f, const char *name);

/* The tensor's format; while observing it is entered if it is new, and left as it is (bits < 0). Else
 * DT_ERR_RANGE if there is none of that name, layer and kind. */
DT_MUST_CHECK dt_status dt_fixed_format_of(dt_fixed_formats *f, const char *name, int layer, dt_fixed_kind kind,
                                           dt_fixed_format *out);

/* Psums of `terms` products of activations and weights in these two layers' formats are below 2^24, exact on every
 * backend in any order: then they are convolved as codes. */
int dt_fixed_exact(const dt_fixed_formats *f, int activation_layer, int weight_layer, int64_t terms);

#endif /* DT_FIXED_FORMATS_H */
