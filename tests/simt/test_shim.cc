/*
 * test_shim.cc - the shim's device side: kernels that use one word of CUDA each, against plain loops.
 *
 * Each kernel runs in both orders of threads. What must abort runs in a child, whose last words are read.
 */
#include <algorithm>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "../../cuda/launch.h"
#include "check.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

static const unsigned block_sizes[] = { 1, 7, 31, 32, 33, 40, 256, 1000, 1024 };
static const simt::order orders[] = { simt::ASCENDING, simt::DESCENDING };

static void setup()
{
    simt::set_order(simt::ASCENDING);
}

TestSuite(shim, .init = setup);

/* counts[i] of each thread i of the whole grid, in the order of CUDA's linear index */
static __global__ void count_kernel(int *counts)
{
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);

    atomicAdd(&counts[block * blockDim.x * blockDim.y * blockDim.z + thread], 1);
}

Test(shim, runs_every_thread_once)
{
    for (const simt::order o : orders) {
        simt::set_order(o);
        std::vector<int> counts(5 * 3 * 2 * 2 * 3 * 4, 0);
        DT_START(count_kernel, dim3(2, 3, 4), dim3(5, 3, 2), 0, 0, counts.data());
        check_equal(cudaGetLastError(), cudaSuccess);
        for (const int c : counts) check_equal(c, 1);
    }
}

template <class T, bool twice> static __global__ void scale_kernel(T *x, T factor)
{
    x[threadIdx.x] *= twice ? factor * 2 : factor;
}

Test(shim, converts_arguments_at_the_launch)
{
    double x[] = { 1.0, 2.0 };
    int factor = 3;

    DT_START((scale_kernel<double, true>), 1, 2, 0, 0, x, factor);
    check_equal(x[0], 6.0);
    check_equal(x[1], 12.0);
}

static __global__ void reverse_kernel(const int *x, int *y)
{
    __shared__ int all[1024];

    for (int round = 0; round < 3; round++) {
        all[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x] + round;
        __syncthreads();
        y[blockIdx.x * blockDim.x + threadIdx.x] = all[blockDim.x - 1 - threadIdx.x];
        __syncthreads();
    }
}

Test(shim, barriers_order_shared_memory)
{
    for (const simt::order o : orders) {
        for (const unsigned n : block_sizes) {
            simt::set_order(o);
            std::vector<int> x(3 * n), y(3 * n, -1);
            for (unsigned i = 0; i < 3 * n; i++) x[i] = static_cast<int>(i * i);
            DT_START(reverse_kernel, 3, n, 0, 0, x.data(), y.data());
            for (unsigned i = 0; i < 3 * n; i++) {
                check_equal(y[i], x[i / n * n + n - 1 - i % n] + 2, "block of %u, thread %u", n, i);
            }
        }
    }
}

/* lacks a barrier, which threads in ascending order do not show */
static __global__ void shift_race_kernel(unsigned *y)
{
    __shared__ unsigned all[64];
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;

    all[threadIdx.x] = i;
    y[i] = threadIdx.x > 0 ? all[threadIdx.x - 1] : i;
}

Test(shim, the_other_order_shows_a_missing_barrier)
{
    unsigned up[128], down[128];

    DT_START(shift_race_kernel, 2, 64, 0, 0, up);
    simt::set_order(simt::DESCENDING);
    DT_START(shift_race_kernel, 2, 64, 0, 0, down);
    for (unsigned i = 0; i < 128; i++) check_equal(up[i], i % 64 ? i - 1 : i, "thread %u", i);
    cr_assert(memcmp(up, down, sizeof up) != 0, "the race does not show");
}

static __global__ void dynamic_kernel(float *y, unsigned *fresh)
{
    DT_DYNAMIC_SHARED(float, all);

    fresh[threadIdx.x] = __float_as_uint(all[threadIdx.x]);
    __syncthreads();
    all[threadIdx.x] = static_cast<float>(threadIdx.x);
    __syncthreads();
    y[threadIdx.x] = all[threadIdx.x ^ 1];
}

Test(shim, dynamic_shared_memory_starts_as_nan)
{
    float y[64];
    unsigned fresh[64];

    DT_START(dynamic_kernel, 2, 64, sizeof y, 0, y, fresh);
    for (unsigned i = 0; i < 64; i++) {
        check_equal(fresh[i], 0xffffffffu);
        check_equal(y[i], static_cast<float>(i ^ 1));
    }
}

/* threads from `stay` on return at once; the others meet in a barrier and in the shuffles of a sum */
static __global__ void leave_early_kernel(unsigned stay, int *sums)
{
    if (threadIdx.x >= stay) return;
    int sum = static_cast<int>(threadIdx.x);
    __syncthreads();
    for (unsigned d = 1; d < 32; d *= 2) {
        const int other = __shfl_down_sync(0xffffffffu, sum, d);
        if (threadIdx.x % 32 + d < 32 && threadIdx.x + d < stay) sum += other;
    }
    sums[threadIdx.x] = sum;
}

Test(shim, returned_threads_are_not_waited_for)
{
    for (const simt::order o : orders) {
        for (const unsigned stay : { 1u, 5u, 32u, 45u, 64u, 90u }) {
            simt::set_order(o);
            int sums[90];
            DT_START(leave_early_kernel, 2, 90, 0, 0, stay, sums);
            for (unsigned w = 0; w < stay; w += 32) {
                int sum = 0;
                for (unsigned i = w; i < std::min(w + 32, stay); i++) sum += static_cast<int>(i);
                check_equal(sums[w], sum, "%u of 90 stay, warp of %u", stay, w);
            }
        }
    }
}

/* lanes return one by one while the rest go on voting: a meeting may be completed by a return */
static __global__ void thin_out_kernel(unsigned *votes)
{
    for (unsigned round = 0; round < threadIdx.x + 1; round++) votes[round] = __ballot_sync(0xffffffffu, 1);
}

Test(shim, a_returning_lane_completes_a_vote)
{
    for (const simt::order o : orders) {
        simt::set_order(o);
        unsigned votes[32];
        DT_START(thin_out_kernel, 1, 32, 0, 0, votes);
        for (unsigned round = 0; round < 32; round++) check_equal(votes[round], 0xffffffffu << round);
    }
}

/* y[kind][lane] */
template <class T> static __global__ void shuffle_kernel(T *y, int amount, int width)
{
    const T mine = static_cast<T>(100 + threadIdx.x);

    y[threadIdx.x] = __shfl_sync(0xffffffffu, mine, amount, width);
    y[32 + threadIdx.x] = __shfl_up_sync(0xffffffffu, mine, static_cast<unsigned>(amount), width);
    y[64 + threadIdx.x] = __shfl_down_sync(0xffffffffu, mine, static_cast<unsigned>(amount), width);
    y[96 + threadIdx.x] = __shfl_xor_sync(0xffffffffu, mine, amount, width);
}

/* by the table of the CUDA programming guide, in signed arithmetic */
static int shuffle_source(int kind, int lane, int amount, int width)
{
    const int begin = lane / width * width, end = begin + width;

    switch (kind) {
    case 0: return begin + amount % width;
    case 1: return lane - amount < begin ? lane : lane - amount;
    case 2: return lane + amount >= end ? lane : lane + amount;
    default: return (lane ^ amount) >= end ? lane : lane ^ amount;
    }
}

template <class T> static void check_shuffles()
{
    for (int width = 2; width <= 32; width *= 2) {
        for (int amount = 0; amount < 32; amount++) {
            T y[128];
            DT_START((shuffle_kernel<T>), 1, 32, 0, 0, y, amount, width);
            for (int i = 0; i < 128; i++) {
                const int source = shuffle_source(i / 32, i % 32, amount, width);
                check_equal(static_cast<double>(y[i]), 100.0 + source, "kind %d, lane %d, amount %d, width %d", i / 32,
                            i % 32, amount, width);
            }
        }
    }
}

Test(shim, shuffles_reach_the_lane_that_cuda_says)
{
    check_shuffles<int>();
    check_shuffles<float>();
    check_shuffles<double>();
    check_shuffles<unsigned long long>();
}

static __global__ void absent_lane_kernel(unsigned *y)
{
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 4);
}

Test(shim, a_shuffle_from_an_absent_lane_gives_minus_one)
{
    unsigned y[38];

    DT_START(absent_lane_kernel, 1, 38, 0, 0, y);
    for (unsigned i = 0; i < 38; i++) check_equal(y[i], (i ^ 4) < 38 ? i ^ 4 : ~0u, "thread %u", i);
}

/* the halves of a warp go different ways, each with its own mask and its own number of operations */
static __global__ void halves_kernel(unsigned *sums)
{
    unsigned sum = threadIdx.x;

    if (threadIdx.x < 16) {
        for (int d = 8; d > 0; d /= 2) sum += __shfl_xor_sync(0x0000ffffu, sum, d);
    } else {
        __syncwarp(0xffff0000u);
        sum = __ballot_sync(0xffff0000u, threadIdx.x % 3 == 0);
    }
    __syncwarp();
    sums[threadIdx.x] = sum;
}

Test(shim, masks_part_a_warp)
{
    for (const simt::order o : orders) {
        simt::set_order(o);
        unsigned sums[32], votes = 0;
        DT_START(halves_kernel, 1, 32, 0, 0, sums);
        for (unsigned i = 16; i < 32; i++) votes |= (i % 3 == 0) << i;
        for (unsigned i = 0; i < 32; i++) check_equal(sums[i], i < 16 ? 120 : votes, "lane %u", i);
    }
}

static __global__ void vote_kernel(int threshold, int *any, int *all)
{
    const int yes = static_cast<int>(threadIdx.x) >= threshold;

    any[threadIdx.x] = __any_sync(0xffffffffu, yes);
    all[threadIdx.x] = __all_sync(0xffffffffu, yes);
}

Test(shim, votes)
{
    for (const int threshold : { 0, 1, 31, 32 }) {
        int any[32], all[32];
        DT_START(vote_kernel, 1, 32, 0, 0, threshold, any, all);
        for (int i = 0; i < 32; i++) {
            check_equal(any[i], threshold < 32);
            check_equal(all[i], threshold == 0);
        }
    }
}

struct atomic_results {
    int count, largest, smallest;
    unsigned unsigned_count, bits, locked;
    unsigned long long wide;
    double real;
};

static __global__ void atomics_kernel(atomic_results *r)
{
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);

    atomicAdd(&r->count, 1);
    atomicMax(&r->largest, i % 2 ? i : -i);
    atomicMin(&r->smallest, i % 2 ? i : -i);
    atomicAdd(&r->unsigned_count, 1);
    atomicOr(&r->bits, 1u << i % 20);
    atomicAdd(&r->wide, 1ull << 33);
    atomicAdd(&r->real, 0.5);
    if (atomicCAS(&r->locked, 0, 1u + static_cast<unsigned>(i)) == 0) atomicSub(&r->count, 1000);
}

Test(shim, atomics)
{
    atomic_results r = {};

    DT_START(atomics_kernel, 5, 40, 0, 0, &r);
    check_equal(r.count, 200 - 1000);
    check_equal(r.largest, 199);
    check_equal(r.smallest, -198);
    check_equal(r.unsigned_count, 200);
    check_equal(r.bits, (1u << 20) - 1);
    check_equal(r.locked, 1);
    check_equal(r.wide, 200ull << 33);
    check_equal(r.real, 100.0);
}

/* the whole of it: a sum over a block by shuffles, then over warps by shared memory */
static __global__ void sum_kernel(const int *x, int *y)
{
    __shared__ int part[32];
    int sum = x[blockIdx.x * blockDim.x + threadIdx.x];

    for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    sum = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
    for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

Test(shim, sums_a_block)
{
    for (const simt::order o : orders) {
        for (const unsigned n : { 32u, 64u, 256u, 1024u }) {
            simt::set_order(o);
            std::vector<int> x(7 * n), y(7), sums(7, 0);
            for (unsigned i = 0; i < 7 * n; i++) sums[i / n] += x[i] = static_cast<int>(i * 2654435761u >> 20);
            DT_START(sum_kernel, 7, n, 0, 0, x.data(), y.data());
            check_equal(y == sums, 1, "block of %u", n);
        }
    }
}

/* What a child prints on stderr while it runs `body`, which must abort. */
static std::string last_words(void (*body)())
{
    int ends[2], status;
    std::string words;
    char part[256];

    check_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) words.append(part, static_cast<size_t>(n));
    close(ends[0]);
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "it should have aborted");
    return words;
}

static void cr_assert_says(const std::string &words, std::initializer_list<const char *> parts)
{
    for (const char *const part : parts) {
        cr_assert(words.find(part) != std::string::npos, "\"%s\" does not say \"%s\"", words.c_str(), part);
    }
}

static __global__ void two_barriers_kernel()
{
    if (threadIdx.x < 8) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

static __global__ void deadlock_kernel()
{
    if (threadIdx.y == 1 && threadIdx.x == 3) __syncthreads();
    __shfl_xor_sync(0xffffffffu, 1, 1);
    __syncthreads();
}

static __global__ void wrong_operation_kernel()
{
    if (threadIdx.x == 9) {
        __syncwarp();
    } else {
        __ballot_sync(0xffffffffu, 1);
    }
}

static __global__ void wrong_mask_kernel()
{
    __shfl_sync(1u, 0, 0);
}

Test(shim, divergence_aborts_and_says_where)
{
    cr_assert_says(last_words([] { DT_START(two_barriers_kernel, 2, 64, 0, 0); }),
                   { "kernel two_barriers_kernel, block (0,0,0)", "divergent barrier", "thread (0,0,0)",
                     "thread (8,0,0)", "test_shim.cc:" });
    cr_assert_says(last_words([] { DT_START(deadlock_kernel, dim3(1, 2), dim3(8, 4), 0, 0); }),
                   { "kernel deadlock_kernel", "deadlock: thread (0,0,0) waits in a shuffle with mask 0xffffffff",
                     "for thread (3,1,0), which waits at __syncthreads, ", "test_shim.cc:" });
    cr_assert_says(last_words([] { DT_START(wrong_operation_kernel, 1, 32, 0, 0); }),
                   { "divergent warp: thread (0,0,0) is in a vote", "thread (9,0,0) in __syncwarp" });
    cr_assert_says(last_words([] { DT_START(wrong_mask_kernel, 1, 32, 0, 0); }),
                   { "thread (1,0,0) calls a shuffle with mask 0x00000001, which leaves out its own lane" });
}

static __global__ void nothing_kernel()
{
}

Test(shim, launches_beyond_the_limits_fail)
{
    static const struct {
        const char *why;
        dim3 grid, block;
        size_t shared_bytes;
        cudaError_t error;
    } cases[] = {
        { "the largest block", 1, 1024, 0, cudaSuccess },
        { "a block too large", 1, 1025, 0, cudaErrorInvalidConfiguration },
        { "too large as a product", 1, dim3(32, 33), 0, cudaErrorInvalidConfiguration },
        { "z of a block beyond 64", 1, dim3(1, 1, 65), 0, cudaErrorInvalidConfiguration },
        { "a block of none", 1, 0, 0, cudaErrorInvalidConfiguration },
        { "a grid of none", 0, 32, 0, cudaErrorInvalidConfiguration },
        { "y of a grid beyond 65535", dim3(1, 65536), 1, 0, cudaErrorInvalidConfiguration },
        { "all shared memory without asking", 1, 32, 48 * 1024, cudaSuccess },
        { "more than that", 1, 32, 48 * 1024 + 1, cudaErrorInvalidValue },
    };

    for (const auto &c : cases) {
        DT_START(nothing_kernel, c.grid, c.block, c.shared_bytes, 0);
        check_equal(cudaPeekAtLastError(), c.error, "%s", c.why);
        check_equal(cudaGetLastError(), c.error, "%s", c.why);
        check_equal(cudaGetLastError(), cudaSuccess, "%s: the error is taken once", c.why);
    }
    const auto wish = cudaFuncAttributeMaxDynamicSharedMemorySize;
    check_equal(cudaFuncSetAttribute(nothing_kernel, wish, 227 * 1024 + 1), cudaErrorInvalidValue);
    cudaGetLastError();
    check_equal(cudaFuncSetAttribute(nothing_kernel, wish, 227 * 1024), cudaSuccess);
    DT_START(nothing_kernel, 1, 32, 227 * 1024, 0);
    check_equal(cudaGetLastError(), cudaSuccess);
}

static __global__ void add_kernel(int *x, int by)
{
    atomicAdd(x, by);
}

Test(shim, a_graph_keeps_the_arguments_of_the_capture)
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    int x = 0, by = 1;

    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    for (; by <= 100; by *= 10) DT_START(add_kernel, 1, 1, 0, stream, &x, by);
    check_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    check_equal(x, 0);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    for (int i = 1; i <= 3; i++) {
        check_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
        check_equal(x, 111 * i);
    }
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(stream);
}
