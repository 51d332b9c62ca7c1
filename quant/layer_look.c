/*
 * layer_look.c - what quantization did to the weights of each layer of a network: how many there are, whether they are
 * codes, and between which scales.
 *
 * Codes of DRQ are in the network with their scales. Those of MAX_QUANT follow from the weights, by core/arith/range.h.
 *
 * Interface: dt_layer_look in include/detent/quantize.h.  Tests: tests/formats/test_quantize_schemes.c.
 */
#include "../core/arith/range.h"
#include "../core/train/model.h"
#include "insert_dynamic.h"

#include <stdlib.h>

static int is_layer(const dt_graph_node *n)
{
    return n->kind == DT_OP_CONV2D || n->kind == DT_OP_LINEAR;
}

int dt_layer_count(const dt_model *m)
{
    int n = 0;

    for (int i = 0; i < m->graph->n_nodes; i++) n += is_layer(&m->graph->node[i]);
    return n;
}

static void add_scale(dt_layer_weights *row, float scale)
{
    if (!(row->scale > 0.0f) || scale < row->least_scale) row->least_scale = scale;
    if (scale > row->scale) row->scale = scale;
}

/* Sets *out to the data of a parameter; the caller frees it. */
static dt_status read_param(const dt_model *m, int value, float **out)
{
    const char *name = dt_graph_name(m->graph, value);
    float *data = malloc((size_t)dt_count(dt_graph_shape(m->graph, value)) * sizeof *data);

    DT_CHECK(data, DT_ERR_MEMORY, "no memory for %s", name);
    const dt_status status = dt_model_read(m, dt_model_find(m, name), data);
    if (status != DT_OK) {
        free(data);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = data;
    return DT_OK;
}

/* codes: a CODES, whose scales are its second input. */
static dt_status look_at_codes(const dt_model *m, const dt_graph_node *codes, dt_layer_weights *row)
{
    const dt_codes_params *p = codes->params;
    const int64_t n = dt_count(dt_graph_shape(m->graph, codes->in[1]));
    float *scale;

    DT_TRY(read_param(m, codes->in[1], &scale));
    for (int64_t k = 0; k < n; k++) add_scale(row, scale[k]);
    free(scale);
    for (row->bits = 2; dt_weight_high(row->bits) < p->high; row->bits++) continue;
    return DT_OK;
}

/* quant: a MAX_QUANT of a parameter. */
static dt_status look_at_weights(const dt_model *m, const dt_graph_node *quant, dt_layer_weights *row)
{
    const dt_max_quant_params *p = quant->params;
    const int64_t n_scale = dt_count(dt_graph_shape(m->graph, quant->in[1])), n = row->n_weights / n_scale;
    float *w, *least;

    DT_TRY(read_param(m, quant->in[0], &w));
    dt_status status = read_param(m, quant->in[1], &least);
    for (int64_t k = 0; status == DT_OK && k < n_scale; k++) {
        float magnitude = 0.0f;
        for (int64_t i = 0; i < n; i++) magnitude = dt_max_magnitude(magnitude, w[k * n + i]);
        add_scale(row, (float)dt_max_step(magnitude, dt_weight_high(p->bits), least[k]));
    }
    if (status == DT_OK) free(least);
    free(w);
    row->bits = p->bits;
    return status;
}

/* The MAX_QUANT of a layer's weights, which may be real values again behind it; or NULL. */
static const dt_graph_node *max_quant_of(const dt_graph *g, const dt_graph_node *layer)
{
    const dt_graph_node *n = dt_graph_maker(g, layer->in[1]);

    if (n && n->kind == DT_OP_DEQUANTIZE) n = dt_graph_maker(g, n->in[0]);
    return n && n->kind == DT_OP_MAX_QUANT && g->value[n->in[0]]->source == DT_SOURCE_PARAM ? n : NULL;
}

dt_status dt_layer_look(const dt_model *m, dt_layer_weights *rows)
{
    const dt_graph *g = m->graph;

    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (!is_layer(n)) continue;
        const dt_graph_node *codes = dt_dynamic_codes_of(g, n), *quant = max_quant_of(g, n);
        *rows =
            (dt_layer_weights){ .name = dt_graph_name(g, n->out), .n_weights = dt_count(dt_graph_shape(g, n->in[1])) };
        if (codes)
            DT_TRY(look_at_codes(m, codes, rows));
        else if (quant)
            DT_TRY(look_at_weights(m, quant, rows));
        rows++;
    }
    return DT_OK;
}
