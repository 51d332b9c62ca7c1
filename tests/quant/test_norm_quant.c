/*
 * test_norm_quant.c - batch norm, ReLU, max-pool and quantizer in one: against the four operators one after another,
 *                     bit for bit, and its gradients against the chain rule in double.
 *
 * Every combination of parts runs, over odd shapes.
 */
#include "../support/norm_quant_rig.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sums in double of f32 products, in two orders, agree to about 1e-15 of their magnitudes; seldom they round to two
 * neighbouring floats. */
#define ORDER_OF_SUMS (2.0 * (double)FLT_EPSILON)
/* f32 against double, of the largest magnitude: a dozen roundings, and the cancellation of dy - mean dy */
#define ORACLE_TOLERANCE 2e-5

static const char *case_text(const norm_quant_case *c)
{
    static char text[200];
    const dt_norm_quant_params *p = &c->p;

    snprintf(text, sizeof text, "%dx%dx%dx%d%s%s pool %d%s rule %d bits %d signed %d, %d scales", (int)c->shape[0],
             (int)c->shape[1], (int)c->shape[2], (int)c->shape[3],
             p->has_norm ? c->training ? " norm" : " norm in evaluation" : "",
             p->has_relu ? p->relu_most > 0.0f ? " limited relu" : " relu" : "", p->pool, p->has_quant ? " quant" : "",
             p->quant.rule, p->quant.bits, p->quant.is_signed, c->n_scale);
    return text;
}

static void equal_bits(const norm_quant_case *c, const char *what, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(memcmp(&want[i], &got[i], sizeof *want) == 0, "%s: %s[%lld] is %.9g, expected %.9g", case_text(c),
                  what, (long long)i, (double)got[i], (double)want[i]);
    }
}

/* within the tolerance of the largest; 0: equal */
static void close_to(const norm_quant_case *c, const char *what, const float *want, const float *got, int64_t n,
                     double tolerance)
{
    double largest = 0.0;

    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++) {
        cr_assert(fabs((double)want[i] - (double)got[i]) <= tolerance * largest, "%s: %s[%lld] is %.9g, expected %.9g",
                  case_text(c), what, (long long)i, (double)got[i], (double)want[i]);
    }
}

/* Every f32 that leaves the operator. */
static void same_result(const norm_quant_case *c, const result *want, const result *got, double tolerance)
{
    cr_assert(want->n_y == got->n_y && want->n_scale == got->n_scale && want->qmin == got->qmin &&
                  want->qmax == got->qmax,
              "%s: y has %lld elements and %d scales, its codes are %lld..%lld", case_text(c), (long long)got->n_y,
              got->n_scale, (long long)got->qmin, (long long)got->qmax);
    equal_bits(c, "y", want->y, got->y, want->n_y);
    equal_bits(c, "scale", &want->scale, &got->scale, want->n_scale ? 1 : 0);
    equal_bits(c, "running mean", want->mean, got->mean, want->channels);
    equal_bits(c, "running variance", want->var, got->var, want->channels);
    close_to(c, "dx", want->dx, got->dx, want->n_x, tolerance);
    close_to(c, "dgamma", want->dgamma, got->dgamma, want->channels, tolerance);
    close_to(c, "dbeta", want->dbeta, got->dbeta, want->channels, tolerance);
    close_to(c, "dalpha", &want->dalpha, &got->dalpha, 1, tolerance > 0.0 ? tolerance : ORDER_OF_SUMS);
}

typedef struct {
    double *z, *dz, *u, *du; /* [n_x] of what the pool sees, [n_y] of what the quantizer reads */
    double dalpha, dy_size;
} oracle;

static double slope_alpha(const dt_act_quant_params *p, double t, double high, double low, double factor)
{
    const double below = p->rule == DT_RULE_LSQ ? low : low / high;
    const double at = p->rule == DT_RULE_LSQ ? high : 1.0;

    if (p->rule == DT_RULE_PACT) return t >= 1.0;
    if (p->rule == DT_RULE_LSQ) return (t >= at ? high : t <= below ? low : nearbyint(t) - t) * factor;
    if (t > at) return 1.0;
    if (t < below) return below;
    return p->rule == DT_RULE_ECE284 ? 0.0 : nearbyint(t * high) / high - t;
}

static double slope_value(const dt_act_quant_params *p, double t, double high, double low)
{
    if (p->rule == DT_RULE_LSQ) return t > low && t < high;
    if (p->rule == DT_RULE_PACT) return t >= low / high && t < 1.0;
    return t >= low / high && t <= 1.0;
}

/* du of every window, and dalpha */
static void oracle_quantizer(const norm_quant_case *c, int64_t n_y, oracle *o)
{
    const dt_act_quant_params *p = &c->p.quant;
    const double alpha = (double)input_value(c, ALPHA, 0), high = (1 << (p->bits - p->is_signed)) - 1;
    const double low = p->is_signed ? -high : 0.0, factor = 1.0 / sqrt((double)n_y * high);

    for (int64_t i = 0; i < n_y; i++) {
        const double g = (double)dy_value(i), t = o->u[i] / alpha;
        o->du[i] = c->p.has_quant ? scaled_dy(c, t, high, g) * slope_value(p, t, high, low) : g;
        o->dy_size += fabs(g);
        if (c->p.has_quant) o->dalpha += g * slope_alpha(p, t, high, low, factor);
    }
}

/* Cell k of window i (of n_y), an index into x. */
static int64_t window_cell(const norm_quant_case *c, int64_t i, int k)
{
    const int pool = c->p.pool ? c->p.pool : 1;
    const int64_t channels = c->shape[3], out_width = c->shape[2] / pool, out_height = c->shape[1] / pool;
    const int64_t channel = i % channels, q = i / channels % out_width, row = i / channels / out_width;
    const int64_t h = row % out_height * pool + k / pool, w = q * pool + k % pool;
    return ((row / out_height * c->shape[1] + h) * c->shape[2] + w) * channels + channel;
}

static void oracle_pool(const norm_quant_case *c, int64_t n_y, oracle *o, int backward)
{
    const int pool = c->p.pool ? c->p.pool : 1;
    const double most = c->p.relu_most > 0.0f ? (double)c->p.relu_most : INFINITY;

    for (int64_t i = 0; i < n_y; i++) {
        int64_t top = window_cell(c, i, 0);
        for (int k = 1; k < pool * pool; k++) {
            if (o->z[window_cell(c, i, k)] > o->z[top]) top = window_cell(c, i, k);
        }
        if (backward)
            o->dz[top] = !c->p.has_relu || (o->z[top] > 0.0 && o->z[top] < most) ? o->du[i] : 0.0;
        else
            o->u[i] = c->p.has_relu ? fmin(fmax(o->z[top], 0.0), most) : o->z[top];
    }
}

typedef struct {
    double mean, deviation, gamma, beta;
} norm_of_channel;

static norm_of_channel oracle_norm(const norm_quant_case *c, const double *x, int64_t rows, int64_t channel)
{
    const int64_t channels = c->shape[3];
    double mean = (double)input_value(c, 3, channel), var = (double)input_value(c, 4, channel);

    if (c->training) {
        mean = var = 0.0;
        for (int64_t r = 0; r < rows; r++) mean += x[r * channels + channel] / (double)rows;
        for (int64_t r = 0; r < rows; r++) var += pow(x[r * channels + channel] - mean, 2.0) / (double)rows;
    }
    return (norm_of_channel){ mean, sqrt(var + (double)c->p.norm.epsilon), (double)input_value(c, 1, channel),
                              (double)input_value(c, 2, channel) };
}

/* dx of one channel from dz, in place; its dgamma and dbeta. */
static void oracle_norm_backward(const norm_quant_case *c, norm_of_channel k, const double *x, int64_t rows,
                                 int64_t channel, double *dz, float *dgamma, float *dbeta)
{
    const int64_t channels = c->shape[3];
    double sum = 0.0, product = 0.0;

    for (int64_t i = channel; i < rows * channels; i += channels) {
        sum += dz[i];
        product += dz[i] * (x[i] - k.mean) / k.deviation;
    }
    *dgamma = (float)product;
    *dbeta = (float)sum;
    for (int64_t i = channel; i < rows * channels; i += channels) {
        const double centred = dz[i] - sum / (double)rows - (x[i] - k.mean) / k.deviation * product / (double)rows;
        dz[i] = k.gamma / k.deviation * (c->training ? centred : dz[i]);
    }
}

/* The gradients alone; forward has the unfused chain for its truth. dy_size: sum of |dy|, which bounds dalpha. */
static result oracle_gradients(const norm_quant_case *c, double *dy_size)
{
    const int pool = c->p.pool ? c->p.pool : 1;
    const int64_t channels = c->shape[3], rows = c->shape[0] * c->shape[1] * c->shape[2], n_x = rows * channels;
    const int64_t n_y = c->shape[0] * (c->shape[1] / pool) * (c->shape[2] / pool) * channels;
    double *x = calloc((size_t)n_x, sizeof *x);
    norm_of_channel *norm = calloc((size_t)channels, sizeof *norm);
    oracle o = { calloc((size_t)n_x, sizeof(double)),
                 calloc((size_t)n_x, sizeof(double)),
                 calloc((size_t)n_y, sizeof(double)),
                 calloc((size_t)n_y, sizeof(double)),
                 0.0,
                 0.0 };
    result r = { .n_x = n_x,
                 .n_y = n_y,
                 .channels = channels,
                 .dx = calloc((size_t)n_x, sizeof(float)),
                 .dgamma = calloc((size_t)channels, sizeof(float)),
                 .dbeta = calloc((size_t)channels, sizeof(float)) };

    for (int64_t i = 0; i < n_x; i++) {
        x[i] = (double)input_value(c, 0, i) * (double)(c->n_scale ? scale_value(c, i % channels) : 0.09f);
    }
    for (int64_t j = 0; j < channels; j++) norm[j] = oracle_norm(c, x, rows, j);
    for (int64_t i = 0; i < n_x; i++) {
        const norm_of_channel k = norm[i % channels];
        o.z[i] = c->p.has_norm ? k.gamma * (x[i] - k.mean) / k.deviation + k.beta : x[i];
    }
    oracle_pool(c, n_y, &o, 0);
    oracle_quantizer(c, n_y, &o);
    oracle_pool(c, n_y, &o, 1);
    for (int64_t j = 0; c->p.has_norm && j < channels; j++) {
        oracle_norm_backward(c, norm[j], x, rows, j, o.dz, &r.dgamma[j], &r.dbeta[j]);
    }
    for (int64_t i = 0; i < n_x; i++) r.dx[i] = (float)o.dz[i];
    r.dalpha = (float)o.dalpha;
    *dy_size = o.dy_size;
    free(o.z);
    free(o.dz);
    free(o.u);
    free(o.du);
    free(x);
    free(norm);
    return r;
}

static const int64_t channels_of[] = { 1, 3, 16, 33, 64, 130 };
enum { N_CHANNELS = sizeof channels_of / sizeof channels_of[0], N_PARTS = 8, N_QUANTIZERS = 7 };

/* none, then every rule, and a signed one of the kind with a lower clip */
static const dt_act_quant_params quantizers[N_QUANTIZERS] = { { 4, 0, 0, DT_RULE_ECE284 }, { 3, 0, 0, DT_RULE_APOT },
                                                              { 4, 0, 0, DT_RULE_SCREAM }, { 2, 0, 0, DT_RULE_PACT },
                                                              { 4, 0, 0, DT_RULE_LSQ },    { 4, 1, 0, DT_RULE_LSQ },
                                                              { 4, 1, 0, DT_RULE_SCREAM } };

/* Parts: bit 0 a norm, bit 1 a ReLU, bit 2 a quantizer. The shape is odd: windows of 2 and 3 leave cells over. */
static norm_quant_case case_of(int parts, int pool, int quantizer, int64_t channels, int training)
{
    norm_quant_case c = { .training = training, .shape = { 3, 7, 5, channels }, .x_size = 12 };

    c.ewgs = (parts + pool + quantizer) % 2 ? 0.25f : 0.0f;
    c.n_scale = (int[]){ 1, (int)channels, 0 }[(parts + pool + quantizer + training) % 3];
    c.p = (dt_norm_quant_params){ .has_norm = parts & 1,
                                  .has_relu = parts >> 1 & 1,
                                  .has_quant = parts >> 2 & 1,
                                  .pool = pool,
                                  .norm = { 1e-5f, 0.1f },
                                  .quant = quantizers[quantizer] };
    return c;
}

/* The same with an upper limit to its ReLU, below the quantizers' clips; for reals, where there is no norm. */
static norm_quant_case limited(norm_quant_case c)
{
    c.p.relu_most = 0.625f;
    if (!c.p.has_norm) c.n_scale = 0;
    return c;
}

/* Calls visit with every case there is. */
static void each_case(void (*visit)(const norm_quant_case *c))
{
    for (int parts = 0; parts < N_PARTS; parts++) {
        for (int i = 0; i < 3 * N_CHANNELS; i++) {
            const int pool = i % 3 ? i % 3 + 1 : 0;
            if (parts == 0 && pool == 0) continue; /* nothing to compare with */
            for (int q = 0; q < (parts & 4 ? N_QUANTIZERS : 1); q++) {
                for (int training = 0; training <= (parts & 1); training++) {
                    const norm_quant_case c = case_of(parts, pool, q, channels_of[i / 3], training);
                    visit(&c);
                    const norm_quant_case more = limited(c);
                    if (c.p.has_relu) visit(&more);
                }
            }
        }
    }
}

/* Where windows are not pooled the sums of the norm have the chain's order too, and every gradient equal bits. */
static void check_chain(const norm_quant_case *c)
{
    result want = run_chain(c), got = run_fused(c, plain, 1);
    same_result(c, &want, &got, c->p.pool && c->p.has_norm ? ORDER_OF_SUMS : 0.0);
    result_free(&want);
    result_free(&got);
}

Test(norm_quant, is_the_chain_bit_for_bit, .timeout = 300)
{
    each_case(check_chain);
}

static void check_oracle(const norm_quant_case *c)
{
    double dy_size;
    result want = oracle_gradients(c, &dy_size), got = run_fused(c, plain, 1);
    close_to(c, "dx against double", want.dx, got.dx, want.n_x, ORACLE_TOLERANCE);
    close_to(c, "dgamma against double", want.dgamma, got.dgamma, want.channels, ORACLE_TOLERANCE);
    close_to(c, "dbeta against double", want.dbeta, got.dbeta, want.channels, ORACLE_TOLERANCE);
    cr_assert(fabs((double)want.dalpha - (double)got.dalpha) <= ORACLE_TOLERANCE * dy_size,
              "%s: dalpha is %.9g, expected %.9g", case_text(c), (double)got.dalpha, (double)want.dalpha);
    result_free(&want);
    result_free(&got);
}

Test(norm_quant, gradients_are_the_chain_rule, .timeout = 300)
{
    each_case(check_oracle);
}

static void check_bytes(const norm_quant_case *c)
{
    if (!c->p.has_quant) return;
    const storage bytes = { c->p.quant.is_signed ? DT_I8 : DT_U8, DT_F32, DT_F32, 0 };
    result want = run_fused(c, plain, 1), got = run_fused(c, bytes, 1);
    close_to(c, "codes in bytes", want.y, got.y, want.n_y, 0.0);
    equal_bits(c, "scale of bytes", &want.scale, &got.scale, 1);
    close_to(c, "dx behind bytes", want.dx, got.dx, want.n_x, 0.0);
    result_free(&want);
    result_free(&got);
}

Test(norm_quant, codes_in_bytes_are_the_codes, .timeout = 300)
{
    each_case(check_bytes);
}

/* dy is exact in bf16: only dx is rounded, once */
static void check_bf16(const norm_quant_case *c)
{
    static const storage written = { DT_F32, DT_BF16, DT_BF16, 0 }, added = { DT_F32, DT_BF16, DT_BF16, 1 },
                         wide_added = { DT_F32, DT_BF16, DT_F32, 1 };
    result want = run_fused(c, plain, 1), got = run_fused(c, written, 1), more = run_fused(c, added, 1),
           wide = run_fused(c, wide_added, 1);

    close_to(c, "dgamma from bf16", want.dgamma, got.dgamma, want.channels, 0.0);
    close_to(c, "dbeta from bf16", want.dbeta, got.dbeta, want.channels, 0.0);
    close_to(c, "dalpha from bf16", &want.dalpha, &got.dalpha, 1, 0.0);
    for (int64_t i = 0; i < want.n_x; i++) {
        const float dx = want.dx[i];
        cr_assert(got.dx[i] == rounded_to_bf16(dx), "%s: dx[%lld] in bf16 is %.9g, in f32 %.9g", case_text(c),
                  (long long)i, (double)got.dx[i], (double)dx);
        cr_assert(more.dx[i] == rounded_to_bf16(0.5f + dx), "%s: 0.5 + dx[%lld] in bf16 is %.9g, dx %.9g", case_text(c),
                  (long long)i, (double)more.dx[i], (double)dx);
        cr_assert(wide.dx[i] == 0.5f + dx, "%s: 0.5 + dx[%lld] is %.9g, dx %.9g", case_text(c), (long long)i,
                  (double)wide.dx[i], (double)dx);
    }
    result_free(&want);
    result_free(&got);
    result_free(&more);
    result_free(&wide);
}

Test(norm_quant, bf16_gradients_are_the_rounded_ones, .timeout = 300)
{
    each_case(check_bf16);
}

Test(norm_quant, threads_give_equal_bits)
{
    for (int i = 0; i < 6; i++) {
        const int pool = i % 3 ? i % 3 + 1 : 0;
        norm_quant_case c = case_of(7, pool, i / 3 ? 4 : 2, 33, 1);
        c.shape[0] = 5; /* rows in many blocks */
        c.shape[1] = 33;
        c.shape[2] = 31;
        const storage s = { DT_U8, DT_BF16, DT_BF16, 0 };
        result one = run_fused(&c, s, 1);
        for (int threads = 2; threads <= 3; threads++) {
            result more = run_fused(&c, s, threads);
            same_result(&c, &one, &more, 0.0);
            equal_bits(&c, "dalpha", &one.dalpha, &more.dalpha, 1);
            result_free(&more);
        }
        result want = run_chain(&c), got = run_fused(&c, plain, 3);
        same_result(&c, &want, &got, ORDER_OF_SUMS);
        result_free(&one);
        result_free(&want);
        result_free(&got);
    }
}

/* An unclamped quantizer has no lower clip: codes below 0, and gradients there. */
Test(norm_quant, unclamped_codes_may_be_negative)
{
    for (int pool = 0; pool <= 2; pool += 2) {
        norm_quant_case c = case_of(5, pool, 2, 33, 1);
        c.p.quant.unclamped = 1;
        check_chain(&c);
        result got = run_fused(&c, plain, 1);
        float least = 0.0f;
        for (int64_t i = 0; i < got.n_y; i++) least = fminf(least, got.y[i]);
        cr_assert(least < -1.0f, "the least code is %g", (double)least);
        result_free(&got);
    }
}

/* A byte cannot hold the NaN of a norm that has diverged: the scale does. */
Test(norm_quant, a_diverged_norm_shows_in_the_scale)
{
    const norm_quant_case c = case_of(7, 0, 0, 3, 0);
    rig r;
    rig_open(&r, &c, 1);
    rig_fused(&r, &c, (storage){ DT_U8, DT_F32, DT_F32, 0 });
    const float gamma[3] = { 1.0f, NAN, 1.0f };
    must(dt_device_write(r.ctx, r.in[1].data, gamma, sizeof gamma), "gamma");
    rig_run(&r, 0);
    result got = rig_read(&r);
    cr_assert(isnan(got.scale), "the scale is %g", (double)got.scale);
    result_free(&got);
    rig_close(&r);
}

/* Nor that of filters, which the psums' scale brings: also where no norm stands between. */
Test(norm_quant, a_scale_that_is_no_number_is_passed_on)
{
    for (int parts = 6; parts <= 7; parts++) {
        norm_quant_case c = case_of(parts, 2, 0, 3, 1);
        const float x_scale[3] = { 0.1f, 0.2f, NAN };
        rig r;
        c.n_scale = 3;
        rig_open(&r, &c, 1);
        rig_fused(&r, &c, (storage){ DT_U8, DT_F32, DT_F32, 0 });
        must(dt_device_write(r.ctx, r.in[0].scale, x_scale, sizeof x_scale), "scale");
        rig_run(&r, 0);
        result got = rig_read(&r);
        cr_assert(isnan(got.scale), "%s a norm the scale is %g", parts & 1 ? "with" : "without", (double)got.scale);
        result_free(&got);
        rig_close(&r);
    }
}

/* In training. x and n_rest further inputs of 8 values each, but for a last one of 1. */
static void refused(const dt_norm_quant_params *p, dt_shape x, int n_rest, int64_t n_last, dt_status status,
                    const char *text)
{
    dt_tensor in[DT_MAX_IN] = { { .shape = x } }, out = { 0 };
    dt_node node = { .kind = DT_OP_NORM_QUANT, .name = "layer", .params = p, .n_in = 1 + n_rest, .out = &out };

    node.purpose.training = 1;
    for (int k = 0; k <= n_rest; k++) {
        if (k > 0) in[k].shape = (dt_shape){ 1, { k == n_rest ? n_last : 8 } };
        node.in[k] = &in[k];
    }
    const dt_status got = dt_ops[DT_OP_NORM_QUANT]->infer(&node);
    cr_assert(got == status, "expected '%s', infer gave %s", text, dt_status_name(got));
    cr_assert(strstr(dt_last_error(), text) != NULL, "the message is '%s', expected '%s' in it", dt_last_error(), text);
}

Test(norm_quant, misfits_are_refused)
{
    const dt_shape map = { 4, { 2, 5, 7, 8 } }, pixel = { 4, { 1, 1, 1, 8 } }, flat = { 2, { 2, 8 } };
    const norm_quant_case full = case_of(7, 2, 0, 8, 1);
    dt_norm_quant_params p = full.p;

    refused(&p, map, 4, 8, DT_ERR_ARGUMENT, "5 inputs, with norm and with quantizer it takes 6");
    refused(&p, map, 5, 2, DT_ERR_SHAPE, "takes one alpha, got 2");
    refused(&p, (dt_shape){ 4, { 2, 5, 7, 16 } }, 5, 1, DT_ERR_SHAPE, "gamma has 8 values, x has 16 channels");
    refused(&p, pixel, 5, 1, DT_ERR_SHAPE, "x is 1x1x1x8, and one value a channel has no variance");
    refused(&p, flat, 5, 1, DT_ERR_SHAPE, "x is 2x8, and pooling needs the axes N,H,W,C");
    p.pool = 6;
    refused(&p, map, 5, 1, DT_ERR_SHAPE, "a window of 6x6 does not fit into x, which is 2x5x7x8");
    p.pool = -1;
    refused(&p, map, 5, 1, DT_ERR_ARGUMENT, "a pooling window of -1");
    p = full.p;
    p.quant.bits = 9;
    refused(&p, map, 5, 1, DT_ERR_ARGUMENT, "activations of 9 bits");
    p = full.p;
    p.norm.epsilon = 0.0f;
    refused(&p, map, 5, 1, DT_ERR_ARGUMENT, "epsilon is 0");
    p = full.p;
    p.relu_most = -6.0f;
    refused(&p, map, 5, 1, DT_ERR_ARGUMENT, "relu_most is -6, must be above 0, or 0 for no upper limit");
    p = (dt_norm_quant_params){ .has_relu = 1, .pool = 2 };
    refused(&p, map, 1, 1, DT_ERR_ARGUMENT, "2 inputs, without norm and without quantizer it takes 1");
}

/* The limit is real, and the scale of psums comes behind the pool. */
Test(norm_quant, a_limit_of_bare_psums_is_refused)
{
    const dt_norm_quant_params p = { .has_relu = 1, .pool = 2, .relu_most = 6.0f };
    dt_tensor x = { .shape = { 4, { 2, 5, 7, 8 } }, .n_scale = 1, .qmin = -9, .qmax = 9 }, out = { 0 };
    dt_node node = { .kind = DT_OP_NORM_QUANT, .name = "layer", .params = &p, .in = { &x }, .n_in = 1, .out = &out };

    cr_assert(dt_ops[DT_OP_NORM_QUANT]->infer(&node) == DT_ERR_UNSUPPORTED &&
                  strstr(dt_last_error(), "relu_most is 6, a real value, and x is a grid tensor without a norm"),
              "%s", dt_last_error());
}

/* 8 unsigned bits do not fit into a signed byte. */
Test(norm_quant, types_that_cannot_hold_y_are_refused)
{
    norm_quant_case c = case_of(7, 0, 0, 3, 0);
    c.p.quant.bits = 8;
    rig r;
    rig_open(&r, &c, 1);
    rig_fused(&r, &c, (storage){ DT_I8, DT_F32, DT_F32, 0 });
    const dt_exec ex = dt_context_exec(r.ctx);
    size_t bytes = 0;
    const dt_status got = r.ctx->backend->kernels()[DT_OP_NORM_QUANT]->prepare(&r.node[0], &ex, &bytes);
    cr_assert(got == DT_ERR_UNSUPPORTED && strstr(dt_last_error(), "bytes of -128..127, its codes are 0..255"),
              "%s: %s", dt_status_name(got), dt_last_error());
    rig_close(&r);
}
