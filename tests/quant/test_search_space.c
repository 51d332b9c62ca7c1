/*
 * test_search_space.c - the space and the sizes of mixed-precision searches: those of the QKeras-Mod notebook's
 * network, as QKeras-Mod computes them, limits, groups, rows, other rules, and networks with other numbers of filters.
 */
#include <math.h>
#include <stdio.h>

#include "../support/range_networks.h"
#include "detent/search.h"

/* The notebook's network of chapter 4, on its image. */
static const char notebook[] =
    "{ \"format\": \"detent-network\", \"name\": \"notebook\", \"image\": [28, 28, 1], \"classes\": 10, \"nodes\": ["
    "[\"pool\", \"maxpool\", \"image\", { \"window\": 4 }],"
    "[\"conv2d_0\", \"conv\", \"pool\", { \"filters\": 2, \"window\": 3 }],"
    "[\"bias_0\", \"bias\", \"conv2d_0\"],"
    "[\"relu_0\", \"relu\", \"bias_0\"],"
    "[\"conv2d_1\", \"conv\", \"relu_0\", { \"filters\": 3, \"window\": 3, \"stride\": 2, \"pad\": 1 }],"
    "[\"bias_1\", \"bias\", \"conv2d_1\"],"
    "[\"bn_1\", \"batchnorm\", \"bias_1\"],"
    "[\"relu_1\", \"relu\", \"bn_1\"],"
    "[\"flatten\", \"flatten\", \"relu_1\"],"
    "[\"dense\", \"linear\", \"flatten\", { \"features\": 10 }] ] }";

/* A residual network with a depthwise convolution. */
static const char adding[] =
    "{ \"format\": \"detent-network\", \"name\": \"adding\", \"image\": [8, 8, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.act\", \"relu\", \"stem.bn\"],"
    "[\"dw\", \"conv\", \"stem.act\", { \"filters\": 4, \"groups\": 4, \"window\": 3, \"pad\": 1 }],"
    "[\"pw\", \"conv\", \"dw\", { \"filters\": 4, \"window\": 1 }],"
    "[\"join\", \"add\", [\"pw\", \"stem.act\"]],"
    "[\"pool\", \"avgpool\", \"join\"],"
    "[\"flat\", \"flatten\", \"pool\"],"
    "[\"fc\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

static const dt_search_what of_notebook = { .rule = DT_RULE_QKERAS,
                                            .bits = { { { 4, 8, 16 }, 3 }, { { 16, 31 }, 2 }, { { 4, 8, 16 }, 3 } } };
static const dt_search_what of_layers = { .rule = DT_RULE_LSQ,
                                          .bits = { { { 2, 4, 8 }, 3 }, { { 0 }, 0 }, { { 2, 4 }, 2 } },
                                          .input_bits = 8 };

static dt_search_space *space_of(const char *text, const dt_search_what *what)
{
    dt_graph *g = graph_of(text);
    dt_search_space *s;
    MUST(dt_search_space_create(g, what, &s));
    dt_graph_destroy(g);
    return s;
}

static void refused(const char *text, const dt_search_what *what, const char *why)
{
    dt_graph *g = graph_of(text);
    dt_search_space *s = NULL;
    cr_assert(dt_search_space_create(g, what, &s) != DT_OK && s == NULL, "not refused: %s", why);
    cr_assert(strstr(dt_last_error(), why) != NULL, "says '%s', not '%s'", dt_last_error(), why);
    dt_graph_destroy(g);
}

static const dt_search_row *row_of(const dt_search_space *s, const char *name)
{
    for (int i = 0; i < s->n_rows; i++) {
        if (strcmp(s->row[i].name, name) == 0) return &s->row[i];
    }
    cr_assert_fail("there is no row %s", name);
    return NULL;
}

/* The candidates of a row's choice in words: "4 8 16"; "" if it has none. */
static const char *candidates_of(const dt_search_space *s, const char *name, int role)
{
    static char text[128];
    const int choice = row_of(s, name)->choice[role];
    *text = '\0';
    for (int i = 0; choice >= 0 && i < s->choice[choice].candidates.n; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), i ? " %d" : "%d",
                 s->choice[choice].candidates.value[i]);
    }
    return text;
}

static void has_candidates(const dt_search_space *s, const char *name, int role, const char *want)
{
    const char *is = candidates_of(s, name, role);
    cr_assert(strcmp(is, want) == 0, "%s, role %d: candidates '%s', expected '%s'", name, role, is, want);
}

/* ---- the notebook */

/* ForgivingFactorBits of QKeras-Mod on that network, layer by layer (TensorFlow 2.21, QKeras 0.9.0). */
Test(search_space, the_notebook_has_8193_bits)
{
    static const struct {
        const char *name;
        double bits;
    } want[] = { { "pool", 0 },           { "pool.quant", 784 }, { "conv2d_0", 350 }, { "relu_0", 0 },
                 { "relu_0.quant", 800 }, { "conv2d_1", 957 },   { "bn_1", 0 },       { "relu_1", 0 },
                 { "relu_1.quant", 432 }, { "flatten", 0 },      { "dense", 4630 },   { "dense.quant", 160 },
                 { "softmax", 80 } };
    enum { N = sizeof want / sizeof want[0] };
    dt_search_space *s = space_of(notebook, &of_notebook);
    dt_search_goal goal;
    dt_search_size size;
    double rows[N];

    cr_assert(s->n_rows == N, "%d rows, expected %d", s->n_rows, N);
    dt_search_goal_default(&goal);
    dt_search_size_of(s, &goal, NULL, &size, rows);
    for (int i = 0; i < N; i++) {
        cr_assert(strcmp(s->row[i].name, want[i].name) == 0, "row %d is %s, expected %s", i, s->row[i].name,
                  want[i].name);
        cr_assert(rows[i] == want[i].bits, "%s: %g bits, expected %g", want[i].name, rows[i], want[i].bits);
    }
    cr_assert(size.parameters == 5937.0 && size.activations == 2256.0 && size.total == 8193.0, "%g + %g = %g",
              size.parameters, size.activations, size.total);
    dt_search_space_destroy(s);
}

Test(search_space, the_notebook_has_10_choices)
{
    static const char *const want[] = { "conv2d_0_kernel_quantizer", "conv2d_1_kernel_quantizer",
                                        "dense_kernel_quantizer",    "pool.quant_activation_quantizer",
                                        "conv2d_0_bias_quantizer",   "relu_0.quant_activation_quantizer",
                                        "conv2d_1_bias_quantizer",   "relu_1.quant_activation_quantizer",
                                        "dense_bias_quantizer",      "dense.quant_activation_quantizer" };
    dt_search_space *s = space_of(notebook, &of_notebook);
    cr_assert(s->n_choices == 10 && dt_search_dimensions(s) == 10, "%d choices", s->n_choices);
    cr_assert(dt_search_configurations(s) == 17496.0, "%g configurations", dt_search_configurations(s));
    for (int i = 0; i < 10; i++) {
        cr_assert(strcmp(s->choice[i].name, want[i]) == 0, "choice %d is %s, expected %s", i, s->choice[i].name,
                  want[i]);
    }
    dt_search_space_destroy(s);
}

/* The quirk of QKeras-Mod: all of 4, 16, 4 bits are 2232 bits without the image, and 8504 with it in the trial alone.
 */
Test(search_space, trial_and_reference_count_the_same_numbers)
{
    static const int fewest[10] = { 0 };
    dt_search_space *s = space_of(notebook, &of_notebook);
    dt_search_goal goal;
    dt_search_size size;

    dt_search_goal_default(&goal);
    dt_search_size_of(s, &goal, fewest, &size, NULL);
    cr_assert(size.total == 2232.0, "%g bits", size.total);
    const double delta = dt_search_delta(&goal, 8193.0, size.total);
    cr_assert(fabs(delta - 0.0938) < 5e-5, "delta %g", delta);
    cr_assert(fabs(dt_search_score(&goal, 8193.0, size.total, 0.5) - 0.5 * (1.0 + delta)) < 1e-12);
    cr_assert(dt_search_delta(&goal, 8193.0, 8504.0) < 0.0);
    cr_assert(dt_search_delta(&goal, 8193.0, 8193.0) == 0.0);
    goal.delta_p = 8.0;
    cr_assert(fabs(dt_search_delta(&goal, 100.0, 25.0) - 0.16) < 1e-12, "two factors of 2, 8 %% each");
    goal.stress = 0.25;
    cr_assert(dt_search_delta(&goal, 100.0, 25.0) == 0.0);
    dt_search_space_destroy(s);
}

/* ---- limits */

Test(search_space, limits_by_operator_leave_the_rest_real)
{
    const dt_search_limit limit[] = { { .of = "Conv2D", .most = { 8, 31, 0 } },
                                      { .of = "Activation", .most = { 0, 0, 4 } } };
    dt_search_what what = of_notebook;
    what.limit = limit;
    what.n_limits = 2;
    dt_search_space *s = space_of(notebook, &what);
    has_candidates(s, "conv2d_0", DT_CHOICE_KERNEL, "4 8");
    has_candidates(s, "conv2d_0", DT_CHOICE_BIAS, "16 31");
    has_candidates(s, "pool.quant", DT_CHOICE_ACTIVATION, "4");
    has_candidates(s, "dense", DT_CHOICE_KERNEL, "");
    cr_assert(dt_search_dimensions(s) == 4, "one candidate is no dimension: %d", dt_search_dimensions(s));
    cr_assert(dt_search_configurations(s) == 16.0);
    dt_search_space_destroy(s);
}

/* The first that fits counts; a pattern's rows share a choice; a list says candidates by themselves. */
Test(search_space, patterns_make_groups)
{
    const dt_search_limit limit[] = { { .of = "conv2d_*", .list = { { { 16, 4 }, 2 } } },
                                      { .of = "conv", .most = { 4 } },
                                      { .of = "linear" },
                                      { .of = "activation" } };
    dt_search_what what = of_notebook;
    what.limit = limit;
    what.n_limits = 4;
    dt_search_space *s = space_of(notebook, &what);
    has_candidates(s, "conv2d_0", DT_CHOICE_KERNEL, "16 4");
    cr_assert(row_of(s, "conv2d_0")->choice[0] == row_of(s, "conv2d_1")->choice[0]);
    cr_assert(row_of(s, "conv2d_0")->choice[0] != row_of(s, "dense")->choice[0]);
    cr_assert(strcmp(s->choice[0].name, "conv2d_*_kernel_quantizer") == 0, "%s", s->choice[0].name);
    cr_assert(s->n_choices == 2 + 2 + 4, "%d choices", s->n_choices);
    dt_search_space_destroy(s);
}

Test(search_space, rows_may_be_chosen_by_their_index)
{
    static const int rows[] = { 2, 4 }; /* conv2d_0 and relu_0.quant */
    dt_search_what what = of_notebook;
    what.row = rows;
    what.n_rows = 2;
    dt_search_space *s = space_of(notebook, &what);
    cr_assert(s->n_choices == 3, "%d choices", s->n_choices);
    has_candidates(s, "conv2d_0", DT_CHOICE_KERNEL, "4 8 16");
    has_candidates(s, "relu_0.quant", DT_CHOICE_ACTIVATION, "4 8 16");
    has_candidates(s, "dense", DT_CHOICE_KERNEL, "");
    dt_search_space_destroy(s);
}

Test(search_space, misfits_are_refused)
{
    dt_search_limit limit = { .of = "nobody" };
    dt_search_what what = of_notebook;
    what.limit = &limit;
    what.n_limits = 1;
    refused(notebook, &what, "no operator or row 'nobody'");
    limit = (dt_search_limit){ .of = "conv", .most = { 3 } };
    refused(notebook, &what, "conv2d_0: no candidate of kernel bits is left below the limit of 3");
    limit = (dt_search_limit){ .of = "conv", .list = { { { 5 }, 1 } } };
    refused(notebook, &what, "limit of 'conv': 5 kernel bits are no candidate");
    what = of_notebook;
    what.bits[DT_CHOICE_KERNEL].value[1] = 17;
    refused(notebook, &what, "17 kernel bits with the rule qkeras, allowed are 2..16");
    what.bits[DT_CHOICE_KERNEL].value[1] = 4;
    refused(notebook, &what, "4 kernel bits are there twice");
    what = of_layers;
    what.bits[DT_CHOICE_BIAS] = (dt_candidates){ { 16 }, 1 };
    refused(notebook, &what, "leave biases real");
    what = of_layers;
    what.rule = DT_RULE_AFFINE;
    refused(notebook, &what, "affine");
    static const int beyond[] = { 99 };
    what = of_notebook;
    what.row = beyond;
    what.n_rows = 1;
    refused(notebook, &what, "row 99 is to be quantized");
}

/* ---- quantizers before layers */

Test(search_space, other_rules_have_a_quantizer_before_each_layer)
{
    dt_search_space *s = space_of(adding, &of_layers);
    dt_search_goal goal;
    dt_search_size size;
    double rows[64];

    has_candidates(s, "stem.act_quant", DT_CHOICE_ACTIVATION, ""); /* the image has 8 bits */
    has_candidates(s, "dw.act_quant", DT_CHOICE_ACTIVATION, "2 4");
    has_candidates(s, "dw", DT_CHOICE_KERNEL, "2 4 8");
    cr_assert(s->n_choices == 4 + 3, "%d choices", s->n_choices);
    cr_assert(strcmp(row_of(s, "dw")->op, "depthwise") == 0);

    dt_search_goal_default(&goal);
    dt_search_size_of(s, &goal, NULL, &size, rows);
    cr_assert(rows[row_of(s, "stem.act_quant") - s->row] == 0.0, "the image does not count");
    cr_assert(rows[row_of(s, "stem") - s->row] == 16 * 108 + 31 * 4, "the batch norm's bias is the layer's");
    cr_assert(rows[row_of(s, "dw") - s->row] == 16 * 36, "no bias and no batch norm");
    cr_assert(rows[row_of(s, "fc.act_quant") - s->row] == 16 * 4);
    goal.count_input = 1;
    dt_search_size_of(s, &goal, NULL, &size, rows);
    cr_assert(rows[row_of(s, "stem.act_quant") - s->row] == 8 * 192);
    dt_search_space_destroy(s);
}

Test(search_space, bit_operations_are_products_times_bits)
{
    int configuration[7];
    dt_search_space *s = space_of(adding, &of_layers);
    dt_search_goal goal;
    dt_search_size size;

    dt_search_goal_default(&goal);
    goal.kind = DT_SIZE_BOPS;
    for (int i = 0; i < s->n_choices; i++) configuration[i] = s->choice[i].role == DT_CHOICE_KERNEL ? 2 : 1;
    dt_search_size_of(s, &goal, configuration, &size, NULL);
    /* stem 64 * 108 products of 8 x 8 bits; dw 64 * 36, pw 64 * 16, fc 40 of 8 x 4 */
    cr_assert(size.total == 64.0 * 108 * 64 + (64 * 36 + 64 * 16 + 40) * 32.0, "%g", size.total);
    configuration[row_of(s, "fc")->choice[0]] = DT_SEARCH_REAL;
    goal.ref_bits = 32;
    dt_search_size_of(s, &goal, configuration, &size, NULL);
    cr_assert(size.total == 64.0 * 108 * 64 + (64 * 36 + 64 * 16) * 32.0 + 40 * 32 * 4.0, "%g", size.total);
    dt_search_space_destroy(s);
}

/* By hand for the dense layer: 27 inputs of 4 bits, 270 weights of 8 bits, 10 biases of 16. */
Test(search_space, energy_is_that_of_the_formulas)
{
    int configuration[10] = { 0 };
    dt_search_space *s = space_of(notebook, &of_notebook);
    dt_search_goal goal;
    dt_search_size size;
    double rows[16];

    dt_search_goal_default(&goal);
    goal.kind = DT_SIZE_ENERGY;
    configuration[row_of(s, "dense")->choice[DT_CHOICE_KERNEL]] = 1;
    dt_search_size_of(s, &goal, configuration, &size, rows);
    const double in = log2(27 * 4), p = log2(270 * 8 + 160);
    const double reads = 2 * (9.02427e-4 * in * in * in - 2.68848e-2 * in * in + 0.2089008 * in) +
                         37 * (9.02427e-4 * p * p * p - 2.68848e-2 * p * p + 0.2089008 * p);
    const double sums = 270 * (0.0029948 * 64 + 0.0010417 * 8 + 0.003125 * (8 + 4 + 5));
    cr_assert(fabs(rows[row_of(s, "dense") - s->row] - (reads + sums)) < 1e-9, "%g pJ, expected %g",
              rows[row_of(s, "dense") - s->row], reads + sums);
    dt_search_space_destroy(s);
}

/* ---- filters */

static int64_t filters_of(const dt_graph *g, const char *name)
{
    return dt_graph_shape(g, dt_graph_find(g, name))->dim[0];
}

Test(search_space, networks_have_the_filters_of_a_configuration)
{
    static const char *const whole[] = { "stem" };
    dt_search_what what = of_notebook;
    dt_graph *g = graph_of(notebook), *out;
    int configuration[16] = { 0 };
    dt_search_space *s;

    what.filters = (dt_candidates){ { 100, 50, 200 }, 3 };
    s = space_of(notebook, &what);
    cr_assert(s->n_choices == 12 && row_of(s, "dense")->filters < 0 && row_of(s, "conv2d_0")->filters == 10);
    configuration[10] = 2;
    configuration[11] = 1;
    MUST(dt_search_network(g, s, configuration, &out));
    cr_assert(filters_of(out, "conv2d_0.weight") == 4 && filters_of(out, "bias_0.bias") == 4);
    cr_assert(filters_of(out, "conv2d_1.weight") == 2, "half of 3 is 2");
    cr_assert(dt_graph_shape(out, dt_graph_find(out, "conv2d_1.weight"))->dim[3] == 4);
    cr_assert(filters_of(out, "bn_1.running_var") == 2);
    cr_assert(dt_graph_shape(out, dt_graph_find(out, "dense.weight"))->dim[1] == 18);
    dt_graph_destroy(out);
    dt_graph_destroy(g);
    dt_search_space_destroy(s);

    /* a depthwise convolution follows what it reads; addends that differ are refused */
    what = of_layers;
    what.filters = (dt_candidates){ { 200, 100 }, 2 };
    what.filters_together = 1;
    g = graph_of(adding);
    s = space_of(adding, &what);
    cr_assert(s->n_choices == 8 && row_of(s, "dw")->filters < 0 &&
              row_of(s, "pw")->filters == row_of(s, "stem")->filters);
    configuration[row_of(s, "pw")->filters] = 0;
    MUST(dt_search_network(g, s, configuration, &out));
    cr_assert(filters_of(out, "dw.weight") == 8 && filters_of(out, "pw.weight") == 8);
    dt_graph_destroy(out);
    dt_search_space_destroy(s);
    what.whole = whole;
    what.n_whole = 1;
    s = space_of(adding, &what);
    cr_assert(dt_search_network(g, s, configuration, &out) == DT_ERR_SHAPE, "%s", dt_last_error());
    dt_search_space_destroy(s);
    dt_graph_destroy(g);
}
