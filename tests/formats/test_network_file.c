/*
 * test_network_file.c - graphs as JSON: what is written is read again as the same graph, a person may leave out what is
 * plain, and what cannot be read is refused by file, node and attribute.
 */
#include "../support/small_network.h"
#include "../support/temp_files.h"

#include "../../formats/json_file.h"
#include "../../models/networks.h"
#include "../../quant/insert.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static dt_status read_text(const char *text, dt_graph **out)
{
    cJSON *object;

    MUST(dt_json_parse(text, strlen(text), "net.json", &object));
    const dt_status status = dt_graph_from_json(object, "net.json", out);
    cJSON_Delete(object);
    return status;
}

/* Members one by one: what lies between them is nobody's. */
static int same_params(const dt_op *op, const void *a, const void *b)
{
    for (int i = 0; i < op->n_fields; i++) {
        const dt_field *f = &op->fields[i];
        const size_t element = f->kind == DT_FIELD_LONG ? sizeof(int64_t) : sizeof(int);
        const size_t bytes = element * (size_t)(f->count ? f->count : 1);
        if (memcmp((const char *)a + f->offset, (const char *)b + f->offset, bytes) != 0) return 0;
    }
    return 1;
}

static void check_round_trip(dt_graph *g)
{
    char *text = text_of(g);
    dt_graph *again;

    MUST(read_text(text, &again));
    char *second = text_of(again);
    cr_assert(strcmp(text, second) == 0, "%s\n%s", text, second);
    cr_assert(again->n_nodes == g->n_nodes && again->n_values == g->n_values);
    for (int i = 0; i < g->n_nodes; i++) {
        const int value = dt_graph_find(again, dt_graph_name(g, g->node[i].out));
        cr_assert(dt_same_shape(dt_graph_shape(again, value), dt_graph_shape(g, g->node[i].out)));
        cr_assert(same_params(dt_ops[g->node[i].kind], again->node[i].params, g->node[i].params), "%s",
                  dt_graph_name(g, g->node[i].out));
    }
    dt_graph_destroy(again);
    dt_graph_destroy(g);
    free(second);
    free(text);
}

Test(network_file, what_is_written_is_read)
{
    static const char *const names[] = { "vgg16", "tiny", "shallowcaps", "deepcaps" };
    const dt_quant_choice choice = { .wbits = 4, .abits = 2, .input_bits = 8, .rule = DT_RULE_LSQ };

    for (int i = 0; i < 4; i++) {
        dt_model_config c;
        dt_graph *g, *q;
        MUST(dt_model_config_default(names[i], &c));
        MUST(dt_network_build(&c, &g));
        MUST(dt_quant_insert(g, &choice, &q));
        check_round_trip(q);
        check_round_trip(g);
    }
}

Test(network_file, a_person_leaves_out_what_is_plain)
{
    dt_graph *g;

    MUST(read_text(small, &g));
    cr_assert(strcmp(dt_graph_name(g, g->scores), "classifier") == 0 && g->loss == DT_LOSS_CROSS_ENTROPY);
    static const char *const params[] = { "stem.weight",          "stem.bn.weight",      "stem.bn.bias",
                                          "stem.bn.running_mean", "stem.bn.running_var", "side.weight",
                                          "classifier.weight",    "classifier.bias" };
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++)
        cr_assert(dt_graph_find(g, params[i]) >= 0, "%s", params[i]);
    const dt_shape *side = dt_graph_shape(g, dt_graph_find(g, "side.weight"));
    cr_assert(side->dim[0] == 4 && side->dim[1] == 1 && side->dim[2] == 3 && side->dim[3] == 4);
    cr_assert(dt_graph_shape(g, dt_graph_find(g, "pool"))->dim[1] == 4); /* the stride is the window */
    const dt_linear_params *last = dt_graph_maker(g, g->scores)->params;
    cr_assert(last->in_order == 1); /* scores have equal bits everywhere */
    check_round_trip(g);
}

Test(network_file, constants_are_read)
{
    const dt_shape shape = { 2, { 3, 2 } };
    dt_graph *g, *again;
    int value;

    MUST(read_text(small, &g));
    MUST(dt_graph_constant(g, "act.table", &shape, &value));
    char *text = text_of(g);
    MUST(read_text(text, &again));
    const dt_graph_value *v = again->value[dt_graph_find(again, "act.table")];
    cr_assert(v->source == DT_SOURCE_CONSTANT && dt_same_shape(&v->facts.shape, &shape));
    dt_graph_destroy(again);
    free(text);
    check_round_trip(g);
}

/* `from` in the small network becomes `to`. */
static void check_refused(const char *from, const char *to, dt_status status, const char *why)
{
    char text[4096];
    dt_graph *g = NULL;
    const char *at = strstr(small, from);

    cr_assert(at != NULL, "%s", from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, to, at + strlen(from));
    const dt_status got = read_text(text, &g);
    cr_assert(got == status && strstr(dt_last_error(), why) != NULL, "%s -> %s: %s: %s", from, to, dt_status_name(got),
              dt_last_error());
}

Test(network_file, what_cannot_be_read_is_named)
{
    static const struct {
        const char *from, *to;
        dt_status status;
        const char *why;
    } rows[] = {
        { "detent-network", "onnx", DT_ERR_FORMAT, "net.json: format is 'onnx'" },
        { "\"image\": [8, 8, 3]", "\"image\": [8, 8]", DT_ERR_FORMAT, "net.json: image is [8,8]" },
        { "\"image\": [8, 8, 3]", "\"image\": [65536, 65536, 3]", DT_ERR_SHAPE,
          "net.json: image: 2x65536x65536x3 has an axis of 0, or more than 2147483647 values" },
        { "\"maxpool\", \"join\", { \"window\": 2 }",
          "\"transpose\", \"join\", { \"rows\": 8, \"columns\": 8, \"ndim\": 3, \"dim\": [0, 0, 4, 0, 0, 0] }",
          DT_ERR_SHAPE, "pool: transpose: x is 2x8x8x4, y is to be 0x0x4, of another count" },
        { "\"image\": [8, 8, 3]", "\"image\": [8, 0, 3]", DT_ERR_FORMAT, "expected whole numbers from 1 on" },
        { "\"classes\": 5", "\"classes\": 6", DT_ERR_FORMAT, "classes is 6, and classifier gives 5 scores" },
        { "\"classes\": 5", "\"clases\": 5", DT_ERR_FORMAT, "'clases' is not a field of a network" },
        { "\"classes\": 5", "\"version\": 2", DT_ERR_FORMAT, "a network of version 2, and this detent reads versions" },
        { "\"relu\"", "\"gelu\"", DT_ERR_FORMAT, "act: there is no operator 'gelu'" },
        { "\"relu\", \"stem.bn\"", "\"relu\", \"stem.b\"", DT_ERR_FORMAT, "act reads 'stem.b', which no node before" },
        { "\"relu\", \"stem.bn\"", "\"relu\", 7", DT_ERR_FORMAT, "act: an input is 7" },
        { "\"filters\": 4, ", "", DT_ERR_FORMAT, "stem: conv needs \"filters\" and \"window\"" },
        { "\"pad\": 1", "\"pads\": 1", DT_ERR_FORMAT, "stem has no attribute 'pads' of conv; there are: stride, pad" },
        { "\"pad\": 1", "\"pad\": -1", DT_ERR_FORMAT, "net.json: stem: pad is [-1,-1,-1,-1]" },
        { "{ \"window\": 2 }", "[2]", DT_ERR_FORMAT, "net.json: pool: attributes are [2], expected an object" },
        { "[0, 1, 0, 1]", "[0, 1, 0]", DT_ERR_FORMAT, "net.json: side: pad is [0,1,0]" },
        { "[0, 1, 0, 1]", "[0, 0, 0, 0]", DT_ERR_SHAPE, "net.json: join: add: a is 2x8x6x4, b is 2x8x8x4" },
        { "{ \"features\": 5 }", "{}", DT_ERR_FORMAT, "classifier: linear needs \"features\"" },
        { "\"linear\", \"flat\"", "\"linear\", \"pool\"", DT_ERR_SHAPE, "pool has 4 axes; flatten it before" },
        { "[\"act\",", "[\"stem\",", DT_ERR_ARGUMENT, "two values are called 'stem'" },
        { "\"classes\": 5", "\"constants\": [7]", DT_ERR_FORMAT, "a constant without a name: 7" },
        { "\"classes\": 5", "\"constants\": [{ \"name\": \"c\" }]", DT_ERR_FORMAT, "c is (no value), expected a list" },
        { "\"classes\": 5", "\"constants\": [{ \"name\": \"act\", \"shape\": [2] }]", DT_ERR_FORMAT,
          "there are two values called act" },
        { "\"classes\": 5", "\"pixels\": \"bytes\"", DT_ERR_ARGUMENT,
          "stem: conv reads image, which is of the type u8, expected f32" },
        { "[\"act\", \"relu\", \"stem.bn\"]", "[\"act\", \"relu\"]", DT_ERR_FORMAT, "net.json: node 2 is" },
        { "\"relu\", \"stem.bn\"", "\"augment\", \"stem.bn\"", DT_ERR_FORMAT, "act: there is no operator 'augment'" },
        { "\"relu\", \"stem.bn\"", "\"squash\", \"stem.bn\"", DT_ERR_FORMAT,
          "net.json: act: squash needs the attribute \"dim\"" },
        { ",[\"classifier\", \"linear\", \"flat\", { \"features\": 5 }]", "", DT_ERR_FORMAT, "classes is 5" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_refused(rows[i].from, rows[i].to, rows[i].status, rows[i].why);
    }
}

Test(network_file, files_that_are_no_networks_are_refused)
{
    dt_graph *g;

    temp_make();
    cr_assert(dt_graph_load(temp_path("none.json"), &g) == DT_ERR_IO);
    FILE *file = fopen(temp_path("cut.json"), "w");
    fputs("{ \"format\": \"detent-network\", ", file);
    fclose(file);
    cr_assert(dt_graph_load(temp_path("cut.json"), &g) == DT_ERR_FORMAT);
    cr_assert(strstr(dt_last_error(), "cut.json: is not JSON from byte") != NULL, "%s", dt_last_error());
    file = fopen(temp_path("good.json"), "w");
    fputs(small, file);
    fclose(file);
    MUST(dt_graph_load(temp_path("good.json"), &g));
    dt_graph_destroy(g);
    temp_remove();
}

/* ---- anything that a file may say ---- */

static const char *const shapes[] = { "image", "flat", "one" };

static void read_any(const char *pixels, const char *op, const int *input, int n_in, const char *attributes)
{
    char text[2048], inputs[256] = "";
    dt_graph *g = NULL;

    for (int k = 0; k < n_in; k++) {
        const size_t used = strlen(inputs);
        snprintf(inputs + used, sizeof inputs - used, "%s\"%s\"", k ? "," : "", shapes[input[k]]);
    }
    snprintf(text, sizeof text,
             "{ \"format\": \"detent-network\", \"image\": [4, 4, 2], \"pixels\": \"%s\", "
             "\"params\": [ { \"name\": \"one\", \"shape\": [1] } ], \"nodes\": [ %s [\"x\", \"%s\", [%s], %s], "
             "[\"end\", \"flatten\", \"x\"] ] }",
             pixels,
             strcmp(pixels, "bytes") == 0 ? "[\"flat\", \"identity\", \"one\"],"
                                          : "[\"flat\", \"flatten\", \"image\"],",
             op, inputs, attributes);
    if (read_text(text, &g) == DT_OK) dt_graph_destroy(g);
}

/* Every operator with up to four inputs that it may not expect, of real images and of bytes: read or refused. */
Test(network_file, every_operator_takes_or_refuses_any_input)
{
    static const char *const attributes[] = { "{}",
                                              "{ \"dim\": 2 }",
                                              "{ \"dim\": 3, \"iterations\": 1, \"inputs\": 3 }",
                                              "{ \"bits\": 4 }",
                                              "{ \"axis\": 5 }",
                                              "{ \"window\": 9 }",
                                              "{ \"low\": 1, \"high\": 0 }",
                                              "{ \"rows\": 3, \"columns\": 7, \"ndim\": 2, \"dim\": [0,5,0,0,0,0] }",
                                              "{ \"stride\": 3 }",
                                              "{ \"groups\": 3, \"filters\": 4, \"window\": 1 }" };

    for (int kind = 0; kind < DT_OP_COUNT; kind++) {
        for (int i = 0; i < 3 * 3 * 3 * 3; i++) {
            const int input[4] = { i % 3, i / 3 % 3, i / 9 % 3, i / 27 };
            for (int n = 0; n <= 4; n++) {
                const char *a = attributes[(i + n) % (int)(sizeof attributes / sizeof attributes[0])];
                read_any("normalised", dt_ops[kind]->name, input, n, a);
                read_any("bytes", dt_ops[kind]->name, input, n, a);
            }
        }
    }
}

/* ---- docs/NETWORK_FORMAT.md ---- */

static char *read_docs(void)
{
    FILE *file = fopen(DETENT_TEST_GOLDEN "/../../docs/NETWORK_FORMAT.md", "rb");
    char *text = calloc(1, 1 << 16);

    cr_assert(file && text && fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    return text;
}

/* A line of its tables for every operator that files may have, with every attribute; and for no other. */
Test(network_file, the_docs_list_every_operator_and_attribute)
{
    char *docs = read_docs(), row[64], word[64], line[1024];
    const int no_input = 0;

    for (int kind = 0; kind < DT_OP_COUNT; kind++) {
        const dt_op *op = dt_ops[kind];
        snprintf(row, sizeof row, "\n| `%s` | ", op->name);
        const char *reads = strstr(docs, row); /* the tables of parameters have such lines, too, before */
        for (const char *next = reads; next; next = strstr(next + 1, row)) reads = next;
        read_any("normalised", op->name, &no_input, 0, "{}");
        const int is_refused = strstr(dt_last_error(), "there is no operator") != NULL;
        cr_assert(is_refused == (reads == NULL), "%s: %s", op->name, is_refused ? "refused" : "not in the docs");
        if (!reads) continue;
        snprintf(line, sizeof line, "%.*s", (int)strcspn(reads + 1, "\n"), reads + 1);
        for (int i = 0; i < op->n_fields; i++) {
            snprintf(word, sizeof word, "`%s`", op->fields[i].name);
            cr_assert(strstr(line, word) != NULL, "%s of %s is not in '%s'", word, op->name, line);
        }
    }
    free(docs);
}

Test(network_file, the_example_of_the_docs_is_read)
{
    char *docs = read_docs(), *begin = strstr(docs, "```json\n"), *end = begin ? strstr(begin + 8, "```") : NULL;
    dt_graph *g;

    cr_assert(end != NULL);
    *end = '\0';
    MUST(read_text(begin + 8, &g));
    cr_assert(g->n_nodes == 9 && dt_graph_shape(g, g->scores)->dim[1] == 10);
    dt_graph_destroy(g);
    free(docs);
}
