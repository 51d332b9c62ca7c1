/*
 * test_gather.c - labels and rows of a batch, which are those of its images: GATHER and ROWS of layers/augment.c.
 */
#include "../support/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { IMAGES = 12, BATCH = 4 };

static const char *const backends[] = { "cpu", "cuda" };

#define ORDER_INPUT                                          \
    {                                                        \
        OP_SHAPE(IMAGES), .type = DT_I32, .fill = FILL_COUNT \
    }

static int32_t order_at(int64_t i)
{
    return (int32_t)(i * 5 % IMAGES);
}

Test(gather, takes_the_labels_of_the_same_images)
{
    const dt_gather_params p = { BATCH };
    const op_case c = { .why = "gather",
                        .op = DT_OP_GATHER,
                        .params = &p,
                        .n_in = 2,
                        .in = { { OP_SHAPE(IMAGES), .type = DT_I32, .fill = FILL_COUNT }, ORDER_INPUT } };
    const dt_step step = { .in = { .first = 5 } };
    int32_t labels[IMAGES], order[IMAGES], got[BATCH];
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = 100 + i;
        order[i] = order_at(i);
    }
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, labels, sizeof labels);
        op_rig_write(&rig, rig.in[1].data, order, sizeof order);
        op_rig_write(&rig, rig.ex.step, &step, sizeof step);
        op_rig_forward(&rig);
        cr_assert(dt_device_read(rig.ctx, got, rig.out.data, sizeof got) == DT_OK);
        for (int n = 0; n < BATCH; n++) {
            cr_assert(got[n] == 100 + order_at(5 + n), "%s: label %d is %d", backends[b], n, got[n]);
        }
        op_rig_close(&rig);
    }
}

Test(gather, takes_all_labels_of_an_image)
{
    enum { LABELS = 3 };
    const dt_gather_params p = { BATCH };
    const op_case c = { .why = "gather labels",
                        .op = DT_OP_GATHER,
                        .params = &p,
                        .n_in = 2,
                        .in = { { OP_SHAPE(IMAGES, LABELS), .type = DT_I32, .fill = FILL_COUNT }, ORDER_INPUT } };
    const dt_step step = { .in = { .first = 5 } };
    int32_t labels[IMAGES * LABELS], order[IMAGES], got[BATCH * LABELS];
    for (int i = 0; i < IMAGES * LABELS; i++) labels[i] = 100 + i;
    for (int i = 0; i < IMAGES; i++) order[i] = order_at(i);
    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        cr_assert(rig.out.shape.ndim == 2 && rig.out.shape.dim[0] == BATCH && rig.out.shape.dim[1] == LABELS);
        op_rig_write(&rig, rig.in[0].data, labels, sizeof labels);
        op_rig_write(&rig, rig.in[1].data, order, sizeof order);
        op_rig_write(&rig, rig.ex.step, &step, sizeof step);
        op_rig_forward(&rig);
        cr_assert(dt_device_read(rig.ctx, got, rig.out.data, sizeof got) == DT_OK);
        for (int i = 0; i < BATCH * LABELS; i++) {
            const int want = 100 + order_at(5 + i / LABELS) * LABELS + i % LABELS;
            cr_assert(got[i] == want, "%s: label %d is %d, expected %d", backends[b], i, got[i], want);
        }
        op_rig_close(&rig);
    }
}

#define ROWS_CASE(p)                                                                                               \
    {                                                                                                              \
        .why = "rows", .op = DT_OP_ROWS, .params = p, .n_in = 2, .in = { { OP_SHAPE(IMAGES, 7, 3) }, ORDER_INPUT } \
    }

Test(gather, rows_takes_those_of_the_same_images)
{
    enum { ROW = 7 * 3 };
    const dt_rows_params p = { BATCH };
    const op_case c = ROWS_CASE(&p);
    const dt_step step = { .in = { .first = 5 } };
    float rows[IMAGES * ROW];
    int32_t order[IMAGES];
    for (int i = 0; i < IMAGES * ROW; i++) rows[i] = (float)i;
    for (int i = 0; i < IMAGES; i++) order[i] = order_at(i);

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 2, &c)) continue;
        cr_assert(rig.out.shape.ndim == 3 && rig.out.shape.dim[0] == BATCH);
        op_rig_write(&rig, rig.in[0].data, rows, sizeof rows);
        op_rig_write(&rig, rig.in[1].data, order, sizeof order);
        op_rig_write(&rig, rig.ex.step, &step, sizeof step);
        op_rig_forward(&rig);
        float *x = op_rig_read(&rig, rig.out.data, BATCH * ROW);
        for (int i = 0; i < BATCH * ROW; i++) {
            const float want = rows[order_at(5 + i / ROW) * ROW + i % ROW];
            cr_assert(x[i] == want, "%s: [%d] is %g, expected %g", backends[b], i, (double)x[i], (double)want);
        }
        free(x);
        op_rig_close(&rig);
    }
}

Test(gather, rows_of_codes_keep_their_scale)
{
    const dt_rows_params p = { BATCH };
    op_case c = ROWS_CASE(&p);
    op_rig rig;
    c.in[0] = (op_input){ OP_SHAPE(IMAGES, 7), .fill = FILL_INTEGER, .scale = 0.5f };
    cr_assert(op_rig_open(&rig, "cpu", 1, &c));
    cr_assert(rig.out.n_scale == 1 && rig.out.scale == rig.in[0].scale && rig.out.qmin == rig.in[0].qmin);
    op_rig_close(&rig);
}

Test(gather, rows_that_do_not_fit_are_refused)
{
    dt_rows_params p = { IMAGES + 1 };
    op_case c = ROWS_CASE(&p);
    op_case_refused(&c, DT_ERR_ARGUMENT, "batch is 13, the order holds 12 images");
    p.batch = BATCH;
    c.in[0].type = DT_I32;
    op_case_refused(&c, DT_ERR_ARGUMENT, "needs rows of f32");
}
