/*
 * blocks.h - the pieces that networks are recorded from: each declares its parameters under PyTorch's names and
 *            appends its nodes.
 */
#ifndef DT_BLOCKS_H
#define DT_BLOCKS_H

#include "../core/model.h"

/* Where a network is being recorded. */
typedef struct {
    dt_model *model;
    dt_tape *tape;
    int training;
} dt_recorder;

typedef struct {
    int filters, kernel, stride, pad;
    int is_image; /* x is the network's input: quantized by model.config.input_bits */
} dt_conv_spec;

/* name.weight, name.act_alpha, name.weight_quant.wgt_alpha: quantize x, quantize the filters, convolve the codes.
 * With wbits or abits of DT_BITS_FLOAT a plain convolution. */
DT_MUST_CHECK dt_status dt_block_conv(dt_recorder *r, const char *name, dt_tensor *x, const dt_conv_spec *spec,
                                      dt_tensor **y);

/* name.weight, name.bias, name.running_mean, name.running_var */
DT_MUST_CHECK dt_status dt_block_batchnorm(dt_recorder *r, const char *name, dt_tensor *x, dt_tensor **y);

/* name.weight, name.bias */
DT_MUST_CHECK dt_status dt_block_linear(dt_recorder *r, const char *name, dt_tensor *x, int n_out, dt_tensor **y);

/* One input, no parameters: RELU, IDENTITY, FLATTEN. */
DT_MUST_CHECK dt_status dt_block_apply(dt_recorder *r, dt_op_kind op, const char *name, dt_tensor *x, dt_tensor **y);

/* MAXPOOL or AVGPOOL, kernel == stride == size */
DT_MUST_CHECK dt_status dt_block_pool(dt_recorder *r, dt_op_kind op, const char *name, int size, dt_tensor *x,
                                      dt_tensor **y);

#endif /* DT_BLOCKS_H */
