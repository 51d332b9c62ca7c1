/*
 * onnx_integer_maps.c - pools, sums, joined maps and functions of codes. Interface: onnx_integer.h.
 */
#include "onnx_integer.h"

#include "../../quant/program/program_build.h"
#include "onnx_codes.h"
#include "onnx_float.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pools ---- */

dt_status dt_onnx_add_codes_maxpool(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const int is_whole = dt_onnx_is_op(n, "GlobalMaxPool");
    char name[DT_ONNX_NAME];
    dt_pool_params params;
    int x, y;

    DT_TRY(dt_onnx_map(imp, n, 0, &x));
    const dt_onnx_place of = *dt_onnx_in(imp, n, 0);
    const dt_shape *map = dt_graph_shape(imp->graph, x);
    params = (dt_pool_params){ .window = { (int)map->dim[1], (int)map->dim[2] }, .stride = { 1, 1 } };
    if (!is_whole) DT_TRY(dt_onnx_pool(imp, n, x, &params));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_node_add(imp, DT_OP_MAXPOOL, name, "", &params, &x, 1, &y));
    DT_TRY(dt_onnx_set_map(imp, n, y));
    dt_onnx_place *p = &imp->place[n->out[0]];
    p->has_grid = 1;
    p->grid = of.grid;
    p->scale = of.scale;
    return DT_OK;
}

/* Adds a mean over windows that all have one divisor: AVGPOOL, whose sums a REQUANTIZE divides. */
static dt_status add_mean_of(dt_onnx_import *imp, const dt_onnx_node *n, const char *name, const dt_pool_params *pool,
                             const dt_onnx_target *t, int x)
{
    dt_onnx_sum sum = { name, ".act_quant", DT_REQUANT_MEAN, pool->window[0] * pool->window[1], { 0 }, 3 };
    int y;

    sum.in[1] = dt_onnx_in(imp, n, 0)->scale;
    DT_TRY(dt_onnx_node_add(imp, DT_OP_AVGPOOL, name, "", pool, &x, 1, &sum.in[0]));
    DT_TRY(dt_onnx_requantize(imp, &sum, t, &y));
    DT_TRY(dt_onnx_set_map(imp, n, y));
    dt_onnx_give_grid(imp, n, t);
    return DT_OK;
}

/* Codes of one grid are averaged; else their sums are divided, if all windows have as many cells. */
dt_status dt_onnx_add_codes_avgpool(dt_onnx_import *imp, const dt_onnx_node *n)
{
    dt_qavgpool_params params = { .profile = DT_PROFILE_ONNX };
    char name[DT_ONNX_NAME];
    dt_onnx_target t;
    int x, y;

    DT_TRY(dt_onnx_map(imp, n, 0, &x));
    DT_TRY(dt_onnx_pool(imp, n, x, &params.pool));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_find_target(imp, n, name, &t));
    const dt_onnx_grid *g = &dt_onnx_in(imp, n, 0)->grid;
    const int *pad = params.pool.pad, has_pads = pad[0] || pad[1] || pad[2] || pad[3];
    if (!dt_onnx_same_grid(g, &t.grid) || (has_pads && params.pool.count_include_pad)) {
        DT_ONNX_CHECK(!has_pads || params.pool.count_include_pad, DT_ERR_UNSUPPORTED, imp, n,
                      "padded windows of different divisors, from scale %g to %g; understood is one scale",
                      (double)g->step, (double)t.grid.step);
        return add_mean_of(imp, n, name, &params.pool, &t, x);
    }
    params.pool.count_include_pad = 0;
    params.low = t.low;
    params.high = t.high;
    params.zero = t.zero;
    DT_TRY(dt_onnx_node_add(imp, DT_OP_QAVGPOOL, name, "", &params, &x, 1, &y));
    DT_TRY(dt_onnx_set_map(imp, n, y));
    dt_onnx_give_grid(imp, n, &t);
    return DT_OK;
}

dt_status dt_onnx_add_codes_mean(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int64_t dim[DT_ONNX_MAX_DIMS] = { 0 };
    int n_dims = dt_onnx_in(imp, n, 0) ? dt_onnx_in(imp, n, 0)->n_dims : 0, x;
    char name[DT_ONNX_NAME];
    dt_onnx_target t;

    DT_TRY(dt_onnx_map(imp, n, 0, &x));
    if (dt_onnx_is_op(n, "ReduceMean")) DT_TRY(dt_onnx_mean(imp, n, &n_dims, dim));
    const dt_shape *map = dt_graph_shape(imp->graph, x);
    const dt_pool_params whole = { .window = { (int)map->dim[1], (int)map->dim[2] }, .stride = { 1, 1 } };
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_find_target(imp, n, name, &t));
    DT_TRY(add_mean_of(imp, n, name, &whole, &t, x));
    if (n_dims == imp->place[n->out[0]].n_dims) return DT_OK;
    dt_onnx_place p = imp->place[n->out[0]];
    p.n_dims = n_dims;
    memcpy(p.dim, dim, sizeof p.dim);
    return dt_onnx_set(imp, n, &p);
}

/* ---- sums, products, joined maps ---- */

/* Add, Sub and Mul of two computed tensors of one shape. */
dt_status dt_onnx_add_codes_binary(dt_onnx_import *imp, const dt_onnx_node *n)
{
    dt_qbinary_params params = { .profile = DT_PROFILE_ONNX, .subtract = dt_onnx_is_op(n, "Sub") };
    const dt_onnx_place *x[2];
    char name[DT_ONNX_NAME];
    dt_onnx_target t;
    int in[5], y;

    for (int k = 0; k < 2; k++) DT_TRY(dt_onnx_computed(imp, n, k, &x[k]));
    const int n_dims = x[0]->n_dims;
    for (int k = 0; k < 2; k++) {
        in[k + 2] = x[k]->scale;
        DT_TRY(dt_onnx_map_or_rows(imp, n, k, &in[k]));
    }
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_find_target(imp, n, name, &t));
    params.low = t.low;
    params.high = t.high;
    params.zero = t.zero;
    in[4] = t.scale;
    DT_TRY(dt_onnx_node_add(imp, dt_onnx_is_op(n, "Mul") ? DT_OP_QMUL : DT_OP_QADD, name, "", &params, in, 5, &y));
    DT_TRY(dt_onnx_set_like(imp, n, n_dims, y));
    dt_onnx_give_grid(imp, n, &t);
    return DT_OK;
}

/* Each input is brought to the output's scale, and then joined. */
dt_status dt_onnx_add_codes_concat(dt_onnx_import *imp, const dt_onnx_node *n)
{
    char name[DT_ONNX_NAME], part[32];
    dt_concat_params params;
    int in[DT_MAX_IN], n_in = 0, is_map;
    dt_onnx_target t;

    DT_TRY(dt_onnx_concat_axis(imp, n, &params.axis, &is_map));
    if (!is_map) params.axis = 3; /* rows are maps 1,1,n */
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_find_target(imp, n, name, &t));
    for (int k = 0; k < n->n_in; k++) {
        dt_onnx_place x = *dt_onnx_in(imp, n, k);
        DT_TRY(dt_onnx_map_or_rows(imp, n, k, &x.value));
        snprintf(part, sizeof part, ".input_%d", k);
        DT_TRY(dt_onnx_rescale(imp, name, part, &x, &t, &in[n_in++]));
        const int is_last = k == n->n_in - 1;
        if (n_in < DT_MAX_IN && !is_last) continue;
        snprintf(part, sizeof part, ".until_%d", k);
        if (is_last) part[0] = '\0';
        if (n_in > 1) DT_TRY(dt_onnx_node_add(imp, DT_OP_CONCAT, name, part, &params, in, n_in, &in[0]));
        n_in = 1;
    }
    DT_TRY(dt_onnx_set_like(imp, n, is_map ? 4 : 2, in[0]));
    dt_onnx_give_grid(imp, n, &t);
    return DT_OK;
}

/* ---- functions ---- */

dt_status dt_onnx_add_codes_softmax(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_qsoftmax_params params = { DT_PROFILE_ONNX, 1.0f };
    char name[DT_ONNX_NAME];
    dt_onnx_target t;
    int in[3], y;

    DT_TRY(dt_onnx_check_softmax(imp, n));
    in[1] = dt_onnx_in(imp, n, 0)->scale;
    DT_TRY(dt_onnx_map_or_rows(imp, n, 0, &in[0]));
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_find_target(imp, n, name, &t));
    in[2] = t.scale;
    DT_TRY(dt_onnx_node_add(imp, DT_OP_QSOFTMAX, name, "", &params, in, 3, &y));
    DT_TRY(dt_onnx_set_like(imp, n, dt_onnx_in(imp, n, 0)->n_dims, y));
    dt_onnx_give_grid(imp, n, &t);
    return DT_OK;
}

/* A function of one number, a x + b within it. */
typedef struct {
    const char *op;
    double (*of)(double x, double a, double b);
    float a, b; /* unless the file says */
} curve;

static double sigmoid_of(double x, double a, double b)
{
    return a / (b + exp(-x));
}
static double tanh_of(double x, double a, double b)
{
    return tanh(a * x + b);
}
static double leaky_relu_of(double x, double a, double b)
{
    return x > b ? x : a * x;
}
static double hard_sigmoid_of(double x, double a, double b)
{
    return fmax(0.0, fmin(1.0, a * x + b));
}
static double hard_swish_of(double x, double a, double b)
{
    return x * hard_sigmoid_of(x, a, b);
}

static const curve curves[] = {
    { "Sigmoid", sigmoid_of, 1.0f, 1.0f },
    { "Tanh", tanh_of, 1.0f, 0.0f },
    { "LeakyRelu", leaky_relu_of, 0.01f, 0.0f },
    { "HardSigmoid", hard_sigmoid_of, 0.2f, 0.5f },
    { "HardSwish", hard_swish_of, 1.0f / 6.0f, 0.5f },
};

static dt_status read_curve(const dt_onnx_import *imp, const dt_onnx_node *n, curve *c)
{
    size_t i = 0;

    while (strcmp(curves[i].op, n->op) != 0) i++;
    *c = curves[i];
    DT_TRY(dt_onnx_float(imp, n, "alpha", c->a, &c->a));
    return dt_onnx_float(imp, n, "beta", c->b, &c->b);
}

/* A function of each code: a table with a row for each code of x. */
dt_status dt_onnx_add_codes_table(dt_onnx_import *imp, const dt_onnx_node *n)
{
    const dt_shape rows = { 2, { DT_ONNX_LEVELS, 1 } };
    dt_table_params params;
    char name[DT_ONNX_NAME];
    dt_onnx_target t;
    int in[3], y;
    curve c;

    DT_TRY(read_curve(imp, n, &c));
    DT_TRY(dt_onnx_whole(imp, n, 0, &in[0]));
    const dt_onnx_place p = *dt_onnx_in(imp, n, 0);
    dt_onnx_name(imp, n, -1, name);
    DT_TRY(dt_onnx_find_target(imp, n, name, &t));
    params = (dt_table_params){ t.low, t.high, (p.grid.type == DT_ONNX_UINT8 ? 0 : INT8_MIN) - p.grid.offset };
    int16_t *table = malloc(DT_ONNX_LEVELS * sizeof *table);
    for (int i = 0; table && i < DT_ONNX_LEVELS; i++) {
        const double real = (double)(p.grid.step * (float)(params.first + i));
        const float q = rintf((float)c.of(real, (double)c.a, (double)c.b) / t.grid.step);
        table[i] = (int16_t)(q >= (float)t.high ? t.high : q >= (float)t.low ? (int)q : t.low);
    }
    const dt_onnx_param codes = { NULL, name, ".table", dt_program_spec(&rows), DT_I16, table };
    DT_TRY(dt_onnx_add_param(imp, &codes, &in[1]));
    in[2] = t.scale;
    DT_TRY(dt_onnx_node_add(imp, DT_OP_TABLE, name, "", &params, in, 3, &y));
    DT_TRY(dt_onnx_set_value(imp, n, p, y));
    dt_onnx_give_grid(imp, n, &t);
    return DT_OK;
}
