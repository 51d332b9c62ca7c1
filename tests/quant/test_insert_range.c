/*
 * test_insert_range.c - the pass for affine quantizers: where it puts them, what has one range, and what is refused.
 */
#include "../support/range_networks.h"

#include <math.h>
#include <stdio.h>

static int find(const dt_graph *g, const char *name)
{
    const int i = dt_graph_find(g, name);
    cr_assert(i >= 0, "there is no value %s", name);
    return i;
}

static const dt_graph_node *node_of(const dt_graph *g, const char *name)
{
    const dt_graph_node *n = dt_graph_maker(g, find(g, name));
    cr_assert(n, "no node makes %s", name);
    return n;
}

/* A quantizer of this value with this range. */
static void expect_quant(const dt_graph *g, const char *name, const char *x, const char *range, int is_positive)
{
    const dt_graph_node *n = node_of(g, name);
    const dt_range_quant_params *p = n->params;

    cr_assert(n->kind == DT_OP_RANGE_QUANT && strcmp(dt_graph_name(g, n->in[0]), x) == 0 &&
                  strcmp(dt_graph_name(g, n->in[1]), range) == 0,
              "%s is a %s of %s with %s", name, dt_ops[n->kind]->name, dt_graph_name(g, n->in[0]),
              n->n_in > 1 ? dt_graph_name(g, n->in[1]) : "nothing");
    cr_assert(p->bits == 8 && p->is_positive == is_positive, "%s: %d bits, positive %d", name, p->bits, p->is_positive);
}

static void expect_in(const dt_graph *g, const char *name, int k, const char *in)
{
    const dt_graph_node *n = node_of(g, name);
    cr_assert(k < n->n_in && strcmp(dt_graph_name(g, n->in[k]), in) == 0, "input %d of %s is %s, expected %s", k, name,
              dt_graph_name(g, n->in[k]), in);
}

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static dt_range_update update_of(const dt_graph *g, const char *name)
{
    return ((const dt_range_quant_params *)node_of(g, name)->params)->update;
}

static void expect_refused(const char *text, const dt_range_choice *choice, dt_status status, const char *message)
{
    dt_graph *g = graph_of(text), *out = NULL;
    const dt_status got = dt_quant_insert_range(g, choice, &out);

    cr_assert(got == status && strstr(dt_last_error(), message), "%s: %s, expected '%s'", dt_status_name(got),
              dt_last_error(), message);
    dt_graph_destroy(g);
}

Test(insert_range, each_value_has_one_quantizer_behind_what_joins_it)
{
    dt_graph *g = quantized(residual, &w8a8);

    expect_quant(g, "image.quant", "image", "image.range", 0);
    expect_quant(g, "stem.act.quant", "stem.act", "stem.act.range", 1);
    expect_quant(g, "a.act.quant", "a.act", "a.act.range", 1);
    expect_quant(g, "b.bn.quant", "b.bn", "b.bn.range", 0);
    expect_quant(g, "join.act.quant", "join.act", "join.act.range", 1);
    expect_quant(g, "half.quant", "half", "join.act.range", 1);
    expect_quant(g, "gate.quant", "gate", "gate.range", 1);
    expect_quant(g, "gated.quant", "gated", "gated.range", 0);
    expect_quant(g, "mean.quant", "mean", "mean.range", 0);
    expect_quant(g, "classifier.quant", "classifier.biased", "classifier.range", 0);
    cr_assert(count_of(g, DT_OP_RANGE_QUANT) == 10, "%d quantizers", count_of(g, DT_OP_RANGE_QUANT));
    expect_in(g, "pool", 0, "stem.act.quant"); /* a max-pool stays on the codes it reads */
    expect_in(g, "a", 0, "pool");
    expect_in(g, "join", 0, "b.bn.quant");
    expect_in(g, "join", 1, "pool");
    expect_in(g, "half", 0, "join.act.quant");
    expect_in(g, "gate", 0, "half.dequantize");
    expect_in(g, "flat", 0, "mean.quant");
    expect_in(g, "classifier", 0, "flat");
    cr_assert(g->scores == find(g, "classifier.dequantize"), "the scores are %s", dt_graph_name(g, g->scores));
    cr_assert(update_of(g, "half.quant") == DT_RANGE_FIXED && update_of(g, "gate.quant") == DT_RANGE_FIXED &&
              update_of(g, "mean.quant") == DT_RANGE_LEARNED);
    dt_graph_destroy(g);
}

/* A checkpoint holds the network as such a file. */
Test(insert_range, a_file_holds_the_network)
{
    dt_graph *g = quantized(residual, &w8a8), *again;
    cJSON *object = cJSON_CreateObject();

    MUST(dt_graph_to_json(g, object));
    MUST(dt_graph_from_json(object, "net.json", &again));
    expect_quant(again, "half.quant", "half", "join.act.range", 1);
    cr_assert(update_of(again, "half.quant") == DT_RANGE_FIXED && again->n_nodes == g->n_nodes);
    cr_assert(again->value[find(again, "half.quant")]->facts.qmax == 255);
    cr_assert(again->value[find(again, "join.act.range")]->param.init == DT_INIT_ENDS);
    cJSON_Delete(object);
    dt_graph_destroy(again);
    dt_graph_destroy(g);
}

Test(insert_range, weights_have_a_scale_a_filter_or_a_layer)
{
    static const struct {
        int per_channel, fc_per_layer;
        int64_t conv, linear;
    } cases[] = { { 1, 0, 8, 10 }, { 1, 1, 8, 1 }, { 0, 0, 1, 1 } };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_range_choice c = w8a8;
        c.per_channel = cases[i].per_channel;
        c.fc_per_layer = cases[i].fc_per_layer;
        c.wbits = 4;
        dt_graph *g = quantized(residual, &c);
        cr_assert(count_of(g, DT_OP_MAX_QUANT) == 4);
        cr_assert(dt_graph_shape(g, find(g, "stem.weight_least"))->dim[0] == cases[i].conv &&
                  dt_graph_shape(g, find(g, "classifier.weight_least"))->dim[0] == cases[i].linear);
        const dt_graph_value *least = g->value[find(g, "stem.weight_least")];
        cr_assert(least->param.group == DT_GROUP_STATE && least->param.init_value == 0.0f);
        cr_assert(g->value[find(g, "stem.weight_quant")]->facts.qmax == 7);
        dt_graph_destroy(g);
    }
}

/* A value that is read with and without a ReLU; a batch norm and a ReLU6 that join nothing; a concat. */
Test(insert_range, two_readers_and_lone_nodes)
{
    static const char text[] =
        "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"pixels\": \"unit\", \"nodes\": ["
        "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
        "[\"a.act\", \"relu\", \"a\"],"
        "[\"sum\", \"add\", [\"a\", \"a.act\"]],"
        "[\"pool\", \"maxpool\", \"sum\", { \"window\": 2 }],"
        "[\"norm\", \"batchnorm\", \"pool\"],"
        "[\"norm.act\", \"relu\", \"norm\"],"
        "[\"lone\", \"relu\", \"pool\"],"
        "[\"six\", \"relu\", \"pool\", { \"most\": 6 }],"
        "[\"both\", \"concat\", [\"norm.act\", \"six\"]],"
        "[\"more\", \"concat\", [\"both\", \"lone\"]],"
        "[\"flat\", \"flatten\", \"more\"],"
        "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }],"
        "[\"p\", \"softmax\", \"fc\"] ] }";
    dt_graph *g = quantized(text, &w8a8);

    expect_quant(g, "image.quant", "image", "image.range", 1);
    expect_quant(g, "a.quant", "a", "a.range", 0);
    expect_quant(g, "a.act.quant", "a.act", "a.act.range", 1);
    expect_in(g, "a.act", 0, "a"); /* not its codes */
    expect_quant(g, "sum.quant", "sum", "more.range", 0);
    expect_in(g, "norm", 0, "pool");
    expect_in(g, "six", 0, "pool");
    expect_in(g, "lone", 0, "pool");
    expect_quant(g, "norm.act.quant", "norm.act", "more.range", 0); /* of all that the concats join */
    expect_quant(g, "six.quant", "six", "more.range", 0);
    expect_in(g, "both", 1, "six.quant");
    expect_in(g, "more", 1, "lone");
    cr_assert(g->value[find(g, "more")]->facts.n_scale == 1, "the concat leaves the grid");
    expect_quant(g, "p.quant", "p", "p.range", 1);
    expect_in(g, "p", 0, "fc.dequantize");
    expect_in(g, "p.dequantize", 0, "p.quant");
    dt_graph_destroy(g);
}

/* The first quantizer of the two moves the range, by the values of both. */
Test(insert_range, an_average_of_a_concat_sees_all_that_it_joins)
{
    static const char text[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                               "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                               "[\"b\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                               "[\"b.act\", \"relu\", \"b\"],"
                               "[\"s\", \"sigmoid\", \"a\"],"
                               "[\"both\", \"concat\", [\"b.act\", \"s\", \"a\"]],"
                               "[\"flat\", \"flatten\", \"both\"],"
                               "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    static char wide[2048] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": [";
    dt_range_choice c = w8a8;
    c.update = DT_RANGE_AVERAGE;

    /* a is read by s before b is there */
    expect_refused(text, &c, DT_ERR_UNSUPPORTED, "both joins s with values that are read before it is made");
    for (int i = 0; i < 6; i++) {
        snprintf(wide + strlen(wide), sizeof wide - strlen(wide),
                 "[\"c%d\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],", i);
    }
    char *end = wide + strlen(wide);
    snprintf(end, sizeof wide - strlen(wide),
             "[\"all\", \"concat\", [\"c0\", \"c1\", \"c2\", \"c3\", \"c4\"]], [\"flat\", \"flatten\", \"all\"],"
             "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }");
    dt_graph *g = quantized(wide, &c);
    cr_assert(node_of(g, "c0.quant")->n_in == 6 && node_of(g, "c1.quant")->n_in == 2);
    for (int k = 2; k < 6; k++) {
        char name[8];
        snprintf(name, sizeof name, "c%d", k - 1);
        expect_in(g, "c0.quant", k, name);
    }
    cr_assert(update_of(g, "c0.quant") == DT_RANGE_AVERAGE && update_of(g, "c1.quant") == DT_RANGE_FIXED);
    cr_assert(g->value[find(g, "all")]->facts.n_scale == 1);
    dt_graph_destroy(g);
    snprintf(
        end, sizeof wide - (size_t)(end - wide),
        "[\"all\", \"concat\", [\"c0\", \"c1\", \"c2\", \"c3\", \"c4\", \"c5\"]], [\"flat\", \"flatten\", \"all\"],"
        "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }");
    expect_refused(wide, &c, DT_ERR_UNSUPPORTED, "all joins more than 5 values with one range");
}

Test(insert_range, nodes_that_the_scores_do_not_need_are_left_out)
{
    static const char text[] =
        "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"scores\": \"fc\", \"nodes\": ["
        "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
        "[\"pool\", \"maxpool\", \"a\", { \"window\": 2 }],"
        "[\"flat\", \"flatten\", \"pool\"],"
        "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }],"
        "[\"aside\", \"softmax\", \"pool\"] ] }";
    dt_graph *g = quantized(text, &w8a8);

    cr_assert(dt_graph_find(g, "aside") < 0 && dt_graph_find(g, "fc") >= 0);
    dt_graph_destroy(g);
}

Test(insert_range, probabilities_join_a_concat_by_another_quantizer)
{
    static const char text[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                               "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                               "[\"s\", \"sigmoid\", \"a\"],"
                               "[\"both\", \"concat\", [\"s\", \"a\"]],"
                               "[\"flat\", \"flatten\", \"both\"],"
                               "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    dt_graph *g = quantized(text, &w8a8);

    expect_quant(g, "s.quant", "s", "s.range", 1);
    expect_quant(g, "both.0.quant", "s.quant", "both.range", 0);
    expect_quant(g, "a.quant", "a", "both.range", 0);
    cr_assert(g->value[find(g, "both")]->facts.n_scale == 1);
    dt_graph_destroy(g);
}

Test(insert_range, layers_that_stay_real_read_and_give_reals)
{
    static const char *const real[] = { "a", "stem" };
    dt_range_choice c = w8a8;
    c.real = real;
    c.n_real = 2;
    dt_graph *g = quantized(residual, &c);

    expect_in(g, "stem", 0, "image");
    expect_in(g, "stem", 1, "stem.weight");
    cr_assert(dt_graph_find(g, "image.quant") < 0);
    expect_in(g, "pool", 0, "stem.act.quant");
    expect_in(g, "a", 0, "pool.dequantize");
    expect_quant(g, "a.act.quant", "a.act", "a.act.range", 1);
    expect_in(g, "b", 0, "a.act.quant");
    dt_graph_destroy(g);
}

Test(insert_range, ranges_that_are_given_are_where_training_begins)
{
    dt_graph *plain = graph_of(residual), *g;
    dt_range *range = malloc((size_t)plain->n_values * sizeof *range);
    dt_range_choice c = w8a8;
    c.range = range;
    c.update = DT_RANGE_FIXED;

    for (int i = 0; i < plain->n_values; i++) range[i] = (dt_range){ -(float)i, 2.0f * (float)i };
    MUST(dt_quant_insert_range(plain, &c, &g));
    const int join = find(plain, "join.act");
    const float *ends = g->value[find(g, "join.act.range")]->data;
    cr_assert(ends && ends[0] == -(float)join && ends[1] == 2.0f * (float)join);
    cr_assert(g->value[find(g, "join.act.range")]->param.group == DT_GROUP_STATE);
    cr_assert(!g->value[find(g, "gate.range")]->data, "that of probabilities is fixed already");
    dt_graph_destroy(g);

    range[join].max = NAN;
    cr_assert(dt_quant_insert_range(plain, &c, &g) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "the range of join.act is not known"), "%s", dt_last_error());
    range[join] = (dt_range){ 2.0f, 1.0f };
    cr_assert(dt_quant_insert_range(plain, &c, &g) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "the range of join.act is 2..1"), "%s", dt_last_error());
    free(range);
    dt_graph_destroy(plain);
}

Test(insert_range, what_cannot_be_done_is_refused_by_name)
{
    static const char two[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                              "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                              "[\"both\", \"concat\", [\"a\", \"image\"]],"
                              "[\"flat\", \"flatten\", \"both\"],"
                              "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    static const char squash[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                                 "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                                 "[\"caps\", \"squash\", \"a\", { \"dim\": 4 }],"
                                 "[\"flat\", \"flatten\", \"caps\"],"
                                 "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    static const char *const nobody[] = { "nobody*" };
    dt_range_choice c = w8a8;

    expect_refused(squash, &c, DT_ERR_UNSUPPORTED, "caps is a squash, which has no place");
    c.update = DT_RANGE_AVERAGE;
    expect_refused(two, &c, DT_ERR_UNSUPPORTED, "both joins a with values that are read before it is made");
    c = w8a8;
    c.wbits = 17;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "quantizers of w17a8, allowed are 2..16");
    c = w8a8;
    c.abits = 17;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "w8a17");
    c = w8a8;
    c.decay = 1.5f;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "the decay of ranges is 1.5");
    c = w8a8;
    c.real = nobody;
    c.n_real = 1;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "no layer 'nobody*' that could be quantized; there are a, fc");
    c = w8a8;
    c.update = DT_RANGE_FIXED;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "is not known, and ranges are fixed");
}
