/*
 * tflite_layers.h - what the import of float files and that of integer files share: a tensor's value in the graph,
 *                   names, parameters, and the geometry of windows.
 */
#ifndef DT_TFLITE_LAYERS_H
#define DT_TFLITE_LAYERS_H

#include "../../core/graph/graph.h"
#include "tflite.h"

enum { DT_TFLITE_NAME = 128 /* bytes of a name that is made, its end included */ };

/* An import that is under way. */
typedef struct {
    const dt_tflite *m;
    const char *path;
    char name[DT_TFLITE_NAME]; /* of the layer that the operator in turn makes: NAME, which no value had before it */
    dt_graph *graph;
    int *value;  /* [n_tensors] the graph's value for a tensor; -1: none yet. A tensor of two dimensions may stand as a
                    map, H,W,C in this order */
    int *flat;   /* [n_tensors] the same value behind a FLATTEN; -1: none yet */
    int *padded; /* [n_tensors] index of the PAD that a tensor still lacks; -1: it is whole */
    int *scale;  /* [n_tensors] the parameter that holds a tensor's scale, in an integer graph; -1: none yet */
} dt_tflite_import;

/* A kind of operator, and the function that adds its part of the graph. */
typedef struct {
    dt_tflite_code code;
    dt_status (*add)(dt_tflite_import *imp, const dt_tflite_operator *o);
} dt_tflite_row;

/* Calls the row of an operator's kind. An operator without one is refused, on such numbers: reals or codes. */
DT_MUST_CHECK dt_status dt_tflite_call(dt_tflite_import *imp, const dt_tflite_operator *o, const dt_tflite_row *row,
                                       size_t n, const char *numbers);

/* Raises a failure that names file, operator and its output. */
#define DT_TFLITE_CHECK(cond, status, imp, o, fmt, ...)                                            \
    DT_CHECK(cond, status, "%s: %s '%.80s': " fmt, (imp)->path, dt_tflite_op_name((int)(o)->code), \
             (imp)->m->tensor[(o)->out].name, __VA_ARGS__)

/* Adds the part of the graph that an operator of a float file makes. In tflite_float.c. */
DT_MUST_CHECK dt_status dt_tflite_add_float(dt_tflite_import *imp, const dt_tflite_operator *o);
/* The same for an integer file. dt_tflite_begin_integer makes codes of the image where the file takes codes, and
 * dt_tflite_end_integer makes reals of the scores where it gives codes. In tflite_integer.c. */
DT_MUST_CHECK dt_status dt_tflite_begin_integer(dt_tflite_import *imp);
DT_MUST_CHECK dt_status dt_tflite_add_integer(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_end_integer(dt_tflite_import *imp);

/* Returns the tensor that is input k, or NULL if that is not given. */
const dt_tflite_tensor *dt_tflite_in(const dt_tflite_import *imp, const dt_tflite_operator *o, int k);
const dt_tflite_tensor *dt_tflite_out(const dt_tflite_import *imp, const dt_tflite_operator *o);

/* Sets *value to the value of input k: flat if its tensor has two dimensions, else a map. A constant is refused, and a
 * tensor that lacks its PAD. */
DT_MUST_CHECK dt_status dt_tflite_input(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value);
/* Sets *value to the value of input k as it is, with a PAD or without. */
DT_MUST_CHECK dt_status dt_tflite_map(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value);
/* Makes `value` that of the operator's output, whose shape it must have. */
DT_MUST_CHECK dt_status dt_tflite_output(dt_tflite_import *imp, const dt_tflite_operator *o, int value);
/* Sets *value to a FLATTEN of a tensor's value. */
DT_MUST_CHECK dt_status dt_tflite_flatten(dt_tflite_import *imp, int tensor, int *value);

/* Adds a node of the name NAME and `part` that reads n values. */
DT_MUST_CHECK dt_status dt_tflite_node(dt_tflite_import *imp, dt_op_kind kind, const char *part, const void *params,
                                       const int *in, int n, int *out);

/* Adds a parameter of the name NAME and `part`, which the graph does not have yet. data comes from malloc and has as
 * many numbers of `type` as the shape has elements. It is taken over, even if this fails; NULL stands for a malloc that
 * failed. */
DT_MUST_CHECK dt_status dt_tflite_add_param(dt_tflite_import *imp, const char *part, const dt_param_spec *spec,
                                            dt_dtype type, void *data, int *out);

/* Returns a copy of a constant's data, or NULL if there is no memory. */
void *dt_tflite_copy(const dt_tflite_tensor *t);
/* Returns the filters of a convolution in the order K,R,S,C/groups, or NULL if there is no memory. */
void *dt_tflite_filters(const dt_tflite_import *imp, const dt_tflite_operator *o);

/* Checks that the filters of a layer are int8 codes around 0, with one scale, or one for each of n filters along
 * `axis`. */
DT_MUST_CHECK dt_status dt_tflite_check_filters(const dt_tflite_import *imp, const dt_tflite_operator *o, int axis,
                                                int64_t n);
/* Returns the range of such codes: low is -128 where a weight has that code, which converters leave out, else -127. */
dt_codes_params dt_tflite_weight_range(const dt_tflite_tensor *w);
/* Returns a copy of a tensor's scales, or NULL if there is no memory. */
float *dt_tflite_copy_scales(const dt_tflite_tensor *w);

/* Sets *before and *after to the cells that SAME adds to an axis of that size, for a window that spans `span` cells. */
void dt_tflite_same_pads(int64_t size, int64_t span, int stride, int *before, int *after);

/* Sets *params to those of a convolution whose filters are `filter`, with the pads that the padding stands for, and
 * *shape to that of the filters, K,R,S,C/groups. x is the value that it reads. */
DT_MUST_CHECK dt_status dt_tflite_window(const dt_tflite_import *imp, const dt_tflite_operator *o, int x,
                                         dt_conv_params *params, dt_shape *shape);
/* Sets *params to those of a pool that reads the value x. */
DT_MUST_CHECK dt_status dt_tflite_pool(const dt_tflite_import *imp, const dt_tflite_operator *o, int x,
                                       dt_pool_params *params);
/* Checks that a MEAN is over H and W of a map. */
DT_MUST_CHECK dt_status dt_tflite_check_mean(const dt_tflite_import *imp, const dt_tflite_operator *o);
/* Returns the map that stands for a tensor: its last two dimensions are columns and channels, and all before them rows.
 */
dt_shape dt_tflite_map_shape(const dt_tflite_tensor *t);
/* Gives a value the shape of a map, by a TRANSPOSE NAME and `part` that exchanges nothing, unless it has it. */
DT_MUST_CHECK dt_status dt_tflite_as_shape(dt_tflite_import *imp, const char *part, const dt_shape *map, int *value);
/* Makes the value x, in the shape of the output, that of the output. */
DT_MUST_CHECK dt_status dt_tflite_reshape(dt_tflite_import *imp, const dt_tflite_operator *o, int x);
/* Adds a TRANSPOSE, of reals or codes. In tflite_matrix.c, as the next. */
DT_MUST_CHECK dt_status dt_tflite_add_transpose(dt_tflite_import *imp, const dt_tflite_operator *o);
/* Adds a BATCH_MATMUL of codes. */
DT_MUST_CHECK dt_status dt_tflite_add_matmul(dt_tflite_import *imp, const dt_tflite_operator *o);
/* Adds what a PAD makes, which is no node, and a RESHAPE or a SQUEEZE, which is one where the map's sides change. */
DT_MUST_CHECK dt_status dt_tflite_add_pad(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_add_reshape(dt_tflite_import *imp, const dt_tflite_operator *o);
/* Sets *axis to that of a CONCATENATION, 1 or more. */
DT_MUST_CHECK dt_status dt_tflite_concat_axis(const dt_tflite_import *imp, const dt_tflite_operator *o, int *axis);

#endif /* DT_TFLITE_LAYERS_H */
