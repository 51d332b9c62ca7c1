/*
 * stream.cc - the fake CUDA runtime's streams, launches, events, captures and graphs.
 *
 * Work runs when it is issued, so a missing synchronisation does not show. With SIMT_STREAMS=early or =late it waits on
 * its stream until the host, or another stream by an event, waits for it. Whoever is waited for then runs; with early
 * the other streams go first, as far as the events that they wait for let them, and with late they do not. So early
 * shows a stream that does not wait for what it reads, and late one that nobody waits for. The default stream, which is
 * not used for that, always runs at once.
 *
 * In a captured stream kernels, copies, sets, host functions and launched graphs are recorded instead; cudaGraphLaunch
 * runs them in the order of recording, or by the same two rules. Events fork a capture to other streams and join them
 * again. A call that would wait or allocate, or work on the default
 * stream beside the capture of a blocking one, fails and breaks the capture. One capture at a time.
 */
#include "graph_nodes.h"
#include "lanes.h"
#include "runtime.h"
#include "simt.h"

#include <chrono>
#include <cstring>
#include <map>
#include <vector>

using simt::result;

/* ---- streams ---- */

/* A task of a capture: `lane` and `other` count its streams, the origin first. name is NULL for a wait. */
struct recorded_task {
    const char *name;
    size_t lane;
    work run;
    size_t other;
    unsigned long position;
};

typedef std::vector<recorded_task> recorded_list;

struct capture {
    unsigned long number; /* counts captures */
    CUstream_st *origin;
    cudaStreamCaptureMode mode;
    bool broken;
    recorded_list list;
    std::vector<unsigned long> issued; /* of each stream */
};

struct CUstream_st {
    bool blocking;     /* is ordered with the default stream */
    capture *in;       /* NULL: not captured */
    size_t lane_in;    /* its number there */
    bool unjoined;     /* has captured work that the origin does not wait for yet */
    CUstream_st *next; /* of all streams */
    lane own;          /* what was issued and not captured */
};

struct CUevent_st {
    bool timed, recorded;
    CUstream_st *captured_in;     /* the stream, if it was captured when the event was recorded last, else NULL */
    unsigned long capture_number; /* and the capture */
    CUstream_st *recorded_in;     /* the stream, if it was not captured then; NULL: none yet */
    unsigned long position;       /* tasks of either that the event stands behind */
    std::chrono::steady_clock::time_point time;
};

struct CUgraph_st {
    std::shared_ptr<const recorded_list> list;
};

struct CUgraphExec_st {
    std::shared_ptr<const recorded_list> list;
};

static CUstream_st default_stream = { true, nullptr, 0, false, nullptr, {} };
static CUstream_st *streams;                        /* all but the default one */
static capture *ongoing;                            /* NULL: none */
static std::shared_ptr<const recorded_list> newest; /* of the capture that ended well last */
static std::map<const void *, size_t> shared_limit; /* of kernels that asked for more than shared_plain */

static CUstream_st *stream_of(cudaStream_t stream)
{
    return stream ? stream : &default_stream;
}

static lanes all_lanes()
{
    lanes all;

    for (CUstream_st *s = streams; s; s = s->next) all.push_back(&s->own);
    return all;
}

static void wait_for(CUstream_st *s, unsigned long position)
{
    advance(all_lanes(), &s->own, position);
}

void simt::finish_all()
{
    for (CUstream_st *s = streams; s; s = s->next) wait_for(s, s->own.issued);
}

bool simt::is_held_back(cudaStream_t stream)
{
    return stream && !stream->in && schedule_now() != NOW;
}

bool simt::refused_by_capture()
{
    if (!ongoing || ongoing->mode == cudaStreamCaptureModeRelaxed) return false;
    ongoing->broken = true;
    return true;
}

cudaError_t simt::enqueue(cudaStream_t stream, const char *name, work w)
{
    CUstream_st *const s = stream_of(stream);

    if (s->in) {
        if (s->in->broken) return result(cudaErrorStreamCaptureInvalidated);
        s->in->list.push_back({ name, s->lane_in, std::move(w), 0, 0 });
        s->in->issued[s->lane_in]++;
        s->unjoined = s != s->in->origin;
        return cudaSuccess;
    }
    if (s == &default_stream && ongoing && ongoing->origin->blocking) {
        ongoing->broken = true;
        return result(cudaErrorStreamCaptureImplicit);
    }
    if (is_held_back(stream))
        s->own.issue({ std::move(w), nullptr, 0 });
    else
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
    (void)enqueue(config.stream, config.name, [=] { run_grid(config, run, arguments.get()); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *userData)
{
    return simt::enqueue(stream, "library", [=] { fn(userData); });
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
    *stream = streams = new CUstream_st{ flags != cudaStreamNonBlocking, nullptr, 0, false, streams, {} };
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    CUstream_st **at = &streams;

    while (*at && *at != stream) at = &(*at)->next;
    if (!*at) return result(cudaErrorInvalidResourceHandle);
    simt::finish_all();
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
    CUstream_st *const s = stream_of(stream);

    if (!s->in) wait_for(s, s->own.issued);
    return wait_refused(s->in != nullptr);
}

/* Nothing runs by itself: whoever asks, lets it. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaDeviceSynchronize()
{
    if (!ongoing) simt::finish_all();
    return wait_refused(ongoing != nullptr);
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    *event = new CUevent_st{ !(flags & cudaEventDisableTiming), false, nullptr, 0, nullptr, 0, {} };
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
    event->recorded_in = s->in ? nullptr : s;
    event->position = s->in ? s->in->issued[s->lane_in] : s->own.issued;
    if (s->in) {
        event->capture_number = s->in->number;
        return cudaSuccess;
    }
    event->recorded = true;
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
}

static void wait_outside(CUstream_st *s, const CUevent_st *event)
{
    if (event->recorded_in && event->recorded_in != s && simt::is_held_back(s))
        s->own.issue({ nullptr, &event->recorded_in->own, event->position });
}

/* In a capture this forks to another stream (which joins the capture), or joins a forked one again. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    CUstream_st *const s = stream_of(stream), *const other = event->captured_in;

    if (!other) wait_outside(s, event);
    if (!other || other == s || !other->in || other->in->number != event->capture_number) return cudaSuccess;
    if (!s->in && s == &default_stream) {
        ongoing->broken = true;
        return result(cudaErrorStreamCaptureImplicit);
    }
    if (!s->in) {
        s->in = other->in;
        s->lane_in = s->in->issued.size();
        s->in->issued.push_back(0);
    }
    s->in->list.push_back({ nullptr, s->lane_in, nullptr, other->lane_in, event->position });
    s->in->issued[s->lane_in]++;
    if (s == s->in->origin) {
        other->unjoined = false;
    } else {
        s->unjoined = true;
    }
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->recorded_in) wait_for(event->recorded_in, event->position);
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
    ongoing = stream->in = new capture{ ++n_captures, stream, mode, false, {}, { 0 } };
    stream->lane_in = 0;
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
    if (!broken && !unjoined) {
        newest = std::make_shared<const recorded_list>(std::move(c->list));
        *graph = new CUgraph_st{ newest };
    }
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
    *numNodes = 0;
    for (const recorded_task &t : *graph->list) *numNodes += t.run ? 1 : 0;
    return cudaSuccess;
}

int simt_captured_nodes(simt_node_kind *kind, int room)
{
    std::vector<simt_node_kind> found;

    for (size_t i = 0; newest && i < newest->size(); i++) {
        const char *const name = (*newest)[i].name;
        size_t k = 0;
        if (!name) continue;
        while (k < found.size() && strcmp(found[k].name, name) != 0) k++;
        if (k == found.size()) found.push_back({ name, 0 });
        found[k].count++;
    }
    for (size_t k = 0; k < found.size() && int(k) < room; k++) kind[k] = found[k];
    return int(found.size());
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t)
{
    return result(exec ? cudaSuccess : cudaErrorInvalidValue);
}

static void run_recorded(const recorded_list &list)
{
    std::vector<lane> own(1);
    lanes all;

    for (const recorded_task &t : list) {
        if (schedule_now() == NOW && t.run) t.run();
        if (t.lane >= own.size()) own.resize(t.lane + 1);
    }
    if (schedule_now() == NOW) return;
    for (lane &l : own) all.push_back(&l);
    for (const recorded_task &t : list) own[t.lane].issue({ t.run, t.run ? nullptr : &own[t.other], t.position });
    for (lane *l : all) advance(all, l, l->issued);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (!exec) return result(cudaErrorInvalidValue);
    return simt::enqueue(stream, "graph", [list = exec->list] { run_recorded(*list); });
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
