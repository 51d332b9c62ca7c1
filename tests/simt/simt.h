/*
 * simt.h - what the shim's headers and stand-ins for libraries ask of the scheduler (simt.cc) and the fake
 * runtime (runtime.cc). Kernels do not call these by name; cuda_runtime.h maps the CUDA words onto them.
 *
 * All of it belongs to one host thread, as a dt_context does.
 */
#ifndef SIMT_SIMT_H
#define SIMT_SIMT_H

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>

#include "cuda_runtime_api.h"
#include "vector_types.h"

/* The four built-in variables, of the thread that runs. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace simt
{

/* Threads: called from inside a kernel. */

enum { WARP = 32, MAX_THREADS = 1024 };

unsigned lane();                /* 0..31 */
void barrier(const char *site); /* __syncthreads(); site is "file:line" */

/* Warp operations. The lanes of mask that have not returned meet; each must call the same with the same mask. */
void warp_sync(unsigned mask);
unsigned warp_ballot(unsigned mask, bool predicate);
std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, unsigned source); /* value of lane `source` */

void *dynamic_shared(); /* the block's, all bytes 0xff when the block starts */

/* Launches: called from the host. */

struct launch_config {
    const char *name;   /* of the kernel, for messages */
    const void *kernel; /* its address, as cudaFuncSetAttribute knows it */
    dim3 grid, block;
    std::size_t shared_bytes;
    cudaStream_t stream;
};

/* Runs the current thread and, as long as next_thread() says so, those after it. */
typedef void (*run_threads)(const void *arguments);

/* The running thread has returned. True: the caller is to run another one, now current. False: it must return. */
bool next_thread();

/* Runs a whole grid, now. */
void run_grid(const launch_config &config, run_threads run, const void *arguments);

/* Checks the configuration as the driver would, then runs the grid, or records it if the stream is captured. */
void submit(const launch_config &config, run_threads run, std::shared_ptr<const void> arguments);

/* Work of any kind on a stream, in order with kernels. Its name is what graph_nodes.h tells of it. */
cudaError_t enqueue(cudaStream_t stream, const char *name, std::function<void()> work);

/* Threads and blocks run in ascending order, or in descending order: a result that differs shows a missing barrier,
 * or blocks that depend on each other. SIMT_ORDER=descending in the environment sets what a process starts with. */
enum order { ASCENDING, DESCENDING };
void set_order(order o);

/*
 * launcher<kernel>(...)(arguments...) is kernel<<<...>>>(arguments...): arguments are converted to the kernel's
 * parameter types once, at the launch. The kernel is a template argument, so its body is inlined in the loop over
 * threads, and a thread that meets no barrier costs no call.
 */
template <auto Kernel> class launcher;

template <class... P, void (*Kernel)(P...)> class launcher<Kernel>
{
    launch_config config;

    __attribute__((flatten)) static void run(const void *arguments)
    {
        do {
            std::apply(Kernel, *static_cast<const std::tuple<P...> *>(arguments));
        } while (next_thread());
    }

  public:
    launcher(const char *name, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream)
        : config{ name, reinterpret_cast<const void *>(Kernel), grid, block, shared_bytes, stream }
    {
    }

    void operator()(P... arguments) const
    {
        submit(config, run, std::make_shared<std::tuple<P...>>(arguments...));
    }
};

template <class T> T shuffle(unsigned mask, T value, unsigned source)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles 4 or 8 bytes");
    std::uint64_t bits = 0;

    memcpy(&bits, &value, sizeof value);
    bits = warp_shuffle(mask, bits, source);
    memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace simt

#endif /* SIMT_SIMT_H */
