/*
 * quantize.h - post-training quantization: from a float network to integers, under the arithmetic of a named engine.
 */
#ifndef DT_PUBLIC_QUANTIZE_H
#define DT_PUBLIC_QUANTIZE_H

#include "model.h"
#include "predict.h"
#include "rescue.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whose arithmetic makes codes of sums; core/arith/requantize.h has the formulas. */
typedef enum {
    DT_PROFILE_LITERT_REF, /* LiteRT's reference kernels: as REF_DOUBLE, but fully connected layers round once */
    DT_PROFILE_REF_DOUBLE, /* TensorFlow Lite Micro and CMSIS-NN: a 31-bit multiplier, two roundings */
    DT_PROFILE_REF_SINGLE, /* a 31-bit multiplier, one rounding */
    DT_PROFILE_FP32_RNE,   /* XNNPACK, LiteRT's default: an f32 multiplier, half to even */
    DT_PROFILE_ONNX,       /* ONNX Runtime: real values between quantizers, half to even */
    DT_PROFILE_EXACT       /* detent's own evaluation of the quantized model: sums become codes by thresholds */
} dt_profile;

/* How a real image becomes codes. The truncating casts are a host's that neither rounds nor limits: the stored integer
 * is x / scale + zero point in f32, cut off toward 0, and wrapped to 8 bits, those of int8 or of uint8. */
typedef enum { DT_CAST_ROUND, DT_CAST_TRUNCATE_I8, DT_CAST_TRUNCATE_U8 } dt_image_cast;

/* How the range of a value follows from its values on the calibration images. */
typedef enum {
    DT_OBSERVE_MINMAX,     /* the least and the largest value, as TensorFlow Lite's */
    DT_OBSERVE_PERCENTILE, /* `percent` of the values are <= max, and as many are >= min */
    DT_OBSERVE_MSE,        /* the shrunk range whose codes have the least squared error */
    DT_OBSERVE_ENTROPY,    /* -t..t, cut to the extremes; t has the least Kullback-Leibler divergence, as TensorRT's */
    /* min is the largest |least value of an image|, and max the largest |largest value of an image|. This is the error
     * of the QKeras-Mod notebook: a negative least value loses its sign, so that min may even be above max. It is for
     * comparison with that notebook alone. After a ReLU it equals MINMAX. */
    DT_OBSERVE_MAX_ABS
} dt_observer;

/* What becomes of a network: TensorFlow Lite's kinds of conversion, and QKeras-Mod's. */
typedef enum {
    DT_SCHEME_FULL, /* integers from the image to the scores: weights, activations, biases */
    /* Dynamic range: weights of CONV2D and LINEAR with 1,024 elements or more become codes, and each image is rounded
     * to 8 bits before such a layer while the network runs. Everything else is real. It needs no images. */
    DT_SCHEME_DRQ,
    DT_SCHEME_FLOAT, /* nothing but that batch norms are folded */
    /* FULL, by TensorFlow Lite's names, which differ in the type of a file's input and output alone */
    DT_SCHEME_FIQ_F32,
    DT_SCHEME_FIQ_I8,
    DT_SCHEME_FIQ_U8,
    /* The quantizers with which the QKeras-Mod notebook trains: of weights, and of what each layer reads, on one grid
     * an image. They give real values, and are not those of dt_quantized_extract. It needs no images. */
    DT_SCHEME_QKERAS
} dt_scheme;

/* Names of the columns subq1 and alpha, beta in extracted files. */
typedef enum {
    DT_COLUMNS_NOTEBOOK,  /* subq1, alpha_of_max_abs, beta_of_max_abs: the QKeras-Mod notebook, January 2024 */
    DT_COLUMNS_QKERAS_MOD /* subq, alpha_of_min, beta_of_max: QKeras-Mod from February 2024 on */
} dt_columns;

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_profile_names[7];
DT_API extern const char *const dt_observer_names[6];
DT_API extern const char *const dt_scheme_names[8];
DT_API extern const char *const dt_columns_names[3];
DT_API extern const char *const dt_image_cast_names[4];

/* What quantization after training takes. */
typedef struct {
    dt_scheme scheme;          /* FLOAT reads nothing else, DRQ wbits, per_layer and fc_per_layer, QKERAS abits too */
    const dt_dataset *dataset; /* of these three one is set: images 0 .. n-1 of it; */
    const uint8_t *pixels;     /* or [n][height][width][channels], normalised by the model's origin; */
    const float *normalised;   /* or the same shape, normalised already */
    int64_t n;                 /* calibration images; TensorFlow's guides take 100 to 500 */
    dt_observer observer;
    float percent;      /* PERCENTILE: above 50, up to 100; 0: 99.99 */
    int wbits, abits;   /* 2..16, weights of a program and of DRQ 2..8; 0: 8 */
    int per_layer;      /* 1: one scale a layer of weights; 0: one a filter */
    int fc_per_layer;   /* 1: linear layers have one scale, as TensorFlow's converters before 2024; QKERAS: always */
    int symmetric;      /* 1: activations have the zero point 0, and as many codes above it as below, but for one */
    const char *ranges; /* a JSON file { "VALUE": [min, max] } of ranges that take the place of those observed; NULL */
    const dt_rescue *rescue; /* FULL: passes that are made then; NULL: none. It needs `dataset` */
    const dt_progress *progress;
} dt_quantization;

/* One quantized value of the network. */
typedef struct {
    const char *name; /* the network's */
    float min, max;   /* the range */
    float scale;
    int zero;       /* as an 8-bit file stores it, -128..127; of `bits` bits likewise */
    int low, high;  /* codes, less the zero point */
    double clipped; /* share of the calibration values outside the range, 0..1 */
    double snr;     /* signal to quantization noise of the whole network up to here, in dB, on the calibration images */
} dt_quantized_value;

/* Reads calibration images from the tensor `name` of a safetensors file into what->pixels or what->normalised and
 * what->n: U8 [N][H][W][C] of pixels or F32 of normalised images, of m's size; of a model that was trained on reals F32
 * as its data set has them. name NULL: the only tensor. The caller frees them by dt_calibration_images_free. */
DT_API DT_MUST_CHECK dt_status dt_calibration_images_read(const dt_model *m, const char *path, const char *name,
                                                          dt_quantization *what);
DT_API void dt_calibration_images_free(dt_quantization *what);

/* The weights of one layer. */
typedef struct {
    const char *name;         /* the layer's */
    int64_t n_weights;        /* elements */
    int bits;                 /* of codes; 0: the weights are reals */
    float least_scale, scale; /* of codes: the least and the largest scale of a filter */
} dt_layer_weights;

/* Quantizes a network of real values after training: folds batch norms, and does what the scheme says. FULL observes
 * ranges and puts affine quantizers in, one a value, as TensorFlow Lite's converter does; *out has the weights of m,
 * folded; its evaluation rounds half to even, with real biases, and dt_program_lower makes a program of it. DRQ stores
 * codes of weights, as that converter does without calibration images. FLOAT and DRQ take a network that was trained
 * with affine quantizers too, without these. DRQ and QKERAS have no program. dt_model_save saves any. DT_ERR_NUMERIC: a
 * calibration value or a weight is no number. DT_ERR_UNSUPPORTED: a node has no place, or m is quantized.
 * DT_ERR_ARGUMENT: images and ranges are missing, or the scheme has no use for a member. */
DT_API DT_MUST_CHECK dt_status dt_quantize(dt_model *m, const dt_quantization *what, dt_model **out);
/* Returns the number of CONV2D and LINEAR layers. */
DT_API int dt_layer_count(const dt_model *m);
/* Describes their weights. rows: [dt_layer_count]. Of weights that training standardises or clips, rows say nothing but
 * how many there are. */
DT_API DT_MUST_CHECK dt_status dt_layer_look(const dt_model *m, dt_layer_weights *rows);
/* Returns 1 if the network computes on reals: it has no quantizer but those of the scheme DRQ. */
DT_API int dt_model_is_real(const dt_model *m);
/* Makes a float TensorFlow Lite file of such a network, or replaces it whole. Batch norms are folded first. Of DRQ, the
 * weights that are codes are int8 in the file, and its engine rounds what their layers read. The file takes images that
 * are normalised as the network's. DT_ERR_UNSUPPORTED: a node has no form in such a file, or the network has
 * quantizers; the message names node, operator and remedy. */
DT_API DT_MUST_CHECK dt_status dt_model_write_tflite(dt_model *m, const char *path);
/* Makes an ONNX file of a network of reals, or replaces it whole. Batch norms stay as they are, and so do names. The
 * file takes normalised images N,C,H,W and gives scores N,classes. opset: 13..21. Errors as above. */
DT_API DT_MUST_CHECK dt_status dt_model_write_onnx(dt_model *m, int opset, const char *path);
/* Returns the number of values that have an affine quantizer. */
DT_API int dt_quantized_count(const dt_model *quantized);
/* Describes them, beside the network of real values that they come from, on the first 16 of the same images. rows:
 * [dt_quantized_count]. */
DT_API DT_MUST_CHECK dt_status dt_quantized_look(dt_model *real, dt_model *quantized, const dt_quantization *what,
                                                 dt_quantized_value *rows);

/* How a quantized network is extracted, as the QKeras-Mod notebook does it. */
typedef struct {
    int wbits, abits; /* 2..31; 0: those of the network's quantizers */
    int bias_bits;    /* 2..32; 0: 31 */
    dt_columns columns;
} dt_extraction;

/* How much was extracted. */
typedef struct {
    int n_layers, n_activations;
} dt_extraction_counts;

/* Writes extracted_weights.csv, extracted_activations.csv and extracted.safetensors, of equal content, into the folder,
 * which is made if missing. m has been quantized by dt_quantize. Its weights, biases and ranges become integers by the
 * formulas of the notebook, which are not those of m's evaluation. docs/QKERAS_FORMAT.md describes the files. counts
 * may be NULL. DT_ERR_ARGUMENT: bits are out of range. DT_ERR_UNSUPPORTED: m has no affine quantizers, or has batch
 * norms. DT_ERR_NUMERIC: a range is so narrow that its zero point is beyond 2^53. */
DT_API DT_MUST_CHECK dt_status dt_quantized_extract(dt_model *m, const dt_extraction *how, const char *folder,
                                                    dt_extraction_counts *counts);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_QUANTIZE_H */
