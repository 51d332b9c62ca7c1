/*
 * deepcaps.c - DeepCaps: convolutional capsules in four residual blocks, and 3-D routing in the last.
 *
 *   conv1      3x3, 128 filters, bias, ReLU, batch norm (in this order)
 *   block1..4  x1 = L1(x), stride 2;  y = L3(L2(x1)) + skip(x1).  L and skip: 3x3 convolution, bias, squash;
 *              32 types of 4-dimensional capsules in block1, of 8 in the others. Nothing follows the sum.
 *   block4's skip: one convolution 8 -> 256, shared by the 32 types of x1, makes their votes for 32 types, which are
 *              routed with a softmax over the whole output map
 *   capsLayer  the capsules of block3, then those of block4, vote for the classes
 *
 * Sources: Rajasegaran et al., "DeepCaps: Going Deeper With Capsule Networks", CVPR 2019, in the form of the Q-CapsNets
 * code (capsules.c). The authors' Keras code differs: no biases, padding at the bottom and right only, squash in the
 * 3-D routing over the whole map. Parameters: 8,445,504 for 28x28x1, 13,363,008 for 64x64x3.  Tests:
 * tests/models/test_capsnets.c.
 */
#include "capsules.h"
#include "networks.h"

#include <math.h>
#include <stdio.h>

enum { N_BLOCKS = 4, TYPES = 32, FIRST_FILTERS = 128, KERNEL = 3, TAPS = KERNEL * KERNEL };

static const int block_dim[N_BLOCKS] = { 4, 8, 8, 8 };

static const dt_network_option options[DT_NETWORK_OPTIONS] = { DT_CAPS_OPTION_ROWS(32, DT_DECODER_CONV28) };

static dt_status check(const dt_model_config *c)
{
    DT_CHECK(c->height == c->width && (c->height == 28 || c->height == 64), DT_ERR_ARGUMENT,
             "deepcaps takes images of 28x28 or 64x64, not %dx%d", c->height, c->width);
    return dt_caps_check(c);
}

static int first_layer(dt_builder *b, int x)
{
    const dt_conv_spec spec = { .filters = FIRST_FILTERS, .kernel = KERNEL, .stride = 1, .pad = 1 };
    const dt_norm_spec norm = { .epsilon = 1e-3f, .momentum = 0.99f };
    const int64_t fan_in = TAPS * b->config->channels;

    x = dt_build_conv(b, "conv1.conv", x, &spec);
    x = dt_build_bias(b, "conv1.conv", x, (dt_start){ .bound = 1.0f / sqrtf((float)fan_in) });
    x = dt_build_apply(b, DT_OP_RELU, "conv1.relu", x);
    return dt_build_batchnorm(b, "conv1.batchnorm", x, &norm);
}

/* Capsules of `dim` by a 3x3 convolution and squash. */
static int caps_conv(dt_builder *b, const char *name, int x, int dim, int stride)
{
    const int64_t channels = dt_build_shape(b, x).dim[3];
    const dt_conv_spec spec = { .filters = TYPES * dim,
                                .kernel = KERNEL,
                                .stride = stride,
                                .pad = 1,
                                .bound = sqrtf(6.0f / (float)(TAPS * (channels + TYPES * dim))) }; /* Glorot's */
    const dt_caps_params caps = { .dim = dim };
    char full[64];

    snprintf(full, sizeof full, "%s.conv", name);
    x = dt_build_bias(b, full, dt_build_conv(b, full, x, &spec), (dt_start){ 0 });
    snprintf(full, sizeof full, "%s.squash", name);
    return dt_build_node(b, DT_OP_SQUASH, full, &caps, &x, 1);
}

/* Each type of x votes for all types of the output, by filters that the types share. */
static int routed_skip(dt_builder *b, const char *name, int x, int dim)
{
    const dt_shape shape = dt_build_shape(b, x);
    const int64_t *d = shape.dim;
    const dt_transpose_params split = {
        .rows = d[1] * d[2], .columns = TYPES, .ndim = 4, .dim = { 0, d[1], d[2], dim }
    };
    const dt_conv_spec spec = {
        .filters = TYPES * dim, .kernel = KERNEL, .stride = 1, .pad = 1, .bound = sqrtf(6.0f / (float)(TAPS * dim))
    }; /* He's */
    const dt_caps_routing how = { .inputs = TYPES,
                                  .dim = dim,
                                  .joint = 1,
                                  .iterations = b->config->option[DT_CAPS_ROUTING],
                                  .bias = { .value = 0.1f } };
    char full[64];

    snprintf(full, sizeof full, "%s.split", name);
    x = dt_build_node(b, DT_OP_TRANSPOSE, full, &split, &x, 1);
    snprintf(full, sizeof full, "%s.conv", name);
    x = dt_build_bias(b, full, dt_build_conv(b, full, x, &spec), (dt_start){ 0 });
    return dt_caps_route(b, name, x, &how);
}

static int block(dt_builder *b, int number, int x)
{
    const int dim = block_dim[number - 1], is_last = number == N_BLOCKS;
    char name[4][32];

    for (int i = 0; i < 3; i++) snprintf(name[i], sizeof name[i], "block%d.l%d", number, i + 1);
    snprintf(name[3], sizeof name[3], "block%d.l_skip", number);
    const int x1 = caps_conv(b, name[0], x, dim, 2);
    const int x2 = caps_conv(b, name[1], x1, dim, 1);
    const int x3 = caps_conv(b, name[2], x2, dim, 1);
    const int skip = is_last ? routed_skip(b, name[3], x1, dim) : caps_conv(b, name[3], x1, dim, 1);
    const int both[] = { x3, skip };
    snprintf(name[0], sizeof name[0], "block%d", number);
    return dt_build_node(b, DT_OP_ADD, name[0], NULL, both, 2);
}

static void build(dt_builder *b)
{
    const dt_concat_params lists = { .axis = 1 };
    int x = first_layer(b, b->graph->image);

    for (int i = 1; i < N_BLOCKS; i++) x = block(b, i, x);
    const int last = block(b, N_BLOCKS, x);
    const int both[] = { dt_caps_list(b, "block3.list", x, block_dim[N_BLOCKS - 2]),
                         dt_caps_list(b, "block4.list", last, block_dim[N_BLOCKS - 1]) };
    dt_caps_classes(b, "capsLayer", dt_build_node(b, DT_OP_CONCAT, "capsules", &lists, both, 2));
}

const dt_network dt_network_deepcaps = {
    .name = "deepcaps", .options = options, .check = check, .build = build, DT_CAPS_NETWORK
};
