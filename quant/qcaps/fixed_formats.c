/*
 * fixed_formats.c - the table of rounded tensors; see fixed_formats.h.
 *
 * Tests: tests/quant/test_qcaps.c.
 */
#include "fixed_formats.h"

#include "../../core/arith/fixed_point.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dt_fixed_formats_destroy(void *formats)
{
    dt_fixed_formats *f = formats;
    if (!f) return;
    dt_graph_destroy(f->plain);
    free(f->tensor);
    free(f);
}

/* attached's type is known by how it is freed. */
dt_fixed_formats *dt_fixed_formats_of(const dt_model *m)
{
    return m->attached_destroy == dt_fixed_formats_destroy ? m->attached : NULL;
}

int dt_fixed_find(const dt_fixed_formats *f, const char *name)
{
    for (int i = 0; i < f->n; i++) {
        if (strcmp(f->tensor[i].name, name) == 0) return i;
    }
    return -1;
}

static dt_status tensor_add(dt_fixed_formats *f, const char *name, int layer, dt_fixed_kind kind)
{
    if (f->n == f->room) {
        const int room = f->room ? 2 * f->room : 64;
        dt_fixed_tensor *bigger = realloc(f->tensor, (size_t)room * sizeof *bigger);
        DT_CHECK(bigger, DT_ERR_MEMORY, "no memory for %d formats", room);
        f->tensor = bigger;
        f->room = room;
    }
    dt_fixed_tensor *t = &f->tensor[f->n++];
    assert(strlen(name) < sizeof t->name);
    *t = (dt_fixed_tensor){ .layer = layer, .kind = kind, .scale = 1.0f };
    snprintf(t->name, sizeof t->name, "%s", name);
    return DT_OK;
}

static int bits_of(const dt_qcaps_bits *bits, int layer, dt_fixed_kind kind)
{
    switch (kind) {
    case DT_FIXED_WEIGHT: return bits->weight[layer];
    case DT_FIXED_OUTPUT:
    case DT_FIXED_INNER: return bits->activation[layer];
    case DT_FIXED_ROUTING: break;
    }
    return bits->routing[layer];
}

dt_status dt_fixed_format_of(dt_fixed_formats *f, const char *name, int layer, dt_fixed_kind kind, dt_fixed_format *out)
{
    int i = dt_fixed_find(f, name);

    if (i < 0) {
        DT_CHECK(f->observe, DT_ERR_RANGE, "%s has no fixed-point format; the file is of another network", name);
        DT_TRY(tensor_add(f, name, layer, kind));
        i = f->n - 1;
    }
    const dt_fixed_tensor *t = &f->tensor[i];
    DT_CHECK(t->layer == layer && t->kind == kind, DT_ERR_RANGE,
             "%s is of layer %d and kind %d, its fixed-point format of layer %d and kind %d", name, layer, (int)kind,
             t->layer, (int)t->kind);
    *out = (dt_fixed_format){ .bits = f->observe ? -1 : bits_of(&f->bits, layer, kind),
                              .rounding = f->rounding,
                              .scale = t->scale,
                              .published = f->published,
                              .is_weight = kind == DT_FIXED_WEIGHT,
                              .tensor = (uint32_t)i };
    return DT_OK;
}

int dt_fixed_exact(const dt_fixed_formats *f, int activation_layer, int weight_layer, int64_t terms)
{
    const int bits = f->bits.activation[activation_layer] + f->bits.weight[weight_layer];

    if (f->observe || f->published || f->rounding == DT_ROUND_LOGARITHMIC || bits > 25) return 0;
    return terms << (bits - 2) < (int64_t)1 << 24; /* |codes| up to 2^(bits-1) each */
}

/* Formats are for capsule networks of real values. */
static dt_status check_plain(const dt_graph *g)
{
    dt_model_info is;

    DT_CHECK(g->capsules >= 0, DT_ERR_UNSUPPORTED, "%s has no capsules, which fixed-point formats are for", g->name);
    dt_graph_look(g, &is);
    DT_CHECK(is.wbits_most == DT_BITS_FLOAT, DT_ERR_UNSUPPORTED,
             "the network is quantized in training, to w%da%d; fixed-point formats are for a float one", is.wbits_most,
             is.abits_most);
    return DT_OK;
}

dt_status dt_fixed_model_open(dt_context *ctx, dt_graph *g, dt_fixed_formats *formats, dt_model **out)
{
    dt_graph *rounded;

    formats->plain = g;
    dt_status status = check_plain(g);
    if (status == DT_OK) status = dt_fixed_insert(formats, &rounded);
    if (status == DT_OK) status = dt_model_open(ctx, rounded, out);
    if (status != DT_OK) {
        dt_fixed_formats_destroy(formats);
        return dt_forward(status, __FILE__, __LINE__);
    }
    (*out)->attached = formats;
    (*out)->attached_destroy = dt_fixed_formats_destroy;
    return DT_OK;
}

dt_status dt_fixed_model_update(dt_model *m)
{
    dt_graph *rounded;

    DT_TRY(dt_fixed_insert(dt_fixed_formats_of(m), &rounded));
    dt_model_replace_graph(m, rounded);
    return DT_OK;
}

int dt_qcaps_look(const dt_model *m, dt_qcaps_formats *out)
{
    const dt_fixed_formats *f = dt_fixed_formats_of(m);
    if (!f) return 0;
    *out = (dt_qcaps_formats){ f->rounding, f->published, f->bits, f->n };
    return 1;
}

void dt_qcaps_look_at(const dt_model *m, int i, dt_qcaps_tensor *out)
{
    const dt_fixed_formats *f = dt_fixed_formats_of(m);
    assert(f && i >= 0 && i < f->n);
    const dt_fixed_tensor *t = &f->tensor[i];
    const dt_fixed_format format = { .bits = bits_of(&f->bits, t->layer, t->kind),
                                     .scale = t->scale,
                                     .published = f->published };
    *out = (dt_qcaps_tensor){ .name = t->name,
                              .layer = t->layer,
                              .is_weight = t->kind == DT_FIXED_WEIGHT,
                              .bits = format.bits,
                              .scale = t->scale,
                              .step = f->rounding == DT_ROUND_LOGARITHMIC ? 0.0f : dt_fixed_step(&format) };
}
