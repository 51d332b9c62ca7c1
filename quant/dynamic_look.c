/*
 * dynamic_look.c - what dynamic-range quantization did to each layer of a network: how many weights it has, whether
 * they are codes, and between which scales.
 *
 * Interface: dt_dynamic_look in include/detent/quantize.h.  Tests: tests/quant/test_insert_dynamic.c.
 */
#include "../core/train/model.h"
#include "insert_dynamic.h"

#include <stdlib.h>

static int is_layer(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR;
}

int dt_dynamic_count(const dt_model *quantized)
{
    int n = 0;

    for (int i = 0; i < quantized->graph->n_nodes; i++) n += is_layer(&quantized->graph->node[i]);
    return n;
}

static dt_status read_scales(const dt_model *m, int value, dt_dynamic_layer *row)
{
    const int64_t n = dt_count(dt_graph_shape(m->graph, value));
    float *scale = malloc((size_t)n * sizeof *scale);

    DT_CHECK(scale, DT_ERR_MEMORY, "no memory for the scales of %s", row->name);
    const dt_status status = dt_model_read(m, dt_model_find(m, dt_graph_name(m->graph, value)), scale);
    row->least_scale = row->scale = status == DT_OK ? scale[0] : 0.0f;
    for (int64_t k = 0; status == DT_OK && k < n; k++) {
        if (scale[k] < row->least_scale) row->least_scale = scale[k];
        if (scale[k] > row->scale) row->scale = scale[k];
    }
    free(scale);
    return status;
}

dt_status dt_dynamic_look(const dt_model *quantized, dt_dynamic_layer *rows)
{
    const dt_graph *g = quantized->graph;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (!is_layer(n)) continue;
        const dt_graph_node *codes = dt_dynamic_codes_of(g, n);
        *rows = (dt_dynamic_layer){ .name = dt_graph_name(g, n->out),
                                    .n_weights = dt_count(dt_graph_shape(g, n->in[1])),
                                    .is_codes = codes != NULL };
        if (codes) DT_TRY(read_scales(quantized, codes->in[1], rows));
        rows++;
    }
    return DT_OK;
}
