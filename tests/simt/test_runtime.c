/*
 * test_runtime.c - the shim's host side, from C: memory, copies, streams, capture. A copy is the work here; kernels
 * take the same way (test_shim.cc).
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime.h>

static float *device; /* 4 floats */
static const float ones[4] = { 1.0f, 1.0f, 1.0f, 1.0f };
static cudaStream_t stream, side;
static cudaEvent_t event;

static void setup(void)
{
    cr_assert(eq(int, cudaMalloc((void **)&device, 4 * sizeof *device), cudaSuccess));
    cr_assert(eq(int, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess));
    cr_assert(eq(int, cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking), cudaSuccess));
    cr_assert(eq(int, cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess));
}

static void teardown(void)
{
    cudaEventDestroy(event);
    cudaStreamDestroy(side);
    cudaStreamDestroy(stream);
    cudaFree(device);
}

TestSuite(runtime, .init = setup, .fini = teardown);

Test(runtime, fresh_memory_is_nan)
{
    float host[4] = { 0 };
    size_t free_bytes, total;

    cr_assert(eq(int, cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost), cudaSuccess));
    for (int i = 0; i < 4; i++) cr_assert(isnan(host[i]));
    cr_assert(eq(int, cudaMemGetInfo(&free_bytes, &total), cudaSuccess));
    cr_assert(eq(sz, total - free_bytes, sizeof host));
}

Test(runtime, copies_are_checked)
{
    float host[8] = { 0 };
    void *none;

    cr_assert(eq(int, cudaMemcpy(device, host, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue));
    cr_assert(eq(int, cudaMemcpy(host, host + 4, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue));
    cr_assert(eq(int, cudaMemcpy(device, host, 17, cudaMemcpyHostToDevice), cudaErrorInvalidValue));
    cr_assert(eq(int, cudaMemcpy(device + 1, host, 16, cudaMemcpyDefault), cudaErrorInvalidValue));
    cr_assert(eq(int, cudaMemset(host, 0, 16), cudaErrorInvalidValue));
    cr_assert(eq(int, cudaFree(device + 1), cudaErrorInvalidValue));
    cr_assert(eq(int, cudaMalloc(&none, (size_t)1 << 40), cudaErrorMemoryAllocation));
    cr_assert(eq(str, (char *)cudaGetErrorString(cudaGetLastError()), (char *)"out of memory"));
    cr_assert(eq(int, cudaGetLastError(), cudaSuccess));
}

Test(runtime, the_device_introduces_itself)
{
    struct cudaDeviceProp prop;
    int value;

    cr_assert(eq(int, cudaGetDeviceCount(&value), cudaSuccess));
    cr_assert(eq(int, value, 1));
    cr_assert(eq(int, cudaGetDeviceProperties(&prop, 0), cudaSuccess));
    cr_assert(eq(int, cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 0), cudaSuccess));
    cr_assert(eq(int, value, prop.major));
    cr_assert(eq(int, cudaSetDevice(1), cudaErrorInvalidDevice));
    cr_assert(eq(str, (char *)cudaGetErrorName(cudaGetLastError()), (char *)"cudaErrorInvalidDevice"));
}

Test(runtime, a_captured_copy_runs_at_the_launch)
{
    float host[4] = { 0 };
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    enum cudaStreamCaptureStatus status;
    size_t n_nodes = 0;

    cudaMemset(device, 0, sizeof host);
    cr_assert(eq(int, cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess));
    cudaStreamIsCapturing(stream, &status);
    cr_assert(eq(int, status, cudaStreamCaptureStatusActive));
    cr_assert(eq(int, cudaMemcpyAsync(device, ones, sizeof ones, cudaMemcpyHostToDevice, stream), cudaSuccess));
    cr_assert(eq(int, cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, stream), cudaSuccess));
    cr_assert(eq(int, cudaStreamEndCapture(stream, &graph), cudaSuccess));
    cr_assert(eq(flt, host[0], 0.0f), "nothing has run yet");
    cr_assert(eq(int, cudaGraphGetNodes(graph, NULL, &n_nodes), cudaSuccess));
    cr_assert(eq(sz, n_nodes, 2));

    cr_assert(eq(int, cudaGraphInstantiate(&exec, graph, 0), cudaSuccess));
    cr_assert(eq(int, cudaGraphLaunch(exec, stream), cudaSuccess));
    cr_assert(eq(int, cudaStreamSynchronize(stream), cudaSuccess));
    cr_assert(eq(int, memcmp(host, ones, sizeof ones), 0));
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
}

static cudaError_t allocate(void)
{
    void *p = NULL;
    const cudaError_t error = cudaMalloc(&p, 4);

    cudaFree(p);
    return error;
}

static cudaError_t copy(void)
{
    return cudaMemcpy(device, ones, sizeof ones, cudaMemcpyHostToDevice);
}

static cudaError_t wait_for_stream(void)
{
    return cudaStreamSynchronize(stream);
}

Test(runtime, what_waits_breaks_a_capture)
{
    cudaError_t (*const calls[])(void) = { allocate, copy, wait_for_stream, cudaDeviceSynchronize };

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        cudaGraph_t graph;
        cr_assert(eq(int, cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess));
        cr_assert(eq(int, calls[i](), cudaErrorStreamCaptureUnsupported), "call %zu", i);
        cr_assert(eq(int, cudaMemsetAsync(device, 0, 4, stream), cudaErrorStreamCaptureInvalidated), "call %zu", i);
        cr_assert(eq(int, cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated), "call %zu", i);
        cr_assert(eq(ptr, graph, NULL));
        cr_assert(eq(int, calls[i](), cudaSuccess), "call %zu is fine again", i);
    }
}

Test(runtime, a_blocking_stream_bars_the_default_stream)
{
    cudaStream_t blocking;
    cudaGraph_t graph;

    cudaStreamCreate(&blocking);
    cudaStreamBeginCapture(blocking, cudaStreamCaptureModeGlobal);
    cr_assert(eq(int, cudaMemsetAsync(device, 0, 4, NULL), cudaErrorStreamCaptureImplicit));
    cr_assert(eq(int, cudaStreamEndCapture(blocking, &graph), cudaErrorStreamCaptureInvalidated));
    cudaStreamDestroy(blocking);
}

Test(runtime, events_fork_and_join_a_capture)
{
    float host[4] = { 0 };

    for (int join = 0; join < 2; join++) {
        cudaGraph_t graph;
        cudaMemset(device, 0, sizeof host);
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
        cudaEventRecord(event, stream);
        cudaStreamWaitEvent(side, event, 0);
        cudaMemcpyAsync(device, ones, sizeof ones, cudaMemcpyHostToDevice, side);
        if (join) {
            cudaEventRecord(event, side);
            cudaStreamWaitEvent(stream, event, 0);
        }
        const cudaError_t error = cudaStreamEndCapture(stream, &graph);
        cr_assert(eq(int, error, join ? cudaSuccess : cudaErrorStreamCaptureUnjoined));
        cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost);
        cr_assert(eq(flt, host[0], 0.0f), "the forked copy is recorded too");
        cudaGraphDestroy(graph);
    }
}

/* `stream` sets memory to 0 and then to ones; `side` copies it to `copied`; with waits: behind that, and `stream` reads
 * the copy behind it. Returns what `stream` has read. */
static float read_by_another_stream(int waits_first, int waits_last, float *copied)
{
    static float host;

    cudaMemsetAsync(device, 0, sizeof ones, stream);
    cudaMemcpyAsync(device, ones, sizeof ones, cudaMemcpyHostToDevice, stream);
    cudaEventRecord(event, stream);
    if (waits_first) cudaStreamWaitEvent(side, event, 0);
    cudaMemcpyAsync(copied, device, sizeof *copied, cudaMemcpyDeviceToDevice, side);
    cudaEventRecord(event, side);
    if (waits_last) cudaStreamWaitEvent(stream, event, 0);
    cudaMemcpyAsync(&host, copied, sizeof host, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    cudaDeviceSynchronize();
    return host;
}

/* Launched, and recorded and replayed; of a capture that does not fork or join there is no graph. */
static void check_schedule(const char *schedule, int waits_first, int waits_last, int is_right)
{
    float *copied;
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    setenv("SIMT_STREAMS", schedule, 1);
    cudaMalloc((void **)&copied, sizeof *copied);
    const float read = read_by_another_stream(waits_first, waits_last, copied);
    cr_assert(eq(int, read == 1.0f, is_right), "%s, waits %d and %d: %g", schedule, waits_first, waits_last,
              (double)read);
    if (!waits_first || !waits_last) return;
    cudaMemset(copied, 0xff, sizeof *copied);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    cudaMemsetAsync(device, 0, sizeof ones, stream);
    cudaEventRecord(event, stream);
    cudaStreamWaitEvent(side, event, 0);
    cudaMemcpyAsync(copied, device, sizeof *copied, cudaMemcpyDeviceToDevice, side);
    cudaMemcpyAsync(device, ones, sizeof ones, cudaMemcpyHostToDevice, stream); /* no wait orders it with the copy */
    cudaEventRecord(event, side);
    cudaStreamWaitEvent(stream, event, 0);
    cr_assert(eq(int, cudaStreamEndCapture(stream, &graph), cudaSuccess));
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphLaunch(exec, stream);
    cudaStreamSynchronize(stream);
    cr_assert(eq(flt, *copied, strcmp(schedule, "late") == 0 ? 1.0f : 0.0f), "%s", schedule);
}

Test(runtime, early_streams_show_a_missing_wait)
{
    check_schedule("early", 0, 1, 0);
}

Test(runtime, late_streams_show_a_missing_join)
{
    check_schedule("late", 1, 0, 0);
}

Test(runtime, streams_that_wait_are_right_when_early)
{
    check_schedule("early", 1, 1, 1);
}

Test(runtime, streams_that_wait_are_right_when_late)
{
    check_schedule("late", 1, 1, 1);
}

Test(runtime, streams_that_wait_are_right_at_once)
{
    check_schedule("now", 1, 1, 1);
}

Test(runtime, events_time_what_lies_between)
{
    cudaEvent_t start, end;
    float ms = -1.0f;

    cudaEventCreate(&start);
    cudaEventCreate(&end);
    cr_assert(eq(int, cudaEventElapsedTime(&ms, start, end), cudaErrorInvalidResourceHandle), "not recorded");
    cudaEventRecord(start, stream);
    cudaEventRecord(end, stream);
    cr_assert(eq(int, cudaEventElapsedTime(&ms, start, end), cudaSuccess));
    cr_assert(ms >= 0.0f && ms < 1000.0f, "%g ms", (double)ms);
    cudaEventDestroy(end);
    cudaEventDestroy(start);
}
