/*
 * place.h - places buffers with known lifetimes in one block, so that buffers that are alive together do not overlap.
 */
#ifndef DT_PLACE_H
#define DT_PLACE_H

#include "detent/status.h"

#include <stddef.h>

typedef struct {
    size_t bytes;
    int first, last; /* alive from time first to time last, both included */
    size_t offset;   /* set by dt_place_buffers: bytes, a multiple of 256, as cuDNN and vector loads need it */
} dt_buffer;

/* Sets the offset of each buffer. It takes the largest first, and places each at the lowest offset that is free during
 * its whole lifetime. *total is the size of the block in bytes. */
DT_MUST_CHECK dt_status dt_place_buffers(dt_buffer *buffer, int n, size_t *total);

#endif /* DT_PLACE_H */
