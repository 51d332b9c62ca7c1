/*
 * onnx_integer.c - the operators of a file in QDQ form, as nodes of an integer graph. Interface: onnx_layers.h.
 *
 * Every value is a map: a row of n,i is one of 1,1,i, and Gemm a convolution whose window is the map that it reads.
 */
#include "onnx_codes.h"

#include "../../quant/program/program_build.h"
#include "onnx_float.h"
#include "onnx_integer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- weights and biases ---- */

/* Filters K,R,S,C of codes less their zero points, whose scales are one, or one for each filter. */
typedef struct {
    dt_shape shape;
    const dt_onnx_matrix *matrix; /* of a Gemm or MatMul; NULL: filters of a Conv */
    const char *name;             /* of the layer */
} filters;

static dt_status check_weights(const dt_onnx_import *imp, const dt_onnx_node *n, const filters *f)
{
    const dt_onnx_place *w = dt_onnx_in(imp, n, 1);
    const int axis = f->matrix && !f->matrix->is_turned ? 1 : 0;

    DT_ONNX_CHECK(w->has_grid && (w->grid.type == DT_ONNX_INT8 || w->grid.type == DT_ONNX_UINT8), DT_ERR_UNSUPPORTED,
                  imp, n, "the weights are %s; needed are INT8 or UINT8 behind a DequantizeLinear",
                  dt_onnx_type_name(imp->m->tensor[w->tensor].type));
    DT_ONNX_CHECK(w->grid.n == 1 || (w->grid.n == f->shape.dim[0] && w->grid.axis == axis), DT_ERR_UNSUPPORTED, imp, n,
                  "weights have %" PRId64 " scales along axis %d; needed are 1, or %" PRId64 " along axis %d",
                  w->grid.n, w->grid.axis, f->shape.dim[0], axis);
    return DT_OK;
}

/* Takes the zero points from codes, which then must fit 8 bits. Filters follow each other. */
static dt_status centre(const dt_onnx_import *imp, const dt_onnx_node *n, const filters *f, int8_t *code,
                        dt_codes_params *range)
{
    const dt_onnx_grid *g = &dt_onnx_in(imp, n, 1)->grid;
    const int64_t each = dt_count(&f->shape) / f->shape.dim[0];
    void *zero = NULL;

    *range = (dt_codes_params){ -INT8_MAX, INT8_MAX, 0 };
    if (g->zero >= 0) DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[g->zero], &zero));
    int64_t outside = 0;
    for (int64_t i = 0; i < dt_count(&f->shape) && outside == 0; i++) {
        const int64_t offset = zero ? dt_onnx_integer_at(zero, g->type, g->n > 1 ? i / each : 0) : 0;
        const int64_t q = dt_onnx_integer_at(code, g->type, i) - offset;
        if (q < INT8_MIN || q > INT8_MAX) outside = q;
        if (q == INT8_MIN) range->low = INT8_MIN;
        code[i] = (int8_t)q;
    }
    free(zero);
    DT_ONNX_CHECK(outside == 0, DT_ERR_UNSUPPORTED, imp, n,
                  "a weight is %" PRId64 " beside its zero point; understood are -128 to 127", outside);
    range->most = dt_program_sum_most(code, &f->shape);
    return DT_OK;
}

/* Adds a layer's CODES; weights[1] is the parameter of their scales. */
static dt_status add_weights(dt_onnx_import *imp, const dt_onnx_node *n, const filters *f, int weights[2], int *value)
{
    const dt_onnx_place *w = dt_onnx_in(imp, n, 1);
    const dt_shape n_scales = { 1, { w->grid.n } };
    dt_codes_params range;
    void *stored, *scale;

    DT_TRY(check_weights(imp, n, f));
    DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[w->tensor], &stored));
    int64_t dim[4];
    dt_onnx_filter_dims(w, dim);
    int8_t *code = f->matrix ? dt_onnx_turn_matrix(f->matrix, stored, 1) : dt_onnx_channels_last(stored, dim, 1);
    free(stored);
    DT_CHECK(code, DT_ERR_MEMORY, "%s: no memory for the weights of %s", imp->m->path, f->name);
    const dt_status s = centre(imp, n, f, code, &range);
    if (s != DT_OK) {
        free(code);
        return dt_forward(s, __FILE__, __LINE__);
    }
    const dt_onnx_param codes = { dt_onnx_in_name(imp, n, 1), f->name, ".weight",
                                  dt_program_spec(&f->shape), DT_I8,   code };
    DT_TRY(dt_onnx_add_param(imp, &codes, &weights[0]));
    DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[w->grid.scale], &scale));
    const dt_onnx_param scales = { imp->m->value[w->grid.name].name, f->name, ".weight_scale",
                                   dt_program_spec(&n_scales),       DT_F32,  scale };
    DT_TRY(dt_onnx_add_param(imp, &scales, &weights[1]));
    return dt_onnx_node_add(imp, DT_OP_CODES, f->name, ".codes", &range, weights, 2, value);
}

/* Sets *has to 1 if the integers of a bias have the scale of the sums, so that they are taken as they are. */
static dt_status has_scale_of_sums(const dt_onnx_import *imp, const dt_onnx_place *b, const float *of_sum,
                                   int64_t n_sums, int *has)
{
    void *scale, *zero;

    *has = b->has_grid && imp->m->tensor[b->tensor].type == DT_ONNX_INT32;
    if (!*has) return DT_OK;
    DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[b->grid.scale], &scale));
    for (int64_t k = 0; k < n_sums; k++) *has &= ((float *)scale)[b->grid.n == 1 ? 0 : k] == of_sum[k];
    free(scale);
    if (b->grid.zero < 0) return DT_OK;
    DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[b->grid.zero], &zero));
    for (int64_t k = 0; k < b->grid.n; k++) *has &= dt_onnx_integer_at(zero, DT_ONNX_INT32, k) == 0;
    free(zero);
    return DT_OK;
}

/* Sets bias to that of sums: the file's integers, or reals rounded to the scale of the sums, half to even. */
static dt_status read_bias(const dt_onnx_import *imp, const dt_onnx_node *n, int k, const float *of_sum, int64_t count,
                           int32_t **bias)
{
    const dt_onnx_place *b = dt_onnx_in(imp, n, k);
    float *reals;
    void *numbers;
    int is_taken;

    DT_ONNX_CHECK(b->kind == DT_ONNX_CONSTANT && dt_onnx_count(&imp->m->tensor[b->tensor]) == count, DT_ERR_UNSUPPORTED,
                  imp, n, "the bias, input %d, is computed, or no %" PRId64 " numbers", k, count);
    DT_TRY(has_scale_of_sums(imp, b, of_sum, count, &is_taken));
    if (is_taken) {
        DT_TRY(dt_onnx_numbers_of(imp, &imp->m->tensor[b->tensor], &numbers));
        *bias = numbers;
        return DT_OK;
    }
    DT_TRY(dt_onnx_reals(imp, n, k, count, &reals));
    *bias = malloc((size_t)count * sizeof **bias);
    int64_t outside = -1;
    for (int64_t c = 0; *bias && c < count; c++) {
        const double q = rint((double)reals[c] / (double)of_sum[c]);
        if (!(fabs(q) < 2147483648.0)) outside = c;
        (*bias)[c] = fabs(q) < 2147483648.0 ? (int32_t)q : 0;
    }
    free(reals);
    DT_CHECK(*bias, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " integers", imp->m->path, count);
    if (outside < 0) return DT_OK;
    free(*bias);
    *bias = NULL;
    DT_ONNX_CHECK(0, DT_ERR_UNSUPPORTED, imp, n,
                  "the bias of filter %" PRId64 " has more than 32 bits of the sums' scale", outside);
}

/* Adds the parameter of a bias, input k of n, behind sums whose scales are those of x and of the weights. */
static dt_status add_bias(dt_onnx_import *imp, const dt_onnx_node *n, int k, const filters *f, const int scales[2],
                          int *value)
{
    const int64_t count = f->shape.dim[0];
    const float *x = imp->graph->value[scales[0]]->data, *w = imp->graph->value[scales[1]]->data;
    const int64_t n_w = dt_count(&imp->graph->value[scales[1]]->param.shape);
    const dt_shape shape = { 1, { count } };
    float *of_sum = malloc((size_t)count * sizeof *of_sum);
    int32_t *bias = NULL;

    DT_CHECK(of_sum, DT_ERR_MEMORY, "%s: no memory for %" PRId64 " scales", imp->m->path, count);
    for (int64_t c = 0; c < count; c++) of_sum[c] = *x * w[n_w == 1 ? 0 : c];
    const dt_status s = read_bias(imp, n, k, of_sum, count, &bias);
    free(of_sum);
    DT_TRY(s);
    dt_onnx_param p = { dt_onnx_in_name(imp, n, k), f->name, ".bias", dt_program_spec(&shape), DT_I32, bias };
    p.spec.type = DT_I32;
    return dt_onnx_add_param(imp, &p, value);
}

/* ---- convolutions ---- */

/* Adds CODES, CONV2D and REQUANTIZE of the map x, whose scale is x[1]. `bias` is input k of the node that has it, or
 * NULL; `last` is the node whose output is quantized. */
typedef struct {
    const dt_onnx_node *bias, *last;
    int k;
    dt_requant_of of;
} ending;

static dt_status add_sums(dt_onnx_import *imp, const dt_onnx_node *n, const filters *f, const dt_conv_params *conv,
                          const int x[2], const ending *e)
{
    dt_onnx_sum sum = { f->name, ".act_quant", e->of, 1, { 0, x[1] }, 4 };
    int weights[2], operands[2] = { x[0] }, value;
    dt_onnx_target t;

    DT_TRY(add_weights(imp, n, f, weights, &operands[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_CONV2D, f->name, "", conv, operands, 2, &sum.in[0]));
    sum.in[3] = weights[1];
    if (e->bias && dt_onnx_in(imp, e->bias, e->k)) {
        const int scales[2] = { x[1], weights[1] };
        DT_TRY(add_bias(imp, e->bias, e->k, f, scales, &sum.in[sum.n_in++]));
    }
    DT_TRY(dt_onnx_find_target(imp, e->last, f->name, &t));
    DT_TRY(dt_onnx_requantize(imp, &sum, &t, &value));
    if (e->of == DT_REQUANT_CONV)
        DT_TRY(dt_onnx_set_map(imp, e->last, value));
    else
        DT_TRY(dt_onnx_set_rows(imp, e->last, value, f->shape.dim[0]));
    dt_onnx_give_grid(imp, e->last, &t);
    return DT_OK;
}

static dt_status add_conv(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const ending e = { n, n, 2, DT_REQUANT_CONV };
    char name[DT_ONNX_NAME];
    dt_conv_params conv;
    int x[2], pad[4];
    filters f = { .name = name };

    DT_TRY(dt_onnx_padded_map(imp, n, 0, &x[0], pad));
    x[1] = dt_onnx_in(imp, n, 0)->scale;
    DT_TRY(dt_onnx_conv(imp, n, x[0], pad, &conv, &f.shape));
    dt_onnx_name(imp, n, 1, name);
    return add_sums(imp, n, &f, &conv, x, &e);
}

static dt_status add_linear(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_conv_params conv = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    ending e = { NULL, n, 0, DT_REQUANT_LINEAR };
    char name[DT_ONNX_NAME];
    dt_onnx_matrix m;
    int x[2];

    DT_TRY(dt_onnx_linear(imp, n, &m));
    DT_ONNX_CHECK(m.alpha == 1.0f && m.beta == 1.0f, DT_ERR_UNSUPPORTED, imp, n,
                  "alpha is %g and beta %g; understood on codes are 1", (double)m.alpha, (double)m.beta);
    if (m.cells > 1)
        x[0] = dt_onnx_in(imp, n, 0)->value;
    else
        DT_TRY(dt_onnx_rows(imp, n, 0, &x[0]));
    x[1] = dt_onnx_in(imp, n, 0)->scale;
    const dt_shape *map = dt_graph_shape(imp->graph, x[0]);
    const filters f = { { 4, { m.features, map->dim[1], map->dim[2], map->dim[3] } }, &m, name };
    dt_onnx_name(imp, n, 1, name);
    e.bias = dt_onnx_bias_of(imp, n, &e.k);
    if (e.bias) e.last = e.bias;
    return add_sums(imp, n, &f, &conv, x, &e);
}

static const dt_onnx_row rows[] = {
    { "Conv", add_conv },
    { "Gemm", add_linear },
    { "MatMul", add_linear },
    { "MaxPool", dt_onnx_add_codes_maxpool },
    { "GlobalMaxPool", dt_onnx_add_codes_maxpool },
    { "AveragePool", dt_onnx_add_codes_avgpool },
    { "GlobalAveragePool", dt_onnx_add_codes_mean },
    { "ReduceMean", dt_onnx_add_codes_mean },
    { "Add", dt_onnx_add_codes_binary },
    { "Sub", dt_onnx_add_codes_binary },
    { "Mul", dt_onnx_add_codes_binary },
    { "Concat", dt_onnx_add_codes_concat },
    { "Softmax", dt_onnx_add_codes_softmax },
    { "Sigmoid", dt_onnx_add_codes_table },
    { "Tanh", dt_onnx_add_codes_table },
    { "LeakyRelu", dt_onnx_add_codes_table },
    { "HardSigmoid", dt_onnx_add_codes_table },
    { "HardSwish", dt_onnx_add_codes_table },
    { "Relu", dt_onnx_add_limits },
    { "Clip", dt_onnx_add_limits },
};

dt_status dt_onnx_add_integer(dt_onnx_import *imp, const dt_onnx_node *n)
{
    return dt_onnx_call(imp, n, rows, sizeof rows / sizeof rows[0]);
}
