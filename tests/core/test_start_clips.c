/*
 * test_start_clips.c - where clips and ranges begin: against a search in double that shares no code with the library's,
 * over all values instead of a part of them.
 */
#include "../support/tiny_run.h"

#include <math.h>
#include <stdio.h>

/* A quantizer as the oracle knows it: its values, and the codes that its definition gives. */
typedef struct {
    char name[96];
    double *v; /* [n]; of weights that are standardised, standardised */
    int64_t n;
    int is_weight, low, high, is_lsq;
    double alpha; /* that it has now */
} seen;

typedef struct {
    tiny_run *run;
    seen all[16];
    int n;
} watch;

static void standardise(double *v, int64_t n)
{
    double mean = 0.0, square = 0.0;

    for (int64_t i = 0; i < n; i++) mean += v[i] / (double)n;
    for (int64_t i = 0; i < n; i++) square += (v[i] - mean) * (v[i] - mean);
    for (int64_t i = 0; i < n; i++) v[i] = (v[i] - mean) / sqrt(square / (double)(n - 1));
}

static dt_status look(void *user, const dt_node *node)
{
    watch *w = user;
    const int is_weight = node->kind == DT_OP_WEIGHT_QUANT;
    const dt_tensor *in = node->in[0];

    if ((!is_weight && node->kind != DT_OP_ACT_QUANT) || !node->in[1]->grad) return DT_OK;
    seen *s = &w->all[w->n++];
    const dt_quant_rule rule = is_weight ? ((const dt_weight_quant_params *)node->params)->rule
                                         : ((const dt_act_quant_params *)node->params)->rule;
    *s = (seen){ .n = dt_count(&in->shape), .is_weight = is_weight, .is_lsq = rule == DT_RULE_LSQ };
    s->low = (int)node->out->qmin;
    s->high = (int)node->out->qmax;
    snprintf(s->name, sizeof s->name, "%s", node->name);
    float *x = host_floats(w->run->ctx, in->data, s->n), *alpha = host_floats(w->run->ctx, node->in[1]->data, 1);
    s->v = malloc((size_t)s->n * sizeof *s->v);
    for (int64_t i = 0; i < s->n; i++)
        s->v[i] = (double)x[i] * (in->n_scale ? (double)in->scale[i % in->n_scale] : 1.0);
    if (is_weight && !s->is_lsq) standardise(s->v, s->n);
    s->alpha = (double)*alpha;
    free(x);
    free(alpha);
    return DT_OK;
}

/* Mean squared error of the definition: codes are v / step rounded, limited to low..high. */
static double error_of(const seen *s, double alpha)
{
    const double step = s->is_lsq ? alpha : alpha / s->high;
    double sum = 0.0;

    for (int64_t i = 0; i < s->n; i++) {
        const double code = fmin(fmax(rint(s->v[i] / step), (double)s->low), (double)s->high);
        sum += (s->v[i] - code * step) * (s->v[i] - code * step);
    }
    return sum / (double)s->n;
}

static double largest(const seen *s)
{
    double most = 0.0;

    for (int64_t i = 0; i < s->n; i++) most = fmax(most, fabs(s->v[i]));
    return most;
}

static double least_error(const seen *s)
{
    const double most = largest(s) / (s->is_lsq ? s->high : 1);
    double least = INFINITY;

    for (int i = 1; i <= 400; i++) least = fmin(least, error_of(s, most * i / 400.0));
    return least;
}

/* The run's quantizers after calibration; the caller frees the values. */
static void calibrated(tiny_run *r, watch *w)
{
    *w = (watch){ .run = r };
    MUST(dt_trainer_calibrate(r->trainer));
    const dt_part whole = dt_trainer_whole(r->trainer);
    MUST(dt_trainer_observe(r->trainer, &whole, look, w));
    cr_assert(w->n >= 4, "%d quantizers", w->n);
}

static void forget(watch *w)
{
    for (int i = 0; i < w->n; i++) free(w->all[i].v);
}

static tiny_options with(dt_quant_rule rule, dt_start_clips start)
{
    tiny_options o = tiny_defaults();

    o.model.rule = rule;
    o.model.abits = 2;
    o.model.wbits = 3;
    o.train.start_clips = start;
    return o;
}

Test(start_clips, mse_has_the_least_error)
{
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        const tiny_options o = with((dt_quant_rule)rule, DT_START_CLIPS_MSE);
        tiny_run r;
        watch w;
        cr_assert(tiny_open(&r, &o));
        calibrated(&r, &w);
        for (int i = 0; i < w.n; i++) {
            const double found = error_of(&w.all[i], w.all[i].alpha), least = least_error(&w.all[i]);
            /* a part of the values is looked at, and clips 1/512 of the largest value apart are tried */
            cr_assert(found <= 1.02 * least, "rule %d, %s: alpha %g has the error %g, and %g is possible", rule,
                      w.all[i].name, w.all[i].alpha, found, least);
        }
        forget(&w);
        tiny_close(&r);
    }
}

Test(start_clips, a_percentile_is_not_clipped)
{
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        tiny_options o = with((dt_quant_rule)rule, DT_START_CLIPS_PERCENTILE);
        tiny_run r;
        watch w;
        o.train.clip_percent = 95.0f;
        cr_assert(tiny_open(&r, &o));
        calibrated(&r, &w);
        for (int i = 0; i < w.n; i++) {
            const seen *s = &w.all[i];
            const double clip = s->is_lsq ? s->alpha * s->high : s->alpha;
            int64_t beyond = 0;
            for (int64_t k = 0; k < s->n; k++) beyond += (s->low < 0 ? fabs(s->v[k]) : s->v[k]) > clip * 1.000001;
            const double share = (double)beyond / (double)s->n;
            /* of few weights one is a large share; of a part of many, 6 deviations of 65,536 draws are 0.5 % */
            cr_assert(share <= 0.055 && share >= 0.045 - 2.0 / (double)s->n, "rule %d, %s: %.2f %% lie beyond %g", rule,
                      s->name, 100.0 * share, clip);
        }
        forget(&w);
        tiny_close(&r);
    }
}

Test(start_clips, fixed_leaves_what_the_network_has)
{
    static const dt_quant_rule rules[] = { DT_RULE_ECE284, DT_RULE_LSQ };
    for (int i = 0; i < 2; i++) {
        const tiny_options o = with(rules[i], DT_START_CLIPS_FIXED);
        tiny_run r, as_it_is;
        cr_assert(tiny_open(&r, &o) && tiny_open(&as_it_is, &o));
        MUST(dt_trainer_calibrate(r.trainer));
        tiny_same_params(&r, &as_it_is, "fixed");
        tiny_close(&r);
        tiny_close(&as_it_is);
    }
}

/* With a first clip of 8 none of them has one: tests/core/test_report.c. */
Test(start_clips, no_clip_begins_without_a_gradient)
{
    const tiny_options o = with(DT_RULE_ECE284, DT_START_CLIPS_MSE);
    dt_quant_report report[3];
    tiny_run r;

    cr_assert(tiny_open(&r, &o));
    MUST(dt_trainer_calibrate(r.trainer));
    MUST(dt_trainer_report(r.trainer, report));
    for (int i = 0; i < 3; i++)
        cr_assert(report[i].fixed || report[i].d_alpha != 0.0, "%s has no gradient", report[i].name);
    tiny_close(&r);
}

/* Statistics of batches are sums in another order there. */
Test(start_clips, cuda_begins_where_the_cpu_does)
{
    tiny_options o = with(DT_RULE_SCREAM, DT_START_CLIPS_MSE), cuda = o;
    tiny_run a, b;
    watch x, y;

    cuda.context.backend = "cuda";
    if (!tiny_open(&b, &cuda)) cr_skip("no CUDA here: %s", dt_last_error());
    cr_assert(tiny_open(&a, &o));
    calibrated(&a, &x);
    calibrated(&b, &y);
    for (int i = 0; i < x.n; i++) {
        /* one of the clips that are tried, 1/512 of the largest value apart, of errors that are nearly equal */
        cr_assert(fabs(x.all[i].alpha - y.all[i].alpha) <= 0.01 * x.all[i].alpha, "%s: %g and %g", x.all[i].name,
                  x.all[i].alpha, y.all[i].alpha);
    }
    forget(&x);
    forget(&y);
    tiny_close(&a);
    tiny_close(&b);
}

/* Each filter from its own weights. */
Test(start_clips, a_filter_has_a_clip_of_its_own)
{
    tiny_options o = with(DT_RULE_SCREAM, DT_START_CLIPS_PERCENTILE);
    tiny_run r;
    int64_t n;

    o.model.per_channel = 1;
    o.train.clip_percent = 100.0f;
    cr_assert(tiny_open(&r, &o));
    MUST(dt_trainer_calibrate(r.trainer));
    float *alpha = tiny_param(&r, tiny_index(&r, "features.4.weight_quant.wgt_alpha"), &n);
    int64_t n_w;
    float *w = tiny_param(&r, tiny_index(&r, "features.4.weight"), &n_w);
    for (int64_t k = 0; k < n; k++) {
        const int64_t each = n_w / n;
        double *v = malloc((size_t)each * sizeof *v), most = 0.0;
        for (int64_t i = 0; i < each; i++) v[i] = (double)w[k * each + i];
        standardise(v, each);
        for (int64_t i = 0; i < each; i++) most = fmax(most, fabs(v[i]));
        cr_assert(fabs((double)alpha[k] - most) <= 1e-5 * most, "filter %lld: %g, expected %g", (long long)k,
                  (double)alpha[k], most);
        free(v);
    }
    free(alpha);
    free(w);
    tiny_close(&r);
}

/* Ranges of affine quantizers are narrower than all that the batch holds, and hold 0. */
Test(start_clips, ranges_narrow_too)
{
    tiny_options o = tiny_defaults();
    tiny_run all, narrow;
    int n_narrower = 0;

    o.model.rule = DT_RULE_AFFINE;
    o.model.wbits = o.model.abits = 3;
    cr_assert(tiny_open(&all, &o));
    o.train.start_clips = DT_START_CLIPS_MSE;
    cr_assert(tiny_open(&narrow, &o));
    MUST(dt_trainer_calibrate(all.trainer));
    MUST(dt_trainer_calibrate(narrow.trainer));
    for (int i = 0; i < all.model->n_params; i++) {
        const dt_param *p = all.model->param[i];
        int64_t n;
        if (all.model->graph->value[p->value]->param.init != DT_INIT_ENDS) continue;
        float *a = tiny_param(&all, i, &n), *b = tiny_param(&narrow, i, &n);
        cr_assert(b[0] <= 0.0f && b[1] >= 0.0f && b[1] - b[0] > 0.0f, "%s: %g..%g", p->name, (double)b[0],
                  (double)b[1]);
        n_narrower += b[1] - b[0] < 0.95f * (a[1] - a[0]);
        free(a);
        free(b);
    }
    cr_assert(n_narrower > 0, "no range is narrower with 3 bits");
    tiny_close(&all);
    tiny_close(&narrow);
}
