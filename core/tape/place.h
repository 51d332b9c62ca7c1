/*
 * place.h - places buffers with known lifetimes into one block, so that two that are alive together never overlap.
 */
#ifndef DT_PLACE_H
#define DT_PLACE_H

#include "detent/status.h"

#include <stddef.h>

typedef struct {
    size_t bytes;
    int first, last; /* alive from time first to time last, both included */
    size_t offset;   /* out: a multiple of 256, what cuDNN and vector loads want */
} dt_buffer;

/* Largest first, each at the lowest offset that is free for its whole life. *total: the size of the block. */
DT_MUST_CHECK dt_status dt_place_buffers(dt_buffer *buffer, int n, size_t *total);

#endif /* DT_PLACE_H */
