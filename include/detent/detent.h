/*
 * detent.h - the whole public interface: contexts, datasets, models, evaluation, capture, training and checkpoints
 * here; integer programs and the array in detent_array.h, Q-CapsNets in detent_qcaps.h, both of which it includes.
 *
 * Rules that hold for every function here:
 *   - Failure is returned, never printed and never exit()ed; dt_last_error() has the text, dt_last_trace() the place.
 *   - The out-parameter is last and is written only on DT_OK.
 *   - Every _destroy/_close accepts NULL.
 *   - `bytes` counts bytes; `n` and `count` count elements or images.
 *   - Images are N,H,W,C; filters are K,R,S,C; host buffers are row-major.
 *   - A context and everything made from it belong to one thread at a time. Threads may each have a context of their
 *     own, at the same time; a dataset or a program that nobody changes may be read by several of them.
 *   - Destroying may be done in any order: a context lives until its last model is destroyed, a model until its last
 *     trainer is. What a _look or _get gave goes with the object that it was asked of.
 *   - A context's `threads` hold for its own work alone; the caller's OpenMP settings are left as they are. Results
 *     do not depend on the threads, nor on how many of them OpenMP grants.
 */
#ifndef DT_DETENT_H
#define DT_DETENT_H

#include <stddef.h> /* size_t */
#include <stdint.h> /* int64_t */

#include "status.h" /* dt_status, DT_MUST_CHECK */

#ifdef __cplusplus
extern "C" {
#endif

#define DT_VERSION "0.1.0"

typedef struct dt_context dt_context; /* one device: its backend, threads, workspace */
typedef struct dt_dataset dt_dataset; /* labelled 8-bit images in host memory */
typedef struct dt_graph dt_graph;     /* a network as data: operators and the shapes of parameters, no values */
typedef struct dt_model dt_model;     /* named parameters + a function that records a tape */
typedef struct dt_trainer dt_trainer; /* model + loss + optimiser + schedule + step graph */
typedef struct dt_program dt_program; /* a trained network as integers: what the hardware computes */

/* ---- context ---------------------------------------------------------------------------------- */

/* f32: everything in f32. mixed: convolutions take 16-bit operands in backward (accumulating in f32); forward
 * psums are integers and exact either way, so evaluation gives equal bits in both. */
typedef enum { DT_PRECISION_F32, DT_PRECISION_MIXED } dt_precision;

typedef struct {
    const char *backend; /* "cpu", "cuda", or "auto": cuda if a device answers, else cpu */
    int device;          /* ordinal of the GPU */
    int threads;         /* OpenMP threads for this context's work; 0: as many as its creator's regions would get */
    dt_precision precision;
    uint64_t seed; /* every random number is a function of this, its purpose and its index */
    int no_graph;  /* 1: run eagerly, for debugging; results are the same bits */
} dt_options;

void dt_options_default(dt_options *out);
DT_MUST_CHECK dt_status dt_context_create(const dt_options *opt, dt_context **out);
void dt_context_destroy(dt_context *ctx);
const char *dt_context_backend(const dt_context *ctx); /* "cpu" or "cuda" */
const char *dt_context_device(const dt_context *ctx);  /* for people: "2 threads, avx512_core_bf16" */
/* Why "auto" did not take the GPU that the machine has; "" if it did, if there is none, or if "auto" was not asked. */
const char *dt_context_fallback(const dt_context *ctx);

/* ---- datasets --------------------------------------------------------------------------------- */

/* TRAIN and VALIDATION share the training files: `held_out` images of each dataset's are for VALIDATION alone. */
typedef enum { DT_SPLIT_TRAIN, DT_SPLIT_TEST, DT_SPLIT_VALIDATION } dt_split;

typedef struct {
    const char *name; /* one of dt_dataset_known() */
    const char *dir;  /* folder of its files; NULL: the dataset's own default folders */
    dt_split split;
    int64_t limit;    /* 0: all; else a subset with equally many images of every class, +-1 */
    int64_t held_out; /* training images kept for validation, equally many of every class, +-1; 0: none */
    uint64_t seed;    /* chooses both subsets, and makes the synthetic images */
    int height;       /* smaller images are zero-padded evenly to this, or resized; 0: as in the files */
    int width;
    int resize;   /* 1: images are scaled to height x width, bilinearly, as Pillow does it; 0: padded */
    int channels; /* 1 -> 3 repeats the grey channel; 0: as in the files */
} dt_dataset_options;

enum { DT_DATASET_NAME_BYTES = 32, DT_FINGERPRINT_BYTES = 17 /* ends included */ };

/* Borrowed from the dataset; valid until it is closed. */
typedef struct {
    const char *name;
    /* Of all images and labels in the split's files, whatever was asked for: CRC-32 of the pixels and CRC-32 of the
     * labels, a byte each, in hexadecimal. Equal for a file and its .gz. It finds mistakes, not forgers. */
    char fingerprint[DT_FINGERPRINT_BYTES];
    const uint8_t *images; /* [n][height][width][channels] */
    const int32_t *labels; /* [n], 0..n_classes-1 */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4]; /* of a channel, for pixels in 0..1: x = (pixel / 255 - mean) / std */
    float std[4];
} dt_dataset_view;

/* What a network was trained on. Wherever it runs, images are normalised as those were. */
typedef struct {
    char name[DT_DATASET_NAME_BYTES];       /* of the dataset; "": unknown, and nothing else counts */
    int n_images;                           /* in training; 0: unknown */
    char fingerprint[DT_FINGERPRINT_BYTES]; /* of the training files; "": unknown */
    float mean[4];                          /* of a channel; 0 where the network takes pixels of 0..1 */
    float std[4];                           /* 1 there; 0 of channels that images do not have */
} dt_data_origin;

typedef struct {
    const char *name;
    const char *about; /* "60,000 + 10,000 grey 28x28 images of clothing, 10 classes" */
    const char *files; /* the files it looks for, separated by blanks */
    const char *where; /* folders it looks in, most wanted first, separated by ':'; "" where it needs --data */
    const char *get;   /* how to get the rest, one line */
} dt_dataset_info;

int dt_dataset_known(const dt_dataset_info **out); /* returns how many */
/* DT_OK and the folder that holds all files of the split, else the error that open would give. */
DT_MUST_CHECK dt_status dt_dataset_find(const char *name, const char *dir, dt_split split, char *found, size_t bytes);
DT_MUST_CHECK dt_status dt_dataset_open(const dt_dataset_options *opt, dt_dataset **out);
void dt_dataset_look(const dt_dataset *d, dt_dataset_view *out);
void dt_dataset_close(dt_dataset *d);

/* Images of one's own, in memory. */
typedef struct {
    const char *name;      /* says in checkpoints what a network was trained on: 1 to 31 characters */
    const uint8_t *images; /* [n][height][width][channels] */
    const int32_t *labels; /* [n], 0..n_classes-1; NULL: all 0 */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4], std[4]; /* of a channel, for pixels in 0..1; where std is 0 both are taken from the images */
} dt_images;

/* A dataset of copies of them. */
DT_MUST_CHECK dt_status dt_dataset_from_memory(const dt_images *images, dt_dataset **out);

/* ---- models ----------------------------------------------------------------------------------- */

/* How a quantizer's gradient treats its clip; quant/grid.h has the formulas. */
typedef enum {
    DT_RULE_ECE284, /* straight-through, masked outside the clip; alpha learns from clipped values only */
    DT_RULE_APOT,   /* alpha also learns from the rounding error inside; weights' gradient is not masked */
    DT_RULE_SCREAM, /* as APOT, but masked */
    DT_RULE_PACT,   /* activations: edge at v >= alpha; weights as ECE284 */
    DT_RULE_LSQ     /* a learned step in place of a clip */
} dt_quant_rule;

/* FC: three linear layers, for images of any size. CONV28, CONV64: transposed convolutions, for images of that size. */
typedef enum { DT_DECODER_NONE, DT_DECODER_FC, DT_DECODER_CONV28, DT_DECODER_CONV64 } dt_decoder;

enum { DT_BITS_FLOAT = 32 }; /* wbits or abits of this: no quantizer */

/* Bits of the layers whose name `layer` is, or fits as a pattern with * and ?. */
typedef struct {
    const char *layer;
    int wbits, abits; /* 2..8, or both DT_BITS_FLOAT: the layer computes on reals */
} dt_layer_bits;

typedef struct {
    const char *name; /* "vgg16"; or a network's file: a path, with a '/' in it or ".json" at its end */
    int height, width, channels, n_classes; /* of a file's network 0 too: as the file says, and nothing else */
    int choke;       /* channels of the chokepoint, 0: none */
    int skip_block;  /* 1: the skip block at features[20] (its chokepoint has `choke` channels) */
    int wbits;       /* 2..8 or DT_BITS_FLOAT */
    int abits;       /* 2..8 or DT_BITS_FLOAT */
    int input_bits;  /* of the image: 2..8 signed and fixed, or 0: quantized like any activation */
    int per_channel; /* 1: a clip for each filter, else one for the layer */
    dt_quant_rule rule;
    int first_last_bits;             /* of weights and activations of the first and the last convolution; 0: as others */
    const dt_layer_bits *layer_bits; /* [n_layer_bits] before all of these; of several that fit, the last */
    int n_layer_bits;
    /* Capsule networks only. */
    int caps_dim;       /* values of a class capsule */
    int routing;        /* iterations of dynamic routing, 1..4 */
    int paper_primary;  /* shallowcaps: primary capsules are squash(s + b), as in the paper, not squash(s / 32 + b) */
    dt_decoder decoder; /* reconstructs the image in training */
} dt_model_config;

/* What a model is, as its network says, wherever that came from. */
typedef struct {
    const char *name; /* of the network: "vgg16 choke 16"; the model's */
    int height, width, channels, n_classes;
    int wbits_least, wbits_most; /* of the layers that are quantized; DT_BITS_FLOAT: none is */
    int abits_least, abits_most; /* the image's not counted */
    int n_float;                 /* convolutions and votes that compute on reals */
    dt_quant_rule rule;          /* of the weights' quantizers */
    int caps_dim;                /* values of a class capsule; 0: no capsule network */
    int routing;                 /* iterations that make the class capsules; 0: none */
    int has_decoder;             /* 1: makes the image again in training */
    int is_resized;              /* 1: takes images that are resized to its size; 0: padded */
} dt_model_info;

/* Which learning rate and weight decay a parameter gets. STATE is not trained (running statistics, fixed clips). */
typedef enum { DT_GROUP_WEIGHT, DT_GROUP_ALPHA, DT_GROUP_STATE } dt_param_group;

typedef struct {
    const char *name; /* as in the checkpoint: "features.27.weight" */
    dt_param_group group;
    int ndim;
    int64_t dim[4]; /* filters K,R,S,C */
    int64_t count;
} dt_param_info;

/* One convolution on the integer grid, as `detent inspect` prints it. */
typedef struct {
    const char *name; /* "features.27" */
    int wbits, abits;
    int64_t terms;      /* K: products in one psum = C*R*S */
    int64_t psum_bound; /* largest |psum| that the codes allow: terms * max|qx| * max|qw| */
    int psum_bits;      /* two's complement bits that hold +-psum_bound */
    int exact_f32;      /* psum_bound < 2^24: any f32 summation order gives the integer */
    int64_t macs;       /* per image, all of its maps */
    int maps;           /* feature maps an image that the filters convolve: 1; DeepCaps' routed skip: a map a type */
    int height, width;  /* of the output, one map's */
    int filters;
} dt_layer_info;

/* Of a network's file, 4 bits and its own sizes; float where it has quantizers already. out->name is then the caller's
 * text. */
DT_MUST_CHECK dt_status dt_model_config_default(const char *name, dt_model_config *out);
/* 1: a network of that name is trained on images that are resized to its size; 0: on padded ones, or unknown. */
int dt_model_resizes(const char *network);
/* 1 if the name is the path of a network's file. */
int dt_network_is_file(const char *name);
/* The network of a JSON file, of real values: docs/NETWORK_FORMAT.md. DT_ERR_FORMAT names file, node and attribute. */
DT_MUST_CHECK dt_status dt_graph_load(const char *path, dt_graph **out);
void dt_graph_destroy(dt_graph *g);
/* TABLE: a line a node, for people. FILE: the network's file, which dt_graph_load reads. DOT: for Graphviz. */
typedef enum { DT_GRAPH_TABLE, DT_GRAPH_FILE, DT_GRAPH_DOT } dt_graph_form;
/* The caller frees *out. */
DT_MUST_CHECK dt_status dt_graph_print(const dt_graph *g, dt_graph_form form, char **out);
DT_MUST_CHECK dt_status dt_model_create(dt_context *ctx, const dt_model_config *cfg, dt_model **out);
/* A model of a network that one has: of bits, the two bits, input_bits, per_channel and rule are read; its sizes may be
 * 0 or the network's. graph stays the caller's. */
DT_MUST_CHECK dt_status dt_model_create_of(dt_context *ctx, const dt_graph *graph, const dt_model_config *bits,
                                           dt_model **out);
void dt_model_destroy(dt_model *m);
void dt_model_look(const dt_model *m, dt_model_info *out);
const dt_graph *dt_model_graph(const dt_model *m); /* with its quantizers; the model's */
/* Of its training or its file; unknown in a new model. */
const dt_data_origin *dt_model_get_origin(const dt_model *m);
int dt_model_n_params(const dt_model *m);
void dt_model_param(const dt_model *m, int i, dt_param_info *out); /* 0 <= i < n_params */
int64_t dt_model_count(const dt_model *m);                         /* trained values, clips not counted */
DT_MUST_CHECK dt_status dt_model_read(const dt_model *m, int i, float *host);
DT_MUST_CHECK dt_status dt_model_write(dt_model *m, int i, const float *host);
int dt_model_n_layers(const dt_model *m);
void dt_model_layer(const dt_model *m, int i, dt_layer_info *out);

/* ---- evaluation and capture ------------------------------------------------------------------- */

typedef struct {
    double loss;           /* mean over images */
    double reconstruction; /* mean over images of the squared error summed over an image; 0 without a decoder */
    double accuracy;       /* 0..1 */
    int64_t images;        /* images that the two numbers above are over */
} dt_metrics;

/* tick is called after each batch of long work; returning non-zero stops it with DT_ERR_INTERRUPTED. watch is called by
 * evaluations after every watch_every batches, with the metrics of the images so far, for which it waits for the
 * device; it may be NULL. */
typedef struct {
    int (*tick)(void *user, int64_t done, int64_t total);
    void *user;
    dt_status (*watch)(void *user, const dt_metrics *so_far);
    int64_t watch_every;
} dt_progress;

/* What an evaluation keeps of each of the dataset's n images; a member may be NULL. */
typedef struct {
    int32_t *predictions; /* [n] class of the largest score, of equal ones the first */
    float *scores;        /* [n][n_classes of the model] logits; lengths of class capsules */
} dt_outputs;

/* Images are normalised by the model's origin, or where that is unknown by d's own mean and std; so in everything below
 * that runs a model. progress and outputs may be NULL. DT_ERR_NUMERIC if a parameter or the loss is no number. */
DT_MUST_CHECK dt_status dt_evaluate(dt_model *m, const dt_dataset *d, int batch, float label_smoothing,
                                    const dt_progress *progress, const dt_outputs *outputs, dt_metrics *out);

/* What a value of the network was for a batch of images: images first, first + 1, .. */
typedef struct {
    const char *name; /* of the value: "features.27" */
    int64_t first;
    int ndim;
    int64_t dim[6];      /* the first axis: images, or a multiple where the network sees an image as several */
    const float *values; /* codes where the value is on the grid */
    int n_scale;         /* 0: real values; else value = scale * code, of one scale or one a channel */
    const float *scale;  /* [n_scale] */
} dt_value_batch;

enum { DT_PREDICT_BATCH = 128 };

/* What to predict. Images of the network's size, [n][height][width][channels]: pixels, which are normalised as those
 * that it was trained on; or normalised already. */
typedef struct {
    const uint8_t *pixels;
    const float *normalised;
    int64_t n;
    int batch; /* images at once; 0: DT_PREDICT_BATCH */
    /* Called for each value of each batch, in the order of the network; NULL: nobody looks. */
    dt_status (*look)(void *user, const dt_value_batch *value);
    void *user;
    const dt_progress *progress; /* or NULL */
} dt_prediction;

/* scores: [n][classes], as dt_outputs'. Of a program's model, too. */
DT_MUST_CHECK dt_status dt_predict(dt_model *m, const dt_prediction *what, float *scores);

/* The same from file to file: the tensor `name` (NULL: the only one) of a safetensors file, U8 or F32 [N][H][W][C]; to
 * the tensors `scores` F32 [N][classes] and, for each value that layer names (NULL: none, "all": all), one of its name:
 * F32, or I32 with NAME.scale. */
DT_MUST_CHECK dt_status dt_predict_file(dt_model *m, const char *inputs, const char *name, const char *layer,
                                        const dt_progress *progress, const char *out);

/* How the classes were told apart. */
typedef struct {
    int n_classes;
    int64_t n;          /* images */
    int64_t *confusion; /* [n_classes][n_classes] images of class i (row) whose largest score is class j's (column) */
    int64_t *ranked;    /* [n_classes] images whose own class has the score of that rank; 0: the largest */
} dt_class_report;

/* scores: [n][n_classes]; labels: [n]. Equal scores rank in the order of their classes, as predictions do. A score that
 * is not a number is DT_ERR_NUMERIC. */
DT_MUST_CHECK dt_status dt_class_report_create(const float *scores, const int32_t *labels, int64_t n, int n_classes,
                                               dt_class_report **out);
void dt_class_report_destroy(dt_class_report *r);
/* Share of the images whose own class is among the k largest scores: top-k accuracy, 0..1. */
double dt_class_report_top(const dt_class_report *r, int k);

/* What one convolution saw and gave. Codes are integers held in f32; the real value is scale * code. */
typedef struct {
    int64_t n;                   /* images */
    int maps;                    /* of an image, as dt_layer_info's; those of an image follow each other */
    int height, width, channels; /* of the input */
    int out_height, out_width, filters;
    int kernel_height, kernel_width, stride, pad;
    int x_low, x_high, w_low, w_high; /* what the bits of the codes allow */
    float *qx;                        /* [n][maps][height][width][channels] codes */
    float *qw;                        /* [filters][kernel_height][kernel_width][channels] codes */
    float *psum;                      /* [n][maps][out_height][out_width][filters] */
    float sx;                         /* scale of qx */
    float *sw;                        /* [n_sw] scale of qw: one, or one a filter */
    int n_sw;
    dt_data_origin origin; /* of the model */
    char layer[64];
    float *input_float; /* as qx: what the layer's quantizer read; NULL where no quantizer made the codes, as in a
                           program */
    /* The convolution or linear layer that reads what becomes of the output, and the floats that arrive there, before
     * it quantizes them: [n][next_maps][next_height][next_width][next_channels]; a flat tensor is 1x1. "" and NULL:
     * nobody does, several do, or what arrives are codes. */
    char next_layer[64];
    int next_maps, next_height, next_width, next_channels;
    float *next_input;
} dt_capture;

DT_MUST_CHECK dt_status dt_capture_layer(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                         const char *layer, dt_capture **out);
void dt_capture_destroy(dt_capture *c);

/* Class capsules of images first .. first + count - 1: [count][n_classes][caps_dim]. */
DT_MUST_CHECK dt_status dt_capsules(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, float *capsules);
/* What the decoder makes of n capsules [n][caps_dim]: [n][height][width][channels], of which 0..1 is black to white. */
DT_MUST_CHECK dt_status dt_decode(dt_model *m, const float *capsules, int64_t n, float *images);
/* [height][width][channels] with 1 or 3 channels, as a PNG. */
DT_MUST_CHECK dt_status dt_png_save(const char *path, const uint8_t *pixels, int height, int width, int channels);

#include "detent_array.h" /* integer programs, the array that computes them, verification, vectors for RTL */
#include "detent_qcaps.h" /* Q-CapsNets: few bits for capsule networks */

/* ---- training --------------------------------------------------------------------------------- */

typedef enum { DT_OPTIM_SGD, DT_OPTIM_ADAM } dt_optim_kind;
typedef enum {
    DT_SCHEDULE_CONSTANT,
    DT_SCHEDULE_COSINE,
    DT_SCHEDULE_STEP,
    DT_SCHEDULE_EXPONENTIAL,
    DT_SCHEDULE_DECAY
} dt_schedule_kind;

typedef struct {
    int batch;
    int epochs;
    dt_optim_kind optim;
    float lr;
    float momentum;              /* SGD */
    float beta1, beta2, epsilon; /* Adam */
    float weight_decay;
    float alpha_lr;    /* factor on lr for clip alphas */
    float alpha_decay; /* weight decay of clip alphas */
    dt_schedule_kind schedule;
    int step_epochs[2]; /* STEP: lr is multiplied by gamma when these epochs begin */
    float gamma;        /* STEP, EXPONENTIAL (each epoch) */
    int decay_steps;    /* DECAY: lr * decay_rate^(steps done / decay_steps), a real exponent */
    float decay_rate;
    float label_smoothing;
    int crop_pad;     /* pixels of zero padding before a random crop; 0: no crop */
    int shift;        /* moves images by round(U(-shift, shift)) pixels along both axes, filled with 0; 0: not */
    float rotation;   /* turns images by U(-rotation, rotation) degrees, nearest pixel, filled with 0; 0..45; 0: not */
    float flip_share; /* share of images that are mirrored; 0: none */
    /* Capsule networks only. */
    float regularization_scale; /* factor on the reconstruction loss */
    int hard_training;          /* 1: the last epochs / 2 epochs, rounded down, take the margins of hard training */
} dt_train_config;

/* One activation quantizer, as the training report prints it. */
typedef struct {
    char name[64]; /* "features.27" */
    float alpha;
    double clip_rate; /* share of inputs beyond the clip */
    double d_alpha;   /* gradient of alpha */
    int fixed;        /* alpha is not trained: the image quantizer of input_bits */
} dt_quant_report;

/* Those of a network by that name; general ones for NULL. */
void dt_train_config_default(const char *network, dt_train_config *out);
/* What suits that dataset: for capsule networks the size of images, the decoder, and the published augmentation; for
 * any network no mirror images of digits. Other names change nothing. */
void dt_config_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train);
/* Chooses the decoder that makes images of the model's size, where the network's is for another. */
void dt_config_for_input(dt_model_config *model);
DT_MUST_CHECK dt_status dt_train_recipe(const char *recipe, dt_model_config *model, dt_train_config *train);
DT_MUST_CHECK dt_status dt_trainer_create(dt_model *m, const dt_dataset *d, const dt_train_config *cfg,
                                          dt_trainer **out);
void dt_trainer_destroy(dt_trainer *t);
const dt_train_config *dt_trainer_get_config(const dt_trainer *t);
dt_model *dt_trainer_model(const dt_trainer *t);

/* Sets every alpha of an LSQ model from its weights and one batch (no-op for the other rules); before the first step.
 */
DT_MUST_CHECK dt_status dt_trainer_calibrate(dt_trainer *t);
DT_MUST_CHECK dt_status dt_trainer_step(dt_trainer *t);
/* n steps: the same as n times dt_trainer_step, for which a GPU needs the host less often. */
DT_MUST_CHECK dt_status dt_trainer_run(dt_trainer *t, int64_t n);
/* Are all parameters numbers, clips above 0 and variances not below? Else DT_ERR_NUMERIC names the first that is none
 * and the step: training has diverged. Waits for the device. dt_checkpoint_save refuses such a model, too. */
DT_MUST_CHECK dt_status dt_trainer_check_values(const dt_trainer *t);
/* Mean loss and accuracy since the epoch began. Waits for the device. */
DT_MUST_CHECK dt_status dt_trainer_metrics(dt_trainer *t, dt_metrics *out);
/* The same without waiting: as of some step that was done already; all 0 before one has been. */
DT_MUST_CHECK dt_status dt_trainer_recent(dt_trainer *t, dt_metrics *out);
/* Steps that dt_trainer_run gives the device in one call, where that many are left of an epoch: 1, or more on a GPU. */
int dt_trainer_steps_together(const dt_trainer *t);
int64_t dt_trainer_steps_done(const dt_trainer *t);
int64_t dt_trainer_steps_per_epoch(const dt_trainer *t);
int dt_trainer_epoch(const dt_trainer *t);     /* epochs completed */
float dt_trainer_lr(const dt_trainer *t);      /* of the next step */
float dt_trainer_last_lr(const dt_trainer *t); /* of the last step done; before one has been, of the first */
/* Time that the host has spent so far in preparing what steps read: an epoch's order, and each step's place in it, rate
 * and random numbers' seed. Images are in device memory, and a step's own kernels gather and change them. */
double dt_trainer_data_seconds(const dt_trainer *t);
int dt_trainer_n_quantizers(const dt_trainer *t);
/* n_quantizers of them, from a look at the next batch that leaves the run as it was. */
DT_MUST_CHECK dt_status dt_trainer_report(dt_trainer *t, dt_quant_report *out);
size_t dt_trainer_bytes(const dt_trainer *t); /* device memory in use */

/* ---- words of the enumerations, in their order, NULL at the end --------------------------------- */

extern const char *const dt_precision_names[3];
extern const char *const dt_quant_rule_names[6];
extern const char *const dt_optim_names[3];
extern const char *const dt_schedule_names[6];
extern const char *const dt_decoder_names[5];
extern const char *const dt_rounding_names[5];
extern const char *const dt_dataflow_names[3];
extern const char *const dt_overflow_names[3];
extern const char *const dt_layout_names[7];

/* ---- files ------------------------------------------------------------------------------------ */

/* Makes the file, or replaces it whole: written aside, fsynced, renamed; a replaced one keeps its mode. So does every
 * function here that writes a file. Links are followed; a device, pipe or /dev/fd/N is written into. */
DT_MUST_CHECK dt_status dt_file_replace(const char *path, const void *data, size_t bytes);

/* ---- checkpoints (safetensors) ---------------------------------------------------------------- */

/* Everything a run needs to go on with equal bits. Written aside, fsynced, renamed: never half a file.
 * extra: a string kept in the metadata (the run's own JSON), or NULL. */
DT_MUST_CHECK dt_status dt_checkpoint_save(const dt_trainer *t, const char *path, const char *extra);
/* What a safetensors file says it is: "detent-checkpoint", "detent-program"; "" if nothing. */
DT_MUST_CHECK dt_status dt_file_format(const char *path, char *text, size_t bytes);
/* How the run trains; dt_checkpoint_open makes its model. */
DT_MUST_CHECK dt_status dt_checkpoint_train_config(const char *path, dt_train_config *out);
/* The string saved as extra; the caller frees it. NULL if none. */
DT_MUST_CHECK dt_status dt_checkpoint_extra(const char *path, char **out);
/* Continues the run: parameters, optimiser state, position. Refused if model or data differ, naming both values. A file
 * that does not tell its data set is taken to be of this one. */
DT_MUST_CHECK dt_status dt_checkpoint_resume(dt_trainer *t, const char *path);
/* Parameters and origin; every name and shape must match. */
DT_MUST_CHECK dt_status dt_checkpoint_load(dt_model *m, const char *path);
/* A model that dt_qcaps_quantize made: parameters as they were before rounding, and the formats. extra: as above. */
DT_MUST_CHECK dt_status dt_model_save(dt_model *m, const char *path, const char *extra);
/* The model that such a file or a checkpoint of a run holds, with its parameters. */
DT_MUST_CHECK dt_status dt_checkpoint_open(dt_context *ctx, const char *path, dt_model **out);
/* The codes of its weights (I32; logarithmic rounding: F32, the powers of two) and every format, for hardware. */
DT_MUST_CHECK dt_status dt_model_save_codes(dt_model *m, const char *path);
/* Copies every parameter whose name and shape match, F16, BF16 and F64 too, and leaves the origin; calls skipped (may
 * be NULL) with the reason for each other. */
DT_MUST_CHECK dt_status dt_checkpoint_load_partial(dt_model *m, const char *path,
                                                   void (*skipped)(void *user, const char *name, const char *why),
                                                   void *user, int *n_loaded);
DT_MUST_CHECK dt_status dt_capture_save(const dt_capture *c, const char *layer, const char *path);
/* DT_ERR_FORMAT names the file, and what it has and what it must have. */
DT_MUST_CHECK dt_status dt_capture_load(const char *path, dt_capture **out);

#ifdef __cplusplus
}
#endif
#endif /* DT_DETENT_H */
