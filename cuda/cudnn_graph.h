/*
 * cudnn_graph.h - convolutions by cuDNN's graph API: a plan for one problem, made once and run many times.
 *
 * No type of cuDNN shows here, so that tests/simt/standin_cudnn.c can take the place of cudnn_graph.c where there is
 * no GPU: everything above this line of the CUDA backend then runs on the CPU.
 */
#ifndef DT_CUDNN_GRAPH_H
#define DT_CUDNN_GRAPH_H

#include "../core/status.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { DT_CONV_FORWARD, DT_CONV_BACKWARD_DATA, DT_CONV_BACKWARD_FILTER, DT_CONV_PASSES } dt_conv_pass;

/* What a convolution reads. The result is f32, accumulated in f32, or in int32 for I8. */
typedef enum { DT_OPERAND_F32, DT_OPERAND_BF16, DT_OPERAND_I8 } dt_operand;

/* x N,H,W,C; filter K,R,S,C; y N,P,Q,K. All-int, so that equal problems are equal bytes. */
typedef struct {
    dt_conv_pass pass;
    dt_operand operand;
    int keep_f32; /* 1: engines that round f32 operands to TF32 are refused */
    int n, h, w, c, k, r, s;
    int stride, pad;
} dt_conv_problem;

typedef struct dt_cudnn dt_cudnn; /* a cuDNN handle, or the description of a device, and the plans made for it */
typedef struct dt_conv_plan dt_conv_plan; /* belongs to its dt_cudnn; one for each different problem */

/* stream: the cudaStream_t that plans run on. */
DT_MUST_CHECK dt_status dt_cudnn_open(void *stream, dt_cudnn **out);
/* A device that need not exist, in cuDNN's own words (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION): plans can be made for
 * it, and not run. tests/test_cudnn_plans.c has some. */
DT_MUST_CHECK dt_status dt_cudnn_describe(const char *json, dt_cudnn **out);
void dt_cudnn_close(dt_cudnn *cudnn);
const char *dt_cudnn_name(void); /* "cuDNN 9.19" */

/* The fastest engine that cuDNN's heuristics offer, in their order, whose sums are deterministic and accumulate in
 * full precision. DT_ERR_UNSUPPORTED names the problem if there is none. */
DT_MUST_CHECK dt_status dt_conv_plan_get(dt_cudnn *cudnn, const dt_conv_problem *problem, const dt_conv_plan **out);
size_t dt_conv_plan_workspace(const dt_conv_plan *plan); /* bytes */
/* 1 if a kernel is compiled when the plan is made; on a described device such a plan is checked for support only. */
int dt_conv_plan_is_compiled(const dt_conv_plan *plan);

/* Device memory, aligned to 16 bytes; the result is overwritten.
 * pass:             a    b       result
 * FORWARD           x    filter  y
 * BACKWARD_DATA     dy   filter  dx
 * BACKWARD_FILTER   dy   x       dfilter */
DT_MUST_CHECK dt_status dt_conv_plan_run(const dt_conv_plan *plan, const void *a, const void *b, float *result,
                                         void *workspace);

static inline int dt_conv_out(int size, int window, int stride, int pad)
{
    return (size + 2 * pad - window) / stride + 1;
}

#ifdef __cplusplus
}
#endif

#endif /* DT_CUDNN_GRAPH_H */
