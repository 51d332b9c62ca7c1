/*
 * test_bias_pairs.c - operators that stand for a bias and what is behind it, against the two that they stand for.
 */
#include "../../core/context.h"
#include "../../core/op.h"
#include "../../core/tape/tape.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef struct {
    dt_op_kind both, behind;
    const void *params;
} row;

static const dt_caps_params of_8 = { 8 };
static const dt_relu_params no_limit = { 0.0f }, a_half = { 0.5f };
static const row rows[] = { { DT_OP_BIAS_SQUASH, DT_OP_SQUASH, &of_8 },
                            { DT_OP_BIAS_RELU, DT_OP_RELU, &no_limit },
                            { DT_OP_BIAS_RELU, DT_OP_RELU, &a_half } };

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

/* The lengths' margin loss of what the operators make of x + b. */
static dt_tensor *record(dt_tape *tape, const row *r, int merged, dt_tensor *x, dt_tensor *b, dt_tensor *labels)
{
    dt_tensor *const biased[] = { x, b };
    dt_tensor *v, *lengths, *loss;

    if (merged) {
        must(dt_tape_apply(tape, r->both, "both", r->params, biased, 2, &v));
    } else {
        must(dt_tape_apply(tape, DT_OP_BIAS, "biased", NULL, biased, 2, &v));
        must(dt_tape_apply(tape, r->behind, "behind", r->params, &v, 1, &v));
    }
    must(dt_tape_apply(tape, DT_OP_CAPS_LENGTH, "lengths", &of_8, &v, 1, &lengths));
    must(dt_tape_apply(tape, DT_OP_MARGIN_LOSS, "loss", NULL, (dt_tensor *[]){ lengths, labels }, 2, &loss));
    return loss;
}

static void run_tape(dt_context *ctx, const row *of, int merged, dt_tensor leaves[3], step_result *r)
{
    dt_tape *tape;
    must(dt_tape_create(ctx, NULL, &tape));
    dt_tensor *loss = record(tape, of, merged, &leaves[0], &leaves[1], &leaves[2]);
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
static int run_both(const row *of, const char *backend, int wants_dx, step_result *pair, step_result *one)
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
    run_tape(ctx, of, 0, leaves, pair);
    run_tape(ctx, of, 1, leaves, one);
    for (int i = 0; i < 3; i++) leaf_free(ctx, &leaves[i]);
    dt_context_destroy(ctx);
    return 1;
}

/* 1: one of them is not 0 */
static int any(const float *values, int n)
{
    for (int i = 0; i < n; i++) {
        if (values[i] != 0.0f) return 1;
    }
    return 0;
}

static void compare(const row *of, const char *backend, int wants_dx)
{
    static step_result pair, one;
    const char *name = dt_ops[of->both]->name;

    if (!run_both(of, backend, wants_dx, &pair, &one)) return;
    cr_assert(pair.loss == one.loss && pair.loss > 0.0f, "%s, %s: the loss is %.9g, of the pair %.9g", name, backend,
              (double)one.loss, (double)pair.loss);
    cr_assert(memcmp(pair.dx, one.dx, sizeof pair.dx) == 0, "%s, %s: dx", name, backend);
    cr_assert(memcmp(pair.db, one.db, sizeof pair.db) == 0, "%s, %s: db", name, backend);
    cr_assert(any(one.db, CHANNELS) && any(one.dx, N * CHANNELS) == wants_dx, "%s, %s: there are gradients", name,
              backend);
}

Test(bias_pairs, have_the_bits_of_the_two_operators)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int wants_dx = 0; wants_dx < 2; wants_dx++) {
            compare(&rows[i], "cpu", wants_dx);
            compare(&rows[i], "cuda", wants_dx);
        }
    }
}
