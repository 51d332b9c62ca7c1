/*
 * snapshot.c - moves parameters and moments between the device, host memory and files. Interface: snapshot.h.
 */
#include "snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STAGED = 1 << 18, /* values that are turned at once, unless a filter has more */
    MOST_SLOTS = 7    /* of a parameter: itself, two moments, its mean, and three where weights freeze */
};

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

static int64_t filters_at_once(const dt_snapshot_slot *slot)
{
    const int64_t each = slot->count / slot->dim[0];

    return each < STAGED ? STAGED / each : 1;
}

/* The room that a slot needs to be turned. */
static int64_t staging_of(const dt_snapshot_slot *slot)
{
    const int64_t room = slot->ndim == 4 ? filters_at_once(slot) * (slot->count / slot->dim[0]) : 0;

    return room < slot->count ? room : slot->count;
}

dt_status dt_snapshot_init(dt_snapshot *s, dt_model *m, const dt_trainer *t)
{
    const int adam = t && t->config.optim == DT_OPTIM_ADAM;
    int64_t n_values = 0, largest = 0;

    *s = (dt_snapshot){ .model = m };
    s->slot = calloc(MOST_SLOTS * (size_t)m->n_params + 1, sizeof *s->slot);
    DT_CHECK(s->slot, DT_ERR_MEMORY, "snapshot: no memory for %d names", MOST_SLOTS * m->n_params);
    for (int i = 0; i < m->n_params; i++) {
        add_slot(s, i, "", NULL, &n_values);
        if (staging_of(&s->slot[i]) > largest) largest = staging_of(&s->slot[i]);
    }
    if (t) {
        add_moments(s, adam ? DT_SNAPSHOT_MOMENTS "exp_avg." : DT_SNAPSHOT_MOMENTS "momentum.", t->m1, &n_values);
        add_moments(s, DT_SNAPSHOT_MOMENTS "exp_avg_sq.", t->m2, &n_values);
        add_moments(s, DT_SNAPSHOT_MOMENTS "mean.", t->mean, &n_values);
        add_moments(s, DT_SNAPSHOT_MOMENTS "code_turns.", t->update.freeze.turns, &n_values);
        add_moments(s, DT_SNAPSHOT_MOMENTS "code_mean.", t->update.freeze.mean, &n_values);
        add_moments(s, DT_SNAPSHOT_MOMENTS "code_last.", t->update.freeze.last, &n_values);
    }

    s->n_values = n_values;
    s->staging = malloc(((size_t)largest + 1) * sizeof *s->staging);
    if (!s->staging) {
        dt_snapshot_release(s);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "snapshot: no memory for %" PRId64 " values", largest);
    }
    return DT_OK;
}

void dt_snapshot_release(dt_snapshot *s)
{
    free(s->slot);
    free(s->values);
    free(s->held);
    free(s->staging);
    *s = (dt_snapshot){ 0 };
}

/* Where a slot's value `first` lies on the device. */
static float *device_at(const dt_snapshot *s, const dt_snapshot_slot *slot, int64_t first)
{
    return (slot->moment ? slot->moment : (float *)s->model->param[slot->param]->tensor.data) + first;
}

static dt_status hold_values(dt_snapshot *s)
{
    if (!s->values) s->values = malloc(((size_t)s->n_values + 1) * sizeof *s->values);
    DT_CHECK(s->values, DT_ERR_MEMORY, "snapshot: no memory for %" PRId64 " values", s->n_values);
    return DT_OK;
}

dt_status dt_snapshot_hold(dt_snapshot *s)
{
    s->held = malloc(((size_t)s->n_values + 1) * sizeof *s->held);
    DT_CHECK(s->held, DT_ERR_MEMORY, "snapshot: no memory for %" PRId64 " values", s->n_values);
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        DT_TRY(dt_device_read(s->model->ctx, s->held + slot->first, device_at(s, slot, 0),
                              (size_t)slot->count * sizeof(float)));
    }
    return DT_OK;
}

/* Reads n values of a slot from its value `first` on, in the device's layout. */
static dt_status read_values(const dt_snapshot *s, const dt_snapshot_slot *slot, int64_t first, int64_t n, float *to)
{
    const size_t bytes = (size_t)n * sizeof *to;

    if (!s->held) return dt_device_read(s->model->ctx, to, device_at(s, slot, first), bytes);
    memcpy(to, s->held + slot->first + first, bytes);
    return DT_OK;
}

/* Reads the filters k .. k + n - 1 of a slot, whose values are those. */
static dt_status read_filters(const dt_snapshot *s, const dt_snapshot_slot *slot, int64_t k, int64_t n, float *values)
{
    const int64_t each = slot->count / slot->dim[0];

    DT_TRY(read_values(s, slot, k * each, n * each, s->staging));
    transpose(n, slot->dim[2] * slot->dim[3], slot->dim[1], s->staging, values + k * each);
    return DT_OK;
}

static dt_status write_filters(const dt_snapshot *s, const dt_snapshot_slot *slot, int64_t k, int64_t n, float *values)
{
    const int64_t each = slot->count / slot->dim[0];

    transpose(n, slot->dim[1], slot->dim[2] * slot->dim[3], values + k * each, s->staging);
    return dt_device_write(s->model->ctx, device_at(s, slot, k * each), s->staging, (size_t)(n * each) * sizeof(float));
}

typedef dt_status move_fn(const dt_snapshot *s, const dt_snapshot_slot *slot, int64_t k, int64_t n, float *values);

static dt_status each_filters(const dt_snapshot *s, const dt_snapshot_slot *slot, move_fn *move, float *values)
{
    const int64_t step = filters_at_once(slot);

    for (int64_t k = 0; k < slot->dim[0]; k += step)
        DT_TRY(move(s, slot, k, slot->dim[0] - k < step ? slot->dim[0] - k : step, values));
    return DT_OK;
}

/* Reads the values of a slot, as they are in files. */
static dt_status read_slot(const dt_snapshot *s, const dt_snapshot_slot *slot, float *values)
{
    if (slot->ndim == 4) return each_filters(s, slot, read_filters, values);
    return read_values(s, slot, 0, slot->count, values);
}

dt_status dt_snapshot_from_device(dt_snapshot *s)
{
    DT_TRY(hold_values(s));
    for (int i = 0; i < s->n_slots; i++) DT_TRY(read_slot(s, &s->slot[i], s->values + s->slot[i].first));
    return DT_OK;
}

/* Checks a slot. `room` is for its values where the snapshot has none. */
static dt_status check_slot(const dt_snapshot *s, const dt_snapshot_slot *slot, float *room,
                            const dt_values_words *words)
{
    const dt_param_values values = slot->moment ? DT_VALUES_FINITE : s->model->param[slot->param]->values;

    if (!s->values) DT_TRY(read_slot(s, slot, room));
    return dt_values_check(slot->name, values, s->values ? s->values + slot->first : room, slot->count, words);
}

dt_status dt_snapshot_check(const dt_snapshot *s, int all, const dt_values_words *words)
{
    dt_status status = DT_OK;
    int64_t most = 0;

    for (int i = 0; i < s->n_slots && !s->values; i++) most = s->slot[i].count > most ? s->slot[i].count : most;
    float *room = malloc(((size_t)most + 1) * sizeof *room);
    DT_CHECK(room, DT_ERR_MEMORY, "snapshot: no memory for %" PRId64 " values", most);
    for (int i = 0; i < s->n_slots && status == DT_OK; i++) {
        if (s->slot[i].source || all) status = check_slot(s, &s->slot[i], room, words);
    }
    free(room);
    return status;
}

dt_status dt_snapshot_to_device(const dt_snapshot *s)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];

        if (!slot->source) continue;
        if (!slot->moment) s->model->param[slot->param]->tensor.has_sums = 0;
        if (slot->ndim == 4)
            DT_TRY(each_filters(s, slot, write_filters, s->values + slot->first));
        else
            DT_TRY(dt_device_write(s->model->ctx, device_at(s, slot, 0), s->values + slot->first,
                                   (size_t)slot->count * sizeof(float)));
    }
    return DT_OK;
}

static dt_status fill_slot(const void *user, int i, void *to)
{
    const dt_snapshot *s = user;

    return read_slot(s, &s->slot[i], to);
}

dt_status dt_snapshot_to_writer(const dt_snapshot *s, dt_safetensors_writer *w)
{
    for (int i = 0; i < s->n_slots; i++) {
        const dt_snapshot_slot *slot = &s->slot[i];
        DT_TRY(dt_safetensors_writer_add(w, slot->name, DT_SAFETENSORS_F32, slot->ndim, slot->dim,
                                         s->values ? s->values + slot->first : NULL));
    }
    dt_safetensors_writer_fill(w, fill_slot, s);
    return DT_OK;
}

dt_status dt_snapshot_from_file(dt_snapshot *s, const dt_safetensors *f)
{
    DT_TRY(hold_values(s));
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
