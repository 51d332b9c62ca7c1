/*
 * test_extract.c - what is extracted of a quantized network: layouts, scales, codes, sums and ranges against this
 * file's own loops, which divide in long double, and what is refused.
 */
#include <math.h>

#include "../support/extraction_rig.h"
#include "../../quant/post_training.h"

/* Half away from 0. */
static long double away(long double v)
{
    return v < 0 ? -floorl(-v + 0.5L) : floorl(v + 0.5L);
}

/* A layer, its size in the network, in Keras, and the quantizer that its input comes from. */
static const struct {
    const char *name, *quantizer, *weight, *bias;
    int filters, rows, columns, channels; /* of its weights in the network: K,R,S,C; linear: O,1,1,I */
    int ndim, dim[4];
} layers[] = {
    { "dw", "image.quant", "dw.weight", NULL, 4, 3, 2, 1, 4, { 3, 2, 2, 2 } },
    { "d", "dw.relu.quant", "d.weight", NULL, 3, 1, 1, 4, 4, { 1, 1, 4, 3 } },
    { "e", "d.relu.quant", "e.weight", "e.biased.bias", 2, 1, 1, 3, 4, { 1, 1, 3, 2 } },
    { "c", "dw.relu.quant", "c.weight", "c.biased.bias", 2, 3, 1, 4, 4, { 3, 1, 4, 2 } },
    { "fc", "sum.quant", "fc.weight", "fc.bias", 4, 1, 1, 8, 2, { 8, 4 } },
};
enum { N_LAYERS = sizeof layers / sizeof layers[0] };

static const dt_extracted_layer *layer_named(const dt_extracted *e, const char *name)
{
    for (int i = 0; i < e->n_layers; i++) {
        if (strcmp(e->layer[i].name, name) == 0) return &e->layer[i];
    }
    cr_assert_fail("no layer %s", name);
    return NULL;
}

static const dt_extracted_act *act_named(const dt_extracted *e, const char *name)
{
    for (int i = 0; i < e->n_acts; i++) {
        if (strcmp(e->act[i].name, name) == 0) return &e->act[i];
    }
    cr_assert_fail("no activation %s", name);
    return NULL;
}

static void expect_scale(const char *what, double got, long double most, int bits)
{
    const long double want = most / (ldexpl(1.0L, bits - 1) - 1.0L);
    /* the double has one rounding */
    cr_assert(fabsl((long double)got - want) <= 2e-16L * want, "%s: scale %.17g, expected %.17Lg", what, got, want);
}

static long double most_of(const float *v, int n)
{
    long double most = 0.0L;
    for (int i = 0; i < n; i++) most = fmaxl(most, fabsl((long double)v[i]));
    return most;
}

/* Weight k, r, s, c is at [r][s][c][k]; a depthwise one at [r][s][k / 2][k % 2], which is the same place; a linear
 * one at [c][k]. */
static void check_weights(const extraction_rig *r, const dt_extracted *e, int l, int bits, int n_scale)
{
    const dt_extracted_layer *got = layer_named(e, layers[l].name);
    const dt_extracted_act *x = act_named(e, layers[l].quantizer);
    const int K = layers[l].filters, R = layers[l].rows, S = layers[l].columns, C = layers[l].channels, row = R * S * C;
    const long double high = ldexpl(1.0L, bits - 1) - 1.0L;
    float *w = extraction_param(r, layers[l].weight);
    cr_assert(got->ndim == layers[l].ndim && got->n_scale == (n_scale ? n_scale : K) && got->n_out == K, "%s",
              got->name);
    for (int i = 0; i < got->ndim; i++) cr_assert(got->dim[i] == layers[l].dim[i], "%s: axis %d", got->name, i);
    for (int k = 0; k < K; k++) {
        const long double most = n_scale ? most_of(w, K * row) : most_of(w + k * row, row);
        long sum = 0;
        expect_scale(got->name, got->w_scale[n_scale ? 0 : k], most, bits);
        for (int i = 0; i < row; i++) {
            const int place = (i / C * C + i % C) * K + k;
            const long want = most == 0.0L ? 0 : (long)away((long double)w[k * row + i] * high / most);
            cr_assert(got->wq[place] == want, "%s: filter %d, weight %d is %d, expected %ld", got->name, k, i,
                      got->wq[place], want);
            sum += want;
        }
        cr_assert(got->subq[k] == x->grid.zero * (double)sum, "%s: subq of filter %d is %g, expected %g times %ld",
                  got->name, k, got->subq[k], x->grid.zero, sum);
    }
    free(w);
}

static void check_biases(const extraction_rig *r, const dt_extracted *e, int l, int bits)
{
    const dt_extracted_layer *got = layer_named(e, layers[l].name);
    const int K = layers[l].filters;
    float *b = layers[l].bias ? extraction_param(r, layers[l].bias) : calloc((size_t)K, sizeof *b);
    const long double most = most_of(b, K), high = ldexpl(1.0L, bits - 1) - 1.0L;
    if (most > 0.0L) expect_scale(got->name, got->b_scale, most, bits);
    cr_assert(most > 0.0L || got->b_scale == 0.0, "%s: scale of no bias is %g", got->name, got->b_scale);
    for (int k = 0; k < K; k++) {
        const long want = most == 0.0L ? 0 : (long)away((long double)b[k] * high / most);
        cr_assert(got->bq[k] == want, "%s: bias %d is %d, expected %ld", got->name, k, got->bq[k], want);
    }
    free(b);
}

static void check_acts(const dt_extracted *e, int bits)
{
    dt_graph *plain = graph_of(extraction_network);
    for (int i = 0; i < e->n_acts; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(e->act[i].name) - strlen(".quant")), e->act[i].name);
        const dt_range r = extraction_range(plain, dt_graph_find(plain, name));
        const double alpha = (double)r.min, high = ldexp(1.0, bits - 1) - 1.0;
        const dt_extracted_act *a = &e->act[i];
        cr_assert(a->alpha == alpha && a->beta == (double)r.max, "%s: %g..%g", name, a->alpha, a->beta);
        cr_assert(a->grid.scale == ((double)r.max - alpha) / (2.0 * high), "%s: scale", name);
        cr_assert(a->grid.zero == rint(-high * ((double)r.max + alpha) / ((double)r.max - alpha)), "%s: zero", name);
    }
    dt_graph_destroy(plain);
}

static const struct {
    const char *why;
    int per_channel;
    dt_extraction how;
    int wbits, abits, bias_bits;
} cases[] = {
    { "the network's bits", 1, { 0 }, 6, 8, 31 },
    { "one scale a layer", 0, { 0 }, 6, 8, 31 },
    { "other bits", 1, { .wbits = 16, .abits = 16, .bias_bits = 32 }, 16, 16, 32 },
    { "the fewest", 1, { .wbits = 2, .abits = 2, .bias_bits = 2 }, 2, 2, 2 },
};

Test(extract, integers_are_those_of_plain_loops)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        extraction_rig r = extraction_open(cases[i].per_channel);
        dt_extracted e;
        MUST(dt_extract(r.model, &cases[i].how, &e));
        cr_assert(e.n_layers == N_LAYERS && e.n_acts == 7, "%s: %d layers, %d activations", cases[i].why, e.n_layers,
                  e.n_acts);
        for (int l = 0; l < N_LAYERS; l++) {
            check_weights(&r, &e, l, cases[i].wbits, cases[i].per_channel ? 0 : 1);
            check_biases(&r, &e, l, cases[i].bias_bits);
        }
        check_acts(&e, cases[i].abits);
        dt_extracted_free(&e);
        extraction_close(&r);
    }
}

/* Images whose least values are the larger ones: the notebook's maxima of magnitudes are such a range upside down. */
Test(extract, ranges_of_magnitudes_are_the_notebooks)
{
    enum { IMAGES = 4, IMAGE = 6 * 5 * 2 };
    static float images[IMAGES * IMAGE];
    double alpha = 0.0, beta = 0.0;
    extraction_rig r = extraction_open(1);
    draws d = { .seed = 9 };
    dt_model *plain, *quantized;
    dt_extracted e;
    for (int i = 0; i < IMAGES * IMAGE; i++) {
        images[i] = (float)(3.0 * draw_real(&d) - 2.0);
        alpha = fmax(alpha, -(double)images[i]);
        beta = fmax(beta, (double)images[i]);
    }
    cr_assert(alpha > 1.0 && alpha > beta);
    MUST(dt_model_open(r.ctx, graph_of(extraction_network), &plain));
    const dt_quantization what = { .normalised = images, .n = IMAGES, .observer = DT_OBSERVE_MAX_ABS };
    MUST(dt_post_training_quantize(plain, &what, &(dt_known_ranges){ 0 }, &quantized));
    MUST(dt_extract(quantized, &(dt_extraction){ 0 }, &e));
    const dt_extracted_act *a = act_named(&e, "image.quant");
    cr_assert(a->alpha == alpha && a->beta == beta, "%g..%g, expected %g..%g", a->alpha, a->beta, alpha, beta);
    cr_assert(a->grid.scale == (beta - alpha) / 254.0 && a->grid.scale < 0.0, "scale %g", a->grid.scale);
    cr_assert(a->grid.zero == rint(-127.0 * (beta + alpha) / (beta - alpha)), "zero point %g", a->grid.zero);
    /* the network itself takes such a range for 0..max */
    const dt_range_grid own = dt_range_grid_of((float)alpha, (float)beta, 8, 0);
    const dt_range_grid upright = dt_range_grid_of(0.0f, (float)beta, 8, 0);
    cr_assert(own.scale == upright.scale && own.zero == upright.zero && own.low == 0 && own.high == 255);
    dt_extracted_free(&e);
    dt_model_destroy(quantized);
    dt_model_destroy(plain);
    extraction_close(&r);
}

static void expect_refused(dt_model *m, dt_extraction how, dt_status status, const char *message)
{
    dt_extracted e;
    const dt_status got = dt_extract(m, &how, &e);
    cr_assert(got == status && strstr(dt_last_error(), message), "%s: %s, expected '%s'", dt_status_name(got),
              dt_last_error(), message);
    dt_extracted_free(&e);
}

Test(extract, refusals)
{
    extraction_rig r = extraction_open(1);
    dt_model *plain;
    expect_refused(r.model, (dt_extraction){ .wbits = 32 }, DT_ERR_ARGUMENT, "32-bit weights, allowed are 2..31");
    expect_refused(r.model, (dt_extraction){ .abits = 1 }, DT_ERR_ARGUMENT, "1-bit activations, allowed are 2..31");
    expect_refused(r.model, (dt_extraction){ .bias_bits = 33 }, DT_ERR_ARGUMENT, "33-bit biases, allowed are 2..32");
    MUST(dt_model_open(r.ctx, graph_of(extraction_network), &plain));
    expect_refused(plain, (dt_extraction){ 0 }, DT_ERR_UNSUPPORTED, "'detent quantize'");
    dt_model_destroy(plain);
    extraction_close(&r);
}
