/*
 * test_amx.c - convolutions by tiles (AMX). The kernels' own sources run on a model of the tile
 * instructions (support/amx_model.h) wherever there is AVX-512 with bf16, and on the CPU's tiles where it has them.
 *
 * Operands are integers first, of which every sum is exact in f32, so that the definition in 64-bit integers is the
 * oracle, with ==. Then they are reals: model and CPU, and all numbers of threads, must give equal bits. Scratch is of
 * the size that was asked for and full of NaNs; the bytes behind it and behind each result must survive.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../support/amx_model.h"
#include "../support/draws.h"

#include "../../core/align.h"
#include "../../core/cpu_level.h"
#include "../../core/half.h"
#include "../../layers/conv/amx_conv.h"

enum { GUARD = 256 }; /* bytes */

typedef struct {
    const char *why;
    int N, H, W, C, K, R, S;
    int pad[4];
    int x_low, x_high, w_high; /* w in +-w_high */
    dt_dtype x, w, dy, dx;
    int n_scale; /* of w: 1 or K */
    int fresh;   /* 1: gradients are overwritten */
    int stride[2];
} amx_case;

#define BYTES  DT_U8, DT_I8, DT_BF16, DT_BF16
#define FLOATS DT_F32, DT_F32, DT_F32, DT_F32

/* clang-format off */
#define PAD0  { 0, 0, 0, 0 }
#define PAD1  { 1, 1, 1, 1 }
#define STEP1 { 1, 1 }
static const amx_case cases[] = {
    { "2x2, more images than stand side by side", 70, 2, 2, 16, 32, 3, 3, PAD1, 0, 15, 7, BYTES, 1, 1, STEP1 },
    { "4x4, channels of no vector", 33, 4, 4, 40, 24, 3, 3, PAD1, 0, 15, 7, BYTES, 24, 1, STEP1 },
    { "one pixel", 5, 1, 1, 70, 33, 3, 3, PAD1, 0, 15, 7, BYTES, 1, 1, STEP1 },
    { "odd everything", 3, 7, 5, 33, 17, 3, 3, PAD1, 0, 3, 7, FLOATS, 1, 0, STEP1 },
    { "8x8", 9, 8, 8, 64, 32, 3, 3, PAD1, 0, 3, 7, BYTES, 1, 1, STEP1 },
    { "an image: joined taps of signed codes", 2, 5, 20, 3, 16, 3, 3, PAD1, -127, 127, 7, DT_I8, DT_I8, DT_BF16, DT_F32, 1, 1, STEP1 },
    { "joined taps, 16 channels to 16", 2, 4, 18, 16, 16, 3, 3, PAD1, 0, 15, 7, BYTES, 16, 1, STEP1 },
    { "5x5", 3, 6, 9, 24, 40, 5, 5, { 2, 2, 2, 2 }, 0, 15, 7, BYTES, 1, 1, STEP1 },
    { "1x1", 3, 5, 4, 64, 48, 1, 1, PAD0, 0, 255, 127, BYTES, 1, 1, STEP1 },
    { "sides of their own", 4, 6, 7, 20, 20, 3, 2, { 0, 1, 2, 0 }, 0, 15, 7, DT_F32, DT_I8, DT_BF16, DT_F32, 20, 0, STEP1 },
    { "no padding", 2, 6, 6, 16, 16, 3, 3, PAD0, 0, 15, 7, BYTES, 1, 1, STEP1 },
    { "blocks and panels and a rest", 2, 3, 3, 130, 140, 3, 3, PAD1, 0, 3, 7, BYTES, 1, 1, STEP1 },
    { "parts of a batch", 5, 32, 32, 4, 8, 3, 3, PAD1, 0, 3, 3, DT_U8, DT_I8, DT_BF16, DT_F32, 1, 0, STEP1 },
    { "one image", 1, 9, 16, 64, 64, 3, 3, PAD1, 0, 3, 7, BYTES, 1, 1, STEP1 },
    { "stride 2", 5, 9, 10, 33, 40, 3, 3, PAD1, 0, 15, 7, BYTES, 1, 1, { 2, 2 } },
    { "stride 2, slabs of channels", 6, 36, 14, 200, 24, 5, 5, PAD0, 0, 3, 7, BYTES, 24, 1, { 2, 2 } },
    { "1x1 of stride 2: pixels that no tap finds", 3, 7, 8, 64, 48, 1, 1, PAD0, 0, 15, 7, FLOATS, 1, 0, { 2, 2 } },
    { "strides of their own, more padding behind", 4, 8, 11, 20, 36, 4, 3, { 1, 2, 3, 0 }, 0, 7, 7, FLOATS, 36, 1, { 3, 2 } },
    { "a stride past the map", 3, 2, 3, 16, 16, 2, 3, { 0, 1, 0, 1 }, 0, 7, 7, BYTES, 1, 1, { 4, 5 } },
    { "2x2 of stride 2, side by side", 40, 4, 4, 24, 32, 3, 3, PAD1, 0, 7, 7, BYTES, 1, 1, { 2, 2 } },
    { "joined down a stride", 2, 9, 20, 3, 16, 3, 3, PAD1, 0, 7, 7, BYTES, 1, 1, { 2, 1 } },
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* A case with memory. Data are host memory. */
typedef struct {
    const amx_case *c;
    dt_tensor x, w, y;
    dt_node node;
    dt_conv_params params;
    float x_scale, y_scale, w_scale[256];
    size_t dx_bytes, dw_bytes, y_bytes;
} rig;

static char *guarded(size_t bytes, int fill)
{
    char *at = aligned_alloc(64, dt_round_up(bytes + GUARD, 64));
    memset(at, fill, bytes);
    memset(at + bytes, 0x5a, GUARD);
    return at;
}

static void check_guard(const rig *r, const char *at, size_t bytes, const char *what)
{
    for (size_t i = 0; i < GUARD; i++) cr_assert(at[bytes + i] == 0x5a, "%s: wrote behind %s", r->c->why, what);
}

/* n values in low..high, as `type`; reals: of no pattern, as large */
static void *values(draws *d, dt_dtype type, int low, int high, int is_real, int64_t n)
{
    char *at = guarded((size_t)n * dt_type_bytes(type), 0);

    for (int64_t i = 0; i < n; i++) {
        const int code = low + (int)draw(d, (uint32_t)(high - low + 1));
        const float value = is_real ? (float)code * 0.37f + 0.011f : (float)code;
        if (type == DT_F32) ((float *)(void *)at)[i] = value;
        if (type == DT_BF16) ((uint16_t *)(void *)at)[i] = dt_to_bf16(value);
        if (type == DT_U8 || type == DT_I8) at[i] = (char)code;
    }
    return at;
}

static double value_of(const void *at, dt_dtype type, int64_t i)
{
    switch (type) {
    case DT_U8: return ((const uint8_t *)at)[i];
    case DT_I8: return ((const int8_t *)at)[i];
    case DT_BF16: return (double)dt_from_bf16(((const uint16_t *)at)[i]);
    default: return (double)((const float *)at)[i];
    }
}

static void rig_open(rig *r, const amx_case *c, int is_real)
{
    draws d = { .seed = (uint64_t)(c->N * 1009 + c->C * 31 + c->K) };

    memset(r, 0, sizeof *r);
    r->c = c;
    r->params =
        (dt_conv_params){ { c->stride[0], c->stride[1] }, { c->pad[0], c->pad[1], c->pad[2], c->pad[3] }, { 1, 1 }, 1 };
    r->x_scale = 0.5f;
    for (int k = 0; k < c->n_scale; k++) r->w_scale[k] = k % 2 ? 0.5f : 0.25f;
    r->x = (dt_tensor){ .type = c->x,
                        .shape = { 4, { c->N, c->H, c->W, c->C } },
                        .n_scale = 1,
                        .scale = &r->x_scale,
                        .qmin = c->x_low,
                        .qmax = c->x_high,
                        .grad_type = c->dx,
                        .wants_grad = 1 };
    r->w = (dt_tensor){ .type = c->w,
                        .shape = { 4, { c->K, c->R, c->S, c->C } },
                        .n_scale = c->n_scale,
                        .scale = r->w_scale,
                        .qmin = -c->w_high,
                        .qmax = c->w_high,
                        .wants_grad = 1 };
    r->y = (dt_tensor){ .scale = &r->y_scale, .grad_type = c->dy };
    r->node = (dt_node){ .kind = DT_OP_CONV2D,
                         .name = "conv",
                         .params = &r->params,
                         .in = { &r->x, &r->w },
                         .n_in = 2,
                         .out = &r->y,
                         .fresh = c->fresh ? 3u : 0u };
    cr_assert(dt_conv_infer(&r->node) == DT_OK, "%s: %s", c->why, dt_last_error());
    r->x.data = values(&d, c->x, c->x_low, c->x_high, 0, dt_count(&r->x.shape));
    r->w.data = values(&d, c->w, -c->w_high, c->w_high, 0, dt_count(&r->w.shape));
    r->y.grad = values(&d, c->dy, -3, 3, is_real, dt_count(&r->y.shape));
    r->y_bytes = (size_t)dt_count(&r->y.shape) * sizeof(float);
    r->dx_bytes = dt_grad_bytes(&r->x);
    r->dw_bytes = dt_grad_bytes(&r->w);
}

static void rig_close(rig *r)
{
    free(r->x.data);
    free(r->w.data);
    free(r->y.grad);
}

typedef struct {
    const char *name;
    const char *(*refuses)(const dt_node *node, const dt_exec *ex);
    size_t (*scratch)(const dt_node *node, const dt_exec *ex, int threads);
    void (*run)(const dt_node *node, const dt_exec *ex, int threads);
} direction;

#define DIRECTION(prefix, name)                                             \
    {                                                                       \
#name, prefix##name##_refuses, prefix##name##_scratch, prefix##name \
    }
#define DIRECTIONS(prefix)                                                                       \
    {                                                                                            \
        DIRECTION(prefix, forward), DIRECTION(prefix, backward_x), DIRECTION(prefix, backward_w) \
    }
static const direction by_model[3] = DIRECTIONS(model_), by_cpu[3] = DIRECTIONS(dt_amx_);

static size_t result_bytes(const rig *r, int which)
{
    return which == 0 ? r->y_bytes : which == 1 ? r->dx_bytes : r->dw_bytes;
}

/* Runs a direction; the caller frees the result. What is added to begins as 0.5. */
static char *result_by(rig *r, const direction *d, int which, int threads, int is_training)
{
    dt_exec ex = { .precision = DT_PRECISION_MIXED };
    const size_t bytes = result_bytes(r, which), scratch_bytes = d->scratch(&r->node, &ex, threads);
    char *to = guarded(bytes, 0xff), *scratch = guarded(scratch_bytes, 0xff);

    ex.scratch = scratch;
    r->node.purpose.training = is_training;
    cr_assert(!d->refuses(&r->node, &ex), "%s: %s: %s", r->c->why, d->name, d->refuses(&r->node, &ex));
    for (size_t i = 0; which > 0 && !r->c->fresh && i < bytes / 4; i++) ((float *)(void *)to)[i] = 0.5f;
    r->y.data = r->x.grad = r->w.grad = NULL;
    *(which == 0 ? &r->y.data : which == 1 ? &r->x.grad : &r->w.grad) = to;
    d->run(&r->node, &ex, threads);
    check_guard(r, to, bytes, d->name);
    check_guard(r, scratch, scratch_bytes, "scratch");
    free(scratch);
    return to;
}

static char *result_of(rig *r, const direction *d, int which, int threads)
{
    return result_by(r, d, which, threads, 1);
}

/* The definition: adds all products to y, dx or dw, by `which`. */
static double *definition(const rig *r, int which)
{
    const dt_conv_shape s = dt_conv_shape_of(&r->node);
    const int64_t n = (int64_t)(result_bytes(r, which) / dt_type_bytes(which == 1 ? r->x.grad_type : DT_F32));
    double *sum = calloc((size_t)n, sizeof *sum);

    for (int64_t at = 0; at < s.N * s.P * s.Q * s.R * s.S; at++) {
        const int64_t tap = at % (s.R * s.S), y = at / (s.R * s.S), q = y % s.Q, p = y / s.Q % s.P;
        const int64_t h = dt_conv_reach(&s, 0, p, tap / s.S), v = dt_conv_reach(&s, 1, q, tap % s.S);
        if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
        for (int64_t k = 0; k < s.K; k++) {
            const double scale = (double)r->w.scale[r->w.n_scale > 1 ? k : 0];
            for (int64_t c = 0; c < s.C; c++) {
                const int64_t at_x = ((y / s.Q / s.P * s.H + h) * s.W + v) * s.C + c, at_y = y * s.K + k,
                              at_w = (k * s.R * s.S + tap) * s.C + c;
                const double x = value_of(r->x.data, r->x.type, at_x), w = value_of(r->w.data, r->w.type, at_w);
                if (which == 0) sum[at_y] += x * w;
                if (which == 1) sum[at_x] += scale * w * value_of(r->y.grad, r->y.grad_type, at_y);
                if (which == 2) sum[at_w] += (double)r->x_scale * x * value_of(r->y.grad, r->y.grad_type, at_y);
            }
        }
    }
    for (int64_t i = 0; which > 0 && !r->c->fresh && i < n; i++) sum[i] += 0.5;
    return sum;
}

static void check_definition(rig *r, const direction *d, int which)
{
    const dt_dtype type = which == 1 ? r->x.grad_type : DT_F32;
    double *want = definition(r, which);
    char *got = result_of(r, d, which, 2);

    for (int64_t i = 0; i < (int64_t)(result_bytes(r, which) / dt_type_bytes(type)); i++) {
        const double expected = type == DT_BF16 ? (double)dt_from_bf16(dt_to_bf16((float)want[i])) : want[i];
        cr_assert(value_of(got, type, i) == expected, "%s: %s: [%d] is %.9g, expected %.9g", r->c->why, d->name, (int)i,
                  value_of(got, type, i), expected);
    }
    free(got);
    free(want);
}

static void must_run_the_model(void)
{
    if (!amx_model_runs()) cr_skip_test("this CPU has no AVX512-BF16, which the model of tiles runs on");
}

static int has_tiles(void)
{
    return dt_cpu_level_now() == DT_CPU_AMX;
}

Test(amx, integers_give_the_definition)
{
    must_run_the_model();
    for (int i = 0; i < N_CASES; i++) {
        rig r;
        rig_open(&r, &cases[i], 0);
        for (int which = 0; which < 3; which++) check_definition(&r, &by_model[which], which);
        for (int which = 0; has_tiles() && which < 3; which++) check_definition(&r, &by_cpu[which], which);
        rig_close(&r);
    }
}

Test(amx, model_cpu_and_any_number_of_threads_give_equal_bits)
{
    must_run_the_model();
    for (int i = 0; i < N_CASES; i++) {
        rig r;
        rig_open(&r, &cases[i], 1);
        for (int which = 0; which < 3; which++) {
            char *want = result_of(&r, &by_model[which], which, 1);
            for (int threads = 2; threads <= 8; threads += 3) {
                const direction *d = has_tiles() ? &by_cpu[which] : &by_model[which];
                char *got = result_of(&r, d, which, threads);
                cr_assert(memcmp(want, got, result_bytes(&r, which)) == 0, "%s: %s: other bits by %d threads of %s",
                          cases[i].why, d->name, threads, has_tiles() ? "the CPU" : "the model");
                free(got);
            }
            free(want);
        }
        rig_close(&r);
    }
}

Test(amx, misfits_are_refused)
{
    static const struct {
        const char *why;
        dt_conv_params params;
    } rows[] = {
        { "dilation", { { 2, 1 }, { 1, 1, 1, 1 }, { 2, 1 }, 1 } },
        { "dilation", { { 1, 1 }, { 2, 2, 2, 2 }, { 1, 2 }, 1 } },
        { "more padding than a window has steps", { { 1, 1 }, { 3, 1, 1, 1 }, { 1, 1 }, 1 } },
        { "groups", { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 } },
    };
    const dt_exec mixed = { .precision = DT_PRECISION_MIXED }, f32 = { .precision = DT_PRECISION_F32 };
    rig r;

    must_run_the_model();
    rig_open(&r, &cases[1], 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        r.params = rows[i].params;
        for (int which = 0; which < 3; which++) {
            const char *got = by_model[which].refuses(&r.node, &mixed);
            cr_assert(got && strcmp(got, rows[i].why) == 0, "%s: refused by '%s', expected '%s'", by_model[which].name,
                      got ? got : "nothing", rows[i].why);
        }
    }
    r.params = (dt_conv_params){ { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 1 };
    cr_assert(!model_forward_refuses(&r.node, &f32));
    cr_assert(model_backward_x_refuses(&r.node, &f32) && model_backward_w_refuses(&r.node, &f32));
    r.x.qmax = 256;
    cr_assert(model_forward_refuses(&r.node, &mixed) != NULL);
    rig_close(&r);
}

/* ---- real values ---- */

/* Makes a case's operands f32 without a scale: of integers in +-x_most and +-w_most, or of reals as large. */
static void rig_open_real(rig *r, const amx_case *c, int x_most, int w_most, int is_real)
{
    static amx_case real;
    draws d = { .seed = (uint64_t)(c->N * 77 + c->K + is_real) };

    real = *c;
    real.x = real.w = real.dy = real.dx = DT_F32;
    rig_open(r, &real, 0);
    rig_close(r);
    r->x.n_scale = r->w.n_scale = r->y.n_scale = 0;
    r->x.data = values(&d, DT_F32, -x_most, x_most, is_real, dt_count(&r->x.shape));
    r->w.data = values(&d, DT_F32, -w_most, w_most, is_real, dt_count(&r->w.shape));
    r->y.grad = values(&d, DT_F32, -1, 1, 0, dt_count(&r->y.shape));
}

/* Integers of which every sum is exact in f32, and which need all parts: the definition, with ==. */
static void check_real_integers(const amx_case *c, const direction *d, int is_training, int wide_x)
{
    const int64_t terms = c->R * c->S * c->C, room = (1 << 24) / terms - 1, most = is_training ? 1 << 16 : 1 << 22;
    const int high = (int)(room < most ? room : most);
    rig r;

    rig_open_real(&r, c, wide_x ? high : 1, wide_x ? 1 : high, 0);
    double *want = definition(&r, 0);
    float *got = (float *)(void *)result_by(&r, d, 0, 2, is_training);
    for (int64_t i = 0; i < dt_count(&r.y.shape); i++) {
        cr_assert((double)got[i] == want[i], "%s: %s of integers to %d in %s: [%d] is %.9g, expected %.9g", c->why,
                  is_training ? "two parts" : "three parts", high, wide_x ? "x" : "w", (int)i, (double)got[i], want[i]);
    }
    free(got);
    free(want);
    rig_close(&r);
}

static void drop_signs(dt_tensor *t)
{
    for (int64_t i = 0; i < dt_count(&t->shape); i++) ((float *)t->data)[i] = fabsf(((float *)t->data)[i]);
}

/* Reals: how far the sums are from double, as a share of the sum of the products' magnitudes. */
static double worst_of_reals(const amx_case *c, const direction *d, int is_training)
{
    double worst = 0.0;
    rig r;

    rig_open_real(&r, c, 1000, 1000, 1);
    double *want = definition(&r, 0);
    float *got = (float *)(void *)result_by(&r, d, 0, 2, is_training);
    drop_signs(&r.x);
    drop_signs(&r.w);
    double *whole = definition(&r, 0);
    for (int64_t i = 0; i < dt_count(&r.y.shape); i++)
        worst = fmax(worst, fabs((double)got[i] - want[i]) / fmax(whole[i], 1.0));
    free(whole);
    free(got);
    free(want);
    rig_close(&r);
    return worst;
}

Test(amx, reals_keep_the_bits_of_their_parts)
{
    const direction *d = has_tiles() ? &by_cpu[0] : &by_model[0];

    must_run_the_model();
    for (int i = 0; i < N_CASES; i++) {
        for (int is_training = 0; is_training < 2; is_training++) {
            /* Two parts round each operand to 16 bits, and leave out the product of the two low parts: together at most
             * 2^-16 of a product. Of three parts only the roundings of the sums are left. */
            const double bound = is_training ? 0x1p-16 : 0x1p-21, worst = worst_of_reals(&cases[i], d, is_training);
            check_real_integers(&cases[i], d, is_training, 1);
            check_real_integers(&cases[i], d, is_training, 0);
            cr_assert(worst <= bound, "%s: %s: %g of the products, limit %g", cases[i].why,
                      is_training ? "two parts" : "three parts", worst, bound);
        }
    }
}

Test(amx, model_and_cpu_give_equal_bits_of_reals)
{
    must_run_the_model();
    for (int i = 0; i < 2 * N_CASES; i++) {
        const amx_case *c = &cases[i / 2];
        rig r;
        rig_open_real(&r, c, 1000, 1000, 1);
        char *want = result_by(&r, &by_model[0], 0, 1, i % 2);
        for (int threads = 2; threads <= 5; threads += 3) {
            char *got = result_by(&r, has_tiles() ? &by_cpu[0] : &by_model[0], 0, threads, i % 2);
            cr_assert(memcmp(want, got, r.y_bytes) == 0, "%s: other bits by %d threads", c->why, threads);
            free(got);
        }
        free(want);
        rig_close(&r);
    }
}

/* Two images alone have the bits that they have among all. */
Test(amx, the_batch_changes_no_bit_of_reals)
{
    const direction *d = has_tiles() ? &by_cpu[0] : &by_model[0];

    must_run_the_model();
    for (int i = 0; i < N_CASES; i++) {
        rig r;
        rig_open_real(&r, &cases[i], 1000, 1000, 1);
        char *all = result_by(&r, d, 0, 2, 0);
        r.x.shape.dim[0] = r.y.shape.dim[0] = cases[i].N < 2 ? 1 : 2;
        r.y_bytes = (size_t)dt_count(&r.y.shape) * sizeof(float);
        char *some = result_by(&r, d, 0, 1, 0);
        cr_assert(memcmp(all, some, r.y_bytes) == 0, "%s: two images alone have other bits", cases[i].why);
        free(some);
        free(all);
        rig_close(&r);
    }
}
