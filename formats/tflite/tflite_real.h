/*
 * tflite_real.h - an operator of a file of reals, and its constants: filters, real or codes, and biases.
 *
 * Tests: tests/formats/test_tflite_export_float.c.
 */
#ifndef DT_TFLITE_REAL_H
#define DT_TFLITE_REAL_H

#include "tflite_build.h"

/* An operator to be added. */
typedef struct {
    const dt_graph_node *node; /* which has its parameters */
    const dt_graph_node *bias; /* the BIAS that became a part of it, or NULL */
    int out;                   /* the value that it makes, behind an activation */
    char name[DT_NAME_MAX + 1];
    dt_tflite_code code;
    int version; /* 0: the first */
    int in[DT_MAX_IN], n_in, is_flat;
    dt_tflite_options options;
} dt_tflite_real_op;

/* Sets *out to the data of a parameter, which node n reads. DT_ERR_UNSUPPORTED: it has none, or no f32. */
DT_MUST_CHECK dt_status dt_tflite_find_reals(const dt_tflite_export *e, const dt_graph_node *n, int value,
                                             const float **out);
/* Adds the constant NAME and `part` of n reals. */
DT_MUST_CHECK dt_status dt_tflite_add_reals(dt_tflite_export *e, const char *name, const char *part, const float *data,
                                            int64_t n, int *out);
/* Adds the bias of an operator: the numbers of a parameter, or zeros if param is -1. */
DT_MUST_CHECK dt_status dt_tflite_add_real_bias(dt_tflite_export *e, const dt_tflite_real_op *o, int param,
                                                int64_t filters, int *out);
/* Adds the weights of a CONV2D or LINEAR in the order of its operator: reals, or the codes of dynamic ranges. */
DT_MUST_CHECK dt_status dt_tflite_add_real_weights(dt_tflite_export *e, const dt_tflite_real_op *o, int *out);

#endif /* DT_TFLITE_REAL_H */
