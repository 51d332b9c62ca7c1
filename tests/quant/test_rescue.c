/*
 * test_rescue.c - passes that win back what quantization costs: what each promises, against sums in double that are
 * written here; which of them stay. AdaRound's are in test_rescue_rounding.c.
 */
#include "../support/rescue_rig.h"

#include <criterion/criterion.h>
#include <math.h>

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
