/*
 * augment.h - the random crop and mirror of one training image, and the value of one pixel; one for CPU and CUDA.
 *
 * The draws are a function of (seed, epoch, index in the dataset) alone: the same image gets the same crop whatever
 * the batch size, the device, and wherever the run was stopped and resumed.
 *
 * The operator is in augment.c.
 */
#ifndef DT_AUGMENT_H
#define DT_AUGMENT_H

#include "../core/rng.h"

/* Output pixel (h, w) is input pixel (h + top, (mirror ? width - 1 - w : w) + left), or a pixel 0 outside the image. */
typedef struct {
    int top, left; /* -crop_pad..crop_pad */
    int mirror;
} dt_augment_view;

static inline DT_HD dt_augment_view dt_augment_draw(uint64_t seed, uint32_t epoch, int64_t index, int crop_pad,
                                                    int flip)
{
    const dt_random4 r = dt_random(seed, DT_STREAM_AUGMENT, epoch, (uint64_t)index);
    const uint32_t offsets = 2 * (uint32_t)crop_pad + 1;
    dt_augment_view view;
    view.top = (int)dt_below(r.v[0], offsets) - crop_pad;
    view.left = (int)dt_below(r.v[1], offsets) - crop_pad;
    view.mirror = flip && r.v[2] >> 31;
    return view;
}

static inline DT_HD float dt_augment_value(uint8_t pixel, float mean, float std)
{
    return ((float)pixel / 255.0f - mean) / std;
}

#endif /* DT_AUGMENT_H */
