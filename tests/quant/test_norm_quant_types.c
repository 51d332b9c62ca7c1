/*
 * test_norm_quant_types.c - NORM_QUANT on CUDA, in all the types that core/tape/types.c gives it, against the chain of
 *                           BATCHNORM, RELU, MAXPOOL and ACT_QUANT that it stands for, in f32, on the CPU and on CUDA.
 *
 * Sums of x are exact, so codes, scales and running statistics must be equal. Gradients of 16 bits
 * must be what the same kernels give in f32, rounded once.
 */
#include "../support/norm_quant_chain.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const type_case *c, const char *what)
{
    static char text[256];
    char shape[64];
    snprintf(text, sizeof text,
             "x %s, norm %d training %d relu %d most %g pool %d quant %d rule %d signed %d unclamped %d, types x %d "
             "out %d dy %d "
             "dx %d: %s",
             dt_shape_text(&c->x, shape, sizeof shape), c->p.has_norm, !c->evaluates, c->p.has_relu,
             (double)c->p.relu_most, c->p.pool, c->p.has_quant, (int)c->p.quant.rule, c->p.quant.is_signed,
             c->p.quant.unclamped, (int)c->x_type, (int)c->out_type, (int)c->dy_type, (int)c->dx_type, what);
    return text;
}

static void same(const type_case *c, const char *what, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(want[i] == got[i], "%s[%lld] is %.9g, expected %.9g", text_of(c, what), (long long)i, (double)got[i],
                  (double)want[i]);
    }
}

/* The fused kernels add up to 256 products in f32, the others in double: 256 * 2^-24 of the magnitudes at worst, of
 * which a random sign leaves a sixteenth. */
static void close_to(const type_case *c, const char *what, const float *want, const float *got, int64_t n)
{
    double largest = 1.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs((double)want[i] - (double)got[i]) <= 1e-5 * largest, "%s[%lld] is %.9g, expected %.9g",
                  text_of(c, what), (long long)i, (double)got[i], (double)want[i]);
    }
}

static void compare(const type_case *c, const chain_result *want, const chain_result *got)
{
    static const char *const names[N_PARAMETERS] = { "dgamma", "dbeta", "", "", "dalpha" };
    const int64_t channels = c->x.dim[c->x.ndim - 1], n = dt_count(&c->x);

    cr_assert(want->n_out == got->n_out);
    same(c, "out", want->out, got->out, want->n_out);
    if (c->p.has_quant) same(c, "scale", want->scale, got->scale, 1);
    same(c, "running mean", want->mean, got->mean, channels);
    same(c, "running variance", want->var, got->var, channels);
    if (want->dx) close_to(c, "dx", want->dx, got->dx, n);
    for (int k = 0; k < N_PARAMETERS; k++) {
        if (want->dparameter[k]) close_to(c, names[k], want->dparameter[k], got->dparameter[k], k < 4 ? channels : 1);
    }
}

/* dx of 16 bits is dx of the same kernels in f32, rounded */
static void check_rounding(const type_case *c, const chain_result *wide)
{
    device_memory m;
    cr_assert(open_memory(&m, "cuda"));
    chain_result narrow = run_fused(&m, c, c->dx_type);
    for (int64_t i = 0; i < dt_count(&c->x); i++) {
        float bits;
        to_bits(&bits, c->dx_type, 0, wide->dx[i]); /* dx was added in f32: to 0.25, which 16 bits hold too */
        const float want = from_bits(&bits, c->dx_type, 0);
        cr_assert(want == narrow.dx[i], "%s[%lld] is %.9g, expected %.9g", text_of(c, "rounded dx"), (long long)i,
                  (double)narrow.dx[i], (double)want);
    }
    result_free(&narrow);
    close_memory(&m);
}

static void check(const type_case *c)
{
    static const char *const backends[] = { "cpu", "cuda" };
    device_memory m;
    if (!open_memory(&m, "cuda")) cr_skip_test("there is no CUDA here; test_norm_quant_types_simt has the shim");
    chain_result got = run_fused(&m, c, DT_F32);

    for (int b = 0; b < 2; b++) {
        device_memory other;
        cr_assert(open_memory(&other, backends[b]));
        chain_result want = run_parts(&other, c);
        compare(c, &want, &got);
        result_free(&want);
        close_memory(&other);
    }
    if (c->dx_type != DT_F32 && got.dx) check_rounding(c, &got);
    result_free(&got);
    close_memory(&m);
}

static const dt_norm_quant_params whole = { .has_norm = 1,
                                            .has_relu = 1,
                                            .has_quant = 1,
                                            .pool = 2,
                                            .norm = { 1e-5f, 0.1f },
                                            .quant = { .bits = 4, .rule = DT_RULE_ECE284 } };

static type_case usual(int channels, int pool)
{
    type_case c = { .x = { 4, { 3, 7, 5, channels } }, .p = whole, .n_scale = 1, .size = 300, .alpha = 1.3f };
    c.p.pool = pool;
    return c;
}

static void give_types(type_case *c, dt_dtype x, dt_dtype out, dt_dtype dy, dt_dtype dx)
{
    c->x_type = x;
    c->out_type = out;
    c->dy_type = dy;
    c->dx_type = dx;
}

static const int channels[] = { 1, 3, 8, 16, 33, 64, 72 };
enum { N_CHANNELS = sizeof channels / sizeof channels[0] };

/* all of F32, all of F16, and mixtures of what may stand before and behind */
static const dt_dtype types[][4] = {
    { DT_F32, DT_F32, DT_F32, DT_F32 },  { DT_F16, DT_F16, DT_F16, DT_F16 }, { DT_F16, DT_F32, DT_F32, DT_F16 },
    { DT_F32, DT_U8, DT_BF16, DT_BF16 }, { DT_F16, DT_U8, DT_BF16, DT_F32 },
};
enum { N_TYPES = sizeof types / sizeof types[0] };

Test(norm_quant_types, sizes_pools_and_types)
{
    for (int i = 0; i < N_CHANNELS; i++) {
        for (int pool = 0; pool <= 3; pool++) {
            for (int t = 0; t < N_TYPES; t++) {
                type_case c = usual(channels[i], pool);
                give_types(&c, types[t][0], types[t][1], types[t][2], types[t][3]);
                check(&c);
            }
        }
    }
}

Test(norm_quant_types, rules)
{
    static const dt_quant_rule rules[] = { DT_RULE_ECE284, DT_RULE_SCREAM, DT_RULE_APOT, DT_RULE_PACT, DT_RULE_LSQ };
    static const int n_channels[] = { 3, 16 };

    for (int r = 0; r < 5; r++) {
        for (int k = 0; k < 12; k++) { /* channels, pool, clips */
            type_case c = usual(n_channels[k % 2], k / 2 % 2 * 2);
            c.p.quant.rule = rules[r];
            if (rules[r] == DT_RULE_LSQ) c.alpha = 0.11f;
            c.p.quant.is_signed = k / 4 == 1;
            c.p.quant.unclamped = k / 4 == 2;
            c.p.has_relu = k / 4 == 0;
            give_types(&c, DT_F16, k / 4 == 1 ? DT_I8 : DT_F16, DT_F16, DT_F16);
            check(&c);
            c.ewgs = 0.4f; /* which no kernel of a single rule has */
            check(&c);
            give_types(&c, DT_F32, DT_F32, DT_F32, DT_F32);
            check(&c);
            c.ewgs = 0.0f;
            check(&c);
        }
    }
}

Test(norm_quant_types, each_part_if_it_is_there)
{
    for (int parts = 1; parts < 16; parts++) {
        for (int k = 0; k < 4; k++) {
            type_case c = usual(k % 2 ? 3 : 24, parts & 4 ? 2 : 0);
            c.p.has_norm = parts & 1;
            c.p.has_relu = parts >> 1 & 1;
            c.p.has_quant = parts >> 3 & 1;
            c.n_scale = k < 2 ? 1 : (int)c.x.dim[3];
            give_types(&c, k % 2 ? DT_F16 : DT_F32, DT_F32, DT_F16, DT_F16);
            if (!c.p.has_norm && !c.p.has_quant && c.x_type == DT_F16) c.out_type = DT_F16;
            check(&c);
        }
    }
}

/* Below the quantizer's clip, which is 1.3, above it, and without a quantizer. */
Test(norm_quant_types, a_relu_with_an_upper_limit)
{
    static const int n_channels[] = { 3, 8, 33 };

    for (int k = 0; k < 3 * 4 * N_TYPES; k++) {
        type_case c = usual(n_channels[k % 3], k / 3 % 4);
        const dt_dtype *type = types[k / 12];
        give_types(&c, type[0], type[1], type[2], type[3]);
        c.p.relu_most = k % 2 ? 0.7f : 1.5f;
        check(&c);
        c.evaluates = 1;
        c.p.has_quant = 0;
        c.out_type = DT_F32;
        check(&c);
    }
    type_case real = usual(20, 2);
    real.n_scale = 0;
    real.p.has_norm = 0;
    real.p.relu_most = 0.7f;
    check(&real);
}

Test(norm_quant_types, evaluation)
{
    for (int k = 0; k < 8; k++) {
        type_case c = usual(k % 2 ? 3 : 40, k / 2 % 2 * 2);
        c.evaluates = 1;
        give_types(&c, k / 4 ? DT_F16 : DT_F32, DT_F16, DT_F16, DT_F16);
        check(&c);
    }
}

Test(norm_quant_types, odds)
{
    type_case real = usual(20, 2), ties = usual(16, 3), added = usual(16, 2), constant = usual(24, 2),
              flat = usual(40, 0);
    real.n_scale = 0;
    check(&real);
    ties.size = 3;
    check(&ties);
    ties.p.pool = 2;
    give_types(&ties, DT_F16, DT_F16, DT_F16, DT_F16);
    check(&ties);
    added.not_fresh = 1;
    check(&added);
    give_types(&added, DT_F16, DT_F16, DT_F16, DT_F16);
    check(&added);
    give_types(&added, DT_F16, DT_F16, DT_F16, DT_BF16);
    check(&added);
    constant.no_dx = 1;
    check(&constant);
    flat.x = (dt_shape){ 2, { 33, 40 } };
    give_types(&flat, DT_F16, DT_F32, DT_F32, DT_F16);
    check(&flat);
}

/* rows and windows of many blocks, each of which takes several rounds */
Test(norm_quant_types, many_blocks)
{
    for (int pool = 0; pool <= 2; pool += 2) {
        type_case c = usual(8, pool);
        c.x = (dt_shape){ 4, { 5, 67, 65, 8 } };
        give_types(&c, DT_F16, DT_F16, DT_F16, DT_F16);
        check(&c);
        c.x = (dt_shape){ 4, { 3, 33, 31, 64 } };
        check(&c);
        c.x = (dt_shape){ 4, { 3, 33, 31, 3 } };
        check(&c);
    }
}

/* The scale of codes in bytes, when one value of x's scale or of gamma is no number. */
static void diverges(const type_case *c, int in_scale)
{
    float value[40];
    device_memory m;
    if (!open_memory(&m, "cuda")) cr_skip_test("there is no CUDA here; test_norm_quant_types_simt has the shim");
    dt_tensor x = make_x(&m, c, DT_F16, DT_F16), parameter[N_PARAMETERS], out = { .name = "fused" };
    dt_node node = { .kind = DT_OP_NORM_QUANT, .name = "fused", .params = &c->p, .in = { &x }, .n_in = 1, .out = &out };
    make_parameters(&m, c, parameter);
    for (int k = 0; c->p.has_norm && k < 4; k++) node.in[node.n_in++] = &parameter[k];
    node.in[node.n_in++] = &parameter[4];
    for (int i = 0; i < 40; i++) value[i] = i == 33 ? NAN : 0.5f;
    must(dt_device_write(m.ctx, in_scale ? x.scale : parameter[0].data, value, sizeof value), "a NaN");
    const dt_kernel *kernel = make_ready(&m, &node, DT_U8, DT_F32);
    const dt_exec ex = dt_context_exec(m.ctx);
    must(kernel->forward(&node, &ex), "forward");
    float *scale = read_values(&m, out.scale, DT_F32, 1);
    cr_assert(isnan(*scale), "a NaN in %s: the scale is %g", in_scale ? "x's scale" : "gamma", (double)*scale);
    free(scale);
    close_memory(&m);
}

/* A byte cannot hold the NaN of a norm that has diverged: the scale does. */
Test(norm_quant_types, a_diverged_norm_shows_in_the_scale)
{
    const type_case c = usual(40, 2);
    diverges(&c, 0);
}

/* Nor that of filters, which the psums' scale brings: also where no norm stands between. */
Test(norm_quant_types, a_scale_that_is_no_number_is_passed_on)
{
    type_case c = usual(40, 2);
    c.n_scale = 40;
    diverges(&c, 1);
    c.p.has_norm = 0;
    diverges(&c, 1);
}

Test(norm_quant_types, misfits_are_refused)
{
    type_case c = usual(8, 2);
    device_memory m;
    size_t bytes;
    if (!open_memory(&m, "cuda")) cr_skip_test("there is no CUDA here; test_norm_quant_types_simt has the shim");
    dt_tensor x = make_x(&m, &c, DT_F32, DT_F32), parameter[N_PARAMETERS], out = { .name = "fused" };
    dt_node node = { .kind = DT_OP_NORM_QUANT, .name = "fused", .params = &c.p, .in = { &x }, .n_in = 6, .out = &out };
    make_parameters(&m, &c, parameter);
    for (int k = 0; k < N_PARAMETERS; k++) node.in[k + 1] = &parameter[k];
    const dt_kernel *kernel = make_ready(&m, &node, DT_F32, DT_F32);
    const dt_exec ex = dt_context_exec(m.ctx);

    x.type = DT_BF16;
    cr_assert_eq(kernel->prepare(&node, &ex, &bytes), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "CUDA takes f32 and f16"), "%s", dt_last_error());
    x.type = DT_F32;
    out.type = DT_U8;
    out.qmin = -7;
    cr_assert_eq(kernel->prepare(&node, &ex, &bytes), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "its codes are -7..15"), "%s", dt_last_error());
    out.type = DT_F32;
    x.shape.dim[0] = 1 << 30;
    cr_assert_eq(kernel->prepare(&node, &ex, &bytes), DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "less than 2^30 rows"), "%s", dt_last_error());
    close_memory(&m);
}
