/*
 * tflite_export_layers.c - what each node of a program becomes in a file. CODES, CONV2D and AVGPOOL wait for the
 *                          REQUANTIZE that reads their sums: together they are one operator.
 */
#include "tflite_build.h"

#include "../../core/conv_params.h"
#include "tflite_codes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The zero point of a REQUANTIZE. */
static int zero_of(const dt_graph_node *n)
{
    return ((const dt_requantize_params *)n->params)->zero;
}

/* ---- convolutions ---- */

typedef struct {
    dt_tflite_code code;
    const dt_graph_node *requantize, *conv, *weights;
    const dt_shape *shape; /* of the filters: K,R,S,C/groups */
    char name[DT_NAME_MAX + 1];
} conv_layer;

static const dt_conv_params *conv_params(const conv_layer *l)
{
    return l->conv->params;
}

/* A convolution of one channel in each group is one in depth; one of LINEAR sums takes its whole map. */
static dt_status look_at_conv(const dt_tflite_export *e, const dt_graph_node *n, conv_layer *l)
{
    const dt_requantize_params *p = n->params;

    l->requantize = n;
    l->conv = dt_graph_maker(e->g, n->in[0]);
    l->weights = dt_program_weights(e->p, l->conv);
    l->shape = dt_graph_shape(e->g, l->weights->in[DT_CODES_WEIGHT]);
    snprintf(l->name, sizeof l->name, "%s", dt_graph_name(e->g, l->conv->out));
    const dt_value y = dt_program_value(e->p, n->out);
    l->code = p->of == DT_REQUANT_LINEAR                  ? DT_TFLITE_FULLY_CONNECTED
              : dt_tflite_is_depthwise(l->conv, l->shape) ? DT_TFLITE_DEPTHWISE_CONV_2D
                                                          : DT_TFLITE_CONV_2D;
    DT_TFLITE_EXPECT(p->of == DT_REQUANT_CONV || p->of == DT_REQUANT_LINEAR, e, n,
                     "sums of kind %d; a file has those of convolutions (%d) and linear layers (%d)", (int)p->of,
                     (int)DT_REQUANT_CONV, (int)DT_REQUANT_LINEAR);
    DT_TFLITE_EXPECT(p->of == DT_REQUANT_CONV || (y.height == 1 && y.width == 1 && conv_params(l)->groups == 1), e, n,
                     "a linear layer that makes %dx%d positions in %d groups; in a file it makes one", y.height,
                     y.width, conv_params(l)->groups);
    return DT_OK;
}

static dt_status add_weights(dt_tflite_export *e, const conv_layer *l, int *out)
{
    const int64_t *s = l->shape->dim;
    const int is_depthwise = l->code == DT_TFLITE_DEPTHWISE_CONV_2D;
    dt_tflite_new_tensor t = { l->name,
                               ".weight",
                               DT_TFLITE_INT8,
                               4,
                               { (int)s[0], (int)s[1], (int)s[2], (int)s[3] },
                               0,
                               (int)dt_count(dt_graph_shape(e->g, l->weights->in[DT_CODES_SCALE])),
                               0,
                               dt_program_data(e->p, l->weights, DT_CODES_SCALE),
                               0,
                               dt_program_data(e->p, l->weights, DT_CODES_WEIGHT) };
    int8_t *turned = NULL;

    if (l->code == DT_TFLITE_FULLY_CONNECTED) {
        t.n_dims = 2;
        t.dim[1] = (int)(s[1] * s[2] * s[3]);
        t.dim[2] = t.dim[3] = 0;
    }
    if (is_depthwise) {
        turned = dt_tflite_taps_first(t.data, s[0], s[1] * s[2], 1);
        DT_CHECK(turned, DT_ERR_MEMORY, "no memory for the weights of %s", l->name);
        t.data = turned;
        t.axis = 3;
        t.dim[0] = 1;
        t.dim[3] = (int)s[0];
    }
    const dt_status status = dt_tflite_add_tensor(e, &t, out);
    free(turned);
    DT_TRY(status);
    return DT_OK;
}

/* The bias in units of the sums: the input's scale times the weights'. There is one of zeros where the program has
 * none, but for FULLY_CONNECTED, which needs none. */
static dt_status add_bias(dt_tflite_export *e, const conv_layer *l, int *out)
{
    const int has_bias = l->requantize->n_in > DT_REQUANT_BIAS;
    const int64_t filters = l->shape->dim[0];
    const dt_graph_node *w = l->weights;
    const float *scale_w = dt_program_data(e->p, w, DT_CODES_SCALE), scale_x = dt_program_scale(e->p, l->conv->in[0]);
    const int n_scales = (int)dt_count(dt_graph_shape(e->g, w->in[DT_CODES_SCALE]));

    *out = -1;
    if (!has_bias && l->code == DT_TFLITE_FULLY_CONNECTED) return DT_OK;
    float *scale = malloc((size_t)n_scales * sizeof *scale);
    int32_t *zeros = calloc((size_t)filters, sizeof *zeros);
    for (int k = 0; scale && k < n_scales; k++) scale[k] = scale_x * scale_w[k];
    dt_tflite_new_tensor t = {
        l->name, ".bias", DT_TFLITE_INT32, 1, { (int)filters }, 0, n_scales, 0, scale, 0, zeros
    };
    if (has_bias) t.data = dt_program_data(e->p, l->requantize, DT_REQUANT_BIAS);
    const dt_status status = scale && zeros ? dt_tflite_add_tensor(e, &t, out)
                                            : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a bias");
    free(scale);
    free(zeros);
    DT_TRY(status);
    return DT_OK;
}

static dt_status add_conv(dt_tflite_export *e, const dt_graph_node *n)
{
    dt_tflite_options options = { 0 };
    conv_layer l;
    int in[3], out;

    DT_TRY(look_at_conv(e, n, &l));
    DT_TRY(dt_tflite_set_zero(e, n, zero_of(n), 1, &options.fused));
    if (l.code == DT_TFLITE_FULLY_CONNECTED) {
        DT_TRY(dt_tflite_as_flat(e, n, l.conv->in[0], &in[0]));
    } else {
        DT_TRY(dt_tflite_as_map(e, n, l.conv->in[0], &in[0]));
        DT_TRY(dt_tflite_set_window(e, l.conv, l.shape, &options, &in[0]));
    }
    DT_TRY(add_weights(e, &l, &in[1]));
    DT_TRY(add_bias(e, &l, &in[2]));
    DT_TRY(dt_tflite_add_value(e, n->out, l.code == DT_TFLITE_FULLY_CONNECTED, &out));
    DT_TRY(dt_tflite_add_op(e, l.code, in, 3, out, &options));
    return DT_OK;
}

/* ---- other sums ---- */

static dt_status add_mean(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_graph_node *pool = dt_graph_maker(e->g, n->in[0]);
    const dt_value x = dt_program_value(e->p, pool->in[0]), y = dt_program_value(e->p, n->out);
    const int count = ((const dt_requantize_params *)n->params)->count;
    int out, fused;

    DT_TFLITE_EXPECT(y.height == 1 && y.width == 1 && count == x.height * x.width, e, n,
                     "a mean of %d cells of a map of %dx%d; in a file it is of all", count, x.height, x.width);
    DT_TRY(dt_tflite_set_zero(e, n, zero_of(n), 0, &fused));
    DT_TRY(dt_tflite_add_value(e, n->out, 1, &out));
    DT_TRY(dt_tflite_add_mean(e, pool, 0, out));
    return DT_OK;
}

/* Codes of another scale: a QUANTIZE, or a RELU or RELU6 where the range is limited. */
static dt_status add_rescale(dt_tflite_export *e, const dt_graph_node *n)
{
    const int flat = dt_tflite_is_flat(e, n->in[0]);
    int in, out, fused;

    DT_TRY(dt_tflite_set_zero(e, n, zero_of(n), 1, &fused));
    DT_TRY(dt_tflite_as_form(e, n, n->in[0], flat, &in));
    DT_TRY(dt_tflite_add_value(e, n->out, flat, &out));
    const dt_tflite_code code = fused == DT_TFLITE_FUSED_NONE   ? DT_TFLITE_QUANTIZE
                                : fused == DT_TFLITE_FUSED_RELU ? DT_TFLITE_RELU
                                                                : DT_TFLITE_RELU6;
    DT_TRY(dt_tflite_add_op(e, code, &in, 1, out, NULL));
    return DT_OK;
}

static dt_status add_requantize(dt_tflite_export *e, const dt_graph_node *n)
{
    switch (dt_graph_maker(e->g, n->in[0])->kind) {
    case DT_OP_CONV2D: return add_conv(e, n);
    case DT_OP_AVGPOOL: return add_mean(e, n);
    default: return add_rescale(e, n);
    }
}

/* Both operands take the form of the first. */
static dt_status add_binary(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_qbinary_params *p = n->params;
    const int flat = dt_tflite_is_flat(e, n->in[0]);
    dt_tflite_options options = { 0 };
    int in[2], out;

    DT_TRY(dt_tflite_set_zero(e, n, p->zero, 1, &options.fused));
    for (int k = 0; k < 2; k++) DT_TRY(dt_tflite_as_form(e, n, n->in[k], flat, &in[k]));
    DT_TRY(dt_tflite_add_value(e, n->out, flat, &out));
    const dt_tflite_code code = n->kind == DT_OP_QMUL ? DT_TFLITE_MUL : p->subtract ? DT_TFLITE_SUB : DT_TFLITE_ADD;
    DT_TRY(dt_tflite_add_op(e, code, in, 2, out, &options));
    return DT_OK;
}

/* ---- products of matrices ---- */

/* The zero point of a constant's codes. */
static int matrix_zero(const dt_graph_node *codes)
{
    return INT8_MIN - ((const dt_codes_params *)codes->params)->low;
}

/* A matrix of the network's: its integers with their zero point. */
static dt_status add_matrix(dt_tflite_export *e, const dt_graph_node *n, const dt_graph_node *codes, int *out)
{
    const dt_shape *s = dt_graph_shape(e->g, codes->out);
    const dt_codes_params *p = codes->params;
    const int16_t *code = dt_program_data(e->p, codes, DT_CODES_WEIGHT);
    const int zero = matrix_zero(codes);
    const int64_t count = dt_count(s);

    DT_TFLITE_EXPECT(zero <= INT8_MAX && p->high == INT8_MAX - zero, e, n,
                     "the codes of %s are %d..%d; a file has -128 - zero .. 127 - zero",
                     dt_graph_name(e->g, codes->out), p->low, p->high);
    int8_t *stored = malloc((size_t)count);
    DT_CHECK(stored, DT_ERR_MEMORY, "no memory for the matrix of %s", dt_graph_name(e->g, n->out));
    for (int64_t i = 0; i < count; i++) stored[i] = (int8_t)(code[i] + zero);
    const dt_tflite_new_tensor t = { .name = dt_graph_name(e->g, n->out),
                                     .part = ".weight",
                                     .type = DT_TFLITE_INT8,
                                     .n_dims = 4,
                                     .dim = { 1, (int)s->dim[1], (int)s->dim[2], (int)s->dim[3] },
                                     .n_scales = 1,
                                     .scale = dt_program_data(e->p, codes, DT_CODES_SCALE),
                                     .zero = zero,
                                     .data = stored };
    const dt_status status = dt_tflite_add_tensor(e, &t, out);
    free(stored);
    DT_TRY(status);
    return DT_OK;
}

static dt_status add_matmul(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_qmatmul_params *p = n->params;
    const dt_tflite_options options = { .transpose = { p->transpose_a, p->transpose_b } };
    int in[2], out, fused;

    for (int k = 0; k < 2; k++) {
        const dt_graph_node *maker = dt_graph_maker(e->g, n->in[k]);
        DT_TRY(maker->kind == DT_OP_CODES ? add_matrix(e, n, maker, &in[k]) : dt_tflite_as_map(e, n, n->in[k], &in[k]));
    }
    const int32_t zero = e->m->tensor[in[1]].zero[0];
    DT_TFLITE_EXPECT((zero != 0) == p->shifted, e, n, "the zero point of %s is %" PRId32 ", and `shifted` is %d",
                     dt_graph_name(e->g, n->in[1]), zero, p->shifted);
    DT_TRY(dt_tflite_set_zero(e, n, p->zero, 0, &fused));
    DT_TRY(dt_tflite_add_value(e, n->out, 0, &out));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_BATCH_MATMUL, in, 2, out, &options));
    return DT_OK;
}

/* ---- pools and joints, which leave scale and zero point ---- */

/* The zero point of an average pool is that of the codes that it reads. */
static dt_status set_average(dt_tflite_export *e, const dt_graph_node *n, int *fused)
{
    const int zero = ((const dt_qavgpool_params *)n->params)->zero;

    DT_TFLITE_EXPECT(zero == e->zero[n->in[0]], e, n,
                     "its zero point is %d, and that of the codes that it reads %" PRId32 "; in a file they are equal",
                     zero, e->zero[n->in[0]]);
    DT_TRY(dt_tflite_set_zero(e, n, zero, 1, fused));
    return DT_OK;
}

static dt_status add_pool(dt_tflite_export *e, const dt_graph_node *n)
{
    dt_tflite_options o;
    int in, out;

    DT_TRY(dt_tflite_set_pool(e, n, &o));
    DT_TRY(dt_tflite_as_map(e, n, n->in[0], &in));
    e->zero[n->out] = e->zero[n->in[0]];
    if (n->kind == DT_OP_QAVGPOOL) DT_TRY(set_average(e, n, &o.fused));
    DT_TRY(dt_tflite_add_value(e, n->out, 0, &out));
    DT_TRY(dt_tflite_add_op(e, n->kind == DT_OP_MAXPOOL ? DT_TFLITE_MAX_POOL_2D : DT_TFLITE_AVERAGE_POOL_2D, &in, 1,
                            out, &o));
    return DT_OK;
}

static dt_status add_relu(dt_tflite_export *e, const dt_graph_node *n)
{
    const int flat = dt_tflite_is_flat(e, n->in[0]);
    int in, out;

    e->zero[n->out] = e->zero[n->in[0]];
    DT_TRY(dt_tflite_as_form(e, n, n->in[0], flat, &in));
    DT_TRY(dt_tflite_add_value(e, n->out, flat, &out));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_RELU, &in, 1, out, NULL));
    return DT_OK;
}

static dt_status add_concat(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_concat_params *p = n->params;
    const dt_tflite_options options = { .axis = p->axis };
    int in[DT_MAX_IN], out;

    for (int k = 0; k < n->n_in; k++) {
        DT_TFLITE_EXPECT(e->zero[n->in[k]] == e->zero[n->in[0]], e, n,
                         "%s has the zero point %" PRId32 " and %s %" PRId32 "; in a file they must be equal",
                         dt_graph_name(e->g, n->in[0]), e->zero[n->in[0]], dt_graph_name(e->g, n->in[k]),
                         e->zero[n->in[k]]);
        DT_TRY(dt_tflite_as_map(e, n, n->in[k], &in[k]));
    }
    e->zero[n->out] = e->zero[n->in[0]];
    DT_TRY(dt_tflite_add_value(e, n->out, 0, &out));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_CONCATENATION, in, n->n_in, out, &options));
    return DT_OK;
}

/* ---- functions ---- */

static dt_status add_softmax(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_qsoftmax_params *p = n->params;
    const dt_value v = dt_program_value(e->p, n->in[0]);
    const dt_tflite_options options = { .beta = p->beta };
    const float scale = dt_program_scale(e->p, n->out);
    const int flat = v.height == 1 && v.width == 1;
    int in, out, fused;

    DT_TFLITE_EXPECT(scale == 1.0f / 256.0f, e, n, "its scale is %.9g, a file has 1/256", (double)scale);
    DT_TRY(dt_tflite_set_zero(e, n, INT8_MIN, 0, &fused));
    DT_TRY(dt_tflite_as_form(e, n, n->in[0], flat, &in));
    DT_TRY(dt_tflite_add_value(e, n->out, flat, &out));
    DT_TRY(dt_tflite_add_op(e, DT_TFLITE_SOFTMAX, &in, 1, out, &options));
    return DT_OK;
}

/* 1 if the table of codes is that of the function, of the scale and the zero point that it must have. */
static int is_function(const dt_tflite_export *e, const dt_graph_node *n, dt_tflite_code code)
{
    const dt_table_params *p = n->params;
    const int steps = code == DT_TFLITE_LOGISTIC ? 256 : 128, zero = code == DT_TFLITE_LOGISTIC ? INT8_MIN : 0;
    const dt_shape *rows = dt_graph_shape(e->g, n->in[DT_TABLE_CODES]);
    const int16_t *table = dt_program_data(e->p, n, DT_TABLE_CODES);
    const dt_value x = dt_program_value(e->p, n->in[0]);
    const double scale = (double)dt_program_scale(e->p, n->in[0]);

    if (dt_program_scale(e->p, n->out) != 1.0f / (float)steps || p->low != INT8_MIN - zero || rows->dim[1] != 1)
        return 0;
    for (int code_x = x.low; code_x <= x.high; code_x++) {
        if (table[code_x - p->first] != dt_tflite_function(code, scale * code_x) - zero) return 0;
    }
    return 1;
}

static dt_status add_table(dt_tflite_export *e, const dt_graph_node *n)
{
    const int flat = dt_tflite_is_flat(e, n->in[0]);
    int in, out, fused;

    DT_TRY(dt_tflite_as_form(e, n, n->in[0], flat, &in));
    const int is_logistic = is_function(e, n, DT_TFLITE_LOGISTIC);
    DT_TFLITE_EXPECT(is_logistic || is_function(e, n, DT_TFLITE_TANH), e, n,
                     "%s makes its codes; a file has LOGISTIC in steps of 1/256 and TANH in steps of 1/128",
                     dt_graph_name(e->g, n->in[DT_TABLE_CODES]));
    DT_TRY(dt_tflite_set_zero(e, n, is_logistic ? INT8_MIN : 0, 0, &fused));
    DT_TRY(dt_tflite_add_value(e, n->out, flat, &out));
    DT_TRY(dt_tflite_add_op(e, is_logistic ? DT_TFLITE_LOGISTIC : DT_TFLITE_TANH, &in, 1, out, NULL));
    return DT_OK;
}

/* ---- the ends ---- */

/* Adds a tensor of the file's own type at one of its ends, for the codes of the tensor `codes`. */
static dt_status add_end(dt_tflite_export *e, const char *name, int codes, int *out)
{
    const dt_tflite_tensor *c = &e->m->tensor[codes];
    dt_tflite_new_tensor t = { name, "", DT_TFLITE_FLOAT32, c->n_dims, { 0 }, 1, 0, 0, NULL, 0, NULL };

    memcpy(t.dim, c->dim, sizeof t.dim);
    if (e->io == DT_TFLITE_IO_U8) {
        t.type = DT_TFLITE_UINT8;
        t.n_scales = 1;
        t.scale = c->scale;
        t.zero = c->zero[0] + 128;
    }
    DT_TRY(dt_tflite_add_tensor(e, &t, out));
    return DT_OK;
}

static dt_status add_image(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_quantize_params *p = n->params;
    int image, codes, fused;

    DT_TFLITE_EXPECT(p->cast == DT_CAST_ROUND, e, n, "its cast is %s, which a file does not have: the host casts",
                     dt_image_cast_names[p->cast]);
    DT_TRY(dt_tflite_set_zero(e, n, p->zero, 0, &fused));
    DT_TRY(dt_tflite_add_value(e, n->out, 0, &codes));
    image = codes;
    if (e->io != DT_TFLITE_IO_I8) {
        DT_TRY(add_end(e, dt_graph_name(e->g, e->g->image), codes, &image));
        DT_TRY(dt_tflite_add_op(e, DT_TFLITE_QUANTIZE, &image, 1, codes, NULL));
    }
    e->m->in[e->m->n_in++] = image;
    return DT_OK;
}

/* The last FLATTEN, of the reals of codes. */
static dt_status add_scores(dt_tflite_export *e, const dt_graph_node *n)
{
    const dt_graph_node *reals = dt_graph_maker(e->g, n->in[0]);
    int codes, scores;

    DT_TFLITE_EXPECT(reals->kind == DT_OP_DEQUANTIZE, e, n, "reads %s, which is %s; in a file the scores are codes",
                     dt_graph_name(e->g, n->in[0]), dt_ops[reals->kind]->name);
    DT_TRY(dt_tflite_as_flat(e, reals, reals->in[0], &codes));
    scores = codes;
    if (e->io != DT_TFLITE_IO_I8) {
        DT_TRY(add_end(e, "scores", codes, &scores));
        DT_TRY(dt_tflite_add_op(e, e->io == DT_TFLITE_IO_U8 ? DT_TFLITE_QUANTIZE : DT_TFLITE_DEQUANTIZE, &codes, 1,
                                scores, NULL));
    }
    e->m->out[e->m->n_out++] = scores;
    return DT_OK;
}

/* Sums and reals, which wait for who reads them. */
static dt_status add_nothing(dt_tflite_export *e, const dt_graph_node *n)
{
    (void)e, (void)n;
    return DT_OK;
}

static dt_status (*const layers[DT_OP_COUNT])(dt_tflite_export *e, const dt_graph_node *n) = {
    [DT_OP_QUANTIZE] = add_image,     [DT_OP_CODES] = add_nothing,
    [DT_OP_CONV2D] = add_nothing,     [DT_OP_AVGPOOL] = add_nothing,
    [DT_OP_DEQUANTIZE] = add_nothing, [DT_OP_REQUANTIZE] = add_requantize,
    [DT_OP_QADD] = add_binary,        [DT_OP_QMUL] = add_binary,
    [DT_OP_MAXPOOL] = add_pool,       [DT_OP_QAVGPOOL] = add_pool,
    [DT_OP_CONCAT] = add_concat,      [DT_OP_QSOFTMAX] = add_softmax,
    [DT_OP_QMATMUL] = add_matmul,     [DT_OP_TRANSPOSE] = dt_tflite_export_transpose,
    [DT_OP_TABLE] = add_table,        [DT_OP_FLATTEN] = add_scores,
    [DT_OP_RELU] = add_relu,
};

dt_status dt_tflite_export_node(dt_tflite_export *e, const dt_graph_node *n)
{
    DT_TFLITE_EXPECT(layers[n->kind], e, n, "a TensorFlow Lite file has no such operator; %s",
                     "quantize the network for an engine (post-training quantization) to have one");
    DT_TRY(layers[n->kind](e, n));
    return DT_OK;
}
