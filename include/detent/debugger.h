/*
 * debugger.h - where a quantized network goes wrong: the error of each layer, and what each layer costs the scores.
 */
#ifndef DT_PUBLIC_DEBUGGER_H
#define DT_PUBLIC_DEBUGGER_H

#include "array.h"
#include "predict.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a layer's codes are compared with, as TensorFlow Lite's quantization debugger has it. LAYER: what the layer of
 * reals makes of the codes that the layer of integers reads, so that errors do not add up. Layers whose codes have the
 * scale of those that they read (MAX_POOL_2D, AVERAGE_POOL_2D, RESHAPE, TRANSPOSE) have no such twin, and the error 0.
 * WHOLE: what the whole network of reals has there, which begins with the codes of the image. */
typedef enum { DT_DEBUG_LAYER, DT_DEBUG_WHOLE } dt_debug_mode;

DT_API extern const char *const dt_debug_mode_names[3];

/* One quantized layer. The error of a number is that of its code as a real, less that of the network of reals. Each of
 * the four is one image's, and here the mean over the images. */
typedef struct {
    const char *op;     /* TensorFlow Lite's name of the operator, such as "CONV_2D" */
    char *name;         /* the value's, in the network of reals; owned */
    int index;          /* of the codes among the values of the program */
    int64_t n_elements; /* of an image */
    double stddev;      /* standard deviation of the errors, of the population */
    double mean_error, max_abs_error, mean_squared_error;
    double range;   /* scale times the steps between the lowest and the highest code that the bits have */
    float scale;    /* of the codes */
    int zero_point; /* the stored integer of real 0 */
} dt_debug_row;

typedef struct {
    dt_debug_row *row; /* [n] in the order of the network of reals */
    int n;
    int64_t images;
} dt_debug_report;

/* Makes the network of reals that a quantized one came from: its affine quantizers (dt_quantize, or trained with
 * DT_RULE_AFFINE) or those of DT_RULE_QKERAS are taken out. Batch norms that trained folded are folded. A network of
 * reals is copied. DT_ERR_UNSUPPORTED: it has other quantizers. */
DT_API DT_MUST_CHECK dt_status dt_quantized_real(dt_model *quantized, dt_model **out);

/* Compares each layer of a program with that of a network of reals, `real`, on images, of which dataset, pixels or
 * normalised, and first, n and progress are read; pixels are normalised as `real` has them. Layers are found by their
 * names: NAME.act_quant of the program is NAME, NAME.biased or NAME.relu of the other, the last of these that it has.
 * dt_debug_report_destroy frees *out. DT_ERR_ARGUMENT: the program has codes of which the other network has no value.
 */
DT_API DT_MUST_CHECK dt_status dt_program_debug(const dt_program *p, dt_model *real, dt_debug_mode mode,
                                                const dt_prediction *images, dt_debug_report **out);
DT_API void dt_debug_report_destroy(dt_debug_report *r);

/* How far scores are from those of the network of reals. */
typedef struct {
    double snr;      /* signal to noise of all scores, in dB; infinite where none differs */
    int64_t changed; /* images whose prediction is another */
    int64_t right;   /* images that are predicted right; -1: the classes are unknown */
} dt_score_error;

/* One layer of a network with affine quantizers. */
typedef struct {
    const char *op;   /* TensorFlow Lite's name of the operator; "QUANTIZE" of the image */
    char *name;       /* of the node with which it begins; the image's; owned */
    int wbits, abits; /* bits of its weights, and of what it gives; 0: it has no such quantizer */
    /* Second-order estimate of the loss that rounding the layer's weights adds: half the sum of (g d)^2, where d is a
     * weight's rounding error and g^2 the mean square of its gradient over the images, with which the Hessian's
     * diagonal is estimated. NaN: the classes are unknown, or the layer has no weights. */
    double rise;
    dt_score_error alone;   /* of the network in which this layer alone is quantized: its weights and what it gives */
    dt_score_error without; /* of the network in which all layers but this one are */
} dt_sensitivity_row;

typedef struct {
    dt_sensitivity_row *row; /* [n] in the order of the network */
    int n;
    int64_t images;
    dt_score_error real; /* of the network of reals itself: snr is infinite, and changed 0 */
    dt_score_error all;  /* of the quantized network */
} dt_sensitivity;

/* Quantizes one layer at a time of a network with affine quantizers, and all layers but one, and compares the scores
 * with those of the network of reals. images is as for dt_program_debug; labels, [n], are the classes of its images, or
 * NULL. dt_sensitivity_destroy frees *out. DT_ERR_UNSUPPORTED: the network has no affine quantizers. */
DT_API DT_MUST_CHECK dt_status dt_quantized_sensitivity(dt_model *quantized, const dt_prediction *images,
                                                        const int32_t *labels, dt_sensitivity **out);
DT_API void dt_sensitivity_destroy(dt_sensitivity *s);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_DEBUGGER_H */
