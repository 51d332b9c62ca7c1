/*
 * stream.cc - the fake CUDA runtime's streams, launches, events, captures and graphs.
 *
 * Work runs when it is issued, so a missing synchronisation never shows. In a captured stream kernels, copies, sets,
 * host functions and launched graphs are recorded instead; cudaGraphLaunch runs them in the order of recording. Events
 * fork a capture to other streams and join them again. A call that would wait or allocate, or work on the default
 * stream beside the capture of a blocking one, fails and breaks the capture. One capture at a time.
 */
#include "runtime.h"
#include "simt.h"

#include <chrono>
#include <map>
#include <vector>

using simt::result;

typedef std::function<void()> work;
typedef std::vector<work> work_list;

struct capture {
    unsigned long number; /* counts captures */
    CUstream_st *origin;
    cudaStreamCaptureMode mode;
    bool broken;
    work_list list;
};

struct CUstream_st {
    bool blocking;     /* is ordered with the default stream */
    capture *in;       /* NULL: not captured */
    bool unjoined;     /* has captured work that the origin does not wait for yet */
    CUstream_st *next; /* of all streams */
};

struct CUevent_st {
    bool timed, recorded;
    CUstream_st *captured_in;     /* the stream, if it was captured when the event was recorded last, else NULL */
    unsigned long capture_number; /* and the capture */
    std::chrono::steady_clock::time_point time;
};

struct CUgraph_st {
    std::shared_ptr<const work_list> list;
};

struct CUgraphExec_st {
    std::shared_ptr<const work_list> list;
};

static CUstream_st default_stream = { true, nullptr, false, nullptr };
static CUstream_st *streams;                        /* all but the default one */
static capture *ongoing;                            /* NULL: none */
static std::map<const void *, size_t> shared_limit; /* of kernels that asked for more than shared_plain */

static CUstream_st *stream_of(cudaStream_t stream)
{
    return stream ? stream : &default_stream;
}

bool simt::refused_by_capture()
{
    if (!ongoing || ongoing->mode == cudaStreamCaptureModeRelaxed) return false;
    ongoing->broken = true;
    return true;
}

cudaError_t simt::enqueue(cudaStream_t stream, work w)
{
    CUstream_st *const s = stream_of(stream);

    if (s->in) {
        if (s->in->broken) return result(cudaErrorStreamCaptureInvalidated);
        s->in->list.push_back(std::move(w));
        s->unjoined = s != s->in->origin;
        return cudaSuccess;
    }
    if (s == &default_stream && ongoing && ongoing->origin->blocking) {
        ongoing->broken = true;
        return result(cudaErrorStreamCaptureImplicit);
    }
    w();
    return cudaSuccess;
}

/* What the driver would say of a launch. */
static cudaError_t judge(const simt::launch_config &c)
{
    const size_t threads = size_t(c.block.x) * c.block.y * c.block.z;
    const auto limit = shared_limit.find(c.kernel);

    if (threads == 0 || threads > simt::MAX_THREADS || c.block.z > 64) return cudaErrorInvalidConfiguration;
    if (c.grid.x == 0 || c.grid.y == 0 || c.grid.z == 0) return cudaErrorInvalidConfiguration;
    if (c.grid.x > 0x7fffffffu || c.grid.y > 65535 || c.grid.z > 65535) return cudaErrorInvalidConfiguration;
    if (c.shared_bytes > (limit == shared_limit.end() ? simt::shared_plain : limit->second))
        return cudaErrorInvalidValue;
    return cudaSuccess;
}

void simt::submit(const launch_config &config, run_threads run, std::shared_ptr<const void> arguments)
{
    const cudaError_t verdict = judge(config);

    if (verdict != cudaSuccess) {
        result(verdict);
        return;
    }
    (void)enqueue(config.stream, [=] { run_grid(config, run, arguments.get()); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *userData)
{
    return simt::enqueue(stream, [=] { fn(userData); });
}

cudaError_t cudaFuncSetAttribute(const void *func, cudaFuncAttribute attr, int value)
{
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize) return result(cudaErrorNotSupported);
    if (value < 0 || size_t(value) > simt::shared_optin) return result(cudaErrorInvalidValue);
    shared_limit[func] = size_t(value);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    if (flags & ~unsigned(cudaStreamNonBlocking)) return result(cudaErrorInvalidValue);
    *stream = streams = new CUstream_st{ flags != cudaStreamNonBlocking, nullptr, false, streams };
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    CUstream_st **at = &streams;

    while (*at && *at != stream) at = &(*at)->next;
    if (!*at) return result(cudaErrorInvalidResourceHandle);
    if (stream->in) stream->in->broken = true;
    *at = stream->next;
    delete stream;
    return cudaSuccess;
}

/* Waiting for work that is only being recorded would be waiting for ever. */
static cudaError_t wait_refused(bool captured)
{
    if (!captured) return cudaSuccess;
    ongoing->broken = true;
    return result(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return wait_refused(stream_of(stream)->in != nullptr);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return wait_refused(stream_of(stream)->in != nullptr);
}

cudaError_t cudaDeviceSynchronize()
{
    return wait_refused(ongoing != nullptr);
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    *event = new CUevent_st{ !(flags & cudaEventDisableTiming), false, nullptr, 0, {} };
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    CUstream_st *const s = stream_of(stream);

    event->captured_in = s->in ? s : nullptr;
    if (s->in) {
        event->capture_number = s->in->number;
        return cudaSuccess;
    }
    event->recorded = true;
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
}

/* In a capture this forks to another stream (which joins the capture), or joins a forked one again. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    CUstream_st *const s = stream_of(stream), *const other = event->captured_in;

    if (!other || other == s || !other->in || other->in->number != event->capture_number) return cudaSuccess;
    if (!s->in && s == &default_stream) {
        ongoing->broken = true;
        return result(cudaErrorStreamCaptureImplicit);
    }
    s->in = other->in;
    if (s == s->in->origin) {
        other->unjoined = false;
    } else {
        s->unjoined = true;
    }
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return result(event->captured_in ? cudaErrorCapturedEvent : cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return cudaEventSynchronize(event);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    for (const CUevent_st *const event : { start, end }) {
        if (!event->timed || !event->recorded) return result(cudaErrorInvalidResourceHandle);
        if (event->captured_in) return result(cudaErrorCapturedEvent);
    }
    *ms = std::chrono::duration<float, std::milli>(end->time - start->time).count();
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    static unsigned long n_captures;

    if (!stream) return result(cudaErrorStreamCaptureUnsupported); /* the default stream cannot be captured */
    if (stream->in) return result(cudaErrorIllegalState);
    if (ongoing) return result(cudaErrorNotSupported);
    ongoing = stream->in = new capture{ ++n_captures, stream, mode, false, {} };
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    capture *const c = stream_of(stream)->in;
    bool unjoined = false;

    *graph = nullptr;
    if (!c) return result(cudaErrorIllegalState);
    if (c->origin != stream) {
        c->broken = true;
        return result(cudaErrorStreamCaptureUnmatched);
    }
    for (CUstream_st *s = streams; s; s = s->next) {
        if (s->in != c) continue;
        unjoined |= s->unjoined;
        s->in = nullptr;
        s->unjoined = false;
    }
    const bool broken = c->broken;
    if (!broken && !unjoined) *graph = new CUgraph_st{ std::make_shared<const work_list>(std::move(c->list)) };
    ongoing = nullptr;
    delete c;
    return result(broken ? cudaErrorStreamCaptureInvalidated : unjoined ? cudaErrorStreamCaptureUnjoined : cudaSuccess);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    const capture *const c = stream_of(stream)->in;

    *status = !c          ? cudaStreamCaptureStatusNone
              : c->broken ? cudaStreamCaptureStatusInvalidated
                          : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    if (!graph) return result(cudaErrorInvalidValue);
    *exec = new CUgraphExec_st{ graph->list };
    return cudaSuccess;
}

/* Only counts: the nodes themselves are nobody's business. */
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *numNodes)
{
    if (!graph || !numNodes) return result(cudaErrorInvalidValue);
    if (nodes) return result(cudaErrorNotSupported);
    *numNodes = graph->list->size();
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t)
{
    return result(exec ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (!exec) return result(cudaErrorInvalidValue);
    return simt::enqueue(stream, [list = exec->list] {
        for (const work &w : *list) w();
    });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}
