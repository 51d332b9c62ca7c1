/*
 * select_quant.c - see select_quant.h; and the network of reals that a quantized model came from.
 *
 * Tests: tests/quant/test_select_quant.c.
 */
#include "select_quant.h"

#include "../core/graph/rewrite.h"
#include "../core/train/model.h"
#include "fold_train.h"
#include "insert_qkeras.h"

#include <stdio.h>

typedef struct {
    const char *keep; /* [n_nodes]; NULL: none */
} selection;

static int is_quantizer(const dt_graph_node *n)
{
    return n->kind == DT_OP_RANGE_QUANT || n->kind == DT_OP_MAX_QUANT;
}

/* The quantizer with a fixed range, and the real values of its codes. */
static dt_status keep_quantizer(dt_rewrite *r, const dt_graph_node *n)
{
    const char *own = dt_graph_name(r->from, n->out);
    const dt_dequantize_params real = { .filters = n->kind == DT_OP_MAX_QUANT };
    dt_range_quant_params range;
    char name[DT_NAME_MAX + 32];
    int in[2], codes;

    for (int k = 0; k < 2; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    if (n->kind == DT_OP_RANGE_QUANT) {
        range = *(const dt_range_quant_params *)n->params;
        range.update = DT_RANGE_FIXED;
    }
    DT_TRY(dt_graph_add(r->to, n->kind, own, n->kind == DT_OP_RANGE_QUANT ? &range : n->params, in, 2, &codes));
    snprintf(name, sizeof name, "%s.real", own);
    return dt_graph_add(r->to, DT_OP_DEQUANTIZE, name, &real, &codes, 1, &r->of[n->out]);
}

static dt_status select_node(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    const char *keep = ((const selection *)user)->keep;

    if (is_quantizer(n) && keep && keep[n - r->from->node]) return keep_quantizer(r, n);
    if (is_quantizer(n) || n->kind == DT_OP_DEQUANTIZE) return dt_rewrite_value(r, n->in[0], &r->of[n->out]);
    DT_TRY(dt_rewrite_copy(r, n));
    const dt_tensor *made = &r->to->value[r->of[n->out]]->facts;
    DT_CHECK(
        made->n_scale == 0, DT_ERR_UNSUPPORTED,
        "%s: %s (%s) cannot be taken out; networks are quantized by 'detent quantize' or trained with --quant-rule "
        "affine or qkeras",
        r->from->name, made->name, dt_ops[n->kind]->name);
    return DT_OK;
}

dt_status dt_quant_select(const dt_graph *g, const char *keep, dt_graph **out)
{
    selection s = { keep };

    DT_TRY(dt_graph_rewrite(g, select_node, &s, out));
    return DT_OK;
}

/* What evaluation computes, without quantizers of either kind. */
static dt_status real_network(dt_model *m, dt_graph **out)
{
    dt_graph *now = NULL, *settled = NULL, *plain = NULL;

    dt_status status = dt_model_snapshot(m, &now);
    if (status == DT_OK) status = dt_graph_settle(now, &settled);
    if (status == DT_OK) status = dt_quant_remove_qkeras(settled, &plain);
    if (status == DT_OK) status = dt_quant_select(plain, NULL, out);
    dt_graph_destroy(plain);
    dt_graph_destroy(settled);
    dt_graph_destroy(now);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_quantized_real(dt_model *quantized, dt_model **out)
{
    dt_graph *g;

    DT_TRY(real_network(quantized, &g));
    DT_TRY(dt_model_open(quantized->ctx, g, out));
    (*out)->origin = quantized->origin;
    return DT_OK;
}
