/*
 * test_insert_range.c - the pass for affine quantizers: where it puts them, what has one range, what is refused; and a
 *                       network with them is trained and evaluated.
 */
#include "../support/tiny_run.h"

#include "../../formats/graph_json.h"
#include "../../formats/json_file.h"
#include "../../quant/insert_range.h"

#include <math.h>
#include <stdio.h>

/* A residual block, pools of each kind, a concat of one source's codes, and a classifier, on 16x16 images. */
static const char residual[] =
    "{ \"format\": \"detent-network\", \"name\": \"residual\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.act\", \"relu\", \"stem.bn\", { \"most\": 6 }],"
    "[\"pool\", \"maxpool\", \"stem.act\", { \"window\": 2 }],"
    "[\"a\", \"conv\", \"pool\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"a.bn\", \"batchnorm\", \"a\"],"
    "[\"a.act\", \"relu\", \"a.bn\"],"
    "[\"b\", \"conv\", \"a.act\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"b.bn\", \"batchnorm\", \"b\"],"
    "[\"join\", \"add\", [\"b.bn\", \"pool\"]],"
    "[\"join.act\", \"relu\", \"join\"],"
    "[\"half\", \"avgpool\", \"join.act\", { \"window\": 2 }],"
    "[\"gate\", \"sigmoid\", \"half\"],"
    "[\"gated\", \"mul\", [\"half\", \"gate\"]],"
    "[\"mean\", \"avgpool\", \"gated\"],"
    "[\"flat\", \"flatten\", \"mean\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

static dt_graph *graph_of(const char *text)
{
    cJSON *object;
    dt_graph *g;

    MUST(dt_json_parse(text, strlen(text), "net.json", &object));
    MUST(dt_graph_from_json(object, "net.json", &g));
    cJSON_Delete(object);
    return g;
}

static const dt_range_choice w8a8 = { .wbits = 8, .abits = 8, .per_channel = 1, .decay = 0.9f };

static dt_graph *quantized(const char *text, const dt_range_choice *choice)
{
    dt_graph *g = graph_of(text), *out;

    MUST(dt_quant_insert_range(g, choice, &out));
    dt_graph_destroy(g);
    return out;
}

static int find(const dt_graph *g, const char *name)
{
    const int i = dt_graph_find(g, name);
    cr_assert(i >= 0, "there is no value %s", name);
    return i;
}

static const dt_graph_node *node_of(const dt_graph *g, const char *name)
{
    const dt_graph_node *n = dt_graph_maker(g, find(g, name));
    cr_assert(n, "no node makes %s", name);
    return n;
}

/* A quantizer of this value with this range. */
static void expect_quant(const dt_graph *g, const char *name, const char *x, const char *range, int is_positive)
{
    const dt_graph_node *n = node_of(g, name);
    const dt_range_quant_params *p = n->params;

    cr_assert(n->kind == DT_OP_RANGE_QUANT && strcmp(dt_graph_name(g, n->in[0]), x) == 0 &&
                  strcmp(dt_graph_name(g, n->in[1]), range) == 0,
              "%s is a %s of %s with %s", name, dt_ops[n->kind]->name, dt_graph_name(g, n->in[0]),
              n->n_in > 1 ? dt_graph_name(g, n->in[1]) : "nothing");
    cr_assert(p->bits == 8 && p->is_positive == is_positive, "%s: %d bits, positive %d", name, p->bits, p->is_positive);
}

static void expect_in(const dt_graph *g, const char *name, int k, const char *in)
{
    const dt_graph_node *n = node_of(g, name);
    cr_assert(k < n->n_in && strcmp(dt_graph_name(g, n->in[k]), in) == 0, "input %d of %s is %s, expected %s", k, name,
              dt_graph_name(g, n->in[k]), in);
}

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static dt_range_update update_of(const dt_graph *g, const char *name)
{
    return ((const dt_range_quant_params *)node_of(g, name)->params)->update;
}

Test(insert_range, each_value_has_one_quantizer_behind_what_joins_it)
{
    dt_graph *g = quantized(residual, &w8a8);

    expect_quant(g, "image.quant", "image", "image.range", 0);
    expect_quant(g, "stem.act.quant", "stem.act", "stem.act.range", 1);
    expect_quant(g, "a.act.quant", "a.act", "a.act.range", 1);
    expect_quant(g, "b.bn.quant", "b.bn", "b.bn.range", 0);
    expect_quant(g, "join.act.quant", "join.act", "join.act.range", 1);
    expect_quant(g, "half.quant", "half", "join.act.range", 1);
    expect_quant(g, "gate.quant", "gate", "gate.range", 1);
    expect_quant(g, "gated.quant", "gated", "gated.range", 0);
    expect_quant(g, "mean.quant", "mean", "mean.range", 0);
    expect_quant(g, "classifier.quant", "classifier.biased", "classifier.range", 0);
    cr_assert(count_of(g, DT_OP_RANGE_QUANT) == 10, "%d quantizers", count_of(g, DT_OP_RANGE_QUANT));
    expect_in(g, "pool", 0, "stem.act.quant"); /* a max-pool stays on the codes it reads */
    expect_in(g, "a", 0, "pool");
    expect_in(g, "join", 0, "b.bn.quant");
    expect_in(g, "join", 1, "pool");
    expect_in(g, "half", 0, "join.act.quant");
    expect_in(g, "gate", 0, "half.dequantize");
    expect_in(g, "flat", 0, "mean.quant");
    expect_in(g, "classifier", 0, "flat");
    cr_assert(g->scores == find(g, "classifier.dequantize"), "the scores are %s", dt_graph_name(g, g->scores));
    cr_assert(update_of(g, "half.quant") == DT_RANGE_FIXED && update_of(g, "gate.quant") == DT_RANGE_FIXED &&
              update_of(g, "mean.quant") == DT_RANGE_LEARNED);
    dt_graph_destroy(g);
}

/* A checkpoint holds the network as such a file. */
Test(insert_range, a_file_holds_the_network)
{
    dt_graph *g = quantized(residual, &w8a8), *again;
    cJSON *object = cJSON_CreateObject();

    MUST(dt_graph_to_json(g, object));
    MUST(dt_graph_from_json(object, "net.json", &again));
    expect_quant(again, "half.quant", "half", "join.act.range", 1);
    cr_assert(update_of(again, "half.quant") == DT_RANGE_FIXED && again->n_nodes == g->n_nodes);
    cr_assert(again->value[find(again, "half.quant")]->facts.qmax == 255);
    cr_assert(again->value[find(again, "join.act.range")]->param.init == DT_INIT_ENDS);
    cJSON_Delete(object);
    dt_graph_destroy(again);
    dt_graph_destroy(g);
}

Test(insert_range, weights_have_a_scale_a_filter_or_a_layer)
{
    static const struct {
        int per_channel, fc_per_layer;
        int64_t conv, linear;
    } cases[] = { { 1, 0, 8, 10 }, { 1, 1, 8, 1 }, { 0, 0, 1, 1 } };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_range_choice c = w8a8;
        c.per_channel = cases[i].per_channel;
        c.fc_per_layer = cases[i].fc_per_layer;
        c.wbits = 4;
        dt_graph *g = quantized(residual, &c);
        cr_assert(count_of(g, DT_OP_MAX_QUANT) == 4);
        cr_assert(dt_graph_shape(g, find(g, "stem.weight_least"))->dim[0] == cases[i].conv &&
                  dt_graph_shape(g, find(g, "classifier.weight_least"))->dim[0] == cases[i].linear);
        const dt_graph_value *least = g->value[find(g, "stem.weight_least")];
        cr_assert(least->param.group == DT_GROUP_STATE && least->param.init_value == 0.0f);
        cr_assert(g->value[find(g, "stem.weight_quant")]->facts.qmax == 7);
        dt_graph_destroy(g);
    }
}

/* A value that is read with and without a ReLU; a batch norm and a ReLU6 that join nothing; a concat. */
Test(insert_range, two_readers_and_lone_nodes)
{
    static const char text[] =
        "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"pixels\": \"unit\", \"nodes\": ["
        "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
        "[\"a.act\", \"relu\", \"a\"],"
        "[\"sum\", \"add\", [\"a\", \"a.act\"]],"
        "[\"pool\", \"maxpool\", \"sum\", { \"window\": 2 }],"
        "[\"norm\", \"batchnorm\", \"pool\"],"
        "[\"norm.act\", \"relu\", \"norm\"],"
        "[\"lone\", \"relu\", \"pool\"],"
        "[\"six\", \"relu\", \"pool\", { \"most\": 6 }],"
        "[\"both\", \"concat\", [\"norm.act\", \"six\"]],"
        "[\"more\", \"concat\", [\"both\", \"lone\"]],"
        "[\"flat\", \"flatten\", \"more\"],"
        "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }],"
        "[\"p\", \"softmax\", \"fc\"] ] }";
    dt_graph *g = quantized(text, &w8a8);

    expect_quant(g, "image.quant", "image", "image.range", 1);
    expect_quant(g, "a.quant", "a", "a.range", 0);
    expect_quant(g, "a.act.quant", "a.act", "a.act.range", 1);
    expect_in(g, "a.act", 0, "a"); /* not its codes */
    expect_quant(g, "sum.quant", "sum", "more.range", 0);
    expect_in(g, "norm", 0, "pool");
    expect_in(g, "six", 0, "pool");
    expect_in(g, "lone", 0, "pool");
    expect_quant(g, "norm.act.quant", "norm.act", "more.range", 0); /* of all that the concats join */
    expect_quant(g, "six.quant", "six", "more.range", 0);
    expect_in(g, "both", 1, "six.quant");
    expect_in(g, "more", 1, "lone");
    cr_assert(g->value[find(g, "more")]->facts.n_scale == 1, "the concat leaves the grid");
    expect_quant(g, "p.quant", "p", "p.range", 1);
    expect_in(g, "p", 0, "fc.dequantize");
    expect_in(g, "p.dequantize", 0, "p.quant");
    dt_graph_destroy(g);
}

Test(insert_range, nodes_that_the_scores_do_not_need_are_left_out)
{
    static const char text[] =
        "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"scores\": \"fc\", \"nodes\": ["
        "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
        "[\"pool\", \"maxpool\", \"a\", { \"window\": 2 }],"
        "[\"flat\", \"flatten\", \"pool\"],"
        "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }],"
        "[\"aside\", \"softmax\", \"pool\"] ] }";
    dt_graph *g = quantized(text, &w8a8);

    cr_assert(dt_graph_find(g, "aside") < 0 && dt_graph_find(g, "fc") >= 0);
    dt_graph_destroy(g);
}

Test(insert_range, probabilities_join_a_concat_by_another_quantizer)
{
    static const char text[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                               "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                               "[\"s\", \"sigmoid\", \"a\"],"
                               "[\"both\", \"concat\", [\"s\", \"a\"]],"
                               "[\"flat\", \"flatten\", \"both\"],"
                               "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    dt_graph *g = quantized(text, &w8a8);

    expect_quant(g, "s.quant", "s", "s.range", 1);
    expect_quant(g, "both.0.quant", "s.quant", "both.range", 0);
    expect_quant(g, "a.quant", "a", "both.range", 0);
    cr_assert(g->value[find(g, "both")]->facts.n_scale == 1);
    dt_graph_destroy(g);
}

Test(insert_range, layers_that_stay_real_read_and_give_reals)
{
    static const char *const real[] = { "a", "stem" };
    dt_range_choice c = w8a8;
    c.real = real;
    c.n_real = 2;
    dt_graph *g = quantized(residual, &c);

    expect_in(g, "stem", 0, "image");
    expect_in(g, "stem", 1, "stem.weight");
    cr_assert(dt_graph_find(g, "image.quant") < 0);
    expect_in(g, "pool", 0, "stem.act.quant");
    expect_in(g, "a", 0, "pool.dequantize");
    expect_quant(g, "a.act.quant", "a.act", "a.act.range", 1);
    expect_in(g, "b", 0, "a.act.quant");
    dt_graph_destroy(g);
}

Test(insert_range, ranges_that_are_given_are_where_training_begins)
{
    dt_graph *plain = graph_of(residual), *g;
    dt_range *range = malloc((size_t)plain->n_values * sizeof *range);
    dt_range_choice c = w8a8;
    c.range = range;
    c.update = DT_RANGE_FIXED;

    for (int i = 0; i < plain->n_values; i++) range[i] = (dt_range){ -(float)i, 2.0f * (float)i };
    MUST(dt_quant_insert_range(plain, &c, &g));
    const int join = find(plain, "join.act");
    const float *ends = g->value[find(g, "join.act.range")]->data;
    cr_assert(ends && ends[0] == -(float)join && ends[1] == 2.0f * (float)join);
    cr_assert(g->value[find(g, "join.act.range")]->param.group == DT_GROUP_STATE);
    cr_assert(!g->value[find(g, "gate.range")]->data, "that of probabilities is fixed already");
    dt_graph_destroy(g);

    range[join].max = NAN;
    cr_assert(dt_quant_insert_range(plain, &c, &g) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "the range of join.act is not known"), "%s", dt_last_error());
    range[join] = (dt_range){ 2.0f, 1.0f };
    cr_assert(dt_quant_insert_range(plain, &c, &g) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "the range of join.act is 2..1"), "%s", dt_last_error());
    free(range);
    dt_graph_destroy(plain);
}

static void expect_refused(const char *text, const dt_range_choice *choice, dt_status status, const char *message)
{
    dt_graph *g = graph_of(text), *out = NULL;
    const dt_status got = dt_quant_insert_range(g, choice, &out);

    cr_assert(got == status && strstr(dt_last_error(), message), "%s: %s, expected '%s'", dt_status_name(got),
              dt_last_error(), message);
    dt_graph_destroy(g);
}

Test(insert_range, what_cannot_be_done_is_refused_by_name)
{
    static const char two[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                              "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                              "[\"both\", \"concat\", [\"a\", \"image\"]],"
                              "[\"flat\", \"flatten\", \"both\"],"
                              "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    static const char squash[] = "{ \"format\": \"detent-network\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": ["
                                 "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                                 "[\"caps\", \"squash\", \"a\", { \"dim\": 4 }],"
                                 "[\"flat\", \"flatten\", \"caps\"],"
                                 "[\"fc\", \"linear\", \"flat\", { \"features\": 4 }] ] }";
    static const char *const nobody[] = { "nobody*" };
    dt_range_choice c = w8a8;

    expect_refused(squash, &c, DT_ERR_UNSUPPORTED, "caps is a squash, which has no place");
    c.update = DT_RANGE_AVERAGE;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "both joins values that have 2 quantizers with one range");
    c = w8a8;
    c.wbits = 9;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "quantizers of w9a8, allowed are 2..8");
    c = w8a8;
    c.abits = 17;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "w8a17");
    c = w8a8;
    c.decay = 1.5f;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "the decay of ranges is 1.5");
    c = w8a8;
    c.real = nobody;
    c.n_real = 1;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "no layer 'nobody*' that could be quantized; there are a, fc");
    c = w8a8;
    c.update = DT_RANGE_FIXED;
    expect_refused(two, &c, DT_ERR_ARGUMENT, "is not known, and ranges are fixed");
}

/* ---- training ---- */

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    dt_trainer *trainer;
} range_run;

static int run_open(range_run *r, const char *backend, dt_range_update update)
{
    const dt_dataset_options data = {
        .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = 64, .seed = 1, .height = 16, .width = 16, .resize = 1
    };
    dt_range_choice c = w8a8;
    dt_train_config train;
    dt_options o;
    *r = (range_run){ 0 };

    dt_options_default(&o);
    o.backend = backend;
    o.precision = DT_PRECISION_F32;
    if (dt_context_create(&o, &r->ctx) != DT_OK) return 0;
    dt_train_config_default(NULL, &train);
    train.batch = 32;
    train.lr = 0.1f;
    train.crop_pad = 0;
    train.flip_share = 0.0f;
    c.update = update;
    MUST(dt_dataset_open(&data, &r->data));
    MUST(dt_model_open(r->ctx, quantized(residual, &c), &r->model));
    MUST(dt_trainer_create(r->model, r->data, &train, &r->trainer));
    return 1;
}

static void run_close(range_run *r)
{
    dt_trainer_destroy(r->trainer);
    dt_model_destroy(r->model);
    dt_dataset_close(r->data);
    dt_context_destroy(r->ctx);
}

static void read_range(const range_run *r, const char *name, float ends[2])
{
    const int i = dt_model_find(r->model, name);
    cr_assert(i >= 0, "no parameter %s", name);
    MUST(dt_model_read(r->model, i, ends));
}

/* The upper ends of all ranges; returns how many there are. */
static int read_ends(const range_run *r, float most[16])
{
    int n = 0;

    for (int i = 0; i < dt_model_n_params(r->model); i++) {
        const char *suffix = strstr(r->model->param[i]->name, ".range");
        float ends[2];
        if (!suffix) continue;
        MUST(dt_model_read(r->model, i, ends));
        most[n++] = ends[1];
    }
    return n;
}

/* Learned ends move where values are above them, and averages all move but that of probabilities. */
static void expect_moved(const float *before, const float *after, int n, dt_range_update update)
{
    int moved = 0;

    for (int i = 0; i < n; i++) moved += before[i] != after[i];
    cr_assert(update == DT_RANGE_AVERAGE ? moved == n - 1 : moved > 0, "%d of %d ranges moved", moved, n);
}

static double loss_of(range_run *r, int epochs)
{
    dt_metrics m;

    for (int i = 0; i < epochs; i++) MUST(dt_trainer_run(r->trainer, 2));
    MUST(dt_trainer_metrics(r->trainer, &m));
    return m.loss;
}

/* Of ranges that were given, or loaded, calibration changes none. */
Test(insert_range, calibration_leaves_ranges_that_are_known)
{
    const float known[2] = { -0.5f, 3.0f };
    float ends[2];
    range_run r;

    cr_assert(run_open(&r, "cpu", DT_RANGE_LEARNED));
    MUST(dt_model_write(r.model, dt_model_find(r.model, "join.act.range"), known));
    MUST(dt_trainer_calibrate(r.trainer));
    read_range(&r, "join.act.range", ends);
    cr_assert(ends[0] == known[0] && ends[1] == known[1], "%g..%g", (double)ends[0], (double)ends[1]);
    read_range(&r, "gate.range", ends);
    cr_assert(ends[1] == 255.0f / 256.0f, "probabilities have %g..%g", (double)ends[0], (double)ends[1]);
    read_range(&r, "b.bn.range", ends);
    cr_assert(ends[0] < 0.0f && ends[0] != -6.0f && ends[1] > 0.0f);
    read_range(&r, "classifier.range", ends); /* the scores of an untrained network are small, and will grow */
    cr_assert(ends[0] == -6.0f && ends[1] == 6.0f, "scores have %g..%g", (double)ends[0], (double)ends[1]);
    run_close(&r);
}

/* 2 steps an epoch. The shim's kernels are slow, and have few. */
static void check_training(const char *backend, dt_range_update update, int epochs, double share)
{
    float calibrated[2], before[16], after[16], again[16];
    dt_metrics m;
    range_run r;

    if (!run_open(&r, backend, update)) return;
    MUST(dt_trainer_calibrate(r.trainer));
    read_range(&r, "stem.act.range", calibrated);
    cr_assert(calibrated[0] == 0.0f && calibrated[1] > 0.5f && calibrated[1] <= 6.0f, "a ReLU6 has %g..%g",
              (double)calibrated[0], (double)calibrated[1]);
    const int n = read_ends(&r, before);
    const double begin = loss_of(&r, 1), end = loss_of(&r, epochs - 1);
    cr_assert(end < share * begin, "%s, update %d: the loss was %g, and is %g", backend, (int)update, begin, end);
    read_ends(&r, after);
    expect_moved(before, after, n, update);
    MUST(dt_trainer_check_values(r.trainer));
    MUST(dt_evaluate(r.model, r.data, 32, 0.0f, NULL, NULL, &m));
    cr_assert(isfinite(m.loss) && m.images == 64, "loss %g of %lld images", m.loss, (long long)m.images);
    read_ends(&r, again);
    cr_assert(memcmp(again, after, (size_t)n * sizeof *after) == 0, "evaluation has moved a range");
    run_close(&r);
}

Test(insert_range, a_network_trains_with_learned_ranges)
{
    check_training("cpu", DT_RANGE_LEARNED, 15, 0.85);
    check_training("cuda", DT_RANGE_LEARNED, 3, 1.0);
}

Test(insert_range, a_network_trains_with_average_ranges)
{
    check_training("cpu", DT_RANGE_AVERAGE, 15, 0.85);
    check_training("cuda", DT_RANGE_AVERAGE, 3, 1.0);
}
