/*
 * test_verify_network.c - verification of networks from files: every form of a convolution agrees, a mismatch is
 *                         located in a layer whose name is long, and sums and linear layers are judged too.
 */
#include "../support/tiny_run.h" /* before Criterion's newer macros, which temp_files.h brings */
#include "../support/temp_files.h"

/* ' stands for ", so that they can be read here. */
#define NETWORK(nodes) "{'format': 'detent-network', 'image': [32, 32, 3], 'classes': 10, 'nodes': [" nodes "]}"

static dt_context *ctx;
static dt_dataset *data;

static void network_open(void)
{
    const dt_dataset_options images = { .name = "synthetic", .split = DT_SPLIT_TEST, .limit = 40, .seed = 1 };
    dt_options o;

    temp_make();
    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_dataset_open(&images, &data));
}

static void network_close(void)
{
    dt_dataset_close(data);
    dt_context_destroy(ctx);
    temp_remove();
}

TestSuite(verify_network, .init = network_open, .fini = network_close);

/* A quantized model of the network in this text; classifier: its last linear layer is on the grid too. */
static dt_model *quantized(const char *text, int classifier)
{
    dt_model_config c;
    char json[4096];
    dt_model *m;

    cr_assert(strlen(text) < sizeof json);
    strcpy(json, text);
    for (char *at = json; *at; at++) {
        if (*at == '\'') *at = '"';
    }
    temp_write("net.json", json, strlen(json));
    MUST(dt_model_config_default(temp_path("net.json"), &c));
    c.quantize_classifier = classifier;
    MUST(dt_model_create(ctx, &c, &m));
    return m;
}

static dt_model *model_of(const char *text)
{
    return quantized(text, 0);
}

static void expect_agreement(const dt_verify_report *r, int n_layers, const char *why)
{
    cr_assert(r->n_layers == n_layers && r->n_checked > 0, "%s: %d layers", why, r->n_layers);
    cr_assert(r->mismatches == 0, "%s: %s of %s: %lld, expected %lld", why, r->first.what, r->first.layer,
              (long long)r->first.found, (long long)r->first.expected);
}

/* ---- linear layers ---- */

/* Of 200 features, and 32 images a batch: the scores of a batch have 320 values, fewer than the hidden layer's. */
Test(verify_network, linear_layers_agree)
{
    static const char text[] = NETWORK("['stem', 'conv', 'image', {'filters': 8, 'window': 3, 'stride': 2}],"
                                       "['stem.bn', 'batchnorm', 'stem'], ['stem.act', 'relu', 'stem.bn'],"
                                       "['flat', 'flatten', 'stem.act'],"
                                       "['hidden', 'linear', 'flat', {'features': 200}],"
                                       "['classifier', 'linear', 'hidden', {'features': 10}]");
    static const dt_array arrays[] = {
        { .rows = 8, .cols = 8, .psum_bits = 20 },
        { .rows = 8, .cols = 3, .psum_bits = 9, .overflow = DT_OVERFLOW_SATURATE },
        { .rows = 5, .cols = 4, .psum_bits = 12, .dataflow = DT_DATAFLOW_OS },
    };

    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        for (int classifier = 0; classifier < 2; classifier++) {
            dt_model *m = quantized(text, classifier);
            dt_verify_report *r = NULL;
            MUST(dt_verify(m, data, 0, 33, NULL, &arrays[i], NULL, &r));
            expect_agreement(r, 2 + classifier, "linear");
            cr_assert(strcmp(r->layer[1].array.name, "hidden") == 0 && r->layer[1].array.n_psums == 33 * 200);
            dt_verify_report_destroy(r);
            dt_model_destroy(m);
        }
    }
}

/* ---- sums ---- */

static const char joined[] =
    NETWORK("['stem', 'conv', 'image', {'filters': 6, 'window': 3, 'stride': 2}], ['stem.act', 'relu', 'stem'],"
            "['left', 'conv', 'stem.act', {'filters': 6, 'window': 3, 'pad': 1}], ['left.bn', 'batchnorm', 'left'],"
            "['join', 'add', ['left.bn', 'stem.act']], ['join.act', 'relu', 'join'],"
            "['near', 'avgpool', 'join.act', {'window': [3, 2], 'stride': [2, 3], 'pad': [1, 0, 0, 1],"
            " 'count_include_pad': 1}],"
            "['last', 'conv', 'near', {'filters': 5, 'window': 3}], ['last.act', 'relu', 'last'],"
            "['pool', 'avgpool', 'last.act'], ['flat', 'flatten', 'pool'],"
            "['classifier', 'linear', 'flat', {'features': 10}]");

Test(verify_network, sums_agree)
{
    static const char *const names[] = { "stem", "left", "join", "near", "last", "pool" };
    dt_model *m = model_of(joined);
    dt_verify_report *r = NULL;
    dt_array array;

    dt_array_default(&array);
    MUST(dt_verify(m, data, 0, 35, NULL, &array, NULL, &r));
    expect_agreement(r, 6, "sums");
    for (int i = 0; i < 6; i++) {
        const int is_sum = i == 2 || i == 3 || i == 5;
        cr_assert(strcmp(r->layer[i].array.name, names[i]) == 0 && r->layer[i].on_array == !is_sum, "%s",
                  r->layer[i].array.name);
        if (is_sum) cr_assert(r->layer[i].n_checked == 2 * r->layer[i].array.n_psums, "%s", names[i]);
        cr_assert(r->layer[i].array.min < r->layer[i].array.max, "%s", names[i]);
    }
    dt_verify_report_destroy(r);
    dt_model_destroy(m);
}

/* ---- names ---- */

/* The CPU's kernels, but for one of this kind, which adds 1 to the last value of the node of this name. */
static dt_op_kind broken_kind;
static dt_kernel broken_kernel;
static const dt_kernel *broken_table[DT_OP_COUNT];
static char broken_layer[DT_NAME_MAX + 1];

static dt_status broken_forward(const dt_node *node, const dt_exec *ex)
{
    const dt_status status = dt_backend_cpu.kernels()[broken_kind]->forward(node, ex);

    if (strcmp(node->name, broken_layer) == 0) ((float *)node->out->data)[dt_count(&node->out->shape) - 1] += 1.0f;
    return status;
}

static const dt_kernel *const *broken_kernels(void)
{
    return broken_table;
}

static dt_backend broken_backend(dt_op_kind kind)
{
    dt_backend broken = dt_backend_cpu;

    memcpy(broken_table, dt_backend_cpu.kernels(), sizeof broken_table);
    broken_kind = kind;
    broken_kernel = *broken_table[kind];
    broken_kernel.forward = broken_forward;
    broken_table[kind] = &broken_kernel;
    broken.kernels = broken_kernels;
    return broken;
}

/* The last value of every batch of the model and of its program is wrong: those of the first image, in the first of two
 * batches, are right. */
static void expect_found(dt_op_kind kind, const char *name, const char *what)
{
    dt_model *m = quantized(joined, 1);
    dt_verify_report *r = NULL;
    dt_array array;

    dt_array_default(&array);
    snprintf(broken_layer, sizeof broken_layer, "%s", name);
    const dt_backend broken = broken_backend(kind);
    ctx->backend = &broken;
    MUST(dt_verify(m, data, 0, 35, NULL, &array, NULL, &r));
    ctx->backend = &dt_backend_cpu;
    cr_assert(r->mismatches > 0, "%s", name);
    cr_assert(strcmp(r->first.layer, name) == 0 && strcmp(r->first.what, what) == 0, "%s of %s, expected %s of %s",
              r->first.what, r->first.layer, what, name);
    cr_assert(r->first.image == 31 && r->first.found == r->first.expected + 1);
    dt_verify_report_destroy(r);
    dt_model_destroy(m);
}

Test(verify_network, a_wrong_sum_is_located)
{
    expect_found(DT_OP_ADD, "join", "grid sum");
    expect_found(DT_OP_AVGPOOL, "near", "grid sum");
    expect_found(DT_OP_AVGPOOL, "pool", "grid sum");
    expect_found(DT_OP_LINEAR, "classifier", "grid psum");
}

/* Two layers whose names of 200 bytes differ in the last one: the second is broken. */
Test(verify_network, a_mismatch_is_located_in_a_layer_of_200_bytes)
{
    static const char form[] =
        NETWORK("['%sa', 'conv', 'image', {'filters': 5, 'window': 3, 'stride': 2}],"
                "['a.act', 'relu', '%sa'],"
                "['%sb', 'conv', 'a.act', {'filters': 6, 'window': 3, 'stride': 2}],"
                "['b.bn', 'batchnorm', '%sb'], ['b.act', 'relu', 'b.bn'], ['flat', 'flatten', 'b.act'],"
                "['classifier', 'linear', 'flat', {'features': 10}]");
    char most[200], text[2048];
    dt_verify_report *r = NULL;
    dt_array array;

    memset(most, 'x', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    snprintf(text, sizeof text, form, most, most, most, most);
    snprintf(broken_layer, sizeof broken_layer, "%sb", most);
    dt_model *m = model_of(text);
    dt_array_default(&array);
    MUST(dt_verify(m, data, 0, 3, NULL, &array, NULL, &r));
    expect_agreement(r, 2, "as it is");
    dt_verify_report_destroy(r);

    const dt_backend broken = broken_backend(DT_OP_CONV2D);
    ctx->backend = &broken;
    MUST(dt_verify(m, data, 0, 3, NULL, &array, NULL, &r));
    ctx->backend = &dt_backend_cpu;
    cr_assert(r->mismatches > 0);
    cr_assert(strlen(r->first.layer) == 200 && strcmp(r->first.layer, broken_layer) == 0, "%s", r->first.layer);
    dt_verify_report_destroy(r);
    dt_model_destroy(m);
}

/* ---- forms ---- */

/* Stride and pad by axis and side, dilation, groups of one and of several channels, one channel a group. */
Test(verify_network, every_form_of_a_convolution_agrees)
{
    static const char text[] =
        NETWORK("['stem', 'conv', 'image', {'filters': 12, 'window': [3, 2], 'stride': [2, 3], "
                "'pad': [0, 1, 2, 0]}], ['stem.act', 'relu', 'stem'],"
                "['grouped', 'conv', 'stem.act', {'filters': 9, 'window': [2, 3], 'groups': 3, "
                "'pad': [1, 0, 0, 2]}], ['grouped.act', 'relu', 'grouped'],"
                "['dilated', 'conv', 'grouped.act', {'filters': 9, 'window': 3, 'dilation': [2, 1], "
                "'stride': [1, 2], 'groups': 9}], ['dilated.bn', 'batchnorm', 'dilated'], ['dilated.act', "
                "'relu', 'dilated.bn'],"
                "['flat', 'flatten', 'dilated.act'],"
                "['classifier', 'linear', 'flat', {'features': 10}]");
    static const dt_array arrays[] = {
        { .rows = 8, .cols = 8, .psum_bits = 16 },
        { .rows = 3, .cols = 2, .psum_bits = 8 },
        { .rows = 5, .cols = 4, .psum_bits = 12, .dataflow = DT_DATAFLOW_OS },
    };
    dt_model *m = model_of(text);

    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        dt_verify_report *r = NULL;
        MUST(dt_verify(m, data, 0, 35, NULL, &arrays[i], NULL, &r));
        expect_agreement(r, 3, "forms");
        dt_verify_report_destroy(r);
    }
    dt_model_destroy(m);
}
