/*
 * onnx.h - an ONNX file as plain data: values by name, constants, and the nodes that make the other values.
 *
 * A file is one protobuf message, ModelProto (onnx_wire.h). Left out when it is read, because no computation depends on
 * them: documentation, most metadata, the shapes of values in between, annotations. Numbers of a constant that are many
 * stay in the file, or in the file of its own that the model names, until they are asked for.
 *
 *   onnx_read.c, onnx_read_tensor.c   the messages;   onnx.c   names, the rules, and numbers of constants
 *   onnx_expand.c                     operators on codes, which become those of reals between quantizers
 *   onnx_notes.c                      what metadata say
 *
 * Source: onnx/onnx.proto of ONNX 1.23 (IR version 14, opset 28).
 * Tests: tests/formats/test_onnx.c, test_onnx_hostile.c, tests/fuzz/fuzz_onnx.c.
 */
#ifndef DT_ONNX_H
#define DT_ONNX_H

#include "onnx_source.h"

/* XX(NAME, code of TensorProto.DataType, bytes of an element) */
#define DT_ONNX_TYPE_MAP(XX) \
    XX(FLOAT, 1, 4)          \
    XX(UINT8, 2, 1)          \
    XX(INT8, 3, 1)           \
    XX(INT32, 6, 4)          \
    XX(INT64, 7, 8)          \
    XX(BOOL, 9, 1)

typedef enum {
#define XX(name, code, bytes) DT_ONNX_##name = code,
    DT_ONNX_TYPE_MAP(XX)
#undef XX
} dt_onnx_type;

enum {
    DT_ONNX_MAX_DIMS = 8,
    DT_ONNX_MAX_NODES = 16384,
    DT_ONNX_MAX_VALUES = 65536,
    DT_ONNX_MAX_FILES = 64, /* files of a model's data */
    DT_ONNX_MAX_COUNT = INT32_MAX
};

/* A constant. */
typedef struct {
    int type; /* dt_onnx_type, or another code of the format, whose numbers are not understood */
    int n_dims;
    int64_t dim[DT_ONNX_MAX_DIMS]; /* none negative; their product is at most DT_ONNX_MAX_COUNT */
    void *data;                    /* owned; NULL: they lie in a file */
    dt_onnx_source *file;          /* of the model; NULL: the numbers are in data */
    uint64_t at;                   /* where they begin in the file */
} dt_onnx_tensor;

/* Input or output of the file. */
typedef struct {
    int value;
    int type, n_dims; /* n_dims -1: the file does not say */
    int64_t dim[DT_ONNX_MAX_DIMS];
    unsigned is_free; /* bit k: dimension k has no number, and dim[k] is 1 */
} dt_onnx_end;

typedef struct {
    char *name;
    int tensor; /* index of the constant; -1: it is none */
    int node;   /* index of the node that makes it; -1: none does */
    int nature; /* dt_onnx_is_integer's own */
} dt_onnx_value;

typedef enum {
    DT_ONNX_A_FLOAT = 1,
    DT_ONNX_A_INT = 2,
    DT_ONNX_A_STRING = 3,
    DT_ONNX_A_TENSOR = 4,
    DT_ONNX_A_FLOATS = 6,
    DT_ONNX_A_INTS = 7
} dt_onnx_attribute_type;

typedef struct {
    char *name;
    int type; /* dt_onnx_attribute_type, or another code of the format, whose content is not understood */
    float real;
    int64_t integer;
    char *text;
    int tensor; /* index */
    int64_t *ints;
    int n_ints;
} dt_onnx_attribute;

typedef struct {
    char *name, *op, *domain; /* never NULL */
    int *in, *out;            /* values; -1: that one is not given */
    int n_in, n_out;
    dt_onnx_attribute *attribute;
    int n_attributes;
} dt_onnx_node;

typedef struct {
    char *path;
    int ir_version, opset; /* opset is that of ONNX's own operators */
    char *producer;
    dt_onnx_source *file[DT_ONNX_MAX_FILES]; /* the model's own is the first */
    int n_files;
    dt_onnx_tensor *tensor;
    int n_tensors;
    dt_onnx_value *value;
    int n_values;
    int *table; /* [table_room] values by the hash of their names; -1: a free place */
    int table_room;
    dt_onnx_node *node;
    int n_nodes;
    dt_onnx_end *in, *out;
    int n_in, n_out;
    dt_data_origin origin; /* of what its metadata say, as detent's own files do; no name: nothing */
    int as_network;        /* the reader's choice: 1: a network of codes becomes a graph of reals with quantizers, to be
                              trained */
} dt_onnx;

/* Reads a file. DT_ERR_IO: it cannot be read. DT_ERR_FORMAT: it is damaged, or breaks a rule of the format.
 * DT_ERR_UNSUPPORTED: it has something that is not understood, which the message names. */
DT_MUST_CHECK dt_status dt_onnx_read(const char *path, dt_onnx **out);
/* Reads a file's bytes, which must stay; path is for messages, and its folder has the files that it names. */
DT_MUST_CHECK dt_status dt_onnx_read_bytes(const char *path, const void *data, size_t bytes, dt_onnx **out);
void dt_onnx_destroy(dt_onnx *m);
/* Frees what a node has. */
void dt_onnx_free_node(dt_onnx_node *n);

/* Sets *out to the value of that name, which is made unless there is one. */
DT_MUST_CHECK dt_status dt_onnx_value_of(dt_onnx *m, const char *name, int *out);
/* Adds a constant without numbers. */
DT_MUST_CHECK dt_status dt_onnx_add_tensor(dt_onnx *m, int *out);
/* Makes room for one more element of *array, which has n of them, and got its room by this function alone. */
DT_MUST_CHECK dt_status dt_onnx_grow(const char *path, void **array, int n, size_t element_bytes, int most,
                                     const char *what);

/* Returns the number of elements. */
int64_t dt_onnx_count(const dt_onnx_tensor *t);
/* Returns the bytes of an element, or 0 if the type is not understood. */
size_t dt_onnx_type_bytes(int type);
/* Returns the name of a type of the format, such as "INT8", also of those that are not understood. */
const char *dt_onnx_type_name(int type);
/* Copies the numbers of a constant, whose type is understood. */
DT_MUST_CHECK dt_status dt_onnx_load(const dt_onnx_tensor *t, void *to);

/* Takes an entry of the metadata that says how images were normalised: dataset, values, fingerprint, mean, std. Others
 * mean nothing here. DT_ERR_FORMAT: mean or std are no numbers. */
DT_MUST_CHECK dt_status dt_onnx_take_note(dt_onnx *m, const char *key, const char *text);
/* Returns 1 if a domain is one of those in which exporters write QONNX's operators. */
int dt_onnx_is_quant_domain(const char *domain);
/* Returns the attribute of that name, or NULL. */
const dt_onnx_attribute *dt_onnx_find(const dt_onnx_node *n, const char *name);
/* Returns 1 if a node's operator has that name, or one of a list that ends with NULL; its domain is not looked at. */
int dt_onnx_is_op(const dt_onnx_node *n, const char *op);
int dt_onnx_is_one_of(const dt_onnx_node *n, const char *const *ops);
/* Returns the name that a node is called by: its own, or else that of what it makes. */
const char *dt_onnx_node_name(const dt_onnx *m, const dt_onnx_node *n);

/* Checks what the reading cannot see: each value is made once, before it is read, and the ends are there. */
DT_MUST_CHECK dt_status dt_onnx_check(const dt_onnx *m);

/* Puts DequantizeLinear, an operator of reals, and QuantizeLinear in place of each operator on codes, such as
 * QLinearConv. The file has been checked, and stays so. In onnx_expand.c. */
DT_MUST_CHECK dt_status dt_onnx_expand(dt_onnx *m);

#endif /* DT_ONNX_H */
