/*
 * onnx_read.h - what the readers of messages share: the file under way, and constants.
 */
#ifndef DT_ONNX_READ_H
#define DT_ONNX_READ_H

#include "onnx.h"
#include "onnx_wire.h"

/* Reads a TensorProto into the constant t. *name is its name, from malloc, or stays NULL. In onnx_read_tensor.c. */
DT_MUST_CHECK dt_status dt_onnx_read_tensor(dt_onnx *file, dt_onnx_message *m, dt_onnx_tensor *t, char **name);

/* Numbers that grow. */
typedef struct {
    int64_t *number;
    int n;
} dt_onnx_numbers;

/* Appends the numbers of a field, one or packed, of which there may be `most`. */
DT_MUST_CHECK dt_status dt_onnx_append(const dt_onnx_message *m, const dt_onnx_field *f, dt_onnx_numbers *to, int most);

#endif /* DT_ONNX_READ_H */
