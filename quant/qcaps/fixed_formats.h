/*
 * fixed_formats.h - which tensors of a capsule network Q-CapsNets rounds, and how. Calibration fills the formats
 *                   (qcaps.c), the pass that puts FIXED_POINT nodes into the graph reads them, and checkpoints store
 *                   them.
 *
 * A layer, as Q-CapsNets counts them, has word lengths for its weights, its activations and its routing. Each of its
 * tensors has a scale of its own: the largest magnitude that calibration saw.
 */
#ifndef DT_FIXED_FORMATS_H
#define DT_FIXED_FORMATS_H

#include "../../core/train/model.h"

/* Calibration takes a smaller scale for 0. With this one, the steps of 32 bits are still no subnormal numbers. */
#define DT_FIXED_LEAST_SCALE 0x1p-95f

/* Which of its layer's word lengths a tensor has. OUTPUT and INNER have that of activations; those of OUTPUT alone are
 * counted as the layer's activations. */
typedef enum { DT_FIXED_WEIGHT, DT_FIXED_OUTPUT, DT_FIXED_INNER, DT_FIXED_ROUTING } dt_fixed_kind;

typedef struct {
    /* A parameter's name, such as "block1.l1.conv.weight", or such as "digit.votes", "digit.s2" (second iteration). */
    char name[DT_NAME_MAX + 8];
    int layer;
    dt_fixed_kind kind;
    float scale; /* >= DT_FIXED_LEAST_SCALE */
} dt_fixed_tensor;

typedef struct {
    int observe; /* 1: in calibration, FIXED_POINT nodes observe and round nothing */
    dt_rounding rounding;
    int published;
    dt_qcaps_bits bits;
    dt_fixed_tensor *tensor; /* [n] */
    int n, room;
    /* For each layer but the last: the one value of the model's graph that all later layers depend on. */
    int end[DT_QCAPS_LAYERS];
    int n_layers;
    dt_graph *plain; /* owned; the network of real values, of which the graph for each choice of bits is made */
} dt_fixed_formats;

void dt_fixed_formats_destroy(void *formats);

/* Returns the formats of m, or NULL if it has none. */
dt_fixed_formats *dt_fixed_formats_of(const dt_model *m);

/* Makes a model of the network g of real values, with formats. It takes over both, even if it fails. */
DT_MUST_CHECK dt_status dt_fixed_model_open(dt_context *ctx, dt_graph *g, dt_fixed_formats *formats, dt_model **out);

/* Makes m's graph anew, after its formats have changed. */
DT_MUST_CHECK dt_status dt_fixed_model_update(dt_model *m);

/* Makes a copy of f->plain with a FIXED_POINT node behind each tensor that is rounded, and with the formats of what
 * CAPS_ROUTE rounds inside. If f observes, it adds new tensors to f. It sets f's n_layers and end. insert_fixed.c says
 * which tensors are rounded. */
DT_MUST_CHECK dt_status dt_fixed_insert(dt_fixed_formats *f, dt_graph **out);

/* Index of the tensor of that name, or -1 if there is none. */
int dt_fixed_find(const dt_fixed_formats *f, const char *name);

/* Sets *out to the tensor's format. If f observes, a new tensor is added, and the format rounds nothing (bits < 0).
 * DT_ERR_RANGE: f has no tensor of that name, or it has another layer or kind. */
DT_MUST_CHECK dt_status dt_fixed_format_of(dt_fixed_formats *f, const char *name, int layer, dt_fixed_kind kind,
                                           dt_fixed_format *out);

/* Returns 1 if psums of `terms` products of activations and weights, in the formats of these two layers, are below
 * 2^24, and so exact on every backend in any order. Then codes are convolved instead of real values. */
int dt_fixed_exact(const dt_fixed_formats *f, int activation_layer, int weight_layer, int64_t terms);

#endif /* DT_FIXED_FORMATS_H */
