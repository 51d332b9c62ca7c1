/*
 * test_op_case.c - the harness of the operators' tests: kernels with one fault each are refused, for that fault; and
 * whether CUDA was compared with the CPU.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- y = a + b as it should be, and with one fault ---- */

typedef struct {
    const float *a, *b, *dy;
    float *y, *da, *db;
    int64_t n;
} sum;

static sum sum_of(const dt_node *node)
{
    const dt_tensor *a = node->in[0], *b = node->in[1], *y = node->out;
    return (sum){ a->data, b->data, y->grad, y->data, a->grad, b->grad, dt_count(&y->shape) };
}

static dt_status forward(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n; i++) s.y[i] = s.a[i] + s.b[i];
    return DT_OK;
}

static dt_status backward(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n; i++) {
        s.da[i] += s.dy[i];
        s.db[i] += s.dy[i];
    }
    return DT_OK;
}

static dt_status forward_adds(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n; i++) s.y[i] += s.a[i] + s.b[i];
    return DT_OK;
}

static dt_status forward_forgets_the_last(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n - 1; i++) s.y[i] = s.a[i] + s.b[i];
    return DT_OK;
}

static dt_status forward_subtracts(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n; i++) s.y[i] = s.a[i] - s.b[i];
    return DT_OK;
}

static dt_status forward_writes_behind(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    s.y[s.n] = 0.0f;
    return forward(node, ex);
}

static dt_status forward_writes_before(const dt_node *node, const dt_exec *ex)
{
    sum_of(node).y[-1] = 0.0f;
    return forward(node, ex);
}

static dt_status forward_writes_its_input(const dt_node *node, const dt_exec *ex)
{
    float *b = node->in[1]->data;
    const dt_status status = forward(node, ex);
    b[0] = -b[0];
    return status;
}

#ifdef _OPENMP
/* One rounding, where the threads are more than one. */
static dt_status forward_looks_at_threads(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    const dt_status status = forward(node, ex);
    if (dt_threads_now() > 1) s.y[s.n / 2] = nextafterf(s.y[s.n / 2], INFINITY);
    return status;
}

static dt_status backward_looks_at_threads(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    const dt_status status = backward(node, ex);
    if (dt_threads_now() > 1) s.db[s.n / 2] = nextafterf(s.db[s.n / 2], INFINITY);
    return status;
}
#endif

static dt_status forward_rounds_otherwise(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    const dt_status status = forward(node, ex);
    s.y[s.n - 1] = nextafterf(s.y[s.n - 1], INFINITY);
    return status;
}

static dt_status forward_fails(const dt_node *node, const dt_exec *ex)
{
    (void)ex;
    return dt_raise(DT_ERR_NUMERIC, __FILE__, __LINE__, "%s: nothing works", node->name);
}

static dt_status backward_overwrites(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n; i++) {
        s.da[i] += s.dy[i];
        s.db[i] = s.dy[i];
    }
    return DT_OK;
}

static dt_status backward_forgets_an_input(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    (void)ex;
    for (int64_t i = 0; i < s.n; i++) s.da[i] += s.dy[i];
    return DT_OK;
}

/* Twice the slope for one value of 15. */
static dt_status backward_is_too_steep(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    s.da[s.n / 2] += s.dy[s.n / 2];
    return backward(node, ex);
}

static dt_status backward_writes_behind(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    s.db[s.n] += 1.0f;
    return backward(node, ex);
}

static dt_status two_words(dt_node *node, const dt_exec *ex, size_t *scratch_bytes)
{
    (void)node;
    (void)ex;
    *scratch_bytes = 2 * sizeof(float);
    return DT_OK;
}

static dt_status forward_outgrows_scratch(const dt_node *node, const dt_exec *ex)
{
    float *scratch = ex->scratch;
    for (int i = 0; i < 3; i++) scratch[i] = (float)i;
    return forward(node, ex);
}

/* What one kernel leaves in the scratch is not there for the next. */
static dt_status forward_leaves_a_factor(const dt_node *node, const dt_exec *ex)
{
    *(float *)ex->scratch = 1.0f;
    return forward(node, ex);
}

static dt_status backward_finds_a_factor(const dt_node *node, const dt_exec *ex)
{
    const sum s = sum_of(node);
    const float factor = *(const float *)ex->scratch;
    for (int64_t i = 0; i < s.n; i++) {
        s.da[i] += factor * s.dy[i];
        s.db[i] += factor * s.dy[i];
    }
    return DT_OK;
}

/* ---- y = max(q, 0) of codes ---- */

static dt_status relu(const dt_node *node, const dt_exec *ex)
{
    const float *x = node->in[0]->data;
    float *y = node->out->data;
    (void)ex;
    for (int64_t i = 0; i < dt_count(&node->out->shape); i++) y[i] = x[i] > 0.0f ? x[i] : 0.0f;
    return DT_OK;
}

static dt_status relu_backward(const dt_node *node, const dt_exec *ex)
{
    const float *x = node->in[0]->data, *dy = node->out->grad;
    float *dx = node->in[0]->grad;
    (void)ex;
    for (int64_t i = 0; i < dt_count(&node->out->shape); i++) dx[i] += x[i] > 0.0f ? dy[i] : 0.0f;
    return DT_OK;
}

/* The largest code becomes the one below it, so that all codes stay in their range. */
static dt_status relu_is_off_by_one(const dt_node *node, const dt_exec *ex)
{
    const dt_status status = relu(node, ex);
    float *y = node->out->data;
    for (int64_t i = 0; i < dt_count(&node->out->shape); i++) {
        if (y[i] == (float)node->out->qmax) y[i] -= 1.0f;
    }
    return status;
}

/* Of a million that is less than a rounding of the scale, and still no integer. */
static dt_status relu_is_off_by_a_sixteenth(const dt_node *node, const dt_exec *ex)
{
    const dt_status status = relu(node, ex);
    float *y = node->out->data;
    for (int64_t i = 0; i < dt_count(&node->out->shape); i++) {
        if (y[i] == (float)node->out->qmax) y[i] -= 0.0625f;
    }
    return status;
}

static dt_status relu_lets_negatives_through(const dt_node *node, const dt_exec *ex)
{
    (void)ex;
    memcpy(node->out->data, node->in[0]->data, dt_tensor_bytes(node->out));
    return DT_OK;
}

/* ---- cases ---- */

static void add_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = in[0][i] + in[1][i];
}

static void relu_oracle(const op_case *c, const double *const *in, double *out)
{
    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) out[i] = fmax(in[0][i], 0.0);
}

static const dt_relu_params unlimited = { 0 };

static const op_case add = { "a + b", .op = DT_OP_ADD, .n_in = 2, .in = { { OP_SHAPE(3, 5) }, { OP_SHAPE(3, 5) } },
                             .oracle = add_oracle };
static const op_case add_bits = { "a + b, bit for bit",
                                  .op = DT_OP_ADD,
                                  .n_in = 2,
                                  .agree = AGREE_BITS,
                                  .in = { { OP_SHAPE(3, 5) }, { OP_SHAPE(3, 5) } },
                                  .oracle = add_oracle };
static const op_case codes = {
    "relu of codes",         .op = DT_OP_RELU,
    .params = &unlimited,    .n_in = 1,
    .agree = AGREE_INTEGERS, .in = { { OP_SHAPE(7, 33), .fill = FILL_DISTINCT, .scale = 0.03f } },
    .oracle = relu_oracle
};
/* of a million, where one is less than OP_TOLERANCE */
static const op_case psums = {
    "relu of psums",         .op = DT_OP_RELU,
    .params = &unlimited,    .n_in = 1,
    .agree = AGREE_INTEGERS, .in = { { OP_SHAPE(7, 33), .fill = FILL_INTEGER, .size = 1e6f, .scale = 0.03f } },
    .oracle = relu_oracle,   .no_slopes = "large"
};

#define FORWARD(f)                         \
    {                                      \
        .forward = f, .backward = backward \
    }
#define BACKWARD(f)                       \
    {                                     \
        .forward = forward, .backward = f \
    }
#define CODES(f)                                \
    {                                           \
        .forward = f, .backward = relu_backward \
    }

/* Kernels of which one is wrong, and what the harness must say of it. cuda without a forward: the backend's own. */
static const struct {
    const op_case *c;
    dt_kernel cpu, cuda;
    const char *fault;
} wrong[] = {
    { &add, FORWARD(forward_adds), { 0 }, "a + b: cpu, out[0] is nan, expected" },
    { &add, FORWARD(forward_forgets_the_last), { 0 }, "a + b: cpu, out[14] is nan, expected" },
    { &add, FORWARD(forward_subtracts), { 0 }, "a + b: cpu, out[0] is " },
    { &add, FORWARD(forward_fails), { 0 }, "a + b: cpu, forward: DT_ERR_NUMERIC: layer: nothing works" },
    { &add, FORWARD(forward_writes_behind), { 0 }, "a + b: cpu, forward: bytes behind out were written" },
    { &add, FORWARD(forward_writes_before), { 0 }, "a + b: cpu, forward: bytes before out were written" },
    { &add, FORWARD(forward_writes_its_input), { 0 }, "a + b: cpu, forward: input 1 was written" },
#ifdef _OPENMP
    { &add, FORWARD(forward_looks_at_threads), { 0 }, "a + b: out with 1 thread and with more: [7] is " },
    { &add, BACKWARD(backward_looks_at_threads), { 0 }, "a + b: gradient with 1 thread and with more: [7] is " },
#endif
    { &add, BACKWARD(backward_overwrites), { 0 }, "a + b: cpu, fresh gradient of input 1 [0] is " },
    { &add, BACKWARD(backward_forgets_an_input), { 0 }, "a + b: cpu, 0.5 + gradient of input 1 [0] is 0.5, expected" },
    { &add, BACKWARD(backward_is_too_steep), { 0 }, "a + b: cpu, 0.5 + gradient of input 0 [7] is " },
    { &add,
      BACKWARD(backward_writes_behind),
      { 0 },
      "a + b: cpu, backward: bytes behind gradient of input 1 were written" },
    { &add,
      { .forward = forward, .backward = backward, .overwrites = 2u },
      { 0 },
      "a + b: cpu, fresh gradient of input 1 [0] is nan" },
    { &add,
      { .prepare = two_words, .forward = forward_outgrows_scratch, .backward = backward },
      { 0 },
      "a + b: cpu, forward: bytes behind scratch were written" },
    { &add,
      { .prepare = two_words, .forward = forward_leaves_a_factor, .backward = backward_finds_a_factor },
      { 0 },
      "a + b: cpu, fresh gradient of input 0 [0] is -nan, added to 0.5 it was -nan" },
    { &codes, CODES(relu_is_off_by_one), { 0 }, "relu of codes: cpu, out[" },
    { &codes, CODES(relu_lets_negatives_through), { 0 }, "is outside 0.." },
    { &psums, CODES(relu_is_off_by_one), { 0 }, "from integers" },
    { &psums, CODES(relu_is_off_by_a_sixteenth), { 0 }, "from integers" },
    { &add, FORWARD(forward), FORWARD(forward_subtracts), "a + b: cuda, out[0] is " },
    { &add, FORWARD(forward), BACKWARD(backward_is_too_steep), "a + b: cuda, 0.5 + gradient of input 0 [7] is " },
    { &add_bits, FORWARD(forward), FORWARD(forward_rounds_otherwise),
      "a + b, bit for bit: out on cpu and on cuda: [14] is " },
};

Test(op_case, wrong_kernels_are_refused_for_their_fault)
{
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const op_stand_ins kernels = { &wrong[i].cpu, wrong[i].cuda.forward ? &wrong[i].cuda : NULL };
        char fault[OP_FAULT_BYTES];
        cr_assert(!op_case_holds(wrong[i].c, &kernels, fault), "row %zu: no fault was found, expected '%s'", i,
                  wrong[i].fault);
        cr_assert(strstr(fault, wrong[i].fault) != NULL, "row %zu: the fault is '%s', expected '%s' in it", i, fault,
                  wrong[i].fault);
    }
}

/* What the rows above are wrong variants of. */
Test(op_case, right_kernels_hold)
{
    const dt_kernel adder = FORWARD(forward), rectifier = CODES(relu);
    const op_stand_ins sums = { &adder, &adder }, rectifiers = { &rectifier, &rectifier };
    char fault[OP_FAULT_BYTES];

    cr_assert(op_case_holds(&add, &sums, fault), "%s", fault);
    cr_assert(op_case_holds(&add_bits, &sums, fault), "%s", fault);
    cr_assert(op_case_holds(&codes, &rectifiers, fault), "%s", fault);
    cr_assert(op_case_holds(&psums, &rectifiers, fault), "%s", fault);
}

Test(op_case, a_rounding_between_backends_is_let_through_where_bits_are_not_asked_for)
{
    const dt_kernel cpu = FORWARD(forward), cuda = FORWARD(forward_rounds_otherwise);
    const op_stand_ins kernels = { &cpu, &cuda };
    char fault[OP_FAULT_BYTES];

    cr_assert(op_case_holds(&add, &kernels, fault), "%s", fault);
}

Test(op_case, compares_cuda_where_there_is_one)
{
    dt_options opt;
    dt_context *ctx = NULL;
    dt_options_default(&opt);
    opt.backend = "cuda";

    if (dt_context_create(&opt, &ctx) == DT_ERR_UNSUPPORTED) {
        cr_skip("the operators' tests ran on the CPU alone: %s", dt_last_error());
    }
    cr_assert(ctx != NULL, "%s", dt_last_error());
    dt_context_destroy(ctx);
}
