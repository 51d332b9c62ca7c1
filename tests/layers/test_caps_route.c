/*
 * test_caps_route.c - dynamic routing against its definition, one sum after another, in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../layers/caps/caps_route.h"

enum { MOST = 4096 }; /* values of a tensor of one image */

/* One image's routing. Votes [I][P][J][D]; everything is found by its four indices. */
typedef struct {
    const dt_caps_route_params *p;
    int inputs, positions, types, dim;
    double c[MOST], b[MOST], s[MOST], v[MOST]; /* [I][P][J] and [P][J][D] */
} routing;

/* Largest magnitudes since they were last cleared. */
static dt_route_ranges seen;

static double look_and_round(const routing *o, const dt_fixed_format *f, float *largest, double x)
{
    *largest = (float)fmax((double)*largest, fabs(x));
    if (!o->p->fixed || f->bits < 0) return x;
    const double step = (double)f->scale / pow(2.0, f->bits - 1), at = x / step, top = pow(2.0, f->bits - 1);
    const double code = f->rounding == DT_ROUND_TRUNCATION ? floor(at) : rint(at);
    return fmin(fmax(code, -top), top - 1.0) * step;
}

static int same_softmax(const routing *o, int a, int b)
{
    return o->p->joint || a / o->types == b / o->types;
}

static void oracle_couplings(routing *o, int r, int i)
{
    const int n = o->positions * o->types;
    for (int a = 0; a < n; a++) {
        double sum = 0.0; /* of exp(b' - b), which is 1 / c */
        for (int k = 0; k < n; k++) {
            if (same_softmax(o, a, k)) sum += exp(o->b[i * n + k] - o->b[i * n + a]);
        }
        o->c[i * n + a] = look_and_round(o, &o->p->format[r].c, &seen.c[r], 1.0 / sum);
    }
}

static void oracle_capsules(routing *o, int r, const double *votes, const double *bias)
{
    const int n = o->positions * o->types, dim = o->dim;
    for (int a = 0; a < n; a++) {
        double square = 0.0;
        for (int d = 0; d < dim; d++) {
            double sum = bias[a % o->types * dim + d];
            for (int i = 0; i < o->inputs; i++) sum += o->c[i * n + a] * votes[(i * n + a) * dim + d];
            sum = look_and_round(o, &o->p->format[r].s, &seen.s[r], sum);
            o->s[a * dim + d] = sum;
            square += sum * sum;
        }
        for (int d = 0; d < dim; d++) {
            const double v = square > 0.0 ? square / (1.0 + square) * o->s[a * dim + d] / sqrt(square) : 0.0;
            o->v[a * dim + d] = look_and_round(o, &o->p->format[r].v, &seen.v[r], v);
        }
    }
}

static void oracle_logits(routing *o, int r, const double *votes)
{
    const int n = o->positions * o->types, dim = o->dim;
    for (int k = 0; k < o->inputs * n; k++) {
        for (int d = 0; d < dim; d++) o->b[k] += votes[k * dim + d] * o->v[k % n * dim + d];
        o->b[k] = look_and_round(o, &o->p->format[r].b, &seen.b[r], o->b[k]);
    }
}

static void route_oracle(const op_case *c, const double *const *in, double *out)
{
    static routing o;
    const dt_caps_route_params *p = c->params;
    const int64_t *d = c->in[0].shape.dim;
    const int flat = c->in[0].shape.ndim == 3, images = (int)(flat ? d[0] : d[0] / p->inputs);

    o.p = p;
    o.inputs = p->inputs;
    o.dim = p->dim;
    o.positions = flat ? 1 : (int)(d[1] * d[2]);
    o.types = (int)(flat ? d[2] : d[3]) / p->dim;
    const int width = o.positions * o.types * o.dim;
    cr_assert(o.inputs * width / o.dim <= MOST && width <= MOST, "%s: MOST is too small", c->why);
    for (int n = 0; n < images; n++) {
        const double *votes = in[0] + n * o.inputs * width;
        memset(o.b, 0, sizeof o.b);
        for (int r = 0; r < p->iterations; r++) {
            for (int i = 0; i < o.inputs; i++) oracle_couplings(&o, r, i);
            oracle_capsules(&o, r, votes, in[1]);
            if (r < p->iterations - 1) oracle_logits(&o, r, votes);
        }
        memcpy(out + n * width, o.v, (size_t)width * sizeof *out);
    }
}

#define PARAMS(I, D, R, ...)                                  \
    &(const dt_caps_route_params)                             \
    {                                                         \
        .inputs = I, .dim = D, .iterations = R, ##__VA_ARGS__ \
    }
#define ROUTE .op = DT_OP_CAPS_ROUTE, .n_in = 2, .oracle = route_oracle

/* Of values up to `largest`. */
#define FORMAT(name, round, n_bits, largest) .name = { .bits = n_bits, .rounding = round, .scale = largest }
/* No two kinds of values alike, and no two iterations. */
#define FORMATS(round, more)                                                                                  \
    {                                                                                                         \
        FORMAT(c, round, 8 + more, 1.0f), FORMAT(s, round, 6 + more, 4.0f), FORMAT(v, round, 7 + more, 1.0f), \
            FORMAT(b, round, 5 + more, 8.0f)                                                                  \
    }
#define FIXED(round) .fixed = 1, .format = { FORMATS(round, 1), FORMATS(round, 0), FORMATS(round, 2) }

static const op_case cases[] = {
    { ROUTE, .why = "odd sizes", .params = PARAMS(7, 5, 3), .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "one iteration", .params = PARAMS(7, 5, 1), .in = { { OP_SHAPE(3, 7, 15) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "two iterations", .params = PARAMS(7, 3, 2),
      .in = { { OP_SHAPE(3, 7, 12) }, { OP_SHAPE(1, 1, 12) } } },
    { ROUTE, .why = "four iterations", .params = PARAMS(5, 7, 4), .in = { { OP_SHAPE(1, 5, 21) }, { OP_SHAPE(21) } } },
    { ROUTE, .why = "digits: 10 capsules of 16", .params = PARAMS(9, 16, 3),
      .in = { { OP_SHAPE(2, 9, 160) }, { OP_SHAPE(10, 16), .size = 0.1f } } },
    { ROUTE, .why = "capsules of 32", .params = PARAMS(3, 32, 3),
      .in = { { OP_SHAPE(2, 3, 96) }, { OP_SHAPE(3, 32), .size = 0.1f } } },
    { ROUTE, .why = "inputs in several blocks and a rest", .params = PARAMS(133, 3, 2),
      .in = { { OP_SHAPE(1, 133, 6), .size = 0.3f }, { OP_SHAPE(2, 3) } } },
    { ROUTE, .why = "a whole group of inputs and a rest, capsules of 16", .params = PARAMS(19, 16, 3),
      .in = { { OP_SHAPE(2, 19, 48), .size = 0.5f }, { OP_SHAPE(3, 16), .size = 0.1f } } },
    { ROUTE, .why = "two groups, capsules of 32, of codes", .params = PARAMS(32, 32, 3),
      .in = { { OP_SHAPE(1, 32, 64), .fill = FILL_INTEGER, .scale = 0.02f }, { OP_SHAPE(2, 32), .size = 0.1f } } },
    { ROUTE, .why = "3-D routing of two groups, capsules of 8", .params = PARAMS(33, 8, 4, .joint = 1),
      .in = { { OP_SHAPE(33, 1, 2, 24), .size = 0.5f }, { OP_SHAPE(3, 8), .size = 0.1f } } },
    { ROUTE, .why = "one output capsule: c is 1", .params = PARAMS(4, 8, 3),
      .in = { { OP_SHAPE(3, 4, 8) }, { OP_SHAPE(8) } } },
    { ROUTE, .why = "one input, three iterations", .params = PARAMS(1, 4, 3),
      .in = { { OP_SHAPE(3, 1, 12) }, { OP_SHAPE(12) } } },
    { ROUTE, .why = "six positions, each its softmax", .params = PARAMS(4, 5, 3),
      .in = { { OP_SHAPE(8, 2, 3, 15) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "six positions, one softmax", .params = PARAMS(4, 5, 3, .joint = 1),
      .in = { { OP_SHAPE(8, 2, 3, 15) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "3-D routing, capsules of 8, more of them than a warp", .params = PARAMS(3, 8, 3, .joint = 1),
      .in = { { OP_SHAPE(6, 2, 2, 88) }, { OP_SHAPE(11, 8), .size = 0.1f } } },
    { ROUTE, .why = "joint with one position is not joint", .params = PARAMS(7, 5, 3, .joint = 1),
      .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "primary capsules", .params = PARAMS(1, 8, 1),
      .in = { { OP_SHAPE(3, 5, 5, 32), .size = 20.0f }, { OP_SHAPE(4, 8) } } },
    { ROUTE, .why = "primary capsules from codes", .params = PARAMS(1, 8, 1),
      .in = { { OP_SHAPE(2, 1, 3, 24), .fill = FILL_DISTINCT, .scale = 0.02f }, { OP_SHAPE(3, 8) } } },
    { ROUTE, .why = "votes are codes", .params = PARAMS(7, 5, 3),
      .in = { { OP_SHAPE(3, 7, 15), .fill = FILL_INTEGER, .scale = 0.1f }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "only the bias is trained", .params = PARAMS(7, 5, 3),
      .in = { { OP_SHAPE(2, 7, 15), .state = 1 }, { OP_SHAPE(3, 5) } } },
    { ROUTE, .why = "only the votes are", .params = PARAMS(7, 5, 3),
      .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(3, 5), .state = 1 } } },
    { ROUTE, .why = "no votes, no bias: 0", .params = PARAMS(7, 5, 3),
      .in = { { OP_SHAPE(2, 7, 15), .fill = FILL_ZERO }, { OP_SHAPE(3, 5), .fill = FILL_ZERO } } },
    /* logits of thousands, good to 1e-4 in f32, and so are couplings; exp of them is infinite */
    { ROUTE, .why = "large votes", .params = PARAMS(5, 4, 3), .no_slopes = "large", .tolerance = 1e-3,
      .in = { { OP_SHAPE(3, 5, 12), .size = 1000.0f }, { OP_SHAPE(3, 4) } } },
    /* c^1 = 1/4 and sums of codes are exact; what is not is far from a tie: one code more would be 3 % of the largest
     */
    { ROUTE, .why = "fixed point, nearest", .params = PARAMS(7, 3, 3, FIXED(DT_ROUND_NEAREST)), .agree = AGREE_BITS,
      .in = { { OP_SHAPE(5, 7, 12), .fill = FILL_INTEGER, .size = 63.0f, .scale = 0.03125f, .state = 1 },
              { OP_SHAPE(4, 3), .fill = FILL_INTEGER, .size = 1.0f, .state = 1 } } },
    { ROUTE, .why = "fixed point, down", .params = PARAMS(7, 3, 3, FIXED(DT_ROUND_TRUNCATION)), .agree = AGREE_BITS,
      .in = { { OP_SHAPE(5, 7, 12), .fill = FILL_INTEGER, .size = 63.0f, .scale = 0.03125f, .state = 1 },
              { OP_SHAPE(4, 3), .fill = FILL_INTEGER, .size = 1.0f, .state = 1 } } },
    { ROUTE, .why = "fixed point, joint", .params = PARAMS(3, 4, 2, FIXED(DT_ROUND_NEAREST), .joint = 1),
      .in = { { OP_SHAPE(6, 2, 2, 8), .state = 1 }, { OP_SHAPE(8), .state = 1 } } },
    { ROUTE, .why = "fixed point, primary", .params = PARAMS(1, 4, 1, FIXED(DT_ROUND_NEAREST)),
      .in = { { OP_SHAPE(2, 3, 1, 12), .size = 8.0f, .state = 1 }, { OP_SHAPE(12), .state = 1 } } },
};

Test(caps_route, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

static const char *const backends[] = { "cpu", "cuda" };

static double *real_votes(const op_rig *rig, int k)
{
    const int64_t n = dt_count(&rig->in[k].shape);
    float *x = op_rig_read(rig, rig->in[k].data, n);
    double *real = malloc((size_t)n * sizeof *real);
    for (int64_t i = 0; i < n; i++) real[i] = (double)x[i];
    free(x);
    return real;
}

Test(caps_route, a_run_tells_its_largest_magnitudes)
{
    const op_case rows[] = {
        { ROUTE, .why = "class capsules", .params = PARAMS(133, 5, 3, .observe = 1),
          .in = { { OP_SHAPE(5, 133, 15), .size = 0.3f }, { OP_SHAPE(15) } } },
        { ROUTE, .why = "joint", .params = PARAMS(4, 8, 2, .observe = 1, .joint = 1),
          .in = { { OP_SHAPE(12, 2, 3, 16) }, { OP_SHAPE(16) } } },
        { ROUTE, .why = "primary", .params = PARAMS(1, 8, 1, .observe = 1),
          .in = { { OP_SHAPE(7, 2, 3, 16) }, { OP_SHAPE(16) } } },
    };
    for (int k = 0; k < 2 * (int)(sizeof rows / sizeof rows[0]); k++) {
        const op_case *c = &rows[k / 2];
        op_rig rig;
        if (!op_rig_open(&rig, backends[k % 2], 2, c)) continue;
        op_rig_forward(&rig);
        op_rig_forward(&rig); /* of one run, not of all */
        float *got = op_rig_read(&rig, dt_route_ranges_of(&rig.node), sizeof seen / sizeof *got);
        double *votes = real_votes(&rig, 0), *bias = real_votes(&rig, 1);
        double *out = malloc((size_t)dt_count(&rig.out.shape) * sizeof *out);
        seen = (dt_route_ranges){ 0 };
        route_oracle(c, (const double *const[]){ votes, bias }, out);
        for (size_t i = 0; i < sizeof seen / sizeof *got; i++) {
            const double want = (double)((const float *)&seen)[i];
            cr_assert(fabs((double)got[i] - want) <= OP_TOLERANCE * want, "%s on %s: range %zu is %.9g, expected %.9g",
                      c->why, backends[k % 2], i, (double)got[i], want);
        }
        cr_assert(got[0] > 0.0f, "%s: no couplings", c->why);
        free(out);
        free(bias);
        free(votes);
        free(got);
        op_rig_close(&rig);
    }
}

static void set_step(op_rig *rig, uint64_t seed, int64_t first)
{
    const dt_step step = { .in = { .seed = seed, .first = first } };
    op_rig_write(rig, rig->ex.step, &step, sizeof step);
}

#define STOCHASTIC(number)                                                          \
    {                                                                               \
        .bits = 4, .rounding = DT_ROUND_STOCHASTIC, .scale = 2.0f, .tensor = number \
    }
#define STOCHASTIC_FORMATS(first)                                                                                  \
    {                                                                                                              \
        .c = STOCHASTIC(first), .s = STOCHASTIC(first + 1), .v = STOCHASTIC(first + 2), .b = STOCHASTIC(first + 3) \
    }

/* Image 2 of a batch, and the same image as the first of another: the draws belong to the image. */
Test(caps_route, draws_do_not_depend_on_the_batch)
{
    const dt_caps_route_params *const params =
        PARAMS(7, 5, 3, .fixed = 1, .format = { STOCHASTIC_FORMATS(1), STOCHASTIC_FORMATS(5), STOCHASTIC_FORMATS(9) });
    const op_case batch = { ROUTE, .why = "batch", .params = params,
                            .in = { { OP_SHAPE(3, 7, 15), .state = 1 }, { OP_SHAPE(15), .state = 1 } } };
    op_case one = batch;
    one.in[0].shape.dim[0] = 1;
    for (int b = 0; b < 2; b++) {
        op_rig many, single;
        if (!op_rig_open(&many, backends[b], 2, &batch)) continue;
        cr_assert(op_rig_open(&single, backends[b], 1, &one));
        set_step(&many, 3, 10);
        op_rig_forward(&many);
        float *votes = op_rig_read(&many, many.in[0].data, 3 * 105), *want = op_rig_read(&many, many.out.data, 3 * 15);
        op_rig_write(&single, single.in[0].data, votes + 2 * 105, 105 * sizeof *votes);
        for (int first = 12; first <= 13; first++) {
            set_step(&single, 3, first);
            op_rig_forward(&single);
            float *got = op_rig_read(&single, single.out.data, 15);
            const int equal = memcmp(got, want + 2 * 15, 15 * sizeof *got) == 0;
            cr_assert(equal == (first == 12), "%s: as image %d it is %s", backends[b], first,
                      equal ? "the same" : "different");
            free(got);
        }
        free(want);
        free(votes);
        op_rig_close(&single);
        op_rig_close(&many);
    }
}

/* v alone is rounded: it must be what its number's draw makes of the v of real routing. */
Test(caps_route, draws_are_numbered_through_the_dataset)
{
    enum { N = 3, I = 7, C = 15 };
    const dt_fixed_format as_is = { .bits = -1 }, rounded = STOCHASTIC(5);
    const dt_route_format at_last = { as_is, as_is, rounded, as_is };
    const op_case c = { ROUTE, .why = "numbers", .params = PARAMS(I, 5, 1, .fixed = 1, .format = { at_last }),
                        .in = { { OP_SHAPE(N, I, C), .state = 1 }, { OP_SHAPE(C), .state = 1 } } };
    op_case real = c;
    real.params = PARAMS(I, 5, 1);
    for (int b = 0; b < 2; b++) {
        op_rig rig, plain;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        cr_assert(op_rig_open(&plain, backends[b], 1, &real));
        set_step(&rig, 11, 100);
        op_rig_forward(&rig);
        op_rig_forward(&plain);
        float *got = op_rig_read(&rig, rig.out.data, N * C), *v = op_rig_read(&plain, plain.out.data, N * C);
        for (int k = 0; k < N * C; k++) {
            const uint64_t number = (uint64_t)((100 + k / C) * C + k % C);
            const float want = dt_fixed_value(&rounded, v[k], dt_fixed_draw(&rounded, 11, number));
            cr_assert(got[k] == want, "%s: v[%d] is %g, expected %g", backends[b], k, (double)got[k], (double)want);
        }
        free(v);
        free(got);
        op_rig_close(&plain);
        op_rig_close(&rig);
    }
}

Test(caps_route, fixed_point_is_not_trained)
{
    const op_case c = { ROUTE, .why = "trained", .params = PARAMS(7, 5, 3, FIXED(DT_ROUND_NEAREST)),
                        .in = { { OP_SHAPE(2, 7, 15), .state = 1 }, { OP_SHAPE(15), .state = 1 } } };
    for (int b = 0; b < 2; b++) {
        size_t bytes;
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        rig.in[1].wants_grad = 1;
        rig.ex.training = 1;
        cr_assert_eq(rig.kernel->prepare(&rig.node, &rig.ex, &bytes), DT_ERR_UNSUPPORTED, "%s", backends[b]);
        cr_assert(strstr(dt_last_error(), "nothing flows back through fixed-point routing"), "%s", dt_last_error());
        rig.ex.training = 0;
        cr_assert_eq(rig.kernel->prepare(&rig.node, &rig.ex, &bytes), DT_OK, "%s", dt_last_error());
        op_rig_close(&rig);
    }
}

Test(caps_route, misfits_are_refused)
{
    const op_case dim = { ROUTE, .why = "dim", .params = PARAMS(7, 4, 3),
                          .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(15) } } };
    op_case_refused(&dim, DT_ERR_SHAPE, "votes have 15 channels, which are no capsules of 4 values");
    const op_case inputs = { ROUTE, .why = "inputs", .params = PARAMS(3, 5, 3),
                             .in = { { OP_SHAPE(8, 2, 2, 15) }, { OP_SHAPE(15) } } };
    op_case_refused(&inputs, DT_ERR_SHAPE, "votes are 8x2x2x15, which are no images of 3 input capsules");
    const op_case flat = { ROUTE, .why = "flat", .params = PARAMS(6, 5, 3),
                           .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(15) } } };
    op_case_refused(&flat, DT_ERR_SHAPE, "votes are 2x7x15, which are no images of 6 input capsules");
    const op_case bias = { ROUTE, .why = "bias", .params = PARAMS(7, 5, 3),
                           .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(10) } } };
    op_case_refused(&bias, DT_ERR_SHAPE, "bias has 10 values, votes have 15 channels");
    const op_case axes = { ROUTE, .why = "axes", .params = PARAMS(7, 5, 3),
                           .in = { { OP_SHAPE(7, 15) }, { OP_SHAPE(15) } } };
    op_case_refused(&axes, DT_ERR_SHAPE, "votes are 7x15, needed are the axes N,I,C or N*I,H,W,C");
    const op_case many = { ROUTE, .why = "iterations", .params = PARAMS(7, 5, 5),
                           .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(15) } } };
    op_case_refused(&many, DT_ERR_ARGUMENT, "5 iterations, allowed are 1 to 4");
    const op_case none = { ROUTE, .why = "no inputs", .params = PARAMS(0, 5, 3),
                           .in = { { OP_SHAPE(2, 7, 15) }, { OP_SHAPE(15) } } };
    op_case_refused(&none, DT_ERR_ARGUMENT, "inputs 0 and dim 5 must be 1 or more");
    const op_case scales = { ROUTE, .why = "scales", .params = PARAMS(7, 5, 3),
                             .in = { { OP_SHAPE(2, 7, 15), .fill = FILL_INTEGER, .scale = 0.1f, .n_scale = 15 },
                                     { OP_SHAPE(15) } } };
    op_case_refused(&scales, DT_ERR_ARGUMENT, "votes have 15 scales, bias 0; votes may have one, bias none");
}
