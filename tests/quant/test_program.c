/*
 * test_program.c - programs as objects: what they are made of, and that no damaged one passes the check.
 */
#include "../support/lowered.h"
#include "../../quant/program/program_build.h"

static lowered tiny, skip;

static void program_open(void)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    tiny = lowered_open(&c, 1);
    c = lowered_config("vgg16", 4, 4);
    choose(&c, "choke", 8);
    choose(&c, "skip-block", 1);
    skip = lowered_open(&c, 1);
}

static void program_close(void)
{
    lowered_close(&skip);
    lowered_close(&tiny);
}

TestSuite(program, .init = program_open, .fini = program_close);

Test(program, nothing_can_be_destroyed)
{
    dt_program_destroy(NULL);
}

/* codes: 8*27 + 8*72 + 16*72; 1-byte codes; 4-byte scales of weights, of thresholds and the image; thresholds of 15
 * levels, lines of two floats a channel */
Test(program, description)
{
    dt_program_info info;
    dt_program_describe(tiny.program, &info);
    cr_assert(info.height == 32 && info.width == 32 && info.channels == 3 && info.n_classes == 10);
    cr_assert(info.n_layers == 11 && info.n_weights == 216 + 576 + 1152, "%lld", (long long)info.n_weights);
    const size_t thresholds = 2 * 8 * (1 + 15 * 4 + 8), affine = 16 * 8, linear = 10 * (16 * 16 + 1) * 4;
    const size_t want = 256 * 3 * 2 + 1944 + (3 + 2 + 1) * 4 + thresholds + affine + linear;
    cr_assert(info.bytes == want, "%zu bytes, expected %zu", info.bytes, want);
}

/* A pool on codes has the scale of what it reads; psums and reals have theirs elsewhere. */
Test(program, scales_are_those_of_the_codes)
{
    const dt_program *p = tiny.program;
    const dt_graph_node *pool = lowered_node(p, DT_OP_MAXPOOL, "features.3");
    const float act_scale = *(float *)lowered_data(p, "features.4.act_scale");
    const float alpha = *(float *)lowered_data(skip.program, "features.34.act_alpha");

    cr_assert(dt_program_scale(p, pool->out) == act_scale && act_scale > 0.0f);
    cr_assert(dt_program_scale(p, p->graph->node[0].out) == *(float *)lowered_data(p, "image.scale"));
    const dt_graph_node *quantize = lowered_node(skip.program, DT_OP_ACT_QUANT, "features.34.act_quant");
    cr_assert(dt_program_scale(skip.program, quantize->out) == alpha / 15.0f);
}

/* One max-pool of the model stands twice in the program, of codes. */
Test(program, layers_are_called_as_in_the_model)
{
    const dt_graph *g = skip.program->graph;
    int pools = 0;

    for (int i = 0; i < g->n_nodes; i++) {
        const char *name = dt_program_layer_name(skip.program, &g->node[i]);
        cr_assert(!strstr(name, ".act_quant") && !strstr(name, ".of_codes"), "%s", name);
        pools += strcmp(name, "features.20.pool23") == 0;
    }
    cr_assert(strcmp(dt_program_layer_name(skip.program,
                                           lowered_node(skip.program, DT_OP_ACT_QUANT, "features.34.act_quant")),
                     "features.34") == 0);
    cr_assert(pools == 2, "%d pools are called features.20.pool23", pools);
}

/* ---- corruptions ---- */

/* One byte-range of a program that is put out of order for a moment. */
typedef struct {
    const char *why; /* part of the message */
    void *at;
    size_t bytes;
    int64_t value; /* its low bytes are written; little-endian, as all machines that run this */
} corruption;

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void check_corruption(const dt_program *p, const corruption *c)
{
    unsigned char whole[8];
    MUST(dt_program_check(p));
    memcpy(whole, c->at, c->bytes);
    memcpy(c->at, &c->value, c->bytes);
    const dt_status got = dt_program_check(p);
    cr_assert(got == DT_ERR_FORMAT && strstr(dt_last_error(), c->why), "expected '%s', got %s: %s", c->why,
              dt_status_name(got), dt_last_error());
    memcpy(c->at, whole, c->bytes);
    MUST(dt_program_check(p));
}

static dt_graph_value *value_of(const dt_program *p, const char *name)
{
    const int value = dt_graph_find(p->graph, name);

    cr_assert(value >= 0, "%s", name);
    return p->graph->value[value];
}

static dt_graph_node *node_of(const dt_program *p, const char *name)
{
    return &p->graph->node[value_of(p, name)->node];
}

#define BAD(field, v, text)              \
    {                                    \
        text, &(field), sizeof(field), v \
    }

static void check_all(const dt_program *p, const corruption *c, size_t n)
{
    for (size_t i = 0; i < n; i++) check_corruption(p, &c[i]);
}

Test(program, corrupt_images)
{
    dt_program *p = tiny.program;
    dt_graph *g = p->graph;
    dt_graph_value *table = value_of(p, "image.table"), *scale = value_of(p, "image.scale");
    dt_table_params *range = node_of(p, "image.codes")->params;
    int16_t *codes = table->data;
    const corruption all[] = {
        BAD(range->low, 1, "image.codes (table): low is 1, allowed are -32768..0"),
        BAD(range->high, -1, "high is -1"),
        BAD(codes[700], 128, "code is 128, allowed are -127..127"),
        BAD(table->data, 0, "image.codes (table): there is no table"),
        BAD(table->data_type, DT_I32, "table is of the type i32, expected i16"),
        BAD(*(float *)scale->data, bits_of(0.0f), "scale[0] is 0, expected a number above 0"),
        BAD(*(float *)scale->data, bits_of(NAN), "scale[0] is"),
        BAD(scale->param.group, DT_GROUP_WEIGHT, "image.scale is a parameter that is trained"),
        BAD(scale->param.values, DT_VALUES_FINITE, "image.scale is a parameter that is trained"),
        BAD(g->image, -1, "a program's image is pixels of bytes"),
        BAD(g->image, 1, "a program's image is pixels of bytes"),
        BAD(g->n_nodes, 0, "a program of 0 nodes, allowed are 1..16384"),
        BAD(g->n_nodes, 14, "the scores of a program are features.11, its last node"),
        BAD(p->graph, 0, "a program of 0 nodes"),
        BAD(g->labels, 0, "a program has scores alone"),
        BAD(g->capsules, 0, "a program has scores alone"),
        BAD(g->reconstruction, 0, "a program has scores alone"),
        BAD(g->loss, DT_LOSS_MARGIN, "a program has scores alone"),
        BAD(g->unit_pixels, 1, "a program has scores alone"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, images_beyond_the_limits)
{
    dt_graph_value *pixels = value_of(tiny.program, "image"), *codes = value_of(tiny.program, "image.codes");
    const corruption all[] = {
        BAD(codes->facts.shape.dim[1], 5000, "image.codes (table): height is 5000, allowed are 1..4096"),
        BAD(codes->facts.shape.dim[2], 0, "width is 0"),
        BAD(codes->facts.shape.dim[3], 5, "channels is 5, allowed are 1..4"),
        BAD(pixels->facts.type, DT_F32, "a program's image is pixels of bytes"),
    };
    check_all(tiny.program, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_connections)
{
    dt_program *p = tiny.program;
    dt_graph *g = p->graph;
    dt_graph_node *conv = node_of(p, "features.4"), *linear = node_of(p, "classifier"),
                  *pool = node_of(p, "features.3"), *flat = node_of(p, "classifier.flatten"),
                  *relu = node_of(p, "features.10");
    const int image = g->image, psums = dt_graph_find(g, "features.0"), pixels = dt_graph_find(g, "image.codes");
    const int codes = dt_graph_find(g, "features.0.codes"), reals = dt_graph_find(g, "features.11");
    const corruption all[] = {
        BAD(relu->kind, DT_OP_SIGMOID, "features.10 (sigmoid): a program has no such nodes"),
        BAD(relu->kind, DT_OP_TABLE, "features.10 (table): reads features.9, which are reals"),
        BAD(pool->kind, DT_OP_AVGPOOL, "features.4 (conv): reads features.3, which are psums"),
        BAD(pool->kind, DT_OP_LINEAR,
            "features.3 (linear): the last node, and no other, is linear, or a flatten that nobody reads; this is node "
            "4"),
        BAD(conv->in[0], psums, "features.4 (conv): reads features.0, which are psums"),
        BAD(conv->in[0], image, "features.4 (conv): reads image, which are not computed"),
        BAD(conv->in[0], dt_graph_find(g, "features.4.codes"),
            "features.4 (conv): reads features.4.codes, which are codes"),
        BAD(linear->in[0], reals, "classifier.flatten (flatten): the last node, and no other, is linear, or a flatten"),
        BAD(conv->in[1], codes, "features.0 (conv): its weights are features.0.codes, expected codes of its own"),
        BAD(conv->in[1], pixels, "features.4 (conv): its weights are image.codes, expected codes"),
        BAD(relu->in[0], psums, "features.10 (relu): reads features.0, which are psums"),
        BAD(linear->in[1], reals, "classifier (linear): matrix is features.11, expected a parameter of its own"),
        BAD(linear->n_in, 2, "classifier (linear): inputs is 2, expected 3"),
        BAD(((dt_linear_params *)linear->params)->in_order, 0, "in_order is 0, expected 1"),
        BAD(flat->in[0], psums, "classifier.flatten (flatten): reads features.0, which are psums"),
        BAD(node_of(p, "features.9")->in[1], dt_graph_find(g, "features.9.offset"),
            "features.9 (affine): slope is features.9.offset, expected a parameter of its own"),
        BAD(g->scores, psums, "the scores of a program are classifier, its last node"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, values_that_no_node_reads)
{
    const dt_shape one = { 1, { 1 } };
    const dt_param_spec spec = dt_program_spec(&one);
    lowered *of[] = { &tiny, &skip };
    int value;

    MUST(dt_graph_constant(tiny.program->graph, "features.3.slope", &one, &value));
    MUST(dt_graph_param(skip.program->graph, "alone", &spec, &value));
    for (int i = 0; i < 2; i++) cr_assert(dt_program_check(of[i]->program) == DT_ERR_FORMAT);
    cr_assert(strstr(dt_last_error(), "alone belongs to no node"), "%s", dt_last_error());
    cr_assert(dt_program_check(tiny.program) == DT_ERR_FORMAT);
    cr_assert(strstr(dt_last_error(), "features.3.slope belongs to no node"), "%s", dt_last_error());
}

Test(program, corrupt_convolutions)
{
    dt_program *p = tiny.program;
    dt_conv_params *conv = node_of(p, "features.4")->params;
    dt_codes_params *range = node_of(p, "features.4.codes")->params;
    dt_graph_value *weight = value_of(p, "features.4.weight"), *scale = value_of(p, "features.4.weight_scale");
    int8_t *codes = weight->data;
    const corruption all[] = {
        BAD(conv->stride[1], 2, "features.4 (conv): width is 16, expected 8"),
        BAD(conv->stride[0], 0, "features.4 (conv): stride is 0, allowed are 1..4096"),
        BAD(conv->pad[3], 0, "features.4 (conv): width is 16, expected 15"),
        BAD(conv->pad[2], 65, "features.4 (conv): pad is 65, allowed are 0..64"),
        BAD(conv->dilation[0], 2, "features.4 (conv): height is 16, expected 14"),
        BAD(conv->groups, 2, "features.4 (conv): channels of a filter is 8, expected 4"),
        BAD(conv->groups, 0, "features.4 (conv): groups is 0, allowed are 1..8"),
        BAD(range->low, -129, "features.4.codes (codes): low is -129, allowed are -128..0"),
        BAD(range->low, 1, "low is 1"),
        BAD(range->high, 128, "high is 128, allowed are 0..127"),
        BAD(value_of(p, "features.4")->facts.qmax, INT32_MAX, "largest psum is 2147483647"),
        BAD(value_of(p, "features.4")->facts.shape.dim[3], 70000, "features.4 (conv): channels is 70000"),
        BAD(codes[3], 8, "features.4.codes (codes): weight is 8, allowed are -7..7"),
        BAD(codes[575], -128, "weight is -128"),
        BAD(weight->data, 0, "there is no weight"),
        BAD(weight->data_type, DT_F32, "weight is of the type f32, expected i8"),
        BAD(*(float *)scale->data, bits_of(-1.0f), "weight_scale[0] is -1"),
        BAD(scale->data, 0, "there is no weight_scale"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
    for (int i = 0; i < 4; i++) conv->pad[i] = 65;
    cr_assert(dt_program_check(p) == DT_ERR_FORMAT && strstr(dt_last_error(), "pad is 65, allowed are 0..64"), "%s",
              dt_last_error());
}

Test(program, corrupt_thresholds)
{
    dt_program *p = tiny.program;
    dt_threshold_params *params = node_of(p, "features.8.act_quant")->params;
    dt_tensor *facts = &value_of(p, "features.8.act_quant")->facts;
    dt_graph_value *step = value_of(p, "features.8.threshold"), *sign = value_of(p, "features.8.sign"),
                   *scale = value_of(p, "features.8.act_scale"), *slope = value_of(p, "features.8.act_quant.slope"),
                   *offset = value_of(p, "features.8.act_quant.offset");
    int32_t *first = step->data, *second = first + 8;
    cr_assert(*first > -7560 && *second < 7560 && *first < *second);
    const corruption all[] = {
        BAD(params->low, -256, "features.8.act_quant (threshold): low is -256"),
        BAD(params->low, 1, "low is 1"),
        BAD(facts->qmax, 0, "high is 0"),
        BAD(facts->qmax, 256, "high is 256, allowed are 1..255"),
        BAD(*(float *)scale->data, bits_of(INFINITY), "scale[0] is inf"),
        BAD(((int8_t *)sign->data)[2], 0, "sign is 0, expected -1"),
        BAD(sign->data, 0, "there is no sign"),
        BAD(*first, *second + 1, "features.8.act_quant (threshold): threshold is"),
        BAD(*first, -7560, "threshold is -7560, allowed are -7559..7560"),
        BAD(*first, INT32_MAX, "threshold is"),
        BAD(first[14 * 8], 7561, "threshold is 7561"),
        BAD(step->data, 0, "there is no threshold"),
        BAD(((float *)slope->data)[1], bits_of(NAN), "slope[1] is"),
        BAD(offset->data, 0, "there is no offset"),
        BAD(offset->name[0], 'F', "there is no offset"),
        BAD(offset->facts.shape.dim[0], 7, "offset is 7, expected 8"),
        BAD(slope->data_type, DT_I32, "slope is of the type i32, expected f32"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_pools_and_reals)
{
    dt_program *p = tiny.program;
    dt_pool_params *pool = node_of(p, "features.3")->params, *average = node_of(p, "features.11")->params;
    float *slope = lowered_data(p, "features.9.slope"), *offset = lowered_data(p, "features.9.offset");
    float *matrix = lowered_data(p, "classifier.weight");
    const corruption all[] = {
        BAD(pool->window[0], 33, "features.3 (maxpool): rows of the window is 33, allowed are 1..32"),
        BAD(pool->window[1], 33, "columns of the window is 33, allowed are 1..32"),
        BAD(pool->stride[1], 0, "stride is 0"),
        BAD(pool->pad[2], 2, "pad is 2, allowed are 0..1"),
        BAD(pool->count_include_pad, 2, "count_include_pad is 2, allowed are 0..1"),
        BAD(average->stride[0], 0, "features.11 (avgpool): stride is 0"),
        BAD(average->window[0], 0, "rows of the window is 0"),
        BAD(slope[15], bits_of(INFINITY), "features.9 (affine): slope[15] is inf"),
        BAD(offset[0], bits_of(NAN), "offset[0] is"),
        BAD(matrix[2559], bits_of(NAN), "classifier (linear): matrix[2559] is"),
        BAD(value_of(p, "classifier.bias")->data, 0, "there is no bias"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_skip_blocks)
{
    dt_program *p = skip.program;
    dt_graph_node *add = node_of(p, "features.20.add");
    dt_act_quant_params *quantize = node_of(p, "features.34.act_quant")->params;
    float *alpha = lowered_data(p, "features.34.act_alpha");
    const corruption all[] = {
        BAD(add->in[1], dt_graph_find(p->graph, "features.0"),
            "features.20.add (add): reads features.0, which are psums"),
        BAD(quantize->bits, 9, "features.34.act_quant (act_quant): bits is 9, allowed are 2..8"),
        BAD(quantize->rule, 5, "rule is 5, allowed are 0..4"),
        BAD(quantize->unclamped, 1, "unclamped is 1, expected 0"),
        BAD(quantize->is_signed, 2, "is_signed is 2"),
        BAD(alpha[0], bits_of(0.0f), "alpha[0] is 0"),
        BAD(alpha[0], bits_of(1e-45f), "scale is 0, expected a number above 0"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}

Test(program, corrupt_multipliers)
{
    dt_requant_report report;
    MUST(dt_program_use_multipliers(tiny.program, 16, &report));
    dt_program *p = tiny.program;
    int32_t *bits = lowered_data(p, "features.8.act_quant.multiplier_bits"),
            *shift = lowered_data(p, "features.8.act_quant.multiplier_shift"),
            *multiplier = lowered_data(p, "features.8.act_quant.multiplier"),
            *step = lowered_data(p, "features.8.threshold");
    int64_t *offset = lowered_data(p, "features.8.act_quant.multiplier_offset");
    dt_graph_value *of_offset = value_of(p, "features.8.act_quant.multiplier_offset");
    const corruption all[] = {
        BAD(*bits, 7, "bits of the multiplier is 7, allowed are 8..31"),
        BAD(*bits, 32, "bits of the multiplier is 32"),
        BAD(*bits, -1, "bits of the multiplier is -1"),
        BAD(*bits, 12, "multiplier is"),
        BAD(shift[0], 63, "shift is 63"),
        BAD(shift[0], -1, "shift is -1"),
        BAD(shift[0], 8, "which is not where its multiplier steps"),
        BAD(offset[3], INT64_MAX, "offset is 9223372036854775807"),
        BAD(multiplier[3], 0, "which is not where its multiplier steps"),
        BAD(step[7 * 8], step[7 * 8] + 1, "threshold 7 of channel 0 is"),
        BAD(of_offset->data, 0, "there is no multiplier's offset"),
        BAD(of_offset->name[0], 'F', "there is no multiplier's offset"),
    };
    check_all(p, all, sizeof all / sizeof all[0]);
}
