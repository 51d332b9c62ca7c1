/*
 * layer_name.c - see layer_name.h.
 */
#include "layer_name.h"

#include <stdio.h>
#include <string.h>

/* 1 if no value has the name, nor is called after it. */
static int is_free(const dt_graph *g, const char *name)
{
    const size_t n = strlen(name);

    for (int i = 0; i < g->n_values; i++) {
        const char *other = g->value[i]->name;
        if (strncmp(other, name, n) == 0 && (other[n] == '\0' || other[n] == '.')) return 0;
    }
    return 1;
}

void dt_layer_name(const dt_graph *g, const char *base, char *name, size_t bytes)
{
    snprintf(name, bytes, "%s", base);
    for (int i = 2; !is_free(g, name); i++) snprintf(name, bytes, "%s_%d", base, i);
}
