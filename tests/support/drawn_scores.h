/*
 * drawn_scores.h - what a network gives for drawn images.
 *
 * Used by: tests/compress/test_prune.c, tests/compress/test_factorize.c.
 */
#ifndef DRAWN_SCORES_H
#define DRAWN_SCORES_H

#include "debugged_model.h"

/* The scores of n drawn images of `size` numbers. */
static inline void drawn_scores(dt_model *m, int n, int size, float *scores)
{
    float *images = drawn_images(n, size);
    const dt_prediction how = { .normalised = images, .n = n };

    MUST(dt_predict(m, &how, scores));
    free(images);
}

/* The network of a text, with drawn parameters. */
static inline dt_model *drawn_reals(dt_context *ctx, const char *text)
{
    dt_model *m;

    MUST(dt_model_open(ctx, graph_of(text), &m));
    draw_parameters(m);
    return m;
}

#endif /* DRAWN_SCORES_H */
