/*
 * lower_sums.c - lowers what adds: an ADD, and an AVGPOOL. Of codes it becomes psums, whose integers are added; of
 * reals it becomes a node of reals.
 *
 * Interface: lowering.h.  Tests: tests/quant/test_lower_sums.c.
 */
#include "lowering.h"

#include "../../layers/pool.h"

/* n, whose values are sums of the codes x, is `sum` in the program. */
static dt_status hold_sum(dt_lowering *w, const dt_graph_node *n, int sum)
{
    dt_held *h = NULL;

    DT_CHECK(
        w->program->graph->value[sum]->facts.n_scale == 1, DT_ERR_UNSUPPORTED,
        "%s: one of the two that it adds is quantized from reals, the other from psums, which a program cannot add as "
        "integers; put a quantized layer between",
        dt_lowering_name(w, n));
    DT_TRY(dt_lowering_line(w, n, sum, &h));
    h->is_psum = 1;
    for (int c = 0; c < dt_program_value(w->program, sum).channels; c++) {
        h->slope[c] = dt_program_scale(w->program, sum);
        h->offset[c] = 0.0f;
    }
    return DT_OK;
}

static dt_status lower_sumpool(dt_lowering *w, const dt_graph_node *n)
{
    dt_held *x = NULL;
    int sum;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    while (x->holds == DT_HOLDS_SAME) x = x->from;
    DT_CHECK(x->holds == DT_HOLDS_CODES, DT_ERR_UNSUPPORTED,
             "%s: an average of psums; quantize them before it, as --sum-bits does", dt_lowering_name(w, n));
    DT_TRY(dt_lowering_add_pool(w, n, x->value, &sum));
    return hold_sum(w, n, sum);
}

dt_status dt_lower_avgpool(dt_lowering *w, const dt_graph_node *n)
{
    const dt_pool_params p = dt_lowering_pool(w, n);
    dt_held *x = NULL;
    int from, y;

    if (dt_lowering_facts(w, n->out)->n_scale > 0) return lower_sumpool(w, n);
    /* evaluation sums such integers before it scales them, in another order of roundings */
    DT_CHECK(
        dt_lowering_facts(w, n->in[0])->n_scale == 0, DT_ERR_UNSUPPORTED,
        "%s: an average of integers whose windows have several divisors, or sums that f32 does not hold; let padded "
        "cells count, or put a batch norm before it",
        dt_lowering_name(w, n));
    DT_CHECK(p.window[0] * p.window[1] <= DT_POOL_F32_CELLS, DT_ERR_UNSUPPORTED,
             "%s: an average of %dx%d cells, which is summed in double; a program's sums are f32, of at most %d cells",
             dt_lowering_name(w, n), p.window[0], p.window[1], DT_POOL_F32_CELLS);
    DT_TRY(dt_lowering_input(w, n, 0, &x));
    DT_TRY(dt_held_reals(w, x, &from));
    DT_TRY(dt_lowering_add_pool(w, n, from, &y));
    dt_lowering_hold(w, n, DT_HOLDS_REALS, NULL)->reals = y;
    return DT_OK;
}

/* Codes that share a scale. */
static dt_status lower_integer_add(dt_lowering *w, const dt_graph_node *n)
{
    dt_held *x = NULL;
    int codes[2], sum;

    for (int k = 0; k < 2; k++) {
        DT_TRY(dt_lowering_input(w, n, k, &x));
        while (x->holds == DT_HOLDS_SAME) x = x->from;
        DT_CHECK(x->holds == DT_HOLDS_CODES, DT_ERR_UNSUPPORTED, "%s: adds psums, not codes; quantize %s before it",
                 dt_lowering_name(w, n), dt_held_name(w, x));
        codes[k] = x->value;
    }
    DT_TRY(dt_program_add_plain(w->program->graph, DT_OP_ADD, dt_lowering_name(w, n), n->params, codes, &sum));
    return hold_sum(w, n, sum);
}

dt_status dt_lower_add(dt_lowering *w, const dt_graph_node *n)
{
    dt_held *x = NULL;
    int from[2], y;

    if (dt_lowering_facts(w, n->out)->n_scale > 0) return lower_integer_add(w, n);
    for (int k = 0; k < 2; k++) {
        DT_TRY(dt_lowering_input(w, n, k, &x));
        DT_TRY(dt_held_reals(w, x, &from[k]));
    }
    DT_TRY(dt_program_add_plain(w->program->graph, DT_OP_ADD, dt_lowering_name(w, n), n->params, from, &y));
    dt_lowering_hold(w, n, DT_HOLDS_REALS, NULL)->reals = y;
    return DT_OK;
}
