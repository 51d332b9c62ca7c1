/*
 * tflite_nets.h - small networks as TensorFlow Lite files, one float, one int8 and one with dynamic ranges, that have
 *                 each operator which becomes part of a graph, pads that differ before and after, and a fork.
 */
#ifndef TFLITE_NETS_H
#define TFLITE_NETS_H

#include <stdio.h>

#include "tflite_case.h"

enum { TFLITE_NETS_H_ = 7, TFLITE_NETS_W = 6, TFLITE_NETS_C = 2, TFLITE_NETS_CLASSES = 3 };
enum { TFLITE_NETS_IMAGE = TFLITE_NETS_H_ * TFLITE_NETS_W * TFLITE_NETS_C };

/* A file that grows, whose layers are float or int8. */
typedef struct {
    dt_tflite *m;
    int is_int8;
    int last; /* the tensor that the last layer made */
} tflite_net;

/* Numbers that look drawn: of -1 .. 1. */
static inline float tflite_nets_real(int seed, int i)
{
    return (float)((seed * 7919 + i * 104729) % 2001 - 1000) / 1000.0f;
}

/* A tensor that is computed, of float or of codes. */
static inline int tflite_nets_map(tflite_net *n, const char *name, const int *dim, float scale, int32_t zero)
{
    const int t = tflite_case_tensor(n->m, name, n->is_int8 ? DT_TFLITE_INT8 : DT_TFLITE_FLOAT32, dim);

    if (n->is_int8) tflite_case_scale(n->m, t, 1, 0, &scale, &zero);
    return t;
}

/* Weights with a scale for each index of `axis`. */
static inline int tflite_nets_weights(tflite_net *n, const char *name, const int *dim, int axis, int seed)
{
    const int t = tflite_case_tensor(n->m, name, n->is_int8 ? DT_TFLITE_INT8 : DT_TFLITE_FLOAT32, dim);
    const int count = (int)dt_tflite_count(&n->m->tensor[t]);
    float real[1024], scale[64];
    int8_t code[1024];

    for (int i = 0; i < count; i++) {
        real[i] = tflite_nets_real(seed, i);
        code[i] = (int8_t)(127.0f * real[i]);
    }
    for (int i = 0; i < dim[axis]; i++) scale[i] = 0.003f + 0.0007f * (float)((seed + i) % 11);
    tflite_case_data(n->m, t, n->is_int8 ? (void *)code : (void *)real);
    if (n->is_int8) tflite_case_scale(n->m, t, dim[axis], axis, scale, NULL);
    return t;
}

static inline int tflite_nets_bias(tflite_net *n, const char *name, int channels, int seed)
{
    const int t =
        tflite_case_tensor(n->m, name, n->is_int8 ? DT_TFLITE_INT32 : DT_TFLITE_FLOAT32, (int[]){ channels, 0 });
    float real[64];
    int32_t code[64];

    for (int i = 0; i < channels; i++) {
        real[i] = tflite_nets_real(seed + 5, i);
        code[i] = (int32_t)(2000.0f * real[i]);
    }
    tflite_case_data(n->m, t, n->is_int8 ? (void *)code : (void *)real);
    return t;
}

/* Adds an operator that reads n tensors and makes `out`. */
static inline dt_tflite_options *tflite_nets_op(tflite_net *n, dt_tflite_code code, const int *in, int n_in, int out)
{
    n->last = out;
    return &tflite_case_op(n->m, code, 1, in, n_in, out)->options;
}

/* A convolution. The filters' shape is the file's. */
static inline dt_tflite_options *tflite_nets_conv(tflite_net *n, dt_tflite_code code, const char *name,
                                                  const int *filters, const int *out, float scale, int32_t zero)
{
    const int is_depthwise = code == DT_TFLITE_DEPTHWISE_CONV_2D, axis = is_depthwise ? 3 : 0, x = n->last;
    char text[128];

    snprintf(text, sizeof text, "net/%s/Weights", name);
    const int w = tflite_nets_weights(n, text, filters, axis, (int)strlen(text) + filters[3]);
    snprintf(text, sizeof text, "net/%s/Bias", name);
    const int b = tflite_nets_bias(n, text, filters[axis], filters[1]);
    snprintf(text, sizeof text, "net/act/Relu6;net/%s/%s", name, is_depthwise ? "depthwise" : "Conv2D");
    const int y = tflite_nets_map(n, text, out, scale, zero);
    dt_tflite_options *o = tflite_nets_op(n, code, (int[]){ x, w, b }, 3, y);
    o->stride[0] = o->stride[1] = o->dilation[0] = o->dilation[1] = 1;
    if (is_depthwise) o->multiplier = out[3] / n->m->tensor[x].dim[3];
    return o;
}

static inline dt_tflite_options *tflite_nets_pool(tflite_net *n, dt_tflite_code code, const char *name, int x,
                                                  int window, int stride)
{
    const int y = tflite_nets_map(n, name, (int[]){ 1, 2, 3, 8, 0 }, 0.047f, -20);
    dt_tflite_options *o = tflite_nets_op(n, code, &x, 1, y);

    o->padding = DT_TFLITE_SAME;
    o->window[0] = o->window[1] = window;
    o->stride[0] = o->stride[1] = stride;
    return o;
}

/* Convolutions, a residual sum and pools: 7x6x2 -> 2x3x16. */
static inline void tflite_nets_body(tflite_net *n)
{
    const int32_t cells[8] = { 0, 0, 1, 0, 0, 1, 0, 0 };
    const int around = tflite_case_tensor(n->m, "net/pad/cells", DT_TFLITE_INT32, (int[]){ 4, 2, 0 });
    dt_tflite_options *o;

    tflite_case_data(n->m, around, cells);
    o = tflite_nets_conv(n, DT_TFLITE_CONV_2D, "conv0", (int[]){ 4, 3, 2, 2, 0 }, (int[]){ 1, 4, 6, 4, 0 }, 0.023f,
                         -128);
    o->stride[0] = 2;
    o->fused = DT_TFLITE_FUSED_RELU6;
    o = tflite_nets_conv(n, DT_TFLITE_DEPTHWISE_CONV_2D, "dw0", (int[]){ 1, 3, 3, 8, 0 }, (int[]){ 1, 4, 6, 8, 0 },
                         0.031f, -7);
    o->dilation[0] = 2;
    const int fork = n->last;
    const int padded = tflite_nets_map(n, "net/pad/Pad", (int[]){ 1, 5, 7, 8, 0 }, 0.031f, -7);
    tflite_nets_op(n, DT_TFLITE_PAD, (int[]){ fork, around }, 2, padded);
    o = tflite_nets_conv(n, DT_TFLITE_CONV_2D, "conv1", (int[]){ 8, 2, 2, 8, 0 }, (int[]){ 1, 4, 6, 8, 0 }, 0.052f, 11);
    o->padding = DT_TFLITE_VALID;
    const int sum = tflite_nets_map(n, "net/add0/add", (int[]){ 1, 4, 6, 8, 0 }, 0.047f, -20);
    tflite_nets_op(n, DT_TFLITE_ADD, (int[]){ n->last, fork }, 2, sum)->fused = DT_TFLITE_FUSED_RELU;
    tflite_nets_pool(n, DT_TFLITE_MAX_POOL_2D, "net/pool/MaxPool", sum, 3, 2)->fused = DT_TFLITE_FUSED_RELU6;
    const int most = n->last;
    tflite_nets_pool(n, DT_TFLITE_AVERAGE_POOL_2D, "net/pool/AvgPool", most, 2, 1);
    const int both = tflite_nets_map(n, "net/both/concat", (int[]){ 1, 2, 3, 16, 0 }, 0.047f, -20);
    tflite_nets_op(n, DT_TFLITE_CONCATENATION, (int[]){ most, n->last }, 2, both)->axis = -1;
}

/* A fully connected layer of n inputs. */
static inline dt_tflite_options *tflite_nets_linear(tflite_net *n, const char *name, int inputs, int outputs,
                                                    int has_bias, float scale, int32_t zero)
{
    const int x = n->last;
    char text[128];

    snprintf(text, sizeof text, "net/%s/Weights", name);
    const int w = tflite_nets_weights(n, text, (int[]){ outputs, inputs, 0 }, 0, inputs);
    snprintf(text, sizeof text, "net/%s/Bias", name);
    const int b = has_bias ? tflite_nets_bias(n, text, outputs, inputs) : -1;
    snprintf(text, sizeof text, "net/%s/MatMul;net/%s/BiasAdd", name, name);
    const int y = tflite_nets_map(n, text, (int[]){ 1, outputs, 0 }, scale, zero);
    return tflite_nets_op(n, DT_TFLITE_FULLY_CONNECTED, (int[]){ x, w, b }, 3, y);
}

/* 2x3x16 -> 96 -> 5 -> 3. */
static inline void tflite_nets_head(tflite_net *n)
{
    const int flat = tflite_nets_map(n, "net/flatten/Reshape", (int[]){ 1, 96, 0 }, 0.047f, -20);

    dt_tflite_options *o = tflite_nets_op(n, DT_TFLITE_RESHAPE, (int[]){ n->last }, 1, flat);
    o->n_shape = 2;
    o->shape[0] = -1;
    o->shape[1] = 96;
    tflite_nets_linear(n, "fc0", 96, 5, 1, 0.081f, -128)->fused = DT_TFLITE_FUSED_RELU;
    tflite_nets_linear(n, "fc1", 5, TFLITE_NETS_CLASSES, 0, 0.09f, 3);
}

static inline tflite_net tflite_nets_begin(const char *name, int is_int8, dt_tflite_type type)
{
    tflite_net n = { tflite_case_begin(name), is_int8, 0 };

    n.last = tflite_case_tensor(n.m, "serving_default_x:0", type,
                                (int[]){ TFLITE_CASE_FREE, TFLITE_NETS_H_, TFLITE_NETS_W, TFLITE_NETS_C, 0 });
    n.m->in[n.m->n_in++] = n.last;
    return n;
}

/* The image, times one number, less one for each channel. */
static inline void tflite_nets_rescale(tflite_net *n)
{
    const int *dim = (int[]){ 1, TFLITE_NETS_H_, TFLITE_NETS_W, TFLITE_NETS_C, 0 };
    const int factor = tflite_case_tensor(n->m, "net/factor", DT_TFLITE_FLOAT32, (int[]){ 0 });
    const int mean = tflite_case_tensor(n->m, "net/mean", DT_TFLITE_FLOAT32, (int[]){ TFLITE_NETS_C, 0 });
    const int product = tflite_nets_map(n, "net/rescale/mul", dim, 0, 0);
    const int difference = tflite_nets_map(n, "net/center/sub", dim, 0, 0);

    tflite_case_data(n->m, factor, (float[]){ 0.75f });
    tflite_case_data(n->m, mean, (float[]){ 0.25f, -0.5f });
    tflite_nets_op(n, DT_TFLITE_MUL, (int[]){ n->last, factor }, 2, product);
    tflite_nets_op(n, DT_TFLITE_SUB, (int[]){ product, mean }, 2, difference);
}

/* A float network: also MEAN, LOGISTIC and MUL, which scale the channels by what they are on average, and SOFTMAX. */
static inline dt_tflite *tflite_nets_float(void)
{
    tflite_net n = tflite_nets_begin("a float network", 0, DT_TFLITE_FLOAT32);
    const int axes = tflite_case_tensor(n.m, "net/mean/axes", DT_TFLITE_INT32, (int[]){ 2, 0 });
    const int shift = tflite_case_tensor(n.m, "net/shift", DT_TFLITE_FLOAT32, (int[]){ 16, 0 });
    float by[16];

    for (int i = 0; i < 16; i++) by[i] = tflite_nets_real(3, i);
    tflite_case_data(n.m, axes, (int32_t[]){ 1, -2 });
    tflite_case_data(n.m, shift, by);
    tflite_nets_rescale(&n);
    tflite_nets_body(&n);
    const int map = tflite_nets_map(&n, "net/add1/add", (int[]){ 1, 2, 3, 16, 0 }, 0, 0);
    tflite_nets_op(&n, DT_TFLITE_ADD, (int[]){ n.last, shift }, 2, map);
    const int mean = tflite_nets_map(&n, "net/mean/Mean", (int[]){ 1, 1, 1, 16, 0 }, 0, 0);
    tflite_nets_op(&n, DT_TFLITE_MEAN, (int[]){ map, axes }, 2, mean)->keep_dims = 1;
    const int gate = tflite_nets_map(&n, "net/gate/Sigmoid", (int[]){ 1, 1, 1, 16, 0 }, 0, 0);
    tflite_nets_op(&n, DT_TFLITE_LOGISTIC, &mean, 1, gate);
    const int gated = tflite_nets_map(&n, "net/mul/mul", (int[]){ 1, 2, 3, 16, 0 }, 0, 0);
    tflite_nets_op(&n, DT_TFLITE_MUL, (int[]){ gate, map }, 2, gated);
    tflite_nets_head(&n);
    const int scores = tflite_nets_map(&n, "StatefulPartitionedCall:0", (int[]){ 1, TFLITE_NETS_CLASSES, 0 }, 0, 0);
    tflite_nets_op(&n, DT_TFLITE_SOFTMAX, (int[]){ n.last }, 1, scores)->beta = 1.0f;
    n.m->out[n.m->n_out++] = scores;
    return n.m;
}

/* The float network with dynamic ranges: int8 weights in each layer, whatever their number; the first of each is -128.
 */
static inline dt_tflite *tflite_nets_dynamic(void)
{
    dt_tflite *m = tflite_nets_float();

    for (int i = 0; i < m->n_ops; i++) {
        const int is_depthwise = m->op[i].code == DT_TFLITE_DEPTHWISE_CONV_2D;
        const int is_linear = m->op[i].code == DT_TFLITE_FULLY_CONNECTED;
        if (!is_depthwise && !is_linear && m->op[i].code != DT_TFLITE_CONV_2D) continue;
        dt_tflite_tensor *w = &m->tensor[m->op[i].in[1]];
        const int axis = is_depthwise ? 3 : 0, count = (int)dt_tflite_count(w);
        int8_t code[1024];
        float scale[64];
        for (int k = 0; k < count; k++) code[k] = (int8_t)(127.0f * ((float *)w->data)[k]);
        code[0] = INT8_MIN;
        for (int k = 0; k < w->dim[axis]; k++) scale[k] = 0.003f + 0.0007f * (float)((i + k) % 11);
        free(w->data);
        w->type = DT_TFLITE_INT8;
        tflite_case_data(m, m->op[i].in[1], code);
        tflite_case_scale(m, m->op[i].in[1], w->dim[axis], axis, scale, NULL);
        m->op[i].options.per_row = is_linear;
    }
    return m;
}

/* An end of an int8 network, of another type. The zero point of uint8 is 128 above. */
static inline int tflite_nets_end(tflite_net *n, const char *name, dt_tflite_type type, const int *dim, float scale,
                                  int32_t zero)
{
    const int t = tflite_case_tensor(n->m, name, type, dim);

    zero += type == DT_TFLITE_UINT8 ? 128 : 0;
    if (type != DT_TFLITE_FLOAT32) tflite_case_scale(n->m, t, 1, 0, &scale, &zero);
    return t;
}

/* An int8 network whose input and output are of the type `io`; LOGISTIC makes the scores. */
static inline dt_tflite *tflite_nets_int8(dt_tflite_type io)
{
    const float in_scale = 1.0f / 64, step = 1.0f / 256;
    tflite_net n = tflite_nets_begin("an int8 network", 1, io);
    const int image = n.last, zero = io == DT_TFLITE_UINT8 ? 128 + 9 : 9;

    if (io != DT_TFLITE_FLOAT32) tflite_case_scale(n.m, image, 1, 0, &in_scale, (int32_t[]){ zero });
    if (io != DT_TFLITE_INT8) {
        const int codes = tflite_nets_map(&n, "tfl.quantize", (int[]){ 1, 7, 6, 2, 0 }, in_scale, 9);
        tflite_nets_op(&n, DT_TFLITE_QUANTIZE, &image, 1, codes);
    }
    tflite_nets_body(&n);
    tflite_nets_head(&n);
    const int scores = tflite_nets_map(&n, "net/sigmoid/Sigmoid", (int[]){ 1, TFLITE_NETS_CLASSES, 0 }, step, -128);
    tflite_nets_op(&n, DT_TFLITE_LOGISTIC, (int[]){ n.last }, 1, scores);
    if (io != DT_TFLITE_INT8) {
        const int end =
            tflite_nets_end(&n, "StatefulPartitionedCall:0", io, (int[]){ 1, TFLITE_NETS_CLASSES, 0 }, step, -128);
        tflite_nets_op(&n, io == DT_TFLITE_UINT8 ? DT_TFLITE_QUANTIZE : DT_TFLITE_DEQUANTIZE, &scores, 1, end);
    }
    n.m->out[n.m->n_out++] = n.last;
    return n.m;
}

/* The int8 image as 6x14, transposed, by a constant 6x5, and the transpose of that by itself: 1x25. */
static inline dt_tflite *tflite_nets_matrix(void)
{
    const float scale = 1.0f / 64, step = 0.01f;
    const int32_t axes[] = { 0, 2, 1 };
    int8_t code[30];
    tflite_net n = tflite_nets_begin("matrices", 1, DT_TFLITE_INT8);
    const int image = n.last, order = tflite_case_tensor(n.m, "net/axes", DT_TFLITE_INT32, (int[]){ 3, 0 });
    const int seen = tflite_nets_map(&n, "net/seen/Reshape", (int[]){ 1, 6, 14, 0 }, scale, 9);
    const int turned = tflite_nets_map(&n, "net/turned/transpose", (int[]){ 1, 14, 6, 0 }, scale, 9);
    const int w = tflite_case_tensor(n.m, "net/product/weights", DT_TFLITE_INT8, (int[]){ 6, 5, 0 });
    const int product = tflite_nets_map(&n, "net/product/MatMul", (int[]){ 1, 14, 5, 0 }, 0.05f, -3);
    const int square = tflite_nets_map(&n, "net/square/MatMul", (int[]){ 1, 5, 5, 0 }, 0.9f, 0);
    const int flat = tflite_nets_map(&n, "net/flat/Reshape", (int[]){ 1, 25, 0 }, 0.9f, 0);

    for (int i = 0; i < 30; i++) code[i] = (int8_t)(127.0f * tflite_nets_real(11, i));
    tflite_case_scale(n.m, image, 1, 0, &scale, (int32_t[]){ 9 });
    tflite_case_data(n.m, order, axes);
    tflite_case_data(n.m, w, code);
    tflite_case_scale(n.m, w, 1, 0, &step, (int32_t[]){ 77 });
    tflite_nets_op(&n, DT_TFLITE_RESHAPE, &image, 1, seen);
    tflite_nets_op(&n, DT_TFLITE_TRANSPOSE, (int[]){ seen, order }, 2, turned);
    tflite_nets_op(&n, DT_TFLITE_BATCH_MATMUL, (int[]){ turned, w }, 2, product);
    tflite_nets_op(&n, DT_TFLITE_BATCH_MATMUL, (int[]){ product, product }, 2, square)->transpose[0] = 1;
    tflite_nets_op(&n, DT_TFLITE_RESHAPE, &square, 1, flat);
    n.m->out[n.m->n_out++] = flat;
    return n.m;
}

#endif /* TFLITE_NETS_H */
