/*
 * quantize.h - post-training quantization: from a float network to integers, under the arithmetic of a named engine.
 */
#ifndef DT_PUBLIC_QUANTIZE_H
#define DT_PUBLIC_QUANTIZE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whose arithmetic makes codes of sums; core/arith/requantize.h has the formulas. */
typedef enum {
    DT_PROFILE_LITERT_REF, /* LiteRT's reference kernels: as REF_DOUBLE, but fully connected layers round once */
    DT_PROFILE_REF_DOUBLE, /* TensorFlow Lite Micro and CMSIS-NN: a 31-bit multiplier, two roundings */
    DT_PROFILE_REF_SINGLE, /* a 31-bit multiplier, one rounding */
    DT_PROFILE_FP32_RNE,   /* XNNPACK, LiteRT's default: an f32 multiplier, half to even */
    DT_PROFILE_ONNX        /* ONNX Runtime: real values between quantizers, half to even */
} dt_profile;

/* The words of the profiles, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_profile_names[6];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_QUANTIZE_H */
