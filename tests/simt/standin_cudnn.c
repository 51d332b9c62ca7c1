/*
 * standin_cudnn.c - cuda/cudnn/cudnn_graph.h in plain loops, for the SIMT shim: the same operands and results, sums in
 * double.
 *
 * A run is work on the stream, so that a captured step replays it. Its arguments must outlive the capture: they belong
 * to the dt_cudnn. A run is one launch, as a plan of cuDNN mostly is.
 */
#include "../../core/half.h"
#include "../../cuda/cudnn/cudnn_graph.h"

#include <cuda_runtime.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../cuda/cuda_check.h"

struct dt_conv_plan {
    dt_conv_problem problem;
    dt_cudnn *cudnn;
    dt_conv_plan *next;
};

typedef struct conv_run {
    dt_conv_problem problem;
    const void *a, *b;
    void *result, *workspace;
    size_t workspace_bytes;
    struct conv_run *next;
} conv_run;

struct dt_cudnn {
    cudaStream_t stream;
    dt_conv_plan *plans;
    conv_run *runs;
};

dt_cudnn_text dt_cudnn_name(void)
{
    return (dt_cudnn_text){ "a stand-in for cuDNN" };
}

dt_status dt_cudnn_open(void *stream, dt_cudnn **out)
{
    dt_cudnn *cudnn = calloc(1, sizeof *cudnn);
    DT_CHECK(cudnn, DT_ERR_MEMORY, "no memory for the stand-in");
    cudnn->stream = stream;
    *out = cudnn;
    return DT_OK;
}

dt_status dt_cudnn_describe(const char *json, dt_cudnn **out)
{
    (void)json;
    (void)out;
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__, "the stand-in for cuDNN describes no device");
}

void dt_cudnn_close(dt_cudnn *cudnn)
{
    if (!cudnn) return;
    while (cudnn->plans) {
        dt_conv_plan *plan = cudnn->plans;
        cudnn->plans = plan->next;
        free(plan);
    }
    while (cudnn->runs) {
        conv_run *run = cudnn->runs;
        cudnn->runs = run->next;
        free(run);
    }
    free(cudnn);
}

dt_status dt_conv_plan_get(dt_cudnn *cudnn, const dt_conv_problem *problem, const dt_conv_plan **out)
{
    dt_conv_plan *plan = calloc(1, sizeof *plan);
    DT_CHECK(plan, DT_ERR_MEMORY, "no memory for a convolution's plan");
    plan->problem = *problem;
    plan->cudnn = cudnn;
    plan->next = cudnn->plans;
    cudnn->plans = plan;
    *out = plan;
    return DT_OK;
}

/* Some, so that a caller that gives none is found by the sanitizer: run writes it. */
size_t dt_conv_plan_workspace(const dt_conv_plan *plan)
{
    return (size_t)plan->problem.k;
}

int dt_conv_plan_is_compiled(const dt_conv_plan *plan)
{
    (void)plan;
    return 0;
}

const char *dt_conv_plan_engine(const dt_conv_plan *plan)
{
    (void)plan;
    return "plain loops";
}

static double value_at(const void *data, dt_dtype type, int64_t i)
{
    switch (type) {
    case DT_BF16: return (double)dt_from_bf16(((const uint16_t *)data)[i]);
    case DT_F16: return (double)dt_from_fp16(((const uint16_t *)data)[i]);
    case DT_I8: return (double)((const int8_t *)data)[i];
    default: return (double)((const float *)data)[i];
    }
}

/* as cuDNN's kernels do, which sum in f32 */
static void store_sum(const conv_run *run, int64_t i, double sum)
{
    const float value = (float)ldexp(sum, -run->problem.shift);

    if (run->problem.result == DT_F16)
        ((uint16_t *)run->result)[i] = dt_to_fp16(value);
    else
        ((float *)run->result)[i] = value;
}

/* A triple of places whose product is a term: x at xi, filter at wi, y at yi. */
typedef void (*visit_term)(const conv_run *run, int64_t xi, int64_t wi, int64_t yi, double *sum);

static void term_forward(const conv_run *run, int64_t xi, int64_t wi, int64_t yi, double *sum)
{
    sum[yi] += value_at(run->a, run->problem.operand, xi) * value_at(run->b, run->problem.operand, wi);
}

static void term_data(const conv_run *run, int64_t xi, int64_t wi, int64_t yi, double *sum)
{
    sum[xi] += value_at(run->a, run->problem.operand, yi) * value_at(run->b, run->problem.operand, wi);
}

static void term_filter(const conv_run *run, int64_t xi, int64_t wi, int64_t yi, double *sum)
{
    sum[wi] += value_at(run->a, run->problem.operand, yi) * value_at(run->b, run->problem.operand, xi);
}

/* all terms of output row (n, p) */
static void visit_row(const conv_run *run, int n, int p, visit_term visit, double *sum)
{
    const dt_conv_problem *c = &run->problem;
    const dt_conv_params *f = &c->form;
    const int P = dt_conv_rows_out(c), Q = dt_conv_columns_out(c), each = c->c / f->groups;

    for (int q = 0; q < Q; q++) {
        for (int tap = 0; tap < c->r * c->s; tap++) {
            const int h = p * f->stride[0] + tap / c->s * f->dilation[0] - f->pad[0];
            const int w = q * f->stride[1] + tap % c->s * f->dilation[1] - f->pad[1];
            if (h < 0 || h >= c->h || w < 0 || w >= c->w) continue;
            for (int64_t i = 0; i < (int64_t)c->k * each; i++) {
                const int64_t k = i / each, channel = k / (c->k / f->groups) * each + i % each;
                visit(run, (((int64_t)n * c->h + h) * c->w + w) * c->c + channel,
                      (k * c->r * c->s + tap) * each + i % each, (((int64_t)n * P + p) * Q + q) * c->k + k, sum);
            }
        }
    }
}

static void run_now(void *argument)
{
    static const visit_term visits[DT_CONV_PASSES] = { term_forward, term_data, term_filter };
    const conv_run *run = argument;
    const dt_conv_problem *c = &run->problem;
    const int P = dt_conv_rows_out(c);
    int64_t count[3];
    dt_conv_counts(c, count);
    double *sum = calloc((size_t)count[2], sizeof *sum);

    if (!sum) abort(); /* a test has no use for half a step */
    memset(run->workspace, 0x7f, run->workspace_bytes);
    for (int row = 0; row < c->n * P; row++) visit_row(run, row / P, row % P, visits[c->pass], sum);
    for (int64_t i = 0; i < count[2]; i++) store_sum(run, i, sum[i]);
    free(sum);
}

dt_status dt_conv_plan_run(const dt_conv_plan *plan, const void *a, const void *b, void *result, void *workspace)
{
    conv_run *run = calloc(1, sizeof *run);
    DT_CHECK(run, DT_ERR_MEMORY, "no memory for a run");
    run->problem = plan->problem;
    run->a = a;
    run->b = b;
    run->result = result;
    run->workspace = workspace;
    run->workspace_bytes = dt_conv_plan_workspace(plan);
    run->next = plan->cudnn->runs;
    plan->cudnn->runs = run;
    DT_CUDA(cudaLaunchHostFunc(plan->cudnn->stream, run_now, run));
    return DT_OK;
}
