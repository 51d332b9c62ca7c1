/*
 * tflite_model.h - TensorFlow Lite files as those that formats/exchange.h lists: a float file is a model, an int8 file
 *                  a program.
 */
#ifndef DT_TFLITE_MODEL_H
#define DT_TFLITE_MODEL_H

#include "../../core/graph/graph.h"

/* Returns 1 if the file can be read and has TensorFlow Lite's identifier. */
int dt_tflite_is_file(const char *path);
/* Sets *is_integer to 1 if the network of such a file computes on integers. DT_ERR_FORMAT: it is damaged. */
DT_MUST_CHECK dt_status dt_tflite_kind(const char *path, int *is_integer);
/* Makes the graph of such a file. */
DT_MUST_CHECK dt_status dt_tflite_file_graph(const char *path, dt_graph **out, int *is_integer);

#endif /* DT_TFLITE_MODEL_H */
