/*
 * test_model_values.c - parameters that are no numbers, clips and variances out of their range: refused by name before
 *                       a quantizer makes plausible codes of them, in memory, in files and in training.
 */
/* clang-format off */
#include "../support/tiny_run.h" /* before Criterion's newer macros, which temp_files.h brings */
#include "../support/temp_files.h"
/* clang-format on */

#include <math.h>

/* What must not be, where, and the words that name it. */
static const struct {
    const char *param;
    int64_t at; /* in the model */
    float value;
    const char *text;
} bad[] = {
    { "features.4.weight", 5, NAN, "features.4.weight[45] is nan, expected a finite number" }, /* K,C,R,S in files */
    { "features.4.weight", 575, -INFINITY, "features.4.weight[575] is -inf" },
    { "features.1.weight", 0, INFINITY, "features.1.weight[0] is inf" },
    { "classifier.bias", 3, NAN, "classifier.bias[3] is nan" },
    { "features.4.act_alpha", 0, NAN, "features.4.act_alpha is nan" },
    { "features.4.act_alpha", 0, -1.0f, "features.4.act_alpha is -1, expected a number above 0" },
    { "features.4.weight_quant.wgt_alpha", 0, 0.0f, "features.4.weight_quant.wgt_alpha is 0, expected" },
    { "features.0.act_alpha", 0, -3.2f, "features.0.act_alpha is -3.2, expected a number above 0" }, /* not trained */
    { "features.1.running_var", 2, -1.0f, "features.1.running_var[2] is -1, expected 0 or more" },
    { "features.1.running_mean", 7, NAN, "features.1.running_mean[7] is nan" },
};
enum { N_BAD = sizeof bad / sizeof bad[0] };

static tiny_run run;

static void values_open(void)
{
    tiny_options o = tiny_defaults();

    temp_make();
    o.images = 40;
    o.train.batch = 16;
    cr_assert(tiny_open(&run, &o));
    tiny_steps(&run, 1);
}

static void values_close(void)
{
    tiny_close(&run);
    temp_remove();
}

TestSuite(model_values, .init = values_open, .fini = values_close);

/* Returns what was there. */
static float replace(dt_model *m, const char *param, int64_t at, float value)
{
    const int i = dt_model_find(m, param);

    cr_assert(i >= 0, "no parameter %s", param);
    float *v = host_param(m, i, NULL);
    const float before = v[at];
    v[at] = value;
    MUST(dt_model_write(m, i, v));
    free(v);
    return before;
}

static void refused(dt_status status, const char *what, const char *text)
{
    const int is_named = strstr(dt_last_error(), text) != NULL;
    cr_assert(status == DT_ERR_NUMERIC && is_named, "%s: expected '%s', got %s: %s", what, text, dt_status_name(status),
              dt_last_error());
}

Test(model_values, nothing_is_computed_from_them)
{
    dt_array array;
    dt_metrics metrics;
    dt_capture *c = NULL;
    dt_program *p = NULL;
    dt_verify_report *report = NULL;

    dt_array_default(&array);
    for (int i = 0; i < N_BAD; i++) {
        const float before = replace(run.model, bad[i].param, bad[i].at, bad[i].value);
        refused(dt_evaluate(run.model, run.data, 16, 0.0f, NULL, NULL, &metrics), "evaluate", bad[i].text);
        refused(dt_capture_layer(run.model, run.data, 0, 1, "features.4", &c), "capture", bad[i].text);
        refused(dt_program_lower(run.model, run.data, &p), "lower", bad[i].text);
        refused(dt_verify(run.model, run.data, 0, 1, NULL, &array, NULL, &report), "verify", bad[i].text);
        refused(dt_checkpoint_save(run.trainer, temp_path("x.safetensors"), NULL), "save", bad[i].text);
        refused(dt_checkpoint_save(run.trainer, temp_path("x.safetensors"), NULL), "save", "after step 1");
        replace(run.model, bad[i].param, bad[i].at, before);
    }
    MUST(dt_evaluate(run.model, run.data, 16, 0.0f, NULL, NULL, &metrics));
    const int exists = access(temp_path("x.safetensors"), F_OK) == 0;
    cr_assert(exists == 0, "a checkpoint of a model that has diverged was written");
}

/* The first place of `from` in the file gets `to`. */
static void patch(const char *path, float from, float to)
{
    static char bytes[1 << 20];
    FILE *file = fopen(path, "r+b");
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    size_t at = 0;

    while (at + sizeof from <= n && memcmp(bytes + at, &from, sizeof from) != 0) at++;
    cr_assert(at + sizeof from <= n, "%s has no %g", path, (double)from);
    fseek(file, (long)at, SEEK_SET);
    fwrite(&to, sizeof to, 1, file);
    fclose(file);
}

static void count_calls(void *user, const char *name, const char *why)
{
    (void)name, (void)why;
    ++*(int *)user;
}

Test(model_values, no_file_brings_them)
{
    const float mark = 0.123456789f;
    int n_loaded, n_skipped = 0;
    dt_model *opened = NULL;
    char path[2 * TEMP_PATH_BYTES];

    snprintf(path, sizeof path, "%s", temp_path("bad.safetensors"));
    for (int i = 0; i < N_BAD; i++) {
        const float before = replace(run.model, bad[i].param, bad[i].at, mark);
        MUST(dt_checkpoint_save(run.trainer, path, NULL));
        patch(path, mark, bad[i].value);
        refused(dt_checkpoint_load(run.model, path), "load", bad[i].text);
        refused(dt_checkpoint_load(run.model, path), "load", "bad.safetensors: ");
        refused(dt_checkpoint_load_partial(run.model, path, count_calls, &n_skipped, &n_loaded), "partial",
                bad[i].text);
        refused(dt_checkpoint_resume(run.trainer, path), "resume", bad[i].text);
        refused(dt_checkpoint_open(run.ctx, path, &opened), "open", bad[i].text);
        cr_assert(replace(run.model, bad[i].param, bad[i].at, before) == mark, "the device was written to");
    }
}

Test(model_values, no_file_brings_bad_moments)
{
    const float mark = 0.123456789f;
    const int i = dt_model_find(run.model, "features.4.weight");
    float *moment = run.trainer->m1 + run.model->param[i]->first;

    MUST(dt_device_write(run.ctx, moment, &mark, sizeof mark));
    MUST(dt_checkpoint_save(run.trainer, temp_path("m.safetensors"), NULL));
    patch(temp_path("m.safetensors"), mark, INFINITY);
    refused(dt_checkpoint_resume(run.trainer, temp_path("m.safetensors")), "resume",
            "optimizer.momentum.features.4.weight[0] is inf");
    MUST(dt_device_write(run.ctx, moment, &(float){ NAN }, sizeof(float)));
    refused(dt_checkpoint_save(run.trainer, temp_path("m.safetensors"), NULL), "save",
            "optimizer.momentum.features.4.weight[0] is nan");
}

/* A byte cannot hold a NaN; the scale of the codes does, so that it reaches the loss. */
Test(model_values, training_notices_at_once)
{
    static const dt_quant_rule rules[] = { DT_RULE_ECE284, DT_RULE_APOT, DT_RULE_PACT };

    for (int i = 0; i < 6; i++) {
        tiny_options o = tiny_defaults();
        tiny_run r;
        dt_metrics m;

        o.images = 40;
        o.train.batch = 16;
        o.model.rule = rules[i / 2];
        o.context.precision = i % 2 ? DT_PRECISION_MIXED : DT_PRECISION_F32;
        cr_assert(tiny_open(&r, &o));
        tiny_steps(&r, 1);
        replace(r.model, "features.4.weight", 5, NAN);
        tiny_steps(&r, 1);
        refused(dt_trainer_metrics(r.trainer, &m), "metrics", "after step 2");
        refused(dt_trainer_metrics(r.trainer, &m), "metrics", " is nan");
        tiny_close(&r);
    }
}

/* Finite parameters, and scores beyond f32. */
Test(model_values, a_loss_that_is_no_number_is_no_result)
{
    dt_metrics m;

    for (int i = 0; i < 80; i++) replace(run.model, "classifier.weight", i, i % 2 ? 3e38f : -3e38f);
    refused(dt_evaluate(run.model, run.data, 16, 0.0f, NULL, NULL, &m), "evaluate", "the loss of");
}
