/*
 * test_rescue.c - passes that win back what quantization costs: what each promises, against sums in double that are
 * written here; which of them stay.
 */
#include "../../core/context.h"
#include "../../core/train/model.h"
#include "../../quant/rescue/rescue.h"
#include "../support/drawn_model.h"

#include <criterion/criterion.h>
#include <math.h>

enum { SIDE = 8, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS, IMAGES = 24, CLASSES = 4 };

/* A chain of every kind of layer, and a residual one beside it, which has no pair. */
#define NETWORK(most)                                                                                           \
    "{ \"format\": \"detent-network\", \"name\": \"chain\", \"image\": [8, 8, 3], \"classes\": 4, \"nodes\": [" \
    "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"                           \
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"                                                                   \
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"                                                                   \
    "[\"deep\", \"conv\", \"stem.relu\", { \"filters\": 8, \"window\": 3, \"pad\": 1, \"groups\": 8 }],"        \
    "[\"deep.bn\", \"batchnorm\", \"deep\"],"                                                                   \
    "[\"deep.relu\", \"relu\", \"deep.bn\"" most "],"                                                           \
    "[\"half\", \"maxpool\", \"deep.relu\", { \"window\": 2 }],"                                                \
    "[\"point\", \"conv\", \"half\", { \"filters\": 6, \"window\": 1 }],"                                       \
    "[\"point.bn\", \"batchnorm\", \"point\"],"                                                                 \
    "[\"point.relu\", \"relu\", \"point.bn\"],"                                                                 \
    "[\"flat\", \"flatten\", \"point.relu\"],"                                                                  \
    "[\"hidden\", \"linear\", \"flat\", { \"features\": 7 }],"                                                  \
    "[\"hidden.relu\", \"relu\", \"hidden\"],"                                                                  \
    "[\"classifier\", \"linear\", \"hidden.relu\", { \"features\": 4 }] ] }"

static const char chain[] = NETWORK(""), limited[] = NETWORK(", { \"most\": 0.5 }");

/* A network with its folded form, and images. */
typedef struct {
    dt_context *ctx;
    dt_model *real, *folded;
    dt_graph *unfolded;
    dt_rescue_layers layers;
    float *images;
    dt_dataset *held_out;
    dt_quantization what;
} rig;

static dt_context *context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&opt, &ctx));
    return ctx;
}

/* Filters of very different sizes, so that there is something to equalize. */
static void spread_filters(dt_model *m)
{
    for (int i = 0; i < m->n_params; i++) {
        const dt_shape *shape = &m->param[i]->tensor.shape;
        const int64_t n = dt_count(shape), row = n / shape->dim[0];
        float *v = malloc((size_t)n * sizeof *v);
        if (shape->ndim == 4) {
            MUST(dt_model_read(m, i, v));
            for (int64_t k = 0; k < n; k++) v[k] *= powf(3.0f, (float)(k / row % 4) - 1.5f);
            MUST(dt_model_write(m, i, v));
        }
        free(v);
    }
}

static rig open_rig(const char *text)
{
    static float held[IMAGES * IMAGE];
    static int32_t labels[IMAGES];
    rig r = { .ctx = context() };
    dt_images images = { .name = "held", .reals = held, .labels = labels, .n = IMAGES };

    MUST(dt_model_open(r.ctx, graph_of(text), &r.real));
    draw_parameters(r.real);
    spread_filters(r.real);
    MUST(dt_post_training_plain(r.real, &r.unfolded));
    MUST(dt_post_training_fold(r.real, &r.folded));
    MUST(dt_rescue_layers_find(r.unfolded, r.folded->graph, &r.layers));
    cr_assert(r.layers.n == 5);
    r.images = drawn_images(IMAGES, IMAGE);
    r.what = (dt_quantization){ .normalised = r.images, .n = IMAGES, .wbits = 4, .abits = 8 };
    for (int i = 0; i < IMAGES * IMAGE; i++) held[i] = 1.5f * drawn_number((uint32_t)i + 90000u) + 0.2f;
    for (int i = 0; i < IMAGES; i++) labels[i] = i % CLASSES;
    images.height = images.width = SIDE;
    images.channels = CHANNELS;
    images.n_classes = CLASSES;
    for (int c = 0; c < CHANNELS; c++) images.std[c] = 1.0f;
    MUST(dt_dataset_from_memory(&images, &r.held_out));
    return r;
}

static void close_rig(rig *r)
{
    dt_rescue_layers_free(&r->layers);
    dt_graph_destroy(r->unfolded);
    dt_model_destroy(r->folded);
    dt_model_destroy(r->real);
    dt_dataset_close(r->held_out);
    dt_context_destroy(r->ctx);
    free(r->images);
}

static dt_model *quantize(const rig *r)
{
    const dt_known_ranges none = { NULL, NULL };
    dt_model *q;

    MUST(dt_post_training_quantize(r->folded, &r->what, &none, &q));
    return q;
}

/* ---- values of a network ---- */

typedef struct {
    const char *name;
    float *at; /* real values of all images; the caller frees them */
    int64_t n, channels;
} values;

static int wants(void *user, const char *name)
{
    return strcmp(((values *)user)->name, name) == 0;
}

static dt_status keep(void *user, const dt_value_batch *v)
{
    values *to = user;
    int64_t n = 1;

    for (int i = 0; i < v->ndim; i++) n *= v->dim[i];
    to->channels = v->dim[v->ndim - 1];
    to->at = realloc(to->at, (size_t)(to->n + n) * sizeof *to->at);
    for (int64_t i = 0; i < n; i++) {
        const float scale = v->n_scale == 0 ? 1.0f : v->scale[v->n_scale == 1 ? 0 : i % to->channels];
        to->at[to->n + i] = scale * v->values[i];
    }
    to->n += n;
    return DT_OK;
}

static values values_of(const rig *r, dt_model *m, int value)
{
    values v = { .name = dt_graph_name(m->graph, value) };
    const dt_prediction how = {
        .normalised = r->images, .n = IMAGES, .batch = 7, .look = keep, .wants = wants, .user = &v
    };

    MUST(dt_predict(m, &how, NULL));
    cr_assert(v.n > 0, "%s has no values", v.name);
    return v;
}

static double mean_of(const values *v, int64_t channel)
{
    double sum = 0.0;

    for (int64_t i = channel; i < v->n; i += v->channels) sum += (double)v->at[i];
    return sum / (double)(v->n / v->channels);
}

static double deviation_of(const values *v, int64_t channel)
{
    const double mean = mean_of(v, channel);
    double sum = 0.0;

    for (int64_t i = channel; i < v->n; i += v->channels) sum += ((double)v->at[i] - mean) * ((double)v->at[i] - mean);
    return sqrt(sum / (double)(v->n / v->channels));
}

/* ---- equalization ---- */

static double largest_of(const dt_graph *g, const dt_rescue_layer *l, int64_t k)
{
    const float *w = (const float *)g->value[l->weight]->data + k * l->row;
    double most = 0.0;

    for (int64_t i = 0; i < l->row; i++) most = fmax(most, fabs((double)w[i]));
    return most;
}

/* The largest weight of the layer that reads channel c of n. */
static double largest_read(const dt_graph *g, const dt_rescue_layer *l, int64_t c, int64_t n)
{
    const float *w = g->value[l->weight]->data;
    const int is_depthwise = l->node->kind == DT_OP_CONV2D && ((const dt_conv_params *)l->node->params)->groups > 1;
    double most = 0.0;

    if (is_depthwise) return largest_of(g, l, c);
    for (int64_t i = 0; i < l->filters * l->row; i++) {
        if (i % n == c) most = fmax(most, fabs((double)w[i])); /* channels are the last axis */
    }
    return most;
}

static dt_graph *equalized(rig *r, int *n_pairs, int *n_clips)
{
    dt_graph *before, *after;

    MUST(dt_model_snapshot(r->folded, &before));
    MUST(dt_rescue_equalize(before, &r->layers, n_pairs, n_clips, &after));
    dt_graph_destroy(before);
    return after;
}

Test(rescue, equalization_leaves_the_function)
{
    rig r = open_rig(chain);
    int n_pairs, n_clips;
    dt_model *m;

    dt_graph *after = equalized(&r, &n_pairs, &n_clips);
    cr_assert(n_pairs == 4 && n_clips == 0, "%d pairs, %d limits", n_pairs, n_clips);
    MUST(dt_model_open(r.ctx, after, &m));
    const values want = values_of(&r, r.folded, r.folded->graph->scores), is = values_of(&r, m, m->graph->scores);
    double most = 0.0;
    for (int64_t i = 0; i < want.n; i++) most = fmax(most, fabs((double)want.at[i]));
    for (int64_t i = 0; i < want.n; i++) { /* 150 f32 products and roundings of a weight: 1e-5 of the largest score */
        cr_assert(fabs((double)is.at[i] - (double)want.at[i]) < 1e-5 * most, "score %lld is %g, was %g", (long long)i,
                  (double)is.at[i], (double)want.at[i]);
    }
    dt_model_destroy(m);
    free(want.at);
    free(is.at);
    close_rig(&r);
}

Test(rescue, equalized_layers_have_equal_ranges)
{
    rig r = open_rig(chain);
    dt_graph *before;
    int n_pairs, n_clips, n_apart = 0;

    MUST(dt_model_snapshot(r.folded, &before));
    dt_graph *after = equalized(&r, &n_pairs, &n_clips);
    for (int i = 0; i + 1 < r.layers.n; i++) {
        const dt_rescue_layer *first = &r.layers.layer[i], *second = first + 1;
        for (int64_t c = 0; c < first->filters; c++) {
            const double r1 = largest_of(after, first, c), r2 = largest_read(after, second, c, first->filters);
            cr_assert(fabs(log(r1 / r2)) < 0.01, "%d, channel %lld: ranges %g and %g", i, (long long)c, r1, r2);
            n_apart += fabs(log(largest_of(before, first, c) / largest_read(before, second, c, first->filters))) > 0.5;
        }
    }
    cr_assert(n_apart > 8, "%d channels had ranges that differ", n_apart);
    dt_graph_destroy(before);
    dt_graph_destroy(after);
    close_rig(&r);
}

Test(rescue, equalization_takes_limits_away_and_passes_over_sums)
{
    rig r = open_rig(limited);
    int n_pairs, n_clips;

    dt_graph *after = equalized(&r, &n_pairs, &n_clips);
    cr_assert(n_pairs == 4 && n_clips == 1, "%d pairs, %d limits", n_pairs, n_clips);
    const dt_graph_node *relu = dt_graph_maker(after, dt_graph_find(after, "deep.relu"));
    cr_assert(((const dt_relu_params *)relu->params)->most == 0.0f);
    dt_graph_destroy(after);
    close_rig(&r);

    /* a residual block: between stem and a lies a pool that the sum reads too, and a to b is the only pair */
    dt_context *ctx = context();
    dt_rescue_layers layers;
    dt_graph *unfolded, *before;
    dt_model *m, *folded;
    MUST(dt_model_open(ctx, graph_of(residual), &m));
    draw_parameters(m);
    MUST(dt_post_training_plain(m, &unfolded));
    MUST(dt_post_training_fold(m, &folded));
    MUST(dt_rescue_layers_find(unfolded, folded->graph, &layers));
    MUST(dt_model_snapshot(folded, &before));
    MUST(dt_rescue_equalize(before, &layers, &n_pairs, &n_clips, &after));
    cr_assert(n_pairs == 1 && n_clips == 0, "%d pairs, %d limits", n_pairs, n_clips);
    dt_graph_destroy(after);
    dt_graph_destroy(before);
    dt_graph_destroy(unfolded);
    dt_rescue_layers_free(&layers);
    dt_model_destroy(folded);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

/* ---- biases and norms ---- */

static dt_rescue_quantized quantized_layer(const rig *r, const dt_model *q, int i)
{
    dt_rescue_quantized l;

    MUST(dt_rescue_quantized_of(r->folded, &r->layers.layer[i], q, &l));
    return l;
}

Test(rescue, corrected_biases_give_the_means_of_reals)
{
    rig r = open_rig(chain);
    dt_model *q = quantize(&r);
    const dt_rescue_work w = { &r.what, r.folded, q, &r.layers };
    double off_before = 0.0;
    int n;

    for (int i = 0; i < r.layers.n; i++) {
        values real = values_of(&r, r.folded, r.layers.layer[i].out),
               is = values_of(&r, q, quantized_layer(&r, q, i).out);
        for (int64_t k = 0; k < real.channels; k++)
            off_before = fmax(off_before, fabs(mean_of(&real, k) - mean_of(&is, k)));
        free(real.at);
        free(is.at);
    }
    cr_assert(off_before > 0.02, "without the pass means are %g off", off_before);
    MUST(dt_rescue_correct_bias(&w, &n));
    cr_assert(n == 5);
    for (int i = 0; i < r.layers.n; i++) {
        values real = values_of(&r, r.folded, r.layers.layer[i].out),
               is = values_of(&r, q, quantized_layer(&r, q, i).out);
        for (int64_t k = 0; k < real.channels; k++) { /* a bias is rounded to f32, and so is its sum with a psum */
            cr_assert(fabs(mean_of(&real, k) - mean_of(&is, k)) < 1e-5, "layer %d, channel %lld: %g, expected %g", i,
                      (long long)k, mean_of(&is, k), mean_of(&real, k));
        }
        free(real.at);
        free(is.at);
    }
    dt_model_destroy(q);
    close_rig(&r);
}

/* The factor that the weights of filter k have got. */
static double factor_of(const rig *r, const dt_model *q, int i, int64_t k)
{
    const dt_rescue_layer *l = &r->layers.layer[i];
    float *now, *before;

    MUST(dt_rescue_read(q, quantized_layer(r, q, i).weight, &now));
    MUST(dt_rescue_read(r->folded, dt_model_find(r->folded, dt_graph_name(r->folded->graph, l->weight)), &before));
    const double factor = (double)now[k * l->row] / (double)before[k * l->row];
    free(now);
    free(before);
    return factor;
}

/* The drawn statistics are far from what the images give, so that many factors meet their limits, 1/2 and 2. */
Test(rescue, reestimated_norms_give_their_mean_and_deviation)
{
    rig r = open_rig(chain);
    dt_model *q = quantize(&r);
    const dt_rescue_work w = { &r.what, r.folded, q, &r.layers };
    int n, n_free = 0, n_limited = 0;

    MUST(dt_rescue_reestimate_norms(&w, &n));
    cr_assert(n == 3, "%d layers had a norm", n);
    for (int i = 0; i < 3; i++) {
        const dt_rescue_norm *norm = &r.layers.layer[i].norm;
        values is = values_of(&r, q, quantized_layer(&r, q, i).out);
        for (int64_t k = 0; k < is.channels; k++) {
            const double want = fabs(norm->gamma[k]), share = deviation_of(&is, k) / want, by = factor_of(&r, q, i, k);
            const int is_limited = fabs(by - 0.5) < 1e-6 || fabs(by - 2.0) < 1e-6;
            cr_assert(fabs(mean_of(&is, k) - norm->beta[k]) < 1e-4 * (1.0 + want),
                      "layer %d, channel %lld: mean %g, beta %g", i, (long long)k, mean_of(&is, k), norm->beta[k]);
            cr_assert(by > 0.5 - 1e-6 && by < 2.0 + 1e-6, "layer %d, channel %lld: factor %g", i, (long long)k, by);
            /* epsilon is 1e-5 of a variance of 0.2 and more */
            cr_assert(is_limited ? (by < 1.0) == (share > 1.0) : fabs(share - 1.0) < 1e-3,
                      "layer %d, channel %lld: %g of the deviation gamma, factor %g", i, (long long)k, share, by);
            n_limited += is_limited;
            n_free += !is_limited;
        }
        free(is.at);
    }
    cr_assert(n_free >= 5 && n_limited >= 5, "%d channels with a factor of their own, %d with a limit", n_free,
              n_limited);
    dt_model_destroy(q);
    close_rig(&r);
}

/* ---- AdaRound ---- */

enum { N = 10, POSITIONS = 40 };

/* A filter of N weights with positions that are drawn; E by its definition. */
typedef struct {
    double x[POSITIONS][N], off[POSITIONS], ratio[N], gram[N * N], h[N];
    dt_filter_rounding r;
} drawn_filter;

static void draw_filter(uint32_t seed, drawn_filter *f)
{
    *f = (drawn_filter){ .off = { 0 } };
    for (int i = 0; i < N; i++) f->ratio[i] = 6.8 * (double)drawn_number(seed * 1000u + (uint32_t)i);
    f->ratio[3] = 7.0; /* it makes the scale */
    f->ratio[4] = -2.0;
    f->r = (dt_filter_rounding){ .n = N, .gram = f->gram, .h = f->h, .S = 0.05, .high = 7, .ratio = f->ratio };
    for (int p = 0; p < POSITIONS; p++) {
        for (int i = 0; i < N; i++) {
            f->x[p][i] = floor(60.0 + 60.0 * (double)drawn_number(seed * 7777u + (uint32_t)(N * p + i)));
            f->off[p] += f->r.S * f->ratio[i] * f->x[p][i];
        }
        f->off[p] += 0.5 * (double)drawn_number(seed * 31u + (uint32_t)p);
        for (int i = 0; i < N; i++) {
            f->h[i] += f->x[p][i] * f->off[p];
            for (int k = 0; k < N; k++) f->gram[i * N + k] += f->x[p][i] * f->x[p][k];
        }
        f->r.T += f->off[p] * f->off[p];
    }
}

static double error_by_definition(const drawn_filter *f, const int *code)
{
    double sum = 0.0;

    for (int p = 0; p < POSITIONS; p++) {
        double y = 0.0;
        for (int i = 0; i < N; i++) y += f->r.S * (double)code[i] * f->x[p][i];
        sum += (f->off[p] - y) * (f->off[p] - y);
    }
    return sum;
}

/* The least error of all 2^N ways to round. */
static double least_error(const drawn_filter *f)
{
    double least = INFINITY;

    for (unsigned bits = 0; bits < 1u << N; bits++) {
        int code[N];
        if (!(bits & 1u << 3) && !(bits & 1u << 4)) {
            for (int i = 0; i < N; i++)
                code[i] = (int)floor(f->ratio[i]) + (i == 3 || i == 4 ? 0 : (int)(bits >> i & 1u));
            least = fmin(least, error_by_definition(f, code));
        }
    }
    return least;
}

Test(rescue, rounding_is_near_the_best_of_all)
{
    int n_best = 0;

    for (uint32_t seed = 1; seed <= 40; seed++) {
        drawn_filter f;
        double room[6 * N];
        int code[N], nearest[N];
        draw_filter(seed, &f);
        dt_rounding_solve(&f.r, 300, room, code);
        for (int i = 0; i < N; i++) {
            nearest[i] = (int)floor(f.ratio[i] + 0.5);
            cr_assert(code[i] == (int)floor(f.ratio[i]) || code[i] == (int)ceil(f.ratio[i]),
                      "seed %u: code %d of the ratio %g", seed, code[i], f.ratio[i]);
        }
        cr_assert(code[3] == 7 && code[4] == -2);
        const double is = error_by_definition(&f, code), least = least_error(&f),
                     plain = error_by_definition(&f, nearest);
        cr_assert(fabs(dt_rounding_error_of(&f.r, code) - is) < 1e-9 * f.r.T, "seed %u: E is %g, by definition %g",
                  seed, dt_rounding_error_of(&f.r, code), is);
        cr_assert(is <= plain * (1.0 + 1e-9) && is >= least * (1.0 - 1e-9), "seed %u: %g, nearest %g, best %g", seed,
                  is, plain, least);
        n_best += is <= least * 1.01 + 1e-12;
    }
    cr_assert(n_best >= 30, "%d of 40 filters are within 1 %% of the best", n_best);
}

/* The mean squared error of a layer's outputs, as a share of those of reals. */
static double layer_error(const rig *r, dt_model *q, int i)
{
    values real = values_of(r, r->folded, r->layers.layer[i].out), is = values_of(r, q, quantized_layer(r, q, i).out);
    double error = 0.0, signal = 0.0;

    cr_assert(real.n == is.n);
    for (int64_t k = 0; k < real.n; k++) {
        error += ((double)real.at[k] - (double)is.at[k]) * ((double)real.at[k] - (double)is.at[k]);
        signal += (double)real.at[k] * (double)real.at[k];
    }
    free(real.at);
    free(is.at);
    return error / signal;
}

static void check_adaround(int per_layer)
{
    rig r = open_rig(chain);
    r.what.per_layer = per_layer;
    dt_model *q = quantize(&r), *before = quantize(&r);
    const dt_rescue_work w = { &r.what, r.folded, q, &r.layers };
    double sum = 0.0;
    dt_rounding_error e;
    int n;

    MUST(dt_rescue_adaround(&w, 200, &n, &e));
    cr_assert(n == 5);
    cr_assert(e.after < 0.9 * e.before, "errors %g, rounded to nearest %g", e.after, e.before);
    for (int i = 0; i < r.layers.n; i++) sum += layer_error(&r, q, i);
    cr_assert(fabs(sum / e.after - 1.0) < 1e-3, "the outputs' errors are %g, the pass says %g", sum, e.after);
    /* the first layer reads what it read before */
    cr_assert(layer_error(&r, q, 0) < layer_error(&r, before, 0), "%g, rounded to nearest %g", layer_error(&r, q, 0),
              layer_error(&r, before, 0));
    dt_model_destroy(before);
    dt_model_destroy(q);
    close_rig(&r);
}

Test(rescue, adaround_lowers_the_errors_of_layers)
{
    check_adaround(0);
    check_adaround(1);
}

/* ---- all of them ---- */

static dt_rescue_score score_of(const rig *r, dt_model *m)
{
    dt_metrics metrics;

    MUST(dt_evaluate(m, r->held_out, 5, 0.0f, NULL, NULL, &metrics));
    return (dt_rescue_score){ .loss = metrics.loss, .accuracy = metrics.accuracy };
}

Test(rescue, what_does_not_help_is_left_out)
{
    rig r = open_rig(chain);
    dt_rescue_result result[DT_RESCUE_PASSES];
    dt_rescue_score first, real, last;
    dt_rescue how = { .passes = 15,
                      .only_what_helps = 1,
                      .held_out = r.held_out,
                      .rounding_steps = 100,
                      .first = &first,
                      .real = &real,
                      .result = result };
    dt_model *q, *plain = quantize(&r);

    r.what.rescue = &how;
    MUST(dt_quantize(r.real, &r.what, &q));
    cr_assert(fabs(first.loss - score_of(&r, plain).loss) < 1e-6 && fabs(real.loss - score_of(&r, r.real).loss) < 1e-3);
    last = first;
    for (int i = 0; i < DT_RESCUE_PASSES; i++) {
        cr_assert(result[i].pass == (dt_rescue_pass)i && result[i].before.loss == last.loss);
        cr_assert(result[i].kept == (result[i].after.loss < last.loss), "%s", dt_rescue_names[i]);
        if (result[i].kept) last = result[i].after;
    }
    cr_assert(last.loss <= first.loss && fabs(score_of(&r, q).loss - last.loss) < 1e-6, "%g, and the network has %g",
              last.loss, score_of(&r, q).loss);
    dt_model_destroy(q);

    how.only_what_helps = 0;
    MUST(dt_quantize(r.real, &r.what, &q));
    for (int i = 0; i < DT_RESCUE_PASSES; i++) cr_assert(result[i].kept);
    cr_assert(fabs(score_of(&r, q).loss - result[3].after.loss) < 1e-6);
    cr_assert(result[0].n_changed == 4 && result[1].n_changed == 5 && result[2].n_changed == 5 &&
              result[3].n_changed == 3);
    dt_model_destroy(q);
    dt_model_destroy(plain);
    close_rig(&r);
}

static void expect_refusal(rig *r, const char *part)
{
    dt_model *q = NULL;

    cr_assert(dt_quantize(r->real, &r->what, &q) == DT_ERR_ARGUMENT && !q);
    cr_assert(strstr(dt_last_error(), part) != NULL, "%s", dt_last_error());
}

Test(rescue, wrong_wishes_are_refused)
{
    rig r = open_rig(chain);
    dt_rescue how = { .passes = 2, .held_out = NULL };

    r.what.rescue = &how;
    expect_refusal(&r, "passes are judged on labelled images that are held out");
    how.held_out = r.held_out;
    how.passes = 0;
    expect_refusal(&r, "passes are the bits 0");
    how.passes = 16;
    expect_refusal(&r, "passes are the bits 0x10");
    how.passes = 4;
    how.rounding_steps = -1;
    expect_refusal(&r, "AdaRound takes -1 steps");
    close_rig(&r);
}
