/*
 * run_position.h - where a run stands, as metadata of its checkpoint (checkpoint.c lists them): written, read, and
 *                  compared with the trainer that is to go on.
 */
#ifndef DT_RUN_POSITION_H
#define DT_RUN_POSITION_H

#include "../core/train/trainer.h"

#include "safetensors.h"

#define DT_CHECKPOINT_FORMAT "detent-checkpoint"

enum { DT_CHECKPOINT_OLDEST = 2, DT_CHECKPOINT_NEWEST = 3 }; /* versions that are read */

/* Where a run stands, and what must be equal for it to go on with equal bits. */
typedef struct {
    dt_graph *graph; /* owned */
    dt_train_config train;
    dt_data_origin origin;
    uint64_t seed;
    int64_t train_images;
    int64_t step;
    dt_step state; /* of it: sum and scale */
} dt_run_position;

/* Writes how the run trains, its data, and its position; not its graph. */
DT_MUST_CHECK dt_status dt_run_position_add(dt_safetensors_writer *w, const dt_trainer *t);
/* Reads all of it. out->graph is the caller's, on failure too. */
DT_MUST_CHECK dt_status dt_run_position_read(const dt_safetensors *f, const char *path, dt_run_position *out);
/* Checks that the trainer is set up as the one that was saved. */
DT_MUST_CHECK dt_status dt_run_position_match(const dt_run_position *p, const dt_trainer *t, const char *path);

DT_MUST_CHECK dt_status dt_checkpoint_read_graph(const dt_safetensors *f, const char *path, dt_graph **out);
DT_MUST_CHECK dt_status dt_checkpoint_read_train(const dt_safetensors *f, const char *path, dt_train_config *out);

#endif /* DT_RUN_POSITION_H */
