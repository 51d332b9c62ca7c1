/*
 * recipes.c - the recipes by which networks are trained, as a table. `detent recipes` lists it.
 *
 * A row says what differs from the trainer's defaults (dt_train_config_default) and from those of its network. What a
 * recipe has reached stands in it only where a run of it was seen; docs/ACCURACY.md has the runs.
 *
 * Sources: the VGG16 QAT notebook (notebook-*); for the others the means of docs/ACCURACY.md.
 * Tests: tests/models/test_recipes.c.
 */
#include "../core/fields.h"
#include "networks.h"

#include "detent/recipe.h"

#include <stdio.h>
#include <string.h>

/* 0 stands for the default of a member, but for schedule and optimiser. */
typedef struct {
    dt_recipe_info is;
    int choke;         /* of vgg16 */
    int paper_primary; /* of shallowcaps */
    int wbits, abits;
    dt_quant_rule rule;
    int epochs, batch;
    dt_optim_kind optim;
    dt_schedule_kind schedule;
    float lr, warmup, peak, weight_decay, alpha_lr, alpha_decay;
    float label_smoothing;
    float ema;
    int cutout;
    dt_flip_kind flip_kind;
    dt_start_clips start_clips;
    dt_start_weights start_weights;
} recipe;

#define FLOAT_BITS .wbits = DT_BITS_FLOAT, .abits = DT_BITS_FLOAT
#define NOTEBOOK   .rule = DT_RULE_ECE284, .schedule = DT_SCHEDULE_COSINE, .lr = 1e-2f
/* learned steps, alternating flip, cutout, a mean of the parameters */
#define LEARNED .rule = DT_RULE_LSQ, .cutout = 12, .flip_kind = DT_FLIP_ALTERNATING, .ema = 0.999f
/* steps that begin where the squared error is least, and learn at the rate of the weights, as LSQ's authors have it;
 * the rate rises in a tenth of a stage */
#define FROM_DATA \
    LEARNED, .start_clips = DT_START_CLIPS_MSE, .alpha_lr = 1.0f, .schedule = DT_SCHEDULE_TRIANGULAR, .peak = 0.1f
/* VGG16's chokepoint has no batch norm: at this rate its first weights are to keep a signal's size */
#define VGG16 FROM_DATA, .start_weights = DT_START_WEIGHTS_KEEP, .lr = 5e-2f, .weight_decay = 1e-3f
/* minutes instead of hours: one rise and one fall of the rate, few epochs */
#define FAST                                                                          \
    .rule = DT_RULE_LSQ, .schedule = DT_SCHEDULE_TRIANGULAR, .label_smoothing = 0.2f, \
    .flip_kind = DT_FLIP_ALTERNATING, .ema = 0.99f, .epochs = 8
#define CAPSULES .optim = DT_OPTIM_ADAM, .schedule = DT_SCHEDULE_COSINE, .ema = 0.998f, FLOAT_BITS
#define HELD_OUT "--val-size 5000"
#define INIT     "--init DIR/last.safetensors"
/* the network of reals, and the same with 8 bits, which teaches at the speed of integers */
#define REALS "float:45:5e-4,w8a8:1:5e-4:1e-4"

/* clang-format off */
static const recipe recipes[] = {
    { { "notebook-w4a4", "vgg16", "cifar10", "The VGG16 notebook's run from scratch", "", NULL },
      NOTEBOOK, .choke = 8, .wbits = 4, .abits = 4, .epochs = 150, .alpha_lr = 1.0f, .alpha_decay = 1e-5f },
    { { "notebook-w4a2", "vgg16", "cifar10", "The VGG16 notebook's run from a w4a4", INIT " of notebook-w4a4", NULL },
      NOTEBOOK, .choke = 16, .wbits = 4, .abits = 2, .epochs = 300, .alpha_lr = 0.1f },
    { { "vgg16-w4a4", "vgg16", "cifar10", "Learned steps, taught by its network of reals",
        "--stages " REALS ",w4a4:98 --stages-teach", NULL },
      VGG16, .choke = 8, .wbits = 4, .abits = 4, .epochs = 98 },
    { { "vgg16-w4a2", "vgg16", "cifar10", "Learned steps, taught by its network of reals",
        "--stages " REALS ",w4a2:98 --stages-teach", NULL },
      VGG16, .choke = 16, .wbits = 4, .abits = 2, .epochs = 98 },
    { { "hour-w4a2", "vgg16", "cifar10", "An hour: 4 bits from scratch, then 2",
        "--stages w4a4:18:5e-4:0.03,w4a2:57:5e-4:0.03",
        "89.26 % of the JPEG copies of CIFAR-10 in 57 minutes of two CPUs with AMX, one seed" },
      LEARNED, .schedule = DT_SCHEDULE_COSINE, .warmup = 2.0f, .choke = 16, .wbits = 4, .abits = 2, .epochs = 75,
      .lr = 3e-2f, .weight_decay = 5e-4f },
    { { "vgg16-w2a2", "vgg16", "cifar10", "Learned steps, taught by its network of reals",
        "--stages " REALS ",w3a3:60,w2a2:300 --stages-teach", NULL },
      VGG16, .choke = 16, .wbits = 2, .abits = 2, .epochs = 300 },
    { { "resnet20-w4a4", "models/resnet20.json", "cifar10", "Learned steps, from the network of reals",
        "--stages float:100,w8a8:1:1e-4:1e-4,w4a4:200:1e-4 --stages-teach", NULL },
      FROM_DATA, .wbits = 4, .abits = 4, .epochs = 200, .lr = 4e-2f, .weight_decay = 1e-4f },
    { { "resnet20-w2a2", "models/resnet20.json", "cifar10", "Learned steps, bits in stages",
        "--stages float:100,w8a8:1:1e-4:1e-4,w4a4:100:1e-4,w3a3:100:1e-4,w2a2:300:3e-5 --stages-teach", NULL },
      FROM_DATA, .wbits = 2, .abits = 2, .epochs = 300, .lr = 4e-2f, .weight_decay = 3e-5f },
    { { "mobilenet-w4a4", "models/mobilenet.json", "cifar10", "Learned steps, a scale for each filter",
        "--per-channel --stages float:100,w8a8:1:1e-4:1e-4,w4a4:200:1e-4 --stages-teach", NULL },
      FROM_DATA, .wbits = 4, .abits = 4, .epochs = 200, .lr = 4e-2f, .weight_decay = 1e-4f },
    { { "shallowcaps-mnist", "shallowcaps", "mnist", "Reals, as Q-CapsNets begins from", HELD_OUT,
        "99.50 % of the test images in 42 minutes of a shared CPU with AMX, one seed" },
      CAPSULES, .paper_primary = 1, .epochs = 7 },
    { { "shallowcaps-fashion", "shallowcaps", "fashion-mnist", "Reals, half of the images mirrored",
        HELD_OUT " --flip 0.5", "90.68 % of the test images in 45 minutes of a shared CPU with AMX, one seed" },
      CAPSULES, .paper_primary = 1, .epochs = 10 },
    { { "deepcaps-mnist", "deepcaps", "mnist", "Reals, as Q-CapsNets begins from", HELD_OUT,
        "99.69 % of the test images in 51 minutes of a shared CPU with AMX, one seed" },
      CAPSULES, .epochs = 8 },
    { { "fast-float", "vgg16", "cifar10", "Minutes: reals, eight epochs", "", NULL },
      FAST, .choke = 16, FLOAT_BITS, .lr = 1e-2f },
    { { "fast-w4a4", "vgg16", "cifar10", "Minutes: eight epochs from fast-float", INIT " of fast-float", NULL },
      FAST, .choke = 16, .wbits = 4, .abits = 4, .lr = 1e-2f },
    { { "fast-w4a2", "vgg16", "cifar10", "Minutes: eight epochs from fast-w4a4", INIT " of fast-w4a4", NULL },
      FAST, .choke = 16, .wbits = 4, .abits = 2, .lr = 1e-2f },
};
/* clang-format on */

/* The short names of the best recipes of VGG16. */
static const char *full_name(const char *name)
{
    if (strcmp(name, "w4a4") == 0) return "vgg16-w4a4";
    return strcmp(name, "w4a2") == 0 ? "vgg16-w4a2" : name;
}

int dt_recipe(int i, dt_recipe_info *out)
{
    if (i < 0 || i >= DT_LENGTH(recipes)) return 0;
    *out = recipes[i].is;
    return 1;
}

static const recipe *find(const char *name)
{
    for (int i = 0; i < DT_LENGTH(recipes); i++) {
        if (strcmp(recipes[i].is.name, full_name(name)) == 0) return &recipes[i];
    }
    return NULL;
}

static dt_status unknown(const char *name)
{
    char names[512];
    int n = 0;

    for (int i = 0; i < DT_LENGTH(recipes) && n < (int)sizeof names; i++) {
        n += snprintf(names + n, sizeof names - (size_t)n, ", %s", recipes[i].is.name);
    }
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "recipe '%s' is not known; there are w4a4, w4a2%s", name,
                    names);
}

static void take(float *to, float value)
{
    if (value != 0.0f) *to = value;
}

static void set_training(const recipe *r, dt_train_config *t)
{
    t->epochs = r->epochs;
    if (r->batch > 0) t->batch = r->batch;
    t->optim = r->optim;
    t->schedule = r->schedule;
    take(&t->lr, r->lr);
    take(&t->warmup, r->warmup);
    take(&t->peak, r->peak);
    take(&t->weight_decay, r->weight_decay);
    take(&t->alpha_lr, r->alpha_lr);
    take(&t->alpha_decay, r->alpha_decay);
    take(&t->label_smoothing, r->label_smoothing);
    take(&t->ema, r->ema);
    t->cutout = r->cutout;
    t->flip_kind = r->flip_kind;
    t->start_clips = r->start_clips;
}

dt_status dt_train_recipe(const char *name, dt_model_config *model, dt_train_config *train)
{
    const recipe *r = find(name);

    if (!r) return unknown(name);
    const int is_file = !dt_network_find(r->is.network);
    DT_TRY(dt_network_defaults(is_file ? "vgg16" : r->is.network, model));
    dt_train_config_default(is_file ? NULL : r->is.network, train);
    if (is_file) {
        model->name = r->is.network;
        dt_model_options_default(model); /* it has none */
    }
    if (r->choke > 0) DT_TRY(dt_network_set_option(model, "choke", r->choke));
    if (r->paper_primary) DT_TRY(dt_network_set_option(model, "paper-primary", 1));
    model->wbits = r->wbits;
    model->abits = r->abits;
    model->rule = r->rule;
    model->start_weights = r->start_weights;
    set_training(r, train);
    return DT_OK;
}
