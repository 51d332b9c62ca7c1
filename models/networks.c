/*
 * networks.c - the table of networks, and the recipes they are trained with.
 */
#include "networks.h"

#include "capsules.h"

#include <string.h>

/* What a network has beside its defaults, check and record. */
#define PLAIN .record_loss = NULL
#define CAPSULES                                                                                                  \
    .record_loss = dt_caps_record_loss, .unit_pixels = 1, .resizes = 1, .train_defaults = dt_caps_train_defaults, \
    .record_decoder = dt_caps_record_decoder, .for_dataset = dt_caps_for_dataset, .for_input = dt_decoder_for_input

#define NETWORK_MAP(XX) XX(vgg16, PLAIN) XX(shallowcaps, CAPSULES) XX(deepcaps, CAPSULES) XX(tiny, PLAIN)

#define XX(net, ...)                   \
    { .name = #net,                    \
      .defaults = dt_##net##_defaults, \
      .check = dt_##net##_check,       \
      .record = dt_##net##_record,     \
      __VA_ARGS__ },
static const dt_network networks[] = { NETWORK_MAP(XX) };
#undef XX

const dt_network *dt_network_find(const char *name)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        if (name && strcmp(networks[i].name, name) == 0) return &networks[i];
    }
    return NULL;
}

const char *dt_network_names(void)
{
#define XX(name, ...) ", " #name
    static const char names[] = NETWORK_MAP(XX);
#undef XX
    return names + 2; /* past the first comma */
}

static int bits_allowed(int bits)
{
    return (bits >= 2 && bits <= 8) || bits == DT_BITS_FLOAT;
}

dt_status dt_network_check_common(const dt_model_config *c)
{
    DT_CHECK(bits_allowed(c->wbits), DT_ERR_ARGUMENT, "wbits is %d, allowed are 2..8 and %d (float)", c->wbits,
             DT_BITS_FLOAT);
    DT_CHECK(bits_allowed(c->abits), DT_ERR_ARGUMENT, "abits is %d, allowed are 2..8 and %d (float)", c->abits,
             DT_BITS_FLOAT);
    DT_CHECK((c->wbits == DT_BITS_FLOAT) == (c->abits == DT_BITS_FLOAT), DT_ERR_ARGUMENT,
             "wbits is %d and abits %d; psums are integers only if both are quantized, so both are float or neither",
             c->wbits, c->abits);
    DT_CHECK(c->input_bits == 0 || (c->input_bits >= 2 && c->input_bits <= 8), DT_ERR_ARGUMENT,
             "input_bits is %d, allowed are 2..8 and 0 (as any activation)", c->input_bits);
    DT_CHECK(c->channels >= 1 && c->channels <= 4, DT_ERR_ARGUMENT, "images of %d channels, allowed are 1..4",
             c->channels);
    DT_CHECK(c->n_classes >= 2 && c->n_classes <= 1000, DT_ERR_ARGUMENT, "%d classes, allowed are 2..1000",
             c->n_classes);
    return DT_OK;
}

void dt_config_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train)
{
    const dt_network *network = dt_network_find(model->name);
    const int digits = strcmp(dataset, "mnist") == 0 || strcmp(dataset, "svhn") == 0;

    if (network && network->for_dataset) network->for_dataset(dataset, model, train);
    if (digits) train->flip_share = 0.0f;
}

void dt_config_for_input(dt_model_config *model)
{
    const dt_network *network = dt_network_find(model->name);

    if (network && network->for_input) network->for_input(model);
}

dt_status dt_network_check_plain(const dt_model_config *c)
{
    DT_CHECK(
        c->caps_dim == 0 && c->routing == 0 && !c->paper_primary && c->decoder == DT_DECODER_NONE, DT_ERR_ARGUMENT,
        "%s has no capsules: capsules of %d values, %d routing iterations%s and decoder %s are for shallowcaps and "
        "deepcaps",
        c->name, c->caps_dim, c->routing, c->paper_primary ? ", the paper's primary capsules" : "",
        dt_decoder_names[c->decoder]);
    return dt_network_check_common(c);
}

/* The notebook's two runs. w4a4 trains from scratch; w4a2 starts from w4a4's last checkpoint (--init). */
dt_status dt_train_recipe(const char *recipe, dt_model_config *model, dt_train_config *train)
{
    const int is_w4a2 = strcmp(recipe, "w4a2") == 0;

    DT_CHECK(is_w4a2 || strcmp(recipe, "w4a4") == 0, DT_ERR_ARGUMENT, "recipe '%s' is not known; there are w4a4, w4a2",
             recipe);
    DT_TRY(dt_model_config_default("vgg16", model));
    dt_train_config_default(NULL, train);
    model->choke = is_w4a2 ? 16 : 8;
    model->abits = is_w4a2 ? 2 : 4;
    train->epochs = is_w4a2 ? 300 : 150;
    train->alpha_lr = is_w4a2 ? 0.1f : 1.0f;
    train->alpha_decay = is_w4a2 ? 0.0f : train->weight_decay;
    return DT_OK;
}
