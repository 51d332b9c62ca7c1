/*
 * test_report.c - the report of quantizers, and the first values of learned steps.
 */
#include "../../core/arith/grid.h"
#include "../support/tiny_run.h"

#include <math.h>

Test(report, reports_what_the_quantizers_do)
{
    const tiny_options o = tiny_defaults();
    const float small = 0.05f;
    dt_quant_report report[3];
    tiny_run r;
    cr_assert(tiny_open(&r, &o));
    cr_assert(dt_trainer_n_quantizers(r.trainer) == 3);
    MUST(dt_trainer_report(r.trainer, report));
    cr_assert(strcmp(report[0].name, "features.0") == 0 && strcmp(report[1].name, "features.4") == 0);
    cr_assert(report[0].fixed && report[0].alpha == 3.2f && report[0].clip_rate == 0.0 && report[0].d_alpha == 0.0);
    cr_assert(!report[1].fixed && report[1].alpha == 8.0f, "alpha %g", (double)report[1].alpha);
    cr_assert(report[1].clip_rate == 0.0 && report[1].d_alpha == 0.0, "normalised values do not reach 8");
    MUST(dt_model_write(r.model, tiny_index(&r, "features.4.act_alpha"), &small));
    MUST(dt_trainer_report(r.trainer, report));
    cr_assert(report[1].alpha == small && report[1].d_alpha != 0.0, "d_alpha %g", report[1].d_alpha);
    /* max of 4 of about normal values: nearly all are above 0.05 */
    cr_assert(report[1].clip_rate > 0.5 && report[1].clip_rate <= 1.0, "clip rate %g", report[1].clip_rate);
    tiny_close(&r);
}

/* Values of about 1 use all codes of a clip that is below the largest of them, and one of a clip that is far above. */
Test(report, counts_the_codes_that_occur)
{
    const tiny_options o = tiny_defaults();
    const float near = 0.5f, far = 1e6f;
    dt_quant_report report[3];
    tiny_run r;

    cr_assert(tiny_open(&r, &o));
    MUST(dt_model_write(r.model, tiny_index(&r, "features.4.act_alpha"), &near));
    MUST(dt_trainer_report(r.trainer, report));
    cr_assert(report[0].n_codes == 255 && report[0].n_codes_used > 16 && report[0].n_codes_used < 255,
              "%d of %d codes of the image", report[0].n_codes_used, report[0].n_codes);
    cr_assert(report[1].n_codes == 16 && report[1].n_codes_used == 16, "%d of %d", report[1].n_codes_used,
              report[1].n_codes);
    MUST(dt_model_write(r.model, tiny_index(&r, "features.4.act_alpha"), &far));
    MUST(dt_trainer_report(r.trainer, report));
    cr_assert(report[1].n_codes == 16 && report[1].n_codes_used == 1, "%d of %d", report[1].n_codes_used,
              report[1].n_codes);
    tiny_close(&r);
}

typedef struct {
    tiny_run *run;
    double want[3]; /* 2 mean|x| / sqrt(Qp) of each quantizer's input */
    int n;
} step_watch;

static dt_status watch_inputs(void *user, const dt_node *node)
{
    step_watch *watch = user;
    const int64_t n = dt_count(&node->in[0]->shape);
    double sum = 0.0;
    if (node->kind != DT_OP_ACT_QUANT) return DT_OK;
    float *x = host_floats(watch->run->ctx, node->in[0]->data, n);
    const dt_tensor *in = node->in[0];
    for (int64_t i = 0; i < n; i++)
        sum += fabs((double)x[i] * (in->n_scale ? (double)in->scale[i % in->n_scale] : 1.0));
    free(x);
    watch->want[watch->n++] = 2.0 * sum / (double)n / sqrt((double)node->out->qmax);
    return DT_OK;
}

/* The quantizer of filters has the step that its filters ask for. */
static void check_weight_step(const tiny_run *r, const char *alpha, const char *weight)
{
    int64_t n;
    float *step = tiny_param(r, tiny_index(r, alpha), &n), *w = tiny_param(r, tiny_index(r, weight), &n);
    dt_model_info is;
    double sum = 0.0;

    dt_model_look(r->model, &is);
    for (int64_t i = 0; i < n; i++) sum += fabs((double)w[i]);
    const double wanted = 2.0 * sum / (double)n / sqrt((double)dt_weight_high(is.wbits_most));
    cr_assert(fabs((double)step[0] - wanted) <= 1e-6 * wanted, "%s is %g, expected %g", alpha, (double)step[0], wanted);
    free(w);
    free(step);
}

Test(report, calibration_sets_learned_steps_from_a_batch)
{
    tiny_options o = tiny_defaults();
    tiny_run r;
    int64_t n;
    o.model.rule = DT_RULE_LSQ;
    cr_assert(tiny_open(&r, &o));
    MUST(dt_trainer_calibrate(r.trainer));
    step_watch watch = { .run = &r };
    const dt_part whole = dt_trainer_whole(r.trainer);
    MUST(dt_trainer_observe(r.trainer, &whole, watch_inputs, &watch));
    float *step = tiny_param(&r, tiny_index(&r, "features.4.act_alpha"), &n);
    float *image = tiny_param(&r, tiny_index(&r, "features.0.act_alpha"), &n);
    float *psum = tiny_param(&r, tiny_index(&r, "features.8.act_alpha"), &n); /* its input is on the grid */
    cr_assert(watch.n == 3 && fabs((double)step[0] - watch.want[1]) <= 1e-6 * watch.want[1], "step %g, expected %g",
              (double)step[0], watch.want[1]);
    cr_assert(fabs((double)psum[0] - watch.want[2]) <= 1e-6 * watch.want[2], "step %g, expected %g", (double)psum[0],
              watch.want[2]);
    cr_assert(image[0] == 3.2f, "the image's clip is fixed, not %g", (double)image[0]);
    check_weight_step(&r, "features.4.weight_quant.wgt_alpha", "features.4.weight");
    tiny_steps(&r, 1);
    cr_assert(dt_trainer_calibrate(r.trainer) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "1 are done") != NULL, "%s", dt_last_error());
    free(step);
    free(psum);
    free(image);
    tiny_close(&r);
}

Test(report, calibration_does_nothing_to_clips)
{
    const tiny_options o = tiny_defaults();
    tiny_run a, b;
    cr_assert(tiny_open(&a, &o) && tiny_open(&b, &o));
    MUST(dt_trainer_calibrate(b.trainer));
    tiny_same_params(&a, &b, "calibrated");
    tiny_close(&a);
    tiny_close(&b);
}
