/*
 * onnx_model.h - ONNX files as those that formats/exchange.h lists.
 */
#ifndef DT_ONNX_MODEL_H
#define DT_ONNX_MODEL_H

#include "../../core/graph/graph.h"

/* 1 if a file that begins so is an ONNX model. */
int dt_onnx_is_head(const unsigned char *begin, size_t bytes);
/* Returns 1 if the file can be read, and begins as an ONNX model or is called so. */
int dt_onnx_is_file(const char *path);
/* Sets *is_integer to 1 if the network of such a file computes on integers. DT_ERR_FORMAT: it is damaged. */
DT_MUST_CHECK dt_status dt_onnx_kind(const char *path, int *is_integer);
/* Makes the graph of such a file. */
DT_MUST_CHECK dt_status dt_onnx_file_graph(const char *path, dt_graph **out, int *is_integer);

#endif /* DT_ONNX_MODEL_H */
