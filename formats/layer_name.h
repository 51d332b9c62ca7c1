/*
 * layer_name.h - names of layers that other formats give, made fit for a graph.
 *
 * Used by: tflite/tflite_import.c, onnx/onnx_names.c.
 */
#ifndef DT_LAYER_NAME_H
#define DT_LAYER_NAME_H

#include <stddef.h>

#include "../core/graph/graph.h"

/* Copies n characters; what is no letter, digit, '_', '-' or '.' becomes '_', and a '/' becomes `slash`. */
void dt_layer_name_copy(char *to, size_t room, const char *from, size_t n, char slash);
/* Writes `base` to name, of `bytes` bytes; with a number behind it, where a value of the graph has that name or is
 * called after it. */
void dt_layer_name(const dt_graph *g, const char *base, char *name, size_t bytes);

#endif /* DT_LAYER_NAME_H */
