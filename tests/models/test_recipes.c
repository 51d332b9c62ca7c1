/*
 * test_recipes.c - each recipe of the list makes settings that a trainer takes, and its text is whole.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/tiny_run.h"

#include "detent/recipe.h"

/* The trainer checks all settings: with those of the recipe it takes the network "tiny". */
static void check_settings(const dt_recipe_info *is)
{
    tiny_options o = tiny_defaults();
    dt_model_config model;
    tiny_run r;

    MUST(dt_train_recipe(is->name, &model, &o.train));
    cr_assert(strcmp(model.name, is->network) == 0, "%s: network %s", is->name, model.name);
    const int least = dt_network_has_capsules(is->network) ? 7 : 8; /* epochs */
    cr_assert(o.train.epochs >= least && o.train.lr > 0.0f, "%s", is->name);
    o.model.wbits = model.wbits;
    o.model.abits = model.abits;
    o.model.rule = model.rule;
    cr_assert(tiny_open(&r, &o), "%s", is->name);
    MUST(dt_trainer_calibrate(r.trainer));
    MUST(dt_trainer_step(r.trainer));
    tiny_close(&r);
}

Test(recipes, each_can_be_trained)
{
    dt_recipe_info is;
    int n = 0;

    while (dt_recipe(n, &is)) {
        cr_assert(is.about && is.about[0] && is.start && is.dataset, "%s: a text is missing", is.name);
        check_settings(&is);
        n++;
    }
    cr_assert(n >= 10, "%d recipes", n);
    cr_assert(!dt_recipe(-1, &is) && !dt_recipe(n, &is));
}

/* A built-in network is one that there is; a file lies in models/. */
Test(recipes, networks_are_there)
{
    dt_recipe_info is;

    for (int i = 0; dt_recipe(i, &is); i++) {
        dt_model_config c;
        const int is_built_in = dt_model_config_default(is.network, &c) == DT_OK;
        cr_assert(is_built_in || strncmp(is.network, "models/", 7) == 0, "%s: %s", is.name, is.network);
    }
}

Test(recipes, short_names_are_the_best_ones)
{
    dt_model_config a, b;
    dt_train_config x, y;

    MUST(dt_train_recipe("w4a2", &a, &x));
    MUST(dt_train_recipe("vgg16-w4a2", &b, &y));
    cr_assert(memcmp(&x, &y, sizeof x) == 0 && a.abits == b.abits && dt_model_option_value(&a, "choke") == 16);
    MUST(dt_train_recipe("w4a4", &a, &x));
    MUST(dt_train_recipe("vgg16-w4a4", &b, &y));
    cr_assert(memcmp(&x, &y, sizeof x) == 0 && a.abits == b.abits && dt_model_option_value(&a, "choke") == 8);
    cr_assert(a.start_weights == DT_START_WEIGHTS_KEEP);
}
