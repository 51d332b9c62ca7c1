/*
 * networks.h - what a built-in network is, the list of them, and what networks.c and network_options.c do with it.
 */
#ifndef DT_NETWORKS_H
#define DT_NETWORKS_H

#include "build.h"

/* The built-in networks: models/N.c defines dt_network_N. */
#define DT_NETWORK_MAP(XX) XX(vgg16) XX(shallowcaps) XX(deepcaps) XX(tiny)

typedef struct {
    const char *name;
    const dt_network_option *options;       /* [DT_NETWORK_OPTIONS], those behind the last have no name; NULL: none */
    void (*defaults)(dt_model_config *out); /* of sizes and bits */
    dt_status (*check)(const dt_model_config *cfg); /* the options are within their ranges */
    void (*build)(dt_builder *b);                   /* from the graph's image to its scores */
    int has_capsules;
    int resizes;                                /* 1: images of another size are resized; 0: padded */
    void (*train_defaults)(dt_train_config *c); /* changes the general defaults; NULL: none */
    void (*for_input)(dt_model_config *model);  /* height and width are set; or NULL */
    void (*for_dataset)(const char *dataset, dt_model_config *model, dt_train_config *train); /* or NULL */
} dt_network;

#define XX(name) extern const dt_network dt_network_##name;
DT_NETWORK_MAP(XX)
#undef XX

/* Returns the built-in network of that name, or NULL. */
const dt_network *dt_network_find(const char *name);
/* Finds the built-in network of that name. DT_ERR_ARGUMENT names those that there are. */
DT_MUST_CHECK dt_status dt_network_get(const char *name, const dt_network **out);
/* Returns the names of all built-in networks: "vgg16, tiny, ..". */
const char *dt_network_names(void);

/* Sets the default configuration of a known network. */
DT_MUST_CHECK dt_status dt_network_defaults(const char *name, dt_model_config *out);

/* Builds the network that cfg describes, of real values. Bits are checked, and have no other effect. */
DT_MUST_CHECK dt_status dt_network_build(const dt_model_config *cfg, dt_graph **out);

/* DT_ERR_ARGUMENT if bits, channels or classes are out of the range that every network has. */
DT_MUST_CHECK dt_status dt_network_check_common(const dt_model_config *c);

/* ---- options (network_options.c) ---- */

/* As dt_model_option, of a built-in network. */
DT_MUST_CHECK dt_status dt_network_set_option(dt_model_config *c, const char *name, int value);
/* All of them are within their ranges, and those that the network has not are 0. */
DT_MUST_CHECK dt_status dt_network_check_options(const dt_model_config *c);
/* "vgg16 choke 16 skip block": with the options that have a label and another value than the default. */
void dt_network_label(const dt_model_config *c, char *text, size_t bytes);
/* "16", or the word "fc" if that is what any network calls it; returns text. */
const char *dt_network_value_text(const char *option, int value, char *text, size_t bytes);

#endif /* DT_NETWORKS_H */
