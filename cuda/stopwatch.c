/*
 * stopwatch.c - see stopwatch.h.
 */
#include "stopwatch.h"

#include "cuda_check.h"

#include <math.h>

/* Runs in a graph, and how often it is timed: the least counts, as other work only adds to it. */
enum { RUNS = 10, ROUNDS = 3 };

/* An eager run of so many times the best, the host's part in it included, is not looked at further. */
static const float hopeless = 20.0f;

typedef struct {
    const dt_contest *contest;
    cudaEvent_t start, stop;
} stopwatch;

static dt_status read_time(const stopwatch *s, float *ms)
{
    DT_CUDA(cudaEventRecord(s->stop, s->contest->stream));
    DT_CUDA(cudaEventSynchronize(s->stop));
    DT_CUDA(cudaEventElapsedTime(ms, s->start, s->stop));
    return DT_OK;
}

/* Eager runs: the first loads kernels, and a failure breaks no capture. */
static dt_status warm_up(const stopwatch *s, int way, float *ms)
{
    const dt_contest *c = s->contest;

    DT_TRY(c->run(c->user, way));
    DT_CUDA(cudaEventRecord(s->start, c->stream));
    DT_TRY(c->run(c->user, way));
    return read_time(s, ms);
}

static dt_status capture_runs(const dt_contest *c, int way, cudaGraphExec_t *out)
{
    cudaGraph_t graph = NULL;
    dt_status ran = DT_OK;

    DT_CUDA(cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < RUNS && ran == DT_OK; i++) ran = c->run(c->user, way);
    cudaError_t made = cudaStreamEndCapture(c->stream, &graph);
    if (ran == DT_OK && made == cudaSuccess) made = cudaGraphInstantiate(out, graph, 0);
    if (graph) (void)cudaGraphDestroy(graph);
    if (made != cudaSuccess) (void)cudaGetLastError();
    DT_TRY(ran);
    DT_CUDA(made);
    return DT_OK;
}

/* milliseconds of one run in a graph */
static dt_status time_graph(const stopwatch *s, cudaGraphExec_t graph, float *ms)
{
    const cudaStream_t stream = s->contest->stream;

    *ms = INFINITY;
    DT_CUDA(cudaGraphLaunch(graph, stream));
    for (int i = 0; i < ROUNDS; i++) {
        float round = 0.0f;
        DT_CUDA(cudaEventRecord(s->start, stream));
        DT_CUDA(cudaGraphLaunch(graph, stream));
        DT_TRY(read_time(s, &round));
        *ms = fminf(*ms, round / (float)RUNS);
    }
    return DT_OK;
}

/* *ms is INFINITY for a way that is not worth the time */
static dt_status time_way(const stopwatch *s, int way, float best, float *ms)
{
    cudaGraphExec_t graph = NULL;
    float first = 0.0f;

    *ms = INFINITY;
    DT_TRY(warm_up(s, way, &first));
    if (first > hopeless * best) return DT_OK;
    DT_TRY(capture_runs(s->contest, way, &graph));
    const dt_status timed = time_graph(s, graph, ms);
    (void)cudaGraphExecDestroy(graph);
    return timed;
}

dt_status dt_contest_run(const dt_contest *c, int *fastest)
{
    stopwatch s = { .contest = c };
    float best = INFINITY;

    *fastest = -1;
    DT_CUDA(cudaEventCreate(&s.start));
    const cudaError_t made = cudaEventCreate(&s.stop);
    for (int i = 0; made == cudaSuccess && i < c->n_ways; i++) {
        float ms;
        if (time_way(&s, i, best, &ms) != DT_OK || !(ms < best)) continue;
        best = ms;
        *fastest = i;
    }
    (void)cudaEventDestroy(s.start);
    if (made == cudaSuccess) (void)cudaEventDestroy(s.stop);
    DT_CUDA(made);
    return DT_OK;
}
