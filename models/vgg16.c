/*
 * vgg16.c - VGG16 for 32x32 images with quantized convolutions: plain, with a chokepoint, or with a skip block.
 *
 * features[i] have the numbers of the notebook's torch.nn.Sequential, so that layers have the names that they have
 * there. A 3x3 convolution (without bias), its batch norm and its ReLU take three numbers, and a pool takes one.
 *
 *   plain        64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M, average pool 1x1, linear 512 -> classes
 *   chokepoint   features[24..32]: 256 -> C, BN, ReLU;  [27] C -> C, [28] identity (no BN), ReLU;  C -> 512, BN, ReLU.
 *                features[27] is the layer that is mapped on the 8x8 array: its psums meet ReLU unscaled.
 *   skip block   features[20] maps 256x8x8 to 512x4x4 around the same chokepoint, [21..32] are identities:
 *                conv20 256, bn21, relu22, pool23, conv24 C, bn25, relu26, conv27 C, bn28 (identity), relu29,
 *                conv30 512, bn31, + skip_conv 1x1 256 -> 512 of pool23 with skip_bn, relu32.
 *
 * With width-percent below 100 all these channels, but for the chokepoint's C, are that share of them, to the nearest
 * multiple of 8: 50 halves them, which leaves a quarter of the products.
 *
 * Sources: Simonyan, Zisserman, "Very deep convolutional networks", 2015, configuration D; the VGG16 QAT notebook.
 * The notebook does not show its SkipBlock's body; the projection above is our reading of its interface.
 * Parameters: 14,724,042 plain, 8,879,642 with C = 8, 8,936,682 with C = 16 (clip alphas not counted).
 * Tests: tests/models/test_vgg16.c.
 */
#include "networks.h"

#include <stdio.h>

enum { POOL = 0, N_STAGES = 18, SKIP_AT = 20, SKIP_TO = 33, CHOKE_FIRST = 24, CHOKE_MIDDLE = 27 };

static const int stages[N_STAGES] = { 64,   64,  POOL, 128, 128,  POOL, 256, 256, 256,
                                      POOL, 512, 512,  512, POOL, 512,  512, 512, POOL };

enum { CHOKE, SKIP_BLOCK, WIDTH_PERCENT };

static const dt_network_option options[DT_NETWORK_OPTIONS] = {
    [CHOKE] = { "choke", .unit = "N", .min = 0, .max = 512, .value = 0, .label = "choke",
                .about = "Channels of the chokepoint around features.27; 0 has none" },
    [SKIP_BLOCK] = { "skip-block", .max = 1, .label = "skip block",
                     .about = "Put the skip block at features.20; its chokepoint has --choke channels" },
    [WIDTH_PERCENT] = { "width-percent", .unit = "PERCENT", .min = 25, .max = 100, .value = 100, .label = "width",
                        .about =
                            "Channels of vgg16's layers, but for --choke, as a share of the published ones, to the "
                            "nearest multiple of 8" },
};

static void defaults(dt_model_config *out)
{
    out->height = out->width = 32;
    out->channels = 3;
    out->n_classes = 10;
    out->wbits = out->abits = 4;
    out->input_bits = 8;
    out->rule = DT_RULE_ECE284;
}

static dt_status check(const dt_model_config *c)
{
    DT_TRY(dt_network_check_common(c));
    DT_CHECK(c->height == 32 && c->width == 32, DT_ERR_ARGUMENT, "vgg16 takes 32x32 images, not %dx%d", c->height,
             c->width);
    DT_CHECK(!c->option[SKIP_BLOCK] || c->option[CHOKE] > 0, DT_ERR_ARGUMENT,
             "a skip block needs a chokepoint: choke 8, say");
    return DT_OK;
}

/* conv, BN (or identity), ReLU under three consecutive names; in a Sequential "features.24", in the skip block
 * "features.20.conv24" */
typedef struct {
    char conv[48], norm[48], relu[48];
} unit_names;

static unit_names unit_in_features(int i)
{
    unit_names n;
    snprintf(n.conv, sizeof n.conv, "features.%d", i);
    snprintf(n.norm, sizeof n.norm, "features.%d", i + 1);
    snprintf(n.relu, sizeof n.relu, "features.%d", i + 2);
    return n;
}

static unit_names unit_in_skip_block(int i)
{
    unit_names n;
    snprintf(n.conv, sizeof n.conv, "features.%d.conv%d", SKIP_AT, i);
    snprintf(n.norm, sizeof n.norm, "features.%d.bn%d", SKIP_AT, i + 1);
    snprintf(n.relu, sizeof n.relu, "features.%d.relu%d", SKIP_AT, i + 2);
    return n;
}

static int normalised(dt_builder *b, const unit_names *n, const dt_conv_spec *spec, int has_norm, int x)
{
    x = dt_build_conv(b, n->conv, x, spec);
    return has_norm ? dt_build_batchnorm(b, n->norm, x, NULL) : dt_build_apply(b, DT_OP_IDENTITY, n->norm, x);
}

static int unit(dt_builder *b, unit_names n, int filters, int has_norm, int x)
{
    const dt_conv_spec spec = { .filters = filters, .kernel = 3, .stride = 1, .pad = 1 };

    return dt_build_apply(b, DT_OP_RELU, n.relu, normalised(b, &n, &spec, has_norm, x));
}

/* Of the published channels those that the chosen width has: the nearest multiple of 8, at least 16. */
static int scaled(const dt_model_config *c, int channels)
{
    return (channels * c->option[WIDTH_PERCENT] + 400) / 800 * 8;
}

/* features[20..32] as one block; x is 256x8x8, the result 512x4x4, of full width */
static int skip_block(dt_builder *b, int x)
{
    const int choke = b->config->option[CHOKE];
    const unit_names last = unit_in_skip_block(30);
    const unit_names side = { "features.20.skip_conv", "features.20.skip_bn", "" };
    const int inner = scaled(b->config, 256), outer = scaled(b->config, 512);
    const dt_conv_spec wide = { .filters = outer, .kernel = 3, .stride = 1, .pad = 1 };
    const dt_conv_spec projection = { .filters = outer, .kernel = 1, .stride = 1, .pad = 0 };

    x = unit(b, unit_in_skip_block(20), inner, 1, x);
    const int shared = dt_build_pool(b, DT_OP_MAXPOOL, "features.20.pool23", x, 2);
    x = unit(b, unit_in_skip_block(24), choke, 1, shared);
    x = unit(b, unit_in_skip_block(27), choke, 0, x);
    const int main_path = normalised(b, &last, &wide, 1, x);
    const int both[] = { main_path, normalised(b, &side, &projection, 1, shared) };
    x = dt_build_node(b, DT_OP_ADD, "features.20.add", NULL, both, 2);
    return dt_build_apply(b, DT_OP_RELU, last.relu, x);
}

/* Channels of the convolution at features[i], and whether BN follows it. */
static int filters_at(const dt_model_config *c, int i, int stage, int *has_norm)
{
    *has_norm = 1;
    if (!c->option[CHOKE] || c->option[SKIP_BLOCK] || i < CHOKE_FIRST || i > CHOKE_MIDDLE) return scaled(c, stage);
    *has_norm = i != CHOKE_MIDDLE;
    return c->option[CHOKE];
}

static void build(dt_builder *b)
{
    const dt_model_config *c = b->config;
    int x = b->graph->image, at = 0, has_norm;
    char name[48];

    for (int s = 0; s < N_STAGES; s++) {
        if (c->option[SKIP_BLOCK] && at == SKIP_AT) {
            x = skip_block(b, x);
            while (at < SKIP_TO) at += stages[s++] == POOL ? 1 : 3;
        }
        snprintf(name, sizeof name, "features.%d", at);
        if (stages[s] == POOL) {
            x = dt_build_pool(b, DT_OP_MAXPOOL, name, x, 2);
            at += 1;
            continue;
        }
        const int filters = filters_at(c, at, stages[s], &has_norm);
        x = unit(b, unit_in_features(at), filters, has_norm, x);
        at += 3;
    }
    snprintf(name, sizeof name, "features.%d", at);
    x = dt_build_pool(b, DT_OP_AVGPOOL, name, x, 1);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, c->n_classes);
}

const dt_network dt_network_vgg16 = {
    .name = "vgg16", .options = options, .defaults = defaults, .check = check, .build = build
};
