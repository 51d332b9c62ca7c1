/*
 * test_conv_extremes.c - convolutions of codes whose psums pass 2^24, against sums in 64-bit integers.
 */
#include "../support/conv_lists.h"
#include "../support/conv_products.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const dt_conv_params same = DT_CONV_SQUARE(1, 1); /* stride, pad */

#define COUNT(cases) (sizeof cases / sizeof cases[0])

/* ---- psums past 2^24 ---- */

/* x within 0..255 or +-127, w within +-127, in patterns that make the largest sums, and odd ones */
typedef struct {
    const char *why;
    int x_low, x_high; /* x takes turns between these */
    int w_low, w_high;
} extreme;

static const extreme unsigned_extremes[] = {
    { "u8 x s8, all of one sign", 255, 255, 127, 127 },
    { "u8 x s8, all negative", 255, 255, -127, -127 },
    { "u8 x s8, sums that f32 has to round", 254, 255, 126, 127 },
};
static const extreme signed_extremes[] = {
    { "s8 x s8, all of one sign", 127, 127, 127, 127 },
    { "s8 x s8, both negative", -127, -127, -127, -127 },
    { "s8 x s8, sums that f32 has to round", -127, -126, 126, 127 },
};

/* 1,800 products a psum: 1800 * 127 * 127 > 2^24 */
enum { EXTREME_C = 200, EXTREME_SIDE = 3, EXTREME_K = 3 };

static op_case extreme_case(int is_signed, dt_precision precision)
{
    const op_input codes = { OP_SHAPE(1, EXTREME_SIDE, EXTREME_SIDE, EXTREME_C),
                             .fill = is_signed ? FILL_INTEGER : FILL_COUNT, .size = is_signed ? 127.0f : 255.0f,
                             .scale = 0.5f };
    return (op_case){
        CONV, .why = "extremes", .params = &same, .precision = precision,
        .in = { codes, { OP_SHAPE(EXTREME_K, 3, 3, EXTREME_C), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.25f } }
    };
}

/* every third differs, out of step with the channels */
static float alternate(int low, int high, int64_t i)
{
    return (float)(i % 3 == 1 ? low : high);
}

typedef struct {
    const extreme *e;
    int64_t *sum;
} integer_run;

static void integer_product(void *user, const conv_product *at)
{
    const integer_run *run = user;
    const extreme *e = run->e;
    run->sum[at->y] += (int64_t)alternate(e->x_low, e->x_high, at->x) * (int64_t)alternate(e->w_low, e->w_high, at->w);
}

static void write_alternating(const op_rig *rig, int k, int low, int high)
{
    const int64_t n = dt_count(&rig->in[k].shape);
    float *host = malloc((size_t)n * sizeof *host);
    for (int64_t i = 0; i < n; i++) host[i] = alternate(low, high, i);
    op_rig_write(rig, rig->in[k].data, host, (size_t)n * sizeof *host);
    free(host);
}

static void check_psums(const op_rig *rig, const extreme *e, const int64_t *want, const char *kernel)
{
    const int64_t n = dt_count(&rig->out.shape);
    float *y = op_rig_read(rig, rig->out.data, n);
    for (int64_t i = 0; i < n; i++) {
        cr_assert(y[i] == (float)want[i], "%s: %s: psum [%lld] is %.0f, expected %lld rounded once", e->why, kernel,
                  (long long)i, (double)y[i], (long long)want[i]);
    }
    free(y);
}

static void run_extreme(const op_case *c, const char *backend, const extreme *e)
{
    op_rig rig;
    if (!op_rig_open(&rig, backend, 0, c)) return;
    int64_t *want = calloc((size_t)out_count(c), sizeof *want), largest = 0;
    integer_run run = { e, want };

    each_product(c, integer_product, &run);
    for (int64_t i = 0; i < out_count(c); i++) largest = llabs(want[i]) > largest ? llabs(want[i]) : largest;
    cr_assert(largest > 1 << 24, "%s: the largest psum is only %lld", e->why, (long long)largest);
    write_alternating(&rig, 0, e->x_low, e->x_high);
    write_alternating(&rig, 1, e->w_low, e->w_high);
    op_rig_forward(&rig);
    check_psums(&rig, e, want, backend);
    if (strcmp(backend, "cpu") == 0) {
        forward_plain(&rig);
        check_psums(&rig, e, want, "plain loops");
    }
    free(want);
    op_rig_close(&rig);
}

Test(conv_extremes, psums_past_2_24_are_rounded_once)
{
    static const dt_precision precisions[] = { DT_PRECISION_F32, DT_PRECISION_MIXED };
    for (int p = 0; p < 2; p++) {
        const op_case u8 = extreme_case(0, precisions[p]), s8 = extreme_case(1, precisions[p]);
        for (size_t i = 0; i < COUNT(unsigned_extremes); i++) {
            run_extreme(&u8, "cpu", &unsigned_extremes[i]); /* on CUDA unsigned bytes are refused: no exact product */
        }
        for (size_t i = 0; i < COUNT(signed_extremes); i++) {
            run_extreme(&s8, "cpu", &signed_extremes[i]);
            run_extreme(&s8, "cuda", &signed_extremes[i]);
        }
    }
}
