/*
 * train_config.c - the configuration of training: its general defaults, and the ranges of its members.
 */
#include "../names.h"
#include "trainer.h"

#include <math.h>

void dt_train_config_general(dt_train_config *out)
{
    *out = (dt_train_config){ .batch = 128,
                              .epochs = 10,
                              .optim = DT_OPTIM_SGD,
                              .lr = 1e-2f,
                              .momentum = 0.9f,
                              .beta1 = 0.9f,
                              .beta2 = 0.999f,
                              .epsilon = 1e-8f,
                              .weight_decay = 1e-5f,
                              .alpha_lr = 0.1f,
                              .alpha_decay = 0.0f,
                              .schedule = DT_SCHEDULE_COSINE,
                              .step_epochs = { 150, 225 },
                              .gamma = 0.1f,
                              .decay_steps = 2000,
                              .decay_rate = 0.96f,
                              .peak = 0.3f,
                              .lr_begin = 0.04f,
                              .extend_lr = 0.1f,
                              .clip_percent = 99.9f,
                              .freeze_momentum = 0.01f,
                              .teacher_temperature = 4.0f,
                              .label_smoothing = 0.1f,
                              .crop_pad = 4,
                              .flip_share = 0.5f,
                              .accumulate = 1 };
}

static dt_status schedule_check(const dt_train_config *c)
{
    DT_CHECK(c->warmup >= 0.0f && isfinite(c->warmup), DT_ERR_ARGUMENT, "warmup is %g epochs, must not be negative",
             (double)c->warmup);
    DT_CHECK(c->peak >= 0.0f && c->peak <= 1.0f, DT_ERR_ARGUMENT, "peak is %g, allowed are 0..1", (double)c->peak);
    DT_CHECK(c->lr_begin >= 0.0f && c->lr_begin <= 1.0f && c->lr_end >= 0.0f && c->lr_end <= 1.0f, DT_ERR_ARGUMENT,
             "lr_begin is %g and lr_end %g, allowed are 0..1", (double)c->lr_begin, (double)c->lr_end);
    DT_CHECK(c->extend >= 0 && c->extend_lr >= 0.0f && c->extend_lr <= 1.0f, DT_ERR_ARGUMENT,
             "extend is %d epochs at a rate of %g, allowed are 0 or more at 0..1", c->extend, (double)c->extend_lr);
    return DT_OK;
}

static dt_status augmentation_check(const dt_train_config *c)
{
    DT_TRY(dt_check_word("flip_kind", (int)c->flip_kind, dt_flip_names));
    DT_CHECK(c->cutout >= 0 && c->cutout <= 64, DT_ERR_ARGUMENT, "cutout is %d, allowed are 0..64", c->cutout);
    DT_CHECK(c->brightness >= 0.0f && c->brightness <= 1.0f && c->contrast >= 0.0f && c->contrast <= 1.0f,
             DT_ERR_ARGUMENT, "brightness is %g and contrast %g, allowed are 0..1", (double)c->brightness,
             (double)c->contrast);
    return DT_OK;
}

static dt_status means_check(const dt_train_config *c)
{
    DT_TRY(dt_check_word("start_clips", (int)c->start_clips, dt_start_clips_names));
    DT_CHECK(c->start_clips != DT_START_CLIPS_PERCENTILE || (c->clip_percent >= 50.0f && c->clip_percent <= 100.0f),
             DT_ERR_ARGUMENT, "clip_percent is %g, allowed are 50..100", (double)c->clip_percent);
    DT_CHECK(c->ema >= 0.0f && c->ema < 1.0f, DT_ERR_ARGUMENT, "ema is %g, allowed are 0 to below 1", (double)c->ema);
    DT_CHECK(c->ewgs >= 0.0f && c->ewgs <= 1.0f, DT_ERR_ARGUMENT, "ewgs is %g, allowed are 0..1", (double)c->ewgs);
    DT_CHECK(c->ewgs_activations >= 0.0f && c->ewgs_activations <= 1.0f, DT_ERR_ARGUMENT,
             "ewgs_activations is %g, allowed are 0..1", (double)c->ewgs_activations);
    DT_CHECK(c->dampen >= 0.0f && isfinite(c->dampen), DT_ERR_ARGUMENT, "dampen is %g, must not be negative",
             (double)c->dampen);
    DT_CHECK(c->freeze >= 0.0f && c->freeze < 1.0f && c->freeze_momentum > 0.0f && c->freeze_momentum <= 1.0f,
             DT_ERR_ARGUMENT, "freeze is %g and freeze_momentum %g, allowed are 0 to below 1 and above 0 to 1",
             (double)c->freeze, (double)c->freeze_momentum);
    DT_CHECK(c->teacher_share >= 0.0f && c->teacher_share <= 1.0f && c->teacher_temperature > 0.0f, DT_ERR_ARGUMENT,
             "teacher_share is %g and teacher_temperature %g, allowed are 0..1 and above 0", (double)c->teacher_share,
             (double)c->teacher_temperature);
    DT_TRY(dt_check_word("teacher_sees", (int)c->teacher_sees, dt_teacher_sees_names));
    DT_CHECK(c->dampen == 0.0f || c->optim == DT_OPTIM_SGD, DT_ERR_UNSUPPORTED,
             "dampen is %g, and it is a part of sgd's update; train with sgd", (double)c->dampen);
    return DT_OK;
}

dt_status dt_train_config_check(const dt_train_config *c)
{
    DT_TRY(dt_check_word("optim", (int)c->optim, dt_optim_names));
    DT_TRY(dt_check_word("schedule", (int)c->schedule, dt_schedule_names));
    DT_CHECK(c->batch >= 1 && c->batch <= 65536, DT_ERR_ARGUMENT, "batch is %d, allowed are 1..65536", c->batch);
    DT_CHECK(c->accumulate >= 0 && c->accumulate <= 1024, DT_ERR_ARGUMENT, "accumulate is %d, allowed are 1..1024",
             c->accumulate);
    DT_CHECK(c->epochs >= 1, DT_ERR_ARGUMENT, "epochs is %d, at least 1", c->epochs);
    DT_CHECK(c->lr > 0.0f && isfinite(c->lr), DT_ERR_ARGUMENT, "lr is %g, must be above 0", (double)c->lr);
    DT_CHECK(c->momentum >= 0.0f && c->momentum < 1.0f, DT_ERR_ARGUMENT, "momentum is %g, allowed are 0..1",
             (double)c->momentum);
    DT_CHECK(c->weight_decay >= 0.0f && c->alpha_decay >= 0.0f && c->alpha_lr >= 0.0f, DT_ERR_ARGUMENT,
             "weight_decay %g, alpha_decay %g and alpha_lr %g must not be negative", (double)c->weight_decay,
             (double)c->alpha_decay, (double)c->alpha_lr);
    DT_CHECK(c->label_smoothing >= 0.0f && c->label_smoothing < 1.0f, DT_ERR_ARGUMENT,
             "label_smoothing is %g, allowed are 0..1", (double)c->label_smoothing);
    DT_CHECK(c->crop_pad >= 0 && c->crop_pad <= 16, DT_ERR_ARGUMENT, "crop_pad is %d, allowed are 0..16", c->crop_pad);
    DT_CHECK(c->shift >= 0 && c->shift <= 16, DT_ERR_ARGUMENT, "shift is %d, allowed are 0..16", c->shift);
    DT_CHECK(c->rotation >= 0.0f && c->rotation <= 45.0f, DT_ERR_ARGUMENT, "rotation is %g, allowed are 0..45 degrees",
             (double)c->rotation);
    DT_CHECK(c->flip_share >= 0.0f && c->flip_share <= 1.0f, DT_ERR_ARGUMENT, "flip_share is %g, allowed are 0..1",
             (double)c->flip_share);
    DT_TRY(schedule_check(c));
    DT_TRY(augmentation_check(c));
    DT_TRY(means_check(c));
    DT_CHECK(c->decay_steps >= 1, DT_ERR_ARGUMENT, "decay_steps is %d, at least 1", c->decay_steps);
    DT_CHECK(c->decay_rate > 0.0f && c->decay_rate <= 1.0f, DT_ERR_ARGUMENT,
             "decay_rate is %g, must be above 0 and at most 1", (double)c->decay_rate);
    DT_CHECK(c->regularization_scale >= 0.0f && isfinite(c->regularization_scale), DT_ERR_ARGUMENT,
             "regularization_scale is %g, must not be negative", (double)c->regularization_scale);
    return DT_OK;
}

int dt_train_epochs(const dt_train_config *cfg)
{
    return cfg->epochs + cfg->extend;
}
