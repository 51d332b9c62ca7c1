/*
 * tflite_ops.c - the operators and types of a TensorFlow Lite file: names, and the table of options of each. Interface:
 *                tflite_schema.h, tflite.h.
 *
 * A range is that of what is understood: a padding is SAME or VALID, and strides, dilations and windows fit into 16
 * bits, so that no product of them leaves 64. A field without a place must have its default.
 */
#include "tflite_schema.h"

#include <assert.h>
#include <stddef.h>

#define LENGTH(a) ((int)(sizeof(a) / sizeof(a)[0]))

enum { MOST_STEP = INT16_MAX, MOST_FUSED = DT_TFLITE_FUSED_RELU6 };

#define PLACE(member) 1, offsetof(dt_tflite_options, member)
#define OPTION(slot, name, type, low, high, otherwise, place)             \
    {                                                                     \
        { slot, name, DT_FLATBUFFER_##type, low, high, otherwise }, place \
    }
#define PADDING(slot)           OPTION(slot, "padding", I8, DT_TFLITE_SAME, DT_TFLITE_VALID, 0, PLACE(padding))
#define FUSED(slot)             OPTION(slot, "fused_activation_function", I8, 0, MOST_FUSED, 0, PLACE(fused))
#define STEP(slot, name, m)     OPTION(slot, name, I32, 1, MOST_STEP, 0, PLACE(m))
#define DILATION(slot, name, m) OPTION(slot, name, I32, 1, MOST_STEP, 1, PLACE(m))
#define FLAG(slot, name, m)     OPTION(slot, name, U8, 0, 1, 0, PLACE(m))
#define SHAPE(slot, name)       OPTION(slot, name, OFFSET, 0, 0, 0, PLACE(shape))

static const dt_tflite_option conv[] = {
    PADDING(0),
    STEP(1, "stride_w", stride[1]),
    STEP(2, "stride_h", stride[0]),
    FUSED(3),
    DILATION(4, "dilation_w_factor", dilation[1]),
    DILATION(5, "dilation_h_factor", dilation[0]),
};
static const dt_tflite_option depthwise[] = {
    PADDING(0),
    STEP(1, "stride_w", stride[1]),
    STEP(2, "stride_h", stride[0]),
    OPTION(3, "depth_multiplier", I32, 0, MOST_STEP, 0, PLACE(multiplier)),
    FUSED(4),
    DILATION(5, "dilation_w_factor", dilation[1]),
    DILATION(6, "dilation_h_factor", dilation[0]),
};
static const dt_tflite_option pool[] = {
    PADDING(0),
    STEP(1, "stride_w", stride[1]),
    STEP(2, "stride_h", stride[0]),
    STEP(3, "filter_width", window[1]),
    STEP(4, "filter_height", window[0]),
    FUSED(5),
};
static const dt_tflite_option fully_connected[] = {
    FUSED(0),
    { { 1, "weights_format", DT_FLATBUFFER_I8, 0, 0, 0 }, 0, 0 },
    FLAG(2, "keep_num_dims", keep_dims),
    FLAG(3, "asymmetric_quantize_inputs", per_row),
};
static const dt_tflite_option fused[] = { FUSED(0) };
static const dt_tflite_option concatenation[] = {
    OPTION(0, "axis", I32, -DT_TFLITE_MAX_DIMS, DT_TFLITE_MAX_DIMS - 1, 0, PLACE(axis)),
    FUSED(1),
};
static const dt_tflite_option mean[] = { FLAG(0, "keep_dims", keep_dims) };
static const dt_tflite_option softmax[] = { OPTION(0, "beta", F32, 0, 0, 0, PLACE(beta)) };
static const dt_tflite_option reshape[] = { SHAPE(0, "new_shape") };
static const dt_tflite_option squeeze[] = { SHAPE(0, "squeeze_dims") };
static const dt_tflite_option batch_matmul[] = {
    FLAG(0, "adj_x", transpose[0]),
    FLAG(1, "adj_y", transpose[1]),
    FLAG(2, "asymmetric_quantize_inputs", per_row),
};

/* The fields of a table of options, by its number in the schema's union. */
static const struct {
    int table;
    const dt_tflite_option *option;
    int n;
} tables[] = {
    { 1, conv, LENGTH(conv) },
    { 2, depthwise, LENGTH(depthwise) },
    { 5, pool, LENGTH(pool) },
    { 8, fully_connected, LENGTH(fully_connected) },
    { 9, softmax, LENGTH(softmax) },
    { 10, concatenation, LENGTH(concatenation) },
    { 11, fused, LENGTH(fused) },
    { 17, reshape, LENGTH(reshape) },
    { 21, fused, LENGTH(fused) },
    { 27, mean, LENGTH(mean) },
    { 28, fused, LENGTH(fused) },
    { 30, squeeze, LENGTH(squeeze) },
    { 101, batch_matmul, LENGTH(batch_matmul) },
};

static const dt_tflite_op ops[] = {
#define XX(name, code, table, from, to) { DT_TFLITE_##name, #name, table, from, to },
    DT_TFLITE_OP_MAP(XX)
#undef XX
};

/* By code of the schema. */
static const char *const op_names[] = { "ADD",
                                        "AVERAGE_POOL_2D",
                                        "CONCATENATION",
                                        "CONV_2D",
                                        "DEPTHWISE_CONV_2D",
                                        "DEPTH_TO_SPACE",
                                        "DEQUANTIZE",
                                        "EMBEDDING_LOOKUP",
                                        "FLOOR",
                                        "FULLY_CONNECTED",
                                        "HASHTABLE_LOOKUP",
                                        "L2_NORMALIZATION",
                                        "L2_POOL_2D",
                                        "LOCAL_RESPONSE_NORMALIZATION",
                                        "LOGISTIC",
                                        "LSH_PROJECTION",
                                        "LSTM",
                                        "MAX_POOL_2D",
                                        "MUL",
                                        "RELU",
                                        "RELU_N1_TO_1",
                                        "RELU6",
                                        "RESHAPE",
                                        "RESIZE_BILINEAR",
                                        "RNN",
                                        "SOFTMAX",
                                        "SPACE_TO_DEPTH",
                                        "SVDF",
                                        "TANH",
                                        "CONCAT_EMBEDDINGS",
                                        "SKIP_GRAM",
                                        "CALL",
                                        "CUSTOM",
                                        "EMBEDDING_LOOKUP_SPARSE",
                                        "PAD",
                                        "UNIDIRECTIONAL_SEQUENCE_RNN",
                                        "GATHER",
                                        "BATCH_TO_SPACE_ND",
                                        "SPACE_TO_BATCH_ND",
                                        "TRANSPOSE",
                                        "MEAN",
                                        "SUB",
                                        "DIV",
                                        "SQUEEZE",
                                        "UNIDIRECTIONAL_SEQUENCE_LSTM",
                                        "STRIDED_SLICE",
                                        "BIDIRECTIONAL_SEQUENCE_RNN",
                                        "EXP",
                                        "TOPK_V2",
                                        "SPLIT",
                                        "LOG_SOFTMAX",
                                        "DELEGATE",
                                        "BIDIRECTIONAL_SEQUENCE_LSTM",
                                        "CAST",
                                        "PRELU",
                                        "MAXIMUM",
                                        "ARG_MAX",
                                        "MINIMUM",
                                        "LESS",
                                        "NEG",
                                        "PADV2",
                                        "GREATER",
                                        "GREATER_EQUAL",
                                        "LESS_EQUAL",
                                        "SELECT",
                                        "SLICE",
                                        "SIN",
                                        "TRANSPOSE_CONV",
                                        "SPARSE_TO_DENSE",
                                        "TILE",
                                        "EXPAND_DIMS",
                                        "EQUAL",
                                        "NOT_EQUAL",
                                        "LOG",
                                        "SUM",
                                        "SQRT",
                                        "RSQRT",
                                        "SHAPE",
                                        "POW",
                                        "ARG_MIN",
                                        "FAKE_QUANT",
                                        "REDUCE_PROD",
                                        "REDUCE_MAX",
                                        "PACK",
                                        "LOGICAL_OR",
                                        "ONE_HOT",
                                        "LOGICAL_AND",
                                        "LOGICAL_NOT",
                                        "UNPACK",
                                        "REDUCE_MIN",
                                        "FLOOR_DIV",
                                        "REDUCE_ANY",
                                        "SQUARE",
                                        "ZEROS_LIKE",
                                        "FILL",
                                        "FLOOR_MOD",
                                        "RANGE",
                                        "RESIZE_NEAREST_NEIGHBOR",
                                        "LEAKY_RELU",
                                        "SQUARED_DIFFERENCE",
                                        "MIRROR_PAD",
                                        "ABS",
                                        "SPLIT_V",
                                        "UNIQUE",
                                        "CEIL",
                                        "REVERSE_V2",
                                        "ADD_N",
                                        "GATHER_ND",
                                        "COS",
                                        "WHERE",
                                        "RANK",
                                        "ELU",
                                        "REVERSE_SEQUENCE",
                                        "MATRIX_DIAG",
                                        "QUANTIZE",
                                        "MATRIX_SET_DIAG",
                                        "ROUND",
                                        "HARD_SWISH",
                                        "IF",
                                        "WHILE",
                                        "NON_MAX_SUPPRESSION_V4",
                                        "NON_MAX_SUPPRESSION_V5",
                                        "SCATTER_ND",
                                        "SELECT_V2",
                                        "DENSIFY",
                                        "SEGMENT_SUM",
                                        "BATCH_MATMUL",
                                        "PLACEHOLDER_FOR_GREATER_OP_CODES",
                                        "CUMSUM",
                                        "CALL_ONCE",
                                        "BROADCAST_TO",
                                        "RFFT2D",
                                        "CONV_3D",
                                        "IMAG",
                                        "REAL",
                                        "COMPLEX_ABS",
                                        "HASHTABLE",
                                        "HASHTABLE_FIND",
                                        "HASHTABLE_IMPORT",
                                        "HASHTABLE_SIZE",
                                        "REDUCE_ALL",
                                        "CONV_3D_TRANSPOSE",
                                        "VAR_HANDLE",
                                        "READ_VARIABLE",
                                        "ASSIGN_VARIABLE",
                                        "BROADCAST_ARGS",
                                        "RANDOM_STANDARD_NORMAL",
                                        "BUCKETIZE",
                                        "RANDOM_UNIFORM",
                                        "MULTINOMIAL",
                                        "GELU",
                                        "DYNAMIC_UPDATE_SLICE",
                                        "RELU_0_TO_1",
                                        "UNSORTED_SEGMENT_PROD",
                                        "UNSORTED_SEGMENT_MAX",
                                        "UNSORTED_SEGMENT_SUM",
                                        "ATAN2",
                                        "UNSORTED_SEGMENT_MIN",
                                        "SIGN",
                                        "BITCAST",
                                        "BITWISE_XOR",
                                        "RIGHT_SHIFT" };

static const char *const type_names[] = {
    "FLOAT32", "FLOAT16",   "INT32",  "UINT8",   "INT64",      "STRING", "BOOL",
    "INT16",   "COMPLEX64", "INT8",   "FLOAT64", "COMPLEX128", "UINT64", "RESOURCE",
    "VARIANT", "UINT32",    "UINT16", "INT4",    "BFLOAT16",   "INT2",   "UINT4",
};

const dt_tflite_op *dt_tflite_find_op(int64_t code)
{
    for (int i = 0; i < LENGTH(ops); i++) {
        if (ops[i].code == code) return &ops[i];
    }
    return NULL;
}

int dt_tflite_option_list(int table, const dt_tflite_option **out)
{
    for (int i = 0; i < LENGTH(tables); i++) {
        if (tables[i].table != table) continue;
        *out = tables[i].option;
        return tables[i].n;
    }
    return 0;
}

size_t dt_tflite_known_type(int64_t type)
{
    switch (type) {
#define XX(name, code, bytes) \
    case code: return bytes;
        DT_TFLITE_TYPE_MAP(XX)
#undef XX
    default: return 0;
    }
}

size_t dt_tflite_type_bytes(dt_tflite_type type)
{
    const size_t bytes = dt_tflite_known_type(type);

    assert(bytes > 0);
    return bytes;
}

const char *dt_tflite_op_name(int code)
{
    return code >= 0 && code < LENGTH(op_names) ? op_names[code] : "a newer operator";
}

const char *dt_tflite_type_name(int type)
{
    return type >= 0 && type < LENGTH(type_names) ? type_names[type] : "a newer type";
}
