/*
 * test_ranges_file.c - ranges that are read with equal bits, files of other tools, and files that are refused.
 */
#include "../support/temp_files.h"

#include <float.h>

#include "../../formats/ranges_file.h"
#include "../../models/build.h"

TestSuite(ranges_file, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

enum { MOST_VALUES = 16 };

/* image, conv, relu, "odd \"name\"", flat, scores, and parameters between them */
static dt_graph *network(void)
{
    static const dt_shape image = { 4, { 1, 3, 3, 2 } };
    const dt_conv_spec conv = { .filters = 3, .kernel = 3, .stride = 1, .pad = 1 };
    dt_builder b = { .status = DT_OK };
    MUST(dt_graph_create("ranged", &b.graph));
    MUST(dt_graph_give(b.graph, "image", DT_F32, &image, &b.graph->image));
    int x = dt_build_conv(&b, "conv", b.graph->image, &conv);
    x = dt_build_apply(&b, DT_OP_RELU, "relu", x);
    x = dt_build_apply(&b, DT_OP_IDENTITY, "odd \"name\"", x);
    x = dt_build_apply(&b, DT_OP_FLATTEN, "flat", x);
    b.graph->scores = dt_build_classifier(&b, "scores", x, 4);
    MUST(b.status);
    cr_assert(b.graph->n_values <= MOST_VALUES);
    return b.graph;
}

static int find(const dt_graph *g, const char *name)
{
    const int i = dt_graph_find(g, name);
    cr_assert(i >= 0, "no %s", name);
    return i;
}

static const struct {
    const char *value;
    float min, max;
} ranges[] = {
    { "image", -2.1f, 0.1f },         { "conv", -FLT_MAX, FLT_MAX },        { "relu", 0.0f, 0x1.fffffep-1f },
    { "odd \"name\"", 0.25f, 0.25f }, { "scores", -1e-45f, 3.4028233e38f },
};
enum { N_RANGES = sizeof ranges / sizeof ranges[0] };

static dt_status read_text(const dt_graph *g, const char *text, char *has, dt_range *range)
{
    temp_write("r.json", text, strlen(text));
    return dt_ranges_file_read(temp_path("r.json"), g, has, range);
}

Test(ranges_file, numbers_of_nine_digits_are_read_with_equal_bits)
{
    static const char text[] = "{ \"image\": [-2.1, 0.1], \"conv\": [-3.40282347e38, 3.40282347e38], "
                               "\"relu\": [0, 0.99999994], \"odd \\\"name\\\"\": [0.25, 0.25], "
                               "\"scores\": [-1e-45, 3.4028233e38] }";
    dt_graph *g = network();
    char has[MOST_VALUES];
    dt_range range[MOST_VALUES];
    memset(has, 7, sizeof has);
    memset(range, 7, sizeof range);
    MUST(read_text(g, text, has, range));
    int n = 0;
    for (int i = 0; i < g->n_values; i++) n += has[i];
    cr_assert(n == N_RANGES, "%d ranges", n);
    for (int i = 0; i < N_RANGES; i++) {
        const dt_range got = range[find(g, ranges[i].value)];
        cr_assert(has[find(g, ranges[i].value)] && got.min == ranges[i].min && got.max == ranges[i].max,
                  "%s: %.9g..%.9g, expected %.9g..%.9g", ranges[i].value, (double)got.min, (double)got.max,
                  (double)ranges[i].min, (double)ranges[i].max);
    }
    dt_graph_destroy(g);
}

Test(ranges_file, numbers_of_other_tools_are_the_nearest_floats)
{
    dt_graph *g = network();
    char has[MOST_VALUES];
    dt_range range[MOST_VALUES];
    MUST(read_text(g, " {\"scores\" : [ -9.50123456789e0,1e-3 ] ,\n\"image\":[0,255]}\n", has, range));
    const dt_range scores = range[find(g, "scores")], image = range[find(g, "image")];
    cr_assert(scores.min == -9.50123456789f && scores.max == 1e-3f && image.min == 0.0f && image.max == 255.0f);
    int n = 0;
    for (int i = 0; i < g->n_values; i++) n += has[i];
    cr_assert(n == 2 && has[find(g, "scores")] && has[find(g, "image")]);
    MUST(read_text(g, "{}", has, range));
    for (int i = 0; i < g->n_values; i++) cr_assert(has[i] == 0);
    dt_graph_destroy(g);
}

static const struct {
    const char *why, *text, *part[2];
} wrong[] = {
    { "no JSON", "{ \"image\": [0, ", { "r.json", "not JSON" } },
    { "a list", "[1, 2]", { "r.json", "is [1,2], expected {" } },
    { "an unknown value", "{ \"image\": [0, 1], \"bogus\": [0, 1] }", { "'bogus' is no value", "ranged" } },
    { "a parameter", "{ \"conv.weight\": [0, 1] }", { "'conv.weight' is no value", "r.json" } },
    { "a number", "{ \"relu\": 3 }", { "'relu' is 3, expected [min, max]", "r.json" } },
    { "one number", "{ \"relu\": [3] }", { "'relu' is [3], expected", "r.json" } },
    { "three numbers", "{ \"relu\": [1,2,3] }", { "'relu' is [1,2,3], expected", "r.json" } },
    { "a word", "{ \"relu\": [0,\"1\"] }", { "'relu' is [0,\"1\"], expected", "r.json" } },
    { "null", "{ \"relu\": [0,null] }", { "'relu' is [0,null], expected", "r.json" } },
    { "the wrong order", "{ \"relu\": [2.5, -1] }", { "'relu' is [2.5, -1]", "min <= max" } },
    { "no float", "{ \"relu\": [0, 1e39] }", { "'relu' is [0, 1e+39]", "finite" } },
    { "twice",
      "{ \"relu\": [0, 1.5], \"relu\": [0, 2] }",
      { "'relu' stands twice, with [0, 1.5] and [0,2]", "r.json" } },
};

Test(ranges_file, wrong_files_are_refused_by_file_and_value)
{
    dt_graph *g = network();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char has[MOST_VALUES] = { 9 };
        dt_range range[MOST_VALUES] = { { 7.0f, 8.0f } };
        const dt_status s = read_text(g, wrong[i].text, has, range);
        cr_assert(s == DT_ERR_FORMAT, "%s: %s", wrong[i].why, s == DT_OK ? "is read" : dt_last_error());
        for (int k = 0; k < 2; k++)
            cr_assert(strstr(dt_last_error(), wrong[i].part[k]) != NULL, "%s: %s", wrong[i].why, dt_last_error());
        cr_assert(has[0] == 9 && range[0].min == 7.0f, "%s: something was written", wrong[i].why);
    }
    char has[MOST_VALUES];
    dt_range range[MOST_VALUES];
    cr_assert(dt_ranges_file_read(temp_path("missing.json"), g, has, range) == DT_ERR_IO);
    cr_assert(strstr(dt_last_error(), "missing.json") != NULL, "%s", dt_last_error());
    dt_graph_destroy(g);
}
