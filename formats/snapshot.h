/*
 * snapshot.h - a host copy of a model's parameters, and of the optimiser's moments, named and laid out as in files.
 *
 * Filters are K,R,S,C on the device and K,C,R,S here, as PyTorch keeps them; linear weights are O,I in both.
 * Moments have their parameter's layout. Used by: checkpoint.c. Tests: tests/formats/test_checkpoint.c.
 */
#ifndef DT_SNAPSHOT_H
#define DT_SNAPSHOT_H

#include "../core/train/trainer.h"
#include "safetensors.h"

#define DT_SNAPSHOT_MOMENTS "optimizer." /* names of moments begin so: optimizer.momentum.features.27.weight */

/* One tensor, and where its values live on the device. */
typedef struct {
    char name[DT_NAME_MAX + 64];
    int param;     /* index in the model */
    float *moment; /* device; NULL: the parameter itself */
    int ndim;
    int64_t dim[4]; /* in files */
    int64_t count;
    int64_t first;                       /* in values */
    const dt_safetensors_tensor *source; /* set by who loads; NULL: the device keeps what it has */
} dt_snapshot_slot;

typedef struct {
    dt_model *model;
    dt_snapshot_slot *slot;
    int n_slots;
    float *values;  /* of the slots, one after another */
    float *staging; /* one tensor in the device's layout */
} dt_snapshot;

/* t: the trainer whose moments belong to it, NULL: parameters alone. Values are not set. On failure nothing is left. */
DT_MUST_CHECK dt_status dt_snapshot_init(dt_snapshot *s, dt_model *m, const dt_trainer *t);
void dt_snapshot_release(dt_snapshot *s);

DT_MUST_CHECK dt_status dt_snapshot_from_device(dt_snapshot *s);
DT_MUST_CHECK dt_status dt_snapshot_to_writer(const dt_snapshot *s, dt_safetensors_writer *w); /* borrows the values */

/* Are the values those that the slots may have? DT_ERR_NUMERIC names the first that is not. Of slots with a source, or
 * of all. */
DT_MUST_CHECK dt_status dt_snapshot_check(const dt_snapshot *s, int all, const dt_values_words *words);

/* Both pass over slots without a source. */
DT_MUST_CHECK dt_status dt_snapshot_from_file(dt_snapshot *s, const dt_safetensors *f);
DT_MUST_CHECK dt_status dt_snapshot_to_device(const dt_snapshot *s);

/* The slot of that name, NULL if there is none. */
dt_snapshot_slot *dt_snapshot_find(const dt_snapshot *s, const char *name);

#endif /* DT_SNAPSHOT_H */
