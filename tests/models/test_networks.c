/*
 * test_networks.c - what suits a dataset: image sizes, decoders and augmentation, as the Q-CapsNets code has them; and
 *                   the options that networks have.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/choose.h"

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
        const int decoder = dt_model_option_value(&m, "decoder");
        cr_assert(decoder == (int)cases[i].decoder, "%s, %s: decoder %s", cases[i].network, cases[i].dataset,
                  dt_decoder_names[decoder]);
    }
}

/* ---- options ---- */

/* What networks have: written by hand, so that no builder loses an option unseen. */
static const struct {
    const char *network, *option;
    int value, least, most;
} options[] = {
    { "vgg16", "choke", 0, 0, 512 },
    { "vgg16", "skip-block", 0, 0, 1 },
    { "vgg16", "width-percent", 100, 25, 100 },
    { "shallowcaps", "caps-dim", 16, 1, 64 },
    { "shallowcaps", "routing-iterations", 3, 1, 4 },
    { "shallowcaps", "decoder", DT_DECODER_FC, DT_DECODER_NONE, DT_DECODER_CONV64 },
    { "shallowcaps", "paper-primary", 0, 0, 1 },
    { "deepcaps", "caps-dim", 32, 1, 64 },
    { "deepcaps", "routing-iterations", 3, 1, 4 },
    { "deepcaps", "decoder", DT_DECODER_CONV28, DT_DECODER_NONE, DT_DECODER_CONV64 },
};

static dt_model_config defaults_of(const char *network)
{
    dt_model_config c;
    cr_assert(dt_model_config_default(network, &c) == DT_OK, "%s", dt_last_error());
    return c;
}

Test(networks, options_have_defaults_and_ranges)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        dt_model_config c = defaults_of(options[i].network);
        const char *name = options[i].option;
        cr_assert(dt_model_option_value(&c, name) == options[i].value, "%s of %s is %d", name, c.name,
                  dt_model_option_value(&c, name));
        choose(&c, name, options[i].least);
        cr_assert(dt_model_option_value(&c, name) == options[i].least, "%s", name);
        choose(&c, name, options[i].most);
        cr_assert(dt_model_option(&c, name, options[i].least - 1) == DT_ERR_ARGUMENT, "%s", name);
        cr_assert(dt_model_option(&c, name, options[i].most + 1) == DT_ERR_ARGUMENT, "%s", name);
        cr_assert(strstr(dt_last_error(), name), "%s", dt_last_error());
        cr_assert(dt_model_option_value(&c, name) == options[i].most, "%s: a failure has changed it", name);
        dt_model_options_default(&c);
        cr_assert(dt_model_option_value(&c, name) == options[i].value, "%s", name);
    }
}

Test(networks, an_option_of_another_network_is_refused)
{
    dt_model_config c = defaults_of("vgg16");

    cr_assert(dt_model_option_value(&c, "caps-dim") == 0);
    cr_assert(dt_model_option(&c, "caps-dim", 16) == DT_ERR_ARGUMENT);
    cr_assert(
        strstr(dt_last_error(), "vgg16 has no option caps-dim, which was to be 16; its options: choke, skip-block"),
        "%s", dt_last_error());
    c = defaults_of("tiny");
    cr_assert(dt_model_option(&c, "choke", 0) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "its options: none"), "%s", dt_last_error());
}

/* The command line has one row for the options of a name. */
static void check_same(const dt_network_option *a, const dt_network_option *b)
{
    cr_assert(a->min == b->min && a->max == b->max && a->words == b->words && !a->unit == !b->unit &&
                  a->of_training == b->of_training,
              "two networks have an option %s, and it is not the same", a->name);
}

Test(networks, options_of_one_name_are_one_option)
{
    const dt_network_option *a, *b;
    int n_options = 0;

    for (int i = 0; dt_network_name(i); i++) {
        const int n_a = dt_network_options(dt_network_name(i), &a);
        for (int k = 0; k < n_a; k++, n_options++) {
            cr_assert(a[k].about && a[k].value >= a[k].min && a[k].value <= a[k].max, "%s", a[k].name);
            cr_assert(a[k].unit || (a[k].min == 0 && a[k].max == 1), "%s is a flag", a[k].name);
            for (int j = 0; a[k].words && j <= a[k].max; j++) cr_assert(a[k].words[j], "%s: %d", a[k].name, j);
            cr_assert(!a[k].words || !a[k].words[a[k].max + 1], "%s: more words than values", a[k].name);
            for (int j = 0; j < i; j++) {
                const int n_b = dt_network_options(dt_network_name(j), &b);
                for (int l = 0; l < n_b; l++) {
                    if (strcmp(a[k].name, b[l].name) == 0) check_same(&a[k], &b[l]);
                }
            }
        }
    }
    cr_assert(n_options >= (int)(sizeof options / sizeof options[0]), "only %d options were found", n_options);
}

Test(networks, there_are_four)
{
    static const char *const names[] = { "vgg16", "shallowcaps", "deepcaps", "tiny" };

    for (int i = 0; i < 4; i++) {
        cr_assert(strcmp(dt_network_name(i), names[i]) == 0, "%s", dt_network_name(i));
        cr_assert(dt_network_has_capsules(names[i]) == (i == 1 || i == 2));
    }
    cr_assert(!dt_network_name(4) && !dt_network_name(-1) && !dt_network_has_capsules("small.json"));
}
