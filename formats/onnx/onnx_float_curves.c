/*
 * onnx_float_curves.c - functions for which detent has no operator of their own, made of those that it has. Interface:
 *                       onnx_float.h.
 *
 *   LeakyRelu, PRelu   max(x, 0) + a min(x, 0)                RELU, CLIP, a factor, ADD
 *   HardSigmoid        h(x) = max(0, min(1, a x + b))         a factor, BIAS, RELU with the limit 1
 *   HardSwish          x h(x), a 1/6, b 1/2                   the same, MUL
 *   Tanh               2 sigmoid(2 x) - 1                     a factor, SIGMOID, a factor, BIAS
 *   Neg                -x                                     a factor
 *
 * A factor is a convolution of one cell in each channel. A function of each number computes whatever lies before it:
 * only slopes of PRelu that differ by channels need a map or rows.
 */
#include "onnx_float.h"

#include <stdlib.h>

static const float NO_LIMIT = 1e30f;

/* A function that is being made, of the value x, a map of so many channels. */
typedef struct {
    char name[DT_ONNX_NAME];
    dt_onnx_place place; /* of what it makes */
    int x;
    int64_t channels;
} curve;

/* Makes what is flat a map of one cell. */
static dt_status as_map(dt_onnx_import *imp, curve *c)
{
    const dt_shape *s = dt_graph_shape(imp->graph, c->x);

    c->channels = s->dim[s->ndim - 1];
    return s->ndim == 4 ? DT_OK : dt_onnx_as_shape(imp, 1, 1, c->channels, &c->x);
}

/* Reads input 0 as it lies. */
static dt_status begin(dt_onnx_import *imp, const dt_onnx_node *n, curve *c)
{
    DT_TRY(dt_onnx_whole(imp, n, 0, &c->x));
    c->place = *dt_onnx_in(imp, n, 0);
    dt_onnx_name(imp, n, -1, c->name);
    return as_map(imp, c);
}

/* Reads input 0 so that the file's channels are the last dimension here. */
static dt_status begin_by_channels(dt_onnx_import *imp, const dt_onnx_node *n, curve *c)
{
    const dt_onnx_place *x;

    DT_TRY(dt_onnx_computed(imp, n, 0, &x));
    c->place = *x;
    c->place.layout = dt_onnx_is_map(x->n_dims) ? DT_ONNX_MAP : DT_ONNX_ROW;
    DT_TRY(dt_onnx_map_or_rows(imp, n, 0, &c->x));
    dt_onnx_name(imp, n, -1, c->name);
    return as_map(imp, c);
}

static dt_status factor(dt_onnx_import *imp, const curve *c, const char *part, float by, int *value)
{
    const dt_onnx_each e = { c->name, part, c->channels, dt_onnx_equal_numbers(c->channels, by), 1 };

    return dt_onnx_add_factor(imp, &e, value);
}

static dt_status shift(dt_onnx_import *imp, const curve *c, const char *part, float by, int *value)
{
    const dt_onnx_each e = { c->name, part, c->channels, dt_onnx_equal_numbers(c->channels, by), 1 };

    return dt_onnx_add_shift(imp, &e, value);
}

/* Adds max(x, 0) + slopes min(x, 0). */
static dt_status add_bent(dt_onnx_import *imp, const dt_onnx_node *n, curve *c, float *slopes, int is_fixed)
{
    const dt_onnx_each each = { c->name, ".negative", c->channels, slopes, is_fixed };
    const dt_clip_params below = { -NO_LIMIT, 0.0f };
    const dt_relu_params relu = { 0.0f };
    int part[2], y;

    dt_status s = dt_onnx_node_add(imp, DT_OP_RELU, c->name, ".positive", &relu, &c->x, 1, &part[0]);
    if (s == DT_OK) s = dt_onnx_node_add(imp, DT_OP_CLIP, c->name, ".below", &below, &c->x, 1, &part[1]);
    if (s != DT_OK) {
        free(slopes);
        return dt_forward(s, __FILE__, __LINE__);
    }
    DT_TRY(dt_onnx_add_factor(imp, &each, &part[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_ADD, c->name, "", NULL, part, 2, &y));
    return dt_onnx_set_value(imp, n, c->place, y);
}

dt_status dt_onnx_add_leaky_relu(dt_onnx_import *imp, const dt_onnx_node *n)
{
    float slope;
    curve c;

    DT_TRY(dt_onnx_float(imp, n, "alpha", 0.01f, &slope));
    DT_TRY(begin(imp, n, &c));
    return add_bent(imp, n, &c, dt_onnx_equal_numbers(c.channels, slope), 1);
}

/* One slope that is trained, or one for each channel. */
dt_status dt_onnx_add_prelu(dt_onnx_import *imp, const dt_onnx_node *n)
{
    float *slopes;
    curve c;

    DT_TRY(begin_by_channels(imp, n, &c));
    DT_TRY(dt_onnx_spread(imp, n, 1, c.place.n_dims, c.channels, &slopes));
    return add_bent(imp, n, &c, slopes, 0);
}

/* Adds max(0, min(1, a x + b)), called NAME and `part`. */
static dt_status add_ramp(dt_onnx_import *imp, const curve *c, float a, float b, const char *part, int *value)
{
    const dt_relu_params unit = { 1.0f };

    *value = c->x;
    if (a != 1.0f) DT_TRY(factor(imp, c, ".line", a, value));
    DT_TRY(shift(imp, c, ".shifted", b, value));
    return dt_onnx_node_add(imp, DT_OP_RELU, c->name, part, &unit, value, 1, value);
}

dt_status dt_onnx_add_hard_sigmoid(dt_onnx_import *imp, const dt_onnx_node *n)
{
    float a, b;
    curve c;
    int y;

    DT_TRY(dt_onnx_float(imp, n, "alpha", 0.2f, &a));
    DT_TRY(dt_onnx_float(imp, n, "beta", 0.5f, &b));
    DT_TRY(begin(imp, n, &c));
    DT_TRY(add_ramp(imp, &c, a, b, "", &y));
    return dt_onnx_set_value(imp, n, c.place, y);
}

dt_status dt_onnx_add_hard_swish(dt_onnx_import *imp, const dt_onnx_node *n)
{
    int in[2], y;
    curve c;

    DT_TRY(begin(imp, n, &c));
    in[0] = c.x;
    DT_TRY(add_ramp(imp, &c, 1.0f / 6.0f, 0.5f, ".gate", &in[1]));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_MUL, c.name, "", NULL, in, 2, &y));
    return dt_onnx_set_value(imp, n, c.place, y);
}

dt_status dt_onnx_add_tanh(dt_onnx_import *imp, const dt_onnx_node *n)
{
    curve c;

    DT_TRY(begin(imp, n, &c));
    int y = c.x;
    DT_TRY(factor(imp, &c, ".twice", 2.0f, &y));
    DT_TRY(dt_onnx_node_add(imp, DT_OP_SIGMOID, c.name, ".sigmoid", NULL, &y, 1, &y));
    DT_TRY(factor(imp, &c, ".spread", 2.0f, &y));
    DT_TRY(shift(imp, &c, "", -1.0f, &y));
    return dt_onnx_set_value(imp, n, c.place, y);
}

dt_status dt_onnx_add_negative(dt_onnx_import *imp, const dt_onnx_node *n)
{
    curve c;

    DT_TRY(begin(imp, n, &c));
    int y = c.x;
    DT_TRY(factor(imp, &c, "", -1.0f, &y));
    return dt_onnx_set_value(imp, n, c.place, y);
}
