/*
 * caps_network.h - for tests: a small network with everything that capsule networks have, quantized and routed by
 *                  integers, with parameters that leave no capsule dead, and its program.
 *
 *   conv1      3x3, stride 3, 6 filters, bias, ReLU, batch norm                10x10x6
 *   one        3x3, stride 2, 3 types of 4-dimensional capsules, x1            5x5x12
 *   two + skip capsules of x1, and votes of its types by shared filters, routed over the whole map
 *   digit      the capsules of x1 and of the sum, 150, vote for 10 classes of 5 values
 */
#ifndef CAPS_NETWORK_H
#define CAPS_NETWORK_H

#include "../../models/capsules.h"
#include "../../quant/insert.h"
#include "lowered.h"

enum { CAPS_SIDE = 32, CAPS_TYPES = 3, CAPS_DIM = 4, CAPS_CLASS_DIM = 5, CAPS_CLASSES = 10 };

static inline int caps_of(dt_builder *b, const char *name, int x, int stride)
{
    const dt_conv_spec spec = {
        .filters = CAPS_TYPES * CAPS_DIM, .kernel = 3, .stride = stride, .pad = 1, .bound = 0.7f
    };
    const dt_caps_params caps = { CAPS_DIM };
    char full[64];

    x = dt_build_bias(b, name, dt_build_conv(b, name, x, &spec), (dt_start){ .bound = 0.2f });
    snprintf(full, sizeof full, "%s.squash", name);
    return dt_build_node(b, DT_OP_SQUASH, full, &caps, &x, 1);
}

static inline int caps_skip(dt_builder *b, int x)
{
    const dt_transpose_params split = { .rows = 25, .columns = CAPS_TYPES, .ndim = 4, .dim = { 0, 5, 5, CAPS_DIM } };
    const dt_conv_spec spec = { .filters = CAPS_TYPES * CAPS_DIM, .kernel = 3, .stride = 1, .pad = 1, .bound = 1.0f };
    const dt_caps_routing how = {
        .inputs = CAPS_TYPES, .dim = CAPS_DIM, .joint = 1, .iterations = 3, .bias = { .value = 0.1f }
    };

    x = dt_build_node(b, DT_OP_TRANSPOSE, "skip.split", &split, &x, 1);
    x = dt_build_bias(b, "skip.conv", dt_build_conv(b, "skip.conv", x, &spec), (dt_start){ .bound = 0.2f });
    return dt_caps_route(b, "skip", x, &how);
}

static inline void caps_classes(dt_builder *b, int x)
{
    const dt_shape shape = { 3, { 150, CAPS_DIM, CAPS_CLASSES * CAPS_CLASS_DIM } };
    const dt_caps_routing how = { .inputs = 150, .dim = CAPS_CLASS_DIM, .iterations = 3, .bias = { .value = 0.1f } };
    const dt_caps_params caps = { CAPS_CLASS_DIM };
    dt_graph *g = b->graph;
    const int in[] = { x, dt_build_param(b, "digit.weight", &shape, (dt_start){ .bound = 1.0f }) };

    g->unit_pixels = 1;
    g->loss = DT_LOSS_MARGIN;
    g->capsules = dt_caps_route(b, "digit", dt_build_node(b, DT_OP_CAPS_VOTES, "digit.dot", NULL, in, 2), &how);
    g->scores = dt_build_node(b, DT_OP_CAPS_LENGTH, "lengths", &caps, &g->capsules, 1);
}

static inline void caps_build(dt_builder *b)
{
    const dt_conv_spec first = { .filters = 6, .kernel = 3, .stride = 3, .bound = 1.0f };
    const dt_concat_params lists = { .axis = 1 };
    int x = dt_build_bias(b, "conv1", dt_build_conv(b, "conv1", b->graph->image, &first), (dt_start){ .bound = 0.2f });

    x = dt_build_batchnorm(b, "norm1", dt_build_apply(b, DT_OP_RELU, "relu1", x), NULL);
    const int x1 = caps_of(b, "one", x, 2);
    const int both[] = { caps_of(b, "two", x1, 1), caps_skip(b, x1) };
    const int sum = dt_build_node(b, DT_OP_ADD, "sum", NULL, both, 2);
    const int list[] = { dt_caps_list(b, "sum.list", sum, CAPS_DIM), dt_caps_list(b, "one.list", sum, CAPS_DIM) };
    caps_classes(b, dt_build_node(b, DT_OP_CONCAT, "capsules", &lists, list, 2));
}

/* Steps of the quantizers for a network of such weights; batch norms of either sign. */
static inline void caps_fill(dt_model *m, int routing_bits)
{
    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_param_info p;
        dt_model_param(m, i, &p);
        float *v = host_param(m, i, NULL);
        for (int64_t k = 0; k < p.count; k++) {
            const float u = lowered_uniform(77 + (uint64_t)i, (uint64_t)k, 0.0f, 1.0f);
            if (lowered_ends_with(p.name, ".votes.act_alpha"))
                v[k] = ldexpf(4.0f, -(routing_bits < 8 ? routing_bits : 8));
            else if (lowered_ends_with(p.name, ".act_alpha") && p.group == DT_GROUP_ALPHA)
                v[k] = strncmp(p.name, "one", 3) == 0 ? 0.3f : 0.04f;
            else if (lowered_ends_with(p.name, "wgt_alpha"))
                v[k] = 0.12f;
            else if (strncmp(p.name, "norm1.", 6) == 0)
                v[k] = lowered_ends_with(p.name, "running_var") ? 0.5f + u : (k % 3 == 1 ? -1.0f : 1.0f) * (0.3f + u);
        }
        MUST(dt_model_write(m, i, v));
        free(v);
    }
}

/* c: of the image, for lowered_images. */
static inline dt_model_config caps_config(void)
{
    dt_model_config c;

    MUST(dt_model_config_default("tiny", &c));
    c.height = c.width = CAPS_SIDE;
    c.channels = 3;
    c.n_classes = CAPS_CLASSES;
    return c;
}

static inline dt_graph *caps_graph(dt_context *ctx, int bits, int routing_bits)
{
    const dt_quant_choice choice = { .wbits = bits, .abits = bits, .input_bits = 8, .rule = DT_RULE_LSQ };
    const dt_model_config c = caps_config();
    dt_model *plain = lowered_built(ctx, &c, caps_build);
    dt_graph *quantized, *routed;

    MUST(dt_quant_insert(plain->graph, &choice, &quantized));
    MUST(dt_route_insert(quantized, routing_bits, &routed));
    dt_graph_destroy(quantized);
    dt_model_destroy(plain);
    return routed;
}

/* The network with its program; lowered_close closes it. */
static inline lowered caps_lowered(const char *backend, int routing_bits, int64_t images)
{
    const dt_model_config c = caps_config();
    lowered r = { .ctx = lowered_context(backend) };

    if (!r.ctx) return r;
    r.data = lowered_images(&c, images);
    MUST(dt_model_open(r.ctx, caps_graph(r.ctx, 4, routing_bits), &r.model));
    caps_fill(r.model, routing_bits);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    return r;
}

#endif /* CAPS_NETWORK_H */
