/*
 * op_params.h - the parameters of every operator, plain data that a tape can copy.
 */
#ifndef DT_OP_PARAMS_H
#define DT_OP_PARAMS_H

#include "detent.h" /* dt_quant_rule */

typedef struct {
    int batch;
    int crop_pad;  /* zero pixels added on each side before the random crop back to H x W; 0: no crop */
    int flip;      /* 1: mirror an image with probability 1/2 */
    float mean[4]; /* of a channel, for pixels in 0..1 */
    float std[4];
} dt_augment_params;

typedef struct {
    int batch;
} dt_gather_params;

typedef struct {
    int stride;
    int pad; /* zeros on each side; the padded cells of a grid tensor are code 0, which is real 0 */
} dt_conv_params;

typedef struct {
    float epsilon;  /* added to the variance of the real values */
    float momentum; /* running = (1 - momentum) * running + momentum * batch */
    int training;   /* 1: batch statistics, and the running ones move; 0: running statistics */
} dt_batchnorm_params;

typedef struct {
    int kernel; /* square window; no padding; a window that does not fit is dropped, as in PyTorch */
    int stride;
} dt_pool_params;

typedef struct {
    int in_order; /* 1: y is summed in double, feature by feature, so that it has equal bits everywhere; 0: a GEMM */
} dt_linear_params;

typedef struct {
    float label_smoothing; /* target = (1 - s) * onehot + s / classes */
} dt_softmax_xent_params;

typedef struct {
    int bits; /* 2..8 */
    dt_quant_rule rule;
} dt_weight_quant_params;

typedef struct {
    int bits;      /* 2..8 */
    int is_signed; /* 1: codes -(2^(bits-1)-1)..2^(bits-1)-1; 0: 0..2^bits-1 */
    int unclamped; /* 1: no lower clip, as the notebook's quantizer of the image; codes may be negative */
    dt_quant_rule rule;
} dt_act_quant_params;

typedef struct {
    int low, high; /* range of the codes */
} dt_codes_params;

typedef struct {
    int batch;
    int low, high;
} dt_pixel_table_params;

typedef struct {
    int low; /* the first code; there is one more than thresholds a channel */
} dt_threshold_params;

typedef struct {
    dt_conv_params conv; /* first: what reads a convolution's sizes reads these */
    dt_array array;
} dt_psum_params;

#endif /* DT_OP_PARAMS_H */
