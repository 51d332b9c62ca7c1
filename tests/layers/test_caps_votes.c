/*
 * test_caps_votes.c - votes of capsules against sums in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../../layers/caps/votes_avx512.h"

/* Walks the weights: each adds its product to the votes of all images. */
static void votes_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t batch = c->in[0].shape.dim[0], *w = c->in[1].shape.dim;

    for (int64_t k = 0; k < batch * w[0] * w[2]; k++) out[k] = 0.0;
    for (int64_t k = 0; k < w[0] * w[1] * w[2]; k++) {
        const int64_t column = k % w[2], term = k / w[2] % w[1], i = k / w[2] / w[1];
        for (int64_t n = 0; n < batch; n++) {
            out[(n * w[0] + i) * w[2] + column] += in[0][(n * w[0] + i) * w[1] + term] * in[1][k];
        }
    }
}

#define VOTES .op = DT_OP_CAPS_VOTES, .n_in = 2, .oracle = votes_oracle

static const op_case cases[] = {
    { VOTES, .why = "one", .agree = AGREE_BITS, .in = { { OP_SHAPE(1, 1, 1) }, { OP_SHAPE(1, 1, 1) } } },
    { VOTES, .why = "ShallowCapsNet's dimensions", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(3, 5, 8) }, { OP_SHAPE(5, 8, 160) } }, .no_slopes = "large" },
    { VOTES, .why = "slopes of whole groups", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(8, 2, 8) }, { OP_SHAPE(2, 8, 16) } } },
    { VOTES, .why = "two blocks of inputs, the second short; images in whole groups and a rest", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(6, 18, 8) }, { OP_SHAPE(18, 8, 16) } }, .no_slopes = "large" },
    { VOTES, .why = "codes of 8 terms", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(5, 2, 8), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.02f },
              { OP_SHAPE(2, 8, 32), .fill = FILL_INTEGER, .size = 128.0f, .scale = 0.3f } } },
    { VOTES, .why = "odd sizes", .agree = AGREE_BITS, .in = { { OP_SHAPE(7, 3, 7) }, { OP_SHAPE(3, 7, 33) } } },
    { VOTES, .why = "more terms than a tile, with a rest", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 1, 67) }, { OP_SHAPE(1, 67, 3) } } },
    { VOTES, .why = "more images than a tile", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(35, 2, 3) }, { OP_SHAPE(2, 3, 5) } } },
    { VOTES, .why = "two blocks of columns", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(1, 2, 4) }, { OP_SHAPE(2, 4, 290) } } },
    { VOTES, .why = "zeros", .agree = AGREE_BITS,
      .in = { { OP_SHAPE(2, 3, 4), .fill = FILL_ZERO }, { OP_SHAPE(3, 4, 5) } } },
    { VOTES, .why = "codes", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(5, 3, 7), .fill = FILL_INTEGER, .size = 127.0f, .scale = 0.02f },
              { OP_SHAPE(3, 7, 17), .fill = FILL_INTEGER, .size = 128.0f, .scale = 0.3f } } },
    { VOTES, .why = "codes, exact up to the last bit", .agree = AGREE_INTEGERS,
      .in = { { OP_SHAPE(2, 1, 1), .fill = FILL_SIGN, .scale = 1.0f },
              { OP_SHAPE(1, 1, 33), .fill = FILL_INTEGER, .size = 16777214.0f, .scale = 1.0f } } },
};

Test(caps_votes, match_their_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

Test(caps_votes, of_codes_are_codes)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { VOTES, .why = "facts",
                        .in = { { OP_SHAPE(2, 1, 4), .fill = FILL_COUNT, .size = 15.0f, .scale = 0.5f },
                                { OP_SHAPE(1, 4, 33), .fill = FILL_INTEGER, .size = 8.0f, .scale = 0.3f } } };

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_forward(&rig);
        float *scale = op_rig_read(&rig, rig.out.scale, 1);
        cr_assert(rig.out.n_scale == 1 && scale[0] == 0.5f * 0.3f, "%s: scale %.9g", backends[b], (double)scale[0]);
        cr_assert(rig.out.qmin == -rig.out.qmax &&
                      rig.out.qmax == 4 * dt_code_bound(&rig.in[0]) * dt_code_bound(&rig.in[1]),
                  "%s: qmax is %lld", backends[b], (long long)rig.out.qmax);
        free(scale);
        op_rig_close(&rig);
    }
}

Test(caps_votes, misfits_are_refused)
{
    const op_case shapes = { VOTES, .why = "A", .in = { { OP_SHAPE(2, 3, 4) }, { OP_SHAPE(3, 5, 6) } } };
    op_case_refused(&shapes, DT_ERR_SHAPE, "caps_votes: x is 2x3x4, w is 3x5x6; needed are N,I,A and I,A,C");
    const op_case inputs = { VOTES, .why = "I", .in = { { OP_SHAPE(2, 3, 4) }, { OP_SHAPE(2, 4, 6) } } };
    op_case_refused(&inputs, DT_ERR_SHAPE, "x is 2x3x4, w is 2x4x6");
    const op_case flat = { VOTES, .why = "axes", .in = { { OP_SHAPE(2, 12) }, { OP_SHAPE(3, 4, 6) } } };
    op_case_refused(&flat, DT_ERR_SHAPE, "x is 2x12");
    const op_case half = { VOTES, .why = "one of them on the grid",
                           .in = { { OP_SHAPE(2, 3, 4), .fill = FILL_COUNT, .scale = 1.0f }, { OP_SHAPE(3, 4, 6) } } };
    op_case_refused(&half, DT_ERR_UNSUPPORTED, "x has 1 scales, w has 0");
    const op_case scales = { VOTES, .why = "a scale for each capsule",
                             .in = { { OP_SHAPE(2, 3, 4), .fill = FILL_COUNT, .scale = 1.0f },
                                     { OP_SHAPE(3, 4, 6), .fill = FILL_COUNT, .scale = 1.0f, .n_scale = 3 } } };
    op_case_refused(&scales, DT_ERR_UNSUPPORTED, "x has 1 scales, w has 3");
}

/* What the case of a large batch does, which no test has room for. */
Test(caps_votes, past_the_caches_are_the_same)
{
    enum { COLUMNS = 48 };
    static _Alignas(64) float x[8], w[8 * COLUMNS], near[COLUMNS], past[COLUMNS];

    if (!dt_votes_avx512_fit(8, COLUMNS)) cr_skip("skipped: this CPU's level has no AVX-512");
    for (int i = 0; i < 8 * COLUMNS; i++) {
        x[i % 8] = 0.3f * (float)(i % 8) - 1.0f;
        w[i] = 0.1f * (float)(i % 13) - 0.5f;
    }
    dt_vote_avx512(x, w, COLUMNS, 0, near);
    dt_vote_avx512(x, w, COLUMNS, 1, past);
    dt_votes_avx512_done();
    for (int c = 0; c < COLUMNS; c++) {
        cr_assert(near[c] == past[c] && near[c] != 0.0f, "column %d: %.9g, past the caches %.9g", c, (double)near[c],
                  (double)past[c]);
    }
}

static dt_status infer_codes(int64_t x_bound, int64_t w_bound)
{
    dt_tensor x = { .shape = OP_SHAPE(2, 3, 8), .n_scale = 1, .qmax = x_bound }, out = { 0 };
    dt_tensor w = { .shape = OP_SHAPE(3, 8, 5), .n_scale = 1, .qmin = -w_bound, .qmax = w_bound - 1 };
    dt_node node = { .kind = DT_OP_CAPS_VOTES, .name = "layer", .in = { &x, &w }, .n_in = 2, .out = &out };
    return dt_ops[DT_OP_CAPS_VOTES]->infer(&node);
}

Test(caps_votes, of_codes_are_exact_or_refused)
{
    cr_assert(infer_codes(1023, 2048) == DT_OK, "%s", dt_last_error());
    cr_assert(infer_codes(1024, 2048) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(),
                     "layer: caps_votes: 8 products of codes of x up to 1024 and of w up to 2048 may sum "
                     "to 16777216, and f32 sums are exact below 16777216"),
              "%s", dt_last_error());
    /* beyond 64 bits */
    cr_assert(infer_codes((int64_t)1 << 31, (int64_t)1 << 31) == DT_ERR_UNSUPPORTED);
}
