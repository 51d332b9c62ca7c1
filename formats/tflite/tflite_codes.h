/*
 * tflite_codes.h - what the import of integer files shares: scales, ranges, and what brings codes from one to another.
 */
#ifndef DT_TFLITE_CODES_H
#define DT_TFLITE_CODES_H

#include "tflite_layers.h"

enum { DT_TFLITE_CODES = 256 /* codes of 8 bits */ };

/* The profile of a graph that was just read. Who wants another engine's arithmetic changes it in the nodes. */
#define DT_TFLITE_PROFILE DT_PROFILE_LITERT_REF

/* Checks that a tensor has codes of 8 bits and one scale. */
DT_MUST_CHECK dt_status dt_tflite_check_codes(const dt_tflite_import *imp, const dt_tflite_operator *o,
                                              const dt_tflite_tensor *t);
/* Checks that the output's codes are those of input k: equal in scale and zero point. */
DT_MUST_CHECK dt_status dt_tflite_check_same(const dt_tflite_import *imp, const dt_tflite_operator *o, int k);
/* Checks that the last axis of a flat input is that of the map, the value x, that it stands as. */
DT_MUST_CHECK dt_status dt_tflite_check_last(const dt_tflite_import *imp, const dt_tflite_operator *o, int k, int x);
/* Returns the zero point of a tensor as an int8 file has it. */
int dt_tflite_zero(const dt_tflite_tensor *t);
/* Sets the range of a tensor's codes, after a fused activation. */
void dt_tflite_range(const dt_tflite_tensor *t, int fused, int *low, int *high);

/* Sets *value to the codes of input k, and *scale to the parameter of their scale. */
DT_MUST_CHECK dt_status dt_tflite_codes(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value,
                                        int *scale);

/* Adds a parameter NAME and `part` of the group STATE. data is taken over. */
DT_MUST_CHECK dt_status dt_tflite_add_state(dt_tflite_import *imp, const char *part, const dt_shape *shape,
                                            dt_dtype type, void *data, int *out);
/* Sets *scale to the parameter that holds a tensor's scale, which is NAME.act_scale unless there is one. */
DT_MUST_CHECK dt_status dt_tflite_add_scale(dt_tflite_import *imp, int tensor, int *scale);
/* Adds a REQUANTIZE NAME.act_quant, and makes it the output. in has x and the scale of x at 0 and 1, and from 3 on what
 * else it reads; n counts all. */
DT_MUST_CHECK dt_status dt_tflite_add_requantize(dt_tflite_import *imp, const dt_tflite_operator *o,
                                                 const dt_requantize_params *of, int *in, int n);

/* Operators that make no sums: codes of another scale (QUANTIZE, RELU, RELU6); what leaves codes as they are; PAD; and
 * the ends of a file. */
DT_MUST_CHECK dt_status dt_tflite_add_rescale(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_add_same(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_add_codes_transpose(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_add_codes_pad(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_add_quantize(dt_tflite_import *imp, const dt_tflite_operator *o);
DT_MUST_CHECK dt_status dt_tflite_add_dequantize(dt_tflite_import *imp, const dt_tflite_operator *o);

/* Returns the stored integer of a LOGISTIC or TANH of x, in steps of 1/256 from -128 or 1/128 from 0: rounded half to
 * even, and limited to int8. In tflite_integer.c. */
int dt_tflite_function(dt_tflite_code code, double x);

#endif /* DT_TFLITE_CODES_H */
