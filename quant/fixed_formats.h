/*
 * fixed_formats.h - which tensors of a capsule network Q-CapsNets rounds, and how: read by the network's record
 *                   function, filled by calibration (qcaps.c), stored in checkpoints.
 *
 * A layer (a child of the network) has word lengths for its weights, its activations and its routing; each of its
 * tensors has a scale of its own, the largest magnitude seen in calibration.
 */
#ifndef DT_FIXED_FORMATS_H
#define DT_FIXED_FORMATS_H

#include "../core/model.h"

/* Calibration takes what is below for 0: from here on, the steps of 32 bits are no subnormal numbers. */
#define DT_FIXED_LEAST_SCALE 0x1p-95f

/* Which of its layer's word lengths a tensor has. OUTPUT and INNER have that of activations; a layer's outputs are what
 * its activations are counted by. */
typedef enum { DT_FIXED_WEIGHT, DT_FIXED_OUTPUT, DT_FIXED_INNER, DT_FIXED_ROUTING } dt_fixed_kind;

typedef struct {
    char name[64]; /* a parameter's, "block1.l1.conv.weight", or "digit.votes", "digit.s2" (second iteration) */
    int layer;
    dt_fixed_kind kind;
    float scale; /* >= DT_FIXED_LEAST_SCALE */
} dt_fixed_tensor;

typedef struct {
    int observe; /* 1: calibration: recording enters tensors, and rounds none */
    dt_rounding rounding;
    int published;
    dt_qcaps_bits bits;
    dt_fixed_tensor *tensor;
    int n, room;
    /* The end of each layer but the last: the node whose output is all that later layers read. Recording sets it. */
    char end[DT_QCAPS_LAYERS][64];
    /* Layers before this one are not recorded: x is taken from rows, f32 n,..: what the last of them gave. */
    int first_layer;
    dt_tensor *rows; /* device */
} dt_fixed_formats;

void dt_fixed_formats_destroy(void *formats);

/* What m records with, or NULL. */
dt_fixed_formats *dt_fixed_formats_of(const dt_model *m);

/* A network of models/ that records with formats, which it takes over, whatever happens. */
DT_MUST_CHECK dt_status dt_fixed_model_open(dt_context *ctx, const dt_model_config *cfg, dt_fixed_formats *formats,
                                            dt_model **out);

/* Index of the tensor, or -1. */
int dt_fixed_find(const dt_fixed_formats *f, const char *name);

/* The tensor's format; while observing it is entered if it is new, and left as it is (bits < 0). Else
 * DT_ERR_RANGE if there is none of that name, layer and kind. */
DT_MUST_CHECK dt_status dt_fixed_format_of(dt_fixed_formats *f, const char *name, int layer, dt_fixed_kind kind,
                                           dt_fixed_format *out);

/* Psums of `terms` products of activations and weights in these two layers' formats are below 2^24, exact on every
 * backend in any order: then they are convolved as codes. */
int dt_fixed_exact(const dt_fixed_formats *f, int activation_layer, int weight_layer, int64_t terms);

/* From now on m records from `layer` on, with rows (f32 n,.., device) for what the layer before it gives; 0: from the
 * image on. */
void dt_fixed_start_at(dt_model *m, int layer, dt_tensor *rows);

#endif /* DT_FIXED_FORMATS_H */
