/*
 * imply.c - see imply.h.
 *
 *   CONV2D     LAYER.weight of sizes.filters, sizes.window
 *   LINEAR     LAYER.weight, LAYER.bias of sizes.features
 *   BATCHNORM  LAYER.weight, .bias, .running_mean, .running_var
 *   BIAS       LAYER.bias
 *
 * Tests: tests/formats/test_network_file.c, tests/formats/test_network_file_model.c.
 */
#include "imply.h"

#include "build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Inputs of the node: what the file names, then the parameters. */
typedef struct {
    dt_builder b;
    const char *name;
    int in[DT_MAX_IN], n_in;
} implied;

static void add_uniform(implied *i, const char *part, dt_shape shape, int64_t fan_in)
{
    char full[DT_NAME_MAX + 32];

    snprintf(full, sizeof full, "%s.%s", i->name, part);
    i->in[i->n_in++] = dt_build_param(&i->b, full, &shape, (dt_start){ .bound = 1.0f / sqrtf((float)fan_in) });
}

static dt_status imply_conv(implied *i, const dt_conv_params *p, const dt_implied_sizes *s)
{
    const dt_shape *x = dt_graph_shape(i->b.graph, i->in[0]);

    DT_CHECK(s->filters >= 1 && s->window[0] >= 1 && s->window[1] >= 1, DT_ERR_FORMAT,
             "%s: conv needs \"filters\" and \"window\", say { \"filters\": 16, \"window\": 3 }", i->name);
    DT_CHECK(x->ndim == 4, DT_ERR_SHAPE, "%s: conv reads a map of N,H,W,C, and %s has %d axes", i->name,
             dt_graph_name(i->b.graph, i->in[0]), x->ndim);
    const int64_t channels = x->dim[3] / p->groups, fan_in = s->window[0] * s->window[1] * channels;
    add_uniform(i, "weight", (dt_shape){ 4, { s->filters, s->window[0], s->window[1], channels } }, fan_in);
    return DT_OK;
}

static dt_status imply_linear(implied *i, const dt_implied_sizes *s)
{
    const dt_shape *x = dt_graph_shape(i->b.graph, i->in[0]);

    DT_CHECK(s->features >= 1, DT_ERR_FORMAT, "%s: linear needs \"features\", say { \"features\": 10 }", i->name);
    DT_CHECK(x->ndim == 2, DT_ERR_SHAPE, "%s: linear reads N,features, and %s has %d axes; flatten it before", i->name,
             dt_graph_name(i->b.graph, i->in[0]), x->ndim);
    add_uniform(i, "weight", (dt_shape){ 2, { s->features, x->dim[1] } }, x->dim[1]);
    add_uniform(i, "bias", (dt_shape){ 1, { s->features } }, x->dim[1]);
    return DT_OK;
}

static dt_status add_node(implied *i, dt_op_kind kind, const void *params, const dt_implied_sizes *sizes, int *out)
{
    switch (kind) {
    case DT_OP_CONV2D: DT_TRY(imply_conv(i, params, sizes)); break;
    case DT_OP_LINEAR: DT_TRY(imply_linear(i, sizes)); break;
    case DT_OP_BIAS: *out = dt_build_bias_named(&i->b, i->name, i->in[0]); return i->b.status;
    case DT_OP_BATCHNORM: {
        const dt_batchnorm_params *p = params;
        const dt_norm_spec spec = { p->epsilon, p->momentum };
        *out = dt_build_batchnorm(&i->b, i->name, i->in[0], &spec);
        return i->b.status;
    }
    default: break;
    }
    *out = dt_build_node(&i->b, kind, i->name, params, i->in, i->n_in);
    return i->b.status;
}

dt_status dt_graph_add_implied(dt_graph *g, dt_op_kind kind, const char *name, const void *params, const int *in,
                               int n_in, const dt_implied_sizes *sizes, int *out)
{
    implied i = { .b = { .graph = g }, .name = name, .n_in = n_in };

    DT_CHECK(n_in == 1 || n_in >= dt_ops[kind]->min_in, DT_ERR_FORMAT,
             "%s: %s of %d inputs; name what it reads alone, or all %d with its parameters", name, dt_ops[kind]->name,
             n_in, dt_ops[kind]->min_in);
    memcpy(i.in, in, (size_t)n_in * sizeof *in);
    if (n_in >= dt_ops[kind]->min_in) return dt_graph_add(g, kind, name, params, in, n_in, out);
    return add_node(&i, kind, params, sizes, out);
}
