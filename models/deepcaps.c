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
 * tests/test_capsnets.c.
 */
#include "capsules.h"
#include "networks.h"

#include <math.h>
#include <stdio.h>

enum { N_BLOCKS = 4, TYPES = 32, FIRST_FILTERS = 128, KERNEL = 3, TAPS = KERNEL * KERNEL };

static const int block_dim[N_BLOCKS] = { 4, 8, 8, 8 };

void dt_deepcaps_defaults(dt_model_config *out)
{
    dt_caps_defaults(out);
    out->caps_dim = 32;
    out->decoder = DT_DECODER_CONV28;
}

dt_status dt_deepcaps_check(const dt_model_config *c)
{
    DT_CHECK(c->height == c->width && (c->height == 28 || c->height == 64), DT_ERR_ARGUMENT,
             "deepcaps takes images of 28x28 or 64x64, not %dx%d", c->height, c->width);
    return dt_caps_check(c);
}

static dt_status first_layer(dt_recorder *r, dt_tensor *x, dt_tensor **y)
{
    const dt_conv_spec spec = {
        .filters = FIRST_FILTERS, .kernel = KERNEL, .stride = 1, .pad = 1, .range = DT_RANGE_IMAGE
    };
    const dt_norm_spec norm = { .epsilon = 1e-3f, .momentum = 0.99f };
    const int64_t fan_in = TAPS * x->shape.dim[3];
    const dt_reader itself = { fan_in, r->layer }, block1 = { TAPS * FIRST_FILTERS, r->layer + 1 };

    DT_TRY(dt_caps_image(r, x, &itself, &x));
    DT_TRY(dt_block_conv(r, "conv1.conv", x, &spec, y));
    DT_TRY(dt_block_bias(r, "conv1.conv", *y, (dt_start){ .bound = 1.0f / sqrtf((float)fan_in) }, y));
    DT_TRY(dt_block_apply(r, DT_OP_RELU, "conv1.relu", *y, y));
    DT_TRY(dt_block_batchnorm(r, "conv1.batchnorm", *y, &norm, y));
    return dt_block_round(r, "conv1", *y, DT_FIXED_OUTPUT, &block1, y);
}

/* Capsules of `dim` by a 3x3 convolution and squash. reader: as dt_block_round's. */
static dt_status caps_conv(dt_recorder *r, const char *name, dt_tensor *x, int dim, int stride, const dt_reader *reader,
                           dt_tensor **v)
{
    const int64_t channels = x->shape.dim[3];
    const dt_conv_spec spec = { .filters = TYPES * dim,
                                .kernel = KERNEL,
                                .stride = stride,
                                .pad = 1,
                                .range = DT_RANGE_SIGNED,
                                .bound = sqrtf(6.0f / (float)(TAPS * (channels + TYPES * dim))) }; /* Glorot's */
    const dt_caps_params caps = { .dim = dim };
    char full[96];

    snprintf(full, sizeof full, "%s.conv", name);
    DT_TRY(dt_block_conv(r, full, x, &spec, v));
    DT_TRY(dt_block_bias(r, full, *v, (dt_start){ 0 }, v));
    snprintf(full, sizeof full, "%s.s", name);
    DT_TRY(dt_block_round(r, full, *v, DT_FIXED_INNER, NULL, v));
    snprintf(full, sizeof full, "%s.squash", name);
    DT_TRY(dt_tape_apply(r->tape, DT_OP_SQUASH, full, &caps, v, 1, v));
    return dt_block_round(r, name, *v, DT_FIXED_OUTPUT, reader, v);
}

/* Each type of x votes for all types of the output, by filters that the types share. */
static dt_status routed_skip(dt_recorder *r, const char *name, dt_tensor *x, int dim, dt_tensor **v)
{
    const int64_t *d = x->shape.dim;
    const dt_transpose_params split = {
        .rows = d[1] * d[2], .columns = TYPES, .ndim = 4, .dim = { d[0] * TYPES, d[1], d[2], dim }
    };
    const dt_conv_spec spec = { .filters = TYPES * dim,
                                .kernel = KERNEL,
                                .stride = 1,
                                .pad = 1,
                                .range = DT_RANGE_SIGNED,
                                .bound = sqrtf(6.0f / (float)(TAPS * dim)) }; /* He's */
    const dt_caps_routing how = {
        .inputs = TYPES, .dim = dim, .joint = 1, .iterations = r->model->config.routing, .bias = { .value = 0.1f }
    };
    char full[96];

    snprintf(full, sizeof full, "%s.split", name);
    DT_TRY(dt_tape_apply(r->tape, DT_OP_TRANSPOSE, full, &split, &x, 1, &x));
    snprintf(full, sizeof full, "%s.conv", name);
    DT_TRY(dt_block_conv(r, full, x, &spec, v));
    DT_TRY(dt_block_bias(r, full, *v, (dt_start){ 0 }, v));
    return dt_caps_route(r, name, *v, &how, v);
}

static dt_status block(dt_recorder *r, int number, dt_tensor *x, dt_tensor **y)
{
    const int dim = block_dim[number - 1];
    const dt_reader next = { TAPS * TYPES * dim, r->layer };
    char name[4][32];
    dt_tensor *x1, *both[2];

    for (int i = 0; i < 3; i++) snprintf(name[i], sizeof name[i], "block%d.l%d", number, i + 1);
    snprintf(name[3], sizeof name[3], "block%d.l_skip", number);
    DT_TRY(caps_conv(r, name[0], x, dim, 2, &next, &x1));
    DT_TRY(caps_conv(r, name[1], x1, dim, 1, &next, &both[0]));
    DT_TRY(caps_conv(r, name[2], both[0], dim, 1, NULL, &both[0]));
    if (number == N_BLOCKS)
        DT_TRY(routed_skip(r, name[3], x1, dim, &both[1]));
    else
        DT_TRY(caps_conv(r, name[3], x1, dim, 1, NULL, &both[1]));
    snprintf(name[0], sizeof name[0], "block%d", number);
    return dt_tape_apply(r->tape, DT_OP_ADD, name[0], NULL, both, 2, y);
}

/* The fourth block, and its capsules behind those of the third, x, as one list. */
static dt_status last_block(dt_recorder *r, dt_tensor *x, dt_tensor **y)
{
    dt_tensor *both[2];

    DT_TRY(block(r, N_BLOCKS, x, &both[1]));
    DT_TRY(dt_caps_list(r, "block3.list", x, block_dim[2], &both[0]));
    DT_TRY(dt_caps_list(r, "block4.list", both[1], block_dim[3], &both[1]));
    return dt_tape_apply(r->tape, DT_OP_CONCAT, "capsules", NULL, both, 2, y);
}

dt_status dt_deepcaps_record(dt_model *m, dt_tape *tape, dt_tensor *x, int training, dt_tensor **y)
{
    dt_recorder r = dt_caps_recorder(m, tape, x, training);

    if (!dt_caps_skips(&r)) DT_TRY(first_layer(&r, x, &x));
    dt_caps_layer_end(&r, x);
    for (int b = 1; b < N_BLOCKS; b++) {
        if (!dt_caps_skips(&r)) DT_TRY(block(&r, b, x, &x));
        dt_caps_layer_end(&r, x);
    }
    if (!dt_caps_skips(&r)) DT_TRY(last_block(&r, x, &x));
    dt_caps_layer_end(&r, x);
    return dt_caps_classes(&r, "capsLayer", x, y);
}
