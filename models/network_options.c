/*
 * network_options.c - the options of built-in networks, by the tables that their builders declare.
 *
 * Interface: include/detent/network.h, networks.h.  Tests: tests/models/test_networks.c.
 */
#include "networks.h"

#include "../core/names.h"

#include <stdio.h>
#include <string.h>

enum { LIST_BYTES = 256 };

int dt_network_options(const char *network, const dt_network_option **out)
{
    const dt_network *n = dt_network_find(network);
    int count = 0;

    *out = n ? n->options : NULL;
    while (*out && count < DT_NETWORK_OPTIONS && (*out)[count].name) count++;
    return count;
}

/* Its place in dt_model_config.option; -1 if the network has none of that name. */
static int option_find(const char *network, const char *name, const dt_network_option **out)
{
    const dt_network_option *options;
    const int n = dt_network_options(network, &options);

    for (int i = 0; name && i < n; i++) {
        if (strcmp(options[i].name, name) != 0) continue;
        *out = &options[i];
        return i;
    }
    return -1;
}

/* Two words behind what the text has already; cut at its end. */
static void append(char *text, size_t bytes, const char *one, const char *two)
{
    const size_t used = strlen(text);

    snprintf(text + used, bytes - used, "%s%s", one, two);
}

/* "choke, skip-block" */
static const char *list_options(const char *network, char text[LIST_BYTES])
{
    const dt_network_option *options;
    const int n = dt_network_options(network, &options);

    snprintf(text, LIST_BYTES, "%s", n ? "" : "none");
    for (int i = 0; i < n; i++) append(text, LIST_BYTES, i ? ", " : "", options[i].name);
    return text;
}

static dt_status check_value(const dt_network_option *o, int value)
{
    if (o->words) return dt_check_word(o->name, value, o->words);
    DT_CHECK(value >= o->min && value <= o->max, DT_ERR_ARGUMENT, "%s is %d, allowed are %d..%d", o->name, value,
             o->min, o->max);
    return DT_OK;
}

dt_status dt_network_set_option(dt_model_config *c, const char *name, int value)
{
    const dt_network_option *option;
    const dt_network *network;
    char list[LIST_BYTES];

    DT_TRY(dt_network_get(c->name, &network));
    const int i = option_find(c->name, name, &option);
    DT_CHECK(i >= 0, DT_ERR_ARGUMENT, "%s has no option %s, which was to be %d; its options: %s", c->name,
             name ? name : "NULL", value, list_options(c->name, list));
    DT_TRY(check_value(option, value));
    c->option[i] = value;
    return DT_OK;
}

int dt_model_option_value(const dt_model_config *c, const char *name)
{
    const dt_network_option *option;
    const int i = option_find(c->name, name, &option);

    return i >= 0 ? c->option[i] : 0;
}

void dt_model_options_default(dt_model_config *c)
{
    const dt_network_option *options;
    const int n = dt_network_options(c->name, &options);

    for (int i = 0; i < DT_NETWORK_OPTIONS; i++) c->option[i] = i < n ? options[i].value : 0;
}

dt_status dt_network_check_options(const dt_model_config *c)
{
    const dt_network_option *options;
    const int n = dt_network_options(c->name, &options);

    for (int i = 0; i < DT_NETWORK_OPTIONS; i++) {
        if (i < n) DT_TRY(check_value(&options[i], c->option[i]));
        DT_CHECK(i < n || c->option[i] == 0, DT_ERR_ARGUMENT,
                 "option[%d] is %d, and %s has %d options; dt_model_options_default gives a configuration those of its "
                 "network",
                 i, c->option[i], c->name, n);
    }
    return DT_OK;
}

static const char *value_text(const dt_network_option *o, int value, char *text, size_t bytes)
{
    if (o && o->words && value >= 0 && value <= o->max)
        snprintf(text, bytes, "%s", o->words[value]);
    else
        snprintf(text, bytes, "%d", value);
    return text;
}

const char *dt_network_value_text(const char *option, int value, char *text, size_t bytes)
{
    const dt_network_option *found = NULL;

    for (int i = 0; dt_network_name(i) && option_find(dt_network_name(i), option, &found) < 0;) i++;
    return value_text(found, value, text, bytes);
}

void dt_network_label(const dt_model_config *c, char *text, size_t bytes)
{
    const dt_network_option *options;
    const int n = dt_network_options(c->name, &options);
    char value[32];

    snprintf(text, bytes, "%s", c->name);
    for (int i = 0; i < n; i++) {
        const dt_network_option *o = &options[i];
        if (!o->label || c->option[i] == o->value) continue;
        append(text, bytes, " ", o->label);
        if (o->unit) append(text, bytes, " ", value_text(o, c->option[i], value, sizeof value));
    }
}
