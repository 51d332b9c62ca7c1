/*
 * networks.c - the table of networks, and the recipes by which they are trained.
 */
#include "networks.h"

#include "../core/names.h"
#include "../core/train/trainer.h"
#include "capsules.h"

#include <stdio.h>
#include <string.h>

#define UNKNOWN "model '%s' is not known; there are %s, and files of networks (NAME.json)"

typedef struct {
    const char *name;
    void (*defaults)(dt_model_config *out);
    dt_status (*check)(const dt_model_config *cfg); /* names the option, its value and the range */
    void (*build)(dt_builder *b);                   /* from the graph's image to its scores */
    int resizes;                                    /* 1: images of another size are resized; 0: padded */
    void (*train_defaults)(dt_train_config *c);     /* changes the general defaults; NULL: none */
    void (*for_input)(dt_model_config *model);      /* height and width are set; or NULL */
    void (*for_dataset)(const char *dataset, dt_model_config *model, dt_train_config *train); /* or NULL */
} network;

/* What a network has beside its defaults, check and build. */
#define PLAIN .resizes = 0
#define CAPSULES                                                                                \
    .resizes = 1, .train_defaults = dt_caps_train_defaults, .for_dataset = dt_caps_for_dataset, \
    .for_input = dt_decoder_for_input

#define NETWORK_MAP(XX) XX(vgg16, PLAIN) XX(shallowcaps, CAPSULES) XX(deepcaps, CAPSULES) XX(tiny, PLAIN)

#define XX(net, ...)                   \
    { .name = #net,                    \
      .defaults = dt_##net##_defaults, \
      .check = dt_##net##_check,       \
      .build = dt_##net##_build,       \
      __VA_ARGS__ },
static const network networks[] = { NETWORK_MAP(XX) };
#undef XX

static const network *network_find(const char *name)
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

const char *dt_network_known(const char *name)
{
    const network *n = network_find(name);

    return n ? n->name : NULL;
}

dt_status dt_network_defaults(const char *name, dt_model_config *out)
{
    const network *n = network_find(name);

    DT_CHECK(n, DT_ERR_ARGUMENT, UNKNOWN, name ? name : "", dt_network_names());
    *out = (dt_model_config){ .name = n->name };
    n->defaults(out);
    return DT_OK;
}

void dt_train_config_default(const char *name, dt_train_config *out)
{
    const network *n = network_find(name);

    dt_train_config_general(out);
    if (n && n->train_defaults) n->train_defaults(out);
}

int dt_model_resizes(const char *name)
{
    const network *n = network_find(name);

    return n && n->resizes;
}

static dt_status config_check(const network *n, const dt_model_config *cfg)
{
    DT_CHECK(cfg->name, DT_ERR_ARGUMENT, "the model's name is NULL; dt_model_config_default fills dt_model_config");
    DT_CHECK(n, DT_ERR_ARGUMENT, UNKNOWN, cfg->name, dt_network_names());
    DT_TRY(dt_check_word("rule", (int)cfg->rule, dt_quant_rule_names));
    DT_TRY(dt_check_word("decoder", (int)cfg->decoder, dt_decoder_names));
    return n->check(cfg);
}

/* "vgg16 choke 16 skip block" */
static dt_status create_named(const dt_model_config *c, dt_graph **out)
{
    char name[96], choke[32] = "";

    if (c->choke > 0) snprintf(choke, sizeof choke, " choke %d", c->choke);
    snprintf(name, sizeof name, "%.40s%s%s", c->name, choke, c->skip_block ? " skip block" : "");
    return dt_graph_create(name, out);
}

dt_status dt_network_build(const dt_model_config *cfg, dt_graph **out)
{
    const network *n = network_find(cfg->name);
    const dt_shape image = { 4, { 1, cfg->height, cfg->width, cfg->channels } };
    dt_builder b = { .config = cfg };

    DT_TRY(config_check(n, cfg));
    DT_TRY(create_named(cfg, &b.graph));
    b.status = dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image);
    if (b.status == DT_OK) n->build(&b);
    if (b.status != DT_OK) {
        dt_graph_destroy(b.graph);
        return dt_forward(b.status, __FILE__, __LINE__);
    }
    *out = b.graph;
    return DT_OK;
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
    const network *n = network_find(model->name);
    const int digits = strcmp(dataset, "mnist") == 0 || strcmp(dataset, "svhn") == 0;

    if (n && n->for_dataset) n->for_dataset(dataset, model, train);
    if (digits) train->flip_share = 0.0f;
}

void dt_config_for_input(dt_model_config *model)
{
    const network *n = network_find(model->name);

    if (n && n->for_input) n->for_input(model);
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
    DT_TRY(dt_network_defaults("vgg16", model));
    dt_train_config_default(NULL, train);
    model->choke = is_w4a2 ? 16 : 8;
    model->abits = is_w4a2 ? 2 : 4;
    train->epochs = is_w4a2 ? 300 : 150;
    train->alpha_lr = is_w4a2 ? 0.1f : 1.0f;
    train->alpha_decay = is_w4a2 ? 0.0f : train->weight_decay;
    return DT_OK;
}
