/*
 * test_requant.c - multipliers in place of thresholds: the thresholds are the multiplier's own, the report's counts are
 * those of trying every psum, and more bits cost less.
 */
#include "lowered.h"

static dt_model_config config_of(int wbits, int abits, dt_quant_rule rule)
{
    dt_model_config c = lowered_config("tiny", wbits, abits);
    c.rule = rule;
    return c;
}

static int count_passed(const dt_layer *l, int c, int64_t psum)
{
    int code = l->low;
    for (int k = 0; k < l->high - l->low; k++) code += l->sign[c] * psum >= l->threshold[(int64_t)k * l->channels + c];
    return code;
}

/* Without shifts of negative numbers, in double-wide steps: floor((psum * m + o) / 2^s), clamped. */
static int multiplied(const dt_layer *l, int c, int64_t psum)
{
    const __int128 sum = (__int128)psum * l->requant.multiplier[c] + l->requant.offset[c];
    const __int128 unit = (__int128)1 << l->requant.shift[c];
    const __int128 floor = sum >= 0 ? sum / unit : -((-sum + unit - 1) / unit);
    return floor < l->low ? l->low : floor > l->high ? l->high : (int)floor;
}

/* Adds what one channel contributes to a report. */
static void try_channel(const dt_layer *exact, const dt_layer *l, int c, int64_t bound, dt_requant_report *report)
{
    int64_t differ = 0;
    for (int64_t psum = -bound; psum <= bound; psum++) {
        const int was = count_passed(exact, c, psum), is = multiplied(l, c, psum);
        cr_assert(count_passed(l, c, psum) == is && dt_requant_code(l, c, psum) == is,
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

static dt_requant_report check_report(const dt_model_config *c, int bits)
{
    lowered r = lowered_open(c, 1);
    dt_program *exact;
    dt_requant_report report, want = { 0 };
    MUST(dt_program_lower(r.model, r.data, &exact));
    MUST(dt_program_use_multipliers(r.program, bits, &report));
    MUST(dt_program_check(r.program));
    for (int i = 0; i < exact->n_layers; i++) {
        const dt_layer *l = &exact->layer[i];
        if (l->kind != DT_LAYER_THRESHOLD) continue;
        for (int k = 0; k < l->channels; k++) {
            try_channel(l, &r.program->layer[i], k, exact->layer[l->in[0]].high, &want);
        }
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
    const dt_layer *l = lowered_layer(r.program, DT_LAYER_THRESHOLD, "features.8");
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
    cr_assert(strstr(dt_last_error(), "features.4 has multipliers of 16 bits already"), "%s", dt_last_error());
    lowered_close(&r);
}
