/*
 * onnx_fold.h - what the files share that compute with constants.
 */
#ifndef DT_ONNX_FOLD_H
#define DT_ONNX_FOLD_H

#include "onnx_layers.h"

/* Adds a constant with room for its numbers, which is the output. *data is that room. */
DT_MUST_CHECK dt_status dt_onnx_make(dt_onnx_import *imp, const dt_onnx_node *n, int type, int n_dims,
                                     const int64_t *dim, void **data);
/* Sets *t to the constant of input k, which is given and no codes. */
DT_MUST_CHECK dt_status dt_onnx_operand(const dt_onnx_import *imp, const dt_onnx_node *n, int k,
                                        const dt_onnx_tensor **t);

/* Elements start + sum of i[k] step[k], for all i[k] < dim[k], in order. */
typedef struct {
    int n_dims;
    int64_t dim[DT_ONNX_MAX_DIMS], step[DT_ONNX_MAX_DIMS], start;
} dt_onnx_walk;

/* Returns the element that comes i-th, and how many there are. */
int64_t dt_onnx_walk_at(const dt_onnx_walk *w, int64_t i);
int64_t dt_onnx_walk_count(const dt_onnx_walk *w);
/* Returns the distance of an axis's elements. */
int64_t dt_onnx_distance(const dt_onnx_tensor *t, int axis);

/* In onnx_fold_move.c. */
DT_MUST_CHECK dt_status dt_onnx_fold_transpose(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_fold_slice(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_fold_gather(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_fold_concat(dt_onnx_import *imp, const dt_onnx_node *n);

/* In onnx_fold_numbers.c. */
DT_MUST_CHECK dt_status dt_onnx_fold_cast(dt_onnx_import *imp, const dt_onnx_node *n);
DT_MUST_CHECK dt_status dt_onnx_fold_arithmetic(dt_onnx_import *imp, const dt_onnx_node *n);

#endif /* DT_ONNX_FOLD_H */
