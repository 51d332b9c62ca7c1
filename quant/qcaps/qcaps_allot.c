/*
 * qcaps_allot.c - step 2 of Q-CapsNets: the weight bits of each layer that a memory budget allots, and what bits cost.
 *
 *   Layer l with n_l weights gets q_l = N + d_l bits, where d_l = -min(l, D - 1). So each of the first D layers has one
 *   bit less than the layer before it, and the rest have as many as the D-th. N is the largest up to 32 with
 *
 *     sum_l n_l * word(q_l) <= budget
 *
 *   and D is the largest of 5, 4, .. 1 for which the last layer still gets `least` bits. D = 1 gives the same bits to
 *   all layers, and is possible for every budget of at least one bit a weight. So D = 0 of the published code (N + 1
 *   for all) is never reached, and is left out here.
 *
 *               q counts         word(q)   budget in units of   least
 *   corrected   the whole word   q         MiB                  1
 *   published   the fraction     q + 1     8,000,000 bits       0
 *
 * Source: Marchisio et al., "Q-CapsNets", DAC 2020, and the code published with it; corrected: its authors' revision of
 *         2022, except that a budget for which that gives the last layer 0 bits takes the next smaller D here.
 * Tests: tests/quant/test_qcaps_allot.c.
 */
#include "qcaps.h"

#include "../../core/names.h"

#include <math.h>

enum { DEEPEST = 5, MOST_BITS = 32 };

typedef struct {
    const char *unit;
    double unit_bits;
    int integer_bits; /* of a word, not counted by q */
    int least;
} convention;

static convention convention_of(const dt_qcaps_options *opt)
{
    if (opt->published) return (convention){ .unit = "MB", .unit_bits = 8e6, .integer_bits = 1, .least = 0 };
    return (convention){ .unit = "MiB", .unit_bits = 8.0 * 1024.0 * 1024.0, .integer_bits = 0, .least = 1 };
}

void dt_qcaps_options_default(dt_qcaps_options *out)
{
    *out = (dt_qcaps_options){ .rounding = DT_ROUND_NEAREST,
                               .accuracy_tolerance = 0.2f,
                               .memory_budget = 200.0f,
                               .cache_bytes = (int64_t)1 << 30,
                               .batch = 100 };
}

dt_qcaps_bits dt_qcaps_uniform(const dt_qcaps_shape *shape, int bits)
{
    dt_qcaps_bits out = { 0 };

    for (int l = 0; l < shape->n_layers; l++) {
        out.weight[l] = bits;
        out.activation[l] = bits;
        out.routing[l] = shape->layer[l].routes > 0 ? bits : 0;
    }
    return out;
}

static int offset(int layer, int depth)
{
    return layer < depth ? -layer : 1 - depth;
}

/* Bits of the words if the layers have q + their offset; linear in q. */
static int64_t words(const dt_qcaps_shape *shape, const convention *c, int depth, int q)
{
    int64_t sum = 0;

    for (int l = 0; l < shape->n_layers; l++) {
        sum += shape->layer[l].n_weights * (q + offset(l, depth) + c->integer_bits);
    }
    return sum;
}

dt_status dt_qcaps_allot(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, int uniform, dt_qcaps_bits *out)
{
    const convention c = convention_of(opt);
    const int last = shape->n_layers - 1;
    int64_t n_weights = 0;
    int depth = DEEPEST, n;

    DT_TRY(dt_check_word("rounding", (int)opt->rounding, dt_rounding_names));
    DT_CHECK(last >= 0 && last < DT_QCAPS_LAYERS, DT_ERR_ARGUMENT, "%d layers, allowed are 1..%d", shape->n_layers,
             DT_QCAPS_LAYERS);
    for (int l = 0; l <= last; l++) n_weights += shape->layer[l].n_weights;
    DT_CHECK(n_weights > 0, DT_ERR_ARGUMENT, "no weights to plan for");

    const double wanted = (double)opt->memory_budget * c.unit_bits, enough = 64.0 * (double)n_weights;
    const double smallest = ceil((double)n_weights / c.unit_bits * 1e4) / 1e4; /* as printed, it is not too small */
    DT_CHECK(wanted >= (double)n_weights, DT_ERR_ARGUMENT,
             "memory budget %g %s: the %lld weights take %.4f %s at least, one bit each", (double)opt->memory_budget,
             c.unit, (long long)n_weights, smallest, c.unit);
    const int64_t budget = (int64_t)(wanted < enough ? wanted : enough);
    for (;; depth--) {
        const int64_t most = (budget - words(shape, &c, depth, 0)) / n_weights;
        n = most < MOST_BITS ? (int)most : MOST_BITS;
        if (n + offset(last, depth) >= c.least) break;
    }
    *out = dt_qcaps_uniform(shape, uniform);
    for (int l = 0; l <= last; l++) out->weight[l] = n + offset(l, depth);
    return DT_OK;
}

void dt_qcaps_cost_of(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, const dt_qcaps_bits *bits,
                      dt_qcaps_cost *out)
{
    const int integer_bits = convention_of(opt).integer_bits;
    int64_t n_weights = 0, n_activations = shape->n_input;
    int64_t weight_bits = 0, activation_bits = shape->n_input * (bits->activation[0] + integer_bits);

    for (int l = 0; l < shape->n_layers; l++) {
        const dt_qcaps_layer *layer = &shape->layer[l];

        n_weights += layer->n_weights;
        n_activations += layer->n_activations;
        weight_bits += layer->n_weights * (bits->weight[l] + integer_bits);
        activation_bits += layer->n_activations * (bits->activation[l] + integer_bits);
    }
    out->memory_mib = (double)weight_bits / (8.0 * 1024.0 * 1024.0);
    out->weight_reduction = 32.0 * (double)n_weights / (double)weight_bits;
    out->activation_reduction = 32.0 * (double)n_activations / (double)activation_bits;
}
