/*
 * tflite_integer.c - the part of an integer graph that each operator of an int8 file makes. tflite_codes.c says what
 * its codes are.
 *
 * A flat tensor stands as the map that it was made of; FULLY_CONNECTED is a convolution whose window is that map.
 */
#include "tflite_codes.h"

#include "../../quant/program/program_build.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- convolutions ---- */

/* Adds a bias to the inputs of a REQUANTIZE, unless there is none. */
static dt_status add_bias(dt_tflite_import *imp, const dt_tflite_operator *o, int64_t filters, int *in, int *n)
{
    const dt_tflite_tensor *bias = dt_tflite_in(imp, o, 2);
    const dt_shape shape = dt_vector(filters);

    if (!bias) return DT_OK;
    DT_TFLITE_CHECK(bias->type == DT_TFLITE_INT32 && bias->data && dt_tflite_count(bias) == filters, DT_ERR_UNSUPPORTED,
                    imp, o, "the bias is %lld numbers of %s; needed are %lld constant INT32",
                    (long long)dt_tflite_count(bias), dt_tflite_type_name((int)bias->type), (long long)filters);
    DT_TRY(dt_tflite_add_state(imp, ".bias", &shape, DT_I32, dt_tflite_copy(bias), &in[(*n)++]));
    return DT_OK;
}

/* Adds CODES, CONV2D and REQUANTIZE. x has the input and its scale; shape is that of the filters, whose scales lie
 * along `axis` in the file. */
static dt_status add_sums(dt_tflite_import *imp, const dt_tflite_operator *o, const dt_conv_params *conv,
                          const dt_shape *shape, int axis, const int x[2])
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);
    const dt_requantize_params of = { .of = o->code == DT_TFLITE_FULLY_CONNECTED ? DT_REQUANT_LINEAR : DT_REQUANT_CONV,
                                      .count = 1 };
    int weights[2], operands[2] = { x[0] }, in[5] = { 0, x[1] }, n = 4;

    DT_TRY(dt_tflite_check_filters(imp, o, axis, shape->dim[0]));
    int8_t *filters = dt_tflite_filters(imp, o);
    dt_codes_params range = dt_tflite_weight_range(w);
    range.most = filters ? dt_program_sum_most(filters, shape) : 0; /* of NULL, the parameter below fails */
    const dt_shape n_scales = dt_vector(w->n_scales);
    DT_TRY(dt_tflite_add_state(imp, ".weight", shape, DT_I8, filters, &weights[0]));
    DT_TRY(dt_tflite_add_state(imp, ".weight_scale", &n_scales, DT_F32, dt_tflite_copy_scales(w), &weights[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CODES, ".codes", &range, weights, 2, &operands[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CONV2D, "", conv, operands, 2, &in[0]));
    in[3] = weights[1];
    DT_TRY(add_bias(imp, o, shape->dim[0], in, &n));
    DT_TRY(dt_tflite_add_requantize(imp, o, &of, in, n));
    return DT_OK;
}

static dt_status add_conv(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_conv_params conv;
    dt_shape shape;
    int x[2];

    DT_TRY(dt_tflite_map(imp, o, 0, &x[0]));
    DT_TRY(dt_tflite_check_codes(imp, o, dt_tflite_in(imp, o, 0)));
    x[1] = imp->scale[o->in[0]];
    DT_TRY(dt_tflite_window(imp, o, x[0], &conv, &shape));
    DT_TRY(add_sums(imp, o, &conv, &shape, o->code == DT_TFLITE_DEPTHWISE_CONV_2D ? 3 : 0, x));
    return DT_OK;
}

static dt_status add_linear(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_conv_params conv = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);
    int x[2];

    DT_TRY(dt_tflite_codes(imp, o, 0, &x[0], &x[1]));
    DT_TFLITE_CHECK(w->n_dims == 2 && w->dim[1] == dt_graph_count(imp->graph, x[0]), DT_ERR_FORMAT, imp, o,
                    "weights of %d dimensions, the last %d, do not fit %lld inputs", w->n_dims,
                    w->n_dims > 0 ? w->dim[w->n_dims - 1] : 1, (long long)dt_graph_count(imp->graph, x[0]));
    const dt_shape *map = dt_graph_shape(imp->graph, x[0]);
    const dt_shape shape = { 4, { w->dim[0], map->dim[1], map->dim[2], map->dim[3] } };
    DT_TRY(add_sums(imp, o, &conv, &shape, 0, x));
    return DT_OK;
}

/* ---- pools and sums ---- */

/* A fused activation limits the codes behind it, by a REQUANTIZE to the same scale. */
static dt_status add_maxpool(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_requantize_params of = { .of = DT_REQUANT_CODES, .count = 1 };
    dt_pool_params params;
    int x, in[3];

    DT_TRY(dt_tflite_codes(imp, o, 0, &x, &in[1]));
    DT_TRY(dt_tflite_check_same(imp, o, 0));
    DT_TRY(dt_tflite_pool(imp, o, x, &params));
    DT_TRY(dt_tflite_node(imp, DT_OP_MAXPOOL, "", &params, &x, 1, &in[0]));
    imp->scale[o->out] = in[1];
    if (o->options.fused != DT_TFLITE_FUSED_NONE) return dt_tflite_add_requantize(imp, o, &of, in, 3);
    DT_TRY(dt_tflite_output(imp, o, in[0]));
    return DT_OK;
}

static dt_status add_avgpool(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_qavgpool_params params = { .profile = DT_TFLITE_PROFILE };
    int x, y, scale = -1;

    DT_TRY(dt_tflite_codes(imp, o, 0, &x, &scale));
    DT_TRY(dt_tflite_check_same(imp, o, 0));
    DT_TRY(dt_tflite_pool(imp, o, x, &params.pool));
    dt_tflite_range(dt_tflite_out(imp, o), o->options.fused, &params.low, &params.high);
    params.zero = dt_tflite_zero(dt_tflite_out(imp, o));
    DT_TRY(dt_tflite_node(imp, DT_OP_QAVGPOOL, "", &params, &x, 1, &y));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static dt_status add_mean(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x, in[3];

    DT_TRY(dt_tflite_check_mean(imp, o));
    DT_TRY(dt_tflite_codes(imp, o, 0, &x, &in[1]));
    const int64_t *map = dt_graph_shape(imp->graph, x)->dim;
    const dt_pool_params whole = { .window = { (int)map[1], (int)map[2] }, .stride = { 1, 1 } };
    const dt_requantize_params of = { .of = DT_REQUANT_MEAN, .count = whole.window[0] * whole.window[1] };
    DT_TRY(dt_tflite_node(imp, DT_OP_AVGPOOL, "", &whole, &x, 1, &in[0]));
    DT_TRY(dt_tflite_add_requantize(imp, o, &of, in, 3));
    return DT_OK;
}

/* ADD, SUB and MUL of two computed tensors of one shape. */
static dt_status add_binary(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_qbinary_params params = { .profile = DT_TFLITE_PROFILE, .subtract = o->code == DT_TFLITE_SUB };
    int in[5], y;

    for (int k = 0; k < 2; k++) DT_TRY(dt_tflite_codes(imp, o, k, &in[k], &in[k + 2]));
    DT_TRY(dt_tflite_check_codes(imp, o, dt_tflite_out(imp, o)));
    dt_tflite_range(dt_tflite_out(imp, o), o->options.fused, &params.low, &params.high);
    params.zero = dt_tflite_zero(dt_tflite_out(imp, o));
    DT_TRY(dt_tflite_add_scale(imp, o->out, &in[4]));
    DT_TRY(dt_tflite_node(imp, o->code == DT_TFLITE_MUL ? DT_OP_QMUL : DT_OP_QADD, "", &params, in, 5, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static dt_status add_concat(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_concat_params params;
    int in[DT_MAX_IN], y, scale = -1;

    DT_TRY(dt_tflite_concat_axis(imp, o, &params.axis));
    DT_TFLITE_CHECK(o->options.fused == DT_TFLITE_FUSED_NONE, DT_ERR_UNSUPPORTED, imp, o,
                    "a fused activation (%d) on codes is not understood", o->options.fused);
    for (int k = 0; k < o->n_in; k++) {
        DT_TRY(dt_tflite_codes(imp, o, k, &in[k], &scale));
        DT_TRY(dt_tflite_check_last(imp, o, k, in[k]));
        DT_TRY(dt_tflite_check_same(imp, o, k));
    }
    if (dt_tflite_out(imp, o)->n_dims == 2) params.axis = 3; /* its values are maps 1,1,n */
    DT_TRY(dt_tflite_node(imp, DT_OP_CONCAT, "", &params, in, o->n_in, &y));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

/* ---- functions ---- */

/* Checks the scale and the zero point that the output of a function must have. */
static dt_status check_fixed(const dt_tflite_import *imp, const dt_tflite_operator *o, int steps, int zero)
{
    const dt_tflite_tensor *y = dt_tflite_out(imp, o);

    DT_TRY(dt_tflite_check_codes(imp, o, y));
    DT_TFLITE_CHECK(y->scale[0] == 1.0f / (float)steps && y->zero[0] == zero, DT_ERR_FORMAT, imp, o,
                    "the output has the scale %.9g and zero point %" PRId32 "; it must have 1/%d and %d",
                    (double)y->scale[0], y->zero[0], steps, zero);
    return DT_OK;
}

static dt_status add_softmax(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_qsoftmax_params params = { DT_TFLITE_PROFILE, o->options.beta };
    int in[3], y;

    DT_TRY(dt_tflite_codes(imp, o, 0, &in[0], &in[1]));
    DT_TRY(dt_tflite_check_last(imp, o, 0, in[0]));
    DT_TRY(check_fixed(imp, o, 256, INT8_MIN));
    DT_TRY(dt_tflite_add_scale(imp, o->out, &in[2]));
    DT_TRY(dt_tflite_node(imp, DT_OP_QSOFTMAX, "", &params, in, 3, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

int dt_tflite_function(dt_tflite_code code, double x)
{
    const double q = code == DT_TFLITE_LOGISTIC ? rint(256.0 / (1.0 + exp(-x))) + INT8_MIN : rint(128.0 * tanh(x));

    return q < INT8_MIN ? INT8_MIN : q > INT8_MAX ? INT8_MAX : (int)q;
}

/* LOGISTIC and TANH, a table with a row for each code of x. */
static dt_status add_table(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, 0), *y = dt_tflite_out(imp, o);
    const dt_shape rows = { 2, { DT_TFLITE_CODES, 1 } };
    dt_table_params params;
    int in[3], scale, high, out;

    DT_TRY(dt_tflite_codes(imp, o, 0, &in[0], &scale));
    DT_TRY(o->code == DT_TFLITE_LOGISTIC ? check_fixed(imp, o, 256, INT8_MIN) : check_fixed(imp, o, 128, 0));
    dt_tflite_range(x, 0, &params.first, &high);
    dt_tflite_range(y, 0, &params.low, &params.high);
    int16_t *table = malloc(DT_TFLITE_CODES * sizeof *table);
    for (int i = 0; table && i < DT_TFLITE_CODES; i++) {
        const double real = (double)x->scale[0] * (params.first + i);
        table[i] = (int16_t)(dt_tflite_function(o->code, real) - y->zero[0]);
    }
    DT_TRY(dt_tflite_add_state(imp, ".table", &rows, DT_I16, table, &in[1]));
    DT_TRY(dt_tflite_add_scale(imp, o->out, &in[2]));
    DT_TRY(dt_tflite_node(imp, DT_OP_TABLE, "", &params, in, 3, &out));
    DT_TRY(dt_tflite_output(imp, o, out));
    return DT_OK;
}

static const dt_tflite_row rows[] = {
    { DT_TFLITE_CONV_2D, add_conv },
    { DT_TFLITE_DEPTHWISE_CONV_2D, add_conv },
    { DT_TFLITE_FULLY_CONNECTED, add_linear },
    { DT_TFLITE_MAX_POOL_2D, add_maxpool },
    { DT_TFLITE_AVERAGE_POOL_2D, add_avgpool },
    { DT_TFLITE_MEAN, add_mean },
    { DT_TFLITE_ADD, add_binary },
    { DT_TFLITE_SUB, add_binary },
    { DT_TFLITE_MUL, add_binary },
    { DT_TFLITE_CONCATENATION, add_concat },
    { DT_TFLITE_SOFTMAX, add_softmax },
    { DT_TFLITE_LOGISTIC, add_table },
    { DT_TFLITE_TANH, add_table },
    { DT_TFLITE_BATCH_MATMUL, dt_tflite_add_matmul },
    { DT_TFLITE_TRANSPOSE, dt_tflite_add_codes_transpose },
    { DT_TFLITE_RELU, dt_tflite_add_rescale },
    { DT_TFLITE_RELU6, dt_tflite_add_rescale },
    { DT_TFLITE_RESHAPE, dt_tflite_add_same },
    { DT_TFLITE_SQUEEZE, dt_tflite_add_same },
    { DT_TFLITE_PAD, dt_tflite_add_codes_pad },
    { DT_TFLITE_QUANTIZE, dt_tflite_add_quantize },
    { DT_TFLITE_DEQUANTIZE, dt_tflite_add_dequantize },
};

dt_status dt_tflite_add_integer(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    return dt_tflite_call(imp, o, rows, sizeof rows / sizeof rows[0], "codes");
}
