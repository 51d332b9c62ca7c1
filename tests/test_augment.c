/*
 * test_augment.c - batches out of a dataset: every image must be one of the crops that the definition allows, and the
 *                  choice must depend on seed, epoch and index alone.
 */
#include "op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 12, HEIGHT = 5, WIDTH = 7, CHANNELS = 3, BATCH = 4, COUNT = HEIGHT * WIDTH * CHANNELS };

static const dt_augment_params still = { BATCH, 0, 0, { 0.4914f, 0.4822f, 0.4465f }, { 0.247f, 0.243f, 0.2616f } };
static const dt_augment_params moved = { BATCH, 2, 1, { 0.4914f, 0.4822f, 0.4465f }, { 0.247f, 0.243f, 0.2616f } };
static const char *const backends[] = { "cpu", "cuda" };

#define IMAGE_INPUT                                                                                  \
    {                                                                                                \
        OP_SHAPE(IMAGES, HEIGHT, WIDTH, CHANNELS), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f \
    }
#define ORDER_INPUT                                          \
    {                                                        \
        OP_SHAPE(IMAGES), .type = DT_I32, .fill = FILL_COUNT \
    }

static op_case augment_case(const dt_augment_params *p)
{
    return (
        op_case){ .why = "augment", .op = DT_OP_AUGMENT, .params = p, .n_in = 2, .in = { IMAGE_INPUT, ORDER_INPUT } };
}

/* Pixel values 0..255 all occur. */
static uint8_t pixel(int64_t image, int64_t h, int64_t w, int64_t c)
{
    return (uint8_t)((((image * HEIGHT + h) * WIDTH + w) * CHANNELS + c) * 37 % 256);
}

static int32_t order_at(int64_t i)
{
    return (int32_t)(i * 5 % IMAGES);
}

/* Opens, and fills in images, the order and the step; the batch is order[first...]. */
static int open_batch(op_rig *rig, const char *backend, int threads, const op_case *c, const dt_step_in *in)
{
    uint8_t images[IMAGES * COUNT];
    int32_t order[IMAGES];
    const dt_step step = { .in = *in };
    if (!op_rig_open(rig, backend, threads, c)) return 0;

    for (int64_t i = 0; i < IMAGES * COUNT; i++) {
        images[i] = pixel(i / COUNT, i / (WIDTH * CHANNELS) % HEIGHT, i / CHANNELS % WIDTH, i % CHANNELS);
    }
    for (int64_t i = 0; i < IMAGES; i++) order[i] = order_at(i);
    op_rig_write(rig, rig->in[0].data, images, sizeof images);
    op_rig_write(rig, rig->in[1].data, order, sizeof order);
    op_rig_write(rig, rig->ex.step, &step, sizeof step);
    return 1;
}

/* The batch on one backend, which the caller frees; NULL if it is not here. */
static float *batch_of(const char *backend, int threads, const dt_augment_params *p, const dt_step_in *in)
{
    const op_case c = augment_case(p);
    op_rig rig;
    if (!open_batch(&rig, backend, threads, &c, in)) return NULL;
    op_rig_forward(&rig);
    float *x = op_rig_read(&rig, rig.out.data, BATCH * COUNT);
    op_rig_close(&rig);
    return x;
}

/* Whether x is image cropped at (top, left) of the padded picture and, if asked, mirrored. */
static int is_view(const float *x, int64_t image, int top, int left, int mirror, const dt_augment_params *p)
{
    for (int i = 0; i < COUNT; i++) {
        const int c = i % CHANNELS, w = i / CHANNELS % WIDTH, h = i / CHANNELS / WIDTH;
        const int from_h = h + top - p->crop_pad, from_w = (mirror ? WIDTH - 1 - w : w) + left - p->crop_pad;
        const int inside = from_h >= 0 && from_h < HEIGHT && from_w >= 0 && from_w < WIDTH;
        const double value = inside ? pixel(image, from_h, from_w, c) / 255.0 : 0.0;
        const double want = (value - (double)p->mean[c]) / (double)p->std[c];
        if (fabs((double)x[i] - want) > 1e-6) return 0; /* three f32 roundings of values below 3 */
    }
    return 1;
}

/* How many of the views x is; the last is left in found. */
static int count_views(const float *x, int64_t image, const dt_augment_params *p, int found[3])
{
    int n = 0;
    for (int top = 0; top <= 2 * p->crop_pad; top++) {
        for (int left = 0; left <= 2 * p->crop_pad; left++) {
            for (int mirror = 0; mirror <= p->flip; mirror++) {
                if (!is_view(x, image, top, left, mirror, p)) continue;
                found[0] = top;
                found[1] = left;
                found[2] = mirror;
                n++;
            }
        }
    }
    return n;
}

Test(augment, without_crop_and_flip_it_only_normalises)
{
    const dt_step_in in = { .seed = 5, .epoch = 3, .first = 7 };
    for (int b = 0; b < 2; b++) {
        float *x = batch_of(backends[b], 1, &still, &in);
        for (int n = 0; x && n < BATCH; n++) {
            cr_assert(is_view(x + n * COUNT, order_at(in.first + n), 0, 0, 0, &still), "%s: image %d", backends[b], n);
        }
        free(x);
    }
}

/* Over 2,000 images every offset comes up 400 times, every side 1,000; 6 standard deviations are 107 and 134. */
Test(augment, crops_and_mirrors_evenly)
{
    int tops[5] = { 0 }, lefts[5] = { 0 }, mirrors[2] = { 0 }, found[3];
    for (uint32_t epoch = 0; epoch < 500; epoch++) {
        const dt_step_in in = { .seed = 1, .epoch = epoch, .first = epoch % 8 };
        float *x = batch_of("cpu", 1, &moved, &in);
        for (int n = 0; n < BATCH; n++) {
            const int views = count_views(x + n * COUNT, order_at(in.first + n), &moved, found);
            cr_assert(views == 1, "epoch %u, image %d is %d of the allowed views", epoch, n, views);
            tops[found[0]]++;
            lefts[found[1]]++;
            mirrors[found[2]]++;
        }
        free(x);
    }
    for (int i = 0; i < 5; i++) {
        cr_assert(abs(tops[i] - 400) < 107 && abs(lefts[i] - 400) < 107, "offset %d: %d rows, %d columns of 2000", i,
                  tops[i], lefts[i]);
    }
    cr_assert(abs(mirrors[1] - 1000) < 134, "%d of 2000 are mirrored", mirrors[1]);
}

Test(augment, cuda_draws_and_computes_what_the_cpu_does)
{
    const dt_step_in in = { .seed = 0x123456789abcULL, .epoch = 9, .first = 2 };
    float *cpu = batch_of("cpu", 1, &moved, &in), *cuda = batch_of("cuda", 1, &moved, &in);
    float *threads = batch_of("cpu", 2, &moved, &in);
    for (int i = 0; i < BATCH * COUNT; i++) {
        cr_assert(cpu[i] == threads[i], "[%d] is %g with two threads, %g with one", i, (double)threads[i],
                  (double)cpu[i]);
        cr_assert(!cuda || cuda[i] == cpu[i], "[%d] is %g on cuda, %g on the cpu", i, (double)cuda[i], (double)cpu[i]);
    }
    free(cpu);
    free(cuda);
    free(threads);
}

/* Image 5 stands second in one batch and first in the other. */
Test(augment, a_view_depends_on_the_image_and_not_on_its_place)
{
    const dt_step_in early = { .seed = 1, .first = 0 }, late = { .seed = 1, .first = 1 };
    float *a = batch_of("cpu", 1, &moved, &early), *b = batch_of("cpu", 1, &moved, &late);
    cr_assert(memcmp(a + COUNT, b, COUNT * sizeof *a) == 0);
    free(a);
    free(b);
}

Test(augment, gather_takes_the_labels_of_the_same_images)
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

Test(augment, misfits_are_refused)
{
    dt_augment_params p = moved;
    op_case c = augment_case(&p);
    p.batch = IMAGES + 1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "batch is 13, the order holds 12 images");
    p = moved;
    p.std[1] = 0.0f;
    op_case_refused(&c, DT_ERR_ARGUMENT, "std[1] is 0");
    p = moved;
    p.crop_pad = -1;
    op_case_refused(&c, DT_ERR_ARGUMENT, "crop_pad is -1");
    c.in[0].type = DT_F32;
    p = moved;
    op_case_refused(&c, DT_ERR_ARGUMENT, "needs images of u8");
    c.in[0] = (op_input){ OP_SHAPE(1, 2, 2, 5), .type = DT_U8 };
    op_case_refused(&c, DT_ERR_SHAPE, "images are 1x2x2x5");
}
