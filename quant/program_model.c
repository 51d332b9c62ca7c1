/*
 * program_model.c - a program on a tape: its layers recorded as operators, its arrays as parameters that are not
 * trained. So it runs on any device, under dt_evaluate and dt_capture_layer, as any model does.
 *
 *   image      PIXEL_TABLE of image.table, image.scale
 *   CONV       CODES of name.weight, name.weight_scale; then CONV2D, or PSUM where an array makes the sums
 *   THRESHOLD  THRESHOLD of name.threshold, name.sign, name.act_scale
 *   AFFINE     AFFINE of name.slope, name.offset
 *   QUANTIZE   ACT_QUANT of name.act_alpha
 *   LINEAR     FLATTEN; LINEAR of name.weight, name.bias
 *   the rest by their own names
 *
 * Nodes are called as in the model that was lowered. The model keeps the layers without their arrays: those are on the
 * device.  Tests: tests/test_program_model.c.
 */
#include "program.h"

#include "../core/conv_params.h"
#include "../core/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the model keeps: every array pointer inside is NULL. */
typedef struct {
    dt_program program;
    dt_array array;
    int on_array;
    dt_tensor **value; /* [n_layers], of the tape that is being recorded */
} network;

static void network_destroy(void *user)
{
    network *net = user;
    free(net->program.layer);
    free(net->value);
    free(net);
}

/* ---- recording ---- */

/* Where a layer is being recorded. */
typedef struct {
    dt_model *model;
    dt_tape *tape;
    const network *net;
} recorder;

static dt_status declare(dt_model *m, const char *layer, const char *part, dt_shape shape, dt_tensor **out)
{
    const dt_param_spec spec = { .shape = shape, .group = DT_GROUP_STATE, .values = DT_VALUES_ANY, .floor = -INFINITY };
    char name[96];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return dt_model_declare(m, name, &spec, out);
}

static dt_shape vector(int64_t n)
{
    return (dt_shape){ 1, { n } };
}

static dt_shape matrix(int64_t rows, int64_t columns)
{
    return (dt_shape){ 2, { rows, columns } };
}

static dt_status record_conv(const recorder *r, const dt_layer *l, dt_tensor *x, dt_tensor **y)
{
    const dt_codes_params codes = { -l->weight_bound, dt_layer_weight_high(l) };
    const dt_conv_params conv = dt_conv_square(l->stride, l->pad);
    const dt_shape shape = { 4, { l->channels, l->window_height, l->window_width, x->shape.dim[3] } };
    dt_tensor *in[2], *w;

    DT_TRY(declare(r->model, l->name, "weight", shape, &in[0]));
    DT_TRY(declare(r->model, l->name, "weight_scale", vector(l->n_weight_scale), &in[1]));
    DT_TRY(dt_tape_apply(r->tape, DT_OP_CODES, l->name, &codes, in, 2, &w));
    dt_tensor *const operands[] = { x, w };
    if (!r->net->on_array) return dt_tape_apply(r->tape, DT_OP_CONV2D, l->name, &conv, operands, 2, y);
    const dt_psum_params psum = { conv, r->net->array };
    return dt_tape_apply(r->tape, DT_OP_PSUM, l->name, &psum, operands, 2, y);
}

static dt_status record_threshold(const recorder *r, const dt_layer *l, dt_tensor *x, dt_tensor **y)
{
    const dt_threshold_params params = { l->low };
    dt_tensor *in[4] = { x };

    DT_TRY(declare(r->model, l->name, "threshold", matrix(l->high - l->low, l->channels), &in[1]));
    DT_TRY(declare(r->model, l->name, "sign", vector(l->channels), &in[2]));
    DT_TRY(declare(r->model, l->name, "act_scale", vector(1), &in[3]));
    return dt_tape_apply(r->tape, DT_OP_THRESHOLD, l->name, &params, in, 4, y);
}

static dt_status record_affine(const recorder *r, const dt_layer *l, dt_tensor *x, dt_tensor **y)
{
    dt_tensor *in[3] = { x };

    DT_TRY(declare(r->model, l->name, "slope", vector(l->channels), &in[1]));
    DT_TRY(declare(r->model, l->name, "offset", vector(l->channels), &in[2]));
    return dt_tape_apply(r->tape, DT_OP_AFFINE, l->name, NULL, in, 3, y);
}

static dt_status record_quantize(const recorder *r, const dt_layer *l, dt_tensor *x, dt_tensor **y)
{
    const dt_act_quant_params params = { .bits = l->bits, .is_signed = l->low < 0, .rule = l->rule };
    dt_tensor *in[2] = { x };

    DT_TRY(declare(r->model, l->name, "act_alpha", vector(1), &in[1]));
    return dt_tape_apply(r->tape, DT_OP_ACT_QUANT, l->name, &params, in, 2, y);
}

static dt_status record_linear(const recorder *r, const dt_layer *l, dt_tensor *x, dt_tensor **y)
{
    const dt_linear_params params = { .in_order = 1 };
    dt_tensor *in[3];

    DT_TRY(dt_tape_apply(r->tape, DT_OP_FLATTEN, "flatten", NULL, &x, 1, &in[0]));
    DT_TRY(declare(r->model, l->name, "weight", matrix(l->channels, in[0]->shape.dim[1]), &in[1]));
    DT_TRY(declare(r->model, l->name, "bias", vector(l->channels), &in[2]));
    return dt_tape_apply(r->tape, DT_OP_LINEAR, l->name, &params, in, 3, y);
}

static dt_status record_layer(const recorder *r, const dt_layer *l, dt_tensor *const in[2], dt_tensor **y)
{
    const dt_pool_params pool = { .window = { l->window_height, l->window_width }, .stride = { l->stride, l->stride } };

    switch (l->kind) {
    case DT_LAYER_CONV: return record_conv(r, l, in[0], y);
    case DT_LAYER_THRESHOLD: return record_threshold(r, l, in[0], y);
    case DT_LAYER_AFFINE: return record_affine(r, l, in[0], y);
    case DT_LAYER_RELU: return dt_tape_apply(r->tape, DT_OP_RELU, l->name, NULL, in, 1, y);
    case DT_LAYER_MAXPOOL: return dt_tape_apply(r->tape, DT_OP_MAXPOOL, l->name, &pool, in, 1, y);
    case DT_LAYER_AVGPOOL: return dt_tape_apply(r->tape, DT_OP_AVGPOOL, l->name, &pool, in, 1, y);
    case DT_LAYER_ADD: return dt_tape_apply(r->tape, DT_OP_ADD, l->name, NULL, in, 2, y);
    case DT_LAYER_QUANTIZE: return record_quantize(r, l, in[0], y);
    case DT_LAYER_LINEAR: return record_linear(r, l, in[0], y);
    case DT_LAYER_COUNT: break;
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "%s is of no known kind", l->name);
}

static dt_status record_network(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **logits)
{
    const network *net = m->recording.network;
    const recorder r = { m, tape, net };
    const int n = net->program.n_layers;
    (void)training; /* record_image has refused it */

    for (int i = 0; i < n; i++) {
        const dt_layer *l = &net->program.layer[i];
        dt_tensor *in[2];
        for (int k = 0; k < 2; k++) in[k] = l->in[k] == DT_FROM_IMAGE ? x : net->value[l->in[k]];
        DT_TRY(record_layer(&r, l, in, &net->value[i]));
    }
    *logits = net->value[n - 1];
    return DT_OK;
}

static dt_status record_image(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x)
{
    const dt_program *p = &((const network *)m->recording.network)->program;
    const dt_pixel_table_params params = { spec->batch, p->low, p->high };
    dt_tensor *in[4] = { spec->images, spec->order };

    DT_CHECK(!spec->training, DT_ERR_UNSUPPORTED,
             "%s is a program, whose integers cannot be trained; train the model that it was lowered from", p->model);
    DT_TRY(declare(m, "image", "table", matrix(256, p->channels), &in[2]));
    DT_TRY(declare(m, "image", "scale", vector(1), &in[3]));
    return dt_tape_apply(tape, DT_OP_PIXEL_TABLE, "image", &params, in, 4, x);
}

/* ---- parameters ---- */

typedef enum { FROM_F32, FROM_I8, FROM_I16, FROM_THRESHOLD } array_type;

static float value_at(const void *array, array_type type, int64_t i)
{
    switch (type) {
    case FROM_F32: break;
    case FROM_I8: return (float)((const int8_t *)array)[i];
    case FROM_I16: return (float)((const int16_t *)array)[i];
    case FROM_THRESHOLD: {
        const int32_t t = ((const int32_t *)array)[i];
        return t == INT32_MIN ? -INFINITY : t == INT32_MAX ? INFINITY : (float)t;
    }
    }
    return ((const float *)array)[i];
}

static dt_status fill(dt_model *m, const char *layer, const char *part, const void *array, array_type type)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    const int i = dt_model_find(m, name); /* record_layer declared it */
    const int64_t n = dt_count(&m->param[i]->tensor.shape);
    float *value = malloc((size_t)n * sizeof *value);

    DT_CHECK(value, DT_ERR_MEMORY, "no memory for %s", name);
    for (int64_t k = 0; k < n; k++) value[k] = value_at(array, type, k);
    const dt_status status = dt_model_write(m, i, value);
    free(value);
    return status;
}

/* Psums above 2^24 are rounded to f32 on a tape. Thresholds bisected from f32 arithmetic stand where that changes
 * nothing; a multiplier's may not. */
static dt_status check_thresholds(const dt_layer *l)
{
    for (int64_t i = 0; i < (int64_t)(l->high - l->low) * l->channels; i++) {
        const int32_t t = l->threshold[i];
        if (t == INT32_MIN || t == INT32_MAX) continue;
        DT_CHECK((float)(t - 1) < (float)t, DT_ERR_NUMERIC,
                 "%s: threshold %d of channel %lld parts two psums that f32 holds as one; run the program without "
                 "multipliers",
                 l->name, t, (long long)(i % l->channels));
    }
    return DT_OK;
}

static dt_status fill_layer(dt_model *m, const dt_layer *l)
{
    switch (l->kind) {
    case DT_LAYER_CONV:
        DT_TRY(fill(m, l->name, "weight", l->weight, FROM_I8));
        return fill(m, l->name, "weight_scale", l->weight_scale, FROM_F32);
    case DT_LAYER_THRESHOLD:
        DT_TRY(check_thresholds(l));
        DT_TRY(fill(m, l->name, "threshold", l->threshold, FROM_THRESHOLD));
        DT_TRY(fill(m, l->name, "sign", l->sign, FROM_I8));
        return fill(m, l->name, "act_scale", &l->scale, FROM_F32);
    case DT_LAYER_AFFINE:
        DT_TRY(fill(m, l->name, "slope", l->slope, FROM_F32));
        return fill(m, l->name, "offset", l->offset, FROM_F32);
    case DT_LAYER_QUANTIZE: return fill(m, l->name, "act_alpha", &l->alpha, FROM_F32);
    case DT_LAYER_LINEAR:
        DT_TRY(fill(m, l->name, "weight", l->matrix, FROM_F32));
        return fill(m, l->name, "bias", l->bias, FROM_F32);
    default: return DT_OK;
    }
}

static dt_status fill_all(dt_model *m, const dt_program *p)
{
    DT_TRY(fill(m, "image", "table", p->table, FROM_I16));
    DT_TRY(fill(m, "image", "scale", &p->scale, FROM_F32));
    for (int i = 0; i < p->n_layers; i++) DT_TRY(fill_layer(m, &p->layer[i]));
    return DT_OK;
}

/* ---- the model ---- */

static void forget_arrays(dt_layer *l)
{
    l->weight = l->sign = NULL;
    l->threshold = NULL;
    l->weight_scale = l->slope = l->offset = l->matrix = l->bias = NULL;
    memset(&l->requant, 0, sizeof l->requant);
}

static dt_status network_create(const dt_program *p, const dt_array *array, network **out)
{
    const size_t n = (size_t)p->n_layers;
    network *net = calloc(1, sizeof *net);

    DT_CHECK(net, DT_ERR_MEMORY, "no memory for the model of a program");
    net->program = *p;
    net->program.table = NULL;
    net->program.layer = malloc(n * sizeof *net->program.layer);
    net->value = calloc(n, sizeof *net->value);
    if (!net->program.layer || !net->value) {
        network_destroy(net);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the %zu layers of a program", n);
    }
    memcpy(net->program.layer, p->layer, n * sizeof *p->layer);
    for (size_t i = 0; i < n; i++) forget_arrays(&net->program.layer[i]);
    net->on_array = array != NULL;
    if (array) net->array = *array;
    *out = net;
    return DT_OK;
}

dt_status dt_program_model(dt_context *ctx, const dt_program *p, const dt_array *array, dt_model **out)
{
    network *net = NULL;
    dt_model *m;

    DT_TRY(dt_program_check(p));
    if (array) DT_TRY(dt_array_check(array));
    DT_TRY(network_create(p, array, &net));
    const dt_recording recording = {
        .record = record_network, .record_image = record_image, .network = net, .network_destroy = network_destroy
    };
    const dt_model_config config = { .name = net->program.model,
                                     .height = p->height,
                                     .width = p->width,
                                     .channels = p->channels,
                                     .n_classes = p->layer[p->n_layers - 1].channels };
    DT_TRY(dt_model_open(ctx, &config, &recording, &m));
    m->origin = p->origin;
    const dt_status status = fill_all(m, p);
    if (status != DT_OK) {
        dt_model_destroy(m);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = m;
    return DT_OK;
}
