/*
 * test_onnx_import.c - ONNX files as networks: small ones that tests/golden/make_onnx_golden.py drew, against what ONNX
 * Runtime computed of them without graph optimisation. Reals are compared closely, codes by ==.
 */
#include "../support/onnx_golden.h"

/* ---- reals ---- */

Test(onnx_import, networks_of_reals_compute_what_onnx_runtime_does)
{
    static const char *const names[] = { "windows", "shortcut", "channels_last", "features", "outside", "odd" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) /* sums of at most 324 floats in another order */
        onnx_golden_expect_reals("expected", names[i], 1e-6f);
}

/* ---- codes ---- */

Test(onnx_import, networks_of_codes_compute_the_codes_of_onnx_runtime)
{
    static const char *const names[] = { "qdq_s8", "qdq_u8", "qdq_symmetric", "by_hand" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) onnx_golden_expect_codes("expected", names[i]);
}

/* Weights and zero points are the file's: bytes around 128, and reals that their own quantizer rounds. */
Test(onnx_import, codes_are_the_files)
{
    dt_program *p;

    GRAPH_RUN_MUST(dt_program_load(onnx_golden("by_hand"), &p));
    const dt_graph *g = p->graph;
    const int matrix = dt_graph_find(g, "matrix"), scale = dt_graph_find(g, "matrix_scale");
    cr_assert(matrix >= 0 && scale >= 0);
    cr_assert(eq(i64, g->value[matrix]->param.shape.dim[0], 4));
    cr_assert(eq(flt, *(const float *)g->value[scale]->data, 0.0021f));
    cr_assert(dt_graph_find(g, "stem.weight") >= 0 && dt_graph_find(g, "stem.bias") >= 0);
    const dt_graph_node *first = &g->node[0];
    cr_assert(eq(int, (int)first->kind, (int)DT_OP_QUANTIZE));
    const dt_quantize_params *q = first->params;
    cr_assert(q->low == -120 && q->high == 135 && q->zero == -8);
    dt_program_destroy(p);
}

/* ---- names ---- */

/* Parameters keep the file's names; a layer is called after its weights, or after PyTorch's path of modules. */
Test(onnx_import, names_are_the_files)
{
    static const struct {
        const char *net, *name;
        int is_param;
    } expected[] = {
        { "channels_last", "bn.running_mean", 1 },
        { "channels_last", "bn", 0 },
        { "channels_last", "gate.weight", 1 },
        { "channels_last", "block.1.weight", 1 },
        { "channels_last", "block.1", 0 },
        { "shortcut", "fc.bias", 1 },
        { "shortcut", "fc", 0 },
        { "features", "bnm", 1 },
        { "features", "a_bias", 1 },
        { "windows", "head", 1 },
    };

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        int is_integer;
        dt_graph *graph = onnx_golden_graph(expected[i].net, &is_integer);
        const int value = dt_graph_find(graph, expected[i].name);
        cr_assert(value >= 0, "%s: there is no '%s'", expected[i].net, expected[i].name);
        cr_assert(eq(int, graph->value[value]->source == DT_SOURCE_PARAM, expected[i].is_param), "%s",
                  expected[i].name);
        dt_graph_destroy(graph);
    }
}

/* Filters, a scale and a node of one name, and a constant that is called as what is made beside a node. */
Test(onnx_import, names_that_collide_are_made_different)
{
    const float w[6] = { 1, 2, 3, 4, 5, 6 }, fc[48] = { 0 };
    onnx_bytes g = onnx_graph();
    dt_graph *graph;
    dt_onnx *m;
    int is_integer;

    onnx_constant(&g, "conv", 1, (int64_t[]){ 3, 2, 1, 1, -1 }, w, sizeof w);
    onnx_constant(&g, "conv.flatten", 1, (int64_t[]){ 1, 48, -1 }, fc, sizeof fc);
    onnx_bytes conv = onnx_node("Conv", "x conv", "c");
    onnx_text(&conv, 3, "conv");
    onnx_message(&g, 1, &conv);
    onnx_plain(&g, "Flatten", "c", "f");
    onnx_bytes gemm = onnx_node("Gemm", "f conv.flatten", "y");
    onnx_attribute_int(&gemm, "transB", 1);
    onnx_message(&g, 1, &gemm);
    const onnx_bytes model = onnx_model(&g, 13);
    GRAPH_RUN_MUST(dt_onnx_read_bytes("net.onnx", model.data, model.n, &m));
    GRAPH_RUN_MUST(dt_onnx_graph(m, &graph, &is_integer));
    const int filters = dt_graph_find(graph, "conv.weight"), node = dt_graph_find(graph, "conv");
    cr_assert(filters >= 0 && node >= 0 && dt_graph_maker(graph, node)->in[1] == filters);
    cr_assert(eq(flt, ((const float *)graph->value[filters]->data)[5], 6.0f));
    cr_assert(eq(i64, dt_graph_count(graph, graph->scores), 1));
    dt_graph_destroy(graph);
    dt_onnx_destroy(m);
}

/* A shortcut without projection is one convolution; what disappears makes no node. */
Test(onnx_import, views_and_shapes_add_no_more_than_needed)
{
    int is_integer, kinds[DT_OP_COUNT] = { 0 };
    dt_graph *graph = onnx_golden_graph("shortcut", &is_integer);

    for (int i = 0; i < graph->n_nodes; i++) kinds[graph->node[i].kind]++;
    cr_assert(eq(int, kinds[DT_OP_CONV2D], 4)); /* a, the shortcut, b with the Pad before it, the last Slice */
    cr_assert(eq(int, kinds[DT_OP_TRANSPOSE], 0));
    cr_assert(eq(int, kinds[DT_OP_FLATTEN], 1));
    dt_graph_destroy(graph);
}

/* ---- kinds ---- */

Test(onnx_import, kinds_are_told_apart)
{
    char format[64];
    dt_options opt;
    dt_context *ctx;
    dt_program *p;
    dt_model *m;

    dt_options_default(&opt);
    opt.backend = "cpu";
    GRAPH_RUN_MUST(dt_context_create(&opt, &ctx));
    GRAPH_RUN_MUST(dt_file_format(onnx_golden("features"), format, sizeof format));
    cr_assert(eq(str, format, "onnx"));
    cr_assert(eq(int, (int)dt_program_load(onnx_golden("features"), &p), (int)DT_ERR_UNSUPPORTED));
    cr_assert(strstr(dt_last_error(), "computes on reals") != NULL, "%s", dt_last_error());
    GRAPH_RUN_MUST(dt_file_format(onnx_golden("qdq_u8"), format, sizeof format));
    cr_assert(eq(str, format, "onnx-integer"));
    cr_assert(eq(int, (int)dt_checkpoint_open(ctx, onnx_golden("qdq_u8"), &m), (int)DT_ERR_UNSUPPORTED));
    cr_assert(strstr(dt_last_error(), "computes on integers") != NULL, "%s", dt_last_error());
    cr_assert(eq(int, dt_checkpoint_has_run(onnx_golden("features")), 0));
    GRAPH_RUN_MUST(dt_file_format(onnx_golden("odd"), format, sizeof format)); /* codes of weights alone */
    cr_assert(eq(str, format, "onnx"));
    dt_context_destroy(ctx);
}

/* ---- what is refused ---- */

static void unknown(onnx_bytes *g)
{
    onnx_plain(g, "Mish", "x", "y");
}
static void ceiling(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("AveragePool", "x", "y");
    onnx_attribute_ints(&n, "kernel_shape", 2, (int64_t[]){ 3, 3 });
    onnx_attribute_ints(&n, "strides", 2, (int64_t[]){ 2, 2 });
    onnx_attribute_int(&n, "ceil_mode", 1);
    onnx_attribute_int(&n, "count_include_pad", 1);
    onnx_message(g, 1, &n);
}
static void dilated_pool(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("MaxPool", "x", "y");
    onnx_attribute_ints(&n, "kernel_shape", 2, (int64_t[]){ 2, 2 });
    onnx_attribute_ints(&n, "dilations", 2, (int64_t[]){ 2, 2 });
    onnx_message(g, 1, &n);
}
static void negative_pads(onnx_bytes *g)
{
    const float w[6] = { 0 };
    onnx_constant(g, "w", 1, (int64_t[]){ 3, 2, 1, 1, -1 }, w, sizeof w);
    onnx_bytes n = onnx_node("Conv", "x w", "y");
    onnx_attribute_ints(&n, "pads", 4, (int64_t[]){ 0, -1, 0, 0 });
    onnx_message(g, 1, &n);
}
static void computed_filters(onnx_bytes *g)
{
    onnx_plain(g, "Conv", "x x", "y");
}
static void transposed(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("Transpose", "x", "y");
    onnx_attribute_ints(&n, "perm", 4, (int64_t[]){ 0, 1, 3, 2 });
    onnx_message(g, 1, &n);
}
static void mean_of_channels(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("ReduceMean", "x", "y");
    onnx_attribute_ints(&n, "axes", 1, (int64_t[]){ 1 });
    onnx_message(g, 1, &n);
}
static void softmax_of_rows(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("Softmax", "x", "y");
    onnx_attribute_int(&n, "axis", 2);
    onnx_message(g, 1, &n);
}
static void joined_images(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("Concat", "x x", "y");
    onnx_attribute_int(&n, "axis", 0);
    onnx_message(g, 1, &n);
}
static void reflected(onnx_bytes *g)
{
    onnx_ints(g, "around", 8, (int64_t[]){ 0, 0, 1, 1, 0, 0, 1, 1 });
    onnx_bytes n = onnx_node("Pad", "x around", "y");
    onnx_attribute_text(&n, "mode", "reflect");
    onnx_message(g, 1, &n);
}
static void divided_by_zero(onnx_bytes *g)
{
    onnx_constant(g, "c", 1, (int64_t[]){ 2, 1, 1, -1 }, (float[]){ 1.0f, 0.0f }, 8);
    onnx_plain(g, "Div", "x c", "y");
}
static void whole_constant(onnx_bytes *g)
{
    const float c[32] = { 0 };
    onnx_constant(g, "c", 1, (int64_t[]){ 1, 2, 4, 4, -1 }, c, sizeof c);
    onnx_plain(g, "Add", "x c", "y");
}
static void constant_output(onnx_bytes *g)
{
    onnx_plain(g, "Shape", "x", "y");
}
static void training(onnx_bytes *g)
{
    const float c[2] = { 1, 1 };
    onnx_constant(g, "c", 1, (int64_t[]){ 2, -1 }, c, sizeof c);
    onnx_bytes n = onnx_node("BatchNormalization", "x c c c c", "y");
    onnx_attribute_int(&n, "training_mode", 1);
    onnx_message(g, 1, &n);
}

static const struct {
    void (*make)(onnx_bytes *graph);
    const char *words;
} refused[] = {
    { unknown, "Mish 'y': detent has no operator for it on reals" },
    { ceiling, "AveragePool 'y': ceil_mode adds 1,1 cells" },
    { dilated_pool, "MaxPool 'y': dilations are 2,2" },
    { negative_pads, "Conv 'y': number 1 of attribute 'pads' is -1" },
    { computed_filters, "Conv 'y': the filters, input 1, are computed" },
    { transposed, "Transpose 'y': an order of 4 dimensions, the last axis 2, that moves numbers" },
    { mean_of_channels, "ReduceMean 'y': a mean over the axes of the bits 0x2; understood are 2 and 3" },
    { softmax_of_rows, "Softmax 'y': over axis 2 of 4 dimensions" },
    { joined_images, "Concat 'y': along axis 0 of 4 dimensions" },
    { reflected, "Pad 'y': mode is 'reflect'; understood is constant" },
    { divided_by_zero, "Div 'y': channel 1 is divided by 0" },
    { whole_constant, "Add 'y': input 1, 'c', is 32 constant numbers of 4 dimensions" },
    { constant_output, "the output 'y' is constant" },
    { training, "BatchNormalization 'y': training_mode is 1" },
};

Test(onnx_import, what_detent_cannot_compute_is_refused_by_name)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        onnx_bytes graph = onnx_graph();
        refused[i].make(&graph);
        onnx_expect_refused(&graph, 13, refused[i].words);
    }
}
