/*
 * augment.h - how a training image is turned, moved, cropped, mirrored and recoloured at random, and the value of one
 *             pixel. CPU and CUDA share this arithmetic.
 *
 * The draws depend on seed, epoch and the image's index in the dataset alone. So an image gets the same view with every
 * batch size and device, and wherever the run was stopped and resumed. augment.c defines the operator.
 */
#ifndef DT_AUGMENT_H
#define DT_AUGMENT_H

#include "../core/half.h"
#include "../core/op_params.h"
#include "../core/rng.h"
#include "../core/tensor.h"
#include "../core/arith/grid.h"

#include <math.h>

enum { DT_AUGMENT_MAX_ROTATION = 45, DT_AUGMENT_MAX_SHIFT = 4096 };

/* What is drawn for one image. */
typedef struct {
    int top, left;              /* position of the crop, -crop_pad..crop_pad */
    int mirror;                 /* 1: left and right are exchanged */
    int down, right;            /* shift in pixels, -shift..shift */
    float cosine, sine;         /* of the angle, clockwise; 1 and 0: the image is not turned */
    int cut_top, cut_left;      /* corner of the square that is cut out, which may reach beyond the image */
    float brightness, contrast; /* factors; 1 and 1: colours stay */
} dt_augment_view;

/* Sets cosine and sine to cos(x) and sin(x), for |x| <= pi / 4, with an error of at most 1.2e-7. They are Taylor series
 * to x^8 and x^9, made of sums and products alone, so that every machine has the same bits. */
static inline DT_HD void dt_augment_turn(float x, dt_augment_view *view)
{
    const float xx = x * x;
    view->cosine = 1.0f + xx * (-1.0f / 2 + xx * (1.0f / 24 + xx * (-1.0f / 720 + xx * (1.0f / 40320))));
    view->sine = x + x * xx * (-1.0f / 6 + xx * (1.0f / 120 + xx * (-1.0f / 5040 + xx * (1.0f / 362880))));
}

/* Returns round(U(-shift, shift)). The range is 4 * shift half pixels: the first becomes -shift, the last becomes
 * shift, and each value between is made of two. */
static inline DT_HD int dt_augment_shift(uint32_t bits, int shift)
{
    return ((int)dt_below(bits, 4 * (uint32_t)shift) + 1) / 2 - shift;
}

/* Returns 1 if an image is mirrored. ALTERNATING takes the draw of the first epoch, and its opposite in each second
 * one. */
static inline DT_HD int dt_augment_mirror(uint64_t seed, uint32_t epoch, int64_t index, uint32_t bits,
                                          const dt_augment_params *p)
{
    const int alternates = p->flip_kind == DT_FLIP_ALTERNATING && p->flip_share > 0.0f;
    if (!alternates) return dt_uniform(bits) >= 1.0f - p->flip_share;
    const dt_random4 first = dt_random(seed, DT_STREAM_AUGMENT, 0, (uint64_t)index);
    return (dt_uniform(first.v[2]) >= 1.0f - p->flip_share) != (int)(epoch & 1u);
}

/* Draws the square that is cut out, whose middle is a pixel of the image, and the factors of its colours. */
static inline DT_HD void dt_augment_draw_colour(uint64_t seed, uint32_t epoch, int64_t index,
                                                const dt_augment_params *p, int height, int width,
                                                dt_augment_view *view)
{
    view->cut_top = view->cut_left = 0;
    view->brightness = view->contrast = 1.0f;
    if (p->cutout == 0 && p->brightness == 0.0f && p->contrast == 0.0f) return;

    const dt_random4 r = dt_random(seed, DT_STREAM_COLOUR, epoch, (uint64_t)index);
    view->cut_top = (int)dt_below(r.v[0], (uint32_t)height) - p->cutout / 2;
    view->cut_left = (int)dt_below(r.v[1], (uint32_t)width) - p->cutout / 2;
    view->brightness = 1.0f + (2.0f * dt_uniform(r.v[2]) - 1.0f) * p->brightness;
    view->contrast = 1.0f + (2.0f * dt_uniform(r.v[3]) - 1.0f) * p->contrast;
}

/* Draws the view of image `index` of the dataset, of height x width pixels, in an epoch. */
static inline DT_HD dt_augment_view dt_augment_draw(uint64_t seed, uint32_t epoch, int64_t index,
                                                    const dt_augment_params *p, int height, int width)
{
    const dt_random4 r = dt_random(seed, DT_STREAM_AUGMENT, epoch, (uint64_t)index);
    const uint32_t offsets = 2 * (uint32_t)p->crop_pad + 1;
    dt_augment_view view;
    view.top = (int)dt_below(r.v[0], offsets) - p->crop_pad;
    view.left = (int)dt_below(r.v[1], offsets) - p->crop_pad;
    view.mirror = dt_augment_mirror(seed, epoch, index, r.v[2], p);
    view.down = view.right = 0;
    view.cosine = 1.0f;
    view.sine = 0.0f;
    dt_augment_draw_colour(seed, epoch, index, p, height, width, &view);
    if (p->shift == 0 && p->rotation == 0.0f) return view;

    const dt_random4 a = dt_random(seed, DT_STREAM_AFFINE, epoch, (uint64_t)index);
    view.down = dt_augment_shift(a.v[0], p->shift);
    view.right = dt_augment_shift(a.v[1], p->shift);
    dt_augment_turn((2.0f * dt_uniform(a.v[2]) - 1.0f) * p->rotation * (3.14159265f / 180.0f), &view);
    return view;
}

/* Returns the input pixel, row * width + column, that output pixel (h, w) shows, or -1 if it lies outside of the image
 * and is 0. */
static inline DT_HD int dt_augment_source(const dt_augment_view *view, int h, int w, int height, int width)
{
    int row = h + view->top, column = (view->mirror ? width - 1 - w : w) + view->left;
    if (row < 0 || row >= height || column < 0 || column >= width) return -1;

    row -= view->down;
    column -= view->right;
    if (view->sine != 0.0f) {
        const float middle_y = 0.5f * (float)height, middle_x = 0.5f * (float)width;
        const float y = (float)row + 0.5f - middle_y, x = (float)column + 0.5f - middle_x;
        row = (int)floorf(view->cosine * y - view->sine * x + middle_y);
        column = (int)floorf(view->cosine * x + view->sine * y + middle_x);
    }
    return row < 0 || row >= height || column < 0 || column >= width ? -1 : row * width + column;
}

/* Returns 1 if output pixel (h, w) lies in the square that is cut out. */
static inline DT_HD int dt_augment_is_cut(const dt_augment_view *view, const dt_augment_params *p, int h, int w)
{
    return h >= view->cut_top && h < view->cut_top + p->cutout && w >= view->cut_left && w < view->cut_left + p->cutout;
}

/* Returns the normalised value of a pixel. */
static inline DT_HD float dt_augment_value(uint8_t pixel, float mean, float std)
{
    return ((float)pixel / 255.0f - mean) / std;
}

/* Returns the same in the colours of the view, with the same bits where its factors are 1. */
static inline DT_HD float dt_augment_coloured(uint8_t pixel, float mean, float std, const dt_augment_view *view)
{
    const float bright = (float)pixel / 255.0f * view->brightness;
    return ((bright < 1.0f ? bright : 1.0f) - mean) / std * view->contrast;
}

/* Returns the normalised value of an image of reals. */
static inline DT_HD float dt_augment_real(float value, float mean, float std)
{
    return (value - mean) / std;
}

/* Returns what is stored for a normalised value: its code where p has a quantizer, whose clip is *alpha, else the value
 * itself. */
static inline DT_HD float dt_augment_stored(float value, const dt_augment_params *p, const float *alpha)
{
    if (!p->has_quant) return value;
    const int high = dt_act_high(p->quant.bits, p->quant.is_signed);
    const dt_grid grid = { p->quant.is_signed ? -high : 0, high, 0.0f };
    return dt_act_code(value, *alpha, &grid, p->quant.unclamped, p->quant.rule);
}

/* Stores value as x[i], where x has one of the types U8, I8, F16 and F32. A code must fit the type. */
static inline DT_HD void dt_augment_put(void *x, dt_dtype type, int64_t i, float value)
{
    switch (type) {
    case DT_U8: ((uint8_t *)x)[i] = (uint8_t)value; break;
    case DT_I8: ((int8_t *)x)[i] = (int8_t)value; break;
    case DT_F16: ((uint16_t *)x)[i] = dt_to_fp16(value); break;
    default: ((float *)x)[i] = value; break;
    }
}

#endif /* DT_AUGMENT_H */
