/*
 * tflite.h - a TensorFlow Lite file as plain data: tensors, operators, and which tensors go in and out.
 *
 * A file is a FlatBuffer of the format "TFL3" (flatbuffer.h). Files of one subgraph whose operators are in the list
 * below are understood; any other is refused by the name of what it has. Left out when a file is read, because no
 * computation depends on them: signatures, metadata, debugging texts, and the least and largest values that a converter
 * has recorded.
 *
 * A quantized tensor has real = scale * (code - zero). It has one scale, or one for each index of the dimension `axis`.
 *
 *   tflite_read.c, tflite_write.c   the file;   tflite_check.c   the rules that a description must keep
 *   tflite_schema.h                 places of the fields;   tflite_ops.c   the list with its options
 *
 * Source: tensorflow/lite/schema/schema.fbs (version 3).
 * Tests: tests/formats/test_tflite.c, tests/fuzz/fuzz_tflite.c.
 */
#ifndef DT_TFLITE_H
#define DT_TFLITE_H

#include "detent/detent.h"

/* XX(NAME, code of the schema, number of the table that has its options, inputs from, to). DT_TFLITE_NAME is the
 * constant. Every operator has one output. */
#define DT_TFLITE_OP_MAP(XX)          \
    XX(ADD, 0, 11, 2, 2)              \
    XX(AVERAGE_POOL_2D, 1, 5, 1, 1)   \
    XX(CONCATENATION, 2, 10, 1, 256)  \
    XX(CONV_2D, 3, 1, 2, 3)           \
    XX(DEPTHWISE_CONV_2D, 4, 2, 2, 3) \
    XX(DEQUANTIZE, 6, 38, 1, 1)       \
    XX(FULLY_CONNECTED, 9, 8, 2, 3)   \
    XX(LOGISTIC, 14, 0, 1, 1)         \
    XX(MAX_POOL_2D, 17, 5, 1, 1)      \
    XX(MUL, 18, 21, 2, 2)             \
    XX(RELU, 19, 0, 1, 1)             \
    XX(RELU6, 21, 0, 1, 1)            \
    XX(RESHAPE, 22, 17, 1, 2)         \
    XX(SOFTMAX, 25, 9, 1, 1)          \
    XX(TANH, 28, 0, 1, 1)             \
    XX(PAD, 34, 22, 2, 2)             \
    XX(TRANSPOSE, 39, 26, 2, 2)       \
    XX(MEAN, 40, 27, 2, 2)            \
    XX(SUB, 41, 28, 2, 2)             \
    XX(SQUEEZE, 43, 30, 1, 1)         \
    XX(QUANTIZE, 114, 89, 1, 1)       \
    XX(BATCH_MATMUL, 126, 101, 2, 2)

typedef enum {
#define XX(name, code, options, from, to) DT_TFLITE_##name = code,
    DT_TFLITE_OP_MAP(XX)
#undef XX
} dt_tflite_code;

/* XX(NAME, code of the schema, bytes of an element) */
#define DT_TFLITE_TYPE_MAP(XX) \
    XX(FLOAT32, 0, 4)          \
    XX(INT32, 2, 4)            \
    XX(UINT8, 3, 1)            \
    XX(INT64, 4, 8)            \
    XX(INT16, 7, 2)            \
    XX(INT8, 9, 1)

typedef enum {
#define XX(name, code, bytes) DT_TFLITE_##name = code,
    DT_TFLITE_TYPE_MAP(XX)
#undef XX
} dt_tflite_type;

enum { DT_TFLITE_MAX_DIMS = 6, DT_TFLITE_MAX_VERSION = 1000 };

typedef struct {
    char *name;
    dt_tflite_type type;
    int n_dims; /* 0: one number */
    int dim[DT_TFLITE_MAX_DIMS];
    int any_batch; /* 1: the first dimension may have another size; dim[0] is that of the file */
    void *data;    /* of a constant, as many elements as the dimensions have; NULL: it is computed */
    size_t bytes;  /* of data */
    int n_scales;  /* 0: not quantized; 1, or dim[axis] */
    int axis;      /* the dimension that has a scale for each index; 0 where n_scales is 1 */
    float *scale;  /* [n_scales] finite, > 0 */
    int32_t *zero; /* [n_scales] codes of real 0 */
} dt_tflite_tensor;

typedef enum { DT_TFLITE_SAME, DT_TFLITE_VALID } dt_tflite_padding;

/* What is done to the sum behind it, as a part of the operator. Others of the schema are refused. */
typedef enum { DT_TFLITE_FUSED_NONE = 0, DT_TFLITE_FUSED_RELU = 1, DT_TFLITE_FUSED_RELU6 = 3 } dt_tflite_fused;

/* The options of all operators; each has those that name it, and leaves the others 0. Pairs are rows, columns. */
typedef struct {
    int padding;     /* CONV_2D, DEPTHWISE_CONV_2D, pools: dt_tflite_padding */
    int stride[2];   /* the same */
    int dilation[2]; /* CONV_2D, DEPTHWISE_CONV_2D */
    int window[2];   /* pools */
    int multiplier;  /* DEPTHWISE_CONV_2D: outputs for each channel */
    int fused; /* CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, pools, ADD, SUB, MUL, CONCATENATION: dt_tflite_fused */
    int axis;  /* CONCATENATION: may be negative, then it counts from the last */
    int keep_dims;    /* MEAN: 1: the dimensions stay, with size 1;  FULLY_CONNECTED: 1: the output has the input's */
    int per_row;      /* FULLY_CONNECTED, BATCH_MATMUL: 1: a float input is quantized asymmetrically while it runs */
    int transpose[2]; /* BATCH_MATMUL: of either input, 1: its last two dimensions are exchanged */
    float beta;       /* SOFTMAX */
    int n_shape, shape[DT_TFLITE_MAX_DIMS]; /* RESHAPE: the new shape, n_shape 0 where an input has it;
                                               SQUEEZE: dimensions to leave out, n_shape 0: all of size 1 */
} dt_tflite_options;

typedef struct {
    dt_tflite_code code;
    int version; /* of the operator, 1..DT_TFLITE_MAX_VERSION */
    int n_in;
    int *in; /* [n_in] tensors; -1: that input is not given */
    int out; /* tensor */
    dt_tflite_options options;
} dt_tflite_operator;

typedef struct {
    char *description;
    dt_tflite_tensor *tensor;
    int n_tensors;
    dt_tflite_operator *op; /* [n_ops] in the order in which they run */
    int n_ops;
    int *in, *out; /* [n_in], [n_out] tensors */
    int n_in, n_out;
} dt_tflite;

/* Reads a file. Everything in *out comes from malloc. DT_ERR_IO: it cannot be read. DT_ERR_FORMAT: it is damaged; the
 * message names file, table, field and both values. DT_ERR_UNSUPPORTED: it has an operator, a type or a feature that is
 * not understood, which the message names. */
DT_MUST_CHECK dt_status dt_tflite_read(const char *path, dt_tflite **out);
/* Reads a file's bytes; path is for messages. */
DT_MUST_CHECK dt_status dt_tflite_read_bytes(const char *path, const void *data, size_t bytes, dt_tflite **out);

/* Makes the file, or replaces it whole, as dt_file_replace does. Equal descriptions give equal bytes. DT_ERR_ARGUMENT:
 * the description breaks a rule of dt_tflite_check. */
DT_MUST_CHECK dt_status dt_tflite_write(const dt_tflite *m, const char *path);

/* Frees a description and all that it has. */
void dt_tflite_destroy(dt_tflite *m);

/* Checks that all indices are in range, that each tensor is an input, a constant, or the output of one operator that
 * runs before those that read it, and that scales and data have as many values as the dimensions say. `failure` is the
 * status of what breaks that. */
DT_MUST_CHECK dt_status dt_tflite_check(const dt_tflite *m, const char *path, dt_status failure);

/* Returns the number of elements of a tensor whose dimensions are checked. */
int64_t dt_tflite_count(const dt_tflite_tensor *t);
/* Returns the bytes of an element. */
size_t dt_tflite_type_bytes(dt_tflite_type type);
/* Returns the name of a type of the schema, such as "INT8", also of those that are not understood. */
const char *dt_tflite_type_name(int type);
/* Returns the name of an operator of the schema, such as "CONV_2D", also of those that are not understood. */
const char *dt_tflite_op_name(int code);

#endif /* DT_TFLITE_H */
