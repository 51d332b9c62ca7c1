/*
 * program_c_plan.c - places and sizes. Interface: program_c_plan.h.
 */
#include "program_c_plan.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

enum { PIXEL_VALUES = 256 };

int dt_c_plan_source(const dt_program *p, int i, int k)
{
    const int from = p->layer[i].in[k];

    return (from != DT_FROM_IMAGE && p->layer[from].kind == DT_LAYER_CONV ? p->layer[from].in[0] : from) + 1;
}

/* Terms of one sum of a CONV or LINEAR. */
static int64_t terms(const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const dt_value x = dt_layer_input(p, i, 0);

    if (l->kind == DT_LAYER_CONV) return (int64_t)l->window_height * l->window_width * x.channels;
    return (int64_t)x.height * x.width * x.channels;
}

int64_t dt_c_plan_macs(const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];

    return l->kind == DT_LAYER_CONV || l->kind == DT_LAYER_LINEAR ? dt_layer_count(l) * terms(p, i) : 0;
}

static void find_readers(dt_c_plan *c)
{
    const dt_program *p = c->p;

    for (int i = 0; i <= p->n_layers; i++) c->value[i].last_reader = -1;
    for (int i = 0; i < p->n_layers; i++) {
        const int n_in = p->layer[i].kind == DT_LAYER_ADD ? 2 : 1;
        for (int k = 0; k < n_in; k++) {
            c->value[p->layer[i].in[k] + 1].last_reader = i;
            c->value[dt_c_plan_source(p, i, k)].last_reader = i;
        }
    }
}

static dt_value_kind kind_of(const dt_program *p, int value)
{
    return value == 0 ? DT_VALUE_CODE : p->layer[value - 1].value;
}

/* 1 if the buffer holds a value that is read when, or after, this one is made. */
static int is_busy(const dt_c_plan *c, int value, int buffer)
{
    for (int v = 0; v < value; v++) {
        if (kind_of(c->p, v) != kind_of(c->p, value) || c->value[v].buffer != buffer) continue;
        if (c->value[v].last_reader >= value - 1) return 1;
    }
    return 0;
}

static void choose_buffer(dt_c_plan *c, int value, int64_t count)
{
    const int is_code = kind_of(c->p, value) == DT_VALUE_CODE;
    int64_t *room = is_code ? c->code_room : c->real_room;
    int *n_buffers = is_code ? &c->n_code_buffers : &c->n_real_buffers;
    int buffer = 0;

    while (is_busy(c, value, buffer)) buffer++;
    c->value[value].buffer = buffer;
    if (buffer == *n_buffers) ++*n_buffers;
    if (room[buffer] < count) room[buffer] = count;
}

static void choose_buffers(dt_c_plan *c)
{
    const dt_program *p = c->p;

    choose_buffer(c, 0, (int64_t)p->height * p->width * p->channels);
    for (int i = 0; i < p->n_layers; i++) {
        const int stored = p->layer[i].kind != DT_LAYER_CONV && i + 1 < p->n_layers;
        c->value[i + 1].buffer = DT_C_NO_BUFFER;
        if (stored) choose_buffer(c, i + 1, dt_layer_count(&p->layer[i]));
    }
}

static void choose_code_type(dt_c_plan *c)
{
    int low = c->p->low, high = c->p->high;

    for (int i = 0; i < c->p->n_layers; i++) {
        const dt_layer *l = &c->p->layer[i];
        if (l->value != DT_VALUE_CODE) continue;
        if (l->low < low) low = l->low;
        if (l->high > high) high = l->high;
    }
    const int is_unsigned = low >= 0 && high <= UINT8_MAX, is_byte = low >= INT8_MIN && high <= INT8_MAX;
    c->code_type = is_unsigned ? "uint8_t" : is_byte ? "int8_t" : "int16_t";
    c->code_bytes = is_unsigned || is_byte ? 1 : 2;
}

/* Bytes of the constants that a layer's kind has in C. */
static int64_t constant_bytes(const dt_program *p, int i)
{
    const dt_layer *l = &p->layer[i];
    const int64_t n = l->channels;
    const int64_t step = l->requant.multiplier ? 4 + 8 + 4 : 1 + 4 * ((int64_t)l->high - l->low);

    switch (l->kind) {
    case DT_LAYER_CONV: return n * terms(p, i);
    case DT_LAYER_THRESHOLD: return n * step;
    case DT_LAYER_AFFINE: return n * 8;
    case DT_LAYER_LINEAR: return n * (terms(p, i) + 1) * 4;
    default: return 0;
    }
}

/* Multiply-accumulates while layer i runs: its own, or those of the convolution whose psums it asks for. */
static int64_t work(const dt_program *p, int i)
{
    const int from = p->layer[i].in[0];

    if (p->layer[i].kind == DT_LAYER_CONV) return 0;
    return dt_c_plan_macs(p, dt_layer_input(p, i, 0).kind == DT_VALUE_PSUM ? from : i);
}

static dt_status add_sizes(dt_c_plan *c)
{
    const dt_program *p = c->p;

    c->constant_bytes = (int64_t)PIXEL_VALUES * p->channels * c->code_bytes;
    for (int i = 0; i < p->n_layers; i++) {
        const dt_layer *l = &p->layer[i];
        const int64_t bytes = constant_bytes(p, i), count = dt_layer_count(l);
        DT_CHECK(bytes <= INT_MAX && count <= INT_MAX, DT_ERR_UNSUPPORTED,
                 "%s (%s): %" PRId64 " bytes of constants and %" PRId64
                 " values; C with indices of int has room for %d",
                 l->name, dt_layer_kind_name(l->kind), bytes, count, INT_MAX);
        if (l->kind == DT_LAYER_CONV) c->weights += bytes;
        if (l->kind == DT_LAYER_CONV && l->channels > c->psums) c->psums = l->channels;
        c->constant_bytes += bytes;
        c->macs += work(p, i);
    }
    c->ram_bytes = (int64_t)c->psums * 4;
    for (int i = 0; i < c->n_code_buffers; i++) c->ram_bytes += c->code_room[i] * c->code_bytes;
    for (int i = 0; i < c->n_real_buffers; i++) c->ram_bytes += c->real_room[i] * 4;
    return DT_OK;
}

dt_status dt_c_plan_make(const dt_program *p, dt_c_plan *out)
{
    const size_t n = (size_t)p->n_layers + 1;
    dt_c_plan c = { .p = p,
                    .value = calloc(n, sizeof *c.value),
                    .code_room = calloc(n, sizeof *c.code_room),
                    .real_room = calloc(n, sizeof *c.real_room) };
    dt_status s = DT_OK;

    if (c.value && c.code_room && c.real_room) {
        find_readers(&c);
        choose_buffers(&c);
        choose_code_type(&c);
        s = add_sizes(&c);
    } else {
        s = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to plan %d layers", p->n_layers);
    }
    if (s != DT_OK) {
        dt_c_plan_release(&c);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = c;
    return DT_OK;
}

void dt_c_plan_release(dt_c_plan *c)
{
    free(c->value);
    free(c->code_room);
    free(c->real_room);
    *c = (dt_c_plan){ 0 };
}
