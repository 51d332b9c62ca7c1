/*
 * snapshot.c - moves parameters and moments between the device, host memory and files. Interface: snapshot.h.
 */
#include "snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* from [n][rows][columns], to [n][columns][rows] */
static void transpose(int64_t n, int64_t rows, int64_t columns, const float *from, float *to)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
        }
        from += rows * columns;
        to += rows * columns;
    }
}

static void add_slot(dt_snapshot *s, int param, const char *prefix, float *moment, int64_t *n_values)
{
    dt_snapshot_slot *slot = &s->slot[s->n_slots++];
    dt_param_info info;

    dt_model_param(s->model, param, &info);
    snprintf(slot->name, sizeof slot->name, "%s%s", prefix, info.name);
    slot->param = param;
    slot->moment = moment;
    slot->ndim = info.ndim;
    memcpy(slot->dim, info.dim, sizeof slot->dim);
    if (info.ndim == 4) { /* K,R,S,C -> K,C,R,S */
        slot->dim[1] = info.dim[3];
        slot->dim[2] = info.dim[1];
        slot->dim[3] = info.dim[2];
    }
    slot->count = info.count;
    slot->first = *n_values;
    *n_values += info.count;
}

/* m: a moment of every trained parameter, NULL if the optimiser does not have it. */
static void add_moments(dt_snapshot *s, const char *prefix, float *m, int64_t *n_values)
{
    for (int i = 0; m && i < s->model->n_params; i++) {
        const dt_param *p = s->model->param[i];
        if (p->group != DT_GROUP_STATE) add_slot(s, i, prefix, m + p->first, n_values);
    }
}

dt_status dt_snapshot_init(dt_snapshot *s, dt_model *m, const dt_trainer *t)
{
    const int adam = t && t->config.optim == DT_OPTIM_ADAM;
    int64_t n_values = 0, largest = 0;

    *s = (dt_snapshot){ .model = m };
    s->slot = calloc(3 * (size_t)m->n_params + 1, sizeof *s->slot);
    DT_CHECK(s->slot, DT_ERR_MEMORY, "snapshot: no memory for %d names", 3 * m->n_params);
    for (int i = 0; i < m->n_params; i++) {
        add_slot(s, i, "", NULL, &n_values);
        if (s->slot[i].count > largest) largest = s->slot[i].count;
    }
    if (t) {
        add_moments(s, adam ? DT_SNAPSHOT_MOMENTS "exp_avg." : DT_SNAPSHOT_MOMENTS "momentum.", t->m1, &n_values);
        add_moments(s, DT_SNAPSHOT_MOMENTS "exp_avg_sq.", t->m2, &n_values);
    }

    s->values = malloc(((size_t)n_values + 1) * sizeof *s->values);
    s->staging = malloc(((size_t)largest + 1) * sizeof *s->staging);
    if (!s->values || !s->staging) {
        dt_snapshot_release(s);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "snapshot: no memory for %" PRId64 " values", n_values);
    }
    return DT_OK;
}

void dt_snapshot_release(dt_snapshot *s)
{
    free(s->slot);
    free(s->values);
    free(s->staging);
    *s = (dt_snapshot){ 0 };
}

static dt_status read_device(const dt_snapshot *s, const dt_snapshot_slot *slot, float *host)
{
    if (slot->moment) {
        DT_TRY(dt_device_read(s->model->ctx, host, slot->moment, (size_t)slot->count * sizeof *host));
    } else {
        DT_TRY(dt_model_read(s->model, slot->param, host));
    }
    return DT_OK;
}

static dt_status write_device(const dt_snapshot *s, const dt_snapshot_slot *slot, const float *host)
{
    if (slot->moment) {
        DT_TRY(dt_device_write(s->model->ctx, slot->moment, host, (size_t)slot->count * sizeof *host));
    } else {
        DT_TRY(dt_model_write(s->model, slot->param, host));
    }
    return DT_OK;
}

dt_status dt_snapshot_from_device(dt_snapshot *s)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        float *values = s->values + slot->first;

        if (slot->ndim == 4) {
            DT_TRY(read_device(s, slot, s->staging));
            transpose(slot->dim[0], slot->dim[2] * slot->dim[3], slot->dim[1], s->staging, values);
        } else {
            DT_TRY(read_device(s, slot, values));
        }
    }
    return DT_OK;
}

dt_status dt_snapshot_check(const dt_snapshot *s, int all, const dt_values_words *words)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        const dt_param_values values = slot->moment ? DT_VALUES_FINITE : s->model->param[slot->param]->values;

        if (!slot->source && !all) continue;
        DT_TRY(dt_values_check(slot->name, values, s->values + slot->first, slot->count, words));
    }
    return DT_OK;
}

dt_status dt_snapshot_to_device(const dt_snapshot *s)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        const float *values = s->values + slot->first;

        if (!slot->source) continue;
        if (slot->ndim == 4) {
            transpose(slot->dim[0], slot->dim[1], slot->dim[2] * slot->dim[3], values, s->staging);
            values = s->staging;
        }
        DT_TRY(write_device(s, slot, values));
    }
    return DT_OK;
}

dt_status dt_snapshot_to_writer(const dt_snapshot *s, dt_safetensors_writer *w)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        DT_TRY(dt_safetensors_writer_add(w, slot->name, DT_SAFETENSORS_F32, slot->ndim, slot->dim,
                                         s->values + slot->first));
    }
    return DT_OK;
}

dt_status dt_snapshot_from_file(dt_snapshot *s, const dt_safetensors *f)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        if (slot->source) DT_TRY(dt_safetensors_read_floats(f, slot->source, s->values + slot->first));
    }
    return DT_OK;
}

dt_snapshot_slot *dt_snapshot_find(const dt_snapshot *s, const char *name)
{
    for (int i = 0; i < s->n_slots; i++) {
        if (strcmp(s->slot[i].name, name) == 0) return &s->slot[i];
    }
    return NULL;
}
