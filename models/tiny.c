/*
 * tiny.c - three quantized convolutions and a linear layer: the blocks of VGG16 at a size that trains in a second.
 *
 *   features.0 8 filters, BN, ReLU, max-pool 2;  features.4 8 filters, identity, ReLU, max-pool 2;
 *   features.8 16 filters, BN, ReLU, average pool 2;  classifier
 *
 * For tests and for trying the tools. features.4 is an 8x8-channel layer without BN, as features.27 of VGG16 is: its
 * psums stay on the grid until features.8 quantizes them.
 */
#include "networks.h"

static void defaults(dt_model_config *out)
{
    dt_network_vgg16.defaults(out);
}

static dt_status check(const dt_model_config *c)
{
    DT_TRY(dt_network_check_common(c));
    DT_CHECK(c->height >= 8 && c->width >= 8 && c->height <= 64 && c->width <= 64, DT_ERR_ARGUMENT,
             "tiny takes images of 8x8 to 64x64, not %dx%d", c->height, c->width);
    return DT_OK;
}

static void build(dt_builder *b)
{
    const dt_conv_spec narrow = { .filters = 8, .kernel = 3, .stride = 1, .pad = 1 };
    const dt_conv_spec wide = { .filters = 16, .kernel = 3, .stride = 1, .pad = 1 };
    int x = b->graph->image;

    x = dt_build_conv(b, "features.0", x, &narrow);
    x = dt_build_batchnorm(b, "features.1", x, NULL);
    x = dt_build_apply(b, DT_OP_RELU, "features.2", x);
    x = dt_build_pool(b, DT_OP_MAXPOOL, "features.3", x, 2);
    x = dt_build_conv(b, "features.4", x, &narrow);
    x = dt_build_apply(b, DT_OP_IDENTITY, "features.5", x);
    x = dt_build_apply(b, DT_OP_RELU, "features.6", x);
    x = dt_build_pool(b, DT_OP_MAXPOOL, "features.7", x, 2);
    x = dt_build_conv(b, "features.8", x, &wide);
    x = dt_build_batchnorm(b, "features.9", x, NULL);
    x = dt_build_apply(b, DT_OP_RELU, "features.10", x);
    x = dt_build_pool(b, DT_OP_AVGPOOL, "features.11", x, 2);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

const dt_network dt_network_tiny = { .name = "tiny", .defaults = defaults, .check = check, .build = build };
