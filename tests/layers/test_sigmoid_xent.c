/*
 * test_sigmoid_xent.c - sigmoid and binary cross entropy against the definition in double, and the step's sums.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* -log of the probability of each answer, straight from the definition: log p = -log(1 + exp(-z)). */
static void sigmoid_xent_oracle(const op_case *c, const double *const *in, double *out)
{
    const double s = (double)((const dt_softmax_xent_params *)c->params)->label_smoothing;
    const int64_t count = dt_count(&c->in[0].shape);

    *out = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double z = in[0][i], target = in[1][i] * (1.0 - s) + s / 2.0;
        const double yes = z < -700.0 ? -z : log(1.0 + exp(-z)), no = z > 700.0 ? z : log(1.0 + exp(z));
        *out += (target * yes + (1.0 - target) * no) / (double)count;
    }
}

static const dt_softmax_xent_params plain = { .label_smoothing = 0.0f }, smooth = { .label_smoothing = 0.1f };

#define XENT .op = DT_OP_SIGMOID_XENT, .n_in = 2, .oracle = sigmoid_xent_oracle
#define LABELS(...)                                                                        \
    {                                                                                      \
        OP_SHAPE(__VA_ARGS__), .type = DT_I32, .fill = FILL_COUNT, .size = 1.0f /* 0, 1 */ \
    }

static const op_case cases[] = {
    { XENT, .why = "one image", .params = &plain, .in = { { OP_SHAPE(1, 5), .size = 3.0f }, LABELS(1, 5) } },
    { XENT, .why = "odd sizes", .params = &plain, .in = { { OP_SHAPE(7, 33), .size = 3.0f }, LABELS(7, 33) } },
    { XENT, .why = "more images than a block has threads", .params = &plain,
      .in = { { OP_SHAPE(301, 3), .size = 3.0f }, LABELS(301, 3) } },
    { XENT, .why = "smoothed", .params = &smooth, .in = { { OP_SHAPE(33, 7), .size = 3.0f }, LABELS(33, 7) } },
    { XENT, .why = "one score, labels N", .params = &plain, .in = { { OP_SHAPE(9, 1), .size = 3.0f }, LABELS(9) } },
    { XENT, .why = "one score, labels N,1", .params = &smooth,
      .in = { { OP_SHAPE(9, 1), .size = 3.0f }, LABELS(9, 1) } },
    { XENT, .why = "scores of 0", .params = &plain, .in = { { OP_SHAPE(3, 5), .fill = FILL_ZERO }, LABELS(3, 5) } },
    { XENT, .why = "large scores do not overflow", .params = &smooth,
      .in = { { OP_SHAPE(5, 7), .size = 3000.0f }, LABELS(5, 7) } },
};

Test(sigmoid_xent, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Images: all three labels right; one wrong; a score of exactly 0, which says no, right and then wrong. */
Test(sigmoid_xent, counts_right_labels_and_adds_to_the_sums)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { XENT, .why = "sums", .params = &plain, .in = { { OP_SHAPE(4, 3) }, LABELS(4, 3) } };
    const float z[12] = { 1, -1, 2, 1, -1, 2, 0, 5, -5, 0, 5, -5 };
    const int32_t labels[12] = { 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0 };
    const dt_step start = {
        .sum = { .loss = 100.0, .n_correct = 10, .n_images = 20, .n_labels = 60, .n_exact = 5 },
    };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        dt_step step;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, z, sizeof z);
        op_rig_write(&rig, rig.in[1].data, labels, sizeof labels);
        op_rig_write(&rig, rig.ex.step, &start, sizeof start);
        op_rig_forward(&rig);
        float *loss = op_rig_read(&rig, rig.out.data, 1);
        cr_assert(dt_device_read(rig.ctx, &step, rig.ex.step, sizeof step) == DT_OK);
        cr_assert(step.sum.n_correct == 20 && step.sum.n_labels == 72,
                  "%s: %lld of %lld labels, expected 10 + 10 of 72", backends[b], (long long)step.sum.n_correct,
                  (long long)step.sum.n_labels);
        cr_assert(step.sum.n_exact == 7 && step.sum.n_images == 24, "%s: %lld of %lld images, expected 5 + 2 of 24",
                  backends[b], (long long)step.sum.n_exact, (long long)step.sum.n_images);
        cr_assert(fabs(step.sum.loss - 100.0 - 4.0 * (double)*loss) < 1e-5, "%s: the sum is %.9g, the mean %.9g",
                  backends[b], step.sum.loss, (double)*loss);
        free(loss);
        op_rig_close(&rig);
    }
}

Test(sigmoid_xent, a_nan_shows_in_the_loss)
{
    const float z[5] = { NAN };
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[0]));
    op_rig_write(&rig, rig.in[0].data, z, sizeof z);
    op_rig_forward(&rig);
    float *loss = op_rig_read(&rig, rig.out.data, 1);
    cr_assert(isnan(*loss), "the loss is %g", (double)*loss);
    free(loss);
    op_rig_close(&rig);
}

Test(sigmoid_xent, misfits_are_refused)
{
    const dt_softmax_xent_params all = { .label_smoothing = 1.0f };
    const op_case labels = { XENT, .why = "labels", .params = &plain, .in = { { OP_SHAPE(4, 3) }, LABELS(4) } };
    op_case_refused(&labels, DT_ERR_SHAPE, "scores are 4x3, labels are 4");
    const op_case turned = { XENT, .why = "turned", .params = &plain, .in = { { OP_SHAPE(4, 3) }, LABELS(3, 4) } };
    op_case_refused(&turned, DT_ERR_SHAPE, "scores are 4x3, labels are 3x4");
    const op_case smoothing = { XENT, .why = "smoothing", .params = &all, .in = { { OP_SHAPE(4, 3) }, LABELS(4, 3) } };
    op_case_refused(&smoothing, DT_ERR_ARGUMENT, "label_smoothing is 1, allowed are 0 to below 1");
    const op_case type = { XENT, .why = "type", .params = &plain, .in = { { OP_SHAPE(4, 3) }, { OP_SHAPE(4, 3) } } };
    op_case_refused(&type, DT_ERR_ARGUMENT, "labels i32");
}
