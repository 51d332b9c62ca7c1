/*
 * shallowcaps.c - the three-layer capsule network.
 *
 *   conv      9x9, 256 filters, bias, ReLU                                 28x28 -> 20x20x256
 *   primary   9x9, stride 2, 32 types of 8-dimensional capsules: votes of one type for 32, routed once, so that
 *             v = squash(votes / 32 + bias); with paper-primary squash(conv + bias)    -> 6x6 x 32 x 8
 *   digit     1152 capsules vote for the classes, routed by agreement      -> classes x caps-dim
 *
 * Other image sizes have as many primary capsules as fit: 32 ((h - 8 - 9) / 2 + 1) ((w - 8 - 9) / 2 + 1).
 * Sources: capsules.c. The factor 1/32 is that of the authors' TensorFlow code and of Q-CapsNets; the paper's text and
 * most other implementations have none.
 * Parameters at 28x28x1: 6,804,384.  Tests: tests/models/test_capsnets.c.
 */
#include "capsules.h"
#include "networks.h"

#include <math.h>

enum { FILTERS = 256, KERNEL = 9, PRIMARY_DIM = 8 };

enum { PAPER_PRIMARY = DT_CAPS_OPTIONS };

static const dt_network_option options[DT_NETWORK_OPTIONS] = {
    DT_CAPS_OPTION_ROWS(16, DT_DECODER_FC),
    [PAPER_PRIMARY] = { "paper-primary", .max = 1,
                        .about = "Primary capsules without the factor 1/32 of the published code" },
};

static dt_status check(const dt_model_config *c)
{
    DT_TRY(dt_caps_check(c));
    DT_CHECK(c->height >= 17 && c->width >= 17 && c->height <= 64 && c->width <= 64, DT_ERR_ARGUMENT,
             "shallowcaps takes images of 17x17 to 64x64, not %dx%d", c->height, c->width);
    return DT_OK;
}

static int first_layer(dt_builder *b, int x)
{
    const dt_conv_spec spec = { .filters = FILTERS, .kernel = KERNEL, .stride = 1 };
    const int64_t fan_in = KERNEL * KERNEL * b->config->channels;

    x = dt_build_conv(b, "conv.conv", x, &spec);
    x = dt_build_bias(b, "conv.conv", x, (dt_start){ .bound = 1.0f / sqrtf((float)fan_in) });
    return dt_build_apply(b, DT_OP_RELU, "conv.relu", x);
}

/* squash(conv + bias), the paper's */
static int paper_capsules(dt_builder *b, int x)
{
    const dt_caps_params caps = { .dim = PRIMARY_DIM };

    x = dt_build_bias(b, "primary", x, (dt_start){ 0 });
    return dt_build_node(b, DT_OP_SQUASH, "primary.squash", &caps, &x, 1);
}

static int primary_layer(dt_builder *b, int x)
{
    const dt_conv_spec spec = { .filters = FILTERS, .kernel = KERNEL, .stride = 2 };
    const dt_caps_routing once = { .inputs = 1, .dim = PRIMARY_DIM, .iterations = 1 };

    x = dt_build_conv(b, "primary.conv3d", x, &spec);
    x = b->config->option[PAPER_PRIMARY] ? paper_capsules(b, x) : dt_caps_route(b, "primary", x, &once);
    return dt_caps_list(b, "primary.list", x, PRIMARY_DIM);
}

static void build(dt_builder *b)
{
    int x = first_layer(b, b->graph->image);

    x = primary_layer(b, x);
    dt_caps_classes(b, "digit", x);
}

const dt_network dt_network_shallowcaps = {
    .name = "shallowcaps", .options = options, .check = check, .build = build, DT_CAPS_NETWORK
};
