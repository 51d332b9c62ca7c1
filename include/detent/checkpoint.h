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

/* Makes the file, or replaces it whole: the data are written to another file, synced to the disk, and renamed. A
 * replaced file keeps its mode. Links are followed. A device, a pipe or /dev/fd/N is written into. Every function here
 * that writes a file does it so. */
DT_API DT_MUST_CHECK dt_status dt_file_replace(const char *path, const void *data, size_t bytes);

/* Makes the folder and those above it, unless they exist; what is made is there after a power cut too. */
DT_API DT_MUST_CHECK dt_status dt_folder_make(const char *dir);

/* The names in a folder are after a power cut what they are now: a file that was removed is not there again. */
DT_API DT_MUST_CHECK dt_status dt_folder_sync(const char *dir);

/* A file that another program has written, and its name, are after a power cut what they are now. */
DT_API DT_MUST_CHECK dt_status dt_file_sync(const char *path);

/* Saves everything that a run needs to go on with equal bits. extra is a string that the file keeps for the caller;
 * NULL: none. DT_ERR_NUMERIC: a parameter has a value that it must not have. DT_ERR_ARGUMENT: other ranks have a part
 * of the state, which dt_trainer_gather brings here. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_save(const dt_trainer *t, const char *path, const char *extra);

/* A run as it was at some moment, in host memory, so that it goes on while files are written. */
typedef struct dt_run_copy dt_run_copy;

/* Copies what dt_checkpoint_save would save now. DT_ERR_ARGUMENT as there. */
DT_API DT_MUST_CHECK dt_status dt_run_copy_create(const dt_trainer *t, const char *extra, dt_run_copy **out);
/* Writes the file that dt_checkpoint_save would have written when the copy was made. Any thread may call it, one at a
 * time, until the trainer's model is destroyed. */
DT_API DT_MUST_CHECK dt_status dt_run_copy_write(dt_run_copy *c, const char *path);
DT_API void dt_run_copy_destroy(dt_run_copy *c);

/* Writes to text, of `bytes` bytes, the format that a safetensors file names, such as "detent-checkpoint" or
 * "detent-program"; "" if it names none. Of a TensorFlow Lite file it is "tflite", of an ONNX file "onnx", each with
 * "-integer" behind it if the network computes on integers. */
DT_API DT_MUST_CHECK dt_status dt_file_format(const char *path, char *text, size_t bytes);
/* Returns 1 if the file can be read and holds a run: a network that was quantized after training has none. */
DT_API int dt_checkpoint_has_run(const char *path);
/* Reads the training configuration of the run that a checkpoint holds. DT_ERR_UNSUPPORTED: it
 * holds none. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_train_config(const char *path, dt_train_config *out);
/* Reads the string that was saved as extra. The caller frees *out, which is NULL if there is none. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_extra(const char *path, char **out);
/* Reads parameters, optimiser state and position of a run, so that t continues it. A file whose network, training, seed
 * or data differ from t's is refused, with both values in the message. A file that does not name its data set is taken
 * to be of t's. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_resume(dt_trainer *t, const char *path);
/* Reads parameters and origin. The file must have every parameter of m in its shape, and no others. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_load(dt_model *m, const char *path);
/* Saves a model that no trainer has: of one that dt_qcaps_quantize made, its parameters before rounding, and the
 * formats; of any other, such as dt_quantize's, a checkpoint without a run. extra is as for dt_checkpoint_save. */
DT_API DT_MUST_CHECK dt_status dt_model_save(dt_model *m, const char *path, const char *extra);
/* Makes the model that a checkpoint, a file of dt_model_save or a TensorFlow Lite file of reals holds, with its
 * parameters. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_open(dt_context *ctx, const char *path, dt_model **out);
/* Writes the codes of the weights of a model that dt_qcaps_quantize made, and every format, for hardware. Codes are
 * I32; with logarithmic rounding they are powers of two, F32. */
DT_API DT_MUST_CHECK dt_status dt_model_save_codes(dt_model *m, const char *path);
/* Reads every parameter whose name and shape match, in F32, F16, BF16 or F64, and leaves m's origin as it is. It calls
 * skipped, which may be NULL, for each tensor and each parameter that does not match, with the reason. *n_loaded is the
 * number of parameters that it has read. */
DT_API DT_MUST_CHECK dt_status dt_checkpoint_load_partial(dt_model *m, const char *path,
                                                          void (*skipped)(void *user, const char *name,
                                                                          const char *why),
                                                          void *user, int *n_loaded);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_CHECKPOINT_H */
