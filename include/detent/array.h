/*
 * array.h - for hardware: integer programs, the array that computes them, verification of every psum, and vectors for
 *           RTL.
 */
#ifndef DT_PUBLIC_ARRAY_H
#define DT_PUBLIC_ARRAY_H

#include "capture.h"
#include "evaluate.h"
#include "quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the integer array -------------------------------------------------------------------------- */

/* Which operand a processing element keeps: weight stationary, or output stationary. */
typedef enum { DT_DATAFLOW_WS, DT_DATAFLOW_OS } dt_dataflow;
/* What becomes of a psum that does not fit: it wraps in two's complement, or is clipped after each addition. */
typedef enum { DT_OVERFLOW_WRAP, DT_OVERFLOW_SATURATE } dt_overflow;

/* A systolic array of rows x cols processing elements (PEs). A row takes an input channel (output stationary: an output
 * position), and a column takes a filter. Larger layers are cut into tiles. accel/psum/psum.h has the order of the
 * additions. */
typedef struct {
    int rows, cols; /* 1..256 */
    int psum_bits;  /* of every psum, two's complement, 8..32 */
    dt_overflow overflow;
    dt_dataflow dataflow;
    int simd; /* activations that a PE takes in a cycle: 1, or 2 of at most 2 unsigned bits; 0: 2 in layers whose codes
                 fit, else 1 */
} dt_array;

/* Sets 8x8, 16 bits, wrap, weight stationary, simd 0. */
DT_API void dt_array_default(dt_array *out);
/* DT_ERR_ARGUMENT names the field that is out of range, its value and the range. */
DT_API DT_MUST_CHECK dt_status dt_array_check(const dt_array *a);

/* ---- programs ------------------------------------------------------------------------------------ */

/* Makes the integer program of a trained model. It has weight codes, and between two convolutions a table of psum
 * thresholds for each channel, found by bisecting the arithmetic of evaluation. Therefore every code, prediction and
 * score of the program equals the model's. Where the model's origin is unknown, the program normalises images as d's;
 * else d may be NULL. DT_ERR_UNSUPPORTED: a convolution is not on the grid, or the network has an operator that has no
 * integer form. */
DT_API DT_MUST_CHECK dt_status dt_program_lower(dt_model *m, const dt_dataset *d, dt_program **out);
/* The same under a profile, which nodes that make codes of a quantized model have: dt_program_lower gives them
 * litert-ref. Under DT_PROFILE_EXACT such a program has thresholds too, and each of its codes equals the model's; codes
 * have at most 8 bits then. DT_ERR_UNSUPPORTED: the model has no affine quantizers, so that its program computes under
 * no engine's profile. */
DT_API DT_MUST_CHECK dt_status dt_program_lower_under(dt_model *m, const dt_dataset *d, dt_profile profile,
                                                      dt_program **out);
/* DT_ERR_UNSUPPORTED if the model is of a kind that has no program: real numbers route its capsules, or it was trained
 * on reals without affine quantizers. The message has the reason and what to use instead. DT_OK is no promise:
 * dt_program_lower may still refuse a layer. */
DT_API DT_MUST_CHECK dt_status dt_program_possible(const dt_model *m);
DT_API void dt_program_destroy(dt_program *p);

/* How thresholds that a multiplier and a shift replaced compare with the exact ones. */
typedef struct {
    int64_t n_channels;
    int64_t n_channels_differ; /* channels with at least one psum that gets another code */
    int64_t n_psums;           /* psums that the codes allow, over all channels */
    int64_t n_psums_differ;    /* psums that get another code */
    int largest_difference;    /* in codes */
} dt_requant_report;

/* Replaces each channel's thresholds by those of code = clamp((psum * multiplier + offset) >> shift). The multiplier
 * has `bits` bits, two's complement, 8..31; the offset fits 62 bits. The report says how often codes differ from the
 * exact ones. */
DT_API DT_MUST_CHECK dt_status dt_program_use_multipliers(dt_program *p, int bits, dt_requant_report *out);

/* Gives the nodes of a program of post-training quantization the arithmetic of an engine. DT_ERR_UNSUPPORTED: it has no
 * such nodes, because its codes are those of evaluation; or one of both profiles is DT_PROFILE_EXACT, whose nodes
 * dt_program_lower_under makes of the model. */
DT_API DT_MUST_CHECK dt_status dt_program_use_profile(dt_program *p, dt_profile profile);
/* Returns the dt_profile under which the program computes, or -1 if there is none. */
DT_API int dt_program_profile(const dt_program *p);

/* Gives a program of post-training quantization another cast of its image. DT_ERR_UNSUPPORTED: it does not quantize its
 * image, or not to 8 bits, which the truncating casts make. */
DT_API DT_MUST_CHECK dt_status dt_program_use_cast(dt_program *p, dt_image_cast cast);
/* Returns the cast of the program's image; DT_CAST_ROUND if it does not quantize one. */
DT_API dt_image_cast dt_program_cast(const dt_program *p);

/* Writes the program to one safetensors file; docs/PROGRAM_FORMAT.md describes it. */
DT_API DT_MUST_CHECK dt_status dt_program_save(const dt_program *p, const char *path);
/* Reads such a file, or a TensorFlow Lite file of int8 arithmetic, whose profile is then litert-ref. DT_ERR_FORMAT
 * names the file and what is wrong in it. */
DT_API DT_MUST_CHECK dt_status dt_program_load(const char *path, dt_program **out);

/* Writes dir/name.c and dir/name.h: C99 without malloc and <math.h> that runs the program for one image. name is a C
 * identifier. The functions take pixels, if the program knows how they are normalised; reals, if it reads reals; and
 * stored integers of 8 bits, if its image and its scores are codes of a profile. Scores have the bits of dt_program_run
 * and dt_program_run_reals. */
DT_API DT_MUST_CHECK dt_status dt_program_write_c(const dt_program *p, const char *dir, const char *name);

/* The type of the input and the output of a TensorFlow Lite file: reals; codes with their zero point, -128..127; or
 * those, stored 128 higher, 0..255. */
typedef enum { DT_TFLITE_IO_F32, DT_TFLITE_IO_I8, DT_TFLITE_IO_U8 } dt_tflite_io;

/* Makes an int8 TensorFlow Lite file of a program of post-training quantization, or replaces it whole. The file says
 * nothing of a profile: the engine that runs it has its own arithmetic. DT_ERR_UNSUPPORTED: a node has no form in such
 * a file; the message names it. */
DT_API DT_MUST_CHECK dt_status dt_program_write_tflite(const dt_program *p, dt_tflite_io io, const char *path);

/* How an ONNX file marks codes: QuantizeLinear and DequantizeLinear, of 8 bits, behind a Clip of reals; the same with a
 * Clip of codes between them; or Quant of QONNX, which such a file defines as a function. */
typedef enum { DT_ONNX_QDQ, DT_ONNX_QCDQ, DT_ONNX_QONNX } dt_onnx_style;

/* Makes an ONNX file of a program, or replaces it whole. It takes normalised images N,C,H,W and gives real scores
 * N,classes. opset: 13..21.
 * A program of post-training quantization becomes int8 weights and codes, int32 biases, and operators on the reals
 * between them, as ONNX Runtime's static quantization writes them; its style is QDQ.
 * A program whose codes are made by thresholds becomes convolutions of integers, with the scale 1, and a factor and a
 * sum for each channel between them, so that whoever computes in f32 without fusing operators gets each of its codes.
 * DT_ERR_UNSUPPORTED: a node has no form in such a file; the message names it. */
DT_API DT_MUST_CHECK dt_status dt_program_write_onnx(const dt_program *p, dt_onnx_style style, int opset,
                                                     const char *path);

/* Makes a model that computes the program's integers on ctx's device, for everything that runs a model; it cannot be
 * trained. array NULL: psums are exact; else each psum is the one that this array computes. p may be destroyed
 * afterwards. */
DT_API DT_MUST_CHECK dt_status dt_program_model(dt_context *ctx, const dt_program *p, const dt_array *array,
                                                dt_model **out);

/* Runs one image, [height][width][channels] pixels, by plain loops: the reference. scores: [n_classes]. */
DT_API DT_MUST_CHECK dt_status dt_program_run(const dt_program *p, const uint8_t *image, float *scores);
/* Runs one image of reals, which a program of post-training quantization takes. */
DT_API DT_MUST_CHECK dt_status dt_program_run_reals(const dt_program *p, const float *image, float *scores);

/* What it computes, for dt_graph_print; the program's. */
DT_API const dt_graph *dt_program_graph(const dt_program *p);

typedef struct {
    const char *name; /* "vgg16 choke 16 w4a2"; the program's */
    int height, width, channels, n_classes;
    int n_layers;          /* nodes that compute: all but the image's table, the weights' codes and the flattening */
    int64_t n_weights;     /* weight codes */
    size_t bytes;          /* of weights, thresholds and all other data, as stored */
    dt_data_origin origin; /* that of the model which was lowered */
} dt_program_info;

DT_API void dt_program_describe(const dt_program *p, dt_program_info *out);

/* ---- verification and vectors ------------------------------------------------------------------- */

/* What one layer costs on the array, and which psums the array had to hold. */
typedef struct {
    const char *name;
    int64_t images;
    int64_t n_psums, n_tap_psums;    /* over all images; output stationary: there are no tap psums */
    int64_t min, max;                /* of psums, tap psums and running sums, before they are wrapped or clipped */
    int bits;                        /* two's complement bits that hold both */
    int64_t n_overflows;             /* of these sums, those that psum_bits could not hold */
    double zero_share;               /* share of the activation codes that are 0 */
    int64_t macs, cycles;            /* for one image */
    double utilisation;              /* macs / (cycles * MACs that the array can do in a cycle), 0..1 */
    int64_t sram_reads, sram_writes; /* bytes of activations, weights and psums, for one image */
} dt_array_report;

/* Evaluates a model that dt_program_model made with an array, as dt_evaluate does. layers: [dt_model_n_layers] reports,
 * one for each convolution. */
DT_API DT_MUST_CHECK dt_status dt_array_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                                 const dt_progress *progress, const dt_outputs *outputs,
                                                 dt_metrics *out, dt_array_report *layers);

/* A convolution or a linear layer; a sum of codes, as a residual add or an average pool; or a routing by integers. */
typedef struct {
    dt_array_report array; /* of a sum: name, n_psums, min, max and bits */
    int on_array;          /* 0: a sum of codes, which has no weights */
    int64_t n_checked;     /* psums, tap psums and codes that were compared */
    int64_t mismatches;    /* how many of them differ */
    double mae_float;      /* of a layer: mean |psum * sx * sw - float convolution of the real operands| */
    double mae_next;       /* of a layer: mean |psum * sx * sw - what the next layer read| */
    int is_routing;        /* 1: what follows is set: the integers against routing of the same votes by real numbers */
    double mean_error, largest_error; /* |v - real v| over the values of the last iteration's capsules */
    double largest_coupling_error;    /* |c - real c| over all iterations; 0 where there is one */
    double class_error;               /* share of the images with another longest class capsule, 0..1 */
} dt_verify_layer;

/* The first value that differs. */
typedef struct {
    const char *what; /* "grid psum", "grid sum", "array psum", "array tap", "program code", "program sum", "program
                         score, f32 bits", or a value of a routing: "routing sum s", .. */
    char layer[DT_NAME_MAX + 1];
    int64_t image;
    int row, col, channel; /* position in the layer's output; that of a code in the layer's input */
    int tile, tap;         /* of an array tap; else -1 */
    int64_t expected, found;
} dt_mismatch;

typedef struct {
    int n_layers;
    dt_verify_layer *layer; /* [n_layers] */
    int64_t n_checked;      /* values that were compared: those of the layers, and the program's scores */
    int64_t mismatches;     /* how many of them differ */
    dt_mismatch first;      /* set if mismatches > 0 */
} dt_verify_report;

/* Verifies one layer or sum of m, or all of them if layer is NULL, on images first .. first + count - 1 of d. It
 * compares every psum of the grid's forward and of the array with a sum in 64-bit integers, and the codes and sums of
 * the program with those of the grid. The program of a model with affine quantizers is that of DT_PROFILE_EXACT.
 * Mismatches are reported in *out and are no error. */
DT_API DT_MUST_CHECK dt_status dt_verify(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                         const char *layer, const dt_array *array, const dt_progress *progress,
                                         dt_verify_report **out);

/* What a program is verified on. */
typedef struct {
    const dt_dataset *dataset;
    int64_t first, count; /* images first .. first + count - 1 */
    const char *layer;    /* one layer or value; NULL: all */
    const dt_array *array;
    const dt_progress *progress; /* NULL: none */
} dt_verification;

/* Verifies a program by itself, as one that computes under a profile is: its psums and the array's against sums in
 * 64-bit integers, and what every other node makes against the reference, plain loops over the values that the node has
 * read. */
DT_API DT_MUST_CHECK dt_status dt_verify_program(dt_context *ctx, const dt_program *p, const dt_verification *what,
                                                 dt_verify_report **out);
DT_API void dt_verify_report_destroy(dt_verify_report *r);

/* The layout of vectors for RTL; accel/vectors/vectors.h describes each. */
typedef enum {
    DT_LAYOUT_COURSE,
    DT_LAYOUT_NOTEBOOK,
    DT_LAYOUT_PACK_A,
    DT_LAYOUT_PACK_B,
    DT_LAYOUT_PACK_C,
    DT_LAYOUT_OUTPUT_STATIONARY
} dt_layout;

enum { DT_HEADER_OF_LAYOUT = -1, DT_HEADER_LINES_MOST = 9 };

typedef struct {
    dt_layout layout;
    /* Comment lines before the data of every file, 0..9. They begin with //, and $readmemb skips them.
     * DT_HEADER_OF_LAYOUT: each file has the lines that it has in the designs from which the layout comes. */
    int header_lines;
} dt_vector_style;

/* Returns 1 if the model routes capsules by integers in a node of that name. */
DT_API int dt_model_has_routing(const dt_model *m, const char *layer);
/* Writes every step of that routing of one image, pixels [height][width][channels], to the folder dir, as numbers and
 * as lines for a test bench. n_files counts the files. */
DT_API DT_MUST_CHECK dt_status dt_capsule_vectors_save(const dt_program *p, const uint8_t *image, const char *layer,
                                                       const char *dir, int *n_files);

/* Makes the folder dir and writes vectors of image 0 of a capture into it (of the image's first map, if it has
 * several): text files, and a manifest.json that describes each. layer is the name that the manifest gives. *n_files is
 * set to the number of text files; n_files may be NULL. */
DT_API DT_MUST_CHECK dt_status dt_vectors_save(const dt_capture *c, const char *layer, const dt_array *array,
                                               const dt_vector_style *style, const char *dir, int *n_files);
typedef struct {
    int64_t n_psums, n_mismatches;
    /* The rest tells of the first psum that differs, and is set if n_mismatches > 0. */
    char file[96];
    int line, lane; /* counted from 1; line counts header lines too */
    int64_t expected, found;
} dt_vectors_report;

/* Reads such a folder back. It checks each file against the manifest, and the psums against those that the activations
 * and weights give. n_mismatches counts psums that differ. DT_ERR_FORMAT: a file is not as the manifest says. */
DT_API DT_MUST_CHECK dt_status dt_vectors_check(const char *dir, dt_vectors_report *out);

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_dataflow_names[3];
DT_API extern const char *const dt_overflow_names[3];
DT_API extern const char *const dt_layout_names[7];
DT_API extern const char *const dt_tflite_io_names[4];
DT_API extern const char *const dt_onnx_style_names[4];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_ARRAY_H */
