/*
 * test_select_quant.c - quantizers taken out of a network: without them it is the network of reals, with all of them
 * its evaluation is that of the quantized network; other quantizers are refused.
 */
#include "../../quant/select_quant.h"
#include "../support/debugged_model.h"

enum { IMAGES = DEBUGGED_IMAGES, SCORES = DEBUGGED_IMAGES * DEBUGGED_CLASSES };

static void scores_of(dt_model *m, float *scores)
{
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    const dt_prediction how = { .normalised = images, .n = IMAGES };

    MUST(dt_predict(m, &how, scores));
    free(images);
}

static void check_scores(dt_model *a, dt_model *b, double most)
{
    float of_a[SCORES], of_b[SCORES];

    scores_of(a, of_a);
    scores_of(b, of_b);
    for (int i = 0; i < SCORES; i++) {
        cr_assert(fabs((double)of_a[i] - (double)of_b[i]) <= most, "score %d is %.9g and %.9g", i, (double)of_a[i],
                  (double)of_b[i]);
    }
}

Test(select_quant, without_quantizers_is_the_network_of_reals)
{
    dt_context *ctx = debugged_context();
    const dt_quantization fold = { .scheme = DT_SCHEME_FLOAT };
    dt_model *m, *folded, *q = debugged_model(ctx, 8), *real;

    MUST(dt_model_open(ctx, graph_of(debugged_network), &m));
    draw_parameters(m);
    MUST(dt_quantize(m, &fold, &folded));
    MUST(dt_quantized_real(q, &real));
    for (int i = 0; i < real->graph->n_values; i++) cr_assert(real->graph->value[i]->facts.n_scale == 0);
    check_scores(real, folded, 1e-5); /* the sums of the last layer are taken in another order */
    dt_model_destroy(real);
    dt_model_destroy(q);
    dt_model_destroy(folded);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}

Test(select_quant, with_all_of_them_is_the_quantized_network)
{
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 4), *all;
    dt_graph *now, *selected;
    char *keep;

    MUST(dt_model_snapshot(q, &now));
    keep = malloc((size_t)now->n_nodes);
    memset(keep, 1, (size_t)now->n_nodes);
    MUST(dt_quant_select(now, keep, &selected));
    MUST(dt_model_open(ctx, selected, &all));
    check_scores(all, q, 1e-5); /* of 4 bits one code is about 0.5 */
    free(keep);
    dt_graph_destroy(now);
    dt_model_destroy(all);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

Test(select_quant, refuses_quantizers_of_other_kinds)
{
    dt_context *ctx = debugged_context();
    dt_model_config bits;
    dt_graph *g = graph_of(debugged_network);
    dt_model *m, *real = NULL;

    MUST(dt_model_config_default("vgg16", &bits));
    bits.height = bits.width = bits.channels = bits.n_classes = 0;
    bits.wbits = bits.abits = 4;
    MUST(dt_model_create_of(ctx, g, &bits, &m));
    cr_assert(dt_quantized_real(m, &real) == DT_ERR_UNSUPPORTED && real == NULL);
    cr_assert(strstr(dt_last_error(), "cannot be taken out") != NULL, "%s", dt_last_error());
    dt_model_destroy(m);
    dt_graph_destroy(g);
    dt_context_destroy(ctx);
}
