#ifndef DT_ONNX_H
#define DT_ONNX_H
#include <stddef.h>
typedef enum {
    DT_ONNX_FLOAT = 1,
    DT_ONNX_UINT8 = 2,
    DT_ONNX_INT8 = 3,
    DT_ONNX_INT32 = 6,
    DT_ONNX_INT64 = 7
} dt_onnx_type;
typedef enum { DT_ONNX_A_FLOAT = 1, DT_ONNX_A_INT = 2, DT_ONNX_A_INTS = 7 } dt_onnx_attribute_type;
static inline size_t dt_onnx_type_bytes(int t)
{
    return t == 1 || t == 6 ? 4 : t == 7 ? 8 : 1;
}
#endif
