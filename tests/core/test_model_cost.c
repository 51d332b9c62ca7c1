/*
 * test_model_cost.c - costs of layers: those of FINN's network against the numbers that QONNX publishes for it, and
 *                     those of other operators worked out by hand.
 */
#include "../../core/train/model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                   \
    do {                                                             \
        const dt_status must_ = (call);                              \
        cr_assert(must_ == DT_OK, "%s: %s", #call, dt_last_error()); \
    } while (0)

#define MODELS DETENT_TEST_GOLDEN "/../../models"

enum { MAX_LAYERS = 32 };

/* The layers of a network that is known by name or is a file. */
static int costs_by(dt_quant_rule rule, const char *network, int wbits, int abits, int classifier, dt_layer_cost *row)
{
    static dt_context *ctx;
    static dt_model *m;
    dt_model_config c;
    dt_layer_cost *l;
    dt_options o;
    int n;

    dt_options_default(&o);
    o.backend = "cpu";
    MUST(dt_context_create(&o, &ctx));
    MUST(dt_model_config_default(network, &c));
    c.rule = rule;
    c.wbits = wbits;
    c.abits = abits;
    c.quantize_classifier = classifier;
    MUST(dt_model_create(ctx, &c, &m));
    MUST(dt_model_cost(m, &l, &n));
    cr_assert(n <= MAX_LAYERS);
    memcpy(row, l, (size_t)n * sizeof *l);
    free(l);
    return n;
}

static int costs_of(const char *network, int wbits, int abits, int classifier, dt_layer_cost *row)
{
    return costs_by(DT_RULE_LSQ, network, wbits, abits, classifier, row);
}

/* QONNX's model zoo, CNV_2W2A, discount_sparsity false: 1,555,200 products of 8-bit pixels and 2-bit weights,
 * 57,906,176 of 2 bits by 2; 1,542,848 weights; 57,600 and 85,002 outputs; 256,507,904 bit operations. */
Test(model_cost, cnv_has_the_costs_that_qonnx_publishes)
{
    int64_t first = 0, others = 0, weights = 0, outputs = 0, bops = 0;
    dt_layer_cost row[MAX_LAYERS];
    const int n = costs_of(MODELS "/cnv.json", 2, 2, 1, row);

    for (int i = 0; i < n; i++) {
        *(row[i].abits == 8 ? &first : &others) += row[i].macs;
        cr_assert(row[i].wbits == 2 && (i == 0 ? row[i].abits == 8 : row[i].abits == 2), "%s: w%da%d", row[i].name,
                  row[i].wbits, row[i].abits);
        weights += row[i].n_weights;
        outputs += row[i].n_outputs;
        bops += row[i].macs * row[i].wbits * row[i].abits;
    }
    cr_assert(n == 9 && first == 1555200 && others == 57906176);
    cr_assert(weights == 1542848 && outputs == 57600 + 85002 && bops == 256507904);
}

Test(model_cost, real_layers_have_32_bits)
{
    dt_layer_cost row[MAX_LAYERS];
    const int n = costs_of(MODELS "/resnet8.json", DT_BITS_FLOAT, DT_BITS_FLOAT, 0, row);

    for (int i = 0; i < n; i++) cr_assert(row[i].wbits == 32 && row[i].abits == 32, "%s", row[i].name);
    /* 3x3 filters of 3 channels to 16 maps of 32x32; 64 features to 10 classes */
    cr_assert(row[0].macs == 32 * 32 * 16 * 27 && row[0].n_outputs == 32 * 32 * 16 && row[0].n_weights == 432);
    cr_assert(row[n - 1].macs == 640 && row[n - 1].n_outputs == 10 && row[n - 1].n_weights == 640);
}

/* 32x6x6 capsules of 8 vote for 10 classes of 16; the decoder is not needed. */
Test(model_cost, votes_of_capsules)
{
    dt_layer_cost row[MAX_LAYERS];
    const int n = costs_of("shallowcaps", 4, 4, 0, row);
    const dt_layer_cost *votes = &row[n - 1];

    cr_assert(n == 3, "%d layers", n);
    cr_assert(votes->macs == 1152 * 8 * 160 && votes->n_weights == votes->macs && votes->n_outputs == 1152 * 160,
              "%s: %lld products, %lld outputs", votes->name, (long long)votes->macs, (long long)votes->n_outputs);
}

/* Codes of 8 bits with a zero point lie in a window of 256 within -255..255. */
Test(model_cost, affine_codes_have_the_bits_of_their_quantizer)
{
    dt_layer_cost row[MAX_LAYERS];
    const int n = costs_by(DT_RULE_AFFINE, MODELS "/resnet8.json", 8, 8, 1, row);

    for (int i = 0; i < n; i++) {
        cr_assert(row[i].wbits == 8 && row[i].abits == 8, "%s: w%da%d", row[i].name, row[i].wbits, row[i].abits);
    }
}
