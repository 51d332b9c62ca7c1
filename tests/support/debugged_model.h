/*
 * debugged_model.h - a small network with each kind of layer, quantized after training, on which debugger and
 *                    sensitivity are tried.
 */
#ifndef DEBUGGED_MODEL_H
#define DEBUGGED_MODEL_H

#include "drawn_model.h"

enum { DEBUGGED_SIDE = 6, DEBUGGED_CHANNELS = 3, DEBUGGED_FILTERS = 5, DEBUGGED_CLASSES = 4, DEBUGGED_IMAGES = 11 };
enum { DEBUGGED_IMAGE = DEBUGGED_SIDE * DEBUGGED_SIDE * DEBUGGED_CHANNELS };

static const char debugged_network[] =
    "{ \"format\": \"detent-network\", \"name\": \"small\", \"image\": [6, 6, 3], \"classes\": 4, \"nodes\": ["
    "[\"stem\", \"conv\", \"image\", { \"filters\": 5, \"window\": 3, \"pad\": 1 }],"
    "[\"stem.bn\", \"batchnorm\", \"stem\"],"
    "[\"stem.relu\", \"relu\", \"stem.bn\"],"
    "[\"branch\", \"conv\", \"stem.relu\", { \"filters\": 5, \"window\": 1 }],"
    "[\"branch.bn\", \"batchnorm\", \"branch\"],"
    "[\"join\", \"add\", [\"branch.bn\", \"stem.relu\"]],"
    "[\"join.relu\", \"relu\", \"join\", { \"most\": 6 }],"
    "[\"half\", \"maxpool\", \"join.relu\", { \"window\": 2 }],"
    "[\"pool\", \"avgpool\", \"half\"],"
    "[\"flat\", \"flatten\", \"pool\"],"
    "[\"classifier\", \"linear\", \"flat\", { \"features\": 4 }] ] }";

static inline dt_context *debugged_context(void)
{
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.threads = 1;
    MUST(dt_context_create(&opt, &ctx));
    return ctx;
}

static inline dt_model *debugged_model(dt_context *ctx, int bits)
{
    const dt_quantization how = { .wbits = bits, .abits = bits };

    return drawn_model(ctx, graph_of(debugged_network), &how, DEBUGGED_IMAGE);
}

#endif /* DEBUGGED_MODEL_H */
