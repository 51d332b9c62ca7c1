/*
 * onnx_float_maps.c - pools, sums, products and joined maps of a graph of reals. Interface: onnx_float.h.
 *
 * A constant beside a computed operand has one number, or one for each channel. A constant that is added is a BIAS, and
 * a constant factor a convolution of one cell in each channel. c - x is x times -1, plus c.
 */
#include "onnx_float.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pools ---- */

dt_status dt_onnx_add_pool(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_op_kind kind = dt_onnx_is_op(n, "MaxPool") ? DT_OP_MAXPOOL : DT_OP_AVGPOOL;
    char name[DT_ONNX_NAME];
    dt_pool_params params;
    int x, y;

    DT_TRY(dt_onnx_map(imp, n, 0, &x));
    DT_TRY(dt_onnx_pool(imp, n, x, &params));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_node_add(imp, kind, name, "", &params, &x, 1, &y));
    return dt_onnx_set_map(imp, n, y);
}

static dt_status add_whole(dt_onnx_import *imp, const dt_onnx_node *n, dt_op_kind kind)
{
    const dt_pool_params whole = { .stride = { 1, 1 } };
    char name[DT_ONNX_NAME];
    int x, y;

    DT_TRY(dt_onnx_map(imp, n, 0, &x));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_node_add(imp, kind, name, "", &whole, &x, 1, &y));
    return dt_onnx_set_map(imp, n, y);
}

dt_status dt_onnx_add_whole_pool(dt_onnx_import *imp, const dt_onnx_node *n)
{
    return add_whole(imp, n, dt_onnx_is_op(n, "GlobalMaxPool") ? DT_OP_MAXPOOL : DT_OP_AVGPOOL);
}

dt_status dt_onnx_add_mean(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t dim[DT_ONNX_MAX_DIMS];
    int n_dims;

    DT_TRY(dt_onnx_mean(imp, n, &n_dims, dim));
    DT_TRY(add_whole(imp, n, DT_OP_AVGPOOL));
    dt_onnx_place p = imp->place[n->out[0]];
    p.n_dims = n_dims;
    memcpy(p.dim, dim, (size_t)n_dims * sizeof *dim);
    return dt_onnx_set(imp, n, &p);
}

/* ---- sums and products ---- */

/* Index of the operand that is constant, or -1. */
static dt_status find_constant(const dt_onnx_import *imp, const dt_onnx_node *n, int *constant)
{
    DT_ONNX_CHECK(dt_onnx_in(imp, n, 0) && dt_onnx_in(imp, n, 1), DT_ERR_FORMAT, imp, n,
                  "%d inputs, of which one is missing; needed are 2", n->n_in);
    DT_ONNX_CHECK(!dt_onnx_find(n, "axis"), DT_ERR_UNSUPPORTED, imp, n,
                  "attribute '%s', of opset 6, joins dimensions; understood are opsets from 7 on", "axis");
    *constant = -1;
    for (int k = 0; k < 2; k++) {
        if (dt_onnx_in(imp, n, k)->kind == DT_ONNX_CONSTANT) *constant = k;
    }
    return DT_OK;
}

/* Sets *x to operand k, a map or rows, and *channels to the numbers that a constant beside it may have. */
static dt_status read_operand(dt_onnx_import *imp, const dt_onnx_node *n, int k, int *x, int64_t *channels)
{
    DT_TRY(dt_onnx_map_or_rows(imp, n, k, x));
    const dt_shape *s = dt_graph_shape(imp->graph, *x);
    *channels = s->dim[s->ndim - 1];
    return DT_OK;
}

/* Adds the parameter of such numbers, of a shape: NAME, the part, and `end`. */
static dt_status add_each(dt_onnx_import *imp, const dt_onnx_each *e, const char *end, const dt_shape *shape,
                          int *value)
{
    const dt_param_spec spec = e->is_fixed ? dt_onnx_state(shape) : dt_onnx_trained(shape);
    char part[48];

    snprintf(part, sizeof part, "%s%s", e->part, end);
    const dt_onnx_param p = { NULL, e->name, part, spec, DT_F32, e->numbers };
    return dt_onnx_add_param(imp, &p, value);
}

dt_status dt_onnx_add_shift(dt_onnx_import *imp, const dt_onnx_each *e, int *value)
{
    const dt_shape shape = { 1, { e->channels } };
    int in[2] = { *value };

    DT_TRY(add_each(imp, e, ".bias", &shape, &in[1]));
    return dt_onnx_node_add(imp, DT_OP_BIAS, e->name, e->part, NULL, in, 2, value);
}

dt_status dt_onnx_add_factor(dt_onnx_import *imp, const dt_onnx_each *e, int *value)
{
    const dt_conv_params each = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = (int)e->channels };
    const dt_shape shape = { 4, { e->channels, 1, 1, 1 } };
    int in[2] = { *value };

    dt_status s = dt_onnx_dequantize(imp, &in[0]);
    if (s == DT_OK && dt_graph_shape(imp->graph, in[0])->ndim == 2)
        s = dt_onnx_as_shape(imp, 1, 1, e->channels, &in[0]);
    if (s != DT_OK) {
        free(e->numbers);
        return dt_forward(s, __FILE__, __LINE__);
    }
    DT_TRY(add_each(imp, e, ".weight", &shape, &in[1]));
    return dt_onnx_node_add(imp, DT_OP_CONV2D, e->name, e->part, &each, in, 2, value);
}

float *dt_onnx_equal_numbers(int64_t count, float number)
{
    float *made = malloc((size_t)count * sizeof *made);

    for (int64_t c = 0; made && c < count; c++) made[c] = number;
    return made;
}

/* What a constant multiplies or is added to, in a network with quantizers. */
typedef struct {
    dt_onnx_place p; /* as it lies */
    int value, is_only;
    int64_t channels;
    float *numbers; /* [channels] the constant */
} line_operand;

/* Beside one number x stays as it lies. */
static dt_status read_line_operand(dt_onnx_import *imp, const dt_onnx_node *n, int constant, line_operand *x)
{
    const int k = 1 - constant, is_one = dt_onnx_count(&imp->m->tensor[dt_onnx_in(imp, n, constant)->tensor]) == 1;

    x->p = *dt_onnx_in(imp, n, k);
    x->is_only = imp->n_readers[n->in[k]] == 1;
    if (is_one) {
        DT_TRY(dt_onnx_whole(imp, n, k, &x->value));
        const dt_shape *s = dt_graph_shape(imp->graph, x->value);
        x->channels = s->dim[s->ndim - 1];
    } else {
        DT_TRY(read_operand(imp, n, k, &x->value, &x->channels));
        x->p.layout = dt_onnx_is_map(x->p.n_dims) ? DT_ONNX_MAP : DT_ONNX_ROW;
    }
    return dt_onnx_spread(imp, n, constant, x->p.n_dims, x->channels, &x->numbers);
}

/* Adds y = factor x + sum for each channel, and takes both over. */
static dt_status add_line(dt_onnx_import *imp, const dt_onnx_node *n, line_operand *x, float *factor, float *sum)
{
    const dt_onnx_line line = { x->channels, factor, sum, x->is_only };
    char name[DT_ONNX_NAME];

    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_add_line(imp, name, &line, &x->value));
    return dt_onnx_set_value(imp, n, x->p, x->value);
}

static dt_status add_line_of_sum(dt_onnx_import *imp, const dt_onnx_node *n, int constant, float x_sign, float sign)
{
    line_operand x;

    DT_TRY(read_line_operand(imp, n, constant, &x));
    for (int64_t c = 0; c < x.channels; c++) x.numbers[c] *= sign;
    return add_line(imp, n, &x, dt_onnx_equal_numbers(x.channels, x_sign), x.numbers);
}

/* y = sign x + constant, or the constant alone without sign: how Add and Sub of constants are made. */
static dt_status add_constant(dt_onnx_import *imp, const dt_onnx_node *n, int constant, float x_sign, float sign)
{
    const int n_dims = dt_onnx_in(imp, n, 1 - constant)->n_dims;
    char name[DT_ONNX_NAME];
    int64_t channels = 0;
    float *numbers;
    int y;

    if (imp->has_quantizers) return add_line_of_sum(imp, n, constant, x_sign, sign);
    DT_TRY(read_operand(imp, n, 1 - constant, &y, &channels));
    dt_onnx_name(imp, n, -1, name);
    if (x_sign < 0.0f) {
        const dt_onnx_each turned = { name, ".turned", channels, dt_onnx_equal_numbers(channels, -1.0f), 1 };
        DT_TRY(dt_onnx_add_factor(imp, &turned, &y));
    }
    DT_TRY(dt_onnx_spread(imp, n, constant, n_dims, channels, &numbers));
    for (int64_t c = 0; c < channels; c++) numbers[c] *= sign;
    const dt_onnx_each shift = { name, "", channels, numbers, 0 };
    DT_TRY(dt_onnx_add_shift(imp, &shift, &y));
    return dt_onnx_set_like(imp, n, n_dims, y);
}

/* 1 if both operands are one kind of map, which may then be joined as they lie. */
static int lie_alike(const dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_onnx_place *a = dt_onnx_in(imp, n, 0), *b = dt_onnx_in(imp, n, 1);

    if (a->layout != b->layout || a->n_dims != b->n_dims || a->view >= 0 || b->view >= 0) return 0;
    if (memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) != 0) return 0;
    return dt_same_shape(dt_graph_shape(imp->graph, a->value), dt_graph_shape(imp->graph, b->value));
}

/* Adds an ADD or MUL of two computed operands. Of a MUL the one with a single cell is the second. */
static dt_status add_both(dt_onnx_import *imp, const dt_onnx_node *n, dt_op_kind kind)
{
    const dt_onnx_place *x[2];
    char name[DT_ONNX_NAME];
    int in[2], y;

    for (int k = 0; k < 2; k++) DT_TRY(dt_onnx_computed(imp, n, k, &x[k]));
    dt_onnx_place p = *x[0];
    if (lie_alike(imp, n)) {
        for (int k = 0; k < 2; k++) in[k] = x[k]->value;
    } else {
        DT_ONNX_CHECK(x[0]->n_dims == x[1]->n_dims, DT_ERR_UNSUPPORTED, imp, n,
                      "operands of %d and %d dimensions; understood are equal ones", x[0]->n_dims, x[1]->n_dims);
        for (int k = 0; k < 2; k++) DT_TRY(dt_onnx_map_or_rows(imp, n, k, &in[k]));
        p.layout = dt_onnx_is_map(p.n_dims) ? DT_ONNX_MAP : DT_ONNX_ROW;
    }
    if (kind == DT_OP_MUL && dt_graph_count(imp->graph, in[0]) < dt_graph_count(imp->graph, in[1])) {
        const int small = in[0];
        in[0] = in[1];
        in[1] = small;
        memcpy(p.dim, dt_onnx_in(imp, n, 1)->dim, sizeof p.dim);
    }
    for (int k = 0; k < 2 && kind == DT_OP_MUL; k++) DT_TRY(dt_onnx_dequantize(imp, &in[k]));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_node_add(imp, kind, name, "", NULL, in, 2, &y));
    return dt_onnx_set_value(imp, n, p, y);
}

dt_status dt_onnx_add_sum(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int constant = -1;

    DT_TRY(find_constant(imp, n, &constant));
    return constant < 0 ? add_both(imp, n, DT_OP_ADD) : add_constant(imp, n, constant, 1.0f, 1.0f);
}

/* Adds ADDs of computed operands of one shape. Each but the first is multiplied by -1 if it is subtracted. */
static dt_status add_chain(dt_onnx_import *imp, const dt_onnx_node *n, int subtracts)
{
    char name[DT_ONNX_NAME], part[32];
    int64_t channels = 0;
    int in[2] = { -1, -1 };

    dt_onnx_name(imp, n, -1, name);
    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(read_operand(imp, n, k, &in[k > 0], &channels));
        if (k == 0) continue;
        if (subtracts) {
            const dt_onnx_each turned = { name, ".turned", channels, dt_onnx_equal_numbers(channels, -1.0f), 1 };
            DT_TRY(dt_onnx_add_factor(imp, &turned, &in[1]));
            if (dt_graph_shape(imp->graph, in[0])->ndim == 2) DT_TRY(dt_onnx_as_shape(imp, 1, 1, channels, &in[0]));
        }
        snprintf(part, sizeof part, ".until_%d", k);
        DT_TRY(dt_onnx_node_add(imp, DT_OP_ADD, name, k == n->n_in - 1 ? "" : part, NULL, in, 2, &in[0]));
    }
    return dt_onnx_set_like(imp, n, dt_onnx_in(imp, n, 0)->n_dims, in[0]);
}

dt_status dt_onnx_add_sum_of_all(dt_onnx_import *imp, const dt_onnx_node *n)
{
    return add_chain(imp, n, 0);
}

dt_status dt_onnx_add_difference(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int constant = -1;

    DT_TRY(find_constant(imp, n, &constant));
    if (constant < 0) return add_chain(imp, n, 1);
    return constant == 1 ? add_constant(imp, n, 1, 1.0f, -1.0f) : add_constant(imp, n, 0, -1.0f, 1.0f);
}

/* Makes of each number 1 divided by it, or frees them. */
static dt_status invert(const dt_onnx_import *imp, const dt_onnx_node *n, int64_t channels, float *numbers)
{
    for (int64_t c = 0; c < channels; c++) {
        const float by = numbers[c];
        numbers[c] = by == 0.0f ? 0.0f : 1.0f / by;
        if (by != 0.0f) continue;
        free(numbers);
        DT_ONNX_CHECK(0, DT_ERR_FORMAT, imp, n, "channel %" PRId64 " is divided by 0", c);
    }
    return DT_OK;
}

static dt_status add_line_of_product(dt_onnx_import *imp, const dt_onnx_node *n, int constant, int divides)
{
    line_operand x;

    DT_TRY(read_line_operand(imp, n, constant, &x));
    if (divides) DT_TRY(invert(imp, n, x.channels, x.numbers));
    return add_line(imp, n, &x, x.numbers, dt_onnx_equal_numbers(x.channels, 0.0f));
}

/* Multiplies by a constant, or divides by it. */
static dt_status add_scaled(dt_onnx_import *imp, const dt_onnx_node *n, int constant, int divides)
{
    const int n_dims = dt_onnx_in(imp, n, 1 - constant)->n_dims;
    char name[DT_ONNX_NAME];
    int64_t channels = 0;
    float *numbers;
    int y;

    if (imp->has_quantizers) return add_line_of_product(imp, n, constant, divides);
    DT_TRY(read_operand(imp, n, 1 - constant, &y, &channels));
    DT_TRY(dt_onnx_spread(imp, n, constant, n_dims, channels, &numbers));
    if (divides) DT_TRY(invert(imp, n, channels, numbers));
    dt_onnx_name(imp, n, -1, name);
    const dt_onnx_each factor = { name, "", channels, numbers, 0 };
    DT_TRY(dt_onnx_add_factor(imp, &factor, &y));
    return dt_onnx_set_like(imp, n, n_dims, y);
}

dt_status dt_onnx_add_product(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int constant = -1;

    DT_TRY(find_constant(imp, n, &constant));
    return constant < 0 ? add_both(imp, n, DT_OP_MUL) : add_scaled(imp, n, constant, 0);
}

dt_status dt_onnx_add_quotient(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int constant = -1;

    DT_TRY(find_constant(imp, n, &constant));
    DT_ONNX_CHECK(constant == 1, DT_ERR_UNSUPPORTED, imp, n,
                  "operand %d, the divisor, is computed; detent has no operator for that on reals", 1);
    return add_scaled(imp, n, 1, 1);
}

/* ---- Concat ---- */

dt_status dt_onnx_concat_axis(const dt_onnx_import *imp, const dt_onnx_node *n, int *axis, int *is_map)
{
    static const int of_map[4] = { 0, 3, 1, 2 }, of_row[3] = { 0, 3, 2 };
    const dt_onnx_place *x;

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    const int n_dims = x->n_dims;
    DT_TRY(dt_onnx_axis(imp, n, 1, n_dims, axis));
    DT_ONNX_CHECK(*axis >= 1 && (dt_onnx_is_map(n_dims) || n_dims == 2), DT_ERR_UNSUPPORTED, imp, n,
                  "along axis %d of %d dimensions; understood are n,c,h,w, n,c,w and n,i, behind the batch", *axis,
                  n_dims);
    for (int k = 1; k < n->n_in; k++) {
        DT_TRY(dt_onnx_computed(imp, n, k, &x));
        DT_ONNX_CHECK(x->n_dims == n_dims, DT_ERR_FORMAT, imp, n, "input %d has %d dimensions, input 0 %d", k,
                      x->n_dims, n_dims);
    }
    *is_map = dt_onnx_is_map(n_dims);
    if (*is_map) *axis = n_dims == 4 ? of_map[*axis] : of_row[*axis];
    return DT_OK;
}

/* More inputs than an operator takes are joined one group after another. */
dt_status dt_onnx_add_concat(dt_onnx_import *imp, const dt_onnx_node *n)
{
    char name[DT_ONNX_NAME], part[32];
    dt_concat_params params;
    int in[DT_MAX_IN], n_in = 0, is_map;

    DT_TRY(dt_onnx_concat_axis(imp, n, &params.axis, &is_map));
    dt_onnx_name(imp, n, -1, name);
    for (int k = 0; k < n->n_in; k++) {
        DT_TRY(dt_onnx_map_or_rows(imp, n, k, &in[n_in]));
        const int is_last = k == n->n_in - 1;
        if (++n_in < DT_MAX_IN && !is_last) continue;
        snprintf(part, sizeof part, ".until_%d", k);
        if (is_last) part[0] = '\0';
        if (n_in > 1) DT_TRY(dt_onnx_node_add(imp, DT_OP_CONCAT, name, part, &params, in, n_in, &in[0]));
        n_in = 1;
    }
    return dt_onnx_set_like(imp, n, is_map ? 4 : 2, in[0]);
}
