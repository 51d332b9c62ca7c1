/*
 * capsules.c - routing and class capsules, as the capsule networks use them.
 *
 * Sources: Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", 2017; Marchisio et al., "Q-CapsNets", DAC 2020,
 * and the code published with it, whose initial values and training settings these are.
 * Tests: tests/models/test_capsnets.c.
 */
#include "capsules.h"

#include "networks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int dt_caps_route(dt_builder *b, const char *name, int votes, const dt_caps_routing *how)
{
    const dt_shape shape = dt_build_shape(b, votes);
    const dt_shape bias_shape = { 2, { shape.dim[shape.ndim - 1] / how->dim, how->dim } };
    const dt_caps_route_params params = {
        .iterations = how->iterations, .inputs = how->inputs, .dim = how->dim, .joint = how->joint
    };
    char bias[DT_NAME_MAX];

    snprintf(bias, sizeof bias, "%s.bias", name);
    const int in[] = { votes, dt_build_param(b, bias, &bias_shape, how->bias) };
    return dt_build_node(b, DT_OP_CAPS_ROUTE, name, &params, in, 2);
}

int dt_caps_list(dt_builder *b, const char *name, int x, int dim)
{
    const dt_shape shape = dt_build_shape(b, x);
    const int64_t *d = shape.dim;
    const dt_transpose_params params = {
        .rows = d[1] * d[2], .columns = d[3] / dim, .ndim = 3, .dim = { 0, d[1] * d[2] * d[3] / dim, dim }
    };
    return dt_build_node(b, DT_OP_TRANSPOSE, name, &params, &x, 1);
}

static int class_capsules(dt_builder *b, const char *name, int x)
{
    const dt_model_config *c = b->config;
    const dt_shape x_shape = dt_build_shape(b, x);
    const int64_t inputs = x_shape.dim[1], in_dim = x_shape.dim[2],
                  channels = (int64_t)c->n_classes * c->option[DT_CAPS_DIM];
    const dt_shape shape = { 3, { inputs, in_dim, channels } };
    const dt_start start = { .bound = sqrtf(6.0f / (float)(in_dim * channels)) }; /* PyTorch's kaiming of that shape */
    const dt_caps_routing how = { .inputs = (int)inputs,
                                  .dim = c->option[DT_CAPS_DIM],
                                  .iterations = c->option[DT_CAPS_ROUTING],
                                  .bias = { .value = 0.1f } };
    char full[DT_NAME_MAX];

    snprintf(full, sizeof full, "%s.weight", name);
    const int in[] = { x, dt_build_param(b, full, &shape, start) };
    snprintf(full, sizeof full, "%s.dot", name);
    return dt_caps_route(b, name, dt_build_node(b, DT_OP_CAPS_VOTES, full, NULL, in, 2), &how);
}

/* The image of the label's capsule. */
static void reconstruct(dt_builder *b)
{
    const dt_caps_params caps = { .dim = b->config->option[DT_CAPS_DIM] };
    const dt_shape one = { 1, { 1 } };
    dt_graph *g = b->graph;

    if (b->status == DT_OK) b->status = dt_graph_give(g, "labels", DT_I32, &one, &g->labels);
    const int in[] = { g->capsules, g->labels };
    g->masked = dt_build_node(b, DT_OP_CAPS_MASK, "decoder.mask", &caps, in, 2);
    g->reconstruction = dt_decoder_build(b, g->masked);
}

void dt_caps_classes(dt_builder *b, const char *name, int x)
{
    const dt_caps_params caps = { .dim = b->config->option[DT_CAPS_DIM] };
    dt_graph *g = b->graph;

    g->unit_pixels = 1;
    g->loss = DT_LOSS_MARGIN;
    g->capsules = class_capsules(b, name, x);
    g->scores = dt_build_node(b, DT_OP_CAPS_LENGTH, "lengths", &caps, &g->capsules, 1);
    if (b->config->option[DT_CAPS_DECODER] != DT_DECODER_NONE) reconstruct(b);
}

dt_status dt_caps_check(const dt_model_config *c)
{
    DT_TRY(dt_network_check_common(c));
    DT_CHECK(c->wbits == DT_BITS_FLOAT || c->rule == DT_RULE_LSQ, DT_ERR_ARGUMENT,
             "quant-rule is %s; capsule networks train with lsq: the other rules divide the weights by their "
             "deviation, which only a batch norm after the convolution makes up for",
             dt_quant_rule_names[c->rule]);
    DT_CHECK(!c->per_channel, DT_ERR_ARGUMENT, "%s has one clip a layer, and per_channel is %d", c->name,
             c->per_channel);
    return dt_decoder_check(c);
}

void dt_caps_defaults(dt_model_config *out)
{
    out->height = out->width = 28;
    out->channels = 1;
    out->n_classes = 10;
    out->wbits = out->abits = DT_BITS_FLOAT;
    out->input_bits = 8;
    out->rule = DT_RULE_LSQ;
}

void dt_caps_train_defaults(dt_train_config *c)
{
    c->batch = 100;
    c->optim = DT_OPTIM_ADAM;
    c->lr = 1e-3f;
    c->weight_decay = 0.0f;
    c->schedule = DT_SCHEDULE_DECAY;
    c->label_smoothing = 0.0f;
    c->crop_pad = 0;
    c->shift = 2;
    c->flip_share = 0.0f;
    c->regularization_scale = 0.0005f;
}

/* Augmentation as in the Q-CapsNets code, whose shifts are 2 of 28 pixels and 5 of 64. */
void dt_caps_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train)
{
    static const struct {
        const char *name;
        int side, channels, shift; /* of images as they are in the files */
        float rotation, flip_share;
    } table[] = { { "mnist", 28, 1, 2, 0.0f, 0.0f },
                  { "fashion-mnist", 28, 1, 2, 0.0f, 0.2f },
                  { "cifar10", 32, 3, 2, 2.0f, 0.5f },
                  { "svhn", 32, 3, 0, 0.0f, 0.0f } };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, dataset) != 0) continue;
        const int enlarged = strcmp(model->name, "deepcaps") == 0 && table[i].side == 32; /* it takes 28 or 64 */
        model->height = model->width = enlarged ? 64 : table[i].side;
        model->channels = table[i].channels;
        dt_decoder_for_input(model);
        train->shift = enlarged && table[i].shift > 0 ? 5 : table[i].shift;
        train->rotation = table[i].rotation;
        train->flip_share = table[i].flip_share;
    }
}
