/*
 * test_onnx_export.c - networks of reals and programs as ONNX files, which the reader of ONNX files reads again: equal
 * scores, equal names. test_cli_onnx.sh runs such files by ONNX Runtime, where it is installed.
 */
#include "../support/range_networks.h"
#include "../support/temp_files.h"

#include "detent/array.h"
#include "detent/checkpoint.h"
#include "detent/predict.h"
#include "detent/quantize.h"

/* Every operator that a file of reals has; the map that is flattened has several cells. */
static const char everything[] =
    "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [9, 8, 4], \"classes\": 5, \"pixels\": \"unit\", "
    "\"nodes\": ["
    "[\"a\", \"conv\", \"image\", { \"filters\": 8, \"window\": [3, 2], \"pad\": [1, 0, 0, 1], \"groups\": 2 }],"
    "[\"a.biased\", \"bias\", \"a\"],"
    "[\"a.act\", \"relu\", \"a.biased\", { \"most\": 6 }],"
    "[\"b\", \"conv\", \"a.act\", { \"filters\": 8, \"window\": 3, \"pad\": 2, \"dilation\": 2 }],"
    "[\"b.bn\", \"batchnorm\", \"b\"],"
    "[\"sum\", \"add\", [\"a.act\", \"b.bn\"]],"
    "[\"sum.biased\", \"bias\", \"sum\"],"
    "[\"most\", \"maxpool\", \"sum.biased\", { \"window\": 2 }],"
    "[\"mean\", \"avgpool\", \"sum.biased\", { \"window\": 2, \"stride\": 2 }],"
    "[\"both\", \"concat\", [\"most\", \"mean\"], { \"axis\": 3 }],"
    "[\"whole\", \"avgpool\", \"both\"],"
    "[\"gate\", \"sigmoid\", \"whole\"],"
    "[\"gated\", \"mul\", [\"both\", \"gate\"]],"
    "[\"limited\", \"clip\", \"gated\", { \"low\": -0.5, \"high\": 0.75 }],"
    "[\"flat\", \"flatten\", \"limited\"],"
    "[\"fc\", \"linear\", \"flat\", { \"features\": 5 }],"
    "[\"likely\", \"softmax\", \"fc\"] ] }";

/* Codes of every kind that post-training quantization makes. */
static const char of_codes[] =
    "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [8, 8, 4], \"classes\": 5, \"pixels\": \"unit\", "
    "\"nodes\": ["
    "[\"a\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1, \"groups\": 4 }],"
    "[\"a.biased\", \"bias\", \"a\"],"
    "[\"a.act\", \"relu\", \"a.biased\", { \"most\": 6 }],"
    "[\"b\", \"conv\", \"a.act\", { \"filters\": 8, \"window\": 1 }],"
    "[\"b.biased\", \"bias\", \"b\"],"
    "[\"sum\", \"add\", [\"a.act\", \"b.biased\"]],"
    "[\"most\", \"maxpool\", \"sum\", { \"window\": 2 }],"
    "[\"c\", \"conv\", \"most\", { \"filters\": 6, \"window\": 2, \"stride\": 2 }],"
    "[\"c.biased\", \"bias\", \"c\"],"
    "[\"c.act\", \"relu\", \"c.biased\"],"
    "[\"flat\", \"flatten\", \"c.act\"],"
    "[\"hidden\", \"linear\", \"flat\", { \"features\": 7 }],"
    "[\"fc\", \"linear\", \"hidden\", { \"features\": 5 }],"
    "[\"likely\", \"softmax\", \"fc\"] ] }";

enum { N_IMAGES = 6, MOST_IMAGE = 9 * 8 * 4, CLASSES = 5, OPSET = 13 };

typedef struct {
    dt_context *ctx;
    dt_model *real;
    float images[N_IMAGES * MOST_IMAGE];
} rig;

static rig open_rig(const char *network)
{
    dt_options o;
    rig r;

    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &r.ctx));
    MUST(dt_model_open(r.ctx, graph_of(network), &r.real));
    for (int i = 0; i < N_IMAGES * MOST_IMAGE; i++) r.images[i] = (float)(i * 37 % 256) / 128.0f - 1.0f;
    return r;
}

static void close_rig(rig *r)
{
    dt_model_destroy(r->real);
    dt_context_destroy(r->ctx);
}

/* Not all scores are the same, so that equal ones mean something. */
static void scores_of(const rig *r, dt_model *m, float *scores)
{
    int n_other = 0;

    MUST(dt_predict(m, &(dt_prediction){ .normalised = r->images, .n = N_IMAGES }, scores));
    for (int i = 1; i < N_IMAGES * CLASSES; i++) n_other += scores[i] != scores[0];
    cr_assert(n_other > N_IMAGES, "%d of the scores differ from the first", n_other);
}

static void expect_equal(const float *is, const float *was, const char *what)
{
    for (int i = 0; i < N_IMAGES * CLASSES; i++) {
        cr_assert(is[i] == was[i], "%s: score %d is %.9g, was %.9g", what, i, (double)is[i], (double)was[i]);
    }
}

TestSuite(onnx_export, .init = temp_make, .fini = temp_remove);

Test(onnx_export, reals_come_back)
{
    rig r = open_rig(everything);
    float was[N_IMAGES * CLASSES], is[N_IMAGES * CLASSES];
    dt_model *back;

    MUST(dt_model_write_onnx(r.real, OPSET, temp_path("net.onnx")));
    MUST(dt_checkpoint_open(r.ctx, temp_path("net.onnx"), &back));
    scores_of(&r, r.real, was);
    scores_of(&r, back, is);
    for (int i = 0; i < N_IMAGES * CLASSES; i++) { /* a transpose may change the order of a sum */
        cr_assert_float_eq(is[i], was[i], 1e-6, "score %d is %.9g, was %.9g", i, (double)is[i], (double)was[i]);
    }
    for (int i = 0; i < dt_model_n_params(r.real); i++) {
        dt_param_info p;
        dt_model_param(r.real, i, &p);
        cr_assert(dt_model_find(back, p.name) >= 0, "%s has another name", p.name);
    }
    dt_model_destroy(back);
    close_rig(&r);
}

/* The program of a network of reals, quantized on the same images, under the profile onnx. */
static dt_program *program_of(rig *r, const dt_quantization *how)
{
    dt_quantization what = *how;
    dt_program *p;
    dt_model *q;

    what.normalised = r->images;
    what.n = N_IMAGES;
    MUST(dt_quantize(r->real, &what, &q));
    MUST(dt_program_lower(q, NULL, &p));
    MUST(dt_program_use_profile(p, DT_PROFILE_ONNX));
    dt_model_destroy(q);
    return p;
}

static void scores_of_program(const rig *r, const dt_program *p, float *scores)
{
    dt_model *m;

    MUST(dt_program_model(r->ctx, p, NULL, &m));
    scores_of(r, m, scores);
    dt_model_destroy(m);
}

static void expect_round_trip(const dt_quantization *how, int opset, const char *what)
{
    rig r = open_rig(of_codes);
    float was[N_IMAGES * CLASSES], is[N_IMAGES * CLASSES];
    dt_program *p = program_of(&r, how), *back;

    MUST(dt_program_write_onnx(p, DT_ONNX_QDQ, opset, temp_path("net.onnx")));
    MUST(dt_program_load(temp_path("net.onnx"), &back));
    cr_assert_eq(dt_program_profile(back), DT_PROFILE_ONNX, "%s", what);
    scores_of_program(&r, p, was);
    scores_of_program(&r, back, is);
    expect_equal(is, was, what);
    dt_program_destroy(back);
    dt_program_destroy(p);
    close_rig(&r);
}

Test(onnx_export, programs_come_back)
{
    expect_round_trip(&(dt_quantization){ 0 }, OPSET, "a scale for each filter");
    expect_round_trip(&(dt_quantization){ .per_layer = 1 }, 21, "one for each layer, opset 21");
    expect_round_trip(&(dt_quantization){ .symmetric = 1, .wbits = 4 }, OPSET, "no zero points, weights of 4 bits");
}

static void expect_misfit(dt_status got, dt_status status, const char *words)
{
    cr_assert(got == status && strstr(dt_last_error(), words), "%s: %s, expected '%s'", dt_status_name(got),
              dt_last_error(), words);
}

Test(onnx_export, misfits_are_refused)
{
    rig r = open_rig(of_codes);
    dt_program *p = program_of(&r, &(dt_quantization){ .abits = 4 });
    const dt_quantization drq = { .scheme = DT_SCHEME_QKERAS };
    dt_model *q;

    expect_misfit(dt_model_write_onnx(r.real, 12, temp_path("x.onnx")), DT_ERR_ARGUMENT,
                  "opset 12: files are written of 13 to 21");
    expect_misfit(dt_program_write_onnx(p, DT_ONNX_QDQ, OPSET, temp_path("x.onnx")), DT_ERR_UNSUPPORTED,
                  "a file has -128 - zero .. 127 - zero");
    MUST(dt_quantize(r.real, &drq, &q));
    expect_misfit(dt_model_write_onnx(q, OPSET, temp_path("x.onnx")), DT_ERR_UNSUPPORTED, "has quantizers");
    dt_model_destroy(q);
    dt_program_destroy(p);
    close_rig(&r);
}
