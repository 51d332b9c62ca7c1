/*
 * cudnn_graph.h - convolutions by cuDNN's graph API. A plan for one problem is made once and run many times.
 *
 * This header has no type of cuDNN, so that tests/simt/standin_cudnn.c can take the place of cudnn_graph.c and
 * cudnn_plan.c where there is no GPU. The rest of the CUDA backend then runs on the CPU.
 */
#ifndef DT_CUDNN_GRAPH_H
#define DT_CUDNN_GRAPH_H

#include "../../core/conv_params.h"
#include "../../core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { DT_CONV_FORWARD, DT_CONV_BACKWARD_DATA, DT_CONV_BACKWARD_FILTER, DT_CONV_PASSES } dt_conv_pass;

/* One pass of a convolution: x N,H,W,C; filter K,R,S,C/groups; y N,P,Q,K. Sums are f32; those of I8 operands are int32.
 * All members are ints, so that equal problems are equal bytes. */
typedef struct {
    dt_conv_pass pass;
    dt_dtype operand; /* type of both operands: F32, BF16, F16 or I8 */
    dt_dtype result;  /* F32; or F16, if the operands are F16 */
    int shift;        /* the result is the sums times 2^-shift; 0 unless the result is F16 */
    int keep_f32;     /* 1: engines that round f32 operands to TF32 are refused */
    int n, h, w, c, k, r, s;
    dt_conv_params form;
} dt_conv_problem;

typedef struct dt_cudnn dt_cudnn; /* a cuDNN handle or the description of a device, with the plans made for it */
typedef struct dt_conv_plan dt_conv_plan; /* belongs to its dt_cudnn; one for each different problem */

/* Opens cuDNN. stream is the cudaStream_t on which plans run. */
DT_MUST_CHECK dt_status dt_cudnn_open(void *stream, dt_cudnn **out);
/* Describes a device that need not exist, by cuDNN's CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. Plans can be made for
 * it but not run. tests/support/cudnn_described.h has some descriptions. */
DT_MUST_CHECK dt_status dt_cudnn_describe(const char *json, dt_cudnn **out);
void dt_cudnn_close(dt_cudnn *cudnn);

typedef struct {
    char text[32]; /* "cuDNN 9.19" */
} dt_cudnn_text;

/* Returns the name and version of cuDNN. */
dt_cudnn_text dt_cudnn_name(void);

/* Sets *out to the plan for a problem, which it makes at the first call. The engine's sums are deterministic and of
 * full precision. On a GPU it is the fastest of the first that cuDNN's heuristics name. They are timed once, which
 * needs memory for their operands, and the choice is kept (plan_cache.h). If it cannot be kept, or the device is a
 * described one, it is the first that the heuristics name. DT_ERR_UNSUPPORTED: no engine keeps these rules; the message
 * has the problem. */
DT_MUST_CHECK dt_status dt_conv_plan_get(dt_cudnn *cudnn, const dt_conv_problem *problem, const dt_conv_plan **out);
/* Returns the bytes of workspace that a plan needs. */
size_t dt_conv_plan_workspace(const dt_conv_plan *plan);
/* Returns 1 if the engine's kernel is compiled when the plan is made. On a described device such a plan is not
 * compiled, but only checked for support. */
int dt_conv_plan_is_compiled(const dt_conv_plan *plan);
/* Returns the engine's number and its knobs, such as "62 2=1 3=0". */
const char *dt_conv_plan_engine(const dt_conv_plan *plan);

/* Launches a plan. All pointers are device memory, aligned to 16 bytes. The result is overwritten.
 * pass              a    b       result
 * FORWARD           x    filter  y
 * BACKWARD_DATA     dy   filter  dx
 * BACKWARD_FILTER   dy   x       dfilter */
DT_MUST_CHECK dt_status dt_conv_plan_run(const dt_conv_plan *plan, const void *a, const void *b, void *result,
                                         void *workspace);

/* Returns P, the rows of y. */
static inline int dt_conv_rows_out(const dt_conv_problem *p)
{
    return (int)dt_conv_out_size(&p->form, 0, p->h, p->r);
}

/* Returns Q, the columns of y. */
static inline int dt_conv_columns_out(const dt_conv_problem *p)
{
    return (int)dt_conv_out_size(&p->form, 1, p->w, p->s);
}

/* Sets count to the number of elements of a, of b and of the result of a pass. */
static inline void dt_conv_counts(const dt_conv_problem *p, int64_t count[3])
{
    const int64_t x = (int64_t)p->n * p->h * p->w * p->c, w = (int64_t)p->k * p->r * p->s * (p->c / p->form.groups);
    const int64_t y = (int64_t)p->n * dt_conv_rows_out(p) * dt_conv_columns_out(p) * p->k;

    count[0] = p->pass == DT_CONV_FORWARD ? x : y;
    count[1] = p->pass == DT_CONV_BACKWARD_FILTER ? x : w;
    count[2] = p->pass == DT_CONV_FORWARD ? y : p->pass == DT_CONV_BACKWARD_DATA ? x : w;
}

#ifdef __cplusplus
}
#endif

#endif /* DT_CUDNN_GRAPH_H */
