/*
 * settings_default.c - what options are that the command line does not give. Interface: settings.h.
 */
#include "settings.h"

dt_status settings_default(settings *out)
{
    dt_options device;

    dt_options_default(&device);
    *out = (settings){ .dataset = "cifar10",
                       .precision = (int)device.precision,
                       .seed = device.seed,
                       .eval_every = 1,
                       .ranks = 1,
                       .repeat = 1,
                       .timeout = 120,
                       .jobs = 1,
                       .gpus = -1,
                       .sweep_index = -1,
                       .index = "0:1",
                       .io = -1,
                       .style = -1,
                       .opset = 13,
                       .images = 100,
                       .profile = -1,
                       .calibrate_images = 100,
                       .held_out = 1000,
                       .rounding_steps = 1000,
                       .quantize = { .percent = 99.99f, .wbits = 8, .abits = 8 },
                       .report_size = -1,
                       .study_jobs = 2,
                       .study_windows = "synthetic-windows",
                       .study_beats = "synthetic-beats",
                       .study_models = "models",
                       .prune = { .share = 0.5f },
                       .extraction = { .bias_bits = 31 },
                       .top_k = 5,
                       .header_lines = DT_HEADER_OF_LAYOUT,
                       .name = "network",
                       .max_trials = 30,
                       .trial_epochs = 1,
                       .trial_patience = -1,
                       .bops_share = 0.7f,
                       .tuner = DT_TUNER_TPE,
                       .cache_mib = 1024,
                       .tune_size = 5000 };
    DT_TRY(dt_model_config_default("vgg16", &out->model));
    dt_train_config_default(NULL, &out->train);
    dt_array_default(&out->array);
    dt_qcaps_options_default(&out->qcaps);
    return DT_OK;
}

void settings_free(settings *s)
{
    cJSON_Delete(s->saved);
    cJSON_Delete(s->base);
    s->saved = s->base = NULL;
}
