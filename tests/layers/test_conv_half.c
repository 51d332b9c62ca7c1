/*
 * test_conv_half.c - CUDA's convolution where core/tape/types.c has its tensors stored in fp16: psums against sums of
 * integers, gradients against sums of products in double.
 *
 * What is not between fused nodes stays f32, so tensors are stored in fp16 one by one, too.
 */
#include "../support/op_case.h"

#include "../../core/half.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { X, W };
enum { TRAINING = 1 };

/* What stays f32, because the node on the other side is not fused. */
enum { KEEP_X = 1, KEEP_W = 2, KEEP_Y = 4 };

typedef struct {
    op_case c;
    unsigned keep;
    dt_storage want;  /* that of dt_backend.storage, in training */
    double tolerance; /* of gradients, of the largest value */
    int steady_dy;    /* every dy is 1, so that the gradients of filters grow with the image */
} half_case;

/* fp16 keeps 11 bits: filters, dy and the result err by up to 2^-12 each; where products cancel, their magnitudes sum
 * to several times the largest gradient. bf16, which takes a dy in f32, keeps 8. */
#define F16_PRODUCTS  (1.0 / 512.0)
#define BF16_PRODUCTS (1.0 / 128.0)

#define CONV .op = DT_OP_CONV2D, .n_in = 2, .precision = DT_PRECISION_MIXED
#define CODES(...)                                                              \
    {                                                                           \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_COUNT, .size = 15.0f, .scale = 0.3f \
    }
#define FILTERS(K, ...)                                                              \
    {                                                                                \
        OP_SHAPE(K, __VA_ARGS__), .fill = FILL_INTEGER, .size = 7.0f, .scale = 0.07f \
    }
#define SCALED_FILTERS(K, ...)                                                                                       \
    {                                                                                                                \
        OP_SHAPE(K, __VA_ARGS__), .fill = FILL_INTEGER, .size = 7.0f, .scale = 0.07f, .n_scale = K, .scale_first = 1 \
    }

/* stride, pad */
static const dt_conv_params same = DT_CONV_SQUARE(1, 1), half = DT_CONV_SQUARE(2, 1);

/* strides, pads (top, left, bottom, right), dilations, groups */
static const dt_conv_params by_2 = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 };
static const dt_conv_params by_8 = { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 8 };
static const dt_conv_params by_16_all = { { 1, 2 }, { 0, 3, 1, 2 }, { 2, 1 }, 16 };
static const dt_conv_params dilated_half = { { 2, 2 }, { 2, 1, 0, 2 }, { 2, 2 }, 1 };

#define ALL_F16                                \
    {                                          \
        DT_F16, DT_F16, DT_F16, DT_F16, DT_F16 \
    }

static const half_case cases[] = {
    { { CONV, .why = "between fused nodes", .params = &same, .in = { CODES(2, 5, 4, 8), FILTERS(16, 3, 3, 8) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "a scale for each filter", .params = &same,
        .in = { CODES(2, 3, 4, 16), SCALED_FILTERS(8, 3, 3, 16) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "stride 2, odd map", .params = &half, .in = { CODES(1, 7, 5, 8), FILTERS(8, 3, 3, 8) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "an image of 3 channels, which cuDNN reads as 8", .params = &same,
        .in = { { OP_SHAPE(2, 5, 4, 3), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.02f },
                SCALED_FILTERS(8, 3, 3, 3) } },
      .want = { DT_F32, DT_F16, DT_F16, DT_F32, DT_F16 },
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "an image, whose gradients fp16 does not hold in units of its codes", .params = &same,
        .in = { { OP_SHAPE(2, 24, 20, 3), .fill = FILL_COUNT, .size = 255.0f, .scale = 0.02f },
                SCALED_FILTERS(8, 3, 3, 3) } },
      .steady_dy = 1, /* 960 * 127.5 = 122,400 codes */
      .want = { DT_F32, DT_F16, DT_F16, DT_F32, DT_F16 },
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "x of a node that is not fused", .params = &same,
        .in = { CODES(2, 5, 4, 8), FILTERS(8, 3, 3, 8) } },
      .keep = KEEP_X,
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "filters that no quantizer makes", .params = &same,
        .in = { CODES(2, 5, 4, 8), FILTERS(8, 3, 3, 8) } },
      .keep = KEEP_W,
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "psums for a node that is not fused", .params = &same,
        .in = { CODES(2, 5, 4, 8), FILTERS(8, 3, 3, 8) } },
      .keep = KEEP_Y,
      .want = ALL_F16,
      .tolerance = BF16_PRODUCTS },
    /* 9 * 8 * 255 * 127 = 2,331,720, of which fp16 holds 524,032 */
    { { CONV, .why = "psums that fp16 does not hold", .params = &same,
        .in = { { OP_SHAPE(1, 3, 3, 8), .fill = FILL_COUNT, .size = 255.0f, .scale = 0.02f },
                { OP_SHAPE(8, 3, 3, 8), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.01f } } },
      .want = { DT_F16, DT_F32, DT_F16, DT_F16, DT_F16 },
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "codes beyond 2,048", .params = &same,
        .in = { { OP_SHAPE(1, 3, 3, 8), .fill = FILL_COUNT, .size = 3000.0f, .scale = 0.02f }, FILTERS(8, 3, 3, 8) } },
      .want = { DT_F32, DT_F32, DT_F32, DT_F32, DT_F32 },
      .tolerance = BF16_PRODUCTS },
    { { CONV, .why = "filters that are no multiple of 8", .params = &same,
        .in = { CODES(1, 3, 3, 8), FILTERS(10, 3, 3, 8) } },
      .want = { DT_F32, DT_F32, DT_F32, DT_F32, DT_F32 },
      .tolerance = 6e-6 },
    { { CONV, .why = "depthwise", .params = &by_8, .in = { CODES(2, 5, 4, 8), SCALED_FILTERS(8, 3, 3, 1) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "depthwise, of everything that is not square", .params = &by_16_all,
        .in = { CODES(2, 5, 4, 16), FILTERS(16, 2, 3, 1) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "depth multiplier 2", .params = &by_8, .in = { CODES(2, 3, 4, 8), FILTERS(16, 3, 3, 1) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "2 groups, of filters that no quantizer makes", .params = &by_2,
        .in = { CODES(2, 5, 4, 16), SCALED_FILTERS(8, 3, 3, 8) } },
      .keep = KEEP_W,
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    /* cuDNN has no backward from bf16 of several groups: it is in f32, and dx alone is rounded, to fp16 */
    { { CONV, .why = "depthwise psums for a node that is not fused", .params = &by_8,
        .in = { CODES(2, 5, 4, 8), FILTERS(8, 3, 3, 1) } },
      .keep = KEEP_Y,
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    /* 6 channels a group, which fp16 engines would want padded */
    { { CONV, .why = "2 groups of 6 channels", .params = &by_2, .in = { CODES(1, 3, 3, 12), FILTERS(8, 3, 3, 6) } },
      .want = { DT_F32, DT_F32, DT_F32, DT_F32, DT_F32 },
      .tolerance = 6e-6 },
    { { CONV, .why = "dilation, a stride and uneven pads", .params = &dilated_half,
        .in = { CODES(2, 5, 6, 8), FILTERS(8, 3, 3, 8) } },
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
    { { CONV, .why = "dilation and a stride, psums for a node that is not fused", .params = &dilated_half,
        .in = { CODES(2, 5, 6, 8), FILTERS(8, 3, 3, 8) } },
      .keep = KEEP_Y,
      .want = ALL_F16,
      .tolerance = F16_PRODUCTS },
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

/* The value of an fp16, by its definition. */
static double decode(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

    cr_assert(exponent < 31, "an fp16 overflowed");
    return bits >> 15 ? -value : value;
}

/* Host copy in double, which the caller frees. */
static double *read_values(const op_rig *rig, const void *src, dt_dtype type, int64_t n)
{
    const size_t bytes = (size_t)n * dt_type_bytes(type);
    double *values = malloc((size_t)n * sizeof *values);
    void *raw = malloc(bytes);

    cr_assert(dt_device_read(rig->ctx, raw, src, bytes) == DT_OK, "%s", dt_last_error());
    for (int64_t i = 0; i < n; i++) {
        values[i] = type == DT_F16 ? decode(((const uint16_t *)raw)[i]) : (double)((const float *)raw)[i];
    }
    free(raw);
    return values;
}

static void write_values(const op_rig *rig, void *dst, dt_dtype type, const double *values, int64_t n)
{
    const size_t bytes = (size_t)n * dt_type_bytes(type);
    void *raw = malloc(bytes);

    for (int64_t i = 0; i < n; i++) {
        if (type == DT_F16)
            ((uint16_t *)raw)[i] = dt_to_fp16((float)values[i]);
        else
            ((float *)raw)[i] = (float)values[i];
    }
    op_rig_write(rig, dst, raw, bytes);
    free(raw);
}

/* In place: what the tensor holds fits into the memory that it has. */
static void retype(op_rig *rig, dt_tensor *t, dt_dtype type)
{
    const int64_t n = dt_count(&t->shape);
    double *values = read_values(rig, t->data, t->type, n);

    t->type = type;
    write_values(rig, t->data, type, values, n);
    free(values);
}

static void fill_gradient(op_rig *rig, dt_tensor *t, double value)
{
    const int64_t n = dt_count(&t->shape);
    double *values = malloc((size_t)n * sizeof *values);

    for (int64_t i = 0; i < n; i++) values[i] = value;
    write_values(rig, t->grad, t->grad_type, values, n);
    free(values);
}

/* Stores the rig's tensors as a fused tape would, and prepares the kernel again. */
static void store(op_rig *rig, const half_case *h, int training, unsigned fresh)
{
    size_t scratch_bytes = 0;

    rig->ex.training = training;
    const dt_storage s = rig->ctx->backend->storage(&rig->node, &rig->ex);
    if (!(h->keep & KEEP_X)) {
        retype(rig, &rig->in[X], s.x);
        rig->in[X].grad_type = s.x_grad;
    }
    if (!(h->keep & KEEP_W)) retype(rig, &rig->in[W], s.w);
    if (!(h->keep & KEEP_Y)) {
        rig->out.type = s.y;
        rig->out.grad_type = s.y_grad;
    }
    if (!h->keep && rig->out.grad_type == DT_F16 && fresh & 1u << W && !s.padded) {
        rig->in[W].grad_type = s.w_grad;
        rig->in[W].grad_unit = s.w_unit;
        rig->in[W].grad_scale = rig->in[X].scale;
    }
    rig->node.fresh = fresh;
    rig->kernel->release(&rig->node);
    cr_assert(rig->kernel->prepare(&rig->node, &rig->ex, &scratch_bytes) == DT_OK, "%s", dt_last_error());
    cr_assert(dt_context_reserve(rig->ctx, 0, scratch_bytes) == DT_OK);
    rig->ex = dt_context_exec(rig->ctx);
}

/* Real values, scale * code, of inputs; sums of their products. */
typedef struct {
    double *x, *w, *dy, *y, *dx, *dw;
} oracle;

static double *real_values(const op_rig *rig, const dt_tensor *t, int to_real)
{
    const int64_t n = dt_count(&t->shape), in_scale = n / t->n_scale;
    double *values = read_values(rig, t->data, t->type, n), *scale = read_values(rig, t->scale, DT_F32, t->n_scale);

    for (int64_t i = 0; to_real && i < n; i++) values[i] *= scale[i / in_scale];
    free(scale);
    return values;
}

static void add_products(const op_rig *rig, oracle *o)
{
    const dt_conv_params *p = rig->node.params;
    const int64_t *x = rig->in[X].shape.dim, *w = rig->in[W].shape.dim, *y = rig->out.shape.dim;

    for (int64_t i = 0; i < dt_count(&rig->out.shape); i++) {
        const int64_t k = i % y[3], q = i / y[3] % y[2], row = i / y[3] / y[2] % y[1], n = i / y[3] / y[2] / y[1];
        for (int64_t j = 0; j < w[1] * w[2] * w[3]; j++) {
            const int64_t c = k * p->groups / w[0] * w[3] + j % w[3];
            const int64_t left = j / w[3] % w[2] * p->dilation[1] + q * p->stride[1] - p->pad[1];
            const int64_t up = j / w[3] / w[2] * p->dilation[0] + row * p->stride[0] - p->pad[0];
            if (left < 0 || left >= x[2] || up < 0 || up >= x[1]) continue;
            const int64_t at = ((n * x[1] + up) * x[2] + left) * x[3] + c, tap = k * w[1] * w[2] * w[3] + j;
            o->y[i] += o->x[at] * o->w[tap];
            o->dx[at] += o->dy[i] * o->w[tap];
            o->dw[tap] += o->dy[i] * o->x[at];
        }
    }
}

static oracle ask_oracle(const op_rig *rig, int to_real, int steady_dy)
{
    const int64_t n_x = dt_count(&rig->in[X].shape), n_w = dt_count(&rig->in[W].shape), n_y = dt_count(&rig->out.shape);
    oracle o = { .x = real_values(rig, &rig->in[X], to_real), .w = real_values(rig, &rig->in[W], to_real) };

    o.dy = malloc((size_t)n_y * sizeof *o.dy);
    o.y = calloc((size_t)n_y, sizeof *o.y);
    o.dx = calloc((size_t)n_x, sizeof *o.dx);
    o.dw = calloc((size_t)n_w, sizeof *o.dw);
    /* multiples of 1/8 up to 12: fp16 and bf16 hold them */
    for (int64_t i = 0; i < n_y; i++) o.dy[i] = steady_dy ? 1.0 : (double)(i * i % 193 - 96) / 8.0;
    add_products(rig, &o);
    return o;
}

static void forget(oracle *o)
{
    free(o->x);
    free(o->w);
    free(o->dy);
    free(o->y);
    free(o->dx);
    free(o->dw);
}

/* Whether fp16 holds psum / 8: a psum of up to 11 bits, zeros at its end aside. */
static int is_representable(double psum)
{
    int64_t odd = (int64_t)fabs(psum);

    while (odd > 0 && odd % 2 == 0) odd /= 2;
    return odd < 2048;
}

static void check_forward(op_rig *rig, const char *why)
{
    const int64_t n = dt_count(&rig->out.shape);
    const double unit = rig->out.type == DT_F16 ? 8.0 : 1.0;
    oracle o = ask_oracle(rig, 0, 0);

    op_rig_forward(rig);
    double *y = read_values(rig, rig->out.data, rig->out.type, n);
    for (int64_t i = 0; i < n; i++) {
        const int exact = rig->out.type == DT_F32 || is_representable(o.y[i]);
        cr_assert(fabs(unit * y[i] - o.y[i]) <= (exact ? 0.0 : ldexp(fabs(o.y[i]), -11)),
                  "%s: psum [%lld] is %g, expected %g", why, (long long)i, unit * y[i], o.y[i]);
    }
    double *scale = read_values(rig, rig->out.scale, DT_F32, rig->out.n_scale);
    double *sx = read_values(rig, rig->in[X].scale, DT_F32, 1);
    double *sw = read_values(rig, rig->in[W].scale, DT_F32, rig->in[W].n_scale);
    for (int k = 0; k < rig->out.n_scale; k++) {
        cr_assert((float)scale[k] == (float)(unit * (double)((float)sx[0] * (float)sw[k])), "%s: scale %d is %g", why,
                  k, scale[k]);
    }
    free(scale);
    free(sx);
    free(sw);
    free(y);
    forget(&o);
}

static void check_gradient(const op_rig *rig, int k, const double *want, double before, const half_case *h)
{
    const dt_tensor *t = &rig->in[k];
    const int64_t n = dt_count(&t->shape);
    double *got = read_values(rig, t->grad, t->grad_type, n), largest = 0.0;

    if (t->grad_scale) {
        double *scale = read_values(rig, t->grad_scale, DT_F32, 1);
        for (int64_t i = 0; i < n; i++) got[i] *= (double)t->grad_unit * scale[0];
        free(scale);
    }
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs(got[i] - before - want[i]) <= h->tolerance * largest,
                  "%s: gradient of input %d [%lld] is %.9g, expected %.9g", h->c.why, k, (long long)i, got[i],
                  before + want[i]);
    }
    free(got);
}

/* Gradients start as NaN where they are written, else as 0.5. */
static void check_backward(op_rig *rig, const half_case *h, unsigned fresh)
{
    oracle o = ask_oracle(rig, 1, h->steady_dy);

    for (int k = X; k <= W; k++) {
        if (fresh & 1u << k)
            op_rig_write(rig, rig->in[k].grad, (const float[]){ NAN }, sizeof(float));
        else
            fill_gradient(rig, &rig->in[k], 0.5);
    }
    write_values(rig, rig->out.grad, rig->out.grad_type, o.dy, dt_count(&rig->out.shape));
    cr_assert(rig->kernel->backward(&rig->node, &rig->ex) == DT_OK, "%s", dt_last_error());
    check_gradient(rig, X, o.dx, fresh & 1u << X ? 0.0 : 0.5, h);
    check_gradient(rig, W, o.dw, fresh & 1u << W ? 0.0 : 0.5, h);
    forget(&o);
}

static void open_or_skip(op_rig *rig, const half_case *h)
{
    if (!op_rig_open(rig, "cuda", 1, &h->c)) cr_skip_test("there is no GPU; test_conv_half_simt runs on the CPU");
}

Test(conv_half, storage_is_what_the_psums_allow)
{
    for (int i = 0; i < N_CASES; i++) {
        const dt_storage *want = &cases[i].want;
        op_rig rig;
        open_or_skip(&rig, &cases[i]);
        rig.ex.training = TRAINING;
        const dt_storage s = rig.ctx->backend->storage(&rig.node, &rig.ex);
        cr_expect(s.x == want->x && s.y == want->y && s.w == want->w && s.x_grad == want->x_grad &&
                      s.y_grad == want->y_grad,
                  "%s: x %d, y %d, w %d, dx %d, dy %d", cases[i].c.why, s.x, s.y, s.w, s.x_grad, s.y_grad);
        rig.ex.training = 0;
        const dt_storage e = rig.ctx->backend->storage(&rig.node, &rig.ex);
        cr_expect(s.w_grad == want->y_grad, "%s: dw is as dy, %d", cases[i].c.why, s.w_grad);
        rig.node.purpose = (dt_purpose){ .images = 2, .training = 1, .step_images = 4 };
        rig.ex.training = TRAINING;
        cr_expect(rig.ctx->backend->storage(&rig.node, &rig.ex).w_grad == DT_F32, "%s: a part of a step",
                  cases[i].c.why);
        cr_expect(e.x == want->x && e.w == want->w && e.y == DT_F32 && e.x_grad == DT_F32 && e.y_grad == DT_F32,
                  "%s: evaluation's psums are f32, and it has no gradients", cases[i].c.why);
        rig.ex.precision = DT_PRECISION_F32;
        rig.ex.training = TRAINING;
        const dt_storage f = rig.ctx->backend->storage(&rig.node, &rig.ex);
        cr_expect(f.x == DT_F32 && f.y == DT_F32 && f.w == DT_F32 && f.x_grad == DT_F32 && f.y_grad == DT_F32);
        op_rig_close(&rig);
    }
}

Test(conv_half, training_matches_the_oracle)
{
    for (int i = 0; i < N_CASES; i++) {
        for (unsigned fresh = 0; fresh < 4; fresh++) {
            op_rig rig;
            open_or_skip(&rig, &cases[i]);
            store(&rig, &cases[i], TRAINING, fresh);
            check_forward(&rig, cases[i].c.why);
            check_backward(&rig, &cases[i], fresh);
            op_rig_close(&rig);
        }
    }
}

Test(conv_half, evaluation_is_exact)
{
    for (int i = 0; i < N_CASES; i++) {
        op_rig rig;
        open_or_skip(&rig, &cases[i]);
        store(&rig, &cases[i], 0, 0);
        check_forward(&rig, cases[i].c.why);
        op_rig_close(&rig);
    }
}

/* Between fused nodes scratch holds real filters, where their quantizer does not make them, beside what cuDNN wants;
 * nothing else is copied. */
Test(conv_half, fused_tensors_stay_where_they_are)
{
    const half_case *h = &cases[0];
    op_rig rig;
    size_t bytes = 0;

    open_or_skip(&rig, h);
    if (!strstr(dt_context_device(rig.ctx), "stand-in")) cr_skip_test("cuDNN's workspace may be of any size");
    store(&rig, h, TRAINING, 3u);
    rig.kernel->release(&rig.node);
    rig.ex.training = TRAINING;
    cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &bytes) == DT_OK);
    /* 2 bytes a filter, and the stand-in's workspace */
    cr_expect_eq(bytes, (size_t)(2 * dt_count(&rig.in[W].shape) + DT_ALIGN));
    rig.in[W].wants_real = 1;
    rig.kernel->release(&rig.node);
    cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &bytes) == DT_OK);
    cr_expect_eq(bytes, (size_t)DT_ALIGN, "%zu bytes of scratch for filters that are real already", bytes);
    op_rig_close(&rig);
}
