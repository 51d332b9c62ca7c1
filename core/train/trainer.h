/*
 * trainer.h - inside dt_trainer: a tape for full batches and one for an epoch's last, smaller batch, the optimiser's
 *             state, and the position in the run. formats/checkpoint.c saves and restores state and position.
 */
#ifndef DT_TRAINER_H
#define DT_TRAINER_H

#include "buckets.h"
#include "device_graph.h"
#include "inference.h"

/* Steps of the longer captured graph. One replay runs them all, because each replay costs some microseconds. */
enum { DT_STEPS_TOGETHER = 8 };

/* A part of a step: what one rank computes at once. trainer_parts.c has the rule. */
typedef struct {
    int64_t first;   /* its first image, counted from the step's first one */
    int images;      /* of this part */
    int step_images; /* of the whole step */
    int norm_images; /* over which batch statistics are taken */
} dt_part;

/* What a teacher says of the images of a part. */
typedef struct {
    dt_tensor said;    /* the trainer's `teacher`, with as many rows as the part's loss reads; no data: no teacher */
    dt_tape *tape;     /* of the teacher, on the part's images; NULL: its scores of all images were given */
    dt_tensor *scores; /* of that tape */
} dt_lesson;

/* A training step, or a part of one, for one number of images. */
typedef struct {
    dt_tape *tape;
    dt_tensor *loss;
    dt_lesson lesson;
    dt_part part;                 /* all but `first` is of this tape alone */
    int warm;                     /* 1: it has run once without capture, so that libraries have loaded what they need */
    dt_device_graph once;         /* of one step; that of a step in parts is with the tape of its first part */
    dt_device_graph unrolled;     /* of DT_STEPS_TOGETHER steps */
    dt_update update;             /* with this tape's quantizers */
    const dt_node **quantizer;    /* owned; the nodes whose backward is deferred to the update */
    const dt_node **freezing;     /* owned; the nodes whose weights may freeze; NULL: none may */
    dt_bucket bucket[DT_BUCKETS]; /* [n_buckets]; none where this rank is alone */
    int n_buckets;
} dt_step_tape;

/* Values that a weight has beside it if it may freeze: turns, mean and last of dt_update_freeze. */
enum { DT_FREEZE_STATES = 3 };

/* Tapes of a trainer: one for full batches, and up to four for the parts of an epoch's last batch. */
enum { DT_STEP_TAPES = 5 };

struct dt_trainer {
    dt_model *model;
    dt_train_config config;
    int64_t n_images;
    dt_data_origin origin; /* of its dataset; each run makes it the model's origin */
    dt_device_data data;   /* the dataset, and the order of epoch order_epoch */
    dt_record_spec spec;
    dt_step_tape tape[DT_STEP_TAPES]; /* [n_tapes]; that of full batches is the first */
    int n_tapes;
    int accumulate;       /* parts that this rank computes of each step, >= 1 */
    float *part_sum;      /* [n_trained] in device memory: gradients of the parts so far; NULL for one part */
    dt_step_in *queue;    /* [DT_STEPS_TOGETHER][accumulate] in device memory: what the parts of the next steps read */
    dt_step_in *to_queue; /* the same in host memory, where it is made */
    double *shared;       /* [DT_STEP_SUMS + n_state] in device memory: what ranks bring together in each step */
    float *mean;          /* [n_trained] in device memory: the mean of the parameters; NULL: none is kept */
    float *freeze;        /* [DT_FREEZE_STATES][n_trained] in device memory: dt_update_freeze; NULL: none freezes */
    float *set_aside;     /* [n_trained + n_state] in host memory: those of training, while the mean is in use */
    dt_tensor teacher;    /* f32 in device memory: a teacher's scores of all images, or of a batch; no data: none */
    dt_model *teaches;    /* held; the teacher that looks at each batch; NULL: there is none */
    int is_taught;        /* 1: one of dt_trainer_teach and dt_trainer_teach_by was called */
    float *m1, *m2;       /* [n_trained] in device memory: the optimiser's state; m2 is NULL for SGD */
    dt_update update;     /* without quantizers; each tape has a copy with its own */
    dt_update_range *range;  /* [update.n_ranges] in host memory */
    dt_update_shares shares; /* of the update that ranks share; no buckets: each makes the whole of it */
    int64_t *share_at;       /* owned; shares.at */
    int is_apart;            /* 1: m1 and m2 are this rank's in its shares alone */
    int64_t step;            /* steps done since the run began, which is the whole position */
    dt_metrics recent;       /* the newest that dt_trainer_recent has received */
    int is_peeking;          /* 1: dt_trainer_recent has asked the device for newer ones */
    int order_epoch;         /* -1: data.order is not set yet */
    double data_seconds;     /* host time spent on what steps read: dt_trainer_data_seconds */
};

/* Records the tape of a part, neither fused nor compiled, and opens its lesson, which must stay where it is as long as
 * the tape is used. */
DT_MUST_CHECK dt_status dt_trainer_record(dt_trainer *t, const dt_part *part, dt_lesson *lesson, dt_tape **tape,
                                          dt_tensor **loss);
/* Returns the number of images of the step that follows after `step` steps, on all ranks. */
int dt_trainer_step_images(const dt_trainer *t, int64_t step);

/* ---- steps in parts (trainer_parts.c) ---- */

/* DT_ERR_ARGUMENT if n images cannot be shared in batches as the configuration says, by all ranks of the context. */
DT_MUST_CHECK dt_status dt_parts_check(const dt_context *ctx, const dt_train_config *cfg, int64_t n);
/* Returns part i of this rank, 0..accumulate-1, of a step of so many images. */
dt_part dt_trainer_part(const dt_trainer *t, int step_images, int i);
/* Returns the part of the next step that one rank alone would compute first. */
dt_part dt_trainer_whole(const dt_trainer *t);
/* Returns the tape of a part, or NULL if there is none yet. */
dt_step_tape *dt_trainer_tape(dt_trainer *t, const dt_part *part);
/* Launches the forward passes alone of step number i of the queue, of so many images, with their sums over ranks. */
DT_MUST_CHECK dt_status dt_trainer_launch_forward(dt_trainer *t, int step_images, int i);
/* Launches step number i of the queue, of so many images: all of this rank's parts, the sums over ranks, the update. */
DT_MUST_CHECK dt_status dt_trainer_launch_step(dt_trainer *t, int step_images, int i);

/* ---- an update that ranks share (trainer_shares.c) ---- */

/* Lets the update of a tape, whose buckets are known, be shared by ranks where the backend does that. */
DT_MUST_CHECK dt_status dt_trainer_share(dt_trainer *t, dt_step_tape *s);
/* Frees what that has made. */
void dt_trainer_unshare(dt_trainer *t);

/* ---- the mean of the parameters (trainer_mean.c) ---- */

/* Allocates the mean where the configuration asks for one, equal to the parameters. */
DT_MUST_CHECK dt_status dt_trainer_mean_open(dt_trainer *t);
/* Frees it. */
void dt_trainer_mean_close(dt_trainer *t);

/* ---- weights that freeze (trainer_freeze.c) ---- */

/* Allocates their state where the configuration lets weights freeze. DT_ERR_UNSUPPORTED: the network's cannot. */
DT_MUST_CHECK dt_status dt_trainer_freeze_open(dt_trainer *t);
/* Frees it. */
void dt_trainer_freeze_close(dt_trainer *t);
/* Tells the update of a tape which quantizers' weights may freeze, and those weights where their turns are. */
DT_MUST_CHECK dt_status dt_trainer_freeze_tape(const dt_trainer *t, dt_step_tape *s);
/* Counts the frozen weights of a quantizer. */
DT_MUST_CHECK dt_status dt_trainer_count_frozen(const dt_trainer *t, const dt_node *quantizer, int64_t *out);

/* ---- a network that teaches (trainer_teacher.c) ---- */

/* Makes room for a teacher's scores where the configuration gives it a share. */
DT_MUST_CHECK dt_status dt_trainer_teacher_open(dt_trainer *t);
/* Frees it, and lets the teacher go. */
void dt_trainer_teacher_close(dt_trainer *t);
/* Sets what the loss of a part reads; it has no tape yet. */
void dt_trainer_lesson_open(const dt_trainer *t, const dt_part *part, dt_lesson *out);
/* Records and compiles the teacher's tape of a part, if a teacher looks at batches. */
DT_MUST_CHECK dt_status dt_trainer_lesson_record(const dt_trainer *t, const dt_part *part, dt_lesson *lesson);
/* Launches that tape: the loss of a part that is launched behind it reads the scores. */
DT_MUST_CHECK dt_status dt_trainer_lesson_give(const dt_trainer *t, const dt_lesson *lesson);
/* Frees the tape. */
void dt_trainer_lesson_close(dt_lesson *lesson);

/* ---- what steps read (trainer_step.c) ---- */

/* Queues what the next n steps read; they are of one epoch. */
DT_MUST_CHECK dt_status dt_trainer_queue(dt_trainer *t, int n);

/* Makes `step` the number of steps done, and restores the epoch's running sums from a checkpoint's `state`. It restores
 * the loss scale too, unless no gradient of this trainer is scaled. */
DT_MUST_CHECK dt_status dt_trainer_seek(dt_trainer *t, int64_t step, const dt_step *state);
/* Reads the running sums, the loss scale and the inputs of the last step from the device. */
DT_MUST_CHECK dt_status dt_trainer_state(const dt_trainer *t, dt_step *out);

/* Runs forward and backward of a part of the next step, of which `first` and `images` count, on a tape that is not
 * fused, and calls hook for each node in forward. No other rank takes part. It leaves the gradients in the parameters'
 * grad. Parameters, running statistics and position stay as they were. */
DT_MUST_CHECK dt_status dt_trainer_observe(dt_trainer *t, const dt_part *part, dt_node_hook hook, void *user);

/* Makes a copy, in host memory, of the real values of a node's input k. The caller frees *out. */
DT_MUST_CHECK dt_status dt_trainer_input(dt_context *ctx, const dt_node *node, int k, float **out);

/* Returns the learning rate of the step that follows after `step` steps. schedule.c has the formulas. */
float dt_schedule_lr(const dt_train_config *cfg, int64_t step, int64_t steps_per_epoch);

/* Writes a permutation of 0..n-1 to order. It depends on seed, epoch and n alone. */
void dt_shuffle(uint64_t seed, uint32_t epoch, int64_t n, int32_t *order);

/* DT_ERR_ARGUMENT names the first member that is out of its range. */
DT_MUST_CHECK dt_status dt_train_config_check(const dt_train_config *c);
/* Sets the configuration of networks that have none of their own. */
void dt_train_config_general(dt_train_config *out);

#endif /* DT_TRAINER_H */
