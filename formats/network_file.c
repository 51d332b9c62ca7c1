/*
 * network_file.c - makes the models of configurations. A configuration names a network of the table in
 *                  models/networks.c, or one in a file.
 *
 *   name or file -> graph of real values -> first weights (models/start_weights.h) -> mean image
 *   (quant/insert_centre.h) -> quantizers (quant/insert.h, quant/insert_range.h, quant/insert_qkeras.h) -> folded batch
 *   norms (quant/fold_train.h) -> model
 *
 * A file's network has the sizes that its file gives. Options that are for built-in networks are refused.
 * Interface: include/detent/network.h, network_file.h.
 * Tests: tests/formats/test_network_file.c, tests/formats/test_network_file_model.c.
 */
#include "network_file.h"

#include "../core/graph/rewrite.h"
#include "../core/train/model.h"
#include "../core/names.h"
#include "../models/networks.h"
#include "../models/start_weights.h"
#include "../quant/fold_train.h"
#include "../quant/insert.h"
#include "../quant/insert_centre.h"
#include "../quant/insert_qkeras.h"
#include "../quant/insert_range.h"
#include "../quant/insert_route.h"

#include <stdlib.h>
#include <string.h>

static int ends_with(const char *name, const char *suffix)
{
    const size_t bytes = strlen(name), end = strlen(suffix);

    return bytes > end && strcmp(name + bytes - end, suffix) == 0;
}

int dt_network_is_checkpoint(const char *name)
{
    return name && ends_with(name, ".safetensors");
}

int dt_network_is_file(const char *name)
{
    static const char *const suffixes[] = { ".json", ".onnx", ".tflite" };
    int is_file = name && (strchr(name, '/') || dt_network_is_checkpoint(name));

    for (size_t i = 0; name && i < sizeof suffixes / sizeof suffixes[0]; i++) is_file |= ends_with(name, suffixes[i]);
    return is_file;
}

/* The first node of the network that makes codes already, or NULL: a quantizer, or the table of a program. */
static const dt_graph_node *first_quantizer(const dt_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_op_kind kind = g->node[i].kind;
        if (kind == DT_OP_ACT_QUANT || kind == DT_OP_WEIGHT_QUANT || kind == DT_OP_TABLE) return &g->node[i];
        if (kind == DT_OP_RANGE_QUANT || kind == DT_OP_MAX_QUANT || kind == DT_OP_DYNAMIC_QUANT ||
            kind == DT_OP_FEATUREMAP_QUANT || kind == DT_OP_SCALE_QUANT)
            return &g->node[i];
    }
    return NULL;
}

static void take_sizes(const dt_graph *g, dt_model_config *c)
{
    const dt_shape *image = dt_graph_shape(g, g->image);

    c->height = (int)image->dim[1];
    c->width = (int)image->dim[2];
    c->channels = (int)image->dim[3];
    c->n_classes = (int)dt_graph_shape(g, g->scores)->dim[1];
}

dt_status dt_model_config_default(const char *name, dt_model_config *out)
{
    dt_graph *g;

    if (!dt_network_is_file(name)) return dt_network_defaults(name, out);
    DT_TRY(dt_graph_load(name, &g));
    const int bits = first_quantizer(g) ? DT_BITS_FLOAT : 4;
    *out = (dt_model_config){
        .name = name, .wbits = bits, .abits = bits, .input_bits = 8, .sum_bits = 8, .rule = DT_RULE_ECE284
    };
    take_sizes(g, out);
    dt_graph_destroy(g);
    return DT_OK;
}

/* Sizes that are asked for, against the network's. */
static dt_status check_sizes(const char *from, const dt_model_config *own, const dt_model_config *c)
{
    const int asks = c->height || c->width || c->channels;

    DT_CHECK(!asks || (c->height == own->height && c->width == own->width && c->channels == own->channels),
             DT_ERR_ARGUMENT,
             "%s takes images of %dx%dx%d, and %dx%dx%d were asked for; the size of a network from a file is the "
             "file's",
             from, own->height, own->width, own->channels, c->height, c->width, c->channels);
    DT_CHECK(!c->n_classes || c->n_classes == own->n_classes, DT_ERR_ARGUMENT,
             "%s has %d classes, and %d were asked for; the classes of a network from a file are the file's", from,
             own->n_classes, c->n_classes);
    return DT_OK;
}

static dt_status refuse_option(const char *from, const char *option, int value)
{
    char text[32];

    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                    "%s is a network from a file, and %s is %s: that is for networks by name; change the file", from,
                    option, dt_network_value_text(option, value, text, sizeof text));
}

dt_status dt_model_option(dt_model_config *c, const char *name, int value)
{
    if (dt_network_is_file(c->name)) return refuse_option(c->name, name, value);
    DT_TRY(dt_network_set_option(c, name, value));
    return DT_OK;
}

/* What was chosen of a network that is built by name. */
static dt_status check_options(const char *from, const dt_model_config *c)
{
    const dt_network_option *options;
    const int n = dt_network_options(c->name, &options);

    for (int i = 0; i < DT_NETWORK_OPTIONS; i++) {
        const int unchosen = i < n ? options[i].value : 0;
        if (c->option[i] != unchosen) return refuse_option(from, i < n ? options[i].name : "an option", c->option[i]);
    }
    return DT_OK;
}

static int has_bits(const dt_model_config *c)
{
    return c->wbits != DT_BITS_FLOAT || c->first_last_bits > 0 || c->n_layer_bits > 0 || c->quantize_classifier;
}

/* from: the file, or the network's name. */
static dt_status check_choice(const dt_graph *g, const char *from, const dt_model_config *c)
{
    const dt_graph_node *quantizer = first_quantizer(g);
    dt_model_config own = *c;

    DT_TRY(dt_check_word("rule", (int)c->rule, dt_quant_rule_names));
    take_sizes(g, &own);
    DT_TRY(check_sizes(from, &own, c));
    DT_TRY(check_options(from, c));
    if (g->loss == DT_LOSS_BINARY && own.n_classes == 1) own.n_classes = 2; /* one score tells two classes apart */
    DT_TRY(dt_network_check_common(&own));
    DT_CHECK(!quantizer || !has_bits(c), DT_ERR_ARGUMENT,
             "%s has quantizers of its own (%s), and wbits is %d%s; take both bits as float, or a network without",
             from, dt_graph_name(g, quantizer->out), c->wbits,
             c->wbits == DT_BITS_FLOAT ? ", but layers have bits" : "");
    return DT_OK;
}

dt_status dt_network_of(const dt_model_config *cfg, dt_graph **out)
{
    dt_graph *g;

    if (!dt_network_is_file(cfg->name)) return dt_network_build(cfg, out);
    DT_TRY(dt_graph_load(cfg->name, &g));
    const dt_status status = check_choice(g, cfg->name, cfg);
    if (status != DT_OK) {
        dt_graph_destroy(g);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = g;
    return DT_OK;
}

/* TensorFlow's quantization-aware training has this. */
static const float range_decay = 0.999f;

/* What the bits of layers may say where all have the same quantizers. */
static dt_status check_whole(const dt_graph *g, const dt_model_config *c)
{
    const char *rule = dt_quant_rule_names[c->rule];

    DT_CHECK(c->wbits != DT_BITS_FLOAT, DT_ERR_ARGUMENT,
             "%s: wbits is float, and %s quantizers are of the whole network; give bits, and leave single layers "
             "float",
             g->name, rule);
    DT_CHECK(c->first_last_bits == 0, DT_ERR_ARGUMENT,
             "%s: %d bits of the first and last layer, and %s quantizers have one number of bits; leave it out",
             g->name, c->first_last_bits, rule);
    if (c->rule == DT_RULE_QKERAS) return DT_OK; /* its layers may have bits of their own */
    for (int i = 0; i < c->n_layer_bits; i++) {
        const dt_layer_bits *l = &c->layer_bits[i];
        DT_CHECK(l->wbits == DT_BITS_FLOAT && l->abits == DT_BITS_FLOAT, DT_ERR_ARGUMENT,
                 "%s: bits w%da%d of '%s', and %s quantizers have one number of bits; a layer may be float alone",
                 g->name, l->wbits, l->abits, l->layer, rule);
    }
    return DT_OK;
}

static dt_status quantize_qkeras(const dt_graph *plain, const dt_model_config *bits, dt_graph **out)
{
    const dt_qkeras_choice choice = { .wbits = bits->wbits,
                                      .abits = bits->abits,
                                      .per_channel = bits->per_channel,
                                      .layer_bits = bits->layer_bits,
                                      .n_layer_bits = bits->n_layer_bits };

    DT_TRY(dt_quant_insert_qkeras(plain, &choice, out));
    return DT_OK;
}

static dt_status quantize_range(const dt_graph *plain, const dt_model_config *bits, dt_graph **out)
{
    const char **real = malloc((size_t)(bits->n_layer_bits + 1) * sizeof *real);

    DT_CHECK(real, DT_ERR_MEMORY, "no memory for the %d layers that stay real", bits->n_layer_bits);
    for (int i = 0; i < bits->n_layer_bits; i++) real[i] = bits->layer_bits[i].layer;
    const dt_range_choice choice = { .wbits = bits->wbits,
                                     .abits = bits->abits,
                                     .per_channel = bits->per_channel,
                                     .update = bits->ranges,
                                     .decay = range_decay,
                                     .real = real,
                                     .n_real = bits->n_layer_bits };
    const dt_status status = dt_quant_insert_range(plain, &choice, out);
    free(real);
    return status;
}

/* Each value has a quantizer, sums and scores too, so that sum_bits and quantize_classifier have nothing to say. */
static dt_status quantize_whole(const dt_graph *plain, const dt_model_config *bits, dt_graph **out)
{
    DT_TRY(check_whole(plain, bits));
    return bits->rule == DT_RULE_QKERAS ? quantize_qkeras(plain, bits, out) : quantize_range(plain, bits, out);
}

static dt_status check_biases(const dt_graph *g, const dt_model_config *c)
{
    for (int i = 0; i < c->n_layer_bits && c->rule != DT_RULE_QKERAS; i++) {
        const dt_layer_bits *l = &c->layer_bits[i];
        DT_CHECK(l->bbits == 0, DT_ERR_ARGUMENT,
                 "%s: a bias of %d bits for '%s', and %s quantizers leave biases real; leave it out, or take qkeras",
                 g->name, l->bbits, l->layer, dt_quant_rule_names[c->rule]);
    }
    return DT_OK;
}

static dt_status insert_quantizers(const dt_graph *plain, const dt_model_config *bits, dt_graph **out)
{
    const dt_quant_choice choice = { .wbits = bits->wbits,
                                     .abits = bits->abits,
                                     .input_bits = bits->input_bits,
                                     .per_channel = bits->per_channel,
                                     .rule = bits->rule,
                                     .first_last_bits = bits->first_last_bits,
                                     .sum_bits = bits->sum_bits,
                                     .quantize_classifier = bits->quantize_classifier,
                                     .layer_bits = bits->layer_bits,
                                     .n_layer_bits = bits->n_layer_bits };

    if (!has_bits(bits)) return dt_graph_rewrite(plain, NULL, NULL, out);
    DT_TRY(check_biases(plain, bits));
    if (bits->rule >= DT_RULE_AFFINE) return quantize_whole(plain, bits, out);
    return dt_quant_insert(plain, &choice, out);
}

static void replace(dt_graph **g, dt_graph *by)
{
    dt_graph_destroy(*g);
    *g = by;
}

/* Changes *g by one pass after the other. */
static dt_status make_network(const dt_model_config *cfg, dt_graph **g)
{
    dt_graph *by = NULL;

    if (cfg->start_weights == DT_START_WEIGHTS_KEEP) {
        DT_TRY(dt_start_weights_keep(*g, &by));
        replace(g, by);
    }
    if (cfg->centre_image) {
        DT_TRY(dt_insert_centre(*g, &by));
        replace(g, by);
    }
    DT_TRY(insert_quantizers(*g, cfg, &by));
    replace(g, by);
    const int routing_bits = dt_model_option_value(cfg, DT_ROUTING_BITS_OPTION);
    if (routing_bits > 0) {
        DT_TRY(dt_route_insert(*g, routing_bits, &by));
        replace(g, by);
    }
    if (cfg->fold_bn == DT_FOLD_NONE) return DT_OK;
    DT_TRY(dt_graph_fold_train(*g, cfg->fold_bn, cfg->bn_freeze, &by));
    replace(g, by);
    return DT_OK;
}

dt_status dt_network_quantize(const dt_graph *plain, const dt_model_config *cfg, dt_graph **out)
{
    dt_graph *g;

    DT_TRY(dt_check_word("start_weights", (int)cfg->start_weights, dt_start_weights_names));
    DT_TRY(dt_check_word("fold_bn", (int)cfg->fold_bn, dt_fold_mode_names));
    DT_CHECK(cfg->fold_bn != DT_FOLD_NONE || cfg->bn_freeze == 0, DT_ERR_ARGUMENT,
             "%s: batch norms are to freeze after %d steps, and none is folded; fold them, or leave it out",
             plain->name, cfg->bn_freeze);
    DT_TRY(dt_graph_rewrite(plain, NULL, NULL, &g));
    const dt_status status = make_network(cfg, &g);
    if (status != DT_OK) {
        dt_graph_destroy(g);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = g;
    return DT_OK;
}

/* cfg describes plain. */
static dt_status open_quantized(dt_context *ctx, const dt_graph *plain, const dt_model_config *cfg, dt_model **out)
{
    dt_graph *graph;

    DT_TRY(dt_network_quantize(plain, cfg, &graph));
    return dt_model_open(ctx, graph, out);
}

dt_status dt_model_create(dt_context *ctx, const dt_model_config *cfg, dt_model **out)
{
    dt_graph *plain;

    DT_TRY(dt_network_of(cfg, &plain));
    const dt_status status = open_quantized(ctx, plain, cfg, out);
    dt_graph_destroy(plain);
    return status;
}

dt_status dt_model_create_of(dt_context *ctx, const dt_graph *graph, const dt_model_config *bits, dt_model **out)
{
    DT_TRY(check_choice(graph, graph->name, bits));
    return open_quantized(ctx, graph, bits, out);
}
