/*
 * test_graph_text.c - graphs as people see them: the table to the letter, the file that is read again, the drawing.
 */
#include "../support/temp_files.h"
#include "../../core/conv_params.h"
#include "../../formats/graph_json.h"
#include "../../models/networks.h"
#include "../../quant/insert.h"

#include <criterion/criterion.h>

#define MUST(call)                                                   \
    do {                                                             \
        const dt_status must_ = (call);                              \
        cr_assert(must_ == DT_OK, "%s: %s", #call, dt_last_error()); \
    } while (0)

TestSuite(graph_text, .init = temp_make, .fini = temp_remove);

static dt_graph *load(const char *json)
{
    dt_graph *g;

    temp_write("net.json", json, strlen(json));
    MUST(dt_graph_load(temp_path("net.json"), &g));
    return g;
}

static const char small[] =
    "{ \"format\": \"detent-network\", \"image\": [8, 6, 3], \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 4, \"window\": [3, 1], \"pad\": [1, 0, 1, 0], "
    "\"stride\": 2 }],"
    "[\"act\", \"relu\", \"stem\", { \"most\": 6 }],"
    "[\"join\", \"add\", [\"stem\", \"act\"]],"
    "[\"pool\", \"avgpool\", \"join\", { \"window\": 0 }],"
    "[\"flat\", \"flatten\", \"pool\"],"
    "[\"last\", \"linear\", \"flat\", { \"features\": 5 }] ] }";

static void expect_text(const dt_graph *g, dt_graph_form form, const char *expected)
{
    char *text;

    MUST(dt_graph_print(g, form, &text));
    cr_assert(strcmp(text, expected) == 0, "%s", text);
    free(text);
}

Test(graph_text, a_line_a_node)
{
    dt_graph *g = load(small);

    expect_text(g, DT_GRAPH_TABLE,
                "node  operator  one image  values  reads      attributes\n"
                "stem  conv      4x3x4      real    image      filters 4, window 3x1, stride 2, pad [1,0,1,0]\n"
                "act   relu      4x3x4      real    stem       most 6\n"
                "join  add       4x3x4      real    stem, act\n"
                "pool  avgpool   1x1x4      real    join\n"
                "flat  flatten   4          real    pool\n"
                "last  linear    5          real    flat       features 5\n");
    dt_graph_destroy(g);
}

Test(graph_text, quantizers_and_the_range_of_their_codes)
{
    const dt_quant_choice choice = { .wbits = 2, .abits = 4, .input_bits = 8, .rule = DT_RULE_LSQ, .per_channel = 1 };
    dt_graph *g = load(small), *q;
    char *text;

    MUST(dt_quant_insert(g, &choice, &q));
    MUST(dt_graph_print(q, DT_GRAPH_TABLE, &text));
    cr_assert(strstr(text, "\nstem.act_quant     act_quant     8x6x3      -127..127    image  ") != NULL, "%s", text);
    cr_assert(strstr(text, "\nstem.weight_quant  weight_quant  4x3x1x3    -2..1        stem.weight  ") != NULL, "%s",
              text);
    cr_assert(strstr(text, "  bits 2, rule lsq\n") != NULL, "%s", text);
    cr_assert(strstr(text,
                     "\nstem               conv          4x3x4      -2286..2286  stem.act_quant, stem.weight_quant  "
                     "filters 4") != NULL,
              "%s", text); /* 9 products of 127 * 2 */
    free(text);
    dt_graph_destroy(q);
    dt_graph_destroy(g);
}

/* The example of docs/PROGRAM_FORMAT.md. */
static const char integers[] =
    "{ \"format\": \"detent-network\", \"image\": [2, 2, 1], \"pixels\": \"bytes\", \"params\": ["
    "{ \"name\": \"table\", \"shape\": [256, 1] }, { \"name\": \"a.weight\", \"shape\": [2, 2, 2, 1] },"
    "{ \"name\": \"steps\", \"shape\": [3, 2] }, { \"name\": \"sign\", \"shape\": [2] },"
    "{ \"name\": \"scale\", \"shape\": [1] } ], \"nodes\": ["
    "[\"image.codes\", \"table\", [\"image\", \"table\", \"scale\"], { \"low\": 0, \"high\": 3 }],"
    "[\"a.codes\", \"codes\", [\"a.weight\", \"scale\"], { \"low\": -3, \"high\": 3 }],"
    "[\"a\", \"conv\", [\"image.codes\", \"a.codes\"]],"
    "[\"b.act_quant\", \"threshold\", [\"a\", \"steps\", \"sign\", \"scale\"], { \"low\": 0 }],"
    "[\"flat\", \"flatten\", \"b.act_quant\"] ], \"constants\": ["
    "{ \"name\": \"b.act_quant.slope\", \"shape\": [2] }, { \"name\": \"b.act_quant.bits\", \"shape\": [1] } ] }";

Test(graph_text, integers_have_their_ranges_and_constants_their_shapes)
{
    dt_graph *g = load(integers);

    expect_text(g, DT_GRAPH_TABLE,
                "node         operator   one image  values   reads                 attributes\n"
                "image.codes  table      2x2x1      0..3     image                 table 256x1, high 3\n"
                "a.codes      codes      2x2x2x1    -3..3    a.weight              low -3, high 3\n"
                "a            conv       1x1x2      -36..36  image.codes, a.codes  filters 2, window 2x2\n"
                "b.act_quant  threshold  1x1x2      0..3     a                     thresholds 3x2, slope of 2, bits of "
                "1\n"
                "flat         flatten    2          0..3     b.act_quant\n");
    dt_graph_destroy(g);
}

static void check_file(const dt_graph *g, const char *why)
{
    dt_graph *again;
    char *text, *second;

    MUST(dt_graph_print(g, DT_GRAPH_FILE, &text));
    temp_write("printed.json", text, strlen(text));
    MUST(dt_graph_load(temp_path("printed.json"), &again));
    MUST(dt_graph_print(again, DT_GRAPH_FILE, &second));
    cr_assert(strcmp(text, second) == 0, "%s: %s\n%s", why, text, second);
    cr_assert(again->n_nodes == g->n_nodes && again->n_values == g->n_values, "%s", why);
    dt_graph_destroy(again);
    free(second);
    free(text);
}

Test(graph_text, the_file_is_read_again)
{
    static const char *const names[] = { "vgg16", "tiny", "shallowcaps", "deepcaps" };
    dt_graph *g = load(small);

    check_file(g, "small");
    dt_graph_destroy(g);
    g = load(integers);
    check_file(g, "integers");
    dt_graph_destroy(g);
    for (int i = 0; i < 4; i++) {
        dt_model_config c;
        MUST(dt_model_config_default(names[i], &c));
        MUST(dt_network_build(&c, &g));
        check_file(g, names[i]);
        dt_graph_destroy(g);
    }
}

Test(graph_text, the_file_has_a_node_a_line)
{
    dt_graph *g = load(small);
    char *text;

    MUST(dt_graph_print(g, DT_GRAPH_FILE, &text));
    cr_assert(strstr(text, "{\n  \"format\": \"detent-network\",\n  \"version\": 1,\n  \"name\": \"net\",\n"
                           "  \"image\": [8,6,3],\n") == text,
              "%s", text);
    cr_assert(strstr(text, "\n  \"nodes\": [\n    [\"stem\",\"conv\",[\"image\",\"stem.weight\"],{") != NULL, "%s",
              text);
    cr_assert(strstr(text, "\n    [\"join\",\"add\",[\"stem\",\"act\"],{}],\n") != NULL, "%s", text);
    free(text);
    dt_graph_destroy(g);
}

Test(graph_text, a_drawing_quotes_names)
{
    dt_graph *g = load("{ \"format\": \"detent-network\", \"image\": [1, 1, 2], \"name\": \"a\\\"b\", \"nodes\": ["
                       "[\"f\\\\l\", \"flatten\", \"image\"] ] }");

    expect_text(g, DT_GRAPH_DOT,
                "digraph \"a\\\"b\" {\n  node [shape = box, fontname = \"Helvetica\", fontsize = 10];\n"
                "  \"image\" [label = \"image\\ngiven\\n1x1x2, real\", shape = ellipse];\n"
                "  \"f\\\\l\" [label = \"f\\\\l\\nflatten\\n2, real\"];\n"
                "  \"image\" -> \"f\\\\l\";\n}\n");
    dt_graph_destroy(g);
}
