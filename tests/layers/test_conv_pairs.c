/*
 * test_conv_pairs.c - convolutions of codes of few bits by AVX2: every y against sums of 64 bits; sums as large as 16
 * bits hold, and one step more; which nodes the kernel takes.
 */
#include "../../core/cpu_level.h"
#include "../support/conv_lists.h"
#include "../support/conv_sums.h"

/* The kernel is for CPUs without VNNI; it is tested wherever AVX2 is. */
static __attribute__((constructor)) void lower_level(void)
{
    if (__builtin_cpu_supports("avx2")) setenv("DETENT_CPU", "avx2", 1);
}

static void must_have_avx2(void)
{
    if (dt_cpu_level_now() != DT_CPU_AVX2) cr_skip("the CPU has no AVX2");
}

static const dt_conv_params same = DT_CONV_SQUARE(1, 1), none = DT_CONV_SQUARE(1, 0), half = DT_CONV_SQUARE(2, 0);
static const dt_conv_params odd = { { 1, 2 }, { 0, 3, 1, 2 }, { 2, 1 }, 1 },
                            apart = { { 2, 1 }, { 1, 0, 2, 1 }, { 1, 2 }, 1 },
                            by_2 = { { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 }, 2 };

static const conv_sums_case rows[] = {
    { "primary capsules: stride 2, rows of more steps than fit",
      &half,
      { 2, 13, 13, 64 },
      { 40, 9, 9, 64 },
      15,
      7,
      DT_U8 },
    { "one channel of pixels", &none, { 2, 14, 13, 1 }, { 17, 9, 9, 1 }, 255, 7, DT_U8 },
    { "codes with a sign, padded", &same, { 3, 6, 5, 12 }, { 33, 3, 3, 12 }, 7, 7, DT_I8 },
    { "signed codes as floats", &same, { 1, 6, 5, 7 }, { 16, 3, 3, 7 }, 7, 7, DT_F32 },
    { "strides, dilation of rows, four pads", &odd, { 2, 9, 8, 5 }, { 3, 3, 2, 5 }, 15, 7, DT_U8 },
    { "dilation of columns", &apart, { 2, 9, 8, 6 }, { 18, 3, 3, 6 }, 15, 7, DT_U8 },
    { "one position, one filter, one term", &none, { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, 15, 7, DT_F32 },
    { "8 steps fit 16 bits", &none, { 1, 2, 7, 99 }, { 5, 1, 1, 99 }, 255, 8, DT_U8 },
};

Test(conv_pairs, psums_are_those_of_64_bits)
{
    must_have_avx2();
    for (int i = 0; i < DT_LENGTH(rows); i++) {
        for (int threads = 1; threads <= 3; threads++) conv_sums_check(&rows[i], &conv_by_pairs, "pairs", threads);
    }
}

/* All codes are the largest, which the fill above does not reach; weights of both signs. */
static void largest(float x_most, float w_most, int channels)
{
    const conv_sums_case row = {
        "largest", &none, { 1, 1, 7, channels }, { 3, 1, 1, channels }, x_most, w_most, DT_U8
    };
    const op_case c = conv_sums_op(&row);
    float *w = malloc((size_t)(3 * channels) * sizeof *w);
    uint8_t *x = malloc((size_t)(7 * channels));
    size_t bytes;
    op_rig rig;

    cr_assert(op_rig_open_with(&rig, "cpu", 1, &c, &conv_by_pairs));
    rig.in[0].qmax = (int64_t)x_most; /* what was drawn may be less */
    rig.in[1].qmax = (int64_t)w_most;
    rig.kernel->release(&rig.node);
    const int before = dt_context_enter(rig.ctx); /* scratch is for the rig's threads */
    cr_assert(rig.kernel->prepare(&rig.node, &rig.ex, &bytes) == DT_OK);
    dt_context_leave(before);
    cr_assert(bytes <= rig.ex.scratch_bytes, "%zu bytes of scratch, the rig has %zu", bytes, rig.ex.scratch_bytes);
    cr_assert(strcmp(dt_conv_chosen(&rig.node, DT_CONV_Y), "pairs") == 0);
    for (int i = 0; i < 7 * channels; i++) x[i] = (uint8_t)x_most;
    for (int i = 0; i < 3 * channels; i++) w[i] = i < channels ? -w_most : w_most;
    rig.in[0].type = DT_U8;
    op_rig_write(&rig, rig.in[0].data, x, (size_t)(7 * channels));
    op_rig_write(&rig, rig.in[1].data, w, (size_t)(3 * channels) * sizeof *w);
    op_rig_forward(&rig);
    float *y = op_rig_read(&rig, rig.out.data, 21);
    for (int i = 0; i < 21; i++) {
        const float want = (i % 3 == 0 ? -1.0f : 1.0f) * x_most * w_most * (float)channels;
        cr_assert(y[i] == want, "%g * %g: psum %d is %.9g, expected %.9g", (double)x_most, (double)w_most, i,
                  (double)y[i], (double)want);
    }
    op_rig_close(&rig);
    free(x);
    free(w);
    free(y);
}

/* 156 steps of four terms fit for 15 * 7, 78 for 15 * 14, 8 for 255 * 8: fewer, as many, one more, and twice. */
Test(conv_pairs, sums_of_16_bits_do_not_wrap)
{
    static const int steps[] = { 155, 156, 157, 312, 313 }, half_of[] = { 77, 78, 79 }, few[] = { 7, 8, 9, 17 };

    must_have_avx2();
    for (int i = 0; i < DT_LENGTH(steps); i++) largest(15.0f, 7.0f, 4 * steps[i]);
    for (int i = 0; i < DT_LENGTH(half_of); i++) largest(15.0f, 14.0f, 4 * half_of[i]);
    for (int i = 0; i < DT_LENGTH(few); i++) largest(255.0f, 8.0f, 4 * few[i]);
}

Test(conv_pairs, other_nodes_are_refused)
{
    static const struct {
        const char *why;
        const dt_conv_params *params;
        int64_t terms, group;
        float x_size, w_size;
        dt_dtype type;
        const char *refusal;
    } refused[] = { { "8 bits by 5", &none, 4, 4, 255, 9, DT_U8, "few products fit 16 bits" },
                    { "x past a byte", &none, 4, 4, 300, 1, DT_F32, "codes fit no byte" },
                    { "w past a byte", &none, 4, 4, 1, 400, DT_F32, "codes fit no byte" },
                    { "two groups", &by_2, 4, 2, 15, 7, DT_U8, "groups" },
                    { "reals", &none, 4, 4, 0, 0, DT_F32, "no codes" } };

    must_have_avx2();
    for (int i = 0; i < DT_LENGTH(refused); i++) {
        const conv_sums_case row = { refused[i].why,
                                     refused[i].params,
                                     { 1, 1, 2, refused[i].terms },
                                     { 2, 1, 1, refused[i].group },
                                     refused[i].x_size,
                                     refused[i].w_size,
                                     refused[i].type };
        op_case c = conv_sums_op(&row);
        op_rig rig;
        if (refused[i].x_size == 0.0f) c.in[0].scale = c.in[1].scale = 0.0f;
        cr_assert(op_rig_open_with(&rig, "cpu", 1, &c, &conv_by_pairs));
        const char *why = dt_conv_pairs.refuses(&rig.node, &rig.ex, DT_CONV_Y);
        cr_assert(why && strcmp(why, refused[i].refusal) == 0, "%s: %s", row.why, why ? why : "taken");
        op_rig_close(&rig);
    }
}
