/*
 * blocks.c - quantized convolution, batch norm, linear, pools, as the networks use them.
 *
 * Initial values: filters and linear layers as PyTorch's defaults; activation clip 8, weight clip 3 (in deviations),
 * the course code's. LSQ's steps start at 2 mean|w| / sqrt(Qp); those of activations are set from the first batch by
 * dt_trainer_calibrate, and 1 until then.
 */
#include "blocks.h"

#include "../quant/grid.h"

#include <math.h>
#include <stdio.h>

/* A clip or a step never reaches 0: the optimiser keeps it above this. */
static const float alpha_floor = 1e-4f;

/* Normalised pixels of every known dataset lie within +-3.2: black Fashion-MNIST is -0.81, white CIFAR-10 2.13. */
static const float image_clip = 3.2f;

/* "name.part" as a parameter; shape has `ndim` dimensions */
static dt_status declare(dt_recorder *r, const char *name, const char *part, const dt_param_spec *spec, dt_tensor **out)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", name, part);
    return dt_model_declare(r->model, full, spec, out);
}

static dt_param_spec constant_spec(int64_t n, dt_param_group group, float value)
{
    return (dt_param_spec){ .shape = { 1, { n } },
                            .group = group,
                            .init = DT_INIT_CONSTANT,
                            .init_value = value,
                            .floor = group == DT_GROUP_ALPHA ? alpha_floor : -INFINITY };
}

static dt_param_spec fan_in_spec(dt_shape shape, int64_t fan_in)
{
    return (dt_param_spec){ .shape = shape,
                            .group = DT_GROUP_WEIGHT,
                            .init = DT_INIT_FAN_IN,
                            .init_value = (float)fan_in,
                            .floor = -INFINITY };
}

static dt_status quantize_x(dt_recorder *r, const char *name, dt_tensor *x, int is_image, dt_tensor **qx)
{
    const dt_model_config *c = &r->model->config;
    const int fixed = is_image && c->input_bits > 0;
    const dt_act_quant_params params = { .bits = fixed ? c->input_bits : c->abits,
                                         .is_signed = fixed,
                                         .unclamped = is_image && !fixed,
                                         .rule = fixed ? DT_RULE_ECE284 : c->rule };
    const float first = fixed ? image_clip : c->rule == DT_RULE_LSQ ? 1.0f : 8.0f;
    const dt_param_spec spec = constant_spec(1, fixed ? DT_GROUP_STATE : DT_GROUP_ALPHA, first);
    dt_tensor *alpha;

    DT_TRY(declare(r, name, "act_alpha", &spec, &alpha));
    dt_tensor *const in[] = { x, alpha };
    return dt_tape_apply(r->tape, DT_OP_ACT_QUANT, name, &params, in, 2, qx);
}

/* mean|w| of uniform +-1/sqrt(fan in) is half the bound */
static float weight_clip(const dt_model_config *c, int64_t fan_in)
{
    if (c->rule != DT_RULE_LSQ) return 3.0f;
    return 1.0f / sqrtf((float)fan_in) / sqrtf((float)dt_weight_high(c->wbits));
}

static dt_status quantize_w(dt_recorder *r, const char *name, dt_tensor *w, dt_tensor **qw)
{
    const dt_model_config *c = &r->model->config;
    const dt_weight_quant_params params = { .bits = c->wbits, .rule = c->rule };
    const int64_t fan_in = dt_count(&w->shape) / w->shape.dim[0];
    const dt_param_spec spec =
        constant_spec(c->per_channel ? w->shape.dim[0] : 1, DT_GROUP_ALPHA, weight_clip(c, fan_in));
    dt_tensor *alpha;

    DT_TRY(declare(r, name, "weight_quant.wgt_alpha", &spec, &alpha));
    dt_tensor *const in[] = { w, alpha };
    return dt_tape_apply(r->tape, DT_OP_WEIGHT_QUANT, name, &params, in, 2, qw);
}

dt_status dt_block_conv(dt_recorder *r, const char *name, dt_tensor *x, const dt_conv_spec *spec, dt_tensor **y)
{
    const dt_model_config *c = &r->model->config;
    const int64_t channels = x->shape.dim[3];
    const dt_conv_params params = { .stride = spec->stride, .pad = spec->pad };
    const dt_param_spec filters = fan_in_spec((dt_shape){ 4, { spec->filters, spec->kernel, spec->kernel, channels } },
                                              channels * spec->kernel * spec->kernel);
    dt_tensor *w, *qx = x, *qw;

    DT_TRY(declare(r, name, "weight", &filters, &w));
    qw = w;
    if (c->wbits != DT_BITS_FLOAT) {
        DT_TRY(quantize_x(r, name, x, spec->is_image, &qx));
        DT_TRY(quantize_w(r, name, w, &qw));
    }
    dt_tensor *const in[] = { qx, qw };
    return dt_tape_apply(r->tape, DT_OP_CONV2D, name, &params, in, 2, y);
}

dt_status dt_block_batchnorm(dt_recorder *r, const char *name, dt_tensor *x, dt_tensor **y)
{
    const int64_t channels = x->shape.dim[x->shape.ndim - 1];
    const dt_batchnorm_params params = { .epsilon = 1e-5f, .momentum = 0.1f, .training = r->training };
    static const struct {
        const char *part;
        dt_param_group group;
        float first;
    } parts[4] = { { "weight", DT_GROUP_WEIGHT, 1.0f },
                   { "bias", DT_GROUP_WEIGHT, 0.0f },
                   { "running_mean", DT_GROUP_STATE, 0.0f },
                   { "running_var", DT_GROUP_STATE, 1.0f } };
    dt_tensor *in[5] = { x };

    for (int i = 0; i < 4; i++) {
        const dt_param_spec spec = constant_spec(channels, parts[i].group, parts[i].first);
        DT_TRY(declare(r, name, parts[i].part, &spec, &in[i + 1]));
    }
    return dt_tape_apply(r->tape, DT_OP_BATCHNORM, name, &params, in, 5, y);
}

dt_status dt_block_linear(dt_recorder *r, const char *name, dt_tensor *x, int n_out, dt_tensor **y)
{
    const int64_t n_in = x->shape.dim[1];
    const dt_linear_params params = { .in_order = 1 }; /* as a program's: equal scores, bit for bit */
    const dt_param_spec weight = fan_in_spec((dt_shape){ 2, { n_out, n_in } }, n_in);
    const dt_param_spec bias = fan_in_spec((dt_shape){ 1, { n_out } }, n_in);
    dt_tensor *w, *b;

    DT_TRY(declare(r, name, "weight", &weight, &w));
    DT_TRY(declare(r, name, "bias", &bias, &b));
    dt_tensor *const in[] = { x, w, b };
    return dt_tape_apply(r->tape, DT_OP_LINEAR, name, &params, in, 3, y);
}

dt_status dt_block_apply(dt_recorder *r, dt_op_kind op, const char *name, dt_tensor *x, dt_tensor **y)
{
    return dt_tape_apply(r->tape, op, name, NULL, &x, 1, y);
}

dt_status dt_block_pool(dt_recorder *r, dt_op_kind op, const char *name, int size, dt_tensor *x, dt_tensor **y)
{
    const dt_pool_params params = { .kernel = size, .stride = size };
    return dt_tape_apply(r->tape, op, name, &params, &x, 1, y);
}
