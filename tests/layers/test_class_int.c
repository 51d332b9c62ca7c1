/*
 * test_class_int.c - lengths of class capsules of codes against their definition; the class by the sum of squares where
 *                    lengths are equal; gradients against the real length's formula.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* s_frac of the cases */
enum { FRAC = 5 };

static const char *const backends[] = { "cpu", "cuda" };

static uint64_t square_of(const float *s, int dim)
{
    uint64_t q = 0;
    for (int d = 0; d < dim; d++) q += (uint64_t)llrintf(s[d] * s[d]);
    return q;
}

/* in the codes' own integers, without the header's functions */
static void check_lengths(const float *s, int classes, int dim, const float *y, const char *backend)
{
    int best = 0, first = 0;
    for (int j = 0; j < classes; j++) {
        if (square_of(s + j * dim, dim) > square_of(s + best * dim, dim)) best = j;
        if (y[j] > y[first]) first = j;
    }
    cr_assert(first == best, "%s: the class is %d, expected %d", backend, first, best);
    for (int j = 0; j < classes; j++) {
        const uint64_t q = square_of(s + j * dim, dim), want = (q << 24) / (q + ((uint64_t)1 << 2 * FRAC));
        const double more = (double)y[j] - (double)want;
        cr_assert(more == 0.0 || (j == best && more == 1.0), "%s: length %d is %.0f, expected %llu", backend, j,
                  (double)y[j], (unsigned long long)want);
    }
}

#define CLASS(D) .op = DT_OP_CLASS_INT, .params = &(const dt_class_int_params){ D, FRAC }, .n_in = 1

static const op_case cases[] = {
    { CLASS(3), .why = "odd sizes",
      .in = { { OP_SHAPE(3, 21), .fill = FILL_INTEGER, .size = 90.0f, .scale = 0.03125f, .scale_form = FRAC } } },
    { CLASS(16), .why = "ten classes of 16",
      .in = { { OP_SHAPE(5, 160), .fill = FILL_INTEGER, .size = 200.0f, .scale = 0.03125f, .scale_form = FRAC } } },
    { CLASS(1), .why = "one class of one value",
      .in = { { OP_SHAPE(2, 1), .fill = FILL_INTEGER, .size = 30.0f, .scale = 0.03125f, .scale_form = FRAC } } },
};

Test(class_int, lengths)
{
    op_rig rig;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int b = 0; b < 2; b++) {
            if (!op_rig_open(&rig, backends[b], 1, &cases[i])) continue;
            const int dim = ((const dt_class_int_params *)cases[i].params)->dim;
            const int classes = (int)rig.out.shape.dim[1], images = (int)rig.out.shape.dim[0];
            op_rig_forward(&rig);
            float *s = op_rig_read(&rig, rig.in[0].data, (int64_t)images * classes * dim);
            float *y = op_rig_read(&rig, rig.out.data, (int64_t)images * classes);
            for (int n = 0; n < images; n++)
                check_lengths(s + n * classes * dim, classes, dim, y + n * classes, backends[b]);
            free(s);
            free(y);
            op_rig_close(&rig);
        }
    }
}

static const op_case case_of_class_is_decided_by_squares = {
    CLASS(2), .why = "lengths that are equal",
    .in = { { OP_SHAPE(2, 6), .fill = FILL_INTEGER, .size = 32000.0f, .scale = 0.03125f, .scale_form = FRAC } }
};

/* 180 and 179 steps of 2^-5 in squares beyond 2^24 of the length's steps */
Test(class_int, class_is_decided_by_squares)
{
    static const float s[] = { 3, 4, 30000, 29999, 30000, 30000, 30000, 30000, 30000, 30000, 0, 0 };
    op_rig rig;

    for (int b = 0; b < 2; b++) {
        if (!op_rig_open(&rig, backends[b], 1, &case_of_class_is_decided_by_squares)) continue;
        op_rig_write(&rig, rig.in[0].data, s, sizeof s);
        op_rig_forward(&rig);
        float *y = op_rig_read(&rig, rig.out.data, 6);
        check_lengths(s, 3, 2, y, backends[b]);
        check_lengths(s + 6, 3, 2, y + 3, backends[b]);
        cr_assert(y[2] == y[1] + 1.0f, "%s: the lengths are %g and %g", backends[b], (double)y[1], (double)y[2]);
        cr_assert(y[3] == y[4], "%s: of equals the first is the class", backends[b]);
        free(y);
        op_rig_close(&rig);
    }
}

Test(class_int, gradients)
{
    const op_case *c = &cases[0];
    op_rig rig;

    for (int b = 0; b < 2; b++) {
        if (!op_rig_open(&rig, backends[b], 1, c)) continue;
        const int64_t n = dt_count(&rig.in[0].shape), lengths = dt_count(&rig.out.shape);
        float *dy = op_test_dy(lengths), *s = op_rig_read(&rig, rig.in[0].data, n);
        op_rig_forward(&rig);
        op_rig_backward(&rig, dy);
        float *ds = op_rig_read(&rig, rig.in[0].grad, n);
        for (int64_t i = 0; i < n; i++) {
            const double Q = (double)square_of(s + i / 3 * 3, 3) / 1024.0;
            const double want = 0.5 + (double)dy[i / 3] * 2.0 * (double)s[i] / 32.0 / ((1.0 + Q) * (1.0 + Q));
            cr_assert(fabs((double)ds[i] - want) < 1e-6, "%s: ds[%d] is %.8g, expected %.8g", backends[b], (int)i,
                      (double)ds[i], want);
        }
        free(dy);
        free(s);
        free(ds);
        op_rig_close(&rig);
    }
}

static const op_case real_of_refuses = { CLASS(3), .why = "real values",
                                         .in = { { OP_SHAPE(2, 6), .fill = FILL_REAL } } };

static const op_case wide_of_refuses = { CLASS(4), .why = "no capsules of 4",
                                         .in = { { OP_SHAPE(2, 6), .scale = 0.03125f, .scale_form = FRAC } } };

Test(class_int, refuses)
{

    op_case_refused(&wide_of_refuses, DT_ERR_SHAPE, "C a multiple");
    op_case_refused(&real_of_refuses, DT_ERR_ARGUMENT, "fraction bits");
}
