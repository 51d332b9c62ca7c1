/*
 * onnx_case.h - ONNX files for tests, written message by message. There is room for small ones; running out of it
 *               aborts. It shares no code with the reader.
 */
#ifndef ONNX_CASE_H
#define ONNX_CASE_H

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ONNX_CASE_ROOM = 1 << 14 };

/* A message that grows. */
typedef struct {
    unsigned char data[ONNX_CASE_ROOM];
    size_t n;
} onnx_bytes;

static inline void onnx_put(onnx_bytes *b, const void *data, size_t n)
{
    if (n > sizeof b->data - b->n) abort();
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

static inline void onnx_varint(onnx_bytes *b, uint64_t value)
{
    do {
        const unsigned char byte = (unsigned char)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        onnx_put(b, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

static inline void onnx_int(onnx_bytes *b, int field, int64_t value)
{
    onnx_varint(b, (uint64_t)field << 3);
    onnx_varint(b, (uint64_t)value);
}

static inline void onnx_data(onnx_bytes *b, int field, const void *data, size_t n)
{
    onnx_varint(b, (uint64_t)field << 3 | 2);
    onnx_varint(b, n);
    onnx_put(b, data, n);
}

static inline void onnx_text(onnx_bytes *b, int field, const char *text)
{
    onnx_data(b, field, text, strlen(text));
}

static inline void onnx_message(onnx_bytes *b, int field, const onnx_bytes *child)
{
    onnx_data(b, field, child->data, child->n);
}

/* A TensorProto of a type, of dimensions that end with -1, and with raw bytes, or without if data is NULL. */
static inline void onnx_tensor(onnx_bytes *b, const char *name, int type, const int64_t *dim, const void *data,
                               size_t n)
{
    for (; *dim != -1; dim++) onnx_int(b, 1, *dim);
    onnx_int(b, 2, type);
    if (name) onnx_text(b, 8, name);
    if (data) onnx_data(b, 9, data, n);
}

/* Adds a constant to a graph. */
static inline void onnx_constant(onnx_bytes *graph, const char *name, int type, const int64_t *dim, const void *data,
                                 size_t n)
{
    onnx_bytes t = { .n = 0 };

    onnx_tensor(&t, name, type, dim, data, n);
    onnx_message(graph, 5, &t);
}

/* Adds a constant of n int64 in a row. */
static inline void onnx_ints(onnx_bytes *graph, const char *name, int n, const int64_t *values)
{
    onnx_constant(graph, name, 7, (int64_t[]){ n, -1 }, values, (size_t)n * sizeof *values);
}

/* Adds external data of a constant of one float, whose location and offset are those. */
static inline void onnx_outside(onnx_bytes *graph, const char *name, const char *location, const char *offset)
{
    const char *const pairs[2][2] = { { "location", location }, { "offset", offset } };
    onnx_bytes t = { .n = 0 };

    onnx_tensor(&t, name, 1, (int64_t[]){ 1, -1 }, NULL, 0);
    for (int i = 0; i < 2; i++) {
        onnx_bytes entry = { .n = 0 };
        onnx_text(&entry, 1, pairs[i][0]);
        onnx_text(&entry, 2, pairs[i][1]);
        onnx_message(&t, 13, &entry);
    }
    onnx_int(&t, 14, 1);
    onnx_message(graph, 5, &t);
}

/* Begins a node: inputs are names side by side, "a b", of which "-" is none given. */
static inline onnx_bytes onnx_node(const char *op, const char *inputs, const char *output)
{
    onnx_bytes node = { .n = 0 };
    char names[256], *rest = names, *name;

    if (strlen(inputs) >= sizeof names) abort();
    strcpy(names, inputs);
    while ((name = strtok_r(rest, " ", &rest))) onnx_text(&node, 1, strcmp(name, "-") == 0 ? "" : name);
    onnx_text(&node, 2, output);
    onnx_text(&node, 4, op);
    return node;
}

static inline void onnx_attribute_int(onnx_bytes *node, const char *name, int64_t value)
{
    onnx_bytes a = { .n = 0 };

    onnx_text(&a, 1, name);
    onnx_int(&a, 3, value);
    onnx_int(&a, 20, 2);
    onnx_message(node, 5, &a);
}

static inline void onnx_attribute_ints(onnx_bytes *node, const char *name, int n, const int64_t *values)
{
    onnx_bytes a = { .n = 0 };

    onnx_text(&a, 1, name);
    for (int i = 0; i < n; i++) onnx_int(&a, 8, values[i]);
    onnx_int(&a, 20, 7);
    onnx_message(node, 5, &a);
}

static inline void onnx_attribute_text(onnx_bytes *node, const char *name, const char *text)
{
    onnx_bytes a = { .n = 0 };

    onnx_text(&a, 1, name);
    onnx_text(&a, 4, text);
    onnx_int(&a, 20, 3);
    onnx_message(node, 5, &a);
}

/* Adds a node without attributes. */
static inline void onnx_plain(onnx_bytes *graph, const char *op, const char *inputs, const char *output)
{
    const onnx_bytes node = onnx_node(op, inputs, output);

    onnx_message(graph, 1, &node);
}

/* Adds an input (field 11) or output (12) of a type and dimensions, of which 0 is a free one. */
static inline void onnx_end(onnx_bytes *graph, int field, const char *name, int type, const int64_t *dim)
{
    onnx_bytes shape = { .n = 0 }, tensor = { .n = 0 }, whole = { .n = 0 }, end = { .n = 0 };

    for (; *dim != -1; dim++) {
        onnx_bytes one = { .n = 0 };
        if (*dim > 0)
            onnx_int(&one, 1, *dim);
        else
            onnx_text(&one, 2, "N");
        onnx_message(&shape, 1, &one);
    }
    onnx_int(&tensor, 1, type);
    onnx_message(&tensor, 2, &shape);
    onnx_message(&whole, 1, &tensor);
    onnx_text(&end, 1, name);
    onnx_message(&end, 2, &whole);
    onnx_message(graph, field, &end);
}

/* Begins a graph whose image "x" is of 2 channels of 4x4, and whose output is "y". */
static inline onnx_bytes onnx_graph(void)
{
    onnx_bytes graph = { .n = 0 };

    onnx_end(&graph, 11, "x", 1, (int64_t[]){ 0, 2, 4, 4, -1 });
    onnx_end(&graph, 12, "y", 1, (int64_t[]){ 0, 3, -1 });
    return graph;
}

/* Makes a file of a graph, of an opset. */
static inline onnx_bytes onnx_model(const onnx_bytes *graph, int opset)
{
    onnx_bytes model = { .n = 0 }, version = { .n = 0 };

    onnx_int(&model, 1, 8);
    onnx_text(&model, 2, "onnx_case");
    onnx_message(&model, 7, graph);
    onnx_text(&version, 1, "");
    onnx_int(&version, 2, opset);
    onnx_message(&model, 8, &version);
    return model;
}

#endif /* ONNX_CASE_H */
