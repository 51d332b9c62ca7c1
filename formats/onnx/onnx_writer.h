/*
 * onnx_writer.h - puts an ONNX file together: nodes, constants and ends of a network, in the order in which they are
 *                 given.
 *
 * Failures of memory are kept, and dt_onnx_write tells them, so that what puts a network together need not look.
 * Equal calls give equal bytes.
 *
 * Source: onnx/onnx.proto; the encoding of protobuf at protobuf.dev.
 * Used by: onnx_export.c.  Tests: tests/formats/test_onnx_export.c.
 */
#ifndef DT_ONNX_WRITER_H
#define DT_ONNX_WRITER_H

#include "detent/status.h"

#include <stddef.h>
#include <stdint.h>

enum { DT_ONNX_NODE_INPUTS = 8, DT_ONNX_NODE_ATTRIBUTES = 6, DT_ONNX_NEW_DIMS = 4 };
enum { DT_ONNX_OPSET_LEAST = 13, DT_ONNX_OPSET_MOST = 21 };

typedef struct {
    unsigned char *data; /* [room] */
    size_t n, room;
    int failed; /* 1: there was no memory for something */
} dt_onnx_bytes;

/* A network so far: the fields of its GraphProto, by kind. All zeros at first. */
typedef struct {
    dt_onnx_bytes nodes, tensors, ins, outs, notes;
    int has_quant; /* 1: some node is a Quant, whose definition the file then has */
} dt_onnx_writer;

/* The domain of Quant, the one operator of another domain. */
#define DT_ONNX_QONNX_DOMAIN "qonnx.custom_op.general"

/* An integer, some integers, a real, or a text. */
typedef struct {
    const char *name;
    const char *text;        /* NULL: it is none */
    const char *of_function; /* the attribute, an integer, of the function that the node stands in; NULL: none */
    const int64_t *integers; /* [n]; n 0: it is one number */
    int n;
    int is_real;
    int64_t integer;
    float real;
} dt_onnx_new_attribute;

typedef struct {
    const char *op;
    const char *domain; /* NULL: ONNX's own */
    const char *in[DT_ONNX_NODE_INPUTS];
    int n_in;
    const char *out; /* the name of the node, too */
    dt_onnx_new_attribute attribute[DT_ONNX_NODE_ATTRIBUTES];
    int n_attributes;
} dt_onnx_new_node;

typedef struct {
    const char *name;
    int type;   /* dt_onnx_type */
    int n_dims; /* 0: one number */
    int64_t dim[DT_ONNX_NEW_DIMS];
    const void *data;
} dt_onnx_new_tensor;

void dt_onnx_put_node(dt_onnx_writer *w, const dt_onnx_new_node *n);
void dt_onnx_put_tensor(dt_onnx_writer *w, const dt_onnx_new_tensor *t);
/* An end of the network, of f32. Its first dimension is the batch, of any size, and dim has the others. */
void dt_onnx_put_input(dt_onnx_writer *w, const char *name, int n_dims, const int64_t *dim);
void dt_onnx_put_output(dt_onnx_writer *w, const char *name, int n_dims, const int64_t *dim);
/* A line of metadata for people and programs. */
void dt_onnx_put_note(dt_onnx_writer *w, const char *key, const char *text);

/* Makes the file, or replaces it whole, as dt_file_replace does. DT_ERR_ARGUMENT: there is no such opset. */
DT_MUST_CHECK dt_status dt_onnx_write(const dt_onnx_writer *w, const char *name, int opset, const char *path);
void dt_onnx_writer_free(dt_onnx_writer *w);

#endif /* DT_ONNX_WRITER_H */
