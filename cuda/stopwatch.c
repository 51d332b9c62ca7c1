/*
 * stopwatch.c - see stopwatch.h.
 */
#include "stopwatch.h"

#include "cuda_check.h"

#include <math.h>
#include <stdlib.h>

/* Runs in a graph, and rounds in which each way takes its turn: the least time counts, as other work only adds to it.
 */
enum { RUNS = 10, ROUNDS = 3 };

/* An idle GPU takes some milliseconds of work to raise its clock. */
static const float warm_ms = 30.0f;

/* A turn launches its graph so often that it takes about this long, which the clock of events resolves well, ... */
static const float turn_ms = 1.0f;

/* ... but no more often than this. */
enum { MOST_LAUNCHES = 20 };

/* A way whose eager run takes so many times the best one's, the host's part in it included, is not looked at further.
 */
static const float hopeless = 20.0f;

typedef struct {
    cudaGraphExec_t graph; /* NULL: out of the contest */
    float eager_ms;        /* of an eager run; INFINITY: it failed, or a graph was tried */
    float ms;              /* the least of a run in the graph */
} way;

typedef struct {
    const dt_contest *contest;
    cudaEvent_t start, stop;
} stopwatch;

/* Launches a graph n times and waits. *ms: of one run in it. */
static dt_status time_launches(const stopwatch *s, cudaGraphExec_t graph, int n, float *ms)
{
    const cudaStream_t stream = s->contest->stream;

    DT_CUDA(cudaEventRecord(s->start, stream));
    for (int i = 0; i < n; i++) DT_CUDA(cudaGraphLaunch(graph, stream));
    DT_CUDA(cudaEventRecord(s->stop, stream));
    DT_CUDA(cudaEventSynchronize(s->stop));
    DT_CUDA(cudaEventElapsedTime(ms, s->start, s->stop));
    *ms /= (float)(n * RUNS);
    return DT_OK;
}

/* Two eager runs: the first loads kernels, the second is timed, and a failure breaks no capture. */
static dt_status run_eagerly(const stopwatch *s, int i, float *ms)
{
    const dt_contest *c = s->contest;

    DT_TRY(c->run(c->user, i));
    DT_CUDA(cudaEventRecord(s->start, c->stream));
    DT_TRY(c->run(c->user, i));
    DT_CUDA(cudaEventRecord(s->stop, c->stream));
    DT_CUDA(cudaEventSynchronize(s->stop));
    DT_CUDA(cudaEventElapsedTime(ms, s->start, s->stop));
    return DT_OK;
}

static dt_status capture_runs(const dt_contest *c, int i, cudaGraphExec_t *out)
{
    cudaGraph_t graph = NULL;
    dt_status ran = DT_OK;

    DT_CUDA(cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal));
    for (int k = 0; k < RUNS && ran == DT_OK; k++) ran = c->run(c->user, i);
    cudaError_t made = cudaStreamEndCapture(c->stream, &graph);
    if (ran == DT_OK && made == cudaSuccess) made = cudaGraphInstantiate(out, graph, 0);
    if (graph) (void)cudaGraphDestroy(graph);
    if (made != cudaSuccess) (void)cudaGetLastError();
    DT_TRY(ran);
    DT_CUDA(made);
    return DT_OK;
}

/* Of those whose eager run took the least, and were not taken yet; -1: none is left. Takes it. */
static int take_quickest(way *ways, int n, float *eager_ms)
{
    int quickest = -1;

    *eager_ms = INFINITY;
    for (int i = 0; i < n; i++) {
        if (!(ways[i].eager_ms < *eager_ms)) continue;
        *eager_ms = ways[i].eager_ms;
        quickest = i;
    }
    if (quickest >= 0) ways[quickest].eager_ms = INFINITY;
    return quickest;
}

/* Makes a graph of each way that can run, can be captured and is not hopeless. */
static void prepare_ways(const stopwatch *s, way *ways)
{
    const int n = s->contest->n_ways;
    float ms, best = INFINITY;
    int i;

    for (i = 0; i < n; i++) {
        ways[i] = (way){ .eager_ms = INFINITY, .ms = INFINITY };
        if (run_eagerly(s, i, &ways[i].eager_ms) != DT_OK) ways[i].eager_ms = INFINITY;
    }
    while ((i = take_quickest(ways, n, &ms)) >= 0 && ms <= hopeless * best) {
        if (capture_runs(s->contest, i, &ways[i].graph) != DT_OK)
            ways[i].graph = NULL;
        else
            best = fminf(best, ms);
    }
}

/* Keeps the GPU at work until its clock has risen. *ms: of a run of the last launch. */
static dt_status warm_up(const stopwatch *s, cudaGraphExec_t graph, float *ms)
{
    float spent = 0.0f;

    while (spent < warm_ms) {
        DT_TRY(time_launches(s, graph, 1, ms));
        spent += fmaxf(*ms * (float)RUNS, 0.01f); /* an end, if the clock stands still */
    }
    return DT_OK;
}

/* In each round each way has a turn, so that a clock that still rises favours none. */
static dt_status time_in_turns(const stopwatch *s, way *ways)
{
    const int n = s->contest->n_ways;
    int launches = 0;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < n; i++) {
            float ms = 0.0f;
            if (!ways[i].graph) continue;
            if (launches == 0) {
                DT_TRY(warm_up(s, ways[i].graph, &ms));
                const float wanted = ceilf(turn_ms / fmaxf(ms * (float)RUNS, 1e-3f));
                launches = wanted < (float)MOST_LAUNCHES ? (int)wanted : MOST_LAUNCHES;
            }
            DT_TRY(time_launches(s, ways[i].graph, launches, &ms));
            ways[i].ms = fminf(ways[i].ms, ms);
        }
    }
    return DT_OK;
}

/* Times all ways between two events that exist. */
static dt_status run_contest(const stopwatch *s, int *fastest)
{
    const int n = s->contest->n_ways;
    way *ways = malloc((size_t)(n > 0 ? n : 1) * sizeof *ways);
    float best = INFINITY;

    DT_CHECK(ways, DT_ERR_MEMORY, "no memory to time %d ways", n);
    prepare_ways(s, ways);
    const dt_status timed = time_in_turns(s, ways);
    for (int i = 0; i < n; i++) {
        if (timed == DT_OK && ways[i].ms < best) {
            best = ways[i].ms;
            *fastest = i;
        }
        if (ways[i].graph) (void)cudaGraphExecDestroy(ways[i].graph);
    }
    free(ways);
    return timed;
}

dt_status dt_contest_run(const dt_contest *c, int *fastest)
{
    stopwatch s = { .contest = c };

    *fastest = -1;
    DT_CUDA(cudaEventCreate(&s.start));
    const cudaError_t made = cudaEventCreate(&s.stop);
    const dt_status run = made == cudaSuccess ? run_contest(&s, fastest) : DT_OK;
    (void)cudaEventDestroy(s.start);
    if (made == cudaSuccess) (void)cudaEventDestroy(s.stop);
    DT_CUDA(made);
    return run;
}
