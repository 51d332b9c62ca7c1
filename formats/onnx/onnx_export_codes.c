/*
 * onnx_export_codes.c - what each node of a program becomes in QDQ form: an operator on reals between DequantizeLinears
 *                       and a QuantizeLinear. CONV2D, CODES and AVGPOOL wait for the REQUANTIZE that reads their sums.
 *                       See onnx_export.h.
 */
#include "onnx_export.h"

#include "../tflite/tflite_codes.h"
#include "onnx.h"

#include <math.h>
#include <stdlib.h>

/* ---- limits ---- */

/* Puts a Relu or a Clip behind *real where the codes of a value are fewer than those of int8. */
static dt_status limit(dt_onnx_export *e, const dt_graph_node *n, dt_onnx_name *real)
{
    const dt_value v = dt_program_value(e->p, n->out);
    const int zero = dt_codes_zero(e->g, n->out), least = INT8_MIN - zero, most = INT8_MAX - zero;
    const int from_zero = least < 0 ? 0 : least;
    const float scale = dt_program_scale(e->p, n->out);
    const dt_onnx_name limited = dt_onnx_name_of(e, n->out, ".limited");

    if (v.low == least && v.high == most) return DT_OK;
    DT_ONNX_EXPECT(
        v.low == from_zero && v.high <= most && v.high > v.low, e, n,
        "its codes are %d..%d and its zero point is %d; a file has -128 - zero .. 127 - zero, or what a ReLU "
        "leaves of them",
        v.low, v.high, zero);
    if (v.high == most) {
        dt_onnx_put_plain(e, "Relu", real, 1, limited.s);
    } else {
        const float six = (int)roundf(6.0f / scale) == v.high ? 6.0f : (float)v.high * scale;
        const dt_onnx_name in[] = { *real, dt_onnx_real_constant(e, n->out, ".least", 0.0f),
                                    dt_onnx_real_constant(e, n->out, ".most", six) };
        dt_onnx_put_plain(e, "Clip", in, 3, limited.s);
    }
    *real = limited;
    return DT_OK;
}

/* Adds what makes the codes of n's value of the reals. */
static dt_status add_codes(dt_onnx_export *e, const dt_graph_node *n, dt_onnx_name real, int is_flat)
{
    DT_TRY(limit(e, n, &real));
    dt_onnx_quantize(e, &real, n->out, is_flat);
    return DT_OK;
}

/* ---- layers ---- */

typedef struct {
    const dt_graph_node *requantize, *conv, *weights;
    const dt_shape *filters;
    const float *scale_w;
    int64_t n_scales;
} layer;

static layer layer_of(const dt_onnx_export *e, const dt_graph_node *n)
{
    layer l = { .requantize = n, .conv = dt_graph_maker(e->g, n->in[0]) };

    l.weights = dt_program_weights(e->p, l.conv);
    l.filters = dt_graph_shape(e->g, l.weights->in[DT_CODES_WEIGHT]);
    l.scale_w = dt_program_data(e->p, l.weights, DT_CODES_SCALE);
    l.n_scales = dt_count(dt_graph_shape(e->g, l.weights->in[DT_CODES_SCALE]));
    return l;
}

/* Adds DequantizeLinear of NAME and `part` with these scales: one, or one for each row of the first axis. */
static dt_onnx_name add_reals_of(dt_onnx_export *e, const layer *l, const char *part, const float *scale)
{
    const dt_onnx_name codes = dt_onnx_name_of(e, l->conv->out, part);
    const dt_onnx_name scales = dt_onnx_join(codes.s, ".scale"), real = dt_onnx_join(codes.s, ".real");
    const int is_each = l->n_scales > 1;

    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ scales.s, DT_ONNX_FLOAT, is_each, { l->n_scales }, scale });
    const dt_onnx_new_node n = { .op = "DequantizeLinear",
                                 .in = { codes.s, scales.s },
                                 .n_in = 2,
                                 .out = real.s,
                                 .attribute = { { .name = "axis", .integer = 0 } },
                                 .n_attributes = is_each };
    dt_onnx_put_node(&e->w, &n);
    return real;
}

static dt_onnx_name add_weights(dt_onnx_export *e, const layer *l, int is_matrix)
{
    const dt_onnx_name name = dt_onnx_name_of(e, l->conv->out, ".weight");
    dt_shape shape = *l->filters;

    if (is_matrix) shape = (dt_shape){ 2, { shape.dim[0], dt_count(l->filters) / shape.dim[0] } };
    dt_onnx_put_filters(e, name.s, DT_ONNX_INT8, &shape, dt_program_data(e->p, l->weights, DT_CODES_WEIGHT));
    return add_reals_of(e, l, ".weight", l->scale_w);
}

/* The bias in units of the sums: the scale of what the layer reads times that of the weights. */
static dt_status add_bias(dt_onnx_export *e, const layer *l, dt_onnx_name *real)
{
    const float scale_x = dt_program_scale(e->p, l->conv->in[0]);
    float *scale = malloc((size_t)l->n_scales * sizeof *scale);

    DT_CHECK(scale, DT_ERR_MEMORY, "no memory for the bias of %s", dt_graph_name(e->g, l->conv->out));
    for (int64_t k = 0; k < l->n_scales; k++) scale[k] = scale_x * l->scale_w[k];
    const dt_onnx_name name = dt_onnx_name_of(e, l->conv->out, ".bias");
    const void *data = dt_program_data(e->p, l->requantize, DT_REQUANT_BIAS);
    dt_onnx_put_tensor(&e->w, &(dt_onnx_new_tensor){ name.s, DT_ONNX_INT32, 1, { l->filters->dim[0] }, data });
    *real = add_reals_of(e, l, ".bias", scale);
    free(scale);
    return DT_OK;
}

static dt_status add_layer(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_requantize_params *p = n->params;
    const layer l = layer_of(e, n);
    const dt_value y = dt_program_value(e->p, n->out);
    const int is_linear = p->of == DT_REQUANT_LINEAR && y.height * y.width == 1,
              n_in = n->n_in > DT_REQUANT_BIAS ? 3 : 2;
    const dt_onnx_name out = dt_onnx_name_of(e, l.conv->out, "");
    dt_onnx_name in[3];

    in[0] = dt_onnx_reals_of(e, l.conv->in[0], is_linear);
    in[1] = add_weights(e, &l, is_linear);
    if (n_in == 3) DT_TRY(add_bias(e, &l, &in[2]));
    if (is_linear) {
        dt_onnx_put_gemm(e, in, n_in, out.s);
    } else {
        dt_onnx_put_conv(e, l.conv, l.filters, in, n_in, out.s);
    }
    return add_codes(e, n, out, is_linear);
}

/* ---- other sums ---- */

static dt_status add_mean(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_graph_node *pool = dt_graph_maker(e->g, n->in[0]);
    const dt_onnx_name in = dt_onnx_reals_of(e, pool->in[0], 0), out = dt_onnx_name_of(e, pool->out, "");

    dt_onnx_put_pool(e, pool, &in, out.s);
    return add_codes(e, n, out, 0);
}

static dt_status add_requantize(dt_onnx_export *e, const dt_graph_node *n)
{
    const int is_flat = dt_onnx_is_flat(e, n->in[0]);

    switch (dt_graph_maker(e->g, n->in[0])->kind) {
    case DT_OP_CONV2D: return add_layer(e, n);
    case DT_OP_AVGPOOL: return add_mean(e, n);
    default: return add_codes(e, n, dt_onnx_reals_of(e, n->in[0], is_flat), is_flat);
    }
}

/* Adds an operator on all that the node reads, and the codes of what it gives. */
static dt_status add_operator(dt_onnx_export *e, const dt_graph_node *n, const char *op, int n_in)
{
    const int is_flat = dt_onnx_is_flat(e, n->in[0]);
    const dt_onnx_name out = dt_onnx_name_of(e, n->out, ".exact");
    dt_onnx_name in[2];

    for (int k = 0; k < n_in; k++) in[k] = dt_onnx_reals_of(e, n->in[k], is_flat);
    dt_onnx_put_plain(e, op, in, n_in, out.s);
    return add_codes(e, n, out, is_flat);
}

static dt_status add_sum(dt_onnx_export *e, const dt_graph_node *n)
{
    return add_operator(e, n, ((const dt_qbinary_params *)n->params)->subtract ? "Sub" : "Add", 2);
}

static dt_status add_product(dt_onnx_export *e, const dt_graph_node *n)
{
    return add_operator(e, n, "Mul", 2);
}

/* ---- pools and joints, which leave scale and zero point ---- */

static dt_status add_relu(dt_onnx_export *e, const dt_graph_node *n)
{
    return add_operator(e, n, "Relu", 1);
}

static dt_status add_pool(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_onnx_name in = dt_onnx_reals_of(e, n->in[0], 0), out = dt_onnx_name_of(e, n->out, ".exact");

    dt_onnx_put_pool(e, n, &in, out.s);
    return add_codes(e, n, out, 0);
}

static dt_status add_concat(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_onnx_name out = dt_onnx_name_of(e, n->out, ".exact");

    dt_onnx_put_concat(e, n, out.s);
    return add_codes(e, n, out, dt_graph_shape(e->g, n->out)->ndim == 2);
}

/* ---- functions ---- */

static dt_status add_softmax(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_qsoftmax_params *p = n->params;
    const int is_flat = dt_onnx_is_flat(e, n->in[0]);
    const dt_onnx_name in = dt_onnx_reals_of(e, n->in[0], is_flat), out = dt_onnx_name_of(e, n->out, ".exact");

    DT_ONNX_EXPECT(p->beta == 1.0f, e, n, "its factor on the logits is %g; a file has 1", (double)p->beta);
    dt_onnx_put_softmax(e, &in, out.s);
    return add_codes(e, n, out, is_flat);
}

/* 1 if the table of codes is that of the function. */
static int is_function(const dt_onnx_export *e, const dt_graph_node *n, dt_tflite_code code)
{
    const dt_table_params *p = n->params;
    const int16_t *table = dt_program_data(e->p, n, DT_TABLE_CODES);
    const dt_value x = dt_program_value(e->p, n->in[0]);
    const double scale = (double)dt_program_scale(e->p, n->in[0]);

    for (int i = x.low; i <= x.high; i++) {
        if (table[i - p->first] + dt_codes_zero(e->g, n->out) != dt_tflite_function(code, scale * i)) return 0;
    }
    return 1;
}

static dt_status add_table(dt_onnx_export *e, const dt_graph_node *n)
{
    const int is_sigmoid = is_function(e, n, DT_TFLITE_LOGISTIC);

    DT_ONNX_EXPECT(is_sigmoid || is_function(e, n, DT_TFLITE_TANH), e, n,
                   "%s makes its codes; a file has Sigmoid and Tanh in the steps of TensorFlow Lite",
                   dt_graph_name(e->g, n->in[DT_TABLE_CODES]));
    return add_operator(e, n, is_sigmoid ? "Sigmoid" : "Tanh", 1);
}

/* ---- the ends ---- */

static dt_status add_image(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_quantize_params *p = n->params;

    DT_ONNX_EXPECT(p->cast == DT_CAST_ROUND, e, n, "its cast is %s, which a file does not have: the host casts",
                   dt_image_cast_names[p->cast]);
    return add_codes(e, n, dt_onnx_reals_of(e, n->in[0], 0), 0);
}

/* The last FLATTEN, of the reals of codes. */
static dt_status add_scores(dt_onnx_export *e, const dt_graph_node *n)
{
    const dt_graph_node *reals = dt_graph_maker(e->g, n->in[0]);
    const dt_onnx_name out = dt_onnx_name_of(e, n->out, "");

    DT_ONNX_EXPECT(reals->kind == DT_OP_DEQUANTIZE, e, n, "reads %s, which is %s; in a file the scores are codes",
                   dt_graph_name(e->g, n->in[0]), dt_ops[reals->kind]->name);
    dt_onnx_put_flatten(e, reals->in[0], out.s);
    dt_onnx_note(e, n->out, 1);
    return DT_OK;
}

static dt_status add_nothing(dt_onnx_export *e, const dt_graph_node *n)
{
    (void)e, (void)n;
    return DT_OK;
}

static dt_status (*const codes[DT_OP_COUNT])(dt_onnx_export *e, const dt_graph_node *n) = {
    [DT_OP_QUANTIZE] = add_image,  [DT_OP_CODES] = add_nothing,      [DT_OP_CONV2D] = add_nothing,
    [DT_OP_AVGPOOL] = add_nothing, [DT_OP_DEQUANTIZE] = add_nothing, [DT_OP_REQUANTIZE] = add_requantize,
    [DT_OP_QADD] = add_sum,        [DT_OP_QMUL] = add_product,       [DT_OP_MAXPOOL] = add_pool,
    [DT_OP_QAVGPOOL] = add_pool,   [DT_OP_CONCAT] = add_concat,      [DT_OP_QSOFTMAX] = add_softmax,
    [DT_OP_TABLE] = add_table,     [DT_OP_FLATTEN] = add_scores,     [DT_OP_RELU] = add_relu,
};

dt_status dt_onnx_export_code(dt_onnx_export *e, const dt_graph_node *n)
{
    DT_ONNX_EXPECT(codes[n->kind], e, n, "%s", "a file in QDQ form has no such operator");
    DT_TRY(codes[n->kind](e, n));
    return DT_OK;
}
