/*
 * test_psum.c - psums of the operator, on every backend, against literal loops in 64-bit integers
 * (support/psum_oracle.h), and what is refused. The engine's own are in test_psum_engine.c.
 */
#include "../support/op_case.h"
#include "../support/psum_oracle.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>

#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))

/* ---- the operator ---- */

#define UNSIGNED(size_, ...)                                                    \
    {                                                                           \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_COUNT, .size = size_, .scale = 0.5f \
    }
#define SIGNED(size_, ...)                                                        \
    {                                                                             \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_INTEGER, .size = size_, .scale = 0.5f \
    }
#define PSUM .op = DT_OP_PSUM, .n_in = 2

typedef struct {
    op_case c;
    dt_psum_params params; /* c's */
} op_row;

#define WS       DT_DATAFLOW_WS
#define OS       DT_DATAFLOW_OS
#define WRAP     DT_OVERFLOW_WRAP
#define SATURATE DT_OVERFLOW_SATURATE

static const op_row op_rows[] = {
    { { PSUM, .why = "the layer of the 8x8 array", .in = { UNSIGNED(15, 3, 4, 4, 8), SIGNED(7, 8, 3, 3, 8) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "2-bit codes, two a PE", .in = { UNSIGNED(3, 2, 4, 4, 16), SIGNED(7, 16, 3, 3, 16) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "2-bit codes, one a PE, odd channels",
        .in = { UNSIGNED(3, 5, 5, 4, 33), SIGNED(7, 17, 3, 3, 33) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 8, WRAP, WS, 1 } } },
    { { PSUM, .why = "tiles of 16, 8-bit psums overflow",
        .in = { UNSIGNED(15, 2, 5, 3, 33), SIGNED(7, 33, 3, 3, 33) } },
      { DT_CONV_SQUARE(2, 1), { 16, 3, 8, WRAP, WS, 1 } } },
    { { PSUM, .why = "tiles of 33", .in = { UNSIGNED(255, 2, 3, 4, 65), SIGNED(127, 7, 2, 2, 65) } },
      { DT_CONV_SQUARE(1, 0), { 33, 8, 32, WRAP, WS, 0 } } },
    { { PSUM, .why = "tiles of 3, unsigned bytes", .in = { UNSIGNED(255, 1, 5, 4, 7), SIGNED(127, 7, 3, 3, 7) } },
      { DT_CONV_SQUARE(1, 1), { 3, 1, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "the signed image", .in = { SIGNED(127, 3, 6, 5, 3), SIGNED(7, 33, 3, 3, 3) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 10, WRAP, WS, 0 } } },
    { { PSUM, .why = "signed, many channels", .in = { SIGNED(127, 2, 2, 2, 40), SIGNED(127, 7, 1, 1, 40) } },
      { DT_CONV_SQUARE(2, 0), { 16, 16, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "clipped psums", .in = { UNSIGNED(15, 2, 4, 5, 16), SIGNED(7, 17, 3, 3, 16) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "clipped, two a PE, odd", .in = { UNSIGNED(3, 2, 4, 5, 7), SIGNED(7, 7, 3, 3, 7) } },
      { DT_CONV_SQUARE(2, 1), { 1, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "clipped, signed", .in = { SIGNED(127, 2, 3, 3, 33), SIGNED(127, 7, 2, 2, 33) } },
      { DT_CONV_SQUARE(1, 0), { 8, 8, 16, SATURATE, WS, 0 } } },
    { { PSUM, .why = "wide enough not to clip", .in = { UNSIGNED(15, 1, 4, 5, 8), SIGNED(7, 3, 3, 3, 8) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 32, SATURATE, WS, 0 } } },
    { { PSUM, .why = "output stationary", .in = { UNSIGNED(15, 2, 4, 4, 7), SIGNED(7, 8, 3, 3, 7) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 10, WRAP, OS, 0 } } },
    { { PSUM, .why = "output stationary, clipped, two a PE",
        .in = { UNSIGNED(3, 2, 4, 3, 9), SIGNED(7, 33, 3, 3, 9) } },
      { DT_CONV_SQUARE(1, 1), { 8, 8, 8, SATURATE, OS, 0 } } },
    { { PSUM, .why = "a pad of its own on each side", .in = { UNSIGNED(15, 2, 5, 4, 7), SIGNED(7, 8, 3, 3, 7) } },
      { { { 1, 1 }, { 1, 0, 2, 1 }, { 1, 1 }, 1 }, { 8, 8, 10, WRAP, WS, 0 } } },
    { { PSUM, .why = "strides, dilations and pads of their own",
        .in = { SIGNED(127, 2, 9, 8, 9), SIGNED(7, 33, 3, 2, 9) } },
      { { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 3 }, 1 }, { 8, 8, 16, WRAP, WS, 0 } } },
    { { PSUM, .why = "the same, clipped", .in = { UNSIGNED(15, 2, 9, 8, 9), SIGNED(7, 7, 3, 2, 9) } },
      { { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 3 }, 1 }, { 4, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "depthwise", .in = { UNSIGNED(15, 2, 5, 4, 7), SIGNED(7, 7, 3, 3, 1) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 7 }, { 8, 8, 8, WRAP, WS, 0 } } },
    { { PSUM, .why = "signed, depthwise, two filters a channel",
        .in = { SIGNED(127, 2, 5, 4, 7), SIGNED(7, 14, 3, 3, 1) } },
      { { { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 }, 7 }, { 8, 8, 12, WRAP, WS, 0 } } },
    { { PSUM, .why = "2 groups, of several tiles and more filters than a warp takes",
        .in = { UNSIGNED(15, 2, 4, 4, 18), SIGNED(7, 70, 3, 3, 9) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 2 }, { 4, 8, 10, WRAP, WS, 0 } } },
    { { PSUM, .why = "3 groups, two a PE, clipped", .in = { UNSIGNED(3, 2, 4, 4, 15), SIGNED(7, 21, 3, 3, 5) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 3 }, { 2, 8, 8, SATURATE, WS, 0 } } },
    { { PSUM, .why = "3 groups, output stationary", .in = { UNSIGNED(3, 2, 4, 4, 15), SIGNED(7, 21, 3, 3, 5) } },
      { { { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 }, 3 }, { 8, 8, 8, SATURATE, OS, 0 } } },
    { { PSUM, .why = "the same, output stationary", .in = { UNSIGNED(15, 2, 9, 8, 9), SIGNED(7, 7, 3, 2, 9) } },
      { { { 2, 1 }, { 0, 2, 1, 0 }, { 2, 3 }, 1 }, { 8, 8, 8, WRAP, OS, 0 } } },
};

/* The oracle's psums over the batch, one image after another; l->stats: of the batch. The caller frees. */
static int32_t *expected_batch(layer *l, const op_rig *rig, const float *x, const float *w)
{
    const int64_t n_images = rig->in[0].shape.dim[0];
    int32_t *psum = malloc((size_t)(n_images * n_outputs(l)) * sizeof *psum);

    l->taps = malloc((size_t)n_outputs(l) * (size_t)n_taps(l) * sizeof *l->taps);
    l->w = w;
    dt_psum_stats_clear(&l->stats);
    for (int64_t n = 0; n < n_images; n++) {
        l->x = x + n * l->shape.height * l->shape.width * l->shape.channels;
        l->psum = psum + n * n_outputs(l);
        oracle(l);
    }
    free(l->taps);
    return psum;
}

static void check_op(const op_row *row, const char *backend, int threads)
{
    op_case c = row->c;
    op_rig rig;
    dt_psum_aux aux;

    c.params = &row->params;
    if (!op_rig_open(&rig, backend, threads, &c)) return;
    const int64_t n = dt_count(&rig.out.shape);
    layer l = { .array = row->params.array, .shape = dt_psum_shape_of(&rig.node) };
    l.array.simd = dt_psum_simd(&l.array, &l.shape);
    float *x = op_rig_read(&rig, rig.in[0].data, dt_count(&rig.in[0].shape));
    float *w = op_rig_read(&rig, rig.in[1].data, dt_count(&rig.in[1].shape));
    int32_t *want = expected_batch(&l, &rig, x, w);
    op_rig_forward(&rig);
    op_rig_forward(&rig); /* stats are the last forward's alone */
    float *y = op_rig_read(&rig, rig.out.data, n), *scale = op_rig_read(&rig, rig.out.scale, rig.out.n_scale);
    for (int64_t i = 0; i < n; i++) {
        cr_assert(y[i] == (float)want[i], "%s: %s, %d threads: psum [%lld] is %.0f, expected %d", c.why, backend,
                  threads, (long long)i, (double)y[i], want[i]);
        cr_assert((int64_t)y[i] >= rig.out.qmin && (int64_t)y[i] <= rig.out.qmax, "%s: psum [%lld]", c.why,
                  (long long)i);
    }
    cr_assert(dt_device_read(rig.ctx, &aux, rig.node.aux, sizeof aux) == DT_OK, "%s", dt_last_error());
    same_stats(&l, backend, &aux.stats);
    cr_assert(scale[0] == 0.25f, "%s: scale %g, expected 0.5 * 0.5", c.why, (double)scale[0]);
    free(x);
    free(w);
    free(y);
    free(scale);
    free(want);
    op_rig_close(&rig);
}

Test(psum, the_operator_matches_the_oracle_on_every_backend)
{
    for (size_t i = 0; i < COUNT(op_rows); i++) {
        for (int threads = 1; threads <= 3; threads++) check_op(&op_rows[i], "cpu", threads);
        check_op(&op_rows[i], "cuda", 1);
    }
}

/* ---- facts and misuse ---- */

Test(psum, bits_hold_both_ends)
{
    static const struct {
        int64_t min, max;
        int bits;
    } cases[] = { { 0, 0, 1 },
                  { -1, 0, 1 },
                  { 0, 1, 2 },
                  { -128, 127, 8 },
                  { -129, 0, 9 },
                  { 0, 128, 9 },
                  { INT32_MIN, INT32_MAX, 32 },
                  { 0, (int64_t)INT32_MAX + 1, 33 } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert(dt_psum_bits(cases[i].min, cases[i].max) == cases[i].bits, "case %zu: %d", i,
                  dt_psum_bits(cases[i].min, cases[i].max));
    }
}
Test(psum, layers_that_do_not_fit_are_refused)
{
    const dt_psum_params plain = { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 0 } },
                         pairs = { DT_CONV_SQUARE(1, 1), { 8, 8, 16, WRAP, WS, 2 } };
    const op_case four_bits = { PSUM, .why = "simd 2 of 4 bits", .params = &pairs,
                                .in = { UNSIGNED(15, 1, 4, 4, 8), SIGNED(7, 8, 3, 3, 8) } };
    op_case_refused(&four_bits, DT_ERR_ARGUMENT, "layer: array: simd 2 takes activation codes 0..3, these are 0..15");
    const op_case unclamped = { PSUM, .why = "codes that no byte holds", .params = &plain,
                                .in = { SIGNED(300, 1, 9, 9, 8), SIGNED(7, 8, 3, 3, 8) } };
    op_case_refused(&unclamped, DT_ERR_ARGUMENT, "it takes 256 codes");
    const op_case wide = { PSUM, .why = "weights that no byte holds", .params = &plain,
                           .in = { UNSIGNED(15, 1, 4, 4, 8), SIGNED(200, 8, 3, 3, 8) } };
    op_case_refused(&wide, DT_ERR_ARGUMENT, "weight codes reach");
    const op_case real = { PSUM, .why = "not on the grid", .params = &plain,
                           .in = { { OP_SHAPE(1, 4, 4, 8) }, { OP_SHAPE(8, 3, 3, 8) } } };
    op_case_refused(&real, DT_ERR_ARGUMENT, "must be on the grid");
}
