/*
 * tflite_schema.h - the tables of a TensorFlow Lite file: the slot, the type, the range and the default of each field
 *                   that is read or written. A range says what is understood; the schema allows more.
 */
#ifndef DT_TFLITE_SCHEMA_H
#define DT_TFLITE_SCHEMA_H

#include "flatbuffer.h"
#include "tflite.h"

#define DT_TFLITE_IDENTIFIER "TFL3"

enum { DT_TFLITE_SCHEMA_VERSION = 3, DT_TFLITE_BUFFER_ALIGN = 16 };

/* OFFSETs have no range. */
#define OFFSET_FIELD(slot, name)                  \
    {                                             \
        slot, name, DT_FLATBUFFER_OFFSET, 0, 0, 0 \
    }
#define FIELD(slot, name, type, low, high)             \
    {                                                  \
        slot, name, DT_FLATBUFFER_##type, low, high, 0 \
    }

/* clang-format off */
static const dt_flatbuffer_field
    model_version       = FIELD(0, "version", U32, DT_TFLITE_SCHEMA_VERSION, DT_TFLITE_SCHEMA_VERSION),
    model_codes         = OFFSET_FIELD(1, "operator_codes"),
    model_subgraphs     = OFFSET_FIELD(2, "subgraphs"),
    model_description   = OFFSET_FIELD(3, "description"),
    model_buffers       = OFFSET_FIELD(4, "buffers"),

    code_deprecated     = FIELD(0, "deprecated_builtin_code", I8, 0, INT8_MAX),
    code_custom         = OFFSET_FIELD(1, "custom_code"),
    code_version        = { 2, "version", DT_FLATBUFFER_I32, 1, DT_TFLITE_MAX_VERSION, 1 },
    code_builtin        = FIELD(3, "builtin_code", I32, 0, INT32_MAX),

    graph_tensors       = OFFSET_FIELD(0, "tensors"),
    graph_inputs        = OFFSET_FIELD(1, "inputs"),
    graph_outputs       = OFFSET_FIELD(2, "outputs"),
    graph_operators     = OFFSET_FIELD(3, "operators"),
    graph_name          = OFFSET_FIELD(4, "name"),

    tensor_shape        = OFFSET_FIELD(0, "shape"),
    tensor_type         = FIELD(1, "type", I8, 0, INT8_MAX),
    tensor_buffer       = FIELD(2, "buffer", U32, 0, INT32_MAX),
    tensor_name         = OFFSET_FIELD(3, "name"),
    tensor_quantization = OFFSET_FIELD(4, "quantization"),
    tensor_variable     = FIELD(5, "is_variable", U8, 0, 0),
    tensor_sparsity     = OFFSET_FIELD(6, "sparsity"),
    tensor_signature    = OFFSET_FIELD(7, "shape_signature"),
    tensor_has_rank     = FIELD(8, "has_rank", U8, 0, 1),
    tensor_variants     = OFFSET_FIELD(9, "variant_tensors"),
    tensor_external     = FIELD(10, "external_buffer", U32, 0, 0),

    quant_scale         = OFFSET_FIELD(2, "scale"),
    quant_zero          = OFFSET_FIELD(3, "zero_point"),
    quant_details_type  = FIELD(4, "details_type", U8, 0, 0),
    quant_axis          = FIELD(6, "quantized_dimension", I32, 0, DT_TFLITE_MAX_DIMS - 1),

    buffer_data         = OFFSET_FIELD(0, "data"),
    buffer_offset       = FIELD(1, "offset", U64, 0, 0), /* where data lie outside of the FlatBuffer */
    buffer_size         = FIELD(2, "size", U64, 0, 0),

    op_code             = FIELD(0, "opcode_index", U32, 0, INT32_MAX),
    op_inputs           = OFFSET_FIELD(1, "inputs"),
    op_outputs          = OFFSET_FIELD(2, "outputs"),
    op_options_type     = FIELD(3, "builtin_options_type", U8, 0, UINT8_MAX),
    op_options          = OFFSET_FIELD(4, "builtin_options"),
    op_options_2_type   = FIELD(11, "builtin_options_2_type", U8, 0, 0);
/* clang-format on */

enum { DT_TFLITE_MAX_OPTIONS = 7 }; /* fields of a table of options, at most */

/* A field of a table of options, and where its value goes. */
typedef struct {
    dt_flatbuffer_field field;
    int is_kept;  /* 0: it is checked alone, and not written */
    size_t place; /* offset of the int or, for F32, the float in dt_tflite_options; of an OFFSET, which is a vector of
                     ints, not used: those are n_shape and shape */
} dt_tflite_option;

typedef struct {
    dt_tflite_code code;
    const char *name;
    int table; /* number of its table of options in the schema's union; 0: it has none */
    int least_in, most_in;
} dt_tflite_op;

/* Returns the operator of that code, or NULL if it is not understood. */
const dt_tflite_op *dt_tflite_find_op(int64_t code);
/* Sets *out to the fields of a table of options, and returns their number, 0 if there are none. */
int dt_tflite_option_list(int table, const dt_tflite_option **out);
/* Returns the bytes of an element, or 0 if the type is not understood. */
size_t dt_tflite_known_type(int64_t type);

#endif /* DT_TFLITE_SCHEMA_H */
