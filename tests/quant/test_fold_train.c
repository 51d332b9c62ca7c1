/*
 * test_fold_train.c - batch norms that train folded: real networks train as those with a batch norm of its own, the
 * network that is left has the same scores bit for bit, statistics freeze, runs go on, and programs agree.
 */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "../support/range_networks.h"
#include "../../quant/fold_train.h"
#include "detent/predict.h"

enum { CLASSES = 10, IMAGES = 21, SIDE = 16 };

/* Layers with a batch norm: a convolution without and with a bias, a depthwise one, and linear ones with a bias of
 * their own and without. */
static const char network[] =
    "{ \"format\": \"detent-network\", \"name\": \"folds\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"
    "[\"pool\", \"maxpool\", \"stem.relu\", { \"window\": 4 }],"
    "[\"depth\", \"conv\", \"pool\", { \"filters\": 8, \"window\": 3, \"pad\": 1, \"groups\": 8 }],"
    "[\"depth.bn\", \"batchnorm\", \"depth\", { \"epsilon\": 0.001, \"momentum\": 0.01 }],"
    "[\"depth.relu\", \"relu\", \"depth.bn\"],"
    "[\"point\", \"conv\", \"depth.relu\", { \"filters\": 12, \"window\": 1 }],"
    "[\"point.biased\", \"bias\", \"point\"],"
    "[\"point.bn\", \"batchnorm\", \"point.biased\"],"
    "[\"point.relu\", \"relu\", \"point.bn\"],"
    "[\"flat\", \"flatten\", \"point.relu\"],"
    "[\"hidden\", \"linear\", \"flat\", { \"features\": 14 }],"
    "[\"hidden.bn\", \"batchnorm\", \"hidden\"],"
    "[\"hidden.relu\", \"relu\", \"hidden.bn\"],"
    "[\"classifier\", \"linear\", \"hidden.relu\", { \"features\": 10 }] ] }";

static const struct {
    const char *norm, *layer;
} folded[] = { { "stem.bn", "stem" }, { "depth.bn", "depth" }, { "point.bn", "point" }, { "hidden.bn", "hidden" } };
enum { N_FOLDED = sizeof folded / sizeof folded[0] };

typedef struct {
    dt_fold_mode mode;
    dt_quant_rule rule;
    int bits, freeze;
} choice;

static const char *backend = "cpu";

/* The network on synthetic images; 0: there is no such device. */
static int open_run(tiny_run *r, const choice *c)
{
    const dt_dataset_options data = {
        .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = 80, .seed = 1, .height = SIDE, .width = SIDE, .resize = 1
    };
    const dt_model_config config = { .wbits = c->bits,
                                     .abits = c->bits,
                                     .input_bits = 8,
                                     .per_channel = 1,
                                     .rule = c->rule,
                                     .fold_bn = c->mode,
                                     .bn_freeze = c->freeze,
                                     .ranges = DT_RANGE_AVERAGE };
    tiny_options o = tiny_defaults();
    dt_graph *g = graph_of(network);

    *r = (tiny_run){ 0 };
    o.context.backend = backend;
    o.train.crop_pad = 0;
    o.train.lr = 0.05f;
    const dt_status opened = dt_context_create(&o.context, &r->ctx);
    if (opened == DT_ERR_UNSUPPORTED) {
        dt_graph_destroy(g);
        return 0;
    }
    MUST(opened);
    MUST(dt_dataset_open(&data, &r->data));
    MUST(dt_model_create_of(r->ctx, g, &config, &r->model));
    MUST(dt_trainer_create(r->model, r->data, &o.train, &r->trainer));
    MUST(dt_trainer_calibrate(r->trainer));
    dt_graph_destroy(g);
    return 1;
}

static float *scores_of(dt_model *m, const dt_dataset *d)
{
    float *scores = malloc((size_t)IMAGES * CLASSES * sizeof *scores);
    MUST(dt_predict(m, &(dt_prediction){ .dataset = d, .n = IMAGES, .batch = 8 }, scores));
    return scores;
}

static float *param_of(const tiny_run *r, const char *name, int64_t *n)
{
    return tiny_param(r, tiny_index(r, name), n);
}

/* ---- training ---- */

/* Without quantizers, folding changes nothing but rounding: the same parameters come of the same steps, which no code
 * of the folded operators has made. */
Test(fold_train, real_networks_train_as_unfolded_ones)
{
    static const char *const backends[] = { "cpu", "cuda" };
    enum { STEPS = 4 };

    for (int b = 0; b < 2; b++) {
        tiny_run plain;
        backend = backends[b];
        if (!open_run(&plain, &(choice){ DT_FOLD_NONE, DT_RULE_LSQ, DT_BITS_FLOAT, 0 })) continue;
        tiny_steps(&plain, STEPS);
        for (int mode = DT_FOLD_EMA; mode <= DT_FOLD_BATCH; mode++) {
            tiny_run run;
            open_run(&run, &(choice){ (dt_fold_mode)mode, DT_RULE_LSQ, DT_BITS_FLOAT, 0 });
            tiny_steps(&run, STEPS);
            cr_assert(dt_model_n_params(run.model) == dt_model_n_params(plain.model));
            for (int i = 0; i < dt_model_n_params(plain.model); i++) {
                int64_t n, n_run;
                float *x = tiny_param(&plain, i, &n), *y = param_of(&run, plain.model->param[i]->name, &n_run);
                cr_assert(n == n_run);
                /* steps of 0.05 times gradients below 1, whose rounding grows where xhat divides by small variances */
                for (int64_t k = 0; k < n; k++) {
                    cr_assert(fabsf(x[k] - y[k]) <= 2e-4f * (1.0f + fabsf(x[k])), "%s, %s: %s[%lld] is %g, expected %g",
                              backend, dt_fold_mode_names[mode], plain.model->param[i]->name, (long long)k,
                              (double)y[k], (double)x[k]);
                }
                free(x);
                free(y);
            }
            tiny_close(&run);
        }
        tiny_close(&plain);
    }
    backend = "cpu";
}

/* After `freeze` steps running statistics keep their bits, and weights go on. */
Test(fold_train, statistics_freeze)
{
    static const char *const parts[] = { "running_mean", "running_var" };

    for (int mode = DT_FOLD_EMA; mode <= DT_FOLD_BATCH; mode++) {
        tiny_run r;
        open_run(&r, &(choice){ (dt_fold_mode)mode, DT_RULE_AFFINE, 8, 3 });
        for (int step = 0; step < 7; step++) {
            float *before[2 * N_FOLDED + 1];
            int64_t n;
            for (int i = 0; i < 2 * N_FOLDED; i++) {
                char name[64];
                snprintf(name, sizeof name, "%s.%s", folded[i / 2].norm, parts[i % 2]);
                before[i] = param_of(&r, name, &n);
            }
            before[2 * N_FOLDED] = param_of(&r, "stem.weight", &n);
            tiny_steps(&r, 1);
            for (int i = 0; i <= 2 * N_FOLDED; i++) {
                char name[64] = "stem.weight";
                if (i < 2 * N_FOLDED) snprintf(name, sizeof name, "%s.%s", folded[i / 2].norm, parts[i % 2]);
                float *after = param_of(&r, name, &n);
                const int same = memcmp(before[i], after, (size_t)n * sizeof *after) == 0;
                cr_assert(same == (i < 2 * N_FOLDED && step >= 3), "%s, step %d: %s", dt_fold_mode_names[mode], step,
                          name);
                free(after);
                free(before[i]);
            }
        }
        tiny_close(&r);
    }
}

/* A run that is stopped before the statistics freeze goes on with the same bits. */
Test(fold_train, runs_go_on)
{
    for (int mode = DT_FOLD_EMA; mode <= DT_FOLD_BATCH; mode++) {
        const choice c = { (dt_fold_mode)mode, DT_RULE_AFFINE, 8, 4 };
        char path[] = "/tmp/detent_fold_XXXXXX";
        tiny_run whole, stopped;
        close(mkstemp(path));
        open_run(&whole, &c);
        tiny_steps(&whole, 2);
        MUST(dt_checkpoint_save(whole.trainer, path, NULL));
        tiny_steps(&whole, 5);
        open_run(&stopped, &c);
        MUST(dt_checkpoint_resume(stopped.trainer, path));
        tiny_steps(&stopped, 5);
        tiny_same_params(&whole, &stopped, dt_fold_mode_names[mode]);
        tiny_close(&stopped);
        tiny_close(&whole);
        unlink(path);
    }
}

/* ---- what comes of it ---- */

static int count_of(const dt_graph *g, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->node[i].kind == kind;
    return n;
}

static const choice trained[] = {
    { DT_FOLD_EMA, DT_RULE_LSQ, DT_BITS_FLOAT, 0 },
    { DT_FOLD_BATCH, DT_RULE_LSQ, DT_BITS_FLOAT, 2 },
    { DT_FOLD_EMA, DT_RULE_LSQ, 4, 2 },
    { DT_FOLD_BATCH, DT_RULE_LSQ, 4, 0 },
    { DT_FOLD_EMA, DT_RULE_AFFINE, 8, 0 },
    { DT_FOLD_BATCH, DT_RULE_AFFINE, 4, 2 },
    { DT_FOLD_EMA, DT_RULE_QKERAS, 8, 0 },
    { DT_FOLD_BATCH, DT_RULE_QKERAS, 4, 0 },
};

Test(fold_train, the_settled_network_has_evaluations_bits)
{
    for (size_t i = 0; i < sizeof trained / sizeof trained[0]; i++) {
        const choice *c = &trained[i];
        dt_model *settled;
        tiny_run r;
        open_run(&r, c);
        tiny_steps(&r, 4);
        MUST(dt_model_settle(r.model, &settled));
        cr_assert(settled != r.model && !dt_graph_is_folding(settled->graph));
        cr_assert(count_of(settled->graph, DT_OP_BATCH_STATS) == 0 && count_of(settled->graph, DT_OP_BATCHNORM) == 0);
        float *is = scores_of(r.model, r.data), *expected = scores_of(settled, r.data);
        for (int k = 0; k < IMAGES * CLASSES; k++) {
            cr_assert(is[k] == expected[k], "%s, %s: score %d is %.9g, settled %.9g", dt_fold_mode_names[c->mode],
                      dt_quant_rule_names[c->rule], k, (double)is[k], (double)expected[k]);
        }
        free(is);
        free(expected);
        dt_model_destroy(settled);
        tiny_close(&r);
    }
}

/* Weights and biases of the settled network are those of formulas in double. */
Test(fold_train, settled_parameters_are_those_of_the_formula)
{
    tiny_run r;
    dt_model *settled;
    open_run(&r, &(choice){ DT_FOLD_EMA, DT_RULE_AFFINE, 8, 0 });
    tiny_steps(&r, 3);
    MUST(dt_model_settle(r.model, &settled));
    const tiny_run after = { .model = settled };
    for (int l = 0; l < N_FOLDED; l++) {
        char name[64];
        float *part[4], *own = NULL;
        int64_t n, n_w;
        static const char *const parts[] = { "weight", "bias", "running_mean", "running_var" };
        for (int k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "%s.%s", folded[l].norm, parts[k]);
            part[k] = param_of(&r, name, &n);
        }
        snprintf(name, sizeof name, "%s.bias", folded[l].layer);
        if (dt_model_find(r.model, name) >= 0) own = param_of(&r, name, &n);
        snprintf(name, sizeof name, "%s.weight", folded[l].layer);
        float *w = param_of(&r, name, &n_w), *w_after = param_of(&after, name, &n_w);
        snprintf(name, sizeof name, "%s.bias", folded[l].norm);
        float *b_after = param_of(&after, name, &n);
        const double epsilon = l == 1 ? (double)0.001f : (double)1e-5f;
        for (int64_t k = 0; k < n; k++) {
            const double inv = (double)part[0][k] / sqrt((double)part[3][k] + epsilon);
            const double b = inv * ((own ? (double)own[k] : 0.0) - (double)part[2][k]) + (double)part[1][k];
            cr_assert(fabs((double)b_after[k] - b) <= 1e-6 * (1.0 + fabs(b)), "%s: bias %lld is %g, expected %g",
                      folded[l].layer, (long long)k, (double)b_after[k], b);
            for (int64_t i = k * (n_w / n); i < (k + 1) * (n_w / n); i++) {
                const double expected = inv * (double)w[i];
                cr_assert(fabs((double)w_after[i] - expected) <= 4e-7 * fabs(expected),
                          "%s: weight %lld is %g, expected %g", folded[l].layer, (long long)i, (double)w_after[i],
                          expected);
            }
        }
        for (int k = 0; k < 4; k++) free(part[k]);
        free(own);
        free(w);
        free(w_after);
        free(b_after);
    }
    dt_model_destroy(settled);
    tiny_close(&r);
}

/* The integer program has the folded codes: every value of it agrees with evaluation. */
Test(fold_train, programs_are_of_folded_weights)
{
    const choice lowered[] = { { DT_FOLD_EMA, DT_RULE_LSQ, 4, 2 }, { DT_FOLD_BATCH, DT_RULE_LSQ, 5, 0 } };
    dt_array array;
    dt_array_default(&array);
    for (int i = 0; i < 2; i++) {
        dt_verify_report *report;
        dt_program *p;
        tiny_run r;
        open_run(&r, &lowered[i]);
        tiny_steps(&r, 4);
        MUST(dt_verify(r.model, r.data, 0, 5, NULL, &array, NULL, &report));
        cr_assert(report->n_checked > 10000 && report->mismatches == 0, "%lld of %lld values differ",
                  (long long)report->mismatches, (long long)report->n_checked);
        cr_assert(strcmp(report->layer[0].array.name, "stem") == 0, "%s", report->layer[0].array.name);
        dt_verify_report_destroy(report);
        MUST(dt_program_lower(r.model, NULL, &p));
        dt_program_destroy(p);
        tiny_close(&r);
    }
}

/* Quantization after training takes the folded network, whether it trained as reals or by the notebook's quantizers. */
Test(fold_train, networks_are_quantized_after_training)
{
    const choice real[] = { { DT_FOLD_EMA, DT_RULE_LSQ, DT_BITS_FLOAT, 0 }, { DT_FOLD_BATCH, DT_RULE_QKERAS, 8, 0 } };
    for (int i = 0; i < 2; i++) {
        dt_model *quantized;
        tiny_run r;
        open_run(&r, &real[i]);
        tiny_steps(&r, 4);
        const dt_quantization what = { .dataset = r.data, .n = 10 };
        MUST(dt_quantize(r.model, &what, &quantized));
        cr_assert(count_of(quantized->graph, DT_OP_RANGE_QUANT) > 4 && !dt_graph_is_folding(quantized->graph));
        cr_assert(count_of(quantized->graph, DT_OP_FEATUREMAP_QUANT) == 0);
        float *was = scores_of(r.model, r.data), *is = scores_of(quantized, r.data);
        for (int k = 0; k < IMAGES * CLASSES; k++) {
            cr_assert(fabsf(was[k] - is[k]) <= 0.3f, "score %d is %g, was %g", k, (double)is[k], (double)was[k]);
        }
        free(was);
        free(is);
        dt_model_destroy(quantized);
        tiny_close(&r);
    }
}

/* ---- the pass ---- */

Test(fold_train, evaluation_computes_the_folded_layer_alone)
{
    dt_graph *g = quantized(network, &w8a8), *out;
    char *needed;
    MUST(dt_graph_fold_train(g, DT_FOLD_EMA, 0, &out));
    needed = calloc((size_t)out->n_values, 1);
    needed[out->scores] = 1;
    dt_graph_mark_needed(out, NULL, 0, needed);
    for (int l = 0; l < N_FOLDED; l++) {
        char name[64];
        snprintf(name, sizeof name, "%s.raw", folded[l].layer);
        cr_assert(dt_graph_find(out, name) >= 0 && !needed[dt_graph_find(out, name)], "%s", name);
        snprintf(name, sizeof name, "%s.folded", folded[l].layer);
        const int w = dt_graph_find(out, name);
        cr_assert(w >= 0 && needed[w], "%s", name);
    }
    dt_graph_mark_needed(out, NULL, 1, needed);
    for (int i = 0; i < out->n_nodes; i++)
        cr_assert(needed[out->node[i].out], "%s", dt_graph_name(out, out->node[i].out));
    free(needed);
    dt_graph_destroy(out);
    dt_graph_destroy(g);
}

Test(fold_train, misfits_are_refused)
{
    static const char bare[] = "{ \"format\": \"detent-network\", \"image\": [4, 4, 1], \"classes\": 2, \"nodes\": ["
                               "[\"flat\", \"flatten\", \"image\"],"
                               "[\"classifier\", \"linear\", \"flat\", { \"features\": 2 }] ] }";
    const dt_model_config standardised = { .wbits = 4, .abits = 4, .input_bits = 8, .fold_bn = DT_FOLD_EMA };
    const dt_model_config frozen = { .wbits = DT_BITS_FLOAT, .abits = DT_BITS_FLOAT, .bn_freeze = 3 };
    dt_graph *g = graph_of(bare), *with = graph_of(network), *out = NULL;
    dt_options o;
    dt_context *ctx;
    dt_model *m = NULL;
    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &ctx));
    cr_assert(dt_graph_fold_train(g, DT_FOLD_EMA, 0, &out) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "no batch norm that could be folded") != NULL, "%s", dt_last_error());
    cr_assert(dt_graph_fold_train(with, DT_FOLD_EMA, -1, &out) == DT_ERR_ARGUMENT);
    cr_assert(dt_model_create_of(ctx, with, &standardised, &m) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "ece284, which standardises weights") != NULL, "%s", dt_last_error());
    cr_assert(dt_model_create_of(ctx, with, &frozen, &m) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "none is folded") != NULL, "%s", dt_last_error());
    cr_assert(out == NULL && m == NULL);
    dt_graph_destroy(g);
    dt_graph_destroy(with);
    dt_context_destroy(ctx);
}
