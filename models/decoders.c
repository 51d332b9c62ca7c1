/*
 * decoders.c - networks that make an image of a class capsule, for the reconstruction loss.
 *
 *   fc      linear 512, ReLU, linear 1024, ReLU, linear to the image, sigmoid
 *   conv28  linear 16 7 7, ReLU, batch norm; transposed convolutions 64 3x3, 32 3x3 stride 2, 16 3x3 stride 2, image
 * 3x3; ReLU conv64  linear 16 8 8, ReLU, batch norm; transposed convolutions 64 3x3, 32, 16, 8 4x4 stride 2, image 3x3;
 * ReLU
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

static const conv_decoder *conv_decoder_of(dt_decoder kind)
{
    return kind == DT_DECODER_CONV28 ? &conv28 : kind == DT_DECODER_CONV64 ? &conv64 : NULL;
}

void dt_decoder_for_input(dt_model_config *c)
{
    const int square = c->height == c->width;

    if (!conv_decoder_of(c->decoder)) return; /* fc makes images of any size */
    c->decoder = square && c->height == conv28.image_size   ? DT_DECODER_CONV28
                 : square && c->height == conv64.image_size ? DT_DECODER_CONV64
                                                            : DT_DECODER_FC;
}

dt_status dt_decoder_check(const dt_model_config *c)
{
    const conv_decoder *d = conv_decoder_of(c->decoder);

    DT_CHECK(!d || (c->height == d->image_size && c->width == d->image_size), DT_ERR_ARGUMENT,
             "decoder %s makes images of %dx%d, these are %dx%d; fc makes any", dt_decoder_names[c->decoder],
             d ? d->image_size : 0, d ? d->image_size : 0, c->height, c->width);
    return DT_OK;
}

static dt_status fc_record(dt_recorder *r, dt_tensor *v, dt_tensor **image)
{
    const dt_model_config *c = &r->model->config;

    DT_TRY(dt_block_linear(r, "decoder.fc1", v, FC_FIRST, image));
    DT_TRY(dt_block_apply(r, DT_OP_RELU, "decoder.relu1", *image, image));
    DT_TRY(dt_block_linear(r, "decoder.fc2", *image, FC_SECOND, image));
    DT_TRY(dt_block_apply(r, DT_OP_RELU, "decoder.relu2", *image, image));
    DT_TRY(dt_block_linear(r, "decoder.fc3", *image, c->height * c->width * c->channels, image));
    return dt_block_apply(r, DT_OP_SIGMOID, "decoder.sigmoid", *image, image);
}

/* PyTorch's initial values, whose fan in of a transposed convolution is that of its output channels. */
static dt_status stage_record(dt_recorder *r, int number, const stage *s, dt_tensor *x, dt_tensor **y)
{
    const int filters = s->filters ? s->filters : r->model->config.channels;
    const dt_shape shape = { 4, { x->shape.dim[3], s->kernel, s->kernel, filters } };
    const dt_start start = { .bound = 1.0f / sqrtf((float)(filters * s->kernel * s->kernel)) };
    const dt_conv_transpose_params params = { .stride = s->stride, .pad = s->pad, .output_pad = s->output_pad };
    char name[32], full[64];
    dt_tensor *w;

    snprintf(name, sizeof name, "decoder.dc%d", number);
    snprintf(full, sizeof full, "%s.weight", name);
    DT_TRY(dt_block_param(r, full, &shape, start, &w));
    dt_tensor *const in[] = { x, w };
    DT_TRY(dt_tape_apply(r->tape, DT_OP_CONV_TRANSPOSE, name, &params, in, 2, y));
    return dt_block_bias(r, name, *y, start, y);
}

/* The linear layer's features are channel by channel, as PyTorch views them. */
static dt_status conv_record(dt_recorder *r, const conv_decoder *d, dt_tensor *v, dt_tensor **image)
{
    const int64_t pixels = (int64_t)d->size * d->size;
    const dt_transpose_params view = {
        .rows = SEED_CHANNELS, .columns = pixels, .ndim = 4, .dim = { v->shape.dim[0], d->size, d->size, SEED_CHANNELS }
    };
    const dt_norm_spec norm = { .epsilon = 1e-5f, .momentum = 0.8f };

    DT_TRY(dt_block_linear(r, "decoder.lin", v, (int)(SEED_CHANNELS * pixels), image));
    DT_TRY(dt_block_apply(r, DT_OP_RELU, "decoder.relu", *image, image));
    DT_TRY(dt_tape_apply(r->tape, DT_OP_TRANSPOSE, "decoder.view", &view, image, 1, image));
    DT_TRY(dt_block_batchnorm(r, "decoder.bn", *image, &norm, image));
    for (int i = 0; i < d->n_stages; i++) DT_TRY(stage_record(r, i + 1, &d->stage[i], *image, image));
    return dt_block_apply(r, DT_OP_RELU, "decoder.relu_out", *image, image);
}

dt_status dt_decoder_record(dt_recorder *r, dt_tensor *v, dt_tensor **image)
{
    const conv_decoder *d = conv_decoder_of(r->model->config.decoder);
    return d ? conv_record(r, d, v, image) : fc_record(r, v, image);
}

dt_status dt_caps_record_decoder(dt_model *m, dt_tape *tape, dt_tensor *v, dt_tensor **image)
{
    dt_recorder r = { .model = m, .tape = tape };
    return dt_decoder_record(&r, v, image);
}
