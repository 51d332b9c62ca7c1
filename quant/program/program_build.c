/*
 * program_build.c - see program_build.h.
 *
 *   TABLE      image.codes        image.table, image.scale
 *   CODES      NAME.codes         NAME.weight, NAME.weight_scale
 *   CONV2D     NAME
 *   THRESHOLD  NAME.act_quant     NAME.threshold, NAME.sign, NAME.act_scale
 *   AFFINE     NAME               NAME.slope, NAME.offset
 *   ACT_QUANT  NAME.act_quant     NAME.act_alpha
 *   CAPS_VOTES NAME, as CONV2D
 *   ROUTE_INT  NAME               NAME.bias, NAME.offset
 *   LINEAR     NAME.flatten; NAME NAME.weight, NAME.bias
 *
 * Tests: tests/quant/test_program.c.
 */
#include "program_build.h"

#include "../../core/arith/capsules.h"
#include "../../core/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A parameter of a layer, or a constant of a THRESHOLD. */
typedef struct {
    const char *name, *part; /* the array's name is both together, such as "features.27" and ".weight" */
    dt_dtype type;
    dt_shape shape;
    void *data;
} named_array;

dt_param_spec dt_program_spec(const dt_shape *shape)
{
    return (dt_param_spec){ .shape = *shape, .group = DT_GROUP_STATE, .values = DT_VALUES_ANY, .floor = -INFINITY };
}

float *dt_program_one(float v)
{
    float *one = malloc(sizeof *one);

    if (one) *one = v;
    return one;
}

/* *out is the value of the PARAM; out is NULL for a CONSTANT. */
static dt_status add_array(dt_graph *g, const named_array *a, int *out)
{
    const dt_param_spec spec = dt_program_spec(&a->shape);
    char name[DT_NAME_MAX + 32];
    int constant = -1;

    snprintf(name, sizeof name, "%s%s", a->name, a->part);
    if (dt_graph_find(g, name) >= 0) {
        free(a->data);
        return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: two layers have a %s; give one another name", a->name,
                        name);
    }
    if (out) return dt_graph_param_with(g, name, &spec, a->type, a->data, out);
    const dt_status status = a->data ? dt_graph_constant(g, name, &a->shape, &constant)
                                     : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %s", name);
    if (status != DT_OK) {
        free(a->data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    dt_graph_set_data(g, constant, a->type, a->data);
    return DT_OK;
}

/* All n of them, so that each is taken over; the first failure. out is NULL for constants. */
static dt_status add_arrays(dt_graph *g, const named_array *a, int n, int *out)
{
    dt_status first = DT_OK;

    for (int i = 0; i < n; i++) {
        if (first == DT_OK)
            first = add_array(g, &a[i], out ? &out[i] : NULL);
        else
            free(a[i].data);
    }
    return first;
}

/* A node of the layer's name and what follows it. */
static dt_status add_node(dt_graph *g, dt_op_kind kind, const char *name, const char *suffix, const void *params,
                          const int *in, int *y)
{
    char whole[DT_NAME_MAX + 32];

    snprintf(whole, sizeof whole, "%s%s", name, suffix);
    return dt_graph_add(g, kind, whole, params, in, dt_ops[kind]->max_in, y);
}

dt_status dt_program_add_table(dt_graph *g, const dt_shape *pixels, const dt_table_params *range, int16_t *table,
                               float *scale, int *codes)
{
    const named_array arrays[] = { { "image", ".table", DT_I16, { 2, { 256, pixels->dim[3] } }, table },
                                   { "image", ".scale", DT_F32, dt_vector(1), scale } };
    int in[3];

    const dt_status status = dt_graph_give(g, "image", DT_U8, pixels, &g->image);
    if (status != DT_OK) {
        free(table);
        free(scale);
        return dt_forward(status, __FILE__, __LINE__);
    }
    in[0] = g->image;
    DT_TRY(add_arrays(g, arrays, 2, in + 1));
    return dt_graph_add(g, DT_OP_TABLE, "image.codes", range, in, 3, codes);
}

int dt_program_sum_most(const int8_t *weight, const dt_shape *shape)
{
    const int64_t count = dt_count(shape) / shape->dim[0];
    int64_t most = 0;

    for (int64_t k = 0; k < shape->dim[0]; k++) {
        int64_t sum = 0;
        for (int64_t i = k * count; i < (k + 1) * count; i++) sum += weight[i] < 0 ? -weight[i] : weight[i];
        most = sum > most ? sum : most;
    }
    return (int)(most < INT32_MAX ? most : INT32_MAX);
}

static int64_t channels_of(const dt_graph *g, int x)
{
    const dt_shape *s = dt_graph_shape(g, x);

    return s->dim[s->ndim - 1];
}

/* The offsets of a ROUTE_INT, [R][C], which the caller frees; NULL without memory. */
static int64_t *route_offsets(const dt_route_int_params *p, const float *bias, int64_t channels)
{
    int64_t *offset = malloc((size_t)(p->iterations * channels) * sizeof *offset);

    for (int64_t i = 0; offset && i < p->iterations * channels; i++)
        offset[i] = dt_caps_offset(bias[i % channels], p->s_frac[i / channels], p->acc_shift[i / channels]);
    return offset;
}

static dt_status add_weighted(dt_graph *g, const dt_program_conv *c, dt_op_kind kind, const void *params, int x, int *y)
{
    const named_array arrays[] = { { c->name, ".weight", DT_I8, c->shape, c->weight },
                                   { c->name, ".weight_scale", DT_F32, dt_vector(c->n_scale), c->scale } };
    int in[2], operands[2] = { x };

    DT_TRY(add_arrays(g, arrays, 2, in));
    DT_TRY(add_node(g, DT_OP_CODES, c->name, ".codes", &c->range, in, &operands[1]));
    return add_node(g, kind, c->name, "", params, operands, y);
}

dt_status dt_program_add_conv(dt_graph *g, const dt_program_conv *c, int x, int *y)
{
    return add_weighted(g, c, DT_OP_CONV2D, &c->conv, x, y);
}

dt_status dt_program_add_votes(dt_graph *g, const dt_program_conv *c, int x, int *y)
{
    return add_weighted(g, c, DT_OP_CAPS_VOTES, NULL, x, y);
}

dt_status dt_program_add_route(dt_graph *g, const char *name, const dt_route_int_params *params, float *bias, int x,
                               int *y)
{
    const int64_t channels = channels_of(g, x);
    const named_array array = { name, ".bias", DT_F32, dt_vector(channels), bias };
    named_array offsets = { name, DT_ROUTE_INT_OFFSET, DT_I64, { 2, { params->iterations, channels } }, NULL };
    int in[2] = { x };

    if (bias) offsets.data = route_offsets(params, bias, channels);
    const dt_status status = add_array(g, &array, &in[1]);
    if (status != DT_OK) {
        free(offsets.data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    DT_TRY(add_array(g, &offsets, NULL));
    return add_node(g, DT_OP_ROUTE_INT, name, "", params, in, y);
}

dt_status dt_program_add_threshold(dt_graph *g, const dt_program_steps *s, int x, int *y)
{
    const int64_t channels = channels_of(g, x);
    const dt_threshold_params params = { s->low };
    char node[DT_NAME_MAX + 32];
    const named_array arrays[] = { { s->name, ".threshold", DT_I32, { 2, { s->levels, channels } }, s->step },
                                   { s->name, ".sign", DT_I8, dt_vector(channels), s->sign },
                                   { s->name, ".act_scale", DT_F32, dt_vector(1), s->scale } };
    const named_array line[] = { { node, DT_LINE_SLOPE, DT_F32, dt_vector(channels), s->slope },
                                 { node, DT_LINE_OFFSET, DT_F32, dt_vector(channels), s->offset } };
    int in[4] = { x };

    snprintf(node, sizeof node, "%s" DT_ACT_QUANT_SUFFIX, s->name);
    in[3] = s->shared;
    dt_status status = add_arrays(g, arrays, s->shared > 0 ? 2 : 3, in + 1);
    if (status == DT_OK) status = add_node(g, DT_OP_THRESHOLD, node, "", &params, in, y);
    if (status != DT_OK) {
        free(s->slope);
        free(s->offset);
        return dt_forward(status, __FILE__, __LINE__);
    }
    return add_arrays(g, line, 2, NULL);
}

dt_status dt_program_add_multipliers(dt_graph *g, int threshold, const dt_program_multipliers *m)
{
    const dt_shape channels = dt_vector(channels_of(g, threshold));
    const char *node = dt_graph_name(g, threshold);
    const named_array arrays[] = { { node, DT_REQUANT_BITS, DT_I32, dt_vector(1), m->bits },
                                   { node, DT_REQUANT_MULTIPLIER, DT_I32, channels, m->multiplier },
                                   { node, DT_REQUANT_OFFSET, DT_I64, channels, m->offset },
                                   { node, DT_REQUANT_SHIFT, DT_I32, channels, m->shift } };

    return add_arrays(g, arrays, 4, NULL);
}

dt_status dt_program_add_affine(dt_graph *g, const dt_program_reals *r, int x, int *y)
{
    const named_array arrays[] = { { r->name, ".slope", DT_F32, dt_vector(r->n), r->factor },
                                   { r->name, ".offset", DT_F32, dt_vector(r->n), r->offset } };
    int in[3] = { x };

    DT_TRY(add_arrays(g, arrays, 2, in + 1));
    return dt_program_add_plain(g, DT_OP_AFFINE, r->name, NULL, in, y);
}

dt_status dt_program_add_quantize(dt_graph *g, const dt_program_quantizer *q, int x, int *y)
{
    const named_array array = { q->name, ".act_alpha", DT_F32, dt_vector(1), q->alpha };
    int in[2] = { x, q->shared };

    if (q->shared == 0) DT_TRY(add_array(g, &array, &in[1]));
    return add_node(g, DT_OP_ACT_QUANT, q->name, DT_ACT_QUANT_SUFFIX, &q->params, in, y);
}

dt_status dt_program_add_scores(dt_graph *g, int x)
{
    return add_node(g, DT_OP_FLATTEN, dt_graph_name(g, x), ".flatten", NULL, &x, &g->scores);
}

dt_status dt_program_add_linear(dt_graph *g, const dt_program_reals *r, int x, int *y)
{
    const dt_linear_params params = { .in_order = 1 };
    const int64_t inputs = dt_graph_count(g, x);
    const named_array arrays[] = { { r->name, ".weight", DT_F32, { 2, { r->n, inputs } }, r->factor },
                                   { r->name, ".bias", DT_F32, dt_vector(r->n), r->offset } };
    int in[3];

    DT_TRY(add_arrays(g, arrays, 2, in + 1));
    DT_TRY(add_node(g, DT_OP_FLATTEN, r->name, ".flatten", NULL, &x, &in[0]));
    return add_node(g, DT_OP_LINEAR, r->name, "", &params, in, y);
}

static const char *const copies[] = { ".of_codes", ".of_reals" };

/* A free name for what a layer of that name becomes. */
static void find_name(const dt_graph *g, const char *name, int is_real, char *whole, size_t bytes)
{
    snprintf(whole, bytes, "%s", name);
    if (dt_graph_find(g, whole) >= 0) snprintf(whole, bytes, "%s%s", name, copies[is_real]);
    for (int i = 2; dt_graph_find(g, whole) >= 0; i++) snprintf(whole, bytes, "%s%s.%d", name, copies[is_real], i);
}

dt_status dt_program_add_plain(dt_graph *g, dt_op_kind kind, const char *name, const void *params, const int *in,
                               int *y)
{
    const int on_grid = g->value[in[0]]->facts.n_scale > 0;
    char whole[DT_NAME_MAX + 32];

    find_name(g, name, kind == DT_OP_AFFINE || !on_grid, whole, sizeof whole);
    return add_node(g, kind, whole, "", params, in, y);
}

/* Sets *flat to a map of one cell with the values of x, in the order h, w, c. */
static dt_status add_flat(dt_graph *g, int x, const char *name, int k, int *flat)
{
    const dt_shape *s = dt_graph_shape(g, x);
    const dt_transpose_params seen = { 1, 1, 4, { 0, 1, 1, dt_graph_count(g, x) } };
    char part[DT_NAME_MAX + 32];

    *flat = x;
    if (s->dim[1] * s->dim[2] == 1) return DT_OK;
    snprintf(part, sizeof part, "%.*s.flat%d", DT_NAME_MAX - 8, name, k);
    return dt_graph_add(g, DT_OP_TRANSPOSE, part, &seen, &x, 1, flat);
}

dt_status dt_program_add_concat(dt_graph *g, const char *name, int axis, const int *in, int n, int *y)
{
    const dt_concat_params params = { axis == 0 ? 3 : axis };
    char whole[DT_NAME_MAX + 32];
    int part[DT_MAX_IN];

    for (int k = 0; k < n; k++) part[k] = in[k];
    for (int k = 0; axis == 0 && k < n; k++) DT_TRY(add_flat(g, in[k], name, k, &part[k]));
    find_name(g, name, 0, whole, sizeof whole);
    return dt_graph_add(g, DT_OP_CONCAT, whole, &params, part, n, y);
}

int dt_program_concat_axis(const dt_graph *from, const dt_graph_node *concat)
{
    return dt_graph_shape(from, concat->out)->ndim == 2 ? 0 : ((const dt_concat_params *)concat->params)->axis;
}

/* Cuts the text at the last `end` that it has. */
static void cut(char *text, const char *end)
{
    char *at = NULL;

    for (char *next = strstr(text, end); next; next = strstr(next + 1, end)) at = next;
    if (at && at > text) *at = '\0';
}

const char *dt_program_layer_name(const dt_program *p, const dt_graph_node *n)
{
    static _Thread_local char name[DT_NAME_MAX + 1];

    snprintf(name, sizeof name, "%s", dt_graph_name(p->graph, n->out));
    name[dt_layer_name_bytes(name)] = '\0';
    cut(name, copies[0]);
    cut(name, copies[1]);
    return name;
}
