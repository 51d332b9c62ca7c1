/*
 * checkpoint.h - models and runs in files (safetensors).
 */
#ifndef DT_PUBLIC_CHECKPOINT_H
#define DT_PUBLIC_CHECKPOINT_H

#include "model.h"
#include "train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the file, or replaces it whole: written aside, fsynced, renamed; a replaced one keeps its mode. So does every
 * function here that writes a file. Links are followed; a device, pipe or /dev/fd/N is written into. */
DT_API DT_MUST_CHECK dt_status dt_file_replace(const char *path, const void *data, size_t bytes);

/* Everything a run needs to go on with equal bits. Written aside, fsynced, renamed: never half a file.
 * extra: a string kept in the metadata (the run's own JSON), or NULL. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_save(const dt_trainer *t, const char *path, const char *extra);
/* What a safetensors file says it is: "detent-checkpoint", "detent-program"; "" if nothing. */
DT_API DT_MUST_CHECK dt_status dt_file_format(const char *path, char *text, size_t bytes);
/* How the run trains; dt_checkpoint_open makes its model. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_train_config(const char *path, dt_train_config *out);
/* The string saved as extra; the caller frees it. NULL if none. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_extra(const char *path, char **out);
/* Continues the run: parameters, optimiser state, position. Refused if model or data differ, naming both values. A file
 * that does not tell its data set is taken to be of this one. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_resume(dt_trainer *t, const char *path);
/* Parameters and origin; every name and shape must match. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_load(dt_model *m, const char *path);
/* A model that dt_qcaps_quantize made: parameters as they were before rounding, and the formats. extra: as above. */
DT_API DT_MUST_CHECK dt_status dt_model_save(dt_model *m, const char *path, const char *extra);
/* The model that such a file or a checkpoint of a run holds, with its parameters. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_open(dt_context *ctx, const char *path, dt_model **out);
/* The codes of its weights (I32; logarithmic rounding: F32, the powers of two) and every format, for hardware. */
DT_API DT_MUST_CHECK dt_status dt_model_save_codes(dt_model *m, const char *path);
/* Copies every parameter whose name and shape match, F16, BF16 and F64 too, and leaves the origin; calls skipped (may
 * be NULL) with the reason for each other. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_load_partial(dt_model *m, const char *path,
                                                          void (*skipped)(void *user, const char *name,
                                                                          const char *why),
                                                          void *user, int *n_loaded);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_CHECKPOINT_H */
