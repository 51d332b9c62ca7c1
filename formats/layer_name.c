/*
 * layer_name.c - see layer_name.h.
 */
#include "layer_name.h"

#include <ctype.h>
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

void dt_layer_name_copy(char *to, size_t room, const char *from, size_t n, char slash)
{
    size_t k = 0;

    for (; k < n && k < room - 1; k++) {
        const unsigned char c = (unsigned char)from[k];
        to[k] = isalnum(c) || c == '_' || c == '-' || c == '.' ? (char)c : c == '/' ? slash : '_';
    }
    to[k] = '\0';
}

void dt_layer_name(const dt_graph *g, const char *base, char *name, size_t bytes)
{
    snprintf(name, bytes, "%s", base);
    for (int i = 2; !is_free(g, name); i++) snprintf(name, bytes, "%s_%d", base, i);
}
