/*
 * tflite_integer.c - the part of an integer graph that each operator of an int8 file makes.
 *
 * Codes are q - zero point, so that the codes of an int8 tensor are -128 - zero .. 127 - zero, and code 0 is real 0. A
 * fused ReLU raises the lowest code to 0, and a fused ReLU6 lowers the highest to 6 / scale, in f32, rounded half away
 * from zero. Files of uint8 have the same codes: q and zero point are both 128 higher.
 *
 * Tensors of equal scale share the parameter that holds it, so that CONCAT stays on the grid. A flat tensor stands as
 * the map that it was made of; FULLY_CONNECTED is a convolution whose window is that map.
 */
#include "tflite_layers.h"

#include "../../quant/program/program_build.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_CODES = 256 };

/* The profile of a graph that was just read. Who wants another engine's arithmetic changes it in the nodes. */
static const dt_profile profile = DT_PROFILE_LITERT_REF;

/* ---- scales and ranges ---- */

static dt_status check_codes(const dt_tflite_import *imp, const dt_tflite_operator *o, const dt_tflite_tensor *t)
{
    DT_TFLITE_CHECK((t->type == DT_TFLITE_INT8 || t->type == DT_TFLITE_UINT8) && t->n_scales == 1, DT_ERR_UNSUPPORTED,
                    imp, o, "'%.80s' is %s with %d scales; needed is INT8 with 1", t->name,
                    dt_tflite_type_name((int)t->type), t->n_scales);
    return DT_OK;
}

/* The range of a tensor's codes, after a fused activation. */
static void range_of(const dt_tflite_tensor *t, int fused, int *low, int *high)
{
    *low = (t->type == DT_TFLITE_UINT8 ? 0 : INT8_MIN) - t->zero[0];
    *high = *low + N_CODES - 1;
    if (fused != DT_TFLITE_FUSED_NONE && *low < 0) *low = 0;
    if (fused == DT_TFLITE_FUSED_RELU6) {
        const float six = roundf(6.0f / t->scale[0]); /* half away from zero */
        if (six < (float)*high) *high = (int)six;
    }
}

/* The zero point as an int8 file has it. */
static int zero_of(const dt_tflite_tensor *t)
{
    return t->zero[0] - (t->type == DT_TFLITE_UINT8 ? N_CODES / 2 : 0);
}

/* 1 if the codes of both have one scale and one range. */
static int same_codes(const dt_tflite_tensor *a, const dt_tflite_tensor *b)
{
    int low[2], high;

    range_of(a, 0, &low[0], &high);
    range_of(b, 0, &low[1], &high);
    return a->scale[0] == b->scale[0] && low[0] == low[1];
}

static dt_status check_same_codes(const dt_tflite_import *imp, const dt_tflite_operator *o, int k)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, k), *y = dt_tflite_out(imp, o);

    DT_TRY(check_codes(imp, o, y));
    DT_TFLITE_CHECK(same_codes(x, y), DT_ERR_FORMAT, imp, o,
                    "input %d has the scale %.9g and zero point %" PRId32 ", the output %.9g and %" PRId32
                    "; they must be equal",
                    k, (double)x->scale[0], x->zero[0], (double)y->scale[0], y->zero[0]);
    return DT_OK;
}

static dt_status add_state(dt_tflite_import *imp, const char *name, const char *part, const dt_shape *shape,
                           dt_dtype type, void *data, int *out)
{
    dt_tflite_param p = { name, part, dt_program_spec(shape), type, data };

    if (type == DT_I32) p.spec.type = DT_I32;
    DT_TRY(dt_tflite_add_param(imp, &p, out));
    return DT_OK;
}

/* Sets *scale to the parameter that holds a tensor's scale, which gets the name NAME.part unless there is one. */
static dt_status add_scale(dt_tflite_import *imp, int tensor, const char *name, const char *part, int *scale)
{
    const dt_tflite_tensor *t = &imp->m->tensor[tensor];
    const dt_shape one = dt_vector(1);

    for (int i = 0; i < imp->m->n_tensors && imp->scale[tensor] < 0; i++) {
        if (imp->scale[i] >= 0 && imp->m->tensor[i].scale[0] == t->scale[0]) imp->scale[tensor] = imp->scale[i];
    }
    if (imp->scale[tensor] < 0)
        DT_TRY(add_state(imp, name, part, &one, DT_F32, dt_program_one(t->scale[0]), &imp->scale[tensor]));
    *scale = imp->scale[tensor];
    return DT_OK;
}

/* ---- inputs and outputs ---- */

/* Sets *value to the codes of input k, and *scale to the parameter of their scale. */
static dt_status input(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value, int *scale)
{
    DT_TRY(dt_tflite_map(imp, o, k, value));
    DT_TRY(check_codes(imp, o, dt_tflite_in(imp, o, k)));
    DT_TFLITE_CHECK(imp->padded[o->in[k]] < 0, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d comes from a PAD, which is understood before a convolution alone", k);
    *scale = imp->scale[o->in[k]];
    return DT_OK;
}

/* Checks that the last axis of a flat tensor is that of the map that it stands as. */
static dt_status check_last(const dt_tflite_import *imp, const dt_tflite_operator *o, int k, int x)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);
    const dt_shape *s = dt_graph_shape(imp->graph, x);

    DT_TFLITE_CHECK(
        t->dim[t->n_dims - 1] == s->dim[s->ndim - 1], DT_ERR_UNSUPPORTED, imp, o,
        "input %d has %d numbers of a map of %lld channels, which are flat; on codes this is not understood", k,
        t->dim[t->n_dims - 1], (long long)s->dim[s->ndim - 1]);
    return DT_OK;
}

/* Adds a REQUANTIZE NAME.act_quant, of `of` sums of `count`, and makes it the output. in has x and the scale of x at 0
 * and 1, and from 3 on what else it reads; n counts all. */
static dt_status add_requantize(dt_tflite_import *imp, const dt_tflite_operator *o, const char *name,
                                const dt_requantize_params *of, int *in, int n)
{
    const dt_tflite_tensor *t = dt_tflite_out(imp, o);
    dt_requantize_params params = *of;
    int y;

    DT_TRY(check_codes(imp, o, t));
    params.profile = profile;
    params.zero = zero_of(t);
    range_of(t, o->options.fused, &params.low, &params.high);
    if (o->code == DT_TFLITE_RELU) range_of(t, DT_TFLITE_FUSED_RELU, &params.low, &params.high);
    if (o->code == DT_TFLITE_RELU6) range_of(t, DT_TFLITE_FUSED_RELU6, &params.low, &params.high);
    DT_TRY(add_scale(imp, o->out, name, ".act_scale", &in[2]));
    DT_TRY(dt_tflite_node(imp, DT_OP_REQUANTIZE, name, ".act_quant", &params, in, n, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

/* ---- convolutions ---- */

/* The filters are int8 codes around 0, with one scale or one for each of n filters. */
static dt_status check_filters(const dt_tflite_import *imp, const dt_tflite_operator *o, int axis, int64_t n)
{
    const dt_tflite_tensor *w = dt_tflite_in(imp, o, 1);

    DT_TFLITE_CHECK(w->type == DT_TFLITE_INT8 && w->data, DT_ERR_UNSUPPORTED, imp, o,
                    "weights are %s and %s; needed are constant INT8", dt_tflite_type_name((int)w->type),
                    w->data ? "constant" : "computed");
    DT_TFLITE_CHECK(w->n_scales == 1 || (w->n_scales == n && w->axis == axis), DT_ERR_UNSUPPORTED, imp, o,
                    "weights have %d scales along axis %d; needed are 1, or %" PRId64 " along axis %d", w->n_scales,
                    w->axis, n, axis);
    for (int k = 0; k < w->n_scales; k++) {
        DT_TFLITE_CHECK(w->zero[k] == 0, DT_ERR_UNSUPPORTED, imp, o,
                        "weights of filter %d have the zero point %" PRId32 ", understood is 0", k, w->zero[k]);
    }
    return DT_OK;
}

/* Sets low to -128 where a weight has that code, which converters leave out. */
static dt_codes_params weight_range(const dt_tflite_tensor *w)
{
    return (dt_codes_params){ memchr(w->data, INT8_MIN & 0xff, w->bytes) ? INT8_MIN : -INT8_MAX, INT8_MAX };
}

static float *copy_scales(const dt_tflite_tensor *w)
{
    float *scale = malloc((size_t)w->n_scales * sizeof *scale);

    if (scale) memcpy(scale, w->scale, (size_t)w->n_scales * sizeof *scale);
    return scale;
}

/* Adds a bias to the inputs of a REQUANTIZE, unless there is none. */
static dt_status add_bias(dt_tflite_import *imp, const dt_tflite_operator *o, const char *name, int64_t filters,
                          int *in, int *n)
{
    const dt_tflite_tensor *bias = dt_tflite_in(imp, o, 2);
    const dt_shape shape = dt_vector(filters);

    if (!bias) return DT_OK;
    DT_TFLITE_CHECK(bias->type == DT_TFLITE_INT32 && bias->data && dt_tflite_count(bias) == filters, DT_ERR_UNSUPPORTED,
                    imp, o, "the bias is %lld numbers of %s; needed are %lld constant INT32",
                    (long long)dt_tflite_count(bias), dt_tflite_type_name((int)bias->type), (long long)filters);
    DT_TRY(add_state(imp, name, ".bias", &shape, DT_I32, dt_tflite_copy(bias), &in[(*n)++]));
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
    char name[DT_TFLITE_NAME];
    int weights[2], operands[2] = { x[0] }, in[5] = { 0, x[1] }, n = 4;

    dt_tflite_name(imp, o, name);
    DT_TRY(check_filters(imp, o, axis, shape->dim[0]));
    const dt_codes_params range = weight_range(w);
    const dt_shape n_scales = dt_vector(w->n_scales);
    DT_TRY(add_state(imp, name, ".weight", shape, DT_I8, dt_tflite_filters(imp, o), &weights[0]));
    DT_TRY(add_state(imp, name, ".weight_scale", &n_scales, DT_F32, copy_scales(w), &weights[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CODES, name, ".codes", &range, weights, 2, &operands[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_CONV2D, name, "", conv, operands, 2, &in[0]));
    in[3] = weights[1];
    DT_TRY(add_bias(imp, o, name, shape->dim[0], in, &n));
    DT_TRY(add_requantize(imp, o, name, &of, in, n));
    return DT_OK;
}

static dt_status add_conv(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_conv_params conv;
    dt_shape shape;
    int x[2];

    DT_TRY(dt_tflite_map(imp, o, 0, &x[0]));
    DT_TRY(check_codes(imp, o, dt_tflite_in(imp, o, 0)));
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

    DT_TRY(input(imp, o, 0, &x[0], &x[1]));
    DT_TFLITE_CHECK(w->n_dims == 2 && w->dim[1] == dt_graph_count(imp->graph, x[0]), DT_ERR_FORMAT, imp, o,
                    "weights of %d dimensions, the last %d, do not fit %lld inputs", w->n_dims,
                    w->n_dims > 0 ? w->dim[w->n_dims - 1] : 1, (long long)dt_graph_count(imp->graph, x[0]));
    const dt_shape *map = dt_graph_shape(imp->graph, x[0]);
    const dt_shape shape = { 4, { w->dim[0], map->dim[1], map->dim[2], map->dim[3] } };
    DT_TRY(add_sums(imp, o, &conv, &shape, 0, x));
    return DT_OK;
}

/* ---- pools and sums ---- */

/* A limit of 6 has no code of its own where codes stay as they are. */
static dt_status add_maxpool(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    char name[DT_TFLITE_NAME];
    dt_pool_params params;
    int x, y, scale = -1;

    dt_tflite_name(imp, o, name);
    DT_TRY(input(imp, o, 0, &x, &scale));
    DT_TRY(check_same_codes(imp, o, 0));
    DT_TFLITE_CHECK(o->options.fused != DT_TFLITE_FUSED_RELU6, DT_ERR_UNSUPPORTED, imp, o,
                    "a fused RELU6 on codes whose scale is %.9g is not understood",
                    (double)dt_tflite_out(imp, o)->scale[0]);
    dt_tflite_pool(imp, o, x, &params);
    DT_TRY(dt_tflite_node(imp, DT_OP_MAXPOOL, name, "", &params, &x, 1, &y));
    x = y;
    if (o->options.fused == DT_TFLITE_FUSED_RELU)
        DT_TRY(dt_tflite_node(imp, DT_OP_RELU, name, ".relu", NULL, &x, 1, &y));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static dt_status add_avgpool(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    char name[DT_TFLITE_NAME];
    dt_qavgpool_params params = { .profile = profile };
    int x, y, scale = -1;

    dt_tflite_name(imp, o, name);
    DT_TRY(input(imp, o, 0, &x, &scale));
    DT_TRY(check_same_codes(imp, o, 0));
    dt_tflite_pool(imp, o, x, &params.pool);
    range_of(dt_tflite_out(imp, o), o->options.fused, &params.low, &params.high);
    params.zero = zero_of(dt_tflite_out(imp, o));
    DT_TRY(dt_tflite_node(imp, DT_OP_QAVGPOOL, name, "", &params, &x, 1, &y));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static dt_status add_mean(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_pool_params whole = { .stride = { 1, 1 } };
    char name[DT_TFLITE_NAME];
    int x, in[3];

    dt_tflite_name(imp, o, name);
    DT_TRY(dt_tflite_check_mean(imp, o));
    DT_TRY(input(imp, o, 0, &x, &in[1]));
    const dt_shape *s = dt_graph_shape(imp->graph, x);
    const dt_requantize_params of = { .of = DT_REQUANT_MEAN, .count = (int)(s->dim[1] * s->dim[2]) };
    for (int a = 0; a < 2; a++) whole.window[a] = (int)s->dim[1 + a];
    DT_TRY(dt_tflite_node(imp, DT_OP_AVGPOOL, name, "", &whole, &x, 1, &in[0]));
    DT_TRY(add_requantize(imp, o, name, &of, in, 3));
    return DT_OK;
}

/* ADD, SUB and MUL of two computed tensors of one shape. */
static dt_status add_binary(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    dt_qbinary_params params = { .profile = profile, .subtract = o->code == DT_TFLITE_SUB };
    char name[DT_TFLITE_NAME];
    int in[5], y;

    dt_tflite_name(imp, o, name);
    for (int k = 0; k < 2; k++) DT_TRY(input(imp, o, k, &in[k], &in[k + 2]));
    DT_TRY(check_codes(imp, o, dt_tflite_out(imp, o)));
    range_of(dt_tflite_out(imp, o), o->options.fused, &params.low, &params.high);
    params.zero = zero_of(dt_tflite_out(imp, o));
    DT_TRY(add_scale(imp, o->out, name, ".act_scale", &in[4]));
    DT_TRY(dt_tflite_node(imp, o->code == DT_TFLITE_MUL ? DT_OP_QMUL : DT_OP_QADD, name, "", &params, in, 5, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static dt_status add_concat(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    char name[DT_TFLITE_NAME];
    dt_concat_params params;
    int in[DT_MAX_IN], y, scale = -1;

    dt_tflite_name(imp, o, name);
    DT_TRY(dt_tflite_concat_axis(imp, o, &params.axis));
    DT_TFLITE_CHECK(o->options.fused == DT_TFLITE_FUSED_NONE, DT_ERR_UNSUPPORTED, imp, o,
                    "a fused activation (%d) on codes is not understood", o->options.fused);
    for (int k = 0; k < o->n_in; k++) {
        DT_TRY(input(imp, o, k, &in[k], &scale));
        DT_TRY(check_last(imp, o, k, in[k]));
        DT_TRY(check_same_codes(imp, o, k));
    }
    if (dt_tflite_out(imp, o)->n_dims == 2) params.axis = 3; /* its values are maps 1,1,n */
    DT_TRY(dt_tflite_node(imp, DT_OP_CONCAT, name, "", &params, in, o->n_in, &y));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

/* ---- functions ---- */

/* Checks the scale and the zero point that the output of a function must have. */
static dt_status check_fixed(const dt_tflite_import *imp, const dt_tflite_operator *o, int steps, int zero)
{
    const dt_tflite_tensor *y = dt_tflite_out(imp, o);

    DT_TRY(check_codes(imp, o, y));
    DT_TFLITE_CHECK(y->scale[0] == 1.0f / (float)steps && y->zero[0] == zero, DT_ERR_FORMAT, imp, o,
                    "the output has the scale %.9g and zero point %" PRId32 "; it must have 1/%d and %d",
                    (double)y->scale[0], y->zero[0], steps, zero);
    return DT_OK;
}

static dt_status add_softmax(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_qsoftmax_params params = { profile, o->options.beta };
    char name[DT_TFLITE_NAME];
    int in[3], y;

    dt_tflite_name(imp, o, name);
    DT_TRY(input(imp, o, 0, &in[0], &in[1]));
    DT_TRY(check_last(imp, o, 0, in[0]));
    DT_TRY(check_fixed(imp, o, 256, INT8_MIN));
    DT_TRY(add_scale(imp, o->out, name, ".act_scale", &in[2]));
    DT_TRY(dt_tflite_node(imp, DT_OP_QSOFTMAX, name, "", &params, in, 3, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

/* The stored integer of a function's value, in steps of 1/256 or 1/128, rounded half to even. */
static double stored_value(dt_tflite_code code, double x)
{
    const double q = code == DT_TFLITE_LOGISTIC ? rint(256.0 / (1.0 + exp(-x))) + INT8_MIN : rint(128.0 * tanh(x));

    return q < INT8_MIN ? INT8_MIN : q > INT8_MAX ? INT8_MAX : q;
}

/* LOGISTIC and TANH, a table with a row for each code of x. */
static dt_status add_table(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, 0), *y = dt_tflite_out(imp, o);
    const dt_shape rows = { 2, { N_CODES, 1 } };
    dt_table_params params;
    char name[DT_TFLITE_NAME];
    int in[3], scale, high, out;

    dt_tflite_name(imp, o, name);
    DT_TRY(input(imp, o, 0, &in[0], &scale));
    DT_TRY(o->code == DT_TFLITE_LOGISTIC ? check_fixed(imp, o, 256, INT8_MIN) : check_fixed(imp, o, 128, 0));
    range_of(x, 0, &params.first, &high);
    range_of(y, 0, &params.low, &params.high);
    int16_t *table = malloc(N_CODES * sizeof *table);
    for (int i = 0; table && i < N_CODES; i++) {
        const double real = (double)x->scale[0] * (params.first + i);
        table[i] = (int16_t)(stored_value(o->code, real) - y->zero[0]);
    }
    DT_TRY(add_state(imp, name, ".table", &rows, DT_I16, table, &in[1]));
    DT_TRY(add_scale(imp, o->out, name, ".act_scale", &in[2]));
    DT_TRY(dt_tflite_node(imp, DT_OP_TABLE, name, "", &params, in, 3, &out));
    DT_TRY(dt_tflite_output(imp, o, out));
    return DT_OK;
}

/* ---- between scales ---- */

/* Codes of another scale: QUANTIZE of codes, RELU and RELU6. */
static dt_status add_rescale(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_requantize_params of = { .of = DT_REQUANT_CODES, .count = 1 };
    char name[DT_TFLITE_NAME];
    int in[3];

    dt_tflite_name(imp, o, name);
    DT_TRY(input(imp, o, 0, &in[0], &in[1]));
    DT_TRY(add_requantize(imp, o, name, &of, in, 3));
    return DT_OK;
}

/* What leaves codes as they are. */
static dt_status add_same(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x, scale = -1;

    DT_TRY(input(imp, o, 0, &x, &scale));
    DT_TRY(check_same_codes(imp, o, 0));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_output(imp, o, x));
    return DT_OK;
}

static dt_status add_pad(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x, scale = -1;

    DT_TRY(input(imp, o, 0, &x, &scale));
    DT_TRY(check_same_codes(imp, o, 0));
    imp->scale[o->out] = scale;
    DT_TRY(dt_tflite_add_pad(imp, o));
    return DT_OK;
}

/* Adds a QUANTIZE NAME of the reals x, whose codes are those of a tensor. */
static dt_status quantize(dt_tflite_import *imp, int tensor, const char *name, const char *part, int x)
{
    dt_quantize_params params = { .profile = profile };
    int in[2] = { x };

    range_of(&imp->m->tensor[tensor], 0, &params.low, &params.high);
    params.zero = zero_of(&imp->m->tensor[tensor]);
    DT_TRY(add_scale(imp, tensor, name, ".act_scale", &in[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_QUANTIZE, name, part, &params, in, 2, &imp->value[tensor]));
    return DT_OK;
}

static dt_status add_quantize(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, 0), *y = dt_tflite_out(imp, o);

    DT_TRY(check_codes(imp, o, y));
    if (x->type != DT_TFLITE_FLOAT32) {
        DT_TRY(check_codes(imp, o, x));
        return same_codes(x, y) ? add_same(imp, o) : add_rescale(imp, o);
    }
    DT_TFLITE_CHECK(o->in[0] == imp->m->in[0], DT_ERR_UNSUPPORTED, imp, o,
                    "it quantizes '%.80s'; understood is the file's input", x->name);
    DT_TRY(quantize(imp, o->out, "image", ".codes", imp->graph->image));
    DT_TRY(dt_tflite_output(imp, o, imp->value[o->out]));
    return DT_OK;
}

static dt_status add_dequantize(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x, y, scale = -1;

    DT_TRY(input(imp, o, 0, &x, &scale));
    DT_TFLITE_CHECK(o->out == imp->m->out[0], DT_ERR_UNSUPPORTED, imp, o,
                    "it makes reals of tensor %d before the end; understood is at the file's output", o->in[0]);
    DT_TRY(dt_tflite_node(imp, DT_OP_DEQUANTIZE, dt_graph_name(imp->graph, x), ".real", NULL, &x, 1, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

static const struct {
    dt_tflite_code code;
    dt_tflite_layer add;
} layers[] = {
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
    { DT_TFLITE_RELU, add_rescale },
    { DT_TFLITE_RELU6, add_rescale },
    { DT_TFLITE_RESHAPE, add_same },
    { DT_TFLITE_SQUEEZE, add_same },
    { DT_TFLITE_PAD, add_pad },
    { DT_TFLITE_QUANTIZE, add_quantize },
    { DT_TFLITE_DEQUANTIZE, add_dequantize },
};

dt_status dt_tflite_add_integer(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        if (layers[i].code == o->code) return layers[i].add(imp, o);
    }
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "%s: %s '%.80s': detent has no operator for it on codes",
                    imp->path, dt_tflite_op_name((int)o->code), dt_tflite_out(imp, o)->name);
}

dt_status dt_tflite_begin_integer(dt_tflite_import *imp)
{
    const int image = imp->m->in[0];
    const dt_tflite_tensor *t = &imp->m->tensor[image];

    if (t->type == DT_TFLITE_FLOAT32) return DT_OK;
    DT_CHECK((t->type == DT_TFLITE_INT8 || t->type == DT_TFLITE_UINT8) && t->n_scales == 1, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' is %s with %d scales; understood are FLOAT32, and INT8 or UINT8 with 1", imp->path,
             t->name, dt_tflite_type_name((int)t->type), t->n_scales);
    DT_TRY(quantize(imp, image, "image", ".codes", imp->graph->image));
    return DT_OK;
}

dt_status dt_tflite_end_integer(dt_tflite_import *imp)
{
    const int last = imp->m->out[0], x = imp->value[last];

    if (imp->m->tensor[last].type == DT_TFLITE_FLOAT32) return DT_OK;
    DT_TRY(
        dt_tflite_node(imp, DT_OP_DEQUANTIZE, dt_graph_name(imp->graph, x), ".real", NULL, &x, 1, &imp->value[last]));
    return DT_OK;
}
