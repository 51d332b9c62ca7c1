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
    DT_SCHEDULE_DECAY,
    DT_SCHEDULE_TRIANGULAR,
    DT_SCHEDULE_ONE_CYCLE
} dt_schedule_kind;

/* Where clips and learned steps begin. OWN: steps of LSQ as its authors have them, ranges of affine quantizers at the
 * least and the largest value of the first batch, and all others FIXED. FIXED: as the network, or the file of --init,
 * has them. MSE: where the squared error of the first batch, or of the weights, is least. PERCENTILE: at a percentile
 * of their magnitudes. */
typedef enum { DT_START_CLIPS_OWN, DT_START_CLIPS_FIXED, DT_START_CLIPS_MSE, DT_START_CLIPS_PERCENTILE } dt_start_clips;

/* RANDOM: each epoch draws anew which images it mirrors. ALTERNATING: an image is mirrored in every other epoch. */
typedef enum { DT_FLIP_RANDOM, DT_FLIP_ALTERNATING } dt_flip_kind;

/* What a teacher's scores are of. ORIGINALS: the training images as they are, known before the run. AUGMENTED: the
 * images of each batch as the network that learns sees them, so that the teacher computes beside each step. */
typedef enum { DT_TEACHER_ORIGINALS, DT_TEACHER_AUGMENTED } dt_teacher_sees;

typedef struct {
    int batch;
    int epochs;
    dt_optim_kind optim;
    float lr;
    float momentum;              /* SGD */
    float beta1, beta2, epsilon; /* Adam */
    float weight_decay;
    float alpha_lr;    /* factor on lr for alphas */
    float alpha_decay; /* weight decay of alphas */
    dt_schedule_kind schedule;
    int step_epochs[2]; /* STEP: lr is multiplied by gamma when these epochs begin */
    float gamma;        /* factor on lr; EXPONENTIAL applies it each epoch */
    int decay_steps;    /* DECAY: lr * decay_rate^(steps done / decay_steps), a real exponent */
    float decay_rate;
    float warmup;           /* epochs, or a part of one, in which the rate rises linearly to the schedule's; 0: none */
    float peak;             /* TRIANGULAR, ONE_CYCLE: share of the run's steps after which the rate is lr, 0..1 */
    float lr_begin, lr_end; /* TRIANGULAR, ONE_CYCLE: factors on lr at the begin and at the end */
    int extend;             /* epochs behind the planned `epochs`; 0: none */
    float extend_lr; /* factor on lr when those begin, of the schedules that have an end; the rate falls as a cosine */
    dt_start_clips start_clips; /* what dt_trainer_calibrate does */
    float clip_percent;         /* PERCENTILE: this share of the magnitudes is not clipped, in percent, 50..100 */
    /* > 0: the trainer keeps an exponential mean of the parameters, of which this share stays at each step; a run's
     * first steps let less stay, min(ema, (1 + t) / (10 + t)) of step t = 0, 1, ... */
    float ema;
    float ewgs; /* scales the gradient g of a weight to g * (1 + ewgs * sign(g) * (x - code)), with x in steps */
    float ewgs_activations; /* the same for gradients of activations, within the clip */
    float dampen; /* pulls weights towards their codes' values: the loss gets dampen / 2 * (weight - its code)^2 */
    /* > 0: a weight whose code goes back and forth keeps its code to the end, once the share of steps in which the code
     * turns back, a mean of which freeze_momentum is new at each step, is above this */
    float freeze, freeze_momentum;
    float teacher_share;       /* share of the loss that compares with a teacher's scores, 0..1 */
    float teacher_temperature; /* by which both scores are divided for that, > 0 */
    dt_teacher_sees teacher_sees;
    float label_smoothing;
    int crop_pad;     /* pixels of zero padding on each side before a random crop, 0..16; 0: no crop */
    int shift;        /* images move by round(U(-shift, shift)) pixels along each axis, 0..16; 0 fills the gap */
    float rotation;   /* images turn by U(-rotation, rotation) degrees, 0..45, to the nearest pixel; 0 fills the gaps */
    float flip_share; /* share of the images that are mirrored, 0..1; ALTERNATING: in even epochs; others in odd ones */
    dt_flip_kind flip_kind;
    int cutout;       /* pixels of a side of the square that becomes the mean colour, 0..64; 0: none */
    float brightness; /* pixels times U(1 - brightness, 1 + brightness), at most white; 0..1 */
    float contrast;   /* distance from the mean colour times U(1 - contrast, 1 + contrast), 0..1 */
    /* `batch` is that of all ranks together. Each rank computes its share in so many parts, one after the other, and
     * the parameters change when all are done. 0 stands for 1. */
    int accumulate;
    int sync_bn; /* 1: batch statistics are those of all ranks' parts; 0: each part has its own */
    /* The rest is for capsule networks alone. */
    float regularization_scale; /* factor on the reconstruction loss */
    int hard_training;          /* 1: the last floor(epochs / 2) epochs take the margins of hard training */
} dt_train_config;

/* One activation quantizer, as the training report prints it. */
typedef struct {
    char name[DT_NAME_MAX + 1]; /* the layer's, such as "features.27" */
    float alpha;
    double clip_rate;          /* share of the inputs beyond the clip */
    double d_alpha;            /* gradient of alpha */
    int fixed;                 /* 1: alpha is not trained, as in the quantizer of an image with input_bits */
    int n_codes, n_codes_used; /* codes of the grid, and those that occur in the batch */
} dt_quant_report;

/* Sets the training configuration of the network of that name. NULL: one that is good for most networks. */
DT_API void dt_train_config_default(const char *network, dt_train_config *out);
/* Adapts both configurations to a data set. A capsule network gets the size of images, the decoder and the published
 * augmentation. No network gets mirror images of digits, or any augmentation of what may be no pictures. A name that is
 * not known changes nothing. */
DT_API void dt_config_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train);
/* Chooses a decoder that makes images of the model's size, if the chosen one makes others. */
DT_API void dt_config_for_input(dt_model_config *model);
/* Sets both configurations to those of a recipe (recipe.h); "w4a4" and "w4a2" are VGG16's best ones. DT_ERR_ARGUMENT:
 * there is no recipe of that name. */
DT_API DT_MUST_CHECK dt_status dt_train_recipe(const char *recipe, dt_model_config *model, dt_train_config *train);
/* Makes a trainer of m on the images of d, which it copies to the device. DT_ERR_ARGUMENT: a member of cfg is out of
 * its range. DT_ERR_SHAPE: the images do not fit the model. */
DT_API DT_MUST_CHECK dt_status dt_trainer_create(dt_model *m, const dt_dataset *d, const dt_train_config *cfg,
                                                 dt_trainer **out);
DT_API void dt_trainer_destroy(dt_trainer *t);
DT_API const dt_train_config *dt_trainer_get_config(const dt_trainer *t);
DT_API dt_model *dt_trainer_model(const dt_trainer *t);

/* Sets alphas from the weights and one batch, as the configuration's start_clips says, and every range of affine
 * quantizers that has its first values still and is not fixed. Call it before the first step. */
DT_API DT_MUST_CHECK dt_status dt_trainer_calibrate(dt_trainer *t);
/* Makes most filters of the first convolution such that they whiten the training images (core/train/whiten.c). Call it
 * before the first step, and before dt_trainer_calibrate. DT_ERR_UNSUPPORTED: no convolution reads the image itself, or
 * its filters are too few or too large. */
DT_API DT_MUST_CHECK dt_status dt_trainer_whiten(dt_trainer *t);
/* Gives all ranks of the context what rank 0 has: parameters, statistics, the optimiser's state and the position. Every
 * rank calls it before the first step, and so it does dt_trainer_step, dt_trainer_run and dt_evaluate. */
DT_API DT_MUST_CHECK dt_status dt_trainer_broadcast(dt_trainer *t);
/* Brings together what ranks have apart, which on CPUs is the optimiser's state: each rank has that of the parameters
 * which it updates. Every rank calls it before one of them saves. */
DT_API DT_MUST_CHECK dt_status dt_trainer_gather(dt_trainer *t);
/* DT_ERR_COMM if a rank of the context has other parameters than rank 0. Every rank calls it. */
DT_API DT_MUST_CHECK dt_status dt_trainer_agree(dt_trainer *t);
/* Runs one step. */
DT_API DT_MUST_CHECK dt_status dt_trainer_step(dt_trainer *t);
/* Runs n steps, with the bits of n calls of dt_trainer_step. A GPU then waits for the host less often. */
DT_API DT_MUST_CHECK dt_status dt_trainer_run(dt_trainer *t, int64_t n);
/* DT_ERR_NUMERIC if training has diverged: a parameter is not finite, a clip is not above 0, or a variance is below 0.
 * The message names the step and the first such value. dt_checkpoint_save refuses such a model, too. It waits for the
 * device. */
DT_API DT_MUST_CHECK dt_status dt_trainer_check_values(const dt_trainer *t);
/* Computes the mean loss and the accuracy since the epoch began. It waits for the device. DT_ERR_NUMERIC: the loss is
 * not finite. */
DT_API DT_MUST_CHECK dt_status dt_trainer_metrics(dt_trainer *t, dt_metrics *out);
/* Gives the same without waiting for the device, as they were after a step that is already done. All are 0 as long as
 * no metrics have arrived. */
DT_API DT_MUST_CHECK dt_status dt_trainer_recent(dt_trainer *t, dt_metrics *out);
/* Returns the most steps that dt_trainer_run gives the device in one call: 1, or more on a GPU. */
DT_API int dt_trainer_steps_together(const dt_trainer *t);
DT_API int64_t dt_trainer_steps_done(const dt_trainer *t);
DT_API int64_t dt_trainer_steps_per_epoch(const dt_trainer *t);
/* Returns the number of epochs that are completed. */
DT_API int dt_trainer_epoch(const dt_trainer *t);
/* Returns the learning rate of the next step. */
DT_API float dt_trainer_lr(const dt_trainer *t);
/* Returns the learning rate of the last step that was done, or that of the first step if none was. */
DT_API float dt_trainer_last_lr(const dt_trainer *t);
/* Returns the time in seconds that the host has spent so far on what steps read: each epoch's order of images, and each
 * step's position, learning rate and seed. Images lie in device memory, and kernels of the step augment them. */
DT_API double dt_trainer_data_seconds(const dt_trainer *t);
/* Returns the number of activation quantizers. */
DT_API int dt_trainer_n_quantizers(const dt_trainer *t);
/* Reports on each quantizer: out is [dt_trainer_n_quantizers]. It looks at the next batch, of several ranks at this
 * one's part of it, and leaves the run as it was. */
DT_API DT_MUST_CHECK dt_status dt_trainer_report(dt_trainer *t, dt_quant_report *out);
/* How often the weights of a layer go back and forth between codes. */
typedef struct {
    char name[DT_NAME_MAX + 1]; /* the layer's */
    int64_t n_weights;
    int64_t n_oscillating;     /* weights whose code went one way and came back */
    int64_t n_frozen;          /* weights that keep their code to the end; they do not oscillate */
    int n_codes, n_codes_used; /* codes of the grid, and those that weights have before these steps */
} dt_oscillation_report;

/* Returns the number of layers whose weights are quantized on their own. */
DT_API int dt_trainer_n_weight_quantizers(const dt_trainer *t);
/* Counts the weights that oscillate: out is [dt_trainer_n_weight_quantizers]. It takes so many steps from the begin of
 * the epoch that was the last to end, looks at the codes after each of them, and leaves the run as it was. */
DT_API DT_MUST_CHECK dt_status dt_trainer_oscillations(dt_trainer *t, int steps, dt_oscillation_report *out);
/* Gives the trainer a teacher's scores of its images, [n][classes], in the dataset's order, in host memory. Call it
 * before the first step; a trainer whose teacher_share is above 0 and whose teacher sees the originals needs it. */
DT_API DT_MUST_CHECK dt_status dt_trainer_teach(dt_trainer *t, const float *scores);
/* Gives the trainer a teacher that looks at each batch; it has the trainer's context, and its parameters stay. Call it
 * before the first step; a trainer whose teacher_share is above 0 and whose teacher sees augmented images needs it. The
 * teacher may be destroyed then: the trainer holds it. */
DT_API DT_MUST_CHECK dt_status dt_trainer_teach_by(dt_trainer *t, dt_model *teacher);
/* Puts the mean of the parameters (ema) into the model, and takes the running statistics of its batch norms anew, from
 * up to `batches` batches of this epoch, while its parameters, and so its integers, stay. Until
 * dt_trainer_end_mean is called, no step may be taken. */
DT_API DT_MUST_CHECK dt_status dt_trainer_begin_mean(dt_trainer *t, int batches);
/* Puts the parameters and statistics of training back. */
DT_API DT_MUST_CHECK dt_status dt_trainer_end_mean(dt_trainer *t);
/* Returns the epochs of the run: the planned ones, and those of its extension. */
DT_API int dt_train_epochs(const dt_train_config *cfg);
/* Returns the bytes of device memory that the trainer's context uses. */
DT_API size_t dt_trainer_bytes(const dt_trainer *t);

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_optim_names[3];
DT_API extern const char *const dt_schedule_names[8];
DT_API extern const char *const dt_start_clips_names[5];
DT_API extern const char *const dt_flip_names[3];
DT_API extern const char *const dt_teacher_sees_names[3];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_TRAIN_H */
