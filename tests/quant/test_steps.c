/*
 * test_steps.c - thresholds against evaluation's own operators (batch norm, ReLU, quantizer), over every psum that the
 * codes allow.
 */
#include "../support/lowered.h"

/* All psums of a convolution, in every channel: a grid tensor of bound + 1 + bound rows. */
static dt_tensor all_psums(const lowered *r, const dt_value *psum, int n_scale, float *scale)
{
    const int64_t rows = 2 * (int64_t)psum->high + 1, channels = psum->channels;
    dt_tensor t = { .type = DT_F32,
                    .shape = { 4, { 1, 1, rows, channels } },
                    .n_scale = n_scale,
                    .scale = scale,
                    .qmin = psum->low,
                    .qmax = psum->high,
                    .name = "psums" };
    float *host = malloc(dt_tensor_bytes(&t));
    for (int64_t i = 0; i < rows * channels; i++) host[i] = (float)(i / channels + psum->low);
    MUST(dt_device_alloc(r->ctx, dt_tensor_bytes(&t), &t.data));
    MUST(dt_device_write(r->ctx, t.data, host, dt_tensor_bytes(&t)));
    free(host);
    return t;
}

/* Batch norm (or none), ReLU and quantizer by their own operators, over every psum. */
static void check_thresholds(const lowered *r, const char *conv_name, const char *norm, const char *next)
{
    const dt_program *p = r->program;
    const dt_graph_node *conv = lowered_node(p, DT_OP_CONV2D, conv_name);
    const lowered_steps l = lowered_threshold(p, next);
    dt_model_info is;

    dt_model_look(r->model, &is);
    const dt_act_quant_params quant = { .bits = is.abits_most, .rule = is.rule };
    const dt_batchnorm_params bn = { .epsilon = 1e-5f };
    const float sx = dt_program_scale(p, conv->in[0]);
    const float *sw = dt_program_data(p, dt_program_weights(p, conv), DT_CODES_SCALE);
    const int n_scale = p->graph->value[conv->out]->facts.n_scale;
    float scale[64];
    dt_tape *tape;
    for (int k = 0; k < n_scale; k++) scale[k] = sx * sw[k];
    dt_tensor psums = all_psums(r, &l.x, n_scale, scale), *x = &psums;

    MUST(dt_tape_create(r->ctx, NULL, &tape));
    if (norm) {
        dt_tensor *const in[] = { x, lowered_param(r, norm, "weight"), lowered_param(r, norm, "bias"),
                                  lowered_param(r, norm, "running_mean"), lowered_param(r, norm, "running_var") };
        MUST(dt_tape_apply(tape, DT_OP_BATCHNORM, "bn", &bn, in, 5, &x));
    }
    MUST(dt_tape_apply(tape, DT_OP_RELU, "relu", NULL, &x, 1, &x));
    dt_tensor *const in[] = { x, lowered_param(r, next, "act_alpha") };
    MUST(dt_tape_apply(tape, DT_OP_ACT_QUANT, "quant", &quant, in, 2, &x));
    dt_tape_keep(tape, x);
    MUST(dt_tape_compile(tape, NULL));
    MUST(dt_tape_run(tape, DT_PASS_FORWARD, NULL, NULL));

    const float *want = x->data; /* the CPU's memory */
    int64_t steps = 0;
    for (int64_t i = 0; i < dt_count(&psums.shape); i++) {
        const int64_t channel = i % l.y.channels, psum = i / l.y.channels + l.x.low;
        int code = l.y.low;
        for (int t = 0; t < l.y.high - l.y.low; t++)
            code += l.sign[channel] * psum >= l.step[t * l.y.channels + channel];
        cr_assert((float)code == want[i], "%s: channel %lld, psum %lld has the code %d, expected %g", next,
                  (long long)channel, (long long)psum, code, (double)want[i]);
        steps += i >= l.y.channels && want[i] != want[i - l.y.channels];
    }
    cr_assert(steps > 0, "%s: no channel steps", next);
    dt_tape_destroy(tape);
    dt_device_free(r->ctx, psums.data, dt_tensor_bytes(&psums));
}

Test(steps, thresholds_are_where_evaluation_steps)
{
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        for (int abits = 2; abits <= 8; abits += 3) {
            dt_model_config c = lowered_config("tiny", 4, abits);
            c.rule = (dt_quant_rule)rule;
            c.per_channel = rule == DT_RULE_PACT;
            lowered r = lowered_open(&c, 1);
            check_thresholds(&r, "features.0", "features.1", "features.4");
            check_thresholds(&r, "features.4", NULL, "features.8");
            lowered_close(&r);
        }
    }
}

/* Scales of 1 and clips at which code + 1/2 is reached: 15 * psum / 32 at odd multiples of 16, psum / 2 at odd psums */
Test(steps, ties_go_to_the_even_code)
{
    static const float clips[] = { 32.0f, 30.0f, 480.0f, 16.0f, 7.5f };
    for (size_t i = 0; i < sizeof clips / sizeof clips[0]; i++) {
        dt_model_config c = lowered_config("tiny", 4, 4);
        lowered r = lowered_model(&c, 1);
        lowered_write(&r, "features.4", "act_alpha", 15.0f);
        lowered_write(&r, "features.4", "weight_quant.wgt_alpha", 7.0f);
        lowered_write(&r, "features.8", "act_alpha", clips[i]);
        MUST(dt_program_lower(r.model, r.data, &r.program));
        const lowered_steps l = lowered_threshold(r.program, "features.8");
        /* 7.5 is code 8, 8.5 too: psum / 2 steps to 8 at 15 and to 9 at 18 */
        cr_assert(clips[i] != 30.0f || (l.step[7 * 8] == 15 && l.step[8 * 8] == 18), "%d %d", l.step[7 * 8],
                  l.step[8 * 8]);
        check_thresholds(&r, "features.4", NULL, "features.8");
        lowered_close(&r);
    }
}

Test(steps, dead_and_falling_channels)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    const lowered_steps l = lowered_threshold(r.program, "features.4");
    for (int k = 0; k < 15; k++) {
        const int32_t dead = l.step[k * 8 + 6];
        cr_assert(dead == INT32_MIN || dead == INT32_MAX, "a dead channel steps at %d", dead);
    }
    cr_assert(l.sign[1] == -1 && l.sign[4] == -1 && l.sign[0] == 1 && l.slope[1] < 0.0f && l.slope[6] == 0.0f);
    lowered_close(&r);
}
