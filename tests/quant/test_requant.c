/*
 * test_requant.c - multipliers in place of thresholds: the thresholds are the multiplier's own, the report's counts are
 * those of trying every psum, and more bits cost less.
 */
#include "../support/lowered.h"

static dt_model_config config_of(int wbits, int abits, dt_quant_rule rule)
{
    dt_model_config c = lowered_config("tiny", wbits, abits);
    c.rule = rule;
    return c;
}

static int count_passed(const lowered_steps *l, int c, int64_t psum)
{
    int code = l->y.low;
    for (int k = 0; k < l->y.high - l->y.low; k++) {
        code += l->sign[c] * psum >= l->step[(int64_t)k * l->y.channels + c];
    }
    return code;
}

/* Without shifts of negative numbers, in double-wide steps: floor((psum * m + o) / 2^s), clamped. */
static int multiplied(const lowered_steps *l, int c, int64_t psum)
{
    const __int128 sum = (__int128)psum * l->requant.multiplier[c] + l->requant.offset[c];
    const __int128 unit = (__int128)1 << l->requant.shift[c];
    const __int128 floor = sum >= 0 ? sum / unit : -((-sum + unit - 1) / unit);
    return floor < l->y.low ? l->y.low : floor > l->y.high ? l->y.high : (int)floor;
}

/* Adds what one channel contributes to a report. */
static void try_channel(const lowered_steps *exact, const lowered_steps *l, int c, dt_requant_report *report)
{
    const int64_t bound = exact->x.high;
    int64_t differ = 0;
    for (int64_t psum = -bound; psum <= bound; psum++) {
        const int was = count_passed(exact, c, psum), is = multiplied(l, c, psum);
        cr_assert(count_passed(l, c, psum) == is && dt_requant_code(&l->requant, c, psum) == is,
                  "%s: channel %d, psum %lld: thresholds %d, multiplier %d", l->name, c, (long long)psum,
                  count_passed(l, c, psum), is);
        if (abs(is - was) > report->largest_difference) report->largest_difference = abs(is - was);
        differ += is != was;
    }
    report->n_channels++;
    report->n_channels_differ += differ > 0;
    report->n_psums += 2 * bound + 1;
    report->n_psums_differ += differ;
}

/* Of tiny: the layers whose codes come through thresholds. */
static const char *const thresholds[] = { "features.4", "features.8" };

static dt_requant_report check_report(const dt_model_config *c, int bits)
{
    lowered r = lowered_open(c, 1);
    dt_program *exact;
    dt_requant_report report, want = { 0 };
    MUST(dt_program_lower(r.model, r.data, &exact));
    MUST(dt_program_use_multipliers(r.program, bits, &report));
    MUST(dt_program_check(r.program));
    for (int i = 0; i < 2; i++) {
        const lowered_steps was = lowered_threshold(exact, thresholds[i]),
                            is = lowered_threshold(r.program, thresholds[i]);
        for (int k = 0; k < was.y.channels; k++) try_channel(&was, &is, k, &want);
    }
    cr_assert(report.n_channels == want.n_channels && report.n_channels_differ == want.n_channels_differ &&
                  report.n_psums == want.n_psums && report.n_psums_differ == want.n_psums_differ &&
                  report.largest_difference == want.largest_difference,
              "%d bits: %lld of %lld psums in %lld channels by up to %d; by trying: %lld of %lld in %lld by %d", bits,
              (long long)report.n_psums_differ, (long long)report.n_psums, (long long)report.n_channels_differ,
              report.largest_difference, (long long)want.n_psums_differ, (long long)want.n_psums,
              (long long)want.n_channels_differ, want.largest_difference);
    dt_program_destroy(exact);
    lowered_close(&r);
    return report;
}

Test(requant, counts_are_those_of_trying_every_psum)
{
    static const dt_quant_rule rules[] = { DT_RULE_ECE284, DT_RULE_LSQ, DT_RULE_PACT };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        for (int abits = 2; abits <= 8; abits += 3) {
            const dt_model_config c = config_of(4, abits, rules[i]);
            const dt_requant_report r = check_report(&c, 8);
            cr_assert(r.n_channels == 16, "%lld channels", (long long)r.n_channels);
        }
    }
}

Test(requant, eight_bits_differ_and_more_differ_less)
{
    const dt_model_config c = config_of(4, 4, DT_RULE_ECE284);
    const dt_requant_report coarse = check_report(&c, 8), fine = check_report(&c, 16), finest = check_report(&c, 31);
    cr_assert(coarse.n_psums_differ > fine.n_psums_differ && fine.n_psums_differ >= finest.n_psums_differ,
              "%lld, %lld, %lld", (long long)coarse.n_psums_differ, (long long)fine.n_psums_differ,
              (long long)finest.n_psums_differ);
    /* 31 bits: what is left are ties and f32's own roundings, at the edge of a code */
    cr_assert(finest.n_psums_differ < finest.n_psums / 1000 && finest.largest_difference <= 1);
}

/* Every value of a parameter times `factor`. */
static void scale_param(dt_model *m, const char *name, float factor)
{
    const int i = dt_model_find(m, name);
    int64_t n;

    cr_assert(i >= 0, "no parameter %s", name);
    float *v = host_param(m, i, &n);
    for (int64_t k = 0; k < n; k++) v[k] *= factor;
    MUST(dt_model_write(m, i, v));
    free(v);
}

/* Channels so steep that the largest multiplier is too small: `n` of them. Codes go from low to high within one psum,
 * where the multiplier's do, too: it may differ at that psum alone. */
static int check_steep(lowered *r, int bits)
{
    const double most = ldexp(1.0, bits - 1) - 1.0;
    dt_requant_report report;
    dt_program *exact;
    int n = 0;

    MUST(dt_program_lower(r->model, r->data, &exact));
    MUST(dt_program_lower(r->model, r->data, &r->program));
    MUST(dt_program_use_multipliers(r->program, bits, &report));
    MUST(dt_program_check(r->program));
    for (int i = 0; i < 2; i++) {
        const lowered_steps was = lowered_threshold(exact, thresholds[i]),
                            is = lowered_threshold(r->program, thresholds[i]);
        for (int c = 0; c < was.y.channels; c++) {
            dt_requant_report one = { 0 };
            const double slope = fabs((double)was.slope[c] / (double)was.scale);
            if (slope < most + 1.0 || slope < was.y.high - was.y.low) continue;
            try_channel(&was, &is, c, &one);
            cr_assert(one.n_psums_differ <= 1, "%s: channel %d of slope %g: %lld psums differ, by up to %d", was.name,
                      c, slope, (long long)one.n_psums_differ, one.largest_difference);
            n++;
        }
    }
    dt_program_destroy(exact);
    return n;
}

Test(requant, a_multiplier_at_its_limit_keeps_the_step_where_it_is)
{
    static const struct {
        const char *param; /* of the layer's batch norm, or the clip of the next */
        float factor;
        int bits, least; /* channels */
    } cases[] = { { "features.1.weight", 1e5f, 8, 4 },
                  { "features.1.weight", 1e8f, 16, 4 },
                  { "features.1.weight", 1e14f, 31, 4 },
                  { "features.8.act_alpha", 1e-5f, 8, 4 },
                  { "features.1.bias", 1e20f, 8, 0 } };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dt_model_config c = config_of(4, 4, DT_RULE_ECE284);
        lowered r = lowered_model(&c, 1);
        scale_param(r.model, cases[i].param, cases[i].factor);
        const int n = check_steep(&r, cases[i].bits);
        cr_assert(n >= cases[i].least, "%s: %d channels are steep", cases[i].param, n);
        lowered_close(&r);
    }
}

/* Half way between two codes the multiplier goes up, evaluation to the even one: clip 30 of 4 bits and scale 1 make the
 * code psum / 2, which is half at odd psums; every second of those is rounded up by both. */
Test(requant, ties_are_counted)
{
    const dt_model_config c = config_of(4, 4, DT_RULE_ECE284);
    static const char *const names[] = { "features.4.act_alpha", "features.4.weight_quant.wgt_alpha",
                                         "features.8.act_alpha" };
    static const float values[] = { 15.0f, 7.0f, 30.0f };
    lowered r = lowered_model(&c, 1);
    dt_requant_report report;
    for (int i = 0; i < 3; i++) MUST(dt_model_write(r.model, dt_model_find(r.model, names[i]), &values[i]));
    MUST(dt_program_lower(r.model, r.data, &r.program));
    const lowered_steps steps = lowered_threshold(r.program, "features.8"), *l = &steps;
    cr_assert(count_passed(l, 0, 1) == 0 && count_passed(l, 0, 3) == 2 && count_passed(l, 0, 5) == 2);
    MUST(dt_program_use_multipliers(r.program, 31, &report));
    cr_assert(count_passed(l, 0, 1) == 1 && count_passed(l, 0, 3) == 2 && count_passed(l, 0, 5) == 3);
    lowered_close(&r);
}

Test(requant, misuse_is_refused)
{
    const dt_model_config c = config_of(4, 4, DT_RULE_ECE284);
    static const int bits[] = { 7, 32, -1 };
    lowered r = lowered_open(&c, 1);
    dt_requant_report report = { .n_psums = -5 };
    for (int i = 0; i < 3; i++) {
        cr_assert(dt_program_use_multipliers(r.program, bits[i], &report) == DT_ERR_ARGUMENT);
        cr_assert(strstr(dt_last_error(), "bits, allowed are 8..31") && report.n_psums == -5, "%s", dt_last_error());
    }
    MUST(dt_program_use_multipliers(r.program, 16, &report));
    cr_assert(dt_program_use_multipliers(r.program, 16, &report) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "features.4.act_quant has multipliers of 16 bits already"), "%s",
              dt_last_error());
    lowered_close(&r);
}
