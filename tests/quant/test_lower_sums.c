/*
 * test_lower_sums.c - programs of networks whose joins, pools and linear layers compute on integers: model, reference
 * and the program's own model give the same scores.
 */
#include "../support/lowered.h"
#include "../../core/graph/rewrite.h"

static const dt_conv_spec three = { .filters = 6, .kernel = 3, .stride = 2, .pad = 1 },
                          same = { .filters = 6, .kernel = 3, .stride = 1, .pad = 1 },
                          point = { .filters = 5, .kernel = 1, .stride = 1 };

static int normed(dt_builder *b, const char *name, int x, const dt_conv_spec *spec)
{
    char bn[64];

    snprintf(bn, sizeof bn, "%s.bn", name);
    return dt_build_batchnorm(b, bn, dt_build_conv(b, name, x, spec), NULL);
}

static int rectified(dt_builder *b, const char *name, int x, const dt_conv_spec *spec)
{
    char relu[64];

    snprintf(relu, sizeof relu, "%s.relu", name);
    return dt_build_apply(b, DT_OP_RELU, relu, normed(b, name, x, spec));
}

static int linear_of(dt_builder *b, const char *name, int x, int features)
{
    return dt_build_classifier(b, name, x, features);
}

/* Joins of a signed and an unsigned branch, and of two unsigned ones; a pool of either; what is read twice; rows of
 * parts, one of them limited; two linear layers. */
static void build_joins(dt_builder *b)
{
    static const dt_pool_params overlap = {
        .window = { 3, 3 }, .stride = { 2, 1 }, .pad = { 1, 0, 1, 2 }, .count_include_pad = 1
    };
    static const dt_pool_params most = { .window = { 3, 2 }, .stride = { 1, 2 }, .pad = { 2, 1, 0, 1 } };
    static const dt_clip_params limits = { -0.5f, 0.75f };
    static const dt_concat_params channels = { 3 };
    int x = rectified(b, "stem", b->graph->image, &three);

    int y = normed(b, "left", x, &same);
    x = dt_build_node(b, DT_OP_ADD, "join", NULL, (int[]){ y, x }, 2);
    x = dt_build_apply(b, DT_OP_RELU, "join.relu", x);
    y = rectified(b, "next", x, &same);
    x = dt_build_node(b, DT_OP_ADD, "unsigned", NULL, (int[]){ x, y }, 2);
    x = dt_build_node(b, DT_OP_MAXPOOL, "unsigned.pool", &most, &x, 1);
    y = normed(b, "part", x, &point);
    y = dt_build_node(b, DT_OP_CLIP, "part.clip", &limits, &y, 1);
    x = dt_build_node(b, DT_OP_CONCAT, "parts", &channels, (int[]){ rectified(b, "other", x, &same), y, x }, 3);
    x = rectified(b, "wide", x, &same);
    x = dt_build_node(b, DT_OP_AVGPOOL, "pool", &overlap, &x, 1);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    x = dt_build_apply(b, DT_OP_RELU, "hidden.relu", linear_of(b, "hidden", x, 7));
    b->graph->scores = linear_of(b, "classifier", x, b->config->n_classes);
}

static void check_on(const char *backend, const dt_model_config *c, void (*build)(dt_builder *b), uint64_t seed)
{
    lowered r = { .ctx = lowered_context(backend), .data = lowered_images(c, 3) };

    if (!r.ctx) {
        dt_dataset_close(r.data);
        return;
    }
    r.model = lowered_quantized(r.ctx, c, build);
    lowered_disturb(r.model, seed);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    lowered_check_scores(&r, 3);
    lowered_close(&r);
}

typedef struct {
    int wbits, abits, sum_bits, classifier;
    dt_quant_rule rule;
    int per_channel;
} joins_case;

Test(lower_sums, joins_of_many_bits)
{
    static const joins_case all[] = { { 4, 4, 8, 0, DT_RULE_ECE284, 0 }, { 4, 4, 8, 1, DT_RULE_ECE284, 1 },
                                      { 2, 3, 4, 1, DT_RULE_LSQ, 0 },    { 8, 8, 2, 1, DT_RULE_PACT, 1 },
                                      { 3, 5, 6, 0, DT_RULE_LSQ, 1 },    { 4, 2, 0, 1, DT_RULE_ECE284, 0 } };
    static const char *const backends[] = { "cpu", "cuda" };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        dt_model_config c = lowered_config("tiny", all[i].wbits, all[i].abits);
        c.sum_bits = all[i].sum_bits;
        c.quantize_classifier = all[i].classifier;
        c.rule = all[i].rule;
        c.per_channel = all[i].per_channel;
        for (int b = 0; b < 2; b++) check_on(backends[b], &c, build_joins, 40 + i);
    }
}

/* What each node of such a program is: nothing between pixels and scores is real. */
Test(lower_sums, integers_to_the_last_node)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    c.sum_bits = 8;
    c.quantize_classifier = 1;
    lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 1) };
    r.model = lowered_quantized(r.ctx, &c, build_joins);
    lowered_disturb(r.model, 7);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    const dt_program *p = r.program;
    for (int i = 0; i < p->graph->n_nodes; i++) {
        const dt_graph_node *n = &p->graph->node[i];
        const int is_real = dt_program_value(p, n->out).kind == DT_VALUE_REAL;
        cr_assert(is_real == (i >= p->graph->n_nodes - 2), "%s", dt_graph_name(p->graph, n->out));
    }
    const dt_value join = dt_program_value(p, lowered_node(p, DT_OP_ADD, "join")->out),
                   both = dt_program_value(p, lowered_node(p, DT_OP_ADD, "unsigned")->out),
                   pool = dt_program_value(p, lowered_node(p, DT_OP_AVGPOOL, "pool")->out);
    cr_assert(join.kind == DT_VALUE_PSUM && join.low == -127 && join.high == 254, "%d..%d", join.low, join.high);
    cr_assert(both.low == 0 && both.high == 510, "%d..%d", both.low, both.high);
    cr_assert(pool.low == 0 && pool.high == 9 * 255, "%d..%d", pool.low, pool.high);
    cr_assert(dt_program_value(p, lowered_node(p, DT_OP_CONCAT, "parts")->out).channels == 6 + 5 + 6);
    cr_assert(dt_program_value(p, lowered_node(p, DT_OP_CONV2D, "hidden")->out).channels == 7);
    lowered_close(&r);
}

/* Codes of one clip that are joined, and then quantized again and read as reals. */
static void build_codes(dt_builder *b)
{
    static const dt_act_quant_params act = { .bits = 5 }, again = { .bits = 3 };
    static const dt_concat_params columns = { 2 };
    const dt_shape one = { 1, { 1 } };
    int x = rectified(b, "stem", b->graph->image, &three), codes[2];
    const int clip = dt_build_param(b, "clip", &one, (dt_start){ .value = 3.0f });
    const int clip_again = dt_build_param(b, "clip.again", &one, (dt_start){ .value = 2.0f });

    codes[0] = dt_build_node(b, DT_OP_ACT_QUANT, "first.act_quant", &act, (int[]){ x, clip }, 2);
    x = rectified(b, "b", x, &same);
    codes[1] = dt_build_node(b, DT_OP_ACT_QUANT, "second.act_quant", &act, (int[]){ x, clip }, 2);
    x = dt_build_node(b, DT_OP_CONCAT, "rows", &columns, codes, 2);
    x = dt_build_node(b, DT_OP_ACT_QUANT, "third.act_quant", &again, (int[]){ x, clip_again }, 2);
    x = dt_build_apply(b, DT_OP_DEQUANTIZE, "real", x);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

Test(lower_sums, codes_are_joined_quantized_again_and_read_as_reals)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    check_on("cpu", &c, build_codes, 3);
    check_on("cuda", &c, build_codes, 3);
}

/* Without a linear layer: the scores are averages of a map's channels. */
static void build_averages(dt_builder *b)
{
    static const dt_pool_params whole = { .stride = { 1, 1 } };
    const dt_conv_spec classes = { .filters = b->config->n_classes, .kernel = 1, .stride = 1 };
    int x = rectified(b, "stem", b->graph->image, &three);

    x = normed(b, "last", x, &classes);
    x = dt_build_node(b, DT_OP_AVGPOOL, "pool", &whole, &x, 1);
    b->graph->scores = dt_build_apply(b, DT_OP_FLATTEN, "flatten", x);
}

Test(lower_sums, scores_without_a_linear_layer)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    for (c.sum_bits = 0; c.sum_bits <= 8; c.sum_bits += 4) {
        check_on("cpu", &c, build_averages, 9);
        check_on("cuda", &c, build_averages, 9);
    }
}

/* Multipliers of sums, whose integers lie unevenly around 0. */
Test(lower_sums, multipliers_of_sums)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    dt_requant_report report;
    c.sum_bits = 8;
    lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 5) };
    r.model = lowered_quantized(r.ctx, &c, build_joins);
    lowered_disturb(r.model, 21);
    MUST(dt_program_lower(r.model, r.data, &r.program));
    MUST(dt_program_use_multipliers(r.program, 16, &report));
    MUST(dt_program_check(r.program));
    cr_assert(report.n_psums_differ * 100 < report.n_psums, "%lld of %lld psums", (long long)report.n_psums_differ,
              (long long)report.n_psums);
    lowered_close(&r);
}

/* One branch is quantized from reals: its codes follow from the clip, and those of the other from a scale. */
static void build_uneven(dt_builder *b)
{
    int x = normed(b, "a", b->graph->image, &three), y = normed(b, "b", x, &same);

    y = dt_build_node(b, DT_OP_ADD, "reals", NULL, (int[]){ y, x }, 2);
    x = dt_build_node(b, DT_OP_ADD, "join", NULL, (int[]){ y, x }, 2);
    x = dt_build_apply(b, DT_OP_FLATTEN, "flatten", normed(b, "c", x, &same));
    b->graph->scores = dt_build_classifier(b, "classifier", x, b->config->n_classes);
}

static dt_status quantize_join_alone(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    static const dt_act_quant_params act = { .bits = 8, .is_signed = 1, .rule = DT_RULE_ECE284 };
    const dt_param_spec spec = { .shape = { 1, { 1 } }, .group = DT_GROUP_STATE, .init_value = 4.0f };
    int clip, in[2];
    (void)user;

    if (strcmp(dt_graph_name(r->from, n->out), "join") != 0) return dt_rewrite_copy(r, n);
    DT_TRY(dt_graph_param(r->to, "join.clip", &spec, &clip));
    for (int k = 0; k < 2; k++) {
        int codes[2] = { -1, clip };
        DT_TRY(dt_rewrite_value(r, n->in[k], &codes[0]));
        DT_TRY(
            dt_graph_add(r->to, DT_OP_ACT_QUANT, k ? "join.1.act_quant" : "join.0.act_quant", &act, codes, 2, &in[k]));
    }
    return dt_rewrite_with(r, n, NULL, in);
}

Test(lower_sums, codes_of_reals_and_of_psums_are_not_added)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = { .ctx = lowered_context("cpu"), .data = lowered_images(&c, 1) };
    dt_model *m = lowered_quantized(r.ctx, &c, build_uneven);
    dt_graph *g;
    MUST(dt_graph_rewrite(m->graph, quantize_join_alone, NULL, &g));
    MUST(dt_model_open(r.ctx, g, &r.model));
    cr_assert(dt_program_lower(r.model, r.data, &r.program) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "join: one of the two that it adds is quantized from reals"), "%s",
              dt_last_error());
    dt_model_destroy(m);
    lowered_close(&r);
}
