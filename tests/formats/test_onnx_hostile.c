/*
 * test_onnx_hostile.c - ONNX files that mean ill: each is refused in one line that begins with the file's name.
 */
#include "../../formats/onnx/onnx_import.h"
#include "../support/onnx_case.h"
#include "../support/temp_files.h"

/* The status of what refuses a file's graph. */
static dt_status import(const char *path)
{
    dt_onnx *m;
    dt_graph *graph;
    int is_integer;

    DT_TRY(dt_onnx_read(path, &m));
    const dt_status s = dt_onnx_graph(m, &graph, &is_integer);
    dt_onnx_destroy(m);
    if (s == DT_OK) dt_graph_destroy(graph);
    return s;
}

static void cycle(onnx_bytes *g)
{
    onnx_plain(g, "Add", "x b", "a");
    onnx_plain(g, "Relu", "a", "b");
    onnx_plain(g, "Relu", "b", "y");
}
static void missing_input(onnx_bytes *g)
{
    onnx_plain(g, "Add", "x nothing", "y");
}
static void made_twice(onnx_bytes *g)
{
    onnx_plain(g, "Relu", "x", "y");
    onnx_plain(g, "Sigmoid", "x", "y");
}
static void constant_twice(onnx_bytes *g)
{
    onnx_ints(g, "two", 1, (int64_t[]){ 2 });
    onnx_ints(g, "two", 1, (int64_t[]){ 3 });
    onnx_plain(g, "Relu", "x", "y");
}
static void no_nodes(onnx_bytes *g)
{
    onnx_ints(g, "two", 1, (int64_t[]){ 2 });
}
static void past_the_end(onnx_bytes *g)
{
    onnx_varint(g, 5 << 3 | 2);
    onnx_varint(g, 1000);
}
static void endless_number(onnx_bytes *g)
{
    onnx_put(g, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
}
static void group(onnx_bytes *g)
{
    onnx_put(g, "\x0b\x0c", 2);
}
static void number_zero(onnx_bytes *g)
{
    onnx_put(g, "\x02\x00", 2);
}
static void huge(onnx_bytes *g)
{
    onnx_constant(g, "w", 1, (int64_t[]){ 1 << 20, 1 << 20, -1 }, NULL, 0);
    onnx_plain(g, "Relu", "x", "y");
}
static void negative(onnx_bytes *g)
{
    onnx_constant(g, "w", 1, (int64_t[]){ -5, 2, -1 }, NULL, 0);
    onnx_plain(g, "Relu", "x", "y");
}
static void too_few_bytes(onnx_bytes *g)
{
    onnx_constant(g, "w", 1, (int64_t[]){ 3, -1 }, "12345678", 8);
    onnx_plain(g, "Relu", "x", "y");
}
static void text_with_nul(onnx_bytes *g)
{
    onnx_constant(g, NULL, 1, (int64_t[]){ 1, -1 }, "1234", 4);
    onnx_bytes node = onnx_node("Relu", "x", "y");
    onnx_data(&node, 3, "a\0b", 3);
    onnx_message(g, 1, &node);
}
static void half(onnx_bytes *g)
{
    onnx_constant(g, "w", 10, (int64_t[]){ 3, 2, 1, 1, -1 }, "123456789012", 12);
    onnx_plain(g, "Conv", "x w", "y");
}
static void wrong_channels(onnx_bytes *g)
{
    const float w[9] = { 0 };
    onnx_constant(g, "w", 1, (int64_t[]){ 3, 3, 1, 1, -1 }, w, sizeof w);
    onnx_plain(g, "Conv", "x w", "y");
}
static void huge_fold(onnx_bytes *g)
{
    onnx_ints(g, "sides", 2, (int64_t[]){ 1 << 20, 1 << 20 });
    onnx_plain(g, "ConstantOfShape", "sides", "much");
    onnx_plain(g, "Add", "x much", "y");
}
static void negative_fold(onnx_bytes *g)
{
    onnx_ints(g, "sides", 1, (int64_t[]){ -3 });
    onnx_plain(g, "ConstantOfShape", "sides", "much");
    onnx_plain(g, "Add", "x much", "y");
}
static void gather_outside(onnx_bytes *g)
{
    onnx_ints(g, "nine", 1, (int64_t[]){ 9 });
    onnx_plain(g, "Shape", "x", "s");
    onnx_plain(g, "Gather", "s nine", "d");
    onnx_plain(g, "Reshape", "x d", "y");
}
static void gather_of_nothing(onnx_bytes *g)
{
    onnx_constant(g, "nothing", 7, (int64_t[]){ 2, 0, -1 }, "", 0);
    onnx_ints(g, "one", 1, (int64_t[]){ 1 });
    onnx_plain(g, "Gather", "nothing one", "d");
    onnx_plain(g, "Reshape", "x d", "y");
}
static void no_first_output(onnx_bytes *g)
{
    onnx_bytes node = onnx_node("Dropout", "x", "");
    onnx_text(&node, 2, "y");
    onnx_message(g, 1, &node);
}
static void division_by_zero(onnx_bytes *g)
{
    onnx_ints(g, "none", 1, (int64_t[]){ 0 });
    onnx_plain(g, "Shape", "x", "s");
    onnx_plain(g, "Div", "s none", "d");
    onnx_plain(g, "Reshape", "x d", "y");
}
static void bad_reshape(onnx_bytes *g)
{
    onnx_ints(g, "sides", 2, (int64_t[]){ 1, 33 });
    onnx_plain(g, "Reshape", "x sides", "y");
}
static void moved_batch(onnx_bytes *g)
{
    onnx_ints(g, "sides", 2, (int64_t[]){ 2, 16 });
    onnx_plain(g, "Reshape", "x sides", "y");
}
static void other_domain(onnx_bytes *g)
{
    onnx_bytes node = onnx_node("MultiThreshold", "x", "y");
    onnx_text(&node, 7, "qonnx.custom_op.general");
    onnx_message(g, 1, &node);
}
static void q_operator(onnx_bytes *g)
{
    onnx_plain(g, "QLinearConv", "x x x x x x x x", "y");
}
static void q_cut(onnx_bytes *g)
{
    onnx_plain(g, "QLinearMatMul", "x x x", "y");
}
static void q_bias(onnx_bytes *g)
{
    onnx_plain(g, "QLinearConv", "x x x x x x x x x", "y");
}
static void q_scales(onnx_bytes *g)
{
    onnx_constant(g, "none", 1, (int64_t[]){ 0, -1 }, "", 0);
    onnx_bytes shape = onnx_node("QLinearConv", "x none x x none x none x x", "y");
    onnx_message(g, 1, &shape);
}
/* 20 convolutions have one constant of a MiB in common: the bias of each would have as many scales. */
static void q_many_scales(onnx_bytes *g)
{
    onnx_bytes t = { .n = 0 }, location = { .n = 0 };

    onnx_text(&location, 1, "location");
    onnx_text(&location, 2, "big");
    onnx_tensor(&t, "big", 1, (int64_t[]){ 1 << 18, -1 }, NULL, 0);
    onnx_message(&t, 13, &location);
    onnx_int(&t, 14, 1);
    onnx_message(g, 5, &t);
    onnx_constant(g, "s", 1, (int64_t[]){ -1 }, (float[]){ 0.5f }, 4);
    for (int i = 0; i < 20; i++) {
        char to[8];
        snprintf(to, sizeof to, i < 19 ? "y%d" : "y", i);
        onnx_plain(g, "QLinearConv", "x s x x big x s x x", to);
    }
}
static void q_concat(onnx_bytes *g)
{
    onnx_bytes node = onnx_node("QLinearConcat", "x x x x", "y");
    onnx_text(&node, 7, "com.microsoft");
    onnx_message(g, 1, &node);
}
static void branch(onnx_bytes *g)
{
    onnx_bytes node = onnx_node("If", "x", "y"), attribute = { .n = 0 }, inner = { .n = 0 };
    onnx_text(&attribute, 1, "then_branch");
    onnx_message(&attribute, 6, &inner);
    onnx_int(&attribute, 20, 5);
    onnx_message(&node, 5, &attribute);
    onnx_message(g, 1, &node);
}

/* Quantizes and dequantizes the image by a scale, and by n of them along axis 1. */
static void quantized(onnx_bytes *g, int64_t n, const float *scale)
{
    onnx_constant(g, "s", 1, n == 1 ? (int64_t[]){ -1 } : (int64_t[]){ n, -1 }, scale, (size_t)n * sizeof *scale);
    onnx_plain(g, "QuantizeLinear", "x s", "q");
    onnx_plain(g, "DequantizeLinear", "q s", "y");
}
static void scale_zero(onnx_bytes *g)
{
    quantized(g, 1, (float[]){ 0.0f });
}
static void scale_nan(onnx_bytes *g)
{
    quantized(g, 1, (float[]){ NAN });
}
static void scale_infinite(onnx_bytes *g)
{
    quantized(g, 1, (float[]){ INFINITY });
}
static void scale_negative(onnx_bytes *g)
{
    quantized(g, 1, (float[]){ -0.5f });
}
static void scales_of_codes(onnx_bytes *g)
{
    quantized(g, 2, (float[]){ 0.5f, 0.25f });
}
static void no_scales(onnx_bytes *g)
{
    onnx_constant(g, "s", 1, (int64_t[]){ 0, -1 }, "", 0);
    onnx_plain(g, "QuantizeLinear", "x s", "y");
}
static void real_zero(onnx_bytes *g)
{
    onnx_constant(g, "s", 1, (int64_t[]){ -1 }, (float[]){ 0.5f }, 4);
    onnx_plain(g, "QuantizeLinear", "x s s", "y");
}
static void too_many_scales(onnx_bytes *g)
{
    quantized(g, 3, (float[]){ 0.5f, 0.25f, 1.0f });
}
static void above(onnx_bytes *g)
{
    onnx_outside(g, "w", "../weights", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void inside_and_above(onnx_bytes *g)
{
    onnx_outside(g, "w", "sub/../../weights", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void absolute(onnx_bytes *g)
{
    onnx_outside(g, "w", "/etc/hostname", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void linked(onnx_bytes *g)
{
    onnx_outside(g, "w", "link", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void linked_folder(onnx_bytes *g)
{
    onnx_outside(g, "w", "folder_link/hostname", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void not_there(onnx_bytes *g)
{
    onnx_outside(g, "w", "nowhere", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void behind_its_end(onnx_bytes *g)
{
    onnx_outside(g, "w", "four", "4");
    onnx_plain(g, "Add", "x w", "y");
}
static void offset_overflows(onnx_bytes *g)
{
    onnx_outside(g, "w", "four", "9223372036854775807");
    onnx_plain(g, "Add", "x w", "y");
}
static void no_location(onnx_bytes *g)
{
    onnx_outside(g, "w", "", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void a_folder(onnx_bytes *g)
{
    onnx_outside(g, "w", "sub", "0");
    onnx_plain(g, "Add", "x w", "y");
}
static void itself(onnx_bytes *g)
{
    onnx_plain(g, "Relu", "y", "y");
}
static void two_images(onnx_bytes *g)
{
    onnx_end(g, 11, "x2", 1, (int64_t[]){ 1, 2, -1 });
    onnx_plain(g, "Relu", "x", "y");
}
static void huge_image(onnx_bytes *g)
{
    *g = (onnx_bytes){ .n = 0 };
    onnx_end(g, 11, "x", 1, (int64_t[]){ 1, 1 << 20, 1 << 20, 1, -1 });
    onnx_end(g, 12, "y", 1, (int64_t[]){ 1, 3, -1 });
    onnx_plain(g, "Relu", "x", "y");
}
static void nine_dimensions(onnx_bytes *g)
{
    onnx_constant(g, "w", 1, (int64_t[]){ 1, 1, 1, 1, 1, 1, 1, 1, 1, -1 }, "1234", 4);
    onnx_plain(g, "Add", "x w", "y");
}
static void dimensions_overflow(onnx_bytes *g)
{
    const int64_t side = INT64_C(1) << 32;
    onnx_constant(g, "w", 1, (int64_t[]){ side, side, -1 }, "", 0);
    onnx_plain(g, "Add", "x w", "y");
}
static void pool_of(onnx_bytes *g, const char *name, int64_t value)
{
    onnx_bytes n = onnx_node("MaxPool", "x", "y");
    onnx_attribute_ints(&n, "kernel_shape", 2, (int64_t[]){ 2, 2 });
    onnx_attribute_ints(&n, name, strcmp(name, "pads") == 0 ? 4 : 2, (int64_t[]){ value, value, value, value });
    onnx_message(g, 1, &n);
}
static void stride_zero(onnx_bytes *g)
{
    pool_of(g, "strides", 0);
}
static void huge_pads(onnx_bytes *g)
{
    pool_of(g, "pads", INT64_C(1) << 40);
}
static void no_groups(onnx_bytes *g)
{
    const float w[2] = { 0 };
    onnx_constant(g, "w", 1, (int64_t[]){ 1, 2, 1, 1, -1 }, w, sizeof w);
    onnx_bytes n = onnx_node("Conv", "x w", "y");
    onnx_attribute_int(&n, "group", 0);
    onnx_message(g, 1, &n);
}
static void text_for_a_number(onnx_bytes *g)
{
    onnx_bytes n = onnx_node("LeakyRelu", "x", "y");
    onnx_attribute_text(&n, "alpha", "much");
    onnx_message(g, 1, &n);
}
static void no_offset(onnx_bytes *g)
{
    onnx_outside(g, "w", "four", "-1");
    onnx_plain(g, "Add", "x w", "y");
}

static const struct {
    const char *what;
    void (*make)(onnx_bytes *graph);
    dt_status status;
    const char *words;
} bad[] = {
    { "a cycle", cycle, DT_ERR_FORMAT, "a later node makes; the nodes are out of order, or a cycle" },
    { "an input that nothing makes", missing_input, DT_ERR_FORMAT, "'nothing', which nothing in the file makes" },
    { "a value of two nodes", made_twice, DT_ERR_FORMAT, "a name that a constant, an input or another node has" },
    { "a constant of two values", constant_twice, DT_ERR_FORMAT, "two constants of the name 'two'" },
    { "no node", no_nodes, DT_ERR_FORMAT, "a graph of 0 nodes" },
    { "a length past the end", past_the_end, DT_ERR_FORMAT, "field 5 has 1000 bytes, and 0 are left" },
    { "a number without end", endless_number, DT_ERR_FORMAT, "does not end within 10 bytes" },
    { "a group, of old protobufs", group, DT_ERR_FORMAT, "wire type 3" },
    { "field 0", number_zero, DT_ERR_FORMAT, "a field of the number 0" },
    { "2^40 elements", huge, DT_ERR_FORMAT, "understood are constants of at most" },
    { "-5 elements", negative, DT_ERR_FORMAT, "dimension 0 is -5" },
    { "fewer bytes than elements", too_few_bytes, DT_ERR_FORMAT, "8 bytes of numbers, and its dimensions need 12" },
    { "a text with a NUL", text_with_nul, DT_ERR_FORMAT, "constant 0 has no name" },
    { "weights of 16 bits", half, DT_ERR_UNSUPPORTED, "'w', is FLOAT16; understood is FLOAT" },
    { "filters of other channels", wrong_channels, DT_ERR_FORMAT, "in 1 groups do not fit 2 channels" },
    { "2^40 zeros made of two numbers", huge_fold, DT_ERR_UNSUPPORTED, "more than what files may compute beforehand" },
    { "-3 zeros", negative_fold, DT_ERR_UNSUPPORTED, "dimension 0 is -3" },
    { "element 9 of 4", gather_outside, DT_ERR_FORMAT, "element 9 of 4" },
    { "an element of nothing", gather_of_nothing, DT_ERR_FORMAT, "32 elements do not fit the new shape" },
    { "an output without a name", no_first_output, DT_ERR_UNSUPPORTED, "the first of its 2 outputs has no name" },
    { "a shape divided by 0", division_by_zero, DT_ERR_FORMAT, "is divided by 0" },
    { "32 elements as 33", bad_reshape, DT_ERR_FORMAT, "32 elements do not fit the new shape" },
    { "a batch that moves", moved_batch, DT_ERR_UNSUPPORTED, "is 2, and the batch is 1, which must stay there" },
    { "an operator of QONNX", other_domain, DT_ERR_UNSUPPORTED, "of the domain 'qonnx.custom_op.general'" },
    { "an operator on codes of reals", q_operator, DT_ERR_FORMAT, "'y': input 0 is reals; needed are codes" },
    { "an operator on codes of three inputs", q_cut, DT_ERR_FORMAT, "QLinearMatMul 'y': 3 inputs; needed are codes" },
    { "a bias of computed scales", q_bias, DT_ERR_UNSUPPORTED, "QLinearConv 'y': the scale, input 1, is computed" },
    { "a bias of no scales", q_scales, DT_ERR_UNSUPPORTED, "QLinearConv 'y': the scale, input 1, is FLOAT; needed" },
    { "20 MiB of scales of one", q_many_scales, DT_ERR_UNSUPPORTED, "262144 scales are more than a file of its size" },
    { "joined codes without a zero point", q_concat, DT_ERR_FORMAT, "QLinearConcat 'y': 4 inputs; needed are codes" },
    { "a graph inside", branch, DT_ERR_UNSUPPORTED, "If 'y': detent has no operator for it" },
    { "a scale of 0", scale_zero, DT_ERR_FORMAT, "scale 0 is 0; needed is a number above 0" },
    { "a scale that is no number", scale_nan, DT_ERR_FORMAT, "scale 0 is nan; needed is a number above 0" },
    { "no scales", no_scales, DT_ERR_FORMAT, "0 scales; needed is one or more" },
    { "a zero point that is real", real_zero, DT_ERR_UNSUPPORTED, "codes of FLOAT; understood are INT8 and UINT8" },
    { "two scales of an image", scales_of_codes, DT_ERR_UNSUPPORTED, "2 scales of what is computed" },
    { "three scales of two channels", too_many_scales, DT_ERR_UNSUPPORTED, "one for each of 2 along axis 1" },
    { "data above the folder", above, DT_ERR_FORMAT, "'../weights'; a path within the model's folder" },
    { "data above a folder in it", inside_and_above, DT_ERR_FORMAT, "a path within the model's folder" },
    { "data anywhere", absolute, DT_ERR_FORMAT, "'/etc/hostname'; a path within the model's folder" },
    { "data behind a link", linked, DT_ERR_FORMAT, "'link', which cannot be opened, because links are not" },
    { "data in a folder behind a link", linked_folder, DT_ERR_FORMAT, "because links are not followed" },
    { "data that are not there", not_there, DT_ERR_IO, "'nowhere', which cannot be opened" },
    { "data behind the end of their file", behind_its_end, DT_ERR_FORMAT, "4 bytes from 4 on, and 'four' has 4" },
    { "data from 2^63 - 1 on", offset_overflows, DT_ERR_FORMAT, "and 'four' has 4" },
    { "data nowhere", no_location, DT_ERR_FORMAT, "a path within the model's folder is understood" },
    { "data that are a folder", a_folder, DT_ERR_FORMAT, "'sub', which is no plain file" },
    { "a value made of itself", itself, DT_ERR_FORMAT, "a later node makes; the nodes are out of order, or a cycle" },
    { "two images", two_images, DT_ERR_UNSUPPORTED, "2 inputs that are no constants" },
    { "an image of 2^40 numbers", huge_image, DT_ERR_UNSUPPORTED, "the input 'x' has 1048576 in dimension 2" },
    { "nine dimensions", nine_dimensions, DT_ERR_FORMAT, "more than 8 dimensions" },
    { "2^64 elements", dimensions_overflow, DT_ERR_FORMAT, "dimension 0 is 4294967296" },
    { "a stride of 0", stride_zero, DT_ERR_UNSUPPORTED, "number 0 of attribute 'strides' is 0; understood are 1 to" },
    { "2^40 cells around", huge_pads, DT_ERR_UNSUPPORTED, "number 0 of attribute 'pads' is 1099511627776" },
    { "no groups", no_groups, DT_ERR_FORMAT, "in 0 groups do not fit 2 channels" },
    { "a text for a number", text_for_a_number, DT_ERR_FORMAT, "attribute 'alpha' has the type 3, needed is a float" },
    { "a scale without end", scale_infinite, DT_ERR_FORMAT, "scale 0 is inf; needed is a number above 0" },
    { "a scale below 0", scale_negative, DT_ERR_FORMAT, "scale 0 is -0.5; needed is a number above 0" },
    { "data before their file", no_offset, DT_ERR_FORMAT, "'offset' of external data is '-1', no number" },
};

Test(onnx_hostile, files_that_mean_ill_are_refused_in_one_line, .init = temp_make, .fini = temp_remove)
{
    char link_path[2 * TEMP_PATH_BYTES], *big = calloc(1, 1 << 20);

    temp_write("four", "1234", 4);
    temp_write("big", big, 1 << 20);
    free(big);
    cr_assert(mkdir(temp_path("sub"), 0777) == 0 && symlink("/etc/hostname", temp_path("link")) == 0);
    snprintf(link_path, sizeof link_path, "%s", temp_path("folder_link"));
    cr_assert(eq(int, symlink("/etc", link_path), 0));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        onnx_bytes graph = onnx_graph();
        bad[i].make(&graph);
        const onnx_bytes model = onnx_model(&graph, 17);
        temp_write("bad.onnx", model.data, model.n);
        const dt_status s = import(temp_path("bad.onnx"));
        cr_assert(eq(int, (int)s, (int)bad[i].status), "%s: %s", bad[i].what, s == DT_OK ? "read" : dt_last_error());
        cr_assert(strstr(dt_last_error(), bad[i].words) != NULL, "%s: %s", bad[i].what, dt_last_error());
        cr_assert(strstr(dt_last_error(), "bad.onnx: ") != NULL, "%s: %s", bad[i].what, dt_last_error());
        cr_assert(strchr(dt_last_error(), '\n') == NULL, "%s: %s", bad[i].what, dt_last_error());
    }
}
