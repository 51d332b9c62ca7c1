/*
 * onnx_source.h - the bytes of a model, which lie in a file or in memory, read where they are asked for.
 *
 * Weights stay in their file until the layer that has them takes them, so that nothing is in memory twice. Data that a
 * model keeps in files of its own are found in the model's folder alone: each part of their path is opened below the
 * part before it, no part is "..", and no link is followed.
 *
 * Tests: tests/formats/test_onnx_hostile.c.
 */
#ifndef DT_ONNX_SOURCE_H
#define DT_ONNX_SOURCE_H

#include "detent/detent.h"

enum {
    DT_ONNX_WINDOW = 1 << 14, /* bytes of a file that are held at a time */
    DT_ONNX_LOOK = 16         /* the most bytes that are looked at */
};

typedef struct {
    char *path; /* for messages; owned */
    int fd;     /* -1: the bytes are in memory */
    const unsigned char *memory;
    uint64_t bytes;
    unsigned char window[DT_ONNX_WINDOW]; /* of a file: window_bytes from window_at on */
    uint64_t window_at;
    size_t window_bytes;
} dt_onnx_source;

/* Opens a file. DT_ERR_IO: it cannot be read, or is no plain file. */
DT_MUST_CHECK dt_status dt_onnx_source_open(const char *path, dt_onnx_source **out);
/* Opens a file that the model at `path` names as `location`. DT_ERR_FORMAT: it lies outside of the model's folder. */
DT_MUST_CHECK dt_status dt_onnx_source_open_beside(const char *path, const char *location, dt_onnx_source **out);
/* Reads bytes that stay where they are. */
DT_MUST_CHECK dt_status dt_onnx_source_of(const char *path, const void *data, size_t bytes, dt_onnx_source **out);
void dt_onnx_source_close(dt_onnx_source *s);

/* Copies bytes that lie within. DT_ERR_IO: they cannot be read. */
DT_MUST_CHECK dt_status dt_onnx_source_read(const dt_onnx_source *s, uint64_t at, size_t bytes, void *to);
/* Sets *out to n bytes that lie within, n <= DT_ONNX_LOOK. They stay until the next call. */
DT_MUST_CHECK dt_status dt_onnx_source_look(dt_onnx_source *s, uint64_t at, size_t n, const unsigned char **out);

#endif /* DT_ONNX_SOURCE_H */
