/*
 * tflite_build.h - the description that an export fills, and the tensors that stand for the values of a program or of
 *                  a network of reals.
 */
#ifndef DT_TFLITE_BUILD_H
#define DT_TFLITE_BUILD_H

#include "tflite_export.h"

/* Tensors and operators that one node makes at most. */
enum { DT_TFLITE_TENSORS_EACH = 12, DT_TFLITE_OPS_EACH = 6 };

/* An export that is under way. */
typedef struct {
    const dt_program *p; /* NULL: the file computes on reals */
    const dt_graph *g;
    dt_tflite_io io;
    dt_tflite *m;  /* has room for all that its nodes may make */
    int *map;      /* [n_values] the tensor of a value with the dimensions 1,H,W,C; -1: none yet */
    int *flat;     /* [n_values] the same of 1,C; -1: none yet */
    int32_t *zero; /* [n_values] the zero point of a value that has a tensor of codes */
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
/* Adds an operator that reads n tensors; options may be NULL. Its version is that which int8 needs, or 1. */
DT_MUST_CHECK dt_status dt_tflite_add_op(dt_tflite_export *e, dt_tflite_code code, const int *in, int n, int out,
                                         const dt_tflite_options *options);

/* Adds the tensor of a value, flat or as a map, under the name NAME and `part`. The zero point of codes is in e->zero.
 */
DT_MUST_CHECK dt_status dt_tflite_add_named(dt_tflite_export *e, int value, const char *name, const char *part,
                                            int is_flat, int *out);
/* The same under the name of the value's layer. */
DT_MUST_CHECK dt_status dt_tflite_add_value(dt_tflite_export *e, int value, int is_flat, int *out);
/* Returns 1 if a value that has a tensor is flat in the file. */
int dt_tflite_is_flat(const dt_tflite_export *e, int value);
/* Sets *tensor to that of a value, which node n reads, as a map, or flat. It adds a RESHAPE where there is only the
 * other. */
DT_MUST_CHECK dt_status dt_tflite_as_form(dt_tflite_export *e, const dt_graph_node *n, int value, int is_flat,
                                          int *tensor);
DT_MUST_CHECK dt_status dt_tflite_as_map(dt_tflite_export *e, const dt_graph_node *n, int value, int *tensor);
DT_MUST_CHECK dt_status dt_tflite_as_flat(dt_tflite_export *e, const dt_graph_node *n, int value, int *tensor);

/* Adds a RESHAPE of one tensor that makes another. */
DT_MUST_CHECK dt_status dt_tflite_add_reshape_op(dt_tflite_export *e, int from, int to);

/* Sets the zero point of the node's value, and *fused to the activation that leaves its range of codes; can_fuse 0:
 * none does. */
DT_MUST_CHECK dt_status dt_tflite_set_zero(dt_tflite_export *e, const dt_graph_node *n, int zero, int can_fuse,
                                           int *fused);

/* ---- maps: tflite_export_maps.c ---- */

/* Returns 1 if each channel of a convolution is a group. */
int dt_tflite_is_depthwise(const dt_graph_node *conv, const dt_shape *filters);
/* Sets the options of a convolution whose filters are K,R,S,C/groups, and adds a PAD before it where it needs one. *x
 * is the map that it reads. */
DT_MUST_CHECK dt_status dt_tflite_set_window(dt_tflite_export *e, const dt_graph_node *conv, const dt_shape *filters,
                                             dt_tflite_options *o, int *x);
/* Returns filters [filters][taps] as [taps][filters], or NULL if there is no memory. `each` is the bytes of one. */
void *dt_tflite_taps_first(const void *w, int64_t filters, int64_t taps, size_t each);
/* Sets the options of a MAXPOOL, AVGPOOL or QAVGPOOL. */
DT_MUST_CHECK dt_status dt_tflite_set_pool(const dt_tflite_export *e, const dt_graph_node *n, dt_tflite_options *o);
/* Adds a MEAN over the map that an AVGPOOL reads; `out` is the tensor of the sums or means. */
DT_MUST_CHECK dt_status dt_tflite_add_mean(dt_tflite_export *e, const dt_graph_node *pool, int keep_dims, int out);

/* Adds what a TRANSPOSE of codes or reals makes. */
DT_MUST_CHECK dt_status dt_tflite_export_transpose(dt_tflite_export *e, const dt_graph_node *n);

/* Adds what a node of a program makes. In tflite_export_layers.c. */
DT_MUST_CHECK dt_status dt_tflite_export_node(dt_tflite_export *e, const dt_graph_node *n);
/* Adds what a node of a network of reals makes. In tflite_export_float.c. */
DT_MUST_CHECK dt_status dt_tflite_export_real(dt_tflite_export *e, const dt_graph_node *n);

#endif /* DT_TFLITE_BUILD_H */
