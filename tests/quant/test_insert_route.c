/*
 * test_insert_route.c - routing on the grid as a pass: what becomes of the capsule networks' nodes, that nothing real
 * is left between image and lengths but what quantizers read, formats, refusals; a short training.
 */
#include "../support/tiny_run.h"

#include "../../models/networks.h"
#include "../../quant/insert.h"
#include "../../quant/insert_route.h"

#include <math.h>
#include <stdio.h>

static dt_graph *quantized(const char *name, int bits, int paper_primary)
{
    const dt_quant_choice choice = { .wbits = bits, .abits = bits, .input_bits = 8, .rule = DT_RULE_LSQ };
    dt_model_config c;
    dt_graph *plain, *out;

    MUST(dt_model_config_default(name, &c));
    if (paper_primary) choose(&c, "paper-primary", 1);
    MUST(dt_network_build(&c, &plain));
    MUST(dt_quant_insert(plain, &choice, &out));
    dt_graph_destroy(plain);
    return out;
}

static dt_graph *routed(const char *name, int bits, int routing_bits, int paper_primary)
{
    dt_graph *g = quantized(name, bits, paper_primary), *out;

    MUST(dt_route_insert(g, routing_bits, &out));
    dt_graph_destroy(g);
    return out;
}

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;

    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static const dt_graph_node *node_of(const dt_graph *g, const char *name)
{
    const int value = dt_graph_find(g, name);
    cr_assert(value >= 0 && dt_graph_maker(g, value), "there is no node %s", name);
    return dt_graph_maker(g, value);
}

/* Integers, or what a quantizer takes a bias, a ReLU or a batch norm of before it makes integers. */
Test(insert_route, nothing_real_is_left_between_image_and_lengths)
{
    static const char *const networks[] = { "shallowcaps", "deepcaps" };

    for (int k = 0; k < 2; k++) {
        dt_graph *g = routed(networks[k], 4, 8, 0);
        char *needed = calloc((size_t)g->n_values, 1);
        needed[g->scores] = 1;
        dt_graph_mark_needed(g, NULL, 0, needed);
        for (int i = 0; i < g->n_nodes; i++) {
            const dt_graph_node *n = &g->node[i];
            if (!needed[n->out] || g->value[n->out]->facts.n_scale > 0) continue;
            const int waits = n->kind == DT_OP_BIAS || n->kind == DT_OP_RELU || n->kind == DT_OP_BATCHNORM;
            cr_assert(waits || n->out == g->scores, "%s of %s is real", dt_graph_name(g, n->out), networks[k]);
        }
        cr_assert(dt_graph_maker(g, g->scores)->kind == DT_OP_DEQUANTIZE && count_of(g, DT_OP_CLASS_INT) == 1);
        free(needed);
        dt_graph_destroy(g);
    }
}

Test(insert_route, shallowcaps)
{
    dt_graph *g = routed("shallowcaps", 4, 8, 0), *paper = routed("shallowcaps", 4, 8, 1);
    const dt_route_int_params *primary = node_of(g, "primary")->params, *digit = node_of(g, "digit")->params;

    cr_assert(count_of(g, DT_OP_ROUTE_INT) == 2 && count_of(g, DT_OP_CAPS_ROUTE) == 0);
    cr_assert(primary->iterations == 1 && !primary->whole && primary->v_bits[0] == 16 && primary->v_frac[0] == 15);
    cr_assert(digit->iterations == 3 && digit->gives_s && digit->inputs == 1152);
    cr_assert(digit->v_bits[0] == 8 && digit->v_frac[0] == 7 && digit->b_frac[1] == 3 && digit->c_bits[0] == 9);
    cr_assert(node_of(g, "digit")->in[0] == dt_graph_find(g, "digit.dot"), "the votes are psums");
    cr_assert(((const dt_class_int_params *)node_of(g, "lengths")->params)->s_frac == digit->s_frac[2]);
    cr_assert(dt_graph_maker(g, g->capsules)->kind == DT_OP_SQUASH, "the decoder reads real capsules");
    cr_assert(count_of(paper, DT_OP_ROUTE_INT) == 2 && count_of(paper, DT_OP_BIAS) == 1);
    cr_assert(((const dt_route_int_params *)node_of(paper, "primary.squash")->params)->whole == 1);
    dt_graph_destroy(g);
    dt_graph_destroy(paper);
}

/* 14 convolutions of capsules, 3-D routing and class capsules; sums and lists of capsules stay on the grid. */
Test(insert_route, deepcaps)
{
    dt_graph *g = routed("deepcaps", 4, 8, 0);
    const dt_route_int_params *joint = node_of(g, "block4.l_skip")->params;

    cr_assert(count_of(g, DT_OP_ROUTE_INT) == 17 && count_of(g, DT_OP_CAPS_ROUTE) == 0);
    cr_assert(dt_graph_find(g, "conv1.conv.biased") >= 0 && dt_graph_find(g, "block4.l_skip.conv.biased") >= 0);
    cr_assert(dt_graph_find(g, "block1.l1.conv.biased") < 0, "the bias went into the routing of one vote");
    cr_assert(joint->joint && joint->inputs == 32 && joint->c_bits[0] == 12);
    cr_assert(dt_graph_maker(g, node_of(g, "block4.l_skip")->in[0])->kind == DT_OP_ACT_QUANT, "votes with a bias");
    cr_assert(g->value[dt_graph_find(g, "block4")]->facts.qmin == -65536);
    cr_assert(g->value[dt_graph_find(g, "capsules")]->facts.n_scale == 1);
    dt_graph_destroy(g);
}

/* Psums of 8 bits are too wide for exact sums of couplings, and become codes. */
Test(insert_route, wide_votes_are_quantized)
{
    dt_graph *g = quantized("shallowcaps", 5, 0), *out;

    MUST(dt_route_insert(g, 10, &out));
    cr_assert(dt_graph_maker(out, node_of(out, "digit")->in[0])->kind == DT_OP_ACT_QUANT);
    cr_assert(dt_graph_find(out, "digit.votes.act_alpha") >= 0);
    dt_graph_destroy(out);
    dt_graph_destroy(g);
}

static void refused(const dt_graph *g, int bits, const char *text)
{
    dt_graph *out = NULL;

    cr_assert(dt_route_insert(g, bits, &out) == DT_ERR_ARGUMENT, "%s", text);
    cr_assert(strstr(dt_last_error(), text), "the message is '%s', expected '%s' in it", dt_last_error(), text);
}

Test(insert_route, refuses)
{
    dt_graph *g = quantized("shallowcaps", 4, 0), *none = quantized("tiny", 4, 0), *plain;
    dt_model_config c;

    MUST(dt_model_config_default("deepcaps", &c));
    MUST(dt_network_build(&c, &plain));
    refused(g, 3, "routing of 3 bits, allowed are 4..10");
    refused(g, 11, "routing of 11 bits");
    refused(none, 8, "no capsules");
    refused(plain, 8, "block1.l1.squash: squashes block1.l1.conv.biased");
    dt_graph_destroy(g);
    dt_graph_destroy(none);
    dt_graph_destroy(plain);
}

static double loss_of(const tiny_run *r)
{
    dt_metrics m;

    MUST(dt_evaluate(r->model, r->data, 16, 0.0f, NULL, NULL, &m));
    return m.loss;
}

/* Gradients reach every trained parameter, and the loss falls. */
Test(insert_route, trains)
{
    tiny_options o = tiny_defaults();
    tiny_run r;

    o.images = 16;
    MUST(dt_model_config_default("shallowcaps", &o.model));
    o.model.channels = 3;
    o.model.height = o.model.width = o.side = 17;
    o.model.wbits = o.model.abits = 4;
    choose(&o.model, "routing-bits", 8);
    choose(&o.model, "decoder", DT_DECODER_NONE);
    dt_train_config_default("shallowcaps", &o.train);
    o.train.batch = 16;
    o.train.shift = 0;
    cr_assert(tiny_open(&r, &o));
    MUST(dt_trainer_calibrate(r.trainer));
    float *before[32];
    int64_t n;
    for (int i = 0; i < dt_model_n_params(r.model); i++) before[i] = tiny_param(&r, i, &n);
    const double first = loss_of(&r);
    tiny_steps(&r, 12);
    cr_assert(loss_of(&r) < first, "the loss went from %g to %g", first, loss_of(&r));
    for (int i = 0; i < dt_model_n_params(r.model); i++) {
        float *after = tiny_param(&r, i, &n);
        const int moved = memcmp(before[i], after, (size_t)n * sizeof *after) != 0;
        cr_assert(moved == (r.model->param[i]->group != DT_GROUP_STATE), "%s", r.model->param[i]->name);
        free(before[i]);
        free(after);
    }
    tiny_close(&r);
}
