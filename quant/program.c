/*
 * program.c - programs as objects: their layers' facts, their size, their end. The arithmetic is in reference.c.
 *
 * Tests: tests/test_program.c.
 */
#include "program.h"

#include <stdlib.h>

const char *dt_layer_kind_name(dt_layer_kind kind)
{
#define XX(upper, lower) #lower,
    static const char *const names[DT_LAYER_COUNT] = { DT_LAYER_MAP(XX) };
#undef XX
    return names[kind];
}

int64_t dt_layer_count(const dt_layer *l)
{
    return (int64_t)l->height * l->width * l->channels;
}

dt_value dt_layer_input(const dt_program *p, int i, int k)
{
    const int from = p->layer[i].in[k];
    if (from == DT_FROM_IMAGE) {
        return (dt_value){ DT_VALUE_CODE, p->height, p->width, p->channels, p->low, p->high, p->scale };
    }
    const dt_layer *l = &p->layer[from];
    return (dt_value){ l->value, l->height, l->width, l->channels, l->low, l->high, l->scale };
}

int dt_layer_weight_high(const dt_layer *l)
{
    return l->weight_bound % 2 ? l->weight_bound : l->weight_bound - 1;
}

static void layer_clear(dt_layer *l)
{
    free(l->weight);
    free(l->weight_scale);
    free(l->sign);
    free(l->threshold);
    free(l->requant.multiplier);
    free(l->requant.offset);
    free(l->requant.shift);
    free(l->slope);
    free(l->offset);
    free(l->matrix);
    free(l->bias);
}

void dt_program_destroy(dt_program *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_layers; i++) layer_clear(&p->layer[i]);
    free(p->layer);
    free(p->table);
    free(p);
}

/* Of the arrays that the layer's kind has. */
static size_t layer_bytes(const dt_program *p, int i, int64_t n_inputs)
{
    const dt_layer *l = &p->layer[i];
    const size_t channels = (size_t)l->channels, levels = (size_t)(l->high - l->low);
    const size_t line = channels * (sizeof *l->slope + sizeof *l->offset);
    const dt_requant *r = &l->requant;
    const size_t multiplier =
        r->multiplier ? channels * (sizeof *r->multiplier + sizeof *r->offset + sizeof *r->shift) : 0;

    switch (l->kind) {
    case DT_LAYER_CONV: return channels * (size_t)n_inputs + (size_t)l->n_weight_scale * sizeof *l->weight_scale;
    case DT_LAYER_THRESHOLD: return channels * (sizeof *l->sign + levels * sizeof *l->threshold) + line + multiplier;
    case DT_LAYER_AFFINE: return line;
    case DT_LAYER_LINEAR: return channels * ((size_t)n_inputs * sizeof *l->matrix + sizeof *l->bias);
    default: return 0;
    }
}

void dt_program_describe(const dt_program *p, dt_program_info *out)
{
    *out = (dt_program_info){ .height = p->height,
                              .width = p->width,
                              .channels = p->channels,
                              .n_classes = p->layer[p->n_layers - 1].channels,
                              .n_layers = p->n_layers,
                              .origin = p->origin,
                              .bytes = 256 * (size_t)p->channels * sizeof *p->table };
    for (int i = 0; i < p->n_layers; i++) {
        const dt_layer *l = &p->layer[i];
        const dt_value x = dt_layer_input(p, i, 0);
        const int is_conv = l->kind == DT_LAYER_CONV;
        const int64_t window = is_conv ? (int64_t)l->window_height * l->window_width : (int64_t)x.height * x.width;
        const int64_t n_inputs = window * x.channels; /* terms of one sum */
        if (is_conv) out->n_weights += n_inputs * l->channels;
        out->bytes += layer_bytes(p, i, n_inputs);
    }
}
