/*
 * test_flat_filters.c - a network with pruned filters, and with a pruned layer, from training to C: filters whose
 *                       weights are all alike have no deviation to be divided by.
 */
/* clang-format off */
#include "../support/lowered.h" /* before Criterion's newer macros, which temp_files.h brings */
#include "../support/temp_files.h"
/* clang-format on */

enum { N_IMAGES = 40 };

/* All weights of filters first.. of a layer. */
static void flatten(dt_model *m, const char *layer, int64_t first, float value)
{
    dt_param_info info;
    const int i = dt_model_find(m, layer);

    cr_assert(i >= 0, "no parameter %s", layer);
    dt_model_param(m, i, &info);
    float *w = host_param(m, i, NULL);
    for (int64_t k = first * (info.count / info.dim[0]); k < info.count; k++) w[k] = value;
    MUST(dt_model_write(m, i, w));
    free(w);
}

static void check_parameters(dt_model *m, const char *why)
{
    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_param_info info;
        dt_model_param(m, i, &info);
        float *v = host_param(m, i, NULL);
        for (int64_t k = 0; k < info.count; k++) {
            const int is_number = isfinite(v[k]);
            cr_assert(is_number, "%s: %s[%lld] is %g", why, info.name, (long long)k, (double)v[k]);
        }
        free(v);
    }
}

/* Model, grid, array and program agree; the program is the model, and is written as C. */
static void hand_over(dt_model *m, const dt_dataset *d, const char *why)
{
    dt_metrics of_model, of_program;
    dt_program *p;
    dt_model *as_model;
    dt_array array;
    dt_verify_report *report;

    MUST(dt_evaluate(m, d, 16, 0.0f, NULL, NULL, &of_model));
    MUST(dt_program_lower(m, d, &p));
    MUST(dt_program_model(m->ctx, p, NULL, &as_model));
    MUST(dt_evaluate(as_model, d, 16, 0.0f, NULL, NULL, &of_program));
    cr_assert(of_model.loss == of_program.loss && of_model.accuracy == of_program.accuracy, "%s: %g and %g", why,
              of_model.loss, of_program.loss);
    dt_array_default(&array);
    MUST(dt_verify(m, d, 0, 5, NULL, &array, NULL, &report));
    cr_assert(report->mismatches == 0, "%s: %lld of %s", why, (long long)report->mismatches, report->first.layer);
    MUST(dt_program_write_c(p, temp_path("c"), "net"));
    dt_verify_report_destroy(report);
    dt_model_destroy(as_model);
    dt_program_destroy(p);
}

static void run(const tiny_options *o, int64_t first, float value)
{
    char why[80];
    tiny_run r;

    snprintf(why, sizeof why, "rule %d, per channel %d, filters %d.. of %g", (int)o->model.rule, o->model.per_channel,
             (int)first, (double)value);
    cr_assert(tiny_open(&r, o));
    flatten(r.model, "features.4.weight", first, value);
    tiny_steps(&r, 4);
    check_parameters(r.model, why);
    hand_over(r.model, r.data, why);
    tiny_close(&r);
}

TestSuite(flat_filters, .init = temp_make, .fini = temp_remove);

Test(flat_filters, train_and_are_handed_over)
{
    static const dt_quant_rule rules[] = { DT_RULE_ECE284, DT_RULE_APOT, DT_RULE_SCREAM, DT_RULE_PACT };
    tiny_options o = tiny_defaults();

    o.images = N_IMAGES;
    o.train.batch = 16;
    for (int i = 0; i < 8; i++) {
        o.model.rule = rules[i % 4];
        o.model.per_channel = i / 4;
        o.context.precision = i % 2 ? DT_PRECISION_MIXED : DT_PRECISION_F32;
        run(&o, o.model.per_channel ? 6 : 0, i % 3 ? 0.0f : 0.1f); /* of 8 filters */
    }
}
