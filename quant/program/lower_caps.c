/*
 * lower_caps.c - lowers what computes capsules on the grid: votes, routing by integers, lengths. lower.c walks.
 *
 * A routing gets its ratios here, as numbers: those that evaluation finds from the votes' scale at each run.
 * Tests: tests/quant/test_program_caps.c.
 */
#include "../../layers/caps/route_int.h"
#include "lowering.h"

#include "../../core/grid_facts.h"

#include <stdlib.h>

dt_status dt_lower_votes(dt_lowering *w, const dt_graph_node *n)
{
    dt_program_conv c = { .name = dt_lowering_name(w, n) };
    dt_held *x = NULL;
    int psum;

    DT_TRY(dt_lowering_codes(w, n, &x));
    DT_TRY(dt_lowering_weights(w, n, &c));
    DT_TRY(dt_program_add_votes(w->program->graph, &c, x->value, &psum));
    return dt_lowering_psums(w, n, x->value, psum);
}

/* Psums as they are, or codes. */
static dt_status find_votes(const dt_lowering *w, const dt_graph_node *n, int *votes, float *scale)
{
    dt_held *x = NULL;

    DT_TRY(dt_lowering_input(w, n, 0, &x));
    while (x->holds == DT_HOLDS_SAME) x = x->from;
    DT_CHECK((x->holds == DT_HOLDS_LINE && x->is_psum) || x->holds == DT_HOLDS_CODES, DT_ERR_UNSUPPORTED,
             "%s: routes %s, which are neither psums nor codes; quantize them before it", dt_lowering_name(w, n),
             dt_held_name(w, x));
    const int is_line = x->holds == DT_HOLDS_LINE;
    *votes = is_line ? x->psum : x->value;
    *scale = is_line ? x->slope[0] : dt_program_scale(w->program, x->value); /* votes have one scale */
    return DT_OK;
}

/* What is clipped before a sum is rounded would be another sum. */
static dt_status check_biases(const char *name, const dt_route_int_params *p, const float *bias, int64_t channels)
{
    for (int64_t i = 0; i < p->iterations * channels; i++) {
        const int s_frac = p->s_frac[i / channels];
        const float value = bias[i % channels];
        DT_CHECK(dt_caps_bias_fits(value, s_frac), DT_ERR_NUMERIC,
                 "%s: bias %lld is %g, which is %g steps of s in iteration %d; sums have room for %d: take fewer "
                 "fraction bits of s, or train the network further",
                 name, (long long)(i % channels), (double)value, (double)value * (double)(1 << s_frac),
                 (int)(i / channels), DT_CAPS_BIAS_MAX);
    }
    return DT_OK;
}

dt_status dt_lower_route(dt_lowering *w, const dt_graph_node *n)
{
    const char *name = dt_lowering_name(w, n);
    const dt_shape *u = &dt_lowering_facts(w, n->in[0])->shape;
    dt_route_int_params p = *(const dt_route_int_params *)n->params;
    const int64_t types = dt_channels(u) / p.dim;
    float *bias = NULL, scale = 0.0f;
    int votes = -1, capsules;

    DT_TRY(find_votes(w, n, &votes, &scale));
    const int64_t span = p.joint && u->ndim == 4 ? types * u->dim[1] * u->dim[2] : types;
    if (p.acc_mul[0] == 0) DT_TRY(dt_route_int_settle(name, &p, scale, span)); /* else the graph has ratios */
    DT_TRY(dt_lowering_param(w, n, 1, &bias));
    const dt_status fits = check_biases(name, &p, bias, dt_channels(u));
    if (fits != DT_OK) {
        free(bias);
        return dt_forward(fits, __FILE__, __LINE__);
    }
    DT_TRY(dt_program_add_route(w->program->graph, name, &p, bias, votes, &capsules));
    dt_lowering_hold(w, n, DT_HOLDS_CODES, NULL)->value = capsules;
    return DT_OK;
}

dt_status dt_lower_class(dt_lowering *w, const dt_graph_node *n)
{
    dt_held *x = NULL;
    int lengths;

    DT_TRY(dt_lowering_codes(w, n, &x));
    DT_TRY(dt_program_add_plain(w->program->graph, DT_OP_CLASS_INT, dt_lowering_name(w, n), n->params, &x->value,
                                &lengths));
    dt_lowering_hold(w, n, DT_HOLDS_CODES, NULL)->value = lengths;
    return DT_OK;
}
