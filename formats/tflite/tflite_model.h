/*
 * tflite_model.h - TensorFlow Lite files as those that formats/exchange.h lists: a float file is a model, an int8 file
 *                  a program.
 */
#ifndef DT_TFLITE_MODEL_H
#define DT_TFLITE_MODEL_H

#include "../exchange.h"

/* Returns 1 if the file can be read and has TensorFlow Lite's identifier. */
int dt_tflite_is_file(const char *path);
/* Sets *is_integer to 1 if the network of such a file computes on integers. DT_ERR_FORMAT: it is damaged. */
DT_MUST_CHECK dt_status dt_tflite_kind(const char *path, int *is_integer);
/* Makes the network of such a file, which says nothing of its images. One of integers stays one, whatever as_network is.
 */
DT_MUST_CHECK dt_status dt_tflite_file_graph(const char *path, int as_network, dt_exchange_network *out);

#endif /* DT_TFLITE_MODEL_H */
