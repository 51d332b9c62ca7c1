/*
 * test_loss.c - softmax and cross entropy against the definition in double, and the step's sums.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* Straight from the definition: targets times log of the softmax, without the rearranging of the kernels. */
static void xent_oracle(const op_case *c, const double *const *in, double *out)
{
    const double s = (double)((const dt_softmax_xent_params *)c->params)->label_smoothing;
    const int64_t batch = c->in[0].shape.dim[0], classes = c->in[0].shape.dim[1];

    *out = 0.0;
    for (int64_t n = 0; n < batch; n++) {
        const double *z = in[0] + n * classes;
        for (int64_t o = 0; o < classes; o++) {
            double others = 0.0; /* 1 / p, safe for large logits */
            for (int64_t j = 0; j < classes; j++) others += exp(z[j] - z[o]);
            const double target = (1.0 - s) * (o == (int64_t)in[1][n]) + s / (double)classes;
            if (target > 0.0) *out += target * log(others) / (double)batch;
        }
    }
}

/* The same, and the divergence of two softmaxes, each from exponentials alone. */
static void taught_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_softmax_xent_params *p = c->params;
    const double share = (double)p->teacher_share, T = (double)p->teacher_temperature;
    const int64_t batch = c->in[0].shape.dim[0], classes = c->in[0].shape.dim[1];
    double of_labels, apart = 0.0;

    xent_oracle(c, in, &of_labels);
    for (int64_t n = 0; n < batch; n++) {
        const double *z = in[0] + n * classes, *u = in[2] + n * classes;
        for (int64_t o = 0; o < classes; o++) {
            double others_z = 0.0, others_u = 0.0; /* 1 / r and 1 / t */
            for (int64_t j = 0; j < classes; j++) others_z += exp((z[j] - z[o]) / T);
            for (int64_t j = 0; j < classes; j++) others_u += exp((u[j] - u[o]) / T);
            apart += 1.0 / others_u * log(others_z / others_u) / (double)batch;
        }
    }
    *out = (1.0 - share) * of_labels + share * T * T * apart;
}

static const dt_softmax_xent_params plain = { .label_smoothing = 0.0f }, smooth = { .label_smoothing = 0.1f };
static const dt_softmax_xent_params half = { 0.1f, 0.5f, 4.0f }, all_of_it = { 0.0f, 1.0f, 1.0f },
                                    none_of_it = { 0.1f, 0.0f, 2.0f };

#define XENT .op = DT_OP_SOFTMAX_XENT, .n_in = 2, .oracle = xent_oracle
#define LABELS(N, O)                                                                                  \
    {                                                                                                 \
        OP_SHAPE(N), .type = DT_I32, .fill = (O) > 1 ? FILL_COUNT : FILL_ZERO, .size = (float)((O)-1) \
    }

static const op_case cases[] = {
    { XENT, .why = "one image", .params = &plain, .in = { { OP_SHAPE(1, 10), .size = 3.0f }, LABELS(1, 10) } },
    { XENT, .why = "odd sizes", .params = &plain, .in = { { OP_SHAPE(7, 33), .size = 3.0f }, LABELS(7, 33) } },
    { XENT, .why = "smoothed", .params = &smooth, .in = { { OP_SHAPE(33, 7), .size = 3.0f }, LABELS(33, 7) } },
    { XENT, .why = "two classes", .params = &smooth, .in = { { OP_SHAPE(3, 2), .size = 5.0f }, LABELS(3, 2) } },
    { XENT, .why = "one class has no loss", .params = &plain, .in = { { OP_SHAPE(3, 1) }, LABELS(3, 1) } },
    { XENT, .why = "equal logits", .params = &plain, .in = { { OP_SHAPE(3, 10), .fill = FILL_ZERO }, LABELS(3, 10) } },
    { XENT, .why = "large logits do not overflow", .params = &smooth,
      .in = { { OP_SHAPE(5, 7), .size = 300.0f }, LABELS(5, 7) } },
};

#define TAUGHT .op = DT_OP_SOFTMAX_XENT, .n_in = 3, .oracle = taught_oracle
#define TEACHER(N, O)                                        \
    {                                                        \
        OP_SHAPE(N, O), .size = 4.0f, .state = 1 /* fixed */ \
    }

static const op_case taught[] = {
    { TAUGHT, .why = "half by a teacher", .params = &half,
      .in = { { OP_SHAPE(7, 10), .size = 3.0f }, LABELS(7, 10), TEACHER(7, 10) } },
    { TAUGHT, .why = "a teacher alone", .params = &all_of_it,
      .in = { { OP_SHAPE(33, 3), .size = 3.0f }, LABELS(33, 3), TEACHER(33, 3) } },
    { TAUGHT, .why = "a teacher without a share", .params = &none_of_it,
      .in = { { OP_SHAPE(1, 33), .size = 3.0f }, LABELS(1, 33), TEACHER(1, 33) } },
    { TAUGHT, .why = "large logits do not overflow", .params = &half,
      .in = { { OP_SHAPE(5, 7), .size = 300.0f }, LABELS(5, 7), TEACHER(5, 7) } },
};

Test(loss, with_a_teacher_it_matches_its_oracle)
{
    op_cases_run(taught, sizeof taught / sizeof taught[0]);
}

Test(loss, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Rows: right; wrong; two ties won by the lower index, which is the label; a tie whose label is the higher index. */
Test(loss, counts_right_answers_and_adds_to_the_sums)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { XENT, .why = "sums", .params = &plain, .in = { { OP_SHAPE(5, 3) }, LABELS(5, 3) } };
    const float z[15] = { 0, 2, 1, 0, 2, 1, 5, 0, 5, 5, 5, 0, 5, 0, 5 };
    const int32_t labels[5] = { 1, 2, 0, 0, 2 };
    const dt_step start = { .sum = { .loss = 100.0, .n_correct = 10, .n_images = 20 } };
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
        cr_assert(step.sum.n_correct == 13, "%s: n_correct is %lld, expected 10 + 3", backends[b],
                  (long long)step.sum.n_correct);
        cr_assert(step.sum.n_images == 25, "%s: n_images is %lld", backends[b], (long long)step.sum.n_images);
        cr_assert(fabs(step.sum.loss - 100.0 - 5.0 * (double)*loss) < 1e-5, "%s: the sum is %.9g, the mean %.9g",
                  backends[b], step.sum.loss, (double)*loss);
        free(loss);
        op_rig_close(&rig);
    }
}

Test(loss, a_nan_shows_in_the_loss)
{
    const float z[10] = { NAN };
    op_rig rig;
    cr_assert(op_rig_open(&rig, "cpu", 1, &cases[0]));
    op_rig_write(&rig, rig.in[0].data, z, sizeof z);
    op_rig_forward(&rig);
    float *loss = op_rig_read(&rig, rig.out.data, 1);
    cr_assert(isnan(*loss), "the loss is %g", (double)*loss);
    free(loss);
    op_rig_close(&rig);
}

Test(loss, misfits_are_refused)
{
    const dt_softmax_xent_params all = { .label_smoothing = 1.0f };
    const op_case labels = { XENT, .why = "labels", .params = &plain, .in = { { OP_SHAPE(4, 3) }, LABELS(5, 3) } };
    op_case_refused(&labels, DT_ERR_SHAPE, "logits are 4x3, labels are 5");
    const op_case smoothing = { XENT, .why = "smoothing", .params = &all, .in = { { OP_SHAPE(4, 3) }, LABELS(4, 3) } };
    op_case_refused(&smoothing, DT_ERR_ARGUMENT, "label_smoothing is 1, allowed are 0 to below 1");
    const op_case type = { XENT, .why = "type", .params = &plain, .in = { { OP_SHAPE(4, 3) }, { OP_SHAPE(4) } } };
    op_case_refused(&type, DT_ERR_ARGUMENT, "labels i32");
    const dt_softmax_xent_params cold = { 0.0f, 0.5f, 0.0f };
    const op_case temperature = { TAUGHT, .why = "temperature", .params = &cold,
                                  .in = { { OP_SHAPE(4, 3) }, LABELS(4, 3), TEACHER(4, 3) } };
    op_case_refused(&temperature, DT_ERR_ARGUMENT, "teacher_temperature 0, allowed are 0..1 and above 0");
    const op_case other = { TAUGHT, .why = "teacher", .params = &half,
                            .in = { { OP_SHAPE(4, 3) }, LABELS(4, 3), TEACHER(4, 4) } };
    op_case_refused(&other, DT_ERR_SHAPE, "a teacher's logits are 4x4, and those of the network are 4x3");
}
