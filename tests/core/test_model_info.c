/*
 * test_model_info.c - a network in a few words, read off its graph.
 */
#include "../../core/train/model.h"
#include "../../formats/network_file.h"
#include "../support/choose.h"

#include <criterion/criterion.h>
#include <string.h>

#define MUST(call)                                                   \
    do {                                                             \
        const dt_status must_ = (call);                              \
        cr_assert(must_ == DT_OK, "%s: %s", #call, dt_last_error()); \
    } while (0)

/* The graph with the quantizers that c asks for. */
static dt_graph *quantized(const dt_model_config *c)
{
    dt_graph *plain, *g;

    MUST(dt_network_of(c, &plain));
    MUST(dt_network_quantize(plain, c, &g));
    dt_graph_destroy(plain);
    return g;
}

static void expect_words(const dt_model_config *c, const char *expected)
{
    char text[DT_MODEL_TEXT_BYTES];
    dt_graph *g = quantized(c);

    dt_graph_describe(g, text);
    cr_assert(strcmp(text, expected) == 0, "'%s', expected '%s'", text, expected);
    dt_graph_destroy(g);
}

static dt_model_config config_of(const char *name)
{
    dt_model_config c;

    MUST(dt_model_config_default(name, &c));
    return c;
}

Test(model_info, name_and_bits)
{
    dt_model_config c = config_of("tiny");
    expect_words(&c, "tiny w4a4");
    c.wbits = c.abits = DT_BITS_FLOAT;
    expect_words(&c, "tiny float");
    c = config_of("vgg16");
    choose(&c, "choke", 16);
    c.abits = 2;
    expect_words(&c, "vgg16 choke 16 w4a2");
    choose(&c, "choke", 8);
    choose(&c, "skip-block", 1);
    c.input_bits = 0; /* the image's bits are no layer's */
    expect_words(&c, "vgg16 choke 8 skip block w4a2");
    choose(&c, "width-percent", 50);
    expect_words(&c, "vgg16 choke 8 skip block width 50 w4a2");
}

Test(model_info, layers_of_several_bits)
{
    static const dt_layer_bits bits[] = { { "features.0", 8, 8, 0 }, { "features.4", 3, 2, 0 } };
    static const dt_layer_bits real[] = { { "features.0", DT_BITS_FLOAT, DT_BITS_FLOAT, 0 } };
    dt_model_config c = config_of("tiny");

    c.layer_bits = bits;
    c.n_layer_bits = 2;
    expect_words(&c, "tiny w3-8a2-4"); /* the image of features.0 is not counted */
    c.layer_bits = real;
    c.n_layer_bits = 1;
    expect_words(&c, "tiny w4a4, 1 float");
}

Test(model_info, the_longest_name_fits)
{
    char name[DT_NAME_MAX + 1], text[DT_MODEL_TEXT_BYTES];
    const dt_model_config c = config_of("tiny");
    dt_graph *g = quantized(&c);

    memset(name, 'n', DT_NAME_MAX);
    name[DT_NAME_MAX] = '\0';
    free(g->name);
    g->name = strdup(name);
    dt_graph_describe(g, text);
    cr_assert(strncmp(text, name, DT_NAME_MAX) == 0 && strcmp(text + DT_NAME_MAX, " w4a4") == 0, "%s", text);
    dt_graph_destroy(g);
}
