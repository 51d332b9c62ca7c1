/*
 * augment_rig.h - images, an order and parameters for the tests of batches, and a batch of them.
 */
#ifndef AUGMENT_RIG_H
#define AUGMENT_RIG_H

#include "op_case.h"

#include <stdint.h>
#include <stdlib.h>

#include "../../layers/augment.h"

enum { IMAGES = 12, HEIGHT = 5, WIDTH = 7, CHANNELS = 3, BATCH = 4, COUNT = HEIGHT * WIDTH * CHANNELS };

#define NORMALISED .mean = { 0.4914f, 0.4822f, 0.4465f }, .std = { 0.247f, 0.243f, 0.2616f }

static const dt_augment_params still = { .batch = BATCH, NORMALISED };
static const dt_augment_params cropped = { .batch = BATCH, .crop_pad = 2, .flip_share = 0.5f, NORMALISED };
static const dt_augment_params shifted = { .batch = BATCH, .shift = 2, NORMALISED };
static const dt_augment_params turned = {
    .batch = BATCH, .crop_pad = 1, .shift = 2, .rotation = 45.0f, .flip_share = 0.3f, NORMALISED
};
static const dt_augment_params recoloured = { .batch = BATCH,
                                              .crop_pad = 1,
                                              .flip_share = 0.5f,
                                              .flip_kind = DT_FLIP_ALTERNATING,
                                              .cutout = 3,
                                              .brightness = 0.6f,
                                              .contrast = 0.4f,
                                              NORMALISED };

#define IMAGE_INPUT                                                                                  \
    {                                                                                                \
        OP_SHAPE(IMAGES, HEIGHT, WIDTH, CHANNELS), .type = DT_U8, .fill = FILL_COUNT, .size = 255.0f \
    }
#define ORDER_INPUT                                          \
    {                                                        \
        OP_SHAPE(IMAGES), .type = DT_I32, .fill = FILL_COUNT \
    }

static inline op_case augment_case(const dt_augment_params *p)
{
    return (
        op_case){ .why = "augment", .op = DT_OP_AUGMENT, .params = p, .n_in = 2, .in = { IMAGE_INPUT, ORDER_INPUT } };
}

/* Pixel values 0..255 all occur. */
static inline uint8_t pixel(int64_t image, int64_t h, int64_t w, int64_t c)
{
    return (uint8_t)((((image * HEIGHT + h) * WIDTH + w) * CHANNELS + c) * 37 % 256);
}

static inline int32_t order_at(int64_t i)
{
    return (int32_t)(i * 5 % IMAGES);
}

/* Opens, and fills in images, the order and the step; the batch is order[first...]. */
static inline int open_batch(op_rig *rig, const char *backend, int threads, const op_case *c, const dt_step_in *in)
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
static inline float *batch_of(const char *backend, int threads, const dt_augment_params *p, const dt_step_in *in)
{
    const op_case c = augment_case(p);
    op_rig rig;
    if (!open_batch(&rig, backend, threads, &c, in)) return NULL;
    op_rig_forward(&rig);
    float *x = op_rig_read(&rig, rig.out.data, BATCH * COUNT);
    op_rig_close(&rig);
    return x;
}

#endif /* AUGMENT_RIG_H */
