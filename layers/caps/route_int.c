/*
 * route_int.c - dynamic routing by integers: what caps_route.c computes, on codes alone.
 *
 *   b = 0;  for r = 0 .. R-1:
 *     acc[j] = sum over inputs i of c[i,j] u[i,j]        r = 0: the sum of u; 1 / span is in the ratio
 *     s[j] = code of acc[j] and bias[j];  v[j] = code of squash(s[j])
 *     a[i,j] = <u[i,j], v[j]>;  b[i,j] = code of b[i,j] and a[i,j];  c[i,:] = codes of softmax(b[i,:])
 *                                                        not after the last iteration
 *
 * core/arith/capsules.h has the arithmetic, which is exact whatever the order of sums. Capsules of a convolution are
 * routed too, with one input and one iteration: with params.whole, v = squash(u + bias). The output is v, or s of the
 * last iteration where its lengths give the classes (class_int.c).
 *
 * Votes, couplings and capsules are floats that hold codes, or codes times a power of two. Products of a coupling and a
 * vote, and agreements, stay below 2^24, so that f32 holds them exactly.
 *
 * Backward is that of caps_route.c, straight through the roundings, by the values that forward has left. Nothing flows
 * through a code at its limit.
 *
 * Shapes and source: caps_route.c. votes is a grid tensor of one scale; so is y, whose scale is a power of two.
 * CPU: route_int_cpu.c.  CUDA: cuda/route_int.cu.  Tests: tests/layers/test_route_int.c.
 */
#include "route_int.h"

#include "../../core/grid_facts.h"
#include "caps_lanes.h"

#include <assert.h>
#include <string.h>

const dt_caps_tables dt_caps_table = { { DT_SQUASH_TABLE }, { DT_EXP_TABLE } };

/* Codes with equal fraction bits have equal scales. */
static const char powers_of_two;

static int64_t span_of(const dt_node *node)
{
    const dt_route_int_params *p = node->params;
    const dt_shape *u = &node->in[DT_ROUTE_VOTES]->shape;
    const int64_t types = dt_channels(u) / p->dim;

    return p->joint && u->ndim == 4 ? types * u->dim[1] * u->dim[2] : types;
}

/* ---- facts ---- */

static dt_status check_shapes(const dt_node *node)
{
    const dt_route_int_params *p = node->params;
    const dt_tensor *votes = node->in[DT_ROUTE_VOTES], *bias = node->in[DT_ROUTE_BIAS];
    const dt_shape *u = &votes->shape;
    char text[64];

    DT_CHECK(p->iterations >= 1 && p->iterations <= DT_MAX_ROUTING && p->inputs >= 1 && p->dim >= 1, DT_ERR_ARGUMENT,
             "%s: route_int: %d iterations, %d inputs, dim %d; allowed are 1 to %d iterations, and 1 or more",
             node->name, p->iterations, p->inputs, p->dim, DT_MAX_ROUTING);
    DT_CHECK((u->ndim == 3 && u->dim[1] == p->inputs) || (u->ndim == 4 && u->dim[0] % p->inputs == 0), DT_ERR_SHAPE,
             "%s: route_int: votes are %s; needed are the axes N,I,C or N*I,H,W,C of %d input capsules", node->name,
             dt_shape_text(u, text, sizeof text), p->inputs);
    DT_CHECK(dt_channels(u) % p->dim == 0 && dt_count(&bias->shape) == dt_channels(u), DT_ERR_SHAPE,
             "%s: route_int: votes have %lld channels, bias has %lld values; needed are as many, in capsules of %d",
             node->name, (long long)dt_channels(u), (long long)dt_count(&bias->shape), p->dim);
    DT_CHECK(votes->n_scale == 1 && bias->n_scale == 0, DT_ERR_ARGUMENT,
             "%s: route_int: votes have %d scales, bias %d; votes are codes of one scale, and bias is real", node->name,
             votes->n_scale, bias->n_scale);
    return DT_OK;
}

/* Iteration r keeps the logits of the one before it, whose fraction bits it may change. */
static dt_status check_keep(const char *name, const dt_route_int_params *p, int r, int agree_shift)
{
    if (r == 0) return DT_OK;
    const int shift = dt_route_keep_shift(p, r, agree_shift);
    DT_CHECK(shift >= 0 && shift <= DT_CAPS_KEEP_MAX, DT_ERR_NUMERIC,
             "%s: iteration %d keeps logits of %d fraction bits as ones of %d, and its agreements' ratio has the shift "
             "%d: they would be shifted by %d, allowed are 0 to %d; take formats that are closer to each other",
             name, r, p->b_frac[r - 1], p->b_frac[r], agree_shift, shift, DT_CAPS_KEEP_MAX);
    return DT_OK;
}

static dt_status check_formats(const dt_node *node)
{
    const dt_route_int_params *p = node->params;

    for (int r = 0; r < p->iterations; r++) {
        const int more = r < p->iterations - 1, has_v = more || !p->gives_s;
        DT_CHECK(p->s_bits[r] >= 2, DT_ERR_ARGUMENT,
                 "%s: route_int: s of iteration %d has %d bits, allowed are 2 to 16", node->name, r, p->s_bits[r]);
        DT_CHECK(!has_v || (p->v_bits[r] >= 2 && p->s_frac[r] + DT_SQUASH_ONE >= p->v_frac[r]), DT_ERR_ARGUMENT,
                 "%s: route_int: v of iteration %d has %d bits and %d fraction bits; allowed are 2 to 16 bits, and at "
                 "most %d fraction bits",
                 node->name, r, p->v_bits[r], p->v_frac[r], p->s_frac[r] + DT_SQUASH_ONE);
        DT_CHECK(!more || (p->b_bits[r] >= 2 && p->c_bits[r] >= 1), DT_ERR_ARGUMENT,
                 "%s: route_int: b and c of iteration %d have %d and %d bits; allowed are 2 to 16 and 1 to 16",
                 node->name, r, p->b_bits[r], p->c_bits[r]);
        if (more && p->acc_mul[0] != 0) DT_TRY(check_keep(node->name, p, r, p->agree_shift[r]));
    }
    DT_CHECK(p->iterations == 1 || span_of(node) <= DT_CAPS_SPAN_MAX, DT_ERR_UNSUPPORTED,
             "%s: route_int: a softmax of %lld capsules; allowed are up to %d", node->name, (long long)span_of(node),
             DT_CAPS_SPAN_MAX);
    return DT_OK;
}

/* Returns the limit if most reaches it. */
static dt_route_int_limit limit_of(const char *of, int64_t most, int64_t below)
{
    return (dt_route_int_limit){ most >= below ? of : NULL, most, below };
}

/* Of the couplings and agreements that iteration r leaves for the next. A value that is past its limit is found before
 * another is made of it, so that none is past 64 bits. */
static dt_route_int_limit excess_of(const dt_route_int_params *p, int64_t u, int r)
{
    const int64_t exact = (int64_t)1 << 24, word = (int64_t)1 << 31;
    const int64_t c = ((int64_t)1 << p->c_bits[r]) - 1, v = (int64_t)1 << (p->v_bits[r] - 1);

    dt_route_int_limit l = limit_of("a coupling times a vote", c * u, exact);
    if (!l.of) l = limit_of("a sum of couplings times votes", c * u * p->inputs, word);
    if (!l.of) l = limit_of("an agreement", p->dim * u * v, exact);
    return l;
}

dt_route_int_limit dt_route_int_excess(const dt_route_int_params *p, int64_t u)
{
    dt_route_int_limit l = limit_of("a vote", u, (int64_t)1 << 24);

    if (!l.of) l = limit_of("the first sum of votes", u * p->inputs, (int64_t)1 << 31);
    for (int r = 0; r < p->iterations - 1 && !l.of; r++) l = excess_of(p, u, r);
    return l;
}

static dt_status check_bounds(const dt_node *node)
{
    const dt_route_int_params *p = node->params;
    const dt_route_int_limit l = dt_route_int_excess(p, dt_code_bound(node->in[DT_ROUTE_VOTES]));

    DT_CHECK(!l.of, DT_ERR_UNSUPPORTED,
             "%s: route_int: %s may reach %lld, and must stay below %lld; quantize the votes, or take fewer bits",
             node->name, l.of, (long long)l.most, (long long)l.below);
    for (int r = 0; r < p->iterations; r++) {
        const int64_t s = (int64_t)1 << (p->s_bits[r] - 1), squares = p->dim * s * s, below = (int64_t)1 << 36;
        DT_CHECK(squares < below, DT_ERR_UNSUPPORTED,
                 "%s: route_int: %d squares of codes of %d bits may sum to %lld, and must stay below %lld; take fewer "
                 "bits",
                 node->name, p->dim, p->s_bits[r], (long long)squares, (long long)below);
    }
    return DT_OK;
}

/* Arrays of capsules that aux holds; and for each value of one of them, values of pairs. */
static size_t arrays_of_capsules(const dt_route_int_params *p)
{
    return 2 * (size_t)p->iterations;
}

static size_t arrays_of_pairs(const dt_route_int_params *p)
{
    return 2 * (size_t)(p->iterations - 1) * (size_t)p->inputs;
}

/* Values of one array of capsules, and of one of pairs, as infer has laid them out. While a hook looks at a part of the
 * batch (dt_tape_count), the shape of out is that of the part, and the arrays are where they were. */
static size_t n_capsules(const dt_node *node)
{
    const dt_route_int_params *p = node->params;
    const size_t dim = (size_t)p->dim;

    return node->aux_bytes / sizeof(float) * dim / (arrays_of_capsules(p) * dim + arrays_of_pairs(p));
}

static size_t n_pairs(const dt_node *node)
{
    const dt_route_int_params *p = node->params;
    return n_capsules(node) / (size_t)p->dim * (size_t)p->inputs;
}

static dt_status route_int_infer(dt_node *node)
{
    const dt_route_int_params *p = node->params;
    const dt_shape *u = &node->in[DT_ROUTE_VOTES]->shape;
    dt_tensor *y = node->out;
    assert(node->in[DT_ROUTE_VOTES]->type == DT_F32 && node->in[DT_ROUTE_BIAS]->type == DT_F32);

    DT_TRY(check_shapes(node));
    DT_TRY(check_formats(node));
    DT_TRY(check_bounds(node));
    y->shape = *u;
    if (u->ndim == 3)
        y->shape = (dt_shape){ .ndim = 2, .dim = { u->dim[0], u->dim[2] } };
    else
        y->shape.dim[0] /= p->inputs;
    const int last = p->iterations - 1;
    y->n_scale = 1;
    y->scale_of = &powers_of_two;
    y->scale_form = dt_route_int_frac(p);
    y->qmax = ((int64_t)1 << ((p->gives_s ? p->s_bits : p->v_bits)[last] - 1)) - 1;
    y->qmin = -y->qmax - 1;
    const size_t n = (size_t)dt_count(&y->shape);
    node->aux_bytes = (arrays_of_capsules(p) * n + n / (size_t)p->dim * arrays_of_pairs(p)) * sizeof(float);
    return DT_OK;
}

static const dt_field route_int_fields[] = {
    { DT_MEMBER(dt_route_int_params, iterations), DT_INT(1, DT_MAX_ROUTING) },
    { DT_MEMBER(dt_route_int_params, inputs), DT_INT(1, 1 << 24) },
    { DT_MEMBER(dt_route_int_params, dim), DT_INT(1, 1 << 20) },
    { DT_MEMBER(dt_route_int_params, joint), DT_INT(0, 1) },
    { DT_MEMBER(dt_route_int_params, whole), DT_INT(0, 1) },
    { DT_MEMBER(dt_route_int_params, gives_s), DT_INT(0, 1) },
    { DT_MEMBER(dt_route_int_params, s_bits), DT_INTS(DT_MAX_ROUTING, 0, 16) },
    { DT_MEMBER(dt_route_int_params, s_frac), DT_INTS(DT_MAX_ROUTING, 0, 18) },
    { DT_MEMBER(dt_route_int_params, v_bits), DT_INTS(DT_MAX_ROUTING, 0, 16) },
    { DT_MEMBER(dt_route_int_params, v_frac), DT_INTS(DT_MAX_ROUTING, 0, 24) },
    { DT_MEMBER(dt_route_int_params, b_bits), DT_INTS(DT_MAX_ROUTING, 0, 16) },
    { DT_MEMBER(dt_route_int_params, b_frac), DT_INTS(DT_MAX_ROUTING, -8, 16) },
    { DT_MEMBER(dt_route_int_params, c_bits), DT_INTS(DT_MAX_ROUTING, 0, 16) },
    { DT_MEMBER(dt_route_int_params, c_frac), DT_INTS(DT_MAX_ROUTING, 0, 24) },
    { DT_MEMBER(dt_route_int_params, acc_mul), DT_INTS(DT_MAX_ROUTING, 0, (1 << 15) - 1) },
    { DT_MEMBER(dt_route_int_params, acc_shift), DT_INTS(DT_MAX_ROUTING, 0, DT_CAPS_SHIFT_MAX) },
    { DT_MEMBER(dt_route_int_params, agree_mul), DT_INTS(DT_MAX_ROUTING, 0, (1 << 15) - 1) },
    { DT_MEMBER(dt_route_int_params, agree_shift), DT_INTS(DT_MAX_ROUTING, 0, DT_CAPS_SHIFT_MAX) },
};

const dt_op dt_op_route_int = {
    .name = "route_int",
    .min_in = 2,
    .max_in = 2,
    DT_OP_PARAMS(dt_route_int_params, route_int_fields),
    .backward_reads = DT_READS_IN(DT_ROUTE_VOTES) | DT_READS_AUX,
    .infer = route_int_infer,
};

static dt_status check_ratio(const char *name, const char *of, dt_ratio ratio)
{
    DT_CHECK(ratio.mul > 0 && ratio.shift > 0, DT_ERR_NUMERIC,
             "%s: the ratio of its %s is %d / 2^%d; neither may be 0: the scale of the votes is out of range, as of a "
             "network that was not trained or has diverged",
             name, of, ratio.mul, ratio.shift);
    return DT_OK;
}

dt_status dt_route_int_settle(const char *name, dt_route_int_params *p, float scale, int64_t span)
{
    dt_route_int_params from = *p;

    memset(from.acc_mul, 0, sizeof from.acc_mul);
    for (int r = 0; r < from.iterations; r++) {
        const dt_route_ratios x = dt_route_ratios_of(&from, r, scale, span);
        DT_TRY(check_ratio(name, "sums", x.acc));
        p->acc_mul[r] = x.acc.mul;
        p->acc_shift[r] = x.acc.shift;
        if (r == from.iterations - 1) break;
        DT_TRY(check_ratio(name, "agreements", x.agree));
        DT_TRY(check_keep(name, p, r, x.agree.shift));
        p->agree_mul[r] = x.agree.mul;
        p->agree_shift[r] = x.agree.shift;
    }
    return DT_OK;
}

/* ---- what forward and backward see ---- */

static float low_of(int bits, int frac)
{
    return bits > 0 ? -dt_power_of_two(bits - 1 - frac) : 0.0f;
}

static float high_of(int bits, int frac)
{
    return bits > 0 ? dt_power_of_two(-frac) * (float)((1 << (bits - 1)) - 1) : 0.0f;
}

static dt_route_limits limits_of(const dt_route_int_params *p)
{
    dt_route_limits l = { 0 };

    for (int r = 0; r < p->iterations; r++) {
        l.s_low[r] = low_of(p->s_bits[r], p->s_frac[r]);
        l.s_high[r] = high_of(p->s_bits[r], p->s_frac[r]);
        l.v_low[r] = low_of(p->v_bits[r], p->v_frac[r]);
        l.v_high[r] = high_of(p->v_bits[r], p->v_frac[r]);
        l.b_low[r] = low_of(p->b_bits[r], p->b_frac[r]);
        l.b_high[r] = high_of(p->b_bits[r], p->b_frac[r]);
        l.c_high[r] = high_of(p->c_bits[r] + 1, p->c_frac[r]);
    }
    return l;
}

dt_route dt_route_int_look(const dt_node *node, void *scratch, int group)
{
    const dt_route_int_params *p = node->params;
    const dt_tensor *votes = node->in[DT_ROUTE_VOTES];
    const dt_shape *y = &node->out->shape;
    const size_t iterations = (size_t)p->iterations, capsules = n_capsules(node), pairs = n_pairs(node);
    dt_route t = { .images = y->dim[0], .inputs = p->inputs, .dim = p->dim, .iterations = p->iterations };

    t.group = group;
    t.types = dt_channels(y) / p->dim;
    t.capsules = dt_count(y) / t.images / p->dim;
    t.stored = (int64_t)capsules / dt_route_width(&t);
    t.span = p->joint ? t.capsules : t.types;
    t.votes = votes->data;
    t.scale = votes->scale;
    t.n_scale = votes->n_scale;
    t.bias = node->in[DT_ROUTE_BIAS]->data;
    t.y = node->out->data;
    t.on_grid = 1;
    t.whole = p->whole;
    t.gives_s = p->gives_s;
    t.limits = limits_of(p);
    t.s = node->aux;
    t.v = t.s + iterations * capsules;
    t.c = t.v + iterations * capsules;
    t.logits = t.c + (iterations - 1) * pairs;
    t.b = scratch;
    t.ds = t.b + (iterations - 1) * pairs;
    t.part = t.ds + iterations * capsules;
    return t;
}

int dt_route_group_on(const dt_context *ctx)
{
    return strcmp(ctx->backend->name, "cpu") == 0 ? DT_CAPS_GROUP : 1;
}

void dt_route_rows(const dt_route *t, const float *pairs, float *rows)
{
    for (int64_t i = 0; i < t->inputs; i++) {
        const int64_t first = i / t->group * t->group, left = t->inputs - first, n = left < t->group ? left : t->group;
        const float *group = pairs + first * t->capsules + i - first;
        for (int64_t m = 0; m < t->capsules; m++) rows[i * t->capsules + m] = group[m * n];
    }
}

size_t dt_route_int_scratch(const dt_node *node, int64_t parts)
{
    const size_t iterations = (size_t)((const dt_route_int_params *)node->params)->iterations;
    const size_t values = (iterations - 1) * n_pairs(node) + (iterations + (size_t)parts) * n_capsules(node);

    return (values + 1) / 2 * 2 * sizeof(float); /* so that integers of 64 bits may follow */
}

const dt_kernel dt_cpu_route_int = {
    .prepare = dt_route_int_prepare,
    .forward = dt_route_int_forward,
    .backward = dt_route_int_backward,
    .overwrites = 1u << DT_ROUTE_VOTES | 1u << DT_ROUTE_BIAS,
};
