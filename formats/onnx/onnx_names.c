/*
 * onnx_names.c - names of layers. Interface: onnx_layers.h.
 *
 * PyTorch's exporters keep its modules' names in those of weights ("features.3.weight") and in paths
 * ("/features/features.3/Conv", whose part "features.3" says all that the parts before it say).
 */
#include "onnx_layers.h"

#include "../layer_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Adds a part of a path to what stands there: "f.3" replaces "f", other parts follow behind a '/'. What has no room is
 * left out. */
static void add_part(char *to, size_t room, const char *part, size_t n)
{
    char *last = strrchr(to, '/');
    char *stem = last ? last + 1 : to, *end = to + strlen(to);
    const size_t length = (size_t)(end - stem);

    if (length > 0 && n > length && strncmp(part, stem, length) == 0 && part[length] == '.') {
        end = stem;
    } else if (end > to && (size_t)(end - to) + 1 < room) {
        *end++ = '/';
    }
    dt_layer_name_copy(end, room - (size_t)(end - to), part, n, '_');
}

/* "/features/features.3/Conv" is "features.3", of a layer; of what has no weights it is "features.3.conv". */
static void name_of_path(const char *path, int has_weights, char *to, size_t room)
{
    to[0] = '\0';
    for (const char *part = path + 1; *part;) {
        const size_t n = strcspn(part, "/");
        const int is_last = part[n] == '\0';
        if (is_last && has_weights && to[0]) break;
        add_part(to, room, part, n);
        if (is_last && !has_weights) {
            for (char *c = to + (strlen(to) > n ? strlen(to) - n : 0); *c; c++) *c = (char)tolower((unsigned char)*c);
        }
        part += n + !is_last;
    }
    for (char *c = to; *c; c++) {
        if (*c == '/') *c = '.';
    }
}

/* The bytes of a weights' name before its end: "f.3" of "f.3.weight". 0: it has no such end. */
static size_t stem_of(const char *weights)
{
    static const char *const ends[] = { ".weight", ".weight_quantized", ".weight_quant", ".kernel" };
    const size_t n = strlen(weights);

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const size_t end = strlen(ends[i]);
        if (n > end && strcmp(weights + n - end, ends[i]) == 0) return n - end;
    }
    return 0;
}

void dt_onnx_name(const dt_onnx_import *imp, const dt_onnx_node *n, int k, char name[DT_ONNX_NAME])
{
    const char *own = dt_onnx_node_name(imp->m, n), *weights = k >= 0 ? dt_onnx_in_name(imp, n, k) : "";
    const size_t stem = strncmp(weights, "onnx::", 6) == 0 ? 0 : stem_of(weights); /* the exporter's own names */
    char base[DT_ONNX_NAME - 16];

    if (stem > 0)
        dt_layer_name_copy(base, sizeof base, weights, stem, '_');
    else if (own[0] == '/' && own[1])
        name_of_path(own, k >= 0, base, sizeof base);
    else {
        if (strncmp(own, "node_", 5) == 0) own += 5;
        dt_layer_name_copy(base, sizeof base, own, strlen(own), '_');
    }
    if (!base[0] || base[strspn(base, "0123456789")] == '\0') snprintf(base, sizeof base, "%.40s_%.40s", n->op, own);
    for (char *c = base; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c)) *c = '_';
    }
    if (stem > 0 && dt_graph_find(imp->graph, base) < 0)
        snprintf(name, DT_ONNX_NAME, "%s", base); /* codes that it reads may be called after it */
    else
        dt_layer_name(imp->graph, base, name, DT_ONNX_NAME);
}
