/*
 * fixed_codes.c - the weights of a network that Q-CapsNets has quantized as the integers that hardware keeps, with the
 *                 format of every tensor.
 *
 *   metadata  format = "detent-fixed-point", version = "1", model (JSON: name, sizes, routing), graph (JSON,
 *             graph_json.h: the network of real values), formats (JSON, fixed_json.h, with steps and ranges),
 *             data (JSON, origin_json.h), seed (of stochastic rounding's draws)
 *   tensors   <parameter>   I32: codes; with logarithmic rounding F32: powers of two. A parameter that no format
 *             rounds, such as batch norm's, is F32 as it is. All have PyTorch's layout (snapshot.h)
 *
 * The codes are those that the operator FIXED_POINT makes. From 26 bits on, f32 rounds a format's largest code up to
 * the power of two above it; the file has the code itself, whose f32 value is the same.
 * Interface: dt_model_save_codes in include/detent/checkpoint.h.  Format: docs/FIXED_POINT_FORMAT.md.
 * Tests: tests/formats/test_fixed_codes.c.
 */
#include "../core/arith/fixed_point.h"
#include "fixed_json.h"
#include "json_value.h"
#include "metadata.h"
#include "origin_json.h"
#include "snapshot.h"
#include "stored_graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT  "detent-fixed-point"
#define VERSION "1"

/* Where value i of a file lies in the model, by which draws are numbered: filters are K,C,R,S here, K,R,S,C there. */
static uint64_t model_index(const dt_snapshot_slot *slot, int64_t i)
{
    if (slot->ndim != 4) return (uint64_t)i;
    const int64_t channels = slot->dim[1], taps = slot->dim[2] * slot->dim[3];
    const int64_t tap = i % taps, channel = i / taps % channels, filter = i / taps / channels;
    return (uint64_t)((filter * taps + tap) * channels + channel);
}

/* The published code clamps nothing, so that a code may be any number. */
static dt_status make_codes(const dt_snapshot *s, const dt_snapshot_slot *slot, const dt_fixed_format *f, int32_t *code)
{
    const double high = f->published ? INFINITY : ldexp(1.0, f->bits - 1) - 1.0;
    const float *value = s->values + slot->first;

    for (int64_t i = 0; i < slot->count; i++) {
        const float u = dt_fixed_draw(f, s->model->ctx->opt.seed, model_index(slot, i));
        const double rounded = (double)dt_fixed_code(f, value[i], u), c = rounded > high ? high : rounded;
        DT_CHECK(c >= INT32_MIN && c <= INT32_MAX, DT_ERR_NUMERIC,
                 "%s: value %" PRId64 " is %.9g, which has no code of 32 bits in steps of %.9g", slot->name, i,
                 (double)value[i], (double)dt_fixed_step(f));
        code[i] = (int32_t)c;
    }
    return DT_OK;
}

static void make_powers(const dt_snapshot *s, const dt_snapshot_slot *slot, const dt_fixed_format *f)
{
    float *value = s->values + slot->first;

    for (int64_t i = 0; i < slot->count; i++) value[i] = dt_fixed_logarithmic(f, value[i]);
}

/* As the network's evaluation reads it; code: room for the slot's values. */
static dt_status add_slot(dt_safetensors_writer *w, const dt_snapshot *s, const dt_snapshot_slot *slot, int32_t *code)
{
    dt_fixed_formats *formats = dt_fixed_formats_of(s->model);
    const int t = dt_fixed_find(formats, slot->name);
    dt_safetensors_type type = DT_SAFETENSORS_F32;
    const void *data = s->values + slot->first;
    dt_fixed_format f;

    if (t >= 0) {
        DT_TRY(dt_fixed_format_of(formats, slot->name, formats->tensor[t].layer, DT_FIXED_WEIGHT, &f));
        if (f.rounding == DT_ROUND_LOGARITHMIC) {
            make_powers(s, slot, &f);
        } else {
            DT_TRY(make_codes(s, slot, &f, code));
            type = DT_SAFETENSORS_I32;
            data = code;
        }
    }
    DT_TRY(dt_safetensors_writer_add(w, slot->name, type, slot->ndim, slot->dim, data));
    return DT_OK;
}

/* What a reader of the codes wants to know first; NULL if memory is short. */
static cJSON *model_json(const dt_graph *plain)
{
    dt_model_info is;

    dt_graph_look(plain, &is);
    dt_json_begin();
    cJSON *model = cJSON_CreateObject();
    cJSON_AddStringToObject(model, "name", is.name);
    cJSON_AddNumberToObject(model, "height", is.height);
    cJSON_AddNumberToObject(model, "width", is.width);
    cJSON_AddNumberToObject(model, "channels", is.channels);
    cJSON_AddNumberToObject(model, "n_classes", is.n_classes);
    cJSON_AddNumberToObject(model, "caps_dim", is.caps_dim);
    cJSON_AddNumberToObject(model, "routing", is.routing);
    if (!dt_json_lost()) return model;
    cJSON_Delete(model);
    return NULL;
}

static dt_status add_metadata(dt_safetensors_writer *w, const dt_model *m)
{
    const dt_graph *plain = dt_fixed_formats_of(m)->plain;
    cJSON *model = model_json(plain), *formats = cJSON_CreateObject();
    char seed[32];

    snprintf(seed, sizeof seed, "%" PRIu64, m->ctx->opt.seed);
    dt_status s = dt_metadata_begin(w, FORMAT, VERSION);
    if (s == DT_OK) s = dt_fixed_to_json(dt_fixed_formats_of(m), 1, formats);
    if (s == DT_OK) s = dt_metadata_add(w, "model", model);
    if (s == DT_OK) s = dt_graph_store(w, plain);
    if (s == DT_OK) s = dt_metadata_add(w, "formats", formats);
    if (s == DT_OK) s = dt_origin_add(w, &m->origin);
    if (s == DT_OK) s = dt_safetensors_writer_metadata(w, "seed", seed);
    cJSON_Delete(model);
    cJSON_Delete(formats);
    DT_TRY(s);
    return DT_OK;
}

static int is_decoders(const char *name)
{
    return strncmp(name, "decoder.", strlen("decoder.")) == 0;
}

/* codes: room for all of the snapshot's values */
static dt_status save(dt_snapshot *s, const char *path, int32_t *codes, dt_safetensors_writer *w)
{
    DT_TRY(add_metadata(w, s->model));
    DT_TRY(dt_snapshot_from_device(s));
    DT_TRY(dt_snapshot_check(s, 1, NULL));
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        if (!is_decoders(slot->name)) DT_TRY(add_slot(w, s, slot, codes + slot->first));
    }
    DT_TRY(dt_safetensors_writer_write(w, path));
    return DT_OK;
}

dt_status dt_model_save_codes(dt_model *m, const char *path)
{
    dt_safetensors_writer *w = NULL;
    dt_snapshot s;

    DT_CHECK(dt_fixed_formats_of(m), DT_ERR_UNSUPPORTED,
             "%s: %s has no fixed-point formats, as Q-CapsNets gives them to a capsule network", path, m->graph->name);
    DT_TRY(dt_snapshot_init(&s, m, NULL));
    int32_t *codes = malloc((size_t)(m->n_trained + m->n_state) * sizeof *codes);
    dt_status status = codes ? dt_safetensors_writer_create(&w)
                             : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for codes", path);
    if (status == DT_OK) status = save(&s, path, codes, w);
    dt_safetensors_writer_destroy(w);
    free(codes);
    dt_snapshot_release(&s);
    DT_TRY(status);
    return DT_OK;
}
