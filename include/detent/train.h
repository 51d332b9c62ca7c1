/*
 * train.h - training runs.
 */
#ifndef DT_PUBLIC_TRAIN_H
#define DT_PUBLIC_TRAIN_H

#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { DT_OPTIM_SGD, DT_OPTIM_ADAM } dt_optim_kind;
typedef enum {
    DT_SCHEDULE_CONSTANT,
    DT_SCHEDULE_COSINE,
    DT_SCHEDULE_STEP,
    DT_SCHEDULE_EXPONENTIAL,
    DT_SCHEDULE_DECAY
} dt_schedule_kind;

typedef struct {
    int batch;
    int epochs;
    dt_optim_kind optim;
    float lr;
    float momentum;              /* SGD */
    float beta1, beta2, epsilon; /* Adam */
    float weight_decay;
    float alpha_lr;    /* factor on lr for clip alphas */
    float alpha_decay; /* weight decay of clip alphas */
    dt_schedule_kind schedule;
    int step_epochs[2]; /* STEP: lr is multiplied by gamma when these epochs begin */
    float gamma;        /* STEP, EXPONENTIAL (each epoch) */
    int decay_steps;    /* DECAY: lr * decay_rate^(steps done / decay_steps), a real exponent */
    float decay_rate;
    float label_smoothing;
    int crop_pad;     /* pixels of zero padding before a random crop; 0: no crop */
    int shift;        /* moves images by round(U(-shift, shift)) pixels along both axes, filled with 0; 0: not */
    float rotation;   /* turns images by U(-rotation, rotation) degrees, nearest pixel, filled with 0; 0..45; 0: not */
    float flip_share; /* share of images that are mirrored; 0: none */
    /* Capsule networks only. */
    float regularization_scale; /* factor on the reconstruction loss */
    int hard_training;          /* 1: the last epochs / 2 epochs, rounded down, take the margins of hard training */
} dt_train_config;

/* One activation quantizer, as the training report prints it. */
typedef struct {
    char name[DT_NAME_MAX + 1]; /* "features.27" */
    float alpha;
    double clip_rate; /* share of inputs beyond the clip */
    double d_alpha;   /* gradient of alpha */
    int fixed;        /* alpha is not trained: the image quantizer of input_bits */
} dt_quant_report;

/* Those of a network by that name; general ones for NULL. */
DT_API void dt_train_config_default(const char *network, dt_train_config *out);
/* What suits that dataset: for capsule networks the size of images, the decoder, and the published augmentation; for
 * any network no mirror images of digits. Other names change nothing. */
DT_API void dt_config_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train);
/* Chooses the decoder that makes images of the model's size, where the network's is for another. */
DT_API void dt_config_for_input(dt_model_config *model);
DT_API DT_MUST_CHECK dt_status dt_train_recipe(const char *recipe, dt_model_config *model, dt_train_config *train);
DT_API DT_MUST_CHECK dt_status dt_trainer_create(dt_model *m, const dt_dataset *d, const dt_train_config *cfg,
                                                 dt_trainer **out);
DT_API void dt_trainer_destroy(dt_trainer *t);
DT_API const dt_train_config *dt_trainer_get_config(const dt_trainer *t);
DT_API dt_model *dt_trainer_model(const dt_trainer *t);

/* Sets every alpha of an LSQ model from its weights and one batch (no-op for the other rules); before the first step.
 */
DT_API DT_MUST_CHECK dt_status dt_trainer_calibrate(dt_trainer *t);
DT_API DT_MUST_CHECK dt_status dt_trainer_step(dt_trainer *t);
/* n steps: the same as n times dt_trainer_step, for which a GPU needs the host less often. */
DT_API DT_MUST_CHECK dt_status dt_trainer_run(dt_trainer *t, int64_t n);
/* Are all parameters numbers, clips above 0 and variances not below? Else DT_ERR_NUMERIC names the first that is none
 * and the step: training has diverged. Waits for the device. dt_checkpoint_save refuses such a model, too. */
DT_API DT_MUST_CHECK dt_status dt_trainer_check_values(const dt_trainer *t);
/* Mean loss and accuracy since the epoch began. Waits for the device. */
DT_API DT_MUST_CHECK dt_status dt_trainer_metrics(dt_trainer *t, dt_metrics *out);
/* The same without waiting: as of some step that was done already; all 0 before one has been. */
DT_API DT_MUST_CHECK dt_status dt_trainer_recent(dt_trainer *t, dt_metrics *out);
/* Steps that dt_trainer_run gives the device in one call, where that many are left of an epoch: 1, or more on a GPU. */
DT_API int dt_trainer_steps_together(const dt_trainer *t);
DT_API int64_t dt_trainer_steps_done(const dt_trainer *t);
DT_API int64_t dt_trainer_steps_per_epoch(const dt_trainer *t);
DT_API int dt_trainer_epoch(const dt_trainer *t);     /* epochs completed */
DT_API float dt_trainer_lr(const dt_trainer *t);      /* of the next step */
DT_API float dt_trainer_last_lr(const dt_trainer *t); /* of the last step done; before one has been, of the first */
/* Time that the host has spent so far in preparing what steps read: an epoch's order, and each step's place in it, rate
 * and random numbers' seed. Images are in device memory, and a step's own kernels gather and change them. */
DT_API double dt_trainer_data_seconds(const dt_trainer *t);
DT_API int dt_trainer_n_quantizers(const dt_trainer *t);
/* n_quantizers of them, from a look at the next batch that leaves the run as it was. */
DT_API DT_MUST_CHECK dt_status dt_trainer_report(dt_trainer *t, dt_quant_report *out);
DT_API size_t dt_trainer_bytes(const dt_trainer *t); /* device memory in use */

/* Words of the enumerations above, in their order, NULL at the end. */
DT_API extern const char *const dt_optim_names[3];
DT_API extern const char *const dt_schedule_names[6];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_TRAIN_H */
