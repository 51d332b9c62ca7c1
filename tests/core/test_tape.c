/*
 * test_tape.c - recording, placing and running: who runs in which pass, whose memory is shared, where gradients meet.
 *
 * On the CPU, whose device memory is the host's: tensors from outside are plain arrays.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "../../core/tape/tape.h"

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s: %s", dt_status_name(status), dt_last_error());
}

static void must_refuse(dt_status got, dt_status want, const char *text)
{
    cr_assert(got == want && strstr(dt_last_error(), text) != NULL, "expected %s with '%s', got %s: %s",
              dt_status_name(want), text, dt_status_name(got), dt_last_error());
}

static dt_context *ctx;
static dt_tape *tape;

static void tape_open(void)
{
    dt_options opt;
    dt_options_default(&opt);
    opt.backend = "cpu";
    must(dt_context_create(&opt, &ctx));
    must(dt_tape_create(ctx, NULL, &tape));
}

static void tape_close(void)
{
    dt_tape_destroy(tape);
    cr_assert(ctx->bytes == ctx->workspace_bytes + ctx->scratch_bytes + sizeof(dt_step), "the tape kept %zu bytes",
              ctx->bytes);
    dt_context_destroy(ctx);
}

TestSuite(tape, .init = tape_open, .fini = tape_close);

/* rows x columns from outside; trained if grad is not NULL */
static dt_tensor matrix(int64_t rows, int64_t columns, float *data, float *grad)
{
    return (dt_tensor){ .shape = { 2, { rows, columns } }, .data = data, .grad = grad, .wants_grad = grad != NULL };
}

static dt_tensor *apply(dt_op_kind op, const char *name, dt_tensor *a, dt_tensor *b)
{
    static const dt_linear_params gemm = { .in_order = 0 };
    dt_tensor *const in[] = { a, b };
    dt_tensor *out = NULL;
    must(dt_tape_apply(tape, op, name, op == DT_OP_LINEAR ? &gemm : NULL, in, b ? 2 : 1, &out));
    return out;
}

static void run(dt_pass pass)
{
    must(dt_tape_run(tape, pass, NULL, NULL));
}

/* ---- refusals ---- */

Test(tape, a_misfit_names_the_node_and_both_shapes)
{
    dt_tensor a = matrix(2, 3, NULL, NULL), b = matrix(3, 2, NULL, NULL), *out = NULL;
    dt_tensor *const in[] = { &a, &b };
    must_refuse(dt_tape_apply(tape, DT_OP_ADD, "sum", NULL, in, 2, &out), DT_ERR_SHAPE, "sum: add: a is 2x3, b is 3x2");
    cr_assert(out == NULL && dt_tape_n_nodes(tape) == 0);
    apply(DT_OP_ADD, "sum", &a, &a); /* the tape goes on */
    cr_assert(dt_tape_n_nodes(tape) == 1 && strcmp(dt_tape_node(tape, 0)->name, "sum") == 0);
}

/* Capture and verification find nodes by the names of layers. */
Test(tape, names_are_kept_whole)
{
    dt_tensor a = matrix(2, 3, NULL, NULL);
    char name[256];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const dt_tensor *sum = apply(DT_OP_ADD, name, &a, &a);
    cr_assert(strcmp(dt_tape_node(tape, 0)->name, name) == 0 && strcmp(sum->name, name) == 0, "%s", sum->name);
}

Test(tape, inputs_are_counted)
{
    dt_tensor a = matrix(2, 3, NULL, NULL), *out;
    dt_tensor *const in[DT_MAX_IN + 1] = { &a, &a, &a, &a, &a, &a, &a };
    must_refuse(dt_tape_apply(tape, DT_OP_ADD, "sum", NULL, in, 1, &out), DT_ERR_ARGUMENT,
                "sum: add takes 2 to 2 inputs, got 1");
    must_refuse(dt_tape_apply(tape, DT_OP_ADD, "sum", NULL, in, 3, &out), DT_ERR_ARGUMENT, "got 3");
    must_refuse(dt_tape_apply(tape, DT_OP_ADD, "sum", NULL, in, DT_MAX_IN + 1, &out), DT_ERR_ARGUMENT,
                "7 inputs, at most 6");
}

Test(tape, names_are_whole_or_refused)
{
    dt_tensor a = matrix(2, 3, NULL, NULL), *out = NULL;
    dt_tensor *const in[] = { &a };
    char name[DT_NAME_MAX + 2];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    must_refuse(dt_tape_apply(tape, DT_OP_RELU, name, NULL, in, 1, &out), DT_ERR_ARGUMENT,
                "relu: the name 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' has 256 bytes, at most 255 are allowed");
    cr_assert(out == NULL && dt_tape_n_nodes(tape) == 0);
    name[DT_NAME_MAX] = '\0';
    apply(DT_OP_RELU, name, &a, NULL);
    cr_assert(strcmp(dt_tape_node(tape, 0)->name, name) == 0, "%s", dt_tape_node(tape, 0)->name);
}

Test(tape, a_compiled_tape_is_sealed)
{
    float x[6] = { 0.0f };
    dt_tensor a = matrix(2, 3, x, NULL), *out;
    dt_tensor *const in[] = { &a };
    must_refuse(dt_tape_compile(tape, NULL), DT_ERR_ARGUMENT, "the tape is empty");
    apply(DT_OP_RELU, NULL, &a, NULL);
    must_refuse(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL), DT_ERR_ARGUMENT, "the tape is not compiled");
    must(dt_tape_compile(tape, NULL));
    must_refuse(dt_tape_apply(tape, DT_OP_RELU, NULL, NULL, in, 1, &out), DT_ERR_SEALED, "relu: the tape is compiled");
    must_refuse(dt_tape_compile(tape, NULL), DT_ERR_SEALED, "compiled already");
    must_refuse(dt_tape_run(tape, DT_PASS_BACKWARD, NULL, NULL), DT_ERR_ARGUMENT, "inference tape has no backward");
}

Test(tape, only_a_trained_number_can_be_differentiated)
{
    float x[6] = { 0.0f }, dx[6];
    dt_tensor many = matrix(2, 3, x, dx), fixed = matrix(1, 1, x, NULL);
    dt_tensor *wide = apply(DT_OP_RELU, "wide", &many, NULL), *still = apply(DT_OP_RELU, "still", &fixed, NULL);
    must_refuse(dt_tape_compile(tape, wide), DT_ERR_SHAPE, "wide: only one element");
    must_refuse(dt_tape_compile(tape, still), DT_ERR_SHAPE, "still: only one element");
}

static const dt_kernel *no_relu[DT_OP_COUNT];

static const dt_kernel *const *kernels_without_relu(void)
{
    return no_relu;
}

Test(tape, a_missing_kernel_is_named_when_compiled)
{
    const dt_backend *whole = ctx->backend;
    dt_backend partial = *whole;
    float x[6] = { 0.0f };
    dt_tensor a = matrix(2, 3, x, NULL);
    memcpy(no_relu, whole->kernels(), sizeof no_relu);
    no_relu[DT_OP_RELU] = NULL;
    partial.kernels = kernels_without_relu;
    partial.name = "partial";
    ctx->backend = &partial;
    apply(DT_OP_RELU, "features.2", apply(DT_OP_IDENTITY, NULL, &a, NULL), NULL);
    must_refuse(dt_tape_compile(tape, NULL), DT_ERR_UNSUPPORTED, "features.2: backend partial has no kernel for relu");
    dt_tape_destroy(tape); /* what was not prepared is not released */
    tape = NULL;
    ctx->backend = whole;
}

/* ---- gradients ---- */

/* loss = r w1 + r w2 with r = relu(x): dx is w1 + w2 where x > 0. */
Test(tape, gradients_of_a_diamond_meet)
{
    float x[4] = { 1.0f, -2.0f, 3.0f, 4.0f }, dx[4] = { 0.0f };
    float w1[4] = { 1.0f, 2.0f, 3.0f, 4.0f }, w2[4] = { 10.0f, 20.0f, 30.0f, 40.0f }, dw1[4] = { 0.0f },
          dw2[4] = { 0.0f };
    dt_tensor tx = matrix(1, 4, x, dx), t1 = matrix(1, 4, w1, dw1), t2 = matrix(1, 4, w2, dw2);
    dt_tensor *r = apply(DT_OP_RELU, "r", &tx, NULL);
    dt_tensor *a = apply(DT_OP_LINEAR, "a", r, &t1), *b = apply(DT_OP_LINEAR, "b", r, &t2);
    dt_tensor *loss = apply(DT_OP_ADD, "loss", a, b);
    must(dt_tape_compile(tape, loss));
    for (int times = 1; times <= 2; times++) {
        run(DT_PASS_FORWARD);
        cr_assert(*(float *)loss->data == 11.0f * (1.0f + 9.0f + 16.0f), "loss %g", (double)*(float *)loss->data);
        run(DT_PASS_BACKWARD);
        for (int i = 0; i < 4; i++) {
            const float inside = x[i] > 0.0f ? 1.0f : 0.0f;
            /* every gradient starts anew with each run */
            cr_assert(dx[i] == inside * (w1[i] + w2[i]), "run %d: dx[%d] is %g", times, i, (double)dx[i]);
            cr_assert(dw1[i] == inside * x[i] && dw2[i] == dw1[i], "run %d: dw[%d] is %g", times, i, (double)dw1[i]);
        }
    }
}

/* loss = (r + r) w: both inputs of one node are one tensor */
Test(tape, gradients_of_a_sum_with_itself_double)
{
    float x[2] = { 3.0f, 5.0f }, dx[2] = { 0.0f }, w[2] = { 7.0f, 11.0f };
    dt_tensor tx = matrix(1, 2, x, dx), tw = matrix(1, 2, w, NULL);
    dt_tensor *r = apply(DT_OP_IDENTITY, "r", &tx, NULL), *sum = apply(DT_OP_ADD, "sum", r, r);
    dt_tensor *loss = apply(DT_OP_LINEAR, "loss", sum, &tw);
    must(dt_tape_compile(tape, loss));
    for (int times = 1; times <= 2; times++) {
        run(DT_PASS_FORWARD);
        run(DT_PASS_BACKWARD);
        cr_assert(dx[0] == 14.0f && dx[1] == 22.0f, "run %d: dx %g, %g", times, (double)dx[0], (double)dx[1]);
    }
}

/* A skip over a node: r feeds a late and an early consumer, and the early one is the last to add. */
Test(tape, gradients_cross_a_skip)
{
    float x[2] = { 3.0f, 5.0f }, dx[2] = { 0.0f }, w[2] = { 7.0f, 11.0f };
    dt_tensor tx = matrix(1, 2, x, dx), tw = matrix(1, 2, w, NULL);
    dt_tensor *r = apply(DT_OP_IDENTITY, "r", &tx, NULL), *side = apply(DT_OP_RELU, "side", r, NULL);
    dt_tensor *twice = apply(DT_OP_ADD, "twice", side, side), *sum = apply(DT_OP_ADD, "sum", twice, r);
    must(dt_tape_compile(tape, apply(DT_OP_LINEAR, "loss", sum, &tw)));
    run(DT_PASS_FORWARD);
    run(DT_PASS_BACKWARD);
    cr_assert(dx[0] == 21.0f && dx[1] == 33.0f, "dx %g, %g", (double)dx[0], (double)dx[1]);
}

typedef struct {
    char names[16][16];
    int n;
} visits;

static dt_status note(void *user, const dt_node *node)
{
    visits *v = user;
    strcpy(v->names[v->n++], node->name);
    return DT_OK;
}

static void must_visit(dt_pass pass, const char *const *want, int n)
{
    visits v = { .n = 0 };
    must(dt_tape_run(tape, pass, note, &v));
    cr_assert(v.n == n, "%d nodes ran, expected %d", v.n, n);
    for (int i = 0; i < n; i++) cr_assert(strcmp(v.names[i], want[i]) == 0, "%s, expected %s", v.names[i], want[i]);
}

/* What leads to no loss runs forward alone, and gives no gradient. */
Test(tape, a_dangling_branch_stays_out_of_backward)
{
    static const char *const forward[] = { "r", "lost", "lost too", "fixed", "loss" }, *const backward[] = { "loss",
                                                                                                             "r" };
    float x[2] = { 3.0f, 5.0f }, dx[2] = { 0.0f }, w[2] = { 7.0f, 11.0f };
    dt_tensor tx = matrix(1, 2, x, dx), tw = matrix(1, 2, w, NULL);
    dt_tensor *r = apply(DT_OP_IDENTITY, "r", &tx, NULL);
    apply(DT_OP_RELU, "lost too", apply(DT_OP_ADD, "lost", r, r), NULL);
    dt_tensor *fixed = apply(DT_OP_RELU, "fixed", &tw, NULL);
    must(dt_tape_compile(tape, apply(DT_OP_LINEAR, "loss", r, fixed)));
    must_visit(DT_PASS_FORWARD, forward, 5);
    must_visit(DT_PASS_BACKWARD, backward, 2);
    cr_assert(dx[0] == 7.0f && dx[1] == 11.0f, "dx %g, %g", (double)dx[0], (double)dx[1]);
}

static dt_status stop_at_b(void *user, const dt_node *node)
{
    (void)user;
    if (strcmp(node->name, "b") == 0) return dt_raise(DT_ERR_INTERRUPTED, __FILE__, __LINE__, "enough");
    return DT_OK;
}

Test(tape, a_hook_can_stop_the_run)
{
    float x[2] = { 3.0f, 5.0f };
    dt_tensor tx = matrix(1, 2, x, NULL);
    apply(DT_OP_RELU, "c", apply(DT_OP_RELU, "b", apply(DT_OP_RELU, "a", &tx, NULL), NULL), NULL);
    must(dt_tape_compile(tape, NULL));
    must_refuse(dt_tape_run(tape, DT_PASS_FORWARD, stop_at_b, NULL), DT_ERR_INTERRUPTED, "enough");
}

/* ---- memory ---- */

enum { WIDE = 1024, WIDE_BYTES = WIDE * 4, LINKS = 20 };
static float wide[WIDE], d_wide[WIDE];

static void fill_wide(void)
{
    for (int i = 0; i < WIDE; i++) wide[i] = (float)(i % 13) - 6.0f;
}

/* each link adds x once more */
static dt_tensor *chain(dt_tensor *x, int links)
{
    dt_tensor *t = x;
    for (int i = 0; i < links; i++) t = apply(DT_OP_ADD, NULL, t, x);
    return t;
}

static void must_be_multiple(const dt_tensor *t, float factor)
{
    const float *v = t->data;
    for (int i = 0; i < WIDE; i++) {
        cr_assert(v[i] == factor * wide[i], "[%d] is %g, expected %g", i, (double)v[i], (double)(factor * wide[i]));
    }
}

Test(tape, an_inference_chain_takes_two_buffers)
{
    dt_tensor x = matrix(1, WIDE, wide, NULL);
    fill_wide();
    dt_tensor *end = chain(&x, LINKS);
    dt_tape_keep(tape, end);
    must(dt_tape_compile(tape, NULL));
    /* the end is kept, and lives beside the two that take turns */
    cr_assert(dt_tape_workspace_bytes(tape) == 3 * WIDE_BYTES, "%zu bytes", dt_tape_workspace_bytes(tape));
    run(DT_PASS_FORWARD);
    must_be_multiple(end, LINKS + 1.0f);
}

/* ADD reads nothing in backward, so its outputs and gradients take turns too. */
Test(tape, training_frees_what_backward_does_not_read)
{
    dt_tensor x = matrix(1, WIDE, wide, d_wide), w = matrix(1, WIDE, wide, NULL);
    fill_wide();
    memset(d_wide, 0, sizeof d_wide);
    dt_tensor *loss = apply(DT_OP_LINEAR, "loss", chain(&x, LINKS), &w);
    must(dt_tape_compile(tape, loss));
    cr_assert(dt_tape_workspace_bytes(tape) <= 4 * WIDE_BYTES, "%zu bytes for %d links", dt_tape_workspace_bytes(tape),
              LINKS);
    run(DT_PASS_FORWARD);
    run(DT_PASS_BACKWARD);
    for (int i = 0; i < WIDE; i++) {
        cr_assert(d_wide[i] == (LINKS + 1.0f) * wide[i], "dx[%d] is %g", i, (double)d_wide[i]);
    }
}

/* relu(2 x + b) . w, of x and b from -1 to 1 */
static void check_slopes(const float *x_values, const float *b_values, const float *w_values, const float *db)
{
    for (int i = 0; i < WIDE; i++) {
        const float slope = 2.0f * x_values[i] + b_values[i] > 0.0f ? w_values[i] : 0.0f;
        cr_assert(d_wide[i] == 2.0f * slope, "dx[%d] is %g, expected %g", i, (double)d_wide[i], (double)(2.0f * slope));
        cr_assert(db[i] == slope, "db[%d] is %g, expected %g", i, (double)db[i], (double)slope);
    }
}

/* read_twice: the sum is read by a second node, behind the bias */
static void run_in_place(int read_twice)
{
    static float b_values[WIDE], w_values[WIDE], db[WIDE];
    dt_tensor x = matrix(1, WIDE, wide, d_wide), b = matrix(1, WIDE, b_values, db);
    dt_tensor w = matrix(1, WIDE, w_values, NULL);

    for (int i = 0; i < WIDE; i++) {
        wide[i] = (float)(i % 17 - 8) / 8.0f;
        b_values[i] = (float)(i % 5 - 2) / 2.0f;
        w_values[i] = (float)(i % 7 + 1);
        d_wide[i] = db[i] = 0.0f;
    }
    dt_tensor *sum = apply(DT_OP_ADD, NULL, &x, &x), *biased = apply(DT_OP_BIAS, NULL, sum, &b);
    dt_tensor *y = apply(DT_OP_RELU, NULL, biased, NULL);
    if (read_twice) apply(DT_OP_ADD, NULL, y, sum);
    must(dt_tape_compile(tape, apply(DT_OP_LINEAR, "loss", y, &w)));
    run(DT_PASS_FORWARD);
    run(DT_PASS_BACKWARD);
    check_slopes(wide, b_values, w_values, db);
    cr_assert((sum->data == biased->data) == !read_twice, "the sum and what is biased %s memory",
              read_twice ? "share" : "do not share");
    cr_assert(biased->data == y->data && biased->grad == y->grad, "the ReLU has memory of its own");
    if (!read_twice) cr_assert(sum->grad == y->grad, "the bias copies its gradient");
}

Test(tape, training_computes_in_place)
{
    run_in_place(0);
}

Test(tape, what_is_read_later_is_not_overwritten)
{
    run_in_place(1);
}

/* SQUASH computes in place, but its backward reads what its forward has read. */
Test(tape, what_backward_reads_is_not_overwritten)
{
    static float w_values[WIDE];
    const dt_caps_params caps = { .dim = 8 };
    dt_tensor x = matrix(1, WIDE, wide, d_wide), w = matrix(1, WIDE, w_values, NULL), *squashed;
    fill_wide();
    dt_tensor *sum = apply(DT_OP_ADD, NULL, &x, &x);
    must(dt_tape_apply(tape, DT_OP_SQUASH, NULL, &caps, &sum, 1, &squashed));
    must(dt_tape_compile(tape, apply(DT_OP_LINEAR, "loss", squashed, &w)));
    run(DT_PASS_FORWARD);
    cr_assert(sum->data != squashed->data);
    must_be_multiple(sum, 2.0f);
    run(DT_PASS_BACKWARD);
    cr_assert(sum->grad == squashed->grad, "the gradient of the sum has memory of its own");
}

Test(tape, a_kept_tensor_survives_the_run)
{
    dt_tensor x = matrix(1, WIDE, wide, NULL);
    fill_wide();
    dt_tensor *early = chain(&x, 1), *end = early;
    dt_tape_keep(tape, early);
    for (int i = 0; i < LINKS; i++) end = apply(DT_OP_ADD, NULL, end, &x);
    dt_tape_keep(tape, end);
    must(dt_tape_compile(tape, NULL));
    run(DT_PASS_FORWARD);
    must_be_multiple(early, 2.0f);
    must_be_multiple(end, LINKS + 2.0f);
}

/* Tapes share the context's workspace; compiling a larger one moves it. */
Test(tape, tapes_follow_the_workspace_when_it_moves)
{
    static float many[8 * WIDE];
    dt_tensor x = matrix(1, WIDE, wide, NULL), large = matrix(8, WIDE, many, NULL);
    dt_tape *first = tape, *second;
    fill_wide();
    dt_tensor *end = chain(&x, 3);
    dt_tape_keep(first, end);
    must(dt_tape_compile(first, NULL));
    run(DT_PASS_FORWARD);
    must_be_multiple(end, 4.0f);
    const int generation = ctx->generation;

    must(dt_tape_create(ctx, NULL, &second));
    tape = second;
    for (int i = 0; i < 8 * WIDE; i++) many[i] = 1.0f;
    dt_tensor *other = chain(&large, 3);
    dt_tape_keep(second, other);
    must(dt_tape_compile(second, NULL));
    cr_assert(ctx->generation > generation, "the second tape is larger");
    for (int turn = 0; turn < 2; turn++) {
        must(dt_tape_run(second, DT_PASS_FORWARD, NULL, NULL));
        cr_assert(((float *)other->data)[8 * WIDE - 1] == 4.0f);
        must(dt_tape_run(first, DT_PASS_FORWARD, NULL, NULL));
        must_be_multiple(end, 4.0f);
    }
    dt_tape_destroy(second);
    tape = first;
}

/* ---- constants ---- */

/* Of parameters alone: computed once for all batches, and kept from the others' buffers. */
Test(tape, constants_are_computed_once_in_inference)
{
    static const char *const constants[] = { "c" }, *const rest[] = { "d", "add", "add", "add", "end" };
    dt_tensor x = matrix(1, WIDE, wide, NULL), w = matrix(1, WIDE, d_wide, NULL);
    fill_wide();
    w.constant = 1;
    memcpy(d_wide, wide, sizeof wide);
    dt_tensor *c = apply(DT_OP_ADD, "c", &w, &w), *d = apply(DT_OP_IDENTITY, "d", &x, NULL);
    cr_assert(c->constant && !d->constant);
    for (int i = 0; i < 3; i++) d = apply(DT_OP_ADD, NULL, d, &x);
    dt_tensor *end = apply(DT_OP_ADD, "end", d, c);
    dt_tape_keep(tape, end);
    must(dt_tape_compile(tape, NULL));
    must_visit(DT_PASS_CONSTANT, constants, 1);
    for (int turn = 0; turn < 3; turn++) {
        must_visit(DT_PASS_FORWARD, rest, 5);
        must_be_multiple(end, 6.0f);
    }
}

Test(tape, a_training_tape_has_no_constants)
{
    static const char *const all[] = { "c", "loss" };
    float w[2] = { 1.0f, 2.0f }, dw[2] = { 0.0f }, x[2] = { 3.0f, 5.0f };
    dt_tensor tw = matrix(1, 2, w, dw), tx = matrix(1, 2, x, NULL);
    tw.constant = 1;
    dt_tensor *c = apply(DT_OP_RELU, "c", &tw, NULL);
    must(dt_tape_compile(tape, apply(DT_OP_LINEAR, "loss", &tx, c)));
    must_visit(DT_PASS_CONSTANT, NULL, 0);
    must_visit(DT_PASS_FORWARD, all, 2);
    run(DT_PASS_BACKWARD);
    cr_assert(dw[0] == 3.0f && dw[1] == 5.0f);
}

/* A quantizer's scale belongs to the tape; ReLU's is the same one. */
Test(tape, scales_are_shared_along_the_grid)
{
    const dt_act_quant_params p = { .bits = 4, .rule = DT_RULE_ECE284 };
    float x[6] = { 0.1f, 0.2f, 0.5f, 0.7f, 1.5f, 3.0f }, alpha = 1.5f;
    dt_tensor tx = matrix(2, 3, x, NULL), ta = { .shape = { 1, { 1 } }, .data = &alpha };
    dt_tensor *const in[] = { &tx, &ta };
    dt_tensor *codes;
    must(dt_tape_apply(tape, DT_OP_ACT_QUANT, "q", &p, in, 2, &codes));
    dt_tensor *same = apply(DT_OP_RELU, "same", codes, NULL);
    cr_assert(same->scale == codes->scale && same->n_scale == 1 && same->qmax == 15);
    dt_tape_keep(tape, same);
    must(dt_tape_compile(tape, NULL));
    run(DT_PASS_FORWARD);
    cr_assert(same->scale[0] == 0.1f && ((float *)same->data)[5] == 15.0f && ((float *)same->data)[2] == 5.0f);
}
