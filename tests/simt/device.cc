/*
 * device.cc - the fake CUDA runtime's errors, device and memory.
 *
 * There is one device, which is the host. Device memory is filled with 0xff bytes (NaN as float, -1 as int) when it is
 * allocated, and copies are checked: a direction that does not fit the pointers, or an end past the allocation, is
 * cudaErrorInvalidValue. The host can reach device memory through a pointer; nothing stops it here.
 */
#include "runtime.h"
#include "simt.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

using simt::refused_by_capture;
using simt::result;

static const size_t total_memory = size_t(16) << 30;

static cudaError_t last_error;
static std::map<const char *, size_t> device_memory; /* start and bytes of each allocation */
static size_t used_memory;

cudaError_t simt::result(cudaError_t error)
{
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t error = last_error;

    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError()
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define XX(name, value, text) \
    case name: return #name;
        SIMT_ERRORS(XX)
#undef XX
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
#define XX(name, value, text) \
    case name: return text;
        SIMT_ERRORS(XX)
#undef XX
    }
    return "unrecognized error code";
}

/* SIMT_DEVICE: "none", "driver" (too old or missing), "busy", or the compute capability of the one device. */
static const char *wished_device(void)
{
    const char *const wish = getenv("SIMT_DEVICE");
    return wish ? wish : "9.0";
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    if (strcmp(wished_device(), "none") == 0) return result(cudaErrorNoDevice);
    if (strcmp(wished_device(), "driver") == 0) return result(cudaErrorInsufficientDriver);
    if (strcmp(wished_device(), "busy") == 0) return result(cudaErrorUnknown);
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return result(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device)
{
    if (device != 0) return result(cudaErrorInvalidDevice);
    *prop = {};
    snprintf(prop->name, sizeof prop->name, "SIMT shim on the CPU");
    prop->totalGlobalMem = total_memory;
    prop->sharedMemPerBlock = simt::shared_plain;
    prop->sharedMemPerBlockOptin = simt::shared_optin;
    if (sscanf(wished_device(), "%d.%d", &prop->major, &prop->minor) != 2) return result(cudaErrorNoDevice);
    prop->multiProcessorCount = 4;
    prop->warpSize = simt::WARP;
    prop->maxThreadsPerBlock = simt::MAX_THREADS;
    prop->maxThreadsPerMultiProcessor = 2048;
    prop->memoryBusWidth = 64;
    prop->l2CacheSize = 1 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int device)
{
    cudaDeviceProp prop;

    if (cudaGetDeviceProperties(&prop, device) != cudaSuccess) return last_error;
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock: *value = prop.maxThreadsPerBlock; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(prop.sharedMemPerBlock); return cudaSuccess;
    case cudaDevAttrWarpSize: *value = prop.warpSize; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = prop.multiProcessorCount; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = prop.major; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = prop.minor; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = static_cast<int>(prop.sharedMemPerBlockOptin);
        return cudaSuccess;
    }
    return result(cudaErrorInvalidValue);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **devPtr, size_t size)
{
    if (refused_by_capture()) return result(cudaErrorStreamCaptureUnsupported);
    *devPtr = nullptr;
    if (size == 0) return cudaSuccess;
    if (size > total_memory - used_memory || posix_memalign(devPtr, 256, size)) {
        return result(cudaErrorMemoryAllocation);
    }
    memset(*devPtr, 0xff, size);
    device_memory[static_cast<char *>(*devPtr)] = size;
    used_memory += size;
    return cudaSuccess;
}

cudaError_t cudaFree(void *devPtr)
{
    if (refused_by_capture()) return result(cudaErrorStreamCaptureUnsupported);
    if (!devPtr) return cudaSuccess;
    const auto at = device_memory.find(static_cast<char *>(devPtr));
    if (at == device_memory.end()) return result(cudaErrorInvalidValue);
    simt::finish_all();
    used_memory -= at->second;
    device_memory.erase(at);
    free(devPtr);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **ptr, size_t size)
{
    return cudaHostAlloc(ptr, size, cudaHostAllocDefault);
}

cudaError_t cudaHostAlloc(void **ptr, size_t size, unsigned)
{
    if (refused_by_capture()) return result(cudaErrorStreamCaptureUnsupported);
    *ptr = nullptr;
    if (size == 0) return cudaSuccess;
    if (posix_memalign(ptr, 4096, size)) return result(cudaErrorMemoryAllocation);
    memset(*ptr, 0xff, size);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *ptr)
{
    if (refused_by_capture()) return result(cudaErrorStreamCaptureUnsupported);
    free(ptr);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = total_memory - used_memory;
    *total = total_memory;
    return cudaSuccess;
}

/* The allocation that holds at; end() if at is not device memory. */
static std::map<const char *, size_t>::const_iterator allocation_of(const char *at)
{
    auto next = device_memory.upper_bound(at);

    if (next == device_memory.begin()) return device_memory.end();
    --next;
    return at < next->first + next->second ? next : device_memory.end();
}

enum side { HOST, DEVICE, ANYWHERE };

/* count bytes lie on the side wanted, and inside one allocation if that is the device's */
static bool lies_on(const void *memory, size_t count, side wanted)
{
    const char *const at = static_cast<const char *>(memory);
    const auto found = allocation_of(at);
    const bool on_device = found != device_memory.end();

    if (wanted != ANYWHERE && on_device != (wanted == DEVICE)) return false;
    return at && (!on_device || count <= size_t(found->first + found->second - at));
}

static cudaError_t judge_copy(const void *dst, const void *src, size_t count, cudaMemcpyKind kind)
{
    static const side from[] = { HOST, HOST, DEVICE, DEVICE, ANYWHERE };
    static const side to[] = { HOST, DEVICE, HOST, DEVICE, ANYWHERE };

    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
    if (count == 0) return cudaSuccess;
    return lies_on(src, count, from[kind]) && lies_on(dst, count, to[kind]) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, cudaMemcpyKind kind, cudaStream_t stream)
{
    const cudaError_t verdict = judge_copy(dst, src, count, kind);

    if (verdict != cudaSuccess || count == 0) return result(verdict);
    if (simt::is_held_back(stream) && !lies_on(src, count, DEVICE)) { /* it has left pageable memory on return */
        const auto from = static_cast<const char *>(src);
        const auto kept = std::make_shared<const std::vector<char>>(from, from + count);
        return simt::enqueue(stream, "copy", [=] { memcpy(dst, kept->data(), count); });
    }
    return simt::enqueue(stream, "copy", [=] { memcpy(dst, src, count); });
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, cudaMemcpyKind kind)
{
    if (refused_by_capture()) return result(cudaErrorStreamCaptureUnsupported);
    return cudaMemcpyAsync(dst, src, count, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream)
{
    if (count == 0) return cudaSuccess;
    if (!lies_on(devPtr, count, DEVICE)) return result(cudaErrorInvalidValue);
    return simt::enqueue(stream, "set", [=] { memset(devPtr, value, count); });
}

cudaError_t cudaMemset(void *devPtr, int value, size_t count)
{
    if (refused_by_capture()) return result(cudaErrorStreamCaptureUnsupported);
    return cudaMemsetAsync(devPtr, value, count, nullptr);
}
