/*
 * test_route_int.c - routing by integers against its definition in whole numbers, with no code of
 * core/arith/capsules.h; its gradients against those of routing by reals, which it comes near; codes at their limits.
 */
#include "../support/op_case.h"

#include "../../layers/caps/route_int.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8192 }; /* values of a tensor of one image */

static const char *const backends[] = { "cpu", "cuda" };

/* ---- the definition ---- */

/* floor(x / 2^k + 1 / 2), and without the half if there is none */
static int64_t half_up(__int128 x, int k, int has_half)
{
    const __int128 one = (__int128)1 << k, sum = x + (has_half && k > 0 ? one / 2 : 0);
    const __int128 q = sum / one;
    return (int64_t)(sum < 0 && q * one != sum ? q - 1 : q);
}

static int64_t limited(int64_t x, int bits)
{
    const int64_t most = (int64_t)ldexp(1.0, bits - 1);
    return x < -most ? -most : x >= most ? most - 1 : x;
}

typedef struct {
    int64_t mul;
    int shift;
} ratio;

/* The nearest of 15 bits. */
static ratio ratio_of(float scale, int up)
{
    int e;
    const double m = frexp((double)scale, &e); /* 1/2 .. 1 */
    ratio r = { (int64_t)floor(m * 32768.0 + 0.5), 15 - e - up };
    if (r.mul == 32768) {
        r.mul = 16384;
        r.shift--;
    }
    return r;
}

/* sqrt(Q) / (1 + Q) between two points of the table, Q moved by powers of 4 into 2^-6 .. 2^12. */
static int64_t squashed(int64_t s, int64_t q, int s_frac, int v_bits, int v_frac)
{
    double Q = ldexp((double)q, -2 * s_frac);
    int k = 0;
    if (q == 0) return 0;
    for (; Q < ldexp(1.0, -6); k++) Q *= 4.0;
    for (; Q >= 4096.0; k++) Q /= 4.0;
    int e;
    frexp(Q, &e);
    const double in_octave = ldexp(Q, 1 - e) - 1.0; /* 0 .. 1 */
    const int segment = (int)floor(in_octave * 8.0), place = (int)floor((in_octave * 8.0 - segment) * 256.0);
    const double t0 = ldexp(1.0 + segment / 8.0, e - 1), t1 = ldexp(1.0 + (segment + 1) / 8.0, e - 1);
    const double g0 = floor(65536.0 * sqrt(t0) / (1.0 + t0) + 0.5), g1 = floor(65536.0 * sqrt(t1) / (1.0 + t1) + 0.5);
    const int64_t gain = (int64_t)(g0 + floor((g1 - g0) * place / 256.0 + 0.5));
    return limited(half_up((__int128)s * gain, s_frac + 16 - v_frac + k, 1), v_bits);
}

static void softmaxed(const int64_t *b, int n, int b_frac, int c_bits, int c_frac, int64_t *c)
{
    int64_t top = b[0], e[512], sum = 0;
    for (int k = 1; k < n; k++) top = b[k] > top ? b[k] : top;
    for (int k = 0; k < n; k++) {
        const int64_t y = (int64_t)floor(ldexp((double)(top - b[k]), 5 - b_frac) + (b_frac > 5 ? 0.5 : 0.0));
        e[k] =
            y / 32 > 16 ? 0 : half_up((int64_t)floor(32768.0 * exp2(-(double)(y % 32) / 32.0) + 0.5), (int)(y / 32), 1);
        sum += e[k];
    }
    const int z = (int)floor(log2((double)sum));
    const int64_t r = ((int64_t)1 << 31) / (sum >> (z - 15));
    for (int k = 0; k < n; k++) {
        c[k] = half_up((__int128)e[k] * r, z + 16 - c_frac, 1);
        if (c[k] >= 1 << c_bits) c[k] = (1 << c_bits) - 1;
    }
}

/* One image's routing: votes [I][M][D] codes. */
typedef struct {
    const dt_route_int_params *p;
    int inputs, capsules, span, dim, types;
    float scale;
    const double *bias;
    int64_t u[MOST], s[MOST], v[MOST], b[MOST], c[MOST];
} routing;

static void give_s_and_v(routing *o, int r)
{
    const dt_route_int_params *p = o->p;
    const int dim = o->dim;
    const ratio a = r == 0 ? ratio_of(p->whole ? o->scale : o->scale / (float)o->span, p->s_frac[0])
                           : ratio_of(o->scale, p->s_frac[r] - p->c_frac[r - 1]);
    for (int m = 0; m < o->capsules; m++) {
        int64_t q = 0;
        for (int d = 0; d < dim; d++) {
            __int128 acc = 0;
            for (int i = 0; i < o->inputs; i++)
                acc += (__int128)(r == 0 ? 1 : o->c[i * o->capsules + m]) * o->u[(i * o->capsules + m) * dim + d];
            const double bias = o->bias[m % o->types * dim + d];
            const __int128 offset = (__int128)rint(ldexp(bias, p->s_frac[r] + a.shift));
            o->s[m * dim + d] = limited(half_up(acc * a.mul + offset, a.shift, 1), p->s_bits[r]);
            q += o->s[m * dim + d] * o->s[m * dim + d];
        }
        for (int d = 0; d < dim; d++)
            o->v[m * dim + d] = squashed(o->s[m * dim + d], q, p->s_frac[r], p->v_bits[r], p->v_frac[r]);
    }
}

static void give_b_and_c(routing *o, int r)
{
    const dt_route_int_params *p = o->p;
    const ratio a = ratio_of(o->scale * 1.44269504f, p->b_frac[r] - p->v_frac[r]);
    for (int k = 0; k < o->inputs * o->capsules; k++) {
        __int128 agreement = 0, before = 0;
        for (int d = 0; d < o->dim; d++)
            agreement += (__int128)o->u[k * o->dim + d] * o->v[k % o->capsules * o->dim + d];
        if (r > 0) before = (__int128)o->b[k] * ((__int128)1 << (a.shift + p->b_frac[r] - p->b_frac[r - 1]));
        o->b[k] = limited(half_up(before + agreement * a.mul, a.shift, 1), p->b_bits[r]);
    }
    for (int k = 0; k < o->inputs * o->capsules; k += o->span)
        softmaxed(o->b + k, o->span, p->b_frac[r], p->c_bits[r], p->c_frac[r], o->c + k);
}

static void route_oracle(const op_case *c, const double *const *in, double *out)
{
    static routing o;
    const dt_route_int_params *p = o.p = c->params;
    const int64_t *d = c->in[0].shape.dim;
    const int flat = c->in[0].shape.ndim == 3, images = (int)(flat ? d[0] : d[0] / p->inputs), last = p->iterations - 1;

    o.inputs = p->inputs;
    o.dim = p->dim;
    o.types = (int)(flat ? d[2] : d[3]) / p->dim;
    o.capsules = o.types * (flat ? 1 : (int)(d[1] * d[2]));
    o.span = p->joint ? o.capsules : o.types;
    o.scale = c->in[0].scale;
    o.bias = in[1];
    const int width = o.capsules * o.dim;
    cr_assert(o.inputs * width <= MOST, "%s: MOST is too small", c->why);
    for (int n = 0; n < images; n++) {
        for (int k = 0; k < o.inputs * width; k++)
            o.u[k] = (int64_t)rint(in[0][n * o.inputs * width + k] / (double)o.scale);
        for (int r = 0; r <= last; r++) {
            give_s_and_v(&o, r);
            if (r < last) give_b_and_c(&o, r);
        }
        for (int k = 0; k < width; k++)
            out[n * width + k] =
                p->gives_s ? ldexp((double)o.s[k], -p->s_frac[last]) : ldexp((double)o.v[k], -p->v_frac[last]);
    }
}

#define ALL(n)     \
    {              \
        n, n, n, n \
    }
#define EACH(...)   \
    {               \
        __VA_ARGS__ \
    }
#define FORMATS(s, sf, v, vf, b, bf, c, cf) \
    .s_bits = s, .s_frac = sf, .v_bits = v, .v_frac = vf, .b_bits = b, .b_frac = bf, .c_bits = c, .c_frac = cf
#define EIGHT  FORMATS(ALL(16), ALL(11), ALL(8), ALL(7), ALL(8), ALL(3), ALL(9), ALL(9))
#define WIDE_V FORMATS(ALL(16), ALL(11), ALL(16), ALL(15), ALL(8), ALL(3), ALL(9), ALL(9))
/* Fine formats: what is left is the table's error, 0.5 % of a gain at most. */
#define FINE FORMATS(ALL(16), ALL(12), ALL(14), ALL(13), ALL(16), ALL(5), ALL(14), ALL(14))
#define PARAMS(I, D, R, FORMATS, ...)                                  \
    &(const dt_route_int_params)                                       \
    {                                                                  \
        .inputs = I, .dim = D, .iterations = R, FORMATS, ##__VA_ARGS__ \
    }
#define ROUTE           .op = DT_OP_ROUTE_INT, .n_in = 2, .oracle = route_oracle, .agree = AGREE_INTEGERS, .no_slopes = "codes"
#define CODES(most, s)  .fill = FILL_INTEGER, .size = most, .scale = s
#define COUNTS(most, s) .fill = FILL_COUNT, .size = most, .scale = s

static const op_case cases[] = {
    { ROUTE, .why = "odd sizes", .params = PARAMS(7, 5, 3, EIGHT),
      .in = { { OP_SHAPE(2, 7, 15), CODES(120, 0.011f) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "one iteration", .params = PARAMS(7, 5, 1, EIGHT),
      .in = { { OP_SHAPE(3, 7, 15), CODES(120, 0.02f) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "four iterations, s at the end", .params = PARAMS(5, 7, 4, EIGHT, .gives_s = 1),
      .in = { { OP_SHAPE(1, 5, 21), CODES(120, 0.02f) }, { OP_SHAPE(21) } } },
    { ROUTE, .why = "digits: inputs in several blocks", .params = PARAMS(49, 16, 3, EIGHT, .gives_s = 1),
      .in = { { OP_SHAPE(2, 49, 160), CODES(392, 0.003f) }, { OP_SHAPE(10, 16), .size = 0.1f } } },
    { ROUTE, .why = "sums past 2^24, of which f32 would lose bits: one group of inputs at a time",
      .params =
          PARAMS(1024, 3, 3, FORMATS(ALL(16), ALL(5), ALL(5), ALL(4), ALL(8), ALL(3), ALL(9), ALL(9)), .gives_s = 1),
      .in = { { OP_SHAPE(32, 1024, 6), COUNTS(1600, 0.002f) }, { OP_SHAPE(2, 3) } } },
    { ROUTE, .why = "one input at a time",
      .params =
          PARAMS(128, 32, 3, FORMATS(ALL(16), ALL(4), ALL(5), ALL(4), ALL(8), ALL(3), ALL(9), ALL(9)), .gives_s = 1),
      .in = { { OP_SHAPE(256, 128, 32), COUNTS(30000, 0.000488281f) }, { OP_SHAPE(1, 32) } } },
    { ROUTE, .why = "one vote near 2^24",
      .params = PARAMS(1, 4, 1, FORMATS(ALL(16), ALL(6), ALL(16), ALL(15), ALL(8), ALL(3), ALL(9), ALL(9)), .whole = 1),
      .in = { { OP_SHAPE(2, 3, 3, 12), CODES(16777215, 0.00001f) }, { OP_SHAPE(12) } } },
    { ROUTE, .why = "first sums near 2^31, of which a block is one input",
      .params = PARAMS(127, 2, 1, FORMATS(ALL(16), ALL(6), ALL(16), ALL(15), ALL(8), ALL(3), ALL(9), ALL(9))),
      .in = { { OP_SHAPE(1, 127, 4), CODES(16777215, 0.0000003f) }, { OP_SHAPE(2, 2) } } },
    { ROUTE, .why = "couplings times votes near 2^24, their sums near 2^31",
      .params =
          PARAMS(127, 2, 3, FORMATS(ALL(16), ALL(8), ALL(8), ALL(7), ALL(8), ALL(3), ALL(9), ALL(9)), .gives_s = 1),
      .in = { { OP_SHAPE(1, 127, 4), CODES(32832, 0.0001f) }, { OP_SHAPE(2, 2) } } },
    { ROUTE, .why = "formats of each iteration",
      .params = PARAMS(9, 4, 3,
                       FORMATS(EACH(8, 12, 16), EACH(5, 8, 12), EACH(6, 8, 16), EACH(5, 8, 15), EACH(6, 8), EACH(2, 6),
                               EACH(6, 8), EACH(6, 9))),
      .in = { { OP_SHAPE(2, 9, 12), CODES(100, 0.02f) }, { OP_SHAPE(3, 4) } } },
    { ROUTE, .why = "steps of logits above 1",
      .params = PARAMS(9, 4, 3, FORMATS(ALL(16), ALL(11), ALL(8), ALL(7), ALL(4), ALL(-1), ALL(9), ALL(9))),
      .in = { { OP_SHAPE(2, 9, 12), CODES(100, 0.05f) }, { OP_SHAPE(3, 4) } } },
    { ROUTE, .why = "long capsules and logits at their limits",
      .params = PARAMS(9, 4, 3, FORMATS(ALL(16), ALL(6), ALL(8), ALL(7), ALL(8), ALL(3), ALL(9), ALL(9))),
      .in = { { OP_SHAPE(2, 9, 12), CODES(120, 1.7f) }, { OP_SHAPE(3, 4), .size = 3.0f } } },
    { ROUTE, .why = "six positions, each its softmax", .params = PARAMS(4, 5, 3, EIGHT),
      .in = { { OP_SHAPE(8, 2, 3, 15), CODES(120, 0.02f) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "3-D routing: one softmax of more than a warp",
      .params =
          PARAMS(3, 8, 3, FORMATS(ALL(16), ALL(11), EACH(8, 8, 16), EACH(7, 7, 15), ALL(8), ALL(3), ALL(12), ALL(12)),
                 .joint = 1),
      .in = { { OP_SHAPE(6, 2, 2, 88), CODES(127, 0.03f) }, { OP_SHAPE(11, 8), .size = 0.1f } } },
    { ROUTE, .why = "primary capsules of psums", .params = PARAMS(1, 8, 1, WIDE_V),
      .in = { { OP_SHAPE(3, 5, 5, 32), CODES(400000, 0.00004f) }, { OP_SHAPE(4, 8) } } },
    { ROUTE, .why = "capsules of a convolution", .params = PARAMS(1, 4, 1, WIDE_V, .whole = 1),
      .in = { { OP_SHAPE(2, 3, 7, 12), CODES(9000, 0.0001f) }, { OP_SHAPE(12) } } },
    { ROUTE, .why = "no votes but 0", .params = PARAMS(3, 2, 3, EIGHT),
      .in = { { OP_SHAPE(1, 3, 4), .fill = FILL_ZERO, .scale = 0.02f }, { OP_SHAPE(2, 2), .fill = FILL_ZERO } } },
};

Test(route_int, cases)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

static const op_case from_of_ratios_that_are_given = { ROUTE, .why = "from the scale", .params = PARAMS(7, 5, 3, EIGHT),
                                                       .in = { { OP_SHAPE(2, 7, 15), CODES(120, 0.011f) },
                                                               { OP_SHAPE(3, 5) } } };

/* Ratios that a program has give the values that they follow from. */
Test(route_int, ratios_that_are_given)
{
    op_case given = from_of_ratios_that_are_given;
    dt_route_int_params p = *(const dt_route_int_params *)from_of_ratios_that_are_given.params;

    cr_assert(dt_route_int_settle("given", &p, 0.011f, 3) == DT_OK);
    cr_assert(p.acc_mul[0] != 0 && p.acc_mul[2] != 0 && p.agree_mul[1] != 0 && p.agree_mul[2] == 0);
    given.params = &p;
    op_case_run(&given);
    p.acc_mul[2] -= 2000;
    char fault[OP_FAULT_BYTES];
    cr_assert(!op_case_holds(&given, NULL, fault), "another ratio has given the same codes");
    cr_assert(dt_route_int_settle("tiny", &p, 1e-20f, 3) == DT_ERR_NUMERIC);
}

/* ---- backward ---- */

typedef struct {
    float *du, *dbias;
    int64_t n, n_bias;
} gradients;

static int run_backward(const op_case *c, const char *backend, const float *dy, gradients *g)
{
    op_rig rig;

    if (!op_rig_open(&rig, backend, 1, c)) return 0;
    g->n = dt_count(&rig.in[0].shape);
    g->n_bias = dt_count(&rig.in[1].shape);
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    g->du = op_rig_read(&rig, rig.in[0].grad, g->n);
    g->dbias = op_rig_read(&rig, rig.in[1].grad, g->n_bias);
    op_rig_close(&rig);
    return 1;
}

/* Within a share of the largest. */
static void near(const char *why, const float *got, const float *want, int64_t n, double share)
{
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i] - 0.5));
    for (int64_t i = 0; i < n; i++)
        cr_assert(fabs((double)got[i] - (double)want[i]) <= share * largest, "%s[%d]: %.7g, expected %.7g", why, (int)i,
                  (double)got[i], (double)want[i]);
}

static const struct {
    const char *why;
    const dt_route_int_params *p;
    op_input votes, bias;
} slopes[] = {
    { "three iterations",
      PARAMS(7, 5, 3, FINE),
      { OP_SHAPE(2, 7, 15), CODES(60, 0.02f) },
      { OP_SHAPE(3, 5), .size = 1.0f } },
    { "3-D routing",
      PARAMS(4, 8, 3, FINE, .joint = 1),
      { OP_SHAPE(8, 2, 2, 88), CODES(60, 0.02f) },
      { OP_SHAPE(11, 8), .size = 1.0f } },
    { "one vote", PARAMS(1, 8, 1, FINE), { OP_SHAPE(3, 2, 2, 32), CODES(60, 0.3f) }, { OP_SHAPE(4, 8), .size = 1.0f } },
};

Test(route_int, gradients_are_near_those_of_reals)
{
    for (size_t i = 0; i < sizeof slopes / sizeof slopes[0]; i++) {
        const dt_route_int_params *p = slopes[i].p;
        const dt_caps_route_params reals = {
            .inputs = p->inputs, .dim = p->dim, .iterations = p->iterations, .joint = p->joint
        };
        const op_case is = { .why = slopes[i].why,
                             .op = DT_OP_ROUTE_INT,
                             .params = p,
                             .n_in = 2,
                             .in = { slopes[i].votes, slopes[i].bias } };
        const op_case near_to = { .why = slopes[i].why,
                                  .op = DT_OP_CAPS_ROUTE,
                                  .params = &reals,
                                  .n_in = 2,
                                  .in = { slopes[i].votes, slopes[i].bias } };
        float *dy = op_test_dy(dt_count(&slopes[i].votes.shape) / p->inputs);
        gradients want, got;
        cr_assert(run_backward(&near_to, "cpu", dy, &want));
        for (int b = 0; b < 2; b++) {
            if (!run_backward(&is, backends[b], dy, &got)) continue;
            near(slopes[i].why, got.du, want.du, want.n, 0.02);
            near(slopes[i].why, got.dbias, want.dbias, want.n_bias, 0.02);
            free(got.du);
            free(got.dbias);
        }
        free(want.du);
        free(want.dbias);
        free(dy);
    }
}

static const op_case case_of_gradient_of_s = { ROUTE, .why = "s", .params = PARAMS(3, 2, 1, EIGHT, .gives_s = 1),
                                               .in = { { OP_SHAPE(1, 3, 4), CODES(50, 0.02f) },
                                                       { OP_SHAPE(2, 2), .size = 0.1f } } };

/* s of the last iteration is the output, and its gradient goes to the votes with the couplings for factors. */
Test(route_int, gradient_of_s)
{
    static const float dy[] = { 1.0f, -2.0f, 3.0f, 0.25f };
    gradients g;

    for (int b = 0; b < 2; b++) {
        if (!run_backward(&case_of_gradient_of_s, backends[b], dy, &g)) continue;
        for (int k = 0; k < 12; k++) cr_assert(g.du[k] == 0.5f + dy[k % 4] / 2.0f, "%s: du[%d]", backends[b], k);
        for (int k = 0; k < 4; k++) cr_assert(g.dbias[k] == 0.5f + dy[k], "%s: dbias[%d]", backends[b], k);
        free(g.du);
        free(g.dbias);
    }
}

static const op_case case_of_nothing_flows_through_limits = {
    ROUTE, .why = "limits",
    .params = PARAMS(3, 2, 1, FORMATS(ALL(4), ALL(2), ALL(8), ALL(7), ALL(8), ALL(3), ALL(9), ALL(9))),
    .in = { { OP_SHAPE(1, 3, 4), CODES(50, 0.005f) }, { OP_SHAPE(2, 2) } }
};

/* All votes of the first capsule are beyond its codes: no gradient but 0 comes out, which leaves 0.5. */
Test(route_int, nothing_flows_through_limits)
{
    static const float bias[] = { 9.0f, -9.0f, 0.5f, -0.5f }, dy[] = { 1.0f, 1.0f, 1.0f, 1.0f };
    op_rig rig;

    for (int b = 0; b < 2; b++) {
        if (!op_rig_open(&rig, backends[b], 1, &case_of_nothing_flows_through_limits)) continue;
        op_rig_write(&rig, rig.in[1].data, bias, sizeof bias);
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        float *du = op_rig_read(&rig, rig.in[0].grad, 12);
        for (int k = 0; k < 12; k++)
            cr_assert((du[k] == 0.5f) == (k % 4 < 2), "%s: du[%d] is %g", backends[b], k, (double)du[k]);
        free(du);
        op_rig_close(&rig);
    }
}

/* ---- bounds ---- */

/* The largest that is accepted, and the next: u is the votes' bound. */
static const struct {
    const dt_route_int_params *p;
    int64_t u;      /* which is accepted; u + 1 is not */
    const char *of; /* what u + 1 makes too large */
    int64_t most, below;
} bounds[] = {
    { PARAMS(1, 8, 1, WIDE_V), (1 << 24) - 1, "a vote", 1 << 24, 1 << 24 },
    { PARAMS(1 << 15, 8, 1, WIDE_V), 65535, "the first sum of votes", 1LL << 31, 1LL << 31 },
    { PARAMS(1, 1, 2, EIGHT), 32832, "a coupling times a vote", 32833LL * 511, 1 << 24 },
    { PARAMS(1152, 16, 3, EIGHT), 3648, "a sum of couplings times votes", 3649LL * 511 * 1152, 1LL << 31 },
    { PARAMS(7, 32, 3, EIGHT), 4095, "an agreement", 1 << 24, 1 << 24 },
    /* c of the second iteration alone is too wide */
    { PARAMS(2, 1, 3, FORMATS(ALL(16), ALL(11), ALL(8), ALL(7), ALL(8), ALL(3), EACH(4, 16), ALL(9))), 256,
      "a coupling times a vote", 257LL * 65535, 1 << 24 },
    /* what would not fit 64 bits is found before it is computed */
    { PARAMS(1 << 24, 1 << 20, 3, FORMATS(ALL(16), ALL(11), ALL(16), ALL(15), ALL(8), ALL(3), ALL(16), ALL(16))), 1,
      "a sum of couplings times votes", 0, 1LL << 31 },
};

Test(route_int, largest_sums_that_are_accepted)
{
    for (size_t i = 0; i + 1 < sizeof bounds / sizeof bounds[0]; i++) {
        const dt_route_int_limit ok = dt_route_int_excess(bounds[i].p, bounds[i].u);
        const dt_route_int_limit past = dt_route_int_excess(bounds[i].p, bounds[i].u + 1);
        cr_assert(!ok.of, "%d: %s reaches %lld", (int)i, ok.of, (long long)ok.most);
        cr_assert(past.of && strcmp(past.of, bounds[i].of) == 0, "%d: %s, expected %s", (int)i, past.of, bounds[i].of);
        cr_assert(past.most == bounds[i].most && past.below == bounds[i].below, "%d: %lld of %lld", (int)i,
                  (long long)past.most, (long long)past.below);
    }
    const size_t last = sizeof bounds / sizeof bounds[0] - 1;
    cr_assert(dt_route_int_excess(bounds[last].p, (int64_t)1 << 23).of != NULL);
    cr_assert(strcmp(dt_route_int_excess(bounds[last].p, 127).of, bounds[last].of) == 0);
}

/* 63 squares of 2^30 stay below 2^36. */
static const op_case many_squares = { ROUTE, .why = "64 squares", .params = PARAMS(1, 64, 1, WIDE_V),
                                      .in = { { OP_SHAPE(1, 1, 64), CODES(10, 0.02f) }, { OP_SHAPE(1, 64) } } };
static const op_case most_squares = { ROUTE, .why = "63 squares, s at its limits", .params = PARAMS(1, 63, 1, WIDE_V),
                                      .in = { { OP_SHAPE(1, 1, 63), CODES(120, 2.0f) }, { OP_SHAPE(1, 63) } } };

Test(route_int, most_squares_that_are_accepted)
{
    op_case_run(&most_squares);
    op_case_refused(&many_squares, DT_ERR_UNSUPPORTED, "may sum to 68719476736, and must stay below 68719476736");
}

/* Logits of 16 fraction bits, then of -8: a shift of the agreements below 24 would lose those of before. */
static const op_case far_formats = {
    ROUTE, .why = "logits that are not kept",
    .params =
        PARAMS(7, 5, 3, FORMATS(ALL(16), ALL(11), ALL(8), ALL(7), ALL(8), EACH(16, -8), ALL(9), ALL(9)),
               .acc_mul = ALL(1 << 14), .acc_shift = ALL(20), .agree_mul = ALL(1 << 14), .agree_shift = EACH(20, 23)),
    .in = { { OP_SHAPE(2, 7, 15), CODES(100, 0.02f) }, { OP_SHAPE(3, 5) } }
};

/* Nothing that is kept becomes 0 in silence. */
Test(route_int, logits_that_are_not_kept_are_refused)
{
    op_case row = far_formats;
    dt_route_int_params p = *(const dt_route_int_params *)far_formats.params;

    op_case_refused(&row, DT_ERR_NUMERIC, "they would be shifted by -1, allowed are 0 to 46");
    row.params = &p;
    p.agree_shift[1] = 24;
    cr_assert(dt_route_ratios_of(&p, 1, 1.0f, 3).keep == 1);
    p.b_frac[0] = -8;
    p.b_frac[1] = 16;
    p.agree_shift[1] = 23;
    op_case_refused(&row, DT_ERR_NUMERIC, "they would be shifted by 47, allowed are 0 to 46");
    p.agree_shift[1] = 22;
    cr_assert(dt_route_ratios_of(&p, 1, 1.0f, 3).keep == (int64_t)1 << 46);

    memset(p.acc_mul, 0, sizeof p.acc_mul);
    p.b_frac[0] = 3;
    p.b_frac[1] = -8; /* of a scale of 1/4 the agreements' ratio has the shift 30 */
    cr_assert(dt_route_int_settle("near", &p, 0.25f, 3) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_route_int_settle("far", &p, 8192.0f, 3) == DT_ERR_NUMERIC);
}

static const op_case span_of_refuses = { ROUTE, .why = "a wide softmax", .params = PARAMS(1, 1, 2, EIGHT),
                                         .in = { { OP_SHAPE(1, 1, 513), CODES(10, 0.02f) }, { OP_SHAPE(513) } } };

static const op_case none_of_refuses = {
    ROUTE, .why = "no bits",
    .params = PARAMS(7, 5, 3, FORMATS(ALL(16), ALL(11), EACH(8, 1, 8), ALL(7), ALL(8), ALL(3), ALL(9), ALL(9))),
    .in = { { OP_SHAPE(2, 7, 15), CODES(10, 0.02f) }, { OP_SHAPE(3, 5) } }
};

static const op_case wide_of_refuses = { ROUTE, .why = "wide votes", .params = PARAMS(7, 5, 3, EIGHT),
                                         .in = { { OP_SHAPE(2, 7, 15), CODES(100000, 0.02f) }, { OP_SHAPE(3, 5) } } };

static const op_case real_of_refuses = { ROUTE, .why = "real votes", .params = PARAMS(7, 5, 3, EIGHT),
                                         .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(3, 5) } } };

Test(route_int, refuses)
{

    op_case_refused(&real_of_refuses, DT_ERR_ARGUMENT, "codes of one scale");
    op_case_refused(&wide_of_refuses, DT_ERR_UNSUPPORTED, "a coupling times a vote may reach 5097");
    op_case_refused(&none_of_refuses, DT_ERR_ARGUMENT, "v of iteration 1 has 1 bits");
    op_case_refused(&span_of_refuses, DT_ERR_UNSUPPORTED, "a softmax of 513");
}
