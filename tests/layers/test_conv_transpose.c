/*
 * test_conv_transpose.c - the transposed convolution against its definition in double, and against the convolution that
 *                         it is the transpose of.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* One product of the sum: which x, which w and which y it joins. */
typedef struct {
    int64_t x, w, y;
} product;

typedef void (*product_fn)(void *user, const product *at);

static int64_t out_size(const op_case *c, int axis)
{
    const dt_conv_transpose_params *p = c->params;
    return (c->in[0].shape.dim[axis] - 1) * p->stride - 2 * p->pad + c->in[1].shape.dim[axis] + p->output_pad;
}

static int64_t out_count(const op_case *c)
{
    return c->in[0].shape.dim[0] * out_size(c, 1) * out_size(c, 2) * c->in[1].shape.dim[3];
}

/* Every product of the definition: each pixel of x paints a filter's picture into y. */
static void each_product(const op_case *c, product_fn visit, void *user)
{
    const dt_conv_transpose_params *p = c->params;
    const int64_t *x = c->in[0].shape.dim, *w = c->in[1].shape.dim, rows = out_size(c, 1), columns = out_size(c, 2);

    for (int64_t i = 0; i < x[0] * x[1] * x[2] * x[3]; i++) {
        const int64_t k = i % x[3], q = i / x[3] % x[2], r = i / x[3] / x[2] % x[1], n = i / x[3] / x[2] / x[1];
        for (int64_t j = 0; j < w[1] * w[2] * w[3]; j++) {
            const int64_t h = r * p->stride - p->pad + j / w[3] / w[2], v = q * p->stride - p->pad + j / w[3] % w[2];
            if (h < 0 || h >= rows || v < 0 || v >= columns) continue;
            visit(user, &(product){ i, k * w[1] * w[2] * w[3] + j, ((n * rows + h) * columns + v) * w[3] + j % w[3] });
        }
    }
}

typedef struct {
    const double *const *in;
    double *out;
} oracle_run;

static void oracle_product(void *user, const product *at)
{
    const oracle_run *run = user;
    run->out[at->y] += run->in[0][at->x] * run->in[1][at->w];
}

static void oracle(const op_case *c, const double *const *in, double *out)
{
    oracle_run run = { in, out };
    memset(out, 0, (size_t)out_count(c) * sizeof *out);
    each_product(c, oracle_product, &run);
}

/* stride, pad, output_pad; the first three are the decoders' */
static const dt_conv_transpose_params same = { 1, 1, 0 }, twice_3 = { 2, 1, 1 }, twice_4 = { 2, 1, 0 };
static const dt_conv_transpose_params bare = { 1, 0, 0 }, thrice = { 3, 0, 2 };

#define CASE .op = DT_OP_CONV_TRANSPOSE, .n_in = 2, .oracle = oracle
/* Integers, whose sums are exact in any order. */
#define WHOLE(...)                                                \
    {                                                             \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = 7.0f \
    }

static const op_case cases[] = {
    { CASE, .why = "one product", .params = &bare, .in = { { OP_SHAPE(1, 1, 1, 1) }, { OP_SHAPE(1, 1, 1, 1) } } },
    { CASE, .why = "3x3, stride 1, pad 1", .params = &same,
      .in = { { OP_SHAPE(2, 5, 4, 3) }, { OP_SHAPE(3, 3, 3, 7) } } },
    { CASE, .why = "3x3, stride 2, output_pad 1: the last row and column have fewer taps", .params = &twice_3,
      .in = { { OP_SHAPE(2, 3, 4, 7) }, { OP_SHAPE(7, 3, 3, 3) } } },
    { CASE, .why = "4x4, stride 2", .params = &twice_4, .in = { { OP_SHAPE(1, 4, 3, 3) }, { OP_SHAPE(3, 4, 4, 7) } } },
    { CASE, .why = "stride above the kernel: some of y is 0", .params = &thrice,
      .in = { { OP_SHAPE(1, 3, 2, 3) }, { OP_SHAPE(3, 2, 2, 3) } } },
    { CASE, .why = "2x3: not square, one channel", .params = &bare,
      .in = { { OP_SHAPE(3, 4, 3, 7) }, { OP_SHAPE(7, 2, 3, 1) } } },
    { CASE, .why = "pad cuts all but one value", .params = &same,
      .in = { { OP_SHAPE(7, 1, 1, 33) }, { OP_SHAPE(33, 3, 3, 1) } } },
    { CASE, .why = "more images than groups", .params = &same,
      .in = { { OP_SHAPE(71, 1, 2, 1) }, { OP_SHAPE(1, 3, 3, 1) } } },
    { CASE, .why = "zeros", .params = &twice_3,
      .in = { { OP_SHAPE(1, 3, 3, 3), .fill = FILL_ZERO }, { OP_SHAPE(3, 3, 3, 3), .fill = FILL_ZERO } } },
    { CASE, .why = "large values", .params = &twice_4,
      .in = { { OP_SHAPE(1, 3, 3, 3), .size = 1e15f }, { OP_SHAPE(3, 4, 4, 3), .size = 1e15f } } },
    { CASE, .why = "integers", .params = &twice_3, .agree = AGREE_INTEGERS,
      .in = { WHOLE(3, 3, 5, 7), WHOLE(7, 3, 3, 3) } },
    { CASE, .why = "integers, many terms", .params = &twice_4, .agree = AGREE_INTEGERS, .no_slopes = "large",
      .in = { WHOLE(2, 7, 7, 64), WHOLE(64, 4, 4, 33) } },
};

Test(conv_transpose, matches_its_oracle)
{
    op_cases_run(cases, COUNT(cases));
}

/* ---- gradients of layers of a decoder's size, in closed form ---- */

typedef struct {
    const float *x, *w, *dy;
    double *grad[2];
} gradient_run;

static void gradient_product(void *user, const product *at)
{
    const gradient_run *run = user;
    run->grad[0][at->x] += (double)run->dy[at->y] * (double)run->w[at->w];
    run->grad[1][at->w] += (double)run->dy[at->y] * (double)run->x[at->x];
}

/* x, w and dy are small integers, and so are the gradients: every kernel must find them exactly. */
static void run_gradients(const op_case *c, const char *backend)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 0, c)) return;
    const int64_t n_y = dt_count(&rig.out.shape);
    float *x = op_rig_read(&rig, rig.in[0].data, dt_count(&rig.in[0].shape));
    float *w = op_rig_read(&rig, rig.in[1].data, dt_count(&rig.in[1].shape));
    float *dy = malloc((size_t)n_y * sizeof *dy);
    gradient_run run = { .x = x, .w = w, .dy = dy };

    for (int k = 0; k < 2; k++) run.grad[k] = calloc((size_t)dt_count(&rig.in[k].shape), sizeof(double));
    for (int64_t i = 0; i < n_y; i++) dy[i] = (float)(i * i % 11 - 5);
    each_product(c, gradient_product, &run);
    op_rig_forward(&rig);
    op_rig_backward(&rig, dy);
    for (int k = 0; k < 2; k++) {
        const int64_t n = dt_count(&rig.in[k].shape);
        float *got = op_rig_read(&rig, rig.in[k].grad, n);
        for (int64_t i = 0; i < n; i++) {
            cr_assert((double)got[i] == 0.5 + run.grad[k][i],
                      "%s: %s: 0.5 + gradient of input %d [%lld] is %.9g, not %g", c->why, backend, k, (long long)i,
                      (double)got[i], 0.5 + run.grad[k][i]);
        }
        free(got);
        free(run.grad[k]);
    }
    free(x);
    free(w);
    free(dy);
    op_rig_close(&rig);
}

static const op_case layers[] = {
    { CASE, .why = "16 to 64, 3x3", .params = &same, .in = { WHOLE(3, 7, 7, 16), WHOLE(16, 3, 3, 64) } },
    { CASE, .why = "64 to 32, 3x3, stride 2", .params = &twice_3, .in = { WHOLE(2, 7, 7, 64), WHOLE(64, 3, 3, 32) } },
    { CASE, .why = "16 to 8, 4x4, stride 2", .params = &twice_4, .in = { WHOLE(2, 15, 17, 16), WHOLE(16, 4, 4, 8) } },
    { CASE, .why = "16 to 1, batches past the groups", .params = &same,
      .in = { WHOLE(67, 8, 9, 16), WHOLE(16, 3, 3, 1) } },
};

Test(conv_transpose, gradients_are_the_sums_of_their_products)
{
    for (size_t i = 0; i < COUNT(layers); i++) {
        run_gradients(&layers[i], "cpu");
        run_gradients(&layers[i], "cuda");
    }
}

/* ---- against CONV2D ---- */

static double dot(const op_rig *rig, const float *a, const void *b, int64_t n)
{
    float *host = op_rig_read(rig, b, n);
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)host[i];
    free(host);
    return sum;
}

/* <conv(u), x> = <u, conv_transpose(x)> for every u and x: a transpose is just that. Integers, so exactly. */
static void check_transpose(const op_case *c)
{
    const dt_conv_transpose_params *p = c->params;
    const dt_conv_params conv_params = dt_conv_square(p->stride, p->pad);
    const op_case conv = { .why = c->why,
                           .op = DT_OP_CONV2D,
                           .params = &conv_params,
                           .n_in = 2,
                           .in = { WHOLE(c->in[0].shape.dim[0], out_size(c, 1), out_size(c, 2), c->in[1].shape.dim[3]),
                                   c->in[1] } };
    op_rig up, down;
    cr_assert(op_rig_open(&up, "cpu", 0, c) && op_rig_open(&down, "cpu", 0, &conv));
    const int64_t n_x = dt_count(&up.in[0].shape), n_y = dt_count(&up.out.shape);
    cr_assert(dt_same_shape(&up.in[0].shape, &down.out.shape) && dt_same_shape(&up.out.shape, &down.in[0].shape));
    float *x = op_rig_read(&up, up.in[0].data, n_x), *u = op_rig_read(&down, down.in[0].data, n_y);

    op_rig_forward(&up);
    op_rig_forward(&down);
    const double a = dot(&down, x, down.out.data, n_x), b = dot(&up, u, up.out.data, n_y);
    cr_assert(a == b && a != 0.0, "%s: <conv(u), x> is %.17g, <u, conv_transpose(x)> is %.17g", c->why, a, b);
    free(x);
    free(u);
    op_rig_close(&up);
    op_rig_close(&down);
}

Test(conv_transpose, is_the_transpose_of_the_convolution)
{
    for (size_t i = 0; i < COUNT(layers); i++) check_transpose(&layers[i]);
}

/* Along a line, taps of 2 positions at stride 2 and pad 1 fall on -1 0 1 and 1 2 3. */
Test(conv_transpose, all_ones_count_the_taps)
{
    static const float line[4] = { 1.0f, 2.0f, 1.0f, 1.0f };
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { CASE, .why = "ones", .params = &twice_3,
                        .in = { { OP_SHAPE(1, 2, 2, 1) }, { OP_SHAPE(1, 3, 3, 1) } } };
    const float ones[9] = { 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, ones, 4 * sizeof *ones);
        op_rig_write(&rig, rig.in[1].data, ones, sizeof ones);
        op_rig_forward(&rig);
        cr_assert(rig.out.shape.dim[1] == 4 && rig.out.shape.dim[2] == 4);
        float *y = op_rig_read(&rig, rig.out.data, 16);
        for (int i = 0; i < 16; i++) {
            cr_assert(y[i] == line[i / 4] * line[i % 4], "%s: [%d] is %g", backends[b], i, (double)y[i]);
        }
        free(y);
        op_rig_close(&rig);
    }
}

Test(conv_transpose, misfits_are_refused)
{
    const op_case channels = { CASE, .why = "channels", .params = &same,
                               .in = { { OP_SHAPE(1, 4, 4, 3) }, { OP_SHAPE(4, 3, 3, 8) } } };
    op_case_refused(&channels, DT_ERR_SHAPE, "x is 1x4x4x3, w is 4x3x3x8; needed are N,P,Q,K and K,R,S,C");
    const dt_conv_transpose_params wide = { 2, 1, 2 }, still = { 0, 0, 0 }, deep = { 1, 2, 0 };
    const op_case output_pad = { CASE, .why = "output_pad", .params = &wide,
                                 .in = { { OP_SHAPE(1, 4, 4, 3) }, { OP_SHAPE(3, 3, 3, 8) } } };
    op_case_refused(&output_pad, DT_ERR_ARGUMENT, "output_pad is 2, allowed are 0 to below the stride, 2");
    const op_case stride = { CASE, .why = "stride", .params = &still,
                             .in = { { OP_SHAPE(1, 4, 4, 3) }, { OP_SHAPE(3, 3, 3, 8) } } };
    op_case_refused(&stride, DT_ERR_ARGUMENT, "stride 0");
    const op_case pad = { CASE, .why = "pad", .params = &deep,
                          .in = { { OP_SHAPE(1, 4, 2, 3) }, { OP_SHAPE(3, 3, 3, 8) } } };
    op_case_refused(&pad, DT_ERR_SHAPE, "pad 2 cuts away all of 4 rows or columns");
    const op_case grid = { CASE, .why = "codes", .params = &same,
                           .in = { { OP_SHAPE(1, 4, 4, 3), .fill = FILL_COUNT, .scale = 0.5f },
                                   { OP_SHAPE(3, 3, 3, 8) } } };
    op_case_refused(&grid, DT_ERR_UNSUPPORTED, "x is a grid tensor");
}
