/*
 * build.c - convolution, batch norm, linear, pools, as the networks use them.
 *
 * Filters and linear layers start with PyTorch's default values.
 */
#include "build.h"

#include "../core/conv_params.h"

#include <math.h>
#include <stdio.h>

/* "name.part" */
typedef struct {
    char s[DT_NAME_MAX + 32];
} full_name;

static full_name name_of(const char *name, const char *part)
{
    full_name full;

    snprintf(full.s, sizeof full.s, "%.*s.%s", DT_NAME_MAX, name, part);
    return full;
}

static dt_param_spec constant_spec(int64_t n, dt_param_group group, float value)
{
    return (dt_param_spec){
        .shape = { 1, { n } }, .group = group, .init = DT_INIT_CONSTANT, .init_value = value, .floor = -INFINITY
    };
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

static int declare(dt_builder *b, const char *name, const dt_param_spec *spec)
{
    int value = -1;

    if (b->status == DT_OK) b->status = dt_graph_param(b->graph, name, spec, &value);
    return value;
}

int dt_build_node(dt_builder *b, dt_op_kind op, const char *name, const void *params, const int *in, int n_in)
{
    int value = -1;

    if (b->status == DT_OK) b->status = dt_graph_add(b->graph, op, name, params, in, n_in, &value);
    return value;
}

int dt_build_apply(dt_builder *b, dt_op_kind op, const char *name, int x)
{
    return dt_build_node(b, op, name, NULL, &x, 1);
}

dt_shape dt_build_shape(const dt_builder *b, int x)
{
    static const dt_shape ones = { 4, { 1, 1, 1, 1, 1, 1 } };

    return b->status == DT_OK ? *dt_graph_shape(b->graph, x) : ones;
}

int dt_build_param(dt_builder *b, const char *name, const dt_shape *shape, dt_start start)
{
    dt_param_spec spec = uniform_spec(*shape, start.bound);

    if (start.bound == 0.0f) spec.init = DT_INIT_CONSTANT;
    if (start.bound == 0.0f) spec.init_value = start.value;
    return declare(b, name, &spec);
}

int dt_build_conv(dt_builder *b, const char *name, int x, const dt_conv_spec *spec)
{
    const dt_conv_params params = dt_conv_square(spec->stride, spec->pad);
    const dt_shape shape = { 4, { spec->filters, spec->kernel, spec->kernel, dt_build_shape(b, x).dim[3] } };
    const float bound = spec->bound > 0.0f ? spec->bound : fan_in_bound(dt_count(&shape) / spec->filters);
    const dt_param_spec filters = uniform_spec(shape, bound);
    const int in[] = { x, declare(b, name_of(name, "weight").s, &filters) };

    return dt_build_node(b, DT_OP_CONV2D, name, &params, in, 2);
}

static int add_bias(dt_builder *b, const char *layer, const char *node, int x, dt_start start)
{
    const dt_shape x_shape = dt_build_shape(b, x), shape = { 1, { x_shape.dim[x_shape.ndim - 1] } };
    const int in[] = { x, dt_build_param(b, name_of(layer, "bias").s, &shape, start) };

    return dt_build_node(b, DT_OP_BIAS, node, NULL, in, 2);
}

int dt_build_bias(dt_builder *b, const char *name, int x, dt_start start)
{
    return add_bias(b, name, name_of(name, "biased").s, x, start);
}

int dt_build_bias_named(dt_builder *b, const char *name, int x)
{
    return add_bias(b, name, name, x, (dt_start){ 0 });
}

int dt_build_batchnorm(dt_builder *b, const char *name, int x, const dt_norm_spec *spec)
{
    static const struct {
        const char *part;
        dt_param_group group;
        float first;
        dt_param_values values;
    } parts[4] = { { "weight", DT_GROUP_WEIGHT, 1.0f, DT_VALUES_FINITE },
                   { "bias", DT_GROUP_WEIGHT, 0.0f, DT_VALUES_FINITE },
                   { "running_mean", DT_GROUP_STATE, 0.0f, DT_VALUES_FINITE },
                   { "running_var", DT_GROUP_STATE, 1.0f, DT_VALUES_NOT_NEGATIVE } };
    const dt_shape shape = dt_build_shape(b, x);
    const dt_batchnorm_params params = { .epsilon = spec ? spec->epsilon : 1e-5f,
                                         .momentum = spec ? spec->momentum : 0.1f };
    int in[5] = { x };

    for (int i = 0; i < 4; i++) {
        dt_param_spec param = constant_spec(shape.dim[shape.ndim - 1], parts[i].group, parts[i].first);
        param.values = parts[i].values;
        in[i + 1] = declare(b, name_of(name, parts[i].part).s, &param);
    }
    return dt_build_node(b, DT_OP_BATCHNORM, name, &params, in, 5);
}

static int linear(dt_builder *b, const char *name, int x, int n_out, int in_order)
{
    const int64_t n_in = dt_build_shape(b, x).dim[1];
    const dt_linear_params params = { .in_order = in_order };
    const dt_param_spec weight = uniform_spec((dt_shape){ 2, { n_out, n_in } }, fan_in_bound(n_in));
    const dt_param_spec bias = uniform_spec((dt_shape){ 1, { n_out } }, fan_in_bound(n_in));
    int in[3] = { x };

    in[1] = declare(b, name_of(name, "weight").s, &weight);
    in[2] = declare(b, name_of(name, "bias").s, &bias);
    return dt_build_node(b, DT_OP_LINEAR, name, &params, in, 3);
}

int dt_build_classifier(dt_builder *b, const char *name, int x, int n_out)
{
    return linear(b, name, x, n_out, 1);
}

int dt_build_linear(dt_builder *b, const char *name, int x, int n_out)
{
    return linear(b, name, x, n_out, 0);
}

int dt_build_pool(dt_builder *b, dt_op_kind op, const char *name, int x, int size)
{
    const dt_pool_params params = dt_pool_square(size);

    return dt_build_node(b, op, name, &params, &x, 1);
}
