/*
 * program_check_caps.c - checks of the nodes of a program that compute capsules; see program_check.c.
 *
 * Which formats, shapes and bounds a routing may have, its operator has checked when the node was added
 * (layers/caps/route_int.c). Tests: tests/quant/test_program_caps.c.
 */
#include "../../layers/caps/route_int.h"
#include "program_checks.h"

enum { MOST_CAPSULES = 1 << 20 };

dt_status dt_check_votes(const dt_checked_node *v)
{
    const dt_graph_node *weights = dt_graph_maker(v->g, v->n->in[1]);

    DT_CHECK(weights && weights->kind == DT_OP_CODES && v->read[v->n->in[1]] == 1, DT_ERR_FORMAT,
             "%s (%s): its matrices are %s, expected codes of its own", v->name, v->kind,
             dt_graph_name(v->g, v->n->in[1]));
    DT_TRY(dt_check_within(v, "input capsules", v->y.height, 1, MOST_CAPSULES));
    return dt_check_within(v, "largest vote", v->g->value[v->n->out]->facts.qmax, 0, (1 << 24) - 1);
}

/* A program has ratios of its own: none is 0, which stands for no ratio, and sums stay within 64 bits. */
static dt_status check_ratio(const dt_checked_node *v, const char *field, int mul, int shift)
{
    DT_TRY(dt_check_within(v, field, mul, 1, (1 << 15) - 1));
    return dt_check_within(v, "shift", shift, 1, DT_CAPS_SHIFT_MAX);
}

static dt_status check_ratios(const dt_checked_node *v)
{
    const dt_route_int_params *p = v->n->params;

    for (int r = 0; r < p->iterations; r++) {
        DT_TRY(check_ratio(v, "acc_mul", p->acc_mul[r], p->acc_shift[r]));
        if (r < p->iterations - 1) DT_TRY(check_ratio(v, "agree_mul", p->agree_mul[r], p->agree_shift[r]));
    }
    return DT_OK;
}

/* The offsets beside the node are those of its bias. */
static dt_status check_offsets(const dt_checked_node *v)
{
    const dt_route_int_params *p = v->n->params;
    const float *bias = dt_program_data(v->p, v->n, DT_ROUTE_INT_BIAS);
    const int value = dt_program_constant(v->p, v->n->out, DT_ROUTE_INT_OFFSET);
    const int64_t channels = v->y.channels;

    DT_CHECK(value >= 0, DT_ERR_FORMAT, "%s (%s): there is no offset", v->name, v->kind);
    DT_TRY(dt_check_data(v, value, "offset", DT_I64));
    DT_TRY(dt_check_equals(v, "offsets", dt_count(dt_graph_shape(v->g, value)), p->iterations * channels));
    const int64_t *offset = v->g->value[value]->data;
    for (int64_t i = 0; i < p->iterations * channels; i++) {
        const int r = (int)(i / channels);
        DT_CHECK(dt_caps_bias_fits(bias[i % channels], p->s_frac[r]), DT_ERR_FORMAT,
                 "%s (%s): bias[%lld] is %g; of %d fraction bits sums have room for %g", v->name, v->kind,
                 (long long)(i % channels), (double)bias[i % channels], p->s_frac[r],
                 (double)DT_CAPS_BIAS_MAX / (double)(1 << p->s_frac[r]));
        DT_TRY(
            dt_check_equals(v, "offset", offset[i], dt_caps_offset(bias[i % channels], p->s_frac[r], p->acc_shift[r])));
    }
    return DT_OK;
}

dt_status dt_check_route(const dt_checked_node *v)
{
    DT_TRY(dt_check_param_numbers(v, DT_ROUTE_INT_BIAS, "bias", -INFINITY));
    DT_TRY(check_ratios(v));
    return check_offsets(v);
}
