/*
 * test_conv_integers.c - convolutions of codes in 32-bit integers: every y against sums of 64 bits, also where f32 does
 * not hold them; which nodes the kernel takes.
 */
#include "../support/conv_lists.h"
#include "../support/conv_sums.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const dt_conv_params same = DT_CONV_SQUARE(1, 1), none = DT_CONV_SQUARE(1, 0), half = DT_CONV_SQUARE(2, 1);
static const dt_conv_params along = { { 4, 1 }, { 2, 0, 1, 0 }, { 1, 1 }, 1 };
static const dt_conv_params by_3 = { { 1, 2 }, { 0, 3, 1, 2 }, { 2, 1 }, 3 };

static const conv_sums_case rows[] = {
    { "psums past 2^24, as in an ECG's network", &along, { 2, 33, 5, 128 }, { 7, 5, 1, 128 }, 255, 127, DT_F32 },
    { "unsigned bytes", &same, { 1, 7, 6, 19 }, { 33, 3, 3, 19 }, 127, 127, DT_U8 },
    { "signed bytes", &half, { 3, 7, 7, 16 }, { 4, 3, 3, 16 }, 127, 127, DT_I8 },
    { "groups of one filter, dilated, padded unevenly", &by_3, { 2, 9, 8, 15 }, { 3, 3, 2, 5 }, 255, 127, DT_F32 },
    { "groups of five filters", &by_3, { 2, 9, 8, 15 }, { 15, 3, 2, 5 }, 255, 127, DT_F32 },
    { "one position, one filter, one term", &none, { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, 32767, 32767, DT_F32 },
    { "codes of 16 bits, up to 2^31", &none, { 1, 1, 3, 2 }, { 3, 1, 1, 2 }, 32767, 32767, DT_F32 },
    { "rows of 1, 2 and 3 positions more than a block", &none, { 1, 1, 7, 3 }, { 2, 1, 1, 3 }, 255, 7, DT_F32 },
};

Test(conv_integers, psums_are_those_of_64_bits)
{
    for (int i = 0; i < DT_LENGTH(rows); i++) {
        for (int threads = 1; threads <= 3; threads++)
            conv_sums_check(&rows[i], &conv_by_integers, "integers", threads);
    }
}

/* The whole range of the psum, which the fill above does not reach: all codes are the largest. */
Test(conv_integers, largest_psums_do_not_wrap)
{
    const conv_sums_case row = { "largest", &none, { 1, 1, 5, 520 }, { 3, 1, 1, 520 }, 32000, 128, DT_F32 };
    const op_case c = conv_sums_op(&row);
    op_rig rig;
    float x[5 * 520], w[3 * 520];

    cr_assert(op_rig_open_with(&rig, "cpu", 1, &c, &conv_by_integers));
    cr_assert(strcmp(dt_conv_chosen(&rig.node, DT_CONV_Y), "integers") == 0);
    for (int i = 0; i < 5 * 520; i++) x[i] = 32000.0f;
    for (int i = 0; i < 3 * 520; i++) w[i] = i < 520 ? -128.0f : 128.0f;
    op_rig_write(&rig, rig.in[0].data, x, sizeof x);
    op_rig_write(&rig, rig.in[1].data, w, sizeof w);
    op_rig_forward(&rig);
    float *y = op_rig_read(&rig, rig.out.data, 15);
    for (int i = 0; i < 15; i++) {
        const float want = i % 3 == 0 ? -2129920000.0f : 2129920000.0f; /* 520 * 32000 * 128 */
        cr_assert(y[i] == want, "psum %d is %.9g, expected %.9g", i, (double)y[i], (double)want);
    }
    op_rig_close(&rig);
    free(y);
}

Test(conv_integers, other_nodes_are_refused)
{
    static const struct {
        const char *why;
        int64_t terms;
        float x_size, w_size;
        const char *refusal;
    } refused[] = { { "x past 16 bits", 2, 40000, 1, "codes past 16 bits" },
                    { "w past 16 bits", 2, 1, 40000, "codes past 16 bits" },
                    { "reals", 2, 0, 0, "no codes" } };

    for (int i = 0; i < DT_LENGTH(refused); i++) {
        const conv_sums_case row = {
            refused[i].why,    &none, { 1, 1, 2, refused[i].terms }, { 2, 1, 1, refused[i].terms }, refused[i].x_size,
            refused[i].w_size, DT_F32
        };
        op_case c = conv_sums_op(&row);
        op_rig rig;
        if (refused[i].x_size == 0.0f) c.in[0].scale = c.in[1].scale = 0.0f;
        cr_assert(op_rig_open_with(&rig, "cpu", 1, &c, &conv_by_integers));
        const char *why = dt_conv_integers.refuses(&rig.node, &rig.ex, DT_CONV_Y);
        cr_assert(why && strcmp(why, refused[i].refusal) == 0, "%s: %s", row.why, why ? why : "taken");
        cr_assert(strcmp(dt_conv_chosen(&rig.node, DT_CONV_Y), "plain") == 0);
        op_rig_close(&rig);
    }
}
