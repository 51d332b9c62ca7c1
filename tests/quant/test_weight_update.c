/*
 * test_weight_update.c - the update that does the weight quantizers' backward itself, against backward and then the
 * plain update: the bits must be equal, step after step, whether or not it left the next step's sums.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/context.h"
#include "../../core/train/optim.h"
#include "../support/host_copy.h"

/* more layers than a group has; more runs of parameters than a batch has */
enum { LAYERS = 27, PLAIN = 5, MOST_BUFFERS = 9 + LAYERS };

static const char *const backends[] = { "cpu", "cuda" };

/* Small ones, one a piece and one weight more, several pieces a filter, several in all. */
static const struct {
    int filters, count, alphas;
    dt_weight_quant_params params;
} kinds[] = { { 7, 27, 1, { 4, DT_RULE_ECE284 } },  { 3, 8325, 3, { 2, DT_RULE_ECE284 } },
              { 33, 297, 1, { 4, DT_RULE_APOT } },  { 5, 9, 5, { 3, DT_RULE_SCREAM } },
              { 1, 4097, 1, { 8, DT_RULE_LSQ } },   { 3, 7, 3, { 4, DT_RULE_LSQ } },
              { 2, 2048, 1, { 2, DT_RULE_SCREAM } } };
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* Parameters in one block: of each layer weights, alphas, and a few that have no quantizer. */
typedef struct {
    dt_context *ctx;
    const dt_kernel *kernel;
    dt_exec ex;
    int fused;
    float ewgs, dampen; /* of each step */
    int64_t count, n_codes;
    dt_tensor weight[LAYERS], alpha[LAYERS], code[LAYERS];
    dt_node node[LAYERS];
    const dt_node *nodes[LAYERS];
    dt_update_range range[3 * LAYERS];
    dt_update u;
    float *g; /* device [n_codes]: of all codes */
    struct {
        void *p;
        size_t bytes;
    } buffer[MOST_BUFFERS];
    int n_buffers;
} network;

static void must(dt_status status)
{
    cr_assert(status == DT_OK, "%s", dt_last_error());
}

static void *room(network *n, size_t bytes)
{
    void *p;
    must(dt_device_alloc(n->ctx, bytes, &p));
    must(dt_device_zero(n->ctx, p, bytes));
    n->buffer[n->n_buffers].p = p;
    n->buffer[n->n_buffers++].bytes = bytes;
    return p;
}

static void shape_layer(network *n, int i)
{
    const int kind = i % KINDS;
    const dt_shape codes = { 2, { kinds[kind].filters, kinds[kind].count } };

    n->weight[i] = (dt_tensor){ .shape = codes, .wants_grad = 1 };
    n->alpha[i] = (dt_tensor){ .shape = { 1, { kinds[kind].alphas } }, .wants_grad = 1 };
    n->node[i] = (dt_node){ .kind = DT_OP_WEIGHT_QUANT,
                            .name = "layer",
                            .params = &kinds[kind].params,
                            .in = { &n->weight[i], &n->alpha[i] },
                            .n_in = 2,
                            .out = &n->code[i],
                            .fresh = 3 };
    n->nodes[i] = &n->node[i];
    must(dt_ops[DT_OP_WEIGHT_QUANT]->infer(&n->node[i]));
    n->n_codes += dt_count(&codes);
    n->count += dt_count(&codes) + kinds[kind].alphas + PLAIN;
}

/* As the trainer makes them: neighbours with equal settings are one range. */
static void add_range(network *n, int64_t first, int64_t count, int is_alpha)
{
    dt_update_range r = { first, count, 1.0f, 5e-4f, -INFINITY, 0 };
    dt_update_range *last = n->u.n_ranges > 0 ? &n->range[n->u.n_ranges - 1] : NULL;

    if (is_alpha) r = (dt_update_range){ first, count, 0.1f, 0.01f, 0.05f, 0 };
    if (last && last->lr_factor == r.lr_factor)
        last->count += count;
    else
        n->range[n->u.n_ranges++] = r;
}

static void place_layers(network *n, float *dw, float *codes, float *scales, char *aux)
{
    int64_t at = 0, code_at = 0;

    for (int i = 0; i < LAYERS; i++) {
        const int64_t count = dt_count(&n->weight[i].shape), alphas = dt_count(&n->alpha[i].shape);
        n->weight[i].data = n->u.w + at;
        n->weight[i].grad = dw + at;
        n->alpha[i].data = n->u.w + at + count;
        n->alpha[i].grad = dw + at + count;
        add_range(n, at, count, 0);
        add_range(n, at + count, alphas, 1);
        add_range(n, at + count + alphas, PLAIN, 0);
        at += count + alphas + PLAIN;
        n->code[i].data = codes + code_at;
        n->code[i].grad = n->g + code_at;
        n->code[i].scale = scales;
        n->node[i].aux = aux;
        code_at += count;
        scales += alphas;
        aux += n->node[i].aux_bytes;
        if (n->fused) n->weight[i].sums = room(n, dt_weight_sums_bytes(&n->node[i]));
    }
}

/* Filter 1 of a layer: all of its weights are `value`. */
static void flatten(const network *n, float *w, int layer, float value)
{
    const int64_t count = dt_count(&n->weight[layer].shape) / n->weight[layer].shape.dim[0];
    float *at = w + ((float *)n->weight[layer].data - n->u.w) + count;
    for (int64_t i = 0; i < count; i++) at[i] = value;
}

/* Weights of about +-0.1 with a mean, alphas of about a deviation (LSQ: a step). */
static void first_values(const network *n)
{
    float *w = malloc((size_t)n->count * sizeof *w);

    for (int64_t i = 0; i < n->count; i++) w[i] = 0.1f * cosf(0.37f * (float)(i % 7919)) + 0.01f;
    for (int k = 0; k < LAYERS; k++) {
        const float alpha = kinds[k % KINDS].params.rule == DT_RULE_LSQ ? 0.06f : 1.2f;
        float *at = w + ((float *)n->alpha[k].data - n->u.w);
        for (int64_t i = 0; i < dt_count(&n->alpha[k].shape); i++) at[i] = alpha + 0.01f * (float)i;
    }
    for (int k = 0; k < 2; k++) flatten(n, w, 1 + 2 * k, 0.3f * (float)k); /* a filter of zeros, one of one constant */
    must(dt_device_write(n->ctx, n->u.w, w, (size_t)n->count * sizeof *w));
    free(w);
}

static void prepare(network *n)
{
    size_t scratch_bytes = 0;

    n->kernel = n->ctx->backend->kernels()[DT_OP_WEIGHT_QUANT];
    n->ex = dt_context_exec(n->ctx);
    for (int i = 0; i < LAYERS; i++) {
        size_t bytes = 0;
        must(n->kernel->prepare(&n->node[i], &n->ex, &bytes));
        scratch_bytes += dt_round_up(bytes, DT_ALIGN);
    }
    must(dt_context_reserve(n->ctx, 0, scratch_bytes));
    n->ex = dt_context_exec(n->ctx);
}

/* 0: no such backend here */
static int network_open(network *n, const char *backend, int threads, int fused)
{
    dt_options opt;

    *n = (network){ .fused = fused };
    dt_options_default(&opt);
    opt.backend = backend;
    opt.threads = threads;
    if (dt_context_create(&opt, &n->ctx) == DT_ERR_UNSUPPORTED) return 0;
    for (int i = 0; i < LAYERS; i++) shape_layer(n, i);
    const size_t bytes = (size_t)n->count * sizeof(float), code_bytes = (size_t)n->n_codes * sizeof(float);
    float *dw = room(n, bytes);
    n->g = room(n, code_bytes);
    n->u = (dt_update){ .kind = DT_OPTIM_SGD,
                        .momentum = 0.9f,
                        .w = room(n, bytes),
                        .dw = dw,
                        .m1 = room(n, bytes),
                        .range = n->range,
                        .count = n->count,
                        .quantizer = n->nodes,
                        .n_quantizers = fused ? LAYERS : 0 };
    place_layers(n, dw, room(n, code_bytes), room(n, bytes), room(n, bytes));
    first_values(n);
    prepare(n);
    return 1;
}

static void network_close(network *n)
{
    for (int i = 0; i < n->n_buffers; i++) dt_device_free(n->ctx, n->buffer[i].p, n->buffer[i].bytes);
    dt_context_destroy(n->ctx);
}

static float gradient(int64_t i, int step)
{
    return 0.3f * sinf((float)(i % 977) + 2.0f * (float)step);
}

/* times `scale`, the loss scale */
static void write_gradients(const network *n, int step, float scale)
{
    const int64_t most = n->count > n->n_codes ? n->count : n->n_codes;
    float *host = malloc((size_t)most * sizeof *host);

    for (int64_t i = 0; i < most; i++) host[i] = scale * gradient(i, step);
    must(dt_device_write(n->ctx, n->g, host, (size_t)n->n_codes * sizeof *host));
    for (int k = 0; k < LAYERS; k++) { /* nobody may read those: fused, nothing fills them; else backward does */
        const int64_t at = (float *)n->weight[k].data - n->u.w;
        const int64_t end = at + dt_count(&n->weight[k].shape) + dt_count(&n->alpha[k].shape);
        for (int64_t i = at; i < end; i++) host[i] = NAN;
    }
    must(dt_device_write(n->ctx, (float *)n->u.dw, host, (size_t)n->count * sizeof *host));
    free(host);
}

static void forward_backward(const network *n, int step, float scale)
{
    const int before = dt_context_enter(n->ctx);
    must(n->kernel->forward_all(n->nodes, LAYERS, &n->ex));
    write_gradients(n, step, scale);
    if (!n->fused) must(n->kernel->backward_all(n->nodes, LAYERS, &n->ex));
    dt_context_leave(before);
}

static void take_step(const network *n, int step, float scale)
{
    const dt_step_in in = { .lr = 0.05f / (float)(step + 1), .ewgs = n->ewgs, .dampen = n->dampen };

    must(dt_device_write(n->ctx, &n->ctx->step->in, &in, sizeof in));
    forward_backward(n, step, scale);
    must(dt_context_update(n->ctx, &n->u));
}

static void compare(const network *a, const network *b, const char *what, double tolerance)
{
    const float *const of_a[] = { a->u.w, a->u.m1 }, *const of_b[] = { b->u.w, b->u.m1 };

    for (int k = 0; k < 2; k++) {
        float *x = host_floats(a->ctx, of_a[k], a->count), *y = host_floats(b->ctx, of_b[k], b->count);
        for (int64_t i = 0; i < a->count; i++) {
            cr_assert(fabs((double)x[i] - (double)y[i]) <= tolerance, "%s: %s[%lld] is %.9g on %s, %.9g on %s", what,
                      k == 0 ? "w" : "m", (long long)i, (double)x[i], a->ctx->backend->name, (double)y[i],
                      b->ctx->backend->name);
        }
        free(x);
        free(y);
    }
}

static void set_scale(network *n, float value, int clean)
{
    const dt_loss_scale scale = { .value = value, .clean = clean };
    n->u.scaled = 1;
    must(dt_device_write(n->ctx, &n->ctx->step->scale, &scale, sizeof scale));
}

static dt_loss_scale get_scale(const network *n)
{
    dt_loss_scale scale;
    must(dt_device_read(n->ctx, &scale, &n->ctx->step->scale, sizeof scale));
    return scale;
}

Test(weight_update, is_backward_and_update)
{
    enum { STEPS = 4 };
    static network plain, fused;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&plain, backends[b], 1, 0)) continue;
        network_open(&fused, backends[b], 2 + b, 1);
        for (int step = 0; step < STEPS; step++) {
            take_step(&plain, step, 1.0f);
            take_step(&fused, step, 1.0f);
            cr_assert(fused.weight[0].has_sums == 1 && plain.weight[0].has_sums == 0);
            compare(&plain, &fused, "fused", 0.0);
        }
        network_close(&plain);
        network_close(&fused);
    }
}

Test(weight_update, scaled_gradients_are_those_of_backward)
{
    static network plain, fused, without;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&plain, backends[b], 1, 0)) continue;
        network_open(&fused, backends[b], 2 + b, 1);
        network_open(&without, backends[b], 1, 0);
        plain.ewgs = fused.ewgs = 0.3f;
        for (int step = 0; step < 3; step++) {
            take_step(&plain, step, 1.0f);
            take_step(&fused, step, 1.0f);
            take_step(&without, step, 1.0f);
            compare(&plain, &fused, "element-wise scaling", 0.0);
        }
        float *x = host_floats(plain.ctx, plain.u.w, plain.count),
              *y = host_floats(plain.ctx, without.u.w, plain.count);
        cr_assert(memcmp(x, y, (size_t)plain.count * sizeof *x) != 0, "%s: it changes nothing", backends[b]);
        free(x);
        free(y);
        network_close(&plain);
        network_close(&fused);
        network_close(&without);
    }
}

/* What dampening adds to the first update of a layer's weights, by the definition in double: lr * dampen * (the
 * weight's distance from its code's value), of weights that are not clipped; divided by the deviation where the rule
 * standardises, as the distance is in those units. */
static void check_dampened(const network *n, int k, const float *before, const float *plain, const float *dampened)
{
    const int64_t at = (float *)n->weight[k].data - n->u.w, sets = dt_count(&n->alpha[k].shape);
    const int64_t count = dt_count(&n->weight[k].shape) / sets;
    const dt_weight_quant_params *p = n->node[k].params;
    const double high = (1 << (p->bits - 1)) - 1, low = p->rule == DT_RULE_LSQ ? -high - 1.0 : -high;

    for (int64_t s = 0; s < sets; s++) {
        const double alpha = (double)before[(float *)n->alpha[k].data - n->u.w + s];
        double sum = 0.0, square = 0.0;
        for (int64_t i = 0; i < count; i++) sum += (double)before[at + s * count + i];
        for (int64_t i = 0; i < count; i++)
            square += pow((double)before[at + s * count + i] - sum / (double)count, 2.0);
        const double deviation = p->rule == DT_RULE_LSQ ? 1.0 : sqrt(square / (double)(count - 1));
        const double mean = p->rule == DT_RULE_LSQ ? 0.0 : sum / (double)count;
        const double step = p->rule == DT_RULE_LSQ ? alpha : alpha / high;
        if (deviation < 1e-6) continue; /* a set without spread has no codes */
        for (int64_t i = s * count; i < (s + 1) * count; i++) {
            const double steps = ((double)before[at + i] - mean) / deviation / step, code = rint(steps);
            const double want = steps > low && steps < high ? 0.05 * 0.5 * (steps - code) * step / deviation : 0.0;
            const double got = (double)plain[at + i] - (double)dampened[at + i];
            /* near a border or a clip f32 may choose the other side */
            if (fabs(fabs(steps - code) - 0.5) < 1e-4 || fabs(steps - low) < 1e-4 || fabs(steps - high) < 1e-4)
                continue;
            /* w of about 1 and its update are rounded to f32 twice */
            cr_assert(fabs(got - want) <= 1e-6, "layer %d, weight %lld: dampened by %g, expected %g", k, (long long)i,
                      got, want);
        }
    }
}

Test(weight_update, dampening_pulls_weights_to_their_codes)
{
    static network plain, dampened;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&plain, backends[b], 1, 1)) continue;
        network_open(&dampened, backends[b], 1, 1);
        dampened.dampen = 0.5f;
        float *before = host_floats(plain.ctx, plain.u.w, plain.count);
        take_step(&plain, 0, 1.0f);
        take_step(&dampened, 0, 1.0f);
        float *x = host_floats(plain.ctx, plain.u.w, plain.count),
              *y = host_floats(plain.ctx, dampened.u.w, plain.count);
        for (int k = 0; k < LAYERS; k++) check_dampened(&plain, k, before, x, y);
        free(before);
        free(x);
        free(y);
        network_close(&plain);
        network_close(&dampened);
    }
}

Test(weight_update, sums_are_those_of_a_statistics_pass)
{
    static network n;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&n, backends[b], 1, 1)) continue;
        take_step(&n, 0, 1.0f);
        for (int i = 0; i < LAYERS; i++) {
            const size_t bytes = dt_weight_sums_bytes(&n.node[i]);
            const int is_lsq = kinds[i % KINDS].params.rule == DT_RULE_LSQ;
            double *left = malloc(bytes), *taken = malloc(bytes);
            must(dt_device_read(n.ctx, left, n.weight[i].sums, bytes));
            n.weight[i].has_sums = 0;
            must(n.kernel->forward(&n.node[i], &n.ex));
            must(dt_device_read(n.ctx, taken, n.weight[i].sums, bytes));
            cr_assert(is_lsq || memcmp(left, taken, bytes) == 0, "%s: the sums of layer %d differ", backends[b], i);
            free(left);
            free(taken);
        }
        network_close(&n);
    }
}

/* A scale that is a power of two changes nothing. */
Test(weight_update, the_loss_scale_divides_out)
{
    static network n, scaled;
    for (int b = 0; b < 2; b++) {
        for (int fused = 0; fused < 2; fused++) {
            if (!network_open(&n, backends[b], 1, fused)) continue;
            network_open(&scaled, backends[b], 3, fused);
            set_scale(&scaled, 1024.0f, 7);
            for (int step = 0; step < 2; step++) {
                take_step(&n, step, 1.0f);
                take_step(&scaled, step, 1024.0f);
            }
            compare(&n, &scaled, fused ? "fused, scaled" : "scaled", 0.0);
            const dt_loss_scale scale = get_scale(&scaled);
            cr_assert(scale.value == 1024.0f && scale.clean == 9 && scale.skipped == 0 && scale.overflow == 0);
            network_close(&n);
            network_close(&scaled);
        }
    }
}

/* Runs one more step with one gradient replaced, which must change nothing but the scale, and then a good one. */
static void spoil(network *n, network *good, float *at, float value, const char *what)
{
    const dt_loss_scale before = get_scale(n);

    forward_backward(n, 1, before.value);
    must(dt_device_write(n->ctx, at, &value, sizeof value));
    must(n->ctx->backend->update(&n->u, &n->ex));
    compare(n, good, what, 0.0);
    const dt_loss_scale after = get_scale(n);
    cr_assert(after.value == before.value / 2.0f && after.clean == 0 && after.skipped == before.skipped + 1 &&
                  after.overflow == 0,
              "%s: scale %g after %g, clean %d, skipped %lld", what, (double)after.value, (double)before.value,
              after.clean, (long long)after.skipped);
}

Test(weight_update, overflow_changes_nothing_but_the_scale)
{
    static network n, good;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&n, backends[b], 2, 1)) continue;
        network_open(&good, backends[b], 1, 1);
        set_scale(&n, 1024.0f, 3);
        take_step(&n, 0, 1024.0f);
        take_step(&good, 0, 1.0f);
        spoil(&n, &good, n.g, NAN, "first code");
        spoil(&n, &good, n.g + n.n_codes - 1, INFINITY, "last code");
        spoil(&n, &good, n.code[1].grad, -INFINITY, "a layer's first code");
        spoil(&n, &good, (float *)n.u.dw + n.count - 1, NAN, "last parameter");
        take_step(&n, 1, 64.0f);
        take_step(&good, 1, 1.0f);
        compare(&n, &good, "after overflow", 0.0);
        network_close(&n);
        network_close(&good);
    }
}

Test(weight_update, cuda_is_the_cpu)
{
    static network cpu, cuda;
    if (!network_open(&cuda, "cuda", 0, 1)) cr_skip("no CUDA here: %s", dt_last_error());
    network_open(&cpu, "cpu", 1, 1);
    for (int step = 0; step < 3; step++) {
        take_step(&cpu, step, 1.0f);
        take_step(&cuda, step, 1.0f);
    }
    compare(&cpu, &cuda, "3 steps", 1e-6); /* values are about 1 and take a few roundings a step */
    network_close(&cpu);
    network_close(&cuda);
}

static void refused(network *n, const char *text)
{
    const dt_status status = n->ctx->backend->update(&n->u, &n->ex);
    cr_assert(status == DT_ERR_ARGUMENT && strstr(dt_last_error(), text), "'%s' is not in '%s'", text, dt_last_error());
}

Test(weight_update, misuse_is_refused)
{
    static network n;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&n, backends[b], 1, 1)) continue;
        n.u.kind = DT_OPTIM_ADAM;
        refused(&n, "which only SGD can do");
        n.u.kind = DT_OPTIM_SGD;
        n.ex.scratch_bytes /= 2;
        refused(&n, "bytes of scratch, there are");
        n.ex.scratch_bytes *= 2;
        n.u.w += 1;
        refused(&n, "layer: its weights are not among the");
        network_close(&n);
    }
}
