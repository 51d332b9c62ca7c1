/*
 * test_onnx_operators.c - operators of ONNX that detent makes of others, and those on codes, which are put in QDQ form:
 * networks that tests/golden/make_onnx_operators.py drew, against what ONNX Runtime computed of them without graph
 * optimisation. Reals are compared closely, codes by ==.
 */
#include "../support/onnx_golden.h"

/* ---- what is computed ---- */

/* Sums of at most 75 floats in another order, through six functions and eight layers, one of which is 2 sigmoid - 1. */
Test(onnx_operators, functions_made_of_others_compute_what_onnx_runtime_does)
{
    onnx_golden_expect_reals("operators", "curves", 2e-6f);
    onnx_golden_expect_reals("operators", "sums", 1e-6f);
}

Test(onnx_operators, maps_of_one_row_are_maps)
{
    onnx_golden_expect_reals("operators", "row", 1e-6f); /* sums of at most 96 floats in another order */
    onnx_golden_expect_reals("operators", "row_last", 1e-6f);
    onnx_golden_expect_codes("operators", "row_u8");
}

/* An image of n,c,w is 1,w,c, and n,w,c is as it stands; neither is moved. */
Test(onnx_operators, rows_of_channels_are_not_moved)
{
    static const char *const names[] = { "row", "row_last", "row_u8" };

    for (int i = 0; i < 3; i++) {
        int is_integer, n_moves = 0;
        dt_graph *graph = onnx_golden_graph(names[i], &is_integer);
        const dt_shape *s = dt_graph_shape(graph, graph->image);
        const int is_last = i == 1;
        cr_assert(s->dim[1] == 1 && s->dim[2] == (is_last ? 9 : 21) && s->dim[3] == (is_last ? 2 : 4), "%s", names[i]);
        for (int k = 0; k < graph->n_nodes; k++) {
            const dt_transpose_params *p = graph->node[k].params;
            n_moves += graph->node[k].kind == DT_OP_TRANSPOSE && p->rows > 1 && p->columns > 1;
        }
        cr_assert(eq(int, n_moves, i == 0), "%s", names[i]); /* the first joins a flat map with rows */
        dt_graph_destroy(graph);
    }
}

Test(onnx_operators, functions_of_codes_are_tables)
{
    onnx_golden_expect_codes("operators", "tables");
}

Test(onnx_operators, operators_on_codes_compute_the_codes_of_onnx_runtime)
{
    onnx_golden_expect_codes("operators", "qoperator_u8");
    onnx_golden_expect_codes("operators", "qoperator_s8");
}

/* What the operator itself means is no weight, and is not trained; the slopes of a PRelu are. */
Test(onnx_operators, what_an_operator_means_is_not_trained)
{
    static const struct {
        const char *name;
        int group;
    } expected[] = {
        { "leakyrelu_1.negative.weight", DT_GROUP_STATE },
        { "hardswish_3.line.weight", DT_GROUP_STATE },
        { "hardswish_3.shifted.bias", DT_GROUP_STATE },
        { "prelu_4.negative.weight", DT_GROUP_WEIGHT },
        { "up.weight", DT_GROUP_WEIGHT },
    };
    int is_integer;
    dt_graph *graph = onnx_golden_graph("curves", &is_integer);

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const int value = dt_graph_find(graph, expected[i].name);
        cr_assert(value >= 0, "there is no %s", expected[i].name);
        cr_assert(eq(int, (int)graph->value[value]->param.group, (int)expected[i].group), "%s", expected[i].name);
    }
    dt_graph_destroy(graph);
}

/* ---- transposed convolutions that are refused ---- */

static onnx_bytes transpose(onnx_bytes *g, const int64_t filters[4])
{
    static const float w[64];
    const int64_t dim[5] = { filters[0], filters[1], filters[2], filters[3], -1 };

    onnx_constant(g, "w", 1, dim, w, (size_t)(filters[0] * filters[1] * filters[2] * filters[3]) * sizeof *w);
    return onnx_node("ConvTranspose", "x w", "y");
}
static void grouped(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 2, 1, 2, 2 });
    onnx_attribute_int(&n, "group", 2);
    onnx_message(g, 1, &n);
}
static void dilated(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 2, 3, 2, 2 });
    onnx_attribute_ints(&n, "dilations", 2, (int64_t[]){ 1, 2 });
    onnx_message(g, 1, &n);
}
static void unequal(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 2, 3, 2, 2 });
    onnx_attribute_ints(&n, "strides", 2, (int64_t[]){ 2, 1 });
    onnx_message(g, 1, &n);
}
static void too_much_behind(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 2, 3, 2, 2 });
    onnx_attribute_ints(&n, "output_padding", 2, (int64_t[]){ 1, 0 });
    onnx_message(g, 1, &n);
}
static void too_large(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 2, 3, 2, 2 });
    onnx_attribute_ints(&n, "output_shape", 2, (int64_t[]){ 9, 9 });
    onnx_message(g, 1, &n);
}
static void all_cut(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 2, 3, 2, 2 });
    onnx_attribute_ints(&n, "pads", 4, (int64_t[]){ 0, 0, 5, 0 });
    onnx_message(g, 1, &n);
}
static void other_channels(onnx_bytes *g)
{
    onnx_bytes n = transpose(g, (int64_t[]){ 3, 2, 2, 2 });
    onnx_message(g, 1, &n);
}
static void strides_of_a_row(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("MaxPool", "x", "y");
    onnx_attribute_ints(&n, "kernel_shape", 1, (int64_t[]){ 2 });
    onnx_message(g, 1, &n);
}
static void filters_of_a_row(onnx_bytes *g)
{
    static const float w[6];
    onnx_constant(g, "w", 1, (int64_t[]){ 1, 2, 3, -1 }, w, sizeof w);
    onnx_plain(g, "Conv", "x w", "y");
}
static void computed_slopes(onnx_bytes *g)
{
    onnx_plain(g, "PRelu", "x x", "y");
}
static void trained_dropout(onnx_bytes *g)
{
    onnx_constant(g, "ratio", 1, (int64_t[]){ -1 }, (float[]){ 0.5f }, 4);
    onnx_constant(g, "mode", 9, (int64_t[]){ -1 }, "\1", 1);
    onnx_plain(g, "Dropout", "x ratio mode", "y");
}

static const struct {
    void (*make)(onnx_bytes *graph);
    const char *words;
} refused[] = {
    { grouped, "ConvTranspose 'y': 2 groups; understood is 1" },
    { dilated, "ConvTranspose 'y': dilations are 1,2; understood are 1,1" },
    { unequal, "ConvTranspose 'y': strides are 2,1; understood are equal ones" },
    { too_much_behind, "ConvTranspose 'y': 1 rows or columns behind those that it makes" },
    { too_large, "ConvTranspose 'y': for an output of 9 rows or columns, -4 would be cut off" },
    { all_cut, "ConvTranspose 'y': pads of 0 and 5 cut off all that it makes" },
    { other_channels, "ConvTranspose 'y': filters of 3,2,2,2 do not fit 2 channels" },
    { strides_of_a_row, "MaxPool 'y': attribute 'kernel_shape' has 1 numbers; understood are 2, of 2 dimensions" },
    { filters_of_a_row, "Conv 'y': filters of 3 dimensions beside a map of 4" },
    { computed_slopes, "PRelu 'y': input 1 is computed; understood are constant numbers" },
    { trained_dropout, "Dropout 'y': training_mode, input 2, is not false" },
};

Test(onnx_operators, what_detent_cannot_compute_is_refused_by_name)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        onnx_bytes graph = onnx_graph();
        refused[i].make(&graph);
        onnx_expect_refused(&graph, 17, refused[i].words);
    }
}
