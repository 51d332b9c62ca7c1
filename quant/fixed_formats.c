/*
 * fixed_formats.c - the table of rounded tensors: fixed_formats.h.
 *
 * Tests: tests/test_qcaps.c.
 */
#include "fixed_formats.h"

#include "fixed_point.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dt_fixed_formats_destroy(void *formats)
{
    dt_fixed_formats *f = formats;
    if (!f) return;
    free(f->tensor);
    free(f);
}

/* network's type is known by how it is freed. */
dt_fixed_formats *dt_fixed_formats_of(const dt_model *m)
{
    return m->recording.network_destroy == dt_fixed_formats_destroy ? m->recording.network : NULL;
}

/* Layers before first_layer are not recorded, so neither is the image. */
static dt_status record_rows(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor **x)
{
    const dt_rows_params params = { .batch = spec->batch };
    dt_tensor *const in[] = { dt_fixed_formats_of(m)->rows, spec->order };
    return dt_tape_apply(tape, DT_OP_ROWS, "rows", &params, in, 2, x);
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

dt_status dt_fixed_model_open(dt_context *ctx, const dt_model_config *cfg, dt_fixed_formats *formats, dt_model **out)
{
    const dt_network *network = dt_network_find(cfg->name);
    const int known = network && network->record_loss; /* of capsule networks alone */
    dt_status status = known ? network->check(cfg)
                             : dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                                        "%s has no capsules, which fixed-point "
                                        "formats are for",
                                        cfg->name);
    if (status == DT_OK && cfg->wbits != DT_BITS_FLOAT) {
        status = dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                          "the network is quantized in training, to w%da%d; fixed-point formats are for a float one",
                          cfg->wbits, cfg->abits);
    }
    if (status != DT_OK) {
        dt_fixed_formats_destroy(formats);
        return status;
    }
    const dt_recording recording = { .record = network->record,
                                     .record_loss = network->record_loss,
                                     .unit_pixels = network->unit_pixels,
                                     .network = formats,
                                     .network_destroy = dt_fixed_formats_destroy };
    dt_model_config named = *cfg;
    named.name = network->name;
    return dt_model_open(ctx, &named, &recording, out);
}

void dt_fixed_start_at(dt_model *m, int layer, dt_tensor *rows)
{
    dt_fixed_formats *f = dt_fixed_formats_of(m);

    f->first_layer = layer;
    f->rows = rows;
    m->recording.record_image = layer > 0 ? record_rows : NULL;
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
