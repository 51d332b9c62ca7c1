/*
 * caps_route.h - how CUDA cuts the votes of an image into slices, and backward through routing, which routing by reals
 *                (caps_route.cu) and by integers (route_int.cu) share.
 */
#ifndef DT_CUDA_CAPS_ROUTE_H
#define DT_CUDA_CAPS_ROUTE_H

#include "pack.h"

extern "C" {
#include "../layers/caps/caps_route.h"
}

/* A slice has few enough votes to stay in a multiprocessor's cache. */
enum { DT_SLICE_VALUES = 16384, DT_SLICE_INPUTS = 64 };

/* A block's part of the work: inputs first .. first + count - 1 of image n. */
typedef struct {
    int64_t n, first, count;
    int64_t index; /* of the slice, in its image */
} dt_route_slice;

/* Returns how many inputs a slice has at most. */
__host__ __device__ static inline int64_t dt_slice_inputs(int64_t width)
{
    const int64_t inputs = DT_SLICE_VALUES / width;
    return inputs < 1 ? 1 : inputs < DT_SLICE_INPUTS ? inputs : (int64_t)DT_SLICE_INPUTS;
}

/* Returns how many slices an image has. */
__host__ __device__ static inline int64_t dt_route_slices(int64_t inputs, int64_t width)
{
    return (inputs + dt_slice_inputs(width) - 1) / dt_slice_inputs(width);
}

/* Returns the slice of this block. */
__device__ static inline dt_route_slice dt_block_slice(const dt_route *t)
{
    const int64_t most = dt_slice_inputs(dt_route_width(t)), slices = dt_route_slices(t->inputs, dt_route_width(t));
    const int64_t index = blockIdx.x % slices, first = index * most, left = t->inputs - first;
    const dt_route_slice s = { blockIdx.x / slices, first, left < most ? left : most, index };
    return s;
}

/* Runs backward of a node that t looks at. */
dt_status dt_cuda_route_backward(const dt_node *node, const dt_exec *ex, const dt_route *t);

#endif /* DT_CUDA_CAPS_ROUTE_H */
