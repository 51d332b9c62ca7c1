/*
 * test_caps_loss.c - the margin loss and the reconstruction loss against their definitions in double, and the step's
 *                    sums.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static double square(double x)
{
    return x * x;
}

/* The formula with T, as the paper writes it. */
static double margin_oracle_with(const op_case *c, const double *const *in, double up, double low, double lambda)
{
    const int64_t *d = c->in[0].shape.dim;
    double sum = 0.0;

    for (int64_t i = 0; i < d[0] * d[1]; i++) {
        const double t = i % d[1] == (int64_t)in[1][i / d[1]] ? 1.0 : 0.0, y = in[0][i];
        sum += t * square(fmax(0.0, up - y)) + lambda * (1.0 - t) * square(fmax(0.0, y - low));
    }
    return sum / (double)d[0];
}

static void margin_oracle(const op_case *c, const double *const *in, double *out)
{
    *out = margin_oracle_with(c, in, 0.9, 0.1, 0.5);
}

static void reconstruction_oracle(const op_case *c, const double *const *in, double *out)
{
    const double scale = (double)((const dt_reconstruction_loss_params *)c->params)->scale;
    const int64_t count = dt_count(&c->in[0].shape);

    *out = 0.0;
    for (int64_t i = count - 1; i >= 0; i--) {
        *out += scale / (double)c->in[0].shape.dim[0] * square(fabs(in[1][i] - in[0][i]));
    }
}

static const dt_reconstruction_loss_params usual = { 0.0005f }, whole = { 1.0f }, none = { 0.0f };

#define MARGIN      .op = DT_OP_MARGIN_LOSS, .n_in = 2, .oracle = margin_oracle
#define RECONSTRUCT .op = DT_OP_RECONSTRUCTION_LOSS, .n_in = 2, .oracle = reconstruction_oracle
#define LABELS(N, J)                                                                                  \
    {                                                                                                 \
        OP_SHAPE(N), .type = DT_I32, .fill = (J) > 1 ? FILL_COUNT : FILL_ZERO, .size = (float)((J)-1) \
    }

static const op_case cases[] = {
    { MARGIN, .why = "one image, one class", .in = { { OP_SHAPE(1, 1) }, LABELS(1, 1) } },
    { MARGIN, .why = "ten classes", .in = { { OP_SHAPE(7, 10), .fill = FILL_POSITIVE, .size = 0.5f }, LABELS(7, 10) } },
    { MARGIN, .why = "all within their margins or far beyond",
      .in = { { OP_SHAPE(33, 7), .size = 2.0f }, LABELS(33, 7) } },
    { MARGIN, .why = "zeros: labels miss by 0.9", .in = { { OP_SHAPE(3, 10), .fill = FILL_ZERO }, LABELS(3, 10) } },
    { MARGIN, .why = "more images than a block has threads", .no_slopes = "many",
      .in = { { OP_SHAPE(601, 10), .fill = FILL_POSITIVE, .size = 0.5f }, LABELS(601, 10) } },
    { RECONSTRUCT, .why = "one value", .params = &whole, .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1, 1) } } },
    { RECONSTRUCT, .why = "features against an image", .params = &whole,
      .in = { { OP_SHAPE(7, 99) }, { OP_SHAPE(7, 3, 11, 3), .state = 1 } } },
    { RECONSTRUCT, .why = "the usual scale", .params = &usual,
      .in = { { OP_SHAPE(3, 7, 7, 1) }, { OP_SHAPE(3, 7, 7, 1) } } },
    { RECONSTRUCT, .why = "images past a block, integers", .params = &whole, .no_slopes = "many", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(33, 785), .fill = FILL_INTEGER }, { OP_SHAPE(33, 785), .fill = FILL_INTEGER, .state = 1 } } },
    { RECONSTRUCT, .why = "scale 0: no loss", .params = &none, .in = { { OP_SHAPE(3, 7) }, { OP_SHAPE(3, 7) } } },
    { RECONSTRUCT, .why = "large values", .params = &usual,
      .in = { { OP_SHAPE(3, 7), .size = 1e15f }, { OP_SHAPE(3, 7), .size = 1e15f } } },
};

Test(caps_loss, losses_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

static const dt_step start = { .sum = { .loss = 100.0, .reconstruction = 50.0, .n_correct = 10, .n_images = 20 } };
static const char *const backends[] = { "cpu", "cuda" };

static dt_step read_step(const op_rig *rig)
{
    dt_step step;
    cr_assert(dt_device_read(rig->ctx, &step, rig->ex.step, sizeof step) == DT_OK);
    return step;
}

static float read_loss(const op_rig *rig)
{
    float *loss = op_rig_read(rig, rig->out.data, 1), value = *loss;
    free(loss);
    return value;
}

/* Rows: right; wrong; two ties won by the lower index, which is the label; a tie whose label is the higher index. */
Test(caps_loss, margin_loss_counts_right_answers_and_adds_to_the_sums)
{
    const op_case c = { MARGIN, .why = "sums", .in = { { OP_SHAPE(5, 3) }, LABELS(5, 3) } };
    const float lengths[15] = {
        0.0f, 0.9f, 0.1f, 0.0f, 0.2f, 0.1f, 0.5f, 0.0f, 0.5f, 0.5f, 0.5f, 0.0f, 0.5f, 0.0f, 0.5f
    };
    const int32_t labels[5] = { 1, 2, 0, 0, 2 };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, lengths, sizeof lengths);
        op_rig_write(&rig, rig.in[1].data, labels, sizeof labels);
        op_rig_write(&rig, rig.ex.step, &start, sizeof start);
        op_rig_forward(&rig);
        const dt_step step = read_step(&rig);
        /* 0 + (0.64 + 0.5 * 0.01) + (0.16 + 0.5 * 0.16) thrice */
        cr_assert(fabs(step.sum.loss - 101.365) < 1e-6, "%s: the sum is %.9g", backends[b], step.sum.loss);
        cr_assert(fabs((double)read_loss(&rig) - 1.365 / 5.0) < 1e-6, "%s: the mean is %.9g", backends[b],
                  (double)read_loss(&rig));
        cr_assert(step.sum.n_correct == 13 && step.sum.n_images == 25, "%s: %lld of %lld correct, expected 13 of 25",
                  backends[b], (long long)step.sum.n_correct, (long long)step.sum.n_images);
        cr_assert(step.sum.reconstruction == 50.0, "%s: reconstruction is %g", backends[b], step.sum.reconstruction);
        op_rig_close(&rig);
    }
}

/* The same node before and after the host has set in.hard, as a captured step sees it. */
static void check_hard(const char *backend, const op_case *c)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 1, c)) return;
    const int64_t count = dt_count(&rig.in[0].shape), classes = rig.in[0].shape.dim[1];
    float *lengths = op_rig_read(&rig, rig.in[0].data, count), *host = op_rig_read(&rig, rig.in[1].data, 7);
    double *real[2] = { calloc((size_t)count, sizeof **real), calloc(7, sizeof **real) };
    const int32_t *labels = (const int32_t *)host; /* i32 is as wide as f32 */
    const float dloss = 7.0f;

    for (int64_t i = 0; i < count; i++) real[0][i] = (double)lengths[i];
    for (int i = 0; i < 7; i++) real[1][i] = (double)labels[i];
    op_rig_forward(&rig);
    const float normal = read_loss(&rig);
    op_rig_write(&rig, rig.ex.step, &(dt_step){ .in.hard = 1 }, sizeof(dt_step));
    op_rig_forward(&rig);
    op_rig_backward(&rig, &dloss);
    const double want = margin_oracle_with(c, (const double *const *)real, 0.95, 0.05, 0.8);
    cr_assert(fabs((double)read_loss(&rig) - want) < 1e-6 && (double)normal < want,
              "%s: the hard loss is %.9g, expected %.9g; the normal one %.9g", backend, (double)read_loss(&rig), want,
              (double)normal);
    float *got = op_rig_read(&rig, rig.in[0].grad, count);
    for (int64_t i = 0; i < count; i++) {
        const double y = real[0][i], slope = i % classes == labels[i / classes] ? -2.0 * fmax(0.0, 0.95 - y)
                                                                                : 1.6 * fmax(0.0, y - 0.05);
        cr_assert(fabs((double)got[i] - 0.5 - slope) < 1e-6, "%s: 0.5 + gradient [%lld] is %.9g, expected %.9g",
                  backend, (long long)i, (double)got[i], 0.5 + slope);
    }
    free(lengths);
    free(host);
    free(real[0]);
    free(real[1]);
    free(got);
    op_rig_close(&rig);
}

Test(caps_loss, hard_training_takes_other_margins)
{
    for (int b = 0; b < 2; b++) check_hard(backends[b], &cases[1]);
}

Test(caps_loss, reconstruction_loss_adds_to_the_sums)
{
    const dt_reconstruction_loss_params quarter = { 0.25f };
    const op_case c = { RECONSTRUCT, .why = "sums", .params = &quarter,
                        .in = { { OP_SHAPE(2, 3) }, { OP_SHAPE(2, 3) } } };
    const float y[6] = { 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f }, x[6] = { 1.0f, 0.0f, 0.0f, 4.0f, 5.0f, 5.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, y, sizeof y);
        op_rig_write(&rig, rig.in[1].data, x, sizeof x);
        op_rig_write(&rig, rig.ex.step, &start, sizeof start);
        op_rig_forward(&rig);
        const dt_step step = read_step(&rig); /* 4 + 9 + 1 */
        cr_assert(step.sum.loss == 103.5 && step.sum.reconstruction == 64.0, "%s: the sums are %.9g and %.9g",
                  backends[b], step.sum.loss, step.sum.reconstruction);
        cr_assert(step.sum.n_images == 20 && step.sum.n_correct == 10, "%s: images were counted", backends[b]);
        cr_assert(read_loss(&rig) == 1.75f, "%s: the mean is %.9g", backends[b], (double)read_loss(&rig));
        op_rig_close(&rig);
    }
}

Test(caps_loss, a_nan_shows_in_the_loss)
{
    const float lengths[1] = { NAN };
    const op_case *const losses[] = { &cases[0], &cases[5] };
    for (int i = 0; i < 4; i++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[i / 2], 1, losses[i % 2])) continue;
        op_rig_write(&rig, rig.in[0].data, lengths, sizeof lengths);
        op_rig_forward(&rig);
        cr_assert(isnan(read_loss(&rig)), "%s: the loss is %g", backends[i / 2], (double)read_loss(&rig));
        op_rig_close(&rig);
    }
}

Test(caps_loss, misfits_are_refused)
{
    const dt_reconstruction_loss_params negative = { -1.0f };
    const op_case labels = { MARGIN, .why = "labels", .in = { { OP_SHAPE(4, 3) }, LABELS(5, 3) } };
    op_case_refused(&labels, DT_ERR_SHAPE, "lengths are 4x3, labels are 5");
    const op_case type = { MARGIN, .why = "type", .in = { { OP_SHAPE(4, 3) }, { OP_SHAPE(4) } } };
    op_case_refused(&type, DT_ERR_ARGUMENT, "labels i32");
    const op_case pixels = { RECONSTRUCT, .why = "pixels", .params = &usual,
                             .in = { { OP_SHAPE(4, 784) }, { OP_SHAPE(4, 28, 28, 3) } } };
    op_case_refused(&pixels, DT_ERR_SHAPE, "y is 4x784, x is 4x28x28x3");
    const op_case images = { RECONSTRUCT, .why = "images", .params = &usual,
                             .in = { { OP_SHAPE(4, 6) }, { OP_SHAPE(2, 12) } } };
    op_case_refused(&images, DT_ERR_SHAPE, "y is 4x6, x is 2x12");
    const op_case scale = { RECONSTRUCT, .why = "scale", .params = &negative,
                            .in = { { OP_SHAPE(4, 6) }, { OP_SHAPE(4, 6) } } };
    op_case_refused(&scale, DT_ERR_ARGUMENT, "scale is -1, must not be negative");
    const op_case codes = { RECONSTRUCT, .why = "codes", .params = &usual,
                            .in = { { OP_SHAPE(4, 6), .fill = FILL_INTEGER, .scale = 0.5f }, { OP_SHAPE(4, 6) } } };
    op_case_refused(&codes, DT_ERR_ARGUMENT, "must be real f32 values");
}
