/*
 * insert_parts.c - see insert_parts.h.
 *
 * Tests: tests/core/test_graph.c, tests/core/test_graph_bits.c, tests/quant/test_insert_range.c.
 */
#include "insert_parts.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

int dt_has_weights(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_CAPS_VOTES || n->kind == DT_OP_LINEAR;
}

dt_layer_name dt_layer_name_of(const dt_graph *g, const dt_graph_node *n)
{
    static const char suffix[] = ".weight";
    const char *weight = dt_graph_name(g, n->in[1]);
    const size_t bytes = strlen(weight), end = sizeof suffix - 1;
    const int has_suffix = bytes > end && strcmp(weight + bytes - end, suffix) == 0;
    dt_layer_name name;

    snprintf(name.s, sizeof name.s, "%.*s", (int)(has_suffix ? bytes - end : bytes), weight);
    return name;
}

int dt_is_positive(const dt_graph *g, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    if (!n) return 0;
    switch (n->kind) {
    case DT_OP_RELU:
    case DT_OP_SIGMOID: return 1;
    case DT_OP_CLIP: return ((const dt_clip_params *)n->params)->low >= 0.0f;
    case DT_OP_MAXPOOL:
    case DT_OP_AVGPOOL:
    case DT_OP_FLATTEN:
    case DT_OP_IDENTITY:
    case DT_OP_TRANSPOSE: return dt_is_positive(g, n->in[0]);
    case DT_OP_ADD:
    case DT_OP_CONCAT:
        for (int k = 0; k < n->n_in; k++) {
            if (!dt_is_positive(g, n->in[k])) return 0;
        }
        return 1;
    default: return 0;
    }
}

/* Of all layers, as far as there is room: "features.0, features.4, .." */
static void list_layers(const dt_graph *g, const char *needed, char *text, size_t bytes)
{
    size_t used = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        if (!dt_has_weights(&g->node[i]) || !needed[g->node[i].out]) continue;
        const dt_layer_name layer = dt_layer_name_of(g, &g->node[i]);
        if (used + strlen(layer.s) + 8 > bytes) {
            snprintf(text + used, bytes - used, ", ..");
            return;
        }
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", layer.s);
    }
}

dt_status dt_check_layer_pattern(const dt_graph *g, const char *needed, const char *pattern)
{
    char layers[512] = "none";

    for (int i = 0; i < g->n_nodes; i++) {
        if (!dt_has_weights(&g->node[i]) || !needed[g->node[i].out]) continue;
        const dt_layer_name layer = dt_layer_name_of(g, &g->node[i]);
        if (fnmatch(pattern, layer.s, 0) == 0) return DT_OK;
    }
    list_layers(g, needed, layers, sizeof layers);
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "%s has no layer '%s' that could be quantized; there are %s",
                    g->name, pattern, layers);
}

dt_status dt_insert_linear(dt_rewrite *r, const dt_graph_node *n, const int *codes, int *out)
{
    char name[DT_NAME_MAX + 32];
    int in[2];

    DT_TRY(dt_graph_add(r->to, DT_OP_LINEAR, dt_graph_name(r->from, n->out), n->params, codes, 2, &in[0]));
    *out = in[0];
    if (n->n_in == 2) return DT_OK;
    snprintf(name, sizeof name, "%s.biased", dt_graph_name(r->from, n->out));
    DT_TRY(dt_rewrite_value(r, n->in[2], &in[1]));
    return dt_graph_add(r->to, DT_OP_BIAS, name, NULL, in, 2, out);
}

dt_status dt_insert_real(dt_rewrite *r, const char *layer, int *value)
{
    char name[DT_NAME_MAX + 32];

    if (r->to->value[*value]->facts.n_scale == 0) return DT_OK;
    snprintf(name, sizeof name, "%s.dequantize", layer);
    return dt_graph_add(r->to, DT_OP_DEQUANTIZE, name, NULL, value, 1, value);
}
