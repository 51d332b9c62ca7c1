/*
 * networks.c - the built-in networks by their names.
 */
#include "networks.h"

#include "../core/fields.h"
#include "../core/names.h"
#include "../core/train/trainer.h"

#include <string.h>

#define XX(name) &dt_network_##name,
static const dt_network *const networks[] = { DT_NETWORK_MAP(XX) NULL };
#undef XX

const char *dt_network_name(int i)
{
    return i >= 0 && i < DT_LENGTH(networks) && networks[i] ? networks[i]->name : NULL;
}

const dt_network *dt_network_find(const char *name)
{
    for (int i = 0; name && networks[i]; i++) {
        if (strcmp(networks[i]->name, name) == 0) return networks[i];
    }
    return NULL;
}

const char *dt_network_names(void)
{
#define XX(name) ", " #name
    static const char names[] = DT_NETWORK_MAP(XX);
#undef XX
    return names + 2; /* past the first comma */
}

dt_status dt_network_get(const char *name, const dt_network **out)
{
    const dt_network *n = dt_network_find(name);

    DT_CHECK(n, DT_ERR_ARGUMENT, "model '%s' is not known; there are %s, and files of networks (NAME.json)",
             name ? name : "", dt_network_names());
    *out = n;
    return DT_OK;
}

dt_status dt_network_defaults(const char *name, dt_model_config *out)
{
    const dt_network *n = NULL;

    DT_TRY(dt_network_get(name, &n));
    *out = (dt_model_config){ .name = n->name };
    n->defaults(out);
    dt_model_options_default(out);
    return DT_OK;
}

void dt_train_config_default(const char *name, dt_train_config *out)
{
    const dt_network *n = dt_network_find(name);

    dt_train_config_general(out);
    if (n && n->train_defaults) n->train_defaults(out);
}

int dt_model_resizes(const char *name)
{
    const dt_network *n = dt_network_find(name);

    return n && n->resizes;
}

int dt_network_has_capsules(const char *name)
{
    const dt_network *n = dt_network_find(name);

    return n && n->has_capsules;
}

static dt_status config_check(const dt_model_config *cfg, const dt_network **out)
{
    DT_CHECK(cfg->name, DT_ERR_ARGUMENT, "the model's name is NULL; dt_model_config_default fills dt_model_config");
    DT_TRY(dt_network_get(cfg->name, out));
    DT_TRY(dt_check_word("rule", (int)cfg->rule, dt_quant_rule_names));
    DT_TRY(dt_network_check_options(cfg));
    return (*out)->check(cfg);
}

dt_status dt_network_build(const dt_model_config *cfg, dt_graph **out)
{
    const dt_shape image = { 4, { 1, cfg->height, cfg->width, cfg->channels } };
    dt_builder b = { .config = cfg };
    const dt_network *n = NULL;
    char name[256];

    DT_TRY(config_check(cfg, &n));
    dt_network_label(cfg, name, sizeof name);
    DT_TRY(dt_graph_create(name, &b.graph));
    b.status = dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image);
    if (b.status == DT_OK) n->build(&b);
    if (b.status != DT_OK) {
        dt_graph_destroy(b.graph);
        return dt_forward(b.status, __FILE__, __LINE__);
    }
    *out = b.graph;
    return DT_OK;
}

static dt_status check_bits(const dt_model_config *c, const char *name, int bits)
{
    const int most = c->rule == DT_RULE_QKERAS ? 16 : 8;

    DT_CHECK((bits >= 2 && bits <= most) || bits == DT_BITS_FLOAT, DT_ERR_ARGUMENT,
             "%s is %d, allowed are 2..%d and %d (float)", name, bits, most, DT_BITS_FLOAT);
    return DT_OK;
}

dt_status dt_network_check_common(const dt_model_config *c)
{
    DT_TRY(check_bits(c, "wbits", c->wbits));
    DT_TRY(check_bits(c, "abits", c->abits));
    DT_CHECK((c->wbits == DT_BITS_FLOAT) == (c->abits == DT_BITS_FLOAT), DT_ERR_ARGUMENT,
             "wbits is %d and abits %d; psums are integers only if both are quantized, so both are float or neither",
             c->wbits, c->abits);
    DT_CHECK(c->input_bits == 0 || (c->input_bits >= 2 && c->input_bits <= 8), DT_ERR_ARGUMENT,
             "input_bits is %d, allowed are 2..8 and 0 (as any activation)", c->input_bits);
    DT_CHECK(c->channels >= 1 && c->channels <= DT_MOST_CHANNELS, DT_ERR_ARGUMENT,
             "images of %d channels, allowed are 1..%d", c->channels, DT_MOST_CHANNELS);
    DT_CHECK(c->n_classes >= 2 && c->n_classes <= 1000, DT_ERR_ARGUMENT, "%d classes, allowed are 2..1000",
             c->n_classes);
    return DT_OK;
}

void dt_config_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train)
{
    const dt_network *n = dt_network_find(model->name);
    const int digits = strcmp(dataset, "mnist") == 0 || strcmp(dataset, "svhn") == 0;

    if (n && n->for_dataset) n->for_dataset(dataset, model, train);
    if (digits) train->flip_share = 0.0f;
    if (dt_dataset_has_pictures(dataset)) return;
    train->crop_pad = train->shift = 0;
    train->rotation = train->flip_share = 0.0f;
}

void dt_config_for_input(dt_model_config *model)
{
    const dt_network *n = dt_network_find(model->name);

    if (n && n->for_input) n->for_input(model);
}
