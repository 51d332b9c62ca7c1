/*
 * capsules.c - routing, class capsules and the loss, as the capsule networks use them.
 *
 * Sources: Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", 2017; Marchisio et al., "Q-CapsNets", DAC 2020,
 * and the code published with it, whose initial values and training settings these are.
 * Tests: tests/test_capsnets.c.
 */
#include "capsules.h"

#include "networks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

dt_recorder dt_caps_recorder(dt_model *m, dt_tape *tape, dt_tensor *x, int training)
{
    return (dt_recorder){
        .model = m, .tape = tape, .training = training, .batch = (int)x->shape.dim[0], .formats = m->recording.network
    };
}

void dt_caps_layer_end(dt_recorder *r, const dt_tensor *x)
{
    if (r->formats && !dt_caps_skips(r)) {
        snprintf(r->formats->end[r->layer], sizeof r->formats->end[0], "%s", x->name);
    }
    r->layer++;
}

int dt_caps_skips(const dt_recorder *r)
{
    return r->formats && r->layer < r->formats->first_layer;
}

dt_status dt_caps_image(dt_recorder *r, dt_tensor *x, const dt_reader *reader, dt_tensor **y)
{
    *y = x;
    if (!r->formats || r->formats->published) return DT_OK;
    return dt_block_round(r, "image", x, DT_FIXED_INNER, reader, y);
}

/* The formats of iteration k, which is counted from 1 in their names. */
static dt_status route_formats(dt_recorder *r, const char *name, int k, dt_route_format *out)
{
    dt_fixed_format *const format[4] = { &out->c, &out->s, &out->v, &out->b };
    static const dt_fixed_kind kind[4] = { DT_FIXED_INNER, DT_FIXED_ROUTING, DT_FIXED_INNER, DT_FIXED_ROUTING };
    char full[64];

    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%c%d", name, "csvb"[i], k);
        DT_TRY(dt_fixed_format_of(r->formats, full, r->layer, kind[i], format[i]));
    }
    return DT_OK;
}

dt_status dt_caps_route(dt_recorder *r, const char *name, dt_tensor *votes, const dt_caps_routing *how, dt_tensor **v)
{
    const int64_t channels = votes->shape.dim[votes->shape.ndim - 1];
    const dt_shape bias_shape = { 2, { channels / how->dim, how->dim } };
    dt_caps_route_params params = {
        .iterations = how->iterations, .inputs = how->inputs, .dim = how->dim, .joint = how->joint
    };
    char full[96];
    dt_tensor *bias;

    snprintf(full, sizeof full, "%s.votes", name);
    DT_TRY(dt_block_round(r, full, votes, DT_FIXED_INNER, NULL, &votes));
    snprintf(full, sizeof full, "%s.bias", name);
    DT_TRY(dt_block_param(r, full, &bias_shape, how->bias, &bias));
    if (r->formats) {
        params.observe = r->formats->observe;
        params.fixed = !params.observe;
        for (int k = 0; k < how->iterations; k++) DT_TRY(route_formats(r, name, k + 1, &params.format[k]));
    }
    dt_tensor *const in[] = { votes, bias };
    return dt_tape_apply(r->tape, DT_OP_CAPS_ROUTE, name, &params, in, 2, v);
}

dt_status dt_caps_list(dt_recorder *r, const char *name, dt_tensor *x, int dim, dt_tensor **y)
{
    const int64_t *d = x->shape.dim;
    const dt_transpose_params params = {
        .rows = d[1] * d[2], .columns = d[3] / dim, .ndim = 3, .dim = { d[0], d[1] * d[2] * d[3] / dim, dim }
    };
    return dt_tape_apply(r->tape, DT_OP_TRANSPOSE, name, &params, &x, 1, y);
}

dt_status dt_caps_classes(dt_recorder *r, const char *name, dt_tensor *x, dt_tensor **v)
{
    const dt_model_config *c = &r->model->config;
    const int64_t inputs = x->shape.dim[1], in_dim = x->shape.dim[2], channels = (int64_t)c->n_classes * c->caps_dim;
    const dt_shape shape = { 3, { inputs, in_dim, channels } };
    const dt_start start = { .bound = sqrtf(6.0f / (float)(in_dim * channels)) }; /* PyTorch's kaiming of that shape */
    const dt_caps_routing how = {
        .inputs = (int)inputs, .dim = c->caps_dim, .iterations = c->routing, .bias = { .value = 0.1f }
    };
    char full[96];
    dt_tensor *w, *votes;

    snprintf(full, sizeof full, "%s.weight", name);
    DT_TRY(dt_block_param(r, full, &shape, start, &w));
    if (!r->formats && c->wbits != DT_BITS_FLOAT) {
        DT_TRY(dt_block_quantize_x(r, name, x, DT_RANGE_SIGNED, &x));
        DT_TRY(dt_block_quantize_w(r, name, w, &w));
    }
    dt_tensor *const in[] = { x, w };
    snprintf(full, sizeof full, "%s.dot", name);
    DT_TRY(dt_tape_apply(r->tape, DT_OP_CAPS_VOTES, full, NULL, in, 2, &votes));
    return dt_caps_route(r, name, votes, &how, v);
}

/* The loss of the image that the true class's capsule becomes. */
static dt_status reconstruction(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *x, dt_tensor *y,
                                dt_tensor *labels, dt_tensor **loss)
{
    dt_recorder r = { .model = m, .tape = tape, .training = 1 };
    const dt_caps_params caps = { .dim = m->config.caps_dim };
    const dt_reconstruction_loss_params params = { .scale = spec->regularization_scale };
    dt_tensor *const masked[] = { y, labels };
    dt_tensor *v, *image;

    DT_TRY(dt_tape_apply(tape, DT_OP_CAPS_MASK, "decoder.mask", &caps, masked, 2, &v));
    DT_TRY(dt_decoder_record(&r, v, &image));
    dt_tensor *const both[] = { image, x };
    return dt_tape_apply(tape, DT_OP_RECONSTRUCTION_LOSS, "reconstruction_loss", &params, both, 2, loss);
}

dt_status dt_caps_record_loss(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *x, dt_tensor *y,
                              dt_tensor *labels, dt_tensor **logits, dt_tensor **loss)
{
    const dt_caps_params caps = { .dim = m->config.caps_dim };
    dt_tensor *terms[2];

    DT_TRY(dt_tape_apply(tape, DT_OP_CAPS_LENGTH, "lengths", &caps, &y, 1, logits));
    dt_tensor *const in[] = { *logits, labels };
    DT_TRY(dt_tape_apply(tape, DT_OP_MARGIN_LOSS, "margin_loss", NULL, in, 2, &terms[0]));
    *loss = terms[0];
    if (!spec->training || m->config.decoder == DT_DECODER_NONE) return DT_OK;
    DT_TRY(reconstruction(m, tape, spec, x, y, labels, &terms[1]));
    return dt_tape_apply(tape, DT_OP_ADD, "loss", NULL, terms, 2, loss);
}

dt_status dt_caps_check(const dt_model_config *c)
{
    DT_TRY(dt_network_check_common(c));
    DT_CHECK(c->caps_dim >= 1 && c->caps_dim <= 64, DT_ERR_ARGUMENT, "class capsules of %d values, allowed are 1..64",
             c->caps_dim);
    DT_CHECK(c->routing >= 1 && c->routing <= DT_MAX_ROUTING, DT_ERR_ARGUMENT,
             "%d iterations of routing, allowed are 1..%d", c->routing, DT_MAX_ROUTING);
    DT_CHECK(c->wbits == DT_BITS_FLOAT || c->rule == DT_RULE_LSQ, DT_ERR_ARGUMENT,
             "quant-rule is %s; capsule networks train with lsq: the other rules divide the weights by their "
             "deviation, which only a batch norm after the convolution makes up for",
             dt_quant_rule_names[c->rule]);
    DT_CHECK(c->choke == 0 && !c->skip_block && !c->per_channel, DT_ERR_ARGUMENT,
             "%s has no chokepoint, no skip block and one clip a layer", c->name);
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
    out->routing = 3;
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
