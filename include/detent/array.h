/*
 * array.h - for hardware: integer programs, the array that computes them, verification of every psum, and vectors for
 *           RTL.
 */
#ifndef DT_PUBLIC_ARRAY_H
#define DT_PUBLIC_ARRAY_H

#include "capture.h"
#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the integer array -------------------------------------------------------------------------- */

typedef enum { DT_DATAFLOW_WS, DT_DATAFLOW_OS } dt_dataflow;         /* weight stationary, output stationary */
typedef enum { DT_OVERFLOW_WRAP, DT_OVERFLOW_SATURATE } dt_overflow; /* two's complement; clipped at each addition */

/* A systolic array of rows x cols processing elements. A row takes an input channel (or an output position, output
 * stationary), a column a filter; larger layers are cut into tiles. accel/psum/psum.h has the order of the additions.
 */
typedef struct {
    int rows, cols; /* 1..256 */
    int psum_bits;  /* 8..32: of every partial sum, two's complement */
    dt_overflow overflow;
    dt_dataflow dataflow;
    int simd; /* activations that a PE takes in a cycle: 1; 2 of 2 unsigned bits; 0: 2 in layers whose codes fit */
} dt_array;

DT_API void dt_array_default(dt_array *out); /* 8x8, 16 bits, wrap, weight stationary, simd 0 */
/* DT_ERR_ARGUMENT names the field, its value and the range. */
DT_API DT_MUST_CHECK dt_status dt_array_check(const dt_array *a);

/* ---- programs ------------------------------------------------------------------------------------ */

/* Integers of a trained model: weight codes, and between two convolutions a table of psum thresholds for each channel,
 * bisected from the arithmetic of evaluation. So every code, prediction and score is the model's. Refused where a
 * convolution is not on the grid. d: whose normalisation a model of unknown origin gets; else it may be NULL. */
DT_API DT_MUST_CHECK dt_status dt_program_lower(dt_model *m, const dt_dataset *d, dt_program **out);
/* DT_ERR_UNSUPPORTED with the reason, and what can be had instead, if the model is of a kind that has no program:
 * a capsule network. A layer of another network may still have none. */
DT_API DT_MUST_CHECK dt_status dt_program_possible(const dt_model *m);
DT_API void dt_program_destroy(dt_program *p);

/* Of the thresholds that a multiplier and a shift replaced. */
typedef struct {
    int64_t n_channels;
    int64_t n_channels_differ;
    int64_t n_psums;        /* that the codes allow, over all channels */
    int64_t n_psums_differ; /* of those: get another code */
    int largest_difference; /* in codes */
} dt_requant_report;

/* Replaces each channel's thresholds by those of code = clamp((psum * multiplier + offset) >> shift), an integer of
 * `bits` bits (8..31) each; the report says how often they disagree with the exact ones. */
DT_API DT_MUST_CHECK dt_status dt_program_use_multipliers(dt_program *p, int bits, dt_requant_report *out);

/* One safetensors file; docs/PROGRAM_FORMAT.md. */
DT_API DT_MUST_CHECK dt_status dt_program_save(const dt_program *p, const char *path);
DT_API DT_MUST_CHECK dt_status dt_program_load(const char *path, dt_program **out);

/* dir/name.c and dir/name.h: C99 without malloc that runs the program for one image; name is a C identifier. */
DT_API DT_MUST_CHECK dt_status dt_program_write_c(const dt_program *p, const char *dir, const char *name);

/* A model that computes the program's integers, on any device, for dt_evaluate and dt_capture_layer; it cannot be
 * trained. array NULL: exact sums; else every psum is what that array makes of it. p may be destroyed afterwards. */
DT_API DT_MUST_CHECK dt_status dt_program_model(dt_context *ctx, const dt_program *p, const dt_array *array,
                                                dt_model **out);

/* One image [height][width][channels] by plain loops, the reference; scores: [n_classes]. */
DT_API DT_MUST_CHECK dt_status dt_program_run(const dt_program *p, const uint8_t *image, float *scores);

/* What it computes, for dt_graph_print; the program's. */
DT_API const dt_graph *dt_program_graph(const dt_program *p);

typedef struct {
    const char *name; /* "vgg16 choke 16 w4a2"; the program's */
    int height, width, channels, n_classes;
    int n_layers;          /* nodes that compute: all but the image's table, the weights' codes and the flattening */
    int64_t n_weights;     /* codes */
    size_t bytes;          /* of weights, thresholds and the rest, as stored */
    dt_data_origin origin; /* of the model that it was lowered from */
} dt_program_info;

DT_API void dt_program_describe(const dt_program *p, dt_program_info *out);

/* ---- verification and vectors ------------------------------------------------------------------- */

/* What one layer costs on the array, and what the array held. */
typedef struct {
    const char *name;
    int64_t images;
    int64_t n_psums, n_tap_psums;    /* outputs; psums of one tap and one input tile */
    int64_t min, max;                /* of all of them and of the running sums, before they are wrapped or clipped */
    int bits;                        /* two's complement bits that hold both */
    int64_t n_overflows;             /* psums that psum_bits could not hold */
    double zero_share;               /* of activation codes */
    int64_t macs, cycles;            /* for one image */
    double utilisation;              /* macs / (cycles * MACs that the array can do in one) */
    int64_t sram_reads, sram_writes; /* bytes for one image: activations, weights, psums */
} dt_array_report;

/* dt_evaluate of a program's model that has an array, with a report for each of its n_layers convolutions. */
DT_API DT_MUST_CHECK dt_status dt_array_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                                 const dt_progress *progress, const dt_outputs *outputs,
                                                 dt_metrics *out, dt_array_report *layers);

/* A convolution or a linear layer, or a sum of codes: a residual add, an average pool. */
typedef struct {
    dt_array_report array; /* of a sum: name, n_psums, min, max and bits */
    int on_array;          /* 0: a sum of codes, which has no weights */
    int64_t n_checked;     /* psums, tap psums and codes that were compared */
    int64_t mismatches;    /* of those */
    double mae_float;      /* of a layer: mean |psum * sx * sw - float convolution of the real operands| */
    double mae_next;       /* of a layer: mean |psum * sx * sw - what the next layer read| */
} dt_verify_layer;

/* The first psum or code that differs. */
typedef struct {
    const char *what; /* "grid psum", "grid sum", "array psum", "array tap", "program code", "program sum", or "program
                         score, f32 bits" */
    char layer[DT_NAME_MAX + 1];
    int64_t image;
    int row, col, channel; /* of the output (of the input for a code) */
    int tile, tap;         /* of an array tap, else -1 */
    int64_t expected, found;
} dt_mismatch;

typedef struct {
    int n_layers;
    dt_verify_layer *layer;
    int64_t n_checked;  /* values that were compared: those of the layers, and the program's scores */
    int64_t mismatches; /* of those */
    dt_mismatch first;  /* if mismatches > 0 */
} dt_verify_report;

/* Images first .. first + count - 1 of d through one layer or sum, or all of them (layer NULL): every psum of the
 * grid's forward, of the array, and of a sum in 64-bit integers; the program's codes and sums against the grid's. */
DT_API DT_MUST_CHECK dt_status dt_verify(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                         const char *layer, const dt_array *array, const dt_progress *progress,
                                         dt_verify_report **out);
DT_API void dt_verify_report_destroy(dt_verify_report *r);

/* How vectors are laid out for RTL; accel/vectors/vectors.h describes each. */
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
    /* Comment lines before the data of every file, 0..9; they begin with //, and $readmemb skips them.
     * DT_HEADER_OF_LAYOUT: as many as the designs have that the layout is from, which differs from file to file. */
    int header_lines;
} dt_vector_style;

/* Text files of image 0 of a capture (of its first map, if it has several) and a manifest.json that describes each,
 * into dir, which is made. layer: for the manifest. n_files may be NULL. */
DT_API DT_MUST_CHECK dt_status dt_vectors_save(const dt_capture *c, const char *layer, const dt_array *array,
                                               const dt_vector_style *style, const char *dir, int *n_files);
typedef struct {
    int64_t n_psums, n_mismatches;
    /* The first psum that differs, if n_mismatches > 0. */
    char file[96];
    int line, lane; /* from 1, header lines counted */
    int64_t expected, found;
} dt_vectors_report;

/* Reads such a folder back: every file is as the manifest says, and the psums in it are those of its activations and
 * weights. n_mismatches counts psums that are not; a damaged file is DT_ERR_FORMAT. */
DT_API DT_MUST_CHECK dt_status dt_vectors_check(const char *dir, dt_vectors_report *out);

/* Words of the enumerations above, in their order, NULL at the end. */
DT_API extern const char *const dt_dataflow_names[3];
DT_API extern const char *const dt_overflow_names[3];
DT_API extern const char *const dt_layout_names[7];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_ARRAY_H */
