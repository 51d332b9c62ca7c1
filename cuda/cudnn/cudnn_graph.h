/*
 * cudnn_graph.h - convolutions by cuDNN's graph API: a plan for one problem, made once and run many times.
 *
 * No type of cuDNN shows here, so that tests/simt/standin_cudnn.c can take the place of cudnn_graph.c and cudnn_plan.c
 * where there is no GPU: everything above this line of the CUDA backend then runs on the CPU.
 */
#ifndef DT_CUDNN_GRAPH_H
#define DT_CUDNN_GRAPH_H

#include "../../core/conv_params.h"
#include "../../core/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { DT_CONV_FORWARD, DT_CONV_BACKWARD_DATA, DT_CONV_BACKWARD_FILTER, DT_CONV_PASSES } dt_conv_pass;

/* x N,H,W,C; filter K,R,S,C/groups; y N,P,Q,K. Sums are f32, of I8 operands int32. All-int, so that equal problems are
 * equal bytes. */
typedef struct {
    dt_conv_pass pass;
    dt_dtype operand; /* of both operands: F32, BF16, F16 or I8 */
    dt_dtype result;  /* F32; of F16 operands F16, too */
    int shift;        /* the result is 2^-shift of the sums; not 0 for F16 results only */
    int keep_f32;     /* 1: engines that round f32 operands to TF32 are refused */
    int n, h, w, c, k, r, s;
    dt_conv_params form;
} dt_conv_problem;

typedef struct dt_cudnn dt_cudnn; /* a cuDNN handle, or the description of a device, and the plans made for it */
typedef struct dt_conv_plan dt_conv_plan; /* belongs to its dt_cudnn; one for each different problem */

/* stream: the cudaStream_t that plans run on. */
DT_MUST_CHECK dt_status dt_cudnn_open(void *stream, dt_cudnn **out);
/* A device that need not exist, in cuDNN's own words (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION): plans can be made for
 * it, and not run. tests/cuda/test_cudnn_plans.c has some. */
DT_MUST_CHECK dt_status dt_cudnn_describe(const char *json, dt_cudnn **out);
void dt_cudnn_close(dt_cudnn *cudnn);

typedef struct {
    char text[32]; /* "cuDNN 9.19" */
} dt_cudnn_text;

dt_cudnn_text dt_cudnn_name(void);

/* An engine whose sums are deterministic and accumulate in full precision. On a GPU the fastest of those that cuDNN's
 * heuristics like best, as timed once and kept by plan_cache.h; it is timed beside its operands, which need memory for
 * the moment. Without a place to keep it, and on a described device, the one that the heuristics like best.
 * DT_ERR_UNSUPPORTED names the problem if there is none. */
DT_MUST_CHECK dt_status dt_conv_plan_get(dt_cudnn *cudnn, const dt_conv_problem *problem, const dt_conv_plan **out);
size_t dt_conv_plan_workspace(const dt_conv_plan *plan); /* bytes */
/* 1 if a kernel is compiled when the plan is made; on a described device such a plan is checked for support only. */
int dt_conv_plan_is_compiled(const dt_conv_plan *plan);
const char *dt_conv_plan_engine(const dt_conv_plan *plan); /* "62 2=1 3=0": its number, and its knobs */

/* Device memory, aligned to 16 bytes; the result is overwritten.
 * pass:             a    b       result
 * FORWARD           x    filter  y
 * BACKWARD_DATA     dy   filter  dx
 * BACKWARD_FILTER   dy   x       dfilter */
DT_MUST_CHECK dt_status dt_conv_plan_run(const dt_conv_plan *plan, const void *a, const void *b, void *result,
                                         void *workspace);

/* P and Q */
static inline int dt_conv_rows_out(const dt_conv_problem *p)
{
    return (int)dt_conv_out_size(&p->form, 0, p->h, p->r);
}

static inline int dt_conv_columns_out(const dt_conv_problem *p)
{
    return (int)dt_conv_out_size(&p->form, 1, p->w, p->s);
}

/* How many elements a pass reads as a and b and writes as its result, in this order. */
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
