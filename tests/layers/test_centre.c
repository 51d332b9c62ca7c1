/*
 * test_centre.c - images less a mean image against the formula in double; that pixels come out as pixel / 256 to the
 * bit.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void centre_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_centre_params *p = c->params;
    const int64_t each = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < dt_count(&c->in[0].shape); i++) {
        out[i] = in[0][i] * (double)p->factor / (double)p->divisor - in[1][i % each];
    }
}

static const dt_centre_params pixels = { 255.0f, 256.0f }, none = { 1.0f, 1.0f };

#define CENTRE(P) .op = DT_OP_CENTRE, .n_in = 2, .params = &P, .oracle = centre_oracle, .agree = AGREE_BITS

static const op_case cases[] = {
    { CENTRE(none), .why = "one", .in = { { OP_SHAPE(1, 1) }, { OP_SHAPE(1), .state = 1 } } },
    { CENTRE(pixels), .why = "images",
      .in = { { OP_SHAPE(3, 7, 5, 3), .fill = FILL_POSITIVE }, { OP_SHAPE(7, 5, 3), .state = 1 } } },
    { CENTRE(none), .why = "one image", .in = { { OP_SHAPE(1, 33, 3, 1) }, { OP_SHAPE(33, 3, 1), .state = 1 } } },
    { CENTRE(none), .why = "a flat mean", .in = { { OP_SHAPE(33, 7) }, { OP_SHAPE(7), .state = 1 } } },
    { CENTRE(pixels), .why = "large", .in = { { OP_SHAPE(3, 33), .size = 1e6f }, { OP_SHAPE(33), .state = 1 } } },
    { CENTRE(none), .why = "zeros", .in = { { OP_SHAPE(3, 33), .fill = FILL_ZERO }, { OP_SHAPE(33), .state = 1 } } },
};

Test(centre, matches_its_oracle)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* Of every pixel p, which an image of pixels in 0..1 holds as p / 255, y is p / 256 exactly where the mean is 0. */
Test(centre, pixels_become_256ths)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const op_case c = { CENTRE(pixels), .why = "256ths",
                        .in = { { OP_SHAPE(1, 256) }, { OP_SHAPE(256), .state = 1 } } };
    float x[256], mean[256] = { 0.0f };

    for (int i = 0; i < 256; i++) x[i] = (float)i / 255.0f;
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, x, sizeof x);
        op_rig_write(&rig, rig.in[1].data, mean, sizeof mean);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 256);
        for (int i = 0; i < 256; i++) {
            cr_assert(y[i] == (float)i / 256.0f, "%s: %d is %.9g", backends[b], i, (double)y[i]);
        }
        free(y);
        op_rig_close(&rig);
    }
}

Test(centre, misfits_are_refused)
{
    const dt_centre_params zero = { 0.0f, 1.0f };
    const op_case size = { CENTRE(none), .why = "size", .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(3), .state = 1 } } };
    op_case_refused(&size, DT_ERR_SHAPE, "the mean has 3 values, and x 14 for 2 images");
    const op_case factor = { CENTRE(zero), .why = "factor", .in = { { OP_SHAPE(2, 7) }, { OP_SHAPE(7), .state = 1 } } };
    op_case_refused(&factor, DT_ERR_ARGUMENT, "factor is 0");
    const op_case codes = { CENTRE(none), .why = "codes",
                            .in = { { OP_SHAPE(2, 7), .fill = FILL_COUNT, .scale = 1.0f },
                                    { OP_SHAPE(7), .state = 1 } } };
    op_case_refused(&codes, DT_ERR_UNSUPPORTED, "x is on the grid");
}
