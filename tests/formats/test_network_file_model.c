/*
 * test_network_file_model.c - models of networks that are files: their sizes and bits, and what contradicts a file.
 */
#include "../support/small_network.h"
#include "../support/temp_files.h"

#include "../../quant/insert.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- models of a file ---- */

static const char *small_file(void)
{
    FILE *file = fopen(temp_path("small.json"), "w");

    fputs(small, file);
    fclose(file);
    return temp_path("small.json");
}

Test(network_file_model, a_path_has_a_slash_or_ends_in_json)
{
    static const char *const files[] = { "a.json", "./vgg16", "nets/a", "a.b.json" };
    static const char *const names[] = { "vgg16", "tiny", ".json", "json", "a.jso", "", NULL };

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) cr_assert(dt_network_is_file(files[i]), "%s", files[i]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert(dt_network_is_file(names[i]) == 0, "%s", names[i] ? names[i] : "NULL");
    }
}

typedef struct {
    dt_context *ctx;
    dt_model_config config;
    char path[2 * TEMP_PATH_BYTES];
} small_model;

/* The configuration's name is s's path. */
static void begin_small(small_model *s)
{
    dt_options opt;

    temp_make();
    snprintf(s->path, sizeof s->path, "%s", small_file());
    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &s->ctx));
    MUST(dt_model_config_default(s->path, &s->config));
}

static void end_small(small_model *s)
{
    dt_context_destroy(s->ctx);
    temp_remove();
}

/* stem 4*3*3*3, its norm 2*4, side 4*1*3*4, classifier 5*(4*4*4) + 5 */
enum { SMALL_WEIGHTS = 108 + 8 + 48 + 320 + 5 };

Test(network_file_model, a_model_of_a_file)
{
    small_model s;
    dt_model *of_file, *of_graph, *real;
    dt_graph *g;
    dt_layer_info stem, side;

    begin_small(&s);
    cr_assert(s.config.height == 8 && s.config.width == 8 && s.config.channels == 3 && s.config.n_classes == 5);
    MUST(dt_model_create(s.ctx, &s.config, &of_file));
    cr_assert(dt_model_count(of_file) == SMALL_WEIGHTS, "%lld", (long long)dt_model_count(of_file));
    cr_assert(dt_model_n_layers(of_file) == 2);
    dt_model_layer(of_file, 0, &stem);
    dt_model_layer(of_file, 1, &side);
    cr_assert(stem.wbits == 4 && stem.abits == 8 && side.wbits == 4 && side.abits == 4);

    MUST(dt_graph_load(s.path, &g));
    const dt_model_config bits = { .wbits = 8, .abits = 2, .per_channel = 1, .rule = DT_RULE_LSQ };
    MUST(dt_model_create_of(s.ctx, g, &bits, &of_graph));
    dt_graph_destroy(g); /* the model has its own */
    dt_model_layer(of_graph, 0, &stem);
    dt_model_layer(of_graph, 1, &side);
    cr_assert(stem.wbits == 8 && stem.abits == 2 && side.abits == 2);
    cr_assert(dt_model_count(of_graph) == SMALL_WEIGHTS);

    s.config.wbits = s.config.abits = DT_BITS_FLOAT;
    MUST(dt_model_create(s.ctx, &s.config, &real));
    cr_assert(dt_model_n_layers(real) == 0 && dt_model_n_params(real) == 8);
    dt_model_destroy(real);
    dt_model_destroy(of_graph);
    dt_model_destroy(of_file);
    end_small(&s);
}

static void wants_size(dt_model_config *c)
{
    c->height = c->width = 28;
    c->channels = 1;
}
static void wants_classes(dt_model_config *c)
{
    c->n_classes = 7;
}
static void wants_an_option(dt_model_config *c)
{
    c->option[2] = 8; /* around dt_model_option */
}
static void wants_wbits(dt_model_config *c)
{
    c->wbits = 9;
}
static void wants_rule(dt_model_config *c)
{
    c->rule = (dt_quant_rule)99;
}
static const dt_layer_bits three_bits = { "stem", 3, 3, 0 }, no_bits = { "stem", DT_BITS_FLOAT, DT_BITS_FLOAT, 0 };

static void affine_with_first_last(dt_model_config *c)
{
    c->rule = DT_RULE_AFFINE;
    c->first_last_bits = 8;
}
static void affine_with_layer_bits(dt_model_config *c)
{
    c->rule = DT_RULE_AFFINE;
    c->layer_bits = &three_bits;
    c->n_layer_bits = 1;
}
static void affine_float(dt_model_config *c)
{
    c->rule = DT_RULE_AFFINE;
    c->wbits = c->abits = DT_BITS_FLOAT;
    c->layer_bits = &no_bits;
    c->n_layer_bits = 1;
}
static void affine_fixed(dt_model_config *c)
{
    c->rule = DT_RULE_AFFINE;
    c->ranges = DT_RANGE_FIXED;
}
static void affine_with_a_float_layer(dt_model_config *c)
{
    c->rule = DT_RULE_AFFINE;
    c->layer_bits = &no_bits;
    c->n_layer_bits = 1;
}
static void sizes_of_the_file(dt_model_config *c)
{
    c->height = c->width = c->channels = c->n_classes = 0;
}

Test(network_file_model, a_file_has_no_options)
{
    static const struct {
        const char *option;
        int value;
        const char *why;
    } rows[] = { { "choke", 8, "small.json is a network from a file, and choke is 8: that is for networks by name" },
                 { "skip-block", 1, "skip-block is 1" },
                 { "caps-dim", 16, "caps-dim is 16" },
                 { "routing-iterations", 3, "routing-iterations is 3" },
                 { "decoder", DT_DECODER_FC, "decoder is fc" },
                 { "decoder", 9, "decoder is 9" },
                 { "nothing", 0, "nothing is 0" } };
    small_model s;
    const dt_network_option *options;

    begin_small(&s);
    cr_assert(dt_network_options(s.config.name, &options) == 0 && !options);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_model_config c = s.config;
        cr_assert(dt_model_option(&c, rows[i].option, rows[i].value) == DT_ERR_ARGUMENT, "%s", rows[i].option);
        cr_assert(strstr(dt_last_error(), rows[i].why) != NULL, "%s", dt_last_error());
        cr_assert(memcmp(c.option, s.config.option, sizeof c.option) == 0);
    }
    end_small(&s);
}

Test(network_file_model, what_contradicts_a_file_is_refused)
{
    static const struct {
        void (*change)(dt_model_config *c);
        const char *why;
    } rows[] = {
        { wants_size, "small.json takes images of 8x8x3, and 28x28x1 were asked for" },
        { wants_classes, "small.json has 5 classes, and 7 were asked for" },
        { wants_an_option, "small.json is a network from a file, and an option is 8: that is for networks by name" },
        { wants_wbits, "wbits is 9, allowed are 2..8 and 32" },
        { wants_rule, "rule" },
        { affine_with_first_last, "8 bits of the first and last layer, and affine quantizers have one number of bits" },
        { affine_with_layer_bits, "bits w3a3 of 'stem', and affine quantizers have one number of bits" },
        { affine_float, "wbits is float, and affine quantizers are of the whole network" },
        { affine_fixed, "is not known, and ranges are fixed" },
        { affine_with_a_float_layer, NULL },
        { sizes_of_the_file, NULL },
    };
    small_model s;

    begin_small(&s);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_model_config c = s.config;
        dt_model *m = NULL;
        rows[i].change(&c);
        const dt_status status = dt_model_create(s.ctx, &c, &m);
        if (!rows[i].why) MUST(status);
        if (rows[i].why) {
            cr_assert(status == DT_ERR_ARGUMENT && strstr(dt_last_error(), rows[i].why), "%s: %s", rows[i].why,
                      dt_last_error());
        }
        dt_model_destroy(m);
    }
    end_small(&s);
}

/* Its bits are its own: they are taken as they are, and given no others. */
Test(network_file_model, a_quantized_network_is_not_quantized_again)
{
    const dt_quant_choice choice = { .wbits = 3, .abits = 5, .input_bits = 8, .rule = DT_RULE_LSQ };
    small_model s;
    dt_model_config c;
    dt_layer_info side;
    dt_graph *g, *q;
    dt_model *m;

    begin_small(&s);
    MUST(dt_graph_load(s.path, &g));
    MUST(dt_quant_insert(g, &choice, &q));
    char *text = text_of(q);
    temp_write("quantized.json", (const uint8_t *)text, strlen(text));
    MUST(dt_model_config_default(temp_path("quantized.json"), &c));
    cr_assert(c.wbits == DT_BITS_FLOAT && c.abits == DT_BITS_FLOAT);
    MUST(dt_model_create(s.ctx, &c, &m));
    dt_model_layer(m, 1, &side);
    cr_assert(side.wbits == 3 && side.abits == 5);
    c.wbits = c.abits = 4;
    dt_model *again = NULL;
    cr_assert(dt_model_create(s.ctx, &c, &again) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "quantizers of its own (stem.act_quant), and wbits is 4") != NULL, "%s",
              dt_last_error());
    dt_model_destroy(m);
    dt_graph_destroy(q);
    dt_graph_destroy(g);
    free(text);
    end_small(&s);
}

/* Of the rule affine, bits are those of the config, and no other quantizer is there. */
Test(network_file_model, affine_quantizers_are_a_rule)
{
    small_model s;
    dt_model *m;
    dt_layer_info layer;
    char text[DT_MODEL_TEXT_BYTES];

    begin_small(&s);
    s.config.rule = DT_RULE_AFFINE;
    s.config.wbits = 6;
    s.config.abits = 7;
    MUST(dt_model_create(s.ctx, &s.config, &m));
    dt_model_describe(m, text);
    cr_assert(strcmp(text, "small w6a7") == 0, "%s", text);
    cr_assert(dt_model_n_layers(m) == 3, "%d layers", dt_model_n_layers(m)); /* the classifier, too */
    dt_model_layer(m, 0, &layer);
    cr_assert(layer.wbits == 6 && layer.abits == 7, "w%da%d", layer.wbits, layer.abits); /* of a signed image */
    const dt_graph *g = dt_model_graph(m);
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_op_kind kind = g->node[i].kind;
        cr_assert(kind != DT_OP_ACT_QUANT && kind != DT_OP_WEIGHT_QUANT, "%s", dt_graph_name(g, g->node[i].out));
    }
    dt_model_destroy(m);
    end_small(&s);
}
