/*
 * test_weight_freeze.c - weights whose code goes back and forth: which freeze, and when, by the definition in double; a
 * frozen code stays whatever the step becomes; a frozen weight's gradient is 0, and it gives the step its code.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/context.h"
#include "../../core/rng.h"
#include "../../core/train/optim.h"
#include "../support/host_copy.h"

enum { LAYERS = 3, BUFFERS = 20, STEPS = 60 };

static const char *const backends[] = { "cpu", "cuda" };

/* One weight more than a piece; a step for each filter; many codes. */
static const struct {
    int filters, count, steps;
    dt_weight_quant_params params;
} kinds[LAYERS] = { { 1, 4097, 1, { 2, DT_RULE_LSQ } },
                    { 5, 33, 5, { 4, DT_RULE_LSQ } },
                    { 7, 300, 1, { 8, DT_RULE_LSQ } } };

/* Parameters in one block, of each layer its weights and then its steps. SGD of rate 1 without momentum. */
typedef struct {
    dt_context *ctx;
    const dt_kernel *kernel;
    dt_exec ex;
    int64_t count;
    dt_tensor weight[LAYERS], step[LAYERS], code[LAYERS];
    dt_node node[LAYERS];
    const dt_node *nodes[LAYERS];
    dt_update_range range;
    dt_update u;
    struct {
        void *p;
        size_t bytes;
    } buffer[BUFFERS];
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

static void put(const network *n, const void *at, const float *from, int64_t count)
{
    must(dt_device_write(n->ctx, (void *)(uintptr_t)at, from, (size_t)count * sizeof *from));
}

static void shape_layer(network *n, int k)
{
    const dt_shape w = { 2, { kinds[k].filters, kinds[k].count } };

    n->weight[k] = (dt_tensor){ .shape = w, .wants_grad = 1 };
    n->step[k] = (dt_tensor){ .shape = { 1, { kinds[k].steps } }, .wants_grad = 1 };
    n->node[k] = (dt_node){ .kind = DT_OP_WEIGHT_QUANT,
                            .name = "layer",
                            .params = &kinds[k].params,
                            .in = { &n->weight[k], &n->step[k] },
                            .n_in = 2,
                            .out = &n->code[k],
                            .fresh = 3 };
    n->nodes[k] = &n->node[k];
    must(dt_ops[DT_OP_WEIGHT_QUANT]->infer(&n->node[k]));
    n->count += dt_count(&w) + kinds[k].steps;
}

static void place_layers(network *n)
{
    float *w = n->u.w, *dw = (float *)(uintptr_t)n->u.dw;

    for (int k = 0; k < LAYERS; k++) {
        const int64_t count = dt_count(&n->weight[k].shape);
        n->weight[k].data = w;
        n->weight[k].grad = dw;
        n->step[k].data = w + count;
        n->step[k].grad = dw + count;
        n->code[k].data = room(n, (size_t)count * sizeof(float));
        n->code[k].grad = room(n, (size_t)count * sizeof(float));
        n->code[k].scale = room(n, (size_t)kinds[k].steps * sizeof(float));
        n->node[k].aux = room(n, n->node[k].aux_bytes);
        w += count + kinds[k].steps;
        dw += count + kinds[k].steps;
    }
}

static void reserve(network *n)
{
    size_t scratch_bytes = 0;

    n->kernel = n->ctx->backend->kernels()[DT_OP_WEIGHT_QUANT];
    n->ex = dt_context_exec(n->ctx);
    for (int k = 0; k < LAYERS; k++) {
        size_t bytes = 0;
        must(n->kernel->prepare(&n->node[k], &n->ex, &bytes));
        scratch_bytes += dt_round_up(bytes, DT_ALIGN);
    }
    must(dt_context_reserve(n->ctx, 0, scratch_bytes));
    n->ex = dt_context_exec(n->ctx);
}

/* 0: no such backend here */
static int network_open(network *n, const char *backend)
{
    dt_options opt;

    *n = (network){ 0 };
    dt_options_default(&opt);
    opt.backend = backend;
    if (dt_context_create(&opt, &n->ctx) == DT_ERR_UNSUPPORTED) return 0;
    for (int k = 0; k < LAYERS; k++) shape_layer(n, k);
    const size_t bytes = (size_t)n->count * sizeof(float);
    n->range = (dt_update_range){ 0, n->count, 1.0f, 0.0f, -INFINITY, 0 };
    n->u = (dt_update){ .kind = DT_OPTIM_SGD,
                        .w = room(n, bytes),
                        .dw = room(n, bytes),
                        .m1 = room(n, bytes),
                        .range = &n->range,
                        .n_ranges = 1,
                        .count = n->count,
                        .freeze = { .threshold = 0.1f,
                                    .momentum = 0.05f,
                                    .turns = room(n, bytes),
                                    .mean = room(n, bytes),
                                    .last = room(n, bytes),
                                    .quantizer = n->nodes,
                                    .n_quantizers = LAYERS } };
    float *none = malloc(bytes);
    for (int64_t i = 0; i < n->count; i++) none[i] = -1.0f;
    put(n, n->u.freeze.turns, none, n->count);
    free(none);
    place_layers(n);
    reserve(n);
    const dt_step_in in = { .lr = 1.0f };
    must(dt_device_write(n->ctx, &n->ctx->step->in, &in, sizeof in));
    return 1;
}

static void network_close(network *n)
{
    for (int i = 0; i < n->n_buffers; i++) dt_device_free(n->ctx, n->buffer[i].p, n->buffer[i].bytes);
    dt_context_destroy(n->ctx);
}

/* Index of a layer's weight i, and of its step s, among the parameters. */
static int64_t weight_at(const network *n, int k, int64_t i)
{
    return (const float *)n->weight[k].data - n->u.w + i;
}

static int64_t step_at(const network *n, int k, int64_t s)
{
    return (const float *)n->step[k].data - n->u.w + s;
}

static int64_t set_of(int k, int64_t i)
{
    return i / ((int64_t)kinds[k].filters * kinds[k].count / kinds[k].steps);
}

/* Updates the parameters to about `target`: by how much they miss it. */
static void update_to(network *n, const float *target)
{
    float *w = host_floats(n->ctx, n->u.w, n->count);

    for (int64_t i = 0; i < n->count; i++) w[i] -= target[i];
    put(n, n->u.dw, w, n->count);
    must(dt_context_update(n->ctx, &n->u));
    free(w);
}

/* A step size that breathes, slowly and by a quarter, from layer to layer in another range. */
static double step_size(int k, int64_t s, int t)
{
    return 0.01 * (1 + k) * (1.0 + 0.1 * (double)s) * (1.0 + 0.25 * sin(0.2 * t + (double)s));
}

static double random_of(int64_t i, int t)
{
    return (double)dt_uniform(dt_random(11, DT_STREAM_SYNTHETIC, (uint32_t)t, (uint64_t)i).v[0]);
}

/* In steps, 0.2 to either side of a border between codes and now and then two codes away. A third of the weights never
 * move, a third does so seldom, a third in every other step. */
static double place(int k, int64_t i, int t)
{
    const double high = (1 << (kinds[k].params.bits - 1)) - 1, border = floor(random_of(i, 1000) * 2.0 * high) - high;
    const double rate = i % 3 == 0 ? 0.0 : i % 3 == 1 ? 0.02 : 0.5;
    const double jump = random_of(i, 3000 + t) < 0.01 * (double)(i % 3) ? 2.0 : 0.0;

    return border + 0.5 + (random_of(i, 2000 + t) < rate ? 0.2 : -0.2) + jump;
}

static void fill_target(const network *n, int t, float *target)
{
    for (int k = 0; k < LAYERS; k++) {
        for (int64_t s = 0; s < kinds[k].steps; s++) target[step_at(n, k, s)] = (float)step_size(k, s, t);
        for (int64_t i = 0; i < dt_count(&n->weight[k].shape); i++)
            target[weight_at(n, k, i)] = (float)(place(k, i, t) * step_size(k, set_of(k, i), t));
    }
}

/* The code that weight i would have after each step, and by the definition: turns at the end, and when it freezes. */
typedef struct {
    double turns, mean;
    int frozen_at, code; /* -1: never */
} expected;

static double code_of(int k, double x)
{
    const double high = (1 << (kinds[k].params.bits - 1)) - 1, low = -high - 1.0;

    return rint(x < low ? low : x > high ? high : x);
}

static expected expect(int k, int64_t i, int steps)
{
    expected e = { 0.0, code_of(k, place(k, i, 0)), -1, 0 };
    double last = e.mean, way = 0.0;

    for (int t = 1; t < steps; t++) {
        const double code = code_of(k, place(k, i, t)), change = code - last;
        const int turned = change * way < 0.0;
        e.turns = e.turns * 0.95 + (turned ? 0.05 : 0.0);
        if (e.turns > 0.1) {
            e.frozen_at = t;
            e.code = (int)rint(e.mean);
            return e;
        }
        e.mean = e.mean * 0.95 + 0.05 * code;
        if (change != 0.0) way = change;
        last = code;
    }
    return e;
}

/* A mean near the middle of two codes may be rounded to either. */
static void check_weight(const network *n, const float *w, const float *turns, int k, int64_t i, int n_steps,
                         int *n_frozen)
{
    const expected e = expect(k, i, n_steps);
    const float step = w[step_at(n, k, set_of(k, i))], found = w[weight_at(n, k, i)] / step;
    const int is_frozen = turns[weight_at(n, k, i)] == DT_FROZEN;

    cr_assert(is_frozen == (e.frozen_at >= 0), "layer %d, weight %lld: frozen %d, expected from step %d on", k,
              (long long)i, is_frozen, e.frozen_at);
    *n_frozen += is_frozen;
    if (is_frozen) {
        const int is_tie = fabs(fabs(e.mean - rint(e.mean)) - 0.5) < 1e-4;
        cr_assert(rintf(found) == (float)e.code || is_tie, "layer %d, weight %lld: code %g, expected %d (mean %g)", k,
                  (long long)i, (double)found, e.code, e.mean);
        return;
    }
    /* sixty steps of three roundings */
    cr_assert(fabs((double)turns[weight_at(n, k, i)] - e.turns) <= 1e-5, "layer %d, weight %lld: turns %g, not %g", k,
              (long long)i, (double)turns[weight_at(n, k, i)], e.turns);
    cr_assert(fabs((double)found - place(k, i, n_steps - 1)) < 1e-3, "layer %d, weight %lld: moved to %g", k,
              (long long)i, (double)found);
}

Test(weight_freeze, is_its_definition)
{
    static network n;
    for (int b = 0; b < 2; b++) {
        int n_frozen = 0;
        if (!network_open(&n, backends[b])) continue;
        float *target = malloc((size_t)n.count * sizeof *target);
        fill_target(&n, 0, target);
        put(&n, n.u.w, target, n.count);
        for (int t = 0; t < STEPS; t++) {
            fill_target(&n, t, target);
            update_to(&n, target);
            if (t % 20 != 19) continue;
            float *w = host_floats(n.ctx, n.u.w, n.count), *turns = host_floats(n.ctx, n.u.freeze.turns, n.count);
            n_frozen = 0;
            for (int k = 0; k < LAYERS; k++) {
                for (int64_t i = 0; i < dt_count(&n.weight[k].shape); i++)
                    check_weight(&n, w, turns, k, i, t + 1, &n_frozen);
            }
            free(w);
            free(turns);
        }
        cr_assert(n_frozen > n.count / 5 && n_frozen < n.count / 2, "%s: %d of %lld weights are frozen", backends[b],
                  n_frozen, (long long)n.count);
        free(target);
        network_close(&n);
    }
}

/* Freezes every weight to a code: all codes of its layer, in turn. */
static void freeze_all(network *n, float *mean, float *turns)
{
    for (int k = 0; k < LAYERS; k++) {
        const int bits = kinds[k].params.bits;
        for (int64_t i = 0; i < dt_count(&n->weight[k].shape); i++) {
            mean[weight_at(n, k, i)] = (float)(i % (1 << bits) - (1 << (bits - 1)));
            turns[weight_at(n, k, i)] = DT_FROZEN;
        }
    }
    put(n, n->u.freeze.mean, mean, n->count);
    put(n, n->u.freeze.turns, turns, n->count);
}

/* The quantizer finds them by the parameters alone. */
Test(weight_freeze, codes_stay_whatever_the_step_becomes)
{
    static network n;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&n, backends[b])) continue;
        float *target = calloc((size_t)n.count, sizeof *target), *code = calloc((size_t)n.count, sizeof *code);
        float *turns = calloc((size_t)n.count, sizeof *turns);
        freeze_all(&n, code, turns);
        for (int t = 0; t < 400; t++) {
            for (int64_t i = 0; i < n.count; i++) target[i] = (float)(1e-3 + random_of(i, t) * pow(10.0, t % 5 - 3));
            update_to(&n, target);
            must(n.kernel->forward_all(n.nodes, LAYERS, &n.ex));
            for (int k = 0; k < LAYERS; k++) {
                const int64_t count = dt_count(&n.weight[k].shape);
                float *found = host_floats(n.ctx, n.code[k].data, count);
                for (int64_t i = 0; i < count; i++)
                    cr_assert(found[i] == code[weight_at(&n, k, i)], "%s, step %d: code %lld of layer %d is %g, not %g",
                              backends[b], t, (long long)i, k, (double)found[i], (double)code[weight_at(&n, k, i)]);
                free(found);
            }
        }
        free(target);
        free(code);
        free(turns);
        network_close(&n);
    }
}

static void write_gradients(const network *n, float *g)
{
    for (int k = 0; k < LAYERS; k++) {
        const int64_t count = dt_count(&n->weight[k].shape);
        for (int64_t i = 0; i < count; i++) g[i] = (float)random_of(i, 77) - 0.4f;
        put(n, n->code[k].grad, g, count);
    }
}

/* By the definition in double: a frozen weight's gradient is 0, and the step gets its code times g. */
static void check_step_gradient(const network *n, const float *w, const float *turns, const float *dw, int k)
{
    const int64_t count = dt_count(&n->weight[k].shape);
    const double high = (1 << (kinds[k].params.bits - 1)) - 1, low = -high - 1.0;
    const double factor = 1.0 / sqrt((double)(count / kinds[k].steps) * high);
    double want[5] = { 0.0 }, size[5] = { 0.0 };

    for (int64_t i = 0; i < count; i++) {
        const int64_t s = set_of(k, i);
        const double x = (double)(w[weight_at(n, k, i)] / w[step_at(n, k, s)]), g = random_of(i, 77) - 0.4;
        const int is_frozen = turns[weight_at(n, k, i)] == DT_FROZEN, is_inside = x > low && x < high;
        const double share = is_frozen ? code_of(k, x) : is_inside ? rint(x) - x : code_of(k, x);
        want[s] += share * g * factor;
        size[s] += fabs(share * g * factor);
        const double d = is_frozen || !is_inside ? 0.0 : g;
        cr_assert(fabs((double)dw[weight_at(n, k, i)] - d) <= 1e-6, "layer %d, weight %lld: gradient %g, not %g", k,
                  (long long)i, (double)dw[weight_at(n, k, i)], d);
    }
    for (int s = 0; s < kinds[k].steps; s++) /* each term is rounded to f32 a few times */
        cr_assert(fabs((double)dw[step_at(n, k, s)] - want[s]) <= 1e-6 * size[s], "layer %d, step %d: %g, not %g", k, s,
                  (double)dw[step_at(n, k, s)], want[s]);
}

Test(weight_freeze, the_step_learns_from_frozen_codes)
{
    static network n;
    for (int b = 0; b < 2; b++) {
        if (!network_open(&n, backends[b])) continue;
        const size_t bytes = (size_t)n.count * sizeof(float);
        float *w = malloc(bytes), *turns = malloc(bytes), *g = malloc(bytes);
        fill_target(&n, 5, w);
        for (int64_t i = 0; i < n.count; i++) turns[i] = i % 4 == 1 ? DT_FROZEN : 0.05f;
        put(&n, n.u.w, w, n.count);
        put(&n, n.u.freeze.turns, turns, n.count);
        for (int k = 0; k < LAYERS; k++) n.weight[k].turns = n.u.freeze.turns + weight_at(&n, k, 0);
        must(n.kernel->forward_all(n.nodes, LAYERS, &n.ex));
        write_gradients(&n, g);
        must(n.kernel->backward_all(n.nodes, LAYERS, &n.ex));
        float *dw = host_floats(n.ctx, n.u.dw, n.count);
        for (int k = 0; k < LAYERS; k++) check_step_gradient(&n, w, turns, dw, k);

        /* the update that does backward itself, of rate 1: w less the gradient */
        n.u.freeze.n_quantizers = 0;
        n.u.quantizer = n.nodes;
        n.u.n_quantizers = LAYERS;
        must(dt_context_update(n.ctx, &n.u));
        float *next = host_floats(n.ctx, n.u.w, n.count);
        for (int64_t i = 0; i < n.count; i++)
            cr_assert(next[i] == w[i] - dw[i], "%s: parameter %lld is %.9g, by backward %.9g", backends[b],
                      (long long)i, (double)next[i], (double)(w[i] - dw[i]));
        free(w);
        free(turns);
        free(g);
        free(dw);
        free(next);
        network_close(&n);
    }
}

/* A step whose gradients overflow is none, and changes no state. */
Test(weight_freeze, a_step_that_overflows_is_not_seen)
{
    static network n;
    for (int b = 0; b < 2; b++) {
        const dt_loss_scale scale = { .value = 1024.0f };
        const float bad = NAN;
        if (!network_open(&n, backends[b])) continue;
        float *target = malloc((size_t)n.count * sizeof *target);
        for (int t = 0; t < 3; t++) {
            fill_target(&n, t, target);
            update_to(&n, target);
        }
        float *before = host_floats(n.ctx, n.u.freeze.last, n.count);
        n.u.scaled = 1;
        must(dt_device_write(n.ctx, &n.ctx->step->scale, &scale, sizeof scale));
        fill_target(&n, 9, target);
        put(&n, n.u.w, target, n.count);
        put(&n, n.u.dw, &bad, 1);
        must(dt_context_update(n.ctx, &n.u));
        float *after = host_floats(n.ctx, n.u.freeze.last, n.count);
        cr_assert(memcmp(before, after, (size_t)n.count * sizeof *after) == 0, "%s: it was seen", backends[b]);
        free(target);
        free(before);
        free(after);
        network_close(&n);
    }
}
