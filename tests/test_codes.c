/*
 * test_codes.c - stored codes and the table of pixels against copies and look-ups in double.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void codes_oracle(const op_case *c, const double *const *in, double *out)
{
    const int64_t count = dt_count(&c->in[0].shape), n_scale = dt_count(&c->in[1].shape);

    for (int64_t i = 0; i < count; i++) out[i] = in[0][i] * in[1][i / (count / n_scale)];
}

/* The step is all zeros: the batch starts the order. */
static void pixel_table_oracle(const op_case *c, const double *const *in, double *out)
{
    const dt_pixel_table_params *p = c->params;
    const int64_t *d = c->in[0].shape.dim;
    const int64_t image_count = d[1] * d[2] * d[3];

    for (int64_t i = 0; i < p->batch * image_count; i++) {
        const int64_t image = (int64_t)in[1][i / image_count];
        const int64_t pixel = (int64_t)in[0][image * image_count + i % image_count];
        out[i] = in[2][pixel * d[3] + i % d[3]] * in[3][0];
    }
}

static const dt_codes_params seven = { -7, 7 }, eight = { -128, 127 };
static const dt_pixel_table_params one = { 1, -7, 7 }, five = { 5, 0, 15 };

#define CODES       .op = DT_OP_CODES, .n_in = 2, .oracle = codes_oracle, .agree = AGREE_INTEGERS
#define PIXEL_TABLE .op = DT_OP_PIXEL_TABLE, .n_in = 4, .oracle = pixel_table_oracle, .agree = AGREE_INTEGERS
#define SCALES(...)                                                \
    {                                                              \
        OP_SHAPE(__VA_ARGS__), .fill = FILL_POSITIVE, .size = 0.1f \
    }

static const op_case cases[] = {
    { CODES, .why = "codes: one", .params = &seven, .in = { { OP_SHAPE(1, 1), .fill = FILL_INTEGER }, SCALES(1) } },
    { CODES, .why = "codes: filters of one scale", .params = &seven,
      .in = { { OP_SHAPE(7, 3, 3, 33), .fill = FILL_INTEGER }, SCALES(1) } },
    { CODES, .why = "codes: a scale for each filter", .params = &eight, .out_scale_first = 1,
      .in = { { OP_SHAPE(33, 3, 1, 7), .fill = FILL_INTEGER, .size = 127.0f }, SCALES(33) } },
    { PIXEL_TABLE, .why = "table: one pixel", .params = &one,
      .in = { { OP_SHAPE(1, 1, 1, 1), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f },
              { OP_SHAPE(1), .type = DT_I32, .fill = FILL_ZERO },
              { OP_SHAPE(256, 1), .fill = FILL_INTEGER },
              SCALES(1) } },
    { PIXEL_TABLE, .why = "table: odd sizes, all pixel values, images in another order", .params = &five,
      .in = { { OP_SHAPE(7, 9, 5, 3), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f },
              { OP_SHAPE(7), .type = DT_I32, .fill = FILL_COUNT, .size = 6.0f },
              { OP_SHAPE(256, 3), .fill = FILL_COUNT },
              SCALES(1) } },
};

Test(codes, operators_match_their_oracles)
{
    op_cases_run(cases, sizeof cases / sizeof cases[0]);
}

/* The second batch of the epoch: images 4 and 0, each one pixel that holds its number times ten. */
Test(codes, the_batch_starts_where_the_step_says)
{
    static const char *const backends[] = { "cpu", "cuda" };
    const dt_pixel_table_params two = { 2, 0, 255 };
    const op_case c = { PIXEL_TABLE, .why = "first", .params = &two,
                        .in = { { OP_SHAPE(5, 1, 1, 1), .type = DT_U8, .fill = FILL_ZERO },
                                { OP_SHAPE(5), .type = DT_I32, .fill = FILL_ZERO },
                                { OP_SHAPE(256, 1), .fill = FILL_ZERO },
                                SCALES(1) } };
    const uint8_t images[5] = { 0, 10, 20, 30, 40 };
    const int32_t order[5] = { 3, 1, 4, 0, 2 };
    const dt_step step = { .in = { .first = 2 } };
    float table[256];
    for (int i = 0; i < 256; i++) table[i] = (float)(255 - i);

    for (int b = 0; b < 2; b++) {
        op_rig rig;
        if (!op_rig_open(&rig, backends[b], 1, &c)) continue;
        op_rig_write(&rig, rig.in[0].data, images, sizeof images);
        op_rig_write(&rig, rig.in[1].data, order, sizeof order);
        op_rig_write(&rig, rig.in[2].data, table, sizeof table);
        op_rig_write(&rig, rig.ex.step, &step, sizeof step);
        op_rig_forward(&rig);
        float *x = op_rig_read(&rig, rig.out.data, 2);
        cr_assert(x[0] == 215.0f && x[1] == 255.0f, "%s: codes %g %g, expected 215 255", backends[b], (double)x[0],
                  (double)x[1]);
        free(x);
        op_rig_close(&rig);
    }
}

Test(codes, misfits_are_refused)
{
    const dt_codes_params empty = { 1, 0 };
    op_case c = { CODES, .why = "codes", .params = &seven, .in = { { OP_SHAPE(7, 3) }, { OP_SHAPE(3) } } };
    op_case_refused(&c, DT_ERR_SHAPE, "codes: 3 scales for 7 filters");
    c.in[1] = (op_input)SCALES(7);
    c.params = &empty;
    op_case_refused(&c, DT_ERR_ARGUMENT, "the range of the codes is 1..0");
    c.params = &seven;
    c.in[0].scale = 0.5f;
    op_case_refused(&c, DT_ERR_UNSUPPORTED, "they are a grid tensor already");
}

Test(codes, misfits_of_the_table_are_refused)
{
    const dt_pixel_table_params eight_images = { 8, 0, 15 }, empty = { 1, 1, 0 };
    op_case c = cases[4];
    c.params = &eight_images;
    op_case_refused(&c, DT_ERR_ARGUMENT, "batch is 8, the order holds 7 images");
    c.params = &empty;
    op_case_refused(&c, DT_ERR_ARGUMENT, "pixel_table: the range of the codes is 1..0");
    c.params = &five;
    c.in[2] = (op_input){ OP_SHAPE(256, 1), .fill = FILL_REAL };
    op_case_refused(&c, DT_ERR_SHAPE, "images are 7x9x5x3, the table is 256x1");
    c = cases[4];
    c.in[3] = (op_input)SCALES(3);
    op_case_refused(&c, DT_ERR_SHAPE, "takes one scale, got 3");
    c.in[0].type = DT_F32;
    op_case_refused(&c, DT_ERR_ARGUMENT, "needs images of u8");
}
