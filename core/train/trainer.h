/*
 * trainer.h - inside dt_trainer: tapes for the full batch and for an epoch's last, smaller one, the optimiser state,
 *             and the position in the run. formats/checkpoint.c saves and restores what stands here.
 */
#ifndef DT_TRAINER_H
#define DT_TRAINER_H

#include "inference.h"

/* Steps that a captured graph may hold: a replay costs the host and the device some microseconds. */
enum { DT_UNROLL = 8 };

/* `steps` steps as a captured graph; NULL: not captured yet. */
typedef struct {
    void *graph;
    int generation; /* of the context when graph was captured */
} dt_captured;

/* One recorded step for one batch size. */
typedef struct {
    dt_tape *tape;
    dt_tensor *loss;
    int batch;
    int warm; /* 1: has run eagerly, so that libraries have loaded what they need */
    dt_captured once, unrolled;
    dt_update update;          /* with this tape's quantizers */
    const dt_node **quantizer; /* whose backward the update does */
} dt_step_tape;

struct dt_trainer {
    dt_model *model;
    dt_train_config config;
    int64_t n_images;
    dt_data_origin origin; /* of its dataset; the model's from the first step on, whatever was loaded since */
    dt_device_data data;   /* the dataset and this epoch's order */
    dt_record_spec spec;
    dt_step_tape full, rest; /* rest.tape is NULL when the batch divides the dataset */
    dt_step_in *queue;       /* device [DT_UNROLL]; what the next steps read */
    float *m1, *m2;          /* device [n_trained]; optimiser state; m2 NULL for SGD */
    dt_update update;
    dt_update_range *range; /* host */
    int64_t step;           /* steps done since the run began: the whole position */
    dt_metrics recent;      /* the last that dt_trainer_recent has seen */
    int is_peeking;         /* 1: newer ones are on their way */
    int order_epoch;        /* the epoch that data.order holds, -1: none */
    double data_seconds;    /* of the host's clock, spent in preparing what steps read */
};

/* The tape of a step of `batch` images as the model records it: not fused, not compiled. */
DT_MUST_CHECK dt_status dt_trainer_record(dt_trainer *t, int batch, dt_tape **tape, dt_tensor **loss);

/* Makes `step` the number of steps done and restores what a checkpoint has of `state`: the epoch's running sums, and
 * the loss scale, which a trainer without one keeps at 1. */
DT_MUST_CHECK dt_status dt_trainer_seek(dt_trainer *t, int64_t step, const dt_step *state);
DT_MUST_CHECK dt_status dt_trainer_state(const dt_trainer *t, dt_step *out);

/* Forward and backward of the next batch with a hook on every forward node; gradients are left in the parameters'
 * grad, everything else is as before. */
DT_MUST_CHECK dt_status dt_trainer_observe(dt_trainer *t, dt_node_hook hook, void *user);

/* The learning rate of the step after `step` steps: schedule.c. */
float dt_schedule_lr(const dt_train_config *cfg, int64_t step, int64_t steps_per_epoch);

/* A permutation of 0..n-1, a function of (seed, epoch) alone. */
void dt_shuffle(uint64_t seed, uint32_t epoch, int64_t n, int32_t *order);

/* How any network is trained if nobody says otherwise. */
void dt_train_config_general(dt_train_config *out);

#endif /* DT_TRAINER_H */
