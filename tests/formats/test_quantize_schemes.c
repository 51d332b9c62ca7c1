/*
 * test_quantize_schemes.c - quantization after training by its scheme: what the public functions make of a network with
 * batch norms, what a file keeps of it, how it is described, and that dynamic ranges have no program.
 */
#include "../support/range_networks.h"
#include "../support/temp_files.h"

#include "detent/array.h"
#include "detent/checkpoint.h"
#include "detent/predict.h"
#include "detent/quantize.h"

/* 216 weights, 1,152 and 2,560. */
static const char network[] =
    "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [8, 8, 3], \"classes\": 10, \"pixels\": \"unit\", "
    "\"nodes\": ["
    "[\"a\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
    "[\"a.bn\", \"batchnorm\", \"a\"],"
    "[\"a.act\", \"relu\", \"a.bn\"],"
    "[\"b\", \"conv\", \"a.act\", { \"filters\": 16, \"window\": 3, \"stride\": 2, \"pad\": 1 }],"
    "[\"b.bn\", \"batchnorm\", \"b\"],"
    "[\"b.act\", \"relu\", \"b.bn\"],"
    "[\"flat\", \"flatten\", \"b.act\"],"
    "[\"fc\", \"linear\", \"flat\", { \"features\": 10 }] ] }";

enum { N_IMAGES = 4, IMAGE = 8 * 8 * 3, CLASSES = 10 };

typedef struct {
    dt_context *ctx;
    dt_model *real;
} rig;

static float images[N_IMAGES * IMAGE];

static rig open_rig(void)
{
    dt_options o;
    rig r;

    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &r.ctx));
    MUST(dt_model_open(r.ctx, graph_of(network), &r.real));
    for (int i = 0; i < N_IMAGES * IMAGE; i++) images[i] = (float)(i * 37 % 256) / 255.0f;
    return r;
}

static void close_rig(rig *r)
{
    dt_model_destroy(r->real);
    dt_context_destroy(r->ctx);
}

static dt_model *quantized_by(const rig *r, dt_scheme scheme)
{
    const dt_quantization what = { .scheme = scheme, .normalised = images, .n = N_IMAGES };
    dt_model *m;

    MUST(dt_quantize(r->real, &what, &m));
    return m;
}

static int count_of(const dt_model *m, dt_op_kind kind)
{
    int n = 0;
    for (int i = 0; i < m->graph->n_nodes; i++) n += m->graph->node[i].kind == kind;
    return n;
}

static void scores_of(dt_model *m, float *scores)
{
    MUST(dt_predict(m, &(dt_prediction){ .normalised = images, .n = N_IMAGES }, scores));
}

static void expect_described(const dt_model *m, const char *expected)
{
    char text[DT_MODEL_TEXT_BYTES];

    dt_model_describe(m, text);
    cr_assert(strcmp(text, expected) == 0, "'%s', expected '%s'", text, expected);
}

TestSuite(quantize_schemes, .init = temp_make, .fini = temp_remove);

Test(quantize_schemes, a_scheme_decides_what_becomes_of_a_network)
{
    static const struct {
        dt_scheme scheme;
        const char *described;
        int n_dynamic, n_range, n_featuremap;
    } cases[] = {
        { DT_SCHEME_FLOAT, "net float", 0, 0, 0 }, { DT_SCHEME_DRQ, "net w8a8 dynamic, 1 float", 2, 0, 0 },
        { DT_SCHEME_FULL, "net w8a8", 0, 4, 0 },   { DT_SCHEME_FIQ_F32, "net w8a8", 0, 4, 0 },
        { DT_SCHEME_QKERAS, "net w8a8", 0, 0, 4 }, { DT_SCHEME_FIQ_I8, "net w8a8", 0, 4, 0 },
        { DT_SCHEME_FIQ_U8, "net w8a8", 0, 4, 0 },
    };
    rig r = open_rig();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_model *m = quantized_by(&r, cases[i].scheme);
        expect_described(m, cases[i].described);
        cr_assert(count_of(m, DT_OP_BATCHNORM) == 0, "%s", cases[i].described);
        cr_assert(count_of(m, DT_OP_DYNAMIC_QUANT) == cases[i].n_dynamic, "%s", cases[i].described);
        cr_assert(count_of(m, DT_OP_RANGE_QUANT) == cases[i].n_range, "%s", cases[i].described);
        cr_assert(count_of(m, DT_OP_FEATUREMAP_QUANT) == cases[i].n_featuremap, "%s", cases[i].described);
        dt_model_destroy(m);
    }
    close_rig(&r);
}

Test(quantize_schemes, dynamic_ranges_are_near_the_reals)
{
    rig r = open_rig();
    dt_model *m = quantized_by(&r, DT_SCHEME_DRQ);
    float real[N_IMAGES * CLASSES], is[N_IMAGES * CLASSES], most = 0.0f, noise = 0.0f;

    scores_of(r.real, real);
    scores_of(m, is);
    for (int i = 0; i < N_IMAGES * CLASSES; i++) {
        most = fmaxf(most, fabsf(real[i]));
        noise = fmaxf(noise, fabsf(is[i] - real[i]));
    }
    cr_assert(noise > 0.0f && noise < 0.05f * most, "%g of %g", (double)noise, (double)most); /* a few steps of 255 */
    dt_model_destroy(m);
    close_rig(&r);
}

Test(quantize_schemes, a_file_keeps_a_network_of_dynamic_ranges)
{
    rig r = open_rig();
    dt_model *m = quantized_by(&r, DT_SCHEME_DRQ), *again;
    float before[N_IMAGES * CLASSES], after[N_IMAGES * CLASSES];

    MUST(dt_model_save(m, temp_path("drq.safetensors"), NULL));
    MUST(dt_checkpoint_open(r.ctx, temp_path("drq.safetensors"), &again));
    scores_of(m, before);
    scores_of(again, after);
    cr_assert(memcmp(before, after, sizeof before) == 0);
    expect_described(again, "net w8a8 dynamic, 1 float");
    dt_model_destroy(again);
    dt_model_destroy(m);
    close_rig(&r);
}

Test(quantize_schemes, layers_are_told)
{
    static const struct {
        const char *name;
        int n, bits;
    } expected[] = { { "a", 216, 0 }, { "b", 1152, 8 }, { "fc", 2560, 8 } };
    rig r = open_rig();
    dt_model *m = quantized_by(&r, DT_SCHEME_DRQ);
    dt_layer_weights row[3];

    cr_assert(dt_layer_count(m) == 3);
    MUST(dt_layer_look(m, row));
    for (int i = 0; i < 3; i++) {
        cr_assert(strcmp(row[i].name, expected[i].name) == 0 && row[i].n_weights == expected[i].n &&
                      row[i].bits == expected[i].bits,
                  "%s: %lld weights of %d bits", row[i].name, (long long)row[i].n_weights, row[i].bits);
        if (!row[i].bits) continue;
        char name[64];
        int64_t n;
        float least = INFINITY, most = 0.0f;
        snprintf(name, sizeof name, "%s.weight_scale", row[i].name);
        float *scale = host_param(m, dt_model_find(m, name), &n);
        for (int64_t k = 0; k < n; k++) {
            least = fminf(least, scale[k]);
            most = fmaxf(most, scale[k]);
        }
        cr_assert(row[i].least_scale == least && row[i].scale == most && least < most, "%s", row[i].name);
        free(scale);
    }
    dt_model_destroy(m);
    close_rig(&r);
}

/* The scales of the rows against the largest magnitude of each filter, in double. */
Test(quantize_schemes, the_notebooks_quantizers_are_told)
{
    const dt_quantization what = { .scheme = DT_SCHEME_QKERAS, .wbits = 4, .abits = 6 };
    rig r = open_rig();
    dt_model *m;
    dt_layer_weights row[3];

    MUST(dt_quantize(r.real, &what, &m));
    expect_described(m, "net w4a6");
    MUST(dt_layer_look(m, row));
    for (int i = 0; i < 3; i++) {
        char name[64];
        int64_t n;
        snprintf(name, sizeof name, "%s.weight", row[i].name);
        const int param = dt_model_find(m, name);
        float *w = host_param(m, param, &n);
        const int64_t filters = i == 2 ? 1 : dt_graph_shape(m->graph, dt_graph_find(m->graph, name))->dim[0];
        double least = INFINITY, most = 0.0;
        for (int64_t k = 0; k < filters; k++) {
            double largest = 0.0;
            for (int64_t j = k * (n / filters); j < (k + 1) * (n / filters); j++)
                largest = fmax(largest, fabs((double)w[j]));
            least = fmin(least, largest / 7.0);
            most = fmax(most, largest / 7.0);
        }
        cr_assert(row[i].bits == 4 && row[i].n_weights == n && row[i].least_scale == (float)least &&
                      row[i].scale == (float)most,
                  "%s: %d bits, scales %.9g to %.9g, expected %.9g to %.9g", row[i].name, row[i].bits,
                  (double)row[i].least_scale, (double)row[i].scale, least, most);
        free(w);
    }
    dt_model_destroy(m);
    close_rig(&r);
}

/* Quantized again, it is the network of reals that is quantized. */
Test(quantize_schemes, the_notebooks_quantizers_come_out_again)
{
    rig r = open_rig();
    dt_model *m = quantized_by(&r, DT_SCHEME_QKERAS), *back;
    const dt_quantization plain = { .scheme = DT_SCHEME_FLOAT };
    float before[N_IMAGES * CLASSES], within[N_IMAGES * CLASSES], after[N_IMAGES * CLASSES];

    MUST(dt_quantize(m, &plain, &back));
    scores_of(r.real, before);
    scores_of(m, within);
    scores_of(back, after);
    cr_assert(memcmp(before, within, sizeof before) != 0, "nothing was quantized");
    for (int i = 0; i < N_IMAGES * CLASSES; i++)
        cr_assert_float_eq(before[i], after[i], 1e-5f, "score %d", i); /* batch norms were folded */
    dt_model_destroy(back);
    dt_model_destroy(m);
    close_rig(&r);
}

Test(quantize_schemes, dynamic_ranges_have_no_program)
{
    rig r = open_rig();
    dt_model *m = quantized_by(&r, DT_SCHEME_DRQ);
    dt_program *p = NULL;

    cr_assert(dt_program_possible(m) == DT_ERR_UNSUPPORTED);
    cr_assert(dt_program_lower(m, NULL, &p) == DT_ERR_UNSUPPORTED && !p);
    cr_assert(strstr(dt_last_error(), "net has no integer program: a.act.dynamic finds the range of a.act anew") &&
                  strstr(dt_last_error(), "detent quantize --scheme full"),
              "%s", dt_last_error());
    dt_model_destroy(m);
    close_rig(&r);
}

static void expect_misfit(dt_model *m, const dt_quantization *what, dt_status status, const char *words)
{
    dt_model *out = NULL;
    const dt_status got = dt_quantize(m, what, &out);

    cr_assert(got == status && strstr(dt_last_error(), words) && !out, "%s: %s, expected '%s'", dt_status_name(got),
              dt_last_error(), words);
}

Test(quantize_schemes, misfits_are_refused)
{
    rig r = open_rig();
    dt_model *m = quantized_by(&r, DT_SCHEME_DRQ);

    expect_misfit(r.real, &(dt_quantization){ .scheme = (dt_scheme)7 }, DT_ERR_ARGUMENT, "scheme");
    expect_misfit(r.real, &(dt_quantization){ .scheme = DT_SCHEME_FIQ_I8 }, DT_ERR_ARGUMENT, "calibration images");
    expect_misfit(r.real, &(dt_quantization){ .scheme = DT_SCHEME_DRQ, .abits = 4 }, DT_ERR_ARGUMENT,
                  "to 8 bits while the network runs; got abits 4");
    expect_misfit(r.real, &(dt_quantization){ .scheme = DT_SCHEME_DRQ, .wbits = 9 }, DT_ERR_ARGUMENT,
                  "weights of 9 bits");
    expect_misfit(r.real, &(dt_quantization){ .scheme = DT_SCHEME_DRQ, .ranges = "r.json" }, DT_ERR_ARGUMENT,
                  "leave out the file r.json");
    expect_misfit(r.real, &(dt_quantization){ .scheme = DT_SCHEME_QKERAS, .symmetric = 1 }, DT_ERR_ARGUMENT,
                  "leave out symmetric activations");
    expect_misfit(r.real, &(dt_quantization){ .scheme = DT_SCHEME_QKERAS, .abits = 17 }, DT_ERR_ARGUMENT, "w8a17");
    expect_misfit(m, &(dt_quantization){ .scheme = DT_SCHEME_DRQ }, DT_ERR_UNSUPPORTED, "computes on integers already");
    dt_model_destroy(m);
    close_rig(&r);
}
