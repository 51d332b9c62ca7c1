/*
 * test_networks.c - what suits a dataset: image sizes, decoders and augmentation, as the Q-CapsNets code has them.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "detent/detent.h"

static const struct {
    const char *network, *dataset;
    int side, channels, shift;
    float rotation, flip_share;
    dt_decoder decoder;
} cases[] = {
    { "shallowcaps", "mnist", 28, 1, 2, 0.0f, 0.0f, DT_DECODER_FC },
    { "deepcaps", "mnist", 28, 1, 2, 0.0f, 0.0f, DT_DECODER_CONV28 },
    { "deepcaps", "fashion-mnist", 28, 1, 2, 0.0f, 0.2f, DT_DECODER_CONV28 },
    { "deepcaps", "cifar10", 64, 3, 5, 2.0f, 0.5f, DT_DECODER_CONV64 },
    { "deepcaps", "svhn", 64, 3, 0, 0.0f, 0.0f, DT_DECODER_CONV64 },
    { "shallowcaps", "cifar10", 32, 3, 2, 2.0f, 0.5f, DT_DECODER_FC },
    { "vgg16", "cifar10", 32, 3, 0, 0.0f, 0.5f, DT_DECODER_NONE },
    { "vgg16", "svhn", 32, 3, 0, 0.0f, 0.0f, DT_DECODER_NONE },
};

Test(networks, datasets_get_what_suits_them)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_model_config m;
        dt_train_config t;
        cr_assert(dt_model_config_default(cases[i].network, &m) == DT_OK, "%s", dt_last_error());
        dt_train_config_default(cases[i].network, &t);
        dt_config_for_dataset(cases[i].dataset, &m, &t);
        cr_assert(m.height == cases[i].side && m.width == cases[i].side && m.channels == cases[i].channels,
                  "%s, %s: %dx%dx%d", cases[i].network, cases[i].dataset, m.height, m.width, m.channels);
        cr_assert(t.shift == cases[i].shift && t.rotation == cases[i].rotation && t.flip_share == cases[i].flip_share,
                  "%s, %s: shift %d, rotation %g, flip %g", cases[i].network, cases[i].dataset, t.shift,
                  (double)t.rotation, (double)t.flip_share);
        cr_assert(m.decoder == cases[i].decoder, "%s, %s: decoder %s", cases[i].network, cases[i].dataset,
                  dt_decoder_names[m.decoder]);
    }
}
