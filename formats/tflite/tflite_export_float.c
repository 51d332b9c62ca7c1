/*
 * tflite_export_float.c - what each node of a network of reals becomes in a file, and the network as a whole.
 *
 * An operator of a file adds the bias of a convolution and applies a RELU or RELU6 itself. So a CONV2D waits for the
 * BIAS that alone reads it, and a layer for the RELU that alone reads it: the last of them makes the operator.
 *
 *   CONV2D [BIAS]  CONV_2D, DEPTHWISE_CONV_2D     LINEAR     FULLY_CONNECTED         BATCHNORM         MUL, ADD
 *   MAXPOOL        MAX_POOL_2D                    AVGPOOL    AVERAGE_POOL_2D, MEAN   ADD, MUL, CONCAT  the same
 *   BIAS           ADD of a constant              RELU       RELU, RELU6             SIGMOID, SOFTMAX  LOGISTIC, ..
 *   FLATTEN        RESHAPE, where it needs one    IDENTITY   nothing                 TRANSPOSE         the same
 *
 * Batch norms behind layers are folded first (quant/fold.h). Layers with dynamic ranges read a DYNAMIC_QUANT and the
 * reals of codes (quant/insert_dynamic.h): their weights are INT8 in the file, and its engine rounds their input. The
 * hybrid CONV_2D and DEPTHWISE_CONV_2D need a scale for each filter; one scale of all is written as often. Each
 * convolution gets a bias, of zeros if it has none, because engines demand one.
 *
 * Interface: dt_tflite_of_graph in tflite_export.h, dt_model_write_tflite in include/detent/quantize.h.
 * Source: tensorflow/lite/schema/schema.fbs; versions: files of TensorFlow 2.21's converter.
 * Tests: tests/formats/test_tflite_export_float.c.
 */
#include "tflite_real.h"

#include "../../quant/insert_dynamic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { X, W, LINEAR_BIAS };          /* inputs of a layer */
enum { GAMMA = 1, BETA, MEAN, VAR }; /* inputs of a batch norm */

/* ---- nodes that become one operator ---- */

/* The only reader of a value, if it is of that kind and reads it first; else NULL. */
static const dt_graph_node *only_reader(const dt_graph *g, int value, dt_op_kind kind)
{
    if (dt_graph_n_readers(g, value) != 1 || value == g->scores) return NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (n->kind == kind && n->in[X] == value) return n;
    }
    return NULL;
}

/* The fused activation of a RELU; NONE: a file has none with that limit. */
static int fused_of(const dt_graph_node *relu)
{
    const float most = ((const dt_relu_params *)relu->params)->most;

    return most == 0.0f ? DT_TFLITE_FUSED_RELU : most == 6.0f ? DT_TFLITE_FUSED_RELU6 : DT_TFLITE_FUSED_NONE;
}

/* 1 if the operator of a node can apply an activation: those of the schema that have one, but for CONCATENATION. */
static int can_fuse(const dt_graph_node *n)
{
    switch (n->kind) {
    case DT_OP_CONV2D:
    case DT_OP_BIAS:
    case DT_OP_LINEAR:
    case DT_OP_BATCHNORM:
    case DT_OP_ADD:
    case DT_OP_MUL:
    case DT_OP_MAXPOOL: return 1;
    case DT_OP_AVGPOOL: return ((const dt_pool_params *)n->params)->window[0] > 0;
    default: return 0;
    }
}

/* 1 if the node is a part of the operator that a later node makes. */
static int waits(const dt_graph *g, const dt_graph_node *n)
{
    if (n->kind == DT_OP_CONV2D && only_reader(g, n->out, DT_OP_BIAS)) return 1;
    const dt_graph_node *relu = can_fuse(n) ? only_reader(g, n->out, DT_OP_RELU) : NULL;
    return relu && fused_of(relu) != DT_TFLITE_FUSED_NONE;
}

/* The node whose operator makes the value of n: n itself, or what waits before it. */
static const dt_graph_node *first_of(const dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *before = dt_graph_maker(g, n->in[X]);

    return before && (n->kind == DT_OP_RELU || n->kind == DT_OP_BIAS) && waits(g, before) ? first_of(g, before) : n;
}

static dt_tflite_real_op op_of(const dt_graph *g, const dt_graph_node *n)
{
    dt_tflite_real_op o = { .node = first_of(g, n), .out = n->out };

    if (n != o.node && n->kind == DT_OP_RELU) {
        o.options.fused = fused_of(n);
        n = dt_graph_maker(g, n->in[X]);
    }
    if (n != o.node) o.bias = n;
    snprintf(o.name, sizeof o.name, "%s", dt_graph_name(g, o.node->out));
    return o;
}

static dt_status add_op(dt_tflite_export *e, const dt_tflite_real_op *o)
{
    int out;

    DT_TRY(dt_tflite_add_named(e, o->out, o->name, "", o->is_flat, &out));
    DT_TRY(dt_tflite_add_op(e, o->code, o->in, o->n_in, out, &o->options));
    if (o->version > 0) e->m->op[e->m->n_ops - 1].version = o->version;
    return DT_OK;
}

/* ---- layers ---- */

/* The value that a layer reads: with codes, what its DYNAMIC_QUANT rounds. */
static dt_status find_input(const dt_tflite_export *e, const dt_tflite_real_op *o, int *x)
{
    const dt_graph_node *rounds = dt_graph_maker(e->g, o->node->in[X]);
    const int is_rounded = rounds && rounds->kind == DT_OP_DYNAMIC_QUANT;
    const int has_codes = dt_dynamic_codes_of(e->g, o->node) != NULL;

    DT_TFLITE_EXPECT(is_rounded == has_codes, e, o->node,
                     "its weights are %s and its input is %s; in a file both are rounded, or none, as 'detent quantize "
                     "--scheme drq' makes them",
                     has_codes ? "codes" : "real", is_rounded ? "rounded" : "not");
    *x = is_rounded ? rounds->in[X] : o->node->in[X];
    return DT_OK;
}

/* The first version that has what the operator needs. */
static int conv_version(const dt_tflite_real_op *o, int has_codes, int is_grouped)
{
    const int is_depthwise = o->code == DT_TFLITE_DEPTHWISE_CONV_2D;

    if (has_codes) return is_depthwise ? 6 : 5;
    if (is_depthwise) return o->options.dilation[0] > 1 || o->options.dilation[1] > 1 ? 2 : 1;
    return is_grouped ? 6 : 1;
}

static dt_status add_conv(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const dt_shape *filters = dt_graph_shape(e->g, o->node->in[W]);
    const int groups = ((const dt_conv_params *)o->node->params)->groups;
    int x;

    o->code = dt_tflite_is_depthwise(o->node, filters) ? DT_TFLITE_DEPTHWISE_CONV_2D : DT_TFLITE_CONV_2D;
    o->n_in = 3;
    DT_TRY(find_input(e, o, &x));
    DT_TRY(dt_tflite_as_map(e, o->node, x, &o->in[0]));
    DT_TRY(dt_tflite_set_window(e, o->node, filters, &o->options, &o->in[0]));
    o->version = conv_version(o, x != o->node->in[X], groups > 1);
    DT_TRY(dt_tflite_add_real_weights(e, o, &o->in[1]));
    DT_TRY(dt_tflite_add_real_bias(e, o, o->bias ? o->bias->in[1] : -1, filters->dim[0], &o->in[2]));
    DT_TRY(add_op(e, o));
    return DT_OK;
}

static dt_status add_linear(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const dt_graph_node *n = o->node, *codes = dt_dynamic_codes_of(e->g, n);
    const int has_bias = n->n_in > LINEAR_BIAS;
    int x;

    o->code = DT_TFLITE_FULLY_CONNECTED;
    o->n_in = 3;
    o->is_flat = 1;
    o->options.per_row = codes != NULL;
    o->version = !codes ? (has_bias ? 1 : 6) : dt_count(dt_graph_shape(e->g, codes->in[1])) > 1 ? 12 : 9;
    DT_TRY(find_input(e, o, &x));
    DT_TRY(dt_tflite_as_flat(e, n, x, &o->in[0]));
    DT_TRY(dt_tflite_add_real_weights(e, o, &o->in[1]));
    o->in[2] = -1;
    if (has_bias) DT_TRY(dt_tflite_add_real_bias(e, o, n->in[LINEAR_BIAS], dt_graph_count(e->g, n->out), &o->in[2]));
    DT_TRY(add_op(e, o));
    return DT_OK;
}

static dt_status add_pool(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const dt_pool_params *p = o->node->params;
    const int is_padded = p->pad[0] || p->pad[1] || p->pad[2] || p->pad[3];

    DT_TFLITE_EXPECT(!p->count_include_pad || !is_padded, e, o->node,
                     "its divisor counts padded cells (count_include_pad %d); in a file it counts those of the map",
                     p->count_include_pad);
    const int fused = o->options.fused;
    DT_TRY(dt_tflite_set_pool(e, o->node, &o->options));
    o->options.fused = fused;
    o->code = o->node->kind == DT_OP_MAXPOOL ? DT_TFLITE_MAX_POOL_2D : DT_TFLITE_AVERAGE_POOL_2D;
    o->n_in = 1;
    DT_TRY(dt_tflite_as_map(e, o->node, o->node->in[X], &o->in[0]));
    DT_TRY(add_op(e, o));
    return DT_OK;
}

/* An average of the whole map is a MEAN, whose output is flat where a FLATTEN reads it. */
static dt_status add_average(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const int is_flat = only_reader(e->g, o->out, DT_OP_FLATTEN) != NULL;
    int out;

    if (((const dt_pool_params *)o->node->params)->window[0] > 0) return add_pool(e, o);
    DT_TRY(dt_tflite_add_named(e, o->out, o->name, "", is_flat, &out));
    DT_TRY(dt_tflite_add_mean(e, o->node, !is_flat, out));
    return DT_OK;
}

/* ---- number by number ---- */

/* All operands take the form of the first. */
static dt_status add_each(dt_tflite_export *e, dt_tflite_real_op *o, dt_tflite_code code, int n_in)
{
    o->code = code;
    o->n_in += n_in;
    o->is_flat = dt_tflite_is_flat(e, o->node->in[X]);
    for (int k = 0; k < n_in; k++) DT_TRY(dt_tflite_as_form(e, o->node, o->node->in[k], o->is_flat, &o->in[k]));
    DT_TRY(add_op(e, o));
    return DT_OK;
}

static dt_status add_sum(dt_tflite_export *e, dt_tflite_real_op *o)
{
    return add_each(e, o, DT_TFLITE_ADD, 2);
}

static dt_status add_product(dt_tflite_export *e, dt_tflite_real_op *o)
{
    return add_each(e, o, DT_TFLITE_MUL, 2);
}

/* A BIAS that no convolution has before it. */
static dt_status add_shift(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const int param = o->node->in[1];

    DT_TRY(dt_tflite_add_real_bias(e, o, param, dt_count(dt_graph_shape(e->g, param)), &o->in[1]));
    o->n_in = 1; /* so far */
    return add_each(e, o, DT_TFLITE_ADD, 1);
}

static dt_status add_relu(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const dt_relu_params *p = o->node->params;
    const int fused = fused_of(o->node);

    DT_TFLITE_EXPECT(fused != DT_TFLITE_FUSED_NONE, e, o->node,
                     "its limit is %g; a file has RELU, without one, and RELU6: train with one of these",
                     (double)p->most);
    return add_each(e, o, fused == DT_TFLITE_FUSED_RELU ? DT_TFLITE_RELU : DT_TFLITE_RELU6, 1);
}

static dt_status add_sigmoid(dt_tflite_export *e, dt_tflite_real_op *o)
{
    return add_each(e, o, DT_TFLITE_LOGISTIC, 1);
}

static dt_status add_softmax(dt_tflite_export *e, dt_tflite_real_op *o)
{
    o->options.beta = 1.0f;
    return add_each(e, o, DT_TFLITE_SOFTMAX, 1);
}

static dt_status add_concat(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const dt_graph_node *n = o->node;

    o->code = DT_TFLITE_CONCATENATION;
    o->n_in = n->n_in;
    o->is_flat = dt_graph_shape(e->g, n->out)->ndim == 2;
    o->options.axis = ((const dt_concat_params *)n->params)->axis;
    for (int k = 0; k < n->n_in; k++) DT_TRY(dt_tflite_as_form(e, n, n->in[k], o->is_flat, &o->in[k]));
    DT_TRY(add_op(e, o));
    return DT_OK;
}

/* ---- batch norms that stay ---- */

/* Factor and shift of each channel: y = factor x + shift, computed in double and rounded once. */
static dt_status norm_lines(const dt_tflite_export *e, const dt_graph_node *n, int64_t channels, float *factor,
                            float *shift)
{
    const double epsilon = (double)((const dt_batchnorm_params *)n->params)->epsilon;
    const float *of[VAR + 1];

    for (int k = GAMMA; k <= VAR; k++) DT_TRY(dt_tflite_find_reals(e, n, n->in[k], &of[k]));
    for (int64_t c = 0; c < channels; c++) {
        const double inv = (double)of[GAMMA][c] / sqrt((double)of[VAR][c] + epsilon);
        factor[c] = (float)inv;
        shift[c] = (float)((double)of[BETA][c] - (double)of[MEAN][c] * inv);
    }
    return DT_OK;
}

/* A MUL and an ADD of the constants at in[0] and in[1] of `of`. */
static dt_status add_lines(dt_tflite_export *e, dt_tflite_real_op *o, const int of[2])
{
    const int x = o->node->in[X], is_flat = dt_tflite_is_flat(e, x);
    const dt_tflite_options plain = { 0 };
    int in[2] = { 0, of[0] };

    o->code = DT_TFLITE_ADD;
    o->n_in = 2;
    o->is_flat = is_flat;
    o->in[1] = of[1];
    DT_TRY(dt_tflite_as_form(e, o->node, x, is_flat, &in[0]));
    DT_TRY(dt_tflite_add_named(e, o->out, o->name, "_scaled", is_flat, &o->in[0]));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_MUL, in, 2, o->in[0], &plain));
    DT_TRY(add_op(e, o));
    return DT_OK;
}

static dt_status add_norm(dt_tflite_export *e, dt_tflite_real_op *o)
{
    const int64_t channels = dt_count(dt_graph_shape(e->g, o->node->in[GAMMA]));
    float *line = malloc((size_t)(2 * channels) * sizeof *line);
    int of[2];

    DT_CHECK(line, DT_ERR_MEMORY, "no memory for the batch norm %s", o->name);
    dt_status s = norm_lines(e, o->node, channels, line, line + channels);
    if (s == DT_OK) s = dt_tflite_add_reals(e, o->name, ".weight", line, channels, &of[0]);
    if (s == DT_OK) s = dt_tflite_add_reals(e, o->name, ".bias", line + channels, channels, &of[1]);
    free(line);
    DT_TRY(s);
    DT_TRY(add_lines(e, o, of));
    return DT_OK;
}

/* ---- what makes no operator ---- */

static dt_status add_flat(dt_tflite_export *e, dt_tflite_real_op *o)
{
    DT_TRY(dt_tflite_as_flat(e, o->node, o->node->in[X], &e->flat[o->out]));
    return DT_OK;
}

static dt_status add_transpose(dt_tflite_export *e, dt_tflite_real_op *o)
{
    return dt_tflite_export_transpose(e, o->node);
}

static dt_status add_same(dt_tflite_export *e, dt_tflite_real_op *o)
{
    e->map[o->out] = e->map[o->node->in[X]];
    e->flat[o->out] = e->flat[o->node->in[X]];
    return DT_OK;
}

/* Parts of a layer with dynamic ranges, which looks for them. */
static dt_status add_nothing(dt_tflite_export *e, dt_tflite_real_op *o)
{
    (void)e, (void)o;
    return DT_OK;
}

static dt_status (*const layers[DT_OP_COUNT])(dt_tflite_export *e, dt_tflite_real_op *o) = {
    [DT_OP_CONV2D] = add_conv,
    [DT_OP_LINEAR] = add_linear,
    [DT_OP_MAXPOOL] = add_pool,
    [DT_OP_AVGPOOL] = add_average,
    [DT_OP_BATCHNORM] = add_norm,
    [DT_OP_BIAS] = add_shift,
    [DT_OP_ADD] = add_sum,
    [DT_OP_MUL] = add_product,
    [DT_OP_RELU] = add_relu,
    [DT_OP_SIGMOID] = add_sigmoid,
    [DT_OP_SOFTMAX] = add_softmax,
    [DT_OP_CONCAT] = add_concat,
    [DT_OP_TRANSPOSE] = add_transpose,
    [DT_OP_FLATTEN] = add_flat,
    [DT_OP_IDENTITY] = add_same,
    [DT_OP_CODES] = add_nothing,
    [DT_OP_DEQUANTIZE] = add_nothing,
    [DT_OP_DYNAMIC_QUANT] = add_nothing,
};

dt_status dt_tflite_export_real(dt_tflite_export *e, const dt_graph_node *n)
{
    if (waits(e->g, n)) return DT_OK;
    dt_tflite_real_op o = op_of(e->g, n);
    DT_TFLITE_EXPECT(layers[o.node->kind], e, o.node, "a TensorFlow Lite file has no such operator of reals; %s",
                     "'detent export --to program', c or fixed-point hands over what 'detent quantize' and 'detent "
                     "search' make of a network");
    DT_TFLITE_EXPECT(dt_graph_rows(e->g, n->out) == 1 || dt_graph_maker(e->g, n->out)->kind == DT_OP_CODES ||
                         dt_graph_maker(e->g, n->out)->kind == DT_OP_DEQUANTIZE,
                     e, n, "an image becomes %d maps, and in a file it is one", dt_graph_rows(e->g, n->out));
    DT_TRY(layers[o.node->kind](e, &o));
    return DT_OK;
}
