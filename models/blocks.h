/*
 * blocks.h - the pieces that networks are recorded from: each declares its parameters under PyTorch's names and
 *            appends its nodes.
 */
#ifndef DT_BLOCKS_H
#define DT_BLOCKS_H

#include "../quant/fixed_formats.h"

/* Where a network is being recorded. */
typedef struct {
    dt_model *model;
    dt_tape *tape;
    int training;
    int batch;                 /* where formats is not NULL: images of x */
    dt_fixed_formats *formats; /* of a network that Q-CapsNets has quantized or is calibrating, else NULL */
    int layer;                 /* where formats is not NULL: the layer that is being recorded */
} dt_recorder;

/* What a quantizer must hold: the network's input, with model.config.input_bits; values of 0 and more; any values. */
typedef enum { DT_RANGE_POSITIVE, DT_RANGE_SIGNED, DT_RANGE_IMAGE } dt_range;

typedef struct {
    int filters, kernel, stride, pad;
    dt_range range; /* of x */
    float bound;    /* filters begin uniform within +-bound; 0: PyTorch's 1/sqrt(fan in) */
} dt_conv_spec;

/* How a parameter that is not a filter begins: uniform within +-bound, or where that is 0, at value. */
typedef struct {
    float bound, value;
} dt_start;

typedef struct {
    float epsilon, momentum; /* as dt_batchnorm_params */
} dt_norm_spec;

/* name.act_alpha: codes of x. name.weight_quant.wgt_alpha: codes of w. */
DT_MUST_CHECK dt_status dt_block_quantize_x(dt_recorder *r, const char *name, dt_tensor *x, dt_range range,
                                            dt_tensor **qx);
DT_MUST_CHECK dt_status dt_block_quantize_w(dt_recorder *r, const char *name, dt_tensor *w, dt_tensor **qw);

/* name.weight, name.act_alpha, name.weight_quant.wgt_alpha: quantize x, quantize the filters, convolve the codes.
 * With wbits or abits of DT_BITS_FLOAT a plain convolution. With formats the filters are rounded, and x is as it is. */
DT_MUST_CHECK dt_status dt_block_conv(dt_recorder *r, const char *name, dt_tensor *x, const dt_conv_spec *spec,
                                      dt_tensor **y);

/* name.weight, name.bias, name.running_mean, name.running_var; spec NULL: PyTorch's, 1e-5 and 0.1 */
DT_MUST_CHECK dt_status dt_block_batchnorm(dt_recorder *r, const char *name, dt_tensor *x, const dt_norm_spec *spec,
                                           dt_tensor **y);

/* name.weight, name.bias. A classifier sums in order, so that scores have equal bits everywhere; other layers by GEMM.
 */
DT_MUST_CHECK dt_status dt_block_classifier(dt_recorder *r, const char *name, dt_tensor *x, int n_out, dt_tensor **y);
DT_MUST_CHECK dt_status dt_block_linear(dt_recorder *r, const char *name, dt_tensor *x, int n_out, dt_tensor **y);

/* A parameter of any shape, as it is and (with formats) rounded. */
DT_MUST_CHECK dt_status dt_block_param(dt_recorder *r, const char *name, const dt_shape *shape, dt_start start,
                                       dt_tensor **out);

/* name.bias, of `channels` values: real y = x + bias */
DT_MUST_CHECK dt_status dt_block_bias(dt_recorder *r, const char *name, dt_tensor *x, dt_start start, dt_tensor **y);

/* A convolution that reads an activation: products in its psums, and the layer that it is in. */
typedef struct {
    int64_t terms;
    int layer;
} dt_reader;

/* Without formats y is x. With them x is rounded as the tensor `name`, into codes if that makes the reader's psums
 * exact. reader NULL: another operator reads x, and wants real values. */
DT_MUST_CHECK dt_status dt_block_round(dt_recorder *r, const char *name, dt_tensor *x, dt_fixed_kind kind,
                                       const dt_reader *reader, dt_tensor **y);

/* One input, no parameters: RELU, IDENTITY, FLATTEN. */
DT_MUST_CHECK dt_status dt_block_apply(dt_recorder *r, dt_op_kind op, const char *name, dt_tensor *x, dt_tensor **y);

/* MAXPOOL or AVGPOOL, of windows of size x size that lie side by side */
DT_MUST_CHECK dt_status dt_block_pool(dt_recorder *r, dt_op_kind op, const char *name, int size, dt_tensor *x,
                                      dt_tensor **y);

#endif /* DT_BLOCKS_H */
