/*
 * amx_conv.h - convolutions of one group by the tiles of a CPU with AMX, straight from the definition.
 *
 * Images lie side by side, so that whatever the width of a map, rows of a tile are neighbours in memory:
 * [row][column][image][channel]. Bytes are summed in int32, so that psums are exact; bf16 in the order of
 * gemm/amx.h, which the number of threads does not change. Real values forward are sums of several bf16 (amx_map.h): of
 * three, which is all of f32, or of two where they are trained in mixed precision.
 *
 * Each direction has three functions, as in winograd.h: _refuses returns NULL if a node qualifies, else why not,
 * _scratch returns the bytes of scratch for a number of threads, and the third computes on at most that many threads,
 * in ex->scratch.
 */
#ifndef DT_AMX_CONV_H
#define DT_AMX_CONV_H

#include "conv.h"

/* Returns NULL if tiles take these sizes, else why not. */
static inline const char *dt_amx_conv_shape_refuses(const dt_conv_shape *s)
{
    for (int i = 0; i < 2; i++) {
        const int64_t window = i == 0 ? s->R : s->S;
        if (s->dilation[i] != 1) return "dilation";
        if (s->pad[i] >= window || s->pad[i + 2] >= window) return "more padding than a window has steps";
    }
    return s->groups == 1 ? NULL : "groups";
}

/* amx_forward.c: computes out: psums, or real values. The caller sets out's scale. */
const char *dt_amx_forward_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_amx_forward_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_amx_forward(const dt_node *node, const dt_exec *ex, int threads);

/* amx_backward_x.c: computes dx in in[0]'s grad_type. It is added to an f32 gradient that is not fresh. */
const char *dt_amx_backward_x_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_amx_backward_x_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_amx_backward_x(const dt_node *node, const dt_exec *ex, int threads);

/* amx_backward_w.c: computes dw in f32. It is added where the gradient is not fresh. */
const char *dt_amx_backward_w_refuses(const dt_node *node, const dt_exec *ex);
size_t dt_amx_backward_w_scratch(const dt_node *node, const dt_exec *ex, int threads);
void dt_amx_backward_w(const dt_node *node, const dt_exec *ex, int threads);

#endif /* DT_AMX_CONV_H */
