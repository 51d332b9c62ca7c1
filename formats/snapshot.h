/*
 * snapshot.h - a model's parameters and the optimiser's moments, with the names and the layout that they have in files;
 *              copied to host memory to be changed, and written from the device tensor by tensor.
 *
 * Filters are K,R,S,C on the device and K,C,R,S here, as in PyTorch. Linear weights are O,I in both. Moments have the
 * layout of their parameter. Used by: checkpoint.c. Tests: tests/formats/test_checkpoint.c.
 */
#ifndef DT_SNAPSHOT_H
#define DT_SNAPSHOT_H

#include "../core/train/trainer.h"
#include "safetensors.h"

/* The names of moments begin with this: optimizer.momentum.features.27.weight. */
#define DT_SNAPSHOT_MOMENTS "optimizer."

/* One tensor of a file, and its place on the device. */
typedef struct {
    char name[DT_NAME_MAX + 64];
    int param;     /* index of the parameter in the model */
    float *moment; /* the parameter's moment, in device memory; NULL: the tensor is the parameter itself */
    int ndim;
    int64_t dim[4]; /* as in files */
    int64_t count;
    int64_t first;                       /* index of its first value in dt_snapshot.values */
    const dt_safetensors_tensor *source; /* the file's tensor that is loaded; NULL: the device keeps its values */
} dt_snapshot_slot;

typedef struct {
    dt_model *model;
    dt_snapshot_slot *slot;
    int n_slots;
    float *values; /* those of all slots, one after another; NULL: they are on the device */
    int64_t n_values;
    float *held;    /* those of all slots in the device's layout, as they were when it was made; NULL: there is none */
    float *staging; /* room for some filters in the device's layout */
} dt_snapshot;

/* Lists the slots of m's parameters, and of the moments of the trainer t unless t is NULL. It has no values. If it
 * fails, s needs no release. */
DT_MUST_CHECK dt_status dt_snapshot_init(dt_snapshot *s, dt_model *m, const dt_trainer *t);
void dt_snapshot_release(dt_snapshot *s);

/* Copies the values of all slots to host memory, in the device's layout. What is read later comes from there. */
DT_MUST_CHECK dt_status dt_snapshot_hold(dt_snapshot *s);
/* Reads the values of all slots from the device. */
DT_MUST_CHECK dt_status dt_snapshot_from_device(dt_snapshot *s);
/* Adds all slots to a writer that has no tensors yet. s must stay as it is until the writer is destroyed. */
DT_MUST_CHECK dt_status dt_snapshot_to_writer(const dt_snapshot *s, dt_safetensors_writer *w);

/* DT_ERR_NUMERIC names the first value that its slot must not have. It checks all slots if `all` is 1, else those that
 * have a source. */
DT_MUST_CHECK dt_status dt_snapshot_check(const dt_snapshot *s, int all, const dt_values_words *words);

/* Reads the values of the slots that have a source from the file. */
DT_MUST_CHECK dt_status dt_snapshot_from_file(dt_snapshot *s, const dt_safetensors *f);
/* Writes the values of the slots that have a source to the device. */
DT_MUST_CHECK dt_status dt_snapshot_to_device(const dt_snapshot *s);

/* Returns the slot of that name, or NULL if there is none. */
dt_snapshot_slot *dt_snapshot_find(const dt_snapshot *s, const char *name);

/* Writes a checkpoint of s's model that has no run. In checkpoint.c. */
DT_MUST_CHECK dt_status dt_checkpoint_save_model(dt_snapshot *s, const char *path, const char *extra,
                                                 dt_safetensors_writer *w);

#endif /* DT_SNAPSHOT_H */
