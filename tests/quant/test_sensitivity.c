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

/* ---- second order */

/* What the classifier reads of each image, and the softmax of its scores. */
typedef struct {
    float x[IMAGES][DEBUGGED_FILTERS];
    double p[IMAGES][CLASSES];
} classified;

static int is_flat(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "flat") == 0;
}

static dt_status keep_flat(void *user, const dt_value_batch *v)
{
    classified *c = user;
    cr_assert(v->n_scale == 0 && v->dim[1] == DEBUGGED_FILTERS);
    memcpy(c->x[v->first], v->values, (size_t)v->dim[0] * sizeof c->x[0]);
    return DT_OK;
}

static void classify(dt_model *real, const dt_dataset *d, classified *c)
{
    float scores[IMAGES * CLASSES];
    const dt_prediction how = { .dataset = d, .n = IMAGES, .look = keep_flat, .wants = is_flat, .user = c };
    MUST(dt_predict(real, &how, scores));
    for (int i = 0; i < IMAGES; i++) {
        double sum = 0.0;
        for (int k = 0; k < CLASSES; k++) sum += exp((double)scores[i * CLASSES + k]);
        for (int k = 0; k < CLASSES; k++) c->p[i][k] = exp((double)scores[i * CLASSES + k]) / sum;
    }
}

/* dL/dw of class k and input j of a linear layer is (p_k - [k is the label]) x_j. Each class has a scale: its largest
 * weight has the code 3. */
static double rise_of_classifier(dt_model *real, const classified *c, const int32_t *labels)
{
    float w[CLASSES * DEBUGGED_FILTERS];
    double rise = 0.0;
    MUST(dt_model_read(real, dt_model_find(real, "classifier.weight"), w));
    for (int k = 0; k < CLASSES; k++) {
        double most = 0.0;
        for (int j = 0; j < DEBUGGED_FILTERS; j++) most = fmax(most, fabs((double)w[k * DEBUGGED_FILTERS + j]));
        for (int j = 0; j < DEBUGGED_FILTERS; j++) {
            const double is = (double)w[k * DEBUGGED_FILTERS + j], error = round(is / (most / 3)) * (most / 3) - is;
            for (int i = 0; i < IMAGES; i++) {
                const double g = (c->p[i][k] - (labels[i] == k)) * (double)c->x[i][j];
                rise += 0.5 * g * g * error * error / IMAGES;
            }
        }
    }
    return rise;
}

Test(sensitivity, estimates_what_rounded_weights_add_to_the_loss)
{
    static classified c;
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 3), *real;
    float *images = drawn_images(IMAGES, DEBUGGED_IMAGE);
    int32_t labels[IMAGES];
    dt_dataset *d;
    dt_sensitivity *s;
    for (int i = 0; i < IMAGES; i++) labels[i] = i % CLASSES;
    const dt_images in_memory = { .name = "drawn",
                                  .reals = images,
                                  .labels = labels,
                                  .n = IMAGES,
                                  .height = DEBUGGED_SIDE,
                                  .width = DEBUGGED_SIDE,
                                  .channels = DEBUGGED_CHANNELS,
                                  .n_classes = CLASSES,
                                  .std = { 1, 1, 1 } };
    MUST(dt_dataset_from_memory(&in_memory, &d));
    const dt_prediction how = { .dataset = d, .n = IMAGES };

    MUST(dt_quantized_real(q, &real));
    classify(real, d, &c);
    const double want = rise_of_classifier(real, &c, labels);
    MUST(dt_quantized_sensitivity(q, &how, labels, &s));
    const double is = s->row[ROWS - 1].rise;
    /* gradients of the classifier are of f32 sums, and its backward in mixed precision has bf16 operands: 2^-8 each */
    cr_assert(want > 0.0 && fabs(is - want) < 0.02 * want, "%g, expected %g", is, want);
    cr_assert(isnan(s->row[0].rise) && isnan(s->row[3].rise), "no weights");
    cr_assert(s->row[1].rise > 0.0 && s->row[2].rise > 0.0);
    dt_sensitivity_destroy(s);

    const dt_prediction loose = { .normalised = images, .n = IMAGES };
    MUST(dt_quantized_sensitivity(q, &loose, labels, &s));
    cr_assert(isnan(s->row[1].rise), "images without a data set have no estimate");
    dt_sensitivity_destroy(s);
    dt_dataset_close(d);
    dt_model_destroy(real);
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
