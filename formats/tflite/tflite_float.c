/*
 * tflite_float.c - the part of a float graph that each operator of a float file makes.
 *
 * Parameters are trained: a network that is read can be trained on. Of a file with dynamic ranges the weights of some
 * layers are int8, and those are not trained; quant/insert_dynamic.h has the nodes that they become.
 */
#include "tflite_layers.h"

#include "../../quant/insert_dynamic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* data is taken over. */
static dt_status add_weight(dt_tflite_import *imp, const char *part, const dt_shape *shape, void *data, int *out)
{
    const dt_param_spec spec = {
        .shape = *shape, .group = DT_GROUP_WEIGHT, .values = DT_VALUES_FINITE, .floor = -INFINITY
    };

    DT_TRY(dt_tflite_add_param(imp, part, &spec, DT_F32, data, out));
    return DT_OK;
}

/* Checks that input k is constant and has that many floats. */
static dt_status check_floats(const dt_tflite_import *imp, const dt_tflite_operator *o, int k, int64_t n)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);

    DT_TFLITE_CHECK(t->type == DT_TFLITE_FLOAT32, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d is %s and the output FLOAT32; understood are INT8 weights of convolutions and of "
                    "FULLY_CONNECTED, and reals",
                    k, dt_tflite_type_name((int)t->type));
    DT_TFLITE_CHECK(t->data && dt_tflite_count(t) == n, DT_ERR_FORMAT, imp, o,
                    "input %d has %lld numbers%s, needed are %lld that are constant", k, (long long)dt_tflite_count(t),
                    t->data ? "" : " that are computed", (long long)n);
    return DT_OK;
}

/* Adds what stands for a fused activation, and makes that the output. */
static dt_status finish(dt_tflite_import *imp, const dt_tflite_operator *o, int value)
{
    const dt_relu_params relu = { o->options.fused == DT_TFLITE_FUSED_RELU6 ? 6.0f : 0.0f };
    const int in = value;

    if (o->options.fused != DT_TFLITE_FUSED_NONE)
        DT_TRY(dt_tflite_node(imp, DT_OP_RELU, ".relu", &relu, &in, 1, &value));
    DT_TRY(dt_tflite_output(imp, o, value));
    return DT_OK;
}

/* Returns `factor` times the numbers of a constant, n of them: one number stands for n. NULL: there is no memory. */
static float *spread(const dt_tflite_tensor *t, int64_t n, float factor)
{
    const int64_t count = dt_tflite_count(t);
    float *to = malloc((size_t)n * sizeof *to);

    for (int64_t i = 0; to && i < n; i++) to[i] = factor * ((const float *)t->data)[count == 1 ? 0 : i];
    return to;
}

/* Adds a BIAS of n numbers behind *y: constant input k, which a SUB takes away. */
static dt_status add_bias(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int64_t n, int *y)
{
    const int is_layer = o->code == DT_TFLITE_ADD || o->code == DT_TFLITE_SUB;
    const float factor = o->code == DT_TFLITE_SUB ? -1.0f : 1.0f;
    const dt_shape shape = { 1, { n } };
    int in[2] = { *y };

    DT_TRY(check_floats(imp, o, k, is_layer && dt_tflite_count(dt_tflite_in(imp, o, k)) == 1 ? 1 : n));
    DT_TRY(add_weight(imp, ".bias", &shape, spread(dt_tflite_in(imp, o, k), n, factor), &in[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_BIAS, is_layer ? "" : ".biased", NULL, in, 2, y));
    return DT_OK;
}

/* Makes codes of the filters, and rounds what their layer reads. */
static dt_status add_codes(dt_tflite_import *imp, const dt_tflite_operator *o, const dt_shape *shape, int in[2])
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);
    char weight[DT_TFLITE_NAME + 32];

    DT_TFLITE_CHECK(
        o->code != DT_TFLITE_FULLY_CONNECTED || o->options.per_row, DT_ERR_UNSUPPORTED, imp, o,
        "asymmetric_quantize_inputs is %d: the input is rounded around 0 while it runs; understood is 1, as "
        "today's converters write it",
        o->options.per_row);
    DT_TRY(dt_tflite_check_filters(imp, o, o->code == DT_TFLITE_DEPTHWISE_CONV_2D ? 3 : 0, shape->dim[0]));
    snprintf(weight, sizeof weight, "%s.weight", imp->name);
    const dt_codes_params range = dt_tflite_weight_range(w);
    const dt_dynamic_filters filters = { .layer = imp->name,
                                         .weight = weight,
                                         .shape = *shape,
                                         .code = dt_tflite_filters(imp, o),
                                         .low = range.low,
                                         .high = range.high,
                                         .scale = dt_tflite_copy_scales(w),
                                         .n_scale = w->n_scales };
    DT_TRY(dt_dynamic_add_filters(imp->graph, &filters, &in[1]));
    DT_TRY(dt_dynamic_add_input(imp->graph, in[0], &in[0]));
    return DT_OK;
}

/* Adds the weights of a layer that reads in[0], which are in[1] then. */
static dt_status add_filters(dt_tflite_import *imp, const dt_tflite_operator *o, const dt_shape *shape, int in[2])
{
    if (dt_tflite_in(imp, o, 1)->type == DT_TFLITE_INT8) return add_codes(imp, o, shape, in);
    DT_TRY(check_floats(imp, o, 1, dt_count(shape)));
    DT_TRY(add_weight(imp, ".weight", shape, dt_tflite_filters(imp, o), &in[1]));
    return DT_OK;
}

static dt_status add_conv(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_conv_params params;
    dt_shape shape;
    int in[2], y;

    DT_TRY(dt_tflite_map(imp, o, 0, &in[0]));
    DT_TRY(dt_tflite_window(imp, o, in[0], &params, &shape));
    DT_TRY(add_filters(imp, o, &shape, in));
    DT_TRY(dt_tflite_node(imp, DT_OP_CONV2D, "", &params, in, 2, &y));
    if (dt_tflite_in(imp, o, 2)) DT_TRY(add_bias(imp, o, 2, shape.dim[0], &y));
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

/* 1 if the operator's output is the file's, or read by a SOFTMAX or LOGISTIC alone: it makes the scores. */
static int makes_scores(const dt_tflite_import *imp, const dt_tflite_operator *o)
{
    for (int i = 0; i < imp->m->n_ops; i++) {
        const dt_tflite_operator *reader = &imp->m->op[i];
        for (int k = 0; k < reader->n_in; k++) {
            if (reader->in[k] == o->out && reader->code != DT_TFLITE_SOFTMAX && reader->code != DT_TFLITE_LOGISTIC)
                return 0;
        }
    }
    return 1;
}

/* What makes the scores is summed in order, as in other networks, so that predictions are equal everywhere. */
static dt_status add_linear(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);
    const dt_linear_params params = { .in_order = makes_scores(imp, o) };
    int in[3], y, n_in = 2;

    DT_TRY(dt_tflite_map(imp, o, 0, &in[0]));
    DT_TFLITE_CHECK(imp->padded[o->in[0]] < 0, DT_ERR_UNSUPPORTED, imp, o, "input %d comes from a PAD", 0);
    DT_TRY(dt_tflite_flatten(imp, o->in[0], &in[0]));
    DT_TFLITE_CHECK(w->n_dims == 2 && w->dim[1] == dt_graph_count(imp->graph, in[0]), DT_ERR_FORMAT, imp, o,
                    "weights of %d dimensions, the last %d, do not fit %lld inputs", w->n_dims,
                    w->n_dims > 0 ? w->dim[w->n_dims - 1] : 1, (long long)dt_graph_count(imp->graph, in[0]));
    const dt_shape shape = { 2, { w->dim[0], w->dim[1] } }, features = { 1, { w->dim[0] } };
    DT_TRY(add_filters(imp, o, &shape, in));
    if (dt_tflite_in(imp, o, 2)) {
        DT_TRY(check_floats(imp, o, 2, features.dim[0]));
        DT_TRY(add_weight(imp, ".bias", &features, dt_tflite_copy(dt_tflite_in(imp, o, 2)), &in[n_in++]));
    }
    DT_TRY(dt_tflite_node(imp, DT_OP_LINEAR, "", &params, in, n_in, &y));
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

static dt_status add_pool(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_op_kind kind = o->code == DT_TFLITE_MAX_POOL_2D ? DT_OP_MAXPOOL : DT_OP_AVGPOOL;
    dt_pool_params params;
    int x, y;

    DT_TRY(dt_tflite_input(imp, o, 0, &x));
    DT_TRY(dt_tflite_pool(imp, o, x, &params));
    DT_TRY(dt_tflite_node(imp, kind, "", &params, &x, 1, &y));
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

static dt_status add_mean(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_pool_params whole = { .stride = { 1, 1 } };
    int x, y;

    DT_TRY(dt_tflite_check_mean(imp, o));
    DT_TRY(dt_tflite_input(imp, o, 0, &x));
    DT_TRY(dt_tflite_node(imp, DT_OP_AVGPOOL, "", &whole, &x, 1, &y));
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

/* Index of the operand that is constant, or -1. */
static int constant_operand(const dt_tflite_import *imp, const dt_tflite_operator *o)
{
    return dt_tflite_in(imp, o, 1)->data ? 1 : dt_tflite_in(imp, o, 0)->data ? 0 : -1;
}

static int64_t channels_of(const dt_tflite_import *imp, int value)
{
    const dt_shape *s = dt_graph_shape(imp->graph, value);

    return s->dim[s->ndim - 1];
}

/* A constant that is added or subtracted, for each channel or for all, is a BIAS. */
static dt_status add_sum(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const int constant = constant_operand(imp, o), is_sub = o->code == DT_TFLITE_SUB;
    int in[2], y;

    DT_TFLITE_CHECK(!is_sub || constant == 1, DT_ERR_UNSUPPORTED, imp, o,
                    "the second of its %d operands is no constant; detent has no operator for it on reals", o->n_in);
    DT_TRY(dt_tflite_input(imp, o, constant == 0, &in[0]));
    if (constant >= 0) {
        y = in[0];
        DT_TRY(add_bias(imp, o, constant, channels_of(imp, y), &y));
    } else {
        DT_TRY(dt_tflite_input(imp, o, 1, &in[1]));
        DT_TRY(dt_tflite_node(imp, DT_OP_ADD, "", NULL, in, 2, &y));
    }
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

/* A constant factor of a map, for each channel or for all, is a convolution of one cell in each channel. */
static dt_status add_factor(dt_tflite_import *imp, const dt_tflite_operator *o, int constant, int *y)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, constant);
    int in[2];

    DT_TRY(dt_tflite_input(imp, o, 1 - constant, &in[0]));
    const int64_t n = channels_of(imp, in[0]);
    const dt_conv_params each = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = (int)n };
    const dt_shape shape = { 4, { n, 1, 1, 1 } };
    DT_TRY(check_floats(imp, o, constant, dt_tflite_count(t) == 1 ? 1 : n));
    DT_TRY(add_weight(imp, ".weight", &shape, spread(t, n, 1.0f), &in[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CONV2D, "", &each, in, 2, y));
    return DT_OK;
}

/* The operand that has one value for the whole map is the second one of a MUL. */
static dt_status add_product(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const int constant = constant_operand(imp, o);
    int in[2], y;

    if (constant >= 0) {
        DT_TRY(add_factor(imp, o, constant, &y));
        return finish(imp, o, y);
    }
    for (int k = 0; k < 2; k++) DT_TRY(dt_tflite_input(imp, o, k, &in[k]));
    if (dt_graph_count(imp->graph, in[0]) < dt_graph_count(imp->graph, in[1])) {
        const int small = in[0];
        in[0] = in[1];
        in[1] = small;
    }
    DT_TRY(dt_tflite_node(imp, DT_OP_MUL, "", NULL, in, 2, &y));
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

/* RELU, RELU6, LOGISTIC and SOFTMAX: a node without parameters of its own. */
static dt_status add_activation(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_relu_params relu = { o->code == DT_TFLITE_RELU6 ? 6.0f : 0.0f };
    const int is_relu = o->code == DT_TFLITE_RELU || o->code == DT_TFLITE_RELU6;
    const dt_op_kind kind = is_relu ? DT_OP_RELU : o->code == DT_TFLITE_LOGISTIC ? DT_OP_SIGMOID : DT_OP_SOFTMAX;
    int x, y;

    DT_TFLITE_CHECK(o->code != DT_TFLITE_SOFTMAX || o->options.beta == 1.0f, DT_ERR_UNSUPPORTED, imp, o,
                    "beta is %g, understood is 1", (double)o->options.beta);
    DT_TRY(dt_tflite_input(imp, o, 0, &x));
    DT_TRY(dt_tflite_node(imp, kind, "", is_relu ? &relu : NULL, &x, 1, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static dt_status add_concat(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_concat_params params;
    int in[DT_MAX_IN], y;

    DT_TRY(dt_tflite_concat_axis(imp, o, &params.axis));
    for (int k = 0; k < o->n_in; k++) DT_TRY(dt_tflite_input(imp, o, k, &in[k]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CONCAT, "", &params, in, o->n_in, &y));
    DT_TRY(finish(imp, o, y));
    return DT_OK;
}

static const dt_tflite_row rows[] = {
    { DT_TFLITE_CONV_2D, add_conv },
    { DT_TFLITE_DEPTHWISE_CONV_2D, add_conv },
    { DT_TFLITE_FULLY_CONNECTED, add_linear },
    { DT_TFLITE_MAX_POOL_2D, add_pool },
    { DT_TFLITE_AVERAGE_POOL_2D, add_pool },
    { DT_TFLITE_MEAN, add_mean },
    { DT_TFLITE_ADD, add_sum },
    { DT_TFLITE_SUB, add_sum },
    { DT_TFLITE_MUL, add_product },
    { DT_TFLITE_RELU, add_activation },
    { DT_TFLITE_RELU6, add_activation },
    { DT_TFLITE_LOGISTIC, add_activation },
    { DT_TFLITE_SOFTMAX, add_activation },
    { DT_TFLITE_CONCATENATION, add_concat },
    { DT_TFLITE_TRANSPOSE, dt_tflite_add_transpose },
    { DT_TFLITE_PAD, dt_tflite_add_pad },
    { DT_TFLITE_RESHAPE, dt_tflite_add_reshape },
    { DT_TFLITE_SQUEEZE, dt_tflite_add_reshape },
};

dt_status dt_tflite_add_float(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    return dt_tflite_call(imp, o, rows, sizeof rows / sizeof rows[0], "reals");
}
