/*
 * blocks.c - quantized convolution, batch norm, linear, pools, as the networks use them.
 *
 * Initial values: filters and linear layers as PyTorch's defaults; activation clip 8, weight clip 3 (in deviations),
 * the course code's. LSQ's steps are set by dt_trainer_calibrate, from the weights and the first batch; until then
 * those of activations are 1, and those of weights what PyTorch's default filters would give.
 */
#include "blocks.h"

#include "../core/conv_params.h"
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

/* of clips and learned steps, which codes are divided by */
static dt_param_spec clip_spec(int64_t n, dt_param_group group, float value)
{
    dt_param_spec spec = constant_spec(n, group, value);

    spec.values = DT_VALUES_POSITIVE;
    return spec;
}

static dt_param_spec uniform_spec(dt_shape shape, float bound)
{
    return (dt_param_spec){
        .shape = shape, .group = DT_GROUP_WEIGHT, .init = DT_INIT_UNIFORM, .init_value = bound, .floor = -INFINITY
    };
}

static float fan_in_bound(int64_t fan_in)
{
    return 1.0f / sqrtf((float)fan_in);
}

/* Rounds x by the format called name. images: as dt_fixed_point_params.images. */
static dt_status round_fixed(dt_recorder *r, const char *name, dt_tensor *x, dt_fixed_kind kind, int codes,
                             dt_tensor **y)
{
    dt_fixed_point_params params = { .codes = codes, .observe = r->formats->observe };

    if (kind != DT_FIXED_WEIGHT) params.images = r->batch;
    DT_TRY(dt_fixed_format_of(r->formats, name, r->layer, kind, &params.format));
    return dt_tape_apply(r->tape, DT_OP_FIXED_POINT, name, &params, &x, 1, y);
}

dt_status dt_block_round(dt_recorder *r, const char *name, dt_tensor *x, dt_fixed_kind kind, const dt_reader *reader,
                         dt_tensor **y)
{
    *y = x;
    if (!r->formats) return DT_OK;
    const int codes = reader && dt_fixed_exact(r->formats, r->layer, reader->layer, reader->terms);
    return round_fixed(r, name, x, kind, codes, y);
}

dt_status dt_block_param(dt_recorder *r, const char *name, const dt_shape *shape, dt_start start, dt_tensor **out)
{
    dt_param_spec spec = uniform_spec(*shape, start.bound);

    if (start.bound == 0.0f) spec.init = DT_INIT_CONSTANT;
    if (start.bound == 0.0f) spec.init_value = start.value;
    DT_TRY(dt_model_declare(r->model, name, &spec, out));
    return r->formats ? round_fixed(r, name, *out, DT_FIXED_WEIGHT, 0, out) : DT_OK;
}

dt_status dt_block_bias(dt_recorder *r, const char *name, dt_tensor *x, dt_start start, dt_tensor **y)
{
    const dt_shape shape = { 1, { x->shape.dim[x->shape.ndim - 1] } };
    char full[96];
    dt_tensor *b;

    snprintf(full, sizeof full, "%s.bias", name);
    DT_TRY(dt_block_param(r, full, &shape, start, &b));
    dt_tensor *const in[] = { x, b };
    return dt_tape_apply(r->tape, DT_OP_BIAS, full, NULL, in, 2, y);
}

dt_status dt_block_quantize_x(dt_recorder *r, const char *name, dt_tensor *x, dt_range range, dt_tensor **qx)
{
    const dt_model_config *c = &r->model->config;
    const int unit = r->model->recording.unit_pixels; /* such an image has no negative pixels */
    const int fixed = range == DT_RANGE_IMAGE && c->input_bits > 0;
    const dt_act_quant_params params = { .bits = fixed ? c->input_bits : c->abits,
                                         .is_signed = fixed ? !unit : range == DT_RANGE_SIGNED,
                                         .unclamped = range == DT_RANGE_IMAGE && !fixed && !unit,
                                         .rule = fixed ? DT_RULE_ECE284 : c->rule };
    const float clip = unit ? 1.0f : image_clip;
    const float first = fixed ? clip : c->rule == DT_RULE_LSQ ? 1.0f : 8.0f;
    const dt_param_spec spec = clip_spec(1, fixed ? DT_GROUP_STATE : DT_GROUP_ALPHA, first);
    dt_tensor *alpha;

    DT_TRY(declare(r, name, "act_alpha", &spec, &alpha));
    dt_tensor *const in[] = { x, alpha };
    return dt_tape_apply(r->tape, DT_OP_ACT_QUANT, name, &params, in, 2, qx);
}

/* mean|w| of uniform +-1/sqrt(fan in) is half the bound */
static float weight_clip(const dt_model_config *c, int64_t fan_in)
{
    if (c->rule != DT_RULE_LSQ) return 3.0f;
    return fan_in_bound(fan_in) / sqrtf((float)dt_weight_high(c->wbits));
}

dt_status dt_block_quantize_w(dt_recorder *r, const char *name, dt_tensor *w, dt_tensor **qw)
{
    const dt_model_config *c = &r->model->config;
    const dt_weight_quant_params params = { .bits = c->wbits, .rule = c->rule };
    const int64_t fan_in = dt_count(&w->shape) / w->shape.dim[0];
    const dt_param_spec spec = clip_spec(c->per_channel ? w->shape.dim[0] : 1, DT_GROUP_ALPHA, weight_clip(c, fan_in));
    dt_tensor *alpha;

    DT_TRY(declare(r, name, "weight_quant.wgt_alpha", &spec, &alpha));
    dt_tensor *const in[] = { w, alpha };
    return dt_tape_apply(r->tape, DT_OP_WEIGHT_QUANT, name, &params, in, 2, qw);
}

dt_status dt_block_conv(dt_recorder *r, const char *name, dt_tensor *x, const dt_conv_spec *spec, dt_tensor **y)
{
    const dt_conv_params params = dt_conv_square(spec->stride, spec->pad);
    const dt_shape shape = { 4, { spec->filters, spec->kernel, spec->kernel, x->shape.dim[3] } };
    const float bound = spec->bound > 0.0f ? spec->bound : fan_in_bound(dt_count(&shape) / spec->filters);
    const dt_param_spec filters = uniform_spec(shape, bound);
    char full[96];
    dt_tensor *w, *qx = x, *qw;

    snprintf(full, sizeof full, "%s.weight", name);
    DT_TRY(dt_model_declare(r->model, full, &filters, &w));
    qw = w;
    if (r->formats) {
        DT_TRY(round_fixed(r, full, w, DT_FIXED_WEIGHT, x->n_scale > 0, &qw));
    } else if (r->model->config.wbits != DT_BITS_FLOAT) {
        DT_TRY(dt_block_quantize_x(r, name, x, spec->range, &qx));
        DT_TRY(dt_block_quantize_w(r, name, w, &qw));
    }
    dt_tensor *const in[] = { qx, qw };
    return dt_tape_apply(r->tape, DT_OP_CONV2D, name, &params, in, 2, y);
}

dt_status dt_block_batchnorm(dt_recorder *r, const char *name, dt_tensor *x, const dt_norm_spec *spec, dt_tensor **y)
{
    const int64_t channels = x->shape.dim[x->shape.ndim - 1];
    const dt_batchnorm_params params = { .epsilon = spec ? spec->epsilon : 1e-5f,
                                         .momentum = spec ? spec->momentum : 0.1f,
                                         .training = r->training };
    static const struct {
        const char *part;
        dt_param_group group;
        float first;
        dt_param_values values;
    } parts[4] = { { "weight", DT_GROUP_WEIGHT, 1.0f, DT_VALUES_FINITE },
                   { "bias", DT_GROUP_WEIGHT, 0.0f, DT_VALUES_FINITE },
                   { "running_mean", DT_GROUP_STATE, 0.0f, DT_VALUES_FINITE },
                   { "running_var", DT_GROUP_STATE, 1.0f, DT_VALUES_NOT_NEGATIVE } };
    dt_tensor *in[5] = { x };

    for (int i = 0; i < 4; i++) {
        dt_param_spec param = constant_spec(channels, parts[i].group, parts[i].first);
        param.values = parts[i].values;
        DT_TRY(declare(r, name, parts[i].part, &param, &in[i + 1]));
        if (!r->formats || !r->formats->published || parts[i].group == DT_GROUP_STATE) continue;
        DT_TRY(round_fixed(r, in[i + 1]->name, in[i + 1], DT_FIXED_WEIGHT, 0, &in[i + 1]));
    }
    return dt_tape_apply(r->tape, DT_OP_BATCHNORM, name, &params, in, 5, y);
}

static dt_status linear(dt_recorder *r, const char *name, dt_tensor *x, int n_out, int in_order, dt_tensor **y)
{
    const int64_t n_in = x->shape.dim[1];
    const dt_linear_params params = { .in_order = in_order };
    const dt_param_spec weight = uniform_spec((dt_shape){ 2, { n_out, n_in } }, fan_in_bound(n_in));
    const dt_param_spec bias = uniform_spec((dt_shape){ 1, { n_out } }, fan_in_bound(n_in));
    dt_tensor *w, *b;

    DT_TRY(declare(r, name, "weight", &weight, &w));
    DT_TRY(declare(r, name, "bias", &bias, &b));
    dt_tensor *const in[] = { x, w, b };
    return dt_tape_apply(r->tape, DT_OP_LINEAR, name, &params, in, 3, y);
}

dt_status dt_block_classifier(dt_recorder *r, const char *name, dt_tensor *x, int n_out, dt_tensor **y)
{
    return linear(r, name, x, n_out, 1, y);
}

dt_status dt_block_linear(dt_recorder *r, const char *name, dt_tensor *x, int n_out, dt_tensor **y)
{
    return linear(r, name, x, n_out, 0, y);
}

dt_status dt_block_apply(dt_recorder *r, dt_op_kind op, const char *name, dt_tensor *x, dt_tensor **y)
{
    return dt_tape_apply(r->tape, op, name, NULL, &x, 1, y);
}

dt_status dt_block_pool(dt_recorder *r, dt_op_kind op, const char *name, int size, dt_tensor *x, dt_tensor **y)
{
    const dt_pool_params params = dt_pool_square(size);
    return dt_tape_apply(r->tape, op, name, &params, &x, 1, y);
}
