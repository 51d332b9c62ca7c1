/*
 * extraction_rig.h - for tests of extraction: a small network with affine quantizers, random weights and known ranges.
 *
 * Its branches are such that the last quantizer before the layer `c` is not the one on the path to it. `dw` is
 * depthwise with two filters a channel, and has no bias; filter 1 of `c` is zeros; `e` has zeros for biases.
 */
#ifndef EXTRACTION_RIG_H
#define EXTRACTION_RIG_H

#include "../../quant/extract.h"
#include "../../quant/insert_range.h"
#include "draws.h"
#include "range_networks.h"
#include "tiny_run.h"

static const char extraction_network[] =
    "{ \"format\": \"detent-network\", \"image\": [6, 5, 2], \"classes\": 4, \"nodes\": ["
    "[\"dw\", \"conv\", \"image\", { \"filters\": 4, \"groups\": 2, \"window\": [3, 2] }],"
    "[\"dw.relu\", \"relu\", \"dw\"],"
    "[\"d\", \"conv\", \"dw.relu\", { \"filters\": 3, \"window\": 1 }],"
    "[\"d.relu\", \"relu\", \"d\"],"
    "[\"e\", \"conv\", \"d.relu\", { \"filters\": 2, \"window\": 1 }],"
    "[\"e.biased\", \"bias\", \"e\"],"
    "[\"c\", \"conv\", \"dw.relu\", { \"filters\": 2, \"window\": [3, 1], \"pad\": [1, 0, 1, 0] }],"
    "[\"c.biased\", \"bias\", \"c\"],"
    "[\"sum\", \"add\", [\"c.biased\", \"e.biased\"]],"
    "[\"pool\", \"maxpool\", \"sum\", { \"window\": 2 }],"
    "[\"flat\", \"flatten\", \"pool\"],"
    "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";

typedef struct {
    dt_context *ctx;
    dt_model *model;
} extraction_rig;

/* The range of value i of the plain network: ends that no other has; above 0 behind a ReLU. */
static inline dt_range extraction_range(const dt_graph *plain, int i)
{
    const int is_relu = strstr(dt_graph_name(plain, i), ".relu") != NULL;
    return (dt_range){ is_relu ? 0.01f * (float)i : -1.0f - 0.37f * (float)i, 2.0f + 0.41f * (float)i };
}

static inline void extraction_draw(dt_model *m)
{
    draws d = { .seed = 5 };
    for (int p = 0; p < m->n_params; p++) {
        const char *name = m->param[p]->name;
        const int64_t n = dt_count(&m->param[p]->tensor.shape);
        if (strstr(name, ".range") || strstr(name, "weight_least")) continue;
        float *v = malloc((size_t)n * sizeof *v);
        for (int64_t i = 0; i < n; i++) v[i] = (float)(2.0 * draw_real(&d) - 1.0);
        for (int64_t i = n / 2; strcmp(name, "c.weight") == 0 && i < n; i++) v[i] = 0.0f;
        for (int64_t i = 0; strcmp(name, "e.biased.bias") == 0 && i < n; i++) v[i] = 0.0f;
        MUST(dt_model_write(m, p, v));
        free(v);
    }
}

static inline extraction_rig extraction_open(int per_channel)
{
    dt_graph *plain = graph_of(extraction_network), *quantized;
    dt_range *range = malloc((size_t)plain->n_values * sizeof *range);
    for (int i = 0; i < plain->n_values; i++) range[i] = extraction_range(plain, i);
    const dt_range_choice choice = {
        .wbits = 6, .abits = 8, .per_channel = per_channel, .update = DT_RANGE_FIXED, .range = range
    };
    MUST(dt_quant_insert_range(plain, &choice, &quantized));
    free(range);
    dt_graph_destroy(plain);

    extraction_rig r = { 0 };
    dt_options o;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &r.ctx));
    MUST(dt_model_open(r.ctx, quantized, &r.model));
    extraction_draw(r.model);
    return r;
}

static inline void extraction_close(extraction_rig *r)
{
    dt_model_destroy(r->model);
    dt_context_destroy(r->ctx);
}

/* Values of a parameter. The caller frees them. */
static inline float *extraction_param(const extraction_rig *r, const char *name)
{
    const int p = dt_model_find(r->model, name);
    cr_assert(p >= 0, "no %s", name);
    float *v = malloc((size_t)dt_count(&r->model->param[p]->tensor.shape) * sizeof *v);
    MUST(dt_model_read(r->model, p, v));
    return v;
}

#endif /* EXTRACTION_RIG_H */
