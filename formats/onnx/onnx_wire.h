/*
 * onnx_wire.h - reads messages of protobuf without trusting them.
 *
 *   message  fields one after another, each: varint of 8 number + wire type | value
 *   value    varint (0) | 8 bytes (1) | varint of a length, and so many bytes (2) | 4 bytes (5), little-endian
 *
 * A varint has 7 bits in a byte, the lowest first, and at most 10 bytes. The bytes of wire type 2 are text, numbers
 * packed side by side, or a message. Every length is compared with what is left of the message around it, before
 * anything is read or made. The caller walks from message to message, as deep as its schema is.
 *
 * Source: the description of the encoding at protobuf.dev.
 * Used by: onnx_read.c.  Tests: tests/formats/test_onnx.c, tests/fuzz/fuzz_onnx.c.
 */
#ifndef DT_ONNX_WIRE_H
#define DT_ONNX_WIRE_H

#include "onnx_source.h"

typedef enum { DT_WIRE_VARINT, DT_WIRE_8, DT_WIRE_BYTES, DT_WIRE_4 = 5 } dt_wire;

/* A message, of which the bytes at .. end - 1 are still to be read. */
typedef struct {
    dt_onnx_source *source;
    const char *what; /* for messages, such as "TensorProto" */
    uint64_t at, end;
} dt_onnx_message;

typedef struct {
    int number;
    dt_wire wire;
    uint64_t value;     /* of a varint, or of 4 or 8 bytes */
    uint64_t at, bytes; /* of wire type 2 */
} dt_onnx_field;

/* Raises a failure that names the file, the message and the byte. */
#define DT_WIRE_CHECK(cond, m, fmt, ...)                                                         \
    DT_CHECK(cond, DT_ERR_FORMAT, "%s: %s before byte %llu: " fmt, (m)->source->path, (m)->what, \
             (unsigned long long)(m)->at, __VA_ARGS__)

/* Reads the next field. *is_there is 0 at the end of the message. Errors are DT_ERR_FORMAT, or DT_ERR_IO. */
DT_MUST_CHECK dt_status dt_onnx_next(dt_onnx_message *m, dt_onnx_field *f, int *is_there);
/* Reads a varint from the message's bytes: packed numbers. */
DT_MUST_CHECK dt_status dt_onnx_varint(dt_onnx_message *m, uint64_t *out);

/* Sets *child to the message that a field has. */
DT_MUST_CHECK dt_status dt_onnx_child(const dt_onnx_message *m, const dt_onnx_field *f, const char *what,
                                      dt_onnx_message *child);
/* Checks that a field is a number, and within low .. high. */
DT_MUST_CHECK dt_status dt_onnx_integer(const dt_onnx_message *m, const dt_onnx_field *f, int64_t low, int64_t high,
                                        int64_t *out);
/* Reads a float. */
DT_MUST_CHECK dt_status dt_onnx_real(const dt_onnx_message *m, const dt_onnx_field *f, float *out);
/* Copies a text, which replaces *out. A NUL inside, or more than DT_ONNX_TEXT bytes, are refused. */
DT_MUST_CHECK dt_status dt_onnx_text(const dt_onnx_message *m, const dt_onnx_field *f, char **out);

enum { DT_ONNX_TEXT = 4096 };

#endif /* DT_ONNX_WIRE_H */
