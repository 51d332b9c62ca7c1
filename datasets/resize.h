/*
 * resize.h - scales images bilinearly, with the bytes that Pillow gives.
 */
#ifndef DT_RESIZE_H
#define DT_RESIZE_H

#include "detent/detent.h"

/* n images, [height][width][channels], that become [new_height][new_width][channels]. All sides are 1..4096. */
typedef struct {
    int64_t n;
    int height, width, channels;
    int new_height, new_width;
} dt_resize;

/* Scales the images in, and writes them to out. */
DT_MUST_CHECK dt_status dt_resize_images(const dt_resize *r, const uint8_t *in, uint8_t *out);

#endif /* DT_RESIZE_H */
