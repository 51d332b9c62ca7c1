/*
 * test_sensitivity.c - what each layer's quantizers cost the scores: the ends are the network of reals and the
 * quantized one; a layer of few bits is found; numbers are those of the scores.
 */
#include "../support/debugged_model.h"

enum { IMAGES = DEBUGGED_IMAGES, CLASSES = DEBUGGED_CLASSES, ROWS = 6 };

static double snr(const float *real, const float *is, int n)
{
    double signal = 0.0, noise = 0.0;

    for (int i = 0; i < n; i++) {
        signal += (double)real[i] * (double)real[i];
        noise += ((double)is[i] - (double)real[i]) * ((double)is[i] - (double)real[i]);
    }
    return 10.0 * log10(signal / noise);
}

static int largest(const float *score)
{
    int best = 0;

    for (int c = 1; c < CLASSES; c++) best = score[c] > score[best] ? c : best;
    return best;
}

static void scores_of(dt_model *m, const float *images, float *scores)
{
    const dt_prediction how = { .normalised = images, .n = IMAGES };

    MUST(dt_predict(m, &how, scores));
}

Test(sensitivity, begins_at_the_network_of_reals_and_ends_at_the_quantized_one)
{
    static const char *const names[ROWS] = { "image", "stem", "branch", "join", "pool", "classifier" };
    static const char *const ops[ROWS] = { "QUANTIZE", "CONV_2D", "CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED" };
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 5), *real;
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE), of_real[IMAGES * CLASSES], of_q[IMAGES * CLASSES];
    const dt_prediction how = { .normalised = images, .n = IMAGES };
    int32_t labels[IMAGES];
    dt_sensitivity *s;
    int changed = 0, right = 0;

    MUST(dt_quantized_real(q, &real));
    scores_of(real, images, of_real);
    scores_of(q, images, of_q);
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = i % 3 ? largest(of_real + i * CLASSES) : 0;
        changed += largest(of_real + i * CLASSES) != largest(of_q + i * CLASSES);
        right += largest(of_q + i * CLASSES) == labels[i];
    }
    MUST(dt_quantized_sensitivity(q, &how, labels, &s));
    cr_assert(s->n == ROWS && s->images == IMAGES);
    for (int i = 0; i < ROWS; i++) {
        const int has_weights = i == 1 || i == 2 || i == 5;
        cr_assert(strcmp(s->row[i].name, names[i]) == 0 && strcmp(s->row[i].op, ops[i]) == 0, "row %d is %s %s", i,
                  s->row[i].op, s->row[i].name);
        cr_assert(s->row[i].wbits == (has_weights ? 5 : 0) && s->row[i].abits == 5, "row %d", i);
        /* one layer adds less noise than all, but for noises that cancel */
        cr_assert(s->row[i].alone.snr > s->all.snr - 3.0 && isfinite(s->row[i].alone.snr), "row %d: %g dB", i,
                  s->row[i].alone.snr);
    }
    cr_assert(isinf(s->real.snr) && s->real.changed == 0);
    /* evaluation sums the same numbers as integers */
    cr_assert(fabs(s->all.snr - snr(of_real, of_q, IMAGES * CLASSES)) < 0.01, "%g dB, by evaluation %g", s->all.snr,
              snr(of_real, of_q, IMAGES * CLASSES));
    cr_assert(s->all.changed == changed && s->all.right == right);
    dt_sensitivity_destroy(s);
    dt_model_destroy(real);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
    free(images);
}

/* Makes the range of a value 200 times as wide, which leaves it but a few codes. */
static void spoil_range(dt_model *q, const char *name)
{
    const int i = dt_model_find(q, name);
    float ends[2];

    cr_assert(i >= 0, "no %s", name);
    MUST(dt_model_read(q, i, ends));
    ends[0] *= 200.0f;
    ends[1] *= 200.0f;
    MUST(dt_model_write(q, i, ends));
}

Test(sensitivity, finds_the_layer_that_costs_the_scores)
{
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 8);
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    const dt_prediction how = { .normalised = images, .n = IMAGES };
    dt_sensitivity *s;

    spoil_range(q, "branch.biased.range");
    MUST(dt_quantized_sensitivity(q, &how, NULL, &s));
    cr_assert(s->all.right == -1 && s->row[2].alone.right == -1);
    for (int i = 0; i < ROWS; i++) {
        const int is_spoiled = strcmp(s->row[i].name, "branch") == 0;
        cr_assert((s->row[i].alone.snr < 20.0) == is_spoiled, "%s alone: %g dB", s->row[i].name, s->row[i].alone.snr);
        cr_assert((s->row[i].without.snr > 25.0) == is_spoiled, "without %s: %g dB", s->row[i].name,
                  s->row[i].without.snr);
    }
    dt_sensitivity_destroy(s);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
    free(images);
}

Test(sensitivity, refuses_a_network_of_reals)
{
    dt_context *ctx = debugged_context();
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    const dt_prediction how = { .normalised = images, .n = IMAGES };
    dt_sensitivity *s = NULL;
    dt_model *m;

    MUST(dt_model_open(ctx, graph_of(debugged_network), &m));
    cr_assert(dt_quantized_sensitivity(m, &how, NULL, &s) == DT_ERR_UNSUPPORTED && s == NULL);
    cr_assert(strstr(dt_last_error(), "small has no affine quantizers") != NULL, "%s", dt_last_error());
    dt_model_destroy(m);
    dt_context_destroy(ctx);
    free(images);
}
