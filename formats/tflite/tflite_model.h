/*
 * tflite_model.h - TensorFlow Lite files wherever checkpoints and programs are taken: a float file is a model, an int8
 *                  file a program.
 */
#ifndef DT_TFLITE_MODEL_H
#define DT_TFLITE_MODEL_H

#include "../../quant/program/program.h"

/* What dt_file_format says of files that compute on reals, and on integers. */
#define DT_TFLITE_FORMAT         "tflite"
#define DT_TFLITE_INTEGER_FORMAT "tflite-integer"

/* Returns 1 if the file can be read and has TensorFlow Lite's identifier. */
int dt_tflite_is_file(const char *path);
/* Sets *is_integer to 1 if the network of such a file computes on integers. DT_ERR_FORMAT: it is damaged. */
DT_MUST_CHECK dt_status dt_tflite_kind(const char *path, int *is_integer);
/* Makes a model of a float file. DT_ERR_UNSUPPORTED: it computes on integers. */
DT_MUST_CHECK dt_status dt_tflite_model(dt_context *ctx, const char *path, dt_model **out);
/* Makes a program of an int8 file; its profile is litert-ref. DT_ERR_UNSUPPORTED: it computes on reals. */
DT_MUST_CHECK dt_status dt_tflite_program(const char *path, dt_program **out);

#endif /* DT_TFLITE_MODEL_H */
