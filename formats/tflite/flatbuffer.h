/*
 * flatbuffer.h - reads FlatBuffers without trusting them, and writes small ones.
 *
 * A buffer is tables that refer to strings, to vectors and to other tables. All numbers are little-endian.
 *
 *   buffer   u32 offset of the root table | 4 characters that name the format | ...
 *   table    i32 distance back to its vtable | fields
 *   vtable   u16 its bytes | u16 bytes of the table | u16 for each slot: the field's place in the table, 0: it is
 * missing vector   u32 n | n elements;  a string is a vector of bytes with a NUL behind it
 *
 * A field that refers to something holds the u32 distance from itself, forwards. A missing field has its default.
 *
 * Every offset and every length is compared with the file's size before anything is read there. Nothing recurses: the
 * caller walks from table to table, as deep as its schema is. Tables may share what they refer to; a budget limits what
 * may be read through vectors in all, so that a small file cannot stand for a large one.
 * Source: the description of the format at flatbuffers.dev ("FlatBuffers Internals").
 * Used by: tflite_read.c, tflite_write.c.  Tests: tests/formats/test_tflite.c, tests/fuzz/fuzz_tflite.c.
 */
#ifndef DT_FLATBUFFER_H
#define DT_FLATBUFFER_H

#include "detent/detent.h"

enum {
    DT_FLATBUFFER_PLACE = 96,      /* bytes of the text that says where in a file a table is */
    DT_FLATBUFFER_BYTES = 1 << 30, /* the most bytes of a file */
    DT_FLATBUFFER_BUDGET = 16      /* bytes that may be read through vectors, for each byte of the file */
};

typedef enum {
    DT_FLATBUFFER_I8,
    DT_FLATBUFFER_U8, /* booleans too */
    DT_FLATBUFFER_I32,
    DT_FLATBUFFER_U32,
    DT_FLATBUFFER_U64,
    DT_FLATBUFFER_F32,
    DT_FLATBUFFER_OFFSET /* to a table, a vector or a string */
} dt_flatbuffer_type;

/* A field of a table, as the schema has it. */
typedef struct {
    int slot;
    const char *name;
    dt_flatbuffer_type type;
    int64_t low, high; /* range of an integer */
    double otherwise;  /* value of a number that is missing */
} dt_flatbuffer_field;

/* ---- reading ---- */

/* A file in memory. The caller owns path and data. */
typedef struct {
    const char *path; /* for messages */
    const unsigned char *data;
    size_t bytes;
    size_t budget; /* bytes that may still be read through vectors */
} dt_flatbuffer;

typedef struct {
    dt_flatbuffer *file;
    char place[DT_FLATBUFFER_PLACE]; /* such as "subgraphs[0].tensors[3]"; for messages */
    size_t at, bytes;                /* of the table */
    size_t vtable, vtable_bytes;
} dt_flatbuffer_table;

/* n elements that lie within the file. */
typedef struct {
    const dt_flatbuffer_table *of; /* the table that refers to it, which must stay */
    const dt_flatbuffer_field *field;
    const unsigned char *data; /* not aligned; NULL: the field is missing */
    size_t n;
} dt_flatbuffer_vector;

/* Finds the root table of the bytes `data`. identifier is the format's four characters; name is the root's, for
 * messages. Errors are DT_ERR_FORMAT, as in the functions below, and name file, table, field and both values. */
DT_MUST_CHECK dt_status dt_flatbuffer_open(dt_flatbuffer *f, const char *identifier, const char *name,
                                           dt_flatbuffer_table *root);

/* Reads an integer field and checks its range. */
DT_MUST_CHECK dt_status dt_flatbuffer_integer(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, int64_t *out);
/* Reads a field of type F32. */
DT_MUST_CHECK dt_status dt_flatbuffer_float(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, float *out);

/* Finds a vector whose elements have that many bytes. A missing one has n = 0. */
DT_MUST_CHECK dt_status dt_flatbuffer_look(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f,
                                           size_t element_bytes, dt_flatbuffer_vector *out);
/* Finds a string, and copies it. *out comes from malloc; a missing string is "". A NUL inside is refused. */
DT_MUST_CHECK dt_status dt_flatbuffer_string(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f, char **out);
/* Finds a table. *is_there is 0, and child is not written, if the field is missing. */
DT_MUST_CHECK dt_status dt_flatbuffer_child(const dt_flatbuffer_table *t, const dt_flatbuffer_field *f,
                                            dt_flatbuffer_table *child, int *is_there);
/* Finds table i, 0 <= i < v->n, of a vector of tables, whose elements have 4 bytes. */
DT_MUST_CHECK dt_status dt_flatbuffer_child_at(const dt_flatbuffer_vector *v, size_t i, dt_flatbuffer_table *child);

/* ---- writing ---- */

/* What is written so far. Members start at 0. A failure is kept until dt_flatbuffer_finish reports it. */
typedef struct {
    unsigned char *data;
    size_t bytes, room;
    int is_full; /* 1: there was no memory, or more than DT_FLATBUFFER_BYTES were to be written */
} dt_flatbuffer_writer;

/* A field of a table that is written. */
typedef struct {
    const dt_flatbuffer_field *field;
    double value; /* of a number; all that are written fit */
    size_t at;    /* set by dt_flatbuffer_put_table; of an OFFSET: `from` of what it refers to */
} dt_flatbuffer_member;

/* Writes the head. Returns `from` of the root table. */
size_t dt_flatbuffer_begin(dt_flatbuffer_writer *w, const char *identifier);
/* Writes a table with those members, and lets the offset at `from` refer to it, as the functions below do. A table
 * comes before what it refers to, and every OFFSET must be given something. U64 is not written. */
void dt_flatbuffer_put_table(dt_flatbuffer_writer *w, size_t from, dt_flatbuffer_member *member, int n);
/* Writes a vector. Its first element lies at a multiple of `align`, which is a power of two and at least 4. */
void dt_flatbuffer_put_vector(dt_flatbuffer_writer *w, size_t from, const void *data, size_t n, size_t element_bytes,
                              size_t align);
void dt_flatbuffer_put_string(dt_flatbuffer_writer *w, size_t from, const char *text);
/* Writes a vector of n offsets. Returns `from` of its first element; that of element i is 4 i further. */
size_t dt_flatbuffer_put_offsets(dt_flatbuffer_writer *w, size_t from, size_t n);
/* Makes the file of what was written, or replaces it whole, and frees it. DT_ERR_MEMORY: the writer was full. */
DT_MUST_CHECK dt_status dt_flatbuffer_finish(dt_flatbuffer_writer *w, const char *path);

#endif /* DT_FLATBUFFER_H */
