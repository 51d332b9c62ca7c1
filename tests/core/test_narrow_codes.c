/*
 * test_narrow_codes.c - which codes of an integer program lie in memory as bytes or words when its tape is fused, and
 *                       that it computes the same codes as the tape that was recorded.
 */
#include "../../core/conv_params.h"
#include "../../core/tape/fuse.h"
#include "../../layers/conv/conv_kernels.h"
#include "../support/tiny_run.h"

#include <math.h>
#include <string.h>

enum {
    IMAGES = 2,
    SIDE = 5,
    CHANNELS = 16,
    COUNT = IMAGES * SIDE * SIDE * CHANNELS,
    WEIGHTS = 9 * CHANNELS * CHANNELS
};

/* conv, requantize; conv, requantize; add of both; conv, requantize; dequantize */
typedef struct {
    dt_context *ctx;
    dt_tape *tape;
    float x[COUNT], w[WEIGHTS], unit, scale_x, scale_y;
    int32_t bias[CHANNELS];
    dt_tensor image, filters, scale_in, scale_out, biases;
    dt_tensor *first, *second, *sum, *last, *real;
} program;

static dt_tensor scale_of(float *s)
{
    return (dt_tensor){ .shape = { 1, { 1 } }, .data = s };
}

static dt_tensor *layer(program *p, dt_tensor *x, int low, int high)
{
    const dt_conv_params conv = DT_CONV_SQUARE(1, 1);
    const dt_requantize_params requantize = { DT_PROFILE_LITERT_REF, DT_REQUANT_CONV, low, high, 1, 0 };
    dt_tensor *psums, *codes;

    MUST(dt_tape_apply(p->tape, DT_OP_CONV2D, "conv", &conv, (dt_tensor *[]){ x, &p->filters }, 2, &psums));
    dt_tensor *const in[] = { psums, &p->scale_in, &p->scale_out, &p->scale_in, &p->biases };
    MUST(dt_tape_apply(p->tape, DT_OP_REQUANTIZE, "codes", &requantize, in, 5, &codes));
    return codes;
}

static void program_open(program *p)
{
    const dt_qbinary_params add = { DT_PROFILE_LITERT_REF, 0, 255, 0, 0 };
    dt_options opt;

    *p = (program){ .unit = 1.0f, .scale_x = 0.05f, .scale_y = 0.9f };
    for (int i = 0; i < COUNT; i++) p->x[i] = (float)(i * 37 % 256);
    for (int i = 0; i < WEIGHTS; i++) p->w[i] = (float)(i * 53 % 255 - 127);
    for (int i = 0; i < CHANNELS; i++) p->bias[i] = 700 * i - 4000;
    p->image = (dt_tensor){ .shape = { 4, { IMAGES, SIDE, SIDE, CHANNELS } }, .data = p->x, .n_scale = 1, .qmax = 255 };
    p->filters = (dt_tensor){
        .shape = { 4, { CHANNELS, 3, 3, CHANNELS } }, .data = p->w, .n_scale = 1, .qmin = -127, .qmax = 127
    };
    p->image.scale = p->filters.scale = &p->unit;
    p->scale_in = scale_of(&p->scale_x);
    p->scale_out = scale_of(&p->scale_y);
    p->biases = (dt_tensor){ .type = DT_I32, .shape = { 1, { CHANNELS } }, .data = p->bias };
    dt_options_default(&opt);
    opt.backend = "cpu";
    MUST(dt_context_create(&opt, &p->ctx));
    MUST(dt_tape_create(p->ctx, NULL, &p->tape));
    p->first = layer(p, &p->image, 0, 255);
    p->second = layer(p, p->first, -200, 55);
    dt_tensor *const in[] = { p->second, p->first, &p->scale_out, &p->scale_out, &p->scale_out };
    MUST(dt_tape_apply(p->tape, DT_OP_QADD, "sum", &add, in, 5, &p->sum));
    p->last = layer(p, p->sum, -128, 127);
    MUST(dt_tape_apply(p->tape, DT_OP_DEQUANTIZE, "real", NULL, &p->last, 1, &p->real));
}

static void program_close(program *p)
{
    dt_tape_destroy(p->tape);
    dt_context_destroy(p->ctx);
}

static dt_dtype byte(void)
{
    return dt_conv_has_int8() ? DT_U8 : DT_F32;
}

Test(narrow_codes, types_hold_the_codes_and_readers_read_them)
{
    program *p = malloc(sizeof *p);

    program_open(p);
    MUST(dt_tape_fuse(p->tape, 0));
    cr_assert_eq(p->first->type, byte(), "two readers, a convolution and a sum");
    cr_assert_eq(p->second->type, DT_I16, "-200..55, for a sum");
    cr_assert_eq(p->sum->type, byte());
    cr_assert_eq(p->last->type, DT_F32, "dequantize reads f32");
    program_close(p);
    free(p);
}

Test(narrow_codes, what_is_kept_or_trained_stays)
{
    program *p = malloc(sizeof *p);

    program_open(p);
    dt_tape_keep(p->tape, p->first);
    MUST(dt_tape_fuse(p->tape, 0));
    cr_assert(p->first->type == DT_F32 && p->second->type == DT_I16 && p->sum->type == byte());
    program_close(p);
    program_open(p);
    MUST(dt_tape_fuse(p->tape, 1));
    cr_assert(p->first->type == DT_F32 && p->second->type == DT_F32 && p->sum->type == DT_F32);
    program_close(p);
    free(p);
}

static void run(int fuse, float *out)
{
    program *p = malloc(sizeof *p);

    program_open(p);
    dt_tape_keep(p->tape, p->real);
    if (fuse) MUST(dt_tape_fuse(p->tape, 0));
    MUST(dt_tape_compile(p->tape, NULL));
    MUST(dt_tape_run(p->tape, DT_PASS_CONSTANT, NULL, NULL));
    MUST(dt_tape_run(p->tape, DT_PASS_FORWARD, NULL, NULL));
    memcpy(out, p->real->data, COUNT * sizeof *out);
    program_close(p);
    free(p);
}

Test(narrow_codes, codes_are_the_same)
{
    static float recorded[COUNT], fused[COUNT];
    int n_within = 0;

    run(0, recorded);
    run(1, fused);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(recorded[i] == fused[i], "value %d: %g recorded, %g fused", i, (double)recorded[i], (double)fused[i]);
        n_within += fabsf(recorded[i]) < 127.0f * 0.9f && recorded[i] != 0.0f;
    }
    cr_assert(n_within > COUNT / 4, "only %d of %d values are within the range", n_within, COUNT);
}
