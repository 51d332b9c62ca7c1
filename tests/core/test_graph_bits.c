/*
 * test_graph_bits.c - which bits the layers of a graph get: by name, by place, linear layers, sums.
 */
#include "../support/built_graph.h"

#include "../../quant/insert.h"

#include <stdio.h>

/* ---- bits of single layers ---- */

/* Bits of a layer's quantizers in q, as 10 * weights + activations; 0: it has none. */
static int bits_of(const dt_graph *q, const char *layer)
{
    char name[96];

    snprintf(name, sizeof name, "%s.weight_quant", layer);
    const int w = dt_graph_find(q, name);
    if (w < 0) return 0;
    const dt_weight_quant_params *p = dt_graph_maker(q, w)->params;
    return 10 * p->bits + quantizer_of(q, layer)->bits;
}

typedef struct {
    const char *why;
    int wbits, abits, input_bits, first_last;
    dt_layer_bits layer[3];
    int n;
    int expected[3]; /* of tiny's features.0, features.4, features.8 */
} bits_case;

static const bits_case bits_cases[] = {
    { "alike", 4, 4, 8, 0, { { 0 } }, 0, { 48, 44, 44 } },
    { "one by its name", 4, 4, 8, 0, { { "features.4", 2, 3, 0 } }, 1, { 48, 23, 44 } },
    { "all by a pattern; the image keeps its own", 4, 4, 8, 0, { { "*", 3, 2, 0 } }, 1, { 38, 32, 32 } },
    { "the image as any activation", 4, 4, 0, 0, { { "features.0", 8, 5, 0 } }, 1, { 85, 44, 44 } },
    { "the last that fits",
      4,
      4,
      8,
      0,
      { { "*", 3, 2, 0 }, { "features.?", 6, 6, 0 }, { "features.8", 8, 8, 0 } },
      3,
      { 68, 66, 88 } },
    { "first and last", 4, 2, 8, 8, { { 0 } }, 0, { 88, 42, 88 } },
    { "... but for one that has bits of its own", 4, 2, 8, 8, { { "features.8", 5, 5, 0 } }, 1, { 88, 42, 55 } },
    { "one stays real", 4, 4, 8, 0, { { "features.0", 32, 32, 0 } }, 1, { 0, 44, 44 } },
    { "two alone are quantized", 32, 32, 8, 0, { { "features.[48]", 4, 4, 0 } }, 1, { 0, 44, 44 } },
};

Test(graph_bits, layers_have_bits_of_their_own)
{
    static const char *const layers[] = { "features.0", "features.4", "features.8" };
    dt_graph *g = built("tiny"), *q;

    for (size_t i = 0; i < sizeof bits_cases / sizeof bits_cases[0]; i++) {
        const bits_case *c = &bits_cases[i];
        const dt_quant_choice choice = { .wbits = c->wbits,
                                         .abits = c->abits,
                                         .input_bits = c->input_bits,
                                         .first_last_bits = c->first_last,
                                         .layer_bits = c->layer,
                                         .n_layer_bits = c->n };
        MUST(dt_quant_insert(g, &choice, &q));
        for (int k = 0; k < 3; k++) {
            cr_assert(bits_of(q, layers[k]) == c->expected[k], "%s: %s has %d, expected %d", c->why, layers[k],
                      bits_of(q, layers[k]), c->expected[k]);
        }
        dt_graph_destroy(q);
    }
    dt_graph_destroy(g);
}

static void check_bits_refused(const dt_layer_bits *layer, int first_last, const char *why)
{
    const dt_quant_choice choice = {
        .wbits = 4, .abits = 4, .first_last_bits = first_last, .layer_bits = layer, .n_layer_bits = layer ? 1 : 0
    };
    dt_graph *g = built("tiny"), *q;

    cr_assert(dt_quant_insert(g, &choice, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), why) != NULL, "%s", dt_last_error());
    dt_graph_destroy(g);
}

Test(graph_bits, bits_that_fit_no_layer_are_refused)
{
    check_bits_refused(&(dt_layer_bits){ "features.1", 4, 4, 0 }, 0,
                       "tiny has no layer 'features.1' that could be quantized; there are features.0, features.4, "
                       "features.8, classifier");
    check_bits_refused(&(dt_layer_bits){ "features.*", 1, 4, 0 }, 0, "bits w1a4 of 'features.*', allowed are 2..8");
    check_bits_refused(&(dt_layer_bits){ "features.*", 4, 9, 0 }, 0, "bits w4a9 of");
    check_bits_refused(&(dt_layer_bits){ "features.*", 4, 32, 0 }, 0, "float for both");
    check_bits_refused(NULL, 9, "9 bits of the first and last layer");
}

/* features.4 has no batch norm: what features.8 would read of it are integers. */
Test(graph_bits, a_real_layer_reads_no_integers)
{
    const dt_layer_bits layer = { "features.8", DT_BITS_FLOAT, DT_BITS_FLOAT, 0 };
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .layer_bits = &layer, .n_layer_bits = 1 };
    dt_graph *g = built("tiny"), *q;

    MUST(dt_quant_insert(g, &choice, &q));
    const dt_graph_node *layer_node = dt_graph_maker(q, dt_graph_find(q, "features.8"));
    const dt_graph_node *between = dt_graph_maker(q, layer_node->in[0]);
    cr_assert(between->kind == DT_OP_DEQUANTIZE);
    cr_assert(strcmp(dt_graph_name(q, between->out), "features.8.dequantize") == 0);
    cr_assert(q->value[between->in[0]]->facts.n_scale == 1 && q->value[between->out]->facts.n_scale == 0);
    dt_graph_destroy(q);
    dt_graph_destroy(g);
}

/* ---- linear layers and sums ---- */

static dt_op_kind kind_of(const dt_graph *g, const char *name)
{
    const int value = dt_graph_find(g, name);

    cr_assert(value >= 0 && dt_graph_maker(g, value), "there is no node %s", name);
    return dt_graph_maker(g, value)->kind;
}

/* The classifier is real unless it is asked for, by a word or by its name; its bias then stands behind it. */
Test(graph_bits, a_classifier_has_bits_where_it_is_asked_for)
{
    const dt_layer_bits own = { "classifier", 6, 5, 0 };
    const dt_quant_choice real = { .wbits = 4, .abits = 3 },
                          asked = { .wbits = 4, .abits = 3, .quantize_classifier = 1 },
                          ends = { .wbits = 4, .abits = 3, .quantize_classifier = 1, .first_last_bits = 8 },
                          named = { .wbits = 4, .abits = 3, .layer_bits = &own, .n_layer_bits = 1 },
                          none = { .wbits = 32, .abits = 32, .quantize_classifier = 1 };
    const dt_quant_choice *const choices[] = { &real, &asked, &ends, &named };
    static const int classifier[] = { 0, 43, 88, 65 }, last_conv[] = { 43, 43, 43, 43 };
    dt_graph *g = built("tiny"), *q;

    for (int i = 0; i < 4; i++) {
        MUST(dt_quant_insert(g, choices[i], &q));
        cr_assert(bits_of(q, "classifier") == classifier[i], "%d: %d", i, bits_of(q, "classifier"));
        cr_assert(bits_of(q, "features.8") == last_conv[i], "%d: %d", i, bits_of(q, "features.8"));
        cr_assert(kind_of(q, dt_graph_name(q, q->scores)) == (i == 0 ? DT_OP_LINEAR : DT_OP_BIAS));
        dt_graph_destroy(q);
    }
    cr_assert(dt_quant_insert(g, &none, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "nothing says to how many bits; give 'classifier' some"), "%s", dt_last_error());
    dt_graph_destroy(g);
}

/* A join of a signed and an unsigned branch, a pool of cells and one of a single cell, and a linear layer inside. */
static dt_graph *joined(void)
{
    const dt_shape image = { 4, { 1, 4, 4, 3 } };
    const dt_pool_params two = dt_pool_square(2), one = dt_pool_square(1);
    dt_model_config config = { .n_classes = 5 };
    dt_builder b = { .config = &config };
    int x;

    MUST(dt_graph_create("joined", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    x = dt_build_conv(&b, "a", b.graph->image, &(dt_conv_spec){ .filters = 4, .kernel = 3, .stride = 1, .pad = 1 });
    x = dt_build_batchnorm(&b, "a.bn", x, NULL);
    x = dt_build_node(&b, DT_OP_ADD, "join", NULL, (int[]){ x, dt_build_apply(&b, DT_OP_RELU, "a.relu", x) }, 2);
    x = dt_build_node(&b, DT_OP_AVGPOOL, "pool", &two, &x, 1);
    x = dt_build_node(&b, DT_OP_AVGPOOL, "cells", &one, &x, 1);
    x = dt_build_linear(&b, "inside", dt_build_apply(&b, DT_OP_FLATTEN, "flatten", x), 7);
    b.graph->scores = dt_build_classifier(&b, "classifier", x, 5);
    MUST(b.status);
    return b.graph;
}

Test(graph_bits, the_rule_affine_is_another_passes)
{
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .rule = DT_RULE_AFFINE };
    dt_graph *g = built("tiny"), *q;

    cr_assert(dt_quant_insert(g, &choice, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "tiny: the rule affine") != NULL, "%s", dt_last_error());
    dt_graph_destroy(g);
}

Test(graph_bits, sums_have_bits_and_share_a_clip)
{
    const dt_quant_choice choice = { .wbits = 4, .abits = 4, .sum_bits = 6 },
                          wrong = { .wbits = 4, .abits = 4, .sum_bits = 9 };
    dt_graph *g = joined(), *q;

    MUST(dt_quant_insert(g, &choice, &q));
    const dt_graph_node *join = dt_graph_maker(q, dt_graph_find(q, "join"));
    const dt_graph_node *first = dt_graph_maker(q, join->in[0]), *second = dt_graph_maker(q, join->in[1]);
    cr_assert(strcmp(dt_graph_name(q, first->out), "join.0.act_quant") == 0);
    cr_assert(first->kind == DT_OP_ACT_QUANT && second->kind == DT_OP_ACT_QUANT && first->in[1] == second->in[1]);
    const dt_act_quant_params *params = second->params; /* of what cannot be below 0, and yet signed as the other is */
    cr_assert(params->bits == 6 && params->is_signed);
    const dt_tensor *sum = &q->value[join->out]->facts;
    cr_assert(sum->n_scale == 1 && sum->qmin == -62 && sum->qmax == 62);
    cr_assert(kind_of(q, "pool.act_quant") == DT_OP_ACT_QUANT && dt_graph_find(q, "cells.act_quant") < 0);
    cr_assert(q->value[dt_graph_find(q, "pool")]->facts.qmax == 4 * 31);
    cr_assert(bits_of(q, "inside") == 44 && bits_of(q, "classifier") == 0);
    dt_graph_destroy(q);
    cr_assert(dt_quant_insert(g, &wrong, &q) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "9 bits of sums, allowed are 2..8 and 0 (real)"), "%s", dt_last_error());
    dt_graph_destroy(g);
}

/* Mixed bits train, are saved, and say so. */
Test(graph_bits, a_model_of_mixed_bits_is_trained)
{
    const dt_layer_bits layers[] = { { "features.0", 32, 32, 0 }, { "features.8", 8, 2, 0 } };
    tiny_options o = tiny_defaults();
    dt_model_info is;
    tiny_run r;

    o.model.layer_bits = layers;
    o.model.n_layer_bits = 2;
    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 3);
    MUST(dt_trainer_check_values(r.trainer));
    dt_model_look(r.model, &is);
    cr_assert(is.wbits_least == 4 && is.wbits_most == 8 && is.abits_least == 2 && is.abits_most == 4 &&
              is.n_float == 1);
    tiny_close(&r);
}
