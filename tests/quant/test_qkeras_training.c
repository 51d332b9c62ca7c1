/*
 * test_qkeras_training.c - the network that `train --quant-rule qkeras --fold-bn` trains,
 * docs/examples/qkeras_mod.json, against what QKeras-Mod computed with the same parameters: the codes of every
 * activation, and the predictions.
 *
 * There all numbers are doubles; here they are f32, so that a value which lies within rounding of a tie may have the
 * code beside. Codes that differ are counted, and none may differ by more than one.
 */
#include <math.h>

#include "../support/golden_qkeras.h"
#include "../support/tiny_run.h"
#include "../../core/arith/qkeras.h"
#include "../../quant/fold_train.h"
#include "../../quant/insert_qkeras.h"
#include "detent/predict.h"

enum { IMAGES = 25, CLASSES = 10, N_ACTS = 4, EACH = 28 * 28 };

static const char network_file[] = DETENT_TEST_GOLDEN "/../../docs/examples/qkeras_mod.json";

static const char *const quantized[N_ACTS] = { "pool", "relu_0", "relu_1", "dense" };

typedef struct {
    golden_qkeras golden;
    int bits;
    int64_t n, n_differ;
} comparison;

static double *golden_of(const comparison *c, const char *end)
{
    char name[128];
    snprintf(name, sizeof name, "demo%d/%s", c->bits, end);
    return golden_qkeras_read(&c->golden, name, DT_SAFETENSORS_F64, NULL);
}

/* Writes a parameter, from Keras' layout with the outputs last; row: inputs of an output. */
static void write_param(dt_model *m, const comparison *c, const char *name, const char *golden, int64_t row)
{
    const int at = dt_model_find(m, name);
    cr_assert(at >= 0, "no parameter %s", name);
    const int64_t n = dt_count(&m->param[at]->tensor.shape), filters = n / row;
    double *from = golden_of(c, golden);
    float *to = malloc((size_t)n * sizeof *to);
    for (int64_t i = 0; i < n; i++) to[i % filters * row + i / filters] = (float)from[i];
    MUST(dt_model_write(m, at, to));
    free(from);
    free(to);
}

static void write_params(dt_model *m, const comparison *c)
{
    static const char norm[] = "param/conv2d_1/batch_normalization";
    static const char *const of_norm[][2] = { { "bn_1.weight", "gamma" },
                                              { "bn_1.bias", "beta" },
                                              { "bn_1.running_mean", "moving_mean" },
                                              { "bn_1.running_var", "moving_variance" } };
    write_param(m, c, "conv2d_0.weight", "param/conv2d_0/kernel", 9);
    write_param(m, c, "bias_0.bias", "param/conv2d_0/bias", 1);
    write_param(m, c, "conv2d_1.weight", "param/conv2d_1/kernel", 18);
    write_param(m, c, "bias_1.bias", "param/conv2d_1/bias", 1);
    write_param(m, c, "dense.weight", "param/dense/kernel", 27);
    write_param(m, c, "dense.bias", "param/dense/bias", 1);
    for (int i = 0; i < 4; i++) {
        char key[128];
        const char *number = c->bits == 8 ? "" : c->bits == 4 ? "_1" : "_2"; /* Keras numbers them */
        snprintf(key, sizeof key, "%s%s/%s", norm, number, of_norm[i][1]);
        write_param(m, c, of_norm[i][0], key, 1);
    }
}

/* The codes that FEATUREMAP_QUANT gives these values, against the golden ones. */
static void compare_codes(comparison *c, int act, const dt_value_batch *v)
{
    char name[64];
    int64_t count = 1;
    for (int d = 1; d < v->ndim; d++) count *= v->dim[d];
    snprintf(name, sizeof name, "demo%d/act_codes/act_%d", c->bits, act);
    int32_t *want = golden_qkeras_read(&c->golden, name, DT_SAFETENSORS_I32, NULL);
    for (int64_t i = 0; i < v->dim[0]; i++) {
        const float *x = v->values + i * count;
        double alpha = INFINITY, beta = -INFINITY;
        for (int64_t k = 0; k < count; k++) {
            alpha = fmin(alpha, dt_qkeras_flush((double)x[k]));
            beta = fmax(beta, dt_qkeras_flush((double)x[k]));
        }
        const dt_qkeras_grid grid = dt_qkeras_training_grid(alpha, beta, c->bits);
        for (int64_t k = 0; k < count; k++) {
            const double code = dt_qkeras_training_code((double)x[k], &grid, c->bits);
            const int32_t golden = want[(v->first + i) * count + k];
            cr_assert(fabs(code - golden) <= 1.0, "%s, image %d: code %d is %g, golden %d", name, (int)(v->first + i),
                      (int)k, code, golden);
            c->n++;
            c->n_differ += code != golden;
        }
    }
    free(want);
}

static dt_status look(void *user, const dt_value_batch *v)
{
    for (int i = 0; i < N_ACTS; i++) {
        if (strcmp(v->name, quantized[i]) == 0) compare_codes(user, i, v);
    }
    return DT_OK;
}

static void check_predictions(const comparison *c, const float *scores)
{
    double *want = golden_of(c, "pred");
    for (int i = 0; i < IMAGES; i++) {
        double e[CLASSES], sum = 0.0;
        for (int k = 0; k < CLASSES; k++) sum += e[k] = exp((double)scores[i * CLASSES + k]);
        /* A code beside moves a probability by a step of the last activation; with equal codes f32 alone is left. */
        const double most = c->bits == 16 ? 1e-4 : c->n_differ > 0 ? 0.1 : 1e-5;
        for (int k = 0; k < CLASSES; k++) {
            cr_assert(fabs(e[k] / sum - want[i * CLASSES + k]) <= most, "image %d, class %d: %g, golden %g", i, k,
                      e[k] / sum, want[i * CLASSES + k]);
        }
    }
    free(want);
}

static void check_network(int bits)
{
    const dt_qkeras_choice choice = { .wbits = bits, .abits = bits, .per_channel = 1 };
    comparison c = { .golden = golden_qkeras_open(), .bits = bits };
    dt_graph *plain, *with, *folding;
    float scores[IMAGES * CLASSES];
    dt_context *ctx;
    dt_options o;
    dt_model *m;
    dt_options_default(&o);
    o.backend = "cpu";
    o.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_graph_load(network_file, &plain));
    MUST(dt_quant_insert_qkeras(plain, &choice, &with));
    MUST(dt_graph_fold_train(with, DT_FOLD_EMA, 0, &folding));
    MUST(dt_model_open(ctx, folding, &m));
    write_params(m, &c);
    double *x = golden_of(&c, "x");
    float *images = malloc(IMAGES * EACH * sizeof *images);
    for (int i = 0; i < IMAGES * EACH; i++) images[i] = (float)x[i];
    MUST(dt_predict(m, &(dt_prediction){ .normalised = images, .n = IMAGES, .look = look, .user = &c }, scores));
    cr_log_info("%d bits: %lld of %lld codes differ", bits, (long long)c.n_differ, (long long)c.n);
    cr_assert(c.n == IMAGES * (49 + 50 + 27 + 10), "%lld codes", (long long)c.n);
    /* steps of 16 bits are some hundred times as large as the rounding of f32 */
    cr_assert(c.n_differ * (bits == 16 ? 20 : 1000) <= c.n, "%lld of %lld codes differ", (long long)c.n_differ,
              (long long)c.n);
    check_predictions(&c, scores);
    free(images);
    free(x);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
    dt_graph_destroy(plain);
    dt_graph_destroy(with);
    golden_qkeras_close(&c.golden);
}

Test(qkeras_training, eight_bits_are_those_of_qkeras_mod)
{
    check_network(8);
}

Test(qkeras_training, sixteen_bits_are_those_of_qkeras_mod)
{
    check_network(16);
}

Test(qkeras_training, four_bits_are_those_of_qkeras_mod)
{
    check_network(4);
}
