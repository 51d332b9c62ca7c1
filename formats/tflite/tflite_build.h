/*
 * tflite_build.h - the description that an export fills, and the tensors that stand for a program's values.
 */
#ifndef DT_TFLITE_BUILD_H
#define DT_TFLITE_BUILD_H

#include "tflite_export.h"

/* Tensors and operators that one node of a program makes at most. */
enum { DT_TFLITE_TENSORS_EACH = 12, DT_TFLITE_OPS_EACH = 6 };

/* An export that is under way. */
typedef struct {
    const dt_program *p;
    const dt_graph *g;
    dt_tflite_io io;
    dt_tflite *m;  /* has room for all that its program may make */
    int *map;      /* [n_values] the tensor of a value's codes with the dimensions 1,H,W,C; -1: none yet */
    int *flat;     /* [n_values] the same of 1,C; -1: none yet */
    int32_t *zero; /* [n_values] the zero point of a value that has a tensor */
} dt_tflite_export;

/* Raises a failure that names a node. */
#define DT_TFLITE_EXPECT(cond, e, n, fmt, ...)                                                                    \
    DT_CHECK(cond, DT_ERR_UNSUPPORTED, "%s (%s): " fmt, dt_graph_name((e)->g, (n)->out), dt_ops[(n)->kind]->name, \
             __VA_ARGS__)

/* A tensor to be added. name is copied, and so are data and scales. */
typedef struct {
    const char *name, *part; /* NAME and what follows it */
    dt_tflite_type type;
    int n_dims, dim[DT_TFLITE_MAX_DIMS];
    int any_batch;
    int n_scales, axis;
    const float *scale;
    int32_t zero;     /* of all scales */
    const void *data; /* NULL: it is computed */
} dt_tflite_new_tensor;

DT_MUST_CHECK dt_status dt_tflite_add_tensor(dt_tflite_export *e, const dt_tflite_new_tensor *t, int *out);
/* Adds an operator that reads n tensors; options may be NULL. Its version is that which int8 needs. */
DT_MUST_CHECK dt_status dt_tflite_add_op(dt_tflite_export *e, dt_tflite_code code, const int *in, int n, int out,
                                         const dt_tflite_options *options);

/* Adds the tensor of a value's codes, flat or as a map, whose zero point is in e->zero. */
DT_MUST_CHECK dt_status dt_tflite_add_value(dt_tflite_export *e, int value, int is_flat, int *out);
/* Sets *tensor to that of a value as a map, or flat. It adds a RESHAPE where there is only the other. */
DT_MUST_CHECK dt_status dt_tflite_as_map(dt_tflite_export *e, const dt_graph_node *n, int value, int *tensor);
DT_MUST_CHECK dt_status dt_tflite_as_flat(dt_tflite_export *e, const dt_graph_node *n, int value, int *tensor);

/* Sets the zero point of the node's value, and *fused to the activation that leaves its range of codes; can_fuse 0:
 * none does. */
DT_MUST_CHECK dt_status dt_tflite_set_zero(dt_tflite_export *e, const dt_graph_node *n, int zero, int can_fuse,
                                           int *fused);

/* Adds what a node makes. In tflite_export_layers.c. */
DT_MUST_CHECK dt_status dt_tflite_export_node(dt_tflite_export *e, const dt_graph_node *n);

#endif /* DT_TFLITE_BUILD_H */
