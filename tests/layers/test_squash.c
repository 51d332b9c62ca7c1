/*
 * test_squash.c - the capsules' non-linearity against lengths in double.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* As the paper writes it: the squared length over one more, times the unit vector. */
static void squash_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_caps_params *p = c->params;
    const int64_t count = dt_count(&c->in[0].shape);

    for (int64_t i = 0; i < count; i++) {
        double square = 0.0;
        for (int64_t j = i / p->dim * p->dim; j < (i / p->dim + 1) * p->dim; j++) square += pow(in[0][j], 2.0);
        out[i] = square > 0.0 ? square / (1.0 + square) * (in[0][i] / sqrt(square)) : 0.0;
    }
}

#define SQUASH .op = DT_OP_SQUASH, .n_in = 1, .oracle = squash_oracle, .agree = AGREE_BITS

static const dt_caps_params of[] = {
    [1] = { 1 }, [4] = { 4 }, [5] = { 5 }, [7] = { 7 }, [8] = { 8 }, [16] = { 16 }, [32] = { 32 }, [33] = { 33 }
};

static const op_case cases[] = {
    { SQUASH, .why = "capsules of one value", .params = &of[1], .in = { { OP_SHAPE(3, 7) } } },
    { SQUASH, .why = "of 4", .params = &of[4], .in = { { OP_SHAPE(2, 3, 3, 12) } } },
    { SQUASH, .why = "of 5: no vector", .params = &of[5], .in = { { OP_SHAPE(7, 15) } } },
    { SQUASH, .why = "of 8", .params = &of[8], .in = { { OP_SHAPE(1, 3, 2, 32) } } },
    { SQUASH, .why = "of 16", .params = &of[16], .in = { { OP_SHAPE(3, 48) } } },
    { SQUASH, .why = "of 32", .params = &of[32], .in = { { OP_SHAPE(2, 2, 1, 32) } } },
    { SQUASH, .why = "of 33: vectors and a rest", .params = &of[33], .in = { { OP_SHAPE(3, 33) } } },
    { SQUASH, .why = "one capsule of 7", .params = &of[7], .in = { { OP_SHAPE(7) } } },
    { SQUASH, .why = "short", .params = &of[4], .in = { { OP_SHAPE(3, 8), .size = 1e-3f } } },
    { SQUASH, .why = "long", .params = &of[8], .in = { { OP_SHAPE(3, 16), .size = 1e4f } } },
    { SQUASH, .why = "a length of 1, where k is 0", .params = &of[1], .in = { { OP_SHAPE(9), .fill = FILL_SIGN } } },
    { SQUASH, .why = "zeros: 0, and slope 0", .params = &of[8], .in = { { OP_SHAPE(3, 16), .fill = FILL_ZERO } } },
};

Test(squash, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* A capsule of 3 and 4 has length 5. */
Test(squash, gives_the_paper_s_numbers)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const dt_caps_params two = { 2 };
    const op_case c = { SQUASH, .why = "3, 4", .params = &two, .in = { { OP_SHAPE(1, 4) } } };
    const float s[4] = { 3.0f, 4.0f, 0.0f, 0.0f };
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, s, sizeof s);
        op_rig_forward(&rig);
        float *v = op_rig_read(&rig, rig.out.data, 4);
        for (int i = 0; i < 4; i++) {
            const double want = 25.0 / 26.0 * (double)s[i] / 5.0;
            cr_assert(fabs((double)v[i] - want) < 1e-7, "%s: v[%d] is %.9g, expected %.9g", backends[b], i,
                      (double)v[i], want);
        }
        free(v);
        op_rig_close(&rig);
    }
}

Test(squash, misfits_are_refused)
{
    const dt_caps_params none = { 0 };
    const op_case channels = { SQUASH, .why = "channels", .params = &of[8], .in = { { OP_SHAPE(2, 12) } } };
    op_case_refused(&channels, DT_ERR_SHAPE, "x has 12 channels, which are no capsules of 8 values");
    const op_case empty = { SQUASH, .why = "dim", .params = &none, .in = { { OP_SHAPE(2, 12) } } };
    op_case_refused(&empty, DT_ERR_SHAPE, "no capsules of 0 values");
    const op_case codes = { SQUASH, .why = "codes", .params = &of[4],
                            .in = { { OP_SHAPE(2, 12), .fill = FILL_INTEGER, .scale = 0.5f } } };
    op_case_refused(&codes, DT_ERR_ARGUMENT, "put a BIAS before");
}
