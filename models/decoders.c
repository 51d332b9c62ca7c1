/*
 * decoders.c - networks that make an image of a class capsule, for the reconstruction loss.
 *
 *   fc      linear 512, ReLU, linear 1024, ReLU, linear to the image, sigmoid
 *   conv28  linear 16 7 7, ReLU, batch norm; transposed convolutions 64 3x3, 32 3x3 stride 2, 16 3x3 stride 2,
 *           image 3x3; ReLU
 *   conv64  linear 16 8 8, ReLU, batch norm; transposed convolutions 64 3x3, 32, 16, 8 4x4 stride 2, image 3x3;
 *           ReLU
 *
 * Sources: capsules.c. Nothing stands between the transposed convolutions.
 * Parameters for 28x28x1 and capsules of 16: fc 1,337,616; of 32: conv28 58,417; for 64x64x3: conv64 86,387.
 */
#include "capsules.h"

#include <math.h>
#include <stdio.h>

enum { FC_FIRST = 512, FC_SECOND = 1024, SEED_CHANNELS = 16, MAX_STAGES = 5 };

typedef struct {
    int filters, kernel, stride, pad, output_pad; /* filters 0: the image's channels */
} stage;

typedef struct {
    int size; /* of the first map and, in the end, of the image */
    int image_size;
    int n_stages;
    stage stage[MAX_STAGES];
} conv_decoder;

static const conv_decoder conv28 = {
    7, 28, 4, { { 64, 3, 1, 1, 0 }, { 32, 3, 2, 1, 1 }, { 16, 3, 2, 1, 1 }, { 0, 3, 1, 1, 0 } }
};
static const conv_decoder conv64 = {
    8, 64, 5, { { 64, 3, 1, 1, 0 }, { 32, 4, 2, 1, 0 }, { 16, 4, 2, 1, 0 }, { 8, 4, 2, 1, 0 }, { 0, 3, 1, 1, 0 } }
};

static const conv_decoder *conv_decoder_of(int kind)
{
    return kind == DT_DECODER_CONV28 ? &conv28 : kind == DT_DECODER_CONV64 ? &conv64 : NULL;
}

void dt_decoder_for_input(dt_model_config *c)
{
    const int square = c->height == c->width;

    if (!conv_decoder_of(c->option[DT_CAPS_DECODER])) return; /* fc makes images of any size */
    c->option[DT_CAPS_DECODER] = square && c->height == conv28.image_size   ? DT_DECODER_CONV28
                                 : square && c->height == conv64.image_size ? DT_DECODER_CONV64
                                                                            : DT_DECODER_FC;
}

dt_status dt_decoder_check(const dt_model_config *c)
{
    const conv_decoder *d = conv_decoder_of(c->option[DT_CAPS_DECODER]);

    DT_CHECK(!d || (c->height == d->image_size && c->width == d->image_size), DT_ERR_ARGUMENT,
             "decoder %s makes images of %dx%d, these are %dx%d; fc makes any",
             dt_decoder_names[c->option[DT_CAPS_DECODER]], d ? d->image_size : 0, d ? d->image_size : 0, c->height,
             c->width);
    return DT_OK;
}

static int fc_build(dt_builder *b, int v)
{
    const dt_model_config *c = b->config;

    v = dt_build_linear(b, "decoder.fc1", v, FC_FIRST);
    v = dt_build_apply(b, DT_OP_RELU, "decoder.relu1", v);
    v = dt_build_linear(b, "decoder.fc2", v, FC_SECOND);
    v = dt_build_apply(b, DT_OP_RELU, "decoder.relu2", v);
    v = dt_build_linear(b, "decoder.fc3", v, c->height * c->width * c->channels);
    return dt_build_apply(b, DT_OP_SIGMOID, "decoder.sigmoid", v);
}

/* PyTorch's initial values, whose fan in of a transposed convolution is that of its output channels. */
static int stage_build(dt_builder *b, int number, const stage *s, int x)
{
    const int filters = s->filters ? s->filters : b->config->channels;
    const dt_shape shape = { 4, { dt_build_shape(b, x).dim[3], s->kernel, s->kernel, filters } };
    const dt_start start = { .bound = 1.0f / sqrtf((float)(filters * s->kernel * s->kernel)) };
    const dt_conv_transpose_params params = { .stride = s->stride, .pad = s->pad, .output_pad = s->output_pad };
    char name[32], full[64];

    snprintf(name, sizeof name, "decoder.dc%d", number);
    snprintf(full, sizeof full, "%s.weight", name);
    const int in[] = { x, dt_build_param(b, full, &shape, start) };
    return dt_build_bias(b, name, dt_build_node(b, DT_OP_CONV_TRANSPOSE, name, &params, in, 2), start);
}

/* The linear layer's features are channel by channel, as PyTorch views them. */
static int conv_build(dt_builder *b, const conv_decoder *d, int v)
{
    const int64_t pixels = (int64_t)d->size * d->size;
    const dt_transpose_params view = {
        .rows = SEED_CHANNELS, .columns = pixels, .ndim = 4, .dim = { 0, d->size, d->size, SEED_CHANNELS }
    };
    const dt_norm_spec norm = { .epsilon = 1e-5f, .momentum = 0.8f };

    v = dt_build_linear(b, "decoder.lin", v, (int)(SEED_CHANNELS * pixels));
    v = dt_build_apply(b, DT_OP_RELU, "decoder.relu", v);
    v = dt_build_node(b, DT_OP_TRANSPOSE, "decoder.view", &view, &v, 1);
    v = dt_build_batchnorm(b, "decoder.bn", v, &norm);
    for (int i = 0; i < d->n_stages; i++) v = stage_build(b, i + 1, &d->stage[i], v);
    return dt_build_apply(b, DT_OP_RELU, "decoder.relu_out", v);
}

int dt_decoder_build(dt_builder *b, int v)
{
    const conv_decoder *d = conv_decoder_of(b->config->option[DT_CAPS_DECODER]);

    return d ? conv_build(b, d, v) : fc_build(b, v);
}
