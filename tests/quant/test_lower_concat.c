/*
 * test_lower_concat.c - concatenations in programs, of maps along each axis, and of flat values, which were maps of
 * several cells: a program has the bits of the model's scores.
 */
#include "../support/range_networks.h"

#include "detent/array.h"
#include "detent/predict.h"
#include "detent/quantize.h"

enum { N_IMAGES = 5, IMAGE = 8 * 8 * 3, CLASSES = 10 };

typedef struct {
    const char *why, *joined; /* nodes from a (4x4x8), b (4x4x8) and c (1x1x8) to "all" */
} row;

static const row rows[] = {
    { "channels", "[\"all\", \"concat\", [\"a.act\", \"b.act\"], { \"axis\": 3 }]" },
    { "rows", "[\"all\", \"concat\", [\"a.act\", \"b.act\"], { \"axis\": 1 }]" },
    { "columns", "[\"all\", \"concat\", [\"a.act\", \"b.act\"], { \"axis\": 2 }]" },
    { "flat maps of one cell and of several",
      "[\"a.flat\", \"flatten\", \"a.act\"], [\"c.flat\", \"flatten\", \"c.act\"],"
      "[\"all\", \"concat\", [\"a.flat\", \"c.flat\"], { \"axis\": 1 }]" },
    { "flat maps of several cells", "[\"a.flat\", \"flatten\", \"a.act\"], [\"b.flat\", \"flatten\", \"b.act\"],"
                                    "[\"all\", \"concat\", [\"b.flat\", \"a.flat\", \"b.flat\"], { \"axis\": 1 }]" },
};

/* The network of a row: three layers, what joins them, and a classifier. */
static dt_graph *network_of(const row *r)
{
    const char *flat = strstr(r->joined, "flatten") ? "" : "[\"flat\", \"flatten\", \"all\"],";
    char text[2048];

    snprintf(text, sizeof text,
             "{ \"format\": \"detent-network\", \"name\": \"net\", \"image\": [8, 8, 3], \"classes\": 10, \"pixels\": "
             "\"unit\", \"nodes\": ["
             "[\"stem\", \"conv\", \"image\", { \"filters\": 8, \"window\": 3, \"pad\": 1 }],"
             "[\"stem.biased\", \"bias\", \"stem\"], [\"stem.act\", \"relu\", \"stem.biased\"],"
             "[\"a\", \"conv\", \"stem.act\", { \"filters\": 8, \"window\": 2, \"stride\": 2 }], [\"a.act\", \"relu\", "
             "\"a\"],"
             "[\"b\", \"conv\", \"stem.act\", { \"filters\": 8, \"window\": 2, \"stride\": 2 }], [\"b.act\", \"relu\", "
             "\"b\"],"
             "[\"c\", \"conv\", \"stem.act\", { \"filters\": 8, \"window\": 8 }], [\"c.act\", \"relu\", \"c\"],"
             "%s, %s [\"fc\", \"linear\", \"%s\", { \"features\": 10 }] ] }",
             r->joined, flat, *flat ? "flat" : "all");
    return graph_of(text);
}

static dt_context *open_context(void)
{
    dt_options o;
    dt_context *ctx;

    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &ctx));
    return ctx;
}

static uint8_t pixels[N_IMAGES * IMAGE];

static void scores_of(dt_model *m, float *scores)
{
    for (int i = 0; i < N_IMAGES * IMAGE; i++) pixels[i] = (uint8_t)(i * 37 % 251);
    MUST(dt_predict(m, &(dt_prediction){ .pixels = pixels, .n = N_IMAGES }, scores));
}

static void expect_same(const row *r, dt_model *m, const dt_program *p)
{
    float model[N_IMAGES * CLASSES], program[N_IMAGES * CLASSES];
    dt_model *run;

    MUST(dt_program_model(m->ctx, p, NULL, &run));
    scores_of(m, model);
    scores_of(run, program);
    for (int i = 0; i < N_IMAGES * CLASSES; i++) {
        cr_assert(model[i] == program[i], "%s: score %d is %.9g, the model's %.9g", r->why, i, (double)program[i],
                  (double)model[i]);
    }
    dt_model_destroy(run);
}

/* Thresholds, bisected from the evaluation of a network that is quantized after training. */
Test(lower_concat, codes_of_ranges)
{
    dt_context *ctx = open_context();
    float unused[N_IMAGES * CLASSES];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const dt_quantization what = { .pixels = pixels, .n = N_IMAGES };
        dt_model *real, *q;
        dt_program *p;
        MUST(dt_model_open(ctx, network_of(&rows[i]), &real));
        scores_of(real, unused);
        MUST(dt_quantize(real, &what, &q));
        MUST(dt_program_lower_under(q, NULL, DT_PROFILE_EXACT, &p));
        expect_same(&rows[i], q, p);
        dt_program_destroy(p);
        dt_model_destroy(q);
        dt_model_destroy(real);
    }
    dt_context_destroy(ctx);
}

/* A network that trains on the grid, 4 bits. */
Test(lower_concat, codes_of_clips)
{
    dt_context *ctx = open_context();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const dt_model_config bits = {
            .wbits = 4, .abits = 4, .input_bits = 8, .quantize_classifier = 1, .rule = DT_RULE_LSQ
        };
        dt_graph *g = network_of(&rows[i]);
        dt_model *m;
        dt_program *p;
        MUST(dt_model_create_of(ctx, g, &bits, &m));
        m->origin = (dt_data_origin){ .name = "pixels", .std = { 1.0f, 1.0f, 1.0f } };
        MUST(dt_program_lower(m, NULL, &p));
        expect_same(&rows[i], m, p);
        dt_program_destroy(p);
        dt_model_destroy(m);
        dt_graph_destroy(g);
    }
    dt_context_destroy(ctx);
}
