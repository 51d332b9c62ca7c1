/*
 * op_rig.c - see op_case.h: a case made ready on one backend.
 */
#include "op_rig.h"

#include "host_copy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void op_must(dt_status status, const char *why, const char *doing)
{
    cr_assert(status == DT_OK, "%s: %s: %s: %s", why, doing, dt_status_name(status), dt_last_error());
}

int64_t op_input_count(const op_case *c, int k)
{
    return dt_count(&c->in[k].shape);
}

int op_is_differentiable(const op_case *c, int k)
{
    return !dt_ops[c->op]->no_grad && c->in[k].type == DT_F32 && !c->in[k].state;
}

/* Evenly spread in [0, 1): the fractional parts of multiples of the golden ratio, in another order for each input. */
double op_spread(int k, int64_t i)
{
    const double x = 0.618033988749895 * (double)(i + 1) + 0.37 * (double)(k + 1);
    return x - floor(x);
}

/* Element i of [levels][columns] that ascend by about 2 size / levels. */
static double ascending_value(const op_input *in, int k, int64_t i, double size)
{
    const int64_t levels = in->shape.dim[0], columns = in->shape.dim[1], level = i / columns, column = i % columns;

    if (column % 5 == 1 && level == 0) return -INFINITY;
    if (column % 5 == 2 && level == levels - 1) return INFINITY;
    if (column % 5 == 3) return column % 2 ? INFINITY : -INFINITY;
    return floor(size * (2.0 * ((double)level + op_spread(k, column)) / (double)levels - 1.0));
}

/* A value as the tensor holds it: a code if it is on the grid. */
static double fill_value(const op_input *in, int k, int64_t i)
{
    static const double usual[] = {
        [FILL_REAL] = 1.0,     [FILL_POSITIVE] = 1.0, [FILL_INTEGER] = 7.0,  [FILL_COUNT] = 15.0,
        [FILL_DISTINCT] = 0.0, [FILL_SIGN] = 1.0,     [FILL_ASCENDING] = 7.0
    };
    const double size = in->size > 0.0f ? (double)in->size : usual[in->fill];
    const int64_t n = dt_count(&in->shape);

    switch (in->fill) {
    case FILL_ZERO: return 0.0;
    case FILL_REAL: return (2.0 * op_spread(k, i) - 1.0) * size;
    case FILL_POSITIVE: return (0.5 + op_spread(k, i)) * size;
    case FILL_INTEGER: return floor(op_spread(k, i) * (2.0 * size + 1.0)) - size;
    case FILL_COUNT: return floor(op_spread(k, i) * (size + 1.0));
    /* the odd numbers around 0; 7919 is prime, so 7919 i mod n takes every value once (n is never a multiple of it) */
    case FILL_DISTINCT: return 2.0 * (double)(i * 7919 % n - n / 2) + 1.0;
    case FILL_SIGN: return op_spread(k, i) < 0.5 ? -1.0 : 1.0;
    case FILL_ASCENDING: return ascending_value(in, k, i, size);
    }
    return NAN;
}

static float scale_of(const op_input *in, int64_t channel)
{
    return in->n_scale <= 1 ? in->scale : in->scale * (1.0f + (float)channel / 8.0f);
}

static int64_t channel_of(const op_input *in, int64_t i)
{
    if (in->n_scale <= 1) return 0;
    return in->scale_first ? i / (dt_count(&in->shape) / in->n_scale) : i % in->n_scale;
}

double op_real_value(const op_input *in, int k, int64_t i)
{
    const double value = (double)(float)fill_value(in, k, i);
    if (in->scale <= 0.0f) return value;
    return value * (double)scale_of(in, channel_of(in, i));
}

/* Tensor facts, without memory. */
dt_tensor op_describe(const op_input *in, int k)
{
    dt_tensor t = { .type = in->type, .shape = in->shape, .name = "input" };
    if (in->scale <= 0.0f) return t;
    t.n_scale = in->n_scale > 1 ? in->n_scale : 1;
    for (int64_t i = 0; i < dt_count(&in->shape); i++) {
        const int64_t code = (int64_t)fill_value(in, k, i);
        if (code < t.qmin) t.qmin = code;
        if (code > t.qmax) t.qmax = code;
    }
    return t;
}

enum { GUARD_BYTES = DT_ALIGN, GUARD = 0xa5, NOT_A_NUMBER = 0xff }; /* of every byte; 0xffffffff is a NaN */

/* Room between two guards, with a copy of what host holds; NULL: with NaNs. */
static void *room_add(op_rig *rig, const char *what, int k, const void *host, size_t bytes)
{
    char *all = malloc(bytes + 2 * GUARD_BYTES);
    void *p = NULL;

    cr_assert(rig->n_rooms < OP_ROOMS);
    op_room *room = &rig->room[rig->n_rooms++];
    memset(all, GUARD, bytes + 2 * GUARD_BYTES);
    if (host)
        memcpy(all + GUARD_BYTES, host, bytes);
    else
        memset(all + GUARD_BYTES, NOT_A_NUMBER, bytes);
    op_must(dt_device_alloc(rig->ctx, bytes + 2 * GUARD_BYTES, &p), "op_case", "alloc");
    op_must(dt_device_write(rig->ctx, p, all, bytes + 2 * GUARD_BYTES), "op_case", "write");
    free(all);
    *room = (op_room){ .at = (char *)p + GUARD_BYTES, .bytes = bytes };
    snprintf(room->what, sizeof room->what, k < 0 ? "%s" : "%s of input %d", what, k);
    return room->at;
}

static void *room_of_constant(op_rig *rig, const char *what, int k, float value, int64_t count)
{
    float *host = malloc((size_t)count * sizeof *host);
    for (int64_t i = 0; i < count; i++) host[i] = value;
    void *p = room_add(rig, what, k, host, (size_t)count * sizeof *host);
    free(host);
    return p;
}

static int is_guard(op_rig *rig, const char *at)
{
    unsigned char guard[GUARD_BYTES];
    op_must(dt_device_read(rig->ctx, guard, at, sizeof guard), "op_case", "read");
    for (int i = 0; i < GUARD_BYTES; i++) {
        if (guard[i] != GUARD) return 0;
    }
    return 1;
}

const char *op_rig_overrun(op_rig *rig, const char **side)
{
    for (int i = 0; i < rig->n_rooms; i++) {
        const op_room *room = &rig->room[i];
        const int before = is_guard(rig, room->at - GUARD_BYTES);
        *side = before ? "behind" : "before";
        if (!before || !is_guard(rig, room->at + room->bytes)) return room->what;
    }
    return NULL;
}

void op_rig_clear_scratch(op_rig *rig)
{
    const size_t bytes = rig->ex.scratch_bytes;
    char *all = malloc(bytes + GUARD_BYTES);

    memset(all, NOT_A_NUMBER, bytes);
    memset(all + bytes, GUARD, GUARD_BYTES);
    op_rig_write(rig, rig->ex.scratch, all, bytes + GUARD_BYTES);
    free(all);
}

int op_rig_scratch_overrun(op_rig *rig)
{
    return !is_guard(rig, (char *)rig->ex.scratch + rig->ex.scratch_bytes);
}

/* What input k holds, on the host; the caller frees it. */
static void *filled(const op_input *in, int k, size_t *bytes)
{
    const int64_t n = dt_count(&in->shape);
    *bytes = (size_t)n * dt_type_bytes(in->type);
    void *host = malloc(*bytes);
    for (int64_t i = 0; i < n; i++) {
        const double v = fill_value(in, k, i);
        if (in->type == DT_F32)
            ((float *)host)[i] = (float)v;
        else if (in->type == DT_I32)
            ((int32_t *)host)[i] = (int32_t)v;
        else
            ((uint8_t *)host)[i] = (uint8_t)v;
    }
    return host;
}

int op_rig_input_changed(op_rig *rig, const op_case *c)
{
    int changed = -1;

    for (int k = 0; k < c->n_in && changed < 0; k++) {
        size_t bytes;
        if (c->in[k].state) continue;
        void *before = filled(&c->in[k], k, &bytes), *now = malloc(bytes);
        op_must(dt_device_read(rig->ctx, now, rig->in[k].data, bytes), c->why, "read");
        if (memcmp(before, now, bytes) != 0) changed = k;
        free(before);
        free(now);
    }
    return changed;
}

static void rig_inputs(op_rig *rig, const op_case *c)
{
    for (int k = 0; k < c->n_in; k++) {
        const op_input *in = &c->in[k];
        dt_tensor *t = &rig->in[k];
        size_t bytes;
        *t = op_describe(in, k);
        void *host = filled(in, k, &bytes);
        t->data = room_add(rig, "data", k, host, bytes);
        free(host);
        t->wants_grad = op_is_differentiable(c, k);
        if (t->wants_grad) t->grad = room_of_constant(rig, "gradient", k, 0.5f, op_input_count(c, k));
        t->scale_form = in->scale_form;
        if (in->scale_of_first) {
            t->scale = rig->in[0].scale;
        } else if (t->n_scale > 0) {
            float *scale = malloc((size_t)t->n_scale * sizeof *scale);
            for (int i = 0; i < t->n_scale; i++) scale[i] = scale_of(in, i);
            t->scale = room_add(rig, "scale", k, scale, (size_t)t->n_scale * sizeof *scale);
            free(scale);
        }
        rig->node.in[k] = t;
    }
}

/* What a tape would do between infer and the first run. */
static void rig_output(op_rig *rig, const op_case *c)
{
    dt_tensor *out = &rig->out;
    const int64_t count = dt_count(&out->shape);
    size_t scratch_bytes = 0;

    out->data = room_of_constant(rig, "out", -1, NAN, count);
    for (int k = 0; k < c->n_in; k++) out->wants_grad |= rig->in[k].wants_grad;
    if (!dt_ops[c->op]->no_grad) out->grad = room_of_constant(rig, "gradient of out", -1, 0.0f, count);
    if (out->n_scale > 0 && !out->scale) out->scale = room_of_constant(rig, "scale of out", -1, NAN, out->n_scale);
    if (rig->node.aux_bytes) rig->node.aux = room_add(rig, "aux", -1, NULL, rig->node.aux_bytes);
    rig->ex = dt_context_exec(rig->ctx);
    rig->ex.training = 1;
    const int before = dt_context_enter(rig->ctx);
    if (rig->kernel->prepare) op_must(rig->kernel->prepare(&rig->node, &rig->ex, &scratch_bytes), c->why, "prepare");
    dt_context_leave(before);
    op_must(dt_context_reserve(rig->ctx, 0, scratch_bytes + GUARD_BYTES), c->why, "scratch");
    rig->ex = dt_context_exec(rig->ctx);
    rig->ex.scratch_bytes = scratch_bytes;
}

int op_rig_open_with(op_rig *rig, const char *backend, int threads, const op_case *c, const dt_kernel *kernel)
{
    dt_options opt;
    dt_options_default(&opt);
    opt.backend = backend;
    opt.threads = threads;
    opt.precision = c->precision;
    *rig = (op_rig){ 0 };
    cr_assert(c->params || dt_ops[c->op]->params_bytes == 0, "%s: %s needs params", c->why, dt_ops[c->op]->name);

    const dt_status opened = dt_context_create(&opt, &rig->ctx);
    if (opened == DT_ERR_UNSUPPORTED && strcmp(backend, "cpu") != 0) return 0;
    op_must(opened, c->why, backend);
    rig->kernel = kernel ? kernel : rig->ctx->backend->kernels()[c->op];
    cr_assert(rig->kernel && rig->kernel->forward, "%s: %s has no kernel for %s", c->why, backend, dt_ops[c->op]->name);
    rig->node = (dt_node){ .kind = c->op, .name = "layer", .params = c->params, .n_in = c->n_in, .out = &rig->out };
    rig->node.purpose = c->purpose;
    rig_inputs(rig, c);
    op_must(dt_ops[c->op]->infer(&rig->node), c->why, "infer");
    rig_output(rig, c);
    return 1;
}

int op_rig_open(op_rig *rig, const char *backend, int threads, const op_case *c)
{
    return op_rig_open_with(rig, backend, threads, c, NULL);
}

dt_status op_rig_try_forward(op_rig *rig)
{
    const int before = dt_context_enter(rig->ctx);
    const dt_status status = rig->kernel->forward(&rig->node, &rig->ex);
    dt_context_leave(before);
    return status;
}

dt_status op_rig_try_backward(op_rig *rig, const float *dy)
{
    op_rig_write(rig, rig->out.grad, dy, (size_t)dt_count(&rig->out.shape) * sizeof *dy);
    const int before = dt_context_enter(rig->ctx);
    const dt_status status = rig->kernel->backward(&rig->node, &rig->ex);
    dt_context_leave(before);
    return status;
}

void op_rig_forward(op_rig *rig)
{
    op_must(op_rig_try_forward(rig), rig->node.name, "forward");
}

void op_rig_backward(op_rig *rig, const float *dy)
{
    op_must(op_rig_try_backward(rig, dy), rig->node.name, "backward");
}

void op_rig_free(op_rig *rig)
{
    if (rig->kernel->release) rig->kernel->release(&rig->node);
    for (int i = 0; i < rig->n_rooms; i++) {
        const op_room *room = &rig->room[i];
        dt_device_free(rig->ctx, room->at - GUARD_BYTES, room->bytes + 2 * GUARD_BYTES);
    }
    dt_context_destroy(rig->ctx);
}

void op_rig_close(op_rig *rig)
{
    const char *side, *what = op_rig_overrun(rig, &side);

    cr_assert(!what, "%s: bytes %s %s were written", rig->node.name, side, what);
    op_rig_free(rig);
}

float *op_rig_read(const op_rig *rig, const void *src, int64_t count)
{
    return host_floats(rig->ctx, src, count);
}

double *op_rig_read_double(const op_rig *rig, const void *src, int64_t count)
{
    float *host = op_rig_read(rig, src, count);
    double *out = malloc((size_t)(count + 1) * sizeof *out);

    for (int64_t i = 0; i < count; i++) out[i] = (double)host[i];
    free(host);
    return out;
}

float *op_test_dy(int64_t n)
{
    float *dy = malloc((size_t)n * sizeof *dy);

    for (int64_t i = 0; i < n; i++) dy[i] = sinf((float)(i * i % 1009));
    return dy;
}

void op_rig_write(const op_rig *rig, void *dst, const void *src, size_t bytes)
{
    op_must(dt_device_write(rig->ctx, dst, src, bytes), rig->node.name, "write");
}
