/*
 * onnx_model.h - ONNX files as those that formats/exchange.h lists.
 */
#ifndef DT_ONNX_MODEL_H
#define DT_ONNX_MODEL_H

#include "../exchange.h"

/* 1 if a file that begins so is an ONNX model. */
int dt_onnx_is_head(const unsigned char *begin, size_t bytes);
/* Returns 1 if the file can be read, and begins as an ONNX model or is called so. */
int dt_onnx_is_file(const char *path);
/* Sets *is_integer to 1 if the network of such a file computes on integers. DT_ERR_FORMAT: it is damaged. */
DT_MUST_CHECK dt_status dt_onnx_kind(const char *path, int *is_integer);
/* Makes the network of such a file. as_network: one of integers becomes one of reals with quantizers. */
DT_MUST_CHECK dt_status dt_onnx_file_graph(const char *path, int as_network, dt_exchange_network *out);

#endif /* DT_ONNX_MODEL_H */
