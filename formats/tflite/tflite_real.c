/*
 * tflite_real.c - see tflite_real.h.
 */
#include "tflite_real.h"

#include "../../quant/insert_dynamic.h"

#include <stdlib.h>

enum { W = 1 }; /* input of a layer */

/* ---- constants ---- */

dt_status dt_tflite_find_reals(const dt_tflite_export *e, const dt_graph_node *n, int value, const float **out)
{
    const dt_graph_value *v = e->g->value[value];

    DT_TFLITE_EXPECT(v->data && v->data_type == DT_F32, e, n,
                     "reads %s, which has no f32 data; take a snapshot of the trained model", v->name);
    *out = v->data;
    return DT_OK;
}

dt_status dt_tflite_add_reals(dt_tflite_export *e, const char *name, const char *part, const float *data, int64_t n,
                              int *out)
{
    const dt_tflite_new_tensor t = {
        .name = name, .part = part, .type = DT_TFLITE_FLOAT32, .n_dims = 1, .dim = { (int)n }, .data = data
    };

    DT_TRY(dt_tflite_add_tensor(e, &t, out));
    return DT_OK;
}

dt_status dt_tflite_add_real_bias(dt_tflite_export *e, const dt_tflite_real_op *o, int param, int64_t filters, int *out)
{
    const float *data = NULL;
    float *zeros = NULL;

    if (param >= 0)
        DT_TRY(dt_tflite_find_reals(e, o->node, param, &data));
    else
        zeros = calloc((size_t)filters, sizeof *zeros);
    DT_CHECK(data || zeros, DT_ERR_MEMORY, "no memory for the bias of %s", o->name);
    const dt_status s = dt_tflite_add_reals(e, o->name, ".bias", data ? data : zeros, filters, out);
    free(zeros);
    DT_TRY(s);
    return DT_OK;
}

/* ---- weights ---- */

/* Codes as int8, of data that are int8 or, in a model's snapshot, f32. NULL: there is no memory. */
static int8_t *codes_of(const dt_graph_value *v)
{
    const int64_t n = dt_count(&v->facts.shape);
    int8_t *to = malloc((size_t)n + 1);

    for (int64_t i = 0; to && i < n; i++)
        to[i] = v->data_type == DT_I8 ? ((const int8_t *)v->data)[i] : (int8_t)((const float *)v->data)[i];
    return to;
}

/* One scale for each of `wanted`. NULL: there is no memory. */
static float *spread_scales(const float *scale, int64_t n, int64_t wanted)
{
    float *to = malloc((size_t)wanted * sizeof *to);

    for (int64_t k = 0; to && k < wanted; k++) to[k] = scale[n == 1 ? 0 : k];
    return to;
}

/* Weights as the file has them; what is not NULL is freed. */
typedef struct {
    int8_t *code;
    float *scale;
    void *turned;
} weight_room;

/* Sets type, data and scales of codes, and of t the dimensions are set. */
static dt_status set_codes(const dt_tflite_export *e, const dt_tflite_real_op *o, const dt_graph_node *codes,
                           dt_tflite_new_tensor *t, weight_room *room)
{
    const dt_graph_value *w = e->g->value[codes->in[0]];
    const int64_t n_scale = dt_count(dt_graph_shape(e->g, codes->in[1]));
    const int64_t filters = dt_graph_shape(e->g, codes->in[0])->dim[0];
    const float *scale = NULL;

    DT_TFLITE_EXPECT(w->data, e, o->node, "reads %s, which has no data; take a snapshot of the trained model", w->name);
    DT_TRY(dt_tflite_find_reals(e, o->node, codes->in[1], &scale));
    t->n_scales = (int)(o->node->kind == DT_OP_LINEAR ? n_scale : filters);
    room->code = codes_of(w);
    room->scale = spread_scales(scale, n_scale, t->n_scales);
    DT_CHECK(room->code && room->scale, DT_ERR_MEMORY, "no memory for the weights of %s", o->name);
    t->type = DT_TFLITE_INT8;
    t->scale = room->scale;
    t->data = room->code;
    return DT_OK;
}

/* Fills t, whose shape is that of the filters, with the weights of a layer. */
static dt_status set_weights(const dt_tflite_export *e, const dt_tflite_real_op *o, dt_tflite_new_tensor *t,
                             weight_room *room)
{
    const dt_graph_node *codes = dt_dynamic_codes_of(e->g, o->node);
    const dt_shape *s = dt_graph_shape(e->g, o->node->in[W]);
    const float *real = NULL;

    for (int k = 0; k < s->ndim; k++) t->dim[k] = (int)s->dim[k];
    if (codes) {
        DT_TRY(set_codes(e, o, codes, t, room));
    } else {
        DT_TRY(dt_tflite_find_reals(e, o->node, o->node->in[W], &real));
        t->data = real;
    }
    if (o->node->kind == DT_OP_LINEAR || !dt_tflite_is_depthwise(o->node, s)) return DT_OK;
    room->turned = dt_tflite_taps_first(t->data, s->dim[0], s->dim[1] * s->dim[2], dt_tflite_type_bytes(t->type));
    DT_CHECK(room->turned, DT_ERR_MEMORY, "no memory for the weights of %s", o->name);
    t->data = room->turned;
    t->axis = 3;
    t->dim[0] = 1;
    t->dim[3] = (int)s->dim[0];
    return DT_OK;
}

dt_status dt_tflite_add_real_weights(dt_tflite_export *e, const dt_tflite_real_op *o, int *out)
{
    dt_tflite_new_tensor t = {
        .name = o->name, .part = ".weight", .type = DT_TFLITE_FLOAT32, .n_dims = o->node->kind == DT_OP_LINEAR ? 2 : 4
    };
    weight_room room = { 0 };

    dt_status s = set_weights(e, o, &t, &room);
    if (s == DT_OK) s = dt_tflite_add_tensor(e, &t, out);
    free(room.code);
    free(room.scale);
    free(room.turned);
    DT_TRY(s);
    return DT_OK;
}
