/*
 * test_half_values.c - CUDA's kernels where core/tape/types.c has real values and their gradients stored in BF16. Each
 *                      gives what it gives for the same values in F32, rounded where it stores BF16: every bit.
 *
 * The other tests of these operators compare F32 with oracles.
 */
#include "../support/op_case.h"

#include "../../core/half.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What is BF16. */
enum { OUT = 1, DOUT = 2, IN_0 = 4, IN_1 = 8, DIN_0 = 16, N_SETS = 32 };

typedef struct {
    op_case c;
    unsigned most; /* what this operator may have in BF16 */
} half_case;

#define CASE(kind, count) .op = DT_OP_##kind, .n_in = (count), .precision = DT_PRECISION_MIXED

static const dt_caps_params of_4 = { 4 }, of_11 = { 11 };
static const dt_caps_route_params routed = { .iterations = 3, .inputs = 9, .dim = 4 };
static const dt_caps_route_params joint = { .iterations = 2, .inputs = 3, .dim = 8, .joint = 1 };
static const dt_caps_route_params primary = { .iterations = 1, .inputs = 1, .dim = 8 };
static const dt_relu_params no_limit = { 0.0f }, limited = { 0.7f };
static const dt_batchnorm_params norm = { .epsilon = 1e-3f, .momentum = 0.9f };
static const dt_norm_quant_params chain = { .has_norm = 1, .has_relu = 1, .norm = { 1e-3f, 0.9f }, .pool = 2 };

#define NORM_INPUTS(...)                                                                    \
    {                                                                                       \
        { OP_SHAPE(__VA_ARGS__) }, { OP_SHAPE(8), .fill = FILL_POSITIVE }, { OP_SHAPE(8) }, \
            { OP_SHAPE(8), .state = 1 },                                                    \
        {                                                                                   \
            OP_SHAPE(8), .fill = FILL_POSITIVE, .state = 1                                  \
        }                                                                                   \
    }

static const half_case cases[] = {
    { { CASE(BIAS, 2), .why = "bias", .in = { { OP_SHAPE(2, 3, 5, 8) }, { OP_SHAPE(8) } } }, OUT | DOUT | DIN_0 },
    { { CASE(BIAS_SQUASH, 2), .why = "capsules of 4", .params = &of_4,
        .in = { { OP_SHAPE(2, 3, 3, 12) }, { OP_SHAPE(12) } } },
      OUT | DOUT | DIN_0 },
    { { CASE(BIAS_SQUASH, 2), .why = "capsules of 11", .params = &of_11,
        .in = { { OP_SHAPE(3, 7, 33) }, { OP_SHAPE(33) } } },
      OUT | DOUT | DIN_0 },
    { { CASE(BIAS_RELU, 2), .why = "bias and ReLU", .params = &no_limit,
        .in = { { OP_SHAPE(2, 3, 5, 8) }, { OP_SHAPE(8) } } },
      OUT | DOUT | DIN_0 },
    /* bf16 holds 0.7 as less, and no value lies between the two */
    { { CASE(BIAS_RELU, 2), .why = "bias and ReLU with a limit", .params = &limited,
        .in = { { OP_SHAPE(2, 3, 5, 8) }, { OP_SHAPE(8) } } },
      OUT | DOUT | DIN_0 },
    { { CASE(ADD, 2), .why = "add", .in = { { OP_SHAPE(3, 7, 33) }, { OP_SHAPE(3, 7, 33) } } }, OUT | IN_0 | IN_1 },
    { { CASE(CAPS_VOTES, 2), .why = "votes", .in = { { OP_SHAPE(5, 3, 8) }, { OP_SHAPE(3, 8, 37) } } }, OUT | DOUT },
    { { CASE(CAPS_ROUTE, 2), .why = "routing", .params = &routed, .in = { { OP_SHAPE(2, 9, 20) }, { OP_SHAPE(20) } } },
      IN_0 | DIN_0 },
    { { CASE(CAPS_ROUTE, 2), .why = "3-D routing", .params = &joint,
        .in = { { OP_SHAPE(6, 2, 3, 16) }, { OP_SHAPE(16) } } },
      IN_0 | DIN_0 },
    { { CASE(CAPS_ROUTE, 2), .why = "primary capsules", .params = &primary,
        .in = { { OP_SHAPE(2, 3, 3, 16) }, { OP_SHAPE(16) } } },
      IN_0 | DIN_0 },
    { { CASE(BATCHNORM, 5), .why = "batch norm", .params = &norm, .purpose = { .images = 2, .training = 1 },
        .in = NORM_INPUTS(2, 3, 5, 8) },
      OUT },
    { { CASE(NORM_QUANT, 5), .why = "batch norm, ReLU and pool", .params = &chain,
        .purpose = { .images = 2, .training = 1 }, .in = NORM_INPUTS(2, 4, 6, 8) },
      OUT | DIN_0 },
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

/* Host copy of a tensor's memory, as F32, which the caller frees. */
static float *read_as(const op_rig *rig, const void *src, dt_dtype type, int64_t n)
{
    float *values = malloc((size_t)n * sizeof *values);
    uint16_t *halves = malloc((size_t)n * sizeof *halves);

    cr_assert(dt_device_read(rig->ctx, type == DT_BF16 ? (void *)halves : (void *)values, src,
                             (size_t)n * dt_type_bytes(type)) == DT_OK);
    for (int64_t i = 0; type == DT_BF16 && i < n; i++) values[i] = dt_from_bf16(halves[i]);
    free(halves);
    return values;
}

/* Writes values, which are BF16's, in a type. */
static void write_as(const op_rig *rig, void *dst, dt_dtype type, const float *values, int64_t n)
{
    uint16_t *halves = malloc((size_t)n * sizeof *halves);

    for (int64_t i = 0; i < n; i++) halves[i] = dt_to_bf16(values[i]);
    op_rig_write(rig, dst, type == DT_BF16 ? (const void *)halves : (const void *)values,
                 (size_t)n * dt_type_bytes(type));
    free(halves);
}

static void round_all(float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) values[i] = dt_from_bf16(dt_to_bf16(values[i]));
}

/* Rounds an input to BF16, and stores it so, in the memory that it has. */
static void store_input(op_rig *rig, int k, int rounded, int is_half)
{
    dt_tensor *t = &rig->in[k];
    const int64_t n = dt_count(&t->shape);

    if (!rounded) return;
    float *values = read_as(rig, t->data, DT_F32, n);
    round_all(values, n);
    if (is_half) t->type = DT_BF16;
    write_as(rig, t->data, t->type, values, n);
    free(values);
}

/* Prepares the kernel once more, for these types, with fresh gradients that begin as NaN. */
static void prepare(op_rig *rig)
{
    size_t scratch_bytes = 0;

    rig->node.fresh = rig->kernel->overwrites;
    for (int k = 0; k < rig->node.n_in; k++) {
        const int64_t n = dt_count(&rig->in[k].shape);
        float *nothing = malloc((size_t)n * sizeof *nothing);
        for (int64_t i = 0; i < n; i++) nothing[i] = NAN;
        if (rig->in[k].grad) op_rig_write(rig, rig->in[k].grad, nothing, (size_t)n * sizeof *nothing);
        free(nothing);
    }
    if (!rig->kernel->prepare) return;
    rig->ex.training = 1;
    cr_assert(rig->kernel->prepare(&rig->node, &rig->ex, &scratch_bytes) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_context_reserve(rig->ctx, 0, scratch_bytes) == DT_OK);
    rig->ex = dt_context_exec(rig->ctx);
}

/* A run of a case with some tensors in BF16, the others and their values as ever. `rounded`: inputs and dy that are
 * rounded beforehand. */
static void run(op_rig *rig, const half_case *h, unsigned rounded, unsigned set)
{
    const int64_t n = dt_count(&rig->out.shape);
    float *dy = op_test_dy(n);

    store_input(rig, 0, (int)(rounded & IN_0), (int)(set & IN_0));
    store_input(rig, 1, (int)(rounded & IN_1), (int)(set & IN_1));
    if (set & OUT) rig->out.type = DT_BF16;
    if (set & DOUT) rig->out.grad_type = DT_BF16;
    if (set & DIN_0) rig->in[0].grad_type = DT_BF16;
    prepare(rig);
    op_rig_forward(rig);
    round_all(dy, n);
    write_as(rig, rig->out.grad, rig->out.grad_type, dy, n);
    cr_assert(rig->kernel->backward(&rig->node, &rig->ex) == DT_OK, "%s: %s", h->c.why, dt_last_error());
    free(dy);
}

/* Fails unless what one run has left is the other's, rounded if it is stored in BF16. */
static void compare(const op_rig *want, const op_rig *got, const void *at_want, const void *at_got, dt_dtype type,
                    int64_t n, const char *what, const half_case *h, unsigned set)
{
    float *w = read_as(want, at_want, DT_F32, n), *g = read_as(got, at_got, type, n);

    if (type == DT_BF16) round_all(w, n);
    for (int64_t i = 0; i < n; i++) {
        cr_assert(w[i] == g[i], "%s, set %x: %s [%lld] is %.9g, expected %.9g", h->c.why, set, what, (long long)i,
                  (double)g[i], (double)w[i]);
    }
    free(w);
    free(g);
}

/* db are sums of dx as it is stored. */
static int sums_what_it_stores(const half_case *h, unsigned set, int k)
{
    return h->c.op == DT_OP_BIAS_SQUASH && set & DIN_0 && k == 1;
}

static void check(const half_case *h, unsigned set)
{
    op_rig whole, half;

    if (!op_rig_open(&whole, "cuda", 1, &h->c)) cr_skip_test("there is no GPU; test_half_values_simt runs on the CPU");
    cr_assert(op_rig_open(&half, "cuda", 1, &h->c));
    run(&whole, h, set, 0);
    run(&half, h, set, set);
    compare(&whole, &half, whole.out.data, half.out.data, half.out.type, dt_count(&half.out.shape), "out", h, set);
    for (int k = 0; k < h->c.n_in; k++) {
        char what[32];
        snprintf(what, sizeof what, "gradient of input %d", k);
        if (!half.in[k].grad || sums_what_it_stores(h, set, k)) continue;
        compare(&whole, &half, whole.in[k].grad, half.in[k].grad, half.in[k].grad_type, dt_count(&half.in[k].shape),
                what, h, set);
    }
    op_rig_close(&whole);
    op_rig_close(&half);
}

Test(half_values, give_what_f32_gives_rounded)
{
    for (int i = 0; i < N_CASES; i++) {
        for (unsigned set = 0; set < N_SETS; set++) {
            if ((set & cases[i].most) == set) check(&cases[i], set);
        }
    }
}

/* The bias of capsules, whose gradient is the sum of dx as BF16 holds it. */
Test(half_values, a_bias_sums_what_is_stored)
{
    const half_case *h = &cases[1];
    const int64_t n = dt_count(&h->c.in[0].shape), channels = dt_count(&h->c.in[1].shape);
    op_rig rig;

    if (!op_rig_open(&rig, "cuda", 1, &h->c)) cr_skip_test("there is no GPU; test_half_values_simt runs on the CPU");
    run(&rig, h, DIN_0, DIN_0);
    float *dx = read_as(&rig, rig.in[0].grad, DT_BF16, n), *db = read_as(&rig, rig.in[1].grad, DT_F32, channels);
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0.0;
        for (int64_t i = c; i < n; i += channels) sum += (double)dx[i];
        cr_assert(db[c] == (float)sum, "db [%lld] is %.9g, expected %.9g", (long long)c, (double)db[c], sum);
    }
    free(dx);
    free(db);
    op_rig_close(&rig);
}
