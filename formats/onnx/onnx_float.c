/*
 * onnx_float.c - layers with weights, and functions, of a graph of reals. Interface: onnx_layers.h.
 *
 * Parameters are trained: a network that is read can be trained on.
 */
#include "onnx_float.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Conv ---- */

dt_status dt_onnx_add_layer_bias(dt_onnx_import *imp, const dt_onnx_node *n, const char *name, int64_t filters,
                                 int *value)
{
    const dt_shape shape = { 1, { filters } };
    int in[2] = { *value };
    float *numbers;

    if (!dt_onnx_in(imp, n, 2)) return DT_OK;
    DT_TRY(dt_onnx_reals(imp, n, 2, filters, &numbers));
    const dt_onnx_param p = { dt_onnx_in_name(imp, n, 2), name, ".bias", dt_onnx_trained(&shape), DT_F32, numbers };
    DT_TRY(dt_onnx_add_param(imp, &p, &in[1]));
    return dt_onnx_node_add(imp, DT_OP_BIAS, name, ".biased", NULL, in, 2, value);
}

static dt_status add_conv(dt_onnx_import *imp, const dt_onnx_node *n)
{
    char name[DT_ONNX_NAME];
    dt_conv_params params;
    int in[2], y, pad[4];
    dt_shape shape;
    float *oihw;

    DT_TRY(dt_onnx_padded_map(imp, n, 0, &in[0], pad));
    DT_TRY(dt_onnx_conv(imp, n, in[0], pad, &params, &shape));
    dt_onnx_name(imp, n, 1, name);
    int64_t dim[4];
    dt_onnx_filter_dims(dt_onnx_in(imp, n, 1), dim);
    DT_TRY(dt_onnx_raw(imp, n, 1, dt_count(&shape), &oihw));
    float *filters = dt_onnx_channels_last(oihw, dim, sizeof *oihw);
    free(oihw);
    const dt_onnx_param w = { dt_onnx_in_name(imp, n, 1), name, ".weight", dt_onnx_trained(&shape), DT_F32, filters };
    DT_TRY(dt_onnx_add_param(imp, &w, &in[1]));
    DT_TRY(dt_onnx_quantize_weights(imp, n, 1, 0, name, in[0], &in[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_CONV2D, name, "", &params, in, 2, &y));
    DT_TRY(dt_onnx_add_layer_bias(imp, n, name, shape.dim[0], &y));
    return dt_onnx_set_map(imp, n, y);
}

/* ---- Gemm and MatMul ---- */

dt_status dt_onnx_linear(const dt_onnx_import *imp, const dt_onnx_node *n, dt_onnx_matrix *m)
{
    const int is_gemm = dt_onnx_is_op(n, "Gemm");
    const dt_onnx_place *x, *w = dt_onnx_in(imp, n, 1);
    int64_t turns[2] = { 0, 0 };

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    DT_ONNX_CHECK(w && w->kind == DT_ONNX_CONSTANT && w->n_dims == 2 && x->n_dims == 2, DT_ERR_UNSUPPORTED, imp, n,
                  "%d dimensions by %d%s; understood are n,i by a constant matrix", x->n_dims, w ? w->n_dims : 0,
                  w && w->kind != DT_ONNX_CONSTANT ? ", which is computed" : "");
    if (is_gemm) DT_TRY(dt_onnx_int(imp, n, "transA", 0, &turns[0]));
    if (is_gemm) DT_TRY(dt_onnx_int(imp, n, "transB", 0, &turns[1]));
    m->alpha = m->beta = 1.0f;
    if (is_gemm) DT_TRY(dt_onnx_float(imp, n, "alpha", 1.0f, &m->alpha));
    if (is_gemm) DT_TRY(dt_onnx_float(imp, n, "beta", 1.0f, &m->beta));
    m->is_turned = turns[1] != 0;
    m->features = w->dim[m->is_turned ? 0 : 1];
    m->inputs = w->dim[m->is_turned ? 1 : 0];
    DT_ONNX_CHECK(turns[0] == 0, DT_ERR_UNSUPPORTED, imp, n, "transA is %" PRId64 "; understood is 0", turns[0]);
    DT_ONNX_CHECK(m->inputs == x->dim[1] && m->features >= 1, DT_ERR_FORMAT, imp, n,
                  "a matrix of %" PRId64 " by %" PRId64 " does not fit %" PRId64 " inputs", w->dim[0], w->dim[1],
                  x->dim[1]);
    m->cells = 1;
    if (x->layout == DT_ONNX_MAP && x->view < 0) {
        const dt_shape *map = dt_graph_shape(imp->graph, x->value);
        m->cells = map->dim[1] * map->dim[2];
    }
    return DT_OK;
}

/* Column i of the file is that of channel i / cells and cell i % cells; here channels are the inner ones. */
void *dt_onnx_turn_matrix(const dt_onnx_matrix *m, const void *from, size_t each)
{
    const int64_t channels = m->inputs / m->cells;
    char *to = malloc((size_t)(m->features * m->inputs) * each + 1);

    for (int64_t o = 0; to && o < m->features; o++) {
        for (int64_t i = 0; i < m->inputs; i++) {
            const int64_t at = i % m->cells * channels + i / m->cells;
            const int64_t source = m->is_turned ? o * m->inputs + i : i * m->features + o;
            memcpy(to + (size_t)(o * m->inputs + at) * each, (const char *)from + (size_t)source * each, each);
        }
    }
    return to;
}

/* 1 if what a node makes is the output, or read by a Softmax or Sigmoid alone: it makes the scores. */
static int makes_scores(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    const int value = n->out[0];

    if (imp->n_readers[value] != 1) return 0;
    if (value == imp->m->out[0].value) return 1;
    const dt_onnx_node *reader = &imp->m->node[imp->reader[value]];
    return (dt_onnx_is_op(reader, "Softmax") || dt_onnx_is_op(reader, "Sigmoid")) &&
           reader->out[0] == imp->m->out[0].value;
}

const dt_onnx_node *dt_onnx_bias_of(dt_onnx_import *imp, const dt_onnx_node *n, int *k)
{
    if (dt_onnx_is_op(n, "Gemm")) {
        *k = 2;
        return n;
    }
    if (imp->n_readers[n->out[0]] != 1 || n->out[0] == imp->m->out[0].value) return NULL;
    const int at = imp->reader[n->out[0]];
    const dt_onnx_node *sum = &imp->m->node[at];
    if (!dt_onnx_is_op(sum, "Add") || sum->n_in != 2) return NULL;
    *k = sum->in[0] == n->out[0] ? 1 : 0;
    if (sum->in[*k] < 0 || imp->place[sum->in[*k]].kind != DT_ONNX_CONSTANT) return NULL;
    imp->is_done[at] = 1;
    return sum;
}

static dt_status add_matrix(dt_onnx_import *imp, const dt_onnx_node *n, const dt_onnx_matrix *m, const char *name,
                            int *value)
{
    const dt_shape shape = { 2, { m->features, m->inputs } };
    float *numbers;

    DT_TRY(dt_onnx_raw(imp, n, 1, m->features * m->inputs, &numbers));
    float *matrix = dt_onnx_turn_matrix(m, numbers, sizeof *numbers);
    free(numbers);
    for (int64_t i = 0; matrix && m->alpha != 1.0f && i < dt_count(&shape); i++) matrix[i] *= m->alpha;
    const dt_onnx_param w = { dt_onnx_in_name(imp, n, 1), name, ".weight", dt_onnx_trained(&shape), DT_F32, matrix };
    return dt_onnx_add_param(imp, &w, value);
}

static dt_status add_linear(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *x = dt_onnx_in(imp, n, 0);
    int in[3], n_in = 2, k = 0, y;
    char name[DT_ONNX_NAME];
    dt_onnx_matrix m;
    float *bias;

    DT_TRY(dt_onnx_linear(imp, n, &m));
    if (m.cells > 1)
        DT_TRY(dt_onnx_flatten(imp, x->value, &in[0]));
    else
        DT_TRY(dt_onnx_rows(imp, n, 0, &in[0]));
    dt_onnx_name(imp, n, 1, name);
    DT_TRY(add_matrix(imp, n, &m, name, &in[1]));
    DT_ONNX_CHECK(m.alpha == 1.0f || dt_onnx_in(imp, n, 1)->quant < 0, DT_ERR_UNSUPPORTED, imp, n,
                  "alpha is %g, of quantized weights; understood is 1", (double)m.alpha);
    DT_TRY(dt_onnx_quantize_weights(imp, n, 1, m.is_turned ? 0 : 1, name, in[0], &in[1]));
    const int has_sums = imp->graph->value[in[1]]->facts.n_scale > 0;
    const dt_onnx_node *sum = dt_onnx_bias_of(imp, n, &k);
    if (sum && dt_onnx_in(imp, sum, k) && m.beta != 0.0f) {
        const dt_shape shape = { 1, { m.features } };
        DT_TRY(dt_onnx_spread(imp, sum, k, 2, m.features, &bias));
        for (int64_t o = 0; o < m.features; o++) bias[o] *= m.beta;
        const dt_onnx_param p = { dt_onnx_in_name(imp, sum, k), name, ".bias", dt_onnx_trained(&shape), DT_F32, bias };
        DT_TRY(dt_onnx_add_param(imp, &p, &in[n_in++]));
    }
    const dt_onnx_node *last = sum ? sum : n;
    const dt_linear_params params = { .in_order = makes_scores(imp, last) };
    DT_TRY(dt_onnx_node_add(imp, DT_OP_LINEAR, name, "", &params, in, has_sums ? 2 : n_in, &y));
    if (has_sums && n_in > 2) {
        const int with_bias[2] = { y, in[2] };
        DT_TRY(dt_onnx_node_add(imp, DT_OP_BIAS, name, ".biased", NULL, with_bias, 2, &y));
    }
    return dt_onnx_set_rows(imp, last, y, m.features);
}

/* ---- BatchNormalization ---- */

static dt_status add_norm(dt_onnx_import *imp, const dt_onnx_node *n)
{
    static const char *const parts[4] = { ".weight", ".bias", ".running_mean", ".running_var" };
    dt_batchnorm_params params;
    int64_t in_training, is_spatial;
    char name[DT_ONNX_NAME];
    const dt_onnx_place *x;
    int in[5], y;
    float keep;

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    const int n_dims = x->n_dims;
    DT_TRY(dt_onnx_map_or_rows(imp, n, 0, &in[0]));
    DT_TRY(dt_onnx_int(imp, n, "training_mode", 0, &in_training));
    DT_TRY(dt_onnx_int(imp, n, "spatial", 1, &is_spatial));
    DT_TRY(dt_onnx_check_evaluation(imp, n));
    DT_ONNX_CHECK(!in_training && is_spatial, DT_ERR_UNSUPPORTED, imp, n,
                  "training_mode is %" PRId64 " and spatial %" PRId64 "; understood are 0 and 1: export the network in "
                  "evaluation",
                  in_training, is_spatial);
    DT_TRY(dt_onnx_float(imp, n, "epsilon", 1e-5f, &params.epsilon));
    DT_TRY(dt_onnx_float(imp, n, "momentum", 0.9f, &keep));
    DT_ONNX_CHECK(keep >= 0.0f && keep <= 1.0f && params.epsilon > 0.0f && params.epsilon < 1.0f, DT_ERR_UNSUPPORTED,
                  imp, n, "epsilon is %g and momentum %g; understood are numbers between 0 and 1",
                  (double)params.epsilon, (double)keep);
    params.momentum = roundf(1e6f - 1e6f * keep) / 1e6f; /* detent's is the share of what is new */
    dt_onnx_name(imp, n, 1, name);
    const dt_shape *s = dt_graph_shape(imp->graph, in[0]);
    const dt_shape shape = { 1, { s->dim[s->ndim - 1] } };
    for (int k = 0; k < 4; k++) {
        float *numbers;
        DT_TRY(dt_onnx_reals(imp, n, k + 1, shape.dim[0], &numbers));
        dt_onnx_param p = { dt_onnx_in_name(imp, n, k + 1), name, parts[k], dt_onnx_trained(&shape), DT_F32, numbers };
        if (k >= 2) p.spec.group = DT_GROUP_STATE;
        if (k == 3) p.spec.values = DT_VALUES_NOT_NEGATIVE;
        DT_TRY(dt_onnx_add_param(imp, &p, &in[k + 1]));
    }
    DT_TRY(dt_onnx_node_add(imp, DT_OP_BATCHNORM, name, "", &params, in, 5, &y));
    return dt_onnx_set_like(imp, n, n_dims, y);
}

/* ---- functions ---- */

/* A function of each number: its output lies as its input does. */
static dt_status add_function(dt_onnx_import *imp, const dt_onnx_node *n, dt_op_kind kind, const void *params)
{
    char name[DT_ONNX_NAME];
    int x, y;

    DT_TRY(dt_onnx_whole(imp, n, 0, &x));
    if (kind == DT_OP_SIGMOID) DT_TRY(dt_onnx_dequantize(imp, &x));
    const dt_onnx_place p = *dt_onnx_in(imp, n, 0);
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_node_add(imp, kind, name, "", params, &x, 1, &y));
    return dt_onnx_set_value(imp, n, p, y);
}

dt_status dt_onnx_limits(const dt_onnx_import *imp, const dt_onnx_node *n, float *low, float *high)
{
    float bound[2] = { -INFINITY, INFINITY };

    DT_TRY(dt_onnx_float(imp, n, "min", bound[0], &bound[0]));
    DT_TRY(dt_onnx_float(imp, n, "max", bound[1], &bound[1]));
    DT_TRY(dt_onnx_number(imp, n, 1, bound[0], low));
    DT_TRY(dt_onnx_number(imp, n, 2, bound[1], high));
    DT_ONNX_CHECK(*low < *high, DT_ERR_UNSUPPORTED, imp, n, "limits of %g and %g; the first must be less", (double)*low,
                  (double)*high);
    return DT_OK;
}

static dt_status add_relu(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_relu_params relu = { 0.0f };

    return add_function(imp, n, DT_OP_RELU, &relu);
}

/* Limits from 1e30 on are none. */
static dt_status add_clip(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const float none = 1e30f;
    dt_clip_params clip;

    DT_TRY(dt_onnx_limits(imp, n, &clip.low, &clip.high));
    if (clip.low <= -none) clip.low = -none;
    if (clip.high >= none) clip.high = none;
    const dt_relu_params relu = { clip.high == none ? 0.0f : clip.high };
    if (clip.low == 0.0f) return add_function(imp, n, DT_OP_RELU, &relu);
    return add_function(imp, n, DT_OP_CLIP, &clip);
}

static dt_status add_sigmoid(dt_onnx_import *imp, const dt_onnx_node *n)
{
    return add_function(imp, n, DT_OP_SIGMOID, NULL);
}

dt_status dt_onnx_check_softmax(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    const int is_flat = imp->m->opset < 13; /* then it is over all dimensions from `axis` on */
    const dt_onnx_place *x;
    int axis;

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    DT_TRY(dt_onnx_axis(imp, n, is_flat ? 1 : -1, x->n_dims, &axis));
    const int64_t behind = dt_count_of(x->dim + 2, x->n_dims - 2);
    DT_ONNX_CHECK(axis == 1 && (dt_onnx_is_map(x->n_dims) || x->n_dims == 2) && (behind == 1 || !is_flat),
                  DT_ERR_UNSUPPORTED, imp, n,
                  "over axis %d of %d dimensions; understood is axis 1 of n,c, n,c,w and n,c,h,w", axis, x->n_dims);
    return DT_OK;
}

static dt_status add_softmax(dt_onnx_import *imp, const dt_onnx_node *n)
{
    char name[DT_ONNX_NAME];
    int x, y;

    DT_TRY(dt_onnx_check_softmax(imp, n));
    DT_TRY(dt_onnx_map_or_rows(imp, n, 0, &x));
    DT_TRY(dt_onnx_dequantize(imp, &x));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_node_add(imp, DT_OP_SOFTMAX, name, "", NULL, &x, 1, &y));
    return dt_onnx_set_like(imp, n, dt_onnx_in(imp, n, 0)->n_dims, y);
}

static const dt_onnx_row rows[] = {
    { "Conv", add_conv },
    { "ConvTranspose", dt_onnx_add_conv_transpose },
    { "Gemm", add_linear },
    { "MatMul", add_linear },
    { "BatchNormalization", add_norm },
    { "Relu", add_relu },
    { "Clip", add_clip },
    { "Sigmoid", add_sigmoid },
    { "LeakyRelu", dt_onnx_add_leaky_relu },
    { "PRelu", dt_onnx_add_prelu },
    { "HardSigmoid", dt_onnx_add_hard_sigmoid },
    { "HardSwish", dt_onnx_add_hard_swish },
    { "Tanh", dt_onnx_add_tanh },
    { "Neg", dt_onnx_add_negative },
    { "Softmax", add_softmax },
    { "MaxPool", dt_onnx_add_pool },
    { "AveragePool", dt_onnx_add_pool },
    { "GlobalMaxPool", dt_onnx_add_whole_pool },
    { "GlobalAveragePool", dt_onnx_add_whole_pool },
    { "ReduceMean", dt_onnx_add_mean },
    { "Add", dt_onnx_add_sum },
    { "Sum", dt_onnx_add_sum_of_all },
    { "Sub", dt_onnx_add_difference },
    { "Mul", dt_onnx_add_product },
    { "Div", dt_onnx_add_quotient },
    { "Concat", dt_onnx_add_concat },
};

dt_status dt_onnx_add_float(dt_onnx_import *imp, const dt_onnx_node *n)
{
    return dt_onnx_call(imp, n, rows, sizeof rows / sizeof rows[0]);
}
