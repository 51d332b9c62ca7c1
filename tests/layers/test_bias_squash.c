/*
 * test_bias_squash.c - a bias with the capsules' non-linearity behind it, against lengths in double and against the two
 *                      operators that it stands for.
 */
#include "../support/op_case.h"

#include "../../core/tape/tape.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As the paper writes it, of x + b. */
static void bias_squash_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_caps_params *p = c->params;
    const int64_t count = dt_count(&c->in[0].shape), channels = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < count; i++) {
        double square = 0.0;
        for (int64_t j = i / p->dim * p->dim; j < (i / p->dim + 1) * p->dim; j++) {
            square += pow(in[0][j] + in[1][j % channels], 2.0);
        }
        const double s = in[0][i] + in[1][i % channels];
        out[i] = square > 0.0 ? square / (1.0 + square) * (s / sqrt(square)) : 0.0;
    }
}

#define CASE(dim) \
    .op = DT_OP_BIAS_SQUASH, .n_in = 2, .oracle = bias_squash_oracle, .agree = AGREE_BITS, .params = &of[dim]

static const dt_caps_params of[] = { [1] = { 1 }, [4] = { 4 }, [5] = { 5 }, [8] = { 8 }, [16] = { 16 }, [33] = { 33 } };

static const op_case cases[] = {
    { CASE(1), .why = "capsules of one value", .in = { { OP_SHAPE(3, 7) }, { OP_SHAPE(7) } } },
    { CASE(4), .why = "of 4", .in = { { OP_SHAPE(2, 3, 3, 12) }, { OP_SHAPE(12) } } },
    { CASE(5), .why = "of 5, row blocks of two sizes", .in = { { OP_SHAPE(135, 15) }, { OP_SHAPE(15) } } },
    { CASE(8), .why = "of 8, 16 and more in a row", .in = { { OP_SHAPE(3, 2, 144) }, { OP_SHAPE(18, 8) } } },
    { CASE(16), .why = "psums", .in = { { OP_SHAPE(7, 48), .fill = FILL_INTEGER, .scale = 0.3f }, { OP_SHAPE(48) } } },
    { CASE(4), .why = "psums, a scale for each filter",
      .in = { { OP_SHAPE(3, 2, 2, 8), .fill = FILL_DISTINCT, .scale = 0.3f, .n_scale = 8 }, { OP_SHAPE(8) } } },
    { CASE(33), .why = "of 33: vectors and a rest", .in = { { OP_SHAPE(3, 33) }, { OP_SHAPE(33) } } },
    { CASE(8), .why = "zeros: 0, and slope 0",
      .in = { { OP_SHAPE(3, 16), .fill = FILL_ZERO }, { OP_SHAPE(16), .fill = FILL_ZERO } } },
};

Test(bias_squash, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* ---- against BIAS and SQUASH */

enum { N = 67, CHANNELS = 24 };

/* What a step leaves on the host. */
typedef struct {
    float loss, dx[N * CHANNELS], db[CHANNELS];
} step_result;

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s", dt_last_error());
}

static dt_tensor leaf(dt_context *ctx, dt_shape shape, const void *host, dt_dtype type, int wants_grad)
{
    dt_tensor t = { .type = type, .shape = shape, .wants_grad = wants_grad, .name = "leaf" };
    must(dt_device_alloc(ctx, dt_tensor_bytes(&t), &t.data));
    must(dt_device_write(ctx, t.data, host, dt_tensor_bytes(&t)));
    if (wants_grad) must(dt_device_alloc(ctx, dt_grad_bytes(&t), &t.grad));
    return t;
}

static void leaf_free(dt_context *ctx, dt_tensor *t)
{
    dt_device_free(ctx, t->grad, t->grad ? dt_grad_bytes(t) : 0);
    dt_device_free(ctx, t->data, dt_tensor_bytes(t));
}

/* The lengths' margin loss of x + b, squashed. */
static dt_tensor *record(dt_tape *tape, int merged, dt_tensor *x, dt_tensor *b, dt_tensor *labels)
{
    dt_tensor *const biased[] = { x, b };
    dt_tensor *v, *lengths, *loss;

    if (merged) {
        must(dt_tape_apply(tape, DT_OP_BIAS_SQUASH, "capsules", &of[8], biased, 2, &v));
    } else {
        must(dt_tape_apply(tape, DT_OP_BIAS, "biased", NULL, biased, 2, &v));
        must(dt_tape_apply(tape, DT_OP_SQUASH, "capsules", &of[8], &v, 1, &v));
    }
    must(dt_tape_apply(tape, DT_OP_CAPS_LENGTH, "lengths", &of[8], &v, 1, &lengths));
    must(dt_tape_apply(tape, DT_OP_MARGIN_LOSS, "loss", NULL, (dt_tensor *[]){ lengths, labels }, 2, &loss));
    return loss;
}

static void run_tape(dt_context *ctx, int merged, dt_tensor leaves[3], step_result *r)
{
    dt_tape *tape;
    must(dt_tape_create(ctx, NULL, &tape));
    dt_tensor *loss = record(tape, merged, &leaves[0], &leaves[1], &leaves[2]);
    must(dt_tape_compile(tape, loss));
    must(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));
    must(dt_device_read(ctx, &r->loss, loss->data, sizeof r->loss));
    must(dt_tape_run(tape, DT_PASS_BACKWARD, NULL, NULL));
    if (leaves[0].grad) must(dt_device_read(ctx, r->dx, leaves[0].grad, sizeof r->dx));
    must(dt_device_read(ctx, r->db, leaves[1].grad, sizeof r->db));
    dt_tape_destroy(tape);
}

/* Evenly spread in [-1, 1) */
static void spread(float *to, int n, int seed)
{
    for (int i = 0; i < n; i++) to[i] = (float)fmod(0.618033988749895 * (i + 1) + 0.37 * seed, 1.0) * 2.0f - 1.0f;
}

/* Returns 0 if the backend is not here. wants_dx: the gradient of x is wanted, and not that of b alone. */
static int run_both(const char *backend, int wants_dx, step_result *pair, step_result *one)
{
    static float x[N * CHANNELS], b[CHANNELS];
    int32_t labels[N];
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = backend;
    const dt_status opened = dt_context_create(&opt, &ctx);
    if (opened == DT_ERR_UNSUPPORTED && strcmp(backend, "cpu") != 0) return 0;
    must(opened);
    spread(x, N * CHANNELS, 1);
    spread(b, CHANNELS, 2);
    for (int n = 0; n < N; n++) labels[n] = n % (CHANNELS / 8);
    dt_tensor leaves[3] = { leaf(ctx, (dt_shape){ 2, { N, CHANNELS } }, x, DT_F32, wants_dx),
                            leaf(ctx, (dt_shape){ 1, { CHANNELS } }, b, DT_F32, 1),
                            leaf(ctx, (dt_shape){ 1, { N } }, labels, DT_I32, 0) };
    memset(pair, 0, sizeof *pair);
    memset(one, 0, sizeof *one);
    run_tape(ctx, 0, leaves, pair);
    run_tape(ctx, 1, leaves, one);
    for (int i = 0; i < 3; i++) leaf_free(ctx, &leaves[i]);
    dt_context_destroy(ctx);
    return 1;
}

Test(bias_squash, has_the_bits_of_the_pair)
{
    static const char *const backends[] = { "cpu", "cuda" };
    static step_result pair, one;

    for (int i = 0; i < 4; i++) {
        const char *backend = backends[i / 2];
        if (!run_both(backend, i % 2, &pair, &one)) continue;
        cr_assert(pair.loss == one.loss && pair.loss > 0.0f, "%s: the loss is %.9g, of the pair %.9g", backend,
                  (double)one.loss, (double)pair.loss);
        cr_assert(memcmp(pair.dx, one.dx, sizeof pair.dx) == 0, "%s: dx", backend);
        cr_assert(memcmp(pair.db, one.db, sizeof pair.db) == 0, "%s: db", backend);
        cr_assert(pair.db[0] != 0.0f && (i % 2 == 0 || pair.dx[0] != 0.0f), "%s: there are gradients", backend);
    }
}

Test(bias_squash, misfits_are_refused)
{
    const op_case few = { CASE(8), .why = "a bias of few", .in = { { OP_SHAPE(2, 16) }, { OP_SHAPE(8) } } };
    op_case_refused(&few, DT_ERR_SHAPE, "x has 16 channels, b 8 values");
    const op_case odd = { CASE(8), .why = "no capsules", .in = { { OP_SHAPE(2, 12) }, { OP_SHAPE(12) } } };
    op_case_refused(&odd, DT_ERR_SHAPE, "in capsules of 8");
}
