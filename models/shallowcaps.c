/*
 * shallowcaps.c - the three-layer capsule network.
 *
 *   conv      9x9, 256 filters, bias, ReLU                                 28x28 -> 20x20x256
 *   primary   9x9, stride 2, 32 types of 8-dimensional capsules: votes of one type for 32, routed once, so that
 *             v = squash(votes / 32 + bias); with paper_primary squash(conv + bias)    -> 6x6 x 32 x 8
 *   digit     1152 capsules vote for the classes, routed by agreement      -> classes x caps_dim
 *
 * Other image sizes have as many primary capsules as fit: 32 ((h - 8 - 9) / 2 + 1) ((w - 8 - 9) / 2 + 1).
 * Sources: capsules.c. The factor 1/32 is that of the authors' TensorFlow code and of Q-CapsNets; the paper's text and
 * most other implementations have none.
 * Parameters at 28x28x1: 6,804,384.  Tests: tests/test_capsnets.c.
 */
#include "capsules.h"
#include "networks.h"

#include <math.h>

enum { FILTERS = 256, KERNEL = 9, PRIMARY_DIM = 8 };

void dt_shallowcaps_defaults(dt_model_config *out)
{
    dt_caps_defaults(out);
    out->caps_dim = 16;
    out->decoder = DT_DECODER_FC;
}

dt_status dt_shallowcaps_check(const dt_model_config *c)
{
    DT_TRY(dt_caps_check(c));
    DT_CHECK(c->height >= 17 && c->width >= 17 && c->height <= 64 && c->width <= 64, DT_ERR_ARGUMENT,
             "shallowcaps takes images of 17x17 to 64x64, not %dx%d", c->height, c->width);
    return DT_OK;
}

static dt_status first_layer(dt_recorder *r, dt_tensor *x, dt_tensor **y)
{
    const dt_conv_spec spec = { .filters = FILTERS, .kernel = KERNEL, .stride = 1, .range = DT_RANGE_IMAGE };
    const int64_t fan_in = KERNEL * KERNEL * x->shape.dim[3];
    const dt_reader itself = { fan_in, r->layer }, primary = { KERNEL * KERNEL * FILTERS, r->layer + 1 };

    DT_TRY(dt_caps_image(r, x, &itself, &x));
    DT_TRY(dt_block_conv(r, "conv.conv", x, &spec, y));
    DT_TRY(dt_block_bias(r, "conv.conv", *y, (dt_start){ .bound = 1.0f / sqrtf((float)fan_in) }, y));
    DT_TRY(dt_block_apply(r, DT_OP_RELU, "conv.relu", *y, y));
    return dt_block_round(r, "conv", *y, DT_FIXED_OUTPUT, &primary, y);
}

/* squash(conv + bias), the paper's */
static dt_status paper_capsules(dt_recorder *r, dt_tensor *conv, dt_tensor **v)
{
    const dt_caps_params caps = { .dim = PRIMARY_DIM };

    DT_TRY(dt_block_bias(r, "primary", conv, (dt_start){ 0 }, v));
    DT_TRY(dt_block_round(r, "primary.s", *v, DT_FIXED_INNER, NULL, v));
    DT_TRY(dt_tape_apply(r->tape, DT_OP_SQUASH, "primary.squash", &caps, v, 1, v));
    return dt_block_round(r, "primary", *v, DT_FIXED_OUTPUT, NULL, v);
}

static dt_status primary_layer(dt_recorder *r, dt_tensor *x, dt_tensor **y)
{
    const dt_conv_spec spec = { .filters = FILTERS, .kernel = KERNEL, .stride = 2 };
    const dt_caps_routing once = { .inputs = 1, .dim = PRIMARY_DIM, .iterations = 1 };

    DT_TRY(dt_block_conv(r, "primary.conv3d", x, &spec, y));
    if (r->model->config.paper_primary)
        DT_TRY(paper_capsules(r, *y, y));
    else
        DT_TRY(dt_caps_route(r, "primary", *y, &once, y));
    return dt_caps_list(r, "primary.list", *y, PRIMARY_DIM, y);
}

dt_status dt_shallowcaps_record(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **y)
{
    dt_recorder r = dt_caps_recorder(m, tape, x, training);

    if (!dt_caps_skips(&r)) DT_TRY(first_layer(&r, x, &x));
    dt_caps_layer_end(&r, x);
    if (!dt_caps_skips(&r)) DT_TRY(primary_layer(&r, x, &x));
    dt_caps_layer_end(&r, x);
    return dt_caps_classes(&r, "digit", x, y);
}
