/*
 * votes_params.h - votes of capsules as a convolution of one cell, which an array of integers computes: input capsule i
 *                  is group i, with A channels and C filters.
 *
 *   x N,I,A -> N,1,1,(I A);  w I,A,C -> (I C),1,1,A;  votes N,1,1,(I C) -> N,I,C
 */
#ifndef DT_VOTES_PARAMS_H
#define DT_VOTES_PARAMS_H

#include "conv_params.h"
#include "op_params.h"
#include "tensor.h"

/* TRANSPOSEs that turn x and w, and votes back, and the CONV2D between them. */
typedef struct {
    dt_transpose_params x, w, votes;
    dt_conv_params conv;
} dt_votes_conv;

/* Returns the convolution of votes by matrices w I,A,C. */
static inline dt_votes_conv dt_votes_conv_of(const dt_shape *w)
{
    const int64_t inputs = w->dim[0], terms = w->dim[1], channels = w->dim[2];
    dt_votes_conv v = { .x = { 1, 1, 4, { 0, 1, 1, inputs * terms } },
                        .w = { terms, channels, 4, { 0, 1, 1, terms } },
                        .votes = { 1, 1, 3, { 0, inputs, channels } },
                        .conv = dt_conv_square(1, 0) };

    v.conv.groups = (int)inputs;
    return v;
}

/* Turns matrices I,A,C into filters (I C),A: to has as many numbers. */
static inline void dt_votes_filters(const dt_shape *w, const float *from, float *to)
{
    const int64_t terms = w->dim[1], channels = w->dim[2];

    for (int64_t k = 0; k < w->dim[0] * channels; k++) {
        for (int64_t a = 0; a < terms; a++)
            to[k * terms + a] = from[(k / channels * terms + a) * channels + k % channels];
    }
}

#endif /* DT_VOTES_PARAMS_H */
