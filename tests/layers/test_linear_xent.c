/*
 * test_linear_xent.c - the classifier with its loss against the definition in double, and against the two operators
 * that it stands for.
 */
#include "../support/op_case.h"

#include "../../core/tape/tape.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double logit(const op_case *c, const double *const *in, int64_t n, int64_t o)
{
    const int64_t inputs = c->in[1].shape.dim[1];
    double z = in[2][o];

    for (int64_t i = 0; i < inputs; i++) z += in[0][n * inputs + i] * in[1][o * inputs + i];
    return z;
}

/* Straight from the definition: targets times log of the softmax, without the rearranging of the kernels. */
static void head_oracle(const op_case *c, const double *const *in, double *out)
{
    const double s = (double)((const dt_softmax_xent_params *)c->params)->label_smoothing;
    const int64_t batch = c->in[0].shape.dim[0], classes = c->in[1].shape.dim[0];

    *out = 0.0;
    for (int64_t n = 0; n < batch; n++) {
        for (int64_t o = 0; o < classes; o++) {
            double others = 0.0; /* 1 / p, safe for large logits */
            for (int64_t j = 0; j < classes; j++) others += exp(logit(c, in, n, j) - logit(c, in, n, o));
            const double target = (1.0 - s) * (o == (int64_t)in[3][n]) + s / (double)classes;
            if (target > 0.0) *out += target * log(others) / (double)batch;
        }
    }
}

static const dt_softmax_xent_params plain = { .label_smoothing = 0.0f }, smooth = { .label_smoothing = 0.1f };

#define HEAD .op = DT_OP_LINEAR_XENT, .n_in = 4, .oracle = head_oracle
#define LABELS(N, O)                                                                                  \
    {                                                                                                 \
        OP_SHAPE(N), .type = DT_I32, .fill = (O) > 1 ? FILL_COUNT : FILL_ZERO, .size = (float)((O)-1) \
    }
#define SIZES(N, I, O)                                                        \
    {                                                                         \
        { OP_SHAPE(N, I) }, { OP_SHAPE(O, I) }, { OP_SHAPE(O) }, LABELS(N, O) \
    }

static const op_case cases[] = {
    { HEAD, .why = "one image", .params = &plain, .in = SIZES(1, 7, 10) },
    { HEAD, .why = "one of each has no loss", .params = &plain, .in = SIZES(1, 1, 1) },
    { HEAD, .why = "odd sizes, smoothed", .params = &smooth, .in = SIZES(7, 33, 3) },
    { HEAD, .why = "more images than threads have rows", .params = &smooth, .in = SIZES(67, 9, 5) },
    { HEAD, .why = "two pieces of inputs, the second ragged", .params = &plain, .in = SIZES(3, 133, 4) },
    { HEAD, .why = "three rounds of classes", .params = &smooth, .in = SIZES(9, 5, 33) },
    { HEAD, .why = "x of one cell", .params = &smooth,
      .in = { { OP_SHAPE(5, 1, 1, 7) }, { OP_SHAPE(3, 7) }, { OP_SHAPE(3) }, LABELS(5, 3) } },
    { HEAD, .why = "x of four cells", .params = &smooth,
      .in = { { OP_SHAPE(5, 2, 2, 3) }, { OP_SHAPE(4, 12) }, { OP_SHAPE(4) }, LABELS(5, 4) } },
    { HEAD, .why = "zeros", .params = &plain,
      .in = { { OP_SHAPE(3, 7), .fill = FILL_ZERO },
              { OP_SHAPE(4, 7), .fill = FILL_ZERO },
              { OP_SHAPE(4), .fill = FILL_ZERO },
              LABELS(3, 4) } },
    { HEAD, .why = "large logits do not overflow", .params = &smooth,
      .in = { { OP_SHAPE(5, 7), .size = 10.0f }, { OP_SHAPE(4, 7), .size = 5.0f }, { OP_SHAPE(4) }, LABELS(5, 4) } },
};

Test(linear_xent, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* ---- against LINEAR and SOFTMAX_XENT ---- */

static const char *const backends[] = { "cpu", "cuda" };

enum { N = 70, I = 133, O = 10 };
enum { FIRST = 5, ALL = N + FIRST }; /* where the batch begins in the order of all images */
enum { X, W, B, LABELS, ALL_LABELS, ORDER, LEAVES };

/* How the loss gets its labels. */
typedef enum { PAIR, MERGED, FROM_ALL } head_form;

/* What a step leaves on the host. */
typedef struct {
    dt_step_sum sum;
    float loss, dx[N * I], dw[O * I], db[O];
} head_result;

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s", dt_last_error());
}

static dt_tensor leaf(dt_context *ctx, dt_shape shape, const void *host, dt_dtype type)
{
    dt_tensor t = { .type = type, .shape = shape, .wants_grad = type == DT_F32, .name = "leaf" };
    must(dt_device_alloc(ctx, dt_tensor_bytes(&t), &t.data));
    must(dt_device_write(ctx, t.data, host, dt_tensor_bytes(&t)));
    if (t.wants_grad) must(dt_device_alloc(ctx, dt_grad_bytes(&t), &t.grad));
    return t;
}

static void leaf_free(dt_context *ctx, dt_tensor *t)
{
    dt_device_free(ctx, t->grad, t->grad ? dt_grad_bytes(t) : 0);
    dt_device_free(ctx, t->data, dt_tensor_bytes(t));
}

static dt_tensor *record(dt_tape *tape, head_form form, dt_tensor *leaves)
{
    const dt_linear_params in_order = { .in_order = 1 };
    dt_tensor *const all[] = { &leaves[X], &leaves[W], &leaves[B], &leaves[form == FROM_ALL ? ALL_LABELS : LABELS],
                               &leaves[ORDER] };
    dt_tensor *z, *loss;

    if (form != PAIR) {
        must(dt_tape_apply(tape, DT_OP_LINEAR_XENT, "head", &smooth, all, form == FROM_ALL ? 5 : 4, &loss));
        return loss;
    }
    must(dt_tape_apply(tape, DT_OP_LINEAR, "logits", &in_order, all, 3, &z));
    dt_tensor *const in[] = { z, &leaves[LABELS] };
    must(dt_tape_apply(tape, DT_OP_SOFTMAX_XENT, "loss", &smooth, in, 2, &loss));
    return loss;
}

static void run_tape(dt_context *ctx, head_form form, dt_tensor leaves[LEAVES], head_result *r)
{
    const dt_step_in step = { .first = FIRST };
    dt_tape *tape;
    must(dt_device_write(ctx, &ctx->step->in, &step, sizeof step));
    must(dt_tape_create(ctx, NULL, &tape));
    dt_tensor *loss = record(tape, form, leaves);
    must(dt_tape_compile(tape, loss));
    must(dt_device_zero(ctx, &ctx->step->sum, sizeof ctx->step->sum));
    must(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));
    must(dt_device_read(ctx, &r->loss, loss->data, sizeof r->loss));
    must(dt_tape_run(tape, DT_PASS_BACKWARD, NULL, NULL));
    must(dt_device_read(ctx, &r->sum, &ctx->step->sum, sizeof r->sum));
    must(dt_device_read(ctx, r->dx, leaves[0].grad, sizeof r->dx));
    must(dt_device_read(ctx, r->dw, leaves[1].grad, sizeof r->dw));
    must(dt_device_read(ctx, r->db, leaves[2].grad, sizeof r->db));
    dt_tape_destroy(tape);
}

/* Evenly spread in [-1, 1) */
static void spread(float *to, int n, int seed)
{
    for (int i = 0; i < n; i++) to[i] = (float)fmod(0.618033988749895 * (i + 1) + 0.37 * seed, 1.0) * 2.0f - 1.0f;
}

/* 0 if the backend is not here */
static int run_all(const char *backend, head_result result[FROM_ALL + 1])
{
    static float x[N * I], w[O * I], b[O];
    int32_t labels[N], all_labels[ALL] = { 0 }, order[ALL];
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = backend;
    const dt_status opened = dt_context_create(&opt, &ctx);
    if (opened == DT_ERR_UNSUPPORTED && strcmp(backend, "cpu") != 0) return 0;
    must(opened);
    spread(x, N * I, 1);
    spread(w, O * I, 2);
    spread(b, O, 3);
    for (int n = 0; n < ALL; n++) order[n] = n * 7 % ALL;
    for (int n = 0; n < N; n++) all_labels[order[FIRST + n]] = labels[n] = n * 7 % O;
    dt_tensor leaves[LEAVES] = { leaf(ctx, (dt_shape){ 2, { N, I } }, x, DT_F32),
                                 leaf(ctx, (dt_shape){ 2, { O, I } }, w, DT_F32),
                                 leaf(ctx, (dt_shape){ 1, { O } }, b, DT_F32),
                                 leaf(ctx, (dt_shape){ 1, { N } }, labels, DT_I32),
                                 leaf(ctx, (dt_shape){ 1, { ALL } }, all_labels, DT_I32),
                                 leaf(ctx, (dt_shape){ 1, { ALL } }, order, DT_I32) };
    for (int form = PAIR; form <= FROM_ALL; form++) run_tape(ctx, (head_form)form, leaves, &result[form]);
    for (int i = 0; i < LEAVES; i++) leaf_free(ctx, &leaves[i]);
    dt_context_destroy(ctx);
    return 1;
}

static void check_close(const char *backend, const char *what, const float *pair, const float *head, int n,
                        double tolerance)
{
    double largest = 0.0;

    for (int i = 0; i < n; i++) largest = fmax(largest, fabs((double)pair[i]));
    for (int i = 0; i < n; i++) {
        cr_assert(fabs((double)pair[i] - (double)head[i]) <= tolerance * largest,
                  "%s: %s[%d] is %.9g, of the pair %.9g", backend, what, i, (double)head[i], (double)pair[i]);
    }
}

/* On the CPU gradients are the same sums; on CUDA those of 10 classes and of 70 images are in another order: 2^-24 of
 * the largest for each term. */
Test(linear_xent, is_what_the_pair_computes)
{
    static head_result result[FROM_ALL + 1];
    const head_result *pair = &result[PAIR], *head = &result[MERGED];

    for (int i = 0; i < 2; i++) {
        const double tolerance = i == 0 ? 0.0 : N * 0x1p-24;
        if (!run_all(backends[i], result)) continue;
        cr_assert(pair->loss == head->loss, "%s: the loss is %.9g, of the pair %.9g", backends[i], (double)head->loss,
                  (double)pair->loss);
        cr_assert(memcmp(&pair->sum, &head->sum, sizeof pair->sum) == 0,
                  "%s: sums differ: %.17g and %.17g, %lld and %lld", backends[i], head->sum.loss, pair->sum.loss,
                  (long long)head->sum.n_correct, (long long)pair->sum.n_correct);
        check_close(backends[i], "dx", pair->dx, head->dx, N * I, tolerance);
        check_close(backends[i], "dw", pair->dw, head->dw, O * I, tolerance);
        check_close(backends[i], "db", pair->db, head->db, O, tolerance);
        cr_assert(memcmp(head, &result[FROM_ALL], sizeof *head) == 0, "%s: with the labels of all images", backends[i]);
    }
}

/* x picks a column of w: rows are right, wrong, a tie won by the lower class, a tie whose label is the higher. */
Test(linear_xent, counts_right_answers_and_adds_to_the_sums)
{
    const op_case c = { HEAD, .why = "sums", .params = &plain, .in = SIZES(4, 2, 3) };
    const float x[8] = { 1, 0, 1, 0, 0, 1, 0, 1 }, w[6] = { 0, 5, 2, 0, 1, 5 }, b[3] = { 0, 0, 0 };
    const int32_t labels[4] = { 1, 2, 0, 2 };
    const dt_step start = { .sum = { .loss = 100.0, .n_correct = 10, .n_images = 20 } };
    for (int i = 0; i < 2; i++) {
        op_rig rig;
        dt_step step;
        if (!op_rig_open(&rig, backends[i], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_write(&rig, rig.in[1].data, w, sizeof w);
        op_rig_write(&rig, rig.in[2].data, b, sizeof b);
        op_rig_write(&rig, rig.in[3].data, labels, sizeof labels);
        op_rig_write(&rig, rig.ex.step, &start, sizeof start);
        op_rig_forward(&rig);
        float *loss = op_rig_read(&rig, rig.out.data, 1);
        cr_assert(dt_device_read(rig.ctx, &step, rig.ex.step, sizeof step) == DT_OK);
        cr_assert(step.sum.n_correct == 12, "%s: n_correct is %lld, expected 10 + 2", backends[i],
                  (long long)step.sum.n_correct);
        cr_assert(step.sum.n_images == 24, "%s: n_images is %lld", backends[i], (long long)step.sum.n_images);
        cr_assert(fabs(step.sum.loss - 100.0 - 4.0 * (double)*loss) < 1e-5, "%s: the sum is %.9g, the mean %.9g",
                  backends[i], step.sum.loss, (double)*loss);
        free(loss);
        op_rig_close(&rig);
    }
}

Test(linear_xent, misfits_are_refused)
{
    const dt_softmax_xent_params all = { .label_smoothing = 1.0f };
    op_case c = { HEAD, .why = "labels", .params = &plain, .in = SIZES(4, 2, 3) };
    c.in[3].shape.dim[0] = 5;
    op_case_refused(&c, DT_ERR_SHAPE, "needs a label of i32 for each of 4 images, got 5");
    c.in[3].shape.dim[0] = 4;
    c.params = &all;
    op_case_refused(&c, DT_ERR_ARGUMENT, "linear_xent: label_smoothing is 1, allowed are 0 to below 1");
    c.params = &plain;
    c.in[1].shape.dim[1] = 3;
    op_case_refused(&c, DT_ERR_SHAPE, "linear_xent: x is 4x2, w is 3x3");
    c.in[1].shape.dim[1] = 2;
    c.in[2].shape.dim[0] = 1;
    op_case_refused(&c, DT_ERR_SHAPE, "linear_xent: b has 1 values, w gives 3 features");
}
