/*
 * tensor.c - shapes as text.
 */
#include "tensor.h"

#include <stdio.h>

const char *dt_shape_text(const dt_shape *s, char *text, size_t bytes)
{
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; i < s->ndim && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i ? "x" : "", (long long)s->dim[i]);
    }
    return text;
}
