/*
 * test_augment_values.c - batches whose values are others than normalised pixels: codes are those of the quantizer
 * behind the batch, reals are not moved; and what is refused.
 */
#include "../support/augment_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const char *const backends[] = { "cpu", "cuda" };

/* The quantizers of the networks: 8 bits around 0, 2 bits of pixels that are never negative, the notebook's of 4 bits,
 * which is not clamped below, and a learned step. */
static const dt_act_quant_params quantizers[] = {
    { .bits = 8, .is_signed = 1, .rule = DT_RULE_ECE284 },
    { .bits = 2, .rule = DT_RULE_PACT },
    { .bits = 4, .unclamped = 1, .rule = DT_RULE_SCREAM },
    { .bits = 3, .is_signed = 1, .rule = DT_RULE_LSQ },
};
static const float alpha = 1.7f;

/* ACT_QUANT of x; the caller frees the codes. */
static float *quantized(const char *backend, const dt_act_quant_params *quant, const float *x, dt_tensor *facts,
                        float *scale)
{
    const op_case c = { .why = "codes",
                        .op = DT_OP_ACT_QUANT,
                        .params = quant,
                        .n_in = 2,
                        .in = { { OP_SHAPE(BATCH, HEIGHT, WIDTH, CHANNELS) }, { OP_SHAPE(1) } } };
    op_rig rig;
    cr_assert(op_rig_open(&rig, backend, 1, &c));
    op_rig_write(&rig, rig.in[0].data, x, BATCH * COUNT * sizeof *x);
    op_rig_write(&rig, rig.in[1].data, &alpha, sizeof alpha);
    op_rig_forward(&rig);
    float *codes = op_rig_read(&rig, rig.out.data, BATCH * COUNT), *s = op_rig_read(&rig, rig.out.scale, 1);
    *facts = rig.out;
    *scale = *s;
    free(s);
    op_rig_close(&rig);
    return codes;
}

/* The codes again, in a type that holds them. */
static void check_narrow(op_rig *rig, const float *want, dt_dtype type)
{
    rig->out.type = type;
    op_rig_forward(rig);
    float *room = op_rig_read(rig, rig->out.data, BATCH * COUNT);
    for (int i = 0; i < BATCH * COUNT; i++) {
        const float code = type == DT_U8   ? (float)((const uint8_t *)room)[i]
                           : type == DT_I8 ? (float)((const int8_t *)room)[i]
                                           : dt_from_fp16(((const uint16_t *)room)[i]);
        cr_assert(code == want[i], "%s, type %d: code [%d] is %g, expected %g", rig->ctx->backend->name, (int)type, i,
                  (double)code, (double)want[i]);
    }
    free(room);
}

static void check_codes(const char *backend, const dt_act_quant_params *quant, const dt_augment_params *view)
{
    const dt_step_in in = { .seed = 3, .epoch = 2, .first = 1 };
    float *x = batch_of(backend, 1, view, &in), want_scale;
    if (!x) return;
    dt_tensor facts;
    dt_augment_params p = *view;
    op_rig rig;
    p.has_quant = 1;
    p.quant = *quant;
    op_case c = augment_case(&p);
    c.in[c.n_in++] = (op_input){ OP_SHAPE(1), .fill = FILL_REAL };
    float *want = quantized(backend, quant, x, &facts, &want_scale);
    cr_assert(open_batch(&rig, backend, 2, &c, &in));
    op_rig_write(&rig, rig.in[2].data, &alpha, sizeof alpha);
    op_rig_forward(&rig);
    float *codes = op_rig_read(&rig, rig.out.data, BATCH * COUNT), *scale = op_rig_read(&rig, rig.out.scale, 1);
    cr_assert(rig.out.n_scale == 1 && rig.out.qmin == facts.qmin && rig.out.qmax == facts.qmax, "%s: %lld..%lld",
              backend, (long long)rig.out.qmin, (long long)rig.out.qmax);
    check_narrow(&rig, want, facts.qmin < 0 ? DT_I8 : DT_U8);
    check_narrow(&rig, want, DT_F16);
    cr_assert(*scale == want_scale, "%s: the scale is %.9g, expected %.9g", backend, (double)*scale,
              (double)want_scale);
    for (int i = 0; i < BATCH * COUNT; i++) {
        cr_assert(codes[i] == want[i], "%s, %d bits: code [%d] is %g, expected %g of %g", backend, quant->bits, i,
                  (double)codes[i], (double)want[i], (double)x[i]);
    }
    op_rig_close(&rig);
    free(scale);
    free(codes);
    free(want);
    free(x);
}

Test(augment_values, codes_are_those_of_the_quantizer_behind_it)
{
    for (int b = 0; b < 2; b++) {
        for (int q = 0; q < 4; q++) check_codes(backends[b], &quantizers[q], &turned);
        check_codes(backends[b], &quantizers[0], &recoloured);
    }
}

Test(augment_values, misfits_are_refused)
{
    dt_augment_params p = cropped;
    op_case c = augment_case(&p);
    p.batch = IMAGES + 1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "batch is 13, the order holds 12 images");
    p = cropped;
    p.std[1] = 0.0f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "std[1] is 0");
    p = cropped;
    p.crop_pad = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "crop_pad is -1");
    p = cropped;
    p.shift = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "shift is -1, allowed are 0..4096");
    p = cropped;
    p.rotation = 46.0f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "rotation is 46, allowed are 0..45 degrees");
    p.rotation = NAN;
    op_case_refused(&c, DT_ERR_ARGUMENT, "rotation is nan");
    p = cropped;
    p.flip_share = 1.5f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "flip_share is 1.5, allowed are 0..1");
    p = cropped;
    p.cutout = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "cutout is -1, must not be negative");
    p = cropped;
    p.brightness = 1.5f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "brightness is 1.5 and contrast 0, allowed are 0..1");
    p = cropped;
    p.has_quant = 1;
    p.quant = quantizers[0];
    op_case_refused(&c, DT_ERR_ARGUMENT, "augment takes 3 inputs, got 2");
    c.in[c.n_in++] = (op_input){ OP_SHAPE(2), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "augment takes one alpha, got 2");
    p.quant.bits = 9;
    op_case_refused(&c, DT_ERR_ARGUMENT, "codes of 9 bits, allowed are 2..8");
    c.n_in = 2;
    c.in[0].type = DT_I8;
    p = cropped;
    op_case_refused(&c, DT_ERR_ARGUMENT, "needs images of u8");
    c.in[0] = (op_input){ OP_SHAPE(1, 2, 2, 5), .type = DT_U8 };
    op_case_refused(&c, DT_ERR_SHAPE, "images are 1x2x2x5");
    c = augment_case(&p);
    c.in[0].type = DT_F32;
    p = cropped;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "crop 2, shift 0, rotation 0 and flip 0.5 are for images of 8 bits");
}

/* ---- reals ---- */

static float real(int64_t i)
{
    return (float)(i % 101) * 0.37f - 20.0f;
}

/* The batch of reals: normalised, and with `quant` codes of them. */
static float *batch_of_reals(const char *backend, const dt_augment_params *p, op_rig *rig)
{
    op_case c = augment_case(p);
    float images[IMAGES * COUNT];
    const dt_step_in in = { .seed = 9, .first = 5 };
    c.in[0] = (op_input){ OP_SHAPE(IMAGES, HEIGHT, WIDTH, CHANNELS), .fill = FILL_REAL };
    if (p->has_quant) c.in[c.n_in++] = (op_input){ OP_SHAPE(1), .fill = FILL_REAL };
    if (!op_rig_open(rig, backend, 2, &c)) return NULL;
    int32_t order[IMAGES];
    const dt_step step = { .in = in };
    for (int64_t i = 0; i < IMAGES * COUNT; i++) images[i] = real(i);
    for (int64_t i = 0; i < IMAGES; i++) order[i] = order_at(i);
    op_rig_write(rig, rig->in[0].data, images, sizeof images);
    op_rig_write(rig, rig->in[1].data, order, sizeof order);
    op_rig_write(rig, rig->ex.step, &step, sizeof step);
    if (p->has_quant) op_rig_write(rig, rig->in[2].data, &alpha, sizeof alpha);
    op_rig_forward(rig);
    return op_rig_read(rig, rig->out.data, BATCH * COUNT);
}

Test(augment_values, reals_are_normalised_and_not_moved)
{
    for (int b = 0; b < 2; b++) {
        dt_augment_params p = still;
        op_rig rig;
        float *x = batch_of_reals(backends[b], &p, &rig);
        if (!x) continue;
        for (int64_t i = 0; i < BATCH * COUNT; i++) {
            const int64_t c = i % CHANNELS, at = order_at(5 + i / COUNT) * COUNT + i % COUNT;
            const float want = (real(at) - p.mean[c]) / p.std[c];
            cr_assert(x[i] == want, "%s: value %lld is %.9g, expected %.9g", backends[b], (long long)i, (double)x[i],
                      (double)want);
        }
        op_rig_close(&rig);
        for (int q = 0; q < 4; q++) {
            dt_tensor facts;
            float scale;
            p.has_quant = 1;
            p.quant = quantizers[q];
            float *want = quantized(backends[b], &quantizers[q], x, &facts, &scale);
            float *codes = batch_of_reals(backends[b], &p, &rig), *got = op_rig_read(&rig, rig.out.scale, 1);
            cr_assert(*got == scale && memcmp(codes, want, BATCH * COUNT * sizeof *want) == 0, "%s: quantizer %d",
                      backends[b], q);
            op_rig_close(&rig);
            free(got);
            free(codes);
            free(want);
        }
        free(x);
    }
}

/* Each of many channels has its own numbers, on both backends. */
Test(augment_values, reals_of_many_channels)
{
    enum { MANY = DT_MOST_CHANNELS, SPOTS = 6, SAMPLES = 5, EACH = SPOTS * MANY };
    static float images[SAMPLES * EACH];
    static const int32_t order[] = { 4, 0, 3 };
    const dt_step step = { .in = { .seed = 1 } };
    dt_augment_params p = { .batch = 3 };

    for (int c = 0; c < MANY; c++) p.mean[c] = (float)(c * c), p.std[c] = 1.0f + (float)c;
    for (int i = 0; i < SAMPLES * EACH; i++) images[i] = (float)(i % 97) * 3.5f;
    for (int b = 0; b < 2; b++) {
        op_case c = { .why = "many channels",
                      .op = DT_OP_AUGMENT,
                      .params = &p,
                      .n_in = 2,
                      .in = { { OP_SHAPE(SAMPLES, 2, 3, MANY), .fill = FILL_REAL },
                              { OP_SHAPE(3), .type = DT_I32, .fill = FILL_COUNT, .size = 2.0f } } };
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 2, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, images, sizeof images);
        op_rig_write(&rig, rig.in[1].data, order, sizeof order);
        op_rig_write(&rig, rig.ex.step, &step, sizeof step);
        op_rig_forward(&rig);
        float *x = op_rig_read(&rig, rig.out.data, 3 * EACH);
        for (int i = 0; i < 3 * EACH; i++) {
            const float want = (images[order[i / EACH] * EACH + i % EACH] - p.mean[i % MANY]) / p.std[i % MANY];
            cr_assert(x[i] == want, "%s: value %d is %.9g, expected %.9g", backends[b], i, (double)x[i], (double)want);
        }
        free(x);
        op_rig_close(&rig);
    }
}
